"""Control over HTTP, on the port of the proxy itself.

``POST /_proxy/fault`` takes a fault as JSON, ``POST /_proxy/clear`` takes ``{"id": n}``, and
``GET /_proxy/faults`` and ``GET /_proxy/log`` look.  No fault of the plan touches these requests,
or nobody could end one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from gapless.errors import UsageError, printable
from gapless.listening import is_rebound
from gapless.proxy.faults import Fault
from gapless.proxy.heads import Request, response

if TYPE_CHECKING:
    from gapless.proxy.server import FaultProxy
    from gapless.proxy.sockets import Side

__all__ = ["BODY_BYTES_MAX", "PREFIX", "Control"]

PREFIX: Final = "/_proxy/"
BODY_BYTES_MAX: Final = 65_536


class Control:
    """One request to the proxy itself."""

    def __init__(self, proxy: FaultProxy, request: Request, client: Side) -> None:
        self._proxy = proxy
        self._request = request
        self._client = client
        self._body = bytearray()
        length = request.get(b"content-length") or b"0"
        digits = length.isdigit() and len(length) < 10
        self._wanted = int(length) if digits else BODY_BYTES_MAX + 1
        self._answered = False

    @staticmethod
    def concerns(request: Request) -> bool:
        """Return whether a request is meant for the proxy."""
        return request.target.startswith(PREFIX)

    def feed(self, data: bytes) -> None:
        """Take what there is of the body; answer once it is whole."""
        if self._answered:
            return
        self._body += data
        if len(self._body) < self._wanted <= BODY_BYTES_MAX:
            return
        self._answered = True
        code, said = self._answer()
        text = msgspec.json.encode(said).decode()
        self._client.write(response(code, text, content_type="application/json"))
        self._client.close()

    def _answer(self) -> tuple[int, Any]:
        request, proxy = self._request, self._proxy
        # A page in somebody's browser must not be able to break a local connection.
        named = request.get(b"host")
        name = None if named is None else named.decode("latin-1")
        if request.get(b"origin") is not None or is_rebound(proxy.host, name):
            return 403, {"error": "control is not for web pages"}
        if self._wanted > BODY_BYTES_MAX:
            return 413, {"error": f"a request has at most {BODY_BYTES_MAX} bytes"}
        body = bytes(self._body[: self._wanted])
        match request.method, request.target.removeprefix(PREFIX):
            case "GET", "faults":
                return 200, [record.as_dict() for record in proxy.records]
            case "GET", "log":
                return 200, {"forgotten": proxy.board.forgotten, "log": list(proxy.log)}
            case "POST", "fault":
                try:
                    return 200, proxy.strike(Fault.from_json(body)).as_dict()
                except UsageError as error:
                    return 400, {"error": str(error)}
            case "POST", "clear":
                return self._clear(body)
            case _:
                return 404, {"error": "there is no such control"}

    def _clear(self, body: bytes) -> tuple[int, Any]:
        try:
            wanted = msgspec.json.decode(body, type=dict[str, int])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return 400, {"error": printable(str(error))}
        record = self._proxy.clear(wanted.get("id", 0))
        if record is None:
            return 404, {"error": "there is no such fault"}
        return 200, record.as_dict()
