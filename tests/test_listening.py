"""A port closes without losing those who are half in."""

from __future__ import annotations

import asyncio
import errno
import gc
import warnings

import pytest

from gapless.listening import Port, authority, is_rebound


class Peer(asyncio.Protocol):
    """Counts its connections, and ends each at once."""

    made = 0

    def connection_made(self, transport):
        Peer.made += 1
        transport.abort()


async def dial(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True


@pytest.mark.parametrize("turns", range(8))
def test_whoever_was_accepted_is_let_in_whenever_the_port_closes(turns):
    async def main():
        port = await Port.open(Peer, "127.0.0.1", 0)
        dials = [asyncio.create_task(dial(port.number)) for _ in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await port.close()
        await asyncio.gather(*dials)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [str(warning.message) for warning in seen] == []


def test_connections_are_taken_until_it_closes_and_refused_afterwards():
    async def main():
        Peer.made = 0
        port = await Port.open(Peer, "127.0.0.1", 0)
        assert await dial(port.number)
        while not Peer.made:
            await asyncio.sleep(0)
        await port.close()
        assert not await dial(port.number)

    asyncio.run(main())


def test_a_taken_port_says_so():
    async def main():
        port = await Port.open(Peer, "127.0.0.1", 0)
        try:
            with pytest.raises(OSError, match="in use") as taken:
                await Port.open(Peer, "127.0.0.1", port.number)
            assert taken.value.errno == errno.EADDRINUSE
        finally:
            await port.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "named", "refused"),
    [
        ("127.0.0.1", "evil.test:9601", True),
        ("::1", "evil.test", True),
        ("localhost", "127.0.0.1.evil.test", True),
        ("127.0.0.1", "[::1", True),
        ("127.0.0.1", "", True),
        ("127.0.0.1", "127.0.0.1:9601", False),
        ("127.0.0.1", "LocalHost:9601", False),
        ("::1", "[::1]:9601", False),
        ("localhost", "localhost", False),
        ("127.0.0.1", None, False),  # no browser leaves it out
        ("0.0.0.0", "proxy:9601", False),  # asked by name on purpose
    ],
)
def test_a_port_of_this_machine_alone_knows_a_name_that_was_made_to_lead_here(host, named, refused):
    assert is_rebound(host, named) is refused


def test_an_ipv6_address_stands_in_brackets():
    assert authority("::1", 80) == "[::1]:80"
    assert authority("127.0.0.1", 80) == "127.0.0.1:80"
