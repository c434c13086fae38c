"""What proves to a venue who we are, in a form that never shows itself."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Secrets"]


@dataclass(frozen=True, slots=True)
class Secrets:
    """A key and what belongs to it.  Its representation names none of them.

    Args:
        key: The public part, or client id.
        secret: What requests are signed with.
        passphrase: A third part, where the venue asks for one.
    """

    key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(default="", repr=False)
