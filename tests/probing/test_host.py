"""What this machine allows, and how late it wakes."""

import asyncio
import resource
import time
from pathlib import Path

from gapless.core.stats import Histogram
from gapless.probing.host import LoopLag, look_at_host, read_last_number


def test_a_loop_that_is_held_up_shows_it():
    async def scenario():
        async with LoopLag() as lag:
            await asyncio.sleep(0.05)
            time.sleep(0.2)
            await asyncio.sleep(0.05)
        return lag.lags

    lags = asyncio.run(scenario())
    assert lags.count >= 3
    assert lags.highest >= 150_000_000


def test_the_limits_are_those_of_this_process():
    host = look_at_host(Histogram())
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert host.files_soft == (None if soft == resource.RLIM_INFINITY else soft)
    assert host.files_open is None or host.files_open >= 3
    assert (host.lag_p99_ns, host.lag_max_ns, host.lag_samples) == (0, 0, 0)


def test_open_files_are_counted():
    before = look_at_host(Histogram()).files_open
    with Path(__file__).open(encoding="utf-8"), Path(__file__).open(encoding="utf-8"):
        during = look_at_host(Histogram()).files_open
    assert before is None or during == before + 2


def test_a_number_of_the_kernel_is_read_or_there_is_none(tmp_path):
    path = tmp_path / "tcp_rmem"
    path.write_text("4096\t131072\t6291456\n")
    assert read_last_number(path) == 6_291_456
    path.write_text("")
    assert read_last_number(path) is None
    path.write_text("many")
    assert read_last_number(path) is None
    assert read_last_number(tmp_path / "missing") is None
