"""``gapless capture``: prove captures, and turn them into other formats."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Final

import click

from gapless.cli import exits
from gapless.cli.nearest import NearestGroup

if TYPE_CHECKING:
    from gapless.capture.records import CaptureDamaged, Record
    from gapless.capture.verifying import Verdict

__all__ = ["command"]

LINES: Final = ".jsonl.gz"
TABLES: Final = ".parquet"
FILES: Final = frozenset({".jsonl", ".json", ".gz", ".zst"})  # of one who wants a file
SAMPLE: Final = 400  # records that tell which venue it is
UNKNOWN: Final = "unknown"  # what a segment names where nobody can tell

_PATH: Final = click.Path(path_type=Path)


@click.group("capture", cls=NearestGroup)
def command() -> None:
    """Verify captures, and convert them."""


# -- verify -------------------------------------------------------------------------------------


@command.command("verify")
@click.argument("files", metavar="FILE|DIR...", nargs=-1, required=True, type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
def verify(files: tuple[Path, ...], as_json: bool) -> int:
    """Prove each FILE, or each segment in DIR: every checksum, the chain, and the order.

    Exit code 0 if all is whole, 65 if anything is not: the place is named, and how much is whole.
    """
    from gapless.capture.records import CaptureDamaged
    from gapless.capture.verifying import verify as verdicts

    code = exits.FINE
    for path in files:
        try:
            for verdict in verdicts(path):
                click.echo(_as_json(verdict) if as_json else _as_text(verdict), nl=not as_json)
                code = code if verdict.whole else exits.DAMAGED
        except CaptureDamaged as damage:
            exits.say(str(damage))
            code = exits.DAMAGED
    return code


def _as_text(verdict: Verdict) -> str:
    from gapless.errors import printable

    span = ""
    if verdict.first_ns is not None and verdict.last_ns is not None:
        span = f", {_time(verdict.first_ns)} to {_time(verdict.last_ns)}"
    blocks = f" in {verdict.blocks} blocks" if verdict.kind == "segment" else ""
    found = f"{verdict.records} records{blocks}{span}"
    if verdict.stopped is not None:
        found += f"; RECORDING STOPPED EARLY: {printable(verdict.stopped)}"
    if verdict.damage is not None:
        lost = f", {verdict.beyond_bytes} bytes behind them" if verdict.beyond_bytes else ""
        place = f" at {verdict.damage.place}" if verdict.damage.place else ""
        return f"{verdict.path}: DAMAGED{place}: {verdict.damage.detail} ({found}{lost})"
    if verdict.unordered:
        return f"{verdict.path}: OUT OF ORDER: {verdict.unordered} messages ({found})"
    return f"{verdict.path}: whole ({found})"


def _as_json(verdict: Verdict) -> str:
    from gapless.cli.ndjson import json_line

    damage = verdict.damage
    return json_line(
        {
            "type": "verified",
            "file": str(verdict.path),
            "kind": verdict.kind,
            "whole": verdict.whole,
            "venue": verdict.venue,
            "records": verdict.records,
            "blocks": verdict.blocks,
            "bytes": verdict.bytes,
            "beyond_bytes": verdict.beyond_bytes,
            "first_ns": verdict.first_ns,
            "last_ns": verdict.last_ns,
            "unordered": verdict.unordered,
            "stopped": verdict.stopped,
            "place": None if damage is None else damage.place,
            "damage": None if damage is None else damage.detail,
        }
    ).decode()


def _time(ns: int) -> str:
    with contextlib.suppress(OverflowError, ValueError, OSError):
        return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}"
    return f"{ns} ns"


# -- convert ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Source:
    """A capture that is read once, and what came of it."""

    path: Path
    count: int = 0
    damage: CaptureDamaged | None = None

    def records(self) -> Iterator[Record]:
        """Yield what can be read; damage ends it, and is kept."""
        from gapless.capture.reader import CaptureDamaged, open_capture

        try:
            for record in open_capture(self.path):
                self.count += 1
                yield record
        except CaptureDamaged as damage:
            self.damage = damage


@command.command("convert")
@click.argument("source", metavar="SRC", type=_PATH)
@click.argument("target", metavar="DST", type=_PATH)
@click.option(
    "--to",
    type=click.Choice(("segments", "lines", "parquet")),
    help="Format of DST.  By default its name says: *.jsonl.gz is lines, *.parquet a folder of "
    "Parquet tables, anything else a folder of segments.",
)
@click.option("--venue", metavar="NAME", help="Whose traffic it is, where SRC does not say.")
def convert(source: Path, target: Path, to: str | None, venue: str | None) -> int:
    """Convert the capture SRC into DST, which must not exist yet.

    Lines and segments hold the same, and become each other without loss.  Parquet tables hold
    what the venue's codec and streams make of it: trades, bbo, book_deltas and gaps.  Of a
    capture that is damaged everything before the damage is converted; the exit code is then 65.
    """
    from gapless.capture.reader import CaptureDamaged, segments_of

    try:
        segments_of(source)  # before anything is made
    except CaptureDamaged as damage:
        raise exits.Failure(exits.DAMAGED, str(damage)) from damage
    wanted = to or _format_of(target)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise click.UsageError(f"{target} exists already")
    reading = _Source(source)
    try:
        if wanted == "lines":
            said = _to_lines(reading, target)
        elif wanted == "segments":
            said = _to_segments(reading, target, venue)
        else:
            said = _to_tables(reading, target, venue)
    except OSError as error:
        words = error.strerror or str(error)
        raise exits.Failure(exits.CANNOT_WRITE, f"cannot write {target}: {words}") from error
    exits.say(f"{reading.count} records: {said}")
    if reading.damage is not None:
        exits.say(f"DAMAGED: {reading.damage}; what stands before it was converted")
        return exits.DAMAGED
    return exits.FINE


def _format_of(target: Path) -> str:
    if target.name.endswith(LINES):
        return "lines"
    if target.suffix in FILES:
        raise click.UsageError(
            f"{target} is no name for a folder of segments; lines end in {LINES}, or say --to"
        )
    return "parquet" if target.name.endswith(TABLES) else "segments"


def _to_lines(reading: _Source, target: Path) -> str:
    from gapless.capture.jsonl import write_lines

    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        write_lines(file, reading.records())
    return f"{target.stat().st_size} bytes in {target}"


def _to_segments(reading: _Source, target: Path, venue: str | None) -> str:
    from gapless.capture.format import Stored
    from gapless.capture.reader import venue_of
    from gapless.capture.writer import CaptureWriter

    name = _checked(venue) if venue is not None else venue_of(reading.path)
    if name is None:
        found = _fitting(reading.path)
        name = found[0] if len(found) == 1 else UNKNOWN
    capture = f"{SystemRandom().getrandbits(64):016x}"
    writer = CaptureWriter(target, name, capture, time.time_ns(), fsync="close")
    now_ns = time.time_ns()  # one time for all: only size ends a block here
    for record in reading.records():
        writer.add((Stored.of(record),), now_ns)
    writer.close(now_ns)
    return f"{writer.bytes} bytes in {writer.segments} segments in {target}"


def _to_tables(reading: _Source, target: Path, venue: str | None) -> str:
    from gapless.inspection.inspector import Inspector
    from gapless.venues._registry import load

    try:
        from gapless.capture.tables import Tables
    except ImportError as error:
        raise click.UsageError("Parquet needs pyarrow: install gapless[data]") from error
    profile = load(_told(reading.path, venue))
    inspector = Inspector(profile, tell=True)
    about = {"gapless.venue": profile.name, "gapless.source": reading.path.name}
    with Tables(target, about) as tables:
        for record in reading.records():
            inspector.feed(record)
            inspector.needs.clear()
            while inspector.delivered:
                tables.add(inspector.delivered.popleft())
        inspector.finish()
        while inspector.delivered:
            tables.add(inspector.delivered.popleft())
    rows = ", ".join(f"{count} {name}" for name, count in tables.rows.items())
    return f"{rows} in {target}" + (
        f"; {inspector.undecoded} frames were not understood" if inspector.undecoded else ""
    )


def _checked(venue: str) -> str:
    from gapless.venues._registry import load

    return load(venue).name


def _told(path: Path, venue: str | None) -> str:
    """Return whose traffic it is: as said, as the capture says, or as its frames show."""
    from gapless.capture.reader import venue_of
    from gapless.venues._registry import names

    if venue is not None:
        return venue
    said = venue_of(path)
    if said is not None and said in names():
        return said
    found = _fitting(path)
    if len(found) != 1:
        near = ", ".join(found or names())
        raise click.UsageError(f"{path} does not tell its venue; say --venue, one of: {near}")
    return found[0]


def _fitting(path: Path) -> list[str]:
    """Return the venues whose traffic it may be, as its frames show."""
    from itertools import islice

    from gapless.inspection.telling import fitting
    from gapless.venues._registry import load, names

    sample = list(islice(_Source(path).records(), SAMPLE))
    profiles = [load(name) for name in names()]
    return [profile.name for profile in fitting(sample, path.resolve().parent.name, profiles)]
