"""Asking for missing trades over REST: one request at a time for each topic, paid, never hurried.

Books come first: while half of a request budget is in use, backfills wait.  They go on while a
session is replaced, and end with the feed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from gapless.core.backfill import PATIENCE_NS, BackfilledStream, Hole
from gapless.core.budget import Budget
from gapless.core.stream import Moment
from gapless.errors import DecodeError, DialFailed, RateLimited, RequestRejected
from gapless.io.clock import Clock
from gapless.io.snapshots import RestClient, pause_ns, refused
from gapless.venues._profile import Rest, RestGet

__all__ = ["Backfills"]

CONCURRENT: Final = 2  # requests under way at once, of all topics
SHARE: Final = 0.5  # of a request budget; beyond it, backfills wait
SHARED_NS: Final = 250_000_000  # how long, before they look again

Report = Callable[[BackfilledStream, Hole], None]


class Backfills:
    """Fills the holes of streams that ask.

    Args:
        rest: The venue's REST dialect, or `None` if it has none.
        client: What carries requests out.
        bases: Endpoints, best first; one that fails is followed by the next.
        pools: The venue's request budgets.
        clock: The time.
        rng: Source of jitter.
        report: Told of every hole that could not be filled, and why.

    Attributes:
        requests: How many were sent.
    """

    def __init__(
        self,
        rest: Rest | None,
        client: RestClient,
        bases: Sequence[str],
        pools: Mapping[str, Budget],
        clock: Clock,
        rng: Random,
        report: Report,
    ) -> None:
        self.requests = 0
        self._rest = rest
        self._client = client
        self._bases = bases
        self._pools = pools
        self._clock = clock
        self._rng = rng
        self._report = report
        self._base = 0
        self._room = asyncio.Semaphore(CONCURRENT)
        self._busy: set[BackfilledStream] = set()

    def want(self, stream: BackfilledStream) -> bool:
        """Note that a stream asks; return whether `fill` must be started for it."""
        if stream in self._busy:
            return False
        self._busy.add(stream)
        return True

    async def fill(self, stream: BackfilledStream) -> None:
        """Ask for one hole after another, until none is left that is worth it."""
        try:
            self._tell(stream)
            while (hole := stream.hole) is not None:
                await self._fill(stream, hole)
                self._tell(stream)
        finally:
            self._busy.discard(stream)

    async def _fill(self, stream: BackfilledStream, hole: Hole) -> None:
        failures = 0
        while hole is stream.hole:
            await asyncio.sleep(pause_ns(failures, self._rng) / 1e9)
            if hole is stream.hole:
                failures = 0 if await self._once(stream, hole) else failures + 1
                stream.review(hole, self._now())

    async def _once(self, stream: BackfilledStream, hole: Hole) -> bool:
        """Ask once; return whether it brought anything."""
        rest, spec = self._rest, stream.spec
        request = None
        if rest is not None and self._bases:
            request = rest.trades(spec.topic, spec.symbol, *hole.wanted)
        if rest is None or request is None:
            stream.give_up(hole, "past trades cannot be asked for by number here", self._now())
            return False
        async with self._room:
            if not await self._afford(request, hole):
                stream.give_up(hole, "the request budget has no room for them", self._now())
                return False
            if hole is not stream.hole:
                self._pools[request.pool].abandoned(self._clock.mono_ns())
                return False
            hole.requests += 1
            self.requests += 1
            base = self._bases[self._base % len(self._bases)]
            try:
                body = await self._client.get(base, request, rest)
                now = self._now()
                trades = rest.read_trades(body, hole.origin, now.recv_ns, now.mono_ns)
            except RequestRejected as error:
                self._pools[request.pool].accepted(self._clock.mono_ns())
                stream.give_up(hole, str(error), self._now())
                return False
            except RateLimited as error:
                hole.trouble = str(error)
                refused(self._pools[request.pool], error, self._clock.mono_ns(), self._rng)
                return False
            except (DialFailed, DecodeError) as error:
                self._pools[request.pool].abandoned(self._clock.mono_ns())
                hole.trouble = str(error)
                self._base += 1
                return False
        self._pools[request.pool].accepted(self._clock.mono_ns())
        lacking = hole.lacking
        stream.refill(hole, trades, now)
        return hole.lacking < lacking

    async def _afford(self, request: RestGet, hole: Hole) -> bool:
        """Pay as soon as there is room; return `False` if there will be none in time."""
        pool = self._pools[request.pool]
        while wait_ns := self._pay_ns(pool, request.units):
            if self._clock.mono_ns() + wait_ns > hole.since_ns + PATIENCE_NS:
                return False
            await asyncio.sleep(wait_ns / 1e9)  # time is what is waited for
        return True

    def _pay_ns(self, pool: Budget, units: int) -> int:
        now_ns = self._clock.mono_ns()
        if pool.used_ratio(now_ns) > SHARE:
            return max(SHARED_NS, pool.wait_ns(now_ns, units))
        return pool.take(now_ns, units)

    def _tell(self, stream: BackfilledStream) -> None:
        while stream.closed:
            self._report(stream, stream.closed.popleft())

    def _now(self) -> Moment:
        return Moment(self._clock.mono_ns(), self._clock.wall_ns())
