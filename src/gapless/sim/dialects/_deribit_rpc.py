"""Methods of Deribit that need no session: they are the same over WebSocket and HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gapless.sim.dialects._base import MS
from gapless.sim.dialects._deribit_topics import mid, ticker_body, trade_body
from gapless.sim.matching import ASK, BID

if TYPE_CHECKING:
    from collections.abc import Callable

    from gapless.sim.dialects.deribit import Deribit
    from gapless.sim.world import Market

import msgspec

__all__ = ["METHODS", "RpcError", "arguments_of"]

_FOREVER_MS: Final = 32_503_708_800_000  # what the venue gives as the end of a perpetual
_DEPTH_MAX: Final = 10_000
_TRADES_MAX: Final = 1_000


class RpcError(Exception):
    """A request that is answered with an error.

    Attributes:
        code: JSON-RPC or venue code.
        message: The venue's name of it.
        reason: What is wrong, or an empty string.
        param: With which parameter, or an empty string.
    """

    def __init__(self, code: int, message: str, reason: str = "", param: str = "") -> None:
        self.code = code
        self.message = message
        self.reason = reason
        self.param = param
        super().__init__(f"{code} {message} {reason}")


def arguments_of(query: dict[str, str]) -> dict[str, Any]:
    """Return the arguments that an HTTP query stands for: numbers and booleans as such."""
    arguments: dict[str, Any] = {}
    for key, text in query.items():
        try:
            arguments[key] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            arguments[key] = text
    return arguments


def _market(venue: Deribit, params: dict[str, Any]) -> Market:
    name = params.get("instrument_name")
    market = venue.market(name) if isinstance(name, str) else None
    if market is None:
        raise RpcError(-32602, "Invalid params", "wrong format", "instrument_name")
    return market


def _whole(params: dict[str, Any], name: str, default: int, most: int) -> int:
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RpcError(-32602, "Invalid params", f"must be from 1 to {most}", name)
    return value


def _test(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    return {"version": "1.2.26"}


def _time(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    return now_ns // MS


def _status(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    return {"locked": "true" if venue.under_maintenance else "false", "locked_indices": []}


def _auth(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    grant = params.get("grant_type")
    if grant == "client_signature":
        stamp = params.get("timestamp")
        # The venue accepts clocks within a minute of its own (Authentication).
        if not isinstance(stamp, int) or abs(stamp - now_ns // MS) > 60_000:
            raise RpcError(13004, "invalid_credentials")
    elif grant not in ("client_credentials", "refresh_token"):
        raise RpcError(-32602, "Invalid params", "wrong grant", "grant_type")
    elif grant == "client_credentials" and not (
        params.get("client_id") and params.get("client_secret")
    ):
        raise RpcError(13004, "invalid_credentials")
    number = venue.exchange.rng.getrandbits(64)
    return {
        "token_type": "bearer",
        "scope": params.get("scope") or "connection mainaccount",
        "refresh_token": f"sim-refresh-{number:016x}",
        "expires_in": venue.options.token_ttl_s,
        "access_token": f"sim-access-{number:016x}",
    }


def _instrument(market: Market) -> dict[str, Any]:
    spec = market.spec
    perpetual = spec.name.endswith("-PERPETUAL")
    return {
        "tick_size": float(spec.tick),
        "taker_commission": 0.0005,
        "settlement_period": "perpetual" if perpetual else "month",
        "quote_currency": spec.quote,
        "min_trade_amount": float(spec.lot),
        "maker_commission": 0.0,
        "kind": "future",
        "is_active": True,
        "instrument_name": spec.name,
        "expiration_timestamp": _FOREVER_MS,
        "creation_timestamp": 1_534_167_754_000,
        "contract_size": float(spec.lot),
        "base_currency": spec.base,
    }


def _instruments(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    world = venue.exchange.world
    currency, kind = params.get("currency", "any"), params.get("kind", "any")
    listed = []
    for market in () if world is None else world.markets:
        if venue.life is not None and venue.life.hides(market.spec.name):
            continue
        instrument = _instrument(market)
        strike = None if venue.life is None else venue.life.instrument(market)
        if strike is not None:
            instrument |= strike
        if currency in ("any", market.spec.base) and kind in ("any", instrument["kind"]):
            listed.append(instrument)
    return listed


def _order_book(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    market = _market(venue, params)
    view = venue.view(market, now_ns, _whole(params, "depth", 5, _DEPTH_MAX))
    price, size = (scale.value for scale in venue.scales[market.index])
    ticker = msgspec.json.decode(ticker_body(venue, market, view.ns))
    return ticker | {
        "mark_price": round(mid(market, venue), 4),
        "change_id": view.serial,
        "bids": [[price[p], size[s]] for p, s in view.bids],
        "asks": [[price[p], size[s]] for p, s in view.asks],
    }


def _ticker(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    market = _market(venue, params)
    return msgspec.json.decode(ticker_body(venue, market, market.changed_ns))


def _book_summary(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    """Return a summary of every instrument that is settled in a currency."""
    world, life = venue.exchange.world, venue.life
    currency, stamp = params.get("currency"), now_ns // MS
    if not isinstance(currency, str):
        raise RpcError(-32602, "Invalid params", "wrong format", "currency")
    found = []
    for market in () if world is None else world.markets:
        spec = market.spec
        settled_in = spec.name.partition("-")[0].rpartition("_")[2]
        if settled_in != currency or (life is not None and life.hides(spec.name)):
            continue
        price = venue.scales[market.index][0].value
        bid, ask = market.book.best(BID), market.book.best(ASK)
        found.append(
            {
                "instrument_name": spec.name,
                "bid_price": None if bid is None else price[bid],
                "ask_price": None if ask is None else price[ask],
                "base_currency": spec.base,
                "quote_currency": spec.quote,
                "creation_timestamp": stamp,
            }
        )
    return found


def _last_trades(venue: Deribit, params: dict[str, Any], now_ns: int) -> Any:
    market = _market(venue, params)
    count = _whole(params, "count", 10, _TRADES_MAX)
    start, end = params.get("start_seq"), params.get("end_seq")
    wanted = [
        entry
        for entry in market.trades
        if (start is None or entry[2].id >= start) and (end is None or entry[2].id <= end)
    ]
    # Without a start the newest are meant; with one, the oldest from there on.
    chosen = wanted[:count] if start is not None else wanted[-count:]
    if params.get("sorting", "default") == "desc" or (start is None and "sorting" not in params):
        chosen.reverse()
    bodies = [trade_body(venue, market, ns, number, trade) for ns, number, trade in chosen]
    return {
        "trades": msgspec.json.decode("[" + ",".join(bodies) + "]"),
        "has_more": len(wanted) > len(chosen),
    }


METHODS: Final[dict[str, Callable[[Deribit, dict[str, Any], int], Any]]] = {
    "public/test": _test,
    "public/hello": _test,
    "public/get_time": _time,
    "public/status": _status,
    "public/auth": _auth,
    "public/get_instruments": _instruments,
    "public/get_book_summary_by_currency": _book_summary,
    "public/get_order_book": _order_book,
    "public/ticker": _ticker,
    "public/get_last_trades_by_instrument": _last_trades,
}
