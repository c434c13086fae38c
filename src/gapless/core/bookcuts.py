"""Books of a chain that two lines may cut at different places.

Each message of a chain names the one before, and leads from one state of the book to another.  Two
nodes of a venue may pass through different states: one sends 101 to 105 where the other sends 101
to 103 and 103 to 108.  Such messages cannot be merged.  But a number still names one state of the
book, whoever shows it.  So each source keeps a book of its own, if it has to.

As long as the lines cut alike, the first arrival wins, and nothing is kept twice.  A source stands
where the stream stood when its newest number was delivered, and the book of that moment can be had
from what was delivered lately: see `Trail`.  Where a line cuts elsewhere, it begins a book of its
own from there.  The line that brought the newest goes on, and what the other cuts elsewhere is left
out.  When the one that goes on is lost or falls behind, the other takes over: the exact difference
between what was delivered and its own book is one `BookDelta`, after `Resynced` by ``line``.
Nothing is missing, so there is no gap.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from gapless.core.book import Book
from gapless.core.booksync import BookStream
from gapless.core.lately import Lately
from gapless.core.stream import HOLD_NS, NEVER, Moment, Need, Source, TopicSpec, moment
from gapless.events import BookDelta, BookSnapshot, Event, Origin

__all__ = ["BookCutStream"]


class Trail(Lately):
    """What was delivered lately, and the book from which it leads to the one delivered now.

    Args:
        book: The book that was delivered; a copy is kept, which follows as messages are forgotten.
        number: Its number.
    """

    __slots__ = ("_book", "_number")

    def __init__(self, book: Book, number: int) -> None:
        super().__init__()
        self._book = Book()
        self._book.replace(book.bids(), book.asks())
        self._number = number

    def _turn(self, now_ns: int) -> None:
        for event in self._elder.values():
            if isinstance(event, BookDelta) and event.last is not None:
                self._book.apply(event.bids, event.asks)
                self._number = event.last
        super()._turn(now_ns)

    def place_of(self, epoch: int, number: int) -> int | None:
        """Return the newest number that a source has brought; `None` if that was too long ago.

        Args:
            epoch: The source.
            number: The newest of those that another had brought before.
        """
        for event in chain(reversed(self._younger.values()), reversed(self._elder.values())):
            if event.origin.epoch == epoch or event.last == number:
                return event.last
        return self._number if number == self._number else None

    def book_at(self, number: int) -> Book:
        """Return the book as of a number that was delivered lately."""
        book = Book()
        book.replace(self._book.bids(), self._book.asks())
        if number != self._number:
            for event in self:
                if isinstance(event, BookDelta):
                    book.apply(event.bids, event.asks)
                if event.last == number:
                    break
        return book


class _Cut:
    """The own book of a source that cuts elsewhere, or that has just begun.

    Attributes:
        whole: Whether it is the venue's book after the source's newest message.
        base: The number from which on the source has brought everything.
        next: The number after its newest message.
        newest_ns: The venue's time of that message, if it says.
        seen_ns: When it came, monotonic.
    """

    __slots__ = ("base", "book", "newest_ns", "next", "seen_ns", "whole")

    def __init__(self, book: Book, number: int) -> None:
        self.book = book
        self.whole = number != NEVER
        self.base, self.next = number, number + 1
        self.newest_ns: int | None = None
        self.seen_ns = 0

    def take(self, event: Event) -> None:
        """Follow the source's own chain.  One that leads back is not followed."""
        first, last = event.first, event.last
        if isinstance(event, BookSnapshot) and last is not None:
            if self.whole and last == self.next - 1:
                return
            self.book.replace(event.bids, event.asks)
            self.base, self.next, self.whole = last, last + 1, True
        elif not self.whole:
            return
        elif not isinstance(event, BookDelta) or first is None or last is None:
            self.whole = False
        elif first == self.next <= last + 1:
            self.book.apply(event.bids, event.asks)
            self.next = last + 1
        elif first == self.next or max(last, first - 1) >= self.next:
            self.whole = False
        else:
            return  # it repeats itself
        self.newest_ns, self.seen_ns = event.event_ns, event.mono_ns


class BookCutStream(BookStream):
    """Deltas on a chain, with snapshots in the stream, from lines that may cut it differently.

    Attributes:
        switches: How often another line took over with the difference.
    """

    __slots__ = ("_cuts", "switches")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._cuts: dict[int, _Cut] = {}  # of sources that are not where the stream was
        self.switches = 0

    @property
    def arrived(self) -> int:
        """How many messages have come; the differences were made here."""
        return super().arrived - self.switches

    def detach(self, epoch: int, cause: str, now: Moment, covered_ns: int | None = None) -> None:
        """Note that a session no longer carries this topic; see `Stream.detach`."""
        self._cuts.pop(epoch, None)
        trail = self._lately
        if len(self.sources) == 2 and isinstance(trail, Trail):  # what is left may be behind
            for other in self.sources:
                if other != epoch:
                    self._part(other, trail)
        super().detach(epoch, cause, now, covered_ns)

    def tick(self, now: Moment) -> None:
        """Let a line take over that has been ahead for longer than anything is held."""
        super().tick(now)
        cuts = self._cuts
        if not cuts or not self.synced:
            return
        self._leave_fast_path()
        expected = self._next
        if len(self.sources) < 2 and all(c.next == expected or not c.whole for c in cuts.values()):
            cuts.clear()  # the one that is left carries on by itself
        else:
            epoch = self._heir(expected)
            if epoch is not None and now.mono_ns >= cuts[epoch].seen_ns + HOLD_NS:
                self._switch(epoch, now)
        self._resume_fast_path()

    # -- own books --------------------------------------------------------------------------

    def _add(self, origin: Origin, now: Moment) -> Source:
        source = super()._add(origin, now)
        if len(self.sources) > 1 and not isinstance(self._lately, Trail):
            self._begin_trail()
        return source

    def _begin_trail(self) -> None:
        """Begin with the book that is delivered now, if there is one and several sources."""
        number = self._next if self._expect == NEVER else self._expect
        if self._lately is not None and self.synced and number is not None:
            self._lately = Trail(self.book, number - 1)
            newest = self.newest
            for epoch, source in self.sources.items():
                brought = newest is not None and newest.origin.epoch == epoch
                source.number = number - 1 if brought else NEVER

    def _unusual(self, event: Event) -> None:
        self._own(event)
        super()._unusual(event)
        source = self.sources.get(event.origin.epoch)
        if source is None or event.last is None:
            return
        self._own(event)  # its source may have become known only now
        newest = self.newest
        if newest is not None and (newest.first, newest.last) == (event.first, event.last):
            self._cuts.pop(event.origin.epoch, None)  # it is where the stream is
            source.number = event.last

    def _own(self, event: Event) -> None:
        """Follow a source that is not where the stream was; a second time changes nothing."""
        epoch, trail = event.origin.epoch, self._lately
        cut = self._cut_of(epoch)
        if cut is None:
            if trail is None or epoch not in self.sources or self._is_known(event, trail):
                return
            if isinstance(trail, Trail):
                cut = self._part(epoch, trail)
            if cut is None:  # too far behind, until it repeats something newer
                cut = self._cuts[epoch] = _Cut(Book(), NEVER)
                cut.next = max(self.sources[epoch].number, event.last or 0) + 1
        cut.take(event)

    def _cut_of(self, epoch: int) -> _Cut | None:
        """Return the own book of a source, unless it has met the stream again meanwhile."""
        cut = self._cuts.get(epoch)
        if cut is not None and self.sources[epoch].number >= cut.next:
            del self._cuts[epoch]
            return None
        return cut

    def _is_known(self, event: Event, trail: Lately) -> bool:
        """Whether a message is next, or was delivered just like that."""
        expected = self._next if self._expect == NEVER else self._expect
        if isinstance(event, BookSnapshot):
            return False
        if event.first is None or event.last is None or event.last < event.first:
            return True
        twin = trail.find(event.last)
        return event.first == expected or (twin is not None and twin.first == event.first)

    def _part(self, epoch: int, trail: Trail) -> _Cut | None:
        """Begin the own book of a source where it stands, if that is known."""
        cut = self._cut_of(epoch)
        if cut is None:
            place = trail.place_of(epoch, self.sources[epoch].number)
            if place is not None:
                cut = self._cuts[epoch] = _Cut(trail.book_at(place), place)
        return cut

    def _void(self, but: int | None = None) -> None:
        """Believe no line's own book any more, except that of session ``but``."""
        for epoch, source in self.sources.items():
            if epoch != but:
                self._cuts[epoch] = _Cut(Book(), NEVER)
                source.number = NEVER

    def _deliver(self, event: Event) -> None:
        back = event.first is not None and event.last is not None and event.last < event.first - 1
        if back and isinstance(event, BookDelta):
            self._void()  # the numbers of those that are behind mean other states
        super()._deliver(event)
        if back:
            self._begin_trail()

    def _load(self, event: BookSnapshot) -> None:
        if event.last is not None and self._next is not None and event.last < self._next - 1:
            self._void(event.origin.epoch)
        else:
            self._part_all()
        super()._load(event)
        self._begin_trail()

    def _lose(self, event: Event, cause: str) -> None:
        self._void()
        super()._lose(event, cause)

    def _part_all(self) -> None:
        """Begin the own books of all sources, before the trail begins anew."""
        trail = self._lately
        if isinstance(trail, Trail) and self.synced:
            for epoch in self.sources:
                self._part(epoch, trail)

    # -- taking over ------------------------------------------------------------------------

    def _fewer_sources(self) -> None:
        super()._fewer_sources()
        newest = self.newest
        lead = None if newest is None else self.sources.get(newest.origin.epoch)
        if not self.synced or (lead is not None and lead.trusted):
            return
        self._leave_fast_path()
        epoch = self._heir(self._next)
        if epoch is not None:
            cut = self._cuts[epoch]
            wall_ns = 0 if newest is None else newest.recv_ns - newest.mono_ns
            self._switch(epoch, Moment(cut.seen_ns, cut.seen_ns + wall_ns))
        self._resume_fast_path()

    def _break(self, head: Event, expected: int, first: int) -> None:
        epoch = self._heir(expected)
        if epoch is None:
            super()._break(head, expected, first)
            return
        self._switch(epoch, moment(head))
        if head.last is not None and self._next is not None and head.last < self._next:
            self.duplicates += 1
        else:
            self._take(head)

    def _heir(self, expected: int | None) -> int | None:
        """Return whose own book is whole and ahead of what was delivered, if one is.

        It must have brought everything since, so that its book leaves nothing out.
        """
        if expected is None:
            return None
        heirs = [
            (cut.next, epoch)
            for epoch, cut in self._cuts.items()
            if cut.whole and cut.base < expected < cut.next and self._is_trusted(epoch)
        ]
        return max(heirs)[1] if heirs else None

    def _is_trusted(self, epoch: int) -> bool:
        source = self.sources.get(epoch)
        return source is not None and source.trusted

    def _switch(self, epoch: int, now: Moment) -> None:
        """Deliver the difference between what was delivered and another line's own book."""
        self._part_all()
        cut, origin, expected = self._cuts[epoch], self.sources[epoch].origin, self._next
        bids, asks = self.book.difference(cut.book)
        last, since_ns = cut.next - 1, self._blind_since_ns
        event = BookDelta(
            origin, now.recv_ns, now.mono_ns, cut.newest_ns, expected, last, bids, asks
        )
        self.switches += 1
        self._resynced(event, "line", now.mono_ns if since_ns is None else since_ns)
        self._see_again(event)
        self._deliver(event)
        self._begin_trail()  # no line has sent this message, so none is held against it
        del self._cuts[epoch]
