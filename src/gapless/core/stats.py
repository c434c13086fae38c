"""Counters and histograms: plain integers, copied out as immutable snapshots.

Nothing here runs for each message.  Streams and drivers count with plain attributes; the
tick samples; a caller who asks gets a copy.
"""

from __future__ import annotations

import math

from msgspec import Struct

__all__ = ["FeedStats", "Histogram", "LineStats", "SessionEnd", "TopicStats"]

_SUB_BITS = 3  # eight linear steps in each power of two: at most 12.5 % error


class Histogram:
    """A log-linear histogram of non-negative integers, such as nanoseconds.

    Values from 0 to 2**62 fall into at most 8 x 60 buckets; a quantile is off by at most
    one eighth of its value.
    """

    __slots__ = ("_counts", "count", "highest")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.highest = 0

    def record(self, value: int) -> None:
        """Count one value; negative values count as 0."""
        value = max(0, value)
        shift = max(0, value.bit_length() - _SUB_BITS - 1)
        bucket = (shift << _SUB_BITS) + (value >> shift)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.highest = max(self.highest, value)

    def quantile(self, share: float) -> int | None:
        """Return the upper end of the bucket that holds this quantile, or `None` if empty."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return min(self.highest, _upper(bucket))
        return self.highest


def _upper(bucket: int) -> int:
    shift = max(0, (bucket >> _SUB_BITS) - 1)
    return ((bucket - (shift << _SUB_BITS) + 1) << shift) - 1


class SessionEnd(Struct, frozen=True):
    """How one session ended."""

    line: str
    epoch: int
    cause: str
    live_s: float


class TopicStats(Struct, frozen=True):
    """One topic, counted since the feed was opened.

    Attributes:
        trust: `gapless.core.stream.Trust` value.
        because: Why, where the trust is not ``live``.
        since_s: Seconds since when it is ``slow``, ``stale`` or ``frozen``; otherwise `None`.
        evidence: What shows it; empty where there is nothing besides ``because``.
        age_s: Seconds since its newest event, or `None` if there has been none.
        received: Messages of this topic from all lines.
        missing: Messages known to be missing; less those that were fetched since.
        backfilled: Messages that were missed, fetched and delivered; not in ``delivered``.
        standing: How far it is proven that the venue carries it, on the line that has come least
            far: a `gapless.core.reconciliation.Standing` value.
        unverified_s: Seconds since anything last proved that the venue still sends it, where its
            silence proves nothing and nothing else could be checked; otherwise `None`.
        diverged: How often two lines said different things of the same message.
    """

    topic: str
    channel: str
    symbol: str
    trust: str
    because: str
    age_s: float | None
    received: int
    delivered: int
    duplicates: int
    dropped: int
    gaps: int
    missing: int
    backfilled: int = 0
    since_s: float | None = None
    evidence: str = ""
    standing: str = ""
    unverified_s: float | None = None
    diverged: int = 0


class LineStats(Struct, frozen=True):
    """One line.

    Attributes:
        rtt_ms: Round trip of the last ping, or `None`.
        dial_ms: Stages of the last dial: dns, tcp, tls, upgrade.
        frames: Frames of the present session.
        retry_in_s: Seconds to the next dial while cooling, or `None`.
        host: Host of the endpoint that the newest connection goes to; empty before the first.
        address: The host's address that answered.
        egress: Our own address of that connection, which the venue may see differently.
        shares: Lines that carry the same, and have the same ``host``, ``egress`` or ``address``:
            what breaks there breaks them together.
        wins, losses: Messages that it brought before and after another line did, since the feed
            was opened.  What only one line has brought is neither.
        late_ms: How late it was where it was not the first: p50 and p99, sampled.
    """

    line: str
    state: str
    epoch: int | None
    rtt_ms: float | None
    dial_ms: dict[str, float]
    frames: int
    retry_in_s: float | None
    host: str = ""
    address: str = ""
    egress: str = ""
    shares: dict[str, tuple[str, ...]] = {}
    wins: int = 0
    losses: int = 0
    late_ms: tuple[float, float] | None = None


class FeedStats(Struct, frozen=True):
    """A feed, counted since it was opened.

    Attributes:
        missing: Messages known to be missing, where the numbering counts them; less those
            that were fetched since.
        backfilled: Messages that were missed, fetched and delivered; not in ``delivered``.
        dials: Connection attempts.
        sessions: Sessions that went live.
        violations: Frames that broke the protocol or could not be decoded.
        strays: Well-formed frames that nobody asked for.
        overflowed: Events dropped because the consumer was behind; each is inside a `Gap`.
        conflated: Events that reached the consumer combined with a later one; counted among those
            delivered.
        breaker: Whether the venue lets us dial, a `gapless.core.breaker.BreakerState` value.
        dials_used: Share of the tightest dial limit that is in use, as far as this process knows.
        apparent_delay_ms: Receive time minus the venue's time, sampled: p50 and p99.  Holds the
            difference of the two clocks.
    """

    venue: str
    topics: tuple[TopicStats, ...]
    lines: tuple[LineStats, ...]
    ended: tuple[SessionEnd, ...]
    received: int
    delivered: int
    duplicates: int
    gaps: int
    missing: int
    dials: int
    sessions: int
    violations: int
    strays: int
    overflowed: int
    apparent_delay_ms: tuple[float, float] | None
    backfilled: int = 0
    conflated: int = 0
    breaker: str = "closed"
    dials_used: float = 0.0
