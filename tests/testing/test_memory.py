"""The network in memory keeps the contract, and what it adds to it."""

import asyncio

import pytest
from tests.io.transport_contract import SECOND, Recorder, Stage, TransportContract, until

from gapless.errors import ConnectionLost, DialFailed
from gapless.testing.clock import VirtualClock, run
from gapless.testing.memory import MemoryConnector, MemoryNetwork, Refuse

URL = "ws://venue.test:8080/feed?key=secret"
MS = 1_000_000


class Peer:
    """A `ServerPeer` that keeps what it hears."""

    def __init__(self, wire, path, headers):
        self.wire = wire
        self.path = path
        self.headers = headers
        self.heard = []
        self.text = wire.send_text
        self.binary = wire.send_binary
        self.ping = wire.ping
        self.pong = wire.pong
        self.reset = wire.reset

    def silence(self):
        self.wire.linger()

    def close(self, code=1000, reason=""):
        self.wire.close(code, reason)

    def violate(self):
        self.wire.violate("bad text", 1007)

    def on_text(self, text):
        self.heard.append(("text", text))

    def on_ping(self, payload):
        self.heard.append(("ping", payload))
        self.wire.pong(payload)

    def on_pong(self, payload):
        self.heard.append(("pong", payload))

    def on_close(self, code, reason):
        self.heard.append(("close", code, reason))

    def on_lost(self):
        self.heard.append(("lost",))


class MemoryStage(Stage):
    url = URL

    def __init__(self, clock, **settings):
        super().__init__()
        self.network = MemoryNetwork(clock, **settings)
        self.connector = MemoryConnector(self.network)
        self.peers = []
        self.texts = ()
        self.refusal = None
        self.network.listen("ws://venue.test:8080", self.accept)

    def accept(self, wire, path, headers):
        if self.refusal is not None:
            raise self.refusal
        self.peers.append(Peer(wire, path, headers))
        for text in self.texts:
            wire.send_text(text)
        return self.peers[-1]

    def peer(self):
        return self.peers[-1]

    def refuse(self, status, retry_after_s):
        self.refusal = Refuse(status, retry_after_s)

    def mute(self):
        self.network.blackhole(True)

    async def down(self):
        self.network.down()

    def greet(self, *texts):
        self.texts = texts


def play(scenario, **settings):
    clock = VirtualClock()
    return run(scenario(MemoryStage(clock, **settings)), clock)


class TestContract(TransportContract):
    def run(self, scenario):
        play(scenario)


class TestContractWithJitter(TransportContract):
    def run(self, scenario):
        play(scenario, latency_ns=3 * MS, jitter_ns=9 * MS, seed=7)


def test_a_frame_takes_the_latency_and_no_longer():
    async def scenario(stage):
        loop = asyncio.get_running_loop()
        transport, recorder, peer = await stage.dial()
        for send in (lambda: peer.text("x"), lambda: transport.send_text("x")):
            recorder.events.clear()
            peer.heard.clear()
            began = loop.time()
            send()
            while not (recorder.events or peer.heard):
                await asyncio.sleep(0.001)
            assert loop.time() - began == pytest.approx(0.020, abs=0.0011)

    play(scenario, latency_ns=20 * MS)


@pytest.mark.parametrize("seed", range(20))
def test_jitter_never_reorders_within_a_connection(seed):
    async def scenario(stage):
        _, recorder, peer = await stage.dial()
        for n in range(100):
            peer.text(str(n))
            await asyncio.sleep(0.001)
        await recorder.until(lambda r: len(r.events) == 100)
        assert recorder.events == [("text", str(n)) for n in range(100)]

    play(scenario, jitter_ns=50 * MS, seed=seed)


def test_the_same_seed_gives_the_same_run():
    def trace(seed):
        times = []

        async def scenario(stage):
            class Timed(Recorder):
                def on_text(self, text, mono_ns):
                    times.append(mono_ns)

            _, _, peer = await stage.dial(Timed())
            for _ in range(50):
                peer.text("x")
                await asyncio.sleep(0.1)

        play(scenario, jitter_ns=50 * MS, seed=seed)
        return times

    assert trace(1) == trace(1) != trace(2)


def test_a_dial_takes_a_round_trip_for_each_stage():
    async def scenario(stage):
        stage.network.listen("wss://venue.test", stage.accept)
        stage.url = "wss://venue.test/feed"
        transport, _, peer = await stage.dial(headers={"X-A": "b"})
        timings = transport.timings
        for ns in (timings.tcp_ns, timings.tls_ns, timings.upgrade_ns):
            assert ns == pytest.approx(40 * MS, abs=10)
        assert timings.address == "venue.test"
        assert (peer.path, peer.headers) == ("/feed", {"X-A": "b"})

    play(scenario, latency_ns=20 * MS)


def test_a_stall_stops_both_directions_and_errors_nowhere():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.wire.stall()
        peer.text("down")
        peer.ping()
        transport.send_text("up")
        await asyncio.sleep(3600)
        assert (recorder.events, recorder.causes, peer.heard) == ([], [], [])
        peer.wire.unstall()
        await until(lambda: len(peer.heard) == 2)
        assert recorder.events == [("text", "down"), ("ping",)]
        assert peer.heard == [("text", "up"), ("pong", b"")]

    play(scenario)


def test_an_abort_of_a_stalled_link_is_told_here_at_once_and_there_after_it():
    async def scenario(stage):
        transport, recorder, peer = await stage.dial()
        peer.wire.stall()
        transport.abort()
        assert type(await recorder.closed()) is ConnectionLost
        await asyncio.sleep(60)
        assert peer.heard == []
        peer.wire.unstall()
        await until(lambda: peer.heard)
        assert peer.heard == [("lost",)]

    play(scenario)


def test_a_blackhole_swallows_dials_and_leaves_connections_alone():
    async def scenario(stage):
        _, recorder, peer = await stage.dial()
        stage.network.blackhole(True)
        with pytest.raises(DialFailed) as caught:
            await stage.dial(timeout_ns=3 * SECOND)
        assert caught.value.detail == "no answer within 3 s"
        peer.text("alive")
        await recorder.until(lambda r: r.events)
        stage.network.blackhole(False)
        await stage.dial()
        assert len(stage.peers) == 2

    play(scenario)


def test_a_network_that_is_down_comes_up_again():
    async def scenario(stage):
        stage.network.down()
        with pytest.raises(DialFailed):
            await stage.dial()
        stage.network.up()
        await stage.dial()

    play(scenario)


def test_nobody_listens_elsewhere():
    async def scenario(stage):
        stage.url = "ws://venue.test:8081/"
        with pytest.raises(DialFailed) as caught:
            await stage.dial()
        assert caught.value.stage == "tcp"

    play(scenario)


def test_the_network_knows_its_open_wires():
    async def scenario(stage):
        first, _, _ = await stage.dial()
        await stage.dial()
        assert stage.network.wires == [peer.wire for peer in stage.peers]
        first.abort()
        await until(lambda: len(stage.network.wires) == 1)
        stage.network.wires[0].reset()
        assert stage.network.wires == []
        assert [peer.heard for peer in stage.peers] == [[("lost",)], [("lost",)]]

    play(scenario)


def test_a_dial_that_gives_up_after_the_upgrade_leaves_no_connection():
    async def scenario(stage):
        with pytest.raises(DialFailed) as caught:
            await stage.dial(timeout_ns=70 * MS)  # three of four ways
        assert caught.value.stage == "upgrade"
        await until(lambda: stage.peers[0].heard)
        assert stage.peers[0].heard == [("lost",)]
        assert stage.network.wires == []

    play(scenario, latency_ns=20 * MS)


def test_a_bug_of_the_server_fails_the_run():
    async def scenario(stage):
        transport, _, peer = await stage.dial()
        peer.on_text = lambda _: 1 / 0
        transport.send_text("x")
        await asyncio.sleep(1)

    with pytest.raises(ExceptionGroup) as caught:
        play(scenario)
    assert caught.group_contains(ZeroDivisionError)
