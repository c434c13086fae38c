"""One topic as the consumer sees it: any number of sessions in, one ordered stream out.

A `Stream` knows its *sources*, the sessions that carry the topic, and whether at least one of
them can be trusted.  While none can, it is *blind*, and the way out of blindness is always
explicit: the numbers prove that nothing was lost, or a `Gap` says what may be missing.
The subclasses know what follows what:

* `SequencedStream` (`gapless.core.sequenced`): numbered messages, such as trades;
* `ImageStream` (`gapless.core.images`): full images, such as tickers;
* `BookStream` (`gapless.core.booksync`): deltas that need a snapshot.

The hot path is `offer` when the message is the expected one: two comparisons and a store.
Everything special (blindness, held messages, rebuilding) makes ``_expect`` impossible to
match, so that the special cases cost the normal one nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final, Literal

from gapless.core.checksum import Checksum
from gapless.core.sequence import Numbering
from gapless.events import Event, Gap, Origin, Resynced, ResyncedBy

__all__ = [
    "HOLD_NS",
    "NEVER",
    "Backfill",
    "Moment",
    "Need",
    "SnapshotFrom",
    "Stream",
    "TopicSpec",
    "Trust",
    "moment",
]

HOLD_NS: Final = 500_000_000
"""How long a message ahead of a hole waits for a line that is behind, in nanoseconds."""

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
    EVERY = "every"  # every message is the whole book


@unique
class Backfill(Enum):
    """What is done about missing trades that the venue can be asked for by number."""

    OFF = "off"  # nothing: the gap says what is missing
    WAIT = "wait"  # later trades wait for them, up to a bound
    LATE = "late"  # later trades go on, and the missing ones come late


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a stream must know of its topic; the venue's profile declares it.

    Args:
        topic: The venue's own name.
        numbering: What its numbers prove.
        snapshot: For books, where snapshots come from; otherwise `None`.
        speaks_on_subscribe: Whether the venue sends something at once after the subscribe.
        depth: For books, how many levels a side the venue keeps up to date; levels that fall
            out of it are dropped without a word from the venue.  `None` for all.
        checksum: For books, how they are checked, or `None`.
        backfill: For numbered trades, what is done about a hole.
    """

    venue: str
    channel: str
    symbol: str
    topic: str
    numbering: Numbering
    snapshot: SnapshotFrom | None = None
    speaks_on_subscribe: bool = False
    depth: int | None = None
    checksum: Checksum | None = None
    backfill: Backfill = Backfill.OFF


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


NeedKind = Literal["backfill", "resubscribe", "snapshot"]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a stream asks of the shell.

    Args:
        kind: ``resubscribe`` the topic on session ``epoch``, fetch a ``snapshot``, or ask for
            missing messages to ``backfill``.
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
        "backfilled",
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
        self.backfilled = 0  # missed, fetched and delivered; not among those delivered
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

    def close(self) -> None:
        """Keep nothing back any more: nobody follows the topic from now on."""

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

    def overflowed(self, count: int, gaps: int, missing: int, late: int = 0) -> None:
        """Correct the counters: a full outlet dropped ``count`` events, and gaps among them.

        Args:
            count: Data events that were counted as delivered, and were not.
            gaps: By how much the number of gaps differs from what was counted.
            missing: By how much the number of missing messages does.
            late: Data events besides that were marked as backfilled.
        """
        self.delivered -= count + late
        self.dropped += count + late
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
