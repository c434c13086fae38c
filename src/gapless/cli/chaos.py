"""``gapless chaos``: random faults on a simulated venue and the way to it, and what was lost."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from gapless.cli import exits
from gapless.cli.running import Stop, run
from gapless.sim.dialects import DIALECTS, USUAL

if TYPE_CHECKING:
    from gapless.chaos.lab import Report, Rival
    from gapless.chaos.plan import Blow

__all__ = ["command"]

LEAST_MIN: Final = 0.25
MOST_MIN: Final = 240.0
LINES_MAX: Final = 4


def _check_minutes(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not LEAST_MIN <= value <= MOST_MIN:  # NaN fails too
        why = f"{value:g} is not from {LEAST_MIN:g} to {MOST_MIN:g} minutes"
        raise click.BadParameter(why, context, parameter)
    return value


def _check_rivals(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...]:
    names = tuple(dict.fromkeys((value or "").replace(",", " ").split()))
    for name in names:
        if name not in {"naive", "websockets"}:
            why = f"there is naive and websockets to compare with, not {name!r}"
            raise click.BadParameter(why, context, parameter)
    return names


@click.command("chaos")
@click.option(
    "--minutes",
    type=float,
    callback=_check_minutes,
    default=2.0,
    show_default=True,
    metavar="M",
    help="How long.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Decides market and faults.")
@click.option(
    "--lines",
    type=click.IntRange(1, LINES_MAX),
    default=2,
    show_default=True,
    metavar="K",
    help="Redundant lines.",
)
@click.option(
    "--venue",
    type=click.Choice(tuple(DIALECTS)),
    default=USUAL,
    show_default=True,
    help="Simulated.",
)
@click.option(
    "--compare",
    "rivals",
    callback=_check_rivals,
    metavar="NAMES",
    help="Run naive, websockets or both through the same plan.",
)
@click.option("--keep", metavar="DIR", help="Leave truth, events and the plan here.")
@click.option("--json", "as_json", is_flag=True, help="Print the score as one JSON object.")
def command(
    minutes: float,
    seed: int | None,
    lines: int,
    venue: str,
    rivals: tuple[Rival, ...],
    keep: str | None,
    as_json: bool,
) -> int:
    """Break things at random, and hold what was received against what was sent.

    Everything is SIMULATED and stays on this machine: a venue, a fault proxy before each line,
    and the real client.  The plan follows from the seed.  Some faults strike one line and must
    cost nothing; some strike all and must be announced.
    Exit 0 if the promise held and faults happened, 1 otherwise.
    """
    _refuse_foreign(venue)
    chosen = random.SystemRandom().randrange(1 << 16) if seed is None else seed
    with ExitStack() as stack:
        folder = _folder(keep, stack)
        stop = stack.enter_context(Stop())
        report = _run(venue, chosen, minutes * 60, lines, rivals, folder, stop, quiet=as_json)
        result = _result(report, venue, chosen, minutes, lines)
        if as_json:
            from gapless.cli.ndjson import json_line

            sys.stdout.buffer.write(json_line(result))
            sys.stdout.buffer.flush()
        else:
            _print(report, result)
        if not report.struck and stop.signum is not None:
            return exits.of_signal(stop.signum)
    return exits.FINE if result["kept"] else exits.BROKEN


def _run(
    venue: str,
    seed: int,
    run_s: float,
    lines: int,
    rivals: tuple[Rival, ...],
    folder: Path,
    stop: Stop,
    *,
    quiet: bool,
) -> Report:
    from gapless.chaos.lab import Lab
    from gapless.cli.ndjson import event_line, notice_line

    with (folder / "log.txt").open("w", encoding="utf-8") as log:

        def tell(at_s: float, blow: Blow) -> None:
            words = _words(at_s, blow)
            log.write(words + "\n")
            if not quiet:
                sys.stderr.write(words + "\n")
                sys.stderr.flush()

        lab = Lab(
            venue,
            seed,
            run_s,
            lines=lines,
            rivals=rivals,
            folder=folder,
            encode=event_line,
            encode_notice=notice_line,
            tell=tell,
        )
        if not quiet:
            faults = f"{len(lab.plan)} fault{'' if len(lab.plan) == 1 else 's'}"
            words = f"SIMULATED: {venue} on this machine, seed {seed}, {faults}"
            sys.stderr.write(f"{words} in {run_s:.0f} s\n")

        async def body(stop: Stop) -> Report:
            return await lab.run(stop.wait)

        report = run(body, stop, None)
        if not quiet:
            sys.stderr.write("\n")  # the score is apart from the story
        return report


def _words(at_s: float, blow: Blow) -> str:
    minutes, seconds = divmod(at_s, 60)
    whom = "all lines" if blow.line is None else f"line {blow.line}"
    lasts = f" for {blow.lasts_s:.1f} s" if blow.lasts_s else ""
    what = f"{blow.fault.name}{lasts} ({blow.where})"
    return f"{int(minutes):02d}:{seconds:04.1f} {whom}: {what}"


def _refuse_foreign(venue: str) -> None:
    """Refuse to break anything while somebody means another machine."""
    variable = "GAPLESS_ENDPOINT_" + venue.upper().replace(".", "_")
    for url in os.environ.get(variable, "").split():
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:  # whatever it means, it is not this machine
            host = ""
        if host not in {"127.0.0.1", "::1", "localhost"}:
            raise click.UsageError(
                f"{variable} names an endpoint outside this machine; chaos breaks only what it"
                " starts itself: unset it"
            )


def _folder(keep: str | None, stack: ExitStack) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gapless-chaos-")))
    folder = Path(keep)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise exits.Failure(
            exits.CANNOT_WRITE, f"cannot write to {keep}: {error.strerror or error}"
        ) from error
    return folder


def _result(report: Report, venue: str, seed: int, minutes: float, lines: int) -> dict[str, Any]:
    verdict = report.verdict
    account = verdict.as_dict()
    happened = sum(struck.happened > 0 for struck in report.struck)
    calm, struck = (s.percentile_ns(0.99) for s in (verdict.delay_calm, verdict.delay_struck))
    added = None if calm is None or struck is None else round((struck - calm) / 1e6, 3)
    result = {
        "seed": seed,
        "venue": venue,
        "minutes": minutes,
        "lines": lines,
        **account,
        "added_delay_p99_ms": added,
        "faults": [
            {
                "name": struck.blow.fault.name,
                "where": struck.blow.where,
                "line": struck.blow.line,
                "at_s": round((struck.at_ns - report.began_ns) / 1e9, 3),
                "lasts_s": struck.blow.lasts_s,
                "happened": struck.happened > 0,
            }
            for struck in report.struck
        ],
        "happened": happened,
        "complete": report.complete,
        "simulated": True,
    }
    result["kept"] = bool(account["kept"] and happened)
    if report.rivals:
        result["compare"] = {name: rival.as_dict() for name, rival in report.rivals.items()}
    return result


def _print(report: Report, result: dict[str, Any]) -> None:
    from gapless.chaos.chart import table

    columns = [("gapless", result), *result.get("compare", {}).items()]
    title = f"Scorecard · SIMULATED · seed {result['seed']}"
    lines = list(table(title, columns, report.verdict, report.began_ns, report.ended_ns))
    lines.append(f"{result['happened']} of {len(result['faults'])} faults happened.")
    if result["added_delay_p99_ms"] is not None and result["lines"] > 1:
        added_ms = result["added_delay_p99_ms"]
        added = f"{added_ms:.1f} ms" if added_ms > 0 else "nothing"
        lines.append(f"A fault of one line added {added} to the delivery at p99.")
    if not result["happened"]:
        lines.append("No fault happened: nothing is shown.")
    elif result["kept"]:
        lines.append("The promise held: whatever was lost was announced.")
    else:
        lines.append(f"THE PROMISE BROKE. Please report seed {result['seed']}.")
    for name, rival in result.get("compare", {}).items():
        if rival["unannounced"]:
            lost = f"{rival['unannounced']} messages and said nothing"
            lines.append(f"Through the same faults {name} lost {lost}.")
    text = "\n".join(lines) + "\n"
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()
