"""Stable WebSocket connections to exchanges, and the truth about what was not seen.

async with gapless.open("deribit", gapless.trades("BTC-PERPETUAL")) as feed:
    async for event in feed:
        match event:
            case gapless.Trade(price=price, size=size): ...
            case gapless.Gap(missing=missing): ...
            case gapless.Resynced(): ...

Names are imported when they are first used (PEP 562), so that a command line that only prints
its help does not pay for an event loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gapless.client import Book, Feed, open, open_book
    from gapless.core.outlet import Overflow
    from gapless.core.stats import FeedStats, LineStats, TopicStats
    from gapless.core.stream import Backfill
    from gapless.errors import (
        ChecksumMismatch,
        ConfigError,
        ConnectionLost,
        DecodeError,
        DialFailed,
        GaplessError,
        LoginRejected,
        NotSent,
        NotSynced,
        OutcomeUnknown,
        ProtocolViolation,
        RateLimited,
        RequestRejected,
        SlowConsumer,
        Stalled,
        SubscriptionRejected,
        TransportError,
        UsageError,
        VenueError,
    )
    from gapless.events import (
        Bbo,
        BookDelta,
        BookSnapshot,
        Event,
        Gap,
        MarketEvent,
        Notice,
        Origin,
        Resynced,
        Ticker,
        Top,
        Trade,
    )
    from gapless.planning import Budgets, Line, Options, Subscription, bbo, book, ticker, trades

__version__ = "0.1.0"

__all__ = [
    "Backfill",
    "Bbo",
    "Book",
    "BookDelta",
    "BookSnapshot",
    "Budgets",
    "ChecksumMismatch",
    "ConfigError",
    "ConnectionLost",
    "DecodeError",
    "DialFailed",
    "Event",
    "Feed",
    "FeedStats",
    "Gap",
    "GaplessError",
    "Line",
    "LineStats",
    "LoginRejected",
    "MarketEvent",
    "NotSent",
    "NotSynced",
    "Notice",
    "Options",
    "Origin",
    "OutcomeUnknown",
    "Overflow",
    "ProtocolViolation",
    "RateLimited",
    "RequestRejected",
    "Resynced",
    "SlowConsumer",
    "Stalled",
    "Subscription",
    "SubscriptionRejected",
    "Ticker",
    "Top",
    "TopicStats",
    "Trade",
    "TransportError",
    "UsageError",
    "VenueError",
    "__version__",
    "bbo",
    "book",
    "open",
    "open_book",
    "ticker",
    "trades",
]

_HOMES = {
    "gapless.client": ("Book", "Feed", "open", "open_book"),
    "gapless.core.outlet": ("Overflow",),
    "gapless.core.stats": ("FeedStats", "LineStats", "TopicStats"),
    "gapless.core.stream": ("Backfill",),
    "gapless.errors": (
        "ChecksumMismatch",
        "ConfigError",
        "ConnectionLost",
        "DecodeError",
        "DialFailed",
        "GaplessError",
        "LoginRejected",
        "NotSent",
        "NotSynced",
        "OutcomeUnknown",
        "ProtocolViolation",
        "RateLimited",
        "RequestRejected",
        "SlowConsumer",
        "Stalled",
        "SubscriptionRejected",
        "TransportError",
        "UsageError",
        "VenueError",
    ),
    "gapless.events": (
        "Bbo",
        "BookDelta",
        "BookSnapshot",
        "Event",
        "Gap",
        "MarketEvent",
        "Notice",
        "Origin",
        "Resynced",
        "Ticker",
        "Top",
        "Trade",
    ),
    "gapless.planning": (
        "Budgets",
        "Line",
        "Options",
        "Subscription",
        "bbo",
        "book",
        "ticker",
        "trades",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = frozenset({"client", "errors", "events", "planning"})


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        value: object = getattr(import_module(_HOME_OF[name]), name)
        globals()[name] = value  # the next look finds it without us
        return value
    if name in _MODULES:
        return import_module(f"gapless.{name}")
    raise AttributeError(f"module 'gapless' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
