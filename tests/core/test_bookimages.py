"""Books that come whole in every message."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.worlds import BOOK_IMAGES, WALL, Log, at, delta, origin, snapshot

from gapless.core.bookimages import BookImageStream
from gapless.core.stream import REGRESS_NS, Trust
from gapless.errors import NotSynced
from gapless.events import BookSnapshot

A, B = origin(0, "book"), origin(1, "book")


def images_of(*sources):
    log = Log()
    stream = BookImageStream(BOOK_IMAGES, log.events.append, log.needs.append)
    for source in sources:
        stream.attach(source, at(0))
    return stream, log


def image(source, number, mono_ns, made_ns=None):
    bids = [(1.0, float(number)), (0.5, 1.0)]
    return snapshot(source, number, mono_ns, bids, [(2.0, 1.0)], made_ns)


def test_a_book_is_not_readable_before_its_first_image():
    stream, log = images_of()
    assert (stream.trust, stream.because) == (Trust.DOWN, "not subscribed yet")
    stream.attach(A, at(0))
    assert stream.trust is Trust.SYNCING
    with pytest.raises(NotSynced, match="waiting for a snapshot"):
        stream.proven()
    assert stream.image(at(1)) is None
    stream.offer(image(A, 5, 1))
    assert stream.trust is Trust.LIVE
    assert stream.because == ""
    assert stream.proven().bids() == [(1.0, 5.0), (0.5, 1.0)]
    assert log.kinds == ["BookSnapshot"]


def test_the_book_is_built_when_somebody_reads_it():
    stream, _ = images_of(A)
    stream.offer(image(A, 5, 1))
    book = stream.proven()
    stream.offer(image(A, 6, 2))
    assert book.bids(1) == [(1.0, 5.0)]  # nobody has read it since
    assert stream.proven() is book
    assert book.bids(1) == [(1.0, 6.0)]


def test_a_stale_image_never_takes_the_book_back():
    stream, log = images_of(A, B)
    for source, number in ((A, 5), (B, 4), (B, 5), (A, 7)):
        stream.offer(image(source, number, 1))
    assert [event.last for event in log.events] == [5, 7]
    assert stream.proven().bids(1) == [(1.0, 7.0)]
    assert (stream.out_of_order, stream.duplicates) == (1, 1)
    assert stream.arrived == 4


def test_old_numbers_with_new_times_are_a_new_numbering():
    stream, _ = images_of(A)
    stream.offer(image(A, 900, 1, made_ns=0))
    stream.offer(image(A, 1, 2, made_ns=REGRESS_NS + 1))
    assert stream.proven().bids(1) == [(1.0, 1.0)]


def test_a_blind_book_is_kept_and_not_readable():
    stream, log = images_of(A)
    stream.offer(image(A, 5, 10))
    stream.detach(A.epoch, "closed", at(50))
    assert stream.trust is Trust.BLIND
    with pytest.raises(NotSynced, match=r"no trusted connection \(closed\)"):
        stream.proven()
    assert stream.image(at(51)) is None
    assert stream.book.bids(1) == [(1.0, 5.0)]
    stream.attach(B, at(60))
    assert not stream.readable
    stream.offer(image(B, 9, 110))
    assert log.kinds == ["BookSnapshot", "Gap", "BookSnapshot", "Resynced"]
    assert stream.proven().bids(1) == [(1.0, 9.0)]


def test_losing_one_of_two_lines_costs_nothing():
    stream, log = images_of(A, B)
    stream.offer(image(A, 5, 10))
    stream.detach(A.epoch, "closed", at(50))
    assert stream.readable
    stream.offer(image(B, 6, 60))
    assert log.kinds == ["BookSnapshot", "BookSnapshot"]


def test_the_image_of_now_is_the_newest_one():
    stream, _ = images_of(A)
    stream.offer(image(A, 5, 10, made_ns=3))
    assert stream.image(at(70)) == BookSnapshot(
        A, WALL + 70, 70, WALL + 3, 5, 5, [(1.0, 5.0), (0.5, 1.0)], [(2.0, 1.0)]
    )


def test_what_is_not_a_whole_book_is_dropped():
    stream, log = images_of(A)
    stream.offer(delta(A, 5, 5, 1))
    assert log.events == []
    assert stream.dropped == 1
    assert not stream.readable


def test_there_is_nothing_to_rebuild():
    stream, log = images_of(A)
    stream.offer(image(A, 5, 1))
    stream.rebuild(A.epoch, "a frame could not be read", at(2))
    assert (log.needs, stream.readable) == ([], True)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["bring", "bring", "suspect", "wait"]), st.booleans()),
        max_size=40,
    )
)
def test_a_readable_book_is_the_newest_that_was_delivered(moves):
    stream, log = images_of(A, B)
    number = {A.epoch: 0, B.epoch: 0}
    for now_ns, (move, second) in enumerate(moves):
        source = B if second else A
        if move == "bring":
            number[source.epoch] += 1
            stream.offer(image(source, number[source.epoch], now_ns))
        elif move == "suspect":
            stream.suspect(source.epoch, "silent", at(now_ns))
        else:
            stream.tick(at(now_ns + 10**9))
        shown = [event for event in log.events if isinstance(event, BookSnapshot)]
        assert [e.last for e in shown] == sorted({e.last for e in shown})
        if stream.readable:
            assert stream.proven().bids() == shown[-1].bids
        assert stream.arrived == sum(number.values())
