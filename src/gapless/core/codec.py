"""What a session needs from a venue: requests to send, and frames read.

A codec turns intent into text and text into events or readings.  It keeps no state but the
table of topics it was given, so one capture always reads the same.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from gapless.events import Event

__all__ = [
    "Ack",
    "Codec",
    "Heartbeat",
    "Listing",
    "Reading",
    "Refusal",
    "Request",
    "RequestKind",
    "Shutdown",
    "Status",
    "Stray",
]

RequestKind = Literal["setup", "subscribe", "unsubscribe", "listing", "reply"]


class Request(Struct, frozen=True):
    """One request, ready to send.

    Attributes:
        id: Our id, which the reply repeats; 0 where no reply is expected.
        text: The frame.
        topics: What it concerns, in order.
        pool: Which of the venue's request budgets it is paid from, or `None`.
        units: What it costs there.
    """

    id: int
    kind: RequestKind
    text: str
    topics: tuple[str, ...] = ()
    pool: str | None = None
    units: int = 1


class Ack(Struct, frozen=True):
    """The venue said yes.

    Attributes:
        request_id: Which request.
        topics: What was granted, or `None` where the venue does not list it: all of it.
        server_ns: The venue's time when it answered, if it says, Unix time.
    """

    request_id: int
    topics: tuple[str, ...] | None = None
    server_ns: int | None = None


class Refusal(Struct, frozen=True):
    """The venue said no to a request.

    Attributes:
        request_id: Which request, or `None` if it did not say.
        limited: Whether it means *too much*; the session is then over.
    """

    request_id: int | None
    code: int
    detail: str
    limited: bool = False


class Heartbeat(Struct, frozen=True):
    """The venue is alive.

    Attributes:
        reply: What must be sent at once, or `None`.
    """

    reply: Request | None = None


class Listing(Struct, frozen=True):
    """What the venue says this session is subscribed to."""

    request_id: int
    topics: tuple[str, ...]


class Shutdown(Struct, frozen=True):
    """The venue will end this session."""

    evidence: str


class Status(Struct, frozen=True):
    """The venue announced something that does not end the session."""

    evidence: str


class Stray(Struct, frozen=True):
    """A well-formed frame that nobody asked for; counted, never an error."""

    evidence: str


Reading = Ack | Refusal | Heartbeat | Listing | Shutdown | Status | Stray


class Codec(Protocol):
    """A venue's dialect for one session."""

    def setup(self, next_id: int) -> list[Request]:
        """Return what to send after the upgrade, before subscribing; ids from ``next_id`` up."""

    def subscribe(self, request_id: int, topics: tuple[str, ...]) -> Request: ...

    def unsubscribe(self, request_id: int, topics: tuple[str, ...]) -> Request: ...

    def once_live(self, request_id: int) -> Request | None:
        """Return what to send once every topic is granted or refused, or `None`.

        A list of what the venue thinks we have, or a subscription to its own news.
        """

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame.

        Args:
            text: The frame.
            recv_ns: When it was received, Unix time.
            mono_ns: The same moment, monotonic.

        Returns:
            A list of events for data; anything else is for the session.

        Raises:
            gapless.errors.DecodeError: If the frame is not what the venue documents.
        """
