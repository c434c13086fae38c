"""Where lines go: names resolved beside the dials, addresses chosen, shared fates told."""

import asyncio
from dataclasses import replace

import pytest
from tests.simulation.stage import Consumer, Stage, notices, play

from gapless.client import Feed
from gapless.errors import DialFailed
from gapless.io.resolver import Answer
from gapless.io.runtime import Runtime
from gapless.planning import Line, Options, assemble, trades
from gapless.testing import MemoryConnector

ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class FakeDns:
    """A resolver that says what a test says; the good and the bad are kept to be looked at."""

    def __init__(self, *addresses, delay_s=0.0):
        self.addresses = addresses
        self.delay_s = delay_s
        self.failure = ""
        self.asked = 0
        self.marks = []

    async def resolve(self, host):
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        return Answer(tuple(self.addresses), int(self.delay_s * 1e9), self.failure)

    def good(self, host, address):
        self.marks.append(("good", host, address))

    def bad(self, host, address):
        self.marks.append(("bad", host, address))


class Addressed:
    """A connector that dials addresses in their order, some of which are broken.

    Attributes:
        broken: Stage in which an address fails: what fails in ``tcp`` is followed by the next.
        dialled: The addresses that were offered to each dial.
    """

    def __init__(self, network):
        self._inner = MemoryConnector(network)
        self.broken = {}
        self.dialled = []

    async def __call__(self, url, receiver, options):
        self.dialled.append((receiver.line, tuple(options.addresses), options.source))
        for address in options.addresses or ("left to the dial",):
            stage = self.broken.get(address)
            if stage == "tcp":
                continue
            if options.connected is not None:
                options.connected(address)
            if stage is not None:
                raise DialFailed(stage, url, "as a test wants it")
            transport = await self._inner(url, receiver, options)
            local = options.source or "198.51.100.1"
            transport.timings = replace(transport.timings, address=address, local=local)
            return transport
        raise DialFailed("tcp", url, "nobody answers")


class Way:
    """A stage whose venue has addresses."""

    def __init__(self, stage, dns):
        self.stage, self.dns = stage, dns
        self.connector = Addressed(stage.network)
        self.runtime = Runtime(stage.clock, self.connector, stage.venue.rest, None, dns)

    def feed(self, **options):
        given = {"allow_same": False, "endpoints": (self.stage.venue.ws_url,), **options}
        chosen = Options(
            rest_endpoint=self.stage.venue.http_url, seed=1, runtime=self.runtime, **given
        )
        return Feed(assemble(self.stage.name, (trades(*self.stage.symbols),), chosen), chosen)

    async def live(self, feed, count):
        await self.stage.until(
            lambda: sum(line.state == "up" for line in feed.stats().lines) == count
        )


def at(test, *addresses, **dns):
    async def main(stage):
        return await test(Way(stage, FakeDns(*addresses, **dns)))

    play(main)


def lines_of(feed):
    return {line.line: line for line in feed.stats().lines}


def test_two_lines_are_dialled_at_different_addresses_and_share_host_and_egress_only():
    async def main(way):
        async with way.feed(lines=2) as feed:
            await way.live(feed, 2)
            assert [a[0] for _, a, _ in way.connector.dialled] == [ONE, TWO]
            a, b = lines_of(feed)["a"], lines_of(feed)["b"]
            assert (a.host, a.address, a.egress) == ("venue.test", ONE, "198.51.100.1")
            assert b.address == TWO
            assert a.shares == {"host": ("b",), "egress": ("b",)}
            assert b.shares == {"host": ("a",), "egress": ("a",)}
            assert notices(feed, "shared-fate") == []
        assert ("good", "venue.test", ONE) in way.dns.marks
        assert ("good", "venue.test", TWO) in way.dns.marks

    at(main, ONE, TWO)


def test_two_lines_that_can_only_share_an_address_say_so_and_go_on():
    async def main(way):
        async with way.feed(lines=2) as feed:
            consumer = Consumer(feed)
            await way.live(feed, 2)
            await way.stage.until(lambda: len(consumer.events) > 20)
            said = notices(feed, "shared-fate")
            assert [notice.cause for notice in said] == [
                "2 lines, and not as many addresses to keep apart",
                "lines a and b are connected to the same address",
            ]
            assert said[0].number < notices(feed, "dialing")[0].number, "before the first dial"
            assert lines_of(feed)["a"].shares["address"] == ("b",)
            way.stage.inject("reset")
            await way.stage.until(lambda: feed.stats().dials >= 3)
            await way.live(feed, 2)
            assert len(notices(feed, "shared-fate")) == 2, "said once"
            await consumer.stop()

    at(main, ONE)


@pytest.mark.parametrize(
    "options",
    [
        {"lines": 2, "allow_same": True},
        {"lines": [Line(source="198.51.100.8"), Line(source="198.51.100.9")]},
    ],
    ids=["allowed", "another source"],
)
def test_what_is_allowed_or_leaves_by_another_way_goes_without_saying(options):
    async def main(way):
        async with way.feed(**options) as feed:
            await way.live(feed, 2)
            assert notices(feed, "shared-fate") == []
            assert lines_of(feed)["a"].shares["address"] == ("b",)
            if "allow_same" not in options:
                assert lines_of(feed)["a"].egress == "198.51.100.8"
                assert "egress" not in lines_of(feed)["a"].shares

    at(main, ONE)


def test_an_address_that_refuses_costs_no_dial_and_is_avoided_afterwards():
    async def main(way):
        way.connector.broken = {ONE: "tcp"}
        async with way.feed() as feed:
            await way.live(feed, 1)
            assert feed.stats().dials == 1
            assert lines_of(feed)["a"].address == TWO
            await way.stage.until(lambda: lines_of(feed)["a"].frames > 20)
            way.stage.inject("reset")
            await way.stage.until(lambda: feed.stats().dials == 2)
            assert way.connector.dialled[1][1] == (TWO, ONE)

    at(main, ONE, TWO)


@pytest.mark.parametrize("stage", ["tls", "upgrade"])
def test_an_address_that_fails_late_is_not_good_and_the_next_dial_goes_elsewhere(stage):
    async def main(way):
        way.connector.broken = {ONE: stage}
        async with way.feed() as feed:
            await way.live(feed, 1)
            assert [a[0] for _, a, _ in way.connector.dialled] == [ONE, TWO]
            assert way.dns.marks == [("bad", "venue.test", ONE), ("good", "venue.test", TWO)]

    at(main, ONE, TWO)


def test_a_failed_dial_has_the_name_resolved_anew_and_a_new_address_is_used():
    async def main(way):
        way.connector.broken = {ONE: "tcp"}
        async with way.feed() as feed:
            await way.stage.until(lambda: feed.stats().dials >= 2)
            assert way.dns.asked >= 1
            way.dns.addresses = (THREE,)
            took_s = await way.stage.until(lambda: feed.stats().sessions == 1)
            assert lines_of(feed)["a"].address == THREE
            assert took_s < 4

    at(main, ONE)


def test_names_are_resolved_once_a_minute_and_a_working_session_is_left_alone():
    async def main(way):
        async with way.feed() as feed:
            await way.live(feed, 1)
            way.dns.addresses = (TWO,)
            await asyncio.sleep(185)
            assert way.dns.asked == 4
            assert feed.stats().dials == 1
            assert lines_of(feed)["a"].address == ONE

    at(main, ONE)


def test_dns_that_fails_is_told_once_and_what_worked_is_used():
    async def main(way):
        way.dns.failure = "Name or service not known"
        async with way.feed() as feed:
            await way.live(feed, 1)
            await asyncio.sleep(130)
            [notice] = notices(feed, "resolver")
            assert notice.cause == "venue.test: Name or service not known"
            assert "1 addresses that worked" in notice.evidence
            assert lines_of(feed)["a"].address == ONE
            way.dns.failure = ""
            await asyncio.sleep(60)
            way.dns.failure = "again"
            await asyncio.sleep(60)
            assert len(notices(feed, "resolver")) == 2

    at(main, ONE)


def test_an_address_that_a_session_has_worked_at_for_hours_is_good_until_it_ends():
    async def main(way):
        async with way.feed() as feed:
            await way.live(feed, 1)
            good = ("good", "venue.test", ONE)
            assert way.dns.marks == [good]
            await asyncio.sleep(600)
            assert len(way.connector.dialled) == 1
            assert way.dns.marks == [good] * (1 + 10)  # the name was resolved ten times since

    at(main, ONE)


def test_without_any_address_the_dial_is_left_to_itself():
    async def main(way):
        way.dns.failure = "Name or service not known"
        async with way.feed() as feed:
            await way.live(feed, 1)
            assert way.connector.dialled == [("a", (), None)]

    at(main)


def test_behind_a_proxy_nobody_is_asked():
    async def main(way):
        async with way.feed(proxy="socks5://127.0.0.1:9") as feed:
            await way.live(feed, 1)
            assert way.dns.asked == 0
            assert way.connector.dialled == [("a", (), None)]

    at(main, ONE)


def test_a_slow_answer_delays_the_first_dial_and_no_other():
    async def main(way):
        began_ns = way.stage.clock.mono_ns()
        async with way.feed() as feed:
            await way.live(feed, 1)
            first_s = (way.stage.clock.mono_ns() - began_ns) / 1e9
            assert 2.0 <= first_s < 2.5
            way.stage.inject("reset")
            again_s = await way.stage.until(lambda: feed.stats().sessions == 2)
            assert again_s < 1.0

    at(main, ONE, delay_s=2.0)


def test_an_address_that_is_one_is_known_without_asking():
    async def main(stage):
        way = Way(stage, FakeDns())
        stage.network.listen("ws://192.0.2.1:443", stage.network.accept_at(_target(stage)))
        async with way.feed(endpoints=("ws://192.0.2.1:443",)) as feed:
            await way.live(feed, 1)
            assert way.dns.asked == 0
            assert way.connector.dialled == [("a", (ONE,), None)]

    play(main)


def _target(stage):
    from gapless.io.dial import parse_target

    return parse_target(stage.venue.ws_url)


def test_round_trips_and_connect_times_reach_the_choice():
    async def main(stage: Stage):
        way = Way(stage, FakeDns(ONE, TWO))
        async with way.feed() as feed:
            await way.live(feed, 1)
            await stage.until(lambda: lines_of(feed)["a"].rtt_ms is not None, 120)
            await asyncio.sleep(1)
            choice = feed._running().supervisor.choice
            [record] = choice._records.values()
            assert record.connect_ns == pytest.approx(10e6, rel=0.5)
            assert record.rtt_ns == pytest.approx(10e6, rel=0.5)

    play(main, rate=0.1)


def test_who_wins_the_races_reaches_the_choice():
    class Far(Addressed):
        """A connector to which the second address is farther away."""

        async def __call__(self, url, receiver, options):
            if options.addresses[0] == TWO:
                receiver = _Late(receiver, 0.1)
            return await super().__call__(url, receiver, options)

    async def main(stage):
        way = Way(stage, FakeDns(ONE, TWO))
        way.connector = Far(stage.network)
        way.runtime = replace(way.runtime, connector=way.connector)
        async with way.feed(lines=2) as feed:
            consumer = Consumer(feed)
            await way.live(feed, 2)
            await stage.until(lambda: lines_of(feed)["a"].wins >= 200, 600)
            records = feed._running().supervisor.choice._records
            won = {target.address: record.won for target, record in records.items()}
            assert won == {ONE: 1.0, TWO: 0.0}
            await consumer.stop()

    play(main, rate=200)


class _Late:
    """A receiver that hears texts later."""

    def __init__(self, inner, late_s):
        self._inner, self._late_s = inner, late_s

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def on_text(self, text, mono_ns):
        loop = asyncio.get_running_loop()
        late_ns = int(self._late_s * 1e9)
        loop.call_later(self._late_s, lambda: self._inner.on_text(text, mono_ns + late_ns))
