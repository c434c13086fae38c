"""A plan knows where each line dials, and within which limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gapless.planning import Options, assemble, bbo, trades


def plan(*subscriptions, venue="binance.usdm", **options):
    return assemble(venue, subscriptions, Options(**options))


def test_a_line_dials_the_path_that_serves_its_topics():
    made = plan(bbo("BTCUSDT"), trades("BTCUSDT"))
    placed = made.placement()
    urls = {line: made.url(placed.paths[line], 0) for line in placed.lines}
    assert sorted(urls.values()) == [
        "wss://fstream.binance.com/market/stream",
        "wss://fstream.binance.com/public/stream",
    ]


def test_an_endpoint_of_our_own_keeps_its_host_and_gets_the_path():
    made = plan(trades("BTCUSDT"), endpoints=("ws://127.0.0.1:9",))
    placed = made.placement()
    (line,) = placed.lines
    assert made.url(placed.paths[line], 0) == "ws://127.0.0.1:9/market/stream"


def test_the_placement_is_fresh_for_every_feed():
    made = plan(trades("BTCUSDT"))
    made.placement().place("another", "/public/stream")
    assert [topic for topics in made.placement().lines.values() for topic in topics] == list(
        made.specs
    )


def test_the_placement_keeps_the_venues_limit_on_topics():
    made = plan(trades("BTCUSDT"))
    most = made.profile.topics_per_connection.value
    placed = made.placement()
    (path,) = placed.paths.values()
    for number in range(most):
        placed.place(f"t{number}", path)
    assert max(len(topics) for topics in placed.lines.values()) == most


def test_a_plan_cannot_be_changed_and_shows_no_login():
    made = plan(trades("BTCUSDT"))
    with pytest.raises(AttributeError):
        made.lifetime_ns = 1

    def login():
        raise AssertionError("nobody logs in here")

    assert repr(login) not in repr(replace(made, login=login))
