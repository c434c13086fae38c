"""What goes wrong, in which order, and how the time is divided."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.cli.tour import CALM_S, FEWEST, SHORTEST_S, Pace, Step, parts, plan
from gapless.core.stream import SnapshotFrom
from gapless.sim.build import simulate
from gapless.sim.dialects import DIALECTS
from gapless.venues._registry import load

FIRST, SECOND = parts()
ALL = plan(75.0, FIRST, SECOND)


def test_two_venues_play_and_their_books_come_by_different_ways():
    sources = [load(p.venue).topic("book", p.symbol).snapshot for p in (FIRST, SECOND)]
    assert sources == [SnapshotFrom.STREAM, SnapshotFrom.REST]
    assert FIRST.symbol in DIALECTS[FIRST.venue].usual_symbols


def test_the_topics_are_those_that_the_default_channels_subscribe():
    for part in (FIRST, SECOND):
        assert load(part.venue).topic("book", part.symbol).topic == part.book
        assert load(part.venue).topic("trades", part.symbol).topic == part.trades
        assert fnmatchcase(part.book, part.book)  # no sign in it is a pattern


@pytest.mark.parametrize("duration_s", [1.0, SHORTEST_S - 5, SHORTEST_S, 40.0, 60.0, 75.0, 900.0])
def test_every_tour_has_eight_faults_at_least(duration_s):
    steps = plan(duration_s, FIRST, SECOND)
    assert len(steps) >= FEWEST
    assert len({step.name for step in steps}) >= FEWEST


@pytest.mark.parametrize("duration_s", [SHORTEST_S - 4, SHORTEST_S, 45.0, 60.0, 75.0, 300.0, 900.0])
def test_what_is_planned_fits_into_the_time(duration_s):
    steps = plan(duration_s, FIRST, SECOND)
    assert sum(step.needs_s for step in steps) <= duration_s - CALM_S


def test_a_minute_shows_every_fault_and_a_quarter_of_an_hour_shows_them_again():
    names = [step.name for step in plan(60.0, FIRST, SECOND)]
    assert len(names) == len(set(names)) == len(ALL)
    assert names[:FEWEST] == [step.name for step in plan(30.0, FIRST, SECOND)]
    long = [step.name for step in plan(900.0, FIRST, SECOND)]
    assert len(long) > 5 * len(names)
    assert long[: 2 * len(names)] == names * 2


@pytest.mark.parametrize("step", ALL, ids=lambda step: step.name)
def test_each_step_is_one_that_its_venue_can_have(step):
    exchange = simulate(step.venue)
    exchange.advance(1)
    for fault in step.faults:
        fault.check()
        assert exchange.supports(fault.name)
    assert step.venue in {FIRST.venue, SECOND.venue}


@pytest.mark.parametrize("step", ALL, ids=lambda step: step.name)
def test_each_step_tells_its_story_in_half_a_line(step):
    assert 10 < len(step.story) <= 54
    assert not step.story.endswith(".")
    assert len(step.name) < 16


@pytest.mark.parametrize("step", ALL, ids=lambda step: step.name)
def test_no_fault_outlasts_its_step(step):
    for fault in step.faults:
        assert (fault.for_s or 0) <= step.lasts_s or fault.count is not None
        assert (fault.lead_s or 0) <= step.lasts_s
    assert step.lasts_s <= step.needs_s


def step(lasts_s=0.0, needs_s=2.0):
    return Step("n", "v", "story", (), lasts_s, needs_s)


def test_what_is_to_spare_is_shared_by_the_pauses_that_are_left():
    pace = Pace([step(), step(), step()], 12.0)
    assert pace.pause_s(0, 2.0) == 3.0  # 10 s left, of which two steps need 4
    assert pace.pause_s(1, 7.0) == 3.0
    assert pace.pause_s(2, 11.0) == 0.0  # nothing comes after the last


def test_what_a_quick_step_saves_goes_to_the_pauses():
    pace = Pace([step(), step(), step()], 12.0)
    assert pace.pause_s(0, 1.0) == 3.5


def test_no_pause_is_so_long_that_people_go_away():
    assert Pace([step(), step()], 100.0).pause_s(0, 1.0) == 5.0


def test_a_slow_step_takes_its_time_from_the_pauses():
    pace = Pace([step(), step()], 10.0)
    assert pace.pause_s(0, 8.0) == pace.pause_s(0, 9.5) == pace.pause_s(0, 50.0) == 0.0


@given(
    st.lists(
        st.tuples(st.floats(0, 4), st.floats(0, 3)).map(lambda t: step(t[0], t[0] + t[1] + 1)),
        min_size=1,
        max_size=20,
    ),
    st.lists(st.floats(0, 1), min_size=20, max_size=20),
    st.floats(0, 60),
)
def test_if_no_step_takes_longer_than_it_needs_the_tour_ends_in_time(steps, shares, more_s):
    end_s = sum(each.needs_s for each in steps) + more_s
    pace, now_s = Pace(steps, end_s), 0.0
    for index, (each, share) in enumerate(zip(steps, shares, strict=False)):
        now_s += share * each.needs_s
        pause_s = pace.pause_s(index, now_s)
        assert pause_s >= 0
        now_s += pause_s
    assert now_s <= end_s + 1e-6
