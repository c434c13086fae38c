"""Which sessions are looked at, pinged and judged, in virtual time."""

from __future__ import annotations

import asyncio

from tests.simulation.stage import SECOND, Consumer, gaps, notices, play

from gapless.planning import bbo, book, trades


def test_a_session_in_doubt_is_pinged_at_once_and_judged_when_its_pong_comes():
    async def main(stage):
        async with stage.feed(book(*stage.symbols), trades(*stage.symbols)) as feed:
            await asyncio.sleep(120)
            conductor = feed._running()
            driver = conductor.drivers[1]
            stage.inject("silence", for_s=60.0)
            silent_ns = driver.data_ns
            await stage.until(lambda: notices(feed, "stalled"), 10, step_s=0.0005)
            pings = driver.session.watch.pings
            stalled_ns = notices(feed, "stalled")[0].mono_ns
            # Not on the tick, but one round trip of 10 ms after the ping.
            assert stalled_ns - pings.proven_ns <= 15_000_000
            assert pings.proven_ns - silent_ns >= 700_000_000
            await asyncio.sleep(5)

    play(main, rate=70.0)


def test_a_paused_feed_is_not_looked_at():
    async def main(stage):
        async with stage.feed(book(*stage.symbols)) as feed:
            await asyncio.sleep(60)
            conductor = feed._running()
            conductor.pause()
            began_ns = stage.clock.mono_ns()
            await asyncio.sleep(5)
            assert stage.clock.mono_ns() - began_ns >= 5 * SECOND
            conductor.resume()
            await asyncio.sleep(5)
            assert not notices(feed, "stalled", "slow", "own-stall", "ended")

    play(main, rate=70.0)


def joining(fault, seed):
    """Replace one of two lines, and let something befall the other before the newcomer's quotes.

    Return the score, the causes of all gaps, for how long quotes were held back, and how often
    the fault happened.
    """

    async def main(stage):
        symbol = stage.symbols[0]
        async with stage.feed(bbo(symbol), trades(*stage.symbols), lines=2) as feed:
            consumer = Consumer(feed)
            await stage.until(lambda: len(notices(feed, "live")) == 2)
            await asyncio.sleep(20)
            first, second = stage.exchange.sessions  # of which one may be a replacement
            lives = len(notices(feed, "live"))
            stage.inject("reset", session=second)
            await stage.until(lambda: len(notices(feed, "live")) > lives)
            stream = feed._running().streams[stage.topic("bbo")]
            await asyncio.sleep(1)  # the older line brings something meanwhile
            record = stage.inject(session=first, **fault(stage))
            held = 0
            for _ in range(200):
                await asyncio.sleep(0.05)
                held += stream.held_for(stage.clock.mono_ns()) is not None
            events = await consumer.stop()
        causes = {gap.cause for gap in gaps(events)}
        return stage.card(feed, events), causes, held * 0.05, record.happened

    return play(main, "binance.spot", rate=4.0, seed=seed, jitter_ms=3.0)


def test_a_session_that_is_half_open_has_not_fallen_behind_but_is_judged_first():
    longest_s = 0.0
    for seed in range(8):
        card, causes, held_s, happened = joining(lambda _: {"name": "half_open"}, seed)
        assert happened
        assert not causes, seed
        assert card.kept
        assert card.total("missing") == card.total("lost") == 0
        longest_s = max(longest_s, held_s)
    assert 0 < longest_s <= 2.25, "quotes were held back until the path was found dead"


def test_a_session_whose_path_works_and_that_lacks_a_message_has_fallen_behind():
    told, muted = set(), 0
    for seed in range(8):
        card, causes, held_s, happened = joining(
            lambda stage: {"name": "mute", "topic": stage.topic("bbo"), "for_s": 60.0}, seed
        )
        muted += happened  # now and then there is no quote to lose
        told |= causes
        assert held_s <= 0.5, "a pong is enough"
        assert card.kept
    assert muted
    assert "a line fell behind" in told
