"""One session at work: frames in, events and effects out.

The driver is the seam between a transport and the pure core.  Data goes straight from the
codec to the streams; everything else goes through the session, whose effects are carried out
here.  It keeps one alarm, which is recomputed when it rings and never re-armed for a frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gapless.core.codec import Bundle, Codec, Lifecycle, Reading, Stray
from gapless.core.counter import ConnectionCounter
from gapless.core.lifecycle import Phase
from gapless.core.session import (
    Abort,
    Close,
    Confirmed,
    Effect,
    Ended,
    Expiring,
    Live,
    Ping,
    Refused,
    Said,
    Send,
    Session,
    Unlisted,
)
from gapless.core.stream import Moment, Stream
from gapless.errors import (
    DecodeError,
    MessagesLost,
    ProtocolViolation,
    SubscriptionRejected,
)
from gapless.events import Event, Origin
from gapless.io.clock import Clock
from gapless.io.tap import Tap
from gapless.io.transport import Transport

__all__ = ["Driver", "Overseer"]

ALARM_MIN_NS = 1_000_000  # the loop's own resolution; a nearer deadline is due now
LATE_NS = 500_000_000  # an alarm later than this means that we slept ourselves


class Overseer(Protocol):
    """Who a driver reports to."""

    def confirmed(self, driver: Driver, topics: Sequence[str]) -> None: ...

    def refused(self, driver: Driver, error: SubscriptionRejected) -> None: ...

    def live(self, driver: Driver) -> None: ...

    def expiring(self, driver: Driver, cause: str) -> None: ...

    def lifecycle(self, news: Lifecycle) -> None: ...

    def said(self, driver: Driver, said: Said) -> None: ...

    def unlisted(self, driver: Driver, topics: Sequence[str]) -> None: ...

    def violation(self, driver: Driver, error: ProtocolViolation, text: str) -> None: ...

    def ended(self, driver: Driver, ended: Ended) -> None: ...


class Driver:
    """Drives one session; the `gapless.io.transport.Receiver` of its transport.

    Args:
        line: Name of the line.
        epoch: Number of the session.
        session: The conversation.
        codec: The dialect.
        origins: Origin of each topic of this session; the codec looks into the same table.
        streams: Where events go, by topic.
        clock: The time.
        overseer: Who is told.
        counter: Follows the number of every frame, where the venue counts the connection.
        tap: Is told of every message, before anything is made of it.

    Attributes:
        conn: Name of the connection, for the tap.
        frames: Data frames so far.
        data_ns: When the last one arrived, monotonic.
        covered_ns: Until when it certainly carried everything, once its numbers have a hole.
        strays: Well-formed frames that nobody asked for.
        withholds: Whether it has been found to lack something that the venue should have sent.
        wall_offset_ns: Unix time minus monotonic time; refreshed on the overseer's tick.
        on_proof: Is called when a pong has come, or `None`.
    """

    __slots__ = (
        "_alarm",
        "_clock",
        "_codec",
        "_counted_ns",
        "_counter",
        "_doubted",
        "_due_ns",
        "_loop",
        "_overseer",
        "_read",
        "_streams",
        "_tap",
        "conn",
        "covered_ns",
        "data_ns",
        "epoch",
        "frames",
        "line",
        "on_proof",
        "origins",
        "session",
        "strays",
        "transport",
        "wall_offset_ns",
        "withholds",
    )

    def __init__(
        self,
        line: str,
        epoch: int,
        session: Session,
        codec: Codec,
        origins: dict[str, Origin],
        streams: Mapping[str, Stream],
        clock: Clock,
        overseer: Overseer,
        counter: ConnectionCounter | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.line = line
        self.epoch = epoch
        self.conn = f"{line}.{epoch}"
        self.session = session
        self.origins = origins
        self.transport: Transport | None = None
        self.frames = 0
        self.data_ns = 0
        self.covered_ns: int | None = None
        self.strays = 0
        self.withholds = False
        self.wall_offset_ns = clock.wall_ns() - clock.mono_ns()
        self.on_proof: Callable[[Driver], None] | None = None
        self._codec = codec
        self._read = codec.read
        self._counter = counter
        self._doubted: set[str] = set()
        self._counted_ns = 0  # when the newest frame came that it found in order
        self._streams = streams
        self._clock = clock
        self._overseer = overseer
        self._tap = tap
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._due_ns = 0

    # -- what the transport tells -----------------------------------------------------------

    def on_text(self, text: str, mono_ns: int) -> None:
        """Take one message.  The hot path: nothing here may cost an object."""
        if self._tap is not None:
            shown = self.session.shown(text)
            self._tap.received(self.conn, shown, mono_ns, mono_ns + self.wall_offset_ns)
        self.session.heard_ns = mono_ns
        try:
            if self._counter is not None and self._hole(self._counter, text, mono_ns):
                return
            out = self._read(text, mono_ns + self.wall_offset_ns, mono_ns)
        except DecodeError as error:
            self._overseer.violation(self, error, text)
            return
        if out.__class__ is list:
            self.frames += 1
            self.data_ns = mono_ns
            streams = self._streams
            for event in out:
                stream = streams.get(event.origin.topic)
                if stream is not None:
                    stream.offer(event)
                else:
                    self.strays += 1  # a topic that is followed no more
        else:
            self._control(out, mono_ns)  # type: ignore[arg-type]  # a reading, as just seen

    def on_binary(self, payload: bytes, mono_ns: int) -> None:
        """Take a binary message: no supported dialect has them."""
        if self._tap is not None:
            wall_ns = mono_ns + self.wall_offset_ns
            self._tap.received_binary(self.conn, payload, mono_ns, wall_ns)
        self.session.heard_ns = mono_ns
        error = DecodeError(f"a binary message of {len(payload)} bytes")
        self._overseer.violation(self, error, "")

    def on_ping(self, mono_ns: int) -> None:
        self.session.heard_ns = mono_ns
        self.session.pinged(mono_ns)

    def on_pong(self, payload: bytes, mono_ns: int) -> None:
        del payload
        self.session.heard_ns = mono_ns
        self.session.pong(mono_ns)
        if self.on_proof is not None:
            self.on_proof(self)

    def on_closed(self, cause: Exception) -> None:
        """Note the end of the transport, or a dial that failed."""
        self.transport = None
        words = self.session.shown(f"{type(cause).__name__}: {cause}")
        effects = self.session.lost(cause, self._clock.mono_ns())
        if self._tap is not None:
            planned = any(isinstance(effect, Ended) and effect.cause is None for effect in effects)
            reason = "planned" if planned else words
            self._tap.closed(self.conn, reason, *self._moment())
        self._carry_out(effects)

    # -- what the overseer wants ------------------------------------------------------------

    def dial(self, now_ns: int) -> None:
        """Note that the dial begins."""
        self._carry_out(self.session.dial(now_ns))

    def opened(self, transport: Transport, url: str = "") -> None:
        """Take the open transport; ``url`` is what was dialled."""
        if self._tap is not None:
            self._tap.opened(self.conn, url, *self._moment())
        self.transport = transport
        self._carry_out(self.session.opened(self._clock.mono_ns(), self._clock.wall_ns()))

    def retire(self, now_ns: int, *, drain: bool) -> None:
        """End as planned; with ``drain``, deliver what is under way first."""
        effects = self.session.retire(now_ns)
        if not drain:
            effects += self.session.drained(now_ns)
        self._carry_out(effects)

    def abort(self, cause: Exception, now_ns: int) -> None:
        """End at once because of ``cause``."""
        self._carry_out(self.session.abort(cause, now_ns))

    def resubscribe(self, topic: str, now_ns: int) -> None:
        """Have the venue send a topic's state anew."""
        self._carry_out(self.session.resubscribe(topic, now_ns))

    def suspect(self, now_ns: int) -> None:
        """Have the path prove itself now: the data is silent where it should not be."""
        self._carry_out(self.session.suspect(now_ns))

    def doubt(self, topic: str) -> None:
        """Note that ``topic`` is suspected to lack something that this session should have brought.

        Where the venue counts the connection, the next frame in order proves the opposite.
        """
        if self._counter is not None:
            self._doubted.add(topic)

    def list_again(self, now_ns: int) -> None:
        """Ask what the venue thinks is subscribed, where it can be asked."""
        self._carry_out(self.session.list_again(now_ns))

    def follow(self, origins: Mapping[str, Origin], now_ns: int) -> None:
        """Carry more topics."""
        self.origins.update(origins)
        self._carry_out(self.session.follow(tuple(origins), now_ns))

    def unfollow(self, topics: Sequence[str], now_ns: int, *, tell: bool) -> None:
        """Carry these topics no more; what still comes of them is a stray."""
        for topic in topics:
            self.origins.pop(topic, None)
        self._carry_out(self.session.unfollow(topics, now_ns, tell=tell))

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self.session.phase is Phase.ENDED

    # -- effects ----------------------------------------------------------------------------

    def _hole(self, counter: ConnectionCounter, text: str, mono_ns: int) -> bool:
        """Follow the connection's own numbers; a hole concerns every topic, and ends it."""
        number = self._codec.number(text)
        cause: Exception
        try:
            missing = None if number is None else counter.follow(number)
        except ProtocolViolation as error:
            cause = error
        else:
            if missing is None:
                if number is not None:  # a pong, say, does not tell that nothing was lost before
                    self._counted_ns = mono_ns
                    if self._doubted and number == counter.proven:
                        self._vouch(mono_ns)
                return False
            cause = MessagesLost(*missing)
        self.covered_ns = self._counted_ns
        self.abort(cause, self._clock.mono_ns())
        return True

    def _vouch(self, mono_ns: int) -> None:
        """Tell those that suspected this session: its own numbers prove that nothing was lost."""
        doubted, self._doubted = self._doubted, set()
        for topic in doubted:
            stream = self._streams.get(topic)
            if stream is not None:
                stream.vouch(self.epoch, Moment(mono_ns, mono_ns + self.wall_offset_ns))

    def _control(self, reading: Reading, mono_ns: int) -> None:
        if isinstance(reading, Stray):
            self.strays += 1
            return
        if isinstance(reading, Lifecycle):
            self._overseer.lifecycle(reading)
            return
        effects = self.session.control(reading, mono_ns)
        if effects:
            self._carry_out(effects)
        if isinstance(reading, Bundle) and reading.events and self._read is not _nothing:
            self.frames += 1
            self.data_ns = mono_ns
            for event in reading.events:
                stream = self._streams.get(event.origin.topic)
                if stream is not None:
                    stream.offer(event)
                else:
                    self.strays += 1

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._one(effect)
        self._set_alarm()

    def _one(self, effect: Effect) -> None:
        transport, overseer = self.transport, self._overseer
        match effect:
            case Send():
                if transport is not None:
                    if self._tap is not None:
                        text = effect.text if effect.shown is None else effect.shown
                        self._tap.sent(self.conn, text, *self._moment())
                    transport.send_text(effect.text)
            case Ping():
                if transport is not None:
                    transport.ping()
            case Close(code=code):
                self._mute()
                if transport is not None:
                    transport.close(code)
            case Abort():
                self._mute()
                if transport is not None:
                    transport.abort()
            case Confirmed(topics=topics):
                overseer.confirmed(self, topics)
            case Refused(error=error):
                overseer.refused(self, error)
            case Live():
                overseer.live(self)
            case Expiring(cause=cause):
                overseer.expiring(self, cause)
            case Said():
                overseer.said(self, effect)
            case Unlisted(topics=topics):
                overseer.unlisted(self, topics)
            case Ended():
                self._mute()
                overseer.ended(self, effect)

    def _moment(self) -> tuple[int, int]:
        return self._clock.mono_ns(), self._clock.wall_ns()

    def _mute(self) -> None:
        """Deliver nothing more: frames that cross our close are of no epoch."""
        self._read = _nothing
        self._counter = None

    def _set_alarm(self) -> None:
        deadline_ns = self.session.deadline_ns
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if deadline_ns is not None:
            now_ns = self._clock.mono_ns()
            wait_ns = max(ALARM_MIN_NS, deadline_ns - now_ns)
            self._due_ns = now_ns + wait_ns
            self._alarm = self._loop.call_later(wait_ns / 1e9, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now_ns = self._clock.mono_ns()
        if now_ns - self._due_ns > LATE_NS:
            # We were asleep, and some loops run timers before they read sockets.
            self.session.forgive(now_ns)
        self._carry_out(self.session.tick(now_ns))


def _nothing(text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
    del text, recv_ns, mono_ns
    return _CROSSED


_CROSSED = Stray("crossed our close")
