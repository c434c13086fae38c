"""Deciding whether a message follows the one before it.

One representation serves every venue: a message covers the numbers ``first`` to ``last``,
both included.  A counter has ``first == last``; a range ``U..u`` is itself; a chain with a
previous id covers ``prev + 1`` to its own id.  A message is next if it begins where the one
before it ended.  What differs is whether every number in between exists (`Numbering`).

On a chain a message that names its own number as the one before covers nothing (``last ==
first - 1``): nothing has changed.  One that leads to a lower number is how a venue starts to
count anew.  Both are next if they begin where the one before ended, and tell that the venue had
got as far as ``first - 1`` wherever they stand.
"""

from __future__ import annotations

from enum import Enum, unique

__all__ = ["Numbering", "Place", "place"]


@unique
class Numbering(Enum):
    """What a topic's numbers can prove."""

    DENSE = "dense"  # every number exists: a hole can be counted, an overlap trimmed
    CHAIN = "chain"  # each message names the one before: a hole shows, but has no count
    ORDERED = "ordered"  # numbers only rise: order and repeats show, holes do not
    IDENTITY = "identity"  # names without order: repeats show, holes do not
    NONE = "none"  # no numbers: only times


@unique
class Place(Enum):
    """Where a message stands relative to what was delivered."""

    NEXT = "next"
    OVERLAP = "overlap"  # begins behind, ends ahead: brings something new
    DUPLICATE = "duplicate"  # brings nothing new
    AHEAD = "ahead"  # a hole lies before it


def place(expected: int, first: int, last: int) -> Place:
    """Return where the message ``first..last`` stands when ``expected`` comes next."""
    if first == expected:
        return Place.NEXT
    if max(last, first - 1) < expected:
        return Place.DUPLICATE
    return Place.OVERLAP if first < expected else Place.AHEAD
