import asyncio
import os
from contextlib import contextmanager

import pytest

from gapless.cli.output import Output


@contextmanager
def pipe():
    reading, writing = os.pipe()
    ends = [reading, writing]
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def test_everything_arrives_in_order():
    async def body():
        with pipe() as (reading, writing):
            output = Output(writing)
            for number in range(50):
                await output.write(b"%d\n" % number)
            return os.read(reading, 1 << 16)

    assert asyncio.run(body()) == b"".join(b"%d\n" % n for n in range(50))


def test_a_full_pipe_does_not_hold_up_the_loop():
    data = os.urandom(1 << 20)  # far more than a pipe holds

    async def body():
        with pipe() as (reading, writing):
            writes = asyncio.create_task(Output(writing).write(data))
            await asyncio.sleep(0)
            assert not writes.done()  # and yet we run
            got = b""
            while len(got) < len(data):
                got += await asyncio.to_thread(os.read, reading, 1 << 16)
            await writes
            return got

    assert asyncio.run(body()) == data


def test_a_non_blocking_descriptor_is_waited_for():
    data = os.urandom(1 << 20)

    async def body():
        with pipe() as (reading, writing):
            os.set_blocking(writing, False)
            writes = asyncio.create_task(Output(writing).write(data))
            got = b""
            while len(got) < len(data):
                got += await asyncio.to_thread(os.read, reading, 1 << 16)
            await writes
            return got

    assert asyncio.run(body()) == data


def test_a_reader_that_left_is_noticed_with_and_without_writing():
    async def body():
        with pipe() as ends:
            output = Output(ends[1])
            assert not output.reader_left()
            os.close(ends.pop(0))
            assert output.reader_left()
            with pytest.raises(BrokenPipeError):
                await output.write(b"x")

    asyncio.run(body())


def test_a_full_disk_is_an_error():
    async def body():
        descriptor = os.open("/dev/full", os.O_WRONLY)
        try:
            await Output(descriptor).write(b"x")
        finally:
            os.close(descriptor)

    with pytest.raises(OSError, match="No space left"):
        asyncio.run(body())
