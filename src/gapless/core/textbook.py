"""A book that keeps the digits that the venue sent beside the numbers they mean."""

from __future__ import annotations

from gapless.core.book import Book
from gapless.core.checksum import Checksum, TextLevel
from gapless.events import BookDelta, BookSnapshot

__all__ = ["TextBook"]


class TextBook(Book):
    """Levels, and the texts of those that came with texts."""

    __slots__ = ("_ask_texts", "_bid_texts")

    def __init__(self) -> None:
        super().__init__()
        self._bid_texts: dict[float, TextLevel] = {}
        self._ask_texts: dict[float, TextLevel] = {}

    def take(self, event: BookDelta | BookSnapshot) -> None:
        """Apply a change, or become the snapshot; texts are taken where the event has them.

        A level that changes without a text loses the one it had.
        """
        if isinstance(event, BookSnapshot):
            self.replace(event.bids, event.asks)
            self._bid_texts.clear()
            self._ask_texts.clear()
        else:
            self.apply(event.bids, event.asks)
        texts = event.texts
        if texts is not None:
            _note(self._bid_texts, texts.bids)
            _note(self._ask_texts, texts.asks)
        elif self._bid_texts or self._ask_texts:
            _forget(self._bid_texts, [price for price, _ in event.bids])
            _forget(self._ask_texts, [price for price, _ in event.asks])

    def best_texts(self, depth: int | None = None) -> tuple[list[TextLevel], list[TextLevel]]:
        """Return the best ``depth`` bids and asks as sent, best first; all by default."""
        bids, asks = self._bid_texts, self._ask_texts
        return (
            [bids.get(price) or (repr(price), repr(size)) for price, size in self.bids(depth)],
            [asks.get(price) or (repr(price), repr(size)) for price, size in self.asks(depth)],
        )

    def agrees(self, checksum: Checksum, expected: int) -> bool:
        """Whether the book has the checksum that the venue sent."""
        return checksum.compute(*self.best_texts(checksum.depth)) == expected

    def cut(self, depth: int) -> tuple[list[float], list[float]]:
        """Drop the levels beyond the best ``depth`` of each side, as the venue does.

        Returns:
            The prices of the bids and of the asks that were dropped.
        """
        bids, asks = super().cut(depth)
        _forget(self._bid_texts, bids)
        _forget(self._ask_texts, asks)
        return bids, asks


def _note(known: dict[float, TextLevel], levels: list[TextLevel]) -> None:
    for level in levels:
        price = float(level[0])
        if float(level[1]):
            known[price] = level
        else:
            known.pop(price, None)


def _forget(known: dict[float, TextLevel], prices: list[float]) -> None:
    for price in prices:
        known.pop(price, None)
