from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.book import Book

prices = st.integers(1, 12).map(float)
levels = st.lists(st.tuples(prices, st.sampled_from([0.0, 0.5, 1.0, 2.5])), max_size=6)
steps = st.lists(st.tuples(st.booleans(), levels, levels), max_size=20)


class Naive:
    """Two dicts, sorted anew at every look."""

    def __init__(self):
        self.sides = ({}, {})

    def apply(self, bids, asks):
        for side, changed in zip(self.sides, (bids, asks), strict=True):
            for price, size in changed:
                side[price] = size

    def replace(self, bids, asks):
        self.sides = (dict(bids), dict(asks))

    def side(self, number):
        return sorted(level for level in self.sides[number].items() if level[1])


@given(steps)
def test_a_book_is_what_two_plain_dicts_are(sequence):
    book, naive = Book(), Naive()
    for anew, bids, asks in sequence:
        if anew:
            book.replace(bids, asks)
            naive.replace(bids, asks)
        else:
            book.apply(bids, asks)
            naive.apply(bids, asks)
        expected_bids, expected_asks = naive.side(0)[::-1], naive.side(1)
        assert book.bids() == expected_bids
        assert book.asks() == expected_asks
        for depth in (0, 1, 3, 100):
            assert book.bids(depth) == expected_bids[:depth]
            assert book.asks(depth) == expected_asks[:depth]
        assert book.best_bid == (expected_bids[0] if expected_bids else None)
        assert book.best_ask == (expected_asks[0] if expected_asks else None)
        assert len(book) == len(expected_bids) + len(expected_asks)
        both = bool(expected_bids and expected_asks)
        assert book.crossed == (both and expected_bids[0][0] >= expected_asks[0][0])


def test_removing_a_level_that_is_not_there_is_ignored():
    book = Book()
    book.apply([(5.0, 0.0)], [(6.0, 0.0)])
    assert len(book) == 0
    assert book.best_bid is None


def test_an_empty_change_touches_nothing():
    book = Book()
    book.replace([(1.0, 2.0)], [(3.0, 4.0)])
    book.apply([], [])
    assert (book.bids(), book.asks()) == ([(1.0, 2.0)], [(3.0, 4.0)])


def test_a_level_repeated_in_one_message_keeps_its_last_size():
    book = Book()
    book.apply([(1.0, 2.0), (1.0, 0.0), (1.0, 3.0)], [])
    assert book.bids() == [(1.0, 3.0)]


def test_a_book_is_crossed_when_bid_and_ask_touch():
    book = Book()
    book.replace([(2.0, 1.0)], [(2.0, 1.0)])
    assert book.crossed
    book.apply([(2.0, 0.0)], [])
    assert not book.crossed


def test_what_is_handed_out_and_taken_in_is_not_shared():
    bids = [(1.0, 1.0)]
    book = Book()
    book.replace(bids, [])
    book.bids().append((9.0, 9.0))
    bids.append((9.0, 9.0))
    assert book.bids() == [(1.0, 1.0)]


def test_cutting_drops_the_worst_levels_of_each_side_and_names_them():
    book = Book()
    book.replace([(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)], [(4.0, 1.0), (5.0, 1.0)])
    assert book.cut(2) == ([1.0], [])
    assert book.cut(1) == ([2.0], [5.0])
    assert (book.bids(), book.asks()) == ([(3.0, 1.0)], [(4.0, 1.0)])
    assert book.cut(1) == ([], [])
    assert len(book) == 2
