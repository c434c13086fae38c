"""A capture of ours, served word for word, for venues that the simulator does not speak.

Each connection gets what a recorded one got, with its own timing: the nth connection to a path the
nth that was recorded there, and the first again after the last.  Nothing is understood, so nothing
is adapted: a client that asks as the recorded one did gets the recorded answers, and they wait a
little for its questions.  Requests are answered from those recorded.
"""

from __future__ import annotations

import asyncio
import errno
import re
import time
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import WSMsgType, web

from gapless.capture.script import Answers, Connection, Script
from gapless.listening import Port, authority
from gapless.sim.server import PortBusy

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ReplayServer"]

SECOND_NS: Final = 1_000_000_000
PATIENCE_NS: Final = 2 * SECOND_NS
_MESSAGE_MAX: Final = 1 << 20
_LABEL: Final = {"X-Simulated": "true"}
_CLOSED: Final = re.compile(r"ConnectionLost: closed with (\d{4})(?: (.*))?", re.S)
_PLANNED: Final = "planned"


class ReplayServer:
    """Serves one capture on one port, while the context lasts.

    Args:
        venue: Whose traffic it is; for people.
        script: The capture.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        speed: How many recorded seconds pass in one.

    Attributes:
        port: The port; the real one once it listens.
        connections: How many clients have connected.
    """

    def __init__(
        self,
        venue: str,
        script: Script,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        speed: float = 1.0,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be positive, not {speed}")
        self.venue = venue
        self.script = script
        self.host = host
        self.port = port
        self.connections = 0
        self._speed = speed
        self._count_by_path: dict[str, int] = {}
        self._answers = script.answers
        self._start_ns = time.monotonic_ns()
        self._runner: web.AppRunner | None = None
        self._listening: Port | None = None

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
        app = web.Application(client_max_size=_MESSAGE_MAX)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        # For aiohttp the server of a runner is what makes protocols, and is typed as less.
        factory: Any = runner.server
        try:
            self._listening = await Port.open(factory, self.host, self.port)
        except BaseException as error:
            await runner.cleanup()
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise PortBusy(self.host, self.port) from error
            raise
        self._runner = runner
        self.port = self._listening.number
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._listening is not None:
            await self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # -- requests -------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        text = await request.text() if request.method == "POST" else None
        at_ns = int((time.monotonic_ns() - self._start_ns) * self._speed)
        answer = self._answers.find(request.path, dict(request.query), text, at_ns)
        if answer is None:
            return web.Response(status=404, headers=_LABEL, text="not in this capture")
        return web.Response(
            status=answer.status,
            headers=_LABEL,
            text=answer.body,
            content_type="application/json",
        )

    # -- connections ----------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        recorded = self._choose(request.path)
        if recorded is None:
            return web.Response(status=404, headers=_LABEL, text="not in this capture")
        peer = web.WebSocketResponse(max_msg_size=_MESSAGE_MAX, compress=False)
        await peer.prepare(request)
        heard = _Heard()
        play = asyncio.create_task(self._play(peer, request, recorded, heard))
        try:
            async for message in peer:
                if message.type is WSMsgType.TEXT:
                    heard.one()
        finally:
            play.cancel()
            await asyncio.wait((play,))
        return peer

    def _choose(self, path: str) -> Connection | None:
        """Return the recorded connection that the next client of ``path`` gets."""
        every = self.script.connections
        alike = [one for one in every if one.path == path] or [one for one in every if not one.path]
        if not alike:
            return None
        count = self._count_by_path.get(path, 0)
        self._count_by_path[path] = count + 1
        self.connections += 1
        chosen = alike[count % len(alike)]
        if chosen is alike[0]:
            self._answers = Answers(self.script.answers.all)  # from the start
        self._start_ns = time.monotonic_ns() - int(chosen.at_ns / self._speed)
        return chosen

    async def _play(
        self,
        peer: web.WebSocketResponse,
        request: web.Request,
        recorded: Connection,
        heard: _Heard,
    ) -> None:
        start_ns = time.monotonic_ns()
        expected = 0

        async def wait_until(at_ns: int) -> None:
            due_ns = start_ns + int((at_ns - recorded.at_ns) / self._speed)
            if (wait_ns := due_ns - time.monotonic_ns()) > 0:
                await asyncio.sleep(wait_ns / SECOND_NS)

        try:
            for line in recorded.lines:
                if not line.inbound:
                    expected += 1
                    continue
                await wait_until(line.at_ns)
                await heard.wait_for(expected)
                await peer.send_str(line.text)
            if recorded.ended_ns is not None and recorded.reason != _PLANNED:
                await wait_until(recorded.ended_ns)
                match = _CLOSED.fullmatch(recorded.reason)
                if match is not None:
                    await peer.close(code=int(match[1]), message=(match[2] or "").encode()[:123])
                elif request.transport is not None:
                    request.transport.abort()
        except ConnectionResetError:  # the client has left
            pass


class _Heard:
    """Counts what the client said."""

    def __init__(self) -> None:
        self._count = 0
        self._bell = asyncio.Event()

    def one(self) -> None:
        self._count += 1
        self._bell.set()

    async def wait_for(self, count: int) -> None:
        """Return once the client has said so much, or has had long enough."""
        try:
            async with asyncio.timeout(PATIENCE_NS / SECOND_NS):
                while self._count < count:
                    self._bell.clear()
                    await self._bell.wait()
        except TimeoutError:
            self._count = count
