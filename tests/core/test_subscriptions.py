"""What stands where, and how topics are cut into requests and connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.subscriptions import Subscriptions, Wish, batches, shards

NAMES = st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=60)


def test_topics_start_as_desired_in_the_order_they_were_wished():
    subscriptions = Subscriptions(["b", "a", "b"])
    assert subscriptions.having(Wish.DESIRED) == ("b", "a")
    assert len(subscriptions) == 2
    assert not subscriptions.settled


def test_granted_and_refused_tell_only_what_is_new():
    subscriptions = Subscriptions(["a", "b"])
    subscriptions.asked(["a", "b"])
    assert subscriptions.granted(["a", "stranger"]) == ("a",)
    assert subscriptions.granted(["a"]) == ()
    assert not subscriptions.settled
    assert subscriptions.refused(["b", "stranger"]) == ("b",)
    assert subscriptions.refused(["b"]) == ()
    assert subscriptions.settled
    assert subscriptions.stands("stranger") is None


def test_a_grant_that_names_a_topic_twice_tells_it_once():
    subscriptions = Subscriptions(["a"])
    assert subscriptions.granted(["a", "a"]) == ("a",)
    assert Subscriptions(["a"]).refused(["a", "a"]) == ("a",)


def test_a_topic_asked_for_again_is_pending_again():
    subscriptions = Subscriptions(["a"])
    subscriptions.granted(["a"])
    subscriptions.asked(["a", "stranger"])
    assert subscriptions.stands("a") is Wish.PENDING
    assert subscriptions.granted(["a"]) == ("a",)


def test_a_session_without_topics_is_settled():
    assert Subscriptions([]).settled
    assert len(Subscriptions([])) == 0


@given(NAMES, st.none() | st.integers(1, 20))
def test_shards_are_few_even_and_complete(topics, per_connection):
    parts = shards(topics, per_connection)
    assert [topic for part in parts for topic in part] == topics
    sizes = [len(part) for part in parts]
    if not topics:
        assert parts == []
        return
    limit = len(topics) if per_connection is None else per_connection
    assert max(sizes) <= limit
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-len(topics) // limit)


@given(NAMES, st.none() | st.integers(1, 20), st.integers(1, 200))
def test_batches_keep_order_and_both_bounds(topics, per_request, request_bytes):
    parts = batches(topics, per_request, request_bytes)
    assert [topic for part in parts for topic in part] == topics
    for part in parts:
        assert part
        assert per_request is None or len(part) <= per_request
        # A single topic longer than the bound goes alone: it cannot be cut.
        assert len(part) == 1 or sum(len(t.encode()) + 3 for t in part) <= request_bytes


def test_bytes_are_counted_and_not_characters():
    assert batches(["é" * 10, "x"], None, 26) == [("é" * 10,), ("x",)]
    assert batches(["é" * 10, "x"], None, 27) == [("é" * 10, "x")]


def test_a_listing_tells_what_was_never_there_from_what_the_venue_dropped():
    subscriptions = Subscriptions(["a", "b", "c"])
    subscriptions.granted(["a", "b", "c"])
    assert subscriptions.listing({"a", "b"}) == (("c",), ())
    assert subscriptions.listing({"a"}) == (("c",), ("b",))
    assert subscriptions.is_listed("a")
    assert subscriptions.is_lost("b")
    assert not subscriptions.is_lost("c")


def test_what_is_being_asked_for_anew_is_not_judged_by_a_listing():
    subscriptions = Subscriptions(["a"])
    subscriptions.granted(["a"])
    subscriptions.listing({"a"})
    subscriptions.asked(["a"])
    assert subscriptions.listing(set()) == ((), ())


def test_what_is_dropped_again_after_it_was_asked_for_anew_will_not_be_had():
    subscriptions = Subscriptions(["a"])
    subscriptions.granted(["a"])
    subscriptions.listing({"a"})
    assert subscriptions.listing(set()) == ((), ("a",))
    assert subscriptions.is_lost("a")
    subscriptions.asked(["a"])
    subscriptions.granted(["a"])
    assert not subscriptions.is_lost("a"), "it has been granted anew"
    assert subscriptions.listing(set()) == (("a",), ())


def test_a_topic_that_is_listed_again_is_lost_no_more():
    subscriptions = Subscriptions(["a"])
    subscriptions.granted(["a"])
    subscriptions.listing({"a"})
    subscriptions.listing(set())
    subscriptions.listing({"a"})
    assert subscriptions.is_listed("a")
    assert not subscriptions.is_lost("a")
