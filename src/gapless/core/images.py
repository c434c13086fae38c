"""Topics whose every message is a full image, such as tickers and best quotes.

A newer image supersedes all older ones, so what matters is never to step back and never to
repeat.  Where the venue numbers its images the number orders them; otherwise its time does.
Holes cannot be seen from the messages, therefore every stretch without a trusted source is
announced as an interval.  It ends with the first image that comes after it, and not with the
confirmation of a new subscription: a venue that confirms and stays silent has proven nothing.
Only an image that is the very one we had last proves that there was none in between.

A session that joins another is held back until its images meet those delivered: until then it
may have come too late for something that the other, perhaps silent already, did not bring.
"""

from __future__ import annotations

from collections.abc import Callable

from gapless.core.sequence import Numbering
from gapless.core.stream import HOLD_NS, Moment, Need, Stream, TopicSpec, moment
from gapless.events import Event, Origin

__all__ = ["ImageStream"]


class ImageStream(Stream):
    """Full images, ordered by number or by the venue's time."""

    __slots__ = ("_key", "_lead", "_ordered", "_waiting", "_waiting_key", "_waiting_since_ns")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._ordered = spec.numbering is not Numbering.NONE
        self._key = -1  # number or time of the newest image
        self._lead: Origin | None = None  # who brought it; `None` while anything is special
        self._waiting: Event | None = None  # newest image of a session that has not joined yet
        self._waiting_key = -1  # key of the first that waited
        self._waiting_since_ns = 0

    def offer(self, event: Event) -> None:
        """Take one image from any source."""
        key = event.last if self._ordered else event.event_ns
        if event.origin is self._lead and key is not None and key > self._key:
            self._key = key
            self.newest = event
            self.delivered += 1
            self._emit(event)
        else:
            self._unusual(event, key)

    def tick(self, now: Moment) -> None:
        """Give up on a session that does not bring what another has brought long ago."""
        event = self._waiting
        if event is not None and now.mono_ns >= self._waiting_since_ns + HOLD_NS:
            self._waiting = None
            self._cause = "a line fell behind"
            self._resume(event, self._key_of(event), self._waiting_since_ns)

    def _key_of(self, event: Event) -> int | None:
        return event.last if self._ordered else event.event_ns

    def _unusual(self, event: Event, key: int | None) -> None:
        blind_since_ns = self._blind_since_ns
        source = self._trust_again(event)
        if blind_since_ns is not None:
            self._resume(event, key, blind_since_ns)
            return
        if not self._has_joined(source) and self.newest is not None:
            if key is not None and key > self._key and not self._shows_the_same(event):
                self._wait(event, key)
                return
            source.joined = True
            if key is not None and key > self._key:  # made later, and shows what we have
                self.duplicates += 1
                return
        if self._accept(event, key):
            self._deliver(event, key)
        self._release()

    def _resume(self, event: Event, key: int | None, blind_since_ns: int) -> None:
        """Take the first image after a blind stretch."""
        if key is not None and key < self._key and not self._renumbered(event):
            self.out_of_order += 1  # from before the break: it says nothing of what came since
        elif self._is_newest(event, key):
            self._see_again(event)
            self.duplicates += 1
            self._resynced(event, "ids", blind_since_ns)
        else:
            self._gap(event.origin, moment(event), None, None, self._cause)
            self._see_again(event)
            self._deliver(event, key)
            self._resynced(event, "snapshot", blind_since_ns)

    def _wait(self, event: Event, key: int) -> None:
        if self._waiting is None:
            self._waiting_key, self._waiting_since_ns = key, event.mono_ns
        self._waiting = event  # a newer image supersedes an older one
        self._lead = None

    def _release(self) -> None:
        """Let the session that waits join, once what it began with has been delivered."""
        event = self._waiting
        if event is None:
            return
        same = self._shows_the_same(event)
        if same or self._key >= self._waiting_key:
            self._waiting = None
            self._join(event)
            key = self._key_of(event)
            if key is not None and key > self._key and not same:
                self._deliver(event, key)
            else:
                self.duplicates += 1
                self._lead = None if self.newest is None else self.newest.origin

    def _fewer_sources(self) -> None:
        event = self._waiting
        if event is None:
            return
        source = self.sources.get(event.origin.epoch)
        if source is None:
            self._waiting = None
        elif self._blind_since_ns is not None:
            self._waiting = None
            self._resume(event, self._key_of(event), self._blind_since_ns)
        elif self._has_joined(source):
            self._waiting_key = self._key
            self._release()

    def _deliver(self, event: Event, key: int | None) -> None:
        if key is not None:
            self._key = key
        self._lead = event.origin if self._waiting is None else None
        self.newest = event
        self.delivered += 1
        self._emit(event)

    def _accept(self, event: Event, key: int | None) -> bool:
        if key is None or key > self._key or self._renumbered(event):
            return True
        if key < self._key:
            self.out_of_order += 1
            return False
        # Equal: two images of one millisecond are real on the same session, but from another
        # session they are the same images again.
        other_session = self.newest is not None and self.newest.origin is not event.origin
        if other_session or self._is_newest(event, key):
            self.duplicates += 1
            return False
        return True

    def _shows_the_same(self, event: Event) -> bool:
        """Whether an image differs from the newest at most in when it was made.

        Some venues greet a subscription with an image of now, though nothing has changed.
        """
        newest = self.newest
        if newest is None or self._ordered:  # a number says what is new, whatever it shows
            return False
        return _payload(event)[3:] == _payload(newest)[3:]

    def _is_newest(self, event: Event, key: int | None) -> bool:
        """Whether this is the very image that was delivered last."""
        if key is None or key != self._key or self.newest is None:
            return False
        return self._ordered or _payload(event) == _payload(self.newest)

    def _blinded(self) -> None:
        self._lead = None


def _payload(event: Event) -> tuple[object, ...]:
    """Return time, numbers and content, without where and when it came."""
    envelope = {"origin", "recv_ns", "mono_ns"}
    return tuple(getattr(event, n) for n in event.__struct_fields__ if n not in envelope)
