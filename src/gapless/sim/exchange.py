"""The simulated exchange: world, dialect, sessions, timers and faults, without any I/O.

Whoever holds the exchange tells it the time and what arrived, and gives it a `Wire` for each
connection.  `advance` runs everything that is due, in the order of its time, however late it is
called; `next_ns` says when it must be called next.  A real server and an in-memory network
drive it through the same few calls.

One seed and the same calls give the same bytes.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from gapless.sim.dialects._base import RestReply, SimOptions
from gapless.sim.faults import Fault, FaultBoard, FaultInvalid, FaultRecord
from gapless.sim.session import Refused, SimSession, Wire
from gapless.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gapless.sim.dialects._base import Dialect
    from gapless.sim.replay import Timeline
    from gapless.sim.truth import TruthSink

__all__ = ["Exchange", "Refused", "RestReply", "SimOptions", "SimSession", "Wire"]

NEVER_NS: Final = 2**63 - 1
_BAD_UTF8: Final = b'{"e":"\xc3\x28\xff"}'
_GARBAGE: Final = '{"stream":"?","data":{"e":,,'


class Exchange:
    """One venue.

    Attributes:
        dialect: How it speaks.
        world: What happens in it; `None` when a capture is replayed.
        truth: Where it logs what really happened, or `None`.
        faults: What goes wrong, and what went wrong.
        sessions: Open sessions by number, oldest first.
        rng: Randomness of dialect and faults; the world has its own.
        now_ns: Time of what is happening, Unix ns; never goes back.
        outage_until_ns: Until when not even TCP is accepted.
    """

    def __init__(
        self,
        dialect: Dialect,
        world: World | None,
        *,
        seed: int = 0,
        truth: TruthSink | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        """Create an exchange.

        Args:
            dialect: A fresh instance; it carries the options.
            world: A fresh world, or `None` with a ``timeline``.
            seed: Decides everything that the world does not.
            truth: Where to log what really happened.
            timeline: A capture to replay instead.

        Raises:
            ValueError: Neither or both of ``world`` and ``timeline``.
        """
        if (world is None) == (timeline is None):
            raise ValueError("an exchange needs either a world or a timeline")
        self.dialect = dialect
        self.world = world
        self.truth = truth
        self.timeline = timeline
        self.rng = random.Random(f"{seed}/exchange")  # noqa: S311 - a simulation, not a secret
        self.faults = FaultBoard(dialect.venue, random.Random(f"{seed}/faults"))  # noqa: S311
        self.sessions: dict[int, SimSession] = {}
        self.now_ns = 0
        self.outage_until_ns = 0
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._ties = 0
        self._last_session = 0
        self._advancing = False
        self._closed = False
        self._replays: dict[int, int] = {}  # session -> frames of the capture behind it
        self._half_open: dict[int, list[SimSession]] = {}  # fault -> sessions it froze
        self._settled: set[int] = set()  # faults whose end has been logged
        dialect.attach(self)

    @property
    def options(self) -> SimOptions:
        """How it is run."""
        return self.dialect.options

    # -- time -----------------------------------------------------------------------------------

    @property
    def next_ns(self) -> int:
        """When `advance` must be called next, Unix ns; in the past means at once."""
        world_ns = NEVER_NS if self.world is None else self.world.next_ns
        return min(world_ns, self._timers[0][0]) if self._timers else world_ns

    def call_at(self, ns: int, action: Callable[[int], None]) -> None:
        """Call ``action`` with the time when ``ns`` is reached, after others set earlier."""
        self._ties += 1
        heapq.heappush(self._timers, (ns, self._ties, action))

    def advance(self, now_ns: int) -> None:
        """Do everything that is due up to and including ``now_ns``.

        A time before the last one does nothing new; a call from within does nothing at all.
        """
        if self._advancing or self._closed:
            return
        self._advancing = True
        try:
            timers = self._timers
            world = self.world
            if world is not None and not world.next_ns:
                world.start(now_ns)
            while True:
                world_ns = NEVER_NS if world is None else world.next_ns
                if timers and timers[0][0] <= world_ns:
                    if timers[0][0] > now_ns:
                        break
                    ns, _, action = heapq.heappop(timers)
                    self.now_ns = max(self.now_ns, ns)
                    action(self.now_ns)
                elif world is not None and world_ns <= now_ns:
                    self.now_ns = max(self.now_ns, world_ns)
                    step = world.step()
                    if step is not None:
                        self.dialect.on_step(step)
                else:
                    break
            self.now_ns = max(self.now_ns, now_ns)
        finally:
            self._advancing = False

    # -- connections ----------------------------------------------------------------------------

    def connect(self, wire: Wire, path: str, peer_ip: str, now_ns: int) -> SimSession:
        """Accept a connection.

        Messages may be written to ``wire`` before this returns.

        Args:
            wire: The venue's end of the connection.
            path: Path of the URL with its query.
            peer_ip: Whose limits it counts against.
            now_ns: Unix time.

        Raises:
            Refused: The venue does not want it.
        """
        self.advance(now_ns)
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            self._admit(parts.path, query, peer_ip, now_ns)
        except Refused as refusal:
            self._log({"type": "dial", "peer": peer_ip, "ns": now_ns, "status": refusal.status})
            raise
        self._last_session += 1
        session = SimSession(
            self, wire, self._last_session, path=parts.path, peer_ip=peer_ip, now_ns=now_ns
        )
        self.sessions[session.id] = session
        self._log_session(session, "opened", now_ns, parts.path)
        record = self.faults.strike("accept_close")
        if record is not None:
            code, reason = record.fault.get("code"), record.fault.get("reason")
            self.end(session, now_ns, "fault:accept_close", close=(code, reason))
            return session
        self.dialect.opened(session, query, now_ns)
        lifetime_s = self.options.lifetime_s
        if lifetime_s is not None:
            self.call_at(now_ns + int(lifetime_s * 1e9), lambda ns: self._expire(session, ns))
        return session

    def _admit(self, path: str, query: dict[str, str], peer_ip: str, now_ns: int) -> None:
        if now_ns < self.outage_until_ns:
            self.faults.strike("outage")
            raise Refused(0)
        record = self.faults.strike("refuse")
        if record is not None:
            raise Refused(record.fault.get("status"), record.fault.get("retry_after_s"))
        self.dialect.admit(path, query, peer_ip, now_ns)

    def end(
        self,
        session: SimSession,
        now_ns: int,
        cause: str,
        *,
        close: tuple[int, str] | None = None,
        reset: bool = False,
    ) -> None:
        """End a session, once.

        Args:
            session: Which; if it is over already nothing happens.
            now_ns: When.
            cause: Why, for the truth log.
            close: Close code and reason to send.
            reset: End TCP with a reset.
        """
        if not session.open:
            return
        session.give_up(now_ns)
        session.open = False
        self.dialect.drop(session)
        del self.sessions[session.id]
        self._replays.pop(session.id, None)
        # A half-open connection shows nothing to the peer, not even its end.
        if not session.stalled:
            if reset:
                session.wire.reset()
            elif close is not None:
                session.wire.close(*close)
        self._log_session(session, "closed", now_ns, cause)

    def _expire(self, session: SimSession, now_ns: int) -> None:
        self.end(session, now_ns, "lifetime", close=(1001, ""))

    # -- requests -------------------------------------------------------------------------------

    def rest(
        self, method: str, path: str, query: dict[str, str], peer_ip: str, now_ns: int
    ) -> RestReply:
        """Answer an HTTP request.

        Raises:
            Refused: There is an outage: TCP itself is refused.
        """
        self.advance(now_ns)
        if now_ns < self.outage_until_ns:
            self.faults.strike("outage")
            raise Refused(0)
        symbol = self.dialect.rest_key(path, query)[1] or None
        if self.faults.strike("rest_hang", symbol=symbol) is not None:
            return RestReply(0, {}, "", hang=True)
        record = self.faults.strike("rest_fail", symbol=symbol)
        if record is not None:
            status, retry_after_s = record.fault.get("status"), record.fault.get("retry_after_s")
            headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
            reply = RestReply(status, headers, self.dialect.rest_failure(status))
        elif self.timeline is not None and (
            body := self.timeline.rest_body(
                self.dialect.rest_key(path, query), max(self._replays.values(), default=0)
            )
        ):
            reply = RestReply(200, {}, body)
        else:
            reply = self.dialect.rest(method, path, query, peer_ip, now_ns)
        self._log(
            {"type": "rest", "path": path, "symbol": symbol, "ns": now_ns, "status": reply.status}
        )
        return reply

    # -- faults -----------------------------------------------------------------------------------

    def supports(self, name: str) -> bool:
        """Return whether this venue can misbehave in that way."""
        return name not in self.dialect.unsupported

    def inject(self, fault: Fault, now_ns: int | None = None) -> FaultRecord:
        """Make something go wrong, from now on or at once.

        Args:
            fault: What.
            now_ns: When; `None` is the time of the last call.

        Raises:
            FaultInvalid: It cannot be carried out as written.
        """
        if not self.supports(fault.name):
            raise FaultInvalid(f"{self.dialect.venue} does not know {fault.name}")
        if now_ns is None:
            now_ns = self.now_ns
            if not now_ns and fault.for_s is not None:
                raise FaultInvalid("the exchange has no time yet: say when")
        else:
            self.advance(now_ns)
        record = self.faults.add(fault, now_ns)
        if not record.over:
            if record.until_ns is not None:
                self.call_at(record.until_ns, lambda ns: self._over(record, ns))
            if fault.name == "outage":
                self._outage(record, now_ns)
            elif fault.name == "maintenance":
                self.faults.happen(record)
                self.dialect.maintenance(True, now_ns)
            elif self.faults.at_once(record):
                self._at_once(record, now_ns)
        self._log_fault(record, now_ns)
        return record

    def clear(self, record: FaultRecord, now_ns: int | None = None) -> None:
        """End a fault before its time; one that is over stays so."""
        self._over(record, self.now_ns if now_ns is None else now_ns)

    def _over(self, record: FaultRecord, now_ns: int) -> None:
        """Undo what lasts, retire the fault and log what became of it; once."""
        if record.id in self._settled:
            return
        self._settled.add(record.id)
        self.faults.retire(record)
        match record.fault.name:
            case "half_open":
                for session in self._half_open.pop(record.id, ()):
                    session.heal(now_ns)
            case "outage":
                self.outage_until_ns = min(self.outage_until_ns, now_ns)
            case "maintenance":
                self.dialect.maintenance(False, now_ns)
            case _:
                pass
        self._log_fault(record, now_ns)

    def _outage(self, record: FaultRecord, now_ns: int) -> None:
        self.outage_until_ns = max(self.outage_until_ns, record.until_ns or NEVER_NS)
        for session in list(self.sessions.values()):
            self.faults.happen(record)
            self.end(session, now_ns, "fault:outage", reset=True)

    def _hit(self, record: FaultRecord) -> Sequence[SimSession]:
        """Return the open sessions that a fault is meant for, oldest first."""
        fault = record.fault
        return [
            session
            for session in list(self.sessions.values())
            if fault.session in (None, session.id) and self._carries(session, fault)
        ]

    @staticmethod
    def _carries(session: SimSession, fault: Fault) -> bool:
        if fault.symbol is None and fault.topic is None:
            return True
        return any(
            topic is not None and fault.matches(topic.symbol, topic.name)
            for topic in session.topics.values()
        )

    def _at_once(self, record: FaultRecord, now_ns: int) -> None:
        fault = record.fault
        for session in self._hit(record):
            if record.over:
                break
            if session.stalled or (
                fault.probability < 1 and self.rng.random() >= fault.probability
            ):
                continue
            self.faults.happen(record)
            match fault.name:
                case "unsubscribe":
                    self._unsubscribe(session, fault)
                case "half_open":
                    session.stall()
                    self._half_open.setdefault(record.id, []).append(session)
                case "reset":
                    self.end(session, now_ns, "fault:reset", reset=True)
                case "close":
                    code = fault.get("code"), fault.get("reason")
                    self.end(session, now_ns, "fault:close", close=code)
                case "bad_utf8":
                    session.wire.send_bytes_as_text(_BAD_UTF8)
                case "garbage":
                    session.wire.send_text(_GARBAGE)
                case "oversize":
                    session.wire.send_oversized(fault.get("n_bytes"))
                case _:
                    self._announce(session, fault, now_ns)
        if fault.name != "half_open" or record.until_ns is None:
            self.faults.retire(record)

    def _unsubscribe(self, session: SimSession, fault: Fault) -> None:
        """End subscriptions without a word: the rest goes on, and the listing lacks them."""
        for name, topic in list(session.topics.items()):
            if topic is not None and fault.matches(topic.symbol, name):
                self.dialect.unsubscribe(session, name)

    def _announce(self, session: SimSession, fault: Fault, now_ns: int) -> None:
        notice = self.dialect.shutdown_notice(session, now_ns)
        if notice is not None:
            session.reply(notice, now_ns)
        self.call_at(
            now_ns + int(fault.get("lead_s") * 1e9),
            lambda ns: self.end(session, ns, "fault:shutdown_notice", close=(1001, "")),
        )

    # -- replay -----------------------------------------------------------------------------------

    def on_subscribed(self, session: SimSession, now_ns: int) -> None:
        """Start the capture for a session that made its first subscription."""
        timeline = self.timeline
        if timeline is not None and timeline.frames and session.id not in self._replays:
            self._replays[session.id] = 0
            # From a timer, so that the acknowledgement goes first.
            due_ns = now_ns + timeline.due_ns(0)
            self.call_at(due_ns, lambda ns: self._replay(session, now_ns, ns))

    def _replay(self, session: SimSession, start_ns: int, now_ns: int) -> None:
        """Send what is due of the capture, and come back for the next frame."""
        timeline = self.timeline
        if timeline is None or not session.open:
            return
        frames = timeline.frames
        position = self._replays[session.id]
        while position < len(frames):
            due_ns = start_ns + timeline.due_ns(position)
            if due_ns > now_ns:
                self.call_at(due_ns, lambda ns: self._replay(session, start_ns, ns))
                break
            frame = frames[position]
            for name in frame.topics:
                topic = session.topics.get(name)
                if topic is not None:
                    if session.bare:
                        text = frame.body
                    else:
                        text = frame.full or topic.prefix + frame.body + topic.suffix
                    session.data(topic, now_ns, (None, None, None), text)
                    break
            position += 1
        self._replays[session.id] = position

    # -- the end ----------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """Return what is going on, as plain data."""
        return {
            "venue": self.dialect.venue,
            "now_ns": self.now_ns,
            "outage_until_ns": self.outage_until_ns,
            "sessions": [
                {
                    "id": session.id,
                    "peer": session.peer_ip,
                    "path": session.path,
                    "opened_ns": session.opened_ns,
                    "stalled": session.stalled,
                    "topics": list(session.topics),
                }
                for session in self.sessions.values()
            ],
        }

    def close(self, now_ns: int) -> None:
        """End every session, and log the final books.  Nothing happens after this."""
        if self._closed:
            return
        self.advance(now_ns)
        for session in list(self.sessions.values()):
            self.end(session, now_ns, "exchange closed", close=(1001, ""))
        for record in self.faults.records:
            self._over(record, now_ns)
        self.dialect.settle(now_ns)
        if self.world is not None:
            for market in self.world.markets:
                self._log(self.dialect.final(market))
        self._closed = True

    def _log(self, record: dict[str, object]) -> None:
        if self.truth is not None:
            self.truth.write(record)

    def _log_session(self, session: SimSession, what: str, now_ns: int, cause: str) -> None:
        self._log(
            {"type": "session", "session": session.id, "what": what, "ns": now_ns, "cause": cause}
        )

    def _log_fault(self, record: FaultRecord, now_ns: int) -> None:
        self._log(
            {
                "type": "fault",
                "id": record.id,
                "name": record.fault.name,
                "at_ns": now_ns,
                "happened": record.happened,
                "over": record.over,
            }
        )
