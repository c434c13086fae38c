"""Events as JSON, one a line.

Every line has the same first eleven keys; what a kind of line has nothing to say about is null.
Whatever a venue put into a text leaves here printable: JSON itself escapes only the lower
control characters, and a terminal obeys some others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from gapless.core.stats import FeedStats
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Event,
    Gap,
    Notice,
    Resynced,
    Ticker,
    Trade,
)

__all__ = ["event_line", "json_line", "notice_line", "summary_line"]

Fields = dict[str, Any]

_encode: Final = msgspec.json.Encoder().encode
_FATES: Final = ("host", "address", "egress", "shares")
_TICKER: Final = ("price", "mark", "index", "bid", "ask", "volume", "open_interest", "funding")


def event_line(event: Event) -> bytes:
    """Return an event as a line.

    Raises:
        TypeError: If nobody said how events of its type look.
    """
    kind = type(event)
    if kind not in _PAYLOADS:
        raise TypeError(f"no line is known for {kind.__name__}")
    name, payload = _PAYLOADS[kind]
    origin = event.origin
    return json_line(
        {
            "type": name,
            "venue": origin.venue,
            "channel": origin.channel,
            "symbol": origin.symbol,
            "line": origin.line,
            "epoch": origin.epoch,
            "recv_ns": event.recv_ns,
            "mono_ns": event.mono_ns,
            "event_ns": event.event_ns,
            "first": event.first,
            "last": event.last,
            **payload(event),
        }
    )


def notice_line(notice: Notice) -> bytes:
    """Return a notice as a line."""
    return json_line(
        {
            "type": "notice",
            "venue": notice.venue,
            "channel": notice.channel,
            "symbol": notice.symbol,
            "line": notice.line,
            "epoch": notice.epoch,
            "recv_ns": notice.recv_ns,
            "mono_ns": notice.mono_ns,
            "event_ns": None,
            "first": None,
            "last": None,
            "kind": notice.kind,
            "cause": notice.cause,
            "evidence": notice.evidence,
        }
    )


def summary_line(stats: FeedStats, recv_ns: int, mono_ns: int) -> bytes:
    """Return the last line: what was counted, and how each session ended."""
    return json_line(
        {
            "type": "summary",
            "venue": stats.venue,
            "channel": None,
            "symbol": None,
            "line": None,
            "epoch": None,
            "recv_ns": recv_ns,
            "mono_ns": mono_ns,
            "event_ns": None,
            "first": None,
            "last": None,
            "received": stats.received,
            "delivered": stats.delivered,
            "duplicates": stats.duplicates,
            "gaps": stats.gaps,
            "missing": stats.missing,
            "backfilled": stats.backfilled,
            "dials": stats.dials,
            "dials_used": stats.dials_used,
            "breaker": stats.breaker,
            "sessions": stats.sessions,
            "violations": stats.violations,
            "strays": stats.strays,
            "overflowed": stats.overflowed,
            "conflated": stats.conflated,
            "unverified": sum(topic.unverified_s is not None for topic in stats.topics),
            "ended": stats.ended,
            "lines": [
                {name: getattr(line, name) for name in ("line", *_FATES)} for line in stats.lines
            ],
        }
    )


def json_line(value: object) -> bytes:
    """Return any value as one line of printable JSON."""
    line = _encode(value)
    if line.isascii() and b"\x7f" not in line:
        return line + b"\n"
    return "".join(c if c.isprintable() else _escaped(c) for c in line.decode()).encode() + b"\n"


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _trade(event: Any) -> Fields:
    return {
        "id": event.id,
        "price": event.price,
        "size": event.size,
        "side": event.side,
        "backfilled": event.backfilled,
    }


def _delta(event: Any) -> Fields:
    return {"bids": event.bids, "asks": event.asks, "snapshot": False}


def _snapshot(event: Any) -> Fields:
    return {"bids": event.bids, "asks": event.asks, "snapshot": True}


def _bbo(event: Any) -> Fields:
    return {
        "bid": event.bid,
        "bid_size": event.bid_size,
        "ask": event.ask,
        "ask_size": event.ask_size,
    }


def _ticker(event: Any) -> Fields:
    return {name: getattr(event, name) for name in _TICKER}


def _gap(event: Any) -> Fields:
    return {
        "missing": event.missing,
        "cause": event.cause,
        "since_ns": event.since_ns,
        "until_ns": event.until_ns,
    }


def _resynced(event: Any) -> Fields:
    return {"by": event.by, "blind_ns": event.blind_ns}


_PAYLOADS: Final[dict[type[Event], tuple[str, Callable[[Any], Fields]]]] = {
    Trade: ("trade", _trade),
    BookDelta: ("book", _delta),
    BookSnapshot: ("book", _snapshot),
    Bbo: ("bbo", _bbo),
    Ticker: ("ticker", _ticker),
    Gap: ("gap", _gap),
    Resynced: ("resynced", _resynced),
}
