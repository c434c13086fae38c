"""A plan carried out: faults for one line strike that line alone, and wait until all is well."""

import pytest

from gapless.sim.faults import Fault
from gapless.testing import Planned, Simulation
from gapless.testing.script import HEAL_S
from gapless.testing.weather import Calamity, CalamityRecord

SECOND = 1_000_000_000


def a_run(*plan, lines=2, minutes=2.0, seed=5, venue="deribit"):
    return Simulation(venue=venue, seed=seed, minutes=minutes, faults=plan, lines=lines).run()


def sessions_of(outcome, what):
    return [r for r in outcome.truth if r["type"] == "session" and r["what"] == what]


def ended(outcome):
    return [n for n in outcome.notices if n.kind == "ended" and n.cause != "planned"]


@pytest.mark.parametrize("line", ["a", "b"])
@pytest.mark.parametrize("fault", [Fault(name="reset"), Calamity(name="crash")])
def test_a_fault_for_one_line_strikes_that_line_and_no_other(fault, line):
    outcome = a_run(Planned(20.0, fault, line))
    assert [record.happened for record in outcome.faults] == [1]
    assert [notice.line for notice in ended(outcome)] == [line]
    assert outcome.card.total("missing") == outcome.card.total("lost") == 0
    assert outcome.card.kept


@pytest.mark.parametrize("fault", [Fault(name="reset"), Calamity(name="crash")])
def test_a_fault_for_all_strikes_every_line(fault):
    outcome = a_run(Planned(20.0, fault))
    assert sum(record.happened for record in outcome.faults) == 2
    assert sorted(notice.line for notice in ended(outcome)) == ["a", "b"]
    assert outcome.card.kept


def test_a_counted_fault_for_all_makes_every_line_lose_the_same():
    topic = "book.BTC-PERPETUAL.100ms"
    outcome = a_run(Planned(20.0, Fault(name="drop", topic=topic, count=3)))
    assert [record.happened for record in outcome.faults] == [3, 3]
    dropped = [r for r in outcome.truth if r["type"] == "sent" and r["fault"] == "drop"]
    assert len({record["n"] for record in dropped}) == 3
    assert outcome.card.kept


def test_a_fault_that_waits_for_calm_comes_when_the_one_before_is_over():
    outcome = a_run(
        Planned(20.0, Calamity(name="partition", for_s=12.0), "a", calm=True),
        Planned(22.0, Fault(name="reset"), "b", calm=True),
    )
    (first_ns, _), (second_ns, _) = outcome.struck
    assert second_ns - first_ns >= 12 * SECOND
    assert outcome.card.total("missing") == outcome.card.total("lost") == 0
    assert all(record.happened for record in outcome.faults)


def test_a_fault_that_does_not_wait_comes_at_its_time():
    outcome = a_run(
        Planned(20.0, Calamity(name="partition", for_s=12.0), "a"),
        Planned(22.0, Fault(name="reset"), "b"),
    )
    (first_ns, _), (second_ns, _) = outcome.struck
    assert (second_ns - first_ns) / SECOND == pytest.approx(2.0, abs=0.01)
    assert outcome.card.total("missing") + outcome.card.total("lost") > 0  # both were gone
    assert outcome.card.kept


def test_what_would_come_too_late_to_heal_is_left_out():
    minutes = 1.5
    plan = [
        Planned(20.0, Calamity(name="partition", for_s=29.0), "a"),
        Planned(25.0, Fault(name="reset"), "b", calm=True),
    ]
    outcome = a_run(*plan, minutes=minutes)
    assert minutes * 60 - HEAL_S < 20 + 29 + 3
    assert [planned.line for _, planned in outcome.struck] == ["a"]
    assert isinstance(outcome.faults[0], CalamityRecord)


def test_a_partition_of_all_cuts_rest_off_too():
    outcome = a_run(
        Planned(20.0, Calamity(name="partition", for_s=8.0)), venue="binance.spot", lines=1
    )
    assert outcome.card.kept
    began_ns = outcome.struck[0][0]
    reads = [r["ns"] for r in outcome.truth if r["type"] == "rest"]
    assert reads
    assert not [ns for ns in reads if began_ns + SECOND // 2 < ns < began_ns + 8 * SECOND]
