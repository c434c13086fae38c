"""The simulator as a command: where it listens, what it keeps, and how it refuses."""

import gzip
import json
import signal
import socket
import urllib.request

import pytest
from tests.cli.programs import ended, program, simulator

from gapless.cli.sim import _cycles, _each_port


def state(said):
    with urllib.request.urlopen(f"{said['control']}/state", timeout=10) as reply:
        return json.load(reply)


def test_it_says_where_it_listens():
    with simulator("deribit,binance.spot", "--symbols", 3) as venues:
        assert list(venues) == ["deribit", "binance.spot"]
        for name, said in venues.items():
            assert list(said) == ["type", "venue", "ws", "rest", "control", "symbols"]
            assert said["type"] == "listening"
            assert len(set(said["symbols"])) == 3
            assert said["ws"].replace("ws://", "http://") == said["rest"]
            assert state(said)["venue"] == name


def test_talk_is_labelled_and_on_stderr():
    with program("sim", "deribit", "--symbols", 1) as running:
        running.wait_for(lambda: len(running.err) >= 2)
        assert "SIMULATED deribit: an invented market of BTC-PERPETUAL" in running.err[0]
        assert "ws://127.0.0.1:" in running.err[1]
        running.kill(signal.SIGINT)
        assert running.end() == 0
    assert running.out == []


def test_a_busy_port_is_69_and_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, talk = ended("sim", "deribit", "--port", port)
    assert (code, out) == (69, "")
    assert talk == f"gapless: cannot listen: port {port} on 127.0.0.1 is taken by another program\n"


def test_an_address_that_is_not_ours_is_69():
    code, _, talk = ended("sim", "deribit", "--host", "192.0.2.1")
    assert code == 69
    assert talk.startswith("gapless: cannot listen on 192.0.2.1: ")
    assert talk.count("\n") == 1


def test_one_port_is_counted_up_for_several_venues():
    assert _each_port((9600,), 2) == [9600, 9601]
    assert _each_port((0,), 2) == [0, 0]


def test_each_venue_can_have_its_own_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with simulator("deribit,binance.spot", "--port", f"0,{port}") as venues:
        assert venues["binance.spot"]["ws"].endswith(f":{port}")


def test_of_a_chain_the_strikes_that_are_listed_now_are_named():
    with simulator("deribit", "--symbols", 1, "--chain", 12) as venues:
        assert len(venues["deribit"]["symbols"]) == 13


def test_a_chain_lasts_longer_than_a_reader_takes():
    assert _cycles(60) * 20 > 1800
    assert _cycles(3000) == 3
    assert _cycles(2) > 3


def test_for_ends_it():
    assert ended("sim", "deribit", "--for", 1, "--json")[0] == 0


def test_the_truth_is_logged_with_its_venue(tmp_path):
    truth = tmp_path / "truth.ndjson"
    with program("sim", "deribit,binance.spot", "--json", "--truth", truth) as running:
        said = running.wait_for(lambda: len(running.out) > 1 and running.events())
        arguments = ("tail", "deribit", "trades", "BTC-PERPETUAL", "--endpoint", said[0]["ws"])
        with program(*arguments, "--json") as tail:
            tail.wait_for_type("trade")
        running.kill()
        assert running.end() == 0
    records = [json.loads(line) for line in truth.read_text().splitlines()]
    assert {record["venue"] for record in records} == {"deribit", "binance.spot"}
    assert {"world", "sent", "session", "final"} <= {record["type"] for record in records}


def test_a_truth_file_that_cannot_be_written_is_74(tmp_path):
    code, _, talk = ended("sim", "deribit", "--truth", tmp_path / "none" / "truth")
    assert code == 74
    assert "No such file or directory" in talk


def test_lifetime_cuts_sessions():
    with simulator("deribit", "--lifetime", 0.5) as venues:
        url = venues["deribit"]["ws"]
        arguments = ("tail", "deribit", "bbo", "BTC-PERPETUAL", "--endpoint", url, "--json")
        with program(*arguments) as running:
            running.wait_for(
                lambda: any(e.get("kind") == "ended" for e in running.events()), "end of a session"
            )


def frame(channel, **data):
    raw = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}
    return json.dumps({"ts": 1, "conn": "1", "dir": "in", "raw": json.dumps(raw)}) + "\n"


BOOK = {
    "type": "snapshot",
    "timestamp": 1,
    "instrument_name": "BTC-PERPETUAL",
    "change_id": 5,
    "bids": [["new", 1.0, 10.0]],
    "asks": [["new", 2.0, 10.0]],
}


def test_a_capture_is_replayed(tmp_path):
    capture = tmp_path / "capture.jsonl.gz"
    capture.write_bytes(gzip.compress(frame("book.BTC-PERPETUAL.raw", **BOOK).encode()))
    with simulator("deribit", "--capture", capture, "--speed", 20) as venues:
        said = venues["deribit"]
        assert said["topics"] == ["book.BTC-PERPETUAL.raw"]
        arguments = ("tail", "deribit", "book.raw", "BTC-PERPETUAL", "--endpoint", said["ws"])
        with program(*arguments, "--json") as running:
            book = running.wait_for_type("book")
    assert (book["snapshot"], book["last"]) == (True, 5)
    assert (book["bids"], book["asks"]) == ([[1.0, 10.0]], [[2.0, 10.0]])


GOOD_LINE = frame("book.BTC-PERPETUAL.raw", **BOOK).encode()
DAMAGED = [
    (None, "there is no such file"),
    (b"not gzip", "line 1"),
    (gzip.compress(GOOD_LINE * 3)[:-20], "line "),
    (gzip.compress(GOOD_LINE + b"{not json\n"), "line 2"),
]


@pytest.mark.parametrize(("content", "named"), DAMAGED)
def test_a_damaged_capture_is_65_with_file_and_line(content, named, tmp_path):
    capture = tmp_path / "capture.jsonl.gz"
    if content is not None:
        capture.write_bytes(content)
    code, out, talk = ended("sim", "deribit", "--capture", capture)
    assert (code, out) == (65, "")
    assert talk.count("\n") == 1
    assert str(capture) in talk
    assert named in talk
