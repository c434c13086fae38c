"""``gapless tail``: follow channels of a venue as lines."""

from __future__ import annotations

from typing import Any

import click

from gapless.cli.connecting import Connecting, connecting_options
from gapless.cli.running import Stop, run

__all__ = ["command", "stream"]


@click.command("tail")
@click.argument("venue")
@click.argument("channel")
@click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True)
@click.option(
    "--backfill",
    type=click.Choice(["off", "wait", "late"]),
    default="off",
    show_default=True,
    help="Missing trades: leave them, have later ones wait for them up to two seconds, or take "
    "them late.",
)
@click.option(
    "--overflow",
    type=click.Choice(["drop-and-mark", "conflate", "block", "fail"]),
    default="drop-and-mark",
    show_default=True,
    help="When stdout is read too slowly: drop and say so in the stream, keep the newest state of "
    "each topic, stop reading the venue, or end.",
)
@connecting_options
def command(venue: str, channel: str, symbols: tuple[str, ...], **given: Any) -> int:
    """Follow CHANNEL of VENUE for each SYMBOL, and mark every gap.

    CHANNEL is trades, book, bbo or ticker, and may carry the venue's variant: book.raw,
    book.100ms.  Ends with a summary after --for, SIGINT or SIGTERM; the exit code is 0 if any
    session went live, and 69 if none did.
    """
    with Stop() as stop:
        return stream(venue, channel, symbols, Connecting(**given), stop)


def stream(
    venue: str, channel: str, symbols: tuple[str, ...], connecting: Connecting, stop: Stop
) -> int:
    """Write a channel to stdout until ``stop``; return the exit code."""
    import sys

    from gapless.cli.following import JsonLines, TextLines, exit_code, follow
    from gapless.cli.output import Output
    from gapless.cli.wording import Wording, wants_colour
    from gapless.client import open as open_feed
    from gapless.core.stats import FeedStats
    from gapless.planning import Subscription

    wanted: Subscription[object] = Subscription(channel, symbols)
    feed = open_feed(venue, wanted, options=connecting.options())
    as_json = connecting.json
    lines = JsonLines() if as_json else TextLines(Wording(colour=wants_colour()))

    async def body(stop: Stop) -> FeedStats:
        talkative = as_json or not sys.stdout.isatty()
        return await follow(feed, stop, Output(1), lines, talkative=talkative)

    return exit_code(run(body, stop, connecting.for_s), stop)
