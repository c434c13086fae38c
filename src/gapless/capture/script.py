"""A capture as something that can be played: connections, and answers to requests.

Everything is held in memory, in the order recorded.  What was recorded by us names its
connections' ends and addresses; of foreign captures the first frame of a connection is its start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

from gapless.capture.reader import open_capture
from gapless.capture.records import Record

__all__ = ["Answer", "Answers", "Connection", "Line", "Script", "load_script", "make_script"]

_VERSION: Final = re.compile(r"v\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a connection.

    Attributes:
        number: Where it stands in the capture.
        at_ns: When, after the start of the capture.
        inbound: Whether the venue sent it.
        text: The frame.
    """

    number: int
    at_ns: int
    inbound: bool
    text: str


@dataclass(slots=True)
class Connection:
    """One recorded connection.

    Attributes:
        name: As recorded.
        path: Path of what was dialled; empty where the capture does not say.
        at_ns: When it was opened, after the start of the capture.
        lines: Its messages, in order.
        ended_ns: When it ended; `None` if the capture ended first.
        reason: Why.
    """

    name: str
    path: str
    at_ns: int
    lines: list[Line] = field(default_factory=list)
    ended_ns: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One recorded HTTP answer.

    Attributes:
        at_ns: When, after the start of the capture.
        path: Path that was asked; empty where the capture does not say.
        query: Parameters that were asked with.
        request: What was sent with POST, or `None`.
        status: HTTP status.
        body: The answer.
    """

    at_ns: int
    path: str
    query: dict[str, str]
    request: str | None
    status: int
    body: str


class Answers:
    """Recorded HTTP answers, found by what is asked.

    Args:
        answers: In the order recorded.
    """

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.all = list(answers)
        # Position of the newest that was given, by what was asked.
        self._newest: dict[tuple[str, tuple[tuple[str, str], ...], str | None], int] = {}

    def find(
        self, path: str, query: dict[str, str], request: str | None, now_ns: int
    ) -> Answer | None:
        """Return the answer that was recorded nearest in time, none earlier than the last one.

        An answer fits if its path is the one asked, and no parameter says anything else.  Versions
        in a path differ over the years, and numbers between clients: how much is asked for.

        Args:
            path: What is asked.
            query: With which parameters.
            request: What is sent with POST, or `None`.
            now_ns: Time after the start of the capture.
        """
        key = (path, tuple(sorted(query.items())), request)
        least = self._newest.get(key, 0)
        fitting = [
            (abs(answer.at_ns - now_ns), position)
            for position, answer in enumerate(self.all)
            if position >= least and _fits(answer, path, query, request)
        ]
        if not fitting:
            fitting = [(0, position) for position in self._unnamed(least)]
        if not fitting:
            return None
        position = min(fitting)[1]
        self._newest[key] = position
        return self.all[position]

    def _unnamed(self, least: int) -> list[int]:
        """Return the answers that say nothing of what was asked, where there is no doubt."""
        unnamed = [position for position, answer in enumerate(self.all) if not answer.path]
        return unnamed if len(unnamed) == 1 and unnamed[0] >= least else []


@dataclass(slots=True)
class Script:
    """A whole capture.

    Attributes:
        connections: In the order they were opened.
        answers: To HTTP requests.
        ours: Whether it was recorded by us: connections have ends, and requests are all there.
        start_mono_ns, start_wall_ns: When it begins, by both clocks, as far as it says.
        length_ns: From the start to the last record.
        records: How many it has.
    """

    connections: list[Connection]
    answers: Answers
    ours: bool
    start_mono_ns: int | None
    start_wall_ns: int | None
    length_ns: int
    records: int


def load_script(path: str | Path) -> Script:
    """Read a capture.

    Raises:
        CaptureDamaged: It cannot be read to its end.
    """
    return make_script(open_capture(path))


def make_script(records: Iterable[Record]) -> Script:
    """Return records as a script."""
    building = _Building()
    for record in records:
        building.take(record)
    return building.script()


Base = Literal["mono", "wall"]


class _Building:
    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._answers: list[Answer] = []
        self._start_mono_ns: int | None = None
        self._start_wall_ns: int | None = None
        self._base: Base | None = None
        self._base_ns = 0
        self._now_ns = 0
        self._ends = False
        self._count = 0

    def take(self, record: Record) -> None:
        self._count += 1
        at_ns = self._when(record)
        match record.kind:
            case "rest":
                self._answers.append(_answer(record, at_ns))
            case "open":
                path = urlsplit(record.url or "").path
                self._connections.setdefault(record.conn, Connection(record.conn, path, at_ns))
            case "close":
                self._ends = True
                connection = self._connections.get(record.conn)
                if connection is not None:
                    connection.ended_ns, connection.reason = at_ns, record.text
            case "in" | "out":
                connection = self._connections.setdefault(
                    record.conn, Connection(record.conn, "", at_ns)
                )
                if record.text:  # a binary message is not played: no dialect has them
                    line = Line(record.number, at_ns, record.kind == "in", record.text)
                    connection.lines.append(line)
            case "meta":
                self._ends = self._ends or record.conn == "recorder"

    def script(self) -> Script:
        return Script(
            [found for found in self._connections.values() if found.lines or found.path],
            Answers(self._answers),
            self._ends,
            self._start_mono_ns,
            self._start_wall_ns,
            self._now_ns,
            self._count,
        )

    def _when(self, record: Record) -> int:
        """Return the time of a record; it never goes back, and one without is with the last."""
        if self._start_mono_ns is None:
            self._start_mono_ns = record.mono_ns
        if self._start_wall_ns is None:
            self._start_wall_ns = record.wall_ns
        ns = record.mono_ns if self._base != "wall" and record.mono_ns is not None else None
        if ns is None and self._base != "mono":
            ns = record.wall_ns
        if ns is not None:
            if self._base is None:
                self._base = "mono" if record.mono_ns is not None else "wall"
                self._base_ns = ns
            self._now_ns = max(self._now_ns, ns - self._base_ns)
        return self._now_ns


def _answer(record: Record, at_ns: int) -> Answer:
    parts = urlsplit(record.url or "")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    status = 200 if record.status is None else record.status
    return Answer(at_ns, parts.path, query, record.request, status, record.text)


def _fits(answer: Answer, path: str, query: dict[str, str], request: str | None) -> bool:
    if not answer.path or _parts(answer.path) != _parts(path):
        return False
    if request is not None or answer.request is not None:
        return request == answer.request
    return all(
        query[name] == value or (query[name].isdigit() and value.isdigit())
        for name, value in answer.query.items()
        if name in query
    )


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part and not _VERSION.fullmatch(part)]
