"""One connection as the venue sees it, and what faults do to the messages on it.

Everything that leaves goes through here.  The fast path is one call to the wire; only while a
fault touches data, or messages are waiting for their time, does a message take the long way
through `_detour`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from gapless.sim.dialects._base import Topic
    from gapless.sim.exchange import Exchange
    from gapless.sim.faults import FaultRecord

__all__ = ["Refused", "SimSession", "Wire"]

_Numbers = tuple[int | None, int | None, int | None]
_Waiting = tuple[int, str, "Topic | None", _Numbers, str | None]
_NO_NUMBERS: Final[_Numbers] = (None, None, None)
_WAITING_MAX: Final = 20_000  # messages behind a lag or a stall; a slower reader is cut


class Refused(Exception):
    """A dial, or a request, that the venue turned away.

    Attributes:
        status: HTTP status; 0 if not even TCP was accepted.
        retry_after_s: What ``Retry-After`` says, in whole seconds, or `None`.
    """

    def __init__(self, status: int, retry_after_s: int | None = None) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(f"refused with {status}" if status else "connection refused")


class Wire(Protocol):
    """The venue's end of one WebSocket, given by the shell.  No method blocks or fails."""

    def send_text(self, text: str) -> None: ...
    def send_bytes_as_text(self, payload: bytes) -> None:
        """Send a text frame with exactly these bytes, valid UTF-8 or not."""
        ...

    def send_oversized(self, n_bytes: int) -> None:
        """Send the header of a text frame that claims ``n_bytes``, and nothing more."""
        ...

    def ping(self, payload: bytes) -> None: ...
    def pong(self, payload: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None:
        """Send a close frame, then close TCP when the peer has answered or a moment later."""
        ...

    def reset(self) -> None:
        """End TCP with a reset, without a close frame."""
        ...

    def stall(self) -> None:
        """Stop reading and writing while TCP stays open, so that nothing shows to the peer."""
        ...

    def unstall(self) -> None: ...


class SimSession:
    """A connection that has been accepted.

    Attributes:
        id: Number of the session at this exchange, from 1.
        peer_ip: Whose limits it counts against.
        path: Path it was opened with, without the query.
        opened_ns: When it was accepted.
        open: Whether it still lives, as far as the venue knows.
        topics: Subscriptions in the order they were made; `None` is one that never speaks.
        bare: Send bodies without the venue's wrapper around them.
        state: Whatever the dialect keeps for each session.
        received_ns: When the client was last heard, in any way.
        sent_ns: When something was last sent to it.
        stalled: Whether the connection is half open by a fault.
    """

    __slots__ = (
        "_exchange",
        "_held",
        "_inbox",
        "_timer_ns",
        "_waiting",
        "bare",
        "id",
        "open",
        "opened_ns",
        "path",
        "peer_ip",
        "received_ns",
        "sent_ns",
        "stalled",
        "state",
        "topics",
        "wire",
    )

    def __init__(
        self,
        exchange: Exchange,
        wire: Wire,
        session_id: int,
        *,
        path: str,
        peer_ip: str,
        now_ns: int,
    ) -> None:
        self._exchange = exchange
        self.wire = wire
        self.id = session_id
        self.path = path
        self.peer_ip = peer_ip
        self.opened_ns = self.received_ns = self.sent_ns = now_ns
        self.open = True
        self.stalled = False
        self.bare = False
        self.topics: dict[str, Topic | None] = {}
        self.state: Any = None
        # (due ns, text, topic or None, numbers, fault), in the order they must leave.
        self._waiting: deque[_Waiting] = deque()
        self._timer_ns = 0
        # topic -> message that lets its successor overtake, and the fault that made it wait
        self._held: dict[str, tuple[FaultRecord, _Waiting]] = {}
        self._inbox: deque[tuple[str, Any, Any]] = deque(maxlen=_WAITING_MAX)

    # -- what the shell calls ---------------------------------------------------------------

    def on_text(self, text: str, now_ns: int) -> None:
        """Take a text message from the client."""
        self._arrive("text", text, None, now_ns)

    def on_ping(self, payload: bytes, now_ns: int) -> None:
        """Take a ping frame."""
        self._arrive("ping", payload, None, now_ns)

    def on_pong(self, payload: bytes, now_ns: int) -> None:
        """Take a pong frame."""
        self._arrive("pong", payload, None, now_ns)

    def on_close(self, code: int | None, reason: str, now_ns: int) -> None:
        """Take a close frame; the shell answers it."""
        self._arrive("close", code, reason, now_ns)

    def on_lost(self, now_ns: int) -> None:
        """Learn that the connection ended without a close frame."""
        self._exchange.advance(now_ns)
        self._exchange.end(self, now_ns, "lost")

    def on_slow(self, now_ns: int) -> None:
        """Learn that the client reads too slowly; the venue cuts it off."""
        if self.open:
            self._exchange.dialect.on_slow(self, now_ns)

    def _arrive(self, kind: str, payload: Any, more: Any, now_ns: int) -> None:
        self._exchange.advance(now_ns)
        if not self.open:
            return
        if self.stalled:  # a half-open connection delivers nothing; it may heal
            self._inbox.append((kind, payload, more))
            return
        self.received_ns = now_ns
        dialect = self._exchange.dialect
        if kind == "text":
            dialect.on_text(self, payload, now_ns)
        elif kind == "ping":
            dialect.on_ping(self, payload, now_ns)
        elif kind == "pong":
            dialect.on_pong(self, payload, now_ns)
        else:
            self._exchange.end(self, now_ns, f"client close {payload}")

    # -- what the venue sends ---------------------------------------------------------------

    def data(self, topic: Topic, ns: int, numbers: _Numbers, text: str) -> None:
        """Send one message of ``topic``.

        Args:
            topic: What it belongs to.
            ns: When the venue sends it.
            numbers: Count of the message in its topic, or `None` if only this session gets it;
                first and last number it covers in the venue's numbering, or `None`.
            text: The whole message.
        """
        exchange = self._exchange
        if self.stalled or self._waiting or exchange.faults.data_active or self._held:
            self._detour(topic, ns, numbers, text)
            return
        self.sent_ns = ns
        self.wire.send_text(text)
        if exchange.truth is not None:
            self._log(topic, ns, numbers, None)

    def reply(self, text: str, now_ns: int, *, acknowledges: bool = False) -> None:
        """Send a message that is not market data.

        Args:
            text: The whole message.
            now_ns: When the venue sends it; `lag` delays it, and does not delay control frames.
            acknowledges: Whether it answers a subscription, which `late_ack` delays.
        """
        faults = self._exchange.faults
        if acknowledges:
            record = faults.strike("late_ack", session=self.id)
            if record is not None:
                due_ns = now_ns + record.fault.get("delay_ms") * 1_000_000
                self._exchange.call_at(due_ns, lambda ns: self.reply(text, ns))
                return
        if not self.open:
            return
        lag = faults.strike("lag", session=self.id) if faults.data_active else None
        if lag is not None or self._waiting or self.stalled:
            delay_ns = 0 if lag is None else lag.fault.get("delay_ms") * 1_000_000
            self._wait((now_ns + delay_ns, text, None, _NO_NUMBERS, None))
            return
        self.sent_ns = now_ns
        self.wire.send_text(text)

    def ping(self, payload: bytes) -> None:
        """Send a ping frame."""
        if self.open and not self.stalled:
            self.wire.ping(payload)

    def pong(self, payload: bytes) -> None:
        """Answer a ping frame."""
        if self.open and not self.stalled:
            self.wire.pong(payload)

    # -- the long way -----------------------------------------------------------------------

    def _detour(self, topic: Topic, ns: int, numbers: _Numbers, text: str) -> None:
        faults = self._exchange.faults
        if self.stalled:  # nobody would ever see what a fault did to a dead session
            self._wait((ns, text, topic, numbers, None))
            return
        where = {"symbol": topic.symbol, "topic": topic.name, "session": self.id}
        for name in ("silence", "mute", "drop"):
            if faults.strike(name, **where) is not None:  # type: ignore[arg-type]
                self._log(topic, ns, numbers, name)
                return
        fate: str | None = None
        delay_ns = 0
        lag = faults.strike("lag", **where)  # type: ignore[arg-type]
        if lag is not None:
            fate = "lag"
            delay_ns = lag.fault.get("delay_ms") * 1_000_000
        message: _Waiting = (ns + delay_ns, text, topic, numbers, fate)
        held = self._held.pop(topic.name, None)
        if held is None:
            reorder = faults.strike("reorder", count=False, **where)  # type: ignore[arg-type]
            if reorder is not None and reorder.room:
                self._held[topic.name] = (reorder, (*message[:4], "reorder"))
                reorder.pending += 1
                return
        self._wait(message)
        if faults.strike("duplicate", **where) is not None:  # type: ignore[arg-type]
            self._wait((*message[:4], "duplicate"))
        if held is not None:  # only now have the two really changed places
            record, late = held
            record.pending -= 1
            faults.happen(record)
            self._wait((max(late[0], message[0]), *late[1:]))

    def _wait(self, message: _Waiting) -> None:
        """Send ``message`` when it is due, behind everything that waits already."""
        now_ns = self._exchange.now_ns
        if not self.open:
            return
        if not self._waiting and not self.stalled and message[0] <= now_ns:
            self._emit(message, message[0])
            return
        if len(self._waiting) >= _WAITING_MAX:
            self._exchange.end(self, now_ns, "slow reader", reset=True)
            return
        if self._waiting and message[0] < self._waiting[-1][0]:
            message = (self._waiting[-1][0], *message[1:])
        self._waiting.append(message)
        self._arm()

    def _arm(self) -> None:
        if self._waiting and not self.stalled and self._timer_ns != self._waiting[0][0]:
            self._timer_ns = self._waiting[0][0]
            self._exchange.call_at(self._timer_ns, self._release)

    def _release(self, now_ns: int) -> None:
        while self.open and self._waiting and not self.stalled and self._waiting[0][0] <= now_ns:
            self._emit(self._waiting.popleft(), now_ns)
        if self.open:
            self._arm()

    def _emit(self, message: _Waiting, now_ns: int) -> None:
        _, text, topic, numbers, fate = message
        self.sent_ns = now_ns
        self.wire.send_text(text)
        if topic is not None:
            self._log(topic, now_ns, numbers, fate)

    def _log(self, topic: Topic, ns: int, numbers: _Numbers, fault: str | None) -> None:
        truth = self._exchange.truth
        if truth is not None:
            truth.write(
                {
                    "type": "sent",
                    "session": self.id,
                    "topic": topic.name,
                    "node": topic.node,
                    "n": numbers[0],
                    "first": numbers[1],
                    "last": numbers[2],
                    "ns": ns,
                    "fault": fault,
                }
            )

    # -- half open ---------------------------------------------------------------------------

    def stall(self) -> None:
        """Become half open: nothing leaves and nothing arrives, and the peer is not told."""
        if self.open and not self.stalled:
            self.stalled = True
            self.wire.stall()

    def heal(self, now_ns: int) -> None:
        """Stop being half open.

        What piled up leaves and arrives late but in order, as TCP would have it.  If the venue
        has given the session up in the meantime, the peer learns it now, by a reset.
        """
        if not self.stalled:
            return
        self.stalled = False
        self.wire.unstall()
        if not self.open:
            self.wire.reset()
            return
        self._timer_ns = 0
        self._release(now_ns)
        while self._inbox and self.open:
            kind, payload, more = self._inbox.popleft()
            self._arrive(kind, payload, more, now_ns)

    def give_up(self, now_ns: int) -> None:
        """Note what will now never be sent; called once, when the session ends."""
        for record, _ in self._held.values():
            record.pending -= 1
        for message in (*(late for _, late in self._held.values()), *self._waiting):
            topic = message[2]
            if topic is not None:
                self._log(topic, now_ns, message[3], "cut")
        self._held.clear()
        self._waiting.clear()
