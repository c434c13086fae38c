"""A port that is opened and closed without losing who is half in.

asyncio accepts a connection in one turn of the loop and makes its transport in the next.  A
server that is closed between the two drops the connection on the floor: nobody closes its socket,
and the peer waits.  A `Port` therefore stops accepting first, lets the accepted ones in, and
closes then.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

__all__ = ["Port", "authority", "is_loopback", "is_rebound"]

BACKLOG: Final = 1024
# An accepted connection has its transport in the turn after the next.
TURNS: Final = 3


def authority(host: str, port: int) -> str:
    """Return what a URL says of a host and a port; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_rebound(host: str, named: str | None) -> bool:
    """Return whether a request for a port of this machine alone names some other host.

    A page in a browser can have its own name resolved to this machine.  To the browser all is then
    one site, and what it reads from here carries no ``Origin``; the ``Host`` is still the page's.

    Args:
        host: Address that the port listens on.
        named: The ``Host`` header, or `None`, which no browser leaves out.
    """
    if named is None or not is_loopback(host):
        return False
    name = ""
    try:
        name = urlsplit(f"//{named}").hostname or ""
        ipaddress.ip_address(name)
    except ValueError:
        return name not in {"localhost", host.lower()}
    return False


def is_loopback(host: str) -> bool:
    """Return whether an address, or the one name that is known for certain, is this machine's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Port:
    """One listening TCP port.

    Attributes:
        number: The port; the real one, also where 0 asked for a free one.
    """

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.number: int = server.sockets[0].getsockname()[1]

    @classmethod
    async def open(cls, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> Port:
        """Listen.

        Args:
            factory: Makes the protocol of each connection.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.

        Raises:
            OSError: The address cannot be had; ``errno.EADDRINUSE`` if it is taken.
        """
        loop = asyncio.get_running_loop()
        return cls(
            await loop.create_server(factory, host, port, backlog=BACKLOG, reuse_address=True)
        )

    async def close(self) -> None:
        """Listen no more; connections that are open stay so."""
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            loop.remove_reader(listening.fileno())
        try:
            for _ in range(TURNS):
                await asyncio.sleep(0)
        finally:
            self._server.close()
