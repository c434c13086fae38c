from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.worlds import CHAIN_BOOK, SECOND, Log, Reader, Venue, at, delta, origin, snapshot

from gapless.core.bookcuts import BookCutStream
from gapless.core.sequence import Numbering
from gapless.core.stream import HOLD_NS
from gapless.events import BookDelta, Gap, Resynced

A, B, C = (origin(n, "book") for n in range(3))


def book_of(*sources):
    """A book that all sources have begun with at number 10."""
    log = Log()
    stream = BookCutStream(CHAIN_BOOK, log.events.append, log.needs.append)
    for source in sources:
        stream.attach(source, at(0))
        stream.offer(snapshot(source, 10, 1, [(1.0, 1.0)], [(9.0, 1.0)]))
    log.clear()
    return stream, log


@pytest.mark.parametrize("how", ["detach", "suspect"])
def test_a_line_that_cuts_elsewhere_takes_over_with_the_exact_difference(how):
    stream, log = book_of(A, B)
    stream.offer(delta(A, 11, 15, 2, [(1.0, 5.0), (2.0, 2.0)]))
    stream.offer(delta(B, 11, 13, 3, [(1.0, 5.0)]))
    stream.offer(delta(B, 14, 18, 4, [(2.0, 2.0), (3.0, 3.0)], [(9.0, 0.0)]))
    assert log.kinds == ["BookDelta"]
    getattr(stream, how)(A.epoch, "closed", at(5))
    assert log.kinds == ["BookDelta", "Resynced", "BookDelta"]
    mark, change = log.events[1:]
    assert (mark.by, mark.blind_ns, mark.origin) == ("line", 0, B)
    assert (change.first, change.last) == (16, 18)
    assert (change.bids, change.asks) == ([(3.0, 3.0)], [(9.0, 0.0)])
    assert stream.proven().bids() == [(3.0, 3.0), (2.0, 2.0), (1.0, 5.0)]
    stream.offer(delta(B, 19, 20, 6, [(1.0, 0.0)]))
    assert log.kinds[3:] == ["BookDelta"]
    assert not log.needs
    assert stream.arrived == 2 + 4, "nobody sent the difference"


def test_a_line_that_is_behind_takes_over_once_it_has_passed():
    stream, log = book_of(A, B)
    stream.offer(delta(A, 11, 15, 2, [(1.0, 5.0)]))
    stream.offer(delta(B, 11, 13, 3, [(1.0, 4.0)]))
    stream.detach(A.epoch, "closed", at(5))
    assert stream.readable
    assert log.kinds == ["BookDelta"]
    stream.offer(delta(B, 14, 18, 6, [(1.0, 5.0), (2.0, 1.0)]))
    assert log.kinds == ["BookDelta", "Resynced", "BookDelta"]
    assert (log.events[2].first, log.events[2].last, log.events[2].bids) == (16, 18, [(2.0, 1.0)])


def test_a_line_that_falls_behind_is_left_after_the_hold():
    stream, log = book_of(A, B)
    stream.offer(delta(A, 11, 15, 2, [(1.0, 5.0)]))
    stream.offer(delta(B, 11, 18, 3, [(1.0, 6.0)]))
    stream.tick(at(2 + HOLD_NS))
    assert log.kinds == ["BookDelta"]
    stream.tick(at(3 + HOLD_NS))
    assert log.kinds == ["BookDelta", "Resynced", "BookDelta"]
    stream.offer(delta(A, 16, 20, 4 + HOLD_NS, [(1.0, 7.0)]))  # it goes on, and is left out
    stream.offer(delta(B, 19, 22, 5 + HOLD_NS, [(1.0, 8.0)]))
    assert [(e.first, e.last) for e in log.events if isinstance(e, BookDelta)] == [
        (11, 15),
        (16, 18),
        (19, 22),
    ]
    assert not log.gaps


def test_a_book_that_has_lost_something_itself_does_not_take_over():
    stream, log = book_of(A, B)
    stream.offer(delta(A, 11, 15, 2))
    stream.offer(delta(B, 11, 13, 3))
    stream.offer(delta(B, 17, 20, 4))  # it has lost 14 to 16
    stream.detach(A.epoch, "closed", at(5))
    assert "Gap" in log.kinds
    assert not stream.readable


def test_a_book_that_has_lost_something_is_whole_again_where_both_lines_meet():
    stream, log = book_of(A, B)
    stream.offer(delta(A, 11, 15, 2, [(1.0, 5.0)]))
    stream.offer(delta(A, 16, 17, 3, [(2.0, 5.0)]))
    stream.offer(delta(B, 16, 17, 4, [(2.0, 5.0)]))  # without the one before
    stream.offer(delta(A, 18, 22, 5, [(3.0, 5.0)]))
    stream.offer(delta(B, 18, 20, 6, [(3.0, 4.0)]))
    stream.offer(delta(B, 21, 24, 7, [(3.0, 6.0)]))
    stream.detach(A.epoch, "closed", at(8))
    assert not log.gaps
    assert stream.proven().bids() == [(3.0, 6.0), (2.0, 5.0), (1.0, 5.0)]


def test_a_line_that_joins_later_takes_over_from_its_own_snapshot_on():
    stream, log = book_of(A)
    stream.offer(delta(A, 11, 15, 2, [(1.0, 5.0)]))
    stream.attach(B, at(3))
    stream.offer(snapshot(B, 13, 4, [(1.0, 4.0)], [(9.0, 1.0)]))
    stream.offer(delta(B, 14, 17, 5, [(1.0, 6.0)]))
    stream.detach(A.epoch, "closed", at(6))
    assert not log.gaps
    assert stream.proven().bids() == [(1.0, 6.0)]


def test_the_only_line_left_costs_no_second_book():
    stream, _ = book_of(A, B)
    for source in (A, B):
        stream.offer(delta(source, 11, 15, 2))
    stream.detach(B.epoch, "closed", at(3))
    stream.tick(at(SECOND))
    assert not stream._cuts
    assert stream._lately is None


def test_a_chain_that_leads_back_makes_old_numbers_worthless():
    stream, log = book_of(A, B)
    stream.offer(delta(A, 11, 105, 2, [(1.0, 5.0)]))
    stream.offer(delta(A, 106, 3, 3, [(1.0, 6.0)]))
    stream.offer(delta(B, 11, 50, 4, [(1.0, 3.0)]))
    stream.detach(A.epoch, "closed", at(5))
    assert not [event for event in log.events if isinstance(event, Resynced)]
    assert stream.proven().bids() == [(1.0, 6.0)]


steps = st.lists(
    st.tuples(st.sampled_from(["make", "send", "send", "send", "open", "lose"]), st.integers(0, 9)),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps)
def test_however_lines_cut_losing_all_but_one_loses_nothing_and_announces_nothing(steps):
    venue, log = Venue(Numbering.CHAIN), Log()
    reader = Reader(venue, CHAIN_BOOK)
    stream = BookCutStream(
        CHAIN_BOOK, lambda e: (log.events.append(e), reader(e)), log.needs.append
    )
    sessions = []  # an origin, how far it has sent, and where it began
    opened = 0

    def open_session():
        nonlocal opened
        source = origin(opened, "book")
        opened += 1
        stream.attach(source, at(0))
        index = 0 if reader.covered is None else venue.numbers.index(reader.covered)
        stream.offer(venue.snapshot(source, index, 0))
        sessions.append([source, index])

    def send(session, size):
        end = min(session[1] + size, venue.newest)
        if end > session[1]:
            stream.offer(venue.delta(session[0], session[1], end, 0))
            session[1] = end

    open_session()
    open_session()
    for verb, n in [*steps, ("make", 9)]:
        session = sessions[n % len(sessions)]
        if verb == "make":
            for _ in range(n):
                venue.change(0)
        elif verb == "send":
            send(session, n)
        elif verb == "open" and len(sessions) < 3:
            open_session()
        elif verb == "lose" and len(sessions) > 1:
            sessions.remove(session)
            stream.detach(session[0].epoch, "closed", at(0))
        assert stream.readable
        book = stream.proven()
        assert (book.bids(), book.asks()) == venue.book_at(reader.covered)
    for session in sessions:
        send(session, 999)
    stream.tick(at(2 * HOLD_NS))
    assert reader.covered == venue.numbers[-1]
    assert not [event for event in log.events if isinstance(event, Gap)]
    assert {e.by for e in log.events if isinstance(e, Resynced)} <= {"line"}
