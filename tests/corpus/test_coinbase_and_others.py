"""Recorded traffic of Coinbase, Hyperliquid, dYdX and Deribit, beyond what `test_corpus` follows.

Every expected number is counted here from the raw text, with nothing of gapless in between.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from tests.corpus.test_corpus import rows

from gapless.core.bookimages import BookImageStream
from gapless.core.bookruns import BookRunStream
from gapless.core.codec import Ack, Asked, Bundle, Granted, Heartbeat, Reading, Stray
from gapless.core.counter import ConnectionCounter
from gapless.core.identities import IdentityStream
from gapless.core.kinds import stream_for
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import Moment, Need, Stream
from gapless.events import Event, Gap, Origin, Resynced, Ticker, Trade
from gapless.venues._profile import Profile
from gapless.venues._registry import load

COINBASE = "coinbase/cryptofeed_coinbase_20260809"
HYPERLIQUID = "hyperliquid/hftbacktest_btcusd_20250126"
DYDX = "dydx/cryptofeed_dydx_20210623"
DERIBIT = ["deribit/cryptofeed_deribit_20210405", "deribit/cryptofeed_deribit_20210417"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MARKS = (Gap, Resynced)


class Playback:
    """One session's worth of streams, fed with the frames of a capture."""

    def __init__(self, profile: Profile, wanted: list[tuple[str, str]], now_ns: int) -> None:
        self.events: dict[str, list[Event]] = {}
        self.needs: list[Need] = []
        self.streams: dict[str, Stream] = {}
        self.readings: list[Reading] = []
        origins: dict[str, Origin] = {}
        for channel, symbol in wanted:
            spec = profile.topic(channel, symbol)
            origins[spec.topic] = Origin(spec.venue, spec.channel, symbol, spec.topic, "a", 1)
            self.events[spec.topic] = []
            sink = self.events[spec.topic].append
            self.streams[spec.topic] = stream_for(spec, sink, self.needs.append)
        self.codec = profile.codec(origins)
        for topic, stream in self.streams.items():
            stream.attach(origins[topic], Moment(now_ns, now_ns))

    def frame(self, text: str, now_ns: int) -> None:
        out = self.codec.read(text, now_ns, now_ns)
        events: list[Event] = out if isinstance(out, list) else []
        if not isinstance(out, list):
            self.readings.append(out)
        if isinstance(out, Bundle):
            events = list(out.events)
        for event in events:
            self.streams[event.origin.topic].offer(event)

    def marks(self) -> list[Event]:
        return [e for events in self.events.values() for e in events if isinstance(e, MARKS)]


def arrived(name: str) -> list[tuple[str, int]]:
    """Return text and time of every WebSocket frame that came in."""
    return [
        (row["raw"], row["ts"])
        for row in rows(name)
        if row["dir"] == "in" and row["conn"] not in {"rest", "meta"}
    ]


def sent(name: str) -> list[str]:
    return [row["raw"] for row in rows(name) if row["dir"] == "out"]


def rest_body(name: str, path: str) -> str:
    return next(r["raw"] for r in rows(name) if r["conn"] == "rest" and path in r["url"])


def unix_us(text: str) -> int:
    """Return microseconds since 1970, by the standard library; further digits are cut."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    parsed = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return (parsed - EPOCH) // timedelta(microseconds=1) + int(fraction[:6].ljust(6, "0"))


# -- Coinbase -----------------------------------------------------------------------------------


PRODUCTS = ["BTC-USD", "ETH-USD"]


@cache
def frames() -> list[Any]:
    return [json.loads(text) for text, _ in arrived(COINBASE) if text]


@cache
def play_coinbase() -> Playback:
    channels = ["book", "trades", "bbo", "ticker"]
    wanted = [(channel, product) for channel in channels for product in PRODUCTS]
    captured = [(text, now_ns) for text, now_ns in arrived(COINBASE) if text]
    playback = Playback(load("coinbase"), wanted, captured[0][1])
    for text, now_ns in captured:
        playback.frame(text, now_ns)
    return playback


def test_coinbase_numbers_every_frame_of_the_connection_and_none_is_missing():
    numbers = [frame["sequence_num"] for frame in frames()]
    assert numbers == list(range(1030))

    codec, counter = load("coinbase").codec({}), ConnectionCounter()
    for text, _ in arrived(COINBASE):
        if text:
            number = codec.number(text)
            assert number is not None
            assert counter.follow(number) is None
    assert (counter.checked, counter.holes, counter.repeats) == (1029, 0, 0)


def test_a_counter_for_each_channel_of_coinbase_would_see_holes_that_are_none():
    last: dict[str, int] = {}
    false_gaps = 0
    for frame in frames():
        before = last.get(frame["channel"])
        false_gaps += before is not None and frame["sequence_num"] != before + 1
        last[frame["channel"]] = frame["sequence_num"]
    assert false_gaps > 300


def test_coinbases_books_end_like_plain_ones_and_uncrossed():
    plain: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
    for frame in frames():
        if frame["channel"] != "l2_data":
            continue
        for part in frame["events"]:
            if part["type"] == "snapshot":
                plain[part["product_id"]] = ({}, {})
            for update in part["updates"]:
                side = plain[part["product_id"]][update["side"] != "bid"]
                side[float(update["price_level"])] = float(update["new_quantity"])
    playback = play_coinbase()
    for product in PRODUCTS:
        bids, asks = ({p: s for p, s in side.items() if s} for side in plain[product])
        assert max(bids) < min(asks)
        stream = playback.streams[f"level2:{product}"]
        assert isinstance(stream, BookRunStream)
        assert dict(stream.proven().bids()) == bids
        assert dict(stream.proven().asks()) == asks
        assert (stream.resyncs, stream.dropped) == (0, 0)
    assert playback.marks() == []
    assert playback.needs == []


def test_coinbases_trades_come_newest_first_and_are_delivered_oldest_first_without_a_hole():
    greeting: dict[str, list[int]] = {}
    live: dict[str, list[int]] = {}
    newest_first = 0
    for frame in frames():
        for part in frame["events"] if frame["channel"] == "market_trades" else []:
            ids = [int(trade["trade_id"]) for trade in part["trades"]]
            newest_first += len(ids) > 1 and ids == sorted(ids, reverse=True)
            into = greeting if part["type"] == "snapshot" else live
            into.setdefault(part["trades"][0]["product_id"], []).extend(ids)
    assert newest_first > 10
    playback = play_coinbase()
    for product in PRODUCTS:
        stream = playback.streams[f"market_trades:{product}"]
        assert isinstance(stream, SequencedStream)
        trades = playback.events[f"market_trades:{product}"]
        ids = [trade.last for trade in trades]
        assert ids == sorted(greeting[product] + live[product])
        assert all(after == before + 1 for before, after in pairwise(ids))
        assert [t.last for t in trades if t.backfilled] == sorted(greeting[product])
        assert stream.gaps == 0


def test_coinbase_names_the_makers_side_of_a_trade():
    """Whoever takes buys at the ask and sells at the bid: the book says who it was."""
    takers: Counter[tuple[str, str]] = Counter()
    top: dict[str, tuple[float, float]] = {}
    playback = Playback(load("coinbase"), [("book", p) for p in PRODUCTS], 0)
    reader = Playback(load("coinbase"), [("trades", p) for p in PRODUCTS], 0)
    for text, now_ns in arrived(COINBASE):
        if '"l2_data"' in text[:40]:
            playback.frame(text, now_ns)
            for product in PRODUCTS:
                stream = playback.streams[f"level2:{product}"]
                assert isinstance(stream, BookRunStream)
                if stream.readable:
                    [(bid, _)], [(ask, _)] = stream.book.bids(1), stream.book.asks(1)
                    top[product] = (bid, ask)
        elif '"market_trades"' in text[:40]:
            out = reader.codec.read(text, now_ns, now_ns)
            for trade in out if isinstance(out, list) else []:
                assert isinstance(trade, Trade)
                if trade.symbol in top and not trade.backfilled:
                    bid, ask = top[trade.symbol]
                    where = "ask" if trade.price >= ask else "bid" if trade.price <= bid else ""
                    takers[where, trade.side] += 1
    assert takers["ask", "sell"] == takers["bid", "buy"] == 0
    assert takers["ask", "buy"] + takers["bid", "sell"] == 71


def test_coinbases_times_are_exact():
    shown: dict[str, list[int]] = {product: [] for product in PRODUCTS}
    for frame in frames():
        for part in frame["events"] if frame["channel"] == "ticker" else []:
            for ticker in part["tickers"]:
                shown[ticker["product_id"]].append(unix_us(frame["timestamp"]))
    playback = play_coinbase()
    for product in PRODUCTS:
        delivered = playback.events[f"ticker:{product}"]
        times = {event.event_ns // 1000 for event in delivered if event.event_ns is not None}
        assert times <= set(shown[product])
        assert len(times) > 50
        assert max(times) == max(shown[product])
    btc = next(f for f in frames() if f["channel"] == "l2_data")
    first = playback.events["level2:BTC-USD"][0]
    assert btc["timestamp"].endswith(".483587501Z")
    assert first.event_ns is not None
    assert first.event_ns % 10**9 == 483587501


def test_coinbase_says_what_is_subscribed_and_beats_once_a_second():
    playback = play_coinbase()
    grants = [r for r in playback.readings if isinstance(r, Granted)]
    assert set(grants[-1].topics) == {
        f"{channel}:{product}"
        for channel in ("level2", "market_trades", "ticker", "bbo")
        for product in PRODUCTS
    }
    beats = sum(frame["channel"] == "heartbeats" for frame in frames())
    assert sum(isinstance(r, Heartbeat) for r in playback.readings) == beats == 25
    candles = sum(frame["channel"] == "candles" for frame in frames())
    assert sum(isinstance(r, Stray) for r in playback.readings) == candles


def test_what_another_client_asked_coinbase_for_is_read():
    codec = load("coinbase").codec({})
    both = tuple(PRODUCTS)
    assert [codec.asked(text) for text in sent(COINBASE)] == [
        Asked("subscribe", None, tuple(f"market_trades:{p}" for p in both)),
        Asked("subscribe", None, ()),  # candles, which we do not read
        Asked("subscribe", None, tuple(f"ticker:{p}" for p in both)),
        Asked("subscribe", None, tuple(f"level2:{p}" for p in both)),
        Asked("setup", None, ()),
    ]


def test_coinbases_products_are_listed_and_those_in_usdc_are_the_aliases_we_think():
    body = rest_body(COINBASE, "/market/products")
    raw = json.loads(body)["products"]
    rest = load("coinbase").rest
    assert rest is not None
    listed = rest.read_instruments(body.encode())
    assert [i.symbol for i in listed] == [p["product_id"] for p in raw]
    assert len(listed) == 920
    assert Counter(i.state for i in listed) == {"open": 912, "gone": 8}
    for product in raw:
        name = product["product_id"]
        if not name.endswith("-USDC"):
            assert product["alias"] == ""
            continue
        codec = load("coinbase").codec(_one("coinbase", "book", f"level2:{name}"))
        part = {"type": "snapshot", "product_id": product["alias"] or name, "updates": []}
        head = {"channel": "l2_data", "timestamp": "2026-08-09T00:00:00Z", "sequence_num": 1}
        out = codec.read(json.dumps(head | {"events": [part]}), 0, 0)
        assert isinstance(out, list)
        assert [event.symbol for event in out] == [name]
        part["product_id"] = name[:-1]
        out = codec.read(json.dumps(head | {"events": [part]}), 0, 0)
        assert isinstance(out, list) == bool(product["alias"])


def _one(venue: str, channel: str, topic: str) -> Mapping[str, Origin]:
    return {topic: Origin(venue, channel, topic.partition(":")[2], topic, "a", 1)}


# -- Hyperliquid --------------------------------------------------------------------------------


def test_hyperliquids_books_and_trades_are_delivered_once_and_in_order():
    profile = load("hyperliquid")
    captured = arrived(HYPERLIQUID)
    playback = Playback(profile, [("book", "BTC"), ("trades", "BTC")], captured[0][1])
    books: list[Any] = []
    trades: list[tuple[int, int]] = []
    greeting = 0
    for text, now_ns in captured:
        playback.frame(text, now_ns)
        frame = json.loads(text)
        if frame["channel"] == "l2Book":
            books.append(frame["data"])
        else:
            greeting = greeting or len(frame["data"])
            trades += [(trade["time"], trade["tid"]) for trade in frame["data"]]
    assert (len(books), len(trades), greeting) == (46, 64, 30)
    assert books[0] == books[1]  # a subscription is greeted with the image of before
    stream = playback.streams["l2Book:BTC"]
    assert isinstance(stream, BookImageStream)
    assert (stream.delivered, stream.duplicates, stream.gaps) == (45, 1, 0)
    for side, levels in enumerate((stream.proven().bids(), stream.proven().asks())):
        assert levels == [(float(x["px"]), float(x["sz"])) for x in books[-1]["levels"][side]]
    named = playback.streams["trades:BTC"]
    assert isinstance(named, IdentityStream)
    delivered = playback.events["trades:BTC"]
    assert [trade.id for trade in delivered] == [f"{time}-{tid}" for time, tid in trades]
    assert [trade.backfilled for trade in delivered] == [True] * 30 + [False] * 34
    assert playback.marks() == []


# -- dYdX ---------------------------------------------------------------------------------------


def test_the_ids_of_dydx_are_out_of_order_by_right_and_give_no_false_gap():
    """The third version is gone; its books looked as those of the fourth do."""
    captured = [(t.replace('"v3_', '"v4_', 1), now_ns) for t, now_ns in arrived(DYDX)]
    ids = [json.loads(text)["message_id"] for text, _ in captured]
    assert len(ids) == 2141
    assert sum(after == before + 1 for before, after in pairwise(ids)) == 2128
    assert sorted(ids) == list(range(2141))  # nothing is missing: each of the 12 is a false gap

    plain: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
    markets = [json.loads(text)["id"] for text in sent(DYDX) if "orderbook" in text]
    playback = Playback(load("dydx"), [("book", m) for m in markets], captured[0][1])
    for text, now_ns in captured:
        assert playback.codec.number(text) is None
        frame = json.loads(text)
        if frame.get("channel") == "v4_orderbook":
            playback.frame(text, now_ns)
            sides = plain.setdefault(frame["id"], ({}, {}))
            for side, name in zip(sides, ("bids", "asks"), strict=True):
                for level in frame["contents"].get(name, []):
                    price, size = (
                        level[:2]
                        if isinstance(level, list)
                        else (
                            level["price"],
                            level["size"],
                        )
                    )
                    side[float(price)] = float(size)
    assert load("dydx").connection_counter.value is None
    assert playback.marks() == []
    assert playback.needs == []
    assert len(markets) == 10
    for market in markets:
        bids, asks = ({p: s for p, s in side.items() if s} for side in plain[market])
        stream = playback.streams[f"v4_orderbook:{market}"]
        assert isinstance(stream, BookRunStream)
        assert dict(stream.proven().bids()) == bids
        assert dict(stream.proven().asks()) == asks


def test_every_first_list_of_dydxs_trades_comes_newest_first():
    lists = [
        [trade["createdAt"] for trade in frame["contents"]["trades"]]
        for frame in (json.loads(text) for text, _ in arrived(DYDX))
        if frame["type"] == "subscribed" and frame["channel"] == "v3_trades"
    ]
    assert len(lists) == 10
    assert all(times == sorted(times, reverse=True) and len(times) == 100 for times in lists)


def test_what_was_asked_of_the_third_version_of_dydx_is_nothing_that_we_know():
    codec = load("dydx").codec({})
    assert {codec.asked(text) for text in sent(DYDX)} == {Asked("subscribe", None, ())}
    assert codec.asked(sent(DYDX)[0].replace("v3_", "v4_")) == Asked(
        "subscribe", None, (f"v4_trades:{json.loads(sent(DYDX)[0])['id']}",)
    )


# -- Deribit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DERIBIT)
def test_deribits_volatilities_are_percent_there_and_fractions_here(name):
    sent_ivs: dict[str, list[tuple[Any, ...]]] = {}
    asked = load("deribit").codec({}).asked(sent(name)[0])
    assert asked is not None
    assert asked.kind == "subscribe"
    assert list(asked.topics) == json.loads(sent(name)[0])["params"]["channels"]
    topics = [topic for topic in asked.topics if topic.startswith("ticker.")]
    origins = {t: Origin("deribit", "ticker", t.split(".")[1], t, "a", 1) for t in topics}
    codec = load("deribit").codec(origins)
    options = 0
    for text, _ in arrived(name):
        params = json.loads(text).get("params", {})
        if params.get("channel") not in origins:
            continue
        data = params["data"]
        [event] = codec.read(text, 0, 0)
        assert isinstance(event, Ticker)
        if "mark_iv" not in data:
            assert event.mark_iv is event.delta is event.underlying is None
            continue
        options += 1
        sent_ivs.setdefault(params["channel"], []).append(data["mark_iv"])
        assert event.mark_iv == data["mark_iv"] / 100
        assert event.bid_iv == (data["bid_iv"] / 100 or None)
        assert event.ask_iv == (data["ask_iv"] / 100 or None)
        assert event.underlying == data["underlying_price"]
        greeks = (event.delta, event.gamma, event.vega, event.theta, event.rho)
        assert greeks == tuple(
            data["greeks"][key] for key in ("delta", "gamma", "vega", "theta", "rho")
        )
        assert (event.price, event.open_interest) == (data["last_price"], data["open_interest"])
    assert options > 0


def test_deribits_instruments_are_listed_with_strike_right_and_expiry():
    body = rest_body(DERIBIT[1], "get_instruments?currency=BTC")
    raw = json.loads(body)["result"]
    rest = load("deribit").rest
    assert rest is not None
    listed = rest.read_instruments(body.encode())
    assert len(listed) == len(raw) > 100
    for item, instrument in zip(raw, listed, strict=True):
        perpetual = item["settlement_period"] == "perpetual"
        assert instrument.symbol == item["instrument_name"]
        assert instrument.kind == ("perp" if perpetual else item["kind"])
        assert (instrument.strike, instrument.right) == (
            item.get("strike"),
            item.get("option_type"),
        )
        expiry_ns = None if perpetual else item["expiration_timestamp"] * 10**6
        assert instrument.expiry_ns == expiry_ns
        assert instrument.listed_ns == item["creation_timestamp"] * 10**6
        assert instrument.state == ("open" if item["is_active"] else "halted")
    assert sum(instrument.kind == "perp" for instrument in listed) == 1


# -- single frames ------------------------------------------------------------------------------


SINGLES = [
    ("coinbase", "coinbase/singles_nautilus", {Stray: 1, Granted: 1, Heartbeat: 1, list: 4}),
    ("coinbase", "coinbase/private_nautilus", {Stray: 1}),
    ("coinbase.exchange", "coinbase/singles_crypto_msg_parser", {list: 4, Stray: 2}),
    ("hyperliquid", "hyperliquid/singles_nautilus", {Stray: 2}),
    ("hyperliquid", "hyperliquid/private_nautilus", {Stray: 1}),
    ("dydx", "dydx/singles_crypto_msg_parser", {Stray: 5}),
    ("dydx", "dydx/private_nautilus", {Stray: 2}),
    ("deribit", "deribit/singles_nautilus", {list: 6, Stray: 3, Ack: 1, "refusal": 1}),
]
SYMBOLS = {
    "coinbase": "BTC-USD",
    "coinbase.exchange": "BTC-USD",
    "hyperliquid": "BTC",
    "dydx": "BTC-USD",
    "deribit": "BTC-PERPETUAL",
}


@pytest.mark.parametrize(("venue", "name", "expected"), SINGLES)
def test_every_single_frame_is_read_or_is_nothing_that_we_asked_for(venue, name, expected):
    profile = load(venue)
    origins: dict[str, Origin] = {}
    for channel in profile.every_channel():
        for variant in channel.topics:
            spec = profile.topic(f"{channel.name}.{variant}", SYMBOLS[venue])
            origins[spec.topic] = Origin(venue, spec.channel, spec.symbol, spec.topic, "a", 1)
    codec = profile.codec(origins)
    found: Counter[object] = Counter()
    for row in rows(name):
        out = codec.read(row["raw"], 0, 0)
        assert out != []
        found[type(out) if type(out) in expected else "refusal"] += 1
    assert found == expected
