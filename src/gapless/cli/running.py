"""Running a verb until its time is up, a signal arrives, or it is done.

A signal may arrive while the event loop is still being imported, which takes longer than many a
script waits; so a `Stop` catches signals as soon as it is entered, and `run` takes them over.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["Stop", "process_age_s", "run"]

T = TypeVar("T")

_IMPORTED_S: Final = time.monotonic()
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_PATIENCE: Final = 3  # that many signals and the process ends at once


class Stop:
    """The end of a run, and what brought it.  Used with ``with``, while it catches signals.

    Attributes:
        signum: The signal that asked for it, or `None`.
        asked: Whether the run should end.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.asked = False
        self._count = 0
        self._event: asyncio.Event | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._caught) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ask(self) -> None:
        """End the run."""
        self.asked = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Return when the run should end; inside `attached`."""
        if self._event is not None:
            await self._event.wait()

    @contextmanager
    def attached(self, loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Iterator[None]:
        """Let signals wake ``loop``."""
        self._event = event
        if self.asked:
            event.set()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._caught, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
                signal.signal(number, self._caught)

    def _caught(self, signum: int, frame: FrameType | None = None) -> None:
        del frame
        self._count += 1
        if self._count >= _PATIENCE:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        if self.signum is None:
            self.signum = signum
        self.ask()


def run(body: Callable[[Stop], Awaitable[T]], stop: Stop, for_s: float | None) -> T:
    """Run ``body`` on a fresh event loop, uvloop's if it installs.

    Args:
        body: What to run; it must end soon after ``stop`` says so.
        stop: Told of signals and of the deadline.
        for_s: How long after the start of the *process* the run should end; `None` is never.
    """
    import asyncio

    async def bounded() -> T:
        loop = asyncio.get_running_loop()
        with stop.attached(loop, asyncio.Event()):
            if for_s is not None:
                loop.call_later(max(0.0, for_s - process_age_s()), stop.ask)
            return await body(stop)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(bounded())


def process_age_s() -> float:
    """Return how long ago this process started, in seconds."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
    except (OSError, ValueError, IndexError, AttributeError):
        started_s = age_s = 0.0
    since_import_s = time.monotonic() - _IMPORTED_S
    # Some sandboxes know no start time.  We are certainly not younger than this module.
    return age_s if started_s > 0 and age_s >= since_import_s else since_import_s


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
