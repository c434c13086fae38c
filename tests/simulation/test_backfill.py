"""Missing trades asked for by number, with the whole client, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from tests.simulation.stage import SECOND, VENUES, Consumer, gaps, notices, play

from gapless.core.backfill import WAIT_NS
from gapless.core.stream import Backfill
from gapless.events import Gap, Resynced, Trade
from gapless.planning import trades

each_policy = pytest.mark.parametrize("policy", [Backfill.WAIT, Backfill.LATE])


def follow(stage, policy, **options):
    return stage.feed(trades(stage.symbols[0]), backfill=policy, **options)


def account(stage, feed, consumer):
    """Hold what came against what the venue made; return (live, fetched, missing) numbers."""
    topic = stage.topic("trades")
    got = [event for event in consumer.events if isinstance(event, Trade)]
    live = [event.last for event in got if not event.backfilled]
    fetched = [event.last for event in got if event.backfilled]
    assert live == sorted(set(live))
    assert len(fetched) == len(set(fetched))
    assert not set(fetched) & set(live)
    named = {n for gap in gaps(consumer.events) for n in range(gap.first, gap.last + 1)}
    made = {r["last"]: r for r in stage.truth.of("world", topic=topic)}
    everything = {number for number in made if live[0] <= number <= live[-1]}
    assert set(live) | named == everything
    assert set(fetched) <= named
    for event in got:
        record = made[event.last]
        assert (event.price, event.size) == (float(record["price"]), float(record["size"]))
        assert (event.side, event.id) == (record["side"], record["id"])
    missing = named - set(fetched)
    assert feed.stats().missing == len(missing)
    assert feed.stats().backfilled == len(fetched)
    assert feed.stats().delivered == len(live)
    return live, fetched, missing


@pytest.mark.parametrize("venue", VENUES)
@each_policy
def test_messages_that_were_dropped_on_the_way_are_had_from_the_venue(policy, venue):
    async def main(stage):
        async with follow(stage, policy) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            for _ in range(5):
                stage.inject("drop", topic=stage.topic("trades"), count=3)
                await asyncio.sleep(20)
            await asyncio.sleep(5)
            await consumer.stop()
            live, fetched, missing = account(stage, feed, consumer)
            assert not missing
            assert len(fetched) >= 5 * 3
            resynced = consumer.of(Resynced)
            assert [(e.by, e.first, e.last) for e in resynced] == [
                ("rest", gap.first, gap.last) for gap in gaps(consumer.events)
            ]
            numbers = [e.last for e in consumer.of(Trade)]
            assert (numbers == sorted(numbers)) is (policy is Backfill.WAIT)
            assert not notices(feed, "backfill")
            return len(live)

    assert play(main, venue, rate=200.0) > 100


@each_policy
def test_what_was_made_while_the_line_was_down_is_had_from_the_venue(policy):
    async def main(stage):
        async with follow(stage, policy) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            stage.inject("outage", for_s=30.0)
            await asyncio.sleep(60)
            await consumer.stop()
            _, fetched, missing = account(stage, feed, consumer)
            assert not missing
            assert len(fetched) > 50
            numbers = [e.last for e in consumer.of(Trade)]
            assert (numbers == sorted(numbers)) is (policy is Backfill.WAIT)

    play(main, rate=200.0)


def test_while_the_venue_does_not_answer_nobody_waits_for_longer_than_the_bound():
    async def main(stage):
        async with follow(stage, Backfill.WAIT) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            stage.inject("rest_fail", status=500, for_s=30.0)
            stage.inject("drop", topic=stage.topic("trades"), count=3)
            await stage.until(lambda: feed.stats().gaps)
            gap_ns = stage.clock.mono_ns()
            count = len(consumer.of(Trade))
            await stage.until(lambda: len(consumer.of(Trade)) > count)
            waited_ns = stage.clock.mono_ns() - gap_ns
            assert waited_ns >= WAIT_NS - SECOND // 2
            assert waited_ns <= WAIT_NS + SECOND // 2
            await asyncio.sleep(60)
            await consumer.stop()
            _, fetched, missing = account(stage, feed, consumer)
            assert fetched
            assert not missing  # late, but they came
            assert isinstance(consumer.of(Resynced)[-1], Resynced)

    play(main, rate=200.0)


def test_what_the_venue_has_no_more_stays_missing_and_is_told():
    async def main(stage):
        for market in stage.exchange.world.markets:
            market.trades = type(market.trades)(maxlen=10)
        async with follow(stage, Backfill.WAIT) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            stage.inject("outage", for_s=30.0)
            await asyncio.sleep(60)
            await consumer.stop()
            _, _, missing = account(stage, feed, consumer)
            assert len(missing) > 50
            (notice,) = notices(feed, "backfill")
            assert notice.cause.startswith(f"{len(missing)} of ")
            assert "the venue does not have them" in notice.cause
            assert (notice.channel, notice.symbol) == ("trades", stage.symbols[0])
            assert not consumer.of(Resynced)

    play(main, rate=200.0)


def test_whoever_did_not_choose_it_gets_a_gap_and_no_request_is_made():
    async def main(stage):
        async with follow(stage, Backfill.OFF) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            stage.inject("drop", topic=stage.topic("trades"), count=3)
            await asyncio.sleep(20)
            await consumer.stop()
            _, fetched, missing = account(stage, feed, consumer)
            assert missing
            assert not fetched
            assert not stage.truth.of("rest")

    play(main, rate=200.0)


def test_two_lines_need_no_backfill_when_one_is_lost():
    async def main(stage):
        async with follow(stage, Backfill.WAIT, lines=2) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            stage.inject("reset", session=1)
            await asyncio.sleep(20)
            await consumer.stop()
            account(stage, feed, consumer)
            assert not consumer.of(Gap)
            assert not stage.truth.of("rest")

    play(main, rate=200.0)


def test_a_feed_that_closes_asks_no_more():
    async def main(stage):
        async with follow(stage, Backfill.LATE) as feed:
            await asyncio.sleep(10)
            stage.inject("rest_fail", status=500, for_s=300.0)
            stage.inject("drop", topic=stage.topic("trades"), count=3)
            await stage.until(lambda: len(stage.truth.of("rest")) > 1)
            conductor = feed._running()
        asked = len(stage.truth.of("rest"))
        await asyncio.sleep(300)
        assert len(stage.truth.of("rest")) == asked
        assert conductor.failure is None

    play(main, rate=200.0)


@each_policy
def test_a_slow_consumer_is_told_of_each_backfilled_trade_that_did_not_fit(policy):
    async def main(stage):
        async with follow(stage, policy, capacity=20) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            stage.inject("outage", for_s=20.0)
            await asyncio.sleep(15)
            consumer.may_read.clear()
            await asyncio.sleep(15)
            consumer.may_read.set()
            await asyncio.sleep(10)
            await consumer.stop()
            stats = feed.stats()
        assert stats.overflowed
        live = [e.last for e in consumer.of(Trade) if not e.backfilled]
        fetched = [e.last for e in consumer.of(Trade) if e.backfilled]
        named = {n for gap in gaps(consumer.events) for n in range(gap.first, gap.last + 1)}
        made = {r["last"] for r in stage.truth.of("world", topic=stage.topic("trades"))}
        everything = {n for n in made if live[0] <= n <= live[-1]}
        assert set(live) | set(fetched) | named >= everything
        assert stats.missing == len(everything) - len(live) - len(fetched)
        assert (stats.delivered, stats.backfilled) == (len(live), len(fetched))

    play(main, rate=200.0)
