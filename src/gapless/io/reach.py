"""Where the lines of a feed go: names resolved, targets chosen, and what lines share.

The choice itself is `gapless.core.endpoints`; this module tells it what only I/O can know.  Names
are resolved before the first dial, once a minute, and whenever a dial failed, because moving a
name is how venues lead clients away from what is broken.  A dial is never delayed by it but the
first, and that by the resolver's own bound.

Redundant lines share what they cannot have twice: a host, an egress, an address.  Nothing is
wrong with that if it is known, so it is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from gapless.core.endpoints import EndpointChoice, apart
from gapless.core.races import Race
from gapless.core.supervisor import Start
from gapless.errors import DialFailed, RateLimited
from gapless.events import NoticeKind
from gapless.io.clock import Clock
from gapless.io.plan import Plan
from gapless.io.resolver import Resolver, literal
from gapless.io.transport import DialOptions, DialTimings

__all__ = ["Reach", "Where"]

REFRESH_S: Final = 60.0
ASK_AGAIN_NS: Final = 1_000_000_000  # failed dials ask no more often than this
RACES_MIN: Final = 20  # fewer say nothing of who is quick
PLACES_MAX: Final = 1024  # lines; chains have many, which come and go
ANY_NUMBER: Final = 8  # addresses that a name might have, as long as nobody knows

Announce = Callable[[NoticeKind, str, str], None]


@dataclass(frozen=True, slots=True)
class Where:
    """The two ends of a connection.

    Attributes:
        host: Host of the endpoint.
        address: The address that answered.
        egress: Our own address, which the venue may see differently behind a router; empty if it
            is not known.
    """

    host: str
    address: str
    egress: str


class Reach:
    """Finds the way for every dial of one feed.

    Args:
        plan: The feed.
        choice: Chooses.
        resolver: Knows addresses; without one, names are left to the dial.
        clock: The time.
        announce: Takes notices.
    """

    def __init__(
        self,
        plan: Plan,
        choice: EndpointChoice,
        resolver: Resolver | None,
        clock: Clock,
        announce: Announce,
    ) -> None:
        self._plan = plan
        self._choice = choice
        # Behind a proxy it is the proxy that resolves, and that is dialled.
        self._resolver = None if plan.dial.proxy is not None else resolver
        self._clock = clock
        self._announce = announce
        self._hosts = [urlsplit(url).hostname or "" for url in plan.endpoints]
        self._started: dict[int, Start] = {}
        self._open: dict[int, Where] = {}
        self._places: dict[str, Where] = {}  # of each line's newest session, open or not
        self._rtts: dict[int, int] = {}
        self._raced: dict[int, tuple[int, int]] = {}  # wins and losses of a line, looked at last
        self._said: set[object] = set()
        self._failing: set[str] = set()
        self._ask = asyncio.Event()
        self._asked_ns = 0
        self._task: asyncio.Task[None] | None = None

    # -- names ------------------------------------------------------------------------------

    async def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Resolve all names once, and then again and again in a task."""
        if self._plan.dial.proxy is None:
            for endpoint, host in enumerate(self._hosts):
                if literal(host):
                    self._choice.resolved(endpoint, (host,))
        names = {host for host in self._hosts if not literal(host)}
        if self._resolver is None or not names:
            return
        await self._resolve(self._resolver, names)
        self._look_ahead()
        self._task = tasks.create_task(self._refresh(self._resolver, names))

    def cancel(self) -> None:
        """Resolve no more."""
        if self._task is not None:
            self._task.cancel()

    async def _refresh(self, resolver: Resolver, names: Iterable[str]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._ask.wait()
            wait_ns = self._asked_ns + ASK_AGAIN_NS - self._clock.mono_ns()
            await asyncio.sleep(max(0, wait_ns) / 1e9)
            self._ask.clear()
            await self._resolve(resolver, names)

    async def _resolve(self, resolver: Resolver, names: Iterable[str]) -> None:
        self._asked_ns = self._clock.mono_ns()
        for where in self._open.values():  # an upgrade of long ago that still carries is good now
            resolver.good(where.host, where.address)
        hosts = list(names)
        for host, answer in zip(
            hosts, await asyncio.gather(*map(resolver.resolve, hosts)), strict=True
        ):
            for endpoint, own in enumerate(self._hosts):
                if own == host:
                    self._choice.resolved(endpoint, answer.addresses)
            if answer.failure and host not in self._failing:
                count = len(answer.addresses)
                instead = f"{count} addresses that worked within an hour are used"
                evidence = instead if count else "no address is known that worked"
                self._announce("resolver", f"{host}: {answer.failure}", evidence)
                self._failing.add(host)
            elif not answer.failure:
                self._failing.discard(host)

    # -- dials ------------------------------------------------------------------------------

    def options(self, start: Start) -> DialOptions:
        """Return how to dial for a session that starts."""
        self._started[start.epoch] = start
        dial = self._plan.dial
        source = self._plan.sources.get(start.line[:1], dial.source)
        return replace(
            dial,
            source=source,
            addresses=self._choice.order(start.epoch, self._clock.mono_ns()),
            connected=partial(self._connected, start.epoch),
        )

    def opened(self, epoch: int, timings: DialTimings) -> None:
        """Note that the upgrade of a session is complete."""
        start = self._started[epoch]
        host = self._hosts[start.endpoint]
        self._choice.reached(epoch, timings.address, self._clock.mono_ns())
        if timings.address == start.address:  # another was tried after it, and so began late
            self._choice.connected(epoch, timings.tcp_ns)
        if self._resolver is not None:
            self._resolver.good(host, timings.address)
        where = self._open[epoch] = Where(host, timings.address, timings.local)
        self._places.pop(start.line, None)
        self._places[start.line] = where
        if len(self._places) > PLACES_MAX:
            del self._places[next(iter(self._places))]
        self._compare(epoch)

    def ended(self, epoch: int, cause: Exception | None) -> None:
        """Note that a session is over; before the supervisor hears of it."""
        start = self._started.pop(epoch, None)
        if start is None:
            return
        was_open = self._open.pop(epoch, None)
        self._rtts.pop(epoch, None)
        self._raced.pop(epoch, None)
        if was_open is not None or not isinstance(cause, DialFailed | RateLimited):
            return
        target = self._choice.of(epoch)
        late = isinstance(cause, RateLimited) or cause.stage in {"tls", "upgrade"}
        if self._resolver is None:
            return
        if late and target is not None and target.address is not None:
            self._resolver.bad(self._hosts[start.endpoint], target.address)
        self._ask.set()

    def sample(self, epoch: int, rtt_ns: int | None, race: Race | None = None) -> None:
        """Take what is new of a session: its round trip, and how its line fared in races.

        Called on the tick.
        """
        if rtt_ns is not None and rtt_ns != self._rtts.get(epoch):
            self._rtts[epoch] = rtt_ns
            self._choice.rtt(epoch, rtt_ns)
        if race is None:
            return
        wins, losses = self._raced.get(epoch, (0, 0))
        if race.wins + race.losses - wins - losses >= RACES_MIN:
            if epoch in self._raced:  # what came before was an older session's
                ran = race.wins + race.losses - wins - losses
                self._choice.won(epoch, race.wins - wins, ran)
            self._raced[epoch] = race.wins, race.losses

    def _connected(self, epoch: int, address: str) -> None:
        self._choice.reached(epoch, address, self._clock.mono_ns())

    # -- what is shared ---------------------------------------------------------------------

    def where(self, line: str) -> Where | None:
        """Return the ends of a line's newest connection; `None` before the first."""
        return self._places.get(line)

    def shared(self, line: str) -> dict[str, tuple[str, ...]]:
        """Return the other lines that carry the same and share a fate with this one, by what.

        The keys are ``host``, ``egress`` and ``address``; what is not shared is left out.
        """
        own = self._places.get(line)
        if own is None:
            return {}
        found: dict[str, set[str]] = {}
        for other, where in self._places.items():
            if not _carry_the_same(line, other):
                continue
            for what in ("host", "egress", "address"):
                if getattr(own, what) and getattr(own, what) == getattr(where, what):
                    found.setdefault(what, set()).add(other)
        return {what: tuple(sorted(lines)) for what, lines in found.items()}

    def _compare(self, epoch: int) -> None:
        own, line = self._open[epoch], self._started[epoch].line
        for number, where in self._open.items():
            other = self._started[number].line
            same = (where.address, where.egress) == (own.address, own.egress)
            if same and _carry_the_same(line, other):
                one, two = sorted((line, other))
                words = f"lines {one} and {two} are connected to the same address"
                self._say((one, two, own.address), words, f"{own.host} at {own.address}")

    def _look_ahead(self) -> None:
        """Say it at once if the names have too few addresses for the lines to keep apart."""
        plan, letters = self._plan, self._plan.letters
        choices = []
        for letter in letters:
            pinned = plan.pins.get(letter)
            source = plan.sources.get(letter, plan.dial.source)
            choices.append(
                [
                    (urlsplit(plan.endpoints[index]).netloc, address, source)
                    for index in (range(len(self._hosts)) if pinned is None else (pinned,))
                    for address in self._choice.addresses(index) or range(ANY_NUMBER)
                ]
            )
        if not apart(choices):
            known = {a for i in range(len(self._hosts)) for a in self._choice.addresses(i)}
            words = f"{len(letters)} lines, and not as many addresses to keep apart"
            self._say("ahead", words, "known: " + ", ".join(sorted(known)))

    def _say(self, key: object, words: str, evidence: str) -> None:
        if not self._plan.allow_same and key not in self._said:
            self._said.add(key)
            self._announce("shared-fate", words, evidence)


def _carry_the_same(one: str, other: str) -> bool:
    """Return whether two lines are of different redundancies and carry the same part."""
    return one[:1] != other[:1] and one[1:] == other[1:]
