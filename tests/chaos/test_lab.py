"""A run in this process, over real sockets, and one whose consumer is made to lose."""

import asyncio
import json
import tomllib

import pytest

from gapless.chaos import lab as module
from gapless.chaos.lab import Lab
from gapless.chaos.plan import Blow
from gapless.cli.ndjson import event_line, notice_line
from gapless.events import Trade
from gapless.proxy.faults import Fault as ProxyFault
from gapless.sim.faults import Fault as VenueFault

PLAN = [
    Blow(3.0, "a", ProxyFault(name="reset")),
    Blow(4.0, "b", VenueFault(name="reset")),
    Blow(5.5, None, ProxyFault(name="close", code=1001), calm=False),
]


async def ran(folder, *, encode=event_line, run_s=14.0, stop=None, rivals=(), told=None):
    lab = Lab(
        "deribit",
        3,
        run_s,
        lines=2,
        rivals=rivals,
        folder=folder,
        encode=encode,
        encode_notice=notice_line,
        tell=lambda at_s, blow: told is None or told.append((at_s, blow)),
    )
    lab.plan = PLAN
    async with asyncio.timeout(run_s + 30):
        return await lab.run(stop or asyncio.Event().wait)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, told = tmp_path_factory.mktemp("lab"), []
    report = asyncio.run(ran(folder, rivals=("naive", "websockets"), told=told))
    return folder, report, told


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_fault_happened_on_the_line_that_it_was_meant_for(run):
    folder, report, told = run
    assert report.complete
    assert [struck.happened for struck in report.struck] == [1, 1, 2]
    assert [blow for _, blow in told] == PLAN
    ended = [
        (line["line"], line["recv_ns"])
        for line in lines_of(folder / "events.jsonl")
        if line["type"] == "notice" and line["kind"] == "ended" and line["cause"] != "planned"
    ]
    first, second, both = (struck.at_ns for struck in report.struck)
    assert [line for line, ns in ended if first <= ns < second] == ["a"]
    assert [line for line, ns in ended if second <= ns < both] == ["b"]
    assert sorted({line for line, ns in ended if ns >= both}) == ["a", "b"]


def test_the_promise_held_and_a_single_line_cost_nothing(run):
    _, report, _ = run
    verdict = report.verdict
    assert verdict.kept, verdict.as_dict()
    assert verdict.total("delivered") > 200
    assert verdict.books == (2, 2)
    both = report.struck[-1].at_ns
    assert all(loss.ns > both - 1e9 for loss in verdict.losses)
    assert verdict.dials >= 6


def test_delays_are_measured_with_a_fault_and_without(run):
    verdict = run[1].verdict
    assert len(verdict.delay_calm.values_ns) > 50
    assert len(verdict.delay_struck.values_ns) > 20
    assert min(verdict.delay_calm.values_ns) >= 0


def test_the_loops_of_others_lose_through_the_same_plan_and_say_nothing(run):
    _, report, _ = run
    assert list(report.rivals) == ["naive", "websockets"]
    for verdict in report.rivals.values():
        assert verdict.unannounced > 0
        assert sum(loss.announced for loss in verdict.losses) == 0
        assert not verdict.kept
        assert verdict.dials >= 3
        assert [strike.name for strike in verdict.strikes] == ["reset", "reset", "close"]


def test_the_files_tell_everything(run):
    folder = run[0]
    strikes = [line for line in lines_of(folder / "truth.jsonl") if line["type"] == "strike"]
    assert [strike["line"] for strike in strikes] == ["a", "b", None]
    events = lines_of(folder / "events.jsonl")
    data = [line for line in events if line["type"] != "notice"]
    assert all(line["taken_ns"] >= line["recv_ns"] for line in data)
    assert len(tomllib.loads((folder / "plan.toml").read_text())["fault"]) == 3
    assert (folder / "truth-naive.jsonl").exists()
    assert (folder / "events-websockets.jsonl").exists()


def test_a_consumer_that_loses_one_trade_and_a_stop_in_the_middle_are_told(tmp_path):
    seen = []

    def lossy(event):
        if isinstance(event, Trade):
            seen.append(event)
            if len(seen) == 10:  # written as another, that the venue never made
                return event_line(event).replace(b'"id":"', b'"id":"0')
        return event_line(event)

    async def main():
        async def stop():
            while len(seen) < 30:
                await asyncio.sleep(0.01)

        return await ran(tmp_path, encode=lossy, stop=stop)

    report = asyncio.run(main())
    assert not report.complete
    assert report.verdict.unannounced == 1
    assert not report.verdict.kept


def test_there_are_these_to_compare_with():
    assert module.RIVALS == ("naive", "websockets")
