"""What ``gapless demo`` shows: a live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gapless.events import Gap, Notice, Resynced

if TYPE_CHECKING:
    from gapless.cli.showcase import Showcase, Struck

__all__ = ["Plain", "Screen", "print_score"]

LABEL: Final = "SIMULATED"
_SHOWN: Final = {"ended", "dialing", "live", "stalled", "rotating", "violation", "refused"}
_GLYPH: Final = {"live": "●", "blind": "■", "gapped": "■", "syncing": "▲", "stale": "▲"}
_STYLE: Final = {"live": "green", "blind": "red", "gapped": "red", "syncing": "yellow"}


def _stamp(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes):02d}:{rest:04.1f}"


class _Teller:
    """Turns what happens into lines; a burst of gaps becomes one line."""

    def __init__(self) -> None:
        self.showcase: Showcase | None = None
        self._gaps: dict[str, tuple[int, int]] = {}

    def line(self, stamp: str, text: str, style: str) -> None:
        """Take one line."""
        raise NotImplementedError

    def tell(self, kind: str, item: object) -> None:
        """Take what happened; see `gapless.cli.showcase.Showcase`."""
        at_s = 0.0 if self.showcase is None else self.showcase.elapsed_s
        if isinstance(item, Gap):
            gaps, missing = self._gaps.get(item.venue, (0, 0))
            self._gaps[item.venue] = gaps + 1, missing + (item.missing or 0)
        elif isinstance(item, Resynced):
            self._flush(at_s, item.venue)
            healed = f"{item.channel} {item.symbol} back after {item.blind_ns / 1e6:.0f} ms"
            if item.channel in {"book", "trades"}:
                self.line(_stamp(at_s), f"  {item.venue}: {healed}, by {item.by}", "green")
        elif isinstance(item, Notice):
            if item.kind in _SHOWN:
                self.line(_stamp(at_s), f"  {item.venue}: {item.kind}: {item.cause}", "dim")
        elif kind == "step":
            self._flush(at_s, "")
            self._step(at_s, item)

    def _step(self, at_s: float, item: object) -> None:
        struck: Struck = item  # type: ignore[assignment]  # a step is always told as this
        self.line(_stamp(at_s), f"FAULT {struck.step.venue}: {struck.step.story}", "bold yellow")

    def _flush(self, at_s: float, venue: str) -> None:
        for name in [name for name in self._gaps if not venue or name == venue]:
            gaps, missing = self._gaps.pop(name)
            counted = f", {missing} numbers counted" if missing else ""
            self.line(_stamp(at_s), f"  {name}: {gaps} gaps announced{counted}", "red")


class Plain(_Teller):
    """Lines on stderr.

    Args:
        quiet: Whether to say nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        super().__init__()
        self._quiet = quiet

    @contextmanager
    def showing(self, showcase: Showcase, duration_s: float, seed: int) -> Iterator[None]:
        self.showcase = showcase
        self.line(_stamp(0), f"{LABEL}: two exchanges on 127.0.0.1, seed {seed}", "")
        self.line(_stamp(0), f"the tour takes {duration_s:.0f} s", "")
        yield

    def line(self, stamp: str, text: str, style: str) -> None:
        del style
        if not self._quiet:
            sys.stderr.write(f"{stamp} {text}\n")
            sys.stderr.flush()


class Screen(_Teller):
    """A live screen: the feeds on top, what happens below."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console()
        self._log: deque[Text] = deque(maxlen=200)
        self._title = ""

    @contextmanager
    def showing(self, showcase: Showcase, duration_s: float, seed: int) -> Iterator[None]:
        self.showcase = showcase
        self._title = f"gapless demo  {LABEL}  seed {seed}  {duration_s:.0f} s"
        with Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=8,
            transient=False,
            screen=False,
        ):
            yield

    def line(self, stamp: str, text: str, style: str) -> None:
        self._log.append(Text.assemble((stamp, "cyan"), " ", (text, style), no_wrap=True))

    def _render(self) -> Panel:
        showcase = self.showcase
        table = Table(expand=True, box=None, pad_edge=False)
        for name in ("", "venue", "channel", "symbol", "trust", "delivered", "gaps", "missing"):
            table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
        rows = 0
        for stage in () if showcase is None else showcase.stages.values():
            for topic in stage.feed.stats().topics:
                style = _STYLE.get(topic.trust, "yellow")
                glyph = Text(_GLYPH.get(topic.trust, "▲"), style)
                counts = (str(n) for n in (topic.delivered, topic.gaps, topic.missing))
                table.add_row(
                    glyph,
                    stage.venue,
                    topic.channel,
                    topic.symbol,
                    Text(topic.trust, style),
                    *counts,
                )
                rows += 1
        room = max(4, self._console.height - rows - 6)
        log = Text("\n").join(list(self._log)[-room:])
        now = "" if showcase is None else _stamp(showcase.elapsed_s)
        return Panel(Group(table, Text(), log), title=f"{self._title}  {now}", title_align="left")


_NUMBERS: Final = {"delivered", "gaps", "missing"}


def print_score(result: dict[str, Any]) -> None:
    """Print the score for people."""
    console = Console(highlight=False)
    console.print()
    console.print(f"[bold]Scorecard[/bold]  {LABEL}, seed {result['seed']}")
    columns = [("gapless", result)]
    if "naive" in result:
        columns.append(("naive loop", result["naive"]))
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name, _ in columns:
        table.add_column(name, justify="right")
    for label, cell in _ROWS:
        table.add_row(label, *(cell(column) for _, column in columns))
    console.print(table)
    faults = result["faults"]
    happened = sum(fault["happened"] for fault in faults)
    console.print(f"{happened} of {len(faults)} scripted faults happened.")
    if result["kept"]:
        console.print("[bold green]The promise held[/bold green]: whatever was lost was announced.")
    else:
        console.print("[bold red]The promise broke.[/bold red]  Please report this seed.")


def _silent(column: dict[str, Any]) -> str:
    lost = max(0, column["missing"] - column["announced"])
    lost += column["intervals"]["lost"] - column["intervals"]["covered"]
    return str(lost)


_ROWS: Final = (
    ("sent by the exchanges", lambda c: str(c["sent"])),
    ("delivered", lambda c: str(c["delivered"])),
    ("missing by number", lambda c: str(c["missing"])),
    ("  of them announced", lambda c: str(c["announced"])),
    ("lost without numbers", lambda c: str(c["intervals"]["lost"])),
    ("  inside announced intervals", lambda c: str(c["intervals"]["covered"])),
    ("lost silently", _silent),
    ("delivered twice", lambda c: str(c["duplicated"])),
    ("out of order", lambda c: str(c["misordered"])),
    ("books equal at the end", lambda c: f"{c['books']['equal']} of {c['books']['compared']}"),
    ("dials", lambda c: str(c["dials"])),
)
