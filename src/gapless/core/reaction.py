"""What is done about an error.  The only place that decides."""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from gapless.errors import (
    ConnectionLost,
    DialFailed,
    LoginRejected,
    NotSent,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    TransportError,
    VenueError,
)

__all__ = ["POLICY_CLOSES", "STAY_AWAY", "Disposition", "Ending", "classify", "disposition"]

POLICY_CLOSES: Final = frozenset({1008, 4001, 4002, 4003, 4004, 4008, 4009, 4029})
"""Close codes that mean *not welcome*; RFC 6455 defines 1008, venues use some of 4000 up."""


@unique
class Disposition(Enum):
    """What an error asks for."""

    REDIAL = "redial"  # this session is over; open another after a wait
    RESYNC = "resync"  # the session is fine, one feed must rebuild its state
    REPORT = "report"  # tell the caller; nothing to heal
    HALT = "halt"  # unknown to us, or final: trying again may repeat the mistake


@unique
class Ending(Enum):
    """How a session ended, as far as the next dial is concerned."""

    NEVER_UPGRADED = "never-upgraded"  # refused, timed out, no route
    UNSTABLE = "unstable"  # was upgraded, and did not last
    LIMITED = "limited"  # the venue named a time to stay away
    BUSY = "busy"  # too much, no time named: probe gently at first
    LOGIN = "login"  # who we are was not believed: venues call good keys bad for a while
    POLICY = "policy"  # not welcome, no time named: probe slowly
    PLANNED = "planned"  # we ended it ourselves


STAY_AWAY: Final = frozenset({Ending.LIMITED, Ending.BUSY, Ending.POLICY})
"""Endings that concern everybody who leaves by the same address: they open the breaker."""


def disposition(error: BaseException) -> Disposition:
    """Return what ``error`` asks for."""
    match error:
        case LoginRejected(permanent=True):
            return Disposition.HALT
        case TransportError() | RateLimited() | LoginRejected():
            return Disposition.REDIAL
        case VenueError() | NotSent() | OutcomeUnknown():
            return Disposition.REPORT
        case ProtocolViolation():
            return Disposition.RESYNC
        case _:
            return Disposition.HALT


def classify(cause: BaseException | None) -> Ending:
    """Return how a session that ended with ``cause`` counts; `None` is a planned end.

    A clean close that we did not ask for is a failure: nobody's 1000 is ours.
    """
    match cause:
        case None:
            return Ending.PLANNED
        case RateLimited(status=503, retry_after_ns=None):
            return Ending.NEVER_UPGRADED  # overloaded, not offended
        case RateLimited(retry_after_ns=wait_ns):
            if wait_ns is not None:
                return Ending.LIMITED
            return Ending.BUSY if cause.status == 429 else Ending.POLICY
        case LoginRejected():
            return Ending.LOGIN
        case DialFailed(stage="subscribe" | "login"):
            return Ending.UNSTABLE
        case DialFailed():
            return Ending.NEVER_UPGRADED
        case ConnectionLost(code=code) if code in POLICY_CLOSES:
            return Ending.POLICY
        case _:  # lost, stalled, violated, or unknown to us
            return Ending.UNSTABLE
