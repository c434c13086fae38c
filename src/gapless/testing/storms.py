"""Storms: seeded plans in which network and venue go wrong together, for one line or two.

Each seed draws its own kind of weather (how far away the venue is, whether packets are lost all
the time, whether the venue repeats itself), and then one fault after the other: to a single line,
when all was well before, or to everybody at any time.  The ranges are those that simulators of
storage systems use: delays of 30 to 100 ms on average, clogs of up to 5 s, up to 30 % of packets
lost, up to 50 % of messages repeated.

What nobody could know is not asked for.  A venue that withholds images from every session, answers
pings all the while, and then goes on, leaves nothing behind that shows it: images have no numbers,
and a silence that is shorter than the topic's own rhythm allows is no evidence.  How soon longer
ones are noticed is measured elsewhere.  So where all sessions fall silent at once, it is in a topic
that counts its messages; a single session may fall silent altogether.

A single fault is one that strikes while both lines are well, and no other fault is under way: that
two lines lose nothing is promised for one failure at a time.  See `gapless.testing.script`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from msgspec.structs import replace

from gapless.sim.build import simulate
from gapless.sim.faults import Fault
from gapless.testing.script import HEAL_S, Planned
from gapless.testing.weather import Calamity
from gapless.venues._registry import load

__all__ = ["Storm", "random_storm"]

LOSS_MAX: Final = 0.3
REPLAY_MAX: Final = 0.5
CLOG_MAX_S: Final = 5.0
DELAY_MS: Final = (30.0, 100.0)
GAP_S: Final = (4.0, 25.0)
"""Time from one fault to the next, in seconds."""

_NEEDS_A_DIAL: Final = frozenset({"accept_close", "refuse", "late_ack"})
_NEEDS_A_SNAPSHOT: Final = frozenset({"rest_fail", "rest_hang", "stale_snapshot"})

_Make = Callable[[], Fault | Calamity]


@dataclass(slots=True)
class Storm:
    """What a seed drew.

    Attributes:
        single: Whether only one line suffers at any time.
        ways: Latency and jitter of each way in milliseconds, and the share of packets lost.
        plan: What goes wrong, in order.
    """

    single: bool
    ways: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    plan: list[Planned] = field(default_factory=list)


def random_storm(
    venue: str, seed: int, minutes: float, lines: int = 2, *, single: bool | None = None
) -> Storm:
    """Return the storm of a seed.

    Args:
        venue: What misbehaves.
        seed: Decides everything.
        minutes: How long the run takes; its end is left in peace, so that everything can heal.
        lines: Redundant lines.
        single: Whether only one line suffers at any time; `None` lets the seed decide.
    """
    rng = Random(f"{venue}/{seed}/storm")  # noqa: S311  # must repeat
    drawn = rng.random() < 0.5
    storm = Storm((drawn if single is None else single) and lines > 1)
    names = [chr(ord("a") + index) for index in range(lines)]
    for name in [*names, "rest"]:
        mean_ms = rng.uniform(*DELAY_MS) / 2  # there and back
        everywhere = 0.0 if storm.single or rng.random() < 0.6 else rng.uniform(0, LOSS_MAX)
        storm.ways[name] = (mean_ms / 2, mean_ms, everywhere)
    parts = _Parts(venue, rng)
    if not storm.single and rng.random() < 0.3:
        share = rng.uniform(0.05, REPLAY_MAX)
        lasts_s = minutes * 60 - HEAL_S - 1.0  # it begins a second after the start
        storm.plan.append(Planned(1.0, Fault(name="duplicate", for_s=lasts_s, probability=share)))
    last_s = minutes * 60 - HEAL_S
    at_s = rng.uniform(5, 15)
    while at_s < last_s:
        line = rng.choice(names) if storm.single or (lines > 1 and rng.random() < 0.5) else None
        since = len(storm.plan)
        at_s = _add(storm, parts, rng, at_s, line) + rng.uniform(*GAP_S)
        together = storm.plan[since:]  # what follows a fault that is too late must not come alone
        if any(each.at_s + (each.fault.for_s or 0.0) > last_s for each in together):
            del storm.plan[since:]
    return storm


def _add(storm: Storm, parts: _Parts, rng: Random, at_s: float, line: str | None) -> float:
    """Add one fault, with what makes it show; return when the last of it begins."""
    fault = rng.choice(parts.of_one_line if line is not None else parts.of_all)()
    if line is None and isinstance(fault, Fault) and fault.name == "silence":
        fault = replace(fault, topic=fault.topic or parts.counted[len(storm.plan) % 2])
    storm.plan.append(Planned(at_s, fault, line, calm=line is not None))
    if fault.name in _NEEDS_A_DIAL or fault.name in _NEEDS_A_SNAPSHOT:
        # What waits for a dial or for a snapshot is followed by a reset, so that it happens.
        at_s += 0.05
        storm.plan.append(Planned(at_s, Fault(name="reset"), line))
    elif fault.name == "outage":  # what it had under way is lost with it
        storm.plan.append(Planned(at_s, Calamity(name="crash"), line))
    return at_s


class _Parts:
    """Everything that can go wrong at one venue and before it.

    Attributes:
        of_one_line: What can strike a single line.
        of_all: What strikes all of them.
        counted: Topics whose messages are numbered.
    """

    def __init__(self, venue: str, rng: Random) -> None:
        exchange = simulate(venue)
        symbol = exchange.dialect.usual_symbols[0]
        profile = load(venue)
        self._rng = rng
        channels = ("book", "trades", "bbo")
        self._topics = [profile.topic(channel, symbol).topic for channel in channels]
        # Of images nobody can tell that one is missing, nor deliver one that comes too late.
        self.counted = self._topics[:2]
        venue_too = [make for make in self._sessions() if exchange.supports(make().name)]
        only_all = [make for make in self._venue_wide() if exchange.supports(make().name)]
        self.of_one_line: list[_Make] = [*self._network(), *venue_too, *self._dials()]
        self.of_all: list[_Make] = [*self.of_one_line, *only_all]

    def _network(self) -> list[_Make]:
        uniform, whole = self._rng.uniform, self._rng.randint
        return [
            lambda: Calamity(name="crash"),
            lambda: Calamity(name="clog", for_s=uniform(0.1, CLOG_MAX_S)),
            lambda: Calamity(name="partition", for_s=uniform(5, 40)),
            lambda: Calamity(name="half_open_in", for_s=uniform(3, 30)),
            lambda: Calamity(name="half_open_out", for_s=uniform(3, 30)),
            lambda: Calamity(name="loss", share=uniform(0.05, LOSS_MAX), for_s=uniform(5, 60)),
            lambda: Calamity(
                name="slow", delay_ms=whole(50, 2000), jitter_ms=whole(0, 500), for_s=uniform(2, 30)
            ),
        ]

    def _sessions(self) -> list[_Make]:
        rng, topics, counted = self._rng, self._topics, self.counted
        return [
            lambda: Fault(name="reset"),
            lambda: Fault(name="close", code=rng.choice((1000, 1001, 1006, 1012, 1013, 4000))),
            lambda: Fault(name="drop", topic=rng.choice(counted), count=rng.randint(1, 5)),
            lambda: Fault(name="duplicate", topic=rng.choice(topics), count=rng.randint(1, 5)),
            lambda: Fault(name="duplicate", probability=rng.uniform(0.05, REPLAY_MAX), for_s=10.0),
            lambda: Fault(name="reorder", topic=rng.choice(counted), count=1),
            lambda: Fault(name="silence", for_s=rng.uniform(4, 15)),
            lambda: Fault(name="silence", topic=rng.choice(counted), for_s=rng.uniform(4, 15)),
            lambda: Fault(name="half_open", for_s=rng.uniform(3, 60)),
            lambda: Fault(name="bad_utf8"),
            lambda: Fault(name="garbage"),
            lambda: Fault(name="oversize"),
            lambda: Fault(name="shutdown_notice", lead_s=rng.uniform(2, 10)),
            lambda: Fault(name="lag", delay_ms=rng.randint(50, 2000), for_s=rng.uniform(2, 10)),
        ]

    def _dials(self) -> list[_Make]:
        rng = self._rng
        return [
            lambda: Fault(name="accept_close", code=1001, for_s=rng.uniform(1, 10)),
            lambda: Fault(name="refuse", status=503, for_s=rng.uniform(1, 8)),
            lambda: Fault(name="refuse", status=429, retry_after_s=5, for_s=5.0),
            lambda: Fault(name="late_ack", delay_ms=rng.randint(200, 4000), for_s=20.0),
        ]

    def _venue_wide(self) -> list[_Make]:
        rng = self._rng
        return [
            lambda: Fault(name="outage", for_s=rng.uniform(0.5, 10)),
            lambda: Fault(name="rest_fail", status=500, for_s=rng.uniform(2, 15)),
            lambda: Fault(name="rest_hang", for_s=rng.uniform(2, 15)),
            lambda: Fault(name="stale_snapshot", stale_ms=3000, for_s=rng.uniform(2, 10)),
        ]
