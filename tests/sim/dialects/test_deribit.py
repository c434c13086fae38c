"""Expected values are from the venue's documents, or recounted from the messages themselves."""

from __future__ import annotations

import itertools
import json

import pytest
from tests.sim.wires import MS, SECOND, T0, dial

from gapless.sim.build import simulate
from gapless.sim.exchange import Refused, SimOptions
from gapless.sim.faults import Fault
from gapless.sim.matching import ASK, BID
from gapless.sim.truth import MemoryTruth
from gapless.sim.world import Step

PATH = "/ws/api/v2"
BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
IP = "198.51.100.1"


def venue(rate=200.0, seed=3, truth=None, **options):
    return simulate(
        "deribit",
        [BTC, ETH],
        rate_per_s=rate,
        seed=seed,
        truth=truth,
        options=SimOptions(**options),
    )


def call(session, wire, method, params=None, now_ns=T0, request_id=1):
    request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}
    session.on_text(json.dumps(request), now_ns)
    return next(m for m in reversed(wire.json()) if m.get("id") == request_id and "method" not in m)


def subscribe(session, wire, *channels, now_ns=T0):
    return call(session, wire, "public/subscribe", {"channels": list(channels)}, now_ns)["result"]


def data(wire, channel):
    return [
        m["params"]["data"]
        for m in wire.json()
        if m.get("method") == "subscription" and m["params"]["channel"] == channel
    ]


def run(exchange, seconds, start_ns=T0):
    for i in range(1, seconds * 10 + 1):
        exchange.advance(start_ns + i * SECOND // 10)


# -- books ------------------------------------------------------------------------------------


def follow(messages):
    """Build the book of a channel by the documented procedure; return it and its change id."""
    assert messages[0]["type"] == "snapshot"
    assert "prev_change_id" not in messages[0]
    book = {"bids": {}, "asks": {}}
    last = None
    for message in messages:
        if message["type"] == "snapshot":
            book = {"bids": {}, "asks": {}}
        else:
            assert message["prev_change_id"] == last
            assert message["bids"] or message["asks"]
        assert last is None or message["change_id"] > last
        last = message["change_id"]
        for side in ("bids", "asks"):
            for word, price, amount in message[side]:
                if word == "delete":
                    assert amount == 0
                    del book[side][price]
                else:
                    assert (word == "change") == (price in book[side])
                    assert amount > 0
                    book[side][price] = amount
    return book, last


@pytest.mark.parametrize("interval", ["raw", "100ms", "agg2"])
def test_a_book_kept_by_the_documented_procedure_equals_the_venue(interval):
    exchange = venue(allow_raw=True)
    session, wire = dial(exchange, PATH)
    now_ns = T0 + 1_234 * MS  # in the middle of a batch
    channel = f"book.{BTC}.{interval}"
    assert subscribe(session, wire, channel, now_ns=now_ns) == [channel]
    run(exchange, 10, now_ns)
    book, last = follow(data(wire, channel))
    when = next(m for m in data(wire, channel) if m["change_id"] == last)["timestamp"]
    view = exchange.world.by_name[BTC].view_at(when * MS + MS - 1)
    price, size = (scale.value for scale in exchange.dialect.scales[0])
    if view.serial != last:  # several steps in that millisecond
        pytest.skip("the end of the batch cannot be told from its timestamp")
    assert book["bids"] == {price[p]: size[s] for p, s in view.bids}
    assert book["asks"] == {price[p]: size[s] for p, s in view.asks}


def test_two_sessions_that_joined_at_different_times_agree():
    exchange = venue()
    channel = f"book.{BTC}.100ms"
    books = []
    wires = []
    for join_ns in (T0, T0 + 3_333 * MS):
        session, wire = dial(exchange, PATH, join_ns)
        subscribe(session, wire, channel, now_ns=join_ns)
        wires.append(wire)
    exchange.advance(T0 + 8 * SECOND)
    books = [follow(data(wire, channel)) for wire in wires]
    assert books[0] == books[1]
    assert data(wires[0], channel)[-5:] == data(wires[1], channel)[-5:]


def test_a_snapshot_in_the_middle_of_a_batch_is_the_book_of_the_last_message():
    exchange = venue(rate=400)
    channel = f"book.{BTC}.100ms"
    session, wire = dial(exchange, PATH)
    subscribe(session, wire, channel)
    for i in range(1, 30):
        now_ns = T0 + i * 90 * MS + MS
        exchange.advance(now_ns)
        late, late_wire = dial(exchange, PATH, now_ns)
        subscribe(late, late_wire, channel, now_ns=now_ns)
        (snapshot,) = data(late_wire, channel)
        assert follow([snapshot]) == follow(data(wire, channel))
        assert snapshot["timestamp"] == data(wire, channel)[-1]["timestamp"]
        late.on_lost(now_ns)
        exchange.dialect._credits.clear()


def test_a_batch_in_which_everything_was_undone_says_nothing():
    exchange = venue(rate=0, allow_raw=True)
    session, wire = dial(exchange, PATH)
    channel = f"book.{BTC}.100ms"
    subscribe(session, wire, channel)
    market = exchange.world.by_name[BTC]

    def act(changes, ns):
        step = Step(ns, market.index, market.serial + 5, market.serial, changes, [], 0)
        market.apply(step, 10 * SECOND)
        exchange.dialect.on_step(step)

    before = market.serial
    order, changes, _ = market.book.limit(BID, 1_000, 7)
    act(changes, T0 + MS)
    act([market.book.cancel(order)], T0 + 2 * MS)
    exchange.advance(T0 + SECOND)
    assert len(data(wire, channel)) == 1
    _, changes, _ = market.book.limit(BID, 1_000, 7)
    act(changes, T0 + SECOND + MS)
    exchange.advance(T0 + 2 * SECOND)
    change = data(wire, channel)[1]
    assert (change["prev_change_id"], change["change_id"]) == (before, market.serial)
    assert change["bids"] == [["new", 500.0, 70.0]]


def test_buyers_lift_the_ask_and_sellers_hit_the_bid():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    subscribe(session, wire, f"trades.{BTC}.agg2", f"quote.{BTC}")
    tops = []
    original = exchange.dialect.on_step

    def spy(step):
        if step.index == 0 and step.trades:
            tops.append((step.trades[0].id, *quotes[-1]))
        original(step)
        if step.index == 0:
            book = exchange.world.markets[0].book
            quotes.append((book.best(BID) / 2, book.best(ASK) / 2))

    book = exchange.world.markets[0].book
    quotes = [(book.best(BID) / 2, book.best(ASK) / 2)]
    exchange.dialect.on_step = spy
    exchange.advance(T0 + 30 * SECOND)
    trades = {t["trade_seq"]: t for batch in data(wire, f"trades.{BTC}.agg2") for t in batch}
    sides = set()
    for number, bid, ask in tops[:-10]:
        trade = trades[number]
        sides.add(trade["direction"])
        assert trade["price"] == (ask if trade["direction"] == "buy" else bid)
    assert sides == {"buy", "sell"}


def test_change_ids_of_one_instrument_have_holes_and_those_of_the_venue_rise():
    exchange = venue(allow_raw=True)
    session, wire = dial(exchange, PATH)
    subscribe(session, wire, f"book.{BTC}.raw", f"book.{ETH}.raw")
    exchange.advance(T0 + 10 * SECOND)
    ids = [
        (m["params"]["data"]["change_id"], m["params"]["channel"])
        for m in wire.json()
        if m.get("method") == "subscription" and m["params"]["data"]["type"] == "change"
    ]
    assert [i for i, _ in ids] == sorted({i for i, _ in ids})
    btc = [i for i, channel in ids if BTC in channel]
    assert sum(1 for a, b in itertools.pairwise(btc) if b > a + 1) > len(btc) / 2


def test_subscribing_again_after_unsubscribing_gives_a_new_snapshot():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    channel = f"book.{BTC}.100ms"
    subscribe(session, wire, channel)
    exchange.advance(T0 + 2 * SECOND)
    assert call(session, wire, "public/unsubscribe", {"channels": [channel]}, T0 + 2 * SECOND)[
        "result"
    ] == [channel]
    count = len(data(wire, channel))
    exchange.advance(T0 + 3 * SECOND)
    assert len(data(wire, channel)) == count
    subscribe(session, wire, channel, now_ns=T0 + 3 * SECOND)
    exchange.advance(T0 + 5 * SECOND)
    follow(data(wire, channel)[count:])
    # Already subscribed: confirmed, without another snapshot.
    subscribe(session, wire, channel, now_ns=T0 + 5 * SECOND)
    assert [m["type"] for m in data(wire, channel)].count("snapshot") == 2


def test_grouped_books_are_whole_images_without_a_chain():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    channel = f"book.{BTC}.none.10.100ms"
    subscribe(session, wire, channel)
    exchange.advance(T0 + 3 * SECOND)
    images = data(wire, channel)
    assert len(images) > 20
    for image in images:
        assert "prev_change_id" not in image
        assert "type" not in image
        assert len(image["bids"]) == len(image["asks"]) == 10
        assert image["bids"][0][0] < image["asks"][0][0]


# -- trades, quotes, tickers ------------------------------------------------------------------


def test_trade_sequences_are_dense_and_the_same_in_every_variant():
    exchange = venue(allow_raw=True)
    session, wire = dial(exchange, PATH)
    channels = [f"trades.{BTC}.{interval}" for interval in ("raw", "100ms", "agg2")]
    subscribe(session, wire, *channels)
    exchange.advance(T0 + 60 * SECOND)
    raw, fast, slow = ([t for batch in data(wire, c) for t in batch] for c in channels)
    sequence = [trade["trade_seq"] for trade in raw]
    assert len(sequence) > 200
    assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))
    assert fast == raw[: len(fast)]
    assert slow == raw[: len(slow)]
    assert len(raw) - len(slow) < 30
    assert len({trade["trade_id"] for trade in raw}) == len(raw)
    # Of the key order of recorded trades, what exists here.
    assert list(raw[0]) == [
        "timestamp", "price", "amount", "direction", "index_price", "instrument_name",
        "trade_seq", "mark_price", "tick_direction", "contracts", "trade_id",
    ]  # fmt: skip


def test_missed_trades_can_be_asked_for_again():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    subscribe(session, wire, f"trades.{BTC}.100ms")
    exchange.advance(T0 + 30 * SECOND)
    seen = [t for batch in data(wire, f"trades.{BTC}.100ms") for t in batch]
    wanted = seen[10:25]
    params = {
        "instrument_name": BTC,
        "start_seq": wanted[0]["trade_seq"],
        "end_seq": wanted[-1]["trade_seq"],
        "count": 100,
    }
    method = "public/get_last_trades_by_instrument"
    result = call(session, wire, method, params, T0 + 30 * SECOND)["result"]
    key = ("trade_seq", "trade_id", "price", "amount", "direction", "timestamp")
    assert [[t[k] for k in key] for t in result["trades"]] == [[t[k] for k in key] for t in wanted]
    assert result["has_more"] is False
    newest = call(session, wire, method, {"instrument_name": BTC}, T0 + 30 * SECOND)["result"]
    assert len(newest["trades"]) == 10
    assert newest["has_more"] is True
    assert newest["trades"][0]["trade_seq"] >= seen[-1]["trade_seq"]


def test_quotes_and_tickers_give_an_image_at_once_and_then_what_changes():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    quote, ticker = f"quote.{BTC}", f"ticker.{BTC}.100ms"
    subscribe(session, wire, quote, ticker)
    assert len(data(wire, quote)) == len(data(wire, ticker)) == 1
    exchange.advance(T0 + 10 * SECOND)
    tops = [
        (q["best_bid_price"], q["best_bid_amount"], q["best_ask_price"], q["best_ask_amount"])
        for q in data(wire, quote)
    ]
    assert all(a != b for a, b in itertools.pairwise(tops))
    assert all(top[0] < top[2] for top in tops)
    last = data(wire, ticker)[-1]
    for field in ("mark_price", "index_price", "open_interest", "current_funding", "state"):
        assert field in last
    times = [t["timestamp"] for t in data(wire, ticker)]
    assert times == sorted(times)
    assert len(times) <= 101


# -- requests ---------------------------------------------------------------------------------


def test_a_reply_comes_before_its_data_and_carries_the_clock():
    session, wire = dial(venue(), PATH)
    subscribe(session, wire, f"book.{BTC}.100ms")
    first = wire.json()[0]
    assert list(first) == ["jsonrpc", "id", "result", "usIn", "usOut", "usDiff", "testnet"]
    assert first["usOut"] - first["usIn"] == first["usDiff"] > 0
    assert first["usOut"] == T0 // 1000


def test_what_cannot_be_had_is_silently_absent_from_the_result():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    good = [f"book.{BTC}.100ms", f"trades.{ETH}.agg2"]
    bad = [
        "book.NOPE.100ms",
        "nope",
        f"book.{BTC}.1s",
        f"book.{BTC}.raw",
        "user.orders.any.any.raw",
    ]
    assert sorted(subscribe(session, wire, *good, *bad)) == sorted(good)
    assert sorted(session.topics) == sorted(good)


def test_raw_channels_come_with_a_login():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    assert subscribe(session, wire, f"book.{BTC}.raw") == []
    credentials = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    result = call(session, wire, "public/auth", credentials)["result"]
    assert result["token_type"] == "bearer"
    assert result["expires_in"] > 0
    assert subscribe(session, wire, f"book.{BTC}.raw") == [f"book.{BTC}.raw"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"grant_type": "nope"}, -32602),
        ({"grant_type": "client_credentials"}, 13004),
        ({"grant_type": "client_signature", "timestamp": T0 // MS - 60_001}, 13004),
    ],
)
def test_bad_logins(params, code):
    session, wire = dial(venue(), PATH)
    assert call(session, wire, "public/auth", params)["error"]["code"] == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -32700),
        ("[]", -32600),
        ('{"jsonrpc":"2.0","method":"public/test","params":{}}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"public/test","params":[]}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"public/nope","params":{}}', -32601),
        ('{"jsonrpc":"2.0","id":1,"method":"private/get_positions","params":{}}', 13009),
        ('{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{}}', -32602),
        (
            '{"jsonrpc":"2.0","id":1,"method":"public/set_heartbeat","params":{"interval":9}}',
            -32602,
        ),
        ('{"jsonrpc":"2.0","id":1,"method":"public/get_order_book","params":{}}', -32602),
    ],
)
def test_bad_requests_get_the_documented_codes(text, code):
    session, wire = dial(venue(), PATH)
    session.on_text(text, T0)
    (reply,) = wire.json()
    assert reply["error"]["code"] == code
    assert session.open


def test_more_than_500_channels_are_refused():
    session, wire = dial(venue(), PATH)
    params = {"channels": [f"book.X{i}.100ms" for i in range(501)]}
    assert call(session, wire, "public/subscribe", params)["error"]["code"] == -32602
    params["channels"].pop()
    assert call(session, wire, "public/subscribe", params)["result"] == []


def test_unsubscribe_all():
    session, wire = dial(venue(), PATH)
    subscribe(session, wire, f"book.{BTC}.100ms", f"quote.{BTC}")
    assert call(session, wire, "public/unsubscribe_all")["result"] == "ok"
    assert not session.topics


def test_reads_over_websocket_and_http_agree():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    now_ns = T0 + 3 * SECOND
    query = {"instrument_name": BTC, "depth": "7"}
    reply = exchange.rest("GET", "/api/v2/public/get_order_book", query, IP, now_ns)
    over_http = json.loads(reply.body_text)
    assert "id" not in over_http
    params = {"instrument_name": BTC, "depth": 7}
    over_ws = call(session, wire, "public/get_order_book", params, now_ns)
    assert over_http["result"] == over_ws["result"]
    assert len(over_ws["result"]["bids"]) == 7
    assert call(session, wire, "public/get_time", now_ns=now_ns)["result"] == now_ns // MS
    names = [
        i["instrument_name"]
        for i in call(session, wire, "public/get_instruments", {"currency": "ETH"}, now_ns)[
            "result"
        ]
    ]
    assert names == [ETH]
    assert exchange.rest("GET", "/api/v2/public/nope", {}, IP, now_ns).status == 400
    assert exchange.rest("GET", "/elsewhere", {}, IP, now_ns).status == 404


def test_the_order_book_read_bridges_to_the_channel():
    exchange = venue(allow_raw=True)
    session, wire = dial(exchange, PATH)
    channel = f"book.{BTC}.raw"
    subscribe(session, wire, channel)
    exchange.advance(T0 + 2 * SECOND)
    params = {"instrument_name": BTC, "depth": 10_000}
    read = call(session, wire, "public/get_order_book", params, T0 + 2 * SECOND)["result"]
    book, last = follow(data(wire, channel))
    assert read["change_id"] == last
    assert dict(read["bids"]) == book["bids"]
    assert dict(read["asks"]) == book["asks"]


# -- limits -----------------------------------------------------------------------------------


def test_the_eleventh_subscribe_in_a_burst_ends_the_session():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    for _ in range(10):
        subscribe(session, wire, f"quote.{BTC}")
    assert call(session, wire, "public/subscribe", {"channels": []})["error"]["code"] == 10028
    assert not session.open
    assert wire.of("close")
    # The credits are those of the address, not of the session: 3,000 come back in 0.3 s.
    session, wire = dial(exchange, PATH, T0 + 299 * MS)
    assert "error" in call(session, wire, "public/subscribe", {"channels": []}, T0 + 299 * MS)
    session, wire = dial(exchange, PATH, T0 + 300 * MS)
    assert "result" in call(session, wire, "public/subscribe", {"channels": []}, T0 + 300 * MS)


def test_a_burst_of_100_other_requests_is_allowed():
    session, wire = dial(venue(), PATH)
    for _ in range(100):
        assert "result" in call(session, wire, "public/test")
    assert call(session, wire, "public/test")["error"]["code"] == 10028
    assert not session.open


def test_32_connections_an_address():
    exchange = venue(rate=0)
    sessions = [dial(exchange, PATH)[0] for _ in range(32)]
    with pytest.raises(Refused) as refused:
        dial(exchange, PATH)
    assert refused.value.status == 429
    dial(exchange, PATH, peer_ip="198.51.100.2")
    sessions[0].on_lost(T0)
    dial(exchange, PATH)


# -- liveness ---------------------------------------------------------------------------------


def beats(wire):
    return [m["params"]["type"] for m in wire.json() if m.get("method") == "heartbeat"]


def test_heartbeats_and_a_cut_when_a_test_request_is_not_answered():
    exchange = venue(rate=0, heartbeat_grace_s=2)
    session, wire = dial(exchange, PATH)
    assert call(session, wire, "public/set_heartbeat", {"interval": 10})["result"] == "ok"
    exchange.advance(T0 + 10 * SECOND - 1)
    assert beats(wire) == []
    exchange.advance(T0 + 10 * SECOND)
    assert beats(wire) == ["heartbeat", "test_request"]
    call(session, wire, "public/test", now_ns=T0 + 12 * SECOND - 1)
    exchange.advance(T0 + 20 * SECOND)
    assert beats(wire) == ["heartbeat", "test_request", "heartbeat"]  # it was heard in between
    exchange.advance(T0 + 30 * SECOND)
    assert beats(wire)[-1] == "test_request"
    call(session, wire, "public/get_time", now_ns=T0 + 31 * SECOND)  # only a test is an answer
    exchange.advance(T0 + 32 * SECOND - 1)
    assert session.open
    exchange.advance(T0 + 32 * SECOND)
    assert not session.open


def test_one_test_request_at_a_time():
    exchange = venue(rate=0, heartbeat_grace_s=25)
    session, wire = dial(exchange, PATH)
    call(session, wire, "public/set_heartbeat", {"interval": 10})
    exchange.advance(T0 + 34 * SECOND)
    assert beats(wire) == ["heartbeat", "test_request", "heartbeat", "heartbeat"]
    exchange.advance(T0 + 35 * SECOND)
    assert not session.open


def test_heartbeats_can_be_ended():
    exchange = venue(rate=0)
    session, wire = dial(exchange, PATH)
    call(session, wire, "public/set_heartbeat", {"interval": 10})
    exchange.advance(T0 + 10 * SECOND)
    call(session, wire, "public/disable_heartbeat", now_ns=T0 + 11 * SECOND)
    exchange.advance(T0 + 100 * SECOND)
    assert session.open
    assert len(beats(wire)) == 2


def test_ten_idle_minutes_end_a_session():
    exchange = venue(rate=0)
    session, wire = dial(exchange, PATH)
    call(session, wire, "public/test", now_ns=T0 + 300 * SECOND)
    exchange.advance(T0 + 900 * SECOND - 1)
    assert session.open
    exchange.advance(T0 + 900 * SECOND)
    assert not session.open
    assert wire.of("close")


def test_maintenance_is_announced_and_ends():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    assert subscribe(session, wire, "platform_state") == ["platform_state"]
    record = exchange.inject(Fault(name="maintenance", for_s=30), T0 + SECOND)
    assert data(wire, "platform_state") == [{"maintenance": True}]
    params = {"channels": [f"quote.{BTC}"]}
    reply = call(session, wire, "public/subscribe", params, T0 + 2 * SECOND)
    assert reply["error"]["code"] == 11051
    exchange.advance(T0 + 31 * SECOND)
    assert data(wire, "platform_state") == [{"maintenance": True}, {"maintenance": False}]
    assert "result" in call(session, wire, "public/subscribe", params, T0 + 32 * SECOND)
    assert (record.happened, record.over) == (1, True)


def test_a_slow_reader_is_told_and_cut_off():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    session.on_slow(T0)
    assert wire.json()[-1]["error"]["message"] == "connection_too_slow"
    assert wire.of("close")


def test_logout_closes_without_a_reply():
    exchange = venue()
    session, wire = dial(exchange, PATH)
    credentials = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    call(session, wire, "public/auth", credentials)
    count = len(wire.of("text"))
    session.on_text('{"jsonrpc":"2.0","id":9,"method":"private/logout","params":{}}', T0)
    assert not session.open
    assert len(wire.of("text")) == count


def test_paths():
    exchange = venue()
    dial(exchange, "/den/ws")
    with pytest.raises(Refused) as refused:
        dial(exchange, "/ws")
    assert refused.value.status == 404


# -- truth ------------------------------------------------------------------------------------


def test_the_truth_log_says_what_the_messages_say():
    truth = MemoryTruth()
    exchange = venue(truth=truth)
    session, wire = dial(exchange, PATH)
    channels = [f"book.{BTC}.100ms", f"trades.{BTC}.100ms", f"quote.{BTC}", f"ticker.{BTC}.100ms"]
    subscribe(session, wire, *channels)
    exchange.advance(T0 + 10 * SECOND)
    book = [m for m in data(wire, channels[0]) if m["type"] == "change"]
    records = truth.of("world", topic=channels[0])
    assert [(m["prev_change_id"] + 1, m["change_id"]) for m in book] == [
        (r["first"], r["last"]) for r in records
    ]
    for message, record in zip(book, records, strict=True):
        assert [[p, a] for _, p, a in message["bids"]] == record["bids"]
        assert message["timestamp"] * MS == record["event_ns"]
    trades = [t for batch in data(wire, channels[1]) for t in batch]
    key = ("id", "price", "size", "side", "first")
    assert [
        (t["trade_id"], t["price"], t["amount"], t["direction"], t["trade_seq"]) for t in trades
    ] == [tuple(r[k] for k in key) for r in truth.of("world", topic=channels[1])][: len(trades)]
    assert [q["best_bid_price"] for q in data(wire, channels[2])][1:] == [
        r["bid"] for r in truth.of("world", topic=channels[2])
    ]
    tickers = truth.of("world", topic=channels[3])
    assert [
        (t["mark_price"], t["last_price"], t["stats"]["volume"]) for t in data(wire, channels[3])
    ][1:] == [(r["mark"], r["price"], r["volume"]) for r in tickers]
    # The snapshot was for this session alone.
    assert [r["n"] for r in truth.of("sent", topic=channels[0])][:2] == [None, 1]


def test_one_seed_gives_the_same_bytes():
    logs = []
    for seed in (5, 5, 6):
        exchange = venue(seed=seed)
        session, wire = dial(exchange, PATH)
        subscribe(session, wire, f"book.{BTC}.100ms", f"trades.{BTC}.100ms")
        exchange.advance(T0 + 5 * SECOND)
        logs.append(wire.log)
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]
