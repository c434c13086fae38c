"""The life of a simulated chain is what its options say."""

from __future__ import annotations

import pytest

from gapless.sim.chain import Chain, ChainOptions


@pytest.mark.parametrize("count", [2, 3, 12, 40, 3000, 10_000])
def test_as_many_strikes_are_listed_as_asked_for_before_and_after_every_expiry(count):
    chain = Chain(ChainOptions(strikes=count, cycles=4))
    listed = [name for name in chain.strikes if chain.listed(name)]
    assert len(listed) == count
    for news in chain.news:
        chain.take(news)
        if news.state == "open" and all(chain.states[n] != "settlement" for n in chain.states):
            fresh = [n for n in news.names if chain.strikes[n].cycle > 1]
            assert fresh or count < 6
    assert sum(chain.listed(name) for name in chain.strikes) == count


def test_names_are_unique_and_strikes_positive():
    chain = Chain(ChainOptions(strikes=10_000))
    assert min(strike.strike for strike in chain.strikes.values()) > 0
    assert len({strike.name for strike in chain.strikes.values()}) == len(chain.strikes)


def test_an_expiry_settles_everything_then_ends_some_then_lists_as_many():
    chain = Chain(ChainOptions(strikes=60, cycle_s=100, halt_s=2, relist_s=3, open_s=1, cycles=1))
    told = [(news.after_s, news.state, len(news.names)) for news in chain.news]
    assert told == [
        (100, "settlement", 60),
        (102, "gone", 10),
        (102, "open", 50),
        (105, "created", 10),
        (106, "open", 10),
    ]
    for news in chain.news:
        chain.take(news)
    assert sorted(set(chain.states.values())) == ["gone", "open"]


def test_news_are_in_order_and_change_only_what_is_not_so_yet():
    chain = Chain(ChainOptions(strikes=60, cycles=3))
    times = [news.after_s for news in chain.news]
    assert times == sorted(times)
    assert chain.take(chain.news[0])
    assert chain.take(chain.news[0]) == ()


def test_what_expires_first_expires_at_the_end_of_the_first_cycle():
    chain = Chain(ChainOptions(strikes=60, cycle_s=100))
    going = next(news for news in chain.news if news.state == "gone").names
    assert {chain.expiry_ns(name, 7) for name in going} == {7 + 100 * 10**9}
    later = [name for name in chain.strikes if name not in going]
    assert min(chain.expiry_ns(name, 7) for name in later) == 7 + 200 * 10**9


def test_what_no_cycle_ends_does_not_expire_either():
    chain = Chain(ChainOptions(strikes=60, cycle_s=100, cycles=2))
    for news in chain.news:
        chain.take(news)
    ends = {chain.expiry_ns(name, 0) for name in chain.strikes if chain.listed(name)}
    assert len(ends) == 6
    assert min(ends) > 30 * 86_400 * 10**9


def test_most_strikes_of_a_long_chain_never_trade():
    chain = Chain(ChainOptions(strikes=3000))
    silent = [spec for spec in chain.specs() if spec.weight == 0]
    assert len(silent) > 0.8 * len(chain.specs())
    assert any(spec.weight > 0 for spec in chain.specs())
