"""Recording a feed without holding it up.

The event loop appends tuples to a list and hands the list over, whole, a few times a second; a
thread packs, writes and syncs.  What waits for the thread is bounded.  When the disk is full or
cannot keep up, recording stops, says so, and counts what it misses; the feed never notices.

Tokens that a venue hands out in answers (RFC 6749: access_token, refresh_token) are replaced
before anything is written; what we send with a secret in it arrives here without.
"""

from __future__ import annotations

import asyncio
import base64
import re
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

import msgspec

from gapless.capture.writer import CaptureWriter

__all__ = ["REDACTED", "Recorder", "redacted"]

HAND_OVER_S: Final = 0.05
HAND_OVER_BYTES: Final = 4 << 20
WAITING_MAX_BYTES: Final = 64 << 20
RECORD_BYTES: Final = 128  # what a record costs beside its text
SLICE: Final = 128  # records that are packed between two chances for the event loop
TICK_S: Final = 0.25
CLOSE_S: Final = 30.0
REDACTED: Final = "<redacted>"

Item = Sequence[object]

_TOKEN: Final = re.compile(r'("(?:access|refresh)_token"\s*:\s*")(?:[^"\\]|\\.)*(")')


class Recorder:
    """Writes what a `gapless.io.tap.Tap` is told.  Made and closed on the event loop.

    Args:
        writer: Where to.
        waiting_max_bytes: What may wait to be written; beyond it recording stops.
        on_stopped: Called on the event loop, once, with the reason why recording stopped early.

    Attributes:
        frames_out, exchanges: What was tapped, recorded or not.
        stopped: Why recording stopped early, or `None`.
    """

    def __init__(
        self,
        writer: CaptureWriter,
        *,
        waiting_max_bytes: int = WAITING_MAX_BYTES,
        on_stopped: Callable[[str], None] | None = None,
    ) -> None:
        self.frames_out = self.exchanges = 0
        self.stopped: str | None = None
        self._writer = writer
        self._waiting_max_bytes = waiting_max_bytes
        self._on_stopped = on_stopped
        self._loop = asyncio.get_running_loop()
        self._batch: list[Item] = []
        self._batch_bytes = 0
        self._tapped = 0  # handed over, or too late for it
        self._others = 0  # neither frames nor exchanges
        self._closed = False
        self._handed_bytes = 0  # written by the loop only
        self._taken_bytes = 0  # written by the thread only
        self._timer: asyncio.TimerHandle | None = None
        self._queue: SimpleQueue[tuple[list[Item], int] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="gapless recorder", daemon=True)
        self._thread.start()

    # -- what the tap is told -------------------------------------------------------------------

    def received(self, conn: str, text: str, mono_ns: int, wall_ns: int) -> None:
        """Take a text message of the peer.  The hot path."""
        self._batch.append(("in", conn, mono_ns, wall_ns, text))
        self._batch_bytes += len(text)
        if self._timer is None or self._batch_bytes > HAND_OVER_BYTES:
            self._mind()

    def received_binary(self, conn: str, payload: bytes, mono_ns: int, wall_ns: int) -> None:
        """Take a binary message of the peer."""
        packed = base64.b64encode(payload).decode()
        self._put(("in", conn, mono_ns, wall_ns, "", None, None, None, None, "binary", packed))

    def sent(self, conn: str, text: str, mono_ns: int, wall_ns: int) -> None:
        """Take a text message of ours."""
        self.frames_out += 1
        self._put(("out", conn, mono_ns, wall_ns, text))

    def opened(self, conn: str, url: str, mono_ns: int, wall_ns: int) -> None:
        """Take the start of a connection."""
        self._others += 1
        self._put(("open", conn, mono_ns, wall_ns, "", url))

    def closed(self, conn: str, reason: str, mono_ns: int, wall_ns: int) -> None:
        """Take the end of a connection."""
        self._others += 1
        self._put(("close", conn, mono_ns, wall_ns, reason))

    def answered(
        self, url: str, request: str | None, status: int, body: bytes, mono_ns: int, wall_ns: int
    ) -> None:
        """Take an HTTP exchange."""
        self.exchanges += 1
        text = body.decode(errors="replace")
        binary = None if text.encode() == body else base64.b64encode(body).decode()
        encoding = None if binary is None else "binary"
        item = ("rest", "rest", mono_ns, wall_ns, text, url, status, request, None)
        self._put((*item, encoding, binary))

    def note(self, event: str, about: object, mono_ns: int, wall_ns: int) -> None:
        """Write a line of our own.

        Args:
            event: One word.
            about: Anything that JSON can hold.
            mono_ns: When, monotonic.
            wall_ns: The same moment, Unix time.
        """
        self._others += 1
        text = msgspec.json.encode(about).decode()
        self._put(("meta", "recorder", mono_ns, wall_ns, text, None, None, None, event))

    # -- what others ask ------------------------------------------------------------------------

    @property
    def frames_in(self) -> int:
        """Messages of the peer that were tapped, recorded or not."""
        # Counted by what is left, so that each frame costs one addition less.
        tapped = self._tapped + len(self._batch)
        return tapped - self.frames_out - self.exchanges - self._others

    @property
    def records(self) -> int:
        """Records that stand in written blocks."""
        return self._writer.records

    @property
    def written_bytes(self) -> int:
        """Bytes that were written."""
        return self._writer.bytes

    @property
    def segments(self) -> int:
        """Files that were begun."""
        return self._writer.segments

    @property
    def lost(self) -> int:
        """Records that will never be written, as far as is known by now."""
        return self._tapped - self._writer.records if self.stopped or self._closed else 0

    async def close(self) -> None:
        """Write what waits, and the end; return when it is on the disk.

        A disk that takes longer than `CLOSE_S` is given up, and recording counts as stopped.
        """
        self._hand_over()
        self._queue.put(None)
        deadline_s = self._loop.time() + CLOSE_S
        while self._thread.is_alive():
            if self._loop.time() > deadline_s:
                self._stop(f"the disk did not take the rest within {CLOSE_S:.0f} s")
                return
            await asyncio.sleep(0.005)
        await asyncio.sleep(0)  # what the thread said last is heard first

    # -- on the loop ----------------------------------------------------------------------------

    def _put(self, item: Item) -> None:
        self._batch.append(item)
        self._batch_bytes += sum(len(part) for part in item if isinstance(part, str))
        if self._timer is None or self._batch_bytes > HAND_OVER_BYTES:
            self._mind()

    def _mind(self) -> None:
        if self._batch_bytes > HAND_OVER_BYTES:
            self._hand_over()
        elif self._timer is None:
            self._timer = self._loop.call_later(HAND_OVER_S, self._hand_over)

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._batch = self._batch, []
        n_bytes, self._batch_bytes = self._batch_bytes + RECORD_BYTES * len(batch), 0
        self._tapped += len(batch)
        waiting_bytes = self._handed_bytes - self._taken_bytes
        if self.stopped is None and waiting_bytes + n_bytes > self._waiting_max_bytes:
            self._stop(f"the disk cannot keep up: {waiting_bytes >> 20} MiB wait to be written")
        if self.stopped is None and batch:
            self._handed_bytes += n_bytes
            self._queue.put((batch, n_bytes))

    def _stop(self, reason: str) -> None:
        if self.stopped is None:
            self.stopped = reason
            if self._on_stopped is not None:
                self._on_stopped(reason)

    # -- on the thread --------------------------------------------------------------------------

    def _work(self) -> None:
        failed = False
        while True:
            try:
                entry = self._queue.get(timeout=TICK_S)
            except Empty:
                entry = [], 0
            if entry is None:
                break
            batch, n_bytes = entry
            if not failed:
                try:
                    self._write(batch)
                except Exception as error:  # whatever it is, the feed goes on without us
                    failed = True
                    self._tell(error)
            self._taken_bytes += n_bytes
        try:
            self._finish()
        except Exception as error:
            self._tell(error)
        self._closed = True

    def _write(self, batch: list[Item]) -> None:
        for start in range(0, len(batch), SLICE):
            part = batch[start : start + SLICE]
            self._writer.add([_clean(item) for item in part], time.time_ns())
            time.sleep(0)  # the loop waits for the interpreter as long as we hold it
        self._writer.tick(time.time_ns())

    def _finish(self) -> None:
        now_ns = time.time_ns()
        if self.stopped is not None:
            self._writer.flush()
            lost = self._tapped - self._writer.records
            about = msgspec.json.encode({"reason": self.stopped, "lost": lost}).decode()
            mono_ns = time.monotonic_ns()
            last = ("meta", "recorder", mono_ns, now_ns, about, None, None, None, "stopped")
            self._writer.add([last], now_ns)
            self._others += 1
            self._tapped += 1
        self._writer.close(now_ns)

    def _tell(self, error: Exception) -> None:
        words = str(error.strerror) if isinstance(error, OSError) else repr(error)
        reason = f"cannot write to {self._writer.folder}: {words}"
        if self.stopped is None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop, reason)


def redacted(text: str) -> str:
    """Return a frame without the tokens in it."""
    if '_token"' not in text:
        return text
    return _TOKEN.sub(rf"\g<1>{REDACTED}\g<2>", text)


def _clean(item: Item) -> Item:
    text = item[4]
    if isinstance(text, str) and '_token"' in text:
        return (*item[:4], redacted(text), *item[5:])
    return item
