"""From a URL to a connected socket."""

import asyncio
import socket
import ssl

import pytest
from tests.io import certs

from gapless.errors import ConfigError, DialFailed, RateLimited, UsageError
from gapless.io.clock import SystemClock
from gapless.io.dial import (
    RETRY_AFTER_NS_MAX,
    USER_TIMEOUT_MS,
    Stages,
    abandon,
    check_headers,
    dialling,
    open_socket,
    parse_proxy,
    parse_retry_after,
    parse_target,
    refusal,
    tls_context,
)
from gapless.testing.clock import VirtualClock, run

SECOND = 1_000_000_000


class Resolver(asyncio.SelectorEventLoop):
    """A loop whose names resolve to what a test says, or not."""

    answers: list
    delay_s = 0

    async def getaddrinfo(self, host, port, **_):
        await asyncio.sleep(self.delay_s)
        if isinstance(self.answers, Exception):
            raise self.answers
        return [
            (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for family, address in self.answers
        ]


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


def resolve_to(answers, scenario, delay_s=0):
    def factory():
        loop = Resolver()
        loop.answers, loop.delay_s = answers, delay_s
        return loop

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(scenario())


def connect_to(listener, answers, **options):
    """Dial a name that resolves to ``answers``; return the peer's address and the stages."""
    stages = Stages(VirtualClock())
    port = listener.getsockname()[1]

    async def scenario():
        async with dialling("ws://venue.test", stages, 2 * SECOND):
            sock = await open_socket("venue.test", port, source=None, stages=stages, **options)
        with sock:
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS
            return sock.getpeername()[0]

    return resolve_to(answers, scenario), stages


def failure(answers, *, delay_s=0, timeout_ns=SECOND, port=9):
    stages = Stages(VirtualClock())

    async def scenario():
        async with dialling("ws://venue.test", stages, timeout_ns):
            await open_socket("venue.test", port, source=None, stages=stages)

    with pytest.raises(DialFailed) as caught:
        resolve_to(answers, scenario, delay_s)
    assert caught.value.endpoint == "ws://venue.test"
    assert caught.value.__cause__ is not None
    return caught.value


def test_the_first_address_that_answers_is_taken(listener):
    assert connect_to(listener, [(socket.AF_INET, "127.0.0.1")])[0] == "127.0.0.1"


def test_every_address_of_a_name_is_tried(listener):
    # The listener is bound to 127.0.0.1 alone, so the first address refuses.
    dead = (socket.AF_INET, "127.0.0.3")
    live = (socket.AF_INET, "127.0.0.1")
    assert connect_to(listener, [dead, dead, live])[0] == "127.0.0.1"


def test_a_family_that_is_dead_does_not_hide_the_other(listener):
    answers = [(socket.AF_INET6, "::1")] * 3 + [(socket.AF_INET, "127.0.0.1")]
    assert connect_to(listener, answers)[0] == "127.0.0.1"


def test_an_unknown_name_fails_in_dns():
    error = failure(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert (error.stage, error.detail) == ("dns", "Name or service not known")


def test_a_slow_resolver_costs_the_timeout_and_fails_in_dns():
    error = failure([], delay_s=30, timeout_ns=SECOND // 10)
    assert (error.stage, error.detail) == ("dns", "no answer within 0.1 s")


def test_a_name_that_idna_rules_out_fails_in_dns():
    error = failure(UnicodeError("label empty or too long"))
    assert error.stage == "dns"


def test_refusals_of_all_addresses_fail_in_tcp(listener):
    port = listener.getsockname()[1]
    listener.close()
    error = failure([(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.3")], port=port)
    assert error.stage == "tcp"


def test_stages_are_timed_apart():
    clock = VirtualClock()
    stages = Stages(clock)
    for stage, ns in [("tcp", 5), ("tls", 7), ("upgrade", 11), ("tls", 13), ("open", 17)]:
        clock.advance_ns(ns)
        stages.enter(stage)
    assert stages.current == "open"
    assert [stages.ns(s) for s in ("dns", "tcp", "tls", "upgrade")] == [5, 7, 11 + 17, 13]
    assert stages.ns("proxy") == 0


@pytest.mark.parametrize(("tls", "expected"), [(False, (5, 18, 0, 17)), (True, (5, 7, 24, 17))])
def test_a_proxy_counts_where_its_handshake_ends(tls, expected):
    clock = VirtualClock()
    stages = Stages(clock)
    spent = [("tcp", 5), ("proxy", 7), *([("tls", 11), ("upgrade", 13)] if tls else [])]
    for stage, ns in [*spent, *([] if tls else [("upgrade", 11)]), ("open", 17)]:
        clock.advance_ns(ns)
        stages.enter(stage)
    timings = stages.timings("192.0.2.1", tls=tls)
    told = (timings.dns_ns, timings.tcp_ns, timings.tls_ns, timings.upgrade_ns)
    assert told == expected
    assert timings.address == "192.0.2.1"


def test_an_abandoned_socket_is_closed_even_if_nobody_owns_it(listener):
    async def scenario():
        sock = socket.create_connection(listener.getsockname())
        await abandon(sock)
        assert sock.fileno() == -1
        await abandon(sock)  # and once more does no harm

    asyncio.run(scenario())


def test_a_socket_is_closed_even_if_abandoning_it_is_cancelled(listener):
    async def scenario():
        sock = socket.create_connection(listener.getsockname())
        task = asyncio.create_task(abandon(sock))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        assert sock.fileno() == -1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("exc", "stage", "words"),
    [
        (ConnectionResetError(104, "reset by peer"), "upgrade", "reset by peer"),
        (TimeoutError(110, "timed out"), "upgrade", "timed out"),
        (ssl.SSLError(1, "wrong version number"), "tls", "wrong version number"),
        (RuntimeError("odd\x1b"), "upgrade", "odd\\x1b"),
        (ConnectionAbortedError(), "upgrade", "ConnectionAbortedError"),
    ],
)
def test_what_the_network_does_has_one_name(exc, stage, words):
    async def scenario():
        stages = Stages(VirtualClock(), "upgrade")
        with pytest.raises(DialFailed) as caught:
            async with dialling("ws://venue.test", stages, SECOND):
                raise exc
        assert (caught.value.stage, caught.value.detail) == (stage, words)
        assert caught.value.__cause__ is exc

    run(scenario())


@pytest.mark.parametrize("exc", [RateLimited(429), KeyError("a bug"), asyncio.CancelledError()])
def test_what_is_not_the_networks_doing_passes(exc):
    async def scenario():
        with pytest.raises(type(exc)) as caught:
            async with dialling("ws://venue.test", Stages(VirtualClock()), SECOND):
                raise exc
        assert caught.value is exc

    run(scenario())


# -- parsing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "wss://venue.test/ws/api?key=secret",
            ("venue.test", 443, True, "wss://venue.test/ws/api"),
        ),
        ("ws://VENUE.test:8080", ("venue.test", 8080, False, "ws://VENUE.test:8080")),
        ("ws://[::1]:90/", ("::1", 90, False, "ws://[::1]:90/")),
    ],
)
def test_a_url_says_where_to_dial(url, expected):
    target = parse_target(url)
    assert (target.host, target.port, target.secure, target.endpoint) == expected
    assert target.url == url


@pytest.mark.parametrize(
    "url",
    ["", "venue.test", "https://venue.test", "ws://", "ws://[::1", "ws://venue.test:99999"],
)
def test_other_urls_are_refused(url):
    with pytest.raises(ConfigError):
        parse_target(url)


def test_a_refused_url_is_not_repeated():
    with pytest.raises(ConfigError) as caught:
        parse_target("wss://user:canary@venue.test/?key=canary")
    assert "canary" not in repr(caught.value)


def test_a_proxy_url_says_host_and_port():
    assert parse_proxy("socks5://user:pw@[::1]:1080") == ("::1", 1080)


@pytest.mark.parametrize("proxy", ["https://p:1", "http://p", "p:1", "socks5://:1", "http://p:x"])
def test_other_proxy_urls_are_refused(proxy):
    with pytest.raises(ConfigError):
        parse_proxy(proxy)


def test_headers_that_break_nothing_pass():
    check_headers({"Authorization": "Bearer x", "X-Tab": "a\tb"})


@pytest.mark.parametrize("headers", [{"": "x"}, {"A:": "x"}, {"A": "x\n"}, {"A": "\0"}])
def test_headers_that_break_the_request_are_refused(headers):
    with pytest.raises(UsageError):
        check_headers(headers)


# 2023-11-14 22:13:20 UTC
NOW_NS = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        (" 120 ", 120 * SECOND),
        ("9" * 5000, RETRY_AFTER_NS_MAX),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60 * SECOND),
        ("Tue, 14 Nov 2023 22:12:20 GMT", 0),
        ("Tue, 14 Nov 2190 22:12:20 GMT", RETRY_AFTER_NS_MAX),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, expected):
    assert parse_retry_after(value, NOW_NS) == expected


def test_a_refusal_is_read_from_what_there_is():
    limited = refusal(b"HTTP/1.0 429 Slow\r\nRETRY-AFTER:3", "ws://x", NOW_NS)
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_ns == 3 * SECOND
    failed = refusal(b"HTTP/1.1 520 Origin", "ws://x", NOW_NS)
    assert isinstance(failed, DialFailed)
    assert failed.status == 520
    assert refusal(b"HTTP/1.1 101 Yes", "ws://x", NOW_NS) is None
    assert refusal(b"", "ws://x", NOW_NS) is None


# -- TLS ------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
def test_tls_always_verifies(own):
    context = tls_context(certs.authority()[1] if own else None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_an_authority_of_our_own_replaces_the_systems():
    assert len(tls_context(certs.authority()[1]).get_ca_certs()) == 1


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "ca.pem"
    pem = certs.authority()[0].cert_pem.bytes()
    path.write_bytes(pem)
    first = tls_context(str(path))
    assert tls_context(str(path)) is first
    path.write_bytes(pem + b"\n")
    assert tls_context(str(path)) is not first


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_authorities_is_refused(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError):
        tls_context(str(path))


# -- addresses that are known ---------------------------------------------------------------------


def test_given_addresses_are_tried_in_their_order_and_nobody_is_asked(listener):
    port = listener.getsockname()[1]

    async def scenario():
        stages = Stages(SystemClock())
        given = ("127.0.0.1", "127.0.0.2")
        sock = await open_socket(
            "no-such-name.invalid", port, source=None, stages=stages, addresses=given
        )
        with sock:
            return sock.getpeername()[0], stages

    address, stages = asyncio.run(scenario())
    assert address == "127.0.0.1"
    assert stages.ns("dns") == 0


def test_an_address_that_refuses_is_followed_by_the_next_within_10_ms(listener):
    port = listener.getsockname()[1]
    given = ("127.0.0.9", "127.0.0.1")  # the first has the port closed

    async def scenario():
        took = []
        for _ in range(11):
            clock = SystemClock()
            began_ns = clock.mono_ns()
            sock = await open_socket(
                "venue.test", port, source=None, stages=Stages(clock), addresses=given
            )
            took.append(clock.mono_ns() - began_ns)
            assert sock.getpeername()[0] == "127.0.0.1"
            sock.close()
        return sorted(took)

    took = asyncio.run(scenario())
    assert took[5] <= 10_000_000


def test_all_given_addresses_refusing_is_a_failure_of_tcp(listener):
    port = listener.getsockname()[1]

    async def scenario():
        stages = Stages(SystemClock())
        given = ("127.0.0.8", "127.0.0.9")
        with pytest.raises(OSError, match=r"refused|failed|exceptions"):
            await open_socket("venue.test", port, source=None, stages=stages, addresses=given)
        return stages.current

    assert asyncio.run(scenario()) == "tcp"
