"""One topic's numbers on one connection: what is next, what is missing, what came twice."""

from __future__ import annotations

import pytest

from gapless.core.sequence import Numbering
from gapless.inspection.numbers import BREAKS_MAX, HOLES_MAX, Break, Leg

DENSE, CHAIN = Numbering.DENSE, Numbering.CHAIN


def leg(numbering=DENSE):
    return Leg(numbering, images=False, connection="ws")


def follow(one, *spans, start=1, made_ns=None):
    verdicts = []
    for frame, (first, last) in enumerate(spans, start):
        verdicts.append(one.follow(first, last, frame, made_ns))
        one.frame = frame
    return verdicts


def test_a_counter_that_rises_by_one_is_checked_from_the_second_message_on():
    one = leg()
    assert follow(one, (7, 7), (8, 8), (9, 9)) == ["first", "next", "next"]
    assert (one.checked, one.broken, one.duplicates, one.out_of_order) == (2, 0, 0, 0)


def test_a_run_of_missing_messages_is_one_break_with_its_frames():
    one = leg()
    follow(one, (7, 7), (11, 11), (12, 12))
    assert one.breaks == [Break(2, 8, 11, 1, "ws")]
    assert (one.checked, one.broken) == (2, 1)


def test_on_a_chain_a_break_names_the_numbers_as_the_venue_does():
    one = leg(CHAIN)
    follow(one, (1, 100), (151, 200))  # it names 150 as the one before; 100 was
    assert one.breaks == [Break(2, 100, 150, 1, "ws")]


def test_ranges_may_overlap_where_every_number_exists_and_nowhere_else():
    one = leg()
    assert follow(one, (1, 5), (4, 8), (9, 9)) == ["first", "overlap", "next"]
    assert (one.broken, one.duplicates) == (0, 1)
    chain = leg(CHAIN)
    assert follow(chain, (1, 5), (4, 8)) == ["first", "break"]


def test_a_message_that_comes_twice_is_a_duplicate():
    one = leg()
    assert follow(one, (1, 1), (2, 2), (2, 2), (3, 3))[2:] == ["duplicate", "next"]
    assert (one.duplicates, one.broken) == (1, 0)


def test_what_comes_late_is_out_of_order_and_its_second_copy_a_duplicate():
    one = leg()
    verdicts = follow(one, (1, 1), (5, 5), (3, 3), (3, 3), (2, 2), (4, 4), (6, 6))
    assert verdicts[1:] == [
        "break",
        "out of order",
        "duplicate",
        "out of order",
        "out of order",
        "next",
    ]
    assert (one.broken, one.out_of_order, one.duplicates) == (1, 3, 1)


def test_a_beat_that_names_itself_changes_nothing_and_is_no_break():
    one = leg(CHAIN)
    assert follow(one, (1, 10), (11, 10), (11, 10), (11, 12)) == ["first", "next", "next", "next"]


def test_a_chain_may_lead_to_a_lower_number():
    one = leg(CHAIN)
    assert follow(one, (1, 1000), (1001, 3), (4, 9)) == ["first", "next", "next"]
    assert one.broken == 0


def test_a_hole_before_the_message_that_leads_lower_is_a_break():
    one = leg(CHAIN)
    assert follow(one, (1, 1000), (1101, 3), (4, 9)) == ["first", "break", "next"]


def test_a_number_from_the_past_with_a_time_that_is_not_is_a_break():
    one = leg()
    one.follow(100, 100, 1, 0)
    assert one.follow(1, 1, 2, 60 * 10**9) == "break"
    assert one.follow(2, 2, 3, 61 * 10**9) == "next"


def test_a_snapshot_begins_the_count_anew():
    one = leg()
    follow(one, (1, 1), (2, 2))
    one.base(50, None)
    assert one.follow(51, 51, 3, None) == "next"
    assert (one.checked, one.broken) == (2, 0)


@pytest.mark.parametrize("numbering", [Numbering.ORDERED, Numbering.IDENTITY, Numbering.NONE])
def test_numbers_that_prove_nothing_are_known_not_to(numbering):
    assert not leg(numbering).proves


def test_lists_are_cut_and_counters_are_not():
    one = leg()
    follow(one, *((10 * n, 10 * n) for n in range(BREAKS_MAX + 51)))
    assert len(one.breaks) == BREAKS_MAX
    assert one.broken == BREAKS_MAX + 50
    # The oldest holes are forgotten: what belongs there counts as a repeat.
    assert one.follow(5, 5, 1, None) == "duplicate"
    newest = 10 * (BREAKS_MAX + 50)
    assert one.follow(newest - 10 * HOLES_MAX + 5, newest - 10 * HOLES_MAX + 5, 1, None) == (
        "out of order"
    )
