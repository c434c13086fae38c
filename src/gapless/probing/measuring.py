"""A whole probe: every name, every address, the clocks and this machine.

Addresses are visited one after the other, so that none is measured while another is busy; the
first that works is watched until the end, for what only time shows.  Each costs the venue one
dial, and there are eight at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from gapless.errors import DialFailed, GaplessError
from gapless.io.clock import Clock
from gapless.io.dial import parse_target, tls_context
from gapless.io.plan import Plan
from gapless.io.resolver import Resolver, literal
from gapless.io.runtime import Runtime
from gapless.io.snapshots import RestClient
from gapless.planning import Budgets, Options, Subscription, assemble
from gapless.probing.host import EVERY_S, LoopLag, look_at_host
from gapless.probing.measures import Clocks, Names, Probe, Visit
from gapless.probing.visiting import Ask, Visitor
from gapless.venues._profile import Profile, VenueBudgets
from gapless.venues._registry import load

__all__ = ["VISITS_MAX", "probe"]

VISITS_MAX = 8
CLOCK_READS = 5
LAGS_MIN = 20
DIAL_NS_MIN = 1_000_000_000
_NOTHING = ("trades", "NONE")  # a plan needs a topic; nobody subscribes to this one


async def probe(venue: str, options: Options, runtime: Runtime, for_s: float) -> Probe:
    """Measure the way to a venue.

    Args:
        venue: Its name.
        options: How to connect; ``lines`` means nothing here.
        runtime: Clock and network.
        for_s: How long it may take, about, in seconds.

    Raises:
        UsageError: If the venue is not one.
        ConfigError: If an option contradicts another.
    """
    profile = load(venue)
    channel, symbol = profile.busiest or _NOTHING
    plan = assemble(venue, (Subscription(channel, (symbol,)),), options)
    shared = options.budgets or Budgets()
    budgets = shared.of(profile, plan.dial, shared=plan.shared_budgets)
    until_ns = runtime.clock.mono_ns() + int(for_s * 1e9)
    patience_ns = max(DIAL_NS_MIN, int(for_s * 1e9))
    dial = replace(plan.dial, timeout_ns=min(plan.dial.timeout_ns, patience_ns))
    plan = replace(plan, dial=dial)
    tls_context(plan.dial.ca_file)  # reading the authorities is not what is measured
    async with LoopLag() as lag:
        names = await _resolve(plan, runtime.resolver)
        asks = _asks(plan, names, profile)
        rest = runtime.rest(plan.dial)
        try:
            clocks = asyncio.create_task(_read_clocks(profile, plan, budgets, rest, runtime.clock))
            visits, skipped = await _visit(asks, profile, budgets, runtime, until_ns)
            seen = await clocks
        finally:
            await rest.close()
        while lag.lags.count < LAGS_MIN:  # a port that refuses ends everything at once
            await asyncio.sleep(EVERY_S)
    return Probe(venue, names, visits, seen, look_at_host(lag.lags), skipped)


async def _resolve(plan: Plan, resolver: Resolver | None) -> tuple[Names, ...]:
    found = []
    for host in dict.fromkeys(urlsplit(url).hostname or "" for url in plan.endpoints):
        if literal(host):
            found.append(Names(host, (host,), 0))
        elif resolver is None or plan.dial.proxy is not None:
            found.append(Names(host, (), 0))  # left to the dial, or to the proxy
        else:
            answer = await resolver.resolve(host)
            found.append(Names(host, answer.addresses, answer.took_ns, answer.failure))
    return tuple(found)


def _asks(plan: Plan, names: Sequence[Names], profile: Profile) -> list[Ask]:
    """Return what to visit, the first address of every endpoint before the second of any."""
    addresses = {each.host: each.addresses or ("",) for each in names}
    channel, symbol = profile.busiest or ("", "")
    found = []
    for index, url in enumerate(plan.endpoints):
        served = plan.url(profile.path_of(channel), index) if channel else url
        target = parse_target(served)
        for rank, address in enumerate(addresses[target.host]):
            ask = Ask(served, target.endpoint, address, channel, symbol, plan.dial)
            found.append((rank, index, ask))
    return [ask for _, _, ask in sorted(found, key=lambda each: each[:2])]


async def _visit(
    asks: Sequence[Ask],
    profile: Profile,
    budgets: VenueBudgets,
    runtime: Runtime,
    until_ns: int,
) -> tuple[tuple[Visit, ...], tuple[str, ...]]:
    clock = runtime.clock
    visits: list[Visit] = []
    skipped: list[str] = []
    watched: Visitor | None = None
    for ask in asks:
        now_ns = clock.mono_ns()
        wait_ns = budgets.dials.wait_ns(now_ns)
        why = None
        if len(visits) >= VISITS_MAX:
            why = f"{VISITS_MAX} dials are enough"
        elif visits and now_ns + wait_ns >= until_ns:
            why = "no time was left"
        if why is not None:
            skipped.append(f"{ask.endpoint} at {ask.address}: {why}")
            continue
        if wait_ns:
            await asyncio.sleep(wait_ns / 1e9)
        budgets.dials.spend(clock.mono_ns())
        visitor = Visitor(profile, budgets.pools, clock, runtime.connector, ask)
        visits.append(visitor.visit)
        await visitor.arrive()
        await visitor.examine(until_ns)
        if watched is None and visitor.visit.open:
            watched = visitor
        else:
            await visitor.leave()
    if watched is not None:
        await watched.stay(until_ns)
        await watched.leave()
    return tuple(visits), tuple(skipped)


async def _read_clocks(
    profile: Profile, plan: Plan, budgets: VenueBudgets, rest: RestClient, clock: Clock
) -> Clocks:
    """Compare the clocks by the quickest of several reads: whatever it took bounds the error."""
    time, dialect = profile.server_time.value, profile.rest
    if time is None or dialect is None or not plan.rest_endpoints:
        return Clocks(None, 0, "no read of this venue's time is known")
    best: Clocks | None = None
    for _ in range(CLOCK_READS):
        pool = budgets.pools[time.pool]
        if pool.wait_ns(clock.mono_ns(), time.units):
            break
        pool.spend(clock.mono_ns(), time.units)
        began_ns, wall_ns = clock.mono_ns(), clock.wall_ns()
        try:
            body = await rest.get(plan.rest_endpoints[0], time.request(), dialect)
            took_ns = clock.mono_ns() - began_ns
            venue_ns, grain_ns = time.read(body)
        except DialFailed as error:
            return best or Clocks(None, 0, f"{error.endpoint} cannot be read")
        except GaplessError as error:
            return best or Clocks(None, 0, str(error))
        # What is told in milliseconds was cut off: the truth is half of one later, on average.
        offset_ns = venue_ns + grain_ns // 2 - (wall_ns + took_ns // 2)
        uncertainty_ns = took_ns // 2 + grain_ns // 2
        if best is None or uncertainty_ns < best.uncertainty_ns:
            best = Clocks(offset_ns, uncertainty_ns)
    return best or Clocks(None, 0, "the budget of REST reads is used up")
