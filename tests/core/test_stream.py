from __future__ import annotations

import pytest
from tests.core.worlds import (
    TRADES,
    WALL,
    Log,
    at,
    origin,
    trade,
)

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
