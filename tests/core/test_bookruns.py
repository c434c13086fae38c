"""Books without numbers: one run for each session, proven by checksums or by the connection."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.worlds import (
    MS,
    SECOND,
    WALL,
    Log,
    RunVenue,
    at,
    crc,
    numbers,
    origin,
    run_book,
    trade,
)

from gapless.core.bookruns import ASK_AGAIN_NS, BookRunStream
from gapless.core.stream import HOLD_NS, TopicSpec, Trust
from gapless.errors import NotSynced
from gapless.events import BookDelta, BookSnapshot, Event, Gap, Origin, Resynced, Texts

A, B, C = (origin(n, "book") for n in range(3))
PLAIN = run_book()
CHECKED = run_book(depth=10, covers=10)


def levels(text):
    """``"1:2 3:4"`` as literal levels."""
    return [tuple(level.split(":")) for level in text.split()]


def message(kind, source, mono_ns, bids, asks, check, made_ns):
    texts = Texts(levels(bids), levels(asks), check)
    made = None if made_ns is None else WALL + made_ns
    sides = numbers(texts.bids), numbers(texts.asks)
    return kind(source, WALL + mono_ns, mono_ns, made, None, None, *sides, texts)


def snapshot(source, mono_ns, bids="1.0:1", asks="2.0:1", check=None, made_ns=None):
    return message(BookSnapshot, source, mono_ns, bids, asks, check, made_ns)


def delta(source, mono_ns, bids="", asks="", check=None, made_ns=None):
    return message(BookDelta, source, mono_ns, bids, asks, check, made_ns)


def check(bids, asks="2.0:1"):
    return crc(levels(bids), levels(asks))


def book_of(topic, *sources):
    log = Log()
    stream = BookRunStream(topic, log.events.append, log.needs.append)
    for source in sources:
        stream.attach(source, at(0))
    return stream, log


def loaded(topic, *sources):
    """A book of one bid and one ask, whole on every session; the first leads."""
    stream, log = book_of(topic, *sources)
    for source in sources:
        stream.offer(snapshot(source, 5))
    assert log.kinds == ["BookSnapshot"]
    log.clear()
    return stream, log


# -- one session ------------------------------------------------------------------------------


def test_a_book_is_not_readable_before_its_snapshot():
    stream, log = book_of(PLAIN)
    with pytest.raises(NotSynced, match="not subscribed yet"):
        stream.proven()
    assert stream.trust is Trust.DOWN
    stream.attach(A, at(0))
    with pytest.raises(NotSynced, match="waiting for a snapshot"):
        stream.proven()
    assert stream.trust is Trust.SYNCING
    assert stream.image(at(1)) is None
    stream.offer(delta(A, 1, "1.0:5"))
    assert stream.dropped == 1  # a change before its snapshot says nothing
    assert (log.events, log.needs) == ([], [])  # subscribing is asking


def test_snapshot_and_changes_make_a_book():
    stream, log = loaded(PLAIN, A)
    stream.offer(delta(A, 6, "1.5:2 1.0:0", made_ns=6))
    assert stream.proven().bids() == [(1.5, 2.0)]
    assert (stream.trust, stream.because) == (Trust.LIVE, "")
    assert log.kinds == ["BookDelta"]
    image = stream.image(at(70))
    assert image == BookSnapshot(
        A, WALL + 70, 70, WALL + 6, None, None, [(1.5, 2.0)], [(2.0, 1.0)], None
    )


def test_data_may_come_before_the_ack_of_its_subscription():
    stream, log = book_of(PLAIN)
    stream.offer(delta(A, 1, "1.0:5"))
    stream.offer(snapshot(A, 2))
    stream.attach(A, at(3))
    stream.offer(delta(A, 4, "1.0:5"))
    assert log.kinds == ["BookSnapshot", "BookDelta"]
    assert stream.readable
    assert stream.arrived == 3


def test_a_repeated_snapshot_that_changes_nothing_is_a_repeat():
    stream, log = loaded(PLAIN, A)
    stream.offer(snapshot(A, 9))
    assert log.events == []
    assert stream.duplicates == 1
    assert stream.last_seen_ns(A.epoch) == 9
    assert stream.readable


def test_a_snapshot_nobody_asked_for_is_announced():
    stream, log = loaded(PLAIN, A)
    stream.offer(snapshot(A, 9, "3.0:3"))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert log.gaps[0].cause == "the venue sent a new snapshot"
    assert (log.events[2].by, log.events[2].blind_ns) == ("snapshot", 0)
    assert stream.proven().bids() == [(3.0, 3.0)]


def test_a_change_of_nothing_is_not_delivered():
    stream, log = loaded(CHECKED, A)
    stream.offer(delta(A, 9, check=check("1.0:1")))  # a checksum on its own
    stream.offer(delta(A, 10))
    assert log.events == []
    assert (stream.checks, stream.failed, stream.duplicates) == (1, 0, 2)
    assert stream.last_seen_ns(A.epoch) == 10


def test_what_is_not_a_book_message_is_dropped():
    stream, log = loaded(PLAIN, A)
    stream.offer(trade(A, 1, 1, 6))
    assert log.events == []
    assert stream.dropped == 1
    assert stream.readable


@pytest.mark.parametrize(
    ("bids", "book"),
    [
        ("7.0:0", [(1.0, 1.0)]),  # a level that was never there is taken back
        ("3.0:1", [(3.0, 1.0), (1.0, 1.0)]),  # at or above the best ask: the venue's own affair
        ("1.5:4 1.5:6", [(1.5, 6.0), (1.0, 1.0)]),  # twice in one message: the last counts
        ("1.5:4 1.5:0", [(1.0, 1.0)]),
    ],
)
def test_odd_changes_are_taken_literally(bids, book):
    stream, log = loaded(PLAIN, A)
    stream.offer(delta(A, 6, bids))
    assert stream.proven().bids() == book
    assert log.kinds == ["BookDelta"]


def test_size_zero_in_a_snapshot_is_no_level():
    stream, _ = book_of(CHECKED, A)
    stream.offer(snapshot(A, 5, "1.0:1 0.5:0", check=check("1.0:1")))
    assert stream.proven().bids() == [(1.0, 1.0)]


# -- checksums --------------------------------------------------------------------------------


def test_a_checksum_is_of_the_digits_and_not_of_the_numbers():
    stream, log = loaded(CHECKED, A)
    stream.offer(delta(A, 6, "1.0:1.50", check=check("1.0:1.50")))
    stream.offer(delta(A, 7, "1.0:1.5", check=check("1.0:1.5")))
    assert log.kinds == ["BookDelta", "BookDelta"]
    assert (stream.checks, stream.failed) == (2, 0)


def test_a_failed_checksum_breaks_the_book_until_gap_snapshot_resynced():
    stream, log = loaded(CHECKED, A)
    stream.offer(delta(A, 30, "1.5:2", check=check("1.5:2 1.0:9")))
    assert log.kinds == ["Gap"]
    gap = log.gaps[0]
    assert (gap.first, gap.last, gap.missing) == (None, None, None)
    assert gap.cause == "the checksum failed"
    assert [(n.kind, n.epoch, n.topic) for n in log.needs] == [("resubscribe", 0, "book.btc")]
    assert (stream.trust, stream.because) == (Trust.GAPPED, "waiting for a snapshot")
    assert stream.image(at(31)) is None
    stream.offer(delta(A, 40, "1.5:3"))  # of the old subscription: it crossed our request
    assert log.kinds == ["Gap"]
    stream.offer(snapshot(A, 90, "3.0:3", check=check("3.0:3")))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert (log.events[2].by, log.events[2].blind_ns) == ("snapshot", 60)
    assert stream.proven().bids() == [(3.0, 3.0)]
    assert stream.resyncs == 1
    assert stream.arrived == 4
    assert stream.delivered == 2
    assert stream.dropped == 2


def test_a_snapshot_with_a_wrong_checksum_is_not_believed():
    stream, log = book_of(CHECKED, A)
    stream.offer(snapshot(A, 5, check=7))
    assert log.events == []
    assert not stream.readable
    assert [need.cause for need in log.needs] == ["the checksum of a snapshot failed"]
    stream.offer(snapshot(A, 6, check=check("1.0:1")))
    assert log.kinds == ["BookSnapshot"]


def test_a_wrong_snapshot_in_mid_stream_breaks_the_book():
    stream, log = loaded(CHECKED, A)
    stream.offer(snapshot(A, 9, "3.0:3", check=7))
    assert log.kinds == ["Gap"]
    assert not stream.readable
    assert [need.epoch for need in log.needs] == [A.epoch]


def test_failures_that_are_tolerated_break_only_when_one_too_many_comes_in_a_row():
    stream, log = loaded(run_book(covers=10, tolerated=1), A)
    stream.offer(delta(A, 6, "1.0:2", check=7))
    stream.offer(delta(A, 7, "1.0:3", check=check("1.0:3")))
    stream.offer(delta(A, 8, "1.0:4", check=7))
    assert log.kinds == ["BookDelta"] * 3
    stream.offer(delta(A, 9, "1.0:5", check=7))
    assert log.kinds[-1] == "Gap"
    assert (stream.checks, stream.failed) == (4, 3)
    stream.offer(snapshot(A, 10))
    log.clear()
    stream.offer(delta(A, 11, "1.0:6", check=7))
    assert log.kinds == ["BookDelta"]  # a new run begins without failures


def test_the_first_break_is_asked_for_at_once_and_those_that_follow_ever_more_slowly():
    stream, log = loaded(CHECKED, A)
    asked = []
    for tenth in range(1, 1200):
        now_ns = tenth * SECOND // 10
        if stream.readable:
            stream.offer(delta(A, now_ns, "1.5:2", check=7))
        stream.tick(at(now_ns))
        if log.needs:
            asked.append(tenth / 10)
            log.clear()
            stream.offer(snapshot(A, now_ns))
    assert asked == [0.1, 10.1, 30.1, 70.1]


def test_a_book_that_was_whole_for_long_is_asked_for_at_once_again():
    stream, log = loaded(CHECKED, A)
    for second in (1, 1 + 4 * ASK_AGAIN_NS // SECOND):
        stream.offer(delta(A, second * SECOND, "1.5:2", check=7))
        assert len(log.needs) == 1
        stream.offer(snapshot(A, second * SECOND + 1))
        log.clear()


def test_a_snapshot_that_does_not_come_is_asked_for_again_ever_more_slowly():
    stream, log = book_of(PLAIN, A)
    asked = []
    for tenth in range(3000):
        now_ns = tenth * SECOND // 10
        stream.tick(at(now_ns))
        if log.needs:
            asked.append(now_ns / SECOND)
            assert [need.epoch for need in log.needs] == [A.epoch]
            log.clear()
    waits = [b - a for a, b in zip([0.0, *asked], asked, strict=False)]
    assert waits == [5, 10, 20, 40, 80, 80]


# -- depth ------------------------------------------------------------------------------------


def test_levels_beyond_the_depth_are_dropped_and_taken_back_from_whoever_follows():
    stream, log = loaded(run_book(depth=2), A)
    stream.offer(delta(A, 6, "1.1:1", "2.1:1"))
    stream.offer(delta(A, 7, "1.2:1", "1.9:1"))
    assert stream.proven().bids() == [(1.2, 1.0), (1.1, 1.0)]
    assert stream.proven().asks() == [(1.9, 1.0), (2.0, 1.0)]
    assert log.events[1].bids == [(1.2, 1.0), (1.0, 0.0)]
    assert log.events[1].asks == [(1.9, 1.0), (2.1, 0.0)]
    assert log.events[1].texts.bids == [("1.2", "1")]  # the venue's own words stay as they are


def test_a_snapshot_deeper_than_was_asked_for_is_cut():
    stream, log = book_of(run_book(depth=1), A)
    stream.offer(snapshot(A, 5, "1.0:1 1.1:1", "2.0:1 2.1:1"))
    assert stream.proven().bids() == log.events[0].bids == [(1.1, 1.0)]
    assert stream.proven().asks() == log.events[0].asks == [(2.0, 1.0)]


def test_the_checksum_is_of_the_book_once_it_is_cut():
    stream, log = loaded(run_book(depth=1, covers=5), A)
    stream.offer(delta(A, 6, "1.1:1", check=check("1.1:1")))
    stream.offer(delta(A, 7, "1.1:0", check=check("")))
    assert log.kinds == ["BookDelta", "BookDelta"]
    assert stream.proven().bids() == []


# -- blindness --------------------------------------------------------------------------------


def test_a_reconnect_on_one_line_is_one_gap_one_snapshot_one_resync():
    stream, log = loaded(PLAIN, A)
    stream.detach(A.epoch, "closed with 1006", at(100))
    assert stream.trust is Trust.BLIND
    assert stream.because == "no trusted connection (closed with 1006)"
    assert stream.book.bids() == [(1.0, 1.0)]  # kept, and not readable
    stream.attach(B, at(110))
    stream.offer(delta(B, 150, "9.0:9"))
    stream.offer(snapshot(B, 205))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert log.gaps[0].cause == "closed with 1006"
    assert (log.events[2].by, log.events[2].blind_ns) == ("snapshot", 200)
    assert stream.readable


def test_a_silence_that_ends_without_a_proof_is_a_gap():
    stream, log = loaded(PLAIN, A)
    stream.suspect(A.epoch, "silent", at(100))
    stream.suspect(A.epoch, "silent", at(101))
    assert not stream.readable
    stream.offer(delta(A, 105, "1.0:2"))
    assert log.kinds == ["Gap"]
    assert log.gaps[0].cause == "silent"
    assert [need.epoch for need in log.needs] == [A.epoch]
    stream.offer(snapshot(A, 205))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert log.events[2].blind_ns == 200


@pytest.mark.parametrize("bids", ["1.0:2", ""])
def test_a_silence_that_ends_with_a_checksum_of_the_whole_book_lost_nothing(bids):
    stream, log = loaded(CHECKED, A)
    stream.suspect(A.epoch, "silent", at(100))
    stream.offer(delta(A, 105, bids, check=check(bids or "1.0:1")))
    assert log.kinds == ["Resynced", *["BookDelta"][: bool(bids)]]
    assert (log.events[0].by, log.events[0].blind_ns) == ("checksum", 100)
    assert stream.readable
    stream.offer(delta(A, 106, "1.0:3", check=check("1.0:3")))
    assert log.kinds[-1] == "BookDelta"


@pytest.mark.parametrize(
    ("topic", "whole"),
    [
        (run_book(covers=2), True),  # one level a side: a second would show
        (run_book(covers=1), False),  # there may be more levels than it covers
        (run_book(covers=1, depth=1), True),
        (run_book(covers=1, depth=2), False),
    ],
)
def test_a_checksum_proves_only_what_it_covers(topic, whole):
    stream, log = loaded(topic, A)
    stream.suspect(A.epoch, "silent", at(100))
    stream.offer(delta(A, 105, "1.0:2", check=check("1.0:2")))
    assert log.kinds[0] == ("Resynced" if whole else "Gap")


def test_a_tolerated_failure_ends_no_silence():
    stream, log = loaded(run_book(covers=5, tolerated=1), A)
    stream.suspect(A.epoch, "silent", at(100))
    stream.offer(delta(A, 105, "1.0:2", check=7))
    assert log.kinds == ["Gap"]


def test_a_silence_that_lasts_is_asked_about_and_what_crosses_the_request_proves_nothing():
    stream, log = loaded(CHECKED, A)
    stream.suspect(A.epoch, "silent", at(100))
    stream.tick(at(99 + ASK_AGAIN_NS))
    assert log.needs == []
    stream.tick(at(100 + ASK_AGAIN_NS))
    assert [need.epoch for need in log.needs] == [A.epoch]
    stream.offer(delta(A, 101 + ASK_AGAIN_NS, "1.0:2", check=check("1.0:2")))
    assert log.events == []
    stream.offer(snapshot(A, 102 + ASK_AGAIN_NS))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]


def test_a_book_that_was_blind_before_its_first_snapshot_names_the_interval():
    stream, log = book_of(PLAIN, A)
    stream.detach(A.epoch, "closed", at(5))
    stream.attach(B, at(10))
    stream.offer(snapshot(B, 20))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert log.gaps[0].since_ns == WALL
    assert log.events[2].blind_ns == 15


def test_a_book_that_breaks_and_then_goes_blind_was_untrusted_all_the_time():
    stream, log = loaded(CHECKED, A)
    stream.offer(delta(A, 1000, "1.0:2", check=7))
    stream.detach(A.epoch, "closed", at(2000))
    stream.attach(B, at(2100))
    stream.offer(snapshot(B, 3000))
    assert log.kinds == ["Gap", "Gap", "BookSnapshot", "Resynced"]
    assert log.events[-1].blind_ns == 2995


# -- two sessions -----------------------------------------------------------------------------


def test_the_second_session_follows_with_a_book_of_its_own():
    stream, log = loaded(PLAIN, A, B)
    stream.offer(delta(B, 6, "1.0:2"))
    assert log.events == []
    assert stream.proven().bids() == [(1.0, 1.0)]
    stream.offer(delta(A, 7, "1.0:2"))
    assert log.kinds == ["BookDelta"]
    assert stream.duplicates == 2


def test_a_follower_that_says_the_same_takes_over_in_silence():
    stream, log = loaded(PLAIN, A, B)
    for source in (A, B):
        stream.offer(delta(source, 6, "1.0:2"))
    log.clear()
    stream.detach(A.epoch, "closed", at(8))
    assert stream.readable
    assert stream.trust is Trust.LIVE
    stream.offer(delta(B, 9, "1.0:3"))
    assert log.kinds == ["BookDelta"]
    assert stream.proven().bids() == [(1.0, 3.0)]
    assert not stream.gaps


@pytest.mark.parametrize("how", ["detach", "suspect"])
def test_a_follower_that_is_ahead_takes_over_with_its_book(how):
    stream, log = loaded(PLAIN, A, B)
    stream.offer(delta(B, 6, "1.0:2", made_ns=3))
    getattr(stream, how)(A.epoch, "closed", at(100))
    assert log.kinds == ["Resynced", "BookDelta"]
    mark, change = log.events
    assert (change.origin, change.mono_ns, change.event_ns) == (B, 100, WALL + 3)
    assert (change.bids, change.asks) == ([(1.0, 2.0)], [])
    assert (mark.by, mark.blind_ns) == ("line", 0)
    assert stream.readable
    assert stream.arrived == 3  # nobody sent that change


def test_a_follower_that_is_behind_takes_over_once_it_has_caught_up():
    stream, log = loaded(PLAIN, A, B)
    stream.offer(delta(A, 6, "1.0:2", made_ns=1))
    stream.offer(delta(B, 6, "1.0:2", made_ns=1))
    stream.offer(delta(A, 7, "1.0:3", made_ns=2))
    log.clear()
    stream.detach(A.epoch, "closed", at(8))
    assert stream.readable  # never back to what was before
    assert stream.proven().bids() == [(1.0, 3.0)]
    stream.tick(at(9))
    assert log.events == []
    stream.offer(delta(B, 10, "1.0:3", made_ns=2))
    assert log.events == []
    stream.offer(delta(B, 11, "1.0:4", made_ns=3))
    assert log.kinds == ["BookDelta"]
    assert stream.proven().bids() == [(1.0, 4.0)]


def test_nobody_waits_for_a_follower_longer_than_the_hold():
    stream, log = loaded(PLAIN, A, B)
    stream.offer(delta(B, 6, "1.0:2", made_ns=1))
    stream.offer(delta(A, 7, "1.0:3", made_ns=2))
    log.clear()
    stream.detach(A.epoch, "closed", at(8))
    stream.tick(at(7 + HOLD_NS))
    assert log.events == []
    stream.tick(at(8 + HOLD_NS))
    assert log.kinds == ["BookSnapshot", "Resynced"]
    assert stream.proven().bids() == [(1.0, 2.0)]


def test_a_lead_whose_checksum_fails_is_replaced_at_once_and_subscribed_anew():
    stream, log = loaded(CHECKED, A, B)
    stream.offer(delta(B, 6, "1.5:2", check=check("1.5:2 1.0:1")))
    stream.offer(delta(A, 30, "1.0:0", check=check("1.5:2")))  # it has lost a change
    assert log.kinds == ["Resynced", "BookDelta"], "what was wrong was not delivered"
    assert (log.events[0].by, log.events[0].blind_ns) == ("line", 0)
    assert log.events[1].bids == [(1.5, 2.0)]
    assert stream.proven().bids() == [(1.5, 2.0), (1.0, 1.0)]
    assert [need.epoch for need in log.needs] == [A.epoch]
    log.clear()
    stream.offer(snapshot(A, 40, "1.5:2", check=check("1.5:2")))
    assert log.events == []
    stream.detach(B.epoch, "closed", at(50))  # and can take over in its turn
    assert log.kinds == ["Resynced", "BookDelta"]
    assert log.events[1].bids == [(1.0, 0.0)]
    assert stream.proven().bids() == [(1.5, 2.0)]


def test_a_lead_whose_checksum_fails_waits_for_a_whole_book_that_is_a_little_behind():
    stream, log = loaded(CHECKED, A, B)
    stream.offer(delta(B, 5, "1.0:1", made_ns=1, check=check("1.0:1")))
    stream.offer(delta(A, 6, "1.5:2", made_ns=2, check=check("1.5:2 1.0:1")))
    stream.offer(delta(A, 7, "1.0:0", made_ns=3, check=7))
    assert log.kinds == ["BookDelta"]
    assert stream.proven().bids() == [(1.5, 2.0), (1.0, 1.0)], "as it was proven last"
    stream.offer(delta(B, 8, "1.5:2", made_ns=2, check=check("1.5:2 1.0:1")))
    stream.offer(delta(B, 9, "1.0:3", made_ns=4, check=check("1.5:2 1.0:3")))
    assert log.kinds == ["BookDelta", "BookDelta"]
    assert stream.proven().bids() == [(1.5, 2.0), (1.0, 3.0)]
    assert [need.epoch for need in log.needs] == [A.epoch]


def test_a_lead_whose_checksum_fails_breaks_the_book_where_no_other_book_is_whole():
    stream, log = loaded(CHECKED, A)
    stream.attach(B, at(5))
    stream.offer(delta(A, 6, "1.5:2", check=7))
    assert log.kinds == ["Gap"]
    assert not stream.readable


def test_a_follower_whose_checksum_fails_is_subscribed_anew_and_never_takes_over():
    stream, log = loaded(CHECKED, A, B)
    stream.offer(delta(B, 6, "1.5:2", check=7))
    assert [need.epoch for need in log.needs] == [B.epoch]
    stream.detach(A.epoch, "closed", at(8))
    assert stream.trust is Trust.BLIND
    stream.offer(delta(B, 9, "1.5:2"))
    assert log.events == []
    stream.offer(snapshot(B, 10, check=check("1.0:1")))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]


def test_a_follower_that_was_silent_is_doubted_until_something_proves_it():
    stream, log = loaded(PLAIN, A, B)
    stream.suspect(B.epoch, "silent", at(6))
    stream.offer(delta(B, 7, "1.5:2"))
    assert [need.epoch for need in log.needs] == [B.epoch]
    assert stream.readable
    stream.detach(A.epoch, "closed", at(8))
    assert stream.blind


def test_a_follower_that_was_silent_is_proven_by_a_checksum():
    stream, log = loaded(CHECKED, A, B)
    stream.suspect(B.epoch, "silent", at(6))
    stream.offer(delta(B, 7, "1.0:2", check=check("1.0:2")))
    assert log.needs == []
    stream.detach(A.epoch, "closed", at(8))
    assert log.kinds == ["Resynced", "BookDelta"]
    assert stream.readable


def test_a_follower_that_was_silent_is_not_proven_by_a_checksum_of_its_best_levels():
    stream, log = loaded(run_book(covers=1), A, B)
    stream.suspect(B.epoch, "silent", at(6))
    stream.offer(delta(B, 7, "1.0:2", check=check("1.0:2")))
    assert [need.epoch for need in log.needs] == [B.epoch]
    stream.detach(A.epoch, "closed", at(8))
    assert stream.blind


def test_a_follower_that_is_proven_only_after_the_lead_was_lost_announces_the_gap():
    stream, log = loaded(CHECKED, A, B)
    stream.suspect(B.epoch, "silent", at(6))
    stream.detach(A.epoch, "closed", at(8))
    assert stream.blind
    stream.offer(delta(B, 9, "1.0:2", check=check("1.0:2")))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert log.events[2].by == "line"
    assert stream.readable


def test_a_session_that_came_after_the_lead_fell_silent_cannot_vouch_for_the_time_between():
    stream, log = loaded(PLAIN, A)
    stream.attach(B, at(50))
    stream.offer(snapshot(B, 60, "1.0:2"))
    assert log.events == []
    stream.suspect(A.epoch, "silent", at(90), covered_ns=40)
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]  # its book is right all the same
    assert log.gaps[0].cause == "silent"
    assert (log.events[2].by, log.events[2].blind_ns) == ("line", 85)


def test_a_session_whose_snapshot_came_before_the_lead_fell_silent_can():
    stream, log = loaded(PLAIN, A)
    stream.attach(B, at(50))
    stream.offer(snapshot(B, 60, "1.0:2"))
    stream.suspect(A.epoch, "silent", at(90), covered_ns=60)
    assert log.kinds == ["Resynced", "BookDelta"]


def test_a_lead_that_speaks_again_while_its_successor_is_behind_is_doubted():
    stream, log = loaded(PLAIN, A, B)
    stream.offer(delta(B, 6, "1.0:2", made_ns=1))
    stream.offer(delta(A, 7, "1.0:3", made_ns=2))
    log.clear()
    stream.suspect(A.epoch, "silent", at(8))
    stream.offer(delta(A, 9, "1.0:9", made_ns=9))
    assert log.events == []
    assert [need.epoch for need in log.needs] == [A.epoch]
    stream.offer(delta(B, 10, "1.0:3", made_ns=2))
    stream.offer(delta(B, 11, "1.0:4", made_ns=3))
    assert log.kinds == ["BookDelta"]


def test_a_lead_that_proves_itself_while_its_successor_is_behind_goes_on_leading():
    stream, log = loaded(CHECKED, A, B)
    stream.offer(delta(B, 6, "1.0:2", check=check("1.0:2"), made_ns=1))
    stream.offer(delta(A, 7, "1.0:3", check=check("1.0:3"), made_ns=2))
    log.clear()
    stream.suspect(A.epoch, "silent", at(8))
    stream.offer(delta(A, 9, "1.0:9", check=check("1.0:9"), made_ns=9))
    assert log.kinds == ["Resynced", "BookDelta"]
    assert (log.events[1].bids, log.events[0].by) == ([(1.0, 9.0)], "line")
    stream.tick(at(9 + HOLD_NS))
    assert len(log.events) == 2


@pytest.mark.parametrize("first", [A, B])
@pytest.mark.parametrize("how", ["detach", "suspect"])
def test_losing_both_sessions_is_one_gap_whoever_goes_first(first, how):
    stream, log = loaded(PLAIN, A, B)
    second = B if first is A else A
    getattr(stream, how)(first.epoch, "closed", at(100))
    assert stream.readable
    getattr(stream, how)(second.epoch, "closed too", at(200))
    assert not stream.readable
    assert stream.because == "no trusted connection (closed too)"
    assert log.events == []
    stream.attach(C, at(300))
    stream.offer(snapshot(C, 400, "3.0:3"))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert stream.readable


def test_a_broken_book_is_not_blind_while_a_session_is_there_to_heal_it():
    stream, log = loaded(CHECKED, A)
    stream.attach(B, at(6))
    stream.offer(delta(A, 10, "1.0:2", check=7))
    stream.detach(B.epoch, "closed", at(20))
    assert stream.trust is Trust.GAPPED
    stream.offer(snapshot(A, 30))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]


def test_a_book_that_is_broken_takes_the_first_snapshot_that_comes():
    stream, log = loaded(CHECKED, A)
    stream.attach(B, at(6))
    stream.offer(delta(A, 10, "1.0:2", check=7))
    stream.offer(snapshot(B, 20, "1.0:2"))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]
    assert log.events[2].by == "snapshot"
    stream.offer(snapshot(A, 30, "1.0:3"))  # the answer to our request
    assert len(log.events) == 3


# -- rebuilding -------------------------------------------------------------------------------


def test_rebuilding_the_book_that_is_delivered_is_announced():
    stream, log = loaded(PLAIN, A)
    stream.rebuild(A.epoch, "a frame could not be read", at(20))
    assert log.kinds == ["Gap"]
    assert [(n.epoch, n.cause) for n in log.needs] == [(A.epoch, "a frame could not be read")]
    stream.offer(snapshot(A, 30))
    assert log.kinds == ["Gap", "BookSnapshot", "Resynced"]


def test_rebuilding_what_follows_disturbs_nobody():
    stream, log = loaded(PLAIN, A, B)
    stream.suspect(A.epoch, "a frame could not be read", at(20))
    stream.rebuild(A.epoch, "a frame could not be read", at(20))
    assert [need.epoch for need in log.needs] == [A.epoch]
    assert log.events == []
    assert stream.readable
    stream.rebuild(C.epoch, "no such session", at(21))
    assert len(log.needs) == 1


# -- properties ---------------------------------------------------------------------------------


class Follower:
    """A consumer that keeps a book of what is delivered, and believes nothing else."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.made_ns = 0
        self.loaded = self.gapped = self.dark = False
        self.gaps = 0
        self._mark: set[str] = set()  # one of these must come next

    def __call__(self, event: Event) -> None:
        if self._mark:
            assert isinstance(event, Resynced), "a snapshot that replaces is followed by Resynced"
            assert event.by in self._mark
            self._mark = set()
            self.gapped = False
            return
        match event:
            case Gap():
                assert event.since_ns <= event.until_ns
                self.gaps += 1
                self.gapped, self.dark = True, False
            case Resynced():
                assert event.by in {"checksum", "line"}
                assert not self.gapped
                assert event.by == "checksum" or not self.dark
                self.dark = False
            case BookSnapshot():
                assert not self.dark
                if self.loaded:
                    self._mark = {"snapshot", "line"} if self.gapped else {"line"}
                elif self.gapped:
                    self._mark = {"snapshot"}
                self.loaded = True
                self.bids, self.asks = dict(event.bids), dict(event.asks)
                self.made_ns = event.event_ns or 0
            case BookDelta():
                assert self.loaded
                assert not self.gapped
                assert not self.dark
                assert event.bids or event.asks
                assert (event.event_ns or 0) >= self.made_ns
                self.made_ns = event.event_ns or 0
                for side, changes in ((self.bids, event.bids), (self.asks, event.asks)):
                    for price, size in changes:
                        if size:
                            side[price] = size
                        else:
                            side.pop(price, None)
            case _:
                raise AssertionError(f"unexpected {event}")

    def book(self):
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())


@dataclass
class Line:
    """A session as the venue sees it, and what is under way on it."""

    origin: Origin
    sent: int
    torn: bool = False  # something of the current subscription was lost
    flight: deque[tuple[Event, int, bool]] = field(default_factory=deque)


class Runs(RuleBasedStateMachine):
    """Up to three sessions that lose, stall, repeat, come and go, and subscribe anew.

    What was lost is told only by a checksum of all there is, or by a silence that is suspected.
    """

    topic: TopicSpec = PLAIN

    def __init__(self):
        super().__init__()
        self.now_ns = 0
        self.venue = RunVenue(self.topic)
        self.follower = Follower()
        self.log = Log()
        self.stream = BookRunStream(self.topic, self.follower, self.log.needs.append)
        self.lines: dict[int, Line] = {}
        self.epochs = 0
        self.offered = 0
        self.proven: set[int] = set()  # states that some session has brought

    @property
    def tells(self) -> bool:
        """Whether a lost message shows in the next one."""
        checksum, depth = self.topic.checksum, self.topic.depth
        covers = 0 if checksum is None else checksum.depth
        return covers >= (12 if depth is None else depth)

    def pick(self, which: int) -> Line:
        return self.lines[sorted(self.lines)[which % len(self.lines)]]

    def send(self, line: Line, size: int = 1) -> bool:
        end = min(line.sent + size, self.venue.newest)
        if end == line.sent:
            return False
        event = self.venue.delta(line.origin, line.sent, end, self.now_ns)
        line.flight.append((event, end, line.torn))
        line.sent = end
        return True

    def greet(self, line: Line) -> None:
        line.sent, line.torn = self.venue.newest, False
        event = self.venue.snapshot(line.origin, line.sent, self.now_ns)
        line.flight.append((event, line.sent, False))

    def receive(self, line: Line) -> None:
        event, index, torn = line.flight.popleft()
        if self.tells or not torn:  # where it tells, what was lost may not have mattered
            self.proven.add(index)
        self.offered += 1
        self.stream.offer(event)

    @initialize()
    def begin(self):
        self.open(acked=True)

    @rule(count=st.integers(1, 5))
    def change(self, count):
        for _ in range(count):
            self.now_ns += MS
            self.venue.change(self.now_ns)

    @precondition(lambda self: len(self.lines) < 3)
    @rule(acked=st.booleans())
    def open(self, acked):
        self.epochs += 1
        line = self.lines[self.epochs] = Line(origin(self.epochs, "book"), 0)
        self.greet(line)
        if acked:
            self.stream.attach(line.origin, at(self.now_ns))

    @precondition(lambda self: self.lines)
    @rule(which=st.integers(0, 2))
    def acknowledge(self, which):
        self.stream.attach(self.pick(which).origin, at(self.now_ns))

    @precondition(lambda self: self.lines)
    @rule(which=st.integers(0, 2), size=st.integers(1, 3), count=st.integers(1, 4))
    def deliver(self, which, size, count):
        line = self.pick(which)
        for _ in range(count):
            self.send(line, size)
            if line.flight:
                self.receive(line)

    @precondition(lambda self: self.lines)
    @rule(which=st.integers(0, 2))
    def leave_in_flight(self, which):
        self.send(self.pick(which))

    @precondition(lambda self: self.tells and self.lines)
    @rule(which=st.integers(0, 2))
    def lose_a_message(self, which):
        line = self.pick(which)
        if not line.flight and self.send(line):
            line.flight.pop()
            line.torn = True

    @precondition(lambda self: self.lines)
    @rule(which=st.integers(0, 2), loses=st.booleans(), covers=st.booleans())
    def stall(self, which, loses, covers):
        line = self.pick(which)
        if loses and not line.flight and self.send(line, 3):
            line.flight.pop()
            line.torn = True
        covered_ns = self.now_ns if covers else max(0, self.now_ns - 3 * MS)
        others = len(self.stream.sources)
        self.stream.suspect(line.origin.epoch, "silent", at(self.now_ns), covered_ns)
        if others == 1:
            self.darken()

    @precondition(lambda self: self.lines)
    @rule(which=st.integers(0, 2))
    def say_it_again(self, which):
        line = self.pick(which)
        if not line.flight and not line.torn:
            self.greet(line)

    @precondition(lambda self: self.lines)
    @rule(which=st.integers(0, 2))
    def close(self, which):
        epoch = self.pick(which).origin.epoch
        del self.lines[epoch]
        self.stream.detach(epoch, "closed", at(self.now_ns))
        self.darken()

    def darken(self):
        if self.stream.blind and self.follower.loaded:
            self.follower.dark = not self.follower.gapped

    @precondition(lambda self: self.lines)
    @rule(which=st.integers(0, 2))
    def misread(self, which):
        epoch = self.pick(which).origin.epoch
        if epoch in self.stream.sources:
            self.stream.suspect(epoch, "a frame could not be read", at(self.now_ns))
            self.darken()
            self.stream.rebuild(epoch, "a frame could not be read", at(self.now_ns))

    @rule()
    def heed(self):
        for need in self.log.needs:
            line = self.lines.get(need.epoch)
            if line is not None:
                self.greet(line)
        self.log.needs.clear()

    @rule(ms=st.sampled_from([1, 100, 600, 12_000]))
    def wait(self, ms):
        self.now_ns += ms * MS
        self.stream.tick(at(self.now_ns))

    @invariant()
    def every_message_is_accounted_for(self):
        assert self.stream.arrived == self.offered

    @invariant()
    def a_readable_book_is_a_book_of_the_venue_and_the_one_that_was_delivered(self):
        stream, follower = self.stream, self.follower
        assert stream.gaps == follower.gaps
        assert set(stream._runs) == set(stream.sources)
        if not stream.readable:
            with pytest.raises(NotSynced):
                stream.proven()
            assert stream.because
            assert stream.trust is not Trust.LIVE
            return
        assert not follower.gapped
        assert not follower.dark
        book = stream.proven()
        assert (book.bids(), book.asks()) == follower.book()
        assert any(self.venue.book_at(index) == follower.book() for index in self.proven)

    def teardown(self):
        """Whatever happened, one good session later the book is the newest book."""
        while self.lines:
            self.close(which=0)
        self.log.needs.clear()
        self.open(acked=True)
        line = self.lines[self.epochs]
        for _ in range(4):
            self.change(count=2)
            while self.send(line) or line.flight:
                while line.flight:
                    self.receive(line)
            self.a_readable_book_is_a_book_of_the_venue_and_the_one_that_was_delivered()
        assert self.stream.readable
        assert self.stream.trust is Trust.LIVE
        assert self.follower.book() == self.venue.book_at(self.venue.newest)


class CheckedRuns(Runs):
    topic = run_book(covers=25)


class CutRuns(Runs):
    topic = run_book(depth=2, covers=2)


class HalfCheckedRuns(Runs):
    """The checksum covers the best levels only."""

    topic = run_book(covers=2)


class CutPlainRuns(Runs):
    topic = run_book(depth=3)


TestRuns = Runs.TestCase
TestCheckedRuns = CheckedRuns.TestCase
TestCutRuns = CutRuns.TestCase
TestHalfCheckedRuns = HalfCheckedRuns.TestCase
TestCutPlainRuns = CutPlainRuns.TestCase
TestRuns.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCheckedRuns.settings = TestCutRuns.settings = TestRuns.settings
TestHalfCheckedRuns.settings = TestCutPlainRuns.settings = TestRuns.settings
