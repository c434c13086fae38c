"""Combining what waits for a slow consumer, so that it gets the newest state and no backlog.

What waits of one topic lies in one `Slot`.  An image replaces the image before it.  Changes of a
book are merged level by level: the last size of each price counts, and a level that was removed
stays as size 0, for the consumer may still have it.  The numbers of the merged change span all
that went into it, so it follows what the consumer took last, and the next change follows it.

Gaps, resyncs and snapshots are barriers: they keep their place among the changes, since a change
from before a snapshot must not be merged with one from behind it.  Trades are never combined:
each of them happened.
"""

from __future__ import annotations

from typing import Final

from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Gap, Levels, Resynced, Ticker

__all__ = ["ITEMS_MAX", "LEVELS_MAX", "Merged", "Slot", "conflatable"]

LEVELS_MAX: Final = 4096
"""Price levels in one merged change at most; a book that changes more is cheaper as a snapshot."""

ITEMS_MAX: Final = 16
"""Events in one slot at most, barriers included."""


def conflatable(event: Event) -> bool:
    """Whether a newer event of the same topic can stand for this one."""
    return isinstance(event, Bbo | Ticker | BookDelta | BookSnapshot)


class Merged:
    """Successive changes of one book as one change.

    Args:
        event: The first of them.
    """

    __slots__ = ("_asks", "_bids", "_first", "_newest")

    def __init__(self, event: BookDelta) -> None:
        self._first = event
        self._newest = event
        self._bids: dict[float, float] = dict(event.bids)
        self._asks: dict[float, float] = dict(event.asks)

    def add(self, event: BookDelta) -> bool:
        """Merge one more change; return whether it fitted, and leave it out if not."""
        fresh = _fresh(self._bids, event.bids) + _fresh(self._asks, event.asks)
        if len(self) + fresh > LEVELS_MAX:
            return False
        self._bids.update(event.bids)
        self._asks.update(event.asks)
        self._newest = event
        return True

    def event(self) -> BookDelta:
        """Return the merged change; a single one is returned as it came.

        It has no `texts`: the checksum of each change was over digits that are merged away.
        """
        first, newest = self._first, self._newest
        if first is newest:
            return first
        return BookDelta(
            newest.origin,
            newest.recv_ns,
            newest.mono_ns,
            newest.event_ns,
            first.first,
            newest.last,
            list(self._bids.items()),
            list(self._asks.items()),
        )

    def __len__(self) -> int:
        return len(self._bids) + len(self._asks)


class Slot:
    """What waits of one topic, combined as far as it can be, in order.

    Args:
        event: The first; see `conflatable`.
    """

    __slots__ = ("_items", "conflated", "topic")

    def __init__(self, event: Event) -> None:
        self.topic = event.origin.topic
        self.conflated = 0  # events that others stand for now
        self._items: list[Event | Merged] = [_item(event)]

    def add(self, event: Event) -> bool:
        """Take one more event of the topic; return whether it fitted, and leave it out if not."""
        newest = self._items[-1]
        if isinstance(newest, Merged) and isinstance(event, BookDelta):
            if not newest.add(event):
                return False
            self.conflated += 1
        elif _replaces(event, newest):
            self._items[-1] = event
            self.conflated += 1
        elif len(self._items) < ITEMS_MAX and isinstance(event, _KINDS):
            self._items.append(_item(event))
        else:
            return False
        return True

    def events(self) -> list[Event]:
        """Return what is in it, in order."""
        return [item.event() if isinstance(item, Merged) else item for item in self._items]


_KINDS = Bbo | Ticker | BookDelta | BookSnapshot | Gap | Resynced


def _item(event: Event) -> Event | Merged:
    return Merged(event) if isinstance(event, BookDelta) else event


def _replaces(event: Event, older: Event | Merged) -> bool:
    """Whether ``event`` is a newer image of the same kind."""
    return isinstance(event, Bbo | Ticker | BookSnapshot) and type(event) is type(older)


def _fresh(held: dict[float, float], levels: Levels) -> int:
    return sum(price not in held for price, _ in levels)
