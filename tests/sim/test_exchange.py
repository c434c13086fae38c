from __future__ import annotations

import pytest
from tests.sim.wires import MS, SECOND, T0, RecordingWire, dial

from gapless.sim.build import UnknownVenue, simulate
from gapless.sim.dialects import BinanceSpot
from gapless.sim.exchange import Exchange, Refused, SimOptions
from gapless.sim.faults import Fault
from gapless.sim.truth import MemoryTruth

TRADES = "/stream?streams=btcusdt@trade"


def venue(rate=200.0, truth=None, **options):
    options = SimOptions(**options)
    return simulate("binance.spot", rate_per_s=rate, seed=1, truth=truth, options=options)


def test_it_needs_a_world_or_a_capture():
    with pytest.raises(ValueError, match="either"):
        Exchange(BinanceSpot(), None)


def test_unknown_venues_are_named():
    with pytest.raises(UnknownVenue, match=r"binance\.spot, deribit; not nowhere"):
        simulate("nowhere")


def test_however_late_it_is_called_the_order_is_that_of_time():
    logs = []
    for step_ns in (7 * MS, 3 * SECOND):
        exchange = venue()
        _, wire = dial(exchange, "/stream?streams=btcusdt@trade/btcusdt@depth@100ms")
        now_ns = T0
        while now_ns < T0 + 15 * SECOND:
            now_ns = min(now_ns + step_ns, T0 + 15 * SECOND)
            exchange.advance(now_ns)
        logs.append(wire.log)
    assert logs[0] == logs[1]


def test_next_ns_is_when_something_happens():
    exchange = venue()
    _, wire = dial(exchange, TRADES)
    for _ in range(300):
        next_ns = exchange.next_ns
        count = len(wire.log)
        exchange.advance(next_ns - 1)
        assert len(wire.log) == count
        exchange.advance(next_ns)
        assert exchange.next_ns > next_ns
    assert len(wire.log) > 10


def test_a_clock_that_goes_back_changes_nothing():
    exchange = venue()
    session, wire = dial(exchange, TRADES)
    exchange.advance(T0 + 5 * SECOND)
    count = len(wire.log)
    exchange.advance(T0)
    assert exchange.now_ns == T0 + 5 * SECOND
    session.on_ping(b"x", T0)
    assert wire.log[count:] == [("pong", b"x")]


def test_timers_run_in_order_and_ties_in_the_order_set():
    exchange = venue(rate=0)
    exchange.advance(T0)
    seen = []
    for name, ns in (("b", 20), ("a", 10), ("c", 20), ("late", 5)):
        exchange.call_at(T0 + ns, lambda ns, name=name: seen.append((name, ns - T0)))
    exchange.call_at(T0 - 100, lambda ns: seen.append(("past", ns - T0)))
    exchange.advance(T0 + 15)
    assert seen == [("past", 0), ("late", 5), ("a", 10)]
    exchange.advance(T0 + 20)
    assert seen[3:] == [("b", 20), ("c", 20)]


def test_a_wire_that_calls_back_does_no_harm():
    exchange = venue()

    class Echo(RecordingWire):
        def send_text(self, text):
            super().send_text(text)
            exchange.advance(T0 + 100 * SECOND)

    wire = Echo()
    exchange.connect(wire, TRADES, "ip", T0)
    exchange.advance(T0 + 10 * SECOND)
    assert exchange.now_ns == T0 + 10 * SECOND


def test_sessions_end_once_and_nothing_is_sent_after():
    truth = MemoryTruth()
    exchange = venue(truth=truth)
    session, wire = dial(exchange, TRADES)
    exchange.advance(T0 + SECOND)
    session.on_close(1000, "bye", T0 + SECOND)
    session.on_lost(T0 + SECOND)
    session.on_text("{}", T0 + SECOND)
    count = len(wire.log)
    exchange.advance(T0 + 100 * SECOND)
    assert len(wire.log) == count
    assert not exchange.sessions
    assert [(r["what"], r["cause"]) for r in truth.of("session")] == [
        ("opened", "/stream"),
        ("closed", "client close 1000"),
    ]


def test_closing_writes_the_final_books():
    truth = MemoryTruth()
    exchange = venue(truth=truth)
    _, wire = dial(exchange, TRADES)
    fault = exchange.inject(Fault(name="mute", topic="nothing"), T0)
    exchange.close(T0 + 5 * SECOND)
    assert wire.of("close") == [(1001, "")]
    finals = truth.of("final")
    assert [f["symbol"] for f in finals] == ["BTCUSDT", "ETHUSDT"]
    view = exchange.world.by_name["BTCUSDT"].view()
    price, size = (s.value for s in exchange.dialect.scales[0])
    assert finals[0]["number"] == view.number
    assert finals[0]["bids"] == [[price[p], size[s]] for p, s in view.bids]
    # The final book is what all changes lead to.
    last = truth.of("world", topic="btcusdt@depth@100ms")[-1]
    assert last["last"] <= finals[0]["number"]
    assert truth.of("fault")[-1] == {
        "type": "fault", "id": fault.id, "name": "mute", "at_ns": T0 + 5 * SECOND,
        "happened": 0, "over": True,
    }  # fmt: skip
    exchange.advance(T0 + 50 * SECOND)
    exchange.close(T0 + 50 * SECOND)
    assert len(truth.of("final")) == 2


def test_refused_dials_are_logged():
    truth = MemoryTruth()
    exchange = venue(truth=truth)
    with pytest.raises(Refused):
        dial(exchange, "/nowhere")
    assert truth.of("dial") == [{"type": "dial", "peer": "198.51.100.1", "ns": T0, "status": 404}]


def test_the_state_tells_what_is_going_on():
    exchange = venue()
    session, _ = dial(exchange, TRADES)
    state = exchange.state()
    assert state["venue"] == "binance.spot"
    assert state["sessions"][0]["id"] == session.id
    assert state["sessions"][0]["topics"] == ["btcusdt@trade"]


def test_it_supports_what_the_venue_has():
    exchange = venue()
    assert exchange.supports("drop")
    assert not exchange.supports("maintenance")


def test_topics_chosen_for_the_truth_log():
    truth = MemoryTruth()
    exchange = venue(truth=truth, truth_topics=("btcusdt@depth",))
    _, _ = dial(exchange, TRADES)
    exchange.advance(T0 + 10 * SECOND)
    assert {r["topic"] for r in truth.of("world")} == {"btcusdt@depth", "btcusdt@trade"}


def test_a_topic_once_in_use_stays_in_the_truth_log():
    truth = MemoryTruth()
    exchange = venue(truth=truth, truth_topics=())
    session, _ = dial(exchange, TRADES)
    exchange.advance(T0 + 5 * SECOND)
    session.on_lost(T0 + 5 * SECOND)
    count = len(truth.of("world"))
    exchange.advance(T0 + 10 * SECOND)
    records = truth.of("world")
    assert len(records) > count > 0
    assert [r["n"] for r in records] == list(range(1, len(records) + 1))
