from __future__ import annotations

import pytest
from tests.core.worlds import MS, NAMED, ORDERED, TRADES, UNNUMBERED, Log, at, bbo, origin, trade

from gapless.core.kinds import stream_for
from gapless.core.races import SAMPLED, Races
from gapless.events import Trade

A, B = origin(0), origin(1)


def test_a_race_is_won_by_one_and_lost_by_the_other():
    races = Races()
    for n in range(100):
        races.run("a", "b", n * MS)
    races.run("b", "a", 7)
    a, b = races.lines["a"], races.lines["b"]
    assert (a.wins, a.losses, b.wins, b.losses) == (100, 1, 1, 100)
    assert b.late_ns == sum(range(100)) * MS, "all are summed up"
    assert b.lateness.count == -(-100 // SAMPLED), "and some are sampled"
    p50_ms, p99_ms = b.late_ms()
    assert 40 <= p50_ms <= 60
    assert 90 <= p99_ms <= 112


def test_a_line_does_not_race_its_own_successor():
    races = Races()
    races.run("a", "a", 5)
    assert not races.lines


def test_a_line_that_was_never_late_has_no_lateness():
    races = Races()
    races.run("a", "b", 5)
    assert races.lines["a"].late_ms() is None


def named(source, number, now_ns):
    return Trade(source, now_ns, now_ns, None, None, None, str(number), 1.0, 1.0, "buy")


def numbered(source, number, now_ns):
    return trade(source, number, number, now_ns)


def quoted(source, number, now_ns):
    return bbo(source, number, now_ns)


def timed(source, number, now_ns):
    return bbo(source, None, now_ns, bid=float(number), made_ns=number)


def untimed(source, number, now_ns):
    return bbo(source, None, now_ns, bid=float(number))


@pytest.mark.parametrize(
    ("topic", "make"),
    [(TRADES, numbered), (NAMED, named), (ORDERED, quoted), (UNNUMBERED, timed)],
    ids=["numbers", "names", "images", "times"],
)
def test_every_kind_of_stream_tells_who_was_first_and_how_late_the_other_was(topic, make):
    log = Log()
    stream = stream_for(topic, log.events.append, log.needs.append)
    for source in (A, B):
        stream.attach(source, at(0))
        stream.offer(make(source, 0, 0))
    stream.races = Races()
    for n in range(1, 41):
        first, second = (B, A) if n % 4 == 0 else (A, B)
        stream.offer(make(first, n, 10 * n * MS))
        stream.offer(make(second, n, 10 * n * MS + 2 * MS))
    a, b = stream.races.lines["a"], stream.races.lines["b"]
    assert (a.wins, a.losses, b.wins, b.losses) == (30, 10, 10, 30)
    assert (a.late_ns, b.late_ns) == (10 * 2 * MS, 30 * 2 * MS)
    assert len(log.events) == 41


def test_images_with_neither_number_nor_time_race_as_well():
    log = Log()
    stream = stream_for(UNNUMBERED, log.events.append, log.needs.append)
    for source in (A, B):
        stream.attach(source, at(0))
        stream.offer(untimed(source, 0, 0))
    stream.races = Races()
    stream.offer(untimed(A, 1, 10 * MS))
    stream.offer(untimed(B, 1, 12 * MS))
    stream.offer(untimed(B, 2, 20 * MS))  # it waits for the lead, and was first all the same
    stream.offer(untimed(A, 2, 25 * MS))
    a, b = stream.races.lines["a"], stream.races.lines["b"]
    assert (a.wins, a.late_ns, b.wins, b.late_ns) == (1, 5 * MS, 1, 2 * MS)
