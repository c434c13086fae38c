"""What a link does with requests that are none, and with ends in odd moments."""

import asyncio

import pytest
from tests.io.raw_server import frame
from tests.proxy.wires import AGREED, TEXT, connected, run, upgrade, websocket

from gapless.proxy.faults import Fault
from gapless.proxy.heads import HEAD_BYTES_MAX


async def answer(proxy, request):
    async with connected(proxy.port) as client:
        client.write(request)
        await client.until(lambda: client.eof or client.lost)
        return client.read


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"HELLO\r\n\r\n", b"400"),
        (b"GET / HTTP/2\r\n\r\n", b"400"),
        (b"GET /" + b"x" * HEAD_BYTES_MAX, b"431"),
    ],
)
def test_what_is_no_request_is_refused_in_words(request_bytes, status):
    async def test(proxy, server):
        assert (await answer(proxy, request_bytes)).startswith(b"HTTP/1.1 " + status)
        assert not server.wires

    run(test)


def test_a_request_that_comes_byte_by_byte_is_read():
    async def test(proxy, server):
        async with connected(proxy.port) as client:
            for byte in upgrade():
                client.write(bytes([byte]))
                await asyncio.sleep(0)
            await client.until(lambda: client.read == AGREED)

    run(test)


def test_what_a_client_sends_behind_its_request_is_not_lost():
    async def test(proxy, server):
        async with connected(proxy.port) as client:
            client.write(upgrade() + frame(TEXT, b"early", mask=True))
            peer = await server.peer()
            await peer.until(lambda: b"early" in peer.texts() or peer.texts() == ["early"])

    run(test)


def test_a_server_that_refuses_the_upgrade_is_passed_on_as_it_is():
    async def test(proxy, server):
        async with connected(proxy.port) as client:
            client.write(upgrade())
            peer = await server.peer()
            await peer.until(lambda: b"\r\n\r\n" in peer.read)
            refusal = b"HTTP/1.1 503 No\r\nRetry-After: 5\r\nContent-Length: 3\r\n\r\n\x81\x7fx"
            peer.write(refusal)
            peer.transport.close()
            await client.until(lambda: client.eof)
            assert client.read == refusal

    run(test, Fault(name="drop", for_s=60), agree=False)


def test_an_answer_whose_head_comes_in_parts_with_data_behind_it():
    async def test(proxy, server):
        async with connected(proxy.port) as client:
            client.write(upgrade())
            peer = await server.peer()
            await peer.until(lambda: b"\r\n\r\n" in peer.read)
            for at in range(0, len(AGREED), 7):
                peer.write(AGREED[at : at + 7] if at + 7 < len(AGREED) else b"")
                await asyncio.sleep(0)
            tail = AGREED[len(AGREED) - (len(AGREED) % 7 or 7) :]
            peer.write(tail + frame(TEXT, b"first") + frame(TEXT, b"second"))
            await client.until(lambda: "second" in client.texts())
            assert client.texts() == ["second"]

    run(test, Fault(name="drop", topic="first"), agree=False)


def test_the_proxy_ends_whatever_is_open_half_open_or_dialling():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, _), connected(proxy.port) as stalled:
            proxy.strike(Fault(name="half_open_out"))
            proxy.strike(Fault(name="stalled_handshake"))
            stalled.write(upgrade())
            client.transport.write_eof()
            await proxy.__aexit__(None, None, None)
            await client.until(lambda: client.eof or client.lost)
            await stalled.until(lambda: stalled.eof or stalled.lost)
            assert not proxy._links

    run(test)


def test_nothing_is_kept_of_connections_that_have_ended():
    async def test(proxy, server):
        proxy.strike(Fault(name="latency", delay_ms=1))
        for _ in range(50):
            async with websocket(proxy, server) as (_, peer):
                pass
            await peer.until(lambda peer=peer: peer.eof or peer.lost)
            peer.transport.close()
        async with asyncio.timeout(5):
            while proxy._links:
                await asyncio.sleep(0.001)
        assert proxy.records[0].struck == 50
        assert proxy.records[0].flows == set()
        assert proxy.board._dice == {}

    run(test)
