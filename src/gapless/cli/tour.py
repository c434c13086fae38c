"""The scripted tour of ``gapless demo``: what goes wrong, in which order, and at what pace.

Each step is one fault, or a few that only show together (a refusal shows when somebody dials).
A step begins when the one before is settled, so that whatever is lost belongs to one of them;
`Pace` divides the time that the steps do not need among the pauses between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from gapless.core.stream import SnapshotFrom
from gapless.sim.dialects import DIALECTS
from gapless.sim.faults import Fault
from gapless.venues._registry import load

__all__ = ["CALM_S", "FEWEST", "SHORTEST_S", "Pace", "Part", "Step", "parts", "plan"]

FEWEST: Final = 8
SHORTEST_S: Final = 30.0
CALM_S: Final = 2.5
"""How long nothing new goes wrong before the end, in seconds."""

_LEAST_PAUSE_S: Final = 0.7  # to read an outcome, before the next step
_LONGEST_PAUSE_S: Final = 5.0  # a longer tour has more steps, not longer pauses


@dataclass(frozen=True, slots=True)
class Part:
    """A venue that plays in the tour.

    Args:
        venue: Its name.
        symbol: An instrument.
        book: The topic of its book.
        trades: The topic of its trades.
    """

    venue: str
    symbol: str
    book: str
    trades: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that goes wrong.

    Args:
        name: Its name, as the scorecard shows it.
        venue: Whose connection suffers.
        story: What happens, in at most 54 characters.
        faults: What the simulated venue is told to do.
        lasts_s: How long it goes on, in seconds.
        needs_s: How long until it is settled, as a rule, in seconds.
        single: Whether it strikes only the first of several lines.
    """

    name: str
    venue: str
    story: str
    faults: tuple[Fault, ...]
    lasts_s: float = 0.0
    needs_s: float = 1.5
    single: bool = False


def parts() -> tuple[Part, Part]:
    """Return a venue whose books come over the socket, and one whose books need REST."""
    return _part(SnapshotFrom.STREAM), _part(SnapshotFrom.REST)


def _part(snapshot: SnapshotFrom) -> Part:
    for name, dialect in DIALECTS.items():
        profile, symbol = load(name), dialect.usual_symbols[0]
        book = profile.topic("book", symbol)
        if book.snapshot is snapshot:
            return Part(name, symbol, book.topic, profile.topic("trades", symbol).topic)
    raise LookupError(f"no simulated venue has its books from {snapshot.value}")


def _steps(first: Part, second: Part) -> list[Step]:
    """Return all steps, the most telling first.

    Args:
        first: The venue whose books come over the socket.
        second: The venue whose books need REST.
    """
    return [
        Step(
            "reset",
            first.venue,
            "one line's connection is reset (RST)",
            (Fault(name="reset"),),
            single=True,
        ),
        Step(
            "drop-trades",
            second.venue,
            "three trades are lost inside the venue, on all lines",
            (Fault(name="drop", topic=second.trades, count=3),),
            needs_s=2.0,
        ),
        Step(
            "half-open",
            second.venue,
            "one line half open: nothing passes, nothing errors",
            (Fault(name="half_open"),),
            single=True,
            lasts_s=2.0,
            needs_s=3.5,
        ),
        Step(
            "drop-book",
            first.venue,
            "one line loses two book changes inside the venue",
            (Fault(name="drop", topic=first.book, count=2),),
            single=True,
        ),
        Step(
            "refused-429",
            first.venue,
            "all cut, and new dials get 429 with Retry-After 2",
            (
                Fault(name="refuse", status=429, retry_after_s=2, for_s=1.9),
                Fault(name="reset"),
            ),
            lasts_s=2.0,
            needs_s=4.0,
        ),
        # Not earlier: a topic's silence is judged by its rhythm, which must be learned first.
        Step(
            "silence",
            first.venue,
            "one line's data stops for 4 s; pings are answered",
            (Fault(name="silence", for_s=4.0),),
            single=True,
            lasts_s=4.0,
            needs_s=5.0,
        ),
        Step(
            "stale-snapshot",
            second.venue,
            "book updates lost, and REST serves old books for 2 s",
            (
                Fault(name="stale_snapshot", stale_ms=5000, for_s=2.0),
                Fault(name="drop", topic=second.book, count=2),
            ),
            lasts_s=2.0,
            needs_s=3.5,
        ),
        Step(
            "duplicate",
            second.venue,
            "one line gets book updates and trades twice",
            (
                Fault(name="duplicate", topic=second.book, count=3),
                Fault(name="duplicate", topic=second.trades, count=2),
            ),
            single=True,
        ),
        Step(
            "bad-utf8",
            first.venue,
            "one line gets a text frame that is not UTF-8",
            (Fault(name="bad_utf8"),),
            single=True,
        ),
        Step(
            "shutdown-notice",
            second.venue,
            "the venue will hang up on one line in 3 s, it says",
            (Fault(name="shutdown_notice", lead_s=3.0),),
            single=True,
            lasts_s=3.2,
            needs_s=3.5,
        ),
        Step(
            "accept-close",
            first.venue,
            "all cut, and new ones are closed at once for 1.5 s",
            (
                Fault(name="accept_close", code=1013, for_s=1.5),
                Fault(name="reset"),
            ),
            lasts_s=1.5,
            needs_s=3.5,
        ),
        Step(
            "reorder",
            second.venue,
            "two book updates swap places on one line",
            (Fault(name="reorder", topic=second.book, count=1),),
            single=True,
        ),
        Step(
            "outage",
            second.venue,
            "the venue is gone for 2 s; dials are refused",
            (Fault(name="outage", for_s=2.0),),
            lasts_s=2.0,
            needs_s=3.5,
        ),
        Step(
            "rest-fails",
            second.venue,
            "book updates lost, and REST answers 500 for 2 s",
            (
                Fault(name="rest_fail", status=500, for_s=2.0),
                Fault(name="drop", topic=second.book, count=2),
            ),
            lasts_s=2.0,
            needs_s=3.5,
        ),
    ]


def plan(duration_s: float, first: Part, second: Part) -> list[Step]:
    """Return the steps that fit into ``duration_s``: `FEWEST` at least.

    A long tour goes round again.
    """
    known = [
        step
        for step in _steps(first, second)
        if not any(fault.name in DIALECTS[step.venue].unsupported for fault in step.faults)
    ]
    room_s = duration_s - CALM_S
    steps = list(known)
    while len(steps) > FEWEST and _needed_s(steps, _LEAST_PAUSE_S) > room_s:
        steps.pop()
    for step in cycle(known):
        if _needed_s([*steps, step], _LONGEST_PAUSE_S) > room_s:
            return steps
        steps.append(step)
    raise AssertionError  # a cycle has no end


def _needed_s(steps: Sequence[Step], pause_s: float) -> float:
    return sum(step.needs_s + pause_s for step in steps)


class Pace:
    """Divides the time there is to spare among the pauses between the steps.

    Args:
        steps: All of them.
        end_s: When the last should be over.
    """

    def __init__(self, steps: Sequence[Step], end_s: float) -> None:
        self._steps = steps
        self._end_s = end_s

    def pause_s(self, index: int, now_s: float) -> float:
        """Return how long to rest after a step that was over at ``now_s``.

        The pause is for people, who want to read; a step that took long takes it from them.
        """
        left = self._steps[index + 1 :]
        spare_s = self._end_s - now_s - sum(step.needs_s for step in left)
        return max(0.0, min(_LONGEST_PAUSE_S, spare_s / len(left))) if left else 0.0
