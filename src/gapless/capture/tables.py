"""Events as Parquet tables, for DuckDB, Polars and pandas.

One table each: ``trades``, ``bbo``, ``book_deltas`` (a row for each level, whole books included and
marked) and ``gaps``.  Needs pyarrow, which the extra ``data`` brings.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Gap, Trade

__all__ = ["SCHEMAS", "Tables"]

ROWS: Final = 65_536  # of one row group

_TIME: Final = pa.timestamp("ns", "UTC")
_NAME: Final = pa.dictionary(pa.int32(), pa.string())
_COMMON: Final = (
    ("venue", _NAME),
    ("symbol", _NAME),
    ("topic", _NAME),
    ("connection", _NAME),
    ("recv_time", _TIME),
    ("mono_ns", pa.int64()),
    ("event_time", _TIME),
    ("first", pa.int64()),
    ("last", pa.int64()),
)
SCHEMAS: Final[dict[str, pa.Schema]] = {
    "trades": pa.schema(
        [
            *_COMMON,
            ("id", pa.string()),
            ("price", pa.float64()),
            ("size", pa.float64()),
            ("side", _NAME),
            ("backfilled", pa.bool_()),
        ]
    ),
    "bbo": pa.schema(
        [
            *_COMMON,
            ("bid", pa.float64()),
            ("bid_size", pa.float64()),
            ("ask", pa.float64()),
            ("ask_size", pa.float64()),
        ]
    ),
    "book_deltas": pa.schema(
        [
            *_COMMON,
            ("message", pa.int64()),
            ("snapshot", pa.bool_()),
            ("side", _NAME),
            ("price", pa.float64()),
            ("size", pa.float64()),
        ]
    ),
    "gaps": pa.schema(
        [
            *_COMMON,
            ("channel", _NAME),
            ("missing", pa.int64()),
            ("cause", pa.string()),
            ("since_time", _TIME),
            ("until_time", _TIME),
        ]
    ),
}
"""The columns of each table.  In ``book_deltas``, ``message`` counts the messages, so that levels
which came together can be found together; a size of 0 removes the level, and a ``snapshot``
replaces the whole book."""


class Tables:
    """Writes the tables into a folder; used with ``with``.

    Args:
        folder: Where to; made if it is not there.
        about: Written into every file, as text.

    Attributes:
        rows: Rows so far, by table.

    Raises:
        OSError: A file cannot be made.
    """

    def __init__(self, folder: Path, about: dict[str, str]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.rows = dict.fromkeys(SCHEMAS, 0)
        self._stack = contextlib.ExitStack()
        self._waiting: dict[str, list[tuple[Any, ...]]] = {name: [] for name in SCHEMAS}
        self._writers: dict[str, Any] = {}
        self._messages = 0
        with self._stack:
            for name, schema in SCHEMAS.items():
                whole = schema.with_metadata(about)
                place = folder / f"{name}.parquet"
                place.touch(mode=0o600)  # as the capture it comes from
                writer = pq.ParquetWriter(place, whole, compression="zstd")
                self._writers[name] = self._stack.enter_context(writer)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            for name in SCHEMAS:
                self._flush(name)

    def add(self, event: Event) -> None:
        """Write an event; tickers and the like have no table."""
        match event:
            case Trade():
                row = (event.id, event.price, event.size, event.side, event.backfilled)
                self._put("trades", (*_common(event), *row))
            case Bbo():
                row_of_four = (event.bid, event.bid_size, event.ask, event.ask_size)
                self._put("bbo", (*_common(event), *row_of_four))
            case BookDelta() | BookSnapshot():
                self._messages += 1
                head = (*_common(event), self._messages, isinstance(event, BookSnapshot))
                for side, levels in (("bid", event.bids), ("ask", event.asks)):
                    for price, size in levels:
                        self._put("book_deltas", (*head, side, price, size))
            case Gap():
                row_of_gap = (event.missing, event.cause, event.since_ns, event.until_ns)
                self._put("gaps", (*_common(event), event.channel, *row_of_gap))
            case _:
                pass

    def _put(self, name: str, row: tuple[Any, ...]) -> None:
        waiting = self._waiting[name]
        waiting.append(row)
        if len(waiting) >= ROWS:
            self._flush(name)

    def _flush(self, name: str) -> None:
        rows, self._waiting[name] = self._waiting[name], []
        if rows:
            schema = SCHEMAS[name]
            columns = [
                pa.array(values, field.type)
                for values, field in zip(zip(*rows), schema)  # noqa: B905
            ]
            self._writers[name].write_table(pa.Table.from_arrays(columns, schema=schema))
            self.rows[name] += len(rows)


def _common(event: Event) -> tuple[Any, ...]:
    origin = event.origin
    return (
        origin.venue,
        origin.symbol,
        origin.topic,
        origin.line,
        event.recv_ns,
        event.mono_ns,
        event.event_ns,
        event.first,
        event.last,
    )
