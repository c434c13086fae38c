"""Hyperliquid: market data of perpetuals and spot.

Books come whole, twenty levels a side with every push, so nothing has to be proven of them but
that the newest is the newest.  Trades have names without order; a subscription is greeted with
the latest thirty or so, which may reach back beyond a break.

One subscription a request, one coin a subscription.  The venue confirms by repeating what was
asked for, defaults filled in, and refuses with a sentence that quotes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.budget import Window
from gapless.core.codec import (
    Asked,
    Denied,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    RequestKind,
    Status,
    Stray,
)
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument
from gapless.errors import DecodeError, printable
from gapless.events import Bbo, BookSnapshot, Event, Levels, Origin, Texts, Ticker, Trade
from gapless.venues._profile import (
    MS,
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    NoPastTrades,
    NoSnapshots,
    Profile,
    RestGet,
)

__all__ = ["PROFILES", "HyperliquidCodec", "HyperliquidRest"]

_READ: Final = "2026-11-22"
_WS: Final = "hyperliquid.gitbook.io, API, Websocket"
_SUB: Final = "hyperliquid.gitbook.io, API, Websocket, Subscriptions"
_BEAT: Final = "hyperliquid.gitbook.io, API, Websocket, Timeouts and heartbeats"
_RL: Final = "hyperliquid.gitbook.io, API, Rate limits and user limits"
_INFO: Final = "hyperliquid.gitbook.io, API, Info endpoint"
_SDK: Final = "hyperliquid-python-sdk, websocket_manager.py"
_SEEN: Final = "seen in traffic of January 2025"

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**43)]  # as nanoseconds it fits 64 bits
# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Rate = Annotated[float, Meta(ge=-1e30, le=1e30)]

_CHANNELS: Final = frozenset({"l2Book", "trades", "bbo", "activeAssetCtx"})
_GREETING: Final = "Websocket connection established."


class _Level(Struct, gc=False):
    px: Price
    sz: Size


class _TextLevel(Struct, gc=False):
    px: str
    sz: str


class _Book(Struct, gc=False):
    coin: str
    time: Millis
    levels: tuple[list[_Level], list[_Level]]


class _TextBook(Struct, gc=False):
    levels: tuple[list[_TextLevel], list[_TextLevel]]


class _Bbo(Struct, gc=False):
    coin: str
    time: Millis
    bbo: tuple[_Level | None, _Level | None]


class _Trade(Struct, gc=False):
    coin: str
    side: Literal["A", "B"]
    px: Price
    sz: Size
    time: Millis
    tid: Number


class _Context(Struct, gc=False):
    markPx: Price | None = None  # noqa: N815  # the venue's names
    oraclePx: Price | None = None  # noqa: N815
    funding: Rate | None = None
    openInterest: Size | None = None  # noqa: N815
    dayBaseVlm: Size | None = None  # noqa: N815


class _Asset(Struct, gc=False):
    coin: str
    ctx: _Context


class _Frame(Struct, gc=False):
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Subscription(Struct, gc=False):
    type: str = ""
    coin: str = ""


class _Answer(Struct, gc=False):
    method: str
    subscription: _Subscription


class _Asked(Struct, gc=False):
    method: str = ""
    subscription: _Subscription = msgspec.field(default_factory=_Subscription)


class _Perp(Struct, gc=False):
    name: str
    isDelisted: bool = False  # noqa: N815


class _Token(Struct, gc=False):
    name: str
    index: int


class _Pair(Struct, gc=False):
    name: str
    tokens: tuple[int, int]


class _Pairs(Struct, gc=False):
    universe: list[_Pair]
    tokens: list[_Token]


class _Perps(Struct, gc=False):
    universe: list[_Perp]


class _Kind(Struct, gc=False):
    tokens: msgspec.Raw = msgspec.Raw(b"")


# Numbers arrive as text, hence not strict.
_decode_book = msgspec.json.Decoder(_Book, strict=False).decode
_decode_texts = msgspec.json.Decoder(_TextBook).decode
_decode_bbo = msgspec.json.Decoder(_Bbo, strict=False).decode
_decode_trades = msgspec.json.Decoder(list[_Trade], strict=False).decode
_decode_asset = msgspec.json.Decoder(_Asset, strict=False).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_subscription = msgspec.json.Decoder(_Subscription).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_perps = msgspec.json.Decoder(_Perps).decode
_decode_pairs = msgspec.json.Decoder(_Pairs).decode
_encode = msgspec.json.encode
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


class HyperliquidCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session, spelled ``type:coin``.
        texts: Whether book events carry their literal levels.
    """

    __slots__ = ("_greeted", "_origins", "_texts")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts
        self._greeted: set[str] = set()  # trades that have had their greeting

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: there is nothing to set up."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return one request for each topic: a list of coins would be ignored in silence."""
        self._greeted.difference_update(topics)
        return [
            Request(number, "subscribe", _call("subscribe", topic), (topic,), "messages")
            for number, topic in enumerate(topics, start=next_id)
        ]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        del next_id
        return [
            Request(0, "unsubscribe", _call("unsubscribe", topic), (topic,), "messages")
            for topic in topics
        ]

    def beat(self, next_id: int) -> Request:
        """Return the venue's own ping: it closes what it has said nothing to for a minute."""
        del next_id
        return Request(0, "reply", '{"method":"ping"}', (), "messages")

    def number(self, text: str) -> None:
        """Return nothing: the venue does not count the frames of a connection."""
        del text

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            call = _decode_asked(text)
        except _UNREADABLE as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        if call.method not in {"subscribe", "unsubscribe"}:
            return None
        kind: RequestKind = "subscribe" if call.method == "subscribe" else "unsubscribe"
        topic = _topic(call.subscription)
        return Asked(kind, None, () if topic is None else (topic,))

    def once_live(self, request_id: int) -> None:
        """Return nothing: the venue has no news of its own."""
        del request_id

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        if text == _GREETING:  # the only frame that is not JSON
            return Heartbeat()
        try:
            frame = _decode_frame(text)
            return self._read(frame.channel, frame.data, recv_ns, mono_ns)
        except _UNREADABLE as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read(
        self, channel: str, data: msgspec.Raw, recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        match channel:
            case "l2Book":
                return self._book(data, recv_ns, mono_ns)
            case "trades":
                return self._trades(data, recv_ns, mono_ns)
            case "bbo":
                quote = _decode_bbo(data)
                origin = self._origins.get(f"bbo:{quote.coin}")
                if origin is not None:
                    return [_bbo(origin, quote, recv_ns, mono_ns)]
            case "activeAssetCtx" | "activeSpotAssetCtx":  # the topic is the former for both
                asset = _decode_asset(data)
                origin = self._origins.get(f"activeAssetCtx:{asset.coin}")
                if origin is not None:
                    return [_ticker(origin, asset.ctx, recv_ns, mono_ns)]
            case "pong":
                return Heartbeat()
            case "subscriptionResponse":
                answer = _decode_answer(data)
                topic = _topic(answer.subscription)
                known = topic is not None and self._origins.get(topic) is not None
                if topic is not None and known and answer.method == "subscribe":
                    return Granted((topic,))
            case "error":
                return self._refused(_decode_text(data))
            case _:
                pass
        return Stray(f"channel {printable(channel or 'none')}")

    # -- data -------------------------------------------------------------------------------

    def _book(self, data: msgspec.Raw, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        book = _decode_book(data)
        origin = self._origins.get(f"l2Book:{book.coin}")
        if origin is None:
            return Stray(f"a book of {printable(book.coin)} that nobody asked for")
        bids, asks = book.levels
        texts = None
        if self._texts:
            sent_bids, sent_asks = _decode_texts(data).levels
            texts = Texts([(x.px, x.sz) for x in sent_bids], [(x.px, x.sz) for x in sent_asks])
        event_ns = book.time * MS
        return [
            BookSnapshot(
                origin, recv_ns, mono_ns, event_ns, None, None, _pairs(bids), _pairs(asks), texts
            )
        ]

    def _trades(self, data: msgspec.Raw, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        events: list[Event] = []
        greeted: set[str] = set()
        trades = _decode_trades(data)
        # The greeting came oldest first when it was recorded; nothing promises that it always does.
        for trade in sorted(trades, key=_time):
            topic = f"trades:{trade.coin}"
            origin = self._origins.get(topic)
            if origin is not None:
                greeting = topic not in self._greeted
                greeted.add(topic)
                events.append(_trade(origin, trade, recv_ns, mono_ns, greeting=greeting))
        self._greeted |= greeted
        return events if events or not trades else Stray("trades that nobody asked for")

    # -- answers ----------------------------------------------------------------------------

    def _refused(self, detail: str) -> Reading:
        """Read a sentence that may quote the subscription it is about."""
        shown = printable(detail)
        if detail.startswith("Already unsubscribed"):  # of what we follow no more, so not ours
            return Status(shown)
        topic = _quoted(detail)
        if topic is None or self._origins.get(topic) is None:
            return Refusal(None, 0, shown, ordered=True)
        if detail.startswith("Already subscribed"):
            return Granted((topic,))
        return Denied((topic,), 0, shown)


def _topic(subscription: _Subscription) -> str | None:
    """Return the topic; whatever else the venue fills in is its default."""
    kind = "activeAssetCtx" if subscription.type == "activeSpotAssetCtx" else subscription.type
    if kind not in _CHANNELS or not subscription.coin:
        return None
    return f"{kind}:{subscription.coin}"


def _quoted(detail: str) -> str | None:
    start, end = detail.find("{"), detail.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        return _topic(_decode_subscription(detail[start : end + 1]))
    except _UNREADABLE:
        return None


def _call(method: str, topic: str) -> str:
    kind, _, coin = topic.partition(":")
    subscription = {"type": kind, "coin": coin}
    return _encode({"method": method, "subscription": subscription}).decode()


def _pairs(levels: list[_Level]) -> Levels:
    return [(level.px, level.sz) for level in levels]


def _time(trade: _Trade) -> int:
    return trade.time


def _trade(origin: Origin, trade: _Trade, recv_ns: int, mono_ns: int, *, greeting: bool) -> Trade:
    return Trade(
        origin,
        recv_ns,
        mono_ns,
        trade.time * MS,
        None,
        None,
        f"{trade.time}-{trade.tid}",  # tid alone is not unique
        trade.px,
        trade.sz,
        "buy" if trade.side == "B" else "sell",
        greeting,
    )


def _bbo(origin: Origin, quote: _Bbo, recv_ns: int, mono_ns: int) -> Event:
    bid, ask = quote.bbo
    return Bbo(
        origin,
        recv_ns,
        mono_ns,
        quote.time * MS,
        None,
        None,
        None if bid is None else bid.px,
        None if bid is None else bid.sz,
        None if ask is None else ask.px,
        None if ask is None else ask.sz,
    )


def _ticker(origin: Origin, ctx: _Context, recv_ns: int, mono_ns: int) -> Event:
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        None,
        None,
        None,
        None,
        ctx.markPx,
        ctx.oraclePx,
        volume=ctx.dayBaseVlm,
        open_interest=ctx.openInterest,
        funding=ctx.funding,
    )


class HyperliquidRest(NoSnapshots, NoPastTrades):
    """What is listed; books and trades come with the stream."""

    # Books: every message is the whole book.
    # Trades have no numbers.

    def instruments(self) -> tuple[RestGet, ...]:
        """Return the requests for the perpetuals and for the spot pairs."""
        return tuple(
            RestGet("/info", (), "weight", 20, _encode({"type": kind}).decode())
            for kind in ("meta", "spotMeta")
        )

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read either list; see `gapless.venues._profile.Rest.read_instruments`."""
        try:
            if not _decode_kind(body).tokens:  # only spot pairs are made of tokens
                return [
                    Instrument(
                        perp.name,
                        "perp",
                        perp.name.rpartition(":")[2],
                        "USD",
                        "USDC",
                        "gone" if perp.isDelisted else "open",
                    )
                    for perp in _decode_perps(body).universe
                ]
            spot = _decode_pairs(body)
        except _UNREADABLE as error:
            raise DecodeError(f"not a list of instruments: {printable(str(error))}") from error
        names = {token.index: token.name for token in spot.tokens}
        return [
            Instrument(pair.name, "spot", names.get(base, ""), names.get(quote, ""))
            for pair in spot.universe
            for base, quote in [pair.tokens]
        ]

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return 0 and the text of an error body, which is a JSON text, or `None`."""
        try:
            return 0, printable(_decode_text(body))
        except _UNREADABLE:
            return None


_PROFILE: Final = Profile(
    name="hyperliquid",
    title="Hyperliquid",
    endpoints=Fact(
        Endpoints(
            public=("wss://api.hyperliquid.xyz/ws",),
            test=("wss://api.hyperliquid-testnet.xyz/ws",),
            path="/ws",
            independent=None,
        ),
        _WS,
        _READ,
    ),
    rest_endpoints=Fact(("https://api.hyperliquid.xyz",), _INFO, _READ),
    lifetime_ns=Fact(None, _WS, _READ, "M", "none; the server may disconnect without notice"),
    shutdown_notice=Fact(
        None, _WS, _READ, note="none; close 1000 was seen at restarts and is abnormal"
    ),
    server_ping_ns=Fact(None, _BEAT, _READ, "M", "ping frames are not documented"),
    pong_within_ns=Fact(None, _BEAT, _READ, "L"),
    heartbeat=Fact('{"channel":"pong"} answers {"method":"ping"}', _BEAT, _READ),
    client_ping=Fact('{"method":"ping"} as text', _BEAT, _READ),
    client_beat_ns=Fact(
        30 * SECOND,
        _BEAT,
        _READ,
        note="closed after 60 s in which the server has sent nothing; the official client: 50 s",
    ),
    dials=Fact((Window(30, 60 * SECOND),), _RL, _READ, "M", "for each address"),
    connections=Fact(10, _RL, _READ, "M", "for each address; older pages say 100"),
    messages=Fact((), _RL, _READ, note="counted for the address and not the connection: pools"),
    topics_per_request=Fact(1, _SUB, _READ, "M", "a list of coins is ignored in silence"),
    request_bytes=Fact(None, _SUB, _READ, "L", "none documented"),
    topics_per_connection=Fact(
        1000, _RL, _READ, note="1000 for the address: lines and processes together"
    ),
    topics_per_address=Fact(
        1000, _RL, _READ, note="a feed keeps to it; other feeds and processes are not counted"
    ),
    topic_bytes_per_connection=Fact(None, _SUB, _READ, "L", "none documented"),
    connection_counter=Fact(None, _WS, _READ),
    pools=Fact(
        MappingProxyType(
            {"messages": Window(2000, 60 * SECOND), "weight": Window(1200, 60 * SECOND)}
        ),
        _RL,
        _READ,
        note="2000 messages a minute over all connections; most info requests weigh 20",
    ),
    login=Fact(None, _SUB, _READ, note="none; user data is found by its public address"),
    ack=Fact(
        "subscriptionResponse repeats the subscription, defaults filled in; no id", _SUB, _READ
    ),
    checksum=Fact(None, _SUB, _READ, note="none; every book is whole"),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact(None, _WS, _READ, "M", "no channel for it"),
    errors=Fact(
        MappingProxyType({0: "errors are sentences: SubscriptionRejected"}), _SDK, _READ, "M"
    ),
    framing=Fact("JSON text {channel, data}; the first frame is a plain sentence", _SDK, _READ),
    reconciliation=Fact("info: openOrders, userFillsByTime, orderStatus", _INFO, _READ),
    cutovers=Fact((), _WS, _READ, "L", "no changelog"),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"trades": "trades:{symbol}"}),
            numbering=Fact(
                Numbering.IDENTITY, f"{_SUB}, WsTrade", _READ, note="time, coin and tid together"
            ),
            arbitration=Arbitration.BY_IDENTITY,
            speaks_on_subscribe=Fact(True, f"{_SEEN}: thirty trades, oldest first", _READ, "M"),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({"l2Book": "l2Book:{symbol}"}),
            numbering=Fact(Numbering.NONE, f"{_SUB}, WsBook", _READ, note="time in milliseconds"),
            arbitration=Arbitration.BY_TIME,
            snapshot=Fact(
                SnapshotFrom.EVERY,
                f"{_SUB}, WsBook",
                _READ,
                note="twenty levels a side, at most one push in half a second",
            ),
            speaks_on_subscribe=Fact(True, _SEEN, _READ, "M"),
            depths=MappingProxyType({"l2Book": 20}),
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"bbo": "bbo:{symbol}"}),
            numbering=Fact(Numbering.NONE, f"{_SUB}, WsBbo", _READ, note="time in milliseconds"),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, f"{_SUB}, WsBbo", _READ, "L"),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"activeAssetCtx": "activeAssetCtx:{symbol}"}),
            numbering=Fact(Numbering.NONE, f"{_SUB}, WsActiveAssetCtx", _READ, note="no time"),
            arbitration=Arbitration.FAILOVER_ONLY,
            speaks_on_subscribe=Fact(True, f"{_SUB}, WsActiveAssetCtx", _READ, "L"),
        ),
    ),
    symbol_signs="@/:",
    busiest=("trades", "BTC"),
    traps=(
        "The first frame is a plain sentence and no JSON.",
        "Close 1000 is how a restart looks: it is no goodbye.",
        "A connection that the server has sent nothing to for 60 s is closed: ping by text.",
        "A list of coins in one subscription is ignored in silence.",
        "The confirmation repeats the subscription with defaults filled in.",
        "A book of a quiet coin may come every 5 s, and a bbo not for minutes.",
        "tid alone is not unique: time and coin belong to it.",
        "activeAssetCtx of a spot coin is answered on activeSpotAssetCtx.",
        "Connections, subscriptions and messages are counted for the whole address.",
    ),
    codec=HyperliquidCodec,
    rest=HyperliquidRest(),
)

PROFILES: Final = (_PROFILE,)
