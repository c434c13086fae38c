"""dYdX and Hyperliquid: no logins, no numbers."""

from __future__ import annotations

import json
from collections import deque

from tests.simulation.fakes.base import SECOND, Fake, Line, iso


class DydxLine(Line):
    """The answer to a subscription is its snapshot, and takes a moment."""

    number = 0

    def __init__(self, *arguments):
        self.asked = {}
        super().__init__(*arguments)

    def hello(self):
        self.send({"type": "connected", "connection_id": "x", "message_id": 0})

    def hear(self, text):
        call = json.loads(text)
        channel, name = call["channel"], call.get("id")
        self.number += 1
        if call["type"] == "unsubscribe":
            self.topics.pop((channel, name), None)
            self.say("unsubscribed", channel, name, None, self.number)
            return
        recent = self.asked.setdefault((channel, name), deque())
        recent.append(self.now_ns)
        if sum(ns > self.now_ns - SECOND for ns in recent) > 2:
            self.breach("too many subscribe attempts")
        elif channel != "v4_markets" and name not in self.fake.markets:
            self.fault(f"Invalid subscription id for channel: ({channel}-{name})")
        elif (channel, name) in self.topics:
            self.fault(f"Invalid subscribe message: already subscribed ({channel}-{name})")
        else:  # a number is taken now, and sent once the snapshot is there
            self.later(self.fake.fetch_s, self.subscribed, channel, name, self.number)

    def fault(self, said):
        self.send(
            {"type": "error", "message": said, "connection_id": "x", "message_id": self.number}
        )

    def subscribed(self, channel, name, number):
        if self not in self.fake.lines:
            return
        self.topics[channel, name] = None
        market = self.fake.markets.get(name)
        match channel:
            case "v4_orderbook":
                pairs = (("bids", market.bids), ("asks", market.asks))
                contents = {k: [{"price": p, "size": s} for p, s in side] for k, side in pairs}
            case "v4_trades":
                contents = {"trades": [_dydx_trade(made) for made in reversed(market.past)]}
            case _:
                rows = {
                    each.symbol: {
                        "ticker": each.symbol,
                        "status": "ACTIVE",
                        "oraclePrice": each.last,
                    }
                    for each in self.fake.markets.values()
                }
                contents = {"markets": rows}
        self.say("subscribed", channel, name, contents, number)

    def say(self, kind, channel, name, contents, number):
        self.send(self.frame(kind, channel, name, contents, number))

    def frame(self, kind, channel, name, contents, number):
        head = {"type": kind, "connection_id": "x", "message_id": number, "channel": channel}
        head |= {} if contents is None else {"version": "1.0.0", "contents": contents}
        return head if name is None else head | {"id": name}

    def tell(self, channel, market, news):
        names = {"book": "v4_orderbook", "trades": "v4_trades", "ticker": "v4_markets"}
        name = names.get(channel)
        key = name, None if channel == "ticker" else market.symbol
        if key not in self.topics:
            return
        match channel:
            case "book":
                contents = {k: v for k, v in (("bids", news.bids), ("asks", news.asks)) if v}
            case "trades":
                contents = {"trades": [_dydx_trade(news)]}
            case _:
                row = {"oraclePrice": market.last, "effectiveAt": iso(self.now_ns, 3)}
                contents = {"oraclePrices": {market.symbol: row}}
        self.number += 1
        self.push(channel, market, self.frame("channel_data", *key, contents, self.number))

    def second(self):
        if self.seconds % 30 == 0:
            self.ping()
        elif self.pinged_ns is not None and self.now_ns > self.pinged_ns + 10 * SECOND:
            self.breach("Heartbeat timeout", 1011)


def _dydx_trade(made):
    row = {"id": f"{made.id:08x}-0", "size": made.size, "price": made.price}
    return row | {"side": made.taker.upper(), "type": "LIMIT", "createdAt": iso(made.ns, 3)}


class Dydx(Fake):
    line = DydxLine
    name = "dydx"
    symbols = ("BTC-USD", "ETH-USD")
    stranger = "NOPE-USD"
    channels = ("book", "trades", "ticker")
    figure = "index"
    fetch_s = 0.3

    def shut_down(self):
        for line in tuple(self.lines):
            line.wire.close(1012, "Service restart")


class HyperliquidLine(Line):
    """One coin a subscription; a client must make the venue say something once a minute."""

    def hello(self):
        self.send("Websocket connection established.")

    def hear(self, text):
        call = json.loads(text)
        if call["method"] == "ping":
            self.send({"channel": "pong"})
            return
        wanted = call["subscription"]
        key = wanted["type"], wanted["coin"]
        shown = json.dumps(wanted, separators=(",", ":"))
        if key[1] not in self.fake.markets:
            self.send({"channel": "error", "data": f"Invalid subscription {shown}"})
        elif call["method"] == "unsubscribe":
            self.topics.pop(key, None)
            self.send({"channel": "subscriptionResponse", "data": call})
        elif key in self.topics:
            self.send({"channel": "error", "data": f"Already subscribed: {shown}"})
        else:
            filled = wanted | ({"nSigFigs": None, "mantissa": None} if key[0] == "l2Book" else {})
            answer = {"method": "subscribe", "subscription": filled}
            self.send({"channel": "subscriptionResponse", "data": answer})
            self.topics[key] = None
            self.greet(key[0], self.fake.markets[key[1]])

    def greet(self, kind, market):
        if kind == "trades":
            data = [_hyper_trade(market, made) for made in market.past]
            self.send({"channel": "trades", "data": data})
        else:
            self.send(self.image(kind, market))

    def tell(self, channel, market, news):
        names = {"book": "l2Book", "trades": "trades", "bbo": "bbo", "ticker": "activeAssetCtx"}
        kind = names[channel]
        if (kind, market.symbol) not in self.topics:
            return
        frame = (
            {"channel": "trades", "data": [_hyper_trade(market, news)]}
            if news and kind == "trades"
            else None
        )
        self.push(channel, market, frame or self.image(kind, market))

    def image(self, kind, market):
        sides = [
            [{"px": p, "sz": s, "n": 1} for p, s in side] for side in (market.bids, market.asks)
        ]
        data = {"coin": market.symbol}
        match kind:
            case "l2Book":
                data |= {"time": self.ms, "levels": [side[:20] for side in sides]}
            case "bbo":
                data |= {"time": self.ms, "bbo": [side[0] for side in sides]}
            case _:
                context = {"markPx": market.last, "oraclePx": "1.5", "funding": "0.0000125"}
                data |= {"ctx": context | {"openInterest": "688.11", "dayBaseVlm": "9.5"}}
        return {"channel": kind, "data": data}

    def second(self):
        if self.now_ns > self.said_ns + 60 * SECOND:
            self.breach("nothing was sent for 60 s", 1000)


def _hyper_trade(market, made):
    row = {"coin": market.symbol, "side": "B" if made.taker == "buy" else "A", "px": made.price}
    return row | {"sz": made.size, "time": made.ns // 1_000_000, "tid": made.id * 31, "hash": "0x0"}


class Hyperliquid(Fake):
    line = HyperliquidLine
    name = "hyperliquid"
    symbols = ("BTC", "ETH")
    stranger = "NOPE"
    figure = "mark"
    depth = 20

    def shut_down(self):
        for line in tuple(self.lines):
            line.wire.close(1000, "")


FAKES = (Dydx, Hyperliquid)
