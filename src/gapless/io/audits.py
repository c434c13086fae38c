"""Asks the venue about topics that are silent, and acts on those that it sends no more.

Two questions, both paid from the venue's own budgets, of which no more than `SHARE` is ever used:
what are the best prices of everything (one read for many symbols; see `gapless.core.audit`), and,
where a session can be asked, what is it subscribed to.  Nothing is read while nothing is silent.
A read that fails makes the next one rarer; a venue that says *too much* is left alone for
`STOP_NS`.  Neither changes anything for the data: what cannot be checked is shown as unverified.

A topic that is found wrong is doubted, named, and subscribed anew on its own session.  Only if
that does not help, or if a session has lost many at once, is the session replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from gapless.core.audit import SETTLE_NS, Audit, BulkTop, Verdict, top_of
from gapless.core.budget import Budget, Credit, Limit, Window
from gapless.core.kinds import AnyBook
from gapless.core.lifecycle import Phase
from gapless.core.reconciliation import Standing, least, standing
from gapless.core.stream import Moment, SnapshotFrom, Stream
from gapless.core.subscriptions import Wish
from gapless.core.vigil import Vigil
from gapless.errors import DecodeError, DialFailed, RateLimited, RequestRejected
from gapless.events import NoticeKind, Origin
from gapless.io.clock import Clock
from gapless.io.driver import Driver
from gapless.io.following import Following
from gapless.io.plan import Plan
from gapless.io.snapshots import RestClient
from gapless.venues._profile import RestGet

__all__ = ["LIST_NS", "QUIET_NS", "READ_NS", "SHARE", "UNVERIFIED_NS", "Audits"]

QUIET_NS: Final = 5_000_000_000
"""Silence after which a topic is held against the venue's best prices."""

READ_NS: Final = 10_000_000_000
"""How often they are read while something is silent."""

LIST_NS: Final = 15_000_000_000
"""How often a session is asked what it is subscribed to, where it can be."""

UNVERIFIED_NS: Final = 30_000_000_000
"""Age of the newest proof from which a topic is shown as unverified."""

STOP_NS: Final = 600_000_000_000
"""How long nothing is read after the venue has said that it was too much."""

SHARE: Final = 0.2
"""Of each of the venue's request budgets, this much is used at most."""

MANY: Final = 32
"""Topics found wrong at once for which a session is replaced instead."""

TRIES: Final = 2
"""How often a topic is subscribed anew in vain before its session is replaced."""

TICK_NS: Final = 1_000_000_000
AFFORD_NS: Final = 30_000_000_000  # a read that is not paid for by then is left out
TOPS_MAX: Final = 100_000  # symbols in one reply; a longer one is not believed
REQUESTS_MAX: Final = 32  # for one read of everything
TELL: Final = 3  # failures in a row that are worth a notice, which is not repeated
SHOWN: Final = 20  # topics that are named in a notice each; the rest are counted
CAUSE: Final = "the venue sends it no more"


class Host(Protocol):
    """Who runs the feed."""

    def moment(self) -> Moment: ...

    def expiring(self, driver: Driver, cause: str) -> None:
        """Replace a session, make before break."""

    def note(
        self,
        kind: NoticeKind,
        now: Moment,
        cause: str,
        evidence: str,
        driver: Driver | None,
        origin: Origin | None = None,
    ) -> None: ...


class Audits:
    """Checks the silent topics of one feed.

    Args:
        plan: The feed's plan.
        following: What is followed.
        drivers: The sessions at work, by epoch.
        client: Carries out REST reads.
        pools: The venue's request budgets.
        vigil: Knows whose silence means something.
        clock: The time.
        host: Who runs the feed.

    Attributes:
        reads: Replies that were read.
        found: Topics that the venue was found not to send any more.
    """

    def __init__(
        self,
        plan: Plan,
        following: Following,
        drivers: Mapping[int, Driver],
        client: RestClient,
        pools: Mapping[str, Budget],
        vigil: Vigil,
        clock: Clock,
        host: Host,
    ) -> None:
        profile, bases = plan.profile, plan.rest_endpoints
        self.reads = 0
        self.found = 0
        self._dialect = profile.rest if bases else None
        self._bulk = profile.bulk_reads if bases else None
        self._bases = bases
        self._following = following
        self._drivers = drivers
        self._client = client
        self._pools = pools
        self._shares = {name: Budget(portion(x)) for name, x in profile.pools.value.items()}
        self._vigil = vigil
        self._clock = clock
        self._host = host
        self._audit = Audit()
        self._tries: dict[str, int] = {}  # in vain, by topic
        self._base = 0
        self._failures = 0
        self._read_ns = 0
        self._list_ns = 0

    async def run(self) -> None:
        """Run until cancelled."""
        self._list_ns = self._clock.mono_ns() + LIST_NS
        while True:
            await asyncio.sleep(TICK_NS / 1e9)
            now_ns = self._clock.mono_ns()
            if now_ns >= self._list_ns:
                self._list_ns = now_ns + LIST_NS
                for driver in list(self._drivers.values()):
                    driver.list_again(now_ns)
            if now_ns >= self._read_ns:
                self._read_ns = now_ns + await self._read(now_ns)

    # -- what is shown ----------------------------------------------------------------------

    def wrong(self, topic: str) -> str | None:
        """Return why a topic is not to be believed, or `None` if nothing is known against it."""
        stream = self._following.streams.get(topic)
        if stream is None:
            return None
        lost = any(d.session.subscriptions.is_lost(topic) for d in self._drivers.values())
        return CAUSE if lost or self._audit.wrong(topic, stream.arrived) else None

    def standing(self, topic: str) -> Standing:
        """Return how far it is proven that the venue carries a topic."""
        stream = self._following.streams[topic]
        if self._audit.wrong(topic, stream.arrived):
            return Standing.UNSUBSCRIBED
        return least(
            standing(topic, driver.session.subscriptions, stream, epoch)
            for epoch, driver in self._drivers.items()
            if topic in driver.origins
        )

    def unverified_ns(self, topic: str, now_ns: int) -> int | None:
        """Return how long ago the venue last proved that it carries a topic.

        `None` where that is not in question: the proof is fresh, or the topic's own rhythm would
        show a loss, or it is known to be gone anyhow.
        """
        stream = self._following.streams[topic]
        if stream.blind or not stream.sources or topic in self._following.planned:
            return None
        proofs = [_seen_ns(stream), self._audit.agreed_ns(topic, stream.arrived)]
        sessions = [driver.session for driver in self._drivers.values()]
        proofs += [s.listed_ns for s in sessions if s.subscriptions.is_listed(topic)]
        age_ns = now_ns - max(proofs)
        if age_ns < UNVERIFIED_NS:
            return None
        lines = self._following.placement.lines
        limits = [self._vigil.limit_ns(line, topic) for line in lines]
        known = [limit_ns for limit_ns in limits if limit_ns is not None]
        return None if known and age_ns <= max(known) else age_ns

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic that is followed no more."""
        self._audit.forget(topic)
        self._tries.pop(topic, None)

    # -- listings ---------------------------------------------------------------------------

    def unlisted(self, driver: Driver, topics: Sequence[str]) -> None:
        """Note that a session's listing lacks topics that it had."""
        found = [topic for topic in topics if topic in self._following.streams]
        evidence = "it was granted and listed, and the venue's newest listing lacks it"
        self._found([(topic, evidence) for topic in found], [driver])

    # -- bulk reads -------------------------------------------------------------------------

    async def _read(self, now_ns: int) -> int:
        """Read once, if there is anything to check; return how long until the next time."""
        bulk = self._bulk
        quiet = self._quiet(now_ns)
        if bulk is None or not quiet:
            return TICK_NS
        doubted, reads = False, self.reads
        failed: Exception | None = None
        found: list[tuple[str, str]] = []
        for request in bulk.requests(quiet.keys())[:REQUESTS_MAX]:
            if not await self._afford(request):
                continue
            asked_ns = self._clock.mono_ns()
            try:
                tops = await self._get(request)
            except RateLimited as error:
                self._found(found, list(self._drivers.values()))
                return self._stop(request, error)
            except (DialFailed, DecodeError, RequestRejected) as error:
                self._pools[request.pool].abandoned(self._clock.mono_ns())
                failed = error
                break
            self.reads += 1
            for top in tops:
                for topic in quiet.get(top.symbol.upper(), ()):
                    verdict = self._compare(topic, top, asked_ns, found)
                    doubted |= verdict is Verdict.DOUBTED
        self._found(found, list(self._drivers.values()))
        if failed is not None:
            return self._failed(failed)
        if self.reads > reads:
            self._failures = 0
        return SETTLE_NS + TICK_NS // 4 if doubted else READ_NS

    def _quiet(self, now_ns: int) -> dict[str, list[str]]:
        """Return the silent topics that can be compared, by symbol."""
        quiet: dict[str, list[str]] = {}
        if self._bulk is None:
            return quiet
        planned = self._following.planned
        for topic, stream in self._following.streams.items():
            spec = stream.spec
            if spec.channel not in self._bulk.channels or topic in planned:
                continue
            if stream.sources and now_ns - _seen_ns(stream) >= QUIET_NS:
                quiet.setdefault(spec.symbol.upper(), []).append(topic)
        return quiet

    async def _get(self, request: RestGet) -> list[BulkTop]:
        assert self._bulk is not None  # noqa: S101  # see `_read`
        assert self._dialect is not None  # noqa: S101  # whoever reads in bulk reads errors too
        base = self._bases[self._base % len(self._bases)]
        body = await self._client.get(base, request, self._dialect)
        self._pools[request.pool].accepted(self._clock.mono_ns())
        tops = self._bulk.read(body)
        if len(tops) > TOPS_MAX:
            raise DecodeError(f"best prices of more than {TOPS_MAX} symbols")
        return tops

    async def _afford(self, request: RestGet) -> bool:
        """Pay for a read out of the venue's budget and our share of it; or say that it is dear."""
        pool, share = self._pools[request.pool], self._shares[request.pool]
        until_ns = self._clock.mono_ns() + AFFORD_NS
        while True:
            now_ns = self._clock.mono_ns()
            units = request.units
            wait_ns = share.wait_ns(now_ns, units) or pool.take(now_ns, units, optional=True)
            if not wait_ns:
                share.spend(now_ns, request.units)
                return True
            if now_ns + wait_ns > until_ns:
                return False
            await asyncio.sleep(wait_ns / 1e9)  # time is what is waited for

    def _compare(
        self, topic: str, top: BulkTop, asked_ns: int, found: list[tuple[str, str]]
    ) -> Verdict:
        stream = self._following.streams.get(topic)
        ours = None if stream is None else top_of(stream)
        if stream is None or ours is None or topic in self._following.planned:
            return Verdict.UNKNOWN
        now_ns, seen_ns = self._clock.mono_ns(), _seen_ns(stream)
        verdict = self._audit.compare(
            topic,
            ours,
            top,
            arrived=stream.arrived,
            seen_ns=seen_ns,
            asked_ns=asked_ns,
            now_ns=now_ns,
        )
        if verdict is Verdict.AGREES:
            self._tries.pop(topic, None)
        elif verdict is Verdict.WRONG:
            silent_s = (now_ns - seen_ns) / 1e9
            evidence = f"nothing came for {silent_s:.1f} s; {_prices('ours', ours)}, "
            found.append((topic, f"{evidence}{_prices('the venue says', top)}, in two reads"))
        return verdict

    def _stop(self, request: RestGet, error: RateLimited) -> int:
        now = self._host.moment()
        pool = self._pools[request.pool]
        ban = error.status != 429
        asked_ns = pool.refused(now.mono_ns, error.retry_after_ns, ban=ban, probe=pool.probing)
        wait_ns = max(asked_ns, STOP_NS)
        evidence = f"silent topics are not checked for {wait_ns / 1e9:.0f} s"
        self._host.note("limited", now, str(error), evidence, None)
        return wait_ns

    def _failed(self, error: Exception) -> int:
        self._base += 1
        self._failures += 1
        if self._failures == TELL:
            words = f"{type(error).__name__}: {error}"
            evidence = f"best prices were not to be had {TELL} times; the reads grow rare"
            self._host.note("unchecked", self._host.moment(), words, evidence, None)
        return min(STOP_NS, READ_NS << min(self._failures, 16))

    # -- what follows -----------------------------------------------------------------------

    def _found(self, found: Sequence[tuple[str, str]], drivers: Sequence[Driver]) -> None:
        """Doubt, name and subscribe anew what the venue sends no more."""
        now = self._host.moment()
        self.found += len(found)
        for driver in drivers:
            mine = [(topic, why) for topic, why in found if _carries(driver, topic)]
            for topic, why in mine[:SHOWN]:
                self._host.note("unsubscribed", now, CAUSE, why, driver, driver.origins[topic])
            if len(mine) > SHOWN:
                cause = f"{len(mine) - SHOWN} more topics: {CAUSE}"
                self._host.note("unsubscribed", now, cause, mine[-1][1], driver)
            for topic, _ in mine:
                self._doubt(driver, self._following.streams[topic], now)
            in_vain = [topic for topic, _ in mine if self._tries.get(topic, 0) >= TRIES]
            if in_vain or len(mine) > MANY:
                self._host.expiring(driver, f"{len(mine)} topics: {CAUSE}")
                continue
            for topic, _ in mine:
                driver.resubscribe(topic, now.mono_ns)
        for topic, _ in found:
            self._tries[topic] = (self._tries.get(topic, 0) + 1) % (TRIES + 1)

    def _doubt(self, driver: Driver, stream: Stream, now: Moment) -> None:
        topic = stream.spec.topic
        agreed_ns = self._audit.agreed_ns(topic, stream.arrived)
        covered_ns = max(agreed_ns, stream.last_seen_ns(driver.epoch) or 0)
        stream.suspect(driver.epoch, CAUSE, now, covered_ns)
        if isinstance(stream, AnyBook) and stream.spec.snapshot is SnapshotFrom.REST:
            stream.rebuild(driver.epoch, CAUSE, now)  # subscribing brings no snapshot


def portion(limit: Limit) -> Limit:
    """Return the limit of what may be spent here: `SHARE` of what the venue allows."""
    if isinstance(limit, Window):
        return Window(max(1, int(limit.count * SHARE)), limit.per_ns)
    return Credit(max(1, int(limit.capacity * SHARE)), max(1, int(limit.per_s * SHARE)))


def _carries(driver: Driver, topic: str) -> bool:
    session = driver.session
    live = session.phase is Phase.LIVE and topic in driver.origins
    return live and session.subscriptions.stands(topic) is Wish.CONFIRMED


def _seen_ns(stream: Stream) -> int:
    """Return when the topic last spoke on any session, or else since when one may expect it to."""
    newest = 0 if stream.newest is None else stream.newest.mono_ns
    for epoch, source in stream.sources.items():
        newest = max(newest, source.attached_ns, stream.last_seen_ns(epoch) or 0)
    return newest


def _prices(who: str, top: BulkTop) -> str:
    bid = "none" if top.bid is None else f"{top.bid:g}"
    ask = "none" if top.ask is None else f"{top.ask:g}"
    return f"{who} {bid} / {ask}"
