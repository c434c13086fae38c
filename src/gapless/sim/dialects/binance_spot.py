"""Binance spot: market streams and the REST reads around them.

Source: binance-spot-api-docs (web-socket-streams.md, rest-api.md, errors.md), July 2026.  Where
the documents are silent, this is what the simulator does, and a client must not lean on it:

* close codes: 1008 for broken limits and missing pongs, 1001 at the end of a lifetime;
* a stream that does not exist is acknowledged like any other and never speaks;
* an address is banned (418) after the third time within five minutes that a connection was cut
  for its message rate, or when it goes on after 429.

``timeUnit=MICROSECOND`` is ignored: times are milliseconds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from gapless.sim.dialects import _binance_spot_topics as topics
from gapless.sim.dialects._base import MS, SECOND, Dialect, Recorded, RestReply, SimOptions
from gapless.sim.dialects._binance_spot_symbols import spec_of, symbol_info
from gapless.sim.limits import FixedWindow, SlidingWindow
from gapless.sim.matching import ASK, BID
from gapless.sim.session import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gapless.sim.dialects._base import Topic
    from gapless.sim.session import SimSession
    from gapless.sim.world import Market, SymbolSpec

__all__ = ["BinanceSpot"]

PING_EVERY_NS: Final = 20 * SECOND
PONG_WITHIN_NS: Final = 60 * SECOND
LIFETIME_NS: Final = 24 * 3600 * SECOND
STREAMS_MAX: Final = 1024
MESSAGES_MAX: Final = 5  # a second: pings, pongs and control frames together
DIALS_MAX: Final = 300
DIALS_WINDOW_NS: Final = 300 * SECOND
WEIGHT_MAX: Final = 6000
_OFFENCES_MAX: Final = 3
_BAN_AFTER_429: Final = 10  # requests in spite of 429 until the ban

_PAST_MAX: Final = 1000  # trades in one reply
_WEIGHTS: Final = ((100, 5), (500, 25), (1000, 50), (5000, 250))
_STREAM: Final = re.compile(
    r"([^@]+)@(?:(trade|aggTrade|bookTicker|ticker)|depth(5|10|20)?(@100ms|@1000ms)?)"
)


class _State:
    """What the venue keeps for each session."""

    __slots__ = ("inbound", "pings")

    def __init__(self) -> None:
        self.inbound = SlidingWindow(MESSAGES_MAX, SECOND)
        self.pings: list[bytes] = []  # payloads not answered yet, oldest first


class _Peer:
    """What the venue keeps for each address."""

    __slots__ = ("banned_until_ns", "bans", "defiance", "dials", "offences", "weight")

    def __init__(self) -> None:
        self.dials = SlidingWindow(DIALS_MAX, DIALS_WINDOW_NS)
        self.weight = FixedWindow(WEIGHT_MAX, 60 * SECOND)
        self.offences = SlidingWindow(_OFFENCES_MAX - 1, 300 * SECOND)
        self.defiance = 0
        self.bans = 0
        self.banned_until_ns = 0


class BinanceSpot(Dialect):
    """The dialect of Binance spot."""

    venue: ClassVar[str] = "binance.spot"
    usual_symbols: ClassVar[tuple[str, ...]] = ("BTCUSDT", "ETHUSDT")
    invented: ClassVar[str] = "SIM{:03}USDT"
    unsupported: ClassVar[frozenset[str]] = frozenset({"maintenance"})
    size_digits: ClassVar[int | None] = 8

    def __init__(self, options: SimOptions | None = None) -> None:
        super().__init__(options)
        self._peers: dict[str, _Peer] = {}

    # -- what there is --------------------------------------------------------------------------

    @classmethod
    def specs(cls, names: Sequence[str]) -> list[SymbolSpec]:
        return [spec_of(name) for name in names]

    def default_topics(self, symbol: str) -> list[str]:
        stem = symbol.lower()
        return [f"{stem}@{kind}" for kind in ("trade", "depth@100ms", "bookTicker", "ticker")]

    def make_topic(self, name: str, node: int) -> Topic | None:
        match = _STREAM.fullmatch(name)
        world = self.exchange.world
        if match is None or world is None:
            return None
        stem, kind, levels, speed = match.groups()
        market = world.by_name.get(stem.upper())
        # Stream names take lower case only.
        if market is None or stem != stem.lower():
            return None
        interval_ns = 100 * MS if speed == "@100ms" else SECOND
        match kind:
            case "trade":
                return topics.Trades(self, name, "trades", market, node)
            case "aggTrade":
                return topics.AggTrades(self, name, market, node)
            case "bookTicker":
                return topics.BookTicker(self, name, market, node)
            case "ticker":
                return topics.Ticker(self, name, "ticker", market, node, interval_ns=SECOND)
            case _ if levels is None:
                return topics.Depth(self, name, market, node, interval_ns=interval_ns)
            case _:
                return topics.PartialDepth(
                    self, name, market, node, interval_ns=interval_ns, levels=int(levels)
                )

    def wrapper(self, name: str) -> tuple[str, str]:
        return f'{{"stream":{msgspec.json.encode(name).decode()},"data":', "}"

    def number_of(self, market: Market) -> int:
        return market.book.number

    # -- connections ----------------------------------------------------------------------------

    def _peer(self, peer_ip: str) -> _Peer:
        return self._peers.setdefault(peer_ip, _Peer())

    def admit(self, path: str, query: dict[str, str], peer_ip: str, now_ns: int) -> None:
        streams = self._streams_of(path, query)
        if streams is None:
            raise Refused(404)
        if len(streams) > STREAMS_MAX:
            raise Refused(400)
        if not self.options.limits:
            return
        peer = self._peer(peer_ip)
        if now_ns < peer.banned_until_ns:
            raise Refused(418, _whole_seconds(peer.banned_until_ns - now_ns))
        if not peer.dials.use(now_ns):
            raise Refused(429, _whole_seconds(peer.dials.wait_ns(now_ns)))

    @staticmethod
    def _streams_of(path: str, query: dict[str, str]) -> list[str] | None:
        """Return the streams that a URL asks for; `None` if there is no such path."""
        path = unquote(path).rstrip("/")
        if path == "/stream":
            return [name for name in query.get("streams", "").split("/") if name]
        if path == "/ws" or path.startswith("/ws/"):
            return [name for name in path.removeprefix("/ws").split("/") if name]
        return None

    def opened(self, session: SimSession, query: dict[str, str], now_ns: int) -> None:
        session.state = _State()
        session.bare = session.path.startswith("/ws")
        for name in self._streams_of(session.path, query) or ():
            self._join(session, name, now_ns)
        call_at = self.exchange.call_at
        call_at(now_ns + PING_EVERY_NS, lambda ns: self._ping(session, ns))
        if self.options.lifetime_s is None:
            end = self.exchange.end
            call_at(now_ns + LIFETIME_NS, lambda ns: end(session, ns, "lifetime", close=(1001, "")))

    def _join(self, session: SimSession, name: str, now_ns: int) -> None:
        """Subscribe, unless a fault makes the stream one that never speaks."""
        symbol = name.partition("@")[0].upper()
        strike = self.exchange.faults.strike
        if session.topics.get(name) is None and strike(
            "refuse_symbol", symbol=symbol, topic=name, session=session.id
        ):
            session.topics[name] = None
        else:
            self.subscribe(session, name, now_ns)

    def _ping(self, session: SimSession, now_ns: int) -> None:
        if not session.open:
            return
        payload = str(now_ns // MS).encode()
        session.state.pings.append(payload)
        session.ping(payload)
        call_at = self.exchange.call_at
        call_at(now_ns + PING_EVERY_NS, lambda ns: self._ping(session, ns))
        call_at(now_ns + PONG_WITHIN_NS, lambda ns: self._check_pong(session, payload, ns))

    def _check_pong(self, session: SimSession, payload: bytes, now_ns: int) -> None:
        if session.open and payload in session.state.pings:
            self.exchange.end(session, now_ns, "pong timeout", close=(1008, "Pong timeout"))

    def on_ping(self, session: SimSession, payload: bytes, now_ns: int) -> None:
        if self._count_inbound(session, now_ns):
            session.pong(payload)

    def on_pong(self, session: SimSession, payload: bytes, now_ns: int) -> None:
        state: _State = session.state
        # Only an answer keeps alive; an unsolicited pong is tolerated and counted.
        if payload in state.pings:
            del state.pings[: state.pings.index(payload) + 1]
        self._count_inbound(session, now_ns)

    def on_slow(self, session: SimSession, now_ns: int) -> None:
        self.exchange.end(session, now_ns, "slow reader", reset=True)

    def _count_inbound(self, session: SimSession, now_ns: int) -> bool:
        if not self.options.limits or session.state.inbound.use(now_ns):
            return True
        peer = self._peer(session.peer_ip)
        if not peer.offences.use(now_ns):
            self._ban(peer, now_ns)
        self.exchange.end(session, now_ns, "message rate", close=(1008, "Too many requests"))
        return False

    def _ban(self, peer: _Peer, now_ns: int) -> None:
        peer.banned_until_ns = now_ns + int(self.options.ban_s * SECOND) * 2 ** min(peer.bans, 10)
        peer.bans += 1

    # -- control messages -------------------------------------------------------------------------

    def on_text(self, session: SimSession, text: str, now_ns: int) -> None:
        if not self._count_inbound(session, now_ns):
            return
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            self._error(session, now_ns, 3, f"Invalid JSON: {error}", None)
            return
        if not isinstance(request, dict):
            self._error(session, now_ns, 2, "Invalid request: request must be an object", None)
            return
        request_id = request.get("id")
        if not (
            request_id is None
            or (isinstance(request_id, int) and not isinstance(request_id, bool))
            or (isinstance(request_id, str) and len(request_id) <= 36)
        ):
            message = "Invalid request: request ID must be an integer or a string"
            self._error(session, now_ns, 2, message, None)
            return
        unknown = next((key for key in request if key not in ("method", "params", "id")), None)
        if unknown is not None:
            message = f'Invalid request: unknown property "{unknown}"'
            self._error(session, now_ns, 2, message, request_id)
            return
        self._command(session, request.get("method"), request.get("params"), request_id, now_ns)

    def _command(
        self, session: SimSession, method: Any, params: Any, request_id: Any, now_ns: int
    ) -> None:
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not isinstance(params, list) or not all(isinstance(p, str) for p in params):
                message = "Invalid request: params must be an array of strings"
                self._error(session, now_ns, 2, message, request_id)
                return
            if method == "SUBSCRIBE":
                added = sum(1 for name in dict.fromkeys(params) if name not in session.topics)
                if self.options.limits and len(session.topics) + added > STREAMS_MAX:
                    message = f"Invalid request: no more than {STREAMS_MAX} streams"
                    self._error(session, now_ns, 2, message, request_id)
                    return
                for name in params:
                    self._join(session, name, now_ns)
            else:
                for name in params:
                    self.unsubscribe(session, name)
            self._result(session, now_ns, None, request_id, acknowledges=True)
        elif method == "LIST_SUBSCRIPTIONS":
            names = [
                name
                for name, topic in session.topics.items()
                if topic is not None or self.options.list_unknown
            ]
            self._result(session, now_ns, names, request_id)
        elif method in ("SET_PROPERTY", "GET_PROPERTY"):
            self._property(session, method, params, request_id, now_ns)
        else:
            message = "Invalid request: unknown variant, expected one of `SUBSCRIBE`, "
            message += "`UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
            self._error(session, now_ns, 2, message, request_id)

    def _property(
        self, session: SimSession, method: str, params: Any, request_id: Any, now_ns: int
    ) -> None:
        if not isinstance(params, list) or not params or params[0] != "combined":
            self._error(session, now_ns, 0, "Unknown property", request_id)
        elif method == "GET_PROPERTY":
            self._result(session, now_ns, not session.bare, request_id)
        elif len(params) != 2 or not isinstance(params[1], bool):
            message = "Invalid value type: expected Boolean"
            self._error(session, now_ns, 1, message, request_id)
        else:
            session.bare = not params[1]
            self._result(session, now_ns, None, request_id)

    @staticmethod
    def _result(
        session: SimSession,
        now_ns: int,
        result: Any,
        request_id: Any,
        *,
        acknowledges: bool = False,
    ) -> None:
        text = msgspec.json.encode({"result": result, "id": request_id}).decode()
        session.reply(text, now_ns, acknowledges=acknowledges)

    @staticmethod
    def _error(session: SimSession, now_ns: int, code: int, message: str, request_id: Any) -> None:
        body = {"code": code, "msg": message}
        if request_id is not None:
            body["id"] = request_id
        session.reply(msgspec.json.encode(body).decode(), now_ns)

    def shutdown_notice(self, session: SimSession, now_ns: int) -> str | None:
        event = f'{{"e":"serverShutdown","E":{now_ns // MS}}}'
        return event if session.bare else f'{{"stream":"!serverShutdown","data":{event}}}'

    # -- REST -------------------------------------------------------------------------------------

    def rest(
        self, method: str, path: str, query: dict[str, str], peer_ip: str, now_ns: int
    ) -> RestReply:
        weight = 1
        if path == "/api/v3/depth":
            limit = self._depth_limit(query)
            weight = next((w for most, w in _WEIGHTS if limit <= most), 250)
        elif path == "/api/v3/exchangeInfo":
            weight = 20
        elif path == "/api/v3/historicalTrades":
            weight = 25
        elif path == "/api/v3/ticker/bookTicker":
            weight = 2 if "symbol" in query else 4
        peer = self._peer(peer_ip)
        refusal = self._weigh(peer, weight, now_ns) if self.options.limits else None
        if refusal is not None:
            return refusal
        status, body = self._answer(method, path, query, now_ns)
        return RestReply(status, {"X-MBX-USED-WEIGHT-1M": str(peer.weight.used)}, body)

    def _weigh(self, peer: _Peer, weight: int, now_ns: int) -> RestReply | None:
        """Count a request against its address; return the refusal if it is one too many."""
        if now_ns >= peer.banned_until_ns:
            if peer.weight.use(weight, now_ns):
                peer.defiance = 0
                return None
            wait_ns = peer.weight.wait_ns(now_ns)
            peer.defiance += 1
            if peer.defiance <= _BAN_AFTER_429:
                body = (
                    '{"code":-1003,"msg":"Too much request weight used; current limit is '
                    f'{WEIGHT_MAX} request weight per 1 MINUTE."}}'
                )
                return RestReply(429, {"Retry-After": str(_whole_seconds(wait_ns))}, body)
            peer.defiance = 0
            self._ban(peer, now_ns)
        until_ms = peer.banned_until_ns // MS
        wait_s = _whole_seconds(peer.banned_until_ns - now_ns)
        body = (
            '{"code":-1003,"msg":"Way too much request weight used; '
            f'IP banned until {until_ms}."}}'
        )
        return RestReply(418, {"Retry-After": str(wait_s)}, body)

    def _answer(
        self, method: str, path: str, query: dict[str, str], now_ns: int
    ) -> tuple[int, str]:
        if method != "GET":
            return 405, '{"code":-1000,"msg":"Method not allowed."}'
        match path:
            case "/api/v3/ping":
                return 200, "{}"
            case "/api/v3/time":
                return 200, f'{{"serverTime":{now_ns // MS}}}'
            case "/api/v3/exchangeInfo":
                return self._info(query, now_ns)
            case "/api/v3/depth":
                return self._depth(query, now_ns)
            case "/api/v3/historicalTrades":
                return self._past_trades(query)
            case "/api/v3/ticker/bookTicker":
                return self._book_tickers(query)
            case _:
                return 404, '{"code":-1000,"msg":"No such path."}'

    @staticmethod
    def _depth_limit(query: dict[str, str]) -> int:
        """Return the wanted levels: 100 unless said, 5000 at most; 0 if it is no number."""
        text = query.get("limit", "100")
        return min(int(text), 5000) if text.isascii() and text.isdigit() else 0

    def _depth(self, query: dict[str, str], now_ns: int) -> tuple[int, str]:
        name = query.get("symbol", "")
        if not name:
            return 400, (
                '{"code":-1102,"msg":"Mandatory parameter \'symbol\' was not sent, '
                'was empty/null, or malformed."}'
            )
        market = self._market(name)
        if market is None:
            return 400, '{"code":-1121,"msg":"Invalid symbol."}'
        limit = self._depth_limit(query)
        if limit < 1:
            return 400, '{"code":-1100,"msg":"Illegal characters found in parameter \'limit\'."}'
        view = self.view(market, now_ns, limit)
        price, size = (scale.text for scale in self.scales[market.index])
        bids = ",".join([f'["{price[p]}","{size[s]}"]' for p, s in view.bids])
        asks = ",".join([f'["{price[p]}","{size[s]}"]' for p, s in view.asks])
        return 200, f'{{"lastUpdateId":{view.number},"bids":[{bids}],"asks":[{asks}]}}'

    def _book_tickers(self, query: dict[str, str]) -> tuple[int, str]:
        """Return the best prices of one symbol, or of all of them."""
        name = query.get("symbol")
        if name is not None:
            market = self._market(name)
            if market is None:
                return 400, '{"code":-1121,"msg":"Invalid symbol."}'
            return 200, self._book_ticker(market)
        world = self.exchange.world
        bodies = [] if world is None else [self._book_ticker(market) for market in world.markets]
        return 200, f"[{','.join(bodies)}]"

    def _book_ticker(self, market: Market) -> str:
        price, size = (scale.text for scale in self.scales[market.index])
        (bid, bids), (ask, asks) = market.book.top(BID), market.book.top(ASK)
        return (
            f'{{"symbol":"{market.spec.name}","bidPrice":"{price[bid]}","bidQty":"{size[bids]}",'
            f'"askPrice":"{price[ask]}","askQty":"{size[asks]}"}}'
        )

    def _past_trades(self, query: dict[str, str]) -> tuple[int, str]:
        """Return trades from ``fromId`` on, oldest first; the newest without it."""
        market = self._market(query.get("symbol", ""))
        if market is None:
            return 400, '{"code":-1121,"msg":"Invalid symbol."}'
        limit, start = query.get("limit", "500"), query.get("fromId")
        if not (limit.isdigit() and (start or "0").isdigit() and 1 <= int(limit) <= _PAST_MAX):
            return 400, '{"code":-1100,"msg":"Illegal characters found in a parameter."}'
        kept = [(ns, trade) for ns, _, trade in market.trades]
        first = 0 if start is None else int(start)
        wanted = [entry for entry in kept if entry[1].id >= first]
        chosen = wanted[-int(limit) :] if start is None else wanted[: int(limit)]
        price, size = self.scales[market.index]
        rows = [
            f'{{"id":{trade.id},"price":"{price.text[trade.price]}",'
            f'"qty":"{size.text[trade.size]}",'
            f'"quoteQty":"{price.value[trade.price] * size.value[trade.size]:.8f}",'
            f'"time":{ns // MS},"isBuyerMaker":{"true" if trade.taker_side == ASK else "false"},'
            '"isBestMatch":true}'
            for ns, trade in chosen
        ]
        return 200, f"[{','.join(rows)}]"

    def _market(self, name: str) -> Market | None:
        world = self.exchange.world
        if world is None or self.exchange.faults.strike("refuse_symbol", symbol=name):
            return None
        return world.by_name.get(name)

    def _info(self, query: dict[str, str], now_ns: int) -> tuple[int, str]:
        world = self.exchange.world
        markets = [] if world is None else world.markets
        wanted = [query["symbol"]] if "symbol" in query else None
        if "symbols" in query:
            try:
                wanted = msgspec.json.decode(query["symbols"], type=list[str])
            except msgspec.MsgspecError:
                return 400, '{"code":-1100,"msg":"Illegal characters found in parameter."}'
        if wanted is not None:
            found = [self._market(name) for name in wanted]
            markets = [market for market in found if market is not None]
            if len(markets) != len(found):
                return 400, '{"code":-1121,"msg":"Invalid symbol."}'
        info = {
            "timezone": "UTC",
            "serverTime": now_ns // MS,
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": WEIGHT_MAX,
                },
            ],
            "exchangeFilters": [],
            "symbols": [symbol_info(market.spec) for market in markets],
        }
        return 200, msgspec.json.encode(info).decode()

    # -- captures -------------------------------------------------------------------------------

    def recognise_frame(self, text: str) -> Recorded | None:
        try:
            frame = msgspec.json.decode(text, type=_Frame)
        except msgspec.MsgspecError:
            return None
        if frame.stream is not None and frame.data:
            return Recorded((frame.stream,), bytes(frame.data).decode(), text)
        if frame.symbol is None:
            return None
        stem = frame.symbol.lower()
        names: tuple[str, ...]
        match frame.event:
            case "depthUpdate":
                names = (f"{stem}@depth@100ms", f"{stem}@depth")
            case "trade" | "aggTrade":
                names = (f"{stem}@{frame.event}",)
            case "24hrTicker":
                names = (f"{stem}@ticker",)
            case None if frame.update is not None:
                names = (f"{stem}@bookTicker",)
            case _:
                return None
        return Recorded(names, text, None)

    def book_symbol(self, topic: str) -> str | None:
        stem, _, kind = topic.partition("@")
        return stem.upper() if kind in ("depth", "depth@100ms") else None

    def recognise_rest(self, url: str | None, text: str) -> tuple[str, str] | None:
        try:
            body = msgspec.json.decode(text, type=_Body)
        except msgspec.MsgspecError:
            return None
        if body.last_update_id is not None:
            query = parse_qs(urlsplit(url or "").query)
            return "/api/v3/depth", query.get("symbol", [""])[0]
        if body.symbols:
            return "/api/v3/exchangeInfo", ""
        return None

    def rest_key(self, path: str, query: dict[str, str]) -> tuple[str, str]:
        return path, query.get("symbol", "") if path == "/api/v3/depth" else ""


# msgspec knows Raw only by itself, not in a union: an empty one stands for none.
class _Frame(msgspec.Struct):
    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    event: str | None = msgspec.field(name="e", default=None)
    symbol: str | None = msgspec.field(name="s", default=None)
    update: int | None = msgspec.field(name="u", default=None)


class _Body(msgspec.Struct):
    last_update_id: int | None = msgspec.field(name="lastUpdateId", default=None)
    symbols: msgspec.Raw = msgspec.Raw()


def _whole_seconds(ns: int) -> int:
    return max(-(-ns // SECOND), 1)
