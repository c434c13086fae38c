"""Names to addresses: DNS that fails, hangs or changes its mind, and what is used meanwhile."""

import asyncio
import socket
import threading
import time

import pytest

from gapless.io.clock import SystemClock
from gapless.io.resolver import GOOD_NS, NameResolver, literal, system_lookup
from gapless.testing.clock import VirtualClock

MS = 1_000_000
ONE, TWO = "192.0.2.1", "192.0.2.2"


class Dns:
    """What a name resolves to: addresses, or an error to raise."""

    def __init__(self, says):
        self.says = says
        self.asked = []

    def __call__(self, host):
        self.asked.append((host, threading.current_thread()))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


NXDOMAIN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def resolved(resolver, host="venue.test"):
    return asyncio.run(resolver.resolve(host))


def test_all_addresses_come_in_the_order_of_the_answer_and_once():
    answer = resolved(NameResolver(SystemClock(), Dns([TWO, ONE, TWO, "2001:db8::1"])))
    assert answer.addresses == (TWO, ONE, "2001:db8::1")
    assert answer.failure == ""


@pytest.mark.parametrize("host", [ONE, "2001:db8::1", "127.0.0.1"])
def test_nobody_is_asked_about_an_address(host):
    dns = Dns([])
    answer = resolved(NameResolver(SystemClock(), dns), host)
    assert (answer.addresses, answer.took_ns, dns.asked) == ((host,), 0, [])


def test_the_loop_does_not_ask_itself():
    dns = Dns([ONE])
    resolved(NameResolver(SystemClock(), dns))
    [(host, thread)] = dns.asked
    assert host == "venue.test"
    assert thread is not threading.main_thread()
    assert thread.daemon, "a process that ends does not wait for DNS"


def test_a_name_that_does_not_exist_says_so_and_has_no_addresses():
    answer = resolved(NameResolver(SystemClock(), Dns(NXDOMAIN)))
    assert answer.addresses == ()
    assert answer.failure == "Name or service not known"


def test_when_dns_fails_what_completed_an_upgrade_is_used_newest_first_for_an_hour():
    clock, dns = VirtualClock(), Dns([ONE, TWO])
    resolver = NameResolver(clock, dns)
    assert resolved(resolver).addresses == (ONE, TWO)
    dns.says = NXDOMAIN
    assert resolved(resolver).addresses == (), "answered by DNS once is not good yet"
    resolver.good("venue.test", ONE)
    resolver.good("venue.test", TWO)
    assert resolved(resolver).addresses == (TWO, ONE)
    assert resolved(resolver).failure
    assert resolved(resolver, "other.test").addresses == ()
    clock.advance_ns(GOOD_NS)
    assert resolved(resolver).addresses == (TWO, ONE)
    clock.advance_ns(1)
    assert resolved(resolver).addresses == ()


def test_an_address_that_failed_tls_or_the_upgrade_is_not_good():
    dns = Dns(NXDOMAIN)
    resolver = NameResolver(VirtualClock(), dns)
    resolver.good("venue.test", ONE)
    resolver.good("venue.test", TWO)
    resolver.bad("venue.test", TWO)
    resolver.bad("other.test", ONE)
    assert resolved(resolver).addresses == (ONE,)


def test_an_answer_that_changed_counts_from_then_on():
    dns = Dns([ONE])
    resolver = NameResolver(VirtualClock(), dns)
    resolved(resolver)
    resolver.good("venue.test", ONE)
    dns.says = [TWO]
    assert resolved(resolver).addresses == (TWO,)


def test_a_slow_resolver_is_waited_for_a_bounded_time_and_holds_up_nothing():
    release = threading.Event()

    def slow(host):
        release.wait(10)
        return [ONE]

    async def scenario():
        resolver = NameResolver(SystemClock(), slow, within_ns=300 * MS)
        resolver.good("venue.test", TWO)
        lags = []

        async def tick():
            while True:
                due = time.monotonic() + 0.005
                await asyncio.sleep(0.005)
                lags.append(time.monotonic() - due)

        ticking = asyncio.create_task(tick())
        answer = await resolver.resolve("venue.test")
        again = asyncio.create_task(resolver.resolve("venue.test"))
        await asyncio.sleep(0)
        threads = [t for t in threading.enumerate() if t.name == "gapless resolver"]
        release.set()
        late = await again
        ticking.cancel()
        return answer, late, threads, sorted(lags)

    answer, late, threads, lags = asyncio.run(scenario())
    assert answer.failure == "no answer within 0.3 s"
    assert answer.addresses == (TWO,)
    assert answer.took_ns >= 299 * MS
    assert len(threads) == 1, "a name is asked for once at a time"
    assert late.addresses == (ONE,), "a late answer serves the next call"
    assert len(lags) > 20
    assert lags[len(lags) // 2] <= 0.020


def test_an_answer_after_the_loop_has_gone_is_dropped():
    release, done = threading.Event(), threading.Event()

    def slow(host):
        release.wait(10)
        done.set()
        return [ONE]

    answer = asyncio.run(
        NameResolver(SystemClock(), slow, within_ns=MS).resolve("venue.test"),
    )
    assert answer.failure
    thread = next(t for t in threading.enumerate() if t.name == "gapless resolver")
    release.set()
    thread.join(10)
    assert done.is_set()
    assert not thread.is_alive()


def test_what_is_kept_is_bounded():
    resolver = NameResolver(VirtualClock(), Dns(NXDOMAIN))
    for number in range(300):
        resolver.good("venue.test", f"192.0.2.{number}")
        resolver.good(f"venue{number}.test", ONE)
    assert len(resolver._good) == 64
    resolver.good("venue.test", ONE)
    for number in range(300):
        resolver.good("venue.test", f"192.0.2.{number}")
    assert len(resolver._good["venue.test"]) == 64


def test_the_system_knows_localhost():
    assert set(system_lookup("localhost")) <= {"127.0.0.1", "::1"}
    with pytest.raises(socket.gaierror):
        system_lookup("no-such-name.invalid")


def test_what_is_an_address_and_what_a_name():
    assert [host for host in ("192.0.2.1", "::1", "localhost", "1.2.3") if literal(host)] == [
        "192.0.2.1",
        "::1",
    ]
