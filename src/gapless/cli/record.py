"""``gapless record``: keep what comes over the wire, in a form that can be proven."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

import click

from gapless.cli import exits
from gapless.cli.connecting import Connecting, connecting_options
from gapless.cli.finite import FiniteRange
from gapless.cli.running import Stop, run

if TYPE_CHECKING:
    from gapless.capture.recorder import Recorder
    from gapless.client import Feed
    from gapless.core.stats import FeedStats

__all__ = ["command"]

SHOWN_S: Final = 0.5
FSYNC: Final = ("block", "close", "never")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What was asked for, as click hands it over."""

    venue: str
    channel: str
    symbols: tuple[str, ...]
    folder: Path
    fsync: str
    segment_mib: float
    segment_s: float


@click.command("record")
@click.argument("venue")
@click.argument("channel")
@click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the segments; made if it is not there, readable by its owner only.",
)
@click.option(
    "--fsync",
    type=click.Choice(FSYNC),
    default="block",
    show_default=True,
    help="When to force what was written onto the disk: after every block (at most one a second "
    "or a MiB), when a segment ends, or never.",
)
@click.option(
    "--segment-mib",
    type=FiniteRange(0.01, 1 << 20),
    default=256.0,
    show_default=True,
    metavar="N",
    help="Begin a new segment after so many MiB.",
)
@click.option(
    "--segment-s",
    type=FiniteRange(1, 10_000_000),
    default=3600.0,
    show_default=True,
    metavar="N",
    help="Begin a new segment after so many seconds.",
)
@connecting_options
def command(
    venue: str,
    channel: str,
    symbols: tuple[str, ...],
    folder: Path,
    fsync: str,
    segment_mib: float,
    segment_s: float,
    **given: Any,
) -> int:
    """Record CHANNEL of VENUE for each SYMBOL: every frame of both directions, and REST.

    CHANNEL is as for tail.  Ends with a summary after --for, SIGINT or SIGTERM.  The exit code is
    0 if any session went live and everything was written, 69 if none went live, and 74 if
    recording stopped early, because the disk was full or too slow; the feed goes on meanwhile.
    """
    wanted = _Wanted(
        venue=venue,
        channel=channel,
        symbols=symbols,
        folder=folder,
        fsync=fsync,
        segment_mib=segment_mib,
        segment_s=segment_s,
    )
    connecting = Connecting(**given)
    with Stop() as stop:
        return run(lambda stop: _record(wanted, connecting, stop), stop, connecting.for_s)


async def _record(wanted: _Wanted, connecting: Connecting, stop: Stop) -> int:
    from gapless import __version__
    from gapless.capture.recorder import Recorder
    from gapless.capture.writer import CaptureWriter, WriterLimits
    from gapless.cli.following import exit_code
    from gapless.client import Feed
    from gapless.io.runtime import system_runtime
    from gapless.planning import Subscription, assemble

    options = connecting.options()
    plan = assemble(wanted.venue, [Subscription(wanted.channel, wanted.symbols)], options)
    try:
        writer = CaptureWriter(
            wanted.folder,
            plan.profile.name,
            f"{SystemRandom().getrandbits(64):016x}",
            time.time_ns(),
            limits=WriterLimits(
                segment_bytes=int(wanted.segment_mib * (1 << 20)),
                segment_ns=int(wanted.segment_s * 1e9),
            ),
            fsync=wanted.fsync,  # type: ignore[arg-type]  # click checked it
        )
    except OSError as error:
        raise exits.Failure(
            exits.CANNOT_WRITE, f"cannot write to {wanted.folder}: {error.strerror}"
        ) from error
    recorder = Recorder(writer, on_stopped=_said_once)
    about = {
        "gapless": __version__,
        "venue": plan.profile.name,
        "channel": wanted.channel,
        "symbols": wanted.symbols,
        "lines": connecting.lines,
    }
    recorder.note("started", about, time.monotonic_ns(), time.time_ns())
    began_s = time.monotonic()
    feed: Feed[object] = Feed(plan, replace(options, runtime=system_runtime(recorder)))
    try:
        stats = await _follow(feed, recorder, stop, began_s)
    finally:
        await recorder.close()
    summary = _Summary(stats, recorder, wanted, time.monotonic() - began_s)
    click.echo(summary.line() if connecting.json else summary.text(), nl=not connecting.json)
    code = exit_code(stats, stop)
    return exits.CANNOT_WRITE if recorder.stopped is not None and not code else code


def _said_once(reason: str) -> None:
    exits.say(f"RECORDING STOPPED: {reason}; the feed goes on")


async def _follow(feed: Feed[object], recorder: Recorder, stop: Stop, began_s: float) -> FeedStats:
    """Consume the feed until ``stop``; return its last counters."""
    progress = _Progress(feed, recorder, began_s)
    async with feed:
        consume = asyncio.create_task(_consume(feed))
        show = asyncio.create_task(progress.show())
        wait = asyncio.create_task(stop.wait())
        await asyncio.wait((consume, wait), return_when=asyncio.FIRST_COMPLETED)
        wait.cancel()
        show.cancel()
    progress.clear()
    progress.talk()
    with contextlib.suppress(asyncio.CancelledError):
        await consume  # raises what ended the feed by itself
    return feed.stats()


async def _consume(feed: Feed[object]) -> None:
    async for _ in feed:
        pass


class _Progress:
    """One line on a terminal, and what goes wrong."""

    def __init__(self, feed: Feed[object], recorder: Recorder, began_s: float) -> None:
        self._feed = feed
        self._recorder = recorder
        self._began_s = began_s
        self._terminal = sys.stderr.isatty()
        self._noticed = 0
        self._frames = 0
        self._shown_s = began_s

    async def show(self) -> None:
        while True:
            await asyncio.sleep(SHOWN_S)
            self.talk()
            if self._terminal:
                self._write(f"\r\x1b[K{self.line(time.monotonic())}")

    def line(self, now_s: float) -> str:
        """Return what has been recorded, and how fast."""
        recorder = self._recorder
        rate = (recorder.frames_in - self._frames) / max(now_s - self._shown_s, 1e-9)
        self._frames, self._shown_s = recorder.frames_in, now_s
        lost = f"  LOST {recorder.lost}" if recorder.stopped else ""
        return (
            f"{now_s - self._began_s:7.0f} s  {recorder.frames_in} frames  {rate:.0f}/s  "
            f"{recorder.written_bytes / 1e6:.1f} MB  {self._feed.stats().gaps} gaps{lost}"
        )

    def talk(self) -> None:
        """Say what was noticed since the last time."""
        from gapless.cli.following import talk

        for notice in self._feed.notices(after=self._noticed):
            self._noticed = notice.number
            self.clear()
            talk(notice)

    def clear(self) -> None:
        if self._terminal:
            self._write("\r\x1b[K")

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


class _Summary:
    """What was recorded."""

    def __init__(
        self, stats: FeedStats, recorder: Recorder, wanted: _Wanted, seconds: float
    ) -> None:
        self._stats = stats
        self._recorder = recorder
        self._wanted = wanted
        self._seconds = seconds

    def line(self) -> str:
        from gapless.cli.ndjson import json_line

        stats, recorder = self._stats, self._recorder
        return json_line(
            {
                "type": "recorded",
                "venue": stats.venue,
                "folder": str(self._wanted.folder),
                "seconds": round(self._seconds, 3),
                "frames_in": recorder.frames_in,
                "frames_out": recorder.frames_out,
                "exchanges": recorder.exchanges,
                "records": recorder.records,
                "bytes": recorder.written_bytes,
                "segments": recorder.segments,
                "lost": recorder.lost,
                "stopped": recorder.stopped,
                "gaps": stats.gaps,
                "missing": stats.missing,
                "dials": stats.dials,
                "sessions": stats.sessions,
            }
        ).decode()

    def text(self) -> str:
        stats, recorder = self._stats, self._recorder
        lost = "" if recorder.stopped is None else f"\nLOST {recorder.lost}: {recorder.stopped}"
        return (
            f"{recorder.frames_in} frames in, {recorder.frames_out} out, {recorder.exchanges} REST "
            f"exchanges in {self._seconds:.1f} s; {stats.sessions} sessions, {stats.gaps} gaps\n"
            f"{recorder.records} records, {recorder.written_bytes} bytes in "
            f"{recorder.segments} segments in {self._wanted.folder}{lost}"
        )
