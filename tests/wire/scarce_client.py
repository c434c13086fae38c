"""A client that has little: run by `test_scarcity`, which reads what it says as lines of JSON.

python -m tests.wire.scarce_client descriptors|memory URL
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
from pathlib import Path

import gapless

HEADROOM_BYTES = 48 << 20
DESCRIPTORS = 40


def say(kind, **fields):
    sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
    sys.stdout.flush()


async def until(done, within_s=40):
    async with asyncio.timeout(within_s):
        while not done():
            await asyncio.sleep(0.01)


def options(url, **changed):
    return gapless.Options(endpoints=[url], seed=1, dial_timeout=2.0, **changed)


async def take_all(taken):
    """Take every descriptor, and those that become free: that of a session that is lost, too."""
    while True:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        await asyncio.sleep(0.001)


async def descriptors(url):
    """Take every descriptor, wait until a session is lost and dials fail, and give them back."""
    seen, taken = [], []

    async def follow(feed):
        async for event in feed:
            seen.append(event.mono_ns)  # noqa: PERF401  # somebody looks at it meanwhile

    def ends(feed):
        return [notice.cause for notice in feed.notices() if notice.kind == "ended"]

    wanted = gapless.trades("BTC-PERPETUAL")
    async with gapless.open("deribit", wanted, options=options(url)) as feed:
        following = asyncio.create_task(follow(feed))
        await until(lambda: seen)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
        greedy = asyncio.create_task(take_all(taken))
        await asyncio.sleep(0.01)
        say("full", taken=len(taken))
        await until(lambda: len(ends(feed)) >= 4)
        greedy.cancel()
        failed, before = ends(feed)[1:], len(seen)
        for descriptor in taken:
            os.close(descriptor)
        await until(lambda: len(seen) > before)
        following.cancel()
        await asyncio.wait((following, greedy))
    say("back", failed=failed)


def pages(column):
    return int(Path("/proc/self/statm").read_text().split()[column]) * resource.getpagesize()


async def memory(url):
    """Read nothing of what comes, under a cap a little above what is in use."""
    wanted = (gapless.book("BTC-PERPETUAL", variant="raw"), gapless.trades("BTC-PERPETUAL"))
    few = options(url, capacity=1000)
    async with gapless.open("deribit", *wanted, options=few) as feed:
        await until(lambda: feed.stats().received > 2000)
        size = pages(0) + HEADROOM_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        before, count = pages(1), feed.stats().received
        await until(lambda: feed.stats().received > count + 6000)
        grown, stats = pages(1) - before, feed.stats()
    try:
        bytearray(2 * HEADROOM_BYTES)
    except MemoryError:
        say("done", grown=grown, overflowed=stats.overflowed, dials=stats.dials)


if __name__ == "__main__":
    asyncio.run({"descriptors": descriptors, "memory": memory}[sys.argv[1]](sys.argv[2]))
