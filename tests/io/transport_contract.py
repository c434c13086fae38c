"""What every transport promises, as tests.

`TransportContract` is run once per implementation.  A subclass says how to run a scenario and
gives it a `Stage`; everything else is the same for a real socket and for one in memory.
"""

import asyncio

import pytest

from gapless.errors import (
    ConnectionLost,
    DialFailed,
    ProtocolViolation,
    RateLimited,
    UsageError,
)
from gapless.io.transport import DialOptions

SECOND = 1_000_000_000


class Recorder:
    """A receiver that keeps what it is told and, if asked, raises."""

    def __init__(self):
        self.events = []
        self.causes = []
        self.raising = {}

    def _note(self, kind, *what):
        assert not self.causes, "on_closed must be last"
        self.events.append((kind, *what))
        if kind in self.raising:
            raise self.raising[kind]

    def on_text(self, text, mono_ns):
        assert mono_ns > 0
        self._note("text", text)

    def on_binary(self, payload, mono_ns):
        assert mono_ns > 0
        self._note("binary", payload)

    def on_ping(self, mono_ns):
        assert mono_ns > 0
        self._note("ping")

    def on_pong(self, payload, mono_ns):
        assert mono_ns > 0
        self._note("pong", payload)

    def on_closed(self, cause):
        self.causes.append(cause)

    async def until(self, done):
        await until(lambda: done(self))

    async def closed(self):
        """Wait for the end, see that it is told only once, and return its cause."""
        await until(lambda: self.causes)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(self.causes) == 1
        return self.causes[0]


async def until(done, within_s=5.0):
    """Wait until ``done()`` is true; polling suits both kinds of time."""
    async with asyncio.timeout(within_s):
        while not done():
            await asyncio.sleep(0.001)


class Stage:
    """What a scenario plays on; an implementation gives every method but `dial`.

    A peer has ``heard`` and the methods text, binary, ping, pong, close, reset, violate, silence;
    the last stops it from answering close frames.
    """

    url: str
    connector: object
    options: dict = {}  # noqa: RUF012 -- nobody changes it

    def __init__(self):
        self.transports = []

    def peer(self):
        """Return the newest peer."""
        raise NotImplementedError

    def refuse(self, status, retry_after_s):
        """Refuse the next upgrades."""
        raise NotImplementedError

    def mute(self):
        """Answer no further dial."""
        raise NotImplementedError

    async def down(self):
        """Refuse connections."""
        raise NotImplementedError

    def greet(self, *texts):
        """Send ``texts`` together with the upgrade."""
        raise NotImplementedError

    async def dial(self, recorder=None, **options):
        recorder = recorder or Recorder()
        options = DialOptions(**{**self.options, **options})
        transport = await self.connector(self.url, recorder, options)
        self.transports.append(transport)
        return transport, recorder, self.peer()


class TransportContract:
    """The tests.  A subclass defines ``run(scenario)``."""

    def run(self, scenario):
        raise NotImplementedError

    # -- messages ---------------------------------------------------------------------------

    def test_texts_arrive_whole_and_in_order(self):
        async def scenario(stage):
            _, recorder, peer = await stage.dial()
            texts = [f"§{n}" + "x" * n for n in range(200)]
            for text in texts:
                peer.text(text)
            await recorder.until(lambda r: len(r.events) == len(texts))
            assert recorder.events == [("text", text) for text in texts]

        self.run(scenario)

    def test_binary_messages_arrive(self):
        async def scenario(stage):
            _, recorder, peer = await stage.dial()
            peer.binary(b"\xff\x00")
            await recorder.until(lambda r: r.events)
            assert recorder.events == [("binary", b"\xff\x00")]

        self.run(scenario)

    def test_sent_texts_arrive_in_order(self):
        async def scenario(stage):
            transport, _, peer = await stage.dial()
            for n in range(200):
                transport.send_text(f"é{n}")
            await until(lambda: len(peer.heard) == 200)
            assert peer.heard == [("text", f"é{n}") for n in range(200)]

        self.run(scenario)

    def test_nothing_is_told_before_the_dial_returns(self):
        async def scenario(stage):
            stage.greet("first", "second")
            recorder = Recorder()
            _, _, peer = await stage.dial(recorder)
            assert recorder.events == []
            peer.text("third")
            await recorder.until(lambda r: len(r.events) == 3)
            assert recorder.events == [("text", "first"), ("text", "second"), ("text", "third")]

        self.run(scenario)

    def test_a_pause_holds_messages_back_and_loses_none(self):
        async def scenario(stage):
            transport, recorder, peer = await stage.dial()
            transport.pause()
            peer.text("later")
            transport.send_text("still sending")
            await until(lambda: peer.heard == [("text", "still sending")])
            peer.text("last")
            await asyncio.sleep(0.01)
            assert recorder.events == []
            transport.resume()
            await recorder.until(lambda r: len(r.events) == 2)
            assert recorder.events == [("text", "later"), ("text", "last")]

        self.run(scenario)

    # -- control frames ---------------------------------------------------------------------

    def test_a_ping_is_answered_and_noted(self):
        async def scenario(stage):
            _, recorder, peer = await stage.dial()
            peer.ping(b"are you there")
            await until(lambda: peer.heard)
            assert peer.heard == [("pong", b"are you there")]
            assert recorder.events == [("ping",)]

        self.run(scenario)

    def test_our_ping_brings_its_pong(self):
        async def scenario(stage):
            transport, recorder, peer = await stage.dial()
            transport.ping(b"7")
            await recorder.until(lambda r: r.events)
            assert peer.heard == [("ping", b"7")]
            assert recorder.events == [("pong", b"7")]

        self.run(scenario)

    def test_a_ping_carries_125_bytes_and_no_more(self):
        async def scenario(stage):
            transport, recorder, _ = await stage.dial()
            with pytest.raises(UsageError):
                transport.ping(b"x" * 126)
            transport.ping(b"x" * 125)
            await recorder.until(lambda r: r.events)

        self.run(scenario)

    # -- ends -------------------------------------------------------------------------------

    @pytest.mark.parametrize("code", [1000, 1001, 1008, 1012, 1013, 3000, 4001, 4999])
    def test_a_close_frame_is_echoed_and_told(self, code):
        async def scenario(stage):
            _, recorder, peer = await stage.dial()
            peer.text("before")
            peer.close(code, "rest\x1b")
            cause = await recorder.closed()
            assert type(cause) is ConnectionLost
            assert (cause.code, cause.reason) == (code, "rest\\x1b")
            assert recorder.events == [("text", "before")]
            assert ("close", code, "") in peer.heard

        self.run(scenario)

    def test_a_close_frame_without_a_code_is_told_as_such(self):
        async def scenario(stage):
            _, recorder, peer = await stage.dial()
            peer.close(None)
            cause = await recorder.closed()
            assert type(cause) is ConnectionLost
            assert (cause.code, cause.reason) == (None, "")

        self.run(scenario)

    def test_the_end_comes_within_a_second_of_a_close_frame_even_if_tcp_stays_open(self):
        async def scenario(stage):
            _, recorder, peer = await stage.dial()
            peer.silence()
            began = asyncio.get_running_loop().time()
            peer.close(1012)
            cause = await recorder.closed()
            assert asyncio.get_running_loop().time() - began < 1.5
            assert cause.code == 1012

        self.run(scenario)

    def test_our_close_says_code_and_reason_once_and_ends_with_the_echo(self):
        async def scenario(stage):
            transport, recorder, peer = await stage.dial()
            transport.close(4000, "enough")
            transport.close(1000)
            cause = await recorder.closed()
            assert type(cause) is ConnectionLost
            assert cause.code == 4000
            await until(lambda: ("lost",) in peer.heard)
            assert peer.heard == [("close", 4000, "enough"), ("lost",)]

        self.run(scenario)

    def test_without_an_echo_our_close_ends_after_a_second(self):
        async def scenario(stage):
            transport, recorder, peer = await stage.dial()
            peer.silence()
            began = asyncio.get_running_loop().time()
            transport.close()
            cause = await recorder.closed()
            took_s = asyncio.get_running_loop().time() - began
            assert 0.99 <= took_s < 1.5
            assert type(cause) is ConnectionLost
            assert cause.code is None

        self.run(scenario)

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
    def test_a_code_that_must_not_be_sent_is_refused(self, code):
        async def scenario(stage):
            transport, _, peer = await stage.dial()
            with pytest.raises(UsageError):
                transport.close(code)
            transport.send_text("still open")
            await until(lambda: peer.heard)
            assert peer.heard == [("text", "still open")]

        self.run(scenario)

    def test_sending_after_close_does_nothing(self):
        async def scenario(stage):
            transport, recorder, peer = await stage.dial()
            transport.close()
            transport.send_text("too late")
            transport.ping()
            await recorder.closed()
            transport.send_text("far too late")
            transport.ping()
            transport.close()
            transport.abort()
            await until(lambda: ("lost",) in peer.heard)
            assert peer.heard == [("close", 1000, ""), ("lost",)]
            await recorder.closed()

        self.run(scenario)

    def test_abort_ends_at_once_without_a_word(self):
        async def scenario(stage):
            transport, recorder, peer = await stage.dial()
            transport.abort()
            cause = await recorder.closed()
            assert type(cause) is ConnectionLost
            assert cause.code is None
            await until(lambda: peer.heard)
            assert peer.heard == [("lost",)]

        self.run(scenario)

    def test_an_abort_right_after_the_dial_drops_what_was_held(self):
        async def scenario(stage):
            stage.greet("first", "second")
            transport, recorder, _ = await stage.dial()
            transport.abort()
            await recorder.closed()
            assert recorder.events == []

        self.run(scenario)

    def test_nothing_is_told_after_abort(self):
        async def scenario(stage):
            transport, recorder, peer = await stage.dial()
            for n in range(50):
                peer.text(f"{n}")
            await recorder.until(lambda r: r.events)
            transport.abort()
            told = len(recorder.events)
            await recorder.closed()
            assert len(recorder.events) == told

        self.run(scenario)

    def test_a_reset_is_told_as_a_loss(self):
        async def scenario(stage):
            _, recorder, peer = await stage.dial()
            began = asyncio.get_running_loop().time()
            peer.reset()
            cause = await recorder.closed()
            assert asyncio.get_running_loop().time() - began < 0.5
            assert type(cause) is ConnectionLost
            assert cause.code is None

        self.run(scenario)

    def test_a_violation_is_answered_and_told(self):
        async def scenario(stage):
            _, recorder, peer = await stage.dial()
            peer.text("good")
            peer.violate()
            peer.text("void")
            cause = await recorder.closed()
            assert type(cause) is ProtocolViolation
            assert cause.close_code == 1007
            assert recorder.events == [("text", "good")]
            await until(lambda: ("lost",) in peer.heard)
            assert [word[:2] for word in peer.heard] == [("close", 1007), ("lost",)]

        self.run(scenario)

    @pytest.mark.parametrize("kind", ["text", "binary", "ping", "pong"])
    def test_an_exception_of_the_receiver_ends_everything_unchanged(self, kind):
        async def scenario(stage):
            bug = UnicodeDecodeError("utf-8", b"", 0, 1, "a bug of the user's own")
            _, recorder, peer = await stage.dial()
            recorder.raising[kind] = bug
            {
                "text": lambda: peer.text("x"),
                "binary": lambda: peer.binary(b"x"),
                "ping": peer.ping,
                "pong": peer.pong,
            }[kind]()
            for n in range(50):
                peer.text(f"void {n}")
            assert await recorder.closed() is bug
            assert len(recorder.events) == 1

        self.run(scenario)

    def test_an_exception_while_held_messages_are_delivered_counts_too(self):
        async def scenario(stage):
            stage.greet("first", "second")
            recorder = Recorder()
            recorder.raising["text"] = bug = ValueError("a bug")
            await stage.dial(recorder)
            assert await recorder.closed() is bug
            assert recorder.events == [("text", "first")]

        self.run(scenario)

    # -- dialling ---------------------------------------------------------------------------

    def test_a_dial_measures_its_stages(self):
        async def scenario(stage):
            transport, _, _ = await stage.dial()
            timings = transport.timings
            assert timings.address
            assert timings.dns_ns == 0
            assert timings.tcp_ns > 0
            assert (timings.tls_ns > 0) == stage.url.startswith("wss:")
            assert timings.upgrade_ns > 0

        self.run(scenario)

    @pytest.mark.parametrize(
        ("status", "retry_after_s"), [(429, 7), (418, 120), (403, None), (503, None)]
    )
    def test_a_limit_names_its_wait(self, status, retry_after_s):
        async def scenario(stage):
            stage.refuse(status, retry_after_s)
            recorder = Recorder()
            with pytest.raises(RateLimited) as caught:
                await stage.dial(recorder)
            assert caught.value.status == status
            wait_ns = None if retry_after_s is None else retry_after_s * SECOND
            assert caught.value.retry_after_ns == wait_ns
            assert (recorder.events, recorder.causes) == ([], [])

        self.run(scenario)

    @pytest.mark.parametrize("status", [301, 400, 401, 404, 500, 502, 520])
    def test_another_refusal_is_a_failed_upgrade(self, status):
        async def scenario(stage):
            stage.refuse(status, None)
            recorder = Recorder()
            with pytest.raises(DialFailed) as caught:
                await stage.dial(recorder)
            assert (caught.value.stage, caught.value.status) == ("upgrade", status)
            assert (recorder.events, recorder.causes) == ([], [])

        self.run(scenario)

    def test_a_refused_connection_fails_in_tcp(self):
        async def scenario(stage):
            await stage.down()
            recorder = Recorder()
            with pytest.raises(DialFailed) as caught:
                await stage.dial(recorder)
            assert caught.value.stage == "tcp"
            assert recorder.causes == []

        self.run(scenario)

    def test_a_silent_peer_costs_the_timeout_and_no_more(self):
        async def scenario(stage):
            stage.mute()
            recorder = Recorder()
            began = asyncio.get_running_loop().time()
            with pytest.raises(DialFailed):
                await stage.dial(recorder, timeout_ns=SECOND // 5)
            took_s = asyncio.get_running_loop().time() - began
            assert 0.19 < took_s < 0.7
            assert recorder.causes == []

        self.run(scenario)

    def test_a_cancelled_dial_tells_nobody(self):
        async def scenario(stage):
            stage.mute()
            recorder = Recorder()
            dial = asyncio.create_task(stage.dial(recorder))
            await asyncio.sleep(0.05)
            dial.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dial
            assert (recorder.events, recorder.causes) == ([], [])

        self.run(scenario)

    @pytest.mark.parametrize(
        "url", ["http://host/", "ws:///", "ws://u:p@host/", "ws://host/#f", "ws://host:port/"]
    )
    def test_a_url_that_cannot_be_dialled_is_the_callers_fault(self, url):
        async def scenario(stage):
            stage.url = url
            with pytest.raises(UsageError) as caught:
                await stage.dial()
            assert "u:p" not in str(caught.value)

        self.run(scenario)

    @pytest.mark.parametrize(
        "headers",
        [{"X-A": "b\r\nX-C: d"}, {"X A": "b"}, {"Sec-WebSocket-Extensions": "permessage-deflate"}],
    )
    def test_headers_that_break_the_upgrade_are_the_callers_fault(self, headers):
        async def scenario(stage):
            with pytest.raises(UsageError):
                await stage.dial(headers=headers)

        self.run(scenario)

    def test_errors_of_a_dial_show_no_query(self):
        async def scenario(stage):
            await stage.down()
            with pytest.raises(DialFailed) as caught:
                await stage.dial()
            assert "secret" in stage.url
            assert "secret" not in str(caught.value)

        self.run(scenario)
