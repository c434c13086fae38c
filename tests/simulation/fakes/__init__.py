"""A small fake for every venue, by its name."""

from __future__ import annotations

from tests.simulation.fakes import binance, bitfinex, bybit, coinbase, deribit, dex, kraken, okx

FAKES = {
    fake.name: fake
    for family in (binance, bitfinex, bybit, coinbase, deribit, dex, kraken, okx)
    for fake in family.FAKES
}
