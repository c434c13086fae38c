"""Numbered messages without state of their own: deliver in order, hold briefly, name the holes.

Several lines may carry the same numbers, cut into different batches.  Whatever is next is
delivered at once, whoever brings it; what lies beyond a hole is held while a line that is behind
may still fill it, and not a moment longer.

A chain may lead back to a lower number.  From then on the old numbers mean nothing, though a line
that is behind still brings them for a moment.  They are told from new ones by the session that
brings them: one that has not led back itself yet.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import Final

import msgspec

from gapless.core.lately import Lately, same
from gapless.core.sequence import Numbering, Place, place
from gapless.core.stream import HOLD_NS, NEVER, Moment, Need, Stream, TopicSpec, moment
from gapless.errors import IllegalTransition
from gapless.events import BookSnapshot, Event

__all__ = ["HELD_MAX", "SequencedStream"]

HELD_MAX: Final = 4096
"""Messages held at most while a line that is behind may still fill the hole."""


class SequencedStream(Stream):
    """Numbered messages without state of their own, such as trades.

    A message ahead of a hole is held only while another trusted source has not gone past the
    hole itself; then, or after `HOLD_NS`, the hole is announced and delivery goes on behind it.
    """

    __slots__ = ("_gone", "_held", "_next", "_reset")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._next: int | None = None  # what comes next; lives in `_expect` on the fast path
        self._held: list[Event] = []  # by number; of equal ones the earlier arrival first
        self._reset: Event | None = None  # the newest message that led to a lower number
        self._gone: set[int] | None = None  # the sessions that have gone that way; for a moment

    @property
    def arrived(self) -> int:
        """How many messages have come; those held count while they are held."""
        return self.delivered + self.duplicates + self.dropped + len(self._held)

    def offer(self, event: Event) -> None:
        """Take one message from any source."""
        # A message that covers nothing, or leads back, is next too, but never this simple.
        if event.first == self._expect <= event.last:  # type: ignore[operator]  # it has numbers
            self._expect = event.last + 1  # type: ignore[operator]
            self.newest = event
            self.delivered += 1
            self._emit(event)
            if self._lately is not None:
                self._lately.note(event.last, event)
        elif self._lately is None or not self._repeated(event, self._lately):
            self._unusual(event)

    def tick(self, now: Moment) -> None:
        """Announce a hole that the lines behind have had time enough to fill."""
        if self._held and now.mono_ns >= self._held[0].mono_ns + HOLD_NS:
            self._leave_fast_path()
            while self._held and now.mono_ns >= self._held[0].mono_ns + HOLD_NS:
                self._settle(give_up=True)
            self._resume_fast_path()
        reset = self._reset
        if self._gone is not None and reset and now.mono_ns >= reset.mono_ns + HOLD_NS:
            self._gone = None
            self._resume_fast_path()

    def close(self) -> None:
        """Deliver what is held, and name the holes before it: no line will fill them any more."""
        self._leave_fast_path()
        while self._held:
            self._settle(give_up=True)

    def _repeated(self, event: Event, lately: Lately) -> bool:
        """Take what another session has just brought: with two lines every second message."""
        last, epoch = event.last, event.origin.epoch
        twin = lately.find(last)
        source = self.sources.get(epoch)
        if (
            twin is None
            or source is None
            or last is None
            or not last < self._expect
            or twin.first != event.first
            or twin.event_ns != event.event_ns
            or twin.origin.epoch == epoch
            or not same(twin, event)
        ):
            return False
        source.trusted = source.joined = True
        source.seen = event
        source.number = max(source.number, last)
        self.duplicates += 1
        self.races.run(twin.origin.line, event.origin.line, event.mono_ns - twin.mono_ns)
        return True

    def _unusual(self, event: Event) -> None:
        self._leave_fast_path()
        self._trust_again(event)
        if self._outdated(event):
            self._join(event)
            self.duplicates += 1
        else:
            self._take(event)
        self._resume_fast_path()

    def _take(self, event: Event) -> None:
        if event.first is None or event.last is None:
            self.dropped += 1  # the profile promises numbers
        elif self._next is None:
            self._begin(event)
        else:
            self._place(event, self._next, event.first, event.last)

    def _begin(self, event: Event) -> None:
        if self._blind_since_ns is not None:
            self._gap(event.origin, moment(event), None, None, self._cause)
            self._see_again(event)
        self._deliver(event)

    def _place(self, event: Event, expected: int, first: int, last: int) -> None:
        match place(expected, first, last):
            case Place.NEXT if self._blind_since_ns is None and self._told(event):
                self._join(event)
                self.duplicates += 1
            case Place.NEXT:
                self._prove_by_ids(event)
                self._deliver(event)
                self._settle()
            case Place.OVERLAP if self._trims(event):
                self._prove_by_ids(event)
                self._deliver_rest(event, expected)
                self._settle()
            case Place.DUPLICATE if self._renumbered(event):
                self._held.clear()
                self._restart(event)
            case Place.DUPLICATE:
                self._repeat(event)
            case Place.AHEAD | Place.OVERLAP:
                self._hold(event)
                self._settle()

    def _repeat(self, event: Event) -> None:
        """Take what was delivered already; its numbers reach back to what was."""
        self._join(event)
        if event.last is not None and not self._compare(event.last, event):
            self.dropped += 1
            self._contradicted(event.last, event)
        else:
            self.duplicates += 1

    def _trims(self, event: Event) -> bool:
        """Whether a message that begins behind may be cut to what it brings anew."""
        del event  # a book looks at where it came from
        return self.spec.numbering is Numbering.DENSE

    def _told(self, event: Event) -> bool:
        """Whether another line has just said the same: that nothing has changed."""
        newest = self.newest
        return (
            newest is not None
            and newest.origin.epoch != event.origin.epoch
            and (newest.first, newest.last) == (event.first, event.last)
        )

    def _outdated(self, event: Event) -> bool:
        """Whether a message is of the numbering that the venue has just left behind."""
        reset, gone = self._reset, self._gone
        if reset is None or reset.first is None or event.last is None:
            return False
        epoch = event.origin.epoch
        if (event.first, event.last) == (reset.first, reset.last):
            if gone is not None and epoch not in gone:
                gone.add(epoch)
                return True
            return event.first != self._next
        return gone is not None and epoch not in gone and event.last < reset.first

    def _restart(self, event: Event) -> None:
        """Follow a venue that numbers anew."""
        self._gap(event.origin, moment(event), None, None, "the venue numbers anew")
        self._see_again(event)
        self._deliver(event)

    def _settle(self, *, give_up: bool = False) -> None:
        """Deliver what is held as far as it is next, and give up holes that nobody will fill."""
        while self._held:
            head = self._held[0]
            first, last, expected = head.first, head.last, self._next
            if first is None or last is None or expected is None:
                raise IllegalTransition("a held message without numbers")
            if self._outdated(head):  # the same way back, from another line
                del self._held[0]
                self._join(head)
                self.duplicates += 1
                continue
            if self._ahead(head, expected) and not (give_up or self._nobody_behind()):
                self.out_of_order += 1
                return
            del self._held[0]
            self._take_held(head, expected, first, last)
            give_up = False

    def _take_held(self, head: Event, expected: int, first: int, last: int) -> None:
        if first != expected and max(last, first - 1) < expected:
            self._repeat(head)
        elif first < expected:
            self._deliver_rest(head, expected)
        else:
            if first > expected:
                self._gap(head.origin, moment(head), expected, first - 1, self._hole_cause())
                self._see_again(head)
            self._deliver(head)

    def _ahead(self, head: Event, expected: int) -> bool:
        """Whether a line that is behind may still bring something before ``head``."""
        return head.first is not None and head.first > expected

    def _hole_cause(self) -> str:
        return self._cause if self._blind_since_ns is not None else "numbers are missing"

    def _hold(self, event: Event) -> None:
        insort(self._held, event, key=_first)

    def _nobody_behind(self) -> bool:
        """Whether every trusted source has gone past the hole, or too much is held already."""
        if len(self._held) > HELD_MAX:
            return True
        passed = {event.origin.epoch for event in self._held}
        return all(epoch in passed for epoch, source in self.sources.items() if source.trusted)

    def _prove_by_ids(self, event: Event) -> None:
        if self._blind_since_ns is not None:
            self._resynced(event, "ids", self._blind_since_ns)
        self._see_again(event)

    def _deliver_rest(self, event: Event, expected: int) -> None:
        """Deliver what of a message has not come yet, and remember it as it was sent."""
        self._deliver(msgspec.structs.replace(event, first=expected))
        if self._lately is not None:
            self._lately.note(event.last, event)

    def _deliver(self, event: Event) -> None:
        lately = self._lately
        if event.first is not None and event.last is not None:
            if lately is not None and self._next is not None and event.last + 1 < self._next:
                lately.clear()
            self._next = event.last + 1
            if self._next < event.first:
                self._reset, self._gone = event, {event.origin.epoch}
        self.newest = event
        self.delivered += 1
        self._emit(event)
        if lately is not None and not isinstance(event, BookSnapshot):
            lately.note(event.last, event)

    def _blinded(self) -> None:
        self._leave_fast_path()

    def _fewer_sources(self) -> None:
        if self._held:
            blind_since_ns = self._blind_since_ns
            self._settle()
            if not self._carried():  # what was held says nothing of the future
                self._blind_since_ns = blind_since_ns
        self._leave_fast_path()  # a suspect that speaks again is to be noticed
        self._resume_fast_path()

    def _leave_fast_path(self) -> None:
        if self._expect != NEVER:
            self._next, self._expect = self._expect, NEVER

    def _resume_fast_path(self) -> None:
        ready = not self._held and self._gone is None and self._blind_since_ns is None
        if ready and self._next is not None and all(s.trusted for s in self.sources.values()):
            self._expect = self._next


def _first(event: Event) -> int:
    return -1 if event.first is None else event.first
