"""How venues count what clients do: credit buckets, sliding windows and fixed windows.

All of them are told the time and count in integers, so that the same calls give the same
refusals.  They say yes or no; what follows from a no is the dialect's business.
"""

from __future__ import annotations

from collections import deque

__all__ = ["CreditBucket", "FixedWindow", "SlidingWindow"]

_SECOND = 1_000_000_000


class CreditBucket:
    """Credits that refill steadily up to a cap; full at first."""

    __slots__ = ("_at_ns", "_cap", "_credits", "_refill")

    def __init__(self, cap: int, refill_per_s: int) -> None:
        self._cap = cap * _SECOND
        self._refill = refill_per_s
        self._credits = self._cap
        self._at_ns = 0

    def take(self, cost: int, now_ns: int) -> bool:
        """Take ``cost`` credits; return whether there were that many (else none are taken)."""
        passed_ns = max(now_ns - self._at_ns, 0)
        self._at_ns = max(now_ns, self._at_ns)
        self._credits = min(self._cap, self._credits + passed_ns * self._refill)
        if self._credits < cost * _SECOND:
            return False
        self._credits -= cost * _SECOND
        return True


class SlidingWindow:
    """At most ``limit`` uses in any stretch of ``window_ns``."""

    __slots__ = ("_limit", "_uses", "_window_ns")

    def __init__(self, limit: int, window_ns: int) -> None:
        self._limit = limit
        self._window_ns = window_ns
        self._uses: deque[int] = deque(maxlen=limit)

    def use(self, now_ns: int) -> bool:
        """Count one use; return whether it was within the limit (else it is not counted)."""
        if self.wait_ns(now_ns) > 0:
            return False
        self._uses.append(now_ns)
        return True

    def wait_ns(self, now_ns: int) -> int:
        """Return how long until one more use fits, in nanoseconds; 0 if it fits now."""
        if len(self._uses) < self._limit:
            return 0
        return max(self._uses[0] + self._window_ns - now_ns, 0)


class FixedWindow:
    """At most ``limit`` units of weight in each window; windows start at multiples of it."""

    __slots__ = ("_limit", "_window", "_window_ns", "used")

    def __init__(self, limit: int, window_ns: int) -> None:
        self._limit = limit
        self._window_ns = window_ns
        self._window = -1
        self.used = 0

    def use(self, weight: int, now_ns: int) -> bool:
        """Count ``weight``; return whether the sum is within the limit.  Refusals count too."""
        window = now_ns // self._window_ns
        if window != self._window:
            self._window = window
            self.used = 0
        self.used += weight
        return self.used <= self._limit

    def wait_ns(self, now_ns: int) -> int:
        """Return how long until the next window starts, in nanoseconds."""
        return self._window_ns - now_ns % self._window_ns
