from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless import errors
from gapless.errors import (
    ChecksumMismatch,
    ConfigError,
    ConnectionLost,
    DecodeError,
    DialFailed,
    GaplessError,
    IllegalTransition,
    LoginRejected,
    MessagesLost,
    NotSent,
    NotSynced,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    RequestRejected,
    SlowConsumer,
    Stalled,
    SubscriptionRejected,
    TransportError,
    UsageError,
    VenueError,
    printable,
)

SECOND = 10**9
HOSTILE = "\x1b[31mred\r\nX-Injected: 1\x00\u202etxt\ud800"


@given(st.text(st.characters()))
def test_remote_text_is_safe_to_print_whatever_it_is(text):
    shown = printable(text)
    assert shown.isprintable()
    assert "\n" not in shown
    shown.encode("utf-8")
    if len(text) <= 256 and text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 音", "plain ü 音"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x00", r"\x00"),
        ("\u202e", r"\u202e"),
        ("\ud800", r"\ud800"),
        ("", ""),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown


def test_remote_text_is_cut_after_256_characters():
    assert printable("x" * 256) == "x" * 256
    assert printable("x" * 257) == "x" * 256 + "..."


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NotSynced("BTC-USD", "closed"), "the book of BTC-USD is not proven now: closed"),
        (SlowConsumer(100), "the consumer is more than 100 events behind"),
        (DialFailed("tls", "wss://a/b", "expired"), "wss://a/b: tls failed: expired"),
        (
            DialFailed("upgrade", "wss://a", "status 404", 404),
            "wss://a: upgrade failed: status 404",
        ),
        (ConnectionLost(), "lost without a close frame"),
        (ConnectionLost(1000), "closed with 1000"),
        (ConnectionLost(1012, "restart"), "closed with 1012 restart"),
        (Stalled(2_250_000_000, "no data, but pongs"), "silent for 2.2 s: no data, but pongs"),
        (RateLimited(429), "limited by the venue (429)"),
        (
            RateLimited(418, 90 * SECOND),
            "limited by the venue (418), stay away for 90.0 s",
        ),
        (RateLimited(429, 0), "limited by the venue (429), stay away for 0.0 s"),
        (SubscriptionRejected("book.x", 11050, "bad"), "book.x refused: code 11050 bad"),
        (LoginRejected(13004, "bad key"), "login refused: code 13004 bad key"),
        (LoginRejected(None, "bad key"), "login refused: bad key"),
        (LoginRejected(4001), "login refused: code 4001"),
        (LoginRejected(), "login refused"),
        (SubscriptionRejected("book.x", 0, ""), "book.x refused: code 0"),
        (SubscriptionRejected("book.x", None, ""), "book.x refused: left out of the reply"),
        (RequestRejected(-1121, "Invalid symbol."), "refused: code -1121 Invalid symbol."),
        (DecodeError("not JSON"), "not JSON"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_messages_are_built_from_the_attributes(error, message):
    assert str(error) == message


@pytest.mark.parametrize(
    "error",
    [
        NotSynced(HOSTILE, "why"),
        DialFailed("tcp", HOSTILE, "refused"),
        ConnectionLost(1008, HOSTILE),
        SubscriptionRejected(HOSTILE, 1, HOSTILE),
        LoginRejected(1, HOSTILE),
        RequestRejected(1, HOSTILE),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_message_lets_remote_text_through_unescaped(error):
    assert str(error).isprintable()


def test_attributes_say_what_the_message_says():
    lost = ConnectionLost(1008, "a\nb")
    assert (lost.code, lost.reason) == (1008, r"a\nb")
    failed = DialFailed("upgrade", "wss://a", "status 404", 404)
    assert (failed.stage, failed.endpoint, failed.detail) == ("upgrade", "wss://a", "status 404")
    assert failed.status == 404
    assert DialFailed("dns", "wss://a", "no such name").status is None
    limited = RateLimited(429, SECOND)
    assert (limited.status, limited.retry_after_ns) == (429, SECOND)
    refused = SubscriptionRejected("t", 5, "no\x00")
    assert (refused.topic, refused.code, refused.detail) == ("t", 5, r"no\x00")
    assert RequestRejected(5, "no").code == 5
    assert Stalled(SECOND, "e").silent_ns == SECOND
    assert SlowConsumer(7).capacity == 7
    assert NotSynced("s", "b").because == "b"
    assert ProtocolViolation("rsv1").close_code == 1002
    assert ProtocolViolation("not UTF-8", 1007).close_code == 1007


TREE = {
    UsageError: {ConfigError, NotSynced, SlowConsumer},
    TransportError: {DialFailed, ConnectionLost, MessagesLost, Stalled},
    VenueError: {RateLimited, SubscriptionRejected, RequestRejected, LoginRejected},
    ProtocolViolation: {DecodeError, ChecksumMismatch},
    NotSent: set(),
    OutcomeUnknown: set(),
}


def below(branch):
    """The errors under ``branch`` of the tree itself; parts of the library may have finer ones."""
    return {error for error in branch.__subclasses__() if error.__module__ == errors.__name__}


def test_the_tree_has_one_branch_for_each_responsible_party():
    assert set(GaplessError.__subclasses__()) == set(TREE)
    for branch, leaves in TREE.items():
        assert below(branch) == leaves


def test_a_bug_of_ours_is_not_caught_with_the_errors_of_others():
    assert not issubclass(IllegalTransition, GaplessError)


def test_everything_public_is_listed_in_order():
    public = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(errors.__all__) == public | {"printable"}
    assert errors.__all__ == sorted(errors.__all__)
