"""One connection as the venue sees it."""

from __future__ import annotations

import pytest
from tests.sim.wires import MS, SECOND, T0, dial

from gapless.sim import session as module
from gapless.sim.build import simulate
from gapless.sim.exchange import Refused, SimOptions
from gapless.sim.faults import Fault
from gapless.sim.truth import MemoryTruth

TOPICS = ("btcusdt@trade", "btcusdt@bookTicker")
PATH = "/stream?streams=" + "/".join(TOPICS)


def open_one(rate=50.0, **options):
    truth = MemoryTruth()
    exchange = simulate(
        "binance.spot",
        ["BTCUSDT"],
        rate_per_s=rate,
        seed=1,
        options=SimOptions(limits=False, **options),
        truth=truth,
    )
    exchange.advance(T0)
    session, wire = dial(exchange, PATH)
    return exchange, session, wire, truth


def test_a_refusal_says_its_status():
    assert str(Refused(429, 5)) == "refused with 429"
    assert Refused(429, 5).retry_after_s == 5
    assert str(Refused(0)) == "connection refused"


def test_it_knows_when_it_was_heard_and_when_it_spoke():
    exchange, session, wire, _ = open_one()
    assert session.opened_ns == session.received_ns == session.sent_ns == T0
    session.on_ping(b"x", T0 + SECOND)
    assert session.received_ns == T0 + SECOND
    assert wire.of("pong") == [b"x"]
    exchange.advance(T0 + 2 * SECOND)
    assert T0 + SECOND < session.sent_ns <= T0 + 2 * SECOND
    assert session.received_ns == T0 + SECOND


def test_every_message_is_logged_with_its_numbers_as_it_leaves():
    exchange, session, wire, truth = open_one()
    exchange.advance(T0 + 10 * SECOND)
    sent = truth.of("sent", session=session.id, topic="btcusdt@trade")
    said = [m["data"]["t"] for m in wire.json() if m["stream"] == "btcusdt@trade"]
    assert [record["last"] for record in sent] == said
    assert [record["n"] for record in sent] == list(range(sent[0]["n"], sent[0]["n"] + len(sent)))
    assert {record["fault"] for record in sent} == {None}


def test_a_session_ends_once_and_takes_nothing_more():
    exchange, session, wire, truth = open_one()
    session.on_close(1000, "", T0 + SECOND)
    session.on_lost(T0 + 2 * SECOND)
    assert not session.open
    before = list(wire.log)
    session.on_text('{"method":"LIST_SUBSCRIPTIONS","id":1}', T0 + 3 * SECOND)
    session.on_ping(b"", T0 + 3 * SECOND)
    session.on_slow(T0 + 3 * SECOND)
    session.reply("late", T0 + 3 * SECOND)
    session.ping(b"")
    exchange.advance(T0 + 10 * SECOND)
    assert wire.log == before
    (closed,) = truth.of("session", what="closed")
    assert closed["cause"] == "client close 1000"


def test_what_waits_when_it_ends_is_logged_as_cut():
    exchange, session, wire, truth = open_one()
    exchange.inject(Fault(name="lag", delay_ms=5000, for_s=10.0), T0)
    exchange.advance(T0 + 4 * SECOND)
    assert not wire.of("text")
    session.on_lost(T0 + 4 * SECOND)
    cut = truth.of("sent", fault="cut")
    world = [r for r in truth.records if r["type"] == "world" and r["topic"] in TOPICS]
    assert len(cut) == len([r for r in world if r["ns"] <= T0 + 4 * SECOND]) > 0


def test_a_reader_behind_by_too_much_is_cut(monkeypatch):
    monkeypatch.setattr(module, "_WAITING_MAX", 20)
    exchange, session, wire, truth = open_one()
    exchange.inject(Fault(name="lag", delay_ms=60_000, for_s=60.0), T0)
    exchange.advance(T0 + 60 * SECOND)
    assert not session.open
    assert wire.log[-1] == ("reset", None)
    assert truth.of("session", what="closed")[0]["cause"] == "slow reader"


def test_replies_keep_their_place_behind_lagging_data():
    exchange, session, wire, _ = open_one()
    exchange.inject(Fault(name="lag", delay_ms=1000, for_s=2.0), T0)
    exchange.advance(T0 + 2 * SECOND - MS)
    session.on_text('{"method":"LIST_SUBSCRIPTIONS","id":7}', T0 + 2 * SECOND - MS)
    exchange.advance(T0 + 6 * SECOND)
    texts = wire.json()
    place = next(i for i, m in enumerate(texts) if m.get("id") == 7)
    times = [m["data"]["E"] for m in texts[:place] if m.get("data", {}).get("E")]
    assert times
    assert max(times) <= (T0 + 2 * SECOND) // MS
    assert len(texts) > place + 1


@pytest.mark.parametrize("given_up", [False, True])
def test_half_open_holds_both_ways_and_healing_tells_the_end(given_up):
    exchange, session, wire, _ = open_one()
    session.stall()
    session.stall()
    assert wire.of("stall") == [None]
    session.on_ping(b"held", T0 + SECOND)
    exchange.advance(T0 + 5 * SECOND)
    assert not wire.of("text")
    assert not wire.of("pong")
    if given_up:
        exchange.end(session, T0 + 5 * SECOND, "gone", close=(1001, ""))
        assert not wire.of("close")  # nothing shows
    session.heal(T0 + 6 * SECOND)
    session.heal(T0 + 6 * SECOND)
    assert wire.of("unstall") == [None]
    if given_up:
        assert wire.log[-1] == ("reset", None)
        assert not wire.of("text")
    else:
        assert wire.of("pong") == [b"held"]
        assert len(wire.of("text")) > 5
