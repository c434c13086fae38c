"""The keys of every line, as the command line promises them."""

import json

import msgspec
import pytest
from tests.cli import events as made

from gapless.cli.ndjson import event_line, json_line, notice_line, summary_line
from gapless.events import Event

COMMON = [
    "type",
    "venue",
    "channel",
    "symbol",
    "line",
    "epoch",
    "recv_ns",
    "mono_ns",
    "event_ns",
    "first",
    "last",
]

PAYLOADS = [
    (
        made.TRADE,
        "trade",
        {"id": "t1", "price": 65000.5, "size": 10.0, "side": "buy", "backfilled": False},
    ),
    (
        made.DELTA,
        "book",
        {"bids": [[1.5, 2.0]], "asks": [[1.6, 0.0], [1.7, 3.0]], "snapshot": False},
    ),
    (made.SNAPSHOT, "book", {"bids": [[1.5, 2.0]], "asks": [], "snapshot": True}),
    (made.BBO, "bbo", {"bid": 1.5, "bid_size": 2.0, "ask": None, "ask_size": None}),
    (
        made.TICKER,
        "ticker",
        {
            "price": 1.5,
            "mark": 1.6,
            "index": None,
            "bid": None,
            "ask": None,
            "volume": None,
            "open_interest": None,
            "funding": None,
        },
    ),
    (
        made.GAP,
        "gap",
        {"missing": 3, "cause": "the line was cut", "since_ns": 5, "until_ns": 6},
    ),
    (made.RESYNCED, "resynced", {"by": "snapshot", "blind_ns": 410_000_000}),
]


@pytest.mark.parametrize(("event", "kind", "payload"), PAYLOADS, ids=lambda v: type(v).__name__)
def test_each_event_has_its_keys_in_order(event, kind, payload):
    line = event_line(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    said = json.loads(line)
    assert list(said) == [*COMMON, *payload]
    assert {key: said[key] for key in payload} == payload
    assert said["type"] == kind
    assert (said["venue"], said["channel"], said["symbol"]) == (
        "deribit",
        "trades",
        "BTC-PERPETUAL",
    )
    assert (said["line"], said["epoch"], said["recv_ns"]) == ("a", 3, 1_770_000_000_123_456_789)
    assert (said["first"], said["last"]) == (event.first, event.last)


def test_a_gap_without_count_says_null():
    said = json.loads(event_line(made.BLIND_GAP))
    assert (said["missing"], said["first"], said["last"]) == (None, None, None)


def test_notices():
    said = json.loads(notice_line(made.NOTICE))
    assert list(said) == [*COMMON, "kind", "cause", "evidence"]
    assert (said["type"], said["kind"], said["cause"], said["evidence"]) == (
        "notice",
        "live",
        "why",
        "how",
    )


def test_the_summary():
    said = json.loads(summary_line(made.stats(), 1, 2))
    assert said["type"] == "summary"
    assert (said["received"], said["delivered"], said["duplicates"]) == (9, 8, 1)
    assert (said["gaps"], said["missing"], said["dials"], said["sessions"]) == (1, 3, 2, 1)
    assert (said["violations"], said["overflowed"]) == (0, 0)
    assert said["ended"] == [{"line": "a", "epoch": 3, "cause": "planned", "live_s": 1.5}]


@pytest.mark.parametrize(
    "wild", ["\x1b[2J", "a\nb", "\x7f", "\x9b31m", "\u202e", "\U000e0001", "ok ü"]
)
def test_nothing_from_the_wire_can_steer_a_terminal(wild):
    line = event_line(msgspec.structs.replace(made.TRADE, id=wild))
    assert line[:-1].decode().isprintable()
    assert json.loads(line)["id"] == wild


def test_plain_letters_stay_readable():
    assert json_line({"name": "Zürich"}) == '{"name":"Zürich"}\n'.encode()


def test_numbers_that_json_does_not_know_are_null():
    assert json_line({"price": float("nan")}) == b'{"price":null}\n'


def test_an_unknown_kind_of_event_is_loud():
    with pytest.raises(TypeError, match="no line is known"):
        event_line(Event(*made.HEAD, None, None))


def test_the_summary_says_where_lines_went_and_what_they_share():
    stats = made.stats()
    line = msgspec.structs.replace(
        stats.lines[0], host="venue.test", address="192.0.2.1", shares={"host": ("b",)}
    )
    summary = json.loads(summary_line(msgspec.structs.replace(stats, lines=(line,)), 1, 2))
    assert summary["lines"] == [
        {
            "line": "a",
            "host": "venue.test",
            "address": "192.0.2.1",
            "egress": "",
            "shares": {"host": ["b"]},
        }
    ]
