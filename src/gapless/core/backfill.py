"""Filling holes: what a gap has named is asked for by number, and delivered marked.

A gap is announced as ever.  Then its numbers are asked for, one hole after another, and what
comes is delivered with ``backfilled`` set.  Whether later messages wait for it is the consumer's
choice (`Backfill`): a bounded time, in which everything stays in order, or not at all.

Nothing here hurries and nothing goes on for ever: a hole is asked for a bounded number of times,
and what cannot be had stays missing, as the gap said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gapless.core.sequenced import SequencedStream
from gapless.core.stream import Backfill, Moment, Need, TopicSpec, Trust
from gapless.events import Event, Gap, Origin, Resynced, Trade

__all__ = [
    "FRUITLESS_MAX",
    "HOLES_MAX",
    "PATIENCE_NS",
    "REQUESTS_MAX",
    "TRADES_MAX",
    "WAITING_MAX",
    "WAIT_NS",
    "BackfilledStream",
    "Hole",
]

WAIT_NS: Final = 2_000_000_000
"""How long later messages wait at most for missing ones, under `Backfill.WAIT`, nanoseconds."""

WAITING_MAX: Final = 4096
"""How many messages of a topic wait at most."""

HOLES_MAX: Final = 64
"""Holes of a topic that are open at once; what a further gap names is not asked for."""

REQUESTS_MAX: Final = 20
"""Requests spent on one hole at most, those that failed included."""

TRADES_MAX: Final = 20_000
"""Trades received for one hole at most."""

FRUITLESS_MAX: Final = 2
"""Replies in a row without a missing trade after which the venue is believed to have none.

One is not enough: what serves past trades may be a little behind what streams them.
"""

PATIENCE_NS: Final = 600_000_000_000
"""How long after its gap a hole is given up at the latest, nanoseconds."""


@dataclass(slots=True, eq=False)
class Hole:
    """The numbers that one gap named, and how far they have been had.

    Attributes:
        origin: Of the message that revealed the gap; backfilled ones carry it too.
        first, last: What the gap named, both ends included.
        since_ns: When it was announced, monotonic.
        parts: Ranges that are still worth asking for, rising, both ends included.
        lacking: How many numbers are still missing.
        requests, received, fruitless: What was spent; see the bounds of this module.
        spoiled: Whether some that were had did not reach the consumer.
        why: Why no more is asked for; empty while more is, and once it is filled.
        trouble: What went wrong last, if anything did.
    """

    origin: Origin
    first: int
    last: int
    since_ns: int
    parts: list[tuple[int, int]] = field(init=False)
    lacking: int = field(init=False)
    requests: int = 0
    received: int = 0
    fruitless: int = 0
    spoiled: bool = False
    why: str = ""
    trouble: str = ""

    def __post_init__(self) -> None:
        self.parts = [(self.first, self.last)]
        self.lacking = self.last - self.first + 1

    @property
    def wanted(self) -> tuple[int, int]:
        """What to ask for next, both ends included; only while something is wanted."""
        first = self.parts[0][0]
        return first, min(self.parts[-1][1], first + TRADES_MAX - self.received - 1)

    def take(self, trades: Iterable[Trade]) -> list[Trade]:
        """Return what of a reply is missing, in order, cut to what is missing, and marked."""
        ahead, left = deque(self.parts), list[tuple[int, int]]()
        taken: list[Trade] = []
        numbered = [t for t in trades if t.first is not None and t.last is not None]
        self.received += len(numbered)
        for trade in sorted(numbered, key=_numbers):
            first, last = _numbers(trade)
            while ahead and ahead[0][1] < first:
                left.append(ahead.popleft())
            if not ahead:
                break
            low, high = ahead[0]
            begin, end = max(low, first), min(high, last)
            if begin > end:
                continue
            ahead.popleft()
            if low < begin:
                left.append((low, begin - 1))
            if end < high:
                ahead.appendleft((end + 1, high))
            self.lacking -= end - begin + 1
            taken.append(msgspec.structs.replace(trade, first=begin, last=end, backfilled=True))
        self.parts = [*left, *ahead]
        self._weigh(fruitful=bool(taken))
        return taken

    def expired(self, now_ns: int) -> str:
        """Why no more should be asked for at ``now_ns``; empty if more should."""
        if not self.parts:
            return "the venue does not have them"
        if self.requests >= REQUESTS_MAX:
            return f"{REQUESTS_MAX} requests did not bring them"
        if self.received >= TRADES_MAX:
            return f"no more than {TRADES_MAX} trades are asked for"
        if now_ns >= self.since_ns + PATIENCE_NS:
            return "they were not to be had in time"
        return ""

    def _weigh(self, *, fruitful: bool) -> None:
        self.fruitless = 0 if fruitful else self.fruitless + 1
        if self.fruitless >= FRUITLESS_MAX and self.parts:
            # The venue lacks the first of what is left; what lies behind it, it may have.
            del self.parts[0]
            self.fruitless = 0


class BackfilledStream(SequencedStream):
    """Numbered trades whose holes are filled, as far as the venue still has what was missed.

    The shell asks for what `hole` wants, and hands the reply to `refill`.

    Attributes:
        waiting: Messages that have come and wait for missing ones; not delivered yet.
        closed: Holes that were given up with something missing; the shell reports them.
    """

    __slots__ = ("_ask", "_awaited", "_holes", "_out", "_parked", "closed", "waiting")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self.waiting = 0
        self.closed: deque[Hole] = deque(maxlen=HOLES_MAX)
        self._ask = ask
        self._out = emit  # past those that wait; `_emit` leads there unless something waits
        self._holes: deque[Hole] = deque()
        self._awaited: Hole | None = None
        self._parked: deque[Event] = deque()  # bounded by `WAITING_MAX`, marks apart

    @property
    def arrived(self) -> int:
        """How many messages have come by a line; those that wait count, fetched ones do not."""
        return super().arrived + self.waiting

    @property
    def trust(self) -> Trust:
        """The state to show; whatever waits is not delivered yet."""
        if self._awaited is not None and super().trust is Trust.LIVE:
            return Trust.SYNCING
        return super().trust

    @property
    def because(self) -> str:
        """Why the trust is what it is; empty while it is live."""
        waits = self._awaited is not None and super().trust is Trust.LIVE
        return "missing messages are being fetched" if waits else super().because

    @property
    def hole(self) -> Hole | None:
        """The oldest hole that is worth asking for, or `None`."""
        return self._holes[0] if self._holes else None

    def refill(self, hole: Hole, trades: Iterable[Trade], now: Moment) -> None:
        """Take a reply: deliver what of it is missing, and end the hole with its last."""
        if hole not in self._holes:
            return  # given up while the request was under way
        for trade in hole.take(trades):
            first, last = _numbers(trade)
            self.missing -= last - first + 1
            self.backfilled += 1
            self._out(trade)
        self.review(hole, now)

    def review(self, hole: Hole, now: Moment) -> None:
        """End a hole that is filled, or that has had all that may be spent on it."""
        if hole in self._holes and (not hole.lacking or hole.expired(now.mono_ns)):
            self.give_up(hole, hole.expired(now.mono_ns), now)

    def give_up(self, hole: Hole, why: str, now: Moment) -> None:
        """Ask for no more of a hole: it is filled, or what is left of it cannot be had."""
        if hole not in self._holes:
            return
        self._holes.remove(hole)
        if not hole.lacking and not hole.spoiled:
            self._filled(hole, now)
        elif hole.lacking:
            hole.why = why
            self.closed.append(hole)
        if hole is self._awaited:
            self._go_on(now.mono_ns)

    def tick(self, now: Moment) -> None:
        """Let no message wait for longer than it may."""
        super().tick(now)
        awaited = self._awaited
        if awaited is not None and now.mono_ns >= awaited.since_ns + WAIT_NS:
            self._go_on(now.mono_ns)

    def close(self) -> None:
        """Ask for nothing more, and let those go on that waited."""
        super().close()
        self._holes.clear()
        self._go_on(0)

    def overflowed(self, count: int, gaps: int, missing: int, late: int = 0) -> None:
        """Correct the counters; of what was fetched, ``late`` did not reach the consumer."""
        fetched = min(late, self.backfilled)
        super().overflowed(count, gaps, missing, late - fetched)
        self.backfilled -= fetched
        self.dropped += fetched
        if fetched:
            for hole in self._holes:
                hole.spoiled = True

    def _gap(
        self, origin: Origin, now: Moment, first: int | None, last: int | None, cause: str
    ) -> None:
        super()._gap(origin, now, first, last, cause)
        if first is None or last is None:
            return
        hole = Hole(origin, first, last, now.mono_ns)
        if len(self._holes) >= HOLES_MAX:
            hole.why = f"{HOLES_MAX} gaps are being filled already"
            self.closed.append(hole)
            return
        self._holes.append(hole)
        if self.spec.backfill is Backfill.WAIT and self._awaited is None:
            self._await(hole)
        self._ask(Need("backfill", self.spec.topic, origin.epoch, cause))

    def _restart(self, event: Event) -> None:
        """Forget the holes: their numbers mean other messages from now on."""
        for hole in self._holes:
            hole.why = "the venue numbers anew"
            self.closed.append(hole)
        self._holes.clear()
        self._go_on(event.mono_ns)
        super()._restart(event)

    def _filled(self, hole: Hole, now: Moment) -> None:
        blind_ns = max(0, now.mono_ns - hole.since_ns)
        self._out(
            Resynced(
                hole.origin,
                now.recv_ns,
                now.mono_ns,
                None,
                hole.first,
                hole.last,
                "rest",
                blind_ns,
            )
        )

    # -- those that wait --------------------------------------------------------------------

    def _await(self, hole: Hole) -> None:
        self._awaited = hole
        self._emit = self._park

    def _park(self, event: Event) -> None:
        """Keep one event back.  A gap among them keeps its place, and has its turn later."""
        self._parked.append(event)
        if not isinstance(event, Gap | Resynced):
            self.delivered -= 1
            self.waiting += 1
        awaited = self._awaited
        late = awaited is None or event.mono_ns >= awaited.since_ns + WAIT_NS
        if late or self.waiting > WAITING_MAX:
            self._go_on(event.mono_ns)

    def _go_on(self, now_ns: int) -> None:
        """Let those go on that waited, up to the next gap that is still worth waiting for."""
        self._awaited = None
        self._emit = self._out
        while self._parked:
            event = self._parked.popleft()
            if not isinstance(event, Gap | Resynced):
                self.delivered += 1
                self.waiting -= 1
            self._out(event)
            hole = self._named_by(event)
            if hole is not None and now_ns < hole.since_ns + WAIT_NS:
                self._await(hole)
                return

    def _named_by(self, event: Event) -> Hole | None:
        """Return the open hole that ``event`` announces, if it is a gap and has one."""
        if not isinstance(event, Gap) or event.first is None:
            return None
        return next((hole for hole in self._holes if hole.first == event.first), None)


def _numbers(trade: Trade) -> tuple[int, int]:
    # Only numbered trades get here; the fallback is for the type checker.
    first, last = trade.first, trade.last
    return (0, -1) if first is None or last is None else (first, last)
