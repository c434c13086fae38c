"""A run: simulated venue, fault proxies, the client, and others for comparison, on loopback.

Everything that is broken is started here, and nothing here can reach further than this machine.
Each contender has a world of its own, with the same seed: the same market, the same faults at the
same moments.  What the venue did and what each consumer was given are written to files, and the
checker reads nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal, Self, cast

import msgspec
from msgspec.structs import replace

from gapless.chaos.checker import Verdict, check
from gapless.chaos.naive import NaiveClient, WebsocketsClient
from gapless.chaos.plan import Blow, as_toml, random_plan
from gapless.client import Feed
from gapless.events import Event, Notice
from gapless.planning import Line, Options, Subscription, assemble
from gapless.proxy.faults import Fault as ProxyFault
from gapless.proxy.server import FaultProxy
from gapless.sim.build import simulate
from gapless.sim.exchange import Exchange
from gapless.sim.faults import Fault as VenueFault
from gapless.sim.server import SimServer
from gapless.sim.truth import NdjsonTruth
from gapless.testing.script import PER_SESSION, Wellness

__all__ = ["RIVALS", "Lab", "Report", "Rival", "Struck"]

CHANNELS: Final = ("trades", "book", "bbo", "ticker")
RATE_PER_S: Final = 60.0
WAIT_S: Final = 8.0
"""How long a fault waits for the feed to be well, at most, in seconds."""

_WELL_S: Final = 0.5
_LOOK_S: Final = 0.05
_AT_ONCE_S: Final = 0.5  # how long what strikes at once may take to show

Rival = Literal["naive", "websockets"]
RIVALS: Final[tuple[Rival, ...]] = ("naive", "websockets")

Encode = Callable[[Event], bytes]


@dataclass(slots=True)
class Struck:
    """A fault that was carried out on the world of one contender.

    Attributes:
        at_ns, until_ns: Unix time.
        counters: Tell how often it has really struck.
    """

    blow: Blow
    at_ns: int
    until_ns: int
    counters: list[Callable[[], int]] = field(default_factory=list)

    @property
    def happened(self) -> int:
        """How often it has really struck so far."""
        return sum(counter() for counter in self.counters)

    def as_record(self) -> dict[str, Any]:
        """Return it as a record of the truth."""
        return {
            "type": "strike",
            "name": self.blow.fault.name,
            "where": self.blow.where,
            "line": self.blow.line,
            "at_ns": self.at_ns,
            "until_ns": self.until_ns,
            "happened": self.happened,
        }


@dataclass(slots=True)
class Report:
    """What came of a run.

    Attributes:
        verdict: The client's account.
        rivals: The account of each other contender, by its name.
        struck: The faults, as the client's world had them.
        began_ns, ended_ns: Unix time.
        complete: Whether the plan came to its end.
    """

    verdict: Verdict
    rivals: dict[str, Verdict]
    struck: list[Struck]
    began_ns: int
    ended_ns: int
    complete: bool


class _World:
    """A simulated venue with a server and a proxy for each line."""

    def __init__(self, venue: str, seed: int, lines: Sequence[str], truth: IO[bytes]) -> None:
        self.venue = venue
        self.truth = NdjsonTruth(truth)
        self.exchange: Exchange = simulate(
            venue, rate_per_s=RATE_PER_S, seed=seed, truth=self.truth
        )
        self.servers: dict[str, SimServer] = {}
        self.proxies: dict[str, FaultProxy] = {}
        self.struck: list[Struck] = []
        self._lines = lines
        self._seed = seed
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for index, line in enumerate(self._lines):
                server = await stack.enter_async_context(SimServer(self.exchange))
                proxy = FaultProxy(server.ws_url, seed=self._seed * 16 + index)
                self.servers[line] = server
                self.proxies[line] = await stack.enter_async_context(proxy)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def http_url(self) -> str:
        """Where REST is, with no proxy before it."""
        return next(iter(self.servers.values())).http_url

    @property
    def dials(self) -> int:
        """How many WebSockets were asked for."""
        return sum(proxy.connections for proxy in self.proxies.values())

    def strike(self, blow: Blow) -> None:
        """Carry out a fault now, on the lines that it is meant for and that there are."""
        now_ns = time.time_ns()
        lasts_s = max(blow.lasts_s, _AT_ONCE_S)
        struck = Struck(blow, now_ns, now_ns + int(lasts_s * 1e9))
        lines = [line for line in self._lines if blow.line in (None, line)]
        fault = blow.fault
        if isinstance(fault, ProxyFault):
            for line in lines:
                record = self.proxies[line].strike(fault)
                struck.counters.append(lambda record=record: record.struck)  # type: ignore[misc]
        elif lines:
            for each in self._for_sessions(fault, blow.line, lines):
                done = self.exchange.inject(each, now_ns)
                struck.counters.append(lambda done=done: done.happened)  # type: ignore[misc]
        self.struck.append(struck)

    def _for_sessions(
        self, fault: VenueFault, line: str | None, lines: Sequence[str]
    ) -> Iterable[VenueFault]:
        """Return the fault once for each session that it is meant for, or as it is."""
        if fault.name not in PER_SESSION or (line is None and fault.count is None):
            return [fault]
        return [
            replace(fault, session=number)
            for each in lines
            for number in self.servers[each].sessions()
        ]


class Lab:
    """One run.

    Args:
        venue: Which venue is simulated.
        seed: Decides market, faults and jitter; real time is not decided.
        run_s: How long, in seconds.
        lines: Redundant lines of the client.
        rivals: Who runs through the same plan beside it.
        folder: Where truth and events are written.
        encode: Writes an event as a line of JSON.
        encode_notice: The same of a notice.
        tell: Told when a fault strikes, with the seconds since the start.

    Attributes:
        plan: What goes wrong, in order.
    """

    def __init__(
        self,
        venue: str,
        seed: int,
        run_s: float,
        *,
        lines: int,
        rivals: Sequence[Rival],
        folder: Path,
        encode: Encode,
        encode_notice: Callable[[Notice], bytes],
        tell: Callable[[float, Blow], None],
    ) -> None:
        self._names = [chr(ord("a") + index) for index in range(lines)]
        self.plan = random_plan(venue, seed, run_s, self._names)
        self._venue = venue
        self._seed = seed
        self._run_s = run_s
        self._rivals = rivals
        self._folder = folder
        self._encode = encode
        self._encode_notice = encode_notice
        self._tell = tell
        self._seen = 0  # number of the newest notice that was written

    async def run(self, stop: Callable[[], Awaitable[object]]) -> Report:
        """Carry the plan out, and hold what came against what was sent.

        Args:
            stop: Returns an awaitable that ends when the run should end early.
        """
        (self._folder / "plan.toml").write_text(as_toml(self.plan), encoding="utf-8")
        clients: dict[str, NaiveClient] = {}
        async with AsyncExitStack() as stack:
            worlds = {
                name: await self._world(stack, name, self._names if name == "" else ["a"])
                for name in ("", *self._rivals)
            }
            events = stack.enter_context((self._folder / "events.jsonl").open("wb"))
            options = self._options(worlds[""])
            symbols = tuple(worlds[""].exchange.dialect.usual_symbols)
            wanted = [cast("Subscription[object]", Subscription(c, symbols)) for c in CHANNELS]
            plan = assemble(self._venue, wanted, options)
            began_ns = time.time_ns()
            async with Feed[object](plan, options) as feed:
                for rival in self._rivals:
                    kind = NaiveClient if rival == "naive" else WebsocketsClient
                    url, http_url = worlds[rival].proxies["a"].ws_url, worlds[rival].http_url
                    specs = list(plan.specs.values())
                    clients[rival] = kind(plan.profile, specs, url, http_url, heartbeat_s=None)
                complete = await self._attend(feed, clients, worlds, events, stop)
                while (event := feed.take()) is not None:
                    self._write(events, event)
                self._write_notices(events, feed)
            ended_ns = time.time_ns()
        for name, world in worlds.items():
            self._write_strikes(name, world)
        for name, client in clients.items():
            with self._path("events", name).open("wb") as file:
                file.writelines(map(self._encode, client.events))
        verdicts = {name: self._verdict(name, world) for name, world in worlds.items()}
        verdict = verdicts.pop("")
        return Report(verdict, verdicts, worlds[""].struck, began_ns, ended_ns, complete)

    # -- the parts ------------------------------------------------------------------------------

    async def _world(self, stack: AsyncExitStack, name: str, lines: Sequence[str]) -> _World:
        truth = stack.enter_context(self._path("truth", name).open("wb"))
        world = _World(self._venue, self._seed, lines, truth)
        return await stack.enter_async_context(world)

    def _options(self, world: _World) -> Options:
        endpoints = [proxy.ws_url for proxy in world.proxies.values()]
        return Options(
            lines=tuple(Line(endpoint=endpoint) for endpoint in endpoints),
            allow_same=True,  # one machine, and one address: the proxies are what is apart
            endpoints=tuple(endpoints),
            rest_endpoint=world.http_url,
            seed=self._seed,
        )

    async def _attend(
        self,
        feed: Feed[object],
        clients: dict[str, NaiveClient],
        worlds: dict[str, _World],
        events: IO[bytes],
        stop: Callable[[], Awaitable[object]],
    ) -> bool:
        """Return when the time is up or somebody failed; whether the plan came to its end."""
        script = asyncio.create_task(self._script(feed, list(worlds.values())))
        tasks = [script, asyncio.create_task(_until(stop))]
        tasks += [asyncio.create_task(self._follow(feed, events))]
        tasks += [asyncio.create_task(self._watch(feed, events))]
        tasks += [asyncio.create_task(client.run()) for client in clients.values()]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
        return script in done

    async def _script(self, feed: Feed[object], worlds: Sequence[_World]) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        wellness = Wellness(feed)
        late_s = 0.0
        for blow in self.plan:
            await asyncio.sleep(max(0.0, began_s + blow.at_s + late_s - loop.time()))
            if blow.calm:
                await self._wait_until_well(wellness)
                late_s = loop.time() - began_s - blow.at_s
            if loop.time() + blow.lasts_s > began_s + self._run_s - 2:
                break
            for world in worlds:
                world.strike(blow)
            self._tell(loop.time() - began_s, blow)
        await asyncio.sleep(max(0.0, began_s + self._run_s - loop.time()))

    @staticmethod
    async def _wait_until_well(wellness: Wellness) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + WAIT_S
        since_s = loop.time()
        while loop.time() < until_s:
            if not wellness.holds(loop.time()):
                since_s = loop.time()
            elif loop.time() >= since_s + _WELL_S:
                return
            await asyncio.sleep(_LOOK_S)

    # -- what is written ------------------------------------------------------------------------

    async def _follow(self, feed: Feed[object], file: IO[bytes]) -> None:
        async for event in feed:
            self._write(file, cast("Event", event))

    def _write(self, file: IO[bytes], event: Event) -> None:
        line = self._encode(event)
        file.write(b'%b,"taken_ns":%d}\n' % (line[:-2], time.time_ns()))

    async def _watch(self, feed: Feed[object], file: IO[bytes]) -> None:
        while True:
            self._write_notices(file, feed)
            await asyncio.sleep(_LOOK_S)

    def _write_notices(self, file: IO[bytes], feed: Feed[object]) -> None:
        for notice in feed.notices(self._seen):
            self._seen = notice.number
            file.write(self._encode_notice(notice))

    def _write_strikes(self, name: str, world: _World) -> None:
        with self._path("truth", name).open("ab") as file:
            for struck in world.struck:
                file.write(msgspec.json.encode(struck.as_record()) + b"\n")

    def _path(self, what: str, name: str) -> Path:
        return self._folder / (f"{what}-{name}.jsonl" if name else f"{what}.jsonl")

    def _verdict(self, name: str, world: _World) -> Verdict:
        lines = 1 if name else len(self._names)
        with contextlib.ExitStack() as stack:
            truth = stack.enter_context(self._path("truth", name).open("rb"))
            events = stack.enter_context(self._path("events", name).open("rb"))
            verdict = check(_records(truth), _records(events), lines=lines)
        verdict.dials = world.dials
        return verdict


def _records(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    return (decode(line) for line in file)


async def _until(stop: Callable[[], Awaitable[object]]) -> None:
    await stop()
