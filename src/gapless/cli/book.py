"""``gapless book``: one order book, as a ladder on a terminal and as JSON lines elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from gapless.cli import exits
from gapless.cli.connecting import Connecting, connecting_options
from gapless.cli.running import Stop, run

if TYPE_CHECKING:
    from gapless.core.stats import FeedStats

__all__ = ["command"]

DRAW_S: Final = 0.1


@click.command("book")
@click.argument("venue")
@click.argument("symbol")
@click.option(
    "--depth",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    metavar="N",
    help="Levels of each side on the ladder.",
)
@click.option("--variant", default="", metavar="NAME", help="The venue's variant, such as raw.")
@connecting_options
def command(venue: str, symbol: str, depth: int, variant: str, **given: Any) -> int:
    """Watch the book of SYMBOL at VENUE.

    On a terminal it is a live ladder, which is good only while it says so; elsewhere, and with
    --json, it is the same as `gapless tail VENUE book SYMBOL --json`.
    """
    import sys

    connecting = Connecting(**given)
    with Stop() as stop:
        if not connecting.json and sys.stdout.isatty():
            return _ladder(venue, symbol, depth, variant, connecting, stop)
        from gapless.cli.tail import stream

        channel = f"book.{variant}" if variant else "book"
        return stream(venue, channel, (symbol,), replace(connecting, json=True), stop)


def _ladder(
    venue: str, symbol: str, depth: int, variant: str, connecting: Connecting, stop: Stop
) -> int:
    import asyncio

    from rich.console import Console
    from rich.live import Live

    from gapless.cli.following import exit_code
    from gapless.cli.ladder import Ladder
    from gapless.cli.wording import Wording, wants_colour
    from gapless.client import open_book

    book = open_book(venue, symbol, options=connecting.options(), variant=variant)
    console = Console(highlight=False, no_color=not wants_colour())
    ladder = Ladder(symbol, depth)

    async def until_over() -> None:
        async for _ in book.changes():
            pass  # it raises what ended the book, should anything but we do so

    async def body(stop: Stop) -> FeedStats:
        stopped = asyncio.create_task(stop.wait())
        async with book:
            over = asyncio.create_task(until_over())
            with Live(console=console, auto_refresh=False, transient=True) as live:
                while not stopped.done() and not over.done():
                    ladder.look(book)
                    live.update(ladder.render(console.size.height), refresh=True)
                    await asyncio.wait(
                        (stopped, over), timeout=DRAW_S, return_when=asyncio.FIRST_COMPLETED
                    )
        stopped.cancel()
        await over
        return book.stats()

    stats = run(body, stop, connecting.for_s)
    for line in Wording(colour=False).summary(stats):
        exits.say(line)
    return exit_code(stats, stop)
