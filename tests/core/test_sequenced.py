from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.worlds import (
    MS,
    SECOND,
    TRADES,
    WALL,
    Log,
    Reader,
    Session,
    Venue,
    at,
    origin,
    spec,
    trade,
)

from gapless.core.sequence import Numbering
from gapless.core.sequenced import HELD_MAX, SequencedStream
from gapless.core.stream import (
    HOLD_NS,
    REGRESS_NS,
    TRANSIT_NS,
    Trust,
)
from gapless.errors import IllegalTransition
from gapless.events import Event, Gap, Resynced, Trade

A, B, C = origin(0), origin(1), origin(2)


def stream_of(*sources, topic=TRADES):
    log = Log()
    stream = SequencedStream(topic, log.events.append, log.needs.append)
    for source in sources:
        stream.attach(source, at(0))
    return stream, log


def numbers(log):
    return [(e.first, e.last) for e in log.events if isinstance(e, Trade)]


# -- one source -----------------------------------------------------------------------------


def test_messages_in_order_are_delivered_as_they_are():
    stream, log = stream_of(A)
    sent = [trade(A, n, n, n) for n in range(5, 9)]
    for event in sent:
        stream.offer(event)
    assert all(got is event for got, event in zip(log.events, sent, strict=True))
    assert stream.delivered == 4
    assert stream.newest is sent[-1]
    assert stream.trust is Trust.LIVE
    assert stream.because == ""


def test_a_hole_is_announced_before_what_is_behind_it():
    stream, log = stream_of(A)
    stream.offer(trade(A, 5, 5, 1))
    stream.offer(trade(A, 8, 8, 2))
    assert log.kinds == ["Trade", "Gap", "Trade"]
    gap = log.gaps[0]
    assert (gap.first, gap.last, gap.missing) == (6, 7, 2)
    assert gap.cause == "numbers are missing"
    assert (gap.since_ns, gap.until_ns) == (WALL + 1 - TRANSIT_NS, WALL + 2)
    assert (stream.gaps, stream.missing) == (1, 2)


def test_a_hole_on_a_chain_has_no_count():
    stream, log = stream_of(A, topic=spec(Numbering.CHAIN))
    stream.offer(trade(A, 5, 9, 1))
    stream.offer(trade(A, 20, 30, 2))
    assert (log.gaps[0].first, log.gaps[0].last, log.gaps[0].missing) == (10, 19, None)
    assert stream.missing == 0


def test_the_interval_of_a_gap_begins_with_the_last_message_s_own_time():
    stream, log = stream_of(A)
    stream.offer(trade(A, 5, 5, 80, made_ns=30))
    stream.offer(trade(A, 8, 8, 90, made_ns=85))
    assert (log.gaps[0].since_ns, log.gaps[0].until_ns) == (WALL + 30, WALL + 90)


def test_the_interval_of_a_gap_is_never_negative_though_the_venue_s_clock_be_ahead():
    stream, log = stream_of(A)
    stream.offer(trade(A, 5, 5, 80, made_ns=10_000))
    stream.offer(trade(A, 8, 8, 90, made_ns=10_001))
    assert log.gaps[0].since_ns == WALL + 80


def test_repeats_are_counted_and_dropped():
    stream, log = stream_of(A)
    for n in (5, 6, 6, 5, 7):
        stream.offer(trade(A, n, n, n))
    assert numbers(log) == [(5, 5), (6, 6), (7, 7)]
    assert stream.duplicates == 2


def test_an_overlap_of_a_dense_numbering_is_trimmed():
    stream, log = stream_of(A)
    stream.offer(trade(A, 1, 5, 0))
    stream.offer(trade(A, 4, 8, 0))
    assert numbers(log) == [(1, 5), (6, 8)]
    assert not log.gaps


def test_a_message_without_numbers_is_dropped_and_counted():
    stream, log = stream_of(A)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, None, None, 0))
    stream.offer(trade(A, 3, None, 0))
    stream.offer(trade(A, 2, 2, 0))
    assert numbers(log) == [(1, 1), (2, 2)]
    assert stream.dropped == 2


def test_a_message_that_comes_after_its_hole_was_announced_is_not_delivered_late():
    stream, log = stream_of(A)
    for n in (1, 3, 2, 4):
        stream.offer(trade(A, n, n, 0))
    assert numbers(log) == [(1, 1), (3, 3), (4, 4)]
    assert stream.missing == 1


# -- a venue that numbers anew ----------------------------------------------------------------


def test_old_numbers_with_new_times_are_a_new_numbering():
    stream, log = stream_of(A)
    stream.offer(trade(A, 900, 900, 0, made_ns=0))
    stream.offer(trade(A, 1, 1, 9 * SECOND, made_ns=REGRESS_NS + 1))
    stream.offer(trade(A, 2, 2, 9 * SECOND, made_ns=REGRESS_NS + 2))
    assert log.kinds == ["Trade", "Gap", "Trade", "Trade"]
    assert (log.gaps[0].first, log.gaps[0].last, log.gaps[0].missing) == (None, None, None)
    assert log.gaps[0].cause == "the venue numbers anew"


def test_old_numbers_with_old_times_are_a_line_that_lags():
    stream, log = stream_of(A)
    stream.offer(trade(A, 900, 900, 0, made_ns=0))
    stream.offer(trade(A, 1, 1, 9 * SECOND, made_ns=REGRESS_NS))
    stream.offer(trade(A, 1, 1, 9 * SECOND))  # no time at all proves nothing either
    assert log.kinds == ["Trade"]
    assert stream.duplicates == 2


def test_what_is_held_of_the_old_numbering_is_forgotten_with_it():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 900, 900, 0, made_ns=0))
    stream.offer(trade(A, 950, 950, 0, made_ns=0))
    stream.offer(trade(A, 1, 1, 0, made_ns=9 * SECOND))
    stream.offer(trade(A, 2, 2, 0, made_ns=9 * SECOND))
    assert numbers(log) == [(900, 900), (1, 1), (2, 2)]


# -- a chain that leads back, and messages of nothing -------------------------------------------


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_a_chain_that_leads_back_is_followed_on_every_line(lag):
    stream, log = stream_of(A, B, topic=spec(Numbering.CHAIN))
    chain = [(95, 100), (101, 100), (101, 15), (16, 20), (21, 30)]
    for n in range(len(chain) + lag):
        if n < len(chain):
            stream.offer(trade(A, *chain[n], n))
        if n >= lag:
            stream.offer(trade(B, *chain[n - lag], n))
    stream.tick(at(9 + HOLD_NS))
    assert numbers(log) == chain
    assert not log.gaps
    assert stream.duplicates == len(chain)


def test_a_hole_before_the_way_back_is_announced_and_the_way_is_followed():
    stream, log = stream_of(A, B, topic=spec(Numbering.CHAIN))
    for event in (trade(A, 1, 9, 0), trade(B, 1, 9, 0), trade(A, 15, 3, 1), trade(B, 15, 3, 1)):
        stream.offer(event)
    assert [(g.first, g.last) for g in log.gaps] == [(10, 14)]
    stream.offer(trade(A, 4, 6, 2))
    stream.tick(at(2 + HOLD_NS))
    assert numbers(log) == [(1, 9), (15, 3), (4, 6)]
    assert len(log.gaps) == 1
    assert stream.duplicates == 2


@settings(max_examples=300, deadline=None)
@given(
    before=st.lists(st.integers(0, 4), max_size=6),
    to=st.integers(80, 99),
    after=st.lists(st.integers(0, 4), max_size=8),
    order=st.lists(st.booleans(), max_size=20),
)
def test_two_lines_of_a_chain_that_leads_back_are_one_chain(before, to, after, order):
    """The new numbers soon are those of before: only who brings them tells them apart."""
    chain = []
    number = 99
    for step in (*before, None, *after):
        last = to if step is None else number + step
        chain.append((number + 1, last))
        number = last
    stream, log = stream_of(A, B, topic=spec(Numbering.CHAIN))
    stream.offer(trade(A, 98, 99, 0))
    stream.offer(trade(B, 98, 99, 0))
    sent = {A: 0, B: 0}
    for second in (*order, *[False] * len(chain), *[True] * len(chain)):
        source = B if second else A
        if sent[source] < len(chain):
            stream.offer(trade(source, *chain[sent[source]], 1))
            sent[source] += 1
    stream.tick(at(1 + HOLD_NS))
    assert not log.gaps
    changes = [(first, last) for first, last in chain if last != first - 1]
    assert [span for span in numbers(log)[1:] if span[1] != span[0] - 1] == changes
    assert stream.arrived == 2 + 2 * len(chain)


# -- several sources --------------------------------------------------------------------------


def test_first_arrival_wins():
    stream, log = stream_of(A, B)
    for n, source in enumerate((A, B, B, A, A)):
        stream.offer(trade(source, n, n, 0))
        stream.offer(trade(B if source is A else A, n, n, 0))
    assert numbers(log) == [(n, n) for n in range(5)]
    assert [event.origin for event in log.events] == [A, B, B, A, A]
    assert stream.duplicates == 5


def test_a_hole_waits_for_a_line_that_is_behind_and_is_filled_by_it():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 4, 4, 0))
    stream.offer(trade(A, 5, 5, 0))
    assert numbers(log) == [(1, 1)]
    assert stream.out_of_order == 2
    for n in (1, 2, 3):
        stream.offer(trade(B, n, n, 0))
    assert numbers(log) == [(n, n) for n in range(1, 6)]
    assert not log.gaps
    stream.offer(trade(B, 6, 6, 0))
    assert numbers(log)[-1] == (6, 6)


def test_what_is_held_when_the_topic_is_followed_no_more_is_not_lost_in_silence():
    stream, log = stream_of(A, B)
    for n in (1, 4, 7):
        stream.offer(trade(A, n, n, 0))
    assert numbers(log) == [(1, 1)]
    stream.sources.clear()
    stream.close()
    assert log.kinds == ["Trade", "Gap", "Trade", "Gap", "Trade"]
    assert [(gap.first, gap.last) for gap in log.gaps] == [(2, 3), (5, 6)]
    stream.close()
    assert len(log.events) == 5


def test_a_hole_is_announced_as_soon_as_every_line_has_passed_it():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 4, 4, 0))
    assert not log.gaps
    stream.offer(trade(B, 3, 3, 0))
    assert log.kinds == ["Trade", "Gap", "Trade", "Trade"]
    assert (log.gaps[0].first, log.gaps[0].last) == (2, 2)


def test_a_hole_is_announced_after_the_hold_exactly():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 4, 4, 7))
    stream.tick(at(HOLD_NS + 6))
    assert not log.gaps
    stream.tick(at(HOLD_NS + 7))
    assert log.kinds == ["Trade", "Gap", "Trade"]
    stream.offer(trade(A, 5, 5, HOLD_NS + 8))
    assert log.kinds[-1] == "Trade"


def test_only_the_first_hole_is_given_up_the_next_has_a_hold_of_its_own():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 4, 4, 0))
    stream.offer(trade(A, 7, 7, 5))
    stream.tick(at(HOLD_NS))
    assert numbers(log) == [(1, 1), (4, 4)]
    stream.tick(at(HOLD_NS + 5))
    assert numbers(log) == [(1, 1), (4, 4), (7, 7)]
    assert [(g.first, g.last) for g in log.gaps] == [(2, 3), (5, 6)]


def test_every_hole_older_than_the_hold_is_given_up_at_once():
    stream, log = stream_of(A, B)
    for n in (1, 4, 7, 10):
        stream.offer(trade(A, n, n, 0))
    stream.tick(at(HOLD_NS))
    assert numbers(log) == [(1, 1), (4, 4), (7, 7), (10, 10)]
    assert stream.missing == 6


@pytest.mark.parametrize("end", ["detach", "suspect"])
def test_a_hole_is_announced_when_the_line_behind_is_lost_or_suspect(end):
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 4, 4, 0))
    getattr(stream, end)(B.epoch, "closed", at(10))
    assert log.kinds == ["Trade", "Gap", "Trade"]
    assert not stream.blind
    stream.offer(trade(A, 5, 5, 20))
    assert log.kinds[-1] == "Trade"


def test_what_is_held_is_delivered_when_the_line_that_brought_it_is_lost():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 3, 3, 0))
    stream.detach(A.epoch, "closed", at(10))
    stream.offer(trade(B, 2, 2, 20))
    assert numbers(log) == [(1, 1), (2, 2), (3, 3)]
    assert not log.gaps


def test_what_is_held_when_the_last_line_is_lost_is_delivered_and_the_stream_is_blind():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 3, 3, 5))
    stream.detach(A.epoch, "closed", at(10))
    stream.detach(B.epoch, "closed too", at(11))
    assert log.kinds == ["Trade", "Gap", "Trade"]
    assert log.gaps[0].cause == "closed too"
    assert stream.blind
    stream.offer(trade(A, 4, 4, 20))
    assert isinstance(log.events[3], Resynced)


def test_the_longer_of_two_batches_that_begin_alike_is_not_lost():
    """First arrival wins is not keyed by the first sequence number."""
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 2, 0))
    stream.offer(trade(B, 1, 5, 0))
    stream.offer(trade(A, 3, 8, 0))
    stream.offer(trade(B, 6, 6, 0))
    stream.offer(trade(B, 7, 9, 0))
    assert numbers(log) == [(1, 2), (3, 5), (6, 8), (9, 9)]
    assert not log.gaps


def test_a_held_message_that_was_overtaken_in_part_keeps_its_tail():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 4, 8, 0))
    stream.offer(trade(B, 2, 5, 0))
    assert numbers(log) == [(1, 1), (2, 5), (6, 8)]


def test_a_held_message_that_was_overtaken_in_full_is_a_duplicate():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.offer(trade(A, 4, 5, 0))
    stream.offer(trade(B, 2, 8, 0))
    assert numbers(log) == [(1, 1), (2, 8)]
    assert stream.duplicates == 1


def test_no_more_than_the_bound_is_held_and_the_hole_is_then_announced():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    for n in range(3, 3 + HELD_MAX):
        stream.offer(trade(A, n, n, 0))
    assert not log.gaps
    assert stream.out_of_order == HELD_MAX
    stream.offer(trade(A, 3 + HELD_MAX, 3 + HELD_MAX, 0))
    assert len(log.gaps) == 1
    assert stream.missing == 1
    assert numbers(log)[1:] == [(n, n) for n in range(3, 4 + HELD_MAX)]


# -- blindness --------------------------------------------------------------------------------


def test_losing_one_of_two_lines_blinds_nobody():
    stream, log = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.detach(A.epoch, "closed", at(5))
    assert not stream.blind
    stream.offer(trade(B, 2, 2, 6))
    assert log.kinds == ["Trade", "Trade"]


def test_numbers_that_go_on_prove_that_nothing_was_lost():
    stream, log = stream_of(A)
    stream.offer(trade(A, 1, 1, 100))
    stream.detach(A.epoch, "closed", at(300))
    assert stream.blind
    assert (stream.trust, stream.because) == (Trust.BLIND, "closed")
    stream.attach(B, at(400))
    assert stream.blind  # an ack proves nothing
    stream.offer(trade(B, 2, 2, 500))
    assert log.kinds == ["Trade", "Resynced", "Trade"]
    resynced = log.events[1]
    assert (resynced.by, resynced.blind_ns, resynced.last) == ("ids", 400, 2)
    assert resynced.origin is B
    assert not stream.blind
    stream.offer(trade(B, 3, 3, 501))
    assert log.kinds[3:] == ["Trade"]


def test_an_overlap_proves_it_too():
    stream, log = stream_of(A)
    stream.offer(trade(A, 1, 3, 0))
    stream.detach(A.epoch, "closed", at(1))
    stream.offer(trade(B, 2, 5, 2))
    assert log.kinds == ["Trade", "Resynced", "Trade"]
    assert numbers(log) == [(1, 3), (4, 5)]


def test_a_hole_after_blindness_is_named_by_number_and_by_the_cause_of_the_blindness():
    stream, log = stream_of(A)
    stream.offer(trade(A, 1, 1, 0))
    stream.detach(A.epoch, "closed with 1006", at(1))
    stream.attach(B, at(2))
    stream.offer(trade(B, 9, 9, 3))
    assert log.kinds == ["Trade", "Gap", "Trade"]
    assert (log.gaps[0].missing, log.gaps[0].cause) == (7, "closed with 1006")
    assert not stream.blind


def test_old_numbers_prove_nothing_after_blindness():
    stream, log = stream_of(A)
    stream.offer(trade(A, 5, 5, 0))
    stream.detach(A.epoch, "closed", at(1))
    stream.offer(trade(B, 4, 4, 2))
    stream.offer(trade(B, 5, 5, 2))
    assert stream.blind
    stream.offer(trade(B, 6, 6, 3))
    assert log.kinds == ["Trade", "Resynced", "Trade"]


def test_blindness_before_the_first_message_is_named_as_an_interval():
    stream, log = stream_of(A)
    stream.detach(A.epoch, "closed", at(70))
    stream.attach(B, at(80))
    stream.offer(trade(B, 5, 5, 90))
    assert log.kinds == ["Gap", "Trade"]
    gap = log.gaps[0]
    assert (gap.first, gap.last, gap.missing) == (None, None, None)
    assert (gap.since_ns, gap.until_ns) == (WALL, WALL + 90)


def test_a_new_numbering_ends_blindness_with_a_gap():
    stream, log = stream_of(A)
    stream.offer(trade(A, 900, 900, 0, made_ns=0))
    stream.detach(A.epoch, "closed", at(1))
    stream.offer(trade(B, 1, 1, 9 * SECOND, made_ns=9 * SECOND))
    assert log.kinds == ["Trade", "Gap", "Trade"]
    assert not stream.blind


def test_a_suspect_that_speaks_is_believed_again():
    stream, log = stream_of(A)
    stream.offer(trade(A, 1, 1, 0))
    stream.suspect(A.epoch, "silent", at(5 * SECOND))
    assert stream.blind
    assert stream.because == "silent"
    stream.suspect(A.epoch, "silent still", at(6 * SECOND))  # nothing new
    assert stream.because == "silent"
    stream.offer(trade(A, 2, 2, 7 * SECOND))
    assert log.kinds == ["Trade", "Resynced", "Trade"]
    assert log.events[1].blind_ns == 7 * SECOND
    stream.suspect(A.epoch, "silent", at(8 * SECOND))
    assert stream.blind


def test_a_held_message_without_numbers_would_be_a_bug():
    stream, _ = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream._held.append(trade(A, None, None, 0))
    with pytest.raises(IllegalTransition):
        stream.tick(at(HOLD_NS))


# -- properties -------------------------------------------------------------------------------


class Trades(RuleBasedStateMachine):
    """Up to three sessions that batch, drop, repeat, reorder, stall, come and go."""

    def __init__(self):
        super().__init__()
        self.now_ns = 0
        self.venue = Venue(Numbering.DENSE)
        self.reader = Reader(self.venue, TRADES)
        self.stream = SequencedStream(TRADES, self.reader, Log().needs.append)
        self.sessions: dict[int, Session] = {}
        self.epochs = 0

    def offer(self, event: Event) -> None:
        self.stream.offer(event)

    def step(self, ms: int = 1) -> None:
        self.now_ns += ms * MS

    def pick(self, which: int) -> Session:
        return self.sessions[sorted(self.sessions)[which % len(self.sessions)]]

    def send(self, session: Session, size: int) -> Event | None:
        end = min(session.sent + size, self.venue.newest)
        if end == session.sent:
            return None
        event = self.venue.trade(session.origin, session.sent, end, self.now_ns)
        session.sent = end
        session.messages.append(event)
        return event

    @initialize()
    def begin(self):
        self.open(acked=True)

    @rule(count=st.integers(1, 8))
    def trade(self, count):
        for _ in range(count):
            self.step()
            self.venue.change(self.now_ns)

    @precondition(lambda self: len(self.sessions) < 3)
    @rule(acked=st.booleans())
    def open(self, acked):
        self.epochs += 1
        source = origin(self.epochs)
        self.sessions[self.epochs] = Session(source, self.venue.newest, self.venue.newest, acked)
        if acked:
            self.stream.attach(source, at(self.now_ns))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
    def deliver(self, which, sizes):
        for size in sizes:
            event = self.send(self.pick(which), size)
            if event is not None:
                self.offer(event)

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), size=st.integers(1, 4))
    def drop(self, which, size):
        self.send(self.pick(which), size)

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), back=st.integers(1, 5))
    def repeat(self, which, back):
        session = self.pick(which)
        if len(session.messages) >= back:
            self.offer(session.messages[-back])

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), size=st.integers(1, 3), other=st.integers(1, 3))
    def reorder(self, which, size, other):
        session = self.pick(which)
        late, early = self.send(session, size), self.send(session, other)
        for event in (early, late):
            if event is not None:
                self.offer(event)

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2))
    def suspect(self, which):
        self.stream.suspect(self.pick(which).origin.epoch, "silent", at(self.now_ns))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2))
    def acknowledge(self, which):
        session = self.pick(which)
        session.attached = True
        self.stream.attach(session.origin, at(self.now_ns))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2))
    def lose(self, which):
        epoch = self.pick(which).origin.epoch
        del self.sessions[epoch]
        known = epoch in self.stream.sources
        self.stream.detach(epoch, "closed", at(self.now_ns))
        if known and not self.stream.sources:
            self.reader.dark = True
            assert self.stream.blind

    @rule(ms=st.sampled_from([1, 100, 500, 2000]))
    def wait(self, ms):
        self.step(ms)
        self.stream.tick(at(self.now_ns))

    @invariant()
    def delivered_and_missing_are_everything_up_to_the_newest(self):
        reader, stream = self.reader, self.stream
        assert reader.delivered == sorted(set(reader.delivered))
        assert not set(reader.delivered) & set(reader.announced)
        assert stream.missing == len(reader.announced)
        assert stream.gaps == reader.gaps
        if reader.delivered:
            newest = stream.newest
            assert newest is not None
            assert newest.last == reader.delivered[-1]
        assert len(stream._held) <= HELD_MAX

    def teardown(self):
        """Whatever happened, one good session and a hold later the stream is whole."""
        self.open(acked=True)
        session = self.sessions[self.epochs]
        for _ in range(2):
            self.trade(1)
            event = self.send(session, 1)
            assert event is not None
            self.offer(event)
        self.wait(1000)
        self.wait(1000)
        self.delivered_and_missing_are_everything_up_to_the_newest()
        assert self.reader.delivered[-1] == self.venue.numbers[-1]
        assert not self.stream.blind
        assert self.stream.trust is Trust.LIVE


TestTrades = Trades.TestCase
TestTrades.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


steps = st.lists(
    st.tuples(st.sampled_from(["make", "send", "send", "send", "open", "lose"]), st.integers(0, 9)),
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_one_line_of_two_lost_loses_nothing_repeats_nothing_announces_nothing(steps):
    venue, log = Venue(Numbering.DENSE), Log()
    reader = Reader(venue, TRADES)
    stream = SequencedStream(TRADES, lambda e: (log.events.append(e), reader(e)), log.needs.append)
    sessions = [Session(origin(0), 0, 0), Session(origin(1), 0, 0)]
    opened = 2
    for session in sessions:
        stream.attach(session.origin, at(0))

    def send(session, size):
        end = min(session.sent + size, venue.newest)
        if end > session.sent:
            stream.offer(venue.trade(session.origin, session.sent, end, 0))
            session.sent = end

    venue.change(0)
    send(sessions[0], 1)  # the stream begins
    for verb, n in [*steps, ("make", 9)]:
        session = sessions[n % len(sessions)]
        if verb == "make":
            for _ in range(n):
                venue.change(0)
        elif verb == "send":
            send(session, n)
        elif verb == "open" and len(sessions) < 3:
            sessions.append(Session(origin(opened), venue.newest, venue.newest))
            stream.attach(origin(opened), at(0))
            opened += 1
        elif verb == "lose":
            others = [s for s in sessions if s is not session]
            if any(venue.numbers[s.start] <= reader.covered for s in others):
                sessions.remove(session)
                stream.detach(session.origin.epoch, "closed", at(0))
    for session in sessions:
        send(session, 1000)
    assert reader.delivered == venue.numbers[1:]
    assert not [e for e in log.events if isinstance(e, Gap | Resynced)]
