"""What the numbers of one topic on one connection say, from the first frame on.

The product's streams deliver, hold and heal; here nothing is healed.  Every message is compared
with the one before it on the same connection, and each run of missing ones is one break.  What
re-bases is only what the venue re-bases: a snapshot begins a new count.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from gapless.core.sequence import Numbering, Place, place
from gapless.core.stream import NEVER, REGRESS_NS

__all__ = ["BREAKS_MAX", "HOLES_MAX", "Break", "Leg", "Verdict"]

BREAKS_MAX: Final = 1_000
"""Breaks of one topic that are listed; more are only counted."""

HOLES_MAX: Final = 64
"""Holes of one topic that a late message is still recognised to belong to, newest first."""

Verdict = Literal["first", "next", "base", "overlap", "duplicate", "out of order", "break", "none"]
"""What was decided about one message; ``none`` where there is no number to decide by."""


class Break(Struct, frozen=True, gc=False):
    """One run of missing messages.

    Attributes:
        frame: The frame that shows it, by its number in the capture.
        expected: The number that should have come: on a chain, the one that the frame should
            have named as the one before it.
        got: The number that came instead.
        previous: The last frame of the topic before it.
        connection: Which connection.
    """

    frame: int
    expected: int
    got: int
    previous: int
    connection: str


class Leg:
    """The numbers of one topic on one connection.

    Args:
        numbering: What they prove.
        images: Whether every message is a whole image, so that none of them re-bases.
        connection: The connection's name, for the breaks.

    Attributes:
        expect: The number that would be next; `gapless.core.stream.NEVER` if none would.
        checked: Messages compared with the one before.
        broken: How many breaks there were, whether or not they are listed.
        breaks: The first `BREAKS_MAX` of them.
        frame: Number of the last frame that brought this topic; 0 if none did.
        made_ns: The venue's time of the newest message, or `None`.
    """

    __slots__ = (
        "_chain",
        "_holes",
        "breaks",
        "broken",
        "checked",
        "connection",
        "duplicates",
        "expect",
        "frame",
        "images",
        "made_ns",
        "out_of_order",
        "proves",
    )

    def __init__(self, numbering: Numbering, *, images: bool, connection: str) -> None:
        self.connection = connection
        self.images = images
        self.proves = numbering in {Numbering.DENSE, Numbering.CHAIN}
        self.expect = NEVER
        self.checked = 0
        self.broken = 0
        self.breaks: list[Break] = []
        self.duplicates = 0
        self.out_of_order = 0
        self.frame = 0
        self._chain = numbering is Numbering.CHAIN
        self.made_ns: int | None = None
        self._holes: list[tuple[int, int]] = []

    def base(self, last: int, made_ns: int | None) -> Verdict:
        """Begin to count anew, as at a snapshot."""
        self._move(last, made_ns)
        return "base"

    def follow(self, first: int, last: int, frame: int, made_ns: int | None) -> Verdict:
        """Compare a message ``first..last`` with the one before it.

        Whoever knows already that ``first`` is what was expected may spare the call: counting
        it, and moving ``expect``, ``made_ns`` and ``frame``, is all that would happen.

        Args:
            first: First number that it covers.
            last: Last number that it covers.
            frame: Number of its frame in the capture.
            made_ns: The venue's time of it, or `None`.
        """
        if self.expect == NEVER:
            self._move(last, made_ns)
            return "first"
        self.checked += 1
        match self._place(first, last):
            case Place.NEXT:
                self._move(last, made_ns)
                return "next"
            case Place.OVERLAP if not self._chain:
                self.duplicates += 1
                self._move(last, made_ns)
                return "overlap"
            case Place.DUPLICATE if self._fills(first, last):
                self.out_of_order += 1
                return "out of order"
            case Place.DUPLICATE if not self._anew(made_ns):
                self.duplicates += 1
                return "duplicate"
            case _:
                self._break(first, frame)
                self._move(last, made_ns)
                return "break"

    def _place(self, first: int, last: int) -> Place:
        if self._chain and last < first - 1 and first > self.expect:
            return Place.AHEAD  # the message with which the venue counts anew, after a hole
        return place(self.expect, first, last)

    def _move(self, last: int, made_ns: int | None) -> None:
        self.made_ns = made_ns
        self.expect = last + 1

    def _break(self, first: int, frame: int) -> None:
        self.broken += 1
        less = 1 if self._chain else 0
        if len(self.breaks) < BREAKS_MAX:
            self.breaks.append(
                Break(frame, self.expect - less, first - less, self.frame, self.connection)
            )
        if first > self.expect:
            self._holes.append((self.expect, first - 1))
            del self._holes[:-HOLES_MAX]

    def _fills(self, first: int, last: int) -> bool:
        """Whether the message belongs into a hole that was announced; the hole gets smaller."""
        for index, (low, high) in enumerate(self._holes):
            if low <= first and last <= high:
                rest = [(low, first - 1), (last + 1, high)]
                self._holes[index : index + 1] = [hole for hole in rest if hole[0] <= hole[1]]
                return True
        return False

    def _anew(self, made_ns: int | None) -> bool:
        """Whether a number from the past comes with a time that is not: a new numbering."""
        known = self.made_ns
        return known is not None and made_ns is not None and made_ns > known + REGRESS_NS
