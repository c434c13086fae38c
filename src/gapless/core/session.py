"""One connection's conversation with a venue, without the connection.

The shell reports what happened (`opened`, `control`, `pong`, `lost`, `tick`) and carries out
the effects it gets back.  Data frames do not pass through here: the driver stores the time of
every frame in `heard_ns` and hands data straight to the streams.

There is a single timer.  After every call the shell may look at `deadline_ns`; when that time
comes it calls `tick`, which recomputes everything.  Nothing is re-armed for each frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gapless.core.budget import Budget
from gapless.core.codec import (
    Ack,
    Bundle,
    Codec,
    Denied,
    Granted,
    Heartbeat,
    Lifecycle,
    Listing,
    Reading,
    Refusal,
    Request,
    Shutdown,
    Status,
    Stray,
)
from gapless.core.lifecycle import Phase, Signal, step
from gapless.core.liveness import PathPolicy, PathVerdict, PathWatch
from gapless.core.requests import Outcome, Requests
from gapless.core.secrets import Login
from gapless.core.subscriptions import Subscriptions, Wish, batches
from gapless.errors import (
    ConnectionLost,
    DialFailed,
    LoginRejected,
    RateLimited,
    Stalled,
    SubscriptionRejected,
)

__all__ = [
    "Abort",
    "Close",
    "Confirmed",
    "Effect",
    "Ended",
    "Expiring",
    "Live",
    "Ping",
    "Refused",
    "Said",
    "Send",
    "Session",
    "SessionTerms",
    "Timing",
    "Unlisted",
]


RESERVED: Final = 2
"""Messages of the connection's budget that are kept free for a ping and a pong."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send one text frame.

    Attributes:
        shown: What may be recorded instead, if the frame holds a secret.
    """

    text: str
    shown: str | None = None

    def __repr__(self) -> str:
        return f"Send({self.text if self.shown is None else self.shown!r})"


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a WebSocket ping."""


@dataclass(frozen=True, slots=True)
class Close:
    """Start the closing handshake."""

    code: int = 1000


@dataclass(frozen=True, slots=True)
class Abort:
    """End at once: the peer is not worth a closing handshake."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """These topics are granted."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue refused one topic."""

    error: SubscriptionRejected


@dataclass(frozen=True, slots=True)
class Live:
    """Every topic is granted or refused."""


@dataclass(frozen=True, slots=True)
class Expiring:
    """This session should be replaced while it still works."""

    cause: str


@dataclass(frozen=True, slots=True)
class Said:
    """The venue said something worth a notice.

    Attributes:
        closed: Whether it is closed from now on or open again; see `gapless.core.codec.Status`.
    """

    kind: str  # a `NoticeKind`
    cause: str
    evidence: str
    closed: bool | None = None


@dataclass(frozen=True, slots=True)
class Unlisted:
    """The venue does not list these topics any more: it has dropped them without a word."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over.

    Attributes:
        cause: Why, or `None` if it was planned.
        live_ns: How long it was live, in nanoseconds; 0 if it never was.
        was_live: Whether it ever was.
    """

    cause: Exception | None
    live_ns: int
    was_live: bool


Effect = (
    Send | Ping | Close | Abort | Confirmed | Refused | Live | Expiring | Said | Unlisted | Ended
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long each phase may take, in nanoseconds.

    Args:
        dial_ns: DNS, TCP, TLS and upgrade together.
        login_ns: From sending the login to its answer.
        ack_ns: From sending any other request to its answer.
        lifetime_ns: From the upgrade to the planned replacement; `None` for no limit.
        drain_ns: How long a retired session still delivers.
        close_ns: How long the closing handshake may take.
    """

    dial_ns: int = 5_000_000_000
    login_ns: int = 10_000_000_000
    ack_ns: int = 10_000_000_000
    lifetime_ns: int | None = None
    drain_ns: int = 500_000_000
    close_ns: int = 1_500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What the venue allows one session.

    Args:
        messages: Budget of this connection: every frame we send counts one.
        pools: Shared request budgets by name; see `Request.pool`.
        topics_per_request: Most topics in one subscribe; `None` for no limit.
        request_bytes: Most bytes of topic names in one subscribe.
        beat_ns: How often the venue wants to hear from us, or `None`.
    """

    messages: Budget
    pools: Mapping[str, Budget]
    topics_per_request: int | None = None
    request_bytes: int = 16_384
    beat_ns: int | None = None


class Session:
    """Sans-I/O session.

    Args:
        codec: The venue's dialect.
        topics: What to subscribe to.
        timing: Deadlines by phase.
        terms: What the venue allows.
        path: How the connection is probed.
        endpoint: What to call the peer in errors.
        login: How it logs in before it subscribes, or `None` if it need not.

    Attributes:
        phase: Where it is in its life.
        heard_ns: When any frame last arrived; the driver writes it.
        listed_ns: When the venue last listed what is subscribed; 0 for never.
        subscriptions: Where each topic stands.
        shut_down: Whether the venue said that it will end this session.
    """

    def __init__(
        self,
        codec: Codec,
        topics: Sequence[str],
        timing: Timing,
        terms: SessionTerms,
        path: PathPolicy,
        endpoint: str = "",
        login: Login | None = None,
    ) -> None:
        self.phase = Phase.IDLE
        self.heard_ns = 0
        self.listed_ns = 0
        self.shut_down = False
        self.subscriptions = Subscriptions(topics)
        self.requests = Requests()
        self.watch = PathWatch(path, 0)  # begins anew when the transport is up
        self._codec = codec
        self._timing = timing
        self._terms = terms
        self._path = path
        self._endpoint = endpoint
        self._login = login  # forgotten as soon as it is answered
        self._outbox: deque[Request] = deque()
        self._flush_ns = 0  # when the next queued frame fits the budgets
        self._next_id = 1
        self._phase_since_ns = 0
        self._opened_ns = 0
        self._live_since_ns: int | None = None
        self._spoke_ns = 0  # when we last sent a frame
        self._expiring = False
        self._lists = False  # whether the venue has answered the newest listing
        self._again_id = 0  # the newest listing that was asked for on top
        self._cause: Exception | None = None

    # -- what happens -----------------------------------------------------------------------

    def dial(self, now_ns: int) -> list[Effect]:
        """Start.  The supervisor has already spent the dial budget."""
        self._signal(Signal.DIAL, now_ns)
        return []

    def opened(self, now_ns: int, wall_ns: int = 0) -> list[Effect]:
        """Note that the transport is up.

        Args:
            now_ns: Now, monotonic.
            wall_ns: The same moment, Unix time: a login names it.
        """
        if self.phase is not Phase.DIALING:
            return [Abort()]  # retired while the dial was under way
        self._opened_ns = self.heard_ns = now_ns
        self.watch = PathWatch(self._path, now_ns)
        self._signal(Signal.OPENED if self._login is None else Signal.LOGIN_NEEDED, now_ns)
        self._spoke_ns = now_ns
        for request in self._codec.setup(self._next_id):
            self._queue(request)
        if self._login is not None:
            self._login.wall_offset_ns = wall_ns - now_ns
            return self._flush(now_ns)
        self._ask_for(self.subscriptions.having(Wish.DESIRED))
        return self._flush(now_ns) + self._settle(now_ns)

    def control(self, reading: Reading, now_ns: int) -> list[Effect]:
        """Note a frame that is not data."""
        if self.phase in {Phase.IDLE, Phase.CLOSING, Phase.ENDED}:
            return []  # crossed our close
        match reading:
            case Ack():
                return self._acked(reading, now_ns)
            case Granted(topics=topics):
                return self._granted(topics, now_ns)
            case Denied():
                return self._denied(reading, now_ns)
            case Bundle(readings=readings):
                return [effect for part in readings for effect in self.control(part, now_ns)]
            case Refusal():
                return self._refused(reading, now_ns)
            case Heartbeat(reply=reply):
                return [] if reply is None else [self._send_now(reply, now_ns)]
            case Listing():
                return self._listed(reading, now_ns)
            case Shutdown(evidence=evidence):
                self.shut_down = True
                return self._expire("the venue will end this session", evidence)
            case Status(evidence=evidence, closed=closed):
                return [Said("venue", "the venue announced something", evidence, closed)]
            case Stray() | Lifecycle():
                return []  # the driver hands a lifecycle on to whoever follows listings

    def pong(self, now_ns: int) -> None:
        """Note the answer to a ping."""
        self.watch.pong(now_ns)

    def suspect(self, now_ns: int) -> list[Effect]:
        """Have the path prove itself now: the data is silent where it should not be."""
        if self.phase is not Phase.LIVE or self._terms.messages.wait_ns(now_ns):
            return []
        if not self.watch.suspect(self.heard_ns, now_ns):
            return []
        self._terms.messages.note(now_ns)
        return [Ping()]

    def pinged(self, now_ns: int) -> None:
        """Note that the transport answered a ping of the peer; the answer counts as a frame."""
        self._terms.messages.note(now_ns)

    def forgive(self, now_ns: int) -> None:
        """Judge the path and open requests anew from ``now_ns``: we were asleep, or do not read."""
        self.watch.forgive(now_ns)
        self.requests.put_off(now_ns + self._timing.ack_ns)

    def lost(self, cause: Exception, now_ns: int) -> list[Effect]:
        """Note that the transport is gone, or that the dial failed."""
        if self.phase in {Phase.IDLE, Phase.ENDED}:
            return []
        planned = self._cause is None and (self.phase in {Phase.CLOSING, Phase.DRAINING})
        live_ns = 0 if self._live_since_ns is None else now_ns - self._live_since_ns
        if self._login is not None:
            cause, self._login = self._login.closed(cause), None
        self._signal(Signal.LOST, now_ns)
        self.requests.close()
        self._outbox.clear()
        final = None if planned else self._cause or cause
        return [Ended(final, live_ns, self._live_since_ns is not None)]

    def retire(self, now_ns: int) -> list[Effect]:
        """End as planned: still deliver for a moment if live, else close."""
        match self.phase:
            case Phase.IDLE:
                self._signal(Signal.RETIRE, now_ns)
                return [Ended(None, 0, was_live=False)]
            case Phase.DIALING | Phase.LOGGING_IN | Phase.SUBSCRIBING:
                self._signal(Signal.RETIRE, now_ns)
                return [Close()]
            case Phase.LIVE:
                self._signal(Signal.RETIRE, now_ns)
                return []
            case Phase.DRAINING | Phase.CLOSING | Phase.ENDED:
                return []

    def drained(self, now_ns: int) -> list[Effect]:
        """Close a retired session now: nothing more is wanted of it."""
        if self.phase is not Phase.DRAINING:
            return []
        self._signal(Signal.DRAINED, now_ns)
        return [Close()]

    def abort(self, cause: Exception, now_ns: int) -> list[Effect]:
        """End at once because of ``cause``."""
        if self.phase in {Phase.IDLE, Phase.CLOSING, Phase.ENDED}:
            return []
        self._cause = cause
        self._signal(Signal.ABORT, now_ns)
        return [Abort()]

    def resubscribe(self, topic: str, now_ns: int) -> list[Effect]:
        """Unsubscribe and subscribe one topic, so that the venue sends its state anew."""
        granted = self.subscriptions.stands(topic) is Wish.CONFIRMED
        if self.phase is not Phase.LIVE or not granted:
            return []  # it is being asked for already, or the session is on its way out
        for request in self._codec.unsubscribe(self._next_id, (topic,)):
            self._queue(request)
        self._ask_for((topic,))
        return self._flush(now_ns)

    def list_again(self, now_ns: int) -> list[Effect]:
        """Ask what the venue thinks is subscribed, where it can be asked and has answered before.

        A venue that does not answer is not asked again, and nothing else follows from it.
        """
        if self.phase is not Phase.LIVE or not self._lists:
            return []
        request = self._codec.once_live(self._next_id)
        if request is None or request.kind != "listing":
            return []
        self._lists, self._again_id = False, request.id
        self._queue(request)
        return self._flush(now_ns)

    def follow(self, topics: Sequence[str], now_ns: int) -> list[Effect]:
        """Subscribe more topics, now or as soon as the session is open."""
        fresh = self.subscriptions.add(topics)
        if not fresh or self.phase not in {Phase.SUBSCRIBING, Phase.LIVE}:
            return []
        self._ask_for(fresh)
        return self._flush(now_ns)

    def unfollow(self, topics: Sequence[str], now_ns: int, *, tell: bool) -> list[Effect]:
        """Carry these topics no more.

        Args:
            topics: Which.
            now_ns: Now.
            tell: Whether the venue must be told; it knows of what has expired.
        """
        held = self.subscriptions.remove(topics)
        terms = self._terms
        if tell and self.phase in {Phase.SUBSCRIBING, Phase.LIVE}:
            for batch in batches(held, terms.topics_per_request, terms.request_bytes):
                for request in self._codec.unsubscribe(self._next_id, batch):
                    self._queue(request)
        return self._flush(now_ns) + self._settle(now_ns)

    def tick(self, now_ns: int) -> list[Effect]:
        """Act on whatever is due; do nothing if nothing is."""
        since_ns, timing = self._phase_since_ns, self._timing
        match self.phase:
            case Phase.IDLE | Phase.ENDED:
                return []
            case Phase.DIALING:
                if now_ns < since_ns + timing.dial_ns:
                    return []
                return self.abort(DialFailed("upgrade", self._endpoint, "took too long"), now_ns)
            case Phase.CLOSING:
                if now_ns < since_ns + timing.close_ns:
                    return []
                return [Abort(), *self.lost(ConnectionLost(), now_ns)]
            case Phase.DRAINING:
                return self.drained(now_ns) if now_ns >= since_ns + timing.drain_ns else []
            case Phase.LOGGING_IN | Phase.SUBSCRIBING | Phase.LIVE:
                return self._tick_open(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` must be called next, monotonic; `None` before and after its life."""
        since_ns, timing = self._phase_since_ns, self._timing
        match self.phase:
            case Phase.IDLE | Phase.ENDED:
                return None
            case Phase.DIALING:
                return since_ns + timing.dial_ns
            case Phase.CLOSING:
                return since_ns + timing.close_ns
            case Phase.DRAINING:
                return since_ns + timing.drain_ns
            case Phase.LOGGING_IN | Phase.SUBSCRIBING | Phase.LIVE:
                return self._deadline_open_ns()

    def shown(self, text: str) -> str:
        """Return what may be recorded of the peer's ``text``: it may repeat what we log in with."""
        return text if self._login is None else self._login.hide(text)

    @property
    def rtt_ns(self) -> int | None:
        """Round trip of the last ping, in nanoseconds."""
        return self.watch.rtt_ns

    # -- while open -------------------------------------------------------------------------

    def _tick_open(self, now_ns: int) -> list[Effect]:
        effects = self._flush(now_ns)
        overdue = [r for r in self.requests.overdue(now_ns) if not self._waived(r)]
        if overdue:
            return effects + self._unanswered(overdue, now_ns)
        idle = self.phase is Phase.SUBSCRIBING and not self._outbox and not len(self.requests)
        if idle and now_ns >= self._phase_since_ns + self._timing.ack_ns:
            return effects + self._unanswered([], now_ns)  # a topic that nobody asked for
        if self._expires_ns is not None and now_ns >= self._expires_ns:
            effects += self._expire("its lifetime is nearly over", "the venue's stated limit")
        effects += self._beat(now_ns)
        heard_ns = self.heard_ns
        match self.watch.check(heard_ns, now_ns):
            case PathVerdict.PING:
                self._terms.messages.note(now_ns)
                effects.append(Ping())
            case PathVerdict.DEAD:
                silent_ns = now_ns - heard_ns
                evidence = "no frame arrived, not even the answer to a ping"
                effects += self.abort(Stalled(silent_ns, evidence), now_ns)
            case PathVerdict.FINE:
                pass
        return effects

    def _deadline_open_ns(self) -> int:
        times = [self.requests.deadline_ns, self._expires_ns, self._beat_due_ns]
        times.append(self.watch.deadline_ns(self.heard_ns))
        if self._outbox or self._owes_login:
            times.append(self._flush_ns)
        return min(time for time in times if time is not None)

    @property
    def _expires_ns(self) -> int | None:
        # The venue counts from the upgrade, not from our last subscription.
        lifetime_ns = self._timing.lifetime_ns
        if lifetime_ns is None or self._expiring:
            return None
        return self._opened_ns + lifetime_ns

    @property
    def _beat_due_ns(self) -> int | None:
        beat_ns = self._terms.beat_ns
        return None if beat_ns is None else self._spoke_ns + beat_ns

    def _beat(self, now_ns: int) -> list[Effect]:
        """Say something where the venue wants to hear from us and nothing else was said."""
        if self._beat_due_ns is None or now_ns < self._beat_due_ns:
            return []
        request = self._codec.beat(self._next_id)
        if request is not None:
            self._next_id = max(self._next_id, request.id + 1)
            return [self._send_now(request, now_ns)]
        self._terms.messages.note(now_ns)
        self._spoke_ns = now_ns
        self.watch.pings.sent(now_ns)
        return [Ping()]

    def _expire(self, cause: str, evidence: str) -> list[Effect]:
        if self._expiring:
            return []
        self._expiring = True
        return [Said("venue", cause, evidence), Expiring(cause)]

    def _unanswered(self, overdue: list[Request], now_ns: int) -> list[Effect]:
        if self.phase is Phase.LOGGING_IN:
            detail = f"no answer within {self._timing.login_ns / 1e9:.0f} s"
            return self.abort(DialFailed("login", self._endpoint, detail), now_ns)
        if self.phase is Phase.SUBSCRIBING:
            detail = f"no answer within {self._timing.ack_ns / 1e9:.0f} s"
            return self.abort(DialFailed("subscribe", self._endpoint, detail), now_ns)
        evidence = f"request {overdue[0].kind} was not answered"
        return self.abort(Stalled(self._timing.ack_ns, evidence), now_ns)

    def _waived(self, request: Request) -> bool:
        """Give up a listing that was asked for on top: the venue answers no more of them."""
        if request.id != self._again_id:
            return False
        self.requests.ended(request.id, Outcome.UNKNOWN)
        return True

    # -- requests ---------------------------------------------------------------------------

    def _ask_for(self, topics: Sequence[str]) -> None:
        self.subscriptions.asked(topics)
        terms = self._terms
        for batch in batches(topics, terms.topics_per_request, terms.request_bytes):
            for request in self._codec.subscribe(self._next_id, batch):
                self._queue(request)

    def _queue(self, request: Request) -> None:
        self._next_id = max(self._next_id, request.id + 1)
        self._outbox.append(request)
        if request.id:
            self.requests.opened(request)

    def _flush(self, now_ns: int) -> list[Effect]:
        """Send what the budgets allow, in order."""
        effects: list[Effect] = []
        while self._outbox:
            wait_ns = self._pay_ns(self._outbox[0], now_ns)
            self._flush_ns = now_ns + wait_ns
            if wait_ns:
                break
            effects.append(self._send_paid(self._outbox.popleft(), now_ns))
        if self._login is not None and self._owes_login and not self._outbox:
            effects += self._log_in(self._login, now_ns)
        return effects

    def _send_now(self, request: Request, now_ns: int) -> Send:
        """Send what cannot wait."""
        if request.pool is not None:
            self._terms.pools[request.pool].note(now_ns, request.units)
        return self._send_paid(request, now_ns)

    def _send_paid(self, request: Request, now_ns: int) -> Send:
        self._terms.messages.note(now_ns)
        if request.id and request.kind != "reply":
            timing = self._timing
            answer_ns = timing.login_ns if request.kind == "login" else timing.ack_ns
            self.requests.sent(request.id, now_ns + answer_ns)
        self._spoke_ns = now_ns
        return Send(request.text, request.shown)

    def _pay_ns(self, request: Request, now_ns: int) -> int:
        """Pay for a request from its pool; return 0, or how long until that can be done."""
        # A ping of ours and a pong to the venue's must fit beside whatever is queued.
        wait_ns = self._terms.messages.wait_ns(now_ns, 1 + RESERVED)
        if wait_ns or request.pool is None:
            return wait_ns
        return self._terms.pools[request.pool].take(now_ns, request.units)

    def _acked(self, ack: Ack, now_ns: int) -> list[Effect]:
        login_id = 0 if self._login is None else self._login.id
        request = self.requests.get(ack.request_id or login_id)
        asking = () if request is None else self.requests.unanswered(request)
        self.requests.ended(ack.request_id or login_id, Outcome.ANSWERED)
        if request is not None and request.kind == "login":
            return self._logged_in(now_ns)
        if request is None or request.kind != "subscribe":
            return []
        # What was asked for anew since has an answer of its own under way.
        granted = asking
        if ack.topics is not None:
            wanted = frozenset(asking)
            granted = tuple(topic for topic in ack.topics if topic in wanted)
        effects: list[Effect] = []
        if fresh := self.subscriptions.granted(granted):
            effects.append(Confirmed(fresh))
        effects += self._refuse([topic for topic in asking if topic not in granted], None, "")
        return effects + self._settle(now_ns)

    def _refused(self, refusal: Refusal, now_ns: int) -> list[Effect]:
        if refusal.limited:
            return self.abort(RateLimited(refusal.code), now_ns)
        request_id = refusal.request_id
        if request_id is None and refusal.ordered:
            request_id = self.requests.oldest_sent
        request = self.requests.get(request_id)
        login = self._login
        if login is not None and login.id and request_id in {None, login.id}:
            return self.abort(login.refused(refusal.code, refusal.detail), now_ns)
        asking = request is not None and request.kind == "subscribe"
        topics = self.requests.unanswered(request) if request is not None and asking else ()
        self.requests.ended(request_id, Outcome.REJECTED)
        if not topics:  # nothing hangs on it, or what did has been asked for anew since
            return [Said("venue", f"the venue refused a request ({refusal.code})", refusal.detail)]
        if len(topics) == 1:
            effects = self._refuse(topics, refusal.code, refusal.detail)
            return effects + self._settle(now_ns)
        # One bad topic spoils the frame: halve it until the bad one stands alone.
        middle = len(topics) // 2
        self._ask_for(topics[:middle])
        self._ask_for(topics[middle:])
        return self._flush(now_ns)

    # -- the login --------------------------------------------------------------------------

    @property
    def _owes_login(self) -> bool:
        return self.phase is Phase.LOGGING_IN and self._login is not None and not self._login.id

    def _log_in(self, login: Login, now_ns: int) -> list[Effect]:
        """Make the request and send it, or forget it: it names the moment at which it is sent."""
        try:
            request = login.request(self._next_id, now_ns)
        except LoginRejected as error:
            return self.abort(error, now_ns)
        wait_ns = self._pay_ns(request, now_ns)
        self._flush_ns = now_ns + wait_ns
        if wait_ns:
            return []
        login.id, self._next_id = request.id, request.id + 1
        self.requests.opened(msgspec.structs.replace(request, text=""))  # it holds a secret
        return [self._send_paid(request, now_ns)]

    def _logged_in(self, now_ns: int) -> list[Effect]:
        self._login = None
        self._signal(Signal.LOGGED_IN, now_ns)
        self._ask_for(self.subscriptions.having(Wish.DESIRED))
        return self._flush(now_ns) + self._settle(now_ns)

    # -- answers ----------------------------------------------------------------------------

    def _granted(self, topics: Sequence[str], now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        answered = [topic for topic in topics if not self.requests.queued(topic)]
        if fresh := self.subscriptions.granted(answered):
            effects.append(Confirmed(fresh))
        for topic in answered:  # some of them may be followed no more
            self.requests.answered(topic)
        return effects + self._settle(now_ns)

    def _denied(self, denied: Denied, now_ns: int) -> list[Effect]:
        topics = [topic for topic in denied.topics if not self.requests.queued(topic)]
        for topic in topics:
            self.requests.answered(topic)
        effects = self._refuse(topics, denied.code, denied.detail)
        return effects + self._settle(now_ns)

    def _refuse(self, topics: Sequence[str], code: int | None, detail: str) -> list[Effect]:
        return [
            Refused(SubscriptionRejected(topic, code, detail))
            for topic in self.subscriptions.refused(topics)
        ]

    def _listed(self, listing: Listing, now_ns: int) -> list[Effect]:
        request = self.requests.ended(listing.request_id, Outcome.ANSWERED)
        if request is None:
            return []
        self._lists, self.listed_ns = True, now_ns
        never, dropped = self.subscriptions.listing(frozenset(listing.topics))
        effects = self._refuse(never, None, "the venue does not list it")
        return [*effects, Unlisted(dropped)] if dropped else effects

    def _settle(self, now_ns: int) -> list[Effect]:
        if self.phase is not Phase.SUBSCRIBING or not self.subscriptions.settled:
            return []
        self._signal(Signal.SUBSCRIBED, now_ns)
        self._live_since_ns = now_ns
        if (request := self._codec.once_live(self._next_id)) is not None:
            self._queue(request)
        return [Live(), *self._flush(now_ns)]

    def _signal(self, signal: Signal, now_ns: int) -> None:
        self.phase = step(self.phase, signal)
        self._phase_since_ns = now_ns
