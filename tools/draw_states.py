"""Draw the state tables of sessions and lines, as SVG and as tables, from the code.

    python tools/draw_states.py [--check]

States stand in one column, in the order of the code.  An arrow to the next state is drawn
straight; every other state that can be reached has a lane: forward on the right, backward,
dashed, on the left.  The words beside a state say what leads into the lane.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parent))

from _writing import ROOT, between, finish

from gapless.core.lifecycle import TRANSITIONS, Phase, Signal
from gapless.core.supervisor import LINE_TRANSITIONS, LineSignal, LineState

__all__ = ["pages"]

S = TypeVar("S", bound=Enum)
G = TypeVar("G", bound=Enum)

WIDTH, HEIGHT, STEP, LANE, MARGIN = 150, 74, 116, 40, 24
LABEL = 132  # room for words between a state and the first lane
INK, SOFT, FILL = "#1f2933", "#52606d", "#eef2f6"


@dataclass
class Edge:
    """All that leads from one state to another, by row."""

    source: int
    target: int
    words: str


@dataclass
class Picture:
    """Pieces of an SVG."""

    width: int
    height: int
    pieces: list[str] = field(default_factory=list)

    def line(self, *points: tuple[float, float], arrow: bool = False, dashed: bool = False) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        more = ' marker-end="url(#arrow)"' if arrow else ""
        more += ' stroke-dasharray="5 4"' if dashed else ""
        self.pieces.append(f'<polyline points="{path}" class="edge"{more}/>')

    def text(self, x: float, y: float, words: str, kind: str) -> None:
        self.pieces.append(f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>')

    def svg(self, title: str) -> str:
        style = (
            "text{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;"
            f"fill:{INK}}}.state{{text-anchor:middle;font-weight:bold}}"
            f".word{{font-size:12px;fill:{SOFT}}}.left{{font-size:12px;fill:{SOFT};"
            "text-anchor:end}"
            f".edge{{fill:none;stroke:{SOFT};stroke-width:1.4}}"
            f".box{{fill:{FILL};stroke:{INK};stroke-width:1.2}}"
        )
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">'
        )
        arrow = (
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
            'markerHeight="8" orient="auto-start-reverse">'
            f'<path d="M0,0 L10,5 L0,10 z" fill="{SOFT}"/></marker></defs>'
        )
        body = "\n".join(self.pieces)
        return (
            f"{head}\n<title>{escape(title)}</title>\n<style>{style}</style>\n{arrow}\n"
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>\n{body}\n</svg>\n'
        )


def edges(states: Sequence[S], table: Mapping[S, Mapping[G, S]]) -> list[Edge]:
    """Return one edge for each pair of states, with all the signals that lead along it."""
    row = {state: index for index, state in enumerate(states)}
    found: dict[tuple[int, int], list[str]] = {}
    for source, cells in table.items():
        for signal, target in cells.items():
            found.setdefault((row[source], row[target]), []).append(str(signal.value))
    return [Edge(a, b, ", ".join(words)) for (a, b), words in sorted(found.items())]


def draw(title: str, states: Sequence[S], table: Mapping[S, Mapping[G, S]]) -> str:
    """Return the SVG of one table."""
    drawn = edges(states, table)
    ahead = sorted({edge.target for edge in drawn if edge.target > edge.source + 1})
    back = sorted({edge.target for edge in drawn if edge.target < edge.source})
    left = MARGIN + (LABEL + LANE * len(back) if back else 0)
    right = left + WIDTH
    picture = Picture(
        right + LABEL + LANE * len(ahead) + MARGIN,
        MARGIN * 2 + STEP * (len(states) - 1) + HEIGHT,
    )
    for target in ahead:
        _lane(picture, drawn, target, right, LABEL + LANE * ahead.index(target), forward=True)
    for target in back:
        _lane(picture, drawn, target, left, LABEL + LANE * back.index(target), forward=False)
    for edge in drawn:
        middle, bottom = left + WIDTH / 2, _top(edge.source) + HEIGHT
        if edge.target == edge.source + 1:
            picture.line((middle, bottom), (middle, _top(edge.target)), arrow=True)
            picture.text(middle + 8, bottom + (STEP - HEIGHT) / 2 + 4, edge.words, "word")
        elif edge.target == edge.source:
            x, y = left + 22, bottom
            picture.line((x, y), (x, y + 16), (x - 34, y + 16), (x - 34, y - 14), (left, y - 14))
            picture.line((left - 2, y - 14), (left, y - 14), arrow=True)
            picture.text(x - 4, y + 31, edge.words, "left")
    for row, state in enumerate(states):
        picture.pieces.append(
            f'<rect x="{left}" y="{_top(row)}" width="{WIDTH}" height="{HEIGHT}" rx="8" '
            'class="box"/>'
        )
        picture.text(left + WIDTH / 2, _top(row) + HEIGHT / 2 + 5, str(state.value), "state")
    return picture.svg(title)


def _lane(
    picture: Picture, drawn: list[Edge], target: int, edge_x: int, away: int, *, forward: bool
) -> None:
    """Draw the lane that leads to ``target``, and every way into it."""
    sign = 1 if forward else -1
    x = edge_x + sign * away
    lane = [
        edge
        for edge in drawn
        if edge.target == target
        and (edge.target > edge.source + 1 if forward else edge.target < edge.source)
    ]
    end_y = _top(target) + (12 if forward else HEIGHT - 12)
    for edge in lane:
        sides = [
            other.target
            for other in drawn
            if other.source == edge.source
            and (other.target > edge.source + 1 if forward else other.target < edge.source)
        ]
        # What leads away stands below what arrives on the right, and above it on the left.
        y = _top(edge.source) + (32 if forward else 18) + 17 * sides.index(target)
        picture.line((edge_x, y), (x, y), (x, end_y), dashed=not forward)
        picture.text(edge_x + sign * 6, y - 4, edge.words, "word" if forward else "left")
    picture.line((x, end_y), (edge_x, end_y), arrow=True, dashed=not forward)


def _top(row: int) -> int:
    return MARGIN + STEP * row


def grid(states: Sequence[S], signals: Sequence[G], table: Mapping[S, Mapping[G, S]]) -> str:
    """Return one table as Markdown; an empty cell is a transition that cannot happen."""
    lines = [
        "| | " + " | ".join(f"`{signal.value}`" for signal in signals) + " |",
        "|---|" + "---|" * len(signals),
    ]
    for state in states:
        cells = (table[state].get(signal) for signal in signals)
        row = " | ".join("" if cell is None else str(cell.value) for cell in cells)
        lines.append(f"| **{state.value}** | {row} |")
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """Return every file that is drawn from the tables, with its text."""
    folder = ROOT / "docs" / "explanation"
    page = folder / "architecture.md"
    text = page.read_text(encoding="utf-8")
    text = between(text, "session table", grid(tuple(Phase), tuple(Signal), TRANSITIONS))
    text = between(text, "line table", grid(tuple(LineState), tuple(LineSignal), LINE_TRANSITIONS))
    return {
        folder / "session-states.svg": draw("The life of a session", tuple(Phase), TRANSITIONS),
        folder / "line-states.svg": draw(
            "The states of a line", tuple(LineState), LINE_TRANSITIONS
        ),
        page: text,
    }


if __name__ == "__main__":
    sys.exit(finish(pages(), sys.argv[1:]))
