"""Percentiles are durations that really were."""

import pytest

from gapless.chaos.figures import Spread

MS = 1_000_000


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.5, 50), (0.9, 90), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_a_percentile_is_the_smallest_that_so_many_do_not_exceed(share, expected):
    assert Spread([*range(100, 0, -1)]).percentile_ns(share) == expected


def test_of_nothing_there_is_none():
    assert Spread().percentile_ns(0.5) is None
    assert Spread().as_ms() == {"count": 0, "p50": None, "p90": None, "p99": None, "max": None}


def test_figures_are_milliseconds():
    spread = Spread()
    spread.add(3 * MS)
    spread.add(1_234_567)
    assert spread.as_ms() == {"count": 2, "p50": 1.235, "p90": 3.0, "p99": 3.0, "max": 3.0}
