"""Binance: spot, both kinds of futures, and options."""

from __future__ import annotations

import json
from types import MappingProxyType

from tests.simulation.fakes.base import SECOND, Fake, Line


class BinanceLine(Line):
    """A combined connection: each stream has its name in front of its data."""

    @property
    def per_s(self):
        return self.fake.per_s

    def hear(self, text):
        call = json.loads(text)
        names = call.get("params", ())
        match call["method"]:
            case "SUBSCRIBE":  # granted whatever it names, and on whatever path
                self.topics.update(dict.fromkeys(names))
                self.send({"result": None, "id": call["id"]})
            case "UNSUBSCRIBE":
                for name in names:
                    self.topics.pop(name, None)
                self.send({"result": None, "id": call["id"]})
            case "LIST_SUBSCRIPTIONS":
                listed = [name for name in self.topics if self.fake.exists(name)]
                self.send({"result": listed, "id": call["id"]})

    def tell(self, channel, market, news):
        name = self.fake.stream(channel, market.symbol)
        if name in self.topics and self.fake.serves(self.path, name):
            data = self.fake.data(channel, market, news, self.ms)
            self.push(channel, market, {"stream": name, "data": data})

    def second(self):
        if self.seconds % self.fake.ping_s == 0:
            self.ping()
        waits = 0 if self.pinged_ns is None else self.now_ns - self.pinged_ns
        if waits > self.fake.pong_s * SECOND:
            self.breach("a ping was not answered")


class BinanceSpot(Fake):
    line = BinanceLine
    name = "binance.spot"
    symbols = ("BTCUSDT", "ETHUSDT")
    stranger = "NOPEUSDT"
    tells = frozenset({"book", "trades"})
    announces = switches = True
    stride = 4
    per_s, ping_s, pong_s = 5, 20, 60
    streams = MappingProxyType(
        {"book": "depth@100ms", "trades": "trade", "bbo": "bookTicker", "ticker": "ticker"}
    )
    depth_path = "/api/v3/depth"
    best_path = "/api/v3/ticker/bookTicker"

    def stream(self, channel, symbol):
        return f"{symbol.lower()}@{self.streams[channel]}"

    def exists(self, name):
        return name.partition("@")[0].upper() in self.markets

    def serves(self, path, name):
        return path == "/stream"

    def shut_down(self):
        data = {"e": "serverShutdown", "E": self.now_ns // 1_000_000}
        for line in tuple(self.lines):
            line.send({"stream": "!serverShutdown", "data": data})
            line.later(10, line.wire.close, 1001)

    def rest(self, path, query):
        if path == self.best_path:
            return 200, json.dumps([self.best(each) for each in self.markets.values()]).encode()
        if path != self.depth_path:
            return 404, b"{}"
        market = self.markets.get(query["symbol"])
        if market is None:
            return 400, b'{"code":-1121,"msg":"Invalid symbol."}'
        book = {"lastUpdateId": market.number, "bids": market.bids, "asks": market.asks}
        return 200, json.dumps(book).encode()

    def data(self, channel, market, news, ms):
        head = {"E": ms, "s": market.symbol}
        match channel:
            case "book":
                return {"e": "depthUpdate", **head, **self.numbers(news), **_sides(news)}
            case "trades":
                return {"e": "trade", **head, "t": news.id, **_made(news)}
            case "bbo":
                return self.quote(market, ms)
            case _:
                return {"e": "24hrTicker", **head, "c": market.last, "v": "9.0"}

    def best(self, market):
        """Return one market's best prices, as all of them are read at once."""
        (bid, bid_size), (ask, ask_size) = market.bids[0], market.asks[0]
        best = {"bidPrice": bid, "bidQty": bid_size, "askPrice": ask, "askQty": ask_size}
        return {"symbol": market.symbol, **best}

    def numbers(self, change):
        return {"U": change.first, "u": change.last}

    def quote(self, market, ms):
        (bid, bid_size), (ask, ask_size) = market.bids[0], market.asks[0]
        best = {"b": bid, "B": bid_size, "a": ask, "A": ask_size}
        return {"u": market.number, "s": market.symbol, **best}


class BinanceUsdm(BinanceSpot):
    """Two paths, and a chain of updates whose numbers skip."""

    name = "binance.usdm"
    routes = 2
    stride = 9
    per_s, ping_s, pong_s = 10, 180, 600
    streams = BinanceSpot.streams | {"trades": "aggTrade"}
    depth_path = "/fapi/v1/depth"
    best_path = "/fapi/v1/ticker/bookTicker"
    public = ("depth@100ms", "bookTicker")

    def serves(self, path, name):
        return path == (
            "/public/stream" if name.partition("@")[2] in self.public else "/market/stream"
        )

    def best(self, market):
        return super().best(market) | {"time": market.ns // 1_000_000}

    def numbers(self, change):
        return {"T": change.ns // 1_000_000, "U": change.last, "u": change.last, "pu": change.prev}

    def quote(self, market, ms):
        return {"e": "bookTicker", "E": ms, "T": ms, **super().quote(market, ms)}

    def data(self, channel, market, news, ms):
        if channel != "trades":
            return super().data(channel, market, news, ms)
        head = {"e": "aggTrade", "E": ms, "s": market.symbol, "a": news.id}
        return {**head, "f": news.id, "l": news.id, **_made(news)}


class BinanceCoinm(BinanceUsdm):
    name = "binance.coinm"
    symbols = ("BTCUSD_PERP", "ETHUSD_PERP")
    stranger = "NOPEUSD_PERP"
    routes = 1
    depth_path = "/dapi/v1/depth"
    best_path = "/dapi/v1/ticker/bookTicker"

    def serves(self, path, name):
        return path == "/stream"

    def data(self, channel, market, news, ms):
        return super().data(channel, market, news, ms) | {"ps": market.symbol.partition("_")[0]}


class BinanceOptions(BinanceUsdm):
    """Mark prices come on the other path, for all options of an underlying at once."""

    name = "binance.options"
    symbols = ("BTC-261225-90000-C", "BTC-261225-90000-P")
    stranger = "BTC-261225-1-C"
    tells = frozenset({"book"})
    figure = "mark"
    ping_s, pong_s = 300, 900
    unrefused = frozenset({"ticker"})  # it is on an underlying that exists
    streams = BinanceUsdm.streams | {"trades": "optionTrade", "ticker": "optionMarkPrice"}
    depth_path, best_path = "/eapi/v1/depth", None  # best prices of all are not documented
    public = ("depth@100ms", "bookTicker", "optionTrade")

    def stream(self, channel, symbol):
        return "btcusdt@optionMarkPrice" if channel == "ticker" else super().stream(channel, symbol)

    def exists(self, name):
        return name == "btcusdt@optionMarkPrice" or super().exists(name)

    def data(self, channel, market, news, ms):
        match channel:
            case "ticker":
                row = {"s": market.symbol, "mp": market.last, "E": ms, "e": "markPrice"}
                return [row | {"i": "104334.6", "bo": "1.0", "ao": "2.0", "b": "-1.0", "vo": "0.9"}]
            case "trades":
                return {"e": "trade", "E": ms, "s": market.symbol, "t": news.id, **_made(news)}
            case _:
                return super().data(channel, market, news, ms)


def _sides(change):
    return {"b": change.bids, "a": change.asks}


def _made(trade):
    maker = trade.taker == "sell"
    return {"p": trade.price, "q": trade.size, "T": trade.ns // 1_000_000, "m": maker}


FAKES = (BinanceSpot, BinanceUsdm, BinanceCoinm, BinanceOptions)
