"""When two reads and a silence show that a topic is sent no more, and when they show nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.worlds import BOOK_IMAGES, ORDERED, SECOND, UNNUMBERED, at, origin

from gapless.core.audit import (
    CALM_NS,
    SETTLE_NS,
    Audit,
    BulkTop,
    Verdict,
    differs,
    is_crossed,
    top_of,
)
from gapless.core.kinds import stream_for
from gapless.events import Bbo, BookSnapshot, Ticker

OURS = BulkTop("X", 1.0, 2.0, event_ns=100)
SAME = BulkTop("X", 1.0, 2.0, event_ns=900)
OTHER = BulkTop("X", 1.5, 2.0, event_ns=900)
OLDER = BulkTop("X", 1.5, 2.0, event_ns=50)
TIMELESS = BulkTop("X", 1.5, 2.0)
SEEN = 10 * SECOND
FIRST = SEEN + CALM_NS  # the earliest ask that counts
SECOND_ASK = FIRST + SETTLE_NS


def ask(audit, theirs, asked_ns, *, ours=OURS, arrived=7, seen_ns=SEEN, took_ns=0):
    return audit.compare(
        "x",
        ours,
        theirs,
        arrived=arrived,
        seen_ns=seen_ns,
        asked_ns=asked_ns,
        now_ns=asked_ns + took_ns,
    )


def test_two_reads_that_differ_with_no_message_between_prove_it():
    audit = Audit()
    assert ask(audit, OTHER, FIRST) is Verdict.DOUBTED
    assert not audit.wrong("x", 7)
    assert ask(audit, OTHER, SECOND_ASK) is Verdict.WRONG
    assert audit.wrong("x", 7)


def test_the_second_read_counts_only_after_the_settling_time_exactly():
    audit = Audit()
    ask(audit, OTHER, FIRST, took_ns=SECOND)
    assert ask(audit, OTHER, SECOND_ASK + SECOND - 1) is Verdict.DOUBTED
    assert ask(audit, OTHER, SECOND_ASK + SECOND) is Verdict.WRONG


def test_a_message_between_the_reads_begins_everything_anew():
    audit = Audit()
    ask(audit, OTHER, FIRST)
    later = SECOND_ASK + CALM_NS
    assert ask(audit, OTHER, later, arrived=8, seen_ns=SEEN + SECOND) is Verdict.DOUBTED


def test_a_message_shortly_before_the_read_may_have_a_successor_under_way():
    audit = Audit()
    assert ask(audit, OTHER, FIRST - 1) is Verdict.UNKNOWN
    assert ask(audit, OTHER, SECOND_ASK) is Verdict.DOUBTED, "the first one did not count"


def test_a_read_that_agrees_again_ends_the_doubt():
    audit = Audit()
    ask(audit, OTHER, FIRST)
    assert ask(audit, SAME, SECOND_ASK) is Verdict.AGREES
    assert ask(audit, OTHER, SECOND_ASK + SECOND) is Verdict.DOUBTED
    assert audit.agreed_ns("x", 7) == SECOND_ASK
    assert audit.agreed_ns("x", 8) == 0, "the newest message is another one"


@pytest.mark.parametrize("theirs", [OLDER, TIMELESS])
def test_prices_that_are_not_shown_to_be_newer_prove_nothing(theirs):
    audit = Audit()
    for n in range(20):
        assert ask(audit, theirs, FIRST + n * SETTLE_NS) is Verdict.UNKNOWN


def test_an_agreement_before_shows_that_a_difference_is_newer():
    audit = Audit()
    assert ask(audit, BulkTop("X", 1.0, 2.0), FIRST) is Verdict.AGREES
    assert ask(audit, TIMELESS, FIRST + SECOND) is Verdict.DOUBTED
    assert ask(audit, TIMELESS, FIRST + SECOND + SETTLE_NS) is Verdict.WRONG


def test_the_venues_number_counts_for_more_than_its_time():
    ours = BulkTop("X", 1.0, 2.0, event_ns=100, number=50)
    older = BulkTop("X", 1.5, 2.0, event_ns=900, number=49)
    newer = BulkTop("X", 1.5, 2.0, event_ns=50, number=51)
    assert ask(Audit(), older, FIRST, ours=ours) is Verdict.UNKNOWN
    assert ask(Audit(), newer, FIRST, ours=ours) is Verdict.DOUBTED


def test_what_a_fresh_subscription_brought_is_not_doubted_again_for_the_same_difference():
    audit = Audit()
    ask(audit, OTHER, FIRST)
    assert ask(audit, OTHER, SECOND_ASK) is Verdict.WRONG
    late = SECOND_ASK + 60 * SECOND  # the snapshot of the new subscription shows what we had
    for n in range(5):
        asked_ns = late + CALM_NS + n * SETTLE_NS
        assert ask(audit, OTHER, asked_ns, arrived=8, seen_ns=late) is Verdict.UNKNOWN
    agreed_ns = late + 60 * SECOND
    assert ask(audit, SAME, agreed_ns, arrived=8, seen_ns=late) is Verdict.AGREES
    assert ask(audit, OTHER, agreed_ns + SECOND, arrived=8, seen_ns=late) is Verdict.DOUBTED


def test_a_topic_that_stays_silent_is_found_again_only_when_the_venue_moves_on():
    audit = Audit()
    ask(audit, OTHER, FIRST)
    assert ask(audit, OTHER, SECOND_ASK) is Verdict.WRONG
    assert ask(audit, OTHER, SECOND_ASK + 10 * SETTLE_NS) is Verdict.UNKNOWN
    moved = BulkTop("X", 1.7, 2.0, event_ns=950)
    assert ask(audit, moved, SECOND_ASK + 11 * SETTLE_NS) is Verdict.DOUBTED
    assert ask(audit, moved, SECOND_ASK + 12 * SETTLE_NS) is Verdict.WRONG


def test_what_is_forgotten_begins_anew():
    audit = Audit()
    ask(audit, OTHER, FIRST)
    ask(audit, OTHER, SECOND_ASK)
    audit.forget("x")
    assert not audit.wrong("x", 7)
    assert ask(audit, OTHER, SECOND_ASK + SECOND) is Verdict.DOUBTED


@given(
    changes=st.lists(st.integers(1, 400), max_size=12),
    delays=st.lists(st.integers(0, 9), min_size=12, max_size=12),
    reads=st.lists(st.integers(1, 400), max_size=24),
)
def test_a_topic_whose_messages_arrive_within_a_second_is_never_found_wrong(changes, delays, reads):
    """Times in tenths of a second; each change of the venue arrives up to 0.9 s later."""
    at_ns = sorted(set(changes))
    arrivals = [when + delay for when, delay in zip(at_ns, delays, strict=False)]
    for n in range(1, len(arrivals)):
        arrivals[n] = max(arrivals[n], arrivals[n - 1])  # one connection keeps the order
    audit, tenth = Audit(), SECOND // 10
    for read in sorted(set(reads)):
        made = sum(when <= read for when in at_ns)
        come = sum(when <= read for when in arrivals)
        ours = BulkTop("X", float(come), 1e6, event_ns=at_ns[come - 1] if come else 0)
        theirs = BulkTop("X", float(made), 1e6, event_ns=read)
        seen_ns = (arrivals[come - 1] if come else 0) * tenth
        verdict = ask(audit, theirs, read * tenth, ours=ours, arrived=come, seen_ns=seen_ns)
        assert verdict is not Verdict.WRONG


def test_sizes_count_only_where_both_have_them():
    sized = BulkTop("X", 1.0, 2.0, 5.0, 6.0)
    assert not differs(OURS, sized)
    assert differs(sized, BulkTop("X", 1.0, 2.0, 5.0, 7.0))
    assert differs(sized, BulkTop("X", None, 2.0, None, 6.0))


def test_a_top_is_crossed_only_where_both_sides_say_so():
    assert is_crossed(BulkTop("X", 2.0, 2.0))
    assert not is_crossed(BulkTop("X", 1.9, 2.0))
    assert not is_crossed(BulkTop("X", 1.9, None))
    assert not is_crossed(BulkTop("X", None, None))


def test_the_best_prices_of_each_kind_of_topic_are_what_it_delivered_last():
    def fed(spec, event):
        stream = stream_for(spec, lambda event: None, lambda need: None)
        stream.attach(origin(1, spec.channel), at(0))
        assert top_of(stream) is None, "nothing has come"
        stream.offer(event)
        return top_of(stream), stream

    o = origin(1, "bbo")
    head = (o, 5, 5, 77, 3, 3)
    top, stream = fed(ORDERED, Bbo(*head, 1.0, 10.0, None, None))
    assert top == BulkTop("BTC-USD", 1.0, None, 10.0, None, 77, 3)
    stream.suspect(1, "silence", at(9))
    assert top_of(stream) is None, "what is not trusted is compared with nothing"
    top, _ = fed(BOOK_IMAGES, BookSnapshot(*head, [(1.0, 2.0), (0.9, 1.0)], [(1.1, 4.0)]))
    assert top == BulkTop("BTC-USD", 1.0, 1.1, 2.0, 4.0, 77, 3)
    top, _ = fed(UNNUMBERED, Ticker(o, 5, 5, 77, None, None, 1.5, bid=1.0, ask=2.0))
    assert top == BulkTop("BTC-USD", 1.0, 2.0, None, None, 77, None)
    top, _ = fed(UNNUMBERED, Ticker(o, 5, 5, 77, None, None, 1.5))
    assert top is None, "a ticker without best prices has nothing to compare"
