"""Bybit's dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from tests.venues.speech import JUNK, MONO, RECV, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of
from tests.venues.speech import survives as survives_in

from gapless.core.codec import (
    Ack,
    Asked,
    Bundle,
    Denied,
    Granted,
    Heartbeat,
    Refusal,
    Request,
    Stray,
)
from gapless.core.kinds import stream_for
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, SnapshotFrom
from gapless.core.subscriptions import shards
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Gap, Resynced, Ticker, Trade
from gapless.venues._bybit import BybitCodec
from gapless.venues.bybit import PROFILES

SPOT, LINEAR, INVERSE, OPTION = PROFILES
every_market = pytest.mark.parametrize("profile", PROFILES, ids=[p.name for p in PROFILES])
STRIKE = "BTC-6JAN23-17500-C"
BOOK, BEST = "orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT"
TRADES, TICKER = "publicTrade.BTCUSDT", "tickers.BTCUSDT"
COIN, QUOTED = "publicTrade.BTC", f"tickers.{STRIKE}"
TOPICS = {BOOK: "book", BEST: "bbo", TRADES: "trades", TICKER: "ticker"}
CODEC = BybitCodec(origins("bybit.linear", TOPICS))
WITH_TEXTS = BybitCodec(origins("bybit.linear", TOPICS), texts=True)
OPTIONS = BybitCodec(origins("bybit.option", {COIN: "trades", QUOTED: "ticker"}), options=True)

SNAPSHOT = {
    "topic": BOOK,
    "type": "snapshot",
    "ts": 1672304484978,
    "data": {
        "s": "BTCUSDT",
        "b": [["16493.50", "0.006"], ["16493.00", "0.100"]],
        "a": [["16611.00", "0.029"]],
        "u": 18521288,
        "seq": 7961638724,
    },
    "cts": 1672304484976,
}
DELTA = {
    "topic": BOOK,
    "type": "delta",
    "ts": 1687940967466,
    "data": {
        "s": "BTCUSDT",
        "b": [["30247.20", "30.028"], ["30240.00", "0"]],
        "a": [],
        "u": 177400507,
        "seq": 66544703342,
    },
    "cts": 1687940967464,
}
LEVEL1 = {
    "topic": BEST,
    "ts": 1749833472906,
    "type": "snapshot",
    "data": {
        "s": "BTCUSDT",
        "b": [["0.579", "3886.45"]],
        "a": [["0.58", "4043.62"]],
        "u": 1399781,
        "seq": 122620616678,
    },
    "cts": 1749833472901,
}
TRADE = {
    "T": 1672304486865,
    "s": "BTCUSDT",
    "S": "Buy",
    "v": "0.001",
    "p": "16578.50",
    "L": "PlusTick",
    "i": "20f43950-d8dd-5b31-9112-a178eb6023af",
    "BT": False,
    "seq": 1783284617,
}
TRADED = {"topic": TRADES, "type": "snapshot", "ts": 1672304486868, "data": [TRADE]}
OF_COIN = {
    "id": "publicTrade.BTC-3194502-1672304486868",
    "topic": COIN,
    "type": "snapshot",
    "ts": 1672304486868,
    "data": [
        TRADE | {"s": STRIKE, "i": "one", "mP": "7.8", "iP": "16823", "mIv": "0.4", "iv": "0"}
    ],
}
LINEAR_TICKER = {
    "topic": TICKER,
    "type": "snapshot",
    "data": {
        "symbol": "BTCUSDT",
        "tickDirection": "MinusTick",
        "price24hPcnt": "-0.158315",
        "lastPrice": "66666.60",
        "markPrice": "66666.61",
        "indexPrice": "115418.19",
        "openInterest": "492373.72",
        "turnover24h": "4936790807.6521",
        "volume24h": "73191.3870",
        "fundingIntervalHour": "8",
        "nextFundingTime": "1760342400000",
        "fundingRate": "-0.005",
        "bid1Price": "66666.60",
        "bid1Size": "23789.165",
        "ask1Price": "66666.70",
        "ask1Size": "23775.469",
        "preOpenPrice": "",
    },
    "cs": 9532239429,
    "ts": 1760325052630,
}
CHANGED = {
    "topic": TICKER,
    "type": "delta",
    "data": {"symbol": "BTCUSDT", "bid1Price": "66666.50", "bid1Size": "6.054"},
    "cs": 9532239430,
    "ts": 1760325052730,
}
SPOT_TICKER = {
    "topic": TICKER,
    "ts": 1673853746003,
    "type": "snapshot",
    "cs": 2588407389,
    "data": {
        "symbol": "BTCUSDT",
        "lastPrice": "21109.77",
        "highPrice24h": "21426.99",
        "volume24h": "6780.866843",
        "turnover24h": "141946527.22907118",
        "usdIndexPrice": "21120.2400136",
    },
}
OPTION_TICKER = {
    "id": "tickers.BTC-6JAN23-17500-C-2480334983-1672917511074",
    "topic": QUOTED,
    "ts": 1672917511074,
    "data": {
        "symbol": STRIKE,
        "bidPrice": "0",
        "bidSize": "0",
        "bidIv": "0",
        "askPrice": "10",
        "askSize": "5.1",
        "askIv": "0.514",
        "lastPrice": "10",
        "markPrice": "7.86976724",
        "indexPrice": "16823.73",
        "markPriceIv": "0.4896",
        "underlyingPrice": "16815.1",
        "openInterest": "49.85",
        "volume24h": "26.55",
        "delta": "0.047831",
        "gamma": "0.00021453",
        "vega": "0.81351067",
        "theta": "-19.9115368",
        "predictedDeliveryPrice": "0",
    },
    "type": "snapshot",
}
PONGS = [
    {"success": True, "ret_msg": "pong", "conn_id": "0970e817", "op": "ping"},
    {"success": True, "ret_msg": "pong", "conn_id": "465772b1", "req_id": "", "op": "ping"},
    {"args": ["1672916271846"], "op": "pong"},
    {"req_id": "test", "op": "pong", "args": ["1675418560633"], "conn_id": "cfcb4ocsvfriu23r3er0"},
    {"retCode": 0, "retMsg": "OK", "op": "pong", "data": ["1711002002529"], "connId": "c"},
]
ACK = {"success": True, "ret_msg": "", "conn_id": "c", "req_id": "7", "op": "subscribe"}
REFUSED = ACK | {"success": False, "ret_msg": "error:handler not found,topic:orderbook.7.X"}
ALREADY = ACK | {"success": False, "ret_msg": f"error:already subscribed,topic:{BOOK}"}
LISTED = {
    "success": True,
    "conn_id": "aa01fbfffe80af37",
    "data": {"failTopics": [], "successTopics": ["orderbook.100.BTC-6JAN23-18000-C"]},
    "type": "COMMAND_RESP",
}
DATA = [SNAPSHOT, DELTA, LEVEL1, TRADED, LINEAR_TICKER, SPOT_TICKER]
OF_OPTIONS = [OF_COIN, OPTION_TICKER, LISTED]
MESSAGES = [*DATA, CHANGED, *OF_OPTIONS, *PONGS, ACK, REFUSED, ALREADY]


# -- books --------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(CODEC, SNAPSHOT)
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (18521288, 18521288)
    assert event.event_ns == 1672304484976 * 10**6  # the matching engine's time, not the push's
    assert event.bids == [(16493.5, 0.006), (16493.0, 0.1)]
    assert event.asks == [(16611.0, 0.029)]
    assert event.texts is None


def test_the_change_of_a_book():
    [event] = read(CODEC, DELTA)
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (177400507, 177400507)
    assert event.bids == [(30247.2, 30.028), (30240.0, 0.0)]
    assert event.asks == []


def test_the_literal_levels_come_where_they_are_wanted():
    [event] = read(WITH_TEXTS, SNAPSHOT)
    assert event.texts.bids == [("16493.50", "0.006"), ("16493.00", "0.100")]
    assert event.texts.checksum is None
    [event] = read(WITH_TEXTS, DELTA)
    assert event.texts.bids == [("30247.20", "30.028"), ("30240.00", "0")]


def following(profile, codec, topic, channel):
    """Return the stream of a topic, what it emits and what it asks for."""
    events, needs = [], []
    spec = profile.topic(channel, topic.rpartition(".")[2])
    stream = stream_for(spec, events.append, needs.append)
    [origin] = [o for o in origins("bybit.linear", TOPICS).values() if o.topic == topic]
    stream.attach(origin, Moment(MONO, RECV))

    def offer(**fields):
        data = {k: fields.pop(k) for k in ("u", "b", "a") if k in fields}
        base = LEVEL1 if topic == BEST else DELTA
        frame = base | fields | {"data": base["data"] | data}
        for event in codec.read(json.dumps(frame), RECV, MONO):
            stream.offer(event)

    return stream, events, needs, offer


def test_u_1_is_a_snapshot_whatever_the_type_says():
    [event] = read(CODEC, DELTA | {"data": DELTA["data"] | {"u": 1}})
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (1, 1)


def test_a_restarted_service_replaces_the_book_at_once():
    stream, events, needs, offer = following(LINEAR, CODEC, BOOK, "book.50")
    offer(type="snapshot", u=100, b=[["1", "1"]], cts=1000)
    offer(u=101, b=[["2", "1"]], cts=1020)
    offer(u=1, b=[["3", "1"]], cts=1040)
    assert stream.proven().bids() == [(3.0, 1.0)]
    offer(u=2, b=[["4", "1"]], cts=1060)
    assert stream.proven().bids() == [(4.0, 1.0), (3.0, 1.0)]
    kinds = [type(event) for event in events]
    assert kinds == [BookSnapshot, BookDelta, Gap, BookSnapshot, Resynced, BookDelta]
    assert needs == []


def test_a_snapshot_at_any_time_replaces_the_book():
    stream, events, needs, offer = following(LINEAR, CODEC, BOOK, "book.50")
    offer(type="snapshot", u=100, b=[["1", "1"]], cts=1000)
    offer(type="snapshot", u=105, b=[["2", "1"]], cts=1020)
    assert stream.proven().bids() == [(2.0, 1.0)]
    assert [event.first for event in events if isinstance(event, Gap)] == [101]
    assert needs == []


def test_a_hole_in_u_is_a_gap_and_asks_for_a_new_subscription():
    stream, events, needs, offer = following(LINEAR, CODEC, BOOK, "book.50")
    offer(type="snapshot", u=100, b=[["1", "1"]])
    offer(u=103, b=[["2", "1"]])
    [gap] = [event for event in events if isinstance(event, Gap)]
    assert (gap.first, gap.last, gap.missing) == (101, 102, 2)
    assert [need.kind for need in needs] == ["resubscribe"]
    assert not stream.readable


def test_deleting_a_level_that_is_not_there_is_legal():
    stream, _, needs, offer = following(LINEAR, CODEC, BOOK, "book.50")
    offer(type="snapshot", u=100, b=[["1", "1"]])
    offer(u=101, b=[["7", "0"]])
    assert stream.proven().bids() == [(1.0, 1.0)]
    assert needs == []


# -- level 1 ------------------------------------------------------------------------------------


def test_level_1_is_a_best_quote():
    [event] = read(CODEC, LEVEL1)
    assert isinstance(event, Bbo)
    assert (event.first, event.last) == (1399781, 1399781)
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (0.579, 3886.45, 0.58, 4043.62)
    [event] = read(CODEC, LEVEL1 | {"data": LEVEL1["data"] | {"a": []}})
    assert (event.ask, event.ask_size) == (None, None)


def test_level_1_repeats_its_number_every_3_seconds_and_that_is_a_duplicate():
    stream, events, _, offer = following(LINEAR, CODEC, BEST, "bbo")
    for step in range(4):
        offer(u=5, ts=step * 3000, cts=step * 3000)
    offer(u=6, ts=12_500, cts=12_500)
    assert [event.last for event in events] == [5, 6]
    assert (stream.delivered, stream.duplicates) == (2, 3)


def test_a_change_of_level_1_is_refused():
    with pytest.raises(DecodeError, match="level 1"):
        read(CODEC, LEVEL1 | {"type": "delta"})


# -- trades ---------------------------------------------------------------------------------------


def test_trades_have_names_and_no_numbers():
    second = TRADE | {"i": "2290000000068683805", "S": "Sell"}
    one, two = read(CODEC, TRADED | {"data": [TRADE, second]})
    assert isinstance(one, Trade)
    assert (one.id, one.first, one.last) == ("20f43950-d8dd-5b31-9112-a178eb6023af", None, None)
    assert (one.price, one.size, one.side) == (16578.5, 0.001, "buy")
    assert one.event_ns == 1672304486865 * 10**6
    assert (two.id, two.side) == ("2290000000068683805", "sell")
    assert read(CODEC, TRADED | {"data": []}) == []


def test_trades_of_options_come_by_coin_and_each_names_its_option():
    [event] = read(OPTIONS, OF_COIN)
    assert (event.origin.topic, event.symbol, event.id) == (COIN, STRIKE, "one")
    [again] = read(OPTIONS, OF_COIN)
    assert again.origin is event.origin
    spec = OPTION.topic("trades", "BTC")
    assert spec.topic == COIN


# -- tickers --------------------------------------------------------------------------------------


def said(event):
    assert isinstance(event, Ticker)
    skipped = {"origin", "recv_ns", "mono_ns", "event_ns", "first", "last"}
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return {n: value for n, value in fields.items() if n not in skipped and value is not None}


WHOLE = {
    "price": 66666.6,
    "mark": 66666.61,
    "index": 115418.19,
    "bid": 66666.6,
    "ask": 66666.7,
    "volume": 73191.387,
    "open_interest": 492373.72,
    "funding": -0.005,
    "next_funding_ns": 1760342400000 * 10**6,
}


def test_linear_tickers_are_changes_that_are_merged():
    codec = BybitCodec(origins("bybit.linear", TOPICS))
    [event] = read(codec, LINEAR_TICKER)
    assert said(event) == WHOLE
    [event] = read(codec, CHANGED)
    assert said(event) == WHOLE | {"bid": 66666.5}
    assert event.event_ns == 1760325052730 * 10**6
    [event] = read(codec, CHANGED | {"data": {"symbol": "BTCUSDT", "fundingRate": "0.001"}})
    assert said(event) == WHOLE | {"bid": 66666.5, "funding": 0.001}


def test_a_change_before_its_ticker_is_a_stray():
    codec = BybitCodec(origins("bybit.linear", TOPICS))
    assert isinstance(read(codec, CHANGED), Stray)
    read(codec, LINEAR_TICKER)
    codec.unsubscribe(9, (TICKER,))
    assert isinstance(read(codec, CHANGED), Stray)


def test_a_new_ticker_forgets_the_old_one():
    codec = BybitCodec(origins("bybit.linear", TOPICS))
    read(codec, LINEAR_TICKER)
    [event] = read(codec, SPOT_TICKER)
    assert said(event) == {"price": 21109.77, "volume": 6780.866843}


def test_one_connection_s_ticker_is_not_another_s():
    first, second = (BybitCodec(origins("bybit.linear", TOPICS)) for _ in range(2))
    read(first, LINEAR_TICKER)
    assert isinstance(read(second, CHANGED), Stray)


def test_a_future_has_no_funding():
    data = LINEAR_TICKER["data"] | {"nextFundingTime": "", "fundingRate": ""}
    [event] = read(CODEC, LINEAR_TICKER | {"data": data})
    assert (event.funding, event.next_funding_ns) == (None, None)


def test_an_option_s_ticker_has_volatilities_and_greeks():
    [event] = read(OPTIONS, OPTION_TICKER)
    assert said(event) == {
        "price": 10.0,
        "mark": 7.86976724,
        "index": 16823.73,
        "ask": 10.0,
        "volume": 26.55,
        "open_interest": 49.85,
        "underlying": 16815.1,
        "mark_iv": 0.4896,
        "ask_iv": 0.514,
        "delta": 0.047831,
        "gamma": 0.00021453,
        "vega": 0.81351067,
        "theta": -19.9115368,
    }


@pytest.mark.parametrize("message", DATA, ids=range(len(DATA)))
def test_the_order_of_keys_does_not_matter(message):
    assert read(CODEC, reordered(message)) == read(CODEC, message)
    assert read(CODEC, json.dumps(message, indent=2)) == read(CODEC, message)


@pytest.mark.parametrize("message", OF_OPTIONS, ids=range(len(OF_OPTIONS)))
def test_nor_does_it_on_the_options_endpoint(message):
    assert read(OPTIONS, reordered(message)) == read(OPTIONS, message)


# -- requests and readings ----------------------------------------------------------------------


def test_a_subscribe_carries_our_id():
    codec = BybitCodec(origins("bybit.linear", TOPICS))
    [request] = codec.subscribe(7, (BOOK, TRADES))
    assert json.loads(request.text) == {"req_id": "7", "op": "subscribe", "args": [BOOK, TRADES]}
    assert (request.id, request.topics) == (7, (BOOK, TRADES))
    assert codec.asked(request.text) == Asked("subscribe", 7, (BOOK, TRADES))
    [request] = codec.unsubscribe(8, (BOOK,))
    assert codec.asked(request.text) == Asked("unsubscribe", 8, (BOOK,))


def test_a_request_of_a_capture_without_an_id():
    assert CODEC.asked('{"op":"subscribe","args":["tickers.X"]}') == Asked(
        "subscribe", None, ("tickers.X",)
    )
    assert CODEC.asked('{"op":"auth","args":["key",1662350400000,"***"]}') == Asked(
        "login", None, ()
    )
    assert CODEC.asked('{"req_id":"100001","op":"ping"}') is None


@every_market
def test_the_client_pings_every_20_seconds(profile):
    request = profile.codec({}).beat(5)
    assert request == Request(0, "reply", '{"op":"ping"}')
    assert profile.client_beat_ns.value == 20 * 10**9


@pytest.mark.parametrize("pong", PONGS, ids=["spot", "linear", "option", "private", "trade"])
@every_market
def test_a_pong_has_five_shapes(profile, pong):
    assert read(profile.codec({}), pong) == Heartbeat()


def test_an_ack_and_a_refusal_repeat_our_id():
    codec = BybitCodec({})
    assert read(codec, ACK) == Ack(7)
    assert read(codec, REFUSED) == Refusal(7, 0, "error:handler not found,topic:orderbook.7.X")
    assert read(codec, ACK | {"op": "unsubscribe"}) == Ack(7)


def test_an_answer_to_a_capture_s_request_has_no_id():
    assert read(CODEC, ACK | {"req_id": ""}) == Ack(0)
    reading = read(CODEC, {k: v for k, v in REFUSED.items() if k != "req_id"})
    assert isinstance(reading, Refusal)
    assert (reading.request_id, reading.ordered) == (None, False)


def test_one_topic_that_is_subscribed_already_spoils_a_request_and_alone_is_granted():
    codec = BybitCodec(origins("bybit.linear", TOPICS))
    codec.subscribe(7, (BOOK, TRADES))
    assert isinstance(read(codec, ALREADY), Refusal)  # neither was subscribed: ask one by one
    codec.subscribe(8, (BOOK,))
    assert read(codec, ALREADY | {"req_id": "8"}) == Granted((BOOK,))


def test_the_options_endpoint_lists_what_it_granted_and_what_not():
    assert read(OPTIONS, LISTED) == Granted(("orderbook.100.BTC-6JAN23-18000-C",))
    partly = LISTED | {"data": {"failTopics": ["a.b"], "successTopics": ["c.d"]}}
    assert read(OPTIONS, partly) == Bundle((Granted(("c.d",)), Denied(("a.b",), 0, "")))


def test_the_options_endpoint_answers_an_unsubscribe_with_nothing_of_ours():
    [request] = OPTIONS.unsubscribe(9, (QUOTED,))
    assert request.id == 0
    [request] = CODEC.unsubscribe(9, (BOOK,))
    assert request.id == 9


def test_what_nobody_asked_for_is_a_stray():
    assert isinstance(read(CODEC, SNAPSHOT | {"topic": "orderbook.50.ETHUSDT"}), Stray)
    assert isinstance(read(CODEC, {"topic": "kline.1.BTCUSDT", "data": []}), Stray)
    assert isinstance(read(CODEC, {"op": "weather"}), Stray)
    assert isinstance(read(CODEC, {}), Stray)


# -- profiles -----------------------------------------------------------------------------------


def test_there_are_four_markets_and_each_has_its_path():
    assert [p.name for p in PROFILES] == [
        "bybit.spot",
        "bybit.linear",
        "bybit.inverse",
        "bybit.option",
    ]
    for profile in PROFILES:
        [url] = profile.endpoints.value.public
        assert url == f"wss://stream.bybit.com/v5/public/{profile.name.partition('.')[2]}"


@every_market
def test_books_are_dense_with_medium_confidence_and_snapshots_come_from_the_stream(profile):
    [book] = [channel for channel in profile.channels if channel.name == "book"]
    assert book.numbering.value is Numbering.DENSE
    assert book.numbering.confidence == "M"
    assert book.snapshot is not None
    assert book.snapshot.value is SnapshotFrom.STREAM
    assert profile.rest.snapshot("BTCUSDT") is None  # REST cannot repair 50 and 200 levels


def test_the_depths_that_each_market_offers():
    def depths(profile):
        [book] = [channel for channel in profile.channels if channel.name == "book"]
        return [template.split(".")[1] for template in book.topics.values()]

    assert [depths(p) for p in PROFILES] == [["50", "200", "1000"]] * 3 + [["25", "100"]]
    assert [any(c.name == "bbo" for c in p.channels) for p in PROFILES] == [True, True, True, False]


def test_spot_allows_ten_topics_a_request_and_options_2000_a_connection():
    assert [p.topics_per_request.value for p in PROFILES] == [10, None, None, None]
    assert [p.topics_per_connection.value for p in PROFILES] == [None, None, None, 2000]


@every_market
def test_args_have_21_000_characters_at_most_on_a_connection(profile):
    topics = [f"orderbook.100.BTC-6JAN23-{n}-C" for n in range(10_000, 13_000)]
    limit = profile.topic_bytes_per_connection.value
    assert limit == 21_000
    for part in shards(topics, profile.topics_per_connection.value, limit):
        assert len(json.dumps(part, separators=(",", ":"))) <= 21_003


@every_market
def test_every_topic_is_recognised_as_what_it_is(profile):
    recognise = profile.recogniser()
    for channel in profile.every_channel():
        for variant in channel.topics:
            spec = profile.topic(f"{channel.name}.{variant}", "BTC-25JUN27-106000-P-USDT")
            assert recognise(spec.topic) == spec
    assert recognise("kline.1.BTCUSDT") is None
    assert recognise("allLiquidation.BTCUSDT") is None


def test_symbols_are_upper_case():
    assert LINEAR.topic("trades", "btcusdt").topic == TRADES


# -- REST ---------------------------------------------------------------------------------------


def listing(category, **row):
    body = {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"category": category, "nextPageCursor": "", "list": [row]},
    }
    return json.dumps(body).encode()


PERPETUAL = {
    "symbol": "BTCUSDT",
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "settleCoin": "USDT",
}
PUT = {
    "symbol": "BTC-27MAR26-70000-P-USDT",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "optionsType": "Put",
    "launchTime": "1743669649256",
    "deliveryTime": "1774598400000",
}


def test_a_perpetual():
    [perp] = LINEAR.rest.read_instruments(listing("linear", **PERPETUAL))
    assert (perp.symbol, perp.kind, perp.base, perp.quote) == ("BTCUSDT", "perp", "BTC", "USDT")
    assert (perp.settle, perp.state, perp.expiry_ns) == ("USDT", "open", None)
    assert perp.listed_ns == 1585526400000 * 10**6
    delisted = PERPETUAL | {"deliveryTime": "1774598400000"}
    [perp] = LINEAR.rest.read_instruments(listing("linear", **delisted))
    assert perp.expiry_ns is None


def test_an_option_s_strike_is_in_its_name():
    [put] = OPTION.rest.read_instruments(listing("option", **PUT))
    assert (put.kind, put.strike, put.right) == ("option", 70000.0, "put")
    assert put.expiry_ns == 1774598400000 * 10**6
    bare = PUT | {"symbol": "XRP-6JAN23-0.55-C", "optionsType": "Call"}
    [call] = OPTION.rest.read_instruments(listing("option", **bare))
    assert (call.strike, call.right) == (0.55, "call")
    with pytest.raises(DecodeError, match="an option called"):
        OPTION.rest.read_instruments(listing("option", **PUT | {"symbol": "BTC-P"}))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PreLaunch", "listed"),
        ("Trading", "open"),
        ("Delivering", "settling"),
        ("Closed", "gone"),
        ("never heard of", "halted"),
    ],
)
def test_states_of_instruments(status, state):
    [perp] = LINEAR.rest.read_instruments(listing("linear", **PERPETUAL | {"status": status}))
    assert perp.state == state


def test_a_future_expires_and_an_unknown_contract_is_left_out():
    row = PERPETUAL | {"contractType": "InverseFutures", "deliveryTime": "1774598400000"}
    [future] = INVERSE.rest.read_instruments(listing("inverse", **row))
    assert (future.kind, future.expiry_ns) == ("future", 1774598400000 * 10**6)
    odd = PERPETUAL | {"contractType": "Tulip"}
    assert LINEAR.rest.read_instruments(listing("linear", **odd)) == []


def test_what_lists_the_instruments_of_each_market():
    def asked(profile):
        gets = profile.rest.instruments()
        assert all(get.path == "/v5/market/instruments-info" for get in gets)
        assert all(dict(get.query)["limit"] == "1000" for get in gets)
        return [{k: v for k, v in get.query if k != "limit"} for get in gets]

    assert asked(SPOT) == [{"category": "spot"}]
    assert asked(LINEAR) == [
        {"category": "linear"},
        {"category": "linear", "status": "PreLaunch"},
    ]
    assert [query["baseCoin"] for query in asked(OPTION)] == ["BTC", "ETH", "SOL"]


def test_a_listing_goes_on_where_its_page_ends():
    first = LINEAR.rest.instruments()[0]
    body = json.loads(listing("linear", **PERPETUAL))
    assert LINEAR.more_instruments(first, json.dumps(body).encode()) == ()
    body["result"]["nextPageCursor"] = "first%3DA%26last%3DB"  # escaped, as the document shows it
    (second,) = LINEAR.more_instruments(first, json.dumps(body).encode())
    assert second.path == first.path
    assert second.query == (*first.query, ("cursor", "first=A&last=B"))
    body["result"]["nextPageCursor"] = "third"
    (third,) = LINEAR.more_instruments(second, json.dumps(body).encode())
    assert third.query == (*first.query, ("cursor", "third"))
    with pytest.raises(DecodeError):
        LINEAR.more_instruments(first, b"<html>")


def test_trades_cannot_be_asked_for_by_number():
    assert LINEAR.rest.trades(TRADES, "BTCUSDT", 1, 2) is None


def test_an_error_of_rest_is_told_from_data():
    fault = json.dumps({"retCode": 10006, "retMsg": "Too many visits!"}).encode()
    assert LINEAR.rest.read_error(fault) == (10006, "Too many visits!")
    assert LINEAR.rest.read_error(listing("linear", **PERPETUAL)) is None
    assert LINEAR.rest.read_error(b"<html>") is None


# -- hostile input ------------------------------------------------------------------------------


def codec_for(message):
    topics = TOPICS | {COIN: "trades", QUOTED: "ticker"}
    codec = BybitCodec(origins("bybit", topics), texts=True, options=message in OF_OPTIONS)
    read(codec, LINEAR_TICKER)  # so that changes find their ticker
    return codec


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_junk_in_any_place_is_read_or_refused(message, junk):
    for path in places_of(message):
        survives_in(codec_for(message), planted(message, path, junk))


@given(text=mutated(MESSAGES))
def test_mutated_messages_are_read_or_refused(text):
    survives_in(codec_for(None), text)


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_from_rest_is_read_or_refused(junk):
    for message in (listing("linear", **PERPETUAL), listing("option", **PUT)):
        for path in places_of(json.loads(message)):
            body = planted(json.loads(message), path, junk).encode(errors="surrogatepass")
            for reader in (LINEAR.rest.read_instruments, LINEAR.rest.read_error):
                with contextlib.suppress(DecodeError):
                    reader(body)


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_a_hostile_request_in_a_capture_is_read_or_refused(junk):
    request = json.loads(CODEC.subscribe(7, (BOOK,))[0].text)
    for path in places_of(request):
        with contextlib.suppress(DecodeError):
            CODEC.asked(planted(request, path, junk))


@pytest.mark.parametrize("price", ['"NaN"', '"1e400"', '"-inf"', '"1_0"', '" 1"', '"١"', '"0x1"'])
def test_a_number_that_is_none_is_refused(price):
    for message, old in (
        (SNAPSHOT, '"16611.00"'),
        (TRADED, '"16578.50"'),
        (LINEAR_TICKER, '"66666.61"'),
    ):
        with pytest.raises(DecodeError):
            read(CODEC, json.dumps(message).replace(old, price))


def test_many_names_of_options_do_not_grow_without_bound():
    codec = BybitCodec(origins("bybit.option", {COIN: "trades"}), options=True)
    for start in range(0, 60_000, 1000):
        rows = [TRADE | {"s": f"BTC-{start + n}"} for n in range(1000)]
        assert len(read(codec, OF_COIN | {"data": rows})) == 1000
    assert len(codec._names) <= 20_000


def test_what_the_venue_says_is_shown_safely():
    for message in (REFUSED | {"ret_msg": "\x1b[2J" * 999}, SNAPSHOT | {"topic": "\x1b" * 999}):
        shown = str(read(CODEC, message))
        assert "\x1b" not in shown
        assert len(shown) < 2000
