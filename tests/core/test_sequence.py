from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.sequence import Place, place


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (10, 10, Place.NEXT),
        (10, 15, Place.NEXT),
        (9, 10, Place.OVERLAP),
        (1, 11, Place.OVERLAP),
        (9, 9, Place.DUPLICATE),
        (1, 9, Place.DUPLICATE),
        (11, 11, Place.AHEAD),
        (11, 20, Place.AHEAD),
        (10, 9, Place.NEXT),  # nothing has changed
        (9, 8, Place.DUPLICATE),
        (11, 10, Place.AHEAD),
        (10, 3, Place.NEXT),  # the chain leads back
        (9, 3, Place.DUPLICATE),
        (11, 3, Place.AHEAD),  # as far as 10 the venue had got before
        (12, 10, Place.AHEAD),
    ],
)
def test_where_a_message_stands_when_10_comes_next(first, last, expected):
    assert place(10, first, last) is expected


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_the_place_follows_from_the_numbers_as_sets(expected, first, more):
    covers = set(range(first, first + more + 1))
    new = {number for number in covers if number >= expected}
    where = place(expected, first, first + more)
    if not new:
        assert where is Place.DUPLICATE
    elif min(new) > expected:
        assert where is Place.AHEAD
    else:
        assert where is (Place.NEXT if new == covers else Place.OVERLAP)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_where_a_message_leads_back_to_does_not_matter_for_its_place(expected, first, back):
    assert place(expected, first, first - 1 - back) is place(expected, first, first - 1)
