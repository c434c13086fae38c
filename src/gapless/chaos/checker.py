"""Holds the history that a consumer was given against the history that a venue really had.

Both are lines of JSON: the simulator's truth log (`gapless.sim.truth`), and events and notices as
``gapless tail --json`` prints them.  Nothing of the client is imported: this is a second reading of
the promise, from the files' description alone.

* Every message of the venue between the first and the last that was delivered is delivered once, in
  order, or a ``gap`` that came before anything later names it: by number, or by its time where
  numbers do not count.
* A book may skip what a snapshot brings, if a gap came before the snapshot.
* An image without a number that shows exactly what the one before it showed is not lost if it does
  not come, provided that the consumer was given the one before.  It is a state and not an event:
  whoever has the same state has missed nothing but its date.  One that shows something else in
  between is lost, though the next one may show what the consumer has.
* What is marked ``backfilled`` was named by a gap before, and comes once.
* At the end every book equals the venue's.

Faults are ``strike`` records among the truth: ``id name where line at_ns until_ns happened``;
``line`` is the one line that was struck, null for all.  They say whether a loss is one that a
second line should have prevented, how long it took until somebody noticed, and which alarms were
false.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gapless.chaos.figures import Spread

__all__ = ["Loss", "Strike", "Topic", "Verdict", "check"]

Record = dict[str, Any]
Key = tuple[str, str]

SECOND_NS: Final = 1_000_000_000
NEAR_NS: Final = 20 * SECOND_NS
"""How long after the end of a fault what happens may still be its consequence."""

BEFORE_NS: Final = 2 * SECOND_NS
"""How long before a fault a message may have been made that the fault caught under way."""

AFTER_ALL_NS: Final = 5 * SECOND_NS
"""How long after a fault of all lines a delay is still put down to it."""

_ALARMS: Final = frozenset({"stalled", "ended", "violation", "limited"})
_IMAGES: Final = {
    "bbo": ("bid", "bid_size", "ask", "ask_size"),
    "ticker": ("price", "bid", "ask", "volume"),
}


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that was meant to happen.

    Attributes:
        line: The one line that it struck; `None` for all.
        at_ns, until_ns: When it began and ended, Unix time.
        happened: How often it really struck.
    """

    name: str
    line: str | None
    at_ns: int
    until_ns: int
    happened: int


@dataclass(frozen=True, slots=True)
class Loss:
    """A message of the venue that was never delivered.

    Attributes:
        ns: When the venue made it, Unix time.
        announced: Whether a gap named it before anything later was delivered.
    """

    channel: str
    symbol: str
    ns: int
    announced: bool


@dataclass(slots=True)
class Topic:
    """The account of one channel of one symbol.

    Attributes:
        sent: Messages of the venue between the first and the last that was delivered.
        delivered: Those delivered live.
        backfilled: Those that came late, marked, and were named before.
        duplicated: Deliveries of what had been delivered.
        misordered: Deliveries of what is older than something delivered.
        invented: Deliveries of something numbered that the venue never sent.
        losses: What was never delivered.
        book_equal: Whether the book is the venue's at the end; `None` if it is no book.
    """

    channel: str
    symbol: str
    sent: int = 0
    delivered: int = 0
    backfilled: int = 0
    duplicated: int = 0
    misordered: int = 0
    invented: int = 0
    losses: list[Loss] = field(default_factory=list)
    book_equal: bool | None = None


@dataclass(slots=True)
class Verdict:
    """What the two histories come to.

    Attributes:
        topics: Each topic's account.
        strikes: The faults, in order.
        detection, recovery: From a fault to the first alarm or gap, and from its end to the first
            message delivered; each for those that were noticed.
        delay_calm, delay_struck: From the venue's sending to the consumer, while no fault was
            under way, and while a single line was struck.
        unnoticed: Longest silence while the venue spoke and nobody said a word.
        false_alarms: Alarms and gaps with no fault near.
        dials: Connections that were dialled.
        lines: How many lines there were.
    """

    topics: list[Topic] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    detection: Spread = field(default_factory=Spread)
    recovery: Spread = field(default_factory=Spread)
    delay_calm: Spread = field(default_factory=Spread)
    delay_struck: Spread = field(default_factory=Spread)
    unnoticed_ns: int = 0
    false_alarms: int = 0
    dials: int = 0
    lines: int = 1

    @property
    def losses(self) -> list[Loss]:
        """Every loss, oldest first."""
        return sorted((loss for topic in self.topics for loss in topic.losses), key=_made)

    def total(self, name: str) -> int:
        """Return the sum of one count of `Topic` over all topics."""
        return sum(getattr(topic, name) for topic in self.topics)

    @property
    def unannounced(self) -> int:
        """Losses that nobody named."""
        return sum(not loss.announced for loss in self.losses)

    @property
    def lost_to_one_line(self) -> int:
        """Losses with no fault near that struck every line: with two lines there are none."""
        if self.lines < 2:
            return 0
        spans = [_reach(strike) for strike in self.strikes if strike.line is None]
        return sum(not _within(loss.ns, spans) for loss in self.losses)

    @property
    def books(self) -> tuple[int, int]:
        """How many books were compared, and how many were equal."""
        books = [topic.book_equal for topic in self.topics if topic.book_equal is not None]
        return len(books), sum(books)

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        compared, equal = self.books
        broken = ("duplicated", "misordered", "invented")
        return (
            not self.unannounced
            and not self.lost_to_one_line
            and not any(self.total(name) for name in broken)
            and compared == equal
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the account as plain data with stable keys; times in milliseconds."""
        compared, equal = self.books
        lost = len(self.losses)
        return {
            "sent": self.total("sent"),
            "delivered": self.total("delivered"),
            "lost": lost,
            "announced": sum(loss.announced for loss in self.losses),
            "unannounced": self.unannounced,
            "lost_to_one_line": self.lost_to_one_line,
            "backfilled": self.total("backfilled"),
            "duplicated": self.total("duplicated"),
            "misordered": self.total("misordered"),
            "invented": self.total("invented"),
            "books": {"compared": compared, "equal": equal},
            "detection_ms": self.detection.as_ms(),
            "recovery_ms": self.recovery.as_ms(),
            "delay_ms": {"calm": self.delay_calm.as_ms(), "struck": self.delay_struck.as_ms()},
            "unnoticed_s": round(self.unnoticed_ns / SECOND_NS, 3),
            "false_alarms": self.false_alarms,
            "dials": self.dials,
            "kept": self.kept,
        }


def check(truth: Iterable[Record], events: Iterable[Record], *, lines: int = 1) -> Verdict:
    """Compare the two histories.

    Args:
        truth: The venue's log, with ``strike`` and ``final`` records.
        events: What the consumer was given, in order, notices included.
        lines: How many redundant lines the client had.
    """
    world: dict[Key, list[Record]] = {}
    sent_ns: dict[tuple[str, int], int] = {}
    finals: dict[str, Record] = {}
    verdict = Verdict(lines=lines)
    for record in truth:
        match record["type"]:
            case "world":
                world.setdefault((record["channel"], record["symbol"]), []).append(record)
            case "sent":
                _note_sent(sent_ns, record)
            case "final":
                finals[record["symbol"]] = record
            case "strike":
                verdict.strikes.append(_strike(record))
            case _:
                pass
    history = list(events)
    given: dict[Key, list[Record]] = {}
    for event in history:
        if event["type"] == "notice":
            verdict.dials += event["kind"] == "dialing"
        elif event["type"] != "summary":
            given.setdefault((event["channel"], event["symbol"]), []).append(event)
    delays = _Delays(verdict, sent_ns)
    for key, received in given.items():
        reader = _Reader(Topic(*key), world.get(key, []), delays)
        verdict.topics.append(reader.read(received))
        if key[0] == "book":
            reader.topic.book_equal = _same_book(world.get(key, []), finals.get(key[1]), received)
    _time(verdict, history)
    verdict.unnoticed_ns = _longest_unnoticed(world, given)
    return verdict


# -- one topic ----------------------------------------------------------------------------------


class _Reader:
    """Reads what was delivered of one topic, and finds each message in the venue's history."""

    def __init__(self, topic: Topic, records: list[Record], delays: _Delays) -> None:
        self.topic = topic
        self._records = records
        self._delays = delays
        self._places: dict[object, int] = {_name(r): place for place, r in enumerate(records)}
        self._numbers = [r["last"] for r in records if r["last"] is not None]
        self._seen: dict[int, int] = {}  # place -> number of the event that brought it
        self._gaps: list[tuple[int, Record]] = []
        self._covered: set[int] = set()  # places passed over by a snapshot that a gap preceded
        self._newest = -1
        self._first = -1
        self._gap_open = False

    def read(self, received: Sequence[Record]) -> Topic:
        """Return the account."""
        for number, event in enumerate(received):
            match event["type"]:
                case "gap":
                    self._gaps.append((number, event))
                    self._gap_open = True
                case "resynced":
                    pass
                case "book" if event["snapshot"]:
                    self._snapshot(event)
                case _:
                    self._data(number, event)
        self._settle()
        return self.topic

    def _snapshot(self, event: Record) -> None:
        place = bisect.bisect_right(self._numbers, event["last"]) - 1
        if self._first >= 0:
            if place < self._newest:
                self.topic.misordered += 1
            passed = range(self._newest + 1, place + 1)
            if self._gap_open:
                self._covered.update(passed)
            self._newest = max(self._newest, place)
        else:
            self._first = self._newest = place
        self._gap_open = False

    def _data(self, number: int, event: Record) -> None:
        places = self._find(event)
        if not places:  # the image that a session gets for itself, or nothing the venue knows
            self.topic.invented += event["last"] is not None and event["type"] != "bbo"
            return
        if event.get("backfilled"):
            self._backfilled(number, event, places[0])
            return
        self.topic.delivered += 1
        self._first = places[0] if self._first < 0 else self._first
        if any(place in self._seen for place in places):
            self.topic.duplicated += 1
        elif places[0] <= self._newest:
            self.topic.misordered += 1
        for place in places:
            self._seen.setdefault(place, number)
        self._delays.add(self._records[places[-1]], event)
        self._newest = max(self._newest, places[-1])
        self._gap_open = False

    def _find(self, event: Record) -> range:
        """Return the places of the messages that an event brings."""
        place = self._places.get(_name(event))
        if event["type"] == "book":
            low = bisect.bisect_left(self._numbers, event["first"])
            high = bisect.bisect_right(self._numbers, event["last"])
            return range(low, high)
        return range(0) if place is None else range(place, place + 1)

    def _backfilled(self, number: int, event: Record, place: int) -> None:
        named = any(at < number and _names(gap, self._records[place]) for at, gap in self._gaps)
        if place in self._seen or not named:
            self.topic.duplicated += 1
            return
        self.topic.backfilled += 1
        self._seen[place] = number

    def _settle(self) -> None:
        if self._first < 0:
            return
        later: list[int] = []  # number of the first event that brought something newer
        number = 1 << 62
        for place in range(self._newest, self._first - 1, -1):
            number = min(number, self._seen.get(place, number))
            later.append(number)
        for place, before in zip(
            range(self._first, self._newest + 1), reversed(later), strict=True
        ):
            self.topic.sent += 1
            record = self._records[place]
            if place in self._seen:
                continue
            announced = place in self._covered or any(
                at < before and _names(gap, record) for at, gap in self._gaps
            )
            if self._first == place and self.topic.channel == "book":
                continue  # the first snapshot brought it
            if self._shows_the_same(place):
                continue
            loss = Loss(self.topic.channel, self.topic.symbol, record["ns"], announced)
            self.topic.losses.append(loss)

    def _shows_the_same(self, place: int) -> bool:
        """Whether it is an image of exactly what the consumer's newest one showed then."""
        names = _IMAGES.get(self.topic.channel)
        record = self._records[place]
        if names is None or record["last"] is not None:
            return False
        while place > self._first:
            before = self._records[place - 1]
            if any(before.get(name) != record.get(name) for name in names):
                return False
            if place - 1 in self._seen:
                return True
            place -= 1
        return False


def _name(record: Record) -> object:
    """Return what tells a message of a topic from all others."""
    if "id" in record and record["channel"] == "trades":
        return record["id"], record["price"], record["size"], record["side"]
    if record["last"] is not None:
        return record["last"]
    return (
        record["event_ns"],
        *(record.get(name) for name in _IMAGES.get(record["channel"], ())),
    )


def _names(gap: Record, record: Record) -> bool:
    """Whether a gap names a message: by number where these count, else by its time."""
    last = record["last"]
    if last is not None and gap["first"] is not None and gap["last"] is not None:
        if gap["first"] <= last <= gap["last"]:
            return True
        if gap["missing"] is not None:
            return False
    made_ns = record["event_ns"] if record["event_ns"] is not None else record["ns"]
    return bool(gap["since_ns"] <= made_ns <= gap["until_ns"])


def _same_book(records: list[Record], final: Record | None, received: list[Record]) -> bool:
    """Whether the consumer's book, carried on to the end of the log, equals the venue's."""
    if final is None:
        return False
    book: dict[str, dict[float, float]] = {"bids": {}, "asks": {}}
    number: int | None = None
    for event in received:
        if event["type"] == "book":
            if event["snapshot"]:
                book = {"bids": {}, "asks": {}}
            _apply(book, event)
            number = event["last"]
    if number is None:
        return False
    for record in records:
        if record["last"] > number:  # made, and not delivered when the run ended
            _apply(book, record)
    return all(book[side] == {p: s for p, s in final[side] if s} for side in book)


def _apply(book: dict[str, dict[float, float]], levels: Record) -> None:
    for name, side in book.items():
        for price, size in levels[name]:
            if size:
                side[price] = size
            else:
                side.pop(price, None)


# -- time ---------------------------------------------------------------------------------------


def _strike(record: Record) -> Strike:
    return Strike(
        record["name"], record["line"], record["at_ns"], record["until_ns"], record["happened"]
    )


def _reach(strike: Strike) -> tuple[int, int]:
    return strike.at_ns - BEFORE_NS, strike.until_ns + NEAR_NS


def _within(ns: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(low <= ns <= high for low, high in spans)


def _made(loss: Loss) -> int:
    return loss.ns


def _note_sent(sent_ns: dict[tuple[str, int], int], record: Record) -> None:
    if record["n"] is None or record["fault"] in {"drop", "silence", "mute", "cut"}:
        return
    key = record["topic"], record["n"]
    sent_ns[key] = min(record["ns"], sent_ns.get(key, record["ns"]))


class _Delays:
    """Sorts delays by whether a fault was near."""

    def __init__(self, verdict: Verdict, sent_ns: dict[tuple[str, int], int]) -> None:
        self._verdict = verdict
        self._sent_ns = sent_ns
        # A second later what a fault held back has come, or never will: it is calm again.
        self._blows = [(s.at_ns, s.until_ns + SECOND_NS) for s in verdict.strikes]
        self._single = [(s.at_ns, s.until_ns + SECOND_NS) for s in verdict.strikes if s.line]
        self._all = [
            (s.at_ns, s.until_ns + AFTER_ALL_NS) for s in verdict.strikes if s.line is None
        ]

    def add(self, record: Record, event: Record) -> None:
        """Count how long a message was on its way to the consumer."""
        sent_ns = self._sent_ns.get((record["topic"], record["n"]))
        if sent_ns is None:
            return
        delay_ns = int(event.get("taken_ns") or event["recv_ns"]) - sent_ns
        if _within(sent_ns, self._single):
            if not _within(sent_ns, self._all):
                self._verdict.delay_struck.add(delay_ns)
        elif not _within(sent_ns, self._blows):
            self._verdict.delay_calm.add(delay_ns)


def _time(verdict: Verdict, history: Sequence[Record]) -> None:
    """Find when each fault was noticed and over, and which alarms were false."""
    alarms = [event for event in history if _is_alarm(event)]
    spans = [_reach(strike) for strike in verdict.strikes]
    verdict.false_alarms = sum(not _within(event["recv_ns"], spans) for event in alarms)
    data_ns = [e["recv_ns"] for e in history if e["type"] in {"trade", "book", "bbo", "ticker"}]
    data_ns.sort()
    for index, strike in enumerate(verdict.strikes):
        if not strike.happened:
            continue
        following = verdict.strikes[index + 1 :]
        end_ns = min((s.at_ns for s in following if s.at_ns > strike.at_ns), default=1 << 63)
        noticed = [
            event["recv_ns"]
            for event in alarms
            if strike.at_ns <= event["recv_ns"] < end_ns
            and (strike.line is None or event["line"] in {strike.line, None})
        ]
        if noticed:
            verdict.detection.add(noticed[0] - strike.at_ns)
            place = bisect.bisect_left(data_ns, strike.until_ns)
            if place < len(data_ns):
                verdict.recovery.add(data_ns[place] - strike.until_ns)


def _is_alarm(event: Record) -> bool:
    if event["type"] == "gap":
        return True
    if event["type"] != "notice" or event["kind"] not in _ALARMS:
        return False
    return bool(event["kind"] != "ended" or event["cause"] != "planned")


def _longest_unnoticed(world: dict[Key, list[Record]], given: dict[Key, list[Record]]) -> int:
    """Return the longest time that a topic was silent to the consumer and not at the venue.

    From the first message that did not come to the next event of any kind; what a consumer was
    told was silent is noticed.
    """
    longest_ns = 0
    for key, received in given.items():
        heard = sorted(event["recv_ns"] for event in received)
        end_ns = world[key][-1]["ns"] if world.get(key) else 0
        for before, after in zip(heard, [*heard[1:], max(end_ns, heard[-1])], strict=True):
            if after - before <= longest_ns:
                continue
            spoken = [r["ns"] for r in world.get(key, ()) if before < r["ns"] < after]
            if spoken:
                longest_ns = max(longest_ns, after - spoken[0])
    return longest_ns
