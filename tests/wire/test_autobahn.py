"""Conformance: the Autobahn cases of sections 1 to 10, with our transport as an echoing client.

The cases come from the ``kosoku`` package, which serves the Autobahn case files without Docker.
Sections 12 and 13 test compression, which is not offered.
"""

import asyncio
import collections
from typing import Final

import kosoku
import pytest
from picows import WSMsgType

from gapless.errors import ConnectionLost, ProtocolViolation
from gapless.io.clock import SystemClock
from gapless.io.picows import PicowsConnector
from gapless.io.transport import DialOptions, Limits, Transport

CASES: Final = 301
SECTIONS: Final = [f"{section}.*" for section in (1, 2, 3, 4, 5, 6, 7, 9, 10)]  # 8 is empty
# Case number -> why our answer is right although the case says otherwise.
EXCLUSIONS: Final[dict[str, str]] = {}
# Section 9 sends messages of 16 MiB and cuts 4 MiB into fragments of 64 bytes; the defaults
# refuse the latter on purpose.
LIMITS: Final = Limits(message_bytes=16 << 20, fragments=1 << 16, control_per_s=10_000)


class Echo:
    """Sends every message back."""

    def __init__(self):
        self.transport: Transport | None = None
        self.texts = []
        self.ended = asyncio.get_running_loop().create_future()

    def on_text(self, text, mono_ns):
        self.texts.append(text)
        self.transport.send_text(text)

    def on_binary(self, payload, mono_ns):
        # The contract sends text only: no venue takes anything else.  The cases want bytes back.
        self.transport._ws.send(WSMsgType.BINARY, payload)

    def on_ping(self, mono_ns):
        pass

    def on_pong(self, payload, mono_ns):
        pass

    def on_closed(self, cause):
        self.ended.set_result(cause)


class Reader(Echo):
    """Keeps every message."""

    def on_text(self, text, mono_ns):
        self.texts.append(text)


async def talk(url, receiver, within_s):
    receiver.transport = await PicowsConnector(SystemClock())(
        url, receiver, DialOptions(limits=LIMITS)
    )
    async with asyncio.timeout(within_s):
        cause = await receiver.ended
    assert isinstance(cause, ConnectionLost | ProtocolViolation), repr(cause)


async def drive():
    """Run every case and return the results by case number."""
    async with kosoku.run_fuzzingserver(SECTIONS, port=0) as server:
        base = f"ws://{server.address}:{server.port}"
        counted = Reader()
        await talk(f"{base}/getCaseCount", counted, 5)
        for case in range(1, int(counted.texts[0]) + 1):
            await talk(f"{base}/runCase?case={case}&agent=gapless", Echo(), 60)
        await talk(f"{base}/updateReports?agent=gapless", Reader(), 5)
        try:
            results = await server.get_result()
        except kosoku.FailureError as exc:
            results = exc.results
    return {result.case_id: result for result in results}


@pytest.fixture(scope="module")
def results():
    return asyncio.run(drive())


def test_every_case_of_sections_1_to_10_ran(results):
    assert len(results) == CASES


def test_no_case_fails_but_the_named_exclusions(results):
    failed = {
        number: f"{result.behavior.value}, close: {result.behavior_close.value}"
        for number, result in results.items()
        if not result.passed
    }
    print(collections.Counter(result.behavior.value for result in results.values()))
    assert failed.keys() == EXCLUSIONS.keys(), failed
