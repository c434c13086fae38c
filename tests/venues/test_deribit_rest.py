"""Deribit over HTTP: the replies as the documents print them, and what is not one."""

from __future__ import annotations

import json

import pytest
from tests.venues.speech import JUNK, compact, places, planted

from gapless.core.audit import BulkTop
from gapless.errors import DecodeError
from gapless.events import Origin
from gapless.venues._deribit_rest import SUMMARIES, DeribitRest
from gapless.venues.deribit import PROFILES

REST = DeribitRest()
TOPIC = "trades.BTC-PERPETUAL.100ms"
ORIGIN = Origin("deribit", "trades", "BTC-PERPETUAL", TOPIC, "a", 1)
(PROFILE,) = PROFILES

TRADE = {
    "trade_seq": 1966042,
    "trade_id": "ETH-2696060",
    "timestamp": 1590480363130,
    "price": 203.6,
    "amount": 12,
    "direction": "buy",
    "instrument_name": "ETH-PERPETUAL",
}
TRADES = {"jsonrpc": "2.0", "id": 3983, "result": {"trades": [TRADE], "has_more": True}}
OPTION = {
    "kind": "option",
    "instrument_name": "BTC-27SEP24-40000-C",
    "base_currency": "BTC",
    "quote_currency": "BTC",
    "settlement_currency": "BTC",
    "settlement_period": "month",
    "is_active": True,
    "expiration_timestamp": 1727424000000,
    "creation_timestamp": 1711699200000,
    "strike": 40000.0,
    "option_type": "call",
}
FUTURE = {
    "kind": "future",
    "instrument_name": "BTC-29SEP23",
    "base_currency": "BTC",
    "quote_currency": "USD",
    "settlement_period": "month",
    "is_active": True,
    "expiration_timestamp": 1695974400000,
}
PERPETUAL = FUTURE | {
    "instrument_name": "BTC-PERPETUAL",
    "settlement_period": "perpetual",
    "expiration_timestamp": 32503708800000,
}
LISTING = {"jsonrpc": "2.0", "id": 1, "result": [OPTION, FUTURE, PERPETUAL]}


def listed(*items):
    return REST.read_instruments(compact({"result": items}).encode())


def test_past_trades_are_asked_for_by_number():
    request = REST.trades(TOPIC, "BTC-PERPETUAL", 5, 9)
    assert request.path == "/api/v2/public/get_last_trades_by_instrument"
    assert dict(request.query) == {
        "instrument_name": "BTC-PERPETUAL",
        "start_seq": "5",
        "end_seq": "9",
        "count": "5",
        "sorting": "asc",
    }
    assert (request.pool, request.units) == ("other", 500)
    assert dict(REST.trades(TOPIC, "X", 1, 10**6).query)["count"] == "1000"


def test_past_trades_are_read_oldest_first_and_marked():
    later = TRADE | {"trade_seq": 1966043, "direction": "sell"}
    body = compact({"result": {"trades": [later, TRADE], "has_more": False}})
    first, second = REST.read_trades(body.encode(), ORIGIN, 1, 2)
    assert (first.first, first.last, first.id) == (1966042, 1966042, "ETH-2696060")
    assert (first.price, first.size, first.side) == (203.6, 12.0, "buy")
    assert (first.event_ns, first.backfilled) == (1590480363130 * 10**6, True)
    assert (second.last, second.side) == (1966043, "sell")


def test_every_instrument_is_asked_for_at_the_price_that_the_venue_states():
    [request] = REST.instruments()
    assert request.path == "/api/v2/public/get_instruments"
    assert dict(request.query) == {"currency": "any", "expired": "false"}
    pool = PROFILE.budgets().pools[request.pool]
    for _ in range(5):
        assert pool.wait_ns(0, request.units) == 0
        pool.spend(0, request.units)
    assert pool.wait_ns(0, request.units) == 10 * 10**9


def test_an_option_has_strike_right_and_expiry():
    [option] = listed(OPTION)
    assert (option.symbol, option.kind) == ("BTC-27SEP24-40000-C", "option")
    assert (option.strike, option.right) == (40000.0, "call")
    assert option.expiry_ns == 1727424000000 * 10**6
    assert option.listed_ns == 1711699200000 * 10**6
    assert (option.base, option.quote, option.settle) == ("BTC", "BTC", "BTC")


def test_a_perpetual_and_a_spot_pair_do_not_expire_in_the_year_3000():
    future, perpetual, spot = listed(FUTURE, PERPETUAL, PERPETUAL | {"kind": "spot"})
    assert (future.kind, future.expiry_ns) == ("future", 1695974400000 * 10**6)
    assert (perpetual.kind, perpetual.expiry_ns) == ("perp", None)
    assert (spot.kind, spot.expiry_ns) == ("spot", None)
    assert (future.strike, future.right, future.settle) == (None, None, None)


@pytest.mark.parametrize("kind", ["future_combo", "option_combo"])
def test_combinations_are_one_kind(kind):
    [combo] = listed(FUTURE | {"kind": kind})
    assert combo.kind == "combo"


def test_a_kind_that_is_not_known_is_left_out():
    assert listed(FUTURE | {"kind": "moon"}) == []


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({}, "open"),
        ({"is_active": False}, "halted"),
        ({"state": "created"}, "listed"),
        ({"state": "settlement"}, "settling"),
        ({"instrument_state": "locked"}, "halted"),
        ({"state": "terminated"}, "gone"),
        ({"state": "reborn"}, "open"),
        ({"state": "reborn", "is_active": False}, "halted"),
    ],
)
def test_the_state_is_read_under_either_name_and_unknown_words_do_no_harm(told, state):
    [item] = listed(FUTURE | told)
    assert item.state == state


def test_an_error_body_says_why():
    body = b'{"jsonrpc":"2.0","error":{"message":"too_many_requests","code":10028}}'
    assert REST.read_error(body) == (10028, "too_many_requests")
    assert REST.read_error(b"<html>") is None
    assert REST.read_error(b'{"result":[]}') is None


def test_snapshots_come_with_the_stream():
    assert REST.snapshot("BTC-PERPETUAL") is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"result":null}', b"\xff", b"[" * 100_000])
def test_what_is_no_reply_is_a_decode_error(body):
    with pytest.raises(DecodeError):
        REST.read_trades(body, ORIGIN, 1, 2)
    with pytest.raises(DecodeError):
        REST.read_instruments(body)


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_any_place_is_read_or_refused_and_never_worse(junk):
    for message in (TRADES, LISTING):
        for path in places(json.loads(compact(message))):
            body = planted(message, path, junk).encode(errors="surrogatepass")
            for attempt in (
                lambda body=body: REST.read_trades(body, ORIGIN, 1, 2),
                lambda body=body: REST.read_instruments(body),
            ):
                try:
                    attempt()
                except DecodeError:
                    continue


SUMMARY = {
    "volume": 0.55,
    "underlying_price": 121.38,
    "underlying_index": "index_price",
    "quote_currency": "USD",
    "price_change": -26.7793594,
    "open_interest": 0.55,
    "mid_price": 0.2444,
    "mark_price": 0.179112,
    "low": 0.34,
    "last": 0.34,
    "interest_rate": 0.207,
    "instrument_name": "ETH-22FEB19-140-P",
    "high": 0.34,
    "creation_timestamp": 1550227952163,
    "bid_price": 0.1488,
    "base_currency": "ETH",
    "ask_price": 0.34,
}


def summaries(*rows):
    return json.dumps({"jsonrpc": "2.0", "id": 9344, "result": list(rows)}).encode()


def test_a_list_of_summaries_is_read_as_printed():
    (top,) = SUMMARIES.read(summaries(SUMMARY))
    assert top == BulkTop("ETH-22FEB19-140-P", 0.1488, 0.34, event_ns=1550227952163 * 10**6)


@pytest.mark.parametrize("nothing", [None, 0])
def test_a_summary_of_an_empty_side_has_no_price(nothing):
    (top,) = SUMMARIES.read(summaries(SUMMARY | {"bid_price": nothing}))
    assert top.bid is None


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", summaries({}), summaries(SUMMARY | {"bid_price": "x"}), b"[" * 2000]
)
def test_what_is_no_list_of_summaries_is_refused(body):
    with pytest.raises(DecodeError):
        SUMMARIES.read(body)


def test_summaries_are_asked_for_by_what_instruments_are_settled_in():
    requests = SUMMARIES.requests(
        ["BTC-PERPETUAL", "BTC-27SEP24-40000-C", "SOL_USDC-PERPETUAL", "ETH-29SEP23"]
    )
    assert [request.query for request in requests] == [
        (("currency", "BTC"),),
        (("currency", "ETH"),),
        (("currency", "USDC"),),
    ]
    assert {(r.pool, r.units) for r in requests} == {("other", 500)}
    assert SUMMARIES.requests([]) == ()
