"""Kraken Spot, the first dialect: arrays, numbers as text.  Frozen by the venue, still served.

Data frames are ``[number, payload, ..., channel, pair]``; a change of both sides of a book comes
as two payloads in one frame.  Books have no numbers, and every change carries a checksum of
digits that are sent in full.  Trades have neither number nor id: they are told apart by time,
price, size and side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.checksum import TextLevel
from gapless.core.codec import (
    Ack,
    Asked,
    Denied,
    Granted,
    Heartbeat,
    Reading,
    Refusal,
    Request,
    Shutdown,
    Status,
    Stray,
)
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.errors import DecodeError, printable
from gapless.events import Bbo, BookDelta, BookSnapshot, Event, Origin, Side, Texts, Ticker, Trade
from gapless.venues._kraken import (
    CHECKSUM,
    CLIENT_BEAT,
    COMPRESSION,
    CONNECTIONS,
    DEPTHS,
    DIALS,
    LIFETIME,
    MESSAGES,
    POOLS,
    REST_ENDPOINTS,
    KrakenRest,
    levels,
)
from gapless.venues._profile import (
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    Profile,
    ServerTime,
)

__all__ = ["PROFILES", "KrakenV1Codec"]

_READ: Final = "2026-11-22"
_WS: Final = "docs.kraken.com, Spot WebSocket overview"
_BOOK: Final = "docs.kraken.com, Spot WebSocket v1: Book"
_CRC: Final = "docs.kraken.com, Book checksum (WebSocket v1)"
_TRADE: Final = "docs.kraken.com, Spot WebSocket v1: Trade"
_SPREAD: Final = "docs.kraken.com, Spot WebSocket v1: Spread"
_TICK: Final = "docs.kraken.com, Spot WebSocket v1: Ticker"
_SUB: Final = "docs.kraken.com, Spot WebSocket v1: Subscription status"

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Crc = Annotated[int, Meta(ge=0, lt=2**32)]
_Level = tuple[str, ...]  # price, size, time, and "r" where it is only republished

_TIME: Final = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")
_NOT_FOUND: Final = "subscription not found"
_TOO_FAST: Final = "exceeded msg rate"  # there are no codes
_FRAME_MIN: Final = 4  # number, a payload, channel, pair


class _Book(Struct, gc=False, rename={"all_asks": "as", "all_bids": "bs"}):
    all_asks: list[_Level] | None = None
    all_bids: list[_Level] | None = None
    a: list[_Level] = []
    b: list[_Level] = []
    c: Crc | None = None


class _Ticker(Struct, gc=False):
    a: tuple[Price, msgspec.Raw, Size]
    b: tuple[Price, msgspec.Raw, Size]
    c: tuple[Price, Size]
    v: tuple[Size, Size]


class _Subscription(Struct, frozen=True, gc=False):
    name: str = ""
    depth: int = DEPTHS[0]


class _Told(Struct, gc=False):
    event: str
    status: str = ""
    errorMessage: str = ""  # noqa: N815  # the venue's name
    pair: str = ""
    reqid: Number | None = None
    subscription: _Subscription = _Subscription()


class _Asked(Struct, gc=False):
    event: str
    pair: list[str] = []
    reqid: Number | None = None
    subscription: _Subscription = _Subscription()


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
# Numbers arrive as text, hence not strict.
_decode_book = msgspec.json.Decoder(_Book, strict=False).decode
_decode_ticker = msgspec.json.Decoder(_Ticker, strict=False).decode
_decode_trades = msgspec.json.Decoder(
    list[tuple[str, str, str, Literal["b", "s"], str, str]]
).decode
_decode_spread = msgspec.json.Decoder(tuple[str, str, str, str, str]).decode
_encode = msgspec.json.encode


class KrakenV1Codec:
    """The dialect for one session.

    Args:
        origins: The topics of this session.
        texts: Without effect: books always carry their texts, for the checksum.
    """

    __slots__ = ("_origins", "_system")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        del texts
        self._origins = origins
        self._system = ""

    def setup(self, next_id: int) -> list[Request]:
        """Return nothing: there is nothing to agree on."""
        del next_id
        return []

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return a request for each channel and depth; each may name many pairs."""
        return _requests("subscribe", next_id, topics)

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return _requests("unsubscribe", next_id, topics)

    def once_live(self, request_id: int) -> None:
        """Return nothing: every pair has been answered, and the state of the venue is pushed."""
        del request_id

    def beat(self, next_id: int) -> None:
        """Return nothing: the venue's own heartbeats keep the connection busy."""
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
        name = _name(call.subscription)
        topics = tuple(f"{name}:{pair}" for pair in call.pair)
        match call.event:
            case "subscribe":
                return Asked("subscribe", call.reqid, topics)
            case "unsubscribe":
                return Asked("unsubscribe", call.reqid, topics)
            case _:
                return None

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            if text.startswith("["):
                return self._read_data(text, recv_ns, mono_ns)
            return self._read_told(_decode_told(text))
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    def _read_data(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        parts = _decode_parts(text)
        if len(parts) < _FRAME_MIN:
            return Stray("an array that names no pair")
        topic = f"{_decode_text(parts[-2])}:{_decode_text(parts[-1])}"
        origin = self._origins.get(topic)
        if origin is None:
            return Stray(f"topic {printable(topic)}")
        match origin.channel:
            case "book":
                return [_book(origin, parts[1:-2], recv_ns, mono_ns)]
            case "trades":
                return _trades(origin, parts[1], recv_ns, mono_ns)
            case "bbo":
                return [_spread(origin, parts[1], recv_ns, mono_ns)]
            case _:
                return [_ticker(origin, parts[1], recv_ns, mono_ns)]

    def _read_told(self, told: _Told) -> Reading:
        match told.event:
            case "heartbeat" | "pong":
                return Heartbeat()
            case "subscriptionStatus":
                return self._read_status(told)
            case "systemStatus":
                before, self._system = self._system, told.status
                if told.status == "online" and before in {"", "online"}:
                    return Heartbeat()
                return Status(f"system {printable(told.status)}")
            case "error":
                return _refusal(told)
            case _:
                return Stray(f"event {printable(told.event)}")

    def _read_status(self, told: _Told) -> Reading:
        topic = f"{_name(told.subscription)}:{told.pair}"
        match told.status:
            case "subscribed":
                return Granted((topic,))
            case "unsubscribed" if told.reqid is None:
                # The venue ends subscriptions on its own; a new session asks again.
                return Shutdown(f"the venue unsubscribed {printable(topic)}")
            case "error" if _NOT_FOUND in told.errorMessage.lower():
                return _refusal(told)  # answers an unsubscribe: the topic may be asked for anew
            case "error" if told.pair and told.subscription.name and not _is_too_fast(told):
                if self._origins.get(topic) is not None:
                    return Denied((topic,), 0, printable(told.errorMessage))
                return _refusal(told)
            case "error":
                return _refusal(told)
            case _:
                return Stray(told.status) if told.reqid is None else Ack(told.reqid)


def _is_too_fast(told: _Told) -> bool:
    return _TOO_FAST in told.errorMessage.lower()


def _refusal(told: _Told) -> Refusal:
    return Refusal(told.reqid, 0, printable(told.errorMessage), limited=_is_too_fast(told))


def _book(
    origin: Origin, payloads: list[msgspec.Raw], recv_ns: int, mono_ns: int
) -> BookDelta | BookSnapshot:
    bids: list[_Level] = []
    asks: list[_Level] = []
    whole = False
    checksum = None
    for payload in payloads:
        part = _decode_book(payload)
        whole = whole or part.all_asks is not None or part.all_bids is not None
        asks += part.all_asks or part.a
        bids += part.all_bids or part.b
        checksum = part.c if part.c is not None else checksum
    texts = Texts(_pairs(bids), _pairs(asks), checksum)
    kind = BookSnapshot if whole else BookDelta
    # A republished level keeps its old time, so the newest is the time of the message.
    event_ns = max((_ns(level[2]) for level in (*bids, *asks)), default=None)
    return kind(
        origin,
        recv_ns,
        mono_ns,
        event_ns,
        None,
        None,
        levels(texts.bids),
        levels(texts.asks),
        texts,
    )


def _pairs(sent: list[_Level]) -> list[TextLevel]:
    if any(len(level) < 3 for level in sent):  # price, size, time
        raise DecodeError("a price level without its time")
    return [(level[0], level[1]) for level in sent]


def _trades(origin: Origin, payload: msgspec.Raw, recv_ns: int, mono_ns: int) -> list[Event]:
    events: list[Event] = []
    seen: dict[str, int] = {}
    for price, size, time, taker, _, _ in _decode_trades(payload):
        [(value, amount)] = levels([(price, size)])
        event_ns = _ns(time)
        name = f"{time}/{price}/{size}/{taker}"
        # Two trades of one frame may agree in all of it, and are two trades all the same.
        repeat = seen[name] = seen.get(name, 0) + 1
        if repeat > 1:
            name = f"{name}/{repeat}"
        side: Side = "buy" if taker == "b" else "sell"
        events.append(
            Trade(origin, recv_ns, mono_ns, event_ns, None, None, name, value, amount, side)
        )
    return events


def _spread(origin: Origin, payload: msgspec.Raw, recv_ns: int, mono_ns: int) -> Bbo:
    bid, ask, time, bid_size, ask_size = _decode_spread(payload)
    [(bid_price, bid_amount), (ask_price, ask_amount)] = levels([(bid, bid_size), (ask, ask_size)])
    return Bbo(
        origin,
        recv_ns,
        mono_ns,
        _ns(time),
        None,
        None,
        bid_price if bid_amount else None,
        bid_amount or None,
        ask_price if ask_amount else None,
        ask_amount or None,
    )


def _ticker(origin: Origin, payload: msgspec.Raw, recv_ns: int, mono_ns: int) -> Ticker:
    data = _decode_ticker(payload)
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        None,
        None,
        None,
        data.c[0],
        bid=data.b[0] or None,
        ask=data.a[0] or None,
        volume=data.v[1],  # the first is since midnight
    )


def _ns(text: str) -> int:
    """Return Unix time in nanoseconds of seconds with decimals."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise DecodeError(f"not a time: {printable(text)}")
    return int(match[1]) * SECOND + int((match[2] or "").ljust(9, "0"))


def _name(subscription: _Subscription) -> str:
    """Return the head of a topic, as data frames name the channel."""
    name = subscription.name
    return f"book-{subscription.depth}" if name == "book" else name


def _requests(
    event: Literal["subscribe", "unsubscribe"], next_id: int, topics: tuple[str, ...]
) -> list[Request]:
    groups: dict[str, list[str]] = {}
    for topic in topics:
        groups.setdefault(topic.partition(":")[0], []).append(topic)
    requests = []
    for request_id, (head, members) in enumerate(groups.items(), start=next_id):
        name, _, depth = head.partition("-")
        subscription: dict[str, object] = {"name": name}
        if depth:
            subscription["depth"] = int(depth)
        call = {
            "event": event,
            "reqid": request_id,
            "pair": [topic.partition(":")[2] for topic in members],
            "subscription": subscription,
        }
        requests.append(Request(request_id, event, _encode(call).decode(), tuple(members)))
    return requests


_PROFILE: Final = Profile(
    name="kraken.v1",
    title="Kraken Spot, older dialect",
    endpoints=Fact(
        Endpoints(
            public=("wss://ws.kraken.com/",),
            test=("wss://beta-ws.kraken.com/",),
            path="/",
            independent=None,
        ),
        _WS,
        _READ,
        note="frozen: new features come to the second dialect only; TLS needs SNI",
    ),
    rest_endpoints=REST_ENDPOINTS,
    lifetime_ns=LIFETIME,
    shutdown_notice=Fact(
        "systemStatus: maintenance; the connection is then closed", _WS, _READ, "M"
    ),
    server_ping_ns=Fact(None, _WS, _READ, "L", "none documented; heartbeat messages instead"),
    pong_within_ns=Fact(None, _WS, _READ, "L"),
    heartbeat=Fact(
        "event heartbeat, one a second while something is subscribed and nothing else flows",
        _WS,
        _READ,
    ),
    client_ping=Fact('{"event":"ping"} is answered with pong', _WS, _READ),
    client_beat_ns=CLIENT_BEAT,
    dials=DIALS,
    connections=CONNECTIONS,
    messages=MESSAGES,
    topics_per_request=Fact(None, _SUB, _READ, "L", "none documented"),
    request_bytes=Fact(None, _WS, _READ, "L", "none documented"),
    topics_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(None, _WS, _READ),
    pools=POOLS,
    login=Fact(None, _WS, _READ, note="market data needs none"),
    ack=Fact("subscriptionStatus for each pair, with our reqid", _SUB, _READ),
    checksum=Fact(
        "CRC32, unsigned, of the ten best levels: asks, then bids, digits without point and zeros",
        _CRC,
        _READ,
        note="updates only; 4,269 of 4,269 agreed in traffic of April 2021",
    ),
    compression=COMPRESSION,
    maintenance=Fact("systemStatus: online, cancel_only, post_only or maintenance", _WS, _READ),
    errors=Fact(MappingProxyType({}), _SUB, _READ, note="texts without codes"),
    framing=Fact(
        "JSON text: data in arrays that end with channel and pair, the rest in objects", _WS, _READ
    ),
    reconciliation=Fact("openOrders and ownTrades, then REST", _WS, _READ),
    cutovers=Fact((), "docs.kraken.com, Changelog", _READ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"raw": "trade:{symbol}"}),
            numbering=Fact(
                Numbering.IDENTITY,
                _TRADE,
                _READ,
                "L",
                "no id is sent: told apart by time, price, size and side, and by their place in "
                "one frame; equal trades of two frames would be taken for one",
            ),
            arbitration=Arbitration.BY_IDENTITY,
            speaks_on_subscribe=Fact(False, "seen in traffic of April 2021", _READ, "M"),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({str(depth): f"book-{depth}:{{symbol}}" for depth in DEPTHS}),
            numbering=Fact(Numbering.NONE, _BOOK, _READ, note="the checksum is the only proof"),
            arbitration=Arbitration.FAILOVER_ONLY,
            snapshot=Fact(
                SnapshotFrom.STREAM,
                _BOOK,
                _READ,
                note="if a checksum fails, unsubscribe and subscribe that pair",
            ),
            speaks_on_subscribe=Fact(True, _BOOK, _READ),
            depths=MappingProxyType({str(depth): depth for depth in DEPTHS}),
            checksum=CHECKSUM,
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"spread": "spread:{symbol}"}),
            numbering=Fact(Numbering.NONE, _SPREAD, _READ, note="a time in microseconds only"),
            arbitration=Arbitration.BY_TIME,
            speaks_on_subscribe=Fact(True, _SPREAD, _READ, "L"),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"24h": "ticker:{symbol}"}),
            numbering=Fact(Numbering.NONE, _TICK, _READ, note="not even a time"),
            arbitration=Arbitration.FAILOVER_ONLY,
            speaks_on_subscribe=Fact(True, "seen in traffic of April 2021", _READ, "M"),
        ),
    ),
    symbol_signs="/",
    server_time=Fact(
        ServerTime("/0/public/Time", "rest", ("result", "unixtime"), SECOND),
        "docs.kraken.com, REST: Get server time",
        _READ,
        "M",
    ),
    busiest=("book", "XBT/USD"),
    traps=(
        "Pairs are XBT/USD here, BTC/USD in the newer dialect, and XXBTZUSD in REST.",
        "Bids and asks of one change may come as two objects in one array.",
        'A level with a fourth element "r" is republished: it comes back into the depth.',
        "Levels are to be taken in the order of the array: the last of one price counts.",
        "Levels that fall out of the subscribed depth get no deletion: cut after each message.",
        "The checksum comes with changes only, not with the snapshot, and is text.",
        "The venue may end a subscription on its own.",
        "Times are not unique and order nothing.",
    ),
    codec=KrakenV1Codec,
    rest=KrakenRest(str),
)

PROFILES: Final = (_PROFILE,)
