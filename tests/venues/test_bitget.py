"""Bitget's dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import contextlib
import json
import zlib

import pytest
from hypothesis import given
from tests.venues.speech import (
    JUNK,
    MONO,
    RECV,
    mutated,
    origins,
    planted,
    read,
    reordered,
    survives,
)
from tests.venues.speech import places as places_of

from gapless.core.budget import Budget
from gapless.core.codec import Ack, Asked, Denied, Granted, Heartbeat, Refusal, Request, Stray
from gapless.core.kinds import stream_for
from gapless.core.liveness import PathPolicy
from gapless.core.sequence import Numbering
from gapless.core.session import Confirmed, Live, Refused, Send, Session, SessionTerms, Timing
from gapless.core.stream import Moment, SnapshotFrom
from gapless.core.subscriptions import batches
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Gap, Ticker, Trade
from gapless.venues.bitget import CHECKSUM, PROFILES, BitgetCodec

(PROFILE,) = PROFILES
REST = PROFILE.rest
PERP = "USDT-FUTURES:BTCUSDT"
BOOK, FIVE, BEST = f"books:{PERP}", "books5:BTCUSDT", f"books1:{PERP}"
TRADES, PERP_TRADES = "trade:BTCUSDT", f"trade:{PERP}"
TICKER, PERP_TICKER = "ticker:ETHUSDT", f"ticker:{PERP}"
TOPICS = {
    BOOK: "book",
    FIVE: "book",
    BEST: "bbo",
    TRADES: "trades",
    PERP_TRADES: "trades",
    TICKER: "ticker",
    PERP_TICKER: "ticker",
}
ORIGINS = origins("bitget", TOPICS)
CODEC = BitgetCodec(ORIGINS)
WITH_TEXTS = BitgetCodec(ORIGINS, texts=True)


def arg(topic):
    channel, *market, name = topic.split(":")
    return {"instType": market[0] if market else "SPOT", "channel": channel, "instId": name}


def push(topic, *rows, action="snapshot", **changed):
    return {"action": action, "arg": arg(topic) | changed, "data": list(rows), "ts": 1695716059516}


SNAPSHOT = {
    "asks": [["27000.5", "8.760"], ["27001.0", "0.400"]],
    "bids": [["27000.0", "2.710"], ["26999.5", "1.460"]],
    "seq": 123,
    "pseq": 0,
    "ts": "1695716059516",
}
CHANGE = SNAPSHOT | {"asks": [["27000.5", "0"]], "bids": [], "seq": 124, "pseq": 123}
LEVEL5 = {
    "asks": [["26274.9", "0.0009"], ["26275.0", "0.0500"]],
    "bids": [["26274.8", "0.0009"], ["26274.7", "0.0027"]],
    "seq": 123,
    "ts": "1695710946294",
}
TRADED = [
    {
        "ts": "1695716760565",
        "price": "27000.5",
        "size": "0.001",
        "side": "buy",
        "tradeId": "1111111112",
    },
    {
        "ts": "1695716759514",
        "price": "27000.0",
        "size": "0.001",
        "side": "sell",
        "tradeId": "1111111111",
    },
]
TICKED = {
    "instId": "ETHUSDT",
    "lastPr": "2200.10",
    "open24h": "0.00",
    "high24h": "0.00",
    "low24h": "0.00",
    "change24h": "0.00",
    "bidPr": "1792",
    "askPr": "2200.1",
    "bidSz": "0.0084",
    "askSz": "19740.8811",
    "baseVolume": "0.0000",
    "quoteVolume": "0.0000",
    "openUtc": "0.00",
    "changeUtc24h": "0",
    "ts": "1695702438018",
}
FUNDED = {
    "instId": "BTCUSDT",
    "lastPr": "27000.5",
    "bidPr": "27000",
    "askPr": "27000.5",
    "bidSz": "2.71",
    "askSz": "8.76",
    "open24h": "27000.5",
    "fundingRate": "0.000010",
    "nextFundingTime": "1695722400000",
    "markPrice": "27000.0",
    "indexPrice": "25702.4",
    "holdingAmount": "929.502",
    "baseVolume": "368.900",
    "quoteVolume": "10152429.961",
    "symbolType": 1,
    "symbol": "BTCUSDT",
    "deliveryPrice": "0",
    "ts": "1695715383021",
}
GRANTED = {"event": "subscribe", "arg": arg(BOOK)}
REFUSED = {
    "event": "error",
    "arg": arg(BOOK),
    "code": 30001,
    "msg": "instType:USDT-FUTURES,channel:books,instId:BTCUSDT doesn't exist",
    "op": "subscribe",
}
BARE = {"event": "error", "code": "30005", "msg": "error"}
DATA = [
    push(BOOK, SNAPSHOT),
    push(BOOK, CHANGE, action="update"),
    push(FIVE, LEVEL5),
    push(BEST, SNAPSHOT),
    push(TRADES, *TRADED),
    push(PERP_TRADES, *TRADED, action="update"),
    push(TICKER, TICKED),
    push(PERP_TICKER, FUNDED),
]
MESSAGES = [*DATA, GRANTED, REFUSED, BARE]


# -- books ----------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(CODEC, push(BOOK, SNAPSHOT))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (123, 123)
    assert event.event_ns == 1695716059516 * 10**6
    assert event.bids == [(27000.0, 2.71), (26999.5, 1.46)]
    assert event.asks == [(27000.5, 8.76), (27001.0, 0.4)]
    assert (event.origin.topic, event.texts) == (BOOK, None)


def test_a_change_covers_everything_since_the_push_before():
    [event] = read(CODEC, push(BOOK, CHANGE | {"pseq": 100, "seq": 200}, action="update"))
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (101, 200)
    assert (event.bids, event.asks) == ([], [(27000.5, 0.0)])


def test_numbers_beyond_those_of_a_double_are_kept():
    far = {"pseq": 1483653649371725838, "seq": 1483653649791156272}  # of a coin-margined book
    [event] = read(CODEC, push(BOOK, CHANGE | far, action="update"))
    assert (event.first, event.last) == (1483653649371725839, 1483653649791156272)


def follow(*rows):
    """Send a snapshot and changes through the stream that a feed has; return what became of it."""
    events, needs = [], []
    stream = stream_for(PROFILE.topic("book", PERP), events.append, needs.append)
    stream.attach(ORIGINS[BOOK], Moment(MONO, RECV))
    for number, (prev, seq) in enumerate(rows):
        row = CHANGE | {"pseq": prev, "seq": seq}
        [event] = read(CODEC, push(BOOK, row, action="update" if number else "snapshot"))
        stream.offer(event)
    return stream, events, needs


def test_a_chain_of_pushes_is_whole():
    stream, events, needs = follow((0, 10), (10, 15), (15, 99))
    assert stream.readable
    assert len(events) == 3
    assert needs == []


def test_a_hole_in_the_chain_breaks_the_book_and_asks_for_a_snapshot():
    stream, events, needs = follow((0, 10), (10, 15), (20, 25))
    assert not stream.readable
    [gap] = [event for event in events if isinstance(event, Gap)]
    assert (gap.first, gap.last, gap.missing) == (16, 20, None)
    assert [need.kind for need in needs] == ["resubscribe"]


def test_a_pseq_of_0_in_a_change_proves_nothing_and_breaks_the_book():
    stream, events, needs = follow((0, 10), (10, 15), (0, 20))
    assert not stream.readable
    assert any(isinstance(event, Gap) for event in events)
    assert [need.kind for need in needs] == ["resubscribe"]


def test_a_lower_number_with_a_later_time_breaks_the_book_at_once():
    stream, events, needs = follow((0, 10), (10, 15))
    row = CHANGE | {"pseq": 0, "seq": 3, "ts": str(1695716059516 + 1)}
    [event] = read(CODEC, push(BOOK, row, action="update"))
    stream.offer(event)
    assert not stream.readable
    assert [event.cause for event in events if isinstance(event, Gap)] == ["the venue numbers anew"]
    assert [need.kind for need in needs] == ["resubscribe"]


@pytest.mark.parametrize("lacking", [{"seq": None}, {"pseq": None}, {"seq": None, "pseq": None}])
def test_a_change_without_its_numbers_is_refused(lacking):
    with pytest.raises(DecodeError, match="a change from"):
        read(CODEC, push(BOOK, CHANGE | lacking, action="update"))


def test_a_checksum_of_0_is_none_and_costs_no_texts():
    [event] = read(CODEC, push(BOOK, CHANGE | {"checksum": 0}, action="update"))
    assert event.texts is None
    [event] = read(WITH_TEXTS, push(BOOK, CHANGE | {"checksum": 0}, action="update"))
    assert event.texts.checksum is None
    assert event.texts.asks == [("27000.5", "0")]


@pytest.mark.parametrize(
    ("market", "name", "topic"),
    [
        ("mc", "BTCUSDT", BOOK),
        ("MC", "BTCUSD", "books:COIN-FUTURES:BTCUSD"),
        ("mc", "BTCPERP", "books:USDC-FUTURES:BTCPERP"),
        ("sp", "BTCUSDT", "books:BTCUSDT"),
        ("SP", "BTCUSDT", "books:BTCUSDT"),
    ],
)
def test_a_book_of_2022_has_another_market_s_name_and_a_checksum_for_its_number(
    market, name, topic
):
    codec = BitgetCodec(origins("bitget", {topic: "book"}))
    row = {"asks": [["27000.50", "0"]], "bids": [], "checksum": -1093370704, "ts": "1653935972126"}
    message = push(BOOK, row, action="update", instType=market, instId=name)
    [event] = read(codec, message)
    assert (event.origin.topic, event.first, event.last) == (topic, None, None)
    assert event.texts.checksum == -1093370704
    assert event.texts.asks == [("27000.50", "0")]
    frame = {"op": "subscribe", "args": [message["arg"]]}
    assert codec.asked(json.dumps(frame)) == Asked("subscribe", None, (topic,))


def test_the_checksum_interleaves_25_levels_of_each_side_and_is_signed():
    # Both examples are the document's own.
    full = [("43231.1", "4"), ("43231", "6")], [("43232.8", "9"), ("43232.9", "8")]
    short = [("3366.1", "7")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")]
    for (bids, asks), line in (
        (full, b"43231.1:4:43232.8:9:43231:6:43232.9:8"),
        (short, b"3366.1:7:3366.8:9:3368:8:3372:8"),
    ):
        unsigned = zlib.crc32(line)
        assert CHECKSUM.compute(bids, asks) == unsigned - (2**32 if unsigned >= 2**31 else 0)
    assert CHECKSUM.depth == 25
    assert CHECKSUM.compute([("1", "1")], []) == zlib.crc32(b"1:1") - 2**32


def test_five_and_fifteen_levels_come_whole_every_time():
    [event] = read(CODEC, push(FIVE, LEVEL5))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (123, 123)
    assert event.bids == [(26274.8, 0.0009), (26274.7, 0.0027)]
    [event] = read(WITH_TEXTS, push(FIVE, LEVEL5))
    assert event.texts.asks == [("26274.9", "0.0009"), ("26275.0", "0.0500")]


# -- best quotes, trades, tickers -----------------------------------------------------------------


def test_one_level_is_the_best_quote():
    [event] = read(CODEC, push(BEST, SNAPSHOT))
    assert isinstance(event, Bbo)
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (27000.0, 2.71, 27000.5, 8.76)
    assert (event.first, event.last) == (123, 123)
    [event] = read(CODEC, push(BEST, SNAPSHOT | {"asks": []}))
    assert (event.bid, event.ask, event.ask_size) == (27000.0, None, None)


def test_trades_come_newest_first_and_are_delivered_oldest_first():
    older, newer = read(CODEC, push(PERP_TRADES, *TRADED, action="update"))
    assert isinstance(older, Trade)
    assert (older.id, older.price, older.side) == ("1111111111", 27000.0, "sell")
    assert (newer.id, newer.price, newer.side) == ("1111111112", 27000.5, "buy")
    assert older.event_ns == 1695716759514 * 10**6
    assert (older.first, older.last) == (None, None)


def test_the_greeting_of_trades_is_marked_and_what_follows_is_not():
    assert all(trade.backfilled for trade in read(CODEC, push(TRADES, *TRADED)))
    later = read(CODEC, push(TRADES, *TRADED, action="update"))
    assert not any(trade.backfilled for trade in later)


def test_trades_of_one_moment_keep_the_order_of_the_sweep():
    # A buyer who takes two prices takes the lower one first; recorded in 2022.
    rows = [
        ["1653882567817", "30322.5", "1.117", "buy"],
        ["1653882567817", "30322", "1.566", "buy"],
    ]
    first, second = read(CODEC, push(PERP_TRADES, *rows, action="update", instType="mc"))
    assert (first.price, second.price) == (30322.0, 30322.5)
    assert first.id != second.id


def ticker(message):
    [event] = read(CODEC, message)
    assert isinstance(event, Ticker)
    skipped = {"origin", "recv_ns", "mono_ns", "event_ns", "first", "last"}
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return {n: value for n, value in fields.items() if n not in skipped and value is not None}


def test_the_ticker_of_spot():
    assert ticker(push(TICKER, TICKED)) == {
        "price": 2200.1,
        "bid": 1792.0,
        "ask": 2200.1,
        "volume": 0.0,
    }


FUTURES_TICKER = {
    "price": 27000.5,
    "bid": 27000.0,
    "ask": 27000.5,
    "volume": 368.9,
    "mark": 27000.0,
    "index": 25702.4,
    "open_interest": 929.502,
    "funding": 0.00001,
    "next_funding_ns": 1695722400000 * 10**6,
}


def test_the_ticker_of_a_contract():
    assert ticker(push(PERP_TICKER, FUNDED)) == FUTURES_TICKER


def test_the_names_of_2022_fill_the_same_fields_of_a_ticker():
    old = {
        "last": "27000.50",
        "bestAsk": "27000.5",
        "bestBid": "27000",
        "capitalRate": "0.000010",
        "nextSettleTime": 1695722400000,
        "systemTime": 1695715383021,
        "markPrice": "27000.0",
        "indexPrice": "25702.4",
        "holding": "929.502",
        "baseVolume": "368.900",
    }
    message = push(PERP_TICKER, old, instType="mc")
    assert ticker(message) == FUTURES_TICKER
    assert read(CODEC, message)[0].event_ns == 1695715383021 * 10**6


def test_an_empty_text_is_no_figure_and_an_absurd_one_is_refused():
    empty = FUNDED | {"fundingRate": "", "nextFundingTime": "", "markPrice": ""}
    assert "funding" not in ticker(push(PERP_TICKER, empty))
    with pytest.raises(DecodeError):
        read(CODEC, push(PERP_TICKER, FUNDED | {"markPrice": "1e400"}))


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


# -- requests -------------------------------------------------------------------------------------


def test_a_subscribe_names_objects_each_with_its_market():
    [request] = CODEC.subscribe(7, (BOOK, TICKER))
    assert json.loads(request.text) == {
        "op": "subscribe",
        "args": [
            {"instType": "USDT-FUTURES", "channel": "books", "instId": "BTCUSDT"},
            {"instType": "SPOT", "channel": "ticker", "instId": "ETHUSDT"},
        ],
    }
    assert (request.id, request.topics) == (7, (BOOK, TICKER))
    assert CODEC.asked(request.text) == Asked("subscribe", None, (BOOK, TICKER))


def test_an_unsubscribe_awaits_no_answer_because_none_could_be_told_apart():
    [request] = CODEC.unsubscribe(8, (BOOK,))
    assert request.id == 0
    assert CODEC.asked(request.text) == Asked("unsubscribe", None, (BOOK,))
    assert read(CODEC, GRANTED | {"event": "unsubscribe"}) == Ack(0)


@pytest.mark.parametrize("market", ["", "USDT-FUTURES:", "COIN-FUTURES:"])
@pytest.mark.parametrize("channel", ["books", "books1", "trade", "ticker"])
def test_a_request_of_the_shortest_names_stays_below_4096_bytes(channel, market):
    topics = [f"{channel}:{market}{chr(65 + n % 26)}" for n in range(1000)]
    for batch in batches(topics, PROFILE.topics_per_request.value, PROFILE.request_bytes.value):
        [request] = CODEC.subscribe(1, batch)
        assert len(request.text.encode()) <= 4096


def test_ping_and_pong_are_bare_words():
    assert CODEC.beat(5) == Request(0, "reply", "ping")
    assert read(CODEC, "pong") == Heartbeat()
    assert CODEC.asked("ping") is None
    assert PROFILE.client_beat_ns.value < 120 * 10**9  # then the venue ends the connection


def test_other_requests_of_clients_ask_for_no_topic():
    login = {"op": "login", "args": [{"apiKey": "***", "sign": "***"}]}
    assert CODEC.asked(json.dumps(login)) == Asked("login", None, ())
    assert CODEC.asked('{"op":"trade","args":[]}') is None
    with pytest.raises(DecodeError):
        CODEC.asked("pong")
    assert CODEC.setup(1) == []
    assert CODEC.once_live(1) is None
    assert CODEC.number("pong") is None


# -- answers --------------------------------------------------------------------------------------


def test_every_argument_is_granted_by_itself():
    assert read(CODEC, GRANTED) == Granted((BOOK,))


def test_the_spot_market_may_be_named_and_is_the_same_topic():
    spelled = "books:SPOT:BTCUSDT"
    codec = BitgetCodec(origins("bitget", {spelled: "book"}))
    [request] = codec.subscribe(1, (spelled,))
    answer = {"event": "subscribe", "arg": json.loads(request.text)["args"][0]}
    assert answer["arg"] == {"instType": "SPOT", "channel": "books", "instId": "BTCUSDT"}
    assert read(codec, answer) == Granted((spelled,))
    [event] = read(codec, push("books:BTCUSDT", SNAPSHOT))
    assert event.origin.topic == spelled


def test_an_error_that_repeats_its_argument_refuses_that_topic():
    assert read(CODEC, REFUSED) == Denied((BOOK,), 30001, REFUSED["msg"])


def test_an_error_without_its_argument_refuses_the_oldest_request():
    assert read(CODEC, BARE) == Refusal(None, 30005, "error", ordered=True)


def test_an_error_about_what_is_not_ours_refuses_nothing():
    for message in (REFUSED | {"arg": arg("candle1m:X")}, REFUSED | {"op": "unsubscribe"}):
        reading = read(CODEC, message)
        assert isinstance(reading, Refusal)
        assert (reading.request_id, reading.ordered, reading.limited) == (None, False, False)


@pytest.mark.parametrize("code", [429, 30006, "30007"])
def test_too_many_requests_end_the_session(code):
    reading = read(CODEC, REFUSED | {"code": code})
    assert isinstance(reading, Refusal)
    assert reading.limited


@pytest.mark.parametrize("code", ["", "none", "٣", "9" * 30, "-1"])
def test_a_code_that_is_no_number_is_0(code):
    assert read(CODEC, REFUSED | {"code": code}) == Denied((BOOK,), 0, REFUSED["msg"])


@pytest.mark.parametrize(
    "message",
    [
        push("books:ETHUSDT", SNAPSHOT),
        push("candle1m:BTCUSDT", ["1654077000000", "31682.39"]),
        {"event": "weather"},
        {"table": "swap/trade", "data": []},
        push("trade:COIN-FUTURES:BTCUSDT"),
    ],
)
def test_what_nobody_asked_for_is_a_stray(message):
    assert isinstance(read(CODEC, message), Stray)


# -- a conversation -------------------------------------------------------------------------------


def test_a_session_goes_live_by_answers_without_ids_and_one_bad_topic_costs_no_other():
    topics = (BOOK, TRADES, TICKER)
    codec = BitgetCodec(ORIGINS)
    terms = SessionTerms(
        messages=Budget(*PROFILE.messages.value),
        pools=PROFILE.budgets().pools,
        request_bytes=PROFILE.request_bytes.value,
        beat_ns=PROFILE.client_beat_ns.value,
    )
    session = Session(codec, topics, Timing(), terms, PathPolicy(), "wss://venue")
    session.dial(0)
    [asking] = [effect for effect in session.opened(0) if isinstance(effect, Send)]
    args = json.loads(asking.text)["args"]
    assert len(args) == 3
    effects = []
    for argument, event in zip(args, ("subscribe", "error", "subscribe"), strict=True):
        answer = {"event": event, "arg": argument, "code": 30001, "msg": "none", "op": "subscribe"}
        effects += session.control(read(codec, answer), 1)
    assert [e.topics for e in effects if isinstance(e, Confirmed)] == [(BOOK,), (TICKER,)]
    assert [e.error.topic for e in effects if isinstance(e, Refused)] == [TRADES]
    assert sum(isinstance(effect, Live) for effect in effects) == 1

    again = [json.loads(e.text)["op"] for e in session.resubscribe(BOOK, 2) if isinstance(e, Send)]
    assert again == ["unsubscribe", "subscribe"]
    for event in ("unsubscribe", "subscribe"):
        session.control(read(codec, {"event": event, "arg": arg(BOOK)}), 3)
    assert session.requests.deadline_ns is None  # nothing awaits an answer
    session.heard_ns = 40 * 10**9
    assert Send("ping") in session.tick(40 * 10**9)


# -- the profile ----------------------------------------------------------------------------------


def test_what_each_channel_s_numbers_prove():
    def spec(channel):
        found = PROFILE.topic(channel, PERP)
        return found.topic, found.numbering, found.snapshot

    assert spec("book") == (BOOK, Numbering.CHAIN, SnapshotFrom.STREAM)
    assert spec("book.5") == (f"books5:{PERP}", Numbering.ORDERED, SnapshotFrom.EVERY)
    assert spec("book.15") == (f"books15:{PERP}", Numbering.ORDERED, SnapshotFrom.EVERY)
    assert spec("bbo") == (BEST, Numbering.ORDERED, None)
    assert spec("trades") == (PERP_TRADES, Numbering.IDENTITY, None)
    assert spec("ticker") == (PERP_TICKER, Numbering.NONE, None)


def test_checksums_are_for_recordings_only():
    assert PROFILE.checksum.value is None
    assert PROFILE.topic("book", PERP).checksum is CHECKSUM


def test_300_dials_in_five_minutes():
    dials = PROFILE.budgets().dials
    for each in range(300):
        now_ns = each * 10_000_000  # ten in a tenth of a second are our own limit
        assert dials.wait_ns(now_ns) == 0
        dials.spend(now_ns)
    assert dials.wait_ns(3 * 10**9) == (300 - 3) * 10**9


# -- REST -----------------------------------------------------------------------------------------

PAIR = {
    "symbol": "BTCUSDT",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "minTradeAmount": "0",
    "status": "online",
    "openTime": "1532454360000",
    "offTime": "",
}
CONTRACT = {
    "symbol": "BTCUSDT",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "supportMarginCoins": ["USDT"],
    "symbolType": "perpetual",
    "symbolStatus": "normal",
    "offTime": "-1",
    "deliveryTime": "",
    "launchTime": "",
    "isRwa": "NO",
}


def listed(*rows):
    body = {"code": "00000", "msg": "success", "requestTime": 1695793701269, "data": list(rows)}
    return REST.read_instruments(json.dumps(body).encode())


def test_each_market_is_listed_by_a_request_of_its_own():
    asked = [(get.path, dict(get.query), get.pool) for get in REST.instruments()]
    contracts = "/api/v2/mix/market/contracts"
    assert asked == [
        ("/api/v2/spot/public/symbols", {}, "rest"),
        (contracts, {"productType": "USDT-FUTURES"}, "rest"),
        (contracts, {"productType": "USDC-FUTURES"}, "rest"),
        (contracts, {"productType": "COIN-FUTURES"}, "rest"),
    ]


def test_a_listed_symbol_is_one_that_can_be_subscribed():
    pair, perp = listed(PAIR, CONTRACT)
    assert (pair.symbol, pair.kind, pair.base, pair.quote) == ("BTCUSDT", "spot", "BTC", "USDT")
    assert (perp.symbol, perp.kind, perp.settle) == (PERP, "perp", "USDT")
    assert PROFILE.topic("book", perp.symbol).topic == BOOK


def test_contracts_of_other_markets_are_told_by_what_their_price_is_in():
    usdc, coin, unknown = (
        CONTRACT | {"symbol": "BTCPERP", "quoteCoin": "USDC"},
        CONTRACT | {"symbol": "BTCUSD", "quoteCoin": "USD"},
        CONTRACT | {"symbol": "BTCSUSDT", "quoteCoin": "SUSDT"},
    )
    one, two = listed(usdc, coin, unknown)
    assert (one.symbol, one.settle) == ("USDC-FUTURES:BTCPERP", "USDC")
    assert (two.symbol, two.settle) == ("COIN-FUTURES:BTCUSD", "BTC")


def test_a_delivery_expires_and_a_perpetual_does_not():
    times = {"deliveryTime": "1703836800000", "launchTime": "1695793701269"}
    future, perp = listed(CONTRACT | times | {"symbolType": "delivery"}, CONTRACT | times)
    assert (future.kind, future.expiry_ns) == ("future", 1703836800000 * 10**6)
    assert (perp.kind, perp.expiry_ns) == ("perp", None)
    assert perp.listed_ns == 1695793701269 * 10**6


@pytest.mark.parametrize(
    ("row", "state", "ours"),
    [
        (PAIR, {"status": "online"}, "open"),
        (PAIR, {"status": "gray"}, "open"),
        (PAIR, {"status": "halt"}, "halted"),
        (PAIR, {"status": "offline"}, "gone"),
        (PAIR, {"status": "else"}, "halted"),
        (CONTRACT, {"symbolStatus": "normal"}, "open"),
        (CONTRACT, {"symbolStatus": "limit_open"}, "open"),
        (CONTRACT, {"symbolStatus": "restrictedAPI"}, "open"),
        (CONTRACT, {"symbolStatus": "listed"}, "listed"),
        (CONTRACT, {"symbolStatus": "maintain"}, "halted"),
        (CONTRACT, {"symbolStatus": "off"}, "gone"),
        (CONTRACT, {"symbolStatus": "else"}, "halted"),
    ],
)
def test_each_state_of_the_venue_is_one_of_ours(row, state, ours):
    assert [instrument.state for instrument in listed(row | state)] == [ours]


def test_neither_books_nor_trades_can_be_asked_for_by_number():
    assert REST.snapshot(PERP) is None
    assert REST.trades(TRADES, "BTCUSDT", 1, 2) is None


def test_an_error_body_is_told_from_a_reply():
    assert REST.read_error(b'{"code":"40034","msg":"Parameter does not exist"}') == (
        40034,
        "Parameter does not exist",
    )
    assert REST.read_error(b'{"code":"00000","msg":"success","data":[]}') is None
    assert REST.read_error(b"<html>") is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":[{}]}', b"[" * 100_000])
def test_a_listing_that_is_none_is_refused(body):
    with pytest.raises(DecodeError):
        REST.read_instruments(body)


# -- hostile input --------------------------------------------------------------------------------


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_any_place_is_read_or_refused(junk):
    for message in MESSAGES:
        for path in places_of(message):
            for codec in (CODEC, WITH_TEXTS):
                survives(codec, planted(message, path, junk))


@given(text=mutated(MESSAGES))
def test_mutated_messages_are_read_or_refused(text):
    survives(CODEC, text)
    with contextlib.suppress(DecodeError):
        CODEC.asked(text)
