"""Kraken Spot, the second dialect: JSON objects, numbers as JSON numbers.

Books have no numbers; every change carries a checksum, computed from digits that must be padded
to the precision of the pair.  Therefore each session that carries a book also follows the
channel ``instrument``.  Trades are numbered densely for each pair.

Messages name channel and symbol, and nothing of how they were asked for.  So what is asked for
twice comes once: a ticker by trades and one by quotes share one subscription, and of two depths
of one book the first is carried and the other refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.checksum import TextLevel
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
    Status,
    Stray,
)
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError, printable
from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Origin, Texts, Ticker, Trade
from gapless.venues._kraken import (
    CHECKSUM,
    CLIENT_BEAT,
    COMPRESSION,
    CONNECTIONS,
    DEPTHS,
    DIALS,
    LIFETIME,
    MESSAGES,
    POOLS,
    REST_ENDPOINTS,
    KrakenRest,
    levels,
    padded,
)
from gapless.venues._profile import (
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    Profile,
    ServerTime,
)

__all__ = ["PROFILES", "KrakenCodec"]

_READ: Final = "2026-11-22"
_WS: Final = "docs.kraken.com, Spot WebSocket overview"
_BOOK: Final = "docs.kraken.com, Spot WebSocket v2: Book (Level 2)"
_CRC: Final = "docs.kraken.com, Book checksum (WebSocket v2)"
_TRADE: Final = "docs.kraken.com, Spot WebSocket v2: Trade"
_TICK: Final = "docs.kraken.com, Spot WebSocket v2: Ticker (Level 1)"
_PAIRS: Final = "docs.kraken.com, Spot WebSocket v2: Instrument"
_BACK: Final = "docs.kraken.com, WebSocket reconnection guide"

PAIRS_MAX: Final = 16_384
"""Pairs whose precision is remembered at most; the venue lists under two thousand."""

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Crc = Annotated[int, Meta(ge=0, lt=2**32)]
Decimals = Annotated[int, Meta(ge=0, le=20)]
Time = Annotated[datetime, Meta(tz=True)]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TWIN: Final = "messages do not name the depth: one depth of a symbol for each connection"
_TOO_FAST: Final = "exceeded msg rate"  # there are no codes
_ALREADY: Final = "already subscribed"


class _Level(Struct, gc=False):
    price: msgspec.Raw
    qty: msgspec.Raw


class _Book(Struct, gc=False):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: Crc | None = None
    timestamp: Time | None = None


class _Trade(Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]
    price: Price
    qty: Size
    trade_id: Number
    timestamp: Time


class _Ticker(Struct, gc=False):
    symbol: str
    bid: Price | None = None
    bid_qty: Size | None = None
    ask: Price | None = None
    ask_qty: Size | None = None
    last: Price | None = None
    volume: Size | None = None
    timestamp: Time | None = None


class _Pair(Struct, gc=False):
    symbol: str
    price_precision: Decimals
    qty_precision: Decimals


class _Instruments(Struct, gc=False):
    pairs: list[_Pair] = []


class _System(Struct, gc=False):
    system: str


class _Result(Struct, gc=False):
    channel: str = ""
    symbol: str = ""
    depth: int = DEPTHS[0]
    event_trigger: str = "trades"


class _Frame(Struct, gc=False):
    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    method: str = ""
    success: bool = True
    result: _Result | None = None
    error: str = ""
    Error: str = ""
    symbol: str = ""
    req_id: Number | None = None


class _Params(Struct, gc=False):
    channel: str = ""
    symbol: list[str] = []
    depth: int = DEPTHS[0]
    event_trigger: str = "trades"


class _Asked(Struct, gc=False):
    method: str
    params: _Params | None = None
    req_id: Number | None = None


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_books = msgspec.json.Decoder(list[_Book]).decode
_decode_trades = msgspec.json.Decoder(list[_Trade]).decode
_decode_tickers = msgspec.json.Decoder(list[_Ticker]).decode
_decode_instruments = msgspec.json.Decoder(_Instruments).decode
_decode_systems = msgspec.json.Decoder(list[_System]).decode
_encode = msgspec.json.encode

_Key = tuple[str, str]  # channel and symbol, as data messages name them


class KrakenCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session.
        texts: Without effect: books always carry their texts, for the checksum.
    """

    __slots__ = ("_asked", "_decimals", "_options", "_origins", "_served", "_system")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        del texts
        self._origins = origins
        self._asked: dict[int, set[_Key]] = {}  # what each open subscribe still waits for
        self._served: dict[_Key, list[str]] = {}  # topics that share messages, by arrival
        self._options: dict[_Key, str] = {}  # depth or trigger that was asked for
        self._decimals: dict[str, tuple[int, int]] = {}  # of price and size, by symbol
        self._system = ""

    def setup(self, next_id: int) -> list[Request]:
        """Ask for the precision of the pairs, if a book is to be checked."""
        if not any(topic.startswith("book-") for topic in self._origins):
            return []
        params = {"channel": "instrument", "snapshot": True}
        return [Request(next_id, "setup", _call("subscribe", params, next_id))]

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return a request for each channel, depth and trigger; each may name many symbols."""
        groups: dict[tuple[str, str], list[str]] = {}
        riders: dict[str, list[str]] = {}
        for topic in topics:
            channel, option, symbol = _parts(topic)
            served = self._served.setdefault((channel, symbol), [])
            if topic not in served:
                served.append(topic)
            if served[0] != topic:  # it shares the subscription of the first, or is refused
                if served[0] in topics:
                    riders.setdefault(served[0], []).append(topic)
                    continue
                option = _parts(served[0])[1]  # asked for again, so that there is an answer
            if channel == "ticker" and self._origins.get(f"ticker-bbo:{symbol}") is not None:
                option = "bbo"  # quotes change more often than trades happen
            self._options[channel, symbol] = option
            groups.setdefault((channel, option), []).append(topic)
        requests = []
        for request_id, ((channel, option), members) in enumerate(groups.items(), start=next_id):
            symbols = [_parts(topic)[2] for topic in members]
            self._asked[request_id] = {(channel, symbol) for symbol in symbols}
            call = _call("subscribe", _params(channel, option, symbols), request_id)
            named = [name for topic in members for name in (topic, *riders.get(topic, ()))]
            requests.append(Request(request_id, "subscribe", call, tuple(named)))
        return requests

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return a request for each topic whose subscription serves no other."""
        requests: list[Request] = []
        for topic in topics:
            request_id = next_id + len(requests)
            channel, option, symbol = _parts(topic)
            served = self._served.get((channel, symbol), [])
            if self._origins.get(topic) is None and topic in served:
                served.remove(topic)  # for good, and not to subscribe anew
                if served and channel == "ticker":
                    continue  # the quote goes on without the ticker, or the other way round
                if not served:
                    del self._served[channel, symbol]
            params = _params(channel, self._options.get((channel, symbol), option), [symbol])
            params.pop("snapshot")
            call = _call("unsubscribe", params, request_id)
            requests.append(Request(request_id, "unsubscribe", call, (topic,)))
        return requests

    def once_live(self, request_id: int) -> None:
        """Return nothing: every symbol has been answered, and the state of the venue is pushed."""
        del request_id

    def beat(self, next_id: int) -> None:
        """Return nothing: the venue's own heartbeats keep the connection busy."""
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
        params = call.params
        if params is None or call.method not in {"subscribe", "unsubscribe"}:
            return None
        if not params.symbol:
            return Asked("setup", call.req_id, ())
        name = _name(params.channel, params.depth, params.event_trigger)
        topics = tuple(f"{name}:{symbol}" for symbol in params.symbol)
        kind: Literal["subscribe", "unsubscribe"] = "subscribe"
        if call.method == "unsubscribe":
            kind = "unsubscribe"
        return Asked(kind, call.req_id, topics)

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            frame = _decode_frame(text)
            if frame.channel:
                return self._read_push(frame, recv_ns, mono_ns)
            return self._read_answer(frame)
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError) as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    # -- data -------------------------------------------------------------------------------

    def _read_push(self, frame: _Frame, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        match frame.channel:
            case "book":
                return self._books(frame, recv_ns, mono_ns)
            case "trade":
                return self._trades(frame, recv_ns, mono_ns)
            case "ticker":
                return self._tickers(frame, recv_ns, mono_ns)
            case "heartbeat":
                return Heartbeat()
            case "status":
                return self._status(_decode_systems(frame.data))
            case "instrument":
                self._note(_decode_instruments(frame.data))
                return Heartbeat()
            case _:
                return Stray(f"channel {printable(frame.channel)}")

    def _books(self, frame: _Frame, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        kind = BookSnapshot if frame.type == "snapshot" else BookDelta
        events: list[Event] = []
        for book in _decode_books(frame.data):
            topics = self._topics("book", book.symbol)
            origin = self._origins.get(topics[0]) if topics else None
            if origin is None:
                continue
            bids, asks = self._texts(book.symbol, book.bids), self._texts(book.symbol, book.asks)
            events.append(
                kind(
                    origin,
                    recv_ns,
                    mono_ns,
                    None if book.timestamp is None else _ns(book.timestamp),
                    None,
                    None,
                    levels(bids),
                    levels(asks),
                    Texts(bids, asks, book.checksum),
                )
            )
        return events or Stray("a book that nobody asked for")

    def _texts(self, symbol: str, sent: list[_Level]) -> list[TextLevel]:
        """Return the levels as sent, padded to the precision of the pair where it is known."""
        of_price, of_size = self._decimals.get(symbol, (None, None))
        return [
            (
                padded(bytes(level.price).decode(), of_price),
                padded(bytes(level.qty).decode(), of_size),
            )
            for level in sent
        ]

    def _trades(self, frame: _Frame, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        greeting = frame.type == "snapshot"
        trades = _decode_trades(frame.data)
        if greeting:
            trades.sort(key=lambda trade: trade.trade_id)
        events: list[Event] = []
        for trade in trades:
            topics = self._topics("trade", trade.symbol)
            origin = self._origins.get(topics[0]) if topics else None
            if origin is None:
                continue
            events.append(
                Trade(
                    origin,
                    recv_ns,
                    mono_ns,
                    _ns(trade.timestamp),
                    trade.trade_id,
                    trade.trade_id,
                    str(trade.trade_id),
                    trade.price,
                    trade.qty,
                    trade.side,
                    greeting,
                )
            )
        return events or Stray("trades that nobody asked for")

    def _tickers(self, frame: _Frame, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        events: list[Event] = []
        for ticker in _decode_tickers(frame.data):
            origins = [self._origins.get(t) for t in self._topics("ticker", ticker.symbol)]
            known = [origin for origin in origins if origin is not None]
            events += [_ticker(origin, ticker, recv_ns, mono_ns) for origin in known]
        return events or Stray("a ticker that nobody asked for")

    def _topics(self, channel: str, symbol: str) -> list[str]:
        """Return the topics that the messages of a channel and a symbol belong to."""
        served = self._served.get((channel, symbol))
        if served is None:  # a recording that began after the subscribe
            served = [t for t in self._origins if _parts(t)[::2] == (channel, symbol)]
            name = _name(channel, DEPTHS[0], "trades")
            if not served and self._origins.get(f"{name}:{symbol}") is not None:
                served = [f"{name}:{symbol}"]
            if served:
                self._served[channel, symbol] = served
        return served

    # -- the rest ---------------------------------------------------------------------------

    def _read_answer(self, frame: _Frame) -> Reading:
        error = frame.error or frame.Error
        if _TOO_FAST in error.lower():
            return Refusal(frame.req_id, 0, printable(error), limited=True)
        if frame.method == "pong":
            return Heartbeat()
        if not frame.success or error:
            return self._failed(frame, printable(error))
        result = frame.result
        if frame.method == "subscribe" and result is not None and result.symbol:
            return self._granted(result, frame.req_id)
        if frame.req_id is not None and frame.method:
            return Ack(frame.req_id)
        return Stray(f"method {printable(frame.method or 'none')}")

    def _granted(self, result: _Result, req_id: int | None) -> Reading:
        key = (result.channel, result.symbol)
        self._settle(req_id, key)
        topic = f"{_name(result.channel, result.depth, result.event_trigger)}:{result.symbol}"
        served = self._served.get(key)
        if served is None:
            if self._origins.get(topic) is None:
                return Stray(f"subscribed to {printable(topic)}")
            self._served[key] = [topic]
        return self._shared(key)

    def _shared(self, key: _Key) -> Reading:
        """Say who is served by the one subscription of a symbol."""
        served = self._served[key]
        if key[0] != "book" or len(served) == 1:
            return Granted(tuple(served))
        twins = tuple(served[1:])
        del served[1:]
        return Bundle((Granted((served[0],)), Denied(twins, 0, _TWIN)))

    def _failed(self, frame: _Frame, detail: str) -> Reading:
        """Read a failure; of several symbols it names the one it is about."""
        keys = set() if frame.req_id is None else self._asked.get(frame.req_id, set())
        about = [key for key in keys if key[1] == frame.symbol or len(keys) == 1]
        if frame.method != "subscribe" or len(about) != 1:
            return Refusal(frame.req_id, 0, detail)
        self._settle(frame.req_id, about[0])
        if _ALREADY in detail.lower() and self._served.get(about[0]):
            return self._shared(about[0])
        return Denied(tuple(self._served.get(about[0], ())), 0, detail)

    def _settle(self, req_id: int | None, key: _Key) -> None:
        keys = None if req_id is None else self._asked.get(req_id)
        if keys is not None and req_id is not None:
            keys.discard(key)
            if not keys:
                del self._asked[req_id]

    def _status(self, systems: list[_System]) -> Reading:
        """Read the state of the venue: pushed at once, and whenever it changes."""
        if not systems:
            return Heartbeat()
        before, self._system = self._system, systems[-1].system
        if self._system == "online" and before in {"", "online"}:
            return Heartbeat()
        return Status(f"system {printable(self._system)}")

    def _note(self, instruments: _Instruments) -> None:
        for pair in instruments.pairs:
            if pair.symbol in self._decimals or len(self._decimals) < PAIRS_MAX:
                self._decimals[pair.symbol] = (pair.price_precision, pair.qty_precision)


def _ticker(origin: Origin, data: _Ticker, recv_ns: int, mono_ns: int) -> Event:
    event_ns = None if data.timestamp is None else _ns(data.timestamp)
    bid, ask = data.bid_qty or None, data.ask_qty or None
    if origin.channel == "bbo":
        return Bbo(
            origin,
            recv_ns,
            mono_ns,
            event_ns,
            None,
            None,
            data.bid if bid else None,
            bid,
            data.ask if ask else None,
            ask,
        )
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        event_ns,
        None,
        None,
        data.last,
        bid=data.bid if bid else None,
        ask=data.ask if ask else None,
        volume=data.volume,
    )


def _ns(time: datetime) -> int:
    """Return Unix time in nanoseconds; the venue writes microseconds."""
    since = time - _EPOCH
    if since.days < 0:
        raise DecodeError("a time before 1970")
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000


def _parts(topic: str) -> tuple[str, str, str]:
    """Return channel, depth or trigger, and symbol of a topic."""
    name, _, symbol = topic.partition(":")
    channel, _, option = name.partition("-")
    return channel, option, symbol


def _name(channel: str, depth: int, trigger: str) -> str:
    """Return the head of a topic."""
    if channel == "book":
        return f"book-{depth}"
    return "ticker-bbo" if channel == "ticker" and trigger == "bbo" else channel


def _params(channel: str, option: str, symbols: list[str]) -> dict[str, object]:
    params: dict[str, object] = {"channel": channel, "symbol": symbols, "snapshot": True}
    if channel == "book":
        params["depth"] = int(option)
    elif channel == "ticker":
        params["event_trigger"] = option or "trades"
    return params


def _call(method: str, params: Mapping[str, object], request_id: int) -> str:
    return _encode({"method": method, "params": params, "req_id": request_id}).decode()


_NEW_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}


def _spell(currency: str) -> str:
    """Return a currency as this dialect names it; the list of pairs keeps the older names."""
    return _NEW_NAMES.get(currency, currency)


_PROFILE: Final = Profile(
    name="kraken",
    title="Kraken Spot",
    endpoints=Fact(
        Endpoints(
            public=("wss://ws.kraken.com/v2",),
            test=("wss://beta-ws.kraken.com/v2",),
            path="/v2",
            independent=None,
        ),
        _WS,
        _READ,
        note="TLS needs SNI, else the upgrade gets 403 or 429; the test host trades for real",
    ),
    rest_endpoints=REST_ENDPOINTS,
    lifetime_ns=LIFETIME,
    shutdown_notice=Fact(
        "channel status: maintenance; the connection is then closed", _WS, _READ, "M"
    ),
    server_ping_ns=Fact(None, _WS, _READ, "L", "none documented; heartbeat messages instead"),
    pong_within_ns=Fact(None, _WS, _READ, "L"),
    heartbeat=Fact(
        "channel heartbeat, one a second while something is subscribed and nothing else flows",
        _BACK,
        _READ,
        note="whether it can be subscribed, the documents disagree: it comes unasked",
    ),
    client_ping=Fact('{"method":"ping"} is answered with pong', _WS, _READ),
    client_beat_ns=CLIENT_BEAT,
    dials=DIALS,
    connections=CONNECTIONS,
    messages=MESSAGES,
    topics_per_request=Fact(None, _BOOK, _READ, "L", "none documented"),
    request_bytes=Fact(None, _WS, _READ, "L", "none documented"),
    topics_per_connection=Fact(None, _WS, _READ, "L", "none documented for these channels"),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(None, _WS, _READ),
    pools=POOLS,
    login=Fact(None, _WS, _READ, note="these channels need none; level3 does"),
    ack=Fact(
        "one answer for each symbol, all with our req_id; some may fail while others succeed",
        _WS,
        _READ,
    ),
    checksum=Fact(
        "CRC32, unsigned, of the ten best levels: asks, then bids, digits without point and zeros",
        _CRC,
        _READ,
    ),
    compression=COMPRESSION,
    maintenance=Fact("channel status: online, cancel_only, post_only or maintenance", _WS, _READ),
    errors=Fact(MappingProxyType({}), _WS, _READ, note="texts without codes"),
    framing=Fact("JSON text, one object a frame; data is a list", _WS, _READ),
    reconciliation=Fact(
        "executions with both snapshots, then OpenOrders and ClosedOrders", _BACK, _READ
    ),
    cutovers=Fact(
        (
            "2025-12-02: level3 moves to a host of its own",
            "2026-04-28: instrument takes execution_venue",
        ),
        "docs.kraken.com, Changelog",
        _READ,
    ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"raw": "trade:{symbol}"}),
            numbering=Fact(
                Numbering.DENSE, _TRADE, _READ, note="trade_id is a sequence number for each pair"
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(True, _TRADE, _READ, note="greets with the latest 50 trades"),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({str(depth): f"book-{depth}:{{symbol}}" for depth in DEPTHS}),
            numbering=Fact(Numbering.NONE, _BOOK, _READ, note="the checksum is the only proof"),
            arbitration=Arbitration.FAILOVER_ONLY,
            snapshot=Fact(
                SnapshotFrom.STREAM,
                _BOOK,
                _READ,
                note="if a checksum fails, unsubscribe and subscribe that symbol",
            ),
            speaks_on_subscribe=Fact(True, _BOOK, _READ),
            depths=MappingProxyType({str(depth): depth for depth in DEPTHS}),
            checksum=CHECKSUM,
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"ticker": "ticker-bbo:{symbol}"}),
            numbering=Fact(Numbering.NONE, _TICK, _READ, note="a time in newer builds only"),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, _TICK, _READ, note="ticker with event_trigger bbo"),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"24h": "ticker:{symbol}"}),
            numbering=Fact(Numbering.NONE, _TICK, _READ, note="a time in newer builds only"),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, _TICK, _READ),
        ),
    ),
    symbol_signs="/",
    server_time=Fact(
        ServerTime("/0/public/Time", "rest", ("result", "unixtime"), SECOND),
        "docs.kraken.com, REST: Get server time",
        _READ,
        "M",
    ),
    busiest=("book", "BTC/USD"),
    traps=(
        "Symbols are BTC/USD here, XBT/USD in the older dialect, and XXBTZUSD in REST.",
        "One subscribe gets an answer for each symbol, and some of them may be refusals.",
        "Levels that fall out of the subscribed depth get no deletion: cut after each message.",
        "Prices and sizes are JSON numbers; the checksum needs their digits, padded with zeros to "
        "the precision of the pair. A size may come with fewer digits than that.",
        "The checksum covers ten levels, whatever the depth; fewer where there are fewer.",
        "Messages name neither depth nor trigger: one depth of a symbol for each connection.",
        "The precision of a pair may change while we are connected.",
        "Heartbeats come only while something is subscribed.",
        "Times are not unique and order nothing.",
    ),
    codec=KrakenCodec,
    rest=KrakenRest(_spell),
)

PROFILES: Final = (_PROFILE,)
