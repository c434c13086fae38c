"""Staying inside a venue's limits: dials, messages, requests, request weights.

Venues ban for the excess over what they count, so we count as they do: exact sliding
windows where they state *n in t*, and a credit pool where they state capacity and refill.
A token bucket in place of a window would admit up to twice the count across a boundary.

Venues count by address, and an address may be shared by several processes.  What those have
used comes in through a `Ledger`: it is asked before each decision, and told of each use, under one
lock, so that two processes can never both take the last unit.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from gapless.core.breaker import Breaker, BreakerState

__all__ = [
    "OPTIONAL_SHARE",
    "PACED_SHARE",
    "Budget",
    "Credit",
    "Ledger",
    "Limit",
    "Window",
    "kept_on_arrival",
]

OPTIONAL_SHARE: Final = 0.8
"""Share of a limit that optional uses may bring it to; the rest is a reserve for the others."""

PACED_SHARE: Final = 0.5
"""Share of a window beyond which what is tried again and again is spread over its length."""

JITTER_NS: Final = 100_000_000
"""How much closer together messages may arrive than they were sent, in nanoseconds."""

ASK_AGAIN_NS: Final = 100_000_000
"""How soon to ask again where the answer depends on what becomes of a probe."""


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


def kept_on_arrival(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """Return limits that, kept where messages are sent, hold where the venue counts them.

    What leaves just outside of a window may arrive inside of it: the way does not take equally
    long each time.
    """
    return tuple(
        Window(limit.count, limit.per_ns + JITTER_NS) if isinstance(limit, Window) else limit
        for limit in limits
    )


class _WindowUses:
    """Uses inside one sliding window.  Memory: one pair for each use inside it."""

    __slots__ = ("_limit", "_total", "_uses")

    def __init__(self, limit: Window) -> None:
        self._limit = limit
        self._uses: deque[tuple[int, int]] = deque()
        self._total = 0

    def wait_ns(self, units: int, now_ns: int, share: float = 1.0) -> int:
        horizon_ns = now_ns - self._limit.per_ns
        uses = self._uses
        while uses and uses[0][0] <= horizon_ns:
            self._total -= uses.popleft()[1]
        # Whoever may use a share only is not kept out for good by a limit of a few.
        count = self._limit.count if share == 1.0 else max(units, int(self._limit.count * share))
        excess = self._total + units - min(count, self._limit.count)
        if excess <= 0:
            return 0
        for at_ns, used in uses:
            excess -= used
            if excess <= 0:
                return at_ns + self._limit.per_ns - now_ns
        return self._limit.per_ns  # more units than the window holds: as late as we can tell

    def spend(self, units: int, now_ns: int) -> None:
        uses = self._uses
        if uses and uses[-1][0] > now_ns:  # another's, heard of late: the oldest stays the first
            insort(uses, (now_ns, units))
        else:
            uses.append((now_ns, units))
        self._total += units

    def pace_ns(self, now_ns: int) -> int:
        """Return how long until one more is due, once half of it is in use.

        What is left is spread over the time until the oldest use is counted no more.
        """
        if self.used_ratio(now_ns) < PACED_SHARE:
            return 0
        oldest_ns, newest_ns = self._uses[0][0], self._uses[-1][0]
        left = max(0, self._limit.count - self._total)
        return newest_ns + (oldest_ns + self._limit.per_ns - newest_ns) // (left + 1) - now_ns

    def used_ratio(self, now_ns: int) -> float:
        self.wait_ns(0, now_ns)
        return self._total / self._limit.count

    @property
    def size(self) -> int:
        return self._limit.count

    @property
    def memory_ns(self) -> int:
        return self._limit.per_ns


class _CreditPool:
    """A pool counted in units times 10^9, so that refill is exact in integers."""

    __slots__ = ("_at_ns", "_left", "_limit")

    def __init__(self, limit: Credit) -> None:
        self._limit = limit
        self._left = limit.capacity * 10**9
        self._at_ns: int | None = None

    def wait_ns(self, units: int, now_ns: int, share: float = 1.0) -> int:
        if self._at_ns is not None:
            refill = max(0, now_ns - self._at_ns) * self._limit.per_s
            self._left = min(self._limit.capacity * 10**9, self._left + refill)
            now_ns = max(now_ns, self._at_ns)
        self._at_ns = now_ns
        capacity = self._limit.capacity
        reserved = 0 if share == 1.0 else capacity - max(units, int(capacity * share))
        short = (min(units, capacity) + max(0, reserved)) * 10**9 - self._left
        return 0 if short <= 0 else -(-short // self._limit.per_s)

    def spend(self, units: int, now_ns: int) -> None:
        self.wait_ns(0, now_ns)
        self._left -= units * 10**9

    def used_ratio(self, now_ns: int) -> float:
        self.wait_ns(0, now_ns)
        return 1 - self._left / (self._limit.capacity * 10**9)

    @property
    def left(self) -> int:
        return self._left

    def restore(self, left: int, at_ns: int) -> None:
        self._left, self._at_ns = min(self._left, left), at_ns

    def pace_ns(self, now_ns: int) -> int:
        del now_ns
        return 0  # a pool refills evenly by itself

    @property
    def size(self) -> int:
        return self._limit.capacity

    @property
    def memory_ns(self) -> int:
        return -(-self._limit.capacity * 10**9 // self._limit.per_s)


class Ledger(Protocol):
    """What others do who share the limits: other processes that leave by the same address.

    Between `enter` and `leave` nobody else decides.  Neither raises nor blocks for long: a ledger
    that cannot be used lets its budget go on alone, and says so elsewhere.
    """

    def enter(self, budget: Budget, now_ns: int) -> int:
        """Begin, and tell the budget by `Budget.foreign` and its breaker what others did since.

        Returns:
            0, or how long until it is worth asking again; then nothing has begun.
        """

    def record(self, units: int, now_ns: int) -> None:
        """Record a use of ours."""

    def leave(self, budget: Budget, now_ns: int) -> None:
        """End; others see what was recorded, and what the breaker knows."""


class Budget:
    """Everything one kind of use is limited by; all limits must agree.

    A limit on several scales (five a second and three hundred an hour) is several limits.
    Share one budget between all that leave by the same address or key.

    Args:
        limits: What the venue states; none means that it documents no limit.
        breaker: Stays away when the venue says so; one of its own by default.
        ledger: What other processes use of the same limits, or `None`.

    Attributes:
        breaker: See there.
        ledger: See there; it may be given later.
    """

    __slots__ = ("_lost_ns", "_uses", "breaker", "ledger")

    def __init__(
        self, *limits: Limit, breaker: Breaker | None = None, ledger: Ledger | None = None
    ) -> None:
        self._uses = [
            _WindowUses(limit) if isinstance(limit, Window) else _CreditPool(limit)
            for limit in limits
        ]
        self._lost_ns: deque[int] = deque(maxlen=1024)
        self.breaker = Breaker() if breaker is None else breaker
        self.ledger = ledger

    # -- deciding ---------------------------------------------------------------------------

    def take(
        self, now_ns: int, units: int = 1, *, optional: bool = False, paced: bool = False
    ) -> int:
        """Spend ``units`` if they fit.  Nobody comes between asking and spending.

        Args:
            now_ns: Now.
            units: How many.
            optional: Whether the use could be left out; it leaves a reserve to the others.
            paced: Whether this is tried again and again; it leaves room for what comes later.

        Returns:
            0 if they are spent, or how long to wait, in nanoseconds; then nothing is.
        """
        if self.ledger is None:
            return self._take(now_ns, units, optional=optional, paced=paced)
        if wait_ns := self.ledger.enter(self, now_ns):
            return wait_ns
        try:
            wait_ns = self._take(now_ns, units, optional=optional, paced=paced)
            if not wait_ns:
                self.ledger.record(units, now_ns)
        finally:
            self.ledger.leave(self, now_ns)
        return wait_ns

    def wait_ns(
        self, now_ns: int, units: int = 1, *, optional: bool = False, paced: bool = False
    ) -> int:
        """Return how long until ``units`` more fit, in nanoseconds; 0 if they fit now.

        As far as this process knows: what others have used since it asked last, `take` finds out.
        """
        share = OPTIONAL_SHARE if optional else 1.0
        wait_ns = self._breaker_ns(now_ns)
        for uses in self._uses:
            wait_ns = max(wait_ns, uses.wait_ns(units, now_ns, share))
            if paced:
                wait_ns = max(wait_ns, uses.pace_ns(now_ns))
        return wait_ns

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
        self.foreign(now_ns, units)
        if self.ledger is not None:
            # Not to be had now?  Then it keeps the record, and writes it down later.
            entered = not self.ledger.enter(self, now_ns)
            self.ledger.record(units, now_ns)
            if entered:
                self.ledger.leave(self, now_ns)

    def foreign(self, now_ns: int, units: int = 1) -> None:
        """Count a use that is recorded elsewhere already."""
        for uses in self._uses:
            uses.spend(units, now_ns)

    def used_ratio(self, now_ns: int) -> float:
        """Return how much of the tightest limit is in use, from 0 to 1."""
        return max((uses.used_ratio(now_ns) for uses in self._uses), default=0.0)

    def _take(self, now_ns: int, units: int, *, optional: bool, paced: bool) -> int:
        wait_ns = self.wait_ns(now_ns, units, optional=optional, paced=paced)
        if not wait_ns:
            self.foreign(now_ns, units)
            self.breaker.dialled(now_ns)
        return wait_ns

    def _breaker_ns(self, now_ns: int) -> int:
        wait_ns = self.breaker.wait_ns(now_ns)
        if self.breaker.state(now_ns) is BreakerState.PROBING:
            return min(wait_ns, ASK_AGAIN_NS)  # it may be over long before its time
        return wait_ns

    # -- what the venue said ----------------------------------------------------------------

    @property
    def probing(self) -> bool:
        """Whether a probe is under way; right after a `take` that was granted, it is that one."""
        return self.breaker.shut.probe_ns is not None and not self.breaker.shut.closed

    def refused(
        self,
        now_ns: int,
        retry_after_ns: int | None = None,
        *,
        ban: bool,
        probe: bool = True,
        lasting: bool = False,
        jitter: float = 0.0,
    ) -> int:
        """Open the breaker; see `gapless.core.breaker.Breaker.refused`."""
        entered = self._enter(now_ns)
        stay_ns = self.breaker.refused(
            now_ns, retry_after_ns, ban=ban, probe=probe, lasting=lasting, jitter=jitter
        )
        self._leave(now_ns, entered)
        return stay_ns

    def accepted(self, now_ns: int, *, lasting: bool = True) -> None:
        """Close the breaker: the probe was taken."""
        if self.breaker.shut.closed:
            return
        entered = self._enter(now_ns)
        self.breaker.accepted(now_ns, lasting=lasting)
        self._leave(now_ns, entered)

    def abandoned(self, now_ns: int) -> None:
        """Let another go: the probe came to nothing, and was not refused."""
        if not self.probing:
            return
        entered = self._enter(now_ns)
        self.breaker.abandoned()
        self._leave(now_ns, entered)

    def _enter(self, now_ns: int) -> bool:
        return self.ledger is not None and not self.ledger.enter(self, now_ns)

    def _leave(self, now_ns: int, entered: bool) -> None:
        if self.ledger is not None and entered:
            self.ledger.leave(self, now_ns)

    # -- what befell the others -------------------------------------------------------------

    def lost(self, now_ns: int) -> int:
        """Note a lost session; return how many were lost in the last second, this one included."""
        self._lost_ns.append(now_ns)
        return sum(now_ns - lost_ns < 1_000_000_000 for lost_ns in self._lost_ns)

    @property
    def memory_ns(self) -> int:
        """How long a use matters, in nanoseconds."""
        return max((uses.memory_ns for uses in self._uses), default=0)

    @property
    def size(self) -> int:
        """Units of the largest limit; 0 where there is none."""
        return max((uses.size for uses in self._uses), default=0)

    @property
    def left(self) -> int:
        """What the credit pool holds, in units times 10^9; 0 where there is none."""
        pools = [uses for uses in self._uses if isinstance(uses, _CreditPool)]
        return pools[0].left if pools else 0

    def restore(self, left: int, at_ns: int) -> None:
        """Set what the credit pool held at ``at_ns``, as another process has recorded it."""
        for uses in self._uses:
            if isinstance(uses, _CreditPool):
                uses.restore(left, at_ns)
