"""The rules of RFC 6455 that a frame parser leaves to its user, without any I/O.

Each rule that the peer breaks is a `gapless.errors.ProtocolViolation` with the close code that
answers it.
"""

from __future__ import annotations

import codecs
from collections import deque
from typing import Any, Final

from gapless.errors import ProtocolViolation
from gapless.io.transport import Limits

__all__ = ["Assembly", "ControlBudget", "close_payload", "is_close_code", "parse_close"]

CONTROL_BYTES_MAX: Final = 125
REASON_BYTES_MAX: Final = 123

PROTOCOL_ERROR: Final = 1002
INVALID_TEXT: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009

_SECOND_NS: Final = 1_000_000_000
# RFC 6455, section 7.4.1, and the IANA registry: what may stand in a close frame below 3000.
_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


def is_close_code(code: int) -> bool:
    """Say whether ``code`` may stand in a close frame; 3000 to 4999 belong to applications."""
    return code in _CODES or 3000 <= code <= 4999


def parse_close(payload: bytes) -> tuple[int | None, str]:
    """Return code and reason of a close frame; `None` and empty if it carries neither.

    Raises:
        gapless.errors.ProtocolViolation: One byte, a code that must not be sent, or a reason that
            is not UTF-8.
    """
    if not payload:
        return None, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not is_close_code(code):
        raise ProtocolViolation("a close frame without a valid code", PROTOCOL_ERROR)
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as exc:
        raise ProtocolViolation("a close reason is not valid UTF-8", INVALID_TEXT) from exc


def close_payload(reason: str) -> bytes:
    """Return ``reason`` in UTF-8, cut at a character so that it fits a close frame."""
    cut = reason.encode("utf-8", "replace")[:REASON_BYTES_MAX]
    return cut.decode("utf-8", "ignore").encode()


class Assembly:
    """Puts fragments together, within limits.

    Text is decoded piece by piece, so that a bad message fails at its first bad fragment and not
    after the last.

    Args:
        limits: What one message may cost.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decoder: codecs.IncrementalDecoder | None = None
        # Pieces of text or of bytes, never both; `None` between messages.
        self._parts: list[Any] | None = None
        self._bytes = 0

    @property
    def idle(self) -> bool:
        """Whether no message is half received."""
        return self._parts is None

    def first(self, payload: bytes, *, is_text: bool, fin: bool) -> str | bytes | None:
        """Take a text or binary frame; return the message if it is whole.

        Raises:
            gapless.errors.ProtocolViolation: Another message has not ended, or as `following`.
        """
        if self._parts is not None:
            raise ProtocolViolation("a message begins inside another", PROTOCOL_ERROR)
        self._parts = []
        self._bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")() if is_text else None
        return self.following(payload, fin=fin)

    def following(self, payload: bytes, *, fin: bool) -> str | bytes | None:
        """Take a continuation frame; return the message if it is whole now.

        Raises:
            gapless.errors.ProtocolViolation: There is nothing to continue, the message exceeds the
                limits, or its text is not UTF-8.
        """
        parts, limits = self._parts, self._limits
        if parts is None:
            raise ProtocolViolation("a continuation continues nothing", PROTOCOL_ERROR)
        self._bytes += len(payload)
        if self._bytes > limits.message_bytes:
            raise ProtocolViolation(f"a message exceeds {limits.message_bytes} bytes", TOO_BIG)
        if len(parts) >= limits.fragments:
            raise ProtocolViolation(f"a message exceeds {limits.fragments} frames", TOO_BIG)
        if self._decoder is None:
            parts.append(payload)
        else:
            parts.append(_decoded(self._decoder, payload, fin))
        if not fin:
            return None
        self._parts = None
        return b"".join(parts) if self._decoder is None else "".join(parts)


def _decoded(decoder: codecs.IncrementalDecoder, payload: bytes, fin: bool) -> str:
    try:
        return decoder.decode(payload, fin)
    except UnicodeDecodeError as exc:
        raise ProtocolViolation("a text message is not valid UTF-8", INVALID_TEXT) from exc


class ControlBudget:
    """Bounds how many control frames a peer may send in any one second.

    Args:
        per_s: Most frames within a second, wherever it begins.
    """

    def __init__(self, per_s: int) -> None:
        self._recent_ns: deque[int] = deque(maxlen=per_s)

    def spend(self, now_ns: int) -> None:
        """Count one frame.

        Raises:
            gapless.errors.ProtocolViolation: It is one too many.
        """
        recent = self._recent_ns
        if len(recent) == recent.maxlen and (not recent or now_ns - recent[0] < _SECOND_NS):
            limit = recent.maxlen
            raise ProtocolViolation(f"more than {limit} control frames in a second", POLICY)
        recent.append(now_ns)
