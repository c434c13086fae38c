"""What a dialect is: one venue's way of saying what the world does.

A `Dialect` answers clients, judges them by the venue's limits, and owns the venue's topics.  A
`Topic` turns steps of one market into messages; all sessions that are subscribed to it get the
same messages, as they would from one node of the venue.  With several nodes each has its own
topics, whose batches are cut at different moments.

Topics that nobody uses do no work, unless the truth log wants them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gapless.sim.matching import ASK, BID
from gapless.sim.numbers import Scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gapless.sim.chain import ChainOptions
    from gapless.sim.exchange import Exchange
    from gapless.sim.session import SimSession
    from gapless.sim.world import BookView, Market, Step, SymbolSpec

__all__ = [
    "MS",
    "SECOND",
    "BatchedTopic",
    "Dialect",
    "Recorded",
    "RestReply",
    "SimOptions",
    "Topic",
]

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOptions:
    """How the simulated venue is run.  The defaults are the venue as documented.

    Attributes:
        limits: Enforce the venue's limits on dials, messages, requests and connections.
        lifetime_s: Cut every session this long after it was opened; `None` is the venue's rule.
        snapshot_stale_ms: Serve books by request as they were this long ago.
        nodes: Nodes behind the endpoint; sessions are spread over them in turn, and each cuts
            its batches at other moments.
        allow_raw: Deribit: give ``raw`` channels to sessions that did not log in.
        heartbeat_grace_s: Deribit: time to answer a ``test_request``.  The documents give none.
        token_ttl_s: Deribit: ``expires_in`` of a login.
        list_unknown: Binance: ``LIST_SUBSCRIPTIONS`` names streams that will never speak.
        ban_s: Binance: length of the first ban with 418; each further one is twice as long.
        truth_topics: Topics in the truth log from the start; `None` for the default variants of
            all symbols.
        chain: Deribit: an option chain beside the symbols, or `None`.
    """

    limits: bool = True
    lifetime_s: float | None = None
    snapshot_stale_ms: int = 0
    nodes: int = 1
    allow_raw: bool = False
    heartbeat_grace_s: float = 5.0
    token_ttl_s: int = 31_536_000
    list_unknown: bool = False
    ban_s: float = 120.0
    truth_topics: tuple[str, ...] | None = None
    chain: ChainOptions | None = None


@dataclass(frozen=True, slots=True)
class RestReply:
    """Answer to an HTTP request.

    Attributes:
        status: HTTP status.
        headers: Response headers beside those of HTTP itself.
        body_text: JSON text.
        hang: Never answer, and keep the connection open.
    """

    status: int
    headers: dict[str, str]
    body_text: str
    hang: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message of a capture, ready to be sent to whoever subscribed to it.

    Attributes:
        topics: Topics it may belong to; more than one where the message does not say which.
        body: The message without the venue's wrapper.
        full: The message in the wrapper, or `None` where the topic must be known to build it.
    """

    topics: tuple[str, ...]
    body: str
    full: str | None


class Topic:
    """One topic of one market on one node.

    Attributes:
        name: The venue's name of the topic.
        channel: ``trades``, ``book``, ``bbo`` or ``ticker``, or the venue's word for others.
        symbol: The venue's name of the symbol, or an empty string.
        node: Which node.
        sessions: Who is subscribed, in the order of subscription.
        recorded: Whether the truth log wants it.
        count: Messages published so far.
        prefix, suffix: The wrapper around bodies.
    """

    __slots__ = (
        "channel",
        "count",
        "dialect",
        "market",
        "name",
        "node",
        "prefix",
        "price",
        "recorded",
        "sessions",
        "size",
        "suffix",
        "symbol",
    )

    def __init__(
        self,
        dialect: Dialect,
        name: str,
        channel: str,
        market: Market | None,
        node: int,
    ) -> None:
        self.dialect = dialect
        self.name = name
        self.channel = channel
        self.node = node
        self.sessions: tuple[SimSession, ...] = ()
        self.recorded = False
        self.count = 0
        self.prefix, self.suffix = dialect.wrapper(name)
        if market is not None:
            self.market: Market = market
            self.symbol = market.spec.name
            self.price, self.size = dialect.scales[market.index]
        else:
            self.symbol = ""

    def on_step(self, step: Step) -> None:
        """Say what ``step`` means in this topic; the market has taken it in already."""

    def welcome(self, session: SimSession, now_ns: int) -> None:
        """Send ``session`` what a new subscriber gets at once."""

    def publish(self, ns: int, first: int | None, last: int | None, body: str) -> None:
        """Send one message to everybody who is subscribed."""
        self.count += 1
        if not self.sessions:
            return
        numbers = (self.count, first, last)
        full = ""
        for session in self.sessions:
            if session.bare:
                session.data(self, ns, numbers, body)
            else:
                full = full or self.prefix + body + self.suffix
                session.data(self, ns, numbers, full)

    def send_one(
        self, session: SimSession, ns: int, first: int | None, last: int | None, body: str
    ) -> None:
        """Send a message that is only for one session."""
        text = body if session.bare else self.prefix + body + self.suffix
        session.data(self, ns, (None, first, last), text)

    def record(
        self, ns: int, event_ns: int | None, first: int | None, last: int | None, **payload: Any
    ) -> None:
        """Log an event that the next message will carry; call only if `recorded`."""
        truth = self.dialect.exchange.truth
        if truth is not None:
            truth.write(
                {
                    "type": "world",
                    "venue": self.dialect.venue,
                    "channel": self.channel,
                    "topic": self.name,
                    "symbol": self.symbol,
                    "ns": ns,
                    "event_ns": event_ns,
                    "n": self.count + 1,
                    "first": first,
                    "last": last,
                    **payload,
                }
            )

    def floats(self, levels: Iterable[tuple[int, int]]) -> list[list[float]]:
        """Return levels as a consumer sees them."""
        price, size = self.price.value, self.size.value
        return [[price[p], size[s]] for p, s in levels]


class BatchedTopic(Topic):
    """A topic that speaks at most once in every interval, and only if something happened.

    Attributes:
        interval_ns: Length of the interval; messages leave at multiples of it, shifted by node.
    """

    __slots__ = ("_armed", "interval_ns")

    def __init__(
        self,
        dialect: Dialect,
        name: str,
        channel: str,
        market: Market,
        node: int,
        *,
        interval_ns: int,
    ) -> None:
        super().__init__(dialect, name, channel, market, node)
        self.interval_ns = interval_ns
        self._armed = False

    def arm(self, now_ns: int) -> None:
        """Make sure that `flush` is called at the end of the current interval."""
        if not self._armed:
            self._armed = True
            dialect = self.dialect
            phase_ns = self.interval_ns * self.node // dialect.options.nodes
            periods = (now_ns - phase_ns) // self.interval_ns + 1
            dialect.exchange.call_at(periods * self.interval_ns + phase_ns, self._fire)

    def settle(self, now_ns: int) -> None:
        """Speak now of what has gathered, so that the log is whole."""
        if self._armed:
            self._fire(now_ns)

    def _fire(self, now_ns: int) -> None:
        self._armed = False
        if self.sessions or self.recorded:
            self.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        """Send what has gathered."""
        raise NotImplementedError


class Dialect(ABC):
    """One venue.  An instance serves one exchange.

    Attributes:
        venue: Name of the venue, such as ``binance.spot``.
        usual_symbols: What is traded where nothing else is asked for.
        invented: How symbols look that are made up where more are asked for.
        unsupported: Faults that this venue cannot have.
        has_chain: Whether it can list an option chain.
        size_digits: Digits after the point of printed numbers; `None` prints as few as possible.
        replay: Whether the data come from a capture: then every topic is accepted, and none
            speaks by itself.
        scales: Price and size scale of each market.
    """

    venue: ClassVar[str]
    usual_symbols: ClassVar[tuple[str, ...]] = ()
    invented: ClassVar[str] = "SIM{:03}"
    unsupported: ClassVar[frozenset[str]] = frozenset()
    has_chain: ClassVar[bool] = False
    size_digits: ClassVar[int | None] = None

    exchange: Exchange

    def __init__(self, options: SimOptions | None = None) -> None:
        self.options = options or SimOptions()
        self.replay = False
        self.scales: list[tuple[Scale, Scale]] = []
        self._topics: dict[tuple[str, int], Topic] = {}
        self._speaking: list[tuple[Topic, ...]] = []

    def more_specs(self) -> list[SymbolSpec]:
        """Return what is traded besides the symbols asked for."""
        return []

    @classmethod
    def invented_symbol(cls, index: int) -> str:
        """Return the made-up symbol with this number."""
        return cls.invented.format(index)

    # -- for the exchange ---------------------------------------------------------------------

    def attach(self, exchange: Exchange) -> None:
        """Take up service; called once, by the exchange."""
        self.exchange = exchange
        digits = self.size_digits
        if exchange.world is None:
            self.replay = True
            return
        markets = exchange.world.markets
        self.scales = [(Scale(m.spec.tick, digits), Scale(m.spec.lot, digits)) for m in markets]
        self._speaking = [() for _ in markets]
        if exchange.truth is not None:
            names = self.options.truth_topics
            if names is None:
                names = tuple(n for m in markets for n in self.default_topics(m.spec.name))
            for name in names:
                self._open(name, 0)

    def on_step(self, step: Step) -> None:
        """Tell the topics of a market what happened in it."""
        for topic in self._speaking[step.index]:
            topic.on_step(step)

    def view(self, market: Market, now_ns: int, limit: int | None) -> BookView:
        """Return the book that a request gets: the present one, unless it is to be stale."""
        record = self.exchange.faults.strike("stale_snapshot", symbol=market.spec.name)
        stale_ms = (
            self.options.snapshot_stale_ms if record is None else record.fault.get("stale_ms")
        )
        return market.view_at(now_ns - stale_ms * MS, limit) if stale_ms else market.view(limit)

    def final(self, market: Market) -> dict[str, Any]:
        """Return the truth record of a market's last state."""
        price, size = (scale.value for scale in self.scales[market.index])
        book = market.book
        return {
            "type": "final",
            "venue": self.venue,
            "symbol": market.spec.name,
            "number": self.number_of(market),
            "bids": [[price[p], size[s]] for p, s in book.levels(BID)],
            "asks": [[price[p], size[s]] for p, s in book.levels(ASK)],
        }

    # -- topics ---------------------------------------------------------------------------------

    def subscribe(self, session: SimSession, name: str, now_ns: int) -> Topic | None:
        """Subscribe ``session``; `None` if the topic will never speak.

        The caller sends the acknowledgement and then calls `Topic.welcome`.
        """
        topic = self._open(name, session.id % self.options.nodes)
        session.topics[name] = topic
        if topic is not None and session not in topic.sessions:
            topic.sessions = (*topic.sessions, session)
        self.exchange.on_subscribed(session, now_ns)
        return topic

    def unsubscribe(self, session: SimSession, name: str) -> bool:
        """End a subscription; return whether there was one."""
        if name not in session.topics:
            return False
        topic = session.topics.pop(name)
        if topic is not None:
            topic.sessions = tuple(other for other in topic.sessions if other is not session)
            if not topic.sessions and not topic.recorded:
                self._close(topic)
        return True

    def settle(self, now_ns: int) -> None:
        """Let every topic speak of what has gathered: the venue is about to close."""
        for topic in list(self._topics.values()):
            if isinstance(topic, BatchedTopic):
                topic.settle(now_ns)

    def drop(self, session: SimSession) -> None:
        """End all subscriptions of a session that is over."""
        for name in list(session.topics):
            self.unsubscribe(session, name)

    def broadcast(self, name: str, ns: int, body: str) -> None:
        """Publish ``body`` in a topic of no market to whoever is subscribed."""
        for node in range(self.options.nodes):
            topic = self._topics.get((name, node))
            if topic is not None:
                topic.publish(ns, None, None, body)

    def _open(self, name: str, node: int) -> Topic | None:
        topic = self._topics.get((name, node))
        if topic is None:
            topic = self.silent_topic(name) if self.replay else self.make_topic(name, node)
            if topic is None:
                return None
            self._topics[name, node] = topic
            # Once in use, a topic stays in the truth log, whoever leaves.
            topic.recorded = self.exchange.truth is not None and node == 0 and not self.replay
            if topic.symbol:
                index = topic.market.index
                self._speaking[index] = (*self._speaking[index], topic)
        return topic

    def _close(self, topic: Topic) -> None:
        del self._topics[topic.name, topic.node]
        if topic.symbol:
            index = topic.market.index
            self._speaking[index] = tuple(t for t in self._speaking[index] if t is not topic)

    # -- for each venue -------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def specs(cls, names: Sequence[str]) -> list[SymbolSpec]:
        """Return what these symbols are; made up, but always the same, for unknown names."""

    @abstractmethod
    def default_topics(self, symbol: str) -> list[str]:
        """Return the default variant of each channel."""

    @abstractmethod
    def make_topic(self, name: str, node: int) -> Topic | None:
        """Create a topic; `None` if the venue has none of that name."""

    def silent_topic(self, name: str) -> Topic:
        """Create a topic that takes part in bookkeeping only."""
        return Topic(self, name, "replay", None, 0)

    @abstractmethod
    def wrapper(self, name: str) -> tuple[str, str]:
        """Return what stands before and after the body of a message of topic ``name``."""

    @abstractmethod
    def number_of(self, market: Market) -> int:
        """Return the number of the book as it is now, in the venue's numbering."""

    @abstractmethod
    def admit(self, path: str, query: dict[str, str], peer_ip: str, now_ns: int) -> None:
        """Raise `Refused` unless a connection may be opened."""

    @abstractmethod
    def opened(self, session: SimSession, query: dict[str, str], now_ns: int) -> None:
        """Set up a new session."""

    @abstractmethod
    def on_text(self, session: SimSession, text: str, now_ns: int) -> None:
        """Answer a message."""

    def on_ping(self, session: SimSession, payload: bytes, now_ns: int) -> None:
        """Answer a ping frame."""
        session.pong(payload)

    @abstractmethod
    def on_pong(self, session: SimSession, payload: bytes, now_ns: int) -> None:
        """Take a pong frame."""

    @abstractmethod
    def on_slow(self, session: SimSession, now_ns: int) -> None:
        """Cut off a client that reads too slowly, as the venue does."""

    @abstractmethod
    def rest(
        self, method: str, path: str, query: dict[str, str], peer_ip: str, now_ns: int
    ) -> RestReply:
        """Answer an HTTP request."""

    def rest_failure(self, status: int) -> str:
        """Return the body of an answer that a fault made fail."""
        return f'{{"code":-1000,"msg":"simulated failure {status}"}}'

    def shutdown_notice(self, session: SimSession, now_ns: int) -> str | None:
        """Return the venue's announcement that it will cut this session, if it makes any."""
        return None

    def maintenance(self, on: bool, now_ns: int) -> None:
        """Begin or end maintenance; called only if the venue supports that fault."""
        raise NotImplementedError

    @abstractmethod
    def recognise_frame(self, text: str) -> Recorded | None:
        """Return a recorded message as it can be sent again; `None` if it is not market data."""

    def book_symbol(self, topic: str) -> str | None:
        """Return whose book changes ``topic`` carries, if recorded bodies do not say theirs."""
        return None

    @abstractmethod
    def recognise_rest(self, url: str | None, text: str) -> tuple[str, str] | None:
        """Return which request a recorded body answers, as ``(path, symbol)``.

        The symbol is empty where neither the body nor the URL says it; `None` if the body is
        of no use.
        """

    @abstractmethod
    def rest_key(self, path: str, query: dict[str, str]) -> tuple[str, str]:
        """Return the ``(path, symbol)`` that a request asks for, to match recorded bodies."""
