"""A feed's counters, copied out as immutable values."""

from __future__ import annotations

from gapless.core.stats import FeedStats, LineStats, TopicStats
from gapless.core.stream import Stream, Trust
from gapless.core.supervisor import LineState
from gapless.core.vigil import State
from gapless.io.conductor import Conductor
from gapless.io.driver import Driver

__all__ = ["feed_stats"]

_WORSE = (Trust.LIVE, Trust.SLOW, Trust.STALE, Trust.FROZEN)


def feed_stats(conductor: Conductor, overflowed: int, conflated: int = 0) -> FeedStats:
    """Return the counters of a feed.

    Args:
        conductor: The feed.
        overflowed: Events that its outlet dropped.
        conflated: Events that its outlet combined with later ones.
    """
    now_ns = conductor.moment().mono_ns
    topics = tuple(_topic(conductor, stream, now_ns) for stream in conductor.streams.values())
    retired = conductor.following.retired
    delays = conductor.delay.quantile(0.5), conductor.delay.quantile(0.99)
    return FeedStats(
        venue=conductor.plan.profile.name,
        topics=topics,
        lines=tuple(_line(conductor, name, state) for name, state in _states(conductor)),
        ended=tuple(conductor.ended_sessions),
        received=sum(topic.received for topic in topics) + retired.received,
        delivered=sum(topic.delivered for topic in topics) + retired.delivered,
        duplicates=sum(topic.duplicates for topic in topics) + retired.duplicates,
        gaps=sum(topic.gaps for topic in topics) + retired.gaps,
        missing=sum(topic.missing for topic in topics) + retired.missing,
        backfilled=sum(topic.backfilled for topic in topics) + retired.backfilled,
        dials=conductor.dials,
        sessions=conductor.sessions,
        violations=conductor.violations,
        strays=conductor.strays + sum(driver.strays for driver in conductor.drivers.values()),
        overflowed=overflowed,
        conflated=conflated,
        breaker=conductor.dial_budget.breaker.state(now_ns).value,
        dials_used=conductor.dial_budget.used_ratio(now_ns),
        apparent_delay_ms=(
            None if delays[0] is None or delays[1] is None else (delays[0] / 1e6, delays[1] / 1e6)
        ),
    )


def _states(conductor: Conductor) -> list[tuple[str, LineState]]:
    return list(conductor.supervisor.states().items())


def _topic(conductor: Conductor, stream: Stream, now_ns: int) -> TopicStats:
    spec, newest = stream.spec, stream.newest
    # A venue that repeats what it said last has spoken.
    seen = [stream.last_seen_ns(epoch) for epoch in stream.sources]
    seen_ns = max((ns for ns in seen if ns is not None), default=0)
    seen_ns = seen_ns if newest is None else max(seen_ns, newest.mono_ns)
    age_s = None if newest is None else max(0.0, (now_ns - seen_ns) / 1e9)
    state = _trust(conductor, stream, age_s, now_ns)
    unverified_ns = conductor.audits.unverified_ns(spec.topic, now_ns)
    return TopicStats(
        topic=spec.topic,
        channel=spec.channel,
        symbol=spec.symbol,
        trust=state.trust.value,
        because=state.because,
        since_s=max(0.0, (now_ns - state.since_ns) / 1e9) if state.since_ns else None,
        evidence=state.evidence,
        age_s=age_s,
        received=stream.arrived,
        delivered=stream.delivered,
        duplicates=stream.duplicates,
        dropped=stream.dropped,
        gaps=stream.gaps,
        missing=stream.missing,
        backfilled=stream.backfilled,
        diverged=stream.diverged,
        standing=conductor.audits.standing(spec.topic).value,
        unverified_s=None if unverified_ns is None else unverified_ns / 1e9,
    )


def _trust(conductor: Conductor, stream: Stream, age_s: float | None, now_ns: int) -> State:
    refusal = conductor.refusals.get(stream.spec.topic)
    if refusal is not None:
        return State(Trust.DOWN, 0, str(refusal))
    planned = conductor.pauses.shown(stream.spec.topic, age_s)
    if planned is not None:
        return State(Trust.PLANNED, 0, planned)
    wrong = conductor.audits.wrong(stream.spec.topic)
    if wrong is not None:
        return State(Trust.STALE, 0, wrong)
    trust = stream.trust
    if trust is not Trust.LIVE:
        return State(trust, 0, stream.because)
    return _judged(conductor, stream.spec.topic, age_s, now_ns)


def _judged(conductor: Conductor, topic: str, age_s: float | None, now_ns: int) -> State:
    """Return what its rhythm, its age and its content say; the best line counts."""
    seen_ns = 0 if age_s is None else now_ns - int(age_s * 1e9)
    states = [
        state
        for line in conductor.following.placement.lines
        if (state := conductor.vigil.state(line, topic, seen_ns, now_ns)) is not None
    ]
    return min(states, key=_badness, default=State(Trust.LIVE, 0))


def _badness(state: State) -> int:
    return _WORSE.index(state.trust)


def _line(conductor: Conductor, name: str, state: LineState) -> LineStats:
    drivers = [driver for driver in conductor.drivers.values() if driver.line == name]
    driver: Driver | None = drivers[-1] if drivers else None
    timings = conductor.timings.get(name)
    rtt_ns = None if driver is None else driver.session.rtt_ns
    retry_ns = conductor.supervisor.retry_in_ns(name, conductor.moment().mono_ns)
    where = conductor.reach.where(name)
    race = conductor.following.races.lines.get(name)
    return LineStats(
        line=name,
        state=state.value,
        epoch=None if driver is None else driver.epoch,
        rtt_ms=None if rtt_ns is None else rtt_ns / 1e6,
        dial_ms=(
            {}
            if timings is None
            else {
                "dns": timings.dns_ns / 1e6,
                "tcp": timings.tcp_ns / 1e6,
                "tls": timings.tls_ns / 1e6,
                "upgrade": timings.upgrade_ns / 1e6,
            }
        ),
        frames=0 if driver is None else driver.frames,
        retry_in_s=None if retry_ns is None else retry_ns / 1e9,
        host="" if where is None else where.host,
        address="" if where is None else where.address,
        egress="" if where is None else where.egress,
        shares=conductor.reach.shared(name),
        wins=0 if race is None else race.wins,
        losses=0 if race is None else race.losses,
        late_ms=None if race is None else race.late_ms(),
    )
