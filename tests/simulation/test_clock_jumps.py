"""The machine's wall clock is set, and nothing is decided by it."""

from __future__ import annotations

import asyncio

import pytest
from tests.simulation.stage import SECOND, VENUES, Consumer, marks, notices, play

from gapless.io.runtime import Runtime
from gapless.testing import MemoryConnector

ALARMS = ("stalled", "slow", "frozen", "ended", "violation", "resync")
HOUR = 3600 * SECOND


class Wrong:
    """The client's clock: the venue's, and what somebody has added to its wall time."""

    def __init__(self, clock):
        self._clock = clock
        self.mono_ns, self.asleep_ns = clock.mono_ns, clock.asleep_ns
        self.added_ns = 0

    def wall_ns(self):
        return self._clock.wall_ns() + self.added_ns


@pytest.mark.parametrize("jumps_h", [(1, 0), (-1, 0), (2, -2)], ids=str)
@pytest.mark.parametrize("venue", VENUES)
def test_a_wall_clock_that_jumps_changes_nothing(venue, jumps_h):
    async def main(stage):
        clock = Wrong(stage.clock)
        stage.runtime = Runtime(clock, MemoryConnector(stage.network), stage.venue.rest)
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(60)
            for hours in jumps_h:
                clock.added_ns = hours * HOUR
                count = len(consumer.events)
                await asyncio.sleep(60)
                assert len(consumer.events) > count + 100
                wrong_ns = consumer.events[-1].recv_ns - stage.clock.wall_ns()
                assert abs(wrong_ns - hours * HOUR) < SECOND, "the clock did jump"
            told = [(n.kind, n.cause, n.evidence) for n in notices(feed, *ALARMS)]
            assert told == []
            assert feed.stats().dials == 1
            assert {topic.trust for topic in feed.stats().topics} == {"live"}
            events = await consumer.stop()
        assert not marks(events)
        assert stage.card(feed, events).kept

    play(main, venue)
