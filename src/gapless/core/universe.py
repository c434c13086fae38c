"""What is traded at a venue, what a selector picks of it, and how that changes.

A selector such as ``option:BTC,expiry<=90d`` stands for instruments that come and go.  A
`Universe` compares what the venue lists with what is followed, and says what to follow, what to
retire and whose silence is planned.  It does no I/O: listings and news are handed to it.

What is picked stays followed until it is gone or falls out of a bound in time.  Conditions that
change by the minute, such as volume, decide when a listing is read whether something is picked,
and never that it is dropped again.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final, Literal, get_args

import msgspec
from msgspec import Struct

from gapless.errors import UsageError

__all__ = [
    "Changes",
    "Instrument",
    "InstrumentKind",
    "InstrumentState",
    "Selector",
    "Universe",
    "is_selector",
]

InstrumentKind = Literal["spot", "perp", "future", "option", "combo"]
InstrumentState = Literal["open", "listed", "halted", "settling", "gone"]
"""``listed`` is known and not yet traded; ``gone`` is expired, delivered or delisted."""

ABSENCES: Final = 3
"""Complete listings in a row that must lack an instrument before it counts as gone.  The second
is read soon after the first, the third when it is due anyhow."""

_DAY_NS: Final = 86_400_000_000_000
_UNITS_NS: Final = {
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": _DAY_NS,
    "w": 7 * _DAY_NS,
}
_CONDITION: Final = re.compile(
    r"(expiry|strike|delta|volume)(<=|>=)([0-9]{1,15}(?:[.][0-9]{1,15})?)([mhdw]?)"
)
_RIGHT: Final = re.compile(r"(call|put)s?")


class Instrument(Struct, frozen=True, gc=False):
    """One instrument.

    Attributes:
        symbol: The venue's name, as subscriptions spell it.
        base: What is traded, such as ``BTC``.
        quote: What its price is in.
        settle: What profit is paid in; `None` where the venue does not say.
        state: Whether it can be traded now.
        expiry_ns: When it expires, Unix time; `None` if it does not.
        strike: Of an option; otherwise `None`.
        right: Of an option; otherwise `None`.
        listed_ns: Since when it is known, Unix time, if the venue says.
        volume: Traded in 24 h, in the venue's unit, if the listing says.
        delta: Of an option, -1 to 1, if the listing says.
    """

    symbol: str
    kind: InstrumentKind
    base: str
    quote: str
    settle: str | None = None
    state: InstrumentState = "open"
    expiry_ns: int | None = None
    strike: float | None = None
    right: Literal["call", "put"] | None = None
    listed_ns: int | None = None
    volume: float | None = None
    delta: float | None = None


def is_selector(symbol: str) -> bool:
    """Whether a symbol is a selector: it begins with a kind of instrument and a colon."""
    return symbol.partition(":")[0] in get_args(InstrumentKind) and ":" in symbol


@dataclass(frozen=True, slots=True)
class _Condition:
    name: str
    least: bool
    bound: float

    def holds(self, instrument: Instrument, now_ns: int) -> bool:
        value = _value(instrument, self.name, now_ns)
        if value is None:
            return False
        return value >= self.bound if self.least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Selector:
    """Which instruments are meant.

    ``KIND:WHAT[,CONDITION]*``.  KIND is ``spot``, ``perp``, ``future``, ``option`` or ``combo``.
    WHAT is a base (``BTC``), a pattern over base, dash and quote (``*-USDT``), or a pattern over
    the venue's symbols.  A condition is ``expiry<=90d`` (``m h d w``), ``strike>=50000``,
    ``delta>=0.1`` (without its sign), ``volume>=1000``, ``calls`` or ``puts``.

    Args:
        text: As written.
    """

    text: str
    kind: str = field(init=False)
    right: str | None = field(init=False, default=None)
    _matches: Callable[[str], object] = field(init=False, repr=False, compare=False)
    _what: str = field(init=False, repr=False)
    _conditions: tuple[_Condition, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read the text.

        Raises:
            UsageError: If it is not a selector; says which part is not.
        """
        kind, _, rest = self.text[:256].partition(":")
        what, *conditions = [part.strip() for part in rest.split(",")]
        if kind not in get_args(InstrumentKind):
            kinds = ", ".join(get_args(InstrumentKind))
            raise UsageError(f"a selector begins with one of {kinds}, not with {kind!r}")
        if not what:
            raise UsageError(f"{self.text[:64]!r} does not say what to pick; * picks everything")
        found = []
        right = None
        for part in conditions:
            if (side := _RIGHT.fullmatch(part)) is not None:
                right = side[1]
            else:
                found.append(_condition(part))
        set_ = object.__setattr__  # frozen, and this is its constructor
        set_(self, "kind", kind)
        set_(self, "right", right)
        set_(self, "_what", what)
        set_(self, "_matches", re.compile(translate(what)).match)
        set_(self, "_conditions", tuple(found))

    def picks(self, instrument: Instrument, now_ns: int) -> bool:
        """Whether ``instrument`` is meant, at Unix time ``now_ns``."""
        if instrument.kind != self.kind or self.right not in {None, instrument.right}:
            return False
        pair = f"{instrument.base}-{instrument.quote}"
        if self._what != instrument.base and not (
            self._matches(pair) or self._matches(instrument.symbol)
        ):
            return False
        return all(condition.holds(instrument, now_ns) for condition in self._conditions)

    def holds(self, instrument: Instrument, now_ns: int) -> bool:
        """Whether one that was picked is still within the bounds in time."""
        return all(
            condition.holds(instrument, now_ns)
            for condition in self._conditions
            if condition.name == "expiry"
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What follows from a listing, from news or from time.

    Attributes:
        follow: Instruments to follow from now on.
        retire: Symbols to stop following, and why.
        planned: Symbols whose silence is planned from now on, and why.
        resumed: Symbols whose silence is not planned any more.
        ask: Whether the listing should be read again soon: something is unknown.
    """

    follow: tuple[Instrument, ...] = ()
    retire: tuple[tuple[str, str], ...] = ()
    planned: tuple[tuple[str, str], ...] = ()
    resumed: tuple[str, ...] = ()
    ask: bool = False


class Universe:
    """The instruments that one selector means at one venue, as they come and go.

    Bounded by what the venue lists.

    Args:
        selector: What is wanted.

    Attributes:
        followed: What is followed now, by symbol.
    """

    def __init__(self, selector: Selector) -> None:
        self.selector = selector
        self.followed: dict[str, Instrument] = {}
        self._waiting: dict[str, Instrument] = {}  # listed, picked, and not yet traded
        self._planned: dict[str, str] = {}
        self._absent: dict[str, int] = {}

    def listing(self, listed: Iterable[Instrument], now_ns: int) -> Changes:
        """Take a complete listing.

        An instrument that is missing from it counts as gone if it has expired, or once `ABSENCES`
        listings in a row lack it: one reply that was cut short must not end a chain.  A listing
        of nothing at all tells of a venue in trouble, and of none of its instruments.
        """
        follow: list[Instrument] = []
        retire: list[tuple[str, str]] = []
        present: set[str] = set()
        self._waiting.clear()
        for instrument in listed:
            present.add(instrument.symbol)
            self._take(instrument, now_ns, follow, retire)
        doubtful = False
        for symbol, instrument in list(self.followed.items()):
            if symbol in present:
                continue
            if present:
                self._absent[symbol] = self._absent.get(symbol, 0) + 1
            if self._absent.get(symbol, 0) >= ABSENCES or _expired(instrument, now_ns):
                retire.append((symbol, "the venue does not list it any more"))
                self._drop(symbol)
            elif self._absent.get(symbol) == 1:
                doubtful = True
        changes = self._changes(follow, retire, now_ns)
        return dataclasses.replace(changes, ask=doubtful)

    def told(self, news: Iterable[tuple[str, InstrumentState]], now_ns: int) -> Changes:
        """Take the venue's news: symbols and their states, in the order in which they came."""
        follow: list[Instrument] = []
        retire: list[tuple[str, str]] = []
        ask = False
        for symbol, state in news:
            known = self.followed.get(symbol)
            if known is None:
                waiting = self._waiting.pop(symbol, None)
                if waiting is not None and state in {"open", "listed"}:
                    self._take(msgspec.structs.replace(waiting, state=state), now_ns, follow, [])
                elif state in {"open", "listed"}:
                    ask = True  # only a listing says what it is
            elif state == "gone":
                retire.append((symbol, "the venue says that it is gone"))
                self._drop(symbol)
            else:
                self.followed[symbol] = msgspec.structs.replace(known, state=state)
        changes = self._changes(follow, retire, now_ns)
        return dataclasses.replace(changes, ask=ask)

    def tick(self, now_ns: int) -> Changes:
        """Act on what time alone decides: expiries that pass, and bounds."""
        retire = [
            (symbol, "it is out of the selector's bounds")
            for symbol, instrument in self.followed.items()
            if not _expired(instrument, now_ns) and not self.selector.holds(instrument, now_ns)
        ]
        for symbol, _ in retire:
            self._drop(symbol)
        return self._changes([], retire, now_ns)

    def _take(
        self,
        instrument: Instrument,
        now_ns: int,
        follow: list[Instrument],
        retire: list[tuple[str, str]],
    ) -> None:
        symbol = instrument.symbol
        self._absent.pop(symbol, None)
        if symbol in self.followed:
            if instrument.state == "gone":
                retire.append((symbol, "the venue lists it as gone"))
                self._drop(symbol)
            else:
                self.followed[symbol] = instrument
        elif (
            instrument.state != "gone"
            and not _expired(instrument, now_ns)
            and self.selector.picks(instrument, now_ns)
        ):
            if instrument.state == "listed":
                self._waiting[symbol] = instrument
            else:
                self.followed[symbol] = instrument
                follow.append(instrument)

    def _drop(self, symbol: str) -> None:
        self.followed.pop(symbol, None)
        self._absent.pop(symbol, None)
        self._planned.pop(symbol, None)

    def _changes(
        self, follow: Sequence[Instrument], retire: Sequence[tuple[str, str]], now_ns: int
    ) -> Changes:
        planned: list[tuple[str, str]] = []
        resumed: list[str] = []
        for symbol, instrument in self.followed.items():
            cause = _planned(instrument, now_ns)
            before = self._planned.get(symbol)
            if cause is not None and cause != before:
                self._planned[symbol] = cause
                planned.append((symbol, cause))
            elif cause is None and before is not None:
                del self._planned[symbol]
                resumed.append(symbol)
        return Changes(tuple(follow), tuple(retire), tuple(planned), tuple(resumed))


def _planned(instrument: Instrument, now_ns: int) -> str | None:
    if _expired(instrument, now_ns):
        return "it has expired"
    match instrument.state:
        case "halted":
            return "the venue has halted it"
        case "settling":
            return "it is being settled"
        case _:
            return None


def _expired(instrument: Instrument, now_ns: int) -> bool:
    return instrument.expiry_ns is not None and now_ns >= instrument.expiry_ns


def _condition(text: str) -> _Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text[:64]!r} is no condition; write for example expiry<=90d or strike>=50000"
        )
    name, sign, number, unit = match.groups()
    bound = float(number)
    if bool(unit) != (name == "expiry"):
        raise UsageError(f"{text[:64]!r}: an expiry needs a unit (m, h, d or w), others have none")
    return _Condition(name, sign == ">=", bound * _UNITS_NS[unit] if unit else bound)


def _value(instrument: Instrument, name: str, now_ns: int) -> float | None:
    match name:
        case "expiry":
            return None if instrument.expiry_ns is None else instrument.expiry_ns - now_ns
        case "strike":
            return instrument.strike
        case "volume":
            return instrument.volume
        case _:
            return None if instrument.delta is None else abs(instrument.delta)
