"""Writing segments: what is on the disk after a crash, when files turn over, and who may read."""

from __future__ import annotations

import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.capture.captures import SECOND, T0, frame, numbered, only_segment, stored, write

from gapless.capture.reader import CaptureDamaged, open_capture, segments_of
from gapless.capture.verifying import verify
from gapless.capture.writer import CaptureWriter, WriterLimits

MiB = 1 << 20


def make(folder, **more):
    limits = WriterLimits(**{k: more.pop(k) for k in list(more) if k.endswith(("_bytes", "_ns"))})
    return CaptureWriter(folder, "deribit", "0123456789abcdef", T0, limits=limits, **more)


def readable(folder):
    """Return the records that can be read, and the damage behind them."""
    records = []
    try:
        for record in open_capture(folder):
            records.append(record)  # noqa: PERF402  # what came before the damage counts
    except CaptureDamaged as damage:
        return records, damage
    return records, None


@given(
    st.lists(st.lists(stored(), max_size=5), max_size=6),
    st.integers(1, 400),
    st.integers(300, 3000),
)
@settings(deadline=None)
def test_whatever_is_written_is_read_however_it_is_cut(
    tmp_path_factory, batches, block_bytes, segment_bytes
):
    folder = tmp_path_factory.mktemp("run")
    writer = make(folder, fsync="never", block_bytes=block_bytes, segment_bytes=segment_bytes)
    for batch in batches:
        writer.add(batch, T0)
    writer.close(T0)
    items = [item for batch in batches for item in batch]
    assert list(open_capture(folder)) == numbered(items)
    assert writer.records == len(items)
    assert writer.bytes == sum(path.stat().st_size for path in segments_of(folder))
    assert all(verdict.damage is None for verdict in verify(folder))


def test_a_block_is_written_by_size_and_by_age(tmp_path):
    writer = make(tmp_path, block_bytes=10_000, block_ns=SECOND)
    writer.add([frame(1)], T0)
    writer.tick(T0 + SECOND - 1)
    assert (writer.records, writer.waiting) == (0, 1)
    writer.tick(T0 + SECOND)
    assert (writer.records, writer.waiting) == (1, 0)
    # The age is that of the block's first record, not of the block before.
    writer.add([frame(2)], T0 + 5 * SECOND)
    writer.tick(T0 + 6 * SECOND - 1)
    assert writer.waiting == 1
    writer.add([frame(3, "x" * 10_000)], T0 + 5 * SECOND)
    assert writer.waiting == 0
    assert len(readable(tmp_path)[0]) == 3


def test_a_segment_ends_by_size_and_by_age_but_never_empty(tmp_path):
    writer = make(tmp_path, segment_ns=60 * SECOND, block_ns=0)
    writer.tick(T0 + 100 * SECOND)
    assert writer.segments == 1
    writer.add([frame(1)], T0 + 100 * SECOND)
    assert writer.segments == 2
    writer.add([frame(2)], T0 + 159 * SECOND)
    assert writer.segments == 2
    writer.add([frame(3)], T0 + 160 * SECOND)
    assert writer.segments == 3
    writer.close(T0)
    assert [verdict.records for verdict in verify(tmp_path)] == [1, 2, 0]
    assert all(verdict.whole for verdict in verify(tmp_path))
    by_size = make(tmp_path / "size", segment_bytes=2000, block_bytes=1)
    rng = random.Random(1)
    for n in range(20):
        by_size.add([frame(n, rng.randbytes(300).hex())], T0)
    by_size.close(T0)
    sizes = [path.stat().st_size for path in segments_of(tmp_path / "size")]
    assert all(2000 <= size < 3000 for size in sizes[:-1])
    assert len(sizes) > 3


def test_files_are_for_their_owner_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write(tmp_path / "new" / "run", [frame(1)])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE(only_segment(tmp_path / "new" / "run").stat().st_mode) == 0o600


def test_a_file_that_is_there_is_never_written_over(tmp_path):
    write(tmp_path, [frame(1)])
    content = only_segment(tmp_path).read_bytes()
    with pytest.raises(FileExistsError):
        write(tmp_path, [frame(2)])
    assert only_segment(tmp_path).read_bytes() == content


def test_names_keep_the_order_of_a_run_though_the_clock_is_put_back(tmp_path):
    writer = make(tmp_path, segment_bytes=1, block_bytes=1)
    for n in range(12):
        writer.add([frame(n)], T0 - n * 3600 * SECOND)
    writer.close(T0)
    assert [r.text for r in open_capture(tmp_path)] == [f"frame {n}" for n in range(12)]


@pytest.mark.parametrize(
    ("fsync", "most"), [("block", 100), ("close", 4), ("never", 0)], ids=("block", "close", "never")
)
def test_the_policy_says_how_often_it_is_synced(tmp_path, monkeypatch, fsync, most):
    synced = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, real=real: (synced.append(fd), real(fd)))
    writer = make(tmp_path, fsync=fsync, block_bytes=1)
    for n in range(10):
        writer.add([frame(n)], T0)
    during = len(synced)
    writer.close(T0)
    assert (during >= 10) == (fsync == "block")
    assert len(synced) <= most
    assert (len(synced) > during) == (fsync != "never")


# -- kill -9 ----------------------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
from gapless.capture.writer import CaptureWriter, WriterLimits
folder, stop_s = Path(sys.argv[1]), float(sys.argv[2])
limits = WriterLimits(block_bytes=3000, block_ns=2_000_000, segment_bytes=60_000)
writer = CaptureWriter(folder, "deribit", "0123456789abcdef", time.time_ns(), limits=limits)
print("begun", flush=True)
for n in range(1_000_000):
    writer.add([("in", "a.1", n, n, f"frame {n} " + "x" * (n * 7919 % 200))], time.time_ns())
    if n % 16 == 0:
        sys.stdout.write(f"{n + 1 - writer.waiting}\\n")  # so many are in written blocks
        sys.stdout.flush()
"""


def kill_once(folder: Path, after_s: float) -> tuple[int, int]:
    """Kill a writing child; return how many records it had written, and how many are readable."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), "60"], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        killer = ThreadPoolExecutor(1)
        killing = killer.submit(lambda: (time.sleep(after_s), child.send_signal(signal.SIGKILL)))
        told = [line for line in child.stdout if line.endswith("\n")]
        killing.result()
        killer.shutdown()
    assert child.returncode == -signal.SIGKILL
    records, damage = readable(folder)
    texts = [record.text for record in records]
    assert texts == [f"frame {n} " + "x" * (n * 7919 % 200) for n in range(len(texts))]
    if damage is not None:
        assert Path(damage.path) == segments_of(folder)[-1], damage
        assert "never closed" in damage.detail or "incomplete (" in damage.detail
        last = list(verify(folder))[-1]
        assert last.damage is not None
        assert last.beyond_bytes >= 0
    return int(told[-1]) if told else 0, len(texts)


def test_kill_9_at_fifty_random_moments_loses_no_block_that_was_written(tmp_path):
    rng = random.Random(9)
    moments = [rng.uniform(0.0, 0.4) for _ in range(50)]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(kill_once, [tmp_path / str(n) for n in range(50)], moments))
    assert all(found >= told for told, found in outcomes)
    assert sum(told > 100 for told, _ in outcomes) > 25, "the child hardly wrote"


# -- a full disk ------------------------------------------------------------------------------


def limited(child_code: str, limit_bytes: int, *arguments: object) -> str:
    """Run a child whose files may not grow beyond a size; return what it prints."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    ran = subprocess.run(
        [sys.executable, "-B", "-c", child_code, *map(str, arguments)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ran.stdout


FULL = """
import sys, time
from pathlib import Path
from gapless.capture.writer import CaptureWriter, WriterLimits
import random
rng = random.Random(3)
writer = CaptureWriter(
    Path(sys.argv[1]), "deribit", "0123456789abcdef", 1, limits=WriterLimits(block_bytes=4000)
)
try:
    for n in range(10_000):
        writer.add([("in", "a.1", n, n, rng.randbytes(500).hex())], 1)
except OSError as error:
    print(error.strerror)
print(writer.records)
try:
    writer.close(1)
except OSError as error:
    print("no end")
"""


def test_a_block_that_finds_no_room_is_cut_off_again_and_the_end_still_written(tmp_path):
    said, written = limited(FULL, 51_000, tmp_path).splitlines()
    assert said == "File too large"
    [verdict] = verify(tmp_path)
    assert verdict.whole
    assert verdict.records == int(written) > 10


def test_where_not_even_the_end_finds_room_all_blocks_are_still_whole(tmp_path):
    limited(FULL, 51_000, tmp_path / "probe")
    # Room for exactly one byte less than the blocks and the end need.
    least = only_segment(tmp_path / "probe").stat().st_size - 1
    _, written, end = limited(FULL, least, tmp_path / "run").splitlines()
    assert end == "no end"
    records, damage = readable(tmp_path / "run")
    assert len(records) == int(written) > 10
    assert damage is not None
    assert "never closed" in damage.detail
