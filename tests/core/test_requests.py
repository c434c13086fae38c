"""Every request ends in exactly one of four ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.codec import Request
from gapless.core.requests import Outcome, Requests


def request(number: int) -> Request:
    return Request(number, "subscribe", f"subscribe {number}")


def test_an_answer_ends_a_request_once():
    requests = Requests()
    requests.opened(request(1))
    requests.sent(1, 10)
    assert requests.ended(1, Outcome.ANSWERED) == request(1)
    assert requests.ended(1, Outcome.ANSWERED) is None
    assert requests.outcomes[Outcome.ANSWERED] == 1
    assert len(requests) == 0


def test_an_answer_to_nothing_counts_nothing():
    requests = Requests()
    assert requests.ended(None, Outcome.REJECTED) is None
    assert requests.ended(5, Outcome.REJECTED) is None
    assert sum(requests.outcomes.values()) == 0


def test_an_id_in_use_cannot_be_used_again():
    requests = Requests()
    requests.opened(request(1))
    with pytest.raises(ValueError, match="id 1 is in use"):
        requests.opened(request(1))


def test_a_request_is_overdue_exactly_at_its_deadline_and_stays_open():
    requests = Requests()
    requests.opened(request(1))
    assert requests.deadline_ns is None
    assert requests.overdue(10**18) == []  # still queued: nobody can have answered
    requests.sent(1, 100)
    assert requests.deadline_ns == 100
    assert requests.overdue(99) == []
    assert requests.overdue(100) == [request(1)]
    assert len(requests) == 1


def test_what_was_queued_was_not_sent_and_what_was_sent_is_unknown():
    requests = Requests()
    requests.opened(request(1))
    requests.opened(request(2))
    requests.sent(2, 100)
    assert requests.close() == [
        (request(1), Outcome.NOT_SENT),
        (request(2), Outcome.UNKNOWN),
    ]
    assert requests.close() == []


def test_the_earliest_deadline_counts():
    requests = Requests()
    for number, deadline_ns in ((1, 300), (2, 100), (3, 200)):
        requests.opened(request(number))
        requests.sent(number, deadline_ns)
    assert requests.deadline_ns == 100
    assert requests.overdue(200) == [request(2), request(3)]


def test_an_answer_cannot_come_before_its_question():
    requests = Requests()
    requests.opened(request(1))
    assert requests.ended(1, Outcome.ANSWERED) is None
    assert requests.get(1) is None
    assert requests.oldest_sent is None
    requests.sent(1, 100)
    assert requests.get(1) == request(1)
    assert requests.oldest_sent == 1


def test_what_awaits_no_answer_may_be_sent():
    requests = Requests()
    requests.sent(1, 100)
    assert requests.deadline_ns is None
    assert requests.get(None) is None


def test_a_request_ends_with_the_last_of_its_topics():
    requests = Requests()
    asked = Request(1, "subscribe", "subscribe 1", ("x", "y", "y"))
    requests.opened(asked)
    assert requests.queued("x")
    assert not requests.queued("other")
    requests.answered("x")  # not sent yet: it is about something else
    assert requests.unanswered(asked) == ("x", "y", "y")
    requests.sent(1, 100)
    requests.answered("x")
    requests.answered("x")
    assert requests.unanswered(asked) == ("y", "y")
    assert len(requests) == 1
    requests.answered("y")
    assert len(requests) == 0
    assert requests.outcomes[Outcome.ANSWERED] == 1


def test_an_answer_counts_for_the_newest_subscribe_and_all_that_was_asked_before_it():
    requests = Requests()
    for number, kind in enumerate(["subscribe", "unsubscribe", "subscribe", "unsubscribe"], 1):
        requests.opened(Request(number, kind, "", ("x",)))
        requests.sent(number, number)
    requests.answered("x")
    assert [r.id for r in requests.overdue(9)] == [4]


def test_a_topic_that_is_answered_twice_does_not_answer_for_another():
    requests = Requests()
    for number, topics in enumerate([("x", "y"), ("x",), ("x",)], 1):
        if number == 3:
            requests.answered("x")
        requests.opened(Request(number, "subscribe", "", topics))
        requests.sent(number, number)
    requests.answered("x")
    assert [r.topics for r in requests.overdue(9)] == [("x", "y")]
    requests.answered("y")
    assert len(requests) == 0


@given(st.lists(st.sampled_from(["open", "sent", "answer", "reject", "stray"]), max_size=60))
def test_every_request_ends_in_exactly_one_way(steps):
    requests = Requests()
    opened = 0
    open_ids: list[int] = []
    sent_ids: set[int] = set()
    for step in steps:
        match step:
            case "open":
                opened += 1
                open_ids.append(opened)
                requests.opened(request(opened))
            case "sent" if open_ids:
                requests.sent(open_ids[-1], 100)
                sent_ids.add(open_ids[-1])
            case "answer" if open_ids:
                ended = requests.ended(open_ids[-1], Outcome.ANSWERED)
                assert (ended is not None) == (open_ids[-1] in sent_ids)
                if ended is not None:
                    open_ids.pop()
            case "reject" if open_ids:
                ended = requests.ended(open_ids[0], Outcome.REJECTED)
                assert (ended is not None) == (open_ids[0] in sent_ids)
                if ended is not None:
                    open_ids.pop(0)
            case _:
                assert requests.ended(10**9, Outcome.ANSWERED) is None
        assert len(requests) == len(open_ids)
        assert sum(requests.outcomes.values()) + len(requests) == opened
    requests.close()
    assert sum(requests.outcomes.values()) == opened


def test_a_deadline_can_be_put_off_and_never_comes_nearer():
    requests = Requests()
    for number in (1, 2, 3):
        requests.opened(request(number))
    requests.sent(1, 100)
    requests.sent(2, 300)
    requests.put_off(200)
    assert requests.overdue(199) == []
    assert requests.overdue(200) == [request(1)]
    assert requests.overdue(300) == [request(1), request(2)], "what is queued has no deadline"
