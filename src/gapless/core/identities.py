"""Messages that have names but no order, such as trades with random ids.

A name shows a repeat and never a hole.  So every stretch without a trusted session is announced
as an interval, unless the venue greets a new subscription with its latest messages and one of
them was delivered before: then the list reaches back beyond the break, and what it brings is all
there was.

A session that joins another is held back until the two meet in one message: until then it may
have come too late for something that the other, perhaps silent already, did not bring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gapless.core.stream import HOLD_NS, Moment, Need, Stream, TopicSpec, moment
from gapless.events import Event, Trade

__all__ = ["HELD_MAX", "SEEN_MAX", "IdentityStream"]

SEEN_MAX: Final = 8192
"""Names remembered at most, the oldest are forgotten first."""

HELD_MAX: Final = 1024
"""Messages held at most until it is known whether they carry on from what was delivered."""


class IdentityStream(Stream):
    """Messages that are told apart by the venue's id."""

    __slots__ = ("_held", "_met", "_seen")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._seen: dict[str, int] = {}  # name -> epoch of the session that brought it first
        self._held: dict[str, Trade] = {}
        self._met: dict[int, int] = {}  # of held sessions: an earlier one that it overlaps

    @property
    def arrived(self) -> int:
        """How many messages have come; those held count while they are held."""
        return super().arrived + len(self._held)

    def offer(self, event: Event) -> None:
        """Take one message from any source."""
        source = self.sources.get(event.origin.epoch)
        if not isinstance(event, Trade):
            self.dropped += 1
        elif (
            source is None
            or not source.joined
            or not source.trusted
            or self._held
            or self._blind_since_ns is not None
        ):
            self._unusual(event)
        elif event.id in self._seen:
            source.seen = event
            self._repeat(event)
        else:
            self._deliver(event)

    def tick(self, now: Moment) -> None:
        """Give up waiting for a proof that does not come."""
        if self._held:
            oldest = next(iter(self._held.values()))
            if now.mono_ns >= oldest.mono_ns + HOLD_NS:
                self._give_up(oldest, now)

    def close(self) -> None:
        """Deliver what is held: nobody will say more of it."""
        for event in self._take_held():
            self._deliver(event)

    def _unusual(self, event: Trade) -> None:
        epoch = event.origin.epoch
        known = self.sources.get(epoch)
        if known is not None and not known.trusted:
            known.joined = False  # it may have missed something
        source = self._trust_again(event)
        if event.id in self._seen:
            self._repeat(event)
            # The same session may say the same twice, and prove nothing by it.
            if event.backfilled or self._seen[event.id] != epoch:
                self._prove(event)
        elif self._blind_since_ns is None and source.joined:
            self._deliver(event)
            self._settle()
        elif event.id in self._held:
            self.duplicates += 1
            self._meet(self._held[event.id].origin.epoch, epoch)
        elif len(self._held) < HELD_MAX and (event.backfilled or self._blind_since_ns is None):
            self._held[event.id] = event
        else:
            self._give_up(event, moment(event))
            self._unusual(event)

    def _repeat(self, event: Trade) -> None:
        """Take what was delivered already, and see whether it says the same."""
        if self._compare(event.id, event):
            self.duplicates += 1
        else:
            self.dropped += 1
            self._contradicted(event.id, event)

    def _prove(self, event: Trade) -> None:
        """Take what a session and those before it have in common."""
        if self._blind_since_ns is not None:
            self._resynced(event, "ids", self._blind_since_ns)
        self._see_again(event)
        self._settle()

    def _settle(self) -> None:
        """Deliver what is held of sessions that carry on from what was delivered."""
        for event in [e for e in self._held.values() if e.id in self._seen]:
            del self._held[event.id]
            self._repeat(event)
            if self._seen[event.id] != event.origin.epoch:
                self._join(event)
        for event in list(self._held.values()):
            source = self.sources.get(event.origin.epoch)
            if source is not None and source.joined:
                del self._held[event.id]
                self._deliver(event)

    def _give_up(self, event: Trade, now: Moment) -> None:
        """Announce what may be missing, and deliver what is held."""
        cause = self._cause if self._blind_since_ns is not None else "a line fell behind"
        before: list[Trade] | None = None
        for run in self._held_runs() or [[]]:
            first = run[0] if run else event
            if before is None or not self._still_carried(before):
                self._gap(first.origin, now, None, None, cause)
                self._see_again(first)
            for held in run:
                self._join(held)
                self._deliver(held)
            before = run

    def _still_carried(self, run: list[Trade]) -> bool:
        """Whether a session of ``run`` may yet bring what lies between it and a later one."""
        sources = (self.sources.get(event.origin.epoch) for event in run)
        return any(source is not None and source.trusted for source in sources)

    def _meet(self, one: int, other: int) -> None:
        """Note that two sessions have brought the same message: there is no hole between them."""
        one, other = sorted((self._first_met(one), self._first_met(other)))
        if one != other:
            self._met[other] = one

    def _first_met(self, epoch: int) -> int:
        while epoch in self._met:
            epoch = self._met[epoch]
        return epoch

    def _held_runs(self) -> list[list[Trade]]:
        """Take what is held, apart where nothing shows that one session carries on from another."""
        runs: dict[int, list[Trade]] = {}
        for event in self._held.values():
            runs.setdefault(self._first_met(event.origin.epoch), []).append(event)
        self._take_held()
        return list(runs.values())

    def _take_held(self) -> list[Trade]:
        held, self._held = self._held, {}
        self._met.clear()
        return list(held.values())

    def _fewer_sources(self) -> None:
        if self._blind_since_ns is None:
            self._settle()
        elif self._held:  # what was held says nothing of what comes next
            held = list(self._held.values())
            self._give_up(held[0], moment(held[-1]))
            if not self._carried():
                self._blind_since_ns = held[-1].mono_ns

    def _deliver(self, event: Trade) -> None:
        self._seen[event.id] = event.origin.epoch
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        self.newest = event
        self.delivered += 1
        self._emit(event)
        if self._lately is not None:
            self._lately.note(event.id, event)
