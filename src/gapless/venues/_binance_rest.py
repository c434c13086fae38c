"""What the REST replies of Binance's venues share.

Books, past trades, what is traded, best prices in bulk, and errors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from gapless.core.audit import BulkTop
from gapless.core.universe import Instrument, InstrumentState
from gapless.errors import DecodeError, printable
from gapless.events import BookSnapshot, Origin, Texts, Trade
from gapless.venues._binance import AggTrade, Level, Millis, Number, Price, Size, TextData
from gapless.venues._profile import MS, BulkReads, RestGet

__all__ = ["BinanceRest", "book_tickers", "expiry_ns", "read_futures", "state_of"]

ENDLESS_MS: Final = 4_133_404_800_000
"""The day in the year 2100 that the venue gives as the delivery date of perpetuals."""

TRADES_MAX: Final = 1000  # past trades in one reply


class _Fault(Struct, gc=False):
    code: int
    msg: str = ""


class _Snapshot(Struct, gc=False):
    lastUpdateId: Number  # noqa: N815  # the venue's name
    bids: list[Level]
    asks: list[Level]
    T: Millis | None = None


class _PastTrade(Struct, gc=False):
    id: Number
    price: Price
    qty: Size
    time: Millis
    isBuyerMaker: bool  # noqa: N815  # the venue's name


_decode_fault = msgspec.json.Decoder(_Fault).decode
_decode_snapshot_texts = msgspec.json.Decoder(TextData).decode
# Numbers arrive as text, hence not strict.
_decode_snapshot = msgspec.json.Decoder(_Snapshot, strict=False).decode
_decode_past_trades = msgspec.json.Decoder(list[_PastTrade], strict=False).decode
_decode_past_aggs = msgspec.json.Decoder(list[AggTrade], strict=False).decode


class BinanceRest:
    """The REST reads of one venue.

    Args:
        prefix: What every path begins with.
        depth: Levels a side of a snapshot, and what it costs.
        past: For trades that can be fetched by number, by the topic's part behind the at sign:
            the path's end, and what a request costs.
        listing: The request that lists what is traded.
        read_listing: Reads its reply; may raise what msgspec raises.
    """

    def __init__(
        self,
        prefix: str,
        depth: tuple[int, int],
        past: Mapping[str, tuple[str, int]],
        listing: RestGet,
        read_listing: Callable[[bytes], list[Instrument]],
    ) -> None:
        self._prefix = prefix
        self._depth = depth
        self._past = past
        self._listing = listing
        self._read_listing = read_listing

    def snapshot(self, symbol: str) -> RestGet:
        """Return the request for a book."""
        limit, weight = self._depth
        query = (("symbol", symbol.upper()), ("limit", str(limit)))
        return RestGet(f"{self._prefix}/depth", query, "weight", weight)

    def read_snapshot(
        self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int, *, texts: bool = False
    ) -> BookSnapshot:
        """Read a depth reply; see `gapless.venues._profile.Rest.read_snapshot`."""
        try:
            data = _decode_snapshot(body)
            literal = None
            if texts:
                sent = _decode_snapshot_texts(body)
                literal = Texts(sent.bids, sent.asks)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a depth snapshot: {printable(str(error))}") from error
        time_ns = None if data.T is None else data.T * MS
        last = data.lastUpdateId
        return BookSnapshot(
            origin, recv_ns, mono_ns, time_ns, last, last, data.bids, data.asks, literal
        )

    def trades(self, topic: str, symbol: str, first: int, last: int) -> RestGet | None:
        """Return the request for past trades; see `gapless.venues._profile.Rest.trades`."""
        found = self._past.get(topic.partition("@")[2])
        if found is None:
            return None
        name, weight = found
        limit = max(1, min(last - first + 1, TRADES_MAX))
        query = (("symbol", symbol.upper()), ("fromId", str(first)), ("limit", str(limit)))
        return RestGet(f"{self._prefix}/{name}", query, "weight", weight)

    def read_trades(self, body: bytes, origin: Origin, recv_ns: int, mono_ns: int) -> list[Trade]:
        """Read past trades; see `gapless.venues._profile.Rest.read_trades`."""
        try:
            if origin.topic.endswith("@aggTrade"):
                past = [(d.a, d.T, d.p, d.q, d.m) for d in _decode_past_aggs(body)]
            else:
                trades = _decode_past_trades(body)
                past = [(d.id, d.time, d.price, d.qty, d.isBuyerMaker) for d in trades]
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a list of trades: {printable(str(error))}") from error
        past.sort()
        return [
            Trade(
                origin,
                recv_ns,
                mono_ns,
                time_ms * MS,
                number,
                number,
                str(number),
                price,
                size,
                "sell" if maker else "buy",
            )
            for number, time_ms, price, size, maker in past
        ]

    def instruments(self) -> tuple[RestGet, ...]:
        return (self._listing,)

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read what is traded; see `gapless.venues._profile.Rest.read_instruments`."""
        try:
            return self._read_listing(body)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a list of instruments: {printable(str(error))}") from error

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return code and text of an error body, or `None` if it is not one."""
        try:
            fault = _decode_fault(body)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
        return fault.code, printable(fault.msg)


_STATES: Final[Mapping[str, InstrumentState]] = MappingProxyType(
    {
        "TRADING": "open",
        "PENDING_TRADING": "listed",
        "PRE_TRADING": "listed",
        "PRE_DELIVERING": "settling",
        "DELIVERING": "settling",
        "PRE_SETTLE": "settling",
        "SETTLING": "settling",
        "DELIVERED": "gone",
        "CLOSE": "gone",
    }
)


def state_of(status: str) -> InstrumentState:
    """Return our word for the venue's; whatever we do not know is halted, as most others are."""
    return _STATES.get(status, "halted")


def expiry_ns(delivery_ms: int) -> int | None:
    """Return when a contract expires, Unix time; `None` for perpetuals."""
    return None if delivery_ms in {0, ENDLESS_MS} else delivery_ms * MS


class _Contract(Struct, gc=False):
    symbol: str
    baseAsset: str  # noqa: N815  # the venue's name
    quoteAsset: str  # noqa: N815
    marginAsset: str | None = None  # noqa: N815
    contractType: str = ""  # noqa: N815
    deliveryDate: Millis = 0  # noqa: N815
    onboardDate: Millis = 0  # noqa: N815
    status: str = ""  # USDⓈ-M
    contractStatus: str = ""  # noqa: N815  # COIN-M


class _Contracts(Struct, gc=False):
    symbols: list[_Contract]


_decode_contracts = msgspec.json.Decoder(_Contracts).decode


def read_futures(body: bytes) -> list[Instrument]:
    """Read what is traded on either kind of futures; raises what msgspec raises."""
    return [_contract(item) for item in _decode_contracts(body).symbols]


def _contract(item: _Contract) -> Instrument:
    ends_ns = expiry_ns(item.deliveryDate)
    # A perpetual that is taken off the list has a date too; a type may be missing.
    endless = "PERPETUAL" in item.contractType or ends_ns is None
    return Instrument(
        item.symbol,
        "perp" if endless else "future",
        item.baseAsset,
        item.quoteAsset,
        item.marginAsset,
        state_of(item.status or item.contractStatus),
        ends_ns,
        listed_ns=item.onboardDate * MS or None,
    )


class _BookTicker(Struct, gc=False):
    symbol: str
    bidPrice: Price  # noqa: N815  # the venue's name
    bidQty: Size  # noqa: N815
    askPrice: Price  # noqa: N815
    askQty: Size  # noqa: N815
    time: Millis | None = None  # futures only
    lastUpdateId: Number | None = None  # noqa: N815


_decode_book_tickers = msgspec.json.Decoder(list[_BookTicker], strict=False).decode


def book_tickers(prefix: str, weight: int) -> BulkReads:
    """Return how the best prices of every symbol are read.

    Args:
        prefix: What every path begins with.
        weight: What it costs to ask for all of them.
    """
    request = RestGet(f"{prefix}/ticker/bookTicker", (), "weight", weight)

    def requests(symbols: Collection[str]) -> tuple[RestGet, ...]:
        return (request,) if symbols else ()

    # Tickers: whether one is sent when only a best price changes is not documented.
    return BulkReads(frozenset({"bbo", "book"}), requests, _read_book_tickers)


def _read_book_tickers(body: bytes) -> list[BulkTop]:
    try:
        tickers = _decode_book_tickers(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DecodeError(f"not a list of best prices: {printable(str(error))}") from error
    return [
        BulkTop(
            each.symbol,
            each.bidPrice if each.bidQty else None,  # an empty side is all zeros
            each.askPrice if each.askQty else None,
            each.bidQty or None,
            each.askQty or None,
            None if each.time is None else each.time * MS,
            each.lastUpdateId,
        )
        for each in tickers
    ]
