"""The bytes of a segment, one part at a time, against the layout that the reference page gives."""

from __future__ import annotations

import hashlib
import struct

import google_crc32c
import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.capture.captures import frame, stored

from gapless.capture.format import (
    BLOCK_HEAD_BYTES,
    END_BYTES,
    HEADER_HEAD_BYTES,
    MAGIC,
    FormatError,
    Header,
    header_bytes,
    header_hash,
    pack_block,
    pack_end,
    pack_record,
    read_block_head,
    read_end,
    read_header,
    read_header_head,
    unpack_block,
)

HEADER = Header(
    version=1, venue="v", capture="c" * 16, segment=2, first=9, created_ns=5, previous="ab"
)
BEFORE = b"\x07" * 32


def block(*items, before=BEFORE):
    records = [pack_record(item) for item in items]
    return pack_block(records, before, zstandard.ZstdCompressor())[0]


def unpack(data, before=BEFORE):
    head = read_block_head(data[:BLOCK_HEAD_BYTES])
    return list(unpack_block(head, data[BLOCK_HEAD_BYTES:], before))


def read_whole_header(data):
    length, crc = read_header_head(data[:HEADER_HEAD_BYTES])
    return read_header(data[HEADER_HEAD_BYTES:][:length], crc)


def test_crc32c_is_castagnolis():
    # The check value that RFC 3720 and the catalogues give for "123456789".
    assert google_crc32c.value(b"123456789") == 0xE3069283


def test_a_header_is_magic_length_crc_and_json():
    data = header_bytes(HEADER)
    magic, length, crc = struct.unpack_from("<8sII", data)
    assert magic == MAGIC == b"\x89GPL\r\n\x1a\n"
    body = data[16:]
    assert len(body) == length
    assert google_crc32c.value(body) == crc
    assert msgspec.json.decode(body) == {
        "version": 1, "venue": "v", "capture": "c" * 16, "segment": 2, "first": 9,
        "created_ns": 5, "previous": "ab",
    }  # fmt: skip
    assert read_header(body, crc) == HEADER
    assert header_hash(data) == hashlib.blake2b(data, digest_size=32).digest()


def test_a_block_is_a_head_and_one_zstd_frame_of_records():
    items = [frame(1), frame(2, "é")]
    data = block(*items)
    mark, packed, plain, count, crc, digest, head_crc = struct.unpack_from("<4sIIII32sI", data)
    assert (mark, count) == (b"BLK1", 2)
    body = data[BLOCK_HEAD_BYTES:]
    assert (len(body), google_crc32c.value(body)) == (packed, crc)
    assert head_crc == google_crc32c.value(data[:52])
    assert digest == hashlib.blake2b(BEFORE + data[:20] + body, digest_size=32).digest()
    unpacked = zstandard.ZstdDecompressor().decompress(body)
    assert len(unpacked) == plain
    length, crc = struct.unpack_from("<II", unpacked)
    first = unpacked[8 : 8 + length]
    assert google_crc32c.value(first) == crc
    assert msgspec.msgpack.decode(first)[:5] == [
        "in",
        "a.1",
        1_000_000,
        items[0].wall_ns,
        "frame 1",
    ]


def test_an_end_counts_and_repeats_the_last_hash():
    data = pack_end(7, BEFORE)
    assert data[:44] == b"END1" + struct.pack("<Q", 7) + BEFORE
    end = read_end(data)
    assert end is not None
    assert (end.records, end.hash) == (7, BEFORE)
    assert read_end(b"BLK1" + data[4:]) is None


@given(st.lists(stored(), max_size=8))
@settings(deadline=None)
def test_what_is_packed_is_what_is_unpacked(items):
    assert unpack(block(*items)) == items


def test_trailing_fields_that_say_nothing_may_be_left_out():
    [short] = unpack(block(("in", "a.1", 1, 2, "text")))
    assert (short.text, short.url, short.binary) == ("text", None, None)


@pytest.mark.parametrize("place", range(len(block(frame(1)))))
def test_a_bit_that_flips_anywhere_in_a_block_is_found(place):
    data = bytearray(block(frame(1)))
    for bit in range(8):
        data[place] ^= 1 << bit
        with pytest.raises(FormatError):
            unpack(bytes(data))
        data[place] ^= 1 << bit


@pytest.mark.parametrize("place", range(len(header_bytes(HEADER))))
def test_a_bit_that_flips_anywhere_in_a_header_is_found(place):
    data = bytearray(header_bytes(HEADER))
    data[place] ^= 4
    with pytest.raises(FormatError):
        read_whole_header(bytes(data) + b"what follows" * 10_000)


@pytest.mark.parametrize("place", range(4, END_BYTES))
def test_a_bit_that_flips_anywhere_in_an_end_is_found(place):
    data = bytearray(pack_end(7, BEFORE))
    data[place] ^= 1
    with pytest.raises(FormatError):
        read_end(bytes(data))


def test_a_block_belongs_behind_one_other():
    with pytest.raises(FormatError, match="does not follow"):
        unpack(block(frame(1)), before=b"\x08" * 32)


def test_a_block_that_claims_to_be_enormous_is_not_believed():
    plain = zstandard.ZstdCompressor().compress(b"\0" * 1000)
    covered = struct.pack("<4sIIII", b"BLK1", len(plain), 2**31, 1, google_crc32c.value(plain))
    head = covered + hashlib.blake2b(BEFORE + covered + plain, digest_size=32).digest()
    with pytest.raises(FormatError, match="cannot be"):
        read_block_head(head + struct.pack("<I", google_crc32c.value(head)))


@pytest.mark.parametrize(("says", "holds"), [(1, 2), (3, 2)])
def test_a_block_holds_the_records_that_it_says(says, holds):
    records = b"".join(pack_record(frame(n)) for n in range(holds))
    packed = zstandard.ZstdCompressor().compress(records)
    covered = struct.pack(
        "<4sIIII", b"BLK1", len(packed), len(records), says, google_crc32c.value(packed)
    )
    head = covered + hashlib.blake2b(BEFORE + covered + packed, digest_size=32).digest()
    with pytest.raises(FormatError, match="does not hold the records"):
        unpack(head + struct.pack("<I", google_crc32c.value(head)) + packed)


def test_a_later_version_is_refused():
    body = msgspec.json.encode({**msgspec.structs.asdict(HEADER), "version": 2})
    with pytest.raises(FormatError, match="version 2"):
        read_header(body, google_crc32c.value(body))
