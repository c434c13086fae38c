"""Data that arrives late, told apart from clocks that differ."""

from __future__ import annotations

from gapless.core.lateness import LATE_NS, LONG_NS, WINDOW_NS, Baseline, LateWatch

MS = 1_000_000
SECOND = 1_000_000_000
TICK = 250 * MS


def test_only_growth_counts_whatever_the_two_clocks_say():
    for offset_ns in (-(10**18), 0, 10**18):
        base = Baseline()
        assert base.growth_ns(100 * SECOND, 100 * SECOND + offset_ns) == 0
        assert base.growth_ns(101 * SECOND, 101 * SECOND + offset_ns - 700 * MS) == 700 * MS
        assert base.growth_ns(102 * SECOND, 102 * SECOND + offset_ns + 5 * MS) == 0
        assert base.growth_ns(103 * SECOND, 103 * SECOND + offset_ns) == 5 * MS


def test_the_least_difference_is_known_from_the_first_message_on():
    base = Baseline()
    assert base.least_ns is None
    base.growth_ns(101 * SECOND, 100 * SECOND)
    base.growth_ns(102 * SECOND, 102 * SECOND - 20 * MS)
    base.growth_ns(103 * SECOND, 103 * SECOND - 30 * MS)
    assert base.least_ns == 20 * MS
    base.growth_ns(103 * SECOND + WINDOW_NS, 103 * SECOND + WINDOW_NS - 40 * MS)
    assert base.least_ns == 20 * MS  # of the window before


def test_a_least_age_is_forgotten_after_two_windows_because_clocks_drift():
    base = Baseline()
    base.growth_ns(SECOND, SECOND)
    now_ns = SECOND
    for _ in range(2):
        now_ns += WINDOW_NS
        grown_ns = base.growth_ns(now_ns, now_ns - SECOND)
    assert grown_ns == 0


def test_a_line_is_late_once_four_messages_and_a_quarter_second_say_so():
    watch = LateWatch()
    assert not watch.look(LATE_NS + 1, 100, 0)
    assert watch.look(LATE_NS + 1, 1, TICK)
    assert watch.since_ns == 0
    assert not watch.look(LATE_NS + 1, 1, 2 * TICK)  # it was said
    assert not watch.look(LATE_NS, 1, 3 * TICK)
    assert watch.since_ns == 0  # not well yet
    watch.look(LATE_NS // 2, 1, 4 * TICK)
    assert watch.since_ns is None


def test_one_old_image_is_no_lateness():
    watch = LateWatch()
    for tick in range(100):
        assert not watch.look(3600 * SECOND if tick == 0 else None, 1, tick * TICK)


def test_long_lateness_is_said_once():
    watch = LateWatch()
    said = [
        (watch.look(LATE_NS * 2, 5, now_ns), watch.long(now_ns))
        for now_ns in range(0, 3 * LONG_NS, TICK)
    ]
    assert sum(began for began, _ in said) == sum(long for _, long in said) == 1
    assert said[LONG_NS // TICK][1]


def test_what_we_received_late_ourselves_is_not_the_lines_fault():
    watch = LateWatch()
    watch.forgive(0)
    assert not watch.look(3 * SECOND, 100, 1)
    assert not watch.look(0, 100, TICK)
    assert watch.since_ns is None
