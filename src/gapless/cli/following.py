"""Following a feed onto stdout: events, the notices between them, and the summary at the end.

One task turns events into lines, another writes what has gathered twenty times a second.  The
first waits for the second when much has gathered, so that a slow reader is felt in the feed's
own queue, which marks what it drops.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, Protocol

from gapless.cli import exits
from gapless.cli.ndjson import event_line, notice_line, summary_line
from gapless.cli.output import Output
from gapless.cli.wording import Wording
from gapless.events import Event, Gap, Notice, Resynced

if TYPE_CHECKING:
    from gapless.cli.running import Stop
    from gapless.client import Feed
    from gapless.core.stats import FeedStats

__all__ = ["JsonLines", "TextLines", "exit_code", "follow", "talk"]

FLUSH_S: Final = 0.05
GATHERED_MAX: Final = 2000  # lines that may wait for the next write
LAST_WRITE_S: Final = 5.0  # for a reader that is behind when we end

_WORRYING: Final = frozenset(
    {
        "refused",
        "resolver",
        "shared-fate",
        "stalled",
        "unproven",
        "slow",
        "frozen",
        "own-stall",
        "resync",
        "violation",
        "limited",
        "budget",
        "venue",
        "slow-consumer",
        "halted",
    }
)


class Lines(Protocol):
    """How events look on stdout; every method returns whole lines."""

    def event(self, event: Event) -> bytes: ...
    def notice(self, notice: Notice) -> bytes: ...
    def summary(self, stats: FeedStats) -> bytes: ...


class JsonLines:
    """JSON, one object a line."""

    event = staticmethod(event_line)
    notice = staticmethod(notice_line)

    def summary(self, stats: FeedStats) -> bytes:
        return summary_line(stats, time.time_ns(), time.monotonic_ns())


class TextLines:
    """Text for people.

    Args:
        wording: How it is said.
    """

    def __init__(self, wording: Wording) -> None:
        self._wording = wording

    def event(self, event: Event) -> bytes:
        return _encoded(self._wording.event(event))

    def notice(self, notice: Notice) -> bytes:
        return _encoded(self._wording.notice(notice))

    def summary(self, stats: FeedStats) -> bytes:
        return b"".join(_encoded(line) for line in self._wording.summary(stats))


async def follow(
    feed: Feed[object], stop: Stop, output: Output, lines: Lines, *, talkative: bool
) -> FeedStats:
    """Write a feed until ``stop``, and the summary behind it.

    Args:
        feed: Not yet entered.
        stop: Ends it.
        output: Where lines go.
        lines: How they look.
        talkative: Whether to say on stderr too what goes wrong.

    Returns:
        The last counters.

    Raises:
        BrokenPipeError: The reader has left.
        GaplessError: What ended the feed, after the summary.
    """
    follower = _Follower(feed, output, lines, talkative=talkative)
    async with feed:
        gather = asyncio.create_task(follower.gather())
        write = asyncio.create_task(follower.write_often())
        wait = asyncio.create_task(stop.wait())
        await asyncio.wait((gather, write, wait), return_when=asyncio.FIRST_COMPLETED)
        wait.cancel()
        if write.done():  # nobody reads: what is left has nowhere to go
            gather.cancel()
    failure: Exception | None = None
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await asyncio.wait_for(gather, LAST_WRITE_S)
        except TimeoutError as error:
            raise exits.Failure(exits.CANNOT_WRITE, "nobody reads stdout") from error
        except Exception as error:
            failure = error
    write.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await write
    stats = feed.stats()
    follower.look()
    try:
        await asyncio.wait_for(follower.write(lines.summary(stats)), LAST_WRITE_S)
    except TimeoutError as error:
        raise exits.Failure(exits.CANNOT_WRITE, "nobody reads stdout") from error
    if failure is not None:
        raise failure
    return stats


def exit_code(stats: FeedStats, stop: Stop) -> int:
    """Return how a run that was ended counts; says why if nothing ever went live."""
    if stats.sessions:
        return exits.FINE
    why = "nothing was dialled in time"
    if stats.ended:
        causes = [end.cause for end in stats.ended if end.cause != "planned"]
        why = _sentence(causes[-1]) if causes else "ended before the venue had confirmed"
    exits.say(f"no session went live: {why}")
    return exits.UNREACHABLE


def talk(notice: Notice) -> None:
    """Say on stderr what a person who only sees data should know."""
    where = "" if notice.line is None else f" line {notice.line}"
    if notice.kind == "ended" and notice.cause != "planned":
        exits.say(f"{notice.venue}{where}: ended: {_sentence(notice.cause)}")
    elif notice.kind == "live":
        exits.say(f"{notice.venue}{where}: live")
    elif notice.kind in _WORRYING:
        exits.say(f"{notice.venue}{where}: {notice.kind}: {_sentence(notice.cause)}")


class _Follower:
    def __init__(
        self, feed: Feed[object], output: Output, lines: Lines, *, talkative: bool
    ) -> None:
        self._feed = feed
        self._output = output
        self._lines = lines
        self._talkative = talkative
        self._gathered: list[bytes] = []
        self._noticed = 0
        self._lock = asyncio.Lock()

    async def gather(self) -> None:
        line_of, gathered = self._lines.event, self._gathered
        async for event in self._feed:
            if isinstance(event, Gap | Resynced):
                self.look()
            if isinstance(event, Event):
                gathered.append(line_of(event))
            if len(gathered) >= GATHERED_MAX:
                await self.write()

    async def write_often(self) -> None:
        while not self._output.reader_left():
            self.look()
            await self.write()
            await asyncio.sleep(FLUSH_S)
        raise BrokenPipeError

    def look(self) -> None:
        """Put what was noticed since the last look between the events."""
        for notice in self._feed.notices(after=self._noticed):
            self._noticed = notice.number
            self._gathered.append(self._lines.notice(notice))
            if self._talkative:
                talk(notice)

    async def write(self, last: bytes = b"") -> None:
        """Write what has gathered, and ``last`` behind it."""
        async with self._lock:
            if self._gathered or last:
                batch = b"".join(self._gathered) + last
                self._gathered.clear()
                await self._output.write(batch)


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace") + b"\n"


def _sentence(cause: str) -> str:
    """Return a session's cause without the name of its class."""
    name, _, rest = cause.partition(": ")
    return rest if rest and name.isidentifier() and name[0].isupper() else cause
