"""Carries out a plan of faults on a simulated venue and the network before it.

A fault for one line must strike that line alone, or nothing follows from what was lost.  So such a
fault waits, if its plan says so, until the feed is well: what struck before is over, every line is
up and brings data, every topic is live and has spoken since the youngest session came.  That makes
single faults milder than any two in a row, and it is meant so: what two lines promise is that one
failure at a time costs nothing.  A second failure before the first has healed is a failure of both,
which must be announced; faults for all lines wait for nothing, and show that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from gapless.core.supervisor import LineState
from gapless.io.clock import Clock
from gapless.sim.faults import Fault, FaultRecord
from gapless.testing.memory import MemoryNetwork
from gapless.testing.venue import REST_WAY, MemoryVenue
from gapless.testing.weather import Calamity, CalamityRecord, strike

if TYPE_CHECKING:
    from gapless.client import Feed

__all__ = ["HEAL_S", "PER_SESSION", "Planned", "Script", "Wellness"]

HEAL_S: Final = 40.0
"""How long before the end of a run nothing new goes wrong, in seconds."""

WELL_S: Final = 3.0
"""How long a feed must have been well before the next fault that waits for it, in seconds."""

PER_SESSION: Final = frozenset(
    {
        "drop", "duplicate", "reorder", "silence", "mute", "lag", "half_open", "reset", "close",
        "bad_utf8", "garbage", "oversize", "shutdown_notice",
    }
)  # fmt: skip
"""Faults of a venue that can be meant for a single session."""

_LOOK_S: Final = 0.25
_JOIN_S: Final = 0.25
_QUIET_S: Final = 1.5  # a line that has brought nothing for so long may be struck still


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault and when it comes.

    Args:
        at_s: When, in seconds after the start.
        fault: What the venue does, or what befalls the network.
        line: The one line that it strikes; `None` for all that there are.
        calm: Whether it waits until the feed is well, so that no other fault is under way.
    """

    at_s: float
    fault: Fault | Calamity
    line: str | None = None
    calm: bool = False


class Wellness:
    """Whether a feed is well, so that any one line could be lost without loss.

    Every line is up and brings data, every topic is live and has spoken since the youngest session
    came: only then is it known that this session carries on from what was delivered.

    Args:
        feed: Which.
    """

    def __init__(self, feed: Feed[object]) -> None:
        self._feed = feed
        self._lines: dict[str, _Heard] = {}

    def holds(self, now_s: float) -> bool:
        """Return whether it is well now, by any clock that ticks seconds; ask it often."""
        stats = self._feed.stats()
        for line in stats.lines:
            heard = self._lines.get(line.line)
            if heard is None or heard.epoch != line.epoch:
                self._lines[line.line] = _Heard(line.epoch, line.frames, now_s, now_s)
            elif heard.frames != line.frames:
                heard.frames, heard.at_s = line.frames, now_s
        youngest_s = max((heard.began_s for heard in self._lines.values()), default=now_s)
        return (
            all(line.state == LineState.UP.value for line in stats.lines)
            and all(heard.at_s > now_s - _QUIET_S for heard in self._lines.values())
            and all(
                topic.trust == "live"
                and topic.age_s is not None
                and now_s - topic.age_s > youngest_s + _JOIN_S
                for topic in stats.topics
            )
        )


@dataclass(slots=True)
class _Heard:
    """The session of a line: how many frames it had, and when it came and was last heard."""

    epoch: int | None
    frames: int
    began_s: float
    at_s: float


class Script:
    """A plan that is carried out.

    Args:
        plan: What goes wrong, in order.
        run_s: How long the whole run takes, in seconds.
        feed: What must be well before faults that wait for it.
        venue: Who misbehaves.
        network: What calamities befall; each line takes the way of its name.
        clock: The time.

    Attributes:
        records: What became of the faults.
        struck: What came when, Unix time.
    """

    def __init__(
        self,
        plan: Sequence[Planned],
        run_s: float,
        feed: Feed[object],
        venue: MemoryVenue,
        network: MemoryNetwork,
        clock: Clock,
    ) -> None:
        self.records: list[FaultRecord | CalamityRecord] = []
        self.struck: list[tuple[int, Planned]] = []
        self._plan = plan
        self._run_s = run_s
        self._feed = feed
        self._venue = venue
        self._network = network
        self._clock = clock
        self._wellness = Wellness(feed)

    async def run(self) -> None:
        """Carry it out; what waited for too long is left out."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        late_s = 0.0  # what follows a fault that waited keeps its distance
        for planned in self._plan:
            at_s = began_s + planned.at_s
            if not planned.calm:
                at_s += late_s
            await asyncio.sleep(max(0.0, at_s - loop.time()))
            if planned.calm:
                await self._wait_until_well(began_s + self._run_s - HEAL_S)
                late_s = max(0.0, loop.time() - at_s)
            over_s = loop.time() + (planned.fault.for_s or 0.0)
            if late_s and over_s > began_s + self._run_s - HEAL_S:
                continue
            self.struck.append((self._clock.wall_ns(), planned))
            self._strike(planned)

    async def _wait_until_well(self, until_s: float) -> None:
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        while loop.time() <= until_s:
            over = all(self._spent(record) for record in self.records)
            if not (self._wellness.holds(loop.time()) and over):
                since_s = loop.time()
            elif loop.time() >= since_s + WELL_S:
                return
            await asyncio.sleep(_LOOK_S)

    def _spent(self, record: FaultRecord | CalamityRecord) -> bool:
        """Whether a fault is over, or the session that it was meant for is."""
        if record.over or isinstance(record, CalamityRecord):
            return record.over
        if record.fault.name == "duplicate" and record.fault.session is None:
            return True  # a venue that repeats itself for everybody takes nothing from anybody
        return record.fault.session not in {None, *self._venue.exchange.sessions}

    def _strike(self, planned: Planned) -> None:
        lines = [line.line for line in self._feed.stats().lines]
        fault, struck = planned.fault, lines if planned.line is None else [planned.line]
        if isinstance(fault, Calamity):
            rest = [REST_WAY] if planned.line is None else []
            self.records.append(strike(self._network, struck + rest, fault))
            return
        now_ns = self._clock.wall_ns()
        for each in self._for_sessions(fault, planned.line, struck):
            self.records.append(self._venue.exchange.inject(each, now_ns))
        self._venue.pump()

    def _for_sessions(self, fault: Fault, line: str | None, struck: Sequence[str]) -> list[Fault]:
        """Return the fault as it is, or once for each session that it is meant for."""
        counted = fault.count is not None and len(struck) > 1
        if fault.name not in PER_SESSION or (line is None and not counted):
            return [fault]
        return [
            replace(fault, session=number)
            for name in struck
            for number in self._venue.sessions_on(name)
        ]
