"""A capture of ours over real sockets, word for word."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from gapless.capture.records import Record
from gapless.capture.script import make_script
from gapless.sim.replay_server import ReplayServer
from gapless.sim.server import PortBusy

MS = 1_000_000
T0 = 1_700_000_000_000_000_000


def made(*lines):
    records = [Record("meta", "recorder", 0, T0, "{}", None, 1)]
    for kind, conn, ms, text, *more in lines:
        url, status, request = (*more, None, None, None)[:3]
        ns = ms * MS
        number = len(records) + 1
        records.append(Record(kind, conn, ns, T0 + ns, text, url, number, status, request))
    return make_script(records)


SCRIPT = made(
    ("open", "a.1", 0, "", "wss://v/one"),
    ("out", "a.1", 1, "ask"),
    ("in", "a.1", 2, "yes"),
    ("in", "a.1", 202, "data"),
    ("close", "a.1", 203, "ConnectionLost: closed with 1012 restart"),
    ("open", "a.2", 300, "", "wss://v/one"),
    ("in", "a.2", 301, "again"),
    ("close", "a.2", 302, "ConnectionLost: lost without a close frame"),
    ("open", "b.3", 0, "", "wss://v/two"),
    ("in", "b.3", 1, "other"),
    ("close", "b.3", 2, "planned"),
    ("rest", "rest", 5, '{"a":1}', "https://v/api/v1/depth?symbol=A", 200),
    ("rest", "rest", 6, "{}", "https://v/info", 418, '{"q":1}'),
)


def serving(test, **how):
    async def main():
        async with (
            ReplayServer("venue", SCRIPT, **how) as server,
            aiohttp.ClientSession() as http,
            asyncio.timeout(20),
        ):
            await test(server, http)

    asyncio.run(main())


async def listen(http, server, path, *says):
    """Return what comes until the end, the close code, and how long it took."""
    began = time.monotonic()
    async with http.ws_connect(f"{server.ws_url}{path}") as peer:
        for text in says:
            await peer.send_str(text)
        texts = [message.data async for message in peer]
        return texts, peer.close_code, time.monotonic() - began


def test_connections_come_in_their_order_and_then_from_the_start():
    async def main(server, http):
        texts, code, took = await listen(http, server, "/one", "ask")
        assert (texts, code) == (["yes", "data"], 1012)
        assert took >= 0.2
        assert (await listen(http, server, "/one"))[:2] == (["again"], 1006)
        assert (await listen(http, server, "/one", "ask"))[0] == ["yes", "data"]
        assert server.connections == 3

    serving(main)


def test_speed_and_patience():
    async def main(server, http):
        *_, took = await listen(http, server, "/one")  # it asks nothing, and is told in the end
        assert 1.9 < took < 10

    serving(main, speed=1000)
    with pytest.raises(ValueError, match="positive"):
        ReplayServer("venue", SCRIPT, speed=0)


def test_what_the_recorder_closed_stays_open_for_the_client():
    async def main(server, http):
        async with http.ws_connect(f"{server.ws_url}/two") as peer:
            assert (await peer.receive()).data == "other"
            with pytest.raises(TimeoutError):
                await peer.receive(timeout=0.3)
            await peer.close()

    serving(main)


def test_requests_are_answered_from_the_capture():
    async def main(server, http):
        async with http.get(f"{server.http_url}/api/v3/depth?symbol=A&limit=9") as reply:
            assert (reply.status, await reply.text()) == (200, '{"a":1}')
            assert reply.headers["X-Simulated"] == "true"
        async with http.post(f"{server.http_url}/info", data='{"q":1}') as reply:
            assert reply.status == 418
        for path in ("/api/v3/depth?symbol=B", "/none"):
            async with http.get(f"{server.http_url}{path}") as reply:
                assert reply.status == 404

    serving(main)


def test_a_path_that_was_not_recorded_is_404():
    async def main(server, http):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{server.ws_url}/three")
        assert refused.value.status == 404

    serving(main)


def test_a_busy_port_is_said_so():
    async def main(server, http):
        with pytest.raises(PortBusy):
            await ReplayServer("venue", SCRIPT, port=server.port).__aenter__()

    serving(main)


def test_an_ipv6_address_stands_in_brackets_in_the_urls():
    server = ReplayServer("venue", SCRIPT, "::1", 9601)
    assert (server.ws_url, server.http_url) == ("ws://[::1]:9601", "http://[::1]:9601")
