"""Ready-made exchanges: a venue by name, with a world or a capture behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gapless.sim.dialects import DIALECTS
from gapless.sim.exchange import Exchange
from gapless.sim.replay import load
from gapless.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gapless.sim.dialects._base import Dialect, SimOptions
    from gapless.sim.truth import TruthSink

__all__ = ["UnknownVenue", "replay", "simulate"]


class UnknownVenue(ValueError):
    """There is no dialect of that name.

    Attributes:
        venue: The name.
    """

    def __init__(self, venue: str) -> None:
        self.venue = venue
        super().__init__(f"the simulator speaks {', '.join(DIALECTS)}; not {venue}")


def simulate(
    venue: str,
    symbols: Sequence[str] | None = None,
    *,
    rate_per_s: float = 50.0,
    seed: int = 0,
    options: SimOptions | None = None,
    truth: TruthSink | None = None,
) -> Exchange:
    """Return an exchange with an invented market.

    Args:
        venue: Which dialect.
        symbols: What is traded, as the venue spells it; `None` for a usual pair.
        rate_per_s: Book changes a second over all symbols together.
        seed: Decides everything.
        options: How it is run.
        truth: Where to log what really happened.

    Raises:
        UnknownVenue: There is no such dialect.
    """
    dialect = _dialect(venue, options)
    specs = dialect.specs(symbols or dialect.usual_symbols) + dialect.more_specs()
    return Exchange(dialect, World(specs, rate_per_s, seed), seed=seed, truth=truth)


def replay(
    venue: str,
    capture: str | Path,
    *,
    speed: float = 1.0,
    seed: int = 0,
    options: SimOptions | None = None,
    truth: TruthSink | None = None,
) -> Exchange:
    """Return an exchange that replays a capture.

    Args:
        venue: Whose traffic it is.
        capture: The file.
        speed: How many recorded seconds pass in one.
        seed: Decides what the capture does not.
        options: How it is run.
        truth: Where to log what was sent; there are no ``world`` records.

    Raises:
        UnknownVenue: There is no such dialect.
        CaptureDamaged: The file cannot be read to its end.
    """
    dialect = _dialect(venue, options)
    timeline = load(capture, dialect, speed=speed)
    return Exchange(dialect, None, seed=seed, truth=truth, timeline=timeline)


def _dialect(venue: str, options: SimOptions | None) -> Dialect:
    try:
        return DIALECTS[venue](options)
    except KeyError:
        raise UnknownVenue(venue) from None
