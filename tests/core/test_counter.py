"""One counter for a whole connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.counter import ConnectionCounter


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
    assert [counter.follow(number) for number in (5, 5, 4, 6)] == [None] * 4
    assert (counter.checked, counter.repeats) == (3, 2)


@given(st.lists(st.integers(0, 40), min_size=1))
def test_what_came_and_what_is_named_missing_are_everything_up_to_the_newest(numbers):
    counter = ConnectionCounter()
    missing = set()
    for number in numbers:
        hole = counter.follow(number)
        if hole is not None:
            missing |= set(range(hole[0], hole[1] + 1))
    after = {number for number in numbers if number >= numbers[0]}
    late = missing & after  # brought after all, out of order
    assert missing | after == set(range(numbers[0], max(numbers) + 1))
    assert counter.repeats >= len(late)
    assert counter.checked == len(numbers) - 1
