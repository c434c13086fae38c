"""The plan of a run: seeded faults of the venue and of the network before it.

Some strike one line only, when all is well, and must cost nothing where there are two; some strike
all lines at once, and must be told.  What no consumer could ever tell is left out: a changed digit
that is still a number, and an image that is lost or overtaken on every line, since images have
neither checksum nor count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

import msgspec

from gapless.core.sequence import Numbering
from gapless.proxy.faults import Fault as ProxyFault
from gapless.sim.build import simulate
from gapless.sim.faults import Fault as VenueFault
from gapless.venues._registry import load

__all__ = ["CALM_S", "Blow", "as_toml", "random_plan"]

START_S: Final = 4.0
"""A feed must have learned its rhythms before silence means anything."""

CALM_S: Final = 6.0
"""How long nothing new goes wrong before the end, in seconds."""

PAUSE_S: Final = (1.5, 5.0)
ONE_LINE: Final = 0.65
"""Share of the faults that strike one line, where there are several."""

_NEEDS_A_DIAL: Final = frozenset(
    {"accept_close", "refuse", "late_ack", "rest_fail", "stale_snapshot"}
)

Where = Literal["proxy", "venue"]
_Make = Callable[[], ProxyFault | VenueFault]


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault of the plan.

    Attributes:
        at_s: When, in seconds after the start.
        line: The one line that it strikes; `None` for all.
        fault: What.
        calm: Whether it waits until the feed is well.
    """

    at_s: float
    line: str | None
    fault: ProxyFault | VenueFault
    calm: bool = True

    @property
    def where(self) -> Where:
        """Who does it."""
        return "proxy" if isinstance(self.fault, ProxyFault) else "venue"

    @property
    def lasts_s(self) -> float:
        """How long it goes on, in seconds; 0 if it strikes at once."""
        lead_s = self.fault.lead_s if isinstance(self.fault, VenueFault) else None
        return self.fault.for_s or lead_s or 0.0


def random_plan(venue: str, seed: int, run_s: float, lines: Sequence[str]) -> list[Blow]:
    """Return the faults of a seed, in order.

    Args:
        venue: Who misbehaves.
        seed: Decides everything.
        run_s: How long the run takes; its end is left in peace.
        lines: Names of the lines.
    """
    rng = Random(f"{venue}/{seed}/chaos")  # noqa: S311  # must repeat
    parts = _Parts(venue, rng)
    decks: dict[bool, list[_Make]] = {True: [], False: []}
    plan: list[Blow] = []
    at_s = START_S
    while True:
        single = len(lines) > 1 and rng.random() < ONE_LINE
        deck = decks[single]
        if not deck:  # every kind comes once before any comes twice
            deck += parts.of_one_line if single else parts.of_all
            rng.shuffle(deck)
        blow = Blow(at_s, rng.choice(lines) if single else None, deck.pop()())
        if at_s + blow.lasts_s > run_s - CALM_S:
            return plan
        plan.append(blow)
        if blow.fault.name in _NEEDS_A_DIAL:  # so that it happens
            reset = VenueFault(name="reset")
            plan.append(Blow(at_s + 0.05, blow.line, reset, calm=False))
        at_s += blow.lasts_s + rng.uniform(*PAUSE_S)


class _Parts:
    """Everything that can go wrong with one venue and on the way to it."""

    def __init__(self, venue: str, rng: Random) -> None:
        exchange, profile = simulate(venue), load(venue)
        symbol = exchange.dialect.usual_symbols[0]
        specs = [profile.topic(channel, symbol) for channel in ("trades", "book", "bbo", "ticker")]
        self._rng = rng
        self._topics = [spec.topic for spec in specs]
        counted = {Numbering.DENSE, Numbering.CHAIN}
        self._counted = [spec.topic for spec in specs if spec.numbering in counted]
        known = [make for make in self._venue() if exchange.supports(make().name)]
        wide = [make for make in self._venue_wide() if exchange.supports(make().name)]
        self.of_one_line: list[_Make] = [*self._proxy(), *known]
        self.of_all: list[_Make] = [*self.of_one_line, *wide]

    def _pattern(self, topics: Sequence[str]) -> str:
        return f"*{self._rng.choice(topics)}*"

    def _proxy(self) -> list[_Make]:
        rng, topics, counted = self._rng, self._topics, self._counted
        seconds = self._seconds

        def few() -> int:
            return rng.randint(1, 4)

        return [
            lambda: ProxyFault(name="reset"),
            lambda: ProxyFault(
                name="latency",
                delay_ms=float(rng.randint(50, 500)),
                jitter_ms=float(rng.randint(0, 50)),
                for_s=seconds(2, 5),
            ),
            lambda: ProxyFault(name="bandwidth", bytes_per_s=20_000, for_s=seconds(2, 4)),
            lambda: ProxyFault(name="slicer", size_bytes=rng.randint(1, 9), for_s=seconds(1, 3)),
            lambda: ProxyFault(name="half_open_in", for_s=seconds(2.5, 5)),
            lambda: ProxyFault(name="half_open_out", for_s=seconds(2.5, 5)),
            lambda: ProxyFault(name="zombie", for_s=seconds(4, 6)),
            lambda: ProxyFault(name="drop", topic=self._pattern(counted), count=few()),
            lambda: ProxyFault(name="duplicate", topic=self._pattern(topics), count=few()),
            lambda: ProxyFault(name="reorder", topic=self._pattern(counted), by=few()),
            lambda: ProxyFault(name="fragment", topic=self._pattern(topics), count=few()),
            lambda: ProxyFault(name="lost_pongs", for_s=seconds(2, 4)),
            lambda: ProxyFault(name="bad_utf8"),
            lambda: ProxyFault(name="close", code=rng.choice((1000, 1001, 1012, 4000))),
            lambda: ProxyFault(name="ping_flood", n_pings=500),
        ]

    def _venue(self) -> list[_Make]:
        rng, topics, counted = self._rng, self._topics, self._counted
        seconds = self._seconds
        return [
            lambda: VenueFault(name="reset"),
            lambda: VenueFault(name="drop", topic=rng.choice(counted), count=rng.randint(1, 4)),
            lambda: VenueFault(name="duplicate", topic=rng.choice(topics), count=3),
            lambda: VenueFault(name="silence", for_s=seconds(4, 6)),
            lambda: VenueFault(name="lag", delay_ms=rng.randint(50, 2000), for_s=seconds(2, 4)),
            lambda: VenueFault(name="garbage"),
            lambda: VenueFault(name="oversize"),
            lambda: VenueFault(name="shutdown_notice", lead_s=seconds(2, 4)),
            lambda: VenueFault(name="accept_close", code=1001, for_s=seconds(1, 3)),
            lambda: VenueFault(name="refuse", status=503, for_s=seconds(1, 3)),
            lambda: VenueFault(name="refuse", status=429, retry_after_s=2, for_s=2.0),
            lambda: VenueFault(name="late_ack", delay_ms=rng.randint(200, 1500), for_s=3.0),
        ]

    def _venue_wide(self) -> list[_Make]:
        seconds = self._seconds
        return [
            lambda: VenueFault(name="outage", for_s=seconds(1, 4)),
            lambda: VenueFault(name="rest_fail", status=500, for_s=seconds(2, 4)),
            lambda: VenueFault(name="stale_snapshot", stale_ms=3000, for_s=seconds(2, 4)),
        ]

    def _seconds(self, least: float, most: float) -> float:
        return round(self._rng.uniform(least, most), 2)


def as_toml(plan: Sequence[Blow]) -> str:
    """Return the plan as TOML, a table for each fault, to be read."""
    lines: list[str] = []
    for blow in plan:
        lines += ["[[fault]]", f"where = {json.dumps(blow.where)}", f"at_s = {blow.at_s:.2f}"]
        if blow.line is not None:
            lines.append(f"line = {json.dumps(blow.line)}")
        keys = msgspec.to_builtins(blow.fault)
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items() if key != "at_s"]
        lines.append("")
    return "\n".join(lines)
