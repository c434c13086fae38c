"""What counts as an open connection."""

from gapless.probing.measures import Visit


def test_a_visit_is_open_once_the_upgrade_is_complete():
    visit = Visit(endpoint="wss://venue.test", address="192.0.2.1")
    assert not visit.open, "not dialled yet"
    visit.reached = True
    assert visit.open
    visit.stage = "upgrade"
    assert not visit.open
