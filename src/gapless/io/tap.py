"""Where a recorder listens: what goes over the wire, before anybody reads anything into it.

The calls come from the event loop, at the moment of the thing itself, and must return at once.
A feed without a tap pays one comparison a frame.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Tap"]


class Tap(Protocol):
    """Something that is told all that goes over the wire.

    Every method is told when: ``mono_ns`` monotonic, ``wall_ns`` Unix time.  ``conn`` names a
    connection and is never used twice.
    """

    def opened(self, conn: str, url: str, mono_ns: int, wall_ns: int) -> None:
        """Note that a connection is open."""

    def closed(self, conn: str, reason: str, mono_ns: int, wall_ns: int) -> None:
        """Note that a connection is over, or that a dial failed."""

    def received(self, conn: str, text: str, mono_ns: int, wall_ns: int) -> None:
        """Note a text message of the peer."""

    def received_binary(self, conn: str, payload: bytes, mono_ns: int, wall_ns: int) -> None:
        """Note a binary message of the peer."""

    def sent(self, conn: str, text: str, mono_ns: int, wall_ns: int) -> None:
        """Note a text message of ours; secrets in it are replaced already."""

    def answered(
        self, url: str, request: str | None, status: int, body: bytes, mono_ns: int, wall_ns: int
    ) -> None:
        """Note an HTTP exchange.

        Args:
            url: What was asked.
            request: What was sent with POST, or `None`.
            status: HTTP status of the answer.
            body: Its body.
            mono_ns: When the whole answer was there.
            wall_ns: The same moment, Unix time.
        """
