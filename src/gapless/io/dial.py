"""From a URL to a connected socket, with every failure named once.

A dial has stages -- ``dns``, ``tcp``, ``proxy``, ``tls``, ``upgrade`` -- and one deadline over all
of them, because a peer may fall silent in any.  Whatever goes wrong leaves here as
`gapless.errors.DialFailed` with the stage in which it happened; foreign exceptions stay behind as
its cause.  Certificates are always verified: whoever has a private authority passes its file.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from gapless.errors import (
    ConfigError,
    DialFailed,
    GaplessError,
    RateLimited,
    UsageError,
    printable,
)
from gapless.io.clock import Clock
from gapless.io.transport import DialTimings

__all__ = [
    "Stages",
    "Target",
    "abandon",
    "check_headers",
    "dialling",
    "open_socket",
    "parse_proxy",
    "parse_retry_after",
    "parse_target",
    "refusal",
    "tls_context",
    "unoffered",
]

# RFC 8305, section 5: how long one address may take before the next is tried beside it.
STAGGER_S: Final = 0.25
# The kernel ends a connection whose bytes stay unacknowledged for this long.  Only a last resort
# behind our own liveness, which is quicker.
USER_TIMEOUT_MS: Final = 10_000
SECOND_NS: Final = 1_000_000_000
# No venue bans for longer, and whoever sends more must not silence us for good.
RETRY_AFTER_NS_MAX: Final = 7 * 86_400 * SECOND_NS
# Turns of the loop in which a transport that lost its socket tidies up; two were enough in tests.
TIDY_TURNS: Final = 10
PROXY_SCHEMES: Final = frozenset({"http", "socks4", "socks5"})
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

_REFUSALS: Final = frozenset({403, 418, 429, 503})
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")

Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddrInfo = tuple[int, int, int, str, Address]


class Stages:
    """Which stage a dial is in, and how long it spent in each.

    Attributes:
        current: The stage that is running.
    """

    def __init__(self, clock: Clock, first: str = "dns") -> None:
        self._clock = clock
        self._began_ns = clock.mono_ns()
        self._spent_ns: dict[str, int] = {}
        self.current = first

    def enter(self, stage: str) -> None:
        """End the current stage and begin ``stage``."""
        now_ns = self._clock.mono_ns()
        self._spent_ns[self.current] = self.ns(self.current) + now_ns - self._began_ns
        self._began_ns = now_ns
        self.current = stage

    def ns(self, stage: str) -> int:
        """Return how long ``stage`` took, in nanoseconds; 0 if it never ended."""
        return self._spent_ns.get(stage, 0)

    def timings(self, address: str, *, tls: bool, local: str = "") -> DialTimings:
        """Return how long the stages took, once the last has ended.

        A proxy's handshake cannot be told apart from a TLS handshake through it, so it counts as
        TLS where there is TLS, and as TCP otherwise.

        Args:
            address: The address that answered.
            tls: Whether there was TLS.
            local: Our own address.
        """
        proxy_ns = self.ns("proxy")
        return DialTimings(
            dns_ns=self.ns("dns"),
            tcp_ns=self.ns("tcp") + (0 if tls else proxy_ns),
            tls_ns=self.ns("tls") + (proxy_ns if tls else 0),
            upgrade_ns=self.ns("upgrade"),
            address=address,
            local=local,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """What a WebSocket URL says.

    Attributes:
        url: The URL as given.
        host: Name or address, without brackets.
        port: TCP port, 80 or 443 if the URL named none.
        secure: Whether the scheme is ``wss``.
        endpoint: The URL without query and credentials: fit for logs.
    """

    url: str
    host: str
    port: int
    secure: bool
    endpoint: str


def parse_target(url: str) -> Target:
    """Return what the WebSocket URL ``url`` says.

    Raises:
        gapless.errors.ConfigError: It is not a ``ws://`` or ``wss://`` URL, or holds credentials.
    """
    # The message repeats nothing of the URL: what was mistyped may well be the secret part.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError("not a valid URL") from exc
    if parts.scheme not in ("ws", "wss") or not host:
        raise ConfigError("a WebSocket URL reads ws://host or wss://host")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("credentials do not belong in a URL")
    if parts.fragment:
        raise ConfigError("a WebSocket URL has no fragment")
    secure = parts.scheme == "wss"
    return Target(
        url=url,
        host=host,
        port=port or (443 if secure else 80),
        secure=secure,
        endpoint=f"{parts.scheme}://{parts.netloc}{parts.path}",
    )


def parse_proxy(proxy: str) -> tuple[str, int]:
    """Return host and port of the proxy URL ``proxy``.

    Raises:
        gapless.errors.ConfigError: It is not an http, socks4 or socks5 URL with host and port.
    """
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError("not a valid proxy URL") from exc
    if parts.scheme not in PROXY_SCHEMES or not host or not port:
        raise ConfigError("a proxy URL reads http://, socks4:// or socks5://, host and port")
    return host, port


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse request headers that would break the upgrade.

    Raises:
        gapless.errors.UsageError: A name is no token, a value holds control characters, or an
            extension is asked for.
    """
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise UsageError(f"not a header name: {printable(name)}")
        if any(ord(c) < 32 and c != "\t" for c in value):
            raise UsageError(f"the value of header {name} holds control characters")
        if name.lower() == "sec-websocket-extensions":
            raise UsageError("extensions are not supported")


def parse_retry_after(value: str, wall_ns: int) -> int | None:
    """Return how long a ``Retry-After`` header asks us to stay away, in nanoseconds.

    Args:
        value: Seconds or an HTTP date (RFC 9110, section 10.2.3).
        wall_ns: The wall clock now, which a date is held against.

    Returns:
        0 for a date in the past, at most seven days, `None` if ``value`` is neither.
    """
    text = value.strip()
    # An int of unbounded length costs quadratic time; no wait needs ten digits.
    if text.isascii() and text.isdigit():
        return min(int(text[:10]) * SECOND_NS, RETRY_AFTER_NS_MAX)
    try:
        until_ns = int(parsedate_to_datetime(text).timestamp()) * SECOND_NS
    except (ValueError, OverflowError):
        return None
    return max(0, min(until_ns - wall_ns, RETRY_AFTER_NS_MAX))


def refusal(head: bytes, endpoint: str, wall_ns: int) -> DialFailed | RateLimited | None:
    """Return what the response ``head`` of an upgrade means, or `None` if it did not refuse.

    Args:
        head: Status line and headers as they came.  Load balancers answer in HTTP/1.0 and with
            statuses from outside the registry, so this takes what can be read.
        endpoint: What to call the peer in errors.
        wall_ns: The wall clock now.
    """
    found = _STATUS.match(head)
    status = 101 if found is None else int(found[1])
    if status == 101:
        return None
    if status not in _REFUSALS:
        return DialFailed("upgrade", endpoint, f"HTTP status {status}", status)
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"retry-after":
            return RateLimited(status, parse_retry_after(value.decode("latin-1"), wall_ns))
    return RateLimited(status)


def unoffered(response: Mapping[str, str], request: Mapping[str, str]) -> str | None:
    """Return what a response chose although the request did not offer it, or `None`.

    RFC 6455, section 4.1, has the client fail such a connection.

    Args:
        response: Its headers; looked up without regard to case.
        request: The extra headers of the request.
    """
    if "Sec-WebSocket-Extensions" in response:
        return "the peer chose an extension that nobody offered"
    chosen = "Sec-WebSocket-Protocol" in response
    if chosen and "sec-websocket-protocol" not in {name.lower() for name in request}:
        return "the peer chose a subprotocol that nobody offered"
    return None


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a verifying TLS context; the same one while the file stays the same.

    Args:
        ca_file: PEM file of the authorities to trust instead of the system's, or `None`.

    Raises:
        gapless.errors.ConfigError: The file cannot be read or holds no certificate.
    """
    try:
        changed_ns = 0 if ca_file is None else os.stat(ca_file).st_mtime_ns
        return _tls_context(ca_file, changed_ns)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"cannot read the CA file: {printable(str(exc))}") from exc


@functools.lru_cache(maxsize=8)
def _tls_context(ca_file: str | None, changed_ns: int) -> ssl.SSLContext:
    # Reading the system's authorities takes tens of milliseconds: too long for every dial.
    del changed_ns
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@asynccontextmanager
async def dialling(endpoint: str, stages: Stages, timeout_ns: int) -> AsyncIterator[None]:
    """Run a dial under one deadline and turn what it raises into one kind of error.

    Args:
        endpoint: What to call the peer in errors.
        stages: Says which stage a failure belongs to.
        timeout_ns: Time for everything inside.

    Raises:
        gapless.errors.DialFailed: For anything that the network or the peer did.
    """
    deadline = asyncio.timeout(timeout_ns / SECOND_NS)
    try:
        async with deadline:
            yield
    except GaplessError:
        raise
    except TimeoutError as exc:
        if deadline.expired():
            detail = f"no answer within {timeout_ns / SECOND_NS:g} s"
        else:
            detail = _words(exc)
        raise DialFailed(stages.current, endpoint, detail) from exc
    except ssl.SSLCertVerificationError as exc:
        raise DialFailed("tls", endpoint, f"certificate: {printable(exc.verify_message)}") from exc
    except ssl.SSLError as exc:
        raise DialFailed("tls", endpoint, _words(exc)) from exc
    except (OSError, RuntimeError, UnicodeError) as exc:
        # uvloop raises RuntimeError for some failed connects, and a name that IDNA rules out
        # ends in UnicodeError.
        raise DialFailed(stages.current, endpoint, _words(exc)) from exc


def _words(exc: Exception) -> str:
    words = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    if isinstance(exc, OSError) and exc.errno and words.startswith("Connect call failed"):
        words = os.strerror(exc.errno)  # asyncio names the call, and not the reason
    return printable(words)


async def open_socket(
    host: str,
    port: int,
    *,
    source: str | None,
    stages: Stages,
    addresses: Sequence[str] = (),
) -> socket.socket:
    """Resolve ``host`` and connect to the first of its addresses that answers.

    Both families are tried in turn, each 250 ms after the one before, as RFC 8305 advises.

    Args:
        host: Name or address.
        port: TCP port.
        source: Local address to dial from, or `None`.
        stages: Left in stage ``tcp``.
        addresses: Those of ``host``, in the order to try; if there are any, nobody is asked.

    Returns:
        A connected, non-blocking socket that belongs to the caller.

    Raises:
        OSError: No address was found or none answered; ``stages`` knows which.
    """
    if addresses:
        stages.current = "tcp"
        found: Sequence[AddrInfo] = [info for each in addresses for info in _numeric(each, port)]
    else:
        found = await _resolve(host, port, stages)
    local = None if source is None else _numeric(source, 0)
    made = await start_connection(found, local_addr_infos=local, happy_eyeballs_delay=STAGGER_S)
    sock = _LeavingSocket(made.family, made.type, made.proto, made.detach())
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    except BaseException:
        sock.close()
        raise
    return sock


class _LeavingSocket(socket.socket):
    """A socket that takes leave of the loop before it closes.

    A transport whose very first write fails closes its socket just after the loop began to watch
    it.  The loop would then know a descriptor that the next connection gets, and refuse to watch
    that one, or take it for one that it watches already.
    """

    __slots__ = ()

    def close(self) -> None:
        """Close the socket; nobody watches its descriptor after that."""
        descriptor = self.fileno()
        if descriptor != -1:
            with suppress(RuntimeError):  # no loop is left that could watch it
                loop = asyncio.get_running_loop()
                loop.remove_reader(descriptor)
                loop.remove_writer(descriptor)
        super().close()


async def _resolve(host: str, port: int, stages: Stages) -> Sequence[AddrInfo]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        found: Sequence[AddrInfo] = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        stages.enter("tcp")
    else:
        stages.current = "tcp"  # nobody was asked, so no time counts as asking
        found = _numeric(host, port)
    return found


def _numeric(host: str, port: int) -> Sequence[AddrInfo]:
    # Answers without asking anyone, so it may be called on the loop.
    flags = socket.AI_NUMERICHOST
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


async def abandon(sock: socket.socket) -> None:
    """Close ``sock``, which may belong to a transport that is out of reach.

    Shutting it down wakes that transport, which then closes the socket and itself.  Closing it
    first would pull a descriptor from under a loop that still watches it.
    """
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    cancelled: asyncio.CancelledError | None = None
    for _ in range(TIDY_TURNS):
        if sock.fileno() == -1:
            break
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:  # a few turns more: a socket must not be lost
            cancelled = error
    sock.close()
    if cancelled is not None:
        raise cancelled
