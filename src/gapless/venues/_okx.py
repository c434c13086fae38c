"""OKX's messages: what they look like, and what they mean.

Books are chains: each change names the one before it, and subscribing brings a snapshot.  A change
that names itself as the one before says that nothing has changed; one that leads to a lower number
is how the venue begins to count anew after maintenance.

The channel of implied volatilities is subscribed for a whole family of options; each option of it
is nevertheless a topic of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.checksum import TextLevel
from gapless.core.codec import (
    Ack,
    Asked,
    Denied,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    Shutdown,
    Status,
    Stray,
)
from gapless.core.universe import Instrument, InstrumentKind, InstrumentState
from gapless.errors import DecodeError, printable
from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Origin, Texts, Ticker, Trade
from gapless.venues._profile import (
    MS,
    NoSnapshots,
    RestGet,
)

__all__ = ["FAMILIES_MAX", "SUMMARY", "OkxCodec", "OkxRest", "option_families"]

SUMMARY: Final = "opt-summary"
FAMILIES_MAX: Final = 32  # of options asked for, at most
_FAMILIES: Final = "/api/v5/public/underlying"
_INSTRUMENTS: Final = "/api/v5/public/instruments"
PAGE: Final = 100  # trades in one REST reply, at most

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Previous = Annotated[int, Meta(ge=-1, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**43)]  # as nanoseconds it fits 64 bits
Count = Annotated[int, Meta(ge=1, lt=2**31)]
Crc = Annotated[int, Meta(ge=-(2**31), lt=2**32)]
# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=-1e30, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Figure = Annotated[
    str, Meta(pattern=r"^(-?[0-9]{1,40}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?)?\Z", max_length=110)
]
"""A number as text, or nothing where the venue has none."""
Moment = Annotated[str, Meta(pattern=r"^[0-9]{0,15}\Z")]
Level = tuple[Price, Size, str, str]
"""Price, size, a retired field, and how many orders."""


class _Book(Struct, gc=False):
    asks: list[Level]
    bids: list[Level]
    ts: Millis
    seqId: Number | None = None  # noqa: N815  # the venue's name, like those below
    prevSeqId: Previous | None = None  # noqa: N815
    checksum: Crc = 0


class _BookFrame(Struct, gc=False):
    action: Literal["snapshot", "update"]
    data: list[_Book]


class _ImageFrame(Struct, gc=False):
    data: list[_Book]


class _TextBook(Struct, gc=False):
    asks: list[tuple[str, str, str, str]]
    bids: list[tuple[str, str, str, str]]


class _TextFrame(Struct, gc=False):
    data: list[_TextBook]


class _Trade(Struct, gc=False):
    tradeId: Number  # noqa: N815
    px: Price
    sz: Size
    side: Literal["buy", "sell"]
    ts: Millis
    count: Count = 1


class _TradeFrame(Struct, gc=False):
    data: list[_Trade]


class _Ticker(Struct, gc=False):
    """A row of any of the channels that make up our ticker; each has some of the fields."""

    instId: str = ""  # noqa: N815
    ts: Moment = ""
    last: Figure = ""
    bidPx: Figure = ""  # noqa: N815
    askPx: Figure = ""  # noqa: N815
    vol24h: Figure = ""
    markPx: Figure = ""  # noqa: N815
    idxPx: Figure = ""  # noqa: N815
    oi: Figure = ""
    fundingRate: Figure = ""  # noqa: N815
    fundingTime: Moment = ""  # noqa: N815
    fwdPx: Figure = ""  # noqa: N815
    markVol: Figure = ""  # noqa: N815
    bidVol: Figure = ""  # noqa: N815
    askVol: Figure = ""  # noqa: N815
    deltaBS: Figure = ""  # noqa: N815
    gammaBS: Figure = ""  # noqa: N815
    vegaBS: Figure = ""  # noqa: N815
    thetaBS: Figure = ""  # noqa: N815


class _TickerFrame(Struct, gc=False):
    data: list[_Ticker]


class _Arg(Struct, gc=False):
    channel: str = ""
    instId: str = ""  # noqa: N815
    instFamily: str = ""  # noqa: N815
    instType: str = ""  # noqa: N815

    @property
    def topic(self) -> str:
        return f"{self.channel}:{self.instId or self.instFamily or self.instType}"


class _Frame(Struct, gc=False):
    arg: _Arg | None = None
    event: str = ""
    id: str = ""
    code: str = ""
    msg: str = ""
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Asked(Struct, gc=False):
    op: str = ""
    id: str = ""
    args: tuple[_Arg, ...] = ()


class _Instrument(Struct, gc=False):
    instId: str  # noqa: N815
    instType: str  # noqa: N815
    state: str
    baseCcy: str = ""  # noqa: N815
    quoteCcy: str = ""  # noqa: N815
    settleCcy: str = ""  # noqa: N815
    uly: str = ""
    expTime: Moment = ""  # noqa: N815
    listTime: Moment = ""  # noqa: N815
    stk: Figure = ""
    optType: Literal["C", "P", ""] = ""  # noqa: N815


class _InstrumentBody(Struct, gc=False):
    data: list[_Instrument | list[str]]  # instruments, or lists of families


class _Fault(Struct, gc=False):
    code: str
    msg: str = ""


# Numbers arrive as text, hence not strict.
_decode_books = msgspec.json.Decoder(_BookFrame, strict=False).decode
_decode_image = msgspec.json.Decoder(_ImageFrame, strict=False).decode
_decode_texts = msgspec.json.Decoder(_TextFrame).decode
_decode_trades = msgspec.json.Decoder(_TradeFrame, strict=False).decode
_decode_tickers = msgspec.json.Decoder(_TickerFrame).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_instruments = msgspec.json.Decoder(_InstrumentBody).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode
_encode = msgspec.json.encode

_NAMED: Final = re.compile(r"channel:([\w-]{1,64}),\s?inst(?:Id|Family):([\w-]{1,64})")
"""How an error names a topic: it has no field for it."""


class OkxCodec:
    """The dialect for one session.

    Our topics are ``channel:instrument``; the venue's are objects.

    Args:
        origins: The topics of this session, as we write them.
        texts: Whether books must carry their literal levels.  Where a real checksum comes with a
            book they always do.
    """

    __slots__ = ("_families", "_heads", "_origins", "_texts")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts
        self._heads: dict[str, tuple[Origin, _Reader]] = {}  # by the text of the frame's "arg"
        self._families: dict[str, set[str]] = {}  # topics subscribed to, by family of options

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: the endpoint's path says all."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        for topic in topics:
            if (family := _family_of(topic)) is not None:
                self._families.setdefault(family, set()).add(topic)
        text = _call("subscribe", next_id, topics)
        return [Request(next_id, "subscribe", text, topics, "subscribe")]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return the request; a family of options ends with the last of its topics."""
        ending = tuple(topic for topic in topics if not self._still_wanted(topic))
        if not ending:
            return []
        text = _call("unsubscribe", next_id, ending)
        return [Request(next_id, "unsubscribe", text, ending, "subscribe")]

    def beat(self, next_id: int) -> Request:
        """Return the venue's own ping, a bare word; it is answered with another."""
        del next_id
        return _PING

    def number(self, text: str) -> None:
        """Return nothing: the venue does not count the frames of a connection."""
        del text

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        if text == "ping":
            return None
        try:
            call = _decode_asked(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        topics = tuple(arg.topic for arg in call.args)
        match call.op:
            case "subscribe":
                return Asked("subscribe", _id(call.id), topics)
            case "unsubscribe":
                return Asked("unsubscribe", _id(call.id), topics)
            case "login":
                return Asked("login", _id(call.id), ())
            case _:
                return None

    def once_live(self, request_id: int) -> Request | None:
        """Ask for news of maintenance, where the endpoint has it."""
        if any(topic.startswith("trades-all:") for topic in self._origins):
            return None
        text = _encode(
            {"id": str(request_id), "op": "subscribe", "args": [{"channel": "status"}]}
        ).decode()
        return Request(request_id, "setup", text, (), "subscribe")

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        if text == "pong":
            return _ALIVE
        try:
            if text.startswith('{"arg":'):  # the usual order of keys; any other works below
                known = self._heads.get(text[7 : text.find("}") + 1])
                if known is not None:
                    origin, reader = known
                    return reader(origin, text, self._texts, recv_ns, mono_ns)
            return self._read_any(_decode_frame(text), text, recv_ns, mono_ns)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read_any(
        self, frame: _Frame, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        if frame.event:
            return self._read_event(frame)
        arg = frame.arg
        if arg is None or not frame.data:
            return Stray("neither an event nor data")
        if arg.channel == "status":
            return Status(printable(bytes(frame.data).decode(errors="replace")))
        if arg.channel == SUMMARY:
            return self._summaries(text, recv_ns, mono_ns)
        origin = self._origins.get(arg.topic)
        reader = _READERS.get(arg.channel)
        if origin is None or reader is None:
            return Stray(f"channel {printable(arg.topic)}")
        self._heads[f'{{"channel":"{arg.channel}","instId":"{arg.instId}"}}'] = origin, reader
        return reader(origin, text, self._texts, recv_ns, mono_ns)

    def _read_event(self, frame: _Frame) -> Reading:
        arg = frame.arg
        match frame.event:
            case "subscribe" if arg is not None and arg.channel != "status":
                return Granted(self._members(arg.channel, arg.topic.partition(":")[2]))
            case "subscribe" | "unsubscribe" | "login":
                return Ack(_id(frame.id) or 0)
            case "error":
                return self._read_error(frame)
            case "notice" if frame.code == "64008":
                return Shutdown(printable(frame.msg))
            case "notice" | "channel-conn-count" | "channel-conn-count-error":
                return Status(printable(f"{frame.event} {frame.channel} {frame.msg}".strip()))
            case _:
                return Stray(f"event {printable(frame.event)}")

    def _read_error(self, frame: _Frame) -> Reading:
        code = int(frame.code) if re.fullmatch("[0-9]{1,9}", frame.code) else 0
        named = _NAMED.search(frame.msg)
        if named is not None:
            topics = self._members(*named.groups())
            if any(self._origins.get(topic) is not None for topic in topics):
                return Denied(topics, code, printable(frame.msg))
        # Nothing but a login goes without an id, and its answer comes first of all.
        ordered = not frame.id and code in _LOGIN
        return Refusal(_id(frame.id), code, printable(frame.msg), code in _LIMITED, ordered)

    def _members(self, channel: str, name: str) -> tuple[str, ...]:
        """Return our topics that the venue means."""
        topic = f"{channel}:{name}"
        if channel != SUMMARY:
            return (topic,)
        return (topic, *(other for other in self._origins if other.startswith(f"{topic}-")))

    def _still_wanted(self, topic: str) -> bool:
        family = _family_of(topic)
        if family is None:
            return False
        wanted = self._families.get(family, set())
        wanted.discard(topic)
        return bool(wanted)

    def _summaries(self, text: str, recv_ns: int, mono_ns: int) -> list[Event]:
        events: list[Event] = []
        for row in _decode_tickers(text).data:
            origin = self._origins.get(f"{SUMMARY}:{row.instId}")
            if origin is not None:
                events.append(_ticker(origin, row, recv_ns, mono_ns))
        return events


def _read_books(origin: Origin, text: str, texts: bool, recv_ns: int, mono_ns: int) -> list[Event]:
    frame = _decode_books(text)
    events: list[Event] = []
    for index, book in enumerate(frame.data):
        seq, prev = book.seqId, book.prevSeqId
        bids = [(price, size) for price, size, _, _ in book.bids]
        asks = [(price, size) for price, size, _, _ in book.asks]
        literal = None
        if texts or book.checksum:
            sent = _decode_texts(text).data[index]
            literal = Texts(_pairs(sent.bids), _pairs(sent.asks), book.checksum or None)
        head = origin, recv_ns, mono_ns, book.ts * MS
        if frame.action == "snapshot":
            events.append(BookSnapshot(*head, seq, seq, bids, asks, literal))
        elif seq is None and prev is None:  # recordings from before there were numbers
            events.append(BookDelta(*head, None, None, bids, asks, literal))
        elif seq is None or prev is None or prev < 0:
            raise DecodeError(f"a change from {prev} to {seq}")
        else:
            events.append(BookDelta(*head, prev + 1, seq, bids, asks, literal))
    return events


def _read_images(origin: Origin, text: str, texts: bool, recv_ns: int, mono_ns: int) -> list[Event]:
    events: list[Event] = []
    for index, book in enumerate(_decode_image(text).data):
        bids = [(price, size) for price, size, _, _ in book.bids]
        asks = [(price, size) for price, size, _, _ in book.asks]
        literal = None
        if texts:
            sent = _decode_texts(text).data[index]
            literal = Texts(_pairs(sent.bids), _pairs(sent.asks))
        events.append(
            BookSnapshot(
                origin,
                recv_ns,
                mono_ns,
                book.ts * MS,
                book.seqId,
                book.seqId,
                bids,
                asks,
                literal,
            )
        )
    return events


def _read_bbo(origin: Origin, text: str, texts: bool, recv_ns: int, mono_ns: int) -> list[Event]:
    del texts
    events: list[Event] = []
    for book in _decode_image(text).data:
        bid = book.bids[0][:2] if book.bids else (None, None)
        ask = book.asks[0][:2] if book.asks else (None, None)
        number = book.seqId
        events.append(Bbo(origin, recv_ns, mono_ns, book.ts * MS, number, number, *bid, *ask))
    return events


def _read_trades(origin: Origin, text: str, texts: bool, recv_ns: int, mono_ns: int) -> list[Event]:
    del texts
    return [_trade(origin, trade, recv_ns, mono_ns) for trade in _decode_trades(text).data]


def _read_tickers(
    origin: Origin, text: str, texts: bool, recv_ns: int, mono_ns: int
) -> list[Event]:
    del texts
    return [_ticker(origin, row, recv_ns, mono_ns) for row in _decode_tickers(text).data]


_Reader = Callable[[Origin, str, bool, int, int], list[Event]]

_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {
        "books": _read_books,
        "books-l2-tbt": _read_books,
        "books50-l2-tbt": _read_books,
        "books5": _read_images,
        "bbo-tbt": _read_bbo,
        "trades": _read_trades,
        "trades-all": _read_trades,
        "tickers": _read_tickers,
        "mark-price": _read_tickers,
        "index-tickers": _read_tickers,
        "funding-rate": _read_tickers,
        "open-interest": _read_tickers,
    }
)


def _trade(
    origin: Origin, trade: _Trade, recv_ns: int, mono_ns: int, *, backfilled: bool = False
) -> Trade:
    """Return a trade; several fills at one price come as one, under the last of their ids."""
    last = trade.tradeId
    first = last - trade.count + 1
    if first < 0:
        raise DecodeError(f"{trade.count} trades that end with id {last}")
    return Trade(
        origin,
        recv_ns,
        mono_ns,
        trade.ts * MS,
        first,
        last,
        str(last),
        trade.px,
        trade.sz,
        trade.side,
        backfilled,
    )


def _ticker(origin: Origin, row: _Ticker, recv_ns: int, mono_ns: int) -> Ticker:
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        _ns(row.ts),
        None,
        None,
        _float(row.last),
        mark=_float(row.markPx),
        index=_float(row.idxPx),
        bid=_float(row.bidPx),
        ask=_float(row.askPx),
        volume=_float(row.vol24h),
        open_interest=_float(row.oi),
        funding=_float(row.fundingRate),
        next_funding_ns=_ns(row.fundingTime),  # "nextFundingTime" is the one after that
        underlying=_float(row.fwdPx),
        mark_iv=_float(row.markVol),
        bid_iv=_float(row.bidVol) or None,  # 0 where nobody bids
        ask_iv=_float(row.askVol) or None,
        delta=_float(row.deltaBS),
        gamma=_float(row.gammaBS),
        vega=_float(row.vegaBS),
        theta=_float(row.thetaBS),
    )


def _float(text: str) -> float | None:
    if not text:
        return None
    value = float(text)
    if abs(value) > 1e30:
        raise DecodeError(f"the number {printable(text)}")
    return value


def _ns(text: str) -> int | None:
    return int(text) * MS if text else None


def _pairs(levels: Sequence[tuple[str, str, str, str]]) -> list[TextLevel]:
    return [(price, size) for price, size, _, _ in levels]


def _id(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _family_of(topic: str) -> str | None:
    """Return the family of options whose subscription brings ``topic``; `None` for others."""
    channel, _, name = topic.partition(":")
    return "-".join(name.split("-")[:2]) if channel == SUMMARY else None


def _call(op: str, request_id: int, topics: Sequence[str]) -> str:
    args: dict[str, dict[str, str]] = {}
    for topic in topics:
        channel, _, name = topic.partition(":")
        family = _family_of(topic)
        if family is None:
            args[topic] = {"channel": channel, "instId": name}
        else:
            args[f"{channel}:{family}"] = {"channel": channel, "instFamily": family}
    return _encode({"id": str(request_id), "op": op, "args": list(args.values())}).decode()


class OkxRest(NoSnapshots):
    """Past trades, and what is listed."""

    # Books: no reply can be joined to a chain; subscribing brings a snapshot.

    def trades(self, topic: str, symbol: str, first: int, last: int) -> RestGet | None:
        """Return the request for the newest trades up to number ``last``, `PAGE` at most."""
        del first
        if not topic.startswith(("trades:", "trades-all:")):
            return None
        query = (("instId", symbol), ("type", "1"), ("after", str(last + 1)), ("limit", str(PAGE)))
        return RestGet("/api/v5/market/history-trades", query, "rest", 1)

    def read_trades(self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int) -> list[Trade]:
        """Read single fills, oldest first; the venue sends the newest first."""
        try:
            rows = _decode_trades(body).data
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a list of trades: {printable(str(error))}") from error
        return [_trade(origin, row, recv_ns, mono_ns, backfilled=True) for row in reversed(rows)]

    def instruments(self) -> tuple[RestGet, ...]:
        """Return one request for each type; options are listed by family: see `option_families`."""
        kinds = ("SPOT", "SWAP", "FUTURES")
        return (
            *(RestGet(_INSTRUMENTS, (("instType", kind),), "rest", 1) for kind in kinds),
            RestGet(_FAMILIES, (("instType", "OPTION"),), "rest", 1),
        )

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read a list of instruments; those of a type we do not know are left out."""
        try:
            rows = [row for row in _decode_instruments(body).data if isinstance(row, _Instrument)]
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a list of instruments: {printable(str(error))}") from error
        return [_instrument(row, _KINDS[row.instType]) for row in rows if row.instType in _KINDS]

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""
        try:
            fault = _decode_fault(body)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
        code = _id(fault.code)
        return None if not code else (code, printable(fault.msg))


def option_families(request: RestGet, body: bytes) -> tuple[RestGet, ...]:
    """Return one request for each family of options that a reply names."""
    if request.path != _FAMILIES:
        return ()
    try:
        rows = _decode_instruments(body).data
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DecodeError(f"not a list of families: {printable(str(error))}") from error
    families = [family for row in rows if isinstance(row, list) for family in row]
    return tuple(
        RestGet(_INSTRUMENTS, (("instType", "OPTION"), ("instFamily", family)), "rest", 1)
        for family in families[:FAMILIES_MAX]
        if re.fullmatch(r"[\w-]{1,64}", family)
    )


def _instrument(row: _Instrument, kind: InstrumentKind) -> Instrument:
    base, _, quote = row.uly.partition("-")
    expires = kind in {"future", "option"}  # of others it is when they were taken off
    return Instrument(
        row.instId,
        kind,
        row.baseCcy or base,
        row.quoteCcy or quote,
        row.settleCcy or None,
        _STATES.get(row.state, "halted"),
        _ns(row.expTime) if expires else None,
        _float(row.stk),
        {"C": "call", "P": "put"}.get(row.optType),  # type: ignore[arg-type]  # one of the two
        _ns(row.listTime),
    )


_KINDS: Final[Mapping[str, InstrumentKind]] = MappingProxyType(
    {"SPOT": "spot", "SWAP": "perp", "FUTURES": "future", "OPTION": "option"}
)
_STATES: Final[Mapping[str, InstrumentState]] = MappingProxyType(
    {
        "live": "open",
        "post_only": "open",
        "preopen": "listed",
        "suspend": "halted",
        "rebase": "halted",
        "test": "halted",
        "settling": "settling",
    }
)

_ALIVE: Final = Heartbeat()
_PING: Final = Request(0, "reply", "ping")
_LIMITED: Final = frozenset({60014, 50011})
_LOGIN: Final = frozenset({60004, 60005, 60006, 60007, 60009, 60024, 60031, 60032, 63999})
