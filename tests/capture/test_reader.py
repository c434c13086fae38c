"""Reading segments: whole, cut at every byte, with any bit flipped, and in folders."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
from tests.capture.captures import frame, numbered, only_segment, write

from gapless.capture.format import BLOCK_HEAD_BYTES, HEADER_HEAD_BYTES, read_block_head
from gapless.capture.reader import CaptureDamaged, open_capture, segments_of, venue_of


def read_until_damage(path):
    records = []
    try:
        for record in open_capture(path):
            records.append(record)  # noqa: PERF402  # what came before the damage counts
    except CaptureDamaged as damage:
        return records, damage
    return records, None


@pytest.fixture
def segment(tmp_path):
    """Return a small segment of four blocks of three records."""
    write(tmp_path / "whole", [frame(n) for n in range(12)], block_of=3)
    return only_segment(tmp_path / "whole")


def ends_of_blocks(data):
    """Return where the header and each block end, counted from the layout."""
    place = HEADER_HEAD_BYTES + int.from_bytes(data[8:12], "little")
    ends = [place]
    while data[place : place + 4] == b"BLK1":
        head = read_block_head(data[place : place + BLOCK_HEAD_BYTES])
        place += BLOCK_HEAD_BYTES + head.packed_bytes
        ends.append(place)
    return ends


def test_a_segment_gives_back_what_was_written(segment):
    assert list(open_capture(segment)) == numbered([frame(n) for n in range(12)])
    assert list(open_capture(str(segment.parent))) == numbered([frame(n) for n in range(12)])


def test_cut_at_every_byte_it_yields_whole_blocks_only_and_says_what_is_lost(segment, tmp_path):
    data = segment.read_bytes()
    ends = ends_of_blocks(data)
    assert len(ends) == 5
    wanted = numbered([frame(n) for n in range(12)])
    path = tmp_path / "cut.gapless"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        records, damage = read_until_damage(path)
        whole = max((n for n, end in enumerate(ends) if end <= size), default=0)
        assert records == wanted[: 3 * whole], size
        assert damage is not None
        beyond = size - max((end for end in ends if end <= size), default=0)
        if beyond:
            assert f"incomplete ({beyond} bytes" in damage.detail, size
        elif size:
            assert "never closed" in damage.detail
        if size >= ends[0]:
            assert f"{3 * whole} records" in damage.detail
            assert damage.place == f"block {whole + 1}, byte {size - beyond}"


def test_any_bit_that_flips_is_found_and_nothing_wrong_is_yielded(segment, tmp_path):
    data = bytearray(segment.read_bytes())
    wanted = numbered([frame(n) for n in range(12)])
    ends = ends_of_blocks(bytes(data))
    path = tmp_path / "flipped.gapless"
    for place in range(len(data)):
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        records, damage = read_until_damage(path)
        data[place] ^= 1 << place % 8
        assert damage is not None, place
        before = max(sum(end <= place for end in ends) - 1, 0)
        assert records == wanted[: 3 * before], place


def test_blocks_cannot_change_places_or_go_missing(segment, tmp_path):
    data = segment.read_bytes()
    ends = ends_of_blocks(data)
    one, two = data[ends[0] : ends[1]], data[ends[1] : ends[2]]
    path = tmp_path / "changed.gapless"
    for blocks in (two + one, two, one + one + two):
        path.write_bytes(data[: ends[0]] + blocks + data[ends[2] :])
        records, damage = read_until_damage(path)
        assert damage is not None
        assert "does not follow" in damage.detail
        assert len(records) in (0, 3)


def test_something_behind_the_end_is_damage(segment, tmp_path):
    path = tmp_path / "long.gapless"
    path.write_bytes(segment.read_bytes() + b"more")
    records, damage = read_until_damage(path)
    assert len(records) == 12
    assert damage is not None
    assert "behind the end" in damage.detail


# -- folders ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Return a capture of several segments."""
    write(tmp_path / "many", [frame(n) for n in range(40)], block_of=2, segment_bytes=600)
    assert len(segments_of(tmp_path / "many")) > 3
    return tmp_path / "many"


def test_segments_follow_each_other_and_are_numbered_through(folder):
    assert list(open_capture(folder)) == numbered([frame(n) for n in range(40)])


def test_a_later_segment_can_be_read_alone_and_begins_at_one(folder):
    last = segments_of(folder)[-1]
    records = list(open_capture(last))
    assert records[0].number == 1
    assert records[-1].text == "frame 39"


def test_a_segment_that_is_not_there_is_missed(folder):
    first, second, third, *_ = segments_of(folder)
    count = len(list(open_capture(first)))
    second.unlink()
    records, damage = read_until_damage(folder)
    assert len(records) == count
    assert damage is not None
    assert damage.path == str(third)
    assert "segment 2 is not there" in damage.detail


def test_a_segment_of_the_same_name_from_another_run_does_not_fit(folder, tmp_path):
    # Same records but one, same name, same place in the run: only the hash can tell.
    items = [frame(n, "forged" if n == 0 else None) for n in range(40)]
    write(tmp_path / "forged", items, block_of=2, segment_bytes=600)
    first, second = segments_of(folder)[:2]
    shutil.copy(segments_of(tmp_path / "forged")[0], first)
    _, damage = read_until_damage(folder)
    assert damage is not None
    assert damage.path == str(second)
    assert "its hash differs" in damage.detail or "do not follow" in damage.detail


def test_runs_in_one_folder_are_read_one_after_the_other(tmp_path):
    from gapless.capture.writer import CaptureWriter

    for run in ("aaaaaaaaaa", "bbbbbbbbbb"):
        writer = CaptureWriter(tmp_path, "deribit", run, 1_700_000_000 * 10**9)
        writer.add([frame(1, run)], 0)
        writer.close(0)
    assert [(r.number, r.text) for r in open_capture(tmp_path)] == [
        (1, "aaaaaaaaaa"),
        (2, "bbbbbbbbbb"),
    ]


def test_a_run_that_was_killed_does_not_hide_the_runs_after_it(tmp_path):
    from gapless.capture.writer import CaptureWriter

    for run in ("aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"):
        writer = CaptureWriter(tmp_path, "deribit", run, 1_700_000_000 * 10**9)
        writer.add([frame(1, run)], 0)
        writer.flush()
        if run != "aaaaaaaaaa":
            writer.close(0)
    records, damage = read_until_damage(tmp_path)
    assert [(r.number, r.text[0]) for r in records] == [(1, "a"), (2, "b"), (3, "c")]
    assert damage is not None
    assert "-aaaaaaaa-" in damage.path
    assert "it was never closed" in damage.detail


def test_of_several_damaged_runs_the_first_is_named_and_the_others_are_counted(tmp_path):
    for run in ("a", "b", "c"):
        write(tmp_path / run, [frame(1)], close=run == "c")
        [segment] = segments_of(tmp_path / run)
        segment.rename(tmp_path / f"deribit-{run}-000001.gapless")
    records, damage = read_until_damage(tmp_path)
    assert len(records) == 1
    assert damage is not None
    assert damage.path.endswith("deribit-a-000001.gapless")
    assert "and 1 more run" in damage.detail


# -- what it is -------------------------------------------------------------------------------


def test_ours_and_lines_are_told_apart_by_their_bytes(segment, tmp_path):
    renamed = tmp_path / "renamed.gz"
    shutil.copy(segment, renamed)
    assert len(list(open_capture(renamed))) == 12
    lines = tmp_path / "lines.gapless"
    line = {"ts": 1, "conn": "a", "dir": "in", "raw": "x"}
    lines.write_bytes(gzip.compress(json.dumps(line).encode()))
    assert [record.text for record in open_capture(lines)] == ["x"]
    assert venue_of(segment) == "deribit"
    assert venue_of(segment.parent) == "deribit"
    assert venue_of(lines) is None


def test_nothing_to_read_is_said_so(tmp_path):
    for path, words in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "holds no *.gapless segment"),
    ):
        with pytest.raises(CaptureDamaged, match=words.replace("*", r"\*")) as damaged:
            list(open_capture(path))
        assert damaged.value.place == ""


def test_reading_holds_one_block_at_a_time(tmp_path):
    # 200 blocks of 20 kB of text; what is held is a fraction of them.
    import tracemalloc

    write(tmp_path, [frame(n, f"{n:06}" * 3500) for n in range(200)], block_of=1)
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_capture(tmp_path)) == 200
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
