"""A simulated venue and a feed on it, in virtual time, with everything within reach of a test."""

from __future__ import annotations

import asyncio
import itertools

from gapless.client import Book, Feed
from gapless.events import BookDelta, BookSnapshot, Gap, Resynced
from gapless.io.runtime import Runtime
from gapless.planning import Options, assemble, bbo, book, ticker, trades
from gapless.sim.build import simulate
from gapless.sim.dialects._base import SimOptions
from gapless.sim.faults import Fault
from gapless.sim.truth import MemoryTruth
from gapless.testing import MemoryConnector, MemoryNetwork, MemoryVenue, VirtualClock, run, score

SECOND = 1_000_000_000
VENUES = ("deribit", "binance.spot")
SYMBOLS = {
    "deribit": ("BTC-PERPETUAL", "ETH-PERPETUAL"),
    "binance.spot": ("BTCUSDT", "ETHUSDT"),
}


def play(test, venue="deribit", **arguments):
    """Run ``await test(stage)`` in virtual time, and return what it returns."""
    clock = VirtualClock()

    async def main():
        stage = Stage(clock, venue, **arguments)
        try:
            return await test(stage)
        finally:
            stage.venue.close()

    return run(main(), clock)


class Stage:
    """One venue, and feeds on it."""

    def __init__(
        self, clock, venue, *, rate=20.0, seed=1, latency_ms=5.0, jitter_ms=0.0, **sim_options
    ):
        self.clock = clock
        self.name = venue
        self.seed = seed
        self.symbols = SYMBOLS[venue]
        self.truth = MemoryTruth()
        self.exchange = simulate(
            venue,
            self.symbols,
            rate_per_s=rate,
            seed=seed,
            options=SimOptions(**sim_options),
            truth=self.truth,
        )
        self.network = MemoryNetwork(
            clock, latency_ns=int(latency_ms * 1e6), jitter_ns=int(jitter_ms * 1e6), seed=seed
        )
        self.venue = MemoryVenue(self.exchange, self.network, "venue.test:443", clock)
        self.runtime = Runtime(clock, MemoryConnector(self.network), self.venue.rest)

    def options(self, **changed):
        changed.setdefault("allow_same", True)
        return Options(
            endpoints=(self.venue.ws_url,),
            rest_endpoint=self.venue.http_url,
            seed=self.seed,
            runtime=self.runtime,
            **changed,
        )

    def everything(self):
        makers = (trades, book, bbo, ticker)
        return tuple(make(*self.symbols) for make in makers)

    def feed(self, *subscriptions, **options):
        chosen = self.options(**options)
        return Feed(assemble(self.name, subscriptions or self.everything(), chosen), chosen)

    def book(self, symbol=None, **options):
        chosen = self.options(**options)
        wanted = (book(symbol or self.symbols[0]),)
        return Book(assemble(self.name, wanted, chosen), chosen)

    def inject(self, name, **fields):
        record = self.exchange.inject(Fault(name=name, **fields), self.clock.wall_ns())
        self.venue.pump()
        return record

    def topic(self, channel, symbol=None):
        from gapless.venues._registry import load

        return load(self.name).topic(channel, symbol or self.symbols[0]).topic

    async def until(self, condition, seconds=60.0, step_s=0.001):
        """Wait until something is so; return how long it took, in seconds."""
        began_ns = self.clock.mono_ns()
        while not condition():
            waited_s = (self.clock.mono_ns() - began_ns) / SECOND
            assert waited_s < seconds, f"not within {seconds} s"
            await asyncio.sleep(step_s)
        return (self.clock.mono_ns() - began_ns) / SECOND

    def opened(self):
        return self.truth.of("session", what="opened")

    def closed(self):
        return self.truth.of("session", what="closed")

    def card(self, feed, events):
        """Hold what a feed delivered against the truth; closes the venue."""
        self.venue.close()
        numbering = {topic: spec.numbering for topic, spec in feed._plan.specs.items()}
        return score(self.truth.records, events, numbering)


class Consumer:
    """Takes everything a feed gives; ``pause`` makes it slow."""

    def __init__(self, feed):
        self.feed = feed
        self.events = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.task = asyncio.create_task(self._take())

    async def _take(self):
        async for event in self.feed:
            self.events.append(event)
            await self.may_read.wait()

    async def stop(self):
        self.task.cancel()
        await asyncio.wait((self.task,))
        if not self.task.cancelled() and self.task.exception() is not None:
            raise self.task.exception()
        while (event := self.feed.take()) is not None:
            self.events.append(event)
        return self.events

    def of(self, kind, topic=None):
        return [
            event
            for event in self.events
            if isinstance(event, kind) and topic in (None, event.origin.topic)
        ]


def marks(events):
    return [event for event in events if isinstance(event, Gap | Resynced)]


def gaps(events):
    return [event for event in events if isinstance(event, Gap)]


def notices(feed, *kinds):
    return [notice for notice in feed.notices() if notice.kind in kinds]


def rebuilt(events, topic):
    """Return the book that a consumer makes of snapshots and deltas, and its number."""
    bids, asks, number = {}, {}, None
    for event in events:
        if event.origin.topic != topic or not isinstance(event, BookDelta | BookSnapshot):
            continue
        if isinstance(event, BookSnapshot):
            bids, asks = {}, {}
        for side, levels in ((bids, event.bids), (asks, event.asks)):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
        number = event.last
    return bids, asks, number


def assert_marked_in_order(events):
    """A gap in a book comes before its snapshot, and the snapshot before the Resynced."""
    for before, after in itertools.pairwise(events):
        if isinstance(after, Resynced) and after.by == "snapshot":
            assert before.origin.topic == after.origin.topic
            assert not isinstance(before, Gap), "a resync without state"
