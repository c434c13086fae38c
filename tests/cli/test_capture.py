"""Proving and converting captures as commands."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.capture.captures import T0, frame, only_segment, write
from tests.cli.programs import ended

from gapless.capture.format import Stored
from gapless.capture.reader import open_capture

CORPUS = Path(
    os.environ.get("GAPLESS_CORPUS") or Path(__file__).parents[2].parent / "shared" / "corpus"
)


def corpus(name: str) -> Path:
    path = CORPUS / f"{name}.jsonl.gz"
    if not path.exists():
        reason = f"recorded traffic is not here: {path}"
        if os.environ.get("GAPLESS_CORPUS_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "run", [frame(n) for n in range(10)], block_of=5)
    return tmp_path / "run"


# -- verify -----------------------------------------------------------------------------------


def test_a_whole_capture_is_0(folder):
    code, out, talk = ended("capture", "verify", folder)
    assert (code, talk) == (0, "")
    assert "whole (10 records in 2 blocks, 2023-11-14 22:13:20 to 2023-11-14 22:13:20)" in out
    assert str(only_segment(folder)) in out


def test_damage_is_65_with_its_place_and_the_others_are_still_looked_at(folder, tmp_path):
    path = only_segment(folder)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"BLK1") + 70] ^= 1
    path.write_bytes(data)
    write(tmp_path / "other", [frame(1)])
    code, out, _ = ended("capture", "verify", folder, tmp_path / "other")
    first, second = out.splitlines()
    assert code == 65
    assert f"DAMAGED at block 2, byte {data.rindex(b'BLK1')}: " in first
    assert "5 records" in first
    assert "whole" in second


def test_json_says_the_same(folder):
    path = only_segment(folder)
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    code, out, _ = ended("capture", "verify", "--json", folder)
    said = json.loads(out)
    assert code == 65
    assert (said["whole"], said["records"], said["venue"]) == (False, 10, "deribit")
    assert said["beyond_bytes"] == 38
    assert "incomplete (38 bytes)" in said["damage"]


def test_a_recording_that_stopped_early_is_said_to_though_the_file_is_whole(tmp_path):
    about = '{"reason":"cannot write: no space","lost":216}'
    last = Stored("meta", "recorder", 2, T0, about, event="stopped")
    write(tmp_path / "c", [frame(1), last])
    code, out, _ = ended("capture", "verify", tmp_path / "c")
    assert code == 0
    assert "RECORDING STOPPED EARLY" in out
    assert '"lost":216' in out
    assert json.loads(ended("capture", "verify", tmp_path / "c", "--json")[1])["stopped"] == about


def test_nothing_to_verify_is_65(tmp_path):
    code, out, talk = ended("capture", "verify", tmp_path / "none")
    assert (code, out) == (65, "")
    assert "there is no such file" in talk


# -- convert ----------------------------------------------------------------------------------


def test_segments_and_lines_become_each_other_without_loss(folder, tmp_path):
    lines, again, back = tmp_path / "c.jsonl.gz", tmp_path / "again", tmp_path / "d.jsonl.gz"
    for source, target in ((folder, lines), (lines, again), (again, back)):
        code, out, talk = ended("capture", "convert", source, target)
        assert (code, out) == (0, "")
        assert talk.startswith("gapless: 10 records: ")
    assert lines.read_bytes() == back.read_bytes()
    assert list(open_capture(again)) == list(open_capture(folder))
    assert lines.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name",
    [
        "deribit/cryptofeed_deribit_20210417",
        "huobi/cryptofeed_huobi_20210417",
        "binance/cryptofeed_binance_20211012",
    ],
)
def test_recorded_traffic_of_others_survives_line_for_line(name, tmp_path):
    path = corpus(name)
    assert ended("capture", "convert", path, tmp_path / "ours")[0] == 0
    assert ended("capture", "verify", tmp_path / "ours")[0] == 0
    assert ended("capture", "convert", tmp_path / "ours", tmp_path / "back.jsonl.gz")[0] == 0
    with gzip.open(path, "rt") as was, gzip.open(tmp_path / "back.jsonl.gz", "rt") as now:
        assert [json.loads(line) for line in now] == [json.loads(line) for line in was]


def test_parquet_tables_hold_what_the_venue_sent(tmp_path):
    path = corpus("binance/cryptofeed_binance_20210417")
    code, _, talk = ended("capture", "convert", path, tmp_path / "c.parquet")
    assert code == 0, talk
    with gzip.open(path, "rt") as file:
        raw = [json.loads(row["raw"]) for row in map(json.loads, file) if row["dir"] == "in"]
    data = [one["data"] for one in raw if isinstance(one, dict) and "data" in one]
    trades = [d for d in data if d.get("e") in ("trade", "aggTrade")]
    table = pq.read_table(tmp_path / "c.parquet" / "trades.parquet")
    sent = sorted((d["s"], float(d["p"]), float(d["q"]), d["T"] * 1_000_000) for d in trades)
    times = table["event_time"].cast("int64").to_pylist()
    found = sorted(
        zip(*(table[name].to_pylist() for name in ("symbol", "price", "size")), times, strict=True)
    )
    assert [(s.upper(), p, q) for s, p, q, _ in found] == [(s, p, q) for s, p, q, _ in sent]
    assert len(found) > 10
    gaps = pq.read_table(tmp_path / "c.parquet" / "gaps.parquet")
    assert gaps.num_rows == 0
    deltas = pq.read_table(tmp_path / "c.parquet" / "book_deltas.parquet")
    assert len(set(deltas["symbol"].to_pylist())) == 10
    assert any(deltas["snapshot"].to_pylist())


def test_of_a_damaged_capture_the_rest_is_converted_and_it_is_65(folder, tmp_path):
    path = only_segment(folder)
    path.write_bytes(path.read_bytes()[:-100])
    code, _, talk = ended("capture", "convert", folder, tmp_path / "c.jsonl.gz")
    assert code == 65
    assert "5 records" in talk
    assert "DAMAGED" in talk
    assert len(list(open_capture(tmp_path / "c.jsonl.gz"))) == 5


def test_what_is_there_is_never_written_over(folder, tmp_path):
    taken = tmp_path / "taken.jsonl.gz"
    taken.write_bytes(b"mine")
    for target in (taken, folder):
        code, _, talk = ended("capture", "convert", folder, target)
        assert code == 64
        assert "exists already" in talk
    assert taken.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["c.jsonl", "c.json", "c.gz", "c.jsonl.zst"])
def test_a_name_that_promises_a_file_is_not_made_a_folder(folder, tmp_path, name):
    code, out, talk = ended("capture", "convert", folder, tmp_path / name)
    assert (code, out) == (64, "")
    assert "lines end in .jsonl.gz" in talk
    assert not (tmp_path / name).exists()


def test_a_source_that_is_not_there_makes_nothing(tmp_path):
    code, _, talk = ended("capture", "convert", tmp_path / "none", tmp_path / "target")
    assert code == 65
    assert "no such file" in talk
    assert not (tmp_path / "target").exists()


def test_a_capture_whose_venue_nobody_knows_is_64_with_candidates(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"ts":1,"conn":"a","dir":"in","raw":"{}"}\n')
    code, _, talk = ended("capture", "convert", path, tmp_path / "c.parquet")
    assert code == 64
    assert "--venue" in talk
    assert "deribit" in talk
    assert not (tmp_path / "c.parquet").exists()
    code, _, talk = ended("capture", "convert", path, tmp_path / "d", "--venue", "nowhere")
    assert code == 64
    assert "no venue" in talk
