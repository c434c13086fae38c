"""The simulated venue lists, halts and ends options as its news say."""

from __future__ import annotations

import json

import pytest
from tests.sim.dialects.test_deribit import IP, call, data, run, subscribe
from tests.sim.wires import SECOND, T0, dial

from gapless.sim.build import simulate
from gapless.sim.chain import ChainOptions
from gapless.sim.exchange import SimOptions

PATH = "/ws/api/v2"
CHAIN = ChainOptions(strikes=12, cycle_s=20, halt_s=2, relist_s=3, open_s=1, cycles=1)


@pytest.fixture
def exchange():
    options = SimOptions(chain=CHAIN, limits=False)
    return simulate("deribit", ["BTC-PERPETUAL"], rate_per_s=500, seed=3, options=options)


def listed(exchange, now_ns, **query):
    reply = exchange.rest("GET", "/api/v2/public/get_instruments", query, IP, now_ns)
    assert reply.status == 200
    return {row["instrument_name"]: row for row in json.loads(reply.body_text)["result"]}


def test_options_are_listed_beside_the_perpetual_with_what_makes_them_options(exchange):
    rows = listed(exchange, T0)
    assert len(rows) == 13
    options = [row for row in rows.values() if row["kind"] == "option"]
    assert len(options) == 12
    assert {row["option_type"] for row in options} == {"call", "put"}
    first = min(row["expiration_timestamp"] for row in options)
    assert first == (T0 + 20 * SECOND) // 10**6
    assert set(listed(exchange, T0, kind="option")) == {r["instrument_name"] for r in options}


def test_news_tell_every_change_and_the_listing_agrees(exchange):
    session, wire = dial(exchange, PATH)
    topic = "instrument.state.option.BTC"
    assert subscribe(session, wire, topic) == [topic]
    before = set(listed(exchange, T0, kind="option"))
    run(exchange, 30)
    told = [(row["state"], row["instrument_name"]) for row in data(wire, topic)]
    words = [word for word, _ in told]
    assert (
        words
        == (["settlement"] * 12 + ["terminated"] * 2 + ["started"] * 10 + ["created"] * 2)
        + ["started"] * 2
    )
    gone = {name for word, name in told if word == "terminated"}
    fresh = {name for word, name in told if word == "created"}
    after = set(listed(exchange, T0 + 30 * SECOND, kind="option"))
    assert after == before - gone | fresh
    assert not gone & after


def test_what_is_created_is_listed_and_not_active_until_it_starts(exchange):
    listed(exchange, T0)
    exchange.advance(T0 + 25 * SECOND + SECOND // 2)
    rows = listed(exchange, T0 + 25 * SECOND + SECOND // 2, kind="option")
    waiting = [name for name, row in rows.items() if not row["is_active"]]
    assert len(waiting) == 2
    exchange.advance(T0 + 27 * SECOND)
    assert all(row["is_active"] for row in listed(exchange, T0 + 27 * SECOND).values())


def test_during_settlement_no_option_trades_and_the_perpetual_does(exchange):
    session, wire = dial(exchange, PATH)
    names = list(listed(exchange, T0, kind="option"))
    subscribe(session, wire, *[f"book.{n}.100ms" for n in [*names, "BTC-PERPETUAL"]])

    def spoken(begin_s, end_s):
        exchange.advance(T0 + begin_s * SECOND)
        seen = len(wire.json())
        exchange.advance(T0 + end_s * SECOND)
        pushes = [m["params"]["channel"] for m in wire.json()[seen:] if "method" in m]
        return {channel.split(".")[1] for channel in pushes}

    assert len(spoken(5, 19) & set(names)) > 3, "some options trade"
    exchange.advance(T0 + 20 * SECOND + SECOND // 5)  # what was under way has left
    assert spoken(20.2, 21.9) == {"BTC-PERPETUAL"}


def test_what_is_gone_cannot_be_subscribed_nor_asked_for(exchange):
    session, wire = dial(exchange, PATH)
    name = min(
        listed(exchange, T0, kind="option").values(), key=lambda row: row["expiration_timestamp"]
    )["instrument_name"]
    exchange.advance(T0 + 23 * SECOND)
    now_ns = T0 + 23 * SECOND
    assert subscribe(session, wire, f"book.{name}.100ms", now_ns=now_ns) == []
    reply = call(session, wire, "public/get_order_book", {"instrument_name": name}, now_ns, 7)
    assert reply["error"]["code"] == -32602
