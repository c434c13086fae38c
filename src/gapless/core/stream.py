"""One topic as the consumer sees it: any number of sessions in, one ordered stream out.

A `Stream` knows its *sources*, the sessions that carry the topic, and whether at least one of
them can be trusted.  While none can, it is *blind*, and the way out of blindness is always
explicit: the numbers prove that nothing was lost, or a `Gap` says what may be missing.
The subclasses know what follows what:

* `SequencedStream` (here): numbered messages without state, such as trades;
* `ImageStream` (`gapless.core.images`): full images, such as tickers;
* `BookStream` (`gapless.core.booksync`): deltas that need a snapshot.

The hot path is `offer` when the message is the expected one: two comparisons and a store.
Everything special (blindness, held messages, rebuilding) makes ``_expect`` impossible to
match, so that the special cases cost the normal one nothing.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final, Literal

import msgspec

from gapless.core.sequence import Numbering, Place, place
from gapless.errors import IllegalTransition
from gapless.events import Event, Gap, Origin, Resynced, ResyncedBy

__all__ = [
    "HELD_MAX",
    "HOLD_NS",
    "Moment",
    "Need",
    "SequencedStream",
    "SnapshotFrom",
    "Stream",
    "TopicSpec",
    "Trust",
    "moment",
]

HOLD_NS: Final = 500_000_000
"""How long a message ahead of a hole waits for a line that is behind, in nanoseconds."""

HELD_MAX: Final = 4096
"""Messages held at most while a line that is behind may still fill the hole."""

REGRESS_NS: Final = 5_000_000_000
"""How much newer, by the venue's clock, a lower number must be to mean a new numbering."""

TRANSIT_NS: Final = 250_000_000
"""Time that a message without a time of its own may have been under way, in nanoseconds."""

NEVER: Final = -1  # no message begins with it: forces the slow path


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by two clocks, in nanoseconds: monotonic, and Unix time."""

    mono_ns: int
    recv_ns: int


@unique
class SnapshotFrom(Enum):
    """Where a book's snapshot comes from."""

    STREAM = "stream"  # the first message after subscribing
    REST = "rest"  # a request, aligned with the deltas by number


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a stream must know of its topic; the venue's profile declares it.

    Args:
        topic: The venue's own name.
        numbering: What its numbers prove.
        snapshot: For books, where snapshots come from; otherwise `None`.
        speaks_on_subscribe: Whether the venue sends something at once after the subscribe.
    """

    venue: str
    channel: str
    symbol: str
    topic: str
    numbering: Numbering
    snapshot: SnapshotFrom | None = None
    speaks_on_subscribe: bool = False


@unique
class Trust(Enum):
    """The states that are shown to people; the same words everywhere."""

    LIVE = "live"
    SLOW = "slow"
    STALE = "stale"
    FROZEN = "frozen"
    GAPPED = "gapped"
    SYNCING = "syncing"
    BLIND = "blind"
    PLANNED = "planned"
    DOWN = "down"


NeedKind = Literal["resubscribe", "snapshot"]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a stream asks of the shell.

    Args:
        kind: ``resubscribe`` the topic on session ``epoch``, or fetch a ``snapshot``.
        topic: The venue's name of the topic.
        epoch: The session that shall act, for ``resubscribe``.
        cause: Why, in a few words.
    """

    kind: NeedKind
    topic: str
    epoch: int
    cause: str


@dataclass(slots=True)
class Source:
    """A session that carries this topic.

    Attributes:
        attached_ns: Monotonic time since when it does.
        seen_ns: Monotonic time of its last message that was not simply the next one.
        trusted: Whether it is believed to carry everything.
        joined: Whether it is known to carry on from what was delivered.  A session that came
            after another had fallen silent cannot vouch for the time in between.
    """

    origin: Origin
    attached_ns: int
    seen_ns: int | None = None
    trusted: bool = True
    joined: bool = False


class Stream:
    """What all kinds of stream share: sources, blindness, gaps and resyncs.

    Args:
        spec: The topic.
        emit: Takes every event for the consumer, in order.
        ask: Takes every `Need`.
    """

    __slots__ = (
        "_blind_since_ns",
        "_cause",
        "_emit",
        "_expect",
        "_since_ns",
        "delivered",
        "dropped",
        "duplicates",
        "gaps",
        "missing",
        "newest",
        "out_of_order",
        "sources",
        "spec",
    )

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        del ask  # only books need anything; the signature is one for all
        self.spec = spec
        self.sources: dict[int, Source] = {}
        self.newest: Event | None = None
        self.delivered = 0
        self.duplicates = 0
        self.out_of_order = 0
        self.dropped = 0
        self.gaps = 0
        self.missing = 0
        self._emit = emit
        self._expect = NEVER
        self._since_ns: int | None = None  # Unix time since when we have been responsible
        self._blind_since_ns: int | None = None
        self._cause = ""

    # -- sources ----------------------------------------------------------------------------

    def attach(self, origin: Origin, now: Moment) -> None:
        """Note that a session's subscription to this topic is confirmed."""
        known = self.sources.get(origin.epoch)
        if known is not None:  # data came before the ack, or the topic was subscribed again
            known.attached_ns = now.mono_ns
            return
        self._add(origin, now)
        self._attached(origin, now)

    def detach(self, epoch: int, cause: str, now: Moment, covered_ns: int | None = None) -> None:
        """Note that a session no longer carries this topic.

        Args:
            epoch: Which.
            cause: Why, in a few words.
            now: When.
            covered_ns: Until when it certainly carried everything, monotonic; now by default.
        """
        source = self.sources.pop(epoch, None)
        if source is not None:
            self._handed_over(source, now.mono_ns if covered_ns is None else covered_ns)
            self._distrusted(cause, now)
            self._fewer_sources()

    def suspect(self, epoch: int, cause: str, now: Moment, covered_ns: int | None = None) -> None:
        """Note that a session is silent where it should speak; it may have lost messages.

        Takes the arguments of `detach`.
        """
        source = self.sources.get(epoch)
        if source is not None and source.trusted:
            self._handed_over(source, now.mono_ns if covered_ns is None else covered_ns)
            source.trusted = False
            self._distrusted(cause, now)
            self._fewer_sources()

    def last_seen_ns(self, epoch: int) -> int | None:
        """Return when session ``epoch`` last brought this topic, monotonic; `None` if never."""
        source = self.sources.get(epoch)
        newest = self.newest
        seen_ns = None if source is None else source.seen_ns
        if newest is not None and newest.origin.epoch == epoch:
            return newest.mono_ns if seen_ns is None else max(seen_ns, newest.mono_ns)
        return seen_ns

    @property
    def arrived(self) -> int:
        """How many messages have come, from all sources, whatever became of them."""
        return self.delivered + self.duplicates + self.dropped + self.out_of_order

    @property
    def blind(self) -> bool:
        """Whether no source has been trusted since data last came."""
        return self._blind_since_ns is not None

    @property
    def trust(self) -> Trust:
        """The state to show, as far as this topic's own continuity goes."""
        if self.blind:
            return Trust.BLIND
        return Trust.LIVE if self.sources else Trust.DOWN

    @property
    def because(self) -> str:
        """Why the trust is what it is; empty while it is live."""
        if self.blind:
            return self._cause
        return "" if self.sources else "not subscribed yet"

    # -- messages ---------------------------------------------------------------------------

    def offer(self, event: Event) -> None:
        """Take one message from any source."""
        raise NotImplementedError

    def tick(self, now: Moment) -> None:
        """Act on what time alone decides."""

    def _attached(self, origin: Origin, now: Moment) -> None:
        """Hook: a source is there."""

    def _blinded(self) -> None:
        """Hook: no source is trusted any more."""

    def _fewer_sources(self) -> None:
        """Hook: a source is gone or no longer trusted."""

    def _add(self, origin: Origin, now: Moment) -> Source:
        if self._since_ns is None:
            self._since_ns = now.recv_ns
        alone = not self.sources and self._blind_since_ns is None
        source = self.sources[origin.epoch] = Source(origin, now.mono_ns, joined=alone)
        return source

    def _trust_again(self, event: Event) -> Source:
        """Believe the source of ``event`` again: it speaks."""
        source = self.sources.get(event.origin.epoch)
        if source is None:  # data may come before the ack of its subscription
            source = self._add(event.origin, moment(event))
        source.trusted = True
        source.seen_ns = event.mono_ns
        return source

    def _has_joined(self, source: Source) -> bool:
        newest = self.newest
        brought_newest = newest is not None and newest.origin.epoch == source.origin.epoch
        return source.joined or brought_newest

    def _join(self, event: Event) -> None:
        """Note that the source of ``event`` carries on from what was delivered."""
        source = self.sources.get(event.origin.epoch)
        if source is not None:
            source.joined = True

    def _see_again(self, event: Event) -> None:
        """End the blindness: what may be missing has been named, or proven to be nothing."""
        self._blind_since_ns = None
        self._join(event)

    def _carried(self) -> bool:
        return any(s.trusted and self._has_joined(s) for s in self.sources.values())

    def _handed_over(self, source: Source, covered_ns: int) -> None:
        """Let those carry on who were there while ``source`` still carried everything."""
        if source.trusted and self._has_joined(source):
            for other in self.sources.values():
                if other.attached_ns <= covered_ns:
                    other.joined = True

    def _distrusted(self, cause: str, now: Moment) -> None:
        if self._blind_since_ns is None and not self._carried():
            self._blind_since_ns = now.mono_ns if self.newest is None else self.newest.mono_ns
            self._cause = cause
            self._blinded()

    def overflowed(self, count: int, gaps: int, missing: int) -> None:
        """Correct the counters: a full outlet dropped ``count`` events, and gaps among them.

        Args:
            count: Data events that were counted as delivered, and were not.
            gaps: By how much the number of gaps differs from what was counted.
            missing: By how much the number of missing messages does.
        """
        self.delivered -= count
        self.dropped += count
        self.gaps += gaps
        self.missing += missing

    # -- marks ------------------------------------------------------------------------------

    def _unseen_since_ns(self, now_ns: int) -> int:
        """Return the Unix time since which something may have gone unseen.

        The last message's own time counts, where the venue gives one: a later message may
        have been made before that one had reached us.  Where it gives none, `TRANSIT_NS` is
        allowed for the way here.
        """
        newest = self.newest
        if newest is None:
            return now_ns if self._since_ns is None else self._since_ns
        if newest.event_ns is None:
            return newest.recv_ns - TRANSIT_NS
        return min(newest.recv_ns, newest.event_ns)

    def _gap(
        self, origin: Origin, now: Moment, first: int | None, last: int | None, cause: str
    ) -> None:
        missing = None
        if first is not None and last is not None and self.spec.numbering is Numbering.DENSE:
            missing = last - first + 1
            self.missing += missing
        self.gaps += 1
        since_ns = self._unseen_since_ns(now.recv_ns)
        self._emit(
            Gap(
                origin,
                now.recv_ns,
                now.mono_ns,
                None,
                first,
                last,
                missing,
                cause,
                min(since_ns, now.recv_ns),
                now.recv_ns,
            )
        )

    def _resynced(self, event: Event, by: ResyncedBy, blind_since_ns: int) -> None:
        self._emit(
            Resynced(
                event.origin,
                event.recv_ns,
                event.mono_ns,
                event.event_ns,
                event.first,
                event.last,
                by,
                max(0, event.mono_ns - blind_since_ns),
            )
        )

    def _renumbered(self, event: Event) -> bool:
        """Whether a number from the past belongs to a new numbering.

        A line that lags, or a recording played again, brings old numbers with old times.  A
        venue that has started to count anew brings old numbers with new times.
        """
        newest = self.newest
        return (
            newest is not None
            and newest.event_ns is not None
            and event.event_ns is not None
            and event.event_ns > newest.event_ns + REGRESS_NS
        )


def moment(event: Event) -> Moment:
    """Return when ``event`` was received."""
    return Moment(event.mono_ns, event.recv_ns)


class SequencedStream(Stream):
    """Numbered messages without state of their own, such as trades.

    A message ahead of a hole is held only while another trusted source has not gone past the
    hole itself; then, or after `HOLD_NS`, the hole is announced and delivery goes on behind it.
    """

    __slots__ = ("_held", "_next")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._next: int | None = None  # what comes next; lives in `_expect` on the fast path
        self._held: list[Event] = []  # by number; of equal ones the earlier arrival first

    @property
    def arrived(self) -> int:
        """How many messages have come; those held count while they are held."""
        return self.delivered + self.duplicates + self.dropped + len(self._held)

    def offer(self, event: Event) -> None:
        """Take one message from any source."""
        if event.first == self._expect:
            self._expect = event.last + 1  # type: ignore[operator]  # it matched, so it has numbers
            self.newest = event
            self.delivered += 1
            self._emit(event)
        else:
            self._unusual(event)

    def tick(self, now: Moment) -> None:
        """Announce a hole that the lines behind have had time enough to fill."""
        if self._held and now.mono_ns >= self._held[0].mono_ns + HOLD_NS:
            self._leave_fast_path()
            while self._held and now.mono_ns >= self._held[0].mono_ns + HOLD_NS:
                self._settle(give_up=True)
            self._resume_fast_path()

    def _unusual(self, event: Event) -> None:
        self._leave_fast_path()
        self._trust_again(event)
        self._take(event)
        self._resume_fast_path()

    def _take(self, event: Event) -> None:
        if event.first is None or event.last is None:
            self.dropped += 1  # the profile promises numbers
        elif self._next is None:
            self._begin(event)
        else:
            self._place(event, self._next, event.first, event.last)

    def _begin(self, event: Event) -> None:
        if self._blind_since_ns is not None:
            self._gap(event.origin, moment(event), None, None, self._cause)
            self._see_again(event)
        self._deliver(event)

    def _place(self, event: Event, expected: int, first: int, last: int) -> None:
        match place(expected, first, last):
            case Place.NEXT:
                self._prove_by_ids(event)
                self._deliver(event)
                self._settle()
            case Place.OVERLAP if self.spec.numbering is Numbering.DENSE:
                self._prove_by_ids(event)
                self._deliver(msgspec.structs.replace(event, first=expected))
                self._settle()
            case Place.DUPLICATE if self._renumbered(event):
                self._held.clear()
                self._restart(event)
            case Place.DUPLICATE:
                self._join(event)  # its numbers reach back to what was delivered
                self.duplicates += 1
            case Place.AHEAD | Place.OVERLAP:
                self._hold(event)
                self._settle()

    def _restart(self, event: Event) -> None:
        """Follow a venue that numbers anew."""
        self._gap(event.origin, moment(event), None, None, "the venue numbers anew")
        self._see_again(event)
        self._deliver(event)

    def _settle(self, *, give_up: bool = False) -> None:
        """Deliver what is held as far as it is next, and give up holes that nobody will fill."""
        while self._held:
            head = self._held[0]
            first, last, expected = head.first, head.last, self._next
            if first is None or last is None or expected is None:
                raise IllegalTransition("a held message without numbers")
            if self._ahead(head, expected) and not (give_up or self._nobody_behind()):
                self.out_of_order += 1
                return
            del self._held[0]
            self._take_held(head, expected, first, last)
            give_up = False

    def _take_held(self, head: Event, expected: int, first: int, last: int) -> None:
        if last < expected:
            self._join(head)
            self.duplicates += 1
            return
        if first > expected:
            self._gap(head.origin, moment(head), expected, first - 1, self._hole_cause())
            self._see_again(head)
        elif first < expected:
            head = msgspec.structs.replace(head, first=expected)
        self._deliver(head)

    def _ahead(self, head: Event, expected: int) -> bool:
        """Whether a line that is behind may still bring something before ``head``."""
        return head.first is not None and head.first > expected

    def _hole_cause(self) -> str:
        return self._cause if self._blind_since_ns is not None else "numbers are missing"

    def _hold(self, event: Event) -> None:
        insort(self._held, event, key=_first)

    def _nobody_behind(self) -> bool:
        """Whether every trusted source has gone past the hole, or too much is held already."""
        if len(self._held) > HELD_MAX:
            return True
        passed = {event.origin.epoch for event in self._held}
        return all(epoch in passed for epoch, source in self.sources.items() if source.trusted)

    def _prove_by_ids(self, event: Event) -> None:
        if self._blind_since_ns is not None:
            self._resynced(event, "ids", self._blind_since_ns)
        self._see_again(event)

    def _deliver(self, event: Event) -> None:
        self._next = None if event.last is None else event.last + 1
        self.newest = event
        self.delivered += 1
        self._emit(event)

    def _blinded(self) -> None:
        self._leave_fast_path()

    def _fewer_sources(self) -> None:
        if self._held:
            blind_since_ns = self._blind_since_ns
            self._settle()
            if not self._carried():  # what was held says nothing of the future
                self._blind_since_ns = blind_since_ns
            self._resume_fast_path()

    def _leave_fast_path(self) -> None:
        if self._expect != NEVER:
            self._next, self._expect = self._expect, NEVER

    def _resume_fast_path(self) -> None:
        if self._next is not None and not self._held and self._blind_since_ns is None:
            self._expect = self._next


def _first(event: Event) -> int:
    return -1 if event.first is None else event.first
