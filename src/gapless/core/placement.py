"""Which line carries which topic, as topics come and go.

A line is one connection's worth of topics.  Every topic is carried once for each redundancy
asked for, on lines of different letters; a letter has as many lines as the venue's limits make
necessary.  What is placed stays where it is: moving a topic would break its stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gapless.core.subscriptions import shards, topic_bytes

__all__ = ["Placement"]


class Placement:
    """The topics of each line.

    Args:
        letters: One for each redundancy asked for.
        per_connection: Most topics on one line; `None` if the venue states no limit.
        bytes_per_connection: Most bytes of topic names on one line; `None` for no limit.

    Attributes:
        lines: Topics of each line, in the order placed.
        paths: Path of the endpoint that each line needs, or needed.
        letters: What the lines of each redundancy begin with.
    """

    def __init__(
        self,
        letters: Sequence[str],
        per_connection: int | None = None,
        bytes_per_connection: int | None = None,
    ) -> None:
        self.lines: dict[str, list[str]] = {}
        self.paths: dict[str, str] = {}
        self.letters = tuple(letters)
        self._per_connection = per_connection
        self._bytes_per_connection = bytes_per_connection
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

    def remove(self, topic: str) -> list[str]:
        """Forget a topic; return the lines that carried it, which may be empty now."""
        lines = self._lines_of.pop(topic, None)
        if lines is None:  # placed at the beginning
            lines = [line for line, topics in self.lines.items() if topic in topics]
        for line in lines:
            self.lines[line].remove(topic)
            if line in self._used_bytes:
                self._used_bytes[line] -= topic_bytes((topic,))
        return lines

    def _place(self, letter: str, topic: str, path: str) -> str:
        own = [line for line in self.lines if line[0] == letter]
        for line in own:
            if self.paths[line] == path and self._has_room(line, topic):
                self.lines[line].append(topic)
                if line in self._used_bytes:
                    self._used_bytes[line] += topic_bytes((topic,))
                return line
        # A name is never given twice: what is told of a line is told of one line.
        numbers = [int(line[1:] or 1) for line in self.paths if line[0] == letter]
        line = letter if not numbers else f"{letter}{max(numbers) + 1}"
        self.lines[line] = [topic]
        self.paths[line] = path
        return line

    def _has_room(self, line: str, topic: str) -> bool:
        topics = self.lines[line]
        if self._per_connection is not None and len(topics) >= self._per_connection:
            return False
        limit = self._bytes_per_connection
        if limit is None:
            return True
        used = self._used_bytes.get(line)
        if used is None:
            used = self._used_bytes[line] = topic_bytes(topics)
        return used + topic_bytes((topic,)) <= limit
