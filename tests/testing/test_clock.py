"""Virtual time."""

import asyncio
import time

import pytest

from gapless.testing.clock import Deadlock, VirtualClock, VirtualLoop, run

SECOND = 1_000_000_000


def test_both_clocks_move_together_and_only_forward():
    clock = VirtualClock(5, 70)
    clock.advance_ns(3)
    assert (clock.mono_ns(), clock.wall_ns()) == (8, 73)
    with pytest.raises(ValueError, match="back"):
        clock.advance_ns(-1)


def test_a_day_of_sleep_takes_no_time():
    clock = VirtualClock()
    began_ns, began = clock.mono_ns(), time.monotonic()
    run(asyncio.sleep(86_400), clock)
    assert abs(clock.mono_ns() - began_ns - 86_400 * SECOND) < 10
    assert time.monotonic() - began < 1


def test_computing_takes_no_virtual_time():
    clock = VirtualClock()

    async def main():
        began_ns = clock.mono_ns()
        for _ in range(1000):
            await asyncio.sleep(0)
        assert clock.mono_ns() == began_ns

    run(main(), clock)


def test_timers_fire_in_order_and_not_before_their_time():
    clock = VirtualClock()
    fired = []

    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        for wait_s in (0.3, 1e-9, 0.1, 3600.000000001, 0.2, 0.1000000001):
            due = began + wait_s
            loop.call_at(due, lambda due=due: fired.append((due, loop.time())))
        await asyncio.sleep(3601)

    run(main(), clock)
    assert [due for due, _ in fired] == sorted(due for due, _ in fired)
    assert len(fired) == 6
    # asyncio itself fires a timer up to the clock's resolution, 1 ns, early.
    assert all(-2e-9 < at - due < 2e-9 for due, at in fired)


def test_timeouts_and_waits_share_the_clock():
    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await asyncio.Event().wait()
        return loop.time() - began

    assert run(main()) == pytest.approx(600)


def test_a_deadlock_is_named_and_not_slept_through():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="deadlock in virtual time"):
        run(main())


def test_what_is_left_behind_is_cancelled():
    ended = []

    async def forever():
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append(True)

    async def main():
        task = asyncio.create_task(forever())
        await asyncio.sleep(1)
        assert not task.done()

    run(main())
    assert ended == [True]


def test_an_exception_that_only_the_loop_saw_fails_the_run():
    async def main():
        asyncio.get_running_loop().call_later(1, lambda: 1 / 0)
        await asyncio.sleep(2)

    with pytest.raises(ExceptionGroup) as caught:
        run(main())
    assert caught.group_contains(ZeroDivisionError)


def test_an_exception_of_main_comes_through_as_it_is():
    async def main():
        raise LookupError

    with pytest.raises(LookupError):
        run(main())


def test_runs_are_the_same_every_time():
    def trace():
        clock = VirtualClock()
        seen = []

        async def worker(name, wait_s):
            for _ in range(20):
                await asyncio.sleep(wait_s)
                seen.append((name, clock.mono_ns()))

        async def main():
            async with asyncio.TaskGroup() as group:
                for n in range(5):
                    group.create_task(worker(n, 0.1 + n * 0.033))

        run(main(), clock)
        return seen

    assert trace() == trace()


def test_sockets_of_the_loop_still_work():
    async def main():
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        async with server:
            assert server.sockets

    run(main())
