"""One of two lines fails, and the consumer sees nothing of it; both fail, and it is told at once.

Each line takes a way of its own through the network, and sessions of its own at the venue.  What is
done to one of them is proven to have happened before anything is said of what came of it.
``GAPLESS_LINE_SEEDS`` sets how many seeds are played of each; the long run takes more.
"""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.simulation.stage import SECOND, VENUES, Consumer, gaps, marks, play

from gapless.core.stats import Histogram
from gapless.events import Gap, Resynced
from gapless.io.runtime import Runtime
from gapless.testing import MemoryConnector
from gapless.testing.weather import Calamity, strike

SEEDS = int(os.environ.get("GAPLESS_LINE_SEEDS", "2"))
LATENCY_MS = 5.0
FAULTS = ("killed", "stalled", "blackholed", "lagging", "repeating")

both = pytest.mark.parametrize("venue", VENUES)


def with_ways(stage):
    """Let each line take a way of its own."""
    connector = MemoryConnector(stage.network, lambda receiver: receiver.line)
    stage.runtime = Runtime(stage.clock, connector, stage.venue.rest)
    return stage


def session_of(stage, line_index):
    """Return the venue's number of the session that was opened at this place."""
    return stage.opened()[line_index]["session"]


def harm(stage, fault):
    """Let something befall one line; return what counts that it did."""
    match fault:
        case "killed":
            return strike(stage.network, ["a"], Calamity(name="crash"))
        case "blackholed":
            return strike(stage.network, ["a"], Calamity(name="partition", for_s=8.0))
        case "lagging":
            slow = Calamity(name="slow", for_s=8.0, delay_ms=2000)
            return strike(stage.network, ["a"], slow)
        case "stalled":
            return stage.inject("silence", session=session_of(stage, 0), for_s=8.0)
        case "repeating":
            number = session_of(stage, 0)
            return stage.inject("duplicate", session=number, for_s=8.0, probability=0.4)
    raise AssertionError(fault)


def delays_ns(events):
    """How long each message took from the venue's making it to the consumer."""
    histogram = Histogram()
    for event in events:
        if event.event_ns is not None and not isinstance(event, Gap | Resynced):
            histogram.record(event.recv_ns - event.event_ns)
    return histogram


async def run(stage, fault):
    with_ways(stage)
    async with stage.feed(lines=2) as feed:
        consumer = Consumer(feed)
        await asyncio.sleep(6)
        assert all(topic.trust == "live" for topic in feed.stats().topics)
        begun = len(consumer.events)
        record = None if fault is None else harm(stage, fault)
        await asyncio.sleep(12)
        stats = feed.stats()
        events = await consumer.stop()
    return feed, stats, events, begun, record


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("fault", FAULTS)
@both
def test_one_of_two_lines_fails_and_nothing_is_lost_repeated_or_late(venue, fault, seed, measure):
    async def main(stage):
        feed, stats, events, begun, record = await run(stage, fault)
        assert record.happened, "the fault did not happen"
        if fault in {"killed", "blackholed", "stalled"}:
            assert stats.sessions >= 3, "the sick line was replaced"
        card = stage.card(feed, events)
        return card, stats, events, begun

    arguments = {"seed": seed + 1, "rate": 30.0, "latency_ms": LATENCY_MS, "jitter_ms": 2.0}
    card, stats, events, begun = play(main, venue, **arguments)
    delay_ns = delays_ns(events[begun:])
    print(
        f"{venue}, {fault}, seed {seed}: delay p50 {delay_ns.quantile(0.5) / 1e6:.1f} ms, "
        f"p99 {delay_ns.quantile(0.99) / 1e6:.1f} ms; {card.as_dict()}"
    )
    totals = {name: card.total(name) for name in ("missing", "lost", "duplicated", "misordered")}
    measure("two_lines.lost", totals["missing"] + totals["lost"])
    measure("two_lines.repeated", totals["duplicated"] + totals["misordered"])
    assert totals == {"missing": 0, "lost": 0, "duplicated": 0, "misordered": 0}
    assert card.kept
    assert not gaps(events)
    assert stats.duplicates > 100, "both lines have worked"
    lines = {line.line: line for line in stats.lines}
    assert lines["a"].wins + lines["a"].losses > 50

    # Venues collect depth updates and tickers for a while, so delays are compared, not bounded.
    async def quiet(stage):
        _, _, events, begun, _ = await run(stage, None)
        return delays_ns(events[begun:])

    quiet_ns = play(quiet, venue, **arguments)
    added_ms = (delay_ns.quantile(0.99) - quiet_ns.quantile(0.99)) / 1e6
    print(f"  the fault adds {added_ms:.2f} ms to p99")
    measure("two_lines.added_ms", added_ms)
    assert added_ms <= 5.0


@both
def test_a_line_that_is_half_a_second_late_shows_it_in_its_own_figures(venue):
    async def main(stage):
        with_ways(stage)
        way = stage.network.way("a")
        way.latency_ns += SECOND // 2
        async with stage.feed(lines=2) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            stats = feed.stats()
            await consumer.stop()
        return stats, way.crossed

    stats, crossed = play(main, venue, rate=30.0)
    assert crossed > 100
    late, quick = sorted(stats.lines, key=lambda line: line.line)
    assert (late.wins, quick.losses) == (0, 0)
    assert late.losses == quick.wins > 100
    assert quick.late_ms is None
    p50_ms, p99_ms = late.late_ms
    assert 500 <= p50_ms <= p99_ms <= 500 * 9 / 8 + 1, "a bucket is an eighth wide"


@pytest.mark.parametrize("seed", range(SEEDS))
@both
def test_what_both_lines_lose_is_announced_before_anything_later(venue, seed, measure):
    async def main(stage):
        with_ways(stage)
        async with stage.feed(lines=2) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(6)
            topics = [stage.topic(channel) for channel in ("trades", "book")]
            records = [
                stage.inject("drop", topic=topic, session=session_of(stage, index), count=2)
                for topic in topics
                for index in (0, 1)
            ]
            dropped_ns = stage.clock.mono_ns()
            await stage.until(lambda: all(record.happened == 2 for record in records))
            await asyncio.sleep(4)
            events = await consumer.stop()
        card = stage.card(feed, events)
        return card, events, dropped_ns, topics

    card, events, dropped_ns, topics = play(main, venue, seed=seed + 1, rate=30.0)
    assert card.kept  # every gap before what lies behind it, and of its size
    told = {gap.origin.topic for gap in gaps(events)}
    assert told == set(topics)
    book = [event for event in marks(events) if event.origin.topic == topics[1]]
    resynced = [event for event in book if isinstance(event, Resynced)]
    first = next(event for event in book if isinstance(event, Gap))
    assert resynced
    took_ms = (resynced[-1].mono_ns - first.mono_ns) / 1e6
    print(f"{venue}, seed {seed}: resynced {took_ms:.0f} ms after the gap; {card.as_dict()}")
    measure("both_lines.resynced", took_ms / 1000)
    assert first.mono_ns > dropped_ns
    assert resynced[0].mono_ns - first.mono_ns <= 2 * SECOND + 4 * LATENCY_MS * 1e6
