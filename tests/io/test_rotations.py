"""Lines that stay slow, and successors that overlap; `Feed.rotate` is tested with feeds."""

from __future__ import annotations

import asyncio

from tests.simulation.stage import SECOND, Consumer, marks, notices, play

from gapless.core.rotation import LATE_AGAIN_NS, LATE_FOR_NS, LATE_NS


async def late_line(stage, delay_ms, seconds):
    """Let line b lag, and return what became of it."""
    async with stage.feed(lines=2, allow_same=True) as feed:
        consumer = Consumer(feed)
        await stage.until(lambda: len(notices(feed, "live")) == 2)
        await asyncio.sleep(5)
        newest = max(stage.exchange.sessions.values(), key=lambda session: session.id)
        record = stage.inject("lag", session=newest.id, delay_ms=delay_ms, for_s=3600.0)
        await asyncio.sleep(seconds)
        rotated = notices(feed, "rotating")
        events = await consumer.stop()
    assert record.happened > 20
    return rotated, events


def test_a_line_that_is_slower_than_its_sibling_for_a_minute_is_replaced():
    async def main(stage):
        rotated, events = await late_line(stage, LATE_NS // 1_000_000 + 100, 120)
        (notice,) = rotated
        assert notice.line in {"a", "b"}
        assert "slower than its sibling" in notice.cause
        assert marks(events) == []

    play(main)


def test_a_line_that_is_a_little_slower_is_left_alone():
    async def main(stage):
        rotated, events = await late_line(stage, LATE_NS // 2_000_000, 120)
        assert rotated == []
        assert marks(events) == []

    play(main)


def test_a_successor_that_is_gone_holds_nobody_up():
    async def main(stage):
        async with stage.feed() as feed:
            await stage.until(lambda: notices(feed, "live"))
            rotations = feed._running().rotations
            assert rotations.overlaps(99)
            (epoch,) = feed._running().drivers
            await asyncio.sleep(5)
            assert rotations.overlaps(epoch)

    play(main)


def test_the_end_of_a_session_that_was_replaced_before_fails_no_later_rotation():
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await stage.until(lambda: notices(feed, "live"))
            await feed.rotate()
            drivers = feed._running().drivers
            assert sorted(drivers) == [1, 2]  # the first is on its way out still
            await feed.rotate()
            assert sorted(drivers) == [2, 3]
            events = await consumer.stop()
        assert marks(events) == []

    play(main)


def test_the_minute_is_shorter_than_the_pause_between_two():
    assert SECOND < LATE_FOR_NS < LATE_AGAIN_NS
