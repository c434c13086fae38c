"""What recording costs the feed: CPU time of the event loop's thread, and how late its timers are.

    python -m benchmarks.recording [--rate N] [--seconds S]

One feed reads frames from a paced server, and the recorder is put in and taken out again every
0.4 s, so that both ways meet the same machine in the same mood; the first quarter of each stretch
counts for neither.  CPU time is that of the loop's thread alone (getrusage, RUSAGE_THREAD), and
the difference is taken between neighbours.  The lag is that of a timer every 2 ms.  The recorder
syncs every block, as it does by default.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import uvloop

import gapless
from benchmarks.blast import MAGIC, frame, read_frame
from benchmarks.pipeline import record
from gapless.capture.recorder import Recorder
from gapless.capture.verifying import verify
from gapless.capture.writer import CaptureWriter
from gapless.io.driver import Driver
from gapless.io.runtime import system_runtime

VENUE, SYMBOL = "deribit", "BTC-PERPETUAL"
STEP_S = 0.004
STRETCH_S = 0.4
LAG_S = 0.002


@dataclass
class Stretch:
    """A stretch with or without the recorder.

    Attributes:
        loop_us, process_us: CPU time for each frame, of the loop's thread and of the process.
        lag_ms: How late the timers were.
    """

    recording: bool
    loop_us: float
    process_us: float
    lag_ms: list[float]


def cpu_us(who: int) -> float:
    used = resource.getrusage(who)
    return (used.ru_utime + used.ru_stime) * 1e6


# -- the server ---------------------------------------------------------------------------------


async def serve(frames: list[bytes], rate: float) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        start = head.lower().index("sec-websocket-key:") + len("sec-websocket-key:")
        key = head[start:].split("\r\n", 1)[0].strip()
        accept = base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        while await answer(reader, writer) != "public/subscribe":
            pass
        answering = asyncio.create_task(answer_all(reader, writer))
        began_s, sent = time.perf_counter(), 0
        while sent < len(frames):
            due = min(len(frames), int((time.perf_counter() - began_s) * rate) + 1)
            writer.write(b"".join(frames[sent:due]))
            sent = due
            await writer.drain()
            await asyncio.sleep(STEP_S)
        await answering

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await answer(reader, writer)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Answer one message; return its method."""
        opcode, payload = await read_frame(reader)
        if opcode != 1:
            return ""
        call: dict[str, Any] = json.loads(payload)
        result = call.get("params", {}).get("channels", "ok")
        reply = {"jsonrpc": "2.0", "id": call["id"], "result": result}
        writer.write(frame(json.dumps(reply).encode()))
        return str(call["method"])

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# -- the client ---------------------------------------------------------------------------------


async def run_once(port: int, messages: int, folder: Path) -> tuple[list[Stretch], Recorder]:
    """Read all frames through the public API, by turns with and without the recorder."""
    writer = CaptureWriter(folder, VENUE, f"{time.time_ns():016x}", time.time_ns())
    recorder = Recorder(writer)
    options = gapless.Options(
        endpoints=[f"ws://127.0.0.1:{port}"],
        capacity=messages + 10,
        runtime=system_runtime(recorder),
    )
    stretches: list[Stretch] = []
    lag_ms: list[float] = []
    seen = 0

    async def watch() -> None:
        while True:
            due_s = time.perf_counter() + LAG_S
            await asyncio.sleep(LAG_S)
            lag_ms.append((time.perf_counter() - due_s) * 1e3)

    async def take_turns(driver: Driver) -> None:
        recording = False
        while True:
            recording = not recording
            driver._tap = recorder if recording else None
            await asyncio.sleep(STRETCH_S / 4)
            before = seen, cpu_us(resource.RUSAGE_THREAD), cpu_us(resource.RUSAGE_SELF)
            lag_ms.clear()
            await asyncio.sleep(STRETCH_S * 3 / 4)
            after = seen, cpu_us(resource.RUSAGE_THREAD), cpu_us(resource.RUSAGE_SELF)
            frames = after[0] - before[0]
            if frames:
                each = [(late - early) / frames for early, late in zip(before, after, strict=True)]
                stretches.append(Stretch(recording, each[1], each[2], list(lag_ms)))

    book = gapless.book(SYMBOL, variant="100ms")
    tasks: list[asyncio.Task[None]] = []
    async with gapless.open(VENUE, book, options=options) as feed:
        async for _ in feed:
            seen += 1
            if not tasks:
                [driver] = feed._running().drivers.values()
                tasks = [asyncio.create_task(watch()), asyncio.create_task(take_turns(driver))]
            if seen >= messages:
                break
        for task in tasks:
            task.cancel()
    await recorder.close()
    if recorder.stopped or not all(verdict.whole for verdict in verify(folder)):
        raise RuntimeError(f"the capture is not whole: {recorder.stopped}")
    return stretches, recorder


def percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def show(stretches: list[Stretch], recorder: Recorder) -> None:
    for recording in (False, True):
        mine = [stretch for stretch in stretches if stretch.recording is recording]
        lag_ms = sorted(late for stretch in mine for late in stretch.lag_ms)
        print(
            f"{'recording' if recording else 'without':>10}: "
            f"loop thread {statistics.fmean(s.loop_us for s in mine):6.2f} us/frame, "
            f"process {statistics.fmean(s.process_us for s in mine):6.2f} us/frame, "
            f"lag p50 {percentile(lag_ms, 0.5):.2f} ms, p99 {percentile(lag_ms, 0.99):.2f} ms, "
            f"p99.9 {percentile(lag_ms, 0.999):.2f} ms"
        )
    differences = sorted(
        (b.loop_us - a.loop_us) * (1 if b.recording else -1) for a, b in pairwise(stretches)
    )
    count = len(differences)
    print(
        f"the recorder costs the loop's thread {statistics.median(differences):.2f} us a frame "
        f"(middle half of {count} comparisons: {differences[count // 4]:.2f} to "
        f"{differences[count * 3 // 4]:.2f}); "
        f"{recorder.written_bytes / max(1, recorder.records):.0f} bytes a record on the disk"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=5000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        texts: list[str] = json.loads(Path(arguments.serve).read_text())
        asyncio.run(serve([frame(text.encode()) for text in texts], arguments.rate))
        return
    messages = int(arguments.rate * arguments.seconds)
    texts = list(record(VENUE, SYMBOL, messages, 2000)["frames"])  # type: ignore[call-overload]
    # The venue's 100 ms channel, so that no login is needed; the frames are of the same kind.
    texts = [text.replace(".raw", ".100ms") for text in texts]
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch, "frames.json")
        prepared.write_text(json.dumps(texts))
        command = [sys.executable, "-m", "benchmarks.recording", "--serve", str(prepared)]
        server = subprocess.Popen(
            [*command, "--rate", str(arguments.rate)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            stretches, recorder = uvloop.run(run_once(port, len(texts) - 1, Path(scratch, "run")))
        finally:
            server.kill()
            server.wait()
    size = sum(map(len, texts)) / len(texts)
    print(f"{len(texts)} frames of {size:.0f} B at {arguments.rate:.0f}/s")
    show(stretches, recorder)


if __name__ == "__main__":
    main()
