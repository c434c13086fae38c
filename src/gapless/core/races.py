"""How the redundant lines of a feed fare against each other: who is first, and how late the rest.

A race is a message that two lines have brought.  What only one line brought is no race: it says
who lost something, and nothing of who is quick.  Every race is counted; how late the loser was is
summed up for all and sampled for the distribution, so that a race costs no object.
"""

from __future__ import annotations

from typing import Final

from gapless.core.stats import Histogram

__all__ = ["SAMPLED", "Race", "Races"]

SAMPLED: Final = 8
"""One loss in so many is sampled for the distribution; a power of two."""


class Race:
    """One line's account.

    Attributes:
        wins: Messages that it brought before another line did.
        losses: Messages that it brought after another line had.
        late_ns: How late it was with those, all together, in nanoseconds.
        lateness: How late it was, sampled, in nanoseconds.
    """

    __slots__ = ("late_ns", "lateness", "losses", "wins")

    def __init__(self) -> None:
        self.wins = 0
        self.losses = 0
        self.late_ns = 0
        self.lateness = Histogram()

    def late_ms(self) -> tuple[float, float] | None:
        """Return how late the line was, p50 and p99 in milliseconds; `None` if it never was."""
        p50_ns, p99_ns = self.lateness.quantile(0.5), self.lateness.quantile(0.99)
        return None if p50_ns is None or p99_ns is None else (p50_ns / 1e6, p99_ns / 1e6)


class Races:
    """The accounts of all lines, by name; one for all topics of a feed."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: dict[str, Race] = {}

    def run(self, winner: str, loser: str, late_ns: int) -> None:
        """Count one race.  A line does not race its own successor session."""
        if winner == loser:
            return
        lines = self.lines
        try:
            first, late = lines[winner], lines[loser]
        except KeyError:
            first, late = lines.setdefault(winner, Race()), lines.setdefault(loser, Race())
        first.wins += 1
        late.losses = losses = late.losses + 1
        late.late_ns += late_ns
        if losses % SAMPLED == 1:
            late.lateness.record(late_ns)
