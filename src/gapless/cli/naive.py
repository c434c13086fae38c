"""The reconnect loop that everybody writes, for comparison: connect, subscribe, read, repeat.

It is written in good faith and reads like a hundred programs do: it pings every 20 s as common
libraries do, reconnects after an error, takes a snapshot after connecting, applies every update,
and trusts what it has.  It checks no numbers and says nothing of what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp

from gapless.core.stream import TopicSpec
from gapless.errors import GaplessError
from gapless.events import Event, Origin
from gapless.venues._profile import Profile

__all__ = ["NaiveClient"]

WAIT_S: Final = 1.0
HEARTBEAT_S: Final = 20.0


class NaiveClient:
    """Follows the same topics as a feed, without any of its care.

    Args:
        profile: The venue, for its dialect only.
        specs: The topics.
        ws_url: Where to connect.
        http_url: Where REST is.

    Attributes:
        events: What it would have handed to its user.
        dials: How often it connected, or tried to.
    """

    def __init__(
        self, profile: Profile, specs: Sequence[TopicSpec], ws_url: str, http_url: str
    ) -> None:
        self.events: list[Event] = []
        self.dials = 0
        self._profile = profile
        self._specs = specs
        self._url = ws_url + profile.endpoints.value.path
        self._http_url = http_url

    async def run(self) -> None:
        """Run until cancelled."""
        async with aiohttp.ClientSession() as http:
            while True:
                self.dials += 1
                with contextlib.suppress(aiohttp.ClientError, OSError, GaplessError, TimeoutError):
                    await self._session(http)
                await asyncio.sleep(WAIT_S)

    async def _session(self, http: aiohttp.ClientSession) -> None:
        origins = {
            spec.topic: Origin(
                spec.venue, spec.channel, spec.symbol, spec.topic, "naive", self.dials
            )
            for spec in self._specs
        }
        codec = self._profile.codec(origins)
        async with http.ws_connect(self._url, heartbeat=HEARTBEAT_S) as ws:
            for request in codec.setup(1):
                await ws.send_str(request.text)
            for request in codec.subscribe(2, tuple(origins)):
                await ws.send_str(request.text)
            await self._snapshots(http, origins)
            async for message in ws:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                out = codec.read(message.data, time.time_ns(), time.monotonic_ns())
                if isinstance(out, list):
                    self.events.extend(out)

    async def _snapshots(self, http: aiohttp.ClientSession, origins: Mapping[str, Origin]) -> None:
        rest = self._profile.rest
        for spec in self._specs:
            if rest is None or spec.channel != "book":
                continue
            read = rest.snapshot(spec.symbol)
            if read is None:
                continue
            async with http.get(self._http_url + read.path, params=read.query) as reply:
                body = await reply.read()
            now = time.time_ns(), time.monotonic_ns()
            self.events.append(rest.read_snapshot(body, origins[spec.topic], *now))
