"""The driver: frames in, events and effects out."""

from __future__ import annotations

import asyncio

import pytest

from gapless.core.budget import Budget
from gapless.core.codec import Ack, Bundle, Granted, Heartbeat, Refusal, Request, Stray
from gapless.core.counter import ConnectionCounter
from gapless.core.lifecycle import Phase
from gapless.core.liveness import PathPolicy
from gapless.core.sequence import Numbering
from gapless.core.sequenced import SequencedStream
from gapless.core.session import Session, SessionTerms, Timing
from gapless.core.stream import Moment, TopicSpec
from gapless.errors import ConnectionLost, DecodeError, MessagesLost, ProtocolViolation, Stalled
from gapless.events import Origin, Trade
from gapless.io.driver import Driver
from gapless.testing import VirtualClock, run

SECOND = 1_000_000_000
ORIGIN = Origin("toy", "trades", "X", "t", "a", 7)
TRADE = Trade(ORIGIN, 1, 1, None, 1, 1, "1", 1.0, 1.0, "buy")


class Codec:
    """``data N`` is a trade, ``ack N`` an answer, ``beat`` wants a reply.

    ``both N`` is an answer and a trade.  ``#N`` before any of it is the connection's own number.
    """

    def setup(self, next_id):
        return []

    def subscribe(self, request_id, topics):
        return [Request(request_id, "subscribe", f"subscribe {request_id}", topics)]

    def unsubscribe(self, request_id, topics):
        return [Request(request_id, "unsubscribe", f"unsubscribe {request_id}", topics)]

    def once_live(self, request_id):
        return None

    def number(self, text):
        head = text.partition(" ")[0]
        if head == "#?":
            raise DecodeError("what number is that?")
        return int(head[1:]) if head.startswith("#") else None

    def read(self, text, recv_ns, mono_ns):
        if text.startswith("#"):
            text = text.partition(" ")[2]
        word, _, number = text.partition(" ")
        if word in {"data", "both"}:
            n = int(number)
            trade = Trade(ORIGIN, recv_ns, mono_ns, None, n, n, number, 1.0, 1.0, "buy")
            return [trade] if word == "data" else Bundle((Granted(("t",)),), (trade,))
        if word == "ack":
            return Ack(int(number))
        if word == "limited":
            return Bundle((Refusal(None, 429, "too many", limited=True),), (TRADE,))
        if word == "beat":
            return Heartbeat(Request(0, "heartbeat", "alive"))
        if word == "stray":
            return Stray("nobody asked")
        raise DecodeError(f"what is {word}?")


class Wire:
    def __init__(self):
        self.log = []

    def send_text(self, text):
        self.log.append(text)

    def ping(self, payload=b""):
        self.log.append("ping")

    def close(self, code=1000, reason=""):
        self.log.append(f"close {code}")

    def abort(self):
        self.log.append("abort")


class Overseer:
    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda driver, *said: self.told.append((name, *said))

    def kinds(self):
        return [entry[0] for entry in self.told]


def drive(test, *, timing=None, counter=None):
    """Run ``await test(driver, wire, overseer, events, clock)`` in virtual time."""
    clock = VirtualClock()

    async def main():
        events = []
        spec = TopicSpec("toy", "trades", "X", "t", Numbering.DENSE)
        streams = {"t": SequencedStream(spec, events.append, lambda need: None)}
        codec = Codec()
        terms = SessionTerms(messages=Budget(), pools={})
        session = Session(codec, ["t"], timing or Timing(), terms, PathPolicy(), "ws://toy")
        overseer, wire = Overseer(), Wire()
        origins = {"t": ORIGIN}
        driver = Driver("a", 7, session, codec, origins, streams, clock, overseer, counter)
        driver.dial(clock.mono_ns())
        await test(driver, wire, overseer, events, clock)
        if not driver.over:
            driver.on_closed(ConnectionLost())

    run(main(), clock)


def test_data_goes_to_its_stream_and_counts():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("ack 1", clock.mono_ns())
        for number in (1, 2):
            driver.on_text(f"data {number}", clock.mono_ns() + number)
        assert [event.id for event in events] == ["1", "2"]
        assert events[1].mono_ns == clock.mono_ns() + 2
        assert events[1].recv_ns == clock.wall_ns() + 2
        assert driver.frames == 2
        assert driver.data_ns == driver.session.heard_ns == clock.mono_ns() + 2

    drive(main)


def test_control_goes_to_the_session_and_its_effects_are_carried_out():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        assert wire.log == ["subscribe 1"]
        driver.on_text("ack 1", clock.mono_ns())
        assert overseer.told == [("confirmed", ("t",)), ("live",)]
        driver.on_text("beat", clock.mono_ns())
        assert wire.log[-1] == "alive"
        driver.on_text("stray", clock.mono_ns())
        assert driver.strays == 1
        assert driver.frames == 0  # none of this is data

    drive(main)


def test_what_cannot_be_read_is_reported_with_its_text_and_ends_nothing():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("ack 1", clock.mono_ns())
        driver.on_text("gibberish", clock.mono_ns())
        driver.on_binary(b"\0\1", clock.mono_ns())
        (_, first, text), (_, second, no_text) = overseer.told[2:]
        assert isinstance(first, DecodeError)
        assert text == "gibberish"
        assert "binary message of 2 bytes" in str(second)
        assert no_text == ""
        assert driver.session.phase is Phase.LIVE

    drive(main)


@pytest.mark.parametrize("how", ["retire", "abort"])
def test_frames_that_cross_our_close_are_of_no_epoch(how):
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("ack 1", clock.mono_ns())
        if how == "retire":
            driver.retire(clock.mono_ns(), drain=False)
        else:
            driver.abort(ConnectionLost(), clock.mono_ns())
        assert wire.log[-1] == ("close 1000" if how == "retire" else "abort")
        driver.on_text("data 1", clock.mono_ns())
        driver.on_text("gibberish", clock.mono_ns())
        assert events == []
        assert "violation" not in overseer.kinds()

    drive(main)


def test_a_retired_session_drains_first():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("ack 1", clock.mono_ns())
        driver.retire(clock.mono_ns(), drain=True)
        driver.on_text("data 1", clock.mono_ns())
        assert len(events) == 1
        await asyncio.sleep(0.499)
        assert "close 1000" not in wire.log
        await asyncio.sleep(0.002)
        assert wire.log[-1] == "close 1000"
        driver.on_closed(ConnectionLost(1000))
        (ended,) = [entry[1] for entry in overseer.told if entry[0] == "ended"]
        assert ended.cause is None
        assert ended.was_live

    drive(main)


def test_one_alarm_pings_a_quiet_path_and_gives_up_a_dead_one():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("ack 1", clock.mono_ns())
        await asyncio.sleep(0.999)
        assert "ping" not in wire.log
        await asyncio.sleep(0.002)
        assert wire.log[-1] == "ping"
        driver.on_pong(b"", clock.mono_ns())
        assert driver.session.heard_ns == clock.mono_ns()
        await asyncio.sleep(2.01)  # twice as patient now
        assert wire.log.count("ping") == 2
        await asyncio.sleep(1.01)
        assert wire.log[-1] == "abort"
        driver.on_closed(ConnectionLost())
        (ended,) = [entry[1] for entry in overseer.told if entry[0] == "ended"]
        assert isinstance(ended.cause, Stalled)

    drive(main)


def test_frames_keep_a_path_alive_without_touching_the_alarm():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("ack 1", clock.mono_ns())
        alarm = driver._alarm
        for number in range(1, 30):
            driver.on_text(f"data {number}", clock.mono_ns())
            assert driver._alarm is alarm or number > 9
            await asyncio.sleep(0.1)
        assert "ping" not in wire.log
        driver.on_ping(clock.mono_ns())
        assert driver.session.heard_ns == clock.mono_ns()

    drive(main)


def test_a_transport_that_opens_after_the_session_was_retired_is_aborted():
    async def main(driver, wire, overseer, events, clock):
        driver.retire(clock.mono_ns(), drain=True)
        driver.opened(wire)
        assert wire.log == ["abort"]
        driver.on_closed(ConnectionLost())
        assert driver.over
        assert overseer.kinds() == ["ended"]

    drive(main)


def test_a_failed_dial_ends_the_session_with_its_cause():
    async def main(driver, wire, overseer, events, clock):
        error = RuntimeError("boom")
        driver.on_closed(error)
        assert overseer.told[0][1].cause is error
        assert driver._alarm is None

    drive(main)


def test_a_topic_is_subscribed_anew_on_request():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("ack 1", clock.mono_ns())
        driver.resubscribe("t", clock.mono_ns())
        assert wire.log == ["subscribe 1", "unsubscribe 2", "subscribe 3"]

    drive(main)


# -- a frame that is answer and data --------------------------------------------------------------


def test_a_frame_may_bring_data_with_its_answer():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("both 1", clock.mono_ns() + 5)
        assert overseer.told == [("confirmed", ("t",)), ("live",)]
        assert [event.id for event in events] == ["1"]
        assert (driver.frames, driver.data_ns) == (1, clock.mono_ns() + 5)

    drive(main)


def test_data_that_comes_with_the_end_of_the_session_is_of_no_epoch():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("ack 1", clock.mono_ns())
        driver.on_text("limited", clock.mono_ns())
        assert wire.log[-1] == "abort"
        assert events == []
        assert driver.frames == 0

    drive(main)


# -- a connection that is counted -----------------------------------------------------------------


def test_a_hole_in_the_connection_s_numbers_ends_it_before_anything_behind_it():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        start_ns = clock.mono_ns()
        for after_ns, text in ((1, "#1 ack 1"), (2, "#2 data 1"), (3, "beat"), (9, "#5 data 2")):
            driver.on_text(text, start_ns + after_ns)
        assert [event.id for event in events] == ["1"]
        assert wire.log[-1] == "abort"
        assert driver.covered_ns == start_ns + 2  # the beat has no number, and proves nothing
        driver.on_text("#6 data 3", start_ns + 10)
        driver.on_text("#9 data 4", start_ns + 11)
        driver.on_text("#? data 5", start_ns + 12)
        assert len(events) == 1
        assert driver.covered_ns == start_ns + 2
        assert "violation" not in overseer.kinds()
        driver.on_closed(ConnectionLost())
        (ended,) = [entry[1] for entry in overseer.told if entry[0] == "ended"]
        assert isinstance(ended.cause, MessagesLost)
        assert (ended.cause.first, ended.cause.last) == (3, 4)

    drive(main, counter=ConnectionCounter())


def test_numbers_that_begin_anew_on_one_connection_end_it_too():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        start_ns = clock.mono_ns()
        for after_ns, text in ((1, "#8 ack 1"), (2, "#9 data 1"), (3, "#0 data 2")):
            driver.on_text(text, start_ns + after_ns)
        assert [event.id for event in events] == ["1"]
        assert wire.log[-1] == "abort"
        assert driver.covered_ns == start_ns + 2
        assert "violation" not in overseer.kinds()
        driver.on_closed(ConnectionLost())
        (ended,) = [entry[1] for entry in overseer.told if entry[0] == "ended"]
        assert isinstance(ended.cause, ProtocolViolation)

    drive(main, counter=ConnectionCounter())


def test_a_pong_after_the_loss_does_not_cover_it():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        start_ns = clock.mono_ns()
        driver.on_text("#1 ack 1", start_ns + 1)
        driver.on_pong(b"", start_ns + 8)
        driver.on_text("#3 data 1", start_ns + 9)
        assert driver.covered_ns == start_ns + 1

    drive(main, counter=ConnectionCounter())


def test_numbers_without_a_hole_disturb_nobody():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        for number, text in enumerate(("ack 1", "beat", "data 1", "stray", "data 2")):
            driver.on_text(f"#{number} {text}", clock.mono_ns())
        driver.on_text("#4 data 3", clock.mono_ns())  # a number again
        assert [event.id for event in events] == ["1", "2", "3"]
        assert driver.covered_ns is None

    drive(main, counter=ConnectionCounter())


def test_a_frame_in_order_clears_a_session_that_was_suspected_and_a_repeat_does_not():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        start_ns = clock.mono_ns()
        driver.on_text("#1 ack 1", start_ns + 1)
        driver.on_text("#2 data 1", start_ns + 2)
        stream = driver._streams["t"]
        stream.suspect(7, "silent", Moment(start_ns + 500, clock.wall_ns()))
        driver.doubt("t")
        driver.on_text("#2 beat", start_ns + 600)
        assert stream.blind
        driver.on_text("#3 beat", start_ns + 700)
        assert not stream.blind
        assert (events[-1].by, events[-1].blind_ns) == ("ids", 698)
        driver.on_text("#4 data 2", start_ns + 800)
        assert [type(event).__name__ for event in events] == ["Trade", "Resynced", "Trade"]

    drive(main, counter=ConnectionCounter())


def test_a_number_that_cannot_be_read_is_reported():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("#? data 1", clock.mono_ns())
        assert overseer.kinds() == ["violation"]
        assert events == []

    drive(main, counter=ConnectionCounter())


def test_a_hole_in_what_crosses_a_planned_close_is_no_loss():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("#1 ack 1", clock.mono_ns())
        driver.retire(clock.mono_ns(), drain=False)
        driver.on_text("#5 data 1", clock.mono_ns())
        driver.on_closed(ConnectionLost(1000))
        (ended,) = [entry[1] for entry in overseer.told if entry[0] == "ended"]
        assert ended.cause is None
        assert driver.covered_ns is None

    drive(main, counter=ConnectionCounter())


def test_a_dialect_without_numbers_is_never_asked_for_them():
    async def main(driver, wire, overseer, events, clock):
        driver.opened(wire)
        driver.on_text("#1 ack 1", clock.mono_ns())
        driver.on_text("#9 data 1", clock.mono_ns())
        assert len(events) == 1

    drive(main)
