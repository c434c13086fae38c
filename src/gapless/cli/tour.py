"""The scripted tour of ``gapless demo``: what goes wrong, when, and in whose words.

Each step is one fault, or a few that only show together (a refusal shows when somebody dials).
Steps are spread evenly over the time there is, with a calm start and a calm end, so that
everything can heal before the books are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gapless.sim.faults import Fault

__all__ = ["FEWEST", "SHORTEST_S", "Step", "Stop", "plan"]

FEWEST: Final = 8
SHORTEST_S: Final = 30.0
_CALM_START_S: Final = 3.0
_CALM_END_S: Final = 7.0
_SPACING_S: Final = 2.5  # least time between two steps


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that goes wrong.

    Args:
        name: Its name, as the scorecard shows it.
        venue: Whose connection suffers.
        story: What happens, in one sentence.
        faults: What the simulated venue is told to do.
        lasts_s: How long it goes on, in seconds.
    """

    name: str
    venue: str
    story: str
    faults: tuple[Fault, ...]
    lasts_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """A step and its time, in seconds after the start."""

    at_s: float
    step: Step


def _steps(first: str, second: str, books: dict[str, str], trades: dict[str, str]) -> list[Step]:
    """Return all steps, the most telling first.

    Args:
        first: The venue whose books come over the socket.
        second: The venue whose books need REST.
        books: Pattern of book topics, by venue.
        trades: Pattern of trade topics, by venue.
    """
    return [
        Step("reset", first, "the connection is reset (RST)", (Fault(name="reset"),)),
        Step(
            "drop-trades",
            second,
            "three trade messages are lost inside the venue",
            (Fault(name="drop", topic=trades[second], count=3),),
        ),
        Step(
            "silence",
            first,
            "data stops for 4 s; pings are still answered",
            (Fault(name="silence", for_s=4.0),),
            4.0,
        ),
        Step(
            "drop-book",
            first,
            "two book changes are lost inside the venue",
            (Fault(name="drop", topic=books[first], count=2),),
        ),
        Step(
            "half-open",
            second,
            "the connection goes half open: nothing passes, nothing errors",
            (Fault(name="half_open"),),
            2.0,
        ),
        Step(
            "duplicate",
            second,
            "book updates and trades are sent twice",
            (
                Fault(name="duplicate", topic=books[second], count=3),
                Fault(name="duplicate", topic=trades[second], count=2),
            ),
        ),
        Step(
            "refused-429",
            first,
            "the connection is cut, and dials get 429 with Retry-After 2",
            (
                Fault(name="refuse", status=429, retry_after_s=2, for_s=1.9),
                Fault(name="reset"),
            ),
            2.0,
        ),
        Step(
            "stale-snapshot",
            second,
            "book updates are lost, and REST serves old snapshots for 2 s",
            (
                Fault(name="stale_snapshot", stale_ms=5000, for_s=2.0),
                Fault(name="drop", topic=books[second], count=2),
            ),
            2.0,
        ),
        Step(
            "bad-utf8",
            first,
            "the venue sends a text frame that is not UTF-8",
            (Fault(name="bad_utf8"),),
        ),
        Step(
            "shutdown-notice",
            second,
            "the venue announces that it will end the connection in 3 s",
            (Fault(name="shutdown_notice", lead_s=3.0),),
            3.0,
        ),
        Step(
            "accept-close",
            first,
            "the connection is cut, and for 1.5 s new ones are accepted and closed at once",
            (
                Fault(name="accept_close", code=1013, for_s=1.5),
                Fault(name="reset"),
            ),
            1.5,
        ),
        Step(
            "reorder",
            second,
            "two book updates swap places",
            (Fault(name="reorder", topic=books[second], count=1),),
        ),
        Step(
            "outage",
            second,
            "the venue is gone for 2 s: connections reset, dials refused",
            (Fault(name="outage", for_s=2.0),),
            2.0,
        ),
        Step(
            "rest-fails",
            second,
            "book updates are lost, and REST answers 500 for 2 s",
            (
                Fault(name="rest_fail", status=500, for_s=2.0),
                Fault(name="drop", topic=books[second], count=2),
            ),
            2.0,
        ),
    ]


def plan(
    duration_s: float, first: str, second: str, books: dict[str, str], trades: dict[str, str]
) -> list[Stop]:
    """Return the steps that fit into ``duration_s``, with their times.

    Raises:
        ValueError: If there is less time than `SHORTEST_S`.
    """
    if duration_s < SHORTEST_S:
        raise ValueError(f"the tour needs {SHORTEST_S:.0f} s at least")
    steps = _steps(first, second, books, trades)
    room_s = duration_s - _CALM_START_S - _CALM_END_S
    while len(steps) > FEWEST and _needed_s(steps) > room_s:
        steps.pop()
    spare_s = max(0.0, room_s - _needed_s(steps)) / len(steps)
    stops, at_s = [], _CALM_START_S
    for step in steps:
        stops.append(Stop(at_s, step))
        at_s += min(_SPACING_S, room_s / len(steps)) + step.lasts_s + spare_s
    return stops


def _needed_s(steps: list[Step]) -> float:
    return sum(_SPACING_S + step.lasts_s for step in steps)
