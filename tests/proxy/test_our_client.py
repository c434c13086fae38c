"""Our own client behind the proxy: faults of TCP in every place of a connection's first moments.

Each run waits for the proxy's fault to have struck, and then for data of a later moment.
"""

import asyncio
import os
import time

import pytest
from tests.proxy.wires import Server

import gapless
from gapless.proxy.faults import Fault
from gapless.proxy.plan import Plan
from gapless.proxy.server import FaultProxy
from gapless.sim.build import simulate
from gapless.sim.exchange import SimOptions
from gapless.sim.server import SimServer
from gapless.sim.truth import MemoryTruth
from gapless.testing import score

VENUE, SYMBOL = "binance.spot", "BTCUSDT"
# Every byte takes a minute and more; the long run does it.
STEP = int(os.environ.get("GAPLESS_SWEEP_STEP", "11"))
TOGETHER = 30  # clients at a time, or they would wait for each other and not for the fault


def served(test, *, truth=None, seconds=300.0):
    async def main():
        exchange = simulate(
            VENUE,
            [SYMBOL],
            rate_per_s=100,
            seed=1,
            options=SimOptions(limits=False),
            truth=truth,
        )
        async with asyncio.timeout(seconds), SimServer(exchange) as server:
            return await test(server)

    return asyncio.run(main())


async def recovered(server, fault, seed, *, dial_timeout=1.0):
    """Return how many connections it took until a trade came after the fault had struck."""
    async with FaultProxy(server.ws_url, Plan(faults=(fault,))) as proxy:
        options = gapless.Options(endpoints=[proxy.ws_url], dial_timeout=dial_timeout, seed=seed)
        trades = gapless.trades(SYMBOL)
        async with gapless.open(VENUE, trades, options=options) as feed:
            async for event in feed:
                if isinstance(event, gapless.Trade) and event.origin.epoch > 1:
                    assert proxy.records[0].struck == 1
                    return proxy.connections
    raise AssertionError("the feed ended")


async def sweep(server, places, **fields):
    """Return the connections needed for each count of bytes, many clients at a time."""
    found = {}
    turn = asyncio.Semaphore(TOGETHER)

    async def one(n_bytes):
        fault = Fault(name="stop_after", n_bytes=n_bytes, count=1, traffic="ws", **fields)
        async with turn:
            found[n_bytes] = await recovered(server, fault, n_bytes)

    async with asyncio.TaskGroup() as tasks:
        for n_bytes in places:
            tasks.create_task(one(n_bytes))
    return found


# The answer to the upgrade, the reply to the subscription and the first trades take 600 bytes of
# what comes in; the request for the upgrade takes 230 of what goes out.
@pytest.mark.parametrize(
    ("direction", "then", "until"),
    [
        ("in", "reset", 600),
        ("in", "close", 600),
        ("in", "silence", 600),
        ("out", "reset", 230),
        ("out", "silence", 230),
    ],
)
def test_a_connection_cut_after_any_number_of_bytes_recovers(direction, then, until):
    places = range(0, until, 2 * STEP if then == "silence" and STEP > 1 else STEP)

    async def test(server):
        return await sweep(server, places, direction=direction, then=then)

    found = served(test)
    assert sorted(found) == list(places)
    assert set(found.values()) <= {2, 3}, found


def test_single_bytes_lose_repeat_and_reorder_nothing():
    truth = MemoryTruth()

    async def test(server):
        fault = Fault(name="slicer", traffic="ws")
        async with FaultProxy(server.ws_url, Plan(faults=(fault,))) as proxy:
            options = gapless.Options(endpoints=[proxy.ws_url], seed=1)
            events = []
            subscriptions = (gapless.trades(SYMBOL), gapless.book(SYMBOL))
            async with gapless.open(VENUE, *subscriptions, options=options) as feed:
                async for event in feed:
                    events.append(event)
                    if len(events) == 100:
                        break
                numbering = {topic: spec.numbering for topic, spec in feed._plan.specs.items()}
            server.exchange.close(time.time_ns())
            assert proxy.records[0].struck == 1
            assert proxy.connections == 1
        return events, score(truth.records, events, numbering)

    events, card = served(test, truth=truth)
    assert card.kept, card.as_dict()
    assert not [event for event in events if isinstance(event, gapless.Gap)]


def test_a_handshake_that_is_never_answered_ends_at_the_deadline():
    async def test(server):
        began = time.monotonic()
        fault = Fault(name="stalled_handshake", count=1)
        assert await recovered(server, fault, 1, dial_timeout=0.5) == 2
        took_s = time.monotonic() - began
        assert 0.5 <= took_s < 5

    served(test)


def test_tls_that_is_never_answered_ends_at_the_deadline():
    async def main():
        fault = Fault(name="stalled_handshake")
        async with (
            asyncio.timeout(20),
            Server() as server,
            FaultProxy(server.url, Plan(faults=(fault,))) as proxy,
        ):
            endpoint = proxy.ws_url.replace("ws://", "wss://")
            options = gapless.Options(endpoints=[endpoint], dial_timeout=0.3, seed=1)
            async with gapless.open(VENUE, gapless.trades(SYMBOL), options=options) as feed:
                while not (ends := [n for n in feed.notices() if n.kind == "ended"]):
                    await asyncio.sleep(0.01)
            assert "tls" in ends[0].cause + ends[0].evidence, ends[0]
            assert proxy.records[0].struck >= 1
            assert not server.wires

    asyncio.run(main())
