"""Coinbase: the market data feed of Advanced Trade.

Nothing in a topic is numbered but trades; every frame of the connection is.  So the books are
proven by the connection: while ``sequence_num`` rises by one, nothing was lost on it, and a hole
ends the session with all it carried.

A request names one channel and any number of products, and the answer lists all that is
subscribed, without our id.  Two of our topics may share one of the venue's channels: what a
``ticker`` frame says of the best quote is also our ``bbo``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.budget import Window
from gapless.core.codec import (
    Ack,
    Asked,
    Bundle,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    RequestKind,
    Stray,
)
from gapless.core.instants import instant_ns
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument, InstrumentKind, InstrumentState
from gapless.errors import DecodeError, printable
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Event,
    Levels,
    Origin,
    Side,
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
    ServerTime,
)

__all__ = ["PROFILES", "CoinbaseCodec", "CoinbaseRest"]

_READ: Final = "2026-11-22"
_OV: Final = "docs.cdp.coinbase.com, Advanced Trade WebSocket Overview"
_CH: Final = "docs.cdp.coinbase.com, Advanced Trade WebSocket Channels"
_RL: Final = "docs.cdp.coinbase.com, Advanced Trade WebSocket Rate Limits"
_GUIDE: Final = "docs.cdp.coinbase.com, Advanced Trade WebSockets: setup"
_ASYNC: Final = "docs.cdp.coinbase.com, Advanced Trade AsyncAPI"
_REST: Final = "docs.cdp.coinbase.com, List Public Products"
_SEEN: Final = "seen in traffic of August 2026"

BEATS: Final = "heartbeats"

Number = Annotated[int, Meta(ge=0, lt=2**62)]
# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]

_BOOK_HEAD: Final = '{"channel":"l2_data"'
_NUMBER_KEY: Final = '"sequence_num":'

_WIRE: Final = {"level2": "level2", "market_trades": "market_trades", "ticker": "ticker"}
"""Channels that data can be read of; our topics are spelled ``channel:product``."""

_SHARED: Final = {"bbo": "ticker"}
"""Topics of ours that the venue serves by another channel."""

_TWINS: Final = {"bbo": ("ticker",), "ticker": ("bbo",)}
"""Topics of ours that are served by one subscription."""

_OWN_BOOK: Final = frozenset({"USDT-USDC", "EURC-USDC", "XSGD-USDC", "TGBP-USDC", "AUDD-USDC"})
"""Products in USDC that are not another name of the one in USD."""


class _Level(Struct, gc=False):
    # Documents of other years say "ask".
    side: Literal["bid", "offer", "ask"]
    price_level: Price
    new_quantity: Size


class _BookPart(Struct, gc=False):
    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[_Level]


class _BookFrame(Struct, gc=False):
    timestamp: str
    events: list[_BookPart]


class _TextLevel(Struct, gc=False):
    side: str
    price_level: str
    new_quantity: str


class _TextPart(Struct, gc=False):
    updates: list[_TextLevel]


class _TextFrame(Struct, gc=False):
    events: list[_TextPart]


class _Trade(Struct, gc=False):
    trade_id: Number
    product_id: str
    price: Price
    size: Size
    side: Literal["BUY", "SELL"]
    time: str


class _TradePart(Struct, gc=False):
    type: Literal["snapshot", "update"]
    trades: list[_Trade]


class _TradeFrame(Struct, gc=False):
    events: list[_TradePart]


class _Ticker(Struct, gc=False):
    product_id: str
    price: str = ""
    volume_24_h: str = ""
    best_bid: str = ""
    best_bid_quantity: str = ""
    best_ask: str = ""
    best_ask_quantity: str = ""


class _TickerPart(Struct, gc=False):
    tickers: list[_Ticker]


class _TickerFrame(Struct, gc=False):
    timestamp: str
    events: list[_TickerPart]


class _Subscribed(Struct, gc=False):
    subscriptions: dict[str, list[str]]


class _SubscribedFrame(Struct, gc=False):
    events: list[_Subscribed]


class _Frame(Struct, gc=False):
    channel: str | None = None
    type: str | None = None
    message: str = ""


class _Numbered(Struct, gc=False):
    sequence_num: Number | None = None


class _Asked(Struct, gc=False):
    type: str = ""
    channel: str = ""
    product_ids: tuple[str, ...] = ()


class _Future(Struct, gc=False):
    contract_expiry: str = ""
    contract_expiry_type: str = ""


class _Product(Struct, gc=False):
    product_id: str
    product_type: str = "SPOT"
    base_currency_id: str = ""
    quote_currency_id: str = ""
    status: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    cancel_only: bool = False
    view_only: bool = False
    volume_24h: str = ""
    future_product_details: _Future | None = None


class _Products(Struct, gc=False):
    products: list[_Product]


class _Fault(Struct, gc=False):
    error: str
    message: str = ""


# Numbers arrive as text, hence not strict.
_decode_books = msgspec.json.Decoder(_BookFrame, strict=False).decode
_decode_texts = msgspec.json.Decoder(_TextFrame).decode
_decode_trades = msgspec.json.Decoder(_TradeFrame, strict=False).decode
_decode_tickers = msgspec.json.Decoder(_TickerFrame).decode
_decode_subscribed = msgspec.json.Decoder(_SubscribedFrame).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_numbered = msgspec.json.Decoder(_Numbered).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_products = msgspec.json.Decoder(_Products).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode
_encode = msgspec.json.encode
_ERRORS_READING: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


class CoinbaseCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session, spelled ``channel:product``.
        texts: Whether book events carry their literal levels.
    """

    __slots__ = ("_beats_id", "_origins", "_routes", "_texts")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts
        self._beats_id: int | None = None
        self._routes: dict[str, list[str]] = {}  # channel and product as the venue says them
        self._route(origins)

    def setup(self, next_id: int) -> list[Request]:
        """Ask for heartbeats: without them the venue closes channels that are quiet."""
        self._beats_id = next_id
        call = _call("subscribe", BEATS, ())
        return [Request(next_id, "setup", call, (), "messages")]

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return one request for each of the venue's channels."""
        self._route(topics)
        return [
            Request(number, "subscribe", _call("subscribe", wire, part), part, "messages")
            for number, (wire, part) in enumerate(_by_channel(topics).items(), start=next_id)
        ]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return one request for each of the venue's channels; none has an answer of its own.

        What another topic is served by goes on.
        """
        del next_id
        ending = (topic for topic in topics if not self._is_shared(topic, topics))
        return [
            Request(0, "unsubscribe", _call("unsubscribe", wire, part), part, "messages")
            for wire, part in _by_channel(ending).items()
        ]

    def beat(self, next_id: int) -> None:
        """Return nothing: the venue's heartbeats are all it wants."""
        del next_id

    def number(self, text: str) -> int | None:
        """Return the number of a frame; see `gapless.core.codec.Codec.number`.

        The key is looked up in the text: a snapshot may have five megabytes behind it.  Only
        where it might be another object's, or is written in an unusual way, is it decoded.
        """
        at = text.find(_NUMBER_KEY)
        start = at + len(_NUMBER_KEY)
        if at > 0 and text.rfind("{", 0, at) == 0 and text.find(_NUMBER_KEY, start) < 0:
            digits = text[start : max(start, text.find(",", start, start + 19))]
            if digits.isascii() and digits.isdigit():
                return int(digits)
        try:
            return _decode_numbered(text).sequence_num
        except _ERRORS_READING:
            return None  # `read` says what is wrong with it

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            call = _decode_asked(text)
        except _ERRORS_READING as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        if call.type not in {"subscribe", "unsubscribe"}:
            return None
        if call.channel == BEATS:
            return Asked("setup", None, ())
        kind: RequestKind = "subscribe" if call.type == "subscribe" else "unsubscribe"
        products = call.product_ids if call.channel in _WIRE else ()
        return Asked(kind, None, tuple(f"{call.channel}:{product}" for product in products))

    def once_live(self, request_id: int) -> None:
        """Return nothing: every answer lists what is subscribed."""
        del request_id

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            if text.startswith(_BOOK_HEAD):  # the usual order of keys; any other works below
                return self._books(text, recv_ns, mono_ns)
            return self._read_any(_decode_frame(text), text, recv_ns, mono_ns)
        except _ERRORS_READING as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read_any(
        self, frame: _Frame, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        match frame.channel:
            case "l2_data":
                return self._books(text, recv_ns, mono_ns)
            case "market_trades":
                return self._trades(text, recv_ns, mono_ns)
            case "ticker":
                return self._tickers(text, recv_ns, mono_ns)
            case "heartbeats":
                return Heartbeat()
            case "subscriptions":
                return self._subscribed(text)
            case None if frame.type == "error":
                return Refusal(None, 0, printable(frame.message), ordered=True)
            case _:
                return Stray(f"channel {printable(frame.channel or 'none')}")

    # -- data -------------------------------------------------------------------------------

    def _books(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        frame = _decode_books(text)
        event_ns = instant_ns(frame.timestamp)
        literal = _decode_texts(text).events if self._texts else None
        events: list[Event] = []
        known = not frame.events
        for index, part in enumerate(frame.events):
            origins = self._origins_of("level2", part.product_id)
            if not origins:
                continue
            known = True
            kind = BookSnapshot if part.type == "snapshot" else BookDelta
            texts = None if literal is None else _texts(literal[index])
            bids, asks = _sides(part)
            events.extend(
                kind(origin, recv_ns, mono_ns, event_ns, None, None, bids, asks, texts)
                for origin in origins
            )
        return events if known else Stray("a book that nobody asked for")

    def _trades(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        events: list[Event] = []
        parts = _decode_trades(text).events
        known = not any(part.trades for part in parts)
        for part in parts:
            # The venue writes the newest first.
            for trade in sorted(part.trades, key=_trade_id):
                for origin in self._origins_of("market_trades", trade.product_id):
                    known = True
                    greeting = part.type == "snapshot"
                    events.append(_trade(origin, trade, recv_ns, mono_ns, greeting=greeting))
        return events if known else Stray("trades that nobody asked for")

    def _tickers(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        frame = _decode_tickers(text)
        event_ns = instant_ns(frame.timestamp)
        events: list[Event] = []
        tickers = [ticker for part in frame.events for ticker in part.tickers]
        for ticker in tickers:
            for origin in self._origins_of("ticker", ticker.product_id):
                make = _bbo if origin.channel == "bbo" else _ticker
                events.append(make(origin, ticker, recv_ns, mono_ns, event_ns))
        return events if events or not tickers else Stray("a ticker that nobody asked for")

    # -- topics -----------------------------------------------------------------------------

    def _subscribed(self, text: str) -> Reading:
        topics: dict[str, None] = {}
        beats = False
        for part in _decode_subscribed(text).events:
            for wire, products in part.subscriptions.items():
                beats = beats or wire == BEATS
                for product in products if wire in _WIRE else ():
                    origins = self._origins_of(wire, product)
                    topics.update(dict.fromkeys(origin.topic for origin in origins))
        granted = Granted(tuple(topics))
        if beats and self._beats_id is not None:
            return Bundle((Ack(self._beats_id), granted))
        return granted

    def _route(self, topics: Iterable[str]) -> None:
        """Note under which names the venue will speak of ``topics``."""
        for topic in topics:
            channel, _, product = topic.partition(":")
            names = [product]
            if product.endswith("-USDC") and product not in _OWN_BOOK:
                names.append(product[:-1])
            for name in names:
                known = self._routes.setdefault(f"{_SHARED.get(channel, channel)}:{name}", [])
                if topic not in known:
                    known.append(topic)

    def _is_shared(self, topic: str, ending: tuple[str, ...]) -> bool:
        """Whether a topic that goes on is served by the same subscription."""
        channel, _, product = topic.partition(":")
        return self._origins.get(topic) is None and any(
            f"{other}:{product}" not in ending and self._origins.get(f"{other}:{product}")
            for other in _TWINS.get(channel, ())
        )

    def _origins_of(self, wire: str, product: str) -> list[Origin]:
        name = f"{wire}:{product}"
        found = (self._origins.get(topic) for topic in self._routes.get(name) or (name,))
        return [origin for origin in found if origin is not None]


def _sides(part: _BookPart) -> tuple[Levels, Levels]:
    bids: Levels = []
    asks: Levels = []
    for level in part.updates:
        side = bids if level.side == "bid" else asks
        side.append((level.price_level, level.new_quantity))
    return bids, asks


def _texts(part: _TextPart) -> Texts:
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    for level in part.updates:
        side = bids if level.side == "bid" else asks
        side.append((level.price_level, level.new_quantity))
    return Texts(bids, asks)


def _trade_id(trade: _Trade) -> int:
    return trade.trade_id


def _trade(origin: Origin, trade: _Trade, recv_ns: int, mono_ns: int, *, greeting: bool) -> Event:
    number = trade.trade_id
    # The venue names the maker's side.
    side: Side = "sell" if trade.side == "BUY" else "buy"
    return Trade(
        origin,
        recv_ns,
        mono_ns,
        instant_ns(trade.time),
        number,
        number,
        str(number),
        trade.price,
        trade.size,
        side,
        greeting,
    )


def _bbo(origin: Origin, data: _Ticker, recv_ns: int, mono_ns: int, event_ns: int) -> Event:
    bid_size, ask_size = _amount(data.best_bid_quantity), _amount(data.best_ask_quantity)
    return Bbo(
        origin,
        recv_ns,
        mono_ns,
        event_ns,
        None,
        None,
        _amount(data.best_bid) if bid_size else None,
        bid_size,
        _amount(data.best_ask) if ask_size else None,
        ask_size,
    )


def _ticker(origin: Origin, data: _Ticker, recv_ns: int, mono_ns: int, event_ns: int) -> Event:
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        event_ns,
        None,
        None,
        _amount(data.price),
        bid=_amount(data.best_bid),
        ask=_amount(data.best_ask),
        volume=_amount(data.volume_24_h),
    )


def _amount(text: str) -> float | None:
    """Return a price or size; `None` if there is none, which the venue writes as nothing or 0."""
    return (msgspec.convert(text, Price, strict=False) or None) if text else None


def _by_channel(topics: Iterable[str]) -> dict[str, tuple[str, ...]]:
    result: dict[str, tuple[str, ...]] = {}
    for topic in topics:
        channel = topic.partition(":")[0]
        wire = _SHARED.get(channel, channel)
        result[wire] = (*result.get(wire, ()), topic)
    return result


def _call(kind: str, channel: str, topics: Iterable[str]) -> str:
    products = list(dict.fromkeys(topic.partition(":")[2] for topic in topics))
    call: dict[str, object] = {"type": kind, "channel": channel}
    if products:
        call["product_ids"] = products
    return _encode(call).decode()


class CoinbaseRest(NoSnapshots, NoPastTrades):
    """What is listed, over REST."""

    # Books: the stream brings its own.
    # Past trades are found by time only.

    def instruments(self) -> tuple[RestGet, ...]:
        """Return the request for every public product."""
        return (RestGet("/api/v3/brokerage/market/products", (), "rest", 1),)

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read a list of products; see `gapless.venues._profile.Rest.read_instruments`."""
        try:
            return [_instrument(product) for product in _decode_products(body).products]
        except _ERRORS_READING as error:
            raise DecodeError(f"not a list of products: {printable(str(error))}") from error

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return 0 and the text of an error body, or `None` if it is not one."""
        try:
            fault = _decode_fault(body)
        except _ERRORS_READING:
            return None
        return 0, printable(f"{fault.error}: {fault.message}")


def _instrument(product: _Product) -> Instrument:
    kind: InstrumentKind = "spot"
    expiry_ns = None
    future = product.future_product_details
    if product.product_type == "FUTURE":
        kind = "perp"
        if future is not None and future.contract_expiry_type == "EXPIRING":
            kind, expiry_ns = "future", instant_ns(future.contract_expiry)
    state: InstrumentState = "open"
    if product.status == "delisted":
        state = "gone"
    elif product.is_disabled or product.trading_disabled or product.cancel_only:
        state = "halted"
    return Instrument(
        product.product_id,
        kind,
        product.base_currency_id,
        product.quote_currency_id,
        state=state,
        expiry_ns=expiry_ns,
        volume=_amount(product.volume_24h),
    )


_PROFILE: Final = Profile(
    name="coinbase",
    title="Coinbase Advanced Trade",
    endpoints=Fact(
        Endpoints(
            public=("wss://advanced-trade-ws.coinbase.com",), test=(), path="", independent=None
        ),
        _OV,
        _READ,
        note="orders of the user are served by advanced-trade-ws-user.coinbase.com",
    ),
    rest_endpoints=Fact(("https://api.coinbase.com",), _REST, _READ),
    lifetime_ns=Fact(None, _OV, _READ, "L", "no maximum is documented"),
    shutdown_notice=Fact(None, _OV, _READ, "L", "none documented"),
    server_ping_ns=Fact(None, _OV, _READ, "L", "ping frames are not documented"),
    pong_within_ns=Fact(None, _OV, _READ, "L"),
    heartbeat=Fact(
        "heartbeats channel, once a second; without it quiet channels are closed after 60 to 90 s",
        f"{_CH}, Heartbeats Channel",
        _READ,
    ),
    client_ping=Fact(None, _OV, _READ, "L", "not documented"),
    client_beat_ns=Fact(None, _CH, _READ, note="the venue's heartbeats keep it open"),
    dials=Fact((Window(8, SECOND),), _RL, _READ, note="for each address"),
    connections=Fact(None, _RL, _READ, "L", "no number at once is documented"),
    messages=Fact((), _RL, _READ, note="counted for the address and not the connection: pools"),
    topics_per_request=Fact(None, _OV, _READ, "L", "one channel a request, products unbounded"),
    request_bytes=Fact(None, _OV, _READ, "L", "none documented"),
    topics_per_connection=Fact(None, _OV, _READ, "L", "none documented"),
    topic_bytes_per_connection=Fact(None, _OV, _READ, "L", "none documented"),
    connection_counter=Fact(
        "sequence_num of every frame, acknowledgements and heartbeats included",
        f"{_SEEN}: 1,029 of 1,029 rise by one",
        _READ,
        "M",
        "the documents name the field, and not that it spans all channels",
    ),
    pools=Fact(
        MappingProxyType({"messages": Window(8, SECOND), "rest": Window(10, SECOND)}),
        _RL,
        _READ,
        "M",
        "8 unauthenticated messages a second; older pages say 750; 10 public REST requests",
    ),
    login=Fact(None, _OV, _READ, note="market data needs none; orders need a JWT each request"),
    ack=Fact(
        "a frame of channel subscriptions lists all that is subscribed; no id",
        _GUIDE,
        _READ,
    ),
    checksum=Fact(None, _CH, _READ, note="none; the connection's counter is the proof"),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact(None, _CH, _READ, "L", "the status channel names products and no maintenance"),
    errors=Fact(
        MappingProxyType({0: "errors have a text and no code: SubscriptionRejected"}), _OV, _READ
    ),
    framing=Fact(
        "JSON text: {channel, timestamp, sequence_num, events}; errors are {type, message}",
        f"{_OV}; {_ASYNC}",
        _READ,
    ),
    reconciliation=Fact(
        "orders/historical/batch and orders/historical/fills",
        "docs.cdp.coinbase.com, Advanced Trade REST API",
        _READ,
    ),
    cutovers=Fact((), "docs.cdp.coinbase.com, Changelog", _READ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"market_trades": "market_trades:{symbol}"}),
            numbering=Fact(
                Numbering.DENSE,
                f"{_SEEN}: 277 of 277 trade ids rise by one within a product",
                _READ,
                "M",
                "once each frame is put in order; the documents do not say so",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(True, f"{_CH}, Market Trades Channel", _READ),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({"level2": "level2:{symbol}"}),
            numbering=Fact(
                Numbering.NONE, f"{_CH}, Level2 Channel", _READ, note="the connection is numbered"
            ),
            arbitration=Arbitration.FAILOVER_ONLY,
            snapshot=Fact(
                SnapshotFrom.STREAM,
                f"{_CH}, Level2 Channel",
                _READ,
                note="the first message after subscribing; quantities are absolute",
            ),
            speaks_on_subscribe=Fact(True, f"{_CH}, Level2 Channel", _READ),
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"ticker": "bbo:{symbol}"}),
            numbering=Fact(Numbering.NONE, f"{_CH}, Ticker Channel", _READ),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, _SEEN, _READ, "M"),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"ticker": "ticker:{symbol}"}),
            numbering=Fact(Numbering.NONE, f"{_CH}, Ticker Channel", _READ),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, _SEEN, _READ, "M"),
        ),
    ),
    server_time=Fact(
        ServerTime("/api/v3/brokerage/time", "rest", ("epochMillis",), MS),
        "docs.cdp.coinbase.com, Advanced Trade, Get server time",
        _READ,
        "M",
    ),
    busiest=("trades", "BTC-USD"),
    traps=(
        "level2 is subscribed, and l2_data is what comes.",
        "The other side of bid is offer, not ask.",
        "sequence_num counts the connection: a counter for each channel sees false gaps.",
        "Without heartbeats a quiet book is closed after 60 to 90 s.",
        "A snapshot has five megabytes: libraries that stop at one close in a circle.",
        "A product in USDC answers by its name in USD, but for those with a book of their own.",
        "Errors carry no id, and an answer lists all that is subscribed.",
        "Trades come newest first, in the greeting and in every frame, with the maker's side.",
        "The first subscribe must come within 5 s.",
    ),
    codec=CoinbaseCodec,
    rest=CoinbaseRest(),
)

PROFILES: Final = (_PROFILE,)
