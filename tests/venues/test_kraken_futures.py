"""Kraken Futures' dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.booksync import BookStream
from gapless.core.codec import Asked, Denied, Granted, Heartbeat, Refusal, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError
from gapless.events import BookDelta, BookSnapshot, Texts, Ticker, Trade
from gapless.venues.kraken_futures import BEAT_NS, PROFILES, KrakenFuturesCodec

BOOK, TRADES = "book:PI_XBTUSD", "trade:PI_XBTUSD"
TICKER, LITE = "ticker:PI_XBTUSD", "ticker_lite:PI_XBTUSD"
ORIGINS = origins(
    "kraken.futures", {BOOK: "book", TRADES: "trades", TICKER: "ticker", LITE: "ticker"}
)
CODEC = KrakenFuturesCodec(ORIGINS)

(PROFILE,) = PROFILES

SNAPSHOT = {
    "feed": "book_snapshot",
    "product_id": "PI_XBTUSD",
    "timestamp": 1612269825817,
    "seq": 326072249,
    "tickSize": None,
    "bids": [{"price": 34892.5, "qty": 6385}, {"price": 34892, "qty": 10924}],
    "asks": [{"price": 34911.5, "qty": 20598}, {"price": 34912, "qty": 2300}],
}
CHANGE = {
    "feed": "book",
    "product_id": "PI_XBTUSD",
    "side": "sell",
    "seq": 326072250,
    "price": 34911.5,
    "qty": 0,
    "timestamp": 1612269953629,
}
TRADE = {
    "feed": "trade",
    "product_id": "PI_XBTUSD",
    "uid": "05af78ac-a774-478c-a50c-8b9c234e071e",
    "side": "sell",
    "type": "fill",
    "seq": 653355,
    "time": 1612266317519,
    "qty": 15000,
    "price": 34969.5,
}
PAST = {
    "feed": "trade_snapshot",
    "product_id": "PI_XBTUSD",
    "trades": [TRADE | {"seq": 655508, "uid": "b"}, TRADE | {"seq": 655507, "uid": "a"}],
}
TICKED = {
    "time": 1676393235406,
    "product_id": "PI_XBTUSD",
    "funding_rate": -6.2604214e-11,
    "relative_funding_rate": -1.380384722222e-06,
    "next_funding_rate_time": 1676394000000,
    "feed": "ticker",
    "bid": 21978.5,
    "ask": 21987.0,
    "bid_size": 2536.0,
    "ask_size": 13948.0,
    "volume": 31403908.0,
    "index": 21984.54,
    "last": 21983.5,
    "openInterest": 30072580.0,
    "markPrice": 21979.68641534714,
}
BRIEF = {
    "feed": "ticker_lite",
    "product_id": "PI_XBTUSD",
    "bid": 1060.4,
    "ask": 1062.6,
    "volume": 15907386.0,
}
GRANTED = {"event": "subscribed", "feed": "book", "product_ids": ["PI_XBTUSD"]}
ALERT = {"event": "alert", "message": "Couldn't subscribe to invalid product `PI_XBTUSD`"}
MESSAGES = [
    SNAPSHOT,
    CHANGE,
    TRADE,
    PAST,
    TICKED,
    BRIEF,
    GRANTED,
    ALERT,
    {"event": "subscribed_failed", "feed": "book", "product_ids": ["PI_XBTUSD"]},
    {"event": "error", "message": "Invalid product id"},
    {"event": "info", "version": 1},
]
DATA = MESSAGES[:6]


# -- data ---------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(CODEC, SNAPSHOT)
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (326072249, 326072249)
    assert event.bids == [(34892.5, 6385.0), (34892.0, 10924.0)]
    assert event.asks == [(34911.5, 20598.0), (34912.0, 2300.0)]
    assert event.event_ns == 1612269825817 * 10**6
    assert (event.recv_ns, event.mono_ns, event.origin.topic) == (RECV, MONO, BOOK)
    assert event.texts is None


def test_the_change_of_a_book_is_one_level_and_the_next_number():
    [event] = read(CODEC, CHANGE)
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (326072250, 326072250)
    assert (event.bids, event.asks) == ([], [(34911.5, 0.0)])
    [event] = read(CODEC, CHANGE | {"side": "buy", "qty": 7})
    assert (event.bids, event.asks) == ([(34911.5, 7.0)], [])


def test_books_carry_their_digits_where_they_are_wanted():
    codec = KrakenFuturesCodec(ORIGINS, texts=True)
    [event] = read(codec, json.dumps(SNAPSHOT).replace("34892.5", "34892.50"))
    assert event.texts is not None
    assert event.texts.bids == [("34892.50", "6385"), ("34892", "10924")]
    [event] = read(codec, json.dumps(CHANGE | {"side": "buy"}))
    assert event.texts == Texts([("34911.5", "0")], [])
    [event] = read(codec, CHANGE)
    assert event.texts == Texts([], [("34911.5", "0")])


def test_trades_greet_with_the_latest_oldest_first_and_are_numbered():
    past = read(CODEC, PAST)
    assert [(t.first, t.id, t.backfilled) for t in past] == [
        (655507, "a", True),
        (655508, "b", True),
    ]
    [live] = read(CODEC, TRADE)
    assert isinstance(live, Trade)
    assert (live.first, live.last, live.id) == (653355, 653355, TRADE["uid"])
    assert (live.price, live.size, live.side) == (34969.5, 15000.0, "sell")
    assert (live.event_ns, live.backfilled) == (1612266317519 * 10**6, False)


def test_a_ticker():
    [event] = read(CODEC, TICKED)
    assert isinstance(event, Ticker)
    assert (event.price, event.mark, event.index) == (21983.5, 21979.68641534714, 21984.54)
    assert (event.bid, event.ask, event.volume) == (21978.5, 21987.0, 31403908.0)
    assert event.open_interest == 30072580.0
    assert event.funding == -1.380384722222e-06  # the relative one: a fraction
    assert event.next_funding_ns == 1676394000000 * 10**6
    assert event.event_ns == 1676393235406 * 10**6


def test_a_brief_ticker_has_no_time():
    [event] = read(CODEC, BRIEF)
    assert isinstance(event, Ticker)
    assert (event.bid, event.ask, event.event_ns, event.funding) == (1060.4, 1062.6, None, None)
    assert PROFILE.topic("ticker.lite", "pi_xbtusd").topic == LITE


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


# -- readings and requests ------------------------------------------------------------------------


def test_each_product_is_granted_on_its_own():
    assert read(CODEC, GRANTED) == Granted((BOOK,))
    for event in ("info", "unsubscribed", "pong"):
        assert read(CODEC, {"event": event}) == Heartbeat()
    assert read(CODEC, {"feed": "heartbeat", "time": 1}) == Heartbeat()


@pytest.mark.parametrize(
    "message",
    [
        CHANGE | {"product_id": "PI_ETHUSD"},
        {"feed": "open_orders", "product_id": "PI_XBTUSD"},
        {"event": "surprise"},
        {},
    ],
)
def test_what_nobody_asked_for_is_a_stray(message):
    assert isinstance(read(CODEC, message), Stray)


def test_a_frame_asks_for_one_feed_of_many_products():
    topics = (BOOK, TRADES, "book:FI_ETHUSD_210625")
    requests = CODEC.subscribe(7, topics)
    assert [(r.id, r.kind, r.topics) for r in requests] == [
        (7, "subscribe", (BOOK, "book:FI_ETHUSD_210625")),
        (8, "subscribe", (TRADES,)),
    ]
    assert json.loads(requests[0].text) == {
        "event": "subscribe",
        "feed": "book",
        "product_ids": ["PI_XBTUSD", "FI_ETHUSD_210625"],
    }


def test_leaving_is_not_awaited_because_the_answer_names_no_request():
    [leave] = CODEC.unsubscribe(7, (BOOK,))
    assert (leave.id, leave.kind) == (0, "unsubscribe")
    assert json.loads(leave.text)["event"] == "unsubscribe"
    assert CODEC.asked(leave.text) == Asked("unsubscribe", None, (BOOK,))


def test_every_request_is_read_back():
    assert CODEC.setup(1) == []
    [request] = CODEC.subscribe(1, (BOOK,))
    assert CODEC.asked(request.text) == Asked("subscribe", None, (BOOK,))
    assert CODEC.asked('{"event":"challenge","api_key":"x"}') == Asked("login", None, ())
    assert CODEC.asked('{"event":"ping"}') is None
    for text in ("[]", "", '{"event":1}', "[" * 5000, '"\ud800"'):
        with pytest.raises(DecodeError):
            CODEC.asked(text)


def test_the_venue_hears_from_us_at_least_once_in_60_seconds():
    assert PROFILE.client_beat_ns.value == BEAT_NS <= 50 * 10**9
    assert CODEC.beat(1) is None  # a WebSocket ping
    assert CODEC.once_live(1) is None
    assert CODEC.number('{"feed":"heartbeat"}') is None


# -- the traps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, -1])
def test_trap_a_snapshot_may_hold_levels_of_size_0_and_worse(size):
    message = SNAPSHOT | {"bids": [*SNAPSHOT["bids"], {"price": 34891.5, "qty": size}]}
    [event] = read(CODEC, message)
    assert event.bids[-1] == (34891.5, 0.0)
    stream = BookStream(PROFILE.topic("book", "PI_XBTUSD"), lambda _: None, lambda _: None)
    stream.offer(event)
    assert stream.proven().bids() == [(34892.5, 6385.0), (34892.0, 10924.0)]
    [event] = read(CODEC, CHANGE | {"qty": size})
    assert event.asks == [(34911.5, 0.0)]


def test_trap_a_failed_subscribe_may_name_feed_and_products_or_only_words():
    failed = {"event": "subscribed_failed", "feed": "book", "product_ids": ["pi_xbtusd"]}
    assert read(CODEC, failed) == Denied((BOOK,), 0, "")
    # A product that does not exist is invalid for every feed that wanted it.
    assert read(CODEC, ALERT) == Denied((BOOK, TRADES, TICKER, LITE), 0, ALERT["message"])
    lower = {"event": "alert", "message": "Couldn't subscribe to invalid product `pi_xbtusd`"}
    assert read(CODEC, lower) == Denied((BOOK, TRADES, TICKER, LITE), 0, lower["message"])
    words = {"event": "error", "message": "Invalid product id"}
    assert read(CODEC, words) == Refusal(None, 0, "Invalid product id", ordered=True)
    assert read(CODEC, {"event": "alert", "message": "hm"}) == Refusal(None, 0, "hm")
    left = {"event": "unsubscribed_failed", "feed": "book", "message": "hm"}
    assert read(CODEC, left) == Refusal(None, 0, "hm")


def test_trap_products_are_asked_for_in_any_case_and_answered_in_upper_case():
    asked = CODEC.asked('{"event":"subscribe","feed":"book","product_ids":["pi_xbtusd"]}')
    assert asked == Asked("subscribe", None, (BOOK,))
    assert PROFILE.topic("book", "pi_xbtusd").topic == BOOK
    assert PROFILE.recogniser()(BOOK).symbol == "PI_XBTUSD"


def test_the_channels_declare_what_their_numbers_prove():
    book, trades = PROFILE.topic("book", "X"), PROFILE.topic("trades", "X")
    assert (book.numbering, book.snapshot) == (Numbering.DENSE, SnapshotFrom.STREAM)
    assert (book.depth, book.checksum) == (None, None)
    assert (trades.numbering, trades.snapshot) == (Numbering.DENSE, None)
    assert PROFILE.topic("ticker", "PI_XBTUSD").topic == TICKER


# -- REST ---------------------------------------------------------------------------------------


def test_the_list_of_products_tells_perpetuals_futures_and_indices_apart():
    listed = [
        {"symbol": "PF_ETHUSD", "type": "flexible_futures", "tradeable": True},
        {"symbol": "pi_xbtusd", "type": "futures_inverse", "tradeable": False},
        {
            "symbol": "FI_XBTUSD_210625",
            "type": "futures_inverse",
            "tradeable": True,
            "lastTradingTime": "2021-06-25T15:00:00.000Z",
        },
        {"symbol": "in_xbtusd", "type": "spot index", "tradeable": False},
    ]
    body = json.dumps({"result": "success", "instruments": listed}).encode()
    found = PROFILE.rest.read_instruments(body)
    assert [(i.symbol, i.kind, i.base, i.quote, i.settle, i.state) for i in found] == [
        ("PF_ETHUSD", "perp", "ETH", "USD", "USD", "open"),
        ("PI_XBTUSD", "perp", "XBT", "USD", "XBT", "halted"),
        ("FI_XBTUSD_210625", "future", "XBT", "USD", "XBT", "open"),
    ]
    assert [i.expiry_ns for i in found] == [None, None, 1624633200 * 10**9]


def test_past_trades_are_not_found_by_number_and_errors_are_read():
    rest = PROFILE.rest
    assert rest.trades(TRADES, "PI_XBTUSD", 1, 2) is None
    assert rest.snapshot("PI_XBTUSD") is None
    [get] = rest.instruments()
    assert get.pool in PROFILE.pools.value
    assert rest.read_error(b'{"result":"error","error":"apiLimitExceeded"}') == (
        0,
        "apiLimitExceeded",
    )
    for body in (b'{"result":"success"}', b"", b"[]", b"\xff", b"[" * 5000):
        assert rest.read_error(body) is None
    for body in (b"", b"{}", b'{"instruments":[{"symbol":1}]}', b"\xff", b"[" * 5000):
        with pytest.raises(DecodeError):
            rest.read_instruments(body)


# -- hostile input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        SNAPSHOT | {"seq": -1},
        SNAPSHOT | {"seq": 10**40},
        SNAPSHOT | {"timestamp": 10**40},
        SNAPSHOT | {"bids": None},
        SNAPSHOT | {"bids": [{"price": -1, "qty": 1}]},
        SNAPSHOT | {"bids": [{"price": 1}]},
        SNAPSHOT | {"bids": [{"price": "1", "qty": 1}]},
        CHANGE | {"side": "up"},
        CHANGE | {"seq": 1.5},
        TRADE | {"qty": -1},
        TRADE | {"uid": 5},
        PAST | {"trades": {}},
        TICKED | {"bid": "1"},
        {"event": "subscribed", "feed": "book", "product_ids": "PI_XBTUSD"},
        {"event": 5},
        json.dumps(CHANGE).replace("34911.5", "1e400"),
        json.dumps(CHANGE).replace("34911.5", "NaN"),
        [],
        "",
        "hello",
        '{"feed":"\ud800"}',
        "[" * 100_000,
        '{"x":' * 100_000,
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(message):
    with pytest.raises(DecodeError):
        read(CODEC, message)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk):
    codec = KrakenFuturesCodec(ORIGINS, texts=True)
    for path in places_of(message):
        survives_in(codec, planted(message, path, junk))


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives_in(CODEC, text)
