"""Recorded traffic of real venues, read by our dialects and followed by our streams.

Every expected number is counted here from the raw text, with nothing of gapless in between.
The captures are not part of this repository: ``GAPLESS_CORPUS`` says where they are.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gapless.core.booksync import BookStream
from gapless.core.codec import Ack, Stray
from gapless.core.kinds import stream_for
from gapless.core.stream import Moment, Need, Stream
from gapless.errors import DecodeError
from gapless.events import BookDelta, BookSnapshot, Event, Gap, Origin, Resynced
from gapless.venues._profile import Profile
from gapless.venues._registry import load

ROOT = Path(
    os.environ.get("GAPLESS_CORPUS") or Path(__file__).parents[2].parent / "shared" / "corpus"
)
DERIBIT = [
    ("deribit/cryptofeed_deribit_20210405", 177),
    ("deribit/cryptofeed_deribit_20210417", 46),
]
SINGLES = [
    ("deribit", "deribit/singles_nautilus"),
    ("deribit", "deribit/private_gct"),
    ("deribit", "deribit/private_nautilus"),
    ("binance.spot", "binance/singles_crypto_msg_parser"),
    ("binance.spot", "binance/private_gct"),
    ("binance.spot", "binance/private_jkorf"),
    ("binance.spot", "binance/private_nautilus"),
]


def lines(name: str) -> Iterator[dict[str, Any]]:
    """Yield what a capture holds, line by line."""
    path = ROOT / f"{name}.jsonl.gz"
    if not path.exists():
        words = f"no capture {name} in the corpus; GAPLESS_CORPUS says where it is"
        if os.environ.get("GAPLESS_CORPUS_REQUIRED"):
            pytest.fail(words)
        pytest.skip(words)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(msgspec.json.decode, file)


@cache
def rows(name: str) -> list[dict[str, Any]]:
    return list(lines(name))


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
            self.streams[topic] = stream_for(spec, self.events[topic].append, self.needs.append)
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
