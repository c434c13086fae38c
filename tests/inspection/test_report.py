"""The report: its keys, its sums, and what is a finding."""

from __future__ import annotations

import json

import msgspec
from tests.inspection.talk import (
    BOOK,
    change,
    found,
    inspected,
    numbered,
    only,
    push,
    record,
    snapshot,
    trades,
)

from gapless.inspection.report import BookFound, Checksums, Damage, report, total

BROKEN = numbered([snapshot(10), change(10, 15), change(16, 20), trades(1), trades(3)])


def test_the_keys_that_scripts_rely_on_come_first_and_are_named_so():
    document = json.loads(msgspec.json.encode(found(BROKEN)))
    assert list(document)[:6] == ["file", "venue", "frames", "undecoded", "topics", "totals"]
    assert document["frames"] == {"in": 5, "out": 0, "rest": 0}
    topic = document["topics"][0]
    assert list(topic)[:10] == [
        "topic",
        "channel",
        "symbol",
        "frames",
        "checked",
        "breaks",
        "duplicates",
        "out_of_order",
        "checksums",
        "book",
    ]
    assert list(topic["checksums"])[:2] == ["checked", "failed"]
    assert list(topic["book"])[:3] == ["state", "levels", "crossed"]
    assert topic["breaks"] == [
        {"frame": 3, "expected": 15, "got": 16, "previous": 2, "connection": "ws"}
    ]
    assert document["topics"][1]["book"] is None


def test_totals_are_the_sums_of_the_topics():
    result = found(BROKEN)
    sums = result.totals
    assert (sums.topics, sums.checked, sums.breaks, sums.findings) == (2, 3, 2, 2)
    assert (sums.book.synced, sums.book.broken, sums.book.levels) == (0, 1, 2)
    both = total([result, found(numbered([snapshot(1)]))])
    assert (both.topics, both.checked, both.breaks, both.frames.incoming) == (3, 3, 2, 6)
    assert (both.book.synced, both.book.broken) == (1, 1)


def test_a_break_a_failed_checksum_and_a_broken_book_are_findings():
    topic = only(found(numbered([snapshot(10), change(10, 15)])), BOOK)
    assert topic.wrong == 0
    topic.checksums = Checksums(5, 2)
    assert topic.wrong == 2
    topic.checksums = Checksums()
    topic.book = BookFound("broken", 1, 0, 0, None)
    assert topic.wrong == 1
    topic.book = BookFound("synced", 1, 0, 2, None)
    assert topic.wrong == 1


def test_silence_a_crossed_book_a_refusal_and_an_unknown_channel_are_none():
    reply = {"jsonrpc": "2.0", "id": 1, "error": {"code": 11050, "message": "bad_request"}}
    records = [
        record(1, snapshot(10, bid=102.0, ask=101.0)),
        record(2, reply),
        record(3, push("chart.trades.BTC-PERPETUAL.1", {})),
        record(900, change(10, 15)),
    ]
    result = found(records)
    topic = only(result, BOOK)
    assert topic.silence_s == 899.0
    assert topic.book is not None
    assert topic.book.crossed == 2
    assert topic.crossed_frame == 1
    assert (result.undecoded, result.totals.refused) == (1, 1)
    assert result.totals.findings == 0


def test_only_the_topics_asked_for_are_listed_and_summed():
    inspector = inspected(BROKEN)
    result = report(inspector, "capture", topic="trades.")
    assert [topic.topic for topic in result.topics] == ["trades.BTC-PERPETUAL.raw"]
    assert (result.totals.breaks, result.totals.checked) == (1, 1)
    assert result.totals.frames.incoming == 5


def test_rates_and_the_time_between_first_and_last():
    result = found([record(n, change(n, n + 1), at_ns=n * 500_000_000) for n in range(1, 12)])
    assert only(result, BOOK).rate == 2.0
    assert result.span_s == 5.0


def test_damage_is_counted():
    result = report(inspected(BROKEN), "capture", damaged=Damage("line 6", "cut"))
    assert result.totals.damaged == 1


def test_names_from_the_wire_are_made_safe():
    result = found(numbered([push("trades.\x1b[31m.raw", []), push("trades.\ud800.raw", [])]))
    text = msgspec.json.encode(result).decode()
    assert "\x1b" not in text
    assert all(topic.topic.isprintable() for topic in result.topics)
