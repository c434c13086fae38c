"""Until when a session carried everything: by the venue's time, and not by when a frame came."""

from __future__ import annotations

import pytest
from tests.core.worlds import MS, SECOND, UNNUMBERED, Log, at, bbo, origin

from gapless.core.coverage import SLACK_NS, Coverage
from gapless.core.images import ImageStream
from gapless.core.stream import TRANSIT_NS

A, B = origin(0, "ticker"), origin(1, "ticker")
TOPIC = UNNUMBERED.topic
WAY_NS = 20 * MS  # from the venue to us, at best
T = 100 * SECOND


def two_lines(least_ns=WAY_NS):
    """Session A brings an image that was made at T, 20 ms later; the venue's clock is ours."""
    log = Log()
    stream = ImageStream(UNNUMBERED, log.events.append, log.needs.append)
    stream.attach(A, at(0))
    stream.offer(bbo(A, None, T + WAY_NS, 1.0, made_ns=T))
    # The venue's clock is the wall clock of these worlds: receiving is measured by the other one.
    base_ns = None if least_ns is None else stream.newest.mono_ns - stream.newest.event_ns
    return stream, log, Coverage({TOPIC: stream}, lambda _: base_ns)


def test_a_session_in_time_carried_everything_until_its_last_frame_but_for_a_little_slack():
    _, _, coverage = two_lines()
    assert coverage.until_ns(A.epoch, (TOPIC,), T + WAY_NS) == T + WAY_NS - SLACK_NS


def test_what_was_held_up_tells_when_it_was_sent_and_not_when_it_came():
    stream, _, coverage = two_lines()
    stream.offer(bbo(A, None, T + 3 * SECOND, 2.0, made_ns=T + SECOND))
    until_ns = coverage.until_ns(A.epoch, (TOPIC,), T + 3 * SECOND)
    assert until_ns == T + SECOND + WAY_NS - SLACK_NS


def test_a_pong_proves_that_all_before_its_ping_has_come():
    _, _, coverage = two_lines()
    heard_ns, pinged_ns = T + 9 * SECOND, T + 8 * SECOND
    assert coverage.until_ns(A.epoch, (TOPIC,), heard_ns, pinged_ns) == pinged_ns
    assert coverage.until_ns(A.epoch, (TOPIC,), heard_ns) == T + WAY_NS - SLACK_NS


def test_nobody_carried_anything_after_the_last_frame():
    _, _, coverage = two_lines()
    assert coverage.until_ns(A.epoch, (TOPIC,), T - SECOND, T) == T - SECOND


@pytest.mark.parametrize("topics", [(), ("unknown",)])
def test_without_the_venues_time_a_way_of_its_own_length_is_allowed_for(topics):
    _, _, coverage = two_lines()
    assert coverage.until_ns(A.epoch, topics, T) == T - TRANSIT_NS


def test_what_another_session_brought_says_nothing_of_this_one():
    _, _, coverage = two_lines()
    assert coverage.until_ns(B.epoch, (TOPIC,), T) == T - TRANSIT_NS


def test_a_repetition_shows_how_far_the_line_has_come_that_is_always_second():
    stream, _, coverage = two_lines()
    stream.attach(B, at(1))
    stream.offer(bbo(B, None, T + 50 * MS, 1.0, made_ns=T))
    assert stream.newest.origin.epoch == A.epoch
    assert coverage.until_ns(B.epoch, (TOPIC,), T + SECOND) == T + WAY_NS - SLACK_NS


@pytest.mark.parametrize("late_ns", [0, 2 * SECOND], ids=["in time", "two seconds late"])
def test_a_session_that_came_before_a_late_frame_did_and_after_it_was_sent_has_not_joined(late_ns):
    """Both lines are cut; B comes back while A's last frames are still under way."""
    stream, log, coverage = two_lines()
    arrived_ns = T + SECOND + WAY_NS + late_ns
    back_ns = T + SECOND + WAY_NS // 2 if not late_ns else T + 2 * SECOND
    stream.attach(B, at(back_ns - SLACK_NS))
    stream.offer(bbo(A, None, arrived_ns, 2.0, made_ns=T + SECOND))
    covered_ns = coverage.until_ns(A.epoch, (TOPIC,), arrived_ns)
    stream.detach(A.epoch, "lost", at(arrived_ns), covered_ns)
    stream.offer(bbo(B, None, arrived_ns + SECOND, 3.0, made_ns=arrived_ns + SECOND - WAY_NS))
    assert len(log.gaps) == (1 if late_ns else 0)
