"""Captures as JSON lines, plain, gzipped or packed with zstd: what others write, and we too.

One object a line: ``{"ts": ns | null, "conn": id, "dir": "in" | "out" | "meta", "raw": text}``.
Lines whose ``conn`` is ``rest`` are HTTP bodies, with or without their ``url``.  A line of
``dir`` ``meta`` is said by the recorder; where its ``event`` is ``connect`` or ``close`` it marks
the ends of a connection.  We add ``mono``, ``status`` and ``request`` where they are known.

Files are unpacked in pieces, so that of one which ends early everything before is still read.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal

import msgspec
import zstandard
from msgspec import Meta, Struct

from gapless.capture.records import CaptureDamaged, Kind, Record

__all__ = ["GZIP", "ZSTD", "line_of", "read_lines", "write_lines"]

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
PIECE_BYTES: Final = 1 << 16
LINE_MAX_BYTES: Final = 1 << 26

_REST: Final = "rest"
_EVENT_OF: Final[dict[str, str]] = {"open": "connect", "close": "close"}
_KIND_OF: Final[dict[str | None, Kind]] = {"connect": "open", "close": "close"}


_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]  # what segments and tables can hold


class _Line(Struct, gc=False):
    ts: _Whole | None
    conn: str
    dir: Literal["in", "out", "meta"]
    raw: str
    url: str | None = None
    mono: _Whole | None = None
    status: _Whole | None = None
    request: str | None = None
    event: str | None = None
    enc: str | None = None
    bin_b64: str | None = None


_decode: Final = msgspec.json.Decoder(_Line).decode
_encode: Final = msgspec.json.Encoder().encode


def read_lines(path: Path) -> Iterator[Record]:
    """Yield what a file of JSON lines holds, in order.

    Raises:
        CaptureDamaged: The file cannot be read on; everything before it was yielded.
    """
    number = 0
    for line in _lines(path):
        number += 1
        try:
            found = _decode(line)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            detail = f"not a line of a capture: {error}"
            raise CaptureDamaged(str(path), f"line {number}", detail) from error
        kind: Kind
        if found.dir != "meta":
            kind = _REST if found.conn == _REST and found.dir == "in" else found.dir
        else:
            kind = _KIND_OF.get(found.event, "meta")
        yield Record(
            kind,
            found.conn,
            found.mono,
            found.ts,
            found.raw,
            found.url,
            number,
            found.status,
            found.request,
            None if kind in _EVENT_OF else found.event,
            found.enc,
            found.bin_b64,
        )
    if number == 0:
        raise CaptureDamaged(str(path), "", "the file is empty")


def line_of(record: Record) -> bytes:
    """Return a record as a line, without a newline."""
    kind = record.kind
    line: dict[str, Any] = {
        "ts": record.wall_ns,
        "conn": _REST if kind == "rest" else record.conn,
        "dir": kind if kind in ("in", "out") else "in" if kind == "rest" else "meta",
        "raw": record.text,
    }
    more = {
        "event": _EVENT_OF.get(kind, record.event),
        "url": record.url,
        "mono": record.mono_ns,
        "status": record.status,
        "request": record.request,
        "enc": record.encoding,
        "bin_b64": record.binary,
    }
    line.update((key, value) for key, value in more.items() if value is not None)
    return _encode(line)


def write_lines(file: IO[bytes], records: Iterable[Record]) -> int:
    """Write gzipped lines; return how many.

    Two runs over the same records write the same bytes.
    """
    count = 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        for count, record in enumerate(records, 1):  # noqa: B007  # returned
            packed.write(line_of(record) + b"\n")
    return count


# -- unpacking ----------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[bytes]:
    """Yield lines without their newline; the last one needs none."""
    number = 0
    rest: list[bytes] = []  # pieces of a line whose end has not come
    rest_bytes = 0
    try:
        for piece in _pieces(path):
            first, *lines = piece.split(b"\n")
            rest.append(first)
            rest_bytes += len(first)
            if lines:
                *whole, last = lines
                number += len(lines)
                yield b"".join(rest)
                yield from whole
                rest, rest_bytes = [last], len(last)
            _bound(rest_bytes)
    except _Unreadable as error:
        raise CaptureDamaged(str(path), f"line {number + 1}", str(error)) from error
    except OSError as error:
        place = f"line {number + 1}" if number else ""
        detail = f"cannot be read: {error.strerror or error}"
        raise CaptureDamaged(str(path), place, detail) from error
    if rest_bytes:
        yield b"".join(rest)


class _Unreadable(Exception):
    """What is wrong with a file."""


def _bound(line_bytes: int) -> None:
    if line_bytes > LINE_MAX_BYTES:
        raise _Unreadable(f"a line of more than {LINE_MAX_BYTES} bytes")


def _pieces(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        head = file.read(4)
        file.seek(0)
        if head.startswith(GZIP):
            yield from _gunzipped(file)
        elif head == ZSTD:
            yield from _unpacked(file)
        elif head.lstrip()[:1] in (b"{", b""):
            while piece := file.read(PIECE_BYTES):
                yield piece
        else:
            raise _Unreadable("neither a segment nor JSON lines, packed or plain")


def _gunzipped(file: IO[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    fed = False  # whether the member has begun
    pending = b""
    while pending or (pending := file.read(PIECE_BYTES)):
        before = member.copy()
        fed = True
        try:
            out = member.decompress(pending, PIECE_BYTES * 16)
        except zlib.error as error:
            yield from _bytewise(before, pending)
            words = str(error).rpartition(": ")[2]
            raise _Unreadable(f"the gzipped data are damaged: {words}") from error
        if out:
            yield out
        if member.eof:
            pending = member.unused_data.lstrip(b"\0")  # padding is allowed between members
            member = zlib.decompressobj(wbits=31)
            fed = False
        else:
            pending = member.unconsumed_tail
    if fed:
        yield member.flush()
        if not member.eof:
            raise _Unreadable("the gzipped data end early")


def _bytewise(member: Any, data: bytes) -> Iterator[bytes]:
    """Yield what stands before the damage, of which a whole piece would yield nothing."""
    out = []
    try:
        for place in range(len(data)):
            out.append(member.decompress(data[place : place + 1]))  # noqa: PERF401  # it raises
    except zlib.error:
        pass
    yield b"".join(out)


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    try:
        while piece := reader.read(PIECE_BYTES):
            yield piece
    except zstandard.ZstdError as error:
        raise _Unreadable(f"the packed data are damaged: {error}") from error
