"""Where one topic stands: what is desired against what the venue grants, lists and sends.

Each step is a proof of its own.  An acknowledgement says that the venue took the request, and at
some venues not even that the symbol exists.  A listing says that it still holds the subscription.
Only a message says that it sends.  Shown is how far the proof goes; of several lines, the one
that has come least far.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, unique

from gapless.core.stream import Stream
from gapless.core.subscriptions import Subscriptions, Wish

__all__ = ["Standing", "least", "standing"]


@unique
class Standing(Enum):
    """How far it is proven that a topic is carried; from the least to the most."""

    REFUSED = "refused"  # the venue said no
    UNSUBSCRIBED = "unsubscribed"  # it was carried, and the venue carries it no more
    DESIRED = "desired"  # not granted yet
    ACKNOWLEDGED = "acknowledged"  # granted; nothing has come of it
    LISTED = "listed"  # the venue lists it as subscribed; nothing has come of it
    FLOWING = "flowing"  # a message has come


_RANK = {standing: rank for rank, standing in enumerate(Standing)}


def standing(topic: str, subscriptions: Subscriptions, stream: Stream, epoch: int) -> Standing:
    """Return how far it is proven that session ``epoch`` carries ``topic``."""
    match subscriptions.stands(topic):
        case Wish.REFUSED:
            return Standing.REFUSED
        case Wish.CONFIRMED:
            pass
        case Wish.DESIRED | Wish.PENDING | None:
            return Standing.DESIRED
    if subscriptions.is_lost(topic):
        return Standing.UNSUBSCRIBED
    if stream.last_seen_ns(epoch) is not None:
        return Standing.FLOWING
    return Standing.LISTED if subscriptions.is_listed(topic) else Standing.ACKNOWLEDGED


def least(standings: Iterable[Standing]) -> Standing:
    """Return the one that has come least far; of none at all, that the topic is only desired."""
    return min(standings, key=_RANK.__getitem__, default=Standing.DESIRED)
