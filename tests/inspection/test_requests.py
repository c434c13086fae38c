"""Requests of a capture meet their answers, with ids and without."""

from __future__ import annotations

import pytest

from gapless.core.codec import Ack, Asked, Bundle, Denied, Granted, Heartbeat, Listing, Refusal
from gapless.inspection.requests import OPEN_MAX, REFUSED_MAX, Refused, Requests

MS = 10**6


def asked(*calls):
    requests = Requests()
    for at_ms, (number, topics) in enumerate(calls):
        requests.ask("ws", Asked("subscribe", number, topics), at_ms * MS)
    return requests


def test_an_answer_is_matched_by_its_id():
    requests = asked((1, ("a",)), (2, ("b",)))
    requests.answer("ws", Ack(2), 9, 51 * MS)
    assert (requests.sent, requests.times.count, requests.unanswered) == (2, 1, 1)
    assert requests.times.total_ns == 50 * MS


def test_the_times_of_answers():
    requests = asked((1, ("a",)), (2, ("b",)))
    requests.answer("ws", Ack(1), 8, 30 * MS)
    requests.answer("ws", Listing(2, ("b",)), 9, 11 * MS)
    times = requests.times
    assert (times.least_ns, times.most_ns, times.total_ns) == (10 * MS, 30 * MS, 40 * MS)


def test_what_an_answer_leaves_out_is_refused():
    requests = asked((1, ("a", "b", "c")))
    requests.answer("ws", Ack(1, ("a", "c")), 7, 0)
    assert requests.refused == [Refused(7, ("b",), 0, "left out of the reply")]


def test_a_refusal_names_the_topics_that_were_asked_for():
    requests = asked((1, ("a", "b")))
    requests.answer("ws", Refusal(1, 13, "no\nsuch"), 7, 0)
    assert requests.refused == [Refused(7, ("a", "b"), 13, "no\\nsuch")]
    assert requests.unanswered == 0


def test_where_the_venue_repeats_no_ids_the_oldest_is_answered():
    requests = asked((None, ("a",)), (None, ("b",)))
    requests.answer("ws", Ack(0), 7, 10 * MS)
    requests.answer("ws", Refusal(None, 1, "no", ordered=True), 8, 10 * MS)
    assert requests.refused == [Refused(8, ("b",), 1, "no")]
    assert (requests.times.count, requests.unanswered) == (2, 0)


def test_an_error_that_answers_nothing_is_told_all_the_same():
    requests = asked((1, ("a",)))
    requests.answer("ws", Refusal(None, 5, "elsewhere"), 7, 0)
    assert requests.refused == [Refused(7, (), 5, "elsewhere")]
    assert requests.unanswered == 1


def test_topic_by_topic_a_request_is_answered_once_the_last_has_been():
    requests = asked((None, ("a", "b")))
    requests.answer("ws", Granted(("a",)), 7, 5 * MS)
    assert requests.unanswered == 1
    requests.answer("ws", Bundle((Denied(("b",), 4, "no"),)), 8, 9 * MS)
    assert (requests.unanswered, requests.times.total_ns) == (0, 9 * MS)
    assert [one.topics for one in requests.refused] == [("b",)]


def test_what_was_granted_twice_answers_once():
    requests = asked((None, ("a",)), (None, ("a",)))
    requests.answer("ws", Granted(("a",)), 7, 0)
    assert requests.unanswered == 1


def test_a_connection_that_ended_answers_nothing_more():
    requests = asked((1, ("a",)))
    requests.ask("other", Asked("subscribe", 1, ("a",)), 0)
    requests.end("ws")
    requests.answer("ws", Ack(1), 7, 0)
    assert (requests.times.count, requests.unanswered) == (0, 2)


@pytest.mark.parametrize("kind", ["setup", "reply"])
def test_what_expects_no_answer_is_only_counted(kind):
    requests = Requests()
    requests.ask("ws", Asked(kind, None, ()), 0)
    requests.answer("ws", Heartbeat(), 7, 0)
    assert (requests.sent, requests.unanswered) == (1, 0)


def test_lists_are_cut_and_counters_are_not():
    requests = asked(*((number, ("a",)) for number in range(1, OPEN_MAX + 6)))
    assert requests.unanswered == OPEN_MAX + 5
    requests.answer("ws", Ack(3), 7, 0)  # given up
    assert requests.times.count == 0
    for _ in range(REFUSED_MAX + 5):
        requests.answer("ws", Refusal(None, 1, "no"), 7, 0)
    assert (len(requests.refused), requests.refusals) == (REFUSED_MAX, REFUSED_MAX + 5)
