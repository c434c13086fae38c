"""What can go wrong between a client and a server.

A `Fault` names one thing, where it strikes, when, for how long and how often.  `KINDS` says of each
what it takes.  Three sorts differ in what they hit, and so in what ``count`` and ``probability``
mean: some hit a *connection* for as long as they last, some a connection *once*, some a *message*.

Directions are those of the client: ``in`` is what it receives, ``out`` what it sends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct

from gapless.errors import UsageError, printable

__all__ = [
    "KINDS",
    "Direction",
    "Fault",
    "FaultInvalid",
    "FaultName",
    "Kind",
    "Traffic",
    "Way",
]

Way = Literal["in", "out"]
"""One of the two directions of a connection."""

Direction = Literal["in", "out", "both"]
Traffic = Literal["ws", "http"]
Hits = Literal["connection", "once", "message"]

FaultName = Literal[
    # TCP, for as long as they last
    "latency",
    "bandwidth",
    "slicer",
    "half_open_in",
    "half_open_out",
    "slow_close",
    "stop_after",
    "stalled_handshake",
    # TCP, at once
    "reset",
    # single messages
    "drop",
    "duplicate",
    "reorder",
    "delay",
    "corrupt",
    "fragment",
    "lost_pongs",
    # a WebSocket, for as long as it lasts
    "zombie",
    # a WebSocket, at once
    "bad_utf8",
    "close",
    "ping_flood",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a fault by its name.

    Attributes:
        hits: A connection for as long as it lasts, a connection once, or single messages.
        tcp: Whether it strikes any TCP connection, plain HTTP too; otherwise only WebSockets.
        direction: Where it strikes unless said otherwise; `None` if that is no question.
        takes: Its own keys.
        needs: Those of them that have no default.
        single: Whether it strikes one message if neither ``count``, ``for_s`` nor
            ``probability`` says how many.
    """

    hits: Hits
    tcp: bool
    direction: Direction | None
    takes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    single: bool = False


KINDS: Final[dict[str, Kind]] = {
    "latency": Kind("connection", True, "both", ("delay_ms", "jitter_ms"), ("delay_ms",)),
    "bandwidth": Kind("connection", True, "both", ("bytes_per_s",), ("bytes_per_s",)),
    "slicer": Kind("connection", True, "both", ("size_bytes", "delay_ms")),
    "half_open_in": Kind("connection", True, None),
    "half_open_out": Kind("connection", True, None),
    "slow_close": Kind("connection", True, "both", ("delay_ms",), ("delay_ms",)),
    "stop_after": Kind("connection", True, "in", ("n_bytes", "then"), ("n_bytes",)),
    "stalled_handshake": Kind("connection", True, None),
    "reset": Kind("once", True, None),
    "drop": Kind("message", False, "in", ("topic",), single=True),
    "duplicate": Kind("message", False, "in", ("topic",), single=True),
    "reorder": Kind("message", False, "in", ("topic", "by"), single=True),
    "delay": Kind("message", False, "in", ("topic", "delay_ms", "jitter_ms"), ("delay_ms",)),
    "corrupt": Kind("message", False, "in", ("topic",), single=True),
    "fragment": Kind("message", False, "in", ("topic", "size_bytes"), single=True),
    "lost_pongs": Kind("message", False, "in"),
    "zombie": Kind("connection", False, "in", ("answers",)),
    "bad_utf8": Kind("once", False, "in"),
    "close": Kind("once", False, "in", ("code", "reason", "keep_open")),
    "ping_flood": Kind("once", False, "in", ("n_pings",)),
}
"""Every fault there is."""

_DEFAULTS: Final[dict[str, Any]] = {
    "topic": None,
    "delay_ms": 0.0,
    "jitter_ms": 0.0,
    "bytes_per_s": None,
    "size_bytes": 1,
    "n_bytes": None,
    "then": "silence",
    "by": 1,
    "answers": "upstream",
    "code": 1001,
    "reason": "",
    "keep_open": False,
    "n_pings": 1000,
}
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "at_s": (0, 1e6),
    "for_s": (0, 1e6),
    "count": (1, 1_000_000_000),
    "connection": (1, 1_000_000_000),
    "delay_ms": (0, 3_600_000),
    "jitter_ms": (0, 3_600_000),
    "bytes_per_s": (1, 10_000_000_000),
    "size_bytes": (1, 1_000_000),
    "n_bytes": (0, 1 << 40),
    "by": (1, 1000),
    "code": (0, 65_535),
    "n_pings": (1, 1_000_000),
}
_TOPIC_MAX: Final = 256
_REASON_BYTES_MAX: Final = 123  # RFC 6455, section 5.5


class FaultInvalid(UsageError):
    """A fault that cannot be carried out as it is written.

    Attributes:
        key: The key that is wrong.
    """

    def __init__(self, key: str, words: str) -> None:
        self.key = key
        super().__init__(words)


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What should go wrong.

    Attributes:
        name: Which fault.
        at_s: When it begins, in seconds after the proxy began, or after it was asked for live.
        for_s: For how long; `None` until ``count`` is used up or it is cleared.
        count: How many messages or connections it hits at most; `None` is any number.
        probability: Chance that a message, or a connection, which matches is hit.
        connection: Only the WebSocket with this number, from 1 in order of their requests.
        direction: ``in`` is what the client receives, ``out`` what it sends.
        traffic: Only WebSockets, or only plain HTTP requests.
        topic: Only messages in whose text this shell pattern is found.
        delay_ms: How late.
        jitter_ms: How much the delay may differ, either way.
        bytes_per_s: How many bytes pass in a second.
        size_bytes: Bytes of one slice, or of one fragment.
        n_bytes: How many bytes pass, counted from the first of the connection.
        then: What comes after those bytes.
        by: How many messages overtake one that is held back.
        answers: Who answers pings to a zombie.
        code: Close code.
        reason: Close reason.
        keep_open: Leave TCP open after the close frame for as long as the client does.
        n_pings: How many pings.
    """

    name: FaultName
    at_s: float = 0.0
    for_s: float | None = None
    count: int | None = None
    probability: float = 1.0
    connection: int | None = None
    direction: Direction | None = None
    traffic: Traffic | None = None
    topic: str | None = None
    delay_ms: float | None = None
    jitter_ms: float | None = None
    bytes_per_s: int | None = None
    size_bytes: int | None = None
    n_bytes: int | None = None
    then: Literal["silence", "reset", "close"] | None = None
    by: int | None = None
    answers: Literal["proxy", "upstream"] | None = None
    code: int | None = None
    reason: str | None = None
    keep_open: bool | None = None
    n_pings: int | None = None

    @property
    def kind(self) -> Kind:
        """What is known of it by its name."""
        return KINDS[self.name]

    @property
    def limit(self) -> int | None:
        """How many it hits at most; `None` is any number."""
        if self.count is None and self.kind.single and self.for_s is None and self.probability == 1:
            return 1
        return self.count

    def get(self, key: str) -> Any:
        """Return one of its own keys, or the default where it is not given."""
        value = getattr(self, key)
        return _DEFAULTS[key] if value is None else value

    def strikes(self, way: Way) -> bool:
        """Return whether it strikes in this direction."""
        if self.name == "half_open_in":
            return way == "in"
        if self.name == "half_open_out":
            return way == "out"
        direction = self.direction or self.kind.direction
        return direction in (None, "both", way)

    def check(self) -> None:
        """Raise `FaultInvalid` if a part is missing, out of bounds or does not belong here."""
        if self.name not in KINDS:
            raise FaultInvalid("name", f"there is no fault named {printable(str(self.name))!r}")
        kind = self.kind
        for key in _DEFAULTS:
            given = getattr(self, key) is not None
            if given and key not in kind.takes:
                raise FaultInvalid(key, f"{self.name} takes no {key}")
            if not given and key in kind.needs:
                raise FaultInvalid(key, f"{self.name} needs {key}")
        for key, (least, most) in _BOUNDS.items():
            _check_number(key, getattr(self, key), least, most)
        if self.for_s == 0:
            raise FaultInvalid("for_s", "for_s must be above 0")
        if not 0 < self.probability <= 1:
            raise FaultInvalid(
                "probability", f"probability must be above 0 and at most 1, not {self.probability}"
            )
        if self.direction is not None and kind.direction is None:
            raise FaultInvalid("direction", f"{self.name} takes no direction")
        if self.direction not in (None, *get_args(Direction)):
            raise FaultInvalid("direction", "direction is in, out or both")
        if self.traffic is not None and not kind.tcp:
            raise FaultInvalid("traffic", f"{self.name} takes no traffic: it hits only WebSockets")
        if self.traffic == "http" and self.connection is not None:
            raise FaultInvalid("connection", "connection counts WebSockets, not HTTP requests")
        if self.topic is not None:
            _check_topic(self.topic)
        if len((self.reason or "").encode("utf-8", "replace")) > _REASON_BYTES_MAX:
            raise FaultInvalid("reason", f"reason is longer than {_REASON_BYTES_MAX} bytes")

    @classmethod
    def from_json(cls, text: str | bytes) -> Fault:
        """Read and check a fault; raises `FaultInvalid`."""
        try:
            fault = msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FaultInvalid("", printable(str(error))) from error
        fault.check()
        return fault


def _check_number(key: str, value: float | None, least: float, most: float) -> None:
    if value is None:
        return
    if not math.isfinite(value):
        raise FaultInvalid(key, f"{key} is not a finite number: {value}")
    if value < 0:
        raise FaultInvalid(key, f"{key} cannot be negative: {value}")
    if not least <= value <= most:
        raise FaultInvalid(key, f"{key} must be from {least:,} to {most:,}, not {value}")


def _check_topic(topic: str) -> None:
    if not topic.strip("*"):
        raise FaultInvalid("topic", "topic is an empty pattern: leave it out to mean any message")
    if len(topic) > _TOPIC_MAX:
        raise FaultInvalid("topic", f"topic is longer than {_TOPIC_MAX} characters")
    rest = topic
    while "[" in rest:
        rest = rest[rest.index("[") + 1 :]
        body = rest[1:] if rest[:1] == "!" else rest
        end = body.find("]", 1)
        if end < 0:
            raise FaultInvalid("topic", f"topic has a [ without its ]: {printable(topic)!r}")
        rest = body[end + 1 :]
