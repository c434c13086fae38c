"""Every short history of two lines, without exception: no case is left to chance.

A *script* is what one line brings: one way to cut the numbers into messages, any of them lost, and
at most one of them repeated later or changed places with its neighbour.  A *history* is two scripts
in one of their interleavings, with or without a line that is lost or suspected somewhere.  All
histories of up to `MESSAGES` messages are played.

What is expected comes from the venue's own account in `tests.core.worlds`, from sets of what has
been brought, and from nothing that the streams compute.  The counts are printed: ``pytest -s``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, pairwise, product
from math import comb

import pytest
from tests.core.worlds import (
    CHAIN_BOOK,
    NAMED,
    ORDERED,
    REST_BOOK,
    TRADES,
    Log,
    Reader,
    RunVenue,
    Venue,
    at,
    bbo,
    origin,
    run_book,
    trade,
)

from gapless.core.booksync import QUIET_NS
from gapless.core.kinds import stream_for
from gapless.core.sequence import Numbering
from gapless.core.stream import HOLD_NS, SnapshotFrom
from gapless.events import BookDelta, BookSnapshot, Gap, Resynced, Trade

FULL = os.environ.get("GAPLESS_SCOPE") == "full"  # takes minutes

MESSAGES = 6
"""How many messages a history has at most."""

EVENT_MESSAGES = 4 if FULL else 3
"""How many it has where a line ends among them."""

NUMBERS = 4 if FULL else 3
"""How many numbers there are to bring, beside the one that both have brought at first."""

A, B = 0, 1
Message = tuple[int, int]  # covers the numbers after the first, up to and with the second
Script = tuple[Message, ...]
Step = tuple[int, Message | str]  # a line, and what it brings or what becomes of it


def cuts(numbers: int) -> Iterator[Script]:
    """Every way to cut the numbers into messages, from the first to any last."""
    for last in range(numbers + 1):
        for size in range(last):
            for ends in combinations(range(1, last), size):
                places = (0, *ends, last)
                yield tuple(pairwise(places))
    yield ()


@cache
def scripts(most: int, *, single: bool = False) -> tuple[Script, ...]:
    """Everything that one line may bring in up to ``most`` messages."""
    found: set[Script] = set()
    for whole in cuts(NUMBERS):
        if single and any(end - begin > 1 for begin, end in whole):
            continue
        for kept in product((False, True), repeat=len(whole)):
            script = tuple(m for m, keep in zip(whole, kept, strict=True) if keep)
            found.add(script)
            for i in range(len(script)):
                for j in range(i + 1, len(script) + 1):
                    found.add((*script[:j], script[i], *script[j:]))
                if i:
                    found.add((*script[: i - 1], script[i], script[i - 1], *script[i + 1 :]))
    return tuple(sorted(s for s in found if len(s) <= most))


def complete(script: Script) -> bool:
    """Whether a script brings everything in order, from the first number to its last."""
    expected = 0
    for begin, end in script:
        if begin > expected:
            return False
        if begin < expected < end:
            return False
        expected = max(expected, end)
    return True


def reach(script: Script) -> int:
    return max((end for _, end in script), default=0)


def newest(steps: list[Step]) -> int:
    """The newest number that was brought at all."""
    return max((what[1] for _, what in steps if not isinstance(what, str)), default=0)


def histories(most: int, *, single: bool = False) -> Iterator[tuple[Script, Script, list[Step]]]:
    """Every two scripts of up to ``most`` messages, in every interleaving."""
    for one, other in product(scripts(most, single=single), repeat=2):
        if len(one) + len(other) > most:
            continue
        for places in combinations(range(len(one) + len(other)), len(one)):
            ones, others, steps = iter(one), iter(other), []
            for place in range(len(one) + len(other)):
                first = place in places
                steps.append((A, next(ones)) if first else (B, next(others)))
            yield one, other, steps


def ended(most: int, *, single: bool = False) -> Iterator[tuple[Script, Script, list[Step]]]:
    """The same with one of the lines lost or suspected at every place; both in turn."""
    for one, other, steps in histories(most, single=single):
        for place in range(len(steps) + 1):
            for line, what in product((A, B), ("detach", "suspect")):
                rest = [step for step in steps[place:] if what == "suspect" or step[0] != line]
                yield one, other, [*steps[:place], (line, what), *rest]


def act(stream, step: Step, now_ns: int) -> None:
    line, what = step
    getattr(stream, str(what))(line, "closed", at(now_ns))


def sure(one: Script, other: Script, steps: list[Step]) -> bool:
    """Whether a line has brought everything in order, and was never lost and never suspected."""
    gone = {line for line, what in steps if isinstance(what, str)}
    return any(
        line not in gone and complete(script) and reach(script) == newest(steps)
        for line, script in ((A, one), (B, other))
    )


# -- numbered trades ----------------------------------------------------------------------------


def play_trades(one: Script, other: Script, steps: list[Step]) -> None:
    venue = TRADES_VENUE
    reader, brought, announced = Reader(venue, TRADES), {0}, set()
    passed, gone = {A: 0, B: 0}, set()

    def take(event):
        reader(event)
        if isinstance(event, Gap) and event.first is not None:
            for number in range(event.first - 100, event.last - 99):
                # Nobody had it, and everybody who might have brought it was past it.
                assert number not in brought, (steps, "announced, and it was here")
                assert all(passed[x] > number for x in (A, B) if x not in gone) or late, (
                    steps,
                    number,
                )
                announced.add(number)

    late = False
    stream = stream_for(TRADES, take, [].append)
    for line in (A, B):
        stream.attach(origin(line), at(0))
        stream.offer(trade(origin(line), 100, 100, 0))
    now_ns = 0
    for now_ns, step in enumerate(steps, 1):
        line, what = step
        if isinstance(what, str):
            gone.add(line)
            act(stream, step, now_ns)
            continue
        gone.discard(line)
        begin, end = what
        brought.update(n for n in range(begin + 1, end + 1) if n not in announced)
        passed[line] = max(passed[line], end)
        stream.offer(venue.trade(origin(line), begin, end, now_ns))
    late = True
    stream.tick(at(now_ns + HOLD_NS))
    stream.tick(at(now_ns + 2 * HOLD_NS))
    delivered = [number - 100 for number in reader.delivered]
    assert delivered == sorted(set(delivered)), steps
    assert set(delivered) == brought, steps
    assert set(delivered) | announced == set(range(max(brought) + 1)), steps
    assert not set(delivered) & announced, steps
    if sure(one, other, steps):
        assert not announced, steps


# -- books --------------------------------------------------------------------------------------


def play_chain(one: Script, other: Script, steps: list[Step]) -> None:
    play_book(CHAIN_BOOK, CHAIN_VENUE, one, other, steps)


def play_rest(one: Script, other: Script, steps: list[Step]) -> None:
    play_book(REST_BOOK, REST_VENUE, one, other, steps)


def play_book(topic, venue: Venue, one: Script, other: Script, steps: list[Step]) -> None:
    reader = Reader(venue, topic)
    kinds: list[str] = []

    def take(event):
        reader(event)
        kinds.append(type(event).__name__)

    stream = stream_for(topic, take, [].append)
    for line in (A, B):
        stream.attach(origin(line, "book"), at(0))
        if topic.snapshot is SnapshotFrom.STREAM:
            stream.offer(venue.snapshot(origin(line, "book"), 0, 0))
    if topic.snapshot is SnapshotFrom.REST:
        stream.snapshot(venue.snapshot(origin(A, "book"), 0, 0), 0, at(0))
        stream.tick(at(QUIET_NS))
    start_ns = now_ns = 2 * QUIET_NS
    whole = all(complete(script) for script in (one, other))
    for now_ns, step in enumerate(steps, start_ns):
        line, what = step
        if isinstance(what, str):
            act(stream, step, now_ns)
        else:
            stream.offer(venue.delta(origin(line, "book"), *what, now_ns))
        if stream.readable:  # a book cannot lie
            book = stream.proven()
            assert (book.bids(), book.asks()) == venue.book_at(reader.covered), steps
        assert stream.readable != reader.gapped or stream.blind, steps
        if whole:
            assert stream.readable, (steps, "both have brought everything so far")
    for tick in (1, 2):
        stream.tick(at(now_ns + tick * HOLD_NS))
    if sure(one, other, steps):
        assert "Gap" not in kinds, steps
        assert stream.readable, steps
        assert venue.numbers.index(reader.covered) == newest(steps), steps


def play_runs(one: Script, other: Script, steps: list[Step]) -> None:
    """Without numbers a lost change cannot be seen: the lines are whole, and one may end."""
    if not (complete(one) and complete(other)) or len(set(one)) + len(set(other)) < len(one) + len(
        other
    ):
        return
    venue, log = RUN_VENUE, Log()
    stream = stream_for(RUNS, log.events.append, [].append)
    newest = 0
    for line in (A, B):
        stream.attach(origin(line, "book"), at(0))
        stream.offer(venue.snapshot(origin(line, "book"), 0, 0))
    states = [venue.book_at(index) for index in range(NUMBERS + 1)]
    log.clear()
    sides = [dict(levels) for levels in states[0]]
    now_ns = 0
    for now_ns, step in enumerate(steps, 1):
        line, what = step
        if isinstance(what, str):
            act(stream, step, now_ns)
        else:
            stream.offer(venue.delta(origin(line, "book"), *what, now_ns))
        newest = _follow(log, sides, states, newest, steps)
    stream.tick(at(now_ns + HOLD_NS))
    stream.tick(at(now_ns + 2 * HOLD_NS))
    _follow(log, sides, states, 0, steps)  # after the hold it may step back, and says so


def _follow(log: Log, sides, states, newest: int, steps: list[Step]) -> int:
    """Apply what was delivered; the book is one of the venue's, and none from before."""
    gapped = False
    for event in log.events:
        if isinstance(event, Gap):
            gapped = True
        elif isinstance(event, BookSnapshot):
            sides[:] = [dict(event.bids), dict(event.asks)]
            newest, gapped = 0, False
        elif isinstance(event, BookDelta):
            for side, levels in zip(sides, (event.bids, event.asks), strict=True):
                side.update(levels)
                for price in [price for price, size in side.items() if not size]:
                    del side[price]
    log.clear()
    if gapped:
        return newest
    book = (sorted(sides[0].items(), reverse=True), sorted(sides[1].items()))
    fits = [index for index in range(newest, len(states)) if states[index] == book]
    assert fits, (steps, "a book that the venue never had, or had before")
    return fits[0]


# -- names and images ---------------------------------------------------------------------------


def play_names(one: Script, other: Script, steps: list[Step]) -> None:
    log, brought = Log(), {0}
    stream = stream_for(NAMED, log.events.append, [].append)
    for line in (A, B):
        stream.attach(origin(line), at(0))
        stream.offer(_named(line, 0, 0))
    now_ns = 0
    for now_ns, step in enumerate(steps, 1):
        line, what = step
        if isinstance(what, str):
            act(stream, step, now_ns)
        else:
            brought.add(what[1])
            stream.offer(_named(line, what[1], now_ns))
    stream.tick(at(now_ns + HOLD_NS))
    said = [int(event.id) for event in log.events if isinstance(event, Trade)]
    assert len(said) == len(set(said)), (steps, "said twice")
    assert set(said) == brought, steps
    if sure(one, other, steps):
        assert not log.gaps, steps


def _named(line: int, name: int, now_ns: int) -> Trade:
    event = trade(origin(line), None, None, now_ns)
    return Trade(
        *(getattr(event, n) for n in event.__struct_fields__[:6]), str(name), 1.0, 1, "buy"
    )


def play_images(one: Script, other: Script, steps: list[Step]) -> None:
    log, expected = Log(), [0]
    stream = stream_for(ORDERED, log.events.append, [].append)
    for line in (A, B):
        stream.attach(origin(line, "bbo"), at(0))
        stream.offer(bbo(origin(line, "bbo"), 0, 0))
    now_ns = 0
    for now_ns, step in enumerate(steps, 1):
        line, what = step
        if isinstance(what, str):
            act(stream, step, now_ns)
            continue
        if what[1] > expected[-1]:
            expected.append(what[1])
        stream.offer(bbo(origin(line, "bbo"), what[1], now_ns))
    stream.tick(at(now_ns + HOLD_NS))
    said = [e.last for e in log.events if not isinstance(e, Gap | Resynced)]
    assert said == expected, steps
    if sure(one, other, steps):
        assert not log.gaps, steps


# -- all of it ----------------------------------------------------------------------------------


def _venue(numbering: Numbering, seed: int) -> Venue:
    venue = Venue(numbering, seed)
    for _ in range(NUMBERS):
        venue.change(0)
    return venue


TRADES_VENUE = _venue(Numbering.DENSE, 1)
CHAIN_VENUE = _venue(Numbering.CHAIN, 3)
REST_VENUE = _venue(Numbering.DENSE, 4)
RUNS = run_book()
RUN_VENUE = RunVenue(RUNS, 5)
for _ms in range(1, NUMBERS + 1):
    RUN_VENUE.change(_ms)

Play = Callable[[Script, Script, list[Step]], None]
KINDS: dict[str, tuple[Play, bool]] = {
    "trades": (play_trades, False),
    "chain": (play_chain, False),
    "rest": (play_rest, False),
    "runs": (play_runs, False),
    "names": (play_names, True),
    "images": (play_images, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_short_history_of_two_lines_breaks_the_promise(kind, measure):
    play, single = KINDS[kind]
    count = 0
    for one, other, steps in histories(MESSAGES, single=single):
        play(one, other, steps)
        count += 1
    print(f"\nsmall scope, {kind}: {count:,} histories of up to {MESSAGES} messages")
    measure("small_scope.histories", count)
    measure("small_scope.messages", MESSAGES)
    assert count == _expected_count(MESSAGES, single=single)


@pytest.mark.parametrize("kind", KINDS)
def test_no_short_history_with_a_line_that_ends_breaks_the_promise(kind):
    play, single = KINDS[kind]
    count = 0
    for one, other, steps in ended(EVENT_MESSAGES, single=single):
        play(one, other, steps)
        count += 1
    print(f"\nsmall scope, {kind}: {count:,} of up to {EVENT_MESSAGES} messages and an end")
    assert count > 0


def _expected_count(most: int, *, single: bool) -> int:
    """Count the interleavings by formula: none was left out."""
    lengths = [len(script) for script in scripts(most, single=single)]
    pairs = product(lengths, repeat=2)
    return sum(comb(one + other, one) for one, other in pairs if one + other <= most)
