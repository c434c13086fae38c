"""A capture read once: frames, topics, books, requests, and what could not be read."""

from __future__ import annotations

import pytest
from tests.inspection import talk
from tests.inspection.talk import (
    BOOK,
    DEPTH,
    SECOND,
    TRADES,
    change,
    depth,
    found,
    inspected,
    numbered,
    only,
    push,
    record,
    snapshot,
    trades,
)

from gapless.core.codec import Ack
from gapless.inspection import inspector as module
from gapless.inspection.inspector import STRANGERS_MAX, Inspector
from gapless.inspection.report import BookFound
from gapless.venues._registry import load, names

LEVELS = '{"lastUpdateId":%d,"bids":[["100.00","1"]],"asks":[["101.00","2"]]}'
DEPTH_URL = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"


def test_a_whole_chain_is_checked_and_its_book_synced():
    frames = numbered([snapshot(10), change(10, 15), change(15, 20), trades(1, 2), trades(3)])
    result = found(frames)
    book, made = only(result, BOOK), only(result, TRADES)
    assert (book.frames, book.checked, book.breaks) == (3, 2, [])
    assert book.book is not None
    assert (book.book.state, book.book.levels, book.book.last) == ("synced", 2, 20)
    assert (made.frames, made.checked) == (2, 2)
    assert (result.frames.incoming, result.undecoded) == (5, 0)


def test_numbers_are_compared_before_any_snapshot():
    result = found(numbered([depth(1, 5), depth(6, 9), depth(12, 12)]), "binance.spot")
    book = only(result, DEPTH)
    assert (book.checked, book.broken) == (2, 1)
    assert book.book is not None
    assert book.book.state == "syncing"


@pytest.mark.parametrize("url", [DEPTH_URL, None])
def test_a_reply_that_is_a_snapshot_bridges_its_book(url):
    records = [
        record(1, depth(1, 5)),
        record(2, LEVELS % 7, "rest", "rest", url=url),
        record(3, depth(6, 9)),
    ]
    book = only(found(records, "binance.spot"), DEPTH).book
    assert book is not None
    assert (book.state, book.last) == ("synced", 9)


def test_a_snapshot_that_comes_before_its_topic_is_kept_for_it():
    records = [
        record(1, "", "open", url="wss://stream.binance.com:9443/stream"),
        record(2, LEVELS % 7, "rest", "rest", url=DEPTH_URL),
        record(3, depth(6, 9)),
        record(4, depth(10, 12)),
    ]
    book = only(found(records, "binance.spot"), DEPTH).book
    assert book is not None
    assert (book.state, book.last) == ("synced", 12)


def test_other_replies_are_counted_and_left_alone():
    url = "https://api.binance.com/api/v3/exchangeInfo"
    records = [record(1, depth(1, 5)), record(2, '{"symbols":[]}', "rest", "rest", url=url)]
    result = found(records, "binance.spot")
    assert (result.frames.rest, result.undecoded) == (1, 0)


def test_a_snapshot_that_is_none_is_undecoded():
    records = [record(1, depth(1, 5)), record(2, "<html>", "rest", "rest", url=DEPTH_URL)]
    result = found(records, "binance.spot")
    assert result.undecoded == 1
    assert result.undecoded_channels[0].frame == 2


def test_topics_in_the_url_are_there_before_they_speak():
    url = f"wss://stream.binance.com:9443/stream?streams=ethusdt@trade/{DEPTH}"
    result = found([record(1, "", "open", url=url)], "binance.spot")
    assert {(topic.topic, topic.frames) for topic in result.topics} == {
        ("ethusdt@trade", 0),
        (DEPTH, 0),
    }


def test_topics_that_were_asked_for_are_there_and_their_answer_is_timed():
    call = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe"}
    reply = {"jsonrpc": "2.0", "id": 1, "result": [BOOK]}
    records = [
        record(1, {**call, "params": {"channels": [BOOK, TRADES]}}, "out", at_ns=SECOND),
        record(2, reply, at_ns=SECOND + 50_000_000),
    ]
    result = found(records)
    assert {topic.topic: topic.refused for topic in result.topics} == {BOOK: False, TRADES: True}
    assert result.frames.out == 1
    assert (result.requests.sent, result.requests.answered) == (1, 1)
    assert result.requests.ack_ms_mean == pytest.approx(50.0)
    assert [one.topics for one in result.requests.refused] == [(TRADES,)]
    assert result.totals.findings == 0


def test_what_no_channel_explains_is_counted_with_an_example():
    chart = push("chart.trades.BTC-PERPETUAL.1", {"tick": 1})
    result = found(numbered([chart, chart, snapshot(1), "not \ud800 JSON"]))
    assert result.undecoded == 3
    first, second = result.undecoded_channels
    assert (first.count, first.frame) == (2, 1)
    assert "chart.trades" in first.what
    assert second.example == "not \\ud800 JSON"
    assert result.totals.findings == 0


def test_kinds_of_undecoded_frames_are_bounded():
    frames = numbered(push(f"chart.{n}", {}) for n in range(STRANGERS_MAX + 20))
    result = found(frames)
    assert result.undecoded == STRANGERS_MAX + 20
    assert len(result.undecoded_channels) == STRANGERS_MAX + 1
    assert sum(one.count for one in result.undecoded_channels) == STRANGERS_MAX + 20


def test_topics_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "TOPICS_MAX", 2)
    frames = numbered(push(f"trades.BTC-{n}.raw", []) for n in range(3))
    result = found(frames)
    assert len(result.topics) == 2
    assert result.undecoded == 1


def test_what_waits_for_a_snapshot_that_never_comes_is_let_go(monkeypatch):
    monkeypatch.setattr(module, "WAITING_MAX", 5)
    one = inspected(numbered(depth(n, n) for n in range(1, 20)), "binance.spot")
    topic = one.topics["binance.spot", DEPTH]
    assert topic.frames == 19
    assert topic.sums().checked == 18
    assert topic.stream.arrived <= 6
    late = record(30, LEVELS % 19, "rest", "rest", url=DEPTH_URL)
    one.feed(late)
    one.feed(record(31, depth(20, 21)))
    assert topic.state == "synced"


def test_each_connection_is_a_session_of_its_own():
    texts = [snapshot(10), change(10, 15)]
    records = [
        *(record(n, text, conn="one") for n, text in enumerate(texts, 1)),
        *(record(n, text, conn="two") for n, text in enumerate(texts, 3)),
        record(5, change(15, 16), conn="one"),
        record(6, change(15, 16), conn="two"),
    ]
    result = found(records)
    assert result.connections == 2
    book = only(result, BOOK)
    assert (book.frames, book.checked, book.broken) == (6, 4, 0)
    assert book.book is not None
    assert book.book.state == "synced"


def test_numbers_do_not_go_on_over_a_close():
    records = [
        record(1, snapshot(10)),
        record(2, "gone", "close"),
        record(3, change(50, 51)),
        record(4, snapshot(60)),
    ]
    result = found(records)
    book = only(result, BOOK)
    assert (book.checked, book.broken) == (0, 0)
    assert result.connections == 2
    assert book.book is not None
    assert book.book.state == "synced"


def test_a_book_whose_connection_was_closed_is_what_it_was_then():
    opening = [record(1, snapshot(10)), record(2, change(10, 15))]
    closed = found([*opening, record(3, "done", "close")])
    assert only(closed, BOOK).book == BookFound("synced", 2, 0, 0, 15)
    assert closed.totals.findings == 0
    broke = found([*opening, record(3, change(16, 20)), record(4, "", "close")])
    assert only(broke, BOOK).book == BookFound("broken", 2, 0, 1, 15)


def test_a_book_waits_for_the_snapshot_of_a_new_connection():
    records = [
        record(1, snapshot(10)),
        record(2, "gone", "close"),
        record(3, "", "open", url="wss://www.deribit.com/ws/api/v2"),
        record(4, trades(1)),
    ]
    book = only(found(records), BOOK).book
    assert book is not None
    assert book.state == "synced"  # nothing has asked for it since
    asked = {"id": 1, "method": "public/subscribe", "params": {"channels": [BOOK]}}
    book = only(found([*records, record(5, asked, "out")]), BOOK).book
    assert book is not None
    assert (book.state, book.broken) == ("syncing", 0)


def test_a_hole_in_the_connections_own_numbers_breaks_its_books():
    def level2(number, kind, size):
        update = {"side": "bid", "price_level": "100", "new_quantity": size}
        events = [{"type": kind, "product_id": "BTC-USD", "updates": [update]}]
        return {
            "channel": "l2_data",
            "timestamp": "2026-08-09T21:05:48.228568804Z",
            "sequence_num": number,
            "events": events,
        }

    frames = [level2(0, "snapshot", "1"), level2(1, "update", "2"), level2(3, "update", "3")]
    result = found(numbered(frames), "coinbase")
    counted = only(result, "connection")
    assert (counted.frames, counted.checked) == (3, 2)
    assert [(one.frame, one.expected, one.got, one.previous) for one in counted.breaks] == [
        (3, 2, 3, 2)
    ]
    [book] = [topic.book for topic in result.topics if topic.book is not None]
    assert (book.state, book.broken) == ("broken", 1)


def test_a_capture_may_hold_several_markets_of_one_venue():
    level = '{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1700000000000,"data":{"s":'
    level += '"BTCUSDT","b":[["1","1"]],"a":[["2","1"]],"u":1,"seq":1}}'
    records = [
        record(1, "", "open", "one", url="wss://stream.bybit.com/v5/public/linear"),
        record(2, "", "open", "two", url="wss://stream.bybit.com/v5/public/spot"),
        record(3, level, conn="one"),
        record(4, level, conn="two"),
    ]
    inspector = Inspector(load("bybit.linear"), [load(name) for name in names()])
    for one in records:
        inspector.feed(one)
    assert inspector.venues == ["bybit.linear", "bybit.spot"]
    assert [key[0] for key in inspector.topics] == ["bybit.linear", "bybit.spot"]


def test_records_without_any_time_are_read():
    bare = [
        talk.Record("in", "ws", None, None, one.text, None, one.number)
        for one in numbered([snapshot(10), change(10, 15), change(16, 18)])
    ]
    book = only(found(bare), BOOK)
    assert (book.checked, book.broken, book.rate) == (2, 1, None)


def test_what_a_frame_said_is_there_and_that_of_another_record_is_not():
    inspector = Inspector(load("deribit"))
    said = inspector.read(record(1, {"jsonrpc": "2.0", "id": 4, "result": [BOOK]}))
    assert isinstance(said, Ack)
    assert inspector.read(record(2, "", "close")) is None


def test_only_who_asked_is_told_what_was_delivered():
    frames = numbered([snapshot(10), change(20, 30)])
    assert list(inspected(frames).delivered) == []
    told = inspected(frames, tell=True)
    assert [type(event).__name__ for event in told.delivered] == ["BookSnapshot", "Gap"]
    assert [need.kind for need in told.needs] == ["resubscribe"]


def test_silences_are_named_the_longest_first():
    records = [
        record(1, trades(1), at_ns=SECOND),
        record(2, snapshot(1), at_ns=2 * SECOND),
        record(3, trades(2), at_ns=5 * SECOND),
        record(4, change(1, 2), at_ns=12 * SECOND),
    ]
    longest = found(records).silences
    assert [(one.topic, one.seconds, one.frame) for one in longest] == [
        (BOOK, 10.0, 4),
        (TRADES, 4.0, 3),
    ]
