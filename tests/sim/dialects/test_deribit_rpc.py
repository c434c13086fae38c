"""Methods of Deribit that need no session."""

from __future__ import annotations

import json

import pytest
from tests.sim.wires import MS, SECOND, T0

from gapless.sim.build import simulate
from gapless.sim.dialects._deribit_rpc import METHODS, RpcError, arguments_of


def venue():
    exchange = simulate("deribit", seed=1, rate_per_s=100.0)
    exchange.advance(T0)
    exchange.advance(T0 + 30 * SECOND)
    return exchange


def call(method, exchange=None, **params):
    exchange = exchange or venue()
    return METHODS[f"public/{method}"](exchange.dialect, params, exchange.now_ns)


def test_arguments_of_a_query_are_numbers_and_booleans_where_they_look_so():
    query = {"depth": "5", "expired": "false", "instrument_name": "BTC-PERPETUAL", "odd": "1e"}
    assert arguments_of(query) == {
        "depth": 5,
        "expired": False,
        "instrument_name": "BTC-PERPETUAL",
        "odd": "1e",
    }


def test_the_time_is_in_milliseconds():
    assert call("get_time") == (T0 + 30 * SECOND) // MS


def test_instruments_are_those_of_the_world():
    names = {entry["instrument_name"] for entry in call("get_instruments")}
    assert names == {"BTC-PERPETUAL", "ETH-PERPETUAL"}
    (only,) = call("get_instruments", currency="BTC")
    assert only["tick_size"] == 0.5  # of the real venue
    assert call("get_instruments", kind="option") == []


@pytest.mark.parametrize("depth", [1, 5, 100])
def test_an_order_book_is_as_deep_as_asked(depth):
    book = call("get_order_book", instrument_name="BTC-PERPETUAL", depth=depth)
    assert 1 <= len(book["bids"]) <= depth
    assert book["bids"][0][0] < book["asks"][0][0]
    assert (book["best_bid_price"], book["best_bid_amount"]) == tuple(book["bids"][0])


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("get_order_book", {"instrument_name": "NO-SUCH"}),
        ("get_order_book", {}),
        ("get_order_book", {"instrument_name": 7}),
        ("get_order_book", {"instrument_name": "BTC-PERPETUAL", "depth": 0}),
        ("get_order_book", {"instrument_name": "BTC-PERPETUAL", "depth": True}),
        ("ticker", {"instrument_name": "NO-SUCH"}),
        ("get_last_trades_by_instrument", {"instrument_name": "BTC-PERPETUAL", "count": 1001}),
        ("auth", {"grant_type": "magic"}),
    ],
)
def test_bad_parameters_are_named(method, params):
    with pytest.raises(RpcError) as caught:
        call(method, **params)
    assert (caught.value.code, caught.value.message) == (-32602, "Invalid params")
    assert caught.value.param


def test_trades_by_number_are_the_very_ones_asked_for():
    exchange = venue()
    ask = "get_last_trades_by_instrument"
    newest = call(ask, exchange, instrument_name="BTC-PERPETUAL", count=5)["trades"]
    assert [t["trade_seq"] for t in newest] == sorted(
        (t["trade_seq"] for t in newest), reverse=True
    )
    low, high = newest[-1]["trade_seq"], newest[0]["trade_seq"]
    again = call(
        ask, exchange, instrument_name="BTC-PERPETUAL", start_seq=low, end_seq=high, count=100
    )
    assert again["trades"] == newest[::-1]
    assert not again["has_more"]


def test_a_login_gives_tokens_and_says_how_long():
    token = call("auth", grant_type="client_credentials", client_id="me", client_secret="x")
    assert token["token_type"] == "bearer"
    assert token["expires_in"] == 31_536_000
    json.dumps(token)


def test_every_answer_is_plain_json():
    exchange, asked = venue(), {"instrument_name": "BTC-PERPETUAL", "currency": "BTC"}
    for method in METHODS:
        if "auth" not in method:
            json.dumps(METHODS[method](exchange.dialect, asked, T0))


def test_a_summary_has_the_best_prices_of_everything_settled_in_a_currency():
    exchange = venue()
    (only,) = call("get_book_summary_by_currency", exchange, currency="BTC")
    assert only["instrument_name"] == "BTC-PERPETUAL"
    assert only["creation_timestamp"] == exchange.now_ns // MS
    book = call("get_order_book", exchange, instrument_name="BTC-PERPETUAL", depth=1)
    assert [only["bid_price"], only["ask_price"]] == [book["bids"][0][0], book["asks"][0][0]]
    assert call("get_book_summary_by_currency", exchange, currency="USDC") == []
    with pytest.raises(RpcError):
        call("get_book_summary_by_currency", exchange)
