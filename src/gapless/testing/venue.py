"""A simulated venue on an in-memory network, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from gapless.errors import DialFailed, RateLimited, RequestRejected
from gapless.io.clock import Clock
from gapless.io.transport import DialOptions
from gapless.sim.exchange import Exchange
from gapless.sim.session import Refused, SimSession
from gapless.testing.memory import Link, MemoryNetwork, Refuse, ServerPeer, Wire
from gapless.testing.weather import Weather
from gapless.venues._profile import Rest, RestGet

__all__ = ["REST_WAY", "MemoryVenue"]

PEER = "127.0.0.1"
REST_TIMEOUT_S = 10.0
REST_WAY = "rest"
"""Name of the way that REST reads take through the network."""

IDLE_NS = 100_000_000  # how often an exchange is looked at when it has nothing to do


class MemoryVenue:
    """Connects an `Exchange` to a `MemoryNetwork`, and answers REST reads from it.

    Args:
        exchange: The venue.
        network: Where it is reached.
        address: ``host:port`` under which it listens.
        clock: The time; the exchange lives by its wall clock.
    """

    def __init__(
        self, exchange: Exchange, network: MemoryNetwork, address: str, clock: Clock
    ) -> None:
        self.exchange = exchange
        self.address = address
        self._network = network
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self.listen(address)
        self.pump()

    @property
    def ws_url(self) -> str:
        return f"ws://{self.address}"

    @property
    def http_url(self) -> str:
        return f"http://{self.address}"

    def listen(self, address: str) -> None:
        """Be reached under one more address."""
        self._network.listen(address, self._accept)

    def sessions_on(self, way: str) -> list[int]:
        """Return the numbers of the open sessions whose connections take the way of that name."""
        weather = self._network.way(way)
        return [
            session.id
            for session in self.exchange.sessions.values()
            if isinstance(session.wire, _SimWire) and session.wire.takes(weather)
        ]

    def pump(self) -> None:
        """Let the exchange do what is due, and come back when it has more to do."""
        now_ns = self._clock.wall_ns()
        self.exchange.advance(now_ns)
        wait_ns = min(IDLE_NS, max(1000, self.exchange.next_ns - now_ns))
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_later(wait_ns / 1e9, self.pump)

    def close(self) -> None:
        """Stop the venue."""
        if self._alarm is not None:
            self._alarm.cancel()
        self.exchange.close(self._clock.wall_ns())

    def rest(self, options: DialOptions) -> MemoryRest:
        """Return a client for REST reads of this venue."""
        del options
        return MemoryRest(self)

    def _accept(self, wire: Wire, path: str, headers: Mapping[str, str]) -> ServerPeer:
        del headers
        now_ns = self._clock.wall_ns()
        try:
            session = self.exchange.connect(_SimWire(wire), path, PEER, now_ns)
        except Refused as refusal:
            if refusal.status == 0:
                raise ConnectionRefusedError("connection refused") from refusal
            raise Refuse(refusal.status, refusal.retry_after_s) from refusal
        self.pump()
        return _Peer(self, session, self._clock)

    async def answer(self, request: RestGet) -> tuple[int, Mapping[str, str], bytes]:
        """Answer a REST read after a round trip.

        Raises:
            ConnectionRefusedError: There is an outage.
            TimeoutError: The reply never came.
        """
        weather = self._network.way(REST_WAY)
        async with asyncio.timeout(REST_TIMEOUT_S):
            await self._network.cross(weather)
        query = dict(parse_qsl(urlencode(request.query)))
        try:
            reply = self.exchange.rest("GET", request.path, query, PEER, self._clock.wall_ns())
        except Refused as refusal:
            raise ConnectionRefusedError("connection refused") from refusal
        if reply.hang:
            async with asyncio.timeout(REST_TIMEOUT_S):
                await self._loop.create_future()
        async with asyncio.timeout(REST_TIMEOUT_S):
            await self._network.cross(weather)
        return reply.status, reply.headers, reply.body_text.encode()


class MemoryRest:
    """REST reads of a `MemoryVenue`; see `gapless.io.snapshots.RestClient`."""

    def __init__(self, venue: MemoryVenue) -> None:
        self._venue = venue

    async def get(self, base: str, request: RestGet, rest: Rest) -> bytes:
        """Read once."""
        try:
            status, headers, body = await self._venue.answer(request)
        except (OSError, TimeoutError) as error:
            raise DialFailed("rest", base, str(error) or type(error).__name__) from error
        if status == 200:
            return body
        if status in {403, 418, 429}:
            wait = headers.get("Retry-After")
            raise RateLimited(status, None if wait is None else int(wait) * 1_000_000_000)
        if 400 <= status < 500 and (fault := rest.read_error(body)) is not None:
            raise RequestRejected(*fault)
        raise DialFailed("rest", base, f"HTTP status {status}", status)

    async def close(self) -> None:
        """Do nothing: there is no connection."""


class _SimWire:
    """A wire of the network, as the exchange wants it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.send_text = wire.send_text
        self.ping = wire.ping
        self.pong = wire.pong
        self.close = wire.close
        self.reset = wire.reset
        self.stall = wire.stall
        self.unstall = wire.unstall

    def takes(self, weather: Weather) -> bool:
        """Return whether the connection takes this way."""
        return isinstance(self._wire, Link) and self._wire.weather is weather

    def send_bytes_as_text(self, payload: bytes) -> None:
        del payload
        self._wire.violate("not valid UTF-8", 1007)

    def send_oversized(self, n_bytes: int) -> None:
        self._wire.violate(f"a frame of {n_bytes} bytes", 1009)


class _Peer:
    """A session of the exchange, as the network wants it."""

    def __init__(self, venue: MemoryVenue, session: SimSession, clock: Clock) -> None:
        self._venue = venue
        self._session = session
        self._clock = clock

    def on_text(self, text: str) -> None:
        self._session.on_text(text, self._clock.wall_ns())
        self._venue.pump()

    def on_ping(self, payload: bytes) -> None:
        self._session.on_ping(payload, self._clock.wall_ns())

    def on_pong(self, payload: bytes) -> None:
        self._session.on_pong(payload, self._clock.wall_ns())

    def on_close(self, code: int | None, reason: str) -> None:
        self._session.on_close(code, reason, self._clock.wall_ns())

    def on_lost(self) -> None:
        self._session.on_lost(self._clock.wall_ns())
