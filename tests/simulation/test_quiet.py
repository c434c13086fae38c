"""Topics whose silence proves nothing: one of thousands is lost, and planned silence is left alone.

The simulator ends a subscription without a word, and goes on with everything else.
"""

from __future__ import annotations

import pytest
from tests.simulation.stage import Consumer, notices, play

from gapless.events import BookSnapshot, Gap, Resynced
from gapless.planning import book
from gapless.sim.chain import ChainOptions

STRIKES = 3000
EVERY_OPTION = "option:BTC,expiry<=90d"
LOST = "BTC-2JAN30-65300-C"  # changes every few seconds: its silence is nothing special


def top_of_the_venue(stage, name):
    market = stage.exchange.world.by_name[name]
    price = stage.exchange.dialect.scales[market.index][0].value
    view = market.view(1)
    return [price[p] for p, _ in view.bids], [price[p] for p, _ in view.asks]


def top_of_ours(feed, name):
    held = feed._running().streams[f"book.{name}.100ms"].book
    return [p for p, _ in held.bids(1)], [p for p, _ in held.asks(1)]


def rest_reads(stage, part):
    return [record for record in stage.truth.of("rest") if part in record["path"]]


async def pause(stage, seconds):
    until_ns = stage.clock.mono_ns() + int(seconds * 1e9)
    await stage.until(lambda: stage.clock.mono_ns() >= until_ns, seconds + 1, 0.25)


@pytest.fixture(scope="module")
def lost():
    """Lose one strike of 3,000; every promise about it is a test of its own."""

    async def test(stage):
        said = {}
        name, topic = LOST, f"book.{LOST}.100ms"
        async with stage.feed(book(EVERY_OPTION)) as feed:
            consumer = Consumer(feed)
            streams = feed._running().streams
            await stage.until(
                lambda: len(streams) == STRIKES and all(s.readable for s in streams.values()),
                30,
                0.1,
            )
            await pause(stage, 20)
            said["before"] = notices(feed, "unsubscribed", "stalled", "unproven")
            said["record"] = stage.inject("unsubscribe", topic=topic)
            said["moved after"] = await stage.until(
                lambda: top_of_the_venue(stage, name) != top_of_ours(feed, name), 20, 0.1
            )
            said["named after"] = said["moved after"] + await stage.until(
                lambda: notices(feed, "unsubscribed"), 60, 0.1
            )
            said["trust"] = {t.trust: t.because for t in feed.stats().topics if t.topic == topic}
            said["healed after"] = await stage.until(lambda: streams[topic].readable, 10, 0.01)
            await pause(stage, 25)
            said["named"] = notices(feed, "unsubscribed")
            said["other"] = notices(feed, "stalled", "unproven", "rotating", "limited")
            said["stats"] = feed.stats()
            said["topic"] = next(t for t in feed.stats().topics if t.topic == topic)
            await consumer.stop()
            said["events"] = [e for e in consumer.events if e.origin.topic == topic]
            said["gaps"] = [e for e in consumer.events if isinstance(e, Gap)]
        said["name"] = name
        said["reads"] = len(rest_reads(stage, "get_book_summary"))
        said["closed"] = {record["cause"] for record in stage.closed()}
        return said

    chain = ChainOptions(strikes=STRIKES, cycle_s=3600.0, cycles=1)
    return play(test, chain=chain, rate=60.0, truth_topics=())


def test_the_fault_really_happened(lost):
    assert lost["record"].happened == 1
    assert lost["moved after"] < 20, "there was something to miss"
    assert not lost["before"], "nothing was wrong before"


def test_one_strike_of_three_thousand_is_named_within_thirty_seconds(lost, measure):
    assert [(n.kind, n.symbol) for n in lost["named"]] == [("unsubscribed", lost["name"])]
    measure("quiet.named", lost["named after"])
    assert lost["named after"] <= 30


def test_it_is_stale_until_it_speaks_again(lost):
    assert set(lost["trust"]) <= {"stale", "live"}
    assert lost["topic"].trust == "live"
    assert lost["topic"].standing == "flowing"


def test_the_hole_is_announced_before_the_new_snapshot(lost):
    marks = [e for e in lost["events"] if isinstance(e, Gap | Resynced | BookSnapshot)]
    assert [type(e) for e in marks] == [BookSnapshot, Gap, BookSnapshot, Resynced]
    assert lost["gaps"] == marks[1:2]


def test_only_that_topic_is_subscribed_anew(lost):
    assert not lost["other"]
    assert lost["stats"].dials == 1
    assert lost["closed"] <= {"client close 1000", "exchange closed"}


def test_the_reads_stay_far_inside_the_venues_budget(lost):
    # 500 units each out of 10,000 a second, over 75 s: the share of one fifth would allow 300.
    assert 4 <= lost["reads"] <= 15
