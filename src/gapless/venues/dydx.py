"""dYdX v4: market data of the indexer.

The answer to a subscription is its snapshot: the book, the latest trades, all markets.  What
follows has no numbers of its own.  ``message_id`` counts the connection, but is taken when a
request arrives and sent when its snapshot is ready, so it comes out of order and twice by right;
it is never looked at here.

We subscribe unbatched: a batch holds every change back for up to a quarter of a second.  Batches
are read all the same.

The server fetches the snapshot before it notes the subscription.  What changes in between reaches
nobody, and a few levels of the book may be wrong until they change again.  Nothing in the stream
shows it.  A level that is known to be doubtful can only be compared with the book over REST, which
itself may lag; and a book that crosses itself is no sign of it, for that is normal here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.budget import Window
from gapless.core.codec import (
    Asked,
    Bundle,
    Denied,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    RequestKind,
    Status,
    Stray,
)
from gapless.core.instants import instant_ns
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument, InstrumentState
from gapless.errors import DecodeError, printable
from gapless.events import BookDelta, BookSnapshot, Event, Origin, Texts, Ticker, Trade
from gapless.venues._profile import (
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    NoPastTrades,
    NoSnapshots,
    Profile,
    RestGet,
    ServerTime,
)

__all__ = ["MARKETS_MAX", "PROFILES", "DydxCodec", "DydxRest"]

_READ: Final = "2026-11-22"
_WS: Final = "docs.dydx.exchange, Indexer Websocket"
_SRC: Final = "dydxprotocol/v4-chain, indexer/services/socks/src"
_SUBS: Final = f"{_SRC}/lib/subscription.ts"
_CONF: Final = f"{_SRC}/config.ts"
_BOOK: Final = "docs.dydx.exchange, Watch orderbook"
_REST: Final = "docs.dydx.exchange, Indexer HTTP API"

MARKETS_MAX: Final = 4096
"""Markets remembered at most; changes to any beyond are read, and not remembered."""

# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Rate = Annotated[float, Meta(ge=-1e30, le=1e30)]

_MARKETS: Final = "v4_markets"
_CHANNELS: Final = frozenset({"v4_orderbook", "v4_trades", _MARKETS})

# What the server's sentences quote, where the frame itself does not say what it is about.
_ALREADY: Final = re.compile(r"Invalid subscribe message: already subscribed \((v4_\w+)-(.+)\)")
_INVALID: Final = re.compile(r"Invalid subscription id for channel: \((v4_\w+)-(.+)\)")
_TOO_MANY: Final = ("Too many subscribe attempts", "Too many invalid messages")
_INTERNAL: Final = "Internal error, could not fetch data for subscription"


class _Level(Struct, gc=False):
    price: Price
    size: Size


class _TextLevel(Struct, gc=False):
    price: str
    size: str


class _Book(Struct, gc=False):
    bids: list[_Level]
    asks: list[_Level]


class _TextBook(Struct, gc=False):
    bids: list[_TextLevel]
    asks: list[_TextLevel]


class _Change(Struct, gc=False, array_like=True):
    price: Price
    size: Size  # a third element, an offset, is passed over


class _TextChange(Struct, gc=False, array_like=True):
    price: str
    size: str


class _Changes(Struct, gc=False):
    bids: list[_Change] = []
    asks: list[_Change] = []


class _TextChanges(Struct, gc=False):
    bids: list[_TextChange] = []
    asks: list[_TextChange] = []


class _Trade(Struct, gc=False):
    id: str
    side: Literal["BUY", "SELL"]
    size: Size
    price: Price
    createdAt: str  # noqa: N815  # the venue's names


class _Trades(Struct, gc=False):
    trades: list[_Trade]


class _Market(Struct, gc=False):
    oraclePrice: Price | None = None  # noqa: N815
    nextFundingRate: Rate | None = None  # noqa: N815
    openInterest: Size | None = None  # noqa: N815


class _Oracle(Struct, gc=False):
    oraclePrice: Price | None = None  # noqa: N815
    price: Price | None = None  # as older documents have it


class _Markets(Struct, gc=False):
    markets: dict[str, _Market]


class _MarketChanges(Struct, gc=False):
    trading: dict[str, _Market] = {}
    oraclePrices: dict[str, _Oracle] = {}  # noqa: N815


class _Listed(Struct, gc=False):
    ticker: str
    status: str = ""


class _Listing(Struct, gc=False):
    markets: dict[str, _Listed]


class _Frame(Struct, gc=False):
    type: str = ""
    channel: str = ""
    id: str | None = None
    contents: msgspec.Raw = msgspec.Raw(b"")
    message: str = ""


class _Asked(Struct, gc=False):
    type: str = ""
    channel: str = ""
    id: str | None = None


class _FaultText(Struct, gc=False):
    msg: str = ""


class _Fault(Struct, gc=False):
    errors: list[_FaultText]


# Numbers arrive as text, hence not strict.
_decode_book = msgspec.json.Decoder(_Book, strict=False).decode
_decode_book_texts = msgspec.json.Decoder(_TextBook).decode
_decode_changes = msgspec.json.Decoder(_Changes, strict=False).decode
_decode_change_texts = msgspec.json.Decoder(_TextChanges).decode
_decode_trades = msgspec.json.Decoder(_Trades, strict=False).decode
_decode_markets = msgspec.json.Decoder(_Markets, strict=False).decode
_decode_market_changes = msgspec.json.Decoder(_MarketChanges, strict=False).decode
_decode_listing = msgspec.json.Decoder(_Listing).decode
_decode_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode
_encode = msgspec.json.encode
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


class DydxCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session, spelled ``channel:ticker``.
        texts: Whether book events carry their literal levels.
    """

    __slots__ = ("_markets", "_origins", "_retried", "_texts", "_tickers")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts
        self._markets: dict[str, _Market] = {}  # as far as it is known: changes come in parts
        self._tickers = {topic: None for topic in origins if _is_market(topic)}
        self._retried: set[str] = set()

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: there is nothing to set up."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return one request for each book and each instrument's trades, and one for all markets.

        The markets are one subscription without an id; with an id it would stay empty.
        """
        markets = tuple(topic for topic in topics if _is_market(topic))
        self._tickers.update(dict.fromkeys(markets))
        self._retried.difference_update(topics)
        parts: list[tuple[str, ...]] = [(topic,) for topic in topics if not _is_market(topic)]
        parts += [markets] if markets else []
        return [
            Request(number, "subscribe", _call("subscribe", part[0]), part)
            for number, part in enumerate(parts, start=next_id)
        ]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return the requests; that for the markets only once none of them is left."""
        del next_id
        parts: list[tuple[str, ...]] = [(topic,) for topic in topics if not _is_market(topic)]
        markets = tuple(topic for topic in topics if _is_market(topic))
        for topic in markets:
            self._tickers.pop(topic, None)
        if markets and not self._tickers:
            parts.append(markets)
        return [Request(0, "unsubscribe", _call("unsubscribe", part[0]), part) for part in parts]

    def beat(self, next_id: int) -> None:
        """Return nothing: the venue pings, and answers none of its own kind of ping."""
        del next_id

    def number(self, text: str) -> None:
        """Return nothing: message_id is out of order by right, and proves nothing."""
        del text

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            call = _decode_asked(text)
        except _UNREADABLE as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        if call.type not in {"subscribe", "unsubscribe"}:
            return None
        kind: RequestKind = "subscribe" if call.type == "subscribe" else "unsubscribe"
        named = call.channel in _CHANNELS and call.channel != _MARKETS and call.id is not None
        return Asked(kind, None, (f"{call.channel}:{call.id}",) if named else ())

    def once_live(self, request_id: int) -> None:
        """Return nothing: the venue has no news of its own."""
        del request_id

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            return self._read(_decode_frame(text), recv_ns, mono_ns)
        except _UNREADABLE as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read(self, frame: _Frame, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        match frame.type:
            case "channel_data":
                return self._data(frame, [frame.contents], recv_ns, mono_ns)
            case "channel_batch_data":
                return self._data(frame, _decode_parts(frame.contents), recv_ns, mono_ns)
            case "subscribed":
                return self._subscribed(frame, recv_ns, mono_ns)
            case "connected" | "pong":
                return Heartbeat()
            case "error":
                return self._refused(frame)
            case _:
                return Stray(f"type {printable(frame.type or 'none')}")

    # -- data -------------------------------------------------------------------------------

    def _data(
        self, frame: _Frame, parts: list[msgspec.Raw], recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        if frame.channel == _MARKETS:
            events: list[Event] = []
            for part in parts:
                changes = _decode_market_changes(part)
                prices = {
                    name: _Market(
                        oracle.price if oracle.oraclePrice is None else oracle.oraclePrice
                    )
                    for name, oracle in changes.oraclePrices.items()
                }
                for changed in (changes.trading, prices):
                    events += self._tickers_of(changed, recv_ns, mono_ns)
            return events
        origin = self._origin(frame)
        if origin is None:
            return _unasked(frame)
        match frame.channel:
            case "v4_orderbook":
                return [self._change(origin, part, recv_ns, mono_ns) for part in parts]
            case "v4_trades":
                return [
                    _trade(origin, trade, recv_ns, mono_ns)
                    for part in parts
                    for trade in _decode_trades(part).trades
                ]
            case _:
                return _unasked(frame)

    def _subscribed(self, frame: _Frame, recv_ns: int, mono_ns: int) -> Reading:
        """Read an answer, which brings what there is so far."""
        if frame.channel == _MARKETS:
            markets = _decode_markets(frame.contents).markets
            granted = tuple(
                topic
                for topic in self._tickers
                if topic.partition(":")[2] in markets and self._origins.get(topic) is not None
            )
            absent = tuple(topic for topic in self._tickers if topic not in granted)
            self._markets.clear()
            events = self._tickers_of(markets, recv_ns, mono_ns)
            readings: tuple[Reading, ...] = (Granted(granted),)
            if absent:
                readings += (Denied(absent, 0, "the venue lists no such market"),)
            return Bundle(readings, tuple(events))
        origin = self._origin(frame)
        if origin is None:
            return _unasked(frame)
        self._retried.discard(origin.topic)
        greeting: list[Event] = []
        match frame.channel:
            case "v4_orderbook":
                greeting = [self._snapshot(origin, frame.contents, recv_ns, mono_ns)]
            case "v4_trades":
                # The newest comes first.
                trades = reversed(_decode_trades(frame.contents).trades)
                greeting = [_trade(origin, t, recv_ns, mono_ns, greeting=True) for t in trades]
            case _:
                pass
        return Bundle((Granted((origin.topic,)),), tuple(greeting))

    def _snapshot(
        self, origin: Origin, contents: msgspec.Raw, recv_ns: int, mono_ns: int
    ) -> BookSnapshot:
        book = _decode_book(contents)
        bids = [(level.price, level.size) for level in book.bids if level.size]
        asks = [(level.price, level.size) for level in book.asks if level.size]
        texts = None
        if self._texts:
            sent = _decode_book_texts(contents)
            texts = Texts(
                [(x.price, x.size) for x, of in zip(sent.bids, book.bids, strict=True) if of.size],
                [(x.price, x.size) for x, of in zip(sent.asks, book.asks, strict=True) if of.size],
            )
        return BookSnapshot(origin, recv_ns, mono_ns, None, None, None, bids, asks, texts)

    def _change(
        self, origin: Origin, contents: msgspec.Raw, recv_ns: int, mono_ns: int
    ) -> BookDelta:
        changes = _decode_changes(contents)
        bids = [(level.price, level.size) for level in changes.bids]
        asks = [(level.price, level.size) for level in changes.asks]
        texts = None
        if self._texts:
            sent = _decode_change_texts(contents)
            texts = Texts(
                [(level.price, level.size) for level in sent.bids],
                [(level.price, level.size) for level in sent.asks],
            )
        return BookDelta(origin, recv_ns, mono_ns, None, None, None, bids, asks, texts)

    def _tickers_of(
        self, changed: Mapping[str, _Market], recv_ns: int, mono_ns: int
    ) -> list[Event]:
        events: list[Event] = []
        for ticker, change in changed.items():
            origin = self._origins.get(f"{_MARKETS}:{ticker}")
            if origin is None:
                continue
            known = self._markets.get(ticker)
            market = _merged(known, change)
            if market == known:
                continue  # what changed is nothing that we tell
            if ticker in self._markets or len(self._markets) < MARKETS_MAX:
                self._markets[ticker] = market
            events.append(
                Ticker(
                    origin,
                    recv_ns,
                    mono_ns,
                    None,
                    None,
                    None,
                    None,
                    index=market.oraclePrice,
                    open_interest=market.openInterest,
                    funding=market.nextFundingRate,
                )
            )
        return events

    def _origin(self, frame: _Frame) -> Origin | None:
        if frame.channel not in _CHANNELS or frame.id is None:
            return None
        return self._origins.get(f"{frame.channel}:{frame.id}")

    # -- errors -----------------------------------------------------------------------------

    def _refused(self, frame: _Frame) -> Reading:
        detail = printable(frame.message)
        if frame.message.startswith(_TOO_MANY):
            return Refusal(None, 0, detail, limited=True)
        already = _ALREADY.fullmatch(frame.message)
        found = already or _INVALID.fullmatch(frame.message)
        channel, name = found.groups() if found else (frame.channel, frame.id)
        topics = self._named(channel, name)
        if not topics:
            # Snapshots are ready when they are: the oldest request need not be the one refused.
            return Refusal(None, 0, detail)
        if already:
            return Granted(topics)
        if frame.message.startswith(_INTERNAL) and topics[0] not in self._retried:
            # The server could not fetch the snapshot; it allows two attempts a second.
            self._retried.update(topics)
            again = Request(0, "reply", _call("subscribe", topics[0]), topics)
            return Bundle((Status(detail), Heartbeat(again)))
        return Denied(topics, 0, detail)

    def _named(self, channel: str, name: str | None) -> tuple[str, ...]:
        if channel == _MARKETS:
            return tuple(self._tickers)
        topic = f"{channel}:{name}"
        known = channel in _CHANNELS and name is not None and self._origins.get(topic) is not None
        return (topic,) if known else ()


def _is_market(topic: str) -> bool:
    return topic.startswith(f"{_MARKETS}:")


def _unasked(frame: _Frame) -> Stray:
    return Stray(f"channel {printable(frame.channel or 'none')}")


def _merged(known: _Market | None, change: _Market) -> _Market:
    if known is None:
        return change
    return _Market(
        known.oraclePrice if change.oraclePrice is None else change.oraclePrice,
        known.nextFundingRate if change.nextFundingRate is None else change.nextFundingRate,
        known.openInterest if change.openInterest is None else change.openInterest,
    )


def _trade(
    origin: Origin, trade: _Trade, recv_ns: int, mono_ns: int, *, greeting: bool = False
) -> Trade:
    return Trade(
        origin,
        recv_ns,
        mono_ns,
        instant_ns(trade.createdAt),
        None,
        None,
        trade.id,
        trade.price,
        trade.size,
        "buy" if trade.side == "BUY" else "sell",
        greeting,
    )


def _call(kind: str, topic: str) -> str:
    channel, _, name = topic.partition(":")
    call: dict[str, object] = {"type": kind, "channel": channel}
    if channel != _MARKETS:
        call["id"] = name
    if kind == "subscribe":
        call["batched"] = False
    return _encode(call).decode()


class DydxRest(NoSnapshots, NoPastTrades):
    """What is listed; books and trades come with the stream."""

    # Books: the stream brings its own, and no number could align another.
    # Trades have no numbers.

    def instruments(self) -> tuple[RestGet, ...]:
        """Return the request for every market."""
        return (RestGet("/v4/perpetualMarkets", (), "rest", 1),)

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read the markets; see `gapless.venues._profile.Rest.read_instruments`."""
        try:
            markets = _decode_listing(body).markets
        except _UNREADABLE as error:
            raise DecodeError(f"not a list of markets: {printable(str(error))}") from error
        return [
            Instrument(
                market.ticker,
                "perp",
                market.ticker.rpartition("-")[0],
                market.ticker.rpartition("-")[2],
                "USDC",
                _STATES.get(market.status, "halted"),
            )
            for market in markets.values()
        ]

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return 0 and the text of an error body, or `None` if it is not one."""
        try:
            return 0, printable("; ".join(fault.msg for fault in _decode_fault(body).errors))
        except _UNREADABLE:
            return None


_STATES: Final[Mapping[str, InstrumentState]] = MappingProxyType(
    {
        "ACTIVE": "open",
        "INITIALIZING": "listed",
        "FINAL_SETTLEMENT": "settling",
    }
)

_PROFILE: Final = Profile(
    name="dydx",
    title="dYdX v4",
    endpoints=Fact(
        Endpoints(
            public=("wss://indexer.dydx.trade/v4/ws",),
            test=("wss://indexer.v4testnet.dydx.exchange/v4/ws",),
            path="/v4/ws",
            independent=None,
        ),
        _WS,
        _READ,
    ),
    rest_endpoints=Fact(("https://indexer.dydx.trade",), _REST, _READ),
    lifetime_ns=Fact(None, _WS, _READ, "L", "no maximum is documented"),
    shutdown_notice=Fact(None, _SRC, _READ, note="none before close 1012, service restart"),
    server_ping_ns=Fact(30 * SECOND, f"{_WS}, Maintaining a Connection", _READ),
    pong_within_ns=Fact(10 * SECOND, f"{_WS}, Maintaining a Connection", _READ),
    heartbeat=Fact(None, _WS, _READ, note="ping frames only"),
    client_ping=Fact('{"type":"ping"} is accepted, and not answered', _SRC, _READ),
    client_beat_ns=Fact(None, _WS, _READ, note="answering its pings is enough"),
    dials=Fact((), _SRC, _READ, "M", "no limit on attempts; a penalty of 30 s after abuse, by 429"),
    connections=Fact(None, _SRC, _READ, "M", "none in the server"),
    messages=Fact(
        (), _CONF, _READ, note="2 subscribes a second for each channel and id; else close 1008"
    ),
    topics_per_request=Fact(None, _WS, _READ, note="one id a request, or all markets"),
    request_bytes=Fact(None, _WS, _READ, "L", "none documented"),
    topics_per_connection=Fact(
        32, _CONF, _READ, note="32 of each channel; here for all of them together"
    ),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(
        None,
        _SUBS,
        _READ,
        note="message_id is taken before the snapshot is fetched and sent after: out of order",
    ),
    pools=Fact(MappingProxyType({"rest": Window(100, 10 * SECOND)}), _REST, _READ),
    login=Fact(None, _WS, _READ, note="none; user data is found by its public address"),
    ack_within_ns=Fact(
        30 * SECOND,
        _SUBS,
        _READ,
        "M",
        "an answer waits for its snapshot, which the server may take 20 s to fetch",
    ),
    ack=Fact("subscribed names channel and id, and brings the snapshot", _WS, _READ),
    checksum=Fact(None, _WS, _READ, note="none"),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact(None, _WS, _READ, "L", "none documented"),
    errors=Fact(
        MappingProxyType(
            {
                0: "errors are sentences: SubscriptionRejected",
                1008: "close: rate limited",
                1011: "close: no pong within 10 s",
                1012: "close: service restart",
                4000: "close: we read too slowly",
            }
        ),
        f"{_SRC}/lib/constants.ts",
        _READ,
    ),
    framing=Fact(
        "JSON text: connected, subscribed, channel_data, channel_batch_data, error", _WS, _READ
    ),
    reconciliation=Fact("/v4/orders, /v4/fills and the subaccount", _REST, _READ),
    cutovers=Fact((), _WS, _READ, "L", "no changelog of the indexer's websocket"),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"v4_trades": "v4_trades:{symbol}"}),
            numbering=Fact(Numbering.IDENTITY, f"{_WS}, Trades", _READ, note="id of the fill"),
            arbitration=Arbitration.BY_IDENTITY,
            speaks_on_subscribe=Fact(True, f"{_WS}, Trades", _READ),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({"v4_orderbook": "v4_orderbook:{symbol}"}),
            numbering=Fact(Numbering.NONE, f"{_WS}, Orderbooks", _READ, note="not even a time"),
            arbitration=Arbitration.FAILOVER_ONLY,
            snapshot=Fact(
                SnapshotFrom.STREAM,
                f"{_WS}, Orderbooks",
                _READ,
                note="in the answer; fetched before the subscription is noted, see the traps",
            ),
            speaks_on_subscribe=Fact(True, f"{_WS}, Orderbooks", _READ),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"v4_markets": "v4_markets:{symbol}"}),
            numbering=Fact(Numbering.NONE, f"{_WS}, Markets", _READ, note="no time"),
            arbitration=Arbitration.FAILOVER_ONLY,
            speaks_on_subscribe=Fact(True, f"{_WS}, Markets", _READ),
        ),
    ),
    server_time=Fact(
        ServerTime("/v4/time", "rest", ("epoch",), SECOND), f"{_REST}, Get time", _READ, "M"
    ),
    busiest=("trades", "BTC-USD"),
    traps=(
        "A ping that is not answered within 10 s ends the connection (1011).",
        "message_id comes out of order and twice by right: checking it gives false gaps.",
        "A crossed book is normal: each node sees orders of its own; it proves no corruption.",
        "The snapshot is fetched before the subscription is noted: changes in between are lost.",
        "32 subscriptions of a channel for each connection; one more is an error, not a close.",
        "A ping as JSON gets no pong.",
        "Markets are one subscription without an id; with an id it stays empty.",
        "The first list of trades comes newest first.",
        "Internal error, could not fetch data: only that subscription must be asked for again.",
    ),
    codec=DydxCodec,
    rest=DydxRest(),
)

PROFILES: Final = (_PROFILE,)
