"""One direction of a TCP connection, and what can go wrong with bytes.

Bytes go in as they arrive and come out when they are due, in order: TCP may be late and may end,
but it never loses, repeats or reorders.  So does a half-open direction: what is sent into it waits,
as it would for a network that comes back, and comes out if the fault is cleared.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from gapless.proxy.board import FaultBoard, FaultRecord, Flow
from gapless.proxy.faults import Way

__all__ = ["End", "Pipe"]

# A capped path hands on a hundredth of a second's bytes at a time.
_STEP_S: Final = 0.01


class End(Enum):
    """How a direction ends."""

    FIN = "fin"
    RESET = "reset"


class Pipe:
    """Bytes on their way.

    Args:
        board: Says which faults are in force.
        flow: Which connection this is.
        way: Which direction.

    Attributes:
        backlog_bytes: Bytes that wait.
        next_ns: When `pull` should be asked again; `None` if only something new can change it.
        passed_bytes: Bytes that came out.
    """

    def __init__(self, board: FaultBoard, flow: Flow, way: Way) -> None:
        self.backlog_bytes = 0
        self.next_ns: int | None = None
        self.passed_bytes = 0
        self._board = board
        self._flow = flow
        self._way = way
        self._queue: deque[tuple[int, bytes | End]] = deque()
        self._due_ns = 0  # of the newest
        self._free_ns = 0  # when the next piece may come out
        self._version = -1
        self._over = False  # ended before its time; what comes is dropped
        self._told: set[int] = set()
        self._faults: dict[str, list[FaultRecord]] = {}

    def push(self, data: bytes, now_ns: int) -> None:
        """Take bytes that arrived."""
        if not data or self._over:
            return
        for record in self._named("latency"):
            if self._board.take(record, self._flow):
                self._delay(record, now_ns)
                self._note(record, "delayed", now_ns, len(data))
        self._append(data, now_ns)
        self.backlog_bytes += len(data)

    def end(self, how: End, now_ns: int) -> None:
        """Take the end, which comes out behind everything else."""
        if self._over:
            return
        for record in self._named("slow_close"):
            if self._board.take(record, self._flow):
                self._delay(record, now_ns)
                self._note(record, f"delayed the {how.value}", now_ns)
        self._append(how, now_ns)

    def pull(self, now_ns: int) -> bytes | End | None:
        """Return the next piece that is due, or `None`."""
        self.next_ns = None
        early = self._stopped(now_ns)
        if early is not None or not self._queue or self._held(now_ns):
            return early
        due_ns, item = self._queue[0]
        if "bandwidth" not in self._faults and "slicer" not in self._faults:
            self._free_ns = 0
        ready_ns = max(due_ns, self._free_ns)
        if now_ns < ready_ns:
            self.next_ns = ready_ns
            return None
        if isinstance(item, End):
            self._queue.popleft()
            return item
        piece = self._cut(item, now_ns)
        if piece is None:  # no more may pass
            return None
        if len(piece) == len(item):
            self._queue.popleft()
        else:
            self._queue[0] = (due_ns, item[len(piece) :])
        self.backlog_bytes -= len(piece)
        self.passed_bytes += len(piece)
        if self._queue:
            self.next_ns = max(self._queue[0][0], self._free_ns, now_ns)
        return piece

    def _named(self, name: str) -> list[FaultRecord]:
        if self._version != self._board.version:
            self._version = self._board.version
            self._faults = {}
            for record in self._board.active(self._flow, self._way):
                self._faults.setdefault(record.fault.name, []).append(record)
        return self._faults.get(name, [])

    def _append(self, item: bytes | End, now_ns: int) -> None:
        self._due_ns = max(self._due_ns, now_ns)
        self._queue.append((self._due_ns, item))

    def _delay(self, record: FaultRecord, now_ns: int) -> None:
        jitter_ms = record.fault.get("jitter_ms") if record.fault.name == "latency" else 0.0
        delay_ms = record.fault.get("delay_ms")
        if jitter_ms:
            delay_ms += self._board.dice(record, self._flow, self._way).uniform(-1, 1) * jitter_ms
        self._due_ns = max(self._due_ns, now_ns + int(max(0.0, delay_ms) * 1e6))

    def _held(self, now_ns: int) -> bool:
        for record in self._named(f"half_open_{self._way}"):
            if self._board.take(record, self._flow):
                self._note(record, "holds", now_ns, self.backlog_bytes)
                return True
        return False

    def _stopped(self, now_ns: int) -> End | None:
        """Return the end that comes after so many bytes, if they have passed."""
        if self._over:
            return None
        for record in self._named("stop_after"):
            then = record.fault.get("then")
            if then == "silence" or self.passed_bytes < record.fault.get("n_bytes"):
                continue
            if self._flow not in record.flows and self._board.take(record, self._flow):
                self._note(record, f"{then} after so many bytes", now_ns, self.passed_bytes)
                self._over = True
                self._queue.clear()
                self.backlog_bytes = 0
                return End.RESET if then == "reset" else End.FIN
        return None

    def _cut(self, data: bytes, now_ns: int) -> bytes | None:
        """Return how much of ``data`` may pass now, or `None` if nothing may any more."""
        size = len(data)
        for record in self._named("stop_after"):
            left = record.fault.get("n_bytes") - self.passed_bytes
            if left >= size:
                continue
            if record.fault.get("then") != "silence":
                size = max(left, 1) if left > 0 else size  # what follows is for `_stopped`
                continue
            if left > 0:
                size = left
                continue
            if self._board.take(record, self._flow):
                self._note(record, "silence after so many bytes", now_ns, self.passed_bytes)
                return None
        for record in self._named("slicer"):
            if self._board.take(record, self._flow):
                slice_bytes = record.fault.get("size_bytes")
                if size > slice_bytes:
                    self._note(record, "sliced", now_ns, size)
                size = min(size, slice_bytes)
                wait_ns = int(record.fault.get("delay_ms") * 1e6)
                self._free_ns = max(self._free_ns, now_ns + max(1, wait_ns))
        for record in self._named("bandwidth"):
            if self._board.take(record, self._flow):
                rate = record.fault.get("bytes_per_s")
                step = max(1, int(rate * _STEP_S))
                if size > step:
                    self._note(record, "throttled", now_ns, size)
                size = min(size, step)
                self._free_ns = max(self._free_ns, now_ns + size * 1_000_000_000 // rate)
        return data[:size]

    def _note(self, record: FaultRecord, what: str, now_ns: int, size: int | None = None) -> None:
        if record.id in self._told:  # once is enough: chunks have no meaning of their own
            return
        self._told.add(record.id)
        self._board.note(record, self._flow, self._way, what, now_ns, size_bytes=size)
