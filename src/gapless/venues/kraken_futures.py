"""Kraken Futures: books and trades numbered densely for each product.

Subscribing brings a snapshot of the book, and the changes after it count on from its number.
There are no checksums and no request ids: each product is granted on its own, and a product that
does not exist is told in words.  The venue wants a ping once a minute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.budget import Window
from gapless.core.codec import (
    Asked,
    Denied,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    Stray,
)
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument, InstrumentKind
from gapless.errors import DecodeError, printable
from gapless.events import (
    BookDelta,
    BookSnapshot,
    Event,
    Levels,
    Origin,
    Texts,
    Ticker,
    Trade,
)
from gapless.venues._profile import (
    MS,
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    NoPastTrades,
    NoSnapshots,
    Profile,
    RestGet,
)

__all__ = ["PROFILES", "KrakenFuturesCodec", "KrakenFuturesRest"]

_READ: Final = "2026-11-22"
_WS: Final = "docs.kraken.com, Futures WebSocket overview"
_BOOK: Final = "docs.kraken.com, Futures WebSocket: Book"
_TRADE: Final = "docs.kraken.com, Futures WebSocket: Trade"
_TICK: Final = "docs.kraken.com, Futures WebSocket: Ticker"
_LIMITS: Final = "docs.kraken.com, Futures rate limits: WebSocket limits"
_REST: Final = "docs.kraken.com, Futures REST: Get instruments"

BEAT_NS: Final = 30 * SECOND  # at least once in 60 s is asked for

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**43)]  # as nanoseconds it fits 64 bits
Real = Annotated[float, Meta(ge=-1e30, le=1e30)]
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Expiry = Annotated[datetime, Meta(tz=True)]
Side = Literal["buy", "sell"]

_FEEDS: Final = ("book", "trade", "ticker", "ticker_lite")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_PRODUCT: Final = re.compile(r"invalid product[^A-Za-z0-9]{1,4}([A-Za-z0-9_]{1,64})")


class _Level(Struct, gc=False):
    price: Price
    qty: Real


class _Snapshot(Struct, gc=False):
    timestamp: Millis
    seq: Number
    bids: list[_Level]
    asks: list[_Level]


class _Change(Struct, gc=False):
    timestamp: Millis
    seq: Number
    side: Side
    price: Price
    qty: Real


class _Trade(Struct, gc=False):
    uid: str
    seq: Number
    time: Millis
    side: Side
    price: Price
    qty: Size


class _Trades(Struct, gc=False):
    trades: list[_Trade]


class _Ticker(Struct, gc=False, rename={"open_interest": "openInterest", "mark": "markPrice"}):
    time: Millis | None = None
    last: Price | None = None
    mark: Price | None = None
    index: Price | None = None
    bid: Price | None = None
    ask: Price | None = None
    volume: Size | None = None
    open_interest: Size | None = None
    relative_funding_rate: Real | None = None
    next_funding_rate_time: Millis | None = None


class _Frame(Struct, gc=False):
    feed: str = ""
    event: str = ""
    product_id: str = ""
    product_ids: list[str] = []
    message: str = ""


class _RawLevel(Struct, gc=False):
    price: msgspec.Raw
    qty: msgspec.Raw


class _RawBook(Struct, gc=False):
    bids: list[_RawLevel] = []
    asks: list[_RawLevel] = []


class _Listed(Struct, gc=False, rename="camel"):
    symbol: str
    type: str = ""
    tradeable: bool = False
    last_trading_time: Expiry | None = None


class _Listing(Struct, gc=False):
    instruments: list[_Listed]


class _Fault(Struct, gc=False):
    result: str
    error: str = ""


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_change = msgspec.json.Decoder(_Change).decode
_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_trades = msgspec.json.Decoder(_Trades).decode
_decode_ticker = msgspec.json.Decoder(_Ticker).decode
_decode_raw_book = msgspec.json.Decoder(_RawBook).decode
_decode_raw_level = msgspec.json.Decoder(_RawLevel).decode
_decode_listing = msgspec.json.Decoder(_Listing).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode
_encode = msgspec.json.encode


class KrakenFuturesCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session.
        texts: Whether books carry their literal levels.
    """

    __slots__ = ("_origins", "_texts")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: there is nothing to agree on."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return a request for each feed; each may name many products."""
        return [
            Request(request_id, "subscribe", _call("subscribe", feed, members), members)
            for request_id, (feed, members) in enumerate(_by_feed(topics), start=next_id)
        ]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return a request for each feed; the answers name no request, so none is awaited."""
        del next_id
        return [
            Request(0, "unsubscribe", _call("unsubscribe", feed, members), members)
            for feed, members in _by_feed(topics)
        ]

    def once_live(self, request_id: int) -> None:
        """Return nothing: every product has been answered."""
        del request_id

    def beat(self, next_id: int) -> None:
        """Return nothing: the venue wants a WebSocket ping."""
        del next_id

    def number(self, text: str) -> None:
        """Return nothing: the venue does not count the frames of a connection."""
        del text

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            call = _decode_frame(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        match call.event:
            case "subscribe":
                return Asked("subscribe", None, _topics(call))
            case "unsubscribe":
                return Asked("unsubscribe", None, _topics(call))
            case "challenge":
                return Asked("login", None, ())
            case _:
                return None

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            frame = _decode_frame(text)
            if frame.event:
                return self._read_told(frame)
            return self._read_data(frame, text, recv_ns, mono_ns)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read_data(
        self, frame: _Frame, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        if frame.feed == "heartbeat":
            return Heartbeat()
        feed = frame.feed.removesuffix("_snapshot")
        origin = self._origins.get(f"{feed}:{frame.product_id}")
        if origin is None:
            return Stray(f"feed {printable(frame.feed)} of {printable(frame.product_id)}")
        match frame.feed:
            case "book":
                return [self._change(origin, text, recv_ns, mono_ns)]
            case "book_snapshot":
                return [self._snapshot(origin, text, recv_ns, mono_ns)]
            case "trade":
                return [_trade(origin, _decode_trade(text), recv_ns, mono_ns)]
            case "trade_snapshot":
                past = sorted(_decode_trades(text).trades, key=lambda trade: trade.seq)
                return [_trade(origin, one, recv_ns, mono_ns, backfilled=True) for one in past]
            case _:
                return [_ticker(origin, _decode_ticker(text), recv_ns, mono_ns)]

    def _read_told(self, told: _Frame) -> Reading:
        match told.event:
            case "subscribed":
                return Granted(_topics(told))
            case "unsubscribed" | "info" | "pong":
                return Heartbeat()
            case "subscribed_failed" | "alert" | "error":
                return self._failed(told)
            case "unsubscribed_failed":
                return Refusal(None, 0, printable(told.message))
            case _:
                return Stray(f"event {printable(told.event)}")

    def _failed(self, told: _Frame) -> Reading:
        """Read a failure: it names feed and products, or a product in words, or nothing."""
        detail = printable(told.message)
        topics = _topics(told)
        if not topics and (match := _NO_PRODUCT.search(told.message)) is not None:
            product = match[1].upper()
            named = [f"{feed}:{product}" for feed in _FEEDS]
            # A product that does not exist is invalid for every feed.
            topics = tuple(topic for topic in named if self._origins.get(topic) is not None)
        if topics:
            return Denied(topics, 0, detail)
        return Refusal(None, 0, detail, ordered=told.event != "alert")

    def _snapshot(self, origin: Origin, text: str, recv_ns: int, mono_ns: int) -> BookSnapshot:
        data = _decode_snapshot(text)
        literal = None
        if self._texts:
            raw = _decode_raw_book(text)
            literal = Texts([_literal(x) for x in raw.bids], [_literal(x) for x in raw.asks])
        return BookSnapshot(
            origin,
            recv_ns,
            mono_ns,
            data.timestamp * MS,
            data.seq,
            data.seq,
            _levels(data.bids),
            _levels(data.asks),
            literal,
        )

    def _change(self, origin: Origin, text: str, recv_ns: int, mono_ns: int) -> BookDelta:
        data = _decode_change(text)
        level = [(data.price, max(data.qty, 0.0))]
        bids, asks = (level, []) if data.side == "buy" else ([], level)
        literal = None
        if self._texts:
            raw = [_literal(_decode_raw_level(text))]
            literal = Texts(raw, []) if data.side == "buy" else Texts([], raw)
        return BookDelta(
            origin,
            recv_ns,
            mono_ns,
            data.timestamp * MS,
            data.seq,
            data.seq,
            bids,
            asks,
            literal,
        )


def _levels(sent: list[_Level]) -> Levels:
    # Sizes of 0, and below, have been seen in snapshots: they are no levels.
    return [(level.price, max(level.qty, 0.0)) for level in sent]


def _literal(level: _RawLevel) -> tuple[str, str]:
    return bytes(level.price).decode(), bytes(level.qty).decode()


def _trade(
    origin: Origin, data: _Trade, recv_ns: int, mono_ns: int, *, backfilled: bool = False
) -> Event:
    return Trade(
        origin,
        recv_ns,
        mono_ns,
        data.time * MS,
        data.seq,
        data.seq,
        data.uid,
        data.price,
        data.qty,
        data.side,
        backfilled,
    )


def _ticker(origin: Origin, data: _Ticker, recv_ns: int, mono_ns: int) -> Event:
    due = data.next_funding_rate_time
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        None if data.time is None else data.time * MS,
        None,
        None,
        data.last,
        data.mark,
        data.index,
        data.bid or None,
        data.ask or None,
        data.volume,
        data.open_interest,
        data.relative_funding_rate,
        None if due is None else due * MS,
    )


def _topics(frame: _Frame) -> tuple[str, ...]:
    """Return the topics that a request or its answer names; products may be in lower case."""
    return tuple(f"{frame.feed}:{product.upper()}" for product in frame.product_ids)


def _by_feed(topics: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    feeds: dict[str, list[str]] = {}
    for topic in topics:
        feeds.setdefault(topic.partition(":")[0], []).append(topic)
    return [(feed, tuple(members)) for feed, members in feeds.items()]


def _call(event: str, feed: str, topics: tuple[str, ...]) -> str:
    products = [topic.partition(":")[2] for topic in topics]
    return _encode({"event": event, "feed": feed, "product_ids": products}).decode()


class KrakenFuturesRest(NoSnapshots, NoPastTrades):
    """The list of products.  Past trades are found by time there and not by number."""

    # Books begin with a snapshot on the stream.
    # Past trades are found by time only.

    def instruments(self) -> tuple[RestGet, ...]:
        return (RestGet("/derivatives/api/v3/instruments", (), "rest", 1),)

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read the list of products; indices are left out."""
        try:
            listed = _decode_listing(body).instruments
            found = [_instrument(one) for one in listed]
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a list of products: {printable(str(error))}") from error
        return [instrument for instrument in found if instrument is not None]

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return the text of an error body, or `None` if it is not one; it has no codes."""
        try:
            fault = _decode_fault(body)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
        return (0, printable(fault.error)) if fault.result == "error" else None


_KINDS: Final[dict[str, InstrumentKind]] = {
    "PI": "perp",
    "PF": "perp",
    "FI": "future",
    "FF": "future",
}
_QUOTE_SIGNS: Final = 3  # every pair is quoted in USD, EUR or the like


def _instrument(listed: _Listed) -> Instrument | None:
    symbol = listed.symbol.upper()
    prefix, _, rest = symbol.partition("_")
    pair = rest.partition("_")[0]
    kind = _KINDS.get(prefix)
    if kind is None or len(pair) <= _QUOTE_SIGNS:
        return None
    base, quote = pair[:-_QUOTE_SIGNS], pair[-_QUOTE_SIGNS:]
    last = listed.last_trading_time
    return Instrument(
        symbol,
        kind,
        base,
        quote,
        base if prefix.endswith("I") else quote,  # inverse contracts pay in what is traded
        "open" if listed.tradeable else "halted",
        None if last is None or kind == "perp" else _ns(last),
    )


def _ns(time: datetime) -> int:
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000


_PROFILE: Final = Profile(
    name="kraken.futures",
    title="Kraken Futures",
    endpoints=Fact(
        Endpoints(
            public=("wss://futures.kraken.com/ws/v1",),
            test=("wss://demo-futures.kraken.com/ws/v1",),
            path="/ws/v1",
            independent=None,
        ),
        _WS,
        _READ,
        note="shares nothing with the spot venue",
    ),
    rest_endpoints=Fact(("https://futures.kraken.com",), _REST, _READ),
    lifetime_ns=Fact(None, _WS, _READ, "L", "no maximum is documented"),
    shutdown_notice=Fact(None, _WS, _READ, "L", "none documented"),
    server_ping_ns=Fact(None, _WS, _READ, "L", "none documented"),
    pong_within_ns=Fact(None, _WS, _READ, "L"),
    heartbeat=Fact("feed heartbeat, by subscription only; not used", _WS, _READ),
    client_ping=Fact("a ping at least every 60 s keeps the connection open", _WS, _READ),
    client_beat_ns=Fact(BEAT_NS, _WS, _READ, note="half of the 60 s that are asked for"),
    dials=Fact((), _LIMITS, _READ, "L", "no limit on attempts documented"),
    connections=Fact(None, _LIMITS, _READ, "L", "none found"),
    messages=Fact((Window(100, SECOND),), _LIMITS, _READ),
    topics_per_request=Fact(None, _WS, _READ, "L", "none documented"),
    request_bytes=Fact(None, _WS, _READ, "L", "none documented"),
    topics_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(None, _WS, _READ),
    pools=Fact(
        MappingProxyType({"rest": Window(1, SECOND)}),
        _REST,
        _READ,
        "L",
        "public reads have no published limit: this is a pace of our own",
    ),
    login=Fact(None, _WS, _READ, note="market data needs none"),
    ack=Fact(
        "subscribed for each product; failures name feed and products, or only words", _WS, _READ
    ),
    checksum=Fact(None, _BOOK, _READ, note="none; the numbers are the proof"),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact(None, _WS, _READ, "L", "no message on the stream is documented"),
    errors=Fact(MappingProxyType({}), _WS, _READ, note="texts without codes"),
    framing=Fact("JSON text, one object a frame, told apart by event and feed", _WS, _READ),
    reconciliation=Fact("snapshots of open_orders and fills, then REST", _WS, _READ),
    cutovers=Fact((), "docs.kraken.com, Changelog", _READ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"raw": "trade:{upper}"}),
            numbering=Fact(
                Numbering.DENSE,
                "seen in traffic of April 2021: 10 greetings of 100 trades and what followed",
                _READ,
                "M",
                "the document names seq, and does not say that it has no holes",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(True, _TRADE, _READ, note="greets with the latest 100 trades"),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({"full": "book:{upper}"}),
            numbering=Fact(
                Numbering.DENSE,
                _BOOK,
                _READ,
                note="seq rises by one for each product: 6,528 of 6,528 in traffic of April 2021",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            snapshot=Fact(
                SnapshotFrom.STREAM,
                _BOOK,
                _READ,
                note="first message after subscribing; on a gap unsubscribe and subscribe",
            ),
            speaks_on_subscribe=Fact(True, _BOOK, _READ),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"full": "ticker:{upper}"}),
            numbering=Fact(Numbering.NONE, _TICK, _READ, note="a time only; one a second at most"),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, _TICK, _READ, "L"),
            unlike=(
                Channel(
                    name="ticker",
                    topics=MappingProxyType({"lite": "ticker_lite:{upper}"}),
                    numbering=Fact(Numbering.NONE, _TICK, _READ, note="not even a time"),
                    arbitration=Arbitration.FAILOVER_ONLY,
                    speaks_on_subscribe=Fact(True, "seen in traffic of April 2021", _READ, "M"),
                ),
            ),
        ),
    ),
    busiest=("trades", "PF_XBTUSD"),
    traps=(
        "A product may be granted and stay silent while others flow: watch each on its own.",
        "Pings and pongs say nothing of the data: an idle timer that they reset never rings.",
        "Snapshots of books may hold levels of size 0, and worse.",
        "A failed subscribe may name neither feed nor product.",
        "Products are asked for in any case and answered in upper case.",
        "The spot venue's limits, tokens and names mean nothing here.",
    ),
    codec=KrakenFuturesCodec,
    rest=KrakenFuturesRest(),
)

PROFILES: Final = (_PROFILE,)
