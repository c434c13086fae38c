"""Desired lines against actual sessions.

The supervisor decides, the conductor runs.  Events (`live`, `ended`, `rotate`) only change
what is known; `reconcile` compares it with what is wanted and returns actions.  A session
that ended stays ended: the line gets a new one, with the next epoch, when the backoff, the
dial budget and the venue's wishes allow it.

Replacing a session that still works is *make before break*: its successor is dialled first,
both run side by side until the successor is live and has overlapped, then the old one retires.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from random import Random
from types import MappingProxyType
from typing import Final

from gapless.core.backoff import Backoff, BackoffPolicy
from gapless.core.budget import Budget
from gapless.core.reaction import Disposition, Ending, classify, disposition
from gapless.errors import IllegalTransition, RateLimited

__all__ = [
    "LINE_TRANSITIONS",
    "Action",
    "LineSignal",
    "LineState",
    "Retire",
    "Start",
    "Supervisor",
    "line_step",
]

OVERLAP_NS: Final = 1_000_000_000
"""How long a successor runs beside the session it replaces, in nanoseconds."""

OPTIONAL_SHARE: Final = 0.8
"""Share of the dial budget beyond which replacements of working sessions wait."""

POSTPONE_NS: Final = 5_000_000_000


@unique
class LineState(Enum):
    """Where one line stands."""

    DOWN = "down"
    COOLING = "cooling"  # waiting for backoff, budget or the venue
    STARTING = "starting"
    UP = "up"
    ROTATING = "rotating"  # up, with a successor on its way
    HALTED = "halted"
    STOPPED = "stopped"


@unique
class LineSignal(Enum):
    """What can happen to a line."""

    WAIT = "wait"
    START = "start"
    LIVE = "live"  # the current session is live
    LOST = "lost"  # the current session ended
    ROTATE = "rotate"  # a successor was started
    SWITCH = "switch"  # the successor takes over
    KEEP = "keep"  # the successor failed; the old session goes on
    HALT = "halt"
    STOP = "stop"


_L, _G = LineState, LineSignal

LINE_TRANSITIONS: Final[Mapping[LineState, Mapping[LineSignal, LineState]]] = MappingProxyType(
    {
        _L.DOWN: {
            _G.WAIT: _L.COOLING,
            _G.START: _L.STARTING,
            _G.HALT: _L.HALTED,
            _G.STOP: _L.STOPPED,
        },
        _L.COOLING: {
            _G.WAIT: _L.COOLING,
            _G.START: _L.STARTING,
            _G.HALT: _L.HALTED,
            _G.STOP: _L.STOPPED,
        },
        _L.STARTING: {
            _G.LIVE: _L.UP,
            _G.LOST: _L.DOWN,
            _G.HALT: _L.HALTED,
            _G.STOP: _L.STOPPED,
        },
        _L.UP: {
            _G.LOST: _L.DOWN,
            _G.ROTATE: _L.ROTATING,
            _G.HALT: _L.HALTED,
            _G.STOP: _L.STOPPED,
        },
        _L.ROTATING: {
            _G.SWITCH: _L.UP,
            _G.KEEP: _L.UP,
            _G.LOST: _L.STARTING,  # the successor is all that is left
            _G.HALT: _L.HALTED,
            _G.STOP: _L.STOPPED,
        },
        _L.HALTED: {_G.STOP: _L.STOPPED},
        _L.STOPPED: {},
    }
)


def line_step(state: LineState, signal: LineSignal) -> LineState:
    """Return the state that follows ``state`` when ``signal`` arrives.

    Raises:
        IllegalTransition: If the table has no such cell.
    """
    try:
        return LINE_TRANSITIONS[state][signal]
    except KeyError:
        raise IllegalTransition(f"{signal.name} while {state.name}") from None


@dataclass(frozen=True, slots=True)
class Start:
    """Start a session.

    Attributes:
        line: Of which line.
        epoch: Its number; no two sessions of a feed share one.
        endpoint: Index of the endpoint to dial.
        cause: Why: ``first``, or what ended or threatens the one before.
    """

    line: str
    epoch: int
    endpoint: int
    cause: str


@dataclass(frozen=True, slots=True)
class Retire:
    """End a session as planned."""

    epoch: int
    cause: str


Action = Start | Retire


@dataclass(slots=True)
class _Line:
    name: str
    endpoint: int
    backoff: Backoff
    state: LineState = LineState.DOWN
    epoch: int | None = None  # the session that carries the line
    successor: int | None = None
    successor_live_ns: int | None = None
    until_ns: int = 0  # no dial before
    rotate_at_ns: int | None = None  # wanted since; `None` if not wanted
    cause: str = "first"
    urgent: bool = False
    halted_by: str = ""


class Supervisor:
    """Keeps every line at one live session.

    Args:
        lines: Names of the lines.
        endpoints: How many endpoints there are to choose from.
        dials: The venue's dial budget; shared by all who leave by the same address.
        policy: Bounds of the waits.
        rng: Source of jitter.
    """

    def __init__(
        self,
        lines: Sequence[str],
        endpoints: int,
        dials: Budget,
        policy: BackoffPolicy,
        rng: Random,
    ) -> None:
        self._endpoints = endpoints
        self._dials = dials
        self._policy = policy
        self._rng = rng
        self._lines: dict[str, _Line] = {}
        for name in lines:
            self.add(name)
        self._epoch = 0
        self._lost_ns: deque[int] = deque(maxlen=1024)
        self._stopping = False

    # -- what is wanted ---------------------------------------------------------------------

    def add(self, line_name: str) -> None:
        """Want one more line."""
        endpoint = len(self._lines) % self._endpoints
        backoff = Backoff(self._policy, self._rng)
        self._lines[line_name] = _Line(line_name, endpoint, backoff)

    def remove(self, line_name: str) -> list[Action]:
        """Want this line no more; return what ends its sessions."""
        line = self._lines.pop(line_name, None)
        return [] if line is None else _retire_all(line, "nothing is left to carry")

    # -- what happens -----------------------------------------------------------------------

    def live(self, epoch: int, now_ns: int) -> None:
        """Note that a session has every topic granted or refused."""
        line = self._line_of(epoch)
        if line is None:
            return
        if epoch == line.successor:
            line.successor_live_ns = now_ns
        elif line.state is LineState.STARTING:
            self._signal(line, LineSignal.LIVE)

    def ended(self, epoch: int, cause: Exception | None, useful_ns: int, now_ns: int) -> None:
        """Note that a session is over.

        Args:
            epoch: Which.
            cause: Why, or `None` if it was planned.
            useful_ns: How long it brought data, in nanoseconds.
            now_ns: When.
        """
        line = self._line_of(epoch)
        if line is None:
            return  # already replaced
        line.backoff.useful(useful_ns)
        wait_ns = self._wait_ns(line, cause, now_ns)
        if epoch == line.successor:
            line.successor = line.successor_live_ns = None
            self._signal(line, LineSignal.KEEP)
            # The unknown is never retried; the session that works is kept.
            unknown = cause is not None and disposition(cause) is Disposition.HALT
            line.rotate_at_ns = None if unknown else now_ns + max(wait_ns, POSTPONE_NS)
            return
        self._current_lost(line, wait_ns, now_ns)
        line.cause = "planned" if cause is None else str(cause)
        if cause is not None and disposition(cause) is Disposition.HALT:
            self.halt(line.name, f"{type(cause).__name__}: {cause}")

    def rotate(self, epoch: int, cause: str, now_ns: int, *, urgent: bool = False) -> bool:
        """Ask for the replacement of a session that still works, or as soon as it does.

        Args:
            epoch: Which.
            cause: Why.
            now_ns: When.
            urgent: Whether it may spend the reserve of the dial budget.

        Returns:
            Whether this is news: `False` if a replacement is on its way or wanted already.
        """
        line = self._line_of(epoch)
        if line is None or line.rotate_at_ns is not None:
            return False
        if line.state is LineState.ROTATING and epoch != line.successor:
            return False
        line.rotate_at_ns, line.cause, line.urgent = now_ns, cause, urgent
        return True

    def halt(self, line_name: str, cause: str) -> None:
        """Give a line up for good: the unknown is never retried."""
        line = self._lines[line_name]
        if line.state not in {LineState.HALTED, LineState.STOPPED}:
            self._signal(line, LineSignal.HALT)
            line.halted_by = cause

    def stop(self) -> None:
        """Want nothing any more."""
        self._stopping = True

    # -- what to do -------------------------------------------------------------------------

    def reconcile(self, now_ns: int) -> list[Action]:
        """Return what must be done now, and count it as done."""
        actions: list[Action] = []
        for line in self._lines.values():
            if self._stopping:
                actions += self._stop_line(line)
            else:
                actions += self._advance(line, now_ns)
        return actions

    @property
    def deadline_ns(self) -> int | None:
        """When `reconcile` must be called next, monotonic; `None` if only events matter."""
        times: list[int] = []
        for line in self._lines.values():
            match line.state:
                case LineState.DOWN | LineState.COOLING:
                    times.append(line.until_ns)
                case LineState.UP if line.rotate_at_ns is not None:
                    times.append(line.rotate_at_ns)
                case LineState.ROTATING if line.successor_live_ns is not None:
                    times.append(line.successor_live_ns + OVERLAP_NS)
                case _:
                    pass
        return min(times, default=None)

    def states(self) -> dict[str, LineState]:
        """Return where each line stands."""
        return {name: line.state for name, line in self._lines.items()}

    def retry_in_ns(self, line_name: str, now_ns: int) -> int | None:
        """Return how long until a cooling line may dial, or `None` if it does not wait."""
        line = self._lines[line_name]
        return max(0, line.until_ns - now_ns) if line.state is LineState.COOLING else None

    @property
    def halted(self) -> str | None:
        """Why no line is left, or `None` while one is."""
        if self._lines and all(line.state is LineState.HALTED for line in self._lines.values()):
            return next(iter(self._lines.values())).halted_by
        return None

    def _advance(self, line: _Line, now_ns: int) -> list[Action]:
        match line.state:
            case LineState.DOWN | LineState.COOLING:
                return self._try_start(line, now_ns)
            case LineState.UP if line.rotate_at_ns is not None and now_ns >= line.rotate_at_ns:
                return self._try_successor(line, now_ns)
            case LineState.ROTATING if (
                line.successor_live_ns is not None and now_ns >= line.successor_live_ns + OVERLAP_NS
            ):
                return self._switch(line)
            case LineState.HALTED:
                return _retire_all(line, "halted")
            case _:
                return []

    def _try_start(self, line: _Line, now_ns: int) -> list[Action]:
        line.until_ns = max(line.until_ns, now_ns + self._dials.wait_ns(now_ns))
        if line.until_ns > now_ns:
            self._signal(line, LineSignal.WAIT)
            return []
        self._dials.spend(now_ns)
        self._signal(line, LineSignal.START)
        self._epoch += 1
        line.epoch = self._epoch
        return [Start(line.name, self._epoch, line.endpoint, line.cause)]

    def _try_successor(self, line: _Line, now_ns: int) -> list[Action]:
        wait_ns = self._dials.wait_ns(now_ns)
        if not wait_ns and not line.urgent and self._dials.used_ratio(now_ns) >= OPTIONAL_SHARE:
            wait_ns = POSTPONE_NS
        if wait_ns:
            line.rotate_at_ns = now_ns + wait_ns
            return []
        self._dials.spend(now_ns)
        self._signal(line, LineSignal.ROTATE)
        self._epoch += 1
        line.successor = self._epoch
        line.rotate_at_ns = None
        if self._endpoints > 1:  # a sick endpoint is left behind
            line.endpoint = (line.endpoint + 1) % self._endpoints
        return [Start(line.name, self._epoch, line.endpoint, line.cause)]

    def _switch(self, line: _Line) -> list[Action]:
        old, line.epoch = line.epoch, line.successor
        line.successor = line.successor_live_ns = None
        self._signal(line, LineSignal.SWITCH)
        return [] if old is None else [Retire(old, line.cause)]

    def _stop_line(self, line: _Line) -> list[Action]:
        if line.state is LineState.STOPPED:
            return []
        self._signal(line, LineSignal.STOP)
        return _retire_all(line, "stopped")

    # -- after a session ---------------------------------------------------------------------

    def _wait_ns(self, line: _Line, cause: Exception | None, now_ns: int) -> int:
        ending = classify(cause)
        self._lost_ns.append(now_ns)
        retry_after_ns = 0
        if isinstance(cause, RateLimited) and cause.retry_after_ns is not None:
            retry_after_ns = cause.retry_after_ns
        wait_ns = line.backoff.wait_ns(
            ending,
            now_ns,
            retry_after_ns=retry_after_ns,
            lost_last_s=sum(now_ns - lost < 1_000_000_000 for lost in self._lost_ns),
        )
        if ending in {Ending.LIMITED, Ending.POLICY}:
            # The venue means all of us, not this line alone.
            self._dials.close_until(now_ns + max(retry_after_ns, wait_ns))
        if ending is Ending.NEVER_UPGRADED:
            line.endpoint = (line.endpoint + 1) % self._endpoints
        return wait_ns

    def _current_lost(self, line: _Line, wait_ns: int, now_ns: int) -> None:
        if line.state is LineState.ROTATING:
            line.epoch, line.successor = line.successor, None
            live = line.successor_live_ns is not None
            line.successor_live_ns = None
            self._signal(line, LineSignal.LOST)
            if live:
                self._signal(line, LineSignal.LIVE)
            return
        line.epoch = line.rotate_at_ns = None
        line.until_ns = now_ns + wait_ns
        self._signal(line, LineSignal.LOST)

    def _line_of(self, epoch: int) -> _Line | None:
        for line in self._lines.values():
            if line.state in {LineState.HALTED, LineState.STOPPED}:
                continue
            if epoch in (line.epoch, line.successor):
                return line
        return None

    def _signal(self, line: _Line, signal: LineSignal) -> None:
        line.state = line_step(line.state, signal)


def _retire_all(line: _Line, cause: str) -> list[Action]:
    epochs = [epoch for epoch in (line.epoch, line.successor) if epoch is not None]
    line.epoch = line.successor = None
    return [Retire(epoch, cause) for epoch in epochs]
