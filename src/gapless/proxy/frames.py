"""WebSocket frames (RFC 6455, section 5.2) cut out of a stream of bytes, and made.

The splitter judges nothing: reserved bits and opcodes, absurd lengths and unmasked clients pass as
they are, because what a peer really sent is the other peer's business.  Joining all that it returns
gives what it was fed, byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "FrameSplitter",
    "Piece",
    "build",
    "flipped",
    "fragments",
    "masked",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
_MASKED: Final = 0x80


class Piece(NamedTuple):
    """A frame, or a part of one that is too long to wait for.

    Attributes:
        raw: The bytes as they came.
        first_byte: FIN, reserved bits and opcode.
        payload_at: Where in ``raw`` the payload begins; 0 in later parts of a frame.
        payload_bytes: Length of the whole frame's payload.
        key: The masking key, or empty.
        number: Which frame of the stream it is, from 1.
        begins: Whether the frame begins here.
        ends: Whether it ends here.
    """

    raw: bytes
    first_byte: int
    payload_at: int
    payload_bytes: int
    key: bytes
    number: int
    begins: bool
    ends: bool

    @property
    def opcode(self) -> int:
        """What kind of frame it is."""
        return self.first_byte & 0x0F

    @property
    def is_control(self) -> bool:
        """Whether it is a ping, a pong, a close or an unknown frame of that kind."""
        return self.first_byte & 0x08 != 0

    @property
    def fin(self) -> bool:
        """Whether the message ends with this frame."""
        return self.first_byte & _FIN != 0

    def payload(self) -> bytes:
        """Return the payload of a whole frame, unmasked."""
        return masked(self.raw[self.payload_at :], self.key)


class FrameSplitter:
    """Cuts one direction of a WebSocket into frames, whatever the chunks they come in.

    Args:
        frame_bytes_max: Longest payload that is waited for; a longer one comes in parts.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self._max = frame_bytes_max
        self._buffer = bytearray()
        self._at = 0  # what is before has been taken
        self._left = 0  # bytes of a frame whose beginning has been taken
        self._current = Piece(b"", 0, 0, 0, b"", 0, False, True)

    @property
    def inside(self) -> bool:
        """Whether a frame has been taken in part."""
        return self._left > 0

    @property
    def waiting_bytes(self) -> int:
        """How many bytes have been fed and not taken."""
        return len(self._buffer) - self._at

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def take(self, *, whole: bool) -> Piece | None:
        """Return the next frame or part, or `None` if more must arrive.

        Args:
            whole: Wait until the frame is complete, if it may be waited for.
        """
        if self._left:
            return self._part()
        return self._frame(whole=whole)

    def rest(self) -> bytes:
        """Return what is left of a stream that ended inside a frame."""
        rest = bytes(self._buffer[self._at :])
        self._buffer.clear()
        self._at = self._left = 0
        return rest

    def _part(self) -> Piece | None:
        size = min(self._left, len(self._buffer) - self._at)
        if not size:
            return None
        raw = bytes(self._buffer[self._at : self._at + size])
        self._at += size
        self._left -= size
        return self._current._replace(raw=raw, payload_at=0, begins=False, ends=not self._left)

    def _frame(self, *, whole: bool) -> Piece | None:
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        size, head = second & 0x7F, 2
        if size == 126:
            head = 4
        elif size == 127:
            head = 10
        key_at = head
        if second & _MASKED:
            head += 4
        if have < head:
            return None
        if size == 126:
            size = buffer[at + 2] << 8 | buffer[at + 3]
        elif size == 127:
            size = int.from_bytes(buffer[at + 2 : at + 10], "big")
        total = head + size
        ends = have >= total
        # A control frame is short, and must not be told apart from its end.
        if not ends and ((whole and size <= self._max) or (first & 0x08 and size < 126)):
            return None
        taken = total if ends else have
        piece = Piece(
            bytes(buffer[at : at + taken]),
            first,
            head,
            size,
            bytes(buffer[at + key_at : at + head]),
            self._current.number + 1,
            True,
            ends,
        )
        self._at = at + taken
        self._left = total - taken
        self._current = piece
        return piece


def build(
    opcode: int, payload: bytes, *, key: bytes = b"", fin: bool = True, rsv: int = 0
) -> bytes:
    """Return a frame.

    Args:
        opcode: What kind.
        payload: Unmasked.
        key: The masking key of four bytes, or empty for a server's frame.
        fin: Whether the message ends with it.
        rsv: The three reserved bits.
    """
    first = (_FIN if fin else 0) | rsv << 4 | opcode
    return _head(first, len(payload), key) + masked(payload, key)


def masked(payload: bytes, key: bytes) -> bytes:
    """Return ``payload`` masked with ``key``, or unmasked, which is the same."""
    if not key or not payload:
        return bytes(payload)
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return mixed.to_bytes(size, "big")


def flipped(frame: Piece, offset: int) -> bytes:
    """Return a whole frame with the lowest bit of one payload byte flipped.

    ASCII stays ASCII, so that a text mostly stays a text: a digit becomes the next one.
    """
    raw = bytearray(frame.raw)
    raw[frame.payload_at + offset] ^= 1  # masked or not, it is the same bit
    return bytes(raw)


def fragments(frame: Piece, size_bytes: int) -> Iterator[bytes]:
    """Yield a whole frame as fragments of at most ``size_bytes`` of payload."""
    payload, key = frame.raw[frame.payload_at :], frame.key
    last = max(0, len(payload) - 1) // size_bytes * size_bytes
    for at in range(0, last + 1, size_bytes):
        first = frame.first_byte if at == 0 else CONTINUATION | frame.first_byte & _FIN
        if at < last:
            first &= ~_FIN
        part = payload[at : at + size_bytes]
        turn = at % 4  # the masked bytes stay as they are, if the key begins where they do
        yield _head(first, len(part), key[turn:] + key[:turn]) + part


def _head(first: int, size: int, key: bytes) -> bytes:
    bit = _MASKED if key else 0
    if size < 126:
        return bytes((first, bit | size)) + key
    if size < 1 << 16:
        return struct.pack("!BBH", first, bit | 126, size) + key
    return struct.pack("!BBQ", first, bit | 127, size) + key
