"""A simulated venue on the in-memory network."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.simulation.stage import SECOND, VENUES, play

from gapless.errors import ConnectionLost, DialFailed, ProtocolViolation, RateLimited
from gapless.io.transport import DialOptions
from gapless.venues._profile import RestGet
from gapless.venues._registry import load

both = pytest.mark.parametrize("venue", VENUES)
DEPTH = RestGet("/api/v3/depth", (("symbol", "BTCUSDT"), ("limit", "5")), "weight", 5)


class Receiver:
    def __init__(self):
        self.texts, self.pings, self.pongs, self.closed = [], 0, [], []

    def on_text(self, text, mono_ns):
        self.texts.append(text)

    def on_binary(self, payload, mono_ns):
        raise AssertionError("no venue sends these")

    def on_ping(self, mono_ns):
        self.pings += 1

    def on_pong(self, payload, mono_ns):
        self.pongs.append(payload)

    def on_closed(self, cause):
        self.closed.append(cause)


async def dial(stage):
    receiver = Receiver()
    url = stage.venue.ws_url + load(stage.name).endpoints.value.path
    return await stage.runtime.connector(url, receiver, DialOptions()), receiver


@both
def test_a_session_talks_to_the_exchange(venue):
    async def main(stage):
        transport, receiver = await dial(stage)
        codec = load(venue).codec({})
        transport.send_text(codec.subscribe(1, (stage.topic("trades"),))[0].text)
        transport.ping(b"hello")
        await asyncio.sleep(10)
        assert json.loads(receiver.texts[0])["id"] == 1
        assert len(receiver.texts) > 5
        assert receiver.pongs == [b"hello"]
        transport.close()
        await asyncio.sleep(1)
        assert [type(cause) for cause in receiver.closed] == [ConnectionLost]
        assert stage.closed()[0]["cause"] == "client close 1000"

    play(main, venue)


def test_the_venues_pings_are_answered():
    async def main(stage):
        _, receiver = await dial(stage)
        await asyncio.sleep(130)
        assert receiver.pings == 6  # one every 20 s, and nobody was cut off
        assert not receiver.closed

    play(main, "binance.spot")


@both
def test_refusals_come_out_as_they_went_in(venue):
    async def main(stage):
        stage.inject("refuse", status=429, retry_after_s=3, count=1)
        with pytest.raises(RateLimited) as caught:
            await dial(stage)
        assert caught.value.retry_after_ns == 3 * SECOND
        stage.inject("outage", for_s=5.0)
        with pytest.raises(DialFailed):
            await dial(stage)
        await asyncio.sleep(5)
        transport, _ = await dial(stage)
        transport.abort()
        await asyncio.sleep(1)
        assert not stage.exchange.sessions

    play(main, venue)


@both
@pytest.mark.parametrize("fault", ["bad_utf8", "oversize"])
def test_what_a_text_cannot_carry_arrives_as_a_violation(venue, fault):
    async def main(stage):
        _, receiver = await dial(stage)
        assert stage.inject(fault).happened == 1
        await asyncio.sleep(1)
        (cause,) = receiver.closed
        assert isinstance(cause, ProtocolViolation)
        assert cause.close_code == (1007 if fault == "bad_utf8" else 1009)

    play(main, venue)


@both
def test_a_half_open_session_shows_nothing_and_heals(venue):
    async def main(stage):
        transport, receiver = await dial(stage)
        record = stage.inject("half_open", for_s=5.0)
        transport.ping(b"x")
        await asyncio.sleep(4)
        assert not receiver.pongs
        assert not receiver.closed
        await asyncio.sleep(2)
        assert receiver.pongs == [b"x"]
        assert record.over

    play(main, venue)


def test_rest_reads_take_a_round_trip_and_give_what_the_exchange_says():
    async def main(stage):
        client = stage.venue.rest(DialOptions())
        rest = load("binance.spot").rest
        began_ns = stage.clock.mono_ns()
        body = json.loads(await client.get(stage.venue.http_url, DEPTH, rest))
        assert len(body["bids"]) == 5
        assert stage.clock.mono_ns() - began_ns == pytest.approx(0.01 * SECOND, rel=0.01)
        stage.inject("rest_fail", status=418, retry_after_s=9, count=1)
        with pytest.raises(RateLimited) as limited:
            await client.get(stage.venue.http_url, DEPTH, rest)
        assert (limited.value.status, limited.value.retry_after_ns) == (418, 9 * SECOND)
        stage.inject("rest_fail", status=500, count=1)
        with pytest.raises(DialFailed) as failed:
            await client.get(stage.venue.http_url, DEPTH, rest)
        assert failed.value.status == 500
        stage.inject("rest_hang", count=1)
        with pytest.raises(DialFailed, match="TimeoutError"):
            await client.get(stage.venue.http_url, DEPTH, rest)
        stage.inject("outage", for_s=1.0)
        with pytest.raises(DialFailed, match="refused"):
            await client.get(stage.venue.http_url, DEPTH, rest)
        await client.close()

    play(main, "binance.spot")


def test_a_closed_venue_does_nothing_more():
    async def main(stage):
        _, receiver = await dial(stage)
        stage.venue.close()
        await asyncio.sleep(0.1)
        said, count = len(receiver.texts), len(stage.truth.records)
        await asyncio.sleep(100)
        assert len(receiver.texts) == said
        assert len(stage.truth.records) == count

    play(main)
