import pytest
from tests.cli.programs import simulator


@pytest.fixture(scope="session")
def venues():
    """Both simulated venues, lively, for tests that break nothing."""
    with simulator("deribit,binance.spot", "--rate", 400) as said:
        yield said
