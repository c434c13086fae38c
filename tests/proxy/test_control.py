"""Control over HTTP, asked by an independent client."""

import aiohttp
from tests.proxy.wires import connected, run, websocket

from gapless.proxy.control import BODY_BYTES_MAX
from gapless.proxy.faults import Fault


def controlled(test, *faults):
    async def body(proxy, server):
        async with aiohttp.ClientSession(proxy.http_url + "/_proxy/") as session:
            await test(proxy, server, session)

    run(body, *faults)


async def said(session, method, path, body=None, headers=None):
    async with session.request(method, path, data=body, headers=headers) as reply:
        return reply.status, await reply.json()


def test_a_fault_strikes_live_is_counted_and_is_cleared():
    async def test(proxy, server, session):
        async with websocket(proxy, server) as (client, peer):
            status, record = await said(session, "POST", "fault", '{"name":"drop","for_s":60}')
            assert (status, record["id"], record["struck"]) == (200, 1, 0)
            peer.text("a", "b")
            while proxy.records[0].struck < 2:
                await session.get("faults")
            status, (record,) = await said(session, "GET", "faults")
            assert (record["name"], record["struck"], record["active"]) == ("drop", 2, True)
            status, log = await said(session, "GET", "log")
            assert [entry["frame"] for entry in log["log"]] == [1, 2]
            assert log["forgotten"] == 0
            status, record = await said(session, "POST", "clear", '{"id":1}')
            assert (status, record["over"]) == (200, True)
            peer.text("c")
            await client.until_frames(1)
            assert client.texts() == ["c"]
            assert proxy.connections == 1  # control is no connection of the plan

    controlled(test)


def test_a_page_in_a_browser_is_refused():
    async def test(proxy, server, session):
        headers = {"Origin": "http://evil.test"}
        for method, path in (("POST", "fault"), ("POST", "clear"), ("GET", "faults")):
            status, body = await said(session, method, path, '{"name":"reset"}', headers)
            assert (status, body) == (403, {"error": "control is not for web pages"})
        assert proxy.records == []

    controlled(test)


def test_a_page_whose_name_was_made_to_lead_here_is_refused_too():
    async def test(proxy, server, session):
        headers = {"Host": f"evil.test:{proxy.port}"}
        for path in ("faults", "log"):
            status, body = await said(session, "GET", path, None, headers)
            assert (status, body) == (403, {"error": "control is not for web pages"})
        status, _ = await said(session, "GET", "faults", None, {"Host": f"localhost:{proxy.port}"})
        assert status == 200

    controlled(test)


def test_bad_requests_are_told_why():
    async def test(proxy, server, session):
        for method, path, body, status, words in (
            ("POST", "fault", "{", 400, "truncated"),
            ("POST", "fault", '{"name":"explode"}', 400, "explode"),
            ("POST", "fault", '{"name":"drop","count":0}', 400, "count must be"),
            ("POST", "clear", '{"id":"x"}', 400, "Expected"),
            ("POST", "fault", b'{"name":"drop","topic":"\xff"}', 400, "utf-8"),
            ("POST", "clear", b'{"\xff":1}', 400, "utf-8"),
            ("POST", "clear", '{"id":7}', 404, "no such fault"),
            ("GET", "elsewhere", None, 404, "no such control"),
            ("POST", "fault", "x" * (BODY_BYTES_MAX + 1), 413, "at most"),
        ):
            got, answer = await said(session, method, path, body)
            assert got == status, path
            assert words in answer["error"]

    controlled(test)


def test_no_fault_of_the_plan_keeps_control_away():
    async def test(proxy, server, session):
        status, records = await said(session, "GET", "faults")
        assert status == 200
        assert [record["struck"] for record in records] == [0, 0, 0]

    controlled(
        test,
        Fault(name="reset"),
        Fault(name="stalled_handshake"),
        Fault(name="half_open_in"),
    )


def test_a_length_that_is_none_is_refused():
    async def test(proxy, server):
        async with connected(proxy.port) as client:
            client.write(b"POST /_proxy/fault HTTP/1.1\r\nContent-Length: -5\r\n\r\n")
            await client.until(lambda: client.eof)
            assert client.read.startswith(b"HTTP/1.1 413 ")

    run(test)
