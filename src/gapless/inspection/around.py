"""The frames about a break, decoded: read a capture once more, and keep only what is near one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from gapless.capture.records import Record
from gapless.core.codec import Bundle
from gapless.inspection.inspector import Inspector, Out
from gapless.inspection.report import CONNECTION, FileFound, Shown
from gapless.inspection.words import said_in_words

__all__ = ["AROUND_MAX", "PLACES_MAX", "Around", "Place", "places_in"]

AROUND_MAX: Final = 100
"""Frames that are shown before and after a break at most."""

PLACES_MAX: Final = 20
"""Breaks that are shown at most, first ones first."""


class Place:
    """One break, and the frames of its topic about it.

    Args:
        topic: The topic; `CONNECTION` for a hole in a connection's own numbers.
        frame: The frame that shows the break.
        what: What is wrong, in words.
        connection: Where; empty for all.
    """

    def __init__(self, topic: str, frame: int, what: str, connection: str = "") -> None:
        self.topic = topic
        self.frame = frame
        self.what = what
        self.connection = connection
        self.lines: list[str] = []
        self.left = 0  # frames after the break that are still wanted


def places_in(found: FileFound) -> list[Place]:
    """Return the breaks of a capture, and where checksums began to fail; at most `PLACES_MAX`."""
    places = [
        Place(
            topic.topic,
            one.frame,
            f"expected {one.expected}, got {one.got}, after frame {one.previous}",
            one.connection,
        )
        for topic in found.topics
        for one in topic.breaks
    ]
    places += [
        Place(topic.topic, frame, "the checksum does not agree")
        for topic in found.topics
        for frame in topic.checksums.frames
    ]
    return sorted(places, key=_frame)[:PLACES_MAX]


class Around:
    """Reads the capture again.

    Args:
        inspector: A fresh one.
        places: Which breaks.
        count: How many frames before and after each.
    """

    def __init__(self, inspector: Inspector, places: Iterable[Place], count: int) -> None:
        self._inspector = inspector
        self._places = list(places)
        self._count = min(count, AROUND_MAX)
        self._wanted = {place.topic for place in self._places}
        self._recent: dict[tuple[str, str], deque[str]] = {}
        self._before: dict[tuple[str, str], dict[str, int]] = {}
        self._seen_ns: dict[tuple[str, str], int] = {}

    def feed(self, record: Record) -> None:
        """Take the next record."""
        said = self._inspector.read(record)
        if said is None:
            return
        events = said.events if isinstance(said, Bundle) else said
        names: set[str] = set()
        if isinstance(events, list | tuple):
            names = {event.origin.topic for event in events} & self._wanted
        if CONNECTION in self._wanted:
            names.add(CONNECTION)
        for name in names:
            self._keep(name, record, said)

    def shown(self) -> list[Shown]:
        """Return what was asked for."""
        return [Shown(place.topic, place.frame, place.what, place.lines) for place in self._places]

    def _keep(self, name: str, record: Record, out: Out) -> None:
        key = (record.conn, name)
        now_ns = record.wall_ns or record.mono_ns or 0
        since_ns = now_ns - self._seen_ns.get(key, now_ns)
        self._seen_ns[key] = now_ns
        before = self._before.setdefault(key, {})
        said = said_in_words(out, before)
        lines = [f"{line}" for line in said if name == CONNECTION or line.startswith(name)]
        text = f"{record.number:>8}  {since_ns / 1e9:+9.3f} s  " + f"\n{'':24}".join(lines)
        recent = self._recent.setdefault(key, deque(maxlen=self._count))
        for place in self._places:
            if place.topic != name or place.connection not in ("", record.conn):
                continue
            if place.frame == record.number:
                place.lines = [*(f"  {line}" for line in recent), f"> {text}"]
                place.left = self._count
            elif place.left > 0:
                place.lines.append(f"  {text}")
                place.left -= 1
        recent.append(text)


def _frame(place: Place) -> int:
    return place.frame
