"""REST reads against a real server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from aiohttp import web
from tests.io.certs import authority, context
from tests.io.proxies import Proxy

from gapless.errors import DialFailed, RateLimited, RequestRejected
from gapless.io import rest as module
from gapless.io.clock import SystemClock
from gapless.io.rest import AiohttpRest
from gapless.venues._profile import RestGet

GET = RestGet("/api/v3/depth", (("symbol", "BTCUSDT"), ("limit", "1000")), "weight", 50)


class Dialect:
    def read_error(self, body):
        return (-1121, "Invalid symbol.") if b"-1121" in body else None


@contextlib.asynccontextmanager
async def serving(handler, *, tls=None):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def ask(handler, *, tls=None, base=None, request=GET, **options):
    """Read once from a server with ``handler``."""

    async def main():
        async with asyncio.timeout(20), serving(handler, tls=tls) as url:
            client = AiohttpRest(SystemClock(), **options)
            try:
                return await client.get(base or url, request, Dialect())
            finally:
                await client.close()

    return asyncio.run(main())


def answer(status=200, text="{}", **headers):
    async def handle(request):
        return web.Response(status=status, text=text, headers=headers)

    return handle


def test_the_body_of_a_good_answer_and_the_query_as_asked():
    async def handle(request):
        return web.Response(text=request.path_qs)

    assert ask(handle) == b"/api/v3/depth?symbol=BTCUSDT&limit=1000"


def test_a_request_with_a_body_is_posted_as_json():
    async def handle(request):
        assert (request.method, request.content_type) == ("POST", "application/json")
        return web.Response(body=await request.read())

    request = RestGet("/info", (), "weight", 20, '{"type":"\u00fc"}')
    assert ask(handle, request=request) == '{"type":"\u00fc"}'.encode()


@pytest.mark.parametrize("status", [403, 418, 429])
def test_limits_carry_the_venues_wait(status):
    with pytest.raises(RateLimited) as caught:
        ask(answer(status, **{"Retry-After": "7"}))
    assert (caught.value.status, caught.value.retry_after_ns) == (status, 7_000_000_000)
    with pytest.raises(RateLimited) as caught:
        ask(answer(status))
    assert caught.value.retry_after_ns is None


def test_an_error_body_of_the_venue_is_a_refusal():
    with pytest.raises(RequestRejected) as caught:
        ask(answer(400, '{"code":-1121,"msg":"Invalid symbol."}'))
    assert (caught.value.code, caught.value.detail) == (-1121, "Invalid symbol.")


@pytest.mark.parametrize("status", [301, 404, 500, 503])
def test_any_other_status_is_a_failure_and_redirects_are_not_followed(status):
    with pytest.raises(DialFailed) as caught:
        ask(answer(status, **{"Location": "http://127.0.0.1:1/elsewhere"}))
    assert (caught.value.stage, caught.value.status) == ("rest", status)
    assert "symbol" not in caught.value.endpoint  # no query in messages


def test_an_ipv6_address_stands_in_brackets_in_what_failed():
    with socket.socket(socket.AF_INET6) as unused:
        unused.bind(("::1", 0))  # bound and not listening: refuses
        base = f"http://[::1]:{unused.getsockname()[1]}"
        with pytest.raises(DialFailed) as caught:
            ask(answer(), base=base)
    assert f"{base}/api/v3/depth" in str(caught.value)


def test_an_unreachable_endpoint_is_a_failure():
    with pytest.raises(DialFailed, match="rest failed"):
        ask(answer(), base="http://127.0.0.1:1")


def test_a_cut_in_the_middle_of_the_body_is_a_failure():
    async def handle(request):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        request.transport.abort()
        return response

    with pytest.raises(DialFailed):
        ask(handle)


def test_a_body_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(module, "BODY_MAX_BYTES", 1 << 20)

    async def handle(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(bytes(1 << 16))
        return response

    with pytest.raises(DialFailed, match="more than 1048576 bytes"):
        ask(handle)


def test_an_answer_that_never_comes_is_a_failure(monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)

    async def handle(request):
        await asyncio.Event().wait()

    with pytest.raises(DialFailed, match="rest failed"):
        ask(handle)


def test_a_private_authority_is_trusted_when_it_is_named_and_only_then():
    tls = context("good")
    assert ask(answer(text="[]"), tls=tls, ca_file=authority()[1]) == b"[]"
    with pytest.raises(DialFailed, match="certificate"):
        ask(answer(), tls=tls)


@pytest.mark.parametrize("kind", ["socks4", "socks5"])
def test_a_socks_proxy_carries_reads_too(kind):
    async def main():
        async with serving(answer(text="by socks")) as base, Proxy(kind) as proxy:
            client = AiohttpRest(SystemClock(), proxy=proxy.url, source="127.0.0.1")
            try:
                return await client.get(base, GET, Dialect()), proxy.asked
            finally:
                await client.close()

    body, asked = asyncio.run(main())
    assert body == b"by socks"
    assert asked  # the proxy was really used


def test_a_proxy_is_asked_for_the_whole_url():
    asked = []

    async def handle(request):
        asked.append(request.raw_path if "://" in request.raw_path else str(request.url))
        return web.Response(text="by proxy")

    async def main():
        async with asyncio.timeout(20), serving(handle) as url:
            client = AiohttpRest(SystemClock(), proxy=url)
            try:
                return await client.get("http://venue.test", GET, Dialect())
            finally:
                await client.close()

    assert asyncio.run(main()) == b"by proxy"
    assert asked[0].startswith("http://venue.test/api/v3/depth?")


def test_closing_twice_or_unused_does_no_harm():
    async def main():
        client = AiohttpRest(SystemClock())
        await client.close()
        await client.close()

    asyncio.run(main())
