"""Compares what a simulated venue did with what a consumer received.

The venue's truth log says what happened in every topic, whether or not anybody was connected.
The consumer's events say what was delivered and what was announced as missing.  The promise is
kept if the second accounts for all of the first:

* *dense* topics (trades, ranges): every number between the first and the last delivered was
  delivered once, announced as missing, or superseded by a snapshot that a `Gap` preceded;
* *interval* topics (chains, images): every lost event lies in an announced interval; an image
  that shows exactly what the one before it showed is not lost, if it has no number and the one
  before it was delivered.  An image is a state and not an event: whoever has the same state has
  missed nothing but its date.  One that shows something else in between, and back, is lost;
* what is marked as backfilled was announced as missing before, and comes once;
* nothing is delivered twice or out of order, and every book equals the venue's book.

Nothing of the client is used here but the event types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gapless.core.sequence import Numbering
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Event,
    Gap,
    Levels,
    Resynced,
    Ticker,
    Trade,
)

__all__ = ["Hole", "Scorecard", "TopicScore", "score"]

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hole:
    """Something that a consumer was not given.

    Attributes:
        at_ns: When it was told, Unix time; when it should have noticed, if it was not told.
        lost: Messages that it was not given.
        announced: Messages that it was told are missing.
    """

    at_ns: int
    lost: int
    announced: int


@dataclass(slots=True)
class TopicScore:
    """One topic's account.

    Attributes:
        sent: Events of the world between the first and the last delivered.
        delivered: Data events delivered, snapshots apart.
        missing: Numbers never delivered, on dense topics.
        announced: Numbers announced as missing, on dense topics.
        lost: Events never delivered, on interval topics.
        covered: Those of them that lie in an announced interval.
        duplicated, misordered: Events that repeat or step back.
        backfilled: Events fetched afterwards, which were announced as missing; they are still
            counted as missing, and as announced.
        unannounced: Holes whose gap did not come before them, or not of their size, and
            snapshots that skipped something without a gap before them.
        holes: What ``missing`` and ``announced``, or ``lost`` and ``covered``, are made of.
    """

    topic: str
    sent: int = 0
    delivered: int = 0
    missing: int = 0
    announced: int = 0
    lost: int = 0
    covered: int = 0
    duplicated: int = 0
    misordered: int = 0
    unannounced: int = 0
    backfilled: int = 0
    holes: list[Hole] = field(default_factory=list)


@dataclass(slots=True)
class Scorecard:
    """The account of a whole run; see `TopicScore` for the sums."""

    topics: list[TopicScore] = field(default_factory=list)
    books_compared: int = 0
    books_equal: int = 0

    def total(self, name: str) -> int:
        """Return the sum of one field of `TopicScore` over all topics."""
        return sum(getattr(topic, name) for topic in self.topics)

    def holes(self) -> list[Hole]:
        """Return everything that was not given, topic by topic."""
        return [hole for topic in self.topics for hole in topic.holes]

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        silent = any(topic.missing != topic.announced for topic in self.topics)
        return not (
            silent
            or self.total("duplicated")
            or self.total("misordered")
            or self.total("unannounced")
            or self.total("lost") != self.total("covered")
            or self.books_compared != self.books_equal
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the sums, as the demo prints them."""
        names = ("sent", "delivered", "missing", "announced", "duplicated", "misordered")
        return {
            **{name: self.total(name) for name in names},
            "intervals": {"lost": self.total("lost"), "covered": self.total("covered")},
            "books": {"compared": self.books_compared, "equal": self.books_equal},
        }


def score(
    truth: Iterable[Record], events: Sequence[Event], numbering: Mapping[str, Numbering]
) -> Scorecard:
    """Compare a venue's truth log with a consumer's events.

    Args:
        truth: Records of the simulator, final books included.
        events: Everything the consumer got, in order; topics of one venue.
        numbering: What the numbers of each topic mean.
    """
    world: dict[str, list[Record]] = {}
    finals: dict[str, Record] = {}
    for record in truth:
        if record["type"] == "world":
            world.setdefault(record["topic"], []).append(record)
        elif record["type"] == "final":
            finals[record["symbol"]] = record
    by_topic: dict[str, list[Event]] = {}
    for event in events:
        by_topic.setdefault(event.origin.topic, []).append(event)
    card = Scorecard()
    for topic, received in by_topic.items():
        records = world.get(topic, [])
        account = TopicScore(topic)
        match numbering[topic]:
            case Numbering.DENSE:
                _score_dense(account, records, received)
            case Numbering.CHAIN:
                _score_chain(account, records, received)
            case Numbering.ORDERED | Numbering.IDENTITY | Numbering.NONE:
                _score_images(account, records, received)
        card.topics.append(account)
        if received[0].origin.channel == "book":
            card.books_compared += 1
            card.books_equal += _same_book(records, finals, received)
    return card


def _score_dense(account: TopicScore, records: list[Record], received: list[Event]) -> None:
    expected: int | None = None  # next number, as the consumer knows it
    open_announced = open_missing = 0  # of the hole before the next data event
    told_ns: int | None = None  # when the first gap of that hole came
    first_number = last_number = None
    named: set[int] = set()  # announced, and not backfilled
    for event in received:
        if isinstance(event, Resynced):
            continue
        if isinstance(event, Trade) and event.backfilled:
            account.backfilled += event.last in named
            account.duplicated += event.last not in named
            named.discard(event.last or 0)
        elif isinstance(event, Gap):
            open_announced += event.missing or 0
            told_ns = event.recv_ns if told_ns is None else told_ns
            if event.missing and event.first is not None and event.last is not None:
                named.update(range(event.first, event.last + 1))
        elif isinstance(event, BookSnapshot):
            # Supersedes everything up to its number, announced or not; but a book must not
            # skip anything without a word.
            last = event.last or 0
            if expected is not None and last >= expected and not open_announced:
                account.unannounced += 1
            if expected is not None and last < expected - 1:
                account.misordered += 1
            open_announced, told_ns = 0, None
            expected = last + 1
        elif event.first is not None and event.last is not None:
            account.delivered += 1
            first_number = event.first if first_number is None else first_number
            last_number = event.last
            if expected is not None:
                if event.last < expected:
                    account.duplicated += 1
                    continue
                if event.first < expected:
                    account.duplicated += 1
                open_missing = max(0, event.first - expected)
            account.missing += open_missing
            account.announced += open_announced
            # Hole by hole: a false gap elsewhere must not pay for a silent loss here.
            account.unannounced += open_missing != open_announced
            if open_missing or open_announced:
                at_ns = event.recv_ns if told_ns is None else told_ns
                account.holes.append(Hole(at_ns, open_missing, open_announced))
            open_missing = open_announced = 0
            told_ns = None
            expected = event.last + 1
    if first_number is not None and last_number is not None:
        account.sent = sum(
            first_number <= record["last"] and record["first"] <= last_number for record in records
        )


def _score_chain(account: TopicScore, records: list[Record], received: list[Event]) -> None:
    seen: set[int] = set()
    gaps: list[Gap] = []
    superseded: list[tuple[int, int]] = []  # what a snapshot skipped after a gap
    newest: int | None = None
    gap_open = False
    for event in received:
        if isinstance(event, Gap):
            gaps.append(event)
            gap_open = True
        elif isinstance(event, BookSnapshot) and event.last is not None:
            if newest is not None and event.last > newest and not gap_open:
                account.unannounced += 1
            if newest is not None and event.last < newest:
                account.misordered += 1
            if gap_open and newest is not None:
                superseded.append((newest, event.last))
            gap_open = False
            newest = event.last
        elif isinstance(event, BookDelta) and event.last is not None:
            account.delivered += 1
            if event.last in seen:
                account.duplicated += 1
            elif newest is not None and event.last < newest:
                account.misordered += 1
            if newest is not None and event.first != newest + 1 and event.last not in seen:
                account.unannounced += 1  # a delta that does not follow what came before
            seen.add(event.last)
            newest = event.last
    if not seen:
        return
    for record in _between(records, min(seen), max(seen)):
        account.sent += 1
        number = record["last"]
        if number in seen:
            continue
        gap = _gap_over(gaps, record)
        if gap is not None or not any(low < number <= high for low, high in superseded):
            _lose(account, record, gap)


def _between(records: list[Record], low: int, high: int) -> list[Record]:
    return [record for record in records if low <= record["last"] <= high]


def _score_images(account: TopicScore, records: list[Record], received: list[Event]) -> None:
    gaps = [event for event in received if isinstance(event, Gap)]
    images = [event for event in received if isinstance(event, Bbo | Ticker | Trade)]
    seen: set[tuple[object, ...]] = set()
    newest = -1
    for event in images:
        account.delivered += 1
        identity = _identity_of_event(event)
        order = event.last if event.last is not None else event.event_ns
        late = isinstance(event, Trade) and event.backfilled
        account.backfilled += late
        if identity in seen:
            account.duplicated += 1
        elif not late and order is not None and order < newest:
            account.misordered += 1
        seen.add(identity)
        newest = newest if order is None else max(newest, order)
    positions = [i for i, record in enumerate(records) if _identity(record) in seen]
    if not positions:
        return
    shown: tuple[object, ...] | None = None  # what the consumer's image shows
    for record in records[positions[0] : positions[-1] + 1]:
        account.sent += 1
        shows = _identity(record)[1:] if record["last"] is None else None
        if _identity(record) in seen:
            shown = shows
        elif shows is None or shows != shown:  # one that shows the same again is not missed
            _lose(account, record, _gap_over(gaps, record))
            shown = None


def _gap_over(gaps: Iterable[Gap], record: Record) -> Gap | None:
    made_ns = record["event_ns"] if record["event_ns"] is not None else record["ns"]
    return next((gap for gap in gaps if gap.since_ns <= made_ns <= gap.until_ns), None)


def _lose(account: TopicScore, record: Record, gap: Gap | None) -> None:
    account.lost += 1
    account.covered += gap is not None
    at_ns = record["ns"] if gap is None else gap.recv_ns
    account.holes.append(Hole(at_ns, 1, int(gap is not None)))


_FIELDS = {
    "bbo": ("bid", "bid_size", "ask", "ask_size"),
    "ticker": ("price", "bid", "ask", "volume"),
}


def _identity(record: Record) -> tuple[object, ...]:
    if record["last"] is not None:
        return (record["last"],)
    return (record["event_ns"], *(record.get(name) for name in _FIELDS[record["channel"]]))


def _identity_of_event(event: Event) -> tuple[object, ...]:
    if event.last is not None:
        return (event.last,)
    names = _FIELDS[event.origin.channel]
    return (event.event_ns, *(getattr(event, name) for name in names))


def _same_book(records: list[Record], finals: dict[str, Record], received: list[Event]) -> bool:
    """Whether the consumer's book, carried on to the end of the log, equals the venue's."""
    final = finals.get(received[0].origin.symbol)
    if final is None:
        return False
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    number = None
    for event in received:
        if isinstance(event, BookSnapshot):
            bids, asks = dict(event.bids), dict(event.asks)
            number = event.last
        elif isinstance(event, BookDelta):
            _set(bids, event.bids)
            _set(asks, event.asks)
            number = event.last
    if number is None:
        return False
    for record in records:
        if record["last"] > number:  # made, and not delivered when the run ended
            _set(bids, record["bids"])
            _set(asks, record["asks"])
    return bool(_levels(final["bids"]) == bids and _levels(final["asks"]) == asks)


def _set(side: dict[float, float], levels: Levels | list[list[float]]) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)


def _levels(levels: list[list[float]]) -> dict[float, float]:
    return {price: size for price, size in levels if size}
