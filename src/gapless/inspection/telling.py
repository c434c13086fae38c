"""Telling which venue a capture is from.

In this order: what the capture says of itself, the hosts that were dialled, the folder that the
file lies in, and whose codec reads the first frames best.  Where several fit equally well, nothing
is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gapless.capture.records import Record
from gapless.inspection.inspector import Inspector
from gapless.inspection.urls import fit
from gapless.venues._profile import Profile

__all__ = ["SAMPLE_FRAMES", "fitting"]

SAMPLE_FRAMES: Final = 400
"""Records that are looked at."""

_SHARE: Final = 0.1  # of the sample must be read, or else it is another venue's


def fitting(
    sample: Sequence[Record], folder: str, profiles: Iterable[Profile], said: str | None = None
) -> list[Profile]:
    """Return the profiles that fit best; one of them if it is clear, none if nothing fits.

    Args:
        sample: The first records.
        folder: Name of the folder that the file lies in.
        profiles: Those to choose from.
        said: The venue that the capture names, if it does.
    """
    known = list(profiles)
    named = [profile for profile in known if profile.name == said]
    if named:
        return named
    urls = [record.url for record in sample if record.kind == "open" and record.url]
    dialled = _by_host(urls, known)
    if len(dialled) == 1:
        return dialled
    for narrowed in (dialled, _by_folder(folder, known), known):
        best = _best(narrowed, lambda profile: _read(sample, profile))
        if best:
            return best
    return []


def _by_host(urls: Sequence[str], profiles: list[Profile]) -> list[Profile]:
    """Return whom the URLs fit; where each fits another one, that of the first.

    A capture may hold several markets of one family, each on a connection of its own; which
    connection is whose, its URL says again when it is read.
    """
    each = [_best(profiles, lambda profile, url=url: fit(url, profile)) for url in urls]  # type: ignore[misc]
    clear = [found for found in each if found]
    if clear and all(len(found) == 1 for found in clear):
        return clear[0]
    return _best(profiles, lambda profile: sum(fit(url, profile) for url in urls))


def _by_folder(folder: str, profiles: list[Profile]) -> list[Profile]:
    name = folder.lower().replace("_", ".")
    exact = [profile for profile in profiles if profile.name == name]
    family = name.partition(".")[0]
    return exact or [one for one in profiles if one.name.partition(".")[0] == family]


def _read(sample: Sequence[Record], profile: Profile) -> float:
    """Return how many frames of the sample this venue's codec explains, as data.

    Of two that explain the same, the one of which more hallmarks are there fits better.
    """
    inspector = Inspector(profile)
    wanted = set(profile.hallmarks)
    for record in sample:
        inspector.feed(record)
        wanted -= {text for text in wanted if text in record.text}
    if wanted:
        return 0.0
    read = sum(topic.frames for topic in inspector.topics.values())
    if read < _SHARE * inspector.incoming:
        return 0.0
    return read - inspector.undecoded / 2 + len(profile.hallmarks) / 8


def _best(profiles: list[Profile], score: Callable[[Profile], float]) -> list[Profile]:
    scores = [(score(profile), profile) for profile in profiles]
    highest = max((found for found, _ in scores), default=0.0)
    return [profile for found, profile in scores if found == highest] if highest > 0 else []
