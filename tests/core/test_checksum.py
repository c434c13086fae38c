"""What a checksum declares."""

from __future__ import annotations

from zlib import crc32

from tests.core.worlds import WALL, numbers, origin

from gapless.core.checksum import Checksum
from gapless.core.textbook import TextBook
from gapless.events import BookSnapshot, Texts


def kraken(bids, asks):
    """Ten best asks, then ten best bids; price and size without point and leading zeros."""
    levels = [*asks, *bids]
    return crc32(
        "".join(t.replace(".", "").lstrip("0") for level in levels for t in level).encode()
    )


def test_the_worked_example_of_a_venue_s_documents():
    """Kraken, "Book Checksum (v1)": this book has the checksum 974947235."""
    asks = ["0.05005 0.00000500", "0.05010 0.00000500", "0.05015 0.00000500"]
    asks += ["0.05020 0.00000500", "0.05025 0.00000500", "0.05030 0.00000500"]
    asks += ["0.05035 0.00000500", "0.05040 0.00000500", "0.05045 0.00000500"]
    asks += ["0.05050 0.00000500"]
    bids = ["0.05000 0.00000500", "0.04995 0.00000500", "0.04990 0.00000500"]
    bids += ["0.04980 0.00000500", "0.04975 0.00000500", "0.04970 0.00000500"]
    bids += ["0.04965 0.00000500", "0.04960 0.00000500", "0.04955 0.00000500"]
    bids += ["0.04950 0.00000500"]
    levels = [[tuple(level.split()) for level in side] for side in (bids, asks)]
    book = TextBook()
    sides = [numbers(side) for side in levels]
    texts = Texts(*levels)
    book.take(BookSnapshot(origin(0), WALL, 0, None, None, None, *sides, texts))
    assert book.agrees(Checksum(10, kraken), 974947235)
    assert not book.agrees(Checksum(9, kraken), 974947235)


def test_no_failure_is_tolerated_unless_the_venue_is_known_for_it():
    assert Checksum(10, kraken).tolerated == 0
