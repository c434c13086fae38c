import click
import pytest

from gapless.cli.connecting import Connecting, check_url, connecting_options
from gapless.core.stream import Backfill
from gapless.planning import assemble, book


@click.command()
@connecting_options
def verb(**given):
    return Connecting(**given).options()


def options(*arguments):
    return verb.main(list(arguments), standalone_mode=False)


def test_nothing_asked_is_the_library_s_default():
    made = options()
    assert (made.endpoints, made.rest_endpoint, made.lines, made.seed) == ((), None, 1, None)


def test_everything_reaches_the_library():
    made = options(
        "--endpoint", "ws://a:1", "--endpoint", "wss://b", "--rest-endpoint", "http://c",
        "--proxy", "socks5://p:1080", "--source", "127.0.0.2", "--lines", "2", "--seed", "7",
    )  # fmt: skip
    assert made.endpoints == ("ws://a:1", "wss://b")
    assert made.rest_endpoint == "http://c"
    assert (made.proxy, made.source, made.lines, made.seed) == (
        "socks5://p:1080",
        "127.0.0.2",
        2,
        7,
    )


def test_a_reference_to_credentials_reaches_the_library_and_is_never_repeated():
    made = options("--credentials", "env:VENUE", "--login-always")
    assert (made.credentials, made.login_always) == ("env:VENUE", True)
    assert "VENUE" not in repr(made)


def test_what_is_done_about_missing_trades_reaches_the_library():
    given = dict.fromkeys(Connecting.__dataclass_fields__)
    given |= {"endpoint": (), "lines": 1, "login_always": False, "overflow": "block"}
    for word in ("off", "wait", "late"):
        assert Connecting(**given | {"backfill": word}).options().backfill is Backfill(word)
    assert options().backfill is Backfill.OFF


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [((), None), (("--shared-budgets",), True), (("--no-shared-budgets",), False)],
)
def test_whether_limits_are_shared_between_processes_reaches_the_library(flags, wanted):
    assert options(*flags).shared_budgets is wanted


def test_a_rest_endpoint_alone_leaves_nothing_to_dial(monkeypatch):
    with pytest.raises(click.UsageError, match="--endpoint"):
        options("--rest-endpoint", "http://c")
    monkeypatch.setenv("GAPLESS_ENDPOINT_DERIBIT", "ws://a")
    assert options("--rest-endpoint", "http://c").rest_endpoint == "http://c"


@pytest.mark.parametrize("url", ["", "x", "ws://", "ws://:1", "ws://x:99999", "ws://x:0", "//x"])
def test_what_is_no_url(url):
    with pytest.raises(click.BadParameter, match="ws://"):
        check_url("ws")(click.Context(verb), click.Option(["--endpoint"]), (url,))


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [
        (("--endpoint", "ws://127.0.0.1:9", "--endpoint", "ws://b"), "http://127.0.0.1:9"),
        (("--endpoint", "wss://[::1]:9/path?x"), "https://[::1]:9"),
        (("--endpoint", "ws://a", "--rest-endpoint", "https://c"), "https://c"),
    ],
)
def test_an_override_reads_rest_there_and_from_no_built_in_host(arguments, rest):
    plan = assemble("binance.spot", (book("BTCUSDT"),), options(*arguments))
    assert plan.rest_endpoints == (rest,)
    assert not [url for url in plan.endpoints if "binance" in url]


def test_without_override_the_venue_s_own_hosts_serve():
    plan = assemble("binance.spot", (book("BTCUSDT"),), options())
    assert plan.rest_endpoints == plan.profile.rest_endpoints.value


def test_lines_may_be_allowed_to_share_an_address():
    assert options().allow_same is False
    assert options("--lines", "2", "--allow-same").allow_same is True
