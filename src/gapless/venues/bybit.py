"""Bybit V5: spot, linear and inverse contracts, and options.

Four endpoints speak one dialect; what differs between them is declared here as data.  A subscribe
is granted whole or not at all, but on the options' endpoint, which lists what it granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from gapless.core.budget import Window
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.venues._bybit import COINS, BybitCodec, BybitRest, next_page
from gapless.venues._bybit_bulk import tickers
from gapless.venues._profile import (
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    Profile,
    ServerTime,
)

__all__ = ["PROFILES"]

_READ: Final = "2026-11-22"
_V5: Final = "bybit-exchange/docs, docs/v5"
_CON: Final = f"{_V5}/websocket/wss-authentication.mdx"
_OB: Final = f"{_V5}/websocket/public/orderbook.mdx"
_TR: Final = f"{_V5}/websocket/public/trade.mdx"
_TK: Final = f"{_V5}/websocket/public/ticker.mdx"
_RL: Final = f"{_V5}/rate-limit.mdx"
_SS: Final = f"{_V5}/websocket/system/system-status.mdx"
_IN: Final = f"{_V5}/market/instrument.mdx"


@dataclass(frozen=True, slots=True)
class _Market:
    """What one endpoint has of its own.

    Args:
        category: The venue's word for it, also the end of the path.
        depths: Levels of the books that are offered as changes.
        best: Whether there is a book of one level.
        per_request: Most topics in one subscribe.
        per_connection: Most topics on one connection.
        queries: What lists its instruments.
        pong: How it answers a ping.
        ack: How it answers a subscribe.
        seen: What traffic has shown of the numbers of its books.
        traps: What is worth knowing of this market alone.
    """

    category: str
    title: str
    depths: tuple[str, ...]
    best: bool
    per_request: int | None
    per_connection: int | None
    queries: tuple[tuple[tuple[str, str], ...], ...]
    pong: str
    ack: str
    seen: str
    traps: tuple[str, ...]


_WHOLE: Final = "success and our req_id; a request is granted whole or not at all"
_LEVELS: Final = ("50", "200", "1000")
_MERGED: Final = (
    "Tickers are changes: a field that is absent has not changed.",
    "Contracts before their launch are silent until trading is continuous.",
)


def _category(name: str) -> tuple[tuple[str, str], ...]:
    return (("category", name),)


def _contracts(name: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return what lists contracts: those that trade, and those before their launch."""
    return (_category(name), (*_category(name), ("status", "PreLaunch")))


_BUSIEST: Final = {"spot": "BTCUSDT", "linear": "BTCUSDT", "inverse": "BTCUSD", "option": "BTC"}

_MARKETS: Final = (
    _Market(
        category="spot",
        title="Bybit Spot",
        depths=_LEVELS,
        best=True,
        per_request=10,
        per_connection=None,
        queries=(_category("spot"),),
        pong='success true, ret_msg "pong", op "ping"',
        ack=_WHOLE,
        seen="not seen in traffic of spot; in that of linear, see there",
        traps=("A subscribe may name ten topics at most.",),
    ),
    _Market(
        category="linear",
        title="Bybit Linear",
        depths=_LEVELS,
        best=True,
        per_request=None,
        per_connection=None,
        queries=_contracts("linear"),
        pong='success true, ret_msg "pong", op "ping", req_id',
        ack=_WHOLE,
        seen="seen in traffic of August 2026: 1,594 of 1,594 changes rise by one",
        traps=_MERGED,
    ),
    _Market(
        category="inverse",
        title="Bybit Inverse",
        depths=_LEVELS,
        best=True,
        per_request=None,
        per_connection=None,
        queries=_contracts("inverse"),
        pong='success true, ret_msg "pong", op "ping", req_id',
        ack=_WHOLE,
        seen="not seen in traffic of inverse; in that of linear, see there",
        traps=_MERGED,
    ),
    _Market(
        category="option",
        title="Bybit Options",
        depths=("25", "100"),
        best=False,
        per_request=None,
        per_connection=2000,
        queries=tuple((*_category("option"), ("baseCoin", coin)) for coin in COINS),
        pong='op "pong" and a time',
        ack="COMMAND_RESP with successTopics and failTopics, without our req_id",
        seen="not seen in traffic of options; in that of linear, see there",
        traps=(
            "Trades are subscribed by coin, and each names its option.",
            "Implied volatilities are fractions; 0 stands for none.",
            "A bid of 0 is no bid.",
            "Answers to subscribe and unsubscribe look the same.",
            "There is no book of one level; the ticker has best bid and ask.",
        ),
    ),
)


def _trades(market: _Market) -> Channel:
    by_coin = market.category == "option"
    return Channel(
        name="trades",
        topics=MappingProxyType({"raw": "publicTrade.{upper}"}),
        numbering=Fact(
            Numbering.IDENTITY,
            _TR,
            _READ,
            note="ids have no order; seq is shared by several trades",
        ),
        arbitration=Arbitration.BY_IDENTITY,
        speaks_on_subscribe=Fact(
            False,
            "seen in traffic of August 2026",
            _READ,
            "M",
            "a symbol is a coin here, such as BTC" if by_coin else "",
        ),
    )


def _book(market: _Market) -> Channel:
    return Channel(
        name="book",
        topics=MappingProxyType({depth: f"orderbook.{depth}.{{upper}}" for depth in market.depths}),
        numbering=Fact(
            Numbering.DENSE,
            f"{_OB}; {market.seen}",
            _READ,
            "M",
            "the document promises +1 for the full book only; 1 is a restart of the service",
        ),
        arbitration=Arbitration.BY_SEQUENCE,
        snapshot=Fact(
            SnapshotFrom.STREAM,
            _OB,
            _READ,
            note="first message, and again at any time; REST has the numbers of 1,000 levels",
        ),
        speaks_on_subscribe=Fact(True, _OB, _READ),
    )


def _best() -> Channel:
    return Channel(
        name="bbo",
        topics=MappingProxyType({"1": "orderbook.1.{upper}"}),
        numbering=Fact(
            Numbering.ORDERED,
            _OB,
            _READ,
            note="whole images; after 3 s without a change the last one is repeated",
        ),
        arbitration=Arbitration.BY_SEQUENCE,
        speaks_on_subscribe=Fact(True, _OB, _READ),
    )


def _ticker() -> Channel:
    return Channel(
        name="ticker",
        topics=MappingProxyType({"24h": "tickers.{upper}"}),
        numbering=Fact(Numbering.NONE, _TK, _READ, note="time in milliseconds only"),
        arbitration=Arbitration.BY_TIME,
        speaks_on_subscribe=Fact(True, f"{_TK}; seen in traffic of August 2026", _READ, "M"),
    )


_ERRORS: Final = MappingProxyType(
    {
        0: "subscribe refused, in words only: SubscriptionRejected",
        10001: "wrong parameter: RequestRejected",
        10003: "wrong API key: LoginRejected",
        10004: "wrong sign: LoginRejected",
        10006: "too many requests: RateLimited",
        10016: "internal error, or a restart: RequestRejected, try again",
        10429: "the system protects itself: RateLimited",
    }
)


def _profile(market: _Market) -> Profile:
    path = f"/v5/public/{market.category}"
    best = (_best(),) if market.best else ()
    return Profile(
        name=f"bybit.{market.category}",
        title=market.title,
        endpoints=Fact(
            Endpoints(
                public=(f"wss://stream.bybit.com{path}",),
                test=(f"wss://stream-testnet.bybit.com{path}",),
                path=path,
                independent=None,
            ),
            _CON,
            _READ,
            note="accounts of other regions have hosts of their own",
        ),
        rest_endpoints=Fact(
            ("https://api.bybit.com", "https://api.bytick.com"),
            f"{_V5}/guide.mdx, Authentication",
            _READ,
            note="addresses in the US and mainland China get 403",
        ),
        lifetime_ns=Fact(None, _CON, _READ, "L", "no maximum is documented"),
        shutdown_notice=Fact(
            None, _CON, _READ, note="you may get disconnected at any time, says the document"
        ),
        server_ping_ns=Fact(None, _CON, _READ, "L", "no ping frames documented"),
        pong_within_ns=Fact(None, _CON, _READ, "L"),
        heartbeat=Fact(f"the answer to op ping: {market.pong}", _CON, _READ),
        client_ping=Fact("allowed; not documented for ping frames", _CON, _READ, "L"),
        client_beat_ns=Fact(
            20 * SECOND, _CON, _READ, note="closed after 10 minutes without ping and data"
        ),
        dials=Fact(
            (Window(500, 300 * SECOND),), f"{_CON}, IP limits", _READ, note="for each domain"
        ),
        connections=Fact(1000, _RL, _READ, note="for each address and market"),
        messages=Fact((), _CON, _READ, "L", "none documented"),
        topics_per_request=Fact(market.per_request, f"{_CON}, Args limits", _READ),
        request_bytes=Fact(21_000, f"{_CON}, Args limits", _READ),
        topics_per_connection=Fact(market.per_connection, f"{_CON}, Args limits", _READ),
        topic_bytes_per_connection=Fact(
            21_000, f"{_CON}, Args limits", _READ, note="characters of args"
        ),
        connection_counter=Fact(None, _CON, _READ),
        pools=Fact(
            MappingProxyType({"http": Window(600, 5 * SECOND)}),
            _RL,
            _READ,
            note="for each address; 403 beyond, and at least ten minutes away",
        ),
        bulk=Fact(
            "GET /v5/market/tickers for the market; options by coin",
            f"{_V5}/market/tickers.mdx",
            _READ,
            "M",
            "prices and the reply's time; whether they hold retail orders is not documented",
        ),
        login=Fact(None, _CON, _READ, note="market data needs none"),
        ack=Fact(market.ack, _CON, _READ, "H" if market.category in {"linear", "option"} else "M"),
        checksum=Fact(None, _OB, _READ, note="none; the numbers are the proof"),
        compression=Fact(None, "not documented", _READ, "L", "none is offered"),
        maintenance=Fact(
            "system.status on /v5/public/misc/status; GET /v5/system/status",
            _SS,
            _READ,
            note="under 10 s it may be unannounced",
        ),
        errors=Fact(_ERRORS, f"{_V5}/error.mdx", _READ),
        framing=Fact(
            "JSON text {topic, type, ts, data}; the order of keys differs by market", _OB, _READ
        ),
        reconciliation=Fact(
            "GET order/realtime, order/history, execution/list",
            f"{_V5}/order",
            _READ,
            note="unfilled cancelled orders are kept for 24 h",
        ),
        cutovers=Fact((), "bybit-exchange/docs, changelog", _READ),
        channels=(_trades(market), _book(market), *best, _ticker()),
        server_time=Fact(
            ServerTime("/v5/market/time", "http", ("result", "timeNano"), 1),
            f"{_V5}/market/time.mdx",
            _READ,
        ),
        busiest=("trades", _BUSIEST[market.category]),
        traps=(
            "A snapshot may come at any time, and u = 1 is one whatever the type says.",
            "After 3 s without a change the book of one level is sent again, under the same u.",
            "A pong has five shapes, and in most of them op is ping.",
            "One bad topic, or one that is subscribed already, spoils a whole request.",
            "Books of 50 and 200 levels cannot be repaired from REST.",
            "args may have 21,000 characters on one connection.",
            f"Instruments come in pages of 1,000 at most ({_IN}).",
            *market.traps,
        ),
        codec=partial(BybitCodec, options=market.category == "option"),
        rest=BybitRest(market.queries),
        more_instruments=next_page,
        bulk_reads=tickers(market.category),
    )


PROFILES: Final = tuple(_profile(market) for market in _MARKETS)
