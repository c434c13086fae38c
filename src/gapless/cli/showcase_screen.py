"""What ``gapless demo`` shows: a live screen on a terminal, plain lines elsewhere.

Of each step three lines: what happened, what was done, what was lost.  Every line is made to fit
80 columns and is cut rather than wrapped; colour only repeats what words and signs say.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gapless.errors import printable

if TYPE_CHECKING:
    from gapless.cli.showcase import Showcase, Stage, Struck

__all__ = ["Plain", "Screen", "can_show", "done", "lost", "print_score"]

LABEL: Final = "SIMULATED"
FRAMES_PER_S: Final = 4

_NAMED: Final = 3  # steps that were not reached, at most

_GLYPHS: Final = {"live": "●", "syncing": "▲", "stale": "▲", "planned": "▲"}
_ASCII: Final = {"●": "+", "▲": "~", "■": "#", "·": "-", "─": "-"}
_STYLES: Final = {"●": "green", "▲": "yellow", "■": "bold red"}
_WORST: Final = ("live", "planned", "slow", "stale", "frozen", "syncing", "gapped", "blind", "down")
_CAUSES: Final = {
    "ConnectionLost": "connection lost",
    "Stalled": "a ping unanswered",
    "ProtocolViolation": "a broken frame",
    "RateLimited": "told to stay away",
    "DialFailed": "dial failed",
}


def can_show(console: Console) -> bool:
    """Return whether a live screen makes sense there."""
    return console.is_terminal and not console.is_dumb_terminal and console.width >= 60


def _stamp(seconds: float, digits: int = 1) -> str:
    minutes, rest = divmod(round(seconds, digits), 60)
    return f"{int(minutes):02d}:{rest:0{3 + digits if digits else 2}.{digits}f}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


# -- words for one step -------------------------------------------------------------------------


def done(struck: Struck) -> str:
    """Say what the client did about it."""
    words = []
    if struck.noticed_s is not None:
        words.append(f"noticed in {struck.noticed_s:.1f} s ({_why(struck)})")
    if struck.dials:
        failed = max(0, struck.dials - struck.sessions)
        words.append(_count(struck.dials, "dial") + (f", {failed} failed" if failed else ""))
    if struck.rebuilt:
        words.append(f"{_count(struck.rebuilt, 'book')} rebuilt")
    if struck.repeats and not struck.rebuilt:
        words.append(f"{_count(struck.repeats, 'repeat')} held back")
    if struck.carried and struck.over and not struck.lost:
        words.append("the other line had it all")
    if not words:
        return "nothing had to be done" if struck.over else "nothing noticed so far"
    return "; ".join(words)


def _why(struck: Struck) -> str:
    notice = struck.notice
    if notice is None:
        return "the numbers skip"
    match notice.kind:
        case "stalled":
            return "silence, pongs alive"
        case "rotating":
            return "moves before the cut"
        case _:
            name = notice.cause.partition(":")[0]
            return _CAUSES.get(name, printable(notice.cause))


def lost(struck: Struck) -> str:
    """Say what was lost, by the venue's truth, and how long it took to be live again."""
    if not struck.over:
        return "..."
    silent = struck.lost - struck.announced
    if not struck.happened:
        words = "the fault did not happen"
    elif struck.lost == struck.announced == 0:
        words = "hole announced, book rebuilt" if struck.rebuilt and struck.gaps else "nothing lost"
    elif silent == 0:
        words = f"{struck.lost} lost, all announced"
    else:
        words = f"{struck.lost} LOST, {struck.announced} ANNOUNCED"
    if struck.settled_s is None:
        return f"{words}; NOT YET LIVE AGAIN"
    if struck.healed_s is not None:
        return f"{words}; all live again after {struck.healed_s:.1f} s"
    return f"{words}; live all the time"


# -- lines elsewhere ----------------------------------------------------------------------------


class Plain:
    """Lines on stderr.

    Args:
        quiet: Whether to say nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._showcase: Showcase | None = None

    @contextmanager
    def showing(self, showcase: Showcase, duration_s: float, seed: int) -> Iterator[None]:
        """Say what is told while this lasts."""
        self._showcase = showcase
        self._say(
            f"{LABEL}: two exchanges on this machine, {_count(showcase.lines, 'line')} to each, "
            f"seed {seed}, {len(showcase.tour)} faults in {duration_s:.0f} s"
        )
        yield

    def tell(self, kind: str, struck: Struck) -> None:
        """Take what happened; see `gapless.cli.showcase.Showcase`."""
        if kind == "step":
            total = 0 if self._showcase is None else len(self._showcase.tour)
            number = 0 if self._showcase is None else len(self._showcase.struck)
            step = struck.step
            self._say(f"{_stamp(struck.at_s)} {number}/{total} {step.venue}: {step.story}")
        else:
            self._say(f"        done  {done(struck)}")
            self._say(f"        lost  {lost(struck)}")

    def _say(self, line: str) -> None:
        if not self._quiet:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


# -- the live screen ----------------------------------------------------------------------------


class Screen:
    """A live screen: the feeds on top, the steps below.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._showcase: Showcase | None = None
        self._duration_s = 0.0
        self._seed = 0

    @contextmanager
    def showing(self, showcase: Showcase, duration_s: float, seed: int) -> Iterator[None]:
        """Show the run while this lasts; the terminal is left as it was."""
        self._showcase, self._duration_s, self._seed = showcase, duration_s, seed
        with Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=FRAMES_PER_S,
            screen=True,
        ) as live:
            live.refresh()
            yield

    def tell(self, kind: str, struck: Struck) -> None:
        """Take what happened; drawn with the next frame."""

    def render(self) -> Text:
        """Return one frame, of exactly the terminal's size."""
        showcase, width, height = self._showcase, self._console.width, self._console.height
        if showcase is None:
            return Text()
        lines = self._head(showcase, width)
        for stage in list(showcase.stages.values()):
            lines += self._feed(stage)
        lines.append(Text("─" * width, "dim"))
        foot = [Text("Ctrl-C ends the tour and prints the score", "dim")]
        room = max(0, height - len(lines) - len(foot))
        lines += _last([self._step(s, i, width) for i, s in enumerate(showcase.struck, 1)], room)
        lines += [Text()] * (height - len(lines) - len(foot))
        frame = Text("\n").join(self._fitted(line, width) for line in (lines + foot)[:height])
        frame.no_wrap, frame.end = True, ""
        return frame

    def _fitted(self, line: Text, width: int) -> Text:
        if self._console.options.ascii_only:
            plain = "".join(_ASCII.get(char, char) for char in line.plain)
            line = Text(plain, line.style, spans=line.spans)
        line.truncate(width, overflow="crop")
        return line

    def _head(self, showcase: Showcase, width: int) -> list[Text]:
        step = f"fault {len(showcase.struck)} of {len(showcase.tour)}"
        clock = f"{_stamp(showcase.elapsed_s, 0)} of {_stamp(self._duration_s, 0)}"
        left, right = f"gapless demo · {LABEL} · seed {self._seed}", f"{step} · {clock}"
        space = " " * max(1, width - len(left) - len(right))
        channels = "".join(f"{name:<10}" for name in ("trades", "book", "bbo", "ticker"))
        header = f"{'':<13}{channels}{'delivered':>9}{'lost':>6} {'announced':>9}"
        return [Text(left + space + right, "bold"), Text(header, "dim")]

    def _feed(self, stage: Stage) -> list[Text]:
        stats = stage.feed.stats()
        line = Text(f"{stage.venue[:12]:<13}", "bold")
        worst: dict[str, str] = {}
        for topic in stats.topics:
            before = worst.get(topic.channel, "live")
            worst[topic.channel] = max(before, topic.trust, key=_WORST.index)
        for trust in worst.values():
            glyph = _GLYPHS.get(trust, "■")
            line.append(f"{glyph} {trust:<8}", _STYLES[glyph])
        losses = stage.losses
        line.append(f"{stats.delivered:>9}{losses.lost:>6} {losses.announced:>9}", "not bold")
        return [line] if stage.naive is None else [line, _naive(stage)]

    @staticmethod
    def _step(struck: Struck, number: int, width: int) -> list[Text]:
        step = struck.step
        story = f"{number:>2} {_stamp(struck.at_s)}  {step.story}"
        head = Text(f"{story:<{max(0, width - len(step.venue) - 1)}} {step.venue}", "bold yellow")
        if struck.over:
            good = struck.lost == struck.announced and struck.settled_s is not None
            outcome = Text(f"   lost  {lost(struck)}", "green" if good else "bold red")
        else:
            outcome = Text("   lost  ...", "dim")
        return [head, Text(f"   done  {done(struck)}"), outcome]


def _naive(stage: Stage) -> Text:
    naive, losses = stage.naive, stage.naive_losses
    assert naive is not None  # noqa: S101  # asked for only where there is one
    line = Text(f"{'  naive loop':<13}", "dim")
    if losses.unheard:
        words, style = f"hears nothing; {losses.unheard} passed it by", "bold red"
    elif losses.silent:
        words, style = "believes that all is well", "yellow"
    else:
        words, style = "no check, nothing lost yet", "dim"
    line.append(f"{words:<40}", style)
    line.append(f"{len(naive.events):>9}")
    line.append(f"{losses.lost + losses.unheard:>6} ", "bold red" if losses.silent else "")
    line.append(f"{'SILENTLY' if losses.silent else '-':>9}", "bold red" if losses.silent else "")
    return line


def _last(blocks: Sequence[list[Text]], room: int) -> list[Text]:
    """Return the newest blocks that fit whole, oldest first; airy if there is room for it."""
    for gap in ([Text()], []):
        shown: list[Text] = []
        kept = 0
        for block in reversed(blocks):
            more = [*block, *gap]
            if len(shown) + len(more) > room:
                break
            shown, kept = [*more, *shown], kept + 1
        if kept >= min(len(blocks), 4) or not gap:
            return shown
    return []


# -- the score ----------------------------------------------------------------------------------


def print_score(
    result: dict[str, Any], struck: Sequence[Struck], next_steps: Sequence[str], console: Console
) -> None:
    """Print the steps, the score, what it means, and what to try next."""
    for line in _score_lines(result, struck, next_steps):
        console.print(line, soft_wrap=True)


def _score_lines(
    result: dict[str, Any], struck: Sequence[Struck], next_steps: Sequence[str]
) -> Iterator[Text]:
    for each in struck:
        good = each.happened and each.lost == each.announced
        head = f"{_stamp(each.at_s)} {each.step.name:<16}"
        yield Text.assemble(head, (lost(each), "" if good else "bold red"))
    yield Text()
    columns = [("gapless", result)]
    if "naive" in result:
        columns.append(("naive loop", result["naive"]))
    title = f"Scorecard · {LABEL} · seed {result['seed']}"
    yield Text(f"{title:<42}" + "".join(f"{name:>13}" for name, _ in columns), "bold")
    for label, cell in _ROWS:
        yield Text(f"{label:<42}" + "".join(f"{cell(column):>13}" for _, column in columns))
    happened = sum(fault["happened"] for fault in result["faults"])
    yield Text(f"{happened} of {len(result['faults'])} faults happened.")
    yield from _verdict(result)
    yield Text()
    yield Text("Next:")
    for step in next_steps:
        yield Text(f"  {step}")


def _verdict(result: dict[str, Any]) -> Iterator[Text]:
    if not result["faults"]:
        yield Text("Stopped before the first fault: nothing is shown yet.", "bold")
    elif not result["kept"]:
        yield Text(f"THE PROMISE BROKE. Please report seed {result['seed']}.", "bold red")
        if cost := result["lost_to_one_line"]:
            yield Text(f"What struck one line of {result['lines']} cost {_count(cost, 'message')}.")
        if result["stuck"]:
            yield Text("A feed was not well again though it had the time.")
    elif not result["complete"]:
        yield Text("Stopped early; so far the promise held.", "bold green")
    else:
        yield Text("The promise held: whatever was lost was announced.", "bold green")
    if result["faults"] and result["kept"] and result["lines"] > 1:
        yield Text(f"What struck one line of {result['lines']} cost nothing.")
    if result["faults"] and (left := result["not_reached"]):
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        yield Text(f"There was no time for {', '.join(left[:_NAMED])}{more}.")
    if "naive" in result and result["faults"]:
        ours, naive = result["missing"] + result["intervals"]["lost"], result["naive"]
        each = "most" if _silent(result) else "each"
        yield Text(
            f"Through the same faults the naive loop lost {_silent(naive)} messages and said"
        )
        yield Text(
            f"nothing; gapless missed {ours} and announced {each}: only its user knows when not"
        )
        yield Text("to trust what is on the screen.")


def _silent(column: dict[str, Any]) -> int:
    lost = max(0, column["missing"] - column["announced"])
    silent: int = lost + column["intervals"]["lost"] - column["intervals"]["covered"]
    return silent + int(column.get("unheard", 0))


_ROWS: Final[tuple[tuple[str, Callable[[dict[str, Any]], str]], ...]] = (
    ("delivered", lambda c: str(c["delivered"])),
    ("missing by number", lambda c: str(c["missing"])),
    ("  of them announced", lambda c: str(c["announced"])),
    ("lost where numbers do not count", lambda c: str(c["intervals"]["lost"])),
    ("  inside announced intervals", lambda c: str(c["intervals"]["covered"])),
    ("sent after the last one that was heard", lambda c: str(c.get("unheard", 0))),
    ("LOST SILENTLY", lambda c: str(_silent(c))),
    ("delivered twice", lambda c: str(c["duplicated"])),
    ("out of order", lambda c: str(c["misordered"])),
    ("books equal at the end", lambda c: f"{c['books']['equal']} of {c['books']['compared']}"),
    ("dials", lambda c: str(c["dials"])),
)
