"""A toy dialect and short ways to bring a session into each of its phases."""

from __future__ import annotations

from gapless.core.budget import Budget, Window
from gapless.core.codec import Ack, Asked, Reading, Request
from gapless.core.lifecycle import Phase
from gapless.core.liveness import PathPolicy
from gapless.core.session import Effect, Send, Session, SessionTerms, Timing
from gapless.errors import ConnectionLost
from gapless.events import Event

MS = 1_000_000
SECOND = 1_000_000_000
PATH = PathPolicy()
T0 = 1_000 * SECOND


class ToyCodec:
    """Says what it asks for in plain words."""

    def __init__(
        self,
        *,
        setups: int = 0,
        lists: bool = False,
        pool: str | None = None,
        beats: bool = False,
    ) -> None:
        self.beats = beats
        self.setups = setups
        self.lists = lists
        self.pool = pool

    def setup(self, next_id: int) -> list[Request]:
        ids = range(next_id, next_id + self.setups)
        return [Request(number, "setup", f"setup {number}") for number in ids]

    def subscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        text = f"subscribe {next_id} {' '.join(topics)}"
        return [Request(next_id, "subscribe", text, topics, self.pool, 10)]

    def unsubscribe(self, next_id: int, topics: tuple[str, ...]) -> list[Request]:
        text = f"unsubscribe {next_id} {' '.join(topics)}"
        return [Request(next_id, "unsubscribe", text, topics)]

    def beat(self, next_id: int) -> Request | None:
        return Request(0, "reply", "beat") if self.beats else None

    def number(self, text: str) -> int | None:
        return None

    def asked(self, text: str) -> Asked | None:
        return None

    def once_live(self, request_id: int) -> Request | None:
        return Request(request_id, "listing", f"list {request_id}") if self.lists else None

    def read(self, text: str, recv_ns: int, mono_ns: int) -> list[Event] | Reading:
        raise NotImplementedError


def make(
    *topics: str,
    codec: ToyCodec | None = None,
    timing: Timing | None = None,
    messages: Budget | None = None,
    pools: dict[str, Budget] | None = None,
    per_request: int | None = None,
    beat_ns: int | None = None,
) -> Session:
    terms = SessionTerms(
        messages=messages or Budget(),
        pools=pools or {},
        topics_per_request=per_request,
        beat_ns=beat_ns,
    )
    return Session(
        codec or ToyCodec(), topics or ("x",), timing or Timing(), terms, PATH, "wss://venue"
    )


def sent(effects: list[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Send)]


def ids_of(effects: list[Effect]) -> list[int]:
    return [int(text.split()[1]) for text in sent(effects)]


def in_phase(phase: Phase, *topics: str, codec: ToyCodec | None = None) -> Session:
    """Return a session in ``phase``, reached at `T0` or as soon after as may be."""
    session = make(*topics, codec=codec)
    if phase is Phase.IDLE:
        return session
    session.dial(T0)
    if phase is Phase.DIALING:
        return session
    effects = session.opened(T0)
    if phase is Phase.SUBSCRIBING:
        return session
    if phase is Phase.CLOSING:
        session.retire(T0)
        return session
    if phase is Phase.ENDED:
        session.lost(ConnectionLost(), T0)
        return session
    for number in ids_of(effects):
        session.control(Ack(number), T0)
    if phase is Phase.DRAINING:
        session.retire(T0)
    return session


def five_a_second() -> Budget:
    return Budget(Window(5, SECOND))
