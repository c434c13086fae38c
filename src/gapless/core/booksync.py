"""A book that is readable only while its continuity is proven.

A `BookStream` is in one of two states.  *Synced*: every delta since the snapshot has been
applied, in order.  *Syncing*: a snapshot is on its way, and deltas wait for it or are dropped,
depending on where snapshots come from:

* from the stream (`SnapshotFrom.STREAM`): subscribing brings one; deltas before it are dropped;
* by request (`SnapshotFrom.REST`): deltas are buffered, those that the snapshot covers are
  dropped, and the rest goes through the same continuity check as any other message.

A hole makes a synced book syncing again: `Gap`, then the snapshot, then `Resynced`.  While the
stream is blind the book is kept but not readable, because the numbers may still prove that
nothing was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gapless.core.book import Book
from gapless.core.lately import digest
from gapless.core.sequence import Numbering
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import (
    Moment,
    Need,
    NeedKind,
    SnapshotFrom,
    TopicSpec,
    Trust,
    moment,
)
from gapless.errors import NotSynced
from gapless.events import BookDelta, BookSnapshot, Event, Levels, Origin

__all__ = ["BUFFER_MAX", "BookStream"]

BUFFER_MAX: Final = 20_000
"""Deltas buffered at most while a snapshot is on its way; more are dropped, oldest first."""

QUIET_NS: Final = 1_000_000_000
"""How long a snapshot waits for a first delta to be checked against, in nanoseconds."""

COMPARED: Final = 20
"""Levels of each side in which a snapshot of what was delivered must agree with the book."""

ASK_AGAIN_NS: Final = 5_000_000_000
"""How long a snapshot may take to come before it is asked for again; doubles with every ask, to
sixteen times that."""


class BookStream(SequencedStream):
    """Deltas that a snapshot makes into a book."""

    __slots__ = (
        "_asked_ns",
        "_asks",
        "_bridging",
        "_broken_since_ns",
        "_buffer",
        "_pending",
        "book",
        "resyncs",
        "stale_snapshots",
        "synced",
    )

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self.book = Book()
        self.synced = False
        self.resyncs = 0
        self.stale_snapshots = 0
        self._asked_ns: int | None = None
        self._asks = 0
        self._bridging = False  # the next delta may begin before the snapshot's number
        self._buffer: list[BookDelta] = []
        self._pending: BookSnapshot | None = None  # waits for a delta to be checked against
        self._broken_since_ns: int | None = None  # a gap is announced, a snapshot not yet here

    @property
    def arrived(self) -> int:
        """How many messages have come; those that wait for a snapshot count as well."""
        return super().arrived + len(self._buffer)

    @property
    def readable(self) -> bool:
        """Whether the book is proven now."""
        return self.synced and self._blind_since_ns is None

    @property
    def trust(self) -> Trust:
        """The state to show, as far as this book's own continuity goes."""
        if self._blind_since_ns is not None or not self.sources:
            return super().trust
        if self.synced:
            return Trust.LIVE
        return Trust.SYNCING if self._broken_since_ns is None else Trust.GAPPED

    @property
    def because(self) -> str:
        """Why the book cannot be read now; empty while it can."""
        if self._blind_since_ns is not None:
            return f"no trusted connection ({self._cause})"
        if self.synced:
            return ""
        return "waiting for a snapshot" if self.sources else "not subscribed yet"

    def proven(self) -> Book:
        """Return the book.

        Raises:
            NotSynced: If its continuity is not proven now.
        """
        if not self.readable:
            raise NotSynced(self.spec.symbol, self.because)
        return self.book

    def attach(self, origin: Origin, now: Moment) -> None:
        """Note that a session's subscription to this topic is confirmed."""
        known = origin.epoch in self.sources
        super().attach(origin, now)
        if known:  # data came before the ack, but only now may a snapshot be asked for
            self._attached(origin, now)

    def offer(self, event: Event) -> None:
        """Take one delta or snapshot from any source."""
        if event.first == self._expect <= event.last and event.__class__ is BookDelta:  # type: ignore[operator]
            self._expect = event.last + 1  # type: ignore[operator]  # it matched, so it has numbers
            self.book.apply(event.bids, event.asks)
            self.newest = event
            self.delivered += 1
            self._emit(event)
            if self._lately is not None:
                self._lately.note(event.last, event)
        elif self._lately is None or not self._repeated(event, self._lately):
            self._unusual(event)

    def snapshot(self, event: BookSnapshot, asked_ns: int, now: Moment) -> None:
        """Take a snapshot that was asked for by request.

        It is dropped if the book has been proven meanwhile, and asked for again if it is older
        than the first delta that waits for it.

        Args:
            event: The snapshot.
            asked_ns: When the request was made, monotonic.  A snapshot from before the
                subscription proves nothing about the time in between.
            now: When it arrived.
        """
        trusted = [source for source in self.sources.values() if source.trusted]
        if self.readable or not trusted:
            return
        if asked_ns < min(source.attached_ns for source in trusted):
            self._want(
                max(self.sources), "the snapshot is older than the subscription", now.mono_ns
            )
            return
        self._leave_fast_path()
        self._pending = event
        self._align(now)
        self._resume_fast_path()

    def rebuild(self, epoch: int, cause: str, now: Moment) -> None:
        """Ask for a snapshot on session ``epoch``: something may have gone unread."""
        self._want(epoch, cause, now.mono_ns)

    def tick(self, now: Moment) -> None:
        """Give up holes, trust a snapshot of a quiet book, ask again for one that did not come."""
        super().tick(now)
        if self._pending is not None and now.mono_ns >= self._pending.mono_ns + QUIET_NS:
            self._leave_fast_path()
            self._align(now, quiet=True)
            self._resume_fast_path()
        if not self.readable and self.sources:
            if self._asked_ns is None:
                self._asked_ns = now.mono_ns
            elif now.mono_ns - self._asked_ns >= ASK_AGAIN_NS << min(self._asks, 4):
                self._want(max(self.sources), "no snapshot came", now.mono_ns)

    def close(self) -> None:
        """Keep back what is held: without what lies before it, it is no book."""

    def image(self, now: Moment) -> BookSnapshot | None:
        """Return the proven book as a snapshot event, or `None` if it is not proven."""
        newest = self.newest
        if not self.readable or newest is None:
            return None
        return BookSnapshot(
            newest.origin,
            now.recv_ns,
            now.mono_ns,
            newest.event_ns,
            newest.last,
            newest.last,
            self.book.bids(),
            self.book.asks(),
        )

    # -- messages ---------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if isinstance(event, BookSnapshot):
            self._load_from_stream(event)
        elif not isinstance(event, BookDelta) or event.first is None or event.last is None:
            self.dropped += 1  # the profile promises numbers: what this one changed is not known
            if self.synced and isinstance(event, BookDelta):
                self._lose(event, "a change came without its number")
        elif self.synced and self._next is not None:
            self._place(event, self._next, event.first, event.last)
        elif self.spec.snapshot is SnapshotFrom.STREAM:
            self.dropped += 1  # a delta before its snapshot
        else:
            self._buffered(event)

    def _buffered(self, event: BookDelta) -> None:
        if self._next is not None and (event.last or 0) < self._next and self._renumbered(event):
            self._next = self._pending = None  # what waits here is of the old numbering
            self._buffer.clear()
        if len(self._buffer) >= BUFFER_MAX:
            self.dropped += 1
            del self._buffer[0]
        self._buffer.append(event)
        if self._pending is not None:
            self._align(moment(event))

    def _ahead(self, head: Event, expected: int) -> bool:
        if isinstance(head, BookSnapshot):  # it skips everything up to its own number
            return head.last is not None and head.last >= expected
        return super()._ahead(head, expected)

    def _prove_by_ids(self, event: Event) -> None:
        if self._blind_since_ns is not None:  # no snapshot is needed any more
            self._pending = None
            self._asked_ns, self._asks = None, 0
        super()._prove_by_ids(event)

    def _trims(self, event: Event) -> bool:
        # Where a snapshot may be taken in the middle of a delta, the delta names every level that
        # was touched, with its absolute size.  So it may be applied whole on a chain too, to a
        # snapshot or to what another line has brought.  From the line that brought the newest it
        # contradicts what that line has said.  A venue that sends its snapshots in the stream
        # may leave out what has changed and changed back: there only whole links fit.
        newest = self.newest
        elsewhere = newest is not None and newest.origin.epoch != event.origin.epoch
        touched = elsewhere and self.spec.snapshot is SnapshotFrom.REST
        return self._bridging or touched or super()._trims(event)

    def _renumbered(self, event: Event) -> bool:
        # A session's own snapshots never step back, unless the venue has begun to count anew;
        # nor does its own chain, but for repeats, which bring their old times with them.
        newest = self.newest
        if newest is not None and (event.last or 0) > (newest.last or 0):
            return False  # it lies in a hole that was announced: below what is next, and not old
        own = isinstance(event, BookSnapshot) or self.spec.numbering is Numbering.CHAIN
        return super()._renumbered(event) or (
            own
            and newest is not None
            and newest.origin.epoch == event.origin.epoch
            and (newest.last or 0) > (event.last or 0)
            and newest.event_ns is not None
            and event.event_ns is not None
            and event.event_ns > newest.event_ns
        )

    def _resume_fast_path(self) -> None:
        if self.synced and not self._bridging:
            super()._resume_fast_path()

    def _deliver(self, event: Event) -> None:
        if isinstance(event, BookDelta):
            self.book.apply(event.bids, event.asks)
            self._bridging = False
        super()._deliver(event)

    def _take_held(self, head: Event, expected: int, first: int, last: int) -> None:
        if first == expected and isinstance(head, BookDelta):
            self._deliver(head)
        elif max(last, first - 1) < expected:
            self._repeat(head)
        elif isinstance(head, BookSnapshot):
            self._overwrite(head, self._hole_cause())
        elif first < expected and self._trims(head):
            self._deliver_rest(head, expected)
        elif first < expected and self._cut_elsewhere(head):
            self.duplicates += 1
        else:
            self._break(head, expected, first)

    def _cut_elsewhere(self, head: Event) -> bool:
        """Whether another line that carries on has cut the same chain at other places.

        What this one brings beyond the cut, that one will bring in its own pieces.
        """
        lead = self.newest
        if lead is None or lead.origin.epoch == head.origin.epoch:
            return False
        source = self.sources.get(lead.origin.epoch)
        return source is not None and source.trusted

    def _break(self, head: Event, expected: int, first: int) -> None:
        """Announce a hole, and rebuild.  On a chain an overlap is a hole too."""
        now = moment(head)
        until = first - 1 if first > expected else head.last
        self._gap(head.origin, now, expected, until, self._hole_cause())
        self._broken_since_ns = (
            now.mono_ns if self._blind_since_ns is None else self._blind_since_ns
        )
        self._see_again(head)
        resets = head.last is not None and head.last < first - 1
        self._next = head.last + 1 if resets and head.last is not None else max(expected, first)
        self.synced = False
        self.resyncs += 1
        held, self._held = self._held, []
        for event in (head, *held):  # one of them may be the snapshot that heals us
            self._take(event)
        if not self.synced:
            self._want(head.origin.epoch, "numbers are missing", now.mono_ns)

    def _contradicted(self, key: int | str, event: Event) -> None:
        """Break the book: one of two lines is wrong about it, and nobody knows which."""
        held, self._held = self._held, []
        self._lose(event, self._dispute(key, event))
        for each in held:
            self._take(each)

    def _restart(self, event: Event) -> None:
        if isinstance(event, BookDelta):
            self._lose(event, "the venue numbers anew")
            self._take(event)

    def _lose(self, event: Event, cause: str) -> None:
        """Announce that the book is wrong for a reason that no numbers bound."""
        self._gap(event.origin, moment(event), None, None, cause)
        self._broken_since_ns = event.mono_ns
        self._see_again(event)
        self._next = None
        self.synced = False
        self.resyncs += 1
        self._want(event.origin.epoch, cause, event.mono_ns)

    # -- snapshots --------------------------------------------------------------------------

    def _load_from_stream(self, event: BookSnapshot) -> None:
        last, expected = event.last, self._next
        if last is None:
            self.dropped += 1
        elif expected is None or (not self.synced and last >= expected - 1):
            self._load(event)
        elif last < expected - 1 and not self._renumbered(event):
            self._join(event)
            self.duplicates += 1  # from a line that is behind; it may catch up
        elif not self.synced or last < expected:
            self._confirm_or_overwrite(event, last, expected)
        elif self._blind_since_ns is None and self._others_behind(event):
            self._hold(event)
            self._settle()
        else:
            self._overwrite(event, self._cause if self.blind else "the venue sent a new snapshot")

    def _confirm_or_overwrite(self, event: BookSnapshot, last: int, expected: int) -> None:
        if not self.synced or last != expected - 1:
            self._overwrite(event, "the venue numbers anew")
        elif self._shows_the_same(event):
            self._prove_by_ids(event)
            self.duplicates += 1
        else:
            cause = f"a snapshot shows another book at {last}"
            if self.newest is not None and self.newest.origin.epoch != event.origin.epoch:
                ours = msgspec.structs.replace(event, bids=self.book.bids(), asks=self.book.asks())
                line = f"{event.origin.line}.{event.origin.epoch}"
                self._diverge(event, cause, f"ours {digest(ours)}, {line} {digest(event)}")
            self._overwrite(event, cause)

    def _shows_the_same(self, event: BookSnapshot) -> bool:
        """Whether a snapshot of the very number that was delivered last agrees with the book.

        The best levels are compared: how deep a snapshot goes is the venue's choice.
        """
        bids, asks = self.book.bids(COMPARED), self.book.asks(COMPARED)
        if len(event.bids) < len(bids) or len(event.asks) < len(asks):
            return False
        return (
            sorted(_sized(event.bids), reverse=True)[:COMPARED] == bids
            and sorted(_sized(event.asks))[:COMPARED] == asks
        )

    def _others_behind(self, event: BookSnapshot) -> bool:
        epoch = event.origin.epoch
        return any(s.trusted for other, s in self.sources.items() if other != epoch)

    def _overwrite(self, event: BookSnapshot, cause: str) -> None:
        """Announce what the snapshot skips, and load it."""
        last, expected = event.last, self._next
        upwards = last is not None and expected is not None and last >= expected
        first = expected if upwards else None
        self._gap(event.origin, moment(event), first, last if upwards else None, cause)
        if self._broken_since_ns is None:
            self._broken_since_ns = (
                event.mono_ns if self._blind_since_ns is None else self._blind_since_ns
            )
        self._see_again(event)
        self._load(event)

    def _load(self, event: BookSnapshot) -> None:
        """Make the snapshot the book, and say how long there was none."""
        broken_since_ns = self._broken_since_ns
        if self._blind_since_ns is not None:
            # Blind before there ever was a book: nothing was lost that had been promised,
            # but the consumer was subscribed, so the interval is named.
            self._gap(event.origin, moment(event), None, None, self._cause)
            if broken_since_ns is None or broken_since_ns > self._blind_since_ns:
                broken_since_ns = self._blind_since_ns
        self._see_again(event)
        self.synced = True
        self._asked_ns, self._asks = None, 0
        self._broken_since_ns = None
        self.book.replace(event.bids, event.asks)
        self._bridging = self.spec.snapshot is SnapshotFrom.REST
        self._deliver(event)
        if broken_since_ns is not None:
            self._resynced(event, "snapshot", broken_since_ns)

    def _align(self, now: Moment, *, quiet: bool = False) -> None:
        """Bring the pending snapshot and the buffered deltas together, if they meet."""
        event = self._pending
        if event is None or event.last is None:
            self._pending = None
            return
        if not self._buffer and not quiet and not self._proves_nothing_lost(event):
            return
        oldest = min((delta.first for delta in self._buffer if delta.first is not None), default=0)
        if event.last + 1 < oldest or (self._next is not None and event.last + 1 < self._next):
            self._pending = None
            self.stale_snapshots += 1
            self._want(event.origin.epoch, "the snapshot is older than the deltas", now.mono_ns)
            return
        self._pending = None
        if self.synced:  # blind: the snapshot either proves our book or replaces it
            self._load_while_blind(event)
        else:
            self._load(event)
        self._replay()

    def _proves_nothing_lost(self, event: BookSnapshot) -> bool:
        return self.synced and self._next is not None and event.last == self._next - 1

    def _load_while_blind(self, event: BookSnapshot) -> None:
        if self._proves_nothing_lost(event):
            self._prove_by_ids(event)
        else:
            self._overwrite(event, self._cause)

    def _replay(self) -> None:
        """Send the buffered deltas through the same check as any other message."""
        buffered, self._buffer = self._buffer, []
        for delta in sorted(buffered, key=lambda delta: delta.first or 0):
            self._take(delta)

    def _want(self, epoch: int, cause: str, now_ns: int) -> None:
        if epoch not in self.sources and self.sources:  # what it brought outlived it
            epoch = max(self.sources)
        self._asked_ns = now_ns
        self._asks += 1
        kind: NeedKind = "snapshot"
        if self.spec.snapshot is SnapshotFrom.STREAM:
            kind = "resubscribe"
        self._ask(Need(kind, self.spec.topic, epoch, cause))

    def _attached(self, origin: Origin, now: Moment) -> None:
        if self.readable:
            return
        if self.spec.snapshot is SnapshotFrom.REST:
            self._want(origin.epoch, "subscribed", now.mono_ns)
        else:
            self._asked_ns = now.mono_ns  # subscribing is asking

    def _blinded(self) -> None:
        super()._blinded()
        self._pending = None
        self._buffer.clear()


def _sized(levels: Levels) -> Levels:
    return [(price, size) for price, size in dict(levels).items() if size]
