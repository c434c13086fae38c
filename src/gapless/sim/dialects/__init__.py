"""Venues that the simulator speaks, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gapless.sim.dialects.binance_spot import BinanceSpot
from gapless.sim.dialects.deribit import Deribit

if TYPE_CHECKING:
    from gapless.sim.dialects._base import Dialect

__all__ = ["DIALECTS", "USUAL", "BinanceSpot", "Deribit"]

DIALECTS: Final[dict[str, type[Dialect]]] = {
    BinanceSpot.venue: BinanceSpot,
    Deribit.venue: Deribit,
}

USUAL: Final = Deribit.venue
"""Where nobody names a venue: all that its books need comes over the socket."""
