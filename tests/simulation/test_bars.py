"""The promises in figures, each with its fault made to happen, in virtual time.

With ``GAPLESS_BAR_SEEDS=all`` every seed is played; without it a few of each.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from random import Random

import pytest
from tests.simulation.stage import (
    SECOND,
    VENUES,
    Consumer,
    assert_marked_in_order,
    gaps,
    marks,
    notices,
    play,
)

from gapless.core.outlet import Overflow
from gapless.errors import SlowConsumer
from gapless.events import Bbo, BookDelta, BookSnapshot, Gap, Resynced, Ticker, Trade
from gapless.planning import Budgets, book, trades
from gapless.testing import Simulation
from gapless.venues._registry import load

both = pytest.mark.parametrize("venue", VENUES)


def seeds(few, many):
    return range(many if os.environ.get("GAPLESS_BAR_SEEDS") == "all" else few)


# -- silence and death ------------------------------------------------------------------------


@both
def test_silence_with_pongs_alive_is_noticed_by_the_feed_watchdog_within_3_s(venue):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(30)
            record = stage.inject("silence", for_s=12.0)
            took_s = await stage.until(lambda: notices(feed, "stalled"))
            conductor = feed._running()
            driver = conductor.drivers[min(conductor.drivers)]
            # The path was alive: a pong came after the last data.
            assert driver.session.watch.pong_ns > driver.data_ns
            assert not stage.closed()
            await asyncio.sleep(60)
            assert all(topic.trust == "live" for topic in feed.stats().topics)
            assert not any("Stalled" in end.cause for end in feed.stats().ended)
            events = await consumer.stop()
        assert record.happened > 20
        assert gaps(events)
        assert stage.card(feed, events).kept
        return took_s

    took_s = play(main, venue)
    print(f"{venue}: silence noticed after {took_s:.2f} s")
    assert 0.75 <= took_s <= 3.0  # no shorter silence is ever an alarm


@pytest.mark.parametrize("seed", seeds(3, 5))
@both
def test_half_open_is_noticed_by_the_ping_deadline_within_2250_ms(venue, seed):
    async def main(stage):
        async with stage.feed() as feed:
            await asyncio.sleep(20 + seed / 7)
            record = stage.inject("half_open")
            ends, lives = len(notices(feed, "ended")), len(notices(feed, "live"))
            took_s = await stage.until(lambda: len(notices(feed, "ended")) > ends)
            ended = notices(feed, "ended")[-1]
            assert ended.cause.startswith("Stalled")
            assert "answer to a ping" in ended.cause
            assert record.happened == 1
            await stage.until(lambda: len(notices(feed, "live")) > lives, 2.0)
        return took_s

    took_s = play(main, venue, rate=40.0, seed=seed)
    print(f"{venue} seed {seed}: half open noticed after {took_s:.3f} s")
    assert took_s <= 2.25


@both
def test_a_topic_that_is_acknowledged_and_never_sent_is_probed_and_is_no_gap_and_no_alarm(venue):
    async def main(stage):
        muted = stage.topic("trades", stage.symbols[1])
        record = stage.inject("mute", topic=muted, for_s=3600.0)
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            first_s = await stage.until(lambda: notices(feed, "unproven"))
            await asyncio.sleep(600)
            probes = notices(feed, "unproven")
            alarms = notices(feed, "stalled", "violation")
            events = await consumer.stop()
            dials = feed.stats().dials
        assert record.happened > 10
        assert not alarms
        assert not marks(events)
        assert not [event for event in events if event.origin.topic == muted]
        return first_s, [(probe.mono_ns - probes[0].mono_ns) / SECOND for probe in probes], dials

    first_s, times, dials = play(main, venue)
    print(f"{venue}: first probe after {first_s:.1f} s, then at {times}; dials {dials}")
    assert first_s <= 10
    assert dials <= 1 + len(times)
    distances = [after - before for before, after in itertools.pairwise(times)]
    assert 2 <= len(times) <= 5
    for before, after in itertools.pairwise(distances):
        assert after >= 3 * before


# -- dialling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", seeds(4, 10))
@both
def test_accept_then_close_for_30_s_makes_at_most_8_dials(venue, seed, measure):
    async def main(stage):
        record = stage.inject("accept_close", code=1001, for_s=30.0)
        async with stage.feed() as feed:
            await asyncio.sleep(30)
            dials = feed.stats().dials
            assert len(stage.opened()) == record.happened
            await stage.until(lambda: notices(feed, "live"), 31)
        assert record.happened >= 3
        return dials

    dials = play(main, venue, seed=seed)
    print(f"{venue} seed {seed}: {dials} dials")
    measure("accept_close.dials", dials)
    assert dials <= 8


@pytest.mark.parametrize("lines", [1, 2, 3])
@both
def test_429_with_retry_after_10_is_obeyed_by_all_lines(venue, lines):
    async def main(stage):
        async with stage.feed(lines=lines) as feed:
            await stage.until(lambda: len(notices(feed, "live")) == lines)
            record = stage.inject("refuse", status=429, retry_after_s=10, for_s=3.0)
            stage.inject("reset")

            def limited():
                return [n for n in notices(feed, "ended") if "RateLimited" in n.cause]

            await stage.until(limited)
            await stage.until(lambda: len(notices(feed, "live")) == 2 * lines)
            first_ns = limited()[0].mono_ns
            dials = [n.mono_ns for n in notices(feed, "dialing") if n.mono_ns > first_ns]
        assert record.happened >= 1
        return [(at_ns - first_ns) / SECOND for at_ns in dials]

    waits = play(main, venue)
    print(f"{venue} with {lines} lines: dials {waits} s after the 429")
    assert min(waits) >= 10
    assert min(waits) <= 11


def test_429_is_obeyed_by_every_feed_that_shares_the_budgets():
    async def main(stage):
        budgets = Budgets()
        record = stage.inject("refuse", status=429, retry_after_s=10, count=1)
        async with stage.feed(budgets=budgets) as one:
            await stage.until(lambda: notices(one, "ended"))
            async with stage.feed(budgets=budgets) as two:
                await asyncio.sleep(9.9)
                assert not notices(two, "dialing")
                await stage.until(lambda: notices(one, "live") and notices(two, "live"), 2)
        assert record.happened == 1

    play(main)


@pytest.mark.parametrize("seed", seeds(6, 25))
@both
def test_an_8_s_outage_ends_in_a_live_feed_within_3_s_of_its_end(venue, seed):
    async def main(stage):
        rng = Random(seed)
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(rng.uniform(3, 40))
            record = stage.inject("outage", for_s=8.0)
            await asyncio.sleep(8.0)
            before = len(consumer.events)
            took_s = await stage.until(lambda: len(notices(feed, "live")) == 2, 5)
            took_s += await stage.until(
                lambda: any(isinstance(e, Trade | BookDelta) for e in consumer.events[before:]), 5
            )
            await stage.until(lambda: all(t.trust == "live" for t in feed.stats().topics), 20)
            events = await consumer.stop()
        assert record.happened > 1  # the session, and dials
        assert stage.card(feed, events).kept
        return took_s

    took_s = play(main, venue, seed=seed, jitter_ms=2.0)
    print(f"{venue} seed {seed}: live and fed {took_s:.2f} s after the outage")
    assert took_s <= 3.0


# -- a healthy hour ---------------------------------------------------------------------------


@both
def test_a_healthy_hour_has_one_dial_and_no_gap(venue, pytestconfig):
    """The first quarter of it; the whole with ``--seeds 1000`` and more."""
    minutes = 60 if pytestconfig.getoption("--seeds") >= 1000 else 15
    outcome = Simulation(venue=venue, seed=11, minutes=minutes, rate_per_s=12).run()
    stats = outcome.stats
    assert stats.dials == 1, outcome
    assert stats.gaps == 0
    assert not marks(outcome.events)
    assert outcome.card.kept
    assert outcome.card.total("delivered") > minutes * 333
    # What is missing at the ends is under way, and nothing else.
    assert outcome.card.total("missing") == outcome.card.total("lost") == 0
    assert {notice.kind for notice in outcome.notices} <= {"dialing", "live"}


@pytest.mark.parametrize(("seed", "rate"), [(5, 12.0), (18, 12.0), (5, 20.0), (14, 20.0)])
@both
def test_a_topic_that_speaks_in_bursts_raises_no_alarm_when_it_pauses(venue, seed, rate):
    outcome = Simulation(venue=venue, seed=seed, minutes=2, rate_per_s=rate).run()
    alarms = [notice for notice in outcome.notices if notice.kind == "stalled"]
    assert not alarms, alarms
    assert not marks(outcome.events)


def test_a_deribit_test_request_is_answered_within_1_s():
    async def main(stage):
        answered = []
        on_text = stage.exchange.dialect.on_text

        def listen(session, text, now_ns):
            if '"public/test"' in text:
                answered.append(now_ns)
            on_text(session, text, now_ns)

        stage.exchange.dialect.on_text = listen
        async with stage.feed() as feed:
            await asyncio.sleep(600)
            assert feed.stats().dials == 1
        # Whoever is slower than the grace is cut off.
        assert not [r for r in stage.closed() if r["cause"] == "heartbeat timeout"]
        return answered

    assert len(play(main, heartbeat_grace_s=1.0)) >= 5
    assert len(play(main, heartbeat_grace_s=0.05)) >= 5  # a round trip of 10 ms, and no more


# -- REST -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "rest_fail", "status": 500},
        {"name": "rest_fail", "status": 503},
        {"name": "rest_fail", "status": 429, "retry_after_s": 20},
        {"name": "rest_fail", "status": 418},
        {"name": "rest_hang"},
    ],
    ids=lambda fault: f"{fault['name']}-{fault.get('status', '')}",
)
def test_snapshot_fetches_are_bounded_and_budgeted_while_rest_fails_for_10_min(fault):
    async def main(stage):
        record = stage.inject(for_s=600.0, **fault)
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(600)
            fetches = feed._running().snapshot_fetches
            books = [t for t in feed.stats().topics if t.channel == "book"]
            assert all(t.trust != "live" for t in books)
            # Other channels do not care.
            assert all(t.trust == "live" for t in feed.stats().topics if t.channel != "book")
            healed_s = await stage.until(
                lambda: all(t.trust == "live" for t in feed.stats().topics), 130, 0.05
            )
            events = await consumer.stop()
        asked = [r["ns"] for r in stage.truth.of("rest") if r["path"] == "/api/v3/depth"]
        windows = [sum(at <= other < at + 60 * SECOND for other in asked) for at in asked]
        assert record.happened >= 4
        assert stage.card(feed, events).kept
        return fetches, max(windows), healed_s

    fetches, per_minute, healed_s = play(main, "binance.spot")
    print(
        f"{fault}: {fetches} fetches, at most {per_minute} a minute, healed {healed_s:.1f} s later"
    )
    # Two books: 0.5, 1, 2, 4, 8, 16 s, then 15 to 30 s each.
    assert fetches <= 2 * (6 + 600 / 15)
    assert per_minute * 50 <= 6000
    assert healed_s <= 125


def test_stale_snapshots_are_refused_until_they_meet_the_deltas_that_wait():
    async def main(stage):
        await asyncio.sleep(60)
        record = stage.inject("stale_snapshot", stale_ms=20_000, for_s=600.0)
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(15)
            books = [t for t in feed.stats().topics if t.channel == "book"]
            assert all(t.trust != "live" for t in books)
            await stage.until(lambda: all(t.trust == "live" for t in feed.stats().topics), 90, 0.05)
            fetches = feed._running().snapshot_fetches
            events = await consumer.stop()
        assert record.happened >= 6
        assert fetches <= 2 * 8
        assert stage.card(feed, events).kept

    play(main, "binance.spot")


def test_a_rest_failure_never_delays_trades():
    def trades_with(fault):
        async def main(stage):
            record = None if fault is None else stage.inject(for_s=300.0, **fault)
            async with stage.feed() as feed:
                consumer = Consumer(feed)
                await asyncio.sleep(120)
                events = await consumer.stop()
            if record is not None:
                assert record.happened >= 4
            # To the microsecond: virtual timers round at the last digits.
            return [(e.id, e.event_ns, e.recv_ns // 1000) for e in events if isinstance(e, Trade)]

        return play(main, "binance.spot")

    healthy = trades_with(None)
    assert len(healthy) > 100
    for fault in (
        {"name": "rest_fail", "status": 500},
        {"name": "rest_hang"},
        {"name": "rest_fail", "status": 429, "retry_after_s": 30},
    ):
        assert trades_with(fault) == healthy  # the very same, at the same times


def test_books_that_wait_for_a_snapshot_are_no_silent_topics():
    async def main(stage):
        record = stage.inject("rest_fail", status=500, for_s=300.0)
        async with stage.feed(book(*stage.symbols)) as feed:
            await asyncio.sleep(300)
            assert not notices(feed, "unproven", "stalled")
            assert feed.stats().dials == 1
        assert record.happened >= 4

    play(main, "binance.spot")


# -- refusals, late acks, violations ----------------------------------------------------------


@both
def test_a_refused_symbol_gives_a_notice_and_the_rest_goes_on(venue):
    async def main(stage):
        bad = stage.symbols[1]
        record = stage.inject("refuse_symbol", symbol=bad, for_s=3600.0)
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(120)
            refused = notices(feed, "refused")
            events = await consumer.stop()
            stats = feed.stats()
        assert record.happened
        assert {notice.symbol for notice in refused} == {bad}
        assert {notice.channel for notice in refused} >= {"trades", "book", "bbo", "ticker"}
        assert {event.symbol for event in events} == {stage.symbols[0]}
        assert {t.trust for t in stats.topics if t.symbol == bad} == {"down"}
        assert {t.trust for t in stats.topics if t.symbol != bad} == {"live"}
        assert stats.dials == 1
        assert not marks(events)
        assert stage.card(feed, events).kept

    play(main, venue)


@both
def test_late_acks_lose_nothing_and_cost_no_session(venue):
    async def main(stage):
        record = stage.inject("late_ack", delay_ms=4000, for_s=30.0)
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            live_s = await stage.until(lambda: notices(feed, "live"), 10)
            await asyncio.sleep(60)
            stats = feed.stats()
            events = await consumer.stop()
        assert record.happened >= 1
        assert live_s >= 4
        assert stats.dials == 1
        assert not gaps(events)
        assert all(t.trust == "live" for t in stats.topics)
        assert stage.card(feed, events).kept

    play(main, venue)


@both
def test_an_undecodable_frame_is_counted_and_its_feed_alone_resynced(venue):
    async def main(stage):
        broken, other = stage.topic("book"), stage.topic("book", stage.symbols[1])
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            streams = feed._running().streams
            resubscribed = len(notices(feed, "resync"))
            fetched = feed._running().snapshot_fetches
            (session,) = stage.exchange.sessions.values()
            session.wire.send_text(f'{{"stream":"{broken}","channel":"{broken}","data":{{"e":,,')
            await stage.until(lambda: feed.stats().violations == 1, 1)
            assert not streams[broken].readable
            for _ in range(5000):
                await asyncio.sleep(0.001)
                assert streams[other].readable
            assert streams[broken].readable
            stats = feed.stats()
            events = await consumer.stop()
            asked = len(notices(feed, "resync")) + feed._running().snapshot_fetches
        assert asked > resubscribed + fetched  # it was rebuilt, not only believed
        assert [n.symbol for n in notices(feed, "violation")] == [stage.symbols[0]]
        assert stats.dials == 1
        assert all(mark.origin.topic == broken for mark in marks(events))
        assert stage.card(feed, events).kept

    play(main, venue)


@both
def test_a_line_that_repeats_undecodable_frames_is_replaced(venue):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            for _ in range(2):
                record = stage.inject("garbage")
                await asyncio.sleep(5)
                assert record.happened == 1
            assert feed.stats().dials == 1
            assert feed.stats().violations == 2
            stage.inject("garbage")
            await stage.until(lambda: len(notices(feed, "live")) == 2, 5)
            await asyncio.sleep(20)
            stats = feed.stats()
            events = await consumer.stop()
        assert stats.violations == 3
        assert stats.dials == 2
        assert stats.ended[0].cause.startswith("DecodeError")
        assert stage.card(feed, events).kept

    play(main, venue)


@both
@pytest.mark.parametrize("fault", ["bad_utf8", "oversize"])
def test_a_broken_protocol_costs_the_session_and_nothing_silently(venue, fault):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            record = stage.inject(fault)
            await stage.until(lambda: len(notices(feed, "live")) == 2, 5)
            await asyncio.sleep(20)
            stats = feed.stats()
            events = await consumer.stop()
        assert record.happened == 1
        assert stats.violations == 1
        assert stats.ended[0].cause.startswith("ProtocolViolation")
        assert stage.card(feed, events).kept

    play(main, venue)


@both
def test_a_book_resync_touches_one_instrument(venue):
    async def main(stage):
        broken, other = stage.topic("book"), stage.topic("book", stage.symbols[1])
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            streams = feed._running().streams
            record = stage.inject("drop", topic=broken, count=1)
            await stage.until(lambda: not streams[broken].readable, 10)
            broken_s = 0.0
            for _ in range(20_000):
                assert streams[other].readable
                broken_s += 0.001 * (not streams[broken].readable)
                await asyncio.sleep(0.001)
            assert streams[broken].readable
            stats = feed.stats()
            events = await consumer.stop()
        assert record.happened == 1
        assert stats.dials == 1
        assert [type(mark) for mark in marks(events)] == [Gap, Resynced]
        assert {mark.origin.topic for mark in marks(events)} == {broken}
        assert_marked_in_order(events)
        assert stage.card(feed, events).kept
        return broken_s

    broken_s = play(main, venue)
    print(f"{venue}: the book was not readable for {broken_s:.3f} s")
    assert broken_s <= 2.0


# -- our own faults ---------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", [20.0, 20.3, 20.77])
@both
def test_user_code_that_blocks_the_loop_for_2_s_blames_nobody(venue, at_s):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(at_s)
            stage.clock.advance_ns(2 * SECOND)  # what time.sleep(2) in a loop body does
            await asyncio.sleep(30)
            stats = feed.stats()
            said = {notice.kind for notice in feed.notices()}
            events = await consumer.stop()
        assert max(e.recv_ns - e.event_ns for e in events if e.event_ns) > SECOND  # it happened
        assert stats.dials == 1
        assert said == {"dialing", "live", "own-stall"}
        assert not marks(events)
        assert stage.card(feed, events).kept

    play(main, venue)


@pytest.mark.parametrize("rate", [20.0, 0.5])
@pytest.mark.parametrize("pause_s", [3, 4])
@both
def test_our_own_pause_blames_nobody(venue, pause_s, rate):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            for at_s in (90.0, 11.0, 7.7, 0.3):
                await asyncio.sleep(at_s)
                stage.clock.advance_ns(pause_s * SECOND)
            await asyncio.sleep(30)
            ended = feed.stats().ended
            said = notices(feed, "stalled", "ended")
            events = await consumer.stop()
        assert not [end for end in ended if "planned" not in end.cause]
        assert not [notice for notice in said if notice.kind == "stalled"]
        assert not gaps(events)
        assert stage.card(feed, events).kept

    play(main, venue, rate=rate)


# -- slow consumers ---------------------------------------------------------------------------


@both
def test_a_slow_consumer_is_told_and_its_book_equals_the_venue(venue):
    async def main(stage):
        async with stage.feed(book(*stage.symbols), trades(*stage.symbols), capacity=64) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            for _ in range(3):
                consumer.may_read.clear()
                await asyncio.sleep(40)
                assert len(feed._outlet) <= 64
                consumer.may_read.set()
                await asyncio.sleep(10)
            stats = feed.stats()
            events = await consumer.stop()
        assert stats.overflowed > 1000
        assert stats.dials == 1
        assert_marked_in_order(events)
        for symbol in stage.symbols:
            topic = stage.topic("book", symbol)
            mine = [e for e in events if e.origin.topic == topic]
            told = [i for i, e in enumerate(mine) if isinstance(e, Gap)]
            assert len(told) >= 3
            for i in told:
                kinds = [type(e) for e in mine[i : i + 3]]
                assert kinds == [Gap, BookSnapshot, Resynced]
        card = stage.card(feed, events)
        assert card.books_compared == 2
        assert card.kept, card.as_dict()

    play(main, venue, rate=40.0)


@pytest.mark.parametrize("seed", seeds(3, 6))
@both
def test_a_gap_that_did_not_fit_is_announced_with_what_did_not_fit(venue, seed):
    async def main(stage):
        topic = stage.topic("trades")
        async with stage.feed(trades(stage.symbols[0]), capacity=16) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            consumer.may_read.clear()
            await stage.until(lambda: len(feed._outlet) == 16, 60)
            record = stage.inject("drop", topic=topic, count=1)
            await stage.until(lambda: record.happened, 60)
            await asyncio.sleep(60)
            consumer.may_read.set()
            await asyncio.sleep(20)
            events = await consumer.stop()
        card = stage.card(feed, events)
        assert card.total("missing") > 1
        assert card.kept, card.as_dict()

    play(main, venue, seed=seed, rate=5.0)


@pytest.mark.parametrize("seed", seeds(3, 6))
@both
def test_a_second_silence_is_noticed_as_fast_as_the_first(venue, seed):
    async def main(stage):
        async with stage.feed() as feed:
            times = []
            for _ in range(3):
                await asyncio.sleep(60)
                before = len(notices(feed, "stalled"))
                record = stage.inject("silence", for_s=12.0)
                seen = lambda before=before: len(notices(feed, "stalled")) > before  # noqa: E731
                times.append(await stage.until(seen, 30))
                await asyncio.sleep(12)
                assert record.happened > 20
        return times

    times = play(main, venue, seed=seed)
    print(f"{venue} seed {seed}: silences noticed after {times} s")
    assert max(times) <= 3.5


@both
def test_conflation_keeps_the_newest_state_and_marks_only_trades(venue):
    async def main(stage):
        async with stage.feed(capacity=32, overflow=Overflow.CONFLATE) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            consumer.may_read.clear()
            await asyncio.sleep(30)
            assert len(feed._outlet) <= 32 + 6  # one slot for each conflated topic
            resumed = len(consumer.events)
            consumer.may_read.set()
            await asyncio.sleep(10)
            events = await consumer.stop()
        images = [e for e in events if isinstance(e, Bbo | Ticker)]
        assert len(images) > 20
        assert not [g for g in gaps(events) if g.channel in ("bbo", "ticker")]
        assert {g.channel for g in gaps(events)} == {"trades"}
        assert {e.channel for e in events[resumed:] if isinstance(e, Bbo | Ticker)} >= {"bbo"}
        for topic in {e.origin.topic for e in images}:
            own = [e for e in images if e.origin.topic == topic]
            keys = [e.event_ns if e.last is None else e.last for e in own]
            assert keys == sorted(keys)
        assert stage.card(feed, [e for e in events if e.channel == "trades"]).kept
        for symbol in stage.symbols:
            changes = [e for e in events if e.origin.topic == stage.topic("book", symbol)]
            assert isinstance(changes[0], BookSnapshot)
            for before, after in itertools.pairwise(changes):
                assert after.first == before.last + 1
            assert max(len(e.bids) for e in changes[1:]) > 20  # many in one

    play(main, venue, rate=40.0)


@both
def test_blocking_loses_nothing(venue):
    async def main(stage):
        async with stage.feed(capacity=16, overflow=Overflow.BLOCK) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            consumer.may_read.clear()
            await asyncio.sleep(0.9)
            held = len(feed._outlet)
            assert held >= 16  # it did fill up
            await asyncio.sleep(0.05)
            assert len(feed._outlet) == held  # and nothing is read
            consumer.may_read.set()
            await asyncio.sleep(20)
            stats = feed.stats()
            events = await consumer.stop()
        assert stats.overflowed == 0
        assert not gaps(events)
        assert stage.card(feed, events).kept

    play(main, venue, rate=100.0)


@both
def test_failing_tells_the_slow_consumer_once_everything_before_is_taken(venue):
    async def main(stage):
        async with stage.feed(capacity=16, overflow=Overflow.FAIL) as feed:
            await asyncio.sleep(20)
            taken = [await anext(feed) for _ in range(16)]
            with pytest.raises(SlowConsumer, match="16 events"):
                await anext(feed)
        assert len(taken) == 16
        assert not marks(taken)

    play(main, venue)


# -- exceptions and leftovers -----------------------------------------------------------------


class _Mine(Exception):
    pass


@pytest.mark.parametrize("error", [_Mine("mine"), KeyboardInterrupt(), ValueError("bad")])
@both
def test_an_exception_in_the_loop_body_closes_cleanly_and_comes_out_unchanged(venue, error):
    async def main(stage):
        async def follow():
            async with stage.feed() as feed:
                async for _ in feed:
                    raise error

        with pytest.raises(BaseException) as caught:  # noqa: PT011  # the very object, below
            await follow()
        assert caught.value is error
        assert caught.value.__cause__ is None
        await asyncio.sleep(1)
        assert [record["cause"] for record in stage.closed()] == ["client close 1000"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    play(main, venue)


@both
@pytest.mark.parametrize(
    "when", ["dialling", "live", "half open", "outage", "rotating", "fetching", "lines"]
)
def test_no_task_and_no_timer_is_left_behind(venue, when):
    async def main(stage):
        if when == "fetching":
            stage.inject("rest_hang", for_s=60.0)
        if when == "dialling":
            stage.network.blackhole(True)
        loop = asyncio.get_running_loop()
        async with stage.feed(lines=2 if when == "lines" else 1) as feed:
            await asyncio.sleep(0.002 if when == "dialling" else 10)
            if when == "half open":
                stage.inject("half_open")
                await asyncio.sleep(0.5)
            elif when == "outage":
                stage.inject("outage", for_s=30.0)
                await asyncio.sleep(10)
            elif when == "rotating":
                stage.inject("silence", for_s=30.0)
                await stage.until(lambda: notices(feed, "stalled"))
                await asyncio.sleep(0.004)
            began_ns = stage.clock.mono_ns()
        took_s = (stage.clock.mono_ns() - began_ns) / SECOND
        assert took_s <= 2.1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        stage.venue.close()
        await asyncio.sleep(1)
        left = [handle for handle in loop._scheduled if not handle.cancelled()]
        assert not left
        assert not feed._running().drivers
        return took_s

    took_s = play(main, venue)
    print(f"{venue}, {when}: closed in {took_s:.3f} s")


# -- two lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "nodes"), [("deribit", 1), ("binance.spot", 1), ("binance.spot", 2)]
)
@pytest.mark.parametrize("seed", range(6))
def test_with_two_lines_losing_either_loses_nothing_announces_nothing_repeats_nothing(
    venue, seed, nodes
):
    stats, events, card = _lose_lines(venue, seed, nodes)
    assert marks(events) == []
    assert stats.overflowed == 0
    sums = card.as_dict()
    assert sums["missing"] == sums["announced"] == 0
    assert sums["duplicated"] == sums["misordered"] == 0
    assert sums["intervals"] == {"lost": 0, "covered": 0}
    assert sums["books"] == {"compared": 2, "equal": 2}
    assert sums["sent"] > 500


@pytest.mark.parametrize("seed", range(3))
def test_lines_that_cut_a_chain_differently_still_tell_the_truth(seed):
    """A chain cannot be merged where its cuts differ: the books resync, and say so."""
    stats, events, card = _lose_lines("deribit", seed, 2)
    numbered = [e for e in events if e.channel == "trades"]
    assert marks(numbered) == []
    (dense,) = {t.missing for t in card.topics if t.topic.startswith("trades")}
    assert dense == 0
    assert stats.overflowed == 0
    assert card.total("duplicated") == card.total("misordered") == card.total("unannounced") == 0
    assert card.books_equal == card.books_compared == 2


def _lose_lines(venue, seed, nodes):
    async def main(stage):
        rng = Random(seed)
        async with stage.feed(lines=2) as feed:
            consumer = Consumer(feed)
            await stage.until(lambda: len(notices(feed, "live")) == 2)
            await asyncio.sleep(10)
            records = []
            for _ in range(10):
                await asyncio.sleep(rng.uniform(0, 3))
                open_now = stage.exchange.sessions.values()
                victim = rng.choice([session.id for session in open_now if not session.stalled])
                name = rng.choice(("reset", "close", "half_open", "bad_utf8"))
                lives = len(notices(feed, "live"))
                records.append(stage.inject(name, session=victim))
                await stage.until(lambda lives=lives: len(notices(feed, "live")) > lives, 40)
                await asyncio.sleep(2)
            stats = feed.stats()
            events = await consumer.stop()
        assert all(record.happened == 1 for record in records)
        assert stats.sessions >= 12
        if nodes > 1:  # the log has one node's batched images only: no account of the others
            events = [e for e in events if e.channel != "ticker"]
        return stats, events, stage.card(feed, events)

    return play(main, venue, seed=seed, nodes=nodes, jitter_ms=3.0)


# -- planned replacements ---------------------------------------------------------------------


@both
def test_a_lifetime_cut_by_the_plan_loses_nothing_and_makes_no_gap(venue):
    import dataclasses

    async def main(stage):
        feed = stage.feed()
        feed._plan = dataclasses.replace(feed._plan, lifetime_ns=60 * SECOND)
        async with feed:
            consumer = Consumer(feed)
            await asyncio.sleep(300)
            stats = feed.stats()
            events = await consumer.stop()
        assert stats.sessions in {5, 6}  # every 57 to 60 s
        assert {end.cause for end in stats.ended} == {"planned"}
        assert not [r for r in stage.closed()[:4] if r["cause"] != "client close 1000"]
        assert marks(events) == []
        card = stage.card(feed, events)
        assert card.kept
        assert card.total("missing") == card.total("lost") == 0

    play(main, venue, jitter_ms=3.0)


def test_a_shutdown_notice_is_followed_before_the_cut():
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            record = stage.inject("shutdown_notice", lead_s=5.0)
            await asyncio.sleep(30)
            stats = feed.stats()
            events = await consumer.stop()
        assert record.happened == 1
        assert stats.sessions == 2
        assert [end.cause for end in stats.ended] == ["planned"]
        assert notices(feed, "rotating")
        assert notices(feed, "venue")
        assert marks(events) == []
        card = stage.card(feed, events)
        assert card.kept
        assert card.total("missing") == card.total("lost") == 0

    play(main, "binance.spot", jitter_ms=3.0)


@both
def test_a_cut_by_the_venue_without_notice_is_announced_where_numbers_do_not_prove_it(venue):
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(100)
            stats = feed.stats()
            events = await consumer.stop()
        assert stats.sessions >= 3  # cut every 30 s
        assert {r["cause"] for r in stage.closed()} >= {"lifetime"}
        assert stage.card(feed, events).kept

    play(main, venue, lifetime_s=30.0)


def test_the_profiles_plan_a_replacement_only_where_the_venue_states_a_limit():
    assert load("binance.spot").lifetime_ns.value is not None
    assert load("deribit").lifetime_ns.value is None


def test_maintenance_of_the_venue_is_news_and_no_fault():
    async def main(stage):
        async with stage.feed() as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            record = stage.inject("maintenance", for_s=5.0)
            await stage.until(lambda: notices(feed, "venue"))
            assert "maintenance" in notices(feed, "venue")[0].evidence
            await asyncio.sleep(20)
            assert feed.stats().dials == 1
            events = await consumer.stop()
        assert record.happened
        assert not gaps(events)
        assert stage.card(feed, events).kept

    play(main, "deribit")


# -- what a hostile reader found --------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "rest_fail", "status": 429, "retry_after_s": 600},
        {"name": "rest_hang"},
        {"name": "stale_snapshot", "stale_ms": 600_000},
    ],
    ids=lambda fault: fault["name"],
)
def test_closing_takes_two_seconds_at_most_whatever_a_snapshot_waits_for(fault):
    async def main(stage):
        await asyncio.sleep(60)  # the market is older than the snapshots
        record = stage.inject(for_s=600.0, **fault)
        async with stage.feed(book(*stage.symbols)) as feed:
            await asyncio.sleep(20)
            assert not any(topic.delivered for topic in feed.stats().topics)
            began_ns = stage.clock.mono_ns()
        assert record.happened
        assert stage.clock.mono_ns() - began_ns <= 2 * SECOND

    play(main, "binance.spot")


def test_snapshots_that_are_always_too_old_are_said_to_be():
    async def main(stage):
        await asyncio.sleep(60)
        stage.inject("stale_snapshot", stale_ms=600_000, for_s=600.0)
        async with stage.feed(book(*stage.symbols)) as feed:
            await asyncio.sleep(20)
            said = notices(feed, "resync")
            assert any("older than the updates" in notice.cause for notice in said)
            assert feed.stats().received > 20  # they wait for a snapshot, and have arrived

    play(main, "binance.spot")


@pytest.mark.parametrize("seed", seeds(3, 8))
def test_after_a_silence_the_book_is_asked_of_the_session_that_lives(seed):
    async def main(stage):
        async with stage.feed(book(*stage.symbols)) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            record = stage.inject("silence", for_s=6.0)
            await asyncio.sleep(6.0)
            # The successor's snapshot was swallowed; it must not take another ten seconds.
            took_s = await stage.until(
                lambda: all(topic.trust == "live" for topic in feed.stats().topics), seconds=4.0
            )
            events = await consumer.stop()
        assert record.happened
        assert stage.card(feed, events).kept
        return took_s

    print(f"seed {seed}: live {play(main, 'deribit', seed=seed, rate=100.0):.2f} s after")


@both
def test_the_counters_say_what_the_stream_said_when_the_consumer_was_slow(venue):
    async def main(stage):
        async with stage.feed(trades(*stage.symbols), capacity=16) as feed:
            consumer = Consumer(feed)
            for _ in range(3):
                await asyncio.sleep(10)
                consumer.may_read.clear()
                await asyncio.sleep(60)
                consumer.may_read.set()
            await asyncio.sleep(20)
            events = await consumer.stop()
            stats = feed.stats()
        missing = sum(gap.missing for gap in gaps(events))
        assert missing > 10
        assert (stats.gaps, stats.missing) == (len(gaps(events)), missing)
        assert stats.delivered == len([e for e in events if isinstance(e, Trade)])

    play(main, venue)
