"""Carries out planned silence for everything that a feed follows.

While a silence is planned the topic is not judged: no alarm, no dial.  It is judged again once
what explained the silence is over and no book or quote of the symbol is crossed any more; after
`CROSSED_MAX_NS` it is judged anyhow.

What selectors pick has its instruments' states from the venue's listing, which `Chains` acts on;
here it is the calendar, the venue's news of itself, and news of instruments followed by name.
"""

from __future__ import annotations

from typing import Final, Protocol

from gapless.core.audit import is_crossed, top_of
from gapless.core.calendar import Calendar, Pauses
from gapless.core.codec import Lifecycle
from gapless.core.stream import Moment, Stream
from gapless.core.vigil import Vigil
from gapless.events import NoticeKind
from gapless.io.following import Following
from gapless.venues._profile import Profile

__all__ = ["CROSSED_MAX_NS", "PlannedSilence"]

CROSSED_MAX_NS: Final = 60_000_000_000
"""How long a book may stay crossed after its instrument has opened, and still be excused."""

SPOKE_NS: Final = 2_000_000_000
"""By the calendar alone, a topic that spoke this lately is shown as it is: it is not silent."""

SHOWN: Final = 5  # topics named in one notice at most


class Host(Protocol):
    """Who runs the feed."""

    def announce(self, kind: NoticeKind, cause: str, evidence: str) -> None: ...


class PlannedSilence:
    """Knows which silences are planned, and tells those who would judge them.

    Args:
        profile: The venue.
        following: What is followed.
        vigil: Judges silences.
        host: Who runs the feed.
    """

    def __init__(self, profile: Profile, following: Following, vigil: Vigil, host: Host) -> None:
        self._pauses = Pauses(Calendar(profile.calendar.value))
        self._following = following
        self._vigil = vigil
        self._host = host
        self._scheduled: str | None = None
        self._changed = False
        self._excused: dict[str, str] = {}  # topics whose silence is planned by us, and why
        self._over_ns: dict[str, int] = {}  # those of them that wait for an uncrossed book

    def told(self, news: Lifecycle) -> None:
        """Take the venue's news of one instrument."""
        self._changed |= self._pauses.told(news.symbol, news.state)

    def closed(self, closed: bool) -> None:
        """Take the venue's news of itself."""
        self._changed |= self._pauses.closed(closed)

    def missed_news(self) -> None:
        """Note that no session was there to hear news; what was said may not hold any more."""
        self._changed |= self._pauses.forget_news()

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic that is followed no more."""
        self._excused.pop(topic, None)
        self._over_ns.pop(topic, None)

    def tick(self, now: Moment) -> None:
        """Act on the calendar, on what was said, and on books that have uncrossed."""
        scheduled = self._pauses.scheduled(now.recv_ns)
        if self._changed or scheduled != self._scheduled:
            self._changed, self._scheduled = False, scheduled
            self._review(now)
        if self._over_ns:
            self._resume(now)

    def shown(self, topic: str, age_s: float | None) -> str | None:
        """Return why the silence of a topic is planned, or `None` if it is not, or not silent."""
        cause = self._following.planned.get(topic)
        by_calendar = cause is not None and cause == self._scheduled
        if by_calendar and age_s is not None and age_s * 1e9 < SPOKE_NS:
            return None
        return cause

    def _review(self, now: Moment) -> None:
        planned = self._following.planned
        begun: dict[str, list[str]] = {}
        for topic, stream in self._following.streams.items():
            cause = self._cause(topic, stream, now)
            before = self._excused.get(topic)
            if cause is None:
                if before is not None:
                    self._over_ns.setdefault(topic, now.mono_ns)
                continue
            self._over_ns.pop(topic, None)
            if before is None and topic in planned:
                continue  # a selection has excused it already
            if cause != before:
                self._excused[topic] = planned[topic] = cause
                begun.setdefault(cause, []).append(topic)
        for cause, topics in begun.items():
            what = f"{len(topics)} of {len(self._following.streams)} topics: silent as planned"
            self._host.announce("planned", f"{what}, {cause}", _names(topics))
        if begun:
            self._vigil.forgive(now.mono_ns)  # the rhythm of whole lines changes with them

    def _cause(self, topic: str, stream: Stream, now: Moment) -> str | None:
        # Of what a selection follows the listing says more than news that may have been missed.
        symbol = stream.spec.symbol if self._following.is_named(topic) else ""
        return self._pauses.cause(symbol, now.recv_ns)

    def _resume(self, now: Moment) -> None:
        crossed = self._crossed()
        resumed: list[str] = []
        for topic, since_ns in list(self._over_ns.items()):
            stream = self._following.streams[topic]
            if stream.spec.symbol in crossed and now.mono_ns - since_ns < CROSSED_MAX_NS:
                continue
            del self._over_ns[topic]
            cause = self._excused.pop(topic)
            if self._following.planned.get(topic) == cause:  # a selection may have its own reason
                del self._following.planned[topic]
            resumed.append(topic)
        if resumed:
            what = f"{len(resumed)} of {len(self._following.streams)} topics"
            self._host.announce("resumed", f"{what}: expected to speak again", _names(resumed))
            self._vigil.forgive(now.mono_ns)

    def _crossed(self) -> set[str]:
        """Return the symbols that wait, and whose prices nobody could trade at."""
        waiting = {self._following.streams[topic].spec.symbol for topic in self._over_ns}
        crossed = set()
        for stream in self._following.streams.values():
            if stream.spec.symbol not in waiting or stream.spec.channel not in {"bbo", "book"}:
                continue
            top = top_of(stream)
            if top is not None and is_crossed(top):
                crossed.add(stream.spec.symbol)
        return crossed


def _names(topics: list[str]) -> str:
    return ", ".join(topics[:SHOWN]) + (", ..." if len(topics) > SHOWN else "")
