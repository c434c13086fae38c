"""CPU for each message: receive, sequence, book, consumer, beside a bare picows listener.

    python -m benchmarks.pipeline [--messages N] [--rounds N]

Both read the same frames from the same server in the same run, in turn.  Figures are medians
of CPU time (user and system, getrusage) of this process; the ratio is what to quote.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Awaitable, Callable

import uvloop
from picows import WSListener, ws_connect

import gapless
from gapless.core.book import Book
from gapless.core.booksync import BookStream
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom, TopicSpec
from gapless.sim.build import simulate
from gapless.sim.dialects._base import SimOptions

SECOND_NS = 1_000_000_000


def cpu_us() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1e6


class Recorder:
    """A wire that keeps what the simulated venue sends."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pinged = b""

    def ping(self, payload: bytes) -> None:
        self.pinged = payload

    def send_text(self, text: str) -> None:
        self.texts.append(text)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def record(venue: str, symbol: str, messages: int, rate_per_s: float) -> dict[str, object]:
    """Return that many book messages of a simulated market, and the snapshot before them."""
    options = SimOptions(limits=False, allow_raw=True)
    exchange = simulate(venue, [symbol], rate_per_s=rate_per_s, seed=5, options=options)
    wire, now_ns = Recorder(), 1_700_000_000 * SECOND_NS
    exchange.advance(now_ns)
    snapshot = "{}"
    if venue == "deribit":
        session = exchange.connect(wire, "/ws/api/v2", "127.0.0.1", now_ns)
        params = {"channels": [f"book.{symbol}.raw"]}
        call = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params}
    else:
        session = exchange.connect(wire, "/stream", "127.0.0.1", now_ns)
        call = {"method": "SUBSCRIBE", "params": [f"{symbol.lower()}@depth@100ms"], "id": 1}
    session.on_text(json.dumps(call), now_ns)
    if venue != "deribit":
        now_ns += SECOND_NS // 10 + 1  # the snapshot is newer than the first update, as in life
        exchange.advance(now_ns)
        query = {"symbol": symbol, "limit": "1000"}
        snapshot = exchange.rest("GET", "/api/v3/depth", query, "127.0.0.1", now_ns).body_text
    while len(wire.texts) < messages + 2:
        now_ns += SECOND_NS // 10
        exchange.advance(now_ns)
        session.on_pong(wire.pinged, now_ns)  # or the venue hangs up on us
    frames = [text for text in wire.texts if "bids" in text or "depthUpdate" in text]
    return {"frames": frames[: messages + 1], "snapshot": snapshot}


async def run_bare(port: int, messages: int) -> float:
    """Return CPU microseconds a message of a listener that does nothing but count."""
    done = asyncio.get_running_loop().create_future()

    class Listener(WSListener):
        seen = 0

        def on_ws_frame(self, transport: object, frame: object) -> None:
            self.seen += 1
            if self.seen == messages:
                done.set_result(None)

    start_us = cpu_us()
    transport, _ = await ws_connect(Listener, f"ws://127.0.0.1:{port}/bare")
    await done
    spent_us = cpu_us() - start_us
    transport.disconnect(False)
    return spent_us / messages


async def run_gapless(port: int, messages: int, venue: str, symbol: str) -> float:
    """Return CPU microseconds a message of the public API with a proven book behind it."""
    variant = "raw" if venue == "deribit" else "100ms"
    options = gapless.Options(
        endpoints=[f"ws://127.0.0.1:{port}"],
        rest_endpoint=f"http://127.0.0.1:{port}",
        capacity=messages + 10,
    )
    start_us = 0.0
    seen = 0
    async with gapless.open(venue, gapless.book(symbol, variant=variant), options=options) as feed:
        async for event in feed:
            seen += 1
            if seen == 1:
                start_us = cpu_us()  # the book is proven; what follows is the pipeline alone
            if event.__class__ is gapless.Gap:
                raise RuntimeError(f"a gap in a whole stream: {event}")
            if seen >= messages - 8:  # a snapshot may supersede the first few
                break
        spent_us = cpu_us() - start_us
        stats = feed.stats()
    if stats.gaps:
        raise RuntimeError("gaps in a whole stream")
    return spent_us / seen


def measure(venue: str, symbol: str, messages: int, rounds: int) -> tuple[float, float]:
    """Return the median cost of the bare listener and of gapless, in microseconds a message."""
    # Rates that make messages of the size that the venues' own have.
    prepared = record(venue, symbol, messages, 2000 if venue == "deribit" else 200)
    frames = prepared["frames"]
    count = len(frames)
    size = sum(map(len, frames)) / count
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(prepared, file)
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.blast", file.name], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(server.stdout.readline())
        bare, ours = [], []
        run: Callable[[Awaitable[float]], float] = uvloop.run
        for _ in range(rounds):
            gc.collect()
            bare.append(run(run_bare(port, count)))
            gc.collect()
            ours.append(run(run_gapless(port, count, venue, symbol)))
    finally:
        server.kill()
        server.wait()
        os.unlink(file.name)
    low, high = statistics.median(bare), statistics.median(ours)
    # Neighbours in time share the machine's mood: the ratio is taken round by round.
    ratios = sorted(ours[i] / bare[i] for i in range(rounds))
    print(
        f"{venue:<14} {count:>7} messages of {size:4.0f} B   bare picows {low:5.2f} us   "
        f"gapless {high:5.2f} us   ratio {statistics.median(ratios):5.1f}   "
        f"(rounds {ratios[0]:.1f} to {ratios[-1]:.1f})"
    )
    return low, high


def memory() -> None:
    """Print what a book of 400 levels and a subscription cost in memory."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    books = []
    for _ in range(100):
        book = Book()
        # Prices and sizes as fresh objects, as a decoder makes them.
        levels = [(100.0 + i / 8, 1.0 + i) for i in range(400)]
        book.replace(levels[:200], levels[200:])
        books.append(book)
    each = (tracemalloc.get_traced_memory()[0] - before) / len(books)
    before = tracemalloc.get_traced_memory()[0]
    streams = [
        BookStream(
            TopicSpec("venue", "book", f"S{i}", f"book.S{i}", Numbering.CHAIN, SnapshotFrom.STREAM),
            print,
            print,
        )
        for i in range(1000)
    ]
    subscription = (tracemalloc.get_traced_memory()[0] - before) / len(streams)
    tracemalloc.stop()
    print(
        f"memory: a book of 400 levels {each / 1024:.1f} KiB, "
        f"a subscription without data {subscription / 1024:.1f} KiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    measure("deribit", "BTC-PERPETUAL", arguments.messages, arguments.rounds)
    measure("binance.spot", "BTCUSDT", arguments.messages // 5, arguments.rounds)
    memory()


if __name__ == "__main__":
    main()
