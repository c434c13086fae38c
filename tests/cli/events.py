"""One event of each kind, made by hand."""

from gapless.core.stats import FeedStats, LineStats, SessionEnd, TopicStats
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Gap,
    Notice,
    Origin,
    Resynced,
    Ticker,
    Trade,
)

ORIGIN = Origin("deribit", "trades", "BTC-PERPETUAL", "trades.BTC-PERPETUAL.100ms", "a", 3)
HEAD = (ORIGIN, 1_770_000_000_123_456_789, 42, 1_770_000_000_000_000_000)

TRADE = Trade(*HEAD, 7, 7, "t1", 65000.5, 10.0, "buy")
DELTA = BookDelta(*HEAD, 8, 9, [(1.5, 2.0)], [(1.6, 0.0), (1.7, 3.0)])
SNAPSHOT = BookSnapshot(*HEAD, 9, 9, [(1.5, 2.0)], [])
BBO = Bbo(*HEAD, None, None, 1.5, 2.0, None, None)
TICKER = Ticker(*HEAD, None, None, 1.5, mark=1.6)
GAP = Gap(*HEAD[:3], None, 882, 884, 3, "the line was cut", 5, 6)
BLIND_GAP = Gap(*HEAD[:3], None, None, None, None, "no number says", 5, 6)
RESYNCED = Resynced(*HEAD[:3], None, 9, 9, "snapshot", 410_000_000)
NOTICE = Notice(1, "deribit", HEAD[1], 42, "live", "a", 3, None, None, "why", "how")


def stats(*, sessions=1, cause="planned", trust="live", because="", gaps=1):
    topic = TopicStats("t", "book", "X", trust, because, 0.25, 9, 8, 1, 0, gaps, 3)
    line = LineStats("a", "live", 3, 1.25, {}, 9, None)
    return FeedStats(
        venue="deribit",
        topics=(topic,),
        lines=(line,),
        ended=(SessionEnd("a", 3, cause, 1.5),),
        received=9,
        delivered=8,
        duplicates=1,
        gaps=gaps,
        missing=3,
        dials=2,
        sessions=sessions,
        violations=0,
        strays=0,
        overflowed=0,
        apparent_delay_ms=None,
    )
