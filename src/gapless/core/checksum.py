"""How a venue lets a book be checked: a number computed from the book's literal text.

Checksums are computed from the digits that the venue sent, trailing zeros and exponents
included, and never from floats: `1.10` and `1.1` are one price and two texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Checksum", "TextLevel"]

TextLevel = tuple[str, str]
"""Price and size, as sent."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """How one venue computes it.

    Args:
        depth: How many of the best levels a side it covers.
        compute: Takes the best bids and asks, best first, at most ``depth`` each, and returns
            the number as the venue sends it (some send it signed).
        tolerated: How many failures in a row are not yet believed, because the venue itself is
            known to send wrong ones now and then.
    """

    depth: int
    compute: Callable[[Sequence[TextLevel], Sequence[TextLevel]], int]
    tolerated: int = 0
