"""Storms: by seed, in range, with time to heal."""

import itertools

import pytest
from tests.simulation.stage import VENUES

from gapless.sim.build import simulate
from gapless.sim.faults import Fault
from gapless.testing.script import HEAL_S
from gapless.testing.storms import CLOG_MAX_S, DELAY_MS, LOSS_MAX, random_storm
from gapless.testing.weather import Calamity

both = pytest.mark.parametrize("venue", VENUES)
SEEDS = range(60)


@both
def test_a_seed_decides_everything(venue):
    assert random_storm(venue, 4, 10.0) == random_storm(venue, 4, 10.0)
    assert random_storm(venue, 4, 10.0) != random_storm(venue, 5, 10.0)


@both
def test_everything_is_in_order_can_be_carried_out_and_leaves_time_to_heal(venue):
    exchange = simulate(venue)
    for seed in SEEDS:
        plan = random_storm(venue, seed, 10.0).plan
        assert len(plan) >= 20
        assert [p.at_s for p in plan] == sorted(p.at_s for p in plan)
        for planned in plan:
            assert planned.at_s + (planned.fault.for_s or 0) <= 600 - HEAL_S
            if isinstance(planned.fault, Fault):
                planned.fault.check()
                assert exchange.supports(planned.fault.name)


@both
def test_what_is_drawn_stays_in_range(venue):
    for seed in SEEDS:
        storm = random_storm(venue, seed, 10.0)
        assert set(storm.ways) == {"a", "b", "rest"}
        for latency_ms, jitter_ms, loss in storm.ways.values():
            round_trip_ms = 2 * (latency_ms + jitter_ms / 2)
            assert DELAY_MS[0] <= round_trip_ms <= DELAY_MS[1]
            assert 0 <= loss <= LOSS_MAX
        faults = [planned.fault for planned in storm.plan]
        assert all(f.for_s <= CLOG_MAX_S for f in faults if f.name == "clog")
        assert all(f.share <= LOSS_MAX for f in faults if f.name == "loss")


@both
def test_there_are_storms_of_single_lines_and_storms_of_all(venue):
    storms = [random_storm(venue, seed, 10.0) for seed in SEEDS]
    assert 15 < sum(storm.single for storm in storms) < 45
    for storm in storms:
        lines = {planned.line for planned in storm.plan}
        assert lines == ({"a", "b"} if storm.single else {"a", "b", None})
        if storm.single:
            assert all(loss == 0 for _, _, loss in storm.ways.values())
            firsts = [p for p in storm.plan if p.calm]
            assert len(firsts) >= len(storm.plan) // 2


@both
def test_one_line_can_be_asked_for_and_then_everything_strikes_it(venue):
    storm = random_storm(venue, 1, 10.0, lines=1)
    assert not storm.single
    assert {planned.line for planned in storm.plan} == {None}


@both
def test_every_kind_is_drawn_sooner_or_later(venue):
    drawn = {p.fault.name for seed in SEEDS for p in random_storm(venue, seed, 10.0).plan}
    network = {"slow", "loss", "clog", "partition", "half_open_in", "half_open_out", "crash"}
    venue_too = {"reset", "close", "drop", "duplicate", "reorder", "silence", "half_open", "lag"}
    dials = {"accept_close", "refuse", "late_ack", "outage", "rest_fail", "stale_snapshot"}
    assert drawn >= network | venue_too | dials


def test_what_waits_for_a_dial_is_followed_by_one():
    for seed in SEEDS:
        plan = random_storm("deribit", seed, 10.0).plan
        for planned, following in itertools.pairwise(plan):
            if planned.fault.name in ("accept_close", "refuse", "late_ack"):
                assert following.fault.name == "reset"
                assert following.line == planned.line


def test_calamities_are_told_from_faults_of_the_venue():
    plan = random_storm("deribit", 2, 10.0).plan
    kinds = {isinstance(planned.fault, Calamity) for planned in plan}
    assert kinds == {True, False}
