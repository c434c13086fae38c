"""Durations, and what is told of many of them."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Spread"]


@dataclass(slots=True)
class Spread:
    """Durations of one kind, in nanoseconds.

    Attributes:
        values_ns: All of them, in no order.
    """

    values_ns: list[int] = field(default_factory=list)

    def add(self, value_ns: int) -> None:
        """Count one more."""
        self.values_ns.append(value_ns)

    def percentile_ns(self, share: float) -> int | None:
        """Return the smallest duration that ``share`` of all do not exceed; `None` of none."""
        if not self.values_ns:
            return None
        ordered = sorted(self.values_ns)
        return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]

    def as_ms(self) -> dict[str, float | int | None]:
        """Return how many there are, and what is told of them in milliseconds."""
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        told = {name: self.percentile_ns(share) for name, share in shares.items()}
        rounded = {name: None if v is None else round(v / 1e6, 3) for name, v in told.items()}
        return {"count": len(self.values_ns), **rounded}
