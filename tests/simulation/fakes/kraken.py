"""Kraken: the two dialects of spot, and the futures."""

from __future__ import annotations

import json
import zlib

from tests.simulation.fakes.base import SECOND, Fake, Line, iso


def checksum(bids, asks, price_digits, size_digits):
    """Return the CRC32 of ten levels a side, asks first, each padded and without its point."""
    text = ""
    for price, size in (*asks[:10], *bids[:10]):
        for number, digits in ((price, price_digits), (size, size_digits)):
            whole, _, fraction = number.partition(".")
            text += (whole + fraction.ljust(digits, "0")).lstrip("0")
    return zlib.crc32(text.encode())


class KrakenLine(Line):
    """The second dialect: one answer for each symbol."""

    def hello(self):
        self.send(_status("online"))

    def hear(self, text):
        call = json.loads(text)
        params, method = call["params"], call["method"]
        head = {"method": method, "req_id": call["req_id"], "time_in": iso(self.now_ns)}
        if params["channel"] == "instrument":
            self.send(
                head | {"success": True, "result": {"channel": "instrument", "snapshot": True}}
            )
            pairs = [
                {"symbol": symbol, "price_precision": 1, "qty_precision": 8, "status": "online"}
                for symbol in self.fake.markets
            ]
            data = {"assets": [], "pairs": pairs}
            self.send({"channel": "instrument", "type": "snapshot", "data": data})
            return
        for symbol in params["symbol"]:
            key = params["channel"], symbol
            result = {name: value for name, value in params.items() if name != "symbol"}
            result |= {"symbol": symbol}
            if symbol not in self.fake.markets:
                said = f"Currency pair not supported {symbol}"
                self.send(head | {"success": False, "symbol": symbol, "error": said})
            elif method == "unsubscribe":
                self.topics.pop(key, None)
                self.send(head | {"success": True, "result": result})
            elif key in self.topics:
                said = "Already subscribed"
                self.send(head | {"success": False, "symbol": symbol, "error": said})
            else:
                self.send(head | {"success": True, "result": result})
                self.topics[key] = params
                self.greet(params["channel"], self.fake.markets[symbol])

    def greet(self, channel, market):
        match channel:
            case "book":
                data = self.book(market, market.bids, market.asks)
            case "ticker":
                data = self.ticker(market)
            case _:
                past = [self.trade(market, made) for made in market.past]
                self.send({"channel": channel, "type": "snapshot", "data": past})
                return
        self.send({"channel": channel, "type": "snapshot", "data": [data]})

    def tell(self, channel, market, news):
        names = {"book": "book", "trades": "trade", "ticker": "ticker"}
        name = names.get(channel)
        if (name, market.symbol) not in self.topics:
            return
        match channel:
            case "book":
                data = self.book(market, news.bids, news.asks)
            case "trades":
                data = self.trade(market, news)
            case _:
                data = self.ticker(market)
        self.push(channel, market, {"channel": name, "type": "update", "data": [data]})

    def book(self, market, bids, asks):
        # Numbers, so zeros at the end are not printed; the checksum counts them all the same.
        sides = {
            name: [{"price": float(price), "qty": float(size)} for price, size in side]
            for name, side in (("bids", bids), ("asks", asks))
        }
        crc = checksum(market.bids, market.asks, 1, 8)
        return {"symbol": market.symbol, **sides, "checksum": crc, "timestamp": iso(market.ns)}

    def trade(self, market, made):
        row = {"symbol": market.symbol, "side": made.taker, "trade_id": made.id}
        row |= {"price": float(made.price), "qty": float(made.size), "ord_type": "market"}
        return row | {"timestamp": iso(made.ns)}

    def ticker(self, market):
        (bid, bid_size), (ask, ask_size) = market.bids[0], market.asks[0]
        best = {"bid": float(bid), "bid_qty": float(bid_size)}
        best |= {"ask": float(ask), "ask_qty": float(ask_size)}
        row = {"symbol": market.symbol, **best, "last": float(market.last), "volume": 9.5}
        return row | self.fake.stamp(self.now_ns)

    def second(self):
        if self.topics and self.now_ns >= self.said_ns + SECOND:
            self.send({"channel": "heartbeat"})


def _status(system):
    return {"channel": "status", "type": "update", "data": [{"system": system, "version": "2.0.9"}]}


class Kraken(Fake):
    line = KrakenLine
    name = "kraken"
    symbols = ("BTC/USD", "ETH/USD")
    stranger = "NOPE/USD"
    tells = frozenset({"book", "trades"})
    depth = 10
    forgetful = True
    announces = True

    def stamp(self, now_ns):
        return {"timestamp": iso(now_ns)}

    def shut_down(self):
        for line in tuple(self.lines):
            line.send(_status("maintenance"))
            line.later(2, line.wire.close, 1001)


class KrakenV1Line(Line):
    """The first dialect: arrays that end with channel and pair."""

    def hello(self):
        self.send({"event": "systemStatus", "status": "online", "version": "1.9.2"})

    def hear(self, text):
        call = json.loads(text)
        wanted = call["subscription"]
        name = f"book-{wanted['depth']}" if wanted["name"] == "book" else wanted["name"]
        for pair in call["pair"]:
            head = {"event": "subscriptionStatus", "pair": pair, "reqid": call["reqid"]}
            head |= {"subscription": wanted}
            if pair not in self.fake.markets:
                said = f"Currency pair not supported {pair}"
                self.send(head | {"status": "error", "errorMessage": said})
            elif call["event"] == "unsubscribe":
                self.topics.pop((name, pair), None)
                self.send(head | {"status": "unsubscribed", "channelName": name})
            else:
                self.send(head | {"status": "subscribed", "channelName": name, "channelID": 336})
                self.topics[name, pair] = None
                self.greet(name, self.fake.markets[pair])

    def greet(self, name, market):
        match name:
            case "book-10":
                sides = {"as": self.levels(market.asks), "bs": self.levels(market.bids)}
                self.send([336, sides, name, market.symbol])
            case "spread":
                self.send([336, self.spread(market), name, market.symbol])
            case "ticker":
                self.send([336, self.ticker(market), name, market.symbol])

    def tell(self, channel, market, news):
        names = {"book": "book-10", "trades": "trade", "bbo": "spread", "ticker": "ticker"}
        name = names[channel]
        if (name, market.symbol) not in self.topics:
            return
        match channel:
            case "book":
                parts = self.changes(market, news)
            case "trades":
                price, size = _long(news.price, 5), _long(news.size, 8)
                parts = [[[price, size, self.seconds_of(news.ns), news.taker[0], "l", ""]]]
            case "bbo":
                parts = [self.spread(market)]
            case _:
                parts = [self.ticker(market)]
        self.push(channel, market, [336, *parts, name, market.symbol])

    def changes(self, market, news):
        sides = (("a", news.asks), ("b", news.bids))
        parts = [{name: self.levels(side)} for name, side in sides if side]
        crc = checksum(
            [(_long(p, 5), _long(s, 8)) for p, s in market.bids],
            [(_long(p, 5), _long(s, 8)) for p, s in market.asks],
            5,
            8,
        )
        parts[-1]["c"] = str(crc)
        return parts

    def levels(self, levels):
        now = self.seconds_of(self.now_ns)
        return [[_long(price, 5), _long(size, 8), now] for price, size in levels]

    def spread(self, market):
        (bid, bid_size), (ask, ask_size) = market.bids[0], market.asks[0]
        return [bid, ask, self.seconds_of(self.now_ns), bid_size, ask_size]

    def ticker(self, market):
        best = {"a": [market.asks[0][0], 1, "1.000"], "b": [market.bids[0][0], 1, "1.000"]}
        return best | {"c": [market.last, "0.1"], "v": ["1.5", "2.5"], "t": [1, 2]}

    def seconds_of(self, ns):
        return f"{ns // SECOND}.{ns % SECOND // 1000:06}"

    def second(self):
        if self.topics and self.now_ns >= self.said_ns + SECOND:
            self.send({"event": "heartbeat"})


def _long(number, digits):
    return f"{float(number):.{digits}f}"


class KrakenV1(Fake):
    line = KrakenV1Line
    name = "kraken.v1"
    symbols = ("XBT/USD", "ETH/USD")
    stranger = "NOPE/USD"
    tells = frozenset({"book"})
    depth = 10
    forgetful = True
    announces = True

    def shut_down(self):
        for line in tuple(self.lines):
            line.send({"event": "systemStatus", "status": "maintenance"})
            line.later(2, line.wire.close, 1001)


class FuturesLine(Line):
    """No ids: each product is granted on its own, and a bad one told in words."""

    frames_ns = 0

    def hello(self):
        self.send({"event": "info", "version": 1})

    def hear(self, text):
        call = json.loads(text)
        for product in call["product_ids"]:
            if product not in self.fake.markets:
                said = f"Couldn't subscribe to invalid product `{product}`"
                self.send({"event": "alert", "message": said})
            elif call["event"] == "unsubscribe":
                self.topics.pop((call["feed"], product), None)
                answer = {"event": "unsubscribed", "feed": call["feed"]}
                self.send(answer | {"product_ids": [product]})
            else:
                answer = {"event": "subscribed", "feed": call["feed"]}
                self.send(answer | {"product_ids": [product]})
                self.topics[call["feed"], product] = None
                self.greet(call["feed"], self.fake.markets[product])

    def greet(self, feed, market):
        match feed:
            case "book":
                head = {"feed": "book_snapshot", "product_id": market.symbol, "timestamp": self.ms}
                sides = {"bids": _objects(market.bids), "asks": _objects(market.asks)}
                self.send(head | {"seq": market.number, **sides})
            case "trade":
                past = [self.trade(market, made) for made in reversed(market.past)]
                head = {"feed": "trade_snapshot", "product_id": market.symbol}
                self.send(head | {"trades": past})
            case "ticker":
                self.send(self.ticker(market))

    def tell(self, channel, market, news):
        feed = {"book": "book", "trades": "trade", "ticker": "ticker"}.get(channel)
        if (feed, market.symbol) not in self.topics:
            return
        match channel:
            case "book":  # one level a message, each with a number of its own
                head = {"feed": "book", "product_id": market.symbol, "timestamp": self.ms}
                seq = news.prev
                for side, levels in (("buy", news.bids), ("sell", news.asks)):
                    for level in _objects(levels):
                        seq += 1
                        self.push(channel, market, head | {"side": side, "seq": seq} | level)
            case "trades":
                self.push(channel, market, self.trade(market, news))
            case _:
                self.push(channel, market, self.ticker(market))

    def trade(self, market, made):
        row = {"feed": "trade", "product_id": market.symbol, "uid": f"u{made.id}", "seq": made.id}
        row |= {"side": made.taker, "type": "fill", "time": made.ns // 1_000_000}
        return row | {"qty": float(made.size), "price": float(made.price)}

    def ticker(self, market):
        row = {"feed": "ticker", "product_id": market.symbol, "time": self.ms, "bid": 499.5}
        return row | {"last": float(market.last), "markPrice": 499.9, "openInterest": 7.5}

    def on_ping(self, payload):
        super().on_ping(payload)
        self.frames_ns = self.now_ns

    def second(self):
        if self.now_ns > max(self.frames_ns, self.heard_ns) + 60 * SECOND:
            self.breach("no ping for 60 s")


def _objects(levels):
    return [{"price": float(price), "qty": float(size)} for price, size in levels]


class KrakenFutures(Fake):
    line = FuturesLine
    name = "kraken.futures"
    symbols = ("PI_XBTUSD", "PI_ETHUSD")
    stranger = "PI_NOPEUSD"
    channels = ("book", "trades", "ticker")
    tells = frozenset({"book", "trades"})
    stride = 0


FAKES = (Kraken, KrakenV1, KrakenFutures)
