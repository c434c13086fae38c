"""A capture as a connector: what is played when, to whom, and what becomes of misfits."""

from __future__ import annotations

import asyncio

import pytest

from gapless.capture.records import Record
from gapless.capture.replay import LEAD_NS, PATIENCE_NS, Replay
from gapless.capture.script import make_script
from gapless.errors import ConnectionLost, DialFailed, RateLimited, RequestRejected
from gapless.io.transport import DialOptions
from gapless.testing.clock import VirtualClock, run
from gapless.venues._profile import RestGet

MS = 1_000_000
SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def made(*lines):
    """Return a script of ``(kind, conn, ms, text[, url[, status]])``, of ours."""
    records = [Record("meta", "recorder", 0, T0, "{}", None, 1)]
    for kind, conn, ms, text, *more in lines:
        url, status = (*more, None, None)[:2]
        ns = ms * MS
        records.append(Record(kind, conn, ns, T0 + ns, text, url, len(records) + 1, status))
    return make_script(records)


class Client:
    """A receiver that keeps what it is told, and when, after the start."""

    def __init__(self, clock, fails_at=None):
        self.clock = clock
        self.start_ns = clock.mono_ns()
        self.told = []
        self.closed = None
        self._fails_at = fails_at

    def on_text(self, text, mono_ns):
        assert mono_ns == self.clock.mono_ns()
        self.told.append(((mono_ns - self.start_ns) // MS, text))
        if text == self._fails_at:
            raise ZeroDivisionError(text)

    def on_pong(self, payload, mono_ns):
        self.told.append(((mono_ns - self.start_ns) // MS, payload))

    def on_closed(self, cause):
        assert self.closed is None
        self.closed = ((self.clock.mono_ns() - self.start_ns) // MS, cause)


def play(test, script, **how):
    """Run ``await test(replay, clock)`` in virtual time."""
    clock = VirtualClock()

    async def main():
        await test(Replay(script, clock, **how), clock)

    run(main(), clock)


TWO = made(
    ("open", "a.1", 10, "", "wss://v/one"),
    ("open", "b.2", 15, "", "wss://v/two"),
    ("in", "a.1", 20, "hello"),
    ("in", "a.1", 50, "data"),
    ("close", "a.1", 60, "ConnectionLost: closed with 1012 restart"),
    ("in", "b.2", 70, "other"),
    ("close", "b.2", 80, "planned"),
)


def test_each_dial_gets_the_next_connection_of_its_path_with_its_own_timing():
    async def main(replay, clock):
        two, one = Client(clock), Client(clock)
        await asyncio.gather(
            replay.connect("ws://x/two", two, DialOptions()),
            replay.connect("ws://x/one", one, DialOptions()),
        )
        await asyncio.sleep(10)
        assert one.told == [(20, "hello"), (50, "data")]
        assert two.told == [(70, "other")]
        at_ms, cause = one.closed
        assert at_ms == 60
        assert (cause.code, cause.reason) == (1012, "restart")
        assert two.closed is None  # the recorder closed it: that is up to the client

    play(main, TWO)


def test_speed_shortens_everything():
    async def main(replay, clock):
        client = Client(clock)
        await replay.connect("ws://x/one", client, DialOptions())
        await replay.over()
        assert client.told == [(2, "hello"), (5, "data")]
        assert client.closed[0] == 6

    play(main, TWO, speed=10)
    with pytest.raises(ValueError, match="positive"):
        Replay(TWO, VirtualClock(), speed=0)


def test_a_dial_before_the_recorded_one_waits_and_one_too_early_fails():
    script = made(
        ("open", "a.1", 1000, "", "wss://v/"),
        ("in", "a.1", 1001, "hello"),
        ("open", "a.2", 60_000, "", "wss://v/"),
        ("in", "a.2", 60_001, "again"),
    )

    async def main(replay, clock):
        client = Client(clock)
        await replay.connect("ws://x/", client, DialOptions())
        assert (clock.mono_ns() - client.start_ns) // MS == 1000
        with pytest.raises(DialFailed, match="comes later"):
            await replay.connect("ws://x/", Client(clock), DialOptions())
        await asyncio.sleep(55)
        async with asyncio.timeout(0.5):
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(_cancelled(replay, clock), None)
        later = Client(clock)
        await replay.connect("ws://x/", later, DialOptions(timeout_ns=10 * SECOND))
        await asyncio.sleep(10)
        assert [text for _, text in later.told] == ["again"]
        with pytest.raises(DialFailed, match="no further"):
            await replay.connect("ws://x/", Client(clock), DialOptions())

    async def _cancelled(replay, clock):
        task = asyncio.create_task(
            replay.connect("ws://x/", Client(clock), DialOptions(timeout_ns=10 * SECOND))
        )
        await asyncio.sleep(0.1)
        task.cancel()
        await task

    play(main, script)


def test_a_dial_later_than_recorded_keeps_the_distances():
    async def main(replay, clock):
        await replay.connect("ws://x/two", Client(clock), DialOptions())
        await asyncio.sleep(5)
        late = Client(clock)
        await replay.connect("ws://x/one", late, DialOptions())
        await replay.over()
        assert late.told == [(10, "hello"), (40, "data")]

    play(main, TWO)


ASKED = made(
    ("open", "a.1", 0, "", "wss://v/"),
    ("out", "a.1", 1, "ask"),
    ("in", "a.1", 5, "yes"),
    ("in", "a.1", 6, "data"),
    ("out", "a.1", 7, "more"),
    ("in", "a.1", 8, "rest"),
)


def test_an_answer_waits_for_its_question_but_not_for_ever():
    async def main(replay, clock):
        client = Client(clock)
        transport = await replay.connect("ws://x/", client, DialOptions())
        await asyncio.sleep(0.5)
        assert client.told == []
        transport.send_text("ask")
        await asyncio.sleep(0.1)
        assert client.told == [(500, "yes"), (500, "data")]
        await asyncio.sleep(10)
        assert client.told[2:] == [(8 + PATIENCE_NS // MS, "rest")]
        assert replay.unlike == 0

    play(main, ASKED)


def test_what_the_client_says_differently_is_counted():
    async def main(replay, clock):
        transport = await replay.connect("ws://x/", Client(clock), DialOptions())
        for text in ("ask", "other", "more"):
            transport.send_text(text)
        assert replay.unlike == 2

    play(main, ASKED)


def test_a_paused_client_is_told_nothing_and_everything_after():
    async def main(replay, clock):
        client = Client(clock)
        transport = await replay.connect("ws://x/one", client, DialOptions())
        transport.pause()
        await asyncio.sleep(1)
        assert client.told == []
        transport.resume()
        await asyncio.sleep(0.1)
        assert [text for _, text in client.told] == ["hello", "data"]
        assert client.closed is not None

    play(main, TWO)


@pytest.mark.parametrize("way", ["close", "abort"])
def test_the_client_may_end_it(way):
    async def main(replay, clock):
        client = Client(clock)
        transport = await replay.connect("ws://x/one", client, DialOptions())
        transport.ping(b"p")
        await asyncio.sleep(0.025)
        getattr(transport, way)()
        transport.send_text("too late")
        await asyncio.sleep(1)
        assert [text for _, text in client.told] == [b"p", "hello"]
        assert isinstance(client.closed[1], ConnectionLost)
        await replay.over()

    play(main, TWO)


def test_a_receiver_that_raises_gets_its_own_error():
    async def main(replay, clock):
        client = Client(clock, fails_at="hello")
        await replay.connect("ws://x/one", client, DialOptions())
        await asyncio.sleep(1)
        assert [text for _, text in client.told] == ["hello"]
        assert isinstance(client.closed[1], ZeroDivisionError)

    play(main, TWO)


# -- foreign captures -------------------------------------------------------------------------


FOREIGN = make_script(
    [
        Record("in", "ws.1", None, T0, "one", None, 1),
        Record("out", "ws.2", None, T0, "theirs", None, 2),
        Record("in", "ws.2", None, T0 + 10 * MS, "two", None, 3),
        Record("in", "ws.1", None, T0 + 20 * MS, "three", None, 4),
    ]
)


def test_everybody_gets_all_of_a_foreign_capture_marked_by_connection():
    async def main(replay, clock):
        assert replay.granting
        first, second = Client(clock), Client(clock)
        transport = await replay.connect("ws://x/a", first, DialOptions())
        transport.send_text("mine")
        await replay.connect("ws://x/b", second, DialOptions())
        await replay.over()
        lead_ms = LEAD_NS // MS
        frames = [
            (lead_ms, "\0<ws.1\none"),
            (lead_ms + 10, "\0<ws.2\ntwo"),
            (lead_ms + 20, "\0<ws.1\nthree"),
        ]
        assert first.told == [(0, "\0?mine"), *frames]
        assert second.told == frames

    play(main, FOREIGN)


def test_a_dial_into_the_middle_is_refused_while_somebody_listens():
    async def main(replay, clock):
        transport = await replay.connect("ws://x/", Client(clock), DialOptions())
        await asyncio.sleep(LEAD_NS / SECOND + 0.005)
        with pytest.raises(DialFailed, match="played already"):
            await replay.connect("ws://x/", Client(clock), DialOptions())
        transport.abort()
        await asyncio.sleep(0)
        late = Client(clock)
        await replay.connect("ws://x/", late, DialOptions())
        await replay.over()
        assert [text for _, text in late.told] == ["\0<ws.2\ntwo", "\0<ws.1\nthree"]

    play(main, FOREIGN)


# -- requests ---------------------------------------------------------------------------------


class Errors:
    """The part of a venue's REST dialect that reads errors."""

    def read_error(self, body):
        return (7, "no") if body == b"error" else None


def test_requests_are_answered_when_they_were_with_what_they_were():
    script = made(
        ("rest", "rest", 500, "later", "https://v/api/v1/book?symbol=A"),
        ("rest", "rest", 0, "error", "https://v/refused", 400),
        ("rest", "rest", 0, "what", "https://v/odd", 500),
        ("rest", "rest", 0, "slow down", "https://v/limited", 429),
    )

    async def main(replay, clock):
        client = Client(clock)
        with pytest.raises(DialFailed, match="no further"):
            await replay.connect("ws://x/", client, DialOptions())
        rest = replay.rest(DialOptions())

        async def get(path, *query):
            request = RestGet(path, query, "pool", 1)
            return await rest.get("http://capture.invalid", request, Errors())

        assert await get("/api/v3/book", ("symbol", "A")) == b"later"
        assert (clock.mono_ns() - client.start_ns) // MS == 500
        with pytest.raises(RequestRejected):
            await get("/refused")
        with pytest.raises(DialFailed, match="500"):
            await get("/odd")
        with pytest.raises(RateLimited):
            await get("/limited")
        with pytest.raises(DialFailed, match="holds no answer"):
            await get("/api/v3/book", ("symbol", "B"))
        await rest.close()

    play(main, script)
