"""Which topics are wanted, asked for, granted, refused and heard.

Resubscribing is derived from what is desired, never from what was sent before: a list that
grows with each reconnect cannot exist.

Where the venue can be asked what it thinks we have, its answers are held against what it granted.
A topic that the first listing lacks was never there, though it was acknowledged; one that an
earlier listing had is one that the venue has dropped without a word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import Enum, unique

__all__ = ["Subscriptions", "Wish", "batches", "shards", "topic_bytes"]


@unique
class Wish(Enum):
    """Where one topic stands in one session."""

    DESIRED = "desired"
    PENDING = "pending"
    CONFIRMED = "confirmed"
    REFUSED = "refused"


class Subscriptions:
    """The topics of one session."""

    __slots__ = ("_listed", "_lost", "_wishes")

    def __init__(self, topics: Iterable[str]) -> None:
        self._wishes = dict.fromkeys(topics, Wish.DESIRED)
        self._listed: set[str] = set()  # the venue's newest listing had them
        self._lost: set[str] = set()  # an earlier listing had them, and the newest has not

    def add(self, topics: Iterable[str]) -> tuple[str, ...]:
        """Wish for more; return those that are new."""
        fresh = tuple(topic for topic in dict.fromkeys(topics) if topic not in self._wishes)
        self._wishes.update(dict.fromkeys(fresh, Wish.DESIRED))
        return fresh

    def remove(self, topics: Iterable[str]) -> tuple[str, ...]:
        """Wish for these no more; return those that were asked for or granted."""
        gone = {topic: self._wishes.pop(topic, None) for topic in topics}
        self._listed.difference_update(gone)
        self._lost.difference_update(gone)
        return tuple(t for t, stood in gone.items() if stood in {Wish.PENDING, Wish.CONFIRMED})

    def asked(self, topics: Iterable[str]) -> None:
        """Note that these were asked for."""
        self._set(topics, Wish.PENDING)

    def granted(self, topics: Iterable[str]) -> tuple[str, ...]:
        """Note that these were granted; return those that were not before."""
        fresh = self._fresh(topics, Wish.CONFIRMED)
        self._set(fresh, Wish.CONFIRMED)
        self._lost.difference_update(fresh)
        return fresh

    def refused(self, topics: Iterable[str]) -> tuple[str, ...]:
        """Note that these were refused; return those that were not before."""
        fresh = self._fresh(topics, Wish.REFUSED)
        self._set(fresh, Wish.REFUSED)
        return fresh

    def listing(self, listed: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Take what the venue says is subscribed.

        Only what is granted is judged: what is being asked for anew may be on either side of the
        answer.  A topic that was lost and is lacking once more will not be had.

        Returns:
            The granted topics that it lacks: those never listed since they were last asked for,
            and those that were, which the venue has dropped.
        """
        absent = [topic for topic in self.having(Wish.CONFIRMED) if topic not in listed]
        dropped = tuple(topic for topic in absent if topic in self._listed)
        never = tuple(topic for topic in absent if topic not in self._listed)
        self._listed = {topic for topic in self.having(Wish.CONFIRMED) if topic in listed}
        self._lost.difference_update(self._listed)
        self._lost.update(dropped)
        return never, dropped

    def is_listed(self, topic: str) -> bool:
        """Whether the venue's newest listing had ``topic``."""
        return topic in self._listed

    def is_lost(self, topic: str) -> bool:
        """Whether the venue has dropped ``topic``, and not listed it since."""
        return topic in self._lost

    def having(self, wish: Wish) -> tuple[str, ...]:
        """Return the topics that stand at ``wish``, in the order they were wished."""
        return tuple(topic for topic, stands in self._wishes.items() if stands is wish)

    def stands(self, topic: str) -> Wish | None:
        """Return where ``topic`` stands, or `None` if it is not of this session."""
        return self._wishes.get(topic)

    @property
    def settled(self) -> bool:
        """Whether every topic is granted or refused."""
        return all(w in {Wish.CONFIRMED, Wish.REFUSED} for w in self._wishes.values())

    def __len__(self) -> int:
        return len(self._wishes)

    def _fresh(self, topics: Iterable[str], wish: Wish) -> tuple[str, ...]:
        # A reply may name a topic twice.
        once = dict.fromkeys(topics)
        return tuple(topic for topic in once if self._wishes.get(topic) not in {None, wish})

    def _set(self, topics: Iterable[str], wish: Wish) -> None:
        for topic in topics:
            if topic in self._wishes:
                self._wishes[topic] = wish


def shards(
    topics: Sequence[str], per_connection: int | None, bytes_per_connection: int | None = None
) -> list[tuple[str, ...]]:
    """Split ``topics`` over as few connections as the venue's limits allow, evenly.

    Args:
        topics: What to carry.
        per_connection: Most topics on one connection; `None` if the venue states no limit.
        bytes_per_connection: Most bytes of topic names on one, quotes and commas included.
    """
    if not topics:
        return []
    count = 1 if per_connection is None else -(-len(topics) // per_connection)
    if bytes_per_connection is not None:
        while any(topic_bytes(part) > bytes_per_connection for part in _evenly(topics, count)):
            count += 1
    return _evenly(topics, count)


def topic_bytes(topics: Sequence[str]) -> int:
    """Return the bytes that topic names take in a request, quotes and commas included."""
    return sum(len(topic.encode()) + 3 for topic in topics)


def _evenly(topics: Sequence[str], count: int) -> list[tuple[str, ...]]:
    size, extra = divmod(len(topics), count)
    result, start = [], 0
    for index in range(count):
        end = start + size + (index < extra)
        result.append(tuple(topics[start:end]))
        start = end
    return result


def batches(
    topics: Sequence[str], per_request: int | None, request_bytes: int
) -> list[tuple[str, ...]]:
    """Split ``topics`` into requests, bounded in number and in bytes.

    Args:
        topics: What to ask for.
        per_request: Most topics in one request; `None` if the venue states no limit.
        request_bytes: Most bytes of topic names in one request, quotes and commas included.
    """
    result: list[tuple[str, ...]] = []
    batch: list[str] = []
    held_bytes = 0
    for topic in topics:
        topic_bytes = len(topic.encode()) + 3
        full = per_request is not None and len(batch) >= per_request
        if batch and (full or held_bytes + topic_bytes > request_bytes):
            result.append(tuple(batch))
            batch, held_bytes = [], 0
        batch.append(topic)
        held_bytes += topic_bytes
    if batch:
        result.append(tuple(batch))
    return result
