"""Streams of Binance spot: what one step of the market becomes."""

from __future__ import annotations

import itertools

import pytest
from tests.sim.wires import MS, SECOND, T0, dial

from gapless.sim.build import simulate
from gapless.sim.exchange import SimOptions
from gapless.sim.truth import MemoryTruth

# Field order as recorded from the real venue.
FIELDS = {
    "btcusdt@trade": ["e", "E", "s", "t", "p", "q", "T", "m", "M"],
    "btcusdt@aggTrade": ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"],
    "btcusdt@depth@100ms": ["e", "E", "s", "U", "u", "b", "a"],
    "btcusdt@depth5@100ms": ["lastUpdateId", "bids", "asks"],
    "btcusdt@bookTicker": ["u", "s", "b", "B", "a", "A"],
}


def heard(*streams, seconds=20, rate=200.0):
    truth = MemoryTruth()
    exchange = simulate(
        "binance.spot",
        ["BTCUSDT"],
        rate_per_s=rate,
        seed=5,
        options=SimOptions(limits=False, truth_topics=streams),
        truth=truth,
    )
    exchange.advance(T0)
    _, wire = dial(exchange, "/stream?streams=" + "/".join(streams))
    exchange.advance(T0 + seconds * SECOND)
    said = {stream: [] for stream in streams}
    for message in wire.json():
        said[message["stream"]].append(message["data"])
    return said, truth


@pytest.mark.parametrize("stream", sorted(FIELDS))
def test_fields_and_their_order(stream):
    said, _ = heard(stream)
    assert len(said[stream]) > 10
    assert {tuple(message) for message in said[stream]} == {tuple(FIELDS[stream])}


@pytest.mark.parametrize("stream", ["btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker"])
def test_the_log_has_one_record_for_each_message(stream):
    said, truth = heard(stream)
    records = truth.of("world", topic=stream)
    number = {"btcusdt@trade": "t", "btcusdt@depth@100ms": "u", "btcusdt@bookTicker": "u"}[stream]
    numbers = [message[number] for message in said[stream]]
    assert [record["last"] for record in records][-len(numbers) :] == numbers


def test_prices_and_sizes_have_the_digits_of_the_venue():
    said, _ = heard("btcusdt@trade", "btcusdt@bookTicker")
    for message in said["btcusdt@trade"]:
        assert all(len(message[key].partition(".")[2]) == 8 for key in "pq")
    for message in said["btcusdt@bookTicker"]:
        assert float(message["b"]) < float(message["a"])


def test_a_top_is_said_when_it_changes_and_only_then():
    said, _ = heard("btcusdt@bookTicker")
    for before, after in itertools.pairwise(said["btcusdt@bookTicker"]):
        assert [before[k] for k in "bBaA"] != [after[k] for k in "bBaA"]
        assert before["u"] < after["u"]


def test_aggregates_join_trades_of_one_taker_at_one_price():
    said, _ = heard("btcusdt@trade", "btcusdt@aggTrade")
    trades = {message["t"]: message for message in said["btcusdt@trade"]}
    for run in said["btcusdt@aggTrade"]:
        parts = [trades[n] for n in range(run["f"], run["l"] + 1)]
        assert {part["p"] for part in parts} == {run["p"]}
        assert sum(float(p["q"]) for p in parts) == pytest.approx(float(run["q"]))


def test_a_ticker_comes_once_a_second_and_the_last_price_is_that_of_the_last_trade():
    said, _ = heard("btcusdt@ticker", "btcusdt@trade")
    ticks = said["btcusdt@ticker"]
    assert {after["E"] - before["E"] for before, after in itertools.pairwise(ticks)} == {1000}
    assert all(tick["E"] % 1000 == 0 for tick in ticks)
    trades = {message["t"]: message["p"] for message in said["btcusdt@trade"]}
    assert [tick["c"] for tick in ticks[-5:]] == [trades[tick["L"]] for tick in ticks[-5:]]
    assert ticks[0]["E"] > T0 // MS
