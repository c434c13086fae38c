"""Parquet tables: typed columns, a row for each thing, readable by anything that reads Parquet."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from gapless.capture import tables as module
from gapless.capture.tables import Tables
from gapless.events import Bbo, BookDelta, BookSnapshot, Gap, Origin, Ticker, Trade

T0 = 1_700_000_000_123_456_789
ORIGIN = Origin("deribit", "book", "BTC", "book.BTC.raw", "a.1", 1)
HEAD = (ORIGIN, T0, 5, T0 - 7)


def read(folder, name):
    return pq.read_table(folder / f"{name}.parquet")


def rows(folder, name):
    """Return the rows without their times, which Python's own are too coarse for."""
    table = read(folder, name)
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    return table.drop_columns(times).to_pylist()


def test_each_event_is_a_row_of_its_table(tmp_path):
    with Tables(tmp_path, {"gapless.venue": "deribit"}) as tables:
        tables.add(Trade(*HEAD, 1, 1, "t1", 10.5, 2.0, "buy", backfilled=True))
        tables.add(Bbo(*HEAD, None, None, 1.0, 2.0, None, None))
        tables.add(Gap(*HEAD, 3, 5, 3, "lost", T0 - 9, T0))
        tables.add(Ticker(*HEAD, None, None, 1.0))
    assert tables.rows == {"trades": 1, "bbo": 1, "book_deltas": 0, "gaps": 1}
    [trade] = rows(tmp_path, "trades")
    assert trade == {
        "venue": "deribit", "symbol": "BTC", "topic": "book.BTC.raw", "connection": "a.1",
        "mono_ns": 5, "first": 1, "last": 1, "id": "t1", "price": 10.5, "size": 2.0,
        "side": "buy", "backfilled": True,
    }  # fmt: skip
    [bbo] = rows(tmp_path, "bbo")
    assert (bbo["bid"], bbo["bid_size"], bbo["ask"], bbo["first"]) == (1.0, 2.0, None, None)
    [gap] = rows(tmp_path, "gaps")
    assert (gap["channel"], gap["first"], gap["last"], gap["missing"]) == ("book", 3, 5, 3)
    assert gap["cause"] == "lost"


def test_times_are_times_to_the_nanosecond(tmp_path):
    with Tables(tmp_path, {}) as tables:
        tables.add(Bbo(*HEAD, None, None, 1.0, 2.0, 3.0, 4.0))
    table = read(tmp_path, "bbo")
    assert table.schema.field("recv_time").type == pa.timestamp("ns", "UTC")
    assert table["recv_time"].cast(pa.int64()).to_pylist() == [T0]
    assert table["event_time"].cast(pa.int64()).to_pylist() == [T0 - 7]
    moment = table["recv_time"].cast(pa.timestamp("us", "UTC"), safe=False)[0].as_py()
    assert moment.date() == datetime.date(2023, 11, 14)


def test_a_book_message_is_a_row_for_each_level_and_can_be_put_together_again(tmp_path):
    events = [
        BookSnapshot(*HEAD, None, 1, [(10.0, 1.0), (9.0, 2.0)], [(11.0, 1.0)]),
        BookDelta(*HEAD, 2, 3, [], [(11.0, 0.0), (12.0, 5.0)]),
    ]
    with Tables(tmp_path, {}) as tables:
        for event in events:
            tables.add(event)
    levels_of = rows(tmp_path, "book_deltas")
    for number, event in enumerate(events, 1):
        mine = [row for row in levels_of if row["message"] == number]
        assert {row["snapshot"] for row in mine} == {isinstance(event, BookSnapshot)}
        for side, levels in (("bid", event.bids), ("ask", event.asks)):
            assert [(r["price"], r["size"]) for r in mine if r["side"] == side] == levels
        assert {(row["first"], row["last"]) for row in mine} == {(event.first, event.last)}


def test_many_rows_are_written_in_groups_and_none_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 10)
    with Tables(tmp_path, {}) as tables:
        for n in range(25):
            tables.add(Trade(*HEAD, n, n, str(n), 1.0, 1.0, "sell"))
    assert read(tmp_path, "trades")["id"].to_pylist() == [str(n) for n in range(25)]
    assert pq.ParquetFile(tmp_path / "trades.parquet").num_row_groups == 3


def test_an_empty_table_still_has_its_columns_and_says_where_it_is_from(tmp_path):
    with Tables(tmp_path, {"gapless.venue": "deribit"}):
        pass
    for name, schema in module.SCHEMAS.items():
        table = read(tmp_path, name)
        assert table.num_rows == 0
        assert table.schema.names == schema.names
        assert table.schema.metadata[b"gapless.venue"] == b"deribit"
