"""Silences of lines and of topics: who is blamed, once, and with what evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from gapless.core.liveness import FeedPolicy, Silence
from gapless.core.sequence import Numbering
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import Moment, Stream, TopicSpec
from gapless.core.vigil import LINE_KNOWN_NS, Finding, LineView, Vigil
from gapless.events import Origin, Trade

MS = 1_000_000
SECOND = 1_000_000_000
TICK = 250 * MS
T0 = 1_000 * SECOND
POLICY = FeedPolicy()


@dataclass
class Line:
    """One session as its driver counts it."""

    name: str
    epoch: int
    frames: int = 0
    data_ns: int = 0
    heard_ns: int = 0
    proven_ns: int | None = None


@dataclass
class Scene:
    """Lines that carry some topics, and a vigil that looks at them on every tick."""

    topics: tuple[str, ...]
    greets: bool = False
    now_ns: int = T0
    lines: list[Line] = field(default_factory=list)
    vigil: Vigil = field(default_factory=lambda: Vigil(POLICY))
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.streams: dict[str, Stream] = {
            topic: SequencedStream(
                TopicSpec(
                    "toy",
                    "trades",
                    topic,
                    topic,
                    Numbering.DENSE,
                    speaks_on_subscribe=self.greets,
                ),
                lambda _: None,
                lambda _: None,
            )
            for topic in self.topics
        }

    def open(self, name: str = "a", epoch: int = 1) -> Line:
        line = Line(name, epoch, heard_ns=self.now_ns)
        self.lines.append(line)
        for topic, stream in self.streams.items():
            stream.attach(self._origin(line, topic), Moment(self.now_ns, self.now_ns))
        return line

    def close(self, line: Line) -> None:
        self.lines.remove(line)
        for stream in self.streams.values():
            stream.detach(line.epoch, "closed", Moment(self.now_ns, self.now_ns))

    def say(self, topic: str, *lines: Line) -> None:
        """Let the same message arrive on each of ``lines``, one after the other."""
        number = self.numbers[topic] = self.numbers.get(topic, 0) + 1
        for line in lines:
            self.now_ns += 1
            line.frames += 1
            line.data_ns = line.heard_ns = self.now_ns
            origin, now_ns = self._origin(line, topic), self.now_ns
            self.streams[topic].offer(
                Trade(origin, now_ns, now_ns, None, number, number, "", 1.0, 1.0, "buy")
            )

    def pong(self, *lines: Line) -> None:
        for line in lines:
            line.heard_ns = line.proven_ns = self.now_ns

    def look(self) -> list[Finding]:
        """Look at every line, as the tick does."""
        findings = []
        for line in self.lines:
            view = LineView(
                line.name,
                line.epoch,
                line.frames,
                line.data_ns,
                line.heard_ns,
                self.topics,
                line.proven_ns,
            )
            findings += self.vigil.look(view, self.streams, self.now_ns)
        return findings

    def _origin(self, line: Line, topic: str) -> Origin:
        return Origin("toy", "trades", topic, topic, line.name, line.epoch)

    def run(
        self,
        duration_ns: int,
        *,
        every_ns: int = 50 * MS,
        talk: dict[str, list[Line]] | None = None,
        pongs: bool = True,
    ) -> list[tuple[int, Finding]]:
        """Let time pass; ``talk`` says which topics arrive where, at a steady rhythm."""
        start_ns, found = self.now_ns, []
        next_say_ns, next_look_ns = start_ns + every_ns, start_ns + TICK
        while self.now_ns < start_ns + duration_ns:
            self.now_ns = max(self.now_ns, min(next_say_ns, next_look_ns))
            if self.now_ns >= next_say_ns:
                for topic, lines in (talk or {}).items():
                    self.say(topic, *lines)
                next_say_ns += every_ns
            if self.now_ns >= next_look_ns:
                if pongs:
                    self.pong(*self.lines)
                found += [(self.now_ns - start_ns, finding) for finding in self.look()]
                next_look_ns += TICK
        return found


def talking(*topics: str) -> tuple[Scene, Line]:
    """Return a scene whose topics have spoken at 20 messages a second for a minute."""
    scene = Scene(topics)
    line = scene.open()
    assert scene.run(60 * SECOND, talk={topic: [line] for topic in topics}) == []
    return scene, line


def test_a_line_known_for_ten_seconds_may_be_silent_for_ten_and_a_topic_for_longer():
    scene = Scene(("x", "y"))
    line = scene.open()
    assert scene.run(11 * SECOND, talk={"x": [line], "y": [line]}) == []
    assert scene.vigil.limit_ns("a", "x") > 13 * SECOND
    (after_ns, finding), *others = scene.run(12 * SECOND)
    assert finding.silence is Silence.STALLED
    assert finding.whole_line
    assert 8 * SECOND <= after_ns <= LINE_KNOWN_NS
    assert not others
    young = Scene(("x", "y"))
    line = young.open()
    assert young.run(5 * SECOND, talk={"x": [line], "y": [line]}) == []
    assert young.run(12 * SECOND) == []  # it may have been a burst


def test_a_line_that_goes_silent_with_pongs_alive_is_stalled_within_a_second():
    scene, _ = talking("x", "y")
    found = scene.run(3 * SECOND)
    assert len(found) == 1
    after_ns, finding = found[0]
    assert POLICY.floor_ns <= after_ns <= SECOND
    assert (finding.silence, finding.whole_line, finding.epoch) == (Silence.STALLED, True, 1)
    assert finding.topics == ("x", "y")
    assert finding.cause == "the line fell silent while the connection answers"
    assert finding.evidence.startswith(("no data for 0.", "no data for 1.0"))
    assert "usually 0.025 s old" in finding.evidence


def test_a_line_without_pongs_is_not_stalled_but_dead_which_is_not_seen_here():
    scene, _ = talking("x")
    assert scene.run(60 * SECOND, pongs=False) == []


def test_a_topic_that_goes_silent_while_its_siblings_speak_is_found():
    scene, line = talking("x", "y")
    found = scene.run(4 * SECOND, talk={"x": [line]}, pongs=False)
    assert len(found) == 1
    after_ns, finding = found[0]
    assert POLICY.floor_ns + POLICY.confirm_ns <= after_ns <= 2 * SECOND + TICK
    assert (finding.topics, finding.whole_line) == (("y",), False)
    assert finding.cause == "part of the line (1 of 2) fell silent while the connection answers"


def test_a_line_that_never_spoke_is_probed_and_watched_from_the_subscribe():
    scene = Scene(("x",))
    scene.open()
    scene.look()
    found = scene.run(45 * SECOND)
    assert [finding.silence for _, finding in found] == [Silence.UNPROVEN] * 2
    assert [after_ns // SECOND for after_ns, _ in found] == [8, 40]  # then at 4 x the distance
    assert found[0][1].cause == "the line has not proven itself yet"


def test_each_alarm_in_vain_makes_the_next_four_times_as_patient():
    scene, _ = talking("x")
    found = [after_ns for after_ns, _ in scene.run(60 * SECOND)]
    assert [round(later / SECOND) for later in found] == [
        1,
        5,
        20,
    ]  # 4 and 16 limits of 0.93 s further


def test_the_alarm_of_a_line_counts_once_for_each_of_its_topics():
    scene, _ = talking("x", "y")
    limit_ns = scene.vigil.limit_ns("a", "x")
    assert POLICY.floor_ns <= limit_ns <= SECOND
    [_] = scene.run(3 * SECOND)
    assert scene.vigil.limit_ns("a", "x") == 4 * limit_ns


def test_an_unwatched_topic_has_no_limit():
    assert Vigil(POLICY).limit_ns("a", "x") is None


def test_a_line_stays_suspect_while_only_its_sibling_speaks():
    scene = Scene(("x",))
    one, two = scene.open("a", 1), scene.open("b", 2)
    assert scene.run(60 * SECOND, talk={"x": [one, two]}) == []
    found = scene.run(60 * SECOND, talk={"x": [two]})
    assert {finding.epoch for _, finding in found} == {1}
    first, later = found[0][1], [after_ns / SECOND for after_ns, _ in found]
    assert first.cause == "the line does not bring what others bring"
    assert "messages came on b meanwhile" in first.evidence
    assert later[0] <= 1
    assert all(after >= 3 * before for before, after in pairwise(later))


def test_copies_of_what_a_line_brought_first_are_nothing_that_it_misses():
    scene = Scene(("x",))
    one, two = scene.open("a", 1), scene.open("b", 2)
    assert scene.run(200 * SECOND, every_ns=SECOND, talk={"x": [one, two]}) == []
    number = scene.numbers["x"]
    for _ in range(8):
        scene.say("x", one)
    assert scene.look() == []
    scene.numbers["x"], scene.now_ns = number, scene.now_ns + 60 * MS
    for _ in range(8):
        scene.say("x", two)
    for _ in range(12):  # three of its mean intervals, in which nobody says anything
        scene.pong(one, two)
        assert scene.look() == []
        scene.now_ns += TICK


def test_two_lines_that_both_speak_raise_no_alarm():
    scene = Scene(("x",))
    one, two = scene.open("a", 1), scene.open("b", 2)
    scene.run(60 * SECOND, talk={"x": [one, two]})
    assert scene.run(20 * SECOND, talk={"x": [one, two]}) == []


def test_two_sessions_of_one_line_side_by_side_do_not_spoil_its_rhythm():
    scene = Scene(("x",))
    old = scene.open("a", 1)
    scene.run(1000 * SECOND, every_ns=5 * SECOND, talk={"x": [old]})
    before = line_limit_ns(scene)
    new = scene.open("a", 2)
    assert scene.run(60 * SECOND, every_ns=5 * SECOND, talk={"x": [old, new]}) == []
    assert line_limit_ns(scene) > before / 2
    scene.close(old)
    assert scene.run(60 * SECOND, every_ns=5 * SECOND, talk={"x": [new]}) == []


def line_limit_ns(scene: Scene) -> int:
    return scene.vigil._lines["a"].watch.limit_ns


def test_a_new_session_is_given_time_to_speak():
    scene, line = talking("x")
    scene.run(SECOND // 2)
    scene.close(line)
    scene.now_ns += 30 * SECOND
    scene.open("a", 2)
    found = scene.run(3 * SECOND)
    assert [finding.epoch for _, finding in found] == [2]
    assert POLICY.floor_ns <= found[0][0] <= SECOND + TICK


def test_silence_is_forgiven_when_it_was_us_who_slept():
    scene, _ = talking("x", "y")
    scene.now_ns += 60 * SECOND
    scene.vigil.forgive(scene.now_ns)
    scene.pong(*scene.lines)
    assert scene.look() == []
    assert len(scene.run(3 * SECOND)) == 1


def test_a_topic_that_was_blamed_already_is_not_blamed_again_with_its_line():
    scene, line = talking("x", "y")
    [(_, finding)] = scene.run(2 * SECOND, talk={"x": [line]}, pongs=False)
    assert finding.topics == ("y",)
    [(_, whole)] = scene.run(3 * SECOND)
    assert whole.whole_line
    assert 4 * POLICY.floor_ns <= scene.vigil.limit_ns("a", "x") <= 4 * SECOND


def test_the_evidence_of_a_finding_is_that_of_its_own_topics():
    scene = Scene(("quiet", "loud", "busy"))
    line = scene.open()
    found = scene.run(60 * SECOND, talk={"loud": [line], "busy": [line]})
    found += scene.run(3 * SECOND, talk={"busy": [line]}, pongs=False)
    by_topic = {finding.topics: finding for _, finding in found}
    assert by_topic["quiet",].silence is Silence.UNPROVEN
    assert by_topic["quiet",].evidence.startswith("no data for 8.")
    assert by_topic["loud",].silence is Silence.STALLED
    assert by_topic["loud",].evidence.startswith(("no data for 1.", "no data for 2."))


def test_a_quiet_topic_that_was_greeted_on_subscribing_is_left_in_peace():
    for greets, probed in ((False, True), (True, False)):
        scene = Scene(("quiet", "busy"), greets=greets)
        line = scene.open()
        scene.say("quiet", line)  # the greeting, and nothing for an hour
        found = scene.run(3600 * SECOND, talk={"busy": [line]})
        assert any(finding.topics == ("quiet",) for _, finding in found) == probed


def test_a_chain_of_quiet_topics_is_not_gone_through_on_every_tick(monkeypatch):
    scene = Scene(tuple(f"strike.{n}" for n in range(300)), greets=True)
    line = scene.open()
    for round_ in range(3):  # some spoke once, some have a rhythm of sorts
        for number, topic in enumerate(scene.topics):
            if number % 3 >= round_:
                scene.say(topic, line)
        scene.run(2 * SECOND)
    looked = []
    seen_ns = SequencedStream.last_seen_ns

    def counted(stream, epoch):
        looked.append(stream)
        return seen_ns(stream, epoch)

    monkeypatch.setattr(SequencedStream, "last_seen_ns", counted)
    scene.run(60 * SECOND)
    assert len(looked) <= 300 * 60 / 5 * 1.5  # of 72,000


def test_two_kinds_of_silence_at_once_are_two_findings_with_their_own_evidence():
    scene = Scene(("loud", "quiet", "busy"))
    line = scene.open()
    scene.look()
    scene.run(134 * SECOND, talk={"loud": [line], "busy": [line]})
    silent_since_ns = scene.now_ns
    scene.now_ns += 3 * SECOND
    scene.say("busy", line)
    stalled, unproven = scene.look()
    assert (stalled.silence, stalled.topics) == (Silence.STALLED, ("loud",))
    silent_s = (scene.now_ns - silent_since_ns) / 1e9
    assert stalled.evidence.startswith(f"no data for {silent_s:.1f} s")
    assert (unproven.silence, unproven.topics) == (Silence.UNPROVEN, ("quiet",))
    assert unproven.evidence.startswith("no data for 12")  # since it was probed


def test_a_line_that_has_never_had_a_frame_learns_nothing():
    scene = Scene(("x",))
    line = scene.open()
    assert scene.look() == []
    assert scene.vigil.limit_ns("a", "x") is None
    scene.say("x", line)  # and one alone is no rhythm
    assert scene.look() == []
    assert scene.vigil.limit_ns("a", "x") is None
