"""A small WebSocket server in a process of its own; run by `tests/simulation/test_storm.py`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import sys
import time

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def serve(log: str, port: int, mode: str) -> None:
    accepted = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        os.write(accepted, b"%d\n" % time.monotonic_ns())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = next(x for x in head.split("\r\n") if x.lower().startswith("sec-websocket-key:"))
            digest = hashlib.sha1((key.split(":", 1)[1].strip() + GUID).encode()).digest()
            accept = base64.b64encode(digest).decode()
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n\x81\x02hi"
            )
            await writer.drain()
            if mode == "hold":
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", port, backlog=512, reuse_address=True)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
