"""The drop test: leave frames out on purpose, and see whether their loss is noticed.

Which frames, a seed decides: all frames that carry data are equally likely.  The capture is read
once to choose them and once more without them, so that neither has to be kept.
"""

from __future__ import annotations

from random import Random

from gapless.capture.records import Record
from gapless.core.codec import Bundle
from gapless.inspection.inspector import Inspector
from gapless.inspection.report import Dropped

__all__ = ["Lot"]


class Lot:
    """Chooses frames while a capture is read.

    Args:
        inspector: A fresh one, which tells the frames that carry data.
        count: How many to choose; all, if there are fewer.
        seed: Which.
    """

    def __init__(self, inspector: Inspector, count: int, seed: int) -> None:
        self._inspector = inspector
        self._count = count
        self._random = Random(seed)  # noqa: S311  # a test that can be repeated, no secret
        self._seen = 0
        self._chosen: list[Dropped] = []

    def feed(self, record: Record) -> None:
        """Take the next record; if it carries data, it may be chosen."""
        said = self._inspector.read(record)
        events = said.events if isinstance(said, Bundle) else said
        if not isinstance(events, list | tuple) or not events:
            return
        self._seen += 1
        place = self._seen - 1
        if place >= self._count:  # reservoir sampling, algorithm R
            place = self._random.randrange(self._seen)
            if place >= self._count:
                return
        topics = tuple(dict.fromkeys(event.origin.topic for event in events))
        self._chosen[place : place + 1] = [Dropped(record.number, topics)]

    def drawn(self) -> list[Dropped]:
        """Return the chosen frames in order."""
        return sorted(self._chosen, key=_frame)


def _frame(dropped: Dropped) -> int:
    return dropped.frame
