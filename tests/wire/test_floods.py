"""A peer that sends too much of something: cut off at once, and nothing grows or stands still."""

from __future__ import annotations

import asyncio
import resource
import struct
import zlib
from pathlib import Path

from tests.io import raw_server as ws
from tests.io.test_picows import play

from gapless.errors import ProtocolViolation

MIB = 1 << 20


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Meter:
    """How late the loop comes to its turn."""

    def __init__(self):
        self.worst_s = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self):
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + 0.005
            await asyncio.sleep(0.005)
            self.worst_s = max(self.worst_s, loop.time() - due_s)

    async def stop(self):
        self._task.cancel()
        await asyncio.wait((self._task,))
        return self.worst_s


def flooded(parts, close_code):
    """Send it all over a connection with usual limits; return how much memory it took."""
    took = []

    async def scenario(stage):
        _, recorder, peer = await stage.dial()
        peer.raw(ws.frame(ws.TEXT, b"good"))
        await recorder.until(lambda r: r.events)
        before = resident()
        for part in parts:
            if recorder.causes:
                break
            peer.raw(part)
            await asyncio.sleep(0)
        cause = await recorder.closed()
        took.append(resident() - before)
        assert type(cause) is ProtocolViolation
        assert cause.close_code == close_code
        assert [event for event in recorder.events if event[0] != "ping"] == [("text", "good")]

    play(scenario)
    (grown,) = took
    print(f"{grown / MIB:.1f} MiB more")
    return grown


def test_a_frame_that_claims_to_be_huge_is_refused_by_its_header():
    header = bytes([0x82, 127]) + struct.pack("!Q", 1 << 62)
    assert flooded([header], 1009) <= MIB


def test_a_message_in_endless_fragments_is_cut_off():
    first = ws.frame(ws.TEXT, b"x", fin=False)
    more = ws.frame(ws.CONTINUATION, b"x", fin=False) * 1000
    assert flooded([first, *[more] * 300], 1009) <= 8 * MIB


def test_a_compressed_bomb_is_refused_unread():
    bomb = zlib.compress(bytes(64 * MIB), 9)[2:-4]
    assert len(bomb) < 128 << 10
    assert flooded([ws.frame(ws.TEXT, bomb, rsv=4)], 1002) <= 8 * MIB


def test_a_flood_of_pings_is_cut_off_and_the_loop_goes_on(measure):
    """Of what is ours: the meter runs in one loop with the server that sends the flood."""
    worst = []

    async def scenario(stage):
        _, recorder, peer = await stage.dial()
        before, meter = resident(), Meter()
        for _ in range(200):
            if recorder.causes:
                break
            peer.raw(ws.frame(ws.PING) * 1000)
            await asyncio.sleep(0)
        cause = await recorder.closed()
        worst.append((await meter.stop(), resident() - before))
        assert type(cause) is ProtocolViolation
        assert cause.close_code == 1008
        assert len(recorder.events) <= 100, "no more pings were told than a second may have"
        pongs = [word for word in peer.heard if word[0] == "pong"]
        assert len(pongs) <= 100

    play(scenario)
    ((late_s, grown),) = worst
    print(f"loop at most {1000 * late_s:.1f} ms late, {grown / MIB:.1f} MiB more")
    measure("floods.pings_ms", 1000 * late_s)
    assert grown <= 8 * MIB
