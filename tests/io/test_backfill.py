"""Asking for missing trades: paid, spaced, one at a time for each topic."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from random import Random

import pytest
from tests.core.worlds import TRADES

from gapless.core.backfill import (
    FRUITLESS_MAX,
    PATIENCE_NS,
    REQUESTS_MAX,
    BackfilledStream,
)
from gapless.core.budget import Budget, Window
from gapless.core.stream import Backfill, Moment
from gapless.errors import DecodeError, DialFailed, RateLimited, RequestRejected
from gapless.events import Origin, Trade
from gapless.io.backfill import CONCURRENT, SHARE, Backfills
from gapless.testing import VirtualClock, run
from gapless.venues._profile import RestGet

SECOND = 1_000_000_000
UNITS = 10


class Archive:
    """A venue's past trades, so many a page."""

    def __init__(self, page=1000, offers=True):
        self.page, self.offers = page, offers

    def trades(self, topic, symbol, first, last):
        if not self.offers:
            return None
        query = (("symbol", symbol), ("first", str(first)), ("last", str(last)))
        return RestGet("/trades", query, "weight", UNITS)

    def read_trades(self, body, origin, recv_ns, mono_ns):
        if body == b"?":
            raise DecodeError("not trades")
        numbers = [int(number) for number in body.split()]
        return [
            Trade(origin, recv_ns, mono_ns, None, n, n, str(n), float(n), 1.0, "buy")
            for n in numbers
        ]

    def honest(self, request):
        _, first, last = (value for _, value in request.query)
        numbers = list(range(int(first), int(last) + 1))[: self.page]
        return " ".join(map(str, numbers)).encode()


class Client:
    """Answers with what a test says; notes when and where it was asked."""

    def __init__(self, clock, answer, took_s):
        self.clock, self.answer, self.took_s = clock, answer, took_s
        self.asked, self.bases, self.requests = [], [], []
        self.under_way = self.most = 0

    async def get(self, base, request, rest):
        self.asked.append(self.clock.mono_ns())
        self.bases.append(base)
        self.requests.append(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.took_s)
            answer = self.answer(len(self.asked), request)
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.under_way -= 1

    async def close(self):
        pass


class Desk:
    """Streams of trades, and a `Backfills` that asks for them."""

    def __init__(self, clock, answer=None, *, archive=None, topics=1, limit=6000, **options):
        self.clock = clock
        self.archive = archive or Archive()
        answer = answer or (lambda n, request: self.archive.honest(request))
        self.client = Client(clock, answer, options.get("took_s", 0.02))
        self.events, self.given_up, self.tasks = [], [], []
        self.budget = Budget(Window(limit, 60 * SECOND))
        self.backfills = Backfills(
            options.get("rest", self.archive),
            self.client,
            options.get("bases", ("http://one", "http://two")),
            {"weight": self.budget},
            clock,
            Random(1),
            lambda stream, hole: self.given_up.append(hole),
        )
        self.streams = [self._stream(f"S{n}") for n in range(topics)]

    def _stream(self, symbol):
        spec = replace(TRADES, topic=symbol, symbol=symbol, backfill=Backfill.LATE)
        stream = BackfilledStream(spec, self.events.append, self._need)
        stream.attach(self._origin(symbol), self.now())
        return stream

    def _origin(self, symbol):
        return Origin("venue", "trades", symbol, symbol, "a", 1)

    def _need(self, need):
        assert need.kind == "backfill"
        (stream,) = [s for s in self.streams if s.spec.topic == need.topic]
        if self.backfills.want(stream):
            self.tasks.append(asyncio.create_task(self.backfills.fill(stream)))

    def live(self, *numbers):
        for stream in self.streams:
            for n in numbers:
                origin = self._origin(stream.spec.symbol)
                now = self.now()
                stream.offer(
                    Trade(
                        origin, now.recv_ns, now.mono_ns, None, n, n, str(n), float(n), 1.0, "buy"
                    )
                )

    def now(self):
        return Moment(self.clock.mono_ns(), self.clock.wall_ns())

    @property
    def fetched(self):
        return [e.last for e in self.events if isinstance(e, Trade) and e.backfilled]


def fill(test, answer=None, **options):
    clock = VirtualClock()

    async def main():
        desk = Desk(clock, answer, **options)
        await test(desk)
        for task in desk.tasks:
            task.cancel()
        await asyncio.gather(*desk.tasks, return_exceptions=True)
        return desk

    return run(main(), clock)


def test_a_hole_is_filled_at_once_with_as_many_requests_as_it_has_pages():
    async def main(desk):
        desk.live(1, 1002)
        await asyncio.sleep(1)
        assert desk.fetched == list(range(2, 1002))
        assert len(desk.client.asked) == desk.backfills.requests == 4
        assert desk.client.asked[-1] - desk.client.asked[0] < 61_000_000  # 20 ms each
        assert all(task.done() for task in desk.tasks)
        assert not desk.given_up

    fill(main, archive=Archive(page=250))


def test_a_hole_found_while_another_is_filled_has_its_turn_after_it():
    async def main(desk):
        desk.live(1, 5)
        await asyncio.sleep(0.01)
        desk.live(9)
        await asyncio.sleep(1)
        assert desk.fetched == [2, 3, 4, 6, 7, 8]
        assert len(desk.tasks) == 1
        assert desk.client.most == 1
        desk.live(11)
        await asyncio.sleep(1)
        assert desk.fetched[-1] == 10
        assert len(desk.tasks) == 2

    fill(main)


def test_topics_are_asked_for_side_by_side_but_only_so_many():
    async def main(desk):
        desk.live(1, 5)
        await asyncio.sleep(5)
        assert len(desk.fetched) == 3 * 10
        assert desk.client.most == CONCURRENT

    fill(main, topics=10)


def test_failures_grow_rarer_change_the_endpoint_and_end_with_the_bound():
    error = DialFailed("rest", "http://one", "HTTP status 500", 500)

    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(PATIENCE_NS / SECOND)

    desk = fill(main, lambda n, request: error)
    waits = [(b - a) / SECOND - 0.02 for a, b in itertools.pairwise(desk.client.asked)]
    for wait, ceiling in zip(waits, (0.5, 1, 2, 4, 8, 16, *[30] * 99), strict=False):
        assert ceiling / 2 - 0.001 <= wait <= ceiling + 0.001
    assert desk.client.bases[:4] == ["http://one", "http://two"] * 2
    assert len(desk.client.asked) == REQUESTS_MAX
    (hole,) = desk.given_up
    assert (hole.lacking, hole.trouble) == (1, str(error))


def test_what_is_no_reply_is_a_failure_like_any_other():
    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(30)
        assert desk.fetched == [2]
        assert len(desk.client.asked) == 3

    fill(main, lambda n, request: b"?" if n < 3 else b"2")


def test_a_venue_that_has_none_of_them_is_asked_again_once_and_believed():
    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(60)
        assert len(desk.client.asked) == FRUITLESS_MAX
        assert desk.client.asked[1] - desk.client.asked[0] >= 0.25 * SECOND
        (hole,) = desk.given_up
        assert hole.why == "the venue does not have them"

    fill(main, lambda n, request: b"7 8 9")


def test_a_refused_request_is_final():
    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(60)
        assert len(desk.client.asked) == 1
        (hole,) = desk.given_up
        assert "-1121" in hole.why
        assert all(task.done() for task in desk.tasks)

    fill(main, lambda n, request: RequestRejected(-1121, "Invalid symbol."))


def test_the_venues_wait_is_obeyed_by_everything_that_is_paid_from_the_same_budget():
    limited = RateLimited(429, 20 * SECOND)

    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(19.9)
        assert len(desk.client.asked) == 1
        assert desk.budget.wait_ns(desk.clock.mono_ns()) > 0
        await asyncio.sleep(2)
        assert desk.fetched == [2]
        assert desk.client.asked[1] >= desk.client.asked[0] + 20 * SECOND

    fill(main, lambda n, request: limited if n == 1 else b"2")


def test_a_wait_that_is_longer_than_the_patience_ends_it_at_once():
    limited = RateLimited(418, PATIENCE_NS + SECOND)

    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(5)
        (hole,) = desk.given_up
        assert hole.why == "the request budget has no room for them"
        assert all(task.done() for task in desk.tasks)

    fill(main, lambda n, request: limited)


def test_every_request_is_paid_and_books_keep_their_share():
    limit = 100  # ten requests a minute, were there no books

    async def main(desk):
        for n in range(1, 200, 2):
            desk.live(n)
        await asyncio.sleep(180)

    desk = fill(main, limit=limit)
    asked = desk.client.asked
    most = max(sum(at <= other < at + 60 * SECOND for other in asked) for at in asked)
    assert most * UNITS <= limit * SHARE + UNITS
    assert len(asked) >= 3 * (limit * SHARE) // UNITS


@pytest.mark.parametrize(
    "options", [{"archive": Archive(offers=False)}, {"rest": None}, {"bases": ()}]
)
def test_where_nothing_can_be_asked_for_the_hole_is_given_up_at_once(options):
    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(0.001)
        (hole,) = desk.given_up
        assert hole.why == "past trades cannot be asked for by number here"
        assert not desk.client.asked

    fill(main, **options)


def test_filling_goes_on_while_nobody_carries_the_topic():
    async def main(desk):
        desk.live(1, 3)
        desk.streams[0].detach(1, "closed", desk.now())
        await asyncio.sleep(1)
        assert desk.fetched == [2]

    fill(main)


def test_a_topic_that_nobody_follows_any_more_is_not_asked_for():
    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(0.1)
        desk.streams[0].close()
        await asyncio.sleep(60)
        assert len(desk.client.asked) == 1
        assert all(task.done() for task in desk.tasks)
        assert not desk.given_up

    fill(main, lambda n, request: DialFailed("rest", "http://one", "no"))


def test_what_is_closed_while_it_is_asked_for_gets_nothing():
    async def main(desk):
        desk.live(1, 3)
        await asyncio.sleep(0.01)
        desk.streams[0].close()
        await asyncio.sleep(60)
        assert not desk.fetched
        assert len(desk.client.asked) == 1

    fill(main)


def test_what_is_closed_while_the_budget_has_no_room_is_never_asked_for():
    async def main(desk):
        desk.budget.refused(desk.clock.mono_ns(), 30 * SECOND, ban=False)
        desk.live(1, 3)
        await asyncio.sleep(10)
        desk.streams[0].close()
        await asyncio.sleep(60)
        assert not desk.client.asked
        assert all(task.done() for task in desk.tasks)

    fill(main)


def test_holes_beyond_the_bound_are_told():
    async def main(desk):
        desk.live(*range(1, 141, 2))
        await asyncio.sleep(60)
        assert [hole.why for hole in desk.given_up] == ["64 gaps are being filled already"] * 5
        assert len(desk.fetched) == 64

    fill(main)


def test_a_topic_that_is_listed_again_does_not_wait_for_the_requests_of_the_one_before():
    async def main(desk):
        desk.live(1, 5)
        await asyncio.sleep(0.01)
        (old,) = desk.streams
        old.close()
        desk.streams = [desk._stream(old.spec.symbol)]
        desk.live(11, 13)
        await asyncio.sleep(1)
        assert desk.fetched == [12]

    fill(main, took_s=0.3)
