"""Ready-made exchanges."""

from __future__ import annotations

import pytest
from tests.sim.test_replay import TRADE, combined, frame, write
from tests.sim.wires import SECOND, T0, dial

from gapless.sim.build import UnknownVenue, replay, simulate
from gapless.sim.exchange import SimOptions
from gapless.sim.replay import CaptureDamaged
from gapless.sim.truth import MemoryTruth

VENUES = ("deribit", "binance.spot")


@pytest.mark.parametrize("venue", VENUES)
def test_an_invented_market_has_the_usual_symbols_or_those_asked_for(venue):
    usual = simulate(venue)
    assert tuple(usual.world.by_name) == usual.dialect.usual_symbols
    assert len(usual.dialect.usual_symbols) == 2
    assert tuple(simulate(venue, ["ONE", "TWO"]).world.by_name) == ("ONE", "TWO")


@pytest.mark.parametrize("venue", VENUES)
def test_the_parts_get_what_was_said(venue):
    truth, options = MemoryTruth(), SimOptions(nodes=2)
    exchange = simulate(venue, rate_per_s=200.0, seed=3, options=options, truth=truth)
    assert exchange.options is options
    assert exchange.truth is truth
    assert exchange.timeline is None
    exchange.advance(T0)
    exchange.advance(T0 + 5 * SECOND)
    books = truth.of("world", channel="book")
    assert books
    again = MemoryTruth()
    same = simulate(venue, rate_per_s=200.0, seed=3, options=options, truth=again)
    same.advance(T0)
    same.advance(T0 + 5 * SECOND)
    assert again.records == truth.records


@pytest.mark.parametrize("make", [simulate, lambda venue: replay(venue, "no-such-file")])
def test_an_unknown_venue_is_named_beside_the_known(make):
    with pytest.raises(UnknownVenue, match=r"binance\.spot.*deribit|deribit.*binance\.spot") as e:
        make("mtgox")
    assert e.value.venue == "mtgox"


def test_a_capture_stands_behind_a_replay(tmp_path):
    path = write(tmp_path / "capture.jsonl.gz", [frame(0, combined("btcusdt@trade", TRADE))])
    exchange = replay("binance.spot", path, speed=10.0)
    assert exchange.world is None
    assert len(exchange.timeline.frames) == 1
    assert exchange.dialect.replay
    exchange.advance(T0)
    session, wire = dial(exchange, "/stream?streams=btcusdt@trade")
    exchange.advance(T0 + SECOND)
    assert session.open
    assert wire.json()[0]["data"]["e"] == "trade"


def test_a_damaged_capture_is_refused(tmp_path):
    path = tmp_path / "bad.jsonl.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(CaptureDamaged):
        replay("deribit", path)
