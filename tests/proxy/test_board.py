"""The board: what is in force, whom it hits, and that chance repeats."""

import pytest

from gapless.errors import UsageError
from gapless.proxy.board import LOG_MAX, FaultBoard, Flow
from gapless.proxy.faults import Fault, FaultInvalid
from gapless.proxy.plan import FAULTS_MAX, Plan

S = 1_000_000_000
ONE, TWO, REST = Flow("ws", 1), Flow("ws", 2), Flow("http", 1)


def board(*faults, seed=1):
    return FaultBoard(Plan(faults=faults), seed, 0)


def test_a_fault_begins_and_ends_exactly_when_it_says():
    b = board(Fault(name="zombie", at_s=2, for_s=3))
    (record,) = b.records
    for now_ns, active in ((2 * S - 1, False), (2 * S, True), (5 * S - 1, True), (5 * S, False)):
        edge = b.next_ns
        b.advance(now_ns)
        assert record.active is active, now_ns
        assert b.active(ONE) == ([record] if active else [])
        assert edge in (2 * S, 5 * S)
    assert record.over
    assert b.next_ns is None


def test_every_change_is_a_new_version_and_nothing_else_is():
    b = board(Fault(name="zombie", at_s=2, for_s=3))
    seen = [b.version]
    for now_ns in (0, S, 2 * S, 3 * S, 5 * S, 9 * S):
        b.advance(now_ns)
        seen.append(b.version)
    assert len(set(seen)) == 3


def test_filters():
    cases = [
        (Fault(name="latency", delay_ms=1), {ONE, TWO, REST}),
        (Fault(name="latency", delay_ms=1, connection=2), {TWO}),
        (Fault(name="latency", delay_ms=1, traffic="http"), {REST}),
        (Fault(name="latency", delay_ms=1, traffic="ws"), {ONE, TWO}),
        (Fault(name="drop"), {ONE, TWO}),
    ]
    for fault, wanted in cases:
        b = board(fault)
        assert {flow for flow in (ONE, TWO, REST) if b.active(flow)} == wanted


def test_a_message_fault_is_over_when_it_has_struck_as_often_as_it_may():
    b = board(Fault(name="drop", count=2))
    (record,) = b.records
    assert [b.draw(record, ONE, "in") for _ in range(4)] == [True, True, False, False]
    assert (record.struck, record.over) == (2, True)


def draws(seed, order):
    b = board(Fault(name="drop", probability=0.3), seed=seed)
    (record,) = b.records
    out = {ONE: [], TWO: []}
    for flow in order:
        out[flow].append(b.draw(record, flow, "in"))
    return out


def test_chance_repeats_with_its_seed_whatever_other_connections_do():
    apart = draws(7, [ONE] * 300 + [TWO] * 300)
    mixed = draws(7, [ONE, TWO] * 300)
    assert apart == mixed
    assert apart[ONE] != apart[TWO]
    assert 60 < sum(apart[ONE]) < 120
    assert draws(8, [ONE] * 300)[ONE] != apart[ONE]


def test_what_strikes_at_once_is_over_after_it_struck_unless_it_says_how_long():
    for fields, over in (({}, True), ({"for_s": 5}, False), ({"count": 2}, False)):
        b = board(Fault(name="reset", **fields))
        (record,) = b.records
        b.sweep()
        assert not record.over  # it waits for somebody to strike
        assert b.take(record, ONE)
        assert b.take(record, ONE)
        assert record.struck == 1
        b.sweep()
        assert record.over is over


def test_a_connection_that_was_hit_stays_so_and_later_ones_are_spared():
    b = board(Fault(name="half_open_in", count=1))
    (record,) = b.records
    assert b.take(record, ONE)
    assert not b.take(record, TWO)
    assert b.take(record, ONE)
    assert b.active(ONE) == [record]
    assert b.active(TWO) == []
    b.forget(ONE)
    assert record.flows == set()
    assert record.struck == 1


def test_the_log_is_bounded_and_counts_what_it_dropped():
    b = board(Fault(name="drop", for_s=5))
    heard = []
    b.on_strike = heard.append
    for n in range(LOG_MAX + 3):
        b.note(b.records[0], ONE, "in", "dropped", n * 1000, frame=n)
    assert len(b.log) == LOG_MAX
    assert b.forgotten == 3
    assert b.log[0].frame == 3
    assert len(heard) == LOG_MAX + 3


def test_faults_are_bounded_and_a_bad_one_is_refused():
    b = board(*(Fault(name="drop"),) * FAULTS_MAX)
    with pytest.raises(UsageError, match="faults already"):
        b.add(Fault(name="drop"), 0)
    b.retire(b.records[0])
    b.add(Fault(name="drop"), 0)
    with pytest.raises(FaultInvalid):
        board().add(Fault(name="drop", count=0), 0)


def test_a_record_as_data_says_how_often_it_struck():
    b = board(Fault(name="reset"))
    b.take(b.records[0], ONE)
    said = b.records[0].as_dict()
    assert (said["id"], said["name"], said["struck"], said["fault"]) == (
        1,
        "reset",
        1,
        {"name": "reset"},
    )
