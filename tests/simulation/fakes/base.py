"""What the small fakes have in common: markets that move, and connections that hear of it.

A fake is a venue as its documents describe it, as small as will do: how a subscription is asked
for and answered, what it is greeted with, what comes when nothing happens, and what the venue
does to a client that fails its duty.  None of them uses our codecs.

Each price and size that a market makes is its own and never made twice, so that a test can tell
what was delivered from what was not without any number of the venue.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from gapless.errors import DialFailed, RequestRejected

ADDRESS = "venue.test:443"
SECOND = 1_000_000_000
CHANNELS = ("book", "trades", "bbo", "ticker")
LEVELS = 14  # of a side at first


@dataclass(frozen=True)
class Change:
    """What happened to a book: levels as text, and the numbers it has where there are numbers."""

    prev: int
    first: int
    last: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    ns: int


@dataclass(frozen=True)
class Made:
    """A trade."""

    id: int
    price: str
    size: str
    taker: str
    ns: int


class Market:
    """One instrument.

    Args:
        depth: How many levels a side are shown; all by default.
        forgetful: Whether a level that is pushed out of that depth goes without a word.
        stride: How far the book's number may go at once; 0 to count changed levels.
    """

    def __init__(self, symbol, seed, now_ns, *, depth=None, forgetful=False, stride=1):
        self.symbol = symbol
        self.depth, self.forgetful, self.stride = depth, forgetful, stride
        self.chance = Random(f"{symbol} {seed}")
        self.number, self.moves, self.trade_id, self.figure = 5000, 0, 700, 2000
        self.ns, self.settled = now_ns, None
        self.full = ({}, {})
        for place in range(LEVELS):
            self.full[0][999 - 2 * place] = f"{place + 1}.125"
            self.full[1][1000 + 2 * place] = f"{place + 1}.375"
        self.past = [self.trade(now_ns) for _ in range(3)]

    def window(self, side):
        """Return price and size of the levels that are shown, best first."""
        ticks = sorted(self.full[side], reverse=not side)[: self.depth]
        return {_price(tick): self.full[side][tick] for tick in ticks}

    @property
    def bids(self):
        return list(self.window(0).items())

    @property
    def asks(self):
        return list(self.window(1).items())

    @property
    def shown(self):
        """The book as numbers, for comparison."""
        return tuple({float(p): float(s) for p, s in side} for side in (self.bids, self.asks))

    @property
    def last(self):
        """The figure of the ticker, which never repeats."""
        return f"{self.figure / 2:.1f}"

    def move(self, now_ns, *, deep=False):
        """Change the book; with ``deep`` a level, too, that the next change leaves alone."""
        before = [self.window(side) for side in (0, 1)]
        self.moves, self.ns = self.moves + 1, now_ns
        for _ in range(self.chance.randint(1, 3)):
            side = self.chance.randrange(2)
            levels = self.full[side]
            tick = self.chance.randrange(1000, 1060) if side else self.chance.randrange(940, 1000)
            if tick == self.settled:
                continue
            if tick in levels and self.chance.random() < 0.5 and len(levels) > LEVELS - 3:
                del levels[tick]
            else:
                levels[tick] = f"{self.chance.randrange(1, 90)}.{self.moves % 1000:03}"
        for side, best, odd in ((0, max, "250"), (1, min, "750")):
            self.full[side][best(self.full[side])] = f"{self.moves}.{odd}"
        if deep:
            tick = sorted(self.full[1])[5]
            self.full[1][tick] = f"{self.moves}.5"
            self.settled = tick
        bids, asks = (self._told(side, before[side]) for side in (0, 1))
        prev, counted = self.number, len(bids) + len(asks)
        self.number += self.chance.randint(1, self.stride) if self.stride else counted
        return Change(prev, prev + 1, self.number, bids, asks, now_ns)

    def trade(self, now_ns):
        """Make a trade."""
        self.trade_id += 1
        taker = self.chance.choice(("buy", "sell"))
        return Made(self.trade_id, "499.5", f"{self.trade_id}.5", taker, now_ns)

    def tick(self):
        self.figure += 1

    def _told(self, side, before):
        after = self.window(side)
        told = [(price, size) for price, size in after.items() if before.get(price) != size]
        everything = {_price(tick) for tick in self.full[side]}
        silent = everything if self.forgetful else ()
        gone = [price for price in before if price not in after and price not in silent]
        return [*told, *((price, "0") for price in gone)]


def _price(tick):
    return f"{tick / 2:.1f}"


class Line:
    """One connection, as the venue sees it: the `ServerPeer` of its wire.

    Attributes:
        topics: What is subscribed, in the venue's own words.
        heard_ns, said_ns: When the client last sent a text, and the venue anything.
        pinged_ns: When a ping of the venue began to wait for its answer, or `None`.
    """

    per_s = None  # frames that a client may send in a second

    def __init__(self, fake, wire, path):
        self.fake, self.wire, self.path = fake, wire, path
        self.topics = {}
        self.opened_ns = self.heard_ns = self.said_ns = fake.now_ns
        self.pinged_ns = None
        self.deaf = fake.dials <= fake.deaf
        self.seconds = self.requests = 0
        self.recent = deque()
        self.hello()

    # -- what a family says -----------------------------------------------------------------

    def hello(self):
        """Greet a connection."""

    def hear(self, text):
        """Take a request."""
        raise NotImplementedError

    def tell(self, channel, market, news):
        """Say what happened, if it is subscribed."""
        raise NotImplementedError

    def second(self):
        """Do what is done once a second."""

    def renumber(self, market, change, before):
        """Say a change whose number is 1, after one whose number was ``before``."""
        raise NotImplementedError

    # -- tools --------------------------------------------------------------------------------

    @property
    def now_ns(self):
        return self.fake.now_ns

    @property
    def ms(self):
        return self.fake.now_ns // 1_000_000

    def send(self, message):
        self.said_ns = self.now_ns
        self.wire.send_text(message if isinstance(message, str) else json.dumps(message))

    def push(self, channel, market, message):
        """Send data, unless it is what a test wants lost; every number is spent by then."""
        if self.fake.dropping == (channel, market.symbol) and self in self.fake.losing:
            self.fake.dropped += 1
        else:
            self.send(message)

    def ping(self):
        if self.pinged_ns is None:
            self.pinged_ns = self.now_ns
        self.wire.ping(b"alive?")

    def breach(self, duty, code=1008):
        """End the connection because the client failed a duty."""
        self.fake.breaches.append(duty)
        self.wire.close(code, duty)

    def later(self, delay_s, call, *arguments):
        asyncio.get_running_loop().call_later(delay_s, call, *arguments)

    # -- the peer ---------------------------------------------------------------------------

    def on_text(self, text):
        self.heard_ns = self.now_ns
        self.requests += 1
        self._count()
        if not self.deaf:
            self.hear(text)

    def on_ping(self, payload):
        self._count()
        self.wire.pong(payload)

    def on_pong(self, payload):
        self._count()
        self.pinged_ns = None

    def on_close(self, code, reason):
        pass

    def on_lost(self):
        if self in self.fake.lines:
            self.fake.lines.remove(self)
            self.fake.lost.append((self, self.now_ns))

    def _count(self):
        self.recent.append(self.now_ns)
        while self.recent[0] <= self.now_ns - SECOND:
            self.recent.popleft()
        if self.per_s is not None and len(self.recent) > self.per_s:
            self.breach(f"{len(self.recent)} messages in a second")


class Fake:
    """One venue.

    Attributes:
        symbols: Two that exist.
        stranger: One that does not.
        asks: What a client follows here, by channel.
        tells: Channels of which a lost frame shows.
        figure: Field of our ticker that has the market's figure.
        routes: How many connections it takes to follow everything.
        announces: Whether it says something before it ends its connections.
        switches: Whether it says so early enough that nothing need be lost.
        restarts: Whether its books may begin to count anew, and how: with a ``gap`` or ``whole``.
        deaf: So many connections, from the first on, are never answered.
        lines: The open connections, and `lost` those that were.
        dials, dropped: How often a client came, and how many frames were lost on purpose.
        breaches: What clients did that the venue forbids.
    """

    line = Line
    name = ""
    symbols = ("AAA", "BBB")
    stranger = "NOPE"
    channels = CHANNELS
    tells = frozenset()
    figure = "price"
    routes = 1
    restarts = None
    announces = False
    switches = False
    depth = None
    forgetful = False
    stride = 1
    unrefused = frozenset()

    def __init__(self, network, clock, seed=1):
        self.clock = clock
        self.lines, self.lost, self.breaches = [], [], []
        self.dials = self.dropped = 0
        self.dropping, self.losing = None, ()
        self.deaf = 0
        self.markets = {
            symbol: Market(
                symbol,
                seed,
                self.now_ns,
                depth=self.depth,
                forgetful=self.forgetful,
                stride=self.stride,
            )
            for symbol in self.symbols
        }
        # What no two messages have in common: size of a trade, sizes of a quote, and so on.
        self.made = {(channel, symbol): [] for channel in CHANNELS for symbol in self.symbols}
        self._timer = None
        network.listen(ADDRESS, self._accept)
        self._second()

    @property
    def now_ns(self):
        return self.clock.wall_ns()

    @property
    def asks(self):
        return dict.fromkeys(self.channels, self.symbols)

    def strange(self, channel):
        """Return the symbol to ask for in vain."""
        return self.stranger

    def step(self, *channels):
        """Let every market do something, and say so."""
        for market in self.markets.values():
            market.tick()
            deep = self.dropping == ("book", market.symbol)
            trade, change = market.trade(self.now_ns), market.move(self.now_ns, deep=deep)
            market.past = [*market.past, trade][-20:]
            news = {"book": change, "trades": trade, "bbo": None, "ticker": None}
            sizes = float(market.bids[0][1]), float(market.asks[0][1])
            marks = (change.last, float(trade.size), sizes, float(market.last))
            for channel, mark in zip(CHANNELS, marks, strict=True):
                if channel in (channels or CHANNELS):
                    self.made[channel, market.symbol].append(mark)
                    for line in list(self.lines):
                        line.tell(channel, market, news[channel])
        self.dropping = None

    def lose(self, channel, symbol, *lines):
        """Lose what the next step says of one topic; on every connection by default."""
        self.dropping, self.losing = (channel, symbol), lines or tuple(self.lines)

    def reset(self, *lines):
        """Break connections without a word; all by default."""
        for line in lines or tuple(self.lines):
            line.wire.reset()

    def shut_down(self):
        """End every connection that is open now, as the venue does it."""
        for line in tuple(self.lines):
            line.wire.close(1001, "going away")

    def renumber(self):
        """Let every book count anew."""
        for market in self.markets.values():
            before, change = market.number, market.move(self.now_ns)
            market.number = 1
            for line in tuple(self.lines):
                line.renumber(market, change, before)

    def rest(self, path, query):
        """Return status and body of a REST read."""
        return 404, b"{}"

    def close(self):
        self._timer.cancel()

    def _accept(self, wire, path, headers):
        self.dials += 1
        line = self.line(self, wire, path)
        self.lines.append(line)
        return line

    def _second(self):
        for line in tuple(self.lines):
            line.seconds += 1
            if not line.deaf:
                line.second()
        self._timer = asyncio.get_running_loop().call_later(1.0, self._second)


class FakeRest:
    """Carries out REST reads of a fake after a moment."""

    def __init__(self, fake):
        self._fake = fake

    async def get(self, base, request, rest):
        await asyncio.sleep(0.02)
        status, body = self._fake.rest(request.path, dict(request.query))
        await asyncio.sleep(0.02)
        if status == 200:
            return body
        if (fault := rest.read_error(body)) is not None:
            raise RequestRejected(*fault)
        raise DialFailed("rest", base, f"HTTP status {status}", status)

    async def close(self):
        pass


def iso(ns, digits=6):
    """Return a time as ISO 8601 in UTC."""
    whole = datetime.fromtimestamp(ns // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{ns % SECOND:09}"[: 20 + digits] + "Z"
