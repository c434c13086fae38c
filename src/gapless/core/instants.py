"""Reading times that venues write as text, exactly.

A float of seconds keeps a microsecond at best, and the standard library's own parser stops there
too.  Venues write nanoseconds, so the digits are read as they stand: ``2026-08-09T21:05:48Z``,
with up to nine digits of a fraction.  Only UTC is read, written ``Z``; anything else is refused,
because a time that is guessed is worse than none.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

from gapless.errors import DecodeError, printable

__all__ = ["instant_ns"]

_FORM: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?Z"
)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_DAYS_MAX: Final = 2**63 // (86_400 * 10**9)  # nanoseconds of later days do not fit 64 bits
_SCALE: Final = tuple(10 ** (9 - digits) for digits in range(10))


def instant_ns(text: str) -> int:
    """Return the Unix time of an ISO 8601 text in UTC, in nanoseconds, exactly.

    A second of 60, which a leap second may have, is the one that follows.

    Raises:
        DecodeError: If it is not such a text, no time of any day, or not between 1970 and 2262.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise DecodeError(f"not a time in UTC: {printable(text)}")
    day, hour, minute, second, fraction = match.groups()
    if hour > "23" or minute > "59" or second > "60":
        raise DecodeError(f"no time of any day: {text}")
    seconds = _day_s(day) + int(hour) * 3600 + int(minute) * 60 + int(second)
    nanos = 0 if fraction is None else int(fraction) * _SCALE[len(fraction)]
    return seconds * 1_000_000_000 + nanos


@lru_cache(maxsize=64)  # days change rarely; the bound holds whatever a venue sends
def _day_s(day: str) -> int:
    try:
        days = date.fromisoformat(day).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise DecodeError(f"no day of any year: {day}") from error
    if not 0 <= days < _DAYS_MAX:
        raise DecodeError(f"a time before 1970 or after 2262: {day}")
    return days * 86_400
