"""Deribit: options, futures and perpetuals over JSON-RPC.

Books are chains: each change names the one before it, ids of one instrument are not
contiguous, and subscribing brings a snapshot.  Trades are numbered densely for each
instrument.  The reply to a subscribe lists what was really granted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.budget import Credit
from gapless.core.calendar import DailyPause
from gapless.core.codec import (
    Ack,
    Asked,
    Heartbeat,
    Lifecycle,
    Reading,
    Refusal,
    Request,
    Status,
    Stray,
)
from gapless.core.secrets import Secrets
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError, printable
from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Origin, Texts, Ticker
from gapless.venues._deribit_rest import STATES, SUMMARIES, DeribitRest, TradeData, read_trade
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

__all__ = ["LIFECYCLE", "PLATFORM", "PROFILES", "DeribitCodec", "log_in"]

_READ: Final = "2026-11-22"
_CM: Final = "docs.deribit.com, Connection management"
_RL: Final = "docs.deribit.com, Rate limits"
_RPC: Final = "docs.deribit.com, JSON-RPC"
_NT: Final = "docs.deribit.com, Notifications"
_ER: Final = "docs.deribit.com, Errors (full table)"
_MD: Final = "docs.deribit.com, Market data best practices"
_BK: Final = "docs.deribit.com, book channel"
_GB: Final = "docs.deribit.com, book channel with group and depth"
_SUB: Final = "docs.deribit.com, public/subscribe"

PLATFORM: Final = "platform_state"
LIFECYCLE: Final = "instrument.state."
_EVERY_STATE: Final = f"{LIFECYCLE}any.any"
HEARTBEAT_S: Final = 30  # recommended 30 to 60 s: Usage policy

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**43)]  # as nanoseconds it fits 64 bits
Real = Annotated[float, Meta(ge=-1e30, le=1e30)]  # combos have negative prices
Size = Annotated[float, Meta(ge=0, le=1e30)]
Level = tuple[Literal["new", "change", "delete"], Real, Size]

_BOOK_HEAD: Final = '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.'
_GROUPED: Final = ".none."  # in the topic of a book that comes whole
_TOPIC_AT: Final = len(_BOOK_HEAD) - len("book.")


class _Book(Struct, gc=False):
    timestamp: Millis
    change_id: Number
    bids: list[Level]
    asks: list[Level]
    prev_change_id: Number | None = None
    type: str = "change"


class _BookParams(Struct, gc=False):
    data: _Book


class _BookFrame(Struct, gc=False):
    params: _BookParams


class _Grouped(Struct, gc=False):
    timestamp: Millis
    change_id: Number
    bids: list[tuple[Real, Size]]
    asks: list[tuple[Real, Size]]


class _Quote(Struct, gc=False):
    timestamp: Millis
    best_bid_price: Real | None = None
    best_bid_amount: Size | None = None
    best_ask_price: Real | None = None
    best_ask_amount: Size | None = None


class _Volume(Struct, gc=False):
    volume: Real | None = None


class _Greeks(Struct, gc=False):
    delta: Real | None = None
    gamma: Real | None = None
    vega: Real | None = None
    theta: Real | None = None
    rho: Real | None = None


class _Ticker(Struct, gc=False):
    timestamp: Millis
    last_price: Real | None = None
    mark_price: Real | None = None
    index_price: Real | None = None
    best_bid_price: Real | None = None
    best_ask_price: Real | None = None
    open_interest: Real | None = None
    current_funding: Real | None = None
    stats: _Volume | None = None
    underlying_price: Real | None = None
    mark_iv: Real | None = None
    bid_iv: Real | None = None
    ask_iv: Real | None = None
    greeks: _Greeks | None = None


class _State(Struct, gc=False):
    instrument_name: str
    state: str
    timestamp: Millis | None = None


class _Platform(Struct, gc=False):
    maintenance: bool | None = None


class _Error(Struct, gc=False):
    code: int
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Params(Struct, gc=False):
    channel: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    type: str | None = None


class _Frame(Struct, gc=False):
    id: int | None = None
    method: str | None = None
    params: _Params | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None
    usOut: int | None = None  # noqa: N815  # the venue's name


class _Channels(Struct, frozen=True, gc=False):
    channels: tuple[str, ...] = ()


class _Asked(Struct, gc=False):
    method: str = ""
    id: int | None = None
    params: _Channels = _Channels()


class _RawBook(Struct, gc=False):
    bids: list[tuple[str, msgspec.Raw, msgspec.Raw]]
    asks: list[tuple[str, msgspec.Raw, msgspec.Raw]]


class _RawGrouped(Struct, gc=False):
    bids: list[tuple[msgspec.Raw, msgspec.Raw]]
    asks: list[tuple[msgspec.Raw, msgspec.Raw]]


class _RawParams(Struct, gc=False):
    data: _RawBook


class _RawFrame(Struct, gc=False):
    params: _RawParams


_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_raw_frame = msgspec.json.Decoder(_RawFrame).decode
_decode_book_frame = msgspec.json.Decoder(_BookFrame).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_book = msgspec.json.Decoder(_Book).decode
_decode_raw_book = msgspec.json.Decoder(_RawBook).decode
_decode_grouped = msgspec.json.Decoder(_Grouped).decode
_decode_raw_grouped = msgspec.json.Decoder(_RawGrouped).decode
_decode_trades = msgspec.json.Decoder(list[TradeData]).decode
_decode_quote = msgspec.json.Decoder(_Quote).decode
_decode_ticker = msgspec.json.Decoder(_Ticker).decode
_decode_state = msgspec.json.Decoder(_State).decode
_decode_platform = msgspec.json.Decoder(_Platform).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_encode = msgspec.json.encode


class DeribitCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session, by the venue's name.
    """

    __slots__ = ("_origins", "_texts")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts

    def setup(self, next_id: int) -> list[Request]:
        """Ask for heartbeats: the venue then tests us, and closes if we do not answer."""
        call = _call(next_id, "public/set_heartbeat", {"interval": HEARTBEAT_S})
        return [Request(next_id, "setup", call, (), "other", 500)]

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        call = _call(next_id, "public/subscribe", {"channels": topics})
        return [Request(next_id, "subscribe", call, topics, "subscribe", 3000)]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        call = _call(next_id, "public/unsubscribe", {"channels": topics})
        return [Request(next_id, "unsubscribe", call, topics, "other", 500)]

    def beat(self, next_id: int) -> None:
        """Return nothing: the venue tests us when it wants to hear from us."""
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
        match call.method.partition("/")[2]:
            case "subscribe":
                return Asked("subscribe", call.id, call.params.channels)
            case "unsubscribe":
                return Asked("unsubscribe", call.id, call.params.channels)
            case "auth":
                return Asked("login", call.id, ())
            case _:
                return Asked("setup", call.id, ())

    def once_live(self, request_id: int) -> Request | None:
        """Ask for news of maintenance and of halts.  What was granted, replies have listed."""
        call = _call(request_id, "public/subscribe", {"channels": (PLATFORM, _EVERY_STATE)})
        return Request(request_id, "setup", call, (), "subscribe", 3000)

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            if text.startswith(_BOOK_HEAD):  # the usual order of keys; any other works below
                topic = text[_TOPIC_AT : text.find('"', _TOPIC_AT)]
                origin = None if _GROUPED in topic else self._origins.get(topic)
                if origin is not None:
                    event = _book(origin, _decode_book_frame(text).params.data, recv_ns, mono_ns)
                    if self._texts:
                        event = _with_texts(event, _decode_raw_frame(text).params.data)
                    return [event]
            return self._read_any(_decode_frame(text), recv_ns, mono_ns)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read_any(self, frame: _Frame, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        params = frame.params
        if frame.method == "subscription" and params is not None and params.channel is not None:
            return self._read_push(params.channel, params.data, recv_ns, mono_ns)
        if frame.method == "heartbeat":
            asked = params is not None and params.type == "test_request"
            return Heartbeat(_TEST) if asked else Heartbeat()
        if frame.error is not None:
            error = frame.error
            detail = f"{error.message} {bytes(error.data).decode(errors='replace')}".strip()
            return Refusal(frame.id, error.code, printable(detail), error.code in _LIMITED)
        if frame.id is not None and frame.result:
            server_ns = None if frame.usOut is None else frame.usOut * 1000
            result = bytes(frame.result)
            topics = tuple(_decode_names(result)) if result.startswith(b"[") else None
            return Ack(frame.id, topics, server_ns)
        return Stray(f"method {printable(frame.method or 'none')}")

    def _read_push(
        self, channel: str, data: msgspec.Raw, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        origin = self._origins.get(channel)
        if origin is None:
            if channel.startswith(PLATFORM):
                told = printable(bytes(data).decode(errors="replace"))
                return Status(told, _decode_platform(data).maintenance)
            if channel.startswith(LIFECYCLE):
                return _lifecycle(_decode_state(data))
            return Stray(f"channel {printable(channel)}")
        match origin.channel:
            case "book" if _GROUPED in channel:
                event = _grouped(origin, _decode_grouped(data), recv_ns, mono_ns)
                if self._texts:
                    sent = _decode_raw_grouped(data)
                    texts = Texts([_text(*x) for x in sent.bids], [_text(*x) for x in sent.asks])
                    event = msgspec.structs.replace(event, texts=texts)
                return [event]
            case "book":
                change = _book(origin, _decode_book(data), recv_ns, mono_ns)
                return [_with_texts(change, _decode_raw_book(data)) if self._texts else change]
            case "trades":
                return [read_trade(origin, t, recv_ns, mono_ns) for t in _decode_trades(data)]
            case "bbo":
                return [_quote(origin, _decode_quote(data), recv_ns, mono_ns)]
            case _:
                return [_ticker(origin, _decode_ticker(data), recv_ns, mono_ns)]


def _book(origin: Origin, data: _Book, recv_ns: int, mono_ns: int) -> BookDelta | BookSnapshot:
    bids, asks = data.bids, data.asks
    # "delete" carries the amount 0; it is not left to chance.  One side is mostly empty.
    new_bids = [(p, s if act != "delete" else 0.0) for act, p, s in bids] if bids else []
    new_asks = [(p, s if act != "delete" else 0.0) for act, p, s in asks] if asks else []
    event_ns, last, prev = data.timestamp * MS, data.change_id, data.prev_change_id
    if prev is None:
        return BookSnapshot(origin, recv_ns, mono_ns, event_ns, last, last, new_bids, new_asks)
    if prev >= last:
        raise DecodeError(f"change {last} claims to follow {prev}")
    return BookDelta(origin, recv_ns, mono_ns, event_ns, prev + 1, last, new_bids, new_asks)


def _with_texts(event: BookDelta | BookSnapshot, data: _RawBook) -> BookDelta | BookSnapshot:
    bids = [_text(price, size) for _, price, size in data.bids]
    asks = [_text(price, size) for _, price, size in data.asks]
    return msgspec.structs.replace(event, texts=Texts(bids, asks))


def _text(price: msgspec.Raw, size: msgspec.Raw) -> tuple[str, str]:
    return bytes(price).decode(), bytes(size).decode()


def _grouped(origin: Origin, data: _Grouped, recv_ns: int, mono_ns: int) -> BookSnapshot:
    event_ns, number = data.timestamp * MS, data.change_id
    return BookSnapshot(origin, recv_ns, mono_ns, event_ns, number, number, data.bids, data.asks)


def _lifecycle(data: _State) -> Reading:
    state = STATES.get(data.state)
    if state is None:  # the venue has added states before
        return Status(printable(f"{data.instrument_name}: {data.state}"))
    at_ns = None if data.timestamp is None else data.timestamp * MS
    return Lifecycle(data.instrument_name, state, at_ns)


def _quote(origin: Origin, data: _Quote, recv_ns: int, mono_ns: int) -> Event:
    bid, ask = data.best_bid_amount or None, data.best_ask_amount or None
    return Bbo(
        origin,
        recv_ns,
        mono_ns,
        data.timestamp * MS,
        None,
        None,
        None if bid is None else data.best_bid_price,  # an empty side has price 0 or null
        bid,
        None if ask is None else data.best_ask_price,
        ask,
    )


def _ticker(origin: Origin, data: _Ticker, recv_ns: int, mono_ns: int) -> Event:
    greeks = data.greeks or _NO_GREEKS
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        data.timestamp * MS,
        None,
        None,
        data.last_price,
        data.mark_price,
        data.index_price,
        data.best_bid_price or None,
        data.best_ask_price or None,
        None if data.stats is None else data.stats.volume,
        data.open_interest,
        data.current_funding,
        None,
        data.underlying_price,
        _fraction(data.mark_iv),
        _fraction(data.bid_iv),
        _fraction(data.ask_iv),
        greeks.delta,
        greeks.gamma,
        greeks.vega,
        greeks.theta,
        greeks.rho,
    )


def _fraction(percent: float | None) -> float | None:
    """Return an implied volatility; the venue writes 0 where there is none."""
    return percent / 100 if percent else None


def _call(request_id: int, method: str, params: Mapping[str, object]) -> str:
    call = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return _encode(call).decode()


def log_in(request_id: int, secrets: Secrets, wall_ns: int, nonce: str) -> Request:
    """Return the request that proves who we are; see `gapless.venues._profile.LoginMaker`.

    The secret itself is not sent: it signs time and nonce.
    """
    millis = wall_ns // MS
    signed = hmac.new(secrets.secret.encode(), f"{millis}\n{nonce}\n".encode(), hashlib.sha256)
    params = {
        "grant_type": "client_signature",
        "client_id": secrets.key,
        "timestamp": millis,
        "nonce": nonce,
        "data": "",
        "signature": signed.hexdigest(),
    }
    text = _call(request_id, "public/auth", params)
    shown = _call(request_id, "public/auth", params | {"client_id": _HIDDEN, "signature": _HIDDEN})
    return Request(request_id, "login", text, (), "other", 500, shown)


_HIDDEN: Final = "(hidden)"
_NO_GREEKS: Final = _Greeks()
_TEST: Final = Request(0, "reply", _call(0, "public/test", {}), (), "other", 500)

_LIMITED: Final = frozenset({10028, 10066, 11056})

_ERRORS: Final = MappingProxyType(
    {
        10028: "too_many_requests: RateLimited, the venue ends the session",
        10040: "retry: RequestRejected",
        10041: "settlement_in_progress: RequestRejected, seconds at 08:00 UTC",
        10047: "matching_engine_queue_full: RequestRejected",
        10066: "too many concurrent public requests: RateLimited",
        11050: "bad_request: RequestRejected",
        11051: "system_maintenance: RequestRejected, venue notice",
        11052: "subscribe_error_unsubscribed: SubscriptionRejected",
        11056: "unauthenticated public access disabled: RateLimited",
        13004: "invalid_credentials: LoginRejected",
        13009: "unauthorized: LoginRejected",
        13778: "raw_subscriptions_not_available_for_unauthorized: SubscriptionRejected",
        -32602: "Invalid params: SubscriptionRejected or RequestRejected",
    }
)

_RAW: Final = frozenset({"raw"})

_GROUPED_BOOK: Final = Channel(
    name="book",
    topics=MappingProxyType(
        {
            f"none.{depth}.{interval}": f"book.{{symbol}}.none.{depth}.{interval}"
            for interval in ("100ms", "agg2")
            for depth in (10, 1, 20)
        }
    ),
    numbering=Fact(
        Numbering.ORDERED, _GB, _READ, note="change_id rises; no message names the one before"
    ),
    arbitration=Arbitration.BY_SEQUENCE,
    snapshot=Fact(SnapshotFrom.EVERY, _GB, _READ, note="every message is the whole book"),
    speaks_on_subscribe=Fact(True, _GB, _READ, "M"),
    depths=MappingProxyType(
        {
            f"none.{depth}.{interval}": depth
            for interval in ("100ms", "agg2")
            for depth in (10, 1, 20)
        }
    ),
)

_PROFILE: Final = Profile(
    name="deribit",
    title="Deribit",
    endpoints=Fact(
        Endpoints(
            public=("wss://www.deribit.com/ws/api/v2",),
            test=("wss://test.deribit.com/ws/api/v2",),
            path="/ws/api/v2",
            independent=None,
        ),
        _CM,
        _READ,
        note="wss://streams.deribit.com/ws/api/v2 serves subscriptions only (M, changelog)",
    ),
    rest_endpoints=Fact(("https://www.deribit.com",), _RPC, _READ),
    lifetime_ns=Fact(None, _CM, _READ, "L", "no maximum is documented"),
    shutdown_notice=Fact(
        "platform_state with maintenance true; RPC then answers 11051", _NT, _READ
    ),
    server_ping_ns=Fact(None, _CM, _READ, "L", "no ping frames documented; heartbeats instead"),
    pong_within_ns=Fact(None, _CM, _READ, "L"),
    heartbeat=Fact(
        "public/set_heartbeat {interval >= 10 s}; test_request must be answered with public/test",
        "docs.deribit.com, public/set_heartbeat",
        _READ,
        note="the grace is not stated: we answer in the reader, within a second (L)",
    ),
    client_beat_ns=Fact(None, _CM, _READ, note="the venue tests us instead"),
    request_bytes=Fact(None, _SUB, _READ, "L", "none documented"),
    topic_bytes_per_connection=Fact(None, _SUB, _READ, "L", "none documented"),
    lifecycle_topics=Fact(
        (_EVERY_STATE,),
        _NT,
        _READ,
        "M",
        "names of states have changed since January 2026: an unknown one is told and not followed",
    ),
    connection_counter=Fact(None, _NT, _READ),
    client_ping=Fact(
        "allowed; abusive frequency may get stricter limits",
        "docs.deribit.com, Usage policy",
        _READ,
    ),
    dials=Fact((), _CM, _READ, "L", "no limit on attempts documented"),
    connections=Fact(32, _CM, _READ, note="for each IP address, HTTP included; one more gets 429"),
    messages=Fact((), _RL, _READ, note="requests are paid from credit pools instead"),
    topics_per_request=Fact(500, _SUB, _READ),
    topics_per_connection=Fact(None, _SUB, _READ, "L", "none documented"),
    pools=Fact(
        MappingProxyType(
            {
                "subscribe": Credit(30_000, 10_000),
                "other": Credit(50_000, 10_000),
                "instruments": Credit(50_000, 1_000),
            }
        ),
        _RL,
        _READ,
        note="subscribe costs 3,000, get_instruments 10,000, others 500; 10028 ends the session; "
        "get_instruments is stated as 1 a second and as 1 in 10 s: the stricter is kept",
    ),
    bulk=Fact(
        "public/get_book_summary_by_currency: every instrument settled in a currency",
        "docs.deribit.com, public/get_book_summary_by_currency",
        _READ,
        "M",
        "prices and no sizes; creation_timestamp is taken for the time of the summary",
    ),
    calendar=Fact(
        (DailyPause(8 * 3600 * SECOND, 30 * SECOND, "the daily settlement at 08:00 UTC"),),
        _ER,
        _READ,
        "M",
        "settlement_in_progress takes seconds, says the document; 30 s are our own patience",
    ),
    login=Fact(
        "public/auth on the socket; raw channels need it (13778 otherwise)",
        "docs.deribit.com, Authentication",
        _READ,
    ),
    ack=Fact(
        "result lists the channels really subscribed; a bad one is silently absent", _SUB, _READ
    ),
    checksum=Fact(None, _BK, _READ, note="none; the chain of change ids is the proof"),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact("platform_state; public/status", _NT, _READ),
    errors=Fact(_ERRORS, _ER, _READ),
    framing=Fact(
        "JSON-RPC 2.0, one object a frame, no batch; replies may overtake each other", _RPC, _READ
    ),
    reconciliation=Fact(
        "private/get_open_orders, get_order_state, get_user_trades_by_currency",
        "OpenAPI snapshot, March 2026",
        _READ,
    ),
    cutovers=Fact((), "docs.deribit.com, Changelog", _READ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType(
                {
                    "100ms": "trades.{symbol}.100ms",
                    "raw": "trades.{symbol}.raw",
                    "agg2": "trades.{symbol}.agg2",
                }
            ),
            numbering=Fact(
                Numbering.DENSE, _NT, _READ, note="trade_seq counts each instrument's trades"
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(False, _NT, _READ, "L"),
            private=_RAW,
        ),
        Channel(
            name="book",
            topics=MappingProxyType(
                {
                    "100ms": "book.{symbol}.100ms",
                    "raw": "book.{symbol}.raw",
                    "agg2": "book.{symbol}.agg2",
                }
            ),
            numbering=Fact(
                Numbering.CHAIN, _BK, _READ, note="prev_change_id names the change before"
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            snapshot=Fact(
                SnapshotFrom.STREAM,
                _BK,
                _READ,
                note="first message after subscribing; on a gap unsubscribe and subscribe",
            ),
            speaks_on_subscribe=Fact(True, _BK, _READ),
            private=_RAW,
            unlike=(_GROUPED_BOOK,),
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"quote": "quote.{symbol}"}),
            numbering=Fact(Numbering.NONE, _NT, _READ, note="timestamp in milliseconds only"),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, "seen in traffic of April 2021 for ticker", _READ, "L"),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType(
                {
                    "100ms": "ticker.{symbol}.100ms",
                    "raw": "ticker.{symbol}.raw",
                    "agg2": "ticker.{symbol}.agg2",
                }
            ),
            numbering=Fact(Numbering.NONE, _NT, _READ, note="timestamp in milliseconds only"),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, "seen in traffic of April 2021", _READ, "M"),
            private=_RAW,
        ),
    ),
    server_time=Fact(
        ServerTime("/api/v2/public/get_time", "other", ("result",), MS, 500),
        "docs.deribit.com, public/get_time",
        _READ,
    ),
    busiest=("book", "BTC-PERPETUAL"),
    traps=(
        "A subscribe may be granted in part, without an error: compare the lists.",
        "10028 ends the session: at most three subscribes a second, at most 500 channels each.",
        "raw channels need a login.",
        "Grouped books share the prefix book. but are full images without a chain.",
        "Prices are JSON floats, not strings.",
        "Settlement at 08:00 UTC makes calls fail for seconds (10041).",
        "Implied volatilities are in percent, and 0 where there is none.",
    ),
    codec=DeribitCodec,
    rest=DeribitRest(),
    login_request=log_in,
    bulk_reads=SUMMARIES,
    login_final=Fact(frozenset({13004}), _ER, _READ, note="invalid_credentials"),
)

PROFILES: Final = (_PROFILE,)
