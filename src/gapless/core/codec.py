"""What a session needs from a venue: requests to send, and frames read.

A codec turns intent into text and text into events or readings.  One instance serves one
session: what it learns (channel numbers, precisions, tickers that arrive as changes) belongs to
that connection and dies with it.  It reads no clock, so one capture always reads the same.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from gapless.core.universe import InstrumentState
from gapless.events import Event

__all__ = [
    "Ack",
    "Asked",
    "Bundle",
    "Codec",
    "Denied",
    "Granted",
    "Heartbeat",
    "Lifecycle",
    "Listing",
    "Reading",
    "Refusal",
    "Request",
    "RequestKind",
    "Shutdown",
    "Status",
    "Stray",
]

RequestKind = Literal["setup", "login", "subscribe", "unsubscribe", "listing", "reply"]


class Request(Struct, frozen=True):
    """One request, ready to send.

    Attributes:
        id: Our id, which the reply repeats; 0 where no reply is expected.  Where the venue
            repeats no ids it still counts our requests: see `Granted` and `Refusal.ordered`.
        text: The frame.
        topics: What it concerns, in order.
        pool: Which of the venue's request budgets it is paid from, or `None`.
        units: What it costs there.
        shown: What may be shown and recorded instead of ``text``, which holds a secret; `None`
            if it holds none.
    """

    id: int
    kind: RequestKind
    text: str
    topics: tuple[str, ...] = ()
    pool: str | None = None
    units: int = 1
    shown: str | None = None

    def __repr__(self) -> str:
        text = self.text if self.shown is None else self.shown
        return f"Request({self.id}, {self.kind!r}, {text!r})"


class Ack(Struct, frozen=True):
    """The venue said yes.

    Attributes:
        request_id: Which request; 0 where the venue repeats no id, which answers a login.
        topics: What was granted, or `None` where the venue does not list it: all of it.
        server_ns: The venue's time when it answered, if it says, Unix time.
    """

    request_id: int
    topics: tuple[str, ...] | None = None
    server_ns: int | None = None


class Refusal(Struct, frozen=True):
    """The venue said no to a request.

    Of several topics that were asked for together, those not granted by then are refused.

    Attributes:
        request_id: Which request, or `None` if it did not say.
        code: The venue's number for the error; 0 where it has none.
        limited: Whether it means *too much*; the session is then over.
        ordered: Without an id: whether it answers the oldest request that is still open, as
            at venues that answer in order.  Otherwise it is told and concerns no request.
    """

    request_id: int | None
    code: int
    detail: str
    limited: bool = False
    ordered: bool = False


class Granted(Struct, frozen=True):
    """These topics are subscribed, whichever request asked for them.

    For venues that answer each topic on its own, without our id, or with all that is subscribed.
    """

    topics: tuple[str, ...]


class Denied(Struct, frozen=True):
    """The venue refused these topics, whichever request asked for them."""

    topics: tuple[str, ...]
    code: int
    detail: str


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
    """The venue announced something that does not end the session.

    Attributes:
        closed: Whether the venue as a whole is closed from now on (``True``) or open again
            (``False``); `None` where the announcement says nothing of that.
    """

    evidence: str
    closed: bool | None = None


class Lifecycle(Struct, frozen=True):
    """The venue said where an instrument stands.

    Attributes:
        symbol: The venue's name of the instrument.
        state: What it is now.
        at_ns: Since when, Unix time, if the venue says.
    """

    symbol: str
    state: InstrumentState
    at_ns: int | None = None


class Stray(Struct, frozen=True):
    """A well-formed frame that nobody asked for; counted, never an error."""

    evidence: str


class Bundle(Struct, frozen=True):
    """One frame that says several things: an answer that brings data, or several answers."""

    readings: tuple[Reading, ...]
    events: tuple[Event, ...] = ()


Reading = (
    Ack
    | Bundle
    | Denied
    | Granted
    | Heartbeat
    | Lifecycle
    | Listing
    | Refusal
    | Shutdown
    | Status
    | Stray
)


class Asked(Struct, frozen=True):
    """What a frame that a client sent asks for; read from captures.

    Attributes:
        request_id: The id that the reply will repeat, or `None`.
        topics: Which topics, as far as the dialect knows them.
    """

    kind: RequestKind
    request_id: int | None
    topics: tuple[str, ...]


class Codec(Protocol):
    """A venue's dialect for one session."""

    def setup(self, next_id: int) -> list[Request]:
        """Return what to send after the upgrade, before subscribing; ids from ``next_id`` up."""

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return the requests for ``topics``, with ids from ``next_id`` up.

        There may be several, where the dialect cannot ask for different things in one frame.
        """

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return the requests that end ``topics``, with ids from ``next_id`` up."""

    def beat(self, next_id: int) -> Request | None:
        """Return what to send when the venue wants to hear from us; `None` for a WebSocket ping.

        Used only where the profile declares `client_beat_ns`.
        """

    def number(self, text: str) -> int | None:
        """Return the number of a frame that the venue counts for the whole connection.

        Used only where the profile declares a `connection_counter`; `None` for a frame without.
        """

    def asked(self, text: str) -> Asked | None:
        """Return what a recorded frame of a client asks for, or `None` if it asks for nothing.

        Must read what `subscribe` writes, and what other clients wrote into captures.

        Raises:
            gapless.errors.DecodeError: If the frame is not what the venue documents.
        """

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
