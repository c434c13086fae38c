"""Filling holes: in order while others wait, late and marked otherwise, and never twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.worlds import MS, SECOND, TRADES, Log, at, origin, trade

from gapless.core.backfill import (
    FRUITLESS_MAX,
    HOLES_MAX,
    PATIENCE_NS,
    REQUESTS_MAX,
    TRADES_MAX,
    WAIT_NS,
    WAITING_MAX,
    BackfilledStream,
    Hole,
)
from gapless.core.kinds import stream_for
from gapless.core.sequence import Numbering
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import HOLD_NS, Backfill, Trust
from gapless.events import Gap, Resynced, Trade

A, B = origin(0), origin(1)


def stream_of(policy, *sources):
    log = Log()
    spec = replace(TRADES, backfill=policy)
    stream = stream_for(spec, log.events.append, log.needs.append)
    assert isinstance(stream, BackfilledStream)
    for source in sources or (A,):
        stream.attach(source, at(0))
    return stream, log


def live(stream, *numbers, source=A, ns=0):
    for number in numbers:
        stream.offer(trade(source, number, number, ns))


def past(*numbers, ns=0):
    return [trade(A, number, number, ns) for number in numbers]


def said(log):
    """What the consumer got: 5 live, -5 backfilled, gaps and resyncs by their bounds."""
    result = []
    for event in log.events:
        match event:
            case Trade(backfilled=True):
                result.append(-event.last)
            case Trade():
                result.append(event.last)
            case Gap():
                result.append(("gap", event.first, event.last))
            case Resynced():
                result.append((event.by, event.first, event.last))
    return result


# -- which topics ----------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [Backfill.WAIT, Backfill.LATE])
def test_only_dense_numbers_can_be_asked_for(policy):
    log = Log()
    for numbering in set(Numbering) - {Numbering.DENSE}:
        spec = replace(TRADES, numbering=numbering, backfill=policy)
        made = stream_for(spec, log.events.append, log.needs.append)
        assert not isinstance(made, BackfilledStream)


def test_whoever_did_not_choose_a_backfill_gets_none():
    made = stream_for(TRADES, print, print)
    assert type(made) is SequencedStream


# -- late ------------------------------------------------------------------------------------


def test_a_gap_is_announced_at_once_and_what_was_missing_comes_late_and_marked():
    stream, log = stream_of(Backfill.LATE)
    live(stream, 1, 4, 5, ns=3)
    assert said(log) == [1, ("gap", 2, 3), 4, 5]
    assert [(need.kind, need.topic) for need in log.needs] == [("backfill", "trades.btc")]
    assert stream.hole.wanted == (2, 3)
    stream.refill(stream.hole, past(2, 3), at(10))
    live(stream, 6, ns=11)
    assert said(log)[4:] == [-2, -3, ("rest", 2, 3), 6]
    assert stream.hole is None
    assert (stream.delivered, stream.backfilled, stream.missing, stream.gaps) == (4, 2, 0, 1)
    assert stream.arrived == 4  # what was fetched did not come by a line
    resynced = log.events[6]
    assert resynced.blind_ns == 7
    assert resynced.origin is A


def test_nothing_before_the_first_message_is_asked_for():
    stream, log = stream_of(Backfill.LATE)
    stream.detach(A.epoch, "closed", at(5))
    live(stream, 7, source=B)
    assert said(log) == [("gap", None, None), 7]
    assert stream.hole is None
    assert not log.needs


def test_what_a_reconnect_missed_is_asked_for():
    stream, log = stream_of(Backfill.LATE)
    live(stream, 1)
    stream.detach(A.epoch, "closed", at(5))
    live(stream, 4, source=B, ns=SECOND)
    stream.refill(stream.hole, past(2, 3), at(2 * SECOND))
    assert said(log) == [1, ("gap", 2, 3), 4, -2, -3, ("rest", 2, 3)]


def test_a_reply_may_hold_fewer_and_others_in_any_order():
    stream, log = stream_of(Backfill.LATE)
    live(stream, 1, 10)
    hole = stream.hole
    stream.refill(hole, past(11, 1, 5, 4, 4, 9, 0), at(1))
    assert said(log)[3:] == [-4, -5, -9]
    assert hole.wanted == (2, 8)
    stream.refill(hole, past(2, 3, 4, 5), at(1))
    assert hole.wanted == (6, 8)
    stream.refill(hole, past(8, 7, 6), at(2))
    assert said(log)[6:] == [-2, -3, -6, -7, -8, ("rest", 2, 9)]
    assert stream.missing == 0


def test_a_past_trade_that_covers_more_is_cut_to_what_is_missing():
    stream, log = stream_of(Backfill.LATE)
    live(stream, 1, 5, 8)
    stream.refill(stream.hole, [trade(A, 1, 9, 0)], at(1))
    cut = log.events[-2]
    assert (cut.first, cut.last, cut.backfilled) == (2, 4, True)
    assert stream.missing == 2


def test_past_trades_without_numbers_are_of_no_use():
    stream, _ = stream_of(Backfill.LATE)
    live(stream, 1, 3)
    stream.refill(stream.hole, [trade(A, None, None, 0)], at(1))
    assert stream.missing == 1


def test_what_a_lagging_line_brings_after_its_backfill_is_a_duplicate():
    stream, log = stream_of(Backfill.LATE, A, B)
    live(stream, 1)
    live(stream, 4)
    stream.tick(at(HOLD_NS))
    stream.refill(stream.hole, past(2, 3), at(HOLD_NS))
    before = len(log.events)
    live(stream, 2, 3, 4, source=B)
    assert len(log.events) == before
    assert stream.duplicates == 3


def test_each_hole_is_closed_by_itself_the_oldest_first():
    stream, log = stream_of(Backfill.LATE)
    live(stream, 1, 3, 5)
    assert (stream.hole.first, len(log.needs)) == (2, 2)
    stream.refill(stream.hole, past(2, 3, 4), at(1))
    assert stream.hole.first == 4
    stream.refill(stream.hole, past(4), at(2))
    assert said(log)[5:] == [-2, ("rest", 2, 2), -4, ("rest", 4, 4)]


def test_a_reply_to_a_hole_that_was_given_up_meanwhile_changes_nothing():
    stream, log = stream_of(Backfill.LATE)
    live(stream, 1, 3)
    hole = stream.hole
    stream.give_up(hole, "refused", at(1))
    before = len(log.events)
    stream.refill(hole, past(2), at(2))
    stream.give_up(hole, "again", at(2))
    assert len(log.events) == before
    assert (stream.missing, [h.why for h in stream.closed]) == (1, ["refused"])


def test_what_a_venue_that_numbers_anew_no_longer_means_is_not_asked_for():
    stream, log = stream_of(Backfill.WAIT)
    stream.offer(trade(A, 900, 900, 0, made_ns=0))
    stream.offer(trade(A, 902, 902, 1, made_ns=1))
    stream.offer(trade(A, 1, 1, 2, made_ns=60 * SECOND))
    assert said(log) == [900, ("gap", 901, 901), 902, ("gap", None, None), 1]
    assert stream.hole is None
    assert stream.closed[0].why == "the venue numbers anew"
    assert stream.missing == 1


# -- bounds ----------------------------------------------------------------------------------


def hole_of(first=2, last=9):
    return Hole(A, first, last, 0)


def test_a_venue_that_brings_nothing_twice_in_a_row_is_believed():
    hole = hole_of()
    for _ in range(FRUITLESS_MAX - 1):
        assert not hole.take([])
        assert not hole.expired(0)
    hole.take(past(1, 10))
    assert hole.expired(0) == "the venue does not have them"
    assert hole.lacking == 8


def test_what_lies_behind_a_part_that_the_venue_lacks_is_still_asked_for():
    hole = hole_of()
    hole.take(past(5))
    for _ in range(FRUITLESS_MAX):
        hole.take(past(5))
    assert hole.wanted == (6, 9)
    assert len(hole.take(past(2, 6, 7, 8, 9))) == 4
    assert hole.lacking == 3


def test_anything_new_makes_a_venue_worth_another_try():
    hole = hole_of()
    for number in range(2, 9):
        hole.take([])
        assert hole.take(past(number))
        assert not hole.expired(0)


def test_a_hole_costs_no_more_requests_than_the_bound():
    hole = hole_of()
    hole.requests = REQUESTS_MAX - 1
    assert not hole.expired(0)
    hole.requests = REQUESTS_MAX
    assert str(REQUESTS_MAX) in hole.expired(0)


def test_a_hole_brings_no_more_trades_than_the_bound():
    hole = hole_of(1, 3 * TRADES_MAX)
    assert hole.wanted == (1, TRADES_MAX)
    hole.take(past(*range(1, TRADES_MAX)))
    assert hole.wanted == (TRADES_MAX, TRADES_MAX)
    assert not hole.expired(0)
    hole.take(past(TRADES_MAX))
    assert str(TRADES_MAX) in hole.expired(0)


def test_a_hole_is_given_up_after_its_time_exactly():
    hole = hole_of()
    assert not hole.expired(PATIENCE_NS - 1)
    assert hole.expired(PATIENCE_NS) == "they were not to be had in time"


def test_no_more_holes_are_open_than_the_bound_and_the_rest_is_told():
    stream, log = stream_of(Backfill.LATE)
    live(stream, *range(1, 2 * HOLES_MAX + 6, 2))
    assert len(log.needs) == HOLES_MAX
    assert [hole.first for hole in stream.closed] == [2 * HOLES_MAX + 2, 2 * HOLES_MAX + 4]
    assert stream.missing == HOLES_MAX + 2


def test_what_stays_missing_is_told_and_never_closed_by_a_resync():
    stream, log = stream_of(Backfill.LATE)
    live(stream, 1, 4)
    hole = stream.hole
    stream.refill(hole, past(3), at(1))
    for _ in range(FRUITLESS_MAX):
        stream.refill(hole, [], at(2))
    assert said(log) == [1, ("gap", 2, 3), 4, -3]
    (closed,) = stream.closed
    assert (closed.lacking, closed.why) == (1, "the venue does not have them")
    assert stream.missing == 1


# -- wait ------------------------------------------------------------------------------------


def test_later_ones_wait_and_everything_comes_in_order():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, 4, 5)
    assert said(log) == [1, ("gap", 2, 3)]
    assert (stream.delivered, stream.waiting, stream.arrived) == (1, 2, 3)
    assert (stream.trust, stream.because) == (
        Trust.SYNCING,
        "missing messages are being fetched",
    )
    stream.refill(stream.hole, past(2), at(1))
    assert said(log)[2:] == [-2]
    stream.refill(stream.hole, past(3), at(2))
    live(stream, 6)
    assert said(log)[3:] == [-3, ("rest", 2, 3), 4, 5, 6]
    assert (stream.delivered, stream.waiting, stream.backfilled) == (4, 0, 2)
    assert (stream.trust, stream.because) == (Trust.LIVE, "")


def test_they_wait_for_the_bound_exactly_and_the_missing_come_late_then():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, ns=7)
    live(stream, 3, ns=7)
    stream.tick(at(7 + WAIT_NS - 1))
    assert said(log) == [1, ("gap", 2, 2)]
    stream.tick(at(7 + WAIT_NS))
    assert said(log) == [1, ("gap", 2, 2), 3]
    live(stream, 4, ns=8 + WAIT_NS)
    stream.refill(stream.hole, past(2), at(9 + WAIT_NS))
    assert said(log)[3:] == [4, -2, ("rest", 2, 2)]


def test_a_message_after_the_bound_does_not_wait_for_a_tick():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, 3)
    live(stream, 4, ns=WAIT_NS)
    assert said(log) == [1, ("gap", 2, 2), 3, 4]


def test_no_more_wait_than_the_bound():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, *range(3, 3 + WAITING_MAX))
    assert said(log) == [1, ("gap", 2, 2)]
    live(stream, 3 + WAITING_MAX)
    assert said(log)[2:] == list(range(3, 4 + WAITING_MAX))
    assert stream.waiting == 0


def test_nobody_waits_for_what_cannot_be_had():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, 3, 4)
    stream.give_up(stream.hole, "refused", at(5))
    assert said(log) == [1, ("gap", 2, 2), 3, 4]
    assert stream.missing == 1


def test_a_gap_that_is_found_while_others_wait_keeps_its_place_and_is_counted_at_once():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, 3, 4, 7, 8)
    assert said(log) == [1, ("gap", 2, 2)]
    assert (stream.gaps, stream.missing) == (2, 3)
    stream.refill(stream.hole, past(2), at(1))
    assert said(log)[2:] == [-2, ("rest", 2, 2), 3, 4, ("gap", 5, 6)]
    stream.refill(stream.hole, past(5, 6), at(2))
    assert said(log)[7:] == [-5, -6, ("rest", 5, 6), 7, 8]


def test_each_gap_is_waited_for_since_it_was_found():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, 3, ns=0)
    live(stream, 5, ns=SECOND)
    stream.tick(at(WAIT_NS))
    assert said(log) == [1, ("gap", 2, 2), 3, ("gap", 4, 4)]
    stream.tick(at(WAIT_NS + SECOND - 1))
    assert said(log)[-1] == ("gap", 4, 4)
    stream.tick(at(WAIT_NS + SECOND))
    assert said(log)[-1] == 5


def test_gaps_that_were_found_together_are_waited_for_together():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, 3, 5)
    stream.tick(at(WAIT_NS))
    assert said(log) == [1, ("gap", 2, 2), 3, ("gap", 4, 4), 5]


def test_a_stream_that_is_closed_keeps_nothing_back():
    stream, log = stream_of(Backfill.WAIT)
    live(stream, 1, 3, 5, 6)
    stream.close()
    assert said(log) == [1, ("gap", 2, 2), 3, ("gap", 4, 4), 5, 6]
    assert stream.hole is None
    assert not stream.closed  # nobody asks about it any more


def test_a_stream_that_is_closed_gives_what_it_held_for_a_line_that_is_behind():
    stream, log = stream_of(Backfill.WAIT, A, B)
    live(stream, 1, 3)
    assert said(log) == [1]
    stream.close()
    assert said(log) == [1, ("gap", 2, 2), 3]
    assert stream.hole is None


def test_what_the_outlet_dropped_of_a_backfill_is_missing_again_and_its_hole_is_not_closed():
    stream, log = stream_of(Backfill.LATE)
    live(stream, 1, 5)
    stream.refill(stream.hole, past(2, 3), at(1))
    assert (stream.backfilled, stream.missing) == (2, 1)
    stream.overflowed(count=0, gaps=1, missing=2, late=2)
    assert (stream.backfilled, stream.missing, stream.delivered, stream.gaps) == (0, 3, 2, 2)
    stream.refill(stream.hole, past(4), at(2))
    assert said(log)[-1] == -4
    assert not stream.closed


# -- properties ------------------------------------------------------------------------------


class Reader:
    """A consumer that keeps count by itself, and believes nothing else."""

    def __init__(self):
        self.live: list[int] = []
        self.fetched: list[int] = []
        self.announced: set[int] = set()
        self.holes: list[tuple[int, int]] = []
        self.covered: int | None = None
        self.all: list[int] = []  # in the order of arrival

    def __call__(self, event):
        match event:
            case Gap():
                assert event.first == self.covered + 1
                assert event.missing == event.last - event.first + 1
                self.announced |= set(range(event.first, event.last + 1))
                self.holes.append((event.first, event.last))
                self.covered = event.last
            case Resynced(by="ids"):
                pass
            case Resynced():
                assert event.by == "rest"
                assert (event.first, event.last) in self.holes
                assert set(range(event.first, event.last + 1)) <= set(self.fetched)
            case Trade(backfilled=True):
                assert event.first == event.last
                assert event.last in self.announced
                self.fetched.append(event.last)
                self.all.append(event.last)
            case Trade():
                assert self.covered is None or event.first == self.covered + 1
                self.covered = event.last
                self.live += range(event.first, event.last + 1)
                self.all += range(event.first, event.last + 1)
        assert len(self.fetched) == len(set(self.fetched))
        assert not set(self.fetched) & set(self.live)


class Filling(RuleBasedStateMachine):
    """A line that loses, a venue that remembers some of it, and answers that say too much."""

    @initialize(policy=st.sampled_from([Backfill.WAIT, Backfill.LATE]), lost=st.booleans())
    def begin(self, policy, lost):
        self.reader, self.asked = Reader(), 0
        spec = replace(TRADES, backfill=policy)
        self.policy = policy
        self.stream = stream_for(spec, self.reader, self.count)
        self.now_ns, self.made, self.epoch = 0, 0, 0
        self.forgets = 7 if lost else 10**9  # every seventh trade is in no archive
        self.oldest_waiting_ns: int | None = None
        self.stream.attach(origin(0), at(0))
        self.trade(1)

    def count(self, need):
        assert need.kind == "backfill"
        self.asked += 1

    @rule(count=st.integers(1, 5), size=st.integers(1, 2))
    def trade(self, count, size=1):
        for _ in range(count):
            self.now_ns += MS
            first, self.made = self.made + 1, self.made + size
            self.stream.offer(trade(origin(self.epoch), first, self.made, self.now_ns))

    @rule(count=st.integers(1, 9))
    def lose(self, count):
        self.made += count

    @rule(back=st.integers(0, 12))
    def repeat(self, back):
        number = max(1, self.made - back)
        if number <= (self.reader.covered or 0):  # a line that lags brings what went by
            self.stream.offer(trade(origin(self.epoch), number, number, self.now_ns))

    @rule(lost=st.integers(0, 3))
    def reconnect(self, lost):
        self.stream.detach(origin(self.epoch).epoch, "closed", at(self.now_ns))
        self.epoch += 1
        self.made += lost
        self.stream.attach(origin(self.epoch), at(self.now_ns))

    @precondition(lambda self: self.stream.hole is not None)
    @rule(skip=st.integers(0, 3), size=st.integers(0, 6), step=st.integers(1, 2))
    def answer(self, skip, size, step):
        hole = self.stream.hole
        first, last = hole.wanted
        assert hole.first <= first <= last <= hole.last
        wanted = range(max(1, first - 1 + skip), last + 2, step)[:size]
        hole.requests += 1
        had = [number for number in wanted if number % self.forgets]
        self.stream.refill(hole, past(*had, ns=self.now_ns), at(self.now_ns))

    @precondition(lambda self: self.stream.hole is not None)
    @rule()
    def refuse(self):
        self.stream.give_up(self.stream.hole, "refused", at(self.now_ns))

    @rule(ms=st.sampled_from([1, 250, 900, 2100]))
    def wait(self, ms):
        self.now_ns += ms * MS
        self.stream.tick(at(self.now_ns))

    @invariant()
    def everything_is_accounted_for(self):
        stream, reader = self.stream, self.reader
        assert reader.live == sorted(reader.live)
        parked = [e for e in stream._parked if isinstance(e, Trade)]
        hidden = sum(e.missing for e in stream._parked if isinstance(e, Gap))
        missing = reader.announced - set(reader.fetched)
        assert stream.missing == len(missing) + hidden
        assert stream.backfilled == len(reader.fetched)
        assert stream.waiting == len(parked)
        if reader.covered is not None:
            told = set(reader.live) | set(reader.fetched) | missing
            assert told == set(range(reader.live[0], reader.covered + 1))
        if self.policy is Backfill.LATE:
            assert not parked
        for event in parked:
            assert self.now_ns < event.mono_ns + WAIT_NS + 2 * SECOND
        if stream._awaited is None:
            assert not stream._parked

    def teardown(self):
        """Once every hole is had or given up, nothing waits."""
        if not hasattr(self, "stream"):
            return
        for _ in range(1000):
            if (hole := self.stream.hole) is None:
                break
            self.stream.refill(hole, [], at(self.now_ns))
        assert self.stream.hole is None
        assert not self.stream._parked
        self.everything_is_accounted_for()


TestFilling = Filling.TestCase
TestFilling.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.integers(2, 60), max_size=40),
    st.lists(st.integers(1, 20), min_size=1, max_size=30),
    st.booleans(),
)
def test_a_venue_that_has_it_all_fills_every_hole_in_order_while_others_wait(lost, pages, newest):
    reader = Reader()
    stream = stream_for(replace(TRADES, backfill=Backfill.WAIT), reader, lambda need: None)
    stream.attach(A, at(0))
    for number in range(1, 62):
        if number not in lost:
            live(stream, number)
    page = 0
    while (hole := stream.hole) is not None:
        first, last = hole.wanted
        size = pages[page % len(pages)]
        page += 1
        had = range(first, last + 1)[-size:] if newest else range(first, last + 1)[:size]
        stream.refill(hole, past(*had), at(1))
    assert sorted(reader.all) == list(range(1, 62))
    assert newest or reader.all == sorted(reader.all)
    assert (stream.missing, stream.backfilled) == (0, len(lost))
