"""What the URL of a connection says: whose it is, and what was asked for in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from gapless.venues._profile import Profile

__all__ = ["fit", "topics_in"]


def fit(url: str, profile: Profile) -> int:
    """Return how well a URL fits a profile: 0 not at all, 1 by its host, 2 by its path too."""
    host, path = _split(url)
    endpoints = profile.endpoints.value
    best = 0
    for endpoint in (*endpoints.public, *endpoints.test):
        declared, own = _split(endpoint)
        if declared and declared == host:
            paths = {own or endpoints.path.rstrip("/")}
            paths |= {path for one in profile.every_channel() for path in one.paths.values()}
            best = max(best, 2 if path in paths else 1)
    return best


def _split(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.hostname or "", parts.path.rstrip("/")


def topics_in(url: str) -> Iterator[str]:
    """Yield every part of a URL that may be the name of a topic."""
    return iter(re.split(r"[/=&,?]+", url)[1:])
