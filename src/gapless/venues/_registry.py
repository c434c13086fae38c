"""Which venues there are, and where their modules live."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Final

from gapless.errors import UsageError
from gapless.venues._profile import Profile

__all__ = ["VENUES", "load"]

VENUES: Final = {
    "binance.spot": "gapless.venues.binance_spot",
    "deribit": "gapless.venues.deribit",
}


def load(name: str) -> Profile:
    """Return the profile of a venue.

    Raises:
        UsageError: If there is none of this name; names the nearest.
    """
    if name not in VENUES:
        near = difflib.get_close_matches(name, VENUES, n=3, cutoff=0.3) or list(VENUES)
        raise UsageError(f"no venue {name!r}; did you mean {', '.join(near)}?")
    profile: Profile = import_module(VENUES[name]).PROFILE
    return profile
