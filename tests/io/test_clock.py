"""The system's clocks, as the library reads them."""

import time

from gapless.io.clock import Clock, SystemClock


def test_the_monotonic_clock_never_goes_back():
    clock: Clock = SystemClock()
    readings = [clock.mono_ns() for _ in range(1000)]
    assert readings == sorted(readings)
    assert all(isinstance(reading, int) for reading in readings)


def test_the_wall_clock_counts_from_1970():
    assert abs(SystemClock().wall_ns() / 1e9 - time.time()) < 1


def test_how_long_the_machine_slept_is_known_or_nothing():
    clock = SystemClock()
    slept_ns = clock.asleep_ns()
    assert isinstance(slept_ns, int)
    assert slept_ns >= 0
