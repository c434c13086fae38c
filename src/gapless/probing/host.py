"""What this machine allows, and how punctual it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from pathlib import Path
from typing import Final, Self

from gapless.core.stats import Histogram
from gapless.probing.measures import Host

__all__ = ["EVERY_S", "LoopLag", "look_at_host", "read_last_number"]

EVERY_S: Final = 0.01
_RECEIVE: Final = Path("/proc/sys/net/core/rmem_max")
_TCP_RECEIVE: Final = Path("/proc/sys/net/ipv4/tcp_rmem")
_DESCRIPTORS: Final = Path("/proc/self/fd")


class LoopLag:
    """Measures how late the running loop wakes, while it is entered with ``async with``.

    Attributes:
        lags: What was measured, in nanoseconds.
    """

    def __init__(self) -> None:
        self.lags = Histogram()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _measure(self) -> None:
        while True:
            due_ns = time.monotonic_ns() + int(EVERY_S * 1e9)
            await asyncio.sleep(EVERY_S)
            self.lags.record(time.monotonic_ns() - due_ns)


def look_at_host(lags: Histogram) -> Host:
    """Return what this machine allows, and the lags that were measured."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        files_open = len(os.listdir(_DESCRIPTORS))
    except OSError:
        files_open = None
    return Host(
        lag_p99_ns=lags.quantile(0.99) or 0,
        lag_max_ns=lags.highest,
        lag_samples=lags.count,
        files_soft=None if soft == resource.RLIM_INFINITY else soft,
        files_hard=None if hard == resource.RLIM_INFINITY else hard,
        files_open=files_open,
        receive_bytes_max=read_last_number(_RECEIVE),
        tcp_receive_bytes_max=read_last_number(_TCP_RECEIVE),
    )


def read_last_number(path: Path) -> int | None:
    """Return the last number in a file of the kernel's, or `None` if there is none to read."""
    try:
        return int(path.read_text(encoding="ascii").split()[-1])
    except (OSError, ValueError, IndexError):
        return None
