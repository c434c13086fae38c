"""Fetching book snapshots over REST: one at a time for each book, paid, and never hurried.

While REST fails, fetches grow rarer up to one in half a minute for each book; whatever needs no
snapshot is not delayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Protocol

from gapless.core.booksync import BookStream
from gapless.core.budget import Budget
from gapless.core.stream import Moment
from gapless.errors import (
    DecodeError,
    DialFailed,
    ProtocolViolation,
    RateLimited,
    RequestRejected,
    SubscriptionRejected,
)
from gapless.events import BookSnapshot
from gapless.io.clock import Clock
from gapless.venues._profile import Rest, RestGet

__all__ = ["RestClient", "Snapshots", "pause_ns", "refused"]

CONCURRENT = 4  # fetches under way at once
FIRST_WAIT_NS = 500_000_000
MAX_WAIT_NS = 30_000_000_000

Report = Callable[[BookStream, Exception], None]


class RestClient(Protocol):
    """Something that carries out REST reads."""

    async def get(self, base: str, request: RestGet, rest: Rest) -> bytes:
        """Return the body of a successful reply.

        Args:
            base: Scheme and host of the endpoint.
            request: What to read.
            rest: The venue's dialect, to read error bodies.

        Raises:
            gapless.errors.RateLimited: 429, 418 or 403.
            gapless.errors.RequestRejected: The venue said no, and will say so again.
            gapless.errors.DialFailed: Anything else, with stage ``rest``.
        """

    async def close(self) -> None:
        """Release the connections."""


class Snapshots:
    """Fetches snapshots for the books that ask.

    Args:
        rest: The venue's REST dialect.
        client: What carries requests out.
        bases: Endpoints, best first; one that fails is followed by the next.
        pools: The venue's request budgets.
        clock: The time.
        rng: Source of jitter.
        report: Told of every failure; a `SubscriptionRejected` is final for that book.
    """

    def __init__(
        self,
        rest: Rest,
        client: RestClient,
        bases: Sequence[str],
        pools: Mapping[str, Budget],
        clock: Clock,
        rng: Random,
        report: Report,
    ) -> None:
        self._rest = rest
        self._client = client
        self._bases = bases
        self._pools = pools
        self._clock = clock
        self._rng = rng
        self._report = report
        self._base = 0
        self._room = asyncio.Semaphore(CONCURRENT)
        # Asked again while a fetch is under way?  By stream: a topic may be retired meanwhile
        # and listed again.
        self._wanted: dict[BookStream, bool] = {}
        self.fetches = 0
        self._failures: dict[str, int] = {}

    def want(self, stream: BookStream) -> bool:
        """Note that a book asks; return whether `fetch` must be started for it."""
        if stream in self._wanted:
            self._wanted[stream] = True
            return False
        self._wanted[stream] = False
        return True

    async def fetch(self, stream: BookStream) -> None:
        """Fetch until the book is proven, refused, or has no connection left."""
        topic = stream.spec.topic
        try:
            while stream.sources and not stream.readable:
                self._wanted[stream] = False
                await self._pause(topic)
                if await self._once(stream) and not self._wanted[stream]:
                    return
            self._failures.pop(topic, None)
        finally:
            del self._wanted[stream]

    async def _once(self, stream: BookStream) -> bool:
        """Fetch once; return whether no more is to be done."""
        topic, request = stream.spec.topic, self._rest.snapshot(stream.spec.symbol)
        if request is None:  # what is declared and what is served contradict each other
            self._report(stream, SubscriptionRejected(topic, None, "there is no snapshot of it"))
            return True
        async with self._room:
            await self._afford(request)
            if not stream.sources or stream.readable:
                self._pools[request.pool].abandoned(self._clock.mono_ns())
                return True
            asked_ns = self._clock.mono_ns()
            base = self._bases[self._base % len(self._bases)]
            self.fetches += 1
            try:
                body = await self._client.get(base, request, self._rest)
                event = self._read(stream, body)
            except RequestRejected as error:
                self._pools[request.pool].accepted(self._clock.mono_ns())
                self._report(stream, SubscriptionRejected(topic, error.code, error.detail))
                return True
            except RateLimited as error:
                self._failed(stream, error)
                refused(self._pools[request.pool], error, self._clock.mono_ns(), self._rng)
                return False
            except (DialFailed, DecodeError) as error:
                self._pools[request.pool].abandoned(self._clock.mono_ns())
                self._base += 1
                self._failed(stream, error)
                return False
        self._pools[request.pool].accepted(self._clock.mono_ns())
        if event is not None:
            stream.snapshot(event, asked_ns, Moment(event.mono_ns, event.recv_ns))
        if stream.readable:
            self._failures.pop(topic, None)
        elif self._wanted[stream]:
            self._failed(stream, ProtocolViolation("the snapshot is older than the updates"))
        return True

    def _read(self, stream: BookStream, body: bytes) -> BookSnapshot | None:
        if not stream.sources:
            return None
        origin = stream.sources[max(stream.sources)].origin
        return self._rest.read_snapshot(body, origin, self._clock.wall_ns(), self._clock.mono_ns())

    def _failed(self, stream: BookStream, error: Exception) -> None:
        topic = stream.spec.topic
        self._failures[topic] = self._failures.get(topic, 0) + 1
        self._report(stream, error)

    async def _pause(self, topic: str) -> None:
        if wait_ns := pause_ns(self._failures.get(topic, 0), self._rng):
            await asyncio.sleep(wait_ns / 1e9)

    async def _afford(self, request: RestGet) -> None:
        pool = self._pools[request.pool]
        while wait_ns := pool.take(self._clock.mono_ns(), request.units):
            await asyncio.sleep(wait_ns / 1e9)  # time is what is waited for


def refused(pool: Budget, error: RateLimited, now_ns: int, rng: Random) -> None:
    """Keep everybody from a pool that the venue has closed."""
    pool.refused(
        now_ns,
        error.retry_after_ns,
        ban=error.status != 429,
        probe=pool.probing,  # the others had asked before they could know
        jitter=rng.random(),
    )


def pause_ns(failures: int, rng: Random) -> int:
    """Return how long to wait after so many failures in a row, in nanoseconds; 0 after none."""
    if not failures:
        return 0
    ceiling_ns = min(MAX_WAIT_NS, FIRST_WAIT_NS << min(failures - 1, 16))
    return rng.randint(ceiling_ns // 2, ceiling_ns)
