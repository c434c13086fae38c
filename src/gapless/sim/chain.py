"""An option chain that lives: strikes are listed, trade or stay silent, halt, expire and go.

Time runs in cycles.  At the end of each, the nearest expiry settles: every option is halted for
a moment, those that expired are gone after it, and as many new strikes of a later expiry are
listed a little later.  The chain knows no venue; a dialect says how its news are told.

Most strikes are silent for hours: the order flow of a chain is a few strikes near the money.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from gapless.sim.world import SymbolSpec

__all__ = ["Chain", "ChainOptions", "News", "Strike", "StrikeState"]

_SECOND: Final = 1_000_000_000
_EXPIRIES: Final = 6
_LEVELS: Final = 6
_STEP: Final = 100  # between strikes, in the quote currency
_MIDDLE: Final = 65_000
_STAYS_S: Final = 30 * 86_400
_SILENT_BEYOND: Final = 12  # strikes away from the money that never trade

StrikeState = Literal["unlisted", "created", "open", "settlement", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOptions:
    """How a chain lives.

    Attributes:
        strikes: Options listed at any time, calls and puts together.
        cycle_s: Seconds from one expiry to the next.
        halt_s: How long settlement lasts.
        relist_s: Seconds after the settlement until new strikes are created.
        open_s: Seconds from the creation of a strike until it trades.
        cycles: Expiries that are prepared; after them nothing expires any more.
    """

    strikes: int
    cycle_s: float = 60.0
    halt_s: float = 2.0
    relist_s: float = 3.0
    open_s: float = 1.0
    cycles: int = 3


@dataclass(frozen=True, slots=True)
class Strike:
    """One option.

    Attributes:
        name: As the venue spells it.
        cycle: At the end of which cycle it expires, from 1.
        strike: In the quote currency.
        right: ``call`` or ``put``.
        weight: Share of the order flow.
    """

    name: str
    cycle: int
    strike: int
    right: Literal["call", "put"]
    weight: float


@dataclass(frozen=True, slots=True)
class News:
    """Something that happens to strikes at one moment.

    Attributes:
        after_s: Seconds since the chain began.
        state: What they are from then on.
        names: Which.
    """

    after_s: float
    state: StrikeState
    names: tuple[str, ...]


class Chain:
    """Strikes, what each of them is now, and what will happen to them.

    Attributes:
        options: How it lives.
        strikes: Every strike that will ever be listed, by name.
        states: What each is now.
        news: What happens, in order.
    """

    def __init__(self, options: ChainOptions, base: str = "BTC") -> None:
        self.options = options
        expiries = min(_EXPIRIES, max(1, options.strikes // 2))
        sizes = [options.strikes // expiries] * expiries
        sizes[-1] += options.strikes - sum(sizes)
        self.strikes: dict[str, Strike] = {}
        for cycle, size in enumerate(sizes, start=1):
            self._list(base, cycle, size)
        for cycle in range(1, options.cycles + 1):  # what expires is listed again, later
            self._list(base, expiries + cycle, sizes[(cycle - 1) % expiries])
        self.states: dict[str, StrikeState] = {
            strike.name: "open" if strike.cycle <= expiries else "unlisted"
            for strike in self.strikes.values()
        }
        self.news = self._plan(expiries)

    def expiry_ns(self, name: str, began_ns: int) -> int:
        """Return when a strike expires, in a chain that began at ``began_ns``.

        Those that expire after the last cycle that is prepared have a month more: they stay.
        """
        cycle, options = self.strikes[name].cycle, self.options
        stays_s = _STAYS_S if cycle > options.cycles else 0
        return began_ns + int((cycle * options.cycle_s + stays_s) * _SECOND)

    def take(self, news: News) -> tuple[str, ...]:
        """Let it happen; return the strikes that it changes."""
        changed = tuple(name for name in news.names if self.states[name] != news.state)
        for name in changed:
            self.states[name] = news.state
        return changed

    def listed(self, name: str) -> bool:
        """Whether the venue knows a strike now."""
        return self.states.get(name, "unlisted") not in {"unlisted", "gone"}

    def specs(self, base: str = "BTC") -> list[SymbolSpec]:
        """Return the markets of all strikes."""
        return [
            SymbolSpec(
                name=strike.name,
                tick="0.0005",
                lot="0.1",
                mid_ticks=200,
                typical_lots=20,
                spread_ticks=6,
                weight=strike.weight,
                base=base,
                quote=base,
                levels=_LEVELS,
            )
            for strike in self.strikes.values()
        ]

    def _list(self, base: str, cycle: int, size: int) -> None:
        day = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(days=cycle)
        date = f"{day.day}{day:%b%y}".upper()
        for number in range(size):
            rung = number // 2
            away = (rung + 1) // 2 if rung % 2 else -(rung // 2)
            strike = _MIDDLE + away * _STEP
            right: Literal["call", "put"] = "put" if number % 2 else "call"
            name = f"{base}-{date}-{strike}-{right[0].upper()}"
            weight = 0.0 if abs(away) > _SILENT_BEYOND else 1 / (1 + abs(away)) / cycle
            self.strikes[name] = Strike(name, cycle, strike, right, weight)

    def _plan(self, expiries: int) -> list[News]:
        options = self.options
        news: list[News] = []
        present = [strike for strike in self.strikes.values() if strike.cycle <= expiries]
        for cycle in range(1, options.cycles + 1):
            at_s = cycle * options.cycle_s
            over_s = at_s + options.halt_s
            going = tuple(strike.name for strike in present if strike.cycle == cycle)
            present = [strike for strike in present if strike.cycle != cycle]
            staying = tuple(strike.name for strike in present)
            fresh = [s for s in self.strikes.values() if s.cycle == expiries + cycle]
            names = tuple(strike.name for strike in fresh)
            news.append(News(at_s, "settlement", going + staying))
            news.append(News(over_s, "gone", going))
            news.append(News(over_s, "open", staying))
            news.append(News(over_s + options.relist_s, "created", names))
            news.append(News(over_s + options.relist_s + options.open_s, "open", names))
            present += fresh
        return news
