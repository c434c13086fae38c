"""What Binance's venues share: one protocol of requests and acks, and the shapes of their data.

A stream's name says what its frames are: its part behind the at sign picks the reader.  The
frames themselves must not be trusted with that, because partial depth of futures looks exactly
like diff depth, and best quotes of spot carry no type at all.

A frame without the envelope ``{"stream", "data"}`` comes from a connection to a single stream,
which we never open and old captures hold.  Its topic is found by type and symbol, if exactly one
fits.

What differs stays in the module of each venue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta, Struct

from gapless.core.codec import Ack, Asked, Listing, Reading, Refusal, Request, Shutdown, Stray
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
from gapless.venues._profile import MS

__all__ = [
    "ERRORS",
    "AggTrade",
    "Finite",
    "FuturesCodec",
    "Level",
    "Millis",
    "Number",
    "Price",
    "Reader",
    "Size",
    "StreamCodec",
    "TextData",
    "call",
    "optional",
    "read_agg_trade",
    "read_best",
    "read_chained",
    "read_chained_image",
    "read_day",
    "read_trade",
]

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**43)]  # as nanoseconds it fits 64 bits
# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Finite = Annotated[float, Meta(ge=-1e30, le=1e30)]
Level = tuple[Price, Size]
TextLevels = list[tuple[str, str]]

Reader = Callable[[Origin, str, int, int], Event]
"""Reads the frame of a topic: its origin, the text, Unix and monotonic time of receipt."""

_HEAD: Final = '{"stream":"'
_NAME_AT: Final = len(_HEAD)


# -- the protocol -----------------------------------------------------------------------------


class _Inner(Struct, gc=False):
    e: str | None = None


class _Fault(Struct, gc=False):
    code: int
    msg: str = ""


class _Frame(Struct, gc=False):
    stream: str | None = None
    data: _Inner | list[msgspec.Raw] | None = None
    event: _Inner | None = None
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    code: int | None = None
    msg: str = ""
    error: _Fault | None = None
    # Without an envelope:
    e: str | None = None
    s: str | None = None
    B: msgspec.Raw = msgspec.Raw(b"")
    A: msgspec.Raw = msgspec.Raw(b"")


class _Asked(Struct, gc=False):
    method: str = ""
    params: tuple[str | bool, ...] = ()
    id: int | str | None = None


class TextData(Struct, gc=False):
    b: TextLevels = []
    a: TextLevels = []
    bids: TextLevels = []
    asks: TextLevels = []


class _TextFrame(Struct, gc=False):
    data: TextData


_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_texts = msgspec.json.Decoder(_TextFrame).decode
_encode = msgspec.json.encode

_LIMITED: Final = frozenset({-1003})

ERRORS: Final = MappingProxyType(
    {
        0: "unknown property: RequestRejected",
        1: "invalid value type: RequestRejected",
        2: "invalid request: SubscriptionRejected",
        3: "invalid JSON: RequestRejected",
        -1003: "too many requests: RateLimited",
        -1121: "invalid symbol: SubscriptionRejected",
    }
)


class StreamCodec:
    """The dialect for one session on a combined endpoint.

    Args:
        origins: The topics of this session, by the venue's name.
        texts: Whether books must carry their literal levels.

    Attributes:
        readers: By a topic's part behind the at sign, what reads its frames.
        bare: By type of event, the parts behind the at sign that a frame without an envelope
            may belong to, the likeliest first.
    """

    __slots__ = ("_known", "_origins", "_texts", "_voids")

    readers: ClassVar[Mapping[str, Reader]] = MappingProxyType({})
    bare: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts
        # Both hold one entry at most for each topic of the session.
        self._known: dict[str, Reader] = {}
        self._voids: dict[str, tuple[int, int]] = {}  # last ids that name no trade, both ends

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: the endpoint's path says all."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return [Request(next_id, "subscribe", call(next_id, "SUBSCRIBE", topics), topics)]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return [Request(next_id, "unsubscribe", call(next_id, "UNSUBSCRIBE", topics), topics)]

    def beat(self, next_id: int) -> None:
        """Return nothing: answering the venue's pings is enough."""
        del next_id

    def number(self, text: str) -> None:
        """Return nothing: the venue does not count the frames of a connection."""
        del text

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            asked = _decode_asked(text)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        # Ids of other clients may be text; ours are numbers, and so are those of an `Ack`.
        request_id = asked.id if isinstance(asked.id, int) else None
        names = tuple(name for name in asked.params if isinstance(name, str))
        match asked.method:
            case "SUBSCRIBE":
                return Asked("subscribe", request_id, names)
            case "UNSUBSCRIBE":
                return Asked("unsubscribe", request_id, names)
            case "LIST_SUBSCRIPTIONS":
                return Asked("listing", request_id, ())
            case "SET_PROPERTY" | "GET_PROPERTY":
                return Asked("setup", request_id, ())
            case _:
                return None

    def once_live(self, request_id: int) -> Request | None:
        """Ask what is subscribed: an ack does not say whether a symbol exists."""
        text = _encode({"method": "LIST_SUBSCRIPTIONS", "id": request_id}).decode()
        return Request(request_id, "listing", text)

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            if text.startswith(_HEAD):  # the usual order of keys; any other works below
                topic = text[_NAME_AT : text.index('"', _NAME_AT)]
                origin = self._origins.get(topic)
                if origin is not None:
                    return self._data(topic, origin, text, recv_ns, mono_ns)
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
                return self._data(frame.stream, origin, text, recv_ns, mono_ns)
            return self._unnamed(frame.stream, text, recv_ns, mono_ns)
        request_id = frame.id if isinstance(frame.id, int) else None
        fault = frame.error
        if fault is None and frame.code is not None:
            fault = _Fault(frame.code, frame.msg)
        if fault is not None:
            return Refusal(request_id, fault.code, printable(fault.msg), fault.code in _LIMITED)
        if request_id is not None:
            result = bytes(frame.result)
            if result.startswith(b"["):
                return Listing(request_id, self._listed(_decode_names(result)))
            return Ack(request_id)
        if frame.id is None and frame.s is not None:
            return self._read_bare(frame, frame.s, text, recv_ns, mono_ns)
        return Stray(f"event {printable(event or 'none')}")

    def _read_bare(
        self, frame: _Frame, symbol: str, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        """Read a frame that lacks its envelope by putting it into one."""
        event = frame.e or ("bookTicker" if frame.B and frame.A else "none")
        topic = self._fitting(symbol.lower() + "@", self.bare.get(event, ()))
        origin = None if topic is None else self._origins.get(topic)
        if topic is None or origin is None:
            return Stray(f"event {printable(event)} of {printable(symbol)}")
        name = _encode(topic).decode()
        wrapped = f'{{"stream":{name},"data":{text}}}'
        return self._data(topic, origin, wrapped, recv_ns, mono_ns)

    def _fitting(self, head: str, tails: tuple[str, ...]) -> str | None:
        """Return the one topic that a frame may belong to, or `None` if none or several fit."""
        fitting = [t for t in self._origins if t.startswith(head) and t[len(head) :] in tails]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            return None
        # Whoever reads captures makes origins as they are asked for.
        likely = (head + tail for tail in tails)
        return next((topic for topic in likely if self._origins.get(topic) is not None), None)

    def _data(
        self, topic: str, origin: Origin, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event]:
        reader = self._known.get(topic)
        if reader is None:
            reader = self._known[topic] = self._reader(topic)
        event = reader(origin, text, recv_ns, mono_ns)
        if event.__class__ is Trade:
            if self._voids or not event.size:
                return self._past_voids(topic, event)
        elif self._texts and isinstance(event, BookDelta | BookSnapshot):
            sent = _decode_texts(text).data
            literal = Texts(sent.b or sent.bids, sent.a or sent.asks)
            return [msgspec.structs.replace(event, texts=literal)]
        return [event]

    def _reader(self, topic: str) -> Reader:
        reader = self.readers.get(topic.partition("@")[2])
        if reader is None:
            raise DecodeError(f"stream {printable(topic)} is of no kind that is read here")
        return reader

    def _past_voids(self, topic: str, trade: Trade) -> list[Event]:
        """Let a trade cover the numbers just before it that name no trade.

        Futures use up trade ids for nothing: price 0, size 0, type ``NA``.  Delivered, such a
        message would be a trade that never was; dropped, a hole that never was.
        """
        number = trade.last or 0
        first, last = self._voids.pop(topic, (number, number - 1))
        if last + 1 != number:
            first = number
        if not trade.size and not trade.price:
            self._voids[topic] = (first, number)
            return []
        return [trade if first == number else msgspec.structs.replace(trade, first=first)]

    def _unnamed(self, stream: str, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read data of a stream that is no topic of this session."""
        del text, recv_ns, mono_ns
        return Stray(f"stream {printable(stream)}")

    def _listed(self, names: list[str]) -> tuple[str, ...]:
        """Return the topics that a list of streams stands for."""
        return tuple(names)


def call(request_id: int, method: str, names: tuple[str, ...]) -> str:
    """Return the text of a request about streams."""
    return _encode({"method": method, "params": names, "id": request_id}).decode()


# -- data -------------------------------------------------------------------------------------


class _Chained(Struct, gc=False):
    E: Millis
    U: Number
    u: Number
    pu: Number
    b: list[Level]
    a: list[Level]
    T: Millis | None = None


class _Trade(Struct, gc=False):
    t: Number
    p: Price
    q: Size
    T: Millis
    m: bool


class AggTrade(Struct, gc=False):
    a: Number
    p: Price
    q: Size
    T: Millis
    m: bool


class _Best(Struct, gc=False):
    u: Number
    b: Price
    B: Size
    a: Price
    A: Size
    T: Millis | None = None  # futures and options only


class _Day(Struct, gc=False):
    E: Millis
    c: Price
    v: Size
    b: Price = 0.0  # spot only
    a: Price = 0.0


class _Mark(Struct, gc=False):
    E: Millis
    p: Price
    r: str  # empty for contracts that are delivered
    T: Millis
    i: Price | None = None  # older captures lack it


class _ChainedFrame(Struct, gc=False):
    data: _Chained


class _TradeFrame(Struct, gc=False):
    data: _Trade


class _AggTradeFrame(Struct, gc=False):
    data: AggTrade


class _BestFrame(Struct, gc=False):
    data: _Best


class _DayFrame(Struct, gc=False):
    data: _Day


class _MarkFrame(Struct, gc=False):
    data: _Mark


# Numbers arrive as text, hence not strict.
_decode_chained = msgspec.json.Decoder(_ChainedFrame, strict=False).decode
_decode_trade = msgspec.json.Decoder(_TradeFrame, strict=False).decode
_decode_agg_trade = msgspec.json.Decoder(_AggTradeFrame, strict=False).decode
_decode_best = msgspec.json.Decoder(_BestFrame, strict=False).decode
_decode_day = msgspec.json.Decoder(_DayFrame, strict=False).decode
_decode_mark = msgspec.json.Decoder(_MarkFrame, strict=False).decode


def read_chained(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    """Read diff depth that names the update before it (``pu``).

    Ids skip, so ``U`` says nothing about what came before; it only must not lie behind ``u``.
    """
    data = _decode_chained(text).data
    last, prev = data.u, data.pu
    if last < data.U:
        raise DecodeError(f"update range {data.U}..{last} is empty")
    if last <= prev:
        raise DecodeError(f"update {last} claims to follow {prev}")
    time_ms = data.E if data.T is None else data.T
    return BookDelta(origin, recv_ns, mono_ns, time_ms * MS, prev + 1, last, data.b, data.a)


def read_chained_image(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    """Read partial depth of futures: the envelope of diff depth around a full image."""
    data = _decode_chained(text).data
    time_ms = data.E if data.T is None else data.T
    return BookSnapshot(origin, recv_ns, mono_ns, time_ms * MS, data.u, data.u, data.b, data.a)


def read_trade(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    """Read a single trade."""
    data = _decode_trade(text).data
    number = data.t
    # "m" says that the buyer was the maker, so the taker sold.
    side: Side = "sell" if data.m else "buy"
    time_ns = data.T * MS
    return Trade(
        origin, recv_ns, mono_ns, time_ns, number, number, str(number), data.p, data.q, side
    )


def read_agg_trade(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    """Read an aggregate trade; it is numbered by its own id."""
    data = _decode_agg_trade(text).data
    number = data.a
    side: Side = "sell" if data.m else "buy"
    time_ns = data.T * MS
    return Trade(
        origin, recv_ns, mono_ns, time_ns, number, number, str(number), data.p, data.q, side
    )


def read_best(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    """Read a best quote; spot sends no time with it."""
    best = _decode_best(text).data
    return Bbo(
        origin,
        recv_ns,
        mono_ns,
        None if best.T is None else best.T * MS,
        best.u,
        best.u,
        best.b if best.B else None,
        best.B or None,
        best.a if best.A else None,
        best.A or None,
    )


def read_day(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    """Read statistics of 24 h."""
    day = _decode_day(text).data
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        day.E * MS,
        None,
        None,
        day.c,
        bid=day.b or None,
        ask=day.a or None,
        volume=day.v,
    )


def read_mark(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    """Read mark price, index price and funding."""
    mark = _decode_mark(text).data
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        mark.E * MS,
        None,
        None,
        None,
        mark=mark.p,
        index=mark.i,
        funding=optional(mark.r),
        next_funding_ns=mark.T * MS or None,
    )


# "depth@0ms" is not documented; collectors of futures have used it for years.
FUTURES_DIFF: Final = ("depth@100ms", "depth", "depth@500ms", "depth@0ms")
FUTURES_PARTIAL: Final = tuple(
    f"depth{levels}{every}" for levels in (5, 10, 20) for every in ("@100ms", "", "@500ms")
)
FUTURES_MARK: Final = ("markPrice@1s", "markPrice")


class FuturesCodec(StreamCodec):
    """The dialect of both kinds of futures, for one session."""

    __slots__ = ()

    readers = MappingProxyType(
        {
            **dict.fromkeys(FUTURES_DIFF, read_chained),
            **dict.fromkeys(FUTURES_PARTIAL, read_chained_image),
            **dict.fromkeys(FUTURES_MARK, read_mark),
            "aggTrade": read_agg_trade,
            "trade": read_trade,
            "bookTicker": read_best,
            "ticker": read_day,
        }
    )
    bare = MappingProxyType(
        {
            "depthUpdate": (*FUTURES_DIFF, *FUTURES_PARTIAL),
            "markPriceUpdate": FUTURES_MARK,
            "aggTrade": ("aggTrade",),
            "trade": ("trade",),
            "bookTicker": ("bookTicker",),
            "24hrTicker": ("ticker",),
        }
    )


def optional(text: str) -> float | None:
    """Return the number that ``text`` spells, or `None` if it is empty.

    Raises:
        DecodeError: If it spells no finite number.
    """
    if not text:
        return None
    try:
        return msgspec.convert(text, Finite, strict=False)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DecodeError(f"not a number: {printable(text[:32])}") from error
