"""Telling whose book a REST reply is, from what was asked."""

from __future__ import annotations

import pytest

from gapless.inspection.snapshots import Snapshots
from gapless.venues._profile import RestGet
from gapless.venues._registry import load


class Asks:
    """A venue that asks for its books in one way."""

    def __init__(self, path, query=()):
        self.path, self.query = path, query

    def snapshot(self, symbol):
        query = tuple((key, value.format(symbol)) for key, value in self.query)
        return RestGet(self.path.format(symbol), query, "rest", 1)


@pytest.mark.parametrize(
    ("url", "symbol"),
    [
        ("https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000", "BTCUSDT"),
        ("https://www.binance.com/api/v1/depth?symbol=DOTUSDT&limit=1000", "DOTUSDT"),
        ("https://api.binance.com/api/v3/depth", None),
        ("https://api.binance.com/api/v3/exchangeInfo?symbol=BTCUSDT", None),
        ("https://api.binance.com/api/v3/depth/history?symbol=BTCUSDT", None),
        ("https://[broken", None),
        ("", None),
    ],
)
def test_a_symbol_in_the_query(url, symbol):
    assert Snapshots(load("binance.spot").rest).symbol(url) == symbol


def test_a_symbol_in_the_path():
    shapes = Snapshots(Asks("/products/{}/book", (("level", "2"),)))
    assert shapes.symbol("https://host/products/BTC-USD/book?level=2") == "BTC-USD"
    assert shapes.symbol("https://host/products/BTC-USD/trades") is None
    assert shapes.symbol("https://host/markets/BTC-USD/book") is None


def test_a_symbol_with_something_around_it():
    shapes = Snapshots(Asks("/book/t{}/P0"))
    assert shapes.symbol("https://host/v2/book/tBTCUSD/P0") == "BTCUSD"
    assert shapes.symbol("https://host/v2/book/fUSD/P0") is None


def test_a_venue_whose_books_need_no_request():
    assert not Snapshots(None).exist
    assert Snapshots(None).symbol("https://host/depth?symbol=X") is None
    assert Snapshots(load("binance.spot").rest).exist
