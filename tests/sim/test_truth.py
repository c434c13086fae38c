from __future__ import annotations

import io
import json

from tests.sim.wires import SECOND, T0, dial

from gapless.sim.build import simulate
from gapless.sim.truth import MemoryTruth, NdjsonTruth

PATH = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms"


def run(truth):
    exchange = simulate("binance.spot", rate_per_s=100, seed=2, truth=truth)
    dial(exchange, PATH)
    exchange.advance(T0 + 5 * SECOND)
    exchange.close(T0 + 5 * SECOND)


def test_a_file_says_line_by_line_what_memory_keeps():
    memory, file = MemoryTruth(), io.BytesIO()
    ndjson = NdjsonTruth(file)
    run(memory)
    run(ndjson)
    lines = file.getvalue().splitlines()
    assert ndjson.written == len(lines) == len(memory.records)
    assert [json.loads(line) for line in lines] == memory.records


def test_memory_can_be_bounded():
    memory = MemoryTruth(limit=10)
    run(memory)
    assert len(memory.records) == 10
    assert memory.dropped > 100


def test_records_can_be_picked():
    memory = MemoryTruth()
    run(memory)
    assert {r["type"] for r in memory.records} == {"world", "sent", "session", "final"}
    picked = memory.of("world", channel="trades", symbol="BTCUSDT")
    assert picked
    assert all(r["topic"] == "btcusdt@trade" for r in picked)


def test_what_was_sent_can_be_matched_with_what_happened():
    memory = MemoryTruth()
    run(memory)
    world = {(r["topic"], r["n"]): (r["first"], r["last"]) for r in memory.of("world")}
    sent = memory.of("sent")
    assert len(sent) > 50
    for record in sent:
        assert world[record["topic"], record["n"]] == (record["first"], record["last"])


def test_the_book_changes_in_the_log_lead_to_the_final_book():
    memory = MemoryTruth()
    exchange = simulate("deribit", rate_per_s=300, seed=2, truth=memory)
    exchange.advance(T0)
    view = exchange.world.by_name["BTC-PERPETUAL"].view()
    price, size = (scale.value for scale in exchange.dialect.scales[0])
    book = {
        "bids": {price[p]: size[s] for p, s in view.bids},
        "asks": {price[p]: size[s] for p, s in view.asks},
    }
    exchange.close(T0 + 20 * SECOND)
    (final,) = memory.of("final", symbol="BTC-PERPETUAL")
    for record in memory.of("world", topic="book.BTC-PERPETUAL.100ms"):
        for side in ("bids", "asks"):
            for level, amount in record[side]:
                if amount:
                    book[side][level] = amount
                else:
                    book[side].pop(level)
    last = memory.of("world", topic="book.BTC-PERPETUAL.100ms")[-1]["last"]
    if last == final["number"]:
        assert book["bids"] == dict(final["bids"])
        assert book["asks"] == dict(final["asks"])
    else:  # the last batch was still gathering
        differing = set(book["bids"].items()) ^ {tuple(level) for level in final["bids"]}
        assert len(differing) < 40
