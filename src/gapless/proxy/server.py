"""The fault proxy: a port before any WebSocket server, for any client.

This and `gapless.proxy.link` are the only modules that know sockets and clocks.  They decide
nothing: what goes wrong is the business of `gapless.proxy.board` and what it is asked by.

Whoever can reach the port can use the upstream and break what passes: it listens on the loopback
address unless told otherwise.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, cast
from urllib.parse import urlsplit

from gapless.errors import ConfigError, UsageError, printable
from gapless.listening import Port, authority, is_loopback
from gapless.proxy.board import FaultBoard, FaultRecord, Flow, LogRecord
from gapless.proxy.link import Link
from gapless.proxy.plan import Plan

if TYPE_CHECKING:
    from types import TracebackType

    from gapless.proxy.faults import Fault, Traffic

__all__ = ["CONNECTIONS_MAX", "FaultProxy", "PortBusy", "Upstream"]

CONNECTIONS_MAX: Final = 4096
"""Connections at a time; more are closed at once."""


class PortBusy(OSError):
    """The port is taken by another program.

    Attributes:
        port: The port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        super().__init__(errno.EADDRINUSE, f"port {port} on {host} is taken by another program")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the proxy connects to.

    Attributes:
        host: Name or address, without brackets.
        port: TCP port.
        secure: Whether there is TLS.
        path: Path and query that the URL named, or empty.
    """

    host: str
    port: int
    secure: bool
    path: str

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """Read a ``ws://``, ``wss://``, ``http://`` or ``https://`` URL.

        Raises:
            gapless.errors.UsageError: It is none of these, or holds credentials.
        """
        # The message repeats nothing of the URL: what was mistyped may well be the secret part.
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            raise UsageError("the upstream is not a valid URL") from exc
        if parts.scheme not in ("ws", "wss", "http", "https") or not host or port == 0:
            raise UsageError("an upstream reads ws://host, wss://host, http://host or https://host")
        if parts.username is not None or parts.password is not None:
            raise UsageError("credentials do not belong in a URL")
        secure = parts.scheme in ("wss", "https")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        return cls(host, port or (443 if secure else 80), secure, path)

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.secure else 80) else f"{name}:{self.port}"


class _Refusing(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class FaultProxy:
    """Passes connections on to one server, and breaks them as it is told, while the context lasts.

    Attributes:
        upstream: Where it connects to.
        host: Address it listens on.
        port: The port; the real one once it listens.
        board: The faults, and what became of them.
        keep_extensions: Whether WebSockets may negotiate compression.
        tls: Verifies the upstream, or `None` without TLS.
        troubles: What went wrong with the upstream itself, the newest few.
        on_trouble: Called with each of them.
        connections: How many WebSockets were asked for so far.
    """

    board: FaultBoard

    def __init__(
        self,
        upstream: str,
        plan: Plan | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        ca_file: str | None = None,
        keep_extensions: bool = False,
        on_strike: Callable[[LogRecord], None] | None = None,
    ) -> None:
        """Prepare a proxy.

        Args:
            upstream: URL of the server: scheme, host and port; a path is only for `ws_url`.
            plan: What goes wrong; its times count from the moment the proxy listens.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            seed: Decides every chance.
            ca_file: PEM file of the authorities to trust instead of the system's.
            keep_extensions: Let WebSockets negotiate compression; patterns then find no text.
            on_strike: Called with each entry of the log as it is written.

        Raises:
            gapless.errors.UsageError: The upstream is no such URL, or the proxy itself.
            gapless.errors.ConfigError: The file of authorities cannot be read.
        """
        self.upstream = Upstream.parse(upstream)
        near = host == self.upstream.host or (is_loopback(host) and is_loopback(self.upstream.host))
        if near and port == self.upstream.port:  # each connection would open the next
            raise UsageError("the upstream is the proxy itself: let it listen on another port")
        self.host = host
        self.port = port
        self.keep_extensions = keep_extensions
        self.tls = _verifying(ca_file) if self.upstream.secure else None
        self.troubles: deque[str] = deque(maxlen=100)
        self.on_trouble: Callable[[str], None] | None = None
        self.connections = 0
        self._requests = 0
        self._links: dict[Link, None] = {}  # in the order in which they came
        self._listening: Port | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._plan = Plan() if plan is None else plan
        self._seed = seed
        self._on_strike = on_strike
        self._set_board()

    def _set_board(self) -> None:
        self.board = FaultBoard(self._plan, self._seed, time.monotonic_ns())
        self.board.on_strike = self._on_strike

    @property
    def ws_url(self) -> str:
        """What a client uses in place of the server's WebSocket URL."""
        return f"ws://{self._authority}{self.upstream.path}"

    @property
    def http_url(self) -> str:
        """Root of HTTP URLs, without a path."""
        return f"http://{self._authority}"

    @property
    def log(self) -> deque[LogRecord]:
        """What was done to which frame, the newest entries."""
        return self.board.log

    @property
    def records(self) -> list[FaultRecord]:
        """Every fault so far, and how often it struck."""
        return self.board.records

    @property
    def _authority(self) -> str:
        return authority(self.host, self.port)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            PortBusy: The port is taken.
            OSError: The address cannot be listened on.
        """
        try:
            self._listening = await Port.open(self._accept, self.host, self.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortBusy(self.host, self.port) from error
            raise
        self.port = self._listening.number
        self._set_board()
        self._changed()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._listening is not None:
            await self._listening.close()
        for link in list(self._links):
            await link.end()

    # -- faults -----------------------------------------------------------------------------------

    def strike(self, fault: Fault) -> FaultRecord:
        """Add a fault; its ``at_s`` counts from now.

        Raises:
            gapless.proxy.faults.FaultInvalid: It cannot be carried out.
        """
        record = self.board.add(fault, time.monotonic_ns())
        self._changed()
        return record

    def clear(self, fault_id: int) -> FaultRecord | None:
        """End a fault before its time; return it, or `None` if there is none of that number."""
        for record in self.board.records:
            if record.id == fault_id:
                self.board.retire(record)
                self._changed()
                return record
        return None

    def _changed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.board.advance(time.monotonic_ns())
        # The connections that are open are hit together, before a fault that hits once is over.
        for link in list(self._links):
            link.on_faults(sweep=False)
        self.board.sweep()
        next_ns = self.board.next_ns
        if next_ns is not None:
            wait_s = max(0.0, (next_ns - time.monotonic_ns()) / 1e9)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait_s, self._changed)

    # -- connections ------------------------------------------------------------------------------

    def _accept(self) -> asyncio.Protocol:
        if len(self._links) >= CONNECTIONS_MAX:
            return _Refusing()
        link = Link(self)
        self._links[link] = None
        return link.client

    def number(self, traffic: Traffic) -> Flow:
        """Return the next number for a connection."""
        if traffic == "ws":
            self.connections += 1
            return Flow("ws", self.connections)
        self._requests += 1
        return Flow("http", self._requests)

    def forget(self, link: Link) -> None:
        """Drop a link that has ended."""
        self._links.pop(link, None)
        if link.flow is not None:
            self.board.forget(link.flow)

    def trouble(self, words: str) -> None:
        """Note that something went wrong by itself."""
        self.troubles.append(words)
        if self.on_trouble is not None:
            self.on_trouble(words)


def _verifying(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"cannot read the CA file: {printable(str(exc))}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
