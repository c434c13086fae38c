"""One connection through the proxy: a client's socket, a server's socket, and two pipes.

It decides nothing.  What arrives goes through the messages of its direction, if it is a WebSocket,
and through its pipe; what comes out is written.  Reading stops while too much waits, so that the
sender feels a slow path as it would feel a real one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gapless.errors import printable
from gapless.proxy.board import FaultRecord, Flow
from gapless.proxy.control import Control
from gapless.proxy.heads import HEAD_BYTES_MAX, HeadInvalid, Request, response, status
from gapless.proxy.messages import Messages
from gapless.proxy.pipe import End, Pipe
from gapless.proxy.sockets import Side

if TYPE_CHECKING:
    from gapless.proxy.faults import Traffic, Way
    from gapless.proxy.server import FaultProxy

__all__ = ["Link"]

# Bytes that may wait in one direction before its sender is made to wait.
BACKLOG_HIGH_BYTES: Final = 1 << 20
BACKLOG_LOW_BYTES: Final = 1 << 18
DIAL_TIMEOUT_S: Final = 10.0
HEAD_TIMEOUT_S: Final = 30.0
CLOSE_WAIT_S: Final = 2.0  # for the client's answer to a close frame of ours
_HEAD_END: Final = b"\r\n\r\n"
_WAYS: Final[tuple[Way, ...]] = ("in", "out")


class Link:
    """A client that has connected, and what becomes of it.

    Attributes:
        flow: Which connection it is; `None` until its request is here.
        client: The socket of the client.
        server: The socket of the server.
    """

    def __init__(self, proxy: FaultProxy) -> None:
        self.flow: Flow | None = None
        self.client = Side(
            lambda data: self._arrived(data, from_client=True),
            lambda how: self._ended(how, from_client=True),
            self.turn,
            self._lost,
        )
        self.server = Side(
            lambda data: self._arrived(data, from_client=False),
            lambda how: self._ended(how, from_client=False),
            self.turn,
            self._lost,
        )
        self._proxy = proxy
        self._board = proxy.board
        self._loop = asyncio.get_running_loop()
        self._head = bytearray()
        self._control: Control | None = None
        self._go_on: Callable[[Flow], None] | None = None  # what a stalled handshake holds up
        self._pipes: dict[Way, Pipe] = {}
        self._messages: dict[Way, Messages] = {}  # of a WebSocket
        self._answer: bytearray | None = None  # the head of the server's answer, while it comes
        self._tunnel = False  # the server has agreed to the WebSocket
        self._dialling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = self._loop.call_later(
            HEAD_TIMEOUT_S, self.client.abort
        )
        self._closing = False  # the proxy has sent the client a close frame
        self._keep_open = False  # and leaves TCP to the client
        self._dead = False
        self._turning = False

    @property
    def gone(self) -> bool:
        """Whether both sockets are closed and none will be opened."""
        return self.client.lost and self.server.idle and self._dialling is None

    # -- what arrives -----------------------------------------------------------------------------

    def _arrived(self, data: bytes, *, from_client: bool) -> None:
        if self._control is not None:
            self._control.feed(data)
            return
        if not self._pipes:
            self._read_head(data)
        elif from_client:
            self._through("out", data)
            if self._closing and not self._keep_open and self._messages["out"].saw_close:
                self._end_closed()
        else:
            self._from_server(data)
        self.turn()

    def _read_head(self, data: bytes) -> None:
        self._head += data
        if self._go_on is not None:
            self.client.pause(len(self._head) > 2 * HEAD_BYTES_MAX)
            return
        if not self._head[:1].isalpha():  # such as the hello of TLS
            words = "this port speaks plain ws:// and http://, without TLS"
            self._proceed("ws", lambda _: self._refuse(400, words))
            return
        end = self._head.find(_HEAD_END)
        if end < 0:
            if len(self._head) > HEAD_BYTES_MAX:
                self._refuse(431, "the head of the request is too long")
            return
        try:
            request = Request.parse(bytes(self._head[:end]))
        except HeadInvalid as error:
            self._refuse(400, str(error))
            return
        if Control.concerns(request):
            self._control = Control(self._proxy, request, self.client)
            self._control.feed(bytes(self._head[end + 4 :]))
            return
        traffic: Traffic = "ws" if request.is_upgrade else "http"
        self._proceed(traffic, lambda flow: self._open(flow, request, end + 4))

    def _proceed(self, traffic: Traffic, go_on: Callable[[Flow], None]) -> None:
        """Go on as soon as no stalled handshake holds this connection."""
        self.flow = self._proxy.number(traffic)
        self._cancel_deadline()
        self._go_on = go_on
        self.on_faults()

    def _open(self, flow: Flow, request: Request, body_at: int) -> None:
        proxy = self._proxy
        for way in _WAYS:
            self._pipes[way] = Pipe(self._board, flow, way)
        if request.is_upgrade:
            self._answer = bytearray()
            for way in _WAYS:
                self._messages[way] = self._new_messages(flow, way)
        now_ns = time.monotonic_ns()
        head = request.towards(proxy.upstream.authority, keep_extensions=proxy.keep_extensions)
        self._pipes["out"].push(head, now_ns)
        rest, self._head = bytes(self._head[body_at:]), bytearray()
        if rest:
            self._through("out", rest)
        self._dialling = self._loop.create_task(self._dial())

    def _new_messages(self, flow: Flow, way: Way) -> Messages:
        other: Way = "in" if way == "out" else "out"
        return Messages(
            self._board,
            flow,
            way,
            answer=lambda frame: self._pipes[other].push(frame, time.monotonic_ns()),
            closed=lambda record: self._closed(record, way),
        )

    async def _dial(self) -> None:
        upstream = self._proxy.upstream
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await self._loop.create_connection(
                    lambda: self.server,
                    upstream.host,
                    upstream.port,
                    ssl=self._proxy.tls,
                    server_hostname=upstream.host if self._proxy.tls else None,
                )
        except (OSError, RuntimeError, UnicodeError) as error:  # uvloop raises the second
            self._dialling = None
            words = printable(str(error)) or "no answer in time"
            self._proxy.trouble(f"the upstream cannot be reached: {words}")
            self._refuse(502, "the upstream cannot be reached")
        else:
            self._dialling = None
            if self._dead:
                self.server.abort()
        self.turn()
        self._lost()

    def _refuse(self, code: int, words: str) -> None:
        answer = response(code, words)
        pipe = self._pipes.get("in")
        if pipe is None:
            self.client.write(answer)
            self.client.close()
            return
        now_ns = time.monotonic_ns()
        pipe.push(answer, now_ns)
        pipe.end(End.FIN, now_ns)

    def _from_server(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self._through("in", data)
            return
        before = len(answer)
        answer += data
        end = answer.find(_HEAD_END)
        if end < 0 and len(answer) <= HEAD_BYTES_MAX:
            self._pipes["in"].push(data, time.monotonic_ns())
            return
        self._answer = None
        if end < 0 or status(bytes(answer)) != 101:
            self._messages = {}
            self._through("in", data)
            return
        cut = end + 4 - before
        self._pipes["in"].push(data[:cut], time.monotonic_ns())
        self._tunnel = True
        self._through("in", data[cut:])
        self.on_faults()

    def _through(self, way: Way, data: bytes) -> None:
        """Pass bytes on to their pipe, through the messages of a WebSocket."""
        now_ns = time.monotonic_ns()
        messages = self._messages.get(way)
        self._pipes[way].push(data if messages is None else messages.feed(data, now_ns), now_ns)

    def _ended(self, how: End, *, from_client: bool) -> None:
        if not self._pipes:
            if from_client:
                self.client.close()
            return
        if self._closing:  # the server was left on purpose; the client has had enough
            if from_client:
                self.client.close()
            return
        way: Way = "out" if from_client else "in"
        now_ns = time.monotonic_ns()
        if way in self._messages and how is End.FIN:
            self._pipes[way].push(self._messages[way].finish(), now_ns)
        self._pipes[way].end(how, now_ns)
        self.turn()

    def _lost(self) -> None:
        if self.gone:
            self._cancel_deadline()
            if self._timer is not None:
                self._timer.cancel()
            self._proxy.forget(self)

    # -- what goes out ----------------------------------------------------------------------------

    def turn(self) -> None:
        """Write what is due, and see to it that the rest will be."""
        if self._turning or not self._pipes:
            return
        self._turning = True
        now_ns = time.monotonic_ns()
        for way, messages in self._messages.items():
            if self._tunnel:
                self._pipes[way].push(messages.due(now_ns), now_ns)
        for way, pipe in self._pipes.items():
            source, sink = self._sides(way)
            self._deliver(pipe, source, sink, now_ns)
            if pipe.backlog_bytes > BACKLOG_HIGH_BYTES:
                source.pause(True)
            elif pipe.backlog_bytes < BACKLOG_LOW_BYTES:
                source.pause(False)
        self._turning = False
        self._arm(now_ns)

    def _sides(self, way: Way) -> tuple[Side, Side]:
        return (self.server, self.client) if way == "in" else (self.client, self.server)

    def _deliver(self, pipe: Pipe, source: Side, sink: Side, now_ns: int) -> None:
        if not sink.begun:
            return
        while not sink.blocked and (item := pipe.pull(now_ns)) is not None:
            if isinstance(item, bytes):
                sink.write(item)
            elif item is End.RESET:
                self.reset()
                return
            elif source.idle:
                sink.close()
            else:
                sink.write_eof()

    def _arm(self, now_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        edges = [m.next_ns for m in self._messages.values() if self._tunnel]
        edges += [p.next_ns for way, p in self._pipes.items() if self._sides(way)[1].flowing]
        next_ns = min((edge for edge in edges if edge is not None), default=None)
        if next_ns is not None and not self._dead:
            wait_s = max(0, next_ns - now_ns) / 1e9
            self._timer = self._loop.call_later(wait_s, self.turn)

    # -- faults -----------------------------------------------------------------------------------

    def on_faults(self, *, sweep: bool = True) -> None:
        """Take in that other faults are in force, or that more can strike here.

        Args:
            sweep: Retire what strikes at once, if it has struck here.
        """
        flow = self.flow
        if flow is None or self._dead:
            return
        records = self._board.active(flow)
        if self._go_on is not None and not self._stalled(records, flow):
            go_on, self._go_on = self._go_on, None
            self.client.pause(False)
            go_on(flow)
        if self._pipes:
            for record in records:
                self._strike(record, flow)
            if sweep:
                self._board.sweep()
            self.turn()

    def _stalled(self, records: list[FaultRecord], flow: Flow) -> bool:
        for record in records:
            if record.fault.name == "stalled_handshake":
                new = flow not in record.flows
                if self._board.take(record, flow):
                    if new:
                        now_ns = time.monotonic_ns()
                        self._board.note(record, flow, None, "holds the request", now_ns)
                    return True
        return False

    def _strike(self, record: FaultRecord, flow: Flow) -> None:
        kind = record.fault.kind
        if kind.hits != "once" or flow in record.flows or not (kind.tcp or self._tunnel):
            return
        if not self._board.take(record, flow):
            return
        if kind.tcp:
            self._board.note(record, flow, None, "reset", time.monotonic_ns())
            self.reset()
            return
        for way in _WAYS:
            if record.fault.strikes(way):
                self._messages[way].inject(record)

    def _closed(self, record: FaultRecord, way: Way) -> None:
        """Leave the server, once the client has been sent a close frame in its name."""
        if way == "out":
            return
        self._closing = True
        self._keep_open = record.fault.get("keep_open")
        self.server.abort()
        if not self._keep_open:
            self._deadline = self._loop.call_later(CLOSE_WAIT_S, self._end_closed)

    def _end_closed(self) -> None:
        self._pipes["in"].end(End.FIN, time.monotonic_ns())
        self._cancel_deadline()
        self.turn()

    def reset(self) -> None:
        """End both sockets with a reset, whatever waits for them."""
        self._dead = True
        self._cancel_deadline()
        self.client.reset()
        self.server.reset()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    async def end(self) -> None:
        """Close everything and wait for it; for the end of the proxy."""
        self._dead = True
        self._cancel_deadline()
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait((self._dialling,))
            self._dialling = None
        self.client.abort()
        self.server.abort()
        await self.client.wait_lost()
        await self.server.wait_lost()
        self._lost()
