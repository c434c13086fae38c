"""Fetching snapshots: paid, spaced, one at a time for each book."""

from __future__ import annotations

import asyncio
import itertools
from random import Random

from gapless.core.booksync import BookStream
from gapless.core.budget import Budget, Window
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, SnapshotFrom, TopicSpec
from gapless.errors import (
    DecodeError,
    DialFailed,
    RateLimited,
    RequestRejected,
    SubscriptionRejected,
)
from gapless.events import BookDelta, BookSnapshot, Origin
from gapless.io.snapshots import CONCURRENT, Snapshots
from gapless.testing import VirtualClock, run
from gapless.venues._profile import RestGet

SECOND = 1_000_000_000


class Dialect:
    def snapshot(self, symbol):
        return RestGet("/book", (("symbol", symbol),), "weight", 50)

    def read_snapshot(self, body, origin, recv_ns, mono_ns):
        if body == b"?":
            raise DecodeError("not a book")
        number = int(body)
        return BookSnapshot(origin, recv_ns, mono_ns, None, number, number, [(1.0, 1.0)], [])

    def read_error(self, body):
        return None


class Client:
    """Answers with what a test says; notes when and where it was asked."""

    def __init__(self, clock, answer):
        self.clock, self.answer = clock, answer
        self.asked, self.bases = [], []
        self.under_way = self.most = 0

    async def get(self, base, request, rest):
        self.asked.append(self.clock.mono_ns())
        self.bases.append(base)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0.02)
            answer = self.answer(len(self.asked))
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.under_way -= 1

    async def close(self):
        pass


class Desk:
    """Books, and a `Snapshots` that fetches for them."""

    def __init__(self, clock, answer, *, books=1, limit=6000):
        self.clock = clock
        self.client = Client(clock, answer)
        self.events, self.failures = [], []
        self.tasks = []
        self.fetcher = Snapshots(
            Dialect(),
            self.client,
            ("http://one", "http://two"),
            {"weight": Budget(Window(limit, 60 * SECOND))},
            clock,
            Random(1),
            lambda stream, error: self.failures.append(error),
        )
        self.books = [self._book(f"S{i}") for i in range(books)]

    def _book(self, symbol):
        spec = TopicSpec("toy", "book", symbol, symbol, Numbering.DENSE, SnapshotFrom.REST)
        return BookStream(spec, self.events.append, self._need)

    def _need(self, need):
        (stream,) = [book for book in self.books if book.spec.topic == need.topic]
        if self.fetcher.want(stream):
            self.tasks.append(asyncio.create_task(self.fetcher.fetch(stream)))

    def attach(self):
        for book in self.books:
            origin = Origin("toy", "book", book.spec.symbol, book.spec.topic, "a", 1)
            book.attach(origin, self.now())
            book.offer(BookDelta(origin, 0, self.clock.mono_ns(), None, 10, 12, [], []))

    def detach(self):
        for book in self.books:
            book.detach(1, "lost", self.now())

    def now(self):
        return Moment(self.clock.mono_ns(), self.clock.wall_ns())

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)


def fetch(test, answer, **options):
    clock = VirtualClock()

    async def main():
        desk = Desk(clock, answer, **options)
        desk.attach()
        await test(desk)
        await desk.stop()
        return desk

    return run(main(), clock)


def test_a_good_answer_proves_the_book_with_one_fetch():
    async def main(desk):
        await asyncio.sleep(60)
        assert desk.books[0].readable
        assert len(desk.client.asked) == desk.fetcher.fetches == 1
        assert all(task.done() for task in desk.tasks)
        assert not desk.failures

    fetch(main, lambda n: b"11")


def test_failures_grow_rarer_up_to_one_in_half_a_minute_and_change_the_endpoint():
    error = DialFailed("rest", "http://one", "HTTP status 500", 500)

    async def main(desk):
        await asyncio.sleep(600)

    desk = fetch(main, lambda n: error)
    waits = [(b - a) / SECOND - 0.02 for a, b in itertools.pairwise(desk.client.asked)]
    for wait, ceiling in zip(waits, (0.5, 1, 2, 4, 8, 16, *[30] * 99), strict=False):
        assert ceiling / 2 - 0.001 <= wait <= ceiling + 0.001
    assert 600 / 31 <= len(desk.client.asked) <= 6 + 600 / 15
    assert desk.client.bases[:4] == ["http://one", "http://two"] * 2
    assert len(desk.failures) == len(desk.client.asked)


def test_a_failure_then_a_good_answer_heals_and_forgets():
    error = DialFailed("rest", "http://one", "no")

    async def main(desk):
        await asyncio.sleep(30)
        assert desk.books[0].readable
        assert len(desk.client.asked) == 4

    fetch(main, lambda n: error if n < 4 else b"12")


def test_what_is_no_book_is_a_failure_like_any_other():
    async def main(desk):
        await asyncio.sleep(30)
        assert desk.books[0].readable
        assert [type(error) for error in desk.failures] == [DecodeError] * 2

    fetch(main, lambda n: b"?" if n < 3 else b"12")


def test_the_venues_wait_is_obeyed_by_all_books():
    limited = RateLimited(429, 20 * SECOND)

    async def main(desk):
        await asyncio.sleep(19.9)
        early = len(desk.client.asked)
        await asyncio.sleep(40)
        assert all(book.readable for book in desk.books)
        assert early == CONCURRENT  # those that were under way already
        assert min(at for at in desk.client.asked[early:]) >= desk.client.asked[0] + 20 * SECOND

    fetch(main, lambda n: limited if n <= CONCURRENT else b"12", books=10)


def test_a_limit_without_a_time_means_half_a_minute():
    async def main(desk):
        await asyncio.sleep(29)
        assert len(desk.client.asked) == 1
        await asyncio.sleep(40)
        assert desk.books[0].readable

    fetch(main, lambda n: RateLimited(403) if n == 1 else b"12")


def test_a_refused_snapshot_is_final():
    async def main(desk):
        await asyncio.sleep(300)
        assert len(desk.client.asked) == 1
        (error,) = desk.failures
        assert isinstance(error, SubscriptionRejected)
        assert (error.topic, error.code) == ("S0", -1121)

    fetch(main, lambda n: RequestRejected(-1121, "Invalid symbol."))


def test_every_fetch_is_paid_and_no_window_holds_more_than_the_venue_allows():
    async def main(desk):
        await asyncio.sleep(600)
        assert all(book.readable for book in desk.books)

    desk = fetch(main, lambda n: b"12", books=30, limit=500)  # ten fetches a minute
    asked = desk.client.asked
    assert len(asked) == 30
    assert max(sum(at <= other < at + 60 * SECOND for other in asked) for at in asked) == 10
    assert desk.client.most <= CONCURRENT


def test_a_book_without_a_connection_is_not_fetched_for():
    async def main(desk):
        await asyncio.sleep(0.1)
        desk.detach()
        await asyncio.sleep(300)
        assert len(desk.client.asked) <= 2
        assert all(task.done() for task in desk.tasks)

    fetch(main, lambda n: DialFailed("rest", "http://one", "no"))


def test_a_snapshot_that_is_too_old_is_fetched_again():
    async def main(desk):
        await asyncio.sleep(30)
        assert desk.books[0].readable
        assert len(desk.client.asked) == 3
        assert desk.books[0].stale_snapshots == 2

    fetch(main, lambda n: b"5" if n < 3 else b"12")


def test_a_book_whose_venue_serves_no_snapshot_is_refused_and_asked_for_once(monkeypatch):
    monkeypatch.setattr(Dialect, "snapshot", lambda self, symbol: None)

    async def main(desk):
        await asyncio.sleep(300)
        assert not desk.client.asked
        (error,) = desk.failures
        assert isinstance(error, SubscriptionRejected)
        assert "no snapshot" in error.detail
        assert all(task.done() for task in desk.tasks)

    fetch(main, lambda n: b"12")


def test_a_book_that_is_listed_again_does_not_wait_for_the_fetch_of_the_one_before():
    async def main(desk):
        await asyncio.sleep(3)  # the next fetch for the first one waits for two seconds and more
        (old,) = desk.books
        old.sources.clear()
        desk.client.answer = lambda n: b"11"
        desk.books = [desk._book(old.spec.symbol)]
        desk.attach()
        await asyncio.sleep(4.5)
        assert desk.books[0].readable
        assert not old.readable

    fetch(main, lambda n: DialFailed("rest", "http://one", "HTTP status 500", 500))
