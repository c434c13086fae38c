"""``gapless inspect``: exit codes, one JSON object a file, and what a person is shown."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.inspection.talk import (
    BOOK,
    DEPTH,
    change,
    depth,
    numbered,
    push,
    record,
    snapshot,
    trades,
)

from gapless.capture.jsonl import line_of, write_lines
from gapless.cli import run
from gapless.cli.exits import FINDINGS

WHOLE = numbered([snapshot(10), change(10, 15), change(15, 20), trades(1), trades(2)])
HOLED = numbered([snapshot(10), change(10, 15), change(16, 20), trades(1), trades(3)])


@pytest.fixture
def written(tmp_path):
    def write(records, name="capture.jsonl.gz"):
        path = tmp_path / name
        with path.open("wb") as file:
            write_lines(file, records)
        return str(path)

    return write


def inspect(capsys, *arguments):
    code = run(["inspect", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def documents(out):
    return [json.loads(line) for line in out.splitlines()]


def test_a_whole_capture_ends_well(capsys, written):
    code, out, err = inspect(capsys, written(WHOLE))
    assert (code, err) == (0, "")
    assert "deribit, 5 frames in, 0 out, 0 REST" in out
    assert "no finding" in out


def test_a_break_is_a_finding_with_its_frames(capsys, written):
    code, out, _ = inspect(capsys, written(HOLED))
    assert code == FINDINGS == 3
    assert f"frame 3: {BOOK} expected 15, got 16 (before it: frame 2)" in out
    assert "2 findings" in out


def test_one_json_object_a_file_and_one_for_all(capsys, written):
    whole, holed = written(WHOLE, "one.jsonl.gz"), written(HOLED, "two.jsonl.gz")
    code, out, _ = inspect(capsys, whole, holed, "--json")
    first, second, sums = documents(out)
    assert code == FINDINGS
    assert (first["file"], second["file"]) == (whole, holed)
    assert (first["totals"]["breaks"], second["totals"]["breaks"]) == (0, 2)
    assert sums["files"] == 2
    assert sums["totals"]["checked"] == first["totals"]["checked"] + second["totals"]["checked"]
    assert sums["totals"]["breaks"] == 2
    assert inspect(capsys, whole, "--json")[1].count("\n") == 1


def test_several_files_have_their_sums_shown(capsys, written):
    code, out, _ = inspect(capsys, written(WHOLE, "one.gz"), written(HOLED, "two.gz"))
    assert code == FINDINGS
    assert "2 files: 10 frames in" in out


def test_only_the_topics_asked_for(capsys, written):
    code, out, _ = inspect(capsys, written(HOLED), "--json", "--topic", "trades.")
    [document] = documents(out)
    assert [topic["channel"] for topic in document["topics"]] == ["trades"]
    assert code == FINDINGS


def test_a_venue_that_cannot_be_told_is_asked_for(capsys, written):
    path = written(numbered([{"hello": "world"}]))
    code, out, err = inspect(capsys, path)
    assert (code, out) == (64, "")
    assert "no venue fits; say which with --venue, one of" in err
    assert "deribit" in err


def test_of_several_venues_that_fit_the_candidates_are_named(capsys, written):
    level = '{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"BTCUSDT",'
    level += '"b":[["1","1"]],"a":[],"u":1,"seq":1}}'
    path = written(numbered([level]))
    code, _, err = inspect(capsys, path)
    assert code == 64
    assert "several venues fit" in err
    assert "bybit.linear" in err
    assert inspect(capsys, path, "--venue", "bybit.linear")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("FILE", "--venue", "deribt"),
        ("FILE", "--drop", "0"),
        ("FILE", "--around", "-1"),
        ("FILE", "--explain", "x"),
    ],
)
def test_wrong_use_is_told_before_anything_is_read(capsys, written, arguments):
    path = written(WHOLE)
    code, out, err = inspect(capsys, *(path if word == "FILE" else word for word in arguments))
    assert (code, out) == (64, "")
    assert err.startswith("gapless: ")


def test_a_capture_that_is_not_there_is_65_before_anything_is_read(capsys, written):
    code, out, err = inspect(capsys, written(WHOLE), "no-such-file")
    assert (code, out) == (65, "")
    assert err == "gapless: no-such-file: there is no such file\n"


def test_a_topic_that_is_nowhere_does_not_pass_for_clean(capsys, written):
    code, _, err = inspect(capsys, written(WHOLE), written(HOLED, "b.gz"), "--topic", "tradez")
    assert code == 64
    assert "no topic has 'tradez' in its name" in err


def test_a_file_that_ends_early_is_reported_up_to_there(capsys, tmp_path, written):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(Path(written(WHOLE)).read_bytes()[:-6])
    code, out, err = inspect(capsys, str(path), "--json")
    [document] = documents(out)
    assert code == 65
    assert document["frames"]["in"] == 5
    assert document["damaged"]["detail"]
    assert "is damaged at" in err


def test_a_foreign_line_is_named_and_what_stands_before_it_is_reported(capsys, tmp_path):
    path = tmp_path / "foreign.jsonl.gz"
    lines = [line_of(one) for one in HOLED[:3]] + [b"hello", line_of(HOLED[3])]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    code, out, _ = inspect(capsys, str(path))
    assert code == 65
    assert "damaged at line 4" in out
    assert "1 break" in out


def test_a_file_that_is_no_capture_is_damaged(capsys, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG....")
    code, out, err = inspect(capsys, str(path))
    assert (code, out) == (65, "")
    assert "is damaged" in err


def test_damage_in_one_file_does_not_hide_the_next(capsys, tmp_path, written):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(Path(written(WHOLE)).read_bytes()[:-6])
    code, out, _ = inspect(capsys, str(path), written(HOLED, "two.gz"), "--json")
    assert code == 65
    assert [one["totals"]["breaks"] for one in documents(out)] == [0, 2, 2]


def test_frames_left_out_are_named_and_missed(capsys, written):
    path = written(numbered(trades(number) for number in range(1, 101)))
    code, out, _ = inspect(capsys, path, "--json", "--drop", "5", "--seed", "3")
    [document] = documents(out)
    assert code == FINDINGS
    left_out = [one["frame"] for one in document["dropped"]["frames"]]
    assert len(left_out) == 5
    assert document["frames"]["in"] == 95
    [topic] = document["topics"]
    inner = [frame for frame in left_out if 1 < frame < 100]
    runs = [frame for frame in inner if frame + 1 not in left_out]
    assert [one["frame"] for one in topic["breaks"]] == [frame + 1 for frame in runs]
    again = inspect(capsys, path, "--json", "--drop", "5", "--seed", "3")[1]
    assert again == out
    assert inspect(capsys, path, "--drop", "5", "--seed", "3")[1].count("left out 5 frames") == 1


def test_frames_about_a_break(capsys, written):
    path = written(HOLED)
    _, out, _ = inspect(capsys, path, "--around", "1")
    assert f"about frame 3 of {BOOK}: expected 15, got 16, after frame 2" in out
    assert "first=17 last=20" in out
    assert "(+5)" in out
    [document] = documents(inspect(capsys, path, "--around", "1", "--json")[1])
    assert [one["frame"] for one in document["around"]] == [3, 5]
    assert "no break to show" in inspect(capsys, written(WHOLE), "--around", "1")[1]


def test_why_a_frame_was_judged_so(capsys, written):
    path = written(HOLED)
    assert "break after frame 2" in inspect(capsys, path, "--explain", "3")[1]
    [document] = documents(inspect(capsys, path, "--explain", "2", "--json")[1])
    assert any("next: expected" in line for line in document["explained"])
    assert "there is no frame 99" in inspect(capsys, path, "--explain", "99")[1]
    dropped = ("--drop", "99", "--explain", "3")
    assert "frame 3 was left out" in inspect(capsys, path, *dropped)[1]


def test_final_books_of_all_files_are_written(capsys, tmp_path, written):
    out = tmp_path / "books.ndjson"
    code, _, _ = inspect(
        capsys, written(WHOLE, "a.gz"), written(HOLED, "b.gz"), "--books", str(out)
    )
    assert code == FINDINGS
    first, second = [json.loads(line) for line in out.read_text().splitlines()]
    assert list(first) == ["file", "topic", "symbol", "state", "bids", "asks", "last"]
    assert (first["state"], first["last"]) == ("synced", 20)
    assert first["bids"] == [["100.0", "10.0"]]
    assert (second["state"], second["last"]) == ("broken", 15)


def test_a_book_file_that_cannot_be_written(capsys, tmp_path, written):
    code, _, err = inspect(capsys, written(WHOLE), "--books", str(tmp_path / "no" / "books"))
    assert code == 74
    assert "no/books" in err


def test_the_folder_may_tell_the_venue(capsys, written, tmp_path):
    folder = tmp_path / "binance"
    folder.mkdir()
    path = written(numbered([depth(1, 5), depth(6, 9)]), "binance/capture.jsonl.gz")
    [document] = documents(inspect(capsys, path, "--json")[1])
    assert document["venue"] == "binance.spot"
    assert document["topics"][0]["topic"] == DEPTH


def test_hostile_names_do_not_reach_the_terminal(capsys, written):
    frames = numbered([push("trades.\x1b[31m.raw", []), snapshot(1), "\x1b]0;evil\x07"])
    frames.append(record(9, {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "\x1b"}}))
    _, out, err = inspect(capsys, written(frames), "--explain", "1", "--around", "2")
    assert "\x1b" not in out + err
    assert "\x07" not in out + err
