"""What the REST replies of Binance's venues share: states, dates, bodies that are none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.venues.speech import MONO, RECV, check, origins

from gapless.errors import DecodeError
from gapless.venues._binance_rest import expiry_ns, state_of
from gapless.venues._registry import load

RESTS = [load(f"binance.{name}").rest for name in ("spot", "usdm", "coinm", "options")]
(ORIGIN,) = origins("binance.usdm", {"btcusdt@aggTrade": "trades"}).values()
every_venue = pytest.mark.parametrize("rest", RESTS)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("TRADING", "open"),
        ("PENDING_TRADING", "listed"),
        ("PRE_TRADING", "listed"),
        ("HALT", "halted"),
        ("BREAK", "halted"),
        ("END_OF_DAY", "halted"),
        ("CANCEL_ONLY", "halted"),
        ("PRE_DELIVERING", "settling"),
        ("DELIVERING", "settling"),
        ("PRE_SETTLE", "settling"),
        ("SETTLING", "settling"),
        ("DELIVERED", "gone"),
        ("CLOSE", "gone"),
        ("A_WORD_OF_TOMORROW", "halted"),
        ("", "halted"),
    ],
)
def test_each_state_of_the_venue_is_one_of_ours(status, state):
    assert state_of(status) == state


def test_perpetuals_never_expire():
    assert expiry_ns(4133404800000) is None
    assert expiry_ns(0) is None
    assert expiry_ns(1601020800000) == 1601020800000 * 10**6


def test_past_trades_come_oldest_first():
    rest = RESTS[0]
    row = '{{"a":{n},"p":"1","q":"2","T":5,"m":false}}'
    body = f"[{row.format(n=9)},{row.format(n=7)},{row.format(n=8)}]".encode()
    assert [trade.first for trade in rest.read_trades(body, ORIGIN, RECV, MONO)] == [7, 8, 9]
    assert rest.read_trades(b"[]", ORIGIN, RECV, MONO) == []


@every_venue
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        b'[{"a":1}]',
        b'[{"a":-1,"p":"1","q":"1","T":5,"m":false}]',
        b'[{"a":1,"p":"NaN","q":"1","T":5,"m":false}]',
        b'[{"a":1,"p":"1","q":"1e400","T":5,"m":false}]',
        b'[{"a":' + b"9" * 40 + b',"p":"1","q":"1","T":5,"m":false}]',
        b"[" * 100_000,
    ],
)
def test_what_is_no_list_of_trades_is_a_decode_error(rest, body):
    with pytest.raises(DecodeError):
        rest.read_trades(body, ORIGIN, RECV, MONO)


@every_venue
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"symbols":[{"symbol":7}],"optionSymbols":[{"symbol":7}]}',
        b'{"symbols":[{}],"optionSymbols":[{}]}',
        b'{"symbols":' + b"[" * 100_000,
    ],
)
def test_what_is_no_list_of_instruments_is_a_decode_error(rest, body):
    with pytest.raises(DecodeError):
        rest.read_instruments(body)


@every_venue
@given(st.binary(max_size=60))
@settings(max_examples=100, derandomize=True)
def test_any_bytes_are_read_or_refused(rest, body):
    with contextlib.suppress(DecodeError):
        check(rest.read_snapshot(body, ORIGIN, RECV, MONO, texts=True))
    with contextlib.suppress(DecodeError):
        rest.read_trades(body, ORIGIN, RECV, MONO)
    with contextlib.suppress(DecodeError):
        rest.read_instruments(body)
    rest.read_error(body)


@every_venue
def test_every_venue_says_what_is_wrong_in_the_same_shape(rest):
    body = b'{"code":-1121,"msg":"Invalid symbol."}'
    assert rest.read_error(body) == (-1121, "Invalid symbol.")
    assert rest.read_error(b"<html>") is None
