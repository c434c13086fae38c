"""A book that keeps the venue's digits beside the numbers they mean."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.core.worlds import WALL, crc, numbers, origin

from gapless.core.checksum import Checksum
from gapless.core.textbook import TextBook
from gapless.events import BookDelta, BookSnapshot, Texts

A = origin(0, "book")


def event(kind, bids, asks, *, told=True):
    texts = Texts(bids, asks) if told else None
    return kind(A, WALL, 0, None, None, None, numbers(bids), numbers(asks), texts)


def book_of(bids, asks=()):
    book = TextBook()
    book.take(event(BookSnapshot, list(bids), list(asks)))
    return book


def test_texts_are_kept_digit_by_digit_best_first():
    book = book_of([("1.10", "2.500"), ("1.2", "1e-8")], [("1.30", "0.0000001")])
    assert book.best_texts() == (
        [("1.2", "1e-8"), ("1.10", "2.500")],
        [("1.30", "0.0000001")],
    )
    assert book.best_texts(1)[0] == [("1.2", "1e-8")]
    assert book.best_texts(0) == ([], [])


def test_the_newest_text_of_a_price_counts_however_it_is_written():
    book = book_of([("1.10", "2")])
    book.take(event(BookDelta, [("1.1", "3.0")], []))
    assert book.best_texts()[0] == [("1.1", "3.0")]
    assert len(book) == 1


def test_a_level_that_is_taken_back_takes_its_text_along():
    book = book_of([("1.1", "2")])
    book.take(event(BookDelta, [("1.10", "0.00"), ("7", "0")], []))
    assert book.best_texts() == ([], [])
    assert book._bid_texts == {}


def test_of_a_level_that_comes_twice_the_last_counts():
    book = book_of([("1", "2"), ("1", "3"), ("2", "1"), ("2", "0")])
    assert book.best_texts()[0] == [("1", "3")]


def test_a_snapshot_forgets_everything_before_it():
    book = book_of([("1", "2")], [("3", "4")])
    book.take(event(BookSnapshot, [("1.0", "2")], []))
    assert book.best_texts() == ([("1.0", "2")], [])


def test_a_change_without_texts_forgets_the_texts_it_overrules():
    book = book_of([("1.10", "2.0"), ("1.0", "1.0")])
    book.take(event(BookDelta, [("1.1", "3")], [], told=False))
    assert book.best_texts()[0] == [("1.1", "3.0"), ("1.0", "1.0")]


def test_a_book_without_texts_has_those_that_python_gives_its_numbers():
    book = TextBook()
    book.take(event(BookSnapshot, [("1", "2")], [], told=False))
    book.take(event(BookDelta, [("3", "4")], [], told=False))
    assert book.best_texts()[0] == [("3.0", "4.0"), ("1.0", "2.0")]


def test_cutting_drops_levels_with_their_texts_each_side_for_itself():
    """On a crossed book a price may stand on both sides."""
    book = book_of([("1", "1.0"), ("2", "2.0")], [("1", "5.0"), ("3", "6.0")])
    assert book.cut(1) == ([1.0], [3.0])
    assert book.best_texts() == ([("2", "2.0")], [("1", "5.0")])
    assert (book._bid_texts, book._ask_texts) == ({2.0: ("2", "2.0")}, {1.0: ("1", "5.0")})
    assert book.cut(1) == ([], [])


def test_a_checksum_is_compared_over_its_depth():
    book = book_of([("2", "1"), ("1", "1")], [("3", "1"), ("4", "1")])
    assert book.agrees(Checksum(1, crc), crc([("2", "1")], [("3", "1")]))
    assert not book.agrees(Checksum(1, crc), crc([("2", "1.0")], [("3", "1")]))
    assert not book.agrees(Checksum(2, crc), crc([("2", "1")], [("3", "1")]))


texts = st.lists(
    st.tuples(
        st.sampled_from(["1", "1.0", "2", "2.50", "3e0"]), st.sampled_from(["0", "0.0", "1", "1.0"])
    ),
    max_size=4,
)


@given(st.lists(st.tuples(st.booleans(), texts, texts), max_size=12), st.integers(1, 3))
def test_texts_always_mean_the_levels(messages, depth):
    book = TextBook()
    for whole, bids, asks in messages:
        book.take(event(BookSnapshot if whole else BookDelta, bids, asks))
        book.cut(depth)
        bid_texts, ask_texts = book.best_texts()
        assert numbers(bid_texts) == book.bids()
        assert numbers(ask_texts) == book.asks()
        assert len(book._bid_texts) + len(book._ask_texts) == len(book)
