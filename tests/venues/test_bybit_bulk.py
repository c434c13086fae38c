"""Bybit's best prices in bulk: a reply as the documents print it, and what is not one."""

from __future__ import annotations

import json

import pytest

from gapless.core.audit import BulkTop
from gapless.errors import DecodeError
from gapless.venues._bybit_bulk import COINS_MAX, tickers

TICKER = {
    "symbol": "BTCUSD",
    "lastPrice": "16597.00",
    "bid1Price": "16596.00",
    "bid1Size": "1",
    "ask1Price": "16597.50",
    "ask1Size": "1",
}
LINEAR = tickers("linear")


def reply(*rows, **more):
    result = {"category": "inverse", "list": list(rows)}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result} | more).encode()


def test_a_reply_is_read():
    (top,) = LINEAR.read(reply(TICKER, time=1672376496682))
    assert top == BulkTop("BTCUSD", 16596.0, 16597.5, event_ns=1672376496682 * 10**6)


def test_a_price_of_nothing_is_an_empty_side():
    (top,) = LINEAR.read(reply(TICKER | {"bid1Price": "0", "ask1Price": ""}))
    assert (top.bid, top.ask, top.event_ns) == (None, None, None)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", reply({}), reply(TICKER | {"bid1Price": "inf"}), reply(time=-1), b"[" * 2000],
)
def test_what_is_no_reply_is_refused(body):
    with pytest.raises(DecodeError):
        LINEAR.read(body)


def test_a_market_is_one_request_and_options_one_for_each_coin():
    (request,) = LINEAR.requests(["BTCUSDT", "ETHUSDT"])
    assert (request.path, request.query) == ("/v5/market/tickers", (("category", "linear"),))
    assert (request.pool, request.units) == ("http", 1)
    options = tickers("option").requests(["ETH-27DEC24-3000-C", "BTC-27DEC24-60000-P"])
    assert [r.query[1] for r in options] == [("baseCoin", "BTC"), ("baseCoin", "ETH")]
    assert LINEAR.requests([]) == ()


def test_coins_are_bounded():
    symbols = [f"C{number}-27DEC24-1-C" for number in range(COINS_MAX + 5)]
    assert len(tickers("option").requests(symbols)) == COINS_MAX
