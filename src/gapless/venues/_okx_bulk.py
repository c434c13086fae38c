"""OKX over HTTP: the best prices of every instrument of a type."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from gapless.core.audit import BulkTop
from gapless.errors import DecodeError, printable
from gapless.venues._profile import MS, BulkReads, RestGet

__all__ = ["TICKERS", "kind_of"]

# A number as text, or nothing where there is none; it cannot spell NaN or the infinities.
_Figure = Annotated[str, Meta(pattern=r"^(-?[0-9]{1,20}(\.[0-9]{1,30})?)?\Z", max_length=52)]


class _Ticker(Struct, gc=False):
    instId: str  # noqa: N815  # the venue's name
    bidPx: _Figure = ""  # noqa: N815
    askPx: _Figure = ""  # noqa: N815
    ts: Annotated[str, Meta(pattern=r"^[0-9]{0,15}\Z")] = ""


class _Tickers(Struct, gc=False):
    data: list[_Ticker]


_decode_tickers = msgspec.json.Decoder(_Tickers).decode


def kind_of(symbol: str) -> str:
    """Return the type of an instrument, which its name shows."""
    parts = symbol.split("-")
    if parts[-1] == "SWAP":
        return "SWAP"
    if len(parts) == 3 and re.fullmatch("[0-9]{6}", parts[2]):
        return "FUTURES"
    return "OPTION" if len(parts) == 5 else "SPOT"


def _requests(symbols: Collection[str]) -> tuple[RestGet, ...]:
    kinds = sorted({kind_of(symbol) for symbol in symbols})
    return tuple(
        RestGet("/api/v5/market/tickers", (("instType", kind),), "rest", 1) for kind in kinds
    )


def _read(body: bytes) -> list[BulkTop]:
    try:
        tickers = _decode_tickers(body).data
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DecodeError(f"not a list of tickers: {printable(str(error))}") from error
    return [
        BulkTop(
            each.instId,
            float(each.bidPx or 0) or None,
            float(each.askPx or 0) or None,
            event_ns=int(each.ts) * MS if each.ts else None,
        )
        for each in tickers
    ]


# Sizes are left out: whether they hold retail orders, as books do not, is not documented.
TICKERS: Final = BulkReads(frozenset({"bbo", "book", "ticker"}), _requests, _read)
