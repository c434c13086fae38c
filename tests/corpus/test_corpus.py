"""Recorded traffic of real venues, read by our dialects and followed by our streams.

Every expected number is counted here from the raw text, with nothing of gapless in between.
The captures are not part of this repository: ``GAPLESS_CORPUS`` says where they are.
"""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from gapless.core.booksync import QUIET_NS, BookStream
from gapless.core.codec import Ack, Stray
from gapless.core.images import ImageStream
from gapless.core.sequence import Numbering
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import Moment, Need, Stream
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Gap, Origin, Resynced, Trade
from gapless.venues._profile import Profile
from gapless.venues._registry import load

ROOT = Path(
    os.environ.get("GAPLESS_CORPUS") or Path(__file__).parents[2].parent / "shared" / "corpus"
)
BINANCE = [
    ("binance/cryptofeed_binance_20210404", 3),
    ("binance/cryptofeed_binance_20210417", 10),
    ("binance/cryptofeed_binance_20210814", 4),
    ("binance/cryptofeed_binance_20211012", 4),
    ("binance/hftbacktest_spot_btcusdt_20240808", 1),
]
DERIBIT = [
    ("deribit/cryptofeed_deribit_20210405", 177),
    ("deribit/cryptofeed_deribit_20210417", 46),
]
HFT = "binance/hftbacktest_spot_btcusdt_20240808"
SINGLES = [
    ("deribit", "deribit/singles_nautilus"),
    ("deribit", "deribit/private_gct"),
    ("deribit", "deribit/private_nautilus"),
    ("binance.spot", "binance/singles_crypto_msg_parser"),
    ("binance.spot", "binance/private_gct"),
    ("binance.spot", "binance/private_jkorf"),
    ("binance.spot", "binance/private_nautilus"),
]
SUFFIXES = {
    "aggTrade": "trades.agg",
    "trade": "trades.raw",
    "depth@100ms": "book.100ms",
    "depth": "book.1000ms",
    "bookTicker": "bbo",
    "ticker": "ticker",
}


@cache
def rows(name: str) -> list[dict[str, Any]]:
    path = ROOT / f"{name}.jsonl.gz"
    if not path.exists():
        words = f"no capture {name} in the corpus; GAPLESS_CORPUS says where it is"
        if os.environ.get("GAPLESS_CORPUS_REQUIRED"):
            pytest.fail(words)
        pytest.skip(words)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [msgspec.json.decode(line) for line in file]


@cache
def frames(name: str) -> list[Any]:
    """Return the content of every WebSocket frame that came in."""
    return [
        msgspec.json.decode(row["raw"])
        for row in rows(name)
        if row["dir"] == "in" and row["conn"] != "rest"
    ]


class Playback:
    """One session's worth of streams, fed with a capture."""

    def __init__(self, profile: Profile, topics: dict[str, tuple[str, str]], now_ns: int) -> None:
        self.profile = profile
        self.events: dict[str, list[Event]] = {topic: [] for topic in topics}
        self.needs: list[Need] = []
        self.streams: dict[str, Stream] = {}
        self.strays = 0
        self.acks: list[Ack] = []
        origins: dict[str, Origin] = {}
        for topic, (channel, symbol) in topics.items():
            spec = profile.topic(channel, symbol)
            assert spec.topic == topic
            origins[topic] = Origin(spec.venue, spec.channel, symbol, topic, "a", 1)
            kind: type[Stream] = ImageStream
            if spec.snapshot is not None:
                kind = BookStream
            elif spec.numbering in {Numbering.DENSE, Numbering.CHAIN}:
                kind = SequencedStream
            self.streams[topic] = kind(spec, self.events[topic].append, self.needs.append)
        self.origins = origins
        self.codec = profile.codec(origins)
        for topic, stream in self.streams.items():
            stream.attach(origins[topic], Moment(now_ns, now_ns))

    def frame(self, text: str, now_ns: int) -> None:
        out = self.codec.read(text, now_ns, now_ns)
        if isinstance(out, list):
            for event in out:
                self.streams[event.origin.topic].offer(event)
        elif isinstance(out, Stray):
            self.strays += 1
        else:
            assert isinstance(out, Ack)
            self.acks.append(out)

    def books(self) -> list[BookStream]:
        return [stream for stream in self.streams.values() if isinstance(stream, BookStream)]

    def marks(self) -> list[Event]:
        return [
            e for events in self.events.values() for e in events if isinstance(e, Gap | Resynced)
        ]


def reference(
    snapshot: tuple[list[Any], list[Any]], changes: list[tuple[list[Any], list[Any]]]
) -> tuple[dict[float, float], dict[float, float]]:
    """Build a book in the plainest way: two dicts, and sizes of 0 remove."""
    sides: list[dict[float, float]] = [{}, {}]
    for levels in (snapshot, *changes):
        for side, entries in zip(sides, levels, strict=True):
            for price, size in entries:
                side[float(price)] = float(size)
                if not float(size):
                    del side[float(price)]
    return sides[0], sides[1]


# -- Deribit ------------------------------------------------------------------------------------


def deribit_topic(topic: str) -> tuple[str, str]:
    channel, symbol, variant = topic.split(".")
    return f"{channel}.{variant}", symbol


def play_deribit(name: str) -> Playback:
    captured = rows(name)
    [request] = [json.loads(row["raw"]) for row in captured if row["dir"] == "out"]
    topics = {topic: deribit_topic(topic) for topic in request["params"]["channels"]}
    start_ns = next(row["ts"] for row in captured if row["dir"] == "out")
    playback = Playback(load("deribit"), topics, start_ns)
    for row in captured:
        if row["dir"] == "in" and row["conn"] != "rest":
            playback.frame(row["raw"], row["ts"])
    return playback


@pytest.mark.parametrize(("name", "chained"), DERIBIT)
def test_every_change_of_deribits_books_follows_the_one_before(name, chained):
    last: dict[str, int] = {}
    met = 0
    for frame in frames(name):
        channel = frame.get("params", {}).get("channel", "")
        if channel.startswith("book."):
            data = frame["params"]["data"]
            met += data.get("prev_change_id") == last.get(channel, -1)
            last[channel] = data["change_id"]
    assert met == chained

    playback = play_deribit(name)
    events = [event for events in playback.events.values() for event in events]
    assert sum(isinstance(event, BookDelta) for event in events) == chained
    assert sum(isinstance(event, BookSnapshot) for event in events) == len(playback.books())
    assert all(book.readable for book in playback.books())
    assert {topic: b.newest.last for topic, b in playback.streams.items() if topic in last} == last
    assert playback.marks() == []
    assert playback.needs == []
    assert playback.strays == 0


@pytest.mark.parametrize(("name", "chained"), DERIBIT)
def test_deribits_books_end_like_plain_ones(name, chained):
    del chained
    levels: dict[str, list[tuple[list[Any], list[Any]]]] = {}
    for frame in frames(name):
        channel = frame.get("params", {}).get("channel", "")
        if channel.startswith("book."):
            data = frame["params"]["data"]
            sides = tuple(
                [(p, 0 if a == "delete" else s) for a, p, s in data[k]] for k in ("bids", "asks")
            )
            levels.setdefault(channel, []).append(sides)
    playback = play_deribit(name)
    for topic, (first, *changes) in levels.items():
        bids, asks = reference(first, changes)
        stream = playback.streams[topic]
        assert isinstance(stream, BookStream)
        assert dict(stream.proven().bids()) == bids
        assert dict(stream.proven().asks()) == asks


@pytest.mark.parametrize(("name", "chained"), DERIBIT)
def test_deribit_granted_what_was_asked_and_every_ticker_is_delivered(name, chained):
    del chained
    playback = play_deribit(name)
    [ack] = playback.acks
    assert ack.topics is not None
    assert set(ack.topics) == set(playback.streams)
    assert ack.server_ns is not None
    tickers = [s for t, s in playback.streams.items() if t.startswith("ticker.")]
    sent = sum(f.get("params", {}).get("channel", "").startswith("ticker.") for f in frames(name))
    assert sum(s.delivered + s.duplicates for s in tickers) == sent
    assert all(s.delivered >= 1 for s in tickers)


# -- Binance Spot -------------------------------------------------------------------------------


def binance_topics(name: str) -> dict[str, tuple[str, str]]:
    topics = {}
    for topic in dict.fromkeys(frame["stream"] for frame in frames(name)):
        symbol, _, suffix = topic.partition("@")
        if suffix in SUFFIXES:
            topics[topic] = (SUFFIXES[suffix], symbol)
    return topics


def snapshot_topic(row: dict[str, Any], topics: dict[str, tuple[str, str]]) -> str | None:
    """Return the book that a REST row is the snapshot of, or `None` if it is none."""
    if '"lastUpdateId"' not in row["raw"][:40]:
        return None
    books = [topic for topic, (channel, _) in topics.items() if channel.startswith("book")]
    if "url" not in row:
        [only] = books
        return only
    [symbol] = parse_qs(urlsplit(row["url"]).query)["symbol"]
    return next((topic for topic in books if topic.startswith(symbol.lower() + "@")), None)


@cache
def play_binance(name: str) -> Playback:
    captured = rows(name)
    topics = binance_topics(name)
    start_ns = next(row["ts"] for row in captured if row["ts"] and row["conn"] != "rest")
    profile = load("binance.spot")
    playback = Playback(profile, topics, start_ns)
    rest = profile.rest
    assert rest is not None
    now_ns = start_ns
    for row in captured:
        now_ns = row["ts"] or now_ns
        if row["dir"] != "in":
            continue
        if row["conn"] != "rest":
            playback.frame(row["raw"], now_ns)
            continue
        topic = snapshot_topic(row, topics)
        if topic is None:
            continue
        stream, origin = playback.streams[topic], playback.origins[topic]
        assert isinstance(stream, BookStream)
        event = rest.read_snapshot(row["raw"].encode(), origin, now_ns, now_ns)
        stream.snapshot(event, start_ns, Moment(now_ns, now_ns))
    for stream in playback.streams.values():
        stream.tick(Moment(now_ns + QUIET_NS, now_ns + QUIET_NS))
    return playback


@pytest.mark.parametrize(("name", "snapshots"), BINANCE)
def test_every_capture_of_binance_is_whole_and_every_snapshot_bridges(name, snapshots):
    topics = binance_topics(name)
    asked = [snapshot_topic(row, topics) for row in rows(name) if row["conn"] == "rest"]
    assert sum(topic is not None for topic in asked) == snapshots
    last: dict[str, int] = {}
    sent: dict[str, int] = {}
    for frame in frames(name):
        topic, data = frame["stream"], frame["data"]
        sent[topic] = sent.get(topic, 0) + 1
        if "@depth" in topic:
            assert topic not in last or data["U"] == last[topic] + 1
            last[topic] = data["u"]

    playback = play_binance(name)
    assert playback.marks() == []
    for topic, stream in playback.streams.items():
        assert (stream.gaps, stream.missing, stream.out_of_order) == (0, 0, 0)
        if isinstance(stream, BookStream):
            assert stream.readable
            assert (stream.stale_snapshots, stream.resyncs) == (0, 0)
            assert stream.newest is not None
            assert stream.newest.last is not None
            assert stream.newest.last >= last[topic]  # more if the snapshot came after the deltas
        assert stream.dropped == 0
    assert playback.strays == sum(n for topic, n in sent.items() if topic not in topics)
    assert [need.kind for need in playback.needs] == ["snapshot"] * snapshots


@pytest.mark.parametrize(("name", "snapshots"), BINANCE)
def test_binances_books_end_like_plain_ones(name, snapshots):
    del snapshots
    topics = binance_topics(name)
    images: dict[str, Any] = {}
    for row in rows(name):
        if row["conn"] == "rest" and (topic := snapshot_topic(row, topics)) is not None:
            images[topic] = json.loads(row["raw"])
    changes: dict[str, list[Any]] = {topic: [] for topic in images}
    for frame in frames(name):
        topic, data = frame["stream"], frame["data"]
        if topic in images and data["u"] > images[topic]["lastUpdateId"]:
            changes[topic].append((data["b"], data["a"]))
    playback = play_binance(name)
    for topic, image in images.items():
        bids, asks = plain_book((image["bids"], image["asks"]), changes[topic])
        stream = playback.streams[topic]
        assert isinstance(stream, BookStream)
        assert dict(stream.proven().bids()) == bids
        assert dict(stream.proven().asks()) == asks


def plain_book(
    snapshot: tuple[list[Any], list[Any]], changes: list[tuple[list[Any], list[Any]]]
) -> tuple[dict[float, float], dict[float, float]]:
    """Like `reference`, but removing a level that is not there is normal on this venue."""
    sides: list[dict[float, float]] = [{}, {}]
    for levels in (snapshot, *changes):
        for side, entries in zip(sides, levels, strict=True):
            side.update((float(price), float(size)) for price, size in entries)
    bids, asks = ({p: s for p, s in side.items() if s} for side in sides)
    return bids, asks


def test_the_rebuilt_top_is_the_recorded_best_quote_at_every_shared_id():
    captured = rows(HFT)
    quotes: dict[int, tuple[float, float, float, float]] = {}
    for frame in frames(HFT):
        if frame["stream"] == "btcusdt@bookTicker":
            quote = frame["data"]
            quotes[quote["u"]] = tuple(float(quote[key]) for key in ("b", "B", "a", "A"))

    # A reference book, from the raw text alone.
    [image] = [json.loads(row["raw"]) for row in captured if row["conn"] == "rest"]
    bids = {float(price): float(size) for price, size in image["bids"]}
    asks = {float(price): float(size) for price, size in image["asks"]}
    shared = equal = 0
    for frame in frames(HFT):
        data = frame["data"]
        if frame["stream"] != "btcusdt@depth@100ms" or data["u"] <= image["lastUpdateId"]:
            continue
        for side, entries in ((bids, data["b"]), (asks, data["a"])):
            for price, size in entries:
                if float(size):
                    side[float(price)] = float(size)
                else:
                    side.pop(float(price), None)
        if data["u"] in quotes:
            bid, ask = max(bids), min(asks)
            shared += 1
            equal += (bid, bids[bid], ask, asks[ask]) == quotes[data["u"]]
    assert (shared, equal) == (1072, 1072)

    # The same through dialect and streams: the top of the stream's book after each event.
    playback = Playback(load("binance.spot"), {"btcusdt@depth@100ms": ("book", "btcusdt")}, 1)
    [stream] = playback.books()
    origin = playback.origins["btcusdt@depth@100ms"]
    rest = playback.profile.rest
    assert rest is not None
    tops: dict[int, tuple[float, float, float, float]] = {}
    emitted = playback.events[origin.topic]
    for row in captured:
        now_ns = row["ts"]
        if row["conn"] == "rest":
            event = rest.read_snapshot(row["raw"].encode(), origin, now_ns, now_ns)
            stream.snapshot(event, now_ns, Moment(now_ns, now_ns))
        elif "@depth" in row["raw"][:40]:
            playback.frame(row["raw"], now_ns)
            if stream.readable and isinstance(emitted[-1], BookDelta):
                best_bid, best_ask = stream.book.best_bid, stream.book.best_ask
                assert best_bid is not None
                assert best_ask is not None
                tops[emitted[-1].last or 0] = (*best_bid, *best_ask)
    both = tops.keys() & quotes.keys()
    assert sum(tops[number] == quotes[number] for number in both) == len(both) == 1072
    assert playback.marks() == []


def test_trades_and_quotes_of_the_long_capture_are_delivered_once_and_in_order():
    playback = play_binance(HFT)
    trades = [event.first for event in playback.events["btcusdt@trade"]]
    numbers = [f["data"]["t"] for f in frames(HFT) if f["stream"] == "btcusdt@trade"]
    assert trades == numbers
    assert sum(later == one + 1 for one, later in pairwise(numbers)) == 19_903
    quotes = [e.last for e in playback.events["btcusdt@bookTicker"] if isinstance(e, Bbo)]
    sent = [f["data"]["u"] for f in frames(HFT) if f["stream"] == "btcusdt@bookTicker"]
    assert quotes == sorted(set(sent))
    assert all(isinstance(event, Trade) for event in playback.events["btcusdt@trade"])


# -- single frames --------------------------------------------------------------------------------


@pytest.mark.parametrize(("venue", "name"), SINGLES)
def test_single_frames_are_read_or_refused_and_never_worse(venue, name):
    codec = load(venue).codec({})
    read = 0
    for row in rows(name):
        try:
            codec.read(row["raw"], 1, 1)
        except DecodeError:
            continue
        read += 1
    assert read


def test_the_documented_frames_of_deribit_are_all_read():
    profile = load("deribit")
    captured = [row["raw"] for row in rows("deribit/singles_nautilus")]
    origins = {}
    for raw in captured:
        topic = json.loads(raw).get("params", {}).get("channel", "")
        if topic.count(".") == 2 and topic.split(".")[0] in {"book", "trades", "ticker"}:
            spec = profile.topic(*deribit_topic(topic))
        elif topic.startswith("quote."):
            spec = profile.topic("bbo", topic.split(".")[1])
        else:
            continue
        assert spec.topic == topic
        origins[topic] = Origin("deribit", spec.channel, spec.symbol, topic, "a", 1)
    codec = profile.codec(origins)
    for raw in captured:
        topic = json.loads(raw).get("params", {}).get("channel", "")
        assert isinstance(codec.read(raw, 1, 1), list) == (topic in origins)
    assert len(origins) >= 4
