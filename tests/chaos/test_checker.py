"""The checker must be able to fail: each kind of broken promise, made by hand, is caught."""

import pytest
from tests.chaos.histories import (
    BOOK,
    FINAL,
    IMAGES,
    MS,
    SECOND,
    TRADES,
    at,
    deltas,
    event,
    gap,
    images,
    notice,
    sent,
    snapshot,
    strike,
    trade,
    trades,
)

from gapless.chaos.checker import NEAR_NS, check


def verdict(truth, events, **how):
    return check([*truth, FINAL], events, **how)


def lost(found):
    return [(loss.ns, loss.announced) for loss in found.losses]


# -- trades: each is counted ----------------------------------------------------------------------


def test_everything_delivered_in_order_keeps_the_promise():
    found = verdict(TRADES, trades(*range(2, 10)))
    assert found.kept
    assert (found.total("sent"), found.total("delivered")) == (8, 8)
    assert found.losses == []


def test_a_hole_that_is_named_before_anything_later_keeps_it():
    named = gap("trades", 4, 5, 4, 5, 2)
    found = verdict(TRADES, [*trades(1, 2, 3), named, *trades(6, 7)])
    assert lost(found) == [(at(4), True), (at(5), True)]
    assert found.kept


def test_a_hole_without_a_word_breaks_it():
    found = verdict(TRADES, trades(1, 2, 3, 6, 7))
    assert (found.unannounced, found.kept) == (2, False)


def test_a_hole_that_is_named_too_late_breaks_it():
    named = gap("trades", 4, 5, 4, 5, 2)
    found = verdict(TRADES, [*trades(1, 2, 3, 6), named, *trades(7)])
    assert (found.unannounced, found.kept) == (2, False)


def test_a_hole_of_which_only_a_part_is_named_breaks_it():
    named = gap("trades", 4, 5, 4, 4, 1)  # its time would cover both: numbers count
    found = verdict(TRADES, [*trades(1, 2, 3), named, *trades(6)])
    assert (found.unannounced, found.kept) == (1, False)


def test_a_trade_that_is_delivered_twice_or_late_breaks_it():
    assert verdict(TRADES, trades(1, 2, 2, 3)).total("duplicated") == 1
    swapped = verdict(TRADES, trades(1, 3, 2, 4))
    assert (swapped.total("misordered"), swapped.kept) == (1, False)


def test_a_trade_that_never_was_breaks_it():
    wrong = event("trade", trade(3), price=1.5)
    found = verdict(TRADES, [*trades(1, 2), wrong, *trades(4)])
    assert (found.total("invented"), found.unannounced, found.kept) == (1, 1, False)


def test_what_is_backfilled_was_named_and_comes_once_at_any_time():
    named = gap("trades", 4, 5, 4, 5, 2)
    late = trades(4, 5, backfilled=True)
    found = verdict(TRADES, [*trades(1, 2, 3), named, *trades(6), *late, *trades(7)])
    assert (found.total("backfilled"), found.losses, found.kept) == (2, [], True)
    twice = verdict(TRADES, [*trades(1, 2, 3), named, *trades(6), *late, *late])
    assert (twice.total("duplicated"), twice.kept) == (2, False)


def test_what_is_backfilled_and_was_never_missed_is_a_repeat():
    found = verdict(TRADES, [*trades(1, 2), *trades(2, backfilled=True), *trades(3)])
    assert (found.total("duplicated"), found.kept) == (1, False)


# -- images: only their time counts ---------------------------------------------------------------


def test_an_image_may_be_lost_inside_an_interval_that_was_announced_and_nowhere_else():
    named = gap("bbo", 4, 5)
    assert verdict(IMAGES, [*images(1, 2, 3), named, *images(6)]).kept
    outside = verdict(IMAGES, [*images(1, 2), named, *images(6)])
    assert (outside.unannounced, outside.kept) == (1, False)


def test_the_image_that_a_session_gets_for_itself_is_no_invention():
    alone = event("bbo", {**IMAGES[2], "event_ns": at(3) + 7})
    assert verdict(IMAGES, [*images(1, 2, 3), alone, *images(4)]).kept


# -- books ----------------------------------------------------------------------------------------


def test_a_book_that_follows_the_venue_is_equal():
    found = verdict(BOOK, [snapshot(2), *deltas(3, 4, 5)])
    assert (found.books, found.kept) == ((1, 1), True)


def test_a_book_that_missed_a_delta_is_not():
    found = verdict(BOOK, [snapshot(2), *deltas(3, 5)])
    assert (found.books, found.unannounced, found.kept) == ((1, 0), 1, False)


def test_a_book_that_is_wrong_in_one_level_is_found_out_though_every_number_fits():
    wrong = event("book", {**BOOK[3], "bids": [[4.0, 1.5]]}, snapshot=False)
    found = verdict(BOOK, [snapshot(2), *deltas(3), wrong, *deltas(5)])
    assert (found.books, found.kept) == ((1, 0), False)


def test_a_snapshot_may_pass_over_deltas_after_a_gap_and_only_then():
    named = gap("book", 4, 4, 22, 28)
    told = verdict(BOOK, [snapshot(2), *deltas(3), named, snapshot(6), *deltas(7)])
    assert (told.unannounced, told.books, told.kept) == (0, (1, 1), True)
    untold = verdict(BOOK, [snapshot(2), *deltas(3), snapshot(6), *deltas(7)])
    assert (untold.unannounced, untold.kept) == (3, False)


def test_a_snapshot_from_the_past_is_a_step_back():
    found = verdict(BOOK, [snapshot(4), *deltas(5, 6), snapshot(3), *deltas(7)])
    assert (found.total("misordered"), found.kept) == (1, False)


# -- faults ---------------------------------------------------------------------------------------


def test_a_loss_near_a_fault_of_one_line_is_one_that_the_other_should_have_prevented():
    named = gap("trades", 4, 5, 4, 5, 2)
    events = [*trades(1, 2, 3), named, *trades(6, 7)]
    single = [*TRADES, strike(at(4), "a")]
    assert check([*single, FINAL], events, lines=2).lost_to_one_line == 2
    assert not check([*single, FINAL], events, lines=2).kept
    assert check([*single, FINAL], events, lines=1).kept
    assert check([*TRADES, strike(at(4)), FINAL], events, lines=2).kept


def test_how_long_it_took_is_counted_from_the_fault_and_from_its_end():
    named = gap("trades", 4, 5, 4, 5, 2)  # at 550 ms
    truth = [*TRADES, strike(at(4), for_ms=150)]
    found = verdict(truth, [*trades(1, 2, 3), named, *trades(6, 7)])
    assert found.detection.values_ns == [150 * MS]
    assert found.recovery.values_ns == [55 * MS]


def test_an_alarm_of_the_other_line_is_no_detection():
    events = [*trades(1, 2), notice("stalled", at(5), line="b"), *trades(3)]
    assert verdict([*TRADES, strike(at(4), "a")], events).detection.values_ns == []
    assert verdict([*TRADES, strike(at(4), "b")], events).detection.values_ns == [100 * MS]


def test_an_alarm_with_no_fault_near_is_false():
    late = [*trades(1, 2), notice("stalled", at(2) + NEAR_NS + SECOND)]
    assert verdict([*TRADES, strike(at(2))], late).false_alarms == 1
    assert verdict([*TRADES, strike(at(2), for_ms=1000)], late).false_alarms == 0
    assert verdict(TRADES, [*trades(1), notice("stalled", at(3))]).false_alarms == 1


@pytest.mark.parametrize(("kind", "cause"), [("ended", "planned"), ("live", ""), ("dialing", "")])
def test_what_is_planned_is_no_alarm(kind, cause):
    found = verdict(TRADES, [*trades(1), notice(kind, at(3), cause=cause)])
    assert found.false_alarms == 0
    assert found.dials == (kind == "dialing")


def test_delays_are_counted_from_the_first_sending_and_apart_while_a_line_is_struck():
    log = [sent(record) for record in TRADES] + [sent(TRADES[0], at(1) + 30 * MS)]
    held = [sent(TRADES[1], at(2) - 80 * MS, fault="drop")]  # was not sent
    truth = [*TRADES, *log, *held, strike(at(4) - MS, "a")]
    found = verdict(truth, [*trades(1, 2, 3), *trades(4, 5, late_ms=40)])
    assert found.delay_calm.values_ns == [5 * MS] * 3
    assert found.delay_struck.values_ns == [40 * MS] * 2


def test_the_time_until_it_is_handed_over_is_what_counts():
    taken = event("trade", trade(1), taken_ns=at(1) + 9 * MS)
    found = verdict([*TRADES, sent(TRADES[0])], [taken, *trades(2)])
    assert found.delay_calm.values_ns == [9 * MS]


def test_a_silence_is_counted_from_the_first_message_that_did_not_come():
    found = verdict(TRADES, trades(1, 2, 9))
    assert found.unnoticed_ns == at(9) + 5 * MS - at(3)
    told = verdict(TRADES, [*trades(1, 2), gap("trades", 3, 4, 3, 8, 6), *trades(9)])
    assert told.unnoticed_ns < found.unnoticed_ns


def test_the_keys_are_stable():
    keys = list(verdict(TRADES, trades(1, 2)).as_dict())
    assert keys == [
        "sent", "delivered", "lost", "announced", "unannounced", "lost_to_one_line", "backfilled",
        "duplicated", "misordered", "invented", "books", "detection_ms", "recovery_ms",
        "delay_ms", "unnoticed_s", "false_alarms", "dials", "kept",
    ]  # fmt: skip


def test_an_image_that_shows_the_same_again_is_not_missed_and_another_is():
    same = {**IMAGES[2], "n": 4, "ns": at(4), "event_ns": at(4)}  # of the time of the fourth
    world = [*IMAGES[:3], same, *IMAGES[4:]]
    assert verdict(world, images(1, 2, 3, 5, 6)).kept
    assert verdict(world, images(1, 2, 5, 6)).unannounced == 2
