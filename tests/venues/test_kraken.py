"""Kraken's newer dialect and what both share: documented messages, traps, hostile input."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.bookruns import BookRunStream
from gapless.core.codec import (
    Ack,
    Asked,
    Bundle,
    Denied,
    Granted,
    Heartbeat,
    Refusal,
    Status,
    Stray,
)
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Ticker, Trade
from gapless.venues import kraken
from gapless.venues._kraken import CHECKSUM, DEPTHS, KrakenRest, crc, levels, padded
from gapless.venues.kraken import PAIRS_MAX, PROFILES, KrakenCodec

BOOK, TRADES, TICKER, QUOTES = (
    "book-10:BTC/USD",
    "trade:BTC/USD",
    "ticker:ETH/USD",
    "ticker-bbo:X/Y",
)
CHANNELS = {BOOK: "book", TRADES: "trades", TICKER: "ticker", QUOTES: "bbo"}

(PROFILE,) = PROFILES

# The worked example of the guide to the checksum.
BIDS = [
    ("45283.5", "0.10000000"),
    ("45283.4", "1.54582015"),
    ("45282.1", "0.10000000"),
    ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"),
    ("45279.0", "0.07990000"),
    ("45277.6", "0.03310103"),
    ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"),
    ("45276.6", "0.15445238"),
]
ASKS = [
    ("45285.2", "0.00100000"),
    ("45286.4", "1.54571953"),
    ("45286.6", "1.54571109"),
    ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"),
    ("45291.8", "1.54553491"),
    ("45294.7", "0.04454749"),
    ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"),
    ("45299.5", "0.18772827"),
]
CRC = 3310070434


def codec(*topics, **channels):
    named = {topic: CHANNELS[topic] for topic in topics} or CHANNELS
    return KrakenCodec(origins("kraken", named | channels))


def side(texts):
    return "[" + ",".join(f'{{"price":{price},"qty":{size}}}' for price, size in texts) + "]"


def book(kind, bids, asks, extra="", symbol="BTC/USD"):
    data = f'{{"symbol":"{symbol}","bids":{side(bids)},"asks":{side(asks)}{extra}}}'
    return f'{{"channel":"book","type":"{kind}","data":[{data}]}}'


SNAPSHOT = book("snapshot", BIDS, ASKS, f',"checksum":{CRC}')
UPDATE = {
    "channel": "book",
    "type": "update",
    "data": [
        {
            "symbol": "BTC/USD",
            "bids": [{"price": 0.5657, "qty": 1098.3947558}],
            "asks": [],
            "checksum": 2114181697,
            "timestamp": "2023-10-06T17:35:55.440295Z",
        }
    ],
}
TRADE = {
    "symbol": "BTC/USD",
    "side": "sell",
    "price": 68466.9,
    "qty": 0.01919415,
    "ord_type": "market",
    "trade_id": 70635251,
    "timestamp": "2024-05-27T12:33:10.826003Z",
}
TICK = {
    "symbol": "ETH/USD",
    "bid": 105944.2,
    "bid_qty": 2.5,
    "ask": 105944.3,
    "ask_qty": 3.2,
    "last": 105899.4,
    "volume": 163.28908096,
    "vwap": 105904.39279,
    "timestamp": "2022-12-25T09:30:59.123456Z",
}
PAIR = {"symbol": "BTC/USD", "price_precision": 1, "qty_precision": 8, "status": "online"}
INSTRUMENTS = {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": [PAIR]}}
ONLINE = {"channel": "status", "type": "update", "data": [{"system": "online", "version": "2.0.4"}]}
PONG = {"method": "pong", "req_id": 42, "time_in": "2023-09-25T09:05:00.123456Z"}


def trades(kind, *ids):
    data = [TRADE | {"trade_id": number} for number in ids]
    return {"channel": "trade", "type": kind, "data": data}


def ticker(**changes):
    return {"channel": "ticker", "type": "update", "data": [TICK | changes]}


def answer(symbol, req_id=1, channel="book", **result):
    result = {"channel": channel, "snapshot": True, "symbol": symbol} | result
    return {"method": "subscribe", "req_id": req_id, "result": result, "success": True}


def failure(error, req_id=1, **extra):
    return {"error": error, "method": "subscribe", "req_id": req_id, "success": False} | extra


MESSAGES = [
    json.loads(SNAPSHOT),
    UPDATE,
    trades("snapshot", 5, 4),
    trades("update", 6),
    ticker(),
    ticker(symbol="X/Y"),
    INSTRUMENTS,
    ONLINE,
    PONG,
    answer("BTC/USD", depth=10),
    failure("Currency pair not supported XBT/USD", symbol="XBT/USD"),
    {"channel": "heartbeat"},
]
DATA = MESSAGES[:6]


# -- the checksum -------------------------------------------------------------------------------


def test_the_worked_example_of_the_guide_has_its_checksum():
    assert crc(BIDS, ASKS) == CRC
    [event] = read(codec(), SNAPSHOT)
    assert (event.texts.bids, event.texts.asks, event.texts.checksum) == (BIDS, ASKS, CRC)
    assert CHECKSUM.compute(event.texts.bids, event.texts.asks) == CRC


def test_the_checksum_fails_if_one_digit_differs_and_covers_ten_levels():
    assert crc([("45283.5", "0.20000000"), *BIDS[1:]], ASKS) != CRC
    assert crc(BIDS, [*ASKS[:-1], ("45299.5", "0.18772828")]) != CRC
    assert (CHECKSUM.depth, CHECKSUM.tolerated) == (10, 0)
    assert crc([], []) == 0


@pytest.mark.parametrize(
    ("text", "decimals", "expected"),
    [
        ("1098.3947558", 8, "1098.39475580"),
        ("0.10000000", 8, "0.10000000"),
        ("7", 2, "7.00"),
        ("7", 0, "7"),
        ("1e-8", 8, "0.00000001"),
        ("7.7E-05", 8, "0.00007700"),
        ("0.123456789", 8, "0.123456789"),  # more than they should be: left to the checksum
        ("1.5", None, "1.5"),
    ],
)
def test_numbers_are_padded_to_the_precision_of_the_pair(text, decimals, expected):
    assert padded(text, decimals) == expected
    assert Decimal(padded(text, decimals)) == Decimal(text)


@pytest.mark.parametrize(
    "text", ["", "-1", "NaN", "inf", "1_0", " 1", "1" * 21, "1e999", "١", "1."]
)
def test_a_level_that_is_no_plain_number_is_refused(text):
    for level in ((text, "1"), ("1", text)):
        with pytest.raises(DecodeError, match="not a price level"):
            levels([level])


# -- data ---------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(codec(), SNAPSHOT)
    assert isinstance(event, BookSnapshot)
    assert (event.bids[0], event.asks[0]) == ((45283.5, 0.1), (45285.2, 0.001))
    assert (event.first, event.last, event.event_ns) == (None, None, None)
    assert (event.origin.topic, event.recv_ns, event.mono_ns) == (BOOK, RECV, MONO)


def test_the_change_of_a_book():
    [event] = read(codec(), UPDATE)
    assert isinstance(event, BookDelta)
    assert (event.bids, event.asks) == ([(0.5657, 1098.3947558)], [])
    assert event.event_ns == 1696613755440295000  # 2023-10-06T17:35:55.440295Z
    assert event.texts.checksum == 2114181697


def test_a_size_of_0_removes_the_level():
    [event] = read(codec(), book("update", [("0.1", "0.00000000")], [], ',"checksum":0'))
    assert event.bids == [(0.1, 0.0)]


def test_trades_greet_with_the_latest_oldest_first_and_are_numbered():
    past = read(codec(), trades("snapshot", 9, 7, 8))
    assert [(t.first, t.last, t.id, t.backfilled) for t in past] == [
        (7, 7, "7", True),
        (8, 8, "8", True),
        (9, 9, "9", True),
    ]
    [live] = read(codec(), trades("update", 70635251))
    assert isinstance(live, Trade)
    assert (live.price, live.size, live.side, live.backfilled) == (
        68466.9,
        0.01919415,
        "sell",
        False,
    )
    assert live.event_ns == 1716813190826003000


def test_a_ticker_and_a_quote():
    [event] = read(codec(), ticker())
    assert isinstance(event, Ticker)
    assert (event.price, event.bid, event.ask, event.volume) == (
        105899.4,
        105944.2,
        105944.3,
        163.28908096,
    )
    [event] = read(codec(), ticker(symbol="X/Y"))
    assert isinstance(event, Bbo)
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (105944.2, 2.5, 105944.3, 3.2)
    assert event.event_ns == 1671960659123456000


def test_an_empty_side_has_neither_price_nor_size_and_older_builds_send_no_time():
    message = ticker(symbol="X/Y", bid=0.0, bid_qty=0.0)
    del message["data"][0]["timestamp"]
    [event] = read(codec(), message)
    assert (event.bid, event.bid_size, event.event_ns) == (None, None, None)


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(codec(), reordered(message)) == read(codec(), message)
    assert read(codec(), json.dumps(message, indent=2)) == read(codec(), message)


# -- readings -----------------------------------------------------------------------------------


def test_heartbeats_pongs_and_the_first_state_say_that_the_venue_is_alive():
    assert read(codec(), {"channel": "heartbeat"}) == Heartbeat()
    assert read(codec(), PONG) == Heartbeat()
    assert read(codec(), ONLINE) == Heartbeat()
    assert read(codec(), {"channel": "status", "data": []}) == Heartbeat()


def test_a_change_of_the_venues_state_is_told_and_its_end_too():
    one = codec()
    down = {"channel": "status", "data": [{"system": "maintenance"}]}
    assert read(one, ONLINE) == Heartbeat()
    assert read(one, down) == Status("system maintenance")
    assert read(one, ONLINE) == Status("system online")
    assert read(one, ONLINE) == Heartbeat()


@pytest.mark.parametrize(
    "message",
    [
        {"channel": "ohlc", "type": "update", "data": []},
        {"channel": "level3", "type": "update", "data": [{"symbol": "BTC/USD"}]},
        {"channel": "trade", "type": "update", "data": [TRADE | {"symbol": "ADA/USD"}]},
        ticker(symbol="ADA/USD"),
        answer("ADA/USD", channel="ohlc"),
        {},
    ],
)
def test_what_nobody_asked_for_is_a_stray(message):
    assert isinstance(read(codec(), message), Stray)


# -- requests -----------------------------------------------------------------------------------


def test_a_frame_asks_for_one_channel_and_depth_of_many_symbols():
    topics = ("book-10:BTC/USD", "trade:BTC/USD", "book-25:ADA/USD", "book-10:ETH/USD")
    named = {t: "trades" if t.startswith("trade") else "book" for t in topics}
    requests = KrakenCodec(origins("kraken", named)).subscribe(7, topics)
    assert [(r.id, r.kind, r.topics) for r in requests] == [
        (7, "subscribe", ("book-10:BTC/USD", "book-10:ETH/USD")),
        (8, "subscribe", ("trade:BTC/USD",)),
        (9, "subscribe", ("book-25:ADA/USD",)),
    ]
    assert json.loads(requests[0].text) == {
        "method": "subscribe",
        "params": {
            "channel": "book",
            "symbol": ["BTC/USD", "ETH/USD"],
            "depth": 10,
            "snapshot": True,
        },
        "req_id": 7,
    }


def test_unsubscribing_names_the_depth_and_is_acked_by_id():
    one = codec()
    [request] = one.unsubscribe(5, (BOOK,))
    assert json.loads(request.text)["params"] == {
        "channel": "book",
        "symbol": ["BTC/USD"],
        "depth": 10,
    }
    reply = answer("BTC/USD", 5, depth=10) | {"method": "unsubscribe"}
    assert read(one, reply) == Ack(5)
    reply = failure("Subscription Not Found", 5) | {"method": "unsubscribe"}
    assert read(one, reply) == Refusal(5, 0, "Subscription Not Found")


def test_every_request_is_read_back():
    one = codec()
    requests = [*one.setup(1), *one.subscribe(2, (BOOK, TRADES, TICKER, QUOTES))]
    asked = [one.asked(request.text) for request in requests]
    assert asked[0] == Asked("setup", 1, ())
    assert [a.topics for a in asked[1:]] == [(BOOK,), (TRADES,), (TICKER,), (QUOTES,)]
    assert [a.request_id for a in asked] == [1, 2, 3, 4, 5]
    [leave] = one.unsubscribe(9, (BOOK,))
    assert one.asked(leave.text) == Asked("unsubscribe", 9, (BOOK,))
    assert one.asked('{"method":"ping","req_id":1}') is None


@pytest.mark.parametrize("text", ["[]", "", "{}", '{"method":1}', "[" * 5000, '"\ud800"'])
def test_a_request_of_no_sense_is_a_decode_error(text):
    with pytest.raises(DecodeError):
        codec().asked(text)


def test_the_venue_is_not_asked_for_more_than_it_offers():
    one = codec()
    assert one.beat(1) is None
    assert one.once_live(1) is None
    assert one.number('{"channel":"heartbeat"}') is None


# -- the traps ----------------------------------------------------------------------------------


def test_trap_symbols_are_spelled_differently_in_each_dialect_and_in_rest():
    pairs = {
        "XXBTZUSD": {"wsname": "XBT/USD", "status": "online"},
        "XDGUSD": {"wsname": "XDG/USD", "status": "cancel_only"},
        "DARK.d": {"altname": "DARK.d"},
    }
    body = json.dumps({"error": [], "result": pairs}).encode()
    found = PROFILE.rest.read_instruments(body)
    assert [(i.symbol, i.kind, i.base, i.quote, i.state) for i in found] == [
        ("BTC/USD", "spot", "BTC", "USD", "open"),
        ("DOGE/USD", "spot", "DOGE", "USD", "halted"),
    ]
    assert [i.symbol for i in KrakenRest(str).read_instruments(body)] == ["XBT/USD", "XDG/USD"]
    assert PROFILE.topic("book", "BTC/USD").topic == BOOK


def test_trap_one_subscribe_is_answered_for_each_symbol_and_some_may_fail():
    topics = ("trade:BTC/USD", "trade:XBT/EUR", "trade:ETH/USD")
    one = KrakenCodec(origins("kraken", dict.fromkeys(topics, "trades")))
    [request] = one.subscribe(3, topics)
    assert request.topics == topics
    assert read(one, answer("ETH/USD", 3, "trade")) == Granted(("trade:ETH/USD",))
    words = "Currency pair not supported XBT/EUR"
    assert read(one, failure(words, 3, symbol="XBT/EUR")) == Denied(("trade:XBT/EUR",), 0, words)
    assert read(one, answer("BTC/USD", 3, "trade")) == Granted(("trade:BTC/USD",))


def test_a_failure_that_names_no_symbol_refuses_the_only_one_or_the_request():
    one = codec()
    one.subscribe(1, (TRADES,))
    assert read(one, failure("Unsupported event")) == Denied((TRADES,), 0, "Unsupported event")
    topics = ("trade:BTC/USD", "trade:ETH/USD")
    one = KrakenCodec(origins("kraken", dict.fromkeys(topics, "trades")))
    one.subscribe(1, topics)
    assert read(one, failure("Unsupported event")) == Refusal(1, 0, "Unsupported event")
    # Once the others are answered, it can only be about the one that is left.
    read(one, answer("ETH/USD", 1, "trade"))
    assert read(one, failure("Unsupported event")) == Denied(topics[:1], 0, "Unsupported event")
    # What is asked for again, one by one, is refused one by one.
    one.subscribe(2, topics[:1])
    assert read(one, failure("Unsupported event", 2)) == Denied(topics[:1], 0, "Unsupported event")


@pytest.mark.parametrize("key", ["error", "Error"])
def test_trap_too_many_messages_end_the_session(key):
    assert read(codec(), {key: "Exceeded msg rate"}) == Refusal(
        None, 0, "Exceeded msg rate", limited=True
    )


def test_trap_levels_that_fall_out_of_the_depth_get_no_deletion():
    for depth in DEPTHS:
        assert PROFILE.topic(f"book.{depth}", "BTC/USD").depth == depth
    assert PROFILE.topic("book", "BTC/USD").depth == 10
    # An eleventh bid pushes out the worst, and the checksum is that of the ten that stay.
    events = []
    stream = BookRunStream(PROFILE.topic("book", "BTC/USD"), events.append, lambda _: None)
    one = codec()
    better = ("45284.0", "1.00000000")
    checksum = crc([better, *BIDS[:9]], ASKS)
    for text in (SNAPSHOT, book("update", [better], [], f',"checksum":{checksum}')):
        [event] = read(one, text)
        stream.offer(event)
    assert (stream.checks, stream.failed) == (2, 0)
    assert len(stream.proven().bids()) == 10
    assert 45276.6 not in dict(stream.proven().bids())


def test_trap_a_size_with_seven_decimals_counts_with_eight():
    one = codec()
    [event] = read(one, UPDATE)
    assert event.texts.bids == [("0.5657", "1098.3947558")]  # unknown precision: as sent
    assert read(one, INSTRUMENTS) == Heartbeat()
    [event] = read(one, UPDATE)
    assert event.texts.bids == [("0.5657", "1098.39475580")]
    [event] = read(one, book("snapshot", [("1", "1e-8")], []))
    assert event.texts.bids == [("1.0", "0.00000001")]
    assert event.bids == [(1.0, 1e-8)]


def test_trap_the_precision_may_change_while_connected():
    one = codec()
    read(one, INSTRUMENTS)
    pair = PAIR | {"price_precision": 3}
    read(one, {"channel": "instrument", "type": "update", "data": {"pairs": [pair]}})
    [event] = read(one, book("update", [("1.0", "2.00000000")], []))
    assert event.texts.bids == [("1.000", "2.00000000")]


def test_the_precisions_remembered_are_bounded(monkeypatch):
    assert PAIRS_MAX >= 4096
    monkeypatch.setattr(kraken, "PAIRS_MAX", 1)
    one = codec()
    read(one, INSTRUMENTS)
    read(one, {"channel": "instrument", "data": {"pairs": [PAIR | {"symbol": "LATE/USD"}]}})
    read(one, {"channel": "instrument", "data": {"pairs": [PAIR | {"qty_precision": 2}]}})
    [event] = read(one, book("update", [("1", "2")], []))
    assert event.texts.bids == [("1.0", "2.00")]  # what is known may still change


def test_precisions_are_asked_for_before_the_books_and_only_for_books():
    [setup] = codec().setup(1)
    assert (setup.id, setup.kind) == (1, "setup")
    assert json.loads(setup.text)["params"]["channel"] == "instrument"
    assert codec(TRADES, TICKER).setup(1) == []
    result = {"channel": "instrument", "snapshot": True}
    assert read(codec(), {"method": "subscribe", "req_id": 1, "result": result}) == Ack(1)


def test_trap_messages_do_not_name_the_depth_so_the_second_depth_is_refused():
    first, second = "book-10:BTC/USD", "book-100:BTC/USD"
    one = KrakenCodec(origins("kraken", {first: "book", second: "book"}))
    [request] = one.subscribe(1, (first, second))
    assert json.loads(request.text)["params"]["depth"] == 10
    assert request.topics == (first, second)
    reply = read(one, answer("BTC/USD", 1, depth=10))
    assert isinstance(reply, Bundle)
    granted, denied = reply.readings
    assert granted == Granted((first,))
    assert isinstance(denied, Denied)
    assert denied.topics == (second,)
    assert "depth" in denied.detail
    [event] = read(one, SNAPSHOT)
    assert event.origin.topic == first


def test_trap_a_ticker_and_a_quote_of_one_symbol_share_a_subscription():
    both = {"ticker:ETH/USD": "ticker", "ticker-bbo:ETH/USD": "bbo"}
    one = KrakenCodec(origins("kraken", both))
    [request] = one.subscribe(1, tuple(both))
    assert json.loads(request.text)["params"]["event_trigger"] == "bbo"
    assert request.topics == tuple(both)
    reply = answer("ETH/USD", 1, "ticker", event_trigger="bbo")
    assert read(one, reply) == Granted(tuple(both))
    events = read(one, ticker())
    assert [type(event) for event in events] == [Ticker, Bbo]
    one = KrakenCodec(origins("kraken", both))
    one.subscribe(1, tuple(both))
    assert read(one, failure("no", symbol="ETH/USD")) == Denied(tuple(both), 0, "no")


def test_a_quote_that_joins_a_ticker_later_is_asked_for_and_shares_what_there_is():
    both = {"ticker:ETH/USD": "ticker", "ticker-bbo:ETH/USD": "bbo"}
    table = origins("kraken", {"ticker:ETH/USD": "ticker"})
    one = KrakenCodec(table)
    one.subscribe(1, ("ticker:ETH/USD",))
    read(one, answer("ETH/USD", 1, "ticker", event_trigger="trades"))
    table |= origins("kraken", both)
    [request] = one.subscribe(2, ("ticker-bbo:ETH/USD",))
    assert request.topics == ("ticker-bbo:ETH/USD",), "nobody would answer what is not asked"
    assert read(one, failure("Already subscribed", 2, symbol="ETH/USD")) == Granted(tuple(both))


def test_a_second_depth_that_joins_later_is_refused_and_the_first_goes_on():
    table = origins("kraken", {"book-10:BTC/USD": "book"})
    one = KrakenCodec(table)
    one.subscribe(1, ("book-10:BTC/USD",))
    read(one, answer("BTC/USD", 1, depth=10))
    table |= origins("kraken", {"book-25:BTC/USD": "book"})
    [request] = one.subscribe(2, ("book-25:BTC/USD",))
    assert request.topics == ("book-25:BTC/USD",)
    assert json.loads(request.text)["params"]["depth"] == 10, "what there is stays as it is"
    reply = read(one, failure("Already subscribed", 2, symbol="BTC/USD"))
    granted, denied = reply.readings
    assert (granted.topics, denied.topics) == (("book-10:BTC/USD",), ("book-25:BTC/USD",))
    [event] = read(one, SNAPSHOT)
    assert event.origin.topic == "book-10:BTC/USD"


def test_a_second_depth_never_inherits_the_book_of_the_first():
    table = origins("kraken", {"book-10:BTC/USD": "book", "book-25:BTC/USD": "book"})
    one = KrakenCodec(table)
    one.subscribe(1, ("book-10:BTC/USD", "book-25:BTC/USD"))
    del table["book-10:BTC/USD"]  # before the venue has answered
    [request] = one.unsubscribe(2, ("book-10:BTC/USD",))
    assert json.loads(request.text)["params"]["depth"] == 10


def test_what_shares_a_subscription_goes_on_when_the_other_leaves():
    both = {"ticker:ETH/USD": "ticker", "ticker-bbo:ETH/USD": "bbo"}
    table = origins("kraken", both)
    one = KrakenCodec(table)
    one.subscribe(1, tuple(both))
    del table["ticker:ETH/USD"]
    assert one.unsubscribe(2, ("ticker:ETH/USD",)) == []
    [event] = read(one, ticker())
    assert isinstance(event, Bbo)
    del table["ticker-bbo:ETH/USD"]
    [request] = one.unsubscribe(2, ("ticker-bbo:ETH/USD",))
    assert json.loads(request.text)["params"]["symbol"] == ["ETH/USD"]


def test_another_depth_takes_the_place_of_one_that_has_left():
    table = origins("kraken", {"book-10:BTC/USD": "book"})
    one = KrakenCodec(table)
    one.subscribe(1, ("book-10:BTC/USD",))
    read(one, answer("BTC/USD", 1, depth=10))
    del table["book-10:BTC/USD"]
    one.unsubscribe(2, ("book-10:BTC/USD",))
    table |= origins("kraken", {"book-25:BTC/USD": "book"})
    [request] = one.subscribe(3, ("book-25:BTC/USD",))
    assert json.loads(request.text)["params"]["depth"] == 25
    assert read(one, answer("BTC/USD", 3, depth=25)) == Granted(("book-25:BTC/USD",))


def test_of_a_frame_with_several_symbols_only_what_nobody_follows_is_left_out():
    one = codec(TRADES)
    mixed = trades("update", 6) | {"data": [TRADE | {"symbol": "X/Y"}, TRADE]}
    assert len(read(one, mixed)) == 1
    quotes = ticker() | {"data": [TICK | {"symbol": "X/Y"}, TICK]}
    assert len(read(codec(TICKER), quotes)) == 1


def test_a_recording_that_begins_late_is_read_by_what_was_asked_for():
    one = KrakenCodec(origins("kraken", {"book-25:BTC/USD": "book"}))
    [event] = read(one, SNAPSHOT)
    assert event.origin.topic == "book-25:BTC/USD"
    one = KrakenCodec(origins("kraken", {"book-100:BTC/USD": "book", TRADES: "trades"}))
    assert read(one, answer("BTC/USD", 9, depth=100)) == Granted(("book-100:BTC/USD",))
    [event] = read(one, SNAPSHOT)
    assert event.origin.topic == "book-100:BTC/USD"


def test_the_channels_declare_what_their_numbers_prove():
    book_spec, trades_spec = PROFILE.topic("book", "X"), PROFILE.topic("trades", "X")
    assert (book_spec.numbering, book_spec.snapshot) == (Numbering.NONE, SnapshotFrom.STREAM)
    assert book_spec.checksum is CHECKSUM
    assert (trades_spec.numbering, trades_spec.snapshot) == (Numbering.DENSE, None)
    assert PROFILE.topic("bbo", "BTC/USD").topic == "ticker-bbo:BTC/USD"
    assert PROFILE.topic("ticker", "BTC/USD").topic == "ticker:BTC/USD"


def test_topics_are_recognised_with_their_symbols():
    recognise = PROFILE.recogniser()
    for topic, channel in CHANNELS.items():
        spec = recognise(topic)
        assert (spec.channel, spec.topic) == (channel, topic)
    assert recognise("book-1000:BTC/USD").depth == 1000
    assert recognise("book-11:BTC/USD") is None
    assert recognise("ohlc:BTC/USD") is None


# -- REST ---------------------------------------------------------------------------------------


def test_past_trades_are_not_found_by_id_and_books_come_on_the_stream():
    rest = PROFILE.rest
    assert rest.trades(TRADES, "BTC/USD", 1, 2) is None
    assert rest.snapshot("BTC/USD") is None
    [get] = rest.instruments()
    assert (get.path, get.pool) == ("/0/public/AssetPairs", "rest")
    assert get.pool in PROFILE.pools.value


def test_an_error_of_rest_is_read():
    rest = PROFILE.rest
    assert rest.read_error(b'{"error":["EGeneral:Too many requests"]}') == (
        0,
        "EGeneral:Too many requests",
    )
    for body in (b'{"error":[],"result":{}}', b"", b"[]", b"\xff", b"[" * 5000):
        assert rest.read_error(body) is None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"error":[],"result":[]}', b"\xff", b"[" * 5000])
def test_a_list_of_pairs_of_no_sense_is_a_decode_error(body):
    with pytest.raises(DecodeError):
        PROFILE.rest.read_instruments(body)


# -- hostile input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        book("update", [("-1", "1")], []),
        book("update", [("1", "-1")], []),
        book("update", [("1e999", "1")], []),
        book("update", [("1", '"1"')], []),
        book("update", [("1", "null")], []),
        book("update", [("1", "1" * 40)], []),
        book("update", [], [], ',"checksum":-1'),
        book("update", [], [], ',"checksum":4294967296'),
        book("update", [], [], ',"timestamp":"2023-10-06T17:35:55"'),
        book("update", [], [], ',"timestamp":"0001-01-01T00:00:00Z"'),
        {"channel": "book", "type": "update", "data": {}},
        {"channel": "book", "type": "update"},
        {"channel": "trade", "type": "update", "data": [TRADE | {"side": "up"}]},
        {"channel": "trade", "type": "update", "data": [TRADE | {"trade_id": -1}]},
        {"channel": "trade", "type": "update", "data": [TRADE | {"trade_id": 10**40}]},
        {"channel": "trade", "type": "update", "data": [TRADE | {"price": "1"}]},
        {"channel": "trade", "type": "update", "data": [TRADE | {"timestamp": 1}]},
        ticker(bid=-1),
        {"channel": "instrument", "data": {"pairs": [PAIR | {"qty_precision": 400}]}},
        {"channel": "status", "data": [{}]},
        {"method": "subscribe", "req_id": "7"},
        [],
        "",
        "hello",
        '{"channel":"\ud800"}',
        "[" * 100_000,
        '{"x":' * 100_000,
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(message):
    with pytest.raises(DecodeError):
        read(codec(), message)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk):
    for path in places_of(message):
        survives_in(codec(), planted(message, path, junk))


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives_in(codec(), text)
