"""Recorded traffic of Kraken and Bitfinex, read by our dialects and followed by our streams.

Every expected number is counted here from the raw text, or stands in a venue's own document, with
nothing of gapless in between.  ``GAPLESS_CORPUS`` says where the captures are.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gapless.core.bookruns import BookRunStream
from gapless.core.booksync import BookStream
from gapless.core.codec import Ack, Denied, Granted, Heartbeat, Stray
from gapless.core.counter import ConnectionCounter
from gapless.core.kinds import stream_for
from gapless.core.stream import Moment, Need, Stream
from gapless.errors import DecodeError
from gapless.events import (
    BookDelta,
    BookSnapshot,
    Event,
    Gap,
    Origin,
    Resynced,
    Ticker,
    Trade,
)
from gapless.venues._registry import load

ROOT = Path(
    os.environ.get("GAPLESS_CORPUS") or Path(__file__).parents[2].parent / "shared" / "corpus"
)
KRAKEN = "kraken/cryptofeed_kraken_20210417"
INDEX = "kraken/index_v2_ethbtc_20260826"
FUTURES = "kraken_futures/cryptofeed_kraken_futures_20210417"
BITFINEX = "bitfinex/cryptofeed_bitfinex_20210417"
VECTOR = "bitfinex/bfxgo_checksum_vector"


@cache
def rows(name: str) -> list[dict[str, Any]]:
    path = ROOT / f"{name}.jsonl.gz"
    if not path.exists():
        words = f"no capture {name} in the corpus; GAPLESS_CORPUS says where it is"
        if os.environ.get("GAPLESS_CORPUS_REQUIRED"):
            pytest.fail(words)
        pytest.skip(words)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def sent(name: str, direction: str = "in") -> list[dict[str, Any]]:
    """Return the rows of WebSocket frames in one direction."""
    return [r for r in rows(name) if r["dir"] == direction and r["conn"] not in {"rest", "meta"}]


def frames(name: str, **options: Any) -> list[Any]:
    """Return the content of every frame that came in."""
    return [json.loads(row["raw"], **options) for row in sent(name)]


def body(name: str, url: str) -> bytes:
    """Return the body of the REST reply whose address ends so."""
    [found] = [row for row in rows(name) if row.get("url", "").endswith(url)]
    return found["raw"].encode()


class Playback:
    """One session's streams, fed with a capture; topics are those that the frames asked for."""

    def __init__(self, venue: str, name: str, topics: tuple[str, ...] = ()) -> None:
        profile = load(venue)
        recognise = profile.recogniser()
        self.origins: dict[str, Origin] = {}
        self.codec = profile.codec(self.origins)
        self.asked = topics
        for row in sent(name, "out"):
            asked = self.codec.asked(row["raw"])
            assert asked is not None
            self.asked += asked.topics
        self.events: dict[str, list[Event]] = {}
        self.streams: dict[str, Stream] = {}
        self.needs: list[Need] = []
        self.readings: Counter[str] = Counter()
        self.granted: list[str] = []
        self.strays: list[str] = []
        self.counter = ConnectionCounter()
        self.counted = 0
        for topic in self.asked:
            spec = recognise(topic)
            assert spec is not None, topic
            assert spec.topic == topic
            events = self.events.setdefault(topic, [])
            self.origins[topic] = Origin(venue, spec.channel, spec.symbol, topic, "a", 1)
            self.streams[topic] = stream_for(spec, events.append, self.needs.append)
        for row in sent(name):
            self.frame(row["raw"], row["ts"] or 1)

    def frame(self, text: str, now_ns: int) -> None:
        number = self.codec.number(text)
        if number is not None:
            self.counted += 1
            assert self.counter.follow(number) is None
        out = self.codec.read(text, now_ns, now_ns)
        self.readings[type(out).__name__] += 1
        if isinstance(out, list):
            for event in out:
                self.streams[event.origin.topic].offer(event)
        elif isinstance(out, Granted):
            self.granted += out.topics
            for topic in out.topics:
                self.streams[topic].attach(self.origins[topic], Moment(now_ns, now_ns))
        elif isinstance(out, Stray):
            self.strays.append(out.evidence)
        else:
            assert isinstance(out, Heartbeat | Ack)

    def having(self, channel: str) -> list[Stream]:
        return [s for s in self.streams.values() if s.spec.channel == channel]

    def marks(self) -> list[Event]:
        return [e for some in self.events.values() for e in some if isinstance(e, Gap | Resynced)]


# -- Kraken, the older dialect ------------------------------------------------------------------


@cache
def play_kraken() -> Playback:
    return Playback("kraken.v1", KRAKEN)


def plain_kraken() -> tuple[dict[str, tuple[dict[str, str], dict[str, str]]], int]:
    """Follow the books with dicts of text; return them, and how many checksums agree."""
    books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    agreed = 0
    for frame in frames(KRAKEN):
        if not isinstance(frame, list) or not frame[-2].startswith("book"):
            continue
        parts = frame[1:-2]
        if "as" in parts[0]:
            books[frame[-1]] = ({}, {})
        bids, asks = books[frame[-1]]
        for part in parts:
            for side, keys in ((bids, ("bs", "b")), (asks, ("as", "a"))):
                for price, size, *_ in (level for key in keys for level in part.get(key, [])):
                    side[price] = size
                    if not float(size):
                        del side[price]
        for side, falling in ((bids, True), (asks, False)):
            for price in sorted(side, key=float, reverse=falling)[1000:]:
                del side[price]
        best = sorted(asks, key=float)[:10], sorted(bids, key=float, reverse=True)[:10]
        digits = [
            text.replace(".", "").lstrip("0")
            for side, prices in zip((asks, bids), best, strict=True)
            for price in prices
            for text in (price, side[price])
        ]
        checksums = [part["c"] for part in parts if "c" in part]
        agreed += checksums == [str(zlib.crc32("".join(digits).encode()))]
    return books, agreed


def test_every_checksum_of_krakens_older_dialect_agrees():
    changes = [f for f in frames(KRAKEN) if isinstance(f, list) and '"c"' in json.dumps(f[1:-2])]
    changes = [f for f in changes if f[-2].startswith("book")]
    assert len(changes) == 4269
    books, agreed = plain_kraken()
    assert agreed == 4269

    playback = play_kraken()
    streams = playback.having("book")
    assert all(isinstance(stream, BookRunStream) for stream in streams)
    assert sum(s.checks for s in streams if isinstance(s, BookRunStream)) == 4269
    assert sum(s.failed for s in streams if isinstance(s, BookRunStream)) == 0
    assert playback.marks() == []
    assert playback.needs == []
    for stream in streams:
        assert isinstance(stream, BookRunStream)
        bids, asks = books[stream.spec.symbol]
        assert dict(stream.proven().bids()) == {float(p): float(s) for p, s in bids.items()}
        assert dict(stream.proven().asks()) == {float(p): float(s) for p, s in asks.items()}
        assert max(len(stream.book.bids()), len(stream.book.asks())) <= 1000


def test_what_was_asked_of_krakens_older_dialect_was_granted_and_is_delivered():
    playback = play_kraken()
    assert len(playback.asked) == 30
    assert sorted(playback.granted) == sorted(playback.asked)
    assert playback.strays == []
    arrays = [frame for frame in frames(KRAKEN) if isinstance(frame, list)]
    trades = [one for frame in arrays if frame[-2] == "trade" for one in frame[1]]
    delivered = [e for s in playback.having("trades") for e in playback.events[s.spec.topic]]
    assert all(isinstance(event, Trade) for event in delivered)
    assert sorted((e.price, e.size) for e in delivered if isinstance(e, Trade)) == sorted(
        (float(price), float(size)) for price, size, *_ in trades
    )
    tickers = sum(frame[-2] == "ticker" for frame in arrays)
    assert sum(stream.delivered for stream in playback.having("ticker")) == tickers == 18


def test_the_recorded_list_of_krakens_pairs_names_them_in_both_dialects():
    listing = body(KRAKEN, "/AssetPairs")
    named = {p["wsname"] for p in json.loads(listing)["result"].values() if p.get("wsname")}
    newer = {name.replace("XBT", "BTC").replace("XDG", "DOGE") for name in named}
    assert "XBT/USD" in named
    for venue, spelled in (("kraken.v1", named), ("kraken", newer)):
        rest = load(venue).rest
        assert rest is not None
        found = [instrument.symbol for instrument in rest.read_instruments(listing)]
        assert sorted(found) == sorted(spelled)
        assert rest.read_error(listing) is None


# -- Kraken, the newer dialect ------------------------------------------------------------------


def test_both_checksums_of_krakens_newer_dialect_agree():
    playback = Playback("kraken", INDEX, ("book-10:ETH/BTC",))
    assert playback.granted == ["book-10:ETH/BTC"]
    [stream] = playback.having("book")
    assert isinstance(stream, BookRunStream)
    assert (stream.checks, stream.failed) == (2, 0)
    snapshot, update = playback.events["book-10:ETH/BTC"]
    assert isinstance(snapshot, BookSnapshot)
    assert isinstance(update, BookDelta)
    [frame] = [f for f in frames(INDEX, parse_float=str) if f.get("type") == "snapshot"]
    sizes = [(level["price"], level["qty"]) for level in frame["data"][0]["bids"]]
    assert snapshot.texts is not None
    assert snapshot.texts.bids == sizes  # digit by digit, trailing zeros included
    assert playback.marks() == []


# -- Kraken Futures -----------------------------------------------------------------------------


@cache
def play_futures() -> Playback:
    return Playback("kraken.futures", FUTURES)


def test_every_change_of_krakens_futures_books_follows_the_one_before():
    last: dict[str, int] = {}
    met = 0
    books: dict[str, dict[str, dict[float, float]]] = {}
    for frame in frames(FUTURES):
        product = frame.get("product_id")
        if frame.get("feed") == "book_snapshot":
            last[product] = frame["seq"]
            books[product] = {
                key: {level["price"]: level["qty"] for level in frame[key]}
                for key in ("bids", "asks")
            }
        elif frame.get("feed") == "book" and product is not None:
            met += frame["seq"] == last[product] + 1
            last[product] = frame["seq"]
            side = books[product]["bids" if frame["side"] == "buy" else "asks"]
            side[frame["price"]] = frame["qty"]
            if not frame["qty"]:
                del side[frame["price"]]
    assert met == 6528
    assert len(last) == 10

    playback = play_futures()
    streams = playback.having("book")
    assert sum(
        isinstance(e, BookDelta) for s in streams for e in playback.events[s.spec.topic]
    ) == (6528)
    assert playback.marks() == []
    assert playback.needs == []
    for stream in streams:
        assert isinstance(stream, BookStream)
        assert stream.newest is not None
        assert stream.newest.last == last[stream.spec.symbol]
        assert dict(stream.proven().bids()) == books[stream.spec.symbol]["bids"]
        assert dict(stream.proven().asks()) == books[stream.spec.symbol]["asks"]


def test_krakens_futures_greet_with_past_trades_that_the_live_ones_continue():
    playback = play_futures()
    greetings = [f for f in frames(FUTURES) if f.get("feed") == "trade_snapshot"]
    live = [f for f in frames(FUTURES) if f.get("feed") == "trade" and "uid" in f]
    assert (len(greetings), len(live)) == (10, 3)
    for greeting in greetings:
        numbers = [trade["seq"] for trade in greeting["trades"]]
        assert all(one == later + 1 for one, later in pairwise(numbers))  # the newest first
    delivered = [e for s in playback.having("trades") for e in playback.events[s.spec.topic]]
    assert len(delivered) == sum(len(g["trades"]) for g in greetings) + len(live)
    assert sum(isinstance(e, Trade) and e.backfilled for e in delivered) == 1000
    fresh = {e.id for e in delivered if isinstance(e, Trade) and not e.backfilled}
    assert fresh == {frame["uid"] for frame in live}
    assert all(stream.gaps == 0 for stream in playback.having("trades"))


def test_what_was_asked_of_krakens_futures_in_lower_case_was_granted():
    playback = play_futures()
    assert sorted(playback.granted) == sorted(playback.asked)
    assert playback.strays == []
    lite = sum(f.get("feed") == "ticker_lite" and "bid" in f for f in frames(FUTURES))
    assert lite == 541
    assert sum(s.delivered + s.duplicates for s in playback.having("ticker")) == lite
    tickers = [e for s in playback.having("ticker") for e in playback.events[s.spec.topic]]
    assert all(isinstance(e, Ticker) and e.bid and e.ask for e in tickers)


def test_the_recorded_list_of_krakens_futures_products():
    listing = body(FUTURES, "/instruments")
    listed = [
        i["symbol"].upper()
        for i in json.loads(listing)["instruments"]
        if i["type"] == "futures_inverse"
    ]
    rest = load("kraken.futures").rest
    assert rest is not None
    found = {instrument.symbol: instrument for instrument in rest.read_instruments(listing)}
    assert sorted(found) == sorted(listed)
    perp, future = found["PI_XBTUSD"], found["FI_ETHUSD_210625"]
    assert (perp.kind, perp.base, perp.quote, perp.settle) == ("perp", "XBT", "USD", "XBT")
    assert (perp.expiry_ns, perp.state) == (None, "open")
    assert future.kind == "future"
    assert future.expiry_ns == 1624633200 * 10**9  # 2021-06-25T15:00:00Z


# -- Bitfinex -----------------------------------------------------------------------------------


@cache
def play_bitfinex() -> Playback:
    return Playback("bitfinex", BITFINEX)


def test_every_array_of_bitfinex_follows_the_one_before():
    numbers = [frame[-1] for frame in frames(BITFINEX) if isinstance(frame, list)]
    assert numbers[0] == 1
    assert sum(later == one + 1 for one, later in pairwise(numbers)) == 1669 == len(numbers) - 1
    playback = play_bitfinex()
    assert playback.counted == 1670
    assert (playback.counter.checked, playback.counter.holes, playback.counter.repeats) == (
        1669,
        0,
        0,
    )


def test_bitfinexs_books_end_like_plain_ones():
    channels: dict[int, dict[str, Any]] = {}
    books: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
    longest = absent = 0
    for frame in frames(BITFINEX):
        if isinstance(frame, dict):
            if frame["event"] == "subscribed":
                channels[frame["chanId"]] = frame
            continue
        channel = channels.get(frame[0], {})
        if channel.get("channel") != "book" or frame[1] == "hb":
            continue
        entries = frame[1]
        if not entries or isinstance(entries[0], list):
            books[channel["symbol"]] = ({}, {})
        else:
            entries = [entries]
        bids, asks = books[channel["symbol"]]
        for price, count, amount in entries:
            side = bids if amount > 0 else asks
            if count:
                side[price] = abs(amount)
            else:
                absent += side.pop(price, None) is None
        longest = max(longest, len(bids), len(asks))
    # The venue removes what falls out of the length: nothing is left to cut.
    assert (longest, absent) == (100, 0)

    playback = play_bitfinex()
    streams = playback.having("book")
    assert len(streams) == len(books) == 7
    for stream in streams:
        assert isinstance(stream, BookRunStream)
        bids, asks = books[stream.spec.symbol]
        assert dict(stream.proven().bids()) == bids
        assert dict(stream.proven().asks()) == asks
        assert stream.checks == 0  # this client did not ask for checksums
    assert playback.marks() == []


def test_what_was_asked_of_bitfinex_was_granted_and_is_delivered():
    playback = play_bitfinex()
    assert len(playback.asked) == 21
    assert sorted(playback.granted) == sorted(playback.asked)
    assert playback.strays == []
    beats = sum(isinstance(f, list) and f[1] == "hb" for f in frames(BITFINEX))
    events = sum(isinstance(f, dict) and f["event"] in {"info", "conf"} for f in frames(BITFINEX))
    assert playback.readings["Heartbeat"] == beats + events == 44
    past = [e for s in playback.having("trades") for e in playback.events[s.spec.topic]]
    assert all(isinstance(event, Trade) for event in past)
    for stream in playback.having("trades"):
        ids = [int(e.id) for e in playback.events[stream.spec.topic] if isinstance(e, Trade)]
        assert ids == sorted(set(ids))


def test_the_checksum_that_bitfinexs_own_client_tests_with_agrees():
    playback = Playback("bitfinex", VECTOR, ("book-P0-F0-25:tXRPBTC",))
    [stream] = playback.having("book")
    assert isinstance(stream, BookRunStream)
    assert (stream.checks, stream.failed) == (1, 0)
    assert stream.newest is not None
    [checksum] = [f[2] for f in frames(VECTOR) if isinstance(f, list) and f[1] == "cs"]
    assert checksum == -1175357890
    assert any("e-" in row["raw"] for row in sent(VECTOR))  # exponents count as they came
    assert playback.marks() == []


def test_the_recorded_list_of_bitfinexs_pairs():
    listing = body(BITFINEX, "pair:exchange")
    [names] = json.loads(listing)
    rest = load("bitfinex").rest
    assert rest is not None
    found = {instrument.symbol: instrument for instrument in rest.read_instruments(listing)}
    assert sorted(found) == sorted(f"t{name}" for name in names)
    assert (found["tBTCUSD"].base, found["tBTCUSD"].quote) == ("BTC", "USD")
    assert (found["tAAVE:USD"].base, found["tAAVE:USD"].quote) == ("AAVE", "USD")


# -- single frames --------------------------------------------------------------------------------

SINGLES = [
    ("kraken", "kraken/singles_nautilus"),
    ("kraken", "kraken/singles_v2_kraken_async_rs"),
    ("kraken", "kraken/private_v2_kraken_async_rs"),
    ("kraken", "kraken/private_jkorf"),
    ("kraken", "kraken/private_nautilus"),
    ("kraken.v1", "kraken/singles_crypto_msg_parser"),
    ("kraken.v1", "kraken/private_gct"),
    ("kraken.futures", "kraken/singles_nautilus"),
    ("kraken.futures", "kraken/singles_crypto_msg_parser"),
]


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


def test_the_frames_of_krakens_newer_dialect_in_other_clients_tests_are_all_read():
    names = ("book-10", "trade", "ticker", "ticker-bbo")
    topics = {f"{name}:BTC/USD" for name in names}
    channels = {"book-10": "book", "trade": "trades", "ticker": "ticker", "ticker-bbo": "bbo"}
    origins = {
        topic: Origin("kraken", channels[topic.partition(":")[0]], "BTC/USD", topic, "a", 1)
        for topic in topics
    }
    codec = load("kraken").codec(origins)
    data = answers = 0
    for name in ("kraken/singles_nautilus", "kraken/singles_v2_kraken_async_rs"):
        for row in rows(name):
            frame = json.loads(row["raw"])
            if "feed" in frame:
                continue  # of the futures venue
            out = codec.read(row["raw"], 1, 1)
            if frame.get("channel") in {"book", "trade", "ticker"}:
                assert isinstance(out, list)
                assert out
                data += 1
            elif frame.get("channel") in {"level3", "ohlc"}:
                assert isinstance(out, Stray)
            else:
                assert not isinstance(out, list | Denied)
                answers += 1
    assert (data, answers) == (10, 14)


def test_the_frames_of_krakens_other_dialects_in_other_clients_tests_are_all_read():
    for venue in ("kraken.v1", "kraken.futures"):
        recognise = load(venue).recogniser()
        origins: dict[str, Origin] = {}
        codec = load(venue).codec(origins)
        for row in rows("kraken/singles_crypto_msg_parser"):
            frame = json.loads(row["raw"])
            if isinstance(frame, list) and venue == "kraken.v1":
                topic = f"{frame[-2]}:{frame[-1]}"
            elif isinstance(frame, dict) and "feed" in frame and venue == "kraken.futures":
                topic = f"{frame['feed'].removesuffix('_snapshot')}:{frame['product_id']}"
            else:
                continue
            spec = recognise(topic)
            if spec is None:
                assert topic == "ohlc-1:XBT/USD"
                assert isinstance(codec.read(row["raw"], 1, 1), Stray)
                continue
            origins[topic] = Origin(venue, spec.channel, spec.symbol, topic, "a", 1)
            out = codec.read(row["raw"], 1, 1)
            assert isinstance(out, list)
            assert out
        assert len(origins) >= 4


def test_the_frames_of_bitfinex_in_another_clients_tests_are_all_read():
    profile = load("bitfinex")
    recognise = profile.recogniser()
    origins: dict[str, Origin] = {}
    codec = profile.codec(origins)
    data = strays = 0
    for number, row in enumerate(rows("bitfinex/singles_crypto_msg_parser"), start=1):
        channel, *rest = json.loads(row["raw"])
        if not isinstance(channel, dict):
            continue  # the body of a REST reply
        # That client puts what it subscribed to where the venue puts the channel's number.
        text = row["raw"].replace(row["raw"][1 : row["raw"].index("}") + 1], str(number), 1)
        told = {"event": "subscribed", "chanId": number} | channel
        asked = codec.asked(json.dumps(told | {"event": "subscribe"}))
        assert asked is not None
        [topic] = asked.topics
        spec = recognise(topic)
        if spec is None:
            assert channel["channel"] == "candles" or channel["prec"] == "R0"
            assert isinstance(codec.read(json.dumps(told), 1, 1), Stray)
            assert isinstance(codec.read(text, 1, 1), Stray)
            strays += 1
            continue
        origins[topic] = Origin("bitfinex", spec.channel, spec.symbol, topic, "a", 1)
        assert codec.read(json.dumps(told), 1, 1) == Granted((topic,))
        out = codec.read(text, 1, 1)
        assert isinstance(out, list)
        assert out
        assert rest
        data += 1
    assert (data, strays) == (12, 8)
