"""When a session that still works is replaced by choice.

A venue's lifetime is counted from the upgrade.  Sessions that began together, after a restart of
the venue say, would all be replaced together too, so each takes a share of it that chance picks.

A line that is later than its sibling all the time costs its redundancy: when the sibling fails,
the feed is as late as that line.  So it is replaced, but only after it has been late for long, by
much more than the sibling, and not again and again: no other address may be better.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

__all__ = [
    "LATE_AGAIN_NS",
    "LATE_FOR_NS",
    "LATE_NS",
    "LATE_RATIO",
    "LIFETIME_SPREAD",
    "Laggards",
    "lifetime_ns",
]

LIFETIME_SPREAD: Final = 0.05
"""Share of a planned lifetime over which the sessions of a fleet spread their replacement."""

LATE_NS: Final = 250_000_000
"""Lateness of a line beyond which it counts as slow, in nanoseconds."""

LATE_RATIO: Final = 4
"""How many times as late as the best of its siblings it is then."""

LATE_FOR_NS: Final = 60_000_000_000
"""For how long, without a break."""

LATE_AGAIN_NS: Final = 600_000_000_000
"""Least time between two replacements of one line for being slow."""


def lifetime_ns(planned_ns: int | None, rng: Random) -> int | None:
    """Return how long one session may live, from the upgrade; at most ``planned_ns``."""
    if planned_ns is None:
        return None
    return planned_ns - int(planned_ns * LIFETIME_SPREAD * rng.random())


class Laggards:
    """Finds lines that are slower than their siblings for long.  Bounded by the lines."""

    __slots__ = ("_found_ns", "_since_ns")

    def __init__(self) -> None:
        self._since_ns: dict[str, int] = {}
        self._found_ns: dict[str, int] = {}

    def look(self, lateness_ns: Mapping[str, int], now_ns: int) -> list[str]:
        """Return the lines that should be replaced now.

        Args:
            lateness_ns: Of each line that was heard lately, how much later than the first to
                bring a message it has brought it lately, on average, in nanoseconds.
            now_ns: Now, monotonic.
        """
        found: list[str] = []
        for line in [line for line in self._since_ns if line not in lateness_ns]:
            del self._since_ns[line]
        for line, late_ns in lateness_ns.items():
            others = [other_ns for other, other_ns in lateness_ns.items() if other != line]
            if not others or late_ns <= max(LATE_NS, LATE_RATIO * min(others)):
                self._since_ns.pop(line, None)
                continue
            since_ns = self._since_ns.setdefault(line, now_ns)
            again_ns = self._found_ns.get(line, now_ns - LATE_AGAIN_NS) + LATE_AGAIN_NS
            if now_ns >= since_ns + LATE_FOR_NS and now_ns >= again_ns:
                self._found_ns[line] = now_ns
                del self._since_ns[line]
                found.append(line)
        return found
