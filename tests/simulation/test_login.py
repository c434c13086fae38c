"""Logging in to read, with the whole client, in virtual time, at a venue that checks it."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import itertools
import json
import traceback
from dataclasses import replace
from types import FunctionType, MethodType, ModuleType

import pytest
from tests.simulation.stage import SECOND, Consumer, notices, play

from gapless.cli.ndjson import event_line, notice_line, summary_line
from gapless.client import Feed
from gapless.core.secrets import HIDDEN
from gapless.errors import ConfigError, LoginRejected
from gapless.events import Trade
from gapless.io.tap import Tap
from gapless.planning import Budgets, Options, assemble, trades
from gapless.testing import MemoryConnector, MemoryNetwork, MemoryVenue
from gapless.testing.clock import VirtualClock
from gapless.venues._registry import load

KEY, SECRET = "canary-key", "canary-secret"
CANARIES = (KEY, SECRET)
ADDRESS = "venue.test:443"
REFUSED, FINAL = 13009, 13004  # unauthorized, invalid_credentials: as the venue documents them


class Gate:
    """Stands before the simulated venue and checks who logs in, as the venue's document says."""

    def __init__(self, stage):
        self.stage = stage
        self.secret = SECRET
        self.attempts_ns = []
        self.admitted = 0
        self.answers = True
        self.code = REFUSED
        self.closes_with = None
        self.seen = set()
        stage.network.listen(ADDRESS, self.accept)

    def accept(self, wire, path, headers):
        return Keeper(self, wire, self.stage.venue._accept(wire, path, headers))

    def judge(self, params):
        """Return whether a login is good; the nonce must be new and the time within a minute."""
        self.attempts_ns.append(self.stage.clock.mono_ns())
        text = f"{params['timestamp']}\n{params['nonce']}\n{params['data']}"
        good = hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        fresh = abs(params["timestamp"] * 10**6 - self.stage.clock.wall_ns()) < 60 * SECOND
        new = params["nonce"] not in self.seen
        self.seen.add(params["nonce"])
        return params["client_id"] == KEY and params["signature"] == good and fresh and new


class Keeper:
    """One session at the gate."""

    def __init__(self, gate, wire, peer):
        self.gate, self.wire, self.peer = gate, wire, peer
        self.on_ping, self.on_pong = peer.on_ping, peer.on_pong
        self.on_close, self.on_lost = peer.on_close, peer.on_lost
        self.told = []

    def on_text(self, text):
        call = json.loads(text)
        self.told.append(call["method"])
        if call["method"] == "public/auth" and not self._lets_in(call):
            return
        if "subscribe" in call["method"]:
            assert "public/auth" in self.told, "subscribed before the login"
        self.peer.on_text(text)

    def _lets_in(self, call):
        gate = self.gate
        good = gate.judge(call["params"])
        if not gate.answers:
            return False
        if good:
            gate.admitted += 1
            return True
        if gate.closes_with is not None:
            self.wire.close(gate.closes_with, f"go away, {KEY}")
            return False
        error = {"code": gate.code, "message": f"who is {KEY}?"}
        self.wire.send_text(json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": error}))
        return False


class Recorder(Tap):
    """Keeps what a recorder would."""

    def __init__(self):
        self.texts = []

    def sent(self, conn, text, mono_ns, wall_ns):
        self.texts.append(text)

    def opened(self, conn, url, mono_ns, wall_ns):
        self.texts.append(url)

    def closed(self, conn, reason, mono_ns, wall_ns):
        self.texts.append(reason)

    received = sent

    def received_binary(self, *given):
        raise AssertionError("no venue here sends these")

    def answered(self, *given):
        raise AssertionError("nothing is asked over HTTP here")


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("VENUE_KEY", KEY)
    monkeypatch.setenv("VENUE_SECRET", SECRET)


def raw(stage, **options):
    wanted = trades(stage.symbols[0], variant="raw")
    return stage.feed(wanted, **{"credentials": "env:VENUE", **options})


def strings_of(*roots):
    """Return every text within reach of ``roots``, short of modules, code and the network."""
    seen, texts, queue = set(), [], list(roots)
    outside = (ModuleType, type, MemoryConnector, MemoryNetwork, MemoryVenue, VirtualClock)
    outside += (asyncio.AbstractEventLoop, asyncio.Task, Gate, Keeper, Recorder)
    while queue:
        thing = queue.pop()
        if id(thing) in seen or isinstance(thing, outside):
            continue
        seen.add(id(thing))
        if isinstance(thing, str | bytes):
            texts.append(thing if isinstance(thing, str) else thing.decode(errors="replace"))
        elif isinstance(thing, FunctionType):
            queue += [cell.cell_contents for cell in thing.__closure__ or ()]
        elif isinstance(thing, MethodType):
            queue += [thing.__self__, thing.__func__]
        else:
            queue += gc.get_referents(thing)
            queue += [
                getattr(thing, name)
                for kind in type(thing).__mro__
                for name in getattr(kind, "__slots__", ())
                if isinstance(name, str) and hasattr(thing, name)
            ]
    return texts


def assert_unseen(texts):
    found = [text for text in texts if any(canary in text for canary in CANARIES)]
    assert not found, found[:3]


async def read_to_its_end(feed):
    async with feed:
        async for _ in feed:
            pass


def printed(feed, consumer):
    """Everything that the command line would print."""
    lines = [notice_line(notice) for notice in feed.notices()]
    lines += [event_line(event) for event in consumer.events]
    lines.append(summary_line(feed.stats(), 0, 0))
    return [line.decode() for line in lines]


def test_a_private_channel_is_served_after_the_login_and_nothing_of_it_is_kept():
    async def main(stage):
        gate, tap = Gate(stage), Recorder()
        stage.runtime = replace(stage.runtime, tap=tap)
        async with raw(stage) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(30)
            assert gate.admitted == 1
            assert consumer.of(Trade)
            assert feed.stats().topics[0].trust == "live"
            assert any("public/auth" in text for text in tap.texts)
            assert_unseen(tap.texts)
            assert_unseen(printed(feed, consumer))
            conductor = feed._running()
            (driver,) = conductor.drivers.values()
            held = strings_of(feed, conductor, driver, driver.session, feed.notices())
            assert len(held) > 100
            assert_unseen(held)
            assert_unseen([repr(feed._options), repr(feed._plan), repr(driver.session)])
            await consumer.stop()

    play(main, rate=100.0)


def test_each_session_logs_in_anew_with_what_is_there_then(monkeypatch):
    async def main(stage):
        gate = Gate(stage)
        async with raw(stage) as feed:
            consumer = Consumer(feed)
            await asyncio.sleep(10)
            gate.secret = "another"
            monkeypatch.setenv("VENUE_SECRET", "another")
            stage.inject("reset")
            await asyncio.sleep(10)
            assert gate.admitted == 2
            assert feed.stats().sessions == 2
            await consumer.stop()

    play(main, rate=100.0)


@pytest.mark.parametrize("closes_with", [None, 4001, 1000])
def test_a_refused_login_is_told_at_once_and_tried_again_slowly(monkeypatch, closes_with):
    monkeypatch.setenv("VENUE_SECRET", "canary-wrong")

    async def main(stage):
        gate, tap = Gate(stage), Recorder()
        stage.runtime = replace(stage.runtime, tap=tap)
        gate.closes_with = closes_with
        async with raw(stage) as feed:
            consumer = Consumer(feed)
            await stage.until(lambda: notices(feed, "ended"), 2.0)
            (notice,) = notices(feed, "ended")
            assert notice.cause.startswith("LoginRejected: login refused: code ")
            await asyncio.sleep(2 * 3600)
            waits_s = [(b - a) / SECOND for a, b in itertools.pairwise(gate.attempts_ns)]
            assert 30 <= waits_s[0] <= 34
            assert 120 <= waits_s[1] <= 133
            assert all(600 <= wait_s <= 661 for wait_s in waits_s[2:])
            assert len(waits_s) > 10
            assert_unseen(printed(feed, consumer))
            assert_unseen(strings_of(feed, feed._running(), feed.stats(), feed.notices()))
            assert_unseen(tap.texts)
            assert sum(HIDDEN in text for text in tap.texts) >= len(waits_s)
            monkeypatch.setenv("VENUE_SECRET", SECRET)
            await asyncio.sleep(700)
            assert gate.admitted
            assert consumer.of(Trade)
            await consumer.stop()

    play(main, rate=1.0)


def test_a_refused_login_keeps_no_other_feed_from_dialling(monkeypatch):
    monkeypatch.setenv("VENUE_SECRET", "canary-wrong")

    async def main(stage):
        Gate(stage)
        budgets = Budgets()
        async with raw(stage, budgets=budgets) as private:
            await stage.until(lambda: notices(private, "ended"), 2.0)
            budget = budgets.of(load("deribit")).dials
            assert not budget.wait_ns(stage.clock.mono_ns())

    play(main)


def test_a_refusal_that_is_final_ends_the_feed_and_no_traceback_shows_a_secret():
    async def main(stage):
        gate = Gate(stage)
        gate.secret, gate.code = "another", FINAL
        options = stage.options(credentials="env:VENUE")
        plan = assemble("deribit", (trades(stage.symbols[0], variant="raw"),), options)
        feed = Feed(plan, options)
        with pytest.raises(LoginRejected) as caught:
            await read_to_its_end(feed)
        error = caught.value
        assert (error.code, error.permanent) == (FINAL, True)
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        ours = [frame for frame in told.stack if "/gapless/" in frame.filename]
        assert ours
        assert_unseen(str(frame.locals) for frame in ours)
        assert_unseen([str(error), repr(error), str(error.__dict__), traceback.format_exc()])
        (notice,) = notices(feed, "halted")
        assert notice.evidence == "the venue calls it final"
        assert len(gate.attempts_ns) == 1

    play(main)


def test_a_login_that_is_never_answered_ends_the_session():
    async def main(stage):
        gate = Gate(stage)
        gate.answers = False
        async with raw(stage) as feed:
            await stage.until(lambda: notices(feed, "ended"), 15.0)
            (notice,) = notices(feed, "ended")
            assert "login failed: no answer within 10 s" in notice.cause

    play(main)


def test_a_key_that_cannot_be_read_at_a_redial_is_a_refused_login(monkeypatch):
    async def main(stage):
        gate = Gate(stage)
        async with raw(stage) as feed:
            await asyncio.sleep(10)
            monkeypatch.delenv("VENUE_SECRET")
            opened = len(stage.opened())
            stage.inject("reset")
            await asyncio.sleep(25)
            assert len(stage.opened()) == opened  # not even dialled
            ended = notices(feed, "ended")[-1]
            assert "LoginRejected" in ended.cause
            assert "_SECRET is not in the environment" in ended.cause
            monkeypatch.setenv("VENUE_SECRET", SECRET)
            await asyncio.sleep(15)
            assert gate.admitted == 2

    play(main)


def test_no_login_is_sent_where_none_is_needed_unless_it_is_asked_for():
    async def main(stage):
        gate = Gate(stage)
        wanted = trades(stage.symbols[0])
        plan = assemble("deribit", (wanted,), stage.options(credentials="env:VENUE"))
        assert plan.login is None
        async with stage.feed(wanted, credentials="env:VENUE", login_always=True) as feed:
            await asyncio.sleep(5)
            assert gate.admitted == 1
            assert feed.stats().sessions == 1

    play(main)


def test_a_private_channel_without_a_key_is_refused_before_any_io():
    wanted = trades("BTC-PERPETUAL", variant="raw")
    with pytest.raises(ConfigError, match=r"trades\.raw of deribit needs a login.*--credentials"):
        assemble("deribit", (wanted,), Options())
