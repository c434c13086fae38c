"""Books whose changes have no numbers: proven by a checksum, by the connection, or by nothing.

Changes without numbers are only worth something in an unbroken run: the snapshot that a session
began with, and everything that this session brought after it.  So each session keeps a book of
its own.  One of them leads and is delivered; when it can no longer be trusted, another that is
whole takes over with its book, and otherwise the next snapshot heals.

Where the venue sends checksums, they are computed over each session's book from the venue's own
digits.  One that fails breaks the book at once: `Gap`, a new subscription, snapshot, `Resynced`.
If another session's book is whole, that one goes on instead: what it shows otherwise is one
`BookDelta`, after `Resynced` by ``line``, and no gap, for what failed was not delivered.
A session that fell silent may have lost something.  Its run is doubted until a checksum that
covers the whole book agrees, or a new snapshot comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gapless.core.book import Book
from gapless.core.stream import HOLD_NS, Moment, Need, Source, Stream, TopicSpec, Trust, moment
from gapless.core.textbook import TextBook
from gapless.errors import NotSynced
from gapless.events import BookDelta, BookSnapshot, Event, Levels, Origin

__all__ = ["ASK_AGAIN_NS", "BookRunStream"]

ASK_AGAIN_NS: Final = 5_000_000_000
"""How long a session has between two subscriptions at least, in nanoseconds; doubles with every
one, to sixteen times that, until the book has stayed whole for twice as long."""

NOBODY: Final = -1  # the epoch of no session


class _Run:
    """What one session has brought.

    Attributes:
        whole: Whether it began with a snapshot, and nothing has been missed since.
        doubted: Whether something may have been missed all the same.
        failures: Checksums that failed in a row.
        since_ns: When its snapshot came, monotonic.
        newest_ns: The venue's time of its newest message, if it says.
        asked_ns: When a snapshot was asked for last, monotonic; subscribing is asking.
        asks: How often it was asked for again.
    """

    __slots__ = (
        "asked_ns",
        "asks",
        "book",
        "doubted",
        "failures",
        "newest_ns",
        "since_ns",
        "whole",
    )

    def __init__(self, now_ns: int) -> None:
        self.book = TextBook()
        self.whole = False
        self.doubted = False
        self.failures = 0
        self.since_ns = now_ns
        self.newest_ns: int | None = None
        self.asked_ns = now_ns
        self.asks = 0

    @property
    def sound(self) -> bool:
        return self.whole and not self.doubted

    @property
    def due_ns(self) -> int:
        """When the session may be asked again."""
        return self.asked_ns + (ASK_AGAIN_NS << min(self.asks, 4))


class BookRunStream(Stream):
    """Unnumbered changes that a snapshot makes into a book, one run for each session.

    Attributes:
        resyncs: How often the book broke.
        checks, failed: Checksums compared, and those that did not agree.
    """

    __slots__ = (
        "_broken_since_ns",
        "_heirless_ns",
        "_lead",
        "_made",
        "_proven",
        "_runs",
        "book",
        "checks",
        "failed",
        "resyncs",
    )

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self.book: Book = Book()  # as delivered, whether proven or not; see `proven`
        self.resyncs = 0
        self.checks = 0
        self.failed = 0
        self._runs: dict[int, _Run] = {}
        self._lead: int | None = None  # epoch of the session that is delivered, once one was
        self._proven = False  # what was delivered is the venue's book
        self._made = 0  # events that no session brought: a run's book at a change of lead
        self._heirless_ns: int | None = None  # the lead is gone, its successor a little behind
        self._broken_since_ns: int | None = None  # a gap is announced, a snapshot not yet here

    # -- the book ---------------------------------------------------------------------------

    @property
    def arrived(self) -> int:
        """How many messages have come, from all sources, whatever became of them."""
        return super().arrived - self._made

    @property
    def readable(self) -> bool:
        """Whether the book is proven now."""
        return self._proven and not self.blind

    @property
    def trust(self) -> Trust:
        """The state to show, as far as this book's own continuity goes."""
        if self.blind or not self.sources:
            return super().trust
        if self.readable:
            return Trust.LIVE
        return Trust.SYNCING if self._broken_since_ns is None else Trust.GAPPED

    @property
    def because(self) -> str:
        """Why the book cannot be read now; empty while it can."""
        if self.blind:
            return f"no trusted connection ({self._cause})"
        if self.readable:
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

    def image(self, now: Moment) -> BookSnapshot | None:
        """Return the proven book as a snapshot event, or `None` if it is not proven."""
        newest = self.newest
        if not self.readable or newest is None:
            return None
        return _image(newest.origin, newest.event_ns, self.book, now)

    def rebuild(self, epoch: int, cause: str, now: Moment) -> None:
        """Ask for a snapshot on session ``epoch``: something may have gone unread."""
        run, source = self._runs.get(epoch), self.sources.get(epoch)
        if run is None or source is None:
            return
        if epoch == self._lead and self.readable:
            self._part(run)
            self._break(run, source.origin, now, cause)
        else:
            self._want(epoch, run, cause, now.mono_ns)

    # -- sources ----------------------------------------------------------------------------

    def detach(self, epoch: int, cause: str, now: Moment, covered_ns: int | None = None) -> None:
        """Note that a session no longer carries this topic; see `Stream.detach`."""
        super().detach(epoch, cause, now, covered_ns)
        self._runs.pop(epoch, None)
        self._take_over(now)

    def suspect(self, epoch: int, cause: str, now: Moment, covered_ns: int | None = None) -> None:
        """Note that a session may have lost messages; see `Stream.suspect`."""
        super().suspect(epoch, cause, now, covered_ns)
        run = self._runs.get(epoch)
        if run is not None and not run.doubted:
            run.doubted = True
            if run.whole:
                run.asked_ns = now.mono_ns  # it has a while to speak
        self._take_over(now)

    def vouch(self, epoch: int, now: Moment) -> None:
        """Note that a suspected session has lost nothing; see `Stream.vouch`."""
        run, source = self._runs.get(epoch), self.sources.get(epoch)
        if run is not None and source is not None and not source.trusted:
            run.doubted = False
        super().vouch(epoch, now)

    def _attached(self, origin: Origin, now: Moment) -> None:
        self._runs[origin.epoch] = _Run(now.mono_ns)

    def _handed_over(self, source: Source, covered_ns: int) -> None:
        """Let those carry on whose own book was whole while ``source`` carried everything."""
        if not self._proven:
            super()._handed_over(source, covered_ns)
        elif source.trusted and self._has_joined(source):
            for epoch, other in self.sources.items():
                run = self._runs.get(epoch)
                if run is not None and run.sound and run.since_ns <= covered_ns:
                    other.joined = True

    def _carried(self) -> bool:
        return any(
            source.trusted
            and self._has_joined(source)
            and (not self._proven or self._is_sound(epoch))
            for epoch, source in self.sources.items()
        )

    def overlaps(self, epoch: int) -> bool:
        """Whether a session has a whole book of its own."""
        return self._is_sound(epoch)

    # -- messages ---------------------------------------------------------------------------

    def offer(self, event: Event) -> None:
        """Take one change or snapshot from any source."""
        epoch = event.origin.epoch
        run = self._runs.get(epoch)
        if run is None:  # data may come before the ack of its subscription
            run = self._runs[epoch] = _Run(event.mono_ns)
        if isinstance(event, BookSnapshot):
            self._begin(run, event)
        elif not isinstance(event, BookDelta) or not run.whole:
            self._trust_again(event)
            self.dropped += 1  # a change before its snapshot says nothing
        elif epoch == self._lead:
            self._change(run, event)
        else:
            self._follow(run, event)

    def tick(self, now: Moment) -> None:
        """Ask again for a snapshot that did not come, and end the wait for a successor."""
        self._take_over(now)
        for epoch in list(self.sources):
            run = self._runs[epoch]
            if not run.sound and now.mono_ns >= run.due_ns:
                self._want(epoch, run, "no snapshot came", now.mono_ns)

    def _change(self, run: _Run, event: BookDelta) -> None:
        """Take a change of the session that leads."""
        if len(self._runs) > 1 and self.spec.checksum is not None:
            self._part(run)  # if the change is wrong, what was delivered is still at hand
        event, agrees = self._apply(run, event)
        if agrees is False:
            self._trust_again(event)
            self.dropped += 1
            self._break(run, event.origin, moment(event), "the checksum failed")
        elif not run.doubted:
            self._lead_on(run, event)
        elif agrees and self._covers(run):
            self._speak_again(run, event)
        else:  # nothing says that there were no changes in between
            self._trust_again(event)
            self.dropped += 1
            self._break(run, event.origin, moment(event), self._cause)

    def _follow(self, run: _Run, event: BookDelta) -> None:
        """Take a change of a session that does not lead."""
        self._trust_again(event)
        self.duplicates += 1
        _, agrees = self._apply(run, event)
        if run.doubted and agrees and self._covers(run):
            run.doubted = False
        if agrees is False or run.doubted:
            cause = "the checksum failed" if agrees is False else "it may have lost messages"
            self._want(event.origin.epoch, run, cause, event.mono_ns)
        else:
            self._take_over(moment(event))

    def _apply(self, run: _Run, event: BookDelta) -> tuple[BookDelta, bool | None]:
        """Change the run's book; return what changed, and whether the checksum agrees."""
        run.book.take(event)
        run.newest_ns = event.event_ns
        depth = self.spec.depth
        if depth is not None:
            bids, asks = run.book.cut(depth)
            if bids or asks:
                # The venue does not say so, but whoever keeps a book of these must know.
                event = msgspec.structs.replace(
                    event, bids=[*event.bids, *_gone(bids)], asks=[*event.asks, *_gone(asks)]
                )
        return event, self._check(run, event)

    def _check(self, run: _Run, event: BookDelta | BookSnapshot) -> bool | None:
        """Compare the checksum; `None` if there is none, or one failure is not yet believed."""
        checksum, texts = self.spec.checksum, event.texts
        if checksum is None or texts is None or texts.checksum is None:
            return None
        self.checks += 1
        if run.book.agrees(checksum, texts.checksum):
            run.failures = 0
            return True
        self.failed += 1
        run.failures += 1
        return False if run.failures > checksum.tolerated else None

    def _covers(self, run: _Run) -> bool:
        """Whether the checksum speaks of every level that there may be."""
        checksum, depth = self.spec.checksum, self.spec.depth
        covered = 0 if checksum is None else checksum.depth
        if depth is not None and depth <= covered:
            return True
        return len(run.book.bids(covered)) < covered > len(run.book.asks(covered))

    def _speak_again(self, run: _Run, event: BookDelta) -> None:
        """End a silence that was suspected in vain: the checksum covers the whole book."""
        blind_since_ns = self._blind_since_ns
        self._trust_again(event)
        run.doubted = False
        if blind_since_ns is not None:
            self._see_again(event)
            self._resynced(event, "checksum", blind_since_ns)
        self._lead_on(run, event)

    def _lead_on(self, run: _Run, event: BookDelta) -> None:
        """Deliver a change of the session that leads."""
        if self.book is not run.book:
            self.book.apply(event.bids, event.asks)
        self._deliver(event)

    def _part(self, run: _Run) -> None:
        """Keep what was delivered apart from what the leading session says next."""
        if self.book is run.book:
            self.book = Book()
            self.book.replace(run.book.bids(), run.book.asks())

    def _break(self, run: _Run, origin: Origin, now: Moment, cause: str) -> None:
        """Replace the leading book, which is wrong: by another's, or with a gap by a new one."""
        epoch = origin.epoch
        others = any(other != epoch and self._is_sound(other) for other in self._runs)
        if others and self.readable and self.book is not run.book:
            self._want(epoch, run, cause, now.mono_ns)
            self._take_over(now)
            return
        self._gap(origin, now, None, None, cause)
        since_ns = self._blind_since_ns
        self._broken_since_ns = now.mono_ns if since_ns is None else since_ns
        self._blind_since_ns = None
        self._proven = run.whole = False
        self.resyncs += 1
        self.sources[epoch].joined = True
        self._take_over(now)
        self._want(epoch, run, cause, now.mono_ns)

    # -- snapshots --------------------------------------------------------------------------

    def _begin(self, run: _Run, event: BookSnapshot) -> None:
        """Start a session's run anew."""
        epoch = event.origin.epoch
        leads = epoch == self._lead and self.readable
        before = (run.book.bids(), run.book.asks()) if leads else None
        self._trust_again(event)
        run.book.take(event)
        run.newest_ns = event.event_ns
        run.failures = 0
        if self.spec.depth is not None:
            run.book.cut(self.spec.depth)
        if self._check(run, event) is False:
            self.dropped += 1
            cause = "the checksum of a snapshot failed"
            if leads:
                self._break(run, event.origin, moment(event), cause)
            else:
                self._want(epoch, run, cause, event.mono_ns)
            return
        run.whole, run.doubted, run.since_ns = True, False, event.mono_ns
        if not self.readable:
            self._load(run, event)
        elif not leads:
            self.duplicates += 1
            self._take_over(moment(event))
        elif before == (run.book.bids(), run.book.asks()):
            self.newest = event
            self.duplicates += 1  # the venue repeats what we have
        else:
            self._gap(event.origin, moment(event), None, None, "the venue sent a new snapshot")
            self._broken_since_ns = event.mono_ns
            self._load(run, event)

    def _load(self, run: _Run, event: BookSnapshot) -> None:
        """Let the snapshot be the book, and say how long there was none."""
        now = moment(event)
        if self._blind_since_ns is not None:
            self._gap(event.origin, now, None, None, self._cause)
        since_ns = self._leads(event.origin.epoch, run)
        depth = self.spec.depth
        if depth is not None and max(len(event.bids), len(event.asks)) > depth:
            event = msgspec.structs.replace(event, bids=run.book.bids(), asks=run.book.asks())
        self._deliver(event)
        if since_ns is not None:
            self._resynced(event, "snapshot", since_ns)

    def _take_over(self, now: Moment) -> None:
        """Let another session lead whose book is sound, if the one that led can no longer."""
        if self._lead is None or (self.readable and self._is_sound(self._lead)):
            return
        heirs = [
            (-1 if run.newest_ns is None else run.newest_ns, epoch)
            for epoch, run in self._runs.items()
            if self._is_sound(epoch)
        ]
        if not heirs:
            return
        newest_ns, epoch = max(heirs)
        run, origin = self._runs[epoch], self.sources[epoch].origin
        if self.readable and self._is_behind(newest_ns, now.mono_ns):
            self._abdicate()
            return
        if self._blind_since_ns is not None:
            self._gap(origin, now, None, None, self._cause)
        announced, delivered, newest = not self.readable, self.book, self.newest
        made_ns = None if newest is None else newest.event_ns
        since_ns = self._leads(epoch, run)
        bids, asks = delivered.difference(run.book)
        if not announced and not bids and not asks:
            return  # it says what the other has said
        if announced or (made_ns is not None and newest_ns < made_ns):  # or the book steps back
            event = _image(origin, run.newest_ns, run.book, now)
            self._made += 1
            self._deliver(event)
            self._resynced(event, "line", now.mono_ns if since_ns is None else since_ns)
            return
        made = now.recv_ns, now.mono_ns, run.newest_ns, None, None
        change = BookDelta(origin, *made, bids, asks)
        self._made += 1
        self._resynced(change, "line", now.mono_ns)
        self._deliver(change)

    def _is_sound(self, epoch: int) -> bool:
        run, source = self._runs.get(epoch), self.sources.get(epoch)
        return run is not None and run.sound and source is not None and source.trusted

    def _is_behind(self, newest_ns: int, now_ns: int) -> bool:
        """Whether to wait for a successor that has not brought all that was delivered yet."""
        newest = self.newest
        if newest is None or newest.event_ns is None or not 0 <= newest_ns < newest.event_ns:
            return False
        if self._heirless_ns is None:
            self._heirless_ns = now_ns
        return now_ns < self._heirless_ns + HOLD_NS

    def _abdicate(self) -> None:
        """Keep what was delivered, whatever the session that led brings from now on."""
        if self._lead != NOBODY:
            self._lead, delivered = NOBODY, self.book
            self.book = Book()
            self.book.replace(delivered.bids(), delivered.asks())

    def _leads(self, epoch: int, run: _Run) -> int | None:
        """Let a session lead; return since when there was no proven book, if there was none."""
        since_ns = self._broken_since_ns
        blind_since_ns = self._blind_since_ns
        if blind_since_ns is not None:
            since_ns = blind_since_ns if since_ns is None else min(since_ns, blind_since_ns)
        self._lead, self._proven, self.book = epoch, True, run.book
        self._broken_since_ns = self._blind_since_ns = self._heirless_ns = None
        self.sources[epoch].joined = True
        return since_ns

    # -- asking -----------------------------------------------------------------------------

    def _want(self, epoch: int, run: _Run, cause: str, now_ns: int) -> None:
        """Have a session subscribe anew, unless it did so a moment ago; see `tick` for then.

        Until the snapshot comes, whatever the session brings is of the old subscription.
        """
        run.whole = False
        if run.asks and now_ns >= run.asked_ns + 2 * (run.due_ns - run.asked_ns):
            run.asks = 0
        if run.asks and now_ns < run.due_ns:
            return
        run.asked_ns = now_ns
        run.asks += 1
        self._ask(Need("resubscribe", self.spec.topic, epoch, cause))

    def _deliver(self, event: BookDelta | BookSnapshot) -> None:
        self.newest = event
        if isinstance(event, BookDelta) and not event.bids and not event.asks:
            self.duplicates += 1  # alive, or a checksum on its own: nothing has changed
            return
        self.delivered += 1
        self._emit(event)


def _gone(prices: list[float]) -> Levels:
    return [(price, 0.0) for price in prices]


def _image(origin: Origin, event_ns: int | None, book: Book, now: Moment) -> BookSnapshot:
    bids, asks = book.bids(), book.asks()
    return BookSnapshot(origin, now.recv_ns, now.mono_ns, event_ns, None, None, bids, asks)
