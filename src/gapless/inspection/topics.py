"""One topic of a capture: its numbers, its book, and when it spoke."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gapless.core.bookimages import BookImageStream
from gapless.core.bookruns import BookRunStream
from gapless.core.booksync import BookStream
from gapless.core.kinds import AnyBook, stream_for
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, Need, SnapshotFrom, Stream, TopicSpec
from gapless.core.textbook import TextBook
from gapless.events import BookDelta, BookSnapshot, Event, Origin, Trade
from gapless.inspection.numbers import BREAKS_MAX, Break, Leg, Verdict

__all__ = ["FAILURES_MAX", "Topic"]

FAILURES_MAX: Final = 1_000
"""Runs of failed checksums of one topic that are listed; more are only counted."""


class Topic:
    """What is known of one topic.

    Args:
        spec: What the venue's profile says of it.
        emit: Takes what its stream delivers.
        ask: Takes what its stream wants.

    Attributes:
        frames: Frames that brought it, from all connections.
        first_ns, last_ns: When the first and the newest came, monotonic; `None` if none did.
        silence_ns: Longest time between two frames of it.
        silence_frame: The frame that ended this silence.
        crossed: Frames after which the best bid was not below the best ask.
        crossed_frame: The first of them, or `None`.
        failures: First frame of each run of failed checksums, at most `FAILURES_MAX`.
        by_connection: Times that a hole in a connection's own numbers broke its book.
        refused: Whether the venue refused to send it.
    """

    __slots__ = (
        "_after",
        "_agreed",
        "_ask",
        "_broken_before",
        "_counted",
        "_emit",
        "_ended",
        "_legs",
        "_lost",
        "_past",
        "book",
        "by_connection",
        "crossed",
        "crossed_frame",
        "failures",
        "first_ns",
        "frames",
        "last_ns",
        "refused",
        "silence_frame",
        "silence_ns",
        "spec",
        "stream",
    )

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        self.spec = spec
        self.frames = 0
        self.first_ns: int | None = None
        self.last_ns = 0
        self.silence_ns = 0
        self.silence_frame = 0
        self.crossed = 0
        self.crossed_frame: int | None = None
        self.failures: list[int] = []
        self.by_connection = 0
        self.refused = False
        self._emit = emit
        self._ask = ask
        self._legs: list[Leg] = []
        self._past = Leg(spec.numbering, images=False, connection="")  # sums of closed legs
        self._broken_before = 0  # by streams that were let go
        self._ended = "syncing"  # the state when the last connection was closed
        self._lost = False  # a connection lost something, and no snapshot has come since
        self._agreed = True  # whether the last checksum did
        self._after = (0, 0)  # checksums compared after the book had broken, and those that failed
        self._counted = (0, 0)  # checksums that the stream has compared, and those that failed
        self._stream_is(stream_for(spec, emit, ask))

    def _stream_is(self, stream: Stream) -> None:
        self.stream: Stream = stream
        self.book: AnyBook | None = (
            stream if isinstance(stream, BookStream | BookRunStream | BookImageStream) else None
        )

    # -- connections ------------------------------------------------------------------------

    def join(self, origin: Origin, connection: str, now: Moment) -> Leg:
        """Note that a connection carries this topic; return where its numbers are followed."""
        images = self.spec.snapshot is SnapshotFrom.EVERY
        leg = Leg(self.spec.numbering, images=images, connection=connection)
        self._legs.append(leg)
        self.stream.attach(origin, now)
        return leg

    def leave(self, leg: Leg, epoch: int, now: Moment) -> None:
        """Note that a connection ended."""
        self._ended = self.state
        self._legs.remove(leg)
        add(self._past, leg)
        self.stream.detach(epoch, "the connection was closed", now)

    def distrust(self, origin: Origin, now: Moment) -> None:
        """Note that a connection lost something, and nobody knows what."""
        if self.book is not None:
            self.by_connection += 1
            self._lost = True
            self.stream.detach(origin.epoch, "numbers of the connection are missing", now)
            self.stream.attach(origin, now)

    def let_go(self, now: Moment) -> None:
        """Drop what waits for a snapshot: too much does, and none came."""
        old = self.stream
        if self.book is not None:
            self._broken_before += self.book.resyncs
        self._stream_is(stream_for(self.spec, self._emit, self._ask))
        for source in old.sources.values():
            self.stream.attach(source.origin, now)

    # -- messages ---------------------------------------------------------------------------

    def seen(self, frame: int, mono_ns: int) -> None:
        """Count a frame that brought this topic."""
        self.frames += 1
        if self.first_ns is None:
            self.first_ns = mono_ns
        elif mono_ns - self.last_ns > self.silence_ns:
            self.silence_ns = mono_ns - self.last_ns
            self.silence_frame = frame
        self.last_ns = mono_ns

    def compare(self, leg: Leg, event: Event, frame: int) -> Verdict:
        """Compare the numbers of a message that is not plainly the next one."""
        first, last = event.first, event.last
        verdict: Verdict = "none"
        if first is None or last is None:
            if leg.proves and self.book is not None:
                self._give_up_numbers(leg, event)
        elif leg.proves:
            greeting = isinstance(event, Trade) and event.backfilled
            if (isinstance(event, BookSnapshot) and not leg.images) or (
                greeting and last >= leg.expect
            ):
                verdict = leg.base(last, event.event_ns)
            elif not greeting:
                verdict = leg.follow(first, last, frame, event.event_ns)
        leg.frame = frame
        return verdict

    def _give_up_numbers(self, leg: Leg, event: Event) -> None:
        """Follow a dialect that does not number this topic, though today's documents say so."""
        if self.stream.arrived:
            return
        leg.proves = False
        moment = Moment(event.mono_ns, event.recv_ns)
        self.spec = replace(self.spec, numbering=Numbering.NONE)
        self._stream_is(stream_for(self.spec, self._emit, self._ask))
        self.stream.attach(event.origin, moment)

    def look(self, event: Event, frame: int) -> bool:
        """Look at the book once a message has been applied; return whether it is proven.

        Is it crossed, and do the checksums agree?
        """
        book = self.book
        if book is None:
            return True
        readable = book.readable
        if readable:
            self._lost = False
            if book.book.crossed:
                self.crossed += 1
                if self.crossed_frame is None:
                    self.crossed_frame = frame
        if self.spec.checksum is not None and isinstance(book, BookRunStream):
            self._note_checksum(book, event, frame)
        return readable

    def _note_checksum(self, book: BookRunStream, event: Event, frame: int) -> None:
        checks, failed = self._counted
        if book.checks > checks:
            agreed = book.failed == failed
        elif not book.readable and book.delivered and isinstance(event, BookDelta):
            agreed = self._check_on(book, event)
        else:
            agreed = self._agreed
        if self._agreed and not agreed and len(self.failures) < FAILURES_MAX:
            self.failures.append(frame)
        self._agreed = agreed
        self._counted = (book.checks, book.failed)

    def _check_on(self, book: BookRunStream, event: BookDelta) -> bool:
        """Go on comparing after a checksum failed.

        The stream waits for a snapshot, and for a reader that is the only way on.  Here it is
        worth knowing when the next message was lost.
        """
        levels, checksum, texts = book.book, self.spec.checksum, event.texts
        if not isinstance(levels, TextBook) or checksum is None or len(book.sources) != 1:
            return self._agreed
        levels.take(event)
        if self.spec.depth is not None:
            levels.cut(self.spec.depth)
        if texts is None or texts.checksum is None:
            return self._agreed
        agreed = levels.agrees(checksum, texts.checksum)
        checked, failed = self._after
        self._after = (checked + 1, failed + (not agreed))
        return agreed

    # -- what was found ---------------------------------------------------------------------

    def sums(self) -> Leg:
        """Return the numbers' findings over all connections; breaks in order of their frames."""
        total = Leg(self.spec.numbering, images=False, connection="")
        for leg in (self._past, *self._legs):
            add(total, leg)
        if not total.proves and not isinstance(self.stream, BookRunStream):
            # What shows without numbers, the stream has seen.
            total.duplicates += self.stream.duplicates
            total.out_of_order += self.stream.out_of_order
        total.breaks.sort(key=_frame)
        return total

    def checksums(self) -> tuple[int, int]:
        """Return how many checksums were compared, and how many failed."""
        book = self.book
        checked, failed = self._after
        if isinstance(book, BookRunStream):
            return book.checks + checked, book.failed + failed
        return checked, failed

    @property
    def broken(self) -> int:
        """How often the book broke."""
        if self.book is None:
            return 0
        return self.book.resyncs + self.by_connection + self._broken_before

    @property
    def state(self) -> str:
        """``synced``, ``broken``, or ``syncing`` while there is no whole book yet.

        A book whose last connection was closed is what it was then: nothing was lost that the
        capture could show.
        """
        book = self.book
        if book is None:
            return ""
        if book.readable:
            return "synced"
        if not book.sources:
            return self._ended
        if book.blind and not self._lost:
            return "syncing"  # a new connection, whose snapshot is not here yet
        return "broken" if self.broken or book.delivered else "syncing"


def add(total: Leg, leg: Leg) -> None:
    """Add what one leg found to a sum."""
    total.checked += leg.checked
    total.broken += leg.broken
    total.duplicates += leg.duplicates
    total.out_of_order += leg.out_of_order
    total.breaks = sorted((*total.breaks, *leg.breaks), key=_frame)[:BREAKS_MAX]


def _frame(found: Break) -> int:
    return found.frame
