"""Shows the vigil what every session does, and pings those that it doubts.

A round is made on every tick, and when a line's silence becomes too long in between.  A session
in doubt is pinged at once, and judged as soon as its pong has come, not on the next tick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gapless.core.lifecycle import Phase
from gapless.core.stream import Moment, Stream
from gapless.core.vigil import Finding, LineView, Vigil
from gapless.io.driver import Driver
from gapless.io.following import Following

__all__ = ["Watching"]


class Watching:
    """Looks at the sessions of one feed.

    Args:
        vigil: Judges.
        following: What is followed.
        drivers: The sessions at work, by epoch.
        refusals: Topics that the venue refused.
        elsewhere: How many other endpoints there are to go to.
        moment: Now, by both clocks.
        found: Takes each finding.
    """

    def __init__(
        self,
        vigil: Vigil,
        following: Following,
        drivers: Mapping[int, Driver],
        refusals: Mapping[str, Any],
        elsewhere: int,
        moment: Callable[[], Moment],
        found: Callable[[Driver, Finding, Moment], None],
    ) -> None:
        self._vigil = vigil
        self._following = following
        self._streams: Mapping[str, Stream] = following.streams
        self._drivers = drivers
        self._refusals = refusals
        self._elsewhere = elsewhere
        self._moment = moment
        self._found = found

    @property
    def due_ns(self) -> int | None:
        """When the next round is due besides the ticks, or `None`."""
        return self._vigil.due_ns

    def is_due(self, now_ns: int) -> bool:
        """Whether a round is due besides the ticks."""
        return self._vigil.due_ns is not None and now_ns >= self._vigil.due_ns

    def round(self, now: Moment) -> None:
        """Look at every session; those first that have brought something."""
        self._vigil.begin()
        drivers = list(self._drivers.values())
        for driver in sorted(drivers, key=_is_mute):
            self._look(driver, now)

    def answered(self, driver: Driver) -> None:
        """Note a pong: whoever was in doubt can be judged now."""
        if driver.epoch in self._vigil.doubts:
            self._look(driver, self._moment())

    def forgive(self, now: Moment) -> None:
        """Count every silence from now: we were asleep ourselves, or did not read."""
        self._vigil.forgive(now.mono_ns)
        for driver in self._drivers.values():
            driver.session.forgive(now.mono_ns)

    def prove(self, now: Moment) -> None:
        """Have every path prove itself: much may have happened while we slept."""
        for driver in list(self._drivers.values()):
            driver.suspect(now.mono_ns)

    def may_come(self, stream: Stream, covered_ns: Callable[[Driver], int], now_ns: int) -> bool:
        """Whether what a topic holds back may still come of the sessions that it waits for.

        Whoever has brought something that was sent later does not bring it any more.  Others are
        asked to prove themselves: a path that is dead has fallen behind nobody, and what it
        carried to the end is known once it is over.

        Args:
            stream: The topic.
            covered_ns: Returns until when a session carried everything, monotonic.
            now_ns: Now, monotonic.
        """
        held = stream.held_for(now_ns)
        if held is None:
            return False
        since_ns, epochs = held
        drivers = [self._drivers[epoch] for epoch in epochs if epoch in self._drivers]
        doubted = [driver for driver in drivers if covered_ns(driver) < since_ns]
        for driver in doubted:
            driver.suspect(now_ns)
        return bool(doubted)

    def _look(self, driver: Driver, now: Moment) -> None:
        session, line = driver.session, driver.line
        if session.phase is not Phase.LIVE or line not in self._following.placement.lines:
            return
        topics = tuple(t for t in self._following.watched(line) if t not in self._refusals)
        if not topics:
            return  # all silence here is planned
        doubted = driver.epoch in self._vigil.doubts
        info = driver.transport.tcp_info() if doubted and driver.transport is not None else None
        view = LineView(
            line,
            driver.epoch,
            driver.frames,
            driver.data_ns,
            session.heard_ns,
            topics,
            session.watch.pings.proven_ns,
            "" if info is None else str(info),
            info is not None and info.is_retransmitting,
            self._elsewhere,
        )
        self._vigil.doubts.discard(driver.epoch)
        for finding in self._vigil.look(view, self._streams, now.mono_ns):
            self._found(driver, finding, now)
        if driver.epoch in self._vigil.doubts:
            driver.suspect(now.mono_ns)


def _is_mute(driver: Driver) -> bool:
    return not driver.data_ns
