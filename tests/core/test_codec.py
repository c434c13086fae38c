"""The readings of a codec are immutable values with the defaults they are documented with."""

from __future__ import annotations

from typing import get_args

import pytest

from gapless.core.codec import (
    Ack,
    Bundle,
    Denied,
    Granted,
    Heartbeat,
    Lifecycle,
    Listing,
    Reading,
    Refusal,
    Request,
    RequestKind,
    Shutdown,
    Status,
    Stray,
)

ONE_OF_EACH = [
    Ack(1),
    Refusal(None, 7, "no"),
    Heartbeat(),
    Listing(1, ("a",)),
    Shutdown("soon"),
    Status("maintenance"),
    Stray("?"),
    Granted(("a",)),
    Denied(("a",), 7, "no"),
    Bundle((Granted(("a",)), Heartbeat())),
    Lifecycle("BTC", "halted"),
]


def test_there_is_one_class_for_each_reading():
    assert {type(reading) for reading in ONE_OF_EACH} == set(get_args(Reading))


@pytest.mark.parametrize("reading", [*ONE_OF_EACH, Request(1, "setup", "hello")])
def test_a_reading_cannot_be_changed(reading):
    name = reading.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(reading, name, getattr(reading, name))


def test_no_reading_is_a_list_because_a_list_means_data():
    assert not any(isinstance(reading, list) for reading in ONE_OF_EACH)


def test_a_request_costs_one_unit_of_no_pool_unless_it_says_otherwise():
    request = Request(1, "subscribe", "text")
    assert (request.topics, request.pool, request.units) == ((), None, 1)


def test_a_refusal_does_not_mean_too_much_unless_it_says_so():
    assert not Refusal(1, 2, "no").limited


def test_an_ack_without_a_list_grants_everything():
    assert Ack(1).topics is None
    assert Ack(1, ()).topics == ()


def test_the_kinds_of_request_are_a_closed_list():
    assert get_args(RequestKind) == (
        "setup",
        "login",
        "subscribe",
        "unsubscribe",
        "listing",
        "reply",
    )
