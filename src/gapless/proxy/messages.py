"""One direction of a WebSocket, and what can go wrong with messages.

While no fault is in force the bytes pass as they come.  Otherwise frames are waited for whole, and
the fate of a message is decided at its first frame: its fragments share it.  Of several faults that
match a message, the first of the plan that strikes has it.

What is injected goes between frames, and what is a message of its own between messages, so that the
other side sees exactly the fault that was asked for and no other.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final

from gapless.proxy.board import FaultBoard, FaultRecord, Flow
from gapless.proxy.faults import Way
from gapless.proxy.frames import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameSplitter,
    Piece,
    build,
    flipped,
    fragments,
)

__all__ = ["MESSAGE_BYTES_MAX", "Messages"]

MESSAGE_BYTES_MAX: Final = 4 << 20
"""A longer message passes whatever the plan says."""

HELD_BYTES_MAX: Final = 16 << 20
"""Bytes of delayed and held-back messages; more pass undelayed."""

_FLOOD_STEP: Final = 256  # pings at a time, so that one connection does not stop the others
_FLOOD_STEP_NS: Final = 1_000_000
_FLOOD: Final = b"gapless flood "  # marks our pings, so that the pongs to them go no further
_KEY: Final = b"\x00\x00\x00\x00"  # what we send in the client's name must be masked somehow
_NOT_UTF8: Final = b'{"bad_utf8": "\xff\xfe"}'

_BY_MESSAGE: Final = frozenset({"drop", "duplicate", "reorder", "delay", "corrupt", "fragment"})
_PASSING: Final = frozenset({"duplicate", "corrupt", "fragment"})


@lru_cache(maxsize=1024)
def _pattern(topic: str) -> re.Pattern[str]:
    return re.compile(translate(f"*{topic}*"))


@dataclass(slots=True)
class _Fate:
    """What happens to the message that is passing."""

    record: FaultRecord
    number: int
    parts: list[bytes]
    n_bytes: int = 0

    @property
    def name(self) -> str:
        return self.record.fault.name


@dataclass(slots=True)
class _Held:
    record: FaultRecord
    raw: bytes
    left: int  # messages that have yet to overtake it


class Messages:
    """The messages of one direction.

    Args:
        board: Says which faults are in force.
        flow: Which connection this is.
        way: Which direction.
        answer: Sends a frame back to where the messages come from.
        closed: Called when the proxy has sent a close frame of its own.

    Attributes:
        next_ns: When `due` should be asked again, or `None`.
        sealed: Whether nothing more passes, because the proxy has closed this direction.
        saw_close: Whether a close frame came.
        frames: How many frames have begun.
    """

    def __init__(
        self,
        board: FaultBoard,
        flow: Flow,
        way: Way,
        *,
        answer: Callable[[bytes], None],
        closed: Callable[[FaultRecord], None],
    ) -> None:
        self.next_ns: int | None = None
        self.sealed = False
        self.saw_close = False
        self.frames = 0
        self._board = board
        self._flow = flow
        self._way: Way = way
        self._key = _KEY if way == "out" else b""
        self._answer = answer
        self._closed = closed
        self._splitter = FrameSplitter(MESSAGE_BYTES_MAX)
        self._inside = False  # a message has begun and not ended
        self._fate: _Fate | None = None
        self._version = -1
        self._faults: list[FaultRecord] = []
        self._held: list[_Held] = []
        self._overtaken: list[_Held] = []  # by the message that is passing
        self._late: list[tuple[int, int, bytes]] = []
        self._late_ns: dict[int, int] = {}  # by fault: when its newest comes out
        self._kept_bytes = 0
        self._serial = 0
        self._waiting: list[FaultRecord] = []  # to be injected
        self._pings: list[tuple[int, int]] = []  # sent and wanted, of each flood
        self._out: list[bytes] = []

    def feed(self, data: bytes, now_ns: int) -> bytes:
        """Take bytes; return those that pass now."""
        self._refresh()
        splitter = self._splitter
        splitter.feed(data)
        while (piece := splitter.take(whole=bool(self._faults or self._held))) is not None:
            self._piece(piece, now_ns)
            if self._version != self._board.version:
                self._refresh()
        return self.due(now_ns)

    def inject(self, record: FaultRecord) -> None:
        """Carry out a fault that happens at once, as soon as no frame is half through."""
        self._waiting.append(record)

    def due(self, now_ns: int) -> bytes:
        """Return what is due now: delayed messages, injected frames."""
        if not self._splitter.inside:
            self._inject(now_ns)
            self._flood()
        if not self._splitter.inside and not self._inside:
            while self._late and self._late[0][0] <= now_ns:
                raw = heapq.heappop(self._late)[2]
                self._kept_bytes -= len(raw)
                self._emit(raw)
        self.next_ns = self._late[0][0] if self._late else None
        if self._pings:
            soon_ns = now_ns + _FLOOD_STEP_NS
            self.next_ns = soon_ns if self.next_ns is None else min(soon_ns, self.next_ns)
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> bytes:
        """Return all that was held back, for the direction ends."""
        self._emit(self._splitter.rest())
        for held in self._held:
            self._emit(held.raw)
        for _, _, raw in sorted(self._late):
            self._emit(raw)
        self._held.clear()
        self._late.clear()
        self._pings.clear()
        self.next_ns = None
        out, self._out = self._out, []
        return b"".join(out)

    # -- what passes ------------------------------------------------------------------------------

    def _refresh(self) -> None:
        if self._version == self._board.version:
            return
        self._version = self._board.version
        records = self._board.active(self._flow, self._way)
        self._faults = [r for r in records if not r.fault.kind.tcp and r.fault.kind.hits != "once"]
        # Nothing overtakes a message whose fault was cleared or has lasted long enough.
        for held in [h for h in self._held if h.record.over and not h.record.used_up]:
            self._held.remove(held)
            self._serial += 1
            heapq.heappush(self._late, (0, self._serial, held.raw))

    def _emit(self, raw: bytes) -> None:
        if raw and not self.sealed:
            self._out.append(raw)

    def _piece(self, piece: Piece, now_ns: int) -> None:
        if piece.begins:
            self.frames = piece.number
            if piece.is_control:
                self._control(piece, now_ns)
                return
            if piece.opcode != CONTINUATION:
                self._inside = True
                known = piece.ends and piece.payload_bytes <= MESSAGE_BYTES_MAX
                self._fate = self._decide(piece, now_ns) if known else None
                self._overtake(piece)
        elif piece.is_control:
            self._emit(piece.raw)
            return
        self._carry(piece)
        if piece.fin and piece.ends:
            fate, self._fate = self._fate, None
            self._inside = False
            if fate is not None:
                self._settle(fate, now_ns)
            for held in self._overtaken:
                held.left -= 1
                if held.left <= 0:
                    self._held.remove(held)
                    self._kept_bytes -= len(held.raw)
                    self._emit(held.raw)
            self._overtaken = []

    def _overtake(self, piece: Piece) -> None:
        """Note which of the messages that are held back this one overtakes, if it passes."""
        self._overtaken = []
        if not self._held or (self._fate is not None and self._fate.name not in _PASSING):
            return
        text = piece.payload().decode("utf-8", "replace") if piece.ends else ""
        for held in self._held:
            topic = held.record.fault.topic
            if topic is None or _pattern(topic).match(text):
                self._overtaken.append(held)

    def _control(self, piece: Piece, now_ns: int) -> None:
        if piece.opcode == CLOSE:
            self.saw_close = True
        if not piece.ends:
            self._emit(piece.raw)
            return
        if piece.opcode == PONG:
            if piece.payload().startswith(_FLOOD):
                return
            for record in self._named("lost_pongs"):
                if self._board.draw(record, self._flow, self._way):
                    self._note(record, piece, "swallowed", now_ns)
                    return
        elif piece.opcode == PING and self._answers_ping(piece):
            return
        self._emit(piece.raw)

    def _answers_ping(self, piece: Piece) -> bool:
        """Answer a ping of the client's in the server's place, if it talks to a zombie."""
        for record in self._board.active(self._flow):
            fault = record.fault
            if (
                fault.name == "zombie"
                and fault.get("answers") == "proxy"
                and not fault.strikes(self._way)
                and self._board.take(record, self._flow)
            ):
                self._answer(build(PONG, piece.payload(), key=b"" if self._way == "out" else _KEY))
                return True
        return False

    def _named(self, name: str) -> list[FaultRecord]:
        return [record for record in self._faults if record.fault.name == name]

    def _decide(self, piece: Piece, now_ns: int) -> _Fate | None:
        text: str | None = None
        for record in self._faults:
            fault = record.fault
            if fault.name == "zombie":
                if self._board.take(record, self._flow):
                    self._note(record, piece, "swallowed", now_ns)
                    return _Fate(record, piece.number, [])
                continue
            if fault.name not in _BY_MESSAGE:
                continue
            if fault.topic is not None:
                if piece.opcode != TEXT:
                    continue
                if text is None:
                    text = piece.payload().decode("utf-8", "replace")
                record.held_against += 1
                if _pattern(fault.topic).match(text) is None:
                    continue
                record.matched += 1
            if self._possible(fault.name, piece) and self._board.draw(
                record, self._flow, self._way
            ):
                return self._begin(record, piece, now_ns)
        return None

    def _possible(self, name: str, piece: Piece) -> bool:
        if name in ("corrupt", "fragment") and not piece.payload_bytes:
            return False
        keeps = name in ("reorder", "delay")
        return not keeps or self._kept_bytes + piece.payload_bytes <= HELD_BYTES_MAX

    def _begin(self, record: FaultRecord, piece: Piece, now_ns: int) -> _Fate:
        fate = _Fate(record, piece.number, [])
        match record.fault.name:
            case "drop":
                what = "dropped"
            case "duplicate":
                what = "sent twice"
            case "reorder":
                what = "held back"
            case "delay":
                what = "delayed"
            case "fragment":
                what = f"cut into fragments of {record.fault.get('size_bytes')}"
            case _:
                dice = self._board.dice(record, self._flow, self._way)
                offset = dice.randrange(piece.payload_bytes)
                fate.parts.append(flipped(piece, offset))
                what = f"flipped a bit of byte {offset}"
        self._note(record, piece, what, now_ns)
        return fate

    def _carry(self, piece: Piece) -> None:
        """Do with one frame what the fate of its message is."""
        fate = self._fate
        if fate is None:
            self._emit(piece.raw)
            return
        match fate.name:
            case "drop" | "zombie":
                pass
            case "corrupt":
                self._emit(fate.parts.pop() if fate.parts else piece.raw)
            case "fragment" if piece.begins and piece.ends:
                for part in fragments(piece, fate.record.fault.get("size_bytes")):
                    self._emit(part)
            case "fragment":
                self._emit(piece.raw)
            case "duplicate":
                self._emit(piece.raw)
                fate.parts.append(piece.raw)
                fate.n_bytes += len(piece.raw)
                if fate.n_bytes > MESSAGE_BYTES_MAX:
                    self._fate = None
            case _:
                fate.parts.append(piece.raw)
                fate.n_bytes += len(piece.raw)
                if fate.n_bytes > MESSAGE_BYTES_MAX:
                    for part in fate.parts:
                        self._emit(part)
                    self._fate = None

    def _settle(self, fate: _Fate, now_ns: int) -> None:
        """Do what is left to be done once a message has ended."""
        match fate.name:
            case "duplicate":
                self._emit(b"".join(fate.parts))
            case "reorder":
                raw = b"".join(fate.parts)
                self._kept_bytes += len(raw)
                self._held.append(_Held(fate.record, raw, fate.record.fault.get("by")))
            case "delay":
                raw = b"".join(fate.parts)
                self._kept_bytes += len(raw)
                fault = fate.record.fault
                delay_ms = fault.get("delay_ms")
                if fault.get("jitter_ms"):
                    dice = self._board.dice(fate.record, self._flow, self._way)
                    delay_ms += dice.uniform(-1, 1) * fault.get("jitter_ms")
                due_ns = now_ns + int(max(0.0, delay_ms) * 1e6)
                due_ns = max(due_ns, self._late_ns.get(fate.record.id, 0))
                self._late_ns[fate.record.id] = due_ns
                self._serial += 1
                heapq.heappush(self._late, (due_ns, self._serial, raw))
            case _:
                pass

    # -- what is injected -------------------------------------------------------------------------

    def _inject(self, now_ns: int) -> None:
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            if self.sealed:
                return
            match record.fault.name:
                case "ping_flood":
                    wanted = record.fault.get("n_pings")
                    self._pings.append((0, wanted))
                    self._note(record, None, f"{wanted} pings", now_ns)
                case "close":
                    code, reason = record.fault.get("code"), record.fault.get("reason").encode()
                    self._emit(build(CLOSE, code.to_bytes(2, "big") + reason, key=self._key))
                    self._note(record, None, f"closed with {code}", now_ns)
                    self.sealed = True
                    self._closed(record)
                case _ if self._inside:  # a message of its own has to wait for the end of this one
                    self._waiting.append(record)
                case _:
                    self._emit(build(TEXT, _NOT_UTF8, key=self._key))
                    self._note(record, None, "sent a text that is not UTF-8", now_ns)

    def _flood(self) -> None:
        for index, (sent, wanted) in enumerate(self._pings):
            until = min(wanted, sent + _FLOOD_STEP)
            for number in range(sent, until):
                self._emit(build(PING, _FLOOD + str(number).encode(), key=self._key))
            self._pings[index] = (until, wanted)
        self._pings = [(sent, wanted) for sent, wanted in self._pings if sent < wanted]

    def _note(self, record: FaultRecord, piece: Piece | None, what: str, now_ns: int) -> None:
        self._board.note(
            record,
            self._flow,
            self._way,
            what,
            now_ns,
            frame=None if piece is None else piece.number,
            opcode=None if piece is None else piece.opcode,
            size_bytes=None if piece is None else piece.payload_bytes,
        )
