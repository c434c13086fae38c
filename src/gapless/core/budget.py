"""Staying inside a venue's limits: dials, messages, requests, request weights.

Venues ban for the excess over what they count, so we count as they do: exact sliding
windows where they state *n in t*, and a credit pool where they state capacity and refill.
A token bucket in place of a window would admit up to twice the count across a boundary.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Budget", "Credit", "Limit", "Window"]


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``count`` units in any window of ``per_ns`` nanoseconds."""

    count: int
    per_ns: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.per_ns < 1:
            raise ValueError("a window needs a positive count and length")


@dataclass(frozen=True, slots=True)
class Credit:
    """A pool of ``capacity`` units that refills by ``per_s`` units a second."""

    capacity: int
    per_s: int

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.per_s < 1:
            raise ValueError("a credit pool needs a positive capacity and refill")


Limit = Window | Credit


class _WindowLedger:
    """Uses inside one sliding window.  Memory: one pair for each use inside it."""

    __slots__ = ("_limit", "_total", "_uses")

    def __init__(self, limit: Window) -> None:
        self._limit = limit
        self._uses: deque[tuple[int, int]] = deque()
        self._total = 0

    def wait_ns(self, units: int, now_ns: int) -> int:
        horizon_ns = now_ns - self._limit.per_ns
        uses = self._uses
        while uses and uses[0][0] <= horizon_ns:
            self._total -= uses.popleft()[1]
        excess = self._total + units - self._limit.count
        if excess <= 0:
            return 0
        for at_ns, used in uses:
            excess -= used
            if excess <= 0:
                return at_ns + self._limit.per_ns - now_ns
        return self._limit.per_ns  # more units than the window holds: as late as we can tell

    def spend(self, units: int, now_ns: int) -> None:
        self._uses.append((now_ns, units))
        self._total += units

    def used_ratio(self, now_ns: int) -> float:
        self.wait_ns(0, now_ns)
        return self._total / self._limit.count


class _CreditLedger:
    """A pool counted in units times 10^9, so that refill is exact in integers."""

    __slots__ = ("_at_ns", "_left", "_limit")

    def __init__(self, limit: Credit) -> None:
        self._limit = limit
        self._left = limit.capacity * 10**9
        self._at_ns: int | None = None

    def wait_ns(self, units: int, now_ns: int) -> int:
        if self._at_ns is not None:
            refill = max(0, now_ns - self._at_ns) * self._limit.per_s
            self._left = min(self._limit.capacity * 10**9, self._left + refill)
        self._at_ns = now_ns
        short = min(units, self._limit.capacity) * 10**9 - self._left
        return 0 if short <= 0 else -(-short // self._limit.per_s)

    def spend(self, units: int, now_ns: int) -> None:
        self.wait_ns(0, now_ns)
        self._left -= units * 10**9

    def used_ratio(self, now_ns: int) -> float:
        self.wait_ns(0, now_ns)
        return 1 - self._left / (self._limit.capacity * 10**9)


class Budget:
    """Everything one kind of use is limited by; all limits must agree.

    A limit on several scales (five a second and three hundred an hour) is several limits.
    Share one budget between all that leave by the same address or key.

    Args:
        limits: What the venue states; none means that it documents no limit.
    """

    __slots__ = ("_closed_until_ns", "_ledgers")

    def __init__(self, *limits: Limit) -> None:
        self._ledgers = [
            _WindowLedger(limit) if isinstance(limit, Window) else _CreditLedger(limit)
            for limit in limits
        ]
        self._closed_until_ns = 0

    def wait_ns(self, now_ns: int, units: int = 1) -> int:
        """Return how long until ``units`` more fit, in nanoseconds; 0 if they fit now."""
        wait_ns = self._closed_until_ns - now_ns
        for ledger in self._ledgers:
            wait_ns = max(wait_ns, ledger.wait_ns(units, now_ns))
        return max(0, wait_ns)

    def spend(self, now_ns: int, units: int = 1) -> None:
        """Record a use that `wait_ns` allowed.

        Raises:
            AssertionError: If it did not; a bug that would earn a ban.
        """
        if self.wait_ns(now_ns, units):
            raise AssertionError("spent beyond the venue's limit")
        self.note(now_ns, units)

    def note(self, now_ns: int, units: int = 1) -> None:
        """Record a use that was not ours to refuse, such as the pong to a ping."""
        for ledger in self._ledgers:
            ledger.spend(units, now_ns)

    def close_until(self, until_ns: int) -> None:
        """Allow nothing before ``until_ns``: the venue asked us to stay away."""
        self._closed_until_ns = max(self._closed_until_ns, until_ns)

    def used_ratio(self, now_ns: int) -> float:
        """Return how much of the tightest limit is in use, from 0 to 1."""
        return max((ledger.used_ratio(now_ns) for ledger in self._ledgers), default=0.0)
