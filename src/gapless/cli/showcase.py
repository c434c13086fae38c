"""Runs the tour of ``gapless demo``: simulated venues, real sockets, the real client.

Everything happens on loopback in this process.  The venues log the truth, the feeds are
followed like any user would, and at the end the two are held against each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, cast

from gapless.cli.naive import NaiveClient
from gapless.cli.tour import Step
from gapless.cli.tour import Stop as Planned
from gapless.client import Feed
from gapless.core.stats import FeedStats
from gapless.events import Event, Gap, Notice, Resynced
from gapless.io.conductor import Plan
from gapless.planning import Options, Subscription, assemble
from gapless.sim.build import simulate
from gapless.sim.faults import FaultRecord
from gapless.sim.server import SimServer
from gapless.sim.truth import MemoryTruth
from gapless.testing.scorecard import Scorecard, score

__all__ = ["CHANNELS", "Showcase", "Stage", "Struck"]

CHANNELS = ("trades", "book", "bbo", "ticker")
RATE_PER_S = 60.0


@dataclass(slots=True)
class Struck:
    """A step that was carried out, and what came of it.

    Attributes:
        at_s: When, in seconds after the start.
        records: What the simulated venue says of its faults.
        gaps, missing, resyncs: What the feed announced before the next step of its venue.
        dials: How many dials it took.
    """

    step: Step
    at_s: float
    records: list[FaultRecord]
    gaps: int = 0
    missing: int = 0
    resyncs: int = 0
    dials: int = 0

    @property
    def happened(self) -> bool:
        """Whether every fault of the step really struck."""
        return all(record.happened > 0 for record in self.records)


@dataclass(slots=True)
class Stage:
    """One venue: its server, its truth, its feed, and perhaps a naive client."""

    venue: str
    server: SimServer
    truth: MemoryTruth
    plan: Plan
    feed: Feed[object]
    events: list[Event] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    naive: NaiveClient | None = None
    stats: FeedStats | None = None

    def score(self, events: Sequence[Event]) -> Scorecard:
        """Hold ``events`` against the venue's truth."""
        numbering = {topic: spec.numbering for topic, spec in self.plan.specs.items()}
        return score(self.truth.records, events, numbering)


class Showcase:
    """The run.

    Args:
        venues: Names of the venues.
        tour: What goes wrong, and when.
        seed: Decides market, faults and jitter; real time is not decided.
        naive: Whether a naive client runs beside.
        tell: Told of every step, event and notice, as it comes.

    Attributes:
        stages: The venues, by name.
        struck: The steps so far.
    """

    def __init__(
        self,
        venues: Sequence[str],
        tour: Sequence[Planned],
        *,
        seed: int,
        naive: bool,
        tell: Callable[[str, object], None],
    ) -> None:
        self.stages: dict[str, Stage] = {}
        self.struck: list[Struck] = []
        self.started = 0.0
        self._venues = venues
        self._tour = tour
        self._seed = seed
        self._naive = naive
        self._tell = tell
        self._last: dict[str, Struck] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the feeds were opened."""
        return time.monotonic() - self.started if self.started else 0.0

    async def run(self, duration_s: float, stop: Callable[[], Any]) -> None:
        """Carry out the tour.

        Args:
            duration_s: How long, from now.
            stop: Returns an awaitable that ends when the run should end early.
        """
        async with AsyncExitStack() as stack:
            for index, venue in enumerate(self._venues):
                self.stages[venue] = await self._open(stack, venue, index)
            self.started = time.monotonic()
            tasks = [asyncio.create_task(self._follow(s)) for s in self.stages.values()]
            tasks += [asyncio.create_task(self._watch(s)) for s in self.stages.values()]
            tasks += [
                asyncio.create_task(stage.naive.run())
                for stage in self.stages.values()
                if stage.naive is not None
            ]
            script = asyncio.create_task(self._strike())
            try:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop(), duration_s)
            finally:
                for task in (script, *tasks):
                    task.cancel()
                await asyncio.gather(script, *tasks, return_exceptions=True)
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
            for stage in self.stages.values():
                stage.stats = stage.feed.stats()
                while (event := stage.feed.take()) is not None:
                    self._keep(stage, event)

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

    async def _strike(self) -> None:
        for planned in self._tour:
            await asyncio.sleep(max(0.0, planned.at_s - self.elapsed_s))
            exchange, step = self.stages[planned.step.venue].server.exchange, planned.step
            struck = Struck(step, self.elapsed_s, [])
            self._tell("step", struck)
            struck.records += [exchange.inject(fault, time.time_ns()) for fault in step.faults]
            self.struck.append(struck)
            self._last[step.venue] = struck

    async def _follow(self, stage: Stage) -> None:
        async for event in stage.feed:
            self._keep(stage, cast("Event", event))

    def _keep(self, stage: Stage, event: Event) -> None:
        stage.events.append(event)
        struck = self._last.get(stage.venue)
        if isinstance(event, Gap):
            if struck is not None:
                struck.gaps += 1
                struck.missing += event.missing or 0
            self._tell("event", event)
        elif isinstance(event, Resynced):
            if struck is not None:
                struck.resyncs += 1
            self._tell("event", event)

    async def _watch(self, stage: Stage) -> None:
        while True:
            seen = stage.notices[-1].number if stage.notices else 0
            for notice in stage.feed.notices(seen):
                stage.notices.append(notice)
                struck = self._last.get(stage.venue)
                if struck is not None and notice.kind == "dialing":
                    struck.dials += 1
                self._tell("notice", notice)
            await asyncio.sleep(0.05)
