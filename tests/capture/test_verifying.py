"""Proving captures: each file has its verdict."""

from __future__ import annotations

import gzip
import json

import pytest
from tests.capture.captures import T0, frame, only_segment, write

from gapless.capture.reader import CaptureDamaged, segments_of
from gapless.capture.verifying import verify


def test_a_whole_segment_is_counted(tmp_path):
    write(tmp_path, [frame(n) for n in range(10)], block_of=5)
    [verdict] = verify(tmp_path)
    assert verdict.whole
    assert (verdict.kind, verdict.venue) == ("segment", "deribit")
    assert (verdict.records, verdict.blocks) == (10, 2)
    assert verdict.bytes == verdict.size_bytes == only_segment(tmp_path).stat().st_size
    assert (verdict.first_ns, verdict.last_ns) == (T0, T0 + 9_000_000)
    assert verdict.beyond_bytes == 0


def test_damage_in_one_segment_does_not_hide_the_next(tmp_path):
    write(tmp_path, [frame(n) for n in range(40)], block_of=2, segment_bytes=600)
    second = segments_of(tmp_path)[1]
    data = bytearray(second.read_bytes())
    data[-100] ^= 1
    second.write_bytes(data)
    verdicts = list(verify(tmp_path))
    assert [verdict.whole for verdict in verdicts[:3]] == [True, False, True]
    assert all(verdict.whole for verdict in verdicts[2:])
    assert verdicts[1].damage is not None
    assert verdicts[1].damage.path == str(second)


def test_a_crash_shows_how_much_stands_behind_the_last_whole_block(tmp_path):
    write(tmp_path, [frame(n) for n in range(10)], block_of=5)
    path = only_segment(tmp_path)
    data = path.read_bytes()
    whole_end = data.rindex(b"BLK1")
    path.write_bytes(data[: whole_end + 70])
    [verdict] = verify(path)
    assert not verdict.whole
    assert (verdict.records, verdict.bytes, verdict.beyond_bytes) == (5, whole_end, 70)
    assert "70 bytes" in str(verdict.damage)


def test_what_came_in_must_be_in_order_on_each_connection(tmp_path):
    times = [("a", 5), ("b", 1), ("a", 4), ("a", 5), ("b", 2)]
    items = [frame(number, conn=conn) for conn, number in times]
    # What we sent is stamped when it was sent, after the frame that it answers was read.
    items.append(frame(0, kind="out", conn="a"))
    write(tmp_path, items)
    [verdict] = verify(tmp_path)
    assert verdict.unordered == 1
    assert verdict.damage is None
    assert not verdict.whole


def test_lines_are_proven_as_far_as_gzip_goes(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    line = {"ts": T0, "conn": "a", "dir": "in", "raw": "x"}
    packed = gzip.compress((json.dumps(line) + "\n").encode() * 5)
    path.write_bytes(packed)
    [verdict] = verify(path)
    assert verdict.whole
    assert (verdict.kind, verdict.records, verdict.venue) == ("lines", 5, None)
    assert verdict.beyond_bytes == 0
    path.write_bytes(packed[:-4])
    [verdict] = verify(path)
    assert not verdict.whole
    assert verdict.records == 5


def test_nothing_to_read_raises(tmp_path):
    with pytest.raises(CaptureDamaged, match="no such file"):
        list(verify(tmp_path / "none"))
