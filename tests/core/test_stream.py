from __future__ import annotations

import dataclasses

import pytest
from tests.core.worlds import (
    NAMED,
    ORDERED,
    TRADES,
    UNNUMBERED,
    WALL,
    Log,
    at,
    bbo,
    origin,
    trade,
)

from gapless.core.kinds import stream_for
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import (
    TRANSIT_NS,
    Stream,
    Trust,
)

A, B, C = origin(0), origin(1), origin(2)


def stream_of(*sources, topic=TRADES):
    log = Log()
    stream = SequencedStream(topic, log.events.append, log.needs.append)
    for source in sources:
        stream.attach(source, at(0))
    return stream, log


def test_the_cause_of_blindness_is_the_first_one():
    stream, _ = stream_of(A, B)
    stream.offer(trade(A, 1, 1, 0))
    stream.suspect(A.epoch, "silent", at(1))
    stream.detach(B.epoch, "closed", at(2))
    stream.detach(A.epoch, "planned", at(3))
    assert stream.because == "closed"


def test_unknown_sessions_can_be_lost_or_suspected_without_harm():
    stream, log = stream_of(A)
    stream.detach(77, "closed", at(1))
    stream.suspect(77, "silent", at(1))
    assert not stream.blind
    assert not log.events


def test_before_any_source_a_stream_is_down():
    stream, _ = stream_of()
    assert (stream.trust, stream.because) == (Trust.DOWN, "not subscribed yet")
    assert stream.last_seen_ns(0) is None


def test_data_may_come_before_the_ack():
    stream, log = stream_of()
    stream.offer(trade(A, 1, 1, 50))
    stream.attach(A, at(60))
    assert list(stream.sources) == [A.epoch]
    assert stream.sources[A.epoch].attached_ns == 60
    stream.offer(trade(A, 4, 4, 70))
    assert log.gaps[0].since_ns == WALL + 50 - TRANSIT_NS
    stream.detach(A.epoch, "closed", at(80))
    assert stream.blind


def test_last_seen_is_per_session():
    stream, _ = stream_of(A, B)
    assert stream.last_seen_ns(A.epoch) is None
    stream.offer(trade(A, 1, 1, 10))
    stream.offer(trade(B, 1, 1, 15))  # a repeat is a sign of life too
    stream.offer(trade(A, 2, 2, 20))
    assert stream.last_seen_ns(A.epoch) == 20
    assert stream.last_seen_ns(B.epoch) == 15
    stream.offer(trade(A, 2, 2, 25))
    assert stream.last_seen_ns(A.epoch) == 25


def test_the_base_of_all_streams_takes_no_message():
    stream = Stream(TRADES, Log().events.append, Log().needs.append)
    stream.attach(A, at(0))
    stream.tick(at(1))
    stream.detach(A.epoch, "closed", at(2))
    with pytest.raises(NotImplementedError):
        stream.offer(trade(A, 1, 1, 0))


@pytest.mark.parametrize("topic", [TRADES, NAMED, UNNUMBERED, ORDERED])
def test_a_silence_that_the_connection_itself_disproves_is_no_gap(topic):
    make = bbo if topic.channel in {"bbo", "ticker"} else trade
    log = Log()
    stream = stream_for(topic, log.events.append, log.needs.append)
    stream.attach(A, at(0))

    def say(number, now_ns):
        numbers = (number,) if make is bbo else (number, number)
        stream.offer(make(A, *numbers, now_ns, made_ns=now_ns))

    say(1, 10)
    stream.suspect(A.epoch, "silent", at(500))
    assert stream.blind
    stream.vouch(A.epoch, at(600))
    assert (log.kinds[1:], log.events[-1].by, log.events[-1].blind_ns) == (["Resynced"], "ids", 590)
    assert stream.trust is Trust.LIVE
    say(2, 601)
    assert len(log.kinds) == 3
    assert not log.gaps


def test_nobody_is_vouched_for_who_is_trusted_unknown_or_came_too_late():
    stream, log = stream_of(A)
    stream.offer(trade(A, 1, 1, 0))
    stream.vouch(A.epoch, at(1))
    stream.vouch(B.epoch, at(1))
    stream.suspect(A.epoch, "silent", at(2), covered_ns=0)
    stream.attach(B, at(3))
    stream.suspect(B.epoch, "silent", at(4))
    stream.vouch(B.epoch, at(5))
    assert stream.blind
    assert log.kinds == ["Trade"]


def test_a_suspect_that_speaks_again_while_another_carries_on_is_waited_for_again():
    stream, log = stream_of(A, B)
    for source in (A, B):
        stream.offer(trade(source, 1, 1, 0))
    stream.suspect(A.epoch, "silent", at(1))
    stream.offer(trade(A, 2, 2, 2))
    stream.offer(trade(B, 2, 2, 3))
    stream.offer(trade(B, 4, 4, 4))
    assert not log.gaps, "it may bring the third"
    stream.offer(trade(A, 3, 3, 5))
    assert [event.last for event in log.events] == [1, 2, 3, 4]


# -- a successor that carries on --------------------------------------------------------------


def test_who_was_there_when_a_session_was_retired_carries_on_without_a_word():
    stream, log = stream_of(A)
    stream.offer(trade(A, 1, 1, 10))
    stream.attach(B, at(20))
    stream.hand_over(A.epoch, at(30))
    stream.detach(A.epoch, "planned", at(40), covered_ns=0)
    assert not stream.blind
    stream.offer(trade(B, 2, 2, 50))
    assert log.kinds == ["Trade", "Trade"]


def test_who_came_after_a_session_was_retired_does_not_carry_on():
    stream, _ = stream_of(A)
    stream.offer(trade(A, 1, 1, 10))
    stream.hand_over(A.epoch, at(15))
    stream.attach(B, at(20))
    stream.detach(A.epoch, "closed", at(40), covered_ns=15)
    assert stream.blind


def test_a_session_that_is_not_believed_hands_nothing_over():
    stream, _ = stream_of(A)
    stream.offer(trade(A, 1, 1, 10))
    stream.attach(B, at(20))
    stream.suspect(A.epoch, "silent", at(25), covered_ns=10)
    stream.hand_over(A.epoch, at(30))
    stream.hand_over(77, at(30))  # and of one that is unknown there is nothing to say
    assert stream.blind


def test_a_successor_overlaps_once_it_has_brought_what_was_delivered():
    stream, _ = stream_of(A)
    stream.offer(trade(A, 1, 1, 10))
    stream.attach(B, at(20))
    assert stream.overlaps(B.epoch), "nothing has come since it is there"
    stream.offer(trade(A, 2, 2, 30))
    assert not stream.overlaps(B.epoch), "it was there, and has not brought it"
    stream.offer(trade(B, 2, 2, 40))
    assert stream.overlaps(B.epoch)


def test_nobody_overlaps_who_is_unknown_suspected_or_owes_its_first_word():
    stream, _ = stream_of(A, B)
    assert not stream.overlaps(77)
    assert stream.overlaps(B.epoch)
    stream.suspect(B.epoch, "silent", at(10))
    assert not stream.overlaps(B.epoch)
    speaks = dataclasses.replace(ORDERED, speaks_on_subscribe=True)
    image, _ = stream_of(A, topic=speaks)
    assert not image.overlaps(A.epoch), "the venue sends one at once after a subscribe"
    image.offer(bbo(A, 1, 10))
    assert image.overlaps(A.epoch)


def test_what_a_session_last_brought_is_known_though_another_was_first():
    stream, _ = stream_of(A, B)
    assert stream.last_seen(A.epoch) is None
    first, again = trade(A, 1, 1, 5), trade(B, 1, 1, 7)
    stream.offer(first)
    stream.offer(again)
    assert stream.last_seen(A.epoch) is first
    assert stream.last_seen(B.epoch) is again
    assert stream.last_seen_ns(B.epoch) == 7
    stream.detach(B.epoch, "closed", at(8))
    assert stream.last_seen(B.epoch) is None


@pytest.mark.parametrize("late_ns", [0, 900_000_000])
def test_a_gap_reaches_back_by_as_much_as_the_session_that_ended_was_late(late_ns):
    log = Log()
    stream = stream_for(ORDERED, log.events.append, log.needs.append)
    stream.attach(A, at(0))
    came_ns = 5_000_000_000
    stream.offer(bbo(A, 1, came_ns))  # it bears no time of its own
    stream.detach(A.epoch, "closed", at(came_ns + 1), covered_ns=came_ns - late_ns)
    stream.attach(B, at(came_ns + 2))
    stream.offer(bbo(B, 9, came_ns + 3))
    assert [gap.since_ns for gap in log.gaps] == [WALL + came_ns - TRANSIT_NS - late_ns]
