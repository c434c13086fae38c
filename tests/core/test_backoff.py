from __future__ import annotations

from random import Random

import pytest

from gapless.core.backoff import Backoff, BackoffPolicy
from gapless.core.reaction import STAY_AWAY, Ending

SECOND = 10**9
MS = 10**6
SEEDS = range(400)


class Highest(Random):
    """Always draws the upper end, so that ceilings show."""

    def randint(self, a, b):
        return b


class Lowest(Random):
    def randint(self, a, b):
        return a


def highest(**bounds):
    return Backoff(BackoffPolicy(**bounds), Highest())


def lowest():
    return Backoff(BackoffPolicy(), Lowest())


@pytest.mark.parametrize("live_ns", [0, 10 * MS, 900 * MS])
def test_a_venue_that_accepts_and_closes_for_30_s_sees_8_dials_at_most(live_ns):
    most = 0
    for seed in SEEDS:
        backoff = Backoff(BackoffPolicy(), Random(seed))
        now_ns, dials = 0, 0
        while now_ns < 30 * SECOND:
            dials += 1
            now_ns += live_ns
            backoff.useful(live_ns)
            now_ns += backoff.wait_ns(Ending.UNSTABLE, now_ns)
        most = max(most, dials)
    assert 2 <= most <= 8


@pytest.mark.parametrize("refusal_ns", [0, 5 * MS])
def test_an_outage_of_8_s_is_over_for_us_within_3_s_of_its_end(refusal_ns):
    for seed in SEEDS:
        backoff = Backoff(BackoffPolicy(), Random(seed))
        now_ns, dials = backoff.wait_ns(Ending.UNSTABLE, 0), 0
        while now_ns < 8 * SECOND:  # refused
            dials += 1
            now_ns += refusal_ns
            now_ns += backoff.wait_ns(Ending.NEVER_UPGRADED, now_ns)
        assert now_ns <= 11 * SECOND
        assert dials <= 40


def test_a_planned_end_waits_for_nothing_and_counts_nothing():
    backoff = highest()
    assert [backoff.wait_ns(Ending.PLANNED, 0) for _ in range(5)] == [0] * 5
    assert backoff.wait_ns(Ending.UNSTABLE, 0) == 250 * MS


def test_the_ceiling_of_failed_dials_grows_to_1500_ms_while_the_outage_is_young():
    backoff = highest()
    waits = [backoff.wait_ns(Ending.NEVER_UPGRADED, 0) for _ in range(6)]
    assert waits == [250 * MS, 500 * MS, 1000 * MS, 1500 * MS, 1500 * MS, 1500 * MS]


def test_an_outage_is_young_for_90_s_exactly():
    backoff = highest()
    for _ in range(10):
        backoff.wait_ns(Ending.NEVER_UPGRADED, 7)
    assert backoff.wait_ns(Ending.NEVER_UPGRADED, 90 * SECOND + 6) == 1500 * MS
    assert backoff.wait_ns(Ending.NEVER_UPGRADED, 90 * SECOND + 7) == 30 * SECOND


@pytest.mark.parametrize("ending", sorted(STAY_AWAY, key=str))
def test_what_the_venue_says_to_all_is_not_the_lines_own_affair(ending):
    backoff = highest()
    assert [backoff.wait_ns(ending, 0) for _ in range(5)] == [0] * 5
    assert backoff.wait_ns(Ending.UNSTABLE, 0) == 250 * MS


def test_full_jitter_reaches_down_to_nothing_for_failed_dials_only():
    assert lowest().wait_ns(Ending.NEVER_UPGRADED, 0) == 0
    backoff = lowest()
    assert [backoff.wait_ns(Ending.UNSTABLE, 0) for _ in range(3)] == [0, SECOND // 2, SECOND]


def test_an_upgrade_makes_the_outage_young_again():
    backoff = highest()
    for _ in range(10):
        backoff.wait_ns(Ending.NEVER_UPGRADED, 0)
    backoff.wait_ns(Ending.UNSTABLE, 100 * SECOND)
    assert backoff.wait_ns(Ending.NEVER_UPGRADED, 100 * SECOND) == 250 * MS


def test_waits_after_unstable_sessions_double_up_to_30_s():
    backoff = highest()
    waits = [backoff.wait_ns(Ending.UNSTABLE, 0) for _ in range(8)]
    assert waits == [250 * MS] + [n * SECOND for n in (1, 2, 4, 8, 16, 30, 30)]


@pytest.mark.parametrize(("lost", "floor_us"), [(1, 0), (2, 7_500), (200, 1_492_500)])
def test_the_first_redial_comes_later_the_more_sessions_were_lost_before(lost, floor_us):
    assert lowest().wait_ns(Ending.UNSTABLE, 0, lost_last_s=lost) == floor_us * 1000
    assert highest().wait_ns(Ending.UNSTABLE, 0, lost_last_s=lost) == floor_us * 1000 + 250 * MS


def test_refused_logins_are_tried_after_half_a_minute_two_and_then_every_ten():
    backoff = lowest()
    waits = [backoff.wait_ns(Ending.LOGIN, 0) for _ in range(5)]
    assert waits == [n * SECOND for n in (30, 120, 600, 600, 600)]
    assert highest().wait_ns(Ending.LOGIN, 0) == 33 * SECOND


ENDINGS = [Ending.UNSTABLE, Ending.NEVER_UPGRADED, Ending.LOGIN]


@pytest.mark.parametrize("ending", ENDINGS)
def test_counts_reset_after_stable_data_exactly_and_never_before(ending):
    backoff, fresh = highest(), highest().wait_ns(ending, 0)
    for _ in range(6):
        backoff.wait_ns(ending, 0)
    backoff.useful(30 * SECOND - 1)
    assert backoff.wait_ns(ending, 0) > fresh
    backoff.useful(30 * SECOND)
    assert backoff.wait_ns(ending, 0) == fresh


def test_seconds_of_data_lower_the_flap_count_by_two_and_less_does_not():
    backoff = highest()
    waits = []
    for live_ns in (5 * SECOND - 1, 5 * SECOND - 1, 5 * SECOND, 5 * SECOND, 5 * SECOND):
        backoff.useful(live_ns)
        waits.append(backoff.wait_ns(Ending.UNSTABLE, 0))
    assert waits == [250 * MS, SECOND, 250 * MS, 250 * MS, 250 * MS]


def test_stable_data_ends_the_outage():
    backoff = highest()
    for _ in range(9):
        backoff.wait_ns(Ending.NEVER_UPGRADED, 0)
    backoff.useful(30 * SECOND)
    for _ in range(9):
        backoff.wait_ns(Ending.NEVER_UPGRADED, 100 * SECOND)
    assert backoff.wait_ns(Ending.NEVER_UPGRADED, 101 * SECOND) == 1500 * MS


@pytest.mark.parametrize(
    ("ending", "ceiling_ns"),
    [
        (Ending.UNSTABLE, 30 * SECOND),
        (Ending.NEVER_UPGRADED, 30 * SECOND),
        (Ending.LOGIN, 660 * SECOND),
    ],
)
def test_a_thousand_failures_in_a_row_do_not_overflow_any_ceiling(ending, ceiling_ns):
    backoff = highest()
    for n in range(1000):
        wait_ns = backoff.wait_ns(ending, n * SECOND)
    assert wait_ns == ceiling_ns
