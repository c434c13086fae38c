"""Topics whose every message is a full image, such as tickers and best quotes.

A newer image supersedes all older ones, so what matters is never to step back and never to
repeat.  Where the venue numbers its images the number orders them; otherwise its time does.
Holes cannot be seen from the messages, therefore every stretch without a trusted source is
announced as an interval.  It ends with the first image that comes after it, and not with the
confirmation of a new subscription: a venue that confirms and stays silent has proven nothing.
Only an image that is the very one we had last proves that there was none in between.
"""

from __future__ import annotations

from collections.abc import Callable

from gapless.core.sequence import Numbering
from gapless.core.stream import Need, Stream, TopicSpec, moment
from gapless.events import Event, Origin

__all__ = ["ImageStream"]


class ImageStream(Stream):
    """Full images, ordered by number or by the venue's time."""

    __slots__ = ("_key", "_lead", "_ordered")

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._ordered = spec.numbering is not Numbering.NONE
        self._key = -1  # number or time of the newest image
        self._lead: Origin | None = None  # who brought it; `None` while anything is special

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
        blind_since_ns = self._blind_since_ns
        self._trust_again(event)
        if blind_since_ns is None:
            if self._accept(event, key):
                self._deliver(event, key)
        elif key is not None and key < self._key and not self._renumbered(event):
            self.out_of_order += 1  # from before the break: it says nothing of what came since
        elif self._is_newest(event, key):
            self._blind_since_ns = None
            self.duplicates += 1
            self._resynced(event, "ids", blind_since_ns)
        else:
            self._blind_since_ns = None
            self._gap(event.origin, moment(event), None, None, self._cause)
            self._deliver(event, key)
            self._resynced(event, "snapshot", blind_since_ns)

    def _deliver(self, event: Event, key: int | None) -> None:
        if key is not None:
            self._key = key
        self._lead = event.origin
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

    def _is_newest(self, event: Event, key: int | None) -> bool:
        """Whether this is the very image that was delivered last."""
        if key is None or key != self._key or self.newest is None:
            return False
        return self._ordered or _payload(event) == _payload(self.newest)

    def _blinded(self) -> None:
        self._lead = None


def _payload(event: Event) -> tuple[object, ...]:
    envelope = {"origin", "recv_ns", "mono_ns"}
    return tuple(getattr(event, n) for n in event.__struct_fields__ if n not in envelope)
