"""A histogram is off by at most one eighth, whatever is recorded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.stats import FeedStats, Histogram, LineStats, SessionEnd, TopicStats

VALUES = st.lists(st.integers(0, 2**62) | st.integers(0, 40), min_size=1, max_size=200)
SHARES = st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0])


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_an_empty_histogram_has_no_quantile():
    assert Histogram().quantile(0.5) is None


@given(VALUES, SHARES)
def test_a_quantile_is_the_exact_one_or_at_most_an_eighth_more(values, share):
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    estimate = filled(values).quantile(share)
    assert estimate is not None
    assert exact <= estimate <= exact + exact // 8


@given(VALUES)
def test_quantiles_rise_and_end_at_the_highest(values):
    histogram = filled(values)
    quantiles = [histogram.quantile(step / 10) for step in range(11)]
    assert quantiles == sorted(q for q in quantiles if q is not None)
    assert quantiles[-1] == histogram.highest == max(values)
    assert histogram.count == len(values)


@given(st.integers(0, 15))
def test_small_values_are_exact(value):
    assert filled([value, 10**6]).quantile(0.5) == value


def test_a_negative_value_counts_as_nought():
    histogram = filled([-5])
    assert (histogram.count, histogram.highest, histogram.quantile(0.5)) == (1, 0, 0)


def test_more_than_everything_is_the_highest():
    assert filled([1, 2, 3]).quantile(2.0) == 3


def test_memory_is_bounded_whatever_is_recorded():
    histogram = filled([1 << shift for shift in range(63)])
    for shift in range(63):
        for step in range(20):
            histogram.record((1 << shift) + step * (1 << shift) // 20)
    assert len(histogram._counts) <= 8 * 61


@pytest.mark.parametrize("kind", [SessionEnd, TopicStats, LineStats, FeedStats])
def test_a_copy_handed_out_cannot_be_changed(kind):
    assert kind.__struct_config__.frozen
