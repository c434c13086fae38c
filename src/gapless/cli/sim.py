"""``gapless sim``: a simulated exchange on this machine, for clients of any kind."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import click

from gapless.cli import exits
from gapless.cli.finite import FiniteRange
from gapless.cli.running import Stop, run

if TYPE_CHECKING:
    from gapless.sim.chain import ChainOptions
    from gapless.sim.exchange import Exchange, SimOptions
    from gapless.sim.server import SimServer
    from gapless.sim.truth import NdjsonTruth, Record

__all__ = ["command"]

FLUSH_S: Final = 0.5
STRIKES_MAX: Final = 1200  # that are prepared for a chain, unless three expiries need more
CYCLES_MIN: Final = 3


def _check_ports(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    ports = []
    for text in value.split(","):
        if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > 65535:
            raise click.BadParameter(f"{text!r} is not a port", context, parameter)
        ports.append(int(text))
    return tuple(ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What was asked for, as click hands it over."""

    port: tuple[int, ...]
    host: str
    symbols: int | None
    rate: float
    seed: int
    truth: str | None
    capture: str | None
    speed: float
    lifetime: float | None
    snapshot_stale_ms: int
    nodes: int
    chain: int | None
    chain_cycle: float
    allow_raw: bool
    no_limits: bool
    for_s: float | None
    json: bool


@click.command("sim")
@click.argument("venues", metavar="VENUE[,VENUE]")
@click.option(
    "--port",
    callback=_check_ports,
    default="0",
    metavar="P[,P]",
    help="Port of each venue; 0 takes a free one.  A single port is counted up.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--symbols", type=click.IntRange(1, 1000), metavar="N", help="How many are traded.")
@click.option(
    "--rate",
    type=FiniteRange(0.1, 100_000),
    default=50.0,
    show_default=True,
    metavar="N",
    help="Book changes a second, over all symbols of a venue together.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Decides all.")
@click.option(
    "--truth", metavar="FILE", help="Log what really happened, and what each session was sent."
)
@click.option("--capture", metavar="FILE", help="Replay recorded traffic: segments, or JSON lines.")
@click.option(
    "--speed",
    type=FiniteRange(0, 10_000, min_open=True),
    default=1.0,
    show_default=True,
    metavar="X",
    help="How many recorded seconds pass in one.",
)
@click.option(
    "--lifetime",
    type=FiniteRange(min=0, min_open=True),
    metavar="S",
    help="Cut every session after so many seconds.",
)
@click.option(
    "--snapshot-stale-ms",
    type=click.IntRange(0, 3_600_000),
    default=0,
    metavar="N",
    help="Serve books by request as they were so long ago.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Nodes behind the endpoint; each cuts its batches at other moments.",
)
@click.option(
    "--chain",
    type=click.IntRange(2, 10_000),
    metavar="N",
    help="Deribit: N options besides, which are listed, settle and expire.",
)
@click.option(
    "--chain-cycle",
    type=FiniteRange(1, 86_400),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds from one expiry of the chain to the next.",
)
@click.option("--allow-raw", is_flag=True, help="Deribit: raw channels without a login.")
@click.option("--no-limits", is_flag=True, help="Do not enforce the venue's limits.")
@click.option(
    "--for",
    "for_s",
    type=FiniteRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End this long after the start of the process.",
)
@click.option("--json", is_flag=True, help="Say on stdout where it listens, as JSON.")
def command(venues: str, **given: Any) -> int:
    """Serve a SIMULATED exchange for each VENUE, until a signal or --for.

    WebSocket, REST and control share one port.  POST a fault to /_sim/fault to break something.
    """
    wanted = _Wanted(**given)
    exchange_by_venue: dict[str, Exchange] = {}
    with Stop() as stop, _truth(wanted.truth) as truth:
        if wanted.capture is not None and not _speaks(venues):
            return _verbatim(venues, wanted.capture, wanted, stop)
        names = _names(venues, wanted)
        for name in names:
            sink = None if truth is None else _Labelled(truth, name)
            exchange_by_venue[name] = _exchange(name, wanted, sink)
        ports = _each_port(wanted.port, len(names))
        places = list(zip(exchange_by_venue.values(), ports, strict=True))

        async def body(stop: Stop) -> None:
            await _serve(places, wanted, stop, truth)

        run(body, stop, wanted.for_s)
    return exits.FINE


class _Truth:
    """A truth log on disk."""

    def __init__(self, file: IO[bytes], log: NdjsonTruth) -> None:
        self.log = log
        self.flush = file.flush


class _Labelled:
    """Adds the venue to each record, since one file may hold several venues."""

    def __init__(self, truth: _Truth, venue: str) -> None:
        self._write = truth.log.write
        self._venue = venue

    def write(self, record: Record) -> None:
        """Take one record."""
        self._write(record if "venue" in record else {**record, "venue": self._venue})


def _speaks(venues: str) -> bool:
    from gapless.sim.dialects import DIALECTS

    return "," in venues or venues in DIALECTS


def _verbatim(venue: str, capture: str, wanted: _Wanted, stop: Stop) -> int:
    from gapless.cli.verbatim import serve

    return serve(
        venue,
        capture,
        host=wanted.host,
        port=wanted.port[0],
        speed=wanted.speed,
        for_s=wanted.for_s,
        as_json=wanted.json,
        stop=stop,
    )


def _names(venues: str, wanted: _Wanted) -> list[str]:
    from gapless.sim.dialects import DIALECTS

    names = venues.split(",")
    for name in names:
        if name not in DIALECTS:
            near = difflib.get_close_matches(name, DIALECTS, n=3, cutoff=0.3) or list(DIALECTS)
            raise click.UsageError(f"no simulated venue {name!r}; did you mean {', '.join(near)}?")
    if len(set(names)) < len(names):
        raise click.UsageError("a venue is named twice")
    if wanted.capture is not None and len(names) > 1:
        raise click.UsageError("--capture is the traffic of one venue")
    if len(wanted.port) not in {1, len(names)}:
        raise click.UsageError(f"--port names {len(wanted.port)} ports for {len(names)} venues")
    return names


def _each_port(ports: tuple[int, ...], count: int) -> list[int]:
    if len(ports) == count:
        return list(ports)
    first = ports[0]
    if first and first + count - 1 > 65535:
        raise click.UsageError(f"there are not {count} ports from {first} on")
    return [first + index if first else 0 for index in range(count)]


def _exchange(name: str, wanted: _Wanted, truth: _Labelled | None) -> Exchange:
    from gapless.sim.build import replay, simulate
    from gapless.sim.dialects import DIALECTS
    from gapless.sim.exchange import SimOptions
    from gapless.sim.replay import CaptureDamaged

    options: SimOptions = SimOptions(
        limits=not wanted.no_limits,
        lifetime_s=wanted.lifetime,
        snapshot_stale_ms=wanted.snapshot_stale_ms,
        nodes=wanted.nodes,
        allow_raw=wanted.allow_raw,
        chain=_chain(name, wanted),
    )
    seed = wanted.seed
    if wanted.capture is not None:
        try:
            return replay(
                name, wanted.capture, speed=wanted.speed, seed=seed, options=options, truth=truth
            )
        except CaptureDamaged as error:
            raise exits.Failure(exits.DAMAGED, str(error)) from error
    dialect = DIALECTS[name]
    known = list(dialect.usual_symbols)
    count = len(known) if wanted.symbols is None else wanted.symbols
    symbols = known[:count]
    symbols += [dialect.invented_symbol(n) for n in range(1, count - len(symbols) + 1)]
    return simulate(name, symbols, rate_per_s=wanted.rate, seed=seed, options=options, truth=truth)


def _chain(name: str, wanted: _Wanted) -> ChainOptions | None:
    from gapless.sim.chain import ChainOptions
    from gapless.sim.dialects import DIALECTS

    if wanted.chain is None:
        return None
    if not DIALECTS[name].has_chain or wanted.capture is not None:
        able = ", ".join(venue for venue, dialect in DIALECTS.items() if dialect.has_chain)
        raise click.UsageError(f"--chain is an invented market, and only for {able}")
    return ChainOptions(
        strikes=wanted.chain, cycle_s=wanted.chain_cycle, cycles=_cycles(wanted.chain)
    )


def _cycles(strikes: int) -> int:
    """Return for how many expiries strikes are prepared: each costs memory from the start on."""
    listed_a_cycle = max(2, strikes // 6)
    return max(CYCLES_MIN, (STRIKES_MAX - strikes) // listed_a_cycle)


@contextlib.contextmanager
def _truth(path: str | None) -> Iterator[_Truth | None]:
    if path is None:
        yield None
        return
    from gapless.sim.truth import NdjsonTruth

    try:
        file = open(path, "wb")  # noqa: SIM115  # closed below; a body's errors are not ours
    except OSError as error:
        raise exits.Failure(exits.CANNOT_WRITE, f"cannot write {path}: {error.strerror}") from error
    with file:
        yield _Truth(file, NdjsonTruth(file))


async def _serve(
    places: list[tuple[Exchange, int]], wanted: _Wanted, stop: Stop, truth: _Truth | None
) -> None:
    from gapless.sim.server import PortBusy, SimServer

    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for exchange, port in places:
            try:
                server = await stack.enter_async_context(SimServer(exchange, wanted.host, port))
            except PortBusy as error:
                raise exits.Failure(
                    exits.UNREACHABLE, f"cannot listen: {error.strerror}"
                ) from error
            except OSError as error:
                raise exits.Failure(
                    exits.UNREACHABLE, f"cannot listen on {wanted.host}: {error.strerror or error}"
                ) from error
            servers.append(server)
        for server in servers:
            _announce(server, as_json=wanted.json)
        waiting = [asyncio.create_task(stop.wait())]
        waiting += [asyncio.create_task(server.run()) for server in servers]
        try:
            while True:
                done, _ = await asyncio.wait(
                    waiting, timeout=FLUSH_S, return_when=asyncio.FIRST_COMPLETED
                )
                if truth is not None:
                    truth.flush()
                if done:
                    break
        finally:
            for task in waiting:
                task.cancel()
        for task in done:
            task.result()


def _announce(server: SimServer, *, as_json: bool) -> None:
    exchange = server.exchange
    venue, symbols, topics = exchange.dialect.venue, _symbols(exchange), _topics(exchange)
    exits.say(
        f"SIMULATED {venue}: an invented market of {_some(symbols)}"
        if topics is None
        else f"SIMULATED {venue}: a replayed capture of {_some(topics)}"
    )
    exits.say(f"  ws {server.ws_url}   rest {server.http_url}   control {server.http_url}/_sim")
    if as_json:
        from gapless.cli.ndjson import json_line

        line: dict[str, object] = {
            "type": "listening",
            "venue": venue,
            "ws": server.ws_url,
            "rest": server.http_url,
            "control": f"{server.http_url}/_sim",
            "symbols": symbols,
        }
        if topics is not None:
            line["topics"] = topics
        click.echo(json_line(line).decode(), nl=False)


def _symbols(exchange: Exchange) -> list[str]:
    """Return what is traded now; of a capture, those symbols that its dialect can tell."""
    if exchange.world is not None:
        names = [market.spec.name for market in exchange.world.markets]
        life = getattr(exchange.dialect, "life", None)  # of a chain
        return names if life is None else [name for name in names if not life.hides(name)]
    found = (exchange.dialect.book_symbol(topic) for topic in _topics(exchange) or ())
    return list(dict.fromkeys(symbol for symbol in found if symbol is not None))


def _topics(exchange: Exchange) -> list[str] | None:
    return None if exchange.timeline is None else exchange.timeline.topics


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (", ".join(names[:4]) or "nothing") + more
