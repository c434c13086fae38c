"""One visit: dial one address, subscribe to one topic, ping, and look.

What a venue counts is paid: the dial by whoever asks for the visit, requests from the venue's
pools, and pings from the limit of messages on a connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, cast

from gapless.core.budget import Budget, Window
from gapless.core.codec import Ack, Bundle, Codec, Denied, Granted, Heartbeat, Refusal, Request
from gapless.errors import DialFailed, GaplessError, ProtocolViolation, RateLimited, printable
from gapless.events import Event, Origin
from gapless.io.clock import Clock
from gapless.io.tcpinfo import tcp_info
from gapless.io.transport import Connector, DialOptions, Transport
from gapless.probing.measures import Tls, Visit
from gapless.venues._profile import Profile

__all__ = ["Ask", "Visitor"]

PINGS: Final = 20
PING_GAP_S: Final = 0.02
PING_FOR_NS: Final = 4_000_000_000
PACE: Final = 1.25  # times the venue's own: frames arrive less evenly than they are sent
PONG_WITHIN_S: Final = 2.0
DATA_WITHIN_S: Final = 5.0
DAY_S: Final = 86_400
SECOND_NS: Final = 1_000_000_000
WAIT_NS_MAX: Final = 2 * SECOND_NS  # a probe that waits for a budget measures the budget


class _Open(Protocol):
    """A transport that shows the connection below it."""

    def below(self, name: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What a visit does.

    Attributes:
        url: URL to dial.
        endpoint: What to call it.
        address: Which of its addresses, or empty to let the dial resolve the host.
        channel, symbol: What to subscribe to; empty for nothing.
        dial: How to dial.
    """

    url: str
    endpoint: str
    address: str
    channel: str
    symbol: str
    dial: DialOptions


class Visitor:
    """Makes one visit, and stays until `leave`.

    Args:
        profile: The venue.
        pools: Its request budgets.
        clock: The time.
        connector: Opens transports.
        ask: What to do.

    Attributes:
        visit: What was measured so far.
    """

    def __init__(
        self,
        profile: Profile,
        pools: Mapping[str, Budget],
        clock: Clock,
        connector: Connector,
        ask: Ask,
    ) -> None:
        self.visit = Visit(endpoint=ask.endpoint, address=ask.address)
        self._pools = pools
        self._messages = Budget(*profile.messages.value)
        windows = [limit for limit in profile.messages.value if isinstance(limit, Window)]
        paces = [PACE * window.per_ns / window.count / 1e9 for window in windows]
        self._gap_s = max([PING_GAP_S, *paces])
        self._clock = clock
        self._connector = connector
        self._ask = ask
        origins: dict[str, Origin] = {}
        if ask.symbol:
            spec = profile.topic(ask.channel, ask.symbol)
            origins[spec.topic] = Origin(
                spec.venue, spec.channel, spec.symbol, spec.topic, "probe", 1
            )
        self._topics = tuple(origins)
        self._codec: Codec = profile.codec(origins)
        self._transport: Transport | None = None
        self._opened_ns = 0
        self._asked_ns = 0
        self._pinged_ns: dict[bytes, int] = {}
        self._news = asyncio.Event()
        self._leaving = False
        self._over = False

    # -- what the shell calls ---------------------------------------------------------------

    async def arrive(self) -> None:
        """Dial; what fails is noted and not raised."""
        visit, ask = self.visit, self._ask
        options = replace(
            ask.dial,
            addresses=(ask.address,) if ask.address else (),
            connected=self._connected,
        )
        try:
            transport = await self._connector(ask.url, self, options)
        except RateLimited as error:
            visit.stage, visit.detail, visit.status = "upgrade", str(error), error.status
            return
        except DialFailed as error:
            visit.stage, visit.detail, visit.status = error.stage, error.detail, error.status
            return
        self._transport = transport
        self._opened_ns = self._clock.mono_ns()
        timings = transport.timings
        visit.reached = True
        visit.address = visit.address or timings.address
        visit.tcp_ns, visit.tls_ns = timings.tcp_ns, timings.tls_ns
        visit.upgrade_ns = timings.upgrade_ns
        visit.tls = self._tls()

    async def examine(self, until_ns: int) -> None:
        """Subscribe, ping, and wait for data until then, but a second at least."""
        if self._transport is None:
            return
        self._asked_ns = self._clock.mono_ns()
        requests = self._codec.setup(1)
        if self._topics:
            self.visit.topic = self._topics[0]
            requests += self._codec.subscribe(1 + len(requests), self._topics)
        for request in requests:
            await self._send(request)
        until_ns = max(until_ns, self._asked_ns + SECOND_NS)
        await self._ping(min(until_ns, self._asked_ns + PING_FOR_NS))
        if self._topics:
            left_s = min(DATA_WITHIN_S, (until_ns - self._clock.mono_ns()) / 1e9)
            await self._until(lambda: self.visit.data_ns is not None, max(0.0, left_s))

    async def stay(self, until_ns: int) -> None:
        """Keep the connection until then, for what only time shows."""
        await self._until(lambda: False, max(0, until_ns - self._clock.mono_ns()) / 1e9)

    async def leave(self) -> Visit:
        """End the visit and return what was measured."""
        transport = self._transport
        if transport is not None and not self._over:
            self._note_kernel()
            self.visit.watched_ns = self._clock.mono_ns() - self._opened_ns
            self._leaving = True
            transport.close()
            await self._until(lambda: self._over, 2.0)
            if not self._over:
                transport.abort()
                await self._until(lambda: self._over, 1.0)
        return self.visit

    # -- the conversation -------------------------------------------------------------------

    async def _send(self, request: Request) -> None:
        pool = self._pools.get(request.pool) if request.pool is not None else None
        for budget, units in ((pool, request.units), (self._messages, 1)):
            if budget is None:
                continue
            wait_ns = budget.wait_ns(self._clock.mono_ns(), units)
            if wait_ns > WAIT_NS_MAX:
                self.visit.refused = f"by our own budget, for {wait_ns / 1e9:.0f} s"
                return
            await asyncio.sleep(wait_ns / 1e9)
            budget.note(self._clock.mono_ns(), units)
        if self._transport is not None and not self._over:
            self._transport.send_text(request.text)

    async def _ping(self, until_ns: int) -> None:
        for number in range(PINGS):
            wait_ns = self._messages.wait_ns(self._clock.mono_ns())
            await asyncio.sleep(max(self._gap_s, wait_ns / 1e9))
            if number and self._clock.mono_ns() >= until_ns:
                break
            if self._transport is None or self._over:
                return
            payload = number.to_bytes(4, "big")
            self._messages.note(self._clock.mono_ns())
            self._pinged_ns[payload] = self._clock.mono_ns()
            self._transport.ping(payload)
            self.visit.pings += 1
            if number == 0:  # where the first is not answered, the rest would not be
                await self._until(lambda: bool(self.visit.rtts_ns), PONG_WITHIN_S)
                if not self.visit.rtts_ns:
                    return
        await self._until(lambda: not self._pinged_ns, PONG_WITHIN_S)

    async def _until(self, condition: Any, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not condition() and not self._over:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass

    # -- what the transport tells -----------------------------------------------------------

    def on_text(self, text: str, mono_ns: int) -> None:
        """Read a frame."""
        self._news.set()
        try:
            read = self._codec.read(text, self._clock.wall_ns(), mono_ns)
        except ProtocolViolation as error:
            self.visit.detail = self.visit.detail or f"a frame could not be read: {error}"
            return
        self._take(read, mono_ns)

    def _take(self, read: object, mono_ns: int) -> None:
        visit, since_ns = self.visit, mono_ns - self._asked_ns
        match read:
            case list():
                visit.frames += 1
                if read and visit.data_ns is None:
                    visit.data_ns = since_ns
            case Bundle(readings=readings, events=events):
                for reading in readings:
                    self._take(reading, mono_ns)
                if events:
                    self._take(list[Event](events), mono_ns)
            case Ack() | Granted():
                visit.ack_ns = since_ns if visit.ack_ns is None else visit.ack_ns
            case Refusal(code=code, detail=detail) | Denied(code=code, detail=detail):
                visit.refused = printable(f"{code} {detail}")
            case Heartbeat(reply=reply):
                visit.heartbeats += 1
                if reply is not None and self._transport is not None:
                    self._messages.note(mono_ns)
                    self._transport.send_text(reply.text)
            case _:
                pass

    def on_binary(self, payload: bytes, mono_ns: int) -> None:
        """Note a frame that no venue of ours sends."""
        del payload, mono_ns
        self.visit.detail = self.visit.detail or "a binary frame came"

    def on_ping(self, mono_ns: int) -> None:
        """Count a ping of the venue."""
        del mono_ns
        self.visit.server_pings += 1
        self._news.set()

    def on_pong(self, payload: bytes, mono_ns: int) -> None:
        """Take a round trip."""
        sent_ns = self._pinged_ns.pop(payload, None)
        if sent_ns is not None:
            self.visit.rtts_ns.append(mono_ns - sent_ns)
        self._news.set()

    def on_closed(self, cause: Exception) -> None:
        """Note the end."""
        self._over = True
        if not self._leaving:
            self.visit.watched_ns = self._clock.mono_ns() - self._opened_ns
            words = str(cause) if isinstance(cause, GaplessError) else type(cause).__name__
            self.visit.lost = printable(words)
        self._news.set()

    # -- what is below ----------------------------------------------------------------------

    def _connected(self, address: str) -> None:
        self.visit.reached = True
        self.visit.address = self.visit.address or address

    def _tls(self) -> Tls | None:
        found = self._below("ssl_object")
        if found is None:
            return None
        until = (found.getpeercert() or {}).get("notAfter")
        days_left = None
        if until is not None:
            left_s = ssl.cert_time_to_seconds(until) - self._clock.wall_ns() / 1e9
            days_left = left_s / DAY_S
        return Tls(str(found.version()), days_left)

    def _note_kernel(self) -> None:
        self.visit.tcp = tcp_info(self._below("socket"))

    def _below(self, name: str) -> Any:
        if not hasattr(self._transport, "below"):  # in memory there is nothing below
            return None
        return cast("_Open", self._transport).below(name)
