"""Books whose changes have no numbers: proven by a checksum, by the connection, or by nothing.

Changes without numbers are only worth something in an unbroken run: the snapshot that a session
began with, and everything that this session brought after it.  So each session keeps a book of
its own.  One of them leads and is delivered; when it fails, another that is whole takes over with
its book, and otherwise the next snapshot heals.

Where the venue sends checksums, they are computed over the leading book from the venue's own
digits.  One that fails breaks the book at once: `Gap`, a new subscription, snapshot, `Resynced`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gapless.core.book import Book
from gapless.core.stream import Moment, Need, Stream, TopicSpec, Trust, moment
from gapless.core.textbook import TextBook
from gapless.errors import NotSynced
from gapless.events import BookDelta, BookSnapshot, Event, Origin

__all__ = ["BookRunStream"]

ASK_AGAIN_NS: Final = 5_000_000_000
"""How long a snapshot may take to come before it is asked for again; doubles with every ask, to
sixteen times that."""


class _Run:
    """What one session has brought."""

    __slots__ = ("book", "failures", "whole")

    def __init__(self) -> None:
        self.book = TextBook()
        self.whole = False  # began with a snapshot, and nothing speaks against it since
        self.failures = 0  # checksums that failed in a row


class BookRunStream(Stream):
    """Unnumbered changes that a snapshot makes into a book, one run for each session.

    Attributes:
        resyncs: How often the book broke.
        checks, failed: Checksums compared, and those that did not agree.
    """

    __slots__ = (
        "_ask",
        "_asked_ns",
        "_asks",
        "_broken_since_ns",
        "_lead",
        "_runs",
        "checks",
        "failed",
        "resyncs",
    )

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self.resyncs = 0
        self.checks = 0
        self.failed = 0
        self._ask = ask
        self._asked_ns: int | None = None
        self._asks = 0
        self._runs: dict[int, _Run] = {}
        self._lead: int | None = None  # epoch of the session that is delivered
        self._broken_since_ns: int | None = None  # a gap is announced, a snapshot not yet here

    # -- the book ---------------------------------------------------------------------------

    @property
    def book(self) -> Book:
        """The leading book, whether proven or not; see `proven`."""
        run = self._leading()
        return Book() if run is None else run.book

    @property
    def readable(self) -> bool:
        """Whether the book is proven now."""
        run = self._leading()
        return run is not None and run.whole and not self.blind

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
        return self._image(newest.origin, newest.event_ns, self.book, now)

    def rebuild(self, epoch: int, cause: str, now: Moment) -> None:
        """Ask for a snapshot on session ``epoch``: something may have gone unread."""
        run = self._runs.get(epoch)
        if run is not None:
            run.whole = False
        self._want(epoch, cause, now.mono_ns)

    # -- messages ---------------------------------------------------------------------------

    def offer(self, event: Event) -> None:
        """Take one change or snapshot from any source."""
        epoch = event.origin.epoch
        run = self._runs.get(epoch)
        if run is None:
            run = self._runs[epoch] = _Run()
        if isinstance(event, BookSnapshot):
            self._begin(run, event)
        elif not isinstance(event, BookDelta) or not run.whole:
            self.dropped += 1  # a change before its snapshot says nothing
            self._trust_again(event)
        else:
            self._change(run, event)

    def tick(self, now: Moment) -> None:
        """Ask again for a snapshot that did not come."""
        if self.sources and not self.readable:
            if self._asked_ns is None:
                self._asked_ns = now.mono_ns
            elif now.mono_ns - self._asked_ns >= ASK_AGAIN_NS << min(self._asks, 4):
                self._want(max(self.sources), "no snapshot came", now.mono_ns)

    def _change(self, run: _Run, event: BookDelta) -> None:
        run.book.take(event)
        agrees = self._check(run, event)
        if event.origin.epoch != self._lead:
            self._trust_again(event)
            run.whole = agrees is not False
            self.duplicates += 1
        elif agrees is False:
            self._break(run, event, "the checksum failed")
        elif self._blind_since_ns is not None:
            self._speak_again(run, event, proven=agrees is True)
        elif event.bids or event.asks or event.texts is None:
            self._deliver(event)
        else:
            self.newest = event  # a checksum on its own changes nothing
            self.duplicates += 1

    def _speak_again(self, run: _Run, event: BookDelta, *, proven: bool) -> None:
        """Take the first change after a silence that was suspected."""
        blind_since_ns = self._blind_since_ns
        self._trust_again(event)
        if proven and blind_since_ns is not None:
            self._see_again(event)
            self._deliver(event)
            self._resynced(event, "checksum", blind_since_ns)
        else:
            self._break(run, event, self._cause)

    def _check(self, run: _Run, event: BookDelta | BookSnapshot) -> bool | None:
        """Compare the checksum; `None` if there is none, or one failure is not yet believed."""
        spec, texts = self.spec, event.texts
        if spec.depth is not None:
            run.book.cut(spec.depth)
        if spec.checksum is None or texts is None or texts.checksum is None:
            return None
        self.checks += 1
        if run.book.agrees(spec.checksum, texts.checksum):
            run.failures = 0
            return True
        self.failed += 1
        run.failures += 1
        return False if run.failures > spec.checksum.tolerated else None

    def _break(self, run: _Run, event: Event, cause: str) -> None:
        now = moment(event)
        self._gap(event.origin, now, None, None, cause)
        self._broken_since_ns = (
            now.mono_ns if self._blind_since_ns is None else self._blind_since_ns
        )
        self._see_again(event)
        run.whole = False
        self.resyncs += 1
        if not self._switch(now):
            self._want(event.origin.epoch, cause, now.mono_ns)

    # -- snapshots --------------------------------------------------------------------------

    def _begin(self, run: _Run, event: BookSnapshot) -> None:
        before = (run.book.bids(), run.book.asks()) if run.whole else None
        self._trust_again(event)
        run.book.take(event)
        run.whole = self._check(run, event) is not False
        epoch = event.origin.epoch
        leads = epoch == self._lead or not self.readable or self.blind
        if not run.whole:
            if epoch == self._lead and before is not None:
                self._break(run, event, "the checksum of a snapshot failed")
            else:
                self._want(epoch, "the checksum of a snapshot failed", event.mono_ns)
        elif not leads:
            self.duplicates += 1
        elif (
            epoch == self._lead and not self.blind and before == (run.book.bids(), run.book.asks())
        ):
            self.newest = event
            self.duplicates += 1  # the venue repeats what we have
        else:
            self._load(event, unannounced=before is not None and epoch == self._lead)

    def _load(self, event: BookSnapshot, *, unannounced: bool) -> None:
        """Let the snapshot be the book, and say how long there was none."""
        since_ns = self._broken_since_ns
        if self._blind_since_ns is not None:
            self._gap(event.origin, moment(event), None, None, self._cause)
            since_ns = self._blind_since_ns if since_ns is None else since_ns
        elif unannounced and since_ns is None:
            self._gap(event.origin, moment(event), None, None, "the venue sent a new snapshot")
            since_ns = event.mono_ns
        self._see_again(event)
        self._lead = event.origin.epoch
        self._broken_since_ns = None
        self._asked_ns, self._asks = None, 0
        self._deliver(event)
        if since_ns is not None:
            self._resynced(event, "snapshot", since_ns)

    def _switch(self, now: Moment) -> bool:
        """Let another session lead whose book is whole; return whether there is one."""
        newest = self.newest
        for epoch, source in sorted(self.sources.items(), reverse=True):
            run = self._runs.get(epoch)
            if run is None or not run.whole or not source.trusted or newest is None:
                continue
            event = self._image(source.origin, newest.event_ns, run.book, now)
            since_ns = self._broken_since_ns
            self._lead = epoch
            self._broken_since_ns = None
            self._asked_ns, self._asks = None, 0
            self._see_again(event)
            self._deliver(event)
            self._resynced(event, "line", now.mono_ns if since_ns is None else since_ns)
            return True
        return False

    # -- sources ----------------------------------------------------------------------------

    def _attached(self, origin: Origin, now: Moment) -> None:
        if not self.readable:
            self._asked_ns = now.mono_ns  # subscribing is asking

    def _carried(self) -> bool:
        return any(
            source.trusted and self._has_joined(source) and self._is_whole(epoch)
            for epoch, source in self.sources.items()
        )

    def _is_whole(self, epoch: int) -> bool:
        run = self._runs.get(epoch)
        return run is not None and run.whole

    def _fewer_sources(self) -> None:
        for epoch in [epoch for epoch in self._runs if epoch not in self.sources]:
            del self._runs[epoch]
        source = None if self._lead is None else self.sources.get(self._lead)
        if self._lead is not None and (source is None or not source.trusted) and not self.blind:
            newest = self.newest
            if newest is not None:
                self._switch(moment(newest))

    def _leading(self) -> _Run | None:
        return None if self._lead is None else self._runs.get(self._lead)

    def _want(self, epoch: int, cause: str, now_ns: int) -> None:
        if epoch not in self.sources and self.sources:
            epoch = max(self.sources)
        self._asked_ns = now_ns
        self._asks += 1
        self._ask(Need("resubscribe", self.spec.topic, epoch, cause))

    def _deliver(self, event: Event) -> None:
        self.newest = event
        self.delivered += 1
        self._emit(event)

    def _image(self, origin: Origin, event_ns: int | None, book: Book, now: Moment) -> BookSnapshot:
        return BookSnapshot(
            origin, now.recv_ns, now.mono_ns, event_ns, None, None, book.bids(), book.asks()
        )
