"""What an inspection found, for people: the worst first, and nothing without bounds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from gapless.cli.wording import wants_colour
from gapless.errors import printable

if TYPE_CHECKING:
    from gapless.inspection.report import FileFound, TopicFound, Totals

__all__ = ["BREAKS_SHOWN", "ROWS_SHOWN", "show", "show_totals"]

ROWS_SHOWN: Final = 40
BREAKS_SHOWN: Final = 20
FEW_SHOWN: Final = 5

HEADS: Final = (
    "topic",
    "frames",
    "a second",
    "checked",
    "breaks",
    "twice",
    "late",
    "checksums",
    "book",
    "silent for",
)

KEPT: Final = ("topic", "frames", "checked", "breaks")
LEFT_OUT_FIRST: Final = ("a second", "silent for")  # where a terminal is too narrow for all


def show(found: FileFound) -> None:
    """Print what was found in one file."""
    frames = found.frames
    click.echo(
        f"{found.file}: {found.venue}, {frames.incoming} frames in, {frames.out} out, "
        f"{frames.rest} REST, {found.span_s:.1f} s, {_count(found.connections, 'connection')}"
    )
    if found.dropped is not None:
        dropped = found.dropped.frames
        shown = ", ".join(str(one.frame) for one in dropped[:BREAKS_SHOWN])
        more = _more(len(dropped), BREAKS_SHOWN)
        click.echo(f"  left out {_count(len(dropped), 'frame')}: {shown}{more}")
    _show_table(sorted(found.topics, key=_badness, reverse=True))
    _show_breaks(found)
    _show_rest(found)
    _show_totals(found.totals)
    for place in found.around or ():
        click.echo(f"  about frame {place.frame} of {place.topic}: {place.what}")
        for line in place.lines:
            click.echo(f"    {line}")
    if found.around == []:
        click.echo("  no break to show the frames about")
    for line in found.explained or ():
        click.echo(f"  {line}")


def show_totals(files: int, sums: Totals) -> None:
    """Print the sums over several files."""
    frames = sums.frames
    click.echo(f"{files} files: {frames.incoming} frames in, {frames.out} out, {frames.rest} REST")
    _show_totals(sums)


def _show_totals(sums: Totals) -> None:
    book = sums.book
    words = (
        f"  {sums.checked} checked, {sums.breaks} breaks, {sums.duplicates} duplicates, "
        f"{sums.out_of_order} out of order; "
        f"{sums.checksums.checked} checksums, {sums.checksums.failed} failed; "
        f"books: {book.synced} synced, {book.broken} broken, {book.syncing} without a snapshot"
    )
    click.echo(words)
    clean = not sums.findings and not sums.damaged
    verdict = "no finding" if clean else _count(sums.findings, "finding")
    if sums.damaged:
        verdict += ", and the capture is damaged"
    click.echo(f"  {_style(verdict, 'green' if clean else 'red')}")


def _show_table(topics: list[TopicFound]) -> None:
    rows = [(_row(topic), bool(topic.wrong)) for topic in topics[:ROWS_SHOWN]]
    if not rows:
        return
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console(highlight=False, no_color=not wants_colour())
        shown = _fitting([row for row, _ in rows], console.width)
        table = Table(box=None, pad_edge=False, padding=(0, 1))
        for place in shown:
            table.add_column(HEADS[place], justify="right" if place else "left", overflow="fold")
        for row, wrong in rows:
            style = "bold red" if wrong else ""
            table.add_row(*(Text(row[place], style=style) for place in shown))
        console.print(table)
    else:
        cells = [HEADS, *(row for row, _ in rows)]
        widths = [max(len(row[place]) for row in cells) for place in range(len(HEADS))]
        for row in cells:
            line = f"{row[0]:{widths[0]}}" + "".join(
                f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)
            )
            click.echo(f"  {line}".rstrip())
    if len(topics) > ROWS_SHOWN:
        rest = topics[ROWS_SHOWN:]
        found = sum(bool(topic.wrong) for topic in rest)
        click.echo(f"  and {len(rest)} topics more, {found} of them with findings (see --json)")


def _fitting(rows: list[tuple[str, ...]], width: int) -> list[int]:
    """Return which columns to show on a terminal: names that are folded cannot be read."""
    shown = list(range(len(HEADS)))
    widths = [max(len(row[place]) for row in (HEADS, *rows)) for place in shown]
    nothing = [place for place in shown if all(row[place] in ("-", "0") for row in rows)]
    for place in (*nothing, *map(HEADS.index, LEFT_OUT_FIRST)):
        if sum(widths[one] + 2 for one in shown) - 2 <= width:
            break
        if place in shown and HEADS[place] not in KEPT:
            shown.remove(place)
    return shown


def _row(topic: TopicFound) -> tuple[str, ...]:
    checksums, book = topic.checksums, topic.book
    state = "-"
    if book is not None:
        crossed = f", crossed {book.crossed}" if book.crossed else ""
        state = f"{book.state}, {_count(book.levels, 'level')}{crossed}"
    return (
        topic.topic + (" (refused)" if topic.refused else ""),
        str(topic.frames),
        "-" if topic.rate is None else f"{topic.rate:.1f}",
        str(topic.checked),
        str(topic.broken),
        str(topic.duplicates),
        str(topic.out_of_order),
        f"{checksums.checked - checksums.failed}/{checksums.checked}" if checksums.checked else "-",
        state,
        f"{topic.silence_s:.2f} s" if topic.silence_s else "-",
    )


def _show_breaks(found: FileFound) -> None:
    lines = [
        (
            one.frame,
            f"frame {one.frame}: {topic.topic} expected {one.expected}, got {one.got} "
            f"(before it: frame {one.previous})",
        )
        for topic in found.topics
        for one in topic.breaks
    ]
    lines += [
        (frame, f"frame {frame}: the checksum of {topic.topic} does not agree")
        for topic in found.topics
        for frame in topic.checksums.frames
    ]
    for _, line in sorted(lines)[:BREAKS_SHOWN]:
        click.echo(f"  {_style(line, 'red')}")
    if len(lines) > BREAKS_SHOWN:
        click.echo(f"  and {len(lines) - BREAKS_SHOWN} breaks more (see --json)")


def _show_rest(found: FileFound) -> None:
    if found.undecoded:
        click.echo(f"  undecoded: {_count(found.undecoded, 'frame')}")
        kinds = sorted(found.undecoded_channels, key=lambda one: -one.count)
        for kind in kinds[:FEW_SHOWN]:
            click.echo(
                f"    {kind.count} of {kind.what}, such as frame {kind.frame}: {kind.example[:60]}"
            )
        if len(kinds) > FEW_SHOWN:
            click.echo(f"    and {len(kinds) - FEW_SHOWN} kinds more")
    requests = found.requests
    if requests.sent:
        took = ""
        if requests.ack_ms_mean is not None:
            took = (
                f", after {requests.ack_ms_least:.1f} to {requests.ack_ms_most:.1f} ms "
                f"({requests.ack_ms_mean:.1f} on average)"
            )
        click.echo(
            f"  requests: {requests.sent} sent, {requests.answered} answered{took}, "
            f"{requests.unanswered} without an answer"
        )
    for refused in requests.refused[:FEW_SHOWN]:
        names = ", ".join(printable(topic) for topic in refused.topics[:FEW_SHOWN]) or "a request"
        more = _more(len(refused.topics), FEW_SHOWN)
        click.echo(
            f"  refused in frame {refused.frame}: {names}{more}: {refused.code} {refused.detail}"
        )
    if requests.refusals > FEW_SHOWN:
        click.echo(f"  and {requests.refusals - FEW_SHOWN} refusals more")
    if found.damaged is not None:
        words = f"damaged at {found.damaged.place}: {found.damaged.detail}"
        click.echo(f"  {_style(words, 'red')}")


def _badness(topic: TopicFound) -> tuple[int, int, int, int, float]:
    book = topic.book
    untidy = topic.duplicates + topic.out_of_order + topic.refused
    crossed = 0 if book is None else book.crossed
    unsynced = int(book is not None and book.state != "synced")
    return topic.wrong, untidy, crossed, unsynced, topic.silence_s


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _more(count: int, shown: int) -> str:
    return f" and {count - shown} more" if count > shown else ""


def _style(text: str, colour: str) -> str:
    return click.style(text, fg=colour) if wants_colour() else text
