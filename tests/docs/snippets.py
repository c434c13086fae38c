"""Fenced snippets of the README and the docs, and a simulator for them to meet."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gapless.sim.build import simulate
from gapless.sim.dialects._base import SimOptions
from gapless.sim.faults import Fault
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

    def __str__(self):
        return f"{self.page}:{self.line}"

    @property
    def name(self):
        stem = re.sub(r"\W", "_", self.page.removesuffix(".md"))
        return f"{stem}_{self.line}"


def of(*languages):
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


def commands(snippet):
    """Return the command lines of a shell snippet: in a console, what follows a ``$``."""
    lines = snippet.text.replace("\\\n", " ").splitlines()
    if snippet.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


class Venues:
    """Simulated venues on a thread of their own."""

    def __init__(self):
        self.environment = {}
        self.urls = {}
        self._exchanges = []
        self._ready = threading.Event()
        self._loop = None
        self._stop = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options = SimOptions(limits=False)
        one = simulate("deribit", rate_per_s=200, seed=3, options=options)
        two = simulate("binance.spot", rate_per_s=200, seed=3, options=options)
        async with SimServer(one) as first, SimServer(two) as second:
            for exchange, server in ((one, first), (two, second)):
                venue = exchange.dialect.venue
                self._exchanges.append(exchange)
                self.urls[venue] = server.ws_url
                variable = "GAPLESS_ENDPOINT_" + venue.upper().replace(".", "_")
                self.environment[variable] = server.ws_url
            self._ready.set()
            await self._stop.wait()

    def strike(self, name, **arguments):
        """Inject a fault at every venue, soon."""
        for exchange in self._exchanges:
            self._loop.call_soon_threadsafe(
                lambda exchange=exchange: exchange.inject(
                    Fault(name=name, **arguments), time.time_ns()
                )
            )

    @contextmanager
    def serving(self):
        self._thread.start()
        assert self._ready.wait(10), "the simulator does not start"
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
            assert not self._thread.is_alive()
