"""The matching engine against a second, much simpler one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.sim.matching import ASK, BID, MatchingBook

ORDERS = st.lists(
    st.one_of(
        st.tuples(
            st.just("limit"), st.sampled_from([BID, ASK]), st.integers(1, 12), st.integers(1, 9)
        ),
        st.tuples(st.just("market"), st.sampled_from([BID, ASK]), st.just(0), st.integers(1, 20)),
        st.tuples(st.just("cancel"), st.just(BID), st.integers(0, 40), st.just(0)),
    ),
    max_size=60,
)


class Naive:
    """Price-time priority by searching one flat list."""

    def __init__(self):
        self.resting = []  # [order, side, price, left], oldest first
        self.trades = []

    def enter(self, order, side, price, size):
        while size:
            other = [r for r in self.resting if r[1] != side]
            if price is not None:
                other = [r for r in other if (r[2] <= price if side == BID else r[2] >= price)]
            if not other:
                break
            best = (min if side == BID else max)(r[2] for r in other)
            maker = next(r for r in other if r[2] == best)
            fill = min(size, maker[3])
            self.trades.append((maker[0], best, fill, side))
            maker[3] -= fill
            size -= fill
            if not maker[3]:
                self.resting.remove(maker)
        if size and price is not None:
            self.resting.append([order, side, price, size])

    def levels(self, side):
        sums = {}
        for _, at, price, left in self.resting:
            if at == side:
                sums[price] = sums.get(price, 0) + left
        return sorted(sums.items(), reverse=side == BID)


@given(ORDERS)
def test_it_agrees_with_a_flat_list_of_orders(orders):
    book, naive = MatchingBook("X", number=100, trade_id=7), Naive()
    rebuilt = ({}, {})
    number, trade_id, entered = 100, 7, 0
    for kind, side, price, size in orders:
        before = len(naive.trades)
        if kind == "limit":
            order, changes, trades = book.limit(side, price, size)
            naive.enter(order, side, price, size)
            entered = order
        elif kind == "market":
            _, changes, trades = book.market(side, size)
            naive.enter(None, side, None, size)
        else:
            live = sorted(r[0] for r in naive.resting)
            if not live:
                continue
            order = live[price % len(live)]
            naive.resting = [r for r in naive.resting if r[0] != order]
            changes, trades = [book.cancel(order)], []
        # Trades: same makers, prices, sizes and order; numbers without holes.
        assert [(t.maker, t.price, t.size, t.taker_side) for t in trades] == naive.trades[before:]
        for trade in trades:
            trade_id += 1
            assert trade.id == trade_id
        for change in changes:
            number += 1
            assert change.number == number
            assert rebuilt[change.side].get(change.price, 0) == change.old
            if change.size:
                rebuilt[change.side][change.price] = change.size
            else:
                del rebuilt[change.side][change.price]
        for half in (BID, ASK):
            assert book.levels(half) == naive.levels(half)
            assert book.levels(half) == sorted(rebuilt[half].items(), reverse=half == BID)
            assert sorted(book.order_ids(half)) == sorted(
                r[0] for r in naive.resting if r[1] == half
            )
        bid, ask = book.best(BID), book.best(ASK)
        assert bid is None or ask is None or bid < ask
    assert entered >= 0


def test_the_older_order_at_a_price_trades_first():
    book = MatchingBook("X")
    first, _, _ = book.limit(ASK, 10, 5)
    second, _, _ = book.limit(ASK, 10, 5)
    better, _, _ = book.limit(ASK, 9, 1)
    _, changes, trades = book.limit(BID, 10, 8)
    assert [(t.maker, t.price, t.size) for t in trades] == [
        (better, 9, 1),
        (first, 10, 5),
        (second, 10, 2),
    ]
    assert [(c.price, c.size, c.old) for c in changes] == [(9, 0, 1), (10, 3, 10)]
    assert book.orders_at(ASK, 10) == [(second, 3)]
    assert book.where(second) == (ASK, 10)


def test_what_a_limit_order_cannot_trade_rests_and_a_market_order_is_cancelled():
    book = MatchingBook("X")
    book.limit(ASK, 10, 2)
    _, changes, _ = book.limit(BID, 10, 5)
    assert [(c.side, c.price, c.size) for c in changes] == [(ASK, 10, 0), (BID, 10, 3)]
    left, _, trades = book.market(ASK, 9)
    assert left == 6
    assert sum(t.size for t in trades) == 3
    assert book.top(BID) == (0, 0)


def test_levels_can_be_limited_and_come_best_first():
    book = MatchingBook("X")
    for price in (5, 3, 4):
        book.limit(BID, price, price)
        book.limit(ASK, price + 10, price)
    assert book.levels(BID, 2) == [(5, 5), (4, 4)]
    assert book.levels(ASK, 2) == [(13, 3), (14, 4)]
    assert book.levels(BID, 0) == []
    assert book.size_at(BID, 3) == 3
    assert book.size_at(BID, 2) == 0


@pytest.mark.parametrize(("price", "size"), [(0, 1), (1, 0), (-1, 1)])
def test_orders_need_positive_numbers(price, size):
    with pytest.raises(ValueError, match="positive"):
        MatchingBook("X").limit(BID, price, size)


def test_cancelling_what_does_not_rest_is_an_error():
    with pytest.raises(KeyError):
        MatchingBook("X").cancel(1)
