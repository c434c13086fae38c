"""The conductor: what the parts decide is carried out, and the unknown ends loudly."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools

import pytest
from tests.simulation.stage import SECOND, VENUES, Consumer, gaps, notices, play

from gapless.errors import ConnectionLost
from gapless.io.runtime import Runtime
from gapless.planning import book, trades

both = pytest.mark.parametrize("venue", VENUES)


class Broken(Exception):
    pass


def replaced(stage, connector):
    stage.runtime = Runtime(stage.clock, connector, stage.venue.rest)


def test_an_unknown_error_in_a_dial_halts_and_reaches_the_caller_unchanged():
    error = Broken("not one of ours")

    async def connector(url, receiver, options):
        await asyncio.sleep(0.1)
        raise error

    async def main(stage):
        replaced(stage, connector)
        async with stage.feed() as feed:
            with pytest.raises(Broken) as caught:
                async for _ in feed:
                    pass
            assert caught.value is error
            assert feed.stats().dials == 1  # never a retry
            assert [n.kind for n in feed.notices()] == ["dialing", "ended", "halted"]

    play(main)


def test_an_unknown_error_on_the_data_path_halts_and_reaches_the_caller_unchanged():
    error = Broken("in a stream")

    async def main(stage):
        async with stage.feed() as feed:
            await asyncio.sleep(10)

            def broken(event):
                raise error

            stream = feed._running().streams[stage.topic("trades")]
            stream._emit = broken
            with pytest.raises(Broken) as caught:
                async for _ in feed:
                    pass
            assert caught.value is error
        await asyncio.sleep(1)
        assert not stage.network.wires

    play(main)


def test_a_bug_in_the_tick_ends_the_feed_with_its_own_exception():
    error = Broken("in the tick")

    async def main(stage):
        async with stage.feed() as feed:
            await asyncio.sleep(10)

            def broken(now):
                raise error

            feed._running().watching.round = broken
            with pytest.raises(Broken) as caught:
                async for _ in feed:
                    pass
            assert caught.value is error
        await asyncio.sleep(1)
        assert not stage.network.wires
        assert asyncio.all_tasks() == {asyncio.current_task()}

    play(main)


def test_one_line_that_halts_does_not_take_the_other_down():
    async def main(stage):
        good, dials = stage.runtime.connector, []

        async def connector(url, receiver, options):
            dials.append(receiver.line)
            if receiver.line == "a":
                raise Broken("on one line only")
            return await good(url, receiver, options)

        replaced(stage, connector)
        async with stage.feed(lines=2) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(60)
            states = {line.line: line.state for line in feed.stats().lines}
            assert states == {"a": "halted", "b": "up"}
            assert dials.count("a") == 1
            assert consumer.events
            await consumer.stop()

    play(main)


def test_a_failed_dial_tries_the_next_endpoint():
    async def main(stage):
        feed = stage.feed()
        dead = "ws://dead.test/ws/api/v2"
        plan = feed._plan
        feed._plan = dataclasses.replace(plan, endpoints=(dead, *plan.endpoints))
        async with feed:
            await stage.until(lambda: notices(feed, "live"), 2)
            dialled = [n.evidence for n in notices(feed, "dialing")]
            assert dialled == [dead, *plan.endpoints]

    play(main)


def test_many_topics_are_spread_over_connections():
    async def main(stage):
        feed = stage.feed()
        topics = tuple(feed._plan.specs)
        feed._plan = dataclasses.replace(
            feed._plan, lines={"a1": topics[:3], "a2": topics[3:6], "a3": topics[6:]}
        )
        async with feed:
            consumer = Consumer(feed)
            await asyncio.sleep(60)
            carried = {
                s.id: tuple(topic for topic in s.topics if topic in topics)
                for s in stage.exchange.sessions.values()
            }
            assert sorted(map(len, carried.values())) == [2, 3, 3]
            stage.inject("reset", session=min(carried))
            await asyncio.sleep(30)
            hit = {gap.origin.topic for gap in consumer.of(type(gaps(consumer.events)[0]))}
            assert hit <= set(carried[min(carried)])
            events = await consumer.stop()
        assert stage.card(feed, events).kept

    play(main)


@both
def test_stopping_is_quick_and_polite_whatever_the_line_is_doing(venue):
    async def main(stage):
        async with stage.feed(lines=2) as feed:
            await asyncio.sleep(10)
            stage.inject("half_open", session=1)
            began_ns = stage.clock.mono_ns()
        # One answers at once, the other never does.
        assert stage.clock.mono_ns() - began_ns <= 2.1 * SECOND
        await asyncio.sleep(1)
        assert [r["cause"] for r in stage.closed() if r["session"] == 2] == ["client close 1000"]
        assert not feed._running().drivers

    play(main, venue)


def test_one_topic_is_not_subscribed_anew_more_than_once_a_second():
    async def main(stage):
        topic = stage.topic("book")
        async with stage.feed(book(stage.symbols[0])) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            stage.inject("drop", topic=topic, for_s=10.0, probability=0.4)
            await asyncio.sleep(30)
            asked = [n.mono_ns for n in notices(feed, "resync") if n.evidence == "subscribing anew"]
            assert len(asked) >= 3
            assert min(b - a for a, b in itertools.pairwise(asked)) >= SECOND
            assert feed.stats().dials == 1
            events = await consumer.stop()
        assert stage.card(feed, events).kept

    play(main)


def test_a_violation_that_ends_its_session_is_counted_once():
    async def main(stage):
        async with stage.feed() as feed:
            await asyncio.sleep(20)
            for _ in range(3):
                stage.inject("garbage")
            await stage.until(lambda: feed.stats().ended, 5)
            assert feed.stats().violations == 3
            stage.inject("bad_utf8")
            await asyncio.sleep(20)
            stage.inject("bad_utf8")
            await asyncio.sleep(20)
            assert feed.stats().violations == 3 + sum(
                "ProtocolViolation" in end.cause for end in feed.stats().ended
            )

    play(main)


def test_violations_spread_over_more_than_a_minute_do_not_cost_the_line():
    async def main(stage):
        async with stage.feed() as feed:
            await asyncio.sleep(20)
            for _ in range(6):
                assert stage.inject("garbage").happened == 1
                await asyncio.sleep(31)
            assert feed.stats().violations == 6
            assert feed.stats().dials == 1

    play(main)


def test_a_refused_snapshot_names_its_symbol():
    async def main(stage):
        stage.inject("refuse_symbol", symbol="ETHUSDT", for_s=600.0)
        async with stage.feed(book("ETHUSDT"), trades("BTCUSDT")) as feed:
            await asyncio.sleep(10)
            refused = notices(feed, "refused")
            assert refused
            assert {(n.channel, n.symbol) for n in refused} == {("book", "ETHUSDT")}

    play(main, "binance.spot")


def test_the_ends_of_sessions_are_kept_with_cause_and_life():
    async def main(stage):
        async with stage.feed() as feed:
            await asyncio.sleep(20)
            stage.inject("close", code=1012, reason="restart")
            await asyncio.sleep(5)
            (end,) = feed.stats().ended
            assert end.cause == f"ConnectionLost: {ConnectionLost(1012, 'restart')}"
            assert (end.line, end.epoch) == ("a", 1)
            assert 19 < end.live_s < 21

    play(main)


def test_after_our_own_long_pause_the_sockets_are_read_before_anybody_is_judged():
    async def main(stage):
        async with stage.feed() as feed:
            await asyncio.sleep(60)
            (driver,) = feed._running().drivers.values()
            stage.clock.advance_ns(60 * SECOND)
            await asyncio.sleep(20)
            assert not notices(feed, "stalled", "ended")
            assert list(feed._running().drivers.values()) == [driver]

    # The venue slept too, so nobody cut us off for not answering.
    play(main, heartbeat_grace_s=100.0)


def test_limits_that_cannot_be_shared_with_other_processes_are_told_once(monkeypatch, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no directory")
    monkeypatch.setenv("GAPLESS_STATE_DIR", str(in_the_way))

    async def main(stage):
        async with stage.feed(shared_budgets=True) as feed:
            await asyncio.sleep(60)
            (told,) = notices(feed, "budget")
            assert (told.line, told.evidence) == (
                None, "limits that are shared with other processes"
            )  # fmt: skip
            assert "Not a directory" in told.cause
            assert [line.state for line in feed.stats().lines] == ["up"], "and nobody is stopped"

    play(main)
