"""Faults of a real kernel between the client and a simulated venue, in two network namespaces.

Most of a fault's time is spent waiting, so all run at the same time: each has addresses of its own,
and each test asks for its outcome.  That a fault happened is told by a firewall's count of packets,
by the kernel's count of resets, or by the state of a process.  ``GAPLESS_NETNS_LOSS_S`` sets how
long packets are lost; the long run takes ten minutes.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.netns.lab import Endings, Lab, run, why_not

from gapless.chaos.checker import check

pytestmark = pytest.mark.netns

LOSS_S = float(os.environ.get("GAPLESS_NETNS_LOSS_S", "35"))
PORT, STOPPED, KILLED, GATEWAY, NARROW, LOSSY, TWO = range(9000, 9007)
EACH = 10  # feeds that meet one fault at the same time, at ten moments of their own rhythm
SETTLE_S = 4.0
ALARMS = ("stalled", "slow", "frozen", "ended", "violation")
DEATH = ("stalled", "ended")
SECOND = 1_000_000_000
SCENARIOS = {}


def scenario(at_s=0.0):
    """Play it so long after the start, lest the commands of one disturb the times of another."""

    def take(function):
        SCENARIOS[function.__name__] = at_s, function
        return function

    return take


class Client:
    """A driver in the client's namespace; what it says is kept, and can be waited for."""

    def __init__(self, lab):
        self.program = lab.start_client("-m", "tests.netns.driver")
        self._lock, self._read, self._said = threading.Lock(), 0, []

    def tell(self, **command):
        with self._lock:
            self.program.tell(command)

    def said(self, name, kind, since_ns=0):
        with self._lock:
            lines = self.program.out
            while self._read < len(lines) and lines[self._read].endswith("\n"):
                self._said.append(json.loads(lines[self._read]))
                self._read += 1
        found = [each for each in self._said if each.get("name") == name and each["type"] == kind]
        return [each for each in found if each.get("mono_ns", since_ns) >= since_ns]

    def tail(self, name):
        """Return the newest of what was said of some feeds, for a test that fails."""
        return [self.program.err[-5:], *self.said(name, "notice")[-20:]]

    def open(self, name, addresses, *, port=PORT, count=EACH, **fields):
        urls = [f"ws://{address}:{port}" for address in addresses]
        self.tell(do="open", name=name, endpoints=urls, count=count, **fields)
        return Feeds(self, name, count)


class Feeds:
    """Some feeds of one name."""

    def __init__(self, client, name, count):
        self._client, self.name, self.count = client, name, count

    def notices(self, *kinds, since_ns=0):
        said = self._client.said(self.name, "notice", since_ns)
        return [each for each in said if each["kind"] in kinds]

    def each(self, found, within_s):
        """Wait until something was said of every feed; return the first of each."""
        until_s = time.monotonic() + within_s
        while True:
            first = {}
            for said in found():
                first.setdefault(said["feed"], said)
            if len(first) == self.count:
                return [first[feed] for feed in sorted(first)]
            assert time.monotonic() < until_s, (
                self.name,
                sorted(first),
                self._client.tail(self.name),
            )
            time.sleep(0.02)

    def settle(self, seconds=SETTLE_S):
        self.each(lambda: self._client.said(self.name, "first"), 20)
        time.sleep(seconds)
        assert not self.notices(*ALARMS), self.notices(*ALARMS)

    def lag_s(self, since_ns):
        """Return how long the machine has held the client up since then, in seconds.

        On a busy machine a process waits for its turn, and that is no doing of ours.
        """
        told = self._client.said(None, "lag", since_ns)
        return sum(each["late_s"] for each in told if each["mono_ns"] < since_ns + 4 * SECOND)

    def noticed(self, since_ns, *, silences=False, within_s=8.0):
        """Return after how many seconds each knew that its connection was dead.

        A command that breaks something may wait before it does.  If the fault silences, it is
        counted from the last message behind the start: it cannot have struck before.
        """
        told = self.each(lambda: self.notices(*DEATH, since_ns=since_ns), within_s)
        began = [max(since_ns, each["data_ns"]) if silences else since_ns for each in told]
        return [(x["mono_ns"] - from_ns) / SECOND for x, from_ns in zip(told, began, strict=True)]

    def again(self, since_ns, *, after_ns=None, within_s=20.0):
        """Return how many seconds after a moment each had data of a session begun since then."""
        told = self.each(lambda: self._client.said(self.name, "first", since_ns), within_s)
        return [(each["mono_ns"] - (after_ns or since_ns)) / SECOND for each in told]

    def alive(self, since_ns, *, within_s=20.0):
        """Wait until each has had data since then."""

        def newest():
            self._client.tell(do="newest", name=self.name)
            return self._client.said(self.name, "newest", since_ns)

        self.each(newest, within_s)

    def close(self):
        self._client.tell(do="close", name=self.name)
        return self.each(lambda: self._client.said(self.name, "closed"), 10)


class Ground:
    """One lab, a venue that all share, and the client that most share."""

    def __init__(self, lab, folder, *, ahead):
        self.lab, self.folder = lab, folder
        lab.in_client("iptables", "-w", "-nL")  # loads what it needs, which takes a moment
        lab.in_client("iptables", "-w", "-A", "OUTPUT", "-m", "comment", "--comment", "warm")
        wire = lab.cables[0]
        self.two_addresses = [wire.address(), wire.address()]
        lab.hosts([f"{address} venue.lab" for address in self.two_addresses])
        self._lock = threading.Lock()
        self._ready = {PORT: self.venue(PORT)}
        if ahead:  # a program that starts takes the machine away from those that are timed
            with ThreadPoolExecutor(4) as pool:
                deque(pool.map(self.ready, (STOPPED, KILLED, GATEWAY, NARROW, LOSSY, TWO)), 0)
        self.client, self.other = Client(lab), Client(lab)

    def address(self, cable=0):
        with self._lock:
            return self.lab.cables[cable].address()

    def truth(self, port):
        return self.folder / f"{port}.truth"

    def ready(self, port):
        """Return what listens there: what was started ahead, or is started now."""
        if port not in self._ready:
            if port == GATEWAY:
                self._ready[port] = self.gateway(port)
            elif port in (LOSSY, TWO):
                self._ready[port] = self.venue(port, "--truth", self.truth(port))
            else:
                self._ready[port] = self.venue(port, rate=200 if port == NARROW else 30)
        return self._ready[port]

    def venue(self, port, *options, rate=30):
        program = self.lab.start_server(
            *("sim", "deribit", "--host", "0.0.0.0", "--port", port, "--rate", rate, "--seed", 1),
            *("--no-limits", "--json", *options),
        )
        program.wait_for(lambda: program.out, "simulator")
        return program

    def gateway(self, port):
        program = self.lab.start_server(
            *("proxy", "--listen", f"0.0.0.0:{port}", "--upstream", f"ws://127.0.0.1:{PORT}"),
            "--json",
        )
        program.wait_for(lambda: program.out, "gateway")
        return program


@pytest.fixture(scope="module")
def playing(request, tmp_path_factory):
    """Return what gives the future outcome of a scenario; all that are wanted play at once."""
    reason = why_not()
    if reason is not None:
        assert not os.environ.get("GAPLESS_NETNS_REQUIRED"), reason
        pytest.skip(reason)
    wanted = [item.callspec.params["outcome"] for item in request.session.items if is_ours(item)]
    together = "PYTEST_XDIST_WORKER" not in os.environ  # else the workers share them out
    with Lab() as lab, ThreadPoolExecutor(len(SCENARIOS)) as pool:
        ground = Ground(lab, tmp_path_factory.mktemp("netns"), ahead=together)
        futures, first_s = {}, min(SCENARIOS[name][0] for name in wanted)

        def play(name, together=False):
            if name not in futures:
                at_s, function = SCENARIOS[name]
                futures[name] = pool.submit(
                    wait_and, at_s - first_s if together else 0, function, ground
                )
            return futures[name]

        for name in wanted if together else ():
            play(name, together=True)
        yield play


def wait_and(at_s, function, ground):
    time.sleep(at_s)
    return function(ground)


def is_ours(item):
    return item.path == Path(__file__) and hasattr(item, "callspec")


@pytest.fixture
def outcome(playing, request):
    return playing(request.param).result(LOSS_S + 120)


def of(*names):
    """Ask for the outcome of these scenarios, one in each test."""
    return pytest.mark.parametrize("outcome", names, indirect=True)


def report(name, seconds, lag_s=0.0):
    print(
        f"{name}: median {statistics.median(seconds):.3f} s, at most {max(seconds):.3f} s"
        f" of {len(seconds)}; the machine took {lag_s:.3f} s"
    )


# -- nothing comes any more -----------------------------------------------------------------------


def dead(ground, name, break_, mend, *, cable=0, port=PORT, address=None, silences=True):
    """Break the way of ten feeds; return when they knew, when data came again, and the proof."""
    address = address or ground.address(cable)
    feeds = ground.client.open(name, [address], port=port)
    feeds.settle()
    began_ns = time.monotonic_ns()
    broken = break_(address)
    if not silences:
        began_ns = time.monotonic_ns()
    noticed_s = feeds.noticed(began_ns, silences=silences)
    lag_s = feeds.lag_s(began_ns)
    proof = mend(broken)
    feeds.again(began_ns)
    feeds.close()
    return noticed_s, lag_s, proof


def firewall(ground, *rules):
    def break_(address):
        return [ground.lab.rule(*(word.format(address) for word in rule)) for rule in rules]

    return break_, lambda broken: [rule.lift() for rule in broken]


INWARD = ("INPUT", "-s", "{}", "-j", "DROP")
OUTWARD = ("OUTPUT", "-d", "{}", "-j", "DROP")


@scenario(at_s=6)
def blackhole(ground):
    return dead(ground, "blackhole", *firewall(ground, INWARD, OUTWARD))


@scenario(at_s=6.7)
def half_open_inward(ground):
    return dead(ground, "half_open_inward", *firewall(ground, INWARD))


@scenario(at_s=7.4)
def half_open_outward(ground):
    return dead(ground, "half_open_outward", *firewall(ground, OUTWARD), silences=False)


@scenario(at_s=8.1)
def link_down(ground):
    cable = ground.lab.cables[1]

    def mend(_):
        shown = run("ip", "-n", ground.lab.client, "link", "show", cable.client_device)
        cable.set("up")
        return shown

    return dead(ground, "link_down", lambda _: cable.set("down"), mend, cable=1)


@scenario(at_s=8.8)
def long_packets(ground):
    rule = ("INPUT", "-s", "{}", "-m", "length", "--length", "300:65535", "-j", "DROP")
    return dead(ground, "long_packets", *firewall(ground, rule))


@scenario(at_s=9.5)
def venue_stopped(ground):
    venue = ground.ready(STOPPED)

    def stop(_):
        venue.kill(signal.SIGSTOP)

    def mend(_):
        state = Path(f"/proc/{venue.child.pid}/stat").read_text().rpartition(") ")[2][0]
        venue.kill(signal.SIGCONT)
        return state

    return dead(ground, "venue_stopped", stop, mend, port=STOPPED)


@of("blackhole", "half_open_inward", "half_open_outward")
def test_packets_that_are_lost_either_way_are_noticed(outcome, measure, request):
    name = request.node.callspec.params["outcome"]
    noticed_s, lag_s, hits = outcome
    report(name, noticed_s, lag_s)
    assert min(hits) >= EACH, "the firewall dropped what it should"
    for seconds in noticed_s:
        measure(f"netns.{name}", seconds)
    # What goes out is missed by the venue first, which stops when nothing is acknowledged.
    bar_s = 3.0 if name == "half_open_outward" else 2.25
    assert max(noticed_s) <= bar_s + lag_s


@of("link_down")
def test_a_cable_that_is_pulled_is_noticed(outcome, measure):
    noticed_s, lag_s, shown = outcome
    report("link down", noticed_s, lag_s)
    assert "state DOWN" in shown
    for seconds in noticed_s:
        measure("netns.link_down", seconds)
    assert max(noticed_s) <= 2.25 + lag_s


@of("long_packets")
def test_a_path_that_swallows_long_packets_is_noticed(outcome, measure):
    noticed_s, lag_s, hits = outcome
    report("long packets lost", noticed_s, lag_s)
    assert min(hits) >= EACH
    for seconds in noticed_s:
        measure("netns.long_packets", seconds)
    assert max(noticed_s) <= 2.25 + lag_s


@of("venue_stopped")
def test_a_venue_that_is_stopped_is_noticed(outcome, measure):
    noticed_s, lag_s, state = outcome
    report("venue stopped", noticed_s, lag_s)
    assert state == "T"
    for seconds in noticed_s:
        measure("netns.venue_stopped", seconds)
    assert max(noticed_s) <= 2.25 + lag_s


# -- the connection ends --------------------------------------------------------------------------


def since(came_ns, began_ns, seconds):
    """Return the same times counted from when the end of each connection came, in order."""
    assert len(came_ns) == len(seconds), "each connection was ended by a packet"
    ended = zip(sorted(seconds), came_ns, strict=True)
    return [later - (at_ns - began_ns) / SECOND for later, at_ns in ended]


@scenario(at_s=0)
def reset(ground):
    address = ground.address()
    endings = Endings(ground.lab, address)
    feeds = ground.client.open("reset", [address])
    feeds.settle()
    sent, began_ns = ground.lab.resets_sent(), time.monotonic_ns()
    destroyed = ground.lab.reset_sockets_to(address)
    resets = ground.lab.resets_sent() - sent
    noticed_s, again_s = feeds.noticed(began_ns), feeds.again(began_ns)
    came_ns = endings.close()
    noticed_s, again_s = since(came_ns, began_ns, noticed_s), since(came_ns, began_ns, again_s)
    lag_s = feeds.lag_s(came_ns[0])
    (dials,) = {each["dials"] for each in feeds.close()}
    return noticed_s, again_s, lag_s, destroyed, resets, dials


@of("reset")
def test_a_reset_is_noticed_at_once_and_data_come_again_over_one_connection(outcome, measure):
    noticed_s, again_s, lag_s, destroyed, resets, dials = outcome
    report("reset noticed", noticed_s, lag_s)
    report("data again", again_s, lag_s)
    assert destroyed == EACH
    assert resets >= EACH
    for seconds, again in zip(noticed_s, again_s, strict=True):
        measure("netns.reset", seconds)
        measure("netns.reset.again", again)
    assert max(noticed_s) <= 0.05 + lag_s
    assert statistics.median(again_s) <= 0.5 + lag_s
    assert dials == 2


def killed_with(ground, name, port, start):
    """Kill what ten feeds are connected to, and start it again."""
    address = ground.address()
    program, endings = ground.ready(port), Endings(ground.lab, address)
    feeds = ground.client.open(name, [address], port=port)
    feeds.settle()
    before = ground.lab.established(address)
    began_ns = time.monotonic_ns()
    program.kill(signal.SIGKILL)
    code = program.end()
    noticed_s = since(endings.close(), began_ns, feeds.noticed(began_ns))
    lag_s = feeds.lag_s(began_ns)
    start()
    back_ns = time.monotonic_ns()
    again_s = feeds.again(began_ns, after_ns=back_ns)
    lag_s = max(lag_s, feeds.lag_s(back_ns))
    after = ground.lab.established(address)
    feeds.close()
    return noticed_s, again_s, lag_s, code, before, after


@scenario(at_s=1)
def gateway_killed(ground):
    """The front of a venue dies; behind it the market goes on."""
    return killed_with(ground, "gateway_killed", GATEWAY, lambda: ground.gateway(GATEWAY))


@scenario(at_s=2)
def venue_killed(ground):
    """The venue dies whole, and counts from its beginning when it is back."""
    return killed_with(ground, "venue_killed", KILLED, lambda: ground.venue(KILLED))


@of("gateway_killed")
def test_a_server_that_is_killed_is_noticed_at_once_and_found_when_it_is_back(outcome, measure):
    noticed_s, again_s, lag_s, code, before, after = outcome
    report("kill -9 noticed", noticed_s, lag_s)
    report("data again after the server's return", again_s, lag_s)
    assert code == -signal.SIGKILL
    assert before == after == EACH, "one connection each"
    for seconds, again in zip(noticed_s, again_s, strict=True):
        measure("netns.killed", seconds)
        measure("netns.killed.again", max(0.0, again))
    assert max(noticed_s) <= 0.05 + lag_s
    assert statistics.median(again_s) <= 0.5 + lag_s


@of("venue_killed")
def test_a_venue_that_counts_anew_after_its_death_is_believed_by_its_clock(outcome, measure):
    """An old number is a new one only if it is five seconds newer than the newest before."""
    noticed_s, again_s, lag_s, code, before, after = outcome
    report("data again after the venue's return", again_s, lag_s)
    assert code == -signal.SIGKILL
    assert before == after == EACH, "one connection each"
    for again in again_s:
        measure("netns.restarted.again", again)
    assert max(noticed_s) <= 0.05 + lag_s
    assert max(again_s) <= 6.0 + lag_s


# -- the connection is never made -----------------------------------------------------------------


@scenario(at_s=3)
def syn_swallowed(ground):
    address = ground.address()
    rule = ground.lab.rule("OUTPUT", "-d", address, "-p", "tcp", "--syn", "-j", "DROP")
    feeds = ground.client.open("syn_swallowed", [address], dial_timeout=1.0)
    dialled = feeds.each(lambda: feeds.notices("dialing"), 10)
    ended = feeds.each(lambda: feeds.notices("ended"), 10)
    hits = rule.lift()
    mended_ns = time.monotonic_ns()
    pairs = zip(ended, dialled, strict=True)
    took_s = [(end["mono_ns"] - dial["mono_ns"]) / SECOND for end, dial in pairs]
    feeds.again(mended_ns)
    feeds.close()
    return took_s, feeds.lag_s(dialled[0]["mono_ns"]), hits


@of("syn_swallowed")
def test_a_dial_whose_packets_vanish_ends_at_its_deadline(outcome, measure):
    took_s, lag_s, hits = outcome
    report("a dial of 1 s", took_s, lag_s)
    assert hits >= EACH
    for seconds in took_s:
        measure("netns.syn_swallowed", seconds)
    assert max(took_s) <= 1.1 + lag_s


@scenario(at_s=1.5)
def unreachable(ground):
    bad, _ = ground.two_addresses
    reject = ("REJECT", "--reject-with", "icmp-host-unreachable")
    rule = ground.lab.rule("OUTPUT", "-d", bad, "-p", "tcp", "--syn", "-j", *reject)
    feeds = ground.client.open("unreachable", ["venue.lab"])
    dialled = feeds.each(lambda: feeds.notices("dialing"), 10)
    live = feeds.each(lambda: feeds.notices("live"), 10)
    pairs = zip(live, dialled, strict=True)
    took_s = [(end["mono_ns"] - dial["mono_ns"]) / SECOND for end, dial in pairs]
    hits = rule.lift()
    dials = {each["dials"] for each in feeds.close()}
    return took_s, feeds.lag_s(dialled[0]["mono_ns"]), hits, dials


@of("unreachable")
def test_an_address_that_cannot_be_reached_costs_no_dial(outcome, measure):
    took_s, lag_s, hits, dials = outcome
    report("live by the other address", took_s, lag_s)
    assert hits >= 1
    assert dials == {1}
    for seconds in took_s:
        measure("netns.unreachable", seconds)
    assert statistics.median(took_s) <= 0.1 + lag_s


CUTS = (0, 60, 100, 250, 400, 700, 1000, 2000, 4000, 8000)


@scenario(at_s=0.5)
def cut(ground):
    """Drop everything once a connection has carried so many bytes."""
    opened = []
    for n_bytes in CUTS:
        address = ground.address()
        rule = ground.lab.rule(
            *("INPUT", "-s", address, "-m", "connbytes", "--connbytes", f"{n_bytes}:"),
            *("--connbytes-dir", "both", "--connbytes-mode", "bytes", "-j", "DROP"),
        )
        feeds = ground.client.open(f"cut{n_bytes}", [address], count=1, dial_timeout=2.0)
        opened.append((feeds, rule))
    found = []
    for feeds, rule in opened:
        feeds.noticed(1, within_s=30)
        found.append(rule.lift())
        feeds.alive(time.monotonic_ns())
        feeds.close()
    return found


@of("cut")
def test_a_connection_that_is_cut_after_any_number_of_bytes_comes_back(outcome, measure):
    found = outcome
    print(dict(zip(CUTS, found, strict=True)))
    assert min(found) >= 1, "the firewall dropped what it should"
    measure("netns.cut", len(found))
    assert len(found) == len(CUTS)


# -- a path that is bad, and not broken -----------------------------------------------------------


@scenario(at_s=11)
def narrow(ground):
    address = ground.address(2)
    cable = ground.lab.cables[2]
    symbols = ["BTC-PERPETUAL", "ETH-PERPETUAL"]
    feeds = ground.client.open("narrow", [address], port=NARROW, count=1, symbols=symbols)
    feeds.settle(10.0)
    device = cable.server_device
    began_ns = time.monotonic_ns()
    ground.lab.in_server(
        *("tc", "qdisc", "add", "dev", device, "root", "tbf"),
        *("rate", "64kbit", "burst", "4kb", "latency", "5000ms"),
    )
    late = feeds.each(lambda: ground.client.said("narrow", "late", began_ns), 20)
    slow = feeds.each(lambda: feeds.notices("slow", *DEATH, since_ns=began_ns), 20)
    shown = ground.lab.in_server("tc", "-s", "qdisc", "show", "dev", device)
    ground.lab.in_server("tc", "qdisc", "del", "dev", device, "root")
    pairs = zip(slow, late, strict=True)
    took_s = [(told["mono_ns"] - came["mono_ns"]) / SECOND for told, came in pairs]
    kinds = [told["kind"] for told in slow]
    lag_s = feeds.lag_s(late[0]["mono_ns"])
    feeds.close()
    return took_s, lag_s, kinds, shown


@of("narrow")
def test_a_path_of_64_kbit_is_called_slow_within_a_second_of_being_late(outcome, measure):
    took_s, lag_s, kinds, shown = outcome
    report(f"64 kbit, called {kinds}", took_s, lag_s)
    assert int(shown.split("overlimits ")[1].split()[0]) > 0
    for seconds in took_s:
        measure("netns.narrow", seconds)
    assert set(kinds) == {"slow"}
    assert max(took_s) <= 1.0 + lag_s


def lossy(ground, address, chain, way, share):
    words = ("-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP")
    return ground.lab.rule(chain, way, address, *words)


@scenario(at_s=0)
def loss_5(ground):
    address = ground.address()
    feeds = ground.client.open("loss_5", [address], count=5)
    feeds.settle()
    rules = [lossy(ground, address, *way, 0.05) for way in (("INPUT", "-s"), ("OUTPUT", "-d"))]
    time.sleep(LOSS_S)
    alarms = feeds.notices(*ALARMS)
    hits = [rule.lift() for rule in rules]
    feeds.close()
    return alarms, hits


@of("loss_5")
def test_five_in_a_hundred_packets_lost_raise_no_alarm(outcome, measure):
    alarms, hits = outcome
    print(f"5 % for {LOSS_S:.0f} s, five feeds: {hits} packets lost, {len(alarms)} alarms")
    measure("netns.loss_5.seconds", LOSS_S)
    measure("netns.loss_5.packets", sum(hits))
    measure("netns.loss_5.alarms", len(alarms))
    assert min(hits) > LOSS_S / 2, "packets were lost both ways"
    assert not alarms


def judged(ground, name, port, addresses, during):
    """Follow a venue that writes its log over two lines; return the verdict and more."""
    truth, events = ground.truth(port), ground.folder / f"{name}.events"
    venue = ground.ready(port)
    feeds = ground.client.open(name, addresses, port=port, count=1, lines=2, keep=str(events))
    feeds.settle()
    strikes = during(feeds)
    time.sleep(3.0)
    (closed,) = feeds.close()
    venue.kill(signal.SIGTERM)
    assert venue.end() == 0
    with truth.open() as venues, events.open() as ours:
        verdict = check([*map(json.loads, venues), *strikes], map(json.loads, ours), lines=2)
    return verdict, closed, feeds


@scenario(at_s=0)
def loss_20(ground):
    addresses = [ground.address(), ground.address()]
    hits = []

    def during(_):
        rules = [lossy(ground, address, "INPUT", "-s", 0.2) for address in addresses]
        time.sleep(LOSS_S)
        hits.extend(rule.lift() for rule in rules)
        return []

    verdict, closed, feeds = judged(ground, "loss_20", LOSSY, addresses, during)
    return verdict, closed, hits, feeds.notices("ended", "stalled")


@of("loss_20")
def test_one_in_five_packets_lost_on_both_lines_costs_nothing(outcome, measure):
    verdict, closed, hits, ended = outcome
    print(f"20 % for {LOSS_S:.0f} s: {hits} packets lost, {closed}, {len(ended)} ends")
    print(verdict.as_dict())
    measure("netns.loss_20.seconds", LOSS_S)
    measure("netns.loss_20.packets", sum(hits))
    measure("netns.loss_20.dials", closed["dials"] - 2)
    measure("netns.loss_20.lost", len(verdict.losses))
    measure("netns.loss_20.repeated", verdict.total("duplicated") + verdict.total("misordered"))
    assert min(hits) > LOSS_S / 2, "packets were lost on both lines"
    assert closed["duplicates"] > 100, "both lines have worked"
    assert verdict.kept
    assert not verdict.losses


@scenario(at_s=12)
def one_of_two(ground):
    """Break one line of two in three ways, one after the other."""
    addresses = [ground.address(), ground.address()]
    proof = []

    def struck(name, began_ns):
        record = {"type": "strike", "name": name, "line": "a", "happened": 1}
        return record | {"at_ns": began_ns, "until_ns": time.time_ns()}

    def during(feeds):
        strikes = []
        for name in ("blackhole", "reset", "lossy"):
            began_ns, mono_ns = time.time_ns(), time.monotonic_ns()
            if name == "reset":
                proof.append(ground.lab.reset_sockets_to(addresses[0]))
            elif name == "lossy":
                rule = lossy(ground, addresses[0], "INPUT", "-s", 0.3)
                time.sleep(4.0)
                proof.append(rule.lift())
            else:
                break_, mend = firewall(ground, INWARD, OUTWARD)
                broken = break_(addresses[0])
                feeds.noticed(mono_ns)
                proof.append(sum(mend(broken)))
            strikes.append(struck(name, began_ns))
            time.sleep(4.0)
        return strikes

    verdict, closed, _ = judged(ground, "one_of_two", TWO, addresses, during)
    return verdict, closed, proof


@of("one_of_two")
def test_one_of_two_lines_broken_costs_nothing(outcome, measure):
    verdict, closed, proof = outcome
    print(f"one of two lines: {proof}, {closed}")
    print(verdict.as_dict())
    assert min(proof) >= 1, "each fault happened"
    assert closed["dials"] >= 4
    repeated = verdict.total("duplicated") + verdict.total("misordered")
    calm_ns, struck_ns = (
        delay.percentile_ns(0.99) for delay in (verdict.delay_calm, verdict.delay_struck)
    )
    print(f"delay p99 {calm_ns / 1e6:.2f} ms calm, {struck_ns / 1e6:.2f} ms while struck")
    measure("netns.one_of_two.lost", len(verdict.losses))
    measure("netns.one_of_two.repeated", repeated)
    measure("netns.one_of_two.added_ms", (struck_ns - calm_ns) / 1e6)
    assert verdict.kept
    assert not verdict.losses


# -- ourselves ------------------------------------------------------------------------------------


@scenario(at_s=5)
def ourselves(ground):
    """Stop the client for three seconds, and then keep its loop busy for two."""
    address = ground.address()
    client = ground.other
    feeds = client.open("ourselves", [address])
    feeds.settle()
    child = client.program.child.pid
    client.program.kill(signal.SIGSTOP)
    time.sleep(3.0)
    state = Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2][0]
    client.program.kill(signal.SIGCONT)
    time.sleep(4.0)
    client.tell(do="block", seconds=2)
    time.sleep(6.0)
    stalls, alarms = feeds.notices("own-stall"), feeds.notices(*ALARMS)
    (dials,) = {each["dials"] for each in feeds.close()}
    return state, stalls, alarms, dials


@of("ourselves")
def test_our_own_stalls_are_blamed_on_nobody(outcome, measure):
    state, stalls, alarms, dials = outcome
    print(f"{len(stalls)} stalls told, {len(alarms)} alarms, {dials} dial each")
    assert state == "T"
    told_s = sorted(float(stall["cause"].split()[5]) for stall in stalls)
    assert len(told_s) == 2 * EACH
    assert 1.7 <= told_s[0] <= 2.3
    assert 2.7 <= told_s[-1] <= 3.3
    measure("netns.ourselves.alarms", len(alarms))
    assert not alarms
    assert dials == 1
