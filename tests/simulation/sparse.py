"""Topics that are quiet most of the time, looked at as the vigil does, without the client around.

A topic comes by chance: at a rate of its own that follows the hour, and in bursts.  The path is
taken as proven at every moment, which is the worst case: whatever silence is long enough counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from gapless.core.liveness import FeedPolicy, FeedWatch
from gapless.core.vigil import is_news

SECOND = 1_000_000_000
TICK = 250_000_000
DAY = 86_400 * SECOND
SETTLEMENT = 8 * 3600 * SECOND


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic's habits."""

    per_s: float
    swing: float  # how much the hour matters, 0 to 1
    burst: float  # chance that an arrival is the first of a burst

    def times(self, rng: Random, from_ns: int, until_ns: int):
        """Yield arrivals, by thinning what comes at the highest rate."""
        now_ns = from_ns
        while True:
            now_ns += 1 + int(rng.expovariate(self.per_s * (1 + self.swing)) * SECOND)
            if now_ns >= until_ns:
                return
            hour = math.sin(2 * math.pi * now_ns / DAY)
            if rng.random() * (1 + self.swing) > 1 + self.swing * hour:
                continue
            yield now_ns
            if rng.random() < self.burst:
                for _ in range(rng.randint(2, 30)):
                    now_ns += 1 + int(rng.expovariate(4.0) * SECOND)
                    if now_ns >= until_ns:
                        return
                    yield now_ns


def alarms(times, start_ns, until_ns, policy: FeedPolicy, *, crowd: bool, settles: bool = False):
    """Return the silences that a watch would have raised an alarm for: when, and how long."""
    watch, found = FeedWatch(policy, start_ns), []
    last_ns, count, newest_ns, tick_ns = start_ns, 0, 0, start_ns
    settled_ns = start_ns // DAY * DAY + SETTLEMENT

    def close() -> None:
        nonlocal count
        if count:
            watch.sample(count, newest_ns)
            count = 0

    for now_ns in (*times, until_ns):
        while settles and settled_ns < now_ns:  # planned: the watch begins anew
            close()
            news = settled_ns > last_ns and is_news(watch, policy, crowd=crowd)
            if news and watch.overdue(settled_ns):
                found.append((settled_ns, settled_ns - last_ns))
            watch.arm(settled_ns + 60 * SECOND)
            settled_ns += DAY
        if now_ns >= tick_ns + TICK:
            close()
            tick_ns = now_ns // TICK * TICK
            if is_news(watch, policy, crowd=crowd) and watch.overdue(now_ns):
                found.append((now_ns, now_ns - last_ns))
                watch.acted(now_ns)
        last_ns = newest_ns = now_ns
        count += 1
    return found
