"""What the process says when it ends: one exit code and one sentence for each kind of failure.

The codes are those of ``sysexits.h`` where one fits, so that scripts need no table of ours.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import click

__all__ = [
    "BROKEN",
    "CANNOT_WRITE",
    "CONFIG",
    "DAMAGED",
    "FINDINGS",
    "FINE",
    "REFUSED",
    "TRY_LATER",
    "UNREACHABLE",
    "USAGE",
    "Failure",
    "of_signal",
    "open_streams",
    "say",
    "silence_stdout",
    "translate",
]

FINE: Final = 0
BROKEN: Final = 1
"""A promise was broken, or the run failed for a reason of our own."""
FINDINGS: Final = 3
"""The verb did its work, and something is wrong with what it looked at."""
USAGE: Final = 64
DAMAGED: Final = 65
UNREACHABLE: Final = 69
CANNOT_WRITE: Final = 74
TRY_LATER: Final = 75
REFUSED: Final = 77
CONFIG: Final = 78


class Failure(click.ClickException):
    """Ends the command with a code and one sentence.

    Args:
        code: The exit code.
        sentence: What went wrong, without a newline.

    Attributes:
        code: The exit code.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def of_signal(signum: int) -> int:
    """Return the code of a process that a signal ended."""
    return 128 + signum


def say(text: str) -> None:
    """Print one line of talk on stderr; a closed stderr is no reason to fail."""
    try:
        sys.stderr.write(f"gapless: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def open_streams() -> None:
    """Give a process that was started without stdout or stderr one that leads nowhere.

    Otherwise the next file that is opened would take its place, and be printed into.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # stays


def silence_stdout() -> None:
    """Send what is still buffered for a reader that has left to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def translate(error: Exception) -> Failure | None:
    """Return the failure that ``error`` means, or `None` if it is a bug that nobody foresaw."""
    from gapless.errors import (
        ConfigError,
        GaplessError,
        LoginRejected,
        ProtocolViolation,
        RateLimited,
        SlowConsumer,
        UsageError,
    )

    code = FINE
    match error:
        case ConfigError():
            code = CONFIG
        case SlowConsumer():  # whoever reads stdout, and not what was asked for
            code = CANNOT_WRITE
        case UsageError():
            code = USAGE
        case RateLimited():
            code = TRY_LATER
        case LoginRejected():
            code = REFUSED
        case ProtocolViolation():
            code = DAMAGED
        case GaplessError():
            code = UNREACHABLE
        case OSError():
            code = CANNOT_WRITE
        case _:
            return None
    return Failure(code, _words(error))


def _words(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    where = "" if error.filename is None else f" {error.filename}"
    return f"input or output{where} failed: {error.strerror or error}"
