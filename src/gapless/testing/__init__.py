"""Tools for testing code that uses gapless: virtual time, a network in memory, simulations."""

from gapless.io.runtime import Runtime
from gapless.sim.faults import Fault
from gapless.testing.clock import VirtualClock, VirtualLoop, run
from gapless.testing.memory import MemoryConnector, MemoryNetwork
from gapless.testing.scorecard import Scorecard, score
from gapless.testing.simulation import Outcome, Planned, Simulation, random_faults
from gapless.testing.venue import MemoryVenue

__all__ = [
    "Fault",
    "MemoryConnector",
    "MemoryNetwork",
    "MemoryVenue",
    "Outcome",
    "Planned",
    "Runtime",
    "Scorecard",
    "Simulation",
    "VirtualClock",
    "VirtualLoop",
    "random_faults",
    "run",
    "score",
]
