from __future__ import annotations

import pytest

from gapless.core.reaction import POLICY_CLOSES, Disposition, Ending, classify, disposition
from gapless.errors import (
    ChecksumMismatch,
    ConnectionLost,
    DecodeError,
    DialFailed,
    IllegalTransition,
    LoginRejected,
    NotSent,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    RequestRejected,
    Stalled,
    SubscriptionRejected,
    TransportError,
    VenueError,
)

SECOND = 10**9


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TransportError(), Disposition.REDIAL),
        (DialFailed("tcp", "wss://a", "refused"), Disposition.REDIAL),
        (ConnectionLost(), Disposition.REDIAL),
        (ConnectionLost(1000), Disposition.REDIAL),
        (Stalled(SECOND, "no data"), Disposition.REDIAL),
        (RateLimited(429), Disposition.REDIAL),
        (RateLimited(429, SECOND), Disposition.REDIAL),
        (LoginRejected(), Disposition.REDIAL),
        (LoginRejected(13004, "", permanent=True), Disposition.HALT),
        (SubscriptionRejected("a", 1, ""), Disposition.REPORT),
        (RequestRejected(1, "no"), Disposition.REPORT),
        (VenueError(), Disposition.REPORT),
        (NotSent(), Disposition.REPORT),
        (OutcomeUnknown(), Disposition.REPORT),
        (ProtocolViolation("rsv1"), Disposition.RESYNC),
        (DecodeError("not JSON"), Disposition.RESYNC),
        (ChecksumMismatch("7 is not 8"), Disposition.RESYNC),
        (IllegalTransition(), Disposition.HALT),
        (KeyError("price"), Disposition.HALT),
        (RuntimeError(), Disposition.HALT),
    ],
    ids=repr,
)
def test_every_error_has_one_disposition(error, expected):
    assert disposition(error) is expected


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (None, Ending.PLANNED),
        (RateLimited(503), Ending.NEVER_UPGRADED),
        (RateLimited(503, 2 * SECOND), Ending.LIMITED),
        (RateLimited(429, 2 * SECOND), Ending.LIMITED),
        (RateLimited(429, 0), Ending.LIMITED),
        (RateLimited(418, 2 * SECOND), Ending.LIMITED),
        (RateLimited(429), Ending.BUSY),
        (RateLimited(10028), Ending.POLICY),
        (RateLimited(418), Ending.POLICY),
        (RateLimited(403), Ending.POLICY),
        (LoginRejected(), Ending.LOGIN),
        (ConnectionLost(1008), Ending.POLICY),
        (DialFailed("dns", "wss://a", "no such name"), Ending.NEVER_UPGRADED),
        (DialFailed("tcp", "wss://a", "refused"), Ending.NEVER_UPGRADED),
        (DialFailed("tls", "wss://a", "expired"), Ending.NEVER_UPGRADED),
        (DialFailed("upgrade", "wss://a", "not found", 404), Ending.NEVER_UPGRADED),
        (DialFailed("login", "wss://a", "no answer"), Ending.UNSTABLE),
        (DialFailed("subscribe", "wss://a", "no answer"), Ending.UNSTABLE),
        (ConnectionLost(), Ending.UNSTABLE),
        (ConnectionLost(1000), Ending.UNSTABLE),  # a clean close that nobody asked for
        (ConnectionLost(1001), Ending.UNSTABLE),
        (ConnectionLost(1012), Ending.UNSTABLE),
        (Stalled(SECOND, ""), Ending.UNSTABLE),
        (ProtocolViolation("rsv1"), Ending.UNSTABLE),
        (KeyError("price"), Ending.UNSTABLE),
    ],
    ids=repr,
)
def test_every_end_counts_as_one_kind(cause, expected):
    assert classify(cause) is expected


def test_the_policy_closes_are_named_codes_that_mean_not_welcome():
    assert 1008 in POLICY_CLOSES
    assert all(code == 1008 or 4000 <= code < 5000 for code in POLICY_CLOSES)
    assert all(classify(ConnectionLost(code)) is Ending.POLICY for code in POLICY_CLOSES)
