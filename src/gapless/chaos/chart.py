"""The scorecard of a run as text: figures beside each other, and small charts of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from gapless.chaos.checker import Verdict
from gapless.chaos.figures import Spread

__all__ = ["bar", "sparkline", "table"]

_WIDTH: Final = 24
_LEAST_MS: Final = 0.1
_MOST_MS: Final = 60_000.0
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_PARTS: Final = 20
"""Into how many stretches of time a run is divided."""

Column = tuple[str, dict[str, Any]]


def bar(value_ms: float, width: int = _WIDTH) -> str:
    """Return a bar on a scale of logarithms, from 0.1 ms to a minute."""
    held = min(max(value_ms, _LEAST_MS), _MOST_MS)
    share = math.log(held / _LEAST_MS) / math.log(_MOST_MS / _LEAST_MS)
    return "█" * max(1, round(share * width))


def sparkline(counts: Sequence[int]) -> str:
    """Return a count for each stretch of time as a row of blocks; a dot is none."""
    most = max(counts, default=0)
    return "".join(
        "·" if not count else _BLOCKS[min(7, count * 8 // (most + 1))] for count in counts
    )


def table(
    title: str, columns: Sequence[Column], verdict: Verdict, began_ns: int, ended_ns: int
) -> Iterator[str]:
    """Yield the scorecard.

    Args:
        title: Its first words.
        columns: Name and account of each contender, ours first.
        verdict: Ours.
        began_ns: When the run began, Unix time.
        ended_ns: When it ended.
    """
    yield f"{title:<44}" + "".join(f"{name:>12}" for name, _ in columns)
    for label, cell in _ROWS:
        yield f"{label:<44}" + "".join(f"{cell(column):>12}" for _, column in columns)
    yield ""
    spreads = [
        ("noticed after", verdict.detection),
        ("good data after the end of it", verdict.recovery),
        ("delivery, no fault", verdict.delay_calm),
        ("delivery, one line struck", verdict.delay_struck),
    ]
    for name, spread in spreads:
        yield from _spread(name, spread)
    losses = [loss.ns for loss in verdict.losses]
    yield f"{'lost, over the run':<44}{sparkline(_parts(losses, began_ns, ended_ns))}"
    faults = [strike.at_ns for strike in verdict.strikes]
    yield f"{'faults, over the run':<44}{sparkline(_parts(faults, began_ns, ended_ns))}"


def _spread(name: str, spread: Spread) -> Iterator[str]:
    figures = spread.as_ms()
    for share in ("p50", "p99"):
        value = figures[share]
        if value is not None:
            yield f"{name:<30} {share} {value:>8.1f} ms {bar(value)}"


def _parts(times_ns: Sequence[int], began_ns: int, ended_ns: int) -> list[int]:
    counts = [0] * _PARTS
    length_ns = max(1, ended_ns - began_ns)
    for ns in times_ns:
        counts[min(_PARTS - 1, max(0, (ns - began_ns) * _PARTS // length_ns))] += 1
    return counts


_ROWS: Final[tuple[tuple[str, Callable[[dict[str, Any]], str]], ...]] = (
    ("sent by the venue", lambda c: str(c["sent"])),
    ("delivered", lambda c: str(c["delivered"])),
    ("lost", lambda c: str(c["lost"])),
    ("  of them announced", lambda c: str(c["announced"])),
    ("  LOST SILENTLY", lambda c: str(c["unannounced"])),
    ("  though another line was well", lambda c: str(c["lost_to_one_line"])),
    ("delivered twice", lambda c: str(c["duplicated"])),
    ("out of order", lambda c: str(c["misordered"])),
    ("books equal at the end", lambda c: f"{c['books']['equal']} of {c['books']['compared']}"),
    ("longest silence that nobody noticed", lambda c: f"{c['unnoticed_s']:.1f} s"),
    ("false alarms", lambda c: str(c["false_alarms"])),
    ("dials", lambda c: str(c["dials"])),
)
