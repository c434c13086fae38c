"""Bitget: spot and the three markets of contracts over one socket, API v2 (Classic).

A bare symbol such as ``BTCUSDT`` is of the spot market; one of a contract begins with its market,
as in ``USDT-FUTURES:BTCUSDT``, because the same name is traded on several.

Books are chains since 2026: each push names the one before it.  The recordings of 2022 have no
numbers but a checksum of 25 levels; they call the markets ``sp`` and ``mc``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.budget import Window
from gapless.core.checksum import Checksum, TextLevel
from gapless.core.codec import (
    Ack,
    Asked,
    Denied,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    RequestKind,
    Stray,
)
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument, InstrumentState
from gapless.errors import DecodeError, printable
from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Origin, Texts, Ticker, Trade
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

__all__ = ["CHECKSUM", "PROFILES", "BitgetCodec", "BitgetRest"]

_READ: Final = "2026-11-22"
_DOC: Final = "www.bitget.com/docs/classic"
_WS: Final = f"{_DOC}, Websocket API"
_BK: Final = f"{_DOC}, Depth Channel"
_TR: Final = f"{_DOC}, Public Trade Channel"
_TK: Final = f"{_DOC}, Market Channel"
_LOG: Final = f"{_DOC}, Changelog"
_FAQ: Final = f"{_DOC}, FAQ"
_SEEN: Final = "seen in traffic of April 2022"

SPOT: Final = "SPOT"
CONTRACTS: Final = ("USDT-FUTURES", "USDC-FUTURES", "COIN-FUTURES")

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**43)]  # as nanoseconds it fits 64 bits
Crc = Annotated[int, Meta(ge=-(2**31), lt=2**32)]
Code = Annotated[int, Meta(ge=0, lt=2**31)]
# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Side = Literal["buy", "sell"]
Figure = Annotated[
    str, Meta(pattern=r"^(-?[0-9]{1,40}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?)?\Z", max_length=110)
]
"""A number as text, or nothing where the venue has none."""
Moment = Annotated[str, Meta(pattern=r"^[0-9]{0,15}\Z")] | Millis
"""Milliseconds: a text today, a number in the recordings of 2022, empty where there is none."""
Id = Annotated[str, Meta(min_length=1, max_length=64)]
_When = tuple[int, int]
"""When a frame was received: Unix time, and monotonic."""


class _Arg(Struct, gc=False):
    instType: str = ""  # noqa: N815  # the venue's names, like those below
    channel: str = ""
    instId: str = ""  # noqa: N815


class _Frame(Struct, gc=False):
    arg: _Arg | None = None
    action: str = ""
    event: str = ""
    op: str = ""
    code: Code | str = 0
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Book(Struct, gc=False):
    asks: list[tuple[Price, Size]]
    bids: list[tuple[Price, Size]]
    ts: Millis
    seq: Number | None = None
    pseq: Number | None = None
    checksum: Crc = 0


class _TextBook(Struct, gc=False):
    asks: list[TextLevel]
    bids: list[TextLevel]


class _Trade(Struct, gc=False):
    tradeId: Id  # noqa: N815
    ts: Millis
    price: Price
    size: Size
    side: Side


_OldTrade = tuple[Millis, Price, Size, Side]


class _Ticker(Struct, gc=False):
    """Today's names, and behind them those of 2022."""

    ts: Moment = ""
    lastPr: Figure = ""  # noqa: N815
    bidPr: Figure = ""  # noqa: N815
    askPr: Figure = ""  # noqa: N815
    baseVolume: Figure = ""  # noqa: N815
    markPrice: Figure = ""  # noqa: N815
    indexPrice: Figure = ""  # noqa: N815
    holdingAmount: Figure = ""  # noqa: N815
    fundingRate: Figure = ""  # noqa: N815
    nextFundingTime: Moment = ""  # noqa: N815
    systemTime: Moment = ""  # noqa: N815
    last: Figure = ""
    bestBid: Figure = ""  # noqa: N815
    bestAsk: Figure = ""  # noqa: N815
    holding: Figure = ""
    capitalRate: Figure = ""  # noqa: N815
    nextSettleTime: Moment = ""  # noqa: N815


class _Asked(Struct, gc=False):
    op: str = ""
    args: tuple[_Arg, ...] = ()


class _Row(Struct, gc=False):
    """A row of either listing: pairs have a ``status``, contracts the fields behind it."""

    symbol: str
    baseCoin: str  # noqa: N815
    quoteCoin: str  # noqa: N815
    status: str = ""
    symbolType: Literal["perpetual", "delivery", ""] = ""  # noqa: N815
    symbolStatus: str = ""  # noqa: N815
    deliveryTime: Moment = ""  # noqa: N815
    launchTime: Moment = ""  # noqa: N815


class _Listing(Struct, gc=False):
    data: list[_Row]


class _Fault(Struct, gc=False):
    code: str
    msg: str = ""


# Numbers arrive as text, hence not strict.
_decode_books = msgspec.json.Decoder(list[_Book], strict=False).decode
_decode_texts = msgspec.json.Decoder(list[_TextBook]).decode
_decode_trades = msgspec.json.Decoder(list[_Trade | _OldTrade], strict=False).decode
_decode_tickers = msgspec.json.Decoder(list[_Ticker]).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_listing = msgspec.json.Decoder(_Listing).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode
_encode = msgspec.json.encode
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, ValueError)


class BitgetCodec:
    """The dialect for one session.

    Our topics are ``channel:instrument`` on the spot market and ``channel:market:instrument``
    elsewhere; the venue's are objects.  Answers name the topic and never the request.

    Args:
        origins: The topics of this session, as we write them.
        texts: Whether books must carry their literal levels.  Where a checksum comes with a book
            they always do.
    """

    __slots__ = ("_origins", "_texts")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: there is nothing to set up."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        text = _call("subscribe", topics)
        return [Request(next_id, "subscribe", text, topics, "subscribe")]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return the request, without an id: its answer could be told from no other."""
        del next_id
        return [Request(0, "unsubscribe", _call("unsubscribe", topics), topics, "subscribe")]

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
        except _UNREADABLE as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        kind = _OPS.get(call.op)
        if kind is None:
            return None
        topics = () if kind == "login" else tuple(_topic(arg) for arg in call.args)
        return Asked(kind, None, topics)

    def once_live(self, request_id: int) -> None:
        """Return nothing: the venue has no news of its own on this socket."""
        del request_id

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        if text == "pong":
            return _ALIVE
        try:
            frame = _decode_frame(text)
            if frame.event:
                return self._read_event(frame)
            if frame.arg is None or not frame.data:
                return Stray("neither an event nor data")
            reader = _READERS.get(frame.arg.channel)
            origin = self._origin(frame.arg)
            if reader is None or origin is None:
                return Stray(f"channel {printable(_topic(frame.arg))}")
            return reader(origin, frame, (recv_ns, mono_ns), self._texts)
        except _UNREADABLE as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _origin(self, arg: _Arg) -> Origin | None:
        topic = _topic(arg)
        return self._origins.get(topic) or self._origins.get(_long(topic))

    def _read_event(self, frame: _Frame) -> Reading:
        origin = None if frame.arg is None else self._origin(frame.arg)
        match frame.event:
            case "subscribe" if frame.arg is not None:
                topic = _topic(frame.arg)
                return Granted((topic if origin is None else origin.topic,))
            case "subscribe" | "unsubscribe" | "login":
                return Ack(0)
            case "error":
                return _read_error(frame, origin)
            case _:
                return Stray(f"event {printable(frame.event)}")


def _read_error(frame: _Frame, origin: Origin | None) -> Reading:
    code = _code(frame.code)
    detail = printable(frame.msg)
    if code in _LIMITED:
        return Refusal(None, code, detail, limited=True)
    if frame.op == "unsubscribe":
        return Refusal(None, code, detail)
    if origin is not None:
        return Denied((origin.topic,), code, detail)
    # Without its argument it can only mean the oldest request: unsubscribes await no answer.
    return Refusal(None, code, detail, ordered=frame.arg is None)


def _topic(arg: _Arg) -> str:
    """Return the topic that the venue means; the recordings of 2022 call the markets otherwise."""
    market, name = arg.instType, arg.instId
    match market.lower():
        case "sp":
            market = SPOT
        case "mc":
            market = next((m for end, m in _ENDINGS.items() if name.endswith(end)), market)
        case _:
            pass
    return f"{arg.channel}:{name}" if market == SPOT else f"{arg.channel}:{market}:{name}"


def _long(topic: str) -> str:
    """Return a topic of the spot market with the market's name, as callers may write it too."""
    channel, _, name = topic.partition(":")
    return f"{channel}:{SPOT}:{name}"


def _call(op: str, topics: Sequence[str]) -> str:
    args = []
    for topic in topics:
        channel, _, symbol = topic.partition(":")
        market, colon, name = symbol.rpartition(":")
        args.append({"instType": market if colon else SPOT, "channel": channel, "instId": name})
    return _encode({"op": op, "args": args}).decode()


# -- data -----------------------------------------------------------------------------------------


def _read_books(origin: Origin, frame: _Frame, when: _When, texts: bool) -> list[Event]:
    books = _decode_books(frame.data)
    sent = _decode_texts(frame.data) if texts or any(book.checksum for book in books) else ()
    whole = frame.action == "snapshot" or frame.arg is None or frame.arg.channel != "books"
    events: list[Event] = []
    for index, book in enumerate(books):
        literal = None
        if sent:
            literal = Texts(sent[index].bids, sent[index].asks, book.checksum or None)
        head = (origin, *when, book.ts * MS)
        levels = book.bids, book.asks, literal
        if whole:
            events.append(BookSnapshot(*head, book.seq, book.seq, *levels))
        elif book.seq is None and book.checksum:  # recordings from before there were numbers
            events.append(BookDelta(*head, None, None, *levels))
        elif book.seq is None or book.pseq is None:
            raise DecodeError(f"a change from {book.pseq} to {book.seq}")
        else:
            events.append(BookDelta(*head, book.pseq + 1, book.seq, *levels))
    return events


def _read_bbo(origin: Origin, frame: _Frame, when: _When, texts: bool) -> list[Event]:
    del texts
    events: list[Event] = []
    for book in _decode_books(frame.data):
        bid = book.bids[0] if book.bids else (None, None)
        ask = book.asks[0] if book.asks else (None, None)
        events.append(Bbo(origin, *when, book.ts * MS, book.seq, book.seq, *bid, *ask))
    return events


def _read_trades(origin: Origin, frame: _Frame, when: _When, texts: bool) -> list[Event]:
    """Read trades, oldest first; the venue sends the newest first, and greets with some."""
    del texts
    rows = [
        row if isinstance(row, _Trade) else _Trade(_name(row), *row)
        for row in reversed(_decode_trades(frame.data))
    ]
    rows.sort(key=_time)
    past = frame.action == "snapshot"
    return [
        Trade(
            origin, *when, row.ts * MS, None, None, row.tradeId, row.price, row.size, row.side, past
        )
        for row in rows
    ]


def _read_tickers(origin: Origin, frame: _Frame, when: _When, texts: bool) -> list[Event]:
    del texts
    return [
        Ticker(
            *(origin, *when, _ns(row.ts or row.systemTime), None, None),
            _float(row.lastPr or row.last),
            mark=_float(row.markPrice),
            index=_float(row.indexPrice),
            bid=_float(row.bidPr or row.bestBid),
            ask=_float(row.askPr or row.bestAsk),
            volume=_float(row.baseVolume),
            open_interest=_float(row.holdingAmount or row.holding),
            funding=_float(row.fundingRate or row.capitalRate),
            next_funding_ns=_ns(row.nextFundingTime or row.nextSettleTime),
        )
        for row in _decode_tickers(frame.data)
    ]


_Reader = Callable[[Origin, _Frame, _When, bool], list[Event]]

_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {
        "books": _read_books,
        "books5": _read_books,
        "books15": _read_books,
        "books1": _read_bbo,
        "trade": _read_trades,
        "ticker": _read_tickers,
    }
)


def _name(trade: _OldTrade) -> str:
    """Return what stands for the id that trades of 2022 lack."""
    return ":".join(str(part) for part in trade)


def _time(trade: _Trade) -> int:
    return trade.ts


def _float(text: str) -> float | None:
    if not text:
        return None
    value = float(text)
    if abs(value) > 1e30:
        raise DecodeError(f"the number {printable(text)}")
    return value


def _ns(moment: int | str) -> int | None:
    return int(moment) * MS if moment else None


def _code(code: int | str) -> int:
    if isinstance(code, int):
        return code
    return int(code) if code.isascii() and code.isdigit() and len(code) < 10 else 0


_ALIVE: Final = Heartbeat()
_PING: Final = Request(0, "reply", "ping")
_LIMITED: Final = frozenset({429, 30006, 30007})
_OPS: Final[Mapping[str, RequestKind]] = MappingProxyType(
    {"subscribe": "subscribe", "unsubscribe": "unsubscribe", "login": "login"}
)
# What the names of contracts end with on each market, by which 2022's "mc" is told apart.
_ENDINGS: Final = MappingProxyType(dict(zip(("USDT", "PERP", "USD"), CONTRACTS, strict=True)))


# -- requests -------------------------------------------------------------------------------------


class BitgetRest(NoSnapshots, NoPastTrades):
    """What is listed.  Books have no number here, and trades none that could be asked for."""

    # Books: no reply can be joined to a chain; subscribing brings a snapshot.
    # Trades: ids of trades have holes, so none is known to be missing.

    def instruments(self) -> tuple[RestGet, ...]:
        """Return one request for each market."""
        contracts = "/api/v2/mix/market/contracts"
        return (
            RestGet("/api/v2/spot/public/symbols", (), "rest", 1),
            *(RestGet(contracts, (("productType", m),), "rest", 1) for m in CONTRACTS),
        )

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read a list of pairs or of contracts; those of a market we do not know are left out."""
        try:
            rows = _decode_listing(body).data
        except _UNREADABLE as error:
            raise DecodeError(f"not a list of instruments: {printable(str(error))}") from error
        found = (_contract(row) if row.symbolType else _pair(row) for row in rows)
        return [instrument for instrument in found if instrument is not None]

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""
        try:
            fault = _decode_fault(body)
        except _UNREADABLE:
            return None
        code = _code(fault.code)
        return (code, printable(fault.msg)) if code else None


def _pair(row: _Row) -> Instrument:
    state = _PAIR_STATES.get(row.status, "halted")
    return Instrument(row.symbol, "spot", row.baseCoin, row.quoteCoin, None, state)


def _contract(row: _Row) -> Instrument | None:
    market = _BY_QUOTE.get(row.quoteCoin)
    if market is None:
        return None
    perpetual = row.symbolType == "perpetual"
    return Instrument(
        f"{market}:{row.symbol}",
        "perp" if perpetual else "future",
        row.baseCoin,
        row.quoteCoin,
        row.baseCoin if market == "COIN-FUTURES" else row.quoteCoin,
        _CONTRACT_STATES.get(row.symbolStatus, "halted"),
        None if perpetual else _ns(row.deliveryTime),
        listed_ns=_ns(row.launchTime),
    )


_BY_QUOTE: Final = MappingProxyType(dict(zip(("USDT", "USDC", "USD"), CONTRACTS, strict=True)))
_PAIR_STATES: Final[Mapping[str, InstrumentState]] = MappingProxyType(
    {"online": "open", "gray": "open", "halt": "halted", "offline": "gone"}
)
_CONTRACT_STATES: Final[Mapping[str, InstrumentState]] = MappingProxyType(
    {
        "normal": "open",
        "limit_open": "open",
        "restrictedAPI": "open",
        "listed": "listed",
        "maintain": "halted",
        "off": "gone",
    }
)


# -- what the venue documents ---------------------------------------------------------------------


def _checksum(bids: Sequence[TextLevel], asks: Sequence[TextLevel]) -> int:
    """Return the signed CRC-32 of the best levels, bid and ask in turn."""
    parts: list[str] = []
    for index in range(max(len(bids), len(asks))):
        for side in (bids, asks):
            parts += side[index] if index < len(side) else ()
    unsigned = zlib.crc32(":".join(parts).encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


CHECKSUM: Final = Checksum(depth=25, compute=_checksum)
"""As the venue documented it until 2025.  Nothing but recordings needs it any more."""

_ERRORS: Final = MappingProxyType(
    {
        429: "too many requests: RateLimited",
        30001: "no such channel or instrument: SubscriptionRejected",
        30002: "illegal request: RequestRejected",
        30003: "invalid op: RequestRejected",
        30004: "log in first: SubscriptionRejected",
        30005: "login failed: LoginRejected",
        30006: "too many requests: RateLimited",
        30007: "over the limit, the connection is closed: RateLimited",
        30016: "wrong parameter: SubscriptionRejected",
    }
)

_PROFILE: Final = Profile(
    name="bitget",
    title="Bitget",
    endpoints=Fact(
        Endpoints(
            public=("wss://ws.bitget.com/v2/ws/public",),
            test=("wss://wspap.bitget.com/v2/ws/public",),
            path="/v2/ws/public",
            independent=None,
        ),
        f"{_WS}; Websocket Demo Trading",
        _READ,
        note="the newer API v3 has another socket and another dialect",
    ),
    rest_endpoints=Fact(("https://api.bitget.com",), f"{_DOC}, API Domain", _READ),
    lifetime_ns=Fact(
        24 * 3600 * SECOND,
        f"{_LOG}, 22 November 2024",
        _READ,
        "M",
        "the present text on connections does not repeat it",
    ),
    shutdown_notice=Fact(None, _WS, _READ, note="none documented"),
    server_ping_ns=Fact(None, _WS, _READ, "L", "no ping frames documented"),
    pong_within_ns=Fact(None, _WS, _READ, "L"),
    heartbeat=Fact("the text pong, when asked with the text ping", _WS, _READ),
    client_ping=Fact("allowed, and counted among the messages", _WS, _READ, "M", "an older text"),
    client_beat_ns=Fact(30 * SECOND, _WS, _READ, note="closed after 2 minutes without a ping"),
    dials=Fact((Window(300, 300 * SECOND),), _WS, _READ, note="for each address"),
    connections=Fact(100, _WS, _READ, note="for each address"),
    messages=Fact(
        (Window(10, SECOND),), _WS, _READ, note="pings included; subscribes are paid from the pool"
    ),
    topics_per_request=Fact(None, _WS, _READ, note="bounded by bytes"),
    request_bytes=Fact(
        780,
        _WS,
        _READ,
        note="4,096 bytes of JSON are allowed; the shortest of our topics grow fivefold in it",
    ),
    topics_per_connection=Fact(1000, _WS, _READ, note="fewer than 50 are highly recommended"),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(None, _BK, _READ),
    pools=Fact(
        MappingProxyType({"subscribe": Window(240, 3600 * SECOND), "rest": Window(20, SECOND)}),
        f"{_WS}; Get Symbol Info; Get Contract Config",
        _READ,
        note="240 subscribes and unsubscribes are allowed to each connection; we share them among"
        " all of an address, which is stricter; reads of each kind, 6,000 a minute over all",
    ),
    login=Fact(
        "op login: HMAC-SHA256 over time, GET and /user/verify, on the private endpoint only",
        _WS,
        _READ,
    ),
    ack=Fact("one for each argument, which it repeats; no ids", _WS, _READ),
    checksum=Fact(
        None,
        _BK,
        _READ,
        "M",
        "documented until 2025 as CRC-32 of 25 levels, and 0 in its examples; the present text"
        " has pseq instead",
    ),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact(
        "releases on Tuesdays and Thursdays from 06:00 to 10:00 UTC may end connections",
        _FAQ,
        _READ,
        "M",
        "an earlier text says Tuesday to Thursday, until 09:00",
    ),
    errors=Fact(
        _ERRORS,
        f"{_WS}; WebSocket Error Code",
        _READ,
        "M",
        "the present pages print 30005 and 429 only; the others are known from older ones",
    ),
    framing=Fact(
        "JSON text {action, arg, data} or {event, arg}; ping and pong are bare words", _WS, _READ
    ),
    reconciliation=Fact(
        "GET spot/trade/unfilled-orders, mix/order/orders-pending, and fills of either",
        f"{_DOC}, Best Practices Guide",
        _READ,
        note="the venue says that its private channels may lose messages",
    ),
    cutovers=Fact(
        (
            "2025-04-30: seq added to the books",
            "by September 2026: pseq added, the checksum gone from the documents",
        ),
        f"{_LOG}; {_BK}",
        _READ,
        "M",
    ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"all": "trade:{symbol}"}),
            numbering=Fact(Numbering.IDENTITY, _TR, _READ, note="tradeId; it does not rise by 1"),
            arbitration=Arbitration.BY_IDENTITY,
            speaks_on_subscribe=Fact(
                True,
                f"{_TR}; {_SEEN}",
                _READ,
                "M",
                "the latest trades, newest first; stated for spot, seen on both",
            ),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({"all": "books:{symbol}"}),
            numbering=Fact(
                Numbering.CHAIN,
                f"{_BK}, pseq",
                _READ,
                "M",
                "pseq is the number of the previous push; 0 in snapshots, and after a restart",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            snapshot=Fact(SnapshotFrom.STREAM, _BK, _READ, note="first message after subscribing"),
            speaks_on_subscribe=Fact(True, _BK, _READ),
            checksum=CHECKSUM,
            unlike=(
                Channel(
                    name="book",
                    topics=MappingProxyType({"5": "books5:{symbol}", "15": "books15:{symbol}"}),
                    numbering=Fact(Numbering.ORDERED, f"{_BK}, seq", _READ),
                    arbitration=Arbitration.BY_SEQUENCE,
                    snapshot=Fact(SnapshotFrom.EVERY, _BK, _READ),
                    speaks_on_subscribe=Fact(True, _BK, _READ),
                ),
            ),
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"1": "books1:{symbol}"}),
            numbering=Fact(Numbering.ORDERED, f"{_BK}, seq", _READ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(True, _BK, _READ, "L", "implied: every push is a snapshot"),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"24h": "ticker:{symbol}"}),
            numbering=Fact(Numbering.NONE, _TK, _READ, note="time in milliseconds only"),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, _SEEN, _READ, "M"),
        ),
    ),
    busiest=("trades", "BTCUSDT"),
    traps=(
        "A bare symbol is of the spot market; of a contract it is USDT-FUTURES:BTCUSDT, and so on.",
        "A symbol on the wrong market may be acknowledged, and then nothing comes.",
        "ping and pong are bare words, and no JSON; WebSocket pings do not keep a connection.",
        "Answers have no ids, an error may lack its argument, and its code is a number or a text.",
        "A checksum of 0 is none; what old recordings have is computed from the literal digits.",
        "A greeting of trades comes newest first, and so do the trades of one push.",
        "Numbers of coin-margined books are beyond 2^53: a reader with doubles rounds them.",
        "A pseq of 0 in a change means that the venue counts anew.",
        "After a long rest a book is pushed again, and lines may number this push differently.",
        "Changes back and forth between two pushes are not sent, only the final state.",
        "ts inside data is the matching engine's time, the outer one that of the push.",
        "More than 10 messages a second end the connection, pings included.",
        "Snapshots of books hold some hundred levels a side, though the document says all.",
    ),
    codec=BitgetCodec,
    rest=BitgetRest(),
)

PROFILES: Final = (_PROFILE,)
