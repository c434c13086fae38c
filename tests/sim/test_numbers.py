from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.sim.numbers import Scale

STEPS = ["0.5", "0.05", "0.01", "0.00001", "0.1", "1", "10", "0.0005", "2.5"]


@pytest.mark.parametrize(
    ("step", "digits", "count", "text"),
    [
        # As the recorded venues print them.
        ("0.01", 8, 6_173_763, "61737.63000000"),
        ("0.00001", 8, 0, "0.00000000"),
        ("0.00001", 8, 154_698, "1.54698000"),
        ("0.5", None, 85_000, "42500.0"),
        ("0.5", None, 85_001, "42500.5"),
        ("10", None, 95, "950.0"),
        ("0.0005", None, 159, "0.0795"),
    ],
)
def test_counts_are_printed_as_the_venue_prints_them(step, digits, count, text):
    assert Scale(step, digits).text[count] == text


@given(st.sampled_from(STEPS), st.sampled_from([None, 8]), st.integers(0, 10**12))
def test_the_text_is_exactly_count_times_step(step, digits, count):
    scale = Scale(step, digits)
    assert Decimal(scale.text[count]) == Decimal(step) * count
    assert scale.value[count] == float(scale.text[count])
    assert "e" not in scale.text[count].lower()
