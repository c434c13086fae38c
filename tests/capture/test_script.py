"""A capture as connections and answers."""

from __future__ import annotations

import pytest
from tests.capture.captures import T0, frame, write

from gapless.capture.format import Stored
from gapless.capture.records import Record
from gapless.capture.script import Answer, Answers, load_script, make_script

MS = 1_000_000


def rest(at_ns, url, body="{}", request=None, status=200):
    return Stored("rest", "rest", at_ns, T0 + at_ns, body, url, status, request)


def test_a_capture_of_ours_has_connections_with_ends(tmp_path):
    write(
        tmp_path,
        [
            Stored("meta", "recorder", 0, T0, "{}", event="started"),
            Stored("open", "a.1", 5 * MS, T0 + 5 * MS, "", "wss://v:1/public?x=1"),
            frame(6, "ask", kind="out"),
            frame(7, "yes"),
            Stored("open", "b.2", 8 * MS, T0 + 8 * MS, "", "wss://v/other"),
            frame(9, "data", conn="b.2"),
            Stored("close", "a.1", 10 * MS, T0 + 10 * MS, "ConnectionLost: closed with 1001"),
            Stored("close", "c.3", 11 * MS, T0 + 11 * MS, "DialFailed: no"),
        ],
    )
    script = load_script(tmp_path)
    assert script.ours
    first, second = script.connections
    assert (first.name, first.path, first.at_ns) == ("a.1", "/public", 5 * MS)
    assert [(line.at_ns, line.inbound, line.text) for line in first.lines] == [
        (6 * MS, False, "ask"),
        (7 * MS, True, "yes"),
    ]
    assert (first.ended_ns, first.reason) == (10 * MS, "ConnectionLost: closed with 1001")
    assert (second.path, second.ended_ns) == ("/other", None)
    assert (script.start_mono_ns, script.start_wall_ns) == (0, T0)
    assert (script.length_ns, script.records) == (11 * MS, 8)


def test_a_foreign_capture_begins_with_its_first_frame_and_may_lack_times():
    records = [
        Record("meta", "meta", None, None, "{}", None, 1),
        Record("in", "ws.1", None, T0, "one", None, 2),
        Record("in", "ws.2", None, None, "two", None, 3),
        Record("in", "ws.1", None, T0 + 5, "three", None, 4),
        Record("in", "ws.1", None, T0 + 3, "back", None, 5),
        Record("in", "ws.1", None, T0 + 9, "", None, 6, None, None, None, "binary", "QQ=="),
    ]
    script = make_script(records)
    assert not script.ours
    assert [(c.name, c.path, c.at_ns) for c in script.connections] == [
        ("ws.1", "", 0),
        ("ws.2", "", 0),
    ]
    lines = [line for connection in script.connections for line in connection.lines]
    assert sorted((line.number, line.at_ns, line.text) for line in lines) == [
        (2, 0, "one"),
        (3, 0, "two"),
        (4, 5, "three"),
        (5, 5, "back"),
    ]
    assert script.length_ns == 9


# -- answers ----------------------------------------------------------------------------------


def answers(*records):
    return make_script(item.numbered(n) for n, item in enumerate(records, 1)).answers


def body(found):
    return None if found is None else found.body


def test_an_answer_is_found_by_path_and_symbol():
    found = answers(
        rest(0, "https://v/api/v1/depth?symbol=A&limit=1000", "a"),
        rest(1, "https://v/api/v1/depth?symbol=B&limit=1000", "b"),
        rest(2, "https://v/api/v1/trades?symbol=A", "t"),
    )
    for symbol, expected in (("A", "a"), ("B", "b"), ("C", None)):
        asked = {"symbol": symbol, "limit": "5000"}
        assert body(found.find("/api/v3/depth", asked, None, 0)) == expected
    assert body(found.find("/api/v3/trades", {"symbol": "A"}, None, 0)) == "t"
    assert found.find("/depth", {"symbol": "A"}, None, 0) is None


def test_the_nearest_in_time_is_given_and_never_an_earlier_one_again():
    found = answers(*[rest(n * 100, "https://v/d?s=A", str(n)) for n in range(5)])
    assert body(found.find("/d", {"s": "A"}, None, 190)) == "2"
    assert body(found.find("/d", {"s": "A"}, None, 0)) == "2"
    assert body(found.find("/d", {"s": "A"}, None, 10_000)) == "4"
    assert body(found.find("/d", {"s": "A"}, None, 0)) == "4"


def test_what_was_posted_must_be_the_same():
    found = answers(
        rest(0, "https://v/info", "a", '{"type":"a"}'), rest(1, "https://v/info", "b", '{"b":1}')
    )
    assert body(found.find("/info", {}, '{"b":1}', 0)) == "b"
    assert found.find("/info", {}, '{"c":1}', 0) is None
    assert found.find("/info", {}, None, 0) is None


def test_one_answer_without_a_question_is_taken_and_of_several_none():
    one = Answer(0, "", {}, None, 200, "only")
    assert body(Answers([one]).find("/any", {}, None, 5)) == "only"
    assert Answers([one, one]).find("/any", {}, None, 5) is None


@pytest.mark.parametrize("status", [200, 429])
def test_the_status_is_kept(status):
    [found] = answers(rest(0, "https://v/d", "x", None, status)).all
    assert found.status == status
