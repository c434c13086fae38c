"""CPU for each unique message with two lines, beside one line: what redundancy costs.

    python -m benchmarks.lines [--messages N] [--rounds N]

Both read the same frames from the same server in the same run, in turn; with two lines every frame
is read, decoded and compared twice, and delivered once.  Figures are medians of CPU time (user and
system, getrusage) of this process for each message that the consumer got; the ratio to quote is
what the second line adds, divided by what one line costs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile

import uvloop

import gapless
from benchmarks.measuring import note
from benchmarks.pipeline import cpu_us, record

BAR = 1.5
"""What the second line may add, as a multiple of what one costs."""


async def run(port: int, messages: int, venue: str, symbol: str, lines: int) -> float:
    """Return CPU microseconds for each message delivered over that many lines."""
    variant = "raw" if venue == "deribit" else "100ms"
    options = gapless.Options(
        endpoints=[f"ws://127.0.0.1:{port}"],
        rest_endpoint=f"http://127.0.0.1:{port}",
        capacity=messages * 2 + 10,
        lines=lines,
        allow_same=True,
    )
    start_us, seen = 0.0, 0
    async with gapless.open(venue, gapless.book(symbol, variant=variant), options=options) as feed:
        async for event in feed:
            seen += 1
            if seen == 1:
                start_us = cpu_us()
            if event.__class__ is gapless.Gap:
                raise RuntimeError(f"a gap in a whole stream: {event}")
            if seen >= messages - 8:
                break
        while feed.stats().received < lines * (messages - 8):
            await asyncio.sleep(0.002)  # the other line is a block behind at most
        spent_us = cpu_us() - start_us
        stats = feed.stats()
    if stats.gaps or (lines > 1 and stats.duplicates < messages // 2):
        raise RuntimeError(f"{stats.gaps} gaps, {stats.duplicates} duplicates")
    return spent_us / seen


class Server:
    """A process that sends prepared frames; see `benchmarks.blast`."""

    def __init__(self, prepared: dict[str, object]) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(prepared, file)
        self._name = file.name
        command = [sys.executable, "-m", "benchmarks.blast", file.name]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        os.unlink(self._name)


def measure(venue: str, symbol: str, messages: int, rounds: int) -> float:
    """Print and return what the second line adds, as a multiple of what one line costs."""
    prepared = record(venue, symbol, messages, 2000 if venue == "deribit" else 200)
    count = len(prepared["frames"])
    costs: dict[int, list[float]] = {1: [], 2: []}
    servers = {lines: Server({**prepared, "lines": lines}) for lines in costs}
    try:
        for _ in range(rounds):
            for lines, server in servers.items():
                gc.collect()
                costs[lines].append(uvloop.run(run(server.port, count, venue, symbol, lines)))
    finally:
        for server in servers.values():
            server.close()
    # Neighbours in time share the machine's mood: the ratio is taken round by round.
    extras = sorted((costs[2][i] - costs[1][i]) / costs[1][i] for i in range(rounds))
    one, two = (statistics.median(costs[lines]) for lines in costs)
    extra = statistics.median(extras)
    print(
        f"{venue:<14} {count:>7} messages   one line {one:5.2f} us   two lines {two:5.2f} us   "
        f"the second adds {extra:4.2f} of one   (rounds {extras[0]:.2f} to {extras[-1]:.2f})"
    )
    note("lines.extra", extra, f"benchmarks.lines {venue}")
    return extra


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    extras = [
        measure("deribit", "BTC-PERPETUAL", arguments.messages, arguments.rounds),
        measure("binance.spot", "BTCUSDT", arguments.messages // 5, arguments.rounds),
    ]
    if max(extras) > BAR:
        sys.exit(f"the second line adds more than {BAR} of one")


if __name__ == "__main__":
    main()
