from __future__ import annotations

import pytest

from gapless.core.lifecycle import TERMINAL, TRANSITIONS, Phase, Signal, step
from gapless.errors import IllegalTransition

# The table of the design, written out once more: a row for each phase, a column for each signal.
TABLE = """
            DIAL    OPENED      LOGIN_NEEDED LOGGED_IN   SUBSCRIBED RETIRE   DRAINED ABORT   LOST
IDLE        DIALING -           -            -           -          ENDED    -       -       -
DIALING     -       SUBSCRIBING LOGGING_IN   -           -          CLOSING  -       CLOSING ENDED
LOGGING_IN  -       -           -            SUBSCRIBING -          CLOSING  -       CLOSING ENDED
SUBSCRIBING -       -           -            -           LIVE       CLOSING  -       CLOSING ENDED
LIVE        -       -           -            -           -          DRAINING -       CLOSING ENDED
DRAINING    -       -           -            -           -          -        CLOSING CLOSING ENDED
CLOSING     -       -           -            -           -          -        -       -       ENDED
ENDED       -       -           -            -           -          -        -       -       -
"""
_HEAD, *_ROWS = (line.split() for line in TABLE.strip().splitlines())
CELLS = {
    (row[0], signal): cell for row in _ROWS for signal, cell in zip(_HEAD, row[1:], strict=True)
}


def test_the_table_above_has_every_phase_and_every_signal():
    assert {phase for phase, _ in CELLS} == {phase.name for phase in Phase}
    assert {signal for _, signal in CELLS} == {signal.name for signal in Signal}


@pytest.mark.parametrize("signal", Signal, ids=lambda s: s.name)
@pytest.mark.parametrize("phase", Phase, ids=lambda p: p.name)
def test_every_cell_is_as_designed(phase, signal):
    cell = CELLS[phase.name, signal.name]
    if cell == "-":
        with pytest.raises(IllegalTransition, match=f"^{signal.name} while {phase.name}$"):
            step(phase, signal)
    else:
        assert step(phase, signal) is Phase[cell]


def test_no_row_leads_back_so_a_session_cannot_be_stuck_reconnecting():
    order = list(Phase)
    for phase, row in TRANSITIONS.items():
        for following in row.values():
            assert order.index(following) > order.index(phase)


def test_only_an_ended_session_has_no_way_out():
    assert {phase for phase in Phase if not TRANSITIONS[phase]} == TERMINAL == {Phase.ENDED}
    for phase in set(Phase) - TERMINAL - {Phase.IDLE}:
        assert TRANSITIONS[phase][Signal.LOST] is Phase.ENDED


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        TRANSITIONS[Phase.ENDED] = {}
