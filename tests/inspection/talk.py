"""Small captures, written as two venues' documents say: a chain of changes, and counted trades."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from gapless.capture.records import Kind, Record
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom, TopicSpec
from gapless.events import BookDelta, BookSnapshot, Event, Origin, Texts, Trade
from gapless.inspection.inspector import Inspector
from gapless.inspection.report import FileFound, TopicFound, report
from gapless.venues._registry import load

SECOND = 10**9
WALL = 1_700_000_000 * SECOND
BOOK = "book.BTC-PERPETUAL.raw"
TRADES = "trades.BTC-PERPETUAL.raw"
DEPTH = "btcusdt@depth@100ms"


def record(number: int, text: Any, kind: Kind = "in", conn: str = "ws", **more: Any) -> Record:
    """Return one record; each comes a second after the one before it."""
    plain = text if isinstance(text, str) else json.dumps(text, separators=(",", ":"))
    at_ns = more.pop("at_ns", number * SECOND)
    return Record(kind, conn, at_ns, WALL + at_ns, plain, more.pop("url", None), number, **more)


def numbered(texts: Iterable[Any]) -> list[Record]:
    """Return frames that came one after the other."""
    return [record(number, text) for number, text in enumerate(texts, 1)]


def push(channel: str, data: Any) -> dict[str, Any]:
    params = {"channel": channel, "data": data}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def snapshot(last: int, bid: float = 100.0, ask: float = 101.0) -> dict[str, Any]:
    data = {"timestamp": 1_700_000_000_000 + last, "change_id": last}
    return push(BOOK, {**data, "bids": [["new", bid, 10.0]], "asks": [["new", ask, 5.0]]})


def change(prev: int, last: int, bids: Sequence[Any] = (), asks: Sequence[Any] = ()) -> Any:
    data = {"timestamp": 1_700_000_000_000 + last, "change_id": last, "prev_change_id": prev}
    return push(BOOK, {**data, "bids": list(bids), "asks": list(asks)})


def trades(*numbers: int) -> dict[str, Any]:
    made = [
        {
            "trade_id": str(number),
            "trade_seq": number,
            "timestamp": 1_700_000_000_000 + number,
            "price": 100.5,
            "amount": 10.0,
            "direction": "buy",
        }
        for number in numbers
    ]
    return push(TRADES, made)


def depth(first: int, last: int, topic: str = DEPTH) -> dict[str, Any]:
    data = {"e": "depthUpdate", "E": 1_700_000_000_000, "s": "BTCUSDT", "U": first, "u": last}
    return {"stream": topic, "data": {**data, "b": [["100.10", "1"]], "a": []}}


def inspected(records: Iterable[Record], venue: str = "deribit", **more: Any) -> Inspector:
    inspector = Inspector(load(venue), **more)
    for one in records:
        inspector.feed(one)
    inspector.finish()
    return inspector


def found(records: Iterable[Record], venue: str = "deribit") -> FileFound:
    return report(inspected(records, venue), "capture")


def only(of: FileFound, topic: str) -> TopicFound:
    [one] = [one for one in of.topics if one.topic == topic]
    return one


# -- events without a venue ---------------------------------------------------------------------

ORIGIN = Origin("venue", "book", "X", "book.x", "ws", 1)


def spec(numbering: Numbering, source: SnapshotFrom | None = None, **more: Any) -> TopicSpec:
    channel = "trades" if source is None else "book"
    return TopicSpec("venue", channel, "X", f"{channel}.x", numbering, source, **more)


def delta(
    first: int | None, last: int | None, bids: Any = (), asks: Any = (), texts: Texts | None = None
) -> Event:
    return BookDelta(ORIGIN, WALL, 0, None, first, last, list(bids), list(asks), texts)


def image(last: int | None, bids: Any = (), asks: Any = (), texts: Texts | None = None) -> Event:
    return BookSnapshot(ORIGIN, WALL, 0, None, last, last, list(bids), list(asks), texts)


def trade(number: int | None, *, backfilled: bool = False) -> Event:
    origin = Origin("venue", "trades", "X", "trades.x", "ws", 1)
    head = (origin, WALL, 0, None, number, number)
    return Trade(*head, str(number), 1.0, 1.0, "buy", backfilled)
