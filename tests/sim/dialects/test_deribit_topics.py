"""Channels of Deribit: what one step of the market becomes."""

from __future__ import annotations

import itertools
import json

import pytest
from tests.sim.wires import SECOND, T0, dial

from gapless.sim.build import simulate
from gapless.sim.exchange import SimOptions
from gapless.sim.truth import MemoryTruth

I = "BTC-PERPETUAL"  # noqa: E741


def heard(*channels, seconds=20, rate=100.0):
    truth = MemoryTruth()
    exchange = simulate(
        "deribit",
        [I],
        rate_per_s=rate,
        seed=5,
        options=SimOptions(limits=False, allow_raw=True, truth_topics=channels),
        truth=truth,
    )
    exchange.advance(T0)
    session, wire = dial(exchange, "/ws/api/v2")
    request = {"id": 1, "method": "public/subscribe", "params": {"channels": channels}}
    session.on_text(json.dumps(request), T0)
    exchange.advance(T0 + seconds * SECOND)
    said = {channel: [] for channel in channels}
    for message in wire.json():
        if "params" in message:
            said[message["params"]["channel"]].append(message["params"]["data"])
    return said, truth


@pytest.mark.parametrize("interval", ["raw", "100ms", "agg2"])
def test_a_book_is_a_snapshot_and_then_a_chain(interval):
    channel = f"book.{I}.{interval}"
    said, truth = heard(channel)
    snapshot, *changes = said[channel]
    assert snapshot["type"] == "snapshot"
    assert "prev_change_id" not in snapshot
    assert len(changes) > 10
    assert {change["type"] for change in changes} == {"change"}
    for before, after in itertools.pairwise([snapshot, *changes]):
        assert after["prev_change_id"] == before["change_id"] < after["change_id"]
    records = truth.of("world", topic=channel)[-len(changes) :]
    assert [r["last"] for r in records] == [change["change_id"] for change in changes]
    assert [r["first"] for r in records] == [c["prev_change_id"] + 1 for c in changes]


def test_the_words_new_change_and_delete_are_true():
    channel = f"book.{I}.raw"
    said, _ = heard(channel)
    snapshot, *changes = said[channel]
    sides = {"bids": {}, "asks": {}}
    words = set()
    for message in (snapshot, *changes):
        for side, levels in sides.items():
            for word, price, size in message[side]:
                words.add(word)
                assert (word == "new") == (price not in levels)
                assert (word == "delete") == (size == 0)
                levels[price] = size
                if not size:
                    del levels[price]
    assert words == {"new", "change", "delete"}


@pytest.mark.parametrize("interval", ["raw", "100ms"])
def test_trades_are_arrays_with_dense_numbers(interval):
    channel = f"trades.{I}.{interval}"
    said, truth = heard(channel, rate=300.0)
    numbers = [trade["trade_seq"] for batch in said[channel] for trade in batch]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert any(len(batch) > 1 for batch in said[channel])
    assert [r["last"] for r in truth.of("world", topic=channel)][-len(numbers) :] == numbers


def test_quotes_come_at_once_and_then_when_they_change():
    channel = f"quote.{I}"
    said, truth = heard(channel)
    keys = ("best_bid_price", "best_bid_amount", "best_ask_price", "best_ask_amount")
    tops = [tuple(message[key] for key in keys) for message in said[channel]]
    assert len(tops) > 5
    assert all(before != after for before, after in itertools.pairwise(tops))
    assert len(truth.of("world", topic=channel)) == len(tops) - 1  # the first was only for us


def test_a_ticker_is_a_whole_image_with_the_numbers_of_the_quote():
    ticker, quote = f"ticker.{I}.raw", f"quote.{I}"
    said, _ = heard(ticker, quote)
    last, top = said[ticker][-1], said[quote][-1]
    assert last["best_bid_price"] == top["best_bid_price"]
    assert last["best_ask_amount"] == top["best_ask_amount"]
    assert last["instrument_name"] == I
    assert last["best_bid_price"] < last["mark_price"] < last["best_ask_price"]


def test_a_grouped_book_is_an_image_of_the_best_levels():
    channel = f"book.{I}.none.10.100ms"
    said, _ = heard(channel)
    assert len(said[channel]) > 10
    for image in said[channel]:
        assert len(image["bids"]) <= 10
        assert "type" not in image
        assert image["bids"] == sorted(image["bids"], reverse=True)
