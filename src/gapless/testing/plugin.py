"""Fixtures for pytest: virtual time and whole simulations.

Installed with gapless and loaded by pytest on its own; it imports the rest of gapless only when
a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gapless.testing.simulation import Outcome

__all__ = ["simulation", "virtual_run"]


@pytest.fixture
def virtual_run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return a function that runs a coroutine in virtual time and returns its result.

    Sleeping costs nothing, and the order of events is the same on every run.
    """
    from gapless.testing.clock import run  # noqa: PLC0415  # only when it is used

    return run


@pytest.fixture
def simulation() -> Callable[..., Outcome]:
    """Return a function that runs a `Simulation` and returns its `Outcome`.

    It takes the arguments of `Simulation`, and prints the seed first: pytest shows it when the
    test fails, and the same seed fails in the same way.
    """
    from gapless.testing.simulation import Simulation  # noqa: PLC0415  # only when it is used

    def run(venue: str, **arguments: Any) -> Outcome:
        planned = Simulation(venue=venue, **arguments)
        print(f"simulation of {venue} with seed {planned.seed}")  # see above
        return planned.run()

    return run
