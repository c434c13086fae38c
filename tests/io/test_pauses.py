"""Planned silence: the calendar, maintenance and halts, for what is followed by name."""

from __future__ import annotations

import asyncio

import pytest
from tests.simulation.stage import SECOND, Consumer, Stage, notices

from gapless.core.codec import Lifecycle
from gapless.events import Gap
from gapless.io.pauses import CROSSED_MAX_NS
from gapless.planning import book, trades
from gapless.sim.chain import ChainOptions
from gapless.testing import VirtualClock, run

MIDNIGHT_NS = 1_700_006_400 * SECOND  # 2023-11-15 00:00:00 UTC
EIGHT_NS = MIDNIGHT_NS + 8 * 3600 * SECOND
ALARMS = ("stalled", "unproven", "rotating", "unsubscribed", "ended")


def live(test, *, wall_ns=MIDNIGHT_NS, subscriptions=None, **arguments):
    """Run ``await test(stage, feed)`` on Deribit from the given Unix time on."""
    clock = VirtualClock(wall_ns=wall_ns)

    async def main():
        stage = Stage(clock, "deribit", **arguments)
        chosen = subscriptions(stage) if subscriptions else (book(*stage.symbols),)
        try:
            async with stage.feed(*chosen) as feed:
                consumer = Consumer(feed)
                await test(stage, feed)
                await consumer.stop()
                return consumer.events
        finally:
            stage.venue.close()

    return run(main(), clock)


def trust(feed):
    return {topic.trust for topic in feed.stats().topics}


def told(feed, symbol, state):
    """Have the venue say where an instrument stands."""
    feed._running().lifecycle(Lifecycle(symbol, state))


def test_a_daily_settlement_is_planned_silence_and_no_alarm():
    async def test(stage, feed):
        await asyncio.sleep(59)
        assert trust(feed) == {"live"}
        stage.exchange.world.held = {0, 1}  # the venue pauses at 08:00:00 and resumes at 08:00:20
        await asyncio.sleep(10)
        assert trust(feed) == {"planned"}
        assert {t.because for t in feed.stats().topics} == {"the daily settlement at 08:00 UTC"}
        await asyncio.sleep(11)
        stage.exchange.world.held = set()
        await asyncio.sleep(5)
        assert trust(feed) == {"live"}, "it speaks: there is no silence to explain"
        await asyncio.sleep(30)
        assert [n.kind for n in notices(feed, "planned", "resumed")] == ["planned", "resumed"]
        assert not notices(feed, *ALARMS)
        assert feed.stats().dials == 1

    events = live(test, wall_ns=EIGHT_NS - 60 * SECOND)
    assert not [event for event in events if isinstance(event, Gap)]


def test_the_same_silence_at_another_time_is_an_alarm():
    async def test(stage, feed):
        await asyncio.sleep(59)
        stage.exchange.world.held = {0, 1}
        await asyncio.sleep(20)
        assert notices(feed, "stalled", "unproven")

    live(test, wall_ns=EIGHT_NS + 3600 * SECOND)


def test_maintenance_is_planned_until_the_venue_says_that_it_is_over():
    async def test(stage, feed):
        await asyncio.sleep(30)
        stage.exchange.world.held = {0, 1}
        stage.inject("maintenance", for_s=120)
        await asyncio.sleep(1)
        assert trust(feed) == {"planned"}
        await asyncio.sleep(110)
        assert trust(feed) == {"planned"}
        assert not notices(feed, *ALARMS)
        stage.exchange.world.held = set()
        await asyncio.sleep(15)
        assert trust(feed) == {"live"}
        assert feed.stats().dials == 1

    live(test)


def test_a_halt_of_one_instrument_leaves_the_other_alone():
    async def test(stage, feed):
        halted, other = stage.symbols
        await asyncio.sleep(30)
        stage.exchange.world.held = {0}
        told(feed, halted, "halted")
        await asyncio.sleep(60)
        shown = {t.symbol: (t.trust, t.because) for t in feed.stats().topics}
        assert shown == {halted: ("planned", "the venue has halted it"), other: ("live", "")}
        stage.exchange.world.held = set()
        told(feed, halted, "open")
        await asyncio.sleep(5)
        assert trust(feed) == {"live"}

    live(test)


def test_after_a_halt_a_crossed_book_is_not_live_yet():
    async def test(stage, feed):
        symbol = stage.symbols[0]
        await asyncio.sleep(20)
        told(feed, symbol, "halted")
        await asyncio.sleep(1)
        held = feed._running().streams[stage.topic("book")].book
        stage.exchange.world.held = {0}
        await asyncio.sleep(1)
        bid = held.best_ask[0] * 2
        held.apply([(bid, 1.0)], [])  # an auction shows prices that nobody can trade at
        told(feed, symbol, "open")
        await asyncio.sleep(10)
        assert {t.symbol: t.trust for t in feed.stats().topics}[symbol] == "planned"
        held.apply([(bid, 0.0)], [])
        await asyncio.sleep(1)
        assert {t.symbol: t.trust for t in feed.stats().topics}[symbol] != "planned"

    live(test)


def test_a_book_that_stays_crossed_is_excused_for_a_bounded_time():
    async def test(stage, feed):
        symbol = stage.symbols[0]
        await asyncio.sleep(20)
        told(feed, symbol, "halted")
        await asyncio.sleep(1)
        held = feed._running().streams[stage.topic("book")].book
        stage.exchange.world.held = {0}
        await asyncio.sleep(1)
        held.apply([(held.best_ask[0] * 2, 1.0)], [])
        told(feed, symbol, "open")
        await asyncio.sleep(CROSSED_MAX_NS / SECOND - 1)
        assert stage.topic("book") in feed._running().following.planned
        await asyncio.sleep(2)
        assert stage.topic("book") not in feed._running().following.planned

    live(test)


def test_what_was_said_does_not_outlive_the_last_session():
    async def test(stage, feed):
        await asyncio.sleep(20)
        told(feed, stage.symbols[0], "halted")
        await asyncio.sleep(1)
        assert "planned" in trust(feed)
        stage.inject("reset")
        await asyncio.sleep(10)
        assert trust(feed) == {"live"}

    live(test)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_settlement_of_strikes_is_planned_whether_named_or_selected(by_name):
    """The simulator tells the states of its chain; nothing but that is told to the feed."""

    def subscriptions(stage):
        if not by_name:
            return (book("option:BTC"), trades("option:BTC"))
        names = list(stage.exchange.dialect.life.chain.strikes)[:24]
        staying = [n for n in names if stage.exchange.dialect.life.chain.strikes[n].cycle > 1]
        return (book(*staying), trades(*staying))

    async def test(stage, feed):
        await asyncio.sleep(61)
        assert trust(feed) == {"planned"}
        await asyncio.sleep(10)
        assert "planned" not in trust(feed)
        assert not notices(feed, "stalled")

    chain = ChainOptions(strikes=24, cycle_s=60, cycles=1, halt_s=4.0)
    live(test, subscriptions=subscriptions, chain=chain, rate=50.0)
