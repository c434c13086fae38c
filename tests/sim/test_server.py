"""The server over real loopback sockets; every wait has a deadline, and none is a guess."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import itertools
import json
import socket
import struct
import time

import aiohttp
import pytest
from tests.sim.test_replay import TRADE, combined, frame, write

from gapless.sim.build import replay, simulate
from gapless.sim.exchange import SimOptions
from gapless.sim.server import PortBusy, SimServer

STREAMS = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker"


def exchange(rate=500.0, **options):
    options = SimOptions(limits=False, **options)
    return simulate("binance.spot", rate_per_s=rate, seed=1, options=options)


def run(test, *, rate=500.0, seconds=20.0, served=None, **server_options):
    """Run ``test(server, client)`` against a server, within a deadline."""

    async def main():
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession() as client,
            SimServer(served or exchange(rate), **server_options) as server,
        ):
            await test(server, client)

    asyncio.run(main())


def websocket(client, server, path=STREAMS, **options):
    return client.ws_connect(server.ws_url + path, max_msg_size=1 << 20, **options)


async def texts(ws, count):
    got = []
    while len(got) < count:
        message = await ws.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        got.append(json.loads(message.data))
    return got


async def fault(client, server, **fields):
    async with client.post(server.http_url + "/_sim/fault", json=fields) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


def upgrade_request(path=STREAMS):
    key = base64.b64encode(b"0123456789abcdef").decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )


async def raw_upgrade(server, path=STREAMS):
    """Open a WebSocket without a WebSocket library, to see every byte."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(upgrade_request(path))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert b"Extensions" not in head
    return reader, writer


async def raw_frame(reader):
    first, second = await reader.readexactly(2)
    size = second & 127
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    return first, size


def test_data_requests_and_labels():
    async def test(server, client):
        async with websocket(client, server) as ws:
            await ws.send_str('{"method":"LIST_SUBSCRIPTIONS","id":7}')
            got = await texts(ws, 200)
            assert len([m for m in got if m.get("id") == 7]) == 1
            depth = [m["data"] for m in got if m.get("stream") == "btcusdt@depth@100ms"]
            assert all(b["U"] == a["u"] + 1 for a, b in itertools.pairwise(depth))
            assert abs(depth[-1]["E"] - time.time() * 1000) < 1000
        async with client.get(server.http_url + "/api/v3/depth?symbol=BTCUSDT&limit=5") as reply:
            assert reply.status == 200
            assert reply.headers["X-Simulated"] == "true"
            assert reply.content_type == "application/json"
            assert len((await reply.json())["bids"]) == 5
        async with client.get(server.http_url + "/elsewhere") as reply:
            assert reply.status == 404

    run(test)


def test_a_busy_port_is_said_in_one_sentence():
    async def test(server, client):
        with pytest.raises(PortBusy, match=f"port {server.port} on 127.0.0.1 is taken") as busy:
            async with SimServer(exchange(), port=server.port):
                pass
        assert isinstance(busy.value, OSError)

    run(test)


def test_pings_are_answered_and_a_close_is_echoed():
    async def test(server, client):
        async with websocket(client, server, "/ws", autoping=False) as ws:
            await ws.ping(b"abc")
            message = await ws.receive()
            assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"abc")
            await ws.close(code=4000)
            assert ws.close_code == 4000
        while server.exchange.sessions:
            await asyncio.sleep(0)

    run(test)


def test_refused_dials_get_status_and_retry_after():
    async def test(server, client):
        await fault(client, server, name="refuse", status=418, retry_after_s=9, count=1)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await websocket(client, server)
        assert refused.value.status == 418
        assert refused.value.headers["Retry-After"] == "9"
        async with websocket(client, server) as ws:
            await texts(ws, 1)

    run(test)


def test_close_code_and_reason_arrive():
    async def test(server, client):
        async with websocket(client, server) as ws:
            await texts(ws, 1)
            record = await fault(client, server, name="close", code=4007, reason="bye")
            assert record["happened"] == 1
            while (message := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            assert (ws.close_code, message.extra) == (4007, "bye")

    run(test)


def test_accept_close_upgrades_first():
    async def test(server, client):
        await fault(client, server, name="accept_close", code=1013)
        async with websocket(client, server) as ws:
            message = await ws.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)

    run(test)


def test_a_reset_is_a_real_one():
    async def test(server, client):
        reader, _ = await raw_upgrade(server)
        await reader.readexactly(10)
        await fault(client, server, name="reset")
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)

    run(test)


def test_half_open_is_silence_with_tcp_alive_and_then_everything_late():
    async def test(server, client):
        async with websocket(client, server, autoping=False) as ws:
            await texts(ws, 20)
            record = await fault(client, server, name="half_open", for_s=0.7)
            end_s = time.monotonic() + 0.5
            with contextlib.suppress(TimeoutError):  # first whatever was under way
                while True:
                    await asyncio.wait_for(ws.receive(), 0.25)
            await ws.ping(b"late")
            quiet = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ws.receive(), max(end_s - time.monotonic(), 0.01))
                quiet = False
            assert quiet
            # It heals: nothing was lost, and our ping is answered at last.
            depth, pong = [], False
            while not pong or len(depth) < 12:
                message = await ws.receive()
                if message.type is aiohttp.WSMsgType.PONG:
                    pong = True
                elif '"depthUpdate"' in message.data:
                    depth.append(json.loads(message.data)["data"])
            assert all(b["U"] == a["u"] + 1 for a, b in itertools.pairwise(depth))
            assert record["happened"] == 1

    run(test)


def test_bytes_that_no_library_sends():
    async def test(server, client):
        reader, writer = await raw_upgrade(server, "/ws")
        await fault(client, server, name="bad_utf8")
        first, size = await raw_frame(reader)
        assert first == 0x81
        payload = await reader.readexactly(size)
        with pytest.raises(UnicodeDecodeError):
            payload.decode()
        await fault(client, server, name="garbage")
        first, size = await raw_frame(reader)
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(await reader.readexactly(size))
        await fault(client, server, name="oversize")
        assert await raw_frame(reader) == (0x81, 1 << 62)
        writer.close()

    run(test)


def test_an_outage_closes_the_port_and_opens_it_again():
    async def test(server, client):
        reader, _ = await raw_upgrade(server)
        await fault(client, server, name="outage", for_s=1.0)
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(1 << 16):
                pass
        refused = 0
        while True:
            try:
                _, writer = await asyncio.open_connection(server.host, server.port)
            except ConnectionError:  # a reset if it hits the moment of closing
                refused += 1
                await asyncio.sleep(0.02)
                continue
            writer.close()
            if refused:
                break
        assert refused > 5
        async with websocket(client, server) as ws:
            await texts(ws, 5)

    run(test)


def test_rest_can_fail_and_hang():
    async def test(server, client):
        await fault(client, server, name="rest_fail", status=500, count=1)
        async with client.get(server.http_url + "/api/v3/time") as reply:
            assert reply.status == 500
        await fault(client, server, name="rest_hang", count=1)
        with pytest.raises(TimeoutError):
            async with client.get(
                server.http_url + "/api/v3/time", timeout=aiohttp.ClientTimeout(total=0.3)
            ):
                pass
        async with client.get(server.http_url + "/api/v3/time") as reply:
            assert reply.status == 200

    run(test)


def test_control():
    async def test(server, client):
        url = server.http_url
        record = await fault(client, server, name="mute", topic="btc*")
        async with client.get(url + "/_sim/faults") as reply:
            assert [r["id"] for r in await reply.json()] == [record["id"]]
        async with client.post(url + "/_sim/clear", json={"id": record["id"]}) as reply:
            assert (await reply.json())["over"] is True
        async with client.post(url + "/_sim/clear", json={"id": 99}) as reply:
            assert reply.status == 404
        async with client.post(url + "/_sim/clear", data=b"x") as reply:
            assert reply.status == 400
        async with client.get(url + "/_sim/state") as reply:
            assert (await reply.json())["venue"] == "binance.spot"
        async with client.post(url + "/_sim/fault", json={"name": "nope"}) as reply:
            assert reply.status == 400
            assert "nope" in (await reply.json())["error"]
        async with client.get(url + "/_sim/nothing") as reply:
            assert reply.status == 404
        headers = {"Origin": "https://example.com"}
        async with client.post(
            url + "/_sim/fault", json={"name": "drop"}, headers=headers
        ) as reply:
            assert reply.status == 403

    run(test)


def test_a_page_whose_name_was_made_to_lead_here_is_refused_too():
    async def test(server, client):
        headers = {"Host": f"evil.test:{server.port}"}
        async with client.get(server.http_url + "/_sim/state", headers=headers) as reply:
            assert reply.status == 403

    run(test)


def test_control_is_told_of_what_is_not_utf8():
    async def test(server, client):
        for path in ("fault", "clear"):
            url = f"{server.http_url}/_sim/{path}"
            async with client.post(url, data=b'{"\xff":1}') as reply:
                assert reply.status == 400
                assert "utf-8" in (await reply.json())["error"]

    run(test)


def test_an_ipv6_address_stands_in_brackets_in_the_urls():
    server = SimServer(simulate("binance.spot"), "::1", 9601)
    assert (server.ws_url, server.http_url) == ("ws://[::1]:9601", "http://[::1]:9601")


def test_a_slow_reader_is_cut_off():
    async def test(server, client):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (server.host, server.port))
        key = base64.b64encode(b"0123456789abcdef").decode()
        await loop.sock_sendall(
            sock,
            f"GET {STREAMS} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode(),
        )
        while not server.exchange.sessions:
            await asyncio.sleep(0.01)
        while server.exchange.sessions:
            await asyncio.sleep(0.01)
        sock.close()

    run(test, rate=10_000, write_buffer_max=16 << 10, send_buffer_bytes=4096)


def test_binary_messages_are_refused():
    async def test(server, client):
        async with websocket(client, server, "/ws") as ws:
            await ws.send_bytes(b"x")
            await ws.receive()
            assert ws.close_code == 1003

    run(test)


def test_clients_that_vanish_are_noticed():
    async def test(server, client):
        _, writer = await raw_upgrade(server)
        assert len(server.exchange.sessions) == 1
        writer.transport.abort()
        while server.exchange.sessions:
            await asyncio.sleep(0.01)

    run(test)


def test_a_client_that_resets_during_the_upgrade_is_no_error_of_ours(caplog):
    async def test(server, client):
        connect, sessions = server.exchange.connect, []

        def noted(*args):
            sessions.append(connect(*args))
            return sessions[-1]

        server.exchange.connect = noted
        for count in (1, 2, 3):
            with socket.create_connection((server.host, server.port)) as sock:
                sock.send(upgrade_request())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            while len(sessions) < count or sessions[-1].open:
                await asyncio.sleep(0.001)
        assert not server.exchange.sessions

    run(test)
    assert caplog.records == []


def test_several_venues_in_one_process():
    async def test(server, client):
        deribit = simulate("deribit", rate_per_s=500)
        async with SimServer(deribit) as other:
            assert other.port != server.port
            async with client.ws_connect(other.ws_url + "/ws/api/v2") as ws:
                params = {"channels": ["book.BTC-PERPETUAL.100ms"]}
                await ws.send_json({"id": 1, "method": "public/subscribe", "params": params})
                got = await texts(ws, 5)
                assert got[0]["result"] == params["channels"]
                assert got[1]["params"]["data"]["type"] == "snapshot"

    run(test)


def test_it_ends_with_sessions_open_and_requests_hanging():
    async def main():
        served = exchange()
        async with asyncio.timeout(10), aiohttp.ClientSession() as client:
            async with SimServer(served) as server:
                ws = await websocket(client, server)
                await texts(ws, 3)
                await fault(client, server, name="rest_hang")
                hanging = asyncio.create_task(client.get(server.http_url + "/api/v3/time"))
                while not served.faults.records[0].happened:
                    await asyncio.sleep(0.01)
            with pytest.raises(aiohttp.ClientError):
                await hanging
            while not ws.closed:
                await ws.receive()
        assert not served.sessions
        with pytest.raises(RuntimeError):
            await server.run()

    asyncio.run(main())


def test_a_failure_of_the_engine_is_not_swallowed():
    async def main():
        served = exchange()

        def fail(step):
            raise ZeroDivisionError("from the engine")

        async with asyncio.timeout(10), SimServer(served) as server:
            served.dialect.on_step = fail
            await server.run()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    gc.collect()  # a socket that was left open would be told here, and fail the test


def test_a_capture_over_real_sockets(tmp_path):
    lines = [frame(i * 10**7, combined("aaabtc@trade", TRADE | {"t": i})) for i in range(50)]
    served = replay("binance.spot", write(tmp_path / "c.gz", lines), speed=5)

    async def test(server, client):
        async with websocket(client, server, "/stream?streams=aaabtc@trade") as ws:
            start_s = time.monotonic()
            got = await texts(ws, 50)
            assert [m["data"]["t"] for m in got] == list(range(50))
            assert time.monotonic() - start_s > 0.08
            await ws.ping()
            await ws.send_str('{"method":"LIST_SUBSCRIPTIONS","id":7}')
            assert (await texts(ws, 1))[0]["result"] == ["aaabtc@trade"]

    run(test, served=served)
