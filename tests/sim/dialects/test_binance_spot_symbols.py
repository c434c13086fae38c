"""Symbols: the usual ones have the venue's own steps."""

from __future__ import annotations

import pytest

from gapless.sim.dialects._binance_spot_symbols import spec_of, symbol_info


@pytest.mark.parametrize(
    ("name", "tick", "lot", "base", "quote"),
    [
        # exchangeInfo of the real venue.
        ("BTCUSDT", "0.01", "0.00001", "BTC", "USDT"),
        ("ETHUSDT", "0.01", "0.0001", "ETH", "USDT"),
        ("XRPUSDT", "0.0001", "0.1", "XRP", "USDT"),
    ],
)
def test_usual_symbols(name, tick, lot, base, quote):
    spec = spec_of(name)
    assert (spec.tick, spec.lot, spec.base, spec.quote) == (tick, lot, base, quote)


def test_any_other_symbol_is_made_up_and_always_the_same():
    assert spec_of("FOOBTC") == spec_of("FOOBTC")
    assert (spec_of("FOOBTC").base, spec_of("FOOBTC").quote) == ("FOO", "BTC")
    assert spec_of("FOOBTC").mid_ticks != spec_of("BARBTC").mid_ticks
    assert spec_of("ODDNAME").quote == "USDT"
    assert spec_of("USDT").base == ""


def test_the_entry_in_exchange_info_has_the_documented_fields():
    info = symbol_info(spec_of("BTCUSDT"))
    assert info["status"] == "TRADING"
    filters = {entry["filterType"]: entry for entry in info["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001"
