"""Writing segments so that a crash at any byte costs the last block and nothing else.

Records gather until a block is due, by size or by time; a block is written whole and, as the
policy says, synced.  A block that the disk does not take is cut off again, so that what stands
in the file stays readable.

Files are readable by their owner only: what a venue sends to one customer is nobody else's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, get_args

import zstandard

from gapless.capture.format import (
    SUFFIX,
    VERSION,
    Header,
    Stored,
    header_bytes,
    header_hash,
    pack_block,
    pack_end,
    pack_record,
)

__all__ = ["FSYNC_POLICIES", "CaptureWriter", "Fsync", "WriterLimits"]

SECOND_NS: Final = 1_000_000_000

Fsync = Literal["block", "close", "never"]
"""When what was written is forced onto the disk: after every block, with every segment that is
closed, or when the system likes.  It matters when the machine fails; a process that is killed
loses no block that was written."""

FSYNC_POLICIES: Final[tuple[str, ...]] = get_args(Fsync)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterLimits:
    """When blocks and segments end.

    Args:
        block_bytes: A block is written when so many bytes have gathered, unpacked.
        block_ns: Or when its first record is so old.
        segment_bytes: A segment ends after so many bytes, packed.
        segment_ns: Or when it is so old, and holds anything.
    """

    block_bytes: int = 1 << 20
    block_ns: int = SECOND_NS
    segment_bytes: int = 256 << 20
    segment_ns: int = 3600 * SECOND_NS


class CaptureWriter:
    """Writes one run of the recorder into a folder.  It reads no clock.

    Args:
        folder: Where to; made if it is not there.
        venue: Whose traffic it is.
        capture: Names the run, 8 characters at least; must differ from every other.
        now_ns: Unix time.
        limits: When blocks and segments end.
        fsync: When to sync.

    Attributes:
        records: Records in blocks that were written.
        bytes: Bytes that were written, in all segments.
        segments: Files that were begun.

    Raises:
        OSError: The folder or the first file cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        venue: str,
        capture: str,
        now_ns: int,
        *,
        limits: WriterLimits | None = None,
        fsync: Fsync = "block",
    ) -> None:
        self.folder = folder
        self.records = 0
        self.bytes = 0
        self.segments = 0
        self._venue = venue
        self._capture = capture
        self._limits = limits or WriterLimits()
        self._fsync: Fsync = fsync
        self._compressor = zstandard.ZstdCompressor(level=3, write_content_size=True)
        # Named after the start of the run, so that a clock that is put back reorders nothing.
        started = datetime.fromtimestamp(now_ns // SECOND_NS, UTC)
        self._stem = f"{venue}-{started:%Y%m%dT%H%M%SZ}-{capture[:8]}"
        self._chain = b""
        self._file = -1
        self._offset = 0
        self._begun_ns = now_ns
        self._first = 1
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._block_ns = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begin(now_ns)

    @property
    def waiting(self) -> int:
        """Records that are not in a written block yet."""
        return len(self._block)

    def add(self, items: Iterable[Stored | Sequence[object]], now_ns: int) -> None:
        """Take records, as `Stored` or as its fields in order; write what is due.

        Raises:
            OSError: A block could not be written; its records are lost, and no others.
        """
        for item in items:
            if not self._block:
                self._block_ns = now_ns
            data = pack_record(item)
            self._block.append(data)
            self._block_bytes += len(data)
            if self._block_bytes >= self._limits.block_bytes:
                self.flush()
        self.tick(now_ns)

    def tick(self, now_ns: int) -> None:
        """Write a block that is old enough, and end a segment that is.

        Raises:
            OSError: As `add`.
        """
        if self._block and now_ns - self._block_ns >= self._limits.block_ns:
            self.flush()
        limits = self._limits
        old = now_ns - self._begun_ns >= limits.segment_ns and self.records >= self._first
        if old or self._offset >= limits.segment_bytes:
            self._end()
            self._begin(now_ns)

    def flush(self) -> None:
        """Write what has gathered.

        Raises:
            OSError: As `add`.
        """
        if not self._block:
            return
        block, self._block = self._block, []
        self._block_bytes = 0
        data, chain = pack_block(block, self._chain, self._compressor)
        self._write(data)
        self._chain = chain
        self.records += len(block)
        if self._fsync == "block":
            os.fdatasync(self._file)

    def close(self, now_ns: int) -> None:
        """Write what has gathered, and the end.  Nothing is written after this.

        Raises:
            OSError: It could not be written.
        """
        if self._file < 0:
            return
        try:
            try:
                self.flush()
            finally:
                self._end()  # even if the last block found no room: what is there is then whole
        finally:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    # -- files ----------------------------------------------------------------------------------

    def _begin(self, now_ns: int) -> None:
        header = Header(
            version=VERSION,
            venue=self._venue,
            capture=self._capture,
            segment=self.segments + 1,
            first=self.records + 1,
            created_ns=now_ns,
            previous=self._chain.hex(),
        )
        path = self.folder / f"{self._stem}-{header.segment:06}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self.segments += 1
        self._offset = 0
        self._begun_ns = now_ns
        self._first = header.first
        data = header_bytes(header)
        self._chain = header_hash(data)
        self._write(data)
        if self._fsync != "never":
            os.fsync(self._file)
            _sync_folder(self.folder)

    def _end(self) -> None:
        self._write(pack_end(self.records - self._first + 1, self._chain))
        if self._fsync != "never":
            os.fsync(self._file)
        file, self._file = self._file, -1
        os.close(file)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            # What has been written of it is of no use, and would hide where the rest ends.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._offset)
                os.lseek(self._file, self._offset, os.SEEK_SET)
            raise
        self._offset += len(data)
        self.bytes += len(data)


def _sync_folder(folder: Path) -> None:
    """Make sure that the name of a new file survives too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
