"""What was found in a capture, as it is written to JSON: the keys stand in their order."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from gapless.errors import printable
from gapless.inspection.inspector import Inspector
from gapless.inspection.numbers import Break, Leg
from gapless.inspection.requests import Refused
from gapless.inspection.topics import Topic

__all__ = [
    "CONNECTION",
    "SILENCES",
    "BookFound",
    "Books",
    "ChecksumSums",
    "Checksums",
    "Damage",
    "Dropped",
    "FileFound",
    "Frames",
    "Removed",
    "RequestsFound",
    "Shown",
    "Silence",
    "TopicFound",
    "Totals",
    "Undecoded",
    "report",
    "total",
]

CONNECTION: Final = "connection"
"""Topic and channel under which the numbers of whole connections are reported."""

SILENCES: Final = 10
"""Longest silences that are listed."""


class Frames(Struct):
    """How much was read: frames that came, frames that were sent, REST replies."""

    incoming: int = msgspec.field(name="in", default=0)
    out: int = 0
    rest: int = 0


class Checksums(Struct):
    """Checksums compared, and those that did not agree.

    Attributes:
        frames: The first frame of each run of failures.
    """

    checked: int = 0
    failed: int = 0
    frames: tuple[int, ...] = ()


class ChecksumSums(Struct):
    """Checksums compared, and those that did not agree."""

    checked: int = 0
    failed: int = 0


class BookFound(Struct):
    """How a book ended.

    Attributes:
        state: ``synced``, ``broken``, or ``syncing`` if there never was a whole one.
        levels: Price levels of both sides.
        crossed: Frames after which the best bid was not below the best ask.
        broken: How often it broke.
        last: The number up to which it is proven, or `None`.
    """

    state: str
    levels: int
    crossed: int
    broken: int
    last: int | None


class TopicFound(Struct):
    """One topic; see `gapless.inspection.topics.Topic` and `gapless.inspection.numbers.Leg`.

    Attributes:
        book: `None` for what is not a book.
        broken: How many breaks there were; ``breaks`` lists the first of them.
        rate: Frames a second, from the first to the last; `None` for fewer than two.
        silence_s: Longest time between two frames.
        silence_frame: The frame that ended it.
        refused: Whether the venue refused to send it.
        venue: Which, where a capture holds several.
    """

    topic: str
    channel: str
    symbol: str
    frames: int
    checked: int
    breaks: list[Break]
    duplicates: int
    out_of_order: int
    checksums: Checksums
    book: BookFound | None
    numbering: str
    broken: int
    rate: float | None
    silence_s: float
    silence_frame: int
    crossed_frame: int | None = None
    refused: bool = False
    venue: str = ""

    @property
    def wrong(self) -> int:
        """How many findings there are; a book that broke for none of the others is one."""
        book = self.book
        found = self.broken + self.checksums.failed
        return found or int(book is not None and (book.broken > 0 or book.state == "broken"))


class Books(Struct):
    """Books by how they ended, and how often any was crossed."""

    synced: int = 0
    syncing: int = 0
    broken: int = 0
    levels: int = 0
    crossed: int = 0


class Totals(Struct):
    """The sums over all topics, and over all files."""

    frames: Frames = msgspec.field(default_factory=Frames)
    undecoded: int = 0
    topics: int = 0
    checked: int = 0
    breaks: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    checksums: ChecksumSums = msgspec.field(default_factory=ChecksumSums)
    book: Books = msgspec.field(default_factory=Books)
    refused: int = 0
    findings: int = 0
    damaged: int = 0


class Undecoded(Struct):
    """Frames that no channel of the profile explains; see `Stranger`."""

    what: str
    count: int
    frame: int
    example: str


class Silence(Struct):
    """One of the longest silences."""

    topic: str
    seconds: float
    frame: int


class RequestsFound(Struct):
    """What was asked for and answered; times in milliseconds, `None` without an answer."""

    sent: int
    answered: int
    unanswered: int
    ack_ms_least: float | None
    ack_ms_mean: float | None
    ack_ms_most: float | None
    refusals: int
    refused: list[Refused]


class Damage(Struct):
    """Where a capture could not be read on, and why."""

    place: str
    detail: str


class Dropped(Struct):
    """One frame that was left out on purpose, and the topics that it would have brought."""

    frame: int
    topics: tuple[str, ...]


class Removed(Struct):
    """What the drop test left out."""

    seed: int
    frames: list[Dropped]


class Shown(Struct):
    """One break, and the frames about it as lines of text."""

    topic: str
    frame: int
    what: str
    lines: list[str]


class FileFound(Struct):
    """Everything that was found in one capture.

    Attributes:
        around: Frames about breaks, where they were asked for.
        explained: What was said of one frame, where that was asked for.
        undecoded: How many frames could not be decoded; ``undecoded_channels`` tells them apart.
        span_s: Time from the first record to the last.
    """

    file: str
    venue: str
    frames: Frames
    undecoded: int
    topics: list[TopicFound]
    totals: Totals
    undecoded_channels: list[Undecoded]
    span_s: float
    connections: int
    silences: list[Silence]
    requests: RequestsFound
    damaged: Damage | None = None
    dropped: Removed | None = None
    around: list[Shown] | None = None
    explained: list[str] | None = None


def report(
    inspector: Inspector,
    file: str,
    *,
    topic: str | None = None,
    damaged: Damage | None = None,
    dropped: Removed | None = None,
) -> FileFound:
    """Return what was found; its totals are those of the topics that it lists.

    Args:
        inspector: What read the capture.
        file: Its name.
        topic: Only topics with this in their name.
        damaged: Where it could not be read on.
        dropped: What was left out.
    """
    topics = []
    counted = inspector.counted()
    if counted is not None:
        topics.append(_connection(counted, inspector.numbered))
    topics += [_topic(one) for one in inspector.topics.values()]
    if topic is not None:
        topics = [one for one in topics if topic in one.topic]
    found = FileFound(
        printable(file),
        "+".join(inspector.venues),
        Frames(inspector.incoming, inspector.outgoing, inspector.rest),
        inspector.undecoded,
        topics,
        Totals(),
        [Undecoded(s.what, s.count, s.frame, s.example) for s in inspector.strangers.values()],
        0.0 if inspector.first_ns is None else (inspector.last_ns - inspector.first_ns) / 1e9,
        inspector.dials,
        [
            Silence(printable(one.spec.topic), one.silence_ns / 1e9, one.silence_frame)
            for one in inspector.silences(SILENCES)
            if one.silence_ns
        ],
        _requests(inspector),
        damaged,
        dropped,
    )
    found.totals = _sums(found)
    return found


def total(found: list[FileFound]) -> Totals:
    """Return the sums over several files."""
    sums = Totals()
    for one in found:
        _add(sums, one.totals)
    return sums


def _topic(topic: Topic) -> TopicFound:
    sums = topic.sums()
    checked, failed = topic.checksums()
    took_ns = 0 if topic.first_ns is None else topic.last_ns - topic.first_ns
    return TopicFound(
        printable(topic.spec.topic),
        topic.spec.channel,
        printable(topic.spec.symbol),
        topic.frames,
        sums.checked,
        sums.breaks,
        sums.duplicates,
        sums.out_of_order,
        Checksums(checked, failed, tuple(topic.failures)),
        _book(topic),
        topic.spec.numbering.value,
        sums.broken,
        (topic.frames - 1) / took_ns * 1e9 if took_ns > 0 else None,
        topic.silence_ns / 1e9,
        topic.silence_frame,
        topic.crossed_frame,
        topic.refused,
        topic.spec.venue,
    )


def _book(topic: Topic) -> BookFound | None:
    if topic.book is None:
        return None
    newest = topic.book.newest
    last = None if newest is None else newest.last
    levels = len(topic.book.book)
    return BookFound(topic.state, levels, topic.crossed, topic.broken, last)


def _connection(counted: Leg, frames: int) -> TopicFound:
    return TopicFound(
        CONNECTION,
        CONNECTION,
        "",
        frames,
        counted.checked,
        counted.breaks,
        counted.duplicates,
        counted.out_of_order,
        Checksums(),
        None,
        "dense",
        counted.broken,
        None,
        0.0,
        0,
    )


def _requests(inspector: Inspector) -> RequestsFound:
    requests = inspector.requests
    times = requests.times
    some = times.count > 0
    return RequestsFound(
        requests.sent,
        times.count,
        requests.unanswered,
        times.least_ns / 1e6 if some else None,
        times.total_ns / times.count / 1e6 if some else None,
        times.most_ns / 1e6 if some else None,
        requests.refusals,
        requests.refused,
    )


def _sums(found: FileFound) -> Totals:
    sums = Totals(
        frames=found.frames,
        undecoded=found.undecoded,
        topics=len(found.topics),
        refused=found.requests.refusals,
        damaged=int(found.damaged is not None),
    )
    for one in found.topics:
        sums.checked += one.checked
        sums.breaks += one.broken
        sums.duplicates += one.duplicates
        sums.out_of_order += one.out_of_order
        sums.checksums.checked += one.checksums.checked
        sums.checksums.failed += one.checksums.failed
        sums.findings += one.wrong
        book = one.book
        if book is not None:
            sums.book.synced += book.state == "synced"
            sums.book.syncing += book.state == "syncing"
            sums.book.broken += book.state == "broken"
            sums.book.levels += book.levels
            sums.book.crossed += book.crossed
    return sums


def _add(sums: Totals, one: Totals) -> None:
    """Add sums field by field, whatever they consist of."""
    for name in Totals.__struct_fields__:
        mine, other = getattr(sums, name), getattr(one, name)
        if isinstance(mine, int):
            setattr(sums, name, mine + other)
            continue
        for inner in mine.__struct_fields__:
            value = getattr(mine, inner)
            if isinstance(value, int):
                setattr(mine, inner, value + getattr(other, inner))
