"""Coinbase: the feed of Advanced Trade, and that of the Exchange."""

from __future__ import annotations

import json

from tests.simulation.fakes.base import SECOND, Fake, Line, iso


class CoinbaseLine(Line):
    """One channel a request; every answer lists all there is, and every frame is numbered."""

    per_s = 8 + 1  # messages of ours, and a ping beside them
    number = -1

    def hear(self, text):
        call = json.loads(text)
        channel, products = call["channel"], call.get("product_ids", [])
        bad = [product for product in products if product not in self.fake.markets]
        if bad:  # the errors have neither id nor number
            self.send({"type": "error", "message": f"{bad[0]} is not a valid product"})
            return
        for product in products or ["heartbeats"]:
            if call["type"] == "unsubscribe":
                self.topics.pop((channel, product), None)
            else:
                self.topics[channel, product] = None
                self.greet(channel, self.fake.markets.get(product))
        listed = {}
        for name, product in self.topics:
            listed.setdefault(name, []).append(product)
        self.send(self.frame("subscriptions", {"subscriptions": listed}))

    def frame(self, channel, event):
        self.number += 1
        head = {"channel": channel, "client_id": "", "timestamp": iso(self.now_ns, 9)}
        return head | {"sequence_num": self.number, "events": [event]}

    def greet(self, channel, market):
        match channel:
            case "level2":
                self.send(self.book("snapshot", market, market.bids, market.asks))
            case "market_trades":
                self.send(self.trades("snapshot", market, reversed(market.past)))
            case "ticker":
                self.send(self.ticker("snapshot", market))

    def tell(self, channel, market, news):
        name = {"book": "level2", "trades": "market_trades", "ticker": "ticker"}.get(channel)
        if (name, market.symbol) not in self.topics:
            return
        match channel:
            case "book":
                frame = self.book("update", market, news.bids, news.asks)
            case "trades":
                frame = self.trades("update", market, [news])
            case _:
                frame = self.ticker("update", market)
        self.push(channel, market, frame)

    def book(self, kind, market, bids, asks):
        levels = [
            {"side": side, "event_time": iso(market.ns), "price_level": price, "new_quantity": size}
            for side, part in (("bid", bids), ("offer", asks))
            for price, size in part
        ]
        event = {"type": kind, "product_id": market.symbol, "updates": levels}
        return self.frame("l2_data", event)

    def trades(self, kind, market, trades):
        rows = [
            {
                "trade_id": str(made.id),
                "product_id": market.symbol,
                "price": made.price,
                "size": made.size,
                "side": "SELL" if made.taker == "buy" else "BUY",  # the maker's
                "time": iso(made.ns),
            }
            for made in trades
        ]
        return self.frame("market_trades", {"type": kind, "trades": rows})

    def ticker(self, kind, market):
        (bid, bid_size), (ask, ask_size) = market.bids[0], market.asks[0]
        row = {"type": "ticker", "product_id": market.symbol, "price": market.last}
        row |= {"best_bid": bid, "best_bid_quantity": bid_size, "volume_24_h": "9.5"}
        row |= {"best_ask": ask, "best_ask_quantity": ask_size}
        return self.frame("ticker", {"type": kind, "tickers": [row]})

    def second(self):
        if not self.topics and self.now_ns > self.opened_ns + 5 * SECOND:
            self.breach("no subscribe within 5 s")
        elif ("heartbeats", "heartbeats") in self.topics:
            beat = {"current_time": iso(self.now_ns), "heartbeat_counter": str(self.seconds)}
            self.send(self.frame("heartbeats", beat))
        elif self.now_ns > self.said_ns + 60 * SECOND:
            self.breach("no heartbeats were asked for")


class Coinbase(Fake):
    line = CoinbaseLine
    name = "coinbase"
    symbols = ("BTC-USD", "ETH-USD")
    stranger = "NOPE-USD"
    tells = frozenset({"book", "trades", "ticker"})  # the connection is counted


class ExchangeLine(Line):
    """Several channels a request; a bad product spoils all of it."""

    def hear(self, text):
        call = json.loads(text)
        named = [(c["name"], product) for c in call["channels"] for product in c["product_ids"]]
        bad = [product for _, product in named if product not in self.fake.markets]
        if bad:
            reason = f"{bad[0]} is not a valid product"
            self.send({"type": "error", "message": "Failed to subscribe", "reason": reason})
            return
        for key in named:
            if call["type"] == "unsubscribe":
                self.topics.pop(key, None)
        fresh = [key for key in named if key not in self.topics and call["type"] == "subscribe"]
        self.topics.update(dict.fromkeys(fresh))
        listed = {}
        for name, product in self.topics:
            listed.setdefault(name.replace("batch", "50"), []).append(product)
        channels = [{"name": name, "product_ids": ids} for name, ids in listed.items()]
        self.send({"type": "subscriptions", "channels": channels})
        for name, product in fresh:
            self.greet(name, self.fake.markets[product])

    def greet(self, name, market):
        head = {"product_id": market.symbol}
        match name:
            case "level2_batch":
                sides = {"bids": market.bids, "asks": market.asks}
                self.send({"type": "snapshot", **head, **sides})
            case "matches":
                self.send(self.match("last_match", market, market.past[-1]))
            case "ticker":
                self.send(self.ticker(market))

    def tell(self, channel, market, news):
        name = {"book": "level2_batch", "trades": "matches", "ticker": "ticker"}.get(channel)
        if (name, market.symbol) not in self.topics:
            return
        match channel:
            case "book":
                changes = [["buy", *level] for level in news.bids]
                changes += [["sell", *level] for level in news.asks]
                frame = {"type": "l2update", "product_id": market.symbol, "changes": changes}
                frame |= {"time": iso(news.ns)}
            case "trades":
                frame = self.match("match", market, news)
            case _:
                frame = self.ticker(market)
        self.push(channel, market, frame)

    def match(self, kind, market, made):
        maker = "sell" if made.taker == "buy" else "buy"
        row = {"type": kind, "trade_id": made.id, "sequence": market.number * 3, "side": maker}
        row |= {"product_id": market.symbol, "size": made.size, "price": made.price}
        return row | {"time": iso(made.ns)}

    def ticker(self, market):
        (bid, bid_size), (ask, ask_size) = market.bids[0], market.asks[0]
        row = {"type": "ticker", "sequence": market.number * 3, "product_id": market.symbol}
        row |= {"price": market.last, "best_bid": bid, "best_bid_size": bid_size}
        row |= {"best_ask": ask, "best_ask_size": ask_size, "volume_24h": "9.5"}
        return row | {"time": iso(self.now_ns)}

    def second(self):
        if not self.topics and self.now_ns > self.opened_ns + 5 * SECOND:
            self.breach("no subscribe within 5 s")
        for name, product in self.topics:
            if name == "heartbeat":
                market = self.fake.markets[product]
                beat = {"type": "heartbeat", "product_id": product, "time": iso(self.now_ns)}
                numbers = {"sequence": market.number * 3, "last_trade_id": market.trade_id}
                self.send(beat | numbers)


class CoinbaseExchange(Fake):
    line = ExchangeLine
    name = "coinbase.exchange"
    symbols = ("BTC-USD", "ETH-USD")
    stranger = "NOPE-USD"
    tells = frozenset({"trades"})


FAKES = (Coinbase, CoinbaseExchange)
