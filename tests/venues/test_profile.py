"""Every venue's declaration: where each fact was read and when, and what it refuses."""

from __future__ import annotations

from datetime import date
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.budget import Budget
from gapless.errors import UsageError
from gapless.venues._profile import UNREAD, Confidence, Fact, Profile
from gapless.venues._registry import load, names

PROFILES = [load(name) for name in names()]
FACTS = [
    pytest.param(fact, id=f"{profile.name}: {name}")
    for profile in PROFILES
    for name, fact in profile.facts()
]
every_venue = pytest.mark.parametrize("profile", PROFILES, ids=list(names()))


# -- facts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", FACTS)
def test_every_fact_has_a_source_a_date_and_a_confidence(fact):
    assert fact.source.strip()
    assert date(2026, 1, 1) <= date.fromisoformat(fact.as_of)
    assert len(fact.as_of) == 10
    assert fact.confidence in get_args(Confidence)


@pytest.mark.parametrize("fact", FACTS)
def test_nothing_is_unread(fact):
    assert fact.value != UNREAD
    assert UNREAD not in str(fact.value)


@every_venue
def test_the_facts_include_those_of_every_channel(profile):
    names = [name for name, _ in profile.facts()]
    assert len(names) == len(set(names))
    for channel in profile.channels:
        assert f"{channel.name}.numbering" in names
        assert f"{channel.name}.speaks_on_subscribe" in names
        assert (f"{channel.name}.snapshot" in names) == (channel.snapshot is not None)
    assert sum("." not in name for name in names) == sum(
        isinstance(getattr(profile, name), Fact) for name in Profile.__dataclass_fields__
    )


@every_venue
def test_endpoints_are_secure_and_have_the_path(profile):
    endpoints = profile.endpoints.value
    for url in (*endpoints.public, *endpoints.test):
        assert url.startswith("wss://")
        assert url.endswith(endpoints.path)
    assert all(url.startswith("https://") for url in profile.rest_endpoints.value)


@every_venue
def test_there_are_the_four_channels_and_traps_worth_knowing(profile):
    assert {channel.name for channel in profile.channels} == {"trades", "book", "bbo", "ticker"}
    assert profile.traps
    assert profile.name in names()


@every_venue
def test_only_books_have_snapshots(profile):
    for channel in profile.channels:
        assert (channel.snapshot is not None) == (channel.name == "book")


# -- budgets ------------------------------------------------------------------------------------


@every_venue
def test_budgets_are_fresh_for_each_address(profile):
    one, two = profile.budgets(), profile.budgets()
    assert one.dials is not two.dials
    assert set(one.pools) == set(profile.pools.value)
    for name, pool in one.pools.items():
        assert isinstance(pool, Budget)
        assert pool is not two.pools[name]


def test_the_dials_of_one_address_are_counted_as_the_venue_counts_them():
    dials = load("binance.spot").budgets().dials
    for _ in range(300):
        dials.spend(0)
    assert dials.wait_ns(0) == 300 * 10**9


# -- topics -------------------------------------------------------------------------------------


@every_venue
def test_every_variant_of_every_channel_has_a_topic(profile):
    for channel in profile.channels:
        topics = set()
        for variant in channel.topics:
            spec = profile.topic(f"{channel.name}.{variant}", "BTC-X")
            assert (spec.venue, spec.channel, spec.symbol) == (profile.name, channel.name, "BTC-X")
            assert "{" not in spec.topic
            topics.add(spec.topic)
        assert len(topics) == len(channel.topics)
        first = next(iter(channel.topics))
        assert profile.topic(channel.name, "X") == profile.topic(f"{channel.name}.{first}", "X")


@every_venue
def test_an_unknown_channel_is_answered_with_the_nearest(profile):
    with pytest.raises(UsageError, match=r"no channel 'boook'; did you mean book"):
        profile.topic("boook", "X")
    with pytest.raises(UsageError, match="did you mean trades"):
        profile.topic("trade", "X")


@every_venue
def test_an_unknown_variant_is_answered_with_the_nearest(profile):
    with pytest.raises(UsageError, match=r"no channel 'book\.10ms'; did you mean book\.100"):
        profile.topic("book.10ms", "X")


@every_venue
def test_a_word_unlike_any_is_answered_with_all_of_them(profile):
    with pytest.raises(UsageError, match="trades, book, bbo, ticker"):
        profile.topic("qqqqqqqq", "X")


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        " ",
        "BTC USDT",
        "X" * 65,
        'X"',
        "X\\",
        "X{symbol}",
        "X/Y",
        "X@depth",
        "X?y=1",
        "X&y",
        "X#",
        "X%20",
        "X.raw",
        "X\n",
        "X\x00",
        "X\x1b[2J",
        "X\ud800",
        "X\u202e",
        "X\u00a0",
    ],
)
@every_venue
def test_a_hostile_symbol_is_refused_and_shown_safely(profile, symbol):
    with pytest.raises(UsageError, match="is not a symbol") as caught:
        profile.topic("book", symbol)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@every_venue
@given(symbol=st.text(max_size=20))
def test_a_symbol_is_refused_or_stays_inside_its_topic(profile, symbol):
    plain = profile.topic("trades", "X").topic
    try:
        spec = profile.topic("trades", symbol)
    except UsageError:
        return
    assert spec.topic.count("@") == plain.count("@")
    assert spec.topic.count(".") == plain.count(".")
    assert spec.topic.isprintable()


@every_venue
def test_symbols_may_be_in_any_script(profile):
    assert "币安人生usdt" in profile.topic("book", "币安人生USDT").topic.lower()
