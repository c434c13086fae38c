"""Lines that carry little are merged, and nobody who listens can tell."""

from __future__ import annotations

import dataclasses

from tests.simulation.stage import SECOND, Consumer, gaps, notices, play

from gapless.core.universe import Changes
from gapless.io.merging import MERGE_EVERY_NS, MERGE_WITHIN_NS
from gapless.planning import book
from gapless.sim.chain import ChainOptions
from gapless.venues._profile import Fact

CHAIN = ChainOptions(strikes=24, cycle_s=3600, cycles=2)  # nothing expires here


async def rest(stage, seconds):
    until_ns = stage.clock.mono_ns() + int(seconds * SECOND)
    await stage.until(lambda: stage.clock.mono_ns() >= until_ns, seconds + 1, 0.05)


def sharded(stage, **options):
    """Return a feed of a chain whose connections carry ten topics at most."""
    feed = stage.feed(book("option:BTC"), **options)
    limited = dataclasses.replace(
        feed._plan.profile, topics_per_connection=Fact(10, "a test", "2026-11-22")
    )
    feed._plan = dataclasses.replace(feed._plan, profile=limited)
    return feed


def carried(feed):
    return {line: set(topics) for line, topics in feed._running().following.placement.lines.items()}


def retire(feed, topics):
    """Follow all but these topics no more."""
    conductor = feed._running()
    gone = [spec.symbol for topic, spec in conductor.following.specs.items() if topic in topics]
    selection = conductor.plan.selections[0]
    conductor.changed(selection, Changes(retire=tuple((name, "a test") for name in gone)))


def thinned(test, lines=1, **options):
    """Run ``test`` on a feed of three lines for each letter, the last of which carry two each."""

    async def main(stage):
        async with sharded(stage, lines=lines, allow_same=True) as feed:
            consumer = Consumer(feed)
            await rest(stage, 10)
            before = carried(feed)
            assert len(before) == 3 * lines
            keep = {t for topics in list(before.values())[:1] for t in sorted(topics)[:3]}
            for line, topics in before.items():
                if line[0] == "a" and line != next(iter(before)):
                    keep |= set(sorted(topics)[:2])
            retire(feed, {t for topics in before.values() for t in topics} - keep)
            await test(stage, feed, consumer, keep)
            return await consumer.stop()

    return play(main, chain=CHAIN, truth_topics=(), rate=40.0, **options)


async def proven_books_equal(stage, feed, keep):
    world, scales = stage.exchange.world, stage.exchange.dialect.scales
    world.held = set(range(len(world.markets)))
    await rest(stage, 1)  # so that nothing is under way
    equal = 0
    for topic in keep:
        stream = feed._running().streams[topic]
        market = world.by_name[stream.spec.symbol]
        price, size = (scale.value for scale in scales[market.index])
        view = market.view()
        equal += stream.readable and (stream.book.bids(), stream.book.asks()) == (
            [(price[p], size[s]) for p, s in view.bids],
            [(price[p], size[s]) for p, s in view.asks],
        )
    return equal


def test_after_many_removals_thin_lines_are_merged_without_a_gap():
    async def test(stage, feed, consumer, keep):
        assert len(carried(feed)) == 3
        sessions = feed.stats().sessions
        await rest(stage, 2.5 * MERGE_EVERY_NS / SECOND)
        assert list(carried(feed)) == ["a"]
        assert carried(feed)["a"] == keep
        (session,) = stage.exchange.sessions.values()
        assert {t for t in session.topics if t.startswith("book.")} == keep
        assert feed.stats().sessions == sessions  # nobody dialled for it
        assert len([n for n in notices(feed, "rotating") if "merged" in n.cause]) == 2
        assert [end.cause for end in feed.stats().ended] == ["planned"] * 2
        flowing = len(consumer.events)
        await rest(stage, 20)
        assert {e.origin.topic for e in consumer.events[flowing:]} == keep
        assert await proven_books_equal(stage, feed, keep) == len(keep)

    assert not gaps(thinned(test))


def test_each_redundancy_is_merged_on_its_own():
    async def test(stage, feed, consumer, keep):
        await rest(stage, 5 * MERGE_EVERY_NS / SECOND)
        assert list(carried(feed)) == ["a", "b"]
        assert carried(feed) == {"a": keep, "b": keep}
        held = [set(session.topics) for session in stage.exchange.sessions.values()]
        assert len(held) == 2
        assert held[0] == held[1]

    assert not gaps(thinned(test, lines=2))


def test_topics_that_do_not_come_on_the_other_line_stay_where_they_are():
    async def test(stage, feed, consumer, keep):
        before = carried(feed)
        placement = feed._running().following.placement
        await rest(stage, MERGE_EVERY_NS / SECOND - 11)
        assert placement.leaving is None
        thin = before["a2"] | before["a3"]
        records = [stage.inject("mute", topic=topic, for_s=45.0) for topic in thin]
        await stage.until(lambda: placement.leaving, 5, 0.05)
        began_ns = stage.clock.mono_ns()
        assert set(placement.lines[placement.leaving]) <= set(placement.lines["a"])
        await stage.until(lambda: placement.leaving is None, 40, 0.05)
        took_ns = stage.clock.mono_ns() - began_ns
        assert MERGE_WITHIN_NS - SECOND <= took_ns <= MERGE_WITHIN_NS + SECOND
        assert all(record.happened for record in records)
        assert carried(feed) == before
        await rest(stage, 1)
        held = [set(session.topics) & keep for session in stage.exchange.sessions.values()]
        assert held.count(before["a"]) == 1  # what was doubled is unsubscribed there again
        await rest(stage, 20)
        assert await proven_books_equal(stage, feed, keep) == len(keep)

    thinned(test)


def test_nothing_new_is_placed_on_a_line_that_gave_up():
    async def main(stage):
        async with sharded(stage) as feed:
            await rest(stage, 10)
            conductor = feed._running()
            last = list(carried(feed))[-1]
            victim = next(d for d in conductor.drivers.values() if d.line == last)
            victim.abort(KeyError("surprise"), stage.clock.mono_ns())
            await rest(stage, 1)
            assert {s.line for s in feed.stats().lines if s.state == "halted"} == {last}
            placement = conductor.following.placement
            assert last in placement.closed
            room = len(placement.lines[last])
            assert room < 10  # there would be room on it
            assert placement.place("book.NEW.100ms", placement.paths[last]) != [last]

    play(main, chain=CHAIN, truth_topics=(), rate=50.0)
