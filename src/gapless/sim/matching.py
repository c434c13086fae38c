"""A price-time matching engine for one symbol.

Orders at a better price trade first; at one price, the older order does.  Prices are ticks,
sizes are lots, both positive integers.  Every change of a price level gets the next number of
the symbol, without holes, and so does every trade; that is what venues derive their sequence
numbers from.  A book is never crossed: an order that would cross trades first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Literal

from msgspec import Struct

__all__ = ["ASK", "BID", "LevelChange", "MatchingBook", "Side", "TradePrint"]

Side = Literal[0, 1]
BID: Literal[0] = 0
ASK: Literal[1] = 1


class LevelChange(Struct, frozen=True, gc=False):
    """One price level changed.

    Attributes:
        symbol: Name of the symbol.
        side: `BID` or `ASK`.
        price: In ticks.
        size: What rests there now, in lots; 0 if the level is gone.
        old: What rested there before, in lots; 0 if the level is new.
        number: Number of this change; one more than the change before it in this symbol.
    """

    symbol: str
    side: Side
    price: int
    size: int
    old: int
    number: int


class TradePrint(Struct, frozen=True, gc=False):
    """One match between a taker and a resting order.

    Attributes:
        symbol: Name of the symbol.
        id: Number of the trade; one more than the trade before it in this symbol.
        price: In ticks; the price of the resting order.
        size: In lots.
        taker_side: `BID` if the taker bought.
        maker: Order number of the resting order.
    """

    symbol: str
    id: int
    price: int
    size: int
    taker_side: Side
    maker: int


class _Level:
    """Orders at one price, oldest first: order number -> lots left."""

    __slots__ = ("orders", "total")

    def __init__(self) -> None:
        self.orders: dict[int, int] = {}
        self.total = 0


class _Half:
    """One side of a book.

    Attributes:
        prices: Prices with orders, ascending.
        levels: The same prices with their orders.
        ids: Numbers of all resting orders in no particular order, for drawing one at random.
    """

    __slots__ = ("_slots", "ids", "levels", "prices")

    def __init__(self) -> None:
        self.prices: list[int] = []
        self.levels: dict[int, _Level] = {}
        self.ids: list[int] = []
        self._slots: dict[int, int] = {}

    def enlist(self, order: int) -> None:
        self._slots[order] = len(self.ids)
        self.ids.append(order)

    def strike(self, order: int) -> None:
        # Swap with the last, so that drawing and removing stay O(1).
        slot = self._slots.pop(order)
        last = self.ids.pop()
        if last != order:
            self.ids[slot] = last
            self._slots[last] = slot

    def drop_price(self, price: int) -> None:
        del self.levels[price]
        del self.prices[bisect_left(self.prices, price)]


class MatchingBook:
    """Resting orders of one symbol.

    Attributes:
        symbol: Name of the symbol.
        number: Number of the last level change.
        trade_id: Number of the last trade.
    """

    __slots__ = ("_halves", "_next_order", "_where", "number", "symbol", "trade_id")

    def __init__(self, symbol: str, *, number: int = 0, trade_id: int = 0) -> None:
        self.symbol = symbol
        self.number = number
        self.trade_id = trade_id
        self._halves = (_Half(), _Half())
        self._where: dict[int, tuple[Side, int]] = {}
        self._next_order = 1

    def best(self, side: Side) -> int | None:
        """Return the best price of ``side`` in ticks, or `None` if the side is empty."""
        prices = self._halves[side].prices
        if not prices:
            return None
        return prices[-1] if side == BID else prices[0]

    def top(self, side: Side) -> tuple[int, int]:
        """Return the best price and the size there; ``(0, 0)`` if the side is empty."""
        price = self.best(side)
        return (0, 0) if price is None else (price, self._halves[side].levels[price].total)

    def size_at(self, side: Side, price: int) -> int:
        """Return what rests at ``price``, in lots."""
        level = self._halves[side].levels.get(price)
        return 0 if level is None else level.total

    def depth(self, side: Side) -> int:
        """Return the number of price levels."""
        return len(self._halves[side].prices)

    def levels(self, side: Side, limit: int | None = None) -> list[tuple[int, int]]:
        """Return ``(price, size)`` from the best price outwards, ``limit`` levels at most."""
        half = self._halves[side]
        if side == BID:
            count = len(half.prices) if limit is None else min(limit, len(half.prices))
            prices = half.prices[: -count - 1 : -1] if count else []
        else:
            prices = half.prices[:limit]
        levels = half.levels
        return [(price, levels[price].total) for price in prices]

    def orders_at(self, side: Side, price: int) -> list[tuple[int, int]]:
        """Return ``(order number, lots left)`` at ``price``, first in line first."""
        level = self._halves[side].levels.get(price)
        return [] if level is None else list(level.orders.items())

    def order_ids(self, side: Side) -> list[int]:
        """Return the live list of resting order numbers of ``side``; do not change it."""
        return self._halves[side].ids

    def where(self, order: int) -> tuple[Side, int]:
        """Return side and price of a resting order; `KeyError` if it does not rest."""
        return self._where[order]

    def limit(
        self, side: Side, price: int, size: int
    ) -> tuple[int, list[LevelChange], list[TradePrint]]:
        """Enter a limit order: it trades up to its price, and what is left rests.

        Returns:
            The order's number, the level changes and the trades, in the order they happened.

        Raises:
            ValueError: ``price`` or ``size`` is not positive.
        """
        if price <= 0 or size <= 0:
            raise ValueError(f"an order needs a positive price and size, not {price} and {size}")
        order = self._next_order
        self._next_order += 1
        best = self.best(ASK if side == BID else BID)
        if best is not None and (best <= price if side == BID else best >= price):
            left, changes, trades = self._take(side, size, price)
            if left:
                changes.append(self._rest(order, side, price, left))
            return order, changes, trades
        return order, [self._rest(order, side, price, size)], []

    def market(self, side: Side, size: int) -> tuple[int, list[LevelChange], list[TradePrint]]:
        """Enter a market order; what the book cannot fill is cancelled.

        Returns:
            Lots left unfilled, the level changes and the trades.
        """
        if size <= 0:
            raise ValueError(f"an order needs a positive size, not {size}")
        self._next_order += 1
        return self._take(side, size, None)

    def cancel(self, order: int) -> LevelChange:
        """Remove a resting order; `KeyError` if it does not rest."""
        side, price = self._where.pop(order)
        half = self._halves[side]
        level = half.levels[price]
        old = level.total
        level.total = old - level.orders.pop(order)
        half.strike(order)
        if not level.total:
            half.drop_price(price)
        return self._change(side, price, level.total, old)

    def _rest(self, order: int, side: Side, price: int, size: int) -> LevelChange:
        half = self._halves[side]
        level = half.levels.get(price)
        if level is None:
            level = half.levels[price] = _Level()
            insort(half.prices, price)
        old = level.total
        level.orders[order] = size
        level.total = old + size
        half.enlist(order)
        self._where[order] = (side, price)
        return self._change(side, price, level.total, old)

    def _take(
        self, side: Side, size: int, worst: int | None
    ) -> tuple[int, list[LevelChange], list[TradePrint]]:
        """Trade against the other side up to the price ``worst``; return what is left."""
        changes: list[LevelChange] = []
        trades: list[TradePrint] = []
        other: Side = ASK if side == BID else BID
        half = self._halves[other]
        while size:
            price = self.best(other)
            if price is None:
                break
            if worst is not None and (price > worst if side == BID else price < worst):
                break
            level = half.levels[price]
            old = level.total
            while size and level.orders:
                maker = next(iter(level.orders))
                resting = level.orders[maker]
                fill = min(size, resting)
                size -= fill
                level.total -= fill
                self.trade_id += 1
                trades.append(TradePrint(self.symbol, self.trade_id, price, fill, side, maker))
                if fill == resting:
                    del level.orders[maker]
                    del self._where[maker]
                    half.strike(maker)
                else:
                    level.orders[maker] = resting - fill
            if not level.total:
                half.drop_price(price)
            changes.append(self._change(other, price, level.total, old))
        return size, changes, trades

    def _change(self, side: Side, price: int, size: int, old: int) -> LevelChange:
        self.number += 1
        return LevelChange(self.symbol, side, price, size, old, self.number)
