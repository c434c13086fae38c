"""Frames in words, and the reasons for each verdict."""

from __future__ import annotations

import zlib

from tests.inspection.talk import (
    BOOK,
    change,
    delta,
    image,
    inspected,
    numbered,
    push,
    record,
    snapshot,
    trade,
    trades,
)

from gapless.core.codec import Ack, Bundle, Stray
from gapless.errors import DecodeError
from gapless.inspection.inspector import Inspector
from gapless.inspection.words import EVENTS_SHOWN, Explainer, fields_of, said_in_words
from gapless.venues._registry import load


def explained(frames, number, venue="deribit"):
    explainer = Explainer(Inspector(load(venue), texts=True, tell=True))
    for one in frames:
        if one.number == number:
            return "\n".join(explainer.explain(one))
        explainer.feed(one)
    raise AssertionError("no such frame")


def test_fields_stand_by_name_with_the_difference_from_the_number_before():
    words = fields_of(delta(5, 9, [(1.5, 2.0)]), 4)
    assert words == "BookDelta first=5 last=9 bids=[[1.5, 2]] asks=[] (+5)"
    assert fields_of(delta(5, 9), None).endswith("asks=[]")
    assert "(-3)" in fields_of(delta(1, 1), 4)


def test_every_digit_of_a_price_is_shown():
    words = fields_of(delta(5, 9, [(101234.56, 1000000.5), (1234567.0, 0.00000001)]), None)
    assert "bids=[[101234.56, 1000000.5], [1234567, 1e-08]]" in words


def test_long_lists_and_hostile_text_are_cut_and_made_safe():
    words = fields_of(image(1, [(float(n), 1.0) for n in range(9)]), None)
    assert words.count("1]") == 3
    assert "6 more" in words
    evil = Stray("channel \x1b[31m")
    assert "\x1b" not in "".join(said_in_words(evil, {}))


def test_readings_errors_and_bundles_have_words():
    assert list(said_in_words(Ack(7), {})) == ["Ack request_id=7 topics=None server_ns=None"]
    assert list(said_in_words(DecodeError("no frame"), {})) == ["cannot be decoded: no frame"]
    both = list(said_in_words(Bundle((Ack(7),), (trade(3),)), {}))
    assert both[0].startswith("Ack")
    assert "Trade" in both[1]
    assert list(said_in_words(None, {})) == []


def test_numbers_are_followed_from_frame_to_frame():
    before: dict[str, int] = {}
    [first] = said_in_words([trade(3)], before)
    [second] = said_in_words([trade(7)], before)
    assert "(+" not in first
    assert second.endswith("(+4)")


def test_a_frame_of_many_events_is_cut():
    many = list(said_in_words([trade(n) for n in range(EVENTS_SHOWN + 7)], {}))
    assert len(many) == EVENTS_SHOWN + 1
    assert many[-1] == "and 7 events more"


def test_why_a_message_is_the_next():
    words = explained(numbered([snapshot(10), change(10, 15), change(15, 20)]), 3)
    assert "next: expected 16 after frame 2, and it came" in words
    assert "synced with 2 levels before, synced with 2 levels now" in words
    assert "delivered: BookDelta" in words


def test_why_a_message_is_a_break():
    words = explained(numbered([snapshot(10), change(10, 15), change(16, 20)]), 3)
    assert "break after frame 2: expected 15, got 16" in words
    assert "synced with 2 levels before, broken with 2 levels now" in words
    assert f"delivered: Gap of {BOOK}, because numbers are missing" in words
    assert f"asked for: resubscribe of {BOOK}" in words


def test_why_a_message_is_a_duplicate_or_late_or_the_first():
    frames = numbered([trades(1), trades(5), trades(3), trades(5)])
    assert "the count begins here; next is 2" in explained(frames, 1)
    assert "it belongs into a hole that was announced before" in explained(frames, 3)
    assert "duplicate: expected 6" in explained(frames, 4)


def test_why_a_frame_has_no_verdict():
    chart = push("chart.trades.BTC-PERPETUAL.1", {})
    assert "undecoded, no channel" in explained(numbered([chart]), 1)
    assert "cannot be decoded" in explained(numbered(["no JSON"]), 1)
    ticker = push(
        "ticker.BTC-PERPETUAL.raw",
        {"timestamp": 1_700_000_000_000, "last_price": 1.0, "mark_price": 1.0},
    )
    assert "numbers: there are none" in explained(numbered([ticker]), 1)
    assert "open on connection ws" in explained([record(1, "", "open")], 1)


def test_why_a_checksum_is_doubted():
    def book(action, bids, checksum):
        data = {"asks": [], "bids": bids, "ts": "1700000000000", "checksum": checksum}
        arg = {"channel": "books", "instId": "BTC-USDT"}
        return {"arg": arg, "action": action, "data": [data]}

    plain = zlib.crc32(b"100.0:1")
    signed = plain - (1 << 32) if plain >= 1 << 31 else plain
    frames = numbered(
        [
            book("snapshot", [["100.0", "1", "0", "1"]], signed),
            book("update", [["101.0", "1", "0", "1"]], 1),
        ]
    )
    words = explained(frames, 2, "okx")
    assert "checksum: 1 was sent; the book does not agree" in words


def test_what_the_connections_own_number_says():
    frames = numbered(
        [
            {
                "channel": "heartbeats",
                "timestamp": "2026-08-09T21:05:48.228568804Z",
                "sequence_num": number,
                "events": [{"current_time": "x", "heartbeat_counter": number}],
            }
            for number in (0, 1, 5)
        ]
    )
    assert "connection: next: expected 1 after frame 1" in explained(frames, 2, "coinbase")
    assert "connection: break after frame 2: expected 2, got 5" in explained(frames, 3, "coinbase")


def test_explaining_changes_nothing_of_what_is_found():
    frames = numbered([snapshot(10), change(10, 15), change(16, 20)])
    inspector = Inspector(load("deribit"), texts=True, tell=True)
    explainer = Explainer(inspector)
    for one in frames:
        explainer.explain(one)
    plain = inspected(frames)
    for key, topic in plain.topics.items():
        assert inspector.topics[key].sums().breaks == topic.sums().breaks
        assert inspector.topics[key].state == topic.state
