"""Proving a capture: every checksum, the chain, the numbers, and the order of what came in.

What a gzipped file can prove is less: that its bytes are those that were packed, and that every
line is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gapless.capture.jsonl import read_lines
from gapless.capture.reader import Segment, segments_of
from gapless.capture.records import CaptureDamaged, Record

__all__ = ["Verdict", "verify"]


@dataclass(slots=True)
class Verdict:
    """What became of one file.

    Attributes:
        path: The file.
        kind: ``segment`` or ``lines``.
        venue: What a segment names; `None` where nothing does.
        records: Records that are whole.
        blocks: Blocks that are whole.
        bytes: How much of the file they fill; of lines, its size.
        size_bytes: Size of the file.
        first_ns, last_ns: Unix time of the first and last record that has one.
        unordered: Messages that came in before the one that stands before them on their
            connection, by their time.
        stopped: What the recorder wrote when it had to stop early, or `None`: the file may be
            whole, and what came after is still lost.
        damage: Why it could not be read to its end, or `None`.
    """

    path: Path
    kind: str
    venue: str | None = None
    records: int = 0
    blocks: int = 0
    bytes: int = 0
    size_bytes: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    unordered: int = 0
    stopped: str | None = None
    damage: CaptureDamaged | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged or out of order."""
        return self.damage is None and not self.unordered

    @property
    def beyond_bytes(self) -> int:
        """How much of a segment stands behind its last whole block, and is lost."""
        return self.size_bytes - self.bytes


def verify(path: str | Path) -> Iterator[Verdict]:
    """Yield the verdict on each file of a capture; damage in one does not hide the next.

    Raises:
        CaptureDamaged: There is nothing to read.
    """
    place = Path(path)
    files = segments_of(place)
    if not files:
        verdict = Verdict(place, "lines")
        _follow(read_lines(place), verdict)
        verdict.bytes = verdict.size_bytes = _size(place)
        yield verdict
        return
    before: Segment | None = None
    for file in files:
        segment, verdict = Segment(file), Verdict(file, "segment")
        segment.follow(before)
        _follow(segment.records(), verdict)
        verdict.venue = None if segment.header is None else segment.header.venue
        verdict.blocks, verdict.bytes = segment.blocks, segment.offset
        verdict.size_bytes = _size(file)
        before = segment if segment.closed else None
        yield verdict


def _follow(records: Iterator[Record], verdict: Verdict) -> None:
    newest: dict[str, int] = {}
    try:
        for record in records:
            verdict.records += 1
            if record.wall_ns is not None:
                verdict.first_ns = record.wall_ns if verdict.first_ns is None else verdict.first_ns
                verdict.last_ns = record.wall_ns
            if record.kind == "meta" and record.event == "stopped":
                verdict.stopped = record.text
            if record.kind == "in" and record.mono_ns is not None:
                verdict.unordered += record.mono_ns < newest.get(record.conn, record.mono_ns)
                newest[record.conn] = record.mono_ns
    except CaptureDamaged as damage:
        verdict.damage = damage


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
