"""Streams of Binance spot: payloads and numbering.

Source: binance-spot-api-docs, web-socket-streams.md; key order and number texts as recorded
from the real venue in 2021 to 2024.

Every level change takes the next update id of its symbol.  A depth event covers the ids from
``U`` to ``u`` and carries final sizes; ``bookTicker`` carries the id of the update that changed
the top; trade ids rise by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gapless.sim.dialects._base import MS, BatchedTopic, Topic
from gapless.sim.matching import ASK, BID

if TYPE_CHECKING:
    from gapless.sim.dialects._base import Dialect
    from gapless.sim.matching import TradePrint
    from gapless.sim.world import Market, Step

__all__ = ["AggTrades", "BookTicker", "Depth", "PartialDepth", "Ticker", "Trades"]

_DAY_MS: Final = 86_400_000


class Trades(Topic):
    """``<symbol>@trade``: one message for each match."""

    __slots__ = ()

    def on_step(self, step: Step) -> None:
        ms = step.ns // MS
        for trade in step.trades:
            price, size = self.price.text[trade.price], self.size.text[trade.size]
            # m: the buyer is the maker, so the taker sold.
            sold = trade.taker_side == ASK
            if self.recorded:
                self.record(
                    step.ns,
                    ms * MS,
                    trade.id,
                    trade.id,
                    id=str(trade.id),
                    price=self.price.value[trade.price],
                    size=self.size.value[trade.size],
                    side="sell" if sold else "buy",
                )
            self.publish(
                step.ns,
                trade.id,
                trade.id,
                f'{{"e":"trade","E":{ms},"s":"{self.symbol}","t":{trade.id},"p":"{price}",'
                f'"q":"{size}","T":{ms},"m":{"true" if sold else "false"},"M":true}}',
            )


class AggTrades(Topic):
    """``<symbol>@aggTrade``: matches of one taker at one price together."""

    __slots__ = ()

    def __init__(self, dialect: Dialect, name: str, market: Market, node: int) -> None:
        super().__init__(dialect, name, "agg_trades", market, node)

    def on_step(self, step: Step) -> None:
        runs: list[list[TradePrint]] = []
        for trade in step.trades:
            if not runs or runs[-1][0].price != trade.price:
                runs.append([])
            runs[-1].append(trade)
        # The market has counted these groups already.
        for number, run in enumerate(runs, self.market.groups - len(runs) + 1):
            self._say(step.ns, number, run)

    def _say(self, ns: int, number: int, run: list[TradePrint]) -> None:
        ms = ns // MS
        lots = sum(trade.size for trade in run)
        price, size = self.price.text[run[0].price], self.size.text[lots]
        sold = run[0].taker_side == ASK
        if self.recorded:
            self.record(
                ns,
                ms * MS,
                number,
                number,
                id=str(number),
                price=self.price.value[run[0].price],
                size=self.size.value[lots],
                side="sell" if sold else "buy",
            )
        self.publish(
            ns,
            number,
            number,
            f'{{"e":"aggTrade","E":{ms},"s":"{self.symbol}","a":{number},"p":"{price}",'
            f'"q":"{size}","f":{run[0].id},"l":{run[-1].id},"T":{ms},'
            f'"m":{"true" if sold else "false"},"M":true}}',
        )


class Depth(BatchedTopic):
    """``<symbol>@depth`` and ``@depth@100ms``: what changed since the event before."""

    __slots__ = ("_changed", "_last")

    def __init__(
        self,
        dialect: Dialect,
        name: str,
        market: Market,
        node: int,
        *,
        interval_ns: int,
    ) -> None:
        super().__init__(dialect, name, "book", market, node, interval_ns=interval_ns)
        self._last = market.book.number
        self._changed: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def on_step(self, step: Step) -> None:
        changed = self._changed
        for change in step.changes:
            changed[change.side][change.price] = change.size
        self.arm(step.ns)

    def flush(self, now_ns: int) -> None:
        bids = sorted(self._changed[BID].items(), reverse=True)
        asks = sorted(self._changed[ASK].items())
        self._changed = ({}, {})
        first, last = self._last + 1, self.market.book.number
        self._last = last
        ms = now_ns // MS
        if self.recorded:
            self.record(
                now_ns, ms * MS, first, last, bids=self.floats(bids), asks=self.floats(asks)
            )
        price, size = self.price.text, self.size.text
        bid_text = ",".join([f'["{price[p]}","{size[s]}"]' for p, s in bids])
        ask_text = ",".join([f'["{price[p]}","{size[s]}"]' for p, s in asks])
        self.publish(
            now_ns,
            first,
            last,
            f'{{"e":"depthUpdate","E":{ms},"s":"{self.symbol}","U":{first},"u":{last},'
            f'"b":[{bid_text}],"a":[{ask_text}]}}',
        )


class PartialDepth(BatchedTopic):
    """``<symbol>@depth5`` and the like: the best levels, whole, without symbol or time."""

    __slots__ = ("_levels",)

    def __init__(
        self,
        dialect: Dialect,
        name: str,
        market: Market,
        node: int,
        *,
        interval_ns: int,
        levels: int,
    ) -> None:
        super().__init__(dialect, name, "book_top", market, node, interval_ns=interval_ns)
        self._levels = levels

    def on_step(self, step: Step) -> None:
        self.arm(step.ns)

    def flush(self, now_ns: int) -> None:
        view = self.market.view(self._levels)
        if self.recorded:
            bids, asks = self.floats(view.bids), self.floats(view.asks)
            self.record(now_ns, None, view.number, view.number, bids=bids, asks=asks)
        price, size = self.price.text, self.size.text
        bid_text = ",".join([f'["{price[p]}","{size[s]}"]' for p, s in view.bids])
        ask_text = ",".join([f'["{price[p]}","{size[s]}"]' for p, s in view.asks])
        self.publish(
            now_ns,
            view.number,
            view.number,
            f'{{"lastUpdateId":{view.number},"bids":[{bid_text}],"asks":[{ask_text}]}}',
        )


class BookTicker(Topic):
    """``<symbol>@bookTicker``: the top, whenever it changes; no type and no time."""

    __slots__ = ("_top",)

    def __init__(self, dialect: Dialect, name: str, market: Market, node: int) -> None:
        super().__init__(dialect, name, "bbo", market, node)
        self._top = (market.book.top(BID), market.book.top(ASK))

    def on_step(self, step: Step) -> None:
        book = self.market.book
        top = (book.top(BID), book.top(ASK))
        if top == self._top:
            return
        self._top = top
        (bid, bid_size), (ask, ask_size) = top
        # All changes of one step touch the top if any does, so the last one is the one meant.
        number = step.changes[-1].number
        if self.recorded:
            self.record(
                step.ns,
                None,
                number,
                number,
                bid=self.price.value[bid],
                bid_size=self.size.value[bid_size],
                ask=self.price.value[ask],
                ask_size=self.size.value[ask_size],
            )
        price, size = self.price.text, self.size.text
        self.publish(
            step.ns,
            number,
            number,
            f'{{"u":{number},"s":"{self.symbol}","b":"{price[bid]}","B":"{size[bid_size]}",'
            f'"a":"{price[ask]}","A":"{size[ask_size]}"}}',
        )


class Ticker(BatchedTopic):
    """``<symbol>@ticker``: statistics, once a second if there was a change.

    The real venue looks back 24 hours; here it is the time since the start.
    """

    __slots__ = ()

    def on_step(self, step: Step) -> None:
        self.arm(step.ns)

    def flush(self, now_ns: int) -> None:
        market = self.market
        book = market.book
        (bid, bid_size), (ask, ask_size) = book.top(BID), book.top(ASK)
        price, size = self.price.text, self.size.text
        ms = now_ns // MS
        start = market.spec.mid_ticks
        moved = market.last - start
        mean = market.notional // market.lots if market.lots else market.last
        turnover = market.notional * self.price.value[1] * self.size.value[1]
        if self.recorded:
            self.record(
                now_ns,
                ms * MS,
                None,
                None,
                price=self.price.value[market.last],
                bid=self.price.value[bid],
                ask=self.price.value[ask],
                volume=self.size.value[market.lots],
            )
        self.publish(
            now_ns,
            None,
            None,
            f'{{"e":"24hrTicker","E":{ms},"s":"{self.symbol}",'
            f'"p":"{"-" if moved < 0 else ""}{price[abs(moved)]}","P":"{100 * moved / start:.3f}",'
            f'"w":"{price[mean]}","x":"{price[start]}","c":"{price[market.last]}",'
            f'"Q":"{size[market.last_lots]}","b":"{price[bid]}","B":"{size[bid_size]}",'
            f'"a":"{price[ask]}","A":"{size[ask_size]}","o":"{price[start]}",'
            f'"h":"{price[market.high]}","l":"{price[market.low]}","v":"{size[market.lots]}",'
            f'"q":"{turnover:.8f}","O":{ms - _DAY_MS},"C":{ms},'
            f'"F":{book.trade_id - market.trade_count + 1},"L":{book.trade_id},'
            f'"n":{market.trade_count}}}',
        )
