"""The transport on picows: fast frames from it, everything else of RFC 6455 from here.

picows parses frames in C and stops there.  It delivers fragments, reserved bits and invalid UTF-8
as they come, answers no close frame, goes on delivering after its listener raised, and its own
handshake timeout does not cover DNS, TCP and TLS.  This module closes those holes and keeps the
one path that matters short: an unfragmented text frame costs no object but its text, one reading
of the clock and one call.

Two things lean on how picows works inside, which is why its version is pinned and why the contract
tests exist: it reads the extra headers when it writes the upgrade request, that is, once TLS
stands; and it reports its own parser errors to its logger before anything else happens.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from picows import (
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_connect,
)
from picows.picows import WSCloseHandshake
from python_socks import ProxyError

from gapless.errors import (
    ConnectionLost,
    DialFailed,
    ProtocolViolation,
    UsageError,
    printable,
)
from gapless.io.clock import Clock
from gapless.io.dial import (
    Stages,
    Target,
    abandon,
    check_headers,
    dialling,
    open_socket,
    parse_proxy,
    parse_target,
    refusal,
    tls_context,
    unoffered,
)
from gapless.io.framing import (
    CONTROL_BYTES_MAX,
    INVALID_TEXT,
    PROTOCOL_ERROR,
    Assembly,
    ControlBudget,
    close_payload,
    is_close_code,
    parse_close,
)
from gapless.io.tcpinfo import TcpInfo, tcp_info
from gapless.io.transport import DialOptions, DialTimings, Limits, Receiver, Transport

__all__ = ["PicowsConnector"]

# The longest a closing handshake may take.  Servers that announce a restart and then keep the
# TCP connection open are not rare.
CLOSE_S: Final = 1.0
# After a violation the peer gets this long to read our close frame.  Closing at once, with
# unread bytes in the kernel, would send a reset that may overtake it.
LINGER_S: Final = 0.05
# More than this waiting to be sent means that the peer has stopped reading.
SEND_BYTES_MAX: Final = 1 << 20

# picows turns its C enum into these members on every read; names in the module save the lookup.
_CONTINUATION: Final = WSMsgType.CONTINUATION
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG


class PicowsConnector:
    """Opens WebSockets with picows.

    Args:
        clock: Stamps frames and measures the stages of a dial.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, url: str, receiver: Receiver, options: DialOptions) -> Transport:
        """Open a WebSocket to ``url``; see `gapless.io.transport.Connector`.

        Raises:
            gapless.errors.UsageError: The URL, the headers, the proxy or the CA file cannot be
                used.  Nothing was sent.
            gapless.errors.DialFailed: With the stage that failed.
            gapless.errors.RateLimited: The upgrade was refused with 429, 418, 403 or 503.
        """
        target = parse_target(url)
        check_headers(options.headers)
        dial = _Dial(target, options, self._clock)
        transport = _PicowsTransport(receiver, self._clock, options.limits)
        async with dialling(target.endpoint, dial.stages, options.timeout_ns):
            await dial.run(transport)
        transport.timings = dial.timings()
        # Not before the caller has the transport in hand.
        asyncio.get_running_loop().call_soon(transport.release)
        return transport


class _Dial:
    """One attempt to open one WebSocket."""

    def __init__(self, target: Target, options: DialOptions, clock: Clock) -> None:
        self._target = target
        self._options = options
        self._clock = clock
        self._goal = (target.host, target.port)
        if options.proxy is not None:
            self._goal = parse_proxy(options.proxy)
        self._tls = tls_context(options.ca_file) if target.secure else None
        self._socket: socket.socket | None = None
        self._address = self._local = ""
        self.stages = Stages(clock)

    def timings(self) -> DialTimings:
        """Return how long the stages of a finished dial took."""
        return self.stages.timings(self._address, tls=self._target.secure, local=self._local)

    async def run(self, transport: _PicowsTransport) -> None:
        """Connect ``transport``, or leave nothing behind.

        Raises:
            Exception: Anything that `gapless.io.dial.dialling` understands.
        """
        try:
            await self._connect(transport)
        except BaseException as exc:
            transport.discard()
            # picows keeps the transport to itself until the upgrade is done.
            if self._socket is not None:
                await abandon(self._socket)
            if isinstance(exc, WSHandshakeError):
                head, wall_ns = exc.raw_header or b"", self._clock.wall_ns()
                refused = refusal(head, self._target.endpoint, wall_ns)
                raise refused or self._failed("upgrade", str(exc)) from exc
            if isinstance(exc, ProxyError):
                raise self._failed("proxy", str(exc)) from exc
            raise
        self.stages.enter("open")

    async def _connect(self, transport: _PicowsTransport) -> None:
        def listener(_: WSUpgradeRequest, response: WSUpgradeResponse) -> WSListener:
            unasked = unoffered(response.headers, self._options.headers)
            if unasked is not None:
                raise self._failed("upgrade", unasked)
            return transport

        _, listening = await ws_connect(
            listener,
            self._target.url,
            ssl_context=self._tls,
            websocket_handshake_timeout=None,  # ours covers everything
            logger_name=_PicowsLog(transport.on_parser_error),
            enable_auto_pong=False,  # it would hide pings from us
            max_frame_size=self._options.limits.message_bytes,
            extra_headers=_RequestHeaders(self._options.headers, self._on_request),
            max_redirects=0,
            proxy=self._options.proxy,
            socket_factory=self._open_socket,
        )
        if listening is not transport:
            # picows takes an end before the response for a success without a listener.
            raise self._failed("upgrade", "the peer closed the connection instead of answering")

    async def _open_socket(self, _: object) -> socket.socket:
        options, proxied = self._options, self._options.proxy is not None
        try:
            self._socket = await open_socket(
                *self._goal,
                source=options.source,
                stages=self.stages,
                addresses=() if proxied else options.addresses,
            )
        except OSError as exc:
            if proxied:
                raise self._failed("proxy", f"cannot be reached: {exc}") from exc
            raise
        self._address = self._socket.getpeername()[0]
        self._local = self._socket.getsockname()[0]
        if options.connected is not None:
            options.connected(self._address)
        if proxied:
            self.stages.enter("proxy")
        elif self._tls is not None:
            self.stages.enter("tls")
        else:
            self.stages.enter("upgrade")
        return self._socket

    def _on_request(self) -> None:
        if self.stages.current != "upgrade":
            self.stages.enter("upgrade")

    def _failed(self, stage: str, detail: str) -> DialFailed:
        return DialFailed(stage, self._target.endpoint, printable(detail))


class _RequestHeaders:
    """Extra request headers that tell when picows reads them."""

    def __init__(self, headers: Mapping[str, str], on_read: Callable[[], None]) -> None:
        self._headers = headers
        self._on_read = on_read

    def __iter__(self) -> Iterator[tuple[str, str]]:
        self._on_read()
        return iter(self._headers.items())


class _PicowsLog(logging.LoggerAdapter[logging.Logger]):
    """Keeps what picows logs to itself, but notes that it logged an error.

    It logs words of the peer unescaped, and nothing that does not also reach us as an event.  The
    one thing that it tells nobody else in time is that its parser gave up.
    """

    def __init__(self, on_error: Callable[[], None]) -> None:
        super().__init__(logging.getLogger("gapless.io.picows"))
        self._on_error = on_error

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- the name is logging's
        del level
        return False

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        del msg, args, kwargs
        if level >= logging.ERROR:
            self._on_error()


class _PicowsTransport(WSListener):
    """One open WebSocket: a `gapless.io.transport.Transport`, and picows' listener.

    Frames that come before `release` are held, so that nothing is told before the dial returns.
    `_plain` folds every reason for not taking the short way into one attribute: held, ended, or
    in the middle of a fragmented message.
    """

    timings: DialTimings
    _ws: WSTransport

    def __init__(self, receiver: Receiver, clock: Clock, limits: Limits) -> None:
        self._on_text = receiver.on_text
        self._now_ns = clock.mono_ns
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._plain = False
        self._held: list[tuple[Callable[..., None], tuple[object, ...]]] | None = []
        self._ended = False  # no further frame counts
        self._muted = False  # the receiver hears nothing but on_closed
        self._deaf = False  # reading has ended for good
        self._paused = False
        self._parser_failed = False
        self._close_sent = False
        self._closed = False
        self._discarded = False
        self._cause: Exception | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._assembly = Assembly(limits)
        self._control = ControlBudget(limits.control_per_s)

    # -- what the owner calls ---------------------------------------------------------------

    def send_text(self, text: str) -> None:
        """Queue one text message."""
        if self._may_send():
            self._ws.send(_TEXT, text)

    def ping(self, payload: bytes = b"") -> None:
        """Queue one ping.

        Raises:
            gapless.errors.UsageError: ``payload`` is longer than 125 bytes.
        """
        if len(payload) > CONTROL_BYTES_MAX:
            raise UsageError(f"a ping carries at most {CONTROL_BYTES_MAX} bytes")
        if self._may_send():
            self._ws.send_ping(payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake.

        Args:
            code: What RFC 6455 allows in a close frame.
            reason: For people; what exceeds 123 bytes of UTF-8 is cut off.

        Raises:
            gapless.errors.UsageError: ``code`` must not be sent.
        """
        if not is_close_code(code):
            raise UsageError(f"{code} is no close code to send")
        if self._ended or self._close_sent:
            return
        self._send_close(code, reason)
        self._arm(CLOSE_S)

    def abort(self) -> None:
        """End at once; `on_closed` follows in a later turn of the loop."""
        self._end()
        self._muted = self._deaf = True
        self._ws.disconnect(graceful=False)

    def pause(self) -> None:
        """Stop reading; what was read already is still delivered.

        While paused, even the end of the connection goes unnoticed, and a `close` sees no echo.
        """
        self._paused = True
        self._ws.underlying_transport.pause_reading()

    def tcp_info(self) -> TcpInfo | None:
        """Return what the kernel knows of the connection; `None` where it tells nothing."""
        if self._closed:
            return None
        return tcp_info(self._ws.underlying_transport.get_extra_info("socket"))

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self._read_on()

    def below(self, name: str) -> Any:
        """Return what the loop knows of the connection: ``socket``, ``ssl_object``; or `None`."""
        return self._ws.underlying_transport.get_extra_info(name)

    # -- what the connector calls -----------------------------------------------------------

    def discard(self) -> None:
        """End what is upgraded although the dial fails: its deadline passed around then.

        Nothing reads between the upgrade and `release`, so nothing else would notice that the
        socket is shut.
        """
        self._discarded = True
        if hasattr(self, "_ws"):
            self.abort()

    def release(self) -> None:
        """Deliver what was held, and from now on everything as it comes."""
        held, self._held = self._held, None
        for method, args in held or ():
            if self._muted:
                break
            self._tell(method, *args)
        if self._closed:
            self._tell_closed()
        else:
            self._set_plain()
            self._read_on()

    def on_parser_error(self) -> None:
        """Note that picows' parser gave up; called from deep inside it.

        picows parses one frame ahead.  Where the frame after a good one is bad, it still hands
        over the good one, right after this: so the end is only drawn in the next turn.
        """
        if self._parser_failed:
            return
        self._parser_failed = True
        self._plain = False
        handshake = self._handshake
        if handshake is not None and handshake.recv is not None:
            # The good frame is a close frame, and what follows a close frame is void.  Answered
            # now, it keeps picows from answering the void.
            self._echo(handshake.recv.code.value)
        self._ws.underlying_transport.pause_reading()
        self._loop.call_soon(self._seal)

    # -- what picows calls ------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take the transport, and read nothing more before `release`."""
        self._ws = transport
        if self._discarded:  # the answer was read after the dial had failed
            self.abort()
        else:
            transport.underlying_transport.pause_reading()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle one frame; whole text messages take the short way."""
        if not (
            self._plain
            and frame.msg_type is _TEXT
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            self._on_other(frame)
            return
        try:
            text = frame.get_payload_as_utf8_text()
        except UnicodeDecodeError:
            self._violate(ProtocolViolation("a text message is not valid UTF-8", INVALID_TEXT))
            return
        try:
            self._on_text(text, self._now_ns())
        except Exception as exc:  # the contract: whatever it is, on_closed gets it
            self._crash(exc)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Tell the end, after everything else."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._note_parser_error()
        self._end()
        self._closed = True
        if self._held is None:
            self._tell_closed()

    def pause_writing(self) -> None:
        """Ignore the mark: `_may_send` keeps the bound."""

    def resume_writing(self) -> None:
        """Ignore the mark."""

    # -- frames -----------------------------------------------------------------------------

    def _on_other(self, frame: WSFrame) -> None:
        """Handle any frame, with every check."""
        if self._ended:
            return
        try:
            self._check(frame)
        except ProtocolViolation as exc:
            self._violate(exc)

    def _check(self, frame: WSFrame) -> None:
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise ProtocolViolation("a reserved bit is set, and no extension was agreed on")
        kind, fin = frame.msg_type, bool(frame.fin)
        payload = frame.get_payload_as_bytes()
        if kind is _TEXT or kind is _BINARY:
            self._on_message(self._assembly.first(payload, is_text=kind is _TEXT, fin=fin))
        elif kind is _CONTINUATION:
            self._on_message(self._assembly.following(payload, fin=fin))
        elif kind is _PING or kind is _PONG:
            self._on_control(kind is _PING, payload)
        else:
            self._on_close(payload)

    def _on_message(self, message: str | bytes | None) -> None:
        self._set_plain()
        if isinstance(message, str):
            self._emit(self._on_text, message, self._now_ns())
        elif message is not None:
            self._emit(self._receiver.on_binary, message, self._now_ns())

    def _on_control(self, is_ping: bool, payload: bytes) -> None:
        now_ns = self._now_ns()
        self._control.spend(now_ns)
        if not is_ping:
            self._emit(self._receiver.on_pong, payload, now_ns)
            return
        if self._may_send():
            self._ws.send_pong(payload)
        if not self._muted:
            self._emit(self._receiver.on_ping, now_ns)

    def _on_close(self, payload: bytes) -> None:
        """Answer a close frame.  The server closes TCP then; if it does not, we do after 1 s."""
        code, reason = parse_close(payload)
        self._end(ConnectionLost(code, reason))
        self._echo(code)
        self._arm(CLOSE_S)

    def _echo(self, code: int | None) -> None:
        if not self._close_sent:
            # picows cannot send a close frame without a code, and 1000 says the same.
            self._send_close(code if code is not None and is_close_code(code) else 1000, "")

    # -- ends -------------------------------------------------------------------------------

    def _violate(self, exc: ProtocolViolation) -> None:
        self._end(exc)
        self._deaf = True
        # A peer that breaks the rules gets no second of our memory.
        self._ws.underlying_transport.pause_reading()
        if not self._close_sent:
            self._send_close(exc.close_code, str(exc))
        self._arm(LINGER_S)

    def _seal(self) -> None:
        self._note_parser_error()
        self._end()
        self._deaf = True
        self._arm(LINGER_S)

    def _note_parser_error(self) -> None:
        """If picows gave up on the peer, say why."""
        handshake = self._handshake
        sent = None if self._close_sent or handshake is None else handshake.sent
        if sent is None and not self._parser_failed:
            return
        self._close_sent = True
        if self._reaper is None:
            self._reaper = self._loop.create_task(self._reap())
        if self._cause is None:
            code = PROTOCOL_ERROR if sent is None else sent.code.value
            detail = "a frame that cannot be parsed" if sent is None else printable(sent.reason)
            self._cause = ProtocolViolation(detail, code)

    async def _reap(self) -> None:
        # picows keeps its own exception in a future that complains if nobody looks.
        with suppress(Exception):
            await self._ws.wait_disconnected()

    def _crash(self, exc: Exception) -> None:
        self._cause = exc
        self.abort()

    def _end(self, cause: Exception | None = None) -> None:
        """Take no further frame; the first cause given stands."""
        self._ended = True
        self._plain = False
        if self._cause is None:
            self._cause = cause

    def _arm(self, after_s: float) -> None:
        """Abort after ``after_s``, unless that is set for sooner."""
        due_s = self._loop.time() + after_s
        if self._closed or (self._deadline is not None and self._deadline.when() <= due_s):
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_at(due_s, self._expire)

    def _expire(self) -> None:
        self._ws.disconnect(graceful=False)

    def _read_on(self) -> None:
        if self._held is None and not (self._paused or self._deaf or self._closed):
            self._ws.underlying_transport.resume_reading()

    # -- small parts ------------------------------------------------------------------------

    @property
    def _handshake(self) -> WSCloseHandshake | None:
        # picows' stub forgets the `None` before the first close frame.
        return self._ws.close_handshake

    def _set_plain(self) -> None:
        self._plain = self._held is None and self._assembly.idle and not self._ended

    def _emit(self, method: Callable[..., None], *args: object) -> None:
        if self._held is None:
            self._tell(method, *args)
        else:
            self._held.append((method, args))

    def _tell(self, method: Callable[..., None], *args: object) -> None:
        try:
            method(*args)
        except Exception as exc:  # as in on_ws_frame
            self._crash(exc)

    def _tell_closed(self) -> None:
        try:
            self._receiver.on_closed(self._cause or ConnectionLost())
        except Exception as exc:  # nobody is left to be told but the loop
            self._loop.call_exception_handler({"message": "on_closed raised", "exception": exc})

    def _may_send(self) -> bool:
        """Say whether sending makes sense, and abort where the peer has stopped reading."""
        if self._ended or self._close_sent:
            return False
        waiting = self._ws.underlying_transport.get_write_buffer_size()
        if waiting <= SEND_BYTES_MAX:
            return True
        cause = ConnectionLost()
        cause.add_note(f"the peer stopped reading: {waiting} bytes waited to be sent")
        self._cause = cause
        self.abort()
        return False

    def _send_close(self, code: int, reason: str) -> None:
        self._close_sent = True
        # Any number will do, not only those that picows has names for.
        self._ws.send_close(code, close_payload(reason))  # type: ignore[arg-type]
