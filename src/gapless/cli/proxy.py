"""``gapless proxy``: a bad network before any WebSocket server, for clients of any kind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import click

from gapless.cli import exits
from gapless.cli.finite import FiniteRange
from gapless.cli.running import Stop, run

if TYPE_CHECKING:
    from gapless.proxy.board import FaultRecord, LogRecord
    from gapless.proxy.plan import Plan
    from gapless.proxy.server import FaultProxy

__all__ = ["command"]

FLUSH_S: Final = 0.5
LINES_PER_S: Final = 10
PLAN_BYTES_MAX: Final = 1 << 20


def _check_place(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    right = port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536
    if not (colon and host and right):
        raise click.BadParameter(f"{value!r} does not read HOST:PORT", context, parameter)
    return host, int(port)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What was asked for, as click hands it over."""

    listen: tuple[str, int]
    upstream: str
    plan: str | None
    seed: int
    log: str | None
    ca_file: str | None
    keep_extensions: bool
    for_s: float | None
    json: bool


@click.command("proxy")
@click.option(
    "--listen",
    callback=_check_place,
    default="127.0.0.1:0",
    show_default=True,
    metavar="HOST:PORT",
    help="Where clients connect; port 0 takes a free one.",
)
@click.option(
    "--upstream", required=True, metavar="URL", help="The real server, such as wss://host."
)
@click.option("--plan", metavar="FILE", help="What goes wrong, and when: TOML.  None: nothing.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Decides chance.")
@click.option("--log", metavar="FILE", help="Write what was done to which frame, as JSON lines.")
@click.option("--ca-file", metavar="FILE", help="Trust these authorities (PEM), not the system's.")
@click.option(
    "--keep-extensions",
    is_flag=True,
    help="Let clients negotiate compression; a topic then finds no text.",
)
@click.option(
    "--for",
    "for_s",
    type=FiniteRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End this long after the start of the process.",
)
@click.option("--json", is_flag=True, help="Say on stdout where it listens and what struck.")
def command(**given: Any) -> int:
    """Pass connections on to a server, and break them by plan, until a signal or --for.

    WebSocket, plain HTTP and control share one port.  POST a fault to /_proxy/fault to break
    something at once.
    """
    from gapless.proxy.server import FaultProxy

    wanted = _Wanted(**given)
    plan = _plan(wanted.plan)
    host, port = wanted.listen
    with Stop() as stop, _log(wanted.log, wanted.plan) as log:
        telling = _Telling(log)
        proxy = FaultProxy(
            wanted.upstream,
            plan,
            host=host,
            port=port,
            seed=wanted.seed,
            ca_file=wanted.ca_file,
            keep_extensions=wanted.keep_extensions,
            on_strike=telling.struck,
        )
        proxy.on_trouble = telling.line

        async def body(stop: Stop) -> None:
            await _serve(proxy, wanted, stop, telling)

        run(body, stop, wanted.for_s)
    _summarise(proxy, plan, as_json=wanted.json)
    return exits.FINE


def _plan(path: str | None) -> Plan:
    from gapless.proxy.plan import Plan, PlanInvalid

    if path is None:
        return Plan()
    try:
        with open(path, "rb") as file:
            text = file.read(PLAN_BYTES_MAX + 1)
    except OSError as error:
        raise exits.Failure(
            exits.DAMAGED, f"cannot read {path}: {error.strerror or error}"
        ) from error
    try:
        return Plan.from_toml(text.decode())
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise exits.Failure(exits.USAGE, f"{path}: line {line}: not UTF-8") from error
    except PlanInvalid as error:
        raise exits.Failure(exits.USAGE, f"{path}: {error}") from error


@contextlib.contextmanager
def _log(path: str | None, plan: str | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    try:
        if plan is not None and os.path.exists(path) and os.path.samefile(path, plan):
            raise exits.Failure(exits.USAGE, f"--log would overwrite the plan {plan}")
        file = open(path, "ab")  # noqa: SIM115  # closed below; a body's errors are not ours
    except OSError as error:
        raise exits.Failure(exits.CANNOT_WRITE, f"cannot write {path}: {error.strerror}") from error
    with file:
        yield file


class _Telling:
    """Says what strikes: all of it in the log, and as much on stderr as anybody can read."""

    def __init__(self, log: IO[bytes] | None) -> None:
        self._log = log
        self._lines = 0
        self._silent = 0

    def begin(self) -> None:
        """Begin the log anew, now that nothing hinders the run: until here an older one stays."""
        if self._log is not None and stat.S_ISREG(os.fstat(self._log.fileno()).st_mode):
            self._log.truncate(0)

    def struck(self, entry: LogRecord) -> None:
        """Take an entry of the proxy's log."""
        from gapless.cli.ndjson import json_line

        if self._log is not None:
            self._log.write(json_line(entry))
        frame = "" if entry.frame is None else f" frame {entry.frame}"
        way = "" if entry.direction is None else f" {entry.direction}"
        self.line(
            f"{entry.t_s:9.3f} s  fault {entry.fault} {entry.name}: {entry.what}"
            f" ({entry.traffic} {entry.connection}{way}{frame})"
        )

    def line(self, words: str) -> None:
        """Say something, unless too much has been said."""
        self._lines += 1
        if self._lines <= LINES_PER_S:
            exits.say(words)
        else:
            self._silent += 1

    def breathe(self) -> None:
        """Begin another second."""
        self._lines = 0
        if self._silent:
            exits.say(f"and {self._silent} more")
            self._silent = 0

    def flush(self) -> None:
        """Write what the log holds back."""
        if self._log is not None:
            self._log.flush()


async def _serve(proxy: FaultProxy, wanted: _Wanted, stop: Stop, telling: _Telling) -> None:
    from gapless.proxy.server import PortBusy

    host, _ = wanted.listen
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(proxy)
        except PortBusy as error:
            raise exits.Failure(exits.UNREACHABLE, f"cannot listen: {error.strerror}") from error
        except OSError as error:
            words = error.strerror or error
            raise exits.Failure(exits.UNREACHABLE, f"cannot listen on {host}: {words}") from error
        telling.begin()
        _announce(proxy, as_json=wanted.json)
        waiting = asyncio.create_task(stop.wait())
        try:
            seconds = 0.0
            while not (await asyncio.wait((waiting,), timeout=FLUSH_S))[0]:
                telling.flush()
                seconds += FLUSH_S
                if seconds >= 1:
                    seconds = 0.0
                    telling.breathe()
        finally:
            waiting.cancel()
    telling.breathe()


def _announce(proxy: FaultProxy, *, as_json: bool) -> None:
    from gapless.cli.ndjson import json_line

    count = len(proxy.records)
    upstream = proxy.upstream
    exits.say(f"before {upstream.authority}, with {count} fault{'' if count == 1 else 's'} planned")
    exits.say(f"  ws {proxy.ws_url}   http {proxy.http_url}   control {proxy.http_url}/_proxy")
    if proxy.host not in ("127.0.0.1", "::1", "localhost"):
        exits.say("anybody who reaches this port can use the upstream, and break what passes")
    if as_json:
        line = {
            "type": "listening",
            "ws": proxy.ws_url,
            "http": proxy.http_url,
            "control": f"{proxy.http_url}/_proxy",
            "faults": count,
        }
        click.echo(json_line(line).decode(), nl=False)
    else:
        click.echo(proxy.ws_url)


def _summarise(proxy: FaultProxy, plan: Plan, *, as_json: bool) -> None:
    from gapless.cli.ndjson import json_line

    if as_json:
        line = {
            "type": "summary",
            "connections": proxy.connections,
            "faults": [record.as_dict() for record in proxy.records],
        }
        click.echo(json_line(line).decode(), nl=False)
    exits.say(f"{proxy.connections} WebSocket{'' if proxy.connections == 1 else 's'}")
    unmatched: str | None = None
    for index, record in enumerate(proxy.records):
        line_number = plan.line(index)
        where = f" (line {line_number})" if line_number else ""
        exits.say(f"fault {record.id} {record.fault.name}{where}: {_outcome(record)}")
        if unmatched is None and record.held_against and not record.matched:
            line_number = plan.line(index, "topic")
            where = f"line {line_number}" if line_number else f"fault {record.id}"
            unmatched = (
                f"{where}: topic {record.fault.topic!r} matched none of the"
                f" {record.held_against} messages it was held against"
            )
    if unmatched is not None:
        raise exits.Failure(exits.USAGE, unmatched)


def _outcome(record: FaultRecord) -> str:
    if record.struck:
        return f"struck {record.struck}"
    return "struck 0 -- IT NEVER HAPPENED, so this run says nothing about it"
