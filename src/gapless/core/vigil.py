"""Judging the silence of whole lines and of single topics, on the tick.

A line as a whole has a fast rhythm and is judged within seconds; a topic that falls silent
while its siblings speak is judged by its own rhythm.  Each finding says which topics it
concerns, and is followed by patience, so that a truly quiet market is not probed for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gapless.core.liveness import FeedPolicy, FeedWatch, Silence
from gapless.core.stream import Stream

__all__ = ["Finding", "LineView", "Vigil"]


@dataclass(frozen=True, slots=True)
class LineView:
    """What can be seen of one live session.

    Attributes:
        frames: Data frames of this session so far.
        data_ns: When the last one arrived, monotonic; 0 if none has.
        heard_ns: When any frame last arrived, a pong included.
        topics: The topics granted to it.
    """

    line: str
    epoch: int
    frames: int
    data_ns: int
    heard_ns: int
    topics: Sequence[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """A silence that should not be.

    Attributes:
        silence: Which kind.
        epoch: Of which session.
        topics: Which topics it concerns.
        whole_line: Whether the whole line is silent.
        cause: In one sentence.
        evidence: What shows it.
    """

    silence: Silence
    epoch: int
    topics: tuple[str, ...]
    whole_line: bool
    cause: str
    evidence: str


@dataclass(slots=True)
class _LineVigil:
    watch: FeedWatch
    epoch: int
    frames: dict[int, int]  # by epoch: while a session is replaced there are two


@dataclass(slots=True)
class _TopicVigil:
    watch: FeedWatch
    epoch: int
    seen: int = 0


class Vigil:
    """Keeps a watch for each line, and one for each topic of each line.

    Bounded by the number of lines and topics.
    """

    __slots__ = ("_crowded", "_lines", "_policy", "_topics")

    def __init__(self, policy: FeedPolicy) -> None:
        self._policy = policy
        self._lines: dict[str, _LineVigil] = {}
        self._topics: dict[tuple[str, str], _TopicVigil] = {}
        self._crowded: set[str] = set()  # lines that carry a crowd

    def look(self, view: LineView, streams: Mapping[str, Stream], now_ns: int) -> list[Finding]:
        """Learn from what has arrived on a session, and return what is wrong."""
        line = self._line(view, now_ns)
        if len(view.topics) > self._policy.crowd:
            self._crowded.add(view.line)
        else:
            self._crowded.discard(view.line)
        fresh = view.frames - line.frames.get(view.epoch, 0)
        line.frames[view.epoch] = view.frames
        if view.data_ns:
            line.watch.sample(fresh, view.data_ns)
        findings = self._look_at_topics(view, streams, now_ns)
        silence = line.watch.judge(now_ns, view.heard_ns)
        if silence is Silence.NONE:
            return findings
        line.watch.acted(now_ns)
        found = {topic for finding in findings for topic in finding.topics}
        for topic in view.topics:  # one alarm is enough
            if topic not in found:
                self._topics[view.line, topic].watch.acted(now_ns)
        return [self._finding(silence, view, tuple(view.topics), line.watch, now_ns, whole=True)]

    def forgive(self, now_ns: int) -> None:
        """Count every silence from now: we were asleep ourselves."""
        for line in self._lines.values():
            line.watch.arm(now_ns)
        for topic in self._topics.values():
            topic.watch.arm(now_ns)

    def limit_ns(self, line: str, topic: str) -> int | None:
        """Return how long this topic may be silent, or `None` if nothing is known of it."""
        vigil = self._topics.get((line, topic))
        if vigil is None or not vigil.watch.has_rhythm:
            return None
        if line in self._crowded and not self._tells(vigil.watch):
            return None
        return vigil.watch.limit_ns

    def _look_at_topics(
        self, view: LineView, streams: Mapping[str, Stream], now_ns: int
    ) -> list[Finding]:
        silent: dict[Silence, list[str]] = {}
        for topic in view.topics:
            stream = streams[topic]
            vigil = self._topic(view, topic, now_ns)
            seen = stream.arrived
            fresh, vigil.seen = seen - vigil.seen, seen
            last_ns = stream.last_seen_ns(view.epoch)
            if last_ns is not None:
                vigil.watch.sample(-(-fresh // max(1, len(stream.sources))), last_ns)
            silence = vigil.watch.judge(now_ns, view.heard_ns)
            greeted = last_ns is not None and stream.spec.speaks_on_subscribe
            if silence is Silence.UNPROVEN and greeted:
                continue  # the venue's greeting shows that the subscription works
            if view.line in self._crowded and not self._tells(vigil.watch):
                continue
            if silence is not Silence.NONE:
                silent.setdefault(silence, []).append(topic)
        findings = []
        for silence, topics in silent.items():
            watch = self._topics[view.line, topics[0]].watch
            findings.append(self._finding(silence, view, tuple(topics), watch, now_ns, whole=False))
            for topic in topics:
                self._topics[view.line, topic].watch.acted(now_ns)
        return findings

    def _tells(self, watch: FeedWatch) -> bool:
        """Whether a silence is news even where most topics are quiet most of the time."""
        return watch.has_rhythm and watch.limit_ns <= self._policy.crowd_limit_ns

    def forget(self, topic: str) -> None:
        """Drop what was learned of a topic that is not followed any more."""
        for line in self._lines:
            self._topics.pop((line, topic), None)

    def _finding(
        self,
        silence: Silence,
        view: LineView,
        topics: tuple[str, ...],
        watch: FeedWatch,
        now_ns: int,
        *,
        whole: bool,
    ) -> Finding:
        what = "the line" if whole else f"part of the line ({len(topics)} of {len(view.topics)})"
        cause = (
            f"{what} has not proven itself yet"
            if silence is Silence.UNPROVEN
            else f"{what} fell silent while the connection answers"
        )
        heard_s = (now_ns - view.heard_ns) / 1e9
        evidence = (
            f"no data for {watch.silent_ns(now_ns) / 1e9:.1f} s, last frame {heard_s:.1f} s ago"
        )
        return Finding(silence, view.epoch, topics, whole, cause, evidence)

    def _line(self, view: LineView, now_ns: int) -> _LineVigil:
        line = self._lines.get(view.line)
        if line is None:
            line = _LineVigil(FeedWatch(self._policy, now_ns), view.epoch, {})
            self._lines[view.line] = line
        if line.epoch != view.epoch:
            line.epoch = view.epoch
            line.frames = dict(sorted(line.frames.items())[-2:])
            line.watch.arm(now_ns)
        return line

    def _topic(self, view: LineView, topic: str, now_ns: int) -> _TopicVigil:
        key = (view.line, topic)
        vigil = self._topics.get(key)
        if vigil is None:
            vigil = self._topics[key] = _TopicVigil(FeedWatch(self._policy, now_ns), view.epoch)
        if vigil.epoch != view.epoch:
            vigil.epoch = view.epoch
            vigil.watch.arm(now_ns)
        return vigil
