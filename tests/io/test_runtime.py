"""The real parts are chosen in one place."""

from __future__ import annotations

import asyncio
import time

from gapless.io.picows import PicowsConnector
from gapless.io.rest import AiohttpRest
from gapless.io.runtime import system_runtime
from gapless.io.transport import DialOptions


def test_the_system_runtime_is_the_real_thing():
    runtime = system_runtime()
    assert isinstance(runtime.connector, PicowsConnector)
    before, now, after = time.monotonic_ns(), runtime.clock.mono_ns(), time.monotonic_ns()
    assert before <= now <= after
    assert abs(runtime.clock.wall_ns() - time.time_ns()) < 1_000_000_000


def test_rest_reads_get_the_authority_and_the_proxy_of_the_dial():
    async def main():
        options = DialOptions(ca_file="/some/ca.pem", proxy="http://proxy.test:3128")
        client = system_runtime().rest(options)
        assert isinstance(client, AiohttpRest)
        assert (client._ca_file, client._proxy) == ("/some/ca.pem", "http://proxy.test:3128")
        await client.close()

    asyncio.run(main())
