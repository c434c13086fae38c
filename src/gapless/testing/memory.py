"""A network in memory that keeps the contract of `gapless.io.transport`.

Everything that takes time takes it from timers of the running loop, so that under
`gapless.testing.clock.VirtualLoop` a day of traffic runs in moments and always in the same order.
Within one connection nothing is ever reordered or lost, as TCP promises; what a connection can do
is fall silent, break, or never come about.  What befalls it on the way is the business of a
`gapless.testing.weather.Weather`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

from gapless.errors import (
    ConnectionLost,
    DialFailed,
    ProtocolViolation,
    RateLimited,
    UsageError,
)
from gapless.io.clock import Clock
from gapless.io.dial import Stages, Target, check_headers, dialling, parse_target
from gapless.io.framing import CONTROL_BYTES_MAX, is_close_code
from gapless.io.transport import DialOptions, DialTimings, Receiver, Transport
from gapless.testing.weather import Weather

__all__ = ["Accept", "Link", "MemoryConnector", "MemoryNetwork", "Refuse", "ServerPeer", "Wire"]

SECOND_NS: Final = 1_000_000_000
CLOSE_S: Final = 1.0
LATENCY_NS: Final = 500_000
_LIMITED: Final = frozenset({403, 418, 429, 503})


class Refuse(Exception):
    """Raised by an `Accept` to refuse the upgrade.

    Args:
        status: HTTP status of the answer.
        retry_after_s: What the answer's ``Retry-After`` says, or `None` for no such header.
    """

    def __init__(self, status: int, retry_after_s: int | None = None) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(f"HTTP status {status}")


class Wire(Protocol):
    """One connection, seen from the server."""

    def send_text(self, text: str) -> None: ...

    def send_binary(self, payload: bytes) -> None: ...

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping; the client's transport answers it on its own."""

    def pong(self, payload: bytes = b"") -> None: ...

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame; after the client's answer the connection ends."""

    def violate(self, detail: str, close_code: int = 1002) -> None:
        """Break the protocol, so that the client fails the connection with ``close_code``."""

    def reset(self) -> None:
        """End the connection without a close frame."""

    def linger(self) -> None:
        """From now on answer no close frame and end no connection, as some servers do."""

    def stall(self) -> None:
        """Go half open: nothing passes in either direction, and nothing errors."""

    def unstall(self) -> None:
        """Let everything pass again, and what was held first."""


class ServerPeer(Protocol):
    """What a server hears of one connection."""

    def on_text(self, text: str) -> None: ...

    def on_ping(self, payload: bytes) -> None:
        """Hear a ping.  Answering it is up to the server."""

    def on_pong(self, payload: bytes) -> None: ...

    def on_close(self, code: int | None, reason: str) -> None:
        """Hear the client's close frame, which is answered already but for `Wire.linger`."""

    def on_lost(self) -> None:
        """Hear that the connection is gone, however it ended; exactly once, and last."""


Accept = Callable[[Wire, str, Mapping[str, str]], ServerPeer]
"""Takes a connection, the request target (path and query) and the extra headers."""


class MemoryNetwork:
    """Servers in memory, and the ways to them.

    Args:
        clock: Stamps what arrives, and measures dials.
        latency_ns: Time from one side to the other.
        jitter_ns: Most that chance adds to it, anew for every frame.
        seed: Makes the chance repeatable.

    Attributes:
        weather: What befalls connections that take no way of their own; see `way`.
    """

    def __init__(
        self, clock: Clock, *, latency_ns: int = LATENCY_NS, jitter_ns: int = 0, seed: int = 0
    ) -> None:
        self.clock = clock
        self.weather = Weather(latency_ns, jitter_ns, seed)
        self._seed = seed
        self._ways: dict[str, Weather] = {}
        self._accepts: dict[tuple[str, int], Accept] = {}
        self._links: list[Link] = []
        self._down = False
        self._blackhole = False

    @property
    def wires(self) -> list[Wire]:
        """The open connections, oldest first."""
        return list(self._links)

    def listen(self, address: str, accept: Accept) -> None:
        """Serve at ``address``, which is a WebSocket URL or ``host:port``.

        A second call for the same address replaces the first.
        """
        target = parse_target(address if "://" in address else f"ws://{address}")
        self._accepts[target.host, target.port] = accept

    def down(self) -> None:
        """Refuse dials from now on; open connections live on."""
        self._down = True

    def up(self) -> None:
        """Take back `down`."""
        self._down = False

    def blackhole(self, on: bool) -> None:
        """Swallow what dials send, so that they hang; open connections live on."""
        self._blackhole = on

    def way(self, name: str) -> Weather:
        """Return the weather on the way of that name, which begins like everywhere else."""
        if name not in self._ways:
            usual = self.weather
            seed = f"{self._seed}/{name}"
            self._ways[name] = Weather(usual.latency_ns, usual.jitter_ns, seed)
        return self._ways[name]

    def links_on(self, weather: Weather) -> list[Link]:
        """Return the open connections that take this way, oldest first."""
        return [link for link in self._links if link.weather is weather]

    async def cross(self, weather: Weather | None = None) -> None:
        """Take one way of a dial.

        Raises:
            ConnectionRefusedError: The network is down.
        """
        weather = self.weather if weather is None else weather
        if self._blackhole:
            await asyncio.get_running_loop().create_future()
        await weather.passable()
        await asyncio.sleep(weather.delay_ns() / SECOND_NS)
        if self._down:
            raise ConnectionRefusedError("connection refused")

    def accept_at(self, target: Target) -> Accept:
        """Return who serves ``target``.

        Raises:
            ConnectionRefusedError: Nobody does.
        """
        accept = self._accepts.get((target.host, target.port))
        if accept is None:
            raise ConnectionRefusedError("connection refused")
        return accept

    def join(self, link: Link) -> None:
        """Count ``link`` among the open connections."""
        self._links.append(link)

    def leave(self, link: Link) -> None:
        """Count ``link`` no longer; it may be gone already."""
        if link in self._links:
            self._links.remove(link)


class MemoryConnector:
    """Opens transports through a `MemoryNetwork`.

    A dial takes one round trip for TCP, one for TLS under ``wss``, and one for the upgrade.

    Args:
        network: Which.
        way_of: Names the way that the connection of a receiver takes; by default all take one.
    """

    def __init__(
        self, network: MemoryNetwork, way_of: Callable[[Receiver], str] | None = None
    ) -> None:
        self._network = network
        self._way_of = way_of

    async def __call__(self, url: str, receiver: Receiver, options: DialOptions) -> Transport:
        """Open a WebSocket to ``url``; see `gapless.io.transport.Connector`."""
        target = parse_target(url)
        check_headers(options.headers)
        stages = Stages(self._network.clock, "tcp")
        network, way_of = self._network, self._way_of
        weather = network.weather if way_of is None else network.way(way_of(receiver))
        link = Link(network, receiver, weather)
        try:
            async with dialling(target.endpoint, stages, options.timeout_ns):
                await self._dial(target, options, stages, link)
        except BaseException:
            link.client_gone()
            raise
        link.transport.timings = stages.timings(target.host, tls=target.secure)
        asyncio.get_running_loop().call_soon(link.to_client.open)
        return link.transport

    async def _dial(self, target: Target, options: DialOptions, stages: Stages, link: Link) -> None:
        async def cross() -> None:
            await self._network.cross(link.weather)

        await cross()
        accept = self._network.accept_at(target)
        await cross()
        if target.secure:
            stages.enter("tls")
            await cross()
            await cross()
        stages.enter("upgrade")
        await cross()
        parts = urlsplit(target.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            link.serve(accept(link, path, options.headers))
        except Refuse as refusal:
            await cross()
            raise _refused(refusal, target.endpoint) from refusal
        await cross()
        stages.enter("open")


def _refused(refusal: Refuse, endpoint: str) -> DialFailed | RateLimited:
    if refusal.status not in _LIMITED:
        return DialFailed("upgrade", endpoint, str(refusal), refusal.status)
    after_s = refusal.retry_after_s
    return RateLimited(refusal.status, None if after_s is None else after_s * SECOND_NS)


class _Pipe:
    """One direction of a connection: first in, first out, each after its time.

    Closed at first, so that nothing arrives before the connection stands.
    """

    def __init__(self, network: MemoryNetwork, weather: Weather) -> None:
        self._network = network
        self._weather = weather
        self._loop = asyncio.get_running_loop()
        self._items: deque[tuple[int, Callable[[], None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._last_ns = 0
        self._blocks = 1

    def put(self, item: Callable[[], None]) -> None:
        """Have ``item`` called on the other side."""
        due_ns = self._network.clock.mono_ns() + self._weather.delay_ns()
        self._last_ns = max(due_ns, self._last_ns)
        self._items.append((self._last_ns, item))
        self._arm()

    def clear(self) -> None:
        """Lose what is under way."""
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def block(self) -> None:
        """Let nothing out until as many calls of `open`."""
        self._blocks += 1

    def open(self) -> None:
        """Take back one `block`."""
        self._blocks -= 1
        self._arm()

    def _arm(self) -> None:
        if self._timer is None and self._items and not self._blocks:
            wait_ns = self._items[0][0] - self._network.clock.mono_ns()
            self._timer = self._loop.call_later(max(0, wait_ns) / SECOND_NS, self._fire)

    def _fire(self) -> None:
        # One item per turn: whoever hears it may block the rest.
        self._timer = None
        try:
            if self._items and not self._blocks:
                self._items.popleft()[1]()
        finally:
            self._arm()


class Link:
    """One connection: the `Wire` that the server holds, and the way to the client's transport.

    Attributes:
        weather: What befalls it on the way.
    """

    def __init__(self, network: MemoryNetwork, receiver: Receiver, weather: Weather) -> None:
        self.weather = weather
        self._network = network
        self._peer: ServerPeer | None = None
        self._stalled = False
        self._lingers = False
        self._close_sent = False
        self._over = False
        self.to_client = _Pipe(network, weather)
        self.to_server = _Pipe(network, weather)
        self.transport = _MemoryTransport(self, receiver, network.clock)

    def serve(self, peer: ServerPeer) -> None:
        """Begin: ``peer`` hears what the client sends."""
        self._peer = peer
        self._network.join(self)
        self.weather.befall(self.to_client, self.to_server)
        self.to_server.open()

    # -- the server's side: a Wire ----------------------------------------------------------

    def send_text(self, text: str) -> None:
        self._send(lambda: self.transport.hear_text(text))

    def send_binary(self, payload: bytes) -> None:
        self._send(lambda: self.transport.hear_binary(payload))

    def ping(self, payload: bytes = b"") -> None:
        self._send(lambda: self.transport.hear_ping(payload))

    def pong(self, payload: bytes = b"") -> None:
        self._send(lambda: self.transport.hear_pong(payload))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        self._send(lambda: self.transport.hear_close(code, reason))
        self._close_sent = True

    def violate(self, detail: str, close_code: int = 1002) -> None:
        self._send(lambda: self.transport.hear_violation(detail, close_code))

    def reset(self) -> None:
        if not self._over:
            self.to_client.put(self.transport.hear_end)
            self._lose()

    def crash(self) -> None:
        """Break the connection on the way: both sides learn it, and what is under way is lost."""
        self.to_client.clear()
        self.to_server.clear()
        self.to_client.put(self.transport.hear_end)
        self.to_server.put(self._lose)

    def linger(self) -> None:
        self._lingers = True

    def stall(self) -> None:
        if not self._stalled:
            self._stalled = True
            self.to_client.block()
            self.to_server.block()

    def unstall(self) -> None:
        if self._stalled:
            self._stalled = False
            self.to_client.open()
            self.to_server.open()

    def _send(self, item: Callable[[], None]) -> None:
        if not (self._close_sent or self._over):
            self.to_client.put(item)

    # -- what the client sends --------------------------------------------------------------

    def tell(self, item: Callable[[ServerPeer], None]) -> None:
        """Have ``item`` called with the server's peer."""

        def arrive() -> None:
            if self._peer is not None and not self._over:
                item(self._peer)

        self.to_server.put(arrive)

    def tell_close(self, code: int | None, reason: str) -> None:
        """Send the client's close frame; the server answers and ends the connection."""

        def arrive(peer: ServerPeer) -> None:
            if self._lingers:
                peer.on_close(code, reason)
                return
            if not self._close_sent:
                self.close(code)
            self.to_client.put(self.transport.hear_end)
            try:
                peer.on_close(code, reason)
            finally:
                self._lose()

        self.tell(arrive)

    def client_gone(self) -> None:
        """End the connection from the client's side, without a close frame."""
        self.to_server.put(self._lose)

    def _lose(self) -> None:
        if self._over:
            return
        self._over = True
        self._network.leave(self)
        self.weather.leave(self.to_client, self.to_server)
        if self._peer is not None:
            self._peer.on_lost()


class _MemoryTransport:
    """The client's side: a `gapless.io.transport.Transport`."""

    timings: DialTimings

    def __init__(self, link: Link, receiver: Receiver, clock: Clock) -> None:
        self._link = link
        self._receiver = receiver
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._cause: Exception | None = None
        self._ended = False  # no further frame counts
        self._close_sent = False
        self._paused = False
        self._closed = False
        self._deadline: asyncio.TimerHandle | None = None

    # -- what the owner calls ---------------------------------------------------------------

    def send_text(self, text: str) -> None:
        if self._may_send():
            self._link.tell(lambda peer: peer.on_text(text))

    def ping(self, payload: bytes = b"") -> None:
        if len(payload) > CONTROL_BYTES_MAX:
            raise UsageError(f"a ping carries at most {CONTROL_BYTES_MAX} bytes")
        if self._may_send():
            self._link.tell(lambda peer: peer.on_ping(payload))

    def close(self, code: int = 1000, reason: str = "") -> None:
        if not is_close_code(code):
            raise UsageError(f"{code} is no close code to send")
        if self._may_send():
            self._send_close(code, reason)

    def abort(self) -> None:
        if self._closed:
            return
        self._ended = True
        self._link.client_gone()
        self._loop.call_soon(self._finish)

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._link.to_client.block()

    def tcp_info(self) -> None:
        return None  # there is no kernel in between

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._link.to_client.open()

    # -- what the server's side calls -------------------------------------------------------

    def hear_text(self, text: str) -> None:
        """Take a text message."""
        self._tell(lambda now_ns: self._receiver.on_text(text, now_ns))

    def hear_binary(self, payload: bytes) -> None:
        """Take a binary message."""
        self._tell(lambda now_ns: self._receiver.on_binary(payload, now_ns))

    def hear_ping(self, payload: bytes) -> None:
        """Take a ping, and answer it."""
        if self._may_send():
            self._link.tell(lambda peer: peer.on_pong(payload))
        self._tell(self._receiver.on_ping)

    def hear_pong(self, payload: bytes) -> None:
        """Take a pong."""
        self._tell(lambda now_ns: self._receiver.on_pong(payload, now_ns))

    def hear_close(self, code: int | None, reason: str) -> None:
        """Take a close frame, and answer it; the end follows."""
        if self._ended:
            return
        self._ended = True
        self._cause = ConnectionLost(code, reason)
        if not self._close_sent:
            self._send_close(code, "")

    def hear_violation(self, detail: str, close_code: int) -> None:
        """Take something that breaks the protocol, and fail the connection."""
        if self._ended:
            return
        self._ended = True
        self._cause = ProtocolViolation(detail, close_code)
        if not self._close_sent:
            self._send_close(close_code, detail)

    def hear_end(self) -> None:
        """Take the end of the connection."""
        self._ended = True
        self._finish()

    # -- small parts ------------------------------------------------------------------------

    def _may_send(self) -> bool:
        return not (self._ended or self._close_sent)

    def _send_close(self, code: int | None, reason: str) -> None:
        self._close_sent = True
        self._link.tell_close(code, reason)
        self._deadline = self._loop.call_later(CLOSE_S, self.abort)

    def _tell(self, method: Callable[[int], None]) -> None:
        if self._ended:
            return
        try:
            method(self._clock.mono_ns())
        except Exception as exc:  # the contract: whatever it is, on_closed gets it
            self._cause = exc
            self.abort()

    def _finish(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._receiver.on_closed(self._cause or ConnectionLost())
