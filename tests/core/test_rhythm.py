"""What is learned of a rhythm, against what probability theory says of known ones."""

from __future__ import annotations

import math
from random import Random

import pytest

from gapless.core.rhythm import Rhythm, RhythmPolicy

SECOND = 1_000_000_000
POLICY = RhythmPolicy()


def learned(gaps_s):
    rhythm = Rhythm(POLICY)
    for gap_s in gaps_s:
        rhythm.learn(1, int(gap_s * SECOND))
    return rhythm


def test_the_mean_age_of_a_clock_is_half_its_period_and_of_chance_its_whole_mean():
    rng = Random(1)
    assert learned([2.0] * 500).mean_age_ns == pytest.approx(1.0 * SECOND)
    by_chance = learned([rng.expovariate(0.5) for _ in range(20_000)])
    assert by_chance.mean_age_ns == pytest.approx(2.0 * SECOND, rel=0.05)


def test_an_age_is_as_improbable_as_the_exponential_law_says():
    rng = Random(2)
    rhythm = learned([rng.expovariate(1.0) for _ in range(2000)])
    assert rhythm.phi(5 * SECOND) == pytest.approx(5.0, rel=0.1)
    assert rhythm.limit_ns == pytest.approx(POLICY.phi * SECOND, rel=0.1)
    assert rhythm.stale_ns == pytest.approx(POLICY.phi_stale * SECOND, rel=0.1)


def test_a_clock_is_expected_sooner_than_chance():
    assert learned([1.0] * 300).limit_ns == 5 * SECOND
    assert learned([1.0] * 300).stale_ns <= 8 * SECOND


def test_a_tail_beyond_the_law_is_given_several_times_its_longest():
    rng = Random(3)
    gaps = [rng.expovariate(20.0) for _ in range(20_000)]
    gaps[10_000] = 30.0
    assert learned(gaps).limit_ns == 120 * SECOND


def test_what_was_seen_for_a_few_seconds_only_may_have_been_a_burst():
    limits = []
    for seconds in (2, 4, 13, 60, 120):
        rhythm = Rhythm(POLICY)
        for _ in range(seconds * 4):
            rhythm.learn(10, SECOND // 4, 0)
        limits.append(rhythm.limit_ns / SECOND)
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > 400
    assert limits[2] == pytest.approx(13.0)
    assert limits[-1] < 1.0


def test_nothing_proves_nothing():
    rhythm = Rhythm(POLICY)
    assert not rhythm.tells
    assert rhythm.phi(SECOND) == 0.0
    assert rhythm.count == rhythm.longest_ns == 0


def test_where_even_the_law_allows_more_than_the_cap_silence_is_not_judged():
    assert learned([600.0] * 30).tells
    day_s = 86_400.0
    assert not learned([day_s] * 30).tells


def test_old_habits_count_half_after_each_stretch_of_memory():
    hour_s = POLICY.memory_ns / SECOND
    rhythm = learned([60.0, *[1.0] * int(2 * hour_s)])
    assert rhythm.longest_ns == 60 * SECOND
    for _ in range(int(2 * hour_s)):
        rhythm.learn(1, SECOND)
    assert rhythm.longest_ns == SECOND
    assert rhythm.mean_age_ns == pytest.approx(SECOND / 2, rel=0.2)


def test_many_arrivals_between_two_looks_are_taken_as_random():
    rhythm = Rhythm(POLICY)
    for _ in range(1000):
        rhythm.learn(5, SECOND // 4, 0)
    assert rhythm.mean_age_ns == pytest.approx(SECOND / 20)
    assert rhythm.limit_ns == pytest.approx(
        1000 * math.expm1(POLICY.phi / 1000) * SECOND / 20, rel=0.01
    )
