"""One visit over real sockets: what works is measured, and what does not is told apart."""

import asyncio
import json
import time

import pytest
from tests.io import certs
from tests.io.raw_server import RawServer, refusing

from gapless.core.budget import Budget, Window
from gapless.io.clock import SystemClock
from gapless.io.picows import PicowsConnector
from gapless.io.transport import DialOptions
from gapless.probing.visiting import PINGS, Ask, Visitor
from gapless.venues._registry import load

SECOND = 1_000_000_000
DERIBIT = load("deribit")
TOPIC = "book.BTC-PERPETUAL.100ms"


def visitor(server, profile=DERIBIT, symbol="BTC-PERPETUAL", timeout_ns=SECOND, pools=None):
    clock = SystemClock()
    dial = DialOptions(timeout_ns=timeout_ns, ca_file=certs.authority()[1])
    ask = Ask(server.url, "the endpoint", "127.0.0.1", "book", symbol, dial)
    pools = profile.budgets().pools if pools is None else pools
    return Visitor(profile, pools, clock, PicowsConnector(clock), ask)


async def visited(made, within_s=1.0):
    await made.arrive()
    await made.examine(time.monotonic_ns() + int(within_s * 1e9))
    return await made.leave()


def visit(within_s=1.0, profile=DERIBIT, symbol="BTC-PERPETUAL", play=None, **server):
    async def scenario():
        async with RawServer(**server) as raw:
            playing = None if play is None else asyncio.create_task(play(raw))
            made = await visited(visitor(raw, profile, symbol), within_s)
            if playing is not None:
                await playing
            return made, raw

    return asyncio.run(scenario())


def book_frame(change=1):
    data = {
        "type": "snapshot",
        "timestamp": 1_700_000_000_000,
        "instrument_name": "BTC-PERPETUAL",
        "change_id": change,
        "bids": [["new", 100.0, 1.0]],
        "asks": [["new", 101.0, 1.0]],
    }
    params = {"channel": TOPIC, "data": data}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


async def asked(raw):
    """Wait for the subscribe; return it and who sent it."""
    async with asyncio.timeout(5):
        while True:
            for peer in raw.peers:
                for kind, *rest in peer.heard:
                    if kind == "text" and "subscribe" in rest[0]:
                        return peer, json.loads(rest[0])
            await asyncio.sleep(0.001)


async def answer(raw):
    peer, request = await asked(raw)
    reply = {"jsonrpc": "2.0", "id": request["id"], "result": [TOPIC]}
    peer.text(json.dumps(reply))
    peer.text(book_frame())
    peer.ping()


def test_a_venue_that_works_is_measured_to_the_end():
    seen, raw = visit(play=answer, tls=certs.context("good"))
    assert (seen.stage, seen.detail, seen.lost, seen.refused) == ("", "", "", "")
    assert seen.open
    assert seen.address == "127.0.0.1"
    assert seen.topic == TOPIC
    assert seen.data_ns >= seen.ack_ns > 0
    assert seen.frames == 1
    assert seen.server_pings == 1
    assert (len(seen.rtts_ns), seen.pings) == (PINGS, PINGS)
    assert sum(kind == "ping" for kind, *_ in raw.peers[0].heard) == PINGS
    assert min(seen.rtts_ns) > 0
    assert seen.tls.version in {"TLSv1.2", "TLSv1.3"}
    assert seen.tls.days_left > 300_000, "the test's certificate is good until the year 3000"
    assert min(seen.tcp_ns, seen.tls_ns, seen.upgrade_ns) > 0
    assert seen.tcp is None or seen.tcp.retransmits == 0
    assert ("close", 1000, "") in raw.peers[0].heard


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", "has expired"),
        ("wrong host", "mismatch"),
        ("untrusted", "unable to get local issuer certificate"),
    ],
)
def test_a_bad_certificate_is_told_by_its_kind(kind, words):
    seen, _ = visit(tls=certs.context(kind))
    assert seen.stage == "tls"
    assert words in seen.detail
    assert seen.reached, "TCP stood"
    assert not seen.open


def test_a_server_that_never_answers_the_upgrade():
    seen, raw = visit(answer=lambda key: None)
    assert raw.peers[0].request, "it was asked"
    assert (seen.stage, seen.detail) == ("upgrade", "no answer within 1 s")
    assert seen.reached


def test_a_server_that_refuses_the_upgrade():
    seen, _ = visit(answer=lambda key: refusing(429, "Retry-After: 7"))
    assert (seen.stage, seen.status, seen.reached) == ("upgrade", 429, True)


def test_a_port_where_nobody_listens():
    async def scenario():
        async with RawServer() as raw:
            made = visitor(raw)
        return await visited(made)

    seen = asyncio.run(scenario())
    assert (seen.stage, seen.detail, seen.reached) == ("tcp", "Connection refused", False)


def test_a_server_that_is_connected_and_says_nothing():
    async def silence(raw):
        while not raw.peers:
            await asyncio.sleep(0.001)
        raw.peers[0].silence()

    began_s = time.monotonic()
    seen, _ = visit(play=silence)
    assert seen.open
    assert seen.data_ns is seen.ack_ns is None
    assert (seen.rtts_ns, seen.pings) == ([], 1)
    assert time.monotonic() - began_s < 8


def test_a_connection_that_is_lost_meanwhile():
    async def drop(raw):
        peer, _ = await asked(raw)
        peer.close(1008, "go away")

    seen, _ = visit(play=drop)
    assert "1008" in seen.lost
    assert seen.watched_ns > 0


def test_a_refusal_of_the_topic_is_repeated_in_the_venues_words():
    async def refuse(raw):
        peer, request = await asked(raw)
        error = {"code": -32602, "message": "Invalid params"}
        peer.text(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}))

    seen, _ = visit(play=refuse)
    assert "Invalid params" in seen.refused


def test_what_cannot_be_read_is_noted_and_harms_nothing():
    async def garble(raw):
        peer, _ = await asked(raw)
        peer.text("{no json")
        peer.binary(b"\x00")
        await answer(raw)

    seen, _ = visit(play=garble)
    assert seen.detail.startswith("a frame could not be read")
    assert seen.data_ns is not None


def test_the_venues_heartbeat_is_answered():
    async def beat(raw):
        peer, _ = await asked(raw)
        params = {"type": "test_request"}
        peer.text(json.dumps({"jsonrpc": "2.0", "method": "heartbeat", "params": params}))
        await answer(raw)

    seen, raw = visit(play=beat)
    assert seen.heartbeats == 1
    texts = [rest[0] for kind, *rest in raw.peers[0].heard if kind == "text"]
    assert any("public/test" in text for text in texts)


def test_without_a_topic_it_is_the_greeting_and_the_pings():
    seen, raw = visit(symbol="")
    assert (seen.topic, seen.data_ns) == ("", None)
    assert len(seen.rtts_ns) == PINGS
    assert not any("subscribe" in str(each) for each in raw.peers[0].heard)


def test_pings_stay_inside_what_the_venue_allows():
    spot = load("binance.spot")
    [limit] = spot.messages.value
    assert limit == Window(5, SECOND)

    async def scenario():
        async with RawServer() as raw:
            clock = SystemClock()
            ask = Ask(raw.url, "the endpoint", "127.0.0.1", "trades", "BTCUSDT", DialOptions())
            made = Visitor(spot, {}, clock, PicowsConnector(clock), ask)
            times = []
            await made.arrive()
            made._transport = _Counting(made._transport, times)
            await made.examine(time.monotonic_ns() + 2 * SECOND)
            await made.leave()
            return made.visit, times

    seen, times = asyncio.run(scenario())
    assert seen.pings == len([kind for kind, _ in times if kind == "ping"]) >= 5
    stamps = [at_ns for _, at_ns in times]
    for at_ns in stamps:
        assert sum(at_ns <= other < at_ns + SECOND for other in stamps) <= 5


class _Counting:
    """A transport that notes when something is sent."""

    def __init__(self, inner, times):
        self._inner, self._times = inner, times

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def ping(self, payload):
        self._times.append(("ping", time.monotonic_ns()))
        self._inner.ping(payload)

    def send_text(self, text):
        self._times.append(("text", time.monotonic_ns()))
        self._inner.send_text(text)


def test_requests_are_paid_from_the_venues_pools_or_not_sent():
    units = 3000  # what the venue charges for a subscribe
    pools = {"subscribe": Budget(Window(units, 3600 * SECOND)), "other": Budget()}

    async def scenario():
        async with RawServer() as raw:
            playing = asyncio.create_task(answer(raw))
            paid = await visited(visitor(raw, pools=pools))
            await playing
            broke = await visited(visitor(raw, pools=pools))
            return paid, broke, raw

    paid, broke, raw = asyncio.run(scenario())
    assert paid.data_ns is not None
    assert broke.refused.startswith("by our own budget, for 3")
    assert not any("subscribe" in str(each) for each in raw.peers[1].heard)
