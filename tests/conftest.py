"""Options of the whole suite, and where its figures go."""

import pytest
from benchmarks import measuring


def pytest_addoption(parser):
    parser.addoption(
        "--seeds",
        type=int,
        default=64,
        metavar="N",
        help="how many simulations with random faults to run (default: 64)",
    )


@pytest.fixture
def measure(request):
    """Return what notes one value of a figure, for the table of what is survived."""

    def note(figure, value):
        measuring.note(figure, value, request.node.nodeid)

    return note
