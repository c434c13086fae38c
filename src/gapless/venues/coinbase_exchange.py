"""Coinbase Exchange: the public market data feed.

Trades are numbered within a product and can be asked for again.  Books are a snapshot and changes
without numbers, every 50 ms; the venue promises to deliver them, and nothing proves that it did.
The ``sequence`` that most messages carry counts what the product did, and not what this feed was
sent of it: it orders tickers, and a jump in it means nothing.

Heartbeats are subscribed with every product, so that one that is quiet is heard each second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.budget import Window
from gapless.core.codec import (
    Asked,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    RequestKind,
    Stray,
)
from gapless.core.instants import instant_ns
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import Instrument, InstrumentState
from gapless.errors import DecodeError, printable
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Event,
    Levels,
    Origin,
    Side,
    Texts,
    Ticker,
    Trade,
)
from gapless.venues._profile import (
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    NoSnapshots,
    Profile,
    RestGet,
    ServerTime,
)

__all__ = ["PROFILES", "CoinbaseExchangeCodec", "CoinbaseExchangeRest"]

_READ: Final = "2026-11-22"
_OV: Final = "docs.cdp.coinbase.com, Exchange WebSocket Overview"
_CH: Final = "docs.cdp.coinbase.com, Exchange WebSocket Channels"
_RL: Final = "docs.cdp.coinbase.com, Exchange WebSocket Rate Limits"
_ER: Final = "docs.cdp.coinbase.com, Exchange WebSocket Errors"
_REST: Final = "docs.cdp.coinbase.com, Exchange REST API"

TRADES_MAX: Final = 1000  # past trades in one reply

Number = Annotated[int, Meta(ge=0, lt=2**62)]
# The bounds keep out NaN and the infinities, which a text can spell and JSON cannot.
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]

_CHANNELS: Final = frozenset({"level2_batch", "matches", "ticker"})
_SHARED: Final = {"bbo": "ticker"}
"""Topics of ours that the venue serves by another channel."""

_TWINS: Final = {"bbo": ("ticker",), "ticker": ("bbo",)}
"""Topics of ours that are served by one subscription."""

_ACKED: Final = {"level2_50": "level2_batch"}
"""Channels that the venue calls by another name when it confirms them."""


class _Snapshot(Struct, gc=False):
    product_id: str
    bids: list[tuple[Price, Size]]
    asks: list[tuple[Price, Size]]
    time: str = ""


class _TextSnapshot(Struct, gc=False):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Update(Struct, gc=False):
    product_id: str
    changes: list[tuple[Literal["buy", "sell"], Price, Size]]
    time: str = ""


class _TextUpdate(Struct, gc=False):
    changes: list[tuple[str, str, str]]


class _Match(Struct, gc=False):
    trade_id: Number
    side: Literal["buy", "sell"]
    size: Size
    price: Price
    time: str
    type: str = ""
    product_id: str = ""


class _Ticker(Struct, gc=False):
    product_id: str
    sequence: Number
    time: str = ""
    price: Price | None = None
    volume_24h: Size | None = None
    best_bid: Price | None = None
    best_bid_size: Size | None = None
    best_ask: Price | None = None
    best_ask_size: Size | None = None


class _Frame(Struct, gc=False):
    type: str = ""
    message: str = ""
    reason: str = ""


class _Named(Struct, gc=False):
    name: str
    product_ids: tuple[str, ...] | None = ()


class _Subscribed(Struct, gc=False):
    channels: list[_Named]


class _Asked(Struct, gc=False):
    type: str = ""
    product_ids: tuple[str, ...] = ()
    channels: tuple[str | _Named, ...] = ()


class _Product(Struct, gc=False):
    id: str
    base_currency: str
    quote_currency: str
    status: str = ""
    trading_disabled: bool = False
    cancel_only: bool = False


class _Fault(Struct, gc=False):
    message: str


# Numbers arrive as text, hence not strict.
_decode_snapshot = msgspec.json.Decoder(_Snapshot, strict=False).decode
_decode_snapshot_texts = msgspec.json.Decoder(_TextSnapshot).decode
_decode_update = msgspec.json.Decoder(_Update, strict=False).decode
_decode_update_texts = msgspec.json.Decoder(_TextUpdate).decode
_decode_match = msgspec.json.Decoder(_Match, strict=False).decode
_decode_matches = msgspec.json.Decoder(list[_Match], strict=False).decode
_decode_ticker = msgspec.json.Decoder(_Ticker, strict=False).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_subscribed = msgspec.json.Decoder(_Subscribed).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_products = msgspec.json.Decoder(list[_Product]).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode
_encode = msgspec.json.encode
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


class CoinbaseExchangeCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session, spelled ``channel:product``.
        texts: Whether book events carry their literal levels.
    """

    __slots__ = ("_origins", "_quoted", "_texts")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        self._origins = origins
        self._texts = texts
        self._quoted = {topic for topic in origins if topic.startswith("bbo:")}

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: heartbeats are asked for with the products they are of."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        self._quoted.update(topic for topic in topics if topic.startswith("bbo:"))
        beats = tuple(f"heartbeat:{_product(topic)}" for topic in topics)
        call = _call("subscribe", (*topics, *beats))
        return [Request(next_id, "subscribe", call, topics, "messages")]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return the request; its answer lists what is left, and is no answer to it alone.

        What another topic is served by goes on.
        """
        del next_id
        ending = tuple(topic for topic in topics if not self._is_shared(topic, topics))
        if not ending:
            return []
        return [Request(0, "unsubscribe", _call("unsubscribe", ending), ending, "messages")]

    def beat(self, next_id: int) -> None:
        """Return nothing: the venue does not want to hear from us."""
        del next_id

    def number(self, text: str) -> None:
        """Return nothing: the venue does not count the frames of a connection."""
        del text

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            call = _decode_asked(text)
        except _UNREADABLE as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        if call.type not in {"subscribe", "unsubscribe"}:
            return None
        kind: RequestKind = "subscribe" if call.type == "subscribe" else "unsubscribe"
        topics: dict[str, None] = {}
        for channel in call.channels:
            named = _Named(channel, ()) if isinstance(channel, str) else channel
            if named.name in _CHANNELS:
                products = named.product_ids or call.product_ids
                topics.update(dict.fromkeys(f"{named.name}:{product}" for product in products))
        return Asked(kind, None, tuple(topics))

    def once_live(self, request_id: int) -> None:
        """Return nothing: every answer lists what is subscribed."""
        del request_id

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            return self._read(_decode_frame(text), text, recv_ns, mono_ns)
        except _UNREADABLE as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read(self, frame: _Frame, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        match frame.type:
            case "l2update":
                events = self._update(text, recv_ns, mono_ns)
            case "match" | "last_match":
                match = _decode_match(text)
                origin = self._origins.get(f"matches:{match.product_id}")
                events = [] if origin is None else [_trade(origin, match, recv_ns, mono_ns)]
            case "ticker":
                events = self._ticker(text, recv_ns, mono_ns)
            case "snapshot":
                events = self._snapshot(text, recv_ns, mono_ns)
            case "heartbeat":
                return Heartbeat()
            case "subscriptions":
                return self._subscribed(text)
            case "error":
                detail = f"{frame.message}: {frame.reason}" if frame.reason else frame.message
                return Refusal(None, 0, printable(detail), ordered=True)
            case _:
                events = []
        return events or Stray(f"type {printable(frame.type or 'none')}")

    def _snapshot(self, text: str, recv_ns: int, mono_ns: int) -> list[Event]:
        data = _decode_snapshot(text)
        origin = self._origins.get(f"level2_batch:{data.product_id}")
        if origin is None:
            return []
        texts = None
        if self._texts:
            sent = _decode_snapshot_texts(text)
            texts = Texts(sent.bids, sent.asks)
        event_ns = _time_ns(data.time)
        return [
            BookSnapshot(
                origin, recv_ns, mono_ns, event_ns, None, None, data.bids, data.asks, texts
            )
        ]

    def _update(self, text: str, recv_ns: int, mono_ns: int) -> list[Event]:
        data = _decode_update(text)
        origin = self._origins.get(f"level2_batch:{data.product_id}")
        if origin is None:
            return []
        bids: Levels = [(price, size) for side, price, size in data.changes if side == "buy"]
        asks: Levels = [(price, size) for side, price, size in data.changes if side == "sell"]
        texts = None
        if self._texts:
            sent = _decode_update_texts(text).changes
            texts = Texts(
                [(price, size) for side, price, size in sent if side == "buy"],
                [(price, size) for side, price, size in sent if side == "sell"],
            )
        event_ns = _time_ns(data.time)
        return [BookDelta(origin, recv_ns, mono_ns, event_ns, None, None, bids, asks, texts)]

    def _ticker(self, text: str, recv_ns: int, mono_ns: int) -> list[Event]:
        data = _decode_ticker(text)
        event_ns = _time_ns(data.time)
        events: list[Event] = []
        quoted = f"bbo:{data.product_id}"
        best = self._origins.get(quoted) if quoted in self._quoted else None
        if best is not None:
            events.append(_bbo(best, data, recv_ns, mono_ns, event_ns))
        origin = self._origins.get(f"ticker:{data.product_id}")
        if origin is not None:
            events.append(_ticker(origin, data, recv_ns, mono_ns, event_ns))
        return events

    def _is_shared(self, topic: str, ending: tuple[str, ...]) -> bool:
        """Whether a topic that goes on is served by the same subscription."""
        channel, _, product = topic.partition(":")
        return self._origins.get(topic) is None and any(
            f"{other}:{product}" not in ending and self._origins.get(f"{other}:{product}")
            for other in _TWINS.get(channel, ())
        )

    def _subscribed(self, text: str) -> Granted:
        topics: dict[str, None] = {}
        for channel in _decode_subscribed(text).channels:
            name = _ACKED.get(channel.name, channel.name)
            for product in (channel.product_ids or ()) if name in _CHANNELS else ():
                topics[f"{name}:{product}"] = None
                if name == "ticker":
                    topics[f"bbo:{product}"] = None
        wanted = self._quoted
        return Granted(
            tuple(
                topic
                for topic in topics
                if (not topic.startswith("bbo:") or topic in wanted)
                and self._origins.get(topic) is not None
            )
        )


def _trade(origin: Origin, match: _Match, recv_ns: int, mono_ns: int) -> Trade:
    number = match.trade_id
    # The venue names the maker's side.
    side: Side = "sell" if match.side == "buy" else "buy"
    return Trade(
        origin,
        recv_ns,
        mono_ns,
        instant_ns(match.time),
        number,
        number,
        str(number),
        match.price,
        match.size,
        side,
        match.type != "match",
    )


def _bbo(origin: Origin, data: _Ticker, recv_ns: int, mono_ns: int, event_ns: int | None) -> Event:
    bid_size, ask_size = data.best_bid_size or None, data.best_ask_size or None
    return Bbo(
        origin,
        recv_ns,
        mono_ns,
        event_ns,
        data.sequence,
        data.sequence,
        data.best_bid if bid_size else None,
        bid_size,
        data.best_ask if ask_size else None,
        ask_size,
    )


def _ticker(
    origin: Origin, data: _Ticker, recv_ns: int, mono_ns: int, event_ns: int | None
) -> Event:
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        event_ns,
        data.sequence,
        data.sequence,
        data.price,
        bid=data.best_bid or None,
        ask=data.best_ask or None,
        volume=data.volume_24h,
    )


def _time_ns(text: str) -> int | None:
    """Return a time; `None` where the venue has none, which it also writes as the year 1."""
    return None if not text or text.startswith("0001-") else instant_ns(text)


def _product(topic: str) -> str:
    return topic.partition(":")[2]


def _call(kind: str, topics: Iterable[str]) -> str:
    channels: dict[str, dict[str, None]] = {}
    for topic in topics:
        channel = topic.partition(":")[0]
        channels.setdefault(_SHARED.get(channel, channel), {})[_product(topic)] = None
    named = [{"name": name, "product_ids": list(ids)} for name, ids in channels.items()]
    return _encode({"type": kind, "channels": named}).decode()


class CoinbaseExchangeRest(NoSnapshots):
    """Past trades by number, and what is listed."""

    # Books: the stream brings its own.

    def trades(self, topic: str, symbol: str, first: int, last: int) -> RestGet:
        """Return the request for the trades up to ``last``, `TRADES_MAX` at most."""
        del topic
        limit = min(TRADES_MAX, max(1, last - first + 1))
        # "after" is what comes after on the next page: older trades, the number itself excluded.
        query = (("after", str(last + 1)), ("limit", str(limit)))
        return RestGet(f"/products/{symbol}/trades", query, "rest", 1)

    def read_trades(self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int) -> list[Trade]:
        """Read a page of trades; see `gapless.venues._profile.Rest.read_trades`."""
        try:
            matches = _decode_matches(body)
        except _UNREADABLE as error:
            raise DecodeError(f"not a list of trades: {printable(str(error))}") from error
        matches.sort(key=lambda match: match.trade_id)
        return [_trade(origin, match, recv_ns, mono_ns) for match in matches]

    def instruments(self) -> tuple[RestGet, ...]:
        """Return the request for every product."""
        return (RestGet("/products", (), "rest", 1),)

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read a list of products; see `gapless.venues._profile.Rest.read_instruments`."""
        try:
            products = _decode_products(body)
        except _UNREADABLE as error:
            raise DecodeError(f"not a list of products: {printable(str(error))}") from error
        return [
            Instrument(
                product.id,
                "spot",
                product.base_currency,
                product.quote_currency,
                state=_state(product),
            )
            for product in products
        ]

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return 0 and the text of an error body, or `None` if it is not one."""
        try:
            return 0, printable(_decode_fault(body).message)
        except _UNREADABLE:
            return None


def _state(product: _Product) -> InstrumentState:
    if product.status == "delisted":
        return "gone"
    halted = product.status != "online" or product.trading_disabled or product.cancel_only
    return "halted" if halted else "open"


_PROFILE: Final = Profile(
    name="coinbase.exchange",
    title="Coinbase Exchange",
    endpoints=Fact(
        Endpoints(
            public=("wss://ws-feed.exchange.coinbase.com",),
            test=("wss://ws-feed-public.sandbox.exchange.coinbase.com",),
            path="",
            independent=None,
        ),
        _OV,
        _READ,
        note="ws-direct.exchange.coinbase.com serves authenticated clients only",
    ),
    rest_endpoints=Fact(("https://api.exchange.coinbase.com",), _REST, _READ),
    lifetime_ns=Fact(None, _OV, _READ, "L", "no maximum is documented"),
    shutdown_notice=Fact(None, _OV, _READ, "M", "none documented"),
    server_ping_ns=Fact(None, _OV, _READ, "M", "ping frames are not documented"),
    pong_within_ns=Fact(None, _OV, _READ, "L"),
    heartbeat=Fact(
        "heartbeat channel, once a second for each product", f"{_CH}, Heartbeat Channel", _READ
    ),
    client_ping=Fact(None, _OV, _READ, "L", "not documented"),
    client_beat_ns=Fact(None, _OV, _READ, "M", "not documented; the heartbeat channel is enough"),
    dials=Fact((Window(8, SECOND),), _RL, _READ, note="for each address, with bursts of 20"),
    connections=Fact(
        None, _RL, _READ, note="10 subscriptions for each product and channel, of all connections"
    ),
    messages=Fact((), _RL, _READ, note="counted for the address and not the connection: pools"),
    topics_per_request=Fact(None, _OV, _READ, "L", "none documented"),
    request_bytes=Fact(None, _OV, _READ, "L", "none documented"),
    topics_per_connection=Fact(None, _OV, _READ, "L", "none documented"),
    topic_bytes_per_connection=Fact(None, _OV, _READ, "L", "none documented"),
    connection_counter=Fact(None, _OV, _READ, note="sequence counts a product, filtered"),
    pools=Fact(
        MappingProxyType({"messages": Window(10, SECOND), "rest": Window(10, SECOND)}),
        _RL,
        _READ,
        "M",
        "100 messages a second on one page, a bucket refilled at 10 a second in the changelog",
    ),
    login=Fact(None, _OV, _READ, note="level2, level3 and full need one; these channels do not"),
    ack=Fact(
        "subscriptions lists all that is subscribed; no id",
        _OV,
        _READ,
        note="level2_batch is confirmed as level2_50 (seen in traffic)",
    ),
    checksum=Fact(None, _CH, _READ, note="none"),
    compression=Fact("permessage-deflate", _OV, _READ, "M", "offered; we do not ask for it"),
    maintenance=Fact("status channel, every 5 s", f"{_CH}, Status Channel", _READ, "M"),
    errors=Fact(
        MappingProxyType({0: "errors have texts and no code: SubscriptionRejected"}), _ER, _READ
    ),
    framing=Fact("JSON text, told apart by type", _OV, _READ),
    reconciliation=Fact("/orders by status, and /fills", _REST, _READ, "M"),
    cutovers=Fact((), "docs.cdp.coinbase.com, Exchange Changelog", _READ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"matches": "matches:{symbol}"}),
            numbering=Fact(
                Numbering.DENSE,
                f"{_CH}, Heartbeat Channel",
                _READ,
                note="trade ids verify that no message was missed; GET /products/{id}/trades",
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(
                True, f"{_CH}, Match", _READ, note="last_match, once, if there ever was a trade"
            ),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({"50ms": "level2_batch:{symbol}"}),
            numbering=Fact(Numbering.NONE, f"{_CH}, Level2 Batch Channel", _READ),
            arbitration=Arbitration.FAILOVER_ONLY,
            snapshot=Fact(
                SnapshotFrom.STREAM,
                f"{_CH}, Level2 Channel",
                _READ,
                note="the first message after subscribing; sizes are absolute",
            ),
            speaks_on_subscribe=Fact(True, f"{_CH}, Level2 Channel", _READ),
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"ticker": "bbo:{symbol}"}),
            numbering=Fact(
                Numbering.ORDERED, f"{_CH}, Ticker Channel", _READ, note="sequence jumps"
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(True, f"{_CH}, Ticker Channel", _READ, "M"),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"ticker": "ticker:{symbol}"}),
            numbering=Fact(
                Numbering.ORDERED, f"{_CH}, Ticker Channel", _READ, note="sequence jumps"
            ),
            arbitration=Arbitration.BY_SEQUENCE,
            speaks_on_subscribe=Fact(True, f"{_CH}, Ticker Channel", _READ, "M"),
        ),
    ),
    server_time=Fact(
        ServerTime("/time", "rest", ("epoch",), SECOND),
        "docs.cdp.coinbase.com, Exchange, Get server time",
        _READ,
        "M",
    ),
    busiest=("trades", "BTC-USD"),
    traps=(
        "The first subscribe must come within 5 s.",
        "sequence jumps on matches, ticker and heartbeat: it may not be checked for holes there.",
        "The side of a match is the maker's.",
        "last_match comes once after subscribing and repeats a trade.",
        "subscriptions lists all that is subscribed and not what changed; errors carry no id.",
        "A snapshot has no time, or one of the year 1.",
        "A snapshot of BTC-USD is larger than a megabyte: libraries close in a circle.",
        "last_trade_id of a heartbeat can be 0.",
    ),
    codec=CoinbaseExchangeCodec,
    rest=CoinbaseExchangeRest(),
)

PROFILES: Final = (_PROFILE,)
