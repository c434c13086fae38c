"""Checking topics whose silence proves nothing, against the venue's best prices in bulk.

Most strikes of an option chain are silent for hours.  That they are still subscribed cannot be
told from their rhythm; but a venue that gives the best prices of a thousand symbols in one reply
says whether there was something to tell.

A difference at one moment proves nothing: a message may be under way, and a reply may come from a
cache.  A topic is found wrong only if all of this holds:

* nothing has come of it for `CALM_NS` before the first read that differs, nor until the second;
* two reads differ, the second asked for at least `SETTLE_NS` after the reply to the first, which
  is longer than any venue gathers changes before it sends them;
* the venue's prices are newer than ours: by its number or its time where it gives one, or because
  an earlier read, after the same last message of ours, still agreed.

What cannot be shown to be newer is not judged, and stays unverified.  Prices that differ from what
a fresh subscription brought are no evidence either: such a topic is left alone, because the two
then mean different things.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from msgspec import Struct

from gapless.core.kinds import AnyBook
from gapless.core.stream import Stream
from gapless.events import Bbo, Ticker

__all__ = ["CALM_NS", "SETTLE_NS", "Audit", "BulkTop", "Verdict", "differs", "is_crossed", "top_of"]

CALM_NS: Final = 2_000_000_000
"""How long a topic must have been silent before a read for a difference to count."""

SETTLE_NS: Final = 3_000_000_000
"""Least time between the two reads; venues gather changes for two seconds at most."""


class BulkTop(Struct, frozen=True, gc=False):
    """The best prices of one symbol, as one read of many symbols gives them.

    Attributes:
        symbol: The venue's name of the instrument, as subscriptions spell it.
        bid, ask: `None` where the side is empty.
        bid_size, ask_size: `None` where the side is empty, or the venue gives no sizes.
        event_ns: When it was so by the venue's clock, Unix time, if it says.
        number: The change that made it so, in the numbering of the topic's events, if it says.
    """

    symbol: str
    bid: float | None
    ask: float | None
    bid_size: float | None = None
    ask_size: float | None = None
    event_ns: int | None = None
    number: int | None = None


@unique
class Verdict(Enum):
    """What a read says of a topic."""

    AGREES = "agrees"
    DOUBTED = "doubted"  # it differs, and another read must show whether that lasts
    WRONG = "wrong"
    UNKNOWN = "unknown"  # nothing can be said


@dataclass(slots=True)
class _Case:
    """What is known of one topic since its newest message.

    Attributes:
        arrived: How many messages had come.
        agreed_ns: When a read last agreed, monotonic; 0 for never.
        doubted_ns: When the first of the reads came that differ, monotonic; 0 for none.
        base: The venue's prices when it was last found wrong: the same ones say nothing new.
    """

    arrived: int
    agreed_ns: int = 0
    doubted_ns: int = 0
    base: BulkTop | None = None


class Audit:
    """Compares the best prices of topics with bulk reads.  Bounded by the number of topics.

    Attributes:
        compared: How many comparisons there were.
    """

    __slots__ = ("_cases", "_convicted", "compared")

    def __init__(self) -> None:
        self.compared = 0
        self._cases: dict[str, _Case] = {}
        self._convicted: set[str] = set()  # found wrong, and not agreed with since

    def compare(
        self,
        topic: str,
        ours: BulkTop,
        theirs: BulkTop,
        *,
        arrived: int,
        seen_ns: int,
        asked_ns: int,
        now_ns: int,
    ) -> Verdict:
        """Hold one topic against one read.

        Args:
            topic: Which.
            ours: Its best prices as we know them.
            theirs: As the venue says they are.
            arrived: How many messages of it have come, from all sources.
            seen_ns: When the newest of them came, monotonic.
            asked_ns: When the read was asked for, monotonic.
            now_ns: When the reply came, monotonic.
        """
        self.compared += 1
        case = self._cases.get(topic)
        if case is None or case.arrived != arrived:
            case = self._cases[topic] = _Case(arrived)
        if not differs(ours, theirs):
            case.agreed_ns, case.doubted_ns, case.base = asked_ns, 0, None
            self._convicted.discard(topic)
            return Verdict.AGREES
        if asked_ns < seen_ns + CALM_NS or not _newer(ours, theirs, case):
            return Verdict.UNKNOWN
        if case.base is None:
            if topic in self._convicted:  # a fresh subscription brought what we have
                return Verdict.UNKNOWN
        elif not differs(case.base, theirs):
            return Verdict.UNKNOWN  # known to be wrong, and nothing has happened since
        if not case.doubted_ns:
            case.doubted_ns = now_ns
        if asked_ns < case.doubted_ns + SETTLE_NS:
            return Verdict.DOUBTED
        case.doubted_ns, case.base = 0, theirs
        self._convicted.add(topic)
        return Verdict.WRONG

    def agreed_ns(self, topic: str, arrived: int) -> int:
        """Return when a read last agreed with the newest message, monotonic; 0 for never."""
        case = self._cases.get(topic)
        return 0 if case is None or case.arrived != arrived else case.agreed_ns

    def wrong(self, topic: str, arrived: int) -> bool:
        """Whether a topic was found wrong and nothing has come of it since."""
        case = self._cases.get(topic)
        return case is not None and case.arrived == arrived and case.base is not None

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic that is not followed any more."""
        self._cases.pop(topic, None)
        self._convicted.discard(topic)


def top_of(stream: Stream) -> BulkTop | None:
    """Return the best prices of a topic as we know them; `None` if it has or proves none."""
    newest, symbol = stream.newest, stream.spec.symbol
    if newest is None or stream.blind:
        return None
    if isinstance(stream, AnyBook):
        if not stream.readable:
            return None
        book = stream.proven()
        bid, bid_size = book.best_bid or (None, None)
        ask, ask_size = book.best_ask or (None, None)
        return BulkTop(symbol, bid, ask, bid_size, ask_size, newest.event_ns, newest.last)
    if isinstance(newest, Bbo):
        sizes = newest.bid_size, newest.ask_size
        return BulkTop(symbol, newest.bid, newest.ask, *sizes, newest.event_ns, newest.last)
    if isinstance(newest, Ticker) and (newest.bid is not None or newest.ask is not None):
        return BulkTop(symbol, newest.bid, newest.ask, None, None, newest.event_ns, newest.last)
    return None


def differs(one: BulkTop, other: BulkTop) -> bool:
    """Whether prices differ, or sizes where both have them."""
    if one.bid != other.bid or one.ask != other.ask:
        return True
    return any(
        mine is not None and its is not None and mine != its
        for mine, its in ((one.bid_size, other.bid_size), (one.ask_size, other.ask_size))
    )


def is_crossed(top: BulkTop) -> bool:
    """Whether nobody could trade at these prices: the bid is at or above the ask."""
    return top.bid is not None and top.ask is not None and top.bid >= top.ask


def _newer(ours: BulkTop, theirs: BulkTop, case: _Case) -> bool:
    if case.agreed_ns or case.base is not None:
        return True  # it was as we have it after our newest message, and is no longer
    if ours.number is not None and theirs.number is not None:
        return theirs.number > ours.number
    if ours.event_ns is not None and theirs.event_ns is not None:
        return theirs.event_ns > ours.event_ns
    return False
