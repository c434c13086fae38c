"""Virtual time: hours of timers in milliseconds, the same on every run.

`VirtualLoop` is asyncio's own loop with one change: where it would sleep until the next timer, the
clock jumps there.  Nothing else moves the clock, so code that computes for a second takes no time
at all.  Sockets of the loop work, but waiting for one never moves the clock; threads do not belong
under virtual time.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

__all__ = ["Deadlock", "VirtualClock", "VirtualLoop", "run"]

T = TypeVar("T")

SECOND_NS: Final = 1_000_000_000
# 2023-11-14: any fixed day will do, but venues' checks of the clock want a plausible one.
EPOCH_NS: Final = 1_700_000_000 * SECOND_NS


class Deadlock(RuntimeError):
    """Every task waits, and no timer will ever wake one."""


class VirtualClock:
    """A `gapless.io.clock.Clock` that moves only when told.

    Args:
        mono_ns: First reading of the monotonic clock.
        wall_ns: First reading of the wall clock.
    """

    def __init__(self, mono_ns: int = SECOND_NS, wall_ns: int = EPOCH_NS) -> None:
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self._asleep_ns = 0

    def mono_ns(self) -> int:
        return self._mono_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def advance_ns(self, ns: int) -> None:
        """Move both clocks on by ``ns``, which must not be negative."""
        if ns < 0:
            raise ValueError("time does not go back")
        self._mono_ns += ns
        self._wall_ns += ns

    def asleep_ns(self) -> int:
        return self._asleep_ns

    def suspend_ns(self, ns: int) -> None:
        """Let the machine sleep for ``ns``: the wall clock goes on, the monotonic one does not."""
        if ns < 0:
            raise ValueError("time does not go back")
        self._asleep_ns += ns
        self._wall_ns += ns


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the clock where other selectors sleep."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Deadlock("deadlock in virtual time: every task waits, and no timer is set")
        # At least 1 ns: a timer whose moment got lost in rounding must not spin forever.
        self._clock.advance_ns(max(1, math.ceil(timeout * SECOND_NS)))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time.

    Args:
        clock: What `time` reads, and what idling moves.

    Attributes:
        unhandled: Exceptions that no task and no future was left to raise.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._clock = clock
        self.unhandled: list[BaseException] = []
        self.set_exception_handler(self._on_unhandled)

    def time(self) -> float:
        return self._clock.mono_ns() / SECOND_NS

    def _on_unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        self.unhandled.append(exc if exc is not None else RuntimeError(context["message"]))


def run(main: Coroutine[Any, Any, T], clock: VirtualClock | None = None) -> T:
    """Run ``main`` on a fresh `VirtualLoop`, cancel what it left behind, and return its result.

    Args:
        main: What to run.
        clock: The clock to run on; a fresh one if `None`.

    Raises:
        Deadlock: Every task waits, and no timer is set.
        ExceptionGroup: ``main`` ended well, but elsewhere exceptions were raised that only the
            loop learnt of.
    """
    loop = VirtualLoop(clock or VirtualClock())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main)
    if loop.unhandled:
        raise BaseExceptionGroup("exceptions that nobody handled", loop.unhandled)
    return result
