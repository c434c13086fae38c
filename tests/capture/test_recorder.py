"""Recording from an event loop: whole, bounded, silent about secrets, and never in the way."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
import time

import pytest
from tests.capture.captures import T0

from gapless.capture import recorder as module
from gapless.capture.reader import open_capture
from gapless.capture.recorder import REDACTED, Recorder, redacted
from gapless.capture.verifying import verify
from gapless.capture.writer import CaptureWriter, WriterLimits

CANARY = "canary-7f3a9b"


def make_writer(folder, **limits):
    return CaptureWriter(
        folder, "deribit", "0123456789abcdef", T0, limits=WriterLimits(**limits), fsync="never"
    )


def record(folder, feed, **more):
    """Run ``feed`` with a recorder; return the recorder once it is closed."""

    async def main():
        recorder = Recorder(make_writer(folder), **more)
        await feed(recorder)
        await recorder.close()
        return recorder

    return asyncio.run(main())


def test_everything_that_a_tap_is_told_is_written_in_order(tmp_path):
    async def feed(recorder):
        recorder.opened("a.1", "wss://venue/ws", 1, 11)
        recorder.sent("a.1", '{"op":"sub"}', 2, 12)
        recorder.received("a.1", '{"ok":1}', 3, 13)
        recorder.received_binary("a.1", b"\xff\0", 4, 14)
        recorder.answered("https://venue/x?y=1", None, 200, b'{"z":2}', 5, 15)
        recorder.answered("https://venue/x", '{"q":1}', 503, b"\xff", 6, 16)
        recorder.closed("a.1", "ConnectionLost: closed with 1001", 7, 17)
        recorder.note("word", {"a": 1}, 8, 18)
        assert (recorder.frames_in, recorder.frames_out, recorder.exchanges) == (2, 1, 2)

    recorder = record(tmp_path, feed)
    found = list(open_capture(tmp_path))
    assert [(r.kind, r.mono_ns, r.wall_ns) for r in found] == [
        (kind, n, n + 10)
        for n, kind in enumerate(("open", "out", "in", "in", "rest", "rest", "close", "meta"), 1)
    ]
    assert found[0].url == "wss://venue/ws"
    assert found[1].text == '{"op":"sub"}'
    assert found[2].text == '{"ok":1}'
    assert base64.b64decode(found[3].binary) == b"\xff\0"
    assert (found[4].url, found[4].status, found[4].text) == ("https://venue/x?y=1", 200, '{"z":2}')
    assert (found[5].request, found[5].status) == ('{"q":1}', 503)
    assert base64.b64decode(found[5].binary) == b"\xff"
    assert found[6].text == "ConnectionLost: closed with 1001"
    assert (found[7].event, json.loads(found[7].text)) == ("word", {"a": 1})
    assert (recorder.frames_in, recorder.frames_out, recorder.exchanges) == (2, 1, 2)
    assert (recorder.records, recorder.lost, recorder.stopped) == (8, 0, None)


def test_many_frames_over_some_time_are_all_there(tmp_path):
    async def feed(recorder):
        for burst in range(10):
            for n in range(700):
                recorder.received("a.1", f"{burst} {n}", burst * 700 + n, 0)
            await asyncio.sleep(0.02)

    recorder = record(tmp_path, feed)
    assert [r.text for r in open_capture(tmp_path)] == [
        f"{burst} {n}" for burst in range(10) for n in range(700)
    ]
    assert recorder.records == recorder.frames_in == 7000


def test_what_gathers_is_handed_over_by_time_without_anybody_asking(tmp_path):
    async def main():
        recorder = Recorder(make_writer(tmp_path, block_ns=0))
        recorder.received("a.1", "one", 1, 1)
        async with asyncio.timeout(10):
            while not recorder.records:
                await asyncio.sleep(0.005)
        await recorder.close()

    asyncio.run(main())
    assert len(list(open_capture(tmp_path))) == 1


# -- secrets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"result":{"access_token":"CANARY","expires_in":9,"refresh_token":"CANARY"}}',
        '{"access_token" : "CANARY\\"quoted CANARY"}',
        '{"refresh_token":\n"CANARY"}',
    ],
)
def test_tokens_in_answers_never_reach_the_disk(tmp_path, text):
    told = text.replace("CANARY", CANARY)

    async def feed(recorder):
        recorder.received("a.1", told, 1, 1)
        recorder.answered("https://v/auth", None, 200, told.encode(), 2, 2)

    record(tmp_path, feed)
    found = list(open_capture(tmp_path))
    assert [r.text for r in found] == [redacted(told)] * 2
    assert REDACTED in found[0].text
    assert CANARY not in "".join(r.text for r in found)
    assert set(json.loads(found[0].text)) == set(json.loads(told))


def test_frames_without_tokens_are_not_touched():
    for text in ('{"token":"x"}', '{"a":"access_token"}', "", '{"access_token":5}'):
        assert redacted(text) == text


# -- trouble ----------------------------------------------------------------------------------


class Stuck:
    """Stands in for a disk that takes nothing until it is let."""

    def __init__(self, monkeypatch):
        self.let = threading.Event()
        real = os.write

        def write(handle, data):
            self.let.wait(20)
            return real(handle, data)

        self.start = lambda: monkeypatch.setattr(os, "write", write)


def test_a_disk_that_cannot_keep_up_stops_the_recording_and_not_the_feed(tmp_path, monkeypatch):
    stuck, said = Stuck(monkeypatch), []

    async def feed(recorder):
        recorder.received("a.1", "first", 0, 0)
        await asyncio.sleep(0.1)
        stuck.start()
        longest = 0.0
        for n in range(200):
            began = time.perf_counter()
            recorder.received("a.1", "x" * 10_000, n, 0)
            longest = max(longest, time.perf_counter() - began)
            if n % 20 == 0:
                await asyncio.sleep(0.06)
        await asyncio.sleep(0.1)
        assert longest < 0.5
        assert recorder.stopped is not None
        stuck.let.set()

    recorder = record(tmp_path, feed, waiting_max_bytes=1_000_000, on_stopped=said.append)
    assert said == [recorder.stopped]
    assert "cannot keep up" in said[0]
    found = list(open_capture(tmp_path))
    *frames, last = found
    assert last.event == "stopped"
    lost = json.loads(last.text)["lost"]
    assert lost == recorder.lost > 0
    assert len(frames) + lost == 201 == recorder.frames_in
    assert len(frames) > 50
    assert all(verdict.whole for verdict in verify(tmp_path))


def test_a_full_disk_stops_the_recording_loudly_and_says_how_much_is_lost(tmp_path, monkeypatch):
    real, room, said = os.write, [30_000], []

    def write(handle, data):
        if len(data) > room[0] > 0:
            room[0] = 0
            raise OSError(28, "No space left on device")
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)

    async def feed(recorder):
        for n in range(40):
            recorder.received("a.1", os.urandom(600).hex(), n, 0)
            await asyncio.sleep(0.06 if n % 10 == 0 else 0)
        recorder.received("a.1", os.urandom(40_000).hex(), 40, 0)
        await asyncio.sleep(0.1)

    async def main():
        recorder = Recorder(make_writer(tmp_path, block_bytes=5000), on_stopped=said.append)
        await feed(recorder)
        recorder.received("a.1", "too late", 41, 0)
        await recorder.close()
        return recorder

    recorder = asyncio.run(main())
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert str(tmp_path) in said[0]
    found = list(open_capture(tmp_path))
    assert found[-1].event == "stopped"
    assert json.loads(found[-1].text)["lost"] == recorder.lost
    assert len(found) - 1 + recorder.lost == 42 == recorder.frames_in


def test_a_disk_that_takes_nothing_at_the_end_is_given_up(tmp_path, monkeypatch):
    stuck = Stuck(monkeypatch)
    monkeypatch.setattr(module, "CLOSE_S", 0.2)

    async def main():
        recorder = Recorder(make_writer(tmp_path))
        recorder.received("a.1", "one", 1, 1)
        stuck.start()
        began = time.perf_counter()
        await recorder.close()
        assert time.perf_counter() - began < 5
        assert "did not take the rest" in (recorder.stopped or "")
        assert recorder.lost == 1
        stuck.let.set()

    asyncio.run(main())


def test_a_frame_costs_the_loop_little(tmp_path):
    # A generous bound, against an order of magnitude: the benchmark measures the real figure.
    async def feed(recorder):
        text, spent_ns = "x" * 300, []
        for _ in range(20):
            began_ns = time.thread_time_ns()
            for n in range(500):
                recorder.received("a.1", text, n, n)
            spent_ns.append((time.thread_time_ns() - began_ns) / 500)
            await asyncio.sleep(0.002)
        assert min(spent_ns) < 5_000

    record(tmp_path, feed)
