"""Writing to stdout without ever holding up the event loop.

A reader that does not read would stop the whole process at the first full pipe: pings would go
unanswered, and the venue would hang up.  So a thread writes, one batch at a time, and whoever
has more to say waits for it like for any other slow thing; meanwhile the feed marks what did
not fit.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from queue import SimpleQueue
from typing import Final

__all__ = ["Output"]

_GONE: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL

Batch = tuple[bytes, asyncio.AbstractEventLoop, asyncio.Future[None]]


class Output:
    """A file descriptor that is written to from a thread of its own.

    Args:
        descriptor: Where to write, such as 1; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._batches: SimpleQueue[Batch] = SimpleQueue()
        self._poll = select.poll()
        self._poll.register(descriptor, 0)  # errors are reported without being asked for
        # A daemon: a write that never returns must not keep the process from ending.
        threading.Thread(target=self._work, name="gapless output", daemon=True).start()

    async def write(self, data: bytes) -> None:
        """Write all of ``data``.

        Raises:
            OSError: It could not be written; `BrokenPipeError` if the reader has left.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._batches.put((data, loop, done))
        await done

    def reader_left(self) -> bool:
        """Return whether nobody can read any more."""
        return any(seen & _GONE for _, seen in self._poll.poll(0))

    def _work(self) -> None:
        while True:
            data, loop, done = self._batches.get()
            error: OSError | None = None
            try:
                _write_all(self._descriptor, data)
            except OSError as failure:
                error = failure
            if loop.is_closed():
                return
            loop.call_soon_threadsafe(_settle, done, error)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody made it non-blocking
            select.select((), (descriptor,), ())


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
