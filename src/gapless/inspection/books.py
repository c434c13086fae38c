"""The books of a capture as they ended, in the venue's own digits."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from gapless.core.textbook import TextBook
from gapless.errors import printable
from gapless.events import BookDelta, BookSnapshot
from gapless.inspection.inspector import Inspector

__all__ = ["FinalBook", "Literal"]


class FinalBook(Struct):
    """One book.

    Attributes:
        state: See `gapless.inspection.report.BookFound`; one that broke is as it was last proven.
        bids, asks: Price and size as sent, best first.
        last: Number of the last message in it, or `None` where there are no numbers.
    """

    file: str
    topic: str
    symbol: str
    state: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    last: int | None


class Literal:
    """Keeps the digits of what the streams deliver.

    Args:
        inspector: One that was made with ``texts`` and ``tell``.
    """

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._books: dict[tuple[str, str], TextBook] = {}
        self._last: dict[tuple[str, str], int | None] = {}

    def take(self) -> None:
        """Take what was delivered since the last time."""
        inspector = self._inspector
        for event in inspector.delivered:
            if isinstance(event, BookDelta | BookSnapshot):
                topic = (event.origin.venue, event.origin.topic)
                book = self._books.get(topic)
                if book is None:
                    book = self._books[topic] = TextBook()
                book.take(event)
                depth = inspector.topics[topic].spec.depth
                if depth is not None:
                    book.cut(depth)
                self._last[topic] = event.last
        inspector.delivered.clear()
        inspector.needs.clear()

    def final(self, file: str) -> Iterator[FinalBook]:
        """Yield every book."""
        for key, topic in self._inspector.topics.items():
            if topic.book is None:
                continue
            bids, asks = self._books.get(key, TextBook()).best_texts()
            yield FinalBook(
                printable(file),
                printable(topic.spec.topic),
                printable(topic.spec.symbol),
                topic.state,
                bids,
                asks,
                self._last.get(key),
            )
