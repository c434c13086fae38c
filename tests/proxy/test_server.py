"""The proxy over real loopback sockets; each fault is proven by what arrives at the client."""

import asyncio
import random
import ssl
import time

import aiohttp
import pytest
from aiohttp import web
from tests.io.certs import authority, context
from tests.io.raw_server import frame
from tests.proxy.wires import (
    AGREED,
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    connected,
    run,
    upgrade,
    websocket,
)

from gapless.errors import ConfigError, UsageError
from gapless.proxy import server as module
from gapless.proxy.faults import Fault
from gapless.proxy.link import BACKLOG_HIGH_BYTES
from gapless.proxy.plan import Plan
from gapless.proxy.server import FaultProxy, PortBusy, Upstream


def numbered(count, prefix="m"):
    return [f"{prefix}{n}" for n in range(count)]


async def told(client, server, *texts, more=1):
    """Have the server say ``texts`` and a last word; return all that the client heard."""
    server.text(*texts, "last word")
    await client.until(lambda: "last word" in client.texts())
    return client.texts()[:-1]


# -- nothing is changed while no fault strikes ----------------------------------------------------


def noise(seed):
    """Return frames of every kind and length, masked as a client must."""
    rng = random.Random(seed)
    parts = [
        frame(op, rng.randbytes(size), fin=fin, rsv=rsv, mask=mask)
        for op, size, fin, rsv in [
            (1, 0, True, 0),
            (1, 125, True, 0),
            (2, 126, True, 4),
            (9, 125, True, 0),
            (1, 3, False, 0),
            (10, 0, True, 0),
            (0, 65_535, True, 0),
            (3, 9, True, 7),
            (2, 65_536, True, 0),
            (2, 300_000, True, 0),
        ]
        for mask in (False, True)
    ]
    return b"".join(parts)


def test_bytes_are_identical_both_ways_in_whatever_chunks():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            rng = random.Random(1)
            inward, outward = noise(2), noise(3)
            for wire, stream in ((peer, inward), (client, outward)):
                at = 0
                while at < len(stream):
                    size = rng.choice((1, 2, 7, 100, 5000, 60_000))
                    wire.write(stream[at : at + size])
                    at += size
                    await asyncio.sleep(0)
            await client.until(lambda: len(client.body) >= len(inward))
            await peer.until(lambda: len(peer.body) >= len(outward))
            assert client.read == AGREED + inward
            assert peer.body == outward
            # Of the request, only the name of the host is another.
            wanted = upgrade().replace(b"client.test", b"127.0.0.1:%d" % server.port)
            assert sorted(peer.read.partition(b"\r\n\r\n")[0].split(b"\r\n")) == sorted(
                wanted[:-4].split(b"\r\n")
            )
            peer.transport.close()
            await client.until(lambda: client.eof)

    run(test)


def test_faults_that_have_not_begun_or_are_cleared_change_nothing_either():
    async def test(proxy, server):
        record = proxy.strike(Fault(name="drop", topic="nowhere", for_s=60))
        async with websocket(proxy, server) as (client, peer):
            stream = noise(2)
            peer.write(stream[: len(stream) // 2])
            await client.until(lambda: len(client.body) >= 1000)
            proxy.clear(record.id)
            peer.write(stream[len(stream) // 2 :])
            await client.until(lambda: len(client.body) >= len(stream))
            assert client.body == stream

    run(test, Fault(name="reset", at_s=3600))


def test_the_end_of_either_side_reaches_the_other():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            client.transport.write_eof()
            await peer.until(lambda: peer.eof)
            peer.text("still here")
            await client.until_frames(1)
            peer.transport.close()
            await client.until(lambda: client.eof)
        async with websocket(proxy, server) as (client, peer):
            peer.transport.abort()
            await client.until(lambda: client.eof or client.lost)
        async with websocket(proxy, server) as (client, peer):
            client.transport.abort()
            await peer.until(lambda: peer.eof or peer.lost)

    run(test)


# -- TCP ------------------------------------------------------------------------------------------


def test_latency():
    async def test(proxy, server):
        began = time.monotonic()
        async with websocket(proxy, server) as (client, peer):
            assert time.monotonic() - began >= 0.2  # there and back
            began = time.monotonic()
            peer.text("a")
            await client.until_frames(1)
            assert time.monotonic() - began >= 0.1
            proxy.clear(1)
            began = time.monotonic()
            peer.text("b")
            await client.until_frames(2)
            assert time.monotonic() - began < 0.1

    run(test, Fault(name="latency", delay_ms=100))


def test_bandwidth():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            began = time.monotonic()
            peer.write(frame(BINARY, bytes(20_000)))
            await client.until_frames(1)
            assert 0.19 <= time.monotonic() - began < 2

    run(test, Fault(name="bandwidth", bytes_per_s=100_000, direction="in"))


def test_a_slicer_really_sends_single_bytes():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            peer.text("hello")
            await client.until_frames(1)
            assert client.read == AGREED + frame(TEXT, b"hello")
            assert len(client.pieces) >= 0.9 * len(client.read)

    run(test, Fault(name="slicer", direction="in"))


def test_a_reset_is_a_reset_on_both_sides():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            record = proxy.strike(Fault(name="reset"))
            await client.until(lambda: client.lost)
            await peer.until(lambda: peer.lost)
            assert isinstance(client.error, ConnectionResetError)
            assert not client.eof
            assert record.struck == 1

    run(test)


def test_a_reset_waits_for_somebody_to_strike():
    async def test(proxy, server):
        async with connected(proxy.port) as client:
            client.write(upgrade())
            await client.until(lambda: client.lost)
            assert isinstance(client.error, ConnectionResetError)
        async with websocket(proxy, server) as (client, peer):
            assert await told(client, peer, "fine") == ["fine"]

    run(test, Fault(name="reset"))


def test_half_open_inward_the_server_hears_and_the_client_does_not():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            record = proxy.strike(Fault(name="half_open_in", connection=1))
            client.write(frame(PING, b"hello", mask=True))
            assert await peer.until_frames(1) == [(PING, b"hello")]
            peer.text("a", "b")
            # Another connection round the same proxy shows that time has passed.
            async with websocket(proxy, server) as (second, other):
                assert await told(second, other, "x") == ["x"]
            assert client.body == b""
            assert not client.eof
            proxy.clear(record.id)
            await client.until_frames(2)
            assert client.texts() == ["a", "b"]
            assert record.struck == 1

    run(test)


def test_half_open_outward_the_client_hears_and_the_server_does_not():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            record = proxy.strike(Fault(name="half_open_out"))
            client.text("a", mask=True)
            assert await told(client, peer, "data") == ["data"]
            assert peer.body == b""
            client.transport.write_eof()
            peer.text("more")
            await client.until_frames(3)
            assert not peer.eof
            proxy.clear(record.id)
            await peer.until(lambda: peer.eof)
            assert peer.texts() == ["a"]

    run(test)


def test_a_slow_close():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            peer.text("a")
            peer.transport.close()
            began = time.monotonic()
            await client.until_frames(1)
            assert not client.eof
            await client.until(lambda: client.eof)
            assert time.monotonic() - began >= 0.2

    run(test, Fault(name="slow_close", delay_ms=200))


@pytest.mark.parametrize("n_bytes", [0, 1, 60, len(AGREED) - 1, len(AGREED), len(AGREED) + 3])
@pytest.mark.parametrize("then", ["silence", "reset", "close"])
def test_after_so_many_bytes(n_bytes, then):
    async def test(proxy, server):
        async with connected(proxy.port) as client:
            client.write(upgrade())
            stream = AGREED + frame(TEXT, b"hello")
            while not server.wires:
                await asyncio.sleep(0)
            peer = server.wires[0]
            if then == "silence" or n_bytes:
                await peer.until(lambda: peer.agreed)
            if peer.agreed:
                peer.text("hello")
            if then == "reset":
                await client.until(lambda: client.lost)
                assert stream.startswith(client.read)
                assert len(client.read) <= n_bytes
                assert isinstance(client.error, ConnectionResetError)
            elif then == "close":
                await client.until(lambda: client.eof)
                assert client.read == stream[:n_bytes]
            else:
                await client.until(lambda: len(client.read) >= n_bytes)
                async with connected(proxy.port) as other:  # a whole round for another
                    other.write(upgrade())
                    await other.until(lambda: b"\r\n\r\n" in other.read)
                assert client.read == stream[:n_bytes]
                assert not client.eof
                proxy.clear(1)
                await client.until(lambda: client.read == stream)

    run(test, Fault(name="stop_after", n_bytes=n_bytes, then=then, connection=1))


def test_a_stalled_handshake_is_accepted_and_answered_only_when_it_is_over():
    async def test(proxy, server):
        async with connected(proxy.port) as client:
            client.write(upgrade())
            async with connected(proxy.port) as other:
                other.write(b"GET /_proxy/log HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                await other.until(lambda: b"holds the request" in other.read)
            assert client.read == b""
            assert not client.eof
            assert not server.wires  # the server has heard nothing of it
            proxy.clear(1)
            await client.until(lambda: client.read == AGREED)

    run(test, Fault(name="stalled_handshake"))


def test_tls_that_is_never_answered():
    async def test(proxy, server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.open_connection(
                    "127.0.0.1", proxy.port, ssl=ssl.create_default_context()
                )
        assert proxy.records[0].struck == 1

    run(test, Fault(name="stalled_handshake"))


def test_tls_to_the_plain_port_is_told_so():
    async def test(proxy, server):
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", proxy.port, ssl=ssl.create_default_context())

    run(test)


# -- messages -------------------------------------------------------------------------------------


def heard(*faults, say, **options):
    """Return what a client heard of what a server said."""
    got = []

    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            got.extend(await told(client, peer, *say))
            got.append([record.struck for record in proxy.records])

    run(test, *faults, **options)
    return got[:-1], got[-1]


def test_drop_duplicate_and_reorder_by_topic():
    say = ["a1", "b1", "c1", "d1", "a2", "b2", "c2", "d2"]
    got, struck = heard(
        Fault(name="drop", topic="a?"),
        Fault(name="duplicate", topic="b*"),
        Fault(name="reorder", topic="c[12]"),
        say=say,
    )
    assert got == ["b1", "b1", "d1", "a2", "b2", "c2", "c1", "d2"]
    assert struck == [1, 1, 1]


def test_a_delayed_topic_is_overtaken():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            began = time.monotonic()
            peer.text("slow", "fast")
            await client.until_frames(1)
            assert client.texts() == ["fast"]
            await client.until_frames(2)
            assert client.texts() == ["fast", "slow"]
            assert time.monotonic() - began >= 0.15

    run(test, Fault(name="delay", topic="slow", delay_ms=150))


def test_a_corrupted_text_arrives_with_one_bit_changed():
    say = ["0123456789"] * 50
    got, struck = heard(Fault(name="corrupt", count=10, topic="0123456789"), say=say)
    changed = [text for text in got if text != say[0]]
    assert struck == [len(changed)] == [10]
    for text in changed:
        assert sum(a != b for a, b in zip(text, say[0], strict=True)) == 1


def test_fragments_arrive_as_frames_and_join_to_the_message():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            peer.text("hello")
            frames = await client.until_frames(3)
            assert frames == [(TEXT, b"he"), (0, b"ll"), (0, b"o")]
        url = proxy.ws_url
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            server.wires[-1].text("world")
            assert await ws.receive_str() == "world"
            assert proxy.records[0].struck == 2
            server.wires[-1].transport.close()

    run(test, Fault(name="fragment", size_bytes=2, for_s=60))


def test_what_the_client_sends_can_be_hit_too():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            client.text("a", "b", "c", mask=True)
            await peer.until_frames(2)
            assert peer.texts() == ["a", "c"]

    run(test, Fault(name="drop", topic="b", direction="out"))


@pytest.mark.parametrize("answers", ["upstream", "proxy"])
def test_a_zombie_answers_pings_and_says_nothing(answers):
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            peer.text(*numbered(20))
            client.write(frame(PING, b"are you there", mask=True))
            if answers == "upstream":
                assert (PING, b"are you there") in await peer.until_frames(1)
                peer.write(frame(PONG, b"are you there"))
            assert await client.until_frames(1) == [(PONG, b"are you there")]
            if answers == "proxy":
                assert peer.body == b""
            proxy.clear(1)
            assert await told(client, peer, "back") == ["back"]

    run(test, Fault(name="zombie", answers=answers))


def test_bad_utf8_makes_an_independent_client_give_up():
    async def test(proxy, server):
        url = proxy.ws_url
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            server.wires[-1].text("good")
            assert await ws.receive_str() == "good"
            proxy.strike(Fault(name="bad_utf8"))
            message = await ws.receive()
            assert message.type is aiohttp.WSMsgType.ERROR
            assert ws.close_code == 1007

    run(test)


def test_a_close_reaches_the_client_and_the_server_is_left():
    async def test(proxy, server):
        url = proxy.ws_url
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            proxy.strike(Fault(name="close", code=1012, reason="restart"))
            message = await ws.receive()
            assert (message.type, message.data, message.extra) == (
                aiohttp.WSMsgType.CLOSE,
                1012,
                "restart",
            )
            await server.wires[-1].until(lambda: server.wires[-1].eof)
        async with websocket(proxy, server) as (client, _):
            proxy.strike(Fault(name="close", code=4000))
            await client.until_frames(1)
            client.write(frame(CLOSE, b"\x0f\xa0", mask=True))
            await client.until(lambda: client.eof)
            assert client.frames() == [(CLOSE, b"\x0f\xa0")]

    run(test)


def test_a_close_may_leave_tcp_open():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            proxy.strike(Fault(name="close", keep_open=True))
            await client.until_frames(1)
            client.write(frame(CLOSE, b"\x03\xe9", mask=True))
            await peer.until(lambda: peer.eof)
            async with websocket(proxy, server):
                pass
            assert not client.eof

    run(test)


def test_a_close_in_the_clients_name_reaches_the_server():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            proxy.strike(Fault(name="close", code=1000, direction="out"))
            assert await peer.until_frames(1) == [(CLOSE, b"\x03\xe8")]
            assert peer.body[1] & 0x80  # masked, as a client must
            peer.write(frame(CLOSE, b"\x03\xe8"))
            assert await client.until_frames(1) == [(CLOSE, b"\x03\xe8")]

    run(test)


def test_a_ping_flood_reaches_the_client_and_its_pongs_do_not_reach_the_server():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            proxy.strike(Fault(name="ping_flood", n_pings=2000))
            pings = await client.until_frames(2000)
            assert {opcode for opcode, _ in pings} == {PING}
            for _, payload in pings[:50]:
                client.write(frame(PONG, payload, mask=True))
            client.text("own", mask=True)
            assert await peer.until_frames(1) == [(TEXT, b"own")]

    run(test)


def test_lost_pongs_never_arrive_while_data_do():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            peer.write(frame(PONG, b"1"))
            assert await told(client, peer, "a") == ["a"]
            assert [opcode for opcode, _ in client.frames()] == [TEXT, TEXT]
            assert proxy.records[0].struck == 1

    run(test, Fault(name="lost_pongs"))


# -- chance, time and place -----------------------------------------------------------------------


def test_the_same_seed_and_traffic_give_the_same_decisions():
    faults = (
        Fault(name="drop", probability=0.2, topic="m?[0-5]"),
        Fault(name="duplicate", probability=0.1),
        Fault(name="reorder", probability=0.1),
        Fault(name="corrupt", probability=0.1),
    )
    say = numbered(300)
    first = heard(*faults, say=say, seed=11)
    assert min(first[1]) > 0
    assert heard(*faults, say=say, seed=11) == first
    assert heard(*faults, say=say, seed=12) != first


def test_only_the_connection_that_is_meant():
    async def test(proxy, server):
        async with websocket(proxy, server) as one, websocket(proxy, server) as two:
            assert await told(*one, "a") == ["a"]
            assert await told(*two, "a") == []

    run(test, Fault(name="drop", topic="a", connection=2))


def test_a_plan_runs_by_its_own_clock():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, _):
            await client.until(lambda: client.lost)
            (entry,) = proxy.log
            assert 0.2 <= entry.t_s < 2

    run(test, Fault(name="reset", at_s=0.2))


# -- requests, and what is around -----------------------------------------------------------------


async def rest(port):
    """Serve HTTP with an independent server, and say what came."""

    async def answer(request):
        body = await request.read()
        return web.json_response(
            {"path": request.path_qs, "host": request.host, "body": body.decode()}
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    return runner


def test_plain_requests_pass_with_their_bodies_and_feel_tcp_faults():
    async def main():
        runner = await rest(0)
        port = runner.addresses[0][1]
        try:
            async with (
                asyncio.timeout(20),
                FaultProxy(f"http://127.0.0.1:{port}/ignored") as proxy,
                aiohttp.ClientSession() as session,
            ):
                for n in range(3):
                    url = f"{proxy.http_url}/a?b={n}"
                    async with session.post(url, data="x" * 100_000) as reply:
                        said = await reply.json()
                    assert said["path"] == f"/a?b={n}"
                    assert said["host"] == f"127.0.0.1:{port}"
                    assert len(said["body"]) == 100_000
                proxy.strike(Fault(name="latency", delay_ms=100, traffic="http"))
                began = time.monotonic()
                async with session.get(proxy.http_url + "/") as reply:
                    assert reply.status == 200
                assert time.monotonic() - began >= 0.2
                proxy.strike(Fault(name="stop_after", n_bytes=20, then="reset"))
                with pytest.raises(aiohttp.ClientError):
                    await session.get(proxy.http_url + "/")
                assert proxy.connections == 0
        finally:
            await runner.cleanup()

    asyncio.run(main())


def test_compression_is_not_negotiated_unless_it_is_left():
    async def test(proxy, server):
        extra = b"Sec-WebSocket-Extensions: permessage-deflate"
        async with websocket(proxy, server, b"/ws", extra) as (_, peer):
            assert (b"permessage-deflate" in peer.read) is proxy.keep_extensions

    run(test)
    run(test, keep_extensions=True)


def test_tls_to_the_upstream_is_verified():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            assert await told(client, peer, "a") == ["a"]
            peer.transport.close()
            await client.until(lambda: client.eof)

    run(test, tls=context("good"), ca_file=authority()[1])

    async def refused(proxy, server):
        async with connected(proxy.port) as client:
            client.write(upgrade())
            await client.until(lambda: client.eof)
            assert client.read.startswith(b"HTTP/1.1 502 ")
        assert "certificate" in proxy.troubles[0]

    run(refused, tls=context("untrusted"), ca_file=authority()[1])
    with pytest.raises(ConfigError, match="CA file"):
        FaultProxy("wss://far.test", ca_file="/nowhere.pem")


def test_an_upstream_that_is_not_there_is_a_502_and_a_trouble():
    async def main():
        async with FaultProxy("ws://127.0.0.1:1") as proxy, connected(proxy.port) as client:
            client.write(upgrade())
            await client.until(lambda: client.eof)
            assert client.read.startswith(b"HTTP/1.1 502 ")
            assert "cannot be reached" in proxy.troubles[0]

    asyncio.run(main())


def test_a_slow_client_makes_the_server_wait_and_memory_stays_bounded():
    async def test(proxy, server):
        async with websocket(proxy, server) as (client, peer):
            client.transport.pause_reading()
            chunk = frame(BINARY, bytes(100_000))
            for _ in range(600):
                peer.write(chunk)
            left = before = peer.transport.get_write_buffer_size()
            while left != before or left == 0:
                before = left
                await asyncio.sleep(0.05)
                left = peer.transport.get_write_buffer_size()
                if left == before:
                    break
            link = next(iter(proxy._links))
            assert link._pipes["in"].backlog_bytes <= BACKLOG_HIGH_BYTES + 300_000
            assert left > 30_000_000, "the server still holds most of it"
            client.transport.resume_reading()
            await peer.until(lambda: True)
            async with asyncio.timeout(10):
                while sum(map(len, client.pieces)) < len(AGREED) + 600 * len(chunk):
                    await asyncio.sleep(0.01)

    run(test)


def test_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 1)

    async def test(proxy, server):
        async with websocket(proxy, server) as one, connected(proxy.port) as two:
            await two.until(lambda: two.eof or two.lost)
            assert await told(*one, "a") == ["a"]

    run(test)


def test_a_busy_port_is_said_in_one_sentence():
    async def test(proxy, server):
        with pytest.raises(PortBusy, match=f"port {proxy.port} on 127.0.0.1 is taken"):
            async with FaultProxy("ws://127.0.0.1:1", port=proxy.port):
                pass

    run(test)


def test_upstreams():
    assert Upstream.parse("wss://a.test/ws?x=1") == Upstream("a.test", 443, True, "/ws?x=1")
    assert Upstream.parse("http://[::1]:8080").authority == "[::1]:8080"
    assert Upstream.parse("ws://a.test").authority == "a.test"
    assert FaultProxy("ws://a.test/ws", port=7).ws_url == "ws://127.0.0.1:7/ws"
    for url in ("a.test", "ftp://a.test", "ws://", "ws://a:b@a.test", "ws://a.test:x", "ws://a:0"):
        with pytest.raises(UsageError) as caught:
            Upstream.parse(url)
        assert "a:b" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:9700", "ws://localhost:9700/ws", "http://[::1]:9700"]
)
def test_a_proxy_does_not_pass_on_to_itself(url):
    with pytest.raises(UsageError, match="the upstream is the proxy itself"):
        FaultProxy(url, port=9700)
    assert FaultProxy(url, port=9701).upstream.port == 9700


def test_a_plan_is_checked_before_anything_listens():
    with pytest.raises(UsageError):
        FaultProxy("ws://127.0.0.1:1", Plan(faults=(Fault(name="drop", at_s=-1),)))
