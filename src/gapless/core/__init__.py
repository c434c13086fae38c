"""The deterministic heart: no sockets, no clock, no event loop, no logging.

Everything here is a function of its arguments.  Time arrives as ``now_ns`` (integer
nanoseconds on a monotonic clock) or as a `Moment` where Unix time matters too, randomness
as a `random.Random` given to the constructor, and I/O leaves as effects for a shell.
"""
