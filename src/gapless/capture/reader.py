"""Reading captures of any kind, in order and in bounded memory.

A capture is a file of JSON lines, a segment of ours, or a folder of segments; what it is, its
first bytes say.  Whatever is wrong is raised once everything before it has been yielded: a
capture that was cut is as good as the place where it was cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from gapless.capture.format import (
    BLOCK_HEAD_BYTES,
    END_BYTES,
    HEADER_HEAD_BYTES,
    MAGIC,
    SUFFIX,
    FormatError,
    Header,
    header_hash,
    read_block_head,
    read_end,
    read_header,
    read_header_head,
    unpack_block,
)
from gapless.capture.jsonl import read_lines
from gapless.capture.records import CaptureDamaged, Kind, Record

__all__ = ["CaptureDamaged", "Kind", "Record", "Segment", "open_capture", "segments_of", "venue_of"]

_END_MARK: Final = b"END1"


def open_capture(path: str | Path) -> Iterator[Record]:
    """Yield every record of a capture, in order.

    Args:
        path: A file of JSON lines (plain, gzipped, packed with zstd), a segment, or a folder of
            segments.

    Damage costs the rest of its run of the recorder, and no other run in the same folder: who
    starts it again after a crash finds what came after.

    Raises:
        CaptureDamaged: It cannot be read, or not to its end; everything that can was yielded.
    """
    place = Path(path)
    files = segments_of(place)
    if not files:
        yield from read_lines(place)
        return
    number = 0
    before: Segment | None = None
    damages: list[CaptureDamaged] = []
    lost = ""  # the run of the newest damage
    for file in files:
        run = _run_of(file)
        if lost and run == lost:
            continue
        segment = Segment(file)
        segment.follow(before)
        before = segment
        try:
            for record in segment.records(number):
                number = record.number
                yield record
        except CaptureDamaged as damage:
            damages.append(damage)
            lost, before = run, None
    if damages:
        raise _all_of(damages)


def _run_of(file: Path) -> str:
    """Return what the names of all segments of one run have in common."""
    return file.stem.rpartition("-")[0] or file.stem


def _all_of(damages: list[CaptureDamaged]) -> CaptureDamaged:
    first, *others = damages
    if not others:
        return first
    runs = "run" if len(others) == 1 else "runs"
    more = f"{first.detail}; and {len(others)} more {runs} of the recorder in this folder"
    return CaptureDamaged(first.path, first.place, more)


def segments_of(path: Path) -> list[Path]:
    """Return the segments that a path names, in order; none for a file of JSON lines.

    Raises:
        CaptureDamaged: There is nothing to read, or it may not be read.
    """
    try:
        if path.is_dir():
            found = sorted(path.glob(f"*{SUFFIX}"))
            if not found:
                raise CaptureDamaged(str(path), "", f"the folder holds no *{SUFFIX} segment")
            return found
        with open(path, "rb") as file:
            head = file.read(len(MAGIC))
    except FileNotFoundError as error:
        raise CaptureDamaged(str(path), "", "there is no such file") from error
    except OSError as error:
        raise CaptureDamaged(str(path), "", f"cannot be read: {error.strerror}") from error
    # A segment that was cut within its first bytes is still one of ours.
    ours = head == MAGIC or (path.suffix == SUFFIX and MAGIC.startswith(head))
    return [path] if ours else []


def venue_of(path: str | Path) -> str | None:
    """Return the venue that a capture of ours names; `None` for JSON lines.

    Raises:
        CaptureDamaged: It cannot be read.
    """
    files = segments_of(Path(path))
    if not files:
        return None
    with open(files[0], "rb") as file:
        return Segment(files[0]).read_header(file).venue


class Segment:
    """One file, read from start to end, once.

    Attributes:
        path: The file.
        header: What it says of itself; `None` until it was read.
        blocks, count, offset: Blocks and records read so far, and the bytes they and the header
            fill.
        chain: Hash of the newest block.
        closed: Whether its end was found: nothing was lost behind it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Header | None = None
        self.blocks = 0
        self.count = 0
        self.offset = 0
        self.chain = b""
        self.closed = False
        self._before: Segment | None = None

    def follow(self, before: Segment | None) -> None:
        """Expect to be read after ``before``, where both belong to one run of the recorder."""
        self._before = before

    def records(self, number: int = 0) -> Iterator[Record]:
        """Yield its records.

        Args:
            number: That of the record before its first.

        Raises:
            CaptureDamaged: It cannot be read, or not to its end; what stands before the place
                was yielded.
        """
        try:
            with open(self.path, "rb") as file:
                self.read_header(file)
                self._check_link()
                while not self.closed:
                    for record in self._block(file, number):
                        number = record.number
                        yield record
                if file.read(1):
                    raise self._damaged("something stands behind the end of the segment")
        except OSError as error:
            raise self._damaged(f"cannot be read: {error.strerror}") from error

    def read_header(self, file: IO[bytes]) -> Header:
        """Read the header, which is the start of the file.

        Raises:
            CaptureDamaged: It is not one, or not whole.
        """
        head = file.read(HEADER_HEAD_BYTES)
        try:
            if len(head) < HEADER_HEAD_BYTES:
                raise self._cut(len(head), "the header")
            length, crc = read_header_head(head)
            body = file.read(length)
            if len(body) < length:
                raise self._cut(len(head) + len(body), "the header")
            self.header = read_header(body, crc)
        except FormatError as error:
            raise self._damaged(str(error)) from error
        self.offset = len(head) + len(body)
        self.chain = header_hash(head + body)
        return self.header

    def _check_link(self) -> None:
        header, before = self.header, self._before
        if header is None or before is None or before.header is None:
            return
        if before.header.capture != header.capture:
            return  # another run of the recorder, in the same folder
        if header.segment != before.header.segment + 1:
            raise self._damaged(f"segment {before.header.segment + 1} is not there")
        if header.previous != before.chain.hex():
            raise self._damaged("it does not follow the segment before: its hash differs")
        if header.first != before.header.first + before.count:
            raise self._damaged("its records do not follow those of the segment before")

    def _block(self, file: IO[bytes], number: int) -> Iterator[Record]:
        mark = file.read(len(_END_MARK))
        if not mark:
            raise self._damaged(
                f"it was never closed: {self.count} records are whole, and nothing says that "
                "there were no more"
            )
        if mark == _END_MARK:
            self._end(mark + file.read(END_BYTES - len(mark)))
            return
        head = mark + file.read(BLOCK_HEAD_BYTES - len(mark))
        try:
            if len(head) < BLOCK_HEAD_BYTES:
                raise self._cut(len(head), "the last block")
            found = read_block_head(head)
            packed = file.read(found.packed_bytes)
            if len(packed) < found.packed_bytes:
                raise self._cut(len(head) + len(packed), "the last block", found.records)
            stored = list(unpack_block(found, packed, self.chain))
        except FormatError as error:
            raise self._damaged(str(error)) from error
        self.chain = found.hash
        self.offset += len(head) + len(packed)
        self.blocks += 1
        for one in stored:
            number += 1
            self.count += 1
            yield one.numbered(number)

    def _end(self, data: bytes) -> None:
        if len(data) < END_BYTES:
            raise self._cut(len(data), "the end")
        try:
            end = read_end(data)
        except FormatError as error:
            raise self._damaged(str(error)) from error
        if end is None or end.records != self.count or end.hash != self.chain:
            raise self._damaged("the end of the segment does not fit what stands before it")
        self.offset += len(data)
        self.closed = True

    def _cut(self, n_bytes: int, what: str, records: int | None = None) -> CaptureDamaged:
        lost = f"{n_bytes} bytes" + ("" if records is None else f" of {records} records")
        return self._damaged(
            f"{what} is incomplete ({lost}); the {self.count} records before it are whole"
        )

    def _damaged(self, detail: str) -> CaptureDamaged:
        return CaptureDamaged(
            str(self.path), f"block {self.blocks + 1}, byte {self.offset}", detail
        )
