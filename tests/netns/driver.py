"""The client of the network tests, in a process of its own: feeds that are opened by command.

Commands are lines of JSON on standard input, what happens are lines on standard output; times are
of the monotonic clock, which all processes of a machine share.

    {"do": "open", "name": ..., "endpoints": [...], "lines": 1, "count": 1, "keep": FILE, ...}
    {"do": "close", "name": ...}      writes everything that was kept
    {"do": "newest", "name": ...}     says when the newest message of each came
    {"do": "block", "seconds": 2}     keeps the loop busy, as a callback may

``count`` feeds of one name are opened and numbered.  Said are every ``notice``, the ``first``
message of each session, and the first message of each ``late`` stretch.  A notice says when the
newest message of its session came, and a ``lag`` that the machine gave us no turn.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import gapless
from gapless.cli.ndjson import event_line, notice_line
from gapless.events import Gap, Resynced

LATE_NS = 500_000_000
LOOK_S = 0.02
LAG_S = 0.01


def say(what, **fields):
    sys.stdout.write(json.dumps({"type": what, **fields}) + "\n")
    sys.stdout.flush()


class Follower:
    """One feed, read as fast as it comes."""

    def __init__(self, name, number, asked):
        self.who = {"name": name, "feed": number}
        self.keep = asked.get("keep")
        self.kept, self.newest_ns, self.late = [], {0: 0}, False
        symbols = asked.get("symbols", ["BTC-PERPETUAL"])
        endpoints = asked["endpoints"]
        lines = asked.get("lines", 1)
        if lines > 1 and len(endpoints) > 1:
            lines = [gapless.Line(endpoint=endpoint) for endpoint in endpoints]
        options = gapless.Options(
            endpoints=endpoints,
            lines=lines,
            dial_timeout=asked.get("dial_timeout", 5.0),
            seed=asked.get("seed", number),
        )
        wanted = [gapless.book(*symbols), gapless.trades(*symbols)]
        if self.keep:
            wanted += [gapless.bbo(*symbols), gapless.ticker(*symbols)]
        self.feed = gapless.open(asked.get("venue", "deribit"), *wanted, options=options)

    async def run(self, closing):
        async with self.feed:
            tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]
            tasks += [asyncio.create_task(closing.wait())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()
            while (event := self.feed.take()) is not None:
                self._take(event)
            stats = self.feed.stats()
        if self.keep:
            with open(self.keep, "wb") as file:
                file.writelines(self.kept)
                file.writelines(map(notice_line, self.feed.notices()))
        counts = {"dials": stats.dials, "received": stats.received}
        counts |= {"duplicates": stats.duplicates, "gaps": stats.gaps}
        say("closed", **self.who, **counts)

    async def _read(self):
        async for event in self.feed:
            self._take(event)

    def _take(self, event):
        if self.keep:
            self.kept.append(b'%b,"taken_ns":%d}\n' % (event_line(event)[:-2], time.time_ns()))
        if isinstance(event, Gap | Resynced):
            return
        if event.origin.epoch not in self.newest_ns:
            say("first", **self.who, epoch=event.origin.epoch, mono_ns=event.mono_ns)
        self.newest_ns[event.origin.epoch] = event.mono_ns
        late = event.event_ns is not None and event.recv_ns - event.event_ns > LATE_NS
        if late and not self.late:
            age_ms = (event.recv_ns - event.event_ns) / 1e6
            say("late", **self.who, mono_ns=event.mono_ns, age_ms=age_ms)
        self.late = late

    async def _watch(self):
        seen = 0
        while True:
            for notice in self.feed.notices(seen):
                seen = notice.number
                said = {"kind": notice.kind, "line": notice.line, "epoch": notice.epoch}
                said["data_ns"] = self.newest_ns.get(notice.epoch, notice.mono_ns)
                words = {"cause": notice.cause, "evidence": notice.evidence}
                say("notice", **self.who, mono_ns=notice.mono_ns, **said, **words)
            await asyncio.sleep(LOOK_S)


async def tell_lags():
    """Say when the loop came late to its turn: of a fault's time, that much is the machine's."""
    due_s = time.monotonic() + LAG_S
    while True:
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        now_ns = time.monotonic_ns()
        late_s = now_ns / 1e9 - due_s
        if late_s > LAG_S:
            say("lag", mono_ns=now_ns, late_s=late_s)
        due_s = now_ns / 1e9 + LAG_S


async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    closing, followers = {}, {}
    async with asyncio.TaskGroup() as tasks:
        lags = tasks.create_task(tell_lags())
        while line := await reader.readline():
            command = json.loads(line)
            match command.pop("do"):
                case "open":
                    name = command.pop("name")
                    closing[name], followers[name] = asyncio.Event(), []
                    for number in range(command.pop("count", 1)):
                        follower = Follower(name, number, command)
                        followers[name].append(follower)
                        tasks.create_task(follower.run(closing[name]))
                        await asyncio.sleep(0.013)  # no two in step
                case "close":
                    closing.pop(command["name"]).set()
                case "newest":
                    for follower in followers[command["name"]]:
                        say("newest", **follower.who, mono_ns=max(follower.newest_ns.values()))
                case "block":
                    time.sleep(command["seconds"])
                    say("blocked")
        for event in closing.values():
            event.set()
        lags.cancel()


if __name__ == "__main__":
    asyncio.run(main())
