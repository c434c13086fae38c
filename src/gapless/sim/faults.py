"""Misbehaviour on command.

A `Fault` says what should go wrong, where, and for how long or how often; the `FaultBoard`
holds those that are active and answers, for each message, dial or reply, whether it is hit.
Every fault that is injected leaves a `FaultRecord` that counts how often it really happened: a
test of a fault that never struck proves nothing.

What a fault does to a connection is carried out by `gapless.sim.session` and
`gapless.sim.exchange`; this module only decides.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct

__all__ = ["PARAMETERS", "Fault", "FaultBoard", "FaultInvalid", "FaultName", "FaultRecord"]

FaultName = Literal[
    # to single data messages
    "drop",
    "duplicate",
    "reorder",
    # to the flow of a session
    "silence",
    "mute",
    "lag",
    "late_ack",
    # to a session, at once
    "half_open",
    "reset",
    "close",
    "bad_utf8",
    "garbage",
    "oversize",
    "shutdown_notice",
    "unsubscribe",
    # to dials
    "accept_close",
    "refuse",
    "outage",
    # to the venue
    "refuse_symbol",
    "stale_snapshot",
    "rest_fail",
    "rest_hang",
    "maintenance",
]

PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "drop": (),
    "duplicate": (),
    "reorder": (),
    "silence": (),
    "mute": (),
    "lag": ("delay_ms",),
    "late_ack": ("delay_ms",),
    "half_open": (),
    "reset": (),
    "close": ("code", "reason"),
    "bad_utf8": (),
    "garbage": (),
    "oversize": ("n_bytes",),
    "shutdown_notice": ("lead_s",),
    "unsubscribe": (),
    "accept_close": ("code", "reason"),
    "refuse": ("status", "retry_after_s"),
    "outage": (),
    "refuse_symbol": (),
    "stale_snapshot": ("stale_ms",),
    "rest_fail": ("status", "retry_after_s"),
    "rest_hang": (),
    "maintenance": (),
}
"""What each fault takes beside the filters, ``count``, ``for_s`` and ``probability``."""

_SINGLE: Final = frozenset({"drop", "duplicate", "reorder"})
_AT_ONCE: Final = frozenset(
    {
        "half_open",
        "reset",
        "close",
        "bad_utf8",
        "garbage",
        "oversize",
        "shutdown_notice",
        "unsubscribe",
    }
)
_NEEDS_TIME: Final = frozenset({"outage", "maintenance"})
_DEFAULTS: Final[dict[str, Any]] = {
    "code": 1001,
    "reason": "",
    "status": 503,
    "retry_after_s": None,
    "delay_ms": None,
    "stale_ms": None,
    "lead_s": 10.0,
    "n_bytes": 1 << 62,
}
_REQUIRED: Final = ("delay_ms", "stale_ms")


class FaultInvalid(ValueError):
    """A fault that cannot be carried out as it is written."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What should go wrong.

    Attributes:
        name: Which fault.
        venue: Only at this venue; `None` at any.
        symbol: Only for this symbol, as the venue spells it.
        topic: Only for topics that match this shell pattern, such as ``book.*``.
        session: Only for the session with this number.
        count: How often at most; `None` as often as ``for_s`` allows.  `drop`, `duplicate` and
            `reorder` happen once if neither is given.
        for_s: For how long, in seconds; `None` until ``count`` is used up or it is cleared.
        probability: Chance that a message which matches is hit, above 0 and at most 1.
        code: Close code of `close` and `accept_close`.
        reason: Close reason.
        status: HTTP status of `refuse` and `rest_fail`.
        retry_after_s: Sent as ``Retry-After``, in whole seconds; `None` sends none.
        delay_ms: Delay of `lag` and `late_ack`.
        stale_ms: Age of the books that REST serves under `stale_snapshot`.
        n_bytes: Length that the frame header of `oversize` claims.
        lead_s: Time from `shutdown_notice` to the cut.
    """

    name: FaultName
    venue: str | None = None
    symbol: str | None = None
    topic: str | None = None
    session: int | None = None
    count: int | None = None
    for_s: float | None = None
    probability: float = 1.0
    code: int | None = None
    reason: str | None = None
    status: int | None = None
    retry_after_s: int | None = None
    delay_ms: int | None = None
    stale_ms: int | None = None
    n_bytes: int | None = None
    lead_s: float | None = None

    def get(self, parameter: str) -> Any:
        """Return a parameter, or its default where it is not given."""
        value = getattr(self, parameter)
        return _DEFAULTS[parameter] if value is None else value

    def matches(self, symbol: str | None, topic: str | None) -> bool:
        """Return whether the filters on symbol and topic let this one through."""
        return (self.symbol is None or self.symbol == symbol) and (
            self.topic is None or (topic is not None and fnmatchcase(topic, self.topic))
        )

    def check(self) -> None:
        """Raise `FaultInvalid` if a part is missing, out of bounds or does not belong here."""
        if self.name not in get_args(FaultName):
            raise FaultInvalid(f"there is no fault named {self.name}")
        takes = PARAMETERS[self.name]
        for parameter in _DEFAULTS:
            value = getattr(self, parameter)
            if value is not None and parameter not in takes:
                raise FaultInvalid(f"{self.name} takes no {parameter}")
            if parameter in takes and parameter in _REQUIRED and value is None:
                raise FaultInvalid(f"{self.name} needs {parameter}")
            if isinstance(value, int | float) and value < 0:
                raise FaultInvalid(f"{parameter} cannot be negative: {value}")
        if self.name in _NEEDS_TIME and self.for_s is None:
            raise FaultInvalid(f"{self.name} needs for_s")
        if self.count is not None and self.count < 1:
            raise FaultInvalid(f"count must be at least 1, not {self.count}")
        if self.for_s is not None and not 0 < self.for_s < 1e9:
            raise FaultInvalid(f"for_s must be positive, not {self.for_s}")
        if not 0 < self.probability <= 1:
            raise FaultInvalid(f"probability must be above 0 and at most 1: {self.probability}")

    @classmethod
    def from_json(cls, text: str | bytes) -> Fault:
        """Read and check a fault; raises `FaultInvalid`."""
        try:
            fault = msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FaultInvalid(str(error)) from error
        fault.check()
        return fault


@dataclass(slots=True)
class FaultRecord:
    """What became of an injected fault.

    Attributes:
        id: Number of the fault at this exchange, from 1.
        fault: What was asked for.
        at_ns: When it was injected.
        until_ns: When it ends by itself, or `None`.
        happened: How often it really struck: messages, dials, replies or sessions hit.
        over: Whether it is past striking.
        pending: Messages that `reorder` holds back and nothing has overtaken yet.
    """

    id: int
    fault: Fault
    at_ns: int
    until_ns: int | None
    happened: int = 0
    over: bool = False
    pending: int = 0

    @property
    def room(self) -> bool:
        """Whether it may take on one more message beside those pending."""
        count = self.fault.count
        return count is None or self.happened + self.pending < count

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data, ready for JSON."""
        return {
            "id": self.id,
            "name": self.fault.name,
            "fault": msgspec.to_builtins(self.fault),
            "at_ns": self.at_ns,
            "until_ns": self.until_ns,
            "happened": self.happened,
            "over": self.over,
        }


class FaultBoard:
    """The faults of one exchange.

    Attributes:
        records: Every fault ever injected, in order.
        data_active: Whether any fault that touches data messages is active now; the one thing
            that is asked for every message.
    """

    _DATA: Final = ("silence", "mute", "drop", "duplicate", "reorder", "lag")

    def __init__(self, venue: str, rng: random.Random) -> None:
        self.records: list[FaultRecord] = []
        self.data_active = False
        self._venue = venue
        self._rng = rng
        self._active: dict[str, list[FaultRecord]] = {}

    def add(self, fault: Fault, now_ns: int) -> FaultRecord:
        """Take a fault in; raises `FaultInvalid`.

        One that is meant for another venue is recorded as over.
        """
        fault.check()
        if fault.name in _SINGLE and fault.count is None and fault.for_s is None:
            fault = msgspec.structs.replace(fault, count=1)
        until_ns = None if fault.for_s is None else now_ns + int(fault.for_s * 1e9)
        record = FaultRecord(len(self.records) + 1, fault, now_ns, until_ns)
        self.records.append(record)
        if fault.venue not in (None, self._venue):
            record.over = True
        else:
            self._active.setdefault(fault.name, []).append(record)
            self._refresh()
        return record

    def retire(self, record: FaultRecord) -> None:
        """End a fault; retiring it again changes nothing."""
        record.over = True
        active = self._active.get(record.fault.name, [])
        if record in active:
            active.remove(record)
            self._refresh()

    def strike(
        self,
        name: FaultName,
        *,
        symbol: str | None = None,
        topic: str | None = None,
        session: int | None = None,
        count: bool = True,
    ) -> FaultRecord | None:
        """Return the first active fault of that name which hits, counted; or `None`.

        Args:
            name: Which fault.
            symbol: What is about to be hit; a filter on something unknown does not match.
            topic: Likewise.
            session: Likewise.
            count: Count it as happened.
        """
        for record in self._active.get(name, ()):
            fault = record.fault
            if (
                (fault.symbol is None or fault.symbol == symbol)
                and (fault.topic is None or (topic is not None and fnmatchcase(topic, fault.topic)))
                and (fault.session is None or fault.session == session)
                and (fault.probability == 1 or self._rng.random() < fault.probability)
            ):
                if count:
                    self.happen(record)
                return record
        return None

    def happen(self, record: FaultRecord) -> None:
        """Count that ``record`` struck once, and retire it if that used it up."""
        record.happened += 1
        if record.fault.count is not None and record.happened >= record.fault.count:
            self.retire(record)

    def is_active(self, name: FaultName) -> bool:
        """Return whether a fault of that name is active, whatever its filters."""
        return bool(self._active.get(name))

    def at_once(self, record: FaultRecord) -> bool:
        """Return whether the fault is carried out when it is injected, on sessions that exist."""
        return record.fault.name in _AT_ONCE

    def _refresh(self) -> None:
        self.data_active = any(self._active.get(name) for name in self._DATA)
