"""The loop for comparison must be an honest one: it follows, reconnects, and checks nothing."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from gapless.chaos import naive as module
from gapless.chaos.naive import NaiveClient
from gapless.cli.tour import parts
from gapless.events import BookSnapshot, Gap, Resynced, Trade
from gapless.planning import Options, Subscription, assemble
from gapless.sim.build import simulate
from gapless.sim.faults import Fault
from gapless.sim.server import SimServer

FIRST, SECOND = parts()


@asynccontextmanager
async def followed(part, monkeypatch):
    """Yield a naive client at work, its exchange, and a way to wait for events."""
    monkeypatch.setattr(module, "WAIT_S", 0.05)
    arrived = asyncio.Event()

    class Heard(list):
        def extend(self, events):
            super().extend(events)
            arrived.set()

        def append(self, event):
            super().append(event)
            arrived.set()

    exchange = simulate(part.venue, rate_per_s=400.0, seed=5)
    async with SimServer(exchange) as server:
        options = Options(endpoints=(server.ws_url,), rest_endpoint=server.http_url)
        wanted = [Subscription(channel, (part.symbol,)) for channel in ("trades", "book")]
        plan = assemble(part.venue, wanted, options)
        client = NaiveClient(
            plan.profile, list(plan.specs.values()), server.ws_url, server.http_url
        )
        client.events = Heard()

        async def until(found):
            async with asyncio.timeout(20):
                while not found():
                    arrived.clear()
                    await arrived.wait()

        task = asyncio.create_task(client.run())
        try:
            yield client, exchange, until
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def trades(client):
    return [event.last for event in client.events if isinstance(event, Trade)]


def snapshots(client):
    return [event for event in client.events if isinstance(event, BookSnapshot)]


@pytest.mark.parametrize("part", [FIRST, SECOND], ids=lambda part: part.venue)
def test_it_follows_trades_and_a_book_that_begins_with_a_snapshot(part, monkeypatch):
    async def scenario():
        async with followed(part, monkeypatch) as (client, _, until):
            await until(lambda: len(trades(client)) > 3 and snapshots(client))
            assert client.dials == 1
            assert {event.symbol for event in client.events} == {part.symbol}
            assert len(snapshots(client)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("part", [FIRST, SECOND], ids=lambda part: part.venue)
def test_it_reconnects_and_loads_its_book_anew(part, monkeypatch):
    async def scenario():
        async with followed(part, monkeypatch) as (client, exchange, until):
            await until(lambda: trades(client) and snapshots(client))
            exchange.inject(Fault(name="reset"), time.time_ns())
            await until(lambda: client.dials > 1 and len(snapshots(client)) > 1)
            before = len(trades(client))
            await until(lambda: len(trades(client)) > before)

    asyncio.run(scenario())


def test_what_it_loses_it_loses_without_a_word(monkeypatch):
    async def scenario():
        async with followed(SECOND, monkeypatch) as (client, exchange, until):
            await until(lambda: trades(client))
            fault = Fault(name="drop", topic=SECOND.trades, count=3)
            record = exchange.inject(fault, time.time_ns())
            await until(lambda: record.over)
            after = len(trades(client))
            await until(lambda: len(trades(client)) > after)
            numbers = trades(client)
            assert len(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) == 3
            assert not any(isinstance(event, Gap | Resynced) for event in client.events)

    asyncio.run(scenario())


def test_it_survives_a_venue_that_is_gone(monkeypatch):
    async def scenario():
        async with followed(SECOND, monkeypatch) as (client, exchange, until):
            await until(lambda: trades(client))
            exchange.inject(Fault(name="outage", for_s=0.5), time.time_ns())
            heard = len(client.events)
            await until(lambda: len(client.events) > heard)
            before = len(trades(client))
            await until(lambda: len(trades(client)) > before)
            assert client.dials > 1

    asyncio.run(scenario())
