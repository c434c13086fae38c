"""Topics whose every message is a full image, such as tickers and best quotes.

A newer image supersedes all older ones, so what matters is never to step back and never to
repeat.  Where the venue numbers its images the number orders them; otherwise its time does.
Holes cannot be seen from the messages, therefore every stretch without a trusted source is
announced as an interval, as soon as a new subscription is confirmed.
"""

from __future__ import annotations

from collections.abc import Callable

from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, Need, Stream, TopicSpec, moment
from gapless.events import Event, Origin

__all__ = ["ImageStream"]


class ImageStream(Stream):
    """Full images, ordered by number or by the venue's time."""

    __slots__ = ("_key", "_lead", "_loading_since_ns", "_ordered")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._ordered = spec.numbering is not Numbering.NONE
        self._key = -1  # number or time of the newest image
        self._lead: Origin | None = None  # who brought it; `None` while anything is special
        self._loading_since_ns: int | None = None  # a gap is announced, an image not yet here

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

    def _unusual(self, event: Event, key: int | None) -> None:
        was_blind_ns = self._blind_since_ns
        self._trust_again(event)
        if was_blind_ns is not None:  # data before the ack, or from a source that came back
            self._announce(event.origin, moment(event))
        if not self._accept(event, key):
            return
        if key is not None:
            self._key = key
        self._lead = event.origin
        self.newest = event
        self.delivered += 1
        self._emit(event)
        if self._loading_since_ns is not None:
            self._resynced(event, "snapshot", self._loading_since_ns)
            self._loading_since_ns = None

    def _accept(self, event: Event, key: int | None) -> bool:
        if key is None or key > self._key or self._renumbered(event):
            return True
        if key < self._key:
            self.out_of_order += 1
            return False
        # Equal: two images of one millisecond are real on the same session, but from another
        # session they are the same images again.
        newest = self.newest
        if (
            self._ordered
            or newest is None
            or newest.origin is not event.origin
            or _content(event) == _content(newest)
        ):
            self.duplicates += 1
            return False
        return True

    def _attached(self, origin: Origin, now: Moment) -> None:
        if self._blind_since_ns is not None:
            self._announce(origin, now)

    def _announce(self, origin: Origin, now: Moment) -> None:
        self._loading_since_ns = self._blind_since_ns
        self._blind_since_ns = None
        self._gap(origin, now, None, None, self._cause)

    def _blinded(self) -> None:
        self._lead = None


def _content(event: Event) -> tuple[object, ...]:
    fields = event.__struct_fields__
    return tuple(getattr(event, name) for name in fields if name not in {"recv_ns", "mono_ns"})
