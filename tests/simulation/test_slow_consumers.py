"""Whatever a consumer does, it ends with the venue's book, and keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.simulation.stage import (
    VENUES,
    Consumer,
    assert_marked_in_order,
    gaps,
    marks,
    play,
    rebuilt,
)

from gapless.core.outlet import Overflow
from gapless.errors import SlowConsumer
from gapless.events import Bbo, BookDelta, BookSnapshot, Gap, Resynced, Ticker, Trade
from gapless.planning import book, trades

both = pytest.mark.parametrize("venue", VENUES)


def assert_books_go_on(stage, events):
    """Every change follows the one before, unless a gap and a snapshot stand between them."""
    for symbol in stage.symbols:
        own = [e for e in events if e.origin.topic == stage.topic("book", symbol)]
        number, told = None, True
        for event in own:
            if isinstance(event, Gap):
                told = True
            elif isinstance(event, BookSnapshot):
                assert told, "a snapshot from nowhere"
                number, told = event.last, False
            elif isinstance(event, BookDelta):
                assert event.first == number + 1
                number = event.last


def assert_books_equal(stage, feed, events):
    """The consumer's own copies are the proven books, which are the venue's."""
    for symbol in stage.symbols:
        topic = stage.topic("book", symbol)
        proven = feed._running().streams[topic].proven()
        bids, asks, number = rebuilt(events, topic)
        assert number == feed._running().streams[topic].newest.last
        assert (bids, asks) == (dict(proven.bids()), dict(proven.asks()))


def assert_trades_are_accounted_for(stage, events):
    """Every trade is delivered or inside a gap that comes before anything behind it."""
    for symbol in stage.symbols:
        expected = None
        for event in (e for e in events if e.origin.topic == stage.topic("trades", symbol)):
            assert expected in (None, event.first)
            expected = event.last + 1
            assert not isinstance(event, Gap) or event.missing == expected - event.first


def drained(feed):
    events = []
    while (event := feed.take()) is not None:
        events.append(event)
    return events


PAUSES = st.lists(
    st.tuples(st.floats(0.0, 8.0), st.integers(0, 30)), min_size=1, max_size=6
)  # seconds without reading, then that many events


@pytest.mark.parametrize("overflow", [Overflow.CONFLATE, Overflow.DROP_AND_MARK])
@both
def test_after_any_pattern_of_slow_reading_the_consumers_book_is_the_venues(venue, overflow):
    @settings(
        max_examples=4,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # a run takes too long to shrink
    )
    @given(PAUSES, st.integers(1, 40), st.integers(0, 1000), st.booleans())
    def run(pauses, capacity, seed, breaks):
        async def main(stage):
            async with stage.feed(
                book(*stage.symbols), trades(*stage.symbols), capacity=capacity, overflow=overflow
            ) as feed:
                await asyncio.sleep(2)
                events = []
                if breaks:  # so that gaps, snapshots and resyncs stand among the changes
                    stage.inject("drop", topic=stage.topic("book"), count=2)
                for pause_s, count in pauses:
                    await asyncio.sleep(pause_s)
                    taken = [feed.take() for _ in range(count)]
                    events += [event for event in taken if event is not None]
                    assert len(feed._outlet) <= capacity + 4 + 16
                await asyncio.sleep(15)
                stage.exchange.world.held = set(range(len(stage.exchange.world.markets)))
                await asyncio.sleep(0.5)  # quiescence, and no silence to judge
                events += drained(feed)
                assert_books_go_on(stage, events)
                assert_books_equal(stage, feed, events)
                assert_trades_are_accounted_for(stage, events)

        play(main, venue, seed=seed, rate=20.0)

    run()


@both
def test_a_gap_in_a_book_that_is_conflated_stands_between_the_changes(venue):
    async def main(stage):
        topic = stage.topic("book")
        async with stage.feed(capacity=20, overflow=Overflow.CONFLATE) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(5)
            consumer.may_read.clear()
            await asyncio.sleep(5)
            record = stage.inject("drop", topic=topic, count=2)
            await asyncio.sleep(5)
            consumer.may_read.set()
            await asyncio.sleep(5)
            stats = feed.stats()
            events = await consumer.stop()
        assert record.happened == 2
        own = [e for e in events if e.origin.topic == topic]
        (at,) = [i for i, e in enumerate(own) if isinstance(e, Gap)]
        assert [type(e) for e in own[at - 1 : at + 4]] == [
            BookDelta,
            Gap,
            BookSnapshot,
            Resynced,
            BookDelta,
        ]
        assert not own[at].cause.startswith("slow_consumer")
        assert len(own[at - 1].bids) + len(own[at - 1].asks) > 10  # merged, as is the other
        assert len(own[at + 3].bids) + len(own[at + 3].asks) > 10
        assert_books_go_on(stage, events)
        assert stats.conflated > 50

    play(main, venue, rate=40.0)


@both
def test_the_gap_of_a_slow_consumer_says_so(venue):
    async def main(stage):
        async with stage.feed(capacity=16) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            consumer.may_read.clear()
            await asyncio.sleep(20)
            consumer.may_read.set()
            await asyncio.sleep(10)
            events = await consumer.stop()
        assert gaps(events)
        assert {g.cause for g in gaps(events)} == {"slow_consumer: the consumer was too slow"}
        assert_marked_in_order(events)

    play(main, venue, rate=40.0)


def test_a_conflating_consumer_that_is_always_too_slow_sees_the_newest_and_every_topic():
    async def main(stage):
        async with stage.feed(capacity=50, overflow=Overflow.CONFLATE) as feed:
            await asyncio.sleep(5)
            seen, ages_ns, sizes = {}, [], []
            for _ in range(600):
                await asyncio.sleep(0.2)
                event = feed.take()
                if isinstance(event, BookDelta | Bbo | Ticker):
                    seen[event.origin.topic] = seen.get(event.origin.topic, 0) + 1
                    ages_ns.append(stage.clock.wall_ns() - event.recv_ns)
                sizes.append(len(feed._outlet))
        assert len(seen) >= 5  # nobody starves
        assert max(sizes) <= 50 + 8
        # Five a second are taken of fifty: a plain queue would be minutes behind by now.
        print(f"newest {max(ages_ns[100:]) / 1e9:.1f} s old, waiting {max(sizes)}, {seen}")
        assert max(ages_ns[100:]) <= 15e9

    play(main, rate=100.0)


# -- others -----------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", list(Overflow))
@both
def test_one_slow_consumer_never_delays_another_nor_its_socket(venue, overflow):
    def run(slow):
        async def main(stage):
            async with stage.feed() as quick:
                taken = []

                async def follow():
                    async for event in quick:
                        waited_ns = stage.clock.wall_ns() - event.recv_ns
                        taken.append((event, waited_ns))

                following = asyncio.create_task(follow())
                if slow:
                    async with stage.feed(capacity=8, overflow=overflow) as other:
                        await asyncio.sleep(40)
                        assert len(other._outlet) >= 8
                        if overflow is Overflow.FAIL:
                            for _ in range(8):
                                other.take()
                            with pytest.raises(SlowConsumer):
                                other.take()
                        dials = other.stats().dials
                        assert overflow is Overflow.BLOCK or dials == 1
                else:
                    await asyncio.sleep(40)
                following.cancel()
                await asyncio.wait((following,))
                assert quick.stats().dials == 1
            return taken

        return play(main, venue, rate=40.0)

    alone, beside = run(slow=False), run(slow=True)
    assert len(alone) > 500
    assert not marks([event for event, _ in beside])
    waits = [[waited_ns for _, waited_ns in run[100:]] for run in (alone, beside)]
    assert max(waits[1]) == max(waits[0]) == 0  # taken in the moment it came
    latency = [
        [event.recv_ns - event.event_ns for event, _ in run if event.event_ns]
        for run in (alone, beside)
    ]
    assert max(latency[1]) <= max(latency[0])


def test_slow_and_quick_consumers_of_one_kind_see_the_same_trades():
    async def main(stage):
        async with (
            stage.feed(trades(*stage.symbols)) as quick,
            stage.feed(trades(*stage.symbols), capacity=100_000) as slow,
        ):
            consumer = Consumer(quick)
            await asyncio.sleep(30)
            ids = [e.id for e in await consumer.stop() if isinstance(e, Trade)]
            late = [e.id for e in drained(slow) if isinstance(e, Trade)]
        assert len(ids) > 100
        assert set(ids) == set(late)

    play(main, rate=60.0)


def test_blocking_pauses_only_the_feed_that_asked_for_it():
    async def main(stage):
        async with (
            stage.feed(capacity=8, overflow=Overflow.BLOCK) as slow,
            stage.feed() as quick,
        ):
            await asyncio.sleep(1)
            before = quick.stats().received
            held = slow.stats().received
            await asyncio.sleep(1)
            assert slow.stats().received == held  # its sockets are not read
            assert quick.stats().received > before + 20

    play(main, rate=100.0)


def test_what_a_conflating_feed_delivers_is_in_order_within_each_topic():
    async def main(stage):
        async with stage.feed(capacity=10, overflow=Overflow.CONFLATE) as feed:
            events = []
            for _ in range(200):
                await asyncio.sleep(0.15)
                events += [e for e in (feed.take(), feed.take()) if e is not None]
            events += drained(feed)
        for topic in {e.origin.topic for e in events}:
            own = [e for e in events if e.origin.topic == topic and not isinstance(e, Gap)]
            for before, after in itertools.pairwise(own):
                assert after.recv_ns >= before.recv_ns
                if after.last is not None and before.last is not None:
                    assert after.last >= before.last

    play(main, rate=80.0)
