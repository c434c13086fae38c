"""``gapless probe``: the way to a venue, measured once, with a plain verdict first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from gapless.cli import exits
from gapless.cli.connecting import reaching_options
from gapless.cli.finite import FiniteRange
from gapless.cli.running import Stop, run

if TYPE_CHECKING:
    from gapless.planning import Options
    from gapless.probing.judging import Judgement
    from gapless.probing.measures import Probe, Visit
    from gapless.venues._profile import Profile

__all__ = ["command"]

FOR_S: Final = 10.0
MS: Final = 1e6


@click.command("probe")
@click.argument("venue")
@reaching_options
@click.option(
    "--for",
    "for_s",
    type=FiniteRange(min=0, min_open=True),
    default=FOR_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to look, about; pings of a venue need their time to be seen.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(venue: str, for_s: float, as_json: bool, **given: Any) -> int:
    """Measure the way to VENUE: names, TCP, TLS, upgrade, data, pings, clocks and this machine.

    Every address of every endpoint is dialled once, eight at most, and paid from what the venue
    allows.  The exit code is 0 if all is well, 3 if something is wrong, and 69 if nothing could
    be reached.
    """
    options = _options(**given)
    with Stop() as stop:
        probe = _probe(venue, options, for_s, stop)
        if probe is None:
            exits.say("interrupted")
            return exits.of_signal(stop.signum or 2)
    from gapless.probing.judging import judge
    from gapless.venues._registry import load

    profile = load(venue)
    judgement = judge(probe, profile)
    if as_json:
        _print_json(probe, judgement, profile)
    else:
        for line in _lines(probe, judgement, profile):
            click.echo(line)
    if not judgement.reached:
        return exits.UNREACHABLE
    return exits.FINE if judgement.fine else exits.FINDINGS


def _options(
    endpoint: tuple[str, ...],
    rest_endpoint: str | None,
    ca_file: str | None,
    proxy: str | None,
    source: str | None,
) -> Options:
    from gapless.planning import Options

    return Options(
        endpoints=endpoint,
        rest_endpoint=rest_endpoint,
        ca_file=ca_file,
        proxy=proxy,
        source=source,
    )


def _probe(venue: str, options: Options, for_s: float, stop: Stop) -> Probe | None:
    """Return what was measured, or `None` if a signal came first."""
    import asyncio
    import contextlib

    from gapless.io.runtime import system_runtime
    from gapless.probing.measuring import probe

    async def body(stop: Stop) -> Probe | None:
        measuring = asyncio.create_task(probe(venue, options, system_runtime(), for_s))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((measuring, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if measuring.done():
            return await measuring
        measuring.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await measuring
        return None

    return run(body, stop, None)


def _lines(probe: Probe, judgement: Judgement, profile: Profile) -> list[str]:
    from gapless.cli.wording import wants_colour
    from gapless.errors import printable
    from gapless.probing.judging import declared_and_observed

    colour = None
    if wants_colour():
        colour = "green" if judgement.fine and judgement.reached else "red"
    lines = [click.style(judgement.verdict, fg=colour, bold=True) if colour else judgement.verdict]
    for found in judgement.findings:
        about = f" {found.about}" if found.about else ""
        lines.append(f"  {found.level:5}  {found.where}{about}: {found.words}")
        if found.advice:
            lines.append(f"         {found.advice}")
    lines.append("")
    for names in probe.names:
        if names.took_ns or names.failure:
            count = len(names.addresses)
            said = f"{count} address{'' if count == 1 else 'es'} in {names.took_ns / MS:.1f} ms"
            failed = f"; {names.failure}" if names.failure else ""
            lines.append(f"dns      {names.host}: {said}{failed}")
        else:
            lines.append(f"dns      {names.host}: not asked")
    for visit in probe.visits:
        lines += _visit_lines(visit)
    lines += [f"skipped  {each}" for each in probe.skipped]
    clocks = probe.clocks
    if clocks.offset_ns is None:
        lines.append(f"clock    not compared: {clocks.failure}")
    else:
        lines.append(
            f"clock    the venue's minus ours {clocks.offset_ns / MS:+.1f} ms,"
            f" give or take {clocks.uncertainty_ns / MS:.1f} ms"
        )
    host = probe.host
    lines.append(
        f"host     woken late by p99 {host.lag_p99_ns / MS:.1f} ms, at most"
        f" {host.lag_max_ns / MS:.1f} ms, in {host.lag_samples} looks"
    )
    lines.append(
        f"limits   open files {_count(host.files_open)} of {_count(host.files_soft)}"
        f" (hard {_count(host.files_hard)}), receive buffer {_kib(host.receive_bytes_max)},"
        f" TCP's own {_kib(host.tcp_receive_bytes_max)}"
    )
    facts = declared_and_observed(probe, profile)
    if facts:
        lines += ["", "declared and observed"]
        width = max(len(name) for name, _, _ in facts)
        lines += [f"  {name:{width}}  {one}  |  {two}" for name, one, two in facts]
    return [line if line.startswith("\x1b") else printable(line) for line in lines]


def _visit_lines(visit: Visit) -> list[str]:
    from gapless.probing.judging import quantile_ns

    lines = [f"address  {visit.address or 'left to the proxy or the dial'}  ({visit.endpoint})"]
    if not visit.open:
        return [*lines, f"  {visit.stage:6} failed: {visit.detail}"]
    lines.append(f"  tcp    {visit.tcp_ns / MS:.1f} ms")
    if visit.tls is not None:
        days = "unknown" if visit.tls.days_left is None else f"{visit.tls.days_left:.0f} days"
        version = visit.tls.version
        lines.append(f"  tls    {visit.tls_ns / MS:.1f} ms, {version}, certificate good for {days}")
    lines.append(f"  upgrade  {visit.upgrade_ns / MS:.1f} ms")
    if visit.topic:
        data = "none" if visit.data_ns is None else f"after {visit.data_ns / MS:.1f} ms"
        refused = f", refused: {visit.refused}" if visit.refused else ""
        lines.append(f"  data   {visit.topic}: {data}, {visit.frames} frames{refused}")
    if visit.rtts_ns:
        p50, p99 = (quantile_ns(visit.rtts_ns, share) or 0 for share in (0.5, 0.99))
        lines.append(
            f"  ping   min {min(visit.rtts_ns) / MS:.1f}  p50 {p50 / MS:.1f}"
            f"  p99 {p99 / MS:.1f} ms  ({len(visit.rtts_ns)} of {visit.pings} answered)"
        )
    else:
        lines.append(f"  ping   none of {visit.pings} answered")
    if visit.tcp is not None:
        lines.append(f"  {visit.tcp}")
    return lines


def _count(value: int | None) -> str:
    return "unlimited" if value is None else str(value)


def _kib(value: int | None) -> str:
    return "unknown" if value is None else f"{value >> 10} KiB"


def _print_json(probe: Probe, judgement: Judgement, profile: Profile) -> None:
    from dataclasses import asdict

    import msgspec

    from gapless.probing.judging import declared_and_observed, quantile_ns

    document = {
        "verdict": judgement.verdict,
        "fine": judgement.fine,
        "reached": judgement.reached,
        "findings": [asdict(found) for found in judgement.findings],
        **asdict(probe),
        "facts": [
            {"name": name, "declared": declared, "observed": observed}
            for name, declared, observed in declared_and_observed(probe, profile)
        ],
    }
    for visit, measured in zip(document["visits"], probe.visits, strict=True):
        rtts_ns = measured.rtts_ns
        visit["ping_ns"] = {
            "min": min(rtts_ns, default=None),
            "p50": quantile_ns(rtts_ns, 0.5),
            "p99": quantile_ns(rtts_ns, 0.99),
        }
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
