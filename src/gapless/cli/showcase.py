"""Runs the tour of ``gapless demo``: simulated venues, real sockets, the real client.

Everything happens on loopback in this process.  The venues log the truth, the feeds are
followed like any user would, and the two are held against each other: after each step, so that
its outcome is known and not assumed, and at the end.

A step is over when what was received shows it, and never because some time has passed: on a
machine that is busy everything takes longer.  What there was no time for is said.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Final, cast

from msgspec.structs import replace as replace_struct

from gapless.chaos.naive import NaiveClient
from gapless.cli.tour import CALM_S, Pace, Step
from gapless.client import Feed
from gapless.core.stats import FeedStats
from gapless.core.supervisor import LineState
from gapless.events import Event, Gap, Notice, Resynced
from gapless.io.plan import Plan
from gapless.planning import Line, Options, Subscription, assemble
from gapless.sim.build import simulate
from gapless.sim.exchange import Exchange
from gapless.sim.faults import Fault, FaultRecord
from gapless.sim.server import SimServer
from gapless.sim.truth import MemoryTruth
from gapless.testing.scorecard import Hole, Scorecard, score

__all__ = ["CHANNELS", "Losses", "Showcase", "Stage", "Struck"]

CHANNELS: Final = ("trades", "book", "bbo", "ticker")
RATE_PER_S: Final = 100.0
DEAF_S: Final = 3.0
"""How long a client must have heard nothing until that counts as lost, in seconds."""

PATIENCE_S: Final = 20.0
"""How long a feed may take to be well again once nothing is wrong any more, in seconds."""

STRIKE_S: Final = 8.0
"""How long a fault may wait for what it is to strike, in seconds."""

_LOOK_S: Final = 0.05
_LEAST_S: Final = 1.0  # a step is not begun if there is less time than its faults take, and this
_TEARDOWN_S: Final = 1.0  # for closing, scoring and printing
_ALARMS: Final = frozenset({"stalled", "ended", "violation", "rotating", "limited"})
_TRUSTED: Final = frozenset({"live", "slow"})  # on a busy machine all data is late


@dataclass(frozen=True, slots=True)
class Losses:
    """What a client had not been given at one moment.

    Attributes:
        lost: Messages that it missed.
        announced: Those that it said are missing.
        unheard: Messages since it heard anything, if that was long ago.
    """

    lost: int = 0
    announced: int = 0
    unheard: int = 0

    @property
    def silent(self) -> int:
        """Messages that it missed without a word."""
        return max(0, self.lost - self.announced) + self.unheard


@dataclass(slots=True)
class Struck:
    """A step that was carried out, and what came of it.

    Attributes:
        at_s: When, in seconds after the start.
        at_ns: The same, Unix time.
        records: What the simulated venue says of its faults.
        noticed_s: How long it took the client to notice, if it did.
        notice: The notice that said so; `None` where the numbers did.
        dials, sessions: Dials it took, and how many of them went live.
        gaps: Gaps announced.
        rebuilt: Books that were loaded anew.
        repeats: Messages that were recognised as repeated, where there is but one line.
        carried: Whether another line was there that suffered nothing.
        healed_s: When the last topic could be trusted again, after the start of the step; `None`
            if none was ever in doubt.
        settled_s: When all was well again; `None` while it is not.
        over: Whether nothing of this can change any more; not if there was no time for it.
        lost, announced: By the venue's truth: messages lost, and those that were announced.
    """

    step: Step
    at_s: float
    at_ns: int = 0
    records: list[FaultRecord] = field(default_factory=list)
    noticed_s: float | None = None
    notice: Notice | None = None
    dials: int = 0
    sessions: int = 0
    gaps: int = 0
    rebuilt: int = 0
    repeats: int = 0
    carried: bool = False
    healed_s: float | None = None
    settled_s: float | None = None
    over: bool = False
    lost: int = 0
    announced: int = 0

    @property
    def happened(self) -> bool:
        """Whether every fault of the step really struck, be it in one session of several."""
        struck = {_kind(record.fault) for record in self.records if record.happened > 0}
        return all(_kind(fault) in struck for fault in self.step.faults)


@dataclass(slots=True)
class Stage:
    """One venue: its server, its truth, its feed, and perhaps a naive client.

    Attributes:
        servers: One for each line, all of the same exchange.
        now: The step that is under way here, if any.
        well_ns: Since when every line is up and every topic trusted, monotonic.
        heard_ns: When the consumer's newest data of each topic was received, monotonic.
        losses, naive_losses: What the clients had lost when that was last counted.
    """

    venue: str
    servers: Sequence[SimServer]
    truth: MemoryTruth
    plan: Plan
    feed: Feed[object]
    events: list[Event] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    naive: NaiveClient | None = None
    stats: FeedStats | None = None
    now: Struck | None = None
    well_ns: int | None = None
    heard_ns: dict[str, int] = field(default_factory=dict)
    losses: Losses = Losses()
    naive_losses: Losses = Losses()

    @property
    def exchange(self) -> Exchange:
        """The venue itself."""
        return self.servers[0].exchange

    def score(self, events: Sequence[Event]) -> Scorecard:
        """Hold ``events`` against the venue's truth."""
        numbering = {topic: spec.numbering for topic, spec in self.plan.specs.items()}
        return score(list(self.truth.records), events, numbering)

    def count(self) -> Losses:
        """Count what the feed has missed so far."""
        return _losses(self.score(list(self.events)))

    def count_naive(self, now_ns: int) -> Losses:
        """Count what the naive client has missed by ``now_ns``, Unix time."""
        events = [] if self.naive is None else list(self.naive.events)
        return replace(_losses(self.score(events)), unheard=self.unheard(events, now_ns))

    def unheard(self, events: Sequence[Event], now_ns: int) -> int:
        """Count what happened since the last event, unless it is younger than `DEAF_S`."""
        if not events or now_ns - events[-1].recv_ns < DEAF_S * 1e9:
            return 0
        since_ns = events[-1].recv_ns
        topics = {event.origin.topic for event in events}
        return sum(
            record["type"] == "world" and record["ns"] > since_ns and record["topic"] in topics
            for record in list(self.truth.records)
        )


class Showcase:
    """The run.

    Args:
        venues: Names of the venues.
        tour: What goes wrong, in order.
        seed: Decides market, faults and jitter; real time is not decided.
        naive: Whether a naive client runs beside, on the way of the first line.
        lines: Redundant lines of each feed.
        tell: Told ``step`` when a step begins, and ``outcome`` when it is over.

    Attributes:
        lines: Redundant lines of each feed.
        stages: The venues, by name.
        struck: The steps so far.
        tour: What goes wrong, in order.
        complete: Whether the tour came to its end.
        stuck: Whether a feed was not well again though it had `PATIENCE_S`.
        ended_ns: When the clients were stopped, Unix time.
    """

    def __init__(
        self,
        venues: Sequence[str],
        tour: Sequence[Step],
        *,
        seed: int,
        naive: bool,
        tell: Callable[[str, Struck], None],
        lines: int = 1,
    ) -> None:
        self.stages: dict[str, Stage] = {}
        self.struck: list[Struck] = []
        self.tour = tour
        self.complete = False
        self.stuck = False
        self.ended_ns = 0
        self._started_s = 0.0
        self._venues = venues
        self._seed = seed
        self._naive = naive
        self.lines = lines
        self._tell = tell

    @property
    def elapsed_s(self) -> float:
        """Seconds since the feeds were opened."""
        return time.monotonic() - self._started_s if self._started_s else 0.0

    async def run(self, duration_s: float, stop: Callable[[], Awaitable[object]]) -> None:
        """Carry out the tour.

        Args:
            duration_s: How long, from now.
            stop: Returns an awaitable that ends when the run should end early.
        """
        until_s = time.monotonic() + duration_s - _TEARDOWN_S
        async with AsyncExitStack() as stack:
            for index, venue in enumerate(self._venues):
                self.stages[venue] = await self._open(stack, venue, index)
            self._started_s = time.monotonic()
            stages = list(self.stages.values())
            jobs = [self._script(until_s - self._started_s), _until(stop)]
            jobs += [job(s) for s in stages for job in (self._follow, self._watch, self._count)]
            jobs += [stage.naive.run() for stage in stages if stage.naive is not None]
            tasks = [asyncio.create_task(job) for job in jobs]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()
            for stage in stages:
                stage.stats = stage.feed.stats()
                while (event := stage.feed.take()) is not None:
                    self._keep(stage, event)
                self._charge(stage, stage.score(stage.events).holes())
            self.ended_ns = time.time_ns()

    def cards(self) -> dict[str, Scorecard]:
        """Return the scorecard of each venue."""
        return {name: stage.score(stage.events) for name, stage in self.stages.items()}

    def naive_cards(self) -> dict[str, Scorecard]:
        """Return the scorecard of each naive client."""
        return {
            name: stage.score(stage.naive.events)
            for name, stage in self.stages.items()
            if stage.naive is not None
        }

    async def _open(self, stack: AsyncExitStack, venue: str, index: int) -> Stage:
        truth = MemoryTruth()
        seed = self._seed * 16 + index
        exchange = simulate(venue, rate_per_s=RATE_PER_S, seed=seed, truth=truth)
        servers = [await stack.enter_async_context(SimServer(exchange)) for _ in range(self.lines)]
        server = servers[0]
        symbols = tuple(exchange.dialect.usual_symbols)
        wanted = [cast("Subscription[object]", Subscription(c, symbols)) for c in CHANNELS]
        endpoints = tuple(server.ws_url for server in servers)
        options = Options(
            lines=tuple(Line(endpoint=endpoint) for endpoint in endpoints),
            allow_same=True,  # all is on this machine; the ports are what is apart
            endpoints=endpoints,
            rest_endpoint=server.http_url,
            seed=seed,
        )
        plan = assemble(venue, wanted, options)
        feed: Feed[object] = await stack.enter_async_context(Feed(plan, options))
        stage = Stage(venue, servers, truth, plan, feed)
        if self._naive:
            specs = list(plan.specs.values())
            stage.naive = NaiveClient(plan.profile, specs, server.ws_url, server.http_url)
        return stage

    # -- the script ---------------------------------------------------------------------------

    async def _script(self, end_s: float) -> None:
        for stage in self.stages.values():
            await self._until_well(stage, end_s)
        pace = Pace(self.tour, end_s - CALM_S)
        for index, step in enumerate(self.tour):
            if self.elapsed_s + step.lasts_s + _LEAST_S > end_s or not await self._strike(
                step, end_s
            ):
                break
            await asyncio.sleep(pace.pause_s(index, self.elapsed_s))
        else:
            self.complete = True
        await asyncio.sleep(end_s - self.elapsed_s)

    async def _strike(self, step: Step, end_s: float) -> bool:
        """Carry out a step; return whether it is over, and not cut short by the end."""
        stage = self.stages[step.venue]
        if not await self._until_well(stage, end_s):  # what is lost must be this step's own
            return False
        repeats = stage.feed.stats().duplicates
        struck = Struck(step, self.elapsed_s, time.time_ns())
        struck.carried = step.single and self.lines > 1
        stage.now = struck
        self.struck.append(struck)
        self._tell("step", struck)
        exchange = stage.exchange
        only = stage.servers[0].sessions() if step.single else None
        struck.records += [
            exchange.inject(each, time.time_ns())
            for fault in step.faults
            for each in _for_each_session(exchange, fault, only)
        ]
        until_s = self.elapsed_s + step.lasts_s + STRIKE_S
        while not (spent := self._spent(exchange, struck)) and self.elapsed_s < min(until_s, end_s):
            await asyncio.sleep(_LOOK_S)
        stage.well_ns = None  # what was well before its faults were over proves nothing
        if spent and await self._until_well(stage, end_s):
            struck.settled_s = self.elapsed_s - struck.at_s
        stage.now = None
        if struck.settled_s is None and self.elapsed_s >= end_s:
            return False
        card = await self._score(stage)
        self._charge(stage, card.holes())
        if self.lines == 1:
            struck.repeats = stage.feed.stats().duplicates - repeats
        struck.over = True
        self._tell("outcome", struck)
        return True

    def _spent(self, exchange: Exchange, struck: Struck) -> bool:
        """Whether every fault has struck and is over, or its session is."""
        lasted = self.elapsed_s - struck.at_s >= struck.step.lasts_s
        return (
            lasted
            and struck.happened
            and all(
                record.over or record.fault.session not in {None, *exchange.sessions}
                for record in struck.records
            )
        )

    async def _until_well(self, stage: Stage, end_s: float) -> bool:
        """Return whether a feed is well before the end, and the consumer has seen that it is.

        Every line is up and every topic trusted; then every topic has spoken, so that whatever
        was missing before has been named.
        """
        until_s = self.elapsed_s + PATIENCE_S
        while self.elapsed_s < end_s:
            self._look(stage)
            since_ns = stage.well_ns
            if since_ns is not None and all(
                stage.heard_ns.get(topic, 0) > since_ns for topic in stage.plan.specs
            ):
                return True
            if self.elapsed_s >= until_s:
                self.stuck = True
                return False
            await asyncio.sleep(_LOOK_S)
        return False

    @staticmethod
    def _well(stage: Stage) -> bool:
        """Whether every line is up, and every topic trusted."""
        stats = stage.feed.stats()
        return all(line.state == LineState.UP.value for line in stats.lines) and all(
            topic.trust in _TRUSTED for topic in stats.topics
        )

    def _charge(self, stage: Stage, holes: Sequence[Hole]) -> None:
        """Put what was lost down to the steps of this venue, by when it was told."""
        steps = [struck for struck in self.struck if struck.step.venue == stage.venue]
        ends_ns = [*(struck.at_ns for struck in steps[1:]), sys.maxsize]
        for struck, end_ns in zip(steps, ends_ns, strict=False):
            mine = [hole for hole in holes if struck.at_ns <= hole.at_ns < end_ns]
            struck.lost = sum(hole.lost for hole in mine)
            struck.announced = sum(hole.announced for hole in mine)

    # -- what is seen -------------------------------------------------------------------------

    async def _follow(self, stage: Stage) -> None:
        async for event in stage.feed:
            self._keep(stage, cast("Event", event))

    def _keep(self, stage: Stage, event: Event) -> None:
        stage.events.append(event)
        struck = stage.now
        if not isinstance(event, Gap | Resynced):
            stage.heard_ns[event.origin.topic] = event.mono_ns
            return
        if struck is None:
            return
        age_s = self.elapsed_s - struck.at_s
        if isinstance(event, Gap):
            struck.gaps += 1
            if struck.noticed_s is None:
                struck.noticed_s = age_s
        else:
            struck.healed_s = age_s
            struck.rebuilt += event.channel == "book" and event.by in {"snapshot", "rest"}

    async def _watch(self, stage: Stage) -> None:
        while True:
            self._look(stage)
            await asyncio.sleep(_LOOK_S)

    def _look(self, stage: Stage) -> None:
        seen = stage.notices[-1].number if stage.notices else 0
        for notice in stage.feed.notices(seen):
            stage.notices.append(notice)
            if stage.now is not None:
                self._note(stage.now, notice)
        if not self._well(stage):
            stage.well_ns = None
        elif stage.well_ns is None:
            stage.well_ns = time.monotonic_ns()

    def _note(self, struck: Struck, notice: Notice) -> None:
        struck.dials += notice.kind == "dialing"
        struck.sessions += notice.kind == "live"
        planned = notice.kind == "ended" and notice.cause == "planned"
        if notice.kind in _ALARMS and struck.notice is None and not planned:
            struck.notice = notice
            seen_s = (time.time_ns() - notice.recv_ns) / 1e9
            age_s = max(0.0, self.elapsed_s - struck.at_s - seen_s)
            struck.noticed_s = min(age_s, struck.noticed_s or age_s)

    async def _score(self, stage: Stage) -> Scorecard:
        # In a thread: the longer the log, the longer it takes, and the clients must not stall.
        card = await asyncio.to_thread(stage.score, list(stage.events))
        stage.losses = _losses(card)
        return card

    async def _count(self, stage: Stage) -> None:
        """Count losses now and then, without ever spending much of the time on it."""
        while True:
            began_s = time.monotonic()
            await self._score(stage)
            if stage.naive is not None:
                now_ns = time.time_ns()
                stage.naive_losses = await asyncio.to_thread(stage.count_naive, now_ns)
            await asyncio.sleep(max(0.5, 10 * (time.monotonic() - began_s)))


def _kind(fault: Fault) -> tuple[str, str | None]:
    return fault.name, fault.topic


def _for_each_session(
    exchange: Exchange, fault: Fault, only: Sequence[int] | None = None
) -> list[Fault]:
    """Return a fault once for each session that it is meant for.

    One that counts messages is meant for each alone, so that each loses the same; one for a
    single line is meant for the sessions of that line only.
    """
    sessions = [
        session.id
        for session in exchange.sessions.values()
        if not session.stalled
        and (fault.topic is None or fault.topic in session.topics)
        and (only is None or session.id in only)
    ]
    if only is None and (fault.count is None or len(sessions) < 2):
        return [fault]
    return [replace_struct(fault, session=number) for number in sessions]


def _losses(card: Scorecard) -> Losses:
    return Losses(
        card.total("missing") + card.total("lost"),
        card.total("announced") + card.total("covered"),
    )


async def _until(stop: Callable[[], Awaitable[object]]) -> None:
    await stop()
