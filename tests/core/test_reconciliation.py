"""Desired, acknowledged, listed, flowing: each is proven by what it says, and by nothing less."""

from __future__ import annotations

from tests.core.worlds import ORDERED, at, origin

from gapless.core.kinds import stream_for
from gapless.core.reconciliation import Standing, least, standing
from gapless.core.subscriptions import Subscriptions
from gapless.events import Bbo

TOPIC = ORDERED.topic


def carried():
    subscriptions = Subscriptions([TOPIC])
    stream = stream_for(ORDERED, lambda event: None, lambda need: None)
    return subscriptions, stream


def test_a_topic_goes_from_desired_to_flowing_one_proof_at_a_time():
    subscriptions, stream = carried()
    assert standing(TOPIC, subscriptions, stream, 1) is Standing.DESIRED
    subscriptions.asked([TOPIC])
    assert standing(TOPIC, subscriptions, stream, 1) is Standing.DESIRED
    subscriptions.granted([TOPIC])
    stream.attach(origin(1, "bbo"), at(0))
    assert standing(TOPIC, subscriptions, stream, 1) is Standing.ACKNOWLEDGED
    subscriptions.listing({TOPIC})
    assert standing(TOPIC, subscriptions, stream, 1) is Standing.LISTED
    stream.offer(Bbo(origin(1, "bbo"), 5, 5, 5, 1, 1, 1.0, 1.0, 2.0, 1.0))
    assert standing(TOPIC, subscriptions, stream, 1) is Standing.FLOWING
    assert standing(TOPIC, subscriptions, stream, 2) is Standing.LISTED, "on another session"


def test_what_a_later_listing_lacks_is_unsubscribed_though_it_flowed():
    subscriptions, stream = carried()
    subscriptions.granted([TOPIC])
    stream.offer(Bbo(origin(1, "bbo"), 5, 5, 5, 1, 1, 1.0, 1.0, 2.0, 1.0))
    subscriptions.listing({TOPIC})
    subscriptions.listing(set())
    assert standing(TOPIC, subscriptions, stream, 1) is Standing.UNSUBSCRIBED


def test_a_refusal_is_shown_as_one():
    subscriptions, stream = carried()
    subscriptions.refused([TOPIC])
    assert standing(TOPIC, subscriptions, stream, 1) is Standing.REFUSED


def test_of_several_lines_the_one_that_has_come_least_far_counts():
    assert least([Standing.FLOWING, Standing.ACKNOWLEDGED]) is Standing.ACKNOWLEDGED
    assert least([Standing.UNSUBSCRIBED, Standing.DESIRED]) is Standing.UNSUBSCRIBED
    assert least([]) is Standing.DESIRED
