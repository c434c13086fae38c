"""Deribit's dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.codec import Ack, Asked, Heartbeat, Lifecycle, Refusal, Status, Stray
from gapless.core.secrets import Secrets
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError, UsageError
from gapless.events import Bbo, BookDelta, BookSnapshot, Texts, Ticker, Trade
from gapless.venues.deribit import PROFILES, DeribitCodec, log_in

BOOK, TRADES = "book.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"
QUOTE, TICKER = "quote.BTC-PERPETUAL", "ticker.BTC-PERPETUAL.100ms"
GROUPED = "book.ETH-PERPETUAL.none.10.100ms"
TABLE = {BOOK: "book", TRADES: "trades", QUOTE: "bbo", TICKER: "ticker", GROUPED: "book"}
CODEC = DeribitCodec(origins("deribit", TABLE))
LITERAL = DeribitCodec(origins("deribit", TABLE), texts=True)

(PROFILE,) = PROFILES


def push(channel, data):
    params = {"channel": channel, "data": data}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


SNAPSHOT = {
    "type": "snapshot",
    "timestamp": 1554373962454,
    "instrument_name": "BTC-PERPETUAL",
    "change_id": 297217,
    "bids": [["new", 5042.34, 30]],
    "asks": [["new", 5042.64, 40]],
}
CHANGE = {
    "type": "change",
    "timestamp": 1554373911330,
    "prev_change_id": 297217,
    "instrument_name": "BTC-PERPETUAL",
    "change_id": 297218,
    "bids": [["delete", 5041.94, 0]],
    "asks": [["change", 5042.64, 25]],
}
TRADE = {
    "trade_id": "48079254",
    "trade_seq": 30289432,
    "timestamp": 1590484156350,
    "price": 8950.0,
    "amount": 10.0,
    "direction": "sell",
    "tick_direction": 1,
    "mark_price": 8948.9,
    "index_price": 8955.88,
    "instrument_name": "BTC-PERPETUAL",
}
QUOTED = {
    "timestamp": 1550658624149,
    "instrument_name": "BTC-PERPETUAL",
    "best_bid_price": 3914.97,
    "best_bid_amount": 40,
    "best_ask_price": 3996.61,
    "best_ask_amount": 50,
}
TICKED = {
    "timestamp": 1623060194301,
    "stats": {"volume": 284061480, "price_change": None, "low": 36009.01, "high": 36824.01},
    "state": "open",
    "open_interest": 502097590,
    "mark_price": 36446.51,
    "last_price": 36457.5,
    "instrument_name": "BTC-PERPETUAL",
    "index_price": 36441.64,
    "current_funding": 0.0005,
    "best_bid_price": 36442.5,
    "best_bid_amount": 5000,
    "best_ask_price": 36443,
    "best_ask_amount": 100,
}
IMAGE = {
    "timestamp": 1554375447971,
    "instrument_name": "ETH-PERPETUAL",
    "change_id": 109615,
    "bids": [[160, 40.0]],
    "asks": [[161, 20.50]],
}
STATED = {"timestamp": 1553080940000, "state": "created", "instrument_name": "BTC-22MAR19"}
OPTION = {
    "timestamp": 1623060194301,
    "mark_price": 0.0841,
    "underlying_price": 2115.89,
    "mark_iv": 60.0,
    "bid_iv": 51.06,
    "ask_iv": 0.0,
    "greeks": {"vega": 0.46511, "theta": -5.09811, "rho": 0.16173, "gamma": 0.00134, "delta": -0.8},
}
GRANTED = {"jsonrpc": "2.0", "id": 7, "result": [BOOK, TRADES], "usOut": 1535043730126250}
REFUSED = {
    "jsonrpc": "2.0",
    "id": 7,
    "error": {
        "code": -32602,
        "message": "Invalid params",
        "data": {"reason": "wrong format", "param": "channels"},
    },
    "usIn": 1535043730126248,
}
BEAT = {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}}
TEST = {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}}
MESSAGES = [
    push(BOOK, SNAPSHOT),
    push(BOOK, CHANGE),
    push(TRADES, [TRADE]),
    push(QUOTE, QUOTED),
    push(TICKER, TICKED),
    GRANTED,
    REFUSED,
    BEAT,
    TEST,
    push(GROUPED, IMAGE),
    push(TICKER, OPTION),
    push("instrument.state.any.any", STATED),
]
DATA = MESSAGES[:5]


# -- data ---------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(CODEC, push(BOOK, SNAPSHOT))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (297217, 297217)
    assert event.event_ns == 1554373962454 * 10**6
    assert (event.recv_ns, event.mono_ns) == (RECV, MONO)
    assert (event.bids, event.asks) == ([(5042.34, 30.0)], [(5042.64, 40.0)])
    assert event.origin.topic == BOOK


def test_the_change_of_a_book_covers_everything_since_the_one_before():
    [event] = read(CODEC, push(BOOK, CHANGE))
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (297218, 297218)
    assert (event.bids, event.asks) == ([(5041.94, 0.0)], [(5042.64, 25.0)])
    [event] = read(CODEC, push(BOOK, CHANGE | {"change_id": 297300}))
    assert (event.first, event.last) == (297218, 297300)


def test_a_deletion_removes_whatever_amount_it_names():
    [event] = read(CODEC, push(BOOK, CHANGE | {"bids": [["delete", 5041.94, 7]]}))
    assert event.bids == [(5041.94, 0.0)]
    [event] = read(CODEC, push(BOOK, CHANGE | {"asks": [["delete", 5041.94, 7]]}))
    assert event.asks == [(5041.94, 0.0)]


def test_trades_come_as_a_list_each_with_its_own_number():
    second = TRADE | {"trade_seq": 30289433, "trade_id": "48079255", "direction": "buy"}
    first, last = read(CODEC, push(TRADES, [TRADE, second]))
    assert isinstance(first, Trade)
    assert (first.first, first.last, first.id) == (30289432, 30289432, "48079254")
    assert (first.price, first.size, first.side) == (8950.0, 10.0, "sell")
    assert first.event_ns == 1590484156350 * 10**6
    assert (last.first, last.side) == (30289433, "buy")
    assert read(CODEC, push(TRADES, [])) == []


def test_a_quote():
    [event] = read(CODEC, push(QUOTE, QUOTED))
    assert isinstance(event, Bbo)
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (3914.97, 40, 3996.61, 50)
    assert (event.first, event.last) == (None, None)


@pytest.mark.parametrize("empty", [{"best_bid_price": 0, "best_bid_amount": 0}, None])
def test_an_empty_side_of_a_quote_has_neither_price_nor_size(empty):
    data = QUOTED | (empty or {"best_bid_price": None, "best_bid_amount": None})
    [event] = read(CODEC, push(QUOTE, data))
    assert (event.bid, event.bid_size, event.ask) == (None, None, 3996.61)
    data = QUOTED | {"best_ask_price": 0, "best_ask_amount": 0}
    [event] = read(CODEC, push(QUOTE, data))
    assert (event.ask, event.ask_size) == (None, None)


def test_a_ticker():
    [event] = read(CODEC, push(TICKER, TICKED))
    assert isinstance(event, Ticker)
    assert (event.price, event.mark, event.index) == (36457.5, 36446.51, 36441.64)
    assert (event.bid, event.ask, event.volume) == (36442.5, 36443.0, 284061480)
    assert (event.open_interest, event.funding) == (502097590, 0.0005)


def test_a_ticker_of_an_option_lacks_what_options_have_not():
    [event] = read(CODEC, push(TICKER, {"timestamp": 1, "mark_price": 0.05, "best_bid_price": 0}))
    assert (event.mark, event.bid, event.volume, event.funding) == (0.05, None, None, None)


def test_a_ticker_of_an_option_has_volatilities_as_fractions_and_its_greeks():
    [event] = read(CODEC, push(TICKER, OPTION))
    assert (event.mark_iv, event.underlying) == (0.6, 2115.89)
    assert event.bid_iv == pytest.approx(0.5106)
    assert (event.delta, event.gamma, event.vega) == (-0.8, 0.00134, 0.46511)
    assert (event.theta, event.rho) == (-5.09811, 0.16173)


def test_trap_a_volatility_of_0_is_none():
    [event] = read(CODEC, push(TICKER, OPTION))
    assert event.ask_iv is None


def test_a_grouped_book_is_whole_and_has_a_number_without_a_chain():
    [event] = read(CODEC, push(GROUPED, IMAGE))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (109615, 109615)
    assert (event.bids, event.asks) == ([(160.0, 40.0)], [(161.0, 20.5)])
    assert event.event_ns == 1554375447971 * 10**6
    spec = PROFILE.topic("book.none.10.100ms", "ETH-PERPETUAL")
    assert (spec.topic, spec.channel, spec.depth) == (GROUPED, "book", 10)
    assert (spec.numbering, spec.snapshot) == (Numbering.ORDERED, SnapshotFrom.EVERY)
    assert PROFILE.recogniser()(GROUPED) == spec


@pytest.mark.parametrize("order", [lambda message: message, reordered])
def test_books_carry_their_literal_digits_if_asked(order):
    text = json.dumps(order(push(BOOK, SNAPSHOT)), separators=(",", ":"))
    [event] = read(LITERAL, text.replace("5042.34", "5042.340").replace("40]", "4.00e1]"))
    assert event.texts == Texts([("5042.340", "30")], [("5042.64", "4.00e1")])
    assert event.asks == [(5042.64, 40.0)]
    text = json.dumps(order(push(GROUPED, IMAGE)), separators=(",", ":"))
    [event] = read(LITERAL, text.replace("20.5", "20.50"))
    assert event.texts == Texts([("160", "40.0")], [("161", "20.50")])


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


# -- readings -------------------------------------------------------------------------------------


def test_an_ack_lists_what_was_granted_and_when():
    assert read(CODEC, GRANTED) == Ack(7, (BOOK, TRADES), 1535043730126250000)
    assert read(CODEC, reordered(GRANTED)) == read(CODEC, GRANTED)


def test_an_ack_of_another_request_lists_nothing():
    assert read(CODEC, {"jsonrpc": "2.0", "id": 1, "result": "ok"}) == Ack(1)
    assert read(CODEC, {"id": 0, "result": {"version": "1.2.26"}}) == Ack(0)


def test_a_refusal_says_why():
    reading = read(CODEC, REFUSED)
    assert isinstance(reading, Refusal)
    assert (reading.request_id, reading.code, reading.limited) == (7, -32602, False)
    assert reading.detail.startswith("Invalid params")
    assert "wrong format" in reading.detail
    assert read(CODEC, {"error": {"code": 11051}}) == Refusal(None, 11051, "")


def test_heartbeats():
    assert read(CODEC, BEAT) == Heartbeat()
    assert read(CODEC, {"method": "heartbeat"}) == Heartbeat()
    reading = read(CODEC, TEST)
    assert isinstance(reading, Heartbeat)
    assert reading.reply is not None
    call = json.loads(reading.reply.text)
    assert (call["jsonrpc"], call["method"], call["params"]) == ("2.0", "public/test", {})
    assert "id" in call  # a request without an id is refused
    assert (reading.reply.kind, reading.reply.pool, reading.reply.units) == ("reply", "other", 500)


def test_the_state_of_the_platform_is_a_status():
    reading = read(CODEC, push("platform_state", {"maintenance": True}))
    assert reading == Status('{"maintenance":true}', closed=True)
    reading = read(CODEC, push("platform_state", {"maintenance": False}))
    assert reading == Status('{"maintenance":false}', closed=False)
    reading = read(CODEC, push("platform_state", {"price_index": "btc_usd", "locked": True}))
    assert reading == Status('{"price_index":"btc_usd","locked":true}')


@pytest.mark.parametrize(
    ("word", "state"),
    [("created", "listed"), ("open", "open"), ("settlement", "settling"), ("delivered", "gone")],
)
def test_the_state_of_an_instrument_is_its_lifecycle(word, state):
    message = push("instrument.state.any.any", STATED | {"state": word})
    assert read(CODEC, message) == Lifecycle("BTC-22MAR19", state, 1553080940000 * 10**6)
    assert read(CODEC, reordered(message)) == read(CODEC, message)


def test_the_states_of_all_instruments_are_one_topic():
    assert PROFILE.lifecycle_topics.value == ("instrument.state.any.any",)


def test_a_state_that_is_not_known_is_told_as_it_is():
    message = push("instrument.state.any.any", STATED | {"state": "re\nborn"})
    assert read(CODEC, message) == Status("BTC-22MAR19: re\\nborn")


@pytest.mark.parametrize(
    "message",
    [
        push("chart.trades.BTC-PERPETUAL.1", {"tick": 1}),
        push("trades.ETH-PERPETUAL.100ms", [TRADE]),
        {"jsonrpc": "2.0", "method": "surprise", "params": {}},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "id": 5},
    ],
)
def test_what_nobody_asked_for_is_a_stray(message):
    assert isinstance(read(CODEC, message), Stray)
    assert isinstance(read(CODEC, reordered(message)), Stray)


# -- requests -------------------------------------------------------------------------------------


def test_requests_are_paid_from_the_pools_that_the_venue_states():
    [setup] = CODEC.setup(1)
    news = CODEC.once_live(2)
    assert (news.id, news.kind, news.pool, news.units) == (2, "setup", "subscribe", 3000)
    channels = ["platform_state", "instrument.state.any.any"]
    assert json.loads(news.text)["params"] == {"channels": channels}
    assert (setup.id, setup.kind, setup.pool, setup.units) == (1, "setup", "other", 500)
    assert json.loads(setup.text)["method"] == "public/set_heartbeat"
    assert json.loads(setup.text)["params"]["interval"] >= 10
    subscribe = CODEC.subscribe(2, (BOOK, TRADES))[0]
    assert json.loads(subscribe.text) == {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "public/subscribe",
        "params": {"channels": [BOOK, TRADES]},
    }
    assert (subscribe.topics, subscribe.pool, subscribe.units) == (
        (BOOK, TRADES),
        "subscribe",
        3000,
    )
    unsubscribe = CODEC.unsubscribe(3, (BOOK,))[0]
    assert json.loads(unsubscribe.text)["method"] == "public/unsubscribe"
    assert (unsubscribe.kind, unsubscribe.pool, unsubscribe.units) == ("unsubscribe", "other", 500)


def test_a_login_signs_time_and_nonce_and_shows_no_secret():
    secrets = Secrets("AMANDA", "AMANDASECRECT_AMANDASECRECT_1234")
    request = log_in(9, secrets, 1_576_074_319_000_999_999, "1iqt2wls")
    assert (request.id, request.kind) == (9, "login")
    assert (request.pool, request.units) == ("other", 500)
    assert json.loads(request.text) == {
        "jsonrpc": "2.0",
        "id": 9,
        "method": "public/auth",
        "params": {
            "grant_type": "client_signature",
            "client_id": "AMANDA",
            "timestamp": 1_576_074_319_000,
            "nonce": "1iqt2wls",
            "data": "",
            # printf '1576074319000\\n1iqt2wls\\n' | openssl dgst -sha256 -hmac SECRET
            "signature": "f8141c5d2af899b973bef7b136b824c7075c1095c572c966d7ce56bb45731321",
        },
    }
    assert request.shown is not None
    assert "AMANDA" not in request.shown
    assert "f8141c5d" not in request.shown
    assert CODEC.asked(request.shown) == CODEC.asked(request.text) == Asked("login", 9, ())
    assert PROFILE.login_request is log_in
    assert PROFILE.login_final is not None
    assert 13004 in PROFILE.login_final.value  # invalid_credentials


# -- the traps -----------------------------------------------------------------------


def test_trap_1_a_subscribe_may_be_granted_in_part_without_an_error():
    assert read(CODEC, {"jsonrpc": "2.0", "id": 7, "result": [BOOK]}) == Ack(7, (BOOK,))
    assert read(CODEC, {"jsonrpc": "2.0", "id": 7, "result": []}) == Ack(7, ())


@pytest.mark.parametrize("code", [10028, 10066, 11056])
def test_trap_2_too_many_requests_ends_the_session(code):
    message = {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "too_many_requests"}}
    reading = read(CODEC, message)
    assert isinstance(reading, Refusal)
    assert reading.limited


def test_trap_2_subscribes_are_paced_and_bounded():
    subscribe = CODEC.subscribe(1, (BOOK,))[0]
    pool = PROFILE.budgets().pools["subscribe"]
    sent = 0
    for now_ns in range(0, 10 * 10**9, 10**7):
        while not pool.wait_ns(now_ns, subscribe.units):
            pool.spend(now_ns, subscribe.units)
            sent += 1
    assert sent <= 10 + 10 * 10_000 / 3_000  # burst of 10, then 3.3 a second
    assert PROFILE.topics_per_request.value == 500


def test_trap_3_raw_channels_need_a_login_and_are_not_the_default():
    assert PROFILE.topic("book", "BTC-PERPETUAL").topic == BOOK
    assert PROFILE.topic("book.raw", "BTC-PERPETUAL").topic == "book.BTC-PERPETUAL.raw"
    for name in ("book", "trades", "ticker"):
        channel = next(channel for channel in PROFILE.channels if channel.name == name)
        assert channel.private == {"raw"}
        assert next(iter(channel.topics)) != "raw"
    message = {"id": 1, "error": {"code": 13778, "message": "raw_subscriptions_not_available"}}
    reading = read(CODEC, message)
    assert isinstance(reading, Refusal)
    assert not reading.limited


def test_trap_9_prices_are_floats_and_not_strings():
    with pytest.raises(DecodeError):
        read(CODEC, push(BOOK, SNAPSHOT | {"bids": [["new", "5042.34", "30"]]}))


def test_trap_11_settlement_is_a_refusal_and_not_the_end():
    message = {"id": 1, "error": {"code": 10041, "message": "settlement_in_progress"}}
    assert read(CODEC, message) == Refusal(1, 10041, "settlement_in_progress")


@pytest.mark.parametrize("order", [lambda message: message, reordered])
def test_trap_12_a_grouped_book_that_nobody_asked_for_is_a_stray(order):
    data = {"timestamp": 1, "change_id": 5, "bids": [[161.0, 20.0]], "asks": []}
    message = order(push("book.BTC-PERPETUAL.none.10.100ms", data))
    assert isinstance(read(CODEC, message), Stray)


@pytest.mark.parametrize("symbol", ["BTC-PERPETUAL.none.10", "future.BTC", ".", "a.b"])
def test_trap_12_a_symbol_cannot_smuggle_in_another_channel(symbol):
    for channel in ("book", "trades"):
        with pytest.raises(UsageError):
            PROFILE.topic(channel, symbol)


def test_the_channels_declare_what_their_numbers_prove():
    book, trades = PROFILE.topic("book", "X"), PROFILE.topic("trades", "X")
    assert (book.numbering, book.snapshot) == (Numbering.CHAIN, SnapshotFrom.STREAM)
    assert (trades.numbering, trades.snapshot) == (Numbering.DENSE, None)
    assert PROFILE.topic("bbo", "X").topic == "quote.X"
    assert PROFILE.topic("ticker", "X").numbering is Numbering.NONE


# -- hostile input ------------------------------------------------------------------------------


@pytest.mark.parametrize("prev", [297218, 297219, 2**61])
def test_a_change_that_follows_itself_or_its_future_is_refused(prev):
    with pytest.raises(DecodeError, match="claims to follow"):
        read(CODEC, push(BOOK, CHANGE | {"prev_change_id": prev}))
    with pytest.raises(DecodeError, match="claims to follow"):
        read(CODEC, reordered(push(BOOK, CHANGE | {"prev_change_id": prev})))


@pytest.mark.parametrize(
    "data",
    [
        push(BOOK, SNAPSHOT | {"bids": [["new", 1.0, -1.0]]}),
        push(TRADES, [TRADE | {"amount": -1.0}]),
        push(QUOTE, QUOTED | {"best_bid_amount": -40}),
        push(QUOTE, QUOTED | {"best_ask_amount": -40}),
        push(BOOK, SNAPSHOT | {"change_id": -1}),
        push(BOOK, SNAPSHOT | {"change_id": 10**40}),
        push(BOOK, SNAPSHOT | {"timestamp": 10**40}),
        push(BOOK, SNAPSHOT | {"bids": [["vanish", 1.0, 1.0]]}),
        push(BOOK, SNAPSHOT | {"bids": [["new", 1.0]]}),
        push(BOOK, SNAPSHOT | {"bids": None}),
        push(BOOK, None),
        push(GROUPED, IMAGE | {"change_id": -1}),
        push(GROUPED, IMAGE | {"bids": [["new", 1.0, 1.0]]}),
        push(GROUPED, IMAGE | {"bids": [[1.0, -1.0]]}),
        push("instrument.state.any.any", {"state": "open"}),
        push(TRADES, TRADE),
        push(TRADES, [TRADE | {"direction": "up"}]),
        push(TRADES, [TRADE | {"trade_seq": 1.5}]),
        push(TRADES, [TRADE | {"trade_id": 48079254}]),
        {"method": "subscription", "params": {"channel": BOOK}},
        {"id": "7", "result": []},
        {"id": 7, "result": [1]},
        {"id": 7, "error": {"message": "no code"}},
        [],
        "",
        "hello",
        '{"method":"\ud800"}',
        '{"method":"' + "\x00" + '"}',
        "[" * 100_000,
        '{"x":' * 100_000,
        '{"id":1,"result":' + "[" * 100_000,
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
        survives_in(LITERAL, planted(message, path, junk))


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives_in(CODEC, text)
