"""Whole simulations: one seed decides everything."""

from __future__ import annotations

import msgspec
import pytest
from tests.simulation.stage import VENUES

from gapless.sim.build import simulate
from gapless.sim.dialects._base import SimOptions
from gapless.sim.faults import Fault, FaultInvalid
from gapless.testing import Planned, Simulation, random_faults

both = pytest.mark.parametrize("venue", VENUES)


def a_run(venue, seed, **arguments):
    plan = random_faults(venue, seed, 2.0, 5)
    return Simulation(venue=venue, seed=seed, minutes=2.0, faults=plan, **arguments).run()


@both
def test_one_seed_twice_gives_the_same_events_byte_for_byte(venue):
    one, two = a_run(venue, 4), a_run(venue, 4)
    encode = msgspec.msgpack.encode
    assert encode(one.events) == encode(two.events)
    assert encode(one.notices) == encode(two.notices)
    assert one.truth == two.truth
    assert one.stats == two.stats
    assert str(one) == str(two)


@both
def test_another_seed_gives_other_events(venue):
    assert a_run(venue, 4).events != a_run(venue, 5).events


@both
def test_two_lines_are_repeatable_too(venue):
    one, two = a_run(venue, 6, lines=2), a_run(venue, 6, lines=2)
    assert msgspec.msgpack.encode(one.events) == msgspec.msgpack.encode(two.events)


@both
def test_the_outcome_says_its_seed_and_what_happened(venue):
    plan = [Planned(20.0, Fault(name="reset"))]
    outcome = Simulation(venue=venue, seed=77, minutes=1.0, faults=plan).run()
    assert "seed 77" in str(outcome)
    assert "reset x1" in str(outcome)
    assert outcome.seed == 77
    assert outcome.card.kept
    assert 0 <= outcome.waiting_max < 1000


def test_what_waits_in_the_feed_is_counted():
    plan = [Planned(0.0, Fault(name="rest_fail", status=500, for_s=20.0))]
    outcome = Simulation(venue="binance.spot", seed=1, minutes=1.0, faults=plan).run()
    assert 100 < outcome.waiting_max < 1000  # deltas that wait for a snapshot


@both
def test_it_follows_the_symbols_and_channels_that_it_is_given(venue):
    symbol = simulate(venue).dialect.usual_symbols[1]
    outcome = Simulation(
        venue=venue, seed=1, minutes=0.5, symbols=(symbol,), channels=("trades",), rate_per_s=30
    ).run()
    assert {event.symbol for event in outcome.events} == {symbol}
    assert {event.channel for event in outcome.events} == {"trades"}
    assert outcome.card.kept


def test_it_runs_the_venue_as_it_is_told():
    outcome = Simulation(
        venue="deribit", seed=1, minutes=2.0, sim=SimOptions(lifetime_s=30.0)
    ).run()
    assert outcome.stats.sessions >= 4
    assert outcome.card.kept


def test_what_goes_wrong_in_the_venue_is_raised_with_the_run():
    plan = [Planned(5.0, Fault(name="shutdown_notice"))]  # not among this venue's faults
    with pytest.raises(FaultInvalid, match="deribit does not know shutdown_notice"):
        Simulation(venue="deribit", seed=1, minutes=0.5, faults=plan).run()


@both
def test_random_faults_are_repeatable_in_order_and_leave_time_to_heal(venue):
    plan = random_faults(venue, 9, 5.0, 12)
    assert plan == random_faults(venue, 9, 5.0, 12)
    assert plan != random_faults(venue, 10, 5.0, 12)
    assert len(plan) >= 12
    assert min(p.at_s for p in plan) >= 5
    assert max(p.at_s for p in plan) < 5.0 * 60 - 30
    exchange = simulate(venue)
    for planned in plan:
        planned.fault.check()
        assert exchange.supports(planned.fault.name)


@both
def test_random_faults_know_every_kind_that_the_venue_can_have(venue):
    kinds = {p.fault.name for seed in range(40) for p in random_faults(venue, seed, 5.0, 12)}
    common = {"reset", "close", "drop", "duplicate", "reorder", "silence", "half_open", "outage"}
    assert kinds >= common | {"accept_close", "refuse", "late_ack", "garbage", "oversize", "lag"}


def test_a_fault_that_waits_for_a_dial_is_followed_by_one():
    for seed in range(40):
        plan = random_faults("deribit", seed, 5.0, 12)
        for planned, following in zip(plan, [*plan[1:], None], strict=True):
            if planned.fault.name in ("accept_close", "refuse", "late_ack"):
                assert following.fault.name == "reset"
                assert following.at_s - planned.at_s < 0.1
