"""The bytes of a segment: a header, blocks of records, and an end.

A segment can be cut anywhere, by a crash or a full disk, and what stands before the cut is still
proven: every block carries its length, two CRC32C and a hash that covers the block and the hash
before it.  The header carries the last hash of the segment before, so a chain runs through the
whole capture.  The hash finds accidents and careless edits; it is no signature.

    segment  header, block ..., end
    header   magic (8), length (4), CRC32C of what follows (4), JSON
    block    ``BLK1`` (4), packed length (4), length (4), records (4), CRC32C of the packed bytes
             (4), hash (32), CRC32C of this head (4), packed bytes
    end      ``END1`` (4), records of the segment (8), hash (32), CRC32C of the 44 bytes before (4)

Integers are little-endian and unsigned.  Packed bytes are one zstd frame; unpacked they are
records: length (4), CRC32C (4), MessagePack.  Hashes are BLAKE2b of 32 bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import Final

import google_crc32c
import msgspec
import zstandard
from msgspec import Struct

from gapless.capture.records import Kind, Record

__all__ = [
    "BLOCK_HEAD_BYTES",
    "END_BYTES",
    "HEADER_HEAD_BYTES",
    "MAGIC",
    "SUFFIX",
    "VERSION",
    "BlockHead",
    "End",
    "FormatError",
    "Header",
    "Stored",
    "header_bytes",
    "header_hash",
    "pack_block",
    "pack_end",
    "pack_record",
    "read_block_head",
    "read_end",
    "read_header",
    "read_header_head",
    "unpack_block",
]

MAGIC: Final = b"\x89GPL\r\n\x1a\n"  # as PNG does: a transfer that alters text shows at once
VERSION: Final = 1
SUFFIX: Final = ".gapless"

HEADER_MAX: Final = 1 << 16
PACKED_MAX: Final = 1 << 28
BLOCK_MAX: Final = 1 << 28
RECORDS_MAX: Final = 1 << 24

_HEADER_HEAD: Final = struct.Struct("<8sII")
_BLOCK_HEAD: Final = struct.Struct("<4sIIII32s")
_END: Final = struct.Struct("<4sQ32s")
_RECORD_HEAD: Final = struct.Struct("<II")
_CRC: Final = struct.Struct("<I")
_BLOCK: Final = b"BLK1"
_END_MARK: Final = b"END1"

HEADER_HEAD_BYTES: Final = _HEADER_HEAD.size
BLOCK_HEAD_BYTES: Final = _BLOCK_HEAD.size + _CRC.size
END_BYTES: Final = _END.size + _CRC.size

crc32c: Final = google_crc32c.value


class FormatError(Exception):
    """Bytes that are not what the format says; the message says what is wrong."""


class Header(Struct, frozen=True, kw_only=True):
    """What a segment says of itself.

    Attributes:
        version: Of the format.
        venue: Whose traffic it is.
        capture: Names the run of the recorder, the same in all its segments.
        segment: Number within the run, from 1.
        first: Number of its first record within the run, from 1.
        created_ns: When it was begun, Unix time.
        previous: Last hash of the segment before, in hex; empty in the first.
    """

    version: int
    venue: str
    capture: str
    segment: int
    first: int
    created_ns: int
    previous: str


class BlockHead(Struct, frozen=True):
    """The fixed part of a block."""

    packed_bytes: int
    plain_bytes: int
    records: int
    crc: int
    hash: bytes
    covered: bytes  # the head without its hash, as the hash covers it


class End(Struct, frozen=True):
    """The end of a segment that was closed."""

    records: int
    hash: bytes


class Stored(Struct, frozen=True, array_like=True, gc=False):
    """A record as it stands in a block; what is missing at its end has its default."""

    kind: Kind
    conn: str
    mono_ns: int | None
    wall_ns: int | None
    text: str
    url: str | None = None
    status: int | None = None
    request: str | None = None
    event: str | None = None
    encoding: str | None = None
    binary: str | None = None

    @classmethod
    def of(cls, record: Record) -> Stored:
        """Return a record without its number."""
        return cls(
            record.kind,
            record.conn,
            record.mono_ns,
            record.wall_ns,
            record.text,
            record.url,
            record.status,
            record.request,
            record.event,
            record.encoding,
            record.binary,
        )

    def numbered(self, number: int) -> Record:
        """Return the record as readers get it."""
        return Record(
            self.kind,
            self.conn,
            self.mono_ns,
            self.wall_ns,
            self.text,
            self.url,
            number,
            self.status,
            self.request,
            self.event,
            self.encoding,
            self.binary,
        )


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Stored).decode
_decode_header: Final = msgspec.json.Decoder(Header).decode


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        digest.update(part)
    return digest.digest()


# -- the header ---------------------------------------------------------------------------------


def header_bytes(header: Header) -> bytes:
    """Return a header as it stands at the start of a segment."""
    body = msgspec.json.encode(header)
    return _HEADER_HEAD.pack(MAGIC, len(body), crc32c(body)) + body


def header_hash(data: bytes) -> bytes:
    """Return the hash with which the chain of a segment starts, of its whole header."""
    return _digest(data)


def read_header_head(head: bytes) -> tuple[int, int]:
    """Return length and CRC of the JSON that follows the first bytes of a segment.

    Raises:
        FormatError: It is not a segment.
    """
    magic, length, crc = _HEADER_HEAD.unpack(head)
    if magic != MAGIC:
        raise FormatError("not a segment of a capture")
    if length > HEADER_MAX:
        raise FormatError("the header is damaged: its length cannot be")
    return length, crc


def read_header(body: bytes, crc: int) -> Header:
    """Return the header.

    Raises:
        FormatError: It is damaged, or of a version that is not known.
    """
    if crc32c(body) != crc:
        raise FormatError("the header is damaged: its CRC32C differs")
    try:
        header = _decode_header(body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise FormatError(f"the header is not one: {error}") from error
    if header.version != VERSION:
        raise FormatError(f"version {header.version} of the format is not known")
    return header


# -- blocks -------------------------------------------------------------------------------------


def pack_record(item: Stored | Sequence[object]) -> bytes:
    """Return one record as it stands in a block, of a `Stored` or its fields in order."""
    body = _encode(item)
    return _RECORD_HEAD.pack(len(body), crc32c(body)) + body


def pack_block(
    records: Sequence[bytes], before: bytes, compressor: zstandard.ZstdCompressor
) -> tuple[bytes, bytes]:
    """Return a block, and its hash.

    Args:
        records: What `pack_record` returned.
        before: Hash of the block before, or of the header.
        compressor: Packs it.
    """
    plain = b"".join(records)
    packed = compressor.compress(plain)
    covered = struct.pack("<4sIIII", _BLOCK, len(packed), len(plain), len(records), crc32c(packed))
    digest = _digest(before, covered, packed)
    head = covered + digest
    return head + _CRC.pack(crc32c(head)) + packed, digest


def read_block_head(head: bytes) -> BlockHead:
    """Return the head of a block.

    Raises:
        FormatError: It is damaged.
    """
    if crc32c(head[: _BLOCK_HEAD.size]) != _CRC.unpack_from(head, _BLOCK_HEAD.size)[0]:
        raise FormatError("the head of a block is damaged: its CRC32C differs")
    mark, packed, plain, records, crc, digest = _BLOCK_HEAD.unpack_from(head)
    if mark != _BLOCK or packed > PACKED_MAX or plain > BLOCK_MAX or records > RECORDS_MAX:
        raise FormatError("the head of a block says what cannot be")
    return BlockHead(packed, plain, records, crc, digest, head[: _BLOCK_HEAD.size - 32])


def unpack_block(head: BlockHead, packed: bytes, before: bytes) -> Iterator[Stored]:
    """Yield the records of a block that is whole; of one that is not, none.

    Raises:
        FormatError: It is damaged, or not the one that follows ``before``.
    """
    if crc32c(packed) != head.crc:
        raise FormatError("a block is damaged: its CRC32C differs")
    if _digest(before, head.covered, packed) != head.hash:
        raise FormatError("a block does not follow the one before: its hash differs")
    try:
        # A fresh one each time: after an error it must not be used again.
        plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=head.plain_bytes)
    except zstandard.ZstdError as error:
        raise FormatError(f"a block cannot be unpacked: {error}") from error
    if len(plain) != head.plain_bytes:
        raise FormatError("a block is not as long as it says")
    offsets = _record_offsets(plain, head.records)
    for start, end, crc in offsets:
        body = plain[start:end]
        if crc32c(body) != crc:
            raise FormatError("a record is damaged: its CRC32C differs")
        try:
            stored = _decode(body)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise FormatError(f"a record is not one: {error}") from error
        yield stored


def _record_offsets(plain: bytes, records: int) -> list[tuple[int, int, int]]:
    offsets: list[tuple[int, int, int]] = []
    place = 0
    while place + _RECORD_HEAD.size <= len(plain) and len(offsets) < records:
        length, crc = _RECORD_HEAD.unpack_from(plain, place)
        start = place + _RECORD_HEAD.size
        place = start + length
        offsets.append((start, place, crc))
    if place != len(plain) or len(offsets) != records:
        raise FormatError("a block does not hold the records that it says")
    return offsets


# -- the end ------------------------------------------------------------------------------------


def pack_end(records: int, last: bytes) -> bytes:
    """Return the end of a segment."""
    body = _END.pack(_END_MARK, records, last)
    return body + _CRC.pack(crc32c(body))


def read_end(data: bytes) -> End | None:
    """Return the end of a segment, or `None` if it is something else.

    Raises:
        FormatError: It is damaged.
    """
    mark, records, digest = _END.unpack_from(data)
    if mark != _END_MARK:
        return None
    if crc32c(data[: _END.size]) != _CRC.unpack_from(data, _END.size)[0]:
        raise FormatError("the end of the segment is damaged: its CRC32C differs")
    return End(records, digest)
