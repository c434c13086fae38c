"""Which line carries which topic, as topics come and go.

A line is one connection's worth of topics.  Every topic is carried once for each redundancy
asked for, on lines of different letters; a letter has as many lines as the venue's limits make
necessary.

What is placed stays where it is, since moving a topic costs messages and a moment with two
subscriptions.  Only a line that carries little, after many topics have gone, is merged into the
others of its letter: its topics are `doubled` first, and it is left once they flow there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gapless.core.subscriptions import shards, topic_bytes

__all__ = ["FULL", "THIN", "Placement"]

THIN: Final = 0.25
"""Share of its limit below which a line is merged into others."""

FULL: Final = 0.75
"""Share of their limit up to which others are filled by it, so that a few more topics do not make
a new line necessary at once."""


class Placement:
    """The topics of each line.

    Args:
        letters: One for each redundancy asked for.
        per_connection: Most topics on one line; `None` if the venue states no limit.
        bytes_per_connection: Most bytes of topic names on one line; `None` for no limit.
        per_address: Most topics on all lines together; `None` for no limit.

    Attributes:
        lines: Topics of each line, in the order placed.
        paths: Path of the endpoint that each line needs, or needed.
        letters: What the lines of each redundancy begin with.
        closed: Lines that get no more topics: they have given up.
    """

    def __init__(
        self,
        letters: Sequence[str],
        per_connection: int | None = None,
        bytes_per_connection: int | None = None,
        per_address: int | None = None,
    ) -> None:
        self.lines: dict[str, list[str]] = {}
        self.paths: dict[str, str] = {}
        self.letters = tuple(letters)
        self._per_connection = per_connection
        self._bytes_per_connection = bytes_per_connection
        self._per_address = per_address
        self.closed: set[str] = set()
        self._leaving: str | None = None  # the line that is being merged into others
        # What follows from `lines`, so that tens of thousands may come and go at once.
        self._lines_of: dict[str, list[str]] = {}
        self._used_bytes: dict[str, int] = {}

    def begin(self, topics: Iterable[str], paths: Mapping[str, str]) -> None:
        """Place the first topics, evenly; ``paths`` holds the path of each."""
        by_path: dict[str, list[str]] = {}
        for topic in topics:
            by_path.setdefault(paths[topic], []).append(topic)
        parts = [
            (path, part)
            for path, served in by_path.items()
            for part in shards(served, self._per_connection, self._bytes_per_connection)
        ]
        for letter in self.letters:
            for index, (path, part) in enumerate(parts, start=1):
                line = letter if len(parts) == 1 else f"{letter}{index}"
                self.lines[line] = list(part)
                self.paths[line] = path

    def place(self, topic: str, path: str) -> list[str]:
        """Place one more topic; return its lines, new ones where the others are full."""
        lines = [self._place(letter, topic, path) for letter in self.letters]
        self._lines_of[topic] = lines
        return list(lines)

    @property
    def full(self) -> bool:
        """Whether no more topics fit on all lines together."""
        if self._per_address is None:
            return False
        held = sum(len(topics) for topics in self.lines.values())
        return held + len(self.letters) > self._per_address

    def remove(self, topic: str) -> list[str]:
        """Forget a topic; return the lines that carried it, which may be empty now."""
        lines = self._lines_of.pop(topic, None)
        if lines is None:  # placed at the beginning
            lines = [line for line, topics in self.lines.items() if topic in topics]
        for line in lines:
            self._take_off(line, topic)
        return lines

    # -- merging ----------------------------------------------------------------------------

    def double(self) -> dict[str, list[str]]:
        """Place the topics of a thin line on others of its letter too, if there is room.

        One line at a time, and never the first of a letter; see `leave`.

        Returns:
            The topics that each of the others gets; none if nothing is worth merging.
        """
        if self._leaving is not None:
            return {}
        for line, topics in sorted(self.lines.items(), key=lambda item: len(item[1])):
            if self._is_thin(line) and (moves := self._moves(line)) is not None:
                self._leaving = line
                for topic, target in moves.items():
                    self._put_on(target, topic)
                    self._lines_of[topic] = [*self._lines_with(topic)]
                return {t: [x for x in topics if moves[x] == t] for t in set(moves.values())}
        return {}

    @property
    def leaving(self) -> str | None:
        """The line whose topics are doubled, or `None`."""
        return self._leaving

    def leave(self) -> str | None:
        """Take the topics off the line that was merged, and return it; it is no line any more."""
        line, self._leaving = self._leaving, None
        if line is None or line not in self.lines:
            return None
        for topic in list(self.lines[line]):
            self._take_off(line, topic)
            self._lines_of[topic] = [*self._lines_with(topic)]
        del self.lines[line]
        return line

    def stay(self) -> dict[str, list[str]]:
        """Give a merger up; return the topics that the others carry no more."""
        line, self._leaving = self._leaving, None
        undone: dict[str, list[str]] = {}
        for topic in self.lines.get(line, ()) if line is not None else ():
            for other in self._lines_with(topic):
                if line is not None and other != line and other[0] == line[0]:
                    self._take_off(other, topic)
                    undone.setdefault(other, []).append(topic)
            self._lines_of[topic] = [*self._lines_with(topic)]
        return undone

    def _is_thin(self, line: str) -> bool:
        first = next(name for name in self.lines if name[0] == line[0])
        limits = (self._per_connection, self._bytes_per_connection)
        return line != first and line not in self.closed and any(limits) and self._fill(line) < THIN

    def _moves(self, line: str) -> dict[str, str] | None:
        """Return where each topic of a line goes, or `None` if they do not all fit elsewhere."""
        topics = self.lines[line]
        if self._per_address is not None:
            held = sum(len(others) for others in self.lines.values())
            if held + len(topics) > self._per_address:
                return None  # for a moment both lines carry them
        moves: dict[str, str] = {}
        for target in self.lines:
            fits = target[0] == line[0] and self.paths[target] == self.paths[line]
            if target == line or not fits or target in self.closed:
                continue
            counts, used_bytes = len(self.lines[target]), self._bytes_of(target)
            for topic in topics:
                size = topic_bytes((topic,))
                if topic in moves or not self._is_within(counts + 1, used_bytes + size, FULL):
                    continue
                moves[topic] = target
                counts, used_bytes = counts + 1, used_bytes + size
        return moves if len(moves) == len(topics) else None

    def _fill(self, line: str) -> float:
        """Return how much of the tighter limit a line uses, from 0 to 1."""
        shares = [0.0]
        if self._per_connection is not None:
            shares.append(len(self.lines[line]) / self._per_connection)
        if self._bytes_per_connection is not None:
            shares.append(self._bytes_of(line) / self._bytes_per_connection)
        return max(shares)

    # -- placing ----------------------------------------------------------------------------

    def _place(self, letter: str, topic: str, path: str) -> str:
        own = [line for line in self.lines if line[0] == letter]
        for line in own:
            shut = line in self.closed or line == self._leaving
            if not shut and self.paths[line] == path and self._has_room(line, topic):
                self._put_on(line, topic)
                return line
        # A name is never given twice: what is told of a line is told of one line.
        numbers = [int(line[1:] or 1) for line in self.paths if line[0] == letter]
        line = letter if not numbers else f"{letter}{max(numbers) + 1}"
        self.lines[line] = [topic]
        self.paths[line] = path
        return line

    def _has_room(self, line: str, topic: str) -> bool:
        limit = self._bytes_per_connection
        used = 0 if limit is None else self._bytes_of(line) + topic_bytes((topic,))
        return self._is_within(len(self.lines[line]) + 1, used, 1.0)

    def _is_within(self, count: int, used_bytes: int, share: float) -> bool:
        """Whether this many topics and bytes are at most a share of the limits."""
        if self._per_connection is not None and count > self._per_connection * share:
            return False
        limit = self._bytes_per_connection
        return limit is None or used_bytes <= limit * share

    def _bytes_of(self, line: str) -> int:
        used = self._used_bytes.get(line)
        if used is None:
            used = self._used_bytes[line] = topic_bytes(self.lines[line])
        return used

    def _put_on(self, line: str, topic: str) -> None:
        self.lines[line].append(topic)
        if line in self._used_bytes:
            self._used_bytes[line] += topic_bytes((topic,))

    def _take_off(self, line: str, topic: str) -> None:
        self.lines[line].remove(topic)
        if line in self._used_bytes:
            self._used_bytes[line] -= topic_bytes((topic,))

    def _lines_with(self, topic: str) -> list[str]:
        return [line for line, topics in self.lines.items() if topic in topics]
