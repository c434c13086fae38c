"""Recorded traffic of OKX and Bybit, read by their dialects and followed by our streams.

Every expected number is counted here from the raw text, with nothing of gapless in between.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from tests.corpus.test_corpus import frames, reference, rows

from gapless.core.bookruns import BookRunStream
from gapless.core.booksync import BookStream
from gapless.core.codec import Ack, Granted, Heartbeat, Reading, Stray
from gapless.core.kinds import stream_for
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, Need, Stream
from gapless.errors import DecodeError
from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Gap, Origin, Ticker, Trade
from gapless.venues._registry import load

OKX_2022 = "okx/cryptofeed_okx_20220227"
OKX_2025 = "okx/index_v5_solusdt_20251125"
BYBIT_2026 = "bybit/cryptofeed_bybit_20260809_linear"
BYBIT_2025 = "bybit/cryptofeed_bybit_20250613"
LEVEL_1 = [("bybit.linear", "bybit.ws.1"), ("bybit.spot", "bybit.ws.2")]
PRIVATE = [
    ("okx", "okx/private_gct"),
    ("okx", "okx/private_jkorf"),
    ("okx", "okx/private_nautilus"),
    ("okx", "okx/cryptofeed_okex_20210417"),  # a retired dialect
    ("bybit.linear", "bybit/private_gct"),
    ("bybit.linear", "bybit/private_jkorf"),
    ("bybit.linear", "bybit/private_nautilus"),
    ("bybit.linear", "bybit/cryptofeed_bybit_20210417"),  # a retired dialect
]


class Playback:
    """One connection of a capture, with every topic that its client asked for."""

    def __init__(self, venue: str, name: str, conn: str, *, unnumbered: bool = False) -> None:
        profile = load(venue)
        self.events: dict[str, list[Event]] = {}
        self.streams: dict[str, Stream] = {}
        self.needs: list[Need] = []
        self.readings: list[Reading] = []
        self.unknown: list[str] = []
        self._recognise = profile.recogniser()
        self._unnumbered = unnumbered
        self._origins: dict[str, Origin] = {}
        self._codec = profile.codec(self._origins)
        for row in rows(name):
            if row["conn"] == conn and row["dir"] == "out":
                self._asked(row["raw"], row["ts"] or 0)
            elif row["conn"] == conn and row["dir"] == "in":
                self._came(row["raw"], row["ts"])

    def _asked(self, text: str, now_ns: int) -> None:
        asked = self._codec.asked(text)
        assert asked is not None
        for topic in asked.topics:
            spec = self._recognise(topic)
            if spec is None:
                self.unknown.append(topic)
            elif topic not in self._origins:
                if self._unnumbered and spec.snapshot is not None:
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


# -- OKX ----------------------------------------------------------------------------------------


@cache
def okx_2022() -> Playback:
    return Playback("okx", OKX_2022, "okx.ws.1", unnumbered=True)


def signed_crc(bids: dict[str, str], asks: dict[str, str]) -> int:
    """Compute the checksum as the venue's older document says, from the texts alone."""
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
    books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    sent = agree = 0
    for frame in frames(OKX_2022):
        if "action" not in frame:
            continue
        name = frame["arg"]["instId"]
        if frame["action"] == "snapshot":
            books[name] = ({}, {})
        [data] = frame["data"]
        for side, levels in zip(books[name], (data["bids"], data["asks"]), strict=True):
            for price, size, *_ in levels:
                side[price] = size
                if not float(size):
                    del side[price]
        sent += 1
        agree += signed_crc(*books[name]) == data["checksum"]
    assert (sent, agree) == (3679, 3679)

    streams = [s for s in okx_2022().streams.values() if isinstance(s, BookRunStream)]
    assert len(streams) == len(books) == 10
    assert sum(stream.checks for stream in streams) == 3679
    assert sum(stream.failed for stream in streams) == 0
    assert all(stream.readable for stream in streams)
    for stream in streams:
        bids, asks = books[stream.spec.symbol]
        held_bids, held_asks = stream.proven().bids(), stream.proven().asks()
        assert dict(held_bids) == {float(price): float(size) for price, size in bids.items()}
        assert dict(held_asks) == {float(price): float(size) for price, size in asks.items()}


def test_what_the_client_asked_for_twice_is_a_repeat_and_no_gap():
    playback = okx_2022()
    acks = sum(frame.get("event") == "subscribe" for frame in frames(OKX_2022))
    assert acks == playback.counted(Granted) == 60
    assert len(playback.readings) == 60
    assert len(playback.of(BookSnapshot)) == 10  # of 20 that came
    assert playback.of(Gap) == []
    assert playback.needs == []
    assert playback.unknown == []


def test_every_trade_of_2022_follows_the_one_before_and_every_ticker_is_read():
    last: dict[str, int] = {}
    followed = sent = 0
    for frame in frames(OKX_2022):
        if frame.get("arg", {}).get("channel") == "trades" and "data" in frame:
            for trade in frame["data"]:
                number = int(trade["tradeId"])
                followed += last.get(trade["instId"], -1) == number - 1
                last[trade["instId"]] = number
                sent += 1
    assert (sent, followed) == (19, 13)  # the others are first of their instrument
    assert len(last) == sent - followed
    playback = okx_2022()
    assert len(playback.of(Trade)) == 19
    tickers = [s for t, s in playback.streams.items() if t.startswith("tickers:")]
    shown = sum(f["arg"]["channel"] == "tickers" and "data" in f for f in frames(OKX_2022))
    assert sum(s.delivered + s.duplicates for s in tickers) == shown == 19


def test_the_numbers_of_2025_form_a_chain():
    data = [frame["data"][0] for frame in frames(OKX_2025)]
    assert all(later["prevSeqId"] == one["seqId"] for one, later in pairwise(data))
    origin = Origin("okx", "book", "SOL-USDT", "books:SOL-USDT", "a", 1)
    codec = load("okx").codec({origin.topic: origin})
    events: list[Any] = []
    for row in rows(OKX_2025):
        events += codec.read(row["raw"], 1, 1)
    assert len(events) == 4
    assert all(isinstance(event, BookDelta) for event in events)
    assert all(later.first == one.last + 1 for one, later in pairwise(events))
    assert [event.texts.checksum for event in events] == [item["checksum"] for item in data]


def test_instruments_of_2022_are_all_read():
    rest = load("okx").rest
    assert rest is not None
    bodies = [row["raw"] for row in rows(OKX_2022) if row["conn"] == "rest"]
    read = 0
    for body in bodies:
        listed = json.loads(body)["data"]
        instruments = rest.read_instruments(body.encode())
        assert [one.symbol for one in instruments] == [row["instId"] for row in listed]
        for one, row in zip(instruments, listed, strict=True):
            assert one.quote in row["instId"].split("-")
            assert one.strike == (float(row["stk"]) if row["stk"] else None)
        read += len(instruments)
    assert read == sum(len(json.loads(body)["data"]) for body in bodies) > 1000


# -- Bybit --------------------------------------------------------------------------------------


@cache
def bybit_2026() -> Playback:
    return Playback("bybit.linear", BYBIT_2026, "bybit.ws.2")


def topics_of(name: str, prefix: str) -> list[Any]:
    return [frame for frame in frames(name) if frame.get("topic", "").startswith(prefix)]


def test_u_is_whole_in_the_capture_of_2026():
    last: dict[str, int] = {}
    followed = broken = 0
    for frame in topics_of(BYBIT_2026, "orderbook."):
        topic, number = frame["topic"], frame["data"]["u"]
        if frame["type"] == "delta":
            followed += number == last[topic] + 1
            broken += number != last[topic] + 1
        last[topic] = number
    assert (followed, broken) == (1594, 0)

    playback = bybit_2026()
    books = [s for s in playback.streams.values() if isinstance(s, BookStream)]
    assert len(playback.of(BookDelta)) == 1594
    assert len(playback.of(BookSnapshot)) == len(books) == 4
    assert all(book.readable for book in books)
    assert {b.spec.topic: b.newest.last for b in books if b.newest is not None} == last
    assert playback.of(Gap) == []
    assert playback.needs == []


def test_the_books_of_2026_end_like_plain_ones_and_never_grow_beyond_their_depth():
    changes: dict[str, list[Any]] = {}
    for frame in topics_of(BYBIT_2026, "orderbook."):
        changes.setdefault(frame["topic"], []).append((frame["data"]["b"], frame["data"]["a"]))
    assert len(changes) == 4
    for topic, (first, *later) in changes.items():
        bids, asks = reference(first, later)  # fails where a level that is not there is deleted
        stream = bybit_2026().streams[topic]
        assert isinstance(stream, BookStream)
        assert dict(stream.proven().bids()) == bids
        assert dict(stream.proven().asks()) == asks
        assert len(bids) <= 200
        assert len(asks) <= 200


def test_every_trade_of_2026_is_delivered_once():
    names = [item["i"] for f in topics_of(BYBIT_2026, "publicTrade.") for item in f["data"]]
    assert len(set(names)) == len(names) == 327
    delivered = [event.id for event in bybit_2026().of(Trade) if isinstance(event, Trade)]
    assert sorted(delivered) == sorted(names)


def test_the_tickers_of_2026_are_merged_as_plain_dictionaries_are():
    merged: dict[str, dict[str, Any]] = {}
    frames_sent = topics_of(BYBIT_2026, "tickers.")
    for frame in frames_sent:
        if frame["type"] == "snapshot":
            merged[frame["topic"]] = {}
        merged[frame["topic"]].update(frame["data"])
    playback = bybit_2026()
    assert len(playback.of(Ticker)) == len(frames_sent) == 758
    assert len(merged) == 4
    for topic, fields in merged.items():
        newest = playback.events[topic][-1]
        assert isinstance(newest, Ticker)
        for ours, theirs in {
            "price": "lastPrice",
            "mark": "markPrice",
            "index": "indexPrice",
            "bid": "bid1Price",
            "ask": "ask1Price",
            "volume": "volume24h",
            "open_interest": "openInterest",
            "funding": "fundingRate",
        }.items():
            assert getattr(newest, ours) == float(fields[theirs])
        assert newest.next_funding_ns == int(fields["nextFundingTime"]) * 10**6


def test_what_the_capture_of_2026_holds_besides():
    playback = bybit_2026()
    assert playback.counted(Ack) == sum("success" in frame for frame in frames(BYBIT_2026)) == 17
    assert playback.counted(Stray) == len(topics_of(BYBIT_2026, "kline.")) == 71
    assert {topic.split(".")[0] for topic in playback.unknown} == {"kline", "allLiquidation"}
    rest = load("bybit.linear").rest
    assert rest is not None
    for row in rows(BYBIT_2026):
        if row["conn"] == "rest":
            listed = json.loads(row["raw"])["result"]["list"]
            instruments = rest.read_instruments(row["raw"].encode())
            assert [one.symbol for one in instruments] == [item["symbol"] for item in listed]


@pytest.mark.parametrize(("venue", "conn"), LEVEL_1)
def test_level_1_of_2025_is_delivered_once_for_each_number(venue, conn):
    sent: dict[str, list[int]] = {}
    for row in rows(BYBIT_2025):
        frame = json.loads(row["raw"] or "{}")
        if row["conn"] == conn and row["dir"] == "in" and "topic" in frame:
            sent.setdefault(frame["topic"], []).append(frame["data"]["u"])
    playback = Playback(venue, BYBIT_2025, conn)
    assert len(sent) == len(playback.streams) >= 4
    for topic, numbers in sent.items():
        once = list(dict.fromkeys(numbers))
        assert once == list(range(once[0], once[-1] + 1))
        assert [event.last for event in playback.events[topic]] == once
        assert all(isinstance(event, Bbo) for event in playback.events[topic])
        stream = playback.streams[topic]
        assert stream.duplicates == len(numbers) - len(once)
        assert (stream.gaps, stream.dropped, stream.out_of_order) == (0, 0, 0)
    assert any(stream.duplicates for stream in playback.streams.values())
    assert playback.counted(Ack) == len(playback.readings) >= 4


# -- single frames ------------------------------------------------------------------------------


def read_single(venue: str, raw: str) -> list[Event] | Reading:
    """Read one frame with a codec that knows its topic, if the profile does."""
    profile = load(venue)
    recognise = profile.recogniser()
    frame = json.loads(raw)
    topic = ""
    if isinstance(frame, dict):
        arg = frame.get("arg") or {}
        topic = frame.get("topic") or f"{arg.get('channel')}:{arg.get('instId')}"
    spec = recognise(topic)
    origins = {}
    if spec is not None:
        origins[topic] = Origin(venue, spec.channel, spec.symbol, topic, "a", 1)
    return profile.codec(origins).read(raw, 1, 1)


def test_the_single_frames_of_okx_decode_where_the_profile_has_their_channel():
    profile = load("okx")
    served = {
        topic.partition(":")[0] for c in profile.every_channel() for topic in c.topics.values()
    }
    read = strays = 0
    for row in (*rows("okx/singles_crypto_msg_parser"), *rows("okx/singles_nautilus")):
        frame = json.loads(row["raw"])
        if isinstance(frame, list):  # rows of opt-summary without their frame
            with pytest.raises(DecodeError):
                read_single("okx", row["raw"])
            continue
        out = read_single("okx", row["raw"])
        if frame.get("arg", {}).get("channel") in served:
            assert isinstance(out, list)
            assert out
            read += len(out)
        else:
            assert isinstance(out, Stray)
            strays += 1
    assert read >= 36
    assert strays


def test_the_single_frames_of_bybit_decode_or_are_what_the_documents_rule_out():
    outcomes: dict[str, str] = {}
    for row in rows("bybit/singles_nautilus"):
        venue = "bybit.option" if "option" in row["conn"] else "bybit.linear"
        try:
            out = read_single(venue, row["raw"])
        except DecodeError:
            outcomes[row["conn"]] = "refused"
        else:
            outcomes[row["conn"]] = "events" if isinstance(out, list) else type(out).__name__
    assert outcomes == {
        "ws_auth_failure.json": "Refusal",
        "ws_auth_success.json": "Ack",
        "ws_kline.json": "Stray",
        "ws_orderbook_delta.json": "refused",  # of level 1, which has no changes
        "ws_orderbook_snapshot.json": "events",
        "ws_public_trade.json": "Stray",  # trade.linear.BTCUSDT is no topic of the venue's
        "ws_subscription_ack.json": "Ack",
        "ws_subscription_failure.json": "Refusal",
        "ws_ticker_linear.json": "events",
        "ws_ticker_option.json": "events",
    }


@pytest.mark.parametrize(("venue", "name"), PRIVATE)
def test_frames_of_no_concern_are_no_data_and_never_worse(venue, name):
    codec = load(venue).codec({})
    read = 0
    for row in rows(name):
        if row["dir"] != "in":
            continue
        try:
            out = codec.read(row["raw"], 1, 1)
        except DecodeError:
            continue
        assert not isinstance(out, list)
        assert not isinstance(out, Heartbeat)
        read += 1
    assert read
