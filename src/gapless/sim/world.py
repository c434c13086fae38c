"""A small market that never stops: seeded order flow into real matching engines.

Orders arrive as a Poisson process.  Each one is a limit order near the top, a cancel, or a
market order, chosen so that a side keeps between 50 and 200 price levels and prices wander
without running away.  The world knows no venue: it counts ticks, lots and numbers, and
dialects turn its steps into messages.

One seed gives one history, whatever anybody watches.  The world has no clock: it is told how
far to go.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gapless.sim.matching import ASK, BID, LevelChange, MatchingBook, Side, TradePrint

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BookView", "Market", "Step", "SymbolSpec", "World"]

_SECOND: Final = 1_000_000_000
_STEPS_PER_EVENT: Final = 0.948  # measured: a step changes 1.055 levels on average
_TRADES_KEPT: Final = 10_000
_CHANGES_KEPT: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSpec:
    """What is traded, and in which steps.

    Attributes:
        name: The venue's name of the symbol.
        tick: Smallest price step, as decimal text.
        lot: Smallest size step, as decimal text.
        mid_ticks: Price that the market starts at and is drawn back to.
        typical_lots: Mean size of an order.
        spread_ticks: Mean distance of new orders from the opposite best price.
        weight: Share of the order flow, relative to the other symbols; 0 never moves.
        base: Currency that is traded.
        quote: Currency it is priced in.
        levels: Price levels that a side starts with; it keeps between half of them and twice.
    """

    name: str
    tick: str
    lot: str
    mid_ticks: int
    typical_lots: int = 50
    spread_ticks: int = 60
    weight: float = 1.0
    base: str = ""
    quote: str = ""
    levels: int = 100


class Step(Struct, frozen=True, gc=False):
    """What one order did.

    Attributes:
        ns: When, Unix time in nanoseconds; strictly increasing over the world.
        index: Which market.
        serial: Number of the step over all markets: increasing, with holes.
        previous: Serial of the step before it in the same market.
        changes: Level changes, in order; never empty.
        trades: Trades, in order.
        first_trade: Number of the first trade over all markets; the others follow it.
    """

    ns: int
    index: int
    serial: int
    previous: int
    changes: list[LevelChange]
    trades: list[TradePrint]
    first_trade: int


class BookView(Struct, frozen=True, gc=False):
    """A book as of one moment, best prices first, in ticks and lots.

    Attributes:
        number: Number of the last level change in it.
        serial: Serial of the last step in it.
        ns: When that step happened.
    """

    number: int
    serial: int
    ns: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Market:
    """One symbol: its book, its recent past, and running statistics.

    Attributes:
        spec: What is traded.
        index: Position in the world.
        book: The matching engine.
        serial: Serial of the last step.
        changed_ns: When the last step happened.
        trades: Recent trades as ``(ns, number over all markets, trade)``, oldest first.
        last, open, high, low: Prices of trades in ticks, since the start.
        lots: Lots traded since the start.
        notional: Ticks times lots traded since the start.
        trade_count: Trades since the start.
        groups: Number of the last group of trades; a group is what one taker got at one price.
    """

    def __init__(self, spec: SymbolSpec, index: int, rng: random.Random, serial: int) -> None:
        self.spec = spec
        self.index = index
        self.serial = serial
        self.changed_ns = 0
        self.book = MatchingBook(
            spec.name,
            number=rng.randrange(10**9, 5 * 10**10),
            trade_id=rng.randrange(10**7, 4 * 10**8),
        )
        self.trades: deque[tuple[int, int, TradePrint]] = deque(maxlen=_TRADES_KEPT)
        self.last = self.open = self.high = self.low = spec.mid_ticks
        self.last_lots = 0
        self.lots = 0
        self.notional = 0
        self.trade_count = 0
        self.groups = self.book.trade_id // 2
        # (ns, serial before, ns before, change), oldest first: what it takes to look back.
        self._past: deque[tuple[int, int, int, LevelChange]] = deque(maxlen=_CHANGES_KEPT)
        self._seed_book(rng)

    def _seed_book(self, rng: random.Random) -> None:
        spec = self.spec
        for side, outward in ((BID, -1), (ASK, 1)):
            price = spec.mid_ticks
            for _ in range(spec.levels):
                price += outward * (1 + int(rng.expovariate(1) * spec.spread_ticks / 60))
                for _ in range(rng.randint(1, 3)):
                    self.book.limit(
                        side, max(price, 1), 1 + int(rng.expovariate(1 / spec.typical_lots))
                    )

    def apply(self, step: Step, history_ns: int) -> None:
        """Note what ``step`` did, and forget what is older than ``history_ns`` before it."""
        past = self._past
        for change in step.changes:
            past.append((step.ns, self.serial, self.changed_ns, change))
        while past[0][0] < step.ns - history_ns:
            past.popleft()
        self.serial = step.serial
        self.changed_ns = step.ns
        number = step.first_trade
        price = 0
        for trade in step.trades:
            if trade.price != price:
                price = trade.price
                self.groups += 1
            self.trades.append((step.ns, number, trade))
            number += 1
            if not self.trade_count:
                self.open = self.high = self.low = trade.price
            self.trade_count += 1
            self.last = trade.price
            self.last_lots = trade.size
            self.high = max(self.high, trade.price)
            self.low = min(self.low, trade.price)
            self.lots += trade.size
            self.notional += trade.size * trade.price

    def view(self, limit: int | None = None) -> BookView:
        """Return the book as it is now, ``limit`` levels a side at most."""
        book = self.book
        return BookView(
            book.number,
            self.serial,
            self.changed_ns,
            book.levels(BID, limit),
            book.levels(ASK, limit),
        )

    def view_at(self, ns: int, limit: int | None = None) -> BookView:
        """Return the book as it was at ``ns``, or as early as the kept history reaches."""
        if not self._past or self._past[-1][0] <= ns:
            return self.view(limit)
        sides = (dict(self.book.levels(BID)), dict(self.book.levels(ASK)))
        number, serial, changed_ns = self.book.number, self.serial, self.changed_ns
        for at_ns, before_serial, before_ns, change in reversed(self._past):
            if at_ns <= ns:
                break
            if change.old:
                sides[change.side][change.price] = change.old
            else:
                del sides[change.side][change.price]
            number, serial, changed_ns = change.number - 1, before_serial, before_ns
        bids = sorted(sides[BID].items(), reverse=True)[:limit]
        asks = sorted(sides[ASK].items())[:limit]
        return BookView(number, serial, changed_ns, bids, asks)


class World:
    """Markets and the order flow into them.

    Attributes:
        markets: One for each symbol, in the order given.
        by_name: The same by name.
        next_ns: When the next step is due, Unix ns; 0 until the world has been started.
        held: Indices of markets that are halted: orders into them are turned away.
    """

    def __init__(
        self,
        symbols: Sequence[SymbolSpec],
        rate_per_s: float = 50.0,
        seed: int = 0,
        *,
        history_ms: int = 30_000,
    ) -> None:
        """Create markets with full books.

        Args:
            symbols: What is traded; at least one.
            rate_per_s: Level changes a second over all symbols together; 0 freezes the world.
            seed: Decides everything that will happen.
            history_ms: How far back `Market.view_at` can look.

        Raises:
            ValueError: No symbols, a repeated name, or a negative rate.
        """
        names = [spec.name for spec in symbols]
        if not names or len(set(names)) != len(names):
            raise ValueError("a world needs symbols, each of them once")
        if rate_per_s < 0:
            raise ValueError(f"a rate cannot be negative: {rate_per_s}")
        self._rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self._serial = self._rng.randrange(10**10, 10**11)
        self._trade = self._rng.randrange(10**8, 4 * 10**8)
        self._history_ns = history_ms * 1_000_000
        self.markets = [
            Market(spec, index, self._rng, self._serial) for index, spec in enumerate(symbols)
        ]
        self.by_name = {market.spec.name: market for market in self.markets}
        self._shares = list(accumulate(spec.weight for spec in symbols))
        self._steps_per_ns = rate_per_s * _STEPS_PER_EVENT / _SECOND
        self._frozen = rate_per_s == 0 or self._shares[-1] <= 0
        self.next_ns = 0
        self.held: set[int] = set()

    def start(self, now_ns: int) -> None:
        """Let time begin at ``now_ns``; later calls change nothing."""
        if self.next_ns:
            return
        for market in self.markets:
            market.changed_ns = now_ns
        if self._frozen:
            self.next_ns = 2**63 - 1
        else:
            self.next_ns = now_ns + 1 + int(self._rng.expovariate(self._steps_per_ns))

    def advance(self, now_ns: int) -> list[Step]:
        """Do everything that is due up to and including ``now_ns``."""
        self.start(now_ns)
        steps = []
        while self.next_ns <= now_ns:
            step = self.step()
            if step is not None:
                steps.append(step)
        return steps

    def step(self) -> Step | None:
        """Do what is due next, at `next_ns`; `None` if the market is halted."""
        rng = self._rng
        ns = self.next_ns
        self.next_ns = ns + 1 + int(rng.expovariate(self._steps_per_ns))
        shares = self._shares
        index = bisect_right(shares, rng.random() * shares[-1]) if len(shares) > 1 else 0
        if index in self.held:
            return None
        market = self.markets[index]
        changes, trades = self._order(market)
        self._serial += 1 + int(rng.random() * 4)
        step = Step(ns, index, self._serial, market.serial, changes, trades, self._trade + 1)
        self._trade += len(trades)
        market.apply(step, self._history_ns)
        return step

    def _order(self, market: Market) -> tuple[list[LevelChange], list[TradePrint]]:
        """Let one trader act on ``market``."""
        draw = self._rng.random
        book = market.book
        side: Side = BID if draw() < 0.5 else ASK
        depth = book.depth(side)
        if draw() < 0.1:
            return self._aggress(market)
        # Drawn back to the starting depth from both sides, and never outside the bounds.
        levels = market.spec.levels
        place = draw() < 0.5 + 0.4 * (levels - depth) / levels
        if depth >= levels * 2 or (not place and depth > levels // 2):
            ids = book.order_ids(side)
            return [book.cancel(ids[int(draw() * len(ids))])], []
        spec = market.spec
        size = 1 + int(self._rng.expovariate(1 / spec.typical_lots))
        away = 1 + int(self._rng.expovariate(1 / spec.spread_ticks))
        if side == BID:
            price = (book.best(ASK) or spec.mid_ticks) - away
        else:
            price = (book.best(BID) or spec.mid_ticks) + away
        return book.limit(side, max(price, 1), size)[1:]

    def _aggress(self, market: Market) -> tuple[list[LevelChange], list[TradePrint]]:
        """Let one trader take: at the market, or by a limit order that crosses."""
        rng = self._rng
        book = market.book
        spec = market.spec
        # Takers lean against the distance from the starting price, so that it cannot run away.
        strayed = (market.last - spec.mid_ticks) / (spec.mid_ticks * 0.02)
        side: Side = BID if rng.random() < min(max(0.5 - 0.5 * strayed, 0.05), 0.95) else ASK
        other: Side = ASK if side == BID else BID
        reach = book.levels(other, 3)
        size = 1 + int(rng.expovariate(1 / spec.typical_lots) * 1.5)
        if book.depth(other) <= spec.levels // 2 + 2:
            size = min(size, max(reach[0][1] - 1, 1))
            if reach[0][1] == 1:  # would empty the level: add to it instead
                return book.limit(other, reach[0][0], size)[1:]
            return book.market(side, size)[1:]
        size = min(size, sum(lots for _, lots in reach))
        if rng.random() < 0.25 and book.depth(side) < spec.levels * 2:
            return book.limit(side, reach[0][0], size)[1:]
        return book.market(side, size)[1:]
