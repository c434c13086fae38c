"""The inspector over recorded traffic, and the drop test: what is taken away must be missed.

The figures expected of a whole capture were counted by others, before any of this was written.
What must be found after frames were taken away is worked out here from the raw text alone: which
frames belong to one numbering, and whether a book made of two dicts still has the venue's checksum.
"""

from __future__ import annotations

import importlib.util
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.corpus.captures import located, records

from gapless.inspection.dropping import Lot
from gapless.inspection.inspector import Inspector
from gapless.inspection.report import FileFound, TopicFound, report
from gapless.inspection.telling import SAMPLE_FRAMES, fitting
from gapless.venues._profile import Profile
from gapless.venues._registry import load, names

TOOLS = Path(__file__).parents[2] / "tools"
SEEDS = range(int(os.environ.get("GAPLESS_DROP_SEEDS", "2")))

# Name, venue, and what was counted: numbers of books, of the connection, and checksums.
SPOT, USDM, COINM = "binance.spot", "binance.usdm", "binance.coinm"
COUNTED = [
    ("binance/cryptofeed_binance_20210404", SPOT, 2685, 0, 0),
    ("binance/cryptofeed_binance_20210417", SPOT, 604, 0, 0),
    ("binance/cryptofeed_binance_20210814", SPOT, 542, 0, 0),
    ("binance/cryptofeed_binance_20211012", SPOT, 173, 0, 0),
    ("binance/hftbacktest_spot_btcusdt_20240808", SPOT, 6494, 0, 0),
    ("binance_us/cryptofeed_binance_us_20210405", SPOT, 3186, 0, 0),
    ("binance_us/cryptofeed_binance_us_20210417", SPOT, 797, 0, 0),
    ("binance_us/cryptofeed_binance_us_20210814", SPOT, 357, 0, 0),
    ("binance_futures/cryptofeed_binance_futures_20210417", USDM, 1012, 0, 0),
    ("binance_futures/cryptofeed_binance_futures_20210722", USDM, 760, 0, 0),
    ("binance_futures/hftbacktest_usdm_btcusdt_20240808", USDM, 6550, 0, 0),
    ("binance_futures/collectbf_btcusdt_20220811", USDM, 205, 0, 0),
    ("binance_delivery/cryptofeed_binance_delivery_20210722", COINM, 2037, 0, 0),
    ("binance_delivery/hftbacktest_cm_btcusd_perp_20240808", COINM, 44794, 0, 0),
    ("bitfinex/cryptofeed_bitfinex_20210417", "bitfinex", 0, 1669, 0),
    ("bitfinex/bfxgo_checksum_vector", "bitfinex", 0, 0, 1),
    ("bitget/cryptofeed_bitget_20220407", "bitget", 0, 0, 637),
    ("bybit/cryptofeed_bybit_20250613", "bybit.linear+bybit.spot", 0, 0, 0),
    ("bybit/cryptofeed_bybit_20260809_linear", "bybit.linear", 1594, 0, 0),
    ("coinbase/cryptofeed_coinbase_20260809", "coinbase", 0, 1029, 0),
    ("deribit/cryptofeed_deribit_20210405", "deribit", 177, 0, 0),
    ("deribit/cryptofeed_deribit_20210417", "deribit", 46, 0, 0),
    ("hyperliquid/hftbacktest_btcusd_20250126", "hyperliquid", 0, 0, 0),
    ("kraken/cryptofeed_kraken_20210417", "kraken.v1", 0, 0, 4269),
    ("kraken/index_v2_ethbtc_20260826", "kraken", 0, 0, 2),
    ("kraken_futures/cryptofeed_kraken_futures_20210417", "kraken.futures", 6528, 0, 0),
    ("okcoin/cryptofeed_okcoin_20230527", "okx", 0, 0, 6),
    ("okx/cryptofeed_okx_20220227", "okx", 0, 0, 3679),
    ("okx/index_v5_solusdt_20251125", "okx", 3, 0, 0),
]
SUPPORTED = [case for case in COUNTED if set(case[1].split("+")) <= set(names())]
REST_BOOKS = {  # symbols whose book was asked for over REST
    "binance/cryptofeed_binance_20210404": 3,
    "binance/cryptofeed_binance_20210417": 10,
    "binance/cryptofeed_binance_20210814": 4,
    "binance/cryptofeed_binance_20211012": 4,
    "binance/hftbacktest_spot_btcusdt_20240808": 1,
    "binance_us/cryptofeed_binance_us_20210405": 10,
    "binance_us/cryptofeed_binance_us_20210417": 10,
    "binance_us/cryptofeed_binance_us_20210814": 4,
    "binance_futures/cryptofeed_binance_futures_20210417": 4,
    "binance_futures/cryptofeed_binance_futures_20210722": 4,
    "binance_futures/hftbacktest_usdm_btcusdt_20240808": 1,
    "binance_futures/collectbf_btcusdt_20220811": 1,
    "binance_delivery/cryptofeed_binance_delivery_20210722": 10,
    "binance_delivery/hftbacktest_cm_btcusd_perp_20240808": 1,
}


@cache
def told(name: str) -> Profile:
    sample = records(name)[:SAMPLE_FRAMES]
    [profile] = fitting(sample, name.split("/", maxsplit=1)[0], [load(one) for one in names()])
    return profile


def inspector(name: str) -> Inspector:
    return Inspector(told(name), [load(one) for one in names()])


def examine(name: str, without: Iterable[int] = ()) -> FileFound:
    left_out = frozenset(without)
    one = inspector(name)
    for record in records(name):
        if record.number not in left_out:
            one.feed(record)
    one.finish()
    return report(one, name)


@cache
def whole(name: str) -> FileFound:
    return examine(name)


# -- whole captures -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "venue", "chained", "connected", "summed"), SUPPORTED)
def test_what_was_counted_elsewhere_is_counted_here(name, venue, chained, connected, summed):
    located(name)
    found = whole(name)
    assert found.venue == venue
    books = [topic for topic in found.topics if topic.channel == "book"]
    assert sum(topic.checked for topic in books) == chained
    assert sum(t.checked for t in found.topics if t.channel == "connection") == connected
    assert found.totals.checksums.checked == summed
    assert found.totals.checksums.failed == 0
    assert found.totals.breaks == 0
    assert found.totals.out_of_order == 0
    assert found.totals.findings == 0


@pytest.mark.parametrize("name", sorted(REST_BOOKS))
def test_every_symbol_with_a_rest_snapshot_is_bridged(name):
    located(name)
    books = [topic.book for topic in whole(name).topics if topic.book is not None]
    assert len(books) == REST_BOOKS[name]
    assert {book.state for book in books} == {"synced"}


@pytest.mark.parametrize("case", SUPPORTED, ids=lambda case: case[0])
def test_every_frame_and_every_reply_is_counted(case):
    name = case[0]
    located(name)
    found = whole(name)
    raw = [msgspec.json.decode(line) for line in _lines(name)]
    rest = sum(row["conn"] == "rest" for row in raw)
    assert found.frames.rest == rest
    assert found.frames.incoming == sum(row["dir"] == "in" for row in raw) - rest
    assert found.frames.out == sum(row["dir"] == "out" for row in raw)


def _lines(name: str) -> list[bytes]:
    return zlib.decompress(located(name).read_bytes(), 31).splitlines()


# -- the drop test: numbers ---------------------------------------------------------------------

Key = tuple[str, bool]  # a numbering, and whether the frame begins it anew


def keys_of(venue: str, text: str) -> Iterator[Key]:
    """Yield the numberings that a frame belongs to, read from the raw text alone."""
    frame = msgspec.json.decode(text)
    match venue:
        case "binance.spot" | "binance.usdm" | "binance.coinm":
            stream = frame.get("stream", "")
            if "@depth" in stream or "@trade" in stream or "@aggTrade" in stream:
                yield stream, False
        case "deribit":
            params = frame.get("params") or {}
            topic = params.get("channel", "")
            if topic.startswith(("book.", "trades.")):
                data = params["data"]
                yield topic, topic.startswith("book.") and "prev_change_id" not in data
        case "bybit.linear" | "bybit.spot":
            topic = frame.get("topic", "")
            if topic.startswith("orderbook.") and not topic.startswith("orderbook.1."):
                yield topic, frame["type"] == "snapshot"
        case "kraken.futures":
            feed = frame.get("feed", "")
            if feed.startswith(("book", "trade")) and "event" not in frame:
                name = feed.removesuffix("_snapshot")
                yield f"{name}:{frame['product_id']}", feed.endswith("_snapshot")
        case "coinbase":
            yield "connection", False
            if frame["channel"] == "market_trades":
                for event in frame["events"]:
                    greeting = event["type"] == "snapshot"
                    for symbol in dict.fromkeys(t["product_id"] for t in event["trades"]):
                        yield f"market_trades:{symbol}", greeting
        case "bitfinex":
            # With SEQ_ALL the number is the last item; without, a checksum looks like one.
            if isinstance(frame, list) and len(frame) == 3 + (frame[1] in ("cs", "te", "tu")):
                yield "connection", False
        case "okx":
            arg = frame.get("arg") or {}
            if "data" in frame and arg.get("channel") == "trades":
                yield f"trades:{arg['instId']}", False
            if "data" in frame and "prevSeqId" in frame["data"][0]:
                yield f"{arg['channel']}:{arg['instId']}", False


def breaks_after(name: str, without: set[int]) -> dict[str, list[tuple[int, int]]]:
    """Return frame and previous frame of every break that must show, by numbering."""
    venue = told(name).name
    expected: dict[str, list[tuple[int, int]]] = {}
    previous: dict[str, int] = {}
    holes: set[str] = set()
    for record in records(name):
        if record.kind != "in":
            continue
        for key, anew in keys_of(venue, record.text):
            if record.number in without:
                holes.add(key)
                continue
            if key in holes and key in previous and not anew:
                expected.setdefault(key, []).append((record.number, previous[key]))
            holes.discard(key)
            previous[key] = record.number
    return expected


# -- the drop test: checksums -------------------------------------------------------------------

Text = tuple[str, str]


class PlainBook:
    """Two dicts of the literal digits by price, for the venues' checksums."""

    def __init__(self) -> None:
        self.bids: dict[float, Text] = {}
        self.asks: dict[float, Text] = {}

    def apply(self, bids: Iterable[list[str]], asks: Iterable[list[str]]) -> None:
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size, *_ in levels:
                if float(size):
                    side[float(price)] = (price, size)
                else:
                    side.pop(float(price), None)

    def cut(self, depth: int) -> None:
        self.bids = {price: self.bids[price] for price in sorted(self.bids)[-depth:]}
        self.asks = {price: self.asks[price] for price in sorted(self.asks)[:depth]}

    def best_bids(self, depth: int) -> list[Text]:
        return [self.bids[price] for price in sorted(self.bids, reverse=True)[:depth]]

    def best_asks(self, depth: int) -> list[Text]:
        return [self.asks[price] for price in sorted(self.asks)[:depth]]


def kraken_sum(book: PlainBook) -> int:
    """Docs: ten asks then ten bids; no decimal point, no leading zeros; CRC32."""
    text = ""
    for price, size in (*book.best_asks(10), *book.best_bids(10)):
        text += price.replace(".", "").lstrip("0") + size.replace(".", "").lstrip("0")
    return zlib.crc32(text.encode())


def alternating_sum(book: PlainBook) -> int:
    """Docs: 25 bids and asks in turn, price and size with colons; CRC32 as a signed number."""
    bids, asks = book.best_bids(25), book.best_asks(25)
    parts = []
    for place in range(25):
        for side in (bids, asks):
            if place < len(side):
                parts += side[place]
    value = zlib.crc32(":".join(parts).encode())
    return value - (1 << 32) if value >= 1 << 31 else value


Change = tuple[str, bool, list[list[str]], list[list[str]], int | None]


def kraken_change(text: str) -> Change | None:
    frame = msgspec.json.decode(text)
    if not isinstance(frame, list) or not str(frame[-2]).startswith("book"):
        return None
    merged: dict[str, Any] = {}
    for part in frame[1:-2]:
        merged.update(part)
    topic = f"{frame[-2]}:{frame[-1]}"
    if "as" in merged:
        return topic, True, merged["bs"], merged["as"], None
    summed = int(merged["c"]) if "c" in merged else None
    return topic, False, merged.get("b", []), merged.get("a", []), summed


def arg_change(topic: Callable[[dict[str, str]], str]) -> Callable[[str], Change | None]:
    def change(text: str) -> Change | None:
        frame = msgspec.json.decode(text)
        arg = frame.get("arg") or {}
        if "action" not in frame or not arg.get("channel", "").startswith("books"):
            return None
        [data] = frame["data"]
        anew = frame["action"] == "snapshot"
        return topic(arg), anew, data["bids"], data["asks"], data["checksum"]

    return change


_MARKET = {"sp": "", "mc": "USDT-FUTURES:"}

CHECKED = {
    "kraken/cryptofeed_kraken_20210417": (kraken_change, kraken_sum, 1000),
    "okx/cryptofeed_okx_20220227": (
        arg_change(lambda arg: f"{arg['channel']}:{arg['instId']}"),
        alternating_sum,
        None,
    ),
    "okcoin/cryptofeed_okcoin_20230527": (
        arg_change(lambda arg: f"{arg['channel']}:{arg['instId']}"),
        alternating_sum,
        None,
    ),
    "bitget/cryptofeed_bitget_20220407": (
        arg_change(lambda arg: f"books:{_MARKET[arg['instType'].lower()]}{arg['instId']}"),
        alternating_sum,
        None,
    ),
}


def failures_after(name: str, without: set[int]) -> dict[str, list[int]]:
    """Return the frames whose checksum a plain book does not have, by topic."""
    change_of, summed, depth = CHECKED[name]
    books: dict[str, PlainBook] = {}
    failed: dict[str, list[int]] = {}
    for record in records(name):
        if record.kind != "in" or record.number in without:
            continue
        change = change_of(record.text)
        if change is None:
            continue
        topic, anew, bids, asks, checksum = change
        if anew:
            books[topic] = PlainBook()
        book = books.get(topic)
        if book is None:
            continue  # its snapshot was taken away
        book.apply(bids, asks)
        if depth is not None:
            book.cut(depth)
        if checksum is not None and summed(book) != checksum:
            failed.setdefault(topic, []).append(record.number)
    return failed


# -- the drop test ------------------------------------------------------------------------------


def drawn(name: str, seed: int) -> list[tuple[int, tuple[str, ...]]]:
    """Let the inspector's own lot decide, and take about one in forty."""
    total = sum(record.kind == "in" for record in records(name))
    lot = Lot(inspector(name), max(1, min(total // 40, 500)), seed)
    for record in records(name):
        lot.feed(record)
    return [(one.frame, one.topics) for one in lot.drawn()]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", SUPPORTED, ids=lambda case: case[0])
def test_what_is_taken_away_is_missed_and_nothing_else(case, seed):
    name = case[0]
    located(name)
    chosen = drawn(name, seed)
    without = {frame for frame, _ in chosen}
    found = examine(name, without)
    assert found.frames.incoming == whole(name).frames.incoming - len(without)

    expected = breaks_after(name, without)
    assert {
        topic.topic: [(one.frame, one.previous) for one in topic.breaks]
        for topic in found.topics
        if topic.breaks
    } == expected
    assert [topic.broken for topic in found.topics if topic.topic in expected] == [
        len(expected[topic.topic]) for topic in found.topics if topic.topic in expected
    ]
    if name in CHECKED:
        failed = failures_after(name, without)
        assert sums_failed(found) == {topic: len(frames) for topic, frames in failed.items()}
        runs = [frame for topic in found.topics for frame in topic.checksums.frames]
        assert set(runs) <= {frame for frames in failed.values() for frame in frames}
    elif not whole(name).totals.checksums.checked:
        assert found.totals.checksums.failed == 0

    touched = {topic for _, topics in chosen for topic in topics}
    before = {topic.topic: topic for topic in whole(name).topics}
    for topic in found.topics:
        if topic.topic not in touched and topic.channel != "connection":
            assert unchanged(topic, before[topic.topic])


def sums_failed(found: FileFound) -> dict[str, int]:
    return {t.topic: t.checksums.failed for t in found.topics if t.checksums.failed}


def unchanged(topic: TopicFound, before: TopicFound) -> bool:
    names_of = ("frames", "checked", "breaks", "duplicates", "out_of_order", "checksums")
    return all(getattr(topic, name) == getattr(before, name) for name in names_of)


@pytest.mark.parametrize("case", SUPPORTED, ids=lambda case: case[0])
def test_a_book_that_broke_is_whole_again_only_after_a_new_snapshot(case):
    name = case[0]
    located(name)
    without = {frame for frame, _ in drawn(name, 7)}
    found = examine(name, without)
    venue = told(name).name
    begun: dict[str, int] = {}  # newest snapshot in the stream
    replied = 0  # newest REST reply, which may be a snapshot
    for record in records(name):
        if record.kind == "rest":
            replied = record.number
        if record.kind == "in" and record.number not in without:
            begun.update((key, record.number) for key, anew in keys_of(venue, record.text) if anew)
    for topic in found.topics:
        if topic.book is not None and topic.breaks:
            last = topic.breaks[-1].frame
            if begun.get(topic.topic, 0) > last:
                assert topic.book.state == "synced"
            elif replied < last:
                assert topic.book.state in {"broken", "syncing"}


def test_the_table_in_the_docs_is_what_is_found_here(monkeypatch):
    located(SUPPORTED[0][0])
    monkeypatch.syspath_prepend(str(TOOLS))
    path = TOOLS / "generate_corpus_table.py"
    spec = importlib.util.spec_from_file_location("generate_corpus_table", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    ((page, text),) = tool.pages().items()
    assert page.read_text(encoding="utf-8") == text, "run python tools/generate_corpus_table.py"
    listed = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert set(listed) == {case[0] for case in SUPPORTED}
