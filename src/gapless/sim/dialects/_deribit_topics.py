"""Channels of Deribit: payloads and numbering.

Source: docs.deribit.com, notifications and market-data pages; key order and number texts as
recorded from the real venue in 2021 to 2026.

Change ids rise over the whole venue, so those of one instrument have holes: a change names its
predecessor, and only that chain proves that nothing is missing.  A batch has the ids of its
ends only.  Trade sequence numbers are dense for each instrument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gapless.sim.dialects._base import MS, BatchedTopic, Topic
from gapless.sim.matching import ASK, BID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gapless.sim.dialects._base import Dialect
    from gapless.sim.matching import TradePrint
    from gapless.sim.session import SimSession
    from gapless.sim.world import Market, Step

__all__ = ["Book", "GroupedBook", "Quote", "Ticker", "Trades", "ticker_body", "trade_body"]

_INDEX_RATIO: Final = 0.9999  # how far the index stands from the middle of the book


def mid(market: Market, dialect: Dialect) -> float:
    """Return the middle of the book, or the last price where a side is empty."""
    price = dialect.scales[market.index][0].value
    bid, ask = market.book.best(BID), market.book.best(ASK)
    if bid is None or ask is None:
        return price[market.last]
    return (price[bid] + price[ask]) / 2


def trade_body(dialect: Dialect, market: Market, ns: int, number: int, trade: TradePrint) -> str:
    """Return one trade as JSON; ``number`` counts over all instruments."""
    price, size = dialect.scales[market.index]
    mark = mid(market, dialect)
    return (
        f'{{"timestamp":{ns // MS},"price":{price.text[trade.price]},'
        f'"amount":{size.text[trade.size]},'
        f'"direction":"{"buy" if trade.taker_side == BID else "sell"}",'
        f'"index_price":{mark * _INDEX_RATIO:.4f},"instrument_name":"{market.spec.name}",'
        f'"trade_seq":{trade.id},"mark_price":{mark:.4f},'
        f'"tick_direction":{0 if trade.taker_side == BID else 2},"contracts":{trade.size}.0,'
        f'"trade_id":"{number}"}}'
    )


def ticker_body(dialect: Dialect, market: Market, ns: int) -> str:
    """Return the ticker of an instrument as JSON."""
    price, size = (scale.text for scale in dialect.scales[market.index])
    (bid, bid_size), (ask, ask_size) = market.book.top(BID), market.book.top(ASK)
    mark = mid(market, dialect)
    start = market.spec.mid_ticks
    volume = size[market.lots]
    return (
        f'{{"timestamp":{ns // MS},"state":"open","stats":{{"high":{price[market.high]},'
        f'"low":{price[market.low]},"price_change":{100 * (market.last - start) / start:.4f},'
        f'"volume":{volume},"volume_usd":{volume},"volume_notional":{volume}}},'
        f'"index_price":{mark * _INDEX_RATIO:.4f},"instrument_name":"{market.spec.name}",'
        f'"last_price":{price[market.last]},"settlement_price":{price[start]},'
        f'"min_price":{price[start * 9 // 10]},"max_price":{price[start * 11 // 10]},'
        f'"open_interest":{size[start]},"mark_price":{mark:.4f},"interest_value":0.0,'
        f'"best_ask_price":{price[ask]},"best_bid_price":{price[bid]},'
        f'"estimated_delivery_price":{mark * _INDEX_RATIO:.4f},'
        f'"best_ask_amount":{size[ask_size]},"best_bid_amount":{size[bid_size]},'
        f'"current_funding":0.0,"funding_8h":0.00001}}'
    )


class Book(BatchedTopic):
    """``book.{instrument}.{interval}``: a snapshot, then changes that form a chain.

    An interval of 0 is ``raw``: one message for each step of the matching engine.
    """

    __slots__ = ("_changed_ns", "_old", "_serial", "_serial_ns")

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
        # What the last message brought its readers to, and what has changed since.
        self._serial = market.serial
        self._serial_ns = self._changed_ns = market.changed_ns
        self._old: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def on_step(self, step: Step) -> None:
        old = self._old
        for change in step.changes:
            old[change.side].setdefault(change.price, change.old)
        self._changed_ns = step.ns
        if self.interval_ns:
            self.arm(step.ns)
        else:
            self.flush(step.ns)

    def flush(self, now_ns: int) -> None:
        bids, asks = self._take(BID), self._take(ASK)
        if not bids and not asks:  # every level is back where it was: the chain goes on later
            return
        previous, serial, ms = self._serial, self.market.serial, self._changed_ns // MS
        self._serial, self._serial_ns = serial, self._changed_ns
        if self.recorded:
            self.record(
                now_ns,
                ms * MS,
                previous + 1,
                serial,
                bids=self.floats((p, s) for _, p, s in bids),
                asks=self.floats((p, s) for _, p, s in asks),
            )
        self.publish(
            now_ns,
            previous + 1,
            serial,
            f'{{"type":"change","timestamp":{ms},"prev_change_id":{previous},'
            f'"instrument_name":"{self.symbol}","change_id":{serial},'
            f'"bids":[{self._text(bids)}],"asks":[{self._text(asks)}]}}',
        )

    def _take(self, side: int) -> list[tuple[str, int, int]]:
        """Return ``(word, price, size)`` of what changed on ``side``, and begin anew."""
        book = self.market.book
        taken = []
        for price, old in sorted(self._old[side].items(), reverse=side == BID):
            size = book.size_at(ASK if side else BID, price)
            if size != old:
                taken.append(("delete" if not size else "change" if old else "new", price, size))
        self._old[side].clear()
        return taken

    def _text(self, levels: Iterable[tuple[str, int, int]]) -> str:
        price, size = self.price.text, self.size.text
        return ",".join([f'["{word}",{price[p]},{size[s]}]' for word, p, s in levels])

    def welcome(self, session: SimSession, now_ns: int) -> None:
        """Send the book as of the last message, so that the next change continues it."""
        book = self.market.book
        sides = []
        for side in (BID, ASK):
            levels = dict(book.levels(side))
            for price, old in self._old[side].items():
                if old:
                    levels[price] = old
                else:
                    levels.pop(price, None)
            sides.append(
                self._text(("new", p, s) for p, s in sorted(levels.items(), reverse=side == BID))
            )
        self.send_one(
            session,
            now_ns,
            self._serial,
            self._serial,
            f'{{"type":"snapshot","timestamp":{self._serial_ns // MS},'
            f'"instrument_name":"{self.symbol}","change_id":{self._serial},'
            f'"bids":[{sides[BID]}],"asks":[{sides[ASK]}]}}',
        )


class GroupedBook(BatchedTopic):
    """``book.{instrument}.{group}.{depth}.{interval}``: whole images, which form no chain.

    Only the group ``none`` is really grouped as it says; the others are served ungrouped.
    """

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
            event_ns = view.ns // MS * MS
            self.record(now_ns, event_ns, view.serial, view.serial, bids=bids, asks=asks)
        self.publish(now_ns, view.serial, view.serial, self._body())

    def _body(self) -> str:
        view = self.market.view(self._levels)
        price, size = self.price.text, self.size.text
        bids = ",".join([f"[{price[p]},{size[s]}]" for p, s in view.bids])
        asks = ",".join([f"[{price[p]},{size[s]}]" for p, s in view.asks])
        return (
            f'{{"timestamp":{view.ns // MS},"instrument_name":"{self.symbol}",'
            f'"change_id":{view.serial},"bids":[{bids}],"asks":[{asks}]}}'
        )

    def welcome(self, session: SimSession, now_ns: int) -> None:
        serial = self.market.serial
        self.send_one(session, now_ns, serial, serial, self._body())


class Trades(BatchedTopic):
    """``trades.{instrument}.{interval}``: arrays of trades; 0 is ``raw``."""

    __slots__ = ("_bodies", "_first", "_last")

    def __init__(
        self,
        dialect: Dialect,
        name: str,
        market: Market,
        node: int,
        *,
        interval_ns: int,
    ) -> None:
        super().__init__(dialect, name, "trades", market, node, interval_ns=interval_ns)
        self._bodies: list[str] = []
        self._first = self._last = 0

    def on_step(self, step: Step) -> None:
        if not step.trades:
            return
        if not self._bodies:
            self._first = step.trades[0].id
        self._last = step.trades[-1].id
        number = step.first_trade
        for trade in step.trades:
            self._bodies.append(trade_body(self.dialect, self.market, step.ns, number, trade))
            if self.recorded:
                self.record(
                    step.ns,
                    step.ns // MS * MS,
                    trade.id,
                    trade.id,
                    id=str(number),
                    price=self.price.value[trade.price],
                    size=self.size.value[trade.size],
                    side="buy" if trade.taker_side == BID else "sell",
                )
            number += 1
        if self.interval_ns:
            self.arm(step.ns)
        else:
            self.flush(step.ns)

    def flush(self, now_ns: int) -> None:
        body = "[" + ",".join(self._bodies) + "]"
        self._bodies = []
        self.publish(now_ns, self._first, self._last, body)


class Quote(Topic):
    """``quote.{instrument}``: the top, at once and whenever it changes; no numbers."""

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
        if self.recorded:
            (bid, bid_size), (ask, ask_size) = top
            price, size = self.price.value, self.size.value
            self.record(
                step.ns,
                step.ns // MS * MS,
                None,
                None,
                bid=price[bid],
                bid_size=size[bid_size],
                ask=price[ask],
                ask_size=size[ask_size],
            )
        self.publish(step.ns, None, None, self._body(step.ns))

    def _body(self, ns: int) -> str:
        (bid, bid_size), (ask, ask_size) = self._top
        price, size = self.price.text, self.size.text
        return (
            f'{{"timestamp":{ns // MS},"instrument_name":"{self.symbol}",'
            f'"best_ask_price":{price[ask]},"best_bid_price":{price[bid]},'
            f'"best_ask_amount":{size[ask_size]},"best_bid_amount":{size[bid_size]}}}'
        )

    def welcome(self, session: SimSession, now_ns: int) -> None:
        self.send_one(session, now_ns, None, None, self._body(self.market.changed_ns))


class Ticker(BatchedTopic):
    """``ticker.{instrument}.{interval}``: whole image, at once and on change; 0 is ``raw``."""

    __slots__ = ("_seen",)

    def __init__(
        self,
        dialect: Dialect,
        name: str,
        market: Market,
        node: int,
        *,
        interval_ns: int,
    ) -> None:
        super().__init__(dialect, name, "ticker", market, node, interval_ns=interval_ns)
        self._seen = self._look()

    def _look(self) -> tuple[object, ...]:
        book = self.market.book
        return book.top(BID), book.top(ASK), book.trade_id

    def on_step(self, step: Step) -> None:
        look = self._look()
        if look != self._seen:
            self._seen = look
            if self.interval_ns:
                self.arm(step.ns)
            else:
                self.flush(step.ns)

    def flush(self, now_ns: int) -> None:
        market = self.market
        ns = market.changed_ns
        if self.recorded:
            price = self.price.value
            book = market.book
            mark = mid(market, self.dialect)
            self.record(
                now_ns,
                ns // MS * MS,
                None,
                None,
                price=price[market.last],
                mark=float(f"{mark:.4f}"),
                index=float(f"{mark * _INDEX_RATIO:.4f}"),
                bid=price[book.top(BID)[0]],
                ask=price[book.top(ASK)[0]],
                volume=self.size.value[market.lots],
                open_interest=self.size.value[market.spec.mid_ticks],
                funding=0.0,
            )
        self.publish(now_ns, None, None, ticker_body(self.dialect, market, ns))

    def welcome(self, session: SimSession, now_ns: int) -> None:
        body = ticker_body(self.dialect, self.market, self.market.changed_ns)
        self.send_one(session, now_ns, None, None, body)
