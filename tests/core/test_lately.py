from __future__ import annotations

import pytest
from tests.core.worlds import (
    CHAIN_BOOK,
    NAMED,
    ORDERED,
    REST_BOOK,
    SECOND,
    TRADES,
    Log,
    at,
    bbo,
    delta,
    origin,
    snapshot,
    trade,
)

from gapless.core.kinds import stream_for
from gapless.core.lately import KEPT_MAX, KEPT_NS, Lately, digest, same
from gapless.core.stream import DOUBT_NS, Trust
from gapless.events import Bbo, BookDelta, Gap, Ticker, Trade

A, B = origin(0), origin(1)


def priced(source, number, price, now_ns=0, name=None):
    numbers = (None, None) if number is None else (number, number)
    return Trade(source, now_ns, now_ns, None, *numbers, name or str(number), price, 1.0, "buy")


# -- what is kept -------------------------------------------------------------------------------


def test_the_newest_are_found_and_no_more_than_twice_the_bound_is_kept():
    lately = Lately()
    for number in range(10 * KEPT_MAX + 5):
        lately.note(number, trade(A, number, number, 0))
        assert len(lately) <= 2 * KEPT_MAX
        assert lately.find(max(0, number - KEPT_MAX + 1)) is not None
    assert lately.find(0) is None


def test_what_is_kept_is_kept_for_its_time_and_not_for_twice_as_long():
    lately = Lately()
    lately.note(1, trade(A, 1, 1, SECOND))
    lately.note(2, trade(A, 2, 2, SECOND + KEPT_NS))
    assert lately.find(1) is not None
    lately.note(3, trade(A, 3, 3, SECOND + 2 * KEPT_NS))
    assert lately.find(1) is None
    assert lately.find(2) is not None


def test_what_has_no_key_is_neither_kept_nor_found():
    lately = Lately()
    lately.note(None, trade(A, 1, 1, 0))
    assert lately.find(None) is None
    assert len(lately) == 0


def test_one_message_or_all_can_be_forgotten():
    lately = Lately()
    for number in (1, 2):
        lately.note(number, trade(A, number, number, 0))
    lately.forget(1)
    lately.forget(7)
    assert (lately.find(1), len(lately)) == (None, 1)
    lately.clear()
    assert len(lately) == 0


# -- what is the same ---------------------------------------------------------------------------


def test_messages_are_the_same_whenever_they_came_and_in_whatever_order_their_levels_are():
    one = delta(A, 1, 1, 5, [(1.0, 2.0), (3.0, 4.0)], made_ns=1)
    assert same(one, delta(B, 1, 1, 9, [(3.0, 4.0), (1.0, 2.0)], made_ns=2))
    assert not same(one, delta(B, 1, 1, 9, [(3.0, 4.0), (1.0, 2.5)]))
    assert not same(one, delta(B, 1, 1, 9, [(3.0, 4.0)]))
    assert not same(one, delta(B, 1, 1, 9, [], [(1.0, 2.0), (3.0, 4.0)]))
    assert same(one, snapshot(B, 1, 9, [(9.0, 9.0)])), "of another kind, not of other content"


def test_trades_and_quotes_are_compared_by_price_size_and_side():
    one = trade(A, 1, 1, 0)
    assert same(one, trade(B, 1, 1, 9))
    for field, other in (("price", 7.0), ("size", 7.0), ("side", "sell")):
        values = {n: getattr(one, n) for n in one.__struct_fields__} | {field: other}
        assert not same(one, Trade(**values)), field
    assert same(bbo(A, 1, 0), bbo(B, 1, 9))
    assert not same(bbo(A, 1, 0), bbo(B, 1, 9, bid=1.5))


def test_summaries_are_not_compared():
    assert same(Ticker(A, 0, 0, None, 1, 1, 1.0), Ticker(B, 0, 0, None, 1, 1, 2.0))


def test_a_digest_is_of_the_content_alone():
    one = delta(A, 1, 1, 5, [(1.0, 2.0), (3.0, 4.0)])
    assert digest(one) == digest(delta(B, 1, 1, 9, [(3.0, 4.0), (1.0, 2.0)]))
    assert digest(one) != digest(delta(B, 1, 1, 9, [(3.0, 4.0), (1.0, 2.5)]))
    assert len(digest(bbo(A, 1, 0))) == 16


# -- what streams make of it ----------------------------------------------------------------


def stream_of(topic):
    log = Log()
    stream = stream_for(topic, log.events.append, log.needs.append)
    for source in (A, B):
        stream.attach(source, at(0))
    return stream, log


def diverged(log):
    return [need for need in log.needs if need.kind == "diverged"]


@pytest.mark.parametrize("held", [False, True])
def test_trades_that_two_lines_number_alike_and_price_otherwise_are_told_and_marked(held):
    stream, log = stream_of(TRADES)
    stream.offer(priced(A, 1, 5.0))
    stream.offer(priced(B, 1, 5.0, 1))
    assert not diverged(log)
    if held:  # the message that differs waits behind a hole
        stream.offer(priced(B, 3, 6.5, 2))
        stream.offer(priced(A, 3, 6.0, 2))
        stream.offer(priced(A, 2, 6.0, 2))
    else:
        stream.offer(priced(A, 2, 6.0, 2))
        stream.offer(priced(B, 2, 6.5, 3))
    (need,) = diverged(log)
    number = 3 if held else 2
    assert f"disagree about {number}" in need.cause
    shown = [digest(priced(A, number, 6.0)), digest(priced(B, number, 6.5))]
    assert all(each in need.evidence for each in shown)
    assert log.gaps[-1].cause == need.cause
    assert (log.gaps[-1].first, log.gaps[-1].missing) == (None, None)
    assert stream.diverged == 1
    assert (stream.trust, stream.because) == (Trust.GAPPED, need.cause)
    stream.offer(priced(B, number, 6.5, 4))
    assert stream.diverged == 1, "named once, however often it is repeated"
    stream.offer(priced(A, number + 1, 6.0, DOUBT_NS + 9))
    assert stream.trust is Trust.LIVE


def test_a_line_that_is_gone_contradicts_nobody_any_more():
    stream, _ = stream_of(TRADES)
    stream.offer(priced(A, 1, 5.0))
    stream.offer(priced(B, 1, 5.5))
    assert stream.trust is Trust.GAPPED
    stream.detach(B.epoch, "closed", at(5))
    assert stream.trust is Trust.LIVE


def test_names_that_two_lines_give_to_different_trades_are_told():
    stream, log = stream_of(NAMED)
    for source in (A, B):
        stream.offer(priced(source, None, 5.0, name="x"))
    stream.offer(priced(A, None, 6.0, 1, name="y"))
    stream.offer(priced(B, None, 6.5, 2, name="y"))
    assert "disagree about y" in diverged(log)[0].cause
    assert [type(event) for event in log.events] == [Trade, Trade, Gap]


def test_images_of_one_number_that_differ_are_told_and_the_next_image_ends_it():
    stream, log = stream_of(ORDERED)
    for source in (A, B):
        stream.offer(bbo(source, 1, 0))
    stream.offer(bbo(A, 2, 1, bid=5.0))
    stream.offer(bbo(B, 2, 2, bid=6.0))
    assert len(diverged(log)) == 1
    assert stream.trust is Trust.GAPPED
    stream.offer(bbo(A, 3, 3))
    assert log.kinds == ["Bbo", "Bbo", "Gap", "Bbo", "Resynced"]
    assert [event.bid for event in log.events if isinstance(event, Bbo)] == [1.0, 5.0, 1.0]


@pytest.mark.parametrize("topic", [CHAIN_BOOK, REST_BOOK], ids=["stream", "rest"])
def test_a_book_about_which_two_lines_disagree_breaks_and_is_rebuilt(topic):
    stream, log = stream_of(topic)
    if topic is CHAIN_BOOK:
        for source in (A, B):
            stream.offer(snapshot(source, 10, 1, [(1.0, 1.0)]))
    else:
        stream.snapshot(snapshot(A, 10, 1, [(1.0, 1.0)]), 0, at(1))
        stream.tick(at(2 * SECOND))
    stream.offer(delta(A, 11, 11, 3 * SECOND, [(1.0, 2.0)]))
    assert stream.readable
    stream.offer(delta(B, 11, 11, 3 * SECOND + 1, [(1.0, 3.0)]))
    assert not stream.readable
    assert stream.trust is Trust.GAPPED
    assert len(diverged(log)) == 1
    assert log.needs[-1].kind == ("resubscribe" if topic is CHAIN_BOOK else "snapshot")
    assert log.kinds == ["BookSnapshot", "BookDelta", "Gap"]
    assert log.gaps[0].cause == diverged(log)[0].cause


def test_a_snapshot_of_another_line_that_shows_another_book_is_told():
    stream, log = stream_of(CHAIN_BOOK)
    stream.offer(snapshot(A, 10, 1, [(1.0, 1.0)]))
    stream.offer(snapshot(B, 10, 2, [(1.0, 4.0)]))
    assert "another book at 10" in diverged(log)[0].cause
    assert log.kinds == ["BookSnapshot", "Gap", "BookSnapshot", "Resynced"]
    assert stream.proven().bids() == [(1.0, 4.0)]


@pytest.mark.parametrize("behind", [1, 50, 900])
def test_every_disagreement_of_a_line_that_is_behind_is_found(behind):
    stream, log = stream_of(TRADES)
    wrong = set(range(7, 3000, 13))
    for number in range(1, 3000):
        stream.offer(priced(A, number, 1.0, number))
        late = number - behind
        if late > 0:
            stream.offer(priced(B, late, 2.0 if late in wrong else 1.0, number))
    brought = {number for number in wrong if number < 3000 - behind}
    assert [int(need.cause.split()[-1]) for need in diverged(log)] == sorted(brought)


def test_batches_that_are_cut_differently_are_not_held_against_each_other():
    stream, log = stream_of(REST_BOOK)
    stream.snapshot(snapshot(A, 10, 1, [(1.0, 1.0)]), 0, at(1))
    stream.tick(at(2 * SECOND))
    stream.offer(delta(A, 11, 12, 3 * SECOND, [(1.0, 2.0), (2.0, 1.0)]))
    stream.offer(delta(B, 11, 14, 3 * SECOND, [(1.0, 2.0), (3.0, 1.0)]))  # delivered from 13 on
    stream.offer(delta(A, 13, 14, 3 * SECOND, [(3.0, 1.0)]))
    assert not diverged(log)
    assert [(e.first, e.last) for e in log.events if isinstance(e, BookDelta)] == [
        (11, 12),
        (13, 14),
    ]


def test_a_numbering_that_begins_anew_is_not_held_against_the_old_one():
    stream, log = stream_of(TRADES)
    for source in (A, B):
        stream.offer(trade(source, 500, 500, 0, made_ns=0))
    for source in (A, B):
        stream.offer(trade(source, 499, 499, 9 * SECOND, made_ns=9 * SECOND))
        stream.offer(
            Trade(source, 0, 9 * SECOND, 1_700_000_010 * SECOND, 500, 500, "x", 7.0, 1.0, "buy")
        )
    assert not diverged(log)


def test_nothing_is_kept_for_one_line_alone():
    log = Log()
    stream = stream_for(TRADES, log.events.append, log.needs.append)
    stream.attach(A, at(0))
    stream.offer(trade(A, 1, 1, 0))
    assert stream._lately is None
    stream.attach(B, at(1))
    assert stream._lately is not None
    stream.detach(B.epoch, "closed", at(2))
    assert stream._lately is None
