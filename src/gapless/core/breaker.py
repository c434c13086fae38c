"""Staying away from a venue that said so, and finding out alone whether it still means it.

A refusal opens the breaker for all who share it: nobody dials before its time is over.  Then one
dial is let through, the probe, and everybody else waits for what becomes of it.  If the venue takes
it, all may dial again; if it refuses once more, the next time is longer.  A breaker never stays
open for good: a public session is not given up because of what a venue said an hour ago.

How long depends on what was said.  A time that the venue names is kept.  *Too much* without a
time (429) is probed gently, for most such answers are over within a minute, and a single dial
every second or two is no load; whoever repeats it for longer, and whoever bans (403, 418, a policy
close), is left alone for half a minute, then two, then ten at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import Final

__all__ = ["PROBE_NS", "Breaker", "BreakerPolicy", "BreakerState", "Shut"]

PROBE_NS: Final = 15_000_000_000
"""How long a probe may take; then its process has died, or forgot it, and another may go."""

_EXPONENT_MAX: Final = 16


@unique
class BreakerState(Enum):
    """Whether the venue wants us."""

    CLOSED = "closed"  # everybody may dial
    OPEN = "open"  # nobody may, or the next who asks is the probe
    PROBING = "probing"  # one dial is under way, and decides


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """How long to stay away, in nanoseconds, where the venue names no time.

    Args:
        ban_ns: After bans; the last repeats.
        busy_first_ns: After the first *too much*; doubles.
        busy_max_ns: Ceiling of those, while they have gone on for less than ``busy_young_ns``;
            later they count as bans.
        busy_young_ns: How long that is.
        forget_ns: Time without a refusal after which earlier bans count no more.
    """

    ban_ns: tuple[int, ...] = (30_000_000_000, 120_000_000_000, 600_000_000_000)
    busy_first_ns: int = 500_000_000
    busy_max_ns: int = 1_250_000_000
    busy_young_ns: int = 90_000_000_000
    forget_ns: int = 600_000_000_000


@dataclass(frozen=True, slots=True)
class Shut:
    """What a breaker knows, for whoever shares it.

    Attributes:
        refusals: Refusals in a row that opened it anew.
        bans: How many of them were bans, or counted as such.
        since_ns: When the first of them came.
        until_ns: Nobody dials before.
        probe_ns: When the probe under way began, or `None`.
        told_ns: When the newest refusal came.
        closed: Whether it was closed since.
        lasting: Whether an upgrade alone proves nothing: the refusal came after one.
    """

    refusals: int = 0
    bans: int = 0
    since_ns: int = 0
    until_ns: int = 0
    probe_ns: int | None = None
    told_ns: int = 0
    closed: bool = True
    lasting: bool = False


class Breaker:
    """The breaker of everybody who leaves by the same address.

    Args:
        policy: How long to stay away.

    Attributes:
        shut: What it knows; whoever shares it with other processes copies it.
    """

    __slots__ = ("_policy", "shut")

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self._policy = BreakerPolicy() if policy is None else policy
        self.shut = Shut()

    def state(self, now_ns: int) -> BreakerState:
        """Return where it stands."""
        if self.shut.closed:
            return BreakerState.CLOSED
        return BreakerState.PROBING if self._probe_left_ns(now_ns) else BreakerState.OPEN

    def wait_ns(self, now_ns: int) -> int:
        """Return how long until a dial may go, or is worth asking for; 0 if one may go now."""
        shut = self.shut
        if shut.closed:
            return 0
        return max(0, shut.until_ns - now_ns, self._probe_left_ns(now_ns))

    def dialled(self, now_ns: int) -> bool:
        """Note a dial that `wait_ns` let go; return whether it is the probe."""
        if self.shut.closed:
            return False
        self.shut = replace(self.shut, probe_ns=now_ns)
        return True

    def accepted(self, now_ns: int, *, lasting: bool) -> None:
        """Note that the probe was taken.

        Args:
            now_ns: When.
            lasting: Whether it got further than the upgrade.
        """
        shut = self.shut
        probing = self.state(now_ns) is BreakerState.PROBING
        # A probe with much to subscribe may take longer than it was given, and tells no less.
        late = not shut.closed and shut.probe_ns is not None and now_ns >= shut.until_ns
        if (probing or late) and (lasting or not shut.lasting):
            self.shut = replace(shut, closed=True, probe_ns=None)

    def abandoned(self) -> None:
        """Note that the probe came to nothing, and that the venue refused nothing either."""
        self.shut = replace(self.shut, probe_ns=None)

    def refused(
        self,
        now_ns: int,
        retry_after_ns: int | None,
        *,
        ban: bool,
        probe: bool,
        lasting: bool = False,
        jitter: float = 0.0,
    ) -> int:
        """Open it, or leave it open for longer.

        Args:
            now_ns: When the venue refused.
            retry_after_ns: How long it asks us to stay away, or `None`.
            ban: Whether it said *not welcome* and not only *too much*.
            probe: Whether it was the probe that it refused.
            lasting: Whether it had upgraded the connection before.
            jitter: From 0 to 1; how much is added of up to a quarter second, so that a fleet
                does not come back as one.

        Returns:
            How long nobody dials, in nanoseconds.
        """
        shut, policy = self.shut, self._policy
        if shut.closed and now_ns - shut.told_ns >= policy.busy_young_ns:
            forgotten = now_ns - shut.told_ns >= policy.forget_ns
            shut = Shut(bans=0 if forgotten else shut.bans)
        # Those who had dialled before they could know are refused for the same reason.
        again = shut.closed or probe
        since_ns = shut.since_ns if shut.refusals else now_ns
        refusals, bans = shut.refusals, shut.bans
        old = now_ns - since_ns >= policy.busy_young_ns
        if again:
            refusals += 1
            bans += ban or old
        stay_ns = self._stay_ns(refusals, bans, retry_after_ns, ban=ban or old)
        stay_ns += int(jitter * 250_000_000)
        until_ns = now_ns + stay_ns
        self.shut = Shut(
            refusals,
            bans,
            since_ns,
            until_ns if again else max(shut.until_ns, until_ns),
            None if probe else shut.probe_ns,
            now_ns,
            closed=False,
            lasting=lasting,
        )
        return max(0, self.shut.until_ns - now_ns)

    def _stay_ns(self, refusals: int, bans: int, retry_after_ns: int | None, *, ban: bool) -> int:
        policy = self._policy
        doubled_ns = policy.busy_first_ns << min(max(0, refusals - 1), _EXPONENT_MAX)
        busy_ns = min(policy.busy_max_ns, doubled_ns)
        if retry_after_ns is not None:  # a time of nothing is no leave to dial without end
            return retry_after_ns if retry_after_ns >= busy_ns else busy_ns
        if ban:
            return policy.ban_ns[min(max(1, bans), len(policy.ban_ns)) - 1]
        return busy_ns

    def _probe_left_ns(self, now_ns: int) -> int:
        probe_ns = self.shut.probe_ns
        return 0 if probe_ns is None else max(0, probe_ns + PROBE_NS - now_ns)
