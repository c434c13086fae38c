"""OKX: spot, swaps, futures and options over one socket, API v5.

What other venues say in one ticker is spread over several channels here.  Each is a variant of our
``ticker`` and fills the fields it has.  Checksums are retired: they are 0 since June 2026, and real
ones are found in older recordings only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from gapless.core.budget import Window
from gapless.core.checksum import Checksum, TextLevel
from gapless.core.codec import Request
from gapless.core.secrets import Secrets
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.venues._okx import SUMMARY, OkxCodec, OkxRest, option_families
from gapless.venues._okx_bulk import TICKERS
from gapless.venues._profile import (
    MS,
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    Profile,
    ServerTime,
)

__all__ = ["CHECKSUM", "PROFILES", "login_request"]

_READ: Final = "2026-11-22"
_DOC: Final = "www.okx.com/docs-v5"
_CN: Final = f"{_DOC}, WebSocket, Connect"
_SUB: Final = f"{_DOC}, WebSocket, Subscribe"
_BK: Final = f"{_DOC}, WS / Order book channel"
_TR: Final = f"{_DOC}, WS / Trades channel"
_TK: Final = f"{_DOC}, WS / Tickers channel"
_PD: Final = f"{_DOC}, Public data, WebSocket"
_ER: Final = f"{_DOC}, Error code, WebSocket, Public"

BUSINESS: Final = "/ws/v5/business"


def login_request(request_id: int, secrets: Secrets, wall_ns: int, nonce: str) -> Request:
    """Return the login; see `gapless.venues._profile.LoginMaker`.

    The venue knows no id here, and answers before anything else.
    """
    del nonce
    seconds = str(wall_ns // SECOND)
    message = f"{seconds}GET/users/self/verify".encode()
    digest = hmac.new(secrets.secret.encode(), message, hashlib.sha256).digest()
    args = {
        "apiKey": secrets.key,
        "passphrase": secrets.passphrase,
        "timestamp": seconds,
        "sign": base64.b64encode(digest).decode(),
    }
    hidden = dict.fromkeys(args, "***") | {"timestamp": seconds}
    text, shown = (
        msgspec.json.encode({"op": "login", "args": [a]}).decode() for a in (args, hidden)
    )
    return Request(request_id, "login", text, (), "subscribe", 1, shown)


def _checksum(bids: Sequence[TextLevel], asks: Sequence[TextLevel]) -> int:
    """Return the signed CRC-32 of the best levels, bid and ask in turn."""
    parts: list[str] = []
    for index in range(max(len(bids), len(asks))):
        for side in (bids, asks):
            parts += side[index] if index < len(side) else ()
    unsigned = zlib.crc32(":".join(parts).encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


CHECKSUM: Final = Checksum(depth=25, compute=_checksum)
"""As the venue documented it until June 2026.  Nothing but recordings needs it any more."""


_ERRORS: Final = MappingProxyType(
    {
        60004: "invalid timestamp: LoginRejected",
        60005: "invalid apiKey: LoginRejected",
        60006: "timestamp request expired: LoginRejected, 30 s around the venue's time",
        60007: "invalid sign: LoginRejected",
        60008: "this endpoint has no such channel: SubscriptionRejected",
        60009: "login failure: LoginRejected",
        60011: "please log in: SubscriptionRejected",
        60012: "invalid request: RequestRejected",
        60013: "invalid args: RequestRejected",
        60014: "requests too frequent: RateLimited",
        60018: "wrong URL, or no such channel or instrument: SubscriptionRejected",
        60024: "wrong passphrase: LoginRejected",
        60032: "no such API key here: LoginRejected, keys belong to a region and environment",
        63999: "internal error at login: LoginRejected, try again",
        64001: "the channel moved to the business endpoint: SubscriptionRejected",
        64003: "the fee tier is too low for this channel: SubscriptionRejected",
        64004: "conflicting book channels of one instrument: SubscriptionRejected",
        64007: "internal error: RequestRejected, try again",
        64008: "the connection will be closed for an upgrade: notice, 60 s ahead",
    }
)

_STREAMED: Final = Fact(
    SnapshotFrom.STREAM,
    _BK,
    _READ,
    note="first message after subscribing; on a gap unsubscribe and subscribe",
)
_TIMED: Final = Fact(Numbering.NONE, _TK, _READ, note="time in milliseconds only")

_PROFILE: Final = Profile(
    name="okx",
    title="OKX",
    endpoints=Fact(
        Endpoints(
            public=("wss://ws.okx.com/ws/v5/public",),
            test=("wss://wspap.okx.com/ws/v5/public",),
            path="/ws/v5/public",
            independent=None,
        ),
        f"{_DOC}, Production trading services; changelog of October 2026",
        _READ,
        "M",
        "port 8443 was retired on 31 October 2026; other hosts serve Europe, the US and Australia",
    ),
    rest_endpoints=Fact(
        ("https://openapi.okx.com", "https://www.okx.com"),
        f"{_DOC}, Production trading services",
        _READ,
    ),
    lifetime_ns=Fact(None, _CN, _READ, note="no maximum is documented; notice 64008 instead"),
    shutdown_notice=Fact(
        "event notice, code 64008, about 60 s before closing",
        f"{_DOC}, WebSocket, Notification",
        _READ,
        note="on the public and private endpoints, not on business",
    ),
    server_ping_ns=Fact(None, _CN, _READ, "L", "no ping frames documented"),
    pong_within_ns=Fact(None, _CN, _READ, "L"),
    heartbeat=Fact("the text pong, when asked with the text ping", _CN, _READ),
    client_ping=Fact("allowed; whether ping frames are counted is not documented", _CN, _READ, "L"),
    client_beat_ns=Fact(
        20 * SECOND, _CN, _READ, note="closed (4004) after 30 s without data or ping"
    ),
    dials=Fact((Window(3, SECOND),), _CN, _READ),
    connections=Fact(
        None, f"{_DOC}, WebSocket, Connection count limit", _READ, note="limits private ones only"
    ),
    messages=Fact((), _CN, _READ, note="pings are free; requests are paid from the pool"),
    topics_per_request=Fact(None, _SUB, _READ, note="bounded by bytes"),
    request_bytes=Fact(
        20_000,
        _SUB,
        _READ,
        note="64 KB of JSON are allowed; our names of topics grow less than threefold in it",
    ),
    topics_per_connection=Fact(
        None, _BK, _READ, "M", "fewer than 30 books of 50 or 400 levels are recommended"
    ),
    topic_bytes_per_connection=Fact(None, _SUB, _READ, "L", "none documented"),
    connection_counter=Fact(None, _BK, _READ),
    pools=Fact(
        MappingProxyType({"subscribe": Window(480, 3600 * SECOND), "rest": Window(20, 2 * SECOND)}),
        f"{_CN}; GET / Trades history; Get instruments",
        _READ,
        note="480 subscribes, unsubscribes and logins are allowed to each connection; we share"
        " them among all of an address, which is stricter",
    ),
    bulk=Fact(
        "GET /api/v5/market/tickers for each type of instrument",
        f"{_DOC}, GET / Tickers",
        _READ,
        "M",
        "prices and times; whether they hold retail orders, as books do not, is not documented",
    ),
    login=Fact(
        "op login: HMAC-SHA256 over seconds, GET and /users/self/verify; books by tick need it",
        f"{_DOC}, WebSocket, Login",
        _READ,
        note="neither request nor answer has an id",
    ),
    ack=Fact(
        "one for each arg, with our id; an error has an id and no arg: its text names the topic",
        _SUB,
        _READ,
    ),
    checksum=Fact(
        None,
        _BK,
        _READ,
        note="deprecated, and always 0 since 23 June 2026; the chain of seqId is the proof",
    ),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact(
        "status channel; GET /api/v5/system/status",
        f"{_DOC}, Status",
        _READ,
        note="under 5 s it may be unannounced",
    ),
    errors=Fact(_ERRORS, _ER, _READ),
    framing=Fact("JSON text {arg, data} or {event}; ping and pong are bare words", _CN, _READ),
    reconciliation=Fact(
        "GET trade/orders-pending, order, orders-history, fills",
        f"{_DOC}, Order book trading, Trade",
        _READ,
        note="unfilled cancelled orders are kept for 2 h",
    ),
    cutovers=Fact(
        (
            "2026-06-23: checksum of books fixed to 0",
            "2026-10-31: port 8443 retired",
        ),
        f"{_DOC}, changelog of October 2026",
        _READ,
    ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"agg": "trades:{symbol}", "all": "trades-all:{symbol}"}),
            numbering=Fact(
                Numbering.DENSE,
                f"{_TR}; seen in traffic of February 2022: 13 of 13 trade ids rise by one",
                _READ,
                "M",
                "tradeId and count name the range that a message covers; that ids have no holes"
                " is seen, not promised",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(
                False,
                "seen in traffic of February 2022",
                _READ,
                "M",
                "the last trade comes at once where there is one; it may be hours old",
            ),
            paths=MappingProxyType({"all": BUSINESS}),
        ),
        Channel(
            name="book",
            topics=MappingProxyType(
                {
                    "400": "books:{symbol}",
                    "50-tbt": "books50-l2-tbt:{symbol}",
                    "400-tbt": "books-l2-tbt:{symbol}",
                }
            ),
            numbering=Fact(
                Numbering.CHAIN,
                f"{_BK}, Sequence ID",
                _READ,
                note="prevSeqId names the change before; equal to seqId it says that nothing"
                " changed, above it that the venue counts anew",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            snapshot=_STREAMED,
            speaks_on_subscribe=Fact(True, _BK, _READ),
            checksum=CHECKSUM,
            private=frozenset({"50-tbt", "400-tbt"}),
            unlike=(
                Channel(
                    name="book",
                    topics=MappingProxyType({"5": "books5:{symbol}"}),
                    numbering=Fact(Numbering.ORDERED, f"{_BK}, Sequence ID", _READ),
                    arbitration=Arbitration.BY_SEQUENCE,
                    snapshot=Fact(SnapshotFrom.EVERY, _BK, _READ),
                    speaks_on_subscribe=Fact(True, _BK, _READ),
                ),
            ),
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"tbt": "bbo-tbt:{symbol}"}),
            numbering=Fact(
                Numbering.ORDERED, f"{_BK}, Sequence ID", _READ, note="seqId; it does not rise by 1"
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(True, _BK, _READ),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType(
                {
                    "24h": "tickers:{symbol}",
                    "mark": "mark-price:{symbol}",
                    "index": "index-tickers:{symbol}",
                    "funding": "funding-rate:{symbol}",
                    "open-interest": "open-interest:{symbol}",
                    "greeks": f"{SUMMARY}:{{symbol}}",
                }
            ),
            numbering=_TIMED,
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(
                True,
                f"{_PD}; seen in traffic of February 2022 for tickers",
                _READ,
                "M",
                "funding comes every 30 to 90 s, a mark price that rests every 10 s",
            ),
        ),
    ),
    server_time=Fact(
        ServerTime("/api/v5/public/time", "rest", ("data", 0, "ts"), MS),
        f"{_DOC}, Get system time",
        _READ,
    ),
    busiest=("trades", "BTC-USDT"),
    traps=(
        "Port 8443 is gone, though older documents print it.",
        "The checksum is 0 and means nothing; checking it makes every book look broken.",
        "A seqId below its prevSeqId is legal, and so is one equal to it with no levels.",
        "ping and pong are bare words, and no JSON.",
        "channel-conn-count-error comes after the ack.",
        "All trades are on the business endpoint; the others are on the public one.",
        "An error has no arg; its text may name channel and instrument.",
        "The notice before a restart comes 60 s ahead, and not on the business endpoint.",
        "Sizes are contracts for derivatives, and coins for spot.",
        "The login's time is in seconds; REST wants ISO 8601.",
        "ids of requests are letters and digits only.",
        "Options are summed up by family: one subscription brings every strike.",
        "Greeks are Black-Scholes ones here; the venue also sends them in coins.",
    ),
    codec=OkxCodec,
    rest=OkxRest(),
    more_instruments=option_families,
    login_request=login_request,
    bulk_reads=TICKERS,
)

PROFILES: Final = (_PROFILE,)
