"""Heads: what a proxy must change is changed, and nothing else."""

import pytest

from gapless.proxy.heads import HeadInvalid, Request, response, status

UPGRADE = (
    b"GET /ws?x=1 HTTP/1.1\r\nHost: 127.0.0.1:9\r\nUpgrade: WebSocket\r\nCONNECTION: Upgrade\r\n"
    b"sec-websocket-extensions: permessage-deflate\r\nX-Odd:   kept as it is "
)


def test_an_upgrade_loses_its_extensions_and_keeps_the_rest():
    request = Request.parse(UPGRADE)
    assert (request.method, request.target, request.is_upgrade) == ("GET", "/ws?x=1", True)
    assert request.towards("far.test:81", keep_extensions=False) == (
        b"GET /ws?x=1 HTTP/1.1\r\nHost: far.test:81\r\nUpgrade: WebSocket\r\n"
        b"CONNECTION: Upgrade\r\nX-Odd:   kept as it is \r\n\r\n"
    )
    kept = request.towards("far.test", keep_extensions=True)
    assert b"\r\nsec-websocket-extensions: permessage-deflate\r\n" in kept


def test_a_plain_request_asks_for_the_end_of_the_connection():
    request = Request.parse(b"POST / HTTP/1.1\r\nhost: x\r\nConnection: keep-alive\r\nA: b")
    assert not request.is_upgrade
    assert request.towards("y", keep_extensions=False) == (
        b"POST / HTTP/1.1\r\nHost: y\r\nA: b\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    "head", [b"", b"GET /", b"\x16\x03\x01", b"GET / HTTP/2", b"get / HTTP/1.1"]
)
def test_what_is_no_request_is_refused(head):
    with pytest.raises(HeadInvalid):
        Request.parse(head)


def test_status():
    assert status(b"HTTP/1.1 101 Switching Protocols\r\n") == 101
    assert status(b"HTTP/1.0 503\r\n") == 503
    assert status(b"HELLO") is None


def test_an_answer_of_our_own_says_how_long_it_is():
    assert response(502, "gone").endswith(b"\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone")
