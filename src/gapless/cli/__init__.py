"""The command line: this module only finds the verb that is meant and ends the process.

Each verb lives in a module of its own that is imported when it is used, because an event loop
and an HTTP server take longer to import than most verbs take to run.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

import click

from gapless import __version__
from gapless.cli import exits
from gapless.cli.nearest import NearestGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["VERBS", "main", "run"]

VERBS: Final = {
    "book": "Watch one order book, shown only while it is proven.",
    "capture": "Prove captures, and convert them.",
    "chaos": "Break things at random, and count what was lost; needs no network.",
    "demo": "Watch a supervised connection keep its promise; needs no network.",
    "inspect": "Examine captures: what is in them, and what is provably missing.",
    "proxy": "Put a bad network before any WebSocket server, for any client.",
    "probe": "Measure the way to a venue, and say what is wrong with it.",
    "record": "Record what comes over the wire, in a form that can be proven.",
    "sim": "Serve a simulated exchange on this machine.",
    "tail": "Follow channels of a venue, with every gap marked.",
    "venues": "Show which venues there are, and what is known of them.",
}
"""Every verb and its help in one line.  Module ``gapless.cli.<verb>`` holds it as ``command``."""


class _Verbs(NearestGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"gapless.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx  # written from the table: asking each verb would import it
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="VERB ...",
)
@click.version_option(__version__, prog_name="gapless", message="%(prog)s %(version)s")
def gapless() -> None:
    """Stable WebSocket connections to exchanges, and the truth about what was not seen.

    Data go to stdout, talk goes to stderr.
    """


def main() -> NoReturn:
    """Run the command line and end the process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    exits.open_streams()
    stdout = sys.stdout
    try:
        return _invoke(arguments)
    except KeyboardInterrupt:  # before the verb could catch signals
        return exits.of_signal(2)
    except BrokenPipeError:  # the reader, such as `head`, has what it wanted
        pass
    except SystemExit:
        if sys.stdout is stdout:  # click replaces it when it meets a broken pipe, and exits
            raise
    exits.silence_stdout()
    return exits.FINE


def _invoke(arguments: Sequence[str]) -> int:
    try:
        outcome = gapless.main(list(arguments), prog_name="gapless", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return exits.USAGE
    except click.UsageError as error:
        where = "" if error.ctx is None else f" (see `{error.ctx.command_path} --help`)"
        exits.say(f"{error.format_message()}{where}")
        return exits.USAGE
    except click.ClickException as error:
        exits.say(error.format_message())
        return error.code if isinstance(error, exits.Failure) else exits.CANNOT_WRITE
    except click.Abort:
        return exits.of_signal(2)
    except BrokenPipeError:
        raise
    except Exception as error:
        failure = exits.translate(error)
        if failure is None:
            raise
        exits.say(failure.format_message())
        return failure.code
    return outcome if isinstance(outcome, int) else exits.FINE
