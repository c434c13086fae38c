"""Symbols of Binance spot: their steps, and how ``exchangeInfo`` describes them."""

from __future__ import annotations

import zlib
from typing import Any, Final

from gapless.sim.world import SymbolSpec

__all__ = ["spec_of", "symbol_info"]

# Tick, lot, starting price in ticks, usual size in lots.
_KNOWN: Final = {
    "BTCUSDT": ("0.01", "0.00001", 6_500_000, 12_000),
    "ETHUSDT": ("0.01", "0.0001", 350_000, 8_000),
    "BNBUSDT": ("0.01", "0.001", 60_000, 1_500),
    "SOLUSDT": ("0.01", "0.001", 15_000, 8_000),
    "XRPUSDT": ("0.0001", "0.1", 24_000, 9_000),
}
_QUOTES: Final = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "EUR", "TRY")


def spec_of(name: str) -> SymbolSpec:
    """Return what ``name`` is; made up, but always the same, if it is not a usual one."""
    guess = ("0.0001", "0.01", 5_000 + zlib.crc32(name.encode()) % 500_000, 5_000)
    tick, lot, mid, typical = _KNOWN.get(name, guess)
    quote = next((q for q in _QUOTES if name.endswith(q) and name != q), "USDT")
    return SymbolSpec(
        name=name,
        tick=tick,
        lot=lot,
        mid_ticks=mid,
        typical_lots=typical,
        base=name.removesuffix(quote),
        quote=quote,
    )


def symbol_info(spec: SymbolSpec) -> dict[str, Any]:
    """Return the entry of a symbol in ``exchangeInfo``."""
    return {
        "symbol": spec.name,
        "status": "TRADING",
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        "quotePrecision": 8,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": spec.tick, "tickSize": spec.tick},
            {"filterType": "LOT_SIZE", "minQty": spec.lot, "stepSize": spec.lot},
        ],
    }
