"""Replacements that somebody waits for, and the proof that a successor overlaps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gapless.core.rotation import Laggards
from gapless.core.stream import Moment, Stream
from gapless.core.subscriptions import Wish
from gapless.core.supervisor import LineState, Supervisor
from gapless.errors import GaplessError, TransportError, UsageError
from gapless.io.driver import Driver

__all__ = ["Rotations"]

LOOK_NS: Final = 5_000_000_000
"""How often the lines' lateness is compared, in nanoseconds; over that time it is averaged."""


@dataclass(slots=True)
class _Wait:
    line: str
    before: int  # the session that is to be replaced
    done: asyncio.Future[None]


class Rotations:
    """Serves `Feed.rotate`, and tells the supervisor when a successor overlaps.

    Args:
        supervisor: Keeps the lines.
        drivers: The sessions at work, by epoch.
        streams: By topic.
        mono_ns: The monotonic time.
        wake: Has the supervisor asked what to do.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        drivers: Mapping[int, Driver],
        streams: Mapping[str, Stream],
        mono_ns: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._drivers = drivers
        self._streams = streams
        self._mono_ns = mono_ns
        self._wake = wake
        self._waits: list[_Wait] = []
        self._laggards = Laggards()
        self._raced: dict[str, tuple[int, int]] = {}  # races of each line so far, and lateness
        self._look_ns = 0
        supervisor.overlaps = self.overlaps
        supervisor.brings_nothing = self.brings_nothing

    def overlaps(self, epoch: int) -> bool:
        """Whether a session carries on in every topic that it was granted."""
        driver = self._drivers.get(epoch)
        if driver is None:
            return True
        return all(
            self._streams[topic].overlaps(epoch)
            for topic in driver.session.subscriptions.having(Wish.CONFIRMED)
            if topic in self._streams
        )

    def brings_nothing(self, epoch: int) -> bool:
        """Whether a session has brought no data of topics that others have brought meanwhile."""
        driver = self._drivers.get(epoch)
        if driver is None or driver.frames:
            return False
        for topic in driver.session.subscriptions.having(Wish.CONFIRMED):
            stream = self._streams.get(topic)
            source = None if stream is None else stream.sources.get(epoch)
            newest = None if stream is None else stream.newest
            if source is not None and newest is not None and newest.mono_ns > source.attached_ns:
                return True
        return False

    def retiring(self, driver: Driver, now: Moment) -> None:
        """Note that a session is retired as planned; what is under way is still delivered."""
        for topic in driver.origins:
            if topic in self._streams:
                self._streams[topic].hand_over(driver.epoch, now)

    def slow(self, now_ns: int) -> list[tuple[Driver, str]]:
        """Return the sessions of lines that have been slower than a sibling for long, and why."""
        if now_ns < self._look_ns:
            return []
        self._look_ns = now_ns + LOOK_NS
        lateness_ns: dict[str, int] = {}
        stream = next(iter(self._streams.values()), None)
        for line, race in ({} if stream is None else stream.races.lines).items():
            run, late_ns = race.wins + race.losses, race.late_ns
            ran, was_late_ns = self._raced.get(line, (0, 0))
            self._raced[line] = run, late_ns
            if run > ran:
                lateness_ns[line] = (late_ns - was_late_ns) // (run - ran)
        found = self._laggards.look(lateness_ns, now_ns)
        return [
            (driver, f"{lateness_ns[line] / 1e6:.0f} ms slower than its sibling for a minute")
            for line in found
            for driver in self._drivers.values()
            if driver.epoch == self._supervisor.epoch_of(line)
        ]

    async def rotate(self, line: str | None) -> None:
        """Replace a line's session, or that of every line, one after the other.

        Raises:
            UsageError: If there is no such line.
            GaplessError: If a line does not work now, or its successor failed; the session that
                works is kept then, and no other line is replaced.
        """
        names = list(self._supervisor.states())
        if line is not None and line not in names:
            raise UsageError(f"there is no line {line!r}: there are {', '.join(names)}")
        for name in names if line is None else [line]:
            if name in self._supervisor.states():  # it may have gone meanwhile
                await self._rotate(name)

    async def _rotate(self, line: str) -> None:
        before = self._supervisor.epoch_of(line)
        state = self._supervisor.states()[line]
        if before is None or state not in {LineState.UP, LineState.ROTATING}:
            raise TransportError(f"line {line} is {state.value}: there is nothing to replace")
        self._supervisor.rotate(before, "asked for", self._mono_ns())
        wait = _Wait(line, before, asyncio.get_running_loop().create_future())
        self._waits.append(wait)
        self._wake()
        try:
            await wait.done
        finally:
            self._waits.remove(wait)

    def look(self) -> None:
        """See what has become of the lines that somebody waits for."""
        states = self._supervisor.states() if self._waits else {}
        for wait in self._waits:
            state = states.get(wait.line, LineState.STOPPED)
            if state in {LineState.HALTED, LineState.STOPPED}:
                _fail(wait, TransportError(f"line {wait.line} is {state.value}"))
            elif state is LineState.UP and self._supervisor.epoch_of(wait.line) != wait.before:
                _fulfil(wait)

    def ended(self, driver: Driver, cause: Exception | None) -> None:
        """Note that a session is over: the successor of a line that is waited for, perhaps."""
        for wait in self._waits:
            kept = self._supervisor.epoch_of(wait.line) == wait.before
            # One that is older than the session was replaced itself, and ends as it should.
            if wait.line == driver.line and driver.epoch > wait.before and kept:
                self._supervisor.forgo(wait.line)  # who asked will decide whether to try again
                end = "brought nothing" if cause is None else f"ended ({cause})"
                words = f"line {wait.line} keeps its session: its successor {end}"
                _fail(wait, cause if isinstance(cause, GaplessError) else TransportError(words))

    def close(self) -> None:
        """End every wait: the feed is over."""
        for wait in self._waits:
            _fail(wait, TransportError("the feed was closed"))


def _fulfil(wait: _Wait) -> None:
    if not wait.done.done():
        wait.done.set_result(None)


def _fail(wait: _Wait, cause: Exception) -> None:
    if not wait.done.done():
        wait.done.set_exception(cause)
