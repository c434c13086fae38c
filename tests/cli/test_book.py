"""The book verb: a ladder on a real terminal, JSON lines elsewhere."""

import json
import signal
import time
import urllib.request

import pexpect
import pytest
from tests.cli.programs import START, program, simulator


def on_a_terminal(said, *arguments, **env):
    child = pexpect.spawn(
        START[0],
        [*START[1:], "book", "deribit", "BTC-PERPETUAL", "--endpoint", said["ws"], *arguments],
        encoding="utf-8",
        dimensions=(40, 120),
        timeout=20,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", **env},
    )
    child.delaybeforesend = None
    return child


def command(said, verb, **body):
    request = urllib.request.Request(
        f"{said['control']}/{verb}", data=json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--variant", "100ms")])
def test_elsewhere_it_is_json_lines(venues, arguments):
    url = venues["deribit"]["ws"]
    with program("book", "deribit", "BTC-PERPETUAL", "--endpoint", url, *arguments) as running:
        assert running.wait_for_type("book")["snapshot"] is True
        running.kill()
        assert running.end() == 0
    assert running.events()[-1]["type"] == "summary"


def test_on_a_terminal_it_is_a_ladder(venues):
    child = on_a_terminal(venues["deribit"], "--depth", "3")
    child.expect("● live")
    child.expect("spread ")
    child.expect("█")
    child.kill(signal.SIGINT)
    child.expect(r"sessions")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_no_color_is_obeyed(venues):
    child = on_a_terminal(venues["deribit"], "--depth", "2", NO_COLOR="1")
    child.expect("spread ")
    shown = child.before + child.after
    child.kill(signal.SIGTERM)
    child.expect(pexpect.EOF)
    assert "\x1b[31m" not in shown + child.before
    assert "\x1b[1;32m" not in shown + child.before
    child.close()
    assert child.exitstatus == 0


def test_the_ladder_turns_grey_under_the_reason_and_heals():
    with simulator("deribit", "--rate", 400) as venues:
        said = venues["deribit"]
        child = on_a_terminal(said, "--depth", "3")
        child.expect("● live")
        outage = command(said, "fault", name="outage", for_s=2.0)
        assert outage["id"]
        child.expect("NOT PROVEN: ")
        child.expect("greyed: as last proven")
        child.expect("░")
        child.expect("● live")
        child.kill(signal.SIGTERM)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0


def test_for_ends_the_ladder(venues):
    began_s = time.monotonic()
    child = on_a_terminal(venues["deribit"], "--for", "2")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert time.monotonic() - began_s < 10
