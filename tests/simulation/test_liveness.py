"""Learned liveness in figures: the whole client in virtual time, medians over seeds.

``GAPLESS_LIVENESS_SEEDS`` sets how many seeds are played of each; the long run takes ten.
"""

from __future__ import annotations

import asyncio
import math
import os
import statistics
from random import Random

import pytest
from tests.simulation.sparse import DAY, Topic, alarms
from tests.simulation.stage import SECOND, VENUES, Consumer, notices, play

from gapless.core.liveness import FeedPolicy
from gapless.planning import book, trades

both = pytest.mark.parametrize("venue", VENUES)
SEEDS = range(int(os.environ.get("GAPLESS_LIVENESS_SEEDS", "3")))
ALARMS = ("stalled", "slow", "frozen", "ended")


def rate_of(events, since_ns, until_ns):
    return sum(since_ns <= e.mono_ns < until_ns for e in events) / ((until_ns - since_ns) / 1e9)


def silenced(venue, seed, rate, warm_s, *, subscriptions=None, **arguments):
    """Silence the only session's data, pongs going on; return rate, noticed and replaced."""

    async def main(stage):
        asked = subscriptions(stage) if subscriptions else (book(stage.symbols[0]),)
        async with stage.feed(*asked) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(warm_s + seed / 7)
            assert not notices(feed, *ALARMS)
            (session,) = stage.exchange.sessions.values()
            began_ns = stage.clock.mono_ns()
            per_s = rate_of(consumer.events, began_ns - 20 * SECOND, began_ns)
            record = stage.inject("silence", session=session.id, for_s=60.0)
            lives = len(notices(feed, "live"))
            noticed_s = await stage.until(lambda: notices(feed, "stalled"), 60)
            pongs = feed._running().drivers[1].session.watch.pings
            assert pongs.proven_ns >= began_ns  # the path answered meanwhile
            await stage.until(lambda: len(notices(feed, "live")) > lives, 10)
            replaced_s = (stage.clock.mono_ns() - began_ns) / SECOND
            before = len(consumer.events)
            await stage.until(lambda: len(consumer.events) > before, 10)
            [notice] = notices(feed, "stalled")
            assert "usually" in notice.evidence
            await asyncio.sleep(20)
            assert len(notices(feed, "stalled")) == 1
            await consumer.stop()
        assert record.happened > 0
        return per_s, noticed_s, replaced_s

    return play(main, venue, rate=rate, seed=seed, **arguments)


@both
def test_a_feed_of_twenty_messages_a_second_that_stops_is_noticed_within_a_second(venue, measure):
    # Both send a book's changes gathered, ten times a second; so two books, and their trades.
    def asked(stage):
        return (book(*stage.symbols), trades(*stage.symbols))

    runs = [silenced(venue, seed, 70.0, 60, subscriptions=asked) for seed in SEEDS]
    rates, noticed, replaced = zip(*runs, strict=True)
    print(
        f"{venue}: {min(rates):.0f} to {max(rates):.0f} messages/s; noticed after "
        f"{statistics.median(noticed):.3f} s (at most {max(noticed):.3f}), replaced after "
        f"{statistics.median(replaced):.3f} s"
    )
    for noticed_s, replaced_s in zip(noticed, replaced, strict=True):
        measure("silence.noticed", noticed_s)
        measure("silence.replaced", replaced_s)
    assert min(rates) >= 20
    assert statistics.median(noticed) <= 1.0
    assert statistics.median(replaced) <= 1.5


@both
def test_a_feed_of_one_message_a_second_is_called_stale_within_8_s(venue, measure):
    """By chance, silences of eight means come every hour: they are a remark, and no alarm."""

    async def main(stage):
        async with stage.feed(trades(stage.symbols[0])) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(300)
            began_ns = stage.clock.mono_ns()
            moments = {e.mono_ns for e in consumer.events if e.mono_ns >= began_ns - 200 * SECOND}
            per_s = len(moments) / 200  # a taker's trades come together
            newest_ns = consumer.events[-1].mono_ns
            record = stage.inject("silence", for_s=120.0)

            def stale():
                (topic,) = feed.stats().topics
                return topic.trust == "stale" and topic

            await stage.until(stale, 60, step_s=0.05)
            topic, silent_s = stale(), (stage.clock.mono_ns() - newest_ns) / SECOND
            assert topic.because.startswith("no data for")
            assert "usually" in topic.evidence
            assert 0 <= topic.since_s < 1
            await stage.until(lambda: notices(feed, "stalled"), 60)
            alarm_s = (stage.clock.mono_ns() - newest_ns) / SECOND
            await consumer.stop()
        assert record.happened
        return per_s, silent_s * per_s, alarm_s * per_s

    runs = [play(main, venue, rate=18.0, seed=seed) for seed in SEEDS]
    rates, stales, late = (statistics.median(column) for column in zip(*runs, strict=True))
    print(
        f"{venue}: {rates:.2f} messages/s; stale after {stales:.1f} means, alarm after {late:.1f}"
    )
    for _, stale, alarm in runs:
        measure("sparse.stale", stale)
        measure("sparse.alarm", alarm)
    assert 0.3 <= rates <= 3
    assert stales <= 8


@both
@pytest.mark.parametrize("lines", [1, 2])
def test_delays_of_80_ms_that_vary_by_30_raise_no_alarm(venue, lines, measure):
    async def main(stage):
        async with stage.feed(lines=lines) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(300)
            measure("alarms.jitter", len(notices(feed, *ALARMS)))
            assert not notices(feed, *ALARMS)
            assert feed.stats().dials == lines
            await consumer.stop()

    for seed in SEEDS[: len(SEEDS) // 3]:
        play(main, venue, seed=seed, latency_ms=50.0, jitter_ms=60.0)


@both
def test_our_own_stalls_are_said_to_be_ours(venue, measure):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(100)
            for seconds in (3, 2):  # stopped, and a callback that blocks
                stage.clock.advance_ns(seconds * SECOND)
                await asyncio.sleep(20)
            measure("alarms.own", len(notices(feed, *ALARMS)))
            assert not notices(feed, *ALARMS)
            told = notices(feed, "own-stall")
            lengths = [float(notice.cause.split()[5]) for notice in told]
            assert 2.7 <= lengths[0] <= 3.0  # part of it passed before the tick was due
            assert 1.7 <= lengths[1] <= 2.0
            stage.clock.suspend_ns(600 * SECOND)
            await asyncio.sleep(5)
            slept = notices(feed, "own-stall")[-1]
            assert slept.cause == "we did not run for 600.0 s ourselves"
            assert "suspended" in slept.evidence
            assert not notices(feed, "stalled", "slow", "frozen")
            # The venue has given us up meanwhile, and that is what the end says.
            assert not any("Stalled" in notice.cause for notice in notices(feed, "ended"))
            await consumer.stop()

    play(main, venue)


@both
def test_data_that_comes_late_is_called_slow_within_a_second(venue, measure):
    async def main(stage):
        async with stage.feed(book(*stage.symbols), trades(*stage.symbols)) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(60)
            assert {topic.trust for topic in feed.stats().topics} == {"live"}
            record = stage.inject("lag", delay_ms=650, for_s=30.0)
            came_s = await stage.until(
                lambda: any(
                    e.event_ns is not None and e.recv_ns - e.event_ns > 510_000_000
                    for e in consumer.events[-3:]
                )
            )
            took_s = await stage.until(lambda: notices(feed, "slow"), 10)
            assert "older than at best" in notices(feed, "slow")[0].evidence
            slow = [topic for topic in feed.stats().topics if topic.trust == "slow"]
            assert slow
            assert all(topic.because == "the line brings its data late" for topic in slow)
            await asyncio.sleep(60)
            assert len(notices(feed, "slow")) == 1
            assert not notices(feed, "ended")
            assert "slow" not in {topic.trust for topic in feed.stats().topics}
            await consumer.stop()
        assert record.happened
        return came_s, took_s

    runs = [play(main, venue, rate=40.0, seed=seed) for seed in range(3)]
    print(f"{venue}: late data after {runs[0][0]:.2f} s, called slow {runs[0][1]:.2f} s later")
    for _, took_s in runs:
        measure("late.slow", took_s)
    assert max(took_s for _, took_s in runs) <= 1.0


def test_a_night_of_quiet_topics_raises_no_alarm(request, measure):
    found, topics = [], max(12, request.config.getoption("--seeds", default=0) // 10)
    for seed in range(topics):
        rng = Random(seed)
        per_s = math.exp(rng.uniform(math.log(0.01), math.log(1.0)))
        topic = Topic(per_s, rng.uniform(0, 0.9), rng.choice((0.0, 0.0, 0.05, 0.2)))
        times = topic.times(rng, 0, DAY)
        found += [(seed, *each) for each in alarms(times, 0, DAY, FeedPolicy(), crowd=False)]
    print(f"{topics} topics for 24 h: {len(found)} alarms")
    measure("night.topics", topics)
    measure("night.alarms", len(found))
    assert not found


def test_sparse_topics_in_a_crowd_raise_no_alarm_through_expiries_and_settlement(measure):
    days, topics = (
        int(os.environ.get(name, default))
        for name, default in (("GAPLESS_SPARSE_DAYS", 1), ("GAPLESS_SPARSE_TOPICS", 100))
    )
    rng, found = Random(1), []
    for number in range(topics):
        per_s = math.exp(rng.uniform(math.log(0.0003), math.log(0.1)))
        topic = Topic(per_s, rng.uniform(0, 0.9), rng.choice((0.0, 0.05, 0.2)))
        life_ns, start_ns = rng.choice((1, 2, 7, 30)) * DAY, 0
        while start_ns < days * DAY:
            until_ns = min(days * DAY, start_ns + life_ns)
            times = topic.times(rng, start_ns, until_ns)
            each = alarms(times, start_ns, until_ns, FeedPolicy(), crowd=True, settles=True)
            found += [(number, *one) for one in each]
            start_ns = until_ns
    print(f"{topics} topics for {days} days: {len(found)} alarms")
    measure("crowd.topics", topics)
    measure("crowd.days", days)
    measure("crowd.alarms", len(found))
    assert len(found) <= days / 30
