"""Deribit: JSON-RPC, and heartbeats that must be answered."""

from __future__ import annotations

import json

from tests.simulation.fakes.base import SECOND, Fake, Line


class DeribitLine(Line):
    interval_s = None
    tested_ns = None

    def hear(self, text):
        call = json.loads(text)
        self.tested_ns = None
        reply = {"jsonrpc": "2.0", "id": call["id"], "usOut": self.now_ns // 1000}
        params = call["params"]
        match call["method"]:
            case "public/set_heartbeat":
                self.interval_s = max(10, params["interval"])
                self.send(reply | {"result": "ok"})
            case "public/test":
                self.send(reply | {"result": {"version": "1.2.26"}})
            case "public/subscribe":  # what does not exist is left out without a word
                granted = [name for name in params["channels"] if self.exists(name)]
                self.send(reply | {"result": granted})
                for name in granted:
                    self.topics[name] = None
                    self.greet(name)
            case "public/unsubscribe":
                for name in params["channels"]:
                    self.topics.pop(name, None)
                self.send(reply | {"result": params["channels"]})

    def exists(self, name):
        return name == "platform_state" or name.split(".")[1] in self.fake.markets

    def greet(self, name):
        kind, _, rest = name.partition(".")
        market = self.fake.markets.get(rest.partition(".")[0])
        match kind:
            case "book":
                head = {"type": "snapshot", "timestamp": self.ms, "change_id": market.number}
                sides = {"bids": _levels(market.bids), "asks": _levels(market.asks)}
                self.say(name, head | {"instrument_name": market.symbol} | sides)
            case "quote":
                self.say(name, self.quote(market))
            case "ticker":
                self.say(name, self.ticker(market))

    def say(self, name, data):
        self.send(_push(name, data))

    def tell(self, channel, market, news):
        name = self.fake.topic(channel, market.symbol)
        if name not in self.topics:
            return
        match channel:
            case "book":
                head = {"type": "change", "timestamp": self.ms, "instrument_name": market.symbol}
                numbers = {"prev_change_id": news.prev, "change_id": news.last}
                data = head | numbers | {"bids": _levels(news.bids), "asks": _levels(news.asks)}
            case "trades":
                data = [
                    {
                        "trade_seq": news.id,
                        "trade_id": f"T-{news.id}",
                        "timestamp": news.ns // 1_000_000,
                        "price": float(news.price),
                        "amount": float(news.size),
                        "direction": news.taker,
                        "instrument_name": market.symbol,
                    }
                ]
            case "bbo":
                data = self.quote(market)
            case _:
                data = self.ticker(market)
        self.push(channel, market, _push(name, data))

    def quote(self, market):
        (bid, bid_size), (ask, ask_size) = market.bids[0], market.asks[0]
        best = {"best_bid_price": float(bid), "best_bid_amount": float(bid_size)}
        best |= {"best_ask_price": float(ask), "best_ask_amount": float(ask_size)}
        return best | {"timestamp": self.ms, "instrument_name": market.symbol}

    def ticker(self, market):
        return self.quote(market) | {"last_price": float(market.last), "mark_price": 500.1}

    def second(self):
        if self.tested_ns is not None and self.now_ns > self.tested_ns + 5 * SECOND:
            self.breach("a test request was not answered")
        elif self.interval_s is not None and self.seconds % self.interval_s == 0:
            quiet = self.now_ns - self.heard_ns >= self.interval_s * SECOND
            self.tested_ns = self.now_ns if quiet else None
            params = {"type": "test_request" if quiet else "heartbeat"}
            self.send({"jsonrpc": "2.0", "method": "heartbeat", "params": params})
        elif self.now_ns > self.heard_ns + 600 * SECOND:
            self.breach("idle")


def _push(name, data):
    params = {"channel": name, "data": data}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def _levels(levels):
    return [["change" if float(s) else "delete", float(p), float(s)] for p, s in levels]


class Deribit(Fake):
    line = DeribitLine
    name = "deribit"
    symbols = ("BTC-PERPETUAL", "ETH-PERPETUAL")
    stranger = "NOPE-PERPETUAL"
    tells = frozenset({"book", "trades"})
    stride = 9
    announces = True

    def topic(self, channel, symbol):
        names = {"book": "book.{}.100ms", "trades": "trades.{}.100ms", "bbo": "quote.{}"}
        return names.get(channel, "ticker.{}.100ms").format(symbol)

    def rest(self, path, query):
        if path != "/api/v2/public/get_book_summary_by_currency":
            return 404, b"{}"
        rows = [
            {
                "instrument_name": each.symbol,
                "bid_price": float(each.bids[0][0]),
                "ask_price": float(each.asks[0][0]),
                "creation_timestamp": self.now_ns // 1_000_000,
            }
            for each in self.markets.values()
            if each.symbol.startswith(query["currency"])
        ]
        return 200, json.dumps({"jsonrpc": "2.0", "result": rows}).encode()

    def shut_down(self):
        for line in tuple(self.lines):
            if "platform_state" in line.topics:
                line.say("platform_state", {"maintenance": True})
            line.later(2, line.wire.close, 1001)


FAKES = (Deribit,)
