"""OKX and Bitget: objects for topics, bare words for pings."""

from __future__ import annotations

import json

from tests.simulation.fakes.base import SECOND, Fake, Line


class OkxLine(Line):
    """Every argument is answered on its own, with our id; an error lacks the argument."""

    def hear(self, text):
        if text == "ping":
            self.send("pong")
            return
        call = json.loads(text)
        head = {"id": call["id"], "connId": "a4d3ae55"}
        if self.requests > 480:
            self.breach("more than 480 requests in an hour")
        for arg in call["args"]:
            known = arg["channel"] == "status" or arg["instId"] in self.fake.markets
            if call["op"] == "unsubscribe":
                self.topics.pop(_key(arg), None)
                self.send({"event": "unsubscribe", "arg": arg} | head)
            elif known:
                self.send({"event": "subscribe", "arg": arg} | head)
                self.topics[_key(arg)] = arg
                self.greet(arg)
            else:
                said = (
                    f"Wrong URL or channel:{arg['channel']},instId:{arg['instId']} doesn't exist."
                )
                self.send({"event": "error", "code": "60018", "msg": said} | head)

    def greet(self, arg):
        market = self.fake.markets.get(arg.get("instId"))
        match arg["channel"]:
            case "books":
                book = self.book(market.bids, market.asks, -1, market.number)
                self.send({"arg": arg, "action": "snapshot", "data": [book]})
            case "trades":
                self.send({"arg": arg, "data": [self.trade(market, market.past[-1])]})
            case "bbo-tbt":
                self.send({"arg": arg, "data": [self.best(market)]})
            case "tickers":
                self.send({"arg": arg, "data": [self.ticker(market)]})

    def tell(self, channel, market, news):
        names = {"book": "books", "trades": "trades", "bbo": "bbo-tbt", "ticker": "tickers"}
        arg = self.topics.get((names[channel], market.symbol))
        if arg is None:
            return
        match channel:
            case "book":
                book = self.book(news.bids, news.asks, news.prev, news.last)
                frame = {"arg": arg, "action": "update", "data": [book]}
            case "trades":
                frame = {"arg": arg, "data": [self.trade(market, news)]}
            case "bbo":
                frame = {"arg": arg, "data": [self.best(market)]}
            case _:
                frame = {"arg": arg, "data": [self.ticker(market)]}
        self.push(channel, market, frame)

    def renumber(self, market, change, before):
        arg = self.topics["books", market.symbol]
        book = self.book(change.bids, change.asks, before, market.number)
        self.send({"arg": arg, "action": "update", "data": [book]})

    def book(self, bids, asks, prev, seq):
        sides = {
            name: [[p, s, "0", "1"] for p, s in side]
            for name, side in (("bids", bids), ("asks", asks))
        }
        return sides | {"ts": str(self.ms), "checksum": 0, "prevSeqId": prev, "seqId": seq}

    def best(self, market):
        book = self.book(market.bids[:1], market.asks[:1], 0, market.number)
        return {name: book[name] for name in ("bids", "asks", "ts", "seqId")}

    def trade(self, market, made):
        row = {"instId": market.symbol, "tradeId": str(made.id), "px": made.price, "sz": made.size}
        return row | {"side": made.taker, "ts": str(made.ns // 1_000_000), "count": "1"}

    def ticker(self, market):
        head = {"instId": market.symbol, "last": market.last, "ts": str(self.ms)}
        return head | {"bidPx": market.bids[0][0], "askPx": market.asks[0][0]}

    def second(self):
        if self.now_ns > max(self.heard_ns, self.said_ns) + 30 * SECOND:
            self.breach("neither data nor a ping for 30 s", 4004)
        if self.seconds % 60 == 0:  # nothing has changed, says a book that rests
            for (name, symbol), arg in self.topics.items():
                if name == "books":
                    number = self.fake.markets[symbol].number
                    frame = {"arg": arg, "action": "update"}
                    self.send(frame | {"data": [self.book([], [], number, number)]})


def _key(arg):
    return arg["channel"], arg.get("instId")


class Okx(Fake):
    line = OkxLine
    name = "okx"
    symbols = ("BTC-USDT", "ETH-USDT")
    stranger = "NOPE-USDT"
    restarts = "whole"  # the chain leads to a lower number
    tells = frozenset({"book", "trades"})
    announces = switches = True
    stride = 9

    def rest(self, path, query):
        if path != "/api/v5/market/tickers" or query != {"instType": "SPOT"}:
            return 404, b"{}"
        head = {"instType": "SPOT", "ts": str(self.now_ns // 1_000_000)}
        rows = [
            head | {"instId": each.symbol, "bidPx": each.bids[0][0], "askPx": each.asks[0][0]}
            for each in self.markets.values()
        ]
        return 200, json.dumps({"code": "0", "msg": "", "data": rows}).encode()

    def shut_down(self):
        for line in tuple(self.lines):
            said = "The connection will soon be closed for a service upgrade. Please reconnect."
            line.send({"event": "notice", "code": "64008", "msg": said, "connId": "a4d3ae55"})
            line.later(60, line.wire.close, 4006)


class BitgetLine(Line):
    """Every argument is answered on its own, without an id; an error repeats it."""

    per_s = 10

    def hear(self, text):
        if text == "ping":
            self.pinged_ns = self.now_ns
            self.send("pong")
            return
        call = json.loads(text)
        for arg in call["args"]:
            if call["op"] == "unsubscribe":
                self.topics.pop(_key(arg), None)
                self.send({"event": "unsubscribe", "arg": arg})
            elif arg["instId"] in self.fake.markets:
                self.send({"event": "subscribe", "arg": arg})
                self.topics[_key(arg)] = arg
                self.greet(arg, self.fake.markets[arg["instId"]])
            else:
                said = f"instType:{arg['instType']},channel:{arg['channel']} doesn't exist"
                self.send(
                    {"event": "error", "arg": arg, "code": 30001, "msg": said, "op": "subscribe"}
                )

    def greet(self, arg, market):
        match arg["channel"]:
            case "books":
                data = self.book(market.bids, market.asks, 0, market.number)
            case "books1":
                data = self.book(market.bids[:1], market.asks[:1], 0, market.number)
            case "trade":
                past = [self.trade(made) for made in reversed(market.past)]
                self.send({"action": "snapshot", "arg": arg, "data": past, "ts": self.ms})
                return
            case _:
                data = self.ticker(market)
        self.send({"action": "snapshot", "arg": arg, "data": [data], "ts": self.ms})

    def tell(self, channel, market, news):
        names = {"book": "books", "trades": "trade", "bbo": "books1", "ticker": "ticker"}
        arg = self.topics.get((names[channel], market.symbol))
        if arg is None:
            return
        action = "snapshot"
        match channel:
            case "book":
                action, data = "update", self.book(news.bids, news.asks, news.prev, news.last)
            case "trades":
                action, data = "update", self.trade(news)
            case "bbo":
                data = self.book(market.bids[:1], market.asks[:1], 0, market.number)
            case _:
                data = self.ticker(market)
        frame = {"action": action, "arg": arg, "data": [data], "ts": self.ms}
        self.push(channel, market, frame)

    def renumber(self, market, change, before):
        arg = self.topics["books", market.symbol]
        book = self.book(change.bids, change.asks, 0, market.number)
        self.send({"action": "update", "arg": arg, "data": [book], "ts": self.ms})

    def book(self, bids, asks, prev, seq):
        return {"bids": bids, "asks": asks, "ts": str(self.ms), "pseq": prev, "seq": seq}

    def trade(self, made):
        ids = {"ts": str(made.ns // 1_000_000), "tradeId": str(made.id * 7919)}
        return ids | {"price": made.price, "size": made.size, "side": made.taker}

    def ticker(self, market):
        return {"instId": market.symbol, "lastPr": market.last, "ts": str(self.ms), "bidPr": "1"}

    def second(self):
        if self.now_ns > max(self.pinged_ns or 0, self.opened_ns) + 120 * SECOND:
            self.breach("no ping for 2 minutes")


class Bitget(Fake):
    line = BitgetLine
    name = "bitget"
    symbols = ("BTCUSDT", "ETHUSDT")
    stranger = "NOPEUSDT"
    restarts = "gap"  # a change that follows number 0
    tells = frozenset({"book"})
    stride = 9


FAKES = (Okx, Bitget)
