"""Our own stalls: times in which we did not run, and nobody else is to blame.

A tick that comes late says that the loop did not turn: a callback that blocked it, the garbage
collector, a machine that gave us no time, a process that was stopped.  A machine that was
suspended shows otherwise: its monotonic clock stood still, so no tick is late, and only the clock
that counts the sleep knows.
"""

from __future__ import annotations

from typing import Final

from gapless.io.clock import Clock

__all__ = ["LATE_NS", "OwnStalls"]

LATE_NS: Final = 500_000_000
"""A tick later than this means that we slept ourselves."""

SAY_NS: Final = 1_000_000_000
"""At most one stall is told of in so much time; the next one tells of those between."""


class OwnStalls:
    """Notices that we did not run.

    Attributes:
        count: Stalls so far.
        total_ns: How long they were, all together.
    """

    __slots__ = ("_asleep_ns", "_clock", "_said_ns", "_untold", "_untold_ns", "count", "total_ns")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asleep_ns = clock.asleep_ns()
        self._said_ns: int | None = None
        self._untold = 0
        self._untold_ns = 0
        self.count = 0
        self.total_ns = 0

    def look(self, due_ns: int, now_ns: int) -> bool:
        """Return whether we did not run until now.

        Args:
            due_ns: When the tick should have come.
            now_ns: When it came.
        """
        asleep_ns = self._clock.asleep_ns()
        slept_ns, self._asleep_ns = asleep_ns - self._asleep_ns, asleep_ns
        stalled_ns = max(0, now_ns - due_ns) + max(0, slept_ns)
        if stalled_ns <= LATE_NS:
            return False
        self.count += 1
        self.total_ns += stalled_ns
        self._untold += 1
        self._untold_ns += stalled_ns
        return True

    def words(self, due_ns: int, now_ns: int) -> tuple[str, str] | None:
        """Return cause and evidence of what is to be told after `look`, or `None`."""
        if self._said_ns is not None and now_ns - self._said_ns < SAY_NS:
            return None
        self._said_ns = now_ns
        late_s, whole_s = max(0, now_ns - due_ns) / 1e9, self._untold_ns / 1e9
        if whole_s - late_s > LATE_NS / 1e9 and self._untold == 1:
            evidence = "the machine was suspended: its clocks say so"
        elif self._untold == 1:
            evidence = f"the event loop turned {late_s:.1f} s late: blocked, stopped or starved"
        else:
            evidence = f"{self._untold} stalls since the last time that this was said"
        self._untold = self._untold_ns = 0
        return f"we did not run for {whole_s:.1f} s ourselves", evidence
