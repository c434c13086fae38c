"""What streams need is served by whoever can, spaced, and never forgotten."""

from __future__ import annotations

import asyncio

import msgspec
from tests.simulation.stage import Consumer, notices, play

from gapless.core.lately import digest
from gapless.core.stream import Need
from gapless.errors import DialFailed, SubscriptionRejected
from gapless.events import BookDelta
from gapless.planning import book


def with_feed(test, *, venue="deribit", **options):
    async def main(stage):
        async with stage.feed(book(*stage.symbols), **options) as feed:
            consumer = Consumer(feed)
            topic = stage.topic("book")
            stream = feed._running().streams[topic]
            await stage.until(lambda: stream.readable)
            await test(stage, feed, stream)
            await consumer.stop()

    play(main, venue)


def resyncs(feed):
    return notices(feed, "resync")


def ask(feed, stream, epoch):
    feed._running()._needs.take(Need("resubscribe", stream.spec.topic, epoch, "a test asks"))


def test_a_book_is_subscribed_anew_on_the_session_that_lacks_it():
    async def test(stage, feed, stream):
        (epoch,) = stream.sources
        ask(feed, stream, epoch)
        assert [(n.cause, n.epoch) for n in resyncs(feed)] == [("a test asks", epoch)]

    with_feed(test)


def test_asking_twice_in_a_second_subscribes_once():
    async def test(stage, feed, stream):
        (epoch,) = stream.sources
        ask(feed, stream, epoch)
        ask(feed, stream, epoch)
        assert len(resyncs(feed)) == 1

    with_feed(test)


def test_what_cannot_be_served_now_is_served_once_somebody_can():
    async def test(stage, feed, stream):
        record = stage.inject("drop", topic=stream.spec.topic, count=1)
        await stage.until(lambda: not stream.readable, 30)
        assert record.happened == 1
        needs = feed._running()._needs
        needs.forget(stream.spec.topic)
        needs._deferred[stream.spec.topic] = Need("resubscribe", stream.spec.topic, 99, "late")
        await stage.until(lambda: stream.readable, 30)

    with_feed(test)


def test_when_the_feed_ends_so_does_every_fetch():
    async def test(stage, feed, stream):
        needs = feed._running()._needs
        began = asyncio.Event()

        async def long():
            began.set()
            await asyncio.sleep(10_000)

        needs.spawn(long())
        await began.wait()

    with_feed(test, venue="binance.spot")


def test_work_that_comes_before_the_feed_runs_is_closed_and_not_left_behind():
    async def main(stage):
        feed = stage.feed(book(*stage.symbols))
        async with feed:
            needs = feed._running()._needs
            needs._tasks = None

            async def work():
                raise AssertionError("must not run")

            needs.spawn(work())
            needs.begin(feed._running()._tasks)

    play(main)


def test_a_snapshot_refused_after_its_topic_was_retired_concerns_nobody():
    async def test(stage, feed, stream):
        conductor, topic = feed._running(), stream.spec.topic
        error = SubscriptionRejected(topic, -1121, "Invalid symbol.")
        conductor.following.remove(topic)
        conductor._needs._no_snapshot(stream, error)
        assert topic not in conductor.refusals, "it may be listed again"
        conductor._needs._no_snapshot(stream, DialFailed("rest", "http://one", "no"))

    with_feed(test, venue="binance.spot")


def test_a_need_of_a_topic_that_was_retired_is_nobodys():
    async def test(stage, feed, stream):
        (epoch,) = stream.sources
        feed._running().following.remove(stream.spec.topic)
        ask(feed, stream, epoch)
        assert not resyncs(feed)

    with_feed(test)


def test_lines_that_disagree_are_told_with_what_each_said_and_the_book_is_rebuilt():
    async def test(stage, feed, stream):
        await stage.until(lambda: len(stream.sources) == 2)
        await stage.until(lambda: isinstance(stream.newest, BookDelta) and stream.readable)
        said = stream.newest
        (other,) = [s.origin for e, s in stream.sources.items() if e != said.origin.epoch]
        lie = msgspec.structs.replace(said, origin=other, bids=[(1.0, 9.0)])
        stream.offer(lie)
        (notice,) = notices(feed, "diverged")
        assert f"disagree about {said.last}" in notice.cause
        assert digest(said) in notice.evidence
        assert digest(lie) in notice.evidence
        assert (notice.line, notice.epoch, notice.channel) == (other.line, other.epoch, "book")
        (stats,) = [t for t in feed.stats().topics if t.topic == stream.spec.topic]
        assert (stats.diverged, stats.trust) == (1, "gapped")
        await stage.until(lambda: stream.readable, 5.0)

    for venue in ("deribit", "binance.spot"):
        with_feed(test, venue=venue, lines=2)
