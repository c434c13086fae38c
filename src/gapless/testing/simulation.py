"""The whole client against a simulated venue in virtual time: hours in seconds, by seed.

One seed decides everything: the market, the faults, the network's jitter and the client's own.
A run that fails prints its seed; the same seed fails again in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from gapless.client import Feed
from gapless.core.stats import FeedStats
from gapless.events import Event, Notice
from gapless.io.runtime import Runtime
from gapless.io.transport import Receiver
from gapless.planning import Options, Subscription, assemble
from gapless.sim.build import simulate
from gapless.sim.dialects._base import SimOptions
from gapless.sim.faults import Fault, FaultRecord
from gapless.sim.truth import MemoryTruth
from gapless.testing.clock import VirtualClock, run
from gapless.testing.memory import MemoryConnector, MemoryNetwork
from gapless.testing.scorecard import Scorecard, score
from gapless.testing.script import Planned, Script
from gapless.testing.venue import MemoryVenue
from gapless.testing.weather import CalamityRecord
from gapless.venues._registry import load

__all__ = ["Outcome", "Planned", "Simulation", "random_faults"]

ADDRESS = "venue.test:443"
_WAIT_FOR_A_DIAL = frozenset({"accept_close", "refuse", "late_ack", "rest_fail", "stale_snapshot"})
CHANNELS = ("trades", "book", "bbo", "ticker")


@dataclass(slots=True)
class Outcome:
    """What came of a simulation.

    Attributes:
        seed: What repeats it.
        card: The promise, held against the venue's truth.
        events: Everything the consumer got.
        notices: Everything the feed said besides.
        stats: The feed's counters at the end.
        faults: The planned faults, and whether they happened; one that was planned for each of
            several sessions has a record for each.
        struck: What was planned, and when it came, Unix time; what came too late for the run to
            heal is left out.
        truth: The venue's log.
        waiting_max: Most events that waited anywhere in the feed, looked at once a second.
    """

    seed: int
    card: Scorecard
    events: list[Event]
    notices: list[Notice]
    stats: FeedStats
    faults: list[FaultRecord | CalamityRecord]
    struck: list[tuple[int, Planned]]
    truth: list[dict[str, Any]]
    waiting_max: int

    def __str__(self) -> str:
        struck = ", ".join(f"{r.fault.name} x{r.happened}" for r in self.faults)
        return f"seed {self.seed}: {self.card.as_dict()} after {struck or 'no fault'}"


@dataclass(kw_only=True)
class Simulation:
    """A run to be made.

    Args:
        venue: Name of the venue, which the simulator must speak.
        seed: Decides everything.
        minutes: How long, in virtual time.
        faults: What goes wrong, and when.
        symbols: Instruments; the simulator's usual ones by default.
        channels: Channels to follow.
        rate_per_s: Book changes a second over all symbols.
        latency_ms: One way, in milliseconds.
        jitter_ms: Most that chance adds to it.
        sim: How the simulated venue behaves.
        lines: Redundant lines, each to an address of its own.
        ways: Latency and jitter of single lines, in milliseconds, and share of packets lost.
    """

    venue: str
    seed: int = 0
    minutes: float = 5.0
    faults: Sequence[Planned] = ()
    symbols: Sequence[str] = ()
    channels: Sequence[str] = CHANNELS
    rate_per_s: float = 10.0
    latency_ms: float = 5.0
    jitter_ms: float = 2.0
    sim: SimOptions = field(default_factory=SimOptions)
    lines: int = 1
    ways: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    def run(self) -> Outcome:
        """Run it to its end.

        Raises:
            Exception: Whatever ended the feed, or went unhandled in the loop.
        """
        clock = VirtualClock()
        return run(self._main(clock), clock)

    async def _main(self, clock: VirtualClock) -> Outcome:
        truth = MemoryTruth()
        exchange = simulate(
            self.venue,
            self.symbols or None,
            rate_per_s=self.rate_per_s,
            seed=self.seed,
            options=self.sim,
            truth=truth,
        )
        network = MemoryNetwork(
            clock,
            latency_ns=int(self.latency_ms * 1e6),
            jitter_ns=int(self.jitter_ms * 1e6),
            seed=self.seed,
        )
        for name, (latency_ms, jitter_ms, loss) in self.ways.items():
            way = network.way(name)
            way.latency_ns, way.jitter_ns = int(latency_ms * 1e6), int(jitter_ms * 1e6)
            way.loss = loss
        venue = MemoryVenue(exchange, network, ADDRESS, clock)
        addresses = [ADDRESS, *(f"venue-{n}.test:443" for n in range(2, self.lines + 1))]
        for address in addresses[1:]:
            venue.listen(address)
        symbols = tuple(self.symbols or exchange.dialect.usual_symbols)
        subscriptions = [
            cast("Subscription[object]", Subscription(channel, symbols))
            for channel in self.channels
        ]
        options = Options(
            lines=self.lines,
            allow_same=True,  # the venue has one address
            endpoints=tuple(f"ws://{address}" for address in addresses),
            rest_endpoint=venue.http_url,
            seed=self.seed,
            runtime=Runtime(clock, MemoryConnector(network, _line_of), venue.rest),
        )
        plan = assemble(self.venue, subscriptions, options)
        events: list[Event] = []
        async with Feed[object](plan, options) as feed:
            script = Script(self.faults, self.minutes * 60, feed, venue, network, clock)
            striker = asyncio.create_task(script.run())
            collector = asyncio.create_task(_collect(feed, events))
            waiting_max = await _look_on(feed, self.minutes * 60)
            stats, notices = feed.stats(), feed.notices()
            await striker
            collector.cancel()
            await asyncio.wait((collector,))
            if not collector.cancelled() and (error := collector.exception()) is not None:
                raise error
            while (event := feed.take()) is not None:
                events.append(event)
            venue.close()
        numbering = {topic: spec.numbering for topic, spec in plan.specs.items()}
        card = score(truth.records, events, numbering)
        return Outcome(
            self.seed,
            card,
            events,
            notices,
            stats,
            script.records,
            script.struck,
            truth.records,
            waiting_max,
        )


def _line_of(receiver: Receiver) -> str:
    """Name the way of a connection after its line: each goes by its own."""
    line: str = getattr(receiver, "line", "")
    return line


async def _look_on(feed: Feed[object], seconds: float) -> int:
    """Let time pass; return the most events that waited."""
    most = 0
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left_s := end - loop.time()) > 0:
        await asyncio.sleep(min(1.0, left_s))
        most = max(most, _waiting(feed))
    return most


def _waiting(feed: Feed[object]) -> int:
    """Count the events in the outlet, and those that streams hold back or buffer."""
    waiting = len(feed._outlet)
    for stream in feed._running().streams.values():
        waiting += len(getattr(stream, "_held", ())) + len(getattr(stream, "_buffer", ()))
    return waiting


async def _collect(feed: Feed[object], events: list[Event]) -> None:
    async for event in feed:
        events.append(cast("Event", event))  # noqa: PERF401  # what came before an error counts


def random_faults(venue: str, seed: int, minutes: float, count: int) -> list[Planned]:
    """Return ``count`` faults that this venue can have, spread over the run by chance.

    One that waits for a dial or for a snapshot is followed by a reset, so that it really happens.
    The last half minute is left in peace, so that everything can heal.
    """
    rng = Random(seed)  # noqa: S311  # must repeat
    exchange = simulate(venue)
    symbol = exchange.dialect.usual_symbols[0]
    book = load(venue).topic("book", symbol).topic
    trades = load(venue).topic("trades", symbol).topic
    kinds: tuple[Callable[[], Fault], ...] = (
        lambda: Fault(name="reset"),
        lambda: Fault(name="close", code=rng.choice((1000, 1001, 1006, 1012, 1013, 4000))),
        lambda: Fault(name="drop", topic=book, count=rng.randint(1, 3)),
        lambda: Fault(name="drop", topic=trades, count=rng.randint(1, 3)),
        lambda: Fault(name="duplicate", topic=rng.choice((book, trades)), count=2),
        lambda: Fault(name="reorder", topic=rng.choice((book, trades)), count=1),
        lambda: Fault(name="silence", for_s=rng.uniform(4, 15)),
        lambda: Fault(name="half_open"),
        lambda: Fault(name="accept_close", code=1001, for_s=rng.uniform(1, 10)),
        lambda: Fault(name="refuse", status=503, for_s=rng.uniform(1, 8)),
        lambda: Fault(name="refuse", status=429, retry_after_s=5, for_s=5.0),
        lambda: Fault(name="outage", for_s=rng.uniform(0.5, 10)),
        lambda: Fault(name="late_ack", delay_ms=rng.randint(200, 4000), for_s=20.0),
        lambda: Fault(name="bad_utf8"),
        lambda: Fault(name="garbage"),
        lambda: Fault(name="oversize"),
        lambda: Fault(name="shutdown_notice", lead_s=rng.uniform(2, 10)),
        lambda: Fault(name="lag", delay_ms=rng.randint(50, 800), for_s=rng.uniform(2, 10)),
        lambda: Fault(name="rest_fail", status=500, for_s=rng.uniform(2, 15)),
        lambda: Fault(name="stale_snapshot", stale_ms=3000, for_s=rng.uniform(2, 10)),
    )
    usable = [make for make in kinds if exchange.supports(make().name)]
    last_s = minutes * 60 - 40
    times = sorted(rng.uniform(5, last_s) for _ in range(count))
    plan: list[Planned] = []
    for at_s in times:
        fault = rng.choice(usable)()
        plan.append(Planned(at_s, fault))
        if fault.name in _WAIT_FOR_A_DIAL:
            plan.append(Planned(at_s + 0.05, Fault(name="reset")))
    return plan
