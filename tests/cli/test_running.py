import asyncio
import signal
import subprocess
import sys
import time

import pytest

from gapless.cli.running import Stop, process_age_s, run


def test_the_result_comes_back():
    async def body(stop):
        return 7

    with Stop() as stop:
        assert run(body, stop, None) == 7


def test_the_deadline_counts_from_the_start_of_the_process(monkeypatch):
    monkeypatch.setattr("gapless.cli.running.process_age_s", lambda: 99.9)

    async def body(stop):
        began_s = time.monotonic()
        await stop.wait()
        return time.monotonic() - began_s

    with Stop() as stop:
        assert run(body, stop, 100.0) < 5
        assert stop.signum is None


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run(signum):
    async def body(stop):
        signal.raise_signal(signum)
        await stop.wait()

    with Stop() as stop:
        run(body, stop, None)
        assert stop.signum == signum


def test_a_signal_before_the_loop_is_not_lost():
    async def body(stop):
        await stop.wait()
        return "ended"

    with Stop() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert run(body, stop, None) == "ended"
        assert stop.signum == signal.SIGTERM


def test_signals_are_given_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    async def body(stop):
        return None

    with Stop() as stop:
        run(body, stop, None)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_third_signal_ends_a_process_that_hangs():
    code = (
        "import signal\nfrom gapless.cli.running import Stop\n"
        "with Stop():\n    for _ in range(3):\n        signal.raise_signal(signal.SIGTERM)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGTERM


def test_uvloop_is_used_where_it_installs():
    uvloop = pytest.importorskip("uvloop")

    async def body(stop):
        return asyncio.get_running_loop()

    with Stop() as stop:
        assert isinstance(run(body, stop, None), uvloop.Loop)


def test_without_uvloop_asyncio_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)

    async def body(stop):
        return asyncio.get_running_loop()

    with Stop() as stop:
        assert isinstance(run(body, stop, None), asyncio.SelectorEventLoop)


def test_the_age_counts_from_before_the_imports():
    code = (
        "import time; began = time.monotonic(); time.sleep(0.3)\n"
        "from gapless.cli.running import process_age_s\n"
        "print(process_age_s(), time.monotonic() - began)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    age_s, ours_s = map(float, done.stdout.split())
    assert ours_s - 0.02 <= age_s <= ours_s + 5


def test_where_nothing_is_known_the_age_counts_from_the_import(monkeypatch):
    def nothing(*_):
        raise OSError

    monkeypatch.setattr("builtins.open", nothing)
    assert 0 <= process_age_s() < 3600
