"""Which faults are active, whom they hit, and what became of each.

Chance is drawn by fault, connection and direction, each from a generator of its own: the same seed
and the same traffic give the same decisions, whatever other connections do in between.

A fault is counted when it really strikes -- a byte was held, a message dropped -- and not when it
was merely in force.  A test of a fault that never struck proves nothing.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from gapless.errors import UsageError
from gapless.proxy.faults import Fault, Traffic, Way
from gapless.proxy.plan import FAULTS_MAX, Plan

__all__ = ["LOG_MAX", "FaultBoard", "FaultRecord", "Flow", "LogRecord"]

LOG_MAX: Final = 10_000
"""Entries that the log keeps, the newest."""

_RECORDS_MAX: Final = 10 * FAULTS_MAX  # with those that are over


class Flow(NamedTuple):
    """One connection through the proxy.

    Attributes:
        traffic: A WebSocket, or a plain HTTP request.
        number: Which of that traffic, from 1.
    """

    traffic: Traffic
    number: int


class LogRecord(Struct, frozen=True, gc=False):
    """What was done, once.

    Attributes:
        t_s: When, in seconds since the proxy began.
        fault: Number of the fault.
        name: Its name.
        what: What was done.
        traffic: To what kind of connection.
        connection: Its number.
        direction: ``in`` is what the client receives; `None` where it concerns both.
        frame: Number of the frame in its direction, from 1, or `None`.
        opcode: Of that frame.
        size_bytes: Its payload, or the bytes that were touched.
    """

    t_s: float
    fault: int
    name: str
    what: str
    traffic: Traffic
    connection: int
    direction: Way | None = None
    frame: int | None = None
    opcode: int | None = None
    size_bytes: int | None = None


@dataclass(slots=True, eq=False)
class FaultRecord:
    """What became of a fault.

    Attributes:
        id: Its number, from 1.
        fault: What was asked for.
        at_ns: When it begins, monotonic.
        until_ns: When it ends by itself, or `None`.
        struck: How often it really struck: messages, or connections.
        held_against: Messages that its pattern was held against.
        matched: How many of them the pattern matched.
        active: Whether it is in force.
        over: Whether it is past striking.
        flows: The connections it has struck and that have not ended.
    """

    id: int
    fault: Fault
    at_ns: int
    until_ns: int | None
    struck: int = 0
    held_against: int = 0
    matched: int = 0
    active: bool = False
    over: bool = False
    flows: set[Flow] = field(default_factory=set, repr=False)

    @property
    def used_up(self) -> bool:
        """Whether it has hit as many as it may."""
        limit = self.fault.limit
        return limit is not None and self.struck >= limit

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data, ready for JSON."""
        return {
            "id": self.id,
            "name": self.fault.name,
            "fault": msgspec.to_builtins(self.fault),
            "struck": self.struck,
            "held_against": self.held_against,
            "matched": self.matched,
            "active": self.active,
            "over": self.over,
        }


class FaultBoard:
    """The faults of one proxy.

    Args:
        plan: What is known beforehand.
        seed: Decides every chance.
        now_ns: When the proxy began; the plan's times count from here.

    Attributes:
        records: Every fault so far, in order.
        log: What was done, the newest `LOG_MAX` entries.
        forgotten: Entries that the log has dropped.
        version: Changes whenever another set of faults is in force.
        on_strike: Called with each new entry of the log.
    """

    def __init__(self, plan: Plan, seed: int, now_ns: int) -> None:
        self.records: list[FaultRecord] = []
        self.log: deque[LogRecord] = deque(maxlen=LOG_MAX)
        self.forgotten = 0
        self.version = 0
        self.on_strike: Callable[[LogRecord], None] | None = None
        self._began_ns = now_ns
        self._seed = seed
        self._dice: dict[Flow, dict[tuple[int, Way | None], random.Random]] = {}
        for fault in plan.faults:
            self.add(fault, now_ns)

    @property
    def next_ns(self) -> int | None:
        """When the set of active faults changes by itself, or `None`."""
        edges = [r.until_ns if r.active else r.at_ns for r in self.records if not r.over]
        return min((edge for edge in edges if edge is not None), default=None)

    def add(self, fault: Fault, now_ns: int) -> FaultRecord:
        """Take a fault in; its ``at_s`` counts from now.

        Raises:
            gapless.proxy.faults.FaultInvalid: It cannot be carried out.
            gapless.errors.UsageError: There are too many.
        """
        fault.check()
        if sum(not record.over for record in self.records) >= FAULTS_MAX:
            raise UsageError(f"there are {FAULTS_MAX} faults already; clear some")
        if len(self.records) >= _RECORDS_MAX:
            raise UsageError(f"there have been {_RECORDS_MAX} faults; start another proxy")
        at_ns = now_ns + int(fault.at_s * 1e9)
        until_ns = None if fault.for_s is None else at_ns + int(fault.for_s * 1e9)
        record = FaultRecord(len(self.records) + 1, fault, at_ns, until_ns)
        self.records.append(record)
        self.advance(now_ns)
        return record

    def retire(self, record: FaultRecord) -> None:
        """End a fault; retiring it again changes nothing."""
        if not record.over:
            record.over = True
            record.active = False
            self.version += 1

    def advance(self, now_ns: int) -> None:
        """Begin what is due, and end what has lasted long enough."""
        for record in self.records:
            if record.over:
                continue
            if record.until_ns is not None and now_ns >= record.until_ns:
                self.retire(record)
            elif not record.active and now_ns >= record.at_ns:
                record.active = True
                self.version += 1

    def active(self, flow: Flow, way: Way | None = None) -> list[FaultRecord]:
        """Return the faults in force that concern this connection and direction."""
        return [
            record
            for record in self.records
            if record.active
            and (way is None or record.fault.strikes(way))
            and (record.fault.connection is None or flow == ("ws", record.fault.connection))
            and record.fault.traffic in (None, flow.traffic)
            and (record.fault.kind.tcp or flow.traffic == "ws")
            and not (record.used_up and flow not in record.flows)
        ]

    def take(self, record: FaultRecord, flow: Flow) -> bool:
        """Return whether a fault that hits connections hits this one; draw once, and count.

        A connection that has been hit stays so for as long as the fault lasts.
        """
        if flow in record.flows:
            return True
        if record.used_up or not record.active:
            return False
        if record.fault.probability < 1:
            dice = self._dice.setdefault(flow, {})
            if (record.id, None) in dice:  # drawn before, and spared
                return False
            if self.dice(record, flow, None).random() >= record.fault.probability:
                return False
        record.flows.add(flow)
        record.struck += 1
        if record.used_up:
            self.version += 1
        return True

    def sweep(self) -> None:
        """Retire what strikes at once and has struck, unless it says for how long or how often."""
        for record in self.records:
            fault = record.fault
            if (
                record.active
                and record.struck
                and fault.kind.hits == "once"
                and fault.count is None
                and fault.for_s is None
            ):
                self.retire(record)

    def draw(self, record: FaultRecord, flow: Flow, way: Way) -> bool:
        """Return whether a fault that hits messages hits the next that matches; count it."""
        if record.used_up or not record.active:
            return False
        if record.fault.probability < 1:
            dice = self.dice(record, flow, way)
            if dice.random() >= record.fault.probability:
                return False
        record.struck += 1
        if record.used_up:
            self.retire(record)
        return True

    def dice(self, record: FaultRecord, flow: Flow, way: Way | None) -> random.Random:
        """Return the generator that decides for this fault, connection and direction."""
        dice = self._dice.setdefault(flow, {})
        found = dice.get((record.id, way))
        if found is None:
            seed = f"{self._seed}/{record.id}/{flow.traffic}/{flow.number}/{way}"
            found = dice[record.id, way] = random.Random(seed)  # noqa: S311  # not a secret
        return found

    def forget(self, flow: Flow) -> None:
        """Drop what is kept for a connection that has ended."""
        self._dice.pop(flow, None)
        for record in self.records:
            record.flows.discard(flow)

    def note(
        self,
        record: FaultRecord,
        flow: Flow,
        way: Way | None,
        what: str,
        now_ns: int,
        *,
        frame: int | None = None,
        opcode: int | None = None,
        size_bytes: int | None = None,
    ) -> None:
        """Write into the log what was done."""
        entry = LogRecord(
            round((now_ns - self._began_ns) / 1e9, 6),
            record.id,
            record.fault.name,
            what,
            flow.traffic,
            flow.number,
            way,
            frame,
            opcode,
            size_bytes,
        )
        if len(self.log) == LOG_MAX:
            self.forgotten += 1
        self.log.append(entry)
        if self.on_strike is not None:
            self.on_strike(entry)
