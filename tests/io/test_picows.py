"""The picows transport on real sockets: the contract, and every hole that picows leaves open."""

import asyncio
import email.utils
import gc
import os
import socket
import struct
import time
import warnings

import pytest
import uvloop
from tests.io import certs
from tests.io import raw_server as ws
from tests.io.proxies import Proxy
from tests.io.raw_server import RawServer
from tests.io.transport_contract import SECOND, Recorder, Stage, TransportContract, until

from gapless.errors import ConnectionLost, DialFailed, ProtocolViolation, RateLimited
from gapless.io.clock import SystemClock
from gapless.io.picows import SEND_BYTES_MAX, PicowsConnector
from gapless.io.transport import Limits

GOOD = ws.frame(ws.TEXT, b"good")
VOID = ws.frame(ws.TEXT, b"void")


class SocketStage(Stage):
    def __init__(self, server):
        super().__init__()
        self.server = server
        self.url = server.url
        self.connector = PicowsConnector(SystemClock())

    def peer(self):
        return self.server.peers[-1]

    def refuse(self, status, retry_after_s):
        headers = [] if retry_after_s is None else [f"Retry-After: {retry_after_s}"]
        self.server.answer = lambda _: ws.refusing(status, *headers)

    def mute(self):
        self.server.answer = lambda _: None

    async def down(self):
        self.server.stop()

    def greet(self, *texts):
        frames = b"".join(ws.frame(ws.TEXT, text.encode()) for text in texts)
        self.server.answer = lambda key: ws.accepting(key) + frames


def play(scenario, *, loop_factory=None, **settings):
    """Run a scenario against a fresh server; nothing may go unhandled, and no socket may stay."""

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: bad.append(context))
        async with RawServer(**settings) as server:
            stage = SocketStage(server)
            if server.tls is not None:
                stage.options = {"ca_file": certs.authority()[1]}
            before = open_sockets()
            await scenario(stage)
            for transport in stage.transports:
                transport.abort()
            await until(lambda: all(peer.lost for peer in server.peers))
            await until(lambda: open_sockets() <= before)

    bad = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    gc.collect()
    assert bad == []


def open_sockets():
    """Count this process's sockets."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except OSError:  # the directory's own descriptor
            continue
    return count


class TestContract(TransportContract):
    def run(self, scenario):
        play(scenario)


class TestContractOnUvloop(TransportContract):
    def run(self, scenario):
        play(scenario, loop_factory=uvloop.new_event_loop)


class TestContractOverTls(TransportContract):
    def run(self, scenario):
        play(scenario, tls=certs.context("good"))


# -- violations -----------------------------------------------------------------------------

BAD = {
    "reserved bit 1": (ws.frame(ws.TEXT, b"x", rsv=4), 1002),
    "reserved bit 2": (ws.frame(ws.TEXT, b"x", rsv=2), 1002),
    "reserved bit 3": (ws.frame(ws.TEXT, b"x", rsv=1), 1002),
    "reserved bit on a ping": (ws.frame(ws.PING, b"x", rsv=4), 1002),
    "reserved data opcode": (ws.frame(3, b"x"), 1002),
    "reserved control opcode": (ws.frame(11), 1002),
    "orphan continuation": (ws.frame(ws.CONTINUATION, b"x"), 1002),
    "orphan continuation, not final": (ws.frame(ws.CONTINUATION, b"x", fin=False), 1002),
    "message inside a message": (ws.frame(ws.TEXT, b"x", fin=False) + VOID, 1002),
    "masked": (ws.frame(ws.TEXT, b"x", mask=True), 1002),
    "fragmented ping": (ws.frame(ws.PING, b"x", fin=False), 1002),
    "long ping": (ws.frame(ws.PING, b"x" * 126), 1002),
    "padded length": (bytes([0x81, 126, 0, 1]) + b"x", 1002),
    "negative length": (bytes([0x81, 127]) + b"\xff" * 8, 1002),
    "text that is not UTF-8": (ws.frame(ws.TEXT, b"\xff\xfe"), 1007),
    "surrogate": (ws.frame(ws.TEXT, b"\xed\xa0\x80"), 1007),
    "fragment that is not UTF-8": (ws.frame(ws.TEXT, b"\xff", fin=False), 1007),
    "character cut by the end": (
        ws.frame(ws.TEXT, b"\xc3", fin=False) + ws.frame(ws.CONTINUATION, b""),
        1007,
    ),
    "close of one byte": (ws.frame(ws.CLOSE, b"\x03"), 1002),
    "close reason that is not UTF-8": (ws.close_frame(1000, b"\xff"), 1007),
    "huge header": (bytes([0x82, 127]) + struct.pack("!Q", 1 << 62), 1009),
    "long message": (ws.frame(ws.BINARY, b"x" * 4097), 1009),
    "long message in fragments": (
        ws.frame(ws.BINARY, b"x" * 4096, fin=False) + ws.frame(ws.CONTINUATION, b"x"),
        1009,
    ),
    "many fragments": (
        ws.frame(ws.TEXT, fin=False) + ws.frame(ws.CONTINUATION, fin=False) * 8,
        1009,
    ),
    "many pings": (ws.frame(ws.PING) * 11, 1008),
    "many pings and pongs": (ws.frame(ws.PING) * 5 + ws.frame(ws.PONG) * 6, 1008),
    **{
        f"close code {code}": (ws.close_frame(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
    },
}
TIGHT = Limits(message_bytes=4096, fragments=8, control_per_s=10)


def messages(recorder):
    return [event for event in recorder.events if event[0] in ("text", "binary")]


@pytest.mark.parametrize("apart", [False, True], ids=["one write", "apart"])
@pytest.mark.parametrize("name", BAD)
def test_a_violation_ends_the_connection_with_its_code(name, apart):
    bad, code = BAD[name]

    async def scenario(stage):
        _, recorder, peer = await stage.dial(limits=TIGHT)
        if apart:
            peer.raw(GOOD)
            await recorder.until(lambda r: r.events)
            peer.raw(bad)
            await until(lambda: peer.heard)
            peer.raw(VOID * 3)
        else:
            peer.raw(GOOD + bad + VOID * 3)
        cause = await recorder.closed()
        assert type(cause) is ProtocolViolation
        assert cause.close_code == code
        assert messages(recorder) == [("text", "good")]
        closes = [word for word in peer.heard if word[0] == "close"]
        assert [word[1] for word in closes] == [code]

    play(scenario)


def test_limits_are_reached_without_harm():
    async def scenario(stage):
        _, recorder, peer = await stage.dial(limits=TIGHT)
        peer.raw(ws.frame(ws.BINARY, b"x" * 4096))
        peer.raw(ws.frame(ws.TEXT, b"y", fin=False))
        peer.raw(ws.frame(ws.CONTINUATION, b"y", fin=False) * 6 + ws.frame(ws.CONTINUATION, b"y"))
        peer.raw(ws.frame(ws.PING) * 10)
        await recorder.until(lambda r: len(r.events) == 12)
        assert messages(recorder) == [("binary", b"x" * 4096), ("text", "y" * 8)]

    play(scenario)


def test_fragments_become_one_message_around_a_ping():
    text = "§ä€😀" * 3

    async def scenario(stage):
        _, recorder, peer = await stage.dial()
        data = text.encode()
        for at in range(1, len(data)):  # through every character, at every byte
            peer.raw(ws.frame(ws.TEXT, data[:at], fin=False))
            peer.raw(ws.frame(ws.PING))
            peer.raw(ws.frame(ws.CONTINUATION, data[at:]))
        await recorder.until(lambda r: len(messages(r)) == len(data) - 1)
        assert messages(recorder) == [("text", text)] * (len(data) - 1)
        assert recorder.events[:2] == [("ping",), ("text", text)]

    play(scenario)


def test_a_violation_after_our_close_is_not_answered_twice():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.silence()
        transport.close()
        await until(lambda: peer.heard)
        peer.raw(ws.frame(3) + VOID)
        assert type(await recorder.closed()) is ProtocolViolation
        assert messages(recorder) == []
        await until(lambda: peer.lost)
        assert peer.heard == [("close", 1000, ""), ("lost",)]

    play(scenario)


def test_what_follows_a_close_frame_is_void():
    async def scenario(stage):
        _, recorder, peer = await stage.dial()
        peer.raw(GOOD + ws.close_frame(1001) + ws.close_frame(1002) + ws.frame(3) + VOID)
        cause = await recorder.closed()
        assert type(cause) is ConnectionLost
        assert cause.code == 1001
        assert messages(recorder) == [("text", "good")]
        await until(lambda: peer.lost)
        assert peer.heard == [("close", 1001, ""), ("lost",)]

    play(scenario)


def test_messages_before_the_echo_of_our_close_are_delivered():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.silence()
        transport.close()
        await until(lambda: peer.heard)
        peer.raw(GOOD + ws.close_frame(1000))
        assert (await recorder.closed()).code == 1000
        assert messages(recorder) == [("text", "good")]

    play(scenario)


def test_a_close_frame_with_the_upgrade_is_told_after_the_messages_before_it():
    async def scenario(stage):
        stage.server.answer = lambda key: ws.accepting(key) + GOOD + ws.close_frame(1013)
        recorder = Recorder()
        await stage.dial(recorder)
        assert recorder.events == []
        assert (await recorder.closed()).code == 1013
        assert recorder.events == [("text", "good")]

    play(scenario)


# -- ends -----------------------------------------------------------------------------------


def test_an_end_of_tcp_without_a_close_frame_is_a_loss():
    async def scenario(stage):
        _, recorder, peer = await stage.dial()
        peer.raw(GOOD)
        began = time.monotonic()
        peer.fin()
        cause = await recorder.closed()
        assert time.monotonic() - began < 0.5
        assert type(cause) is ConnectionLost
        assert cause.code is None
        assert recorder.events == [("text", "good")]

    play(scenario)


@pytest.mark.parametrize("tls", [None, "good"])
def test_a_peer_that_stops_reading_is_given_up(tls):
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.transport.pause_reading()
        text = "x" * (256 << 10)
        sent = 0
        while not recorder.causes and sent < 1000:
            transport.send_text(text)
            sent += 1
            await asyncio.sleep(0)
        cause = await recorder.closed()
        assert type(cause) is ConnectionLost
        assert "stopped reading" in cause.__notes__[0]
        assert peer.heard == []  # it really did not read
        waited = int(cause.__notes__[0].split(": ")[1].split()[0])
        assert SEND_BYTES_MAX < waited < 2 * SEND_BYTES_MAX
        peer.transport.resume_reading()

    play(scenario, tls=certs.context(tls) if tls else None)


def test_an_abort_does_not_wait_for_a_peer_that_stopped_reading():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.transport.pause_reading()
        transport.send_text("x" * (16 << 20))
        began = time.monotonic()
        transport.abort()
        await recorder.closed()
        assert time.monotonic() - began < 0.2
        peer.transport.resume_reading()

    play(scenario)


def test_a_close_that_cannot_leave_is_cut_off_after_a_second():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.transport.pause_reading()
        transport.send_text("x" * (16 << 20))
        began = time.monotonic()
        transport.close()
        assert (await recorder.closed()).code is None
        assert 0.99 < time.monotonic() - began < 1.5
        peer.transport.resume_reading()

    play(scenario)


def test_a_late_echo_does_not_buy_the_peer_another_second():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.silence()
        began = time.monotonic()
        transport.close()
        await asyncio.sleep(0.7)
        peer.close(1000)
        assert (await recorder.closed()).code == 1000
        assert 0.99 < time.monotonic() - began < 1.5

    play(scenario)


def test_a_ping_that_cannot_be_answered_is_not_told():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.transport.pause_reading()
        transport.send_text("x" * (16 << 20))
        peer.ping()
        assert "stopped reading" in (await recorder.closed()).__notes__[0]
        assert recorder.events == []
        peer.transport.resume_reading()

    play(scenario)


def test_an_exception_of_on_closed_reaches_the_loop():
    class Faulty(Recorder):
        def on_closed(self, cause):
            super().on_closed(cause)
            raise ZeroDivisionError

    async def scenario(stage):
        seen = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        transport, recorder, _ = await stage.dial(Faulty())
        transport.abort()
        await recorder.closed()
        assert [type(context["exception"]) for context in seen] == [ZeroDivisionError]

    play(scenario)


def test_a_long_close_reason_is_cut_at_a_character():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        transport.close(1000, "é" * 100)
        await recorder.closed()
        assert peer.heard[0] == ("close", 1000, "é" * 61)

    play(scenario)


def test_pausing_slows_the_sender_down():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        transport.pause()
        for _ in range(64):
            peer.raw(ws.frame(ws.BINARY, b"x" * (1 << 20)))
        await asyncio.sleep(0.05)
        assert peer.transport.get_write_buffer_size() > 32 << 20
        assert recorder.events == []
        transport.resume()
        await recorder.until(lambda r: len(r.events) == 64)
        assert peer.transport.get_write_buffer_size() == 0

    play(scenario)


# -- dialling -------------------------------------------------------------------------------


def test_the_request_carries_our_headers_and_offers_no_compression():
    async def scenario(stage):
        _, _, peer = await stage.dial(headers={"X-Api-Version": "7"})
        assert peer.request.startswith(b"GET /feed?key=secret HTTP/1.1\r\n")
        assert peer.headers["x-api-version"] == "7"
        assert "sec-websocket-extensions" not in peer.headers

    play(scenario)


def test_a_dial_can_start_from_a_chosen_address():
    async def scenario(stage):
        _, _, peer = await stage.dial(source="127.0.0.2")
        assert peer.transport.get_extra_info("peername")[0] == "127.0.0.2"

    play(scenario)


def test_an_address_that_is_not_ours_fails_in_tcp():
    async def scenario(stage):
        with pytest.raises(DialFailed) as caught:
            await stage.dial(source="192.0.2.1")
        assert caught.value.stage == "tcp"

    play(scenario)


def test_a_retry_date_is_held_against_the_wall_clock():
    until_s = int(time.time()) + 90

    async def scenario(stage):
        stage.refuse(503, email.utils.formatdate(until_s, usegmt=True))
        with pytest.raises(RateLimited) as caught:
            await stage.dial()
        assert 85 * SECOND < caught.value.retry_after_ns <= 90 * SECOND

    play(scenario)


def test_a_redirect_is_not_followed():
    async def scenario(stage):
        async with RawServer() as other:
            stage.server.answer = lambda _: ws.refusing(301, f"Location: {other.url}")
            with pytest.raises(DialFailed) as caught:
                await stage.dial(headers={"Authorization": "canary"})
            assert (caught.value.stage, caught.value.status) == ("upgrade", 301)
            assert other.peers == []
            assert len(stage.server.peers) == 1

    play(scenario)


ANSWERS = {
    "HTTP/1.0": (lambda _: b"HTTP/1.0 503 Busy\r\nretry-after:  5\r\n\r\n", RateLimited),
    "other protocol": (lambda _: b"SSH-2.0-x\r\n\r\n", DialFailed),
    "wrong key": (lambda _: ws.accepting(b"another"), DialFailed),
    "no upgrade": (lambda _: b"HTTP/1.1 101 Yes\r\n\r\n", DialFailed),
    "extension": (
        lambda key: ws.accepting(key, b"Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        DialFailed,
    ),
    "subprotocol": (lambda key: ws.accepting(key, b"Sec-WebSocket-Protocol: x\r\n"), DialFailed),
    "endless header": (lambda _: b"HTTP/1.1 101 Yes\r\nX: " + b"x" * 20_000, DialFailed),
    "escape sequence": (lambda _: b"HTTP/1.1 101 Yes\r\nA\x1b]0;x\x07\r\n\r\n", DialFailed),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_no_upgrade_fails_the_dial(name):
    answer, kind = ANSWERS[name]

    async def scenario(stage):
        stage.server.answer = answer
        recorder = Recorder()
        with pytest.raises(kind) as caught:
            await stage.dial(recorder)
        assert str(caught.value).isprintable()
        assert getattr(caught.value, "stage", "upgrade") == "upgrade"
        assert recorder.causes == []

    play(scenario)


@pytest.mark.parametrize("tls", [None, "good"])
def test_an_end_instead_of_an_answer_fails_the_upgrade(tls):
    async def scenario(stage):
        stage.server.answer = lambda _: stage.peer().transport.close()
        with pytest.raises(DialFailed) as caught:
            await stage.dial()
        assert caught.value.stage == "upgrade"

    play(scenario, tls=certs.context(tls) if tls else None)


@pytest.mark.parametrize("tls", [None, "good"])
def test_a_silent_upgrade_costs_the_timeout(tls):
    async def scenario(stage):
        stage.mute()
        with pytest.raises(DialFailed) as caught:
            await stage.dial(timeout_ns=SECOND // 5)
        assert (caught.value.stage, caught.value.detail) == ("upgrade", "no answer within 0.2 s")
        assert stage.peer().request  # it came that far

    play(scenario, tls=certs.context(tls) if tls else None)


def test_a_silent_tls_costs_the_timeout():
    async def scenario(stage):
        stage.mute()
        stage.url = stage.url.replace("ws:", "wss:")
        began = time.monotonic()
        with pytest.raises(DialFailed) as caught:
            await stage.dial(timeout_ns=SECOND // 5)
        assert time.monotonic() - began < 0.4
        assert caught.value.stage == "tls"
        assert len(stage.server.peers) == 1  # TCP was accepted

    play(scenario)


def test_a_swallowed_syn_costs_the_timeout():
    async def scenario(stage):
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filler in (first, second):  # the queue holds one; the kernel drops further SYNs
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            stage.url = f"ws://127.0.0.1:{full.getsockname()[1]}/"
            began = time.monotonic()
            with pytest.raises(DialFailed) as caught:
                await stage.dial(timeout_ns=SECOND // 5)
            assert 0.19 < time.monotonic() - began < 0.4
            assert caught.value.stage == "tcp"

    play(scenario)


def leaving_nothing(scenario, **settings):
    """Run a scenario; what was never closed is told when it is collected, inside `play`."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        play(scenario, **settings)
    assert [str(warning.message) for warning in told] == []


@pytest.mark.parametrize("tls", [None, "good"])
def test_a_dial_cancelled_after_any_number_of_turns_leaves_nothing(tls):
    stages = set()

    async def scenario(stage):
        stage.greet("good")
        for turns in range(200):
            connected = []
            named = {"X-Turns": str(turns)}
            dial = asyncio.create_task(stage.dial(headers=named, connected=connected.append))
            for _ in range(turns):
                await asyncio.sleep(0)
            if dial.done():
                break
            answered = [peer for peer in stage.server.peers if peer.upgraded]
            asked = [peer.headers["x-turns"] for peer in answered]
            stages.add((bool(connected), str(turns) in asked))
            dial.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dial
        await dial

    leaving_nothing(scenario, tls=certs.context(tls) if tls else None)
    # Before TCP stood, before the upgrade, and after the peer had said yes.
    assert stages == {(False, False), (True, False), (True, True)}


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("tls", [None, "good"])
def test_a_dial_cancelled_at_the_moment_of_the_upgrade_leaves_nothing(tls, loop_factory):
    class Offer(dict):
        def __iter__(self):  # it is looked through once the answer has come
            moments.append(dial.cancel())
            return super().__iter__()

    moments = []
    dial = None

    async def scenario(stage):
        nonlocal dial
        chosen = b"Sec-WebSocket-Protocol: x\r\n"
        stage.server.answer = lambda key: ws.accepting(key, chosen) + GOOD
        headers = Offer({"Sec-WebSocket-Protocol": "x"})
        dial = asyncio.create_task(stage.dial(headers=headers))
        with pytest.raises(asyncio.CancelledError):
            await dial
        assert moments == [True]

    leaving_nothing(scenario, tls=certs.context(tls) if tls else None, loop_factory=loop_factory)


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("tls", [None, "good"])
def test_a_dial_cancelled_while_the_answer_is_under_way_leaves_nothing(tls, loop_factory):
    moments = []
    dial = None

    async def scenario(stage):
        nonlocal dial

        def answer(key):
            moments.append(dial.cancel())
            return ws.accepting(key) + GOOD

        stage.server.answer = answer
        dial = asyncio.create_task(stage.dial())
        with pytest.raises(asyncio.CancelledError):
            await dial
        assert moments == [True]

    leaving_nothing(scenario, tls=certs.context(tls) if tls else None, loop_factory=loop_factory)


def test_a_reset_before_our_request_does_not_spoil_the_next_dial():
    async def scenario(stage):
        good, loop = stage.url, asyncio.get_running_loop()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            resets = []

            def reset():
                peer, _ = listener.accept()
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
                resets.append(peer)

            stage.url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
            for number in range(1, 4):
                with pytest.raises(DialFailed) as caught:
                    await stage.dial(timeout_ns=SECOND, connected=lambda _: loop.call_soon(reset))
                assert caught.value.detail == (
                    "the peer closed the connection instead of answering"
                )
                assert len(resets) == number
        stage.url = good
        await stage.dial(timeout_ns=SECOND)

    play(scenario)


# -- TLS ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"),
    [("wrong host", "mismatch"), ("untrusted", "issuer"), ("expired", "expired")],
)
def test_a_bad_certificate_is_refused_with_its_reason(kind, words):
    async def scenario(stage):
        recorder = Recorder()
        with pytest.raises(DialFailed) as caught:
            await stage.dial(recorder)
        assert caught.value.stage == "tls"
        assert words in caught.value.detail
        assert recorder.causes == []
        assert not any(peer.request for peer in stage.server.peers)  # nothing was sent

    play(scenario, tls=certs.context(kind))


def test_the_systems_authorities_do_not_know_ours():
    async def scenario(stage):
        stage.options = {}
        with pytest.raises(DialFailed) as caught:
            await stage.dial()
        assert caught.value.stage == "tls"

    play(scenario, tls=certs.context("good"))


def test_a_peer_that_speaks_no_tls_fails_in_tls():
    async def scenario(stage):
        stage.url = stage.url.replace("ws:", "wss:")
        dial = asyncio.create_task(stage.dial())
        await until(lambda: stage.server.peers)
        stage.peer().raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(DialFailed) as caught:
            await dial
        assert caught.value.stage == "tls"

    play(scenario)


def test_a_reset_during_tls_fails_in_tls():
    async def scenario(stage):
        stage.url = stage.url.replace("ws:", "wss:")
        dial = asyncio.create_task(stage.dial())
        await until(lambda: stage.server.peers)
        stage.peer().reset()
        with pytest.raises(DialFailed) as caught:
            await dial
        assert caught.value.stage == "tls"

    play(scenario)


# -- proxies --------------------------------------------------------------------------------

PROXIES = ["http", "socks4", "socks5"]


@pytest.mark.parametrize("tls", [None, "good"])
@pytest.mark.parametrize("kind", PROXIES)
def test_a_proxy_is_passed_through(kind, tls):
    async def scenario(stage):
        async with Proxy(kind) as proxy:
            transport, recorder, peer = await stage.dial(proxy=proxy.url)
            peer.text("through")
            await recorder.until(lambda r: r.events == [("text", "through")])
            assert proxy.asked == [("127.0.0.1", stage.server.port)]
            assert transport.timings.upgrade_ns > 0
            transport.abort()
            await recorder.closed()

    play(scenario, tls=certs.context(tls) if tls else None)


@pytest.mark.parametrize("kind", PROXIES)
def test_a_proxy_that_refuses_fails_its_own_stage(kind):
    async def scenario(stage):
        async with Proxy(kind, refuse=True) as proxy:
            recorder = Recorder()
            with pytest.raises(DialFailed) as caught:
                await stage.dial(recorder, proxy=proxy.url)
            assert caught.value.stage == "proxy"
            assert len(proxy.asked) == 1
            assert recorder.causes == []

    play(scenario)


@pytest.mark.parametrize("kind", PROXIES)
def test_a_proxy_that_cannot_be_reached_fails_its_own_stage(kind):
    async def scenario(stage):
        async with Proxy(kind) as proxy:
            url = proxy.url.replace("//", "//user:canary@")
        with pytest.raises(DialFailed) as caught:
            await stage.dial(proxy=url)
        assert caught.value.stage == "proxy"
        assert "canary" not in str(caught.value)
        assert stage.server.peers == []

    play(scenario)


@pytest.mark.parametrize("kind", PROXIES)
def test_a_proxy_that_says_nothing_costs_the_timeout(kind):
    async def scenario(stage):
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen()
            url = f"{kind}://127.0.0.1:{mute.getsockname()[1]}"
            with pytest.raises(DialFailed) as caught:
                await stage.dial(proxy=url, timeout_ns=SECOND // 5)
        assert caught.value.stage == "proxy"

    play(scenario)


def test_a_bad_certificate_behind_a_proxy_fails_in_tls():
    async def scenario(stage):
        async with Proxy("http") as proxy:
            with pytest.raises(DialFailed) as caught:
                await stage.dial(proxy=proxy.url)
            assert caught.value.stage == "tls"

    play(scenario, tls=certs.context("untrusted"))
