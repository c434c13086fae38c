"""What users hold: feeds and books."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.simulation.stage import SYMBOLS, VENUES, Consumer, play, rebuilt

import gapless
from gapless.errors import NotSynced, UsageError
from gapless.events import BookSnapshot, Gap, Resynced, Trade
from gapless.planning import book, trades

both = pytest.mark.parametrize("venue", VENUES)


# -- feeds ------------------------------------------------------------------------------------


def test_bad_input_is_refused_before_any_io():
    with pytest.raises(UsageError, match="deribit"):
        gapless.open("deribitt", gapless.trades("X"))
    with pytest.raises(UsageError, match="did you mean trades"):
        gapless.open("deribit", gapless.Subscription("trade", ("X",)))
    with pytest.raises(UsageError, match="not a symbol"):
        gapless.open_book("deribit", "no such thing")
    with pytest.raises(UsageError, match="nothing to follow"):
        gapless.open("deribit")


@both
def test_open_and_open_book_take_the_venue_and_the_options(venue):
    async def main(stage):
        symbol = SYMBOLS[venue][0]
        async with gapless.open(venue, trades(symbol), options=stage.options()) as feed:
            assert isinstance(await anext(feed), Trade)
        async with gapless.open_book(venue, symbol, options=stage.options()) as one:
            assert (await anext(one.changes())).bid is not None

    play(main, venue)


def test_a_feed_is_used_inside_its_block_and_once():
    async def main(stage):
        feed = stage.feed()
        for use in (feed.stats, feed.notices):
            with pytest.raises(UsageError, match="async with"):
                use()
        with pytest.raises(UsageError, match="async with"):
            await anext(feed)
        async with feed:
            pass
        with pytest.raises(UsageError, match="once"):
            await feed.__aenter__()

    play(main)


@both
def test_a_feed_yields_what_was_subscribed_in_order(venue):
    async def main(stage):
        numbers = {}
        async with stage.feed(trades(*stage.symbols)) as feed:
            async for event in feed:
                assert isinstance(event, Trade)
                last = numbers.get(event.symbol)
                assert last is None or event.first == last + 1
                numbers[event.symbol] = event.last
                if len(numbers) == 2 and feed.stats().delivered > 100:
                    break
        assert set(numbers) == set(stage.symbols)

    play(main, venue)


@both
def test_take_never_blocks_and_iteration_ends_with_the_block(venue):
    async def main(stage):
        async with stage.feed() as feed:
            assert feed.take() is None
            await asyncio.sleep(10)
            taken = []
            while (event := feed.take()) is not None:
                taken.append(event)
            assert len(taken) > 20
            consumer = Consumer(feed)
            await asyncio.sleep(1)
        await asyncio.wait((consumer.task,), timeout=1)
        assert consumer.task.done()
        assert consumer.task.exception() is None
        with pytest.raises(StopAsyncIteration):
            await anext(feed)

    play(main, venue)


def test_cancelling_a_waiting_consumer_loses_nothing():
    async def main(stage):
        async with stage.feed(trades(*stage.symbols)) as feed:
            events = []
            for _ in range(2000):
                try:
                    async with asyncio.timeout(0.01):
                        events.append(await anext(feed))
                except TimeoutError:
                    continue
            while (event := feed.take()) is not None:
                events.append(event)
        assert len(events) > 50
        assert stage.card(feed, events).kept
        assert stage.card(feed, events).total("missing") == 0

    play(main)


def test_cancelling_the_block_closes_at_once():
    async def main(stage):
        async def follow():
            async with stage.feed() as feed:
                async for _ in feed:
                    pass

        task = asyncio.create_task(follow())
        await asyncio.sleep(10)
        task.cancel()
        await asyncio.wait((task,), timeout=3)
        assert task.cancelled()
        await asyncio.sleep(1)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not stage.exchange.sessions

    play(main)


def test_cancelling_twice_while_closing_leaves_nothing_behind():
    async def main(stage):
        async def follow():
            async with stage.feed() as feed:
                async for _ in feed:
                    pass

        task = asyncio.create_task(follow())
        await asyncio.sleep(10)
        stage.inject("half_open")  # so that closing takes its time
        task.cancel()
        await asyncio.sleep(0.2)
        assert not task.done()
        task.cancel()
        await asyncio.sleep(0.2)
        assert task.cancelled()
        await asyncio.sleep(0.2)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not [h for h in asyncio.get_running_loop()._scheduled if "Driver" in repr(h)]

    play(main)


def test_notices_are_numbered_and_can_be_followed():
    async def main(stage):
        async with stage.feed() as feed:
            await asyncio.sleep(10)
            seen = feed.notices()
            assert [n.kind for n in seen][:2] == ["dialing", "live"]
            stage.inject("reset")
            await asyncio.sleep(5)
            fresh = feed.notices(after=seen[-1].number)
            assert fresh[0].number == seen[-1].number + 1
            assert [n.kind for n in fresh][:2] == ["ended", "dialing"]

    play(main)


@both
def test_a_full_outlet_is_marked_even_if_the_consumer_stops_reading_for_good(venue):
    async def main(stage):
        async with stage.feed(book(*stage.symbols), capacity=8) as feed:
            await asyncio.sleep(60)
            assert len(feed._outlet) == 8
            assert feed.stats().overflowed > 100
            events = []
            while (event := feed.take()) is not None:
                events.append(event)
            await asyncio.sleep(5)
            while (event := feed.take()) is not None:
                events.append(event)
        for symbol in stage.symbols:
            kinds = [type(event) for event in events if event.symbol == symbol]
            at = kinds.index(Gap)
            assert kinds[at : at + 3] == [Gap, BookSnapshot, Resynced]
        assert stage.card(feed, events).kept

    play(main, venue, rate=40.0)


# -- books ------------------------------------------------------------------------------------


@both
def test_a_book_is_not_readable_before_it_is_proven(venue):
    async def main(stage):
        stage.network.down()
        async with stage.book() as one:
            assert not one.synced
            for read in (lambda: one.bids, lambda: one.asks, one.top):
                with pytest.raises(NotSynced, match=stage.symbols[0]):
                    read()
            stage.network.up()
            await stage.until(lambda: one.synced, 5)
            assert one.bids[0][0] < one.asks[0][0]
            assert [price for price, _ in one.bids] == sorted(
                (p for p, _ in one.bids), reverse=True
            )
            assert [price for price, _ in one.asks] == sorted(p for p, _ in one.asks)
            top = one.top()
            assert (top.bid, top.bid_size) == one.bids[0]
            assert (top.ask, top.ask_size) == one.asks[0]

    play(main, venue)


@both
def test_a_book_equals_the_venue_and_an_outage_makes_it_unreadable(venue):
    async def main(stage):
        async with stage.book() as one, stage.feed(book(stage.symbols[0])) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(20)
            stage.inject("outage", for_s=5.0)
            await asyncio.sleep(1)
            assert not one.synced
            with pytest.raises(NotSynced, match="ConnectionLost"):
                _ = one.bids
            await stage.until(lambda: one.synced and feed.stats().topics[0].trust == "live", 20)
            await asyncio.sleep(5)
            await stage.until(
                lambda: one.synced and one.top().last == consumer.events[-1].last, 5, 0.0007
            )
            bids, asks, number = rebuilt(consumer.events, stage.topic("book"))
            assert one.top().last == number
            assert dict(one.bids) == bids
            assert dict(one.asks) == asks
            events = await consumer.stop()
            assert stage.card(feed, events).books_equal == 1

    play(main, venue)


@both
def test_changes_yields_tops_that_differ_and_only_while_synced(venue):
    async def main(stage):
        tops = []
        async with stage.book() as one:

            async def follow():
                async for top in one.changes():
                    assert one.synced
                    tops.append(top)

            task = asyncio.create_task(follow())
            await asyncio.sleep(30)
            before = len(tops)
            stage.inject("outage", for_s=10.0)
            await asyncio.sleep(9)
            assert len(tops) <= before + 1
            during = len(tops)
            await asyncio.sleep(20)
            assert len(tops) > during
        await asyncio.wait((task,), timeout=1)
        assert task.exception() is None
        assert before > 20
        keys = [(t.bid, t.bid_size, t.ask, t.ask_size) for t in tops]
        again = sum(a == b for a, b in itertools.pairwise(keys))
        assert again <= 1  # only after the outage may the same be shown anew

    play(main, venue)


def test_a_slow_reader_of_changes_gets_the_newest_top():
    async def main(stage):
        async with stage.book() as one:
            await stage.until(lambda: one.synced)
            seen = 0
            async for top in one.changes():
                assert top == one.top()
                await asyncio.sleep(5)
                seen += 1
                if seen == 10:
                    break

    play(main, rate=40.0)


def test_what_ends_a_book_is_raised_where_it_is_followed():
    error = RuntimeError("unknown to us")

    async def main(stage):
        async with stage.book() as one:
            await asyncio.sleep(5)

            def broken(now):
                raise error

            one._running().watching.round = broken
            with pytest.raises(RuntimeError) as caught:
                async for _ in one.changes():
                    pass
            assert caught.value is error

    play(main)


def test_a_book_has_counters_and_notices():
    async def main(stage):
        async with stage.book() as one:
            await asyncio.sleep(5)
            assert one.stats().delivered > 10
            assert [n.kind for n in one.notices()] == ["dialing", "live"]

    play(main)
