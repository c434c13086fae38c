"""Data that arrives late: the alarm that no silence raises.

A path that is capped, or a venue's node that is behind, delivers everything in order and looks
healthy; only the data is seconds old.  The difference between the venue's clock and ours is not
known, so the smallest difference seen between sending and receiving is taken for it, and only
what it has grown by counts.  Receiving is measured by the monotonic clock: a wall clock that is
set changes nothing.

The smallest difference is remembered for a while only, because clocks drift.  One late message
is nothing: the first of a subscription may be an image from long ago.  Some topics name the time
of something older than themselves, so a line is late only if everything that it brings is.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LATE_NS", "Baseline", "LateWatch"]

LATE_NS: Final = 500_000_000
"""How much older than usual data must be to be called late, in nanoseconds."""

WINDOW_NS: Final = 600_000_000_000
CONFIRM_NS: Final = 250_000_000
MESSAGES: Final = 4
LONG_NS: Final = 10_000_000_000


class Baseline:
    """The smallest difference between receiving and event time of one topic, on any line."""

    __slots__ = ("_before_ns", "_least_ns", "_since_ns")

    def __init__(self) -> None:
        self._least_ns: int | None = None
        self._before_ns: int | None = None  # of the window before
        self._since_ns = 0

    def growth_ns(self, mono_ns: int, event_ns: int) -> int:
        """Return by how much a message is later than the least late one lately."""
        age_ns = mono_ns - event_ns
        if self._least_ns is None or mono_ns - self._since_ns >= WINDOW_NS:
            self._before_ns, self._since_ns = self._least_ns, mono_ns
            self._least_ns = age_ns
        self._least_ns = least_ns = min(self._least_ns, age_ns)
        if self._before_ns is not None:
            least_ns = min(least_ns, self._before_ns)
        return age_ns - least_ns

    @property
    def least_ns(self) -> int | None:
        """The smallest difference lately; `None` before the first message."""
        least_ns, before_ns = self._least_ns, self._before_ns
        return least_ns if least_ns is None or before_ns is None else min(least_ns, before_ns)


class LateWatch:
    """Whether one line is late.

    Attributes:
        since_ns: Since when it is, monotonic; `None` while it is not.
        late_ns: By how much, when last looked at.
    """

    __slots__ = ("_acted", "_first_ns", "_forgiven_ns", "_messages", "late_ns", "since_ns")

    def __init__(self) -> None:
        self.since_ns: int | None = None
        self.late_ns = 0
        self._first_ns: int | None = None  # when it was first seen to be late
        self._messages = 0
        self._forgiven_ns = 0
        self._acted = False

    def look(self, growth_ns: int | None, messages: int, now_ns: int) -> bool:
        """Take what has arrived since the last look; return whether the line is late only now.

        Args:
            growth_ns: The least growth among it, or `None` if nothing had a time.
            messages: How much it was.
            now_ns: Now.
        """
        if growth_ns is None or now_ns < self._forgiven_ns:
            return False
        self.late_ns = growth_ns
        if growth_ns <= LATE_NS:
            if growth_ns <= LATE_NS // 2 or self.since_ns is None:
                self.since_ns = self._first_ns = None
                self._messages = 0
                self._acted = False
            return False
        self._messages += messages
        if self._first_ns is None:
            self._first_ns = now_ns
        confirmed = now_ns - self._first_ns >= CONFIRM_NS and self._messages >= MESSAGES
        if self.since_ns is not None or not confirmed:
            return False
        self.since_ns = self._first_ns
        return True

    def long(self, now_ns: int) -> bool:
        """Return once whether it has been late for long."""
        if self._acted or self.since_ns is None or now_ns - self.since_ns < LONG_NS:
            return False
        self._acted = True
        return True

    def forgive(self, now_ns: int) -> None:
        """Judge nothing that was received until a moment after ``now_ns``: we were late."""
        self._forgiven_ns = now_ns + CONFIRM_NS
        if self.since_ns is None:
            self._first_ns, self._messages = None, 0
