"""Listings are read when there is a reason to, paid, and believed only when they are whole."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

import msgspec
import pytest

from gapless.core.budget import Budget, Window
from gapless.core.codec import Lifecycle
from gapless.core.universe import Instrument, Selector
from gapless.errors import DecodeError, DialFailed, RateLimited, RequestRejected
from gapless.io.listings import ASK_NS, POLL_NS, REQUESTS_MAX, Listings, Selection
from gapless.testing import VirtualClock, run
from gapless.venues._profile import RestGet

SECOND = 1_000_000_000
OPTIONS = Selection("book", Selector("option:*"))


class Dialect:
    """Two requests make one listing."""

    def instruments(self):
        return (RestGet("/near", (), "weight", 10), RestGet("/far", (), "weight", 10))

    def read_instruments(self, body):
        if body == b"?":
            raise DecodeError("not a listing")
        return msgspec.json.decode(body, type=list[Instrument])


class Venue:
    """Lists what a test says, and notes when it was asked."""

    def __init__(self, clock):
        self.clock = clock
        self.near, self.far = ["A", "B"], ["C"]
        self.trouble = {}  # path -> error
        self.asked = []

    async def get(self, base, request, rest):
        self.asked.append((self.clock.mono_ns(), base, request.path))
        await asyncio.sleep(0.02)
        error = self.trouble.get(request.path)
        if error is not None:
            raise error
        names = self.near if request.path == "/near" else self.far
        return msgspec.json.encode([Instrument(name, "option", "BTC", "USD") for name in names])

    @property
    def reads(self):
        return [ns for ns, _, path in self.asked if path == "/near"]


class Told:
    def __init__(self):
        self.followed, self.retired, self.planned, self.failures = [], [], [], []

    def changed(self, selection, changes):
        assert selection is OPTIONS
        self.followed += [instrument.symbol for instrument in changes.follow]
        self.retired += [symbol for symbol, _ in changes.retire]
        self.planned += [symbol for symbol, _ in changes.planned]

    def listing_failed(self, error):
        self.failures.append(error)


class Desk:
    def __init__(self, clock, limit, more):
        self.clock, self.venue, self.told = clock, Venue(clock), Told()
        self.pool = Budget(Window(limit, 60 * SECOND))
        self.listings = Listings(
            (OPTIONS,),
            Dialect(),
            self.venue,
            ("http://one", "http://two"),
            {"weight": self.pool},
            clock,
            Random(1),
            self.told,
            more,
        )
        self.task = asyncio.create_task(self.listings.run())

    async def for_(self, seconds):
        await asyncio.sleep(seconds)
        if self.task.done():
            self.task.result()


def desk(test, limit=6000, more=None):
    clock = VirtualClock()

    async def main():
        one = Desk(clock, limit, more)
        try:
            return await test(one)
        finally:
            one.task.cancel()
            await asyncio.wait((one.task,))

    return run(main(), clock)


def test_a_listing_is_made_of_all_its_parts_and_read_at_once():
    async def test(desk):
        await desk.for_(1)
        assert desk.told.followed == ["A", "B", "C"]
        assert desk.listings.reads == 1

    desk(test)


def test_without_news_it_is_read_again_after_the_poll_interval():
    async def test(desk):
        await desk.for_(3 * POLL_NS / SECOND + 2)
        first, *later = desk.venue.reads
        assert len(later) == 3
        for before, after in zip([first, *later], later, strict=False):
            assert POLL_NS <= after - before <= POLL_NS + 2 * SECOND

    desk(test)


def test_what_is_new_is_followed_within_two_seconds_of_the_venues_news():
    async def test(desk):
        await desk.for_(10)
        desk.venue.far.append("D")
        desk.listings.told(Lifecycle("D", "open"))
        await desk.for_(1)
        assert desk.told.followed[-1] == "D"

    desk(test)


def test_a_crowd_of_news_is_served_by_few_readings():
    async def test(desk):
        await desk.for_(10)
        before = len(desk.venue.reads)
        for number in range(1000):
            desk.listings.told(Lifecycle(f"N{number}", "open"))
            if number % 100 == 99:
                await desk.for_(0.3)
        await desk.for_(5)
        spaced = desk.venue.reads[before:]
        assert 1 <= len(spaced) <= 5
        assert all(b - a >= ASK_NS for a, b in pairwise(spaced))

    desk(test)


@pytest.mark.parametrize(
    "trouble",
    [DialFailed("rest", "http://one", "down"), DecodeError("no"), RequestRejected(7, "no")],
)
def test_a_part_that_cannot_be_read_changes_nothing_and_the_next_endpoint_is_asked(trouble):
    async def test(desk):
        await desk.for_(2)
        desk.venue.trouble["/far"] = trouble
        desk.venue.near.append("NEW")
        desk.listings.ask()
        await desk.for_(20)
        assert desk.told.followed == ["A", "B", "C"]
        assert desk.told.retired == []
        assert desk.told.failures[0] is trouble
        assert {base for _, base, _ in desk.venue.asked} == {"http://one", "http://two"}
        desk.venue.trouble.clear()
        await desk.for_(70)
        assert desk.told.followed == ["A", "B", "C", "NEW"]

    desk(test)


def test_a_listing_goes_on_for_as_long_as_its_replies_name_more():
    def more(request, body):
        pages = {"/far": "/page-2", "/page-2": "/page-3"}
        return (RestGet(pages[request.path], (), "weight", 10),) if request.path in pages else ()

    async def test(desk):
        await desk.for_(1)
        assert [path for _, _, path in desk.venue.asked] == ["/near", "/far", "/page-2", "/page-3"]
        assert desk.listings.reads == 1

    desk(test, more=more)


def test_a_listing_without_end_is_not_believed():
    async def test(desk):
        await desk.for_(1.4)
        assert len(desk.venue.asked) == REQUESTS_MAX
        assert len(desk.told.failures) == 1
        assert desk.told.followed == []

    desk(test, more=lambda request, body: (request,))


def test_failures_grow_rarer():
    async def test(desk):
        desk.venue.trouble["/near"] = DialFailed("rest", "http://one", "down")
        await desk.for_(600)
        assert 10 <= len(desk.venue.reads) <= 25

    desk(test)


def test_the_venues_wish_to_be_left_alone_is_kept():
    async def test(desk):
        desk.venue.trouble["/near"] = RateLimited(429, 40 * SECOND)
        await desk.for_(1)
        desk.venue.trouble.clear()
        asked = desk.venue.reads[0]
        await desk.for_(60)
        assert desk.venue.reads[1] - asked >= 40 * SECOND
        assert desk.told.followed == ["A", "B", "C"]

    desk(test)


def test_every_reading_is_paid():
    async def test(desk):
        for _ in range(120):
            desk.listings.ask()
            await desk.for_(1)
        window = desk.venue.asked
        for index in range(len(window) - 6):
            assert window[index + 6][0] - window[index][0] >= 60 * SECOND - SECOND // 10

    desk(test, limit=60)


def test_a_gone_instrument_is_retired_at_once_and_a_halted_one_is_planned():
    async def test(desk):
        await desk.for_(2)
        desk.listings.told(Lifecycle("A", "gone"))
        desk.listings.told(Lifecycle("B", "halted"))
        await desk.for_(0.2)
        assert (desk.told.retired, desk.told.planned) == (["A"], ["B"])

    desk(test)


def test_news_are_acted_upon_while_a_reading_waits_for_its_budget():
    async def test(desk):
        await desk.for_(1)
        assert desk.told.followed == ["A", "B", "C"]
        desk.listings.ask()
        await desk.for_(5)
        assert len(desk.venue.reads) == 1, "the budget has room for one listing a minute"
        desk.listings.told(Lifecycle("B", "gone"))
        desk.listings.told(Lifecycle("C", "halted"))
        await desk.for_(2)
        assert desk.told.retired == ["B"]
        assert desk.told.planned == ["C"]

    desk(test, limit=20)


def test_what_went_while_a_listing_was_read_is_not_followed_again_because_of_it():
    async def test(desk):
        await desk.for_(1)
        desk.listings.ask()
        await desk.for_(3)  # of two requests one is paid for and answered: A and B are listed
        assert len(desk.venue.asked) == 3
        desk.listings.told(Lifecycle("B", "gone"))
        await desk.for_(2)
        assert desk.told.retired == ["B"]
        await desk.for_(57)
        assert len(desk.venue.asked) >= 4
        assert desk.told.retired[-1] == "B"
        assert desk.told.followed.count("B") == desk.told.retired.count("B")

    desk(test, limit=30)
