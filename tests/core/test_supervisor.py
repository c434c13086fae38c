"""Lines: every cell of the table, make before break, budgets, endpoints, breaker."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from gapless.core.backoff import BackoffPolicy
from gapless.core.budget import Budget, Window
from gapless.core.supervisor import (
    LINE_TRANSITIONS,
    OVERLAP_MAX_NS,
    OVERLAP_NS,
    POSTPONE_NS,
    TURN_NS,
    Action,
    LineSignal,
    LineState,
    Retire,
    Start,
    Supervisor,
    line_step,
)
from gapless.errors import (
    ConnectionLost,
    DialFailed,
    IllegalTransition,
    RateLimited,
    Stalled,
)

MS = 1_000_000
SECOND = 1_000_000_000
T0 = 1_000 * SECOND
POLICY = BackoffPolicy()
REFUSED = DialFailed("tcp", "wss://venue", "refused")


def make(*lines: str, endpoints: int = 1, dials: Budget | None = None, seed: int = 1) -> Supervisor:
    return Supervisor(lines or ("a",), endpoints, dials or Budget(), POLICY, Random(seed))


def up(*lines: str, endpoints: int = 1, dials: Budget | None = None) -> Supervisor:
    """Return a supervisor whose lines are all live, at `T0`."""
    supervisor = make(*lines, endpoints=endpoints, dials=dials)
    for start in starts(supervisor.reconcile(T0)):
        supervisor.live(start.epoch, T0)
    return supervisor


def starts(actions: list[Action]) -> list[Start]:
    return [action for action in actions if isinstance(action, Start)]


def next_start(supervisor: Supervisor, now_ns: int) -> tuple[int, Start]:
    """Let time pass from deadline to deadline until something starts."""
    for _ in range(100):
        if found := starts(supervisor.reconcile(now_ns)):
            return now_ns, found[0]
        deadline_ns = supervisor.deadline_ns
        assert deadline_ns is not None
        assert deadline_ns > now_ns, "a deadline in the past would spin"
        now_ns = deadline_ns
    raise AssertionError("nothing starts")


# -- the table ------------------------------------------------------------------------------

L, G = LineState, LineSignal
TABLE = {
    L.DOWN: {G.WAIT: L.COOLING, G.START: L.STARTING, G.HALT: L.HALTED, G.STOP: L.STOPPED},
    L.COOLING: {G.WAIT: L.COOLING, G.START: L.STARTING, G.HALT: L.HALTED, G.STOP: L.STOPPED},
    L.STARTING: {G.LIVE: L.UP, G.LOST: L.DOWN, G.HALT: L.HALTED, G.STOP: L.STOPPED},
    L.UP: {G.LOST: L.DOWN, G.ROTATE: L.ROTATING, G.HALT: L.HALTED, G.STOP: L.STOPPED},
    L.ROTATING: {
        G.SWITCH: L.UP,
        G.KEEP: L.UP,
        G.LOST: L.STARTING,
        G.HALT: L.HALTED,
        G.STOP: L.STOPPED,
    },
    L.HALTED: {G.STOP: L.STOPPED},
    L.STOPPED: {},
}


@pytest.mark.parametrize("signal", list(LineSignal))
@pytest.mark.parametrize("state", list(LineState))
def test_every_cell_of_the_table(state, signal):
    if signal in TABLE[state]:
        assert line_step(state, signal) is TABLE[state][signal]
        assert LINE_TRANSITIONS[state][signal] is TABLE[state][signal]
    else:
        with pytest.raises(IllegalTransition, match=f"{signal.name} while {state.name}"):
            line_step(state, signal)


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        LINE_TRANSITIONS[LineState.STOPPED] = {}  # type: ignore[index]


# -- starting ---------------------------------------------------------------------------------


def test_every_line_starts_at_once_with_an_epoch_and_an_endpoint_of_its_own():
    supervisor = make("a", "b", "c", endpoints=2)
    assert supervisor.reconcile(T0) == [
        Start("a", 1, 0, "first"),
        Start("b", 2, 1, "first"),
        Start("c", 3, 0, "first"),
    ]
    assert supervisor.reconcile(T0) == []
    assert set(supervisor.states().values()) == {LineState.STARTING}
    assert supervisor.deadline_ns is None
    supervisor.live(2, T0)
    assert supervisor.states()["b"] is LineState.UP
    supervisor.live(2, T0)
    supervisor.live(99, T0)
    assert supervisor.states()["b"] is LineState.UP


def test_dials_are_paid_from_the_budget():
    supervisor = make("a1", "a2", "a3", dials=Budget(Window(2, 10 * SECOND)))
    assert [start.line for start in starts(supervisor.reconcile(T0))] == ["a1", "a2"]
    assert supervisor.states()["a3"] is LineState.COOLING
    assert supervisor.deadline_ns == T0 + 10 * SECOND
    assert supervisor.retry_in_ns("a3", T0 + 3 * SECOND) == 7 * SECOND
    assert supervisor.retry_in_ns("a1", T0) is None
    assert supervisor.reconcile(T0 + 10 * SECOND - 1) == []
    assert [start.line for start in starts(supervisor.reconcile(T0 + 10 * SECOND))] == ["a3"]


def test_the_first_lines_go_before_the_second_and_leave_them_no_reserve():
    dials = Budget(Window(5, 60 * SECOND))
    supervisor = make("a1", "a2", "b1", "b2", "c1", dials=dials)
    assert [start.line for start in starts(supervisor.reconcile(T0))] == ["a1", "a2", "b1", "b2"]
    supervisor.ended(1, ConnectionLost(), 0, T0)  # one is left in the reserve
    supervisor.ended(3, ConnectionLost(), 0, T0)
    at_ns, start = next_start(supervisor, T0)
    assert start.line == "a1"
    assert at_ns <= T0 + SECOND
    assert supervisor.states()["c1"] is LineState.COOLING


def test_dials_that_are_not_answered_never_use_up_the_budget():
    dials = Budget(Window(20, 60 * SECOND))
    supervisor, now_ns, times = make("a", dials=dials), T0, []
    while now_ns < T0 + 85 * SECOND:
        now_ns, start = next_start(supervisor, now_ns)
        times.append(now_ns)
        supervisor.ended(start.epoch, REFUSED, 0, now_ns)
    late = [
        after - before for before, after in itertools.pairwise(times) if before > T0 + 30 * SECOND
    ]
    assert len(late) > 10
    assert max(late) <= 5 * SECOND  # it would be nearly a minute if it were used up
    for begin_ns in times:
        assert sum(begin_ns <= at < begin_ns + 60 * SECOND for at in times) <= 20


def test_one_answered_dial_brings_the_others_back():
    supervisor = make("a1", "a2", "a3")
    now_ns = T0
    supervisor.reconcile(T0)
    for epoch in (1, 2, 3):
        supervisor.ended(epoch, REFUSED, 0, T0)
    failing = 12  # so that the waits are long
    while failing:
        now_ns, start = next_start(supervisor, now_ns)
        failing -= 1
        if failing:
            supervisor.ended(start.epoch, REFUSED, 0, now_ns)
    supervisor.opened(start.epoch, now_ns)
    for _ in range(2):
        at_ns, _ = next_start(supervisor, now_ns)
        assert at_ns <= now_ns + POLICY.dial_first_ns


def test_a_budget_is_shared_between_feeds():
    dials = Budget(Window(1, 10 * SECOND))
    one, two = make("a", dials=dials), make("a", dials=dials)
    assert len(one.reconcile(T0)) == 1
    assert two.reconcile(T0) == []
    at_ns, _ = next_start(two, T0)
    assert at_ns == T0 + 10 * SECOND


# -- after a loss -----------------------------------------------------------------------------


def test_a_lost_session_is_followed_by_the_next_epoch_almost_at_once():
    supervisor = up("a")
    supervisor.ended(1, ConnectionLost(1006), 60 * SECOND, T0)
    assert supervisor.states()["a"] is LineState.DOWN
    at_ns, start = next_start(supervisor, T0)
    assert at_ns - T0 <= POLICY.flap_first_ns
    assert (start.epoch, start.endpoint) == (2, 0)
    assert start.cause == "closed with 1006"


def test_what_is_told_of_a_session_of_the_past_changes_nothing():
    supervisor = up("a")
    supervisor.ended(1, ConnectionLost(), 0, T0)
    next_start(supervisor, T0)
    before = supervisor.states()
    supervisor.ended(1, ConnectionLost(), 0, T0)
    supervisor.live(1, T0)
    assert supervisor.rotate(1, "late", T0) is False
    assert supervisor.states() == before


def test_a_planned_end_of_the_current_session_is_followed_at_once():
    supervisor = up("a")
    supervisor.ended(1, None, 0, T0)
    assert starts(supervisor.reconcile(T0)) == [Start("a", 2, 0, "planned")]


def test_a_dial_that_failed_moves_on_to_the_next_endpoint():
    supervisor = make("a", endpoints=3)
    [start] = starts(supervisor.reconcile(T0))
    seen, now_ns = [start.endpoint], T0
    for _ in range(3):
        supervisor.ended(start.epoch, REFUSED, 0, now_ns)
        now_ns, start = next_start(supervisor, now_ns)
        seen.append(start.endpoint)
    assert seen == [0, 1, 2, 0]


def test_an_endpoint_that_worked_is_kept():
    supervisor = up("a", endpoints=3)
    supervisor.ended(1, ConnectionLost(1006), 60 * SECOND, T0)
    _, start = next_start(supervisor, T0)
    assert start.endpoint == 0


def test_backoff_is_reset_by_useful_data_and_not_by_a_handshake():
    flapping, useful = up("a"), up("a")
    waits = {}
    for name, supervisor, useful_ns in (("flap", flapping, 0), ("use", useful, 60 * SECOND)):
        now_ns, epoch = T0, 1
        for _ in range(6):
            supervisor.ended(epoch, ConnectionLost(1006), useful_ns, now_ns)
            at_ns, start = next_start(supervisor, now_ns)
            waits[name], now_ns, epoch = at_ns - now_ns, at_ns + 60 * SECOND, start.epoch
            supervisor.live(epoch, now_ns)
    assert waits["use"] <= POLICY.flap_first_ns
    assert waits["flap"] >= 8 * SECOND


def test_two_hundred_lines_lost_at_once_are_spread_out():
    names = [f"a{number}" for number in range(200)]
    supervisor = up(*names)
    for epoch in range(1, 201):
        supervisor.ended(epoch, ConnectionLost(1006), 60 * SECOND, T0)
    times, now_ns = [], T0
    while len(times) < 200:
        found = starts(supervisor.reconcile(now_ns))
        times += [now_ns] * len(found)
        deadline_ns = supervisor.deadline_ns
        now_ns = deadline_ns if deadline_ns is not None else now_ns
    assert times[-1] - T0 <= 200 * POLICY.flap_each_ns + POLICY.flap_first_ns
    assert times[-1] - T0 >= SECOND
    for begin_ns in range(T0, times[-1], 100 * MS):
        assert sum(begin_ns <= time < begin_ns + 100 * MS for time in times) <= 30
    assert len(set(times)) > 190


# -- the breaker --------------------------------------------------------------------------------


def test_nobody_dials_before_the_venue_allows_it():
    dials = Budget()
    supervisor, other = up("a", "b", dials=dials), make("z", dials=dials)
    supervisor.ended(1, RateLimited(429, 60 * SECOND), 0, T0)
    supervisor.ended(2, ConnectionLost(1006), 60 * SECOND, T0)  # would be back at once
    at_ns, probe = next_start(supervisor, T0)
    assert T0 + 60 * SECOND <= at_ns <= T0 + 61 * SECOND
    # One dial alone finds out; the others wait for what becomes of it.
    assert other.reconcile(at_ns) == []
    assert starts(supervisor.reconcile(at_ns + SECOND)) == []
    supervisor.ended(probe.epoch, RateLimited(429, 5 * SECOND), 0, at_ns + SECOND)
    again_ns, _ = next_start(other, at_ns + SECOND)
    assert again_ns >= at_ns + 6 * SECOND
    other.opened(1, again_ns + MS)
    assert len(starts(supervisor.reconcile(again_ns + 300 * MS))) == 2


def test_a_probe_that_is_not_answered_at_all_makes_room_for_another():
    dials = Budget()
    supervisor, other = up("a", dials=dials), make("z", dials=dials)
    supervisor.ended(1, RateLimited(429, SECOND), 0, T0)
    at_ns, probe = next_start(supervisor, T0)
    supervisor.ended(probe.epoch, REFUSED, 0, at_ns)
    assert next_start(other, at_ns)[0] == at_ns
    other.stop()
    other.reconcile(at_ns)
    other.ended(1, ConnectionLost(), 0, at_ns)  # it was cancelled
    assert next_start(supervisor, at_ns)[0] <= at_ns + SECOND


def test_a_policy_close_opens_the_breaker_and_never_halts():
    supervisor = up("a")
    now_ns, epoch, waits = T0, 1, []
    for _ in range(8):
        supervisor.ended(epoch, ConnectionLost(1008, "go away"), 0, now_ns)
        at_ns, start = next_start(supervisor, now_ns)
        waits.append(at_ns - now_ns)
        now_ns, epoch = at_ns, start.epoch
    assert [wait_ns // SECOND for wait_ns in waits] == [30, 120, *[600] * 6]
    assert supervisor.halted is None


# -- make before break ----------------------------------------------------------------------------


def test_a_successor_is_live_and_has_overlapped_before_the_old_session_retires():
    supervisor = up("a", endpoints=2)
    assert supervisor.rotate(1, "its lifetime is nearly over", T0)
    assert supervisor.deadline_ns == T0
    assert supervisor.reconcile(T0) == [Start("a", 2, 1, "its lifetime is nearly over")]
    assert supervisor.states()["a"] is LineState.ROTATING
    assert supervisor.deadline_ns is None
    live_ns = T0 + 3 * SECOND
    supervisor.live(2, live_ns)
    assert supervisor.deadline_ns == live_ns + OVERLAP_NS
    assert supervisor.reconcile(live_ns + OVERLAP_NS - 1) == []
    assert supervisor.reconcile(live_ns + OVERLAP_NS) == [Retire(1, "its lifetime is nearly over")]
    assert supervisor.states()["a"] is LineState.UP
    supervisor.ended(1, None, 60 * SECOND, live_ns + 2 * SECOND)
    assert supervisor.states()["a"] is LineState.UP
    supervisor.ended(2, ConnectionLost(), 60 * SECOND, live_ns + 3 * SECOND)
    assert supervisor.states()["a"] is LineState.DOWN


def test_asking_twice_is_no_news():
    supervisor = up("a")
    assert supervisor.rotate(1, "one", T0)
    assert not supervisor.rotate(1, "two", T0)
    assert starts(supervisor.reconcile(T0)) == [Start("a", 2, 0, "one")]
    assert not supervisor.rotate(1, "three", T0)


def test_a_successor_that_fails_costs_nothing_and_is_tried_again():
    supervisor = up("a", endpoints=2)
    supervisor.rotate(1, "shutdown", T0)
    supervisor.reconcile(T0)
    supervisor.ended(2, REFUSED, 0, T0 + SECOND)
    assert supervisor.states()["a"] is LineState.UP
    at_ns, start = next_start(supervisor, T0 + SECOND)
    assert at_ns == T0 + SECOND + POSTPONE_NS
    assert (start.epoch, start.cause) == (3, "shutdown")


def test_the_successor_carries_on_when_the_old_session_is_lost_meanwhile():
    supervisor = up("a")
    supervisor.rotate(1, "shutdown", T0)
    supervisor.reconcile(T0)
    supervisor.ended(1, ConnectionLost(1001), 60 * SECOND, T0 + 1)
    assert supervisor.states()["a"] is LineState.STARTING
    assert supervisor.reconcile(T0 + 1) == []  # no third session
    supervisor.live(2, T0 + 2)
    assert supervisor.states()["a"] is LineState.UP


def test_a_successor_that_is_live_takes_over_at_once_when_the_old_session_is_lost():
    supervisor = up("a")
    supervisor.rotate(1, "shutdown", T0)
    supervisor.reconcile(T0)
    supervisor.live(2, T0 + 1)
    supervisor.ended(1, ConnectionLost(1001), 60 * SECOND, T0 + 2)
    assert supervisor.states()["a"] is LineState.UP
    assert supervisor.reconcile(T0 + 10 * SECOND) == []


def test_a_notice_that_comes_while_a_session_starts_is_not_forgotten():
    supervisor = make("a")
    supervisor.reconcile(T0)
    assert supervisor.rotate(1, "the venue will end this session", T0, urgent=True)
    assert supervisor.reconcile(T0) == []  # it does not work yet: nothing to replace
    supervisor.live(1, T0 + 1)
    [start] = starts(supervisor.reconcile(T0 + 1))
    assert (start.epoch, start.cause) == (2, "the venue will end this session")


def test_a_notice_to_a_successor_is_not_forgotten():
    supervisor = up("a")
    supervisor.rotate(1, "lifetime", T0)
    supervisor.reconcile(T0)
    supervisor.live(2, T0)
    assert supervisor.rotate(2, "shutdown", T0 + 1)
    assert not supervisor.rotate(2, "shutdown", T0 + 1)
    actions = supervisor.reconcile(T0 + OVERLAP_NS)
    assert [action.epoch for action in actions] == [1]
    assert supervisor.deadline_ns == T0 + 1
    [start] = starts(supervisor.reconcile(T0 + OVERLAP_NS))
    assert (start.epoch, start.cause) == (3, "shutdown")


def test_a_notice_to_a_successor_outlives_the_loss_of_the_old_session():
    supervisor = up("a")
    supervisor.rotate(1, "lifetime", T0)
    supervisor.reconcile(T0)
    assert supervisor.rotate(2, "shutdown", T0 + 1)
    supervisor.ended(1, ConnectionLost(), 60 * SECOND, T0 + 2)
    supervisor.live(2, T0 + 3)
    [start] = starts(supervisor.reconcile(T0 + 3))
    assert start.epoch == 3


def test_a_notice_to_a_session_that_is_lost_before_it_works_is_void():
    supervisor = make("a")
    supervisor.reconcile(T0)
    supervisor.rotate(1, "shutdown", T0)
    supervisor.ended(1, ConnectionLost(), 0, T0 + 1)
    _, start = next_start(supervisor, T0 + 1)
    supervisor.live(start.epoch, T0 + SECOND)
    assert supervisor.reconcile(T0 + SECOND) == []


def test_a_replacement_waits_while_the_dial_budget_is_nearly_used_up():
    dials = Budget(Window(10, 60 * SECOND))
    supervisor = up("a", dials=dials)
    for _ in range(7):
        dials.spend(T0)
    supervisor.rotate(1, "unproven", T0)
    assert supervisor.reconcile(T0) == []
    assert supervisor.deadline_ns == T0 + 60 * SECOND
    at_ns, _ = next_start(supervisor, T0)
    assert at_ns == T0 + 60 * SECOND


def test_an_urgent_replacement_may_use_the_reserve_and_no_more():
    dials = Budget(Window(10, 60 * SECOND))
    supervisor = up("a", dials=dials)
    for _ in range(8):
        dials.spend(T0)
    supervisor.rotate(1, "shutdown", T0, urgent=True)
    assert len(starts(supervisor.reconcile(T0))) == 1
    supervisor.ended(2, REFUSED, 0, T0)
    at_ns, _ = next_start(supervisor, T0)
    assert at_ns >= T0 + 60 * SECOND


def test_a_successor_that_does_not_overlap_yet_is_given_more_time_and_not_for_ever():
    supervisor = up("a")
    supervisor.overlaps = lambda epoch: False
    supervisor.rotate(1, "lifetime", T0)
    supervisor.reconcile(T0)
    supervisor.live(2, T0)
    now_ns, looks = T0, 0
    while not (actions := supervisor.reconcile(now_ns)):
        assert supervisor.deadline_ns is not None
        assert supervisor.deadline_ns > now_ns
        now_ns, looks = supervisor.deadline_ns, looks + 1
    assert actions == [Retire(1, "lifetime")]
    assert now_ns == T0 + OVERLAP_MAX_NS
    assert looks > 10


def test_a_successor_that_brings_nothing_does_not_replace_a_session_that_does():
    supervisor = up("a")
    supervisor.overlaps = lambda epoch: False
    supervisor.brings_nothing = lambda epoch: epoch == 2
    supervisor.rotate(1, "lifetime", T0)
    supervisor.reconcile(T0)
    supervisor.live(2, T0)
    (retired,) = supervisor.reconcile(T0 + OVERLAP_MAX_NS)
    assert (type(retired), retired.epoch) == (Retire, 2)
    assert supervisor.states()["a"] is LineState.UP
    supervisor.ended(2, None, 0, T0 + OVERLAP_MAX_NS)
    assert supervisor.states()["a"] is LineState.UP
    again_ns = supervisor.deadline_ns
    assert T0 + OVERLAP_MAX_NS < again_ns <= T0 + OVERLAP_MAX_NS + 30 * SECOND
    (start,) = supervisor.reconcile(again_ns)
    assert (type(start), start.epoch, start.cause) == (Start, 3, "lifetime")


def test_a_successor_takes_over_as_soon_as_it_overlaps():
    supervisor, asked = up("a"), []
    supervisor.overlaps = lambda epoch: asked.append(epoch) or len(asked) > 3
    supervisor.rotate(1, "lifetime", T0)
    supervisor.reconcile(T0)
    supervisor.live(2, T0)
    now_ns = T0
    while not supervisor.reconcile(now_ns):
        now_ns = supervisor.deadline_ns or 0
    assert asked == [2, 2, 2, 2]
    assert now_ns < T0 + OVERLAP_NS + SECOND


def test_lines_of_two_redundancies_are_replaced_one_after_the_other():
    supervisor = up("a", "b")
    assert supervisor.rotate(1, "lifetime", T0)
    assert supervisor.rotate(2, "lifetime", T0)
    assert [start.line for start in starts(supervisor.reconcile(T0))] == ["a"]
    supervisor.live(3, T0 + SECOND)
    now_ns = T0 + SECOND
    while not (found := starts(supervisor.reconcile(now_ns))):
        assert supervisor.states()["b"] is LineState.UP
        now_ns = supervisor.deadline_ns or 0
    assert [(start.line, start.epoch) for start in found] == [("b", 4)]
    assert T0 + SECOND + OVERLAP_NS <= now_ns <= T0 + 3 * SECOND


def test_lines_of_one_redundancy_carry_different_topics_and_need_not_take_turns():
    supervisor = up("a1", "a2")
    supervisor.rotate(1, "lifetime", T0)
    supervisor.rotate(2, "lifetime", T0)
    assert len(starts(supervisor.reconcile(T0))) == 2


def test_a_line_is_not_replaced_by_choice_while_its_sibling_does_not_work_but_not_for_ever():
    supervisor = up("a", "b")
    supervisor.ended(1, None, 0, T0)
    supervisor.reconcile(T0)
    assert supervisor.states()["a"] is LineState.STARTING
    supervisor.rotate(2, "lifetime", T0, urgent=True, patience_ns=TURN_NS)
    seen: list[Start] = []
    now_ns = T0
    while now_ns < T0 + 2 * TURN_NS and not seen:
        seen += [s for s in starts(supervisor.reconcile(now_ns)) if s.line == "b"]
        now_ns += SECOND // 4
    assert seen
    assert now_ns >= T0 + TURN_NS


def test_a_sick_line_is_replaced_at_once_whatever_its_sibling_does():
    supervisor = up("a", "b")
    supervisor.rotate(1, "lifetime", T0)
    supervisor.reconcile(T0)
    supervisor.rotate(2, "stalled", T0, urgent=True)
    assert [start.line for start in starts(supervisor.reconcile(T0))] == ["b"]


def test_a_halted_sibling_keeps_nobody_waiting():
    supervisor = up("a", "b")
    supervisor.halt("a", "enough")
    supervisor.rotate(2, "lifetime", T0)
    assert [start.line for start in starts(supervisor.reconcile(T0))] == ["b"]


def test_a_replacement_that_is_forgone_is_not_tried_again():
    supervisor = up("a")
    assert supervisor.epoch_of("a") == 1
    assert supervisor.epoch_of("z") is None
    supervisor.rotate(1, "asked for", T0)
    supervisor.reconcile(T0)
    supervisor.ended(2, REFUSED, 0, T0)
    supervisor.forgo("a")
    supervisor.forgo("z")
    assert supervisor.deadline_ns is None
    assert supervisor.reconcile(T0 + 1000 * SECOND) == []


# -- halting and stopping ---------------------------------------------------------------------


def test_the_unknown_halts_one_line_and_the_others_go_on():
    supervisor = up("a", "b")
    supervisor.ended(1, KeyError("surprise"), 0, T0)
    assert supervisor.states() == {"a": LineState.HALTED, "b": LineState.UP}
    assert supervisor.halted is None
    assert supervisor.reconcile(T0 + 100 * SECOND) == []
    supervisor.ended(2, KeyError("another"), 0, T0)
    assert supervisor.halted == "KeyError: 'surprise'"
    assert supervisor.deadline_ns is None


def test_halting_retires_what_the_line_has():
    supervisor = up("a")
    supervisor.rotate(1, "lifetime", T0)
    supervisor.reconcile(T0)
    supervisor.halt("a", "enough")
    assert supervisor.reconcile(T0) == [Retire(1, "halted"), Retire(2, "halted")]
    assert supervisor.reconcile(T0) == []
    supervisor.halt("a", "again")
    assert supervisor.halted == "enough"
    supervisor.ended(1, None, 0, T0)
    supervisor.live(2, T0)


@pytest.mark.parametrize("state", [s for s in LineState if s is not LineState.STOPPED])
def test_a_stopped_supervisor_retires_what_there_is_and_starts_nothing(state):
    supervisor = make("a") if state is LineState.DOWN else up("a")
    match state:
        case LineState.COOLING:
            supervisor.ended(1, RateLimited(429, SECOND), 0, T0)
            supervisor.reconcile(T0)
        case LineState.STARTING:
            supervisor.ended(1, None, 0, T0)
            supervisor.reconcile(T0)
        case LineState.ROTATING:
            supervisor.rotate(1, "lifetime", T0)
            supervisor.reconcile(T0)
        case LineState.HALTED:
            supervisor.halt("a", "enough")
    assert supervisor.states()["a"] is state
    supervisor.stop()
    retired = {
        LineState.STARTING: [2],
        LineState.UP: [1],
        LineState.ROTATING: [1, 2],
        LineState.HALTED: [1],
    }
    assert [a.epoch for a in supervisor.reconcile(T0)] == retired.get(state, [])
    assert supervisor.states()["a"] is LineState.STOPPED
    assert supervisor.reconcile(T0 + 10**15) == []
    assert supervisor.deadline_ns is None
    supervisor.ended(1, Stalled(1, "late"), 0, T0)
    assert not supervisor.rotate(1, "late", T0)
    assert supervisor.reconcile(T0 + 10**15) == []
