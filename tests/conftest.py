"""Options of the whole suite."""


def pytest_addoption(parser):
    parser.addoption(
        "--seeds",
        type=int,
        default=320,
        metavar="N",
        help="how many simulations with random faults to run (default: 320)",
    )
