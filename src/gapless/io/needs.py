"""Carries out what streams need: a topic subscribed anew, a snapshot, or missing trades.

What cannot be done at once is deferred, and taken up again on the tick, by priority.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from random import Random
from typing import Final, Protocol

from gapless.core.backfill import BackfilledStream, Hole
from gapless.core.booksync import BookStream
from gapless.core.budget import Budget
from gapless.core.kinds import AnyBook
from gapless.core.lifecycle import Phase
from gapless.core.stream import Moment, Need, Stream, TopicSpec
from gapless.core.subscriptions import Wish
from gapless.errors import SubscriptionRejected
from gapless.events import NoticeKind, Origin
from gapless.io.backfill import Backfills
from gapless.io.clock import Clock
from gapless.io.driver import Driver
from gapless.io.following import Following
from gapless.io.plan import Plan
from gapless.io.snapshots import RestClient, Snapshots

__all__ = ["Needs", "Noter", "topic_origin"]

RESUBSCRIBE_NS: Final = 1_000_000_000  # least time between two resubscribes of one topic


class Noter(Protocol):
    """Who is told."""

    def moment(self) -> Moment: ...

    def refuse(self, topic: str, error: SubscriptionRejected, evidence: str) -> None:
        """Note that a topic will not be had, once."""

    def note(
        self,
        kind: NoticeKind,
        now: Moment,
        cause: str,
        evidence: str,
        driver: Driver | None,
        origin: Origin | None = None,
    ) -> None: ...


class Needs:
    """Serves the streams of one feed.

    Args:
        plan: The feed's plan.
        following: What is followed.
        drivers: The sessions at work, by epoch.
        rest: Carries out REST reads.
        pools: The venue's request budgets.
        clock: The time.
        rng: Source of jitter.
        noter: Who is told.
    """

    def __init__(
        self,
        plan: Plan,
        following: Following,
        drivers: Mapping[int, Driver],
        rest: RestClient,
        pools: Mapping[str, Budget],
        clock: Clock,
        rng: Random,
        noter: Noter,
    ) -> None:
        self._following = following
        self._drivers = drivers
        self._noter = noter
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._resubscribed_ns: dict[str, int] = {}
        self._deferred: dict[str, Need] = {}
        dialect, bases = plan.profile.rest, plan.rest_endpoints
        self._snapshots = None
        if dialect is not None and bases:
            self._snapshots = Snapshots(dialect, rest, bases, pools, clock, rng, self._no_snapshot)
        self._backfills = Backfills(dialect, rest, bases, pools, clock, rng, self._not_backfilled)

    @property
    def snapshot_fetches(self) -> int:
        """How many REST snapshots were asked for."""
        return 0 if self._snapshots is None else self._snapshots.fetches

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Let fetches run in ``tasks`` from now on."""
        self._tasks = tasks

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` until it ends, or until `cancel`."""
        if self._tasks is None:
            work.close()
            return
        task = self._tasks.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def cancel(self) -> None:
        """End every fetch; it may be waiting for minutes, as the venue asked."""
        for task in self._under_way:
            task.cancel()

    def take(self, need: Need) -> None:
        """Serve a need now, or remember it."""
        stream = self._following.streams.get(need.topic)
        if stream is None:
            return  # followed no more
        match need.kind:
            case "snapshot":
                self._fetch(stream)
            case "backfill":
                self._backfill(stream)
            case "diverged":
                driver = self._drivers.get(need.epoch)
                origin = topic_origin(stream.spec)
                if driver is not None:
                    origin = driver.origins.get(need.topic, origin)
                now = self._noter.moment()
                self._noter.note("diverged", now, need.cause, need.evidence, driver, origin)
            case "resubscribe":
                self._resubscribe(need, stream)

    def retry(self) -> None:
        """Come back to what could not be done, the most important first."""
        for topic in self._following.first(self._deferred):
            need = self._deferred.pop(topic)
            stream = self._following.streams[topic]
            if isinstance(stream, AnyBook) and stream.sources and not stream.readable:
                self.take(need)

    def forget(self, topic: str) -> None:
        """Drop whatever is remembered of a topic that is followed no more."""
        self._deferred.pop(topic, None)
        self._resubscribed_ns.pop(topic, None)

    def _fetch(self, stream: Stream) -> None:
        snapshots = self._snapshots
        if not isinstance(stream, BookStream) or snapshots is None or self._tasks is None:
            return
        if snapshots.want(stream):
            self.spawn(snapshots.fetch(stream))

    def _backfill(self, stream: Stream) -> None:
        if not isinstance(stream, BackfilledStream) or self._tasks is None:
            return
        if self._backfills.want(stream):
            self.spawn(self._backfills.fill(stream))

    def _resubscribe(self, need: Need, stream: Stream) -> None:
        now = self._noter.moment()
        last_ns = self._resubscribed_ns.get(need.topic)
        soon = last_ns is not None and now.mono_ns - last_ns < RESUBSCRIBE_NS
        driver = None if soon else self._able(need, stream)
        if driver is None:
            self._deferred[need.topic] = need  # the tick comes back to it
            return
        self._resubscribed_ns[need.topic] = now.mono_ns
        origin = driver.origins[need.topic]
        self._noter.note("resync", now, need.cause, "subscribing anew", driver, origin)
        driver.resubscribe(need.topic, now.mono_ns)

    def _able(self, need: Need, stream: Stream) -> Driver | None:
        """Return the session that is to subscribe anew, or the newest that can, if there is one.

        A book that another session carries meanwhile is not disturbed for it.
        """
        able = {
            epoch: driver
            for epoch, driver in self._drivers.items()
            if driver.session.phase is Phase.LIVE
            and driver.session.subscriptions.stands(need.topic) is Wish.CONFIRMED
        }
        if need.epoch in able:
            return able[need.epoch]
        carried = isinstance(stream, AnyBook) and stream.readable
        return able[max(able)] if able and not carried else None

    def _no_snapshot(self, stream: BookStream, error: Exception) -> None:
        topic = stream.spec.topic
        if self._following.streams.get(topic) is not stream:
            return  # followed no more, or listed again since: the answer is to an old question
        if isinstance(error, SubscriptionRejected):
            self._noter.refuse(topic, error, "the snapshot was refused")
            return
        words = f"{type(error).__name__}: {error}"
        now, origin = self._noter.moment(), topic_origin(stream.spec)
        self._noter.note("resync", now, words, "the snapshot was not to be had", None, origin)

    def _not_backfilled(self, stream: BackfilledStream, hole: Hole) -> None:
        cause = f"{hole.lacking} of {hole.first} to {hole.last} stay missing: {hole.why}"
        now, origin = self._noter.moment(), topic_origin(stream.spec)
        self._noter.note("backfill", now, cause, hole.trouble, None, origin)


def topic_origin(spec: TopicSpec) -> Origin:
    """Return an origin for what concerns a topic and no session: it may have none left."""
    return Origin(spec.venue, spec.channel, spec.symbol, spec.topic, "", 0)
