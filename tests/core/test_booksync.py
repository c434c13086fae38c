from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.worlds import (
    CHAIN_BOOK,
    CHAIN_REST_BOOK,
    MS,
    REST_BOOK,
    SECOND,
    WALL,
    Log,
    Reader,
    Session,
    Venue,
    at,
    delta,
    origin,
    snapshot,
    spec,
    trade,
)

from gapless.core.booksync import ASK_AGAIN_NS, BUFFER_MAX, QUIET_NS
from gapless.core.kinds import stream_for
from gapless.core.sequence import Numbering
from gapless.core.stream import HOLD_NS, REGRESS_NS, SnapshotFrom, Trust
from gapless.errors import NotSynced
from gapless.events import BookDelta, BookSnapshot, Event, Gap, Origin, Resynced

A, B, C = (origin(n, "book") for n in range(3))


def book_of(topic, *sources):
    log = Log()
    stream = stream_for(topic, log.events.append, log.needs.append)
    for source in sources:
        stream.attach(source, at(0))
    return stream, log


def rest(*sources):
    """A book with REST snapshots, loaded as of number 10."""
    stream, log = book_of(REST_BOOK, *sources)
    stream.offer(delta(sources[0], 10, 10, 1, bids=[(9.0, 9.0)]))
    stream.snapshot(snapshot(sources[0], 10, 5, [(1.0, 1.0)], [(2.0, 1.0)]), 2, at(5))
    assert log.kinds == ["BookSnapshot"]
    log.clear()
    return stream, log


def chain(*sources):
    """A book with snapshots in the stream, loaded as of number 10."""
    stream, log = book_of(CHAIN_BOOK, *sources)
    stream.offer(snapshot(sources[0], 10, 5, [(1.0, 1.0)], [(2.0, 1.0)]))
    for source in sources[1:]:
        stream.offer(snapshot(source, 10, 5, [(1.0, 1.0)], [(2.0, 1.0)]))
    assert log.kinds == ["BookSnapshot"]
    log.clear()
    return stream, log


def spans(log):
    return [(e.first, e.last) for e in log.events if isinstance(e, BookDelta)]


# -- a book from the stream -------------------------------------------------------------------


def test_a_book_is_not_readable_before_its_snapshot():
    stream, log = book_of(CHAIN_BOOK)
    with pytest.raises(NotSynced, match="not subscribed yet"):
        stream.proven()
    assert stream.trust is Trust.DOWN
    stream.attach(A, at(0))
    with pytest.raises(NotSynced, match="waiting for a snapshot"):
        stream.proven()
    assert stream.trust is Trust.SYNCING
    assert stream.image(at(1)) is None
    stream.offer(delta(A, 5, 9, 1))
    assert stream.dropped == 1
    assert not log.events
    assert not log.needs  # subscribing is asking


def test_snapshot_and_deltas_make_a_book():
    stream, log = chain(A)
    stream.offer(delta(A, 11, 14, 6, bids=[(1.5, 2.0), (1.0, 0.0)]))
    assert stream.proven().bids() == [(1.5, 2.0)]
    assert (stream.trust, stream.because) == (Trust.LIVE, "")
    assert log.kinds == ["BookDelta"]
    image = stream.image(at(70))
    assert image == BookSnapshot(A, WALL + 70, 70, None, 14, 14, [(1.5, 2.0)], [(2.0, 1.0)])


def test_a_hole_makes_the_book_unreadable_until_gap_snapshot_resynced():
    stream, log = chain(A)
    stream.offer(delta(A, 15, 20, 30))
    assert log.kinds == ["Gap"]
    gap = log.gaps[0]
    assert (gap.first, gap.last, gap.missing) == (11, 14, None)
    assert [(n.kind, n.epoch, n.topic) for n in log.needs] == [("resubscribe", 0, "book.btc")]
    assert stream.trust is Trust.GAPPED
    assert stream.because == "waiting for a snapshot"
    assert not stream.readable
    stream.offer(delta(A, 21, 22, 40))
    assert log.kinds == ["Gap"]
    stream.offer(snapshot(A, 25, 90, [(3.0, 3.0)]))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert (log.events[2].by, log.events[2].blind_ns) == ("snapshot", 60)
    assert stream.proven().bids() == [(3.0, 3.0)]
    assert stream.resyncs == 1


def test_the_delta_that_revealed_the_gap_is_not_applied_unchecked():
    stream, _ = chain(A)
    stream.offer(delta(A, 15, 20, 30, bids=[(7.0, 7.0)]))
    assert (7.0, 7.0) not in stream.book.bids()
    stream.offer(snapshot(A, 17, 40, [(3.0, 3.0)]))
    assert stream.proven().bids() == [(3.0, 3.0)]


def test_a_snapshot_from_inside_the_announced_hole_does_not_heal_it():
    stream, log = chain(A, B)
    stream.offer(delta(A, 15, 20, 30))
    stream.offer(delta(B, 16, 20, 31))
    stream.offer(snapshot(B, 12, 40))
    assert log.kinds == ["Gap"]
    assert not stream.readable
    stream.offer(snapshot(A, 14, 41))  # exactly where the hole ends
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]


def test_an_overlap_on_a_chain_is_a_hole():
    stream, log = chain(A)
    stream.offer(delta(A, 9, 20, 30))
    assert log.kinds == ["Gap"]
    assert (log.gaps[0].first, log.gaps[0].last) == (11, 20)
    assert not stream.readable


def test_a_repeated_delta_is_not_delivered_while_the_book_is_broken():
    """The number that a broken book waits for must not open the fast path."""
    stream, log = chain(A)
    stream.offer(delta(A, 15, 20, 30))
    stream.offer(delta(A, 15, 20, 31))
    stream.offer(delta(A, 15, 20, 32))
    stream.offer(delta(A, 21, 25, 33))
    assert log.kinds == ["Gap"]
    assert stream.delivered == 1


def test_the_line_behind_does_not_bring_deltas_into_a_broken_book():
    stream, log = chain(A, B)
    stream.offer(delta(A, 15, 20, 30))
    stream.tick(at(30 + HOLD_NS))
    assert log.kinds == ["Gap"]
    stream.offer(delta(B, 15, 20, HOLD_NS + 40))
    stream.offer(delta(B, 21, 25, HOLD_NS + 41))
    assert log.kinds == ["Gap"]
    stream.offer(snapshot(A, 30, HOLD_NS + 50))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]


def test_a_snapshot_nobody_asked_for_is_announced():
    stream, log = chain(A)
    stream.offer(snapshot(A, 30, 40, [(3.0, 3.0)]))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    gap = log.gaps[0]
    assert (gap.first, gap.last, gap.cause) == (11, 30, "the venue sent a new snapshot")
    assert log.events[2].blind_ns == 0


def test_a_snapshot_of_what_we_have_is_a_duplicate():
    stream, log = chain(A)
    stream.offer(snapshot(A, 10, 40, [(1.0, 1.0)], [(2.0, 1.0)]))
    assert not log.events
    assert stream.duplicates == 1


def test_a_snapshot_from_a_line_that_is_behind_is_dropped():
    stream, log = chain(A)
    stream.offer(snapshot(B, 7, 40, [(5.0, 5.0)]))
    assert not log.events
    assert stream.duplicates == 1
    assert stream.proven().bids() == [(1.0, 1.0)]


def test_a_snapshot_without_a_number_is_dropped():
    stream, log = chain(A)
    stream.offer(snapshot(A, None, 40))
    assert not log.events
    assert stream.dropped == 1


def test_what_is_not_a_book_message_is_dropped():
    stream, log = chain(A)
    stream.offer(trade(A, 11, 11, 6))
    assert not log.events
    assert stream.dropped == 1
    assert stream.readable


@pytest.mark.parametrize("behind", [0, 1, 5])
def test_the_snapshot_of_a_line_that_joins_disturbs_nobody(behind):
    """Make before break: the new session is ahead, the old one still brings the rest."""
    stream, log = chain(A)
    stream.attach(B, at(10))
    number = 11 + behind
    stream.offer(snapshot(B, number, 20, [(3.0, 3.0)]))
    stream.offer(delta(B, number + 1, number + 1, 21))
    assert not log.events
    for n in range(11, number + 1):
        stream.offer(delta(A, n, n, 22))
    assert log.kinds == ["BookDelta"] * (behind + 2)
    stream.detach(A.epoch, "planned", at(30))
    stream.offer(delta(B, number + 2, number + 2, 31))
    assert log.kinds == ["BookDelta"] * (behind + 3)
    assert stream.readable


def test_a_held_snapshot_is_loaded_with_a_gap_when_nobody_fills_the_hole():
    stream, log = chain(A)
    stream.attach(B, at(10))
    stream.offer(snapshot(B, 15, 20, [(3.0, 3.0)]))
    stream.offer(delta(B, 16, 16, 21))
    stream.tick(at(20 + HOLD_NS))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced", "BookDelta"]
    assert (log.gaps[0].first, log.gaps[0].last) == (11, 15)
    assert stream.proven().bids() == [(3.0, 3.0)]


def test_a_held_snapshot_that_was_overtaken_is_a_duplicate():
    stream, log = chain(A)
    stream.attach(B, at(10))
    stream.offer(snapshot(B, 15, 20))
    stream.offer(delta(A, 11, 18, 20))
    assert log.kinds == ["BookDelta"]
    assert stream.duplicates == 1


def test_a_snapshot_ahead_breaks_the_wait_once_everyone_has_passed_the_hole():
    stream, log = chain(A, B)
    stream.offer(delta(B, 15, 20, 20))
    stream.offer(snapshot(A, 30, 21, [(3.0, 3.0)]))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    stream.offer(delta(A, 31, 31, 22))
    assert log.kinds[-1] == "BookDelta"


def test_a_resubscribe_is_never_asked_of_a_session_that_is_gone():
    stream, log = chain(A, B)
    stream.offer(delta(A, 15, 20, 20))
    stream.detach(A.epoch, "closed", at(21))
    stream.offer(delta(B, 17, 22, 22))
    assert log.kinds == ["Gap"]
    assert [need.epoch for need in log.needs] == [B.epoch]


def test_what_waits_beside_a_hole_is_taken_in_order_after_it():
    stream, log = chain(A, B)
    stream.offer(delta(B, 20, 24, 20))
    stream.offer(delta(B, 31, 35, 20))
    stream.offer(snapshot(A, 30, 21))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced", "BookDelta"]
    assert spans(log) == [(31, 35)]


# -- blindness --------------------------------------------------------------------------------


def test_a_blind_book_is_kept_and_not_readable_and_ids_prove_it():
    stream, log = chain(A)
    stream.suspect(A.epoch, "silent", at(100))
    assert stream.trust is Trust.BLIND
    with pytest.raises(NotSynced, match=r"no trusted connection \(silent\)"):
        stream.proven()
    stream.offer(delta(A, 11, 12, 105))
    assert log.kinds == ["Resynced", "BookDelta"]
    assert (log.events[0].by, log.events[0].blind_ns) == ("ids", 100)
    assert stream.readable


def test_a_snapshot_of_what_we_have_proves_a_blind_book():
    stream, log = chain(A)
    stream.detach(A.epoch, "closed", at(100))
    stream.attach(B, at(110))
    assert not stream.readable
    stream.offer(snapshot(B, 10, 205, [(1.0, 1.0)], [(2.0, 1.0)]))
    assert log.kinds == ["Resynced"]
    assert (log.events[0].by, log.events[0].blind_ns) == ("ids", 200)
    assert stream.readable


def test_a_reconnect_on_one_line_is_one_gap_one_snapshot_one_resync():
    stream, log = chain(A)
    stream.detach(A.epoch, "closed with 1006", at(100))
    stream.attach(B, at(110))
    stream.offer(snapshot(B, 30, 205, [(3.0, 3.0)]))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert (log.gaps[0].first, log.gaps[0].last) == (11, 30)
    assert log.gaps[0].cause == "closed with 1006"
    assert log.events[2].blind_ns == 200
    assert stream.readable


def test_a_book_that_breaks_and_then_goes_blind_was_untrusted_all_the_time():
    stream, log = chain(A)
    stream.offer(delta(A, 15, 20, 1000))
    stream.detach(A.epoch, "closed", at(2000))
    stream.attach(B, at(2100))
    stream.offer(snapshot(B, 30, 3000))
    assert log.kinds[0] == "Gap"
    assert log.kinds[-2:] == ["BookSnapshot", "Resynced"]
    assert log.events[-1].blind_ns >= 2000
    assert stream.readable


def test_a_book_that_was_blind_before_its_first_snapshot_names_the_interval():
    stream, log = book_of(CHAIN_BOOK, A)
    stream.detach(A.epoch, "closed", at(5))
    stream.attach(B, at(10))
    stream.offer(snapshot(B, 10, 20))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert (log.gaps[0].first, log.gaps[0].last) == (None, None)
    assert log.gaps[0].since_ns == WALL
    assert log.events[2].blind_ns == 15


def test_what_is_held_when_the_last_line_is_lost_breaks_the_book_and_asks_again_later():
    stream, log = chain(A, B)
    stream.offer(delta(A, 15, 20, 20))
    stream.detach(A.epoch, "closed", at(21))
    stream.detach(B.epoch, "closed too", at(22))
    assert log.kinds == ["Gap"]
    assert stream.trust is Trust.BLIND
    stream.attach(C, at(30))
    stream.offer(snapshot(C, 40, 40))
    assert log.kinds[-2:] == ["BookSnapshot", "Resynced"]
    assert stream.readable


# -- a venue that numbers anew ------------------------------------------------------------------


def test_a_snapshot_with_an_old_number_and_a_new_time_is_a_new_numbering():
    stream, log = book_of(CHAIN_BOOK, A)
    stream.offer(snapshot(A, 900, 0, [(1.0, 1.0)], made_ns=0))
    stream.offer(snapshot(A, 5, 9 * SECOND, [(2.0, 2.0)], made_ns=REGRESS_NS + 1))
    assert log.kinds == ["BookSnapshot", "Gap", "BookSnapshot", "Resynced"]
    assert (log.gaps[0].first, log.gaps[0].cause) == (None, "the venue numbers anew")
    assert stream.proven().bids() == [(2.0, 2.0)]


def test_a_snapshot_with_a_new_numbering_heals_a_broken_book():
    stream, log = book_of(CHAIN_BOOK, A)
    stream.offer(snapshot(A, 900, 0, made_ns=0))
    stream.offer(delta(A, 950, 950, 1, made_ns=1))
    stream.offer(snapshot(A, 5, 9 * SECOND, [(2.0, 2.0)], made_ns=REGRESS_NS + 1))
    assert log.kinds[-2:] == ["BookSnapshot", "Resynced"]
    assert stream.proven().bids() == [(2.0, 2.0)]


def test_a_delta_with_a_new_numbering_breaks_the_book():
    stream, log = book_of(REST_BOOK, A)
    stream.snapshot(snapshot(A, 900, 0, made_ns=0), 0, at(0))
    stream.tick(at(QUIET_NS))
    stream.offer(delta(A, 901, 901, QUIET_NS, made_ns=0))
    log.clear()
    stream.offer(delta(A, 5, 6, 9 * SECOND, [(2.0, 2.0)], made_ns=9 * SECOND))
    assert log.kinds == ["Gap"]
    assert log.gaps[0].cause == "the venue numbers anew"
    assert log.needs[-1].cause == "the venue numbers anew"
    assert stream.trust is Trust.GAPPED
    stream.snapshot(snapshot(A, 5, 9 * SECOND + 9), 9 * SECOND + 1, at(9 * SECOND + 9))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced", "BookDelta"]
    assert stream.proven().bids() == [(2.0, 2.0)]


def test_a_new_numbering_heals_even_a_book_that_was_broken_before():
    stream, log = rest(A)
    stream.offer(delta(A, 11, 900, 6, made_ns=0))
    stream.offer(delta(A, 950, 951, 7, made_ns=1))
    assert log.kinds == ["BookDelta", "Gap"]
    late_ns = 9 * SECOND
    stream.offer(delta(A, 5, 6, late_ns, [(2.0, 2.0)], made_ns=late_ns))
    stream.snapshot(snapshot(A, 5, late_ns + 9), late_ns + 1, at(late_ns + 9))
    assert stream.readable
    assert log.kinds[-3:] == ["BookSnapshot", "Resynced", "BookDelta"]


# -- a book with snapshots by request -----------------------------------------------------------


def test_a_subscription_asks_for_a_snapshot_and_buffers_the_deltas():
    stream, log = book_of(REST_BOOK, A)
    assert [(n.kind, n.topic, n.cause) for n in log.needs] == [
        ("snapshot", "book.btc", "subscribed")
    ]
    stream.offer(delta(A, 8, 9, 1, [(8.0, 8.0)]))
    stream.offer(delta(A, 10, 12, 2, [(7.0, 7.0)]))
    stream.offer(delta(A, 13, 13, 3, [(6.0, 6.0)]))
    assert not log.events
    stream.snapshot(snapshot(A, 10, 5, [(1.0, 1.0)]), 1, at(5))
    assert log.kinds == ["BookSnapshot", "BookDelta", "BookDelta"]
    assert spans(log) == [(11, 12), (13, 13)]
    assert stream.duplicates == 1
    assert stream.proven().bids() == [(7.0, 7.0), (6.0, 6.0), (1.0, 1.0)]


def test_a_book_whose_data_come_before_the_ack_asks_for_its_snapshot_with_the_ack():
    stream, log = book_of(REST_BOOK)
    stream.offer(delta(A, 8, 9, 1))
    stream.attach(A, at(2))
    assert [need.kind for need in log.needs] == ["snapshot"]
    stream.snapshot(snapshot(A, 9, 5), 3, at(5))
    assert stream.readable


def test_a_snapshot_older_than_the_deltas_is_asked_for_again():
    stream, log = book_of(REST_BOOK, A)
    stream.offer(delta(A, 10, 10, 1))
    stream.snapshot(snapshot(A, 8, 5), 1, at(5))
    assert not log.events
    assert stream.stale_snapshots == 1
    assert [need.kind for need in log.needs] == ["snapshot", "snapshot"]
    stream.snapshot(snapshot(A, 10, 6), 5, at(6))
    assert log.kinds == ["BookSnapshot"]


def test_a_snapshot_asked_for_before_the_subscription_proves_nothing():
    stream, log = book_of(REST_BOOK)
    stream.attach(A, at(100))
    stream.offer(delta(A, 10, 10, 101))
    stream.snapshot(snapshot(A, 10, 105), 99, at(105))
    assert not log.events
    assert log.needs[-1].cause == "the snapshot is older than the subscription"
    stream.snapshot(snapshot(A, 10, 106), 100, at(106))
    assert stream.readable


def test_a_snapshot_without_a_trusted_source_is_dropped():
    stream, log = book_of(REST_BOOK, A)
    stream.suspect(A.epoch, "silent", at(1))
    log.clear()
    stream.snapshot(snapshot(A, 10, 5), 2, at(5))
    stream.tick(at(QUIET_NS + 5))
    assert not log.events


def test_a_snapshot_without_a_number_is_dropped_by_request_too():
    stream, log = book_of(REST_BOOK, A)
    stream.snapshot(snapshot(A, None, 5), 2, at(5))
    stream.tick(at(QUIET_NS + 5))
    assert not log.events
    assert not stream.readable


def test_a_snapshot_for_a_book_that_is_proven_meanwhile_is_dropped():
    stream, log = rest(A)
    stream.snapshot(snapshot(A, 50, 9), 8, at(9))
    assert not log.events
    assert stream.proven().bids() == [(1.0, 1.0)]


def test_the_snapshot_of_a_quiet_book_is_trusted_after_a_second_exactly():
    stream, log = book_of(REST_BOOK, A)
    stream.snapshot(snapshot(A, 10, 5), 2, at(5))
    stream.tick(at(QUIET_NS + 4))
    assert not stream.readable
    stream.tick(at(QUIET_NS + 5))
    assert log.kinds == ["BookSnapshot"]
    stream.offer(delta(A, 11, 11, QUIET_NS + 6))
    assert log.kinds == ["BookSnapshot", "BookDelta"]


def test_a_hole_between_snapshot_and_first_delta_is_found():
    stream, log = book_of(REST_BOOK, A)
    stream.snapshot(snapshot(A, 10, 5), 2, at(5))
    stream.tick(at(QUIET_NS + 5))
    stream.offer(delta(A, 13, 13, QUIET_NS + 6))
    assert log.kinds == ["BookSnapshot", "Gap"]
    assert (log.gaps[0].first, log.gaps[0].last, log.gaps[0].missing) == (11, 12, 2)
    assert not stream.readable


def test_a_hole_among_the_buffered_deltas_is_found():
    stream, log = book_of(REST_BOOK, A)
    stream.offer(delta(A, 10, 10, 1))
    stream.offer(delta(A, 14, 14, 2))
    stream.snapshot(snapshot(A, 10, 5), 2, at(5))
    assert log.kinds == ["BookSnapshot", "Gap"]
    assert not stream.readable
    assert log.needs[-1].cause == "numbers are missing"
    stream.snapshot(snapshot(A, 15, 8), 7, at(8))
    assert log.kinds == ["BookSnapshot", "Gap", "BookSnapshot", "Resynced"]


def test_the_delta_that_revealed_a_gap_waits_for_the_snapshot_and_is_checked_again():
    stream, log = rest(A)
    stream.offer(delta(A, 14, 15, 30, [(5.0, 5.0)]))
    stream.offer(delta(A, 16, 16, 31, [(6.0, 6.0)]))
    assert log.kinds == ["Gap"]
    assert (log.gaps[0].first, log.gaps[0].last, log.gaps[0].missing) == (11, 13, 3)
    stream.snapshot(snapshot(A, 14, 60, [(3.0, 3.0)]), 40, at(60))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced", "BookDelta", "BookDelta"]
    assert spans(log) == [(15, 15), (16, 16)]
    assert stream.proven().bids() == [(6.0, 6.0), (5.0, 5.0), (3.0, 3.0)]


def test_buffered_deltas_of_two_lines_are_sorted_before_they_are_applied():
    stream, log = book_of(REST_BOOK, A, B)
    for source, n in ((A, 10), (A, 11), (B, 9), (B, 10), (A, 12), (B, 11)):
        stream.offer(delta(source, n, n, n))
    stream.snapshot(snapshot(A, 9, 15), 2, at(15))
    assert spans(log) == [(10, 10), (11, 11), (12, 12)]
    assert not log.gaps


def test_buffered_deltas_that_came_out_of_order_are_sorted_before_they_are_checked():
    stream, log = book_of(REST_BOOK, A)
    for n in (12, 10, 11):
        stream.offer(delta(A, n, n, 1))
    stream.snapshot(snapshot(A, 10, 15), 2, at(15))
    assert spans(log) == [(11, 11), (12, 12)]
    assert not log.gaps


def test_a_snapshot_that_waits_is_forgotten_when_the_last_line_is_lost():
    stream, log = book_of(REST_BOOK, A)
    stream.snapshot(snapshot(A, 10, 5), 2, at(5))
    stream.detach(A.epoch, "closed", at(6))
    stream.tick(at(QUIET_NS + 5))
    assert not log.events
    assert not stream.readable


def test_a_held_delta_that_was_overtaken_in_part_is_trimmed():
    stream, log = rest(A, B)
    stream.offer(delta(A, 13, 15, 20, [(5.0, 5.0)]))
    stream.offer(delta(B, 11, 13, 21, [(4.0, 4.0)]))
    assert spans(log) == [(11, 13), (14, 15)]
    assert stream.proven().bids() == [(5.0, 5.0), (4.0, 4.0), (1.0, 1.0)]


def test_no_more_deltas_than_the_bound_are_buffered_and_the_oldest_go_first():
    stream, log = book_of(REST_BOOK, A)
    for n in range(BUFFER_MAX + 2):
        stream.offer(delta(A, n, n, 1))
    assert stream.dropped == 2
    stream.snapshot(snapshot(A, 0, 5), 2, at(5))  # 2 is the oldest left: 1 would be unseen
    assert stream.stale_snapshots == 1
    stream.snapshot(snapshot(A, 1, 6), 3, at(6))
    assert stream.readable
    assert len(log.events) == BUFFER_MAX + 1


def test_a_chain_that_another_line_cuts_at_other_places_is_no_hole():
    stream, log = chain(A)
    number = stream.newest.last
    stream.attach(B, at(300))
    stream.offer(delta(A, number + 1, number + 8, 301))
    stream.offer(delta(B, number + 1, number + 5, 302))
    stream.offer(delta(B, number + 6, number + 10, 303))
    assert log.kinds == ["BookDelta"]
    stream.offer(delta(A, number + 9, number + 10, 304))
    assert log.kinds == ["BookDelta", "BookDelta"]
    assert stream.readable


def test_a_chain_cut_elsewhere_does_not_carry_on_alone():
    """What changed and changed back between two cuts may stand in neither message."""
    stream, log = chain(A)
    stream.attach(B, at(300))
    stream.offer(delta(A, 11, 18, 301, [(7.0, 7.0)]))
    stream.offer(delta(B, 11, 15, 302))
    stream.detach(A.epoch, "closed", at(303))
    stream.offer(delta(B, 16, 20, 304))
    assert log.kinds == ["BookDelta", "Gap"]
    assert not stream.readable


def test_a_snapshot_that_ends_where_the_first_delta_begins_leaves_nothing_out():
    stream, log = book_of(REST_BOOK, A)
    stream.offer(delta(A, 101, 105, 1))
    stream.snapshot(snapshot(A, 100, 5), 2, at(5))
    assert stream.readable
    assert [(event.first, event.last) for event in log.events] == [(100, 100), (101, 105)]


def test_a_snapshot_of_what_we_have_proves_a_blind_book_by_request_too():
    stream, log = rest(A)
    stream.detach(A.epoch, "closed", at(100))
    stream.attach(B, at(110))
    stream.snapshot(snapshot(B, 10, 205, [(1.0, 1.0)], [(2.0, 1.0)]), 111, at(205))
    assert log.kinds == ["Resynced"]
    assert log.events[0].by == "ids"
    assert stream.readable


def test_a_newer_snapshot_after_blindness_waits_for_a_delta_and_is_one_gap_one_resync():
    stream, log = rest(A)
    stream.detach(A.epoch, "closed", at(100))
    stream.attach(B, at(110))
    stream.snapshot(snapshot(B, 16, 205, [(4.0, 4.0)]), 111, at(205))
    assert not log.events
    stream.offer(delta(B, 16, 17, 210))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced", "BookDelta"]
    assert (log.gaps[0].first, log.gaps[0].last, log.gaps[0].cause) == (11, 15, "closed")


def test_the_newer_snapshot_of_a_quiet_book_after_blindness_is_one_gap_one_resync():
    stream, log = rest(A)
    stream.detach(A.epoch, "closed", at(100))
    stream.attach(B, at(110))
    stream.snapshot(snapshot(B, 15, 205, [(4.0, 4.0)]), 111, at(205))
    stream.tick(at(205 + QUIET_NS))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert (log.gaps[0].first, log.gaps[0].last, log.gaps[0].missing) == (11, 15, 5)
    assert stream.readable


def test_a_snapshot_that_waits_is_forgotten_when_the_numbers_prove_the_book():
    stream, log = rest(A)
    stream.suspect(A.epoch, "silent", at(100))
    stream.attach(B, at(110))
    stream.snapshot(snapshot(B, 15, 205, [(4.0, 4.0)]), 111, at(205))
    stream.offer(delta(B, 11, 12, 210))
    assert log.kinds == ["Resynced", "BookDelta"]
    stream.tick(at(205 + QUIET_NS))
    stream.offer(delta(B, 13, 13, 206 + QUIET_NS))
    assert log.kinds == ["Resynced", "BookDelta", "BookDelta"]
    assert stream.stale_snapshots == 0


def test_a_stale_snapshot_never_takes_the_book_back():
    stream, log = rest(A)
    stream.offer(delta(A, 11, 20, 6))
    stream.offer(delta(A, 30, 30, 7))
    log.clear()
    stream.snapshot(snapshot(A, 15, 9), 8, at(9))
    assert not log.events
    assert stream.stale_snapshots == 1


def test_a_stale_snapshot_never_takes_the_book_back_though_nothing_is_buffered():
    stream, log = rest(A)
    stream.offer(delta(A, 30, 30, 7))
    stream.detach(A.epoch, "closed", at(8))
    stream.attach(B, at(9))
    log.clear()
    stream.snapshot(snapshot(B, 15, 11), 10, at(11))
    stream.tick(at(QUIET_NS + 11))
    assert not log.events
    assert stream.stale_snapshots == 1
    assert log.needs[-1].cause == "the snapshot is older than the deltas"


# -- a chain with snapshots by request ----------------------------------------------------------
#
# Binance, "How to manage a local order book correctly" (USDⓈ-M futures): drop any event where u is
# < lastUpdateId in the snapshot; the first processed event should have U <= lastUpdateId AND u >=
# lastUpdateId; each new event's pu should be equal to the previous event's u, otherwise initialise
# the process from the snapshot again.


def changes_of(*pairs):
    """Messages as a chain has them, from pairs of ``pu`` and ``u``; the bid size is ``u``."""
    return [delta(A, pu + 1, u, u, [(1.0, float(u))]) for pu, u in pairs]


@pytest.mark.parametrize(
    ("number", "applied"),
    [
        (100, [110, 120, 130]),  # where the chain begins, which leaves nothing out
        (105, [110, 120, 130]),  # inside the first: it is processed whole
        (110, [120, 130]),  # at its very end: it brings nothing
        (111, [120, 130]),  # between the end of one and the first id of the next
        (119, [120, 130]),
        (120, [130]),
        (130, []),
    ],
)
def test_the_first_change_after_a_snapshot_is_the_one_that_contains_its_number(number, applied):
    stream, log = book_of(CHAIN_REST_BOOK, A)
    for event in changes_of((100, 110), (110, 120), (120, 130)):
        stream.offer(event)
    stream.snapshot(snapshot(A, number, 200, [(1.0, 5.0), (0.5, 1.0)]), 2, at(200))
    assert log.kinds == ["BookSnapshot"] + ["BookDelta"] * len(applied)
    assert [event.last for event in log.events[1:]] == applied
    assert stream.proven().bids() == [(1.0, float(applied[-1]) if applied else 5.0), (0.5, 1.0)]
    stream.offer(changes_of((130, 150))[0])
    assert stream.readable
    assert not log.gaps


def test_a_snapshot_older_than_the_chain_is_asked_for_again():
    stream, log = book_of(CHAIN_REST_BOOK, A)
    stream.offer(changes_of((100, 110))[0])
    stream.snapshot(snapshot(A, 99, 200), 2, at(200))
    assert not log.events
    assert stream.stale_snapshots == 1
    assert log.needs[-1].cause == "the snapshot is older than the deltas"


def test_a_snapshot_newer_than_all_waits_for_the_change_that_contains_it():
    stream, log = book_of(CHAIN_REST_BOOK, A)
    stream.offer(changes_of((100, 110))[0])
    stream.snapshot(snapshot(A, 135, 200), 2, at(200))
    for event in changes_of((110, 120), (120, 130), (130, 140), (140, 150)):
        stream.offer(event)
    assert not log.gaps
    assert [event.last for event in log.events] == [135, 140, 150]
    assert stream.duplicates == 3


def test_only_one_change_may_begin_before_the_snapshot():
    stream, log = book_of(CHAIN_REST_BOOK, A)
    stream.snapshot(snapshot(A, 105, 1), 0, at(1))
    stream.offer(changes_of((100, 110))[0])
    stream.offer(changes_of((105, 120))[0])  # its pu is not the u before it
    assert log.kinds == ["BookSnapshot", "BookDelta", "Gap"]
    assert not stream.readable
    assert log.needs[-1].kind == "snapshot"


def test_a_change_that_follows_the_snapshot_exactly_is_the_only_one_that_may():
    stream, log = book_of(CHAIN_REST_BOOK, A)
    stream.offer(changes_of((90, 105))[0])
    stream.snapshot(snapshot(A, 105, 106), 0, at(106))
    stream.offer(changes_of((105, 110))[0])
    stream.offer(changes_of((107, 120))[0])
    assert log.kinds == ["BookSnapshot", "BookDelta", "Gap"]


def test_the_snapshot_of_a_quiet_chain_is_trusted_and_the_next_change_may_contain_it():
    stream, log = book_of(CHAIN_REST_BOOK, A)
    stream.snapshot(snapshot(A, 105, 5), 2, at(5))
    stream.tick(at(5 + QUIET_NS))
    assert stream.readable
    stream.offer(changes_of((100, 110))[0])
    assert log.kinds == ["BookSnapshot", "BookDelta"]


def test_a_change_lost_after_the_snapshot_of_a_quiet_chain_is_found():
    stream, log = book_of(CHAIN_REST_BOOK, A)
    stream.snapshot(snapshot(A, 105, 5), 2, at(5))
    stream.tick(at(5 + QUIET_NS))
    stream.offer(changes_of((110, 120))[0])
    assert log.kinds == ["BookSnapshot", "Gap"]
    assert (log.gaps[0].first, log.gaps[0].last) == (106, 110)


def test_a_line_that_cuts_the_chain_elsewhere_carries_on_when_the_other_is_lost():
    stream, log = book_of(CHAIN_REST_BOOK, A, B)
    stream.offer(delta(A, 101, 105, 1, [(1.0, 105.0)]))
    stream.offer(delta(B, 101, 103, 1, [(1.0, 103.0)]))
    stream.snapshot(snapshot(A, 100, 5), 2, at(5))
    stream.detach(A.epoch, "closed", at(6))
    stream.offer(delta(B, 104, 108, 7, [(1.0, 108.0)]))
    stream.offer(delta(B, 109, 112, 8, [(1.0, 112.0)]))
    assert [(event.first, event.last) for event in log.events[1:]] == [
        (101, 105),
        (106, 108),
        (109, 112),
    ]
    assert stream.readable
    assert stream.proven().bids() == [(1.0, 112.0)]


cuts = st.lists(st.integers(1, 12), min_size=1, max_size=20)


@settings(max_examples=300, deadline=None)
@given(sizes=cuts, back=st.integers(0, 30), early=st.integers(0, 20), skip=st.integers(0, 5))
def test_any_split_of_a_chain_meets_any_snapshot_without_a_gap(sizes, back, early, skip):
    """Changes are numbers; each sets its own level, and one that all of them share."""
    top = sum(sizes)
    number = max(0, top - back)
    levels = {n: [(float(n), 1.0), (0.5, float(n))] for n in range(1, top + skip + 2)}

    def book(last):
        shared = [(0.5, float(last))] if last else []
        return [*((float(n), 1.0) for n in range(last, 0, -1)), *shared]

    stream, log = book_of(CHAIN_REST_BOOK, A)
    messages, end = [], 0
    for size in sizes:
        bids = dict(level for n in range(end + 1, end + size + 1) for level in levels[n])
        messages.append(delta(A, end + 1, end + size, end, list(bids.items())))
        end += size
    early = min(early, len(messages))
    missed = next((i for i, m in enumerate(messages) if m.last > number), len(messages))
    for message in messages[min(early, missed) :]:
        stream.offer(message)
    stream.snapshot(snapshot(A, number, 99, book(number)), 2, at(99))
    stream.tick(at(99 + QUIET_NS))
    assert stream.readable
    assert not log.gaps
    assert stream.proven().bids() == book(max(top, number))
    nothing_new = delta(A, end + 1, end + 1 + skip, 100, levels[end + 1])
    stream.offer(nothing_new)
    assert not log.gaps


# -- a chain that leads back, and changes of nothing ---------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
def test_a_change_of_nothing_is_next_and_changes_nothing(fast):
    stream, log = chain(A)
    if not fast:
        stream.suspect(A.epoch, "silent", at(6))
    for now_ns in (7, 8):  # a venue may say so again and again
        stream.offer(delta(A, 11, 10, now_ns))
    stream.offer(delta(A, 11, 12, 9, [(1.0, 2.0)]))
    assert log.kinds == [*["Resynced"][: not fast], "BookDelta", "BookDelta", "BookDelta"]
    assert not log.gaps
    assert stream.proven().bids() == [(1.0, 2.0)]


def test_a_change_of_nothing_after_a_hole_reveals_it():
    stream, log = chain(A)
    stream.offer(delta(A, 15, 14, 7))
    assert log.kinds == ["Gap"]
    assert (log.gaps[0].first, log.gaps[0].last) == (11, 14)


def test_of_two_lines_that_say_that_nothing_has_changed_one_is_heard():
    stream, log = chain(A, B)
    for now_ns in (7, 60):
        stream.offer(delta(A, 11, 10, now_ns))
        stream.offer(delta(B, 11, 10, now_ns + 1))
    assert log.kinds == ["BookDelta", "BookDelta"]
    assert stream.duplicates == 3  # B's snapshot was one
    assert stream.last_seen_ns(B.epoch) == 61


def test_a_change_of_nothing_proves_a_blind_book_whoever_brings_it():
    stream, log = chain(A)
    stream.offer(delta(A, 11, 10, 7))
    stream.detach(A.epoch, "closed", at(8))
    stream.attach(B, at(9))
    stream.offer(delta(B, 11, 10, 10))
    assert log.kinds == ["BookDelta", "Resynced", "BookDelta"]
    assert stream.readable


@pytest.mark.parametrize("fast", [True, False])
def test_a_chain_that_leads_back_is_followed_without_a_gap(fast):
    """As OKX documents it: prevSeqId 100, seqId 15, then on from 15."""
    stream, log = book_of(CHAIN_BOOK, A)
    stream.offer(snapshot(A, 100, 5, [(1.0, 1.0)]))
    if not fast:
        stream.suspect(A.epoch, "silent", at(6))
    stream.offer(delta(A, 101, 15, 7, [(1.0, 2.0)]))
    stream.offer(delta(A, 16, 20, 8, [(1.0, 3.0)]))
    stream.offer(delta(A, 21, 300, 9, [(1.0, 4.0)]))
    assert not log.gaps
    assert stream.delivered == 4
    assert stream.proven().bids() == [(1.0, 4.0)]


def led_back(*sources):
    """A chain that was at 100 and leads back to 15."""
    stream, log = book_of(CHAIN_BOOK, *sources)
    for source in sources:
        stream.offer(snapshot(source, 95, 5, [(1.0, 1.0)]))
    messages = [(96, 98), (99, 100), (101, 15), (16, 20), (21, 30)]
    log.clear()
    return stream, log, [lambda s, t, m=m: delta(s, *m, t, [(1.0, float(m[1]))]) for m in messages]


@pytest.mark.parametrize("lag", [0, 1, 2, 3])
def test_two_lines_are_led_back_one_after_the_other_without_a_gap(lag):
    stream, log, messages = led_back(A, B)
    for n in range(len(messages) + lag):
        if n < len(messages):
            stream.offer(messages[n](A, 10 + n))
        if n >= lag:
            stream.offer(messages[n - lag](B, 10 + n))
    stream.tick(at(20 + HOLD_NS))
    assert log.kinds == ["BookDelta"] * 5
    stream.detach(A.epoch, "closed", at(21 + HOLD_NS))
    stream.offer(delta(B, 31, 40, 22 + HOLD_NS))
    assert log.kinds == ["BookDelta"] * 6
    assert stream.readable


def test_old_numbers_are_new_ones_again_after_the_hold():
    stream, log, messages = led_back(A, B)
    for n, make in enumerate(messages):
        stream.offer(make(A, 10 + n))
        stream.offer(make(B, 10 + n))
    stream.attach(C, at(15))
    stream.offer(delta(C, 40, 50, 16))
    assert stream.duplicates == 7  # of the old numbering, for all that is known
    stream.tick(at(11 + HOLD_NS))
    stream.tick(at(12 + HOLD_NS))
    stream.offer(delta(C, 40, 50, 13 + HOLD_NS))
    stream.offer(delta(A, 40, 50, 13 + HOLD_NS))
    assert not log.gaps
    stream.offer(delta(B, 40, 50, 13 + HOLD_NS))
    assert [(g.first, g.last) for g in log.gaps] == [(31, 39)]


def test_a_line_that_leads_back_long_after_the_other_says_nothing_new():
    stream, log, messages = led_back(A, B)
    for n in (0, 1, 2, 3):
        stream.offer(messages[n](A, 10 + n))
    stream.tick(at(12 + HOLD_NS))
    stream.offer(messages[2](B, 13 + HOLD_NS))
    stream.tick(at(14 + 2 * HOLD_NS))
    assert not log.gaps
    assert stream.proven().bids() == [(1.0, 20.0)]


def test_a_line_that_has_led_back_may_be_the_first_to_bring_what_follows():
    stream, log, messages = led_back(A, B)
    for n in (0, 1, 2):
        stream.offer(messages[n](A, 10 + n))
        stream.offer(messages[n](B, 10 + n))
    stream.offer(messages[3](B, 13))
    stream.offer(messages[4](B, 14))
    assert log.kinds == ["BookDelta"] * 5


def test_a_snapshot_of_the_old_numbering_never_takes_the_book_back():
    stream, log, messages = led_back(A)
    for n in (0, 1, 2):
        stream.offer(messages[n](A, 10 + n))
    stream.attach(B, at(9))
    stream.offer(snapshot(B, 98, 14, [(9.0, 9.0)]))
    stream.offer(messages[3](A, 15))
    stream.tick(at(20 + HOLD_NS))
    assert log.kinds == ["BookDelta"] * 4
    assert stream.proven().bids() == [(1.0, 20.0)]


@pytest.mark.parametrize(("lost", "gap"), [(1, (99, 100)), (3, (16, 20))])
def test_a_message_lost_right_beside_the_way_back_is_announced(lost, gap):
    stream, log, messages = led_back(A)
    for n, make in enumerate(messages):
        if n != lost:
            stream.offer(make(A, 10 + n))
    assert log.kinds[-1] == "Gap"
    assert [(g.first, g.last) for g in log.gaps] == [gap]
    assert [need.kind for need in log.needs] == ["resubscribe"]
    stream.offer(snapshot(A, 30, 40, [(3.0, 3.0)]))
    assert stream.proven().bids() == [(3.0, 3.0)]
    stream.offer(delta(A, 31, 33, 41))
    assert stream.readable


def test_the_way_back_itself_lost_is_announced_once_the_times_tell():
    stream, log, messages = led_back(A)
    for n in (0, 1):
        stream.offer(msgspec.structs.replace(messages[n](A, 10 + n), event_ns=WALL))
    for second in range(8):
        event = delta(A, 16 + second, 16 + second, second * SECOND, made_ns=second * SECOND)
        stream.offer(event)
    assert [gap.cause for gap in log.gaps] == ["the venue numbers anew"]
    assert log.gaps[0].until_ns == WALL + 1 * SECOND, "the first with a later time"
    assert not stream.readable


def test_a_session_s_own_change_with_an_old_number_and_an_old_time_is_a_repeat():
    stream, log = book_of(CHAIN_BOOK, A)
    stream.offer(snapshot(A, 900, 0, [(1.0, 1.0)], made_ns=MS))
    stream.offer(delta(A, 901, 910, 1, made_ns=2 * MS))
    stream.offer(delta(A, 700, 800, 2, made_ns=2 * MS))
    assert not log.gaps
    assert stream.readable
    assert stream.duplicates == 1


def test_a_line_that_lags_brings_old_numbers_and_breaks_nothing():
    stream, log = book_of(CHAIN_BOOK, A, B)
    stream.offer(snapshot(A, 900, 0, [(1.0, 1.0)], made_ns=0))
    stream.offer(delta(A, 901, 910, 1, made_ns=MS))
    stream.offer(delta(B, 700, 800, 2, made_ns=2 * MS))
    assert not log.gaps
    assert stream.readable


def test_a_change_without_its_number_breaks_the_book():
    stream, log = book_of(CHAIN_BOOK, A)
    stream.offer(snapshot(A, 900, 0, [(1.0, 1.0)]))
    stream.offer(msgspec.structs.replace(delta(A, 901, 910, 5), first=None, last=None))
    assert [gap.cause for gap in log.gaps] == ["a change came without its number"]
    assert not stream.readable
    assert [need.kind for need in log.needs] == ["resubscribe"]
    stream.offer(snapshot(A, 950, 9, [(2.0, 2.0)]))
    assert stream.proven().bids() == [(2.0, 2.0)]
    assert log.kinds[-2:] == ["BookSnapshot", "Resynced"]


def test_a_message_lost_by_one_of_two_lines_beside_the_way_back_is_no_loss():
    stream, log, messages = led_back(A, B)
    for n, make in enumerate(messages):
        if n != 1:
            stream.offer(make(A, 10 + n))
        stream.offer(make(B, 10 + n))
    stream.tick(at(20 + HOLD_NS))
    assert not log.gaps
    assert stream.proven().bids() == [(1.0, 30.0)]


def test_a_session_s_own_snapshot_that_steps_back_is_a_venue_that_restarted():
    """As Bybit documents it: a snapshot with u = 1 is of a service that was restarted."""
    stream, log = book_of(CHAIN_BOOK, A)
    stream.offer(snapshot(A, 900, 0, [(1.0, 1.0)], made_ns=0))
    stream.offer(snapshot(A, 1, 9, [(2.0, 2.0)], made_ns=MS))
    assert log.kinds == ["BookSnapshot", "Gap", "BookSnapshot", "Resynced"]
    assert stream.proven().bids() == [(2.0, 2.0)]
    stream.offer(delta(A, 2, 2, 10, [(2.0, 3.0)], made_ns=2 * MS))
    assert log.kinds[4:] == ["BookDelta"]


def test_a_session_s_own_snapshot_with_an_old_number_and_an_old_time_is_a_repeat():
    stream, log = book_of(CHAIN_BOOK, A)
    stream.offer(snapshot(A, 900, 0, [(1.0, 1.0)], made_ns=MS))
    stream.offer(snapshot(A, 899, 9, [(2.0, 2.0)], made_ns=MS))
    assert log.kinds == ["BookSnapshot"]
    assert stream.duplicates == 1


# -- asking again -------------------------------------------------------------------------------


def test_a_snapshot_that_does_not_come_is_asked_for_again_ever_more_slowly():
    stream, log = book_of(CHAIN_BOOK, A)
    asked = []
    for tenth in range(3000):
        now_ns = tenth * SECOND // 10
        stream.tick(at(now_ns))
        if log.needs:
            asked.append(now_ns / SECOND)
            assert log.needs == [log.needs[0]]
            log.clear()
    waits = [b - a for a, b in zip([0.0, *asked], asked, strict=False)]
    assert waits == [5, 10, 20, 40, 80, 80]
    assert ASK_AGAIN_NS == 5 * SECOND


def test_a_book_proven_by_ids_asks_no_more_and_starts_anew_the_next_time():
    stream, log = rest(A)
    for n in range(4):
        stream.suspect(A.epoch, "silent", at(n * 100 * SECOND))
        stream.tick(at(n * 100 * SECOND))
        assert not log.needs
        stream.tick(at(n * 100 * SECOND + ASK_AGAIN_NS - 1))
        assert not log.needs
        stream.tick(at(n * 100 * SECOND + ASK_AGAIN_NS))
        assert [need.cause for need in log.needs] == ["no snapshot came"]
        stream.offer(delta(A, 11 + n, 11 + n, n * 100 * SECOND + 6 * SECOND))
        assert stream.readable
        log.clear()


def test_rebuilding_asks_the_session_that_may_have_missed_something():
    stream, log = chain(A, B)
    stream.suspect(A.epoch, "a frame could not be read", at(20))
    stream.rebuild(A.epoch, "a frame could not be read", at(20))
    assert [(n.kind, n.epoch, n.cause) for n in log.needs] == [
        ("resubscribe", A.epoch, "a frame could not be read")
    ]
    assert stream.readable  # B carries on


def test_nothing_is_asked_for_while_nobody_carries_the_topic():
    stream, log = chain(A)
    stream.detach(A.epoch, "closed", at(100))
    for second in range(100):
        stream.tick(at(second * SECOND))
    assert not log.needs


# -- properties ---------------------------------------------------------------------------------


class Books(RuleBasedStateMachine):
    """Up to three sessions that drop, repeat, reorder, stall, come and go; snapshots at random."""

    topic = REST_BOOK
    largest = 4

    def __init__(self):
        super().__init__()
        self.now_ns = 0
        self.venue = Venue(self.topic.numbering)
        self.reader = Reader(self.venue, self.topic)
        self.requests: list[tuple[int, int]] = []  # when, and the venue's newest then
        self.log = Log()
        self.stream = stream_for(self.topic, self.reader, self.log.needs.append)
        self.sessions: dict[int, Session] = {}
        self.epochs = 0

    @property
    def rest(self) -> bool:
        return self.topic.snapshot is SnapshotFrom.REST

    def pick(self, which: int) -> Session:
        return self.sessions[sorted(self.sessions)[which % len(self.sessions)]]

    def send(self, session: Session, size: int) -> Event | None:
        event: Event
        if session.fresh:
            session.fresh = False
            event = self.venue.snapshot(session.origin, session.sent, self.now_ns)
        else:
            end = min(session.sent + min(size, self.largest), self.venue.newest)
            if end == session.sent:
                return None
            event = self.venue.delta(session.origin, session.sent, end, self.now_ns)
            session.sent = end
        session.messages.append(event)
        return event

    def heed(self) -> None:
        """Do what the stream asks: subscribe anew, or note a request."""
        for need in self.log.needs:
            session = self.sessions.get(need.epoch)
            if need.kind == "snapshot":
                self.requests = [*self.requests[-3:], (self.now_ns, self.venue.newest)]
            elif session is not None:
                session.sent, session.fresh = self.venue.newest, True
        self.log.needs.clear()

    @initialize()
    def begin(self):
        self.open(acked=True)

    @rule(count=st.integers(1, 6))
    def change(self, count):
        for _ in range(count):
            self.now_ns += MS
            self.venue.change(self.now_ns)

    @precondition(lambda self: len(self.sessions) < 3)
    @rule(acked=st.booleans())
    def open(self, acked):
        self.epochs += 1
        source: Origin = origin(self.epochs, "book")
        newest = self.venue.newest
        self.sessions[self.epochs] = Session(source, newest, newest, fresh=not self.rest)
        if acked:
            self.stream.attach(source, at(self.now_ns))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
    def deliver(self, which, sizes):
        for size in sizes:
            event = self.send(self.pick(which), size)
            if event is not None:
                self.stream.offer(event)

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), size=st.integers(1, 4))
    def drop(self, which, size):
        self.send(self.pick(which), size)

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), back=st.integers(1, 5))
    def repeat(self, which, back):
        session = self.pick(which)
        if len(session.messages) >= back:
            self.stream.offer(session.messages[-back])

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), times=st.integers(1, 3))
    def tear(self, which, times):
        """A hole, and what reveals it as often as you like."""
        session = self.pick(which)
        self.change(3)
        self.send(session, 1)
        revealing, following = self.send(session, 1), self.send(session, 1)
        for event in [*[revealing] * times, following]:
            if event is not None:
                self.stream.offer(event)

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), size=st.integers(1, 3), other=st.integers(1, 3))
    def reorder(self, which, size, other):
        session = self.pick(which)
        late, early = self.send(session, size), self.send(session, other)
        for event in (early, late):
            if event is not None:
                self.stream.offer(event)

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), rebuild=st.booleans())
    def suspect(self, which, rebuild):
        epoch = self.pick(which).origin.epoch
        self.stream.suspect(epoch, "silent", at(self.now_ns))
        if rebuild:
            self.stream.rebuild(epoch, "silent", at(self.now_ns))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2))
    def acknowledge(self, which):
        self.stream.attach(self.pick(which).origin, at(self.now_ns))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2))
    def lose(self, which):
        epoch = self.pick(which).origin.epoch
        del self.sessions[epoch]
        known = epoch in self.stream.sources
        self.stream.detach(epoch, "closed", at(self.now_ns))
        if known and not self.stream.sources:
            # A book that is broken already has said so; only one that was whole must say more.
            self.reader.dark = not self.reader.gapped
            assert not self.stream.readable

    @rule()
    def subscribe_anew(self):
        self.heed()

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 3), stale=st.integers(0, 12))
    def answer(self, which, stale):
        self.answered(which, stale)

    def answered(self, which: int, stale: int) -> None:
        asked_ns, newest = self.requests.pop(which % len(self.requests))
        if self.stream.sources:
            source = self.stream.sources[max(self.stream.sources)].origin
            index = max(0, newest - stale)
            self.stream.snapshot(
                self.venue.snapshot(source, index, self.now_ns, timed=False),
                asked_ns,
                at(self.now_ns),
            )

    @rule(ms=st.sampled_from([1, 100, 500, 1500, 12_000]))
    def wait(self, ms):
        self.now_ns += ms * MS
        self.stream.tick(at(self.now_ns))

    @invariant()
    def a_readable_book_is_the_venue_s_book(self):
        stream, reader = self.stream, self.reader
        assert stream.gaps == reader.gaps
        assert len(stream._buffer) <= BUFFER_MAX
        assert stream.synced or not stream._held  # a broken book holds nothing, it buffers
        if not stream.readable:
            with pytest.raises(NotSynced):
                stream.proven()
            assert stream.because
            assert stream.image(at(self.now_ns)) is None
            return
        assert not reader.gapped
        assert not reader.dark
        assert reader.covered is not None
        book = stream.proven()
        assert (book.bids(), book.asks()) == self.venue.book_at(reader.covered) == reader.book()
        image = stream.image(at(self.now_ns))
        assert image is not None
        assert (image.last, image.bids, image.asks) == (reader.covered, *reader.book())

    def teardown(self):
        """Whatever happened, one good session later the book is the newest book."""
        while self.sessions:
            self.lose(which=0)
        self.requests.clear()
        self.log.needs.clear()
        self.open(acked=True)
        self.heed()
        session = self.sessions[self.epochs]
        for _ in range(8):
            self.change(count=2)
            while (event := self.send(session, 1)) is not None:
                self.stream.offer(event)
            if self.requests:
                self.answered(0, 0)
            self.wait(ms=90_000)
            self.a_readable_book_is_the_venue_s_book()
            self.heed()
        assert self.stream.readable
        assert self.stream.trust is Trust.LIVE
        assert self.reader.covered == self.venue.numbers[-1]


class ChainBooks(Books):
    """The same with snapshots in the stream, and every line cutting alike."""

    topic = CHAIN_BOOK
    largest = 1


class CutChainBooks(ChainBooks):
    """The same with lines that cut at different places."""

    largest = 4


class ChainRestBooks(Books):
    """A chain that lines cut differently, and snapshots by request."""

    topic = CHAIN_REST_BOOK


class DenseStreamBooks(Books):
    """Dense numbers, lines that cut differently, snapshots in the stream."""

    topic = spec(Numbering.DENSE, "book", SnapshotFrom.STREAM)


TestRestBooks = Books.TestCase
TestChainBooks = ChainBooks.TestCase
TestCutChainBooks = CutChainBooks.TestCase
TestChainRestBooks = ChainRestBooks.TestCase
TestDenseStreamBooks = DenseStreamBooks.TestCase
TestRestBooks.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestChainBooks.settings = TestCutChainBooks.settings = TestChainRestBooks.settings = (
    TestRestBooks.settings
)
TestDenseStreamBooks.settings = TestRestBooks.settings


steps = st.lists(
    st.tuples(st.sampled_from(["make", "send", "send", "send", "open", "lose"]), st.integers(0, 9)),
    max_size=60,
)


@pytest.mark.parametrize(
    "topic", [REST_BOOK, CHAIN_BOOK, CHAIN_REST_BOOK], ids=["rest", "chain", "chain-rest"]
)
@settings(max_examples=100, deadline=None)
@given(steps=steps)
def test_one_line_of_two_lost_loses_nothing_repeats_nothing_announces_nothing(topic, steps):
    venue, log = Venue(topic.numbering), Log()
    reader = Reader(venue, topic)
    stream = stream_for(topic, lambda e: (log.events.append(e), reader(e)), log.needs.append)
    from_rest = topic.snapshot is SnapshotFrom.REST
    sessions: list[Session] = []
    opened = 0

    def open_session():
        nonlocal opened
        source = origin(opened, "book")
        opened += 1
        sessions.append(Session(source, venue.newest, venue.newest))
        stream.attach(source, at(0))
        if not from_rest:
            stream.offer(venue.snapshot(source, venue.newest, 0))

    def send(session, size):
        end = min(session.sent + (min(size, 1) if topic is CHAIN_BOOK else size), venue.newest)
        if end > session.sent:
            stream.offer(venue.delta(session.origin, session.sent, end, 0))
            session.sent = end

    open_session()
    open_session()
    if from_rest:
        stream.snapshot(venue.snapshot(sessions[0].origin, 0, 0), 0, at(0))
        stream.tick(at(QUIET_NS))
    for verb, n in [*steps, ("make", 9)]:
        session = sessions[n % len(sessions)]
        if verb == "make":
            for _ in range(n):
                venue.change(0)
        elif verb == "send":
            send(session, n)
        elif verb == "open" and len(sessions) < 3:
            open_session()
        elif verb == "lose":
            others = [s for s in sessions if s is not session]
            if any(venue.numbers[s.start] <= reader.covered for s in others):
                sessions.remove(session)
                stream.detach(session.origin.epoch, "closed", at(0))
        assert stream.readable
    for session in sessions:
        while session.sent < venue.newest:
            send(session, 9)
    covered = [n for e in log.events for n in range(e.first, e.last + 1)]
    assert covered == list(range(venue.numbers[0], venue.numbers[-1] + 1))
    assert not [e for e in log.events if isinstance(e, Gap | Resynced)]
