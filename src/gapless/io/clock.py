"""Where the library learns the time.

Only shells hold a clock; the core is told the time.  Durations are always taken from
`Clock.mono_ns`: the wall clock may jump, and is good for nothing but stamps that people or venues
read.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """The two times that matter."""

    def mono_ns(self) -> int:
        """Return nanoseconds since an arbitrary moment; never goes back."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC, as far as this machine knows."""

    def asleep_ns(self) -> int:
        """Return how long the machine has been suspended, which `mono_ns` does not count."""


class SystemClock:
    """The clocks of the operating system."""

    __slots__ = ()

    # Bound without a Python frame in between: the first is read for every message.
    mono_ns = staticmethod(time.monotonic_ns)
    wall_ns = staticmethod(time.time_ns)

    def asleep_ns(self) -> int:
        """Return how long the machine has been suspended since it was started; 0 if unknown."""
        if not hasattr(time, "CLOCK_BOOTTIME"):
            return 0
        return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns())
