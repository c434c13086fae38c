"""What a venue module must declare.

Every fact carries where it was read and when.  ``None`` as a value means *the venue documents
no such limit*; `UNREAD` means that nobody has looked, and is not allowed in a released venue.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum, unique
from typing import Final, Generic, Literal, Protocol, TypeVar

from gapless.core.budget import Budget, Limit
from gapless.core.codec import Codec
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom, TopicSpec
from gapless.errors import UsageError
from gapless.events import BookSnapshot, Origin

__all__ = [
    "MS",
    "SECOND",
    "UNREAD",
    "Arbitration",
    "Channel",
    "Confidence",
    "Endpoints",
    "Fact",
    "Profile",
    "Rest",
    "RestGet",
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
    BY_TIME = "newest image by the venue's time"
    FAILOVER_ONLY = "failover only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One kind of data.

    Args:
        name: Our name: ``trades``, ``book``, ``bbo`` or ``ticker``.
        topics: Topic template of each variant; ``{symbol}`` is replaced.  The first is default.
        numbering: What the numbers prove, and where that is written.
        arbitration: How lines are merged.
        snapshot: For books, where snapshots come from, and the alignment rule.
        speaks_on_subscribe: Whether something arrives at once after subscribing.
    """

    name: str
    topics: Mapping[str, str]
    numbering: Fact[Numbering]
    arbitration: Arbitration
    snapshot: Fact[SnapshotFrom] | None = None
    speaks_on_subscribe: Fact[bool]


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
    """

    path: str
    query: tuple[tuple[str, str], ...]
    pool: str
    units: int


class Rest(Protocol):
    """The venue's REST reads, as far as books need them."""

    def snapshot(self, symbol: str) -> RestGet: ...

    def read_snapshot(
        self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int
    ) -> BookSnapshot:
        """Read the body of a successful reply.

        Raises:
            gapless.errors.DecodeError: If it is not what the venue documents.
        """

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""


@dataclass(frozen=True, slots=True)
class VenueBudgets:
    """What all sessions that leave by the same address share at one venue."""

    dials: Budget
    pools: Mapping[str, Budget]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A venue's documented behaviour, in one place.  See `Fact` for what ``None`` means."""

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
    dials: Fact[tuple[Limit, ...]]
    connections: Fact[int | None]
    messages: Fact[tuple[Limit, ...]]
    topics_per_request: Fact[int | None]
    topics_per_connection: Fact[int | None]
    pools: Fact[Mapping[str, Limit]]
    login: Fact[str | None]
    ack: Fact[str]
    checksum: Fact[str | None]
    compression: Fact[str | None]
    maintenance: Fact[str | None]
    errors: Fact[Mapping[int, str]]
    framing: Fact[str]
    reconciliation: Fact[str | None]
    cutovers: Fact[tuple[str, ...]]
    channels: tuple[Channel, ...]
    traps: tuple[str, ...]
    codec: Callable[[Mapping[str, Origin]], Codec] = field(repr=False)
    rest: Rest | None = field(repr=False)

    def facts(self) -> Iterator[tuple[str, Fact[object]]]:
        """Yield name and fact of everything declared, channels included."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Fact):
                yield item.name, value
        for channel in self.channels:
            yield f"{channel.name}.numbering", channel.numbering
            if channel.snapshot is not None:
                yield f"{channel.name}.snapshot", channel.snapshot
            yield f"{channel.name}.speaks_on_subscribe", channel.speaks_on_subscribe

    def budgets(self) -> VenueBudgets:
        """Return fresh budgets for one address."""
        pools = {name: Budget(limit) for name, limit in self.pools.value.items()}
        return VenueBudgets(Budget(*self.dials.value), pools)

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
        if chosen not in found.topics:
            known = [f"{name}.{known}" for known in found.topics]
            raise UsageError(_no_such("channel", f"{name}.{variant}", known))
        if not symbol or len(symbol) > 64 or not all(_plain(c) for c in symbol):
            raise UsageError(f"{symbol[:64]!r} is not a symbol")
        return TopicSpec(
            venue=self.name,
            channel=name,
            symbol=symbol,
            topic=found.topics[chosen].format(symbol=symbol, lower=symbol.lower()),
            numbering=found.numbering.value,
            snapshot=None if found.snapshot is None else found.snapshot.value,
            speaks_on_subscribe=found.speaks_on_subscribe.value,
        )


def _plain(char: str) -> bool:
    # A dot or an at sign would make it a topic of another channel.
    return char.isprintable() and char not in ' "\\{}@./?&#%'


def _no_such(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
    return f"no {what} {name!r}; did you mean {', '.join(near)}?"
