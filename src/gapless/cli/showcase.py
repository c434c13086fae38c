"""Runs the tour of ``gapless demo``: simulated venues, real sockets, the real client.

Everything happens on loopback in this process.  The venues log the truth, the feeds are
followed like any user would, and the two are held against each other: after each step, so that
its outcome is known and not assumed, and at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Final, cast

from msgspec.structs import replace as replace_struct

from gapless.cli.naive import NaiveClient
from gapless.cli.tour import CALM_S, Pace, Step
from gapless.client import Feed
from gapless.core.stats import FeedStats
from gapless.core.supervisor import LineState
from gapless.events import Event, Gap, Notice, Resynced
from gapless.io.plan import Plan
from gapless.planning import Options, Subscription, assemble
from gapless.sim.build import simulate
from gapless.sim.exchange import Exchange
from gapless.sim.faults import Fault, FaultRecord
from gapless.sim.server import SimServer
from gapless.sim.truth import MemoryTruth
from gapless.testing.scorecard import Scorecard, score

__all__ = ["CHANNELS", "Losses", "Showcase", "Stage", "Struck"]

CHANNELS: Final = ("trades", "book", "bbo", "ticker")
RATE_PER_S: Final = 100.0
DEAF_S: Final = 3.0
"""How long a client must have heard nothing until that counts as lost, in seconds."""

_LOOK_S: Final = 0.05
_START_S: Final = 5.0  # the first step waits so long for both feeds, at most
_TEARDOWN_S: Final = 1.0  # for closing, scoring and printing
_ALARMS: Final = frozenset({"stalled", "ended", "violation", "rotating", "limited"})


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
        records: What the simulated venue says of its faults.
        noticed_s: How long it took the client to notice, if it did.
        notice: The notice that said so; `None` where the numbers did.
        dials, sessions: Dials it took, and how many of them went live.
        gaps: Gaps announced.
        rebuilt: Books that were loaded anew.
        repeats: Messages that were recognised as repeated.
        healed_s: When the last topic could be trusted again, after the start of the step; `None`
            if none was ever in doubt.
        settled_s: When all was well again; `None` while it is not.
        over: Whether nothing of this can change any more.
        lost, announced: By the venue's truth: messages lost, and those that were announced.
    """

    step: Step
    at_s: float
    records: list[FaultRecord] = field(default_factory=list)
    noticed_s: float | None = None
    notice: Notice | None = None
    dials: int = 0
    sessions: int = 0
    gaps: int = 0
    rebuilt: int = 0
    repeats: int = 0
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
        now: The step that is under way here, if any.
        losses, naive_losses: What the clients had lost when that was last counted.
    """

    venue: str
    server: SimServer
    truth: MemoryTruth
    plan: Plan
    feed: Feed[object]
    events: list[Event] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    naive: NaiveClient | None = None
    stats: FeedStats | None = None
    now: Struck | None = None
    losses: Losses = Losses()
    naive_losses: Losses = Losses()

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
        naive: Whether a naive client runs beside.
        tell: Told ``step`` when a step begins, and ``outcome`` when it is over.

    Attributes:
        stages: The venues, by name.
        struck: The steps so far.
        tour: What goes wrong, in order.
        complete: Whether the tour came to its end.
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
    ) -> None:
        self.stages: dict[str, Stage] = {}
        self.struck: list[Struck] = []
        self.tour = tour
        self.complete = False
        self.ended_ns = 0
        self._started_s = 0.0
        self._venues = venues
        self._seed = seed
        self._naive = naive
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
        server = await stack.enter_async_context(SimServer(exchange))
        symbols = tuple(exchange.dialect.usual_symbols)
        wanted = [cast("Subscription[object]", Subscription(c, symbols)) for c in CHANNELS]
        options = Options(endpoints=(server.ws_url,), rest_endpoint=server.http_url, seed=seed)
        plan = assemble(venue, wanted, options)
        feed: Feed[object] = await stack.enter_async_context(Feed(plan, options))
        stage = Stage(venue, server, truth, plan, feed)
        if self._naive:
            specs = list(plan.specs.values())
            stage.naive = NaiveClient(plan.profile, specs, server.ws_url, server.http_url)
        return stage

    # -- the script ---------------------------------------------------------------------------

    async def _script(self, end_s: float) -> None:
        while self.elapsed_s < _START_S and not all(
            self._well(stage, self.elapsed_s) for stage in self.stages.values()
        ):
            await asyncio.sleep(_LOOK_S)
        pace = Pace(self.tour, end_s - CALM_S)
        for index, step in enumerate(self.tour):
            began_s = self.elapsed_s
            pause_s, most_s = pace.of(index, began_s)
            await self._strike(step, most_s)
            await asyncio.sleep(min(pause_s, began_s + most_s - self.elapsed_s))
        self.complete = True
        await asyncio.sleep(end_s - self.elapsed_s)

    async def _strike(self, step: Step, most_s: float) -> None:
        """Carry out a step; return when it is settled, or its time is up."""
        stage = self.stages[step.venue]
        before, repeats = await self._losses(stage), stage.feed.stats().duplicates
        struck = Struck(step, self.elapsed_s)
        stage.now = struck
        self.struck.append(struck)
        self._tell("step", struck)
        exchange = stage.server.exchange
        struck.records += [
            exchange.inject(each, time.time_ns())
            for fault in step.faults
            for each in _for_each_session(exchange, fault)
        ]
        spent_s = None  # when the faults were over
        while (age_s := self.elapsed_s - struck.at_s) < most_s:
            if spent_s is None and age_s >= step.lasts_s and _spent(exchange, struck):
                spent_s = age_s
            if spent_s is not None and self._well(stage, age_s - spent_s):
                struck.settled_s = age_s
                break
            await asyncio.sleep(_LOOK_S)
        stage.now = None
        after = await self._losses(stage)
        struck.lost = after.lost - before.lost
        struck.announced = after.announced - before.announced
        struck.repeats = stage.feed.stats().duplicates - repeats
        struck.over = True
        self._tell("outcome", struck)

    @staticmethod
    def _well(stage: Stage, for_s: float) -> bool:
        """Whether every topic is trusted, and each has spoken in the last ``for_s`` seconds."""
        stats = stage.feed.stats()
        return all(line.state == LineState.UP.value for line in stats.lines) and all(
            topic.trust == "live" and topic.age_s is not None and topic.age_s < for_s
            for topic in stats.topics
        )

    # -- what is seen -------------------------------------------------------------------------

    async def _follow(self, stage: Stage) -> None:
        async for event in stage.feed:
            self._keep(stage, cast("Event", event))

    def _keep(self, stage: Stage, event: Event) -> None:
        stage.events.append(event)
        struck = stage.now
        if struck is None or not isinstance(event, Gap | Resynced):
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
            seen = stage.notices[-1].number if stage.notices else 0
            for notice in stage.feed.notices(seen):
                stage.notices.append(notice)
                if stage.now is not None:
                    self._note(stage.now, notice)
            await asyncio.sleep(_LOOK_S)

    def _note(self, struck: Struck, notice: Notice) -> None:
        struck.dials += notice.kind == "dialing"
        struck.sessions += notice.kind == "live"
        planned = notice.kind == "ended" and notice.cause == "planned"
        if notice.kind in _ALARMS and struck.notice is None and not planned:
            struck.notice = notice
            seen_s = (time.time_ns() - notice.recv_ns) / 1e9
            age_s = max(0.0, self.elapsed_s - struck.at_s - seen_s)
            struck.noticed_s = min(age_s, struck.noticed_s or age_s)

    async def _losses(self, stage: Stage) -> Losses:
        # In a thread: the longer the log, the longer it takes, and the clients must not stall.
        stage.losses = await asyncio.to_thread(stage.count)
        return stage.losses

    async def _count(self, stage: Stage) -> None:
        """Count losses now and then, without ever spending much of the time on it."""
        while True:
            began_s = time.monotonic()
            await self._losses(stage)
            if stage.naive is not None:
                now_ns = time.time_ns()
                stage.naive_losses = await asyncio.to_thread(stage.count_naive, now_ns)
            await asyncio.sleep(max(0.5, 10 * (time.monotonic() - began_s)))


def _kind(fault: Fault) -> tuple[str, str | None]:
    return fault.name, fault.topic


def _for_each_session(exchange: Exchange, fault: Fault) -> list[Fault]:
    """Return a fault of counted messages once for each session, so that each loses the same."""
    sessions = [
        session.id
        for session in exchange.sessions.values()
        if not session.stalled and fault.topic in session.topics
    ]
    if fault.count is None or len(sessions) < 2:
        return [fault]
    return [replace_struct(fault, session=number) for number in sessions]


def _spent(exchange: Exchange, struck: Struck) -> bool:
    """Whether every fault has struck and is over, or its session is."""
    return struck.happened and all(
        record.over or record.fault.session not in {None, *exchange.sessions}
        for record in struck.records
    )


def _losses(card: Scorecard) -> Losses:
    return Losses(
        card.total("missing") + card.total("lost"),
        card.total("announced") + card.total("covered"),
    )


async def _until(stop: Callable[[], Awaitable[object]]) -> None:
    await stop()
