"""``gapless inspect``: what is in a capture, topic by topic, and what is provably missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from gapless.cli import exits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import IO, Protocol

    from gapless.capture.records import Record
    from gapless.inspection.books import Literal
    from gapless.inspection.inspector import Inspector
    from gapless.inspection.report import Damage, FileFound, Removed
    from gapless.venues._profile import Profile

    class Progress(Protocol):
        """Is told how many records were read."""

        def __call__(self, count: int) -> None: ...


__all__ = ["command"]

PROGRESS_EVERY: Final = 4096


@click.command("inspect")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--venue", metavar="NAME", help="Which venue it is; found out by default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each file.")
@click.option("--books", type=click.Path(dir_okay=False), metavar="OUT", help="Write final books.")
@click.option("--topic", metavar="TEXT", help="Report only topics with this in their name.")
@click.option(
    "--around",
    type=click.IntRange(min=0),
    metavar="N",
    help="Show N frames before and after each break, decoded (at most 100).",
)
@click.option(
    "--explain", type=click.IntRange(min=1), metavar="N", help="Say why frame N was judged so."
)
@click.option(
    "--drop", type=click.IntRange(min=1), metavar="N", help="Leave out N random data frames first."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which frames are left out.")
def command(files: tuple[str, ...], as_json: bool, **given: Any) -> int:
    """Examine captures: continuity, checksums, books, requests, silences.

    Ends with 0 if nothing is wrong, 3 if there are breaks, failed checksums or broken books, and
    65 if a capture is damaged; everything before the damage is reported.
    """
    import os

    import msgspec

    from gapless.cli.findings import show, show_totals
    from gapless.errors import printable
    from gapless.inspection.report import Totals, total

    for file in files:
        if not os.path.exists(file):
            raise exits.Failure(exits.DAMAGED, f"{printable(file)}: there is no such file")
    examination = _Examination(**given)
    found: list[FileFound] = []
    listed = 0
    for file in files:
        one = examination.examine(file)
        listed += len(one.topics)
        if as_json:
            click.echo(msgspec.json.encode(one))
        else:
            show(one)
        one.topics, one.around, one.explained = [], None, None  # only the sums are still needed
        found.append(one)
    sums: Totals = total(found)
    if len(files) > 1:
        if as_json:
            click.echo(msgspec.json.encode({"files": len(files), "totals": sums}))
        else:
            show_totals(len(files), sums)
    for one in found:
        if one.damaged is not None:
            exits.say(f"{one.file} is damaged at {one.damaged.place}: {one.damaged.detail}")
    if sums.damaged:
        return exits.DAMAGED
    topic = given["topic"]
    if topic is not None and not listed:  # nothing was looked at, which must not pass for clean
        raise click.UsageError(f"no topic has {printable(topic)!r} in its name")
    return exits.FINDINGS if sums.findings else exits.FINE


class _Examination:
    """What was asked for, applied to one file after the other."""

    def __init__(
        self,
        venue: str | None,
        books: str | None,
        topic: str | None,
        around: int | None,
        explain: int | None,
        drop: int | None,
        seed: int,
    ) -> None:
        from gapless.venues._registry import load

        self._profile = None if venue is None else load(venue)
        self._books = books
        self._topic = topic
        self._around = around
        self._explain = explain
        self._drop = drop
        self._seed = seed
        self._written = False

    def examine(self, file: str) -> FileFound:
        """Return what is in a file.

        Raises:
            UsageError: Its venue cannot be told.
        """
        from gapless.inspection.books import Literal
        from gapless.inspection.report import report

        reading = _Reading(file, self._profile)
        with _progress(file) as told:
            removed = self._remove(reading, told)
            literal: Literal | None = None
            inspector = reading.inspector(tell=bool(self._books))
            if self._books:
                literal = Literal(inspector)
            damaged = _read(reading, inspector, literal, told)
        found = report(inspector, file, topic=self._topic, damaged=damaged, dropped=removed)
        if literal is not None:
            self._write(literal, file)
        if self._around is not None:
            self._show_around(reading, found)
        if self._explain is not None:
            found.explained = self._say_why(reading)
        return found

    def _remove(self, reading: _Reading, told: Progress) -> Removed | None:
        if self._drop is None:
            return None
        from gapless.inspection.dropping import Lot
        from gapless.inspection.report import Removed

        lot = Lot(reading.inspector(), self._drop, self._seed)
        for record in reading.records():
            lot.feed(record)
            if record.number % PROGRESS_EVERY == 0:
                told(record.number)
        drawn = lot.drawn()
        reading.without = frozenset(one.frame for one in drawn)
        return Removed(self._seed, drawn)

    def _show_around(self, reading: _Reading, found: FileFound) -> None:
        from gapless.inspection.around import Around, places_in

        around = Around(reading.inspector(), places_in(found), self._around or 0)
        for record in reading.records():
            around.feed(record)
        found.around = around.shown()

    def _say_why(self, reading: _Reading) -> list[str]:
        from gapless.inspection.words import Explainer

        frame = self._explain or 0
        if frame in reading.without:
            return [f"frame {frame} was left out, by --drop"]
        explainer = Explainer(reading.inspector(tell=True))
        for record in reading.records():
            if record.number == frame:
                return explainer.explain(record)
            explainer.feed(record)
        return [f"there is no frame {frame}"]

    def _write(self, literal: Literal, file: str) -> None:
        import msgspec

        with open(self._books or "", "ab" if self._written else "wb") as out:
            for book in literal.final(file):
                out.write(msgspec.json.encode(book) + b"\n")
        self._written = True


class _Reading:
    """One file, which may be read several times.

    Raises:
        UsageError: Its venue was not said and cannot be told.
    """

    def __init__(self, file: str, profile: Profile | None) -> None:
        self.file = file
        self.without: frozenset[int] = frozenset()
        self.damaged: Damage | None = None
        self._others: list[Profile] = []
        self._profile = self._tell() if profile is None else profile

    def inspector(self, *, tell: bool = False) -> Inspector:
        """Return a fresh one for this file; see `Inspector` for the argument."""
        from gapless.inspection.inspector import Inspector

        return Inspector(self._profile, self._others, texts=tell, tell=tell)

    def records(self) -> Iterator[Record]:
        """Yield the records up to where the file is damaged, if it is."""
        from gapless.capture.reader import CaptureDamaged, open_capture
        from gapless.errors import printable
        from gapless.inspection.report import Damage

        without = self.without
        try:
            if not without:
                yield from open_capture(self.file)
            else:
                for record in open_capture(self.file):
                    if record.number not in without:
                        yield record
        except CaptureDamaged as damage:
            self.damaged = Damage(damage.place or "its start", printable(damage.detail))

    def _tell(self) -> Profile:
        from contextlib import suppress
        from itertools import islice
        from pathlib import Path

        from gapless.capture.reader import CaptureDamaged, venue_of
        from gapless.errors import UsageError, printable
        from gapless.inspection.telling import SAMPLE_FRAMES, fitting
        from gapless.venues._registry import load, names

        said = None
        with suppress(CaptureDamaged):  # reading it says so again, and more
            said = venue_of(self.file)
        sample = list(islice(self.records(), SAMPLE_FRAMES))
        if not sample and self.damaged is not None:
            raise exits.Failure(
                exits.DAMAGED, f"{printable(self.file)} is damaged: {self.damaged.detail}"
            )
        folder = Path(self.file).resolve().parent.name
        known = [load(name) for name in names()]
        found = fitting(sample, folder, known, said)
        if len(found) == 1:
            self._others = known
            return found[0]
        candidates = ", ".join(profile.name for profile in found) or ", ".join(names())
        fits = "several venues fit" if found else "no venue fits"
        raise UsageError(
            f"{printable(self.file)}: {fits}; say which with --venue, one of {candidates}"
        )


def _read(
    reading: _Reading, inspector: Inspector, literal: Literal | None, told: Progress
) -> Damage | None:
    feed = inspector.feed
    for record in reading.records():
        feed(record)
        if literal is not None:
            literal.take()
        if record.number % PROGRESS_EVERY == 0:
            told(record.number)
    inspector.finish()
    if literal is not None:
        literal.take()
    return reading.damaged


def _progress(file: str) -> AbstractContextManager[Progress]:
    """Return a bar on the terminal, or nothing where there is none."""
    import sys
    from contextlib import contextmanager

    @contextmanager
    def nothing() -> Iterator[Progress]:
        yield lambda count: None

    @contextmanager
    def bar() -> Iterator[Progress]:
        from pathlib import Path

        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from gapless.errors import printable

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:,} frames", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(printable(Path(file).name), total=None)
            yield lambda count: progress.update(task, completed=count)

    stream: IO[str] = sys.stderr
    return bar() if stream.isatty() else nothing()
