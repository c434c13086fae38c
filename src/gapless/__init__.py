"""Stable WebSocket connections to exchanges, and the truth about what was not seen.

async with gapless.open("deribit", gapless.trades("BTC-PERPETUAL")) as feed:
    async for event in feed:
        match event:
            case gapless.Trade(price=price, size=size): ...
            case gapless.Gap(missing=missing): ...
            case gapless.Resynced(): ...
"""

from gapless.client import Book, Feed, open, open_book
from gapless.core.outlet import Overflow
from gapless.core.stats import FeedStats, LineStats, TopicStats
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
from gapless.planning import Budgets, Options, Subscription, bbo, book, ticker, trades

__version__ = "0.1.0"

__all__ = [
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
