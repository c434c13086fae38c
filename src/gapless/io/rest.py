"""REST reads over aiohttp: bounded, typed, and never retried here.

Whoever asks decides about budgets and retries; this module turns one request into bytes or
into one of the errors of `gapless.errors`.
"""

from __future__ import annotations

import aiohttp
from aiohttp_socks import ProxyConnector, ProxyError
from yarl import URL

from gapless.errors import DialFailed, RateLimited, RequestRejected, printable
from gapless.io.clock import Clock
from gapless.io.dial import parse_retry_after, tls_context
from gapless.io.tap import Tap
from gapless.venues._profile import Rest, RestGet

__all__ = ["AiohttpRest"]

BODY_MAX_BYTES = 16 << 20
TIMEOUT_S = 10.0
_JSON = {"Content-Type": "application/json"}


class AiohttpRest:
    """The real thing; one connection pool, opened at the first use.

    Args:
        clock: Unix time, for dates in Retry-After.
        ca_file: PEM file of authorities to trust instead of the system's.
        proxy: ``http://``, ``socks4://`` or ``socks5://`` URL, or `None`.
        source: Local address to connect from, or `None`.
        tap: Is told of every exchange.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        ca_file: str | None = None,
        proxy: str | None = None,
        source: str | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._clock = clock
        self._ca_file = ca_file
        self._proxy = proxy
        self._socks = proxy is not None and proxy.startswith("socks")
        self._source = source
        self._tap = tap
        self._http: aiohttp.ClientSession | None = None

    async def get(self, base: str, request: RestGet, rest: Rest) -> bytes:
        """Read once; see `gapless.io.snapshots.RestClient.get`."""
        url = URL(base.rstrip("/") + request.path).with_query(list(request.query))
        where = f"{url.scheme}://{url.raw_authority}{url.path}"
        try:
            tls = tls_context(self._ca_file)
            reply = self._session().request(
                "GET" if request.body is None else "POST",
                url,
                data=None if request.body is None else request.body.encode(),
                headers=None if request.body is None else _JSON,
                allow_redirects=False,
                ssl=tls,
                proxy=None if self._socks else self._proxy,
            )
            async with reply as response:
                body = await _bounded(response)
                status, wait = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, ProxyError, OSError, TimeoutError) as error:
            detail = printable(str(error)) or type(error).__name__
            raise DialFailed("rest", where, detail) from error
        if self._tap is not None:
            now = self._clock.mono_ns(), self._clock.wall_ns()
            self._tap.answered(str(url), request.body, status, body, *now)
        if status == 200:
            return body
        if status in {403, 418, 429}:
            raise RateLimited(status, parse_retry_after(wait, self._clock.wall_ns()))
        if 400 <= status < 500 and (fault := rest.read_error(body)) is not None:
            raise RequestRejected(*fault)
        raise DialFailed("rest", where, f"HTTP status {status}", status)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._http = aiohttp.ClientSession(timeout=timeout, connector=self._connector())
        return self._http

    def _connector(self) -> aiohttp.BaseConnector:
        local = None if self._source is None else (self._source, 0)
        if self._proxy is None or not self._socks:
            return aiohttp.TCPConnector(local_addr=local)
        connector: aiohttp.BaseConnector = ProxyConnector.from_url(self._proxy, local_addr=local)
        return connector


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    held_bytes = 0
    async for chunk in response.content.iter_chunked(1 << 16):
        held_bytes += len(chunk)
        if held_bytes > BODY_MAX_BYTES:
            raise aiohttp.ClientPayloadError(f"more than {BODY_MAX_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
