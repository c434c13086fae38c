"""What Bitfinex puts into its arrays: levels, trades, tickers, checksums; and its lists of pairs.

Nothing here relies on the length of an array, because the venue appends to them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from gapless.core.checksum import Checksum, TextLevel
from gapless.core.codec import Reading, Stray
from gapless.core.universe import Instrument
from gapless.errors import DecodeError, printable
from gapless.events import BookDelta, BookSnapshot, Event, Levels, Origin, Texts, Ticker, Trade
from gapless.venues._profile import (
    MS,
    NoPastTrades,
    NoSnapshots,
    RestGet,
)

__all__ = [
    "CHECKSUM",
    "TOP_LEVELS_MAX",
    "BitfinexRest",
    "Number",
    "Top",
    "crc",
    "read_book",
    "read_checksum",
    "read_ticker",
    "read_trades",
]

TOP_LEVELS_MAX: Final = 8
"""Levels of one side kept at most for a best quote; more than two at a time are not expected."""

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**43)]  # as nanoseconds it fits 64 bits
Real = Annotated[float, Meta(ge=-1e30, le=1e30)]
Price = Annotated[float, Meta(ge=0, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Crc = Annotated[int, Meta(ge=-(2**31), lt=2**31)]

_Row = tuple[msgspec.Raw, Number, msgspec.Raw]  # price, count, amount

# Bounded, so that no text becomes an infinity or a mountain of zeros.
_PRICE: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,25})?(?:[eE][+-]?[0-9]{1,2})?")


def crc(bids: Sequence[TextLevel], asks: Sequence[TextLevel]) -> int:
    """Return the checksum of the best levels, best first: CRC32 as a signed number.

    Bids and asks alternate; the amounts of asks are negative, as sent.  Source: docs.bitfinex.com,
    WebSocket Checksum.
    """
    parts: list[str] = []
    for place in range(max(len(bids), len(asks))):
        for side in (bids, asks):
            if place < len(side):
                parts += side[place]
    unsigned = zlib.crc32(":".join(parts).encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


# Official clients have reported mismatches that were the venue's own: two in a row count.
CHECKSUM: Final = Checksum(25, crc, tolerated=1)


class _Trade(Struct, array_like=True, gc=False):
    id: Number
    time: Millis
    amount: Real
    price: Price


class _Ticker(Struct, array_like=True, gc=False):
    bid: Price | None
    bid_size: Size | None
    ask: Price | None
    ask_size: Size | None
    change: Real | None
    change_relative: Real | None
    last: Price | None
    volume: Size | None


class _Derivative(Struct, array_like=True, gc=False):
    time: Millis
    _1: msgspec.Raw
    price: Price | None
    spot: Price | None
    _4: msgspec.Raw
    _5: msgspec.Raw
    _6: msgspec.Raw
    next_funding: Millis | None
    _8: msgspec.Raw
    _9: msgspec.Raw
    _10: msgspec.Raw
    funding: Real | None
    _12: msgspec.Raw
    _13: msgspec.Raw
    mark: Price | None
    _15: msgspec.Raw
    _16: msgspec.Raw
    open_interest: Size | None


_decode_crc = msgspec.json.Decoder(Crc).decode
_decode_row = msgspec.json.Decoder(_Row).decode
_decode_rows = msgspec.json.Decoder(list[_Row]).decode
_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_trades = msgspec.json.Decoder(list[_Trade]).decode
_decode_ticker = msgspec.json.Decoder(_Ticker).decode
_decode_derivative = msgspec.json.Decoder(_Derivative).decode
_decode_lists = msgspec.json.Decoder(list[list[str]]).decode
_decode_fault = msgspec.json.Decoder(tuple[str, int, str]).decode


class Top:
    """The best quote of a book of one level, which changes by removing one and setting another."""

    __slots__ = ("asks", "bids", "shown")

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.shown: tuple[tuple[float, float] | None, tuple[float, float] | None] | None = None

    def take(self, bids: Levels, asks: Levels) -> None:
        for side, levels, worst in ((self.bids, bids, min), (self.asks, asks, max)):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
                if len(side) > TOP_LEVELS_MAX:
                    del side[worst(side)]

    def best(self) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        bid = max(self.bids, default=None)
        ask = min(self.asks, default=None)
        return (
            None if bid is None else (bid, self.bids[bid]),
            None if ask is None else (ask, self.asks[ask]),
        )


def _is_list_of_lists(payload: bytes) -> bool:
    inner = payload[1:].lstrip()
    return payload[:1] == b"[" and inner[:1] in {b"[", b"]"}


def read_book(
    origin: Origin, payload: bytes, recv_ns: int, mono_ns: int
) -> BookDelta | BookSnapshot:
    whole = _is_list_of_lists(payload)
    rows = _decode_rows(payload) if whole else [_decode_row(payload)]
    bids: Levels = []
    asks: Levels = []
    texts = Texts([], [])
    for raw_price, count, raw_amount in rows:
        price, amount = bytes(raw_price).decode(), bytes(raw_amount).decode()
        unsigned = amount.removeprefix("-")
        if _PRICE.fullmatch(price) is None or _PRICE.fullmatch(unsigned) is None:
            raise DecodeError(f"not a price level: {printable(price)} {printable(amount)}")
        size = float(unsigned)
        if not size:
            raise DecodeError("an amount of 0 belongs to no side")
        # A count of 0 removes the level; the amount then only says from which side.
        level = (float(price), size if count else 0.0)
        literal = (price, amount if count else "0")
        if amount == unsigned:
            bids.append(level)
            texts.bids.append(literal)
        else:
            asks.append(level)
            texts.asks.append(literal)
    kind = BookSnapshot if whole else BookDelta
    return kind(origin, recv_ns, mono_ns, None, None, None, bids, asks, texts)


def read_checksum(
    origin: Origin, parts: list[msgspec.Raw], recv_ns: int, mono_ns: int
) -> BookDelta:
    """Return a change of nothing that carries the checksum of what came before it."""
    if len(parts) < 3:  # number, "cs", checksum
        raise DecodeError("a checksum frame without a checksum")
    texts = Texts([], [], _decode_crc(parts[2]))
    return BookDelta(origin, recv_ns, mono_ns, None, None, None, [], [], texts)


def read_trades(
    origin: Origin, kind: bytes, parts: list[msgspec.Raw], recv_ns: int, mono_ns: int
) -> list[Event] | Reading:
    if kind in {b'"te"', b'"tu"'}:
        if len(parts) < 3:  # number, kind, trade
            raise DecodeError("a trade frame without a trade")
        return [_trade(origin, _decode_trade(parts[2]), recv_ns, mono_ns)]
    if kind.startswith(b'"'):
        return Stray(f"trades of kind {printable(kind.decode())}")
    past = sorted(_decode_trades(kind), key=lambda trade: trade.id)  # the newest comes first
    return [_trade(origin, trade, recv_ns, mono_ns, backfilled=True) for trade in past]


def _trade(
    origin: Origin, data: _Trade, recv_ns: int, mono_ns: int, *, backfilled: bool = False
) -> Event:
    if not data.amount:
        raise DecodeError("a trade of nothing")
    return Trade(
        origin,
        recv_ns,
        mono_ns,
        data.time * MS,
        None,
        None,
        str(data.id),
        data.price,
        abs(data.amount),
        "buy" if data.amount > 0 else "sell",
        backfilled,
    )


def read_ticker(origin: Origin, payload: bytes, recv_ns: int, mono_ns: int) -> Event:
    if origin.topic.startswith("status:"):
        status = _decode_derivative(payload)
        due = status.next_funding
        return Ticker(
            origin,
            recv_ns,
            mono_ns,
            status.time * MS,
            None,
            None,
            status.price,
            status.mark,
            status.spot,
            open_interest=status.open_interest,
            funding=status.funding,
            next_funding_ns=None if due is None else due * MS,
        )
    data = _decode_ticker(payload)
    return Ticker(
        origin,
        recv_ns,
        mono_ns,
        None,
        None,
        None,
        data.last,
        bid=data.bid or None,
        ask=data.ask or None,
        volume=data.volume,
    )


class BitfinexRest(NoSnapshots, NoPastTrades):
    """The lists of pairs.  Past trades are found by time there and not by id."""

    # Books begin with a snapshot on the stream.
    # Past trades are found by time only.

    def instruments(self) -> tuple[RestGet, ...]:
        return (
            RestGet("/v2/conf/pub:list:pair:exchange", (), "rest", 1),
            RestGet("/v2/conf/pub:list:pair:futures", (), "rest", 1),
        )

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read a list of pairs; it says no more than their names."""
        try:
            pairs = [pair for one in _decode_lists(body) for pair in one]
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a list of pairs: {printable(str(error))}") from error
        return [_instrument(pair) for pair in pairs if len(pair) >= 2 * _NAME_SIGNS]

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""
        try:
            word, code, text = _decode_fault(body)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
        return (code, printable(text)) if word == "error" else None


_NAME_SIGNS: Final = 3  # of a currency, where no colon parts the two


def _instrument(pair: str) -> Instrument:
    base, colon, quote = pair.partition(":")
    if not colon:
        base, quote = pair[:-_NAME_SIGNS], pair[-_NAME_SIGNS:]
    if base.endswith("F0"):
        base, quote = base.removesuffix("F0"), quote.removesuffix("F0")
        return Instrument(f"t{pair}", "perp", base, quote, quote)
    return Instrument(f"t{pair}", "spot", base, quote)
