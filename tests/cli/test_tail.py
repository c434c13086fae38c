"""The real verb against a real simulator, both as processes."""

import json
import os
import signal
import socket
import sys
import time
import urllib.request

import pytest
from tests.cli.programs import START, ended, program, simulator

from gapless.cli.connecting import Connecting
from gapless.cli.tail import command
from gapless.core.outlet import Overflow

CHANNELS = [
    ("deribit", "trades", "BTC-PERPETUAL", "trade"),
    ("deribit", "book", "BTC-PERPETUAL", "book"),
    ("deribit", "bbo", "BTC-PERPETUAL", "bbo"),
    ("deribit", "ticker", "BTC-PERPETUAL", "ticker"),
    ("binance.spot", "trades.raw", "BTCUSDT", "trade"),
    ("binance.spot", "book.1000ms", "BTCUSDT", "book"),
    ("binance.spot", "bbo", "BTCUSDT", "bbo"),
    ("binance.spot", "ticker", "BTCUSDT", "ticker"),
]


def inject(said, **fault):
    request = urllib.request.Request(
        f"{said['control']}/fault", data=json.dumps(fault).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def summary_of(running):
    last = running.events()[-1]
    assert last["type"] == "summary"
    return last


@pytest.mark.parametrize(("venue", "channel", "symbol", "kind"), CHANNELS)
def test_each_channel_arrives_as_json_lines(venues, venue, channel, symbol, kind):
    arguments = ("tail", venue, channel, symbol, "--endpoint", venues[venue]["ws"], "--json")
    with program(*arguments) as running:
        event = running.wait_for_type(kind)
        assert (event["venue"], event["symbol"]) == (venue, symbol)
        assert event["channel"] == channel.partition(".")[0]
        running.kill()
        assert running.end() == 0
        summary = summary_of(running)
    counted = [e for e in running.events() if e["type"] == kind]
    assert summary["delivered"] == len(counted)
    assert (summary["sessions"], summary["dials"], summary["gaps"]) == (1, 1, 0)
    assert [end["cause"] for end in summary["ended"]] == ["planned"]


def test_books_of_both_venues_come_snapshot_first(venues):
    for venue, symbol in (("deribit", "ETH-PERPETUAL"), ("binance.spot", "ETHUSDT")):
        arguments = ("tail", venue, "book", symbol, "--endpoint", venues[venue]["ws"], "--json")
        with program(*arguments) as running:
            running.wait_for(lambda: sum(e["type"] == "book" for e in running.events()) > 3)
            books = [e for e in running.events() if e["type"] == "book"]
        assert [e["snapshot"] for e in books[:3]] == [True, False, False]
        assert len(books[0]["bids"]) > 5


def test_several_symbols_and_lines(venues):
    said = venues["deribit"]
    symbols = said["symbols"]
    arguments = (
        "tail",
        "deribit",
        "trades",
        *symbols,
        "--endpoint",
        said["ws"],
        "--lines",
        2,
        "--allow-same",
    )
    with program(*arguments, "--json") as running:
        running.wait_for(
            lambda: (
                {e["symbol"] for e in running.events() if e["type"] == "trade"} == set(symbols)
                and sum(e["type"] == "notice" and e["kind"] == "live" for e in running.events())
                == 2
            )
        )
        running.kill(signal.SIGINT)
        assert running.end() == 0
        assert summary_of(running)["sessions"] == 2


@pytest.mark.parametrize("verb", [("tail", "deribit", "trades"), ("book", "deribit")])
def test_lines_that_could_only_share_an_address_are_a_usage_error(venues, verb):
    said = venues["deribit"]
    code, out, err = ended(*verb, "BTC-PERPETUAL", "--endpoint", said["ws"], "--lines", 2)
    assert (code, out) == (64, "")
    assert "2 lines cannot keep apart: there are fewer addresses than lines" in err
    assert "--allow-same" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("policy", Overflow)
def test_what_a_slow_reader_gets_is_chosen_and_reaches_the_library(policy):
    given = ["deribit", "trades", "X", "--overflow", policy.value]
    with command.make_context("tail", given) as context:
        asked = {k: v for k, v in context.params.items() if k in Connecting.__dataclass_fields__}
    assert Connecting(**asked).options().overflow is policy


def test_an_unknown_choice_for_a_slow_reader_is_64_and_names_those_there_are():
    code, out, talk = ended("tail", "deribit", "trades", "X", "--overflow", "forget")
    assert (code, out) == (64, "")
    assert all(policy.value in talk for policy in Overflow)


def test_text_is_for_people_and_talk_is_on_stderr(venues):
    said = venues["deribit"]
    with program("tail", "deribit", "trades", "BTC-PERPETUAL", "--endpoint", said["ws"]) as running:
        running.wait_for(lambda: any(" @ " in line for line in running.out))
        running.kill()
        assert running.end() == 0
    text = "".join(running.out)
    assert "\x1b" not in text
    assert " received, " in text
    assert "gapless: deribit line a: live\n" in running.err


def test_for_counts_from_the_start_of_the_process(venues):
    # A process that needs 3 s to get going still ends 6 s after its start, and not after 9.
    slowly = (sys.executable, "-c", "import time; time.sleep(3); " + START[-1])
    began_ns = time.monotonic_ns()
    code, out, _ = ended(
        "tail", "deribit", "bbo", "BTC-PERPETUAL", "--for", 6,
        "--endpoint", venues["deribit"]["ws"], "--json", start=slowly,
    )  # fmt: skip
    summary = json.loads(out.splitlines()[-1])
    assert (code, summary["type"], summary["sessions"]) == (0, "summary", 1)
    assert 5.9 < (summary["mono_ns"] - began_ns) / 1e9 < 8.9


def test_nobody_there_is_69_and_names_the_stage():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}"
        code, out, talk = ended("tail", "deribit", "bbo", "X", "--endpoint", url, "--for", 4)
    assert code == 69
    assert "0 sessions" in out
    last = talk.splitlines()[-1]
    assert last.startswith("gapless: no session went live: ")
    assert "tcp failed" in last


def test_a_name_that_does_not_resolve_is_69_and_names_the_stage():
    code, _, talk = ended(
        "tail", "deribit", "bbo", "X", "--endpoint", "ws://nowhere.invalid", "--for", 4
    )
    assert code == 69
    assert "dns failed" in talk.splitlines()[-1]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_is_live_still_brings_the_summary(signum):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        with program("tail", "deribit", "bbo", "X", "--endpoint", url, "--json") as running:
            running.wait_for_type("notice")
            running.kill(signum)
            assert running.end() == 69
            assert summary_of(running)["sessions"] == 0


def test_a_cut_is_marked_and_healed_in_the_lines():
    with simulator("deribit", "--rate", 400) as said:
        url = said["deribit"]["ws"]
        arguments = ("tail", "deribit", "trades", "BTC-PERPETUAL", "--endpoint", url, "--json")
        with program(*arguments) as running:
            running.wait_for_type("trade")
            inject(said["deribit"], name="reset")
            # Either the numbers prove that nothing was lost, or a gap says what was.
            mark = running.wait_for_type("resynced", "gap")
            assert mark["epoch"] == 2
            assert mark.get("by") == "ids" or mark["missing"] > 0
            gaps = [e for e in running.events() if e["type"] == "gap"]
            running.kill()
            assert running.end() == 0
            summary = summary_of(running)
    assert summary["sessions"] == 2
    assert summary["gaps"] == len(gaps)
    assert summary["missing"] == sum(gap["missing"] for gap in gaps)
    assert len(summary["ended"]) == 2
    assert summary["ended"][0]["cause"] != "planned"


def test_a_dropped_message_is_a_gap_with_its_numbers():
    with simulator("deribit", "--rate", 400) as said:
        url = said["deribit"]["ws"]
        arguments = ("tail", "deribit", "trades", "BTC-PERPETUAL", "--endpoint", url, "--json")
        with program(*arguments) as running:
            running.wait_for_type("trade")
            inject(said["deribit"], name="drop", count=1)
            gap = running.wait_for_type("gap")
            assert gap["missing"] == gap["last"] - gap["first"] + 1 > 0
            running.wait_for(lambda: running.events()[-1]["type"] == "trade")
    trades = [e["first"] for e in running.events() if e["type"] == "trade"]
    assert set(range(trades[0], trades[-1] + 1)) - set(trades) == set(
        range(gap["first"], gap["last"] + 1)
    )


def test_a_refused_symbol_is_a_notice_and_the_rest_goes_on(venues):
    url = venues["deribit"]["ws"]
    arguments = ("tail", "deribit", "trades", "NOT-THERE", "BTC-PERPETUAL", "--endpoint", url)
    with program(*arguments, "--json") as running:
        refused = running.wait_for(
            lambda: next((e for e in running.events() if e.get("kind") == "refused"), None)
        )
        assert refused["symbol"] == "NOT-THERE"
        assert running.wait_for_type("trade")["symbol"] == "BTC-PERPETUAL"


def test_a_reader_that_leaves_ends_it_quietly(venues):
    reading, writing = os.pipe()
    url = venues["deribit"]["ws"]
    arguments = ("tail", "deribit", "ticker", "BTC-PERPETUAL", "--endpoint", url, "--json")
    with program(*arguments, stdout=writing) as running:
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        assert running.end() == 0
    assert not [line for line in running.err if "live" not in line]


def test_a_full_disk_is_74(venues):
    url = venues["deribit"]["ws"]
    with open("/dev/full", "wb") as full:
        code, _, talk = ended(
            "tail", "deribit", "ticker", "BTC-PERPETUAL", "--endpoint", url, stdout=full
        )
    assert code == 74
    assert "No space left" in talk.splitlines()[-1]


def test_lines_arrive_within_100_ms(venues):
    url = venues["deribit"]["ws"]
    late_ns = []
    with program(
        "tail", "deribit", "book", "BTC-PERPETUAL", "--endpoint", url, "--json"
    ) as running:
        seen = 0
        while len(late_ns) < 20:
            running.wait_for(lambda: len(running.out) > seen)  # noqa: B023
            now_ns = time.monotonic_ns()
            late_ns += [
                now_ns - e["mono_ns"] for e in running.events()[seen:] if e["type"] == "book"
            ]
            seen = len(running.events())
    assert sorted(late_ns)[len(late_ns) // 2] < 100_000_000
