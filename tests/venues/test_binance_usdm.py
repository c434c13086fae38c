"""Binance USDⓈ-M's dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.booksync import BookStream
from gapless.core.codec import Ack, Listing, Shutdown, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, SnapshotFrom
from gapless.core.universe import Instrument
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Gap, Ticker, Trade
from gapless.venues.binance_usdm import PROFILES

(PROFILE,) = PROFILES
REST = PROFILE.rest
DEPTH, TOP = "btcusdt@depth@100ms", "btcusdt@depth5@100ms"
AGG, RAW, BEST = "btcusdt@aggTrade", "btcusdt@trade", "btcusdt@bookTicker"
DAY, MARK = "btcusdt@ticker", "btcusdt@markPrice@1s"
TOPICS = {
    DEPTH: "book",
    TOP: "book",
    AGG: "trades",
    RAW: "trades",
    BEST: "bbo",
    DAY: "ticker",
    MARK: "ticker",
}
ORIGINS = origins("binance.usdm", TOPICS)
CODEC = PROFILE.codec(ORIGINS)

DEPTH_UPDATE = {
    "e": "depthUpdate",
    "E": 123456789,
    "T": 123456788,
    "s": "BTCUSDT",
    "U": 157,
    "u": 160,
    "pu": 149,
    "b": [["0.0024", "10"]],
    "a": [["0.0026", "100"]],
}
PARTIAL = {
    "e": "depthUpdate",
    "E": 1571889248277,
    "T": 1571889248276,
    "s": "BTCUSDT",
    "U": 390497796,
    "u": 390497878,
    "pu": 390497794,
    "b": [["7403.89", "0.002"], ["7403.90", "3.906"]],
    "a": [["7405.96", "3.340"], ["7406.63", "4.525"]],
}
AGG_TRADE = {
    "e": "aggTrade",
    "E": 123456789,
    "s": "BTCUSDT",
    "a": 5933014,
    "p": "0.001",
    "q": "100",
    "nq": "100",
    "f": 100,
    "l": 105,
    "T": 123456785,
    "m": True,
}
RAW_TRADE = {
    "e": "trade",
    "E": 1723161256322,
    "T": 1723161256322,
    "s": "BTCUSDT",
    "t": 5266583935,
    "p": "61800.30",
    "q": "0.006",
    "X": "MARKET",
    "m": False,
}
BOOK_TICKER = {
    "e": "bookTicker",
    "u": 400900217,
    "E": 1568014460893,
    "T": 1568014460891,
    "s": "BNBUSDT",
    "b": "25.35190000",
    "B": "31.21000000",
    "a": "25.36520000",
    "A": "40.66000000",
}
TICKER = {
    "e": "24hrTicker",
    "E": 123456789,
    "s": "BTCUSDT",
    "p": "0.0015",
    "P": "250.00",
    "w": "0.0018",
    "c": "0.0025",
    "Q": "10",
    "v": "10000",
    "q": "18",
}
MARK_PRICE = {
    "e": "markPriceUpdate",
    "E": 1562305380000,
    "s": "BTCUSDT",
    "p": "11794.15000000",
    "i": "11784.62659091",
    "P": "11784.25641265",
    "r": "0.00038167",
    "T": 1562306400000,
}


def push(stream, data):
    return {"stream": stream, "data": data}


DATA = [
    push(DEPTH, DEPTH_UPDATE),
    push(TOP, PARTIAL),
    push(AGG, AGG_TRADE),
    push(RAW, RAW_TRADE),
    push(BEST, BOOK_TICKER),
    push(DAY, TICKER),
    push(MARK, MARK_PRICE),
]
ACK = {"result": None, "id": 1}
MESSAGES = [*DATA, ACK, {"result": [DEPTH], "id": 3}, {"code": 2, "msg": "Invalid", "id": 1}]


# -- data -----------------------------------------------------------------------------------------


def test_a_depth_update():
    [event] = read(CODEC, push(DEPTH, DEPTH_UPDATE))
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (150, 160)
    assert event.event_ns == 123456788 * 10**6  # when it was matched, not when it was sent
    assert (event.recv_ns, event.mono_ns) == (RECV, MONO)
    assert (event.bids, event.asks) == ([(0.0024, 10.0)], [(0.0026, 100.0)])


def test_an_aggregate_trade():
    [event] = read(CODEC, push(AGG, AGG_TRADE))
    assert isinstance(event, Trade)
    assert (event.first, event.last, event.id) == (5933014, 5933014, "5933014")
    assert (event.price, event.size, event.side) == (0.001, 100.0, "sell")
    assert event.event_ns == 123456785 * 10**6


def test_a_raw_trade():
    [event] = read(CODEC, push(RAW, RAW_TRADE))
    assert isinstance(event, Trade)
    assert (event.first, event.last, event.id) == (5266583935, 5266583935, "5266583935")
    assert (event.price, event.size, event.side) == (61800.3, 0.006, "buy")


def test_a_best_quote_has_a_time_unlike_spots():
    [event] = read(CODEC, push(BEST, BOOK_TICKER))
    assert isinstance(event, Bbo)
    assert (event.first, event.last) == (400900217, 400900217)
    assert event.event_ns == 1568014460891 * 10**6
    assert (event.bid, event.bid_size) == (25.3519, 31.21)
    assert (event.ask, event.ask_size) == (25.3652, 40.66)


def test_a_day():
    [event] = read(CODEC, push(DAY, TICKER))
    assert isinstance(event, Ticker)
    assert (event.price, event.volume) == (0.0025, 10000.0)
    assert (event.bid, event.ask, event.mark) == (None, None, None)


def test_a_mark_price():
    [event] = read(CODEC, push(MARK, MARK_PRICE))
    assert isinstance(event, Ticker)
    assert (event.mark, event.index, event.funding) == (11794.15, 11784.62659091, 0.00038167)
    assert event.next_funding_ns == 1562306400000 * 10**6
    assert event.event_ns == 1562305380000 * 10**6
    assert (event.price, event.volume) == (None, None)


def test_a_negative_funding_rate():
    [event] = read(CODEC, push(MARK, MARK_PRICE | {"r": "-0.00038167"}))
    assert event.funding == -0.00038167


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


def test_the_literal_digits_of_levels_are_kept_where_they_are_asked_for():
    codec = PROFILE.codec(ORIGINS, texts=True)
    [image] = read(codec, push(TOP, PARTIAL))
    assert image.texts.bids == [("7403.89", "0.002"), ("7403.90", "3.906")]
    [delta] = read(codec, push(DEPTH, DEPTH_UPDATE))
    assert (delta.texts.bids, delta.texts.asks) == ([("0.0024", "10")], [("0.0026", "100")])
    [trade] = read(codec, push(AGG, AGG_TRADE))
    assert isinstance(trade, Trade)


# -- readings -------------------------------------------------------------------------------------


def test_acks_lists_and_what_nobody_asked_for():
    assert read(CODEC, ACK) == Ack(1)
    assert read(CODEC, {"result": [DEPTH, AGG], "id": 3}) == Listing(3, (DEPTH, AGG))
    assert isinstance(read(CODEC, push("ethusdt@aggTrade", AGG_TRADE)), Stray)
    assert isinstance(read(CODEC, push("!forceOrder@arr", [])), Stray)


def test_a_shutdown_notice_is_understood_should_it_ever_come():
    assert read(CODEC, {"e": "serverShutdown", "E": 1}) == Shutdown("serverShutdown")


# -- REST -----------------------------------------------------------------------------------------


def test_a_snapshot():
    get = REST.snapshot("btcusdt")
    assert (get.path, dict(get.query)) == ("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": "1000"})
    assert (get.pool, get.units) == ("weight", 20)
    body = (
        b'{"lastUpdateId":1027024,"E":1589436922972,"T":1589436922959,'
        b'"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12.00000000"]]}'
    )
    event = REST.read_snapshot(body, ORIGINS[DEPTH], RECV, MONO)
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (1027024, 1027024)
    assert event.event_ns == 1589436922959 * 10**6
    assert (event.bids, event.asks) == ([(4.0, 431.0)], [(4.000002, 12.0)])


def test_aggregate_trades_can_be_asked_for_by_number_and_raw_ones_need_a_key():
    get = REST.trades(AGG, "btcusdt", 26129, 26130)
    assert get.path == "/fapi/v1/aggTrades"
    assert dict(get.query) == {"symbol": "BTCUSDT", "fromId": "26129", "limit": "2"}
    assert get.units == 20
    assert REST.trades(RAW, "btcusdt", 1, 2) is None
    body = (
        b'[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,'
        b'"T":1498793709153,"m":true}]'
    )
    [trade] = REST.read_trades(body, ORIGINS[AGG], RECV, MONO)
    assert (trade.first, trade.side, trade.event_ns) == (26129, "sell", 1498793709153 * 10**6)


def listed(**changes):
    symbol = {
        "symbol": "BLZUSDT",
        "pair": "BLZUSDT",
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1598252400000,
        "status": "TRADING",
        "baseAsset": "BLZ",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "underlyingSubType": ["STORAGE"],
        "filters": [],
    }
    [found] = REST.read_instruments(json.dumps({"symbols": [symbol | changes]}).encode())
    return found


def test_instruments():
    [get] = REST.instruments()
    assert (get.path, get.query, get.pool, get.units) == ("/fapi/v1/exchangeInfo", (), "weight", 1)
    onboard_ns = 1598252400000 * 10**6
    perp = Instrument("BLZUSDT", "perp", "BLZ", "USDT", "USDT", "open", listed_ns=onboard_ns)
    assert listed() == perp
    dated = listed(symbol="BTCUSDT_210625", contractType="NEXT_QUARTER", deliveryDate=1624608000000)
    assert (dated.kind, dated.expiry_ns) == ("future", 1624608000000 * 10**6)


def test_a_perpetual_that_is_taken_off_the_list_has_a_date():
    found = listed(contractType="PERPETUAL_DELIVERING", deliveryDate=1700000000000)
    assert (found.kind, found.expiry_ns) == ("perp", 1700000000000 * 10**6)
    assert listed(contractType="TRADIFI_PERPETUAL").kind == "perp"
    pending = listed(contractType="", status="PENDING_TRADING", onboardDate=0)
    assert (pending.kind, pending.state, pending.listed_ns) == ("perp", "listed", None)


# -- the traps ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "path"),
    [
        ("book", "/public/stream"),
        ("book.250ms", "/public/stream"),
        ("book.500ms", "/public/stream"),
        ("book.top5", "/public/stream"),
        ("book.top20-500ms", "/public/stream"),
        ("bbo", "/public/stream"),
        ("trades.raw", "/public/stream"),
        ("trades", "/market/stream"),
        ("trades.agg", "/market/stream"),
        ("ticker", "/market/stream"),
        ("ticker.mark", "/market/stream"),
        ("ticker.mark-3s", "/market/stream"),
    ],
)
def test_trap_1_wrongly_routed_streams_ack_and_never_speak(channel, path):
    assert PROFILE.path_of(channel) == path
    assert read(CODEC, ACK) == Ack(1)  # wherever it was asked for


def test_trap_2_the_chain_is_pu_and_not_u():
    one = push(DEPTH, DEPTH_UPDATE)
    skips = push(DEPTH, DEPTH_UPDATE | {"pu": 160, "U": 190, "u": 195})
    [first], [second] = read(CODEC, one), read(CODEC, skips)
    assert second.first == first.last + 1
    assert PROFILE.topic("book", "BTCUSDT").numbering is Numbering.CHAIN


class Books:
    """One book, fed with updates and a snapshot."""

    def __init__(self):
        self.events, self.needs = [], []
        spec = PROFILE.topic("book", "BTCUSDT")
        self.stream = BookStream(spec, self.events.append, self.needs.append)
        self.stream.attach(ORIGINS[DEPTH], Moment(0, 0))

    def update(self, prev, first, last, bid="1"):
        change = {"pu": prev, "U": first, "u": last, "b": [["5", bid]], "a": []}
        for event in read(CODEC, push(DEPTH, DEPTH_UPDATE | change)):
            self.stream.offer(event)

    def snapshot(self, last):
        body = json.dumps({"lastUpdateId": last, "bids": [["5", "9"]], "asks": []}).encode()
        event = REST.read_snapshot(body, ORIGINS[DEPTH], RECV, MONO)
        self.stream.snapshot(event, 1, Moment(MONO, RECV))


@pytest.mark.parametrize(
    ("last", "bridges"),
    [
        (99, False),  # before the first update there was one more
        (100, True),  # just before it: nothing is missing
        (110, True),  # inside the skip between pu and U: nothing happened there
        (120, True),  # U <= lastUpdateId <= u
        (125, True),
        (130, True),  # u itself: the update is dropped, it brings nothing
        (140, True),  # inside the second
    ],
)
def test_trap_3_the_snapshot_lies_inside_the_first_update(last, bridges):
    books = Books()
    books.update(100, 120, 130, "1")
    books.update(130, 133, 150, "2")
    books.snapshot(last)
    assert books.stream.readable == bridges
    if bridges:
        assert dict(books.stream.proven().bids()) == {5.0: 2.0}
        assert not any(isinstance(event, Gap) for event in books.events)
    else:
        assert [need.kind for need in books.needs] == ["snapshot", "snapshot"]


def test_trap_2_a_broken_chain_is_a_gap_without_a_count():
    books = Books()
    books.update(100, 120, 130)
    books.snapshot(130)
    books.update(130, 131, 140)
    books.update(145, 146, 150)
    [gap] = [event for event in books.events if isinstance(event, Gap)]
    assert (gap.first, gap.last, gap.missing) == (141, 145, None)
    assert not books.stream.readable


def test_trap_5_partial_depth_looks_like_diff_depth():
    [image] = read(CODEC, push(TOP, PARTIAL))
    [delta] = read(CODEC, push(DEPTH, PARTIAL))
    assert isinstance(image, BookSnapshot)
    assert (image.first, image.last) == (390497878, 390497878)
    assert isinstance(delta, BookDelta)
    assert (delta.first, delta.last) == (390497795, 390497878)
    spec = PROFILE.topic("book.top5", "BTCUSDT")
    assert (spec.topic, spec.snapshot, spec.numbering, spec.depth) == (
        TOP,
        SnapshotFrom.EVERY,
        Numbering.ORDERED,
        5,
    )


def test_trap_9_pings_come_rarely():
    assert PROFILE.server_ping_ns.value == 180 * 10**9
    assert PROFILE.pong_within_ns.value == 600 * 10**9


def test_trap_11_ids_are_unsigned_integers():
    for request in (*CODEC.subscribe(1, (DEPTH,)), *CODEC.unsubscribe(2, (DEPTH,))):
        sent = json.loads(request.text)
        assert sent["id"] == request.id
        assert type(sent["id"]) is int
    assert json.loads(CODEC.once_live(3).text)["id"] == 3


@pytest.mark.parametrize("channel", ["trades", "book", "bbo", "ticker", "book.top10"])
def test_trap_stream_names_need_lower_case(channel):
    assert PROFILE.topic(channel, "BTCUSDT_210625").topic.startswith("btcusdt_210625@")


def test_a_topics_name_says_which_it_is():
    recognise = PROFILE.recogniser()
    for channel in PROFILE.every_channel():
        for variant in channel.topics:
            spec = PROFILE.topic(f"{channel.name}.{variant}", "BTCUSDT")
            assert recognise(spec.topic) == spec
    assert recognise("btcusdt@kline_1m") is None


# -- hostile input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"U": 161}, r"161\.\.160 is empty"),
        ({"pu": 160}, "160 claims to follow 160"),
        ({"pu": 999}, "160 claims to follow 999"),
    ],
)
def test_an_update_that_contradicts_itself_is_refused(changes, words):
    with pytest.raises(DecodeError, match=words):
        read(CODEC, push(DEPTH, DEPTH_UPDATE | changes))


@pytest.mark.parametrize(
    "data",
    [
        push(DEPTH, DEPTH_UPDATE | {"b": [["0.0024", "-10"]]}),
        push(DEPTH, DEPTH_UPDATE | {"b": [["NaN", "10"]]}),
        push(DEPTH, DEPTH_UPDATE | {"u": 10**40}),
        push(DEPTH, {key: value for key, value in DEPTH_UPDATE.items() if key != "pu"}),
        push(TOP, {"lastUpdateId": 160, "bids": [], "asks": []}),
        push(AGG, RAW_TRADE),
        push(RAW, RAW_TRADE | {"T": None}),
        push(BEST, BOOK_TICKER | {"B": "-1"}),
        push(BEST, BOOK_TICKER | {"T": -1}),
        push(MARK, MARK_PRICE | {"r": "NaN"}),
        push(MARK, MARK_PRICE | {"r": "1e400"}),
        push(MARK, MARK_PRICE | {"p": "-1"}),
        push(MARK, TICKER),
        push(DAY, MARK_PRICE),
        '{"stream":"' + DEPTH,
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
