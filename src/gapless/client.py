"""What users hold: `open`, `open_book`, `Feed` and `Book`.

Always ``async with``: the connections live exactly as long as the block.  Whatever the block
raises leaves it unchanged; whatever ends the feed is raised where the feed is iterated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from types import TracebackType
from typing import Final, Generic, Self, TypeVar, cast, overload

import msgspec

from gapless.core.kinds import AnyBook
from gapless.core.outlet import Dropped, Outlet, Overflow
from gapless.core.sequence import Numbering
from gapless.core.stats import FeedStats
from gapless.core.stream import Stream
from gapless.core.universe import is_selector
from gapless.errors import NotSynced, UsageError
from gapless.events import Event, Gap, Levels, Notice, Resynced, Top
from gapless.io.conductor import Conductor
from gapless.io.plan import Plan
from gapless.io.report import feed_stats
from gapless.io.runtime import system_runtime
from gapless.planning import Budgets, Options, Subscription, assemble, book

__all__ = ["Book", "Feed", "open", "open_book"]

E = TypeVar("E", covariant=True)  # noqa: PLC0105  # reads better than E_co in signatures
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

_DEFAULT: Final = Options()


@overload
def open(venue: str, a: Subscription[A], /, *, options: Options = ...) -> Feed[A]: ...
@overload
def open(
    venue: str, a: Subscription[A], b: Subscription[B], /, *, options: Options = ...
) -> Feed[A | B]: ...
@overload
def open(
    venue: str,
    a: Subscription[A],
    b: Subscription[B],
    c: Subscription[C],
    /,
    *,
    options: Options = ...,
) -> Feed[A | B | C]: ...
@overload
def open(
    venue: str,
    a: Subscription[A],
    b: Subscription[B],
    c: Subscription[C],
    d: Subscription[D],
    /,
    *,
    options: Options = ...,
) -> Feed[A | B | C | D]: ...
def open(  # read as gapless.open
    venue: str, /, *subscriptions: Subscription[object], options: Options = _DEFAULT
) -> Feed[object]:
    """Follow channels of a venue, as one ordered stream of events.

    Args:
        venue: Name such as ``deribit``; see `gapless venues`.
        subscriptions: What to follow.
        options: How.

    Returns:
        A feed to be used with ``async with`` and ``async for``.

    Raises:
        UsageError: If the venue, a channel or a symbol is not one; before any I/O.
        ConfigError: If an option contradicts another.
    """
    return Feed(assemble(venue, subscriptions, options), options)


def open_book(
    venue: str, symbol: str, /, *, options: Options = _DEFAULT, variant: str = ""
) -> Book:
    """Follow one book; it can be read only while its continuity is proven.

    Args:
        venue: Name such as ``deribit``.
        symbol: The venue's name of the instrument.
        options: How.
        variant: The venue's variant of the book channel.

    Raises:
        UsageError: If the venue or the symbol is not one; before any I/O.
    """
    if is_selector(symbol):
        raise UsageError("open_book follows one book: name its symbol")
    return Book(assemble(venue, (book(symbol, variant=variant),), options), options)


class _Running:
    """A conductor in a task of its own, as long as an ``async with`` block."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self._plan = plan
        self._options = options
        self._conductor: Conductor | None = None
        self._task: asyncio.Task[None] | None = None

    def _start(self, emit: Callable[[Event], None]) -> Conductor:
        if self._task is not None:
            raise UsageError("a feed can be entered once")
        options, plan = self._options, self._plan
        runtime = options.runtime or system_runtime()
        shared = options.budgets or Budgets()
        budgets = shared.of(plan.profile, plan.dial, shared=plan.shared_budgets)
        seed = Random().getrandbits(64) if options.seed is None else options.seed  # noqa: S311  # jitter
        conductor = Conductor(
            plan,
            budgets,
            runtime.clock,
            runtime.connector,
            runtime.rest(plan.dial),
            Random(seed),  # noqa: S311  # jitter, not secrets
            emit,
            runtime.tap,
            runtime.resolver,
        )
        self._conductor = conductor
        self._task = asyncio.create_task(conductor.run(), name=f"gapless {plan.profile.name}")
        return conductor

    async def _stop(self) -> None:
        if self._task is None or self._conductor is None:
            return
        self._conductor.stop()
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.cancel()  # cancelled while closing: be quick about it
            raise

    def _running(self) -> Conductor:
        if self._conductor is None:
            raise UsageError("use it inside `async with`")
        return self._conductor


class Feed(_Running, Generic[E]):
    """Events of all subscribed topics, in order, with every break marked.

    Iterating yields the subscribed events, and `Gap` and `Resynced` between them.  It ends
    when the block does, and raises what ended the feed if it ended by itself.
    """

    def __init__(self, plan: Plan, options: Options) -> None:
        super().__init__(plan, options)
        self._outlet = Outlet(options.capacity, options.overflow)
        self.take = self._outlet.take  # the oldest event that waits, or `None`; never blocks
        self._waiter: asyncio.Future[None] | None = None
        self._over = False

    async def __aenter__(self) -> Self:
        conductor = self._start(self._outlet.put)
        self._outlet.on_room = self._make_room
        if self._options.overflow is Overflow.BLOCK:
            self._outlet.on_full = conductor.pause
        conductor.on_change = self._look
        if self._task is not None:
            self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    def __aiter__(self) -> AsyncIterator[E | Gap | Resynced]:
        return cast("AsyncIterator[E | Gap | Resynced]", self)

    async def __anext__(self) -> Event:
        event = self.take()
        while event is None:
            await self._wait()
            event = self.take()
        return event

    def stats(self) -> FeedStats:
        """Return counters since the feed was opened, as an immutable copy."""
        outlet = self._outlet
        return feed_stats(self._running(), outlet.dropped_total, outlet.conflated_total)

    def notices(self, after: int = 0) -> list[Notice]:
        """Return what is worth knowing besides the data, oldest first.

        Args:
            after: Only notices with a higher number; the newest thousand are kept.
        """
        return self._running().notices.after(after)

    async def rotate(self, line: str | None = None) -> None:
        """Replace the session of a line, or of every line in turn, without losing anything.

        Returns when the new session carries the line.  It waits for the dial budget and for its
        turn as any replacement does: `asyncio.timeout` bounds that, and the replacement then
        goes on without anybody waiting for it.

        Args:
            line: Name of the line, as in `stats`; all of them by default.

        Raises:
            UsageError: If there is no such line.
            GaplessError: If the line does not work now, or the new session failed; the old one
                is kept then.
        """
        await self._running().rotations.rotate(line)

    async def _wait(self) -> None:
        conductor = self._running()
        if self._over:
            if conductor.failure is not None:
                raise conductor.failure
            raise StopAsyncIteration
        if self._waiter is not None:
            raise UsageError("a feed has one consumer: somebody is waiting for it already")
        self._waiter = asyncio.get_running_loop().create_future()
        self._outlet.on_item = self._wake
        try:
            await self._waiter
        finally:
            self._outlet.on_item = None
            self._waiter = None

    def _wake(self) -> None:
        self._outlet.on_item = None  # once is enough: what follows is found without waking
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        if self._outlet.dropped and not len(self._outlet):
            self._make_room()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._over = True
        if not task.cancelled() and task.exception() is not None:
            self._running().failure = task.exception()
        self._wake()

    def _make_room(self) -> None:
        """Say what did not fit, and bring books and images up to date."""
        conductor = self._running()
        if self._options.overflow is Overflow.BLOCK:
            conductor.resume()
            return
        for topic in list(self._outlet.dropped):
            stream = conductor.streams.get(topic)
            if stream is None:  # followed no more: nobody is promised anything of it
                self._outlet.release(topic)
                continue
            state = _state_of(stream, conductor)
            if isinstance(stream, AnyBook) and state is None:
                continue  # not proven now: its own snapshot will heal the consumer's copy too
            lost = self._outlet.release(topic)
            if lost is not None:
                conductor.overflowed(topic, f"{lost.count} events did not fit")
                missing = _missing(stream, lost) or 0
                marks = _marks(stream, lost, state, conductor)
                gaps = sum(isinstance(event, Gap) for event in marks) - lost.gaps
                missing += lost.late if stream.spec.numbering is Numbering.DENSE else 0
                stream.overflowed(lost.count, gaps, missing - lost.missing, lost.late)
                for event in marks:
                    self._outlet.force(event)


def _state_of(stream: Stream, conductor: Conductor) -> Event | None:
    if isinstance(stream, AnyBook):
        return stream.image(conductor.moment())
    return stream.newest if stream.spec.numbering in {Numbering.NONE, Numbering.ORDERED} else None


def _marks(stream: Stream, lost: Dropped, state: Event | None, conductor: Conductor) -> list[Event]:
    now, origin = conductor.moment(), lost.sample.origin
    gap = Gap(
        origin,
        now.recv_ns,
        now.mono_ns,
        None,
        lost.first,
        lost.last,
        _missing(stream, lost),
        "slow_consumer: the consumer was too slow",
        lost.since_ns,
        lost.until_ns,
    )
    if lost.late_first is not None:
        late = msgspec.structs.replace(
            gap,
            first=lost.late_first,
            last=lost.late_last,
            missing=lost.late if stream.spec.numbering is Numbering.DENSE else None,
        )
        return [late] if lost.first is None and not lost.count else [late, gap]
    if state is None:
        return [gap]
    blind_ns = max(0, now.recv_ns - lost.since_ns)
    resynced = Resynced(
        origin, now.recv_ns, now.mono_ns, None, state.first, state.last, "snapshot", blind_ns
    )
    return [gap, state, resynced]


def _missing(stream: Stream, lost: Dropped) -> int | None:
    if stream.spec.numbering is not Numbering.DENSE or lost.first is None or lost.last is None:
        return None
    return max(0, lost.last - lost.first + 1)


class Book(_Running):
    """One order book.  Reading it raises `NotSynced` unless its continuity is proven."""

    def __init__(self, plan: Plan, options: Options) -> None:
        super().__init__(plan, options)
        self._bell = asyncio.Event()
        self._over = False

    async def __aenter__(self) -> Self:
        conductor = self._start(self._rung)
        conductor.on_change = self._bell.set
        if self._task is not None:
            self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    @property
    def synced(self) -> bool:
        """Whether it can be read now."""
        return self._stream().readable

    @property
    def bids(self) -> Levels:
        """All bids as ``(price, size)``, best first.

        Raises:
            NotSynced: If the book is not proven now.
        """
        return self._stream().proven().bids()

    @property
    def asks(self) -> Levels:
        """All asks as ``(price, size)``, best first.

        Raises:
            NotSynced: If the book is not proven now.
        """
        return self._stream().proven().asks()

    def top(self) -> Top:
        """Return best bid and offer.

        Raises:
            NotSynced: If the book is not proven now.
        """
        stream = self._stream()
        proven, newest = stream.proven(), stream.newest
        bid, bid_size = proven.best_bid or (None, None)
        ask, ask_size = proven.best_ask or (None, None)
        recv_ns = 0 if newest is None else newest.recv_ns
        last = None if newest is None else newest.last
        return Top(bid, bid_size, ask, ask_size, recv_ns, last)

    async def changes(self) -> AsyncIterator[Top]:
        """Yield the top of the book when it changes; nothing while the book is not proven.

        A slow consumer gets the newest top, not every one.
        """
        shown: tuple[object, ...] | None = None
        while True:
            self._bell.clear()
            try:
                top = self.top()
            except NotSynced:
                shown = None
            else:
                key = (top.bid, top.bid_size, top.ask, top.ask_size)
                if key != shown:
                    shown = key
                    yield top
            if self._over:
                failure = self._running().failure
                if failure is not None:
                    raise failure
                return
            await self._bell.wait()

    def stats(self) -> FeedStats:
        """Return counters since the book was opened, as an immutable copy."""
        return feed_stats(self._running(), 0)

    def notices(self, after: int = 0) -> list[Notice]:
        """Return what is worth knowing besides the book; see `Feed.notices`."""
        return self._running().notices.after(after)

    def _stream(self) -> AnyBook:
        return cast("AnyBook", next(iter(self._running().streams.values())))

    def _rung(self, event: Event) -> None:
        del event
        self._bell.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._over = True
        if not task.cancelled() and task.exception() is not None:
            self._running().failure = task.exception()
        self._bell.set()
