"""The verb over real sockets: verdict, exit code, and both ways of telling."""

import asyncio
import json
import socket

import pytest
from tests.cli.programs import ended
from tests.io import certs
from tests.io.raw_server import RawServer


def against(server, *arguments):
    """Run the verb against a server of ours; return exit code, output and talk."""

    async def scenario():
        async with server as raw:
            url = f"{'wss' if raw.tls else 'ws'}://127.0.0.1:{raw.port}"
            return await asyncio.to_thread(
                ended, "probe", "deribit", "--endpoint", url, "--for", 1, *arguments
            )

    return asyncio.run(scenario())


def test_a_venue_that_works_is_told_with_the_verdict_first(venues):
    code, out, err = ended("probe", "deribit", "--endpoint", venues["deribit"]["ws"], "--for", 1)
    first = out.splitlines()[0]
    busy = "this process wakes late" in first  # by other tests on this machine
    assert (code, first[:5]) == ((3, "Somet") if busy else (0, "Fine:"))
    for part in ("dns ", "  tcp ", "  upgrade ", "  data ", "  ping   min ", "clock ", "host ",
                 "limits ", "declared and observed", "server ping", "heartbeat"):  # fmt: skip
        assert f"\n{part}" in out or f"\n  {part}" in out, part
    assert err == ""
    assert "\x1b" not in out


def test_json_is_one_document_with_all_of_it(venues):
    said = venues["binance.spot"]["ws"]
    code, out, _ = ended("probe", "binance.spot", "--endpoint", said, "--for", 1, "--json")
    document = json.loads(out)
    assert code == (0 if document["fine"] else 3)
    assert document["reached"] is True
    [visit] = document["visits"]
    assert visit["topic"] == "btcusdt@trade"
    ping = visit["ping_ns"]
    assert 0 < ping["min"] <= ping["p50"] <= ping["p99"]
    assert document["clocks"]["uncertainty_ns"] > 0
    assert document["host"]["lag_samples"] > 0
    assert {fact["name"] for fact in document["facts"]} >= {"server ping", "dials", "messages"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", "its certificate has expired"),
        ("wrong host", "its certificate is for another host"),
        ("untrusted", "an authority that this machine does not trust"),
    ],
)
def test_a_bad_certificate_is_3_in_words_of_its_own(kind, words):
    server = RawServer(tls=certs.context(kind))
    code, out, _ = against(server, "--ca-file", certs.authority()[1])
    assert code == 3
    assert out.startswith("Something is wrong (not usable): ")
    assert words in out.splitlines()[0]


def test_a_server_that_stays_silent_is_3():
    code, out, _ = against(RawServer(answer=lambda key: None))
    assert code == 3
    assert "it accepts connections and stays silent" in out.splitlines()[0]
    assert "\n  upgrade failed: " in out


def test_a_closed_port_is_69():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}"
        code, out, _ = ended("probe", "deribit", "--endpoint", url, "--for", 1)
    assert code == 69
    assert out.startswith("Unreachable: nobody listens there")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("probe",), 64, "VENUE"),
        (("probe", "deribbit"), 64, "did you mean deribit"),
        (("probe", "deribit", "--for", "0"), 64, "--for"),
        (("probe", "deribit", "--endpoint", "http://x"), 64, "ws:// or wss://"),
        (("probe", "deribit", "--lines", "2"), 64, "--lines"),
        (("probe", "deribit", "--ca-file", "/no/such/file"), 78, "CA file"),
    ],
)
def test_bad_input_is_one_sentence(arguments, code, part):
    ended_with, out, err = ended(*arguments)
    assert (ended_with, out) == (code, "")
    assert part in err
    assert len(err.splitlines()) == 1
