from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.budget import Budget, Credit, Window, kept_on_arrival

SECOND = 10**9

attempts = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3)), max_size=60)


def spend_what_fits(budget, steps):
    """Let time pass step by step, and spend whenever the budget allows it."""
    now_ns, spent = 0, []
    for gap_ns, units in steps:
        now_ns += gap_ns
        if budget.wait_ns(now_ns, units) == 0:
            budget.spend(now_ns, units)
            spent.append((now_ns, units))
    return spent


@given(attempts, st.integers(3, 6), st.integers(1, 100))
def test_no_window_anywhere_holds_more_than_the_count(steps, count, per_ns):
    spent = spend_what_fits(Budget(Window(count, per_ns)), steps)
    for start, _ in spent:  # a window with most uses begins with a use
        assert sum(units for at, units in spent if start <= at < start + per_ns) <= count


@given(attempts, st.integers(3, 6), st.integers(1, 100))
def test_a_window_refuses_only_what_would_not_fit(steps, count, per_ns):
    budget, now_ns, spent = Budget(Window(count, per_ns)), 0, []
    for gap_ns, units in steps:
        now_ns += gap_ns
        used = sum(n for at, n in spent if now_ns - per_ns < at)
        wait_ns = budget.wait_ns(now_ns, units)
        assert (wait_ns == 0) == (used + units <= count)
        if wait_ns == 0:
            budget.spend(now_ns, units)
            spent.append((now_ns, units))


def test_a_use_that_is_heard_of_late_lets_nobody_spend_beyond_the_window():
    # Another process used two, and wrote that down only after we had used three.
    budget = Budget(Window(5, 5 * SECOND))
    budget.spend(10 * SECOND, 3)
    budget.foreign(6 * SECOND, 2)
    assert budget.wait_ns(11 * SECOND + SECOND // 2, 2) == 0
    assert budget.wait_ns(11 * SECOND + SECOND // 2, 4) == 3 * SECOND + SECOND // 2


@given(attempts, st.integers(3, 6), st.integers(1, 100))
def test_the_wait_is_exact_not_a_nanosecond_more_or_less(steps, count, per_ns):
    budget = Budget(Window(count, per_ns))
    spend_what_fits(budget, steps)
    now_ns = sum(gap for gap, _ in steps)
    wait_ns = budget.wait_ns(now_ns, 3)
    if wait_ns:
        assert budget.wait_ns(now_ns + wait_ns - 1, 3) == 1
    assert budget.wait_ns(now_ns + wait_ns, 3) == 0


@given(attempts, st.integers(3, 6), st.integers(1, 50_000_000))
def test_a_pool_never_gives_more_than_capacity_and_refill(steps, capacity, per_s):
    spent = spend_what_fits(Budget(Credit(capacity, per_s)), steps)
    for i, (start, _) in enumerate(spent):
        for j in range(i, len(spent)):
            end = spent[j][0]
            used = sum(units for _, units in spent[i : j + 1])
            assert used * SECOND <= capacity * SECOND + (end - start) * per_s


@given(attempts, st.integers(3, 6), st.integers(1, 50_000_000))
def test_a_pool_refuses_only_what_it_does_not_hold(steps, capacity, per_s):
    budget, now_ns, left = Budget(Credit(capacity, per_s)), 0, capacity * SECOND
    for gap_ns, units in steps:
        now_ns += gap_ns
        left = min(capacity * SECOND, left + gap_ns * per_s)
        wait_ns = budget.wait_ns(now_ns, units)
        short = units * SECOND - left
        assert wait_ns == (0 if short <= 0 else -(-short // per_s))
        if wait_ns == 0:
            budget.spend(now_ns, units)
            left -= units * SECOND


def test_a_token_bucket_would_admit_twice_the_count_across_a_boundary_and_a_window_does_not():
    budget = Budget(Window(5, SECOND))
    for _ in range(5):
        budget.spend(SECOND - 1)
    assert budget.wait_ns(SECOND) == SECOND - 1
    assert budget.wait_ns(2 * SECOND - 2) == 1
    assert budget.wait_ns(2 * SECOND - 1) == 0


def test_all_limits_must_agree_and_the_longest_wait_counts():
    budget = Budget(Window(2, SECOND), Window(3, 60 * SECOND), Credit(100, 1))
    budget.spend(0)
    budget.spend(0)
    assert budget.wait_ns(0) == SECOND
    budget.spend(SECOND)
    assert budget.wait_ns(2 * SECOND) == 58 * SECOND


def test_spending_what_does_not_fit_is_a_bug_and_says_so():
    budget = Budget(Window(1, SECOND))
    budget.spend(0)
    with pytest.raises(AssertionError, match="beyond the venue's limit"):
        budget.spend(SECOND - 1)
    budget.spend(SECOND)


def test_a_noted_use_counts_although_nobody_allowed_it():
    budget = Budget(Window(2, SECOND), Credit(2, 1))
    for _ in range(3):
        budget.note(0)
    assert budget.used_ratio(0) == 1.5
    assert budget.wait_ns(0) == 2 * SECOND  # the pool owes one
    assert Budget(Window(2, SECOND)).used_ratio(0) == 0.0


def test_more_units_than_a_window_holds_never_fit():
    budget = Budget(Window(2, SECOND))
    assert budget.wait_ns(0, 3) == SECOND
    budget.spend(0)
    assert budget.wait_ns(10 * SECOND, 3) == SECOND


def test_more_units_than_a_pool_holds_wait_for_a_full_pool():
    budget = Budget(Credit(2, 1))
    budget.spend(0)
    assert budget.wait_ns(0, 3) == SECOND
    assert budget.wait_ns(SECOND, 3) == 0


def test_a_venue_that_asks_us_to_stay_away_is_obeyed_to_the_nanosecond():
    budget = Budget()
    budget.refused(0, 5 * SECOND, ban=False)
    budget.refused(0, 2 * SECOND, ban=False, probe=False)  # an earlier time does not open it
    assert budget.wait_ns(0) == 5 * SECOND
    assert budget.wait_ns(5 * SECOND - 1) == 1
    with pytest.raises(AssertionError):
        budget.spend(5 * SECOND - 1)
    assert budget.wait_ns(5 * SECOND) == 0


@given(attempts, st.integers(3, 12), st.integers(1, 100))
def test_taking_is_asking_and_spending_at_once(steps, count, per_ns):
    budget, spent, now_ns = Budget(Window(count, per_ns)), [], 0
    for gap_ns, units in steps:
        now_ns += gap_ns
        used = sum(n for at, n in spent if now_ns - per_ns < at)
        assert (budget.take(now_ns, units) == 0) == (used + units <= count)
        if used + units <= count:
            spent.append((now_ns, units))


@pytest.mark.parametrize("limit", [Window(10, SECOND), Credit(10, 10)])
def test_optional_uses_leave_a_fifth_to_the_others(limit):
    budget = Budget(limit)
    assert [budget.take(0, optional=True) == 0 for _ in range(9)] == [True] * 8 + [False]
    assert [budget.take(0) == 0 for _ in range(3)] == [True, True, False]


def test_the_wait_of_an_optional_use_is_exact():
    budget = Budget(Window(10, SECOND))
    for n in range(9):
        budget.spend(n)
    assert budget.take(100, optional=True) == SECOND + 1 - 100
    assert budget.take(SECOND, optional=True) == 1
    assert budget.take(SECOND + 1, optional=True) == 0


def test_an_optional_use_is_not_kept_out_for_good_by_a_limit_of_one():
    assert Budget(Window(1, SECOND)).take(0, optional=True) == 0


def test_what_is_tried_again_and_again_is_spread_once_half_is_used():
    budget, times, now_ns = Budget(Window(10, SECOND)), [], 0
    while len(times) < 40:
        wait_ns = budget.take(now_ns, paced=True)
        if not wait_ns:
            times.append(now_ns)
        now_ns += wait_ns
    assert times[:5] == [0] * 5
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert max(waits) <= SECOND // 5  # unpaced, ten would go at once, and then none for a second
    for begin_ns in times:
        assert sum(begin_ns <= at < begin_ns + SECOND for at in times) <= 10


def test_after_a_refusal_one_is_let_through_alone_and_decides():
    budget = Budget()
    budget.refused(0, SECOND, ban=False)
    assert budget.take(SECOND) == 0
    assert budget.probing
    assert budget.take(SECOND) > 0
    budget.accepted(2 * SECOND)
    assert not budget.probing
    assert budget.take(2 * SECOND) == 0


def test_sessions_lost_in_the_last_second_are_counted_for_all_who_share_the_budget():
    budget = Budget()
    assert [budget.lost(n * SECOND // 4) for n in range(6)] == [1, 2, 3, 4, 4, 4]


def test_a_pool_is_restored_to_what_another_process_has_left_of_it():
    budget = Budget(Credit(10, 1))
    budget.foreign(0, 2)
    budget.restore(3 * SECOND, 0)
    assert budget.left == 3 * SECOND
    assert budget.wait_ns(0, 5) == 2 * SECOND
    budget.restore(9 * SECOND, 0)  # never more than we know of ourselves
    assert budget.wait_ns(0, 5) == 2 * SECOND
    assert (budget.size, budget.memory_ns) == (10, 10 * SECOND)


def test_no_limits_mean_no_waits():
    budget = Budget()
    for _ in range(1000):
        budget.spend(0)
    assert budget.wait_ns(0) == 0
    assert budget.used_ratio(0) == 0.0


def test_the_share_in_use_is_that_of_the_tightest_limit_and_falls_with_time():
    budget = Budget(Window(4, SECOND), Credit(10, 1))
    budget.spend(0, 2)
    assert budget.used_ratio(0) == 0.5
    assert budget.used_ratio(SECOND) == pytest.approx(0.1)
    assert budget.used_ratio(2 * SECOND) == 0.0


@pytest.mark.parametrize("kind", [Window, Credit])
@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_limits_of_nothing_are_refused(kind, numbers):
    with pytest.raises(ValueError, match="positive"):
        kind(*numbers)


@given(attempts, st.integers(1, 6), st.lists(st.integers(0, 100_000_000), max_size=60))
def test_what_is_kept_at_sending_holds_on_arrival_whatever_the_way_takes(steps, count, delays):
    limit = Window(count, SECOND)
    spaced = [(gap * 20_000_000, units) for gap, units in steps if units <= count]
    sent = spend_what_fits(Budget(*kept_on_arrival([limit])), spaced)
    waits = itertools.chain(delays, itertools.repeat(0))
    came = sorted((at_ns + next(waits), units) for at_ns, units in sent)
    for at_ns, _ in came:
        window = [units for then_ns, units in came if at_ns - SECOND < then_ns <= at_ns]
        assert sum(window) <= count


def test_a_pool_of_credits_is_kept_as_it_is():
    pool = Credit(10, 5)
    assert kept_on_arrival([pool]) == (pool,)
