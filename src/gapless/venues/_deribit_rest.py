"""Deribit over HTTP: past trades by number, what is listed, and best prices in bulk.

The methods are those of the socket, called with GET.  A trade is the same here and there, so what
reads one lives here and serves both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gapless.core.audit import BulkTop
from gapless.core.universe import Instrument, InstrumentKind, InstrumentState
from gapless.errors import DecodeError, printable
from gapless.events import Origin, Trade
from gapless.venues._profile import (
    MS,
    BulkReads,
    NoSnapshots,
    RestGet,
)

__all__ = ["STATES", "SUMMARIES", "DeribitRest", "TradeData", "read_trade"]

TRADES_MAX: Final = 1000  # past trades in one reply

Number = Annotated[int, Meta(ge=0, lt=2**62)]
Millis = Annotated[int, Meta(ge=0, lt=2**53)]
Real = Annotated[float, Meta(ge=-1e30, le=1e30)]
Size = Annotated[float, Meta(ge=0, le=1e30)]

STATES: Final[Mapping[str, InstrumentState]] = MappingProxyType(
    {
        "created": "listed",
        "started": "open",
        "open": "open",
        "inactive": "halted",
        "locked": "halted",
        "halted": "halted",
        "settlement": "settling",
        "delivered": "gone",
        "closed": "gone",
        "deactivated": "gone",
        "terminated": "gone",
        "archivized": "gone",
    }
)
"""What the venue's words for a state mean; it has added some, so others are possible."""

_KINDS: Final[Mapping[str, InstrumentKind]] = MappingProxyType(
    {
        "future": "future",
        "option": "option",
        "spot": "spot",
        "future_combo": "combo",
        "option_combo": "combo",
    }
)


class TradeData(Struct, gc=False):
    """One trade, as the venue writes it."""

    trade_id: str
    trade_seq: Number
    timestamp: Millis
    price: Real
    amount: Size
    direction: Literal["buy", "sell"]


class _Trades(Struct, gc=False):
    trades: list[TradeData]


class _TradesReply(Struct, gc=False):
    result: _Trades


class _Instrument(Struct, gc=False):
    instrument_name: str
    kind: str
    base_currency: str
    quote_currency: str
    settlement_currency: str | None = None
    settlement_period: str = ""
    is_active: bool = True
    state: str = ""
    instrument_state: str = ""
    expiration_timestamp: Millis | None = None
    creation_timestamp: Millis | None = None
    strike: Real | None = None
    option_type: Literal["call", "put"] | None = None


class _InstrumentsReply(Struct, gc=False):
    result: list[_Instrument]


class _Summary(Struct, gc=False):
    instrument_name: str
    bid_price: Real | None = None
    ask_price: Real | None = None
    creation_timestamp: Millis | None = None


class _SummariesReply(Struct, gc=False):
    result: list[_Summary]


class _Error(Struct, gc=False):
    code: int
    message: str = ""


class _ErrorReply(Struct, gc=False):
    error: _Error


_decode_trades = msgspec.json.Decoder(_TradesReply).decode
_decode_instruments = msgspec.json.Decoder(_InstrumentsReply).decode
_decode_summaries = msgspec.json.Decoder(_SummariesReply).decode
_decode_error = msgspec.json.Decoder(_ErrorReply).decode
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


def read_trade(
    origin: Origin, data: TradeData, recv_ns: int, mono_ns: int, *, backfilled: bool = False
) -> Trade:
    """Return a trade of the stream, or of a reply."""
    return Trade(
        origin,
        recv_ns,
        mono_ns,
        data.timestamp * MS,
        data.trade_seq,
        data.trade_seq,
        data.trade_id,
        data.price,
        data.amount,
        data.direction,
        backfilled,
    )


class DeribitRest(NoSnapshots):
    """Past trades by number, and what is listed."""

    # Books: the stream brings its own.

    def trades(self, topic: str, symbol: str, first: int, last: int) -> RestGet:
        """Return the request for the trades from ``first``, `TRADES_MAX` at most."""
        del topic
        query = (
            ("instrument_name", symbol),
            ("start_seq", str(first)),
            ("end_seq", str(last)),
            ("count", str(min(TRADES_MAX, max(1, last - first + 1)))),
            ("sorting", "asc"),
        )
        path = "/api/v2/public/get_last_trades_by_instrument"
        return RestGet(path, query, "other", 500)

    def read_trades(self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int) -> list[Trade]:
        """Read a page of trades; see `gapless.venues._profile.Rest.read_trades`."""
        try:
            trades = _decode_trades(body).result.trades
        except _UNREADABLE as error:
            raise DecodeError(f"not a list of trades: {printable(str(error))}") from error
        trades.sort(key=lambda trade: trade.trade_seq)
        return [read_trade(origin, item, recv_ns, mono_ns, backfilled=True) for item in trades]

    def instruments(self) -> tuple[RestGet, ...]:
        """Return the request for every instrument of every currency."""
        query = (("currency", "any"), ("expired", "false"))
        return (RestGet("/api/v2/public/get_instruments", query, "instruments", 10_000),)

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read the list; see `gapless.venues._profile.Rest.read_instruments`.

        Instruments of a kind that is not known are left out.
        """
        try:
            listed = _decode_instruments(body).result
        except _UNREADABLE as error:
            raise DecodeError(f"not a list of instruments: {printable(str(error))}") from error
        return [_instrument(item, _KINDS[item.kind]) for item in listed if item.kind in _KINDS]

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""
        try:
            error = _decode_error(body).error
        except _UNREADABLE:
            return None
        return error.code, printable(error.message)


def _instrument(item: _Instrument, kind: InstrumentKind) -> Instrument:
    if kind == "future" and item.settlement_period == "perpetual":
        kind = "perp"
    expires = kind not in {"perp", "spot"}  # those are given a day in the year 3000
    expiry_ms = item.expiration_timestamp if expires else None
    listed_ms = item.creation_timestamp
    told = item.state or item.instrument_state
    return Instrument(
        item.instrument_name,
        kind,
        item.base_currency,
        item.quote_currency,
        item.settlement_currency,
        STATES.get(told, "open" if item.is_active else "halted"),
        None if expiry_ms is None else expiry_ms * MS,
        item.strike,
        item.option_type,
        None if listed_ms is None else listed_ms * MS,
    )


def _summaries(symbols: Collection[str]) -> tuple[RestGet, ...]:
    """Return one request for each currency that the symbols are settled in."""
    currencies = sorted({_currency(symbol) for symbol in symbols})
    path = "/api/v2/public/get_book_summary_by_currency"
    return tuple(RestGet(path, (("currency", each),), "other", 500) for each in currencies)


def _currency(symbol: str) -> str:
    """Return what an instrument is settled in: ``SOL_USDC-PERPETUAL`` in USDC."""
    name = symbol.partition("-")[0]
    return name.rpartition("_")[2]


def _read_summaries(body: bytes) -> list[BulkTop]:
    try:
        summaries = _decode_summaries(body).result
    except _UNREADABLE as error:
        raise DecodeError(f"not a list of summaries: {printable(str(error))}") from error
    return [
        BulkTop(
            each.instrument_name,
            each.bid_price or None,  # an empty side has price null, or 0 as in quotes
            each.ask_price or None,
            event_ns=None if each.creation_timestamp is None else each.creation_timestamp * MS,
        )
        for each in summaries
    ]


SUMMARIES: Final = BulkReads(frozenset({"bbo", "book", "ticker"}), _summaries, _read_summaries)
