"""The proxy as a command: where it listens, what it says, and how it refuses."""

import json
import re
import signal
import socket
import urllib.request

import pytest
from tests.cli.programs import ended, program, simulator


@pytest.fixture
def plan(tmp_path):
    def write(text):
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return path

    return write


DROP = """[[fault]]\nname = "drop"\ntopic = '"type":"change"'\ncount = 2\n"""
TAIL = ("tail", "deribit", "book", "BTC-PERPETUAL", "--json", "--endpoint")


def through(upstream, *arguments, json_too=True):
    return program("proxy", "--upstream", upstream, *arguments, *(["--json"] if json_too else []))


def test_any_client_goes_through_and_loses_what_the_plan_says(plan, tmp_path):
    log = tmp_path / "log.ndjson"
    with (
        simulator("deribit", "--symbols", 1, "--rate", 500) as venues,
        through(venues["deribit"]["ws"], "--plan", plan(DROP), "--log", log) as proxy,
    ):
        listening = proxy.wait_for_type("listening")
        assert listening["ws"].replace("ws://", "http://") == listening["http"]
        with program(*TAIL, listening["ws"]) as tail:
            gap = tail.wait_for_type("gap")
        assert gap["cause"]
        with urllib.request.urlopen(listening["control"] + "/faults", timeout=10) as reply:
            assert json.load(reply)[0]["struck"] == 2
        proxy.kill(signal.SIGTERM)
        assert proxy.end() == 0
        said = proxy.events()
    assert [event["type"] for event in said] == ["listening", "summary"]
    assert said[-1]["faults"][0]["struck"] == 2
    assert said[-1]["connections"] >= 1
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(entry["name"], entry["what"]) for entry in entries] == [("drop", "dropped")] * 2
    assert all(entry["frame"] > 1 and entry["size_bytes"] > 50 for entry in entries)
    talk = "".join(proxy.err)
    assert talk.count("fault 1 drop: dropped (ws 1 in frame ") == 2
    assert "fault 1 drop (line 1): struck 2\n" in talk


def test_without_json_stdout_is_the_url_alone():
    with through("ws://127.0.0.1:1/ws/v2", json_too=False) as proxy:
        proxy.wait_for(lambda: proxy.out)
        proxy.kill(signal.SIGINT)
        assert proxy.end() == 0
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/ws/v2\n", "".join(proxy.out))


def test_a_fault_that_never_struck_is_said_loudly(plan):
    path = plan('[[fault]]\nname = "reset"\nat_s = 900\n')
    code, _, talk = ended("proxy", "--upstream", "ws://127.0.0.1:1", "--plan", path, "--for", 1)
    assert code == 0
    assert "fault 1 reset (line 1): struck 0 -- IT NEVER HAPPENED" in talk


def test_a_pattern_that_matched_nothing_is_64_with_line_and_key(plan):
    path = plan('# wrong venue\n[[fault]]\nname = "drop"\nfor_s = 60\ntopic = "btcusdt@"\n')
    with (
        simulator("deribit", "--symbols", 1) as venues,
        through(venues["deribit"]["ws"], "--plan", path) as proxy,
    ):
        with program(*TAIL, proxy.wait_for_type("listening")["ws"]) as tail:
            tail.wait_for_type("book")
        proxy.kill()
        assert proxy.end() == 64
    last = proxy.err[-1]
    assert re.search(r"line 5: topic 'btcusdt@' matched none of the \d+ messages", last)


BAD_PLANS = [
    ('[[fault]]\nname = "explode"\n', "line 2: there is no fault named 'explode'"),
    ('[[fault]]\nname = "drop"\nat_s = -1\n', "line 3: at_s cannot be negative"),
    ('[[fault]]\nname = "drop"\nat_s = nan\n', "line 3: at_s is not a finite number"),
    ('[[fault]]\nname = "drop"\ntopic = ""\n', "line 3: topic is an empty pattern"),
    ('[[fault]]\nname = "drop"\ntopic = "a[b"\n', "line 3: topic has a [ without its ]"),
    ('[[fault]]\nname = "drop"\ncolour = 1\n', "line 3: unknown key 'colour'"),
    ("[[fault]\n", "line 1: not TOML"),
]


@pytest.mark.parametrize(("text", "words"), BAD_PLANS)
def test_a_wrong_plan_is_64_with_file_line_and_key(text, words, plan):
    path = plan(text)
    code, out, talk = ended("proxy", "--upstream", "ws://127.0.0.1:1", "--plan", path)
    assert (code, out) == (64, "")
    assert talk.startswith(f"gapless: {path}: {words}")
    assert talk.count("\n") == 1


def test_an_older_log_survives_a_run_that_could_not_begin(plan, tmp_path):
    log = tmp_path / "log.ndjson"
    log.write_text("precious\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, _ = ended("proxy", "--upstream", "ws://a", "--listen", place, "--log", log)
    assert code == 69
    assert log.read_text() == "precious\n"
    code, _, _ = ended("proxy", "--upstream", "ws://127.0.0.1:1", "--log", log, "--for", 1)
    assert code == 0
    assert log.read_text() == ""  # a log is of one run


def test_a_log_never_overwrites_its_plan(plan, tmp_path):
    path = plan(DROP)
    link = tmp_path / "link"
    link.symlink_to(path)
    code, out, talk = ended("proxy", "--upstream", "ws://a", "--plan", path, "--log", link)
    assert (code, out) == (64, "")
    assert talk == f"gapless: --log would overwrite the plan {path}\n"
    assert path.read_text() == DROP


def test_plans_that_cannot_be_read(tmp_path):
    path = tmp_path / "plan.toml"
    code, _, talk = ended("proxy", "--upstream", "ws://127.0.0.1:1", "--plan", path)
    assert code == 65
    assert talk == f"gapless: cannot read {path}: No such file or directory\n"
    path.write_bytes(b"# a\n\xff\n")
    code, _, talk = ended("proxy", "--upstream", "ws://127.0.0.1:1", "--plan", path)
    assert (code, talk) == (64, f"gapless: {path}: line 2: not UTF-8\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 64, "Missing option '--upstream'"),
        (("--upstream", "far.test"), 64, "an upstream reads ws://host"),
        (("--upstream", "ws://127.0.0.1:0"), 64, "an upstream reads ws://host"),
        (("--upstream", "ws://user:secret@far.test"), 64, "credentials do not belong"),
        (("--upstream", "ws://a", "--listen", "9000"), 64, "does not read HOST:PORT"),
        (("--upstream", "ws://a", "--listen", "x:99999"), 64, "does not read HOST:PORT"),
        (("--upstream", "ws://a", "--for", "nan"), 64, "not a finite number"),
        (("--upstream", "wss://a", "--ca-file", "/nowhere.pem"), 78, "cannot read the CA file"),
        (("--upstream", "ws://a", "--listen", "192.0.2.1:0"), 69, "cannot listen on 192.0.2.1"),
        (("--upstream", "ws://a", "--log", "/nowhere/log"), 74, "cannot write /nowhere/log"),
    ],
)
def test_bad_input_is_one_sentence_and_the_right_code(arguments, code, words):
    got, out, talk = ended("proxy", *arguments)
    assert (got, out) == (code, "")
    assert words in talk
    assert talk.count("\n") == 1
    assert "secret" not in talk


def test_a_busy_port_is_69_and_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, talk = ended(
            "proxy", "--upstream", "ws://127.0.0.1:1", "--listen", f"127.0.0.1:{port}"
        )
    assert (code, out) == (69, "")
    assert talk == f"gapless: cannot listen: port {port} on 127.0.0.1 is taken by another program\n"
