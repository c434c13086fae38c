"""How long an answer may take: round trips smoothed in the manner of Jacobson and Karels.

``srtt + 4 x rttvar`` follows a path that is slow by nature and one that varies, without a figure
that somebody guessed.  Only an answer that can belong to one question alone is a sample (Karn): a
pong after two pings says that the path works, and not how fast.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Pings", "RoundTrip"]

_GAIN: Final = 8  # a new sample moves the smoothed round trip by an eighth
_GAIN_VAR: Final = 4  # and its variation by a quarter
PINGS_MAX: Final = 8


class RoundTrip:
    """The smoothed round trip and its variation, in nanoseconds."""

    __slots__ = ("newest_ns", "rttvar_ns", "srtt_ns")

    def __init__(self) -> None:
        self.newest_ns: int | None = None
        self.srtt_ns: int | None = None
        self.rttvar_ns = 0

    def sample(self, rtt_ns: int) -> None:
        """Take one measured round trip."""
        self.newest_ns = rtt_ns
        if self.srtt_ns is None:
            self.srtt_ns, self.rttvar_ns = rtt_ns, rtt_ns // 2
            return
        error_ns = rtt_ns - self.srtt_ns
        self.srtt_ns += error_ns // _GAIN
        self.rttvar_ns += (abs(error_ns) - self.rttvar_ns) // _GAIN_VAR

    def deadline_ns(self, floor_ns: int, cap_ns: int) -> int:
        """Return how long an answer may take; ``floor_ns`` as long as nothing was measured."""
        if self.srtt_ns is None:
            return floor_ns
        return min(cap_ns, max(floor_ns, self.srtt_ns + 4 * self.rttvar_ns))


class Pings:
    """Which pings are unanswered, and what an answer proves.

    Attributes:
        proven_ns: When the newest ping was sent that is known to be answered, monotonic.  TCP
            keeps the order, so everything that the peer had sent by then has arrived.
        sent_ns: When the newest ping was sent, or `None`.
    """

    __slots__ = ("_open", "proven_ns", "sent_ns")

    def __init__(self) -> None:
        self._open: deque[int] = deque(maxlen=PINGS_MAX)
        self.proven_ns: int | None = None
        self.sent_ns: int | None = None

    def sent(self, now_ns: int) -> None:
        """Note that a ping goes out."""
        self._open.append(now_ns)
        self.sent_ns = now_ns

    def answered(self, now_ns: int) -> int | None:
        """Note a pong; return the round trip if it can be told.

        A peer may answer the newest of several pings only.  What is certain is the oldest, and
        the others are forgotten with it.
        """
        if not self._open:
            return None  # nobody asked
        alone, oldest_ns = len(self._open) == 1, self._open[0]
        self._open.clear()
        self.proven_ns = oldest_ns
        return now_ns - oldest_ns if alone else None

    @property
    def waiting(self) -> bool:
        """Whether a ping is unanswered."""
        return bool(self._open)
