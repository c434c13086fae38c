"""Binance European Options: market data streams.

Books and best quotes speak the dialect of the venue's futures: chains by ``pu``, a snapshot over
REST.  Mark prices, implied volatilities and greeks come only for a whole underlying at a time, in
one array; here each option has a topic of its own, and the options of one underlying share the
venue's stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from gapless.core.budget import Window
from gapless.core.codec import Asked, Reading, Request
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument
from gapless.events import Event, Origin, Ticker
from gapless.venues._binance import (
    ERRORS,
    Finite,
    Millis,
    Price,
    StreamCodec,
    call,
    read_best,
    read_chained,
    read_chained_image,
    read_day,
    read_trade,
)
from gapless.venues._binance_rest import BinanceRest, expiry_ns, state_of
from gapless.venues._profile import (
    MS,
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    Profile,
    RestGet,
    ServerTime,
)

__all__ = ["PROFILES", "BinanceOptionsCodec"]

_READ: Final = "2026-11-22"
_DOCS: Final = "developers.binance.com, Options Trading"
_WS: Final = f"{_DOCS}, Websocket Market Streams, Connect"
_SUB: Final = f"{_DOCS}, Live Subscribing/Unsubscribing to streams"
_BOOK: Final = f"{_DOCS}, How to manage a local order book correctly"
_PART: Final = f"{_DOCS}, Partial Book Depth Streams"
_MARKS: Final = f"{_DOCS}, Mark Price"
_DAY: Final = f"{_DOCS}, 24-hour TICKER"
_TRADES: Final = f"{_DOCS}, Trade Streams"
_INFO: Final = f"{_DOCS}, General Info"
_ERR: Final = f"{_DOCS}, Error Code"

DEPTH_LIMIT: Final = 1000  # levels a side, the most there are; weight 20
DEPTH_WEIGHT: Final = 20

PUBLIC: Final = "/public/stream"
MARKET: Final = "/market/stream"

_LEVELS: Final = (5, 10, 20)  # of partial depth
_MARK: Final = "@optionMarkPrice"


class _Mark(Struct, gc=False):
    s: str
    E: Millis
    mp: Price
    i: Price | None = None
    bo: Price = 0.0
    ao: Price = 0.0
    b: Finite = -1.0  # implied volatilities; -1 where there is no quote
    a: Finite = -1.0
    vo: Finite = -1.0
    d: Finite | None = None
    t: Finite | None = None
    g: Finite | None = None
    v: Finite | None = None


class _MarkFrame(Struct, gc=False):
    data: list[_Mark]


class _Option(Struct, gc=False):
    symbol: str
    side: str
    strikePrice: Price  # noqa: N815  # the venue's name
    underlying: str
    expiryDate: Millis  # noqa: N815
    quoteAsset: str  # noqa: N815
    status: str = ""


class _Contract(Struct, gc=False):
    underlying: str
    baseAsset: str  # noqa: N815
    settleAsset: str | None = None  # noqa: N815


class _Listing(Struct, gc=False):
    optionSymbols: list[_Option]  # noqa: N815
    optionContracts: list[_Contract] = []  # noqa: N815


# Numbers arrive as text, hence not strict.
_decode_marks = msgspec.json.Decoder(_MarkFrame, strict=False).decode
_decode_listing = msgspec.json.Decoder(_Listing, strict=False).decode


def _read_listing(body: bytes) -> list[Instrument]:
    listing = _decode_listing(body)
    contracts = {item.underlying: item for item in listing.optionContracts}
    found = []
    for item in listing.optionSymbols:
        contract = contracts.get(item.underlying)
        found.append(
            Instrument(
                item.symbol,
                "option",
                item.symbol.partition("-")[0] if contract is None else contract.baseAsset,
                item.quoteAsset,
                None if contract is None else contract.settleAsset,
                state_of(item.status),
                expiry_ns(item.expiryDate),
                item.strikePrice,
                "put" if item.side == "PUT" else "call",
            )
        )
    return found


def _stream_of(topic: str) -> str:
    """Return the venue's stream that brings a topic."""
    symbol, at, what = topic.partition("@")
    base, dash, _ = symbol.partition("-")
    # All options are on a base against USDT.
    return f"{base}usdt{_MARK}" if dash and at + what == _MARK else topic


def _streams_of(topics: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_stream_of(topic) for topic in topics))


def _mark(origin: Origin, mark: _Mark, recv_ns: int, mono_ns: int) -> Event:
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        mark.E * MS,
        None,
        None,
        None,
        mark=mark.mp,
        index=mark.i,
        bid=mark.bo or None,
        ask=mark.ao or None,
        underlying=mark.i,
        mark_iv=mark.vo if mark.vo > 0 else None,
        bid_iv=mark.b if mark.b > 0 else None,
        ask_iv=mark.a if mark.a > 0 else None,
        delta=mark.d,
        gamma=mark.g,
        vega=mark.v,
        theta=mark.t,
    )


_DIFF: Final = ("depth@100ms", "depth@500ms")
_EVERY: Final = MappingProxyType({"": "@100ms", "-500ms": "@500ms"})
_PARTIAL: Final = tuple(f"depth{n}{every}" for n in _LEVELS for every in _EVERY.values())


class BinanceOptionsCodec(StreamCodec):
    """The dialect for one session on one of the two paths."""

    __slots__ = ("_asked_for",)

    readers = MappingProxyType(
        {
            **dict.fromkeys(_DIFF, read_chained),
            **dict.fromkeys(_PARTIAL, read_chained_image),
            "optionTrade": read_trade,
            "bookTicker": read_best,
            "optionTicker": read_day,
        }
    )
    bare = MappingProxyType(
        {
            "depthUpdate": (*_DIFF, *_PARTIAL),
            "trade": ("optionTrade",),
            "bookTicker": ("bookTicker",),
            "24hrTicker": ("optionTicker",),
        }
    )

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        super().__init__(origins, texts=texts)
        self._asked_for: set[str] = set()  # topics, of which several may share a stream

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        self._asked_for.update(topics)
        text = call(next_id, "SUBSCRIBE", _streams_of(topics))
        return [Request(next_id, "subscribe", text, topics)]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """End the streams that no other topic needs; there may be none."""
        self._asked_for.difference_update(topics)
        needed = set(_streams_of(self._asked_for))
        streams = tuple(name for name in _streams_of(topics) if name not in needed)
        if not streams:
            return []
        return [Request(next_id, "unsubscribe", call(next_id, "UNSUBSCRIBE", streams), topics)]

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        asked = super().asked(text)
        if asked is None or not asked.topics:
            return asked
        return Asked(asked.kind, asked.request_id, self._topics_of(asked.topics))

    def _listed(self, names: list[str]) -> tuple[str, ...]:
        return self._topics_of(names)

    def _topics_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the topics that the venue's streams bring, as far as they are known here."""
        found = []
        for name in names:
            sharing = [t for t in self._origins if t != name and _stream_of(t) == name]
            found += sharing or [name]
        return tuple(found)

    def _data(
        self, topic: str, origin: Origin, text: str, recv_ns: int, mono_ns: int
    ) -> list[Event]:
        if topic.endswith(_MARK):  # whoever reads captures takes the shared stream for a topic
            return self._marks(text, recv_ns, mono_ns)
        return super()._data(topic, origin, text, recv_ns, mono_ns)

    def _unnamed(self, stream: str, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        events = self._marks(text, recv_ns, mono_ns) if stream.endswith(_MARK) else []
        return events or super()._unnamed(stream, text, recv_ns, mono_ns)

    def _marks(self, text: str, recv_ns: int, mono_ns: int) -> list[Event]:
        """Read the mark prices of a whole underlying; leave out what nobody asked for."""
        found = []
        for mark in _decode_marks(text).data:
            origin = self._origins.get(mark.s.lower() + _MARK)
            if origin is not None:
                found.append(_mark(origin, mark, recv_ns, mono_ns))
        return found


_LIST: Final = RestGet("/eapi/v1/exchangeInfo", (), "weight", 1)
_PAST: Final[Mapping[str, tuple[str, int]]] = MappingProxyType({})  # none by number
REST: Final = BinanceRest("/eapi/v1", (DEPTH_LIMIT, DEPTH_WEIGHT), _PAST, _LIST, _read_listing)

_PROFILE: Final = Profile(
    name="binance.options",
    title="Binance European Options",
    endpoints=Fact(
        Endpoints(
            public=(f"wss://fstream.binance.com{PUBLIC}",),
            test=(f"wss://demo-fstream.binance.com{PUBLIC}",),
            path=PUBLIC,
            independent=None,
        ),
        f"{_WS}; {_INFO}",
        _READ,
        note="mark prices need the path /market/stream",
    ),
    rest_endpoints=Fact(("https://eapi.binance.com",), _INFO, _READ),
    lifetime_ns=Fact(24 * 3600 * SECOND, _WS, _READ),
    shutdown_notice=Fact(
        None, _WS, _READ, "L", "serverShutdown is documented for spot; understood here as well"
    ),
    server_ping_ns=Fact(300 * SECOND, _WS, _READ),
    pong_within_ns=Fact(900 * SECOND, _WS, _READ),
    heartbeat=Fact(None, _WS, _READ, note="ping frames only"),
    client_beat_ns=Fact(None, _WS, _READ, note="answering its pings is enough"),
    request_bytes=Fact(None, _WS, _READ, "L", "none documented"),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(None, _WS, _READ),
    client_ping=Fact("allowed; counted as inbound messages, as on spot", _WS, _READ, "L"),
    dials=Fact((Window(300, 300 * SECOND),), f"{_WS}; not documented, stated for spot", _READ, "L"),
    connections=Fact(None, _WS, _READ, note="none documented"),
    messages=Fact((Window(10, SECOND),), _WS, _READ),
    topics_per_request=Fact(None, _WS, _READ, note="none documented; bounded by bytes"),
    topics_per_connection=Fact(200, _WS, _READ),
    pools=Fact(
        MappingProxyType({"weight": Window(2400, 60 * SECOND)}),
        f"{_DOCS}, Exchange Information",
        _READ,
        "M",
        f"from the example of a reply; depth of {DEPTH_LIMIT} levels costs {DEPTH_WEIGHT}",
    ),
    login=Fact(None, _WS, _READ, note="market data needs none"),
    ack=Fact(
        '{"result":null,"id":n} for a whole frame; LIST_SUBSCRIPTIONS names what is subscribed',
        _SUB,
        _READ,
    ),
    checksum=Fact(None, _BOOK, _READ, note="none; the chain of pu and u is the proof"),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact("GET /sapi/v1/system/status; no message on the stream", _INFO, _READ, "M"),
    errors=Fact(ERRORS, f"{_SUB}; {_ERR}", _READ),
    framing=Fact(
        "JSON text; combined streams wrap as {stream, data}; ids of requests are unsigned integers",
        _SUB,
        _READ,
    ),
    reconciliation=Fact(
        "openOrders, order, userTrades by symbol from the last id", _INFO, _READ, "M"
    ),
    cutovers=Fact(
        (
            "by 2026-01: nbstream.binance.com/eoptions gave way to fstream.binance.com, with "
            "lower-case symbols and other streams",
        ),
        _WS,
        _READ,
        "M",
        "the pages changed; no date is printed on them",
    ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"raw": "{lower}@optionTrade"}),
            numbering=Fact(
                Numbering.IDENTITY,
                _TRADES,
                _READ,
                "L",
                "nothing says that ids are dense, and the example of the ticker counts 9 trades "
                "from id 1 to id 22",
            ),
            arbitration=Arbitration.BY_IDENTITY,
            speaks_on_subscribe=Fact(False, _TRADES, _READ, "L"),
        ),
        Channel(
            name="book",
            topics=MappingProxyType(
                {"100ms": "{lower}@depth@100ms", "500ms": "{lower}@depth@500ms"}
            ),
            numbering=Fact(Numbering.CHAIN, _BOOK, _READ, note="pu names the update before"),
            arbitration=Arbitration.BY_SEQUENCE,
            snapshot=Fact(
                SnapshotFrom.REST,
                _BOOK,
                _READ,
                note="drop u < lastUpdateId; the first applied has U <= lastUpdateId <= u",
            ),
            speaks_on_subscribe=Fact(False, _WS, _READ, "L"),
            unlike=(
                Channel(
                    name="book",
                    topics=MappingProxyType(
                        {
                            f"top{n}{name}": f"{{lower}}@depth{n}{every}"
                            for name, every in _EVERY.items()
                            for n in _LEVELS
                        }
                    ),
                    numbering=Fact(
                        Numbering.ORDERED,
                        _PART,
                        _READ,
                        note="u orders the images; pu proves nothing",
                    ),
                    arbitration=Arbitration.BY_SEQUENCE,
                    snapshot=Fact(SnapshotFrom.EVERY, _PART, _READ),
                    speaks_on_subscribe=Fact(False, _PART, _READ, "L"),
                    depths=MappingProxyType(
                        {f"top{n}{name}": n for name in _EVERY for n in _LEVELS}
                    ),
                ),
            ),
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"bookTicker": "{lower}@bookTicker"}),
            numbering=Fact(
                Numbering.ORDERED,
                f"{_DOCS}, Individual Symbol Book Ticker Streams",
                _READ,
                note="u orders the images",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(False, _WS, _READ, "L"),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"mark": f"{{lower}}{_MARK}", "24h": "{lower}@optionTicker"}),
            numbering=Fact(Numbering.NONE, f"{_MARKS}; {_DAY}", _READ),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(False, _MARKS, _READ, "L"),
            paths=MappingProxyType({"mark": MARKET}),
        ),
    ),
    server_time=Fact(
        ServerTime("/eapi/v1/time", "weight", ("serverTime",), MS),
        f"{_DOCS}, Check Server Time",
        _READ,
        "M",
    ),
    traps=(
        "A stream on the wrong path is acked and never speaks: mark prices live on /market, all "
        "else that is read here on /public.",
        "Mark prices come for a whole underlying: one option costs as much as all of them.",
        "Partial depth looks exactly like diff depth: only the stream's name tells them apart.",
        "pu is the chain; the snapshot lies inside the first update, without plus one.",
        "An implied volatility of -1 means that there is no quote.",
        "Stream names need lower-case symbols, REST upper-case ones.",
        "Most options are silent for hours: liveness must come from another stream.",
        "Old captures of nbstream.binance.com speak another dialect, which is not read here.",
    ),
    codec=BinanceOptionsCodec,
    rest=REST,
)

PROFILES: Final = (_PROFILE,)
