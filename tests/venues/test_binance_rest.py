"""What the REST replies of Binance's venues share: states, dates, bodies that are none."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.venues.speech import MONO, RECV, check, origins

from gapless.core.audit import BulkTop
from gapless.errors import DecodeError
from gapless.venues._binance_rest import book_tickers, expiry_ns, state_of
from gapless.venues._registry import load

BULK = book_tickers("/api/v3", 4)
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


BEST = {
    "symbol": "LTCBTC",
    "bidPrice": "4.00000000",
    "bidQty": "431.00000000",
    "askPrice": "4.00000200",
    "askQty": "9.00000000",
}


def test_best_prices_of_every_symbol_are_read_as_printed():
    (top,) = BULK.read(json.dumps([BEST]).encode())
    assert top == BulkTop("LTCBTC", 4.0, 4.000002, 431.0, 9.0)


def test_futures_say_when_and_after_which_change():
    row = BEST | {"lastUpdateId": 1027024, "time": 1589437530011, "pair": "LTCBTC"}
    (top,) = BULK.read(json.dumps([row]).encode())
    assert (top.number, top.event_ns) == (1027024, 1589437530011 * 10**6)


def test_a_side_of_zeros_is_empty():
    row = BEST | {"askPrice": "0.00000000", "askQty": "0.00000000"}
    (top,) = BULK.read(json.dumps([row]).encode())
    assert (top.ask, top.ask_size) == (None, None)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[{}]", json.dumps([BEST | {"bidPrice": "nan"}]).encode(), b"[" * 2000],
)
def test_what_is_no_list_of_best_prices_is_refused(body):
    with pytest.raises(DecodeError):
        BULK.read(body)


def test_all_symbols_are_one_request_of_the_stated_weight():
    (request,) = BULK.requests(["A", "B"])
    assert (request.path, request.query) == ("/api/v3/ticker/bookTicker", ())
    assert (request.pool, request.units) == ("weight", 4)
    assert BULK.requests([]) == ()
