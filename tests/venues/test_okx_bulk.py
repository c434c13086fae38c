"""OKX's best prices in bulk: a reply as the documents print it, and what is not one."""

from __future__ import annotations

import json

import pytest

from gapless.core.audit import BulkTop
from gapless.errors import DecodeError
from gapless.venues._okx_bulk import TICKERS, kind_of

TICKER = {
    "instType": "SWAP",
    "instId": "LTC-USD-SWAP",
    "last": "9999.99",
    "lastSz": "1",
    "askPx": "9999.99",
    "askSz": "11",
    "bidPx": "8888.88",
    "bidSz": "5",
    "ts": "1597026383085",
}


def reply(*rows):
    return json.dumps({"code": "0", "msg": "", "data": list(rows)}).encode()


def test_a_reply_is_read():
    (top,) = TICKERS.read(reply(TICKER))
    assert top == BulkTop("LTC-USD-SWAP", 8888.88, 9999.99, event_ns=1597026383085 * 10**6)


def test_a_side_that_is_empty_has_no_price():
    tops = TICKERS.read(reply(TICKER | {"bidPx": ""}, TICKER | {"askPx": "0", "ts": ""}))
    assert [(top.bid, top.ask, top.event_ns is None) for top in tops] == [
        (None, 9999.99, False),
        (8888.88, None, True),
    ]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"data":{}}', reply({}), reply(TICKER | {"bidPx": "nan"}), b"[" * 2000],
)
def test_what_is_no_reply_is_refused(body):
    with pytest.raises(DecodeError):
        TICKERS.read(body)


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("BTC-USDT", "SPOT"),
        ("BTC-USDT-SWAP", "SWAP"),
        ("BTC-USD-241227", "FUTURES"),
        ("BTC-USD-241227-60000-C", "OPTION"),
    ],
)
def test_the_type_is_in_the_name(symbol, kind):
    assert kind_of(symbol) == kind


def test_each_type_is_asked_for_once():
    requests = TICKERS.requests(["BTC-USDT", "ETH-USDT", "BTC-USDT-SWAP"])
    assert [request.query for request in requests] == [
        (("instType", "SPOT"),),
        (("instType", "SWAP"),),
    ]
    assert {(r.path, r.pool, r.units) for r in requests} == {("/api/v5/market/tickers", "rest", 1)}
    assert TICKERS.requests([]) == ()
