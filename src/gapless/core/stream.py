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
from gapless.core.lately import Lately, digest, same
from gapless.core.races import Races
from gapless.core.sequence import Numbering
from gapless.events import Event, Gap, Origin, Resynced, ResyncedBy

__all__ = [
    "DOUBT_NS",
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

LATE_MAX_NS: Final = 30_000_000_000
"""How late a session is believed to have been at most when it ended, in nanoseconds."""

DOUBT_NS: Final = 10_000_000_000
"""How long a topic counts as gapped after two lines have contradicted each other, nanoseconds."""

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


NeedKind = Literal["backfill", "diverged", "resubscribe", "snapshot"]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a stream asks of the shell.

    Args:
        kind: ``resubscribe`` the topic on session ``epoch``, fetch a ``snapshot``, ask for
            missing messages to ``backfill``, or tell that two lines have ``diverged``.
        topic: The venue's name of the topic.
        epoch: The session that shall act, for ``resubscribe``.
        cause: Why, in a few words.
        evidence: What shows it, for ``diverged``.
    """

    kind: NeedKind
    topic: str
    epoch: int
    cause: str
    evidence: str = ""


@dataclass(slots=True)
class Source:
    """A session that carries this topic.

    Attributes:
        attached_ns: Monotonic time since when it does.
        seen: Its last message that was not simply the next one.
        trusted: Whether it is believed to carry everything.
        number: The newest number of those that it brought after another had; `NEVER` if none.
        joined: Whether it is known to carry on from what was delivered.  A session that came
            after another had fallen silent cannot vouch for the time in between.
    """

    origin: Origin
    attached_ns: int
    seen: Event | None = None
    trusted: bool = True
    joined: bool = False
    number: int = NEVER


class Stream:
    """What all kinds of stream share: sources, blindness, gaps and resyncs.

    Args:
        spec: The topic.
        emit: Takes every event for the consumer, in order.
        ask: Takes every `Need`.

    Attributes:
        races: Who of the lines is first; one account may serve many streams.
        diverged: How often two lines have said different things of the same message.
    """

    __slots__ = (
        "_ask",
        "_blind_since_ns",
        "_cause",
        "_covered_ns",
        "_disputed",
        "_disputed_ns",
        "_emit",
        "_expect",
        "_lately",
        "_since_ns",
        "backfilled",
        "delivered",
        "diverged",
        "dropped",
        "duplicates",
        "gaps",
        "missing",
        "newest",
        "out_of_order",
        "races",
        "sources",
        "spec",
    )

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
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
        self.diverged = 0
        self.races = Races()
        self._ask = ask
        self._emit = emit
        self._lately: Lately | None = None  # only while there are lines to compare
        self._disputed = ""  # what two lines disagreed about last, in words
        self._disputed_ns = NEVER
        self._expect = NEVER
        self._since_ns: int | None = None  # Unix time since when we have been responsible
        self._blind_since_ns: int | None = None
        self._covered_ns = NEVER  # until when those that are gone carried everything, monotonic
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
            if len(self.sources) < 2:
                self._lately = None

    def vouch(self, epoch: int, now: Moment) -> None:
        """Note that a session which was suspected has lost nothing: its connection proves it.

        For venues that number all that a connection carries.  Whoever had joined carries on, and
        a silence that was suspected in vain ends without a gap.
        """
        source = self.sources.get(epoch)
        if source is None or source.trusted or not self._has_joined(source):
            return
        source.trusted = source.joined = True
        blind_since_ns, newest = self._blind_since_ns, self.newest
        self._blind_since_ns = None
        if blind_since_ns is not None and newest is not None:
            blind_ns = max(0, now.mono_ns - blind_since_ns)
            numbers = newest.first, newest.last
            self._emit(
                Resynced(source.origin, now.recv_ns, now.mono_ns, None, *numbers, "ids", blind_ns)
            )

    def hand_over(self, epoch: int, now: Moment) -> None:
        """Note that a session will be retired: it has carried everything so far.

        Who was there meanwhile carries on without it, though nothing may have come to show it.
        """
        source = self.sources.get(epoch)
        if source is not None:
            self._handed_over(source, now.mono_ns)

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
        seen = self.last_seen(epoch)
        return None if seen is None else seen.mono_ns

    def last_seen(self, epoch: int) -> Event | None:
        """Return what session ``epoch`` last brought of this topic; `None` if nothing."""
        source, newest = self.sources.get(epoch), self.newest
        seen = None if source is None else source.seen
        if newest is not None and newest.origin.epoch == epoch:
            return newest if seen is None or seen.mono_ns < newest.mono_ns else seen
        return seen

    def overlaps(self, epoch: int) -> bool:
        """Whether a session carries on from what was delivered, or had nothing to bring yet.

        What the venue sends at once after a subscribe must have come.
        """
        source, newest = self.sources.get(epoch), self.newest
        if source is None or not source.trusted:
            return False
        if self.spec.speaks_on_subscribe and self.last_seen_ns(epoch) is None:
            return False
        quiet = newest is None or newest.mono_ns <= source.attached_ns
        return quiet or self._has_joined(source)

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
        if self.disputed:
            return Trust.GAPPED
        return Trust.LIVE if self.sources else Trust.DOWN

    @property
    def disputed(self) -> bool:
        """Whether lines that are still there have contradicted each other a moment ago."""
        newest = self.newest
        return (
            self._disputed_ns != NEVER
            and len(self.sources) > 1
            and newest is not None
            and newest.mono_ns < self._disputed_ns + DOUBT_NS
        )

    @property
    def because(self) -> str:
        """Why the trust is what it is; empty while it is live."""
        if self.blind:
            return self._cause
        if self.disputed:
            return self._disputed
        return "" if self.sources else "not subscribed yet"

    # -- messages ---------------------------------------------------------------------------

    def offer(self, event: Event) -> None:
        """Take one message from any source."""
        raise NotImplementedError

    def held_for(self, now_ns: int) -> tuple[int, list[int]] | None:
        """Return since when something has been held back for long, and for which sessions.

        `None` if nothing is, or if it must not be for longer; otherwise `tick` is not called while
        any of these sessions may still bring it.
        """
        return None

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
        if len(self.sources) > 1 and self._lately is None:
            self._lately = Lately()
        return source

    def _trust_again(self, event: Event) -> Source:
        """Believe the source of ``event`` again: it speaks."""
        source = self.sources.get(event.origin.epoch)
        if source is None:  # data may come before the ack of its subscription
            source = self._add(event.origin, moment(event))
        source.trusted = True
        source.seen = event
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
            self._covered_ns = max(self._covered_ns, covered_ns)
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

    # -- what several lines say of the same -------------------------------------------------

    def _compare(self, key: int | str | None, event: Event) -> bool:
        """Hold what a line repeats against what another has brought; whether they agree.

        Messages that the lines have cut differently cannot be compared.
        """
        twin = None if self._lately is None else self._lately.find(key)
        if twin is None or twin.origin.epoch == event.origin.epoch or twin.first != event.first:
            return True
        if same(twin, event):
            self._race(twin, event)
            return True
        return False

    def _race(self, twin: Event, event: Event) -> None:
        """Count that one line brought a message before another did."""
        self.races.run(twin.origin.line, event.origin.line, event.mono_ns - twin.mono_ns)

    def _dispute(self, key: int | str, event: Event) -> str:
        """Tell that two lines say different things of one message; return it in words."""
        twin = None if self._lately is None else self._lately.find(key)
        if self._lately is None or twin is None:
            return ""
        self._lately.forget(key)  # named once, however often it is repeated
        one, other = (f"{each.origin.line}.{each.origin.epoch}" for each in (twin, event))
        cause = f"lines {one} and {other} disagree about {key}"
        self._diverge(event, cause, f"{one} {digest(twin)}, {other} {digest(event)}")
        return cause

    def _contradicted(self, key: int | str, event: Event) -> None:
        """Say in the stream itself that what was delivered under ``key`` is disputed.

        It cannot be taken back, and nobody knows which of the two is true.  So the interval in
        which it was made is announced, as one of which not all was seen.
        """
        twin = None if self._lately is None else self._lately.find(key)
        since_ns = self._unseen_since_ns(event.recv_ns)
        if twin is not None:
            made_ns = twin.event_ns
            since_ns = min(since_ns, twin.recv_ns - TRANSIT_NS if made_ns is None else made_ns)
        cause = self._dispute(key, event)
        self.gaps += 1
        until_ns = event.recv_ns
        self._emit(
            Gap(
                event.origin,
                until_ns,
                event.mono_ns,
                None,
                None,
                None,
                None,
                cause,
                min(since_ns, until_ns),
                until_ns,
            )
        )

    def _diverge(self, event: Event, cause: str, evidence: str) -> None:
        self.diverged += 1
        self._disputed, self._disputed_ns = cause, event.mono_ns
        self._ask(Need("diverged", self.spec.topic, event.origin.epoch, cause, evidence))

    # -- marks ------------------------------------------------------------------------------

    def _unseen_since_ns(self, now_ns: int) -> int:
        """Return the Unix time since which something may have gone unseen.

        The last message's own time counts, where the venue gives one: a later message may
        have been made before that one had reached us.  Where it gives none, `TRANSIT_NS` is
        allowed for the way here, and as much as the session that ended is known to have been late.
        """
        newest = self.newest
        if newest is None:
            return now_ns if self._since_ns is None else self._since_ns
        if newest.event_ns is None:
            late_ns = newest.mono_ns - self._covered_ns if self.blind else 0
            return newest.recv_ns - TRANSIT_NS - (late_ns if 0 < late_ns <= LATE_MAX_NS else 0)
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
