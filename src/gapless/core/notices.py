"""The log of what is worth knowing besides the data: bounded, numbered, and typed."""

from __future__ import annotations

from collections import deque

from gapless.core.stream import Moment
from gapless.errors import printable
from gapless.events import Notice, NoticeKind, Origin

__all__ = ["NoticeLog"]


class NoticeLog:
    """Keeps the newest notices of one feed.

    Args:
        venue: Venue name.
        capacity: How many are kept; a reader that is further behind sees numbers missing.
    """

    __slots__ = ("_kept", "_venue", "count")

    def __init__(self, venue: str, capacity: int = 1000) -> None:
        self._venue = venue
        self._kept: deque[Notice] = deque(maxlen=capacity)
        self.count = 0

    def add(
        self,
        kind: NoticeKind,
        now: Moment,
        cause: str,
        evidence: str = "",
        *,
        line: str | None = None,
        epoch: int | None = None,
        origin: Origin | None = None,
    ) -> None:
        """Note something; remote text in ``cause`` or ``evidence`` is made printable."""
        self.count += 1
        self._kept.append(
            Notice(
                self.count,
                self._venue,
                now.recv_ns,
                now.mono_ns,
                kind,
                line if origin is None else origin.line,
                epoch if origin is None else origin.epoch,
                None if origin is None else origin.channel,
                None if origin is None else origin.symbol,
                printable(cause),
                printable(evidence),
            )
        )

    def after(self, number: int) -> list[Notice]:
        """Return the kept notices with a higher number, oldest first."""
        return [notice for notice in self._kept if notice.number > number]
