"""Kraken's older dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read, reordered
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
from gapless.core.identities import IdentityStream
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Ticker, Trade
from gapless.venues._kraken import CHECKSUM, DEPTHS
from gapless.venues.kraken_v1 import PROFILES, KrakenV1Codec

BOOK, TRADES = "book-10:XBT/USD", "trade:XBT/USD"
QUOTES, TICKER = "spread:XBT/USD", "ticker:XBT/USD"
CODEC = KrakenV1Codec(
    origins("kraken.v1", {BOOK: "book", TRADES: "trades", QUOTES: "bbo", TICKER: "ticker"})
)

(PROFILE,) = PROFILES


SNAPSHOT = [
    0,
    {
        "as": [["5541.30000", "2.50700000", "1534614248.123678"]],
        "bs": [["5541.20000", "1.52900000", "1534614248.765567"]],
    },
    "book-10",
    "XBT/USD",
]
CHANGE = [
    1234,
    {
        "a": [
            ["5541.30000", "2.50700000", "1534614248.456738"],
            ["5542.50000", "0.40100000", "1534614248.456738"],
        ]
    },
    {"b": [["5541.30000", "0.00000000", "1534614335.345903"]], "c": "974942666"},
    "book-10",
    "XBT/USD",
]
REPUBLISHED = [
    1234,
    {"a": [["5541.30000", "2.50700000", "1534614248.456738", "r"]], "c": "974942666"},
    "book-10",
    "XBT/USD",
]
TRADED = [
    0,
    [
        ["5541.20000", "0.15850568", "1534614057.321597", "s", "l", ""],
        ["6060.00000", "0.02455000", "1534614057.324998", "b", "l", ""],
    ],
    "trade",
    "XBT/USD",
]
SPREAD = [
    0,
    ["5698.40000", "5700.00000", "1542057299.545897", "1.01234567", "0.98765432"],
    "spread",
    "XBT/USD",
]
TICKED = [
    0,
    {
        "a": ["5525.40000", 1, "1.000"],
        "b": ["5525.10000", 1, "1.000"],
        "c": ["5525.10000", "0.00398963"],
        "h": ["5783.00000", "5783.00000"],
        "l": ["5505.00000", "5505.00000"],
        "o": ["5760.70000", "5763.40000"],
        "p": ["5631.44067", "5653.78939"],
        "t": [11493, 16267],
        "v": ["2634.11501494", "3591.17907851"],
    },
    "ticker",
    "XBT/USD",
]


def status(kind, name="book", pair="XBT/USD", **extra):
    subscription = {"name": name} | ({"depth": 10} if name == "book" else {})
    told = {"event": "subscriptionStatus", "pair": pair, "status": kind}
    return told | {"subscription": subscription, "channelName": name} | extra


ONLINE = {
    "connectionID": 8628615390848610000,
    "event": "systemStatus",
    "status": "online",
    "version": "1.0.0",
}
FAILED = status("error", errorMessage="Currency pair not supported", reqid=4)
MESSAGES = [
    SNAPSHOT,
    CHANGE,
    REPUBLISHED,
    TRADED,
    SPREAD,
    TICKED,
    status("subscribed", reqid=1),
    FAILED,
    ONLINE,
    {"event": "heartbeat"},
]
DATA = MESSAGES[:6]


# -- data ---------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(CODEC, SNAPSHOT)
    assert isinstance(event, BookSnapshot)
    assert (event.bids, event.asks) == ([(5541.2, 1.529)], [(5541.3, 2.507)])
    assert event.texts.bids == [("5541.20000", "1.52900000")]
    assert event.texts.checksum is None
    assert event.event_ns == 1534614248765567000
    assert (event.recv_ns, event.mono_ns, event.origin.topic) == (RECV, MONO, BOOK)


def test_trades_carry_neither_number_nor_id():
    first, second = read(CODEC, TRADED)
    assert isinstance(first, Trade)
    assert (first.price, first.size, first.side) == (5541.2, 0.15850568, "sell")
    assert (second.price, second.size, second.side) == (6060.0, 0.02455, "buy")
    assert (first.first, first.last, first.event_ns) == (None, None, 1534614057321597000)
    assert first.id != second.id
    assert not first.backfilled


def test_equal_trades_of_one_frame_are_two_and_a_frame_again_is_a_repeat():
    twice = [0, [TRADED[1][0], TRADED[1][0]], "trade", "XBT/USD"]
    events = []
    stream = IdentityStream(PROFILE.topic("trades", "XBT/USD"), events.append, lambda _: None)
    for _ in range(2):
        for event in read(CODEC, twice):
            stream.offer(event)
    assert (len(events), stream.duplicates) == (2, 2)


def test_the_best_quotes_and_an_empty_side():
    [event] = read(CODEC, SPREAD)
    assert isinstance(event, Bbo)
    assert (event.bid, event.bid_size) == (5698.4, 1.01234567)
    assert (event.ask, event.ask_size) == (5700.0, 0.98765432)
    assert event.event_ns == 1542057299545897000
    empty = [0, ["0.0", "5700.0", "1542057299", "0.0", "1.0"], "spread", "XBT/USD"]
    [event] = read(CODEC, empty)
    assert (event.bid, event.bid_size, event.ask) == (None, None, 5700.0)


def test_a_ticker():
    [event] = read(CODEC, TICKED)
    assert isinstance(event, Ticker)
    assert (event.price, event.bid, event.ask) == (5525.1, 5525.1, 5525.4)
    assert event.volume == 3591.17907851  # of 24 hours; the other is since midnight
    assert event.event_ns is None


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_and_spaces_do_not_matter(message):
    assert read(CODEC, reordered_inside(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


def reordered_inside(message):
    return [reordered(part) if isinstance(part, dict) else part for part in message]


# -- readings -----------------------------------------------------------------------------------


def test_each_pair_is_granted_or_refused_on_its_own():
    assert read(CODEC, status("subscribed")) == Granted((BOOK,))
    assert read(CODEC, status("subscribed", "trade")) == Granted((TRADES,))
    assert read(CODEC, FAILED) == Denied((BOOK,), 0, "Currency pair not supported")
    unknown = FAILED | {"pair": "FOO/BAR"}
    assert read(CODEC, unknown) == Refusal(4, 0, "Currency pair not supported")
    assert read(CODEC, {"event": "error", "errorMessage": "Malformed request", "reqid": 4}) == (
        Refusal(4, 0, "Malformed request")
    )


def test_trap_too_many_messages_end_the_session():
    for message in (
        status("error", errorMessage="Exceeded msg rate", reqid=4),
        {"event": "error", "errorMessage": "Exceeded msg rate", "reqid": 4},
    ):
        assert read(CODEC, message) == Refusal(4, 0, "Exceeded msg rate", limited=True)


def test_heartbeats_pongs_and_the_first_state_say_that_the_venue_is_alive():
    one = KrakenV1Codec({})
    for message in ({"event": "heartbeat"}, {"event": "pong", "reqid": 1}, ONLINE):
        assert read(one, message) == Heartbeat()
    assert read(one, ONLINE | {"status": "maintenance"}) == Status("system maintenance")
    assert read(one, ONLINE) == Status("system online")


@pytest.mark.parametrize(
    "message",
    [
        [0, {}, "ohlc-1", "XBT/USD"],
        [0, {"a": []}, "book-25", "XBT/USD"],
        [[{}], "openOrders", {"sequence": 2}],
        [],
        {"event": "surprise"},
        status("ok"),
    ],
)
def test_what_nobody_asked_for_is_a_stray(message):
    assert isinstance(read(CODEC, message), Stray)


# -- requests -----------------------------------------------------------------------------------


def test_a_frame_asks_for_one_channel_and_depth_of_many_pairs():
    topics = ("book-10:XBT/USD", "trade:XBT/USD", "book-1000:XBT/USD", "book-10:ETH/USD")
    requests = CODEC.subscribe(7, topics)
    assert [(r.id, r.kind, r.topics) for r in requests] == [
        (7, "subscribe", ("book-10:XBT/USD", "book-10:ETH/USD")),
        (8, "subscribe", ("trade:XBT/USD",)),
        (9, "subscribe", ("book-1000:XBT/USD",)),
    ]
    assert json.loads(requests[0].text) == {
        "event": "subscribe",
        "reqid": 7,
        "pair": ["XBT/USD", "ETH/USD"],
        "subscription": {"name": "book", "depth": 10},
    }
    [leave] = CODEC.unsubscribe(3, (BOOK,))
    assert json.loads(leave.text)["event"] == "unsubscribe"
    assert read(CODEC, status("unsubscribed", reqid=3)) == Ack(3)


def test_every_request_is_read_back():
    assert CODEC.setup(1) == []
    requests = CODEC.subscribe(2, (BOOK, TRADES, QUOTES, TICKER))
    asked = [CODEC.asked(request.text) for request in requests]
    assert [a.topics for a in asked] == [(BOOK,), (TRADES,), (QUOTES,), (TICKER,)]
    assert [a.request_id for a in asked] == [2, 3, 4, 5]
    [leave] = CODEC.unsubscribe(9, (BOOK,))
    assert CODEC.asked(leave.text) == Asked("unsubscribe", 9, (BOOK,))
    assert CODEC.asked('{"event":"ping"}') is None
    without_depth = '{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"book"}}'
    assert CODEC.asked(without_depth) == Asked("subscribe", None, (BOOK,))


@pytest.mark.parametrize("text", ["[]", "", "{}", '{"event":1}', "[" * 5000, '"\ud800"'])
def test_a_request_of_no_sense_is_a_decode_error(text):
    with pytest.raises(DecodeError):
        CODEC.asked(text)


def test_the_venue_is_not_asked_for_more_than_it_offers():
    assert CODEC.beat(1) is None
    assert CODEC.once_live(1) is None
    assert CODEC.number("[0]") is None


# -- the traps ----------------------------------------------------------------------------------


def test_trap_bids_and_asks_of_one_change_may_be_two_objects_in_one_array():
    [event] = read(CODEC, CHANGE)
    assert isinstance(event, BookDelta)
    assert event.asks == [(5541.3, 2.507), (5542.5, 0.401)]
    assert event.bids == [(5541.3, 0.0)]
    assert event.texts.checksum == 974942666  # of the last object
    assert event.event_ns == 1534614335345903000  # the newest of its levels
    [event] = read(CODEC, [CHANGE[0], CHANGE[2], CHANGE[1], *CHANGE[3:]])
    assert (len(event.asks), event.texts.checksum) == (2, 974942666)


def test_trap_a_republished_level_is_a_level():
    [event] = read(CODEC, REPUBLISHED)
    assert isinstance(event, BookDelta)
    assert event.asks == [(5541.3, 2.507)]


def test_trap_of_one_price_that_is_named_twice_the_last_counts():
    level = ["5541.30000", "0.00000000", "1534614248.456738"]
    again = ["5541.30000", "1.00000000", "1534614248.456738"]
    stream = BookRunStream(PROFILE.topic("book", "XBT/USD"), lambda _: None, lambda _: None)
    for message in (SNAPSHOT, [0, {"a": [level, again]}, "book-10", "XBT/USD"]):
        [event] = read(CODEC, message)
        stream.offer(event)
    assert stream.proven().best_ask == (5541.3, 1.0)


def test_trap_levels_that_fall_out_of_the_depth_get_no_deletion():
    for depth in DEPTHS:
        spec = PROFILE.topic(f"book.{depth}", "XBT/USD")
        assert (spec.depth, spec.topic) == (depth, f"book-{depth}:XBT/USD")
    assert PROFILE.topic("book", "XBT/USD").depth == 10


def test_trap_the_checksum_comes_with_changes_and_not_with_the_snapshot():
    stream = BookRunStream(PROFILE.topic("book", "XBT/USD"), lambda _: None, lambda _: None)
    [event] = read(CODEC, SNAPSHOT)
    stream.offer(event)
    assert (stream.checks, stream.readable) == (0, True)
    [event] = read(CODEC, CHANGE)  # the document's number belongs to another book
    stream.offer(event)
    assert (stream.checks, stream.failed, stream.readable) == (1, 1, False)


def test_trap_the_venue_may_end_a_subscription_on_its_own():
    reading = read(CODEC, status("unsubscribed"))
    assert isinstance(reading, Shutdown)
    assert BOOK in reading.evidence


def test_the_channels_declare_what_their_numbers_prove():
    book, trades = PROFILE.topic("book", "X"), PROFILE.topic("trades", "X")
    assert (book.numbering, book.snapshot) == (Numbering.NONE, SnapshotFrom.STREAM)
    assert book.checksum is CHECKSUM
    assert (trades.numbering, trades.snapshot) == (Numbering.IDENTITY, None)
    assert PROFILE.topic("bbo", "XBT/USD").topic == QUOTES
    recognise = PROFILE.recogniser()
    assert [recognise(t).channel for t in (BOOK, TRADES, QUOTES, TICKER)] == [
        "book",
        "trades",
        "bbo",
        "ticker",
    ]


# -- hostile input ------------------------------------------------------------------------------


def book_of(*level):
    return [0, {"a": [list(level)]}, "book-10", "XBT/USD"]


@pytest.mark.parametrize(
    "message",
    [
        book_of("-1", "1", "1.0"),
        book_of("1", "-1", "1.0"),
        book_of("NaN", "1", "1.0"),
        book_of("1e999", "1", "1.0"),
        book_of("1", "1" * 40, "1.0"),
        book_of("1", "1"),
        book_of("1", "1", "now"),
        book_of("1", "1", "9" * 40),
        book_of(1, 1, 1),
        [0, {"a": [], "c": "-1"}, "book-10", "XBT/USD"],
        [0, {"a": [], "c": "4294967296"}, "book-10", "XBT/USD"],
        [0, [], "book-10", "XBT/USD"],
        [0, {}, "trade", "XBT/USD"],
        [0, [["1", "1", "1.0", "x", "l", ""]], "trade", "XBT/USD"],
        [0, [["1", "1", "1.0"]], "trade", "XBT/USD"],
        [0, ["1", "2", "3"], "spread", "XBT/USD"],
        [0, {"a": []}, "ticker", "XBT/USD"],
        [0, {}, 1, 2],
        {"status": "online"},
        {"event": 1},
        '{"event":"\ud800"}',
        "",
        "hello",
        "[" * 100_000,
        '{"x":' * 100_000,
        '[0,{"a":' + "[" * 100_000,
    ],
)
def test_what_the_documents_rule_out_is_a_decode_error(message):
    with pytest.raises(DecodeError):
        read(CODEC, message)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(message, junk):
    for path in places_of(message):
        survives_in(CODEC, planted(message, path, junk))


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives_in(CODEC, text)


def test_what_could_not_be_unsubscribed_is_not_refused():
    gone = status("error", errorMessage="Subscription Not Found", reqid=4)
    assert isinstance(read(CODEC, FAILED), Denied)
    assert read(CODEC, gone) == Refusal(4, 0, "Subscription Not Found")
