"""The reconnect loop that everybody writes, for comparison: connect, subscribe, read, repeat.

It is written in good faith and reads like a hundred programs do: it reconnects after an error,
takes a snapshot after connecting, applies every update, and trusts what it has.  It checks no
numbers and says nothing of what it missed.  `WebsocketsClient` is the same loop as the
documentation of the `websockets` package writes it, with that package's pings and waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from gapless.core.codec import Codec
from gapless.core.stream import TopicSpec
from gapless.errors import GaplessError, UsageError
from gapless.events import Event, Origin
from gapless.venues._profile import Profile

__all__ = ["NaiveClient", "WebsocketsClient"]

WAIT_S: Final = 1.0
HEARTBEAT_S: Final = 20.0


class NaiveClient:
    """Follows the same topics as a feed, without any of its care.

    Args:
        profile: The venue, for its dialect only.
        specs: The topics.
        ws_url: Where to connect.
        http_url: Where REST is.
        heartbeat_s: How often it pings, as common libraries do; `None` for never.

    Attributes:
        events: What it would have handed to its user.
        dials: How often it connected, or tried to.
    """

    def __init__(
        self,
        profile: Profile,
        specs: Sequence[TopicSpec],
        ws_url: str,
        http_url: str,
        heartbeat_s: float | None = HEARTBEAT_S,
    ) -> None:
        self.events: list[Event] = []
        self.dials = 0
        self._profile = profile
        self._specs = specs
        self._url = ws_url + profile.endpoints.value.path
        self._http_url = http_url
        self._heartbeat_s = heartbeat_s

    async def run(self) -> None:
        """Run until cancelled."""
        async with aiohttp.ClientSession() as http:
            while True:
                self.dials += 1
                with contextlib.suppress(aiohttp.ClientError, OSError, GaplessError, TimeoutError):
                    await self._session(http)
                await asyncio.sleep(WAIT_S)

    async def _session(self, http: aiohttp.ClientSession) -> None:
        talk = self._talk()
        async with http.ws_connect(self._url, heartbeat=self._heartbeat_s) as ws:
            for text in talk.requests:
                await ws.send_str(text)
            await self._snapshots(http, talk.origins)
            async for message in ws:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                self._read(talk, message.data)

    def _talk(self) -> _Talk:
        """Begin the conversation of one connection."""
        origins = {
            spec.topic: Origin(
                spec.venue, spec.channel, spec.symbol, spec.topic, "naive", self.dials
            )
            for spec in self._specs
        }
        codec = self._profile.codec(origins)
        requests = [*codec.setup(1), *codec.subscribe(2, tuple(origins))]
        return _Talk(origins, codec, [request.text for request in requests])

    def _read(self, talk: _Talk, text: str) -> None:
        out = talk.codec.read(text, time.time_ns(), time.monotonic_ns())
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


class WebsocketsClient(NaiveClient):
    """The loop that the `websockets` package offers: ``async for ws in connect(url)``.

    Raises:
        UsageError: The package is not installed.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        try:
            from websockets.asyncio.client import connect  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise UsageError(
                "to compare with websockets, install it: pip install 'gapless[compare]'"
            ) from error
        self._connect = connect

    async def run(self) -> None:
        """Run until cancelled."""
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415

        async with aiohttp.ClientSession() as http:
            async for ws in self._connect(self._url):
                self.dials += 1
                talk = self._talk()
                with contextlib.suppress(
                    ConnectionClosed, aiohttp.ClientError, OSError, GaplessError, TimeoutError
                ):
                    for text in talk.requests:
                        await ws.send(text)
                    await self._snapshots(http, talk.origins)
                    async for message in ws:
                        if isinstance(message, str):
                            self._read(talk, message)


@dataclass(slots=True)
class _Talk:
    """The conversation of one connection."""

    origins: dict[str, Origin]
    codec: Codec
    requests: list[str]
