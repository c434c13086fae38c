"""``gapless demo``: faults on command, and what the client made of them."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gapless.cli import exits
from gapless.cli.running import Stop, process_age_s, run

if TYPE_CHECKING:
    from gapless.cli.showcase import Showcase, Struck
    from gapless.cli.tour import Part
    from gapless.testing.scorecard import Scorecard

__all__ = ["command"]

LEAST_S: Final = 26.0
"""What a start that took long, on a busy machine, leaves of the tour in any case."""

LONGEST_S: Final = 900.0
"""Truth and events are kept in memory until the end."""


def _check_duration(context: click.Context, parameter: click.Parameter, value: float) -> float:
    from gapless.cli.tour import FEWEST, SHORTEST_S

    if not value >= SHORTEST_S:
        why = f"{FEWEST} faults and their healing take {SHORTEST_S:.0f} s at least, not {value:g}"
        raise click.BadParameter(why, context, parameter)
    if value > LONGEST_S:
        why = f"at most {LONGEST_S:.0f} s: everything is kept in memory"
        raise click.BadParameter(why, context, parameter)
    return value


@click.command("demo")
@click.option(
    "--for",
    "for_s",
    type=float,
    callback=_check_duration,
    default=75.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the tour takes, from the start of the process; longer if that takes long.",
)
@click.option("--headless", is_flag=True, help="No screen: a line for each step, and the score.")
@click.option(
    "--lines",
    type=click.IntRange(1, 4),
    default=2,
    show_default=True,
    metavar="K",
    help="Redundant lines of each feed.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Decides market and faults.")
@click.option("--json", "as_json", is_flag=True, help="Print the score as one JSON object.")
@click.option("--keep", metavar="DIR", help="Leave truth logs and consumer events here.")
@click.option(
    "--compare",
    type=click.Choice(["naive"]),
    help="Run the reconnect loop that everybody writes beside ours.",
)
def command(
    for_s: float,
    headless: bool,  # click passes options by name
    lines: int,
    seed: int | None,
    as_json: bool,
    keep: str | None,
    compare: str | None,
) -> int:
    """Watch a supervised connection keep its promise through a tour of faults.

    Everything is SIMULATED and stays on this machine: two exchanges, their faults, and the real
    client on two lines.  What strikes one line costs nothing; what strikes both is announced.  At
    the end, what the exchanges really did is held against what was received.
    Exit 0 if the promise held and every fault happened, 1 otherwise.  Faults that a busy machine
    had no time for are named, and prove nothing.
    """
    from rich.console import Console

    from gapless.cli.showcase import Showcase
    from gapless.cli.showcase_screen import Plain, Screen, can_show, print_score
    from gapless.cli.tour import parts, plan

    chosen = random.SystemRandom().randrange(1 << 16) if seed is None else seed
    folder = None if keep is None else _folder(keep)
    console = Console(highlight=False)
    show_screen = not headless and not as_json and can_show(console)
    teller = Screen(console) if show_screen else Plain(quiet=as_json)
    cast = parts()
    ends_s = max(for_s, process_age_s() + LEAST_S)
    with Stop() as stop:

        async def body(stop: Stop) -> Showcase:
            left_s = ends_s - process_age_s()
            showcase = Showcase(
                [part.venue for part in cast],
                plan(left_s, *cast),
                seed=chosen,
                naive=compare == "naive",
                tell=teller.tell,
                lines=lines,
            )
            with teller.showing(showcase, for_s, chosen):
                await showcase.run(left_s, stop.wait)
            return showcase

        showcase = run(body, stop, ends_s)
    result = _result(showcase, chosen)
    if as_json:
        from gapless.cli.ndjson import json_line

        sys.stdout.buffer.write(json_line(result))
        sys.stdout.buffer.flush()
    else:
        print_score(result, showcase.struck, _next_steps(cast), console)
    if folder is not None:
        _keep(folder, showcase)
    return _code(result, stop)


def _code(result: dict[str, Any], stop: Stop) -> int:
    if result["faults"]:
        return exits.FINE if result["kept"] else exits.BROKEN
    return exits.BROKEN if stop.signum is None else exits.of_signal(stop.signum)


def _next_steps(cast: tuple[Part, Part]) -> list[str]:
    first, second = cast
    steps = {
        f"gapless tail {first.venue} trades {first.symbol}": "the real exchange, no key",
        f"gapless book {second.venue} {second.symbol}": "its book, while it is proven",
        f"gapless sim {first.venue},{second.venue}": "these two, for your own client",
    }
    width = max(map(len, steps))
    return [f"{line:<{width}}  # {why}" for line, why in steps.items()]


def _result(showcase: Showcase, seed: int) -> dict[str, Any]:
    cards = showcase.cards()
    result: dict[str, Any] = {"seed": seed, **_sum(cards)}
    # A step that was cut short, by a signal or by the end, proves nothing either way.
    struck = [each for each in showcase.struck if each.over]
    result["faults"] = [_fault(each) for each in struck]
    happened = all(each.happened for each in struck)
    result["complete"] = showcase.complete
    result["not_reached"] = [step.name for step in showcase.tour[len(struck) :]]
    # What one line lost, another had: nothing of it is missing, announced or not.
    cost = sum(each.lost for each in struck if each.step.single and showcase.lines > 1)
    result["lines"] = showcase.lines
    result["lost_to_one_line"] = cost
    result["stuck"] = showcase.stuck
    kept = all(card.kept for card in cards.values())
    result["kept"] = bool(struck and happened and kept and not cost and not showcase.stuck)
    stages = showcase.stages.values()
    result["dials"] = sum(stage.stats.dials for stage in stages if stage.stats is not None)
    result["simulated"] = True
    naive = showcase.naive_cards()
    if naive:
        result["naive"] = {
            **_sum(naive),
            "unheard": sum(
                stage.count_naive(showcase.ended_ns).unheard
                for stage in stages
                if stage.naive is not None
            ),
            "dials": sum(stage.naive.dials for stage in stages if stage.naive is not None),
            "kept": all(card.kept for card in naive.values()),
        }
    return result


def _sum(cards: dict[str, Scorecard]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for card in cards.values():
        for name, value in card.as_dict().items():
            if isinstance(value, dict):
                held = total.setdefault(name, dict.fromkeys(value, 0))
                for key, number in value.items():
                    held[key] += number
            else:
                total[name] = total.get(name, 0) + value
    return total


def _fault(struck: Struck) -> dict[str, Any]:
    return {
        "name": struck.step.name,
        "at_s": round(struck.at_s, 3),
        "happened": struck.happened,
        "venue": struck.step.venue,
        "single": struck.step.single,
        "settled_s": None if struck.settled_s is None else round(struck.settled_s, 3),
        "lost": struck.lost,
        "announced": struck.announced,
        "gaps": struck.gaps,
        "dials": struck.dials,
    }


def _folder(path: str) -> Path:
    """Make the folder now, and see that it can be written: nobody wants to learn it later."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise exits.Failure(
            exits.CANNOT_WRITE, f"cannot write to {path}: {error.strerror or error}"
        ) from error
    return folder


def _keep(folder: Path, showcase: Showcase) -> None:
    """Write, for each venue, its truth and everything the consumer got."""
    from gapless.cli.ndjson import event_line, json_line, notice_line

    for name, stage in showcase.stages.items():
        with (folder / f"truth-{name}.ndjson").open("wb") as file:
            file.writelines(json_line(record) for record in stage.truth.records)
        with (folder / f"events-{name}.ndjson").open("wb") as file:
            file.writelines(event_line(event) for event in stage.events)
        with (folder / f"notices-{name}.ndjson").open("wb") as file:
            file.writelines(notice_line(notice) for notice in stage.notices)
