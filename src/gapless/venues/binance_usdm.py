"""Binance USDⓈ-M Futures: market data streams.

Depth updates are chains: ``pu`` names the update before, and ids skip.  The snapshot comes over
REST and lies inside the first update that is applied.  Since 2026 the venue serves two kinds of
streams on two paths; one that is asked for on the wrong path is acked and never speaks.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from gapless.core.budget import Window
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.venues._binance import ERRORS, FuturesCodec
from gapless.venues._binance_rest import BinanceRest, book_tickers, read_futures
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

__all__ = ["PROFILES"]

_READ: Final = "2026-11-22"
_DOCS: Final = "developers.binance.com, USDⓈ-M Futures"
_WS: Final = f"{_DOCS}, Websocket Market Streams"
_ROUTES: Final = f"{_DOCS}, Important WebSocket Change Notice"
_SUB: Final = f"{_DOCS}, Live Subscribing/Unsubscribing to streams"
_BOOK: Final = f"{_DOCS}, How to manage a local order book correctly"
_PART: Final = f"{_DOCS}, Partial Book Depth Streams"
_DEPTH: Final = f"{_DOCS}, Order Book"
_INFO: Final = f"{_DOCS}, General Info"
_ERR: Final = f"{_DOCS}, Error Codes"

DEPTH_LIMIT: Final = 1000  # levels a side, the most there are; weight 20
DEPTH_WEIGHT: Final = 20

PUBLIC: Final = "/public/stream"
MARKET: Final = "/market/stream"

_LEVELS: Final = (5, 10, 20)  # of partial depth


_EVERY: Final = MappingProxyType({"": "@100ms", "-250ms": "", "-500ms": "@500ms"})

_LIST: Final = RestGet("/fapi/v1/exchangeInfo", (), "weight", 1)
_PAST: Final = MappingProxyType({"aggTrade": ("aggTrades", 20)})  # single trades need a key
REST: Final = BinanceRest("/fapi/v1", (DEPTH_LIMIT, DEPTH_WEIGHT), _PAST, _LIST, read_futures)

_PROFILE: Final = Profile(
    name="binance.usdm",
    title="Binance USDⓈ-M Futures",
    endpoints=Fact(
        Endpoints(
            public=(f"wss://fstream.binance.com{PUBLIC}",),
            test=(f"wss://demo-fstream.binance.com{PUBLIC}",),
            path=PUBLIC,
            independent=None,
        ),
        _ROUTES,
        _READ,
        note="other streams need the path /market/stream; whether the test system routes as "
        "well is not clear (L)",
    ),
    rest_endpoints=Fact(("https://fapi.binance.com",), _INFO, _READ),
    lifetime_ns=Fact(24 * 3600 * SECOND, _WS, _READ),
    shutdown_notice=Fact(
        None, _WS, _READ, "L", "serverShutdown is documented for spot; understood here as well"
    ),
    server_ping_ns=Fact(180 * SECOND, _WS, _READ),
    pong_within_ns=Fact(600 * SECOND, _WS, _READ),
    heartbeat=Fact(None, _WS, _READ, note="ping frames only"),
    client_beat_ns=Fact(None, _WS, _READ, note="answering its pings is enough"),
    request_bytes=Fact(None, _WS, _READ, "L", "none documented"),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(None, _WS, _READ),
    client_ping=Fact(
        "allowed; counted as inbound messages, as on spot",
        _WS,
        _READ,
        "L",
        "unsolicited pongs: one page says they keep alive, another says they do not",
    ),
    dials=Fact(
        (Window(300, 300 * SECOND),), f"{_WS}; commonly quoted, stated for spot", _READ, "M"
    ),
    connections=Fact(None, _WS, _READ, note="none documented"),
    messages=Fact((Window(10, SECOND),), _WS, _READ),
    topics_per_request=Fact(None, _WS, _READ, note="none documented; bounded by bytes"),
    topics_per_connection=Fact(1024, _WS, _READ, "M", "raised from 200 in 2025"),
    pools=Fact(
        MappingProxyType({"weight": Window(2400, 60 * SECOND)}),
        _INFO,
        _READ,
        note=f"depth of {DEPTH_LIMIT} levels costs {DEPTH_WEIGHT}; past aggregate trades 20",
    ),
    bulk=Fact(
        "GET /fapi/v1/ticker/bookTicker without a symbol: all of them, weight 5",
        f"{_DOCS}, Symbol Order Book Ticker",
        "2026-11-22",
        "M",
        "lastUpdateId and time where they are sent",
    ),
    login=Fact(None, _WS, _READ, note="market data needs none"),
    ack=Fact(
        '{"result":null,"id":n} for a whole frame; LIST_SUBSCRIPTIONS names what is subscribed',
        _SUB,
        _READ,
        note="neither proves that a stream speaks on this path",
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
        "openOrders, openAlgoOrders, order, userTrades by symbol from the last id", _INFO, _READ
    ),
    cutovers=Fact(
        (
            "2025-12-09: conditional orders through the Algo service only",
            "2026-03-06: paths /public, /market and /private announced",
            "2026-04-23: paths without them retired; they ack and stay silent",
        ),
        _ROUTES,
        _READ,
        "M",
    ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"agg": "{lower}@aggTrade", "raw": "{lower}@trade"}),
            numbering=Fact(
                Numbering.DENSE,
                "seen in traffic: 268 of 268 aggregate ids in 2021 and 22,637 of 22,637 trade ids "
                "in 2022 and 2024 rise by one",
                _READ,
                "M",
                "the documents do not say; raw is not documented at all",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(False, _WS, _READ),
            paths=MappingProxyType({"agg": MARKET}),
        ),
        Channel(
            name="book",
            topics=MappingProxyType(
                {
                    "100ms": "{lower}@depth@100ms",
                    "250ms": "{lower}@depth",
                    "500ms": "{lower}@depth@500ms",
                    "0ms": "{lower}@depth@0ms",
                }
            ),
            numbering=Fact(Numbering.CHAIN, _BOOK, _READ, note="pu names the update before"),
            arbitration=Arbitration.BY_SEQUENCE,
            snapshot=Fact(
                SnapshotFrom.REST,
                _BOOK,
                _READ,
                note="drop u < lastUpdateId; the first applied has U <= lastUpdateId <= u",
            ),
            speaks_on_subscribe=Fact(False, _WS, _READ),
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
                    speaks_on_subscribe=Fact(False, _WS, _READ),
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
                note="u orders the images; it does not rise by one",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(False, _WS, _READ),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType(
                {
                    "24h": "{lower}@ticker",
                    "mark": "{lower}@markPrice@1s",
                    "mark-3s": "{lower}@markPrice",
                }
            ),
            numbering=Fact(
                Numbering.NONE,
                f"{_DOCS}, Individual Symbol Ticker Streams; Mark Price Stream",
                _READ,
            ),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(False, _WS, _READ),
            paths=MappingProxyType({"24h": MARKET, "mark": MARKET, "mark-3s": MARKET}),
        ),
    ),
    server_time=Fact(
        ServerTime("/fapi/v1/time", "weight", ("serverTime",), MS),
        f"{_DOCS}, Check Server Time",
        _READ,
        "M",
    ),
    busiest=("trades", "BTCUSDT"),
    traps=(
        "A stream on the wrong path is acked and never speaks: depth and best quotes live on "
        "/public, aggregate trades, mark prices and tickers on /market.",
        "The path of raw trades (/public) is in no document; it is what other clients found.",
        "pu is the chain; ids skip, so U is not the last u plus one.",
        "The snapshot lies inside the first update: U <= lastUpdateId <= u, without plus one.",
        "Partial depth looks exactly like diff depth: only the stream's name tells them apart.",
        "Ids of requests must be unsigned integers.",
        "A ping comes every three minutes only: a dead path must be noticed from the data.",
        "Raw trades hold numbers that name no trade (price 0, size 0, type NA); the next trade "
        "covers them.",
        "Raw trades hold those of the insurance fund, far off the market; aggregate ones do not.",
        "Two connections may cut the same updates at other places: each has its own chain.",
    ),
    hallmarks=('"pu":',),  # the update before, which spot does not name
    codec=FuturesCodec,
    rest=REST,
    bulk_reads=book_tickers("/fapi/v1", 5),
)

PROFILES: Final = (_PROFILE,)
