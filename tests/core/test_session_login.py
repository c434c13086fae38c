"""Logging in before subscribing: what is sent when, and what each answer means."""

from __future__ import annotations

import pytest
from tests.core.talk import PATH, SECOND, T0, ToyCodec, ids_of, sent

from gapless.core.budget import Budget, Window
from gapless.core.codec import Ack, Granted, Refusal, Request, Status, Stray
from gapless.core.lifecycle import Phase
from gapless.core.secrets import Login, Secrets
from gapless.core.session import (
    Abort,
    Close,
    Confirmed,
    Ended,
    Live,
    Ping,
    Said,
    Send,
    Session,
    SessionTerms,
    Timing,
)
from gapless.errors import ConnectionLost, DialFailed, LoginRejected, RateLimited

WALL = 1_700_000_000 * SECOND
CANARY = "canary-secret"


def make_login(request_id, secrets, wall_ns, nonce):
    text = f"login {request_id} {secrets.secret} {wall_ns - WALL} {nonce}"
    return Request(request_id, "login", text, (), None, 1, f"login {request_id}")


def session_of(
    *topics, setups=0, messages=None, login=True, maker=make_login, final=frozenset(), timing=None
):
    secrets = Secrets("canary-key", CANARY)
    session = Session(
        ToyCodec(setups=setups),
        topics or ("x",),
        timing or Timing(),
        SessionTerms(messages=messages or Budget(), pools={}),
        PATH,
        "wss://venue",
        Login(maker, secrets, "nonce", final) if login else None,
    )
    session.dial(T0)
    return session


def logging_in(**options):
    session = session_of(**options)
    effects = session.opened(T0, WALL)
    assert session.phase is Phase.LOGGING_IN
    return session, effects


def test_a_session_that_needs_no_login_sends_none():
    session = session_of(login=False)
    assert sent(session.opened(T0, WALL)) == ["subscribe 1 x"]
    assert session.phase is Phase.SUBSCRIBING


def test_nothing_is_subscribed_before_the_venue_has_said_yes():
    session, effects = logging_in()
    assert sent(effects) == [f"login 1 {CANARY} 0 nonce"]
    effects = session.control(Ack(1), T0 + SECOND)
    assert session.phase is Phase.SUBSCRIBING
    assert sent(effects) == ["subscribe 2 x"]
    assert session.control(Ack(2), T0 + SECOND) == [Confirmed(("x",)), Live()]


def test_setup_comes_first_then_the_login_then_the_rest():
    session, effects = logging_in(setups=2)
    assert sent(effects) == ["setup 1", "setup 2", f"login 3 {CANARY} 0 nonce"]
    assert session.control(Ack(1), T0) == []
    assert session.control(Refusal(2, 5, "no such setting"), T0) == [
        Said("venue", "the venue refused a request (5)", "no such setting")
    ]
    assert session.phase is Phase.LOGGING_IN
    assert ids_of(session.control(Ack(3), T0)) == [4]


def test_an_answer_without_an_id_answers_the_login():
    session, _ = logging_in()
    assert sent(session.control(Ack(0), T0)) == ["subscribe 2 x"]


def test_an_answer_without_an_id_means_nothing_once_logged_in():
    session, _ = logging_in()
    session.control(Ack(0), T0)
    assert session.control(Ack(0), T0) == []
    assert session.phase is Phase.SUBSCRIBING


def test_a_session_without_topics_is_live_with_the_login():
    session = session_of("x")
    session.unfollow(("x",), T0, tell=False)
    session.opened(T0, WALL)
    assert session.control(Ack(1), T0) == [Live()]


def test_topics_that_come_meanwhile_wait_for_the_login():
    session, _ = logging_in()
    assert session.follow(("y",), T0) == []
    assert sent(session.control(Ack(1), T0)) == ["subscribe 2 x y"]


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(1, 13004, "invalid credentials"),
        Refusal(None, 13004, "invalid credentials"),
        Refusal(None, 13004, "invalid credentials", ordered=True),
    ],
    ids=["id", "no id", "ordered"],
)
def test_a_refusal_ends_the_session_and_says_why(refusal):
    session, _ = logging_in()
    assert session.control(refusal, T0) == [Abort()]
    (ended,) = session.lost(ConnectionLost(), T0)
    error = ended.cause
    assert isinstance(error, LoginRejected)
    assert (error.code, error.detail, error.permanent) == (13004, "invalid credentials", False)
    assert not ended.was_live


def test_a_refusal_of_something_else_is_not_one_of_the_login():
    session, _ = logging_in()
    effects = session.control(Refusal(77, 1, "what?"), T0)
    assert [type(effect) for effect in effects] == [Said]
    assert session.phase is Phase.LOGGING_IN


def test_a_code_that_the_venue_calls_final_is_permanent():
    session, _ = logging_in(final=frozenset({13009}))
    session.control(Refusal(1, 13009, ""), T0)
    (ended,) = session.lost(ConnectionLost(), T0)
    assert ended.cause.permanent


def test_what_the_venue_repeats_of_the_secret_is_hidden():
    session, _ = logging_in()
    session.control(Refusal(1, 1, f"bad secret {CANARY} of canary-key"), T0)
    (ended,) = session.lost(ConnectionLost(), T0)
    assert "canary" not in str(ended.cause)


def test_too_much_is_too_much_even_at_the_login():
    session, _ = logging_in()
    session.control(Refusal(1, 10028, "", limited=True), T0)
    (ended,) = session.lost(ConnectionLost(), T0)
    assert isinstance(ended.cause, RateLimited)


def test_a_close_that_answers_the_login_is_a_refusal():
    session, _ = logging_in()
    (ended,) = session.lost(ConnectionLost(4001, "who are you, canary-key?"), T0)
    assert isinstance(ended.cause, LoginRejected)
    assert ended.cause.code == 4001
    assert "canary" not in ended.cause.detail


def test_a_connection_that_breaks_at_the_login_is_no_refusal():
    session, _ = logging_in()
    cause = ConnectionLost()
    assert session.lost(cause, T0) == [Ended(cause, 0, was_live=False)]


def test_a_close_that_we_asked_for_is_planned_even_at_the_login():
    session, _ = logging_in()
    assert session.retire(T0) == [Close()]
    assert session.lost(ConnectionLost(1000), T0) == [Ended(None, 0, was_live=False)]


def test_the_login_has_a_deadline_of_its_own_exactly():
    timing = Timing(login_ns=3 * SECOND, ack_ns=60 * SECOND, dial_ns=SECOND)
    session, _ = logging_in(timing=timing)
    session.heard_ns = T0 + 2 * SECOND
    session.tick(T0 + 3 * SECOND - 1)
    assert session.phase is Phase.LOGGING_IN
    assert session.deadline_ns == T0 + 3 * SECOND
    assert session.tick(T0 + 3 * SECOND)[-1] == Abort()
    (ended,) = session.lost(ConnectionLost(), T0 + 3 * SECOND)
    assert isinstance(ended.cause, DialFailed)
    assert (ended.cause.stage, ended.cause.detail) == ("login", "no answer within 3 s")


def test_a_quiet_path_is_pinged_while_the_login_is_on_its_way():
    session, _ = logging_in()
    assert session.tick(T0 + PATH.quiet_ns) == [Ping()]


def test_a_login_that_has_to_wait_names_the_moment_at_which_it_is_sent():
    messages = Budget(Window(4, SECOND))
    session, effects = logging_in(setups=2, messages=messages)
    assert sent(effects) == ["setup 1", "setup 2"]
    assert session.deadline_ns == T0 + SECOND
    assert sent(session.tick(T0 + SECOND - 1)) == []
    assert sent(session.tick(T0 + SECOND)) == [f"login 3 {CANARY} {SECOND} nonce"]
    assert session.phase is Phase.LOGGING_IN


def test_an_answer_before_the_login_was_sent_is_none_to_it():
    session, _ = logging_in(setups=2, messages=Budget(Window(4, SECOND)))
    session.control(Ack(0), T0)
    assert session.phase is Phase.LOGGING_IN
    effects = session.control(Refusal(None, 1, "what?"), T0)
    assert [type(effect) for effect in effects] == [Said]
    assert session.lost(ConnectionLost(4001), T0)[0].cause.code == 4001
    assert session.phase is Phase.ENDED


def test_credentials_of_which_no_login_can_be_made_are_rejected():
    def broken(request_id, secrets, wall_ns, nonce):
        raise ValueError(secrets.secret)

    session = session_of(maker=broken)
    assert session.opened(T0, WALL) == [Abort()]
    (ended,) = session.lost(ConnectionLost(), T0)
    assert isinstance(ended.cause, LoginRejected)
    assert "ValueError" in ended.cause.detail
    assert CANARY not in str(ended.cause)


@pytest.mark.parametrize("reading", [Stray("?"), Status("news"), Granted(("x",))])
def test_nothing_else_logs_a_session_in(reading):
    session, _ = logging_in()
    session.control(reading, T0)
    assert session.phase is Phase.LOGGING_IN


def test_what_is_shown_and_kept_of_the_request_holds_no_secret():
    session, effects = logging_in()
    (send,) = effects
    assert isinstance(send, Send)
    assert send.shown == "login 1"
    assert CANARY not in repr(send)
    assert CANARY not in repr(session.requests.get(1))
    assert session.requests.get(1).text == ""


def test_secrets_are_forgotten_with_the_answer_and_with_the_session():
    session, _ = logging_in()
    session.control(Ack(1), T0)
    assert session._login is None
    session, _ = logging_in()
    session.lost(ConnectionLost(), T0)
    assert session._login is None
