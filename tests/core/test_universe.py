"""Selectors pick what they say, and universes follow what comes and goes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.universe import ABSENCES, Instrument, Selector, Universe, is_selector
from gapless.errors import UsageError

DAY = 86_400 * 10**9
NOW = 20_000 * DAY


def option(strike: int = 60_000, days: float = 30, **more: object) -> Instrument:
    symbol = f"BTC-{days}-{strike}-C"
    fields = {"settle": "BTC", "expiry_ns": NOW + int(days * DAY), "right": "call", **more}
    return Instrument(symbol, "option", "BTC", "USD", strike=float(strike), **fields)


PERP = Instrument("BTC-PERPETUAL", "perp", "BTC", "USD")
SPOT = Instrument("ETH_USDT", "spot", "ETH", "USDT", volume=500.0)


@pytest.mark.parametrize(
    ("text", "instrument", "picked"),
    [
        ("option:BTC", option(), True),
        ("option:ETH", option(), False),
        ("option:*", option(), True),
        ("perp:BTC", option(), False),
        ("option:BTC,expiry<=90d", option(days=90), True),
        ("option:BTC,expiry<=90d", option(days=91), False),
        ("option:BTC,expiry>=2w", option(days=13), False),
        ("option:BTC,expiry<=36h", option(days=1), True),
        ("option:BTC,expiry<=90m", option(days=1), False),
        ("option:BTC,strike>=50000,strike<=60000", option(60_000), True),
        ("option:BTC,strike>=50000,strike<=60000", option(60_001), False),
        ("option:BTC,calls", option(), True),
        ("option:BTC,puts", option(), False),
        ("option:BTC, expiry<=90d , puts", option(right="put"), True),
        ("option:BTC,delta>=0.1", option(delta=-0.25), True),
        ("option:BTC,delta>=0.1", option(delta=0.05), False),
        ("option:BTC,delta>=0.1", option(), False),
        ("perp:*", PERP, True),
        ("perp:BTC-PERP*", PERP, True),
        ("perp:*,expiry<=1d", PERP, False),
        ("spot:*-USDT", SPOT, True),
        ("spot:*-USD", SPOT, False),
        ("spot:ETH_*", SPOT, True),
        ("spot:*,volume>=500", SPOT, True),
        ("spot:*,volume>=500.5", SPOT, False),
    ],
)
def test_a_selector_picks_what_it_says(text, instrument, picked):
    assert Selector(text).picks(instrument, NOW) is picked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("warrant:BTC", "begins with one of"),
        ("option:", "does not say what to pick"),
        ("option:BTC,expiry<90d", "is no condition"),
        ("option:BTC,colour>=3", "is no condition"),
        ("option:BTC,strike>=1e400", "is no condition"),
        ("option:BTC,strike>=nan", "is no condition"),
        ("option:BTC,expiry<=90", "needs a unit"),
        ("option:BTC,strike<=5d", "needs a unit"),
        ("option:BTC,", "is no condition"),
    ],
)
def test_what_is_no_selector_is_refused_in_one_sentence(text, words):
    with pytest.raises(UsageError, match=words):
        Selector(text)


@pytest.mark.parametrize(
    ("symbol", "is_one"),
    [
        ("option:BTC", True),
        ("spot:", True),
        ("BTC-PERPETUAL", False),
        ("tBTCF0:USTF0", False),
        ("option", False),
        ("xyz:GOLD", False),
    ],
)
def test_a_symbol_is_told_from_a_selector(symbol, is_one):
    assert is_selector(symbol) is is_one


@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_a_usage_error(text):
    with contextlib.suppress(UsageError):
        Selector(text).picks(option(), NOW)


def universe(text: str = "option:BTC") -> Universe:
    return Universe(Selector(text))


def followed(changes) -> list[str]:
    return [instrument.symbol for instrument in changes.follow]


def test_a_new_strike_is_followed_once():
    chain = universe()
    old, new = option(50_000), option(60_000)
    assert followed(chain.listing([old], NOW)) == [old.symbol]
    assert followed(chain.listing([old, new], NOW)) == [new.symbol]
    assert chain.listing([old, new], NOW) == chain.tick(NOW)  # nothing


def test_what_is_listed_and_not_traded_is_followed_when_it_opens():
    chain = universe()
    assert not followed(chain.listing([option(state="listed")], NOW))
    assert followed(chain.told([(option().symbol, "open")], NOW)) == [option().symbol]
    assert not followed(chain.listing([option()], NOW)), "it is followed already"


def test_of_what_no_listing_has_shown_only_a_listing_says_what_it_is():
    chain = universe()
    changes = chain.told([(option().symbol, "open")], NOW)
    assert changes.ask
    assert not changes.follow
    assert followed(chain.listing([option()], NOW)) == [option().symbol]


def test_what_is_listed_and_goes_before_it_opens_is_never_followed():
    chain = universe()
    chain.listing([option(state="listed")], NOW)
    chain.told([(option().symbol, "gone")], NOW)
    assert chain.told([(option().symbol, "open")], NOW).ask
    assert not chain.followed


def test_what_the_venue_calls_gone_is_retired_at_once():
    chain = universe()
    chain.listing([option()], NOW)
    changes = chain.told([(option().symbol, "gone")], NOW)
    assert changes.retire == ((option().symbol, "the venue says that it is gone"),)
    assert not chain.followed
    assert not followed(chain.listing([option(state="gone")], NOW))


def test_one_listing_that_was_cut_short_ends_nothing():
    chain = universe()
    chain.listing([option(50_000), option(60_000)], NOW)
    for _ in range(ABSENCES - 1):
        assert not chain.listing([option(50_000)], NOW).retire
    assert chain.listing([option(50_000), option(60_000)], NOW).retire == ()
    for _ in range(ABSENCES - 1):
        assert not chain.listing([option(50_000)], NOW).retire
    assert [s for s, _ in chain.listing([option(50_000)], NOW).retire] == [option(60_000).symbol]


def test_a_listing_of_nothing_ends_nothing_however_often_it_comes():
    chain = universe()
    chain.listing([option(50_000), option(60_000)], NOW)
    for _ in range(2 * ABSENCES):
        changes = chain.listing([], NOW)
        assert not changes.retire
    assert len(chain.followed) == 2
    changes = chain.listing([], NOW + 1_000 * DAY)
    assert len(changes.retire) == 2, "what has expired is gone all the same"


def test_a_doubtful_listing_is_read_again_soon_and_one_without_the_expired_is_not():
    chain = universe()
    chain.listing([option(50_000), option(60_000, days=1)], NOW)
    assert chain.listing([option(60_000, days=1)], NOW).ask
    changes = chain.listing([option(50_000)], NOW + DAY)
    assert [symbol for symbol, _ in changes.retire] == [option(60_000, days=1).symbol]
    assert not changes.ask


@pytest.mark.parametrize(
    ("state", "why"), [("halted", "the venue has halted it"), ("settling", "it is being settled")]
)
def test_a_halt_is_planned_silence_and_ends(state, why):
    chain = universe()
    chain.listing([option()], NOW)
    symbol = option().symbol
    assert chain.told([(symbol, state)], NOW).planned == ((symbol, why),)
    assert chain.told([(symbol, state)], NOW).planned == (), "said once"
    assert chain.told([(symbol, "open")], NOW).resumed == (symbol,)


def test_an_expiry_that_passes_is_planned_silence_until_the_venue_retires_it():
    chain = universe("option:BTC,expiry<=90d")
    chain.listing([option(days=1)], NOW)
    symbol = option(days=1).symbol
    assert chain.tick(NOW + DAY - 1).planned == ()
    changes = chain.tick(NOW + DAY)
    assert changes.planned == ((symbol, "it has expired"),)
    assert changes.retire == ()
    assert chain.told([(symbol, "gone")], NOW + DAY).retire


def test_time_brings_an_option_within_a_bound_and_out_of_it():
    near = universe("option:BTC,expiry<=10d")
    assert not followed(near.listing([option(days=11)], NOW))
    assert followed(near.listing([option(days=11)], NOW + DAY))
    far = universe("option:BTC,expiry>=10d")
    assert followed(far.listing([option(days=11)], NOW))
    assert far.tick(NOW + DAY).retire == ()
    assert [why for _, why in far.tick(NOW + DAY + 1).retire] == [
        "it is out of the selector's bounds"
    ]


def test_what_was_picked_for_its_volume_is_kept_when_the_volume_falls():
    busy = universe("spot:*,volume>=500")
    assert followed(busy.listing([SPOT], NOW))
    quiet = Instrument("ETH_USDT", "spot", "ETH", "USDT", volume=1.0)
    assert busy.listing([quiet], NOW).retire == ()
    assert "ETH_USDT" in busy.followed


def test_news_of_what_nobody_follows_asks_for_a_listing_only_if_it_may_be_wanted():
    chain = universe()
    assert chain.told([("X", "open")], NOW).ask
    assert not chain.told([("X", "gone")], NOW).ask
    assert not chain.told([("X", "settling")], NOW).ask


@given(
    st.lists(
        st.tuples(
            st.sampled_from([50_000, 60_000, 70_000]),
            st.sampled_from(["open", "listed", "halted", "settling", "gone", "absent"]),
        ),
        max_size=40,
    )
)
def test_whatever_happens_follow_and_retire_alternate_for_each_symbol(story):
    chain = universe()
    states = dict.fromkeys((50_000, 60_000, 70_000), "absent")
    live: set[str] = set()
    for strike, state in story:
        states[strike] = state
        listed = [option(k, state=s) for k, s in states.items() if s != "absent"]
        changes = chain.listing(listed, NOW)
        for symbol, _ in changes.retire:
            live.remove(symbol)  # fails if it was not followed
        for symbol in followed(changes):
            assert symbol not in live
            live.add(symbol)
        assert live == set(chain.followed)
        trading = {
            option(k).symbol for k, s in states.items() if s in {"open", "halted", "settling"}
        }
        assert trading <= live
