"""How lifetimes spread, and when a line counts as slower than its sibling."""

from __future__ import annotations

from random import Random

from gapless.core.rotation import (
    LATE_AGAIN_NS,
    LATE_FOR_NS,
    LATE_NS,
    LATE_RATIO,
    LIFETIME_SPREAD,
    Laggards,
    lifetime_ns,
)

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def watched(lateness, seconds, laggards=None, start_s=0):
    """Look once a second; return when which lines were found, in seconds."""
    laggards = laggards or Laggards()
    found = []
    for second in range(start_s, start_s + seconds):
        late = lateness(second) if callable(lateness) else lateness
        found += [(second, line) for line in laggards.look(late, second * SECOND)]
    return found


def test_lifetimes_spread_below_the_plan_and_repeat_with_the_seed():
    rng = Random(1)
    lives = [lifetime_ns(24 * HOUR, rng) or 0 for _ in range(1000)]
    assert max(lives) <= 24 * HOUR
    assert min(lives) >= 24 * HOUR * (1 - LIFETIME_SPREAD)
    assert max(lives) - min(lives) >= 0.98 * 24 * HOUR * LIFETIME_SPREAD
    rng = Random(1)
    assert [lifetime_ns(24 * HOUR, rng) for _ in range(1000)] == lives
    assert lifetime_ns(None, rng) is None


def test_a_line_that_is_slow_for_a_minute_is_found_once_in_ten():
    found = watched({"a": 2_000_000, "b": 2 * LATE_NS}, 1200)
    minute, again = LATE_FOR_NS // SECOND, LATE_AGAIN_NS // SECOND
    assert found == [(minute, "b"), (minute + again, "b")]


def test_a_line_is_not_slow_by_little_nor_beside_one_that_is_as_slow():
    assert watched({"a": 0, "b": LATE_NS}, 300) == []
    assert watched({"a": LATE_NS, "b": LATE_RATIO * LATE_NS}, 300) == []
    assert watched({"a": LATE_NS, "b": LATE_RATIO * LATE_NS + 1}, 300) != []
    assert watched({"b": 10 * LATE_NS}, 300) == []  # nobody to compare with


def test_one_good_look_begins_the_minute_anew():
    slow = {"a": 0, "b": 2 * LATE_NS}
    fine = {"a": 0, "b": 0}
    assert watched(lambda second: fine if second % 50 == 0 else slow, 500) == []
    assert watched(lambda second: {"a": 0} if second % 50 == 0 else slow, 500) == []


def test_a_line_that_is_gone_is_forgotten():
    laggards = Laggards()
    slow = {"a": 0, "b": 2 * LATE_NS}
    assert watched(slow, 50, laggards) == []
    assert watched({"a": 0}, 1, laggards, 50) == []
    assert watched(slow, 50, laggards, 51) == []
