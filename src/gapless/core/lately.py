"""What was delivered a moment ago, to hold what another line says of the same against it.

Two lines that carry one numbering must bring the same under the same number.  Where they do not,
one of them is wrong, and nobody can tell which.  So while a topic has more than one source, the
messages themselves are kept for a few seconds: to keep a reference costs less than to compute a
hash of every message, and comparing two messages is exact.  Hashes are made for the notice alone.

Two tables take turns, the younger filling while the elder is forgotten as a whole.  So nothing is
searched or moved for each message, and both the number and the age of what is kept are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain
from typing import Final

from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Trade

__all__ = ["KEPT_MAX", "KEPT_NS", "Lately", "digest", "same"]

KEPT_MAX: Final = 1024
"""Messages of a topic in each of the two tables at most."""

KEPT_NS: Final = 5_000_000_000
"""How long a table is filled at most, in nanoseconds: a message is kept for once to twice that."""


class Lately:
    """The newest messages of one topic, by number or name.

    At least the newest `KEPT_MAX` of the last `KEPT_NS` are found, and at most twice as many are
    kept.
    """

    __slots__ = ("_due_ns", "_elder", "_younger")

    def __init__(self) -> None:
        self._younger: dict[int | str, Event] = {}
        self._elder: dict[int | str, Event] = {}
        self._due_ns = 0

    def note(self, key: int | str | None, event: Event) -> None:
        """Keep a message that was delivered; one without a key is not kept."""
        if event.mono_ns >= self._due_ns or len(self._younger) >= KEPT_MAX:
            self._turn(event.mono_ns)
        if key is not None:
            self._younger[key] = event

    def _turn(self, now_ns: int) -> None:
        self._elder, self._younger = self._younger, {}
        self._due_ns = now_ns + KEPT_NS

    def find(self, key: int | str | None) -> Event | None:
        """Return the message with this key, if it is kept still."""
        if key is None:
            return None
        return self._younger.get(key) or self._elder.get(key)

    def forget(self, key: int | str) -> None:
        """Keep a message no more: what there was to say of it has been said."""
        self._younger.pop(key, None)
        self._elder.pop(key, None)

    def clear(self) -> None:
        """Forget all: their numbers mean other messages from now on."""
        self._younger.clear()
        self._elder.clear()

    def __iter__(self) -> Iterator[Event]:
        """Go through what is kept, oldest first."""
        return chain(self._elder.values(), self._younger.values())

    def __len__(self) -> int:
        return len(self._younger) + len(self._elder)


def same(one: Event, other: Event) -> bool:
    """Whether two messages say the same of prices, sizes and sides, whenever they came.

    Kinds that are not compared are the same: a summary is no statement about one number.
    """
    kind = one.__class__
    if kind is not other.__class__:
        return True  # a whole book, and a change of it
    if kind is BookDelta or kind is BookSnapshot:
        bids, asks = other.bids, other.asks  # type: ignore[attr-defined]
        return (one.bids == bids or dict(one.bids) == dict(bids)) and (  # type: ignore[attr-defined]
            one.asks == asks or dict(one.asks) == dict(asks)  # type: ignore[attr-defined]
        )
    return _content(one) == _content(other)


def digest(event: Event) -> str:
    """Return a short hash of what a message says, equal on every machine."""
    return blake2b(repr(_content(event)).encode(), digest_size=8).hexdigest()


def _content(event: Event) -> tuple[object, ...]:
    match event:
        case Trade():
            return event.price, event.size, event.side
        case Bbo():
            return event.bid, event.bid_size, event.ask, event.ask_size
        case BookDelta() | BookSnapshot():
            return sorted(dict(event.bids).items()), sorted(dict(event.asks).items())
        case _:
            return ()
