"""Which silence is planned: by the clock, by what the venue said, and for how long."""

from __future__ import annotations

import pytest

from gapless.core.calendar import HALTED_MAX, Calendar, DailyPause, Pauses

SECOND = 10**9
HOUR = 3600 * SECOND
MIDNIGHT = 1_700_006_400 * SECOND  # 2023-11-15 00:00:00 UTC
EIGHT = MIDNIGHT + 8 * HOUR
SETTLEMENT = DailyPause(8 * HOUR, 30 * SECOND, "settlement")


@pytest.mark.parametrize("day", [0, 1, 400])
def test_a_daily_pause_begins_and_ends_exactly(day):
    calendar = Calendar([SETTLEMENT])
    begin = EIGHT + day * 24 * HOUR
    assert calendar.pause_at(begin - 1) is None
    assert calendar.pause_at(begin) == "settlement"
    assert calendar.pause_at(begin + 30 * SECOND - 1) == "settlement"
    assert calendar.pause_at(begin + 30 * SECOND) is None


def test_a_pause_may_last_across_midnight():
    calendar = Calendar([DailyPause(24 * HOUR - 5 * SECOND, 10 * SECOND, "late")])
    assert calendar.pause_at(MIDNIGHT + 4 * SECOND) == "late"
    assert calendar.pause_at(MIDNIGHT + 5 * SECOND) is None


def test_without_a_calendar_nothing_is_scheduled():
    assert Calendar([]).pause_at(EIGHT) is None


def test_a_halt_concerns_its_symbol_until_it_is_open_again():
    pauses = Pauses(Calendar([]))
    assert pauses.told("A", "halted")
    assert not pauses.told("A", "halted"), "said already"
    assert pauses.cause("A", 0) == "the venue has halted it"
    assert pauses.cause("B", 0) is None
    assert pauses.told("A", "settling")
    assert pauses.cause("A", 0) == "it is being settled"
    assert pauses.told("A", "open")
    assert pauses.cause("A", 0) is None
    assert not pauses.told("A", "open")


def test_maintenance_concerns_everything():
    pauses = Pauses(Calendar([]))
    assert pauses.closed(True)
    assert pauses.cause("A", 0) == "the venue is closed for maintenance"
    assert not pauses.closed(True)
    assert pauses.closed(False)
    assert pauses.cause("A", 0) is None


def test_the_calendar_concerns_everything_and_needs_no_news():
    pauses = Pauses(Calendar([SETTLEMENT]))
    assert pauses.cause("A", EIGHT) == pauses.scheduled(EIGHT) == "settlement"


def test_news_do_not_outlive_the_session_that_brought_them():
    pauses = Pauses(Calendar([SETTLEMENT]))
    pauses.told("A", "halted")
    pauses.closed(True)
    assert pauses.forget_news()
    assert pauses.cause("A", 0) is None
    assert not pauses.forget_news()
    assert pauses.cause("A", EIGHT) == "settlement", "the calendar stays"


def test_halts_are_bounded_and_those_beyond_are_counted():
    pauses = Pauses(Calendar([]))
    for number in range(HALTED_MAX + 3):
        pauses.told(str(number), "halted")
    assert pauses.ignored == 3
    assert pauses.cause(str(HALTED_MAX), 0) is None
    assert pauses.told("0", "settling"), "one that is known may still change"
