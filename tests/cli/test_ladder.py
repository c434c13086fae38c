import io

import msgspec
import pytest
from rich.console import Console
from tests.cli.events import stats

from gapless.cli.ladder import Ladder
from gapless.errors import NotSynced

ASKS = [(100.5, 1.0), (101.0, 2.0), (101.5, 4.0)]
BIDS = [(100.0, 4.0), (99.5, 1.0)]


class Book:
    """What a ladder needs of a book."""

    def __init__(self, **how):
        self.proven = True
        self.how = how

    @property
    def bids(self):
        return self._side(BIDS)

    @property
    def asks(self):
        return self._side(ASKS)

    def _side(self, levels):
        if not self.proven:
            raise NotSynced("X", "the line was cut")
        return list(levels)

    def stats(self):
        return stats(**self.how)


def drawn(ladder, *, height=40, colour=False):
    file = io.StringIO()
    console = Console(
        file=file, width=100, force_terminal=colour, color_system="standard" if colour else None
    )
    console.print(ladder.render(height))
    return file.getvalue()


def test_asks_stand_above_bids_best_in_the_middle():
    ladder, book = Ladder("X", 10), Book()
    ladder.look(book)
    shown = drawn(ladder)
    places = [
        shown.index(text) for text in ("101.5", "101 ", "100.5", "spread 0.5", "100 ", "99.5")
    ]
    assert places == sorted(places)
    assert "● live   age 0.2 s   gaps 1   line a live 1.2 ms" in shown
    assert "NOT PROVEN" not in shown


def test_sizes_are_bars():
    ladder = Ladder("X", 10)
    ladder.look(Book())
    bars = {line.split()[0]: line.count("█") for line in drawn(ladder).splitlines() if "█" in line}
    assert bars == {"101.5": 24, "101": 12, "100.5": 6, "100": 24, "99.5": 6}


def test_depth_and_the_height_of_the_screen_bound_the_levels():
    shallow, low = Ladder("X", 1), Ladder("X", 10)
    for ladder in (shallow, low):
        ladder.look(Book())
    assert drawn(shallow).count("█ ") + drawn(shallow).count("█\n") == 2
    assert "101 " not in drawn(low, height=8)


def test_an_unproven_book_is_never_shown_as_if_it_were_good():
    ladder = Ladder("X", 10)
    book = Book(trust="gapped", because="the line was cut")
    ladder.look(book)
    book.proven = False
    ladder.look(book)
    shown = drawn(ladder)
    assert "■ NOT PROVEN: the line was cut (greyed: as last proven)" in shown
    assert "█" not in shown
    assert "live   " not in shown
    assert "(spread 0.5)" in shown
    in_colour = drawn(ladder, colour=True)
    assert "\x1b[31m" not in in_colour
    assert "\x1b[32m" not in in_colour


def test_before_the_first_proof_there_is_no_level():
    ladder = Ladder("X", 10)
    assert "NOT PROVEN: not connected yet" in drawn(ladder)
    book = Book(trust="syncing", because="waiting for a snapshot")
    book.proven = False
    ladder.look(book)
    shown = drawn(ladder)
    assert "NOT PROVEN: waiting for a snapshot" in shown
    assert "greyed" not in shown
    assert "no spread" in shown


@pytest.mark.parametrize("trust", ["stale", "slow", "frozen"])
def test_a_proven_book_that_is_old_says_so(trust):
    ladder = Ladder("X", 10)
    ladder.look(Book(trust=trust, because="no data for 9.0 s"))
    assert f"▲ {trust}: no data for 9.0 s" in drawn(ladder)


def test_the_wire_cannot_steer_the_terminal():
    ladder = Ladder("\x1b[2J", 10)
    ladder.look(Book(trust="stale", because="\x1b[31m"))
    assert "\x1b" not in drawn(ladder)


def test_a_line_that_waits_says_for_how_long():
    book = Book()
    line = msgspec.structs.replace(stats().lines[0], state="cooling", rtt_ms=None, retry_in_s=1.5)
    book.stats = lambda: msgspec.structs.replace(stats(), lines=(line,))
    ladder = Ladder("X", 10)
    ladder.look(book)
    assert "line a cooling again in 1.5 s" in drawn(ladder)
