"""What a tap is told, by a whole client against a simulated venue, in virtual time."""

from __future__ import annotations

import asyncio

import gapless
from gapless.client import Feed
from gapless.core.budget import Budget
from gapless.core.codec import Request
from gapless.core.liveness import PathPolicy
from gapless.core.session import Session, SessionTerms, Timing
from gapless.errors import ConnectionLost
from gapless.io.driver import Driver
from gapless.io.runtime import Runtime
from gapless.planning import Options, Subscription, assemble
from gapless.sim.build import simulate
from gapless.sim.faults import Fault
from gapless.testing.clock import VirtualClock, run
from gapless.testing.memory import MemoryConnector, MemoryNetwork
from gapless.testing.venue import MemoryVenue

ADDRESS = "venue.test:443"


class Heard:
    """A tap that keeps everything."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def __getattr__(self, name):
        return lambda *told: self.calls.append((name, *told))

    def of(self, name):
        return [told for called, *told in self.calls if called == name]


def run_feed(tap, *, then=None, seconds=3.0):
    """Run a feed for a while; return its events."""

    async def main(clock):
        exchange = simulate("deribit", rate_per_s=50, seed=4)
        network = MemoryNetwork(clock, seed=4)
        venue = MemoryVenue(exchange, network, ADDRESS, clock)
        runtime = Runtime(clock, MemoryConnector(network), venue.rest, tap)
        options = Options(endpoints=(venue.ws_url,), seed=4, runtime=runtime)
        plan = assemble("deribit", [Subscription("book", ("BTC-PERPETUAL",))], options)
        events = []
        async with Feed[object](plan, options) as feed:
            await asyncio.sleep(1)
            if then is not None:
                then(exchange, clock.wall_ns())
            await asyncio.sleep(seconds)
            while (event := feed.take()) is not None:
                events.append(event)
        venue.close()
        return events

    clock = VirtualClock()
    return run(main(clock), clock)


def test_a_tap_hears_every_message_before_anything_is_made_of_it():
    tap = Heard()
    events = run_feed(tap)
    names = [call[0] for call in tap.calls]
    assert names[0] == "opened"
    assert names[-1] == "closed"
    assert tap.of("opened")[0][:2] == ["a.1", f"ws://{ADDRESS}/ws/api/v2"]
    assert {conn for conn, *_ in tap.of("received")} == {"a.1"}
    data = [text for _, text, *_ in tap.of("received") if '"subscription"' in text]
    assert len(data) == len(events) > 10
    assert any('"public/subscribe"' in text for _, text, *_ in tap.of("sent"))
    books = [e for e in events if isinstance(e, gapless.BookDelta | gapless.BookSnapshot)]
    times = [(mono_ns, wall_ns) for _, text, mono_ns, wall_ns in tap.of("received")
             if '"subscription"' in text]  # fmt: skip
    assert [(e.mono_ns, e.recv_ns) for e in books] == times


def test_a_planned_end_is_told_from_a_loss():
    tap = Heard()
    run_feed(tap)
    [(_, reason, *_)] = tap.of("closed")
    assert reason == "planned"
    tap = Heard()
    run_feed(tap, then=lambda exchange, ns: exchange.inject(Fault(name="close", code=1012), ns))
    reasons = {conn: reason for conn, reason, *_ in tap.of("closed")}
    assert reasons["a.1"].startswith("ConnectionLost: closed with 1012")
    assert reasons["a.2"] == "planned"
    assert [conn for conn, *_ in tap.of("opened")] == ["a.1", "a.2"]


def test_a_dial_that_fails_is_told_too():
    tap = Heard()
    run_feed(
        tap,
        then=lambda exchange, ns: exchange.inject(Fault(name="outage", for_s=1.0), ns),
        seconds=6,
    )
    failed = [reason for _, reason, *_ in tap.of("closed") if reason.startswith("DialFailed")]
    assert failed
    assert len(tap.of("opened")) + len(failed) == len(tap.of("closed"))


def test_a_feed_without_a_tap_does_the_same():
    assert run_feed(None) == run_feed(Heard())


class Secretive:
    """A codec whose first request holds a secret."""

    def setup(self, next_id):
        return [Request(next_id, "setup", "login secret-canary", shown="login <redacted>")]

    def subscribe(self, next_id, topics):
        return []

    def once_live(self, request_id):
        return None

    def read(self, text, recv_ns, mono_ns):
        raise AssertionError(text)


class Wire:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send_text(self, text):
        self.sent.append(text)

    def __getattr__(self, name):
        return lambda *_: None


def test_a_secret_is_told_only_as_what_may_be_shown():
    tap, wire, clock = Heard(), Wire(), VirtualClock()

    async def main():
        terms = SessionTerms(messages=Budget(), pools={})
        codec = Secretive()
        session = Session(codec, [], Timing(), terms, PathPolicy(), "ws://toy")
        driver = Driver("a", 7, session, codec, {}, {}, clock, Heard(), tap=tap)
        driver.dial(clock.mono_ns())
        driver.opened(wire, "ws://toy")
        driver.on_binary(b"\xff", clock.mono_ns())
        driver.on_closed(ConnectionLost(1008, "no"))

    run(main(), clock)
    assert wire.sent == ["login secret-canary"]
    assert [text for _, text, *_ in tap.of("sent")] == ["login <redacted>"]
    assert "canary" not in str(tap.calls)
    assert [payload for _, payload, *_ in tap.of("received_binary")] == [b"\xff"]
