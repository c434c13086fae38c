"""The contract between a WebSocket and whoever drives it.

A transport moves whole messages.  It owns everything that RFC 6455 asks of an endpoint
(masking, reassembly, UTF-8, pongs, the closing handshake) and nothing else: no retry, no
liveness, no meaning.  Every implementation passes ``tests/io/transport_contract.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from gapless.io.tcpinfo import TcpInfo

__all__ = ["Connector", "DialOptions", "DialTimings", "Limits", "Receiver", "Transport"]

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer may make us hold.  Exceeding any of them ends the connection.

    Args:
        message_bytes: Largest message, all fragments together.
        fragments: Most frames in one message.
        control_per_s: Most ping and pong frames in one second.
    """

    message_bytes: int = 16 * MIB
    fragments: int = 64
    control_per_s: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOptions:
    """How to reach a peer.

    Args:
        timeout_ns: One deadline for DNS, TCP, TLS and the upgrade together.
        headers: Extra request headers.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        proxy: ``http://``, ``socks4://`` or ``socks5://`` URL, or `None` for a direct dial.
        source: Local address to dial from, or `None` for the system's choice.
        addresses: Addresses of the URL's host, in the order to try; if there are none, or behind
            a proxy, the host is resolved.
        connected: Is told the address that answered as soon as TCP stands, or `None`.
        limits: What the peer may make us hold.
    """

    timeout_ns: int = 5_000_000_000
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    proxy: str | None = None
    source: str | None = None
    addresses: Sequence[str] = ()
    connected: Callable[[str], None] | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class DialTimings:
    """How long each stage of a dial took, in nanoseconds; 0 for a stage that was not needed.

    Attributes:
        address: The address that answered, as text.
        local: Our own address of the connection, as text; empty if it is not known.
    """

    dns_ns: int
    tcp_ns: int
    tls_ns: int
    upgrade_ns: int
    address: str
    local: str = ""


class Receiver(Protocol):
    """What a transport tells, in order; `on_closed` comes exactly once, and last.

    ``mono_ns`` is the monotonic time at which the frame was read.  If a method raises, the
    transport aborts and hands the exception to `on_closed` unchanged.
    """

    def on_text(self, text: str, mono_ns: int) -> None: ...

    def on_binary(self, payload: bytes, mono_ns: int) -> None: ...

    def on_ping(self, mono_ns: int) -> None:
        """Note a ping; the transport has answered it already."""

    def on_pong(self, payload: bytes, mono_ns: int) -> None: ...

    def on_closed(self, cause: Exception) -> None:
        """Note the end.

        Args:
            cause: `gapless.errors.ConnectionLost` with the code and reason that the peer sent,
                `gapless.errors.ProtocolViolation` where the peer broke the protocol, or the
                exception that a method of this receiver raised.
        """


class Transport(Protocol):
    """One open WebSocket, seen from the client."""

    @property
    def timings(self) -> DialTimings: ...

    def send_text(self, text: str) -> None:
        """Queue one text message.  Does nothing once the connection is closing."""

    def ping(self, payload: bytes = b"") -> None:
        """Queue one ping of at most 125 bytes.  Does nothing once the connection is closing."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake; without an echo within 1 s the connection is aborted."""

    def abort(self) -> None:
        """End at once, without a word to the peer.  For links that are dead."""

    def pause(self) -> None:
        """Stop reading, so that TCP slows the peer down."""

    def resume(self) -> None:
        """Read again after `pause`."""

    def tcp_info(self) -> TcpInfo | None:
        """Return what the kernel knows of the connection; `None` where it tells nothing."""


class Connector(Protocol):
    """Something that opens transports."""

    async def __call__(self, url: str, receiver: Receiver, options: DialOptions) -> Transport:
        """Open a WebSocket to ``url``.

        No method of ``receiver`` is called before this returns, and `on_closed` never is when
        this raises.

        Raises:
            gapless.errors.DialFailed: With the stage that failed.
            gapless.errors.RateLimited: The upgrade was refused with 429, 418, 403 or 503, with
                ``retry_after_ns`` where the venue named a time.
        """
