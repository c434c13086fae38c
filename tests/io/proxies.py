"""Proxies for tests: HTTP CONNECT, SOCKS4 and SOCKS5, without authentication."""

import asyncio
import struct

from gapless.listening import Port


class Proxy:
    """Forwards to wherever it is asked to, or refuses."""

    def __init__(self, kind, *, refuse=False):
        self.kind = kind
        self.refuse = refuse
        self.asked = []
        self._tasks = set()
        self._writers = []

    async def __aenter__(self):
        self._listening = Port(await asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._listening.number
        return self

    async def __aexit__(self, *_):
        await self._listening.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    @property
    def url(self):
        return f"{self.kind}://127.0.0.1:{self.port}"

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._writers.append(writer)
        away = None
        try:
            host, port = await getattr(self, f"_{self.kind}")(reader, writer)
            self.asked.append((host, port))
            if not self.refuse:
                away_reader, away = await asyncio.open_connection(host, port)
            writer.write(self._answer())
            if away is not None:
                await asyncio.gather(_pump(reader, away), _pump(away_reader, writer))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            for end in (writer, away):
                if end is not None:
                    end.transport.abort()

    def _answer(self):
        return {
            "http": b"HTTP/1.1 403 No\r\n\r\n" if self.refuse else b"HTTP/1.1 200 OK\r\n\r\n",
            "socks4": b"\0" + (b"\x5b" if self.refuse else b"\x5a") + b"\0" * 6,
            "socks5": b"\5" + (b"\2" if self.refuse else b"\0") + b"\0\1" + b"\0" * 6,
        }[self.kind]

    async def _http(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        host, port = head.split(b" ")[1].decode().rsplit(":", 1)
        return host, int(port)

    async def _socks4(self, reader, writer):
        _, _, port, address = struct.unpack("!BBH4s", await reader.readexactly(8))
        await reader.readuntil(b"\0")
        return ".".join(str(byte) for byte in address), port

    async def _socks5(self, reader, writer):
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\5\0")
        kind = (await reader.readexactly(4))[3]
        size = 4 if kind == 1 else (await reader.readexactly(1))[0]
        host = await reader.readexactly(size)
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        return (".".join(str(b) for b in host) if kind == 1 else host.decode()), port


async def _pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
    except OSError:
        pass
    finally:
        writer.transport.abort()
