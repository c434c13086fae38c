"""A WebSocket server that can send any bytes, so that tests can break every rule."""

import asyncio
import base64
import hashlib
import socket
import struct

from gapless.listening import Port

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", *, fin=True, rsv=0, mask=False, length=None):
    """Return one frame; ``length`` lies about the payload's size."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    return head + (b"\0\0\0\0" if mask else b"") + payload


def close_frame(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


def accepting(key, extra=b""):
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + extra + b"\r\n"
    )


def refusing(status, *headers):
    lines = [f"HTTP/1.1 {status} No", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


class RawPeer(asyncio.Protocol):
    """The server's side of one connection.

    It answers pings and close frames unless ``silent``, and keeps all that it heard.
    """

    def __init__(self, server):
        self.server = server
        self.request = b""
        self.headers = {}
        self.heard = []
        self.silent = False
        self.upgraded = False
        self.lost = False
        self._buffer = b""

    def connection_made(self, transport):
        self.transport = transport
        self.server.peers.append(self)

    def connection_lost(self, exc):
        self.lost = True
        self.heard.append(("lost",))

    def data_received(self, data):
        self._buffer += data
        if not self.upgraded:
            self._upgrade()
        if self.upgraded:
            while self._take_frame():
                pass

    def _upgrade(self):
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        self.request, self._buffer = head, rest
        lines = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self.headers = {name.decode().lower(): value.decode() for name, value in lines}
        answer = self.server.answer(self.headers["sec-websocket-key"].encode())
        if answer is not None:
            self.upgraded = b" 101 " in answer[:16]
            self.raw(answer)

    def _take_frame(self):
        data = self._buffer
        if len(data) < 6:
            return False
        size, at = data[1] & 0x7F, 2
        if size == 126:
            size, at = struct.unpack("!H", data[2:4])[0], 4
        elif size == 127:
            size, at = struct.unpack("!Q", data[2:10])[0], 10
        assert data[1] & 0x80, "a client must mask"
        if len(data) < at + 4 + size:
            return False
        mask, masked = data[at : at + 4], data[at + 4 : at + 4 + size]
        self._buffer = data[at + 4 + size :]
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
        self._hear(data[0] & 0x0F, payload)
        return True

    def _hear(self, opcode, payload):
        if opcode == TEXT:
            self.heard.append(("text", payload.decode()))
        elif opcode == PING:
            self.heard.append(("ping", payload))
            if not self.silent:
                self.pong(payload)
        elif opcode == PONG:
            self.heard.append(("pong", payload))
        elif opcode == CLOSE:
            code = struct.unpack("!H", payload[:2])[0] if payload else None
            self.heard.append(("close", code, payload[2:].decode()))
            if not self.silent:
                self.raw(frame(CLOSE, payload[:2]))
                self.transport.close()

    def raw(self, data):
        self.transport.write(data)

    def text(self, text):
        self.raw(frame(TEXT, text.encode()))

    def binary(self, payload):
        self.raw(frame(BINARY, payload))

    def ping(self, payload=b""):
        self.raw(frame(PING, payload))

    def pong(self, payload=b""):
        self.raw(frame(PONG, payload))

    def close(self, code=1000, reason=""):
        self.raw(frame(CLOSE) if code is None else close_frame(code, reason.encode()))

    def violate(self):
        self.raw(frame(TEXT, b"\xff\xfe"))

    def silence(self):
        self.silent = True

    def fin(self):
        self.transport.write_eof()

    def reset(self):
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class RawServer:
    """Listens on a loopback port; ``answer`` turns the key of an upgrade into the response."""

    def __init__(self, *, tls=None, answer=accepting):
        self.answer = answer
        self.peers = []
        self.tls = tls

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: RawPeer(self), "127.0.0.1", 0, ssl=self.tls)
        self._listening = Port(self._server)
        self.port = self._listening.number
        return self

    def stop(self):
        """Refuse further connections."""
        self._server.close()

    async def __aexit__(self, *_):
        await self._listening.close()
        for peer in self.peers:
            peer.transport.abort()
        async with asyncio.timeout(5):
            while not all(peer.lost for peer in self.peers):
                await asyncio.sleep(0.001)
            await self._server.wait_closed()

    @property
    def url(self):
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/feed?key=secret"
