"""Heads of HTTP requests and responses: read as far as a proxy must, and changed where it must.

Everything else keeps its bytes, its order and its spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["HEAD_BYTES_MAX", "HeadInvalid", "Request", "response", "status"]

HEAD_BYTES_MAX: Final = 32_768
"""Longest head of a request or a response that is read."""

_LINE: Final = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")

_PHRASES: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
}


class HeadInvalid(ValueError):
    """What came is not the head of an HTTP/1 request."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request.

    Attributes:
        method: Such as ``GET``.
        target: Path and query.
        lines: The header lines as they came.
    """

    method: str
    target: str
    lines: tuple[bytes, ...]

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """Read a head, without the empty line at its end; raises `HeadInvalid`."""
        first, *lines = head.split(b"\r\n")
        found = _LINE.fullmatch(first)
        if found is None:
            raise HeadInvalid("not an HTTP/1 request")
        return cls(found[1].decode(), found[2].decode("latin-1"), tuple(lines))

    @property
    def is_upgrade(self) -> bool:
        """Whether it asks for a WebSocket."""
        return (self.get(b"upgrade") or b"").lower() == b"websocket"

    def get(self, name: bytes) -> bytes | None:
        """Return the first header of that name, in lower case; `None` if there is none."""
        return next((_value(line) for line in self.lines if _name(line) == name), None)

    def towards(self, host: str, *, keep_extensions: bool) -> bytes:
        """Return the head as the server gets it.

        Args:
            host: The server's name, and its port if it is not the usual one.
            keep_extensions: Let a WebSocket negotiate compression.  Then no pattern can be found
                in its text, because no text is there to be seen.
        """
        gone = {b"host"}
        if not self.is_upgrade:
            gone |= {b"connection", b"keep-alive", b"proxy-connection"}
        elif not keep_extensions:
            gone.add(b"sec-websocket-extensions")
        lines = [f"{self.method} {self.target} HTTP/1.1".encode("latin-1")]
        lines.append(b"Host: " + host.encode())
        lines += [line for line in self.lines if _name(line) not in gone]
        if not self.is_upgrade:  # one request, so that the end of the answer is the end of TCP
            lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n"


def status(head: bytes) -> int | None:
    """Return the status of a response's head, or `None` if it is not one."""
    found = _STATUS.match(head)
    return None if found is None else int(found[1])


def response(code: int, words: str, *, content_type: str = "text/plain") -> bytes:
    """Return a whole response of our own, after which TCP ends."""
    body = words.encode()
    head = (
        f"HTTP/1.1 {code} {_PHRASES.get(code, 'Error')}\r\nServer: gapless proxy\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()


def _value(line: bytes) -> bytes:
    return line.partition(b":")[2].strip()
