"""A whole probe against the simulator and against ports that are not one."""

import asyncio
from dataclasses import replace

import pytest
from tests.io.raw_server import RawServer

from gapless.core.budget import Budget, Window
from gapless.errors import UsageError
from gapless.io.resolver import Answer
from gapless.io.runtime import system_runtime
from gapless.planning import Budgets, Options
from gapless.probing.judging import judge
from gapless.probing.measuring import VISITS_MAX, probe
from gapless.sim.build import simulate
from gapless.sim.server import SimServer
from gapless.sim.truth import MemoryTruth
from gapless.venues._registry import load

SECOND = 1_000_000_000


class FakeDns:
    def __init__(self, *addresses, failure=""):
        self.answer = Answer(addresses, 3_000_000, failure)

    async def resolve(self, host):
        return self.answer

    def good(self, host, address): ...

    def bad(self, host, address): ...


def against_simulator(scenario, venue="deribit", **changed):
    async def main():
        truth = MemoryTruth()
        exchange = simulate(venue, rate_per_s=100.0, seed=1, truth=truth)
        async with SimServer(exchange) as server:
            return await scenario(server, truth)

    return asyncio.run(main())


@pytest.mark.parametrize("venue", ["deribit", "binance.spot"])
def test_the_simulator_is_fine_and_everything_is_measured(venue):
    async def scenario(server, truth):
        options = Options(endpoints=(server.ws_url,))
        return await probe(venue, options, system_runtime(), 2.0), truth

    seen, truth = against_simulator(scenario, venue)
    judgement = judge(seen, load(venue))
    # A machine that is busy with other tests may be slow: that is no fault of the way.
    blamed = [f for f in judgement.findings if f.level == "wrong" and f.where != "host"]
    assert blamed == []
    [visit] = seen.visits
    assert visit.open
    assert visit.data_ns is not None
    assert visit.ack_ns is not None
    assert len(visit.rtts_ns) == visit.pings >= 5
    assert visit.watched_ns >= 1.5 * SECOND
    assert visit.tcp is None or visit.tcp.rtt_us > 0
    # One machine has one clock: the truth is 0.
    assert abs(seen.clocks.offset_ns) <= seen.clocks.uncertainty_ns
    assert seen.clocks.uncertainty_ns < SECOND
    assert seen.host.lag_samples >= 20
    assert len(truth.of("session", what="opened")) == 1, "one dial for one address"


def test_each_address_of_a_name_is_dialled_once_eight_at_most_and_the_rest_is_named():
    async def scenario(server, truth):
        port = server.ws_url.rpartition(":")[2].partition("/")[0]
        addresses = ["127.0.0.1", *(f"127.0.0.{n}" for n in range(2, 11))]
        runtime = replace(system_runtime(), resolver=FakeDns(*addresses))
        options = Options(endpoints=(f"ws://venue.test:{port}",))
        return await probe("deribit", options, runtime, 3.0)

    seen = against_simulator(scenario)
    assert len(seen.visits) == VISITS_MAX
    assert [visit.address for visit in seen.visits] == [f"127.0.0.{n}" for n in range(1, 9)]
    assert seen.visits[0].open
    assert [visit.stage for visit in seen.visits[1:]] == ["tcp"] * 7
    assert len(seen.skipped) == 2
    assert "127.0.0.10" in seen.skipped[1]
    assert judge(seen, load("deribit")).verdict.startswith("Something is wrong (1 of 8")


def test_dials_are_paid_from_the_budget_and_time_runs_out_for_the_rest():
    async def scenario(server, truth):
        profile = load("deribit")
        shared = Budgets()
        options = Options(
            endpoints=(server.ws_url, server.ws_url.replace("127.0.0.1", "localhost")),
            budgets=shared,
        )
        budgets = shared.of(profile)
        object.__setattr__(budgets, "dials", Budget(Window(1, 3600 * SECOND)))
        return await probe("deribit", options, system_runtime(), 1.0), budgets

    seen, budgets = against_simulator(scenario)
    assert len(seen.visits) == 1
    assert seen.skipped[0].endswith("no time was left")
    assert budgets.dials.used_ratio(0) == 1.0


def test_a_port_where_nobody_listens_is_unreachable():
    async def scenario():
        async with RawServer() as raw:
            url = f"ws://127.0.0.1:{raw.port}"
        return await probe("deribit", Options(endpoints=(url,)), system_runtime(), 1.0)

    judgement = judge(asyncio.run(scenario()), load("deribit"))
    assert not judgement.reached
    assert judgement.verdict.startswith("Unreachable: nobody listens there")


def test_a_server_that_says_nothing_is_wrong_in_its_own_words():
    async def scenario():
        async with RawServer(answer=lambda key: None) as raw:
            url = f"ws://127.0.0.1:{raw.port}"
            return await probe("deribit", Options(endpoints=(url,)), system_runtime(), 1.0)

    judgement = judge(asyncio.run(scenario()), load("deribit"))
    assert judgement.reached
    assert "stays silent" in judgement.verdict


def test_dns_that_fails_is_what_is_wrong():
    runtime = replace(system_runtime(), resolver=FakeDns(failure="Name or service not known"))
    options = Options(endpoints=("ws://no-such-name.invalid:9",))
    seen = asyncio.run(probe("deribit", options, runtime, 1.0))
    assert seen.names[0].failure == "Name or service not known"
    judgement = judge(seen, load("deribit"))
    assert not judgement.reached
    assert "cannot be resolved" in judgement.verdict


def test_what_is_no_venue_is_refused_before_any_io():
    with pytest.raises(UsageError, match="no venue"):
        asyncio.run(probe("deribbit", Options(), system_runtime(), 1.0))
