"""What was asked for in a capture, what was answered, and how long that took."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from gapless.core.codec import (
    Ack,
    Asked,
    Bundle,
    Denied,
    Granted,
    Listing,
    Reading,
    Refusal,
    RequestKind,
)
from gapless.errors import printable

__all__ = ["OPEN_MAX", "REFUSED_MAX", "Refused", "Requests"]

OPEN_MAX: Final = 10_000
"""Requests of one connection that wait for an answer; of more, the oldest is given up."""

REFUSED_MAX: Final = 1_000
"""Refusals that are listed; more are only counted."""


class Refused(Struct, frozen=True, gc=False):
    """Something that the venue refused.

    Attributes:
        frame: The frame that said so.
        topics: Which topics, as far as it can be told.
    """

    frame: int
    topics: tuple[str, ...]
    code: int
    detail: str


class Times(Struct):
    """How long answers took, in nanoseconds."""

    count: int = 0
    total_ns: int = 0
    least_ns: int = 0
    most_ns: int = 0

    def note(self, took_ns: int) -> None:
        """Count one answer."""
        self.least_ns = took_ns if self.count == 0 else min(self.least_ns, took_ns)
        self.most_ns = max(self.most_ns, took_ns)
        self.count += 1
        self.total_ns += took_ns


class _Open(Struct):
    kind: RequestKind
    id: int | None
    sent_ns: int
    topics: dict[str, None]  # those not answered yet, in order


class Requests:
    """The requests of one file, connection by connection.

    Attributes:
        sent: How many there were.
        times: How long answers took.
        refused: The first `REFUSED_MAX` refusals.
        refusals: How many there were.
        given_up: Requests that ended without an answer: the connection did.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.times = Times()
        self.refused: list[Refused] = []
        self.refusals = 0
        self.given_up = 0
        self._open: dict[str, list[_Open]] = {}

    @property
    def unanswered(self) -> int:
        """How many requests have no answer."""
        return self.given_up + sum(len(waiting) for waiting in self._open.values())

    def ask(self, connection: str, asked: Asked, now_ns: int) -> None:
        """Note a request; what expects no answer is counted and forgotten."""
        self.sent += 1
        if asked.request_id is None and not (asked.kind == "subscribe" and asked.topics):
            return
        waiting = self._open.setdefault(connection, [])
        waiting.append(_Open(asked.kind, asked.request_id, now_ns, dict.fromkeys(asked.topics)))
        if len(waiting) > OPEN_MAX:
            del waiting[0]
            self.given_up += 1

    def answer(self, connection: str, reading: Reading, frame: int, now_ns: int) -> None:
        """Match an answer with what asked for it."""
        waiting = self._open.get(connection, [])
        match reading:
            case Bundle(readings=readings):
                for one in readings:
                    self.answer(connection, one, frame, now_ns)
            case Ack(request_id=number, topics=topics):
                found = _with_id(waiting, number)
                if found is None and number == 0:  # the venue repeats no ids
                    found = next((one for one in waiting if one.id is None), None)
                if found is not None:
                    self._close(waiting, found, now_ns)
                    missing = [] if topics is None else [t for t in found.topics if t not in topics]
                    if missing and found.kind == "subscribe":
                        self._refuse(frame, tuple(missing), 0, "left out of the reply")
            case Listing(request_id=number):
                found = _with_id(waiting, number)
                if found is not None:
                    self._close(waiting, found, now_ns)
            case Granted(topics=topics):
                self._settle(waiting, topics, now_ns)
            case Denied(topics=topics, code=code, detail=detail):
                self._refuse(frame, topics, code, detail)
                self._settle(waiting, topics, now_ns)
            case Refusal(request_id=number, code=code, detail=detail, ordered=ordered):
                found = _with_id(waiting, number)
                if found is None and number is None and ordered and waiting:
                    found = waiting[0]
                self._refuse(frame, () if found is None else tuple(found.topics), code, detail)
                if found is not None:
                    self._close(waiting, found, now_ns)
            case _:
                pass

    def end(self, connection: str) -> None:
        """Note that a connection ended."""
        self.given_up += len(self._open.pop(connection, ()))

    def _close(self, waiting: list[_Open], found: _Open, now_ns: int) -> None:
        self.times.note(now_ns - found.sent_ns)
        waiting.remove(found)

    def _settle(self, waiting: list[_Open], topics: tuple[str, ...], now_ns: int) -> None:
        for topic in topics:
            for one in waiting:
                if one.topics.pop(topic, 0) is None:
                    if not one.topics:
                        self._close(waiting, one, now_ns)
                    break

    def _refuse(self, frame: int, topics: tuple[str, ...], code: int, detail: str) -> None:
        self.refusals += 1
        if len(self.refused) < REFUSED_MAX:
            self.refused.append(Refused(frame, topics, code, printable(detail)))


def _with_id(waiting: list[_Open], number: int | None) -> _Open | None:
    if number is None:
        return None
    return next((one for one in waiting if one.id == number), None)
