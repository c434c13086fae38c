"""What must never be seen."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import traceback

import pytest

from gapless.core.codec import Request
from gapless.core.secrets import HIDDEN, Login, Secrets
from gapless.errors import ConnectionLost, IllegalTransition, LoginRejected, Stalled

KEY, SECRET, PHRASE = "canary-key", "canary-secret", "canary-phrase"
SECRETS = Secrets(KEY, SECRET, PHRASE)


def make(request_id, secrets, wall_ns, nonce):
    text = f"{request_id} {secrets.key} {secrets.secret} {wall_ns} {nonce}"
    return Request(request_id, "login", text, shown=f"{request_id} (hidden)")


def login(maker=make, **options):
    return Login(maker, SECRETS, "nonce", **options)


def assert_hidden(text):
    for secret in (KEY, SECRET, PHRASE, "canary"):
        assert secret not in text


# -- secrets ------------------------------------------------------------------------------------


def test_secrets_are_there_for_whoever_signs():
    assert (SECRETS.key, SECRETS.secret, SECRETS.passphrase) == (KEY, SECRET, PHRASE)
    assert Secrets("a", "b").passphrase == ""


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{!r}".format], ids=["repr", "str", "format", "format-r"]
)
def test_secrets_show_nothing(show):
    assert show(SECRETS) == "Secrets()"


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy, dataclasses.asdict, vars])
def test_secrets_cannot_be_taken_along(take):
    with pytest.raises(TypeError):
        take(SECRETS)


def test_what_a_venue_repeats_is_hidden_the_longest_part_first():
    secrets = Secrets("abcd", "abcdefgh", "abcdef")
    assert secrets.hide("abcdefgh abcdef abcd abc") == f"{HIDDEN} {HIDDEN} {HIDDEN} abc"


def test_a_part_that_is_too_short_to_be_a_secret_hides_nothing():
    assert Secrets("abcd", "x", "").hide("x abcd ") == f"x {HIDDEN} "


# -- the login ----------------------------------------------------------------------------------


def test_a_login_names_the_moment_by_the_wall_clock():
    attempt = login()
    attempt.wall_offset_ns = 1_000
    request = attempt.request(7, 5)
    assert request.text == f"7 {KEY} {SECRET} 1005 nonce"
    assert_hidden(repr(request))
    assert "7 (hidden)" in repr(request)


def test_a_login_shows_nothing():
    assert repr(login()) == "Login()"


def test_what_goes_wrong_in_the_making_is_told_without_what_it_holds():
    def broken(request_id, secrets, wall_ns, nonce):
        copied = secrets.secret
        raise ValueError(f"cannot sign with {copied}")

    with pytest.raises(LoginRejected, match="ValueError") as caught:
        login(broken).request(1, 0)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert_hidden("".join(told.format()))


@pytest.mark.parametrize(
    "request_",
    [
        Request(1, "login", SECRET),
        Request(1, "setup", SECRET, shown=""),
        Request(2, "login", SECRET, shown=""),
    ],
    ids=["shown", "kind", "id"],
)
def test_a_request_that_would_be_shown_is_a_bug_of_ours(request_):
    with pytest.raises(IllegalTransition):
        login(lambda *given: request_).request(1, 0)


def test_a_refusal_hides_what_the_venue_repeats_and_knows_what_is_final():
    attempt = login(final=frozenset({13009}))
    error = attempt.refused(13004, f"no such key: {KEY}")
    assert (error.code, error.permanent) == (13004, False)
    assert error.detail == f"no such key: {HIDDEN}"
    assert attempt.refused(13009, "").permanent


@pytest.mark.parametrize(
    ("cause", "refuses"),
    [
        (ConnectionLost(1000, "bye"), True),
        (ConnectionLost(1008, "policy"), True),
        (ConnectionLost(3000, "own"), True),
        (ConnectionLost(4001, "own"), True),
        (ConnectionLost(1001, "restart"), False),
        (ConnectionLost(1011, "trouble"), False),
        (ConnectionLost(1012, "restart"), False),
        (ConnectionLost(2999, "reserved"), False),
        (ConnectionLost(), False),
        (Stalled(1, ""), False),
    ],
    ids=str,
)
def test_a_close_that_answers_a_login_is_a_refusal(cause, refuses):
    attempt = login()
    assert attempt.closed(cause) is cause  # it was not asked for yet
    attempt.id = 1
    result = attempt.closed(cause)
    if refuses:
        assert isinstance(result, LoginRejected)
        assert (result.code, result.detail) == (cause.code, cause.reason)
    else:
        assert result is cause
