"""Which endpoint a line dials: ejection, keeping apart, speed, and staying where it is."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.backoff import BackoffPolicy
from gapless.core.budget import Budget
from gapless.core.endpoints import (
    EJECTED_NS,
    EJECTED_NS_MAX,
    EndpointChoice,
    Target,
    apart,
)
from gapless.core.supervisor import Start, Supervisor
from gapless.errors import ConnectionLost, DialFailed

MS = 1_000_000
SECOND = 1_000_000_000
T0 = 1_000 * SECOND
ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "2001:db8::3"


def choice(*addresses: tuple[str, ...], **kwargs: dict[str, object]) -> EndpointChoice:
    """Return a choice among endpoints with these addresses."""
    made = EndpointChoice(len(addresses), **kwargs)  # type: ignore[arg-type]
    for endpoint, known in enumerate(addresses):
        made.resolved(endpoint, known)
    return made


# -- keeping apart --------------------------------------------------------------------------------


def test_a_second_line_takes_another_address():
    made = choice((ONE, TWO))
    assert made.pick("a", 1, T0) == Target(0, ONE)
    assert made.pick("b", 2, T0) == Target(0, TWO)


def test_a_second_line_takes_another_endpoint_where_there_is_one():
    made = choice((ONE, TWO), (THREE,))
    assert made.pick("a", 1, T0) == Target(0, ONE)
    assert made.pick("b", 2, T0) == Target(1, THREE)
    assert made.pick("c", 3, T0) == Target(0, TWO)


def test_another_address_counts_more_than_another_endpoint():
    made = choice((ONE, TWO), (ONE,))
    made.pick("a", 1, T0)
    assert made.pick("b", 2, T0) == Target(0, TWO)


def test_parts_of_one_line_may_share_an_address():
    made = choice((ONE, TWO))
    assert made.pick("a1", 1, T0) == made.pick("a2", 2, T0) == Target(0, ONE)
    assert made.pick("b1", 3, T0) == made.pick("b2", 4, T0) == Target(0, TWO)


def test_a_line_that_was_lost_keeps_its_place_until_it_dials_again():
    made = choice((ONE, TWO))
    made.pick("a", 1, T0)
    made.pick("b", 2, T0)
    made.ended(1)
    assert made.pick("b", 3, T0) == Target(0, TWO)
    assert made.pick("a", 4, T0) == Target(0, ONE)
    made.forget("a")
    made.ended(4)
    assert made.of(4) is None


def test_a_pinned_line_has_no_other_endpoint():
    made = choice((ONE,), (TWO,), pins={"b": 0})
    made.pick("a", 1, T0)
    assert made.pick("b", 2, T0) == Target(0, ONE)
    made.failed(2, T0)
    assert made.pick("b", 3, T0) == Target(0, ONE)


def test_a_line_with_a_source_dials_addresses_of_its_family():
    made = choice((ONE, TWO, THREE), sources={"a": "2001:db8::9", "b": "198.51.100.7"})
    assert made.pick("a", 1, T0) == Target(0, THREE)
    assert made.pick("b", 2, T0) == Target(0, ONE)
    assert made.order(1, T0) == (THREE,)
    assert made.order(2, T0) == (ONE, TWO)


def test_an_endpoint_without_known_addresses_is_one_target():
    made = EndpointChoice(2)
    assert made.pick("a", 1, T0) == Target(0)
    assert made.pick("b", 2, T0) == Target(1)
    assert made.order(1, T0) == ()


# -- ejection -------------------------------------------------------------------------------------


def test_what_fails_is_out_for_thirty_seconds_and_longer_each_time():
    made = choice((ONE, TWO))
    now_ns, target = T0, Target(0, ONE)
    for count in range(1, 13):
        assert made.pick("a", count, now_ns) == target
        made.failed(count, now_ns)
        out_ns = min(EJECTED_NS * count, EJECTED_NS_MAX)
        assert made.is_out(target, now_ns + out_ns - 1)
        assert not made.is_out(target, now_ns + out_ns)
        made.ended(count)
        now_ns += out_ns
    assert EJECTED_NS_MAX < 12 * EJECTED_NS, "the bound was reached"


def test_the_next_dial_goes_elsewhere():
    made = choice((ONE, TWO))
    made.pick("a", 1, T0)
    made.failed(1, T0)
    assert made.pick("a", 2, T0) == Target(0, TWO)
    assert made.order(2, T0) == (TWO, ONE), "and the one that failed is tried last"


def test_when_all_are_out_the_first_that_comes_back_is_taken():
    made = choice((ONE, TWO))
    for epoch, at_ns in ((1, T0), (2, T0 + SECOND), (3, T0 + 2 * SECOND)):
        picked = made.pick("a", epoch, at_ns)
        made.failed(epoch, at_ns)
        made.ended(epoch)
    assert picked == Target(0, ONE)  # failed twice by now, and so it is out for longer
    assert made.is_out(Target(0, ONE), T0 + 3 * SECOND)
    assert made.is_out(Target(0, TWO), T0 + 3 * SECOND)
    assert made.pick("a", 4, T0 + 3 * SECOND) == Target(0, TWO)


def test_the_last_target_is_never_ejected():
    made = choice((ONE,))
    for epoch in range(1, 50):
        assert made.pick("a", epoch, T0) == Target(0, ONE)
        made.failed(epoch, T0)
        made.ended(epoch)


def test_useful_data_forgives_failures_but_not_of_a_session_that_fell_sick():
    made = choice((ONE, TWO))
    made.pick("a", 1, T0)
    made.failed(1, T0)
    made.useful(1)  # it had brought data before
    assert made.is_out(Target(0, ONE), T0)
    made.ended(1)
    made.forget("a")
    now_ns = T0 + EJECTED_NS
    made.pick("b", 2, now_ns)
    assert made.of(2) == Target(0, ONE)
    made.useful(2)
    made.failed(2, now_ns)
    assert not made.is_out(Target(0, ONE), now_ns + EJECTED_NS), "the count begins anew"


def test_the_address_that_answered_in_place_of_the_chosen_one_is_remembered():
    made = choice((ONE, TWO))
    made.pick("a", 1, T0)
    made.reached(1, TWO, T0)
    assert made.of(1) == Target(0, TWO)
    assert made.is_out(Target(0, ONE), T0)
    assert not made.is_out(Target(0, TWO), T0)


def test_an_address_that_is_no_longer_told_is_dialled_no_more():
    made = choice((ONE, TWO))
    made.pick("a", 1, T0)
    made.resolved(0, (TWO, THREE))
    assert made.pick("a", 2, T0) == Target(0, TWO)


# -- speed ----------------------------------------------------------------------------------------


def measured(first_ms: float, second_ms: float) -> EndpointChoice:
    made = choice((ONE, TWO))
    for epoch, line, cost_ms in ((1, "a", first_ms), (2, "b", second_ms)):
        made.pick(line, epoch, T0)
        made.connected(epoch, int(cost_ms * MS))
        made.rtt(epoch, int(cost_ms * MS))
    made.ended(2)
    made.forget("b")
    return made


def test_a_line_moves_to_what_is_clearly_faster():
    assert measured(10, 7).pick("a", 3, T0) == Target(0, TWO)


def test_a_line_stays_where_it_is_for_a_small_difference():
    assert measured(10, 8).pick("a", 3, T0) == Target(0, ONE)


def test_a_new_line_takes_the_fastest():
    made = measured(10, 8)
    made.ended(1)
    made.forget("a")
    assert made.pick("c", 3, T0) == Target(0, TWO)


@pytest.mark.parametrize(("won", "goes"), [((0, 100), TWO), ((50, 60), ONE), ((100, 0), ONE)])
def test_who_brings_messages_first_counts(won, goes):
    made = measured(10, 10)
    made.won(1, won[0], 100)
    made.pick("b", 5, T0)
    made.won(5, won[1], 100)
    made.forget("b")
    made.ended(5)
    assert made.pick("a", 3, T0) == Target(0, goes)


def test_a_successor_looks_elsewhere_unless_that_is_clearly_worse():
    assert measured(10, 12).pick("a", 3, T0, successor=True) == Target(0, TWO)
    assert measured(10, 20).pick("a", 3, T0, successor=True) == Target(0, ONE)
    assert choice((ONE,)).pick("a", 3, T0, successor=True) == Target(0, ONE)


def test_a_successor_does_not_move_to_where_another_line_is():
    made = choice((ONE,), (TWO,))
    made.pick("a", 1, T0)
    made.pick("b", 2, T0)
    assert made.pick("a", 3, T0, successor=True) == Target(0, ONE)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["fail", "useful", "lose", "rotate", "dns"])
        ),
        max_size=60,
    )
)
def test_something_that_exists_is_always_picked_and_little_is_kept(steps):
    made = choice((ONE, TWO), (THREE,))
    for epoch, (line, step) in enumerate(steps, start=1):
        now_ns = T0 + epoch * SECOND
        target = made.pick(line, epoch, now_ns, successor=step == "rotate")
        assert target.address in (*made.addresses(target.endpoint), None)
        if step == "fail":
            made.failed(epoch, now_ns)
        elif step == "useful":
            made.useful(epoch)
        elif step == "dns":
            made.resolved(0, (ONE,) if epoch % 2 else (ONE, TWO))
        made.ended(epoch)
    assert len(made._targets) <= 3
    assert len(made._lines) <= 3
    assert not made._open
    assert not made._sick


def test_what_is_remembered_of_targets_is_bounded():
    made = EndpointChoice(1)
    for epoch in range(1, 2000):
        made.resolved(0, (f"192.0.{epoch % 250}.{epoch // 250}",))
        made.pick("a", epoch, T0)
        made.failed(epoch, T0)
        made.ended(epoch)
    assert len(made._records) <= 257


# -- under a supervisor ---------------------------------------------------------------------------


def test_a_supervisor_dials_the_chosen_address_and_tells_how_it_went():
    made = choice((ONE, TWO))
    supervisor = Supervisor(("a", "b"), made, Budget(), BackoffPolicy(), Random(1))
    assert supervisor.reconcile(T0) == [
        Start("a", 1, 0, "first", ONE),
        Start("b", 2, 0, "first", TWO),
    ]
    supervisor.ended(1, DialFailed("tcp", "wss://venue", "refused"), 0, T0)
    assert made.is_out(Target(0, ONE), T0)
    supervisor.live(2, T0)
    supervisor.ended(2, ConnectionLost(1006), 60 * SECOND, T0)
    assert not made.is_out(Target(0, TWO), T0)


def test_a_session_that_is_accepted_and_dropped_counts_as_a_failure():
    made = choice((ONE, TWO))
    supervisor = Supervisor(("a",), made, Budget(), BackoffPolicy(), Random(1))
    supervisor.reconcile(T0)
    supervisor.ended(1, ConnectionLost(1006), 0, T0)
    assert made.is_out(Target(0, ONE), T0)


# -- one for everybody ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "possible"),
    [
        ([[1]], True),
        ([[1], [1]], False),
        ([[1], [1, 2]], True),
        ([[1, 2], [1]], True),
        ([[1, 2], [1], [2]], False),
        ([[1, 2, 3], [1, 2], [1]], True),
        ([[]], False),
        ([], True),
    ],
)
def test_everybody_has_a_place_of_their_own_or_not(choices, possible):
    assert apart(choices) is possible
