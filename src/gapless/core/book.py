"""Price levels of one instrument: apply, top, depth.

A dict holds sizes and a sorted list the prices of each side.  For a few hundred levels this
is faster in pure Python than any tree: a change of size touches the dict alone, and a new
price costs one binary search and one short memory move.

The book itself knows nothing of trust.  Who may read it is decided by the stream that owns
it (`gapless.core.booksync`).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from gapless.events import Levels

__all__ = ["Book"]


class Book:
    """Bids and asks.  Prices and sizes are floats; a size of 0 removes its level."""

    __slots__ = ("_ask_prices", "_asks", "_bid_prices", "_bids")

    def __init__(self) -> None:
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._bid_prices: list[float] = []  # rising: the best bid is last
        self._ask_prices: list[float] = []  # rising: the best ask is first

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Forget everything and take these levels; of a price that is repeated, the last."""
        self._bids = {price: size for price, size in dict(bids).items() if size}
        self._asks = {price: size for price, size in dict(asks).items() if size}
        self._bid_prices = sorted(self._bids)
        self._ask_prices = sorted(self._asks)

    def apply(self, bids: Levels, asks: Levels) -> None:
        """Set these levels.  Removing a level that is not there is normal and ignored."""
        if bids:
            _set(self._bids, self._bid_prices, bids)
        if asks:
            _set(self._asks, self._ask_prices, asks)

    def bids(self, depth: int | None = None) -> Levels:
        """Return the best ``depth`` bids, best first; all of them by default."""
        prices = self._bid_prices if depth is None else self._bid_prices[-depth:] if depth else []
        return [(price, self._bids[price]) for price in reversed(prices)]

    def asks(self, depth: int | None = None) -> Levels:
        """Return the best ``depth`` asks, best first; all of them by default."""
        return [(price, self._asks[price]) for price in self._ask_prices[:depth]]

    @property
    def best_bid(self) -> tuple[float, float] | None:
        """Return price and size of the best bid, or `None` on an empty side."""
        if not self._bid_prices:
            return None
        price = self._bid_prices[-1]
        return price, self._bids[price]

    @property
    def best_ask(self) -> tuple[float, float] | None:
        """Return price and size of the best ask, or `None` on an empty side."""
        if not self._ask_prices:
            return None
        price = self._ask_prices[0]
        return price, self._asks[price]

    def cut(self, depth: int) -> tuple[list[float], list[float]]:
        """Drop the levels beyond the best ``depth`` (at least 1) of each side.

        Returns:
            The prices of the bids and of the asks that were dropped.
        """
        bids, asks = self._bid_prices[:-depth], self._ask_prices[depth:]
        for price in bids:
            del self._bids[price]
        for price in asks:
            del self._asks[price]
        if bids:
            del self._bid_prices[:-depth]
        if asks:
            del self._ask_prices[depth:]
        return bids, asks

    def difference(self, other: Book) -> tuple[Levels, Levels]:
        """Return the bids and the asks that have to be set to make this book the ``other``."""
        return _difference(self._bids, other._bids), _difference(self._asks, other._asks)

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bid, ask = self._bid_prices, self._ask_prices
        return bool(bid and ask) and bid[-1] >= ask[0]

    def __len__(self) -> int:
        return len(self._bids) + len(self._asks)


def _set(
    sizes: dict[float, float], prices: list[float], levels: Iterable[tuple[float, float]]
) -> None:
    for price, size in levels:
        if size:
            if price not in sizes:
                insort(prices, price)
            sizes[price] = size
        elif sizes.pop(price, None) is not None:
            del prices[bisect_left(prices, price)]


def _difference(old: dict[float, float], new: dict[float, float]) -> Levels:
    gone = [(price, 0.0) for price in old if price not in new]
    return gone + [(price, size) for price, size in new.items() if old.get(price) != size]
