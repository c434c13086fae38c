"""The whole client over captures, in virtual time; and twice the same, byte for byte."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gapless.capture.recorder import Recorder
from gapless.capture.writer import CaptureWriter
from gapless.client import Feed
from gapless.errors import UsageError
from gapless.events import BookDelta, BookSnapshot, Gap, Resynced, Trade
from gapless.io.runtime import Runtime
from gapless.planning import Options, Subscription, assemble
from gapless.sim.build import simulate
from gapless.sim.faults import Fault
from gapless.testing.clock import VirtualClock
from gapless.testing.clock import run as run_virtually
from gapless.testing.memory import MemoryConnector, MemoryNetwork
from gapless.testing.replaying import replayed, subscriptions_in
from gapless.testing.venue import MemoryVenue
from gapless.venues._registry import load

CORPUS = Path(
    os.environ.get("GAPLESS_CORPUS") or Path(__file__).parents[2].parent / "shared" / "corpus"
)


def corpus(name: str) -> Path:
    path = CORPUS / f"{name}.jsonl.gz"
    if not path.exists():
        reason = f"recorded traffic is not here: {path}"
        if os.environ.get("GAPLESS_CORPUS_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def rows(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


# -- captures of ours -------------------------------------------------------------------------


class Tapping:
    """REST reads that are tapped, as the real client's are."""

    def __init__(self, inner, recorder, clock):
        self._inner, self._recorder, self._clock = inner, recorder, clock

    async def get(self, base, request, rest):
        body = await self._inner.get(base, request, rest)
        query = "&".join(f"{key}={value}" for key, value in request.query)
        now = self._clock.mono_ns(), self._clock.wall_ns()
        self._recorder.answered(f"{base}{request.path}?{query}", request.body, 200, body, *now)
        return body

    async def close(self):
        await self._inner.close()


def record(folder, venue, channels, *, lines=1, faults=(), seconds=20.0):
    """Record a simulated venue in virtual time; return the events and notices of that feed."""

    async def main(clock):
        exchange = simulate(venue, rate_per_s=40, seed=11)
        network = MemoryNetwork(clock, jitter_ns=2_000_000, seed=11)
        server = MemoryVenue(exchange, network, "venue.test:443", clock)
        writer = CaptureWriter(folder, venue, "0123456789abcdef", clock.wall_ns(), fsync="never")
        recorder = Recorder(writer)
        recorder.note("started", {}, clock.mono_ns(), clock.wall_ns())
        runtime = Runtime(
            clock,
            MemoryConnector(network),
            lambda options: Tapping(server.rest(options), recorder, clock),
            recorder,
        )
        options = Options(
            endpoints=(server.ws_url,), rest_endpoint=server.http_url, seed=5, runtime=runtime,
            lines=lines,
        )  # fmt: skip
        symbol = exchange.dialect.usual_symbols[0]
        plan = assemble(venue, [Subscription(c, (symbol,)) for c in channels], options)
        events = []
        loop = asyncio.get_running_loop()
        async with Feed[object](plan, options) as feed:
            for at_s, fault in faults:
                loop.call_later(at_s, lambda f=fault: exchange.inject(f, clock.wall_ns()))
            await asyncio.sleep(seconds)
            notices = feed.notices()
            while (event := feed.take()) is not None:
                events.append(event)
        server.close()
        await recorder.close()
        return events, notices

    clock = VirtualClock()
    return run_virtually(main(clock), clock)


def payload(event):
    """Return what an event says, without where and when."""
    return (type(event), event.symbol, event.channel, event.event_ns, event.first, event.last)


@pytest.mark.parametrize("venue", ["deribit", "binance.spot"])
@pytest.mark.parametrize("lines", [1, 2])
def test_a_recorded_feed_is_delivered_again(tmp_path, venue, lines):
    lived, _ = record(tmp_path, venue, ("trades", "book", "bbo", "ticker"), lines=lines)
    again = replayed(tmp_path, seed=5, lines=lines)
    assert again.stats.gaps == 0
    assert again.unlike == 0
    assert {type(e) for e in again.events} >= {Trade, BookDelta, BookSnapshot}
    by_topic = {topic: [payload(e) for e in lived if e.origin.topic == topic]
                for topic in {e.origin.topic for e in lived}}  # fmt: skip
    for topic, wanted in by_topic.items():
        got = [payload(e) for e in again.events if e.origin.topic == topic]
        assert got[: len(wanted)] == wanted, topic


def test_times_are_those_of_the_recording(tmp_path):
    lived, _ = record(tmp_path, "deribit", ("book",))
    again = replayed(tmp_path, seed=5)
    for was, now in zip(lived, again.events, strict=False):
        assert abs(was.mono_ns - now.mono_ns) < 1000
        assert abs(was.recv_ns - now.recv_ns) < 1000


def test_a_break_in_the_recording_breaks_the_replay_in_the_same_way(tmp_path):
    faults = [
        (5.0, Fault(name="drop", topic="trades.*", count=2)),
        (9.0, Fault(name="close", code=1012)),
        (14.0, Fault(name="reset")),
    ]
    lived, notices = record(tmp_path, "deribit", ("trades", "book"), faults=faults)
    again = replayed(tmp_path, seed=5)

    def marks(events):
        return [payload(e) for e in events if isinstance(e, Gap | Resynced)]

    assert marks(lived)
    assert marks(again.events)[: len(marks(lived))] == marks(lived)
    ended = [n.cause for n in notices if n.kind == "ended"]
    assert [n.cause for n in again.notices if n.kind == "ended"] == ended
    assert len(ended) == 2


# -- foreign captures -------------------------------------------------------------------------


def test_recorded_deribit_traffic_is_granted_and_delivered():
    path = corpus("deribit/cryptofeed_deribit_20210405")
    frames = [json.loads(row["raw"]) for row in rows(path) if row["dir"] == "in"]
    data = [f["params"]["data"] for f in frames if f.get("method") == "subscription"]
    changes = sum("change_id" in one and "prev_change_id" in one for one in data)
    again = replayed(path, venue="deribit")
    found = Counter(type(event) for event in again.events)
    assert found[BookDelta] == changes == 177
    assert found[BookSnapshot] == sum("change_id" in one for one in data) - changes
    assert again.undecoded == again.stats.gaps == 0


def test_recorded_binance_traffic_finds_its_snapshots():
    path = corpus("binance/cryptofeed_binance_20210417")
    again = replayed(path, venue="binance.spot")
    snapshots = [event for event in again.events if isinstance(event, BookSnapshot)]
    asked = [row for row in rows(path) if row["conn"] == "rest" and "depth" in (row["url"] or "")]
    assert len({event.symbol for event in snapshots}) == len(asked) == 10
    assert again.stats.gaps == 0


def test_what_a_codec_learns_belongs_to_a_connection():
    # Kraken numbers its channels for each connection; three of them were recorded.
    path = corpus("kraken/cryptofeed_kraken_20210417")
    again = replayed(path, venue="kraken.v1")
    assert sum(isinstance(event, BookDelta) for event in again.events) == 4269
    assert again.stats.gaps == again.undecoded == 0


def test_a_connection_that_is_counted_is_whole():
    path = corpus("coinbase/cryptofeed_coinbase_20260809")
    frames = [json.loads(row["raw"]) for row in rows(path) if row["conn"].startswith("coinbase.ws")
              and row["dir"] == "in"]  # fmt: skip
    numbers = [frame["sequence_num"] for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    updates = [event for frame in frames if frame["channel"] == "l2_data"
               for event in frame["events"]]  # fmt: skip
    again = replayed(path, venue="coinbase")
    found = Counter(type(event) for event in again.events)
    assert found[BookDelta] == sum(event["type"] == "update" for event in updates)
    assert found[BookSnapshot] == sum(event["type"] == "snapshot" for event in updates)
    assert (again.stats.gaps, again.stats.dials, again.undecoded) == (0, 1, 0)


def test_a_hole_in_a_counted_connection_ends_it_as_it_would_have_then(tmp_path):
    path = corpus("coinbase/cryptofeed_coinbase_20260809")
    with gzip.open(path, "rt") as file:
        kept = [line for line in file if '\\"sequence_num\\":500,' not in line]
    holed = tmp_path / "holed.jsonl"
    holed.write_text("".join(kept))
    assert len(kept) == len(rows(path)) - 1
    again = replayed(holed, venue="coinbase")
    assert any("500 to 500" in n.cause for n in again.notices if n.kind == "ended")
    assert any(isinstance(event, Gap) for event in again.events)


# -- the same again ---------------------------------------------------------------------------

TWICE = """
import sys
from gapless.cli.ndjson import event_line, notice_line
from gapless.testing.replaying import replayed
again = replayed(sys.argv[1], venue=sys.argv[2], seed=int(sys.argv[3]), beyond_s=60.0)
for event in again.events:
    sys.stdout.buffer.write(event_line(event))
for notice in again.notices:
    sys.stdout.buffer.write(notice_line(notice))
"""


def run_child(path, venue, seed, hash_seed):
    ran = subprocess.run(
        [sys.executable, "-c", TWICE, str(path), venue, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        timeout=120,
    )
    return ran.stdout


def test_one_capture_and_one_seed_give_the_same_events_and_decisions_byte_for_byte(tmp_path):
    faults = [(5.0, Fault(name="close", code=1012)), (9.0, Fault(name="drop", topic="book.*"))]
    record(tmp_path, "deribit", ("trades", "book"), faults=faults)
    one, two, other = (
        run_child(tmp_path, "deribit", seed, hash_seed)
        for seed, hash_seed in ((3, "1"), (3, "4242"), (4, "1"))
    )
    assert one == two
    # A minute beyond the end the client dials again and again, as its seed has it.
    assert one != other
    assert one.count(b'"kind":"dialing"') > 2
    assert b'"type":"gap"' in one or b'"type":"resynced"' in one


def test_a_foreign_capture_gives_the_same_twice():
    path = corpus("binance/cryptofeed_binance_20210417")
    assert run_child(path, "binance.spot", 3, "1") == run_child(path, "binance.spot", 3, "777")


# -- what is in it ----------------------------------------------------------------------------


def test_what_to_subscribe_to_is_found_in_the_capture(tmp_path):
    record(tmp_path, "deribit", ("trades", "book"), seconds=5)
    assert subscriptions_in(tmp_path, load("deribit")) == [
        Subscription("trades.100ms", ("BTC-PERPETUAL",)),
        Subscription("book.100ms", ("BTC-PERPETUAL",)),
    ]


def test_a_capture_that_does_not_say_its_venue_needs_one(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"ts":1,"conn":"a","dir":"in","raw":"{}"}\n')
    with pytest.raises(UsageError, match="does not say"):
        replayed(path)
