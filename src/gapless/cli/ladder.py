"""A book as a ladder: asks above bids, sizes as bars, and one line that says whether to trust it.

A book that is not proven is never drawn like one that is: it turns grey, under the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gapless.cli.wording import number
from gapless.errors import NotSynced, printable

if TYPE_CHECKING:
    from gapless.client import Book
    from gapless.core.stats import FeedStats
    from gapless.events import Levels

__all__ = ["Ladder"]

BAR: Final = 24
_AROUND: Final = 6  # lines of the screen that are not levels


class Ladder:
    """What is known of one book, ready to be drawn.

    Args:
        symbol: The instrument.
        depth: Levels of each side at most.
    """

    def __init__(self, symbol: str, depth: int) -> None:
        self._symbol = symbol
        self._depth = depth
        self._bids: Levels = []
        self._asks: Levels = []
        self._proven = False
        self._because = "not connected yet"
        self._stats: FeedStats | None = None

    def look(self, book: Book) -> None:
        """Take in the book as it is now."""
        try:
            bids, asks = book.bids, book.asks
        except NotSynced as error:
            self._proven, self._because = False, error.because
        else:
            self._proven = True
            self._bids, self._asks = bids[: self._depth], asks[: self._depth]
        self._stats = book.stats()

    def render(self, height: int = 40) -> RenderableType:
        """Return the ladder for a terminal of so many lines."""
        levels = max(1, min(self._depth, (height - _AROUND) // 2))
        bids, asks = self._bids[:levels], self._asks[:levels]
        biggest = max((size for _, size in (*bids, *asks)), default=0.0)
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", min_width=12)
        table.add_column(justify="right", min_width=12)
        table.add_column(width=BAR)
        for price, size in reversed(asks):
            table.add_row(*self._row(price, size, biggest, "red"))
        table.add_row(Text(self._spread(), style="bold" if self._proven else "dim"), "", "")
        for price, size in bids:
            table.add_row(*self._row(price, size, biggest, "green"))
        return Group(self._heading(), self._trust(), table, Text("Ctrl-C ends", style="dim"))

    def _row(self, price: float, size: float, biggest: float, colour: str) -> list[Text]:
        style = colour if self._proven else "dim"
        filled = round(BAR * size / biggest) if biggest > 0 else 0
        return [
            Text(number(price), style=style),
            Text(number(size), style="" if self._proven else "dim"),
            Text("█" * max(1, filled) if self._proven else "░" * max(1, filled), style=style),
        ]

    def _spread(self) -> str:
        if not self._bids or not self._asks:
            return "no spread"
        spread = f"spread {number(round(self._asks[0][0] - self._bids[0][0], 10))}"
        return spread if self._proven else f"({spread})"

    def _heading(self) -> Text:
        venue = "" if self._stats is None else f" at {self._stats.venue}"
        return Text(f"{printable(self._symbol)}{venue}", style="bold")

    def _trust(self) -> Text:
        stats = self._stats
        if stats is None:
            return Text("■ NOT PROVEN: not connected yet", style="bold yellow")
        topic = stats.topics[0]
        age = "no data yet" if topic.age_s is None else f"age {topic.age_s:.1f} s"
        facts = f"   {age}   gaps {topic.gaps}   {_lines(stats)}"
        if not self._proven:
            shown = " (greyed: as last proven)" if self._bids or self._asks else ""
            why = printable(topic.because or self._because)
            return Text.assemble((f"■ NOT PROVEN: {why}{shown}", "bold yellow"), facts)
        if topic.trust != "live":
            why = f": {printable(topic.because)}" if topic.because else ""
            return Text.assemble((f"▲ {topic.trust}{why}", "bold yellow"), facts)
        return Text.assemble(("● live", "bold green"), facts)


def _lines(stats: FeedStats) -> str:
    words = []
    for line in stats.lines:
        retry = "" if line.retry_in_s is None else f" again in {line.retry_in_s:.1f} s"
        rtt = "" if line.rtt_ms is None else f" {line.rtt_ms:.1f} ms"
        words.append(f"line {line.line} {line.state}{rtt}{retry}")
    return "   ".join(words)
