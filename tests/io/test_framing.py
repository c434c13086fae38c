"""The rules of RFC 6455 that need no socket."""

import itertools

import pytest

from gapless.errors import ProtocolViolation
from gapless.io.framing import (
    Assembly,
    ControlBudget,
    close_payload,
    is_close_code,
    parse_close,
)
from gapless.io.transport import Limits

SECOND = 1_000_000_000


def pieces(data, cuts):
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def assemble(parts, *, is_text=True, limits=None):
    assembly = Assembly(limits or Limits())
    result = assembly.first(parts[0], is_text=is_text, fin=len(parts) == 1)
    for n, part in enumerate(parts[1:], 2):
        assert result is None
        assert not assembly.idle
        result = assembly.following(part, fin=n == len(parts))
    assert assembly.idle
    return result


def test_text_survives_every_pair_of_cuts():
    data = "a§€😀".encode()
    for cuts in itertools.combinations_with_replacement(range(len(data) + 1), 2):
        assert assemble(pieces(data, cuts)) == "a§€😀"
        assert assemble(pieces(data, cuts), is_text=False) == data


def test_bad_text_fails_at_the_first_bad_fragment():
    assembly = Assembly(Limits())
    assembly.first(b"\xe2", is_text=True, fin=False)
    with pytest.raises(ProtocolViolation) as caught:
        assembly.following(b"x", fin=False)
    assert caught.value.close_code == 1007


def test_a_character_must_not_be_cut_by_the_end():
    with pytest.raises(ProtocolViolation) as caught:
        assemble([b"\xe2", b"\x82"])
    assert caught.value.close_code == 1007


def test_every_limit_holds_exactly():
    limits = Limits(message_bytes=4, fragments=3)
    assert assemble([b"ab", b"c", b"d"], limits=limits) == "abcd"
    for parts in ([b"ab", b"cde"], [b"", b"", b"", b""], [b"abcde"]):
        with pytest.raises(ProtocolViolation) as caught:
            assemble(parts, limits=limits)
        assert caught.value.close_code == 1009


def test_limits_count_for_each_message_alone():
    assembly = Assembly(Limits(message_bytes=4, fragments=2))
    for _ in range(5):
        assert assembly.first(b"ab", is_text=False, fin=False) is None
        assert assembly.following(b"cd", fin=True) == b"abcd"


def test_messages_do_not_nest_and_continuations_continue_something():
    assembly = Assembly(Limits())
    with pytest.raises(ProtocolViolation):
        assembly.following(b"x", fin=True)
    assembly.first(b"x", is_text=True, fin=False)
    with pytest.raises(ProtocolViolation) as caught:
        assembly.first(b"x", is_text=True, fin=True)
    assert caught.value.close_code == 1002


def test_close_codes_are_those_of_the_registry():
    # RFC 6455, section 7.4, and the IANA registry of close codes.
    below = {code for code in range(3000) if is_close_code(code)}
    assert below == {1000, 1001, 1002, 1003, *range(1007, 1015)}
    assert all(is_close_code(code) for code in range(3000, 5000))
    assert not any(is_close_code(code) for code in range(5000, 1 << 16))


@pytest.mark.parametrize(
    ("payload", "close_code"),
    [(b"\x03", 1002), (b"\x03\xed", 1002), (b"\0\0", 1002), (b"\x03\xe8\xff", 1007)],
)
def test_bad_close_frames_are_violations(payload, close_code):
    with pytest.raises(ProtocolViolation) as caught:
        parse_close(payload)
    assert caught.value.close_code == close_code


def test_good_close_frames_say_code_and_reason():
    assert parse_close(b"") == (None, "")
    assert parse_close(b"\x03\xe8") == (1000, "")
    assert parse_close(b"\x0f\xa1\xc3\xa9") == (4001, "é")


def test_a_reason_is_cut_at_a_character():
    assert close_payload("x" * 123) == b"x" * 123
    assert close_payload("x" * 122 + "é") == b"x" * 122
    assert close_payload("\ud800") == b"?"


def test_the_control_budget_holds_for_every_second():
    budget = ControlBudget(3)
    for now_ns in (0, SECOND - 2, SECOND - 1):
        budget.spend(now_ns)
    budget.spend(SECOND)  # the first is a second old
    with pytest.raises(ProtocolViolation) as caught:
        budget.spend(SECOND + 1)
    assert caught.value.close_code == 1008
    budget.spend(2 * SECOND - 2)


def test_no_control_frames_at_all_can_be_asked_for():
    with pytest.raises(ProtocolViolation):
        ControlBudget(0).spend(0)
