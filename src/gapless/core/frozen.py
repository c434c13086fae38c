"""Messages that come, and always say the same.

A socket that repeats its last message for ever is busy, and no watch on silence sees it.  So the
newest content of a topic is compared from look to look: with its own habit, for a quiet market
repeats itself too.  Only a topic whose content has changed often, and then stays the same for far
longer than ever before, while messages go on arriving, is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gapless.events import BookDelta, Event, Trade

__all__ = ["FreezePolicy", "FrozenWatch", "content"]

_ENVELOPE: Final = 6  # origin, three times and two numbers: they change where nothing else does


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePolicy:
    """When repetition is called frozen.

    Args:
        changes: How often the content must have changed before.
        repeats: How many messages at least must have said the same.
        for_ns: For how long at least, in nanoseconds.
        times: How many times the longest repetition so far, in both.
    """

    changes: int = 20
    repeats: int = 50
    for_ns: int = 10_000_000_000
    times: int = 8


def content(event: Event) -> object:
    """Return what a message says, without when and where it came.

    Trades and changes of a book may well be alike; the same one is only the very same.
    """
    if isinstance(event, Trade | BookDelta):
        return id(event)
    return tuple(getattr(event, name) for name in event.__struct_fields__[_ENVELOPE:])


class FrozenWatch:
    """Follows the content of one topic.

    Attributes:
        since_ns: Since when it says the same, monotonic.
        repeats: How many messages have said so.
    """

    __slots__ = (
        "_changes",
        "_content",
        "_longest",
        "_longest_ns",
        "_newest",
        "_policy",
        "repeats",
        "since_ns",
    )

    def __init__(self, policy: FreezePolicy) -> None:
        self._policy = policy
        self._newest: Event | None = None
        self._content: object = None
        self._changes = 0
        self._longest = 0
        self._longest_ns = 0
        self.repeats = 0
        self.since_ns = 0

    def look(self, newest: Event, fresh: int, now_ns: int) -> bool:
        """Take what has arrived since the last look; return whether the topic is frozen.

        Args:
            newest: The newest message that was delivered.
            fresh: How many have arrived from one source, at least 1.
            now_ns: Now.
        """
        if newest is not self._newest:
            said = content(newest)
            self._newest = newest
            if said != self._content:
                self._content = said
                self._changes += 1
                self._longest = max(self._longest, self.repeats)
                self._longest_ns = max(
                    self._longest_ns, now_ns - self.since_ns if self.repeats else 0
                )
                self.repeats, self.since_ns = 0, now_ns
                return False
        self.repeats += fresh
        return self.is_frozen(now_ns)

    def is_frozen(self, now_ns: int) -> bool:
        """Whether it is, as far as was looked."""
        policy = self._policy
        return (
            self._changes > policy.changes
            and self.repeats >= max(policy.repeats, policy.times * self._longest)
            and now_ns - self.since_ns >= max(policy.for_ns, policy.times * self._longest_ns)
        )
