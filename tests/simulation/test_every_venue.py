"""The whole client against a small fake of every venue, in virtual time.

Each test runs for each profile there is; one without a fake fails.  The fakes check the client as
the venues do: whoever fails a duty is disconnected, and the test that caused it fails.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.simulation.fakes import FAKES
from tests.simulation.fakes.base import ADDRESS, FakeRest
from tests.simulation.stage import Consumer, gaps, notices, rebuilt

from gapless.client import Book, Feed
from gapless.events import Bbo, BookDelta, BookSnapshot, Gap, Resynced, Ticker, Trade
from gapless.io.runtime import Runtime
from gapless.planning import Options, Subscription, assemble, book
from gapless.testing import MemoryConnector, MemoryNetwork, VirtualClock, run
from gapless.venues._registry import load, names

every_venue = pytest.mark.parametrize("venue", names())

SEED = 1
ALARMS = ("stalled", "unproven")
KINDS = {"trades": Trade, "bbo": Bbo, "ticker": Ticker, "book": (BookSnapshot, BookDelta)}


class Stage:
    """One fake, one feed on all it has, and what the feed delivers."""

    def __init__(self, venue, clock, *, jitter_ms=0):
        self.venue = venue
        network = MemoryNetwork(
            clock, latency_ns=5_000_000, jitter_ns=jitter_ms * 1_000_000, seed=SEED
        )
        self.fake = FAKES[venue](network, clock, SEED)
        self.runtime = Runtime(clock, MemoryConnector(network), lambda _: FakeRest(self.fake))

    def feed(self, *more, **options):
        options.setdefault("allow_same", True)
        chosen = Options(endpoints=(f"ws://{ADDRESS}",), seed=SEED, runtime=self.runtime, **options)
        asked = [Subscription(name, tuple(each)) for name, each in self.fake.asks.items()]
        return Feed(assemble(self.venue, [*asked, *more], chosen), chosen)

    def topics(self, channel=None):
        """Yield channel, the fake's market and our topic of all that is asked for."""
        for name, asked in self.fake.asks.items():
            for symbol, market in zip(asked, self.fake.markets.values(), strict=True):
                if channel in (None, name):
                    yield name, market, load(self.venue).topic(name, symbol).topic

    async def trade(self, steps, every_s=0.1):
        for _ in range(steps):
            self.fake.step()
            await asyncio.sleep(every_s)

    def marks(self, channel, events):
        """Return what makes each message its own; empty for books."""
        match channel:
            case "trades":
                return [event.size for event in events if isinstance(event, Trade)]
            case "bbo":
                return [(e.bid_size, e.ask_size) for e in events if isinstance(e, Bbo)]
            case "ticker":
                figure = self.fake.figure
                return [getattr(e, figure) for e in events if isinstance(e, Ticker)]
            case _:
                return []


def play(venue, test, *, jitter_ms=0, deaf=0, slow_s=None, **options):
    """Run ``await test(stage, feed, consumer)`` once the feed is live, in virtual time."""
    clock = VirtualClock()

    async def main():
        stage = Stage(venue, clock, jitter_ms=jitter_ms)
        stage.fake.deaf = deaf
        if slow_s is not None:
            stage.fake.fetch_s = slow_s
        try:
            async with stage.feed(*options.pop("more", ()), **options) as feed:
                consumer = Consumer(feed)
                await asyncio.sleep(4)
                await test(stage, feed, consumer)
                await consumer.stop()
            assert stage.fake.breaches == []
        finally:
            stage.fake.close()

    run(main(), clock)


def of(events, topic):
    return [event for event in events if event.origin.topic == topic]


def states(feed):
    return {topic.topic: topic.trust for topic in feed.stats().topics}


def assert_all_live(stage, feed):
    trusted = states(feed)
    assert {topic: trusted[topic] for _, _, topic in stage.topics()} == {
        topic: "live" for _, _, topic in stage.topics()
    }


def assert_books_equal(stage, events):
    for _, market, topic in stage.topics("book"):
        bids, asks, _ = rebuilt(events, topic)
        assert (bids, asks) == market.shown, topic


def assert_nothing_twice(stage, events):
    """No trade ever comes again, and no image without a gap between it and the first."""
    for channel, _, topic in stage.topics():
        stretches = [[]]
        for event in of(events, topic):
            if isinstance(event, Gap) and channel != "trades":
                stretches.append([])
            stretches[-1].append(event)
        for stretch in stretches:
            marks = stage.marks(channel, stretch)
            assert len(set(marks)) == len(marks), topic


def lost(stage, events, channel, market, topic):
    """Return what the market made and nobody was told of."""
    got = set(stage.marks(channel, of(events, topic)))
    return [mark for mark in stage.fake.made[channel, market.symbol] if mark not in got]


def assert_nothing_missing(stage, events):
    for channel, market, topic in stage.topics():
        if channel == "book":
            continue
        made = stage.fake.made[channel, market.symbol]
        among = set(made)
        got = [mark for mark in stage.marks(channel, of(events, topic)) if mark in among]
        assert got == made, topic


def assert_marked_in_order(events):
    """A gap comes before what lies behind it, and what was delivered is never behind."""
    for topic in {event.origin.topic for event in events}:
        newest = None
        for event in of(events, topic):
            if isinstance(event, Trade) and event.last is not None and not event.backfilled:
                assert newest is None or event.first > newest, topic
                newest = event.last
            elif isinstance(event, Gap) and event.last is not None:
                newest = event.last


def test_every_venue_has_a_fake():
    assert set(FAKES) == set(names())


@every_venue
def test_a_lively_market_is_followed_to_the_last_message(venue):
    async def story(stage, feed, consumer):
        assert stage.fake.dials == feed.stats().sessions == stage.fake.routes
        await stage.trade(50)
        events = consumer.events
        for channel, _, topic in stage.topics():
            assert any(isinstance(event, KINDS[channel]) for event in of(events, topic)), topic
        assert_all_live(stage, feed)
        assert_books_equal(stage, events)
        assert_nothing_twice(stage, events)
        assert_nothing_missing(stage, events)
        assert not [event for event in events if isinstance(event, Gap | Resynced)]
        assert stage.fake.dials == stage.fake.routes
        assert feed.stats().violations == feed.stats().strays == 0
        assert not notices(feed, "refused", "violation", "resync", *ALARMS)

    play(venue, story)


@every_venue
def test_ten_quiet_minutes_change_nothing(venue):
    async def story(stage, feed, consumer):
        await stage.trade(2, every_s=6)  # too little for a rhythm to be expected of it
        await asyncio.sleep(600)
        assert_all_live(stage, feed)
        await stage.trade(1)
        events = consumer.events
        assert stage.fake.dials == stage.fake.routes
        assert not [event for event in events if isinstance(event, Gap | Resynced)]
        assert not notices(feed, "ended", "resync", "unsubscribed", "unchecked", *ALARMS)
        read = feed._running().audits.reads
        assert bool(read) == (load(venue).bulk_reads is not None), "best prices were compared"
        assert_books_equal(stage, events)
        assert_nothing_missing(stage, events)

    play(venue, story)


@every_venue
def test_a_market_that_never_moves_is_probed_and_never_doubted(venue):
    """No probe where the venue's greetings show that the session works, and never more than three.

    Those would come 8, 40 and 168 s after the start; each is made before the break.
    """

    async def story(stage, feed, consumer):
        await asyncio.sleep(600)
        probes = len(notices(feed, "unproven"))
        print(f"{venue}: {probes} probes on {stage.fake.routes} routes")
        assert probes <= 3 * stage.fake.routes
        assert stage.fake.dials == stage.fake.routes + probes
        assert not notices(feed, "stalled")
        assert not [event for event in consumer.events if isinstance(event, Gap | Resynced)]
        assert_all_live(stage, feed)
        assert_books_equal(stage, consumer.events)
        assert_nothing_twice(stage, consumer.events)
        await stage.trade(3)
        assert_nothing_missing(stage, consumer.events)

    play(venue, story)


@every_venue
def test_a_symbol_that_does_not_exist_is_refused_once_and_disturbs_nobody(venue):
    fake = FAKES[venue]

    async def story(stage, feed, consumer):
        await stage.trade(60, every_s=1)
        refused = [(n.channel, n.symbol) for n in notices(feed, "refused")]
        asked = [(name, fake.strange(fake, name)) for name in fake.channels]
        assert sorted(refused) == sorted(a for a in asked if a[0] not in fake.unrefused)
        assert_all_live(stage, feed)
        assert_books_equal(stage, consumer.events)
        assert_nothing_missing(stage, consumer.events)
        if not fake.unrefused:
            assert stage.fake.dials == stage.fake.routes
            assert not notices(feed, *ALARMS)

    more = [Subscription(name, (fake.strange(fake, name),)) for name in fake.channels]
    play(venue, story, more=more)


@every_venue
def test_a_broken_connection_is_replaced_and_every_loss_is_named(venue):
    async def story(stage, feed, consumer):
        await stage.trade(20)
        stage.fake.reset()
        await stage.trade(80)
        events = consumer.events
        assert len(stage.fake.lost) == stage.fake.routes
        assert stage.fake.dials == 2 * stage.fake.routes
        assert_all_live(stage, feed)
        assert_books_equal(stage, events)
        assert_nothing_twice(stage, events)
        assert_marked_in_order(events)
        for channel, market, topic in stage.topics():
            told = [e for e in of(events, topic) if isinstance(e, Gap | Resynced)]
            missed = channel != "book" and lost(stage, events, channel, market, topic)
            assert len(gaps(told)) <= 1, topic
            assert gaps(told) or not missed, topic
            assert told, topic
            if channel != "trades":  # they go on behind their gap, and have no state to rebuild
                assert isinstance(told[-1], Resynced), topic

    play(venue, story)


@every_venue
@pytest.mark.parametrize("channel", ["book", "trades", "ticker"])
def test_one_lost_frame_is_named_before_anything_behind_it(venue, channel):
    async def story(stage, feed, consumer):
        fake = stage.fake
        _, market, topic = next(stage.topics(channel))
        await stage.trade(20)
        before = len(consumer.events)
        fake.lose(channel, market.symbol)
        await stage.trade(100)
        events = consumer.events
        assert fake.dropped > 0
        first = next(iter(of(events[before:], topic)))
        if channel in fake.tells:
            if isinstance(first, Resynced):  # a greeting told it again
                assert first.by == "ids"
                assert not lost(stage, events, channel, market, topic)
            else:
                assert isinstance(first, Gap)
            assert_all_live(stage, feed)
            assert_books_equal(stage, events)
            assert_marked_in_order(events)
        else:  # the venue gives nothing by which it could be seen
            assert not gaps(events)
            assert fake.dials == fake.routes
        assert_nothing_twice(stage, events)

    play(venue, story)


@every_venue
def test_the_venue_ends_its_connections(venue):
    async def story(stage, feed, consumer):
        fake = stage.fake
        await stage.trade(20)
        fake.shut_down()
        await stage.trade(100)
        events = consumer.events
        await stage.trade(70, every_s=1)  # some venues take a minute
        assert len(fake.lost) == fake.routes
        assert fake.dials == 2 * fake.routes
        assert bool(notices(feed, "venue")) == fake.announces
        assert_all_live(stage, feed)
        assert_books_equal(stage, consumer.events)
        assert_nothing_twice(stage, consumer.events)
        if fake.switches:
            assert notices(feed, "rotating")
            assert not [event for event in events if isinstance(event, Gap)]
            assert_nothing_missing(stage, events)
        else:
            assert gaps(events)

    play(venue, story)


@every_venue
def test_two_lines_say_everything_once(venue):
    async def story(stage, feed, consumer):
        await stage.trade(50)
        assert stage.fake.dials == 2 * stage.fake.routes
        assert_nothing_twice(stage, consumer.events)
        assert_nothing_missing(stage, consumer.events)
        assert_books_equal(stage, consumer.events)
        assert not [event for event in consumer.events if isinstance(event, Gap)]

    play(venue, story, lines=2, jitter_ms=20)


@every_venue
@pytest.mark.parametrize("line", [0, 1])
def test_losing_one_of_two_lines_costs_nothing(venue, line):
    async def story(stage, feed, consumer):
        await stage.trade(30)
        for path in {each.path for each in stage.fake.lines}:
            pair = [each for each in stage.fake.lines if each.path == path]
            stage.fake.reset(pair[line])
        await stage.trade(50)
        await asyncio.sleep(1)
        assert len(stage.fake.lost) == stage.fake.routes
        assert_nothing_twice(stage, consumer.events)
        assert_nothing_missing(stage, consumer.events)
        assert_books_equal(stage, consumer.events)
        assert not [event for event in consumer.events if isinstance(event, Gap)]
        assert_all_live(stage, feed)

    play(venue, story, lines=2, jitter_ms=20)


@every_venue
@pytest.mark.parametrize("channel", ["book", "trades"])
def test_what_one_of_two_lines_loses_the_other_brings(venue, channel):
    async def story(stage, feed, consumer):
        fake = stage.fake
        _, market, _ = next(stage.topics(channel))
        for line in list(fake.lines):  # each in turn
            await stage.trade(20)
            fake.lose(channel, market.symbol, line)
            await stage.trade(30)
        assert fake.dropped > 1
        assert_nothing_twice(stage, consumer.events)
        assert_nothing_missing(stage, consumer.events)
        for place, event in enumerate(consumer.events):
            if isinstance(event, Gap):  # a checksum failed: the other line's book heals at once
                assert fake.depth == 10
                _, healed = of(consumer.events[place + 1 :], event.origin.topic)[:2]
                assert healed.by == "line"
        if channel in fake.tells or channel != "book":
            assert_books_equal(stage, consumer.events)

    play(venue, story, lines=2, jitter_ms=20)


@every_venue
def test_a_venue_that_does_not_answer_is_dialled_again(venue):
    async def story(stage, feed, consumer):
        await stage.trade(45, every_s=1)
        for made in stage.fake.made.values():
            made.clear()
        await stage.trade(10)
        assert stage.fake.dials == 2 * stage.fake.routes
        assert not notices(feed, "halted", "limited", "refused")
        assert_all_live(stage, feed)
        assert_books_equal(stage, consumer.events)
        assert_nothing_missing(stage, consumer.events)

    play(venue, story, deaf=FAKES[venue].routes)


@every_venue
def test_what_keeps_a_quiet_connection_alive_leaves_room_to_subscribe_anew(venue):
    async def story(stage, feed, consumer):
        fake = stage.fake
        _, market, _ = next(stage.topics("book"))
        await stage.trade(2, every_s=6)
        await asyncio.sleep(1300)  # more pings than some venues allow subscribes in an hour
        fake.lose("book", market.symbol)
        await stage.trade(100)
        assert fake.dropped > 0
        assert_all_live(stage, feed)
        if "book" in fake.tells:
            assert gaps(consumer.events)
            assert_books_equal(stage, consumer.events)

    play(venue, story)


@pytest.mark.parametrize("lines", [1, 2])
@pytest.mark.parametrize("venue", sorted(name for name, fake in FAKES.items() if fake.restarts))
def test_books_that_count_anew_are_followed(venue, lines):
    async def story(stage, feed, consumer):
        fake = stage.fake
        await stage.trade(20)
        fake.renumber()
        await asyncio.sleep(0.1)
        await stage.trade(100)
        events = consumer.events
        assert [market.number < 5000 for market in fake.markets.values()] == [True, True]
        assert_all_live(stage, feed)
        assert_books_equal(stage, events)
        assert_nothing_twice(stage, events)
        assert_nothing_missing(stage, events)
        marked = {(e.origin.channel, e.origin.symbol) for e in gaps(events)}
        books = {("book", symbol) for symbol in fake.symbols}
        assert marked == (books if fake.restarts == "gap" else set())
        assert len(gaps(events)) == len(marked)
        assert fake.dials == lines * fake.routes

    play(venue, story, lines=lines, jitter_ms=20)


def test_a_snapshot_that_takes_twenty_seconds_is_waited_for():
    async def story(stage, feed, consumer):
        await asyncio.sleep(17)
        assert feed.stats().sessions == stage.fake.dials == 1
        await stage.trade(10)
        assert_all_live(stage, feed)
        assert_books_equal(stage, consumer.events)

    play("dydx", story, slow_s=20)


@every_venue
def test_a_book_alone_reads_as_the_venue_has_it(venue):
    clock = VirtualClock()

    async def main():
        stage = Stage(venue, clock)
        chosen = Options(endpoints=(f"ws://{ADDRESS}",), seed=SEED, runtime=stage.runtime)
        _, market, _ = next(stage.topics("book"))
        async with Book(assemble(venue, (book(market.symbol),), chosen), chosen) as reader:
            await asyncio.sleep(4)
            await stage.trade(30)
            assert (dict(reader.bids), dict(reader.asks)) == market.shown
            stage.fake.reset()
            await stage.trade(80)
            assert (dict(reader.bids), dict(reader.asks)) == market.shown
            assert stage.fake.dials == 2
        stage.fake.close()

    run(main(), clock)
