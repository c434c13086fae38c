"""JSON lines: what others recorded, as they wrote it, and what becomes of damage."""

from __future__ import annotations

import gzip
import io
import json
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.capture.captures import T0, numbered, stored

from gapless.capture import jsonl
from gapless.capture.jsonl import line_of, read_lines, write_lines
from gapless.capture.records import CaptureDamaged

LINES = [
    {"ts": None, "conn": "meta", "dir": "meta", "raw": "{}", "event": "config"},
    {"ts": T0, "conn": "ws.1", "dir": "meta", "raw": "", "event": "connect", "url": "wss://x/y"},
    {"ts": T0 + 1, "conn": "ws.1", "dir": "out", "raw": '{"op":"sub"}'},
    {"ts": T0 + 2, "conn": "ws.1", "dir": "in", "raw": '{"é":1}', "enc": "gzip", "bin_b64": "QQ=="},
    {"ts": T0 + 3, "conn": "rest", "dir": "in", "raw": "{}", "url": "https://x/depth?symbol=A"},
    {"ts": T0 + 4, "conn": "rest", "dir": "in", "raw": "{}"},
]


def lines(*objects):
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in objects)


def read_until_damage(path):
    records = []
    try:
        for record in read_lines(path):
            records.append(record)  # noqa: PERF402  # what came before the damage counts
    except CaptureDamaged as damage:
        return records, damage
    return records, None


def test_each_kind_of_line_becomes_a_record(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*LINES)))
    records = list(read_lines(path))
    assert [record.kind for record in records] == ["meta", "open", "out", "in", "rest", "rest"]
    assert [record.number for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.wall_ns for record in records] == [None, T0, T0 + 1, T0 + 2, T0 + 3, T0 + 4]
    assert {record.mono_ns for record in records} == {None}
    assert records[0].event == "config"
    assert records[1].url == "wss://x/y"
    assert (records[3].text, records[3].encoding, records[3].binary) == ('{"é":1}', "gzip", "QQ==")
    assert [record.url for record in records[4:]] == ["https://x/depth?symbol=A", None]


def test_lines_come_back_as_they_were(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(lines(*LINES))
    assert [json.loads(line_of(record)) for record in read_lines(path)] == LINES


@given(st.lists(stored(), min_size=1, max_size=6))
@settings(deadline=None)
def test_any_record_survives_a_line(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("lines") / "c.jsonl.gz"
    with path.open("wb") as file:
        assert write_lines(file, iter(numbered(items))) == len(items)
    assert list(read_lines(path)) == numbered(items)


def test_the_same_records_make_the_same_bytes(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(lines(*LINES))
    one, two = io.BytesIO(), io.BytesIO()
    write_lines(one, read_lines(path))
    write_lines(two, read_lines(path))
    assert one.getvalue() == two.getvalue()


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, zstandard.ZstdCompressor().compress, lambda d: gzip.compress(d) * 1],
)
def test_packed_or_plain_is_told_by_the_first_bytes(tmp_path, pack):
    path = tmp_path / "named-anyhow"
    path.write_bytes(pack(lines(*LINES)))
    assert len(list(read_lines(path))) == len(LINES)


def test_gzip_in_several_members_and_a_last_line_without_newline(tmp_path):
    path = tmp_path / "c.gz"
    first, second = lines(*LINES[:2]), lines(*LINES[2:]).rstrip(b"\n")
    path.write_bytes(gzip.compress(first[:30]) + gzip.compress(first[30:] + second) + b"\0" * 9)
    assert len(list(read_lines(path))) == len(LINES)


def test_much_in_little_is_unpacked_in_pieces(tmp_path):
    # 30 MB of one byte repeated pack into 30 kB, a single piece of input.
    path = tmp_path / "c.gz"
    line = {"ts": 1, "conn": "a", "dir": "in", "raw": "x" * 1_000_000}
    path.write_bytes(gzip.compress(lines(*[line] * 30)))
    assert sum(len(record.text) for record in read_lines(path)) == 30_000_000


# -- damage -----------------------------------------------------------------------------------


def test_a_gzip_cut_at_any_byte_yields_what_stands_before(tmp_path):
    objects = [{**LINES[2], "raw": f"{n}:{n * 7919 % 1009}"} for n in range(30)]
    whole = gzip.compress(lines(*objects))
    path = tmp_path / "c.gz"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        records, damage = read_until_damage(path)
        assert damage is not None
        assert [record.text for record in records] == [
            one["raw"] for one in objects[: len(records)]
        ]
        # Independently: whatever zlib gets out of the bytes, whole lines of it are read.
        got = zlib.decompressobj(31).decompress(whole[:size]) if size > 2 else b""
        assert len(records) == got.count(b"\n")


def test_a_wrong_checksum_is_told_after_the_last_line(tmp_path):
    whole = bytearray(gzip.compress(lines(*LINES)))
    whole[-6] ^= 1
    path = tmp_path / "c.gz"
    path.write_bytes(whole)
    records, damage = read_until_damage(path)
    assert len(records) == len(LINES)
    assert damage is not None
    assert damage.place == f"line {len(LINES) + 1}"
    assert "incorrect data check" in damage.detail


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"",
        b'{"ts":1}',
        b'{"ts":"x","conn":"a","dir":"in","raw":""}',
        b'{"ts":1e400,"conn":"a","dir":"in","raw":""}',
        b'{"ts":1' + b"0" * 40 + b',"conn":"a","dir":"in","raw":""}',
        b'{"ts":1,"conn":"a","dir":"in","raw":"","mono":9223372036854775808}',
        b'{"ts":1,"conn":"a","dir":"sideways","raw":""}',
        b'{"ts":1,"conn":"a","dir":"in","raw":"\\ud800"}',
        b'{"ts":1,"conn":"a","dir":"in","raw":"\xff"}',
        b'{"ts":1,"conn":"a","dir":"in","raw":"","url":' + b"[" * 100_000,
    ],
)
def test_a_foreign_line_is_named_and_what_stands_before_is_yielded(tmp_path, bad):
    path = tmp_path / "c.jsonl"
    path.write_bytes(lines(*LINES[:2]) + bad + b"\n" + lines(*LINES[2:]))
    records, damage = read_until_damage(path)
    assert len(records) == 2
    assert damage is not None
    assert damage.place == "line 3"


def test_what_is_no_capture_at_all_is_said_so(tmp_path):
    path = tmp_path / "c"
    for content, words in ((b"", "empty"), (b"PK\3\4zip", "neither"), (b"\x28\xb5\x2f\xfdx", "")):
        path.write_bytes(content)
        records, damage = read_until_damage(path)
        assert not records
        assert damage is not None
        assert words in damage.detail


def test_lines_may_be_cut_anywhere_between_two_pieces(tmp_path, monkeypatch):
    path = tmp_path / "c"
    content = lines(*LINES)
    path.write_bytes(content)
    wanted, _ = read_until_damage(path)
    assert len(wanted) == len(LINES)
    for size in (1, 2, 7, 64, len(content) - 1):
        monkeypatch.setattr(jsonl, "PIECE_BYTES", size)
        assert read_until_damage(path) == (wanted, None), size


def test_a_line_without_end_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "LINE_MAX_BYTES", 1000)
    path = tmp_path / "c.gz"
    path.write_bytes(gzip.compress(lines(LINES[0]) + b'{"raw":"' + b"x" * 5_000_000))
    records, damage = read_until_damage(path)
    assert len(records) == 1
    assert damage is not None
    assert damage.place == "line 2"
    assert "more than 1000 bytes" in damage.detail
