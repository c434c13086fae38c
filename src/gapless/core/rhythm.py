"""One topic's rhythm, and how long a silence of it may last before it is news.

The statistic is the age of the newest message at a random moment, because that is what a watch
looks at.  Its mean is ``sum(gap**2) / 2 / sum(gap)`` over the gaps between arrivals: the same as
the mean gap where messages come at random, half of it where they come like a clock, and far above
it where they come in bursts, for long gaps weigh twice.  From it follows, in the manner of the phi
accrual detector, how improbable an age is: after ``n`` arrivals, an age of ``a`` mean ages has the
probability ``(1 + a/n)**-n``, which is ``exp(-a)`` once n is large and says how little is known
while it is small.

A tail may be heavier than that.  The longest gap shows it: among n random gaps it is about
``ln n`` means, and the further beyond, the more of it is allowed.  And where the longest of many
gaps is short, a clock is at work, and a few times that gap is enough.

What has been seen for a few seconds only may have been a burst, whatever it looked like: the time
that has been observed bounds how short a silence can be news.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["Rhythm", "RhythmPolicy"]

BURST_NS: Final = 500_000_000
"""Messages closer than this count one by one; further apart, what comes together is a burst."""

_EXPONENT_MAX: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RhythmPolicy:
    """How a rhythm is judged.

    Args:
        floor_ns: No silence shorter than this is ever an alarm, in nanoseconds.
        cap_ns: Where even the plain law allows longer silences than this, silence proves nothing
            and is not judged.
        young_max_ns: What little evidence may add: no more than up to this.
        phi: An age is an alarm if its probability is below ``exp(-phi)``.
        phi_stale: An age is worth a remark if its probability is below ``exp(-phi_stale)``.
        stale_floor_ns: No age below this is worth one.
        known: How many arrivals it takes to be worth one before it is an alarm.
        regular: Where the longest of `many` gaps is at most `even` mean ages, so many times the
            longest gap is enough.
        many, even: See there.
        heavy: At most so many times the longest gap are allowed to a heavy tail.
        known_ns: Observed time after which a silence as long as that time can be news; after twice
            the time, a quarter of it is enough.
        memory_ns: Observed time after which what was seen counts half.
    """

    floor_ns: int = 750_000_000
    cap_ns: int = 6 * 3600 * 1_000_000_000
    young_max_ns: int = 3600 * 1_000_000_000
    phi: float = 18.0
    phi_stale: float = 7.0
    stale_floor_ns: int = 500_000_000
    known: int = 20
    regular: float = 5.0
    many: int = 100
    even: float = 3.5
    heavy: float = 4.0
    known_ns: int = 13_000_000_000
    memory_ns: int = 3600 * 1_000_000_000


class Rhythm:
    """What has been learned of one topic on one line."""

    __slots__ = ("_area", "_count", "_limit_ns", "_longest", "_policy", "_stale_ns", "span_ns")

    def __init__(self, policy: RhythmPolicy) -> None:
        self._policy = policy
        self._area = 0.0  # sum of gap**2 / 2, in seconds squared
        self._count = 0.0  # arrivals; what comes between two looks is one
        self.span_ns = 0  # of all gaps together
        self._longest = [0, 0]  # longest gap of this stretch of memory, and of the one before
        self._limit_ns: int | None = None  # computed when asked for
        self._stale_ns: int | None = None

    def learn(self, fresh: int, gap_ns: int, quiet_ns: int | None = None) -> None:
        """Learn from arrivals between two looks.

        Args:
            fresh: How many, at least 1.
            gap_ns: From the newest arrival before to the newest of these.
            quiet_ns: The longest silence among them that is certain; ``gap_ns`` by default.
        """
        gap_s = gap_ns / 1e9
        # Between two looks the arrivals cannot be told apart: they are taken as random.
        in_between = fresh if fresh > 1 and gap_ns <= BURST_NS else 0
        self._area += gap_s * gap_s / in_between if in_between else gap_s * gap_s / 2
        self._count += 1
        self.span_ns += gap_ns
        longest = self._longest
        longest[0] = max(longest[0], gap_ns if quiet_ns is None else quiet_ns)
        if self.span_ns >= 2 * self._policy.memory_ns:
            self._area /= 2
            self._count /= 2
            self.span_ns //= 2
            longest[:] = [0, longest[0]]
        self._limit_ns = self._stale_ns = None

    @property
    def count(self) -> int:
        """How many arrivals it rests on; what comes between two looks is one."""
        return int(self._count)

    @property
    def mean_age_ns(self) -> float:
        """How old the newest message is on average."""
        return self._area / (self.span_ns / 1e9) * 1e9 if self.span_ns else 0.0

    @property
    def longest_ns(self) -> int:
        """The longest gap that is remembered."""
        return max(self._longest)

    @property
    def limit_ns(self) -> int:
        """How long a silence must last to be an alarm."""
        if self._limit_ns is None:
            self._limit_ns = self._compute_limit_ns()
        return self._limit_ns

    @property
    def stale_ns(self) -> int:
        """How old the newest message must be to be worth a remark."""
        if self._stale_ns is None:
            policy = self._policy
            if self._count < policy.known:  # too little for a remark that is not an alarm
                return self.limit_ns
            age_ns = max(self._age_ns(policy.phi_stale), policy.stale_floor_ns, self._known_ns())
            self._stale_ns = min(int(age_ns), self.limit_ns)
        return self._stale_ns

    @property
    def tells(self) -> bool:
        """Whether silence can prove anything: it spoke more than once, and often enough."""
        if self._count < 1:
            return False
        return self._policy.phi * self.mean_age_ns <= self._policy.cap_ns

    def phi(self, age_ns: int) -> float:
        """Return how improbable an age is: minus the natural logarithm of its probability."""
        mean_ns = self.mean_age_ns
        if self._count < 1 or mean_ns <= 0:
            return 0.0
        return self._count * math.log1p(age_ns / (self._count * mean_ns))

    def _age_ns(self, phi: float) -> float:
        """Return the age whose probability is ``exp(-phi)``."""
        count = self._count
        if count < 1:
            return float(self._policy.young_max_ns)
        exponent = min(_EXPONENT_MAX, phi / count)
        return count * self.mean_age_ns * math.expm1(exponent)

    def _compute_limit_ns(self) -> int:
        policy, count = self._policy, self._count
        if count < 1:
            return policy.young_max_ns
        plain_ns = policy.phi * self.mean_age_ns
        law_ns = min(self._age_ns(policy.phi), max(plain_ns, float(policy.young_max_ns)))
        longest_ns = self.longest_ns
        # Gaps shorter than the time between two looks are not seen one by one.
        seen = count >= policy.many and longest_ns >= BURST_NS
        if seen and longest_ns <= policy.even * self.mean_age_ns:
            law_ns = min(law_ns, policy.regular * longest_ns)
        usual_ns = self.mean_age_ns * (math.log(count) + 3)
        heavy = min(policy.heavy, max(1.0, 2 * longest_ns / usual_ns)) if usual_ns else 1.0
        return int(max(policy.floor_ns, law_ns, heavy * longest_ns, self._known_ns()))

    def _known_ns(self) -> float:
        """Return the shortest silence that can be news after so short an acquaintance."""
        if not self.span_ns:
            return float(self._policy.young_max_ns)
        known_ns = self._policy.known_ns * (self._policy.known_ns / self.span_ns) ** 2
        return min(known_ns, float(self._policy.young_max_ns))
