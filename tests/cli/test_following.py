"""Following a feed made by hand: order, the summary, and readers that do not read."""

import asyncio
import json
import os

import pytest
from tests.cli import events as made

from gapless.cli import exits
from gapless.cli.following import JsonLines, TextLines, exit_code, follow, talk
from gapless.cli.output import Output
from gapless.cli.running import Stop, run
from gapless.cli.wording import Wording
from gapless.errors import ConnectionLost
from gapless.events import Notice


class HandFeed:
    """Yields what it is given, then waits until it is left, then the rest."""

    def __init__(self, events, *, at_the_end=(), failure=None):
        self._events = list(events)
        self._at_the_end = list(at_the_end)
        self._failure = failure
        self._left = asyncio.Event()
        self._notices = []
        self.taken = 0

    def note(self, *notices):
        self._notices += notices

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self._left.set()

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self._events and self._failure is not None:
            raise self._failure
        if not self._events:
            await self._left.wait()
            self._events, self._at_the_end = self._at_the_end, []
        if not self._events:
            raise StopAsyncIteration
        self.taken += 1
        return self._events.pop(0)

    def notices(self, after=0):
        return [notice for notice in self._notices if notice.number > after]

    def stats(self):
        return made.stats()


class Pipe:
    def __init__(self):
        self.reading, self.writing = os.pipe()

    async def lines(self, count):
        """Read until there are so many lines."""
        data = b""
        while data.count(b"\n") < count:
            data += await asyncio.to_thread(os.read, self.reading, 1 << 16)
        return data.splitlines()

    def close(self):
        for end in (self.reading, self.writing):
            if end is not None:
                os.close(end)


@pytest.fixture
def pipe():
    both = Pipe()
    yield both
    both.close()


def followed(pipe, feed_of, *, lines=None, count, then=None):
    """Follow until ``count`` lines were read; return all lines."""

    async def body(stop):
        feed = feed_of()
        task = asyncio.create_task(
            follow(feed, stop, Output(pipe.writing), lines or JsonLines(), talkative=False)
        )
        async with asyncio.timeout(10):
            seen = await pipe.lines(count)
            if then is not None:
                await then(feed)
            stop.ask()
            try:
                await task
            finally:
                os.close(pipe.writing)
                pipe.writing = None
                while rest := await asyncio.to_thread(os.read, pipe.reading, 1 << 16):
                    seen += rest.splitlines()
        return seen

    with Stop() as stop:
        return run(body, stop, None)


def types(lines):
    return [json.loads(line)["type"] for line in lines]


def test_events_notices_and_the_summary_last(pipe):
    def feed():
        feed = HandFeed([made.TRADE, made.GAP, made.RESYNCED], at_the_end=[made.BBO])
        feed.note(made.NOTICE)
        return feed

    seen = types(followed(pipe, feed, count=4))
    assert seen == ["trade", "notice", "gap", "resynced", "bbo", "summary"]


def test_text_has_the_same_order(pipe):
    lines = TextLines(Wording(colour=False))
    seen = followed(pipe, lambda: HandFeed([made.TRADE]), lines=lines, count=1)
    assert b"trades  buy" in seen[0]
    assert seen[1].startswith(b"9 received")
    assert b"ended: planned" in seen[-1]


def test_each_notice_comes_once(pipe):
    def feed():
        feed = HandFeed([made.TRADE])
        feed.note(made.NOTICE)
        return feed

    assert types(followed(pipe, feed, count=2)).count("notice") == 1


def test_a_failure_comes_after_the_summary(pipe):
    def feed():
        return HandFeed([made.TRADE], failure=ConnectionLost(1006))

    async def body(stop):
        await follow(feed(), stop, Output(pipe.writing), JsonLines(), talkative=False)

    with Stop() as stop, pytest.raises(ConnectionLost):
        run(body, stop, None)
    assert types(os.read(pipe.reading, 1 << 16).splitlines()) == ["trade", "summary"]


def test_a_reader_that_leaves_ends_it(pipe):
    async def body(stop):
        os.close(pipe.reading)
        pipe.reading = None
        async with asyncio.timeout(10):
            await follow(HandFeed([]), stop, Output(pipe.writing), JsonLines(), talkative=False)

    with Stop() as stop, pytest.raises(BrokenPipeError):
        run(body, stop, None)


def test_a_full_disk_ends_it():
    descriptor = os.open("/dev/full", os.O_WRONLY)

    async def body(stop):
        feed = HandFeed([made.TRADE])
        async with asyncio.timeout(10):
            await follow(feed, stop, Output(descriptor), JsonLines(), talkative=False)

    try:
        with Stop() as stop, pytest.raises(OSError, match="No space"):
            run(body, stop, None)
    finally:
        os.close(descriptor)


def test_a_reader_that_does_not_read_is_felt_in_the_feed_and_not_in_the_loop(pipe, monkeypatch):
    monkeypatch.setattr("gapless.cli.following.LAST_WRITE_S", 0.2)
    monkeypatch.setattr("gapless.cli.following.GATHERED_MAX", 100)
    total = 50_000

    async def body(stop):
        feed = HandFeed([made.TRADE] * total)
        task = asyncio.create_task(
            follow(feed, stop, Output(pipe.writing), JsonLines(), talkative=False)
        )
        taken = -1
        while taken != feed.taken:  # until it takes no more
            taken = feed.taken
            await asyncio.sleep(0.2)
        assert 0 < feed.taken < total
        stop.ask()
        async with asyncio.timeout(10):
            await task

    with Stop() as stop, pytest.raises(exits.Failure) as caught:
        run(body, stop, None)
    assert caught.value.code == 74
    assert "nobody reads stdout" in caught.value.message


@pytest.mark.parametrize(
    ("stats", "signum", "code", "words"),
    [
        (made.stats(), None, 0, ""),
        (made.stats(), 15, 0, ""),
        (made.stats(sessions=0), 15, 69, "ended before the venue had confirmed"),
        (made.stats(sessions=0), 2, 69, "ended before the venue had confirmed"),
        (
            made.stats(sessions=0, cause="DialFailed: ws://x: tcp failed: refused"),
            None,
            69,
            "gapless: no session went live: ws://x: tcp failed: refused\n",
        ),
        (made.stats(sessions=0), None, 69, "ended before the venue had confirmed"),
    ],
)
def test_exit_codes(stats, signum, code, words, capsys):
    stop = Stop()
    stop.signum = signum
    assert exit_code(stats, stop) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "cause", "words"),
    [
        ("live", "x", "gapless: deribit line a: live\n"),
        ("ended", "planned", ""),
        ("ended", "Stalled: silent for 9.0 s: x", "line a: ended: silent for 9.0 s: x\n"),
        ("refused", "no such topic", "line a: refused: no such topic\n"),
        ("dialing", "first", ""),
    ],
)
def test_talk_is_short(kind, cause, words, capsys):
    talk(Notice(1, "deribit", 1, 1, kind, "a", 1, None, None, cause, ""))
    said = capsys.readouterr().err
    assert said.endswith(words)
    assert bool(said) == bool(words)
