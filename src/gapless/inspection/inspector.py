"""Records in, findings out: everything that is counted while a capture is read once.

The frames of a capture are read by the codecs that a feed uses, one for each connection, and the
events go to the streams that a feed uses, so a book is synced here if it would have been synced
there.  What those streams would ask for (a snapshot, a new subscription) is noted and never
comes; the capture holds what it holds.

Bounded: each topic keeps counters and its book, lists are cut at the bounds named in this package,
and what waits for a snapshot that never comes is let go after `WAITING_MAX` messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from gapless.capture.records import Record
from gapless.core.booksync import QUIET_NS, BookStream
from gapless.core.codec import Bundle, Reading, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, Need, SnapshotFrom, TopicSpec
from gapless.errors import DecodeError, printable
from gapless.events import BookSnapshot, Event, Origin
from gapless.inspection.connections import Connection
from gapless.inspection.numbers import Leg
from gapless.inspection.requests import Requests
from gapless.inspection.snapshots import Snapshots
from gapless.inspection.topics import Topic, add
from gapless.inspection.urls import fit, topics_in
from gapless.venues._profile import Profile

__all__ = [
    "EARLY_MAX",
    "EXAMPLE_MAX",
    "STRANGERS_MAX",
    "TOPICS_MAX",
    "WAITING_MAX",
    "Inspector",
    "Market",
    "Stranger",
]

TOPICS_MAX: Final = 50_000
"""Topics that are followed; frames of more are counted as undecoded."""

WAITING_MAX: Final = 20_000
"""Messages that wait for snapshots, over all books; then they are let go and new ones wait."""

EARLY_MAX: Final = 256
"""Snapshots that came before anything of their book did, kept until it does."""

STRANGERS_MAX: Final = 64
"""Kinds of undecoded frames that are told apart; the rest are counted together."""

EXAMPLE_MAX: Final = 160
"""Characters of an undecoded frame that are kept as an example."""

TICK_NS: Final = 250_000_000
LATE_NS: Final = 2**62  # later than any subscription

Out = list[Event] | Reading | DecodeError


class Stranger:
    """Frames that could not be decoded, of one kind.

    Attributes:
        what: What they are, safe to print.
        count: How many.
        frame: The first of them.
        example: How it begins, safe to print.
    """

    __slots__ = ("count", "example", "frame", "what")

    def __init__(self, what: str, frame: int, text: str) -> None:
        self.what = what
        self.count = 0
        self.frame = frame
        self.example = printable(text[:EXAMPLE_MAX])


class Market:
    """What is needed of one venue."""

    __slots__ = ("profile", "recognise", "shapes")

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.recognise = profile.recogniser()
        self.shapes = Snapshots(profile.rest)


class Inspector:
    """Follows one capture of one venue.

    Args:
        profile: The venue's.
        others: Profiles that a connection may belong to instead, if its URL says so: a capture
            may hold several markets of one venue.
        texts: Whether the events carry the venue's literal digits.
        tell: Whether `delivered` and `needs` are kept; whoever asked for it empties them.

    Attributes:
        incoming, outgoing, rest: Frames read, requests among them, and REST replies.
        undecoded: Frames in both directions that no channel of the profile explains.
        connections: Those that are open, by name.
        dials: Connections there were.
        topics: By venue and name, in the order in which they came.
        markets: What is known of each venue that was met, by its name.
        delivered: What the streams delivered.
        needs: What the streams asked for.
        said: What the newest frame said.
    """

    def __init__(
        self,
        profile: Profile,
        others: Sequence[Profile] = (),
        *,
        texts: bool = False,
        tell: bool = False,
    ) -> None:
        self.profile = profile
        self.markets: dict[str, Market] = {profile.name: Market(profile)}
        self.incoming = 0
        self.outgoing = 0
        self.rest = 0
        self.undecoded = 0
        self.strangers: dict[str, Stranger] = {}
        self.requests = Requests()
        self.connections: dict[str, Connection] = {}
        self.dials = 0
        self.topics: dict[tuple[str, str], Topic] = {}
        self.counters = Leg(Numbering.DENSE, images=True, connection="")
        self.numbered = 0  # frames that carried a number of their connection
        self.first_ns: int | None = None
        self.last_ns = 0
        self.delivered: deque[Event] = deque(maxlen=None if tell else 0)
        self.needs: deque[Need] = deque(maxlen=None if tell else 0)
        self.said: Out | None = None
        self._texts = texts
        self._others = others
        self._used: dict[str, None] = {}
        # By venue and symbol: snapshots that came early, and those whose book is there now.
        self._early: dict[tuple[str, str], tuple[bytes, Moment]] = {}
        self._arrived: list[tuple[str, str]] = []
        self._waiting = 0
        self._now = Moment(0, 0)
        self._ticked_ns = 0

    # -- records ----------------------------------------------------------------------------

    def feed(self, record: Record) -> None:
        """Take the next record."""
        recv_ns = record.wall_ns
        mono_ns = record.mono_ns
        if mono_ns is None:  # foreign captures have one clock
            mono_ns = self._now.mono_ns if recv_ns is None else recv_ns
        if recv_ns is None:
            recv_ns = mono_ns
        if mono_ns - self._ticked_ns >= TICK_NS:
            self._tick(Moment(mono_ns, recv_ns))
        match record.kind:
            case "in":
                self._in(record, recv_ns, mono_ns)
            case "out":
                self._now = Moment(mono_ns, recv_ns)
                self._out(record)
            case "rest":
                self.rest += 1
                self._now = Moment(mono_ns, recv_ns)
                self._reply(record)
            case "open":
                self._now = Moment(mono_ns, recv_ns)
                self._open(record)
            case "close":
                self._now = Moment(mono_ns, recv_ns)
                self._close(record.conn)
            case "meta":
                pass

    def read(self, record: Record) -> Out | None:
        """Take the next record; return what it said, if it was a frame that came in."""
        self.said = None
        self.feed(record)
        return self._said()

    def _said(self) -> Out | None:
        return self.said

    def finish(self) -> None:
        """Let what waits for silence have it: the capture is over."""
        now = self._now
        # Frames with data move no clock; where each connection stands, it knows itself.
        seen = (one.seen_ns or 0 for one in self.connections.values())
        newest_ns = max(now.mono_ns, *seen, 0)
        late_ns = newest_ns - now.mono_ns + QUIET_NS
        self._tick(Moment(now.mono_ns + late_ns, now.recv_ns + late_ns))
        self.last_ns = newest_ns

    def _tick(self, now: Moment) -> None:
        self._now = now
        self._ticked_ns = now.mono_ns
        if self.first_ns is None and now.mono_ns:
            self.first_ns = now.mono_ns
        self.last_ns = max(self.last_ns, now.mono_ns)
        if self._arrived:
            self._take_early()
        for topic in self.topics.values():
            topic.stream.tick(now)

    # -- what came in -----------------------------------------------------------------------

    def _in(self, record: Record, recv_ns: int, mono_ns: int) -> None:
        self.incoming += 1
        connection = self.connections.get(record.conn)
        if connection is None or not self._ticked_ns:
            self._now = Moment(mono_ns, recv_ns)
            connection = connection or self._connect(record.conn)
        text, frame = record.text, record.number
        connection.seen_ns = mono_ns
        try:
            if connection.counter is not None:
                self._count(connection, text, frame, recv_ns, mono_ns)
            out = connection.codec.read(text, recv_ns, mono_ns)
        except DecodeError as error:
            self.said = error
            self._strange(str(error), frame, text)
            return
        self.said = out
        if isinstance(out, list):
            self._events(connection, out, frame, mono_ns)
        else:
            self._now = Moment(mono_ns, recv_ns)
            self._read(connection, out, record)

    def _events(self, connection: Connection, out: list[Event], frame: int, mono_ns: int) -> None:
        seen: Topic | None = None
        # A greeting lists the past: its numbers begin a count, and are not compared.
        greeting = bool(out) and getattr(out[0], "backfilled", False)
        for event in out:
            leg, topic = connection.legs[event.origin.topic]
            if topic is not seen:
                topic.seen(frame, mono_ns)
                seen = topic
            if event.first == leg.expect and event.__class__ is not BookSnapshot and not greeting:
                leg.expect = event.last + 1  # type: ignore[operator]  # it has both or none
                leg.checked += 1
                leg.made_ns = event.event_ns
                leg.frame = frame
            elif leg.proves:
                topic.compare(leg, event, frame)
            else:
                leg.frame = frame
            topic.stream.offer(event)
            if topic.book is not None and not topic.look(event, frame):
                self._waits(topic)

    def _read(self, connection: Connection, reading: Reading, record: Record) -> None:
        match reading:
            case Stray(evidence=evidence):
                self._strange(evidence, record.number, record.text)
            case Bundle(readings=readings, events=events):
                self._events(connection, list(events), record.number, self._now.mono_ns)
                for one in readings:
                    self._read(connection, one, record)
            case _:
                now_ns, known = self._now.mono_ns, self.requests.refusals
                self.requests.answer(record.conn, reading, record.number, now_ns)
                if self.requests.refusals > known:
                    self._note_refused(connection, known)

    def _note_refused(self, connection: Connection, known: int) -> None:
        for refused in self.requests.refused[known:]:
            for name in refused.topics:
                topic = self.topics.get((connection.venue, name))
                if topic is not None:
                    topic.refused = True

    def _count(
        self, connection: Connection, text: str, frame: int, recv_ns: int, mono_ns: int
    ) -> None:
        number, counter = connection.codec.number(text), connection.counter
        if number is None or counter is None:
            return
        self.numbered += 1
        if number == counter.expect:
            counter.expect = number + 1
            counter.checked += 1
        elif counter.follow(number, number, frame, None) == "break":
            now = Moment(mono_ns, recv_ns)
            for name, (_, topic) in connection.legs.items():
                topic.distrust(connection.origins[name], now)
        counter.frame = frame

    def _waits(self, topic: Topic) -> None:
        """Let go what waits for snapshots, once it is too much: they will not come."""
        if not _needs_rest(topic):
            return
        self._waiting += 1
        if self._waiting <= WAITING_MAX:
            return
        self._waiting = 0
        for other in self.topics.values():
            if _needs_rest(other) and other.book is not None and not other.book.readable:
                other.let_go(self._now)

    # -- what was asked ---------------------------------------------------------------------

    def _out(self, record: Record) -> None:
        self.outgoing += 1
        connection = self.connections.get(record.conn) or self._connect(record.conn)
        try:
            asked = connection.codec.asked(record.text)
        except DecodeError as error:
            self._strange(str(error), record.number, record.text)
            return
        if asked is None:
            return
        self.requests.ask(record.conn, asked, self._now.mono_ns)
        if asked.kind == "subscribe":
            for topic in asked.topics:
                connection.origins.get(topic)

    def _reply(self, record: Record) -> None:
        for market in self.markets.values():
            if not market.shapes.exist:
                continue
            symbol = self._whose(market, record.url)
            if symbol is not None:
                body = record.text.encode(errors="surrogatepass")
                self._snapshot((market.profile.name, symbol), body, record.number, self._now)
                return

    def _whose(self, market: Market, url: str | None) -> str | None:
        """Return the symbol that a reply is the book of, in capitals; `None` if it is no book."""
        if url is not None:
            symbol = market.shapes.symbol(url)
            return None if symbol is None else symbol.upper()
        name = market.profile.name
        known = [topic for (venue, _), topic in self.topics.items() if venue == name]
        books = [topic for topic in known if _needs_rest(topic)]
        symbols = {topic.spec.symbol.upper() for topic in books or known}
        return symbols.pop() if len(symbols) == 1 else None

    def _snapshot(self, whose: tuple[str, str], body: bytes, frame: int, came: Moment) -> None:
        venue, symbol = whose
        fitting = [
            (connection, connection.origins[name], topic)
            for connection in self.connections.values()
            if connection.venue == venue
            for name, (_, topic) in connection.legs.items()
            if _needs_rest(topic) and topic.spec.symbol.upper() == symbol
        ]
        for connection, origin, topic in fitting:
            try:
                self._load(connection, topic, origin, body, came)
            except DecodeError as error:
                self._strange(str(error), frame, body.decode(errors="replace"))
                return
        if not fitting and len(self._early) < EARLY_MAX:
            self._early[whose] = (body, came)

    def _load(
        self, connection: Connection, topic: Topic, origin: Origin, body: bytes, came: Moment
    ) -> None:
        rest, book = self.markets[connection.venue].profile.rest, topic.book
        if rest is None or not isinstance(book, BookStream):
            return
        event = rest.read_snapshot(body, origin, came.recv_ns, came.mono_ns, texts=self._texts)
        # When it was asked for, foreign captures do not say.
        book.snapshot(event, LATE_NS, self._now)

    # -- connections ------------------------------------------------------------------------

    def _open(self, record: Record) -> None:
        self._close(record.conn)
        connection = self._connect(record.conn, record.url)
        for name in topics_in(record.url or ""):
            connection.origins.get(name)

    def _connect(self, name: str, url: str | None = None) -> Connection:
        self.dials += 1
        market = self._market(url)
        self._used[market.profile.name] = None
        connection = self.connections[name] = Connection(
            name,
            self.dials,
            market.profile,
            market.recognise,
            self._topic,
            lambda: self._now,
            texts=self._texts,
        )
        return connection

    def _market(self, url: str | None) -> Market:
        profile = self.profile
        if url is not None and self._others:
            best = max(self._others, key=lambda other: fit(url, other))
            if fit(url, best) > fit(url, profile):
                profile = best
        market = self.markets.get(profile.name)
        if market is None:
            market = self.markets[profile.name] = Market(profile)
        return market

    def _close(self, name: str) -> None:
        connection = self.connections.pop(name, None)
        if connection is None:
            return
        self.requests.end(name)
        for leg, topic in connection.legs.values():
            topic.leave(leg, connection.epoch, self._now)
        if connection.counter is not None:
            add(self.counters, connection.counter)

    def _topic(self, spec: TopicSpec) -> Topic | None:
        key = (spec.venue, spec.topic)
        topic = self.topics.get(key)
        if topic is None and len(self.topics) < TOPICS_MAX:
            topic = self.topics[key] = Topic(spec, self.delivered.append, self.needs.append)
            whose = (spec.venue, spec.symbol.upper())
            if _needs_rest(topic) and whose in self._early:
                self._arrived.append(whose)
                self._ticked_ns = 0  # the next record has it taken
        return topic

    def _take_early(self) -> None:
        """Take the snapshots that came before anything of their book did."""
        arrived, self._arrived = self._arrived, []
        for whose in arrived:
            body, came = self._early.pop(whose, (b"", self._now))
            if body:
                self._snapshot(whose, body, 0, came)

    # -- what was found ---------------------------------------------------------------------

    @property
    def venues(self) -> list[str]:
        """The venues whose connections there were; the one that was told if there were none."""
        return list(self._used) or [self.profile.name]

    def counted(self) -> Leg | None:
        """Return what the connections' own numbers say, or `None` where they have none."""
        if not self.numbered:
            return None
        total = Leg(Numbering.DENSE, images=True, connection="")
        add(total, self.counters)
        for connection in self.connections.values():
            if connection.counter is not None:
                add(total, connection.counter)
        return total

    def silences(self, most: int) -> Iterator[Topic]:
        """Yield the topics that were silent longest, at most so many, the longest first."""
        yield from sorted(self.topics.values(), key=_silence, reverse=True)[:most]

    def _strange(self, what: str, frame: int, text: str) -> None:
        self.undecoded += 1
        kind = printable(what)
        known = self.strangers.get(kind)
        if known is None:
            if len(self.strangers) >= STRANGERS_MAX:
                kind = "others"
            known = self.strangers.get(kind) or Stranger(kind, frame, text)
            self.strangers[kind] = known
        known.count += 1


def _needs_rest(topic: Topic) -> bool:
    return topic.spec.snapshot is SnapshotFrom.REST


def _silence(topic: Topic) -> int:
    return topic.silence_ns
