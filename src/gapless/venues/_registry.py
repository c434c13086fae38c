"""Which venues there are, and where their modules live.

A module of this package that does not begin with an underscore is a venue, or a family of them.
It names its profiles in ``PROFILES``.  A venue is found by its name alone: ``a.b`` lives in the
module ``a_b``, or in ``a`` with its family.  To add a venue, add a module.
"""

from __future__ import annotations

import difflib
import pkgutil
from functools import cache
from importlib import import_module

import gapless.venues
from gapless.errors import UsageError
from gapless.venues._profile import Profile

__all__ = ["load", "names"]


@cache
def names() -> tuple[str, ...]:
    """Return the names of all venues, in order; imports every venue."""
    return tuple(sorted(name for module in _modules() for name in _profiles(module)))


def load(name: str) -> Profile:
    """Return the profile of a venue; imports no other.

    Raises:
        UsageError: If there is none of this name; names the nearest.
    """
    parts = name.split(".")
    modules = _modules()
    for count in range(len(parts), 0, -1):
        module = "_".join(parts[:count])
        if module in modules and name in _profiles(module):
            return _profiles(module)[name]
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5) or list(names())
    raise UsageError(f"no venue {name!r}; did you mean {', '.join(near)}?")


@cache
def _modules() -> frozenset[str]:
    found = pkgutil.iter_modules(gapless.venues.__path__)
    return frozenset(item.name for item in found if not item.name.startswith("_"))


@cache
def _profiles(module: str) -> dict[str, Profile]:
    profiles: tuple[Profile, ...] = import_module(f"gapless.venues.{module}").PROFILES
    return {profile.name: profile for profile in profiles}
