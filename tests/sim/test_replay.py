from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from tests.sim.wires import MS, SECOND, T0, dial

from gapless.capture.format import Stored
from gapless.capture.reader import open_capture
from gapless.capture.writer import CaptureWriter
from gapless.sim.build import replay
from gapless.sim.dialects import BinanceSpot, Deribit
from gapless.sim.replay import CaptureDamaged, Timeline, load

DEPTH = {"e": "depthUpdate", "E": 1, "s": "AAABTC", "U": 5, "u": 7, "b": [["1.0", "2"]], "a": []}
TRADE = {"e": "trade", "E": 2, "s": "AAABTC", "t": 9, "p": "1", "q": "1", "T": 2, "m": False}
TICK = {"u": 8, "s": "AAABTC", "b": "1", "B": "1", "a": "2", "A": "2"}
SNAPSHOT = {"lastUpdateId": 6, "bids": [["1.0", "1"]], "asks": []}
IP = "198.51.100.1"


def write(path, lines):
    with gzip.open(path, "wt") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
    return path


def frame(ts, raw, conn="ws.1", direction="in", **more):
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return {"ts": ts, "conn": conn, "dir": direction, "raw": text, **more}


def combined(name, data):
    return {"stream": name, "data": data}


@pytest.fixture
def capture(tmp_path):
    return write(
        tmp_path / "c.jsonl.gz",
        [
            frame(None, "{}", "meta", "meta"),
            frame(1_000, '{"method":"SUBSCRIBE"}', direction="out"),
            frame(2_000, {"result": None, "id": 1}),
            frame(5 * SECOND, combined("aaabtc@depth@100ms", DEPTH)),
            frame(5 * SECOND + 100 * MS, combined("aaabtc@trade", TRADE)),
            frame(6 * SECOND, SNAPSHOT, "rest"),
            frame(7 * SECOND, combined("aaabtc@bookTicker", TICK)),
            frame(7 * SECOND, SNAPSHOT | {"lastUpdateId": 66}, "rest"),
            frame(None, combined("aaabtc@trade", TRADE | {"t": 10})),
        ],
    )


def open_session(exchange, names, now_ns=T0, path="/stream"):
    session, wire = dial(exchange, path, now_ns)
    session.on_text(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}), now_ns)
    return session, wire


def test_frames_come_with_their_timing_after_the_first_subscribe(capture):
    exchange = replay("binance.spot", capture)
    names = ["aaabtc@depth@100ms", "aaabtc@trade", "aaabtc@bookTicker"]
    _, wire = dial(exchange, "/stream")
    exchange.advance(T0 + 50 * SECOND)
    assert not wire.of("text")
    start_ns = T0 + 50 * SECOND
    _, wire = open_session(exchange, names, start_ns)
    assert wire.json() == [{"result": None, "id": 1}]
    exchange.advance(start_ns)
    assert len(wire.json()) == 2
    exchange.advance(start_ns + 100 * MS - 1)
    assert len(wire.json()) == 2
    exchange.advance(start_ns + 100 * MS)
    assert wire.json()[2] == combined("aaabtc@trade", TRADE)
    exchange.advance(start_ns + 2 * SECOND - 1)
    assert len(wire.json()) == 3
    exchange.advance(start_ns + 2 * SECOND)
    assert len(wire.json()) == 5
    exchange.advance(start_ns + 40 * SECOND)
    assert len(wire.json()) == 5
    assert wire.of("ping")


def test_speed_compresses_time(capture):
    exchange = replay("binance.spot", capture, speed=10)
    assert exchange.timeline.length_ns == 200 * MS
    _, wire = open_session(exchange, ["aaabtc@bookTicker"])
    exchange.advance(T0 + 200 * MS - 1)
    assert len(wire.json()) == 1
    exchange.advance(T0 + 200 * MS)
    assert len(wire.json()) == 2
    with pytest.raises(ValueError, match="positive"):
        Timeline(0)


def test_only_what_was_subscribed_is_sent_and_each_session_has_its_own_time(capture):
    exchange = replay("binance.spot", capture)
    _, one = open_session(exchange, ["aaabtc@trade", "anything@at-all"])
    _, two = open_session(exchange, ["aaabtc@depth@100ms"], T0 + 20 * SECOND)
    exchange.advance(T0 + 60 * SECOND)
    assert [m["data"]["t"] for m in one.json()[1:]] == [9, 10]
    assert [m["data"]["u"] for m in two.json()[1:]] == [7]


def test_the_wrapper_is_that_of_the_session_not_of_the_capture(capture, tmp_path):
    exchange = replay("binance.spot", capture)
    _, wire = dial(exchange, "/ws/aaabtc@trade")
    exchange.advance(T0 + 10 * SECOND)
    assert wire.json() == [TRADE, TRADE | {"t": 10}]
    raw = write(tmp_path / "raw.gz", [frame(1, DEPTH), frame(2, TRADE), frame(3, TICK)])
    exchange = replay("binance.spot", raw)
    _, wire = open_session(exchange, ["aaabtc@depth", "aaabtc@bookTicker"])
    exchange.advance(T0 + SECOND)
    assert wire.json()[1:] == [
        combined("aaabtc@depth", DEPTH),
        combined("aaabtc@bookTicker", TICK),
    ]


def test_recorded_bodies_are_served_from_the_start_and_follow_the_time(capture):
    exchange = replay("binance.spot", capture)

    def ask(now_ns, symbol="AAABTC"):
        return exchange.rest("GET", "/api/v3/depth", {"symbol": symbol}, IP, now_ns)

    assert json.loads(ask(T0).body_text) == SNAPSHOT
    assert ask(T0, "BBBBTC").status == 400
    open_session(exchange, ["aaabtc@trade"], T0 + SECOND)
    exchange.advance(T0 + 2 * SECOND)
    assert json.loads(ask(T0 + 2 * SECOND).body_text) == SNAPSHOT
    exchange.advance(T0 + 10 * SECOND)
    assert json.loads(ask(T0 + 10 * SECOND).body_text)["lastUpdateId"] == 66
    assert exchange.rest("GET", "/api/v3/time", {}, IP, T0 + 10 * SECOND).status == 200


def test_a_url_names_the_symbol_and_without_one_two_books_are_ambiguous(tmp_path):
    other = combined("bbbbtc@depth", DEPTH | {"s": "BBBBTC"})
    lines = [frame(1, combined("aaabtc@depth", DEPTH)), frame(2, other), frame(3, SNAPSHOT, "rest")]
    url = "https://api.binance.com/api/v3/depth?symbol=BBBBTC&limit=1000"
    named = frame(4, SNAPSHOT | {"lastUpdateId": 9}, "rest", url=url)
    exchange = replay("binance.spot", write(tmp_path / "x.gz", [*lines, named]))
    reply = exchange.rest("GET", "/api/v3/depth", {"symbol": "BBBBTC"}, IP, T0)
    assert json.loads(reply.body_text)["lastUpdateId"] == 9
    assert exchange.rest("GET", "/api/v3/depth", {"symbol": "AAABTC"}, IP, T0).status == 400


def test_deribit_replays_with_acknowledgements_of_its_own(tmp_path):
    params = {"channel": "book.X.raw", "data": {"type": "snapshot", "change_id": 1}}
    push = {"jsonrpc": "2.0", "method": "subscription", "params": params}
    url = "https://www.deribit.com/api/v2/public/get_instruments?currency=BTC&expired=false"
    path = write(
        tmp_path / "d.gz",
        [
            frame(1, {"jsonrpc": "2.0", "id": 0, "result": ["book.X.raw"]}),
            frame(2, {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}}),
            frame(3, push),
            frame(4, {"result": ["i"]}, "rest", url=url),
        ],
    )
    exchange = replay("deribit", path)
    session, wire = dial(exchange, "/ws/api/v2")
    request = {"id": 1, "method": "public/subscribe", "params": {"channels": ["book.X.raw"]}}
    session.on_text(json.dumps(request), T0)
    exchange.advance(T0 + 10)
    assert wire.json()[0]["result"] == ["book.X.raw"]
    assert wire.json()[1:] == [push]
    query = {"expired": "false", "currency": "BTC"}
    reply = exchange.rest("GET", "/api/v2/public/get_instruments", query, IP, T0)
    assert json.loads(reply.body_text) == {"result": ["i"]}


def test_segments_and_lines_give_the_same_timeline(capture, tmp_path):
    writer = CaptureWriter(tmp_path / "run", "binance.spot", "0123456789", 1, fsync="never")
    writer.add([Stored.of(record) for record in open_capture(capture)], 1)
    writer.close(1)
    one, two = (load(path, BinanceSpot()) for path in (capture, tmp_path / "run"))
    assert one.frames == two.frames
    assert len(one.frames) == 4
    assert [one.due_ns(n) for n in range(4)] == [two.due_ns(n) for n in range(4)]
    key = ("/api/v3/depth", "AAABTC")
    assert one.rest_body(key, 0) == two.rest_body(key, 0) == json.dumps(SNAPSHOT)
    assert one.skipped == two.skipped


# -- damage -----------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    with pytest.raises(CaptureDamaged) as damaged:
        load(tmp_path / "none.gz", BinanceSpot())
    assert damaged.value.place == ""
    assert "no such file" in str(damaged.value)


def test_a_directory_is_no_capture(tmp_path):
    with pytest.raises(CaptureDamaged):
        load(tmp_path, BinanceSpot())


def test_a_truncated_or_foreign_file(tmp_path, capture):
    whole = capture.read_bytes()
    for i, content in enumerate(
        (whole[:-12], whole[: len(whole) // 2], b"not gzip", whole[:20] + b"\0" * 40)
    ):
        path = tmp_path / f"{i}.gz"
        path.write_bytes(content)
        with pytest.raises(CaptureDamaged) as damaged:
            load(path, BinanceSpot())
        assert damaged.value.path == str(path)


@pytest.mark.parametrize(
    "bad", ["{", "[]", '{"ts":1}', '{"ts":"x","conn":"a","dir":"in","raw":""}']
)
def test_a_bad_line_is_named(tmp_path, bad):
    path = tmp_path / "bad.gz"
    good = json.dumps(frame(1, combined("aaabtc@trade", TRADE)))
    with gzip.open(path, "wt") as file:
        file.write(f"{good}\n{good}\n{bad}\n{good}\n")
    with pytest.raises(CaptureDamaged) as damaged:
        load(path, BinanceSpot())
    assert damaged.value.place == "line 3"


# -- the corpus -------------------------------------------------------------------------------

CORPUS = Path(
    os.environ.get("GAPLESS_CORPUS") or Path(__file__).parents[2].parent / "shared" / "corpus"
)


def corpus(name):
    path = CORPUS / name
    if not path.exists():
        reason = f"recorded traffic is not here: {path}"
        if os.environ.get("GAPLESS_CORPUS_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def test_recorded_binance_traffic_replays_byte_for_byte():
    path = corpus("binance/hftbacktest_spot_btcusdt_20240808.jsonl.gz")
    exchange = replay("binance.spot", path, speed=1000)
    names = ["btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker"]
    assert sorted(exchange.timeline.topics) == sorted(names)
    _, wire = open_session(exchange, names)
    _, one = open_session(exchange, names[:1])
    exchange.advance(T0 + exchange.timeline.length_ns)
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    frames = [row["raw"] for row in rows if row["conn"] != "rest"]
    assert wire.of("text")[1:] == frames
    assert one.of("text")[1:] == [text for text in frames if '"btcusdt@trade"' in text[:30]]
    query = {"symbol": "BTCUSDT", "limit": "1000"}
    reply = exchange.rest("GET", "/api/v3/depth", query, IP, T0)
    assert reply.body_text == next(row["raw"] for row in rows if row["conn"] == "rest")


def test_recorded_deribit_traffic_replays_byte_for_byte():
    path = corpus("deribit/cryptofeed_deribit_20210405.jsonl.gz")
    exchange = replay("deribit", path, speed=100)
    session, wire = dial(exchange, "/ws/api/v2")
    request = {
        "id": 1,
        "method": "public/subscribe",
        "params": {"channels": exchange.timeline.topics},
    }
    session.on_text(json.dumps(request), T0)
    exchange.advance(T0 + exchange.timeline.length_ns)
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    assert wire.of("text")[1:] == [
        row["raw"] for row in rows if row["dir"] == "in" and '"subscription"' in row["raw"]
    ]
    assert len(load(path, Deribit()).frames) == 460
