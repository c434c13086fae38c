"""Each fault, what it does to messages, and that its record tells how often it struck."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sim.wires import MS, SECOND, T0, dial

from gapless.sim.build import simulate
from gapless.sim.exchange import Refused, SimOptions
from gapless.sim.faults import PARAMETERS, Fault, FaultBoard, FaultInvalid
from gapless.sim.truth import MemoryTruth

TRADE = "btcusdt@trade"
PATH = f"/stream?streams={TRADE}/btcusdt@depth@100ms"
IP = "198.51.100.1"


def venue(truth=None, rate=200.0, name="binance.spot", **options):
    options = SimOptions(limits=False, **options)
    return simulate(name, rate_per_s=rate, seed=1, truth=truth, options=options)


def stream(wire, name=TRADE):
    return [m["data"] for m in wire.json() if m.get("stream") == name]


def ids(wire):
    return [t["t"] for t in stream(wire)]


def clean(seconds=10):
    """Return what a session gets when nothing goes wrong."""
    exchange = venue()
    _, wire = dial(exchange, PATH)
    exchange.advance(T0 + seconds * SECOND)
    return wire


def broken(fault, seconds=10, path=PATH):
    truth = MemoryTruth()
    exchange = venue(truth)
    session, wire = dial(exchange, path)
    record = exchange.inject(fault, T0 + SECOND)
    exchange.advance(T0 + seconds * SECOND)
    return exchange, session, wire, record, truth


# -- single messages --------------------------------------------------------------------------


def test_drop_takes_messages_out():
    _, _, wire, record, truth = broken(Fault(name="drop", topic=TRADE, count=3))
    want = ids(clean())
    first = next(i for i, t in enumerate(stream(clean())) if t["E"] * MS >= T0 + SECOND)
    assert ids(wire) == want[:first] + want[first + 3 :]
    assert (record.happened, record.over) == (3, True)
    assert [r["first"] for r in truth.of("sent", fault="drop")] == want[first : first + 3]
    assert stream(wire, "btcusdt@depth@100ms") == stream(clean(), "btcusdt@depth@100ms")


def test_duplicate_sends_messages_twice():
    _, _, wire, record, truth = broken(Fault(name="duplicate", topic=TRADE))
    want, got = ids(clean()), ids(wire)
    assert len(got) == len(want) + 1
    assert sorted(set(got)) == want
    twice = next(i for i in got if got.count(i) == 2)
    assert got[got.index(twice) + 1] == twice
    assert record.happened == 1
    assert len(truth.of("sent", fault="duplicate")) == 1


def test_reorder_swaps_neighbours_of_one_topic():
    _, _, wire, record, truth = broken(Fault(name="reorder", topic=TRADE, count=2))
    want, got = ids(clean()), ids(wire)
    first = next(i for i, t in enumerate(stream(clean())) if t["E"] * MS >= T0 + SECOND)
    a, b, c, d = want[first : first + 4]
    assert got == [*want[:first], b, a, d, c, *want[first + 4 :]]
    assert record.happened == 2
    assert len(truth.of("sent", fault="reorder")) == 2


def test_a_message_held_for_reordering_counts_only_when_overtaken():
    exchange, session, _, record, truth = broken(Fault(name="reorder", count=1), seconds=1)
    exchange.advance(T0 + SECOND + 10 * MS)
    session.on_lost(T0 + SECOND + 10 * MS)
    assert record.happened == 0
    assert len(truth.of("sent", fault="cut")) <= 1


def test_probability_hits_some():
    _, _, wire, record, _ = broken(Fault(name="drop", topic=TRADE, for_s=20, probability=0.5), 20)
    want = len(ids(clean(20)))
    assert len(ids(wire)) == want - record.happened
    assert 0.3 * want < record.happened < 0.7 * want


# -- the flow of a session --------------------------------------------------------------------


def test_silence_stops_data_but_not_pings():
    _, session, wire, record, _ = broken(Fault(name="silence", for_s=4), seconds=10)
    times = [t["E"] * MS - T0 for t in stream(wire)]
    assert not [t for t in times if SECOND < t < 5 * SECOND]
    assert [t for t in times if t > 5 * SECOND]
    session.on_ping(b"x", T0 + 10 * SECOND)
    assert wire.of("pong") == [b"x"]
    assert record.happened > 0
    assert record.over


def test_mute_acknowledges_and_never_sends():
    exchange = venue()
    record = exchange.inject(Fault(name="mute", topic="btcusdt@*"), T0)
    session, wire = dial(exchange, "/stream")
    session.on_text(f'{{"method":"SUBSCRIBE","params":["{TRADE}","ethusdt@trade"],"id":1}}', T0)
    exchange.advance(T0 + 10 * SECOND)
    assert wire.json()[0] == {"result": None, "id": 1}
    assert not stream(wire)
    assert stream(wire, "ethusdt@trade")
    assert record.happened == 0 or record.happened > 10
    exchange.clear(record)
    exchange.advance(T0 + 20 * SECOND)
    assert stream(wire)
    assert record.over


def test_lag_delays_everything_and_keeps_the_order():
    truth = MemoryTruth()
    exchange = venue(truth)
    session, wire = dial(exchange, PATH)
    exchange.inject(Fault(name="lag", delay_ms=700, for_s=3), T0 + SECOND)
    session.on_text('{"method":"LIST_SUBSCRIPTIONS","id":1}', T0 + SECOND)
    exchange.advance(T0 + SECOND + 700 * MS - 1)
    assert not [m for m in wire.json() if m.get("id") == 1]
    exchange.advance(T0 + 10 * SECOND)
    assert [m for m in wire.json() if m.get("id") == 1]
    assert ids(wire) == ids(clean())
    late = {r["n"]: r["ns"] for r in truth.of("sent", topic=TRADE, fault="lag")}
    for record in truth.of("world", topic=TRADE):
        if record["n"] in late and record["ns"] < T0 + 4 * SECOND:
            assert late[record["n"]] >= record["ns"] + 700 * MS
    assert late


def test_late_acks_come_after_data():
    exchange = venue()
    record = exchange.inject(Fault(name="late_ack", delay_ms=2_000, count=1), T0)
    session, wire = dial(exchange, "/stream")
    session.on_text(f'{{"method":"SUBSCRIBE","params":["{TRADE}"],"id":1}}', T0)
    exchange.advance(T0 + 2 * SECOND - 1)
    assert wire.json()
    assert all("stream" in m for m in wire.json())
    exchange.advance(T0 + 2 * SECOND)
    assert wire.json()[-1] == {"result": None, "id": 1}
    assert record.happened == 1


# -- sessions, at once ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "entry", "lives"),
    [
        (Fault(name="reset"), ("reset", None), False),
        (Fault(name="close", code=4001, reason="x"), ("close", (4001, "x")), False),
        (Fault(name="close"), ("close", (1001, "")), False),
        (Fault(name="oversize"), ("oversized", 1 << 62), True),
    ],
)
def test_what_happens_to_a_session_at_once(fault, entry, lives):
    _, session, wire, record, truth = broken(fault, seconds=2)
    assert entry in wire.log
    assert session.open == lives
    assert (record.happened, record.over) == (1, True)
    if not lives:
        assert truth.of("session")[-1]["cause"] == f"fault:{fault.name}"


def test_bad_utf8_and_garbage_are_what_they_say():
    _, _, wire, _, _ = broken(Fault(name="bad_utf8"))
    (payload,) = wire.of("bytes")
    with pytest.raises(UnicodeDecodeError):
        payload.decode()
    _, _, wire, _, _ = broken(Fault(name="garbage"), 2)
    texts = wire.of("text")
    bad = []
    for text in texts:
        try:
            json.loads(text)
        except ValueError:
            bad.append(text)
    assert len(bad) == 1


def test_filters_choose_sessions():
    exchange = venue()
    one, _ = dial(exchange, PATH)
    two, _ = dial(exchange, PATH)
    three, _ = dial(exchange, "/stream?streams=ethusdt@trade")
    assert exchange.inject(Fault(name="reset", session=two.id), T0).happened == 1
    assert [one.open, two.open, three.open] == [True, False, True]
    assert exchange.inject(Fault(name="reset", symbol="ETHUSDT"), T0).happened == 1
    assert [one.open, three.open] == [True, False]
    assert exchange.inject(Fault(name="reset", topic="*@trade", count=5), T0).happened == 1
    assert exchange.inject(Fault(name="reset"), T0).happened == 0
    other = exchange.inject(Fault(name="drop", venue="elsewhere"), T0)
    assert other.over


def test_count_limits_how_many_sessions_are_hit():
    exchange = venue()
    sessions = [dial(exchange, PATH)[0] for _ in range(4)]
    record = exchange.inject(Fault(name="reset", count=2), T0)
    assert [s.open for s in sessions] == [False, False, True, True]
    assert record.happened == 2


def test_half_open_shows_nothing_and_heals_with_everything_late():
    exchange, session, wire, record, _ = broken(Fault(name="half_open", for_s=5), seconds=3)
    count = len(wire.log)
    assert wire.log[-1] == ("stall", None)
    session.on_ping(b"x", T0 + 4 * SECOND)
    exchange.advance(T0 + 6 * SECOND - 1)
    assert len(wire.log) == count
    exchange.advance(T0 + 6 * SECOND)
    assert ("unstall", None) in wire.log
    assert wire.of("pong") == [b"x"]
    exchange.advance(T0 + 10 * SECOND)
    assert ids(wire) == ids(clean())
    assert (record.happened, record.over) == (1, True)


def test_half_open_hides_that_the_venue_gave_up():
    exchange, session, wire, _, _ = broken(Fault(name="half_open", for_s=300), seconds=200)
    assert not session.open  # the pong never came
    assert wire.log[-1] == ("stall", None)
    exchange.advance(T0 + 301 * SECOND)
    assert wire.log[-2:] == [("unstall", None), ("reset", None)]


def test_a_shutdown_is_announced_and_then_comes():
    exchange, session, wire, record, _ = broken(Fault(name="shutdown_notice", lead_s=3), seconds=1)
    notices = [m for m in wire.json() if m.get("stream") == "!serverShutdown"]
    assert len(notices) == 1
    exchange.advance(T0 + 4 * SECOND - 1)
    assert session.open
    exchange.advance(T0 + 4 * SECOND)
    assert wire.of("close") == [(1001, "")]
    assert record.happened == 1


def test_unsubscribe_ends_a_subscription_without_a_word_and_nothing_else():
    exchange, session, wire, record, _ = broken(Fault(name="unsubscribe", topic=TRADE), seconds=10)
    assert record.happened == 1
    assert record.over
    last = max(t["E"] * MS for t in stream(wire))
    assert last <= T0 + SECOND < max(t["E"] * MS for t in stream(clean()))
    assert stream(wire, "btcusdt@depth@100ms") == stream(clean(), "btcusdt@depth@100ms")
    wire.log.clear()
    session.on_text('{"method":"LIST_SUBSCRIPTIONS","id":9}', T0 + 10 * SECOND)
    (listed,) = [m["result"] for m in wire.json() if m.get("id") == 9]
    assert TRADE not in listed
    assert "btcusdt@depth@100ms" in listed
    assert exchange.sessions


# -- dials and the venue ----------------------------------------------------------------------


def test_refuse_turns_dials_away_with_a_status():
    exchange = venue()
    record = exchange.inject(Fault(name="refuse", status=429, retry_after_s=7, for_s=10), T0)
    with pytest.raises(Refused) as refused:
        dial(exchange, PATH, T0 + SECOND)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 7)
    dial(exchange, PATH, T0 + 10 * SECOND)
    assert (record.happened, record.over) == (1, True)


def test_accept_close_accepts_and_closes():
    exchange = venue()
    record = exchange.inject(Fault(name="accept_close", code=1013, count=1), T0)
    session, wire = dial(exchange, PATH)
    assert not session.open
    assert wire.log == [("close", (1013, ""))]
    assert dial(exchange, PATH)[0].open
    assert record.happened == 1


def test_an_outage_resets_everybody_and_refuses_tcp():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    record = exchange.inject(Fault(name="outage", for_s=5), T0 + SECOND)
    assert not session.open
    assert wire.log[-1] == ("reset", None)
    assert exchange.outage_until_ns == T0 + 6 * SECOND
    with pytest.raises(Refused) as refused:
        dial(exchange, PATH, T0 + 2 * SECOND)
    assert refused.value.status == 0
    with pytest.raises(Refused):
        exchange.rest("GET", "/api/v3/time", {}, IP, T0 + 3 * SECOND)
    dial(exchange, PATH, T0 + 6 * SECOND)
    assert record.happened == 3


def test_an_outage_can_be_ended_early():
    exchange = venue()
    record = exchange.inject(Fault(name="outage", for_s=500), T0)
    exchange.clear(record, T0 + SECOND)
    dial(exchange, PATH, T0 + SECOND)
    assert record.over


def test_refuse_symbol_on_each_venue():
    exchange = venue(MemoryTruth())  # the log keeps the topic busy; that must not help
    record = exchange.inject(Fault(name="refuse_symbol", symbol="BTCUSDT"), T0)
    _, wire = dial(exchange, PATH)
    exchange.advance(T0 + 5 * SECOND)
    assert not wire.of("text")
    reply = exchange.rest("GET", "/api/v3/depth", {"symbol": "BTCUSDT"}, IP, T0 + 5 * SECOND)
    assert (reply.status, json.loads(reply.body_text)["code"]) == (400, -1121)
    assert record.happened == 3

    exchange = venue(name="deribit")
    exchange.inject(Fault(name="refuse_symbol", symbol="BTC-PERPETUAL"), T0)
    session, wire = dial(exchange, "/ws/api/v2")
    channels = ["quote.BTC-PERPETUAL", "quote.ETH-PERPETUAL"]
    request = {"id": 1, "method": "public/subscribe", "params": {"channels": channels}}
    session.on_text(json.dumps(request), T0)
    assert wire.json()[0]["result"] == ["quote.ETH-PERPETUAL"]


def test_stale_snapshots_for_a_while():
    exchange = venue()
    exchange.advance(T0)
    exchange.advance(T0 + 5 * SECOND)
    then = exchange.world.by_name["BTCUSDT"].view()
    record = exchange.inject(
        Fault(name="stale_snapshot", stale_ms=3_000, for_s=10), T0 + 6 * SECOND
    )
    query = {"symbol": "BTCUSDT"}
    stale = exchange.rest("GET", "/api/v3/depth", query, IP, T0 + 8 * SECOND)
    assert json.loads(stale.body_text)["lastUpdateId"] == then.number
    fresh = exchange.rest("GET", "/api/v3/depth", query, IP, T0 + 17 * SECOND)
    now = exchange.world.by_name["BTCUSDT"].view()
    assert json.loads(fresh.body_text)["lastUpdateId"] == now.number
    assert record.happened == 1


def test_rest_fails_and_hangs():
    exchange = venue()
    exchange.inject(Fault(name="rest_fail", status=429, retry_after_s=3, count=1), T0)
    reply = exchange.rest("GET", "/api/v3/time", {}, IP, T0)
    assert (reply.status, reply.headers) == (429, {"Retry-After": "3"})
    exchange.inject(Fault(name="rest_hang", symbol="BTCUSDT", count=1), T0)
    assert not exchange.rest("GET", "/api/v3/time", {}, IP, T0).hang
    assert exchange.rest("GET", "/api/v3/depth", {"symbol": "BTCUSDT"}, IP, T0).hang
    assert exchange.rest("GET", "/api/v3/depth", {"symbol": "BTCUSDT"}, IP, T0).status == 200


# -- asking for faults ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"name":"nope"}',
        '{"name":"drop","cout":1}',
        '{"name":"drop","count":0}',
        '{"name":"drop","for_s":0}',
        '{"name":"drop","probability":0}',
        '{"name":"drop","code":1000}',
        '{"name":"lag"}',
        '{"name":"lag","delay_ms":-1}',
        '{"name":"outage"}',
        '{"name":"maintenance"}',
        "nonsense",
    ],
)
def test_faults_that_make_no_sense_are_refused(text):
    with pytest.raises(FaultInvalid):
        Fault.from_json(text)


def test_a_fault_the_venue_cannot_have_is_refused():
    with pytest.raises(FaultInvalid, match="maintenance"):
        venue().inject(Fault(name="maintenance", for_s=1))
    with pytest.raises(FaultInvalid, match="shutdown_notice"):
        venue(name="deribit").inject(Fault(name="shutdown_notice"))


def test_a_fault_with_a_duration_needs_a_time_to_count_from():
    with pytest.raises(FaultInvalid, match="no time yet"):
        venue().inject(Fault(name="silence", for_s=3))


def test_records_are_plain_data():
    exchange = venue()
    record = exchange.inject(Fault(name="drop", count=2, topic="x*"), T0)
    assert record.as_dict() == {
        "id": 1,
        "name": "drop",
        "fault": {"name": "drop", "count": 2, "topic": "x*"},
        "at_ns": T0,
        "until_ns": None,
        "happened": 0,
        "over": False,
    }


def test_a_board_tells_whether_data_are_touched():
    board = FaultBoard("v", random.Random(1))
    assert not board.data_active
    record = board.add(Fault(name="drop"), 0)
    assert board.data_active
    assert board.strike("drop", topic="t") is record
    assert not board.data_active
    assert board.strike("drop", topic="t") is None
    assert not board.is_active("drop")


FAULTS = st.sampled_from(sorted(PARAMETERS)).flatmap(
    lambda name: st.builds(
        lambda count, for_s, probability: Fault(
            name=name,
            count=count,
            for_s=for_s,
            probability=probability,
            delay_ms=250 if "delay_ms" in PARAMETERS[name] else None,
            stale_ms=900 if "stale_ms" in PARAMETERS[name] else None,
        ),
        st.sampled_from([None, 1, 3]),
        st.sampled_from([0.5, 2.0, 20.0]),
        st.sampled_from([1.0, 0.5]),
    )
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), FAULTS), max_size=8),
    st.sampled_from(["binance.spot", "deribit"]),
)
def test_whatever_goes_wrong_the_log_accounts_for_every_message(plan, name):
    truth = MemoryTruth()
    exchange = simulate(name, rate_per_s=60, seed=4, truth=truth, options=SimOptions(limits=False))
    path = PATH if name == "binance.spot" else "/ws/api/v2"
    request = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe",
         "params": {"channels": ["book.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"]}}
    )  # fmt: skip
    wires = []
    for half_second in range(24):
        now_ns = T0 + half_second * SECOND // 2
        exchange.advance(now_ns)
        for at, fault in plan:
            if at == half_second and exchange.supports(fault.name):
                exchange.inject(fault, now_ns)
        if not exchange.sessions:
            try:
                session, wire = dial(exchange, path, now_ns)
            except Refused:
                continue
            wires.append((session, wire))
            if name == "deribit" and session.open:
                session.on_text(request, now_ns)
    exchange.close(T0 + 30 * SECOND)
    for record in exchange.faults.records:
        assert record.over
        assert record.pending == 0
        if record.fault.count is not None and record.fault.name not in ("outage", "maintenance"):
            assert record.happened <= record.fault.count
    kept_back = ("drop", "mute", "silence", "cut")
    for session, wire in wires:
        texts = [
            text
            for text in wire.of("text")
            if ('"stream":"btc' in text or '"subscription"' in text)
        ]
        sent = [r for r in truth.of("sent", session=session.id) if r["fault"] not in kept_back]
        assert len(texts) == len(sent)
        # What was to be sent, over all fates, is what the topic said while we were subscribed.
        for topic in {r["topic"] for r in truth.of("sent", session=session.id)}:
            mine = [
                r["n"]
                for r in truth.of("sent", session=session.id, topic=topic)
                if r["n"] is not None and r["fault"] != "duplicate"
            ]
            assert sorted(mine) == list(range(min(mine), max(mine) + 1)) if mine else True
