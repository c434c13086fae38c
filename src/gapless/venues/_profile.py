"""What a venue module must declare.

Every fact carries where it was read and when.  ``None`` as a value means *the venue documents
no such limit*; `UNREAD` means that nobody has looked, and is not allowed in a released venue.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import Enum, unique
from typing import Final, Generic, Literal, Protocol, TypeVar

import msgspec

from gapless.core.audit import BulkTop
from gapless.core.breaker import Breaker, BreakerPolicy
from gapless.core.budget import Budget, Limit, Window
from gapless.core.calendar import DailyPause
from gapless.core.checksum import Checksum
from gapless.core.codec import Codec, Request
from gapless.core.secrets import Secrets
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom, TopicSpec
from gapless.core.universe import Instrument
from gapless.errors import DecodeError, UsageError
from gapless.events import BookSnapshot, Origin, Trade

__all__ = [
    "MS",
    "SECOND",
    "UNREAD",
    "Arbitration",
    "BulkReads",
    "Channel",
    "CodecMaker",
    "Confidence",
    "Endpoints",
    "Fact",
    "LoginMaker",
    "MoreInstruments",
    "NoPastTrades",
    "NoSnapshots",
    "Profile",
    "Rest",
    "RestGet",
    "ServerTime",
    "VenueBudgets",
]

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
UNREAD: Final = "UNREAD"

Confidence = Literal["H", "M", "L"]
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Fact(Generic[T_co]):
    """A value and where the venue says so.

    Args:
        value: The value.
        source: Document and heading in the venue's own documentation, or how it was found.
        as_of: Date the source was read, ISO 8601.
        confidence: ``H`` read in an official text, ``M`` official but old or conflicting, or
            seen in traffic only, ``L`` inferred.
        note: What a reader should know besides.
    """

    value: T_co
    source: str
    as_of: str
    confidence: Confidence = "H"
    note: str = ""


@unique
class Arbitration(Enum):
    """How redundant lines of a topic are merged."""

    BY_SEQUENCE = "by sequence"
    BY_IDENTITY = "by the venue's id of each message"
    BY_TIME = "newest image by the venue's time"
    FAILOVER_ONLY = "failover only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One kind of data.

    Args:
        name: Our name: ``trades``, ``book``, ``bbo`` or ``ticker``.
        topics: Topic template of each variant; ``{symbol}`` is replaced, and ``{lower}`` and
            ``{upper}`` by the symbol in that case.  The first is default.
        numbering: What the numbers prove, and where that is written.
        arbitration: How lines are merged.
        snapshot: For books, where snapshots come from, and the alignment rule.
        speaks_on_subscribe: Whether something arrives at once after subscribing.
        paths: Path of the endpoint that serves a variant, where it is not the profile's own.
        depths: Levels a side that the venue keeps up to date, for variants that are cut.
        checksum: How the book is checked, for books that are.
        private: Variants that need a login.
        unlike: Variants that differ from the others in kind: a channel of their own, whose
            ``topics`` name them.
    """

    name: str
    topics: Mapping[str, str]
    numbering: Fact[Numbering]
    arbitration: Arbitration
    snapshot: Fact[SnapshotFrom] | None = None
    speaks_on_subscribe: Fact[bool]
    paths: Mapping[str, str] = field(default_factory=dict)
    depths: Mapping[str, int] = field(default_factory=dict)
    checksum: Checksum | None = None
    private: frozenset[str] = frozenset()
    unlike: tuple[Channel, ...] = ()

    def having(self, variant: str) -> Channel | None:
        """Return the channel that has this variant: this one, or one unlike it."""
        if variant in self.topics:
            return self
        return next((other for other in self.unlike if variant in other.topics), None)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """WebSocket endpoints.

    Args:
        public: Market data, best first.
        test: The venue's own test system.
        path: Path to add to an endpoint that has none.
        independent: Whether the public ones are known to fail independently.
    """

    public: tuple[str, ...]
    test: tuple[str, ...]
    path: str
    independent: bool | None


@dataclass(frozen=True, slots=True)
class RestGet:
    """One REST read.

    Attributes:
        path: Path of the request.
        query: Its parameters, in order.
        pool: Which budget pays.
        units: What it costs there.
        body: JSON to send with POST, where the venue reads that way; `None` for GET.
    """

    path: str
    query: tuple[tuple[str, str], ...]
    pool: str
    units: int
    body: str | None = None


@dataclass(frozen=True, slots=True)
class ServerTime:
    """Where the venue says what time it is.

    Attributes:
        path: Path of the REST read.
        pool: Which budget pays.
        keys: Where the number stands in the reply: names, and positions in lists.
        unit_ns: What the number counts, in nanoseconds; it may be written as text.
        units: What a read costs.
    """

    path: str
    pool: str
    keys: tuple[str | int, ...]
    unit_ns: int
    units: int = 1

    def request(self) -> RestGet:
        """Return the request."""
        return RestGet(self.path, (), self.pool, self.units)

    def read(self, body: bytes) -> tuple[int, int]:
        """Return the venue's Unix time and how finely it is told, both in nanoseconds.

        Raises:
            gapless.errors.DecodeError: If it is not what the venue documents.
        """
        text = ""
        try:
            found = msgspec.json.decode(body)
            for key in self.keys:
                found = found[key]
            text = str(found)
        except (LookupError, TypeError, msgspec.MsgspecError, RecursionError):
            pass
        if not _NUMBER.fullmatch(text):
            raise DecodeError("no time where the venue documents it")
        decimals = len(text.partition(".")[2])
        return int(Decimal(text) * self.unit_ns), max(1, self.unit_ns // 10**decimals)


class Rest(Protocol):
    """The venue's REST reads: whole books, past trades, and what is listed.

    Whatever a venue does not offer is answered with `None` or an empty tuple.
    """

    def snapshot(self, symbol: str) -> RestGet | None:
        """Return the request for a book that deltas can be aligned with."""

    def read_snapshot(
        self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int, *, texts: bool = False
    ) -> BookSnapshot:
        """Read the body of a successful reply.

        Raises:
            gapless.errors.DecodeError: If it is not what the venue documents.
        """

    def trades(self, topic: str, symbol: str, first: int, last: int) -> RestGet | None:
        """Return the request for past trades of a topic, by number, both ends included.

        The reply may hold fewer, and others; whoever asks sorts them out and asks again.
        """

    def read_trades(self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int) -> list[Trade]:
        """Read the body of a successful reply to `trades`, oldest first, as live trades are.

        Raises:
            gapless.errors.DecodeError: If it is not what the venue documents.
        """

    def instruments(self) -> tuple[RestGet, ...]:
        """Return the requests that together list everything that is traded."""

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read the body of a successful reply to one of `instruments`.

        Raises:
            gapless.errors.DecodeError: If it is not what the venue documents.
        """

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""


class NoSnapshots:
    """The part of `Rest` for venues whose books begin in the stream."""

    __slots__ = ()

    def snapshot(self, symbol: str) -> None:
        """Return nothing: no book is asked for."""
        del symbol

    def read_snapshot(
        self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int, *, texts: bool = False
    ) -> BookSnapshot:
        """Refuse any body: nobody asked for one."""
        raise DecodeError("no book of this venue is read over REST")


class NoPastTrades:
    """The part of `Rest` for venues that cannot be asked for past trades by number."""

    __slots__ = ()

    def trades(self, topic: str, symbol: str, first: int, last: int) -> None:
        """Return nothing: no trades are asked for."""
        del topic, symbol, first, last

    def read_trades(self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int) -> list[Trade]:
        """Refuse any body: nobody asked for one."""
        raise DecodeError("no past trades of this venue are read over REST")


class CodecMaker(Protocol):
    """Makes the codec of one session."""

    def __call__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> Codec:
        """Return a codec.

        Args:
            origins: The topics of the session, by the venue's name.  Only ``get`` and iteration
                are used; what reads captures finds topics as they come.
            texts: Whether books must carry their literal levels (`gapless.events.Texts`).
                Where a checksum needs them they always do.
        """


DIAL_BURST: Final = Window(10, 100_000_000)
"""Our own limit, whatever the venue allows: dials in a tenth of a second.  A crowd that was lost at
once comes back as a queue, and neither the venue nor our own loop is run over."""

_READS: Final = BreakerPolicy(
    ban_ns=(30 * SECOND, 120 * SECOND),  # books wait for these
    busy_first_ns=30 * SECOND,  # venues that say 429 without a time ban next
    busy_max_ns=30 * SECOND,
)


@dataclass(frozen=True, slots=True)
class VenueBudgets:
    """What all sessions that leave by the same address share at one venue.

    Args:
        dials: Pays for dials.
        pools: Pay for requests, by name.
        troubles: What went wrong with sharing them with other processes; it grows.
    """

    dials: Budget
    pools: Mapping[str, Budget]
    troubles: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BulkReads:
    """How the best prices of many symbols are read at once; see `gapless.core.audit`.

    Args:
        channels: Channels whose events show the same prices, with nothing left out and nothing
            besides.
        requests: Returns the requests that together cover these symbols, as well as can be told
            from their names.
        read: Reads the body of a successful reply; raises `DecodeError` if it is not what the
            venue documents.
    """

    channels: frozenset[str]
    requests: Callable[[Collection[str]], tuple[RestGet, ...]]
    read: Callable[[bytes], list[BulkTop]]


class MoreInstruments(Protocol):
    """Reads what else must be asked for to list everything that is traded."""

    def __call__(self, request: RestGet, body: bytes) -> tuple[RestGet, ...]:
        """Return the next page, or the parts that a reply names; nothing if that was all.

        Args:
            request: One of `Rest.instruments`, or one that this has returned.
            body: Its successful reply.

        Raises:
            gapless.errors.DecodeError: If the reply is not what the venue documents.
        """


class LoginMaker(Protocol):
    """Makes the request that logs a session in to read market data."""

    def __call__(self, request_id: int, secrets: Secrets, wall_ns: int, nonce: str) -> Request:
        """Return the request; its ``shown`` holds no secret.

        Args:
            request_id: Our id.
            secrets: What proves who we are.
            wall_ns: Now, Unix time.
            nonce: Text that is never used twice.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A venue's documented behaviour, in one place.  See `Fact` for what ``None`` means.

    Args:
        client_beat_ns: How often the venue wants to hear from us; see `Codec.beat`.
        request_bytes: Most bytes of topic names in one subscribe.
        topic_bytes_per_connection: Most bytes of topic names on one connection.
        topics_per_address: Most topics on all connections of one address together.
        connection_counter: What counts every frame of a connection, if something does; see
            `Codec.number`.  A hole in it concerns every topic of the connection.
        symbol_signs: Signs that symbols of this venue have besides letters, digits and dashes.
        hallmarks: Texts that a capture of this venue holds, and those of its siblings, whose
            topics look the same, do not all; they tell captures apart.
        more_instruments: Reads from one reply of a listing what else must be asked for, where one
            round of requests cannot list everything.
        login_request: How a session logs in to read market data, where a channel needs it.
        busiest: Channel and symbol of what speaks most, where symbols last; empty otherwise.
        server_time: Where the venue says what time it is.
        bulk: How the best prices of many symbols can be read at once, in words.
        bulk_reads: The same for the program, or `None`.
        calendar: When the venue is silent as it always is.
        login_final: Codes with which the venue refuses a login for good; any other refusal is
            tried again slowly.
    """

    name: str
    title: str
    endpoints: Fact[Endpoints]
    rest_endpoints: Fact[tuple[str, ...]]
    lifetime_ns: Fact[int | None]
    shutdown_notice: Fact[str | None]
    server_ping_ns: Fact[int | None]
    pong_within_ns: Fact[int | None]
    heartbeat: Fact[str | None]
    client_ping: Fact[str | None]
    client_beat_ns: Fact[int | None]
    dials: Fact[tuple[Limit, ...]]
    connections: Fact[int | None]
    messages: Fact[tuple[Limit, ...]]
    topics_per_request: Fact[int | None]
    request_bytes: Fact[int | None]
    topics_per_connection: Fact[int | None]
    topic_bytes_per_connection: Fact[int | None]
    topics_per_address: Fact[int | None] = Fact(
        None, "no limit over all connections is documented", "2026-11-22", "L"
    )
    connection_counter: Fact[str | None]
    ack_within_ns: Fact[int] = Fact(
        10 * SECOND, "our own patience: no venue documents its own", "2026-11-22", "L"
    )
    lifecycle_topics: Fact[tuple[str, ...] | None] = Fact(
        None, "no channel of listings is used", "2026-11-22", "L"
    )
    pools: Fact[Mapping[str, Limit]]
    bulk: Fact[str | None] = Fact(None, "no bulk read is used", "2026-11-22", "L")
    calendar: Fact[tuple[DailyPause, ...]] = Fact(
        (), "no daily pause is documented", "2026-11-22", "L"
    )
    login: Fact[str | None]
    login_final: Fact[frozenset[int]] | None = None
    ack: Fact[str]
    checksum: Fact[str | None]
    compression: Fact[str | None]
    maintenance: Fact[str | None]
    errors: Fact[Mapping[int, str]]
    framing: Fact[str]
    reconciliation: Fact[str | None]
    cutovers: Fact[tuple[str, ...]]
    channels: tuple[Channel, ...]
    server_time: Fact[ServerTime | None] = Fact(
        None, "no read of the venue's time is known", "2026-11-22", "L"
    )
    busiest: tuple[str, str] | None = None
    symbol_signs: str = ""
    hallmarks: tuple[str, ...] = ()
    traps: tuple[str, ...]
    codec: CodecMaker = field(repr=False)
    rest: Rest | None = field(repr=False)
    more_instruments: MoreInstruments | None = field(default=None, repr=False)
    login_request: LoginMaker | None = field(default=None, repr=False)
    bulk_reads: BulkReads | None = field(default=None, repr=False)

    def facts(self) -> Iterator[tuple[str, Fact[object]]]:
        """Yield name and fact of everything declared, channels included."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Fact):
                yield item.name, value
        for channel in self.every_channel():
            name = channel.name
            if channel not in self.channels:
                name = f"{name}.{next(iter(channel.topics))}"
            yield f"{name}.numbering", channel.numbering
            if channel.snapshot is not None:
                yield f"{name}.snapshot", channel.snapshot
            yield f"{name}.speaks_on_subscribe", channel.speaks_on_subscribe

    def every_channel(self) -> Iterator[Channel]:
        """Yield every channel, each followed by those unlike it."""
        for channel in self.channels:
            yield channel
            yield from channel.unlike

    def budgets(self) -> VenueBudgets:
        """Return fresh budgets for one address."""
        pools = {
            name: Budget(limit, breaker=Breaker(_READS)) for name, limit in self.pools.value.items()
        }
        return VenueBudgets(Budget(*self.dials.value, DIAL_BURST), pools)

    def topic(self, channel: str, symbol: str) -> TopicSpec:
        """Return the topic of a channel, with or without a variant, and a symbol.

        Args:
            channel: Such as ``book`` or ``book.raw``.
            symbol: The venue's name of the instrument.

        Raises:
            UsageError: If the venue has no such channel or variant, or the symbol is no symbol.
        """
        name, _, variant = channel.partition(".")
        found = next((c for c in self.channels if c.name == name), None)
        if found is None:
            raise UsageError(_no_such("channel", name, [c.name for c in self.channels]))
        chosen = variant or next(iter(found.topics))
        having = found.having(chosen)
        if having is None:
            each = (found, *found.unlike)
            known = [f"{name}.{known}" for channel in each for known in channel.topics]
            raise UsageError(_no_such("channel", f"{name}.{variant}", known))
        if not symbol or len(symbol) > 64 or not all(self._plain(c) for c in symbol):
            raise UsageError(f"{symbol[:64]!r} is not a symbol")
        return self._spec(having, chosen, symbol)

    def recogniser(self) -> Callable[[str], TopicSpec | None]:
        """Return what tells the topic of a given name, or `None` if no channel writes it so."""
        patterns = _patterns(self)

        def recognise(topic: str) -> TopicSpec | None:
            for pattern, channel, variant in patterns:
                match = pattern.fullmatch(topic)
                if match is not None:
                    found = match.groupdict()
                    symbol = found.get("symbol") or found.get("upper") or found["lower"].upper()
                    return self._spec(channel, variant, symbol)
            return None

        return recognise

    def path_of(self, channel: str) -> str:
        """Return the endpoint's path that serves a channel, with or without a variant."""
        name, _, variant = channel.partition(".")
        found = next(c for c in self.channels if c.name == name)
        chosen = variant or next(iter(found.topics))
        having = found.having(chosen) or found
        return having.paths.get(chosen, self.endpoints.value.path)

    def needs_login(self, channel: str) -> bool:
        """Return whether a channel, with or without a variant, is served after a login only."""
        name, _, variant = channel.partition(".")
        found = next(c for c in self.channels if c.name == name)
        chosen = variant or next(iter(found.topics))
        return chosen in (found.having(chosen) or found).private

    def _spec(self, channel: Channel, variant: str, symbol: str) -> TopicSpec:
        return TopicSpec(
            venue=self.name,
            channel=channel.name,
            symbol=symbol,
            topic=channel.topics[variant].format(
                symbol=symbol, lower=symbol.lower(), upper=symbol.upper()
            ),
            numbering=channel.numbering.value,
            snapshot=None if channel.snapshot is None else channel.snapshot.value,
            speaks_on_subscribe=channel.speaks_on_subscribe.value,
            depth=channel.depths.get(variant),
            checksum=channel.checksum,
        )

    def _plain(self, char: str) -> bool:
        # A dot or an at sign would make it a topic of another channel.
        return char in self.symbol_signs or (char.isprintable() and char not in _SPECIAL)


def _patterns(profile: Profile) -> list[tuple[re.Pattern[str], Channel, str]]:
    """Return how the topics of each variant look, the longest template first."""
    found = [
        (template, channel, variant)
        for channel in profile.every_channel()
        for variant, template in channel.topics.items()
    ]
    found.sort(key=lambda item: -len(item[0]))
    special = "".join(sign for sign in _SPECIAL if sign not in profile.symbol_signs)
    result = []
    for template, channel, variant in found:
        text = re.escape(template)
        for name in ("symbol", "lower", "upper"):
            group = f"(?P<{name}>[^{re.escape(special)}]{{1,64}})"
            text = text.replace(re.escape(f"{{{name}}}"), group)
        result.append((re.compile(text), channel, variant))
    return result


_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,12})?")
_SPECIAL: Final = ' "\\{}@./?&#%'


def _no_such(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
    return f"no {what} {name!r}; did you mean {', '.join(near)}?"
