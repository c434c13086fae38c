"""Tools for testing code that uses gapless: virtual time, a network in memory, simulations."""

from gapless.io.runtime import Runtime
from gapless.sim.faults import Fault
from gapless.testing.clock import VirtualClock, VirtualLoop, run
from gapless.testing.memory import MemoryConnector, MemoryNetwork
from gapless.testing.scorecard import Scorecard, score
from gapless.testing.simulation import Outcome, Planned, Simulation, random_faults
from gapless.testing.storms import Storm, random_storm
from gapless.testing.venue import MemoryVenue
from gapless.testing.weather import Calamity, Weather

__all__ = [
    "Calamity",
    "Fault",
    "MemoryConnector",
    "MemoryNetwork",
    "MemoryVenue",
    "Outcome",
    "Planned",
    "Runtime",
    "Scorecard",
    "Simulation",
    "Storm",
    "VirtualClock",
    "VirtualLoop",
    "Weather",
    "random_faults",
    "random_storm",
    "run",
    "score",
]
