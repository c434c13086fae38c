"""Recorded traffic of Bitget, read by its dialect and followed by our streams.

Every expected number is counted here from the raw text, with nothing of gapless in between.
"""

from __future__ import annotations

import copy
import json
import zlib
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from tests.corpus.test_corpus import rows

from gapless.core.bookruns import BookRunStream
from gapless.core.codec import Granted, Reading, Stray
from gapless.core.kinds import stream_for
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, Need, Stream
from gapless.errors import DecodeError
from gapless.events import BookSnapshot, Event, Gap, Origin, Ticker, Trade
from gapless.venues._registry import load

CAPTURE = "bitget/cryptofeed_bitget_20220407"
SINGLES = "bitget/singles_crypto_msg_parser"


@cache
def frames() -> list[Any]:
    """Return the content of every WebSocket frame that came in."""
    return [json.loads(r["raw"]) for r in rows(CAPTURE) if r["dir"] == "in" and r["conn"] != "rest"]


def data_of(channel: str) -> list[Any]:
    return [f for f in frames() if "data" in f and f["arg"]["channel"] == channel]


class Playback:
    """The whole capture: two connections, one of each market, with what their client asked for."""

    def __init__(self) -> None:
        profile = load("bitget")
        self.events: dict[str, list[Event]] = {}
        self.streams: dict[str, Stream] = {}
        self.needs: list[Need] = []
        self.readings: list[Reading] = []
        self.unknown: list[str] = []
        self._recognise = profile.recogniser()
        self._origins: dict[str, Origin] = {}
        self._codec = profile.codec(self._origins)
        for row in rows(CAPTURE):
            if row["dir"] == "out":
                self._asked(row["raw"], row["ts"])
            elif row["dir"] == "in" and row["conn"] != "rest":
                self._came(row["raw"], row["ts"])

    def _asked(self, text: str, now_ns: int) -> None:
        asked = self._codec.asked(text)
        assert asked is not None
        for topic in asked.topics:
            spec = self._recognise(topic)
            if spec is None:
                self.unknown.append(topic)
                continue
            if spec.snapshot is not None:  # there were no numbers yet
                spec = replace(spec, numbering=Numbering.NONE)
            origin = Origin(spec.venue, spec.channel, spec.symbol, topic, "a", 1)
            self._origins[topic] = origin
            emit = self.events.setdefault(topic, []).append
            self.streams[topic] = stream_for(spec, emit, self.needs.append)
            self.streams[topic].attach(origin, Moment(now_ns, now_ns))

    def _came(self, text: str, now_ns: int) -> None:
        out = self._codec.read(text, now_ns, now_ns)
        if not isinstance(out, list):
            self.readings.append(out)
            return
        for event in out:
            self.streams[event.origin.topic].offer(event)

    def of(self, kind: type[Event]) -> list[Event]:
        return [e for events in self.events.values() for e in events if isinstance(e, kind)]

    def counted(self, kind: type[Any]) -> int:
        return sum(isinstance(reading, kind) for reading in self.readings)


@cache
def playback() -> Playback:
    return Playback()


def signed_crc(bids: dict[str, str], asks: dict[str, str]) -> int:
    """Compute the checksum as the venue's document of then says, from the texts alone."""
    best_bids = sorted(bids.items(), key=lambda level: -float(level[0]))[:25]
    best_asks = sorted(asks.items(), key=lambda level: float(level[0]))[:25]
    parts = [
        ":".join(side[index])
        for index in range(25)
        for side in (best_bids, best_asks)
        if index < len(side)
    ]
    unsigned = zlib.crc32(":".join(parts).encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


def test_every_checksum_of_2022_agrees_with_the_literal_text():
    books: dict[tuple[str, str], tuple[dict[str, str], dict[str, str]]] = {}
    sent = agree = 0
    for frame in data_of("books"):
        key = (frame["arg"]["instType"], frame["arg"]["instId"])
        if frame["action"] == "snapshot":
            books[key] = ({}, {})
        [data] = frame["data"]
        for side, levels in zip(books[key], (data["bids"], data["asks"]), strict=True):
            for price, size in levels:
                side[price] = size
                if not float(size):
                    del side[price]
        sent += 1
        agree += signed_crc(*books[key]) == data["checksum"]
    assert (sent, agree) == (637, 637)
    assert {market for market, _ in books} == {"sp", "mc"}

    streams = [s for s in playback().streams.values() if isinstance(s, BookRunStream)]
    assert len(streams) == len(books) == 10
    assert sum(stream.checks for stream in streams) == 637
    assert sum(stream.failed for stream in streams) == 0
    assert all(stream.readable for stream in streams)
    for stream in streams:
        market, _, name = stream.spec.symbol.rpartition(":")
        assert market in {"", "USDT-FUTURES"}
        bids, asks = books["mc" if market else "sp", name]
        held_bids, held_asks = stream.proven().bids(), stream.proven().asks()
        assert dict(held_bids) == {float(price): float(size) for price, size in bids.items()}
        assert dict(held_asks) == {float(price): float(size) for price, size in asks.items()}


def test_a_size_in_another_spelling_would_have_been_noticed():
    books = [frame for frame in data_of("books") if frame["arg"]["instId"] == "DASHUSDT"]
    first, second = copy.deepcopy(books[:2])
    staying = next(level for level in second["data"][0]["asks"] if float(level[1]))
    staying[1] = f"{staying[1]}0"
    profile = load("bitget")
    spec = replace(profile.topic("book", "USDT-FUTURES:DASHUSDT"), numbering=Numbering.NONE)
    origin = Origin("bitget", "book", spec.symbol, spec.topic, "a", 1)
    codec = profile.codec({spec.topic: origin})
    stream = stream_for(spec, lambda event: None, lambda need: None)
    assert isinstance(stream, BookRunStream)
    stream.attach(origin, Moment(0, 0))
    for number, frame in enumerate((first, second), start=1):
        out = codec.read(json.dumps(frame), number, number)
        assert isinstance(out, list)
        stream.offer(out[0])
    assert (stream.checks, stream.failed, stream.readable) == (2, 1, False)


def test_nothing_is_missing_and_nothing_had_to_be_asked_for():
    assert len(playback().of(BookSnapshot)) == 10
    assert playback().of(Gap) == []
    assert playback().needs == []


def test_every_trade_is_delivered_and_the_greetings_are_marked():
    sent = data_of("trade")
    greeted = sum(len(frame["data"]) for frame in sent if frame["action"] == "snapshot")
    live = sum(len(frame["data"]) for frame in sent if frame["action"] == "update")
    assert (greeted, live) == (500, 55)
    trades = [event for event in playback().of(Trade) if isinstance(event, Trade)]
    assert sum(trade.backfilled for trade in trades) == 500
    assert sum(not trade.backfilled for trade in trades) == 55
    assert len({(trade.origin.topic, trade.id) for trade in trades}) == 555
    for topic, events in playback().events.items():
        if topic.startswith("trade:"):
            times = [event.event_ns or 0 for event in events]
            assert times == sorted(times)


def test_every_ticker_is_read_and_ends_as_the_last_frame_says():
    last = {(f["arg"]["instType"], f["arg"]["instId"]): f["data"][0] for f in data_of("ticker")}
    tickers = {t: s for t, s in playback().streams.items() if t.startswith("ticker:")}
    assert len(last) == len(tickers) == 10
    assert sum(s.delivered + s.duplicates for s in tickers.values()) == len(data_of("ticker"))
    assert len(data_of("ticker")) == 345
    for stream in tickers.values():
        market, _, name = stream.spec.symbol.rpartition(":")
        row = last["mc" if market else "sp", name]
        newest = stream.newest
        assert isinstance(newest, Ticker)
        assert newest.price == float(row["last"])
        assert (newest.bid, newest.ask) == (float(row["bestBid"]), float(row["bestAsk"]))
        assert newest.volume == float(row["baseVolume"])
        assert newest.event_ns == (row.get("ts") or row["systemTime"]) * 10**6
        if market:
            assert newest.mark == float(row["markPrice"])
            assert newest.open_interest == float(row["holding"])
            assert newest.funding == float(row["capitalRate"])


def test_what_the_capture_holds_besides():
    acks = sum(frame.get("event") == "subscribe" for frame in frames())
    candles = len(data_of("candle1m"))
    assert playback().counted(Granted) == acks == 40
    assert playback().counted(Stray) == candles == 70
    assert len(playback().readings) == acks + candles
    assert {topic.partition(":")[0] for topic in playback().unknown} == {"candle1m"}


# -- single frames ------------------------------------------------------------------------------


def test_single_frames_of_the_same_dialect_are_read_and_of_the_older_one_are_strays():
    profile = load("bitget")
    recognise = profile.recogniser()
    outcomes: dict[str, int] = {}
    for row in rows(SINGLES):
        frame = json.loads(row["raw"])
        name = "rest" if "code" in frame else frame.get("table", "").partition("/")[0]
        origins: dict[str, Origin] = {}
        if arg := frame.get("arg"):
            name = arg["channel"]
            request = json.dumps({"op": "subscribe", "args": [arg]})
            asked = profile.codec({}).asked(request)
            assert asked is not None
            for topic in asked.topics:
                spec = recognise(topic)
                if spec is not None:
                    origins[topic] = Origin("bitget", spec.channel, spec.symbol, topic, "a", 1)
        try:
            out = profile.codec(origins).read(row["raw"], 1, 1)
        except DecodeError as error:
            pytest.fail(f"{row['raw'][:80]}: {error}")
        assert isinstance(out, list) == bool(origins)
        outcomes[name] = outcomes.get(name, 0) + isinstance(out, list)
    assert outcomes == {
        "trade": 3,
        "books": 3,
        "books5": 3,
        "ticker": 3,
        "candle1m": 0,
        "swap": 0,  # the dialect before this one
        "rest": 0,
    }
