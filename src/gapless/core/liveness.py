"""Noticing silence, and telling apart the three kinds of it.

*A dead path*: nothing arrives, not even the answer to a ping.  `PathWatch` sees it within a
quiet time and a pong time, whatever the feed's rhythm; how long a pong may take follows from the
round trips so far.

*A stalled feed*: the path answers, and the data has stopped.  `FeedWatch` learns each topic's
own rhythm and compares.  It needs evidence that the path works.  TCP keeps the order: a pong shows
that everything sent before its ping was answered has arrived, so a silence that is longer than
it may be when the ping goes out is the venue's own, and neither the path's nor ours.  Other data
on the connection shows the same a little later.

*A quiet topic*: nothing to say.  Rhythm alone decides, so a watch that has seen little is
patient, and one that raised an alarm in vain is four times as patient the next time.

Nothing here runs for each message: watches read the times that the data path stores anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from gapless.core.rhythm import BURST_NS, Rhythm, RhythmPolicy
from gapless.core.rtt import Pings, RoundTrip

__all__ = ["FeedPolicy", "FeedWatch", "PathPolicy", "PathVerdict", "PathWatch", "Silence"]

_PATIENCE_MAX: Final = 4**6
PING_AGAIN_NS: Final = 250_000_000
"""How long after a ping the next one may be sent on suspicion, in nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPolicy:
    """How a path is probed, in nanoseconds.

    Args:
        quiet_ns: Silence after which a ping is sent.
        pong_ns: How long any frame may take to arrive after that ping, unless the round trips so
            far say that it takes longer.
        pong_max_ns: How long it may take at most.
        idle_max_ns: While the path answers but stays quiet, pings slow down to one in this time.
    """

    quiet_ns: int = 1_000_000_000
    pong_ns: int = 1_000_000_000
    pong_max_ns: int = 3_000_000_000
    idle_max_ns: int = 5_000_000_000


@unique
class PathVerdict(Enum):
    """What to do about a path now."""

    FINE = "fine"
    PING = "ping"
    DEAD = "dead"


class PathWatch:
    """Watches one connection for any frame at all.

    Attributes:
        pings: Which pings are answered.
        round_trip: How long the answers take.
        pong_ns: When the last pong came.
    """

    __slots__ = ("_gap_ns", "_heard_ns", "_pinged_ns", "_policy", "pings", "pong_ns", "round_trip")

    def __init__(self, policy: PathPolicy, now_ns: int) -> None:
        self._policy = policy
        self._heard_ns = now_ns
        self._gap_ns = policy.quiet_ns  # grows while pongs are all that comes
        self._pinged_ns: int | None = None
        self.pings = Pings()
        self.round_trip = RoundTrip()
        self.pong_ns: int | None = None

    @property
    def rtt_ns(self) -> int | None:
        """Round trip of the last ping whose answer was its own, in nanoseconds."""
        return self.round_trip.newest_ns

    def pong(self, now_ns: int) -> None:
        """Note the answer to a ping."""
        self.pong_ns = now_ns
        rtt_ns = self.pings.answered(now_ns)
        if rtt_ns is not None:
            self.round_trip.sample(rtt_ns)

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
            self.pings.sent(now_ns)
            return PathVerdict.PING
        return PathVerdict.DEAD

    def suspect(self, heard_ns: int, now_ns: int) -> bool:
        """Return whether to send a ping now, out of turn: the data should not be silent.

        Takes the arguments of `check`.  A ping that is under way already is answer enough.
        """
        sent_ns = self.pings.sent_ns
        if sent_ns is not None and now_ns - sent_ns < PING_AGAIN_NS:
            return False
        if self.pings.waiting and heard_ns <= self._heard_ns and self._pinged_ns is not None:
            return False
        self.pings.sent(now_ns)
        if self._pinged_ns is None and heard_ns <= self._heard_ns:
            self._pinged_ns = now_ns  # from here on the path must answer
        return True

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
        policy = self._policy
        if self._pinged_ns is not None:
            pong_ns = self.round_trip.deadline_ns(policy.pong_ns, policy.pong_max_ns)
            # A ping sent early, on suspicion, ends nobody earlier: packets that get lost and are
            # sent again make silences of more than a second on paths that work.
            return max(self._pinged_ns, self._heard_ns + policy.quiet_ns) + pong_ns
        return self._heard_ns + self._gap_ns

    def _slower_ns(self) -> int:
        return min(self._gap_ns * 2, self._policy.idle_max_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPolicy(RhythmPolicy):
    """How a topic's silence is judged, beside its rhythm.

    Args:
        confirm_ns: How much longer than its limit a silence must last where no pong proves the
            path, and only other data does.
        sick_ns: The same while the kernel says that what we send is not acknowledged.
        unproven_ns: How long a topic may take to speak for the first time, or the second.
        crowd: On a line with more topics than this, an option chain say, most are quiet for
            hours, and a line is not replaced because some of them are.
        crowd_limit_ns: In a crowd, only topics that may be silent for less are judged.
        crowd_count: And only after so many arrivals; what comes between two looks is one.
        crowd_span_ns: In so much time at least.
        missed: Another line must have brought so many messages meanwhile to show that this one
            does not bring them.
        missed_ns: And the first of them so long ago.
    """

    confirm_ns: int = 1_000_000_000
    sick_ns: int = 3_000_000_000
    unproven_ns: int = 8_000_000_000
    crowd: int = 64
    crowd_limit_ns: int = 30_000_000_000
    crowd_count: int = 200
    crowd_span_ns: int = 1_800_000_000_000
    missed: int = 5
    missed_ns: int = 500_000_000


@unique
class Silence(Enum):
    """What a topic's silence means, or what is wrong though it speaks."""

    NONE = "none"
    STALLED = "stalled"  # it spoke, and stopped, while the path is alive
    UNPROVEN = "unproven"  # it never spoke, or once only
    SLOW = "slow"  # its data is older than it used to be when it arrives
    FROZEN = "frozen"  # messages come, and always the same


class FeedWatch:
    """Learns one rhythm and judges silences by it; survives the sessions that carry it.

    Args:
        policy: How to judge.
        armed_ns: When data may first be expected: the time of the subscribe.

    Attributes:
        rhythm: What was learned.
    """

    __slots__ = ("_armed_ns", "_last_ns", "_patience", "_policy", "_probe_patience", "rhythm")

    def __init__(self, policy: FeedPolicy, armed_ns: int) -> None:
        self._policy = policy
        self._armed_ns = armed_ns
        self._last_ns: int | None = None
        self._patience = 1
        self._probe_patience = 1
        self.rhythm = Rhythm(policy)

    def sample(self, fresh: int, last_ns: int) -> bool:
        """Learn from what has arrived.  Called on the tick, not for each message.

        Args:
            fresh: Messages since the last call.
            last_ns: When the newest arrived.  If it is the same as before, what is fresh came
                another way, and says nothing of this one.

        Returns:
            Whether anything has arrived.
        """
        before_ns = self._last_ns
        if fresh <= 0 or (before_ns is not None and last_ns <= before_ns):
            return False
        if before_ns is not None and self._armed_ns <= before_ns:
            # A silence across a new subscription is the fault's and not the topic's own.
            gap_ns = last_ns - before_ns
            self.rhythm.learn(fresh, gap_ns, gap_ns if fresh == 1 else gap_ns - BURST_NS // 2)
        self._last_ns = last_ns
        self._patience = 1
        return True

    def arm(self, now_ns: int) -> None:
        """Count silence from ``now_ns``: the topic has been subscribed anew."""
        self._armed_ns = now_ns

    @property
    def limit_ns(self) -> int:
        """How long this topic may be silent once it has spoken, in nanoseconds."""
        return self.rhythm.limit_ns * self._patience

    @property
    def patience(self) -> int:
        """How many times as long as usual it may be silent, after alarms in vain."""
        return self._patience

    @property
    def has_rhythm(self) -> bool:
        """Whether it has spoken often enough for its silence to be measured."""
        return self.rhythm.count > 0

    @property
    def since_ns(self) -> int:
        """Since when it is silent, or was subscribed if that was later."""
        return self._armed_ns if self._last_ns is None else max(self._last_ns, self._armed_ns)

    def overdue(self, now_ns: int) -> bool:
        """Whether the present silence is longer than it may be, if it is the venue's."""
        rhythm = self.rhythm
        return rhythm.tells and now_ns - self.since_ns >= rhythm.limit_ns * self._patience

    def due_ns(self, now_ns: int) -> int | None:
        """Return when the present silence will be worth a remark, or an alarm, if it goes on."""
        rhythm = self.rhythm
        if not rhythm.tells:
            return None
        since_ns = self.since_ns
        for due_ns in (since_ns + rhythm.stale_ns, since_ns + rhythm.limit_ns * self._patience):
            if due_ns > now_ns:
                return due_ns
        return None

    def quiet_until_ns(self, latest_ns: int) -> int:
        """Return until when silence means nothing, if nothing comes; at most ``latest_ns``."""
        if not self.rhythm.count:
            return min(latest_ns, self.since_ns + self._policy.unproven_ns * self._probe_patience)
        return min(latest_ns, self.since_ns + self.limit_ns) if self.rhythm.tells else latest_ns

    def judge(
        self, now_ns: int, heard_ns: int | None, proven_ns: int | None = None, *, sick: bool = False
    ) -> Silence:
        """Return what the present silence means.

        Args:
            now_ns: Now.
            heard_ns: When anything last arrived that is not this topic, or `None`.
            proven_ns: When the ping was sent whose answer came last, or `None`.
            sick: Whether the kernel says that what we send is not acknowledged.
        """
        policy, since_ns = self._policy, self.since_ns
        if not self.rhythm.count:  # a single message, such as a first snapshot, is no rhythm
            limit_ns = policy.unproven_ns * self._probe_patience
            return Silence.UNPROVEN if now_ns - since_ns >= limit_ns else Silence.NONE
        if not self.overdue(now_ns):
            return Silence.NONE
        limit_ns = self.limit_ns
        if proven_ns is not None and proven_ns - since_ns >= limit_ns:
            return Silence.STALLED
        # A dying path may bring one last frame of something else: only life well into the
        # silence shows that the path outlived the data.
        wait_ns = policy.sick_ns if sick else policy.confirm_ns
        outlived = heard_ns is not None and heard_ns - since_ns >= limit_ns // 2
        late = now_ns - since_ns >= limit_ns + wait_ns
        return Silence.STALLED if outlived and late else Silence.NONE

    def acted(self, now_ns: int, probes: int = 4) -> None:
        """Note that something was done about the silence; be four times as patient.

        Args:
            now_ns: Now.
            probes: How many times as patient with what has never spoken.
        """
        self._patience = min(self._patience * 4, _PATIENCE_MAX)
        self._probe_patience = min(self._probe_patience * probes, _PATIENCE_MAX)
        self._armed_ns = now_ns

    def silent_ns(self, now_ns: int) -> int:
        """Return how long the topic has been silent, in nanoseconds."""
        return now_ns - (self._armed_ns if self._last_ns is None else self._last_ns)
