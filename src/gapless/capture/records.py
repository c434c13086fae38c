"""One line of a capture, whatever file it stands in, and the error of one that cannot be read."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["CaptureDamaged", "Kind", "Record"]

Kind = Literal["in", "out", "rest", "open", "close", "meta"]


class Record(Struct, frozen=True, gc=False):
    """Something that happened on the wire.

    Attributes:
        kind: ``in`` and ``out`` are text frames, ``rest`` is an HTTP exchange, ``open`` and
            ``close`` are the ends of a connection, ``meta`` is said by the recorder.
        conn: Which connection; ``rest`` for HTTP.
        mono_ns: When, on the monotonic clock; `None` where the capture does not say.
        wall_ns: When, Unix time; `None` where the capture does not say.
        text: The frame, the body, or why a connection was closed.  What was sent with a secret
            in it stands here without.
        url: What was dialled or asked; `None` where the capture does not say.
        number: Where it stands in the capture, from 1.
        status: HTTP status of the answer.
        request: What was sent with POST.
        event: The word that a foreign capture has for a ``meta`` line.
        encoding: How a binary message was packed; ``text`` is what was in it.
        binary: Its bytes, in base 64.
    """

    kind: Kind
    conn: str
    mono_ns: int | None
    wall_ns: int | None
    text: str
    url: str | None
    number: int
    status: int | None = None
    request: str | None = None
    event: str | None = None
    encoding: str | None = None
    binary: str | None = None


class CaptureDamaged(Exception):
    """A capture that cannot be read, or not to its end.

    Attributes:
        path: The file.
        place: Where in it, such as ``line 7``; empty if the file did not open.
        detail: What is wrong.
    """

    def __init__(self, path: str, place: str, detail: str) -> None:
        self.path = path
        self.place = place
        self.detail = detail
        super().__init__(f"{path}, {place}: {detail}" if place else f"{path}: {detail}")
