"""Bybit over HTTP: the best prices of every instrument of a market."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from gapless.core.audit import BulkTop
from gapless.errors import DecodeError, printable
from gapless.venues._profile import MS, BulkReads, RestGet

__all__ = ["COINS_MAX", "tickers"]

COINS_MAX = 16  # of options asked for, at most: each is a request of its own

# A number as text, or nothing where there is none; it cannot spell NaN or the infinities.
_Figure = Annotated[str, Meta(pattern=r"^([0-9]{1,20}(\.[0-9]{1,30})?)?\Z", max_length=51)]


class _Ticker(Struct, gc=False):
    symbol: str
    bid1Price: _Figure = ""  # noqa: N815  # the venue's name
    ask1Price: _Figure = ""  # noqa: N815


class _Result(Struct, gc=False):
    rows: list[_Ticker] = msgspec.field(name="list")


class _Tickers(Struct, gc=False):
    result: _Result
    time: Annotated[int, Meta(ge=0, lt=2**43)] | None = None


_decode_tickers = msgspec.json.Decoder(_Tickers).decode


def tickers(category: str) -> BulkReads:
    """Return how the best prices of one market are read; options are asked for by coin."""
    # Sizes are left out: whether they hold retail orders, as books do not, is not documented.
    channels = frozenset({"bbo", "book", "ticker"})
    return BulkReads(channels, partial(_requests, category), _read)


def _requests(category: str, symbols: Collection[str]) -> tuple[RestGet, ...]:
    query = ("category", category)
    queries: list[tuple[tuple[str, str], ...]] = [(query,)] if symbols else []
    if category == "option":
        coins = sorted({symbol.partition("-")[0] for symbol in symbols})[:COINS_MAX]
        queries = [(query, ("baseCoin", coin)) for coin in coins]
    return tuple(RestGet("/v5/market/tickers", each, "http", 1) for each in queries)


def _read(body: bytes) -> list[BulkTop]:
    try:
        reply = _decode_tickers(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DecodeError(f"not a list of tickers: {printable(str(error))}") from error
    event_ns = None if reply.time is None else reply.time * MS
    return [
        BulkTop(
            each.symbol,
            float(each.bid1Price or 0) or None,  # options write 0 for none
            float(each.ask1Price or 0) or None,
            event_ns=event_ns,
        )
        for each in reply.result.rows
    ]
