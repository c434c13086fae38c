"""Final books stand in the venue's own digits."""

from __future__ import annotations

from tests.inspection.talk import BOOK, DEPTH, change, depth, numbered, record, snapshot

from gapless.inspection.books import Literal
from gapless.inspection.inspector import Inspector
from gapless.venues._registry import load

LEVELS = (
    '{"lastUpdateId":7,"bids":[["100.00","1.50000000"],["99.90","2"]],"asks":[["101.0","0.10"]]}'
)
DEPTH_URL = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"


def books(records, venue="deribit"):
    inspector = Inspector(load(venue), texts=True, tell=True)
    literal = Literal(inspector)
    for one in records:
        inspector.feed(one)
        literal.take()
    inspector.finish()
    literal.take()
    return list(literal.final("capture"))


def test_digits_stay_as_they_were_sent():
    records = [
        record(1, depth(1, 5)),
        record(2, LEVELS, "rest", "rest", url=DEPTH_URL),
        record(3, depth(6, 9)),
    ]
    [book] = books(records, "binance.spot")
    assert (book.topic, book.symbol, book.state, book.last) == (DEPTH, "BTCUSDT", "synced", 9)
    assert book.bids == [("100.10", "1"), ("100.00", "1.50000000"), ("99.90", "2")]
    assert book.asks == [("101.0", "0.10")]


def test_a_level_that_was_removed_is_gone():
    frames = numbered([snapshot(10), change(10, 15, [["delete", 100.0, 0.0], ["new", 99.5, 2.0]])])
    [book] = books(frames)
    assert book.bids == [("99.5", "2.0")]
    assert book.asks == [("101.0", "5.0")]


def test_a_broken_book_is_as_it_was_last_proven():
    frames = numbered([snapshot(10), change(15, 20, [["new", 99.5, 2.0]])])
    [book] = books(frames)
    assert (book.topic, book.state, book.last) == (BOOK, "broken", 10)
    assert book.bids == [("100.0", "10.0")]


def test_a_book_without_a_snapshot_is_empty():
    [book] = books(numbered([depth(1, 5)]), "binance.spot")
    assert (book.state, book.bids, book.asks, book.last) == ("syncing", [], [], None)
