"""Sessions and their supervisor together, in any order of events."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.core.talk import MS, SECOND, T0, ToyCodec

from gapless.core.backoff import BackoffPolicy
from gapless.core.budget import Budget, Window
from gapless.core.codec import Ack, Heartbeat, Listing, Refusal, Request, Shutdown
from gapless.core.lifecycle import Phase
from gapless.core.liveness import PathPolicy
from gapless.core.session import (
    Abort,
    Close,
    Effect,
    Ended,
    Expiring,
    Live,
    Send,
    Session,
    SessionTerms,
    Timing,
)
from gapless.core.supervisor import LineState, Retire, Start, Supervisor
from gapless.errors import ConnectionLost, DialFailed, RateLimited

DIALS, DIALS_NS = 6, 30 * SECOND
LINES = ("a", "b")
TOPICS = ("x", "y", "z")
PICK = st.integers(0, 10**6)


class CountingCodec(ToyCodec):
    """Counts the requests that await an answer."""

    def __init__(self) -> None:
        super().__init__(setups=1, lists=True)
        self.made: dict[int, Request] = {}

    def setup(self, next_id: int) -> list[Request]:
        return [self._note(request) for request in super().setup(next_id)]

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return [self._note(request) for request in super().subscribe(next_id, topics)]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return [self._note(request) for request in super().unsubscribe(next_id, topics)]

    def once_live(self, request_id: int) -> Request | None:
        return self._note(Request(request_id, "listing", f"list {request_id}"))

    def _note(self, request: Request) -> Request:
        assert request.id not in self.made, "an id was used twice"
        self.made[request.id] = request
        return request


class Shell:
    """One session as a shell runs it, with everything it has been told to do."""

    def __init__(self, line: str, epoch: int) -> None:
        self.line, self.epoch = line, epoch
        self.codec = CountingCodec()
        terms = SessionTerms(messages=Budget(Window(5, SECOND)), pools={}, topics_per_request=2)
        timing = Timing(lifetime_ns=90 * SECOND)
        self.session = Session(self.codec, TOPICS, timing, terms, PathPolicy())
        self.effects: list[Effect] = []
        self.waiting: list[int] = []
        self.up = False

    def count(self, kind: type[Effect]) -> int:
        return sum(isinstance(effect, kind) for effect in self.effects)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ns = T0
        self.dials = Budget(Window(DIALS, DIALS_NS))
        self.supervisor = Supervisor(LINES, 2, self.dials, BackoffPolicy(), Random(7))
        self.shells: list[Shell] = []
        self.dialled_ns: list[int] = []
        self.closed_until_ns = 0
        self.stopped = False
        self.act()

    # -- the shell ----------------------------------------------------------------------------

    def act(self) -> None:
        for action in self.supervisor.reconcile(self.now_ns):
            match action:
                case Start(line=line, epoch=epoch):
                    self.start(line, epoch)
                case Retire(epoch=epoch):
                    shell = self.shells[epoch - 1]
                    others = [s for s in self.those(Phase.LIVE) if s.line == shell.line]
                    made = any(other.epoch > epoch for other in others)
                    assert made or self.stopped, "make before break"
                    self.carry(shell, shell.session.retire(self.now_ns))

    def start(self, line: str, epoch: int) -> None:
        assert not self.stopped, "a stopped supervisor starts nothing"
        assert epoch == len(self.shells) + 1, "epochs strictly rise"
        recent = [at for at in self.dialled_ns if at > self.now_ns - DIALS_NS]
        assert len(recent) < DIALS, "no dial beyond the budget"
        assert self.now_ns >= self.closed_until_ns, "no dial before the venue allows it"
        self.dialled_ns.append(self.now_ns)
        shell = Shell(line, epoch)
        self.shells.append(shell)
        self.carry(shell, shell.session.dial(self.now_ns))

    def carry(self, shell: Shell, effects: list[Effect]) -> None:
        for effect in effects:
            assert not shell.count(Ended), "nothing comes after the end"
            shell.effects.append(effect)
            match effect:
                case Send(text=text):
                    assert not shell.count(Close), "nothing is sent after a close"
                    shell.waiting.append(int(text.split()[1]))
                case Close():
                    assert shell.count(Close) == 1
                    assert not shell.count(Abort)
                case Live():
                    assert shell.count(Live) == 1
                    self.supervisor.live(shell.epoch, self.now_ns)
                case Expiring(cause=cause):
                    self.supervisor.rotate(shell.epoch, cause, self.now_ns, urgent=True)
                case Ended(cause=cause, live_ns=live_ns):
                    shell.up = False
                    self.settled(shell)
                    if isinstance(cause, RateLimited) and cause.retry_after_ns is not None:
                        until_ns = self.now_ns + cause.retry_after_ns
                        self.closed_until_ns = max(self.closed_until_ns, until_ns)
                    self.supervisor.ended(shell.epoch, cause, live_ns, self.now_ns)
                case _:
                    pass
        self.act()

    def settled(self, shell: Shell) -> None:
        assert len(shell.session.requests) == 0
        assert sum(shell.session.requests.outcomes.values()) == len(shell.codec.made)

    def those(self, *phases: Phase) -> list[Shell]:
        return [shell for shell in self.shells if shell.session.phase in phases]

    def next_ns(self) -> int:
        times = [shell.session.deadline_ns for shell in self.shells]
        times.append(self.supervisor.deadline_ns)
        return min((time for time in times if time is not None), default=self.now_ns + SECOND)

    def pass_to(self, until_ns: int) -> None:
        for _ in range(10_000):
            self.now_ns = min(until_ns, max(self.now_ns, self.next_ns()))
            for shell in list(self.shells):
                deadline_ns = shell.session.deadline_ns
                if deadline_ns is not None and deadline_ns <= self.now_ns:
                    self.carry(shell, shell.session.tick(self.now_ns))
            self.act()
            if self.now_ns >= until_ns and self.next_ns() > until_ns:
                return
        raise AssertionError("time does not pass: a deadline stays in the past")

    # -- rules --------------------------------------------------------------------------------

    @precondition(lambda self: self.those(Phase.DIALING, Phase.CLOSING))
    @rule(pick=PICK)
    def transport_opens(self, pick):
        shells = [s for s in self.those(Phase.DIALING, Phase.CLOSING) if not s.up]
        if shells:
            shell = shells[pick % len(shells)]
            shell.up = True
            self.carry(shell, shell.session.opened(self.now_ns))

    @precondition(lambda self: self.those(Phase.DIALING))
    @rule(pick=PICK, status=st.sampled_from([None, 429, 503, 1008]))
    def dial_fails(self, pick, status):
        shells = self.those(Phase.DIALING)
        shell = shells[pick % len(shells)]
        cause: Exception = DialFailed("tcp", "wss://venue", "refused")
        if status is not None:
            cause = RateLimited(status, 20 * SECOND if status == 429 else None)
        self.carry(shell, shell.session.lost(cause, self.now_ns))

    @precondition(lambda self: any(shell.waiting for shell in self.shells))
    @rule(pick=PICK, answer=st.sampled_from(["ack", "ack", "ack", "part", "refuse", "limit"]))
    def venue_answers(self, pick, answer):
        shells = [shell for shell in self.shells if shell.waiting]
        shell = shells[pick % len(shells)]
        number = shell.waiting.pop(pick % len(shell.waiting))
        if not shell.count(Ended):
            shell.session.heard_ns = self.now_ns
        self.answer(shell, number, answer)

    def answer(self, shell: Shell, number: int, answer: str) -> None:
        request = shell.codec.made[number]
        match answer:
            case "refuse":
                reading: object = Refusal(number, 2, "no")
            case "limit":
                reading = Refusal(number, 10028, "too many", limited=True)
            case "part" if request.kind == "subscribe":
                reading = Ack(number, request.topics[:1])
            case _ if request.kind == "listing":
                reading = Listing(number, TOPICS)
            case _:
                reading = Ack(number)
        self.carry(shell, shell.session.control(reading, self.now_ns))

    @precondition(lambda self: self.shells)
    @rule(pick=PICK, number=st.integers(0, 12))
    def late_or_invented_ack(self, pick, number):
        shell = self.shells[pick % len(self.shells)]
        self.carry(shell, shell.session.control(Ack(number, TOPICS), self.now_ns))

    @precondition(lambda self: self.those(Phase.SUBSCRIBING, Phase.LIVE, Phase.DRAINING))
    @rule(pick=PICK, what=st.sampled_from(["frame", "pong", "beat", "shutdown", "resubscribe"]))
    def something_arrives(self, pick, what):
        shells = self.those(Phase.SUBSCRIBING, Phase.LIVE, Phase.DRAINING)
        shell = shells[pick % len(shells)]
        session = shell.session
        session.heard_ns = self.now_ns
        match what:
            case "pong":
                session.pong(self.now_ns)
            case "beat":
                self.carry(shell, session.control(Heartbeat(), self.now_ns))
            case "shutdown":
                self.carry(shell, session.control(Shutdown("soon"), self.now_ns))
            case "resubscribe":
                self.carry(shell, session.resubscribe("x", self.now_ns))
            case _:
                session.pinged(self.now_ns)

    @precondition(
        lambda self: self.those(Phase.SUBSCRIBING, Phase.LIVE, Phase.DRAINING, Phase.CLOSING)
    )
    @rule(pick=PICK, code=st.sampled_from([None, 1000, 1006, 1008]))
    def transport_is_lost(self, pick, code):
        shells = self.those(Phase.SUBSCRIBING, Phase.LIVE, Phase.DRAINING, Phase.CLOSING)
        shell = shells[pick % len(shells)]
        self.carry(shell, shell.session.lost(ConnectionLost(code), self.now_ns))

    @precondition(lambda self: self.those(Phase.LIVE))
    @rule(pick=PICK, urgent=st.booleans())
    def replacement_is_wanted(self, pick, urgent):
        shells = self.those(Phase.LIVE)
        shell = shells[pick % len(shells)]
        self.supervisor.rotate(shell.epoch, "stalled", self.now_ns, urgent=urgent)
        self.act()

    @rule(pick=PICK, lost=st.sampled_from(["old", "new", "none"]), served=st.booleans())
    def a_session_is_lost_while_it_is_replaced(self, pick, lost, served):
        self.serve()
        shells = self.those(Phase.LIVE)
        if not shells:
            return
        old = shells[pick % len(shells)]
        self.supervisor.rotate(old.epoch, "lifetime", self.now_ns, urgent=True)
        self.act()
        if served:
            self.serve()
        for shell in {"old": [old], "new": self.shells[-1:], "none": []}[lost]:
            self.carry(shell, shell.session.lost(ConnectionLost(1006), self.now_ns))

    @rule(wait_ms=st.integers(1, 12_000))
    def time_passes(self, wait_ms):
        self.pass_to(self.now_ns + wait_ms * MS)

    @rule()
    def time_passes_to_the_next_deadline(self):
        self.pass_to(max(self.now_ns, self.next_ns()))

    @rule()
    def everything_works_for_a_moment(self):
        self.serve()
        self.pass_to(self.now_ns + 100 * MS)

    def serve(self) -> None:
        """Let every dial succeed and every request be granted."""
        for shell in self.those(Phase.DIALING):
            shell.up = True
            self.carry(shell, shell.session.opened(self.now_ns))
        for shell in self.those(Phase.SUBSCRIBING, Phase.LIVE):
            shell.session.heard_ns = self.now_ns
            while shell.waiting:
                self.answer(shell, shell.waiting.pop(0), "ack")

    @precondition(lambda self: len(self.shells) > 6)
    @rule()
    def the_caller_leaves(self):
        self.stopped = True
        self.supervisor.stop()
        self.act()

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def a_session_has_a_deadline_unless_it_is_idle_or_over(self):
        for shell in self.shells:
            over = shell.session.phase in {Phase.IDLE, Phase.ENDED}
            assert (shell.session.deadline_ns is None) == over

    @invariant()
    def a_session_ends_once_and_then_is_over(self):
        for shell in self.shells:
            assert shell.count(Ended) == (shell.session.phase is Phase.ENDED)

    @invariant()
    def a_line_has_one_session_and_one_successor_at_most(self):
        leaving = {Phase.DRAINING, Phase.CLOSING, Phase.ENDED}
        for line in LINES:
            working = [s for s in self.shells if s.line == line and s.session.phase not in leaving]
            state = self.supervisor.states()[line]
            assert len(working) <= (2 if state is LineState.ROTATING else 1)
            if state in {LineState.STOPPED, LineState.HALTED}:
                assert not working

    @invariant()
    def a_line_that_starts_has_no_session_that_works(self):
        starting = {n for n, s in self.supervisor.states().items() if s is LineState.STARTING}
        assert not [shell for shell in self.those(Phase.LIVE) if shell.line in starting]

    @invariant()
    def nothing_here_halts_a_line(self):
        assert LineState.HALTED not in self.supervisor.states().values()

    def teardown(self):
        if self.stopped:
            self.pass_to(self.now_ns + 60 * SECOND)
            assert all(shell.session.phase is Phase.ENDED for shell in self.shells)
            return
        for _ in range(4000):  # no line is ever stuck
            self.serve()
            if set(self.supervisor.states().values()) == {LineState.UP}:
                return
            self.pass_to(max(self.now_ns + MS, min(self.next_ns(), self.now_ns + 500 * MS)))
        raise AssertionError(f"stuck: {self.supervisor.states()}")


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=80,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
