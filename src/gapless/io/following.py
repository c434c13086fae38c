"""What a feed follows now: its streams, which line carries which, and whose silence is planned."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace

from gapless.core.kinds import stream_for
from gapless.core.placement import Placement
from gapless.core.races import Races
from gapless.core.stream import Backfill, Need, Stream, TopicSpec
from gapless.events import Event

__all__ = ["Following", "Retired"]


@dataclass(slots=True)
class Retired:
    """Counters of streams that are followed no more."""

    received: int = 0
    delivered: int = 0
    duplicates: int = 0
    gaps: int = 0
    missing: int = 0
    backfilled: int = 0
    topics: int = 0

    def add(self, stream: Stream) -> None:
        """Keep what a stream has counted."""
        self.received += stream.arrived
        self.delivered += stream.delivered
        self.duplicates += stream.duplicates
        self.gaps += stream.gaps
        self.missing += stream.missing
        self.backfilled += stream.backfilled
        self.topics += 1


@dataclass(slots=True)
class Following:
    """The topics of one feed.

    Args:
        placement: Which line carries which topic.
        aside: Topics of the venue's own news, which the first line of each letter carries too.
        emit: Takes every event for the consumer.
        ask: Takes every need of a stream.
        backfill: What is done about missing trades.

    Attributes:
        specs, streams: By the venue's name of the topic.
        priorities: Of topics that have one other than 0.
        planned: Topics whose silence is planned, and why.
        retired: What the streams counted that are gone.
        races: Which line is first, over all topics.
    """

    placement: Placement
    aside: tuple[str, ...]
    emit: Callable[[Event], None]
    ask: Callable[[Need], None]
    backfill: Backfill = Backfill.OFF
    specs: dict[str, TopicSpec] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    priorities: dict[str, int] = field(default_factory=dict)
    planned: dict[str, str] = field(default_factory=dict)
    retired: Retired = field(default_factory=Retired)
    races: Races = field(default_factory=Races)
    _claims: dict[str, set[Hashable]] = field(default_factory=dict)

    def begin(self, specs: Iterable[TopicSpec]) -> None:
        """Make the streams of topics that are placed already; they stay, whoever lets them go."""
        for given in specs:
            spec = replace(given, backfill=self.backfill) if given.channel == "trades" else given
            self.specs[spec.topic] = spec
            stream = self.streams[spec.topic] = stream_for(spec, self.emit, self.ask)
            stream.races = self.races
            self._claims[spec.topic] = {None}

    def add(
        self, spec: TopicSpec, path: str, priority: int, claimant: Hashable = None
    ) -> list[str]:
        """Follow one more topic; return the lines that must carry it.

        Args:
            spec: The topic.
            path: Of the endpoint that serves it.
            priority: The higher one counts, if several ask for the topic.
            claimant: Who asks, and may let go again; see `release`.
        """
        topic = spec.topic
        if priority > self.priorities.get(topic, 0) or (priority and topic not in self.streams):
            self.priorities[topic] = priority
        if topic in self.streams:
            self._claims[topic].add(claimant)
            return []
        self.begin((spec,))
        self._claims[topic] = {claimant}
        return self.placement.place(topic, path)

    def release(self, topic: str, claimant: Hashable) -> bool:
        """Note that one of those who asked for a topic lets go; return whether it was the last."""
        claims = self._claims.get(topic)
        if claims is None or claimant not in claims:
            return False
        claims.remove(claimant)
        return not claims

    def is_named(self, topic: str) -> bool:
        """Whether a topic is followed by its own name, and not only because a selector picks it."""
        return None in self._claims.get(topic, ())

    def remove(self, topic: str) -> list[str]:
        """Follow a topic no more; return the lines that have nothing left to carry."""
        stream = self.streams.pop(topic, None)
        if stream is None:
            return []
        stream.sources.clear()  # whoever fetches for it sees that nobody wants it
        stream.close()
        self.retired.add(stream)
        del self.specs[topic], self._claims[topic]
        self.planned.pop(topic, None)
        self.priorities.pop(topic, None)
        lines = self.placement.remove(topic)
        empty = [
            line
            for line in lines
            if not self.placement.lines[line] and not self._carries_news(line)
        ]
        for line in empty:
            del self.placement.lines[line]
        return empty

    def topics_of(self, line: str) -> tuple[str, ...]:
        """Return what a session of this line must subscribe, the venue's news first."""
        topics = self.first(self.placement.lines.get(line, ()))
        return (*self.aside, *topics) if self._carries_news(line) else topics

    def first(self, topics: Iterable[str]) -> tuple[str, ...]:
        """Return topics in the order in which they are served: by priority, then as placed."""
        return tuple(sorted(topics, key=lambda topic: -self.priorities.get(topic, 0)))

    def _carries_news(self, line: str) -> bool:
        first = next((name for name in self.placement.lines if name[0] == line[0]), None)
        return bool(self.aside) and line == first

    def watched(self, line: str) -> tuple[str, ...]:
        """Return the topics of a line whose silence would mean something."""
        return tuple(
            topic
            for topic in self.placement.lines.get(line, ())
            if topic in self.streams and topic not in self.planned
        )
