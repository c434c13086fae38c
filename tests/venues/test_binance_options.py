"""Binance Options' dialect: messages as the documents print them, shared streams, hostile input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.codec import Ack, Asked, Listing, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Ticker, Trade
from gapless.venues.binance_options import PROFILES

(PROFILE,) = PROFILES
REST = PROFILE.rest
SYMBOL = "btc-251123-126000-c"
DEPTH, TOP = f"{SYMBOL}@depth@100ms", f"{SYMBOL}@depth10@500ms"
TRADES, BEST = f"{SYMBOL}@optionTrade", "btc-251226-110000-c@bookTicker"
DAY = "eth-251226-3000-c@optionTicker"
MARK, OTHER = f"{SYMBOL}@optionMarkPrice", "btc-251120-126000-c@optionMarkPrice"
ETHER = "eth-251226-3000-c@optionMarkPrice"
SHARED, SHARED_ETHER = "btcusdt@optionMarkPrice", "ethusdt@optionMarkPrice"
TOPICS = {
    DEPTH: "book",
    TOP: "book",
    TRADES: "trades",
    BEST: "bbo",
    DAY: "ticker",
    MARK: "ticker",
    OTHER: "ticker",
}
ORIGINS = origins("binance.options", TOPICS)

DEPTH_UPDATE = {
    "e": "depthUpdate",
    "E": 1762866729459,
    "T": 1762866729358,
    "s": "BTC-251123-126000-C",
    "U": 465,
    "u": 465,
    "pu": 464,
    "b": [["1100.000", "0.6000"]],
    "a": [["1300.000", "0.6000"]],
}
TRADE = {
    "e": "trade",
    "E": 1762856064204,
    "T": 1762856064203,
    "s": "BTC-251123-126000-C",
    "t": 4,
    "p": "1300.000",
    "q": "0.1000",
    "X": "MARKET",
    "S": "BUY",
    "m": False,
}
BOOK_TICKER = {
    "e": "bookTicker",
    "u": 2472,
    "s": "BTC-251226-110000-C",
    "b": "5000.000",
    "B": "0.2000",
    "a": "5100.000",
    "A": "0.1000",
    "T": 1763041762942,
    "E": 1763041762942,
}
TICKER = {
    "e": "24hrTicker",
    "E": 1764080707933,
    "s": "ETH-251226-3000-C",
    "p": "0.0000",
    "P": "0.00",
    "w": "200.0000",
    "c": "200.0000",
    "Q": "1.0000",
    "v": "9.0000",
    "q": "1800.0000",
    "F": 1,
    "L": 22,
    "n": 9,
}
MARKS = [
    {
        "s": "BTC-251120-126000-C",
        "mp": "770.543",
        "E": 1762867543321,
        "e": "markPrice",
        "i": "104334.60217391",
        "P": "0.000",
        "bo": "0.000",
        "ao": "900.000",
        "bq": "0.0000",
        "aq": "0.2000",
        "b": "-1.0",
        "a": "0.98161161",
        "hl": "924.652",
        "ll": "616.435",
        "vo": "0.9408058",
        "rf": "0.0",
        "d": "0.11111964",
        "t": "-164.26702615",
        "g": "0.00001245",
        "v": "30.63855919",
    },
    {
        "s": "BTC-251123-126000-C",
        "mp": "1249.61",
        "E": 1762867543321,
        "e": "markPrice",
        "i": "104334.60217391",
        "P": "0.000",
        "bo": "1200.000",
        "ao": "1300.000",
        "bq": "0.3000",
        "aq": "0.6000",
        "b": "0.92159033",
        "a": "0.94461441",
        "hl": "1499.533",
        "ll": "999.688",
        "vo": "0.93310237",
        "rf": "0.0",
        "d": "0.14869196",
        "t": "-172.12148811",
        "g": "0.00001326",
        "v": "43.43627792",
    },
]


def push(stream, data):
    return {"stream": stream, "data": data}


DATA = [
    push(DEPTH, DEPTH_UPDATE),
    push(TOP, DEPTH_UPDATE),
    push(TRADES, TRADE),
    push(BEST, BOOK_TICKER),
    push(DAY, TICKER),
    push(SHARED, MARKS),
]
MESSAGES = [*DATA, {"result": None, "id": 1}, {"result": [SHARED], "id": 3}]


@pytest.fixture
def codec():
    return PROFILE.codec(ORIGINS)


# -- data -----------------------------------------------------------------------------------------


def test_a_depth_update(codec):
    [event] = read(codec, push(DEPTH, DEPTH_UPDATE))
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (465, 465)
    assert event.event_ns == 1762866729358 * 10**6
    assert (event.bids, event.asks) == ([(1100.0, 0.6)], [(1300.0, 0.6)])


def test_partial_depth_looks_like_diff_depth_and_is_a_whole_book(codec):
    [event] = read(codec, push(TOP, DEPTH_UPDATE))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (465, 465)
    spec = PROFILE.topic("book.top10-500ms", "BTC-251123-126000-C")
    assert (spec.topic, spec.snapshot, spec.depth) == (TOP, SnapshotFrom.EVERY, 10)


def test_a_trade(codec):
    [event] = read(codec, push(TRADES, TRADE))
    assert isinstance(event, Trade)
    assert (event.id, event.price, event.size, event.side) == ("4", 1300.0, 0.1, "buy")
    assert event.event_ns == 1762856064203 * 10**6


def test_trade_ids_are_names_and_prove_no_order():
    assert TICKER["L"] - TICKER["F"] + 1 != TICKER["n"]  # the document's own example
    assert PROFILE.topic("trades", "BTC-251123-126000-C").numbering is Numbering.IDENTITY


def test_a_best_quote(codec):
    [event] = read(codec, push(BEST, BOOK_TICKER))
    assert isinstance(event, Bbo)
    assert (event.last, event.event_ns) == (2472, 1763041762942 * 10**6)
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (5000.0, 0.2, 5100.0, 0.1)


def test_a_day(codec):
    [event] = read(codec, push(DAY, TICKER))
    assert isinstance(event, Ticker)
    assert (event.price, event.volume, event.mark, event.delta) == (200.0, 9.0, None, None)


def test_mark_prices_of_an_underlying_become_tickers_of_its_options(codec):
    first, second = read(codec, push(SHARED, MARKS))
    assert (first.origin.topic, second.origin.topic) == (OTHER, MARK)
    assert isinstance(second, Ticker)
    assert second.event_ns == 1762867543321 * 10**6
    assert (second.mark, second.index, second.underlying) == (
        1249.61,
        104334.60217391,
        104334.60217391,
    )
    assert (second.bid, second.ask) == (1200.0, 1300.0)
    assert (second.mark_iv, second.bid_iv, second.ask_iv) == (0.93310237, 0.92159033, 0.94461441)
    assert (second.delta, second.gamma) == (0.14869196, 0.00001326)
    assert (second.vega, second.theta, second.rho) == (43.43627792, -172.12148811, None)


def test_an_implied_volatility_of_minus_one_is_none(codec):
    first, _ = read(codec, push(SHARED, MARKS))
    assert (first.bid, first.bid_iv) == (None, None)
    assert (first.ask, first.ask_iv) == (900.0, 0.98161161)


def test_options_that_nobody_asked_for_are_left_out(codec):
    strange = MARKS[1] | {"s": "BTC-251123-99000-P"}
    [event] = read(codec, push(SHARED, [strange, MARKS[1]]))
    assert event.origin.topic == MARK
    assert isinstance(read(codec, push(SHARED, [strange])), Stray)
    assert isinstance(read(codec, push(SHARED_ETHER, [])), Stray)
    assert isinstance(read(codec, push("!index@arr", [])), Stray)


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message, codec):
    assert read(codec, reordered(message)) == read(codec, message)
    assert read(codec, json.dumps(message, indent=2)) == read(codec, message)


# -- shared streams -------------------------------------------------------------------------------


def params(request):
    return json.loads(request.text)["params"]


def test_options_of_one_underlying_share_its_stream(codec):
    [request] = codec.subscribe(1, (MARK, DEPTH, OTHER, ETHER))
    assert params(request) == [SHARED, DEPTH, SHARED_ETHER]
    assert request.topics == (MARK, DEPTH, OTHER, ETHER)


def test_a_shared_stream_ends_with_the_last_that_needs_it(codec):
    codec.subscribe(1, (MARK, DEPTH, OTHER))
    assert codec.unsubscribe(2, (MARK,)) == []
    [request] = codec.unsubscribe(3, (DEPTH,))
    assert params(request) == [DEPTH]
    [request] = codec.unsubscribe(4, (OTHER,))
    assert (params(request), request.topics) == ([SHARED], (OTHER,))


def test_a_listed_stream_stands_for_every_option_that_shares_it(codec):
    reading = read(codec, {"result": [DEPTH, SHARED], "id": 3})
    assert reading == Listing(3, (DEPTH, MARK, OTHER))
    assert read(codec, {"result": [SHARED_ETHER], "id": 3}) == Listing(3, (SHARED_ETHER,))
    assert read(codec, {"result": None, "id": 1}) == Ack(1)


def test_a_recorded_request_stands_for_every_option_that_is_known(codec):
    [request] = codec.subscribe(1, (DEPTH, MARK, OTHER))
    assert codec.asked(request.text) == Asked("subscribe", 1, (DEPTH, MARK, OTHER))
    listing = codec.once_live(2)
    assert codec.asked(listing.text) == Asked("listing", 2, ())
    assert codec.asked("{}") is None


class Growing(dict):
    """Origins that are made as they are asked for, as whoever reads captures has them."""

    def get(self, topic, default=None):
        if topic not in self:
            self.update(origins("binance.options", {topic: "ticker"}))
        return self[topic]


def test_a_capture_of_a_shared_stream_brings_each_option():
    made = Growing()
    events = read(PROFILE.codec(made), push(SHARED, MARKS))
    assert [event.origin.topic for event in events] == [OTHER, MARK]
    assert {OTHER, MARK} <= set(made)


# -- the profile ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "topic", "path"),
    [
        ("book", DEPTH, "/public/stream"),
        ("book.top10-500ms", TOP, "/public/stream"),
        ("trades", TRADES, "/public/stream"),
        ("bbo", f"{SYMBOL}@bookTicker", "/public/stream"),
        ("ticker.24h", f"{SYMBOL}@optionTicker", "/public/stream"),
        ("ticker", MARK, "/market/stream"),
        ("ticker.mark", MARK, "/market/stream"),
    ],
)
def test_trap_streams_live_on_two_paths_under_lower_case_names(channel, topic, path):
    assert PROFILE.topic(channel, "BTC-251123-126000-C").topic == topic
    assert PROFILE.path_of(channel) == path


def test_books_are_chains_aligned_with_a_rest_snapshot():
    spec = PROFILE.topic("book", "BTC-251123-126000-C")
    assert (spec.numbering, spec.snapshot) == (Numbering.CHAIN, SnapshotFrom.REST)


def test_fewer_topics_fit_on_a_connection_than_at_the_other_venues():
    assert PROFILE.topics_per_connection.value == 200
    assert PROFILE.server_ping_ns.value == 300 * 10**9


# -- REST -----------------------------------------------------------------------------------------


def test_a_snapshot():
    get = REST.snapshot(SYMBOL)
    query = {"symbol": "BTC-251123-126000-C", "limit": "1000"}
    assert (get.path, dict(get.query), get.units) == ("/eapi/v1/depth", query, 20)
    body = (
        b'{"bids":[["1000.000","0.1000"]],"asks":[["1900.000","0.1000"]],'
        b'"T":1762780909676,"lastUpdateId":361}'
    )
    event = REST.read_snapshot(body, ORIGINS[DEPTH], RECV, MONO)
    assert (event.last, event.event_ns) == (361, 1762780909676 * 10**6)
    assert (event.bids, event.asks) == ([(1000.0, 0.1)], [(1900.0, 0.1)])


def test_past_trades_cannot_be_asked_for_by_number():
    assert REST.trades(TRADES, SYMBOL, 1, 2) is None


def test_instruments():
    [get] = REST.instruments()
    assert (get.path, get.units) == ("/eapi/v1/exchangeInfo", 1)
    option = {
        "expiryDate": 1660521600000,
        "filters": [],
        "symbol": "BTC-220815-50000-C",
        "side": "CALL",
        "strikePrice": "50000",
        "underlying": "BTCUSDT",
        "unit": 1,
        "quoteAsset": "USDT",
        "status": "TRADING",
    }
    put = option | {"symbol": "XYZ-220815-1-P", "side": "PUT", "underlying": "XYZUSDT"}
    contract = {
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "underlying": "BTCUSDT",
        "settleAsset": "USDT",
    }
    body = json.dumps({"optionContracts": [contract], "optionSymbols": [option, put]}).encode()
    expiry_ns = 1660521600000 * 10**6
    assert REST.read_instruments(body) == [
        Instrument(
            "BTC-220815-50000-C",
            "option",
            "BTC",
            "USDT",
            "USDT",
            "open",
            expiry_ns,
            50000.0,
            "call",
        ),
        Instrument(
            "XYZ-220815-1-P", "option", "XYZ", "USDT", None, "open", expiry_ns, 50000.0, "put"
        ),
    ]


# -- hostile input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        push(SHARED, [MARKS[1] | {"mp": "NaN"}]),
        push(SHARED, [MARKS[1] | {"d": "1e400"}]),
        push(SHARED, [MARKS[1] | {"s": 7}]),
        push(SHARED, [{}]),
        push(SHARED, MARKS[0]),
        push(DEPTH, DEPTH_UPDATE | {"pu": 465}),
        push(DEPTH, MARKS),
        push(TRADES, TRADE | {"m": "no"}),
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(data, codec):
    with pytest.raises(DecodeError):
        read(codec, data)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk, codec):
    for path in places_of(message):
        survives_in(codec, planted(message, path, junk))


@given(mutated(MESSAGES))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives_in(PROFILE.codec(ORIGINS), text)
