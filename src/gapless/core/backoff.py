"""How long to wait before dialling again.

One plain exponential cannot be both back within seconds of a short outage and gentle to a
venue that accepts and drops us, so the wait depends on how the last session ended:

* *never upgraded*: full jitter under a growing ceiling, capped low while the outage is young
  (most are over within a minute) and high afterwards;
* *unstable*: the first redial almost at once, each a little later than that of the session lost
  before it, so that two hundred do not come back as one; then ``U(1/2, 1) * 2**n`` seconds;
* *login*: half a minute, two minutes, then ten at a time: who tries faster is locked out;
* *limited*, *busy*, *policy*: not the line's own affair; see `gapless.core.breaker`.

Counts reset after a stretch of useful data, never after a handshake: a venue that accepts
and drops us would otherwise be dialled in a tight loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from gapless.core.reaction import Ending

__all__ = ["Backoff", "BackoffPolicy"]

_EXPONENT_MAX = 32  # 2**n is unbounded; the ceilings cut in long before


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """Bounds for `Backoff`, in nanoseconds.

    Args:
        dial_first_ns: Ceiling of the first wait after a failed dial.
        dial_young_ns: Ceiling while an outage is younger than ``young_ns``.
        young_ns: How long an outage counts as young.
        max_ns: Ceiling of any wait that the venue did not ask for.
        flap_first_ns: Ceiling of the first redial after an upgraded session.
        flap_each_ns: Added to that redial for every other session lost in the last second.
        login_ns: Least waits after refused logins; the last repeats.  At most a tenth is added.
        steady_after_ns: Useful life after which a session's end lowers the flap count by two:
            whoever serves us for seconds each time is not dialled in a tight loop.
        stable_after_ns: Useful life after which a session counts as a success.
    """

    dial_first_ns: int = 250_000_000
    dial_young_ns: int = 1_500_000_000
    young_ns: int = 90_000_000_000
    max_ns: int = 30_000_000_000
    flap_first_ns: int = 250_000_000
    flap_each_ns: int = 7_500_000
    login_ns: tuple[int, ...] = (30_000_000_000, 120_000_000_000, 600_000_000_000)
    steady_after_ns: int = 5_000_000_000
    stable_after_ns: int = 30_000_000_000


def _next(count: int) -> int:
    return min(count + 1, _EXPONENT_MAX)


class Backoff:
    """The waits of one line.

    Args:
        policy: Bounds.
        rng: Source of jitter.
    """

    __slots__ = ("_dials", "_flaps", "_logins", "_outage_since_ns", "_policy", "_rng")

    def __init__(self, policy: BackoffPolicy, rng: Random) -> None:
        self._policy = policy
        self._rng = rng
        self._dials = 0
        self._flaps = 0
        self._logins = 0
        self._outage_since_ns: int | None = None

    def wait_ns(self, ending: Ending, now_ns: int, *, lost_last_s: int = 1) -> int:
        """Return how long to wait after a session ended, in nanoseconds, and count it.

        Args:
            ending: How it ended.
            now_ns: When.
            lost_last_s: Sessions that this process lost in the last second, this one included.
        """
        policy, uniform = self._policy, self._uniform_ns
        match ending:
            case Ending.PLANNED | Ending.LIMITED | Ending.BUSY | Ending.POLICY:
                return 0
            case Ending.LOGIN:
                least_ns = policy.login_ns[min(self._logins, len(policy.login_ns) - 1)]
                self._logins = _next(self._logins)
                return uniform(least_ns, least_ns + least_ns // 10)
            case Ending.NEVER_UPGRADED:
                return self._after_failed_dial_ns(now_ns)
            case Ending.UNSTABLE:
                self._outage_since_ns = None
                self._dials = 0
                flaps, self._flaps = self._flaps, _next(self._flaps)
                if flaps == 0:
                    # A window that moves on: under one that only grew, many would come early.
                    spread_ns = policy.flap_each_ns * (lost_last_s - 1)
                    return uniform(spread_ns, spread_ns + policy.flap_first_ns)
                base_ns = min(policy.max_ns, 1_000_000_000 << (flaps - 1))
                return uniform(base_ns // 2, base_ns)

    def useful(self, live_ns: int) -> None:
        """Note that a session brought useful data for ``live_ns`` nanoseconds."""
        if live_ns >= self._policy.stable_after_ns:
            self._dials = self._flaps = self._logins = 0
            self._outage_since_ns = None
        elif live_ns >= self._policy.steady_after_ns:
            self._flaps = max(0, self._flaps - 2)

    def _after_failed_dial_ns(self, now_ns: int) -> int:
        if self._outage_since_ns is None:
            self._outage_since_ns = now_ns
        policy = self._policy
        young = now_ns - self._outage_since_ns < policy.young_ns
        cap_ns = policy.dial_young_ns if young else policy.max_ns
        ceiling_ns = min(cap_ns, policy.dial_first_ns << self._dials)
        self._dials = _next(self._dials)
        return self._uniform_ns(0, ceiling_ns)

    def _uniform_ns(self, low_ns: int, high_ns: int) -> int:
        return self._rng.randint(low_ns, high_ns)
