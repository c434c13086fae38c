"""The frames about a break: those of its topic, before and after, and no others."""

from __future__ import annotations

from tests.inspection.talk import BOOK, change, found, numbered, record, snapshot, trades

from gapless.inspection.around import PLACES_MAX, Around, places_in
from gapless.inspection.inspector import Inspector
from gapless.venues._registry import load


def around(records, count, venue="deribit"):
    watching = Around(Inspector(load(venue)), places_in(found(records, venue)), count)
    for one in records:
        watching.feed(one)
    return watching.shown()


def frames_in(shown):
    return [int(line.lstrip("> ").split()[0]) for line in shown.lines]


HOLED = numbered(
    [
        snapshot(10),
        change(10, 11),
        trades(1),
        change(11, 12),
        change(20, 21),
        trades(2),
        change(21, 22),
        change(22, 23),
    ]
)


def test_frames_of_the_topic_before_and_after_its_break():
    [place] = around(HOLED, 2)
    assert (place.topic, place.frame) == (BOOK, 5)
    assert frames_in(place) == [2, 4, 5, 7, 8]
    assert [line[0] for line in place.lines] == [" ", " ", ">", " ", " "]
    assert "expected 12, got 20, after frame 4" in place.what


def test_each_is_decoded_with_its_distance_in_time_and_number():
    [place] = around(HOLED, 1)
    before, at, _ = place.lines
    assert "last=12" in before
    assert "(+1)" in before
    assert "last=21" in at
    assert "(+9)" in at
    assert "+1.000 s" in at


def test_none_before_and_none_after_leaves_the_break():
    [place] = around(HOLED, 0)
    assert frames_in(place) == [5]


def test_frames_of_another_connection_are_not_shown():
    other = [record(100 + n, change(n, n + 1), conn="other") for n in range(3)]
    [place] = around([*HOLED[:4], *other, *HOLED[4:]], 3)
    assert frames_in(place) == [1, 2, 4, 5, 7, 8]


def test_only_the_first_breaks_are_shown():
    holed = numbered(trades(n) for n in range(1, 200, 3))
    assert len(around(holed, 1)) == PLACES_MAX


def test_a_whole_capture_has_nothing_to_show():
    assert around(numbered([snapshot(10), change(10, 11)]), 3) == []


def test_a_hole_in_a_connection_shows_whatever_came():
    beats = numbered(
        {
            "channel": "heartbeats",
            "timestamp": "2026-08-09T21:05:48.228568804Z",
            "sequence_num": number,
            "events": [{"current_time": "x", "heartbeat_counter": number}],
        }
        for number in (0, 1, 5, 6)
    )
    [place] = around(beats, 1, "coinbase")
    assert place.topic == "connection"
    assert frames_in(place) == [2, 3, 4]
