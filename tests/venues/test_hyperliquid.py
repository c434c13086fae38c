"""Hyperliquid's dialect: messages as documents and traffic show them, traps by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import (
    JUNK,
    compact,
    mutated,
    origins,
    places,
    planted,
    read,
    reordered,
    survives,
)

from gapless.core.codec import Asked, Denied, Granted, Heartbeat, Refusal, Status, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError, UsageError
from gapless.events import Bbo, BookSnapshot, Texts, Ticker, Trade
from gapless.venues.hyperliquid import PROFILES, HyperliquidCodec, HyperliquidRest

BOOK, TRADES, QUOTE, TICKER = "l2Book:BTC", "trades:BTC", "bbo:BTC", "activeAssetCtx:BTC"
SPOT = "activeAssetCtx:@107"
TABLE = {BOOK: "book", TRADES: "trades", QUOTE: "bbo", TICKER: "ticker", SPOT: "ticker"}
LITERAL = HyperliquidCodec(origins("hyperliquid", TABLE), texts=True)
REST = HyperliquidRest()
(PROFILE,) = PROFILES


def codec():
    """Return a fresh codec: it remembers who has been greeted."""
    return HyperliquidCodec(origins("hyperliquid", TABLE))


CODEC = codec()


def frame(channel, data):
    return {"channel": channel, "data": data}


def trade(**other):
    return {
        "coin": "BTC",
        "side": "B",
        "px": "105056.0",
        "sz": "0.00219",
        "hash": "0x" + "0" * 64,
        "time": 1737918794873,
        "tid": 121451470284048,
        "users": ["0xe9ed", "0x6802"],
    } | other


BOOKED = frame(
    "l2Book",
    {
        "coin": "BTC",
        "time": 1737918843542,
        "levels": [
            [{"px": "105055.0", "sz": "3.03622", "n": 5}, {"px": "105054.0", "sz": "0.1", "n": 1}],
            [{"px": "105056.0", "sz": "6.34472", "n": 13}],
        ],
    },
)
TRADED = frame("trades", [trade()])
QUOTED = frame(
    "bbo",
    {
        "coin": "BTC",
        "time": 1708622398623,
        "bbo": [{"px": "19900", "sz": "1", "n": 1}, {"px": "20100", "sz": "2", "n": 1}],
    },
)
CONTEXT = {
    "dayNtlVlm": "1169046.29406",
    "funding": "-0.0000125",
    "impactPxs": ["14.3047", "14.3444"],
    "markPx": "14.3161",
    "midPx": "14.314",
    "openInterest": "688.11",
    "oraclePx": "14.32",
    "premium": "0.00031774",
    "prevDayPx": "15.322",
    "dayBaseVlm": "81234.5",
}
TICKED = frame("activeAssetCtx", {"coin": "BTC", "ctx": CONTEXT})
GRANTED = frame(
    "subscriptionResponse",
    {"method": "subscribe", "subscription": {"type": "trades", "coin": "BTC"}},
)
ERROR = frame("error", 'Invalid subscription {"type":"trades","coin":"BTC"}')
MESSAGES = [BOOKED, TRADED, QUOTED, TICKED, GRANTED, ERROR, {"channel": "pong"}]
DATA = MESSAGES[:4]


# -- data ---------------------------------------------------------------------------------------


def test_a_book_is_whole_and_ordered_by_its_time():
    [event] = read(CODEC, BOOKED)
    assert isinstance(event, BookSnapshot)
    assert event.event_ns == 1737918843542 * 10**6
    assert event.bids == [(105055.0, 3.03622), (105054.0, 0.1)]
    assert event.asks == [(105056.0, 6.34472)]
    assert (event.first, event.last, event.texts) == (None, None, None)
    spec = PROFILE.topic("book", "BTC")
    assert (spec.topic, spec.snapshot, spec.depth) == (BOOK, SnapshotFrom.EVERY, 20)
    assert spec.numbering is Numbering.NONE


def test_books_carry_their_literal_digits_if_asked():
    [event] = read(LITERAL, BOOKED)
    assert event.texts == Texts(
        [("105055.0", "3.03622"), ("105054.0", "0.1")], [("105056.0", "6.34472")]
    )


@pytest.mark.parametrize(("side", "taker"), [("B", "buy"), ("A", "sell")])
def test_a_trade_is_told_by_its_taker(side, taker):
    [event] = read(CODEC, frame("trades", [trade(side=side)]))
    assert isinstance(event, Trade)
    assert (event.price, event.size, event.side) == (105056.0, 0.00219, taker)
    assert event.event_ns == 1737918794873 * 10**6
    assert PROFILE.topic("trades", "BTC").numbering is Numbering.IDENTITY


def test_the_first_trades_after_subscribing_are_the_greeting_oldest_first():
    fresh = codec()
    fresh.subscribe(1, (TRADES,))
    greeting = read(fresh, frame("trades", [trade(time=2, tid=2), trade(time=1, tid=1)]))
    assert [(t.id, t.backfilled) for t in greeting] == [("1-1", True), ("2-2", True)]
    assert [t.backfilled for t in read(fresh, TRADED)] == [False]
    fresh.subscribe(2, (BOOK,))
    assert [t.backfilled for t in read(fresh, TRADED)] == [False]
    fresh.subscribe(3, (TRADES,))
    assert [t.backfilled for t in read(fresh, TRADED)] == [True]


def test_the_best_quote_may_lack_a_side():
    [event] = read(CODEC, QUOTED)
    assert isinstance(event, Bbo)
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (19900, 1, 20100, 2)
    assert event.event_ns == 1708622398623 * 10**6
    [event] = read(CODEC, frame("bbo", QUOTED["data"] | {"bbo": [None, None]}))
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (None,) * 4


def test_the_context_of_an_asset_is_its_ticker():
    [event] = read(CODEC, TICKED)
    assert isinstance(event, Ticker)
    assert (event.mark, event.index, event.price) == (14.3161, 14.32, None)
    assert (event.open_interest, event.funding) == (688.11, -0.0000125)
    assert (event.volume, event.event_ns) == (81234.5, None)


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(codec(), reordered(message)) == read(codec(), message)
    assert read(codec(), json.dumps(message, indent=2)) == read(codec(), message)


# -- requests and answers -----------------------------------------------------------------------


def test_what_we_ask_for_is_read_back():
    for topic in TABLE:
        [request] = CODEC.subscribe(1, (topic,))
        assert CODEC.asked(request.text) == Asked("subscribe", None, (topic,))
        [request] = CODEC.unsubscribe(1, (topic,))
        assert (request.id, CODEC.asked(request.text)) == (0, Asked("unsubscribe", None, (topic,)))
    assert CODEC.asked('{"method":"ping"}') is None
    user = '{"method":"subscribe","subscription":{"type":"userFills","user":"0x"}}'
    assert CODEC.asked(user) == Asked("subscribe", None, ())
    with pytest.raises(DecodeError):
        CODEC.asked('{"method":5}')


def test_a_subscription_that_stands_already_is_granted():
    said = 'Already subscribed: {"type":"activeAssetCtx","coin":"BTC"}'
    assert read(CODEC, frame("error", said)) == Granted((TICKER,))


@pytest.mark.parametrize("coin", ["BTC", "ETH"])  # the second is followed no more
def test_an_end_that_came_too_late_concerns_nobody(coin):
    said = f'Already unsubscribed: {{"type":"trades","coin":"{coin}"}}'
    assert isinstance(read(CODEC, frame("error", said)), Status)


def test_a_refusal_that_quotes_the_subscription_denies_that_one():
    reading = read(CODEC, ERROR)
    assert reading == Denied((TRADES,), 0, 'Invalid subscription {"type":"trades","coin":"BTC"}')


@pytest.mark.parametrize(
    "said",
    [
        "Too many subscriptions",
        'Invalid subscription {"type":"trades","coin":"ETH"}',
        'Invalid subscription {"type":"trades"}',
        'Invalid subscription {"type":5}',
        "} {",
        "{" * 100_000 + "}",
    ],
)
def test_a_refusal_that_names_nothing_of_ours_is_of_the_oldest_request(said):
    reading = read(CODEC, frame("error", said))
    assert isinstance(reading, Refusal)
    assert (reading.request_id, reading.ordered, reading.limited) == (None, True, False)


# -- the traps ----------------------------------------------------------------------------------


def test_trap_the_first_frame_is_a_plain_sentence():
    assert read(CODEC, "Websocket connection established.") == Heartbeat()
    with pytest.raises(DecodeError):
        read(CODEC, "Websocket connection lost.")


def test_trap_a_silent_connection_is_closed_after_60_s_unless_we_ping_by_text():
    beat = CODEC.beat(9)
    assert (json.loads(beat.text), beat.id) == ({"method": "ping"}, 0)
    assert PROFILE.client_beat_ns.value is not None
    assert PROFILE.client_beat_ns.value <= 50 * 10**9
    assert read(CODEC, {"channel": "pong"}) == Heartbeat()


def test_trap_a_list_of_coins_is_ignored_so_each_has_a_request():
    first, second = CODEC.subscribe(7, (BOOK, "l2Book:ETH"))
    assert (first.id, first.topics, second.id) == (7, (BOOK,), 8)
    assert json.loads(second.text) == {
        "method": "subscribe",
        "subscription": {"type": "l2Book", "coin": "ETH"},
    }
    assert PROFILE.topics_per_request.value == 1


def test_trap_the_confirmation_has_defaults_filled_in():
    filled = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False}
    answer = frame("subscriptionResponse", {"method": "subscribe", "subscription": filled})
    assert read(CODEC, answer) == Granted((BOOK,))
    assert read(CODEC, GRANTED) == Granted((TRADES,))


def test_trap_the_confirmation_of_an_end_grants_nothing():
    data = GRANTED["data"] | {"method": "unsubscribe"}
    assert isinstance(read(CODEC, frame("subscriptionResponse", data)), Stray)


def test_trap_tid_alone_is_not_unique():
    one, other = read(CODEC, frame("trades", [trade(time=1), trade(time=2)]))
    assert one.id != other.id


def test_trap_the_context_of_a_spot_coin_comes_on_another_channel():
    message = frame("activeSpotAssetCtx", {"coin": "@107", "ctx": {"markPx": "1.5"}})
    [event] = read(CODEC, message)
    assert (event.origin.topic, event.mark, event.funding) == (SPOT, 1.5, None)


@pytest.mark.parametrize("coin", ["@107", "PURR/USDC", "dex:COIN", "kPEPE"])
def test_trap_coins_have_signs_of_their_own(coin):
    spec = PROFILE.topic("book", coin)
    assert spec.topic == f"l2Book:{coin}"
    assert PROFILE.recogniser()(spec.topic) == spec
    [request] = CODEC.subscribe(1, (spec.topic,))
    assert json.loads(request.text)["subscription"]["coin"] == coin


def test_trap_a_coin_cannot_smuggle_in_anything():
    for coin in ('A"', "A{", "", " "):
        with pytest.raises(UsageError):
            PROFILE.topic("book", coin)


def test_trap_limits_are_counted_for_the_whole_address():
    requests = [CODEC.beat(1), *CODEC.subscribe(1, (BOOK,)), *CODEC.unsubscribe(1, (BOOK,))]
    assert {request.pool for request in requests} == {"messages"}
    assert PROFILE.topics_per_connection.value == 1000


# -- REST ---------------------------------------------------------------------------------------


def test_perpetuals_and_spot_pairs_are_listed():
    perps, spot = REST.instruments()
    assert (perps.path, json.loads(perps.body or "")) == ("/info", {"type": "meta"})
    assert json.loads(spot.body or "") == {"type": "spotMeta"}
    meta = {"universe": [{"name": "BTC", "szDecimals": 5}, {"name": "OLD", "isDelisted": True}]}
    one, old = REST.read_instruments(compact(meta).encode())
    assert (one.symbol, one.kind, one.base, one.settle) == ("BTC", "perp", "BTC", "USDC")
    assert (one.state, old.state) == ("open", "gone")
    pairs = {
        "tokens": [{"name": "USDC", "index": 0}, {"name": "PURR", "index": 1}],
        "universe": [{"name": "PURR/USDC", "tokens": [1, 0], "index": 0}],
    }
    [pair] = REST.read_instruments(compact(pairs).encode())
    assert (pair.symbol, pair.kind, pair.base, pair.quote) == ("PURR/USDC", "spot", "PURR", "USDC")
    with pytest.raises(DecodeError):
        REST.read_instruments(b"[]")


def test_rest_offers_nothing_else():
    assert REST.snapshot("BTC") is None
    assert REST.trades(TRADES, "BTC", 1, 2) is None
    assert REST.read_error(b'"Failed to deserialize"') == (0, "Failed to deserialize")
    assert REST.read_error(b"{}") is None


# -- hostile input ------------------------------------------------------------------------------


def book_of(**other):
    return frame("l2Book", BOOKED["data"] | other)


@pytest.mark.parametrize(
    "data",
    [
        book_of(levels=[[{"px": "nan", "sz": "1"}], []]),
        book_of(levels=[[{"px": "1", "sz": "-1"}], []]),
        book_of(levels=[[{"px": "1e400", "sz": "1"}], []]),
        book_of(levels=[[]]),
        book_of(levels=None),
        book_of(time=-1),
        book_of(time=10**40),
        frame("trades", [trade(side="C")]),
        frame("trades", [trade(tid=-1)]),
        frame("trades", [trade(px="inf")]),
        frame("trades", trade()),
        frame("bbo", QUOTED["data"] | {"bbo": [None]}),
        frame("activeAssetCtx", {"coin": "BTC", "ctx": {"funding": "nan"}}),
        frame("activeAssetCtx", {"coin": "BTC"}),
        frame("error", {"text": "no"}),
        {"channel": "l2Book"},
        {"channel": 5},
        [],
        "",
        "hello",
        '{"channel":"\ud800"}',
        "[" * 100_000,
        '{"x":' * 100_000,
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        read(CODEC, data)


def test_what_nobody_asked_for_is_a_stray():
    for channel in ("l2Book", "bbo", "activeAssetCtx"):
        data = next(m["data"] for m in DATA if m["channel"] == channel)
        assert isinstance(read(CODEC, frame(channel, data | {"coin": "ETH"})), Stray)
    assert isinstance(read(CODEC, frame("trades", [trade(coin="ETH")])), Stray)
    assert isinstance(read(CODEC, frame("allMids", {"mids": {}})), Stray)
    assert isinstance(read(CODEC, {}), Stray)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk):
    for path in places(message):
        survives(CODEC, planted(message, path, junk))
        survives(LITERAL, planted(message, path, junk))


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives(LITERAL, text)
