"""Binance Spot's dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.venues.speech import JUNK, MONO, RECV, check, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.codec import Ack, Listing, Refusal, Shutdown, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Origin, Texts, Ticker, Trade
from gapless.venues.binance_spot import PROFILES, BinanceSpotCodec

DEPTH, TRADES, AGG = "bnbbtc@depth@100ms", "bnbbtc@trade", "bnbbtc@aggTrade"
BEST, TICKER, TOP = "bnbbtc@bookTicker", "bnbbtc@ticker", "bnbbtc@depth20@100ms"
TOPICS = {
    DEPTH: "book",
    TOP: "book",
    TRADES: "trades",
    AGG: "trades",
    BEST: "bbo",
    TICKER: "ticker",
}
CODEC = BinanceSpotCodec(origins("binance.spot", TOPICS))
BOOK_ORIGIN = Origin("binance.spot", "book", "BNBBTC", DEPTH, "a", 1)

(PROFILE,) = PROFILES
REST = PROFILE.rest


def push(stream, data):
    return {"stream": stream, "data": data}


DEPTH_UPDATE = {
    "e": "depthUpdate",
    "E": 1672515782136,
    "s": "BNBBTC",
    "U": 157,
    "u": 160,
    "b": [["0.0024", "10"]],
    "a": [["0.0026", "100"]],
}
TRADE = {
    "e": "trade",
    "E": 1672515782136,
    "s": "BNBBTC",
    "t": 12345,
    "p": "0.001",
    "q": "100",
    "T": 1672515782137,
    "m": True,
    "M": True,
}
AGG_TRADE = {
    "e": "aggTrade",
    "E": 1672515782136,
    "s": "BNBBTC",
    "a": 5933014,
    "p": "0.001",
    "q": "100",
    "f": 100,
    "l": 105,
    "T": 1672515782136,
    "m": False,
    "M": True,
}
BOOK_TICKER = {
    "u": 400900217,
    "s": "BNBUSDT",
    "b": "25.35190000",
    "B": "31.21000000",
    "a": "25.36520000",
    "A": "40.66000000",
}
DAY = {
    "e": "24hrTicker",
    "E": 1672515782136,
    "s": "BNBBTC",
    "p": "0.0015",
    "P": "250.00",
    "c": "0.0025",
    "Q": "10",
    "b": "0.0024",
    "B": "10",
    "a": "0.0026",
    "A": "100",
    "v": "10000",
    "q": "18",
}
PARTIAL = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
ACK = {"result": None, "id": 1}
LISTED = {"result": [TRADES, DEPTH], "id": 3}
FAULT = {"code": 2, "msg": "Invalid request: unknown variant", "id": 1}
BYE = {"e": "serverShutdown", "E": 1770123456789}
DATA = [
    push(DEPTH, DEPTH_UPDATE),
    push(TRADES, TRADE),
    push(AGG, AGG_TRADE),
    push(BEST, BOOK_TICKER),
    push(TICKER, DAY),
    push(TOP, PARTIAL),
]
MESSAGES = [*DATA, ACK, LISTED, FAULT, BYE, push("!serverShutdown", BYE)]


# -- data ---------------------------------------------------------------------------------------


def test_a_depth_update():
    [event] = read(CODEC, push(DEPTH, DEPTH_UPDATE))
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (157, 160)
    assert event.event_ns == 1672515782136 * 10**6
    assert (event.recv_ns, event.mono_ns) == (RECV, MONO)
    assert (event.bids, event.asks) == ([(0.0024, 10.0)], [(0.0026, 100.0)])
    assert event.origin.topic == DEPTH


def test_a_trade_whose_buyer_was_the_maker_was_a_sale():
    [event] = read(CODEC, push(TRADES, TRADE))
    assert isinstance(event, Trade)
    assert (event.first, event.last, event.id) == (12345, 12345, "12345")
    assert (event.price, event.size, event.side) == (0.001, 100.0, "sell")
    assert event.event_ns == 1672515782137 * 10**6
    [event] = read(CODEC, push(TRADES, TRADE | {"m": False}))
    assert event.side == "buy"


def test_an_aggregate_trade_is_numbered_by_its_own_id():
    [event] = read(CODEC, push(AGG, AGG_TRADE))
    assert isinstance(event, Trade)
    assert (event.first, event.last, event.id, event.side) == (5933014, 5933014, "5933014", "buy")


def test_a_best_quote():
    [event] = read(CODEC, push(BEST, BOOK_TICKER))
    assert isinstance(event, Bbo)
    assert (event.first, event.last) == (400900217, 400900217)
    assert (event.bid, event.bid_size) == (25.3519, 31.21)
    assert (event.ask, event.ask_size) == (25.3652, 40.66)


def test_an_empty_side_of_a_quote_has_neither_price_nor_size():
    empty = {"b": "0.00000000", "B": "0.00000000", "a": "0.00000000", "A": "0.00000000"}
    [event] = read(CODEC, push(BEST, BOOK_TICKER | empty))
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (None, None, None, None)


def test_partial_depth_is_a_whole_book_without_symbol_type_or_time():
    [event] = read(CODEC, push(TOP, PARTIAL))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last, event.event_ns) == (160, 160, None)
    assert (event.bids, event.asks) == ([(0.0024, 10.0)], [(0.0026, 100.0)])
    assert event.origin.topic == TOP


def test_a_ticker():
    [event] = read(CODEC, push(TICKER, DAY))
    assert isinstance(event, Ticker)
    assert (event.price, event.bid, event.ask, event.volume) == (0.0025, 0.0024, 0.0026, 10000)
    assert (event.mark, event.index, event.funding) == (None, None, None)


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


# -- readings -------------------------------------------------------------------------------------


def test_an_ack_grants_the_whole_frame():
    assert read(CODEC, ACK) == Ack(1)
    assert read(CODEC, reordered(ACK)) == Ack(1)


def test_a_listing():
    assert read(CODEC, LISTED) == Listing(3, (TRADES, DEPTH))
    assert read(CODEC, json.dumps(LISTED, indent=1)) == Listing(3, (TRADES, DEPTH))
    assert read(CODEC, {"result": [], "id": 3}) == Listing(3, ())


def test_refusals_come_in_two_shapes():
    assert read(CODEC, FAULT) == Refusal(1, 2, "Invalid request: unknown variant")
    nested = {"error": {"code": 2, "msg": "no"}, "id": 9}
    assert read(CODEC, nested) == Refusal(9, 2, "no")
    revoked = {"id": None, "status": 401, "error": {"code": -2015, "msg": "revoked"}}
    assert read(CODEC, revoked) == Refusal(None, -2015, "revoked")


def test_too_many_requests_ends_the_session():
    reading = read(CODEC, {"code": -1003, "msg": "Way too many requests", "id": 1})
    assert isinstance(reading, Refusal)
    assert reading.limited


@pytest.mark.parametrize(
    "message",
    [
        push("ethbtc@trade", TRADE),
        push("bnbbtc@depth5", {"lastUpdateId": 160, "bids": [], "asks": []}),
        push("!miniTicker@arr", [DAY]),
        {"e": "trade"},
        {"result": None, "id": None},
        {},
    ],
)
def test_what_nobody_asked_for_is_a_stray(message):
    assert isinstance(read(CODEC, message), Stray)
    assert isinstance(read(CODEC, reordered(message)), Stray)


# -- requests -------------------------------------------------------------------------------------


def test_requests():
    assert CODEC.setup(1) == []
    subscribe = CODEC.subscribe(1, (DEPTH, TRADES))[0]
    assert json.loads(subscribe.text) == {
        "method": "SUBSCRIBE",
        "params": [DEPTH, TRADES],
        "id": 1,
    }
    assert (subscribe.kind, subscribe.topics, subscribe.pool) == (
        "subscribe",
        (DEPTH, TRADES),
        None,
    )
    unsubscribe = CODEC.unsubscribe(2, (DEPTH,))[0]
    assert json.loads(unsubscribe.text)["method"] == "UNSUBSCRIBE"
    assert unsubscribe.kind == "unsubscribe"
    listing = CODEC.once_live(3)
    assert listing is not None
    assert json.loads(listing.text) == {"method": "LIST_SUBSCRIPTIONS", "id": 3}


# -- REST ------------------------------------------------------------------------------


def test_a_depth_snapshot():
    body = (
        b'{"lastUpdateId":1027024,"bids":[["4.00000000","431.0"]],"asks":[["4.00000200","12.0"]]}'
    )
    event = REST.read_snapshot(body, BOOK_ORIGIN, RECV, MONO)
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last, event.event_ns) == (1027024, 1027024, None)
    assert (event.bids, event.asks) == ([(4.0, 431.0)], [(4.000002, 12.0)])


def test_a_snapshot_is_asked_for_with_an_upper_case_symbol_and_paid_by_weight():
    get = REST.snapshot("bnbbtc")
    assert (get.path, dict(get.query)) == ("/api/v3/depth", {"symbol": "BNBBTC", "limit": "1000"})
    assert (get.pool, get.units) == ("weight", 50)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"lastUpdateId":-1,"bids":[],"asks":[]}',
        b'{"lastUpdateId":1,"bids":[["NaN","1"]],"asks":[]}',
        b'{"lastUpdateId":1,"bids":[["1","-1"]],"asks":[]}',
        b'{"lastUpdateId":1,"bids":[["1","1e400"]],"asks":[]}',
        b'{"lastUpdateId":1,"bids":[]}',
        b'{"lastUpdateId":' + b"9" * 40 + b',"bids":[],"asks":[]}',
        b'{"x":' * 100_000,
    ],
)
def test_what_is_no_snapshot_is_a_decode_error(body):
    with pytest.raises(DecodeError):
        REST.read_snapshot(body, BOOK_ORIGIN, RECV, MONO)


def test_the_literal_digits_of_levels_are_kept_where_they_are_asked_for():
    codec = BinanceSpotCodec(origins("binance.spot", TOPICS), texts=True)
    sent = DEPTH_UPDATE | {"b": [["0.00240", "10.00"], ["0.0023", "0.0"]], "a": []}
    [delta] = read(codec, push(DEPTH, sent))
    assert delta.texts == Texts([("0.00240", "10.00"), ("0.0023", "0.0")], [])
    assert delta.bids == [(0.0024, 10.0), (0.0023, 0.0)]
    [image] = read(codec, push(TOP, PARTIAL))
    assert image.texts == Texts([("0.0024", "10")], [("0.0026", "100")])
    body = b'{"lastUpdateId":1,"bids":[["4.00000000","431.0"]],"asks":[]}'
    snapshot = REST.read_snapshot(body, BOOK_ORIGIN, RECV, MONO, texts=True)
    assert snapshot.texts == Texts([("4.00000000", "431.0")], [])
    assert REST.read_snapshot(body, BOOK_ORIGIN, RECV, MONO).texts is None


def test_past_trades_are_asked_for_by_number():
    get = REST.trades(TRADES, "bnbbtc", 28457, 28459)
    assert get.path == "/api/v3/historicalTrades"
    assert dict(get.query) == {"symbol": "BNBBTC", "fromId": "28457", "limit": "3"}
    assert (get.pool, get.units, get.body) == ("weight", 25, None)
    get = REST.trades(AGG, "BNBBTC", 26129, 99999)
    assert get.path == "/api/v3/aggTrades"
    assert dict(get.query) == {"symbol": "BNBBTC", "fromId": "26129", "limit": "1000"}
    assert (get.pool, get.units) == ("weight", 4)
    assert REST.trades(DEPTH, "BNBBTC", 1, 2) is None


def test_past_trades():
    body = (
        b'[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012",'
        b'"time":1499865549590,"isBuyerMaker":true,"isBestMatch":true}]'
    )
    origin = Origin("binance.spot", "trades", "BNBBTC", TRADES, "a", 1)
    [trade] = REST.read_trades(body, origin, RECV, MONO)
    assert (trade.first, trade.last, trade.id) == (28457, 28457, "28457")
    assert (trade.price, trade.size, trade.side) == (4.000001, 12.0, "sell")
    assert (trade.event_ns, trade.recv_ns) == (1499865549590 * 10**6, RECV)


def test_past_aggregate_trades():
    body = (
        b'[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,'
        b'"T":1498793709153,"m":true,"M":true}]'
    )
    origin = Origin("binance.spot", "trades", "BNBBTC", AGG, "a", 1)
    [trade] = REST.read_trades(body, origin, RECV, MONO)
    assert (trade.first, trade.last, trade.id, trade.side) == (26129, 26129, "26129", "sell")
    assert (trade.price, trade.size) == (0.01633102, 4.70443515)
    assert trade.event_ns == 1498793709153 * 10**6


def test_what_is_traded_is_listed_without_the_sets_of_permissions():
    [get] = REST.instruments()
    assert (get.path, dict(get.query)) == ("/api/v3/exchangeInfo", {"showPermissionSets": "false"})
    assert (get.pool, get.units) == ("weight", 20)
    symbols = [
        {"symbol": "ETHBTC", "status": "TRADING", "baseAsset": "ETH", "quoteAsset": "BTC"},
        {"symbol": "OLDBTC", "status": "BREAK", "baseAsset": "OLD", "quoteAsset": "BTC"},
        {"symbol": "XBTC", "status": "CANCEL_ONLY", "baseAsset": "X", "quoteAsset": "BTC"},
    ]
    body = json.dumps({"timezone": "UTC", "rateLimits": [], "symbols": symbols}).encode()
    assert REST.read_instruments(body) == [
        Instrument("ETHBTC", "spot", "ETH", "BTC", state="open"),
        Instrument("OLDBTC", "spot", "OLD", "BTC", state="halted"),
        Instrument("XBTC", "spot", "X", "BTC", state="halted"),
    ]


def test_an_error_body():
    assert REST.read_error(b'{"code":-1121,"msg":"Invalid symbol."}') == (-1121, "Invalid symbol.")
    assert REST.read_error(b'{"code":-1121,"msg":"\\u001b[2J"}') == (-1121, "\\x1b[2J")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"code":"x"}', b'{"msg":"?"}', b'{"code":1,"msg":"\xff"}', b"{" * 9],
)
def test_what_is_no_error_body_is_none(body):
    assert REST.read_error(body) is None


@given(st.binary(max_size=60))
@settings(max_examples=200, derandomize=True)
def test_any_bytes_are_read_or_refused(body):
    REST.read_error(body)
    REST.read_error(b'{"code":1,"msg":"' + body + b'"}')
    with contextlib.suppress(DecodeError):
        check(REST.read_snapshot(body, BOOK_ORIGIN, RECV, MONO))


# -- the traps -----------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["trades", "book", "bbo", "ticker"])
def test_trap_stream_names_need_lower_case(channel):
    topic = PROFILE.topic(channel, "BNBBTC").topic
    assert topic.startswith("bnbbtc@")


def test_trap_2_a_whole_line_fits_in_few_frames():
    topics = tuple(f"symbol{number}usdt@depth@100ms" for number in range(1024))
    assert PROFILE.topics_per_connection.value == len(topics)
    assert PROFILE.topics_per_request.value is None
    budget = PROFILE.messages.value
    assert [(window.count, window.per_ns) for window in budget] == [(5, 10**9)]


def test_trap_3_a_best_quote_has_neither_type_nor_time():
    [event] = read(CODEC, push(BEST, BOOK_TICKER))
    assert event.event_ns is None
    assert PROFILE.topic("bbo", "BNBBTC").numbering is Numbering.ORDERED


@pytest.mark.parametrize("message", [BYE, push("!serverShutdown", BYE), {"event": BYE}])
def test_trap_4_the_shutdown_notice_has_three_shapes(message):
    assert read(CODEC, message) == Shutdown("serverShutdown")
    assert read(CODEC, reordered(message)) == Shutdown("serverShutdown")


def test_trap_5_the_ack_proves_nothing_and_the_listing_does():
    assert read(CODEC, ACK) == Ack(1, topics=None)
    assert CODEC.once_live(2) is not None


def test_trap_6_the_ticker_of_all_symbols_is_gone():
    channels = [topic for channel in PROFILE.channels for topic in channel.topics.values()]
    assert not any("arr" in topic for topic in channels)


def test_trap_9_books_are_ranges_aligned_with_a_rest_snapshot():
    spec = PROFILE.topic("book", "BNBBTC")
    assert (spec.numbering, spec.snapshot) == (Numbering.DENSE, SnapshotFrom.REST)
    assert (spec.topic, PROFILE.rest) == (DEPTH, PROFILE.rest)
    assert PROFILE.rest is not None


# -- hostile input ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [lambda message: message, reordered])
def test_an_update_range_that_ends_before_it_begins_is_refused(order):
    with pytest.raises(DecodeError, match=r"161\.\.160 is empty"):
        read(CODEC, order(push(DEPTH, DEPTH_UPDATE | {"U": 161})))


@pytest.mark.parametrize(
    "data",
    [
        push(DEPTH, DEPTH_UPDATE | {"b": [["0.0024", "-10"]]}),
        push(DEPTH, DEPTH_UPDATE | {"b": [["-0.0024", "10"]]}),
        push(DEPTH, DEPTH_UPDATE | {"b": [["NaN", "10"]]}),
        push(DEPTH, DEPTH_UPDATE | {"b": [["1e400", "10"]]}),
        push(DEPTH, DEPTH_UPDATE | {"b": [["inf", "10"]]}),
        push(DEPTH, DEPTH_UPDATE | {"b": [["0.0024"]]}),
        push(DEPTH, DEPTH_UPDATE | {"b": None}),
        push(DEPTH, DEPTH_UPDATE | {"u": 10**40}),
        push(DEPTH, DEPTH_UPDATE | {"U": -1}),
        push(DEPTH, DEPTH_UPDATE | {"E": "soon"}),
        push(TRADES, TRADE | {"q": "-100"}),
        push(TRADES, TRADE | {"t": 1.5}),
        push(TRADES, TRADE | {"p": None}),
        push(TRADES, TRADE | {"p": ""}),
        push(AGG, TRADE),
        push(BEST, BOOK_TICKER | {"B": "-1"}),
        push(TOP, DEPTH_UPDATE),
        push(TOP, PARTIAL | {"lastUpdateId": -1}),
        push(BEST, None),
        {"stream": DEPTH},
        {"stream": 7},
        {"id": [], "result": None},
        {"id": 1, "result": [1]},
        {"code": "x"},
        [],
        "",
        "hello",
        '{"stream":"' + DEPTH,
        '{"e":"\ud800"}',
        '{"stream":"' + DEPTH + '","data":"\ud800"}',
        "[" * 100_000,
        '{"x":' * 100_000,
        '{"stream":"' + DEPTH + '","data":' + '{"x":' * 100_000,
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        read(CODEC, data)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk):
    for path in places_of(message):
        survives_in(CODEC, planted(message, path, junk))


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives_in(CODEC, text)
