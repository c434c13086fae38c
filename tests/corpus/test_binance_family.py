"""Recorded traffic of Binance's venues, read by their dialects and followed by our streams.

Every expected number is counted here from the raw text by `Plain`, with nothing of gapless in
between.  ``binance_us`` speaks the dialect of spot.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.corpus.test_corpus import lines

from gapless.core.booksync import QUIET_NS, BookStream
from gapless.core.codec import Stray
from gapless.core.kinds import stream_for
from gapless.core.stream import Moment, Need, Stream
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, Event, Gap, Origin, Resynced, Trade
from gapless.venues._registry import load

SPOT, USDM, COINM = "binance.spot", "binance.usdm", "binance.coinm"


class Capture(NamedTuple):
    """What is known of a capture: counted when it was collected, and by `Plain`."""

    venue: str
    name: str
    snapshots: int  # of books, over REST
    chained: int  # updates that follow another of the same book
    shared: int  # updates after a snapshot whose id a best quote of the symbol shares


CAPTURES = [
    Capture(SPOT, "binance/cryptofeed_binance_20210404", 3, 2685, 0),
    Capture(SPOT, "binance/cryptofeed_binance_20210417", 10, 604, 199),
    Capture(SPOT, "binance/cryptofeed_binance_20210814", 4, 542, 96),
    Capture(SPOT, "binance/cryptofeed_binance_20211012", 4, 173, 26),
    Capture(SPOT, "binance/hftbacktest_spot_btcusdt_20240808", 1, 6494, 1072),
    Capture(SPOT, "binance_us/cryptofeed_binance_us_20210405", 10, 3186, 743),
    Capture(SPOT, "binance_us/cryptofeed_binance_us_20210417", 10, 797, 174),
    Capture(SPOT, "binance_us/cryptofeed_binance_us_20210814", 4, 357, 78),
    Capture(USDM, "binance_futures/cryptofeed_binance_futures_20210417", 4, 1012, 86),
    Capture(USDM, "binance_futures/cryptofeed_binance_futures_20210722", 4, 760, 50),
    Capture(USDM, "binance_futures/collectbf_btcusdt_20220811", 1, 205, 0),
    Capture(USDM, "binance_futures/hftbacktest_usdm_btcusdt_20240808", 1, 6550, 629),
    Capture(COINM, "binance_delivery/cryptofeed_binance_delivery_20210722", 10, 2037, 211),
    Capture(COINM, "binance_delivery/hftbacktest_cm_btcusd_perp_20240808", 1, 44794, 1885),
]
LISTINGS = [
    (SPOT, "binance/cryptofeed_binance_20210417", "symbols", "status"),
    (SPOT, "binance_us/cryptofeed_binance_us_20210814", "symbols", "status"),
    (USDM, "binance_futures/cryptofeed_binance_futures_20210722", "symbols", "status"),
    (COINM, "binance_delivery/cryptofeed_binance_delivery_20210722", "symbols", "contractStatus"),
]
Top = tuple[float, float, float, float]


def book_topic(row: dict[str, Any], books: list[str]) -> str | None:
    """Return the book that a REST row is the snapshot of, or `None` if it is none."""
    if '"lastUpdateId"' not in row["raw"][:40]:
        return None
    if "url" not in row:
        [only] = books
        return only
    [symbol] = parse_qs(urlsplit(row["url"]).query)["symbol"]
    return next((topic for topic in books if topic.startswith(symbol.lower() + "@")), None)


class Plain:
    """What a capture says, read with json and two dicts for each book."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.sent: Counter[str] = Counter()
        self.chained = self.broken = 0
        self.last: dict[str, int] = {}
        self.images: dict[str, Any] = {}
        self.changes: dict[str, list[Any]] = {}
        self.quotes: dict[tuple[str, int], Top] = {}
        self.numbers: dict[str, list[int]] = {}
        for row in rows:
            if row["dir"] == "in" and row["conn"] != "rest":
                self._frame(json.loads(row["raw"]))
        for row in rows:
            if row["conn"] == "rest" and (topic := book_topic(row, list(self.changes))):
                self.images[topic] = json.loads(row["raw"])

    def _frame(self, frame: dict[str, Any]) -> None:
        topic, data = frame["stream"], frame["data"]
        self.sent[topic] += 1
        match topic.partition("@")[2].partition("@")[0]:
            case "depth":
                if topic in self.last:
                    follows = data.get("pu", data["U"] - 1) == self.last[topic]
                    self.chained += follows
                    self.broken += not follows
                self.last[topic] = data["u"]
                self.changes.setdefault(topic, []).append((data["u"], data["b"], data["a"]))
            case "bookTicker":
                best = tuple(float(data[key]) for key in ("b", "B", "a", "A"))
                self.quotes[topic.partition("@")[0], data["u"]] = best
                self.numbers.setdefault(topic, []).append(data["u"])
            case "trade":
                self.numbers.setdefault(topic, []).append(data["t"])
            case "aggTrade":
                self.numbers.setdefault(topic, []).append(data["a"])

    def follow(self, topic: str) -> tuple[dict[float, float], dict[float, float], dict[int, Top]]:
        """Return the book of a topic at its end, and its top at every id that a quote shares."""
        image = self.images[topic]
        bids = {float(price): float(size) for price, size in image["bids"]}
        asks = {float(price): float(size) for price, size in image["asks"]}
        tops: dict[int, Top] = {}
        for last, *changed in self.changes[topic]:
            if last <= image["lastUpdateId"]:
                continue
            for side, entries in zip((bids, asks), changed, strict=True):
                for price, size in entries:
                    side[float(price)] = float(size)
                    if not float(size):
                        del side[float(price)]
            if (topic.partition("@")[0], last) in self.quotes:
                bid, ask = max(bids), min(asks)
                tops[last] = (bid, bids[bid], ask, asks[ask])
        return bids, asks, tops


class Played:
    """The same through dialect and streams, in the order of the capture."""

    def __init__(self, venue: str, rows: list[dict[str, Any]], plain: Plain) -> None:
        profile = load(venue)
        recognise = profile.recogniser()
        self.marks: list[Event] = []
        self.needs: list[Need] = []
        self.numbers: dict[str, list[int]] = {}
        self.tops: dict[str, dict[int, Top]] = {}
        self.strays: Counter[str] = Counter()
        self.streams: dict[str, Stream] = {}
        self._quotes = plain.quotes
        origins: dict[str, Origin] = {}
        start_ns = next(row["ts"] for row in rows if row["ts"] and row["conn"] != "rest")
        for topic in plain.sent:
            spec = recognise(topic)
            if spec is not None:
                assert spec.topic == topic
                origins[topic] = Origin(venue, spec.channel, spec.symbol, topic, "a", 1)
                self.streams[topic] = stream_for(spec, self._emit, self.needs.append)
                self.streams[topic].attach(origins[topic], Moment(start_ns, start_ns))
        codec = profile.codec(origins)
        rest = profile.rest
        assert rest is not None
        now_ns = start_ns
        books = [topic for topic, stream in self.streams.items() if isinstance(stream, BookStream)]
        for row in rows:
            now_ns = row["ts"] or now_ns
            if row["dir"] != "in":
                continue
            if row["conn"] != "rest":
                self._frame(codec.read(row["raw"], now_ns, now_ns), row["raw"])
            elif (topic := book_topic(row, books)) is not None:
                event = rest.read_snapshot(row["raw"].encode(), origins[topic], now_ns, now_ns)
                book = self.streams[topic]
                assert isinstance(book, BookStream)
                book.snapshot(event, start_ns, Moment(now_ns, now_ns))
        for stream in self.streams.values():
            stream.tick(Moment(now_ns + QUIET_NS, now_ns + QUIET_NS))

    def _frame(self, out: Any, raw: str) -> None:
        if isinstance(out, Stray):
            self.strays[json.loads(raw)["stream"]] += 1
            return
        [event] = out
        self.streams[event.origin.topic].offer(event)

    def _emit(self, event: Event) -> None:
        if isinstance(event, Gap | Resynced):
            self.marks.append(event)
        elif isinstance(event, Trade | Bbo):
            assert event.last is not None
            self.numbers.setdefault(event.origin.topic, []).append(event.last)
        elif (event.symbol.lower(), event.last) in self._quotes and isinstance(event, BookDelta):
            stream = self.streams[event.origin.topic]
            assert isinstance(stream, BookStream)
            bid, ask = stream.book.best_bid, stream.book.best_ask
            assert bid is not None
            assert ask is not None
            self.tops.setdefault(event.origin.topic, {})[event.last or 0] = (*bid, *ask)


class Studied(NamedTuple):
    capture: Capture
    plain: Plain
    played: Played


@pytest.fixture(scope="module", params=CAPTURES, ids=[capture.name for capture in CAPTURES])
def studied(request):
    # For the whole module, so that each capture is read once, and let go of after its tests.
    rows = list(lines(request.param.name))
    plain = Plain(rows)
    return Studied(request.param, plain, Played(request.param.venue, rows, plain))


def test_every_capture_is_whole_and_every_snapshot_bridges(studied):
    capture, plain, played = studied
    assert (plain.chained, plain.broken) == (capture.chained, 0)
    assert len(plain.images) == capture.snapshots
    assert played.marks == []
    for topic, stream in played.streams.items():
        assert (stream.gaps, stream.missing, stream.out_of_order) == (0, 0, 0)
        assert stream.dropped == 0
        if isinstance(stream, BookStream):
            assert stream.readable
            assert (stream.stale_snapshots, stream.resyncs) == (0, 0)
            assert stream.newest is not None
            # The snapshot's own if it came after the updates.
            image = plain.images[topic]["lastUpdateId"]
            assert stream.newest.last == max(plain.last[topic], image)
    strange = {topic: sent for topic, sent in plain.sent.items() if topic not in played.streams}
    assert played.strays == strange
    assert all("@kline" in topic for topic in strange)
    assert [need.kind for need in played.needs] == ["snapshot"] * capture.snapshots


def test_every_book_ends_like_a_plain_one_and_has_the_recorded_quotes_on_its_way(studied):
    capture, plain, played = studied
    shared = 0
    for topic in plain.images:
        bids, asks, tops = plain.follow(topic)
        stream = played.streams[topic]
        assert isinstance(stream, BookStream)
        assert dict(stream.proven().bids()) == bids
        assert dict(stream.proven().asks()) == asks
        symbol = topic.partition("@")[0]
        assert all(plain.quotes[symbol, number] == top for number, top in tops.items())
        assert played.tops.get(topic, {}) == tops
        shared += len(tops)
    assert shared == capture.shared


def test_trades_and_quotes_are_delivered_once_and_in_order(studied):
    _, plain, played = studied
    assert plain.numbers
    for topic, numbers in plain.numbers.items():
        if topic.endswith("@bookTicker"):
            assert played.numbers[topic] == sorted(set(numbers))
        else:
            assert played.numbers[topic] == numbers
            assert all(later == one + 1 for one, later in pairwise(numbers))


@pytest.mark.parametrize(("venue", "name", "key", "status"), LISTINGS)
def test_recorded_lists_of_what_is_traded(venue, name, key, status):
    [body] = [row["raw"] for row in lines(name) if "/exchangeInfo" in row.get("url", "")]
    sent = json.loads(body)[key]
    rest = load(venue).rest
    assert rest is not None
    found = rest.read_instruments(body.encode())
    assert [item.symbol for item in found] == [item["symbol"] for item in sent]
    assert [item.base for item in found] == [item["baseAsset"] for item in sent]
    trading = [item["symbol"] for item in sent if item[status] == "TRADING"]
    assert [item.symbol for item in found if item.state == "open"] == trading
    dated = [item["symbol"] for item in sent if "_2" in item["symbol"]]
    assert [item.symbol for item in found if item.kind == "future"] == dated
    assert all((item.expiry_ns is not None) == (item.kind == "future") for item in found)


def test_single_frames_of_futures_find_their_topics_without_an_envelope():
    profile = load(USDM)
    frames = [json.loads(row["raw"]) for row in lines("binance_futures/singles_nautilus")]
    topics = {
        "aggTrade": "aggTrade",
        "trade": "trade",
        "bookTicker": "bookTicker",
        "depthUpdate": "depth@100ms",
        "markPriceUpdate": "markPrice@1s",
        "24hrTicker": "ticker",
    }
    found = set()
    for frame in frames:
        tail = topics.get(frame["e"])
        if tail is None:
            continue
        topic = f"{frame['s'].lower()}@{tail}"
        spec = profile.recogniser()(topic)
        assert spec is not None
        origin = Origin(USDM, spec.channel, spec.symbol, topic, "a", 1)
        [event] = profile.codec({topic: origin}).read(json.dumps(frame), 1, 1)
        assert event.origin is origin
        made_ms = frame["E"] if spec.channel == "ticker" else frame["T"]
        assert event.event_ns == made_ms * 10**6
        found.add(frame["e"])
    assert found == set(topics)


@pytest.mark.parametrize("venue", [SPOT, USDM, COINM, "binance.options"])
@pytest.mark.parametrize(
    "name", ["binance/singles_crypto_msg_parser", "binance_futures/singles_nautilus"]
)
def test_frames_of_a_sister_venue_are_read_or_refused_and_never_worse(venue, name):
    profile = load(venue)
    recognise = profile.recogniser()
    read = 0
    for row in lines(name):
        stream = json.loads(row["raw"]).get("stream", "")
        spec = recognise(stream)
        origins = {}
        if spec is not None:
            origins[stream] = Origin(venue, spec.channel, spec.symbol, stream, "a", 1)
        try:
            profile.codec(origins).read(row["raw"], 1, 1)
        except DecodeError:
            continue
        read += 1
    assert read
