"""Books that come whole in every message.

Nothing has to be proven but that the newest image is the newest: a book is readable while some
trusted session brings it.  It is built when somebody reads it, and not for every message.
"""

from __future__ import annotations

from collections.abc import Callable

from gapless.core.book import Book
from gapless.core.images import ImageStream
from gapless.core.stream import Moment, Need, TopicSpec, Trust
from gapless.errors import NotSynced
from gapless.events import BookSnapshot, Event

__all__ = ["BookImageStream"]


class BookImageStream(ImageStream):
    """Whole books, ordered by number or by the venue's time."""

    __slots__ = ("_book", "_built", "resyncs")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self.resyncs = 0
        self._book = Book()
        self._built: Event | None = None  # the image that the book shows

    def offer(self, event: Event) -> None:
        """Take one image from any source; what is not a whole book is dropped."""
        if isinstance(event, BookSnapshot):
            super().offer(event)
        else:
            self.dropped += 1

    @property
    def book(self) -> Book:
        """The newest image as a book, whether proven or not; see `proven`."""
        newest = self.newest
        if newest is not self._built and isinstance(newest, BookSnapshot):
            self._book.replace(newest.bids, newest.asks)
            self._built = newest
        return self._book

    @property
    def readable(self) -> bool:
        """Whether the book is proven now."""
        return self.newest is not None and not self.blind

    @property
    def trust(self) -> Trust:
        """The state to show, as far as this book's own continuity goes."""
        if self.newest is None and self.sources and not self.blind:
            return Trust.SYNCING
        return super().trust

    @property
    def because(self) -> str:
        """Why the book cannot be read now; empty while it can."""
        if self.blind:
            return f"no trusted connection ({self._cause})"
        if self.newest is None and self.sources:
            return "waiting for a snapshot"
        return super().because

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
        if not self.readable or not isinstance(newest, BookSnapshot):
            return None
        return BookSnapshot(
            newest.origin,
            now.recv_ns,
            now.mono_ns,
            newest.event_ns,
            newest.first,
            newest.last,
            newest.bids,
            newest.asks,
        )

    def rebuild(self, epoch: int, cause: str, now: Moment) -> None:
        """Do nothing: the next image is all there is to wait for."""
