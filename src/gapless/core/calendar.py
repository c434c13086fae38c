"""Silence that is planned: the venue's calendar, and what it says of itself and of instruments.

Some silence is announced.  A venue settles at the same time every day, halts an instrument, or
closes for maintenance, and says so.  Such a silence is no fault: nobody is dialled and nothing is
alarmed.  What comes after it is judged again only once the venue says that the instrument is open
and its book is not crossed, because auctions and openings show prices that nobody can trade at.

`Calendar` knows the times; `Pauses` knows what was said, and what follows for each symbol.  What
was said on a session that is gone may not hold any more, and is dropped with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gapless.core.universe import InstrumentState

__all__ = ["HALTED_MAX", "Calendar", "DailyPause", "Pauses"]

DAY_NS: Final = 86_400_000_000_000
HALTED_MAX: Final = 20_000
"""Symbols that are remembered as halted at most; a venue that halts more has halted itself."""


@dataclass(frozen=True, slots=True)
class DailyPause:
    """A time of every day at which silence is expected.

    Args:
        after_midnight_ns: When it begins, UTC.
        lasts_ns: How long silence is explained by it.
        why: In a few words.
    """

    after_midnight_ns: int
    lasts_ns: int
    why: str


class Calendar:
    """When a venue is silent as it always is."""

    __slots__ = ("_pauses",)

    def __init__(self, pauses: Sequence[DailyPause]) -> None:
        self._pauses = tuple(pauses)

    def pause_at(self, wall_ns: int) -> str | None:
        """Return why silence is expected at Unix time ``wall_ns``, or `None` if it is not."""
        for pause in self._pauses:
            if (wall_ns - pause.after_midnight_ns) % DAY_NS < pause.lasts_ns:
                return pause.why
        return None


class Pauses:
    """What a venue has said of itself and of its instruments.

    Args:
        calendar: When it is silent anyway.

    Attributes:
        ignored: News of halts beyond `HALTED_MAX`.
    """

    __slots__ = ("_calendar", "_closed", "_halted", "ignored")

    def __init__(self, calendar: Calendar) -> None:
        self.ignored = 0
        self._calendar = calendar
        self._closed = False
        self._halted: dict[str, str] = {}

    def told(self, symbol: str, state: InstrumentState) -> bool:
        """Take the venue's news of an instrument; return whether that changes anything."""
        why = _WHY.get(state)
        if why is None:
            return self._halted.pop(symbol, None) is not None
        if symbol not in self._halted and len(self._halted) >= HALTED_MAX:
            self.ignored += 1
            return False
        changed = self._halted.get(symbol) != why
        self._halted[symbol] = why
        return changed

    def closed(self, closed: bool) -> bool:
        """Take the venue's news of itself; return whether that changes anything."""
        changed, self._closed = closed != self._closed, closed
        return changed

    def forget_news(self) -> bool:
        """Drop what was said: nobody listened meanwhile.  Return whether there was anything."""
        held = self._closed or bool(self._halted)
        self._closed = False
        self._halted.clear()
        return held

    def scheduled(self, wall_ns: int) -> str | None:
        """Return why the whole venue may be silent now, by the calendar alone."""
        return self._calendar.pause_at(wall_ns)

    def cause(self, symbol: str, wall_ns: int) -> str | None:
        """Return why the silence of ``symbol`` is planned at ``wall_ns``; `None` if it is not."""
        if (said := self._halted.get(symbol)) is not None:
            return said
        return "the venue is closed for maintenance" if self._closed else self.scheduled(wall_ns)


_WHY: Final[dict[InstrumentState, str]] = {
    "halted": "the venue has halted it",
    "settling": "it is being settled",
    "gone": "the venue says that it is gone",
}
