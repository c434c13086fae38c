"""Names to addresses, without ever waiting long and without forgetting what worked.

The system's resolver blocks, and may block for half a minute.  So each name is asked for in a
daemon thread of its own, one at a time for each name: the loop never waits for it, a process that
ends does not wait either, and a resolver that hangs costs one thread for each name.

When DNS fails, the addresses that completed an upgrade within the last hour are used again.  One
that answered and failed TLS or the upgrade is not among them: it may be somebody else's by now.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from gapless.errors import printable
from gapless.io.clock import Clock

__all__ = ["GOOD_NS", "Answer", "Lookup", "NameResolver", "Resolver", "literal", "system_lookup"]

GOOD_NS: Final = 3600 * 1_000_000_000
"""How long an address that worked may stand in for DNS, in nanoseconds."""

WITHIN_NS: Final = 2_000_000_000
HOSTS_MAX: Final = 64  # names that good addresses are kept for
ADDRESSES_MAX: Final = 64  # of one name

Lookup = Callable[[str], Sequence[str]]
"""Returns the addresses of a name, or raises `OSError`.  May block; called in a thread."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The addresses of a name.

    Attributes:
        addresses: In the order they should be tried; empty if none is known.
        took_ns: How long we waited, in nanoseconds.
        failure: Why DNS did not answer, safe to print; empty if it did.  The addresses are then
            those that worked before.
    """

    addresses: tuple[str, ...]
    took_ns: int
    failure: str = ""


class Resolver(Protocol):
    """Something that knows the addresses of names."""

    async def resolve(self, host: str) -> Answer:
        """Return the addresses of ``host``; never raises for what DNS does."""

    def good(self, host: str, address: str) -> None:
        """Note that an upgrade was completed there."""

    def bad(self, host: str, address: str) -> None:
        """Note that TLS or the upgrade failed there."""


def system_lookup(host: str) -> Sequence[str]:
    """Return what the system's resolver says, both families, in its order (RFC 6724).

    Raises:
        OSError: It says nothing.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


class NameResolver:
    """Resolves names in threads.

    Args:
        clock: Measures, and says how old what is known is.
        lookup: Asks DNS.
        within_ns: How long `resolve` waits for it; a later answer serves the next call.
    """

    def __init__(
        self, clock: Clock, lookup: Lookup = system_lookup, within_ns: int = WITHIN_NS
    ) -> None:
        self._clock = clock
        self._lookup = lookup
        self._within_ns = within_ns
        self._asked: dict[str, asyncio.Future[Sequence[str] | Exception]] = {}
        self._good: dict[str, dict[str, int]] = {}  # host -> address -> when it worked

    async def resolve(self, host: str) -> Answer:
        """Return the addresses of ``host``; see `Resolver.resolve`."""
        if literal(host):
            return Answer((host,), 0)
        began_ns = self._clock.mono_ns()
        asked = self._asked.get(host)
        if asked is None or asked.get_loop() is not asyncio.get_running_loop():
            asked = self._asked[host] = self._ask(host)
        try:
            async with asyncio.timeout(self._within_ns / 1e9):
                found = await asyncio.shield(asked)
        except TimeoutError:
            found = TimeoutError(f"no answer within {self._within_ns / 1e9:g} s")
        now_ns = self._clock.mono_ns()
        if isinstance(found, Exception):
            words = printable(getattr(found, "strerror", None) or str(found))
            return Answer(self._known_good(host, now_ns), now_ns - began_ns, words)
        return Answer(tuple(dict.fromkeys(found))[:ADDRESSES_MAX], now_ns - began_ns)

    def good(self, host: str, address: str) -> None:
        """Note that an upgrade was completed there."""
        if literal(host):
            return
        known = self._good.pop(host, {})
        known.pop(address, None)
        known[address] = self._clock.mono_ns()  # the newest is the last
        self._good[host] = dict(list(known.items())[-ADDRESSES_MAX:])
        if len(self._good) > HOSTS_MAX:
            del self._good[next(iter(self._good))]

    def bad(self, host: str, address: str) -> None:
        """Note that TLS or the upgrade failed there."""
        self._good.get(host, {}).pop(address, None)

    def _known_good(self, host: str, now_ns: int) -> tuple[str, ...]:
        known = self._good.get(host, {})
        return tuple(a for a, at_ns in reversed(known.items()) if now_ns - at_ns <= GOOD_NS)

    def _ask(self, host: str) -> asyncio.Future[Sequence[str] | Exception]:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Sequence[str] | Exception] = loop.create_future()

        def settle(found: Sequence[str] | Exception) -> None:
            self._asked.pop(host, None)
            if not answered.done():
                answered.set_result(found)

        def work() -> None:
            found: Sequence[str] | Exception
            try:
                found = self._lookup(host)
            except (OSError, UnicodeError) as error:
                found = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=work, name="gapless resolver", daemon=True).start()
        return answered


def literal(host: str) -> bool:
    """Return whether ``host`` is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
