"""Events as lines for people: what was lost stands out, everything else stays quiet."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from gapless.errors import printable
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

if TYPE_CHECKING:
    from gapless.core.stats import FeedStats

__all__ = ["Wording", "clock", "number", "wants_colour"]

_ALARMING = frozenset(
    {
        "resolver",
        "shared-fate",
        "stalled",
        "slow",
        "frozen",
        "diverged",
        "violation",
        "limited",
        "slow-consumer",
        "halted",
        "refused",
    }
)


def wants_colour() -> bool:
    """Return whether stdout is a terminal that may be coloured; see no-color.org."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def clock(unix_ns: int) -> str:
    """Return a Unix time as UTC time of day, to the millisecond."""
    seconds, rest_ns = divmod(unix_ns, 1_000_000_000)
    return f"{time.strftime('%H:%M:%S', time.gmtime(seconds))}.{rest_ns // 1_000_000:03d}"


def number(value: float | None) -> str:
    """Return a price or size as a person writes it: no exponent, no zeros at the end."""
    if value is None:
        return "-"
    text = f"{value:.10f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Wording:
    """Turns events into lines of text.

    Args:
        colour: Whether to use terminal colours.
    """

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def event(self, event: Event) -> str:
        """Return an event as a line, without the newline."""
        origin = event.origin
        head = f"{clock(event.recv_ns)} "
        about = f"{printable(origin.symbol)} {origin.channel}"
        match event:
            case Gap():
                return head + self._style(f"── {_gap(event)} ── {about}", fg="red", bold=True)
            case Resynced(by=by, blind_ns=blind_ns):
                words = f"── resynced by {by}, blind for {blind_ns / 1e9:.3f} s ── {about}"
                return head + self._style(words, fg="green")
            case _:
                late = "  backfilled" if isinstance(event, Trade) and event.backfilled else ""
                tail = f"{_numbers(event)}  line {origin.line}{late}".strip()
                tail = self._style(tail, dim=True)
                return f"{head}{about}  {self._payload(event)}  {tail}"

    def notice(self, notice: Notice) -> str:
        """Return a notice as a line, without the newline."""
        where = "" if notice.line is None else f" line {notice.line}"
        what = "" if notice.symbol is None else f" {printable(notice.symbol)} {notice.channel}"
        why = f" ({notice.evidence})" if notice.evidence else ""
        words = f"· {notice.kind}{where}{what}: {notice.cause}{why}"
        alarming = notice.kind in _ALARMING
        styled = self._style(words, fg="yellow") if alarming else self._style(words, dim=True)
        return f"{clock(notice.recv_ns)} {styled}"

    def summary(self, stats: FeedStats) -> list[str]:
        """Return the last lines: what was counted, and how each session ended."""
        lost = self._style(
            f"{stats.gaps} gaps, {stats.missing} known missing"
            + (f", {stats.backfilled} backfilled" if stats.backfilled else ""),
            fg="red" if stats.gaps else "green",
        )
        lines = [
            f"{stats.received} received, {stats.delivered} delivered, "
            f"{stats.duplicates} duplicates, {lost}",
            f"{stats.dials} dials, {stats.sessions} sessions, {stats.violations} violations, "
            f"{stats.overflowed} overflowed",
        ]
        lines += [
            f"  line {line.line} at {printable(line.host)} ({printable(line.address)})"
            f" shares {_shares(line.shares)}"
            for line in stats.lines
            if line.shares
        ]
        lines += [
            f"  session {end.epoch} on line {end.line}: live for {end.live_s:.1f} s, "
            f"ended: {printable(end.cause)}"
            for end in stats.ended
        ]
        return lines

    def _payload(self, event: Event) -> str:
        match event:
            case Trade(price=price, size=size, side=side, id=name):
                colour = "green" if side == "buy" else "red"
                return f"{self._style(f'{side:4}', fg=colour)} {number(size)} @ {number(price)}" + (
                    f"  id {printable(name)}"
                )
            case BookSnapshot(bids=bids, asks=asks):
                return f"snapshot {_tops(bids, asks)}  {len(bids)} bids {len(asks)} asks"
            case BookDelta(bids=bids, asks=asks):
                return f"delta  {_changes('bid', bids)}{_changes('ask', asks)}".rstrip()
            case Bbo(bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size):
                return f"{number(bid_size)} @ {number(bid)} | {number(ask_size)} @ {number(ask)}"
            case Ticker():
                names = ("price", "mark", "index", "bid", "ask", "volume", "open_interest")
                said = ((name, getattr(event, name)) for name in names)
                return " ".join(f"{name} {number(value)}" for name, value in said if value)
            case _:
                return type(event).__name__

    def _style(
        self, text: str, *, fg: str | None = None, bold: bool | None = None, dim: bool | None = None
    ) -> str:
        return click.style(text, fg=fg, bold=bold, dim=dim) if self._colour else text


def _shares(shares: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"its {what} with {' and '.join(who)}" for what, who in shares.items())


def _gap(gap: Gap) -> str:
    count = "of unknown size" if gap.missing is None else f"{gap.missing} missing"
    bounds = "" if gap.first is None or gap.last is None else f" ({gap.first}..{gap.last})"
    return f"gap {count}{bounds}: {printable(gap.cause)}"


def _numbers(event: Event) -> str:
    if event.last is None:
        return ""
    return f"#{event.last}" if event.first == event.last else f"#{event.first}..{event.last}"


def _tops(bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> str:
    bid = number(bids[0][0]) if bids else "-"
    ask = number(asks[0][0]) if asks else "-"
    return f"{bid} | {ask}"


def _changes(side: str, levels: list[tuple[float, float]]) -> str:
    if not levels:
        return ""
    price, size = levels[0]
    more = f" and {len(levels) - 1} more" if len(levels) > 1 else ""
    return f"{side} {number(size)} @ {number(price)}{more}  "
