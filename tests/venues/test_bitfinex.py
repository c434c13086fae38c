"""Bitfinex's dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.bookruns import BookRunStream
from gapless.core.codec import (
    Ack,
    Asked,
    Denied,
    Granted,
    Heartbeat,
    Refusal,
    Shutdown,
    Status,
    Stray,
)
from gapless.core.counter import ConnectionCounter
from gapless.core.identities import IdentityStream
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Ticker, Trade
from gapless.venues._bitfinex import CHECKSUM, TOP_LEVELS_MAX, crc
from gapless.venues.bitfinex import OB_CHECKSUM, PROFILES, SEQ_ALL, BitfinexCodec

BOOK, TRADES, TICKER = "book-P0-F0-25:tETHUSD", "trades:tETHUSD", "ticker:tETHUSD"
QUOTES, DERIVATIVE = "book-P0-F0-1:tETHUSD", "status:tBTCF0:USTF0"
CHANNELS = {BOOK: "book", TRADES: "trades", TICKER: "ticker", QUOTES: "bbo", DERIVATIVE: "ticker"}
NUMBERS = {BOOK: 10092, TRADES: 19111, TICKER: 1, QUOTES: 5, DERIVATIVE: 335856}

(PROFILE,) = PROFILES

CONF = {"event": "conf", "status": "OK", "flags": SEQ_ALL | OB_CHECKSUM}
DOCUMENTED = {
    "event": "subscribed",
    "channel": "book",
    "chanId": 10092,
    "symbol": "tETHUSD",
    "prec": "P0",
    "freq": "F0",
    "len": "25",
    "subId": 123,
    "pair": "ETHUSD",
}
SUBSCRIBED = [
    DOCUMENTED,
    {"event": "subscribed", "channel": "trades", "chanId": 19111, "symbol": "tETHUSD"},
    {"event": "subscribed", "channel": "ticker", "chanId": 1, "symbol": "tETHUSD"},
    DOCUMENTED | {"chanId": 5, "len": "1"},
    {
        "event": "subscribed",
        "channel": "status",
        "chanId": 335856,
        "key": "deriv:tBTCF0:USTF0",
    },
]

SNAPSHOT = [10092, [[7254.7, 3, 3.3], [7254.5, 1, 2], [7255.1, 2, -1.5]], 7]
CHANGE = [10092, [7254.7, 2, 1.25], 8]
CHECKED = [10092, "cs", -1175357890, 9]
PAST = [19111, [[401597395, 1574694478808, 0.005, 7245.3], [401597394, 1, -0.01, 7245]], 10]
MADE = [19111, "te", [401597396, 1574694479000, -0.5, 7244.9], 11]
BOOKED = [19111, "tu", [401597396, 1574694479000, -0.5, 7244.9], 12]
TICKED = [1, [7616.5, 31.9, 7617.5, 43.3, -550.8, -0.0674, 7617.1, 8314.7, 8257.8, 7500], 13]
STATUS = [
    335856,
    [
        1596124822000,
        None,
        0.896,
        0.771995,
        None,
        1396531.67460709,
        None,
        1596153600000,
        0.0001056,
        6,
        None,
        -0.01381344,
        None,
        None,
        0.7664,
        None,
        None,
        246502.09001551,
        None,
        None,
        None,
        -0.3,
        0.05,
    ],
    14,
]
BEAT = [10092, "hb", 15]
ERROR = {"event": "error", "code": 10300, "msg": "Subscription failed (generic)", "subId": 4}
DATA = [SNAPSHOT, CHANGE, CHECKED, PAST, MADE, BOOKED, TICKED, STATUS, BEAT]
MESSAGES = [*DATA, *SUBSCRIBED, CONF, ERROR, {"event": "info", "code": 20060, "msg": ""}]


def codec():
    """Return a codec that has every channel."""
    one = BitfinexCodec(origins("bitfinex", CHANNELS))
    for message in (CONF, *SUBSCRIBED):
        read(one, message)
    return one


# -- data ---------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(codec(), SNAPSHOT)
    assert isinstance(event, BookSnapshot)
    assert event.bids == [(7254.7, 3.3), (7254.5, 2.0)]
    assert event.asks == [(7255.1, 1.5)]
    assert event.texts.bids == [("7254.7", "3.3"), ("7254.5", "2")]
    assert event.texts.asks == [("7255.1", "-1.5")]
    assert (event.first, event.last, event.event_ns) == (None, None, None)
    assert (event.recv_ns, event.mono_ns, event.origin.topic) == (RECV, MONO, BOOK)


def test_the_change_of_a_book_is_one_level():
    [event] = read(codec(), CHANGE)
    assert isinstance(event, BookDelta)
    assert (event.bids, event.asks) == ([(7254.7, 1.25)], [])


def test_a_checksum_is_a_change_of_nothing():
    [event] = read(codec(), CHECKED)
    assert isinstance(event, BookDelta)
    assert (event.bids, event.asks, event.texts.checksum) == ([], [], -1175357890)


def test_trades_greet_with_the_latest_oldest_first():
    past = read(codec(), PAST)
    assert [(t.id, t.side, t.backfilled) for t in past] == [
        ("401597394", "sell", True),
        ("401597395", "buy", True),
    ]
    [live] = read(codec(), MADE)
    assert isinstance(live, Trade)
    assert (live.id, live.price, live.size, live.side) == ("401597396", 7244.9, 0.5, "sell")
    assert (live.first, live.event_ns, live.backfilled) == (None, 1574694479000 * 10**6, False)


def test_a_ticker_and_the_state_of_a_derivative():
    [event] = read(codec(), TICKED)
    assert isinstance(event, Ticker)
    assert (event.price, event.bid, event.ask, event.volume) == (7617.1, 7616.5, 7617.5, 8314.7)
    assert event.event_ns is None
    [event] = read(codec(), STATUS)
    assert isinstance(event, Ticker)
    assert (event.price, event.mark, event.index) == (0.896, 0.7664, 0.771995)
    assert (event.open_interest, event.funding) == (246502.09001551, -0.01381344)
    assert event.next_funding_ns == 1596153600000 * 10**6
    assert event.event_ns == 1596124822000 * 10**6


def test_a_book_of_one_level_is_the_best_quote():
    one = codec()
    [quote] = read(one, [5, [[100, 1, 2.5], [101, 1, -3]], 1])
    assert isinstance(quote, Bbo)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (100.0, 2.5, 101.0, 3.0)
    # A better bid comes first, and then the old one goes: one new quote, not two.
    [quote] = read(one, [5, [100.5, 1, 1], 2])
    assert (quote.bid, quote.bid_size) == (100.5, 1.0)
    assert read(one, [5, [100, 0, 1], 3]) == []
    [quote] = read(one, [5, [100.5, 0, 1], 4])
    assert (quote.bid, quote.bid_size, quote.ask) == (None, None, 101.0)
    assert read(one, [5, "cs", 1, 5]) == Heartbeat()
    [quote] = read(one, [5, [], 6])  # a new snapshot, of nothing
    assert (quote.bid, quote.ask) == (None, None)


def test_the_levels_behind_a_best_quote_are_bounded():
    one = codec()
    for price in range(1, 3 * TOP_LEVELS_MAX):
        read(one, [5, [price, 1, 1], price])
        read(one, [5, [1000 - price, 1, -1], price])
    [top] = one._tops.values()
    assert len(top.bids) == len(top.asks) == TOP_LEVELS_MAX
    assert (max(top.bids), min(top.asks)) == (23.0, 977.0)  # the best are kept


# -- readings -----------------------------------------------------------------------------------


def test_a_subscription_is_granted_by_what_it_repeats():
    one = BitfinexCodec(origins("bitfinex", CHANNELS))
    for message, topic in zip(SUBSCRIBED, CHANNELS, strict=True):
        assert read(one, message) == Granted((topic,))
    assert isinstance(read(one, DOCUMENTED | {"symbol": "tXRPUSD"}), Stray)


def test_an_error_is_matched_by_our_id_or_by_what_it_repeats():
    one = codec()
    assert read(one, ERROR) == Refusal(4, 10300, "Subscription failed (generic)")
    told = {"event": "error", "code": 10001, "msg": "unknown pair", "channel": "trades"}
    assert read(one, told | {"symbol": "tETHUSD"}) == Denied((TRADES,), 10001, "unknown pair")
    assert read(one, told | {"symbol": "tNO"}) == Refusal(None, 10001, "unknown pair")
    assert read(one, {"event": "error", "code": 10000}) == Refusal(None, 10000, "")


@pytest.mark.parametrize(
    ("message", "reading"),
    [
        ({"event": "info", "version": 2, "platform": {"status": 1}}, Heartbeat()),
        (
            {"event": "info", "version": 2, "platform": {"status": 0}},
            Status("the platform is in maintenance"),
        ),
        ({"event": "info", "code": 20060}, Status("20060: maintenance begins")),
        ({"event": "info", "code": 7, "msg": "hm"}, Status("7: hm")),
        ({"event": "pong", "ts": 1511545528111, "cid": 1234}, Heartbeat()),
        (CONF, Heartbeat()),
        (CONF | {"status": "FAILED"}, Refusal(None, 0, "conf: FAILED")),
    ],
)
def test_what_the_venue_says_of_itself(message, reading):
    assert read(codec(), message) == reading


@pytest.mark.parametrize(
    "message",
    [
        [99, [1, 2, 3], 5],
        [99],
        [],
        [19111, "fte", [1, 2, 3, 4], 5],
        {"event": "surprise"},
        {"event": "unsubscribed", "chanId": 99},
    ],
)
def test_what_nobody_asked_for_is_a_stray(message):
    assert isinstance(read(codec(), message), Stray)


# -- requests -----------------------------------------------------------------------------------


def test_trap_flags_are_set_before_anything_is_subscribed():
    [conf] = codec().setup(1)
    assert (conf.id, conf.kind) == (0, "setup")  # the answer repeats no id
    assert json.loads(conf.text) == {"event": "conf", "flags": 65536 + 131072}


def test_a_frame_asks_for_one_channel_and_carries_our_id():
    requests = codec().subscribe(7, tuple(CHANNELS))
    assert [r.id for r in requests] == [7, 8, 9, 10, 11]
    assert [r.topics for r in requests] == [(topic,) for topic in CHANNELS]
    assert json.loads(requests[0].text) == {
        "event": "subscribe",
        "channel": "book",
        "symbol": "tETHUSD",
        "prec": "P0",
        "freq": "F0",
        "len": "25",
        "subId": 7,
    }
    assert json.loads(requests[4].text) == {
        "event": "subscribe",
        "channel": "status",
        "key": "deriv:tBTCF0:USTF0",
        "subId": 11,
    }
    assert PROFILE.topics_per_request.value == 1


def test_leaving_names_the_channel_number_and_is_acked():
    one = codec()
    [leave] = one.unsubscribe(9, (BOOK,))
    assert json.loads(leave.text) == {"event": "unsubscribe", "chanId": 10092}
    assert leave.topics == (BOOK,)
    assert one.unsubscribe(10, ("trades:tNO",)) == []
    assert isinstance(read(one, CHANGE), list)  # what was under way still belongs to it
    assert read(one, {"event": "unsubscribed", "status": "OK", "chanId": 10092}) == Ack(9)
    assert isinstance(read(one, CHANGE), Stray)
    [leave] = one.unsubscribe(11, (TRADES,))
    failed = {"event": "error", "code": 10401, "msg": "not subscribed", "chanId": 19111}
    assert read(one, failed) == Refusal(11, 10401, "not subscribed")


def test_a_channel_that_is_being_left_is_not_left_again():
    one = codec()
    assert len(one.unsubscribe(9, (BOOK,))) == 1
    assert one.unsubscribe(10, (BOOK,)) == [], "the answer would be taken for the second request"
    assert read(one, {"event": "unsubscribed", "status": "OK", "chanId": 10092}) == Ack(9)


def test_a_channel_that_nobody_wants_any_more_when_it_is_named_is_left_at_once():
    table = origins("bitfinex", {BOOK: "book"})
    one = BitfinexCodec(table)
    one.subscribe(1, (BOOK,))
    del table[BOOK]
    assert one.unsubscribe(2, (BOOK,)) == [], "its number is not known yet"
    named = {
        "event": "subscribed",
        "channel": "book",
        "chanId": 5,
        "symbol": "tETHUSD",
        "prec": "P0",
        "freq": "F0",
        "len": "25",
    }
    reading = read(one, named)
    assert isinstance(reading, Heartbeat)
    assert json.loads(reading.reply.text) == {"event": "unsubscribe", "chanId": 5}
    assert isinstance(read(one, {"event": "unsubscribed", "status": "OK", "chanId": 5}), Stray)


def test_a_channel_that_the_venue_ends_ends_the_session():
    reading = read(codec(), {"event": "unsubscribed", "status": "OK", "chanId": 10092})
    assert isinstance(reading, Shutdown)
    assert BOOK in reading.evidence


def test_every_request_is_read_back():
    one = codec()
    assert one.asked(one.setup(1)[0].text) == Asked("setup", None, ())
    for request in one.subscribe(2, tuple(CHANNELS)):
        assert one.asked(request.text) == Asked("subscribe", request.id, request.topics)
    [leave] = one.unsubscribe(9, (BOOK,))
    assert one.asked(leave.text) == Asked("unsubscribe", None, (BOOK,))
    assert one.asked('{"event":"ping","cid":1}') is None
    assert one.asked('{"event":"auth"}') == Asked("login", None, ())
    plain = '{"event":"subscribe","channel":"book","symbol":"tETHUSD"}'
    assert one.asked(plain) == Asked("subscribe", None, (BOOK,))
    for text in ("[]", "", "{}", '{"event":1}', "[" * 5000, '"\ud800"'):
        with pytest.raises(DecodeError):
            one.asked(text)


def test_the_venue_is_not_asked_for_more_than_it_offers():
    assert codec().beat(1) is None
    assert codec().once_live(1) is None


# -- the traps ----------------------------------------------------------------------------------


def test_trap_heartbeats_and_checksums_are_numbered_too():
    one = codec()
    counter = ConnectionCounter()
    for message in DATA:
        number = one.number(json.dumps(message))
        assert number == message[-1]
        assert counter.follow(number) is None
    assert counter.checked == len(DATA) - 1
    assert one.number(json.dumps(CONF)) is None
    assert PROFILE.connection_counter.value is not None


def test_nothing_is_counted_before_the_venue_has_agreed_to_count():
    one = BitfinexCodec(origins("bitfinex", CHANNELS))
    assert one.number('[10092,"cs",-1175357890]') is None
    assert one.number('[10092,"cs",1175357890]') is None
    read(one, CONF | {"flags": OB_CHECKSUM})
    assert one.number('[10092,"cs",1175357890]') is None
    read(one, CONF | {"flags": SEQ_ALL})
    assert one.number('[10092,"cs",1175357890,5]') == 5


@pytest.mark.parametrize(
    "text", ["[1,[1,2]]", "[", "", "[1,x]", "[1,²]", "[1," + "9" * 40 + "]", "[1,-5]"]
)
def test_an_array_without_a_number_has_none(text):
    assert codec().number(text) is None


def test_trap_channel_numbers_are_valid_on_their_connection_only():
    fresh = BitfinexCodec(origins("bitfinex", CHANNELS))
    assert isinstance(read(fresh, SNAPSHOT), Stray)
    assert isinstance(read(codec(), SNAPSHOT), list)


def test_trap_fields_are_appended_to_arrays():
    one = codec()
    [event] = read(one, [19111, "te", [1, 2, 3.0, 4.0, "new"], 5, 1700000000000, "newer"])
    assert (event.id, event.size) == ("1", 3.0)
    [event] = read(one, [1, [*TICKED[1], "new"], 5, "newer"])
    assert event.price == 7617.1
    [event] = read(one, [*CHECKED, "newer"])
    assert event.texts.checksum == -1175357890


def test_trap_each_trade_comes_twice_under_one_id():
    one, events = codec(), []
    stream = IdentityStream(PROFILE.topic("trades", "tETHUSD"), events.append, lambda _: None)
    for message in (PAST, MADE, BOOKED):
        for event in read(one, message):
            stream.offer(event)
    assert [event.id for event in events] == ["401597394", "401597395", "401597396"]
    assert stream.duplicates == 1


def test_trap_the_checksum_is_signed_and_the_amounts_of_asks_are_negative():
    # The layout of the guide: bid, ask, bid, ask; then the side that is left.
    bids = [("6000", "1"), ("5900", "2"), ("5800", "3")]
    asks = [("6100", "-3"), ("6200", "-4")]
    text = b"6000:1:6100:-3:5900:2:6200:-4:5800:3"
    assert crc(bids, asks) & 0xFFFFFFFF == zlib.crc32(text)
    assert -(2**31) <= crc(bids, asks) < 2**31
    assert {crc([(str(price), "1")], []) < 0 for price in range(20)} == {True, False}
    assert (CHECKSUM.depth, CHECKSUM.tolerated) == (25, 1)


def test_trap_small_numbers_keep_their_exponent():
    [event] = read(codec(), "[10092,[[7e-7,1,10000],[0.00000111,1,-4847.13]],5]")
    assert event.bids == [(7e-7, 10000.0)]
    assert event.texts.bids == [("7e-7", "10000")]
    assert event.texts.asks == [("0.00000111", "-4847.13")]


def test_trap_one_failed_checksum_is_not_believed_and_two_are():
    one, needs = codec(), []
    stream = BookRunStream(PROFILE.topic("book", "tETHUSD"), lambda _: None, needs.append)
    for message in (SNAPSHOT, [10092, "cs", 1, 8]):
        [event] = read(one, message)
        stream.offer(event)
    assert (stream.checks, stream.failed, stream.readable) == (1, 1, True)
    [event] = read(one, [10092, "cs", 1, 9])
    stream.offer(event)
    assert (stream.failed, stream.readable) == (2, False)
    assert [need.kind for need in needs] == ["resubscribe"]


def test_trap_a_count_of_0_removes_the_level_and_the_amount_only_names_the_side():
    [event] = read(codec(), [10092, [7254.7, 0, 1], 8])
    assert (event.bids, event.asks) == ([(7254.7, 0.0)], [])
    assert event.texts.bids == [("7254.7", "0")]
    [event] = read(codec(), [10092, [7255.1, 0, -1], 8])
    assert (event.bids, event.asks) == ([], [(7255.1, 0.0)])


def test_trap_a_snapshot_may_be_empty():
    [event] = read(codec(), [10092, [], 8])
    assert isinstance(event, BookSnapshot)
    assert (event.bids, event.asks) == ([], [])


def test_trap_a_heartbeat_may_come_before_its_channel_is_subscribed():
    fresh = BitfinexCodec(origins("bitfinex", CHANNELS))
    assert read(fresh, [232954, "hb", 139]) == Heartbeat()


@pytest.mark.parametrize("code", [20051, 20061])
def test_trap_after_a_restart_or_maintenance_nothing_is_subscribed_any_more(code):
    reading = read(codec(), {"event": "info", "code": code, "msg": "x"})
    assert isinstance(reading, Shutdown)
    assert str(code) in reading.evidence


def test_trap_funding_markets_are_refused():
    topic = "book-P0-F0-25:fUSD"
    one = BitfinexCodec(origins("bitfinex", {topic: "book"}))
    told = DOCUMENTED | {"symbol": "fUSD"}
    assert read(one, told) == Denied((topic,), 0, "funding markets are not followed")
    assert isinstance(read(one, [10092, [[0.0003, 2, 1, 100]], 5]), Stray)


def test_the_limits_are_those_of_public_connections():
    assert PROFILE.topics_per_connection.value == 25
    dials = PROFILE.budgets().dials
    for each in range(20):
        dials.spend(each * 10_000_000)  # ten in a tenth of a second are our own limit
    assert dials.wait_ns(200_000_000) > 59 * 10**9


def test_the_channels_declare_what_their_numbers_prove():
    book, trades = PROFILE.topic("book", "tX"), PROFILE.topic("trades", "tX")
    assert (book.numbering, book.snapshot) == (Numbering.NONE, SnapshotFrom.STREAM)
    assert (book.checksum, book.depth) == (CHECKSUM, None)
    assert (trades.numbering, trades.snapshot) == (Numbering.IDENTITY, None)
    assert book.topic == "book-P0-F0-25:tX"
    assert PROFILE.topic("book.P4-F1-250", "tX").topic == "book-P4-F1-250:tX"
    recognise = PROFILE.recogniser()
    for topic, channel in CHANNELS.items():
        spec = recognise(topic)
        assert (spec.channel, spec.topic) == (channel, topic)
    assert recognise(DERIVATIVE).symbol == "tBTCF0:USTF0"
    assert recognise("book-R0-F0-25:tX") is None


# -- REST ---------------------------------------------------------------------------------------


def test_the_lists_of_pairs_name_what_is_traded():
    rest = PROFILE.rest
    found = rest.read_instruments(b'[["BTCUSD","AAVE:UST","BTCF0:USTF0"]]')
    assert [(i.symbol, i.kind, i.base, i.quote, i.settle) for i in found] == [
        ("tBTCUSD", "spot", "BTC", "USD", None),
        ("tAAVE:UST", "spot", "AAVE", "UST", None),
        ("tBTCF0:USTF0", "perp", "BTC", "UST", "UST"),
    ]
    assert [get.path for get in rest.instruments()] == [
        "/v2/conf/pub:list:pair:exchange",
        "/v2/conf/pub:list:pair:futures",
    ]
    assert {get.pool for get in rest.instruments()} <= PROFILE.pools.value.keys()
    for body in (b"", b"{}", b"[1]", b"\xff", b"[" * 5000):
        with pytest.raises(DecodeError):
            rest.read_instruments(body)


def test_past_trades_are_not_found_by_id_and_errors_are_read():
    rest = PROFILE.rest
    assert rest.trades(TRADES, "tETHUSD", 1, 2) is None
    assert rest.snapshot("tETHUSD") is None
    assert rest.read_error(b'["error",10020,"symbol: invalid"]') == (10020, "symbol: invalid")
    for body in (b'["fine",1,""]', b"", b"{}", b"\xff", b"[" * 5000):
        assert rest.read_error(body) is None


# -- hostile input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        '["x","hb"]',
        "[-1,[]]",
        [10092, [[7254.7, 3]], 7],
        [10092, [[7254.7, -3, 1]], 7],
        [10092, [[7254.7, 3, 0]], 7],
        [10092, [[-7254.7, 3, 1]], 7],
        [10092, [["7254.7", 3, 1]], 7],
        [10092, [7254.7, 1.5, 1], 7],
        "[10092,[[1e400,3,1]],7]",
        "[10092,[[1,3,NaN]],7]",
        "[10092,[[1,3," + "9" * 40 + "]],7]",
        [10092, "cs"],
        [10092, "cs", 2**31],
        [10092, "cs", "x", 5],
        [10092, 5, 6],
        [19111, "te"],
        [19111, "te", [1, 2, 0, 4], 5],
        [19111, "te", [1, 2, 3], 5],
        [19111, "te", [-1, 2, 3, 4], 5],
        [19111, [[1, 2, 3, -4]], 5],
        [1, [1, 2], 5],
        [335856, [1, 2], 5],
        {"event": "subscribed", "channel": "book", "symbol": "tETHUSD"},
        {"event": "unsubscribed"},
        {"event": "info", "code": "x"},
        {},
        "",
        "hello",
        '{"event":"\ud800"}',
        "[" * 100_000,
        '{"x":' * 100_000,
        "[10092," + "[" * 100_000,
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(message):
    with pytest.raises(DecodeError):
        read(codec(), message)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk):
    for path in places_of(message):
        one = codec()
        text = planted(message, path, junk)
        number = one.number(text)
        assert number is None or 0 <= number < 2**62
        survives_in(one, text)


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives_in(codec(), text)
