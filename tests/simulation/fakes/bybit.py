"""Bybit: four markets, one dialect, small differences."""

from __future__ import annotations

import json

from tests.simulation.fakes.base import SECOND, Fake, Line


class BybitLine(Line):
    """A request is granted whole or not at all, but on the options' endpoint."""

    def hear(self, text):
        call = json.loads(text)
        if call["op"] == "ping":
            self.send(self.pong(call))
            return
        names, listed = call["args"], self.fake.category == "option"
        bad = [name for name in names if not self.exists(name)]
        again = [name for name in names if name in self.topics]
        if call["op"] == "unsubscribe":
            for name in names:
                self.topics.pop(name, None)
            granted = []
        elif listed:
            granted = [name for name in names if name not in bad]
        elif self.fake.category == "spot" and len(names) > 10:
            self.answer(call, "args size >10")
            return
        elif bad or again:
            why = "error:handler not found" if bad else "error:already subscribed"
            self.answer(call, f"{why},topic:{(bad or again)[0]}")
            return
        else:
            granted = names
        if listed:
            data = {"failTopics": bad, "successTopics": [n for n in names if n not in bad]}
            self.send({"success": True, "conn_id": "x", "data": data, "type": "COMMAND_RESP"})
        else:
            self.answer(call, "")
        for name in granted:
            self.topics[name] = None
            self.greet(name)

    def answer(self, call, fault):
        head = {"success": not fault, "ret_msg": fault, "conn_id": "2324d924"}
        self.send(head | {"req_id": call["req_id"], "op": call["op"]})

    def pong(self, call):
        if self.fake.category == "option":
            return {"args": [str(self.ms)], "op": "pong"}
        return {"success": True, "ret_msg": "pong", "conn_id": "x", "op": "ping"}

    def exists(self, name):
        return name.rpartition(".")[2] in (*self.fake.markets, *self.fake.asks["trades"])

    def greet(self, name):
        kind, _, symbol = name.rpartition(".")
        market = self.fake.markets.get(symbol)
        match kind:
            case "orderbook.50" | "orderbook.25":
                self.send(self.book(name, "snapshot", market, market.bids, market.asks))
            case "orderbook.1":
                self.send(self.book(name, "snapshot", market, market.bids[:1], market.asks[:1]))
            case "tickers":
                self.send(self.ticker(name, market, "snapshot"))

    def tell(self, channel, market, news):
        name = self.fake.topic(channel, market.symbol)
        if name not in self.topics:
            return
        match channel:
            case "book":
                frame = self.book(name, "delta", market, news.bids, news.asks)
            case "trades":
                row = {"T": news.ns // 1_000_000, "s": market.symbol, "S": news.taker.title()}
                row |= {"v": news.size, "p": news.price, "i": f"id-{market.symbol}-{news.id}"}
                frame = {"topic": name, "type": "snapshot", "ts": self.ms, "data": [row]}
            case "bbo":
                frame = self.book(name, "snapshot", market, market.bids[:1], market.asks[:1])
            case _:
                whole = self.fake.category in {"spot", "option"}
                frame = self.ticker(name, market, "snapshot" if whole else "delta")
        self.push(channel, market, frame)

    def renumber(self, market, change, before):
        name = self.fake.topic("book", market.symbol)
        self.send(self.book(name, "delta", market, market.bids, market.asks))

    def book(self, name, kind, market, bids, asks):
        data = {
            "s": market.symbol,
            "b": bids,
            "a": asks,
            "u": market.number,
            "seq": market.number * 7,
        }
        times = {"ts": self.ms, "cts": market.ns // 1_000_000}
        return {"topic": name, "type": kind, **times, "data": data}

    def ticker(self, name, market, kind):
        data = {"symbol": market.symbol, "lastPrice": market.last}
        if self.fake.category != "spot":  # whose tickers have no best prices
            data |= {"bid1Price": market.bids[0][0], "ask1Price": market.asks[0][0]}
        if kind == "snapshot":
            data |= {"volume24h": "9.5"}
        return {"topic": name, "type": kind, "ts": self.ms, "cs": market.number, "data": data}

    def second(self):
        if self.now_ns > self.heard_ns + 25 * SECOND:
            self.breach("no ping every 20 s")
        if self.seconds % 3 == 0:  # a book of one level that rests is sent again
            for name in self.topics:
                kind, _, symbol = name.rpartition(".")
                market = self.fake.markets.get(symbol)
                if kind == "orderbook.1" and self.now_ns >= market.ns + 3 * SECOND:
                    self.send(self.book(name, "snapshot", market, market.bids[:1], market.asks[:1]))


class BybitSpot(Fake):
    line = BybitLine
    name = "bybit.spot"
    category = "spot"
    symbols = ("BTCUSDT", "ETHUSDT")
    stranger = "NOPEUSDT"
    tells = frozenset({"book"})
    restarts = "gap"  # number 1 is a snapshot, whatever its type says
    depth_name = "50"

    def rest(self, path, query):
        if path != "/v5/market/tickers" or query["category"] != self.category:
            return 404, b"{}"
        rows = [
            {"symbol": each.symbol, "bid1Price": each.bids[0][0], "ask1Price": each.asks[0][0]}
            for each in self.markets.values()
            if each.symbol.startswith(query.get("baseCoin", ""))
        ]
        reply = {"retCode": 0, "retMsg": "OK", "time": self.now_ns // 1_000_000}
        return 200, json.dumps(reply | {"result": {"list": rows}}).encode()

    def topic(self, channel, symbol):
        names = {
            "book": f"orderbook.{self.depth_name}",
            "trades": "publicTrade",
            "bbo": "orderbook.1",
        }
        return f"{names.get(channel, 'tickers')}.{symbol}"


class BybitLinear(BybitSpot):
    name = "bybit.linear"
    category = "linear"


class BybitInverse(BybitSpot):
    name = "bybit.inverse"
    category = "inverse"
    symbols = ("BTCUSD", "ETHUSD")
    stranger = "NOPEUSD"


class BybitOption(BybitSpot):
    """Trades are followed by coin, and there is no book of one level."""

    name = "bybit.option"
    category = "option"
    symbols = ("BTC-25DEC26-90000-C", "ETH-25DEC26-4000-P")
    stranger = "BTC-25DEC26-1-C"
    channels = ("book", "trades", "ticker")
    depth_name = "25"

    @property
    def asks(self):
        return super().asks | {"trades": ("BTC", "ETH")}

    def strange(self, channel):
        return "NOPE" if channel == "trades" else self.stranger

    def topic(self, channel, symbol):
        return super().topic(channel, symbol[:3] if channel == "trades" else symbol)


FAKES = (BybitSpot, BybitLinear, BybitInverse, BybitOption)
