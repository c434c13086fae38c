"""Our own stalls: late ticks, and machines that slept."""

from __future__ import annotations

from gapless.io.stalls import LATE_NS, OwnStalls
from gapless.testing import VirtualClock

SECOND = 1_000_000_000


def test_a_tick_that_is_late_by_more_than_half_a_second_is_a_stall():
    stalls = OwnStalls(VirtualClock())
    assert not stalls.look(SECOND, SECOND + LATE_NS)
    assert stalls.look(SECOND, SECOND + LATE_NS + 1)
    assert (stalls.count, stalls.total_ns) == (1, LATE_NS + 1)


def test_the_notice_names_how_long():
    stalls = OwnStalls(VirtualClock())
    assert stalls.look(SECOND, 4 * SECOND)
    told = stalls.words(SECOND, 4 * SECOND)
    assert told is not None
    assert told[0] == "we did not run for 3.0 s ourselves"
    assert "3.0 s late" in told[1]


def test_a_machine_that_slept_is_told_by_the_clock_that_counts_sleep():
    clock = VirtualClock()
    clock.suspend_ns(90 * SECOND)  # before: none of our business
    stalls = OwnStalls(clock)
    assert not stalls.look(SECOND, SECOND)
    wall_ns = clock.wall_ns()
    clock.suspend_ns(60 * SECOND)
    assert clock.wall_ns() == wall_ns + 60 * SECOND
    assert stalls.look(SECOND, SECOND)
    told = stalls.words(SECOND, SECOND)
    assert told == (
        "we did not run for 60.0 s ourselves",
        "the machine was suspended: its clocks say so",
    )
    assert not stalls.look(SECOND, SECOND)


def test_stalls_in_a_row_are_told_once_and_summed():
    stalls = OwnStalls(VirtualClock())
    told = []
    for step in range(4):
        now_ns = SECOND + step * 600_000_000
        assert stalls.look(now_ns - 600_000_000, now_ns)
        told.append(stalls.words(now_ns - 600_000_000, now_ns))
    assert [each is not None for each in told] == [True, False, True, False]
    assert told[2] is not None
    assert told[2][0] == "we did not run for 1.2 s ourselves"
    assert "2 stalls" in told[2][1]
