"""The bounded queue between the streams and one consumer.

A consumer that falls behind must not slow the socket down: the venue would disconnect us, and
then everybody loses.  The default policy therefore drops and marks: what did not fit is named
by a `Gap`, and books get a fresh snapshot once there is room again.

A consumer that wants the newest state rather than every step conflates: once it is behind, what
waits of one topic is combined (`gapless.core.conflation`).  The order within a topic is kept;
between topics it is not, since a combined event stands where the oldest stood that it combines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from gapless.core.conflation import Slot, conflatable
from gapless.errors import SlowConsumer
from gapless.events import BookSnapshot, Event, Gap, Resynced, Trade

__all__ = ["BEHIND", "Dropped", "Outlet", "Overflow"]

BEHIND: Final = 1024
"""Events that wait at most before `Overflow.CONFLATE` begins to combine, whatever fits: who wants
the newest state does not want thousands of old ones first."""


@unique
class Overflow(Enum):
    """What happens when the queue is full."""

    DROP_AND_MARK = "drop-and-mark"  # drop the newest, and say so in the stream
    CONFLATE = "conflate"  # newest images, merged book changes; drop and mark trades
    BLOCK = "block"  # stop reading the sockets until there is room
    FAIL = "fail"  # raise `SlowConsumer` in the consumer


@dataclass(slots=True)
class Dropped:
    """What one topic lost to a full queue.

    Attributes:
        since_ns: Unix time of the first dropped event.
        until_ns: Unix time of the last.
        first, last: Numbers of the dropped events, or `None` if they had none.
        count: How many data events.
        gaps, missing: How many gaps were dropped with them, and what those counted.
        late: How many data events besides that a gap had named before, and that were fetched.
        late_first, late_last: Bounds of those among them that lie outside the numbers above.
    """

    sample: Event
    since_ns: int
    until_ns: int
    first: int | None
    last: int | None
    count: int = 0
    gaps: int = 0
    missing: int = 0
    late: int = 0
    late_first: int | None = None
    late_last: int | None = None

    def add_late(self, first: int, last: int) -> None:
        """Count one event that came late, and so bounds nothing but itself."""
        self.late += 1
        if self.first is not None and self.last is not None and self.first <= first <= self.last:
            return
        self.late_first = first if self.late_first is None else min(self.late_first, first)
        self.late_last = last if self.late_last is None else max(self.late_last, last)


class Outlet:
    """A queue of events with a bound.

    Args:
        capacity: Most events held; conflating, one slot for each topic besides.
        overflow: What happens beyond.

    Attributes:
        on_item: Called after an item arrives; the shell wakes the consumer.
        on_room: Called when a queue that overflowed is half empty again.
        on_full: Called when something did not fit.
        dropped: What was lost, by topic, until `on_room` has dealt with it.
        dropped_total: Events lost, of all topics.
        conflated_total: Events that others stood for when they were taken.
        failed: Whether `Overflow.FAIL` has struck; nothing that came later is ever given.
    """

    __slots__ = (
        "_behind",
        "_behind_at",
        "_blocked",
        "_capacity",
        "_overflow",
        "_queue",
        "_slots",
        "_unhealed",
        "conflated_total",
        "dropped",
        "dropped_total",
        "failed",
        "on_full",
        "on_item",
        "on_room",
    )

    def __init__(self, capacity: int = 65_536, overflow: Overflow = Overflow.DROP_AND_MARK) -> None:
        if capacity < 1:
            raise ValueError("an outlet needs room for one event at least")
        self._capacity = capacity
        self._overflow = overflow
        self._queue: deque[Event | Slot] = deque()
        conflates = overflow is Overflow.CONFLATE
        self._behind_at = min(capacity, BEHIND) if conflates else capacity
        self._behind = False  # `Overflow.CONFLATE` combines, until half of that has been taken
        self._slots: dict[str, Slot] = {}  # of each topic, the one that may still grow
        self._unhealed = 0  # events to take before what was dropped since is dealt with
        self._blocked = False  # `Overflow.BLOCK` has struck, and there was no room since
        self.on_item: Callable[[], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self.on_full: Callable[[], None] | None = None
        self.dropped: dict[str, Dropped] = {}
        self.dropped_total = 0
        self.conflated_total = 0
        self.failed = False

    def put(self, event: Event) -> None:
        """Take one event, or deal with it as the policy says."""
        queue = self._queue
        if len(queue) >= self._behind_at or self.dropped or self._behind:
            self._unusual(event)
            return
        queue.append(event)
        if self.on_item is not None:
            self.on_item()

    def take(self) -> Event | None:
        """Return the oldest event, or `None` if there is none.

        Raises:
            SlowConsumer: Under `Overflow.FAIL`, once everything before the overflow is taken.
        """
        queue = self._queue
        if not queue:
            if self.failed:
                raise SlowConsumer(self._capacity)
            self._make_room()
            if not queue:
                return None
        event = queue.popleft()
        if isinstance(event, Slot):
            event = self._opened(event)
        if self._behind and len(queue) * 2 <= self._behind_at:
            self._behind = False
            self._slots.clear()  # what follows comes behind them
        self._unhealed = max(0, self._unhealed - 1)
        if len(queue) * 2 <= self._capacity and not self._unhealed:
            self._make_room()
        return event

    def release(self, topic: str) -> Dropped | None:
        """Return and forget what ``topic`` lost; from now on its events are taken again.

        After a failure there is no *from now on*, and nothing to return.
        """
        return None if self.failed else self.dropped.pop(topic, None)

    def force(self, event: Event) -> None:
        """Take an event beyond the bound: the marks after an overflow, one or three a topic."""
        self._queue.append(event)
        if self.on_item is not None:
            self.on_item()

    def __len__(self) -> int:
        return len(self._queue)

    def _make_room(self) -> None:
        if (self.dropped or self._blocked) and not self.failed and self.on_room is not None:
            self._blocked = False
            self.on_room()
            if self._overflow is Overflow.CONFLATE:
                # Its bound is far below the capacity: marks come again once these are taken.
                self._unhealed = len(self._queue)

    def _unusual(self, event: Event) -> None:
        topic = event.origin.topic
        if self._overflow is Overflow.FAIL:
            self.failed = True
            self._drop(topic, event)
        elif self._overflow is Overflow.BLOCK:
            # What one read of the sockets brought still comes; it is bounded by their buffers.
            self._blocked = True
            self.force(event)
            if self.on_full is not None:
                self.on_full()
        elif topic in self.dropped:
            self._drop(topic, event)
        elif self._overflow is Overflow.CONFLATE:
            self._conflate(topic, event)
        elif len(self._queue) < self._capacity:
            self.force(event)  # another topic overflowed; this one has lost nothing
        else:
            self._drop(topic, event)

    def _conflate(self, topic: str, event: Event) -> None:
        self._behind = self._behind or len(self._queue) >= self._behind_at
        slot = self._slots.get(topic)
        if slot is not None:
            if not slot.add(event):
                del self._slots[topic]  # what it holds is sound, and comes before the gap
                self._drop(topic, event)
        elif self._behind and conflatable(event):
            slot = self._slots[topic] = Slot(event)
            self._queue.append(slot)
        elif len(self._queue) < self._capacity:
            self.force(event)
        else:
            self._drop(topic, event)

    def _opened(self, slot: Slot) -> Event:
        """Return the first event of a slot, and put the others where it stood."""
        if self._slots.get(slot.topic) is slot:
            del self._slots[slot.topic]
        self.conflated_total += slot.conflated
        event, *others = slot.events()
        self._queue.extendleft(reversed(others))
        return event

    def _drop(self, topic: str, event: Event) -> None:
        self.dropped_total += 1
        lost = self.dropped.get(topic)
        late = isinstance(event, Trade) and event.backfilled
        # A gap's numbers are missing as well; a resync covers none, and a snapshot stands for
        # all up to its own without being one of them.
        first = None if isinstance(event, Resynced | BookSnapshot) else event.first
        last = None if isinstance(event, Resynced) else event.last
        bounds = (None, None) if late else (first, last)
        if lost is None:
            since_ns = event.since_ns if isinstance(event, Gap) else _made_ns(event)
            lost = self.dropped[topic] = Dropped(event, since_ns, event.recv_ns, *bounds)
            if self.on_full is not None:
                self.on_full()
        lost.until_ns = event.recv_ns
        if late and first is not None and last is not None:
            lost.add_late(first, last)
            return
        lost.first = first if lost.first is None else lost.first
        lost.last = last if last is not None else lost.last
        if isinstance(event, Gap):
            lost.gaps += 1
            lost.missing += event.missing or 0
        elif not isinstance(event, Resynced):
            lost.count += 1


def _made_ns(event: Event) -> int:
    return event.recv_ns if event.event_ns is None else min(event.recv_ns, event.event_ns)
