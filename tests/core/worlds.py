"""An honest venue in miniature, and a consumer that believes nothing it cannot check.

Expected values of the stream tests come from here and never from the code under test: the
`Venue` keeps every state its book ever had, and the `Reader` compares what it is given with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from zlib import crc32

from gapless.core.checksum import Checksum, TextLevel
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, Need, SnapshotFrom, TopicSpec
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Event,
    Gap,
    Levels,
    Origin,
    Resynced,
    Texts,
    Trade,
)

SECOND = 10**9
MS = 10**6
WALL = 1_700_000_000 * SECOND  # Unix time at monotonic 0


def at(mono_ns: int) -> Moment:
    return Moment(mono_ns, WALL + mono_ns)


def origin(epoch: int, channel: str = "trades") -> Origin:
    return Origin("venue", channel, "BTC-USD", f"{channel}.btc", "abc"[epoch % 3], epoch)


def spec(
    numbering: Numbering, channel: str = "trades", snapshot: SnapshotFrom | None = None
) -> TopicSpec:
    return TopicSpec("venue", channel, "BTC-USD", f"{channel}.btc", numbering, snapshot)


TRADES = spec(Numbering.DENSE)
REST_BOOK = spec(Numbering.DENSE, "book", SnapshotFrom.REST)
CHAIN_BOOK = spec(Numbering.CHAIN, "book", SnapshotFrom.STREAM)
ORDERED = spec(Numbering.ORDERED, "bbo")
UNNUMBERED = spec(Numbering.NONE, "ticker")
NAMED = spec(Numbering.IDENTITY)
CHAIN_REST_BOOK = spec(Numbering.CHAIN, "book", SnapshotFrom.REST)
BOOK_IMAGES = spec(Numbering.ORDERED, "book", SnapshotFrom.EVERY)


def crc(bids: Sequence[TextLevel], asks: Sequence[TextLevel]) -> int:
    """A checksum as venues make them: of the digits, bids before asks."""
    return crc32(":".join(text for level in (*bids, *asks) for text in level).encode())


def run_book(
    *, depth: int | None = None, covers: int | None = None, tolerated: int = 0
) -> TopicSpec:
    """A book without numbers: cut to ``depth``, and checked down to ``covers``."""
    checksum = None if covers is None else Checksum(covers, crc, tolerated)
    name = "book.btc"
    return TopicSpec(
        "venue",
        "book",
        "BTC-USD",
        name,
        Numbering.NONE,
        SnapshotFrom.STREAM,
        depth=depth,
        checksum=checksum,
    )


def trade(
    source: Origin, first: int | None, last: int | None, mono_ns: int, made_ns: int | None = None
) -> Trade:
    made = None if made_ns is None else WALL + made_ns
    wall = WALL + mono_ns
    return Trade(source, wall, mono_ns, made, first, last, str(last), float(last or 0), 1.0, "buy")


def delta(
    source: Origin,
    first: int | None,
    last: int | None,
    mono_ns: int,
    bids: Levels | None = None,
    asks: Levels | None = None,
    made_ns: int | None = None,
) -> BookDelta:
    made = None if made_ns is None else WALL + made_ns
    wall = WALL + mono_ns
    return BookDelta(source, wall, mono_ns, made, first, last, bids or [], asks or [])


def snapshot(
    source: Origin,
    last: int | None,
    mono_ns: int,
    bids: Levels | None = None,
    asks: Levels | None = None,
    made_ns: int | None = None,
) -> BookSnapshot:
    made = None if made_ns is None else WALL + made_ns
    wall = WALL + mono_ns
    return BookSnapshot(source, wall, mono_ns, made, last, last, bids or [], asks or [])


def bbo(
    source: Origin, number: int | None, mono_ns: int, bid: float = 1.0, made_ns: int | None = None
) -> Bbo:
    made = None if made_ns is None else WALL + made_ns
    return Bbo(source, WALL + mono_ns, mono_ns, made, number, number, bid, 1.0, 2.0, 1.0)


@dataclass
class Log:
    """Everything a stream said."""

    events: list[Event] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)

    @property
    def gaps(self) -> list[Gap]:
        return [event for event in self.events if isinstance(event, Gap)]

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def clear(self) -> None:
        self.events.clear()
        self.needs.clear()


class Venue:
    """Numbers one topic's changes and remembers the book after every one of them.

    Change ``i`` carries number ``numbers[i]``; on a chain numbers are left out at random.
    """

    def __init__(self, numbering: Numbering, seed: int = 0) -> None:
        self._rng = Random(seed)
        self._skips = numbering is Numbering.CHAIN
        self.numbers = [100]
        self.made_ns = [0]
        self.changes: list[tuple[Levels, Levels]] = [([], [])]
        self.books: list[tuple[dict[float, float], dict[float, float]]] = [({}, {})]

    @property
    def newest(self) -> int:
        return len(self.numbers) - 1

    def change(self, now_ns: int) -> None:
        rng = self._rng
        self.numbers.append(self.numbers[-1] + (rng.choice([1, 1, 2, 5]) if self._skips else 1))
        self.made_ns.append(now_ns)
        bids, asks = dict(self.books[-1][0]), dict(self.books[-1][1])
        price, size = float(rng.randint(1, 6)), float(rng.randint(0, 3))
        if rng.random() < 0.5:
            self.changes.append(([(price, size)], []))
            bids[price] = size
        else:
            self.changes.append(([], [(price + 10, size)]))
            asks[price + 10] = size
        self.books.append(
            ({p: s for p, s in bids.items() if s}, {p: s for p, s in asks.items() if s})
        )

    def book_at(self, number: int) -> tuple[Levels, Levels]:
        """The whole book after the change that has this number, best levels first."""
        bids, asks = self.books[self.numbers.index(number)]
        return sorted(bids.items(), reverse=True), sorted(asks.items())

    def trade(self, source: Origin, begin: int, end: int, now_ns: int) -> Trade:
        """One message about the changes after ``begin``, up to and with ``end``."""
        first, last = self.numbers[begin] + 1, self.numbers[end]
        return trade(source, first, last, now_ns, self.made_ns[end])

    def delta(self, source: Origin, begin: int, end: int, now_ns: int) -> BookDelta:
        bids: dict[float, float] = {}
        asks: dict[float, float] = {}
        for change in self.changes[begin + 1 : end + 1]:
            bids.update(change[0])
            asks.update(change[1])
        return delta(
            source,
            self.numbers[begin] + 1,
            self.numbers[end],
            now_ns,
            list(bids.items()),
            list(asks.items()),
            self.made_ns[end],
        )

    def snapshot(
        self, source: Origin, index: int, now_ns: int, *, timed: bool = True
    ) -> BookSnapshot:
        bids, asks = self.book_at(self.numbers[index])
        made_ns = self.made_ns[index] if timed else None
        return snapshot(source, self.numbers[index], now_ns, bids, asks, made_ns)


class Reader:
    """A consumer that checks every event against the venue and against the promise.

    Attributes:
        covered: The newest number delivered, announced missing, or superseded by a snapshot.
        dark: Whether nobody carried the topic since the last data or mark.
    """

    def __init__(self, venue: Venue, topic: TopicSpec) -> None:
        self.venue = venue
        self.dense = topic.numbering is Numbering.DENSE
        self.covered: int | None = None
        self.delivered: list[int] = []  # trades only: every number, in order
        self.announced: list[int] = []
        self.gaps = 0
        self.resyncs = 0
        self.dark = False
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.loaded = False
        self.gapped = False  # a gap is announced and not yet healed
        self._interval = False  # the gap had no numbers
        self._resynced_next = False

    def __call__(self, event: Event) -> None:
        if self._resynced_next:
            assert isinstance(event, Resynced), "the snapshot after a gap is followed by Resynced"
        match event:
            case Gap():
                self._gap(event)
            case Resynced(by="ids" | "line"):
                assert not self.gapped
                assert event.last is not None
                assert self.covered is not None
                self.resyncs += 1
                self.dark = False
            case Resynced():
                assert event.by == "snapshot"
                assert self._resynced_next
                assert event.last == self.covered
                self.resyncs += 1
                self._resynced_next = self.gapped = False
            case BookSnapshot():
                self._snapshot(event)
            case BookDelta():
                self._follows(event)
                assert self.loaded
                assert not self.gapped
                _apply(self.bids, event.bids)
                _apply(self.asks, event.asks)
                self._same_book()
            case Trade():
                self._follows(event)
                self.gapped = False
                assert event.price == float(event.last or 0)
                self.delivered += range(event.first or 0, (event.last or 0) + 1)
            case _:
                raise AssertionError(f"unexpected {event}")

    def book(self) -> tuple[Levels, Levels]:
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())

    def _gap(self, gap: Gap) -> None:
        assert gap.since_ns <= gap.until_ns == gap.recv_ns
        assert gap.cause
        self.gaps += 1
        self.gapped = True
        self.dark = False
        if gap.first is None:
            assert gap.last is None
            assert gap.missing is None
            self._interval = True
            return
        assert self.covered is not None
        assert gap.last is not None
        assert gap.first == self.covered + 1
        assert gap.first <= gap.last
        assert gap.missing == (gap.last - gap.first + 1 if self.dense else None)
        self.announced += range(gap.first, gap.last + 1)
        self.covered = gap.last

    def _follows(self, event: Event) -> None:
        assert event.first is not None
        assert event.last is not None
        assert event.first <= event.last
        assert not self.dark, "after nobody carried the topic, something is said before data"
        if self.covered is not None:
            if self._interval:
                assert event.first > self.covered
            else:
                assert event.first == self.covered + 1
        self._interval = False
        self.covered = event.last

    def _snapshot(self, event: BookSnapshot) -> None:
        assert event.last is not None
        assert not self.dark
        assert self.gapped or not self.loaded, "a second snapshot comes after a gap only"
        assert self.covered is None or event.last >= self.covered
        self.covered = event.last
        self.loaded = True
        self._interval = False
        self._resynced_next = self.gapped
        self.bids, self.asks = dict(event.bids), dict(event.asks)
        self._same_book()

    def _same_book(self) -> None:
        assert self.covered is not None
        assert self.book() == self.venue.book_at(self.covered)


def _apply(side: dict[float, float], levels: Levels) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)


@dataclass
class Session:
    """One session as the venue sees it: how far it has sent, and what."""

    origin: Origin
    start: int
    sent: int
    attached: bool = False
    fresh: bool = False  # owes a snapshot before anything else
    messages: list[Event] = field(default_factory=list)


# -- books without numbers ----------------------------------------------------------------------

Side = dict[str, str]  # price to size, both as the venue writes them


def best(side: Side, *, bids: bool, depth: int | None = None) -> list[TextLevel]:
    return sorted(side.items(), key=lambda level: float(level[0]), reverse=bids)[:depth]


def numbers(levels: Sequence[TextLevel]) -> Levels:
    return [(float(price), float(size)) for price, size in levels]


class RunVenue:
    """A book of literal texts, every state of which is kept.

    Subscribers are shown the best ``depth`` levels.  What falls out of them is not taken back.
    """

    def __init__(self, topic: TopicSpec, seed: int = 0) -> None:
        self._rng = Random(seed)
        self.depth = topic.depth
        self.checksum = topic.checksum
        self.states: list[tuple[Side, Side]] = [({}, {})]
        self.made_ns = [0]

    @property
    def newest(self) -> int:
        return len(self.states) - 1

    def change(self, now_ns: int) -> None:
        rng = self._rng
        sides = (dict(self.states[-1][0]), dict(self.states[-1][1]))
        which = rng.randint(0, 1)
        price, size = f"{rng.randint(1, 6) + 10 * which}.0", rng.choice(["0", "1.50", "2", "1e1"])
        if size == "0":
            sides[which].pop(price, None)
        else:
            sides[which][price] = size
        self.states.append(sides)
        self.made_ns.append(now_ns)

    def shown(self, index: int) -> tuple[list[TextLevel], list[TextLevel]]:
        bids, asks = self.states[index]
        return best(bids, bids=True, depth=self.depth), best(asks, bids=False, depth=self.depth)

    def book_at(self, index: int) -> tuple[Levels, Levels]:
        bids, asks = self.shown(index)
        return numbers(bids), numbers(asks)

    def check(self, index: int) -> int | None:
        if self.checksum is None:
            return None
        covers = self.checksum.depth
        bids, asks = self.shown(index)
        return crc(bids[:covers], asks[:covers])

    def snapshot(self, source: Origin, index: int, now_ns: int) -> BookSnapshot:
        bids, asks = self.shown(index)
        return BookSnapshot(
            source,
            WALL + now_ns,
            now_ns,
            WALL + self.made_ns[index],
            None,
            None,
            numbers(bids),
            numbers(asks),
            Texts(bids, asks, self.check(index)),
        )

    def delta(self, source: Origin, begin: int, end: int, now_ns: int) -> BookDelta:
        sides: list[list[TextLevel]] = []
        for which in (0, 1):
            old, new = dict(self.shown(begin)[which]), dict(self.shown(end)[which])
            gone = [(price, "0") for price in old if price not in self.states[end][which]]
            sides.append([*gone, *((p, s) for p, s in new.items() if old.get(p) != s)])
        bids, asks = sides
        return BookDelta(
            source,
            WALL + now_ns,
            now_ns,
            WALL + self.made_ns[end],
            None,
            None,
            numbers(bids),
            numbers(asks),
            Texts(bids, asks, self.check(end)),
        )
