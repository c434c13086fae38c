"""Rotation without a seam: nothing is lost, repeated or out of order, whatever else happens."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from random import Random

import pytest
from tests.simulation.stage import SECOND, VENUES, Consumer, marks, notices, play

from gapless.core.rotation import LIFETIME_SPREAD
from gapless.core.supervisor import OVERLAP_MAX_NS, OVERLAP_NS, LineState
from gapless.errors import GaplessError, TransportError, UsageError
from gapless.planning import bbo, book, ticker, trades

both = pytest.mark.parametrize("venue", VENUES)


def living(stage, seconds, *subscriptions, **options):
    """Return a feed whose sessions are replaced after ``seconds``."""
    feed = stage.feed(*subscriptions, **options)
    feed._plan = dataclasses.replace(feed._plan, lifetime_ns=int(seconds * SECOND))
    return feed


def assert_nothing_happened(stage, feed, events):
    assert marks(events) == []
    card = stage.card(feed, events)
    assert card.kept, card.as_dict()
    zero = ("missing", "lost", "duplicated", "misordered", "unannounced")
    assert {name: card.total(name) for name in zero} == dict.fromkeys(zero, 0)
    return card


# -- an hour ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "lines", "minutes"),
    [("deribit", 1, 6), ("deribit", 2, 12), ("binance.spot", 1, 12), ("binance.spot", 2, 6)],
)
def test_an_hour_of_rotation_every_minute_loses_repeats_and_misorders_nothing(
    venue, lines, minutes, pytestconfig, measure
):
    """The first minutes of it; whole hours of five seeds with ``--seeds 1000`` and more."""
    long = pytestconfig.getoption("--seeds") >= 1000
    for seed in range(5 if long else 1):
        span_s = 3600 if long else minutes * 60

        async def main(stage, span_s=span_s):
            makers = (trades, book, bbo, ticker)
            wanted = [make(stage.symbols[0]) for make in makers]
            async with living(stage, 60, *wanted, lines=lines) as feed:
                consumer = Consumer(feed)
                await asyncio.sleep(span_s)
                stats = feed.stats()
                events = await consumer.stop()
            assert stats.sessions >= span_s // 61 * lines
            assert {end.cause for end in stats.ended} == {"planned"}
            return stats, assert_nothing_happened(stage, feed, events)

        stats, card = play(main, venue, seed=seed, rate=3.0, jitter_ms=3.0)
        print(f"{venue}, {lines} lines, seed {seed}: {stats.sessions} sessions, {card.as_dict()}")
        measure("rotation.minutes", span_s / 60)
        measure("rotation.sessions", stats.sessions)
        measure("rotation.lost", card.total("missing") + card.total("lost"))
        measure("rotation.repeated", card.total("duplicated") + card.total("misordered"))


@both
def test_rotation_at_a_high_rate_loses_nothing_either(venue):
    async def main(stage):
        async with living(stage, 10) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(60)
            stats = feed.stats()
            events = await consumer.stop()
        assert stats.sessions >= 5
        assert_nothing_happened(stage, feed, events)

    play(main, venue, rate=200.0, jitter_ms=20.0)


# -- one at a time ----------------------------------------------------------------------------


def test_two_lines_are_never_replaced_at_the_same_time():
    async def main(stage):
        async with living(stage, 20, lines=2) as feed:
            consumer = Consumer(feed)
            both_up = 0
            for _ in range(1200):
                await asyncio.sleep(0.1)
                states = [state.value for state in feed._running().supervisor.states().values()]
                assert states.count("rotating") <= 1
                both_up += states == ["up", "up"]
            stats = feed.stats()
            events = await consumer.stop()
        assert {end.line for end in stats.ended} == {"a", "b"}
        assert len(stats.ended) >= 8  # again and again
        assert both_up > 600
        assert_nothing_happened(stage, feed, events)

    play(main)


def test_shutdown_notices_to_both_lines_are_followed_one_after_the_other():
    async def main(stage):
        async with stage.feed(lines=2) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            record = stage.inject("shutdown_notice", lead_s=10.0)
            for _ in range(300):
                await asyncio.sleep(0.1)
                states = [state.value for state in feed._running().supervisor.states().values()]
                assert states.count("rotating") <= 1
            stats = feed.stats()
            events = await consumer.stop()
        assert record.happened
        assert sorted((end.line, end.cause) for end in stats.ended) == [
            ("a", "planned"),
            ("b", "planned"),
        ]
        assert_nothing_happened(stage, feed, events)

    play(main, "binance.spot", jitter_ms=3.0)


# -- overlap ----------------------------------------------------------------------------------


@both
def test_the_old_session_goes_when_every_topic_overlaps_and_not_before(venue):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            conductor = feed._running()
            (old,) = conductor.drivers
            rotating = asyncio.create_task(feed.rotate())
            await stage.until(lambda: len(conductor.drivers) == 2)
            (new,) = set(conductor.drivers) - {old}
            await stage.until(lambda: new in {n.epoch for n in notices(feed, "live")}, 5)
            live_ns = stage.clock.mono_ns()
            await rotating
            took_ns = stage.clock.mono_ns() - live_ns
            streams = conductor.streams.values()
            assert took_ns >= OVERLAP_MAX_NS or all(s.overlaps(new) for s in streams)
            await asyncio.sleep(10)
            events = await consumer.stop()
        assert OVERLAP_NS - SECOND // 100 <= took_ns <= OVERLAP_MAX_NS + SECOND // 2
        assert_nothing_happened(stage, feed, events)

    play(main, venue, jitter_ms=3.0)


def test_a_successor_that_brings_nothing_of_a_busy_topic_is_given_time_and_then_taken():
    async def main(stage):
        async with stage.feed(book(stage.symbols[0]), trades(stage.symbols[0])) as feed:
            await asyncio.sleep(20)
            conductor = feed._running()
            (old,) = conductor.drivers
            rotating = asyncio.create_task(feed.rotate())
            await stage.until(lambda: len(stage.opened()) == 2)
            new_session = stage.opened()[-1]["session"]
            topic = stage.topic("trades")
            record = stage.inject("mute", session=new_session, topic=topic, for_s=60.0)
            await stage.until(lambda: notices(feed, "live")[-1].epoch != old, 20)
            live_ns = stage.clock.mono_ns()
            await rotating
            assert record.happened
            return (stage.clock.mono_ns() - live_ns) / SECOND

    took_s = play(main, rate=40.0)
    assert OVERLAP_MAX_NS / SECOND - 0.01 <= took_s <= OVERLAP_MAX_NS / SECOND + 0.1


@both
def test_a_successor_that_brings_nothing_at_all_never_replaces_a_session_that_does(venue):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            (old,) = feed._running().drivers
            rotating = asyncio.create_task(feed.rotate())
            await stage.until(lambda: len(stage.opened()) == 2)
            new_session = stage.opened()[-1]["session"]
            record = stage.inject("silence", session=new_session, for_s=60.0)
            with pytest.raises(GaplessError, match="keeps its session"):
                await rotating
            await asyncio.sleep(2)
            assert list(feed._running().drivers) == [old]
            events = await consumer.stop()
            assert record.happened
        assert marks(events) == []

    play(main, venue, rate=40.0)


# -- by the user ------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 2])
@both
def test_rotate_returns_when_the_new_sessions_carry(venue, lines):
    async def main(stage):
        async with stage.feed(lines=lines) as feed:
            consumer = Consumer(feed)
            await stage.until(lambda: len(notices(feed, "live")) == lines)
            await asyncio.sleep(5)
            before = {line.line: line.epoch for line in feed.stats().lines}
            await feed.rotate()
            await asyncio.sleep(1)
            after = {line.line: line.epoch for line in feed.stats().lines}
            assert set(after) == set(before)
            assert all(after[line] > max(before.values()) for line in after)
            assert {line.state for line in feed.stats().lines} == {"up"}
            await asyncio.sleep(5)
            events = await consumer.stop()
        assert_nothing_happened(stage, feed, events)

    play(main, venue, jitter_ms=3.0)


def test_rotate_replaces_only_the_line_that_is_named():
    async def main(stage):
        async with stage.feed(lines=2) as feed:
            await stage.until(lambda: len(notices(feed, "live")) == 2)
            before = {line.line: line.epoch for line in feed.stats().lines}
            await feed.rotate(line="b")
            await asyncio.sleep(1)
            after = {line.line: line.epoch for line in feed.stats().lines}
            assert after["a"] == before["a"]
            assert after["b"] != before["b"]
            with pytest.raises(UsageError, match="no line 'z': there are a, b"):
                await feed.rotate(line="z")

    play(main)


def test_rotate_says_in_words_why_it_cannot():
    async def main(stage):
        feed = stage.feed()
        with pytest.raises(UsageError, match="async with"):
            await feed.rotate()
        async with feed:
            with pytest.raises(
                TransportError, match=r"line a is (down|starting): there is nothing"
            ):
                await feed.rotate()
            await stage.until(lambda: notices(feed, "live"))
            waiting = asyncio.create_task(feed.rotate())
            await asyncio.sleep(0)
        with pytest.raises(TransportError, match=r"the feed was closed|stopped"):
            await waiting

    play(main)


def test_a_successor_that_fails_keeps_the_old_session_and_rotate_raises():
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            (old,) = feed._running().drivers
            record = stage.inject("refuse", status=503, for_s=5.0)
            with pytest.raises(GaplessError, match="503"):
                await feed.rotate()
            assert record.happened == 1
            assert list(feed._running().drivers) == [old]
            await asyncio.sleep(60)
            assert list(feed._running().drivers) == [old]  # who asked decides what follows
            await feed.rotate()
            await asyncio.sleep(5)
            events = await consumer.stop()
        assert_nothing_happened(stage, feed, events)

    play(main)


def test_who_gives_up_waiting_leaves_the_rotation_alone():
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            (old,) = feed._running().drivers
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await feed.rotate()
            await stage.until(lambda: old not in feed._running().drivers, 10)
            await asyncio.sleep(5)
            events = await consumer.stop()
        assert_nothing_happened(stage, feed, events)

    play(main)


# -- while something else breaks ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@both
def test_a_rotation_while_a_fault_strikes_keeps_the_promise(venue, seed):
    async def main(stage):
        rng = Random(seed)
        records = []
        async with living(stage, 15) as feed:
            consumer = Consumer(feed)
            states = feed._running().supervisor.states
            for name in ("reset", "close", "half_open", "silence"):
                await stage.until(lambda: LineState.ROTATING in states().values(), 60, 0.05)
                await asyncio.sleep(rng.uniform(0, 1.5))
                open_now = list(stage.exchange.sessions.values())
                victim = rng.choice(open_now).id
                span = {"for_s": 4.0} if name == "silence" else {}
                records.append(stage.inject(name, session=victim, **span))
                await asyncio.sleep(20)
            await stage.until(lambda: all(t.trust == "live" for t in feed.stats().topics), 60, 0.5)
            await asyncio.sleep(20)
            events = await consumer.stop()
        assert sum(record.happened > 0 for record in records) >= 3
        card = stage.card(feed, events)
        assert card.kept, card.as_dict()

    play(main, venue, seed=seed, jitter_ms=3.0)


# -- fleets -----------------------------------------------------------------------------------


def test_a_fleet_that_began_together_is_not_replaced_together():
    planned_ns = 24 * 3600 * SECOND
    lives = []
    for seed in range(100):

        async def main(stage):
            async with living(stage, planned_ns / SECOND) as feed:
                await stage.until(lambda: feed._running().drivers)
                (driver,) = feed._running().drivers.values()
                return driver.session._timing.lifetime_ns

        lives.append(play(main, seed=seed))
    spread_ns = int(planned_ns * LIFETIME_SPREAD)
    assert max(lives) <= planned_ns
    assert min(lives) >= planned_ns - spread_ns
    assert max(lives) - min(lives) >= 0.9 * spread_ns
    lives.sort()
    for first, sixth in itertools.pairwise(lives[::5]):
        assert sixth - first >= spread_ns / 1000  # no crowd anywhere
    busiest = max(sum(at <= other < at + 300 * SECOND for other in lives) for at in lives)
    print(f"of 100 sessions at most {busiest} are replaced within 5 minutes")
    assert busiest <= 25
