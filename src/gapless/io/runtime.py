"""The parts that touch the outside world, chosen once: the real ones, or those of a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gapless.io.clock import Clock
from gapless.io.resolver import NameResolver, Resolver
from gapless.io.snapshots import RestClient
from gapless.io.tap import Tap
from gapless.io.transport import Connector, DialOptions

__all__ = ["Runtime", "system_runtime"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a feed runs on.

    Args:
        clock: The time.
        connector: Opens WebSockets.
        rest: Makes a client for REST reads; it tells ``tap`` itself.
        tap: Is told all that goes over the wire, or `None`.
        resolver: Knows the addresses of names; `None` leaves them to the connector.
    """

    clock: Clock
    connector: Connector
    rest: Callable[[DialOptions], RestClient]
    tap: Tap | None = None
    resolver: Resolver | None = None


def system_runtime(tap: Tap | None = None) -> Runtime:
    """Return the real thing: the system's clocks, picows and aiohttp.

    Args:
        tap: Is told all that goes over the wire.
    """
    # Imported late: together they cost more than all the rest of the library.
    from gapless.io.clock import SystemClock  # noqa: PLC0415
    from gapless.io.picows import PicowsConnector  # noqa: PLC0415
    from gapless.io.rest import AiohttpRest  # noqa: PLC0415

    clock = SystemClock()

    def rest(options: DialOptions) -> RestClient:
        return AiohttpRest(
            clock, ca_file=options.ca_file, proxy=options.proxy, source=options.source, tap=tap
        )

    return Runtime(clock, PicowsConnector(clock), rest, tap, NameResolver(clock))
