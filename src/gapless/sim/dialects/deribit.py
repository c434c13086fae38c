"""Deribit: JSON-RPC 2.0 over one WebSocket, and the same methods over HTTP.

Source: docs.deribit.com (connection management, rate limits, JSON-RPC, notifications, errors),
November 2026.  Where the documents are silent, this is what the simulator does, and a client
must not lean on it:

* close codes: 1000 wherever the venue ends a session;
* the time to answer a ``test_request``: an option;
* subscribing to a channel again is confirmed and brings no new snapshot;
* ``agg2`` is one batch a second (one page says one, another two).

There are no accounts: any credentials log in, and ``user.*`` channels are left out of results.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from gapless.sim.dialects import _deribit_topics as topics
from gapless.sim.dialects._base import MS, SECOND, Dialect, Recorded, RestReply, SimOptions, Topic
from gapless.sim.dialects._deribit_chain import ChainLife
from gapless.sim.dialects._deribit_rpc import METHODS, RpcError, arguments_of
from gapless.sim.limits import CreditBucket
from gapless.sim.session import Refused
from gapless.sim.world import SymbolSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gapless.sim.session import SimSession
    from gapless.sim.world import Market

__all__ = ["Deribit"]

CONNECTIONS_MAX: Final = 32
IDLE_NS: Final = 600 * SECOND
PATHS: Final = ("/ws/api/v2", "/den/ws")
_HTTP: Final = "/api/v2/"

_KNOWN: Final = {
    "BTC-PERPETUAL": ("0.5", "10", 130_000, 800),
    "ETH-PERPETUAL": ("0.05", "1", 70_000, 3_000),
    "SOL_USDC-PERPETUAL": ("0.01", "0.1", 15_000, 500),
}
_CHANNEL: Final = re.compile(
    r"book\.(?P<grouped>[^.]+)\.(?:none|1|2|5|10|25|100|250)\.(?P<depth>1|10|20)\.(?P<each>100ms|agg2)"
    r"|(?P<kind>book|trades|ticker)\.(?P<name>[^.]+)\.(?P<every>raw|100ms|agg2)"
    r"|quote\.(?P<quote>[^.]+)"
)
_LIFECYCLE: Final = re.compile(
    r"instrument\.state\.(?P<kind>any|option|future)\.(?P<currency>any|[A-Z]{2,10})"
)
_INTERVALS: Final = {"raw": 0, "100ms": 100 * MS, "agg2": SECOND}


class _State:
    """What the venue keeps for each session."""

    __slots__ = ("client_id", "heartbeat_ns", "round", "tested")

    def __init__(self) -> None:
        self.client_id: str | None = None
        self.heartbeat_ns = 0
        self.round = 0  # rises when heartbeats are set anew, which ends the timers of before
        self.tested = True  # whether public/test arrived since the last test_request


class _Credits:
    """Buckets of one client, by class of method."""

    __slots__ = ("instruments", "other", "subscribe")

    def __init__(self) -> None:
        self.other = CreditBucket(50_000, 10_000)
        self.subscribe = CreditBucket(30_000, 10_000)
        self.instruments = CreditBucket(500_000, 10_000)

    def take(self, method: str, now_ns: int) -> bool:
        """Pay for one call; return whether there was enough."""
        name = method.partition("/")[2]
        if name in ("subscribe", "unsubscribe"):
            return self.subscribe.take(3_000, now_ns)
        if name == "get_instruments":
            return self.instruments.take(10_000, now_ns)
        return self.other.take(500, now_ns)


class Deribit(Dialect):
    """The dialect of Deribit."""

    venue: ClassVar[str] = "deribit"
    usual_symbols: ClassVar[tuple[str, ...]] = ("BTC-PERPETUAL", "ETH-PERPETUAL")
    invented: ClassVar[str] = "SIM{:03}-PERPETUAL"
    unsupported: ClassVar[frozenset[str]] = frozenset({"shutdown_notice"})
    has_chain: ClassVar[bool] = True

    def __init__(self, options: SimOptions | None = None) -> None:
        super().__init__(options)
        self.under_maintenance = False
        self.life = None if self.options.chain is None else ChainLife(self, self.options.chain)
        self._credits: dict[str, _Credits] = {}

    # -- what there is --------------------------------------------------------------------------

    @classmethod
    def specs(cls, names: Sequence[str]) -> list[SymbolSpec]:
        specs = []
        for name in names:
            guess = ("0.01", "0.1", 5_000 + zlib.crc32(name.encode()) % 500_000, 500)
            tick, lot, mid, typical = _KNOWN.get(name, guess)
            base, _, quote = name.partition("-")[0].partition("_")
            specs.append(
                SymbolSpec(
                    name=name,
                    tick=tick,
                    lot=lot,
                    mid_ticks=mid,
                    typical_lots=typical,
                    base=base,
                    quote=quote or "USD",
                )
            )
        return specs

    def more_specs(self) -> list[SymbolSpec]:
        return [] if self.life is None else self.life.chain.specs()

    def default_topics(self, symbol: str) -> list[str]:
        return [
            f"trades.{symbol}.100ms",
            f"book.{symbol}.100ms",
            f"quote.{symbol}",
            f"ticker.{symbol}.100ms",
        ]

    def make_topic(self, name: str, node: int) -> Topic | None:
        if name == "platform_state":
            return Topic(self, name, "platform", None, node)
        if _LIFECYCLE.fullmatch(name):
            return Topic(self, name, "lifecycle", None, node)
        match = _CHANNEL.fullmatch(name)
        world = self.exchange.world
        if match is None or world is None:
            return None
        symbol = match["grouped"] or match["name"] or match["quote"]
        market = world.by_name.get(symbol)
        if market is None or (self.life is not None and self.life.hides(symbol)):
            return None
        if match["grouped"]:
            interval_ns, depth = _INTERVALS[match["each"]], int(match["depth"])
            return topics.GroupedBook(
                self, name, market, node, interval_ns=interval_ns, levels=depth
            )
        if match["quote"]:
            return topics.Quote(self, name, market, node)
        make = {"book": topics.Book, "trades": topics.Trades, "ticker": topics.Ticker}[
            match["kind"]
        ]
        return make(self, name, market, node, interval_ns=_INTERVALS[match["every"]])

    def wrapper(self, name: str) -> tuple[str, str]:
        quoted = msgspec.json.encode(name).decode()
        head = f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":{quoted},"data":'
        return head, "}}"

    def number_of(self, market: Market) -> int:
        return market.serial

    def market(self, name: str) -> Market | None:
        """Return the market of an instrument, unless a fault hides it."""
        world = self.exchange.world
        if world is None or self.exchange.faults.strike("refuse_symbol", symbol=name):
            return None
        if self.life is not None and self.life.hides(name):
            return None
        return world.by_name.get(name)

    # -- connections ----------------------------------------------------------------------------

    def admit(self, path: str, query: dict[str, str], peer_ip: str, now_ns: int) -> None:
        self._begin(now_ns)
        if path.rstrip("/") not in PATHS:
            raise Refused(404)
        if self.options.limits:
            sessions = self.exchange.sessions.values()
            if sum(1 for s in sessions if s.peer_ip == peer_ip) >= CONNECTIONS_MAX:
                raise Refused(429)

    def _begin(self, now_ns: int) -> None:
        if self.life is not None:
            self.life.begin(now_ns)

    def opened(self, session: SimSession, query: dict[str, str], now_ns: int) -> None:
        session.state = _State()
        self.exchange.call_at(now_ns + IDLE_NS, lambda ns: self._check_idle(session, ns))

    def _check_idle(self, session: SimSession, now_ns: int) -> None:
        if not session.open:
            return
        due_ns = max(session.received_ns, session.sent_ns) + IDLE_NS
        if now_ns >= due_ns:
            self.exchange.end(session, now_ns, "idle", close=(1000, ""))
        else:
            self.exchange.call_at(due_ns, lambda ns: self._check_idle(session, ns))

    def on_pong(self, session: SimSession, payload: bytes, now_ns: int) -> None:
        """Take a pong frame: it is traffic, and means nothing more here."""

    def on_slow(self, session: SimSession, now_ns: int) -> None:
        session.reply(
            '{"jsonrpc":"2.0","error":{"code":11030,"message":"connection_too_slow"}}', now_ns
        )
        self.exchange.end(session, now_ns, "slow reader", close=(1000, "connection_too_slow"))

    # -- heartbeats -------------------------------------------------------------------------------

    def set_heartbeat(self, session: SimSession, interval_s: int, now_ns: int) -> None:
        """Start heartbeats anew; an interval of 0 ends them."""
        state: _State = session.state
        state.round += 1
        state.tested = True
        state.heartbeat_ns = interval_s * SECOND
        if interval_s:
            self._beat_later(session, state.round, now_ns)

    def _beat_later(self, session: SimSession, number: int, now_ns: int) -> None:
        due_ns = now_ns + session.state.heartbeat_ns
        self.exchange.call_at(due_ns, lambda ns: self._beat(session, number, ns))

    def _beat(self, session: SimSession, number: int, now_ns: int) -> None:
        state: _State = session.state
        if not session.open or state.round != number:
            return
        session.reply(_signal("heartbeat"), now_ns)
        if now_ns - session.received_ns >= state.heartbeat_ns and state.tested:
            state.tested = False
            session.reply(_signal("test_request"), now_ns)
            grace_ns = int(self.options.heartbeat_grace_s * SECOND)
            self.exchange.call_at(now_ns + grace_ns, lambda ns: self._judge(session, number, ns))
        self._beat_later(session, number, now_ns)

    def _judge(self, session: SimSession, number: int, now_ns: int) -> None:
        state: _State = session.state
        if state.round == number and not state.tested:
            self.exchange.end(session, now_ns, "heartbeat timeout", close=(1000, ""))

    # -- requests ---------------------------------------------------------------------------------

    def on_text(self, session: SimSession, text: str, now_ns: int) -> None:
        request_id, method, params, fault = _parse(text)
        if fault is not None:
            session.reply(self._answer(request_id, fault, now_ns), now_ns)
            return
        try:
            self._pay(session.state.client_id or session.peer_ip, method, now_ns)
            if method == "private/logout":
                self.exchange.end(session, now_ns, "logout", close=(1000, ""))
                return
            result, later = self._call(method, params, session, now_ns)
        except RpcError as error:
            session.reply(self._answer(request_id, error, now_ns), now_ns)
            if error.code == 10028:  # too_many_requests ends the session, not only the request
                self.exchange.end(session, now_ns, "too_many_requests", close=(1000, ""))
            return
        text = self._answer(request_id, result, now_ns)
        session.reply(text, now_ns, acknowledges=method.endswith("subscribe"))
        for topic in later:
            topic.welcome(session, now_ns)

    def _pay(self, client: str, method: str, now_ns: int) -> None:
        if self.options.limits:
            credits_left = self._credits.setdefault(client, _Credits())
            if not credits_left.take(method, now_ns):
                raise RpcError(10028, "too_many_requests")

    def _call(
        self, method: str, params: dict[str, Any], session: SimSession | None, now_ns: int
    ) -> tuple[Any, list[Topic]]:
        """Carry out a method; return its result, and the topics that now greet the session."""
        scope, _, name = method.partition("/")
        if scope == "private" and (session is None or session.state.client_id is None):
            raise RpcError(13009, "unauthorized")
        if self.under_maintenance and name not in ("test", "get_time", "status", "hello"):
            raise RpcError(11051, "system_maintenance")
        if scope in ("public", "private") and session is not None:
            state: _State = session.state
            match name:
                case "subscribe":
                    return self._subscribe(session, scope, params, now_ns)
                case "unsubscribe":
                    names = self._channels(params)
                    return [c for c in names if self.unsubscribe(session, c)], []
                case "unsubscribe_all":
                    self.drop(session)
                    return "ok", []
                case "set_heartbeat":
                    interval = params.get("interval")
                    if not isinstance(interval, int | float) or interval < 10:
                        raise RpcError(-32602, "Invalid params", "must be at least 10", "interval")
                    self.set_heartbeat(session, int(interval), now_ns)
                    return "ok", []
                case "disable_heartbeat":
                    self.set_heartbeat(session, 0, now_ns)
                    return "ok", []
                case "test":
                    state.tested = True
                case "auth":
                    result = METHODS["public/auth"](self, params, now_ns)
                    state.client_id = str(params.get("client_id", "refreshed"))
                    return result, []
                case _:
                    pass
        answer = METHODS.get(method)
        if answer is None:
            raise RpcError(-32601, "Method not found")
        return answer(self, params, now_ns), []

    @staticmethod
    def _channels(params: dict[str, Any]) -> list[str]:
        channels = params.get("channels")
        if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
            raise RpcError(-32602, "Invalid params", "must be an array of strings", "channels")
        if len(channels) > 500:
            raise RpcError(-32602, "Invalid params", "more than 500 channels", "channels")
        return list(dict.fromkeys(channels))

    def _subscribe(
        self, session: SimSession, scope: str, params: dict[str, Any], now_ns: int
    ) -> tuple[list[str], list[Topic]]:
        state: _State = session.state
        allow_raw = self.replay or self.options.allow_raw or state.client_id is not None
        taken, fresh = [], []
        for name in self._channels(params):
            symbol = name.split(".")[1] if "." in name else None
            strike = self.exchange.faults.strike
            if (name.endswith(".raw") and not allow_raw) or name.startswith("user."):
                continue
            if strike("refuse_symbol", symbol=symbol, topic=name, session=session.id):
                continue
            if session.topics.get(name) is None:
                topic = self.subscribe(session, name, now_ns)
                if topic is None:
                    del session.topics[name]
                    continue
                fresh.append(topic)
            taken.append(name)
        # The real venue returned its list in descending order, not in the order asked for.
        taken.sort(reverse=True)
        return taken, fresh

    def _answer(self, request_id: Any, outcome: Any, now_ns: int) -> str:
        body: dict[str, Any] = {"jsonrpc": "2.0"}
        if request_id is not None:
            body["id"] = request_id
        if isinstance(outcome, RpcError):
            error: dict[str, Any] = {"message": outcome.message}
            if outcome.reason:
                error["data"] = {"reason": outcome.reason, "param": outcome.param}
            error["code"] = outcome.code
            body["error"] = error
        else:
            body["result"] = outcome
        diff_us = self.exchange.rng.randrange(20, 200)
        out_us = now_ns // 1000
        body |= {"usIn": out_us - diff_us, "usOut": out_us, "usDiff": diff_us, "testnet": False}
        return msgspec.json.encode(body).decode()

    def maintenance(self, on: bool, now_ns: int) -> None:
        self.under_maintenance = on
        self.broadcast("platform_state", now_ns, f'{{"maintenance":{"true" if on else "false"}}}')

    # -- HTTP -----------------------------------------------------------------------------------

    def rest(
        self, method: str, path: str, query: dict[str, str], peer_ip: str, now_ns: int
    ) -> RestReply:
        self._begin(now_ns)
        if not path.startswith(_HTTP):
            return RestReply(404, {}, '{"jsonrpc":"2.0","error":{"code":-32601}}')
        name = path.removeprefix(_HTTP)
        try:
            self._pay(peer_ip, name, now_ns)
            result, _ = self._call(name, arguments_of(query), None, now_ns)
        except RpcError as error:
            status = 429 if error.code == 10028 else 400
            return RestReply(status, {}, self._answer(None, error, now_ns))
        return RestReply(200, {}, self._answer(None, result, now_ns))

    def rest_failure(self, status: int) -> str:
        return '{"jsonrpc":"2.0","error":{"message":"temporarily_unavailable","code":13028}}'

    # -- captures -------------------------------------------------------------------------------

    def recognise_frame(self, text: str) -> Recorded | None:
        try:
            params = msgspec.json.decode(text, type=_Frame).params
        except msgspec.MsgspecError:
            return None
        if params.channel is None or not params.data:
            return None
        return Recorded((params.channel,), bytes(params.data).decode(), text)

    def recognise_rest(self, url: str | None, text: str) -> tuple[str, str] | None:
        path, _, query = (url or "").partition("?")
        _, found, method = path.partition(_HTTP)
        return (_HTTP + method, "&".join(sorted(query.split("&")))) if found else None

    def rest_key(self, path: str, query: dict[str, str]) -> tuple[str, str]:
        if self.replay:
            return path, "&".join(sorted(f"{key}={value}" for key, value in query.items()))
        return path, query.get("instrument_name", "")


# msgspec knows Raw only by itself, not in a union: an empty one stands for none.
class _Params(msgspec.Struct):
    channel: str | None = None
    data: msgspec.Raw = msgspec.Raw()


class _Frame(msgspec.Struct):
    params: _Params


def _parse(text: str) -> tuple[Any, str, dict[str, Any], RpcError | None]:
    """Return id, method and parameters of a request, and what is wrong with it."""
    try:
        request = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None, "", {}, RpcError(-32700, "Parse error")
    if not isinstance(request, dict):
        return None, "", {}, RpcError(-32600, "Invalid Request")
    request_id, method = request.get("id"), request.get("method")
    params = request.get("params", {})
    if request_id is None:
        return None, "", {}, RpcError(-32600, "Invalid Request", "a request needs an id", "id")
    if not isinstance(method, str) or not isinstance(params, dict):
        return request_id, "", {}, RpcError(-32600, "Invalid Request")
    return request_id, method, params, None


def _signal(kind: str) -> str:
    return f'{{"jsonrpc":"2.0","method":"heartbeat","params":{{"type":"{kind}"}}}}'
