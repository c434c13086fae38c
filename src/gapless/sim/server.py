"""A real server around an exchange: WebSocket, REST and control on one port.

This is the only module of the simulator that knows sockets and clocks.  It decides nothing: one
task advances the exchange, every connection hands it what arrives, and a `Wire` writes what it
says.  Frames are built here and written straight to the transport, because half of the faults
are frames that no WebSocket library agrees to send.

Control, for tests and people: ``POST /_sim/fault`` takes a fault as JSON, ``POST /_sim/clear``
takes ``{"id": n}``, ``GET /_sim/faults`` and ``GET /_sim/state`` look.  During an outage the
port is really closed, so control comes back with it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from aiohttp import WSMsgType, web

from gapless.listening import Port, authority, is_rebound
from gapless.sim.exchange import Refused
from gapless.sim.faults import Fault, FaultInvalid

if TYPE_CHECKING:
    from types import TracebackType

    from gapless.sim.exchange import Exchange
    from gapless.sim.session import SimSession

__all__ = ["PortBusy", "SimServer"]

_TICK_MIN_S: Final = 0.001  # events closer together than this leave in one go
_TICK_MAX_S: Final = 0.05  # how long a timer that was set meanwhile may wait for the pump
_CLOSE_WAIT_S: Final = 1.0  # for the peer's answer to a close frame
_MESSAGE_MAX: Final = 1 << 20  # bytes a client may send in one message
_LABEL: Final = {"X-Simulated": "true"}


class PortBusy(OSError):
    """The port is taken.

    Attributes:
        host: Address to listen on.
        port: The port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        super().__init__(errno.EADDRINUSE, f"port {port} on {host} is taken by another program")


class _SocketWire:
    """The venue's end of one accepted connection.

    Frames written before the upgrade is answered wait for `attach`.
    """

    def __init__(self, server: SimServer) -> None:
        self.session: SimSession | None = None
        self.ended = False
        self.stalled = False
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._flushing = False
        self._then_reset = False

    def attach(self, transport: asyncio.Transport) -> None:
        """Begin to write."""
        self._transport = transport
        if self._server.send_buffer_bytes is not None:
            self._set(socket.SO_SNDBUF, self._server.send_buffer_bytes)
        if self._then_reset:
            self.reset()
        elif self.stalled:
            transport.pause_reading()
        else:
            self._flush()

    # -- Wire -----------------------------------------------------------------------------------

    def send_text(self, text: str) -> None:
        self._send(0x1, text.encode())

    def send_bytes_as_text(self, payload: bytes) -> None:
        self._send(0x1, payload)

    def send_oversized(self, n_bytes: int) -> None:
        self._write(struct.pack("!BBQ", 0x81, 127, n_bytes))

    def ping(self, payload: bytes) -> None:
        self._send(0x9, payload)

    def pong(self, payload: bytes) -> None:
        self._send(0xA, payload)

    def close(self, code: int, reason: str) -> None:
        if self.ended:
            return
        self._send(0x8, struct.pack("!H", code) + reason.encode()[:123])
        self.ended = True
        self._server.loop.call_later(_CLOSE_WAIT_S, self.abort)

    def reset(self) -> None:
        self.ended = True
        transport = self._transport
        if transport is None:
            self._then_reset = True
            return
        self._set(socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def stall(self) -> None:
        self._flush()
        self.stalled = True
        if self._transport is not None:
            self._transport.pause_reading()

    def unstall(self) -> None:
        self.stalled = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # -- the socket -----------------------------------------------------------------------------

    def answer_close(self, code: int | None) -> None:
        """Echo a close frame and end TCP behind it."""
        if not self.ended:
            self._send(0x8, b"" if code is None else struct.pack("!H", code))
            self.ended = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def finish(self) -> None:
        """End TCP behind what has been written; a half-open connection just vanishes."""
        self._flush()
        if self._transport is not None and not self.stalled:
            self._transport.close()
        else:
            self.abort()

    def abort(self) -> None:
        """End TCP at once."""
        self.ended = True
        if self._transport is not None:
            self._transport.abort()

    def _set(self, option: int, value: int | bytes) -> None:
        handle = None if self._transport is None else self._transport.get_extra_info("socket")
        if handle is not None and handle.fileno() >= 0:
            # On a duplicate: the loop's own handle may not offer socket options.
            with socket.socket(fileno=os.dup(handle.fileno())) as duplicate:
                duplicate.setsockopt(socket.SOL_SOCKET, option, value)

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            self._write(bytes((0x80 | opcode, size)) + payload)
        elif size < 1 << 16:
            self._write(struct.pack("!BBH", 0x80 | opcode, 126, size) + payload)
        else:
            self._write(struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload)

    def _write(self, frame: bytes) -> None:
        if self.ended or self.stalled:
            return
        self._out.append(frame)
        if not self._flushing:
            self._flushing = True
            self._server.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        transport = self._transport
        if transport is None or not self._out or self.stalled:
            return
        frames, self._out = self._out, []
        if transport.is_closing():
            return
        transport.write(b"".join(frames))
        if (
            not self.ended
            and self.session is not None
            and transport.get_write_buffer_size() > self._server.write_buffer_max
        ):
            self.session.on_slow(time.time_ns())


class SimServer:
    """Serves one exchange on one port, while the context lasts.

    Attributes:
        exchange: What is served.
        host: Address it listens on.
        port: The port; the real one once it listens.
        write_buffer_max: Bytes that may wait for a slow reader before it is cut off.
        send_buffer_bytes: Size of the kernel's send buffer, or `None` for its own choice.
        loop: The running loop.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        exchange: Exchange,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        write_buffer_max: int = 4 << 20,
        send_buffer_bytes: int | None = None,
    ) -> None:
        """Prepare a server.

        Args:
            exchange: A fresh exchange; the server advances and closes it.
            host: Address to listen on.  Anybody who can reach it can also inject faults.
            port: Port to listen on; 0 takes a free one.
            write_buffer_max: Bytes that may wait for a slow reader before it is cut off.
            send_buffer_bytes: Size of the kernel's send buffer of each connection; `None`
                leaves it to the kernel, which may take megabytes.
        """
        self.exchange = exchange
        self.host = host
        self.port = port
        self.write_buffer_max = write_buffer_max
        self.send_buffer_bytes = send_buffer_bytes
        self._wires: dict[int, _SocketWire] = {}
        self._serial = 0
        self._runner: web.AppRunner | None = None
        self._port: Port | None = None
        self._pump_task: asyncio.Task[None] | None = None

    @property
    def ws_url(self) -> str:
        """Root of WebSocket URLs, without a path."""
        return f"ws://{authority(self.host, self.port)}"

    @property
    def http_url(self) -> str:
        """Root of HTTP URLs, without a path."""
        return f"http://{authority(self.host, self.port)}"

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            PortBusy: The port is taken.
        """
        self.loop = asyncio.get_running_loop()
        app = web.Application(client_max_size=_MESSAGE_MAX)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        try:
            await self._listen()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.exchange.advance(time.time_ns())
        self._pump_task = asyncio.create_task(self._pump())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pump, self._pump_task = self._pump_task, None
        try:
            self.exchange.close(time.time_ns())
        finally:  # an engine that has failed may fail here again
            await self._shut(pump)
        if pump is not None and not pump.cancelled() and (failure := pump.exception()):
            raise failure

    async def _shut(self, pump: asyncio.Task[None] | None) -> None:
        for wire in list(self._wires.values()):
            wire.finish()
        if pump is not None:
            pump.cancel()
            await asyncio.wait((pump,))
        if self._port is not None:
            await self._port.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def sessions(self) -> list[int]:
        """Return the numbers of the open sessions that came through this server.

        Several servers may serve one exchange.
        """
        sessions = [wire.session for wire in self._wires.values() if wire.session is not None]
        return [session.id for session in sessions if session.open]

    async def run(self) -> None:
        """Wait until the server fails, and raise what it failed of; it never ends otherwise."""
        if self._pump_task is None:
            raise RuntimeError("the server does not run")
        await asyncio.shield(self._pump_task)

    # -- time -----------------------------------------------------------------------------------

    async def _pump(self) -> None:
        exchange = self.exchange
        while True:
            now_ns = time.time_ns()
            exchange.advance(now_ns)
            if (now_ns < exchange.outage_until_ns) == (self._port is not None):
                await self._mind_port()
            wait_s = (exchange.next_ns - time.time_ns()) / 1e9
            await asyncio.sleep(min(max(wait_s, _TICK_MIN_S), _TICK_MAX_S))

    async def _mind_port(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            await port.close()
            return
        try:
            await self._listen()
        except PortBusy:  # somebody was quicker; try again at the next tick
            self._port = None

    async def _listen(self) -> None:
        if self._runner is None:
            raise RuntimeError("the server does not run")
        # For aiohttp the server of a runner is what makes protocols, and is typed as less.
        factory: Any = self._runner.server
        try:
            self._port = await Port.open(factory, self.host, self.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortBusy(self.host, self.port) from error
            raise
        self.port = self._port.number

    # -- connections ----------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/_sim/"):
            return await self._control(request)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        return await self._rest(request)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        wire = _SocketWire(self)
        now_ns = time.time_ns()
        try:
            session = self.exchange.connect(wire, request.path_qs, request.remote or "", now_ns)
        except Refused as refusal:
            return self._refuse(request, refusal)
        wire.session = session
        self._serial += 1
        serial = self._serial
        self._wires[serial] = wire
        try:
            peer = web.WebSocketResponse(
                autoping=False, autoclose=False, compress=False, max_msg_size=_MESSAGE_MAX
            )
            try:
                await peer.prepare(request)
            except ConnectionError:  # the peer was gone before our answer
                return web.Response()
            transport = request.transport
            if transport is not None:
                wire.attach(transport)
                await self._read(peer, session, wire)
        finally:
            del self._wires[serial]
            if session.open:
                session.on_lost(time.time_ns())
            if request.transport is not None:
                request.transport.close()
        return peer

    async def _read(
        self, peer: web.WebSocketResponse, session: SimSession, wire: _SocketWire
    ) -> None:
        while True:
            message = await peer.receive()
            now_ns = time.time_ns()
            match message.type:
                case WSMsgType.TEXT:
                    session.on_text(message.data, now_ns)
                case WSMsgType.PING:
                    session.on_ping(bytes(message.data), now_ns)
                case WSMsgType.PONG:
                    session.on_pong(bytes(message.data), now_ns)
                case WSMsgType.CLOSE:
                    code = message.data or None
                    session.on_close(code, message.extra or "", now_ns)
                    wire.answer_close(code)
                    return
                case WSMsgType.BINARY:
                    self.exchange.end(session, now_ns, "binary message", close=(1003, ""))
                case _:
                    return

    @staticmethod
    def _refuse(request: web.Request, refusal: Refused) -> web.Response:
        if not refusal.status and request.transport is not None:
            request.transport.abort()
        headers = dict(_LABEL)
        if refusal.retry_after_s is not None:
            headers["Retry-After"] = str(refusal.retry_after_s)
        return web.Response(status=refusal.status or 503, headers=headers)

    # -- requests -------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.Response:
        try:
            reply = self.exchange.rest(
                request.method,
                request.path,
                dict(request.query),
                request.remote or "",
                time.time_ns(),
            )
        except Refused as refusal:
            return self._refuse(request, refusal)
        if reply.hang:
            await asyncio.Event().wait()  # until the client gives up or the server ends
        return web.Response(
            status=reply.status,
            headers=_LABEL | reply.headers,
            text=reply.body_text,
            content_type="application/json",
        )

    async def _control(self, request: web.Request) -> web.Response:
        # A page in somebody's browser must not be able to break a local simulator.
        named = request.headers.get("Host")
        if "Origin" in request.headers or is_rebound(self.host, named):
            return _json(403, {"error": "control is not for web pages"})
        exchange = self.exchange
        match request.method, request.path:
            case "GET", "/_sim/state":
                return _json(200, exchange.state())
            case "GET", "/_sim/faults":
                return _json(200, [record.as_dict() for record in exchange.faults.records])
            case "POST", "/_sim/fault":
                try:
                    fault = Fault.from_json(await request.read())
                    record = exchange.inject(fault, time.time_ns())
                except FaultInvalid as error:
                    return _json(400, {"error": str(error)})
                return _json(200, record.as_dict())
            case "POST", "/_sim/clear":
                try:
                    wanted = msgspec.json.decode(await request.read(), type=dict[str, int])
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    return _json(400, {"error": str(error)})
                for record in exchange.faults.records:
                    if record.id == wanted.get("id"):
                        exchange.clear(record, time.time_ns())
                        return _json(200, record.as_dict())
                return _json(404, {"error": "there is no such fault"})
            case _:
                return _json(404, {"error": "there is no such control"})


def _json(status: int, body: Any) -> web.Response:
    return web.Response(
        status=status,
        headers=_LABEL,
        body=msgspec.json.encode(body),
        content_type="application/json",
    )
