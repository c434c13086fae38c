"""What Kraken's two spot dialects share: the checksum of a book, the list of pairs, the limits.

The checksum is a CRC32 over the digits of the ten best levels a side, asks first, with points
and leading zeros left out.  The older dialect sends prices as text, the newer one as JSON
numbers; both are kept digit by digit.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from gapless.core.budget import Window
from gapless.core.checksum import Checksum, TextLevel
from gapless.core.universe import Instrument, InstrumentState
from gapless.errors import DecodeError, printable
from gapless.events import Levels
from gapless.venues._profile import (
    SECOND,
    Fact,
    NoPastTrades,
    NoSnapshots,
    RestGet,
)

__all__ = [
    "CHECKSUM",
    "CLIENT_BEAT",
    "COMPRESSION",
    "CONNECTIONS",
    "DEPTHS",
    "DIALS",
    "LIFETIME",
    "MESSAGES",
    "PAIRS",
    "POOLS",
    "REST_ENDPOINTS",
    "KrakenRest",
    "crc",
    "levels",
    "padded",
]

DEPTHS: Final = (10, 25, 100, 500, 1000)
"""Levels a side that a book may be subscribed with; the first is the venue's default."""

_READ: Final = "2026-11-22"
_WS: Final = "docs.kraken.com, Spot WebSocket overview"
_LIMITS: Final = "docs.kraken.com, Spot rate limits"

PAIRS: Final = "/0/public/AssetPairs"
_POOL: Final = "rest"

# Bounded, so that no text becomes an infinity or a mountain of zeros.
_NUMBER: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?")


def crc(bids: Sequence[TextLevel], asks: Sequence[TextLevel]) -> int:
    """Return the checksum of the best levels, best first: CRC32, unsigned.

    Source: docs.kraken.com, Book checksum (WebSocket v2) and (WebSocket v1).
    """
    sides = (*asks, *bids)
    return zlib.crc32("".join(_digits(price) + _digits(size) for price, size in sides).encode())


def _digits(text: str) -> str:
    return text.replace(".", "").lstrip("0")


CHECKSUM: Final = Checksum(10, crc)


def levels(texts: Sequence[TextLevel]) -> Levels:
    """Return the levels that these texts mean.

    Raises:
        DecodeError: If one of them is not a plain number that is 0 or more.
    """
    for price, size in texts:
        if _NUMBER.fullmatch(price) is None or _NUMBER.fullmatch(size) is None:
            raise DecodeError(f"not a price level: {printable(price)} {printable(size)}")
    return [(float(price), float(size)) for price, size in texts]


def padded(text: str, decimals: int | None) -> str:
    """Return a number's text with as many decimals as the venue computes its checksum with.

    It cuts trailing zeros now and then, and may use an exponent; ``None`` leaves the text alone.

    Raises:
        DecodeError: If there is an exponent, and the text is no number.
    """
    if decimals is None:
        return text
    if "e" in text or "E" in text:
        if _NUMBER.fullmatch(text) is None:
            raise DecodeError(f"not a number: {printable(text)}")
        return format(Decimal(text), f".{decimals}f")
    whole, point, fraction = text.partition(".")
    if len(fraction) >= decimals:
        return text
    return f"{whole}{point or '.'}{fraction:0<{decimals}}"


class _Pair(Struct, gc=False):
    wsname: str = ""
    status: str = "online"


class _Pairs(Struct, gc=False):
    error: list[str]
    result: dict[str, _Pair] = {}  # msgspec copies it for each instance


_decode_pairs = msgspec.json.Decoder(_Pairs).decode

_STATES: Final[dict[str, InstrumentState]] = {
    "online": "open",
    "limit_only": "open",
    "reduce_only": "open",
    "post_only": "listed",
    "cancel_only": "halted",
}


class KrakenRest(NoSnapshots, NoPastTrades):
    """The list of pairs.  Past trades are found by time there and not by id.

    Args:
        spell: Turns a currency of the list into the dialect's name for it.
    """

    # Books begin with a snapshot on the stream.
    # Past trades are found by time only.

    __slots__ = ("_spell",)

    def __init__(self, spell: Callable[[str], str]) -> None:
        self._spell = spell

    def instruments(self) -> tuple[RestGet, ...]:
        return (RestGet(PAIRS, (), _POOL, 1),)

    def read_instruments(self, body: bytes) -> list[Instrument]:
        """Read the list of pairs; those without a name on the stream are left out."""
        try:
            pairs = _decode_pairs(body).result
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DecodeError(f"not a list of pairs: {printable(str(error))}") from error
        found = []
        for pair in pairs.values():
            base, slash, quote = pair.wsname.partition("/")
            if slash:
                base, quote = self._spell(base), self._spell(quote)
                state = _STATES.get(pair.status, "halted")
                found.append(Instrument(f"{base}/{quote}", "spot", base, quote, state=state))
        return found

    def read_error(self, body: bytes) -> tuple[int, str] | None:
        """Return the text of an error body, or `None` if it is not one; it has no codes."""
        try:
            error = _decode_pairs(body).error
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
        return (0, printable("; ".join(error))) if error else None


REST_ENDPOINTS: Final = Fact(("https://api.kraken.com",), "docs.kraken.com, Spot REST", _READ)
LIFETIME: Final = Fact(None, _WS, _READ, "L", "no maximum is documented")
CLIENT_BEAT: Final = Fact(
    None, _WS, _READ, "M", "closed after a minute without traffic; its heartbeats are traffic"
)
DIALS: Final = Fact(
    (Window(150, 600 * SECOND),),
    "support.kraken.com, as several clients quote it",
    _READ,
    "M",
    "for each address, over WebSocket and REST hosts together; then blocked for 10 minutes",
)
CONNECTIONS: Final = Fact(None, _WS, _READ, "L", "none documented")
MESSAGES: Final = Fact(
    (Window(10, SECOND),),
    _LIMITS,
    _READ,
    "L",
    "the limit moves with load and is not published: this is a pace of our own",
)
POOLS: Final = Fact(
    MappingProxyType({_POOL: Window(1, SECOND)}), _LIMITS, _READ, "M", "public REST reads"
)
COMPRESSION: Final = Fact(None, "not documented", _READ, "L", "none is offered")
