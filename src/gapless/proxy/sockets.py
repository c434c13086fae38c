"""One socket of a link, with the few things that a transport does not offer by itself."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import cast

from gapless.proxy.pipe import End

__all__ = ["Side"]


class Side(asyncio.Protocol):
    """The client's or the server's end.

    Args:
        arrived: Called with bytes.
        finished: Called once, when nothing more will be read.
        writable: Called when it may be written to again.
        gone: Called when it is closed.

    Attributes:
        blocked: Whether too much waits to be written.
        ended: Whether nothing more will be read.
        lost: Whether it is closed.
    """

    def __init__(
        self,
        arrived: Callable[[bytes], None],
        finished: Callable[[End], None],
        writable: Callable[[], None],
        gone: Callable[[], None],
    ) -> None:
        self.blocked = False
        self.ended = False
        self.lost = False
        self._arrived = arrived
        self._finished = finished
        self._writable = writable
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._wrote_eof = False
        self._closed = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether it has been opened."""
        return self._transport is not None

    @property
    def idle(self) -> bool:
        """Whether it is not open."""
        return self._transport is None or self.lost

    @property
    def flowing(self) -> bool:
        """Whether it can be written to now."""
        return self._transport is not None and not self.blocked

    # -- what the loop calls ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Every piece is sent when it is written, or slices would be glued together again.
        self._set(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._arrived(data)

    def eof_received(self) -> bool:
        self._finish(End.FIN)
        # What is on its way to it may still be written, except to TLS, which has closed already.
        return self._transport is not None and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.blocked = False
        self._closed.set()
        self._finish(End.FIN if exc is None else End.RESET)
        self._gone()

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        self._writable()

    def _finish(self, how: End) -> None:
        if not self.ended or how is End.RESET:
            self.ended = True
            self._finished(how)
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self.ended and self._wrote_eof:
            self.close()

    # -- what a link does with it -----------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes; they are lost if it is closed."""
        if self._transport is not None and not self.lost and not self._wrote_eof:
            self._transport.write(data)

    def write_eof(self) -> None:
        """End what it is sent; it may still send."""
        transport = self._transport
        if transport is None or self.lost or self._wrote_eof:
            return
        if transport.can_write_eof():
            self._wrote_eof = True
            transport.write_eof()
            self._close_if_done()
        else:  # TLS cannot be half closed
            transport.close()

    def close(self) -> None:
        """Close it behind what has been written."""
        if self._transport is not None and not self.lost:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None and not self.lost:
            self._transport.abort()

    def reset(self) -> None:
        """Close it at once, with a reset and without an end."""
        if self._transport is not None and not self.lost:
            self._set(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def pause(self, wanted: bool) -> None:
        """Stop reading, or go on."""
        transport = self._transport
        if wanted == self._paused or transport is None or self.ended or transport.is_closing():
            return
        self._paused = wanted
        if wanted:
            transport.pause_reading()
        else:
            transport.resume_reading()

    async def wait_lost(self) -> None:
        """Return once it is closed, if it was ever opened."""
        if self._transport is not None:
            await self._closed.wait()

    def _set(self, level: int, option: int, value: int | bytes) -> None:
        handle = None if self._transport is None else self._transport.get_extra_info("socket")
        if handle is not None and handle.fileno() >= 0:
            # On a duplicate: the loop's own handle may not offer socket options.
            with socket.socket(fileno=os.dup(handle.fileno())) as duplicate:
                duplicate.setsockopt(level, option, value)
