"""A server that sends any bytes and keeps all that it hears, and a client of the same kind."""

import asyncio
import contextlib
import hashlib
import re
import socket
from base64 import b64encode

from tests.io.raw_server import GUID, frame

from gapless.proxy.plan import Plan
from gapless.proxy.server import FaultProxy

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = b64encode(b"0123456789abcdef")
WITHIN_S = 10.0


def upgrade(path=b"/ws", *extra):
    lines = [
        b"GET " + path + b" HTTP/1.1",
        b"Host: client.test",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + KEY,
        *extra,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def agreeing(key):
    accept = b64encode(hashlib.sha1(key + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"X-Kept: as it is\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


AGREED = agreeing(KEY)


class Wire(asyncio.Protocol):
    """One socket: everything it read, in the pieces in which it came, and how it ended."""

    def __init__(self):
        self.transport = None
        self.pieces = []
        self.eof = False
        self.lost = False
        self.error = None
        self._news = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        # Otherwise what a test writes would wait for what it wrote before.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._news.set()

    def data_received(self, data):
        self.pieces.append(bytes(data))
        self._news.set()

    def eof_received(self):
        self.eof = True
        self._news.set()
        return True

    def connection_lost(self, exc):
        self.lost, self.error = True, exc
        self._news.set()

    @property
    def read(self):
        return b"".join(self.pieces)

    @property
    def body(self):
        """What came behind the head."""
        return self.read.partition(b"\r\n\r\n")[2]

    def frames(self):
        """Return (opcode, payload) of every whole frame behind the head, by an own reading."""
        data, found = self.body, []
        while len(data) >= 2:
            size, at = data[1] & 0x7F, 2
            if size > 125:
                width = 2 if size == 126 else 8
                size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
            mask = b"\0\0\0\0"
            if data[1] & 0x80:
                mask, at = data[at : at + 4], at + 4
            if len(data) < at + size:
                break
            payload = bytes(b ^ mask[i % 4] for i, b in enumerate(data[at : at + size]))
            found.append((data[0] & 15, payload))
            data = data[at + size :]
        return found

    def texts(self):
        return [payload.decode() for opcode, payload in self.frames() if opcode == TEXT]

    async def until(self, ready):
        """Wait until ``ready`` returns something true, and return it."""
        async with asyncio.timeout(WITHIN_S):
            while not (value := ready()):
                self._news.clear()
                await self._news.wait()
        return value

    async def until_frames(self, count):
        return await self.until(lambda: len(self.frames()) >= count and self.frames())

    def write(self, data):
        self.transport.write(data)

    def text(self, *texts, mask=False):
        self.write(b"".join(frame(TEXT, text.encode(), mask=mask) for text in texts))


class Server:
    """Agrees to every upgrade unless told to be mute; keeps its connections in order."""

    def __init__(self, *, tls=None, agree=True):
        self.wires = []
        self._tls = tls
        self._agree = agree

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def url(self):
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    def _accept(self):
        wire = _ServerWire(self._agree)
        self.wires.append(wire)
        return wire

    async def peer(self):
        """Return the newest connection, once there is one."""
        async with asyncio.timeout(WITHIN_S):
            while not self.wires:
                await asyncio.sleep(0.001)
        return self.wires[-1]

    async def __aexit__(self, *_):
        self._server.close()
        for wire in self.wires:
            if wire.transport is None:  # TLS was refused
                continue
            wire.transport.abort()
            await wire.until(lambda wire=wire: wire.lost)
        await self._server.wait_closed()


class _ServerWire(Wire):
    def __init__(self, agree):
        super().__init__()
        self.agreed = False
        self._agree = agree

    def data_received(self, data):
        super().data_received(data)
        if self._agree and not self.agreed and b"\r\n\r\n" in self.read:
            self.agreed = True
            (key,) = re.findall(rb"(?i)sec-websocket-key: *(\S+)", self.read)
            self.write(agreeing(key))


@contextlib.asynccontextmanager
async def connected(port):
    """Yield a bare socket that is connected."""
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(Wire, "127.0.0.1", port)
    try:
        yield wire
    finally:
        wire.transport.abort()
        await wire.until(lambda: wire.lost)


@contextlib.asynccontextmanager
async def websocket(proxy, server, path=b"/ws", *extra):
    """Yield both ends of a WebSocket through the proxy."""
    count = len(server.wires)
    async with connected(proxy.port) as client:
        client.write(upgrade(path, *extra))
        await client.until(lambda: b"\r\n\r\n" in client.read)
        yield client, server.wires[count]


def run(test, *faults, tls=None, agree=True, seconds=20.0, **options):
    """Run ``test(proxy, server)`` behind a proxy with these faults, within a deadline."""

    async def main():
        before = asyncio.all_tasks()
        async with (
            asyncio.timeout(seconds),
            Server(tls=tls, agree=agree) as server,
            FaultProxy(server.url, Plan(faults=faults), **options) as proxy,
        ):
            await test(proxy, server)
        assert asyncio.all_tasks() == before

    asyncio.run(main())
