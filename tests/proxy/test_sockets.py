"""One socket: how it ends."""

import asyncio

import pytest
from tests.proxy.wires import Wire

from gapless.proxy.pipe import End
from gapless.proxy.sockets import Side


def run(test):
    """Run ``test(side, wire, heard)`` with both ends of a loopback connection."""

    async def main():
        loop = asyncio.get_running_loop()
        heard = []
        side = Side(heard.append, heard.append, lambda: None, lambda: heard.append("gone"))
        server = await loop.create_server(lambda: side, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, wire = await loop.create_connection(Wire, "127.0.0.1", port)
        async with asyncio.timeout(10):
            while not side.begun:
                await asyncio.sleep(0)
            try:
                await test(side, wire, heard)
            finally:
                side.abort()
                wire.transport.abort()
                await side.wait_lost()
                await wire.until(lambda: wire.lost)
                server.close()
                await server.wait_closed()

    asyncio.run(main())


@pytest.mark.parametrize("first", ["wire", "side"])
def test_it_closes_when_both_directions_have_ended(first):
    async def test(side, wire, heard):
        if first == "wire":
            wire.transport.write_eof()
            async with asyncio.timeout(5):
                while not side.ended:
                    await asyncio.sleep(0)
            side.write(b"last")
            side.write_eof()
        else:
            side.write(b"last")
            side.write_eof()
            await wire.until(lambda: wire.eof)
            wire.transport.close()
        await side.wait_lost()
        await wire.until(lambda: wire.eof)
        assert wire.read == b"last"
        assert heard == [End.FIN, "gone"]

    run(test)


def test_a_reset_is_seen_as_one_on_the_other_side():
    async def test(side, wire, heard):
        side.write(b"never mind")
        side.reset()
        await wire.until(lambda: wire.lost)
        assert isinstance(wire.error, ConnectionResetError)
        side.write(b"nothing")  # and nothing happens
        side.write_eof()
        side.pause(True)

    run(test)


def test_a_pause_stops_the_bytes():
    async def test(side, wire, heard):
        side.pause(True)
        wire.write(b"abc")
        loop = asyncio.get_running_loop()
        for _ in range(20):
            await asyncio.sleep(0)
        assert heard == []
        side.pause(False)
        deadline = loop.time() + 5
        while not heard and loop.time() < deadline:
            await asyncio.sleep(0)
        assert heard == [b"abc"]

    run(test)
