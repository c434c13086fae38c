"""Coinbase Exchange's dialect: messages as documented, traps by name, hostile input."""

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

from gapless.core.codec import Asked, Granted, Heartbeat, Refusal, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Origin, Texts, Ticker, Trade
from gapless.venues.coinbase_exchange import (
    PROFILES,
    CoinbaseExchangeCodec,
    CoinbaseExchangeRest,
)

BOOK, TRADES = "level2_batch:BTC-USD", "matches:BTC-USD"
TICKER, QUOTE = "ticker:BTC-USD", "bbo:BTC-USD"
TABLE = {BOOK: "book", TRADES: "trades", QUOTE: "bbo", TICKER: "ticker"}
CODEC = CoinbaseExchangeCodec(origins("coinbase.exchange", TABLE))
LITERAL = CoinbaseExchangeCodec(origins("coinbase.exchange", TABLE), texts=True)
REST = CoinbaseExchangeRest()
ORIGIN = Origin("coinbase.exchange", "trades", "BTC-USD", TRADES, "a", 1)
(PROFILE,) = PROFILES

SNAPSHOT = {
    "type": "snapshot",
    "product_id": "BTC-USD",
    "bids": [["10101.10", "0.45054140"]],
    "asks": [["10102.55", "0.57753524"]],
}
UPDATE = {
    "type": "l2update",
    "product_id": "BTC-USD",
    "time": "2019-08-14T20:42:27.265Z",
    "changes": [["buy", "10101.80000000", "0.162567"], ["sell", "10102.55", "0.00"]],
}
MATCH = {
    "type": "match",
    "trade_id": 10,
    "sequence": 50,
    "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
    "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
    "time": "2014-11-07T08:19:27.028459Z",
    "product_id": "BTC-USD",
    "size": "5.23512",
    "price": "400.23",
    "side": "sell",
}
TICKED = {
    "type": "ticker",
    "sequence": 37475248783,
    "product_id": "BTC-USD",
    "price": "1285.22",
    "open_24h": "1310.79",
    "volume_24h": "245532.79269678",
    "best_bid": "1285.04",
    "best_bid_size": "0.46688654",
    "best_ask": "1285.27",
    "best_ask_size": "1.56637040",
    "side": "buy",
    "time": "2022-10-19T23:28:22.061769Z",
    "trade_id": 370843401,
    "last_size": "11.4396987",
}
BEAT = {
    "type": "heartbeat",
    "sequence": 90,
    "last_trade_id": 20,
    "product_id": "BTC-USD",
    "time": "2014-11-07T08:19:28.464459Z",
}
SUBSCRIBED = {
    "type": "subscriptions",
    "channels": [
        {"name": "level2_50", "product_ids": ["BTC-USD"], "account_ids": None},
        {"name": "ticker", "product_ids": ["BTC-USD", "ETH-BTC"]},
        {"name": "heartbeat", "product_ids": ["BTC-USD"]},
    ],
}
ERROR = {"type": "error", "message": "Failed to subscribe", "reason": "X is not a valid product"}
MESSAGES = [SNAPSHOT, UPDATE, MATCH, TICKED, BEAT, SUBSCRIBED, ERROR]
DATA = MESSAGES[:4]


# -- data ---------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(CODEC, SNAPSHOT)
    assert isinstance(event, BookSnapshot)
    assert (event.bids, event.asks) == ([(10101.1, 0.4505414)], [(10102.55, 0.57753524)])
    assert (event.first, event.last, event.origin.topic) == (None, None, BOOK)


def test_a_size_of_zero_removes():
    [event] = read(CODEC, UPDATE)
    assert isinstance(event, BookDelta)
    assert (event.bids, event.asks) == ([(10101.8, 0.162567)], [(10102.55, 0.0)])
    assert event.event_ns == 1_565_815_347_265_000_000


def test_books_carry_their_literal_digits_if_asked():
    [event] = read(LITERAL, SNAPSHOT)
    assert event.texts == Texts([("10101.10", "0.45054140")], [("10102.55", "0.57753524")])
    [event] = read(LITERAL, UPDATE)
    assert event.texts == Texts([("10101.80000000", "0.162567")], [("10102.55", "0.00")])


def test_a_match_is_a_trade_with_its_number():
    [event] = read(CODEC, MATCH)
    assert isinstance(event, Trade)
    assert (event.first, event.last, event.id) == (10, 10, "10")
    assert (event.price, event.size, event.backfilled) == (400.23, 5.23512, False)
    assert event.event_ns == 1_415_348_367_028_459_000


def test_a_ticker_frame_is_ticker_and_best_quote_in_the_order_of_its_sequence():
    best, ticker = read(CODEC, TICKED)
    assert isinstance(best, Bbo)
    assert isinstance(ticker, Ticker)
    assert (ticker.price, ticker.bid, ticker.ask) == (1285.22, 1285.04, 1285.27)
    assert ticker.volume == 245532.79269678
    assert (best.bid_size, best.ask_size) == (0.46688654, 1.5663704)
    assert best.last == ticker.last == 37475248783
    only = CoinbaseExchangeCodec(origins("coinbase.exchange", {TICKER: "ticker"}))
    assert [event.channel for event in read(only, TICKED)] == ["ticker"]


def test_a_product_that_was_never_traded_has_a_ticker_without_a_price():
    bare = {"type": "ticker", "sequence": 1, "product_id": "BTC-USD"}
    best, ticker = read(CODEC, bare | {"best_bid": "0", "best_bid_size": "0"})
    assert (best.bid, best.bid_size, best.ask, ticker.price) == (None, None, None, None)
    assert (ticker.bid, ticker.event_ns) == (None, None)


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


# -- requests -----------------------------------------------------------------------------------


def test_one_request_asks_for_everything_and_for_heartbeats_of_each_product():
    [request] = CODEC.subscribe(7, (BOOK, QUOTE, TICKER, "matches:ETH-BTC"))
    assert (request.id, request.kind, request.pool) == (7, "subscribe", "messages")
    assert request.topics == (BOOK, QUOTE, TICKER, "matches:ETH-BTC")
    assert json.loads(request.text) == {
        "type": "subscribe",
        "channels": [
            {"name": "level2_batch", "product_ids": ["BTC-USD"]},
            {"name": "ticker", "product_ids": ["BTC-USD"]},
            {"name": "matches", "product_ids": ["ETH-BTC"]},
            {"name": "heartbeat", "product_ids": ["BTC-USD", "ETH-BTC"]},
        ],
    }


def test_an_end_has_no_answer_of_its_own_and_leaves_the_heartbeats():
    [request] = CODEC.unsubscribe(3, (BOOK,))
    assert (request.id, request.kind) == (0, "unsubscribe")
    assert json.loads(request.text) == {
        "type": "unsubscribe",
        "channels": [{"name": "level2_batch", "product_ids": ["BTC-USD"]}],
    }


def test_what_shares_a_subscription_goes_on_when_the_other_leaves():
    ticker, quote = "ticker:BTC-USD", "bbo:BTC-USD"
    table = origins("coinbase.exchange", {ticker: "ticker", quote: "bbo"})
    one = CoinbaseExchangeCodec(table)
    one.subscribe(1, (ticker, quote))
    del table[quote]
    assert one.unsubscribe(2, (quote,)) == []
    del table[ticker]
    [request] = one.unsubscribe(3, (ticker,))
    assert json.loads(request.text)["channels"] == [{"name": "ticker", "product_ids": ["BTC-USD"]}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"type":"subscribe","product_ids":["A-B","C-D"],"channels":["level2","matches",'
            '{"name":"ticker","product_ids":["E-F"]}]}',
            Asked("subscribe", None, ("matches:A-B", "matches:C-D", "ticker:E-F")),
        ),
        (
            '{"type":"unsubscribe","channels":[{"name":"level2_batch","product_ids":["A-B"]}]}',
            Asked("unsubscribe", None, ("level2_batch:A-B",)),
        ),
        ('{"type":"hello"}', None),
    ],
)
def test_what_a_client_asks_for_is_read(text, expected):
    assert CODEC.asked(text) == expected


def test_what_we_ask_for_is_read_back():
    [request] = CODEC.subscribe(1, (BOOK, TRADES, TICKER))
    assert CODEC.asked(request.text) == Asked("subscribe", None, (BOOK, TRADES, TICKER))
    with pytest.raises(DecodeError):
        CODEC.asked('{"type":1}')


# -- the traps ----------------------------------------------------------------------------------


def test_trap_the_first_subscribe_comes_within_5_s():
    assert CODEC.setup(1) == []  # nothing stands before it
    pool = PROFILE.budgets().pools["messages"]
    assert pool.wait_ns(0) == 0


@pytest.mark.parametrize("message", [MATCH, BEAT])
def test_trap_sequence_jumps_on_filtered_channels_and_is_not_checked(message):
    for sequence in (90, 91, 5_000, 3):
        out = read(CODEC, message | {"sequence": sequence})
        assert out == Heartbeat() or out[0].last == 10  # the trade's own number
    assert PROFILE.connection_counter.value is None
    assert PROFILE.topic("ticker", "BTC-USD").numbering is Numbering.ORDERED


@pytest.mark.parametrize(("maker", "taker"), [("sell", "buy"), ("buy", "sell")])
def test_trap_the_side_of_a_match_is_the_makers(maker, taker):
    [event] = read(CODEC, MATCH | {"side": maker})
    assert event.side == taker


def test_trap_last_match_repeats_a_trade():
    [event] = read(CODEC, MATCH | {"type": "last_match"})
    assert (event.last, event.backfilled) == (10, True)


def test_trap_an_answer_lists_all_that_is_subscribed_under_other_names():
    assert read(CODEC, SUBSCRIBED) == Granted((BOOK, TICKER, QUOTE))
    assert read(CODEC, {"type": "subscriptions", "channels": []}) == Granted(())


def test_trap_errors_carry_no_id():
    detail = "Failed to subscribe: X is not a valid product"
    assert read(CODEC, ERROR) == Refusal(None, 0, detail, ordered=True)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000000Z", ""])
def test_trap_a_snapshot_has_no_time_or_one_of_the_year_1(time):
    assert read(CODEC, SNAPSHOT)[0].event_ns is None
    assert read(CODEC, SNAPSHOT | {"time": time})[0].event_ns is None
    assert read(CODEC, UPDATE | {"time": time})[0].event_ns is None


def test_trap_the_last_trade_of_a_heartbeat_can_be_0():
    assert read(CODEC, BEAT | {"last_trade_id": 0}) == Heartbeat()


def test_the_channels_declare_what_their_numbers_prove():
    book, trades = PROFILE.topic("book", "BTC-USD"), PROFILE.topic("trades", "BTC-USD")
    assert (book.topic, book.numbering) == (BOOK, Numbering.NONE)
    assert book.snapshot is SnapshotFrom.STREAM
    assert (trades.topic, trades.numbering) == (TRADES, Numbering.DENSE)


# -- REST ---------------------------------------------------------------------------------------


def test_past_trades_are_asked_for_up_to_the_last_that_is_missing():
    request = REST.trades(TRADES, "BTC-USD", 5, 9)
    assert request.path == "/products/BTC-USD/trades"
    assert request.query == (("after", "10"), ("limit", "5"))
    assert dict(REST.trades(TRADES, "BTC-USD", 1, 10**6).query)["limit"] == "1000"


def test_past_trades_are_read_oldest_first_and_by_their_taker():
    page = [
        {"time": "2014-11-07T22:19:28.5Z", "trade_id": 74, "price": "10", "size": "1", "side": s}
        | {"trade_id": number}
        for number, s in ((75, "buy"), (74, "sell"))
    ]
    trades = REST.read_trades(compact(page).encode(), ORIGIN, 1, 2)
    assert [(t.last, t.side, t.backfilled) for t in trades] == [
        (74, "buy", True),
        (75, "sell", True),
    ]
    with pytest.raises(DecodeError):
        REST.read_trades(b"{}", ORIGIN, 1, 2)


def test_products_are_listed_with_their_state():
    product = {"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD"}
    body = compact(
        [
            product | {"status": "online"},
            product | {"status": "online", "trading_disabled": True},
            product | {"status": "offline"},
            product | {"status": "delisted"},
        ]
    )
    listed = REST.read_instruments(body.encode())
    assert [item.state for item in listed] == ["open", "halted", "halted", "gone"]
    assert (listed[0].symbol, listed[0].base, listed[0].quote) == ("BTC-USD", "BTC", "USD")
    assert [request.path for request in REST.instruments()] == ["/products"]
    with pytest.raises(DecodeError):
        REST.read_instruments(b"{}")


def test_rest_has_no_snapshots_and_says_what_went_wrong():
    assert REST.snapshot("BTC-USD") is None
    assert REST.read_error(b'{"message":"NotFound"}') == (0, "NotFound")
    assert REST.read_error(b"no") is None


# -- hostile input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        SNAPSHOT | {"bids": [["1", "-1"]]},
        SNAPSHOT | {"bids": [["nan", "1"]]},
        SNAPSHOT | {"asks": [["1", "1e400"]]},
        SNAPSHOT | {"asks": None},
        SNAPSHOT | {"time": "yesterday"},
        UPDATE | {"changes": [["up", "1", "1"]]},
        UPDATE | {"changes": [["buy", "1"]]},
        MATCH | {"trade_id": -1},
        MATCH | {"trade_id": 10**40},
        MATCH | {"side": "up"},
        MATCH | {"time": ""},
        MATCH | {"size": "-5"},
        TICKED | {"sequence": -1},
        TICKED | {"best_bid_size": "-0.1"},
        {"type": "subscriptions", "channels": {}},
        {"type": 5},
        [],
        "",
        "hello",
        '{"type":"\ud800"}',
        "[" * 100_000,
        '{"x":' * 100_000,
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        read(CODEC, data)


def test_what_nobody_asked_for_is_a_stray():
    for message in DATA:
        assert isinstance(read(CODEC, message | {"product_id": "ETH-BTC"}), Stray)
    for message in ({"type": "status"}, {"type": "received"}, {}):
        assert isinstance(read(CODEC, message), Stray)


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
