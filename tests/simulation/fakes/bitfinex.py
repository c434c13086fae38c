"""Bitfinex: numbered channels, arrays with a counter, and checksums in frames of their own."""

from __future__ import annotations

import json
import zlib

from tests.simulation.fakes.base import SECOND, Fake, Line


class BitfinexLine(Line):
    flags = 0
    counted = 0
    channels = 0

    def __init__(self, *arguments):
        self.tops = {}  # the level that each side of a book of one shows
        super().__init__(*arguments)

    def hello(self):
        self.send({"event": "info", "version": 2, "serverId": "x", "platform": {"status": 1}})

    def hear(self, text):
        call = json.loads(text)
        match call["event"]:
            case "conf":
                self.flags = call["flags"]
                self.send({"event": "conf", "status": "OK", "flags": self.flags})
            case "unsubscribe":
                key = next(key for key, number in self.topics.items() if number == call["chanId"])
                del self.topics[key]
                self.send({"event": "unsubscribed", "status": "OK", "chanId": call["chanId"]})
            case "subscribe":
                self.subscribe(call)

    def subscribe(self, call):
        symbol, channel = call["symbol"], call["channel"]
        if symbol not in self.fake.markets:
            fault = {"event": "error", "msg": "symbol: invalid", "code": 10300}
            self.send({**call, **fault})
            return
        key = channel + str(call.get("len", "")), symbol
        if key in self.topics or len(self.topics) >= 25:
            code = 10301 if key in self.topics else 10305
            self.send({**call, "event": "error", "msg": "subscribe: dup", "code": code})
            return
        self.channels += 17
        self.topics[key] = self.channels
        echo = {name: str(value) if name == "len" else value for name, value in call.items()}
        self.send({**echo, "event": "subscribed", "chanId": self.channels, "pair": symbol[1:]})
        self.greet(key, self.fake.markets[symbol])

    def data(self, number, *parts):
        """Return an array with its number in the connection."""
        self.counted += 1
        return [number, *parts, self.counted] if self.flags & 65536 else [number, *parts]

    def greet(self, key, market):
        match key[0]:
            case "book25":
                rows = [*_rows(market.bids, 1), *_rows(market.asks, -1)]
            case "book1":
                rows = [*_rows(market.bids[:1], 1), *_rows(market.asks[:1], -1)]
                self.tops[self.topics[key], 1], self.tops[self.topics[key], -1] = rows
            case "trades":
                rows = [_trade(made) for made in reversed(market.past)]
            case _:
                rows = _ticker(market)
        self.send(self.data(self.topics[key], rows))

    def tell(self, channel, market, news):
        name = {"book": "book25", "trades": "trades", "bbo": "book1", "ticker": "ticker"}[channel]
        number = self.topics.get((name, market.symbol))
        if number is None:
            return
        match channel:
            case "book":
                for row in (*_rows(news.bids, 1), *_rows(news.asks, -1)):
                    self.push(channel, market, self.data(number, row))
                if self.flags & 131072:
                    self.push(channel, market, self.data(number, "cs", _checksum(market)))
            case "trades":
                self.push(channel, market, self.data(number, "te", _trade(news)))
                self.later(1.5, self.booked, number, _trade(news))
            case "bbo":
                for sign, side in ((1, market.bids), (-1, market.asks)):
                    (best,) = _rows(side[:1], sign)
                    before, self.tops[number, sign] = self.tops[number, sign], best
                    if before[0] != best[0]:
                        self.push(channel, market, self.data(number, [before[0], 0, sign]))
                    self.push(channel, market, self.data(number, best))
            case _:
                self.push(channel, market, self.data(number, _ticker(market)))

    def booked(self, number, row):
        if self in self.fake.lines and number in self.topics.values():
            self.send(self.data(number, "tu", row))

    def second(self):
        if self.now_ns >= self.said_ns + 15 * SECOND:
            for number in self.topics.values():
                self.send(self.data(number, "hb"))


def _number(text):
    """Return a number that prints as JavaScript prints it."""
    value = float(text)
    return int(value) if value == int(value) else value


def _rows(levels, sign):
    rows = []
    for price, size in levels:
        gone = not float(size)
        rows.append([_number(price), 0 if gone else 2, sign if gone else sign * _number(size)])
    return rows


def _trade(made):
    amount = _number(made.size) * (1 if made.taker == "buy" else -1)
    return [made.id * 13, made.ns // 1_000_000, amount, _number(made.price)]


def _ticker(market):
    return [499.5, 31.9, 500.5, 43.3, -5.8, -0.06, _number(market.last), 9.5, 520, 480]


def _checksum(market):
    parts = []
    for place in range(25):
        for sign, side in ((1, market.bids), (-1, market.asks)):
            if place < len(side):
                price, size = side[place]
                parts += [str(_number(price)), str(sign * _number(size))]
    crc = zlib.crc32(":".join(parts).encode())
    return crc - 2**32 if crc >= 2**31 else crc


class Bitfinex(Fake):
    line = BitfinexLine
    name = "bitfinex"
    symbols = ("tBTCUSD", "tETHUSD")
    stranger = "tNOPEUSD"
    tells = frozenset({"book", "trades", "bbo", "ticker"})  # the connection is counted
    announces = switches = True
    depth = 25

    def shut_down(self):
        for line in tuple(self.lines):
            line.send({"event": "info", "code": 20051, "msg": "Stopping. Please try to reconnect"})
            line.later(10, line.wire.close, 1001)


FAKES = (Bitfinex,)
