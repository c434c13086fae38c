"""Noticing silence, and telling apart the three kinds of it.

*A dead path*: nothing arrives, not even the answer to a ping.  `PathWatch` sees it within a
quiet time and a pong time, whatever the feed's rhythm.

*A stalled feed*: the path answers, and the data has stopped.  `FeedWatch` learns each topic's
own rhythm and compares.  It needs evidence that the path works (a pong, or data of a sibling,
after this topic fell silent), because on a dead path silence proves nothing about the venue.

*A quiet topic*: nothing to say.  Rhythm alone decides, so a watch that has seen little is
patient, and one that raised an alarm in vain is four times as patient the next time.

Nothing here runs for each message: watches read the times that the data path stores anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

__all__ = ["FeedPolicy", "FeedWatch", "PathPolicy", "PathVerdict", "PathWatch", "Silence"]

_PATIENCE_MAX: Final = 4**6
BURST_NS: Final = 500_000_000
"""Messages closer than this count one by one; further apart, what comes together is a burst."""

_YOUNG_MAX_NS: Final = 3600 * 1_000_000_000  # an hour of silence is worth a look at any age
_ALPHA: Final = 0.05  # weight of the newest sample in the learned interval


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPolicy:
    """How a path is probed, in nanoseconds.

    Args:
        quiet_ns: Silence after which a ping is sent.
        pong_ns: How long any frame may take to arrive after that ping.
        idle_max_ns: While the path answers but stays quiet, pings slow down to one in this time.
    """

    quiet_ns: int = 1_000_000_000
    pong_ns: int = 1_000_000_000
    idle_max_ns: int = 5_000_000_000


@unique
class PathVerdict(Enum):
    """What to do about a path now."""

    FINE = "fine"
    PING = "ping"
    DEAD = "dead"


class PathWatch:
    """Watches one connection for any frame at all."""

    __slots__ = ("_gap_ns", "_heard_ns", "_pinged_ns", "_policy", "pong_ns", "rtt_ns")

    def __init__(self, policy: PathPolicy, now_ns: int) -> None:
        self._policy = policy
        self._heard_ns = now_ns
        self._gap_ns = policy.quiet_ns  # grows while pongs are all that comes
        self._pinged_ns: int | None = None
        self.pong_ns: int | None = None  # when the last pong came
        self.rtt_ns: int | None = None  # round trip of the last ping

    def pong(self, now_ns: int) -> None:
        """Note the answer to a ping."""
        self.pong_ns = now_ns
        if self._pinged_ns is not None:
            self.rtt_ns = now_ns - self._pinged_ns

    def check(self, heard_ns: int, now_ns: int) -> PathVerdict:
        """Return what to do.

        Args:
            heard_ns: When any frame last arrived.
            now_ns: Now.
        """
        if heard_ns > self._heard_ns:
            only_pong = self._pinged_ns is not None and heard_ns == self.pong_ns
            self._gap_ns = self._slower_ns() if only_pong else self._policy.quiet_ns
            self._heard_ns = heard_ns
            self._pinged_ns = None
        if now_ns < self._deadline_ns():
            return PathVerdict.FINE
        if self._pinged_ns is None:
            self._pinged_ns = now_ns
            return PathVerdict.PING
        return PathVerdict.DEAD

    def deadline_ns(self, heard_ns: int) -> int:
        """Return when `check` must be called next, if nothing more arrives."""
        if heard_ns > self._heard_ns:
            return heard_ns + self._policy.quiet_ns
        return self._deadline_ns()

    def forgive(self, now_ns: int) -> None:
        """Start anew: we were asleep ourselves, and must read the socket before we judge."""
        self._heard_ns = max(self._heard_ns, now_ns)
        self._pinged_ns = None

    def _deadline_ns(self) -> int:
        if self._pinged_ns is not None:
            return self._pinged_ns + self._policy.pong_ns
        return self._heard_ns + self._gap_ns

    def _slower_ns(self) -> int:
        return min(self._gap_ns * 2, self._policy.idle_max_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPolicy:
    """How a topic's rhythm is judged.

    Args:
        floor_ns: No silence shorter than this is ever suspicious, in nanoseconds.
        young: How many intervals make a rhythm; what comes within one tick is one arrival.
        doubt: While there are fewer, a silence is suspicious if so few arrivals in so much time
            would be followed by it with less than this probability.
        times_mean: How many mean intervals of silence are suspicious.  Arrivals at random are
            longer than 20 means once in e**20 intervals.
        times_longest: How many times the longest silence so far is suspicious.
        unproven_ns: How long a topic may take to speak for the first time, or the second.
        crowd: On a line with more topics than this, an option chain say, most are quiet for
            hours, and a line is not replaced because some of them are.
        crowd_limit_ns: In a crowd, only topics that may be silent for less are judged.
    """

    floor_ns: int = 2_000_000_000
    young: int = 20
    doubt: float = 1e-6
    times_mean: float = 20.0
    times_longest: float = 3.0
    unproven_ns: int = 8_000_000_000
    crowd: int = 64
    crowd_limit_ns: int = 30_000_000_000


@unique
class Silence(Enum):
    """What a topic's silence means."""

    NONE = "none"
    STALLED = "stalled"  # it spoke, and stopped, while the path is alive
    UNPROVEN = "unproven"  # it never spoke, or once only


class FeedWatch:
    """Learns one rhythm and judges silences by it; survives the sessions that carry it.

    Args:
        policy: How to judge.
        armed_ns: When data may first be expected: the time of the subscribe.
    """

    __slots__ = (
        "_armed_ns",
        "_intervals",
        "_last_ns",
        "_longest_ns",
        "_mean_ns",
        "_patience",
        "_policy",
        "_probe_patience",
        "_span_ns",
    )

    def __init__(self, policy: FeedPolicy, armed_ns: int) -> None:
        self._policy = policy
        self._armed_ns = armed_ns
        self._last_ns: int | None = None
        self._mean_ns = 0.0
        self._longest_ns = 0
        self._patience = 1
        self._probe_patience = 1
        self._intervals = 0  # between ticks on which something had arrived
        self._span_ns = 0  # all of them together

    def sample(self, fresh: int, last_ns: int) -> None:
        """Learn from what has arrived.  Called on the tick, not for each message.

        Args:
            fresh: Messages since the last call.
            last_ns: When the newest arrived.  If it is the same as before, what is fresh came
                another way, and says nothing of this one.
        """
        if fresh <= 0 or (self._last_ns is not None and last_ns <= self._last_ns):
            return
        if self._last_ns is not None and self._armed_ns <= self._last_ns:
            # A silence across a new subscription is the fault's and not the topic's own.
            elapsed_ns = last_ns - self._last_ns
            # What comes in bursts is judged by the time between the bursts.
            mean_ns = elapsed_ns / fresh if elapsed_ns <= BURST_NS else elapsed_ns
            # Fewer samples than 1/alpha are averaged plainly, so that a start is no bias.
            self._intervals += 1
            self._span_ns += elapsed_ns
            weight = max(_ALPHA, 1 / self._intervals)
            self._mean_ns += weight * (mean_ns - self._mean_ns)
            quiet_ns = elapsed_ns if fresh == 1 else elapsed_ns - BURST_NS // 2
            self._longest_ns = max(self._longest_ns, quiet_ns)
        self._longest_ns = int(self._longest_ns * 0.999)
        self._last_ns = last_ns
        self._patience = 1

    def arm(self, now_ns: int) -> None:
        """Count silence from ``now_ns``: the topic has been subscribed anew."""
        self._armed_ns = now_ns

    @property
    def limit_ns(self) -> int:
        """How long this topic may be silent once it has spoken, in nanoseconds."""
        policy = self._policy
        learned_ns = max(policy.times_mean * self._mean_ns, policy.times_longest * self._longest_ns)
        if 0 < self._intervals < policy.young:
            # With n arrivals in T and the rate unknown, a silence s has probability (T/(T+s))^n.
            odds = policy.doubt ** (-1 / self._intervals) - 1
            learned_ns = max(learned_ns, min(self._span_ns * odds, _YOUNG_MAX_NS))
        return int(max(policy.floor_ns, learned_ns)) * self._patience

    @property
    def has_rhythm(self) -> bool:
        """Whether it has spoken often enough for its silence to be measured."""
        return self._intervals > 0

    def judge(self, now_ns: int, alive_ns: int | None) -> Silence:
        """Return what the present silence means.

        Args:
            now_ns: Now.
            alive_ns: When the path last proved itself by something that is not this topic, or
                `None` if it has not.
        """
        since_ns = self._armed_ns if self._last_ns is None else max(self._last_ns, self._armed_ns)
        if not self._intervals:  # a single message, such as a first snapshot, is no rhythm
            limit_ns = self._policy.unproven_ns * self._probe_patience
            return Silence.UNPROVEN if now_ns - since_ns >= limit_ns else Silence.NONE
        limit_ns = self.limit_ns
        if now_ns - since_ns < limit_ns or alive_ns is None:
            return Silence.NONE
        # A dying path may bring one last frame of something else: only life well into the
        # silence shows that the path outlived the data.
        return Silence.STALLED if alive_ns - since_ns >= limit_ns // 2 else Silence.NONE

    def acted(self, now_ns: int) -> None:
        """Note that something was done about the silence; be four times as patient."""
        self._patience = min(self._patience * 4, _PATIENCE_MAX)
        self._probe_patience = min(self._probe_patience * 4, _PATIENCE_MAX)
        self._armed_ns = now_ns

    def silent_ns(self, now_ns: int) -> int:
        """Return how long the topic has been silent, in nanoseconds."""
        return now_ns - (self._armed_ns if self._last_ns is None else self._last_ns)
