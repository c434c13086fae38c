"""What consumers iterate: market events, and the marks that say what was not seen.

Market data prices and sizes are floats (a double keeps fifteen significant digits, and
equal text gives equal doubles, so book keys stay exact).  Times ending in ``_ns`` are
integer nanoseconds.  Structs are frozen and untracked by the garbage collector: they are
built once for each message, and never refer to anything that refers back.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "Bbo",
    "BookDelta",
    "BookSnapshot",
    "Event",
    "Gap",
    "Levels",
    "MarketEvent",
    "Notice",
    "NoticeKind",
    "Origin",
    "Resynced",
    "ResyncedBy",
    "Side",
    "Texts",
    "Ticker",
    "Top",
    "Trade",
]

Levels = list[tuple[float, float]]
"""Price levels as ``(price, size)``.  Sizes are absolute; 0 removes the level."""

Side = Literal["buy", "sell"]
ResyncedBy = Literal["checksum", "ids", "line", "replay", "rest", "snapshot"]
NoticeKind = Literal[
    "dialing",  # a session is being opened
    "live",  # every topic of a session is confirmed or refused
    "ended",  # a session is over; `cause` says why
    "refused",  # the venue refused one topic; the rest goes on
    "unsubscribed",  # the venue sends no more of one topic, without a word; it is asked for anew
    "unchecked",  # silent topics cannot be held against the venue's best prices for now
    "stalled",  # silence that should not be; a replacement is on its way
    "unproven",  # a topic that has never spoken is being probed
    "slow",  # a line brings its data later than it used to
    "frozen",  # a topic repeats what it said last, far beyond its habit
    "own-stall",  # we did not run ourselves for a while; nobody is blamed for that time
    "rotating",  # a planned replacement, make before break
    "resolver",  # DNS failed for a host; addresses that worked before are used, if there are any
    "shared-fate",  # redundant lines share an address: what breaks one breaks the other
    "resync",  # one topic rebuilds its state
    "backfill",  # missing messages were asked for, and some were not to be had
    "diverged",  # two lines brought different things under one number; a gap says so too
    "violation",  # the venue broke the protocol or its documents
    "limited",  # the venue asked us to stay away
    "budget",  # the limits shared with other processes are damaged, or out of reach
    "venue",  # the venue announced something: shutdown, maintenance
    "slow-consumer",  # the outlet is full
    "listed",  # a selector picked instruments: they are followed
    "retired",  # instruments are gone, or out of a selector's bounds: they are followed no more
    "planned",  # instruments are silent as planned: expired, halted or being settled
    "resumed",  # instruments are expected to speak again
    "halted",  # a line gave up for good
]


class Origin(Struct, frozen=True, gc=False):
    """Where an event came from.  One instance serves all events of a topic in a session.

    Attributes:
        venue: Venue name, such as ``binance.spot``.
        channel: Channel as subscribed, without variant: ``trades``, ``book``, ``bbo``, ``ticker``.
        symbol: Instrument, spelled as the caller spelled it.
        topic: The venue's own name of the topic.
        line: Which of the redundant lines, ``a``, ``b`` and so on.
        epoch: Which session; rises with every dial of the feed.
    """

    venue: str
    channel: str
    symbol: str
    topic: str
    line: str
    epoch: int


class Event(Struct, frozen=True, gc=False):
    """What every event carries.

    Attributes:
        origin: Where it came from.
        recv_ns: When we received it, Unix time by the local clock.
        mono_ns: The same moment on the monotonic clock.
        event_ns: The venue's time of the event, Unix time by its clock; `None` if not sent.
        first: First sequence number covered, or `None` where the venue has no numbers.
        last: Last sequence number covered, included.
    """

    origin: Origin
    recv_ns: int
    mono_ns: int
    event_ns: int | None
    first: int | None
    last: int | None

    @property
    def venue(self) -> str:
        return self.origin.venue

    @property
    def channel(self) -> str:
        return self.origin.channel

    @property
    def symbol(self) -> str:
        return self.origin.symbol

    @property
    def line(self) -> str:
        return self.origin.line

    @property
    def epoch(self) -> int:
        return self.origin.epoch


class Trade(Event, frozen=True, gc=False):
    """One trade.

    Attributes:
        id: The venue's trade id, as text.
        side: The taker's side.
        backfilled: Whether it was missed live, and fetched afterwards.  Such a trade may come
            after later ones; the `Gap` before it named it, and a `Resynced` follows.
    """

    id: str
    price: float
    size: float
    side: Side
    backfilled: bool = False


class Texts(Struct, frozen=True, gc=False):
    """Price levels as the venue wrote them, and the checksum it sent with them.

    Attributes:
        bids, asks: ``(price, size)`` as sent, digit by digit, in the order of the event's levels.
        checksum: Of the book once these levels are applied; `None` if none was sent.
    """

    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    checksum: int | None = None


class BookDelta(Event, frozen=True, gc=False):
    """Changed price levels: sizes are absolute, 0 removes.

    Attributes:
        texts: The literal levels, where a checksum needs them or the caller asked; else `None`.
    """

    bids: Levels
    asks: Levels
    texts: Texts | None = None


class BookSnapshot(Event, frozen=True, gc=False):
    """A whole book as of number ``last``; it replaces everything known before.

    Attributes:
        texts: The literal levels, where a checksum needs them or the caller asked; else `None`.
    """

    bids: Levels
    asks: Levels
    texts: Texts | None = None


class Bbo(Event, frozen=True, gc=False):
    """Best bid and offer; a side that is empty has price and size `None`."""

    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None


class Ticker(Event, frozen=True, gc=False):
    """Summary of an instrument.  A field that the venue does not send is `None`."""

    price: float | None  # last trade
    mark: float | None = None
    index: float | None = None
    bid: float | None = None
    ask: float | None = None
    volume: float | None = None  # 24 h, in the venue's unit of size
    open_interest: float | None = None
    funding: float | None = None  # current rate, as a fraction
    next_funding_ns: int | None = None  # when it is paid, Unix time
    underlying: float | None = None  # options: price of what they are on
    mark_iv: float | None = None  # implied volatilities, as fractions: 0.6 is 60 %
    bid_iv: float | None = None
    ask_iv: float | None = None
    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    theta: float | None = None
    rho: float | None = None


class Gap(Event, frozen=True, gc=False):
    """Something that was not seen.  Comes before anything behind it.

    Where the numbering is dense, ``first`` and ``last`` are the missing numbers, both ends
    included, and ``missing`` counts them.  On a chain they bound the hole and ``missing`` is
    `None`.  Without numbers only the interval is known.

    Attributes:
        missing: How many messages were not seen, or `None` where the numbering has no count.
        cause: Why, in a few words.
        since_ns: Start of the interval that holds whatever was missed, Unix time.
        until_ns: End of that interval.
    """

    missing: int | None
    cause: str
    since_ns: int
    until_ns: int


class Resynced(Event, frozen=True, gc=False):
    """A break is over, and this is how.

    Attributes:
        by: ``ids`` (the numbers prove that nothing was lost), ``checksum`` (the book agrees
            with the venue's), ``line`` (another line carried on), ``replay``, ``rest`` (the
            missing part was fetched) or ``snapshot`` (state was loaded anew).
        blind_ns: How long the topic could not be trusted, in nanoseconds.
    """

    by: ResyncedBy
    blind_ns: int


MarketEvent = Trade | BookDelta | BookSnapshot | Bbo | Ticker


class Top(Struct, frozen=True, gc=False):
    """Best bid and offer of a proven book; an empty side is `None`."""

    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    recv_ns: int
    last: int | None


class Notice(Struct, frozen=True, gc=False):
    """Something worth knowing that is not market data.

    Attributes:
        number: Rises by one with every notice of a feed.
        kind: What happened; a closed list.
        line, epoch: Which line and session, or `None` where it concerns the feed.
        symbol, channel: Which topic, or `None` where it concerns a whole session.
        cause: Why, in one sentence.
        evidence: What shows it.
    """

    number: int
    venue: str
    recv_ns: int
    mono_ns: int
    kind: NoticeKind
    line: str | None
    epoch: int | None
    channel: str | None
    symbol: str | None
    cause: str
    evidence: str
