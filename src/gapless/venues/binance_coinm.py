"""Binance COIN-M Futures: market data streams.

The dialect of USDⓈ-M on a host of its own: depth updates are chains by ``pu``, and the snapshot
comes over REST and lies inside the first update that is applied.  Sizes are numbers of contracts.
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
_DOCS: Final = "developers.binance.com, COIN-M Futures"
_WS: Final = f"{_DOCS}, Websocket Market Streams"
_SUB: Final = f"{_DOCS}, Live Subscribing/Unsubscribing to streams"
_BOOK: Final = f"{_DOCS}, How to manage a local order book correctly"
_PART: Final = f"{_DOCS}, Partial Book Depth Streams"
_INFO: Final = f"{_DOCS}, General Info"
_ERR: Final = f"{_DOCS}, Error Codes"

DEPTH_LIMIT: Final = 1000  # levels a side, the most there are; weight 20
DEPTH_WEIGHT: Final = 20

_LEVELS: Final = (5, 10, 20)  # of partial depth


_EVERY: Final = MappingProxyType({"": "@100ms", "-250ms": "", "-500ms": "@500ms"})

_LIST: Final = RestGet("/dapi/v1/exchangeInfo", (), "weight", 1)
_PAST: Final = MappingProxyType({"aggTrade": ("aggTrades", 20)})  # single trades need a key
REST: Final = BinanceRest("/dapi/v1", (DEPTH_LIMIT, DEPTH_WEIGHT), _PAST, _LIST, read_futures)

_PROFILE: Final = Profile(
    name="binance.coinm",
    title="Binance COIN-M Futures",
    endpoints=Fact(
        Endpoints(
            public=("wss://dstream.binance.com/stream",),
            test=("wss://dstream.binancefuture.com/stream",),
            path="/stream",
            independent=None,
        ),
        _WS,
        _READ,
        "M",
        "the paths /public and /market of USDⓈ-M are not documented here, but some clients of "
        "2026 dial them, and one reports that /ws acks and stays silent",
    ),
    rest_endpoints=Fact(("https://dapi.binance.com",), f"{_DOCS}, Order Book", _READ),
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
    client_ping=Fact("allowed; counted as inbound messages, as on spot", _WS, _READ, "L"),
    dials=Fact(
        (Window(300, 300 * SECOND),), f"{_WS}; commonly quoted, stated for spot", _READ, "L"
    ),
    connections=Fact(None, _WS, _READ, note="none documented"),
    messages=Fact((Window(10, SECOND),), _WS, _READ),
    topics_per_request=Fact(None, _WS, _READ, note="none documented; bounded by bytes"),
    topics_per_connection=Fact(1024, _WS, _READ, "M", "raised from 200 in 2025"),
    pools=Fact(
        MappingProxyType({"weight": Window(2400, 60 * SECOND)}),
        f"{_DOCS}, Exchange Information",
        _READ,
        note=f"depth of {DEPTH_LIMIT} levels costs {DEPTH_WEIGHT}; past aggregate trades 20",
    ),
    bulk=Fact(
        "GET /dapi/v1/ticker/bookTicker without a symbol: all of them, weight 5",
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
    cutovers=Fact((), _DOCS, _READ, "M", "none known that concern market data"),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"agg": "{lower}@aggTrade", "raw": "{lower}@trade"}),
            numbering=Fact(
                Numbering.DENSE,
                "seen in traffic: 44 of 44 aggregate ids in 2021 and 5,234 of 5,234 trade ids in "
                "2024 rise by one",
                _READ,
                "M",
                "the documents do not say; raw is not documented at all",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(False, _WS, _READ),
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
        ),
    ),
    server_time=Fact(
        ServerTime("/dapi/v1/time", "weight", ("serverTime",), MS),
        f"{_DOCS}, Check Server Time",
        _READ,
        "M",
    ),
    busiest=("trades", "BTCUSD_PERP"),
    traps=(
        "Whether the paths /public and /market are needed here too is not settled: a line that "
        "is acked and silent is the sign.",
        "pu is the chain; ids skip, so U is not the last u plus one.",
        "The snapshot lies inside the first update: U <= lastUpdateId <= u, without plus one.",
        "Partial depth looks exactly like diff depth: only the stream's name tells them apart.",
        "Sizes are contracts (of 100 or 10 USD), and volume is too.",
        "A contract that is delivered has an empty funding rate, and 0 for its time.",
        "A pair such as btcusd has a mark price stream of its own, which is an array.",
        "Ids of requests must be unsigned integers.",
        "Raw trades may hold numbers that name no trade (price 0, size 0, type NA).",
    ),
    hallmarks=('"pu":', '"ps":"'),  # the pair: no other market of the family sends it
    codec=FuturesCodec,
    rest=REST,
    bulk_reads=book_tickers("/dapi/v1", 5),
)

PROFILES: Final = (_PROFILE,)
