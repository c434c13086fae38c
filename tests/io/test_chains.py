"""A feed on selectors, from end to end, in virtual time."""

from __future__ import annotations

import dataclasses

import pytest
from tests.simulation.stage import SECOND, Consumer, notices, play

from gapless.core.universe import Changes
from gapless.errors import UsageError
from gapless.events import Gap
from gapless.planning import Options, assemble, book, ticker, trades
from gapless.sim.chain import ChainOptions
from gapless.venues._profile import Fact

CHAIN = ChainOptions(strikes=24, cycle_s=60, cycles=2)
LONGER = ChainOptions(strikes=24, cycle_s=60, cycles=4)  # the last expiry is never near


async def rest(stage, seconds):
    until_ns = stage.clock.mono_ns() + int(seconds * SECOND)
    await stage.until(lambda: stage.clock.mono_ns() >= until_ns, seconds + 1, 0.05)


def live(test, *subscriptions, chain=CHAIN, **options):
    async def main(stage):
        async with stage.feed(*subscriptions, **options) as feed:
            consumer = Consumer(feed)
            await rest(stage, 2)
            result = await test(stage, feed, consumer)
            await consumer.stop()
            return result

    return play(main, chain=chain, truth_topics=(), rate=50.0)


def symbols(feed):
    return {topic.symbol for topic in feed.stats().topics}


def listed(stage):
    life = stage.exchange.dialect.life
    return {name for name, state in life.chain.states.items() if state in {"open", "settlement"}}


def test_a_selector_follows_the_chain_through_two_expiries():
    async def test(stage, feed, consumer):
        assert symbols(feed) == listed(stage)
        first = symbols(feed)
        await rest(stage, 140)
        assert symbols(feed) == listed(stage)
        assert len(first & symbols(feed)) == 16
        assert not [event for event in consumer.events if isinstance(event, Gap)]
        assert feed.stats().dials == 1

    live(test, book("option:BTC"))


def test_symbols_and_selectors_share_a_feed():
    async def test(stage, feed, consumer):
        assert symbols(feed) == {"BTC-PERPETUAL", "ETH-PERPETUAL"} | listed(stage)
        await rest(stage, 30)
        assert {event.symbol for event in consumer.events} >= {"BTC-PERPETUAL"}

    live(test, trades("BTC-PERPETUAL", "ETH-PERPETUAL"), book("option:*"))


@pytest.mark.parametrize(
    ("selector", "count"),
    [("option:BTC,calls", 12), ("option:BTC,expiry<=2m", 8), ("perp:*", 2), ("perp:ETH-*", 1)],
)
def test_only_what_is_picked_is_followed(selector, count):
    async def test(stage, feed, consumer):
        assert len(symbols(feed)) == count

    live(test, ticker(selector))


def test_what_falls_out_of_a_bound_is_unsubscribed():
    async def test(stage, feed, consumer):
        assert len(symbols(feed)) == 16
        await rest(stage, 61)  # the third expiry is less than two minutes away by then
        (session,) = stage.exchange.sessions.values()
        held = {name.split(".")[1] for name in session.topics if name.startswith("book.")}
        assert held == symbols(feed)
        assert len(held) == 12
        assert not [event for event in consumer.events if isinstance(event, Gap)]

    live(test, book("option:BTC,expiry>=2m"), chain=LONGER)


def test_what_one_selection_lets_go_stays_with_the_other_that_asks_for_it():
    async def test(stage, feed, consumer):
        await rest(stage, 61)
        assert symbols(feed) == listed(stage)
        (session,) = stage.exchange.sessions.values()
        held = {name.split(".")[1] for name in session.topics if name.startswith("book.")}
        assert held == listed(stage)

    live(test, book("option:BTC,expiry>=2m"), book("option:*"), chain=LONGER)


def test_a_symbol_that_was_named_stays_when_a_selection_lets_it_go():
    async def test(stage, feed, consumer):
        assert "ETH-PERPETUAL" in symbols(feed)
        selection = feed._running().plan.selections[0]
        feed._running().changed(selection, Changes(retire=(("ETH-PERPETUAL", "a test"),)))
        assert "ETH-PERPETUAL" in symbols(feed)
        assert "BTC-PERPETUAL" in symbols(feed)
        feed._running().changed(selection, Changes(retire=(("BTC-PERPETUAL", "a test"),)))
        assert "BTC-PERPETUAL" not in symbols(feed)

    live(test, ticker("ETH-PERPETUAL"), ticker("perp:*"))


def test_news_missed_while_nobody_was_connected_are_made_up_for():
    async def test(stage, feed, consumer):
        await rest(stage, 50)
        stage.inject("outage", for_s=20.0)
        await rest(stage, 40)
        assert symbols(feed) == listed(stage)
        assert all(topic.trust == "live" for topic in feed.stats().topics)

    live(test, book("option:BTC"))


def test_with_two_lines_both_carry_what_comes():
    async def test(stage, feed, consumer):
        await rest(stage, 80)
        held = [set(session.topics) for session in stage.exchange.sessions.values()]
        assert len(held) == 2
        assert held[0] == held[1]
        books = {name.split(".")[1] for name in held[0] if name.startswith("book.")}
        assert books == listed(stage)

    live(test, book("option:BTC"), lines=2)


@pytest.mark.parametrize("lines", [1, 2])
def test_what_a_venue_does_not_allow_one_address_is_left_out_and_named(lines):
    async def main(stage):
        feed = stage.feed(book("option:BTC"), lines=lines)
        most = Fact(12, "a test", "2026-11-22", "H")
        profile = dataclasses.replace(feed._plan.profile, topics_per_address=most)
        feed._plan = dataclasses.replace(feed._plan, profile=profile)
        async with feed:
            consumer = Consumer(feed)
            await rest(stage, 2)
            held = [
                [name for name in session.topics if name.startswith("book.")]
                for session in stage.exchange.sessions.values()
            ]
            assert len(listed(stage)) == 24, "more than there is room for"
            assert [len(books) for books in held] == [12 // lines] * lines
            assert len(symbols(feed)) == 12 // lines
            (refused,) = notices(feed, "refused")
            left_out = 24 - 12 // lines
            assert f"{left_out} of book: the venue allows 12 subscriptions" in refused.cause
            await consumer.stop()

    play(main, chain=CHAIN, truth_topics=(), rate=50.0)


def test_what_matters_most_is_subscribed_first():
    async def test(stage, feed, consumer):
        (line,) = feed._running().following.placement.lines
        wanted = feed._running().following.topics_of(line)
        first = [topic for topic in wanted if "PERPETUAL" in topic]
        assert wanted[: len(first) + 1] == ("instrument.state.any.any", *first)

    live(
        test,
        book("option:BTC"),
        trades("BTC-PERPETUAL"),
        book("BTC-PERPETUAL", priority=5),
        trades("ETH-PERPETUAL", priority=1),
    )


@pytest.mark.parametrize("selector", ["option:", "option:BTC,size>=3"])
def test_a_bad_selector_is_refused_before_any_io(selector):
    with pytest.raises(UsageError):
        assemble("deribit", (book(selector),), Options())


def test_a_bad_channel_of_a_selector_is_refused_before_any_io():
    with pytest.raises(UsageError, match="no channel"):
        assemble("deribit", (book("option:BTC", variant="never"),), Options())
