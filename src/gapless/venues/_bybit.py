"""Bybit's messages: what they look like, and what they mean.

The four markets speak one dialect with small differences, and only two of them matter here: the
options' endpoint answers without our id, and its trades come for all options of a coin at once.

Books carry a number that rises by one; a snapshot may come at any time, and number 1 is always
one.  Tickers of derivatives come as changes to the one before, so the codec keeps the last whole
ticker of each topic for as long as its connection lives.  The order of keys differs from market to
market, so nothing is told from the beginning of a frame but its topic.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

from gapless.core.codec import (
    Ack,
    Asked,
    Bundle,
    Denied,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    Stray,
)
from gapless.core.universe import Instrument, InstrumentKind, InstrumentState
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
    NoPastTrades,
    NoSnapshots,
    RestGet,
)

__all__ = ["COINS", "PAGE", "BybitCodec", "BybitRest", "next_page"]

COINS: Final = ("BTC", "ETH", "SOL")  # that have options; the venue lists them by coin only
PAGE: Final = 1000  # instruments in one REST reply, at most
NAMES_MAX: Final = 20_000  # origins kept for single options, at most

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**43)]  # as nanoseconds it fits 64 bits
# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Level = tuple[Price, Size]
Figure = Annotated[
    str, Meta(pattern=r"^(-?[0-9]{1,40}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?)?\Z", max_length=110)
]
"""A number as text, or nothing where the venue has none."""
Moment = Annotated[str, Meta(pattern=r"^[0-9]{0,15}\Z")]

_HEAD: Final = '{"topic":"'


class _Book(Struct, gc=False):
    b: list[Level]
    a: list[Level]
    u: Number


class _BookFrame(Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: _Book
    cts: Millis | None = None


class _TextBook(Struct, gc=False):
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _TextFrame(Struct, gc=False):
    data: _TextBook


class _Trade(Struct, gc=False):
    T: Millis
    s: str
    S: Literal["Buy", "Sell"]
    v: Size
    p: Price
    i: str


class _TradeFrame(Struct, gc=False):
    data: list[_Trade]


class _Ticker(Struct, gc=False):
    """What the markets' tickers have; a field that is absent has not changed."""

    lastPrice: Figure | None = None  # noqa: N815  # the venue's names
    volume24h: Figure | None = None
    markPrice: Figure | None = None  # noqa: N815
    indexPrice: Figure | None = None  # noqa: N815
    openInterest: Figure | None = None  # noqa: N815
    fundingRate: Figure | None = None  # noqa: N815
    nextFundingTime: Moment | None = None  # noqa: N815
    bid1Price: Figure | None = None  # noqa: N815
    ask1Price: Figure | None = None  # noqa: N815
    bidPrice: Figure | None = None  # noqa: N815  # from here on: of options
    askPrice: Figure | None = None  # noqa: N815
    bidIv: Figure | None = None  # noqa: N815
    askIv: Figure | None = None  # noqa: N815
    markPriceIv: Figure | None = None  # noqa: N815
    underlyingPrice: Figure | None = None  # noqa: N815
    delta: Figure | None = None
    gamma: Figure | None = None
    vega: Figure | None = None
    theta: Figure | None = None


class _TickerFrame(Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: _Ticker


class _Topics(Struct, gc=False):
    failTopics: tuple[str, ...] = ()  # noqa: N815
    successTopics: tuple[str, ...] = ()  # noqa: N815


class _Frame(Struct, gc=False):
    topic: str | None = None
    op: str = ""
    type: str = ""
    success: bool | None = None
    req_id: str = ""
    ret_msg: str = ""
    retCode: int | None = None  # noqa: N815
    retMsg: str = ""  # noqa: N815
    data: msgspec.Raw = msgspec.Raw(b"")


class _Asked(Struct, gc=False):
    op: str = ""
    req_id: str = ""
    args: tuple[msgspec.Raw, ...] = ()


class _Instrument(Struct, gc=False):
    symbol: str
    status: str
    baseCoin: str  # noqa: N815
    quoteCoin: str  # noqa: N815
    settleCoin: str = ""  # noqa: N815
    contractType: str = ""  # noqa: N815
    optionsType: str = ""  # noqa: N815
    launchTime: Moment = ""  # noqa: N815
    deliveryTime: Moment = ""  # noqa: N815


class _Instruments(Struct, gc=False):
    category: str
    rows: list[_Instrument] = msgspec.field(name="list")
    nextPageCursor: Annotated[str, Meta(max_length=512)] = ""  # noqa: N815


class _InstrumentBody(Struct, gc=False):
    result: _Instruments


class _Fault(Struct, gc=False):
    retCode: int  # noqa: N815
    retMsg: str = ""  # noqa: N815


# Numbers arrive as text, hence not strict.
_decode_book = msgspec.json.Decoder(_BookFrame, strict=False).decode
_decode_texts = msgspec.json.Decoder(_TextFrame).decode
_decode_trades = msgspec.json.Decoder(_TradeFrame, strict=False).decode
_decode_ticker = msgspec.json.Decoder(_TickerFrame).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_topics = msgspec.json.Decoder(_Topics).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_name = msgspec.json.Decoder(str).decode
_decode_instruments = msgspec.json.Decoder(_InstrumentBody).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode
_encode = msgspec.json.encode


class BybitCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session, by the venue's name.
        texts: Whether books must carry their literal levels.
        options: Whether this is the options' endpoint: it lists topics where the others repeat our
            id, and its trades are those of all options of a coin.
    """

    __slots__ = ("_asked", "_names", "_options", "_origins", "_texts", "_tickers")

    def __init__(
        self, origins: Mapping[str, Origin], *, texts: bool = False, options: bool = False
    ) -> None:
        self._origins = origins
        self._texts = texts
        self._options = options
        self._asked: dict[int, tuple[str, ...]] = {}  # subscribes without an answer yet
        self._tickers: dict[str, _Ticker] = {}  # the last whole ticker, by topic
        self._names: dict[str, Origin] = {}  # origins of single options, by topic and symbol

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: the endpoint's path says all."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        if not self._options:  # nothing would ever take it out again
            self._asked[next_id] = topics
        return [Request(next_id, "subscribe", _call(next_id, "subscribe", topics), topics)]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return the request; on the options' endpoint nothing tells its answer from another's."""
        for topic in topics:
            self._tickers.pop(topic, None)  # a change that is under way belongs to no ticker
        text = _call(next_id, "unsubscribe", topics)
        return [Request(0 if self._options else next_id, "unsubscribe", text, topics)]

    def beat(self, next_id: int) -> Request:
        """Return the venue's own ping; its answer is a heartbeat, and no reply to a request."""
        del next_id
        return _PING

    def number(self, text: str) -> None:
        """Return nothing: the venue does not count the frames of a connection."""
        del text

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            call = _decode_asked(text)
            if call.op not in {"subscribe", "unsubscribe"}:
                return Asked("login", _id(call.req_id), ()) if call.op == "auth" else None
            topics = tuple(_decode_name(name) for name in call.args)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        kind: Literal["subscribe", "unsubscribe"]
        kind = "subscribe" if call.op == "subscribe" else "unsubscribe"
        return Asked(kind, _id(call.req_id), topics)

    def once_live(self, request_id: int) -> None:
        """Return nothing: the venue answers every subscribe; news are on another endpoint."""
        del request_id

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            if text.startswith(_HEAD):  # the usual order of keys; any other works below
                origin = self._origins.get(text[10 : text.find('"', 10)])
                if origin is not None:
                    return self._push(origin, text, recv_ns, mono_ns)
            return self._read_any(_decode_frame(text), text, recv_ns, mono_ns)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read_any(
        self, frame: _Frame, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        if frame.topic is not None:
            origin = self._origins.get(frame.topic)
            if origin is None:
                return Stray(f"topic {printable(frame.topic)}")
            return self._push(origin, text, recv_ns, mono_ns)
        if frame.type == "COMMAND_RESP" and frame.data:
            return self._read_listed(frame)
        match frame.op:
            case "ping" | "pong":  # some markets name the question, and some the answer
                return _ALIVE
            case "subscribe" | "unsubscribe" | "auth":
                return self._read_answer(frame)
            case _:
                return Stray(f"op {printable(frame.op or 'none')}")

    def _read_listed(self, frame: _Frame) -> Reading:
        """Read an answer that lists topics, as the options' endpoint gives it."""
        topics = _decode_topics(frame.data)
        granted = Granted(topics.successTopics)
        if not topics.failTopics:
            return granted
        return Bundle((granted, Denied(topics.failTopics, 0, printable(frame.ret_msg))))

    def _read_answer(self, frame: _Frame) -> Reading:
        request_id = _id(frame.req_id)
        topics = () if request_id is None else self._asked.pop(request_id, ())
        if frame.success:
            return Ack(request_id or 0)
        detail = frame.ret_msg or frame.retMsg
        # A request is granted whole or not at all, so this one topic of it must be asked for alone.
        if len(topics) == 1 and "already subscribed" in detail:
            return Granted(topics)
        return Refusal(request_id, frame.retCode or 0, printable(detail), ordered=self._options)

    def _push(self, origin: Origin, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        match origin.channel:
            case "book":
                return [self._book(origin, text, recv_ns, mono_ns)]
            case "bbo":
                return [_best(origin, text, recv_ns, mono_ns)]
            case "trades":
                trades = _decode_trades(text).data
                return [self._trade(origin, trade, recv_ns, mono_ns) for trade in trades]
            case _:
                return self._ticker(origin, text, recv_ns, mono_ns)

    def _book(self, origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
        frame = _decode_book(text)
        data = frame.data
        event_ns = (frame.ts if frame.cts is None else frame.cts) * MS
        literal = None
        if self._texts:
            sent = _decode_texts(text).data
            literal = Texts(sent.b, sent.a)
        # Number 1 is what a restarted service begins with, whatever the type says.
        if frame.type == "snapshot" or data.u == 1:
            return BookSnapshot(
                origin, recv_ns, mono_ns, event_ns, data.u, data.u, data.b, data.a, literal
            )
        return BookDelta(
            origin, recv_ns, mono_ns, event_ns, data.u, data.u, data.b, data.a, literal
        )

    def _trade(self, origin: Origin, trade: _Trade, recv_ns: int, mono_ns: int) -> Event:
        side: Side = "buy" if trade.S == "Buy" else "sell"
        if self._options:
            origin = self._single(origin, trade.s)
        return Trade(
            origin,
            recv_ns,
            mono_ns,
            trade.T * MS,
            None,
            None,
            trade.i,
            trade.p,
            trade.v,
            side,
        )

    def _single(self, origin: Origin, symbol: str) -> Origin:
        """Return the origin of one option's trades, which come under the name of its coin."""
        key = f"{origin.topic} {symbol}"
        single = self._names.get(key)
        if single is None:
            if len(self._names) >= NAMES_MAX:
                self._names.clear()
            single = msgspec.structs.replace(origin, symbol=symbol)
            self._names[key] = single
        return single

    def _ticker(
        self, origin: Origin, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        frame = _decode_ticker(text)
        whole = frame.data
        if frame.type == "delta":
            known = self._tickers.get(origin.topic)
            if known is None:
                return Stray(f"a change before its ticker: {printable(origin.topic)}")
            whole = _merged(known, whole)
        self._tickers[origin.topic] = whole
        return [_tick(origin, whole, frame.ts, recv_ns, mono_ns)]


def _best(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    frame = _decode_book(text)
    if frame.type != "snapshot":
        raise DecodeError("a change of level 1, which has whole images only")
    data = frame.data
    bid = data.b[0] if data.b else (None, None)
    ask = data.a[0] if data.a else (None, None)
    event_ns = (frame.ts if frame.cts is None else frame.cts) * MS
    return Bbo(origin, recv_ns, mono_ns, event_ns, data.u, data.u, *bid, *ask)


def _merged(known: _Ticker, change: _Ticker) -> _Ticker:
    news = {
        name: value
        for name in _Ticker.__struct_fields__
        if (value := getattr(change, name)) is not None
    }
    return msgspec.structs.replace(known, **news)


def _tick(origin: Origin, data: _Ticker, ts: int, recv_ns: int, mono_ns: int) -> Ticker:
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        ts * MS,
        None,
        None,
        _float(data.lastPrice),
        mark=_float(data.markPrice),
        index=_float(data.indexPrice),
        bid=_float(data.bid1Price or data.bidPrice) or None,  # 0 where nobody bids
        ask=_float(data.ask1Price or data.askPrice) or None,
        volume=_float(data.volume24h),
        open_interest=_float(data.openInterest),
        funding=_float(data.fundingRate),
        next_funding_ns=_ns(data.nextFundingTime),
        underlying=_float(data.underlyingPrice),
        mark_iv=_float(data.markPriceIv),
        bid_iv=_float(data.bidIv) or None,
        ask_iv=_float(data.askIv) or None,
        delta=_float(data.delta),
        gamma=_float(data.gamma),
        vega=_float(data.vega),
        theta=_float(data.theta),
    )


def _float(text: str | None) -> float | None:
    if not text:
        return None
    value = float(text)
    if abs(value) > 1e30:
        raise DecodeError(f"the number {printable(text)}")
    return value


def _ns(text: str | None) -> int | None:
    """Return milliseconds as nanoseconds; the venue writes 0 or nothing for never."""
    return int(text) * MS or None if text else None


def _id(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _call(request_id: int, op: str, topics: tuple[str, ...]) -> str:
    return _encode({"req_id": str(request_id), "op": op, "args": topics}).decode()


class BybitRest(NoSnapshots, NoPastTrades):
    """What is listed.  Trades have no numbers to ask for, and books cannot be joined.

    Args:
        queries: What each request asks for, beside the size of the page.
    """

    # Books: the numbers of REST are those of 1,000 levels alone.

    def __init__(self, queries: tuple[tuple[tuple[str, str], ...], ...]) -> None:
        self._queries = queries

    def instruments(self) -> tuple[RestGet, ...]:
        """Return the requests; each brings `PAGE` instruments at most: see `next_page`."""
        size = ("limit", str(PAGE))
        return tuple(
            RestGet("/v5/market/instruments-info", (*query, size), "http", 1)
            for query in self._queries
        )

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read a list of instruments; those of a type we do not know are left out."""
        try:
            result = _decode_instruments(body).result
            rows = [(row, _kind(result.category, row.contractType)) for row in result.rows]
            return [_instrument(row, kind) for row, kind in rows if kind is not None]
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a list of instruments: {printable(str(error))}") from error

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""
        try:
            fault = _decode_fault(body)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
        return None if not fault.retCode else (fault.retCode, printable(fault.retMsg))


def next_page(request: RestGet, body: bytes) -> tuple[RestGet, ...]:
    """Return the request for the page of instruments after this one, if there is one."""
    try:
        cursor = _decode_instruments(body).result.nextPageCursor
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DecodeError(f"not a list of instruments: {printable(str(error))}") from error
    if not cursor:
        return ()
    query = tuple((name, value) for name, value in request.query if name != "cursor")
    # The cursor comes escaped for a URL, and the client will escape it again.
    return (dataclasses.replace(request, query=(*query, ("cursor", unquote(cursor)))),)


def _kind(category: str, contract: str) -> InstrumentKind | None:
    match category:
        case "spot" | "option":
            return "spot" if category == "spot" else "option"
        case _:
            return _CONTRACTS.get(contract)


def _instrument(row: _Instrument, kind: InstrumentKind) -> Instrument:
    expires = kind in {"future", "option"}  # of a perpetual it is when it was taken off
    return Instrument(
        row.symbol,
        kind,
        row.baseCoin,
        row.quoteCoin,
        row.settleCoin or None,
        _STATES.get(row.status, "halted"),
        _ns(row.deliveryTime) if expires else None,
        _strike(row.symbol) if kind == "option" else None,
        {"Call": "call", "Put": "put"}.get(row.optionsType),  # type: ignore[arg-type]  # one of two
        _ns(row.launchTime),
    )


def _strike(symbol: str) -> float:
    """Return the strike, which only the name of an option says: coin, day, strike, right."""
    named = re.fullmatch(r"[A-Z0-9]+-[A-Z0-9]+-([0-9]{1,15}(?:\.[0-9]{1,15})?)-[CP](-\w+)?", symbol)
    if named is None:
        raise DecodeError(f"an option called {printable(symbol)}")
    return float(named[1])


_CONTRACTS: Final[Mapping[str, InstrumentKind]] = MappingProxyType(
    {
        "LinearPerpetual": "perp",
        "InversePerpetual": "perp",
        "LinearFutures": "future",
        "InverseFutures": "future",
    }
)
_STATES: Final[Mapping[str, InstrumentState]] = MappingProxyType(
    {"PreLaunch": "listed", "Trading": "open", "Delivering": "settling", "Closed": "gone"}
)

_ALIVE: Final = Heartbeat()
_PING: Final = Request(0, "reply", '{"op":"ping"}')
