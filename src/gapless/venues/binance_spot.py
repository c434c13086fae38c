"""Binance Spot: market data streams.

Depth updates carry ranges ``U..u`` that are dense for each symbol; the snapshot comes over
REST and is aligned by number.  Streams are subscribed on the combined endpoint, so that every
frame names its stream and every subscribe has an ack.  The ack does not say whether a symbol
exists, therefore the subscriptions are listed afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from gapless.core.budget import Window
from gapless.core.codec import Ack, Asked, Listing, Reading, Refusal, Request, Shutdown, Stray
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument
from gapless.errors import DecodeError, printable
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Event,
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
    Profile,
    RestGet,
)

__all__ = ["PROFILES", "BinanceSpotCodec", "BinanceSpotRest"]

_READ: Final = "2026-07-21"
_WS: Final = "binance-spot-api-docs/web-socket-streams.md"
_REST: Final = "binance-spot-api-docs/rest-api.md"
_ERR: Final = "binance-spot-api-docs/errors.md"
_LOG: Final = "binance-spot-api-docs/CHANGELOG.md"

DEPTH_LIMIT: Final = 1000  # levels a side; weight 50.  5,000 would cost 250.
DEPTH_WEIGHT: Final = 50

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**53)]
# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=0, le=1e300)]
Size = Annotated[float, Meta(ge=0, le=1e300)]
Level = tuple[Price, Size]

_HEAD: Final = '{"stream":"'


class _Depth(Struct, gc=False):
    E: Millis
    U: Number
    u: Number
    b: list[Level]
    a: list[Level]


class _Trade(Struct, gc=False):
    t: Number
    p: Price
    q: Size
    T: Millis
    m: bool


class _AggTrade(Struct, gc=False):
    a: Number
    p: Price
    q: Size
    T: Millis
    m: bool


class _BookTicker(Struct, gc=False):
    u: Number
    b: Price
    B: Size
    a: Price
    A: Size


class _Ticker(Struct, gc=False):
    E: Millis
    c: Price
    b: Price
    a: Price
    v: Size


class _DepthFrame(Struct, gc=False):
    data: _Depth


class _TradeFrame(Struct, gc=False):
    data: _Trade


class _AggTradeFrame(Struct, gc=False):
    data: _AggTrade


class _BookTickerFrame(Struct, gc=False):
    data: _BookTicker


class _TickerFrame(Struct, gc=False):
    data: _Ticker


class _Inner(Struct, gc=False):
    e: str | None = None


class _Fault(Struct, gc=False):
    code: int
    msg: str = ""


class _Frame(Struct, gc=False):
    stream: str | None = None
    data: _Inner | list[msgspec.Raw] | None = None
    event: _Inner | None = None
    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    code: int | None = None
    msg: str = ""
    error: _Fault | None = None
    e: str | None = None


class _Snapshot(Struct, gc=False):
    lastUpdateId: Number  # noqa: N815  # the venue's name
    bids: list[Level]
    asks: list[Level]


class _Asked(Struct, gc=False):
    method: str = ""
    params: tuple[str, ...] = ()
    id: int | None = None


class _TextDepth(Struct, gc=False):
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _TextFrame(Struct, gc=False):
    data: _TextDepth


class _TextSnapshot(Struct, gc=False):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_texts = msgspec.json.Decoder(_TextFrame).decode
_decode_snapshot_texts = msgspec.json.Decoder(_TextSnapshot).decode
# Numbers arrive as text, hence not strict.
_decode_depth = msgspec.json.Decoder(_DepthFrame, strict=False).decode
_decode_trade = msgspec.json.Decoder(_TradeFrame, strict=False).decode
_decode_agg_trade = msgspec.json.Decoder(_AggTradeFrame, strict=False).decode
_decode_book_ticker = msgspec.json.Decoder(_BookTickerFrame, strict=False).decode
_decode_ticker = msgspec.json.Decoder(_TickerFrame, strict=False).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot, strict=False).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_encode = msgspec.json.encode


class BinanceSpotCodec:
    """The dialect for one session on the combined endpoint.

    Args:
        origins: The topics of this session, by the venue's name.
    """

    __slots__ = ("_origins", "_texts")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: the endpoint's path says all."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return [Request(next_id, "subscribe", _call(next_id, "SUBSCRIBE", topics), topics)]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return [Request(next_id, "unsubscribe", _call(next_id, "UNSUBSCRIBE", topics), topics)]

    def beat(self, next_id: int) -> None:
        """Return nothing: answering the venue's pings is enough."""
        del next_id

    def number(self, text: str) -> None:
        """Return nothing: the venue does not count the frames of a connection."""
        del text

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            call = _decode_asked(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        match call.method:
            case "SUBSCRIBE":
                return Asked("subscribe", call.id, call.params)
            case "UNSUBSCRIBE":
                return Asked("unsubscribe", call.id, call.params)
            case _:
                return Asked("listing", call.id, ())

    def once_live(self, request_id: int) -> Request | None:
        call = _encode({"method": "LIST_SUBSCRIPTIONS", "id": request_id}).decode()
        return Request(request_id, "listing", call)

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            if text.startswith(_HEAD):  # the usual order of keys; any other works below
                topic = text[11 : text.index('"', 11)]
                origin = self._origins.get(topic)
                if origin is not None:
                    return [self._event(origin, text, recv_ns, mono_ns)]
            return self._read_any(_decode_frame(text), text, recv_ns, mono_ns)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read_any(
        self, frame: _Frame, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        inner = frame.event or frame.data
        event = inner.e if isinstance(inner, _Inner) else frame.e
        if event == "serverShutdown":
            return Shutdown("serverShutdown")
        if frame.stream is not None:
            origin = self._origins.get(frame.stream)
            if origin is not None:
                return [self._event(origin, text, recv_ns, mono_ns)]
            return Stray(f"stream {printable(frame.stream)}")
        fault = frame.error
        if fault is None and frame.code is not None:
            fault = _Fault(frame.code, frame.msg)
        if fault is not None:
            return Refusal(frame.id, fault.code, printable(fault.msg), fault.code in _LIMITED)
        if frame.id is not None:
            result = bytes(frame.result)
            if result.startswith(b"["):
                return Listing(frame.id, tuple(_decode_names(result)))
            return Ack(frame.id)
        return Stray(f"event {printable(event or 'none')}")

    def _event(self, origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
        event = _event(origin, text, recv_ns, mono_ns)
        if self._texts and isinstance(event, BookDelta):
            data = _decode_texts(text).data
            return msgspec.structs.replace(event, texts=Texts(data.b, data.a))
        return event


def _event(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    match origin.channel:
        case "book":
            depth = _decode_depth(text).data
            if depth.u < depth.U:
                raise DecodeError(f"update range {depth.U}..{depth.u} is empty")
            return BookDelta(
                origin, recv_ns, mono_ns, depth.E * MS, depth.U, depth.u, depth.b, depth.a
            )
        case "trades":
            return _trade(origin, text, recv_ns, mono_ns)
        case "bbo":
            best = _decode_book_ticker(text).data
            return Bbo(
                origin,
                recv_ns,
                mono_ns,
                None,
                best.u,
                best.u,
                best.b if best.B else None,
                best.B or None,
                best.a if best.A else None,
                best.A or None,
            )
        case _:
            tick = _decode_ticker(text).data
            return Ticker(
                origin,
                recv_ns,
                mono_ns,
                tick.E * MS,
                None,
                None,
                tick.c,
                bid=tick.b or None,
                ask=tick.a or None,
                volume=tick.v,
            )


def _trade(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    if origin.topic.endswith("@aggTrade"):
        agg = _decode_agg_trade(text).data
        number, price, size, time, maker = agg.a, agg.p, agg.q, agg.T, agg.m
    else:
        trade = _decode_trade(text).data
        number, price, size, time, maker = trade.t, trade.p, trade.q, trade.T, trade.m
    # "m" says that the buyer was the maker, so the taker sold.
    side: Side = "sell" if maker else "buy"
    return Trade(
        origin, recv_ns, mono_ns, time * MS, number, number, str(number), price, size, side
    )


class BinanceSpotRest:
    """Depth snapshots over REST."""

    def snapshot(self, symbol: str) -> RestGet:
        """Return the request for a book of `DEPTH_LIMIT` levels a side."""
        query = (("symbol", symbol.upper()), ("limit", str(DEPTH_LIMIT)))
        return RestGet("/api/v3/depth", query, "weight", DEPTH_WEIGHT)

    def read_snapshot(
        self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int, *, texts: bool = False
    ) -> BookSnapshot:
        """Read a depth reply; see `gapless.venues._profile.Rest.read_snapshot`."""
        try:
            data = _decode_snapshot(body)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a depth snapshot: {printable(str(error))}") from error
        last = data.lastUpdateId
        literal = None
        if texts:
            sent = _decode_snapshot_texts(body)
            literal = Texts(sent.bids, sent.asks)
        return BookSnapshot(
            origin, recv_ns, mono_ns, None, last, last, data.bids, data.asks, literal
        )

    def trades(self, topic: str, symbol: str, first: int, last: int) -> None:
        del topic, symbol, first, last

    def read_trades(self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int) -> list[Trade]:
        raise NotImplementedError

    def instruments(self) -> tuple[RestGet, ...]:
        return ()

    def read_instruments(self, body: bytes) -> list[Instrument]:
        raise NotImplementedError

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""
        try:
            fault = _decode_fault(body)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
        return fault.code, printable(fault.msg)


def _call(request_id: int, method: str, topics: tuple[str, ...]) -> str:
    return _encode({"method": method, "params": topics, "id": request_id}).decode()


_LIMITED: Final = frozenset({-1003})

_ERRORS: Final = MappingProxyType(
    {
        0: "unknown property: RequestRejected",
        1: "invalid value type: RequestRejected",
        2: "invalid request: SubscriptionRejected",
        3: "invalid JSON: RequestRejected",
        -1003: "too many requests: RateLimited",
        -1121: "invalid symbol: SubscriptionRejected",
    }
)

_PROFILE: Final = Profile(
    name="binance.spot",
    title="Binance Spot",
    endpoints=Fact(
        Endpoints(
            public=(
                "wss://stream.binance.com:9443/stream",
                "wss://stream.binance.com:443/stream",
                "wss://data-stream.binance.vision/stream",
            ),
            test=("wss://stream.testnet.binance.vision/stream",),
            path="/stream",
            independent=None,
        ),
        f"{_WS}, General WSS information",
        _READ,
    ),
    rest_endpoints=Fact(
        (
            "https://api.binance.com",
            "https://api-gcp.binance.com",
            "https://data-api.binance.vision",
        ),
        f"{_REST}, General API information",
        _READ,
    ),
    lifetime_ns=Fact(24 * 3600 * SECOND, f"{_WS}, General WSS information", _READ),
    shutdown_notice=Fact(
        "serverShutdown event; a new connection is opened at once",
        f"{_WS}; {_LOG}",
        _READ,
        note="the once-published lead of ten minutes was removed",
    ),
    server_ping_ns=Fact(20 * SECOND, f"{_WS}, General WSS information", _READ),
    pong_within_ns=Fact(60 * SECOND, f"{_WS}, General WSS information", _READ),
    heartbeat=Fact(None, _WS, _READ, note="ping frames only"),
    client_beat_ns=Fact(None, _WS, _READ, note="answering its pings is enough"),
    request_bytes=Fact(None, _WS, _READ, "L", "none documented"),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(None, _WS, _READ),
    client_ping=Fact(
        "allowed; every ping and pong counts as an inbound message",
        f"{_WS}, WebSocket limits",
        _READ,
    ),
    dials=Fact((Window(300, 300 * SECOND),), f"{_WS}, WebSocket limits", _READ),
    connections=Fact(None, _WS, _READ, note="none documented"),
    messages=Fact((Window(5, SECOND),), f"{_WS}, WebSocket limits", _READ),
    topics_per_request=Fact(None, _WS, _READ, note="none documented; bounded by bytes"),
    topics_per_connection=Fact(1024, f"{_WS}, WebSocket limits", _READ),
    pools=Fact(
        MappingProxyType({"weight": Window(6000, 60 * SECOND)}),
        f"{_REST}, Limits",
        _READ,
        note=f"depth of {DEPTH_LIMIT} levels costs {DEPTH_WEIGHT}",
    ),
    login=Fact(None, _WS, _READ, note="market data needs none"),
    ack=Fact(
        '{"result":null,"id":n} for a whole frame; LIST_SUBSCRIPTIONS names what is subscribed',
        f"{_WS}, Live subscribing",
        _READ,
    ),
    checksum=Fact(None, _WS, _READ, note="none; the ranges U..u are the proof"),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact("GET /sapi/v1/system/status; no message on the stream", _REST, _READ, "M"),
    errors=Fact(_ERRORS, f"{_WS}, Error messages; {_ERR}", _READ),
    framing=Fact(
        "JSON text; combined streams wrap as {stream, data}; requests carry an id", _WS, _READ
    ),
    reconciliation=Fact(
        "openOrders.status, order.status, myTrades by symbol from the last id",
        "binance-spot-api-docs/web-socket-api.md",
        _READ,
    ),
    cutovers=Fact(
        (
            "2025-11: depth procedure re-fetches when lastUpdateId < first U",
            "2026-02-20: listenKey removed",
            "2026-03-26: !ticker@arr removed",
        ),
        _LOG,
        _READ,
    ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"raw": "{lower}@trade", "agg": "{lower}@aggTrade"}),
            numbering=Fact(
                Numbering.DENSE,
                "seen in traffic of August 2024: 19,903 of 19,903 trade ids rise by one",
                _READ,
                "M",
                "the document says increasing; aggregate ids are documented as contiguous",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(False, _WS, _READ),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({"100ms": "{lower}@depth@100ms", "1000ms": "{lower}@depth"}),
            numbering=Fact(Numbering.DENSE, f"{_WS}, How to manage a local order book", _READ),
            arbitration=Arbitration.BY_SEQUENCE,
            snapshot=Fact(
                SnapshotFrom.REST,
                f"{_WS}, How to manage a local order book",
                _READ,
                note="fetch again while lastUpdateId < first U; drop u <= lastUpdateId",
            ),
            speaks_on_subscribe=Fact(False, _WS, _READ),
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"bookTicker": "{lower}@bookTicker"}),
            numbering=Fact(
                Numbering.ORDERED,
                f"{_WS}, Individual symbol book ticker",
                _READ,
                note="u orders the images; it does not rise by one",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(False, _WS, _READ),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"24h": "{lower}@ticker"}),
            numbering=Fact(Numbering.NONE, f"{_WS}, Individual symbol ticker", _READ),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(False, _WS, _READ),
        ),
    ),
    traps=(
        "Stream names need lower-case symbols.",
        "A subscribe to a symbol that does not exist is acked all the same.",
        "Our own pings and pongs count towards five messages a second.",
        "bookTicker and partial depth carry neither type nor time.",
        "serverShutdown has another shape on raw, combined and API connections.",
        "The re-fetch condition is lastUpdateId < first U; older texts say it otherwise.",
        "A quiet symbol is silent: liveness must come from pings or another stream.",
    ),
    codec=BinanceSpotCodec,
    rest=BinanceSpotRest(),
)

PROFILES: Final = (_PROFILE,)
