"""From words to a plan: what a caller asks for, checked before any I/O."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from gapless.core.endpoints import apart
from gapless.core.outlet import Overflow
from gapless.core.placement import Placement
from gapless.core.secrets import Login
from gapless.core.stream import Backfill, TopicSpec
from gapless.core.universe import Selector, is_selector
from gapless.credentials import Credentials
from gapless.errors import ConfigError, UsageError
from gapless.events import Bbo, BookDelta, BookSnapshot, Ticker, Trade
from gapless.io.dial import parse_proxy, tls_context
from gapless.io.listings import Selection
from gapless.io.plan import Plan
from gapless.io.runtime import Runtime
from gapless.io.transport import DialOptions
from gapless.venues._profile import SECOND, Profile, VenueBudgets
from gapless.venues._registry import load

__all__ = [
    "Budgets",
    "Line",
    "Options",
    "Subscription",
    "assemble",
    "bbo",
    "book",
    "ticker",
    "trades",
]

E = TypeVar("E", covariant=True)  # noqa: PLC0105  # reads better than E_co in signatures

LINES_MAX: Final = 8

LIFETIME_MARGIN_NS: Final = 900 * SECOND
"""How long before a venue's stated limit a session is replaced at the latest; see
`gapless.core.rotation` for how a fleet spreads.  Of a limit that is short, half is enough."""


@dataclass(frozen=True)  # no slots: `Subscription[Trade](...)` must work
class Subscription(Generic[E]):
    """What to follow: a channel, with or without a variant, of some symbols.

    A symbol may be a selector such as ``option:BTC,expiry<=90d``: see
    `gapless.core.universe.Selector`.  What is picked follows the venue's listings.

    Args:
        channel: With or without a variant.
        symbols: Symbols as the venue spells them, and selectors.
        priority: What has a higher one is subscribed and rebuilt before the rest.
    """

    channel: str
    symbols: tuple[str, ...]
    priority: int = 0


def trades(*symbols: str, variant: str = "", priority: int = 0) -> Subscription[Trade]:
    """Follow trades; ``variant`` is the venue's, such as ``raw`` or ``agg``."""
    return _subscription("trades", symbols, variant, priority)


def book(
    *symbols: str, variant: str = "", priority: int = 0
) -> Subscription[BookSnapshot | BookDelta]:
    """Follow books as a snapshot and proven deltas."""
    return _subscription("book", symbols, variant, priority)


def bbo(*symbols: str, variant: str = "", priority: int = 0) -> Subscription[Bbo]:
    """Follow best bids and offers."""
    return _subscription("bbo", symbols, variant, priority)


def ticker(*symbols: str, variant: str = "", priority: int = 0) -> Subscription[Ticker]:
    """Follow tickers."""
    return _subscription("ticker", symbols, variant, priority)


def _subscription(
    channel: str, symbols: tuple[str, ...], variant: str, priority: int
) -> Subscription[E]:
    if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise UsageError(f"{channel}() needs a symbol at least, and symbols are text")
    return Subscription(f"{channel}.{variant}" if variant else channel, symbols, priority)


class Budgets:
    """The limits of venues, shared by all feeds that leave by the same address.

    Venues count dials and requests by address.  Feeds that are opened side by side should
    share one of these, so that together they stay inside what the venue allows.  Other processes
    of this host are reckoned with as `Options.shared_budgets` says.
    """

    def __init__(self) -> None:
        self._venues: dict[tuple[str, str, bool], VenueBudgets] = {}

    def of(
        self, profile: Profile, dial: DialOptions | None = None, *, shared: bool = False
    ) -> VenueBudgets:
        """Return the budgets of one venue and one address.

        Args:
            profile: The venue.
            dial: How it is reached; a source or a proxy is an address of its own.
            shared: Whether they are shared with the other processes of this host.
        """
        egress = "" if dial is None else _egress(dial)
        key = profile.name, egress, shared
        if key not in self._venues:
            budgets = self._venues[key] = profile.budgets()
            if shared:
                _share(budgets, profile, egress)
        return self._venues[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One of several lines to the same data, where it goes its own way.

    Args:
        endpoint: WebSocket URL that this line alone uses, and no other.  Naming one that is not
            the venue's own disables every built-in host, as `Options.endpoints` does: lines
            that name none then share those that are named.
        source: Local address to dial from, instead of the one of `Options`.
    """

    endpoint: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a feed connects, and what it does for a slow consumer.

    Args:
        lines: How many redundant lines to the same data, 1 to 8, or each of them as a `Line`.
            They keep to different addresses and endpoints as far as there are any.
        allow_same: Whether lines may share one address where there is no other.  What breaks
            there breaks them together, so it must be asked for.
        endpoints: WebSocket URLs to use instead of the venue's own; one without a path gets
            the venue's.  Any override, ``rest_endpoint`` included, disables every built-in host.
            ``GAPLESS_ENDPOINT_<VENUE>`` does the same from the environment.
        rest_endpoint: Base URL for REST reads, beside ``endpoints``.  If it is not given, an
            override of ``endpoints`` reads from the host and port of its first URL.
        ca_file: PEM file of authorities to trust instead of the system's.
        proxy: ``http://``, ``socks4://`` or ``socks5://`` URL.
        source: Local address to dial from.
        dial_timeout: Seconds for DNS, TCP, TLS and the upgrade together.
        capacity: Events held for a consumer that is behind.
        overflow: What happens beyond.
        backfill: What is done about missing trades, where the venue can be asked for them by
            number.
        credentials: Where a key lies to log in with: ``env:PREFIX`` or ``file:PATH``; see
            `gapless.credentials.Credentials.of`.  Used where a channel needs it.
        login_always: Whether to log in where no channel needs it, too.
        budgets: Limits to share with other feeds.
        shared_budgets: Whether limits are shared with the other processes of this user on this
            host, through files in ``GAPLESS_STATE_DIR`` or the user's run-time directory.  By
            default they are, but for endpoints that are not the venue's own.
        seed: Seed of all jitter; chosen at random if not given.
        runtime: Clock and network; the real ones by default.
    """

    lines: int | Sequence[Line] = 1
    allow_same: bool = False
    endpoints: Sequence[str] = ()
    rest_endpoint: str | None = None
    ca_file: str | None = None
    proxy: str | None = None
    source: str | None = None
    dial_timeout: float = 5.0
    capacity: int = 65_536
    overflow: Overflow = Overflow.DROP_AND_MARK
    backfill: Backfill = Backfill.OFF
    credentials: str | None = field(default=None, repr=False)
    login_always: bool = False
    budgets: Budgets | None = None
    shared_budgets: bool | None = None
    seed: int | None = None
    runtime: Runtime | None = field(default=None, repr=False)


def assemble(venue: str, subscriptions: Sequence[Subscription[object]], options: Options) -> Plan:
    """Return the plan of a feed.

    Raises:
        UsageError: If the venue, a channel or a symbol is not one.
        ConfigError: If an option contradicts another.
    """
    _check(venue, subscriptions, options)
    profile = load(venue)
    specs: dict[str, TopicSpec] = {}
    paths: dict[str, str] = {}
    priorities: dict[str, int] = {}
    selections: dict[Selection, None] = {}
    for subscription in sorted(subscriptions, key=lambda each: -each.priority):
        for symbol in subscription.symbols:
            if is_selector(symbol):
                selections[_selection(profile, subscription, symbol)] = None
                continue
            spec = profile.topic(subscription.channel, symbol)
            specs.setdefault(spec.topic, spec)
            paths[spec.topic] = profile.path_of(subscription.channel)
            if subscription.priority:
                priorities.setdefault(spec.topic, subscription.priority)
    if not specs and not selections:
        raise UsageError("nothing to follow")
    _check_reach(options)
    overrides = _overrides(profile, options)
    lifetime_ns = profile.lifetime_ns.value
    own = profile.endpoints.value
    endpoints = overrides or own.public
    lines = {chr(ord("a") + index): line for index, line in enumerate(_lines(options))}
    pins = {
        letter: endpoints.index(_with_path(line.endpoint, profile))
        for letter, line in lines.items()
        if line.endpoint is not None
    }
    sources = {letter: line.source for letter, line in lines.items() if line.source is not None}
    if not options.allow_same:
        _check_apart(lines, endpoints, pins, options)
    most = profile.topics_per_address.value
    if most is not None and len(specs) * len(lines) > most:
        raise UsageError(
            f"{profile.name} allows {most} subscriptions to an address: {len(specs)} topics on"
            f" {len(lines)} lines are {len(specs) * len(lines)}"
        )
    placement = Placement(
        tuple(lines),
        profile.topics_per_connection.value,
        profile.topic_bytes_per_connection.value,
    )
    placement.begin(specs, paths)
    return Plan(
        profile=profile,
        lines={line: tuple(topics) for line, topics in placement.lines.items()},
        paths=placement.paths,
        letters=placement.letters,
        selections=tuple(selections),
        priorities=priorities,
        backfill=options.backfill,
        login=_login(
            profile,
            [subscription.channel for subscription in subscriptions],
            options,
            overridden=bool(overrides),
        ),
        specs=specs,
        endpoints=endpoints,
        pins=pins,
        sources=sources,
        allow_same=options.allow_same,
        shared_budgets=(
            not overrides and options.runtime is None
            if options.shared_budgets is None
            else options.shared_budgets
        ),
        rest_endpoints=_rest(profile, options, overridden=bool(overrides)),
        dial=DialOptions(
            timeout_ns=int(options.dial_timeout * SECOND),
            ca_file=options.ca_file,
            proxy=options.proxy,
            source=options.source,
        ),
        lifetime_ns=(
            None if lifetime_ns is None else max(lifetime_ns // 2, lifetime_ns - LIFETIME_MARGIN_NS)
        ),
    )


def _egress(dial: DialOptions) -> str:
    """Return what to call the address that the venue sees, without any secret."""
    if dial.proxy is None:
        return dial.source or ""
    host, port = parse_proxy(dial.proxy)
    return f"{dial.source or ''} through {host} {port}"


def _share(budgets: VenueBudgets, profile: Profile, egress: str) -> None:
    try:
        from gapless.io.budget_store import BudgetStore, state_dir  # noqa: PLC0415  # needs fcntl
    except ImportError:
        budgets.troubles.append("this system cannot lock files: each process counts on its own")
        return
    store = BudgetStore(state_dir(), profile.name, egress, budgets.troubles)
    budgets.dials.ledger = store.ledger("dials")
    for name, pool in budgets.pools.items():
        pool.ledger = store.ledger(f"pool {name}")


def _selection(profile: Profile, subscription: Subscription[object], text: str) -> Selection:
    selector = Selector(text)
    profile.topic(subscription.channel, "ANY")  # the channel must be one
    if profile.rest is None or not profile.rest.instruments():
        raise UsageError(f"{profile.name} has no listing to pick from: name the symbols")
    return Selection(subscription.channel, selector, subscription.priority)


def _check(venue: object, subscriptions: Sequence[object], options: Options) -> None:
    """Refuse what no type checker has seen: it would fail far from here."""
    if not isinstance(venue, str):
        raise UsageError(f"a venue is named by text, not by {type(venue).__name__}")
    if not all(isinstance(subscription, Subscription) for subscription in subscriptions):
        raise UsageError("subscriptions are made by trades(), book(), bbo() and ticker()")
    if not 1 <= len(_lines(options)) <= LINES_MAX:
        raise UsageError("lines must be 1 to 8, or a sequence of 1 to 8 gapless.Line")
    if not 0 < options.dial_timeout < 3600:  # NaN fails too
        raise ConfigError("dial_timeout must be positive, and less than an hour")
    if options.capacity < 1:
        raise ConfigError("capacity must be 1 at least")
    if not isinstance(options.overflow, Overflow):
        raise ConfigError("overflow is one of gapless.Overflow")
    if not isinstance(options.backfill, Backfill):
        raise ConfigError("backfill is one of gapless.Backfill")
    if isinstance(options.endpoints, str):
        raise ConfigError("endpoints is a sequence of URLs, not one text")


def _lines(options: Options) -> Sequence[Line]:
    lines: object = options.lines
    if isinstance(lines, int):
        return (Line(),) * max(0, min(lines, LINES_MAX + 1))  # beyond is refused, not built
    if not isinstance(lines, Sequence) or not all(isinstance(line, Line) for line in lines):
        return ()
    return lines


def _check_reach(options: Options) -> None:
    if options.proxy is not None:
        parse_proxy(options.proxy)
    tls_context(options.ca_file)
    for source in (options.source, *(line.source for line in _lines(options))):
        try:
            if source is not None:
                ip_address(source)
        except ValueError as error:
            raise ConfigError(f"{source!r} is not an IP address to dial from") from error


def _check_apart(
    lines: Mapping[str, Line], endpoints: Sequence[str], pins: Mapping[str, int], options: Options
) -> None:
    """Refuse lines that could only share an address, as far as that is known before any I/O.

    Raises:
        UsageError: There are fewer addresses than lines.
    """
    parts = [urlsplit(url) for url in endpoints]
    choices = [
        [
            (_loopback(part.hostname or ""), part.port, which, line.source or options.source)
            for part in (parts if letter not in pins else (parts[pins[letter]],))
            # Nobody knows yet how many addresses a name has.
            for which in range(1 if _is_one_address(part.hostname or "") else LINES_MAX)
        ]
        for letter, line in lines.items()
    ]
    if not apart(choices):
        hosts = ", ".join(dict.fromkeys(part.netloc for part in parts))
        raise UsageError(
            f"{len(lines)} lines cannot keep apart: there are fewer addresses than lines"
            f" ({hosts}), and what breaks an address breaks every line on it; give more endpoints"
            " or sources, or allow it with allow_same=True (--allow-same)"
        )


def _loopback(host: str) -> str:
    return "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host


def _is_one_address(host: str) -> bool:
    try:
        ip_address(_loopback(host))
    except ValueError:
        return False
    return True


def _login(
    profile: Profile, channels: Iterable[str], options: Options, *, overridden: bool
) -> Callable[[], Login] | None:
    """Return what makes the login of each session, or `None` if none is needed."""
    credentials = None if options.credentials is None else Credentials.of(options.credentials)
    private = next((channel for channel in channels if profile.needs_login(channel)), None)
    if private is None and not options.login_always:
        return None
    if overridden and credentials is None and not options.login_always:
        return None  # a simulator or a recording that is played asks nobody who they are
    wanted = "login_always" if private is None else f"{private} of {profile.name}"
    make = profile.login_request
    if make is None:
        raise ConfigError(f"{wanted} needs a login, and there is none to {profile.name} yet")
    if credentials is None:
        raise ConfigError(
            f"{wanted} needs a login: say where the key lies with credentials"
            " (--credentials env:PREFIX or file:PATH)"
        )
    credentials.read()  # what is not there now is the caller's fault, and told at once
    final = frozenset[int]() if profile.login_final is None else profile.login_final.value

    def login() -> Login:
        return Login(make, credentials.read(), secrets.token_hex(16), final)

    return login


def _overrides(profile: Profile, options: Options) -> tuple[str, ...]:
    own = profile.endpoints.value.public
    named = (line.endpoint for line in _lines(options))
    pinned = [_with_path(url, profile) for url in named if url is not None]
    given = tuple(options.endpoints)
    if not given:
        variable = "GAPLESS_ENDPOINT_" + profile.name.upper().replace(".", "_")
        given = tuple(os.environ.get(variable, "").split())
    if not given and all(url in own for url in pinned):
        return ()
    return tuple(dict.fromkeys([*(_with_path(url, profile) for url in given), *pinned]))


def _with_path(url: str, profile: Profile) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ConfigError(f"{url!r} is not a ws:// or wss:// URL")
    path = parts.path if parts.path not in {"", "/"} else profile.endpoints.value.path
    return parts._replace(path=path).geturl()


def _rest(profile: Profile, options: Options, *, overridden: bool) -> tuple[str, ...]:
    if options.rest_endpoint is not None:
        if urlsplit(options.rest_endpoint).scheme not in {"http", "https"}:
            raise ConfigError(f"{options.rest_endpoint!r} is not an http:// or https:// URL")
        if not overridden:  # it disables the built-in hosts, and leaves nothing to dial
            raise ConfigError("rest_endpoint needs endpoints beside it: no built-in host is used")
        return (options.rest_endpoint,)
    if not overridden:
        return profile.rest_endpoints.value
    # Who serves the WebSocket elsewhere, a simulator say, serves REST on the same port.
    first = urlsplit(_overrides(profile, options)[0])
    scheme = {"ws": "http", "wss": "https"}[first.scheme]
    return (f"{scheme}://{first.netloc}",)
