"""Binance COIN-M's dialect: messages as the documents print them, and what differs from USDⓈ-M."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.codec import Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Ticker, Trade
from gapless.venues.binance_coinm import PROFILES

(PROFILE,) = PROFILES
REST = PROFILE.rest
DEPTH, TOP = "btcusd_200626@depth@100ms", "btcusd_200626@depth5"
AGG, BEST = "btcusd_200626@aggTrade", "btcusd_200626@bookTicker"
DAY, MARK = "btcusd_200626@ticker", "btcusd_201225@markPrice@1s"
TOPICS = {DEPTH: "book", TOP: "book", AGG: "trades", BEST: "bbo", DAY: "ticker", MARK: "ticker"}
ORIGINS = origins("binance.coinm", TOPICS)
CODEC = PROFILE.codec(ORIGINS)

DEPTH_UPDATE = {
    "e": "depthUpdate",
    "E": 1591270260907,
    "T": 1591270260891,
    "s": "BTCUSD_200626",
    "ps": "BTCUSD",
    "U": 17285681,
    "u": 17285702,
    "pu": 17285675,
    "b": [["9517.6", "10"]],
    "a": [["9518.5", "45"]],
}
PARTIAL = {
    "e": "depthUpdate",
    "E": 1591269996801,
    "T": 1591269996646,
    "s": "BTCUSD_200626",
    "ps": "BTCUSD",
    "U": 17276694,
    "u": 17276701,
    "pu": 17276678,
    "b": [["9523.0", "5"], ["9522.8", "8"]],
    "a": [["9524.6", "2"], ["9524.7", "3"]],
}
AGG_TRADE = {
    "e": "aggTrade",
    "E": 1591261134288,
    "a": 424951,
    "s": "BTCUSD_200626",
    "p": "9643.5",
    "q": "2",
    "f": 606073,
    "l": 606073,
    "T": 1591261134199,
    "m": False,
}
BOOK_TICKER = {
    "e": "bookTicker",
    "u": 17242169,
    "s": "BTCUSD_200626",
    "ps": "BTCUSD",
    "b": "9548.1",
    "B": "52",
    "a": "9548.5",
    "A": "11",
    "T": 1591268628155,
    "E": 1591268628166,
}
TICKER = {
    "e": "24hrTicker",
    "E": 1591268262453,
    "s": "BTCUSD_200626",
    "ps": "BTCUSD",
    "p": "-43.4",
    "c": "9548.5",
    "v": "487850",
    "q": "32968676323.46222700",
}
MARK_PRICE = {
    "e": "markPriceUpdate",
    "E": 1596095725000,
    "s": "BTCUSD_201225",
    "p": "10934.62615417",
    "P": "10962.17178236",
    "i": "10933.62615417",
    "r": "",
    "T": 0,
}


def push(stream, data):
    return {"stream": stream, "data": data}


DATA = [
    push(DEPTH, DEPTH_UPDATE),
    push(TOP, PARTIAL),
    push(AGG, AGG_TRADE),
    push(BEST, BOOK_TICKER),
    push(DAY, TICKER),
    push(MARK, MARK_PRICE),
]


def test_a_depth_update():
    [event] = read(CODEC, push(DEPTH, DEPTH_UPDATE))
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (17285676, 17285702)
    assert event.event_ns == 1591270260891 * 10**6
    assert (event.bids, event.asks) == ([(9517.6, 10.0)], [(9518.5, 45.0)])


def test_partial_depth_looks_like_diff_depth_and_is_a_whole_book():
    [event] = read(CODEC, push(TOP, PARTIAL))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (17276701, 17276701)
    spec = PROFILE.topic("book.top5-250ms", "BTCUSD_200626")
    assert (spec.topic, spec.snapshot, spec.depth) == (TOP, SnapshotFrom.EVERY, 5)


def test_an_aggregate_trade_counts_contracts():
    [event] = read(CODEC, push(AGG, AGG_TRADE))
    assert isinstance(event, Trade)
    assert (event.first, event.id, event.side) == (424951, "424951", "buy")
    assert (event.price, event.size) == (9643.5, 2.0)


def test_a_best_quote():
    [event] = read(CODEC, push(BEST, BOOK_TICKER))
    assert isinstance(event, Bbo)
    assert (event.last, event.event_ns) == (17242169, 1591268628155 * 10**6)
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (9548.1, 52.0, 9548.5, 11.0)


def test_a_day():
    [event] = read(CODEC, push(DAY, TICKER))
    assert isinstance(event, Ticker)
    assert (event.price, event.volume) == (9548.5, 487850.0)


def test_a_contract_that_is_delivered_pays_no_funding():
    [event] = read(CODEC, push(MARK, MARK_PRICE))
    assert isinstance(event, Ticker)
    assert (event.mark, event.index) == (10934.62615417, 10933.62615417)
    assert (event.funding, event.next_funding_ns) == (None, None)
    [event] = read(CODEC, push(MARK, MARK_PRICE | {"r": "0.0007", "T": 1617321600000}))
    assert (event.funding, event.next_funding_ns) == (0.0007, 1617321600000 * 10**6)


def test_mark_prices_of_2021_come_without_an_index():
    old = {key: value for key, value in MARK_PRICE.items() if key != "i"}
    [event] = read(CODEC, push(MARK, old))
    assert (event.mark, event.index) == (10934.62615417, None)


def test_the_mark_prices_of_a_pair_are_an_array_that_nobody_asks_for():
    assert isinstance(read(CODEC, push("btcusd@markPrice", [MARK_PRICE])), Stray)


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)


# -- the profile ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "channel", ["book", "bbo", "trades", "trades.raw", "ticker", "ticker.mark"]
)
def test_every_stream_is_served_on_one_path(channel):
    assert PROFILE.path_of(channel) == "/stream"
    assert PROFILE.topic(channel, "BTCUSD_PERP").topic.startswith("btcusd_perp@")


def test_books_are_chains_aligned_with_a_rest_snapshot():
    spec = PROFILE.topic("book", "BTCUSD_PERP")
    assert (spec.numbering, spec.snapshot) == (Numbering.CHAIN, SnapshotFrom.REST)


# -- REST -----------------------------------------------------------------------------------------


def test_a_snapshot():
    get = REST.snapshot("btcusd_perp")
    query = {"symbol": "BTCUSD_PERP", "limit": "1000"}
    assert (get.path, dict(get.query), get.units) == ("/dapi/v1/depth", query, 20)
    body = (
        b'{"lastUpdateId":16769853,"symbol":"BTCUSD_PERP","pair":"BTCUSD","E":1591250106370,'
        b'"T":1591250106368,"bids":[["9638.0","431"]],"asks":[["9638.2","12"]]}'
    )
    event = REST.read_snapshot(body, ORIGINS[DEPTH], RECV, MONO, texts=True)
    assert (event.last, event.event_ns) == (16769853, 1591250106368 * 10**6)
    assert (event.bids, event.asks) == ([(9638.0, 431.0)], [(9638.2, 12.0)])
    assert event.texts.bids == [("9638.0", "431")]


def test_aggregate_trades_can_be_asked_for_by_number():
    get = REST.trades(AGG, "btcusd_200626", 416690, 416690)
    assert get.path == "/dapi/v1/aggTrades"
    assert dict(get.query) == {"symbol": "BTCUSD_200626", "fromId": "416690", "limit": "1"}
    assert REST.trades("btcusd_perp@trade", "btcusd_perp", 1, 2) is None
    body = b'[{"a":416690,"p":"9642.4","q":"3","f":595259,"l":595259,"T":1591250548649,"m":false}]'
    [trade] = REST.read_trades(body, ORIGINS[AGG], RECV, MONO)
    assert (trade.first, trade.price, trade.size, trade.side) == (416690, 9642.4, 3.0, "buy")


def test_instruments():
    [get] = REST.instruments()
    assert (get.path, get.units) == ("/dapi/v1/exchangeInfo", 1)
    dated = {
        "symbol": "BTCUSD_200925",
        "pair": "BTCUSD",
        "contractType": "CURRENT_QUARTER",
        "deliveryDate": 1601020800000,
        "onboardDate": 1590739200000,
        "contractStatus": "TRADING",
        "contractSize": 100,
        "quoteAsset": "USD",
        "baseAsset": "BTC",
        "marginAsset": "BTC",
    }
    perp = dated | {
        "symbol": "BTCUSD_PERP",
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "contractStatus": "PRE_SETTLE",
    }
    listed_ns = 1590739200000 * 10**6
    assert REST.read_instruments(json.dumps({"symbols": [dated, perp]}).encode()) == [
        Instrument(
            "BTCUSD_200925",
            "future",
            "BTC",
            "USD",
            "BTC",
            "open",
            1601020800000 * 10**6,
            listed_ns=listed_ns,
        ),
        Instrument("BTCUSD_PERP", "perp", "BTC", "USD", "BTC", "settling", listed_ns=listed_ns),
    ]


# -- hostile input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        push(DEPTH, DEPTH_UPDATE | {"pu": 17285702}),
        push(DEPTH, DEPTH_UPDATE | {"U": 17285703}),
        push(MARK, MARK_PRICE | {"r": "none"}),
        push(MARK, [MARK_PRICE]),
        push(AGG, []),
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        read(CODEC, data)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", DATA)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk):
    for path in places_of(message):
        survives_in(CODEC, planted(message, path, junk))


@given(mutated(DATA))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives_in(CODEC, text)
