"""Recognising the REST replies of a capture that are snapshots of books.

The profile says how it would ask; what was asked in a capture is compared with that.  Versions in
a path change over the years and are not compared, nor are hosts.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from gapless.venues._profile import Rest

__all__ = ["Snapshots"]

_MARK: Final = "SYMBOL"
_VERSION: Final = re.compile(r"v?\d+(\.\d+)?")


class Snapshots:
    """How this venue's snapshots look in a capture."""

    def __init__(self, rest: Rest | None) -> None:
        asked = None if rest is None else rest.snapshot(_MARK)
        self._path: tuple[str, ...] | None = None
        self._query: tuple[tuple[str, str], ...] = ()
        if asked is not None:
            self._path = _parts(asked.path)
            self._query = tuple(pair for pair in asked.query if _MARK in pair[1].upper())

    @property
    def exist(self) -> bool:
        """Whether the venue's books begin with a request at all."""
        return self._path is not None

    def symbol(self, url: str) -> str | None:
        """Return whose book was asked for, or `None` if something else was."""
        if self._path is None:
            return None
        try:
            asked = urlsplit(url)
            sent = dict(parse_qsl(asked.query))
        except ValueError:
            return None
        found = _within(self._path, _parts(asked.path))
        for name, pattern in self._query:
            found = _between(pattern, sent.get(name, "")) if found is not None else None
        return found or None


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part and not _VERSION.fullmatch(part))


def _within(pattern: tuple[str, ...], path: tuple[str, ...]) -> str | None:
    """Return the symbol in a path, empty if its place is elsewhere; `None` if it differs."""
    found = ""
    if len(path) != len(pattern):
        return None
    for expected, part in zip(pattern, path, strict=True):
        if _MARK in expected.upper():
            symbol = _between(expected, part)
            if symbol is None:
                return None
            found = symbol
        elif expected != part:
            return None
    return found


def _between(pattern: str, text: str) -> str | None:
    head, _, tail = pattern.upper().partition(_MARK)
    rest = text[len(head) : len(text) - len(tail)]
    fits = text.upper().startswith(head) and text.upper().endswith(tail) and rest
    return rest if fits else None
