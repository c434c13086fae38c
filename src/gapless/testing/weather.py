"""What befalls frames on their way through a network in memory.

TCP hides what happens to packets, and shows it as time: a lost packet is a frame that comes late,
and holds up all that follow.  So nothing here loses a frame or swaps two; frames take long, wait
while the way is shut, or wait for ever.

`Calamity` is one thing that goes wrong with the network, as a plan writes it down; `strike`
carries it out and returns what proves that it happened.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from gapless.testing.memory import MemoryNetwork

__all__ = ["Calamity", "CalamityName", "CalamityRecord", "Weather", "strike"]

RETRANSMIT_NS: Final = 200_000_000
"""How long a sender waits for an acknowledgement at least, before it sends again."""

RETRANSMIT_MAX_NS: Final = 60_000_000_000

CalamityName = Literal[
    "slow",  # frames take `delay_ms` longer, and by chance up to `jitter_ms` more
    "loss",  # that share of frames is sent again, once or several times
    "clog",  # nothing passes for a while, then everything
    "partition",  # the same for so long that nobody waits for it
    "half_open_in",  # nothing reaches the client
    "half_open_out",  # nothing reaches the venue
    "crash",  # connections break, and lose what is under way
]


class Shutter(Protocol):
    """One direction of a connection."""

    def block(self) -> None:
        """Let nothing out until as many calls of `open`."""

    def open(self) -> None:
        """Take back one `block`."""


class Weather:
    """What befalls the connections that take one way.

    Args:
        latency_ns: Time from one side to the other.
        jitter_ns: Most that chance adds to it, anew for every frame.
        seed: Makes the chance repeatable.

    Attributes:
        loss: Share of frames whose packets are lost, 0 to less than 1.
        retransmits: Packets that had to be sent again.
        crossed: Frames so far.
    """

    def __init__(self, latency_ns: int, jitter_ns: int, seed: int | str = 0) -> None:
        self.latency_ns = latency_ns
        self.jitter_ns = jitter_ns
        self.loss = 0.0
        self.retransmits = 0
        self.crossed = 0
        self._chance = random.Random(seed)  # noqa: S311 -- must repeat, not surprise
        self._shut_in = 0
        self._shut_out = 0
        self._pairs: list[tuple[Shutter, Shutter]] = []
        self._gone: list[tuple[Shutter, Shutter]] = []  # over, with something still under way
        self._waiting: list[asyncio.Future[None]] = []

    def delay_ns(self) -> int:
        """Return how long the next frame is under way."""
        self.crossed += 1
        delay_ns = self.latency_ns
        if self.jitter_ns:
            delay_ns += self._chance.randint(0, self.jitter_ns)
        if self.loss:
            timeout_ns = max(RETRANSMIT_NS, 3 * self.latency_ns)
            while self._chance.random() < self.loss:
                self.retransmits += 1
                delay_ns += timeout_ns
                timeout_ns = min(2 * timeout_ns, RETRANSMIT_MAX_NS)
        return delay_ns

    async def passable(self) -> None:
        """Return when the way is open in both directions, which a dial needs."""
        while self._shut_in or self._shut_out:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def shut(self, *, inwards: bool, outwards: bool) -> int:
        """Let nothing pass until `clear`; return how many connections this strikes."""
        self._shut_in += inwards
        self._shut_out += outwards
        for to_client, to_server in self._pairs:
            if inwards:
                to_client.block()
            if outwards:
                to_server.block()
        return len(self._pairs)

    def clear(self, *, inwards: bool, outwards: bool) -> None:
        """Take back one `shut`: what waited passes now."""
        self._shut_in -= inwards
        self._shut_out -= outwards
        for to_client, to_server in [*self._pairs, *self._gone]:
            if inwards:
                to_client.open()
            if outwards:
                to_server.open()
        if not (self._shut_in or self._shut_out):
            self._gone.clear()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def befall(self, to_client: Shutter, to_server: Shutter) -> None:
        """Count a connection among those that take this way."""
        self._pairs.append((to_client, to_server))
        for _ in range(self._shut_in):
            to_client.block()
        for _ in range(self._shut_out):
            to_server.block()

    def leave(self, to_client: Shutter, to_server: Shutter) -> None:
        """Count it no longer; what still waits on it goes its way, once that is open."""
        if (to_client, to_server) in self._pairs:
            self._pairs.remove((to_client, to_server))
            if self._shut_in or self._shut_out:
                self._gone.append((to_client, to_server))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calamity:
    """One thing that goes wrong with the network.

    Args:
        name: What.
        for_s: How long, in seconds; `crash` takes no time.
        delay_ms: Of `slow`, in milliseconds.
        jitter_ms: Of `slow`, in milliseconds.
        share: Of `loss`, above 0 and less than 1.
    """

    name: CalamityName
    for_s: float = 0.0
    delay_ms: int = 0
    jitter_ms: int = 0
    share: float = 0.0


@dataclass(slots=True)
class CalamityRecord:
    """What became of a calamity.

    Attributes:
        fault: What was asked for.
        at_ns: When it struck, Unix time.
        until_ns: When it ends.
        happened: Connections struck; for `slow` and `loss`, frames delayed and sent again.
        over: Whether it is over.
    """

    fault: Calamity
    at_ns: int
    until_ns: int
    happened: int = 0
    over: bool = False


def strike(network: MemoryNetwork, ways: Sequence[str], fault: Calamity) -> CalamityRecord:
    """Let ``fault`` befall the ways of these names, and come to its end.

    Args:
        network: Whose ways.
        ways: Their names; all are struck at once.
        fault: What.

    Returns:
        What proves that it happened.
    """
    now_ns = network.clock.wall_ns()
    record = CalamityRecord(fault, now_ns, now_ns + int(fault.for_s * 1e9))
    ends = [_begin(network, network.way(name), fault, record) for name in ways]

    def end() -> None:
        record.over = True
        for undo in ends:
            undo()

    if fault.name == "crash":
        end()
    else:
        asyncio.get_running_loop().call_later(fault.for_s, end)
    return record


def _begin(
    network: MemoryNetwork, weather: Weather, fault: Calamity, record: CalamityRecord
) -> Callable[[], None]:
    """Begin on one way; return what ends it there."""
    match fault.name:
        case "crash":
            links = network.links_on(weather)
            record.happened += len(links)
            for link in links:
                link.crash()
            return lambda: None
        case "slow":
            return _slow(weather, fault, record)
        case "loss":
            return _lossy(weather, fault, record)
        case _:
            inwards, outwards = fault.name != "half_open_out", fault.name != "half_open_in"
            record.happened += weather.shut(inwards=inwards, outwards=outwards)
            return lambda: weather.clear(inwards=inwards, outwards=outwards)


def _slow(weather: Weather, fault: Calamity, record: CalamityRecord) -> Callable[[], None]:
    delay_ns, jitter_ns = fault.delay_ms * 1_000_000, fault.jitter_ms * 1_000_000
    crossed = weather.crossed
    weather.latency_ns += delay_ns
    weather.jitter_ns += jitter_ns

    def end() -> None:
        weather.latency_ns -= delay_ns
        weather.jitter_ns -= jitter_ns
        record.happened += weather.crossed - crossed

    return end


def _lossy(weather: Weather, fault: Calamity, record: CalamityRecord) -> Callable[[], None]:
    retransmits = weather.retransmits
    weather.loss += fault.share

    def end() -> None:
        weather.loss -= fault.share
        record.happened += weather.retransmits - retransmits

    return end
