"""One counter for a whole connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.counter import ConnectionCounter
from gapless.errors import ProtocolViolation


def test_numbers_that_rise_by_one_lack_nothing():
    counter = ConnectionCounter()
    assert [counter.follow(number) for number in (7, 8, 9)] == [None] * 3
    assert (counter.checked, counter.holes, counter.repeats) == (2, 0, 0)


def test_a_hole_is_named_by_its_first_and_last_number():
    counter = ConnectionCounter()
    assert [counter.follow(number) for number in (0, 2, 3, 7)] == [None, (1, 1), None, (4, 6)]
    assert counter.holes == 2


def test_a_number_that_has_come_is_a_repeat_and_no_hole():
    counter = ConnectionCounter()
    assert [counter.follow(number) for number in (5, 5, 6)] == [None] * 3
    assert (counter.checked, counter.repeats) == (2, 1)


@pytest.mark.parametrize("number", [8, 0])
def test_a_number_that_steps_back_on_one_connection_can_prove_nothing_any_more(number):
    counter = ConnectionCounter()
    counter.follow(8)
    counter.follow(9)
    with pytest.raises(ProtocolViolation, match=f"from 9 to {number}"):
        counter.follow(number)


@given(st.lists(st.integers(0, 40), min_size=1).map(sorted))
def test_what_came_and_what_is_named_missing_are_everything_up_to_the_newest(numbers):
    counter = ConnectionCounter()
    missing = set()
    for number in numbers:
        hole = counter.follow(number)
        if hole is not None:
            missing |= set(range(hole[0], hole[1] + 1))
    assert not missing & set(numbers)
    assert missing | set(numbers) == set(range(numbers[0], numbers[-1] + 1))
    assert counter.repeats == len(numbers) - len(set(numbers))
    assert counter.checked == len(numbers) - 1


def test_only_a_frame_in_order_proves_that_nothing_was_lost_before_it():
    counter = ConnectionCounter()
    proven = []
    for number in (5, 6, 6, 7, 9, 10):
        counter.follow(number)
        proven.append(counter.proven)
    assert proven == [None, 6, None, 7, None, 10]
