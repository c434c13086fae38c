"""The whole client over real sockets, against the simulator on loopback.

Every wait is for an event and has a deadline; nothing sleeps for a while and hopes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest
from tests.io.certs import authority, context

import gapless
from gapless.errors import NotSynced
from gapless.events import BookDelta, BookSnapshot, Gap, Resynced, Trade
from gapless.listening import Port
from gapless.sim.build import simulate
from gapless.sim.dialects._base import SimOptions
from gapless.sim.faults import Fault
from gapless.sim.server import SimServer
from gapless.sim.truth import MemoryTruth
from gapless.testing import score
from gapless.venues._registry import load

VENUES = ("deribit", "binance.spot")
SYMBOLS = {"deribit": "BTC-PERPETUAL", "binance.spot": "BTCUSDT"}
CHANNELS = ("trades", "book", "bbo", "ticker")
both = pytest.mark.parametrize("venue", VENUES)


def open_files():
    return len(os.listdir("/proc/self/fd"))


def live(test, venue, *, seconds=30.0, **options):
    """Run ``await test(server, truth)`` against a server; nothing may be left afterwards."""

    async def main():
        truth = MemoryTruth()
        exchange = simulate(
            venue,
            [SYMBOLS[venue]],
            rate_per_s=100.0,
            seed=1,
            options=SimOptions(**options),
            truth=truth,
        )
        async with asyncio.timeout(seconds):
            async with SimServer(exchange) as server:
                await test(server, truth)
        deadline = asyncio.get_running_loop().time() + 5
        while asyncio.all_tasks() != {asyncio.current_task()}:
            assert asyncio.get_running_loop().time() < deadline, asyncio.all_tasks()
            await asyncio.sleep(0)

    before = open_files()
    asyncio.run(main())
    assert open_files() == before


def follow(server, *, endpoints=None, **options):
    venue = server.exchange.dialect.venue
    symbol = SYMBOLS[venue]
    return gapless.open(
        venue,
        gapless.trades(symbol),
        gapless.book(symbol),
        gapless.bbo(symbol),
        gapless.ticker(symbol),
        options=gapless.Options(
            endpoints=(server.ws_url,) if endpoints is None else endpoints, **options
        ),
    )


def inject(server, name, **fields):
    return server.exchange.inject(Fault(name=name, **fields), time.time_ns())


async def read_until(feed, events, enough):
    """Read until ``enough(events)``."""
    async for event in feed:
        events.append(event)
        if enough(events):
            return


def lives(feed):
    return sum(notice.kind == "live" for notice in feed.notices())


def channels_after(events, start):
    data = [e for e in events[start:] if not isinstance(e, Gap | Resynced)]
    return {event.channel for event in data}


def assert_kept(server, truth, feed, events):
    while (event := feed.take()) is not None:
        events.append(event)
    server.exchange.close(time.time_ns())
    numbering = {topic: spec.numbering for topic, spec in feed._plan.specs.items()}
    card = score(truth.records, events, numbering)
    assert card.kept, card.as_dict()
    assert card.books_compared == 1


@both
def test_open_follow_and_close_cleanly(venue):
    async def main(server, truth):
        events = []
        async with follow(server) as feed:
            await read_until(
                feed, events, lambda e: len(e) > 200 and channels_after(e, 0) == set(CHANNELS)
            )
            assert feed.stats().dials == 1
        assert [r["cause"] for r in truth.of("session", what="closed")] == ["client close 1000"]
        assert not [e for e in events if isinstance(e, Gap | Resynced)]
        assert_kept(server, truth, feed, events)

    live(main, venue)


@both
def test_a_reset_is_survived_and_announced(venue):
    async def main(server, truth):
        events = []
        async with follow(server) as feed:
            await read_until(feed, events, lambda e: channels_after(e, 0) == set(CHANNELS))
            assert inject(server, "reset").happened == 1
            start = len(events)
            await read_until(
                feed,
                events,
                lambda e: lives(feed) == 2 and channels_after(e, start) == set(CHANNELS),
            )
            stats = feed.stats()
            assert_kept(server, truth, feed, events)
        assert stats.dials == 2
        assert "ConnectionLost" in stats.ended[0].cause
        assert [e for e in events if isinstance(e, Gap | Resynced)]

    live(main, venue)


@both
def test_an_outage_is_survived(venue):
    async def main(server, truth):
        events = []
        async with follow(server) as feed:
            await read_until(feed, events, lambda e: channels_after(e, 0) == set(CHANNELS))
            record = inject(server, "outage", for_s=1.0)
            start, began_ns = len(events), time.monotonic_ns()
            await read_until(
                feed,
                events,
                lambda e: lives(feed) == 2 and channels_after(e, start) == set(CHANNELS),
            )
            back_s = [n.mono_ns for n in feed.notices() if n.kind == "live"][-1] - began_ns
            assert_kept(server, truth, feed, events)
        assert record.happened >= 1
        assert 1.0 <= back_s / 1e9 <= 4.0
        assert feed.stats().dials >= 2

    live(main, venue)


@both
def test_half_open_is_noticed_by_the_ping_deadline(venue):
    async def main(server, truth):
        events = []
        async with follow(server) as feed:
            await read_until(feed, events, lambda e: channels_after(e, 0) == set(CHANNELS))
            assert inject(server, "half_open").happened == 1
            start, began_ns = len(events), time.monotonic_ns()
            await read_until(
                feed,
                events,
                lambda e: lives(feed) == 2 and channels_after(e, start) == set(CHANNELS),
            )
            (ended,) = [n for n in feed.notices() if n.kind == "ended"]
            assert ended.cause.startswith("Stalled")
            took_s = (ended.mono_ns - began_ns) / 1e9
            print(f"{venue}: half open noticed after {took_s:.3f} s")
            assert took_s <= 2.5  # 2.25 s and a loaded machine
            assert_kept(server, truth, feed, events)

    live(main, venue)


@both
def test_a_book_over_real_sockets(venue):
    async def main(server, truth):
        options = gapless.Options(endpoints=(server.ws_url,))
        async with gapless.open_book(venue, SYMBOLS[venue], options=options) as book:
            with pytest.raises(NotSynced):
                _ = book.bids
            seen = 0
            async for top in book.changes():
                assert top.bid < top.ask
                assert book.bids[0] == (top.bid, top.bid_size)
                seen += 1
                if seen == 20:
                    break

    live(main, venue)


class _TlsFront:
    """Puts TLS in front of a server; forwards bytes both ways."""

    def __init__(self, port, kind="good"):
        self._away = port
        self._kind = kind
        self._tasks, self._writers = set(), []

    async def __aenter__(self):
        self._listening = Port(
            await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context(self._kind))
        )
        self.port = self._listening.number
        return self

    async def __aexit__(self, *_):
        await self._listening.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        away_reader, away = await asyncio.open_connection("127.0.0.1", self._away)
        self._writers += [writer, away]
        await asyncio.gather(_pump(reader, away), _pump(away_reader, writer))


async def _pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.transport.abort()


@both
def test_tls_with_a_private_authority_for_socket_and_rest(venue):
    async def main(server, truth):
        events = []
        async with _TlsFront(server.port) as front:
            url = f"wss://127.0.0.1:{front.port}"
            async with follow(server, endpoints=(url,), ca_file=authority()[1]) as feed:
                await read_until(feed, events, lambda e: channels_after(e, 0) == set(CHANNELS))
                (line,) = feed.stats().lines
                assert line.dial_ms["tls"] > 0
        assert [e for e in events if isinstance(e, BookSnapshot)]  # REST went the same way

    live(main, venue)


@both
def test_tls_by_an_authority_that_nobody_named_is_refused_with_its_stage(venue):
    async def main(server, truth):
        async with _TlsFront(server.port, "untrusted") as front:
            url = f"wss://127.0.0.1:{front.port}"
            async with follow(server, endpoints=(url,), ca_file=authority()[1]) as feed:
                while not feed.stats().ended:
                    await asyncio.sleep(0.01)
                assert "tls failed" in feed.stats().ended[0].cause
                assert feed.take() is None
        assert not truth.of("session")

    live(main, venue)


@both
def test_the_environment_names_an_endpoint(venue, monkeypatch):
    async def main(server, truth):
        monkeypatch.setenv("GAPLESS_ENDPOINT_" + venue.upper().replace(".", "_"), server.ws_url)
        async with gapless.open(venue, gapless.book(SYMBOLS[venue])) as feed:
            events = []
            await read_until(feed, events, lambda e: len(e) > 20)
        assert isinstance(events[0], BookSnapshot)
        assert isinstance(events[1], BookDelta)
        opened = truth.of("session", what="opened")
        assert [r["cause"] for r in opened] == [load(venue).endpoints.value.path]

    live(main, venue)


@both
def test_an_exception_in_the_loop_comes_out_unchanged_and_closes_cleanly(venue):
    error = LookupError("mine")

    async def main(server, truth):
        async def consume():
            async with follow(server) as feed:
                async for event in feed:
                    if isinstance(event, Trade):
                        raise error

        with pytest.raises(LookupError) as caught:
            await consume()
        assert caught.value is error
        assert [r["cause"] for r in truth.of("session", what="closed")] == ["client close 1000"]

    live(main, venue)


@both
def test_two_lines_lose_nothing_when_one_is_reset(venue):
    async def main(server, truth):
        events = []
        async with follow(server, lines=2, allow_same=True) as feed:
            await read_until(feed, events, lambda e: lives(feed) == 2 and len(e) > 100)
            for session in (1, 2):
                count, start = lives(feed), len(events)
                assert inject(server, "reset", session=session).happened == 1
                await read_until(
                    feed,
                    events,
                    lambda e, n=count, s=start: lives(feed) > n and len(e) > s + 100,
                )
            assert_kept(server, truth, feed, events)
        assert not [e for e in events if isinstance(e, Gap | Resynced)]

    live(main, venue)


def test_an_endpoint_where_nobody_listens_is_retried_and_named():
    async def main(server, truth):
        async with follow(server, endpoints=("ws://127.0.0.1:1",)) as feed:
            while feed.stats().dials < 3:
                await asyncio.sleep(0.01)
            assert all("127.0.0.1:1" in end.cause for end in feed.stats().ended)
            assert all("tcp failed" in end.cause for end in feed.stats().ended)

    live(main, "deribit")
