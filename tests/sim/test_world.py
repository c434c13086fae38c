from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapless.sim.matching import ASK, BID
from gapless.sim.world import SymbolSpec, World

T0 = 1_770_000_000 * 10**9
SECOND = 10**9


def spec(name, mid=100_000, **more):
    return SymbolSpec(name=name, tick="0.01", lot="0.001", mid_ticks=mid, **more)


def world(rate=500.0, seed=1, names=("A", "B"), **more):
    return World([spec(name) for name in names], rate, seed, **more)


def test_one_seed_gives_one_history_however_it_is_cut():
    whole, pieces = world(), world()
    steps = whole.advance(T0) + whole.advance(T0 + 20 * SECOND)
    cut = pieces.advance(T0)
    now_ns = T0
    while now_ns < T0 + 20 * SECOND:
        now_ns = min(now_ns + 137_000_001, T0 + 20 * SECOND)
        cut += pieces.advance(now_ns)
    assert steps == cut
    other = world(seed=2)
    other.start(T0)
    assert other.advance(T0 + 20 * SECOND) != steps


def test_the_rate_is_about_the_one_asked_for():
    w = world(rate=400.0)
    w.start(T0)
    changes = sum(len(step.changes) for step in w.advance(T0 + 60 * SECOND))
    assert 400 * 60 * 0.93 < changes < 400 * 60 * 1.07


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**9), mid=st.sampled_from([200, 5_000, 6_500_000]))
def test_books_stay_uncrossed_deep_and_equal_to_their_changes(seed, mid):
    w = World([spec("A", mid), spec("B", mid)], 1_000, seed)
    w.start(T0)
    books = [[dict(m.book.levels(side)) for side in (BID, ASK)] for m in w.markets]
    numbers = [m.book.number for m in w.markets]
    trade_ids = [m.book.trade_id for m in w.markets]
    last_ns = last_serial = 0
    for _ in range(1_500):
        step = w.step()
        market, mirror = w.markets[step.index], books[step.index]
        assert step.ns > last_ns
        assert step.serial > last_serial
        assert step.changes
        last_ns, last_serial = step.ns, step.serial
        for change in step.changes:
            numbers[step.index] += 1
            assert change.number == numbers[step.index]
            assert mirror[change.side].pop(change.price, 0) == change.old
            if change.size:
                mirror[change.side][change.price] = change.size
        for trade in step.trades:
            trade_ids[step.index] += 1
            assert trade.id == trade_ids[step.index]
        bids, asks = market.book.levels(BID), market.book.levels(ASK)
        assert dict(bids) == mirror[BID]
        assert dict(asks) == mirror[ASK]
        assert bids[0][0] < asks[0][0]
        assert bids[-1][0] >= 1
        assert len(asks) >= 50
        assert 50 <= len(bids) <= 200 or mid == 200  # cheap things have fewer prices below
        assert len(asks) <= 200


def test_trades_take_what_the_book_loses():
    w = world()
    w.start(T0)
    traded = 0
    for step in w.advance(T0 + 30 * SECOND):
        lost = sum(c.old - c.size for c in step.changes if c.size < c.old)
        if step.trades:
            assert lost == sum(trade.size for trade in step.trades)
            assert len({trade.taker_side for trade in step.trades}) == 1
            traded += 1
    assert traded > 100


def test_the_past_can_be_looked_at():
    w = world(history_ms=10_000)
    w.start(T0)
    market = w.markets[0]
    seen = []
    for i in range(1, 200):
        w.advance(T0 + i * SECOND // 10)
        seen.append((T0 + i * SECOND // 10, market.view()))
    recent = [entry for entry in seen if entry[0] > seen[-1][0] - 9 * SECOND]
    assert len({view.number for _, view in recent}) > 50
    for ns, view in recent:
        assert market.view_at(ns) == view
    assert market.view_at(seen[-1][0] - SECOND, 5).bids == recent[-11][1].bids[:5]


def test_a_past_beyond_the_history_is_the_oldest_kept():
    w = world(history_ms=1_000)
    w.start(T0)
    w.advance(T0 + 10 * SECOND)
    market = w.markets[0]
    oldest = market.view_at(0)
    assert oldest.number < market.book.number
    assert oldest.ns >= T0 + 8 * SECOND


def test_weights_share_the_flow():
    w = World([spec("busy", weight=9), spec("slow", weight=1), spec("dead", weight=0)], 1_000, 3)
    w.start(T0)
    counts = [0, 0, 0]
    for step in w.advance(T0 + 20 * SECOND):
        counts[step.index] += 1
    assert counts[2] == 0
    assert 7 < counts[0] / counts[1] < 11


def test_a_rate_of_nothing_freezes_the_world():
    w = world(rate=0)
    assert w.advance(T0) == []
    assert w.advance(T0 + 10**15) == []


@pytest.mark.parametrize("names", [(), ("A", "A")])
def test_symbols_are_needed_once_each(names):
    with pytest.raises(ValueError, match="once"):
        world(names=names)


def test_statistics_add_up():
    w = world(names=("A",))
    w.start(T0)
    trades = [t for step in w.advance(T0 + 20 * SECOND) for t in step.trades]
    market = w.markets[0]
    assert market.trade_count == len(trades)
    assert market.lots == sum(t.size for t in trades)
    assert market.last == trades[-1].price
    assert (market.low, market.high) == (min(t.price for t in trades), max(t.price for t in trades))
    assert [t for _, _, t in market.trades] == trades
    numbers = [number for _, number, _ in market.trades]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
