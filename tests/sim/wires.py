"""A wire that writes down what the venue does, for tests of the pure engine."""

from __future__ import annotations

import json
from typing import Any

from gapless.sim.exchange import Exchange, SimSession

T0 = 1_770_000_000 * 10**9  # a Unix time, a whole multiple of all batch intervals
MS = 10**6
SECOND = 10**9


class RecordingWire:
    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []

    def send_text(self, text: str) -> None:
        self.log.append(("text", text))

    def send_bytes_as_text(self, payload: bytes) -> None:
        self.log.append(("bytes", payload))

    def send_oversized(self, n_bytes: int) -> None:
        self.log.append(("oversized", n_bytes))

    def ping(self, payload: bytes) -> None:
        self.log.append(("ping", payload))

    def pong(self, payload: bytes) -> None:
        self.log.append(("pong", payload))

    def close(self, code: int, reason: str) -> None:
        self.log.append(("close", (code, reason)))

    def reset(self) -> None:
        self.log.append(("reset", None))

    def stall(self) -> None:
        self.log.append(("stall", None))

    def unstall(self) -> None:
        self.log.append(("unstall", None))

    def of(self, kind: str) -> list[Any]:
        return [payload for what, payload in self.log if what == kind]

    def json(self) -> list[Any]:
        return [json.loads(text) for text in self.of("text")]


def dial(
    exchange: Exchange, path: str, now_ns: int = T0, peer_ip: str = "198.51.100.1"
) -> tuple[SimSession, RecordingWire]:
    wire = RecordingWire()
    return exchange.connect(wire, path, peer_ip, now_ns), wire
