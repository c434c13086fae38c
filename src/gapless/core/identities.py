"""Messages that have names but no order, such as trades with random ids.

A name shows a repeat and never a hole.  So every stretch without a trusted session is announced
as an interval, unless the venue greets a new subscription with its latest messages and the oldest
of them is one that was delivered: then the list reaches back beyond the break, and what it brings
is all there was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gapless.core.stream import Moment, Need, Stream, TopicSpec, moment
from gapless.events import Event, Trade

__all__ = ["SEEN_MAX", "IdentityStream"]

SEEN_MAX: Final = 8192
"""Names remembered at most, the oldest are forgotten first."""


class IdentityStream(Stream):
    """Messages that are told apart by the venue's id."""

    __slots__ = ("_seen",)

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._seen: dict[str, None] = {}

    def offer(self, event: Event) -> None:
        """Take one message from any source."""
        if not isinstance(event, Trade):
            self.dropped += 1
            return
        known = event.id in self._seen
        blind_since_ns = self._blind_since_ns
        if blind_since_ns is not None or event.origin.epoch not in self.sources:
            self._trust_again(event)
        if blind_since_ns is not None:
            if known:
                self._resynced(event, "ids", blind_since_ns)
            else:
                self._gap(event.origin, moment(event), None, None, self._cause)
            self._see_again(event)
        if known:
            self.duplicates += 1
            self._join(event)
            return
        self._seen[event.id] = None
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        self.newest = event
        self.delivered += 1
        self._emit(event)

    def tick(self, now: Moment) -> None:
        """Do nothing: names say nothing about time."""
