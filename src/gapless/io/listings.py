"""Follows selectors: reads what the venue lists, and hands on what follows from it.

The listing is read when the feed begins, when the venue says that something is new, when a
session that carries the venue's news is replaced, and otherwise every `POLL_NS`.  Every read is
paid from the venue's budgets.  A listing that cannot be read changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from gapless.core.budget import Budget
from gapless.core.codec import Lifecycle
from gapless.core.universe import Changes, Instrument, InstrumentState, Selector, Universe
from gapless.errors import DecodeError, DialFailed, RateLimited, RequestRejected
from gapless.io.clock import Clock
from gapless.io.snapshots import RestClient, refused
from gapless.venues._profile import MoreInstruments, Rest, RestGet

__all__ = ["Listings", "Selection"]

POLL_NS: Final = 30_000_000_000
"""How often the listing is read when nothing happens."""

ASK_NS: Final = 1_000_000_000
"""Least time between two listings that the venue's news ask for."""

GATHER_NS: Final = 100_000_000
"""How long news wait for others that come with them."""

TICK_NS: Final = 1_000_000_000
FIRST_WAIT_NS: Final = 1_000_000_000
MAX_WAIT_NS: Final = 60_000_000_000
LISTED_MAX: Final = 200_000
"""Instruments of one listing at most; a longer one is not believed."""

REQUESTS_MAX: Final = 64
"""Requests for one listing at most; a venue that names more is not believed."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A channel of whatever a selector picks.

    Args:
        channel: With or without a variant.
        selector: What is picked.
        priority: What has a higher one is subscribed and rebuilt before the rest.
    """

    channel: str
    selector: Selector
    priority: int = 0


class Follower(Protocol):
    """Who acts on changes."""

    def changed(self, selection: Selection, changes: Changes) -> None: ...

    def listing_failed(self, error: Exception) -> None: ...


class Listings:
    """Keeps the universes of a feed's selections up to date.

    Args:
        selections: What is followed.
        rest: The venue's REST dialect.
        client: What carries requests out.
        bases: Endpoints, best first; one that fails is followed by the next.
        pools: The venue's request budgets.
        clock: The time.
        rng: Source of jitter.
        follower: Who acts on changes.
        more: Reads what else must be asked for, where one round of requests is not enough.

    Attributes:
        reads: Listings that were read whole.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        rest: Rest,
        client: RestClient,
        bases: Sequence[str],
        pools: Mapping[str, Budget],
        clock: Clock,
        rng: Random,
        follower: Follower,
        more: MoreInstruments | None = None,
    ) -> None:
        self._universes = {each: Universe(each.selector) for each in selections}
        self._rest = rest
        self._client = client
        self._bases = bases
        self._pools = pools
        self._clock = clock
        self._rng = rng
        self._follower = follower
        self._more = more
        self._base = 0
        self._failures = 0
        self._asked = False
        self._news: list[tuple[str, InstrumentState]] = []
        self._meanwhile: list[tuple[str, InstrumentState]] = []  # came while a listing was read
        self._stir = asyncio.Event()
        self.reads = 0

    async def run(self) -> None:
        """Run until cancelled."""
        next_ns = read_ns = 0
        while True:
            now_ns = self._clock.mono_ns()
            if self._asked and not self._failures:  # one reading serves a crowd of news
                next_ns = min(next_ns, read_ns + ASK_NS)
            if now_ns >= next_ns:
                self._asked = False
                listed = await self._read_all()
                read_ns = self._clock.mono_ns()
                if listed is None:
                    next_ns = read_ns + self._backoff_ns()
                else:
                    next_ns = read_ns + POLL_NS
                    self._compare(listed)
            self._tick()
            await self._sleep_until(min(next_ns, self._clock.mono_ns() + TICK_NS))

    def ask(self) -> None:
        """Have the listing read again soon."""
        self._asked = True
        self._stir.set()

    def told(self, news: Lifecycle) -> None:
        """Take the venue's news of one instrument; acted upon with all that come with it."""
        self._news.append((news.symbol, news.state))
        self._stir.set()

    def _compare(self, listed: list[Instrument]) -> None:
        self.reads += 1
        self._failures = 0
        now_ns = self._clock.wall_ns()
        for selection, universe in self._universes.items():
            self._hand_on(selection, universe.listing(listed, now_ns))
        # A part of the listing may be older than what was told meanwhile.
        self._news = self._meanwhile + self._news

    def _tick(self) -> None:
        now_ns = self._clock.wall_ns()
        news, self._news = self._news, []
        self._meanwhile += news
        for selection, universe in self._universes.items():
            if news:
                self._hand_on(selection, universe.told(news, now_ns))
            self._hand_on(selection, universe.tick(now_ns))

    def _hand_on(self, selection: Selection, changes: Changes) -> None:
        if changes.ask:
            self.ask()
        if changes.follow or changes.retire or changes.planned or changes.resumed:
            self._follower.changed(selection, changes)

    # -- reading ----------------------------------------------------------------------------

    async def _read_all(self) -> list[Instrument] | None:
        """Return everything that is listed, or `None` if a part of it could not be read."""
        self._meanwhile = []
        listed: list[Instrument] = []
        wanted = deque(self._rest.instruments())
        asked = 0
        while wanted:
            request = wanted.popleft()
            asked += 1
            part = await self._read(request)
            if part is None:
                return None
            listed += part[0]
            wanted += part[1]
            if len(listed) > LISTED_MAX or (wanted and asked >= REQUESTS_MAX):
                error = DecodeError(f"more than {LISTED_MAX} instruments or {REQUESTS_MAX} replies")
                self._follower.listing_failed(error)
                return None
        return listed

    async def _read(self, request: RestGet) -> tuple[list[Instrument], tuple[RestGet, ...]] | None:
        pool = self._pools[request.pool]
        while wait_ns := pool.take(self._clock.mono_ns(), request.units):
            await asyncio.sleep(min(wait_ns, TICK_NS) / 1e9)  # time is what is waited for
            self._tick()
        base = self._bases[self._base % len(self._bases)]
        try:
            body = await self._client.get(base, request, self._rest)
            pool.accepted(self._clock.mono_ns())
            more = () if self._more is None else self._more(request, body)
            return self._rest.read_instruments(body), more
        except RateLimited as error:
            refused(pool, error, self._clock.mono_ns(), self._rng)
            self._follower.listing_failed(error)
        except (DialFailed, DecodeError, RequestRejected) as error:
            pool.abandoned(self._clock.mono_ns())
            self._base += 1
            self._follower.listing_failed(error)
        return None

    def _backoff_ns(self) -> int:
        self._failures += 1
        ceiling_ns = min(MAX_WAIT_NS, FIRST_WAIT_NS << min(self._failures - 1, 16))
        return self._rng.randint(ceiling_ns // 2, ceiling_ns)

    async def _sleep_until(self, until_ns: int) -> None:
        """Sleep, but for news; those that come together are taken together."""
        wait_ns = max(0, until_ns - self._clock.mono_ns())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_ns / 1e9):
                await self._stir.wait()
            await asyncio.sleep(GATHER_NS / 1e9)
        self._stir.clear()
