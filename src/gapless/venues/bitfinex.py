"""Bitfinex: arrays on numbered channels, counted and checked.

Two flags make this venue's traffic provable, and are set before anything is subscribed:
``SEQ_ALL`` numbers every array of a connection, heartbeats and checksums included, and
``OB_CHECKSUM`` sends a checksum of each book after its changes.  A third, ``TIMESTAMP``, would
append a time behind the sequence number and is left alone: the last element stays the number.

Channel numbers are given with each subscription and mean nothing on another connection.  Trades
are announced twice under one id, at once and again when they are booked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from gapless.core.budget import Window
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
from gapless.events import Bbo, BookSnapshot, Event, Origin
from gapless.venues._bitfinex import (
    CHECKSUM,
    BitfinexRest,
    Number,
    Top,
    read_book,
    read_checksum,
    read_ticker,
    read_trades,
)
from gapless.venues._profile import (
    SECOND,
    Arbitration,
    Channel,
    Endpoints,
    Fact,
    Profile,
)

__all__ = ["PROFILES", "BitfinexCodec"]

_READ: Final = "2026-11-22"
_WS: Final = "docs.bitfinex.com, WebSocket: General"
_CONF: Final = "docs.bitfinex.com, WebSocket: Conf"
_BOOK: Final = "docs.bitfinex.com, WebSocket: Books"
_CS: Final = "docs.bitfinex.com, WebSocket Checksum"
_TRADE: Final = "docs.bitfinex.com, WebSocket: Trades"
_TICK: Final = "docs.bitfinex.com, WebSocket: Ticker"
_STATUS: Final = "docs.bitfinex.com, WebSocket: Status"
_LIMITS: Final = "docs.bitfinex.com, Requirements and limitations"
_REST: Final = "docs.bitfinex.com, REST: Configs"
_SEEN: Final = "seen in traffic of April 2021"

SEQ_ALL: Final = 65_536
OB_CHECKSUM: Final = 131_072

PRECISIONS: Final = ("P0", "P1", "P2", "P3", "P4")
FREQUENCIES: Final = ("F0", "F1")
LENGTHS: Final = (25, 100, 250)

_DIGITS_MAX: Final = 18


class _Platform(Struct, gc=False):
    status: int = 1


class _Told(Struct, gc=False):
    event: str
    channel: str = ""
    chanId: Number | None = None  # noqa: N815  # the venue's name
    symbol: str = ""
    prec: str = PRECISIONS[0]
    freq: str = FREQUENCIES[0]
    len: int | str = LENGTHS[0]
    key: str = ""
    subId: int | str | None = None  # noqa: N815  # the venue's name
    code: int | None = None
    msg: str = ""
    status: str = ""
    flags: int = 0
    platform: _Platform | None = None


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_number = msgspec.json.Decoder(Number).decode
_encode = msgspec.json.encode


class BitfinexCodec:
    """The dialect for one session.

    Args:
        origins: The topics of this session.
        texts: Without effect: books always carry their texts, for the checksum.
    """

    __slots__ = ("_asked", "_channels", "_counted", "_leaving", "_origins", "_tops")

    def __init__(self, origins: Mapping[str, Origin], *, texts: bool = False) -> None:
        del texts
        self._origins = origins
        self._asked: set[str] = set()  # topics whose channel has no number yet
        self._channels: dict[int, str] = {}  # topic of each channel number
        self._leaving: dict[int, int] = {}  # our request to leave a channel
        self._tops: dict[int, Top] = {}
        self._counted = False  # whether the venue has agreed to number its arrays

    def setup(self, next_id: int) -> list[Request]:
        """Ask for sequence numbers and checksums; the answer repeats no id."""
        del next_id
        call = _call({"event": "conf", "flags": SEQ_ALL | OB_CHECKSUM})
        return [Request(0, "setup", call)]

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return a request for each topic: a frame asks for one channel."""
        self._asked.update(topics)
        return [
            Request(
                request_id,
                "subscribe",
                _call({"event": "subscribe", **_params(topic), "subId": request_id}),
                (topic,),
            )
            for request_id, topic in enumerate(topics, start=next_id)
        ]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        """Return a request for each topic that has a channel."""
        requests: list[Request] = []
        for number, topic in self._channels.items():
            if topic in topics and number not in self._leaving:
                request_id = next_id + len(requests)
                self._leaving[number] = request_id
                call = _call({"event": "unsubscribe", "chanId": number})
                requests.append(Request(request_id, "unsubscribe", call, (topic,)))
        return requests

    def once_live(self, request_id: int) -> None:
        """Return nothing: every topic has been answered, and news is pushed."""
        del request_id

    def beat(self, next_id: int) -> None:
        """Return nothing: the venue does not ask to hear from us."""
        del next_id

    def number(self, text: str) -> int | None:
        """Return the sequence number of an array, its last element."""
        if not self._counted or not text.startswith("["):
            return None
        last = text[text.rfind(",") + 1 :].rstrip().removesuffix("]").strip()
        counted = last.isascii() and last.isdigit() and len(last) <= _DIGITS_MAX
        return int(last) if counted else None

    def asked(self, text: str) -> Asked | None:
        """Read a request; see `gapless.core.codec.Codec.asked`."""
        try:
            call = _decode_told(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise DecodeError(f"not a request of this venue: {printable(str(error))}") from error
        match call.event:
            case "subscribe":
                return Asked("subscribe", _our_id(call), (_topic(call),))
            case "unsubscribe":
                topic = None if call.chanId is None else self._channels.get(call.chanId)
                return Asked("unsubscribe", None, () if topic is None else (topic,))
            case "conf":
                return Asked("setup", None, ())
            case "auth":
                return Asked("login", None, ())
            case _:
                return None

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        """Read one frame; see `gapless.core.codec.Codec.read`."""
        try:
            if text.startswith("["):
                return self._read_data(_decode_parts(text), recv_ns, mono_ns)
            return self._read_told(_decode_told(text))
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a frame of this venue: {printable(str(error))}") from error

    # -- data -------------------------------------------------------------------------------

    def _read_data(
        self, parts: list[msgspec.Raw], recv_ns: int, mono_ns: int
    ) -> list[Event] | Reading:
        if len(parts) < 2:  # a number, and what it brings
            return Stray("an array without content")
        number = _decode_number(parts[0])
        kind = bytes(parts[1])
        if kind == b'"hb"':
            return Heartbeat()  # may come before the channel is named
        topic = self._channels.get(number)
        origin = None if topic is None else self._origins.get(topic)
        if origin is None:
            return Stray(f"channel {number}")
        match origin.channel:
            case "book" if kind == b'"cs"':
                return [read_checksum(origin, parts, recv_ns, mono_ns)]
            case "book":
                return [read_book(origin, kind, recv_ns, mono_ns)]
            case "trades":
                return read_trades(origin, kind, parts, recv_ns, mono_ns)
            case "bbo" if kind == b'"cs"':
                return Heartbeat()  # one level is shown as it comes, and not checked
            case "bbo":
                return self._quote(origin, number, kind, recv_ns, mono_ns)
            case _:
                return [read_ticker(origin, kind, recv_ns, mono_ns)]

    def _quote(
        self, origin: Origin, number: int, payload: bytes, recv_ns: int, mono_ns: int
    ) -> list[Event]:
        event = read_book(origin, payload, recv_ns, mono_ns)
        top = self._tops.get(number)
        if top is None or isinstance(event, BookSnapshot):
            top = self._tops[number] = Top()
        top.take(event.bids, event.asks)
        best = top.best()
        if best == top.shown:
            return []
        top.shown = best
        (bid, bid_size), (ask, ask_size) = (side or (None, None) for side in best)
        return [Bbo(origin, recv_ns, mono_ns, None, None, None, bid, bid_size, ask, ask_size)]

    # -- the rest ---------------------------------------------------------------------------

    def _read_told(self, told: _Told) -> Reading:
        match told.event:
            case "subscribed":
                return self._granted(told)
            case "unsubscribed":
                return self._left(told)
            case "error":
                return self._failed(told)
            case "conf":
                self._counted = told.status == "OK" and bool(told.flags & SEQ_ALL)
                if told.status == "OK":
                    return Heartbeat()
                return Refusal(None, told.code or 0, f"conf: {printable(told.status)}")
            case "info":
                return _info(told)
            case "pong":
                return Heartbeat()
            case _:
                return Stray(f"event {printable(told.event)}")

    def _granted(self, told: _Told) -> Reading:
        topic = _topic(told)
        if told.chanId is None:
            raise DecodeError("subscribed without a channel number")
        asked = topic in self._asked
        self._asked.discard(topic)
        if self._origins.get(topic) is None:
            if not asked:
                return Stray(f"subscribed to {printable(topic)}")
            # Followed no more before it had a number by which it could have been left.
            leave = _call({"event": "unsubscribe", "chanId": told.chanId})
            return Heartbeat(Request(0, "reply", leave))
        if told.symbol.startswith("f"):
            return Denied((topic,), 0, "funding markets are not followed")
        self._channels[told.chanId] = topic
        return Granted((topic,))

    def _left(self, told: _Told) -> Reading:
        if told.chanId is None:
            raise DecodeError("unsubscribed without a channel number")
        topic = self._channels.pop(told.chanId, None)
        request_id = self._leaving.pop(told.chanId, None)
        self._tops.pop(told.chanId, None)
        if request_id is not None:
            return Ack(request_id)
        if topic is not None:
            return Shutdown(f"the venue unsubscribed {printable(topic)}")
        return Stray(f"unsubscribed from channel {told.chanId}")

    def _failed(self, told: _Told) -> Reading:
        """Read an error: it repeats what the request held, our id included where it has one."""
        code, detail = told.code or 0, printable(told.msg)
        request_id = _our_id(told)
        if request_id is None and told.chanId is not None:
            request_id = self._leaving.pop(told.chanId, None)
        topic = _topic(told)
        if request_id is None and told.channel and self._origins.get(topic) is not None:
            return Denied((topic,), code, detail)
        return Refusal(request_id, code, detail)


def _info(told: _Told) -> Reading:
    match told.code:
        case 20051:
            return Shutdown("20051: the server stops or restarts")
        case 20060:
            return Status("20060: maintenance begins")
        case 20061:
            # Everything is to be subscribed again: a new session does that, and loses nothing.
            return Shutdown("20061: maintenance is over, subscriptions are void")
        case None if told.platform is None or told.platform.status == 1:
            return Heartbeat()
        case None:
            return Status("the platform is in maintenance")
        case _:
            return Status(f"{told.code}: {printable(told.msg)}")


def _our_id(told: _Told) -> int | None:
    """Return the id of ours that the frame repeats, or `None`."""
    text = str(told.subId)
    plain = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    return int(text) if plain else None


def _topic(told: _Told) -> str:
    """Return the topic that a request or its answer names."""
    match told.channel:
        case "book":
            return f"book-{told.prec}-{told.freq}-{told.len}:{told.symbol}"
        case "status":
            return f"status:{told.key.removeprefix('deriv:')}"
        case _:
            return f"{told.channel}:{told.symbol}"


def _params(topic: str) -> dict[str, object]:
    name, _, symbol = topic.partition(":")
    channel, *options = name.split("-")
    match channel:
        case "book":
            precision, frequency, length = options
            return {
                "channel": channel,
                "symbol": symbol,
                "prec": precision,
                "freq": frequency,
                "len": length,
            }
        case "status":
            return {"channel": channel, "key": f"deriv:{symbol}"}
        case _:
            return {"channel": channel, "symbol": symbol}


def _call(call: Mapping[str, object]) -> str:
    return _encode(call).decode()


_ERRORS: Final = MappingProxyType(
    {
        10000: "unknown event: RequestRejected",
        10001: "unknown pair: SubscriptionRejected",
        10300: "subscription failed: SubscriptionRejected",
        10301: "already subscribed: SubscriptionRejected",
        10302: "unknown channel: SubscriptionRejected",
        10305: "too many channels on this connection: SubscriptionRejected",
        10400: "unsubscription failed: RequestRejected",
        10401: "not subscribed: RequestRejected",
    }
)

_LENGTHS: Final = MappingProxyType(
    {
        f"{precision}-{frequency}-{length}": length
        for precision in PRECISIONS
        for frequency in FREQUENCIES
        for length in LENGTHS
    }
)

_PROFILE: Final = Profile(
    name="bitfinex",
    title="Bitfinex",
    endpoints=Fact(
        Endpoints(
            public=("wss://api-pub.bitfinex.com/ws/2",),
            test=(),
            path="/ws/2",
            independent=None,
        ),
        _WS,
        _READ,
        note="paper trading has pairs of its own on the same host, such as tTESTBTC:TESTUSD",
    ),
    rest_endpoints=Fact(("https://api-pub.bitfinex.com",), _REST, _READ),
    lifetime_ns=Fact(None, _WS, _READ, "L", "no maximum is documented"),
    shutdown_notice=Fact(
        "info 20051: the server stops or restarts; 20061: subscribe everything again", _WS, _READ
    ),
    server_ping_ns=Fact(None, _WS, _READ, "L", "none documented; heartbeat arrays instead"),
    pong_within_ns=Fact(None, _WS, _READ, "L"),
    heartbeat=Fact('[channel, "hb"] after 15 s of silence, on each channel', _WS, _READ),
    client_ping=Fact('{"event":"ping","cid":n} is answered with pong and a time', _WS, _READ),
    client_beat_ns=Fact(None, _WS, _READ, note="the venue does not ask for it"),
    dials=Fact(
        (Window(20, 60 * SECOND),),
        _LIMITS,
        _READ,
        note="for each address; what happens beyond is not published",
    ),
    connections=Fact(None, _LIMITS, _READ, "L", "none documented"),
    messages=Fact((), _LIMITS, _READ, "L", "none documented"),
    topics_per_request=Fact(1, _WS, _READ, note="a frame asks for one channel"),
    request_bytes=Fact(None, _WS, _READ, "L", "none documented"),
    topics_per_connection=Fact(25, _LIMITS, _READ, note="one more gets 10305; older texts say 30"),
    topic_bytes_per_connection=Fact(None, _WS, _READ, "L", "none documented"),
    connection_counter=Fact(
        "SEQ_ALL: the last element of every array, heartbeats and checksums included",
        _CONF,
        _READ,
        note="1,669 of 1,669 rose by one in traffic of April 2021",
    ),
    pools=Fact(
        MappingProxyType({"rest": Window(10, 60 * SECOND)}),
        _LIMITS,
        _READ,
        "M",
        "10 to 90 a minute, by endpoint: the lowest",
    ),
    login=Fact(None, _WS, _READ, note="market data needs none"),
    ack_within_ns=Fact(
        30 * SECOND,
        "seen in traffic of April 2021: two of 21 came after 11 and 13 s",
        _READ,
        "M",
    ),
    ack=Fact("subscribed with a channel number and our subId, one for each", _WS, _READ),
    checksum=Fact(
        "CRC32, signed, of the 25 best levels, bids and asks in turn, joined by colons",
        _CS,
        _READ,
        note="in a frame of its own after the changes; one failure alone is not believed",
    ),
    compression=Fact(None, "not documented", _READ, "L", "none is offered"),
    maintenance=Fact("info 20060 and 20061; platform status 0 on connecting", _WS, _READ),
    errors=Fact(_ERRORS, _WS, _READ),
    framing=Fact(
        "JSON text: data in arrays that begin with the channel number, the rest in objects",
        _WS,
        _READ,
        note="fields may be appended to any array at any time",
    ),
    reconciliation=Fact("os snapshot, auth/r/orders/hist and auth/r/trades/hist", _WS, _READ),
    cutovers=Fact((), "docs.bitfinex.com, Changelog", _READ),
    channels=(
        Channel(
            name="trades",
            topics=MappingProxyType({"raw": "trades:{symbol}"}),
            numbering=Fact(
                Numbering.IDENTITY,
                _TRADE,
                _READ,
                note="ids rise and have holes: one counter serves all pairs",
            ),
            arbitration=Arbitration.BY_IDENTITY,
            speaks_on_subscribe=Fact(True, _TRADE, _READ, note="greets with the latest 30 trades"),
        ),
        Channel(
            name="book",
            topics=MappingProxyType({name: f"book-{name}:{{symbol}}" for name in _LENGTHS}),
            numbering=Fact(
                Numbering.NONE,
                _BOOK,
                _READ,
                note="proven by the connection's counter and by checksums",
            ),
            arbitration=Arbitration.FAILOVER_ONLY,
            snapshot=Fact(
                SnapshotFrom.STREAM,
                _BOOK,
                _READ,
                note="levels that fall out of the length are removed by a message "
                "(in traffic of April 2021, without exception)",
            ),
            speaks_on_subscribe=Fact(True, _BOOK, _READ),
            checksum=CHECKSUM,
        ),
        Channel(
            name="bbo",
            topics=MappingProxyType({"P0": "book-P0-F0-1:{symbol}"}),
            numbering=Fact(Numbering.NONE, _BOOK, _READ, note="a book of one level; no time"),
            arbitration=Arbitration.FAILOVER_ONLY,
            speaks_on_subscribe=Fact(True, _BOOK, _READ),
        ),
        Channel(
            name="ticker",
            topics=MappingProxyType({"24h": "ticker:{symbol}"}),
            numbering=Fact(Numbering.NONE, _TICK, _READ, note="not even a time"),
            arbitration=Arbitration.FAILOVER_ONLY,
            speaks_on_subscribe=Fact(True, _TICK, _READ),
            unlike=(
                Channel(
                    name="ticker",
                    topics=MappingProxyType({"deriv": "status:{symbol}"}),
                    numbering=Fact(Numbering.NONE, _STATUS, _READ, note="a time only"),
                    arbitration=Arbitration.BY_TIME,
                    speaks_on_subscribe=Fact(True, _STATUS, _READ, "M"),
                ),
            ),
        ),
    ),
    busiest=("trades", "tBTCUSD"),
    traps=(
        "Heartbeats and checksums are numbered too: skipping them makes false gaps.",
        "The sequence counts the connection and not the channel.",
        "Channel numbers are valid on their connection only.",
        "Flags must be set before subscribing, on every connection.",
        "Fields are appended to arrays: never rely on their length.",
        "Each trade comes twice under one id, as te and then as tu.",
        "The checksum is signed, and the amounts of asks in it are negative.",
        "Small numbers come with an exponent, and count in the checksum as they came.",
        "A checksum may be wrong now and then: two in a row count.",
        "A count of 0 removes a level; its amount then is 1 or -1 and only names the side.",
        "A snapshot may be empty.",
        "A heartbeat may come on a channel before it is said to be subscribed, and that may take "
        "more than ten seconds.",
        "After 20061 nothing is subscribed any more.",
        "Funding markets have other fields and inverted sides; they are not followed here.",
    ),
    codec=BitfinexCodec,
    rest=BitfinexRest(),
)

PROFILES: Final = (_PROFILE,)
