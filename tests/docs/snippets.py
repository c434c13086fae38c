"""Fenced snippets of the README and the docs, and a simulator for them to meet."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gapless.sim.build import simulate
from gapless.sim.chain import ChainOptions
from gapless.sim.dialects._base import SimOptions
from gapless.sim.exchange import Exchange
from gapless.sim.faults import Fault, FaultName
from gapless.sim.server import SimServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
RUN = "<!-- run -->"

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S
)


@dataclass(frozen=True)
class Snippet:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    marked: bool  # to be run, where its language does not say so already

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def name(self) -> str:
        stem = re.sub(r"\W", "_", self.page.removesuffix(".md"))
        return f"{stem}_{self.line}"


def of(*languages: str) -> list[Snippet]:
    """Return every snippet in one of these languages."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        page = str(path.relative_to(ROOT))
        for match in _FENCE.finditer(text):
            if match["language"] not in languages:
                continue
            indent = len(match["indent"])
            body = "".join(line[indent:] for line in match["body"].splitlines(keepends=True))
            line = text.count("\n", 0, match.start()) + 1
            marked = text[: match.start()].rstrip().endswith(RUN)
            found.append(Snippet(page, line, match["language"], body, marked))
    return found


def commands(snippet: Snippet) -> list[str]:
    """Return the command lines of a shell snippet: in a console, what follows a ``$``."""
    lines = snippet.text.replace("\\\n", " ").splitlines()
    if snippet.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


class Venues:
    """Simulated venues on a thread of their own."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self._exchanges: list[Exchange] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options = SimOptions(limits=False)
        chain = SimOptions(limits=False, chain=ChainOptions(strikes=24))
        one = simulate("deribit", rate_per_s=200, seed=3, options=chain)
        two = simulate("binance.spot", rate_per_s=200, seed=3, options=options)
        async with SimServer(one) as first, SimServer(two) as second:
            for exchange, server in ((one, first), (two, second)):
                venue = exchange.dialect.venue
                self._exchanges.append(exchange)
                variable = "GAPLESS_ENDPOINT_" + venue.upper().replace(".", "_")
                self.environment[variable] = server.ws_url
            self._ready.set()
            await self._stop.wait()

    def strike(self, name: FaultName) -> None:
        """Inject a fault at every venue, soon."""
        loop = self._loop
        assert loop is not None
        for exchange in self._exchanges:
            loop.call_soon_threadsafe(_inject, exchange, Fault(name=name))

    @contextmanager
    def serving(self) -> Iterator[Venues]:
        self._thread.start()
        assert self._ready.wait(10), "the simulator does not start"
        try:
            yield self
        finally:
            assert self._loop is not None
            assert self._stop is not None
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
            assert not self._thread.is_alive()


def _inject(exchange: Exchange, fault: Fault) -> None:
    exchange.inject(fault, time.time_ns())
