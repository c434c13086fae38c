"""``gapless demo``: faults on command, and what the client made of them."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gapless.cli import exits
from gapless.cli.running import Stop, run

if TYPE_CHECKING:
    from gapless.cli.showcase import Showcase, Struck
    from gapless.testing.scorecard import Scorecard

__all__ = ["command"]

FIRST: Final = "deribit"  # simulated, like everything here: its books come over the socket
SECOND: Final = "binance.spot"  # and its books need REST
BOOKS: Final = {FIRST: "book.*", SECOND: "*@depth*"}
TRADES: Final = {FIRST: "trades.*", SECOND: "*@trade"}


@click.command("demo")
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(min=30, max=86_400),
    default=75.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the tour takes, from the start of the process.",
)
@click.option("--headless", is_flag=True, help="No screen: a line for each step, and the score.")
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
    seed: int | None,
    as_json: bool,
    keep: str | None,
    compare: str | None,
) -> int:
    """Watch a supervised connection keep its promise through a tour of faults.

    Everything is SIMULATED and stays on this machine: two exchanges, their faults, and the real
    client.  At the end, what the exchanges really did is held against what was received.
    Exit 0 if the promise held and every fault happened, 1 otherwise.
    """
    from gapless.cli.showcase import Showcase
    from gapless.cli.showcase_screen import Plain, Screen, print_score
    from gapless.cli.tour import plan

    chosen = random.SystemRandom().randrange(1 << 16) if seed is None else seed
    folder = None if keep is None else _folder(keep)
    show_screen = not headless and not as_json and sys.stdout.isatty()
    teller = Screen() if show_screen else Plain(quiet=as_json)
    with Stop() as stop:

        async def body(stop: Stop) -> Showcase:
            tour = plan(for_s, FIRST, SECOND, BOOKS, TRADES)
            showcase = Showcase(
                (FIRST, SECOND), tour, seed=chosen, naive=compare == "naive", tell=teller.tell
            )
            with teller.showing(showcase, for_s, chosen):
                await showcase.run(for_s, stop.wait)
            return showcase

        showcase = run(body, stop, for_s)
    if folder is not None:
        _keep(folder, showcase)
    result = _result(showcase, chosen)
    if as_json:
        from gapless.cli.ndjson import json_line

        sys.stdout.buffer.write(json_line(result))
        sys.stdout.buffer.flush()
    else:
        print_score(result)
    if not result["faults"]:
        exits.say("stopped before the first fault")
    return exits.FINE if result["kept"] else exits.BROKEN


def _result(showcase: Showcase, seed: int) -> dict[str, Any]:
    cards = showcase.cards()
    result: dict[str, Any] = {"seed": seed, **_sum(cards)}
    result["faults"] = [_fault(struck) for struck in showcase.struck]
    happened = all(fault["happened"] for fault in result["faults"])
    kept = all(card.kept for card in cards.values())
    result["kept"] = bool(kept and happened and result["faults"])
    stats = [stage.stats for stage in showcase.stages.values() if stage.stats is not None]
    result["dials"] = sum(each.dials for each in stats)
    result["simulated"] = True
    naive = showcase.naive_cards()
    if naive:
        dials = sum(s.naive.dials for s in showcase.stages.values() if s.naive is not None)
        result["naive"] = {
            **_sum(naive),
            "dials": dials,
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
        "gaps": struck.gaps,
        "missing": struck.missing,
        "resyncs": struck.resyncs,
        "dials": struck.dials,
    }


def _folder(path: str) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise exits.Failure(
            exits.CANNOT_WRITE, f"cannot make {path}: {error.strerror or error}"
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
