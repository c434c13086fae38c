"""dYdX's dialect: messages as documents and server source show them, traps by name."""

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

from gapless.core.codec import (
    Asked,
    Bundle,
    Denied,
    Granted,
    Heartbeat,
    Refusal,
    Status,
    Stray,
)
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError, UsageError
from gapless.events import BookDelta, BookSnapshot, Texts, Ticker, Trade
from gapless.venues.dydx import MARKETS_MAX, PROFILES, DydxCodec, DydxRest

BOOK, TRADES, TICKER = "v4_orderbook:BTC-USD", "v4_trades:BTC-USD", "v4_markets:BTC-USD"
TABLE = {BOOK: "book", TRADES: "trades", TICKER: "ticker"}
LITERAL = DydxCodec(origins("dydx", TABLE), texts=True)
REST = DydxRest()
(PROFILE,) = PROFILES


def codec(**other):
    """Return a fresh codec: it remembers markets."""
    return DydxCodec(origins("dydx", TABLE | other))


CODEC = codec()


def message(kind, channel, contents, number=484, name="BTC-USD"):
    said = {
        "type": kind,
        "connection_id": "ee5a4696-dce8-44ef-8d68-f0e0d0b06160",
        "message_id": number,
        "channel": channel,
        "version": "1.0.0",
        "contents": contents,
    }
    return said if channel == "v4_markets" else said | {"id": name}


def error(text, **other):
    return {"type": "error", "message": text, "connection_id": "x", "message_id": 2} | other


def trade(name, **other):
    return {
        "id": name,
        "size": "0.000100431",
        "price": "27839",
        "side": "BUY",
        "createdAt": "2023-04-04T00:29:19.353Z",
        "createdAtHeight": "49592",
    } | other


SNAPSHOT = message(
    "subscribed",
    "v4_orderbook",
    {
        "bids": [{"price": "28194", "size": "4.764826096"}, {"price": "28193", "size": "0"}],
        "asks": [{"price": "28195", "size": "3.20"}],
    },
)
CHANGE = message("channel_data", "v4_orderbook", {"bids": [["27773", "1.986168516"]]})
BATCH = message(
    "channel_batch_data",
    "v4_orderbook",
    [{"bids": [["27773", "0"]]}, {"asks": [["27774", "5.00", "417769300"]]}],
)
GREETING = message("subscribed", "v4_trades", {"trades": [trade("b"), trade("a", side="SELL")]})
TRADED = message("channel_data", "v4_trades", {"trades": [trade("c"), trade("d")]})
MARKET = {
    "clobPairId": "0",
    "ticker": "BTC-USD",
    "status": "ACTIVE",
    "oraclePrice": "27752.92",
    "volume24H": "63894023.044245577",
    "trades24H": 143820,
    "nextFundingRate": "-0.0000125",
    "openInterest": "1891.473716288",
}
MARKETS = message("subscribed", "v4_markets", {"markets": {"BTC-USD": MARKET, "ETH-USD": MARKET}})
TRADING = message(
    "channel_data", "v4_markets", {"trading": {"BTC-USD": {"nextFundingRate": "0.00006821875"}}}
)
ORACLE = message(
    "channel_data",
    "v4_markets",
    {
        "oraclePrices": {
            "BTC-USD": {
                "oraclePrice": "27753.5",
                "effectiveAt": "2023-04-04T00:29:19.353Z",
                "effectiveAtHeight": "1",
                "marketId": 0,
            }
        }
    },
)
CONNECTED = {"type": "connected", "connection_id": "x", "message_id": 0}
FAILED = error("Internal error, could not fetch data for subscription: v4_orderbook.")
DATA = [CHANGE, BATCH, TRADED]
ANSWERS = [SNAPSHOT, GREETING, MARKETS]
MESSAGES = [*DATA, *ANSWERS, TRADING, ORACLE, CONNECTED, FAILED]


# -- data ---------------------------------------------------------------------------------------


def test_the_answer_is_the_snapshot_of_the_book():
    reading = read(CODEC, SNAPSHOT)
    assert isinstance(reading, Bundle)
    assert reading.readings == (Granted((BOOK,)),)
    [event] = reading.events
    assert isinstance(event, BookSnapshot)
    assert (event.bids, event.asks) == ([(28194.0, 4.764826096)], [(28195.0, 3.2)])
    assert (event.first, event.last, event.event_ns) == (None, None, None)


def test_a_change_may_lack_a_side():
    [event] = read(CODEC, CHANGE)
    assert isinstance(event, BookDelta)
    assert (event.bids, event.asks) == ([(27773.0, 1.986168516)], [])


def test_a_batch_is_several_changes_and_a_third_element_is_passed_over():
    first, second = read(CODEC, BATCH)
    assert (first.bids, first.asks) == ([(27773.0, 0.0)], [])
    assert (second.bids, second.asks) == ([], [(27774.0, 5.0)])


def test_books_carry_their_literal_digits_if_asked():
    [event] = read(LITERAL, SNAPSHOT).events
    assert event.texts == Texts([("28194", "4.764826096")], [("28195", "3.20")])
    _, event = read(LITERAL, BATCH)
    assert event.texts == Texts([], [("27774", "5.00")])


def test_trades_have_names_and_the_takers_side():
    first, second = read(CODEC, TRADED)
    assert isinstance(first, Trade)
    assert (first.id, second.id, first.first, first.backfilled) == ("c", "d", None, False)
    assert (first.price, first.size, first.side) == (27839.0, 0.000100431, "buy")
    assert first.event_ns == 1_680_568_159_353_000_000
    assert PROFILE.topic("trades", "BTC-USD").numbering is Numbering.IDENTITY


def test_a_market_is_remembered_and_its_changes_are_added():
    fresh = codec()
    reading = read(fresh, MARKETS)
    assert reading.readings == (Granted((TICKER,)),)
    [event] = reading.events
    assert isinstance(event, Ticker)
    assert (event.index, event.funding) == (27752.92, -0.0000125)
    assert event.open_interest == 1891.473716288
    [event] = read(fresh, TRADING)
    assert (event.index, event.funding) == (27752.92, 0.00006821875)
    [event] = read(fresh, ORACLE)
    assert (event.index, event.funding) == (27753.5, 0.00006821875)
    assert read(fresh, ORACLE) == []  # nothing that we tell has changed


def test_an_oracle_price_is_read_by_either_name():
    prices = {"oraclePrices": {"BTC-USD": {"price": "1.5"}}}
    [event] = read(codec(), message("channel_data", "v4_markets", prices))
    assert event.index == 1.5


def test_a_change_of_a_market_that_is_not_followed_is_passed_over():
    trading = {"trading": {"ETH-USD": {"openInterest": "1"}}}
    assert read(CODEC, message("channel_data", "v4_markets", trading)) == []


def test_what_is_remembered_has_a_bound():
    class Endless(dict):
        def get(self, topic, default=None):
            del default
            return self.setdefault(topic, origins("dydx", {topic: "ticker"})[topic])

    bounded = DydxCodec(Endless())
    for first in range(0, MARKETS_MAX + 10, 1000):
        trading = {f"M{n}-USD": {"openInterest": "1"} for n in range(first, first + 1000)}
        events = read(bounded, message("channel_data", "v4_markets", {"trading": trading}))
        assert len(events) == 1000
    change = {"trading": {"M0-USD": {"openInterest": "1"}, "M4999-USD": {"openInterest": "1"}}}
    [event] = read(bounded, message("channel_data", "v4_markets", change))
    assert event.origin.topic == "v4_markets:M4999-USD"  # forgotten, so it is told again


@pytest.mark.parametrize("said", [*DATA, *ANSWERS, TRADING])
def test_the_order_of_keys_does_not_matter(said):
    assert read(codec(), reordered(said)) == read(codec(), said)
    assert read(codec(), json.dumps(said, indent=2)) == read(codec(), said)


# -- requests -----------------------------------------------------------------------------------


def test_a_request_asks_for_one_id_without_batches():
    first, second = CODEC.subscribe(7, (BOOK, TRADES))
    assert (first.id, first.topics, second.id) == (7, (BOOK,), 8)
    assert json.loads(first.text) == {
        "type": "subscribe",
        "channel": "v4_orderbook",
        "id": "BTC-USD",
        "batched": False,
    }
    [end] = CODEC.unsubscribe(9, (BOOK,))
    assert (end.id, end.kind) == (0, "unsubscribe")
    assert json.loads(end.text) == {
        "type": "unsubscribe",
        "channel": "v4_orderbook",
        "id": "BTC-USD",
    }


@pytest.mark.parametrize("topic", [BOOK, TRADES])
def test_what_we_ask_for_is_read_back(topic):
    [request] = CODEC.subscribe(1, (topic,))
    assert CODEC.asked(request.text) == Asked("subscribe", None, (topic,))
    [request] = CODEC.unsubscribe(1, (topic,))
    assert CODEC.asked(request.text) == Asked("unsubscribe", None, (topic,))
    assert CODEC.asked('{"type":"ping"}') is None
    with pytest.raises(DecodeError):
        CODEC.asked('{"type":5}')


# -- the traps ----------------------------------------------------------------------------------


def test_trap_message_id_is_out_of_order_and_twice_by_right():
    for number in (21, 3, 22, 22, 2**40):
        [event] = read(CODEC, CHANGE | {"message_id": number})
        assert (event.first, event.last) == (None, None)
        assert CODEC.number(compact(CHANGE | {"message_id": number})) is None
    assert PROFILE.connection_counter.value is None
    assert PROFILE.topic("book", "BTC-USD").numbering is Numbering.NONE


def test_trap_a_crossed_book_is_normal():
    contents = {"bids": [{"price": "2", "size": "1"}], "asks": [{"price": "1", "size": "1"}]}
    [event] = read(CODEC, message("subscribed", "v4_orderbook", contents)).events
    assert (event.bids, event.asks) == ([(2.0, 1.0)], [(1.0, 1.0)])


def test_trap_the_snapshot_race_is_declared():
    book = next(channel for channel in PROFILE.channels if channel.name == "book")
    assert book.snapshot is not None
    assert book.snapshot.value is SnapshotFrom.STREAM
    assert "before the subscription is noted" in book.snapshot.note
    assert any("fetched before the subscription is noted" in trap for trap in PROFILE.traps)


def test_trap_32_subscriptions_of_a_channel_for_each_connection():
    assert PROFILE.topics_per_connection.value == 32
    said = error("Per-connection subscription limit reached for v4_trades (limit=32).")
    reading = read(CODEC, said)
    assert isinstance(reading, Refusal)
    assert (reading.limited, reading.ordered, reading.request_id) == (False, False, None)
    assert isinstance(read(CODEC, said | {"channel": "v4_trades", "id": "BTC-USD"}), Denied)


def test_trap_a_ping_as_json_gets_no_pong():
    assert CODEC.beat(1) is None
    assert PROFILE.client_beat_ns.value is None


def test_trap_the_server_pings_and_waits_10_s():
    assert PROFILE.server_ping_ns.value == 30 * 10**9
    assert PROFILE.pong_within_ns.value == 10 * 10**9


def test_trap_markets_are_one_subscription_without_an_id():
    ether = "v4_markets:ETH-USD"
    fresh = codec(**{ether: "ticker"})
    first, second = fresh.subscribe(3, (TICKER, BOOK, ether))
    assert (first.id, first.topics) == (3, (BOOK,))
    assert (second.id, second.topics) == (4, (TICKER, ether))
    assert json.loads(second.text) == {
        "type": "subscribe",
        "channel": "v4_markets",
        "batched": False,
    }
    assert read(fresh, MARKETS).readings == (Granted((TICKER, ether)),)
    assert fresh.unsubscribe(5, (TICKER,)) == []  # the other still needs it
    [end] = fresh.unsubscribe(5, (ether,))
    assert json.loads(end.text) == {"type": "unsubscribe", "channel": "v4_markets"}


def test_a_market_that_is_not_listed_is_denied():
    fresh = codec(**{"v4_markets:NO-USD": "ticker"})
    granted, denied = read(fresh, MARKETS).readings
    assert granted == Granted((TICKER,))
    assert isinstance(denied, Denied)
    assert denied.topics == ("v4_markets:NO-USD",)


def test_trap_the_first_list_of_trades_comes_newest_first():
    reading = read(CODEC, GREETING)
    assert reading.readings == (Granted((TRADES,)),)
    assert [(t.id, t.side, t.backfilled) for t in reading.events] == [
        ("a", "sell", True),
        ("b", "buy", True),
    ]


def test_trap_an_internal_error_means_to_ask_again_once_for_that_one():
    fresh = codec()
    said = FAILED | {"channel": "v4_orderbook", "id": "BTC-USD"}
    reading = read(fresh, said)
    assert isinstance(reading, Bundle)
    told, beat = reading.readings
    assert isinstance(told, Status)
    assert isinstance(beat, Heartbeat)
    assert beat.reply is not None
    assert fresh.asked(beat.reply.text) == Asked("subscribe", None, (BOOK,))
    assert read(fresh, said) == Denied((BOOK,), 0, FAILED["message"])
    fresh.subscribe(1, (BOOK,))
    assert isinstance(read(fresh, said), Bundle)


def test_an_error_that_names_nothing_is_told_and_concerns_no_request():
    reading = read(CODEC, FAILED)
    assert isinstance(reading, Refusal)
    assert (reading.request_id, reading.ordered, reading.limited) == (None, False, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Invalid subscription id for channel: (v4_orderbook-BTC-USD)",
            Denied((BOOK,), 0, "Invalid subscription id for channel: (v4_orderbook-BTC-USD)"),
        ),
        (
            "Invalid subscribe message: already subscribed (v4_trades-BTC-USD)",
            Granted((TRADES,)),
        ),
        (
            "Invalid subscribe message: already subscribed (v4_markets-v4_markets)",
            Granted((TICKER,)),
        ),
    ],
)
def test_what_an_error_quotes_says_whom_it_concerns(text, expected):
    assert read(CODEC, error(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Too many subscribe attempts for channel v4_trades-BTC-USD. Please  reconnect.",
        "Too many invalid messages. Please reconnect and try again.",
    ],
)
def test_too_much_ends_the_session(text):
    reading = read(CODEC, error(text))
    assert isinstance(reading, Refusal)
    assert reading.limited


def test_there_is_no_best_quote():
    with pytest.raises(UsageError, match="no channel 'bbo'"):
        PROFILE.topic("bbo", "BTC-USD")


# -- REST ---------------------------------------------------------------------------------------


def test_markets_are_listed_with_their_state():
    states = {"A-USD": "ACTIVE", "B-USD": "PAUSED", "C-USD": "FINAL_SETTLEMENT", "D-USD": "NEW"}
    markets = {name: {"ticker": name, "status": state} for name, state in states.items()}
    listed = REST.read_instruments(compact({"markets": markets}).encode())
    assert [item.state for item in listed] == ["open", "halted", "settling", "halted"]
    assert (listed[0].symbol, listed[0].kind) == ("A-USD", "perp")
    assert (listed[0].base, listed[0].quote, listed[0].settle) == ("A", "USD", "USDC")
    assert [request.path for request in REST.instruments()] == ["/v4/perpetualMarkets"]
    with pytest.raises(DecodeError):
        REST.read_instruments(b"[]")


def test_rest_offers_nothing_else():
    assert REST.snapshot("BTC-USD") is None
    assert REST.trades(TRADES, "BTC-USD", 1, 2) is None
    assert REST.read_error(b'{"errors":[{"msg":"no such market"}]}') == (0, "no such market")
    assert REST.read_error(b"no") is None


# -- hostile input ------------------------------------------------------------------------------


def change_of(**contents):
    return message("channel_data", "v4_orderbook", contents)


@pytest.mark.parametrize(
    "data",
    [
        change_of(bids=[["nan", "1"]]),
        change_of(bids=[["1", "-1"]]),
        change_of(bids=[["1e400", "1"]]),
        change_of(bids=[["1"]]),
        change_of(bids=None),
        message("channel_data", "v4_orderbook", []),
        message("channel_batch_data", "v4_orderbook", {}),
        message("subscribed", "v4_orderbook", {"bids": []}),
        message("subscribed", "v4_trades", {}),
        message("subscribed", "v4_markets", {}),
        message("channel_data", "v4_trades", {"trades": [trade("a", side="UP")]}),
        message("channel_data", "v4_trades", {"trades": [trade("a", createdAt="now")]}),
        message("channel_data", "v4_trades", {"trades": [trade("a", size="-1")]}),
        message("channel_data", "v4_trades", {"trades": [trade(5)]}),
        message("channel_data", "v4_markets", {"trading": {"BTC-USD": {"openInterest": "-1"}}}),
        {"type": "channel_data", "channel": "v4_orderbook", "id": "BTC-USD"},
        {"type": "channel_data", "channel": "v4_orderbook", "id": 5},
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


@pytest.mark.parametrize(
    "data",
    [
        message("channel_data", "v4_orderbook", {}, name="ETH-USD"),
        message("subscribed", "v4_trades", {}, name="ETH-USD"),
        message("channel_data", "v4_candles", {}),
        message("channel_data", "v3_orderbook", {}),
        {"type": "unsubscribed", "channel": "v4_orderbook", "id": "BTC-USD"},
        {"type": "surprise"},
        {},
    ],
)
def test_what_nobody_asked_for_is_a_stray(data):
    assert isinstance(read(CODEC, data), Stray)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("said", MESSAGES)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(said, junk):
    for path in places(said):
        survives(CODEC, planted(said, path, junk))
        survives(LITERAL, planted(said, path, junk))


@given(mutated(MESSAGES))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_messages_near_the_documented_ones_are_read_or_refused(text):
    survives(LITERAL, text)
