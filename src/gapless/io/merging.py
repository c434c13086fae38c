"""Merges lines that carry little into others, topic by topic and make before break.

After many topics have gone, a letter may be left with several lines that are nearly empty.  Each
costs a connection and its pings.  The topics of one of them are subscribed on the others first;
when every one of them overlaps there, the line is retired.  What does not overlap in time is given
up, and the line stays as it was: a merger is never worth a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gapless.core.stream import Moment
from gapless.core.subscriptions import Wish
from gapless.core.supervisor import OVERLAP_NS, LineState, Supervisor
from gapless.io.chains import Host
from gapless.io.driver import Driver
from gapless.io.following import Following

__all__ = ["MERGE_EVERY_NS", "MERGE_WITHIN_NS", "Merging"]

MERGE_EVERY_NS: Final = 60_000_000_000
"""Least time between two mergers, in nanoseconds."""

MERGE_WITHIN_NS: Final = 30_000_000_000
"""How long the topics may take to overlap, in nanoseconds."""


class Merging:
    """Looks now and then whether a line can be spared.

    Args:
        following: What is followed.
        supervisor: Keeps the lines.
        drivers: The sessions at work, by epoch.
        host: Who runs the feed.
    """

    def __init__(
        self,
        following: Following,
        supervisor: Supervisor,
        drivers: Mapping[int, Driver],
        host: Host,
    ) -> None:
        self._following = following
        self._supervisor = supervisor
        self._drivers = drivers
        self._host = host
        self._next_ns: int | None = None
        self._since_ns = 0
        self._moved: dict[str, list[str]] = {}  # by the line that gets them

    def tick(self, now: Moment) -> None:
        """Begin a merger, carry it on, or end it."""
        if self._following.placement.leaving is not None:
            self._carry_on(now)
        elif self._next_ns is None:
            self._next_ns = now.mono_ns + MERGE_EVERY_NS
        elif now.mono_ns >= self._next_ns:
            self._next_ns = now.mono_ns + MERGE_EVERY_NS
            self._begin(now)

    def halted(self, line: str) -> None:
        """Place nothing more on a line that has given up."""
        self._following.placement.closed.add(line)

    def _begin(self, now: Moment) -> None:
        states = self._supervisor.states()
        if any(state not in _SETTLED for state in states.values()):
            return  # something else is going on
        self._moved = self._following.placement.double()
        self._since_ns = now.mono_ns
        for line, topics in self._moved.items():
            for driver in [d for d in self._drivers.values() if d.line == line]:
                origins = {t: self._host.origin(t, line, driver.epoch) for t in topics}
                driver.follow(origins, now.mono_ns)

    def _carry_on(self, now: Moment) -> None:
        placement = self._following.placement
        leaving, waited_ns = placement.leaving, now.mono_ns - self._since_ns
        if leaving not in placement.lines:  # all its topics have gone meanwhile
            placement.leave()
        elif waited_ns >= OVERLAP_NS and self._overlap():
            self._leave(now)
        elif waited_ns >= MERGE_WITHIN_NS:
            for line, topics in placement.stay().items():
                for driver in [d for d in self._drivers.values() if d.line == line]:
                    for topic in topics:
                        if topic in self._following.streams:
                            stream = self._following.streams[topic]
                            stream.detach(driver.epoch, "the merger was given up", now)
                    driver.unfollow(topics, now.mono_ns, tell=True)

    def _overlap(self) -> bool:
        return all(
            self._flows(topic, self._supervisor.epoch_of(line))
            for line, topics in self._moved.items()
            for topic in topics
            if topic in self._following.streams
        )

    def _flows(self, topic: str, epoch: int | None) -> bool:
        driver = None if epoch is None else self._drivers.get(epoch)
        if driver is None or epoch is None:
            return False
        granted = driver.session.subscriptions.stands(topic) is Wish.CONFIRMED
        return granted and self._following.streams[topic].overlaps(epoch)

    def _leave(self, now: Moment) -> None:
        placement = self._following.placement
        line = placement.leave()
        if line is None:
            return
        count = sum(len(topics) for topics in self._moved.values())
        targets = ", ".join(self._moved)
        for driver in [d for d in self._drivers.values() if d.line == line]:
            for topic in driver.origins:
                if topic in self._following.streams:
                    self._following.streams[topic].hand_over(driver.epoch, now)
        self._host.announce("rotating", f"line {line} is merged", f"{count} topics, into {targets}")
        self._host.retire_line(line)


_SETTLED: Final = frozenset({LineState.UP, LineState.HALTED})
