"""Desired lines against actual sessions.

The supervisor decides, the conductor runs.  Events (`live`, `ended`, `rotate`) only change
what is known; `reconcile` compares it with what is wanted and returns actions.  A session
that ended stays ended: the line gets a new one, with the next epoch, when the backoff, the
dial budget and the venue's wishes allow it.

Replacing a session that still works is *make before break*: its successor is dialled first,
both run side by side until the successor is live and has overlapped, then the old one retires.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from random import Random
from types import MappingProxyType
from typing import Final

from gapless.core.backoff import Backoff, BackoffPolicy
from gapless.core.budget import Budget
from gapless.core.endpoints import EndpointChoice
from gapless.core.reaction import STAY_AWAY, Disposition, Ending, classify, disposition
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
"""How long a successor runs beside the session it replaces at least, in nanoseconds."""

OVERLAP_MAX_NS: Final = 5_000_000_000
"""How long it does at most, if some topic does not show that it overlaps."""

OVERLAP_AGAIN_NS: Final = 100_000_000

TURN_NS: Final = 60_000_000_000
"""How long a replacement by choice waits at most until the lines of the other redundancies work
and none of them is being replaced, in nanoseconds."""

TURN_AGAIN_NS: Final = 250_000_000

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
        address: Which of the endpoint's addresses, or `None` if they are not known.
    """

    line: str
    epoch: int
    endpoint: int
    cause: str
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Retire:
    """End a session as planned."""

    epoch: int
    cause: str


Action = Start | Retire


@dataclass(slots=True)
class _Line:
    name: str
    backoff: Backoff
    state: LineState = LineState.DOWN
    epoch: int | None = None  # the session that carries the line
    successor: int | None = None
    successor_live_ns: int | None = None
    overlap_at_ns: int = 0  # when to look next whether the successor overlaps
    until_ns: int = 0  # no dial before
    rotate_at_ns: int | None = None  # wanted since; `None` if not wanted
    cause: str = "first"
    urgent: bool = False
    patience_ns: int = 0  # how long a replacement may wait for its turn
    waits_since_ns: int | None = None  # for its turn
    halted_by: str = ""
    failing: bool = False  # its last dial was not answered


class Supervisor:
    """Keeps every line at one live session.

    Args:
        lines: Names of the lines.
        endpoints: Chooses what is dialled; a number means that many endpoints of which nothing
            is known.
        dials: The venue's dial budget; shared by all who leave by the same address.
        policy: Bounds of the waits.
        rng: Source of jitter.

    Attributes:
        overlaps: Whether a session that is live carries on in every topic; the shell knows.
        brings_nothing: Whether it has brought no data although others have; the shell knows.
    """

    def __init__(
        self,
        lines: Sequence[str],
        endpoints: int | EndpointChoice,
        dials: Budget,
        policy: BackoffPolicy,
        rng: Random,
    ) -> None:
        self.choice = EndpointChoice(endpoints) if isinstance(endpoints, int) else endpoints
        self._dials = dials
        self._policy = policy
        self._rng = rng
        self._lines: dict[str, _Line] = {}
        for name in lines:
            self.add(name)
        self._epoch = 0
        self._probe: int | None = None  # the session by which the breaker is judged
        self._stopping = False
        self.overlaps: Callable[[int], bool] = _at_once
        self.brings_nothing: Callable[[int], bool] = _never

    # -- what is wanted ---------------------------------------------------------------------

    def add(self, line_name: str) -> None:
        """Want one more line."""
        backoff = Backoff(self._policy, self._rng)
        self._lines[line_name] = _Line(line_name, backoff)

    def remove(self, line_name: str) -> list[Action]:
        """Want this line no more; return what ends its sessions."""
        line = self._lines.pop(line_name, None)
        self.choice.forget(line_name)
        return [] if line is None else _retire_all(line, "nothing is left to carry")

    # -- what happens -----------------------------------------------------------------------

    def opened(self, epoch: int, now_ns: int) -> None:
        """Note that a dial was answered: who was refused meanwhile need not wait any longer."""
        if epoch == self._probe:
            self._dials.accepted(now_ns, lasting=False)
            if not self._dials.probing:
                self._probe = None
        soon_ns = self._policy.dial_first_ns
        for line in self._lines.values():
            if line.failing and line.state is LineState.COOLING:
                line.until_ns = min(line.until_ns, now_ns + self._rng.randint(0, soon_ns))

    def live(self, epoch: int, now_ns: int) -> None:
        """Note that a session has every topic granted or refused."""
        if epoch == self._probe:
            self._dials.accepted(now_ns)
            self._probe = None
        line = self._line_of(epoch)
        if line is None:
            return
        if epoch == line.successor:
            line.successor_live_ns = now_ns
            line.overlap_at_ns = now_ns + OVERLAP_NS
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
        self._judge_target(epoch, cause, useful_ns, now_ns)
        line = self._line_of(epoch)
        if line is None:
            self._forget_probe(epoch, now_ns)
            return  # already replaced
        line.backoff.useful(useful_ns)
        wait_ns = self._wait_ns(line, epoch, cause, now_ns)
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

    def rotate(
        self,
        epoch: int,
        cause: str,
        now_ns: int,
        *,
        urgent: bool = False,
        patience_ns: int | None = None,
    ) -> bool:
        """Ask for the replacement of a session that still works, or as soon as it does.

        Args:
            epoch: Which.
            cause: Why.
            now_ns: When.
            urgent: Whether it may spend the reserve of the dial budget.
            patience_ns: How long it may wait for its turn: no line is replaced by choice while
                one of another redundancy is, or does not work.  By default `TURN_NS`, and not
                at all if it is urgent.

        Returns:
            Whether this is news: `False` if a replacement is on its way or wanted already.
        """
        line = self._line_of(epoch)
        if line is None or line.rotate_at_ns is not None:
            return False
        if line.state is LineState.ROTATING and epoch != line.successor:
            return False
        line.rotate_at_ns, line.cause, line.urgent = now_ns, cause, urgent
        default_ns = 0 if urgent else TURN_NS
        line.patience_ns = default_ns if patience_ns is None else patience_ns
        return True

    def forgo(self, line_name: str) -> None:
        """Want no replacement of this line any more; one that is under way goes on."""
        line = self._lines.get(line_name)
        if line is not None:
            line.rotate_at_ns = line.waits_since_ns = None

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
                    times.append(line.overlap_at_ns)
                case _:
                    pass
        return min(times, default=None)

    def states(self) -> dict[str, LineState]:
        """Return where each line stands."""
        return {name: line.state for name, line in self._lines.items()}

    def epoch_of(self, line_name: str) -> int | None:
        """Return the session that carries a line, or `None` if none does."""
        line = self._lines.get(line_name)
        return None if line is None else line.epoch

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
            case LineState.ROTATING if line.successor_live_ns is not None:
                return self._switch(line, line.successor_live_ns, now_ns)
            case LineState.HALTED:
                return _retire_all(line, "halted")
            case _:
                return []

    def _try_start(self, line: _Line, now_ns: int) -> list[Action]:
        if line.until_ns <= now_ns:
            wait_ns = self._dials.take(now_ns, optional=self._is_spare(line), paced=line.failing)
            line.until_ns = now_ns + wait_ns
        if line.until_ns > now_ns:
            self._signal(line, LineSignal.WAIT)
            return []
        self._signal(line, LineSignal.START)
        line.epoch = self._paid()
        return [self._start(line, now_ns)]

    def _try_successor(self, line: _Line, now_ns: int) -> list[Action]:
        if not self._is_its_turn(line, now_ns):
            line.rotate_at_ns = now_ns + TURN_AGAIN_NS
            return []
        if wait_ns := self._dials.take(now_ns, optional=not line.urgent):
            line.rotate_at_ns = now_ns + wait_ns
            return []
        self._signal(line, LineSignal.ROTATE)
        line.successor = self._paid()
        line.rotate_at_ns = line.waits_since_ns = None
        return [self._start(line, now_ns, successor=True)]

    def _is_spare(self, line: _Line) -> bool:
        """Whether another redundancy carries, or is about to carry, what this line would."""
        alike = (o for o in self._lines.values() if _backs(o, line) and o.name[1:] == line.name[1:])
        return any(other.epoch is not None for other in alike)

    def _paid(self) -> int:
        """Return the epoch of a dial that was just paid for; it may be the breaker's probe."""
        self._epoch += 1
        if self._dials.probing:
            self._probe = self._epoch
        return self._epoch

    def _start(self, line: _Line, now_ns: int, *, successor: bool = False) -> Start:
        target = self.choice.pick(line.name, self._epoch, now_ns, successor=successor)
        return Start(line.name, self._epoch, target.endpoint, line.cause, target.address)

    def _is_its_turn(self, line: _Line, now_ns: int) -> bool:
        """Whether nothing speaks against replacing a session of this line now."""
        if not any(_is_shaky(other) for other in self._lines.values() if _backs(other, line)):
            return True
        if line.waits_since_ns is None:
            line.waits_since_ns = now_ns
        return now_ns >= line.waits_since_ns + line.patience_ns

    def _switch(self, line: _Line, live_ns: int, now_ns: int) -> list[Action]:
        """Let the successor take over, once it overlaps or has had time enough for it."""
        if now_ns < line.overlap_at_ns:
            return []
        latest_ns = live_ns + OVERLAP_MAX_NS
        if now_ns < latest_ns and line.successor is not None and not self.overlaps(line.successor):
            line.overlap_at_ns = min(now_ns + OVERLAP_AGAIN_NS, latest_ns)
            return []
        if line.successor is not None and self.brings_nothing(line.successor):
            return self._keep(line, line.successor, now_ns)
        old, line.epoch = line.epoch, line.successor
        line.successor = line.successor_live_ns = None
        self._signal(line, LineSignal.SWITCH)
        return [] if old is None else [Retire(old, line.cause)]

    def _keep(self, line: _Line, successor: int, now_ns: int) -> list[Action]:
        """Keep the session that works, and try another successor later, elsewhere if possible."""
        self.choice.failed(successor, now_ns)
        line.successor = line.successor_live_ns = None
        self._signal(line, LineSignal.KEEP)
        line.rotate_at_ns = now_ns + POSTPONE_NS
        return [Retire(successor, "it brought nothing while the session it should replace did")]

    def _stop_line(self, line: _Line) -> list[Action]:
        if line.state is LineState.STOPPED:
            return []
        self._signal(line, LineSignal.STOP)
        return _retire_all(line, "stopped")

    # -- after a session ---------------------------------------------------------------------

    def _judge_target(
        self, epoch: int, cause: Exception | None, useful_ns: int, now_ns: int
    ) -> None:
        ending = classify(cause)
        if useful_ns:
            self.choice.useful(epoch)
        elif ending in {Ending.NEVER_UPGRADED, Ending.UNSTABLE}:
            self.choice.failed(epoch, now_ns)
        self.choice.ended(epoch)

    def _wait_ns(self, line: _Line, epoch: int, cause: Exception | None, now_ns: int) -> int:
        ending, probe = classify(cause), epoch == self._probe
        line.failing = ending is Ending.NEVER_UPGRADED
        if ending in STAY_AWAY:  # the venue means all of us, not this line alone
            self._probe = None if probe else self._probe
            limited = cause if isinstance(cause, RateLimited) else None
            return self._dials.refused(
                now_ns,
                None if limited is None else limited.retry_after_ns,
                ban=ending is Ending.POLICY,
                probe=probe,
                lasting=limited is None or limited.status >= 1000,
                jitter=self._rng.random(),
            )
        self._forget_probe(epoch, now_ns)
        lost = self._dials.lost(now_ns) if ending is Ending.UNSTABLE else 0
        return line.backoff.wait_ns(ending, now_ns, lost_last_s=lost)

    def _forget_probe(self, epoch: int, now_ns: int) -> None:
        """Let another dial be the probe, if this one was it and told nothing."""
        if epoch == self._probe:
            self._probe = None
            self._dials.abandoned(now_ns)

    def _current_lost(self, line: _Line, wait_ns: int, now_ns: int) -> None:
        if line.state is LineState.ROTATING:
            line.epoch, line.successor = line.successor, None
            live = line.successor_live_ns is not None
            line.successor_live_ns = None
            self._signal(line, LineSignal.LOST)
            if live:
                self._signal(line, LineSignal.LIVE)
            return
        line.epoch = line.rotate_at_ns = line.waits_since_ns = None
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


def _at_once(epoch: int) -> bool:
    del epoch
    return True


def _never(epoch: int) -> bool:
    del epoch
    return False


def _backs(other: _Line, line: _Line) -> bool:
    """Whether one line is of another redundancy than the other, which its first letter names."""
    return other.name[0] != line.name[0]


def _is_shaky(line: _Line) -> bool:
    return line.state not in {LineState.UP, LineState.HALTED, LineState.STOPPED}


def _retire_all(line: _Line, cause: str) -> list[Action]:
    epochs = [epoch for epoch in (line.epoch, line.successor) if epoch is not None]
    line.epoch = line.successor = None
    return [Retire(epoch, cause) for epoch in epochs]
