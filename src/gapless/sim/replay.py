"""The timeline of a capture: recorded market data, with the time between them.

Of a capture, ours or gzipped JSON lines, the timeline keeps the market data and the HTTP bodies
that can be recognised, and drops what clients sent, acknowledgements and everything else that
belongs to the recorded connection and not to the market.

Frames without a time follow at once upon the frame before them.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from gapless.capture.reader import open_capture
from gapless.capture.records import CaptureDamaged

if TYPE_CHECKING:
    from pathlib import Path

    from gapless.sim.dialects._base import Dialect, Recorded

__all__ = ["CaptureDamaged", "Timeline", "load"]


class Timeline:
    """What a capture says about the market.

    Attributes:
        frames: Market data in the order received.
        skipped: Lines that were left out.
        topics: Every topic that occurs, in the order of its first frame; where a message does
            not say which of several it belongs to, the first of them.
    """

    def __init__(self, speed: float = 1.0) -> None:
        """Create an empty timeline.

        Args:
            speed: How many recorded seconds pass in one; positive.
        """
        if not speed > 0:
            raise ValueError(f"speed must be positive, not {speed}")
        self.frames: list[Recorded] = []
        self.skipped = 0
        self._speed = speed
        self._offsets_ns: list[int] = []
        self._rest: dict[tuple[str, str], tuple[list[int], list[str]]] = {}

    @property
    def topics(self) -> list[str]:
        return list(dict.fromkeys(frame.topics[0] for frame in self.frames))

    @property
    def length_ns(self) -> int:
        """Time from the first frame to the last, at the chosen speed."""
        return self.due_ns(len(self.frames) - 1) if self.frames else 0

    def due_ns(self, position: int) -> int:
        """Return when a frame is due, in nanoseconds after the start."""
        return int(self._offsets_ns[position] / self._speed)

    def add_frame(self, offset_ns: int, frame: Recorded) -> None:
        """Append a frame that was received ``offset_ns`` after the first, or with the last."""
        last_ns = self._offsets_ns[-1] if self._offsets_ns else 0
        self._offsets_ns.append(max(offset_ns, last_ns))
        self.frames.append(frame)

    def add_rest(self, key: tuple[str, str], body: str) -> None:
        """Append a body that was received after the frames added so far."""
        positions, bodies = self._rest.setdefault(key, ([], []))
        positions.append(len(self.frames))
        bodies.append(body)

    def settle(self, dialect: Dialect) -> None:
        """Give bodies that say no symbol the only one that they can mean, or drop them."""
        symbols = [dialect.book_symbol(topic) for topic in self.topics]
        named = list(dict.fromkeys(symbol for symbol in symbols if symbol is not None))
        for path, symbol in list(self._rest):
            if symbol or not dialect.rest_key(path, {"symbol": "?"})[1]:
                continue
            entry = self._rest.pop((path, symbol))
            if len(named) == 1:
                self._rest.setdefault((path, named[0]), entry)
            else:
                self.skipped += len(entry[1])

    def rest_body(self, key: tuple[str, str], position: int) -> str | None:
        """Return what the venue answered to a request.

        Args:
            key: Path and symbol of the request.
            position: How many frames have been replayed; of several bodies the latest that was
                recorded by then is chosen, and the first if none was.
        """
        found = self._rest.get(key)
        if found is None:
            return None
        positions, bodies = found
        return bodies[max(bisect_right(positions, position) - 1, 0)]


def load(path: str | Path, dialect: Dialect, *, speed: float = 1.0) -> Timeline:
    """Read a capture.

    Args:
        path: The file, or a folder of segments.
        dialect: Whose traffic it is.
        speed: How many recorded seconds pass in one.

    Raises:
        CaptureDamaged: It is missing, truncated, or not a capture.
    """
    timeline = Timeline(speed)
    start_ns: int | None = None
    offset_ns = 0
    for record in open_capture(path):
        key = frame = None
        if record.kind == "rest":
            key = dialect.recognise_rest(record.url, record.text)
        elif record.kind == "in":
            frame = dialect.recognise_frame(record.text)
        if key is not None:
            timeline.add_rest(key, record.text)
        elif frame is not None:
            if record.wall_ns is not None:
                start_ns = record.wall_ns if start_ns is None else start_ns
                offset_ns = max(offset_ns, record.wall_ns - start_ns)
            timeline.add_frame(offset_ns, frame)
        else:
            timeline.skipped += 1
    timeline.settle(dialect)
    return timeline
