"""From words to a plan, and every contradiction named before any I/O."""

from __future__ import annotations

import pytest
import trustme

from gapless.core.budget import Window
from gapless.core.outlet import Overflow
from gapless.core.stream import Backfill
from gapless.errors import ConfigError, UsageError
from gapless.io.runtime import Runtime, system_runtime
from gapless.planning import (
    LIFETIME_MARGIN_NS,
    Budgets,
    Line,
    Options,
    Subscription,
    assemble,
    bbo,
    book,
    ticker,
    trades,
)
from gapless.testing import MemoryConnector, MemoryNetwork, VirtualClock
from gapless.venues._registry import load, names

SECOND = 1_000_000_000
DERIBIT, BINANCE = load("deribit"), load("binance.spot")


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch):
    for name in names():
        monkeypatch.delenv("GAPLESS_ENDPOINT_" + name.upper().replace(".", "_"), raising=False)


def test_subscriptions_name_a_channel_and_its_symbols():
    assert trades("A", "B") == Subscription("trades", ("A", "B"))
    assert book("A", variant="raw") == Subscription("book.raw", ("A",))
    assert bbo("A").channel == "bbo"
    assert ticker("A").channel == "ticker"


@pytest.mark.parametrize("make", [trades, book, bbo, ticker])
def test_a_subscription_needs_a_symbol(make):
    with pytest.raises(UsageError, match="needs a symbol at least"):
        make()


def test_a_plan_of_the_defaults():
    plan = assemble("binance.spot", [trades("BTCUSDT"), book("BTCUSDT")], Options())
    assert plan.profile is BINANCE
    assert plan.lines == {"a": ("btcusdt@trade", "btcusdt@depth@100ms")}
    assert set(plan.specs) == {"btcusdt@trade", "btcusdt@depth@100ms"}
    assert plan.endpoints == BINANCE.endpoints.value.public
    assert plan.rest_endpoints == BINANCE.rest_endpoints.value
    assert plan.dial.timeout_ns == 5 * SECOND
    assert plan.lifetime_ns == 24 * 3600 * SECOND - LIFETIME_MARGIN_NS


def test_a_venue_without_a_lifetime_has_none():
    assert assemble("deribit", [book("BTC-PERPETUAL")], Options()).lifetime_ns is None


def test_a_topic_asked_for_twice_is_one_topic():
    plan = assemble("deribit", [book("X", "X"), book("X", variant="100ms")], Options())
    assert plan.lines == {"a": ("book.X.100ms",)}


def test_nothing_to_follow_is_an_error():
    with pytest.raises(UsageError, match="nothing to follow"):
        assemble("deribit", [], Options())


def test_wrong_words_are_answered_before_any_dial():
    with pytest.raises(UsageError, match="did you mean deribit"):
        assemble("deribt", [book("X")], Options())
    with pytest.raises(UsageError, match="no channel"):
        assemble("deribit", [Subscription("bok", ("X",))], Options())
    with pytest.raises(UsageError, match="is not a symbol"):
        assemble("deribit", [book("X/Y")], Options())


# -- lines --------------------------------------------------------------------------------------


def test_redundant_lines_carry_the_same_topics():
    plan = assemble("deribit", [book("X", "Y")], Options(lines=3))
    assert list(plan.lines) == ["a", "b", "c"]
    assert len(set(plan.lines.values())) == 1


def test_more_topics_than_a_connection_holds_are_split_over_several_for_each_line():
    symbols = [f"S{number}" for number in range(2000)]
    plan = assemble("binance.spot", [trades(*symbols)], Options(lines=2))
    assert list(plan.lines) == ["a1", "a2", "b1", "b2"]
    assert plan.lines["a1"] == plan.lines["b1"]
    assert len(plan.lines["a1"]) == len(plan.lines["a2"]) == 1000
    assert set(plan.lines["a1"]) | set(plan.lines["a2"]) == set(plan.specs)


@pytest.mark.parametrize("lines", [0, -1, 9])
def test_the_number_of_lines_is_bounded(lines):
    with pytest.raises(UsageError, match="1 to 8"):
        assemble("deribit", [book("X")], Options(lines=lines))


@pytest.mark.parametrize("seconds", [0, -1.0])
def test_a_dial_needs_time(seconds):
    with pytest.raises(ConfigError, match="dial_timeout must be positive"):
        assemble("deribit", [book("X")], Options(dial_timeout=seconds))


# -- endpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "dialled"),
    [
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/stream"),
        ("ws://127.0.0.1:8080/", "ws://127.0.0.1:8080/stream"),
        ("wss://host/other?x=1", "wss://host/other?x=1"),
        ("wss://host?x=1", "wss://host/stream?x=1"),
        ("wss://[::1]:9443", "wss://[::1]:9443/stream"),
    ],
)
def test_an_endpoint_without_a_path_gets_the_venues(given, dialled):
    plan = assemble("binance.spot", [trades("X")], Options(endpoints=[given]))
    assert plan.endpoints == (dialled,)


@pytest.mark.parametrize("url", ["http://host", "host:80", "ws://", "wss:///path", ""])
def test_an_endpoint_that_is_no_websocket_url_is_refused(url):
    with pytest.raises(ConfigError, match="is not a ws:// or wss:// URL"):
        assemble("deribit", [book("X")], Options(endpoints=[url]))


def test_an_override_disables_every_built_in_host():
    plan = assemble("binance.spot", [book("X")], Options(endpoints=["ws://127.0.0.1:1"]))
    built_in = (*BINANCE.endpoints.value.public, *BINANCE.rest_endpoints.value)
    assert not set(built_in) & {*plan.endpoints, *plan.rest_endpoints}


def test_the_environment_overrides_the_endpoints_too(monkeypatch):
    monkeypatch.setenv("GAPLESS_ENDPOINT_BINANCE_SPOT", "ws://one:1 ws://two:2/x")
    plan = assemble("binance.spot", [book("X")], Options())
    assert plan.endpoints == ("ws://one:1/stream", "ws://two:2/x")
    assert not set(BINANCE.rest_endpoints.value) & set(plan.rest_endpoints)
    plan = assemble("binance.spot", [book("X")], Options(endpoints=["ws://given:3"]))
    assert plan.endpoints == ("ws://given:3/stream",)
    assert assemble("deribit", [book("X")], Options()).endpoints == DERIBIT.endpoints.value.public


def test_a_rest_endpoint_may_be_given_beside_the_endpoints():
    options = Options(endpoints=["ws://h:1"], rest_endpoint="http://h:2")
    assert assemble("binance.spot", [book("X")], options).rest_endpoints == ("http://h:2",)


def test_a_rest_endpoint_alone_leaves_nothing_to_dial():
    with pytest.raises(ConfigError, match="needs endpoints beside it"):
        assemble("binance.spot", [book("X")], Options(rest_endpoint="http://h:2"))


@pytest.mark.parametrize(("ws", "rest"), [("ws://h:1/s", "http://h:1"), ("wss://h", "https://h")])
def test_an_override_reads_rest_from_the_host_that_it_dials(ws, rest):
    plan = assemble("binance.spot", [book("X")], Options(endpoints=[ws, "ws://other"]))
    assert plan.rest_endpoints == (rest,)


def test_a_rest_endpoint_must_be_an_http_url():
    options = Options(endpoints=["ws://h:1"], rest_endpoint="ftp://h")
    with pytest.raises(ConfigError, match="is not an http:// or https:// URL"):
        assemble("binance.spot", [book("X")], options)


def test_how_to_dial_is_passed_on(tmp_path):
    ca_file = str(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(ca_file)
    options = Options(ca_file=ca_file, proxy="socks5://p:1", source="10.0.0.1", dial_timeout=0.25)
    dial = assemble("deribit", [book("X")], options).dial
    assert (dial.ca_file, dial.proxy, dial.source) == (ca_file, "socks5://p:1", "10.0.0.1")
    assert dial.timeout_ns == 250_000_000


@pytest.mark.parametrize(
    "wrong",
    [{"ca_file": "/nowhere/ca.pem"}, {"proxy": "ftp://p:1"}, {"source": "nonsense"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_cannot_work_is_refused_before_any_dial(wrong):
    with pytest.raises(ConfigError):
        assemble("deribit", [book("X")], Options(**wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"overflow": "fail"},
        {"lines": "2"},
        {"endpoints": "ws://localhost"},
        {"capacity": 0},
        {"dial_timeout": float("nan")},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_no_type_checker_saw_is_refused_here(wrong):
    with pytest.raises(UsageError):
        assemble("deribit", [book("X")], Options(**wrong))


def test_arguments_of_the_wrong_kind_are_usage_errors():
    with pytest.raises(UsageError):
        assemble(None, [book("X")], Options())
    with pytest.raises(UsageError):
        assemble("deribit", ["trades"], Options())
    with pytest.raises(UsageError):
        trades(["BTC"])


# -- logins ---------------------------------------------------------------------------------------


@pytest.fixture
def _key(monkeypatch):
    monkeypatch.setenv("VENUE_KEY", "canary-key")
    monkeypatch.setenv("VENUE_SECRET", "canary-secret")


RAW = [book("BTC-PERPETUAL", variant="raw")]
PUBLIC = [book("BTC-PERPETUAL")]


def test_a_private_variant_needs_credentials_and_says_which_option():
    with pytest.raises(ConfigError, match=r"book\.raw of deribit .*credentials.*--credentials"):
        assemble("deribit", [*PUBLIC, *RAW], Options())


def test_a_private_variant_picked_by_a_selector_needs_them_too():
    with pytest.raises(ConfigError, match=r"book\.raw of deribit"):
        assemble("deribit", [book("option:BTC", variant="raw")], Options())


def test_a_server_of_our_own_asks_nobody_who_they_are():
    assert assemble("deribit", RAW, Options(endpoints=("ws://127.0.0.1:9",))).login is None


@pytest.mark.usefixtures("_key")
def test_a_login_is_made_anew_for_each_session():
    plan = assemble("deribit", RAW, Options(credentials="env:VENUE"))
    first, second = plan.login(), plan.login()
    assert first is not second
    assert first.request(1, 0).text != second.request(1, 0).text  # the nonce is never used twice
    for shown in (repr(plan), repr(Options(credentials="env:VENUE")), repr(first)):
        assert "canary" not in shown
        assert "VENUE" not in shown


@pytest.mark.usefixtures("_key")
def test_without_need_no_login_is_made_unless_it_is_asked_for():
    given = {"credentials": "env:VENUE"}
    assert assemble("deribit", PUBLIC, Options(**given)).login is None
    assert assemble("deribit", PUBLIC, Options(**given, login_always=True)).login is not None


def test_a_login_that_is_asked_for_needs_credentials_wherever_it_goes():
    for endpoints in ((), ("ws://127.0.0.1:9",)):
        with pytest.raises(ConfigError, match="login_always needs a login"):
            assemble("deribit", PUBLIC, Options(login_always=True, endpoints=endpoints))


@pytest.mark.usefixtures("_key")
def test_a_venue_to_which_there_is_no_login_says_so():
    options = Options(credentials="env:VENUE", login_always=True)
    with pytest.raises(ConfigError, match=r"there is none to binance\.spot"):
        assemble("binance.spot", [book("BTCUSDT")], options)


def test_credentials_that_are_not_there_are_the_caller_s_fault_at_once(monkeypatch):
    monkeypatch.delenv("VENUE_KEY", raising=False)
    with pytest.raises(ConfigError, match="_KEY is not in the environment"):
        assemble("deribit", RAW, Options(credentials="env:VENUE"))


def test_credentials_that_are_no_reference_are_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="env:PREFIX") as caught:
        assemble("deribit", PUBLIC, Options(credentials="canary-secret"))
    assert "canary" not in str(caught.value)


# -- budgets --------------------------------------------------------------------------------------


def test_budgets_are_kept_by_venue():
    budgets = Budgets()
    assert budgets.of(DERIBIT) is budgets.of(DERIBIT)
    assert budgets.of(DERIBIT) is not budgets.of(BINANCE)
    assert Budgets().of(DERIBIT) is not budgets.of(DERIBIT)


def test_the_defaults_of_the_options():
    options = Options()
    assert (options.lines, options.overflow) == (1, Overflow.DROP_AND_MARK)
    assert (options.backfill, options.credentials) == (Backfill.OFF, None)
    assert "runtime" not in repr(options)


# -- limits that others share ---------------------------------------------------------------------


def test_limits_are_shared_with_other_processes_where_the_venue_itself_is_meant(monkeypatch):
    assert planned().shared_budgets
    assert not planned(endpoints=[HERE]).shared_budgets, "those are nobody else's limits"
    assert not planned(lines=[Line(endpoint=HERE)]).shared_budgets
    assert planned(endpoints=[HERE], shared_budgets=True).shared_budgets
    assert not planned(shared_budgets=False).shared_budgets
    monkeypatch.setenv("GAPLESS_ENDPOINT_DERIBIT", HERE)
    assert not planned().shared_budgets


def test_in_a_time_of_its_own_nothing_is_shared():
    clock = VirtualClock()
    network = MemoryNetwork(clock)
    runtime = Runtime(clock, MemoryConnector(network), system_runtime().rest)
    assert not planned(runtime=runtime).shared_budgets


def test_budgets_that_are_shared_have_a_ledger_and_others_none(monkeypatch, tmp_path):
    monkeypatch.setenv("GAPLESS_STATE_DIR", str(tmp_path))
    budgets, ours, theirs = Budgets(), Budgets(), Budgets()
    alone = budgets.of(DERIBIT)
    shared = budgets.of(DERIBIT, shared=True)
    assert alone is not shared
    assert budgets.of(DERIBIT, shared=True) is shared
    assert alone.dials.ledger is None
    assert all(pool.ledger is None for pool in alone.pools.values())
    assert shared.dials.ledger is not None
    assert all(pool.ledger is not None for pool in shared.pools.values())
    here, there = (each.of(BINANCE, shared=True).dials for each in (ours, theirs))
    most = min(limit.count for limit in BINANCE.dials.value if isinstance(limit, Window))
    for each in range(most):  # as two processes do, who share a file and nothing else
        assert (here, there)[each % 2].take(SECOND * each // 10) == 0
    last_ns = SECOND * most // 10
    assert here.take(last_ns) > SECOND
    assert there.take(last_ns) > SECOND


def test_a_venue_that_limits_an_address_is_not_asked_for_more_over_all_lines():
    most = load("hyperliquid").topics_per_address.value
    assert most is not None
    coins = [f"C{number}" for number in range(most)]

    def planned_for(count, lines):
        options = Options(lines=lines, allow_same=True)
        return assemble("hyperliquid", [trades(*coins[:count])], options)

    assert len(planned_for(most, 1).specs) == most
    assert len(planned_for(most // 2, 2).specs) == most // 2
    with pytest.raises(UsageError, match=rf"allows {most} subscriptions to an address") as caught:
        planned_for(most // 2 + 1, 2)
    assert f"{most // 2 + 1} topics on 2 lines are {most + 2}" in str(caught.value)


# -- lines of their own ---------------------------------------------------------------------------

HERE = "ws://127.0.0.1:9601"


def planned(**options):
    return assemble("deribit", [book("X")], Options(**options))


@pytest.mark.parametrize(
    "options",
    [
        {"lines": 2, "endpoints": [HERE]},
        {"lines": 2, "endpoints": ["ws://localhost:9601", HERE]},
        {"lines": 3, "endpoints": [HERE, "ws://[::1]:9601"]},
        {"lines": [Line(), Line(endpoint=HERE)]},
        {"lines": [Line(endpoint=HERE), Line(endpoint=HERE), Line(source="127.0.0.2")]},
    ],
)
def test_lines_that_could_only_share_an_address_must_be_allowed(options):
    with pytest.raises(UsageError, match=r"cannot keep apart.*allow_same=True") as caught:
        planned(**options)
    assert not isinstance(caught.value, ConfigError), "the caller asked for what cannot be"
    assert planned(**options, allow_same=True).allow_same


@pytest.mark.parametrize(
    "options",
    [
        {"lines": 1, "endpoints": [HERE]},
        {"lines": 2, "endpoints": [HERE, "ws://127.0.0.1:9602"]},
        {"lines": 2, "endpoints": ["ws://venue.test"]},
        {"lines": [Line(source="127.0.0.2"), Line(source="127.0.0.3")], "endpoints": [HERE]},
        {"lines": [Line(), Line(source="127.0.0.3")], "endpoints": [HERE]},
        {"lines": 8},
    ],
)
def test_lines_that_may_keep_apart_are_fine(options):
    assert not planned(**options).allow_same


def test_a_line_may_have_an_endpoint_and_a_source_of_its_own():
    backup = "wss://backup.example/ws/api/v2"
    plan = planned(lines=[Line(endpoint="wss://backup.example"), Line(source="127.0.0.2")])
    assert plan.endpoints == (backup,), "an endpoint that is not the venue's disables its own"
    assert plan.rest_endpoints == ("https://backup.example",)
    assert (plan.pins, plan.sources) == ({"a": 0}, {"b": "127.0.0.2"})
    assert plan.letters == ("a", "b")


def test_an_endpoint_of_the_venue_may_be_given_to_a_line():
    own = load("binance.spot").endpoints.value.public
    lines = [Line(endpoint=own[1]), Line()]
    plan = assemble("binance.spot", [book("X")], Options(lines=lines))
    assert plan.endpoints == own
    assert plan.pins == {"a": 1}


def test_the_sources_of_lines_are_addresses():
    with pytest.raises(ConfigError, match="'here' is not an IP address"):
        planned(lines=[Line(source="here")])
    assert planned(lines=[Line(source="::1")], source="127.0.0.9").every_source() == {"a": "::1"}
    assert planned(lines=2, source="127.0.0.9").every_source() == dict.fromkeys("ab", "127.0.0.9")


@pytest.mark.parametrize("lines", [[], "ab", [1], [Line()] * 9, {Line()}, None])
def test_what_are_no_lines_is_refused(lines):
    with pytest.raises(UsageError, match="1 to 8"):
        planned(lines=lines)
