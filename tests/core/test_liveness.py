"""Silence: a dead path, a stalled feed, a quiet topic, and no false alarm."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest

from gapless.core.liveness import (
    FeedPolicy,
    FeedWatch,
    PathPolicy,
    PathVerdict,
    PathWatch,
    Silence,
)

MS = 1_000_000
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
TICK = 250 * MS
POLICY = FeedPolicy()
PATH = PathPolicy()
T0 = 1_000 * SECOND


# -- the path -------------------------------------------------------------------------------


def test_no_answer_to_a_ping_is_dead_exactly_at_quiet_plus_pong():
    watch = PathWatch(PATH, T0)
    assert watch.deadline_ns(T0) == T0 + PATH.quiet_ns
    assert watch.check(T0, T0 + PATH.quiet_ns - 1) is PathVerdict.FINE
    assert watch.check(T0, T0 + PATH.quiet_ns) is PathVerdict.PING
    dead_ns = T0 + PATH.quiet_ns + PATH.pong_ns
    assert watch.deadline_ns(T0) == dead_ns
    assert watch.check(T0, dead_ns - 1) is PathVerdict.FINE
    assert watch.check(T0, dead_ns) is PathVerdict.DEAD


def test_the_path_is_watched_from_the_upgrade_and_not_from_the_first_frame():
    assert PathWatch(PATH, T0).check(0, T0 + PATH.quiet_ns) is PathVerdict.PING


def test_any_frame_answers_a_ping():
    watch = PathWatch(PATH, T0)
    assert watch.check(T0, T0 + SECOND) is PathVerdict.PING
    heard_ns = T0 + SECOND + 200 * MS
    assert watch.deadline_ns(heard_ns) == heard_ns + PATH.quiet_ns
    assert watch.check(heard_ns, T0 + 2 * SECOND) is PathVerdict.FINE
    assert watch.check(heard_ns, heard_ns + PATH.quiet_ns) is PathVerdict.PING


def test_a_busy_path_is_never_pinged():
    watch = PathWatch(PATH, T0)
    for step in range(1, 400):
        now_ns = T0 + step * TICK
        assert watch.check(now_ns - 10 * MS, now_ns) is PathVerdict.FINE


def test_pings_slow_down_while_pongs_are_all_that_comes_and_no_further():
    watch, heard_ns, pinged = PathWatch(PATH, T0), T0, []
    for _ in range(6):
        now_ns = watch.deadline_ns(heard_ns)
        while watch.check(heard_ns, now_ns) is PathVerdict.FINE:
            now_ns = watch.deadline_ns(heard_ns)
        pinged.append(now_ns - heard_ns)
        heard_ns = now_ns + 5 * MS
        watch.pong(heard_ns)
    assert pinged == [seconds * SECOND for seconds in (1, 2, 4, 5, 5, 5)]


def test_a_slowed_down_path_is_dead_one_pong_time_after_its_ping():
    watch, heard_ns = PathWatch(PATH, T0), T0
    for _ in range(4):
        now_ns = T0
        while watch.check(heard_ns, now_ns) is not PathVerdict.PING:
            now_ns += MS
        heard_ns = now_ns + MS
        watch.pong(heard_ns)
    while watch.check(heard_ns, now_ns) is not PathVerdict.PING:
        now_ns += MS
    assert watch.check(heard_ns, now_ns + PATH.pong_ns - 1) is PathVerdict.FINE
    assert watch.check(heard_ns, now_ns + PATH.pong_ns) is PathVerdict.DEAD


def test_data_makes_a_slowed_down_path_quick_again():
    watch = PathWatch(PATH, T0)
    assert watch.check(T0, T0 + SECOND) is PathVerdict.PING
    watch.pong(T0 + SECOND + 1)
    assert watch.check(T0 + SECOND + 1, T0 + SECOND + 2) is PathVerdict.FINE
    data_ns = T0 + 2 * SECOND
    assert watch.check(data_ns, data_ns) is PathVerdict.FINE
    assert watch.check(data_ns, data_ns + PATH.quiet_ns) is PathVerdict.PING


def test_the_round_trip_is_from_the_ping_to_its_pong():
    watch = PathWatch(PATH, T0)
    watch.pong(T0 + 1)  # unsolicited: measures nothing
    assert (watch.pong_ns, watch.rtt_ns) == (T0 + 1, None)
    assert watch.check(T0, T0 + SECOND) is PathVerdict.PING
    watch.pong(T0 + SECOND + 42 * MS)
    assert watch.rtt_ns == 42 * MS


def test_a_path_that_is_slow_by_nature_is_given_the_time_that_its_round_trips_take():
    watch, now_ns = PathWatch(PATH, T0), T0
    for _ in range(30):
        now_ns += PATH.quiet_ns
        assert watch.suspect(now_ns, now_ns)
        watch.pong(now_ns + 1500 * MS)
        now_ns += 1500 * MS
    heard_ns = now_ns
    while watch.check(heard_ns, now_ns) is not PathVerdict.PING:
        now_ns += MS
    assert watch.check(heard_ns, now_ns + 1499 * MS) is PathVerdict.FINE
    assert watch.check(heard_ns, now_ns + PATH.pong_max_ns) is PathVerdict.DEAD


def test_a_ping_on_suspicion_goes_out_at_once_and_ends_nobody_earlier():
    watch = PathWatch(PATH, T0)
    assert watch.suspect(T0, T0 + 500 * MS)
    assert not watch.suspect(T0, T0 + 700 * MS)  # it is under way
    dead_ns = T0 + PATH.quiet_ns + PATH.pong_ns
    assert watch.check(T0, dead_ns - 1) is PathVerdict.FINE
    assert watch.check(T0, dead_ns) is PathVerdict.DEAD


def test_an_answered_suspicion_says_when_everything_had_arrived():
    watch = PathWatch(PATH, T0)
    assert watch.pings.proven_ns is None
    assert watch.suspect(T0, T0 + 500 * MS)
    watch.pong(T0 + 510 * MS)
    assert watch.pings.proven_ns == T0 + 500 * MS
    assert watch.rtt_ns == 10 * MS
    assert watch.check(T0 + 510 * MS, T0 + 511 * MS) is PathVerdict.FINE


def test_a_path_is_forgiven_what_we_slept_through():
    watch = PathWatch(PATH, T0)
    assert watch.check(T0, T0 + SECOND) is PathVerdict.PING
    awake_ns = T0 + 60 * SECOND
    watch.forgive(awake_ns)
    assert watch.check(T0, awake_ns) is PathVerdict.FINE
    assert watch.check(T0, awake_ns + PATH.quiet_ns) is PathVerdict.PING
    watch.forgive(T0)  # never backwards
    assert watch.check(T0, awake_ns + PATH.quiet_ns) is PathVerdict.PING


# -- the feed -------------------------------------------------------------------------------


def steady(interval_ns: int, count: int, policy: FeedPolicy = POLICY) -> tuple[FeedWatch, int]:
    """Return a watch that has seen ``count`` messages at a steady rhythm, and the last time."""
    watch = FeedWatch(policy, T0)
    for step in range(1, count + 1):
        watch.sample(1, T0 + step * interval_ns)
    return watch, T0 + count * interval_ns


def first_alarm(watch: FeedWatch, last_ns: int, alive: bool, until_ns: int) -> int | None:
    """Return how long after ``last_ns`` the watch calls it stalled, on the tick."""
    now_ns = last_ns
    while now_ns < last_ns + until_ns:
        now_ns += TICK
        if watch.judge(now_ns, now_ns if alive else last_ns) is Silence.STALLED:
            return now_ns - last_ns
    return None


def test_a_fast_feed_that_stops_while_other_data_comes_is_stalled_within_two_seconds():
    watch, last_ns = steady(50 * MS, 2000)
    found_ns = first_alarm(watch, last_ns, alive=True, until_ns=60 * SECOND)
    assert found_ns == POLICY.floor_ns + POLICY.confirm_ns


def test_a_pong_proves_the_silence_up_to_its_ping_and_no_further():
    watch, last_ns = steady(50 * MS, 2000)
    now_ns, pinged_ns = last_ns + 10 * SECOND, last_ns + watch.limit_ns
    assert watch.judge(now_ns, None, pinged_ns - 1) is Silence.NONE
    assert watch.judge(now_ns, None, pinged_ns) is Silence.STALLED
    assert watch.judge(pinged_ns, None, pinged_ns) is Silence.STALLED


def test_while_the_kernel_sends_again_other_data_must_outlive_the_silence_for_longer():
    watch, last_ns = steady(50 * MS, 2000)
    for sick, wait_ns in ((False, POLICY.confirm_ns), (True, POLICY.sick_ns)):
        due_ns = last_ns + watch.limit_ns + wait_ns
        assert watch.judge(due_ns - 1, due_ns - 1, sick=sick) is Silence.NONE
        assert watch.judge(due_ns, due_ns, sick=sick) is Silence.STALLED


def test_silence_on_a_dead_path_proves_nothing_about_the_venue():
    watch, last_ns = steady(50 * MS, 2000)
    assert first_alarm(watch, last_ns, alive=False, until_ns=60 * SECOND) is None
    assert watch.judge(last_ns + HOUR, None) is Silence.NONE
    # one last frame of something else, just after the data stopped, is no proof of life
    assert watch.judge(last_ns + HOUR, last_ns + POLICY.floor_ns // 2 - 1) is Silence.NONE
    assert watch.judge(last_ns + HOUR, last_ns + POLICY.floor_ns // 2) is Silence.STALLED


def test_a_feed_is_stalled_exactly_at_its_limit():
    watch, last_ns = steady(50 * MS, 2000)
    limit_ns = watch.limit_ns
    assert limit_ns == POLICY.floor_ns
    proven_ns = last_ns + SECOND
    assert watch.judge(last_ns + limit_ns - 1, None, proven_ns) is Silence.NONE
    assert watch.judge(last_ns + limit_ns, None, proven_ns) is Silence.STALLED


def test_the_feed_is_watched_from_the_subscribe_and_not_from_the_first_message():
    watch = FeedWatch(POLICY, T0)
    assert watch.judge(T0 + POLICY.unproven_ns - 1, T0 + 1) is Silence.NONE
    assert watch.judge(T0 + POLICY.unproven_ns, T0 + 1) is Silence.UNPROVEN
    assert watch.silent_ns(T0 + 7) == 7


@pytest.mark.parametrize("intervals", [1, 2, 5, 19])
def test_a_young_rhythm_is_doubted_as_the_odds_say(intervals):
    watch, last_ns = steady(5 * SECOND, intervals + 1)
    silence_s = watch.limit_ns / SECOND
    if silence_s < 3600:  # bounded, however little is known
        # What comes every 5 s is 2.5 s old on average.
        odds = (1 + silence_s / 2.5 / intervals) ** -intervals
        assert odds == pytest.approx(math.exp(-POLICY.phi), rel=0.01)
    assert watch.judge(last_ns + watch.limit_ns - 1, None, last_ns + HOUR) is Silence.NONE


def test_a_slow_topic_is_judged_by_its_own_rhythm():
    watch, last_ns = steady(10 * SECOND, 100)
    # 18 times the average age, which is 5 s, and a little more for 99 intervals only
    assert 90 * SECOND <= watch.limit_ns <= 100 * SECOND
    assert watch.judge(last_ns + 60 * SECOND, last_ns + 1) is Silence.NONE
    assert watch.silent_ns(last_ns + 60 * SECOND) == 60 * SECOND


def test_the_longest_silence_so_far_counts_four_times_where_it_is_beyond_the_odds():
    watch, last_ns = steady(50 * MS, 20_000)
    watch.sample(1, last_ns + 20 * SECOND)
    assert watch.limit_ns == 4 * 20 * SECOND


def test_a_burst_after_a_silence_is_one_arrival_after_that_silence():
    watch = FeedWatch(POLICY, T0)
    watch.sample(1, T0)
    watch.sample(100, T0 + 30 * SECOND)
    assert watch.limit_ns >= 3 * 29 * SECOND


def test_a_silence_that_a_fault_made_is_not_learned():
    watch, last_ns = steady(50 * MS, 2000)
    limit_ns = watch.limit_ns
    watch.arm(last_ns + 20 * SECOND)  # a new session, after a stall
    watch.sample(1, last_ns + 30 * SECOND)
    assert watch.limit_ns == limit_ns


def test_patience_grows_four_times_with_each_alarm_in_vain_and_is_bounded():
    watch, last_ns = steady(50 * MS, 2000)
    limits = []
    now_ns = last_ns
    for _ in range(9):
        limits.append(watch.limit_ns)
        now_ns += watch.limit_ns
        assert watch.judge(now_ns - 1, now_ns, now_ns) is Silence.NONE
        assert watch.judge(now_ns, now_ns, now_ns) is Silence.STALLED
        watch.acted(now_ns)
    ratios = [later / earlier for earlier, later in pairwise(limits)]
    assert ratios == [4.0] * 6 + [1.0] * 2


def test_probes_of_a_topic_that_never_spoke_come_at_four_times_the_distance():
    watch, now_ns, found = FeedWatch(POLICY, T0), T0, []
    for _ in range(4):
        start_ns = now_ns
        while watch.judge(now_ns, now_ns) is not Silence.UNPROVEN:
            now_ns += SECOND
        found.append((now_ns - start_ns) // SECOND)
        watch.acted(now_ns)
    assert found == [8, 32, 128, 512]


def test_speaking_ends_the_patience():
    watch, last_ns = steady(50 * MS, 2000)
    watch.acted(last_ns + 2 * SECOND)
    assert watch.limit_ns == 4 * POLICY.floor_ns
    watch.sample(1, last_ns + 3 * SECOND)
    assert watch.limit_ns < 4 * POLICY.floor_ns + 2 * SECOND


def test_only_what_arrived_on_this_line_ends_the_patience():
    watch, last_ns = steady(50 * MS, 2000)
    watch.acted(last_ns + 2 * SECOND)
    limit_ns = watch.limit_ns
    for _ in range(50):
        watch.sample(3, last_ns)  # a sibling line spoke; this one is still silent
    assert watch.limit_ns == limit_ns


def test_nothing_fresh_teaches_nothing():
    watch, last_ns = steady(10 * SECOND, 100)
    limit_ns = watch.limit_ns
    watch.sample(0, last_ns + HOUR)
    watch.sample(-1, last_ns + HOUR)
    assert watch.limit_ns == limit_ns


def test_a_new_subscription_starts_the_count_anew():
    watch, last_ns = steady(50 * MS, 2000)
    armed_ns = last_ns + 60 * SECOND
    watch.arm(armed_ns)
    proven_ns = armed_ns + SECOND
    assert watch.judge(armed_ns + POLICY.floor_ns - 1, None, proven_ns) is Silence.NONE
    assert watch.judge(armed_ns + POLICY.floor_ns, None, proven_ns) is Silence.STALLED


@pytest.mark.parametrize(
    ("mean_ns", "hours", "seed"),
    [(50 * MS, 1, 1), (2 * SECOND, 6, 2), (30 * SECOND, 24, 3), (30 * SECOND, 24, 4)],
)
def test_arrivals_at_random_give_no_false_alarm_for_hours(mean_ns, hours, seed):
    rng = Random(seed)
    watch = FeedWatch(POLICY, T0)
    now_ns, next_ns, last_ns = T0, T0 + int(rng.expovariate(1 / mean_ns)), T0
    while now_ns < T0 + hours * HOUR:
        # Only ticks at which something can change are looked at: with an arrival, or late.
        ahead_ns = max(TICK, (next_ns - now_ns) // TICK * TICK)
        now_ns += ahead_ns
        assert watch.judge(now_ns - TICK, None, now_ns - TICK) is not Silence.STALLED
        fresh = 0
        while next_ns <= now_ns:
            fresh, last_ns = fresh + 1, next_ns
            next_ns += max(1, int(rng.expovariate(1 / mean_ns)))
        watch.sample(fresh, last_ns)
        assert watch.judge(now_ns, None, now_ns) is not Silence.STALLED
