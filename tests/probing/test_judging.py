"""What measurements mean: each kind of trouble has words of its own, and decides the exit."""

from dataclasses import replace

import pytest

from gapless.io.tcpinfo import TcpInfo
from gapless.probing.judging import declared_and_observed, judge, quantile_ns
from gapless.probing.measures import Clocks, Host, Names, Probe, Tls, Visit
from gapless.venues._registry import load

MS = 1_000_000
SECOND = 1_000_000_000
DERIBIT = load("deribit")
SPOT = load("binance.spot")

HOST = Host(
    lag_p99_ns=MS,
    lag_max_ns=4 * MS,
    lag_samples=100,
    files_soft=65_536,
    files_hard=65_536,
    files_open=20,
    receive_bytes_max=4 << 20,
    tcp_receive_bytes_max=6 << 20,
)


def visit(**changed):
    values = {
        "endpoint": "wss://venue.test/ws",
        "address": "192.0.2.1",
        "reached": True,
        "tcp_ns": 10 * MS,
        "tls_ns": 20 * MS,
        "upgrade_ns": 10 * MS,
        "tls": Tls("TLSv1.3", 60.0),
        "ack_ns": 12 * MS,
        "data_ns": 15 * MS,
        "topic": "trades",
        "rtts_ns": [10 * MS] * 20,
        "pings": 20,
        "watched_ns": 5 * SECOND,
        "frames": 30,
    }
    return Visit(**{**values, **changed})


def probe(*visits, names=(), clocks=None, host=HOST):
    return Probe(
        "deribit",
        names or (Names("venue.test", ("192.0.2.1",), 3 * MS),),
        visits or (visit(),),
        clocks or Clocks(2 * MS, 5 * MS),
        host,
    )


def findings(measured, profile=DERIBIT):
    return [(f.level, f.where, f.words) for f in judge(measured, profile).findings]


def test_when_all_is_well_nothing_is_found():
    judgement = judge(probe(), DERIBIT)
    assert judgement.verdict == "Fine: 1 of 1 addresses usable."
    assert judgement.findings == ()
    assert judgement.fine
    assert judgement.reached


def failed(stage, detail, *, reached=True, status=None):
    return visit(stage=stage, detail=detail, reached=reached, status=status)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (failed("tls", "certificate: certificate has expired"), "its certificate has expired"),
        (
            failed("tls", "certificate: certificate is not yet valid"),
            "its certificate is not valid yet",
        ),
        (
            failed("tls", "certificate: Hostname mismatch, certificate is not valid for 'x'"),
            "its certificate is for another host",
        ),
        (
            failed("tls", "certificate: IP address mismatch"),
            "its certificate is for another host",
        ),
        (
            failed("tls", "certificate: self-signed certificate"),
            "its certificate was signed by itself",
        ),
        (
            failed("tls", "certificate: unable to get local issuer certificate"),
            "its certificate is from an authority that this machine does not trust",
        ),
        (failed("tls", "wrong version number"), "TLS failed: wrong version number"),
        (
            failed("upgrade", "no answer within 5 s"),
            "it accepts connections and stays silent: no answer within 5 s",
        ),
        (
            failed("upgrade", "HTTP status 451", status=451),
            "it refuses this address with HTTP status 451",
        ),
        (
            failed("upgrade", "asked to stay away", status=429),
            "it has had too much from this address: asked to stay away",
        ),
        (
            failed("upgrade", "HTTP status 500", status=500),
            "upgrade failed: HTTP status 500",
        ),
    ],
)
def test_each_failure_has_words_of_its_own(bad, words):
    judgement = judge(probe(bad), DERIBIT)
    [found] = judgement.findings
    assert (found.level, found.where, found.words) == ("wrong", bad.stage, words)
    assert judgement.verdict == f"Something is wrong (not usable): {words}."
    assert judgement.reached
    assert not judgement.fine


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            failed("tcp", "Connection refused", reached=False),
            "nobody listens there: the connection was refused",
        ),
        (
            failed("tcp", "no answer within 5 s", reached=False),
            "connecting got no answer within 5 s",
        ),
        (failed("dns", "unknown", reached=False), "the name cannot be resolved: unknown"),
    ],
)
def test_where_no_connection_stood_it_is_unreachable(bad, words):
    judgement = judge(probe(bad), DERIBIT)
    assert judgement.verdict == f"Unreachable: {words}."
    assert not judgement.reached


def test_one_bad_address_of_two_is_wrong_and_the_rest_usable():
    judgement = judge(probe(visit(), failed("tcp", "Connection refused", reached=False)), DERIBIT)
    assert judgement.verdict.startswith("Something is wrong (1 of 2 addresses usable): nobody")


@pytest.mark.parametrize(
    "changed", [{"lost": "closed with 1008"}, {"data_ns": None}, {"detail": "unreadable"}]
)
def test_an_open_connection_that_brings_nothing_is_not_usable(changed):
    verdict = judge(probe(visit(**changed)), DERIBIT).verdict
    assert verdict.startswith("Something is wrong (not usable): ")


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (
            {"lost": "closed with 1008"},
            ("wrong", "data", "the connection was lost: closed with 1008"),
        ),
        (
            {"data_ns": None},
            ("wrong", "data", "connected, and no data of trades came (it was granted)"),
        ),
        (
            {"data_ns": None, "ack_ns": None},
            ("wrong", "data", "connected, and no data of trades came (nothing was answered)"),
        ),
        (
            {"data_ns": None, "refused": "-1 no such"},
            ("look", "data", "trades was refused: -1 no such"),
        ),
        (
            {"detail": "a frame could not be read: x"},
            ("wrong", "data", "a frame could not be read: x"),
        ),
        ({"tls": Tls("TLSv1.2", 3.04)}, ("look", "tls", "the certificate expires in 3.0 days")),
        (
            {"rtts_ns": [MS] * 19 + [300 * MS]},
            ("look", "ping", "round trips vary widely: half under 1.0 ms, one of 300.0 ms"),
        ),
    ],
)
def test_what_shows_on_an_open_connection(changed, found):
    assert findings(probe(visit(**changed))) == [found]


def test_pings_without_answers_are_wrong_only_where_the_venue_documents_them():
    silent = probe(visit(rtts_ns=[], pings=1))
    certain = replace(DERIBIT, client_ping=replace(DERIBIT.client_ping, confidence="H"))
    unsure = replace(DERIBIT, client_ping=replace(DERIBIT.client_ping, confidence="L"))
    assert findings(silent, certain) == [("wrong", "ping", "pings are not answered")]
    assert findings(silent, unsure) == [("look", "ping", "pings are not answered")]


def test_what_we_send_being_lost_is_wrong():
    sick = TcpInfo(200_000, 100_000, 3, 2, 9, 3, 900, 1448, None)
    [(level, where, words)] = findings(probe(visit(tcp=sick)))
    assert (level, where) == ("wrong", "tcp")
    assert "2 timeouts in a row" in words


@pytest.mark.parametrize(
    ("offset_ms", "uncertainty_ms", "level"),
    [(1004, 5, None), (1006, 5, "wrong"), (-1006, 5, "wrong"), (104, 5, None), (106, 5, "look")],
)
def test_a_clock_is_judged_by_what_is_certain(offset_ms, uncertainty_ms, level):
    clocks = Clocks(offset_ms * MS, uncertainty_ms * MS)
    found = findings(probe(clocks=clocks))
    if level is None:
        assert [each[0] for each in found] in ([], ["look"])
        assert offset_ms > 1000 or found == []
    else:
        side = "behind" if offset_ms > 0 else "ahead of"
        words = (
            f"this machine's clock is {abs(offset_ms):.1f} ms {side} the venue's,"
            " give or take 5.0 ms"
        )
        assert found == [(level, "clock", words)]


def test_a_clock_that_was_not_compared_is_no_finding():
    assert findings(probe(clocks=Clocks(None, 0, "not known"))) == []


@pytest.mark.parametrize(
    ("changed", "level", "part"),
    [
        ({"lag_p99_ns": 101 * MS, "lag_max_ns": 200 * MS}, "wrong", "wakes late: p99 101.0 ms"),
        ({"lag_p99_ns": 21 * MS}, "look", "wakes late"),
        ({"lag_max_ns": 101 * MS}, "look", "at most 101.0 ms"),
        ({"files_soft": 80, "files_open": 20}, "wrong", "60 more files may be opened, of 80"),
        ({"files_soft": 512}, "look", "492 more files may be opened, of 512"),
        ({"tcp_receive_bytes_max": 512 << 10}, "look", "grow to 512 KiB only"),
    ],
)
def test_this_machine_is_judged_too(changed, level, part):
    [found] = judge(probe(host=replace(HOST, **changed)), DERIBIT).findings
    assert (found.level, found.where) == (level, "host")
    assert part in found.words


def test_a_machine_that_says_nothing_of_its_limits_is_not_blamed():
    silent = replace(
        HOST, files_soft=None, files_hard=None, files_open=None, tcp_receive_bytes_max=None
    )
    assert findings(probe(host=silent)) == []


def test_dns_that_fails_or_is_slow_is_told():
    broken = Names("venue.test", ("192.0.2.1",), 2 * SECOND, "no answer within 2 s")
    slow = Names("venue.test", ("192.0.2.1",), 501 * MS)
    assert findings(probe(names=(broken,))) == [
        ("wrong", "dns", "venue.test cannot be resolved: no answer within 2 s")
    ]
    assert findings(probe(names=(slow,))) == [("look", "dns", "the resolver took 501 ms")]


def test_the_wrong_comes_first():
    found = findings(probe(visit(tls=Tls("TLSv1.3", 1.0), lost="x")))
    assert [level for level, _, _ in found] == ["wrong", "look"]


def test_what_is_declared_stands_beside_what_was_seen():
    watched = visit(watched_ns=45 * SECOND, server_pings=2, heartbeats=0)
    rows = {name: (one, two) for name, one, two in declared_and_observed(probe(watched), SPOT)}
    ping_s = SPOT.server_ping_ns.value / SECOND
    assert rows["server ping"] == (f"every {ping_s:g} s", "2 in 45.0 s")
    assert rows["our ping"][1] == "20 of 20 answered"
    assert rows["dials"] == ("300 in 300 s", "1 made")
    assert rows["answer to a subscribe"][1] == "after 12.0 ms"
    short = declared_and_observed(probe(visit()), SPOT)
    assert short[0][2] == "0 in 5.0 s: too short a look"
    assert declared_and_observed(probe(failed("tcp", "x", reached=False)), SPOT) == []


def test_a_quantile_is_one_of_the_values():
    assert quantile_ns([], 0.5) is None
    assert quantile_ns([3, 1, 2], 0.0) == 1
    assert quantile_ns([3, 1, 2], 0.5) == 2
    assert quantile_ns(list(range(100)), 0.99) == 99
