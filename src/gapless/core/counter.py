"""One counter for a whole connection: a hole in it concerns everything that the connection carries.

Some venues number every frame of a connection, whatever its topic, acknowledgements and
heartbeats included.  Such a number proves nothing about one topic alone, and everything about all
of them together: while it rises by one, nothing was lost on this connection.
"""

from __future__ import annotations

from gapless.errors import ProtocolViolation

__all__ = ["ConnectionCounter"]


class ConnectionCounter:
    """Follows the numbers of one connection.

    Attributes:
        checked: Frames compared with the one before.
        holes: How often something was missing.
        repeats: Frames with a number that had come already.
        proven: The number of the newest frame that follows the one before it, or `None`.  A frame
            that brings it proves that the connection had lost nothing until then.
    """

    __slots__ = ("_last", "checked", "holes", "proven", "repeats")

    def __init__(self) -> None:
        self._last: int | None = None
        self.checked = 0
        self.holes = 0
        self.repeats = 0
        self.proven: int | None = None

    def follow(self, number: int) -> tuple[int, int] | None:
        """Take the next frame's number; return the first and last number missing before it.

        Raises:
            ProtocolViolation: If it lies before the last one.  A connection keeps its order, so
                the venue counts anew, and nothing tells what was lost in between.
        """
        last = self._last
        if last is None:
            self._last = number
            return None
        self.checked += 1
        if number == last + 1:
            self._last = self.proven = number
            return None
        self.proven = None  # a repeat says nothing of what came since
        if number == last:
            self.repeats += 1
            return None
        if number < last:
            raise ProtocolViolation(f"the connection's numbers step back from {last} to {number}")
        self._last = number
        self.holes += 1
        return last + 1, number - 1
