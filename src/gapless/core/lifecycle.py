"""The life of one session, as a table.

A *session* is one WebSocket connection, from the decision to dial to the end of
the closing handshake.  This module holds every transition and nothing else, so
that the table can be read in one screen, drawn by ``tools/draw_states.py`` and
checked exhaustively by ``tests/core/test_lifecycle.py``.

Redialling is not in the table.  A session that ends stays ended; the supervisor
starts a new one with the next epoch.  That is what makes a late frame from the
previous connection harmless: its epoch no longer matches.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from gapless.errors import IllegalTransition

__all__ = ["TERMINAL", "TRANSITIONS", "Phase", "Signal", "step"]


@unique
class Phase(Enum):
    """Where a session is in its life."""

    IDLE = "idle"
    DIALING = "dialing"
    LOGGING_IN = "logging-in"
    SUBSCRIBING = "subscribing"
    LIVE = "live"
    DRAINING = "draining"
    CLOSING = "closing"
    ENDED = "ended"


@unique
class Signal(Enum):
    """What can happen to a session."""

    DIAL = "dial"  # the supervisor spent connection budget on us
    OPENED = "opened"  # TCP, TLS and the upgrade all succeeded
    LOGIN_NEEDED = "login-needed"
    LOGGED_IN = "logged-in"
    SUBSCRIBED = "subscribed"  # every topic confirmed or individually refused
    RETIRE = "retire"  # planned end: rotation, maintenance, caller leaving
    DRAINED = "drained"  # nothing in flight any more
    ABORT = "abort"  # unplanned end decided by us: stalled, refused, violated
    LOST = "lost"  # the transport is gone, whoever started it


_P, _S = Phase, Signal

TRANSITIONS: Final[Mapping[Phase, Mapping[Signal, Phase]]] = MappingProxyType(
    {
        _P.IDLE: {_S.DIAL: _P.DIALING, _S.RETIRE: _P.ENDED},
        _P.DIALING: {
            _S.OPENED: _P.SUBSCRIBING,
            _S.LOGIN_NEEDED: _P.LOGGING_IN,
            _S.RETIRE: _P.CLOSING,
            _S.ABORT: _P.CLOSING,
            _S.LOST: _P.ENDED,
        },
        _P.LOGGING_IN: {
            _S.LOGGED_IN: _P.SUBSCRIBING,
            _S.RETIRE: _P.CLOSING,
            _S.ABORT: _P.CLOSING,
            _S.LOST: _P.ENDED,
        },
        _P.SUBSCRIBING: {
            _S.SUBSCRIBED: _P.LIVE,
            _S.RETIRE: _P.CLOSING,
            _S.ABORT: _P.CLOSING,
            _S.LOST: _P.ENDED,
        },
        _P.LIVE: {_S.RETIRE: _P.DRAINING, _S.ABORT: _P.CLOSING, _S.LOST: _P.ENDED},
        _P.DRAINING: {_S.DRAINED: _P.CLOSING, _S.ABORT: _P.CLOSING, _S.LOST: _P.ENDED},
        _P.CLOSING: {_S.LOST: _P.ENDED},
        _P.ENDED: {},
    }
)

TERMINAL: Final = frozenset({Phase.ENDED})


def step(phase: Phase, signal: Signal) -> Phase:
    """Return the phase that follows ``phase`` when ``signal`` arrives.

    Raises:
        IllegalTransition: If the table has no such cell.
    """
    try:
        return TRANSITIONS[phase][signal]
    except KeyError:
        raise IllegalTransition(f"{signal.name} while {phase.name}") from None
