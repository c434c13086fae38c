"""Options that every verb shares that connects to a venue, checked before anything is dialled."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from gapless.cli.finite import FiniteRange

if TYPE_CHECKING:
    from gapless.planning import Options

__all__ = ["Connecting", "check_url", "connecting_options", "reaching_options"]

Check = Callable[[click.Context, click.Parameter, Any], Any]
_VARIABLE: Final = "GAPLESS_ENDPOINT_"
F = TypeVar("F", bound=Callable[..., Any])


def check_url(*schemes: str) -> Check:
    """Return a check that a value, or each of several, is a URL with one of ``schemes``."""
    known = " or ".join(f"{scheme}://" for scheme in schemes)

    def check(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        for url in (value,) if isinstance(value, str) else value or ():
            try:
                parts = urlsplit(url)
                sound = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
                secret = parts.username is not None or parts.password is not None
            except ValueError:
                sound = secret = False
            if secret:  # repeated by nobody: it may end in a log
                raise click.BadParameter("credentials do not belong in a URL", context, parameter)
            if not sound:
                raise click.BadParameter(f"{url!r} is not a {known} URL", context, parameter)
        return value

    return check


def _check_proxy(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if value is not None:
        from gapless.errors import ConfigError
        from gapless.io.dial import parse_proxy

        try:
            parse_proxy(value)
        except ConfigError as error:
            raise click.BadParameter(str(error), context, parameter) from error
    return value


def _check_address(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if value is not None:
        try:
            ipaddress.ip_address(value)
        except ValueError as error:
            words = f"{value!r} is not an IP address"
            raise click.BadParameter(words, context, parameter) from error
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """What was asked for, as click hands it over."""

    endpoint: tuple[str, ...]
    rest_endpoint: str | None
    ca_file: str | None
    proxy: str | None
    source: str | None
    lines: int
    seed: int | None
    credentials: str | None
    login_always: bool
    for_s: float | None
    json: bool
    allow_same: bool = False
    shared_budgets: bool | None = None
    backfill: str = "off"
    overflow: str = "drop-and-mark"

    def options(self) -> Options:
        """Return options for the library.

        Raises:
            gapless.errors.ConfigError: If the CA file or the credentials cannot be read.
        """
        from gapless.core.outlet import Overflow
        from gapless.core.stream import Backfill
        from gapless.io.dial import tls_context
        from gapless.planning import Options

        elsewhere = self.endpoint or any(name.startswith(_VARIABLE) for name in os.environ)
        if self.rest_endpoint is not None and not elsewhere:
            raise click.UsageError(
                "--rest-endpoint needs --endpoint beside it, as no built-in host is used with it"
            )
        if self.ca_file is not None:
            tls_context(self.ca_file)  # now, and not at the first dial
        return Options(
            lines=self.lines,
            allow_same=self.allow_same,
            shared_budgets=self.shared_budgets,
            endpoints=self.endpoint,
            rest_endpoint=self.rest_endpoint,
            ca_file=self.ca_file,
            proxy=self.proxy,
            source=self.source,
            seed=self.seed,
            credentials=self.credentials,
            login_always=self.login_always,
            backfill=Backfill(self.backfill),
            overflow=Overflow(self.overflow),
        )


_REACHING = (
    click.option(
        "--endpoint",
        callback=check_url("ws", "wss"),
        multiple=True,
        metavar="URL",
        help="Connect here instead of to the venue; without a path, the venue's own is added.  "
        "Any override disables every built-in host, REST too.  Repeat for alternatives.",
    ),
    click.option(
        "--rest-endpoint",
        callback=check_url("http", "https"),
        metavar="URL",
        help="Base of REST reads; by default host and port of the first --endpoint.",
    ),
    click.option(
        "--ca-file", metavar="FILE", help="Trust these authorities (PEM), not the system's."
    ),
    click.option(
        "--proxy",
        callback=_check_proxy,
        metavar="URL",
        help="Go through this proxy: http://, socks4:// or socks5://.",
    ),
    click.option(
        "--source", callback=_check_address, metavar="ADDRESS", help="Dial from this address."
    ),
)

_OPTIONS = (
    *_REACHING,
    click.option(
        "--lines",
        type=click.IntRange(1, 8),
        default=1,
        show_default=True,
        metavar="N",
        help="Redundant connections to the same data, merged into one stream.",
    ),
    click.option(
        "--allow-same",
        is_flag=True,
        help="Let the lines share one address where there is no other.",
    ),
    click.option(
        "--shared-budgets/--no-shared-budgets",
        default=None,
        help="Count dials and requests together with the other processes of this host; "
        "by default unless --endpoint leads elsewhere.",
    ),
    click.option(
        "--credentials",
        metavar="REF",
        help="Where a read-only key lies: env:PREFIX (PREFIX_KEY, PREFIX_SECRET, perhaps "
        "PREFIX_PASSPHRASE) or file:PATH (TOML).  Used where a channel needs a login.",
    ),
    click.option(
        "--login-always", is_flag=True, help="Log in even where no channel here needs it."
    ),
    click.option("--seed", type=int, metavar="N", help="Seed of all jitter."),
    click.option(
        "--for",
        "for_s",
        type=FiniteRange(min=0, min_open=True),
        metavar="SECONDS",
        help="End this long after the start of the process.",
    ),
    click.option("--json", is_flag=True, help="One JSON object a line."),
)


def reaching_options(function: F) -> F:
    """Add the options that say where to connect and how to get there, and nothing else."""
    for option in reversed(_REACHING):
        function = option(function)
    return function


def connecting_options(function: F) -> F:
    """Add the shared options to a verb; they arrive as keyword arguments of `Connecting`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
