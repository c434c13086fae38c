"""Binance Spot: market data streams.

Depth updates carry ranges ``U..u`` that are dense for each symbol; the snapshot comes over
REST and is aligned by number.  Streams are subscribed on the combined endpoint, so that every
frame names its stream and every subscribe has an ack.  The ack does not say whether a symbol
exists, therefore the subscriptions are listed afterwards.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from gapless.core.budget import Window
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument
from gapless.errors import DecodeError
from gapless.events import BookDelta, BookSnapshot, Event, Origin
from gapless.venues._binance import (
    ERRORS,
    Level,
    Millis,
    Number,
    StreamCodec,
    read_agg_trade,
    read_best,
    read_day,
    read_trade,
)
from gapless.venues._binance_rest import BinanceRest, book_tickers, state_of
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

__all__ = ["PROFILES", "BinanceSpotCodec"]

_READ: Final = "2026-07-21"
_WS: Final = "binance-spot-api-docs/web-socket-streams.md"
_REST: Final = "binance-spot-api-docs/rest-api.md"
_ERR: Final = "binance-spot-api-docs/errors.md"
_LOG: Final = "binance-spot-api-docs/CHANGELOG.md"

DEPTH_LIMIT: Final = 1000  # levels a side; weight 50.  5,000 would cost 250.
DEPTH_WEIGHT: Final = 50

_LEVELS: Final = (5, 10, 20)  # of partial depth


class _Depth(Struct, gc=False):
    E: Millis
    U: Number
    u: Number
    b: list[Level]
    a: list[Level]


class _Partial(Struct, gc=False):
    lastUpdateId: Number  # noqa: N815  # the venue's name
    bids: list[Level]
    asks: list[Level]


class _DepthFrame(Struct, gc=False):
    data: _Depth


class _PartialFrame(Struct, gc=False):
    data: _Partial


class _Symbol(Struct, gc=False):
    symbol: str
    baseAsset: str  # noqa: N815  # the venue's name
    quoteAsset: str  # noqa: N815
    status: str = ""


class _Listing(Struct, gc=False):
    symbols: list[_Symbol]


# Numbers arrive as text, hence not strict.
_decode_depth = msgspec.json.Decoder(_DepthFrame, strict=False).decode
_decode_partial = msgspec.json.Decoder(_PartialFrame, strict=False).decode
_decode_listing = msgspec.json.Decoder(_Listing).decode


def _read_depth(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    depth = _decode_depth(text).data
    if depth.u < depth.U:
        raise DecodeError(f"update range {depth.U}..{depth.u} is empty")
    return BookDelta(origin, recv_ns, mono_ns, depth.E * MS, depth.U, depth.u, depth.b, depth.a)


def _read_partial(origin: Origin, text: str, recv_ns: int, mono_ns: int) -> Event:
    """Read partial depth, which carries neither symbol nor type nor time."""
    image = _decode_partial(text).data
    last = image.lastUpdateId
    return BookSnapshot(origin, recv_ns, mono_ns, None, last, last, image.bids, image.asks)


def _read_listing(body: bytes) -> list[Instrument]:
    return [
        Instrument(
            item.symbol, "spot", item.baseAsset, item.quoteAsset, None, state_of(item.status)
        )
        for item in _decode_listing(body).symbols
    ]


_DIFF: Final = ("depth@100ms", "depth")
_PARTIAL: Final = tuple(f"depth{n}{every}" for n in _LEVELS for every in ("@100ms", ""))


class BinanceSpotCodec(StreamCodec):
    """The dialect for one session."""

    __slots__ = ()

    readers = MappingProxyType(
        {
            **dict.fromkeys(_DIFF, _read_depth),
            **dict.fromkeys(_PARTIAL, _read_partial),
            "trade": read_trade,
            "aggTrade": read_agg_trade,
            "bookTicker": read_best,
            "ticker": read_day,
        }
    )
    bare = MappingProxyType(
        {
            "depthUpdate": _DIFF,
            "trade": ("trade",),
            "aggTrade": ("aggTrade",),
            "bookTicker": ("bookTicker",),
            "24hrTicker": ("ticker",),
        }
    )


# Without the sets of permissions the list is a fraction as long.
_LIST: Final = RestGet("/api/v3/exchangeInfo", (("showPermissionSets", "false"),), "weight", 20)
_PAST: Final = MappingProxyType({"trade": ("historicalTrades", 25), "aggTrade": ("aggTrades", 4)})
REST: Final = BinanceRest("/api/v3", (DEPTH_LIMIT, DEPTH_WEIGHT), _PAST, _LIST, _read_listing)

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
        note=f"depth of {DEPTH_LIMIT} levels costs {DEPTH_WEIGHT}; past trades 25, aggregate 4",
    ),
    bulk=Fact(
        "GET /api/v3/ticker/bookTicker without a symbol: all of them, weight 4",
        f"{_REST}, Symbol order book ticker",
        "2026-11-22",
        "M",
        "no number and no time: newer only if a read agreed before",
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
    errors=Fact(ERRORS, f"{_WS}, Error messages; {_ERR}", _READ),
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
            unlike=(
                Channel(
                    name="book",
                    topics=MappingProxyType(
                        {
                            **{f"top{n}": f"{{lower}}@depth{n}@100ms" for n in _LEVELS},
                            **{f"top{n}-1000ms": f"{{lower}}@depth{n}" for n in _LEVELS},
                        }
                    ),
                    numbering=Fact(
                        Numbering.ORDERED,
                        f"{_WS}, Partial Book Depth Streams",
                        _READ,
                        note="lastUpdateId orders the images; it does not rise by one",
                    ),
                    arbitration=Arbitration.BY_SEQUENCE,
                    snapshot=Fact(SnapshotFrom.EVERY, f"{_WS}, Partial Book Depth Streams", _READ),
                    speaks_on_subscribe=Fact(False, _WS, _READ),
                    depths=MappingProxyType(
                        {f"top{n}{every}": n for n in _LEVELS for every in ("", "-1000ms")}
                    ),
                ),
            ),
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
    server_time=Fact(
        ServerTime("/api/v3/time", "weight", ("serverTime",), MS),
        f"{_REST}, Check server time",
        _READ,
    ),
    busiest=("trades", "BTCUSDT"),
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
    rest=REST,
    bulk_reads=book_tickers("/api/v3", 4),
)

PROFILES: Final = (_PROFILE,)
