"""What befalls frames on their way: late, held up, or cut off; never lost or swapped inside TCP."""

import asyncio

import pytest
from tests.testing.test_memory import Peer

from gapless.io.transport import DialOptions
from gapless.testing.clock import VirtualClock, run
from gapless.testing.memory import MemoryConnector, MemoryNetwork
from gapless.testing.weather import Calamity, Weather, strike

SECOND = 1_000_000_000
MS = 1_000_000


class Ear:
    """A receiver that keeps what it hears, and when."""

    def __init__(self, line, clock):
        self.line = line
        self.clock = clock
        self.texts = []
        self.pongs = []
        self.closed = []

    def on_text(self, text, now_ns):
        self.texts.append((text, now_ns))

    def on_binary(self, payload, now_ns):
        raise AssertionError

    def on_ping(self, now_ns):
        raise AssertionError

    def on_pong(self, payload, now_ns):
        self.pongs.append(now_ns)

    def on_closed(self, cause):
        self.closed.append((cause, self.clock.mono_ns()))


class Stage:
    """Two connections, each with its own way."""

    def __init__(self, clock):
        self.clock = clock
        self.network = MemoryNetwork(clock, latency_ns=10 * MS, seed=3)
        self.connector = MemoryConnector(self.network, lambda receiver: receiver.line)
        self.peers = {}
        for line in "ab":
            self.network.listen(f"{line}.test:80", self.accepting(line))

    def accepting(self, line):
        def accept(wire, path, headers):
            self.peers[line] = Peer(wire, path, headers)
            return self.peers[line]

        return accept

    async def dial(self, line, timeout_s=5):
        ear = Ear(line, self.clock)
        options = DialOptions(timeout_ns=timeout_s * SECOND)
        transport = await self.connector(f"ws://{line}.test/", ear, options)
        return ear, transport

    def strike(self, ways, **fault):
        return strike(self.network, ways, Calamity(**fault))


def play(test):
    clock = VirtualClock()

    async def main():
        return await test(Stage(clock))

    return run(main(), clock)


async def sent(stage, count=10, every_s=0.1):
    """Send numbered texts on both connections."""
    for number in range(count):
        for peer in stage.peers.values():
            peer.text(str(number))
        await asyncio.sleep(every_s)


def numbers(ear):
    return [int(text) for text, _ in ear.texts]


def lateness_ms(ear, began_ns, every_ms=100):
    return [(at_ns - began_ns) // MS - int(text) * every_ms for text, at_ns in ear.texts]


def test_a_clog_holds_everything_of_one_line_and_then_lets_all_of_it_pass_in_order():
    async def main(stage):
        a, _ = await stage.dial("a")
        b, _ = await stage.dial("b")
        began_ns = stage.clock.mono_ns()
        record = stage.strike(["a"], name="clog", for_s=0.45)
        await sent(stage)
        await asyncio.sleep(0.5)
        assert numbers(a) == numbers(b) == list(range(10))
        assert lateness_ms(a, began_ns)[:5] == [450, 350, 250, 150, 50]
        assert set(lateness_ms(a, began_ns)[5:]) == {10}
        assert set(lateness_ms(b, began_ns)) == {10}
        assert (record.happened, record.over) == (1, True)

    play(main)


@pytest.mark.parametrize(
    ("name", "hears", "is_heard"),
    [("half_open_in", False, True), ("half_open_out", True, False), ("partition", False, False)],
)
def test_half_open_shuts_one_direction_and_a_partition_both(name, hears, is_heard):
    async def main(stage):
        a, transport = await stage.dial("a")
        stage.strike(["a"], name=name, for_s=5.0)
        stage.peers["a"].text("1")
        transport.send_text("1")
        await asyncio.sleep(4.9)
        assert bool(a.texts) is hears
        assert bool(stage.peers["a"].heard) is is_heard
        assert not a.closed
        await asyncio.sleep(0.2)
        assert a.texts
        assert stage.peers["a"].heard

    play(main)


def test_a_dial_waits_before_a_partition_until_its_own_deadline():
    async def main(stage):
        record = stage.strike(["a"], name="partition", for_s=3.0)
        with pytest.raises(Exception, match="no answer within 1 s"):
            await stage.dial("a", timeout_s=1)
        ear, _ = await stage.dial("a")
        assert record.over
        assert not ear.closed

    play(main)


def test_a_crash_ends_both_sides_and_loses_what_was_under_way():
    async def main(stage):
        a, _ = await stage.dial("a")
        stage.peers["a"].text("delivered")
        await asyncio.sleep(0.02)
        stage.peers["a"].text("under way")
        record = stage.strike(["a"], name="crash")
        await asyncio.sleep(0.1)
        assert [text for text, _ in a.texts] == ["delivered"]
        assert len(a.closed) == 1
        assert stage.peers["a"].heard == [("lost",)]
        assert (record.happened, record.over) == (1, True)

    play(main)


def test_lost_packets_make_frames_late_and_those_behind_them_and_lose_none():
    async def main(stage):
        a, _ = await stage.dial("a")
        b, _ = await stage.dial("b")
        began_ns = stage.clock.mono_ns()
        record = stage.strike(["a"], name="loss", share=0.3, for_s=30.0)
        await sent(stage, 200)
        await asyncio.sleep(30)
        assert numbers(a) == numbers(b) == list(range(200))
        late = lateness_ms(a, began_ns)
        assert sum(each > 10 for each in late) > 40
        assert max(late) >= 600  # a packet that was lost twice
        assert set(lateness_ms(b, began_ns)) == {10}
        assert record.happened > 40

    play(main)


def test_a_slow_way_is_slow_for_as_long_as_it_says_and_swaps_nothing():
    async def main(stage):
        a, _ = await stage.dial("a")
        began_ns = stage.clock.mono_ns()
        record = stage.strike(["a"], name="slow", delay_ms=150, jitter_ms=100, for_s=0.5)
        await sent(stage, 20)
        await asyncio.sleep(1)
        assert numbers(a) == list(range(20))
        late = lateness_ms(a, began_ns)
        assert all(160 <= each <= 260 for each in late[:5])
        assert set(late[8:]) == {10}
        assert record.happened >= 5

    play(main)


def test_what_the_server_does_while_the_way_is_shut_shows_when_it_is_open():
    async def main(stage):
        a, _ = await stage.dial("a")
        stage.strike(["a"], name="partition", for_s=3.0)
        stage.peers["a"].reset()
        await asyncio.sleep(2.9)
        assert not a.closed
        await asyncio.sleep(0.2)
        assert len(a.closed) == 1

    play(main)


def test_chance_repeats_with_its_seed():
    def delays(seed):
        weather = Weather(1, 1000, seed)
        weather.loss = 0.2
        return [weather.delay_ns() for _ in range(50)]

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)
