"""Frames: nothing is lost or changed on the way through, however the bytes are cut."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.io.raw_server import frame

from gapless.proxy.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    FrameSplitter,
    build,
    flipped,
    fragments,
    masked,
)

# RFC 6455, section 5.7: the examples of the document.
HELLO = bytes.fromhex("810548656c6c6f")
MASKED_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
HEL, LO = bytes.fromhex("010348656c"), bytes.fromhex("80026c6f")
PING_HELLO = bytes.fromhex("890548656c6c6f")


def taken(splitter, *, whole=True):
    pieces = []
    while (piece := splitter.take(whole=whole)) is not None:
        pieces.append(piece)
    return pieces


def split(data, *, whole=True, longest=1 << 20):
    splitter = FrameSplitter(longest)
    splitter.feed(data)
    return taken(splitter, whole=whole)


def test_the_examples_of_the_document_are_read():
    pieces = split(HELLO + MASKED_HELLO + HEL + LO + PING_HELLO)
    assert [p.payload() for p in pieces] == [b"Hello", b"Hello", b"Hel", b"lo", b"Hello"]
    assert [p.opcode for p in pieces] == [TEXT, TEXT, TEXT, CONTINUATION, PING]
    assert [p.fin for p in pieces] == [True, True, False, True, True]
    assert [p.is_control for p in pieces] == [False] * 4 + [True]
    assert [p.number for p in pieces] == [1, 2, 3, 4, 5]


def test_the_examples_of_the_document_are_made():
    assert build(TEXT, b"Hello") == HELLO
    assert build(TEXT, b"Hello", key=bytes.fromhex("37fa213d")) == MASKED_HELLO
    assert build(TEXT, b"Hel", fin=False) + build(CONTINUATION, b"lo") == HEL + LO
    assert build(BINARY, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert build(BINARY, bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")


STREAM = b"".join(
    frame(opcode, bytes(random.Random(size).randbytes(size)), fin=fin, rsv=rsv, mask=mask)
    for opcode, size, fin, rsv, mask in [
        (1, 0, True, 0, False),
        (1, 125, True, 0, True),
        (2, 126, False, 4, False),
        (9, 4, True, 0, False),
        (0, 300, True, 0, True),
        (7, 3, True, 7, False),
        (1, 70_000, True, 0, True),
        (8, 2, True, 0, False),
    ]
)


@pytest.mark.parametrize("whole", [True, False])
@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_whatever_the_chunks_all_bytes_come_out_in_order(whole, cuts):
    splitter = FrameSplitter(100_000)
    out = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for begin, end in itertools.pairwise(edges):
        splitter.feed(STREAM[begin:end])
        out += taken(splitter, whole=whole)
    assert b"".join(p.raw for p in out) + splitter.rest() == STREAM
    assert sum(p.begins for p in out) == sum(p.ends for p in out) == 8
    if whole:
        assert len(out) == 8


def test_a_stream_cut_at_every_byte_gives_the_same_frames():
    stream = HELLO + MASKED_HELLO + HEL + PING_HELLO + LO
    for at in range(len(stream) + 1):
        splitter = FrameSplitter(100)
        splitter.feed(stream[:at])
        pieces = taken(splitter)
        splitter.feed(stream[at:])
        pieces += taken(splitter)
        assert [p.raw for p in pieces] == [HELLO, MASKED_HELLO, HEL, PING_HELLO, LO], at


def test_a_frame_too_long_to_wait_for_comes_in_parts():
    long = build(BINARY, bytes(1000))
    splitter = FrameSplitter(999)
    splitter.feed(long[:100])
    (part,) = taken(splitter)
    assert (part.raw, part.begins, part.ends, splitter.inside) == (long[:100], True, False, True)
    splitter.feed(long[100:] + HELLO)
    rest, after = taken(splitter)
    assert (rest.raw, rest.begins, rest.ends, rest.number) == (long[100:], False, True, 1)
    assert after.raw == HELLO
    assert after.number == 2


def test_a_header_that_claims_absurdly_much_holds_nothing_back():
    head = bytes.fromhex("827f4000000000000000")
    splitter = FrameSplitter(1 << 20)
    splitter.feed(head + b"x")
    (part,) = taken(splitter)
    assert part.raw == head + b"x"
    assert part.payload_bytes == 1 << 62
    assert splitter.waiting_bytes == 0


def test_a_control_frame_is_waited_for_even_while_all_passes():
    splitter = FrameSplitter(0)
    splitter.feed(PING_HELLO[:-1])
    assert splitter.take(whole=False) is None
    splitter.feed(PING_HELLO[-1:])
    (ping,) = taken(splitter, whole=False)
    assert ping.payload() == b"Hello"


def test_a_flip_changes_one_bit_of_the_payload_masked_or_not():
    for raw in (HELLO, MASKED_HELLO):
        (piece,) = split(raw)
        (changed,) = split(flipped(piece, 1))
        assert changed.payload() == b"Hdllo"
        assert bytes(a ^ b for a, b in zip(changed.raw, raw, strict=True)).strip(b"\0") == b"\1"


@pytest.mark.parametrize("key", [b"", b"\x37\xfa\x21\x3d"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
def test_fragments_join_to_the_message_and_only_the_last_ends_it(size, key):
    (whole,) = split(build(TEXT, b"Hello world", key=key, rsv=4))
    pieces = split(b"".join(fragments(whole, size)))
    assert b"".join(p.payload() for p in pieces) == b"Hello world"
    assert [p.fin for p in pieces] == [False] * (len(pieces) - 1) + [True]
    assert [p.opcode for p in pieces] == [TEXT] + [CONTINUATION] * (len(pieces) - 1)
    assert pieces[0].first_byte & 0x70 == 0x40  # the reserved bit belongs to the first
    assert all(len(p.payload()) <= size for p in pieces)


def test_masking_twice_changes_nothing():
    data = bytes(range(256)) + b"x"
    assert masked(masked(data, b"abcd"), b"abcd") == data
    assert masked(data, b"\0\0\0\0") == data
    assert masked(b"", b"abcd") == b""


def test_a_close_frame_carries_its_code():
    (close,) = split(build(CLOSE, (1012).to_bytes(2, "big") + b"bye"))
    assert close.payload() == b"\x03\xf4bye"
