"""The breaker: every state, every step, and what refusals by those who came too early change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.breaker import PROBE_NS, Breaker, BreakerPolicy, BreakerState

SECOND = 10**9
MS = 10**6


def refuse(breaker, now_ns, retry_after_ns=None, *, ban=True, **more):
    return breaker.refused(now_ns, retry_after_ns, ban=ban, **({"probe": True} | more))


def test_a_fresh_breaker_is_closed_and_knows_no_probe():
    breaker = Breaker()
    assert breaker.state(0) is BreakerState.CLOSED
    assert breaker.wait_ns(0) == 0
    assert not breaker.dialled(0)
    breaker.accepted(0, lasting=True)
    breaker.abandoned()
    assert breaker.state(0) is BreakerState.CLOSED


def test_bans_keep_us_away_for_half_a_minute_then_two_then_ten_at_a_time():
    breaker, now_ns, waits = Breaker(), 5 * SECOND, []
    for _ in range(5):
        waits.append(refuse(breaker, now_ns))
        assert breaker.wait_ns(now_ns + waits[-1] - 1) == 1
        now_ns += waits[-1]
        assert breaker.wait_ns(now_ns) == 0
        assert breaker.dialled(now_ns)
    assert waits == [n * SECOND for n in (30, 120, 600, 600, 600)]


def test_too_much_without_a_time_is_probed_gently_for_90_s_and_then_like_a_ban():
    breaker, now_ns, waits = Breaker(), SECOND, []
    while now_ns < 400 * SECOND:
        waits.append(refuse(breaker, now_ns, ban=False))
        now_ns += waits[-1]
        breaker.dialled(now_ns)
    assert waits[:4] == [500 * MS, 1000 * MS, 1250 * MS, 1250 * MS]
    young = [wait for wait in waits if wait < 30 * SECOND]
    assert 89 * SECOND <= sum(young) <= 92 * SECOND
    assert waits[len(young) :][:2] == [30 * SECOND, 120 * SECOND]


@given(st.integers(2 * SECOND, 7 * 86_400 * SECOND), st.floats(0, 1), st.booleans())
def test_a_time_that_the_venue_names_is_kept_and_at_most_250_ms_more(named_ns, jitter, ban):
    breaker = Breaker()
    stay_ns = refuse(breaker, SECOND, named_ns, ban=ban, jitter=jitter)
    assert named_ns <= stay_ns <= named_ns + 250 * MS


def test_a_time_of_nothing_is_no_leave_to_dial_without_end():
    breaker, now_ns, dials = Breaker(), SECOND, 0
    while now_ns < 31 * SECOND:
        now_ns += refuse(breaker, now_ns, 0, ban=False)
        breaker.dialled(now_ns)
        dials += 1
    assert dials <= 27


def test_one_probe_goes_alone_and_its_success_lets_everybody_dial():
    breaker = Breaker()
    refuse(breaker, SECOND)
    assert breaker.state(SECOND) is BreakerState.OPEN
    breaker.accepted(2 * SECOND, lasting=True)  # of somebody who had dialled before
    assert breaker.state(2 * SECOND) is BreakerState.OPEN
    at_ns = 31 * SECOND
    assert breaker.dialled(at_ns)
    assert breaker.state(at_ns) is BreakerState.PROBING
    assert breaker.wait_ns(at_ns) == PROBE_NS
    breaker.accepted(at_ns + MS, lasting=False)
    assert breaker.state(at_ns + MS) is BreakerState.CLOSED


def test_after_a_policy_close_an_upgrade_alone_proves_nothing():
    breaker = Breaker()
    refuse(breaker, SECOND, lasting=True)
    breaker.dialled(31 * SECOND)
    breaker.accepted(31 * SECOND, lasting=False)
    assert breaker.state(31 * SECOND) is BreakerState.PROBING
    breaker.accepted(31 * SECOND, lasting=True)
    assert breaker.state(31 * SECOND) is BreakerState.CLOSED


def test_those_who_had_dialled_before_they_could_know_do_not_make_it_longer():
    breaker = Breaker()
    refuse(breaker, SECOND, probe=False)
    for n in range(20):
        refuse(breaker, SECOND + n, probe=False)
    assert breaker.wait_ns(SECOND + 20) <= 30 * SECOND
    refuse(breaker, SECOND + 30, 40 * SECOND, probe=False)  # but a later time that is named does
    assert breaker.wait_ns(SECOND + 30) == 40 * SECOND


def test_a_probe_that_is_heard_of_no_more_is_over_after_15_s():
    breaker = Breaker()
    refuse(breaker, SECOND)
    breaker.dialled(31 * SECOND)
    assert breaker.wait_ns(31 * SECOND + PROBE_NS - 1) == 1
    assert breaker.wait_ns(31 * SECOND + PROBE_NS) == 0
    assert breaker.state(31 * SECOND + PROBE_NS) is BreakerState.OPEN


def test_an_abandoned_probe_makes_room_at_once_and_counts_nothing():
    breaker = Breaker()
    refuse(breaker, SECOND)
    breaker.dialled(31 * SECOND)
    breaker.abandoned()
    assert breaker.wait_ns(31 * SECOND) == 0
    assert breaker.dialled(31 * SECOND)
    assert refuse(breaker, 31 * SECOND) == 120 * SECOND


@pytest.mark.parametrize(("quiet_s", "wait_s"), [(599, 120), (600, 30)])
def test_bans_are_forgotten_after_ten_minutes_without_one(quiet_s, wait_s):
    breaker = Breaker()
    refuse(breaker, SECOND)
    breaker.dialled(31 * SECOND)
    breaker.accepted(31 * SECOND, lasting=True)
    assert refuse(breaker, (1 + quiet_s) * SECOND) == wait_s * SECOND


def test_two_answers_of_too_much_minutes_apart_are_no_ban():
    breaker = Breaker()
    refuse(breaker, SECOND, ban=False)
    breaker.dialled(2 * SECOND)
    breaker.accepted(2 * SECOND, lasting=True)
    assert refuse(breaker, 200 * SECOND, ban=False) == 500 * MS


def test_the_policy_bounds_every_wait():
    policy = BreakerPolicy(ban_ns=(7,), busy_first_ns=1, busy_max_ns=2)
    breaker = Breaker(policy)
    assert [refuse(breaker, 1), refuse(breaker, 1), refuse(breaker, 1, ban=False)] == [7, 7, 2]


def test_a_probe_that_took_longer_than_it_may_is_believed_when_it_is_taken():
    breaker, now_ns = Breaker(), 100 * SECOND
    stay_ns = breaker.refused(now_ns, None, ban=True, probe=False, lasting=True)
    assert breaker.dialled(now_ns + stay_ns)
    live_ns = now_ns + stay_ns + PROBE_NS + SECOND  # it had a long chain to subscribe
    assert breaker.state(live_ns) is BreakerState.OPEN
    breaker.accepted(live_ns, lasting=False)
    assert breaker.state(live_ns) is BreakerState.OPEN, "an upgrade alone proves nothing here"
    breaker.accepted(live_ns, lasting=True)
    assert breaker.state(live_ns) is BreakerState.CLOSED
    # And whoever is banned after that is left alone for longer.
    assert breaker.refused(live_ns + SECOND, None, ban=True, probe=False, lasting=True) > stay_ns


def test_what_comes_late_while_the_venue_wants_nobody_opens_nothing():
    breaker, now_ns = Breaker(), 100 * SECOND
    stay_ns = breaker.refused(now_ns, SECOND, ban=False, probe=False)
    assert breaker.dialled(now_ns + stay_ns)
    breaker.refused(now_ns + stay_ns + 1, 600 * SECOND, ban=False, probe=False)
    late_ns = now_ns + stay_ns + PROBE_NS + SECOND
    breaker.accepted(late_ns, lasting=True)
    assert breaker.state(late_ns) is BreakerState.OPEN
