"""The dispatcher: help is cheap, every verb loads, and what goes wrong is one sentence."""

import os
import resource
import subprocess
import sys
from importlib.util import find_spec

import click
import pytest
from tests.cli.programs import START, ended

from gapless import __version__
from gapless.cli import VERBS, run

HELP_CPU_S = 0.150
HEAVY = ("asyncio", "aiohttp", "rich", "picows", "uvloop", "gapless.client", "gapless.io.conductor")


def cpu_of_help_s():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*START, "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_costs_less_than_150_ms_of_cpu():
    assert min(cpu_of_help_s() for _ in range(5)) < HELP_CPU_S


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom gapless.cli import run\nassert run(['--help']) == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_help_names_every_verb(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", [v for v in VERBS if find_spec(f"gapless.cli.{v}") is not None])
def test_every_verb_loads_and_has_help(verb, capsys):
    assert run([verb, "--help"]) == 0
    assert f"Usage: gapless {verb}" in capsys.readouterr().out


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"gapless {__version__}\n"


def test_no_verb_shows_help_on_stderr_and_is_a_usage_error(capsys):
    assert run([]) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage:" in said.err


BAD_USAGE = [
    (["tial"], "tail"),
    (["venues", "shw"], "show"),
    (["tail", "deribt", "trades", "BTC-PERPETUAL"], "deribit"),
    (["tail", "deribit", "trade", "BTC-PERPETUAL"], "trades"),
    (["tail", "deribit", "book.rw", "BTC-PERPETUAL"], "book.raw"),
    (["tail", "deribit", "trades", "BTC PERPETUAL"], "'BTC PERPETUAL' is not a symbol"),
    (["tail", "deribit", "trades", "X", "--jsn"], "--json"),
    (["tail", "deribit", "trades"], "SYMBOL"),
    (["tail", "deribit", "trades", "X", "--endpoint", "http://x"], "ws:// or wss://"),
    (["tail", "deribit", "trades", "X", "--endpoint", "ws://["], "ws:// or wss://"),
    (["tail", "deribit", "trades", "X", "--endpoint", "ws://me:secret@x"], "credentials"),
    (["tail", "deribit", "trades", "X", "--rest-endpoint", "ftp://x"], "http:// or https://"),
    (["tail", "deribit", "trades", "X", "--rest-endpoint", "http://x"], "--endpoint"),
    (["tail", "deribit", "trades", "X", "--lines", "9"], "1<=x<=8"),
    (["tail", "deribit", "trades", "X", "--for", "0"], "--for"),
    (["tail", "deribit", "trades", "X", "--proxy", "ftp://x"], "socks5://"),
    (["tail", "deribit", "trades", "X", "--source", "here"], "IP address"),
    (["book", "deribt", "X"], "deribit"),
    (["book", "deribit", "X", "--variant", "rw"], "book.raw"),
    (["book", "deribit", "X", "--depth", "0"], "--depth"),
    (["venues", "show", "binance"], "binance.spot"),
    (["sim", "derbit"], "deribit"),
    (["sim", "deribit,deribit"], "twice"),
    (["sim", "deribit", "--port", "70000"], "70000"),
    (["sim", "deribit", "--port", "1,2"], "2 ports for 1"),
    (["sim", "deribit,binance.spot", "--port", "65535"], "not 2 ports"),
    (["sim", "deribit,binance.spot", "--capture", "x"], "one venue"),
    (["sim", "deribit", "--rate", "0"], "--rate"),
]


@pytest.mark.parametrize(("arguments", "named"), BAD_USAGE, ids=lambda v: " ".join(v)[:50])
def test_bad_usage_is_64_and_one_sentence_with_what_is_near(arguments, named, capsys):
    assert run(arguments) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("gapless: ")
    assert named in said.err
    assert "secret" not in said.err


def test_an_unreadable_ca_file_is_78(capsys, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for file in (tmp_path / "none.pem", empty):
        assert run(["tail", "deribit", "trades", "X", "--ca-file", str(file)]) == 78
        assert "CA file" in capsys.readouterr().err


def test_a_bad_endpoint_in_the_environment_is_78(capsys, monkeypatch):
    monkeypatch.setenv("GAPLESS_ENDPOINT_DERIBIT", "ftp://x")
    assert run(["tail", "deribit", "trades", "X"]) == 78
    assert "ws://" in capsys.readouterr().err


def test_a_bug_is_not_hidden(monkeypatch):
    class Bug(Exception):
        pass

    def broken(**_):
        raise Bug

    monkeypatch.setattr("gapless.cli.venues.command", click.Command("venues", callback=broken))
    with pytest.raises(Bug):
        run(["venues"])


def test_an_interrupt_is_130(monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    command = click.Command("venues", callback=interrupted)
    monkeypatch.setattr("gapless.cli.venues.command", command)
    assert run(["venues"]) == 130


def test_a_reader_that_leaves_is_fine():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code, _, talk = ended("venues", "show", "deribit", stdout=writing)
    finally:
        os.close(writing)
    assert (code, talk) == (0, "")
