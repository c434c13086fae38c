"""Playing a capture to the client, as if it were the venue: a `Connector` and REST reads.

A capture of ours is played connection by connection, each frame when it was recorded.  The nth
dial gets the nth connection; what the client sends is held against what was sent then only by
count, and a frame that was an answer waits a little for its question.

The answers in a foreign capture, if there are any, belong to somebody else's questions.  There
every subscribe is granted at once, and one timeline of all its frames is played to whoever is
connected.  Frames are marked on their way with the connection they were recorded on, since what
a codec learns belongs to one connection; `Replay.adapt` puts in the codec that reads the marks.

Time is the loop's: under virtual time a day takes moments, and one capture and one seed give the
same events and the same decisions.
"""

from __future__ import annotations

import asyncio
import heapq
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from gapless.capture.script import Connection, Line, Script, load_script
from gapless.core.codec import Ack, Asked, Bundle, Codec, Granted, Heartbeat, Reading, Request
from gapless.errors import ConnectionLost, DecodeError, DialFailed, RateLimited, RequestRejected
from gapless.events import Event, Origin
from gapless.io.clock import Clock
from gapless.io.plan import Plan
from gapless.io.runtime import Runtime
from gapless.io.snapshots import RestClient
from gapless.io.transport import DialOptions, DialTimings, Receiver, Transport
from gapless.venues._profile import CodecMaker, Rest, RestGet

__all__ = ["Replay"]

SECOND_NS: Final = 1_000_000_000
LEAD_NS: Final = SECOND_NS
"""How long a foreign capture waits after the first dial, so that every line is there."""
PATIENCE_NS: Final = 2 * SECOND_NS
"""How long an answer waits for its question."""
ANSWER_WAIT_NS: Final = 10 * SECOND_NS

_ECHO: Final = "\x00?"
_FROM: Final = "\x00<"
_CLOSED: Final = re.compile(r"ConnectionLost: closed with (\d{4})(?: (.*))?", re.S)
_PLANNED: Final = "planned"
_NOTHING: Final = Heartbeat()
_LIMITED: Final = frozenset({403, 418, 429})

Answering = Literal["recorded", "granted"]


class Replay:
    """A capture that a feed can be opened on.

    Args:
        capture: The capture, or what was loaded of one.
        clock: The time of the loop.
        speed: How many recorded seconds pass in one.
        answering: ``recorded`` plays what the venue answered, ``granted`` grants every subscribe;
            by default the first for captures of ours, the second for others.

    Attributes:
        script: What is played.
        granting: Whether subscribes are granted at once.
        undecoded: Frames of a foreign capture that the codec could not read.
        unlike: Messages of the client that differ from what was sent when it was recorded.

    Raises:
        CaptureDamaged: It cannot be read to its end.
    """

    url = "ws://capture.invalid"

    def __init__(
        self,
        capture: str | Path | Script,
        clock: Clock,
        *,
        speed: float = 1.0,
        answering: Answering | None = None,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be positive, not {speed}")
        self.script = capture if isinstance(capture, Script) else load_script(capture)
        self.granting = not self.script.ours if answering is None else answering == "granted"
        self.undecoded = self.unlike = 0
        self._clock = clock
        self._speed = speed
        self._start_ns: int | None = None
        self._unused = list(self.script.connections)
        self._all: list[tuple[str, Line]] = []
        if self.granting:
            each = [[(c.name, line) for line in c.lines] for c in self.script.connections]
            self._all = list(heapq.merge(*each, key=lambda item: item[1].number))
        self._players: set[_Player] = set()

    @property
    def runtime(self) -> Runtime:
        """What a feed runs on instead of the network."""
        return Runtime(self._clock, self.connect, self.rest)

    def adapt(self, plan: Plan) -> Plan:
        """Return a plan that reaches the capture and nothing else."""
        path = plan.profile.endpoints.value.path
        rest = (self.url.replace("ws", "http", 1),) if self.script.answers.all else ()
        plan = replace(plan, endpoints=(self.url + path,), rest_endpoints=rest)
        if not self.granting:
            return plan
        codec = _Granting.maker(plan.profile.codec, self)
        return replace(plan, profile=replace(plan.profile, codec=codec), login=None)

    async def over(self) -> None:
        """Return when everything was played to whoever is connected."""
        while self._start_ns is None:
            await asyncio.sleep(0.01)
        while (left_ns := self.due_ns(self.script.length_ns) - self._clock.mono_ns()) > 0:
            await asyncio.sleep(left_ns / SECOND_NS)
        while any(player.busy for player in self._players):
            await asyncio.sleep(0.01)

    # -- time -----------------------------------------------------------------------------------

    def due_ns(self, at_ns: int) -> int:
        """Return when a moment of the capture comes, monotonic."""
        start_ns = self._clock.mono_ns() if self._start_ns is None else self._start_ns
        return start_ns + int(at_ns / self._speed)

    @property
    def at_ns(self) -> int:
        """How far the capture is, in its own time; 0 before it begins."""
        if self._start_ns is None:
            return 0
        return int((self._clock.mono_ns() - self._start_ns) * self._speed)

    def span_ns(self, capture_ns: int) -> int:
        """Return how long a stretch of the capture takes."""
        return int(capture_ns / self._speed)

    # -- connections ----------------------------------------------------------------------------

    async def connect(self, url: str, receiver: Receiver, options: DialOptions) -> Transport:
        """Open a connection; see `gapless.io.transport.Connector`."""
        if self._start_ns is None:
            lead_ns = LEAD_NS if self.granting else 0
            self._start_ns = self._clock.mono_ns() + lead_ns
        await asyncio.sleep(0)
        if self.granting:
            if self._players and self.at_ns > 0:
                # It would get no snapshot, and has nothing to say that the others do not.
                raise DialFailed("tcp", self.url, "the capture is being played already")
            player = _Player(self, receiver, self._clock, self._rest_of(), None, 0)
        else:
            connection = self._choose(urlsplit(url).path, options)
            try:
                await self._wait_for(connection)
            except asyncio.CancelledError:
                self._unused.insert(0, connection)
                raise
            late_ns = max(0, self._clock.mono_ns() - self.due_ns(connection.at_ns))
            lines = [(connection.name, line) for line in connection.lines]
            player = _Player(self, receiver, self._clock, lines, connection, late_ns)
        self._players.add(player)
        asyncio.get_running_loop().call_soon(player.step)
        return player

    def leave(self, player: _Player) -> None:
        """Note that a connection is over."""
        self._players.discard(player)

    def _choose(self, path: str, options: DialOptions) -> Connection:
        alike = [connection for connection in self._unused if connection.path == path]
        chosen = next(iter(alike or self._unused), None)
        if chosen is None:
            raise DialFailed("tcp", self.url, "the capture has no further connection")
        if self.due_ns(chosen.at_ns) - self._clock.mono_ns() > options.timeout_ns:
            raise DialFailed("tcp", self.url, "the next recorded connection comes later")
        self._unused.remove(chosen)
        return chosen

    async def _wait_for(self, connection: Connection) -> None:
        while (wait_ns := self.due_ns(connection.at_ns) - self._clock.mono_ns()) > 0:
            await asyncio.sleep(wait_ns / SECOND_NS)

    def _rest_of(self) -> list[tuple[str, Line]]:
        """Return what is still to come of a foreign capture."""
        at_ns = max(0, self.at_ns)
        return self._all[bisect_left(self._all, at_ns, key=lambda item: item[1].at_ns) :]

    # -- requests -------------------------------------------------------------------------------

    def rest(self, options: DialOptions) -> RestClient:
        """Return a client for REST reads that answers from the capture."""
        del options
        return _ReplayRest(self, self._clock)


class _Player:
    """One connection; a `gapless.io.transport.Transport`."""

    timings = DialTimings(0, 0, 0, 0, "capture")

    def __init__(
        self,
        replay: Replay,
        receiver: Receiver,
        clock: Clock,
        lines: Sequence[tuple[str, Line]],
        connection: Connection | None,
        late_ns: int,
    ) -> None:
        self._replay = replay
        self._receiver = receiver
        self._clock = clock
        self._lines = lines
        self._connection = connection  # None plays all of a foreign capture
        self._late_ns = late_ns
        self._loop = asyncio.get_running_loop()
        self._next = 0
        self._expected = 0  # messages of the client that were recorded before the next line
        self._sent = 0  # or waited for in vain
        self._said = 0
        self._recorded = [line.text for _, line in lines if connection and not line.inbound]
        self._timer: asyncio.Handle | None = None
        self._paused = False
        self._over = False

    @property
    def busy(self) -> bool:
        """Whether there is more to come."""
        return not self._over and not self._paused and self._next < len(self._lines)

    # -- what the owner calls -------------------------------------------------------------------

    def send_text(self, text: str) -> None:
        if self._over:
            return
        if self._connection is None:
            self._loop.call_soon(self._tell, _ECHO + text)
            return
        self._compare(text)
        self._sent += 1
        self._again_soon()

    def ping(self, payload: bytes = b"") -> None:
        self._loop.call_soon(self._pong, payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._end(ConnectionLost(code, reason))

    def abort(self) -> None:
        self._end(ConnectionLost())

    def pause(self) -> None:
        self._paused = True

    def tcp_info(self) -> None:
        return None  # a recording has no kernel

    def resume(self) -> None:
        self._paused = False
        self._again_soon()

    # -- playing --------------------------------------------------------------------------------

    def step(self) -> None:
        """Play what is due, and come back for the rest."""
        self._timer = None
        lines = self._lines
        while not (self._over or self._paused) and self._next < len(lines):
            name, line = lines[self._next]
            if not line.inbound:
                self._expected += 1
                self._next += 1
                continue
            due_ns = self._replay.due_ns(line.at_ns) + self._late_ns
            if self._connection is not None and self._sent < self._expected:
                due_ns += self._replay.span_ns(PATIENCE_NS)
            if (wait_ns := due_ns - self._clock.mono_ns()) > 0:
                self._timer = self._loop.call_later(wait_ns / SECOND_NS, self.step)
                return
            self._sent = max(self._sent, self._expected)  # it was waited for long enough
            self._next += 1
            foreign = self._connection is None
            self._tell(f"{_FROM}{name}\n{line.text}" if foreign else line.text)
        if not (self._over or self._paused):
            self._play_end()

    def _play_end(self) -> None:
        connection = self._connection
        if connection is None or connection.ended_ns is None or connection.reason == _PLANNED:
            return  # whoever recorded it closed it: that is up to whoever listens now
        wait_ns = self._replay.due_ns(connection.ended_ns) + self._late_ns - self._clock.mono_ns()
        if wait_ns > 0:
            self._timer = self._loop.call_later(wait_ns / SECOND_NS, self.step)
            return
        match = _CLOSED.fullmatch(connection.reason)
        self._end(ConnectionLost(int(match[1]), match[2] or "") if match else ConnectionLost())

    def _again_soon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_soon(self.step)

    def _compare(self, text: str) -> None:
        """Count what differs from the recording."""
        if self._said >= len(self._recorded) or self._recorded[self._said] != text:
            self._replay.unlike += 1
        self._said += 1

    def _tell(self, text: str) -> None:
        if self._over:
            return
        try:
            self._receiver.on_text(text, self._clock.mono_ns())
        except Exception as error:  # the contract: whatever it is, on_closed gets it
            self._end(error)

    def _pong(self, payload: bytes) -> None:
        if not self._over:
            self._receiver.on_pong(payload, self._clock.mono_ns())

    def _end(self, cause: Exception) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._replay.leave(self)
        self._loop.call_soon(self._receiver.on_closed, cause)


class _ReplayRest:
    """REST reads; see `gapless.io.snapshots.RestClient`."""

    def __init__(self, replay: Replay, clock: Clock) -> None:
        self._replay = replay
        self._clock = clock

    async def get(self, base: str, request: RestGet, rest: Rest) -> bytes:
        """Read once."""
        replay = self._replay
        answer = replay.script.answers.find(
            request.path, dict(request.query), request.body, replay.at_ns
        )
        if answer is None:
            raise DialFailed("rest", base, f"the capture holds no answer to {request.path}")
        until_ns = min(
            replay.due_ns(answer.at_ns),
            self._clock.mono_ns() + replay.span_ns(ANSWER_WAIT_NS),
        )
        while (wait_ns := until_ns - self._clock.mono_ns()) > 0:
            await asyncio.sleep(wait_ns / SECOND_NS)
        body = answer.body.encode()
        if answer.status == 200:
            return body
        if answer.status in _LIMITED:
            raise RateLimited(answer.status)
        if 400 <= answer.status < 500 and (fault := rest.read_error(body)) is not None:
            raise RequestRejected(*fault)
        raise DialFailed("rest", base, f"HTTP status {answer.status}", answer.status)

    async def close(self) -> None:
        """Do nothing: there is no connection."""


class _Granting:
    """A codec that takes every subscribe for granted, and reads frames by their marks.

    Args:
        make: Makes the venue's own codec; each recorded connection gets one.
        origins, texts: What it is made with.
        replay: Counts what cannot be read.
    """

    def __init__(
        self, make: CodecMaker, replay: Replay, origins: Mapping[str, Origin], *, texts: bool
    ) -> None:
        self._make = make
        self._replay = replay
        self._origins = origins
        self._texts = texts
        self._own = make(origins, texts=texts)
        self._codecs: dict[str, Codec] = {}
        self._asked: dict[str, Request] = {}
        self._counted: str | None = None

    @staticmethod
    def maker(make: CodecMaker, replay: Replay) -> CodecMaker:
        """Return what makes these codecs in place of the venue's."""

        def granting(origins: Mapping[str, Origin], *, texts: bool = False) -> Codec:
            return _Granting(make, replay, origins, texts=texts)

        return granting

    # -- what the session asks for --------------------------------------------------------------

    def setup(self, next_id: int) -> list[Request]:
        return self._noted(self._own.setup(next_id))

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return self._noted(self._own.subscribe(next_id, topics))

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        return self._noted(self._own.unsubscribe(next_id, topics))

    def once_live(self, request_id: int) -> Request | None:
        del request_id
        return None  # nobody is there to answer

    def beat(self, next_id: int) -> Request | None:
        del next_id
        return None

    def asked(self, text: str) -> Asked | None:
        return self._own.asked(text)

    def _noted(self, requests: list[Request]) -> list[Request]:
        self._asked.update((request.text, request) for request in requests)
        return requests

    # -- what comes -----------------------------------------------------------------------------

    def number(self, text: str) -> int | None:
        name, frame = _parted(text)
        if name is None:
            return None
        try:
            number = self._codec(name).number(frame)
        except DecodeError:  # reading it will say so
            return None
        if number is not None and self._counted is None:
            self._counted = name
        return number if name == self._counted else None

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        name, frame = _parted(text)
        if name is None:
            return self._answer(frame)
        try:
            reading = self._codec(name).read(frame, recv_ns, mono_ns)
        except DecodeError:
            self._replay.undecoded += 1
            return _NOTHING
        if isinstance(reading, list):
            return reading
        if isinstance(reading, Bundle) and reading.events:
            return list(reading.events)
        return _NOTHING  # it answers somebody else

    def _answer(self, text: str) -> Reading:
        request = self._asked.pop(text, None)
        if request is None:
            return _NOTHING
        if request.id:
            return Ack(request.id)
        return Granted(request.topics) if request.kind == "subscribe" else _NOTHING

    def _codec(self, name: str) -> Codec:
        codec = self._codecs.get(name)
        if codec is None:
            codec = self._codecs[name] = self._make(self._origins, texts=self._texts)
        return codec


def _parted(text: str) -> tuple[str | None, str]:
    """Return connection and frame; no connection for an echo of the client's own."""
    if text.startswith(_ECHO):
        return None, text[len(_ECHO) :]
    name, _, frame = text[len(_FROM) :].partition("\n")
    return name, frame
