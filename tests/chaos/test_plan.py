"""Plans: by seed, carried out as written, with time to learn before and to heal after."""

import tomllib

import pytest
from tests.simulation.stage import VENUES

from gapless.chaos.plan import CALM_S, START_S, as_toml, random_plan
from gapless.proxy.faults import Fault as ProxyFault
from gapless.sim.build import simulate

both = pytest.mark.parametrize("venue", VENUES)
SEEDS = range(30)
PAIR = ("a", "b")


@both
def test_a_seed_decides_everything(venue):
    assert random_plan(venue, 3, 120, PAIR) == random_plan(venue, 3, 120, PAIR)
    assert random_plan(venue, 3, 120, PAIR) != random_plan(venue, 4, 120, PAIR)


@both
def test_everything_can_be_carried_out_in_order_and_in_time(venue):
    exchange = simulate(venue)
    for seed in SEEDS:
        plan = random_plan(venue, seed, 120, PAIR)
        assert len(plan) >= 10
        assert [blow.at_s for blow in plan] == sorted(blow.at_s for blow in plan)
        assert plan[0].at_s >= START_S
        for blow in plan:
            blow.fault.check()
            assert blow.at_s + blow.lasts_s <= 120 - CALM_S + 0.05
            if blow.where == "venue":
                assert exchange.supports(blow.fault.name)


@both
def test_faults_of_one_line_and_of_all_and_of_both_sorts_are_mixed(venue):
    plans = [random_plan(venue, seed, 240, PAIR) for seed in SEEDS]
    for plan in plans:
        assert {blow.line for blow in plan} == {"a", "b", None}
        assert {blow.where for blow in plan} == {"proxy", "venue"}
    kinds = {(blow.where, blow.fault.name) for plan in plans for blow in plan}
    assert len(kinds) >= 25


@both
def test_with_one_line_every_fault_strikes_all(venue):
    assert {blow.line for blow in random_plan(venue, 1, 240, ("a",))} == {None}


@both
def test_nothing_that_no_consumer_could_tell_is_done(venue):
    for seed in SEEDS:
        for blow in random_plan(venue, seed, 240, PAIR):
            assert blow.fault.name != "corrupt"
            if blow.fault.name in {"drop", "reorder"}:
                assert any(word in blow.fault.topic for word in ("trade", "book", "depth"))
                assert "bookTicker" not in blow.fault.topic


@both
def test_the_shortest_run_still_has_a_fault(venue):
    assert all(random_plan(venue, seed, 18, PAIR) for seed in SEEDS)


def test_the_plan_is_written_as_toml():
    plan = random_plan("deribit", 5, 120, PAIR)
    tables = tomllib.loads(as_toml(plan))["fault"]
    assert len(tables) == len(plan)
    for table, blow in zip(tables, plan, strict=True):
        assert (table["name"], table["where"]) == (blow.fault.name, blow.where)
        assert table.get("line") == blow.line
        assert table["at_s"] == pytest.approx(blow.at_s, abs=0.01)
        assert table.get("for_s") == blow.fault.for_s
    assert any(isinstance(blow.fault, ProxyFault) for blow in plan)
