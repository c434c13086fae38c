"""Where a key lies, never the key itself.

Credentials are given by reference: ``env:PREFIX`` or ``file:PATH``.  What they refer to is read
anew for every session and handed to it alone.  No error repeats the text that was given: somebody
may have given the secret itself.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from typing import Final, NoReturn

from gapless.core.secrets import Secrets
from gapless.errors import ConfigError

__all__ = ["Credentials"]

FILE_MAX_BYTES: Final = 65_536

_PREFIX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FORMS: Final = "credentials are given as env:PREFIX or file:PATH, and never as the key itself"


class Credentials:
    """A reference to a key, a secret and perhaps a passphrase."""

    __slots__ = ("_kind", "_place")

    def __init__(self, kind: str, place: str) -> None:
        self._kind = kind
        self._place = place

    @classmethod
    def of(cls, reference: str) -> Credentials:
        """Return the credentials that ``reference`` names.

        Args:
            reference: ``env:PREFIX`` for the environment variables ``PREFIX_KEY``,
                ``PREFIX_SECRET`` and, if it is set, ``PREFIX_PASSPHRASE``; or ``file:PATH`` for
                a TOML file with ``key``, ``secret`` and perhaps ``passphrase``, which nobody
                but its owner may read.

        Raises:
            ConfigError: If it is neither; it does not repeat the text.
        """
        given: object = reference
        kind, _, place = given.partition(":") if isinstance(given, str) else ("", "", "")
        if kind == "env" and _PREFIX.fullmatch(place):
            return cls(kind, place)
        if kind == "file" and place and "\0" not in place:
            return cls(kind, place)
        raise ConfigError(_FORMS)

    def read(self) -> Secrets:
        """Return what is there now.

        Raises:
            ConfigError: If it is not there, is not whole, or lies open to others.
        """
        # The frame that raises holds words only: a traceback may be printed with its values.
        found = _from_env(self._place) if self._kind == "env" else _from_file(self._place)
        if isinstance(found, Secrets):
            return found
        raise ConfigError(found)

    def __repr__(self) -> str:
        return f"Credentials({self._kind})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("credentials are neither copied nor pickled")


def _from_env(prefix: str) -> Secrets | str:
    for part in ("KEY", "SECRET"):
        if not os.environ.get(f"{prefix}_{part}"):
            return f"credentials: the variable that ends in _{part} is not in the environment"
    return Secrets(
        os.environ[f"{prefix}_KEY"],
        os.environ[f"{prefix}_SECRET"],
        os.environ.get(f"{prefix}_PASSPHRASE", ""),
    )


def _from_file(path: str) -> Secrets | str:
    try:
        # Not waiting for a writer, should it be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return f"credentials: the file cannot be read: {error.strerror}"
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            return "credentials: what is named is not a file"
        if state.st_mode & _OTHERS:
            return "credentials: others can read the file; chmod 600 it"
        with open(descriptor, "rb", closefd=False) as file:  # this very file, not its name
            text = file.read(FILE_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(text) > FILE_MAX_BYTES:
        return "credentials: the file is too long to be one"
    return _parsed(text)


def _parsed(text: bytes) -> Secrets | str:
    try:
        values: Mapping[str, object] = tomllib.loads(text.decode())
    except ValueError:
        values = {}
    key, secret = values.get("key"), values.get("secret")
    passphrase = values.get("passphrase", "")
    sound = isinstance(key, str) and isinstance(secret, str) and isinstance(passphrase, str)
    if not sound or not key or not secret:
        return "credentials: the file is not TOML with the texts key, secret, passphrase"
    return Secrets(str(key), str(secret), str(passphrase))
