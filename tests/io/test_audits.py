"""Silent topics held against the venue's own word, over a simulated venue in virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools

import pytest
from tests.simulation.stage import SECOND, SYMBOLS, Consumer, notices, play

from gapless.core.budget import Credit, Window
from gapless.events import Gap
from gapless.io.audits import LIST_NS, SHARE, STOP_NS, portion
from gapless.planning import bbo, book, ticker, trades
from gapless.venues._profile import RestGet

SLOW = 0.05  # changes a second over all symbols: most of the time nothing happens


def of(feed, topic):
    return next(t for t in feed.stats().topics if t.topic == topic)


def rest_reads(stage, part):
    return [record for record in stage.truth.of("rest") if part in record["path"]]


def moved(stage, symbol):
    """Return a condition: whether the best prices of a symbol have changed since now."""
    market = stage.exchange.world.by_name[symbol]

    def top():
        view = market.view(1)
        return view.bids, view.asks

    before = top()
    return lambda: top() != before


async def lose(stage, feed, fault, topic, symbol):
    """Have the venue go silent on one topic; return after something went untold."""
    await stage.until(lambda: of(feed, topic).standing == "flowing", 600, 0.1)
    record = stage.inject(fault, topic=topic)
    await stage.until(moved(stage, symbol), 600, 0.5)
    assert record.happened == 1 or fault == "silence"
    return record


def test_a_lost_book_of_binance_is_found_by_the_listing_and_rebuilt():
    async def main(stage):
        symbol, topic = stage.symbols[0], stage.topic("book")
        async with stage.feed(book(*stage.symbols), trades(*stage.symbols)) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(30)  # what had not spoken by then has been probed
            assert of(feed, topic).standing == "flowing"
            stage.inject("unsubscribe", topic=topic)
            took_s = await stage.until(lambda: notices(feed, "unsubscribed"), 30, 0.05)
            assert took_s <= LIST_NS / SECOND + 1
            (notice,) = notices(feed, "unsubscribed")
            assert (notice.channel, notice.symbol) == ("book", symbol)
            assert notice.evidence.endswith("the venue's newest listing lacks it")
            await stage.until(lambda: of(feed, topic).trust == "live", 60, 0.05)
            assert of(feed, topic).standing in {"listed", "flowing"}
            events = await consumer.stop()
        assert {gap.origin.topic for gap in events if isinstance(gap, Gap)} <= {topic}
        assert stage.card(feed, events).kept

    play(main, "binance.spot", rate=0.5)


def test_lost_trades_of_binance_are_found_by_the_listing_and_lose_nothing_untold():
    async def main(stage):
        topic = stage.topic("trades")
        async with stage.feed(trades(*stage.symbols)) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            stage.inject("unsubscribe", topic=topic)
            await stage.until(lambda: notices(feed, "unsubscribed"), 30, 0.05)
            await asyncio.sleep(20)
            assert of(feed, topic).trust == "live"
            events = await consumer.stop()
        assert stage.card(feed, events).kept

    play(main, "binance.spot")


@pytest.mark.parametrize("venue", ["deribit", "binance.spot"])
def test_a_topic_that_is_subscribed_and_silenced_is_found_by_its_best_prices(venue):
    async def main(stage):
        symbol, topic = stage.symbols[0], stage.topic("bbo")
        async with stage.feed(bbo(symbol)) as feed:
            consumer = Consumer(feed)
            await lose(stage, feed, "silence", topic, symbol)
            took_s = await stage.until(lambda: notices(feed, "unsubscribed"), 30, 0.1)
            assert took_s <= 30
            shown = of(feed, topic)
            assert (shown.trust, shown.standing) == ("stale", "unsubscribed")
            await consumer.stop()

    play(main, venue, rate=SLOW)


def test_what_agrees_is_verified_and_nothing_is_said_of_it():
    async def main(stage):
        async with stage.feed(*(make(*stage.symbols) for make in (book, bbo, ticker))) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(600)
            assert not notices(feed, "unsubscribed", "limited", "resync", "unchecked")
            assert {t.unverified_s for t in feed.stats().topics} == {None}
            assert rest_reads(stage, "get_book_summary"), "there was something to check"
            events = await consumer.stop()
        assert not [event for event in events if isinstance(event, Gap)]

    play(main, rate=SLOW)


def test_lively_topics_cost_the_venue_no_reads():
    async def main(stage):
        async with stage.feed(book(*stage.symbols)) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(120)
            await consumer.stop()
        assert not rest_reads(stage, "get_book_summary")

    play(main, rate=100.0)


def test_what_cannot_be_checked_says_since_when():
    async def main(stage):
        topic = stage.topic("trades")
        async with stage.feed(trades(*stage.symbols), bbo(*stage.symbols)) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(25)
            assert of(feed, topic).unverified_s is None
            await asyncio.sleep(100)
            silent = of(feed, topic)
            assert 100 < silent.unverified_s < 126  # since it was subscribed last
            assert of(feed, stage.topic("bbo")).unverified_s is None
            await consumer.stop()

    play(main, rate=0.0)


def test_without_rest_nothing_is_read_and_everything_silent_is_unverified():
    async def main(stage):
        feed = stage.feed(bbo(*stage.symbols))
        feed._plan = dataclasses.replace(feed._plan, rest_endpoints=())
        async with feed:
            consumer = Consumer(feed)
            await asyncio.sleep(100)
            assert 80 < of(feed, stage.topic("bbo")).unverified_s < 101
            await consumer.stop()
        assert not stage.truth.of("rest")

    play(main, rate=0.0)


def test_a_venue_that_says_too_much_is_left_alone():
    async def main(stage):
        async with stage.feed(bbo(*stage.symbols)) as feed:
            consumer = Consumer(feed)
            stage.inject("rest_fail", status=429, retry_after_s=7, count=1)
            await stage.until(lambda: notices(feed, "limited"), 30, 0.1)
            before = len(stage.truth.of("rest"))
            await asyncio.sleep(STOP_NS / SECOND - 5)
            assert len(stage.truth.of("rest")) == before
            await asyncio.sleep(20)
            assert len(stage.truth.of("rest")) > before, "and then asked again"
            await consumer.stop()

    play(main, rate=0.0)


def test_reads_that_fail_grow_rare_and_are_told_once():
    async def main(stage):
        async with stage.feed(bbo(*stage.symbols)) as feed:
            consumer = Consumer(feed)
            stage.inject("rest_fail", status=503)
            await asyncio.sleep(3600)
            assert len(notices(feed, "unchecked")) == 1
            assert not notices(feed, "resync", "stalled", "unproven", "limited")
            await consumer.stop()
        times = [record["ns"] / SECOND for record in stage.truth.of("rest")]
        gaps_s = [b - a for a, b in itertools.pairwise(times)]
        assert gaps_s[0] == pytest.approx(20, abs=2)
        assert max(gaps_s) == pytest.approx(STOP_NS / SECOND, abs=2)
        assert [round(gap_s, 1) for gap_s in gaps_s] == sorted(round(gap_s, 1) for gap_s in gaps_s)

    play(main, rate=0.0)


def test_many_topics_lost_at_once_replace_the_session_make_before_break(monkeypatch):
    symbols = tuple(f"SIM{n:03}USDT" for n in range(40))
    monkeypatch.setitem(SYMBOLS, "binance.spot", symbols)

    async def main(stage):
        async with stage.feed(bbo(*symbols), ticker(*symbols)) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(60)
            before = feed.stats().sessions
            stage.inject("unsubscribe", topic="sim*@bookTicker")
            await stage.until(lambda: feed.stats().sessions > before, 60, 0.1)
            named = notices(feed, "unsubscribed")
            assert 1 <= len(named) <= 21
            assert named[-1].cause.startswith("20 more topics")
            assert not [n for n in feed.notices() if n.kind == "ended" and n.cause != "planned"]
            await asyncio.sleep(20)
            standings = {t.standing for t in feed.stats().topics}
            assert standings <= {"acknowledged", "listed", "flowing"}
            await consumer.stop()

    play(main, "binance.spot", rate=4.0)


def test_a_check_that_fails_as_the_probe_of_a_closed_pool_keeps_nobody_waiting():
    async def main(stage):
        async with stage.feed(bbo(*stage.symbols)) as feed:
            await stage.until(lambda: notices(feed, "live"))
            pool = feed._running().audits._pools["other"]
            pool.refused(stage.clock.mono_ns(), SECOND, ban=False)
            record = stage.inject("rest_fail", status=503, count=1)
            await stage.until(lambda: record.happened, 60, 0.05)
            await asyncio.sleep(1)
            assert not pool.probing
            assert pool.take(stage.clock.mono_ns()) == 0

    play(main, rate=0.0)


def test_a_check_leaves_the_reserve_to_what_cannot_be_left_out():
    async def main(stage):
        async with stage.feed(bbo(*stage.symbols)) as feed:
            await stage.until(lambda: notices(feed, "live"))
            audits = feed._running().audits
            began_ns = stage.clock.mono_ns()
            pool = audits._pools["other"]  # 50,000 credits, and 10,000 more each second
            assert pool.take(began_ns, 45_000) == 0
            assert await audits._afford(RestGet("/summaries", (), "other", 500))
            waited_s = (stage.clock.mono_ns() - began_ns) / SECOND
            assert (45_000 + 500 - 0.8 * 50_000) / 10_000 <= waited_s < 1

    play(main)


def test_no_more_than_a_share_of_any_budget_is_spent():
    assert portion(Window(100, 5)) == Window(int(100 * SHARE), 5)
    assert portion(Credit(50_000, 10_000)) == Credit(10_000, 2_000)
    assert portion(Window(2, 5)) == Window(1, 5), "a read now and then is always possible"
    assert portion(Credit(2, 2)) == Credit(1, 1)
