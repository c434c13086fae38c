"""Every venue's declaration: where each fact was read and when, and what it refuses.

Nothing here knows which venues there are: whatever the registry names is held to all of it.
"""

from __future__ import annotations

from datetime import date
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.venues.speech import origins

from gapless.core.budget import Budget, Window
from gapless.core.sequence import Numbering
from gapless.core.stream import SnapshotFrom
from gapless.core.universe import is_selector
from gapless.errors import DecodeError, UsageError
from gapless.events import Origin
from gapless.venues._profile import UNREAD, Confidence, Fact, Profile
from gapless.venues._registry import load, names

PROFILES = [load(name) for name in names()]
FACTS = [
    pytest.param(fact, id=f"{profile.name}: {name}")
    for profile in PROFILES
    for name, fact in profile.facts()
]
CHANNELS = {"trades", "book", "bbo", "ticker"}  # all that we have a word for
SHAPES = ["BTCUSD", "BTC-USD", "BTC-USD-261225-100000-C", "PI_XBTUSD_261225", "X"]
every_venue = pytest.mark.parametrize("profile", PROFILES, ids=list(names()))


def variants(profile):
    """Yield every channel that can be asked for, with its variant, and what declares it."""
    for channel in profile.every_channel():
        for variant in channel.topics:
            yield f"{channel.name}.{variant}", channel, variant


def symbols(profile):
    """Return symbols such as venues have, with the signs that this one has besides."""
    return [*SHAPES, *(f"BTC{sign}USD" for sign in profile.symbol_signs)]


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
    found = [name for name, _ in profile.facts()]
    assert len(found) == len(set(found))
    for channel in profile.channels:
        assert f"{channel.name}.numbering" in found
        assert f"{channel.name}.speaks_on_subscribe" in found
        assert (f"{channel.name}.snapshot" in found) == (channel.snapshot is not None)
        for other in channel.unlike:
            assert f"{other.name}.{next(iter(other.topics))}.numbering" in found
    assert sum("." not in name for name in found) == sum(
        isinstance(getattr(profile, name), Fact) for name in Profile.__dataclass_fields__
    )


@every_venue
def test_endpoints_are_secure_and_have_the_path(profile):
    endpoints = profile.endpoints.value
    assert endpoints.public
    for url in (*endpoints.public, *endpoints.test):
        assert url.startswith("wss://")
        assert url.endswith(endpoints.path)
    assert profile.rest_endpoints.value
    assert all(url.startswith("https://") for url in profile.rest_endpoints.value)


@every_venue
def test_there_are_traps_worth_knowing(profile):
    assert profile.title.strip()
    assert profile.traps
    assert len(profile.traps) == len(set(profile.traps))
    assert all(trap.strip().endswith(".") for trap in profile.traps)


# -- channels -----------------------------------------------------------------------------------


@every_venue
def test_channels_have_our_names_and_each_only_once(profile):
    own = [channel.name for channel in profile.channels]
    assert own
    assert len(own) == len(set(own))
    assert set(own) <= CHANNELS
    for channel in profile.channels:
        assert all(other.name == channel.name for other in channel.unlike)
        assert not any(other.unlike for other in channel.unlike)


@every_venue
def test_every_variant_is_declared_once_and_nothing_is_said_of_others(profile):
    every = [name for name, _, _ in variants(profile)]
    assert len(every) == len(set(every))
    for channel in profile.every_channel():
        assert channel.topics
        assert set(channel.paths) <= set(channel.topics)
        assert set(channel.depths) <= set(channel.topics)
        assert channel.private <= set(channel.topics)
        assert all(depth > 0 for depth in channel.depths.values())


@every_venue
def test_a_variant_that_needs_a_login_can_log_in(profile):
    private = any(profile.needs_login(name) for name, _, _ in variants(profile))
    assert not private or profile.login_request is not None
    assert private == any(channel.private for channel in profile.every_channel())


@every_venue
def test_only_books_have_snapshots_depths_and_checksums(profile):
    for channel in profile.every_channel():
        assert (channel.snapshot is not None) == (channel.name == "book")
        if channel.name != "book":
            assert channel.checksum is None
            assert not channel.depths


@every_venue
def test_a_book_that_is_asked_for_is_joined_to_its_changes_by_number(profile):
    for channel in profile.every_channel():
        if channel.snapshot is not None and channel.snapshot.value is SnapshotFrom.REST:
            assert channel.numbering.value in {Numbering.DENSE, Numbering.CHAIN}
            assert profile.rest is not None
            assert profile.rest.snapshot("BTCUSD") is not None


# -- budgets ------------------------------------------------------------------------------------


@every_venue
def test_budgets_are_fresh_for_each_address(profile):
    one, two = profile.budgets(), profile.budgets()
    assert one.dials is not two.dials
    assert set(one.pools) == set(profile.pools.value)
    for name, pool in one.pools.items():
        assert isinstance(pool, Budget)
        assert pool is not two.pools[name]


@every_venue
def test_the_dials_of_one_address_are_counted_as_the_venue_counts_them(profile):
    dials = profile.budgets().dials
    windows = [limit for limit in profile.dials.value if isinstance(limit, Window)]
    most = min((window.count for window in windows), default=1000)
    last_ns = (most - 1) * 10_000_000  # no faster than our own limit on bursts
    for now_ns in range(0, last_ns + 1, 10_000_000):
        assert dials.wait_ns(now_ns) == 0
        dials.spend(now_ns)
    waits = [window.per_ns - last_ns for window in windows if window.count == most]
    assert dials.wait_ns(last_ns) == max([*waits, 10_000_000])


@every_venue
def test_a_crowd_dials_ten_times_in_a_tenth_of_a_second_at_most(profile):
    dials = profile.budgets().dials
    granted = [ms for ms in range(100) if dials.take(ms * 1_000_000) == 0]
    stated = [limit.count for limit in profile.dials.value if isinstance(limit, Window)]
    assert len(granted) == min([10, *stated])


@every_venue
def test_everything_that_is_asked_for_is_paid_from_a_pool_that_exists(profile):
    requests = []
    for name, _, _ in variants(profile):
        spec = profile.topic(name, "BTC-USD")
        codec = profile.codec(origins(profile.name, {spec.topic: spec.channel}))
        requests += [*codec.setup(1), *codec.subscribe(1, (spec.topic,))]
        requests += codec.unsubscribe(2, (spec.topic,))
        requests += [one for one in (codec.once_live(3), codec.beat(4)) if one is not None]
    pools = {request.pool for request in requests} - {None}
    if profile.rest is not None:
        pools |= {get.pool for get in profile.rest.instruments()}
    assert pools <= set(profile.pools.value)


# -- topics -------------------------------------------------------------------------------------


@every_venue
def test_every_variant_of_every_channel_has_a_topic_of_its_own(profile):
    topics = set()
    for name, channel, _ in variants(profile):
        spec = profile.topic(name, "BTC-X")
        assert (spec.venue, spec.channel, spec.symbol) == (profile.name, channel.name, "BTC-X")
        assert "{" not in spec.topic
        topics.add(spec.topic)
    assert len(topics) == len(list(variants(profile)))
    for channel in profile.channels:
        first = next(iter(channel.topics))
        assert profile.topic(channel.name, "X") == profile.topic(f"{channel.name}.{first}", "X")


@every_venue
def test_every_topic_is_recognised_as_exactly_what_it_is(profile):
    recognise = profile.recogniser()
    for symbol in symbols(profile):
        for name, _, _ in variants(profile):
            spec = profile.topic(name, symbol)
            assert recognise(spec.topic) == spec
    for nonsense in ("", "no topic", "qqqqqqqq", "{symbol}"):
        assert recognise(nonsense) is None


@every_venue
def test_a_capture_tells_what_was_subscribed(profile):
    # Topics that the venue delivers by one subscription are asked for by the same frame, and
    # nobody can tell from it which of them were meant.  All others must be read as they were.
    asked_by: dict[str, set[str]] = {}
    codecs = {}
    for symbol in symbols(profile):
        for name, _, _ in variants(profile):
            spec = profile.topic(name, symbol)
            codec = profile.codec(origins(profile.name, {spec.topic: spec.channel}))
            [request] = codec.subscribe(7, (spec.topic,))
            assert (request.kind, request.topics) == ("subscribe", (spec.topic,))
            asked_by.setdefault(request.text, set()).add(spec.topic)
            codecs[request.text] = codec
    for text, topics in asked_by.items():
        asked = codecs[text].asked(text)
        assert asked is not None
        assert asked.kind == "subscribe"
        assert set(asked.topics) <= topics
        if len(topics) == 1:
            assert asked.topics == tuple(topics)


@every_venue
def test_an_unknown_channel_is_answered_with_the_nearest(profile):
    for channel in profile.channels:
        for wrong in (f"{channel.name}s", channel.name[:-1], f"{channel.name}s.raw"):
            with pytest.raises(UsageError) as caught:
                profile.topic(wrong, "X")
            assert channel.name in str(caught.value).split("did you mean ")[1]


@every_venue
def test_an_unknown_variant_is_answered_with_the_nearest(profile):
    known = {name for name, _, _ in variants(profile)}
    for name in known:
        with pytest.raises(UsageError) as caught:
            profile.topic(f"{name}x", "X")
        assert name in str(caught.value).split("did you mean ")[1].rstrip("?").split(", ")


@every_venue
def test_a_word_unlike_any_is_answered_with_all_of_them(profile):
    own = ", ".join(channel.name for channel in profile.channels)
    with pytest.raises(UsageError, match=rf"did you mean {own}\?"):
        profile.topic("qqqqqqqq", "X")


@every_venue
def test_no_symbol_of_the_venue_s_shape_is_taken_for_a_selector(profile):
    assert not any(is_selector(symbol) for symbol in symbols(profile))


HOSTILE = [
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
]


@pytest.mark.parametrize(
    ("profile", "symbol"),
    [
        pytest.param(profile, symbol, id=f"{profile.name}-{symbol!a}")
        for profile in PROFILES
        for symbol in HOSTILE
        if not set(symbol) & set(profile.symbol_signs)
    ],
)
def test_a_hostile_symbol_is_refused_and_shown_safely(profile, symbol):
    for channel in profile.channels:
        with pytest.raises(UsageError, match="is not a symbol") as caught:
            profile.topic(channel.name, symbol)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


@every_venue
@given(symbol=st.text(max_size=20))
def test_a_symbol_is_refused_or_stays_inside_its_topic(profile, symbol):
    for name, _, _ in variants(profile):
        plain = profile.topic(name, "X").topic
        try:
            spec = profile.topic(name, symbol)
        except UsageError:
            return
        for sign in set("@./?&#%") - set(profile.symbol_signs):
            assert spec.topic.count(sign) == plain.count(sign)
        assert spec.topic.isprintable()


@every_venue
def test_symbols_may_be_in_any_script(profile):
    for name, _, _ in variants(profile):
        assert "币安人生usdt" in profile.topic(name, "币安人生USDT").topic.lower()


@every_venue
def test_a_body_that_nobody_asked_for_is_refused_like_any_other(profile):
    """An error of another kind would end the feed."""
    rest = profile.rest
    assert rest is not None
    origin = Origin(profile.name, "book", "BTC", "book", "a", 1)
    for read in (rest.read_snapshot, rest.read_trades):
        with pytest.raises(DecodeError):
            read(b"<html>", origin, 0, 0)
    with pytest.raises(DecodeError):
        rest.read_instruments(b"<html>")


# -- the venue's time -----------------------------------------------------------------------------

# Replies in the shape that the venues document.
TIMES = {
    "binance.spot": (b'{"serverTime":1499827319559}', 1499827319559_000_000, 1_000_000),
    "bybit.linear": (
        b'{"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"}}',
        1688639403423213947,
        1,
    ),
    "deribit": (
        b'{"jsonrpc":"2.0","result":1550147385946,"id":1}',
        1550147385946_000_000,
        1_000_000,
    ),
    "kraken": (
        b'{"error":[],"result":{"unixtime":1688669448,"rfc1123":"Thu, 06 Jul 23"}}',
        1688669448_000_000_000,
        1_000_000_000,
    ),
    "okx": (b'{"code":"0","data":[{"ts":"1597026383085"}]}', 1597026383085_000_000, 1_000_000),
    "coinbase.exchange": (
        b'{"iso":"2015-01-07T23:47:25.201Z","epoch":1420674445.201}',
        1420674445_201_000_000,
        1_000_000,
    ),
}


@pytest.mark.parametrize("name", TIMES)
def test_the_venues_time_is_read_with_how_finely_it_is_told(name):
    body, time_ns, grain_ns = TIMES[name]
    server_time = load(name).server_time.value
    assert server_time is not None
    assert server_time.read(body) == (time_ns, grain_ns)


@pytest.mark.parametrize("name", [n for n in names() if load(n).server_time.value is not None])
@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"null", b'{"result":null}', b'{"result":true}', b'{"result":-1}',
     b'{"serverTime":"soon"}', b'{"result":1e400}', b'{"data":[]}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_time_is_refused(name, body):
    server_time = load(name).server_time.value
    assert server_time is not None
    with pytest.raises(DecodeError):
        server_time.read(body)


@pytest.mark.parametrize("name", names())
def test_what_a_probe_needs_of_a_venue_exists(name):
    profile = load(name)
    if profile.busiest is not None:
        channel, symbol = profile.busiest
        assert profile.topic(channel, symbol).topic
        assert not profile.needs_login(channel)
    if (server_time := profile.server_time.value) is not None:
        assert server_time.pool in profile.pools.value
        assert server_time.request().path.startswith("/")
