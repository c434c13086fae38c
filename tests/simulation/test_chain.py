"""An option chain of 3,000 strikes through a settlement, an expiry and a listing of new strikes."""

from __future__ import annotations

import pytest
from tests.simulation.stage import SECOND, Consumer, play

from gapless.events import BookSnapshot, Gap
from gapless.planning import book, trades
from gapless.sim.chain import ChainOptions

CYCLE_S = 60.0
CHAIN = ChainOptions(strikes=3000, cycle_s=CYCLE_S, cycles=1)
EVERY_OPTION = "option:BTC,expiry<=90d"


def strikes(stage, *states):
    life = stage.exchange.dialect.life
    return {name for name, state in life.chain.states.items() if state in states}


def proven(feed, name):
    stream = feed._running().streams.get(f"book.{name}.100ms")
    return stream is not None and stream.readable


def venue_book(stage, name):
    market = stage.exchange.world.by_name[name]
    price, size = (scale.value for scale in stage.exchange.dialect.scales[market.index])
    view = market.view()
    return [(price[p], size[s]) for p, s in view.bids], [(price[p], size[s]) for p, s in view.asks]


@pytest.fixture(scope="module")
def told():
    """Live through it once; every promise about it is a test of its own."""

    async def test(stage):
        said = {}
        async with stage.feed(book(EVERY_OPTION), trades(EVERY_OPTION)) as feed:
            consumer = Consumer(feed)
            before = strikes(stage, "open")
            began = await stage.until(lambda: all(proven(feed, n) for n in before), 30, 0.05)
            said["all live after"] = began
            life = stage.exchange.dialect.life
            at = {news.state: news for news in life.chain.news if news.state == "created"}
            await stage.until(lambda: strikes(stage, "settlement"), CYCLE_S + 10, 0.05)
            await stage.until(
                lambda: any("silent as planned" in n.cause for n in feed.notices()), 1, 0.01
            )
            said["planned"] = {t.symbol for t in feed.stats().topics if t.trust == "planned"}
            await stage.until(lambda: strikes(stage, "gone"), 10, 0.05)
            gone = strikes(stage, "gone")
            await stage.until(lambda: not gone & {t.symbol for t in feed.stats().topics}, 5, 0.05)
            fresh = set(at["created"].names)
            await stage.until(lambda: fresh <= strikes(stage, "open"), 20, 0.01)
            said["new ones live after"] = await stage.until(
                lambda: all(proven(feed, n) for n in fresh), 10, 0.01
            )
            await _rest(stage, 15)
            listed = strikes(stage, "open")
            stage.exchange.world.held = set(range(len(stage.exchange.world.markets)))
            # No batch of 100 ms is under way then, and so lively a line is not suspected yet: a
            # second without a word of 3,000 books is what the vigil has to call stalled.
            await _rest(stage, 0.4)
            said["followed"] = {t.symbol for t in feed.stats().topics}
            said["listed"] = listed
            said["trust"] = {t.trust for t in feed.stats().topics}
            said["alike"] = sum(_alike(stage, feed, name) for name in listed)
            said["stats"] = feed.stats()
            said["notices"] = feed.notices()
            said["gone"] = gone
            await consumer.stop()
            said["events"] = consumer.events
        said["closed"] = stage.closed()
        said["opened"] = stage.opened()
        return said

    return play(test, chain=CHAIN, rate=100.0, truth_topics=())


async def _rest(stage, seconds):
    until_ns = stage.clock.mono_ns() + seconds * SECOND
    await stage.until(lambda: stage.clock.mono_ns() >= until_ns, seconds + 1, 0.05)


def _alike(stage, feed, name):
    held = feed._running().streams[f"book.{name}.100ms"].proven()
    return (held.bids(), held.asks()) == venue_book(stage, name)


def test_the_fault_really_happened(told):
    assert len(told["gone"]) == 500
    assert len(told["listed"]) == 3000
    assert told["planned"], "settlement came"


def test_every_strike_is_followed_and_nothing_else(told):
    assert told["followed"] == told["listed"]
    assert told["trust"] == {"live"}


def test_settlement_is_planned_silence(told):
    assert len(told["planned"]) == 3000


def test_new_strikes_are_live_within_two_seconds(told):
    assert told["new ones live after"] <= 2.0


def test_an_expiry_is_no_gap_no_alarm_and_no_dial(told):
    assert not [event for event in told["events"] if isinstance(event, Gap)]
    kinds = {notice.kind for notice in told["notices"]}
    assert kinds <= {"dialing", "live", "listed", "retired", "planned", "resumed", "venue"}
    assert told["stats"].dials == 1


def test_the_subscribe_budget_is_never_exceeded(told):
    causes = {record["cause"] for record in told["closed"]}
    assert "too_many_requests" not in causes
    assert len(told["opened"]) == 1


def test_every_book_is_the_venues_book(told):
    assert told["alike"] == 3000


def test_a_strike_brings_one_snapshot(told):
    snapshots = [e.symbol for e in told["events"] if isinstance(e, BookSnapshot)]
    assert len(snapshots) == len(set(snapshots)) == 3500
