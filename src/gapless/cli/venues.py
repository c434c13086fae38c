"""``gapless venues``: what is known of each venue, where it was read, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

from gapless.cli.nearest import NearestGroup

if TYPE_CHECKING:
    from gapless.venues._profile import Channel, Fact, Profile

__all__ = ["command", "plain"]


@click.group("venues", cls=NearestGroup, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the venues; `gapless venues show NAME` says what is known of one."""
    if context.invoked_subcommand is not None:
        return
    from gapless.venues._registry import load, names

    profiles = [load(name) for name in names()]
    if as_json:
        _print_json([_brief(profile) for profile in profiles])
        return
    width = max(len(profile.name) for profile in profiles)
    for profile in profiles:
        channels = " ".join(channel.name for channel in profile.channels)
        click.echo(f"{profile.name:{width}}  {profile.title}  ({channels})")


@command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(name: str, as_json: bool) -> None:
    """Show every fact about venue NAME, with its source, date and confidence."""
    from gapless.venues._registry import load

    profile = load(name)
    if as_json:
        _print_json(_whole(profile))
        return
    click.echo(f"{profile.name}: {profile.title}\n")
    click.echo("Channels")
    for channel in profile.every_channel():
        for variant, topic in channel.topics.items():
            login = "  (needs a login)" if variant in channel.private else ""
            click.echo(f"  {channel.name}.{variant}  {topic}{login}")
    click.echo(
        "\nFacts (confidence: H read in an official text, M old or seen in traffic, L inferred)"
    )
    for fact_name, fact in profile.facts():
        click.echo(f"  {fact_name}: {_words(fact_name, fact.value)}")
        click.echo(f"      {fact.confidence}  {fact.as_of}  {fact.source}")
        if fact.note:
            click.echo(f"      {fact.note}")
    click.echo("\nTraps")
    for trap in profile.traps:
        click.echo(f"  - {trap}")


def plain(value: object) -> Any:
    """Return a value of a profile as what JSON knows."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def _brief(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "title": profile.title,
        "channels": [channel.name for channel in profile.channels],
    }


def _whole(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "title": profile.title,
        "channels": [_channel(channel) for channel in profile.every_channel()],
        "facts": {name: _fact(fact) for name, fact in profile.facts()},
        "traps": list(profile.traps),
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "topics": dict(channel.topics),
        "arbitration": channel.arbitration.value,
    }


def _fact(fact: Fact[object]) -> dict[str, Any]:
    return {
        "value": plain(fact.value),
        "source": fact.source,
        "as_of": fact.as_of,
        "confidence": fact.confidence,
        "note": fact.note,
    }


def _words(name: str, value: object) -> str:
    """Return a value as text; ``None`` is a venue that documents nothing of the kind."""
    if value is None:
        return "nothing documented"
    if name.endswith("_ns") and isinstance(value, int):
        return f"{value / 1e9:g} s"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_dataclass(value) and not isinstance(value, type):
        parts = ((item.name, getattr(value, item.name)) for item in fields(value))
        return ", ".join(f"{part.removesuffix('_ns')} {_words(part, item)}" for part, item in parts)
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_words('', item)}" for key, item in value.items()) or "none"
    if isinstance(value, tuple | list):
        return "; ".join(_words("", item) for item in value) or "none"
    return str(plain(value))


def _print_json(document: object) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
