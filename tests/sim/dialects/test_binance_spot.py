"""Expected values are from the venue's documents, or recounted from the messages themselves."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal

import pytest
from tests.sim.wires import MS, SECOND, T0, dial

from gapless.sim.build import simulate
from gapless.sim.exchange import Refused, SimOptions
from gapless.sim.truth import MemoryTruth

COMBINED = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker"
IP = "198.51.100.1"


def venue(rate=200.0, seed=3, truth=None, **options):
    return simulate(
        "binance.spot",
        ["BTCUSDT", "ETHUSDT"],
        rate_per_s=rate,
        seed=seed,
        truth=truth,
        options=SimOptions(**options),
    )


def run(exchange, seconds, session=None, wire=None, start_ns=T0, step_ns=SECOND // 4):
    """Let time pass, answering pings so that the connection lives."""
    now_ns = start_ns
    answered = len(wire.of("ping")) if wire else 0
    while now_ns < start_ns + seconds * SECOND:
        now_ns = min(now_ns + step_ns, start_ns + seconds * SECOND)
        exchange.advance(now_ns)
        if wire is not None:
            for payload in wire.of("ping")[answered:]:
                session.on_pong(payload, now_ns)
                answered += 1
    return now_ns


def data(wire, stream):
    return [m["data"] for m in wire.json() if m.get("stream") == stream]


def depth(exchange, now_ns, symbol="BTCUSDT", limit="5000"):
    reply = exchange.rest("GET", "/api/v3/depth", {"symbol": symbol, "limit": limit}, IP, now_ns)
    assert reply.status == 200
    return json.loads(reply.body_text)


# -- payloads and numbering -------------------------------------------------------------------


def test_a_local_book_kept_by_the_documented_procedure_equals_the_venue():
    exchange = venue()
    session, wire = dial(exchange, COMBINED)
    run(exchange, 3, session, wire)
    snapshot = depth(exchange, T0 + 3 * SECOND + 50 * MS)
    run(exchange, 7, session, wire, T0 + 3 * SECOND + 50 * MS)
    book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    events = [e for e in data(wire, "btcusdt@depth@100ms") if e["u"] > snapshot["lastUpdateId"]]
    assert events[0]["U"] <= snapshot["lastUpdateId"] + 1 <= events[0]["u"]
    local = None
    for event in events:
        assert local is None or event["U"] == local + 1
        local = event["u"]
        for side in "ba":
            for price, size in event[side]:
                if Decimal(size):
                    book[side][price] = size
                else:
                    book[side].pop(price, None)
    # The batch after the last event may hold more: compare at its end.
    now = depth(exchange, T0 + 10 * SECOND + 100 * MS)
    late = [e for e in data(wire, "btcusdt@depth@100ms") if e["u"] > local]
    for event in late:
        for side in "ba":
            for price, size in event[side]:
                if Decimal(size):
                    book[side][price] = size
                else:
                    book[side].pop(price, None)
        local = event["u"]
    stale = exchange.world.by_name["BTCUSDT"].view_at(now_of(late, events) * MS)
    assert stale.number == local
    text = exchange.dialect.scales[0]
    assert book["b"] == {text[0].text[p]: text[1].text[s] for p, s in stale.bids}
    assert book["a"] == {text[0].text[p]: text[1].text[s] for p, s in stale.asks}
    assert now["lastUpdateId"] >= local


def now_of(late, events):
    return (late or events)[-1]["E"]


def test_depth_events_are_dense_batched_and_sorted():
    exchange = venue()
    session, wire = dial(exchange, "/stream?streams=btcusdt@depth@100ms/btcusdt@depth")
    run(exchange, 10, session, wire)
    for stream, interval_ms in (("btcusdt@depth@100ms", 100), ("btcusdt@depth", 1000)):
        events = data(wire, stream)
        assert len(events) > 8000 / interval_ms
        for before, after in itertools.pairwise(events):
            assert after["U"] == before["u"] + 1
            assert after["E"] - before["E"] >= interval_ms
        for event in events:
            assert list(event) == ["e", "E", "s", "U", "u", "b", "a"]
            assert event["U"] <= event["u"]
            bids = [Decimal(price) for price, _ in event["b"]]
            asks = [Decimal(price) for price, _ in event["a"]]
            assert bids == sorted(set(bids), reverse=True)
            assert asks == sorted(set(asks))
            assert len(bids) + len(asks) <= event["u"] - event["U"] + 1
    fast, slow = data(wire, "btcusdt@depth@100ms"), data(wire, "btcusdt@depth")
    assert fast[0]["U"] == slow[0]["U"]


def test_trade_ids_rise_by_one_and_aggregates_cover_them():
    exchange = venue()
    session, wire = dial(exchange, "/stream?streams=btcusdt@trade/btcusdt@aggTrade")
    run(exchange, 20, session, wire)
    trades, groups = data(wire, "btcusdt@trade"), data(wire, "btcusdt@aggTrade")
    ids = [trade["t"] for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert list(trades[0]) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
    assert list(groups[0]) == ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"]
    assert [group["a"] for group in groups] == list(
        range(groups[0]["a"], groups[0]["a"] + len(groups))
    )
    assert len(groups) < len(trades)
    covered = [i for group in groups for i in range(group["f"], group["l"] + 1)]
    assert covered == ids
    by_id = {trade["t"]: trade for trade in trades}
    for group in groups:
        parts = [by_id[i] for i in range(group["f"], group["l"] + 1)]
        assert {part["p"] for part in parts} == {group["p"]}
        assert sum(Decimal(part["q"]) for part in parts) == Decimal(group["q"])


def test_m_says_that_the_buyer_was_the_maker():
    exchange = venue()
    session, wire = dial(exchange, COMBINED)
    run(exchange, 20, session, wire)
    makers = set()
    quote, previous = None, None
    for message in wire.json():
        body = message["data"]
        if message["stream"].endswith("bookTicker"):
            quote = body
        elif message["stream"].endswith("trade"):
            # The first trade of an order is at the top that was shown before it.
            if quote is not None and previous is not None and previous["T"] < body["T"]:
                assert body["p"] == (quote["b"] if body["m"] else quote["a"])
                makers.add(body["m"])
            previous = body
    assert makers == {True, False}


def test_book_ticker_is_the_top_at_the_update_it_names():
    exchange = venue()
    session, wire = dial(exchange, COMBINED)
    start = depth(exchange, T0)
    sides = {0: {}, 1: {}}
    for key, side in (("bids", 0), ("asks", 1)):
        sides[side] = {Decimal(p): q for p, q in start[key]}
    tops = {}
    scale = exchange.dialect.scales[0]
    original = exchange.dialect.on_step

    def spy(step):
        if step.index == 0:
            for c in step.changes:
                price = Decimal(scale[0].text[c.price])
                if c.size:
                    sides[c.side][price] = scale[1].text[c.size]
                else:
                    del sides[c.side][price]
            bid, ask = max(sides[0]), min(sides[1])
            tops[step.changes[-1].number] = (bid, sides[0][bid], ask, sides[1][ask])
        original(step)

    exchange.dialect.on_step = spy
    run(exchange, 10, session, wire)
    tickers = data(wire, "btcusdt@bookTicker")
    assert len(tickers) > 100
    for t in tickers:
        assert list(t) == ["u", "s", "b", "B", "a", "A"]
        assert tops[t["u"]] == (Decimal(t["b"]), t["B"], Decimal(t["a"]), t["A"])
    changes = sum(
        1 for a, b in zip(list(tops.values()), list(tops.values())[1:], strict=False) if a != b
    )
    assert abs(len(tickers) - changes) <= 1


def test_partial_depth_and_ticker():
    exchange = venue()
    session, wire = dial(exchange, "/stream?streams=ethusdt@depth5@100ms/ethusdt@ticker")
    run(exchange, 5, session, wire)
    image = data(wire, "ethusdt@depth5@100ms")[-1]
    assert list(image) == ["lastUpdateId", "bids", "asks"]
    assert len(image["bids"]) == len(image["asks"]) == 5
    ticker = data(wire, "ethusdt@ticker")[-1]
    assert ticker["e"] == "24hrTicker"
    assert Decimal(ticker["p"]) == Decimal(ticker["c"]) - Decimal(ticker["o"])
    assert ticker["L"] - ticker["F"] + 1 == ticker["n"]


# -- control messages -------------------------------------------------------------------------


def ask(session, wire, request, now_ns=T0):
    before = len(wire.log)
    session.on_text(request if isinstance(request, str) else json.dumps(request), now_ns)
    return [json.loads(text) for kind, text in wire.log[before:] if kind == "text"]


def test_subscriptions_are_acknowledged_listed_and_ended():
    exchange = venue(limits=False)
    session, wire = dial(exchange, "/stream")
    names = ["btcusdt@depth@100ms", "btcusdt@trade"]
    assert ask(session, wire, {"method": "SUBSCRIBE", "params": names, "id": 1}) == [
        {"result": None, "id": 1}
    ]
    assert ask(session, wire, {"method": "LIST_SUBSCRIPTIONS", "id": "x"}) == [
        {"result": names, "id": "x"}
    ]
    done = ask(session, wire, {"method": "UNSUBSCRIBE", "params": names[:1], "id": None})
    assert done == [{"result": None, "id": None}]
    assert ask(session, wire, {"method": "LIST_SUBSCRIPTIONS", "id": 2})[0]["result"] == names[1:]
    run(exchange, 5, session, wire)
    assert not data(wire, names[0])
    assert data(wire, names[1])


def test_a_stream_that_does_not_exist_is_acknowledged_and_never_speaks():
    exchange = venue()
    session, wire = dial(exchange, "/stream")
    names = ["nosuchusdt@trade", "BTCUSDT@trade", "btcusdt@nothing"]
    request = {"method": "SUBSCRIBE", "params": names, "id": 1}
    assert ask(session, wire, request) == [{"result": None, "id": 1}]
    assert ask(session, wire, {"method": "LIST_SUBSCRIPTIONS", "id": 2})[0]["result"] == []
    run(exchange, 10, session, wire)
    assert len(wire.of("text")) == 2


def test_the_wrapper_follows_the_path_and_the_property():
    exchange = venue(limits=False)
    raw, raw_wire = dial(exchange, "/ws/btcusdt@trade")
    run(exchange, 3, raw, raw_wire)
    assert raw_wire.json()[0]["e"] == "trade"
    ask(
        raw,
        raw_wire,
        {"method": "SET_PROPERTY", "params": ["combined", True], "id": 1},
        T0 + 3 * SECOND,
    )
    reply = ask(
        raw, raw_wire, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}, T0 + 3 * SECOND
    )
    assert reply == [{"result": True, "id": 2}]
    count = len(raw_wire.log)
    run(exchange, 3, raw, raw_wire, T0 + 3 * SECOND)
    later = [json.loads(text) for kind, text in raw_wire.log[count:] if kind == "text"]
    assert {message["stream"] for message in later} == {"btcusdt@trade"}


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ('{"method":"NOPE","id":1}', 2),
        ('{"method":"SUBSCRIBE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[],"id":1.5}', 2),
        ('{"method":"SUBSCRIBE","params":[],"id":"' + "x" * 37 + '"}', 2),
        ('{"method":"SUBSCRIBE","params":[],"id":1,"more":2}', 2),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1),
        ('{"method":"SET_PROPERTY","params":["else",true],"id":1}', 0),
    ],
)
def test_bad_requests_get_the_documented_codes(request_text, code):
    session, wire = dial(venue(), "/stream")
    (reply,) = ask(session, wire, request_text)
    assert reply["code"] == code
    assert isinstance(reply["msg"], str)


def test_1024_streams_a_connection():
    session, wire = dial(venue(), "/stream")
    names = [f"x{i}@trade" for i in range(1024)]
    assert ask(session, wire, {"method": "SUBSCRIBE", "params": names, "id": 1})[0]["id"] == 1
    more = ask(session, wire, {"method": "SUBSCRIBE", "params": ["y@trade"], "id": 2})
    assert more[0]["code"] == 2


# -- limits and punishment --------------------------------------------------------------------


def test_the_sixth_message_in_a_second_ends_the_connection():
    exchange = venue()
    session, wire = dial(exchange, "/stream")
    for i in range(5):  # pings, pongs and control frames count alike
        [session.on_ping, session.on_pong, session.on_text][i % 3](
            b"" if i % 3 < 2 else '{"method":"LIST_SUBSCRIPTIONS","id":1}', T0 + i
        )
    assert session.open
    session.on_ping(b"", T0 + SECOND - 1)
    assert not session.open
    assert wire.of("close") == [(1008, "Too many requests")]


def test_repeat_offenders_are_banned_and_each_ban_is_longer():
    exchange = venue(rate=0, ban_s=100)
    now_ns = T0
    for ban in (100, 200):
        for _ in range(3):
            session, _ = dial(exchange, "/stream", now_ns)
            for _ in range(6):
                session.on_ping(b"", now_ns)
            now_ns += SECOND
        with pytest.raises(Refused) as refused:
            dial(exchange, "/stream", now_ns)
        assert refused.value.status == 418
        assert refused.value.retry_after_s == ban - 1
        assert exchange.rest("GET", "/api/v3/time", {}, IP, now_ns).status == 418
        dial(exchange, "/stream", now_ns, peer_ip="198.51.100.2")
        now_ns += ban * SECOND + 400 * SECOND
        dial(exchange, "/stream", now_ns)


def test_300_dials_in_five_minutes():
    exchange = venue(rate=0)
    for i in range(300):
        session, _ = dial(exchange, "/ws", T0 + i)
        session.on_close(1000, "", T0 + i)
    with pytest.raises(Refused) as refused:
        dial(exchange, "/ws", T0 + 300)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 300)
    dial(exchange, "/ws", T0 + 300 * SECOND)


def test_a_ping_every_20_s_and_a_cut_60_s_after_one_that_was_not_answered():
    exchange = venue(rate=0)
    session, wire = dial(exchange, "/ws")
    exchange.advance(T0 + 20 * SECOND - 1)
    assert not wire.of("ping")
    exchange.advance(T0 + 20 * SECOND)
    (payload,) = wire.of("ping")
    session.on_pong(payload, T0 + 21 * SECOND)
    session.on_pong(b"unsolicited", T0 + 45 * SECOND)
    exchange.advance(T0 + 100 * SECOND - 1)
    assert session.open
    assert len(wire.of("ping")) == 4
    exchange.advance(T0 + 100 * SECOND)
    assert not session.open
    assert wire.of("close")[0][0] == 1008


def test_a_day_is_the_longest_life():
    exchange = venue(rate=0)
    session, wire = dial(exchange, "/ws")
    run(exchange, 86_399, session, wire, step_ns=20 * SECOND)
    assert session.open
    exchange.advance(T0 + 86_400 * SECOND)
    assert not session.open
    short = venue(rate=0, lifetime_s=60)
    session, wire = dial(short, "/ws")
    short.advance(T0 + 60 * SECOND)
    assert wire.of("close") == [(1001, "")]


def test_unknown_paths_are_not_found():
    for path in ("/", "/wss", "/stream/x", "/ws-api/v3"):
        with pytest.raises(Refused) as refused:
            dial(venue(), path)
        assert refused.value.status == 404


# -- REST -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "weight"), [("100", 5), ("500", 25), ("1000", 50), ("5000", 250)]
)
def test_depth_weighs_what_the_documents_say(limit, weight):
    exchange = venue()
    exchange.advance(T0)
    reply = exchange.rest("GET", "/api/v3/depth", {"symbol": "BTCUSDT", "limit": limit}, IP, T0)
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)
    body = json.loads(reply.body_text)
    assert list(body) == ["lastUpdateId", "bids", "asks"]
    assert len(body["bids"]) == min(int(limit), 100)


def test_weight_runs_out_then_comes_a_ban_and_it_passes():
    exchange = venue(rate=0)
    query = {"symbol": "BTCUSDT", "limit": "5000"}
    replies = [exchange.rest("GET", "/api/v3/depth", query, IP, T0 + i) for i in range(36)]
    assert [r.status for r in replies] == [200] * 24 + [429] * 10 + [418] * 2
    assert json.loads(replies[24].body_text)["code"] == -1003
    assert replies[24].headers["Retry-After"] == str(60 - T0 // SECOND % 60)
    assert replies[-1].headers["Retry-After"] == "120"
    later_ns = T0 + 121 * SECOND
    assert exchange.rest("GET", "/api/v3/depth", query, IP, later_ns).status == 200


def test_past_trades_are_those_of_the_stream_from_a_number_on():
    exchange = venue()
    session, wire = dial(exchange, "/stream?streams=btcusdt@trade")
    now_ns = run(exchange, 20, session, wire)
    streamed = {t["t"]: t for t in data(wire, "btcusdt@trade")}
    assert len(streamed) > 30
    first = sorted(streamed)[7]
    query = {"symbol": "BTCUSDT", "fromId": str(first), "limit": "20"}
    reply = exchange.rest("GET", "/api/v3/historicalTrades", query, IP, now_ns)
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "25"
    past = json.loads(reply.body_text)
    assert [t["id"] for t in past] == list(range(first, first + 20))
    for trade in past:
        said = streamed[trade["id"]]
        keys = ("price", "qty", "time", "isBuyerMaker")
        assert [trade[key] for key in keys] == [said[key] for key in ("p", "q", "T", "m")]
        assert Decimal(trade["quoteQty"]) == Decimal(said["p"]) * Decimal(said["q"])
    newest = exchange.rest("GET", "/api/v3/historicalTrades", {"symbol": "BTCUSDT"}, IP, now_ns)
    assert json.loads(newest.body_text)[-1]["id"] == max(streamed)


def test_best_prices_are_those_of_the_books_for_one_symbol_or_all():
    exchange = venue()
    exchange.advance(T0)
    exchange.advance(T0 + 20 * SECOND)
    path, now_ns = "/api/v3/ticker/bookTicker", T0 + 20 * SECOND
    reply = exchange.rest("GET", path, {}, IP, now_ns)
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "4"
    every = {each["symbol"]: each for each in json.loads(reply.body_text)}
    assert set(every) == set(exchange.world.by_name)
    one = exchange.rest("GET", path, {"symbol": "BTCUSDT"}, IP, now_ns)
    assert one.headers["X-MBX-USED-WEIGHT-1M"] == "6"
    assert json.loads(one.body_text) == every["BTCUSDT"]
    depth = json.loads(
        exchange.rest("GET", "/api/v3/depth", {"symbol": "BTCUSDT"}, IP, now_ns).body_text
    )
    best = every["BTCUSDT"]
    assert [best["bidPrice"], best["bidQty"]] == depth["bids"][0]
    assert [best["askPrice"], best["askQty"]] == depth["asks"][0]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/api/v3/ticker/bookTicker", {"symbol": "NOSUCH"}, 400, -1121),
        ("/api/v3/depth", {"symbol": "NOSUCH"}, 400, -1121),
        ("/api/v3/historicalTrades", {"symbol": "NOSUCH"}, 400, -1121),
        ("/api/v3/historicalTrades", {"symbol": "BTCUSDT", "limit": "0"}, 400, -1100),
        ("/api/v3/historicalTrades", {"symbol": "BTCUSDT", "fromId": "-1"}, 400, -1100),
        ("/api/v3/depth", {}, 400, -1102),
        ("/api/v3/depth", {"symbol": "BTCUSDT", "limit": "x"}, 400, -1100),
        ("/api/v3/exchangeInfo", {"symbol": "NOSUCH"}, 400, -1121),
        ("/api/v3/nothing", {}, 404, -1000),
    ],
)
def test_bad_requests_over_rest(path, query, status, code):
    reply = venue().rest("GET", path, query, IP, T0)
    assert reply.status == status
    assert json.loads(reply.body_text)["code"] == code


def test_the_small_reads():
    exchange = venue()
    assert exchange.rest("GET", "/api/v3/ping", {}, IP, T0).body_text == "{}"
    assert json.loads(exchange.rest("GET", "/api/v3/time", {}, IP, T0).body_text) == {
        "serverTime": T0 // MS
    }
    info = json.loads(
        exchange.rest("GET", "/api/v3/exchangeInfo", {"symbols": '["ETHUSDT"]'}, IP, T0).body_text
    )
    assert [s["symbol"] for s in info["symbols"]] == ["ETHUSDT"]
    assert (info["symbols"][0]["baseAsset"], info["symbols"][0]["quoteAsset"]) == ("ETH", "USDT")
    assert exchange.rest("POST", "/api/v3/ping", {}, IP, T0).status == 405


def test_a_stale_snapshot_is_the_real_book_of_back_then():
    exchange = venue(snapshot_stale_ms=2_000)
    session, wire = dial(exchange, COMBINED)
    run(exchange, 5, session, wire)
    then = exchange.world.by_name["BTCUSDT"].view()
    run(exchange, 2, session, wire, T0 + 5 * SECOND)
    stale = depth(exchange, T0 + 7 * SECOND)
    assert stale["lastUpdateId"] == then.number
    price, size = (scale.text for scale in exchange.dialect.scales[0])
    assert stale["bids"] == [[price[p], size[s]] for p, s in then.bids]


def test_the_shutdown_notice_has_the_shape_of_the_path():
    exchange = venue()
    raw, _ = dial(exchange, "/ws")
    combined, _ = dial(exchange, "/stream")
    notice = {"e": "serverShutdown", "E": T0 // MS}
    assert json.loads(exchange.dialect.shutdown_notice(raw, T0)) == notice
    assert json.loads(exchange.dialect.shutdown_notice(combined, T0)) == {
        "stream": "!serverShutdown",
        "data": notice,
    }


# -- truth and determinism --------------------------------------------------------------------


def test_the_truth_log_says_what_the_messages_say():
    truth = MemoryTruth()
    exchange = venue(truth=truth)
    session, wire = dial(exchange, COMBINED)
    run(exchange, 10, session, wire)
    events = data(wire, "btcusdt@depth@100ms")
    records = truth.of("world", topic="btcusdt@depth@100ms")
    assert [(e["U"], e["u"]) for e in events] == [(r["first"], r["last"]) for r in records]
    for event, record in zip(events, records, strict=True):
        assert [[float(p), float(q)] for p, q in event["b"]] == record["bids"]
        assert event["E"] * MS == record["event_ns"]
    trades = data(wire, "btcusdt@trade")
    assert [
        (str(t["t"]), float(t["p"]), float(t["q"]), "sell" if t["m"] else "buy") for t in trades
    ] == [
        (r["id"], r["price"], r["size"], r["side"])
        for r in truth.of("world", topic="btcusdt@trade")
    ]
    sent = truth.of("sent", topic="btcusdt@trade")
    assert [r["n"] for r in sent] == list(range(1, len(trades) + 1))
    # Topics that nobody asked for are in the log all the same.
    assert truth.of("world", topic="ethusdt@depth@100ms")


def test_one_seed_gives_the_same_bytes():
    logs = []
    for seed in (5, 5, 6):
        exchange = venue(seed=seed)
        session, wire = dial(exchange, COMBINED)
        run(exchange, 5, session, wire)
        logs.append(wire.log)
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


def test_nodes_cut_their_batches_at_different_moments_of_one_history():
    exchange = venue(nodes=2)
    wires = [dial(exchange, COMBINED) for _ in range(2)]
    exchange.advance(T0 + 10 * SECOND)
    spans = []
    for _, wire in wires:
        events = data(wire, "btcusdt@depth@100ms")
        assert all(b["U"] == a["u"] + 1 for a, b in itertools.pairwise(events))
        spans.append({(e["U"], e["u"]) for e in events})
    assert len(spans[0] & spans[1]) < len(spans[0]) / 2
    assert data(wires[0][1], "btcusdt@trade") == data(wires[1][1], "btcusdt@trade")


def test_topics_nobody_uses_are_closed():
    exchange = venue()
    session, _ = dial(exchange, COMBINED)
    assert exchange.dialect._topics
    session.on_lost(T0 + SECOND)
    assert not exchange.dialect._topics


def test_aggregate_ids_go_on_when_nobody_listened():
    exchange = venue()
    stream = "btcusdt@aggTrade"
    first, wire = dial(exchange, f"/stream?streams={stream}")
    exchange.advance(T0 + 20 * SECOND)
    last = data(wire, stream)[-1]
    first.on_lost(T0 + 20 * SECOND)
    _, wire = dial(exchange, f"/stream?streams={stream}", T0 + 40 * SECOND)
    exchange.advance(T0 + 60 * SECOND)
    later = data(wire, stream)[0]
    assert last["a"] < later["a"]
    assert later["a"] - last["a"] <= later["l"] - last["l"]
