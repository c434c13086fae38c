"""Until when a session carried everything, told in the time at which the venue sent it.

A session that ends, or falls silent, hands over to those that were subscribed while it still
carried everything.  When its last frame *arrived* does not tell that: packets that are lost hold
up all that follow, so a frame may arrive seconds after it was sent, and what the venue sent
meanwhile died with the connection.  Another session, whose subscription was confirmed before that
late frame arrived, may well have been subscribed only after it was sent.

Two things prove when the last frame was sent.  Its own time, by the venue's clock, to which the
smallest difference between receiving and event time ever seen is added: that is when it would have
arrived on an undisturbed path, by our clock.  And a pong, which left the venue after our ping had
left us, and behind all that was sent before it.  Where there is neither, `TRANSIT_NS` is allowed
for the way here.

Nothing here is kept for each message: the streams know the newest one of every session, and the
vigil the smallest difference of every topic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gapless.core.stream import TRANSIT_NS, Stream

__all__ = ["Coverage"]

SLACK_NS: Final = 10_000_000
"""By how much the smallest difference seen may exceed the smallest there is, in nanoseconds."""


class Coverage:
    """Tells until when sessions carried everything.

    Args:
        streams: Every topic's stream.
        least_ns: Returns the smallest difference between receiving and event time of a topic, in
            nanoseconds, or `None` if none is known.
    """

    def __init__(
        self, streams: Mapping[str, Stream], least_ns: Callable[[str], int | None]
    ) -> None:
        self._streams = streams
        self._least_ns = least_ns

    def until_ns(
        self, epoch: int, topics: Iterable[str], heard_ns: int, proven_ns: int | None = None
    ) -> int:
        """Return until when a session carried everything of these topics, monotonic.

        Args:
            epoch: Which session.
            topics: What it carries; any of them may show how far it had come.
            heard_ns: When its last frame arrived, monotonic: it was sent no later.
            proven_ns: When the newest ping left that was answered, or `None` if pongs prove
                nothing, because it is the venue that withholds data.
        """
        sent_ns = self._sent_ns(epoch, topics)
        if sent_ns is None:
            sent_ns = heard_ns - TRANSIT_NS
        return min(heard_ns, sent_ns if proven_ns is None else max(sent_ns, proven_ns))

    def _sent_ns(self, epoch: int, topics: Iterable[str]) -> int | None:
        """Return when the newest message would have arrived on an undisturbed path."""
        newest_ns: int | None = None
        for topic in topics:
            stream, least_ns = self._streams.get(topic), self._least_ns(topic)
            event = None if stream is None else stream.last_seen(epoch)
            if event is not None and event.event_ns is not None and least_ns is not None:
                due_ns = event.event_ns + least_ns - SLACK_NS
                newest_ns = due_ns if newest_ns is None else max(newest_ns, due_ns)
        return newest_ns
