"""Runs what the supervisor decides, and brings the parts of one feed together.

The conductor owns the streams, the drivers and the clockwork: a tick four times a second for
everything that time alone decides, and a wake-up whenever something happened.  It decides
nothing itself: whether and when to dial is the supervisor's, what follows what is the
streams', what silence means is the vigil's.

It is also the only place that catches the unknown, and turns it into the halt of one line,
loudly, never into a retry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Final

from gapless.core.budget import Budget, kept_on_arrival
from gapless.core.codec import Lifecycle
from gapless.core.counter import ConnectionCounter
from gapless.core.coverage import Coverage
from gapless.core.endpoints import EndpointChoice
from gapless.core.kinds import AnyBook
from gapless.core.lifecycle import Phase
from gapless.core.liveness import Silence
from gapless.core.notices import NoticeLog
from gapless.core.reaction import STAY_AWAY, classify
from gapless.core.rotation import lifetime_ns
from gapless.core.secrets import Login
from gapless.core.session import Ended, Said, Session, SessionTerms, Timing
from gapless.core.stats import Histogram, SessionEnd
from gapless.core.stream import Moment, Need, Stream
from gapless.core.supervisor import TURN_NS, LineState, Retire, Start, Supervisor
from gapless.core.universe import Changes
from gapless.core.vigil import Finding, Vigil
from gapless.errors import (
    ConfigError,
    ConnectionLost,
    LoginRejected,
    ProtocolViolation,
    SubscriptionRejected,
)
from gapless.events import Event, NoticeKind, Origin
from gapless.io.audits import Audits
from gapless.io.chains import Chains
from gapless.io.clock import Clock
from gapless.io.driver import Driver
from gapless.io.following import Following
from gapless.io.listings import Listings, Selection
from gapless.io.merging import Merging
from gapless.io.needs import Needs, topic_origin
from gapless.io.pauses import PlannedSilence
from gapless.io.plan import Plan
from gapless.io.reach import Reach
from gapless.io.resolver import Resolver
from gapless.io.rotations import Rotations
from gapless.io.snapshots import RestClient
from gapless.io.stalls import OwnStalls
from gapless.io.tap import Tap
from gapless.io.transport import Connector, DialTimings
from gapless.io.watching import Watching
from gapless.venues._profile import VenueBudgets

__all__ = ["Conductor"]

TICK_NS: Final = 250_000_000
STOP_NS: Final = 2_000_000_000  # how long closing may take, all sessions together
NOTICE_NS: Final = 3_000_000_000  # how long a shutdown notice may wait for its turn
KINDS: Final[Mapping[Silence, NoticeKind]] = {
    Silence.STALLED: "stalled",
    Silence.UNPROVEN: "unproven",
    Silence.SLOW: "slow",
    Silence.FROZEN: "frozen",
}
VIOLATIONS: Final = 3  # that many within `VIOLATIONS_NS` and the line is replaced
VIOLATIONS_NS: Final = 60_000_000_000
REQUEST_BYTES: Final = 16_384  # topic names in one subscribe, where the venue states no limit


class Conductor:
    """Runs one feed.

    Args:
        plan: What to do.
        budgets: What is shared with everybody who leaves by the same address.
        clock: The time.
        connector: Opens transports.
        rest: Carries out REST reads.
        rng: The seed of all jitter.
        emit: Takes every event for the consumer, in order.
        tap: Is told all that goes over the wire.
        resolver: Knows the addresses of names; without one, they are left to the dial.

    Attributes:
        failure: What ended the feed, or `None` while it runs or after a planned stop.
    """

    def __init__(
        self,
        plan: Plan,
        budgets: VenueBudgets,
        clock: Clock,
        connector: Connector,
        rest: RestClient,
        rng: Random,
        emit: Callable[[Event], None],
        tap: Tap | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.plan = plan
        self.failure: BaseException | None = None
        aside = (plan.profile.lifecycle_topics.value or ()) if plan.selections else ()
        self.following = Following(plan.placement(), aside, emit, self._ask, plan.backfill)
        self.following.begin(plan.specs.values())
        self.following.priorities.update(plan.priorities)
        self.streams: Mapping[str, Stream] = self.following.streams
        self.drivers: dict[int, Driver] = {}
        self.notices = NoticeLog(plan.profile.name)
        self.ended_sessions: deque[SessionEnd] = deque(maxlen=1000)
        self.dials = self.sessions = self.violations = self.strays = 0
        self.timings: dict[str, DialTimings] = {}
        self.refusals: dict[str, SubscriptionRejected] = {}
        self.delay = Histogram()
        self.on_change: Callable[[], None] | None = None
        self._budgets = budgets
        self._clock = clock
        self._connector = connector
        self._rest = rest
        self._tap = tap
        choice = EndpointChoice(len(plan.endpoints), plan.pins, plan.every_source())
        self.reach = Reach(plan, choice, resolver, clock, self.announce)
        self._supervisor = Supervisor(tuple(plan.lines), choice, budgets.dials, plan.backoff, rng)
        self._vigil = Vigil(plan.feed)
        self.coverage = Coverage(self.streams, self._vigil.least_ns)
        self._needs = Needs(
            plan, self.following, self.drivers, rest, budgets.pools, clock, rng, self
        )
        self._chains = Chains(
            plan.profile,
            self.following,
            self._supervisor,
            self._vigil,
            self.drivers,
            clock.mono_ns,
            self,
        )
        self.audits = Audits(
            plan, self.following, self.drivers, rest, budgets.pools, self._vigil, clock, self
        )
        self.pauses = PlannedSilence(plan.profile, self.following, self._vigil, self)
        self._listings = self._make_listings(rng)
        self._tasks: asyncio.TaskGroup | None = None
        self._dial_tasks: dict[int, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._merging = Merging(self.following, self._supervisor, self.drivers, self)
        self._spread = Random(rng.getrandbits(64))  # noqa: S311  # jitter
        self.rotations = Rotations(
            self._supervisor, self.drivers, self.streams, clock.mono_ns, self._wake.set
        )
        self.stalls = OwnStalls(clock)
        self.watching = Watching(
            self._vigil,
            self.following,
            self.drivers,
            self.refusals,
            len(plan.endpoints) - 1,
            self.moment,
            self._found,
        )
        self._violated_ns: dict[int, deque[int]] = {}
        self._counted: ProtocolViolation | None = None  # the newest that `violation` counted
        self._tick_ns = 0
        self._troubles = 0  # of the budgets, told so far
        self._stopping = False
        self._paused = False
        self._halted_by: Exception | None = None

    # -- running ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until `stop`, or until no line is left; then `failure` says why."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._needs.begin(self._tasks)
                self._needs.spawn(self.audits.run())
                if self._listings is not None:
                    self._needs.spawn(self._listings.run())
                await self.reach.begin(self._tasks)
                await self._supervise()
                self.reach.cancel()
                self._needs.cancel()
                for task in self._dial_tasks.values():
                    task.cancel()
        except BaseExceptionGroup as group:  # a bug in a task: one cause is enough to tell
            self.failure = group.exceptions[0]
        except Exception as error:
            self.failure = error
        finally:
            self._abort_all()
            self.rotations.close()
            await self._rest.close()
            self._changed()

    def stop(self) -> None:
        """Close every session as planned; `run` returns soon."""
        self._stopping = True
        self._wake.set()

    def moment(self) -> Moment:
        """Return now by both clocks."""
        return Moment(self._clock.mono_ns(), self._clock.wall_ns())

    @property
    def supervisor(self) -> Supervisor:
        return self._supervisor

    @property
    def dial_budget(self) -> Budget:
        return self._budgets.dials

    @property
    def vigil(self) -> Vigil:
        return self._vigil

    @property
    def snapshot_fetches(self) -> int:
        """How many REST snapshots were asked for."""
        return self._needs.snapshot_fetches

    def pause(self) -> None:
        """Stop reading every socket, until `resume`; nobody is judged meanwhile."""
        self._paused = True
        for driver in self.drivers.values():
            if driver.transport is not None:
                driver.transport.pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self.watching.forgive(self.moment())
        for driver in self.drivers.values():
            if driver.transport is not None:
                driver.transport.resume()

    async def _supervise(self) -> None:
        self._tick_ns = self._clock.mono_ns() + TICK_NS
        while not self._stopping:
            now = self.moment()
            self._act(now)
            if self._supervisor.halted is not None:
                self.failure = self._halted_by or ConnectionLost()
                return
            if now.mono_ns >= self._tick_ns:
                self._tick(now)
            elif self.watching.is_due(now.mono_ns) and not self._paused:
                self.watching.round(now)
            await self._sleep_until(self._next_ns())
        self._supervisor.stop()
        self._act(self.moment(), drain=False)
        until_ns = self._clock.mono_ns() + STOP_NS
        while self.drivers and self._clock.mono_ns() < until_ns:
            await self._sleep_until(until_ns)

    def _next_ns(self) -> int:
        due_ns = None if self._paused else self.watching.due_ns
        times = (self._tick_ns, self._supervisor.deadline_ns, due_ns)
        return min(time_ns for time_ns in times if time_ns is not None)

    async def _sleep_until(self, until_ns: int) -> None:
        wait_ns = max(0, until_ns - self._clock.mono_ns())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_ns / 1e9):
                await self._wake.wait()
        self._wake.clear()

    def _act(self, now: Moment, *, drain: bool = True) -> None:
        for action in self._supervisor.reconcile(now.mono_ns):
            match action:
                case Start():
                    self._start(action, now)
                case Retire(epoch=epoch):
                    self._retire(epoch, now, drain=drain)
        self.rotations.look()

    def _start(self, start: Start, now: Moment) -> None:
        plan, profile = self.plan, self.plan.profile
        topics = self.following.topics_of(start.line)
        origins = {
            topic: self.origin(topic, start.line, start.epoch)
            for topic in topics
            if topic in self.streams
        }
        codec = profile.codec(origins)
        request_bytes = profile.request_bytes.value
        terms = SessionTerms(
            messages=Budget(*kept_on_arrival(profile.messages.value)),
            pools=self._budgets.pools,
            topics_per_request=profile.topics_per_request.value,
            request_bytes=REQUEST_BYTES if request_bytes is None else request_bytes,
            beat_ns=profile.client_beat_ns.value,
        )
        url = plan.url(self.following.placement.paths[start.line], start.endpoint)
        timing = Timing(
            dial_ns=plan.dial.timeout_ns * 2,
            ack_ns=profile.ack_within_ns.value,
            lifetime_ns=lifetime_ns(plan.lifetime_ns, self._spread),
        )
        wanted = [topic for topic in topics if topic not in self.refusals]
        login, unread = self._login()
        session = Session(codec, wanted, timing, terms, plan.path, url, login)
        counted = profile.connection_counter.value is not None
        driver = Driver(
            start.line,
            start.epoch,
            session,
            codec,
            origins,
            self.streams,
            self._clock,
            self,
            ConnectionCounter() if counted else None,
            self._tap,
        )
        driver.on_proof = self.watching.answered
        self.drivers[start.epoch] = driver
        self.dials += 1
        self.note("dialing", now, start.cause, url, driver)
        driver.dial(now.mono_ns)
        if self._tasks is not None:
            self._dial_tasks[start.epoch] = self._tasks.create_task(
                self._dial(driver, url, start, unread)
            )

    def _login(self) -> tuple[Login | None, LoginRejected | None]:
        """Return the login of a new session, or why there can be none now."""
        try:
            return (None if self.plan.login is None else self.plan.login()), None
        except ConfigError as error:  # they were there when the feed was opened
            return None, LoginRejected(None, str(error))

    async def _dial(
        self, driver: Driver, url: str, start: Start, unread: LoginRejected | None
    ) -> None:
        if unread is not None:  # in vain: what is wanted needs a login
            self._dial_tasks.pop(driver.epoch, None)
            driver.on_closed(unread)
            return
        try:
            transport = await self._connector(url, driver, self.reach.options(start))
        except asyncio.CancelledError:
            driver.on_closed(ConnectionLost())
            raise
        except Exception as error:  # the unknown included: it halts the line, see `ended`
            driver.on_closed(error)
        else:
            self.timings[driver.line] = transport.timings
            self.reach.opened(driver.epoch, transport.timings)
            self._supervisor.opened(driver.epoch, self._clock.mono_ns())
            self._wake.set()
            if self._paused:
                transport.pause()
            driver.opened(transport, url)
        finally:
            self._dial_tasks.pop(driver.epoch, None)

    def _retire(self, epoch: int, now: Moment, *, drain: bool) -> None:
        driver = self.drivers.get(epoch)
        if driver is None:
            return
        if drain and not driver.withholds:
            self.rotations.retiring(driver, now)
        driver.retire(now.mono_ns, drain=drain)
        if (task := self._dial_tasks.get(epoch)) is not None:
            task.cancel()

    def _abort_all(self) -> None:
        for driver in list(self.drivers.values()):
            transport = driver.transport
            if transport is not None:
                transport.abort()
            if not driver.over:
                driver.on_closed(ConnectionLost())

    # -- the tick ---------------------------------------------------------------------------

    def _tick(self, now: Moment) -> None:
        due_ns, self._tick_ns = self._tick_ns, now.mono_ns + TICK_NS
        stalled = self.stalls.look(due_ns, now.mono_ns)
        if stalled and (told := self.stalls.words(due_ns, now.mono_ns)) is not None:
            self.note("own-stall", now, *told, None)
        if stalled or self._paused:  # read the sockets before judging anybody
            self.watching.forgive(now)
            if not self._paused:
                self.watching.prove(now)
            return
        self.pauses.tick(now)
        for driver in self.drivers.values():
            driver.wall_offset_ns = now.recv_ns - now.mono_ns
            race = self.following.races.lines.get(driver.line)
            self.reach.sample(driver.epoch, driver.session.rtt_ns, race)
        self.watching.round(now)
        for stream in self.streams.values():
            if not self.watching.may_come(stream, self._covered_ns, now.mono_ns):
                stream.tick(now)
            newest = stream.newest
            if newest is not None and newest.event_ns is not None:
                self.delay.record(newest.recv_ns - newest.event_ns)
        self._needs.retry()
        self._merging.tick(now)
        for driver, cause in self.rotations.slow(now.mono_ns):
            self.expiring(driver, cause, urgent=False)
        for words in self._budgets.troubles[self._troubles :]:
            self.note("budget", now, words, "limits that are shared with other processes", None)
        self._troubles = len(self._budgets.troubles)
        self._changed()

    def _found(self, driver: Driver, finding: Finding, now: Moment) -> None:
        silence = finding.silence
        stalled = silence is Silence.STALLED
        alone = len(finding.topics) == 1 and not finding.whole_line
        origin = driver.origins.get(finding.topics[0]) if alone else None
        kind = KINDS[silence]
        self.note(kind, now, finding.cause, finding.evidence, driver, origin)
        if stalled:
            driver.withholds = True
            for topic in finding.topics:
                stream = self.streams[topic]
                covered_ns = stream.last_seen_ns(driver.epoch) or 0
                shown: Iterable[str] = (topic,)
                if finding.whole_line:  # a topic may be quiet while its line is not
                    covered_ns, shown = max(covered_ns, driver.data_ns), driver.origins
                covered_ns = self.coverage.until_ns(driver.epoch, shown, covered_ns)
                stream.suspect(driver.epoch, "the feed stalled", now, covered_ns)
                driver.doubt(topic)
        if not finding.replace:
            return
        urgent = stalled and finding.whole_line
        if urgent or silence is Silence.SLOW:  # whatever ails it may be the endpoint
            self._supervisor.choice.failed(driver.epoch, now.mono_ns)
        if self._supervisor.rotate(driver.epoch, finding.cause, now.mono_ns, urgent=urgent):
            self._wake.set()

    # -- what drivers report ----------------------------------------------------------------

    def confirmed(self, driver: Driver, topics: Sequence[str]) -> None:
        now = self.moment()
        for topic in topics:
            if topic in self.streams:
                self.streams[topic].attach(driver.origins[topic], now)
            elif self._listings is not None:
                self._listings.ask()  # news may have come while nobody listened

    def refused(self, driver: Driver, error: SubscriptionRejected) -> None:
        now = self.moment()
        if error.topic in self.streams:
            self.streams[error.topic].detach(driver.epoch, "refused", now)
        if error.topic in self.refusals:
            return  # said already, by the snapshot or by another line
        self.refusals[error.topic] = error
        detail = error.detail or "left out of the venue's reply"
        self.note("refused", now, str(error), detail, driver, driver.origins.get(error.topic))

    def live(self, driver: Driver) -> None:
        self.sessions += 1
        now = self.moment()
        self._supervisor.live(driver.epoch, now.mono_ns)
        if not any(d.session.phase is Phase.LIVE for d in self.drivers.values() if d is not driver):
            self.pauses.missed_news()
        self.note("live", now, "every topic is granted or refused", "", driver)
        self._wake.set()

    def expiring(self, driver: Driver, cause: str, *, urgent: bool = True) -> None:
        now = self.moment()
        patience_ns = NOTICE_NS if driver.session.shut_down else TURN_NS
        if self._supervisor.rotate(
            driver.epoch, cause, now.mono_ns, urgent=urgent, patience_ns=patience_ns
        ):
            self.note("rotating", now, cause, "make before break", driver)
            self._wake.set()

    def lifecycle(self, news: Lifecycle) -> None:
        self.pauses.told(news)
        if self._listings is not None:
            self._listings.told(news)

    def said(self, driver: Driver, said: Said) -> None:
        self.note("venue", self.moment(), said.cause, said.evidence, driver)
        if said.closed is not None:
            self.pauses.closed(said.closed)

    def unlisted(self, driver: Driver, topics: Sequence[str]) -> None:
        self.audits.unlisted(driver, topics)

    def _covered_ns(self, driver: Driver) -> int:
        """Return until when a session certainly carried everything, monotonic."""
        session, heard_ns = driver.session, driver.covered_ns
        proven_ns = session.watch.pings.proven_ns
        heard_ns = session.heard_ns if heard_ns is None else heard_ns
        return self.coverage.until_ns(driver.epoch, driver.origins, heard_ns, proven_ns)

    def violation(self, driver: Driver, error: ProtocolViolation, text: str = "") -> None:
        """Count it, distrust what it may have hidden, and replace a line that repeats it."""
        now = self.moment()
        self.violations += 1
        self._counted = error
        named = [topic for topic in driver.origins if f'"{topic}"' in text]
        if not named:  # some venues name a channel and an instrument, and no topic
            each = driver.origins.items()
            named = [topic for topic, origin in each if f'"{origin.symbol}"' in text]
        topics = named or list(driver.origins)
        origin = driver.origins[named[0]] if named else None
        self.note("violation", now, str(error), "a frame could not be read", driver, origin)
        covered_ns = self._covered_ns(driver)
        for topic in topics:
            if topic in self.streams:
                stream = self.streams[topic]
                stream.suspect(driver.epoch, "a frame could not be read", now, covered_ns)
        times = self._violated_ns.setdefault(driver.epoch, deque(maxlen=VIOLATIONS))
        times.append(now.mono_ns)
        if len(times) == VIOLATIONS and now.mono_ns - times[0] <= VIOLATIONS_NS:
            driver.abort(error, now.mono_ns)
            return
        for topic in named:
            book = self.streams.get(topic)
            if isinstance(book, AnyBook):
                book.rebuild(driver.epoch, "a frame could not be read", now)

    def ended(self, driver: Driver, ended: Ended) -> None:
        now, cause = self.moment(), ended.cause
        self.drivers.pop(driver.epoch, None)
        self._violated_ns.pop(driver.epoch, None)
        self.strays += driver.strays
        words = "planned" if cause is None else _words(cause)
        covered_ns = now.mono_ns if cause is None else self._covered_ns(driver)
        for topic in driver.origins:
            if topic not in self.streams:
                continue
            until_ns = covered_ns
            if driver.withholds:  # what it was silent in it may have withheld as well
                seen_ns = self.streams[topic].last_seen_ns(driver.epoch) or 0
                until_ns = min(until_ns, self.coverage.until_ns(driver.epoch, (topic,), seen_ns))
            self.streams[topic].detach(driver.epoch, words, now, until_ns)
        useful_ns = ended.live_ns if driver.frames else 0
        self.reach.ended(driver.epoch, cause)
        self._supervisor.ended(driver.epoch, cause, useful_ns, now.mono_ns)
        self.rotations.ended(driver, cause)
        live_s = ended.live_ns / 1e9
        self.ended_sessions.append(SessionEnd(driver.line, driver.epoch, words, live_s))
        evidence = f"was live for {live_s:.1f} s" if ended.was_live else "never went live"
        self.note("ended", now, words, evidence, driver)
        if classify(cause) in STAY_AWAY:
            wait_s = self._budgets.dials.wait_ns(now.mono_ns) / 1e9
            self.note("limited", now, str(cause), f"no dial for {wait_s:.1f} s", driver)
        if isinstance(cause, ProtocolViolation) and cause is not self._counted:
            self.violations += 1
        if self._supervisor.states().get(driver.line) is LineState.HALTED:
            self._halted_by = cause
            self._merging.halted(driver.line)
            final = isinstance(cause, LoginRejected)
            why = "the venue calls it final" if final else "an unknown error is never retried"
            self.note("halted", now, words, why, driver)
        self._wake.set()

    # -- what selections ask for ------------------------------------------------------------

    def origin(self, topic: str, line: str, epoch: int) -> Origin:
        """Return what events of a topic say of where they came from."""
        spec = self.following.specs[topic]
        return Origin(spec.venue, spec.channel, spec.symbol, spec.topic, line, epoch)

    def changed(self, selection: Selection, changes: Changes) -> None:
        self._chains.changed(selection, changes)
        self._wake.set()

    def listing_failed(self, error: Exception) -> None:
        self.announce("resync", _words(error), "the listing was not to be had")

    def forget(self, topic: str) -> None:
        self.refusals.pop(topic, None)
        self._needs.forget(topic)
        self.audits.forget(topic)
        self.pauses.forget(topic)

    def retire_line(self, line: str) -> None:
        now = self.moment()
        for action in self._supervisor.remove(line):
            if isinstance(action, Retire):
                self._retire(action.epoch, now, drain=False)

    def announce(self, kind: NoticeKind, cause: str, evidence: str) -> None:
        self.note(kind, self.moment(), cause, evidence, None)

    def _make_listings(self, rng: Random) -> Listings | None:
        plan, rest = self.plan, self.plan.profile.rest
        if not plan.selections or rest is None:
            return None
        return Listings(
            plan.selections,
            rest,
            self._rest,
            plan.rest_endpoints,
            self._budgets.pools,
            self._clock,
            rng,
            self,
            plan.profile.more_instruments,
        )

    def refuse(self, topic: str, error: SubscriptionRejected, evidence: str) -> None:
        if topic not in self.refusals:
            self.refusals[topic] = error
            origin = topic_origin(self.following.specs[topic])
            self.note("refused", self.moment(), str(error), evidence, None, origin)

    def _ask(self, need: Need) -> None:
        self._needs.take(need)

    # -- notices ----------------------------------------------------------------------------

    def overflowed(self, topic: str, cause: str) -> None:
        """Note that the consumer's outlet was full, and dropped events of ``topic``."""
        newest = self.streams[topic].newest
        origin = None if newest is None else newest.origin
        self.note("slow-consumer", self.moment(), cause, "a gap says what", None, origin)

    def note(
        self,
        kind: NoticeKind,
        now: Moment,
        cause: str,
        evidence: str,
        driver: Driver | None,
        origin: Origin | None = None,
    ) -> None:
        line = None if driver is None else driver.line
        epoch = None if driver is None else driver.epoch
        self.notices.add(kind, now, cause, evidence, line=line, epoch=epoch, origin=origin)
        self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
