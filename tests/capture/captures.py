"""Captures for tests: written by the product's writer, and records to write."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from gapless.capture.format import Stored
from gapless.capture.records import Record
from gapless.capture.writer import CaptureWriter, WriterLimits

T0 = 1_700_000_000_000_000_000
SECOND = 1_000_000_000

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NUMBERS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))
MAYBE = st.one_of(st.none(), TEXTS)


@st.composite
def stored(draw: st.DrawFn) -> Stored:
    """Return any record that there can be."""
    kind = draw(st.sampled_from(("in", "out", "rest", "open", "close", "meta")))
    conn = "rest" if kind == "rest" else draw(TEXTS.filter(lambda text: text != "rest"))
    event = draw(MAYBE.filter(lambda text: text not in ("connect", "close")))
    return Stored(
        kind,
        conn,
        draw(NUMBERS),
        draw(NUMBERS),
        draw(TEXTS),
        draw(MAYBE),
        draw(st.one_of(st.none(), st.integers(0, 999))),
        draw(MAYBE),
        event if kind == "meta" else None,
        draw(MAYBE),
        draw(MAYBE),
    )


def frame(number: int, text: str | None = None, conn: str = "a.1", kind: str = "in") -> Stored:
    """Return a frame that came ``number`` ms after the start."""
    ns = number * 1_000_000
    return Stored(kind, conn, ns, T0 + ns, f"frame {number}" if text is None else text)


def numbered(items: list[Stored]) -> list[Record]:
    """Return what a reader makes of what was written."""
    return [item.numbered(number) for number, item in enumerate(items, 1)]


def write(
    folder: Path,
    items: list[Stored],
    *,
    block_of: int | None = None,
    venue: str = "deribit",
    close: bool = True,
    **limits: int,
) -> CaptureWriter:
    """Write records, each block of so many; return the writer."""
    writer = CaptureWriter(
        folder, venue, "0123456789abcdef", T0, limits=WriterLimits(**limits), fsync="never"
    )
    for count, item in enumerate(items, 1):
        writer.add([item], T0)
        if block_of is not None and count % block_of == 0:
            writer.flush()
    if close:
        writer.close(T0)
    return writer


def only_segment(folder: Path) -> Path:
    """Return the one segment of a folder."""
    [path] = folder.glob("*.gapless")
    return path
