from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gapless.sim.limits import CreditBucket, FixedWindow, SlidingWindow

SECOND = 10**9


def test_a_bucket_allows_the_burst_and_then_the_refill_rate():
    bucket = CreditBucket(30_000, 10_000)
    assert [bucket.take(3_000, 0) for _ in range(11)] == [True] * 10 + [False]
    assert not bucket.take(3_000, 3 * SECOND // 10 - 1)
    assert bucket.take(3_000, 3 * SECOND // 10)
    assert not bucket.take(1, 3 * SECOND // 10)


def test_a_bucket_never_holds_more_than_its_cap():
    bucket = CreditBucket(1_000, 1_000)
    assert not bucket.take(1_001, 10**6 * SECOND)
    assert bucket.take(1_000, 10**6 * SECOND)


@given(st.lists(st.integers(0, 3 * SECOND), max_size=60).map(sorted))
def test_a_sliding_window_never_lets_more_than_the_limit_through(times):
    window = SlidingWindow(5, SECOND)
    passed = [t for t in times if window.use(t)]
    for start in passed:
        assert sum(1 for t in passed if start <= t < start + SECOND) <= 5


def test_a_sliding_window_says_how_long_to_wait():
    window = SlidingWindow(2, SECOND)
    assert window.use(0)
    assert window.use(400)
    assert window.wait_ns(500) == SECOND - 500
    assert not window.use(SECOND - 1)
    assert window.use(SECOND)


def test_a_fixed_window_counts_weight_and_starts_anew():
    window = FixedWindow(100, 60 * SECOND)
    assert window.use(100, 5)
    assert not window.use(1, 59 * SECOND)
    assert window.used == 101
    assert window.wait_ns(59 * SECOND) == SECOND
    assert window.use(1, 60 * SECOND)
    assert window.used == 1
