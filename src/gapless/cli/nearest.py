"""A group of commands that, given a wrong name, says which are near."""

from __future__ import annotations

import difflib

import click

__all__ = ["NearestGroup"]


class NearestGroup(click.Group):
    """Like its base, but a name that it does not have is answered in one sentence."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise click.UsageError(f"no verb {name!r}; did you mean {', '.join(near)}?", ctx)
        return super().resolve_command(ctx, args)
