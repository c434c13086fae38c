"""Counters as users see them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.simulation.stage import VENUES, Consumer, play

from gapless.io.report import feed_stats
from gapless.planning import bbo, trades

both = pytest.mark.parametrize("venue", VENUES)


def topic(stats, channel, symbol):
    (found,) = [t for t in stats.topics if (t.channel, t.symbol) == (channel, symbol)]
    return found


@both
def test_the_sums_agree_with_what_was_delivered(venue):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            stage.inject("duplicate", topic=stage.topic("trades"), count=3)
            await asyncio.sleep(20)
            stage.inject("reset")
            await asyncio.sleep(20)
            stats = feed.stats()
            events = list(consumer.events)
            await consumer.stop()
        data = [event for event in events if hasattr(event, "price") or hasattr(event, "bids")]
        data += [event for event in events if hasattr(event, "bid") and event not in data]
        assert stats.delivered == sum(t.delivered for t in stats.topics) == len(data)
        assert stats.received >= stats.delivered + stats.duplicates
        assert stats.duplicates >= 3
        assert stats.dials == stats.sessions == 2
        assert stats.gaps == sum(type(event).__name__ == "Gap" for event in events)
        assert [end.cause for end in stats.ended] == ["ConnectionLost: lost without a close frame"]
        assert 39 < stats.ended[0].live_s < 41
        low, high = stats.apparent_delay_ms
        assert 5 <= low <= high < 250
        assert msgspec.json.decode(msgspec.json.encode(stats))["venue"] == venue

    play(main, venue)


@both
def test_trust_follows_the_line(venue):
    async def main(stage):
        stage.network.down()
        async with stage.feed() as feed:
            await asyncio.sleep(0.01)
            stats = feed.stats()
            assert {(t.trust, t.because) for t in stats.topics} == {("down", "not subscribed yet")}
            assert stats.lines[0].state in ("starting", "cooling")
            assert stats.apparent_delay_ms is None
            stage.network.up()
            await asyncio.sleep(20)
            stats = feed.stats()
            assert {t.trust for t in stats.topics} == {"live"}
            (line,) = stats.lines
            assert line.state == "up"
            assert line.retry_in_s is None
            assert line.frames > 50
            assert line.dial_ms["tcp"] == pytest.approx(10, abs=0.1)
            assert line.dial_ms["upgrade"] == pytest.approx(10, abs=0.1)
            stage.inject("outage", for_s=20.0)
            await asyncio.sleep(5)
            stats = feed.stats()
            assert {t.trust for t in stats.topics} == {"blind"}
            assert all("ConnectionLost" in t.because for t in stats.topics)
            assert stats.lines[0].state in ("cooling", "starting")
            assert all(t.age_s >= 4.9 for t in stats.topics)

    play(main, venue)


@both
def test_a_topic_older_than_its_rhythm_is_stale_and_one_refused_is_down(venue):
    async def main(stage):
        stage.inject("refuse_symbol", symbol=stage.symbols[1], for_s=999.0)
        async with stage.feed(trades(*stage.symbols), bbo(stage.symbols[0])) as feed:
            await asyncio.sleep(60)
            refused = topic(feed.stats(), "trades", stage.symbols[1])
            assert refused.trust == "down"
            assert "refused" in refused.because
            conductor = feed._running()
            stream = conductor.streams[stage.topic("trades")]
            limit_ns = conductor.vigil.limit_ns("a", stage.topic("trades"))
            stage.clock.advance_ns(limit_ns + 1)  # nothing can have come in between
            stale = topic(feed_stats(conductor, 0), "trades", stage.symbols[0])
            assert stale.trust == "stale"
            assert stale.because.startswith("no data for")
            assert stream.trust.value == "live"  # an age is no loss

    play(main, venue)


def test_a_message_that_is_repeated_is_as_good_as_a_new_one():
    async def main(stage):
        async with stage.feed(bbo(stage.symbols[0])) as feed:
            await asyncio.sleep(60)
            conductor = feed._running()
            (stream,) = conductor.streams.values()
            newest, now_ns = stream.newest, stage.clock.mono_ns() + 600_000_000_000
            stage.clock.advance_ns(600_000_000_000)
            stale = topic(feed_stats(conductor, 0), "bbo", stage.symbols[0])
            assert stale.trust == "stale"
            stream.offer(msgspec.structs.replace(newest, mono_ns=now_ns, recv_ns=now_ns))
            assert stream.newest is newest
            again = topic(feed_stats(conductor, 0), "bbo", stage.symbols[0])
            assert (again.trust, again.age_s) == ("live", 0.0)

    play(main, "binance.spot")


def test_a_topic_that_spoke_once_is_not_stale():
    async def main(stage):
        async with stage.feed(bbo(stage.symbols[0])) as feed:
            await stage.until(lambda: feed.stats().delivered == 1)
            await asyncio.sleep(5)
            (once,) = feed.stats().topics
            assert (once.trust, once.received) == ("live", 1)
            assert once.age_s > 4

    play(main, "deribit", rate=0.001)


def test_a_ping_gives_a_round_trip_time():
    async def main(stage):
        async with stage.feed(trades(stage.symbols[0])) as feed:
            await asyncio.sleep(30)
            (line,) = feed.stats().lines
            assert line.rtt_ms == pytest.approx(10, abs=0.5)

    play(main, rate=0.2)
