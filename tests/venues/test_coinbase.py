"""Coinbase's dialect: messages as documents and traffic show them, traps by name, hostile input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import (
    JUNK,
    MONO,
    RECV,
    compact,
    mutated,
    origins,
    places,
    planted,
    read,
    reordered,
    survives,
)

from gapless.core.codec import Ack, Asked, Bundle, Granted, Heartbeat, Refusal, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Texts, Ticker, Trade
from gapless.venues.coinbase import PROFILES, CoinbaseCodec, CoinbaseRest

BOOK, TRADES = "level2:BTC-USD", "market_trades:BTC-USD"
TICKER, QUOTE = "ticker:BTC-USD", "bbo:BTC-USD"
CODEC = CoinbaseCodec(
    origins("coinbase", {BOOK: "book", TRADES: "trades", QUOTE: "bbo", TICKER: "ticker"})
)
LITERAL = CoinbaseCodec(origins("coinbase", {BOOK: "book"}), texts=True)
REST = CoinbaseRest()
(PROFILE,) = PROFILES

SENT_NS = 1_675_974_199_000_000_000  # 2023-02-09T20:23:19Z, by the calendar


def frame(channel, *events, number=0):
    return {
        "channel": channel,
        "client_id": "",
        "timestamp": "2023-02-09T20:23:19.000000005Z",
        "sequence_num": number,
        "events": list(events),
    }


def level(side, price, quantity):
    return {
        "side": side,
        "event_time": "1970-01-01T00:00:00Z",
        "price_level": price,
        "new_quantity": quantity,
    }


def trade(number, **other):
    return {
        "trade_id": str(number),
        "product_id": "BTC-USD",
        "price": "1260.01",
        "size": "0.3",
        "side": "BUY",
        "time": "2019-08-14T20:42:27.265Z",
    } | other


SNAPSHOT = frame(
    "l2_data",
    {
        "type": "snapshot",
        "product_id": "BTC-USD",
        "updates": [level("bid", "21921.73", "0.06317902"), level("offer", "21921.74", "0.020")],
    },
)
UPDATE = frame(
    "l2_data",
    {
        "type": "update",
        "product_id": "BTC-USD",
        "updates": [level("bid", "21921.73", "0"), level("offer", "21921.75", "1.5")],
    },
)
TRADED = frame("market_trades", {"type": "update", "trades": [trade(12), trade(11)]})
TICKED = frame(
    "ticker",
    {
        "type": "update",
        "tickers": [
            {
                "type": "ticker",
                "product_id": "BTC-USD",
                "price": "21932.98",
                "volume_24_h": "16038.28770938",
                "low_24_h": "21835.29",
                "best_bid": "21931.98",
                "best_bid_quantity": "8000.21",
                "best_ask": "21933.98",
                "best_ask_quantity": "8038.07770938",
            }
        ],
    },
)
BEAT = frame(
    "heartbeats",
    {"current_time": "2023-06-23 20:31:56.121961769 +0000 UTC", "heartbeat_counter": "3049"},
)
SUBSCRIBED = frame(
    "subscriptions", {"subscriptions": {"level2": ["BTC-USD"], "heartbeats": ["heartbeats"]}}
)
ERROR = {"type": "error", "message": "authentication failure"}
MESSAGES = [SNAPSHOT, UPDATE, TRADED, TICKED, BEAT, SUBSCRIBED, ERROR]
DATA = MESSAGES[:4]


# -- data ---------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book_is_stamped_with_the_time_of_its_frame():
    [event] = read(CODEC, SNAPSHOT)
    assert isinstance(event, BookSnapshot)
    assert event.event_ns == SENT_NS + 5
    assert (event.bids, event.asks) == ([(21921.73, 0.06317902)], [(21921.74, 0.02)])
    assert (event.first, event.last, event.texts) == (None, None, None)
    assert event.origin.topic == BOOK


def test_a_quantity_of_zero_removes():
    [event] = read(CODEC, UPDATE)
    assert isinstance(event, BookDelta)
    assert (event.bids, event.asks) == ([(21921.73, 0.0)], [(21921.75, 1.5)])


def test_books_carry_their_literal_digits_if_asked():
    [event] = read(LITERAL, SNAPSHOT)
    assert event.texts == Texts([("21921.73", "0.06317902")], [("21921.74", "0.020")])
    [event] = read(LITERAL, reordered(UPDATE))
    assert event.texts == Texts([("21921.73", "0")], [("21921.75", "1.5")])


def test_one_frame_may_bring_several_products():
    ether = "level2:ETH-USD"
    codec = CoinbaseCodec(origins("coinbase", {BOOK: "book", ether: "book"}))
    other = {"type": "update", "product_id": "ETH-USD", "updates": [level("bid", "1", "2")]}
    stranger = {"type": "update", "product_id": "XRP-USD", "updates": []}
    message = frame("l2_data", SNAPSHOT["events"][0], other, stranger)
    assert [event.origin.topic for event in read(codec, message)] == [BOOK, ether]


def test_a_trade_is_told_by_its_taker():
    first, _ = read(CODEC, TRADED)
    assert isinstance(first, Trade)
    assert (first.first, first.last, first.id) == (11, 11, "11")
    assert (first.price, first.size, first.side) == (1260.01, 0.3, "sell")
    assert first.event_ns == 1_565_815_347_265_000_000
    message = frame("market_trades", {"type": "update", "trades": [trade(1, side="SELL")]})
    [event] = read(CODEC, message)
    assert event.side == "buy"


def test_a_ticker_frame_is_ticker_and_best_quote():
    ticker, best = sorted(read(CODEC, TICKED), key=lambda event: event.channel, reverse=True)
    assert isinstance(ticker, Ticker)
    assert isinstance(best, Bbo)
    assert (ticker.price, ticker.bid, ticker.ask) == (21932.98, 21931.98, 21933.98)
    assert ticker.volume == 16038.28770938
    assert (best.bid, best.bid_size) == (21931.98, 8000.21)
    assert (best.ask, best.ask_size) == (21933.98, 8038.07770938)
    assert best.event_ns == ticker.event_ns == SENT_NS + 5


def test_a_best_quote_that_nobody_asked_for_is_left_out():
    codec = CoinbaseCodec(origins("coinbase", {TICKER: "ticker"}))
    [event] = read(codec, TICKED)
    assert isinstance(event, Ticker)
    codec = CoinbaseCodec(origins("coinbase", {QUOTE: "bbo"}))
    [event] = read(codec, TICKED)
    assert isinstance(event, Bbo)


@pytest.mark.parametrize("nothing", ["", "0"])
def test_an_empty_side_of_a_quote_has_neither_price_nor_size(nothing):
    told = TICKED["events"][0]["tickers"][0]
    told = told | {"best_ask": nothing, "best_ask_quantity": nothing, "price": ""}
    message = frame("ticker", {"type": "update", "tickers": [told]})
    best, ticker = sorted(read(CODEC, message), key=lambda event: event.channel)
    assert (best.ask, best.ask_size, best.bid) == (None, None, 21931.98)
    assert (ticker.price, ticker.ask) == (None, None)


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


# -- requests -----------------------------------------------------------------------------------


def test_a_request_names_one_channel_and_its_products():
    ether = "level2:ETH-USD"
    first, second = CODEC.subscribe(7, (BOOK, TRADES, ether))
    assert (first.id, first.kind, first.topics) == (7, "subscribe", (BOOK, ether))
    assert json.loads(first.text) == {
        "type": "subscribe",
        "channel": "level2",
        "product_ids": ["BTC-USD", "ETH-USD"],
    }
    assert (second.id, second.topics) == (8, (TRADES,))
    assert json.loads(second.text)["channel"] == "market_trades"


def test_ticker_and_best_quote_are_one_request_for_one_product():
    [request] = CODEC.subscribe(1, (TICKER, QUOTE))
    assert request.topics == (TICKER, QUOTE)
    assert json.loads(request.text)["product_ids"] == ["BTC-USD"]


def test_an_end_has_no_answer_of_its_own():
    [request] = CODEC.unsubscribe(3, (BOOK,))
    assert (request.id, request.kind) == (0, "unsubscribe")
    assert json.loads(request.text)["type"] == "unsubscribe"


def test_what_shares_a_subscription_goes_on_when_the_other_leaves():
    table = origins("coinbase", {TICKER: "ticker", QUOTE: "bbo"})
    one = CoinbaseCodec(table)
    one.subscribe(1, (TICKER, QUOTE))
    del table[QUOTE]
    assert one.unsubscribe(2, (QUOTE,)) == []
    del table[TICKER]
    [request] = one.unsubscribe(3, (TICKER,))
    assert json.loads(request.text)["channel"] == "ticker"


def test_every_request_is_paid_from_the_budget_of_the_address():
    requests = [*CODEC.setup(1), *CODEC.subscribe(2, (BOOK,)), *CODEC.unsubscribe(3, (BOOK,))]
    assert {request.pool for request in requests} == {"messages"}
    pool = PROFILE.budgets().pools["messages"]
    for _ in range(8):
        pool.spend(0)
    assert pool.wait_ns(0) == 10**9


@pytest.mark.parametrize("topics", [(BOOK,), (TRADES, "market_trades:ETH-USD"), (TICKER,)])
def test_what_we_ask_for_is_read_back(topics):
    [request] = CODEC.subscribe(1, topics)
    assert CODEC.asked(request.text) == Asked("subscribe", None, topics)
    [request] = CODEC.unsubscribe(1, topics)
    assert CODEC.asked(request.text) == Asked("unsubscribe", None, topics)


def test_what_asks_for_nothing_is_nothing():
    assert CODEC.asked('{"type":"hello"}') is None
    assert CODEC.asked(CODEC.setup(1)[0].text) == Asked("setup", None, ())
    with pytest.raises(DecodeError):
        CODEC.asked("[1")


# -- the traps ----------------------------------------------------------------------------------


def test_trap_level2_is_subscribed_and_l2_data_is_what_comes():
    assert json.loads(CODEC.subscribe(1, (BOOK,))[0].text)["channel"] == "level2"
    assert read(CODEC, SNAPSHOT)[0].origin.topic == BOOK
    assert isinstance(read(CODEC, frame("level2", SNAPSHOT["events"][0])), Stray)


@pytest.mark.parametrize("word", ["offer", "ask"])
def test_trap_the_other_side_of_bid_is_offer(word):
    part = {"type": "snapshot", "product_id": "BTC-USD", "updates": [level(word, "2", "1")]}
    [event] = read(CODEC, frame("l2_data", part))
    assert (event.bids, event.asks) == ([], [(2.0, 1.0)])


def test_trap_sequence_num_counts_the_connection():
    numbered = [SNAPSHOT, BEAT, SUBSCRIBED, TICKED]
    numbers = [CODEC.number(compact(m | {"sequence_num": n})) for n, m in enumerate(numbered)]
    assert numbers == [0, 1, 2, 3]
    assert PROFILE.connection_counter.value is not None
    assert PROFILE.topic("book", "BTC-USD").numbering is Numbering.NONE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"channel":"x","sequence_num":7,"events":[]}', 7),
        ('{"events":[],"sequence_num":7}', 7),
        ('{"events":[{"sequence_num":1}],"sequence_num":7}', 7),
        ('{"sequence_num":7,"events":[{"sequence_num":1}]}', 7),
        ('{"events":[{"sequence_num":1}]}', None),
        ('{"events":[{"sequence_num":1,"price":"2"}]}', None),
        ('{"sequence_num":1,"events":[],"sequence_num":7}', 7),  # as any reader of JSON has it
        ('{"client_id":"\\"sequence_num\\":3,","sequence_num":7,"events":[]}', 7),
        ('{"client_id":"{","sequence_num":7,"events":[]}', 7),
        ('{ "sequence_num" : 7 , "events" : [] }', 7),
        ('{"sequence_num":7}', 7),
        ('{"sequence_num":-1,"events":[]}', None),
        ('{"sequence_num":"7","events":[]}', None),
        ('{"sequence_num":1.5,"events":[]}', None),
        ('{"sequence_num":' + "9" * 40 + ',"events":[]}', None),
        ('{"sequence_num":' + "9" * 40 + "}", None),
        ('{"type":"error","message":"x"}', None),
        ("", None),
        ("hello", None),
        ("[" * 100_000, None),
        ('{"x":"\ud800"}', None),
    ],
)
def test_trap_the_number_is_the_envelopes_own(text, expected):
    assert CODEC.number(text) == expected


def test_trap_without_heartbeats_quiet_channels_are_closed():
    [request] = CODEC.setup(4)
    assert (request.id, request.kind) == (4, "setup")
    assert json.loads(request.text) == {"type": "subscribe", "channel": "heartbeats"}


@pytest.mark.parametrize("counter", ["3049", 3049])
def test_trap_the_counter_of_a_heartbeat_may_be_a_text(counter):
    message = frame("heartbeats", {"current_time": "now", "heartbeat_counter": counter})
    assert read(CODEC, message) == Heartbeat()


def test_trap_a_product_in_usdc_answers_by_its_name_in_usd():
    topic = "level2:BTC-USDC"
    codec = CoinbaseCodec(origins("coinbase", {topic: "book"}))
    [request] = codec.subscribe(1, (topic,))
    assert json.loads(request.text)["product_ids"] == ["BTC-USDC"]
    assert [event.origin.topic for event in read(codec, SNAPSHOT)] == [topic]
    assert read(codec, SUBSCRIBED) == Granted((topic,))


def test_trap_one_book_may_be_followed_under_both_names():
    both = {BOOK: "book", "level2:BTC-USDC": "book"}
    codec = CoinbaseCodec(origins("coinbase", both))
    assert {event.origin.topic for event in read(codec, SNAPSHOT)} == set(both)


@pytest.mark.parametrize("base", ["USDT", "EURC"])
def test_trap_some_products_in_usdc_have_a_book_of_their_own(base):
    topic = f"level2:{base}-USDC"
    codec = CoinbaseCodec(origins("coinbase", {topic: "book"}))
    part = {"type": "snapshot", "product_id": f"{base}-USD", "updates": []}
    assert isinstance(read(codec, frame("l2_data", part)), Stray)
    part["product_id"] = f"{base}-USDC"
    assert [event.origin.topic for event in read(codec, frame("l2_data", part))] == [topic]


def test_trap_a_topic_that_is_asked_for_later_is_known_by_its_alias():
    table = origins("coinbase", {BOOK: "book"})
    codec = CoinbaseCodec(table)
    late = "market_trades:BTC-USDC"
    table.update(origins("coinbase", {late: "trades"}))
    codec.subscribe(1, (late,))
    assert {event.origin.topic for event in read(codec, TRADED)} == {late}


def test_trap_errors_carry_no_id():
    assert read(CODEC, ERROR) == Refusal(None, 0, "authentication failure", ordered=True)
    assert read(CODEC, {"type": "error", "message": "a\nb"}).detail == "a\\nb"


def test_trap_an_answer_lists_all_that_is_subscribed():
    codec = CoinbaseCodec(origins("coinbase", {BOOK: "book", TICKER: "ticker", QUOTE: "bbo"}))
    assert read(codec, SUBSCRIBED) == Granted((BOOK,))
    [beats] = codec.setup(3)
    codec.subscribe(4, (QUOTE, TICKER, BOOK))
    told = {"level2": ["BTC-USD", "X-USD"], "ticker": ["BTC-USD"], "candles": ["BTC-USD"]}
    granted = read(codec, frame("subscriptions", {"subscriptions": told}))
    assert isinstance(granted, Granted)
    assert set(granted.topics) == {BOOK, TICKER, QUOTE}
    told = told | {"heartbeats": ["heartbeats"]}
    reading = read(codec, frame("subscriptions", {"subscriptions": told}))
    assert reading == Bundle((Ack(beats.id), granted))


def test_trap_trades_come_newest_first_in_the_greeting_and_in_every_frame():
    greeting = frame("market_trades", {"type": "snapshot", "trades": [trade(9), trade(8)]})
    assert [(t.last, t.backfilled) for t in read(CODEC, greeting)] == [(8, True), (9, True)]
    assert [(t.last, t.backfilled) for t in read(CODEC, TRADED)] == [(11, False), (12, False)]


def test_the_channels_declare_what_their_numbers_prove():
    book, trades = PROFILE.topic("book", "BTC-USD"), PROFILE.topic("trades", "BTC-USD")
    assert (book.topic, book.snapshot) == (BOOK, SnapshotFrom.STREAM)
    assert (trades.topic, trades.numbering) == (TRADES, Numbering.DENSE)
    assert PROFILE.topic("bbo", "BTC-USD").topic == QUOTE
    recognise = PROFILE.recogniser()
    assert recognise(BOOK) == book
    assert recognise("candles:BTC-USD") is None


# -- REST ---------------------------------------------------------------------------------------


def test_products_are_listed_with_what_they_are():
    [request] = REST.instruments()
    assert request.path == "/api/v3/brokerage/market/products"
    details = {"contract_expiry": "2026-12-25T16:00:00Z", "contract_expiry_type": "EXPIRING"}
    spot = {
        "product_id": "BTC-USD",
        "product_type": "SPOT",
        "base_currency_id": "BTC",
        "quote_currency_id": "USD",
        "status": "online",
        "volume_24h": "2867.5",
    }
    future = {"product_id": "BIT-25DEC26-CDE", "product_type": "FUTURE"}
    perpetual = future | {"product_id": "BIP-20DEC30-CDE"}
    lasting = {"contract_expiry": "2030-12-20T16:00:00Z", "contract_expiry_type": "PERPETUAL"}
    body = compact(
        {
            "products": [
                spot,
                spot | {"status": "delisted", "trading_disabled": True},
                spot | {"trading_disabled": True},
                future | {"future_product_details": details},
                perpetual | {"future_product_details": lasting},
            ]
        }
    )
    first, gone, halted, dated, lasts = REST.read_instruments(body.encode())
    assert (first.symbol, first.kind, first.base, first.quote) == ("BTC-USD", "spot", "BTC", "USD")
    assert (first.state, first.volume) == ("open", 2867.5)
    assert (gone.state, halted.state) == ("gone", "halted")
    assert (dated.kind, dated.expiry_ns) == ("future", 1_798_214_400 * 10**9)
    assert (lasts.kind, lasts.expiry_ns) == ("perp", None)


def test_rest_offers_nothing_else():
    assert REST.snapshot("BTC-USD") is None
    assert REST.trades(TRADES, "BTC-USD", 1, 2) is None
    assert REST.read_error(b'{"error":"NOT_FOUND","message":"no"}') == (0, "NOT_FOUND: no")
    assert REST.read_error(b"<html>") is None
    with pytest.raises(DecodeError):
        REST.read_instruments(b"[]")


# -- hostile input ------------------------------------------------------------------------------


def part_of(**other):
    return frame("l2_data", SNAPSHOT["events"][0] | other)


@pytest.mark.parametrize(
    "data",
    [
        part_of(updates=[level("bid", "1", "-1")]),
        part_of(updates=[level("bid", "nan", "1")]),
        part_of(updates=[level("bid", "1e400", "1")]),
        part_of(updates=[level("bid", "inf", "1")]),
        part_of(updates=[level("bid", "one", "1")]),
        part_of(updates=[level("up", "1", "1")]),
        part_of(updates=[{"side": "bid"}]),
        part_of(type="other"),
        part_of(updates=None),
        SNAPSHOT | {"timestamp": "yesterday"},
        SNAPSHOT | {"timestamp": None},
        frame("market_trades", {"type": "update", "trades": [trade("-1")]}),
        frame("market_trades", {"type": "update", "trades": [trade("9" * 40)]}),
        frame("market_trades", {"type": "update", "trades": [trade(1, time="2019")]}),
        frame("market_trades", {"type": "update", "trades": [trade(1, side="buy")]}),
        frame("market_trades", {"type": "update", "trades": [trade(1, size="-0.3")]}),
        frame("ticker", {"tickers": [{"product_id": "BTC-USD", "price": "nan"}]}),
        frame("ticker", {"tickers": [{"product_id": "BTC-USD", "price": "1_0"}]}),
        frame("subscriptions", {"subscriptions": ["level2"]}),
        {"channel": 5},
        [],
        "",
        "hello",
        '{"channel":"\ud800"}',
        "[" * 100_000,
        '{"x":' * 100_000,
        '{"channel":"l2_data","x":' + "[" * 100_000,
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        read(CODEC, data)


def test_what_nobody_asked_for_is_a_stray():
    stranger = frame("l2_data", SNAPSHOT["events"][0] | {"product_id": "ETH-USD"})
    others = frame("market_trades", {"type": "update", "trades": [trade(1, product_id="X")]})
    quiet = frame("ticker", {"tickers": [{"product_id": "ETH-USD"}]})
    for message in (stranger, others, quiet, frame("user", {}), {}):
        assert isinstance(read(CODEC, message), Stray)
        assert isinstance(read(CODEC, reordered(message)), Stray)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk):
    for path in places(message):
        text = planted(message, path, junk)
        survives(CODEC, text)
        survives(LITERAL, text)
        number = CODEC.number(text)
        assert number is None or 0 <= number < 2**62


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives(CODEC, text)
    number = CODEC.number(text)
    assert number is None or 0 <= number < 2**62


def test_times_of_arrival_are_kept():
    [event] = read(CODEC, SNAPSHOT)
    assert (event.recv_ns, event.mono_ns) == (RECV, MONO)
