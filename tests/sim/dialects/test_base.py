"""What all dialects share: topics, batches, nodes, the truth log."""

from __future__ import annotations

import pytest
from tests.sim.wires import MS, SECOND, T0, dial

from gapless.sim.build import simulate
from gapless.sim.dialects import DIALECTS
from gapless.sim.dialects._base import RestReply, SimOptions
from gapless.sim.truth import MemoryTruth

PATHS = {"deribit": "/ws/api/v2", "binance.spot": "/stream"}
both = pytest.mark.parametrize("venue", sorted(PATHS))


def make(venue, truth=None, **options):
    exchange = simulate(venue, seed=2, rate_per_s=100.0, truth=truth, options=SimOptions(**options))
    exchange.advance(T0)
    return exchange


def depth_topic(exchange):
    symbol = exchange.dialect.usual_symbols[0]
    return next(name for name in exchange.dialect.default_topics(symbol) if "100ms" in name)


def test_the_defaults_are_the_venue_as_documented():
    options = SimOptions()
    assert options.limits
    assert (options.lifetime_s, options.snapshot_stale_ms, options.nodes) == (None, 0, 1)
    assert RestReply(200, {}, "").hang is False


@both
def test_every_dialect_says_who_it_is(venue):
    dialect = DIALECTS[venue]()
    assert dialect.venue == venue
    assert len(dialect.default_topics("X")) == 4  # trades, book, bbo, ticker
    assert [spec.name for spec in dialect.specs(["AAA", "BBB"])] == ["AAA", "BBB"]
    assert dialect.specs(["MADE-UP"]) == dialect.specs(["MADE-UP"])


@both
def test_all_sessions_of_a_topic_get_the_same_message(venue):
    exchange = make(venue)
    one, two = dial(exchange, PATHS[venue]), dial(exchange, PATHS[venue])
    name = exchange.dialect.default_topics(exchange.dialect.usual_symbols[0])[0]
    for session, _ in (one, two):
        exchange.dialect.subscribe(session, name, T0)
    exchange.advance(T0 + 20 * SECOND)
    assert one[1].of("text")
    assert one[1].of("text") == two[1].of("text")


@both
def test_batches_leave_at_multiples_of_their_interval_shifted_by_node(venue):
    truth = MemoryTruth()
    exchange = make(venue, truth, nodes=4)
    sessions = [dial(exchange, PATHS[venue])[0] for _ in range(4)]
    name = depth_topic(exchange)
    for session in sessions:
        exchange.dialect.subscribe(session, name, T0)
    exchange.advance(T0 + 10 * SECOND)
    phases = {
        session.id: {r["ns"] % (100 * MS) for r in truth.of("sent", session=session.id) if r["n"]}
        for session in sessions
    }
    assert sorted(next(iter(phase)) for phase in phases.values()) == [0, 25 * MS, 50 * MS, 75 * MS]
    assert all(len(phase) == 1 for phase in phases.values())


@both
def test_the_log_is_one_nodes_whoever_is_connected(venue):
    alone, watched = MemoryTruth(), MemoryTruth()
    make(venue, alone, nodes=2).advance(T0 + 10 * SECOND)
    exchange = make(venue, watched, nodes=2)
    for _ in range(2):
        exchange.dialect.subscribe(dial(exchange, PATHS[venue])[0], depth_topic(exchange), T0)
    exchange.advance(T0 + 10 * SECOND)
    assert watched.of("world") == alone.of("world")
    assert len(alone.of("world")) > 100


@both
def test_settling_says_what_has_gathered(venue):
    truth = MemoryTruth()
    exchange = make(venue, truth)
    exchange.advance(T0 + SECOND + 57 * MS)  # in the middle of a batch
    before = len(truth.of("world", channel="book"))
    exchange.dialect.settle(T0 + SECOND + 57 * MS)
    after = truth.of("world", channel="book")
    assert len(after) > before
    exchange.dialect.settle(T0 + SECOND + 57 * MS)
    assert len(truth.of("world", channel="book")) == len(after)


@both
def test_dropping_a_session_ends_all_its_topics(venue):
    exchange = make(venue)
    session, wire = dial(exchange, PATHS[venue])
    for name in exchange.dialect.default_topics(exchange.dialect.usual_symbols[0]):
        assert exchange.dialect.subscribe(session, name, T0) is not None
    exchange.dialect.drop(session)
    assert not session.topics
    said = len(wire.of("text"))
    exchange.advance(T0 + 10 * SECOND)
    assert len(wire.of("text")) == said
