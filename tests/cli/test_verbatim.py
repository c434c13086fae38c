"""A capture of a venue that the simulator does not speak, served to `gapless tail`."""

from __future__ import annotations

import json

from tests.capture.captures import T0, write
from tests.cli.programs import ended, program, simulator

from gapless.capture.format import Stored
from gapless.events import Origin
from gapless.venues._registry import load

MS = 1_000_000
VENUE, SYMBOL = "kraken.futures", "PI_XBTUSD"
SNAPSHOT = {
    "feed": "book_snapshot", "product_id": SYMBOL, "timestamp": 1, "seq": 7,
    "bids": [{"price": 10.0, "qty": 1.0}], "asks": [{"price": 11.0, "qty": 2.0}],
}  # fmt: skip
DELTA = {
    "feed": "book", "product_id": SYMBOL, "side": "buy", "seq": 8, "price": 10.5, "qty": 3.0,
    "timestamp": 2,
}  # fmt: skip


def capture(folder):
    """Write a capture as the recorder would: our own questions, the venue's answers."""
    profile = load(VENUE)
    spec = profile.topic("book", SYMBOL)
    origin = Origin(VENUE, "book", SYMBOL, spec.topic, "a", 1)
    codec = profile.codec({spec.topic: origin})
    requests = codec.setup(1)
    next_id = max((request.id for request in requests), default=0) + 1
    requests += codec.subscribe(next_id, (spec.topic,))
    path = profile.endpoints.value.path
    answer = {"event": "subscribed", "feed": "book", "product_ids": [SYMBOL]}
    told = [json.dumps(one) for one in (answer, SNAPSHOT, DELTA)]
    items = [
        Stored("meta", "recorder", 0, T0, "{}", event="started"),
        Stored("open", "a.1", MS, T0 + MS, "", f"wss://venue{path}"),
        *(Stored("out", "a.1", 2 * MS, T0 + 2 * MS, request.text) for request in requests),
        *(Stored("in", "a.1", n * MS, T0 + n * MS, text) for n, text in enumerate(told, 3)),
        Stored("close", "a.1", 9 * MS, T0 + 9 * MS, "planned"),
    ]
    write(folder, items, venue=VENUE)
    return folder


def test_tail_reads_a_recording_of_any_venue(tmp_path):
    with simulator(VENUE, "--capture", capture(tmp_path)) as venues:
        said = venues[VENUE]
        assert said["connections"] == 1
        for _ in range(2):  # and again from the start
            arguments = ("tail", VENUE, "book", SYMBOL, "--endpoint", said["ws"], "--json")
            with program(*arguments) as running:
                running.wait_for(lambda: sum(e["type"] == "book" for e in running.events()) == 2)
                snapshot, delta = (e for e in running.events() if e["type"] == "book")
            assert (snapshot["snapshot"], snapshot["last"]) == (True, 7)
            assert (delta["first"], delta["bids"]) == (8, [[10.5, 3.0]])


def test_a_foreign_capture_is_served_with_a_warning(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"ts":1,"conn":"a","dir":"in","raw":"{}"}\n')
    code, _, talk = ended("sim", VENUE, "--capture", path, "--for", 1)
    assert code == 0
    assert "never a yes" in talk


def test_a_damaged_capture_is_65_and_an_unknown_venue_64(tmp_path):
    code, out, talk = ended("sim", VENUE, "--capture", tmp_path / "none")
    assert (code, out) == (65, "")
    assert "no such file" in talk
    code, _, talk = ended("sim", "nowhere", "--capture", tmp_path / "none")
    assert code == 64
    assert "no venue 'nowhere'" in talk
