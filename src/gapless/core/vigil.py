"""Judging the silence of whole lines and of single topics, and what is wrong with what they say.

A line as a whole has a fast rhythm and is judged within a second or so; a topic that falls silent
while its line speaks is judged by its own rhythm.  Where another line brings the topic and this
one does not, a few messages are evidence enough.  Nobody is judged before the path has proven
itself after the silence began: a session in doubt is to be pinged at once, see `Vigil.doubts`.

Each finding says which topics it concerns, and is followed by patience, so that a truly quiet
market is not probed for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gapless.core.frozen import FreezePolicy, FrozenWatch
from gapless.core.images import ImageStream
from gapless.core.lateness import Baseline, LateWatch
from gapless.core.liveness import FeedPolicy, FeedWatch, Silence
from gapless.core.rhythm import Rhythm
from gapless.core.stream import Stream, Trust

__all__ = ["LINE_KNOWN_NS", "Finding", "LineView", "State", "Vigil", "is_news"]

LINE_KNOWN_NS: Final = 10_000_000_000
"""See `RhythmPolicy.known_ns`: of a whole line, which speaks of many things, less is enough."""

PROBES: Final = 4
QUIET_NS: Final = 5_000_000_000
"""How long a topic whose silence proves nothing is not looked at again, in nanoseconds."""

PROBES_WHERE_IT_WORKS: Final = 16
"""How much rarer each further probe of an unproven topic is, where the session works."""


@dataclass(frozen=True, slots=True)
class LineView:
    """What can be seen of one live session.

    Attributes:
        frames: Data frames of this session so far.
        data_ns: When the last one arrived, monotonic; 0 if none has.
        heard_ns: When any frame last arrived, a pong included.
        topics: The topics granted to it.
        proven_ns: When the ping was sent whose answer came last, or `None`.
        path: What the kernel says of the connection, as evidence; empty if nothing.
        sick: Whether it says that what we send is not acknowledged.
        elsewhere: How many other endpoints there are to go to.
    """

    line: str
    epoch: int
    frames: int
    data_ns: int
    heard_ns: int
    topics: Sequence[str]
    proven_ns: int | None = None
    path: str = ""
    sick: bool = False
    elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should not be.

    Attributes:
        silence: Which kind.
        epoch: Of which session.
        topics: Which topics it concerns.
        whole_line: Whether it is the whole line.
        cause: In one sentence.
        evidence: What shows it.
        replace: Whether the session should be replaced.
    """

    silence: Silence
    epoch: int
    topics: tuple[str, ...]
    whole_line: bool
    cause: str
    evidence: str
    replace: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """How far a topic on one line is to be trusted.

    Attributes:
        trust: ``live``, ``slow``, ``stale`` or ``frozen``.
        since_ns: Since when, monotonic.
        because: Why, in a few words.
        evidence: What shows it.
    """

    trust: Trust
    since_ns: int
    because: str = ""
    evidence: str = ""


@dataclass(slots=True)
class _LineVigil:
    watch: FeedWatch
    epoch: int
    frames: dict[int, int]  # by epoch: while a session is replaced there are two
    late: LateWatch = field(default_factory=LateWatch)
    raced: tuple[int, int] = (0, 0)  # races lost so far, and by how much


@dataclass(slots=True)
class _TopicVigil:
    watch: FeedWatch
    epoch: int
    seen: int = 0  # messages from all lines when last looked at
    missed_from: int = 0  # how many they were when this line last brought one
    missed_since_ns: int | None = None  # since when others bring what this one does not
    quiet_until_ns: int = 0  # until then there is nothing to see unless something comes


@dataclass(slots=True)
class _Said:
    """What is followed of a topic whoever brings it."""

    base: Baseline = field(default_factory=Baseline)
    frozen: FrozenWatch = field(default_factory=lambda: FrozenWatch(FreezePolicy()))
    is_frozen: bool = False
    seen: int = 0


class Vigil:
    """Keeps a watch for each line, and one for each topic of each line.

    Bounded by the number of lines and topics.

    Attributes:
        doubts: Sessions whose silence would be an alarm if the path is shown to work.
        due_ns: When the next silence of a whole line will have to be looked at, if it goes on;
            `None` if nothing is silent.
    """

    __slots__ = (
        "_crowded",
        "_line_policy",
        "_lines",
        "_policy",
        "_said",
        "_topics",
        "doubts",
        "due_ns",
    )

    def __init__(self, policy: FeedPolicy) -> None:
        self._policy = policy
        self._line_policy = replace(policy, known_ns=min(policy.known_ns, LINE_KNOWN_NS))
        self._lines: dict[str, _LineVigil] = {}
        self._topics: dict[tuple[str, str], _TopicVigil] = {}
        self._said: dict[str, _Said] = {}
        self._crowded: set[str] = set()  # lines that carry a crowd
        self.doubts: set[int] = set()
        self.due_ns: int | None = None

    # -- what is asked on the tick ------------------------------------------------------------

    def begin(self) -> None:
        """Begin a round of `look`, one for each session."""
        self.due_ns = None

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
        findings = self._look_at_topics(view, line, streams, now_ns)
        if any(f.whole_line and f.silence is Silence.STALLED for f in findings):
            line.watch.acted(now_ns, PROBES)
            return findings  # what another line brings meanwhile is the better evidence
        silence = self._judge_line(view, line, streams, now_ns)
        if silence is Silence.NONE:
            return findings
        line.watch.acted(now_ns, PROBES)
        found = {topic for finding in findings for topic in finding.topics}
        for topic in view.topics:  # one alarm is enough
            if topic not in found:
                self._topics[view.line, topic].watch.acted(now_ns)
        return [self._finding(silence, view, tuple(view.topics), line.watch, now_ns, whole=True)]

    def forgive(self, now_ns: int) -> None:
        """Count every silence from now: we were asleep ourselves."""
        for line in self._lines.values():
            line.watch.arm(now_ns)
            line.late.forgive(now_ns)
        for topic in self._topics.values():
            topic.watch.arm(now_ns)
            topic.missed_since_ns = None

    def forget(self, topic: str) -> None:
        """Drop what was learned of a topic that is not followed any more."""
        for line in self._lines:
            self._topics.pop((line, topic), None)
        self._said.pop(topic, None)

    # -- what is asked at any time -------------------------------------------------------------

    def limit_ns(self, line: str, topic: str) -> int | None:
        """Return how long this topic may be silent, or `None` if nothing is known of it."""
        vigil = self._topics.get((line, topic))
        return (
            None if vigil is None or not self._judged(line, vigil.watch) else vigil.watch.limit_ns
        )

    def least_ns(self, topic: str) -> int | None:
        """Return the smallest difference between receiving and event time of a topic lately."""
        said = self._said.get(topic)
        return None if said is None else said.base.least_ns

    def state(self, line: str, topic: str, seen_ns: int, now_ns: int) -> State | None:
        """Return how far a topic on a line is to be trusted, as far as its rhythm tells.

        `None` if the line does not carry it.

        Args:
            line: Of which line.
            topic: Which.
            seen_ns: When the topic was last seen on any line, monotonic; 0 for never.
            now_ns: Now.
        """
        vigil = self._topics.get((line, topic))
        if vigil is None:
            return None
        said, late = self._said.get(topic), self._lines[line].late
        if said is not None and said.is_frozen:
            evidence = _alike(said.frozen, now_ns)
            return State(
                Trust.FROZEN, said.frozen.since_ns, "messages come, and say the same", evidence
            )
        watch, rhythm = vigil.watch, vigil.watch.rhythm
        since_ns = max(watch.since_ns, seen_ns)
        if self._judged(line, watch) and now_ns - since_ns > rhythm.stale_ns:
            return State(
                Trust.STALE,
                since_ns + rhythm.stale_ns,
                f"no data for {_s(now_ns - max(seen_ns, now_ns - watch.silent_ns(now_ns)))}",
                _habit(rhythm),
            )
        if (late_since_ns := late.since_ns) is not None:
            return State(Trust.SLOW, late_since_ns, "the line brings its data late", _older(late))
        return State(Trust.LIVE, 0)

    # -- topics ---------------------------------------------------------------------------------

    def _look_at_topics(
        self, view: LineView, line: _LineVigil, streams: Mapping[str, Stream], now_ns: int
    ) -> list[Finding]:
        silent: dict[Silence, list[str]] = {}
        missed: list[str] = []
        findings: list[Finding] = []
        growth_ns: int | None = None
        messages = 0
        for topic in view.topics:
            stream = streams[topic]
            vigil = self._topic(view, topic, stream, now_ns)
            watch = vigil.watch
            seen = stream.arrived
            if seen == vigil.seen and now_ns < vigil.quiet_until_ns:
                continue  # most strikes of a chain, most of the time
            vigil.quiet_until_ns = 0
            last_ns = stream.last_seen_ns(view.epoch)
            fresh, vigil.seen = seen - vigil.seen, seen
            if fresh > 0:
                sources = max(1, len(stream.sources))
                came = last_ns is not None and watch.sample(-(-fresh // sources), last_ns)
                if came:
                    vigil.missed_from, vigil.missed_since_ns = seen, None
                elif sources > 1 and vigil.missed_since_ns is None:
                    newest = stream.newest
                    if newest is None or newest.origin.epoch != view.epoch:
                        vigil.missed_since_ns = now_ns
                    else:  # others bring again what this one has brought first
                        vigil.missed_from = seen
                newest = stream.newest
                if newest is not None:
                    said = self._said.get(topic)
                    if said is None:
                        said = self._said[topic] = _Said()
                    if newest.event_ns is not None and newest.origin.epoch == view.epoch and came:
                        grown_ns = said.base.growth_ns(newest.mono_ns, newest.event_ns)
                        growth_ns = grown_ns if growth_ns is None else min(growth_ns, grown_ns)
                        messages += fresh
                    if seen != said.seen:
                        news = seen - said.seen
                        said.seen = seen
                        was, said.is_frozen = (
                            said.is_frozen,
                            said.frozen.look(newest, -(-news // sources), now_ns),
                        )
                        if said.is_frozen and not was:
                            findings.append(self._frozen(view, topic, said, streams, now_ns))
            if vigil.missed_since_ns is not None and self._misses(view, line, vigil, now_ns):
                missed.append(topic)
                continue
            if vigil.missed_since_ns is None:
                vigil.quiet_until_ns = watch.quiet_until_ns(now_ns + QUIET_NS)
            # A topic that is silent because its line is must not be blamed before the line.
            silence = watch.judge(now_ns, view.data_ns, view.proven_ns, sick=view.sick)
            if silence is Silence.NONE:
                if watch.overdue(now_ns) and self._judged(view.line, watch):
                    self.doubts.add(view.epoch)
                continue
            greeted = last_ns is not None and stream.spec.speaks_on_subscribe
            if silence is Silence.UNPROVEN and greeted:
                vigil.quiet_until_ns = now_ns + QUIET_NS
                continue  # the venue's greeting shows that the subscription works
            if view.line in self._crowded and not self._judged(view.line, watch):
                vigil.quiet_until_ns = now_ns + QUIET_NS
                continue
            alone = silence is Silence.STALLED and len(view.topics) > 1
            if alone and view.data_ns - watch.since_ns < watch.limit_ns // 2:
                continue  # the whole line is silent: its own watch will say so
            silent.setdefault(silence, []).append(topic)
        for silence, topics in silent.items():
            watch = self._topics[view.line, topics[0]].watch
            findings.append(self._finding(silence, view, tuple(topics), watch, now_ns, whole=False))
        if missed:
            findings.append(self._missing(view, missed, streams, now_ns))
        works = bool(view.data_ns and view.proven_ns)
        for finding in findings:
            for topic in finding.topics:
                if finding.silence in {Silence.STALLED, Silence.UNPROVEN}:
                    vigil = self._topics[view.line, topic]
                    vigil.watch.acted(now_ns, PROBES_WHERE_IT_WORKS if works else PROBES)
                    vigil.missed_since_ns = None
                    vigil.missed_from = vigil.seen
        findings += self._look_at_age(view, line, streams, growth_ns, messages, now_ns)
        return findings

    def _misses(self, view: LineView, line: _LineVigil, vigil: _TopicVigil, now_ns: int) -> bool:
        """Whether other lines bring what this one does not, though its path works."""
        policy, since_ns = self._policy, vigil.missed_since_ns
        if since_ns is None or line.late.since_ns is not None:
            return False
        if vigil.seen - vigil.missed_from < policy.missed:
            return False
        wait_ns = policy.missed_ns * vigil.watch.patience
        if now_ns - since_ns < wait_ns:
            return False
        rhythm = vigil.watch.rhythm
        if rhythm.count and rhythm.phi(now_ns - vigil.watch.since_ns) < 2:
            return False  # it may be silent for so long; the others brought a burst
        self.doubts.add(view.epoch)
        return view.proven_ns is not None and view.proven_ns - since_ns >= wait_ns

    def _judged(self, line: str, watch: FeedWatch) -> bool:
        return is_news(watch, self._policy, crowd=line in self._crowded)

    # -- lines ------------------------------------------------------------------------------------

    def _judge_line(
        self, view: LineView, line: _LineVigil, streams: Mapping[str, Stream], now_ns: int
    ) -> Silence:
        watch = line.watch
        silence = watch.judge(now_ns, view.heard_ns, view.proven_ns, sick=view.sick)
        if silence is Silence.UNPROVEN and self._greeted(view, streams):
            return Silence.NONE
        if watch.has_rhythm:
            silent_ns = now_ns - watch.since_ns
            if watch.rhythm.tells and silent_ns >= watch.rhythm.stale_ns:
                self.doubts.add(view.epoch)
            due_ns = watch.due_ns(now_ns)
            if due_ns is not None:
                self.due_ns = due_ns if self.due_ns is None else min(self.due_ns, due_ns)
        return silence

    def _greeted(self, view: LineView, streams: Mapping[str, Stream]) -> bool:
        """Whether every topic that greets has done so on this very session."""
        if not view.data_ns or view.proven_ns is None:
            return False
        greeting = [t for t in view.topics if streams[t].spec.speaks_on_subscribe]
        return bool(greeting) and all(
            streams[topic].last_seen_ns(view.epoch) is not None for topic in greeting
        )

    def _look_at_age(
        self,
        view: LineView,
        line: _LineVigil,
        streams: Mapping[str, Stream],
        growth_ns: int | None,
        messages: int,
        now_ns: int,
    ) -> list[Finding]:
        races = next((streams[topic].races for topic in view.topics), None)
        race = None if races is None else races.lines.get(view.line)
        if race is not None:
            losses, late_ns = race.losses - line.raced[0], race.late_ns - line.raced[1]
            line.raced = race.losses, race.late_ns
            if losses > 0 and losses >= messages:  # others were first: so much behind them
                growth_ns, messages = max(growth_ns or 0, late_ns // losses), losses + messages
        late = line.late
        began = late.look(growth_ns, messages, now_ns)
        evidence = _older(late)
        if view.path:
            evidence += f"; {view.path}"
        if began:
            cause = "the line brings its data late"
            topics = tuple(view.topics)
            return [Finding(Silence.SLOW, view.epoch, topics, True, cause, evidence, False)]
        if late.since_ns is None or not (view.elsewhere or self._another_is_better(view, late)):
            return []
        if not late.long(now_ns):
            return []
        cause = f"the line has been late for {_s(now_ns - late.since_ns)}"
        return [Finding(Silence.SLOW, view.epoch, tuple(view.topics), True, cause, evidence)]

    def _another_is_better(self, view: LineView, late: LateWatch) -> bool:
        topics = set(view.topics)
        return any(
            name != view.line
            and other.late.since_ns is None
            and any((name, topic) in self._topics for topic in topics)
            for name, other in self._lines.items()
        )

    # -- findings ----------------------------------------------------------------------------------

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
        if silence is Silence.STALLED:
            rhythm = watch.rhythm
            evidence += f"; {_habit(rhythm)}"
            if not whole:
                evidence += f"; the line's last data {_s(now_ns - view.data_ns)} ago"
        if view.path:
            evidence += f"; {view.path}"
        return Finding(silence, view.epoch, topics, whole, cause, evidence)

    def _missing(
        self, view: LineView, topics: Sequence[str], streams: Mapping[str, Stream], now_ns: int
    ) -> Finding:
        whole = len(topics) == len(view.topics)
        what = "the line" if whole else f"part of the line ({len(topics)} of {len(view.topics)})"
        vigils = [self._topics[view.line, topic] for topic in topics]
        count = sum(vigil.seen - vigil.missed_from for vigil in vigils)
        others = {s.origin.line for t in topics for s in streams[t].sources.values()} - {view.line}
        evidence = f"{count} messages came on {', '.join(sorted(others))} meanwhile"
        silent_ns = max(vigil.watch.silent_ns(now_ns) for vigil in vigils)
        evidence += f", none here for {_s(silent_ns)}, and the path answers"
        if view.path:
            evidence += f"; {view.path}"
        cause = f"{what} does not bring what others bring"
        return Finding(Silence.STALLED, view.epoch, tuple(topics), whole, cause, evidence)

    def _frozen(
        self,
        view: LineView,
        topic: str,
        said: _Said,
        streams: Mapping[str, Stream],
        now_ns: int,
    ) -> Finding:
        frozen = said.frozen
        evidence = _alike(frozen, now_ns)
        symbol = streams[topic].spec.symbol
        lively = [
            other
            for other in view.topics
            if other != topic
            and streams[other].spec.symbol == symbol
            and isinstance(streams[other], ImageStream) is False
            and (self._said.get(other) or said).frozen.since_ns > frozen.since_ns
        ]
        if lively:
            evidence += f", while {lively[0]} of the same symbol changes"
        cause = "messages come, and say the same"
        return Finding(Silence.FROZEN, view.epoch, (topic,), False, cause, evidence, bool(lively))

    # -- what is kept -----------------------------------------------------------------------------

    def _line(self, view: LineView, now_ns: int) -> _LineVigil:
        line = self._lines.get(view.line)
        if line is None:
            line = _LineVigil(FeedWatch(self._line_policy, now_ns), view.epoch, {})
            self._lines[view.line] = line
        if line.epoch != view.epoch:
            line.epoch = view.epoch
            line.frames = dict(sorted(line.frames.items())[-2:])
            line.watch.arm(now_ns)
        return line

    def _topic(self, view: LineView, topic: str, stream: Stream, now_ns: int) -> _TopicVigil:
        key = (view.line, topic)
        vigil = self._topics.get(key)
        if vigil is None:
            vigil = self._topics[key] = _TopicVigil(FeedWatch(self._policy, now_ns), view.epoch)
        if vigil.epoch != view.epoch:
            vigil.epoch = view.epoch
            vigil.missed_from, vigil.missed_since_ns = stream.arrived, None
            vigil.watch.arm(now_ns)
        return vigil


def is_news(watch: FeedWatch, policy: FeedPolicy, *, crowd: bool) -> bool:
    """Whether a long silence would be news: there is a rhythm, and among many a fast one.

    Args:
        watch: What was learned.
        policy: How to judge.
        crowd: Whether it is one of so many topics that most are quiet most of the time.
    """
    rhythm = watch.rhythm
    if not rhythm.tells:
        return False
    return not crowd or (
        watch.limit_ns <= policy.crowd_limit_ns
        and rhythm.count >= policy.crowd_count
        and rhythm.span_ns >= policy.crowd_span_ns
    )


def _habit(rhythm: Rhythm) -> str:
    mean_s = rhythm.mean_age_ns / 1e9
    return f"usually {mean_s:.3g} s old, {_s(rhythm.longest_ns)} at most"


def _older(late: LateWatch) -> str:
    return f"{_s(late.late_ns)} older than at best, by the venue's own time"


def _alike(frozen: FrozenWatch, now_ns: int) -> str:
    return f"{frozen.repeats} messages alike in {_s(now_ns - frozen.since_ns)}"


def _s(ns: int) -> str:
    return f"{ns / 1e9:.1f} s"
