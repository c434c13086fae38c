"""What became of every request: answered, rejected, not sent, or unknown.

Every request ends in exactly one of the four.  A request that was still queued when the
session ended certainly did nothing; one that was sent and not answered may have done it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from gapless.core.codec import Request

__all__ = ["Outcome", "Requests"]


@unique
class Outcome(Enum):
    """How a request ended."""

    ANSWERED = "answered"
    REJECTED = "rejected"
    NOT_SENT = "not-sent"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class _Open:
    request: Request
    deadline_ns: int | None  # `None` until it is sent
    waiting: set[str]  # topics that the venue may answer one by one


class Requests:
    """The requests of one session, by id.

    Bounded by the caller: a session opens a known number of requests for each topic.
    """

    __slots__ = ("_asking", "_open", "outcomes")

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._asking: dict[str, int] = {}  # topic -> the newest subscribe that asks for it
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    def opened(self, request: Request) -> None:
        """Note a request that will be sent.

        Raises:
            ValueError: If its id is in use.
        """
        if request.id in self._open:
            raise ValueError(f"request id {request.id} is in use")
        self._open[request.id] = _Open(request, None, set(request.topics))
        if request.kind == "subscribe":
            self._asking.update(dict.fromkeys(request.topics, request.id))

    def sent(self, request_id: int, deadline_ns: int) -> None:
        """Note that it was sent, and until when its answer may take, if one is awaited."""
        entry = self._open.get(request_id)
        if entry is not None:
            entry.deadline_ns = deadline_ns

    def put_off(self, deadline_ns: int) -> None:
        """Let every answer that is awaited take until ``deadline_ns`` at least."""
        for entry in self._open.values():
            if entry.deadline_ns is not None:
                entry.deadline_ns = max(entry.deadline_ns, deadline_ns)

    def ended(self, request_id: int | None, outcome: Outcome) -> Request | None:
        """Note an answer; return its request, or `None` if none with this id awaits one."""
        entry = None if request_id is None else self._sent(request_id)
        if request_id is None or entry is None:
            return None
        del self._open[request_id]
        for topic in entry.request.topics:
            if self._asking.get(topic) == request_id:
                del self._asking[topic]
        self.outcomes[outcome] += 1
        return entry.request

    def answered(self, topic: str) -> None:
        """Note that the venue answered for one topic; its subscribe ends with the last.

        So does what asked for it or unsubscribed it before, or an answer in order would be taken
        for one to that: a venue that names no request answers in order.
        """
        request_id = self._asking.get(topic)
        if request_id is None or self._sent(request_id) is None:
            return
        del self._asking[topic]
        for number, entry in list(self._open.items()):
            if number <= request_id and topic in entry.waiting:
                entry.waiting.discard(topic)
                if not entry.waiting:
                    self.ended(number, Outcome.ANSWERED)

    def queued(self, topic: str) -> bool:
        """Whether the newest subscribe for ``topic`` is not sent yet: no answer is meant for it."""
        request_id = self._asking.get(topic)
        return request_id is not None and self._sent(request_id) is None

    def unanswered(self, request: Request) -> tuple[str, ...]:
        """Return the topics of an open request that the venue has not answered yet."""
        return tuple(t for t in request.topics if self._asking.get(t) == request.id)

    @property
    def oldest_sent(self) -> int | None:
        """The id of the oldest request that was sent and is open, or `None`."""
        return next((i for i, entry in self._open.items() if entry.deadline_ns is not None), None)

    def get(self, request_id: int | None) -> Request | None:
        """Return a request that was sent and is open, or `None`."""
        entry = None if request_id is None else self._sent(request_id)
        return None if entry is None else entry.request

    def overdue(self, now_ns: int) -> list[Request]:
        """Return the requests whose deadline has passed, oldest first; they stay open."""
        return [
            entry.request
            for entry in self._open.values()
            if entry.deadline_ns is not None and entry.deadline_ns <= now_ns
        ]

    def close(self) -> list[tuple[Request, Outcome]]:
        """End every open request, because the session is over."""
        ended = [
            (entry.request, Outcome.NOT_SENT if entry.deadline_ns is None else Outcome.UNKNOWN)
            for entry in self._open.values()
        ]
        for _, outcome in ended:
            self.outcomes[outcome] += 1
        self._open.clear()
        self._asking.clear()
        return ended

    @property
    def deadline_ns(self) -> int | None:
        """The earliest deadline, or `None` if nothing awaits an answer."""
        return min(
            (e.deadline_ns for e in self._open.values() if e.deadline_ns is not None),
            default=None,
        )

    def _sent(self, request_id: int) -> _Open | None:
        entry = self._open.get(request_id)
        return None if entry is None or entry.deadline_ns is None else entry

    def __len__(self) -> int:
        return len(self._open)
