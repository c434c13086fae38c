"""A server that sends prepared frames as fast as a client can read them.

It speaks just enough WebSocket and HTTP for a benchmark: the upgrade, replies to the requests
of the two dialects, one REST body, and then the frames in large writes, so that the client's
cost is measured and not the server's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from typing import Any

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHUNK = 64  # frames in one write


def frame(payload: bytes) -> bytes:
    """Return ``payload`` as one unmasked text frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return opcode and payload of one masked frame."""
    head = await reader.readexactly(2)
    size = head[1] & 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4)
    data = await reader.readexactly(size)
    return head[0] & 15, bytes(byte ^ mask[i & 3] for i, byte in enumerate(data))


async def serve(prepared: dict[str, Any]) -> None:
    """Serve prepared frames, and a snapshot over HTTP."""
    frames = [frame(text.encode()) for text in prepared["frames"]]
    blocks = [b"".join(frames[i : i + CHUNK]) for i in range(0, len(frames), CHUNK)]
    snapshot = prepared["snapshot"].encode()
    fetched = asyncio.Event()
    # Redundant lines go side by side, as at a venue: nobody is a block ahead of the others.
    together = asyncio.Barrier(prepared.get("lines", 1))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if "upgrade: websocket" not in head.lower():
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(snapshot))
            writer.write(snapshot)
            await writer.drain()
            fetched.set()
            return
        start = head.lower().index("sec-websocket-key:") + len("sec-websocket-key:")
        key = head[start:].split("\r\n", 1)[0].strip()
        accept = base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        if "bare" not in head:
            await answer_until_subscribed(reader, writer)
            writer.write(frames[0])
            if prepared["snapshot"] != "{}":
                await fetched.wait()
            await together.wait()
            await asyncio.sleep(0.2)  # let the book be proven before the measured part
            writer.write(b"".join(frames[1:CHUNK]))
        for block in blocks if "bare" in head else blocks[1:]:
            await together.wait()
            writer.write(block)
            await writer.drain()
        await reader.read()

    async def answer_until_subscribed(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            opcode, payload = await read_frame(reader)
            if opcode != 1:
                continue
            call = json.loads(payload)
            method = call["method"].lower()
            result = call["params"]["channels"] if "channels" in call.get("params", {}) else None
            reply = {"jsonrpc": "2.0", "id": call["id"], "result": result or None}
            if method == "public/set_heartbeat":
                reply["result"] = "ok"
            writer.write(frame(json.dumps(reply).encode()))
            if method.endswith("subscribe"):
                return

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        loaded = json.load(file)
    asyncio.run(serve(loaded))
