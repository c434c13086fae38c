"""A queue with a bound, and what happens beyond it, by policy."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.conflation import ITEMS_MAX, LEVELS_MAX
from gapless.core.outlet import BEHIND, Outlet, Overflow
from gapless.errors import SlowConsumer
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Event,
    Gap,
    Origin,
    Resynced,
    Ticker,
    Trade,
)


def origin(topic: str) -> Origin:
    return Origin("toy", topic.split(".", maxsplit=1)[0], "X", topic, "a", 1)


def trade(number: int, topic: str = "trades.X") -> Trade:
    return Trade(
        origin(topic), number, number, number, number, number, str(number), 1.0, 1.0, "buy"
    )


def bbo(number: int, topic: str = "bbo.X") -> Bbo:
    return Bbo(origin(topic), number, number, None, number, number, 1.0, 1.0, 2.0, 2.0)


def gap(number: int, since_ns: int, topic: str = "trades.X") -> Gap:
    return Gap(origin(topic), number, number, None, None, None, None, "lost", since_ns, number)


def drained(outlet: Outlet) -> list[Event]:
    taken = []
    while (event := outlet.take()) is not None:
        taken.append(event)
    return taken


def test_an_outlet_needs_room():
    with pytest.raises(ValueError, match="room for one"):
        Outlet(0)


@pytest.mark.parametrize("overflow", list(Overflow))
def test_below_the_bound_every_policy_is_a_plain_queue(overflow):
    outlet, woken = Outlet(10, overflow), []
    outlet.on_item = lambda: woken.append(1)
    assert outlet.take() is None
    events = [trade(n) if n % 2 else bbo(n) for n in range(10)]
    for event in events:
        outlet.put(event)
    assert (len(outlet), len(woken), outlet.dropped_total) == (10, 10, 0)
    assert drained(outlet) == events
    assert outlet.take() is None


# -- drop and mark ------------------------------------------------------------------------------


def test_what_did_not_fit_is_known_by_topic_number_and_time():
    outlet = Outlet(2)
    for number in range(1, 6):
        outlet.put(trade(number))
    lost = outlet.dropped["trades.X"]
    assert (lost.first, lost.last, lost.count) == (3, 5, 3)
    assert (lost.since_ns, lost.until_ns) == (3, 5)
    assert lost.sample == trade(3)
    assert outlet.dropped_total == 3
    assert outlet.release("trades.X") is lost
    assert outlet.release("trades.X") is None


def test_a_topic_that_lost_something_gets_nothing_until_it_is_released():
    outlet = Outlet(2)
    for number in range(1, 4):
        outlet.put(trade(number))
    outlet.take()
    outlet.put(trade(4))
    assert (outlet.dropped["trades.X"].first, outlet.dropped["trades.X"].last) == (3, 4)
    outlet.put(trade(1, "trades.Y"))  # this topic has lost nothing, and there is room
    assert [event.origin.topic for event in drained(outlet)] == ["trades.X", "trades.Y"]
    outlet.release("trades.X")
    outlet.put(trade(5))
    assert drained(outlet) == [trade(5)]


def test_a_consumer_that_waits_is_woken_for_a_topic_that_has_lost_nothing():
    outlet, woken = Outlet(1), []
    outlet.put(trade(1))
    outlet.put(trade(2))
    assert drained(outlet) == [trade(1)]
    outlet.on_item = lambda: woken.append(1)
    outlet.put(trade(1, "trades.Y"))
    assert woken == [1]
    assert outlet.take() == trade(1, "trades.Y")


def test_room_is_made_when_the_queue_is_half_empty_and_not_before():
    outlet, room = Outlet(4), []
    outlet.on_room = lambda: room.append(len(outlet))
    for number in range(1, 6):
        outlet.put(trade(number))
    outlet.take()
    assert room == []
    outlet.take()
    assert room == [2]


def test_room_is_made_at_the_latest_when_the_queue_is_empty():
    outlet = Outlet(1)

    def make_room() -> None:
        if outlet.release("trades.X") is not None:
            outlet.force(gap(9, 2))

    outlet.put(trade(1))
    outlet.put(trade(2))
    assert outlet.take() == trade(1)
    outlet.on_room = make_room
    assert outlet.take() == gap(9, 2)
    assert outlet.take() is None


def test_being_full_is_told_once_for_each_topic():
    outlet, told = Outlet(1), []
    outlet.on_full = lambda: told.append(1)
    for number in range(5):
        outlet.put(trade(number))
        outlet.put(trade(number, "trades.Y"))
    assert len(told) == 2


def test_marks_that_are_lost_are_inside_the_interval():
    outlet = Outlet(1)
    outlet.put(trade(1))
    outlet.put(gap(8, since_ns=2))
    outlet.put(Resynced(origin("trades.X"), 9, 9, None, 7, 7, "ids", 1))
    outlet.put(trade(10))
    lost = outlet.dropped["trades.X"]
    assert (lost.since_ns, lost.until_ns) == (2, 10)
    assert (lost.first, lost.last) == (10, 10)
    assert (lost.count, lost.gaps) == (1, 1)  # a resync is neither


def test_a_number_is_kept_when_a_mark_is_lost_behind_it():
    outlet = Outlet(1)
    outlet.put(trade(1))
    outlet.put(trade(2))
    outlet.put(gap(9, since_ns=3))
    assert (outlet.dropped["trades.X"].first, outlet.dropped["trades.X"].last) == (2, 2)


def late(number: int) -> Trade:
    return msgspec.structs.replace(trade(number), backfilled=True)


def test_what_came_late_is_counted_by_itself_and_bounds_nothing_that_is_live():
    outlet = Outlet(1)
    for event in (trade(20), late(7), late(8), trade(21), trade(22), late(9)):
        outlet.put(event)
    lost = outlet.dropped["trades.X"]
    assert (lost.first, lost.last, lost.count) == (21, 22, 2)
    assert (lost.late_first, lost.late_last, lost.late) == (7, 9, 3)
    assert outlet.dropped_total == 5


def test_what_came_late_inside_a_gap_that_is_lost_too_needs_no_bounds_of_its_own():
    outlet = Outlet(1)
    named = msgspec.structs.replace(gap(5, 1), first=21, last=23, missing=3)
    for event in (trade(20), named, trade(24), late(22)):
        outlet.put(event)
    lost = outlet.dropped["trades.X"]
    assert (lost.first, lost.last, lost.count, lost.missing) == (21, 24, 1, 3)
    assert (lost.late_first, lost.late_last, lost.late) == (None, None, 1)


def test_the_interval_begins_when_the_event_was_made_and_not_when_it_came():
    outlet = Outlet(1)
    outlet.put(trade(1))
    outlet.put(Trade(origin("trades.X"), 90, 90, 40, 2, 2, "2", 1.0, 1.0, "buy"))
    assert outlet.dropped["trades.X"].since_ns == 40
    outlet = Outlet(1)
    outlet.put(bbo(1))
    outlet.put(bbo(7))  # no time of the venue's
    assert outlet.dropped["bbo.X"].since_ns == 7


# -- conflate -----------------------------------------------------------------------------------


def test_conflating_keeps_the_newest_image_of_each_topic():
    outlet = Outlet(1, Overflow.CONFLATE)
    outlet.put(trade(1))
    tick = Ticker(origin("ticker.X"), 3, 3, None, None, None, 1.0)
    for event in (bbo(1), bbo(2), tick, bbo(3)):
        outlet.put(event)
    assert len(outlet) == 3
    assert drained(outlet) == [trade(1), bbo(3), tick]
    assert outlet.dropped_total == 0


def test_conflating_marks_everything_that_is_no_image():
    outlet = Outlet(1, Overflow.CONFLATE)
    outlet.put(trade(1))
    outlet.put(trade(2))
    outlet.put(bbo(1))
    assert outlet.dropped["trades.X"].first == 2
    assert list(outlet.dropped) == ["trades.X"]


def test_an_image_kept_aside_never_comes_after_a_newer_one():
    outlet = Outlet(2, Overflow.CONFLATE)
    outlet.put(trade(1))
    outlet.put(trade(2))
    outlet.put(bbo(1))  # kept aside
    outlet.take()
    outlet.put(bbo(2))  # there is room again
    assert drained(outlet) == [trade(2), bbo(2)]


def test_an_image_kept_aside_comes_before_a_gap_of_its_topic():
    outlet = Outlet(2, Overflow.CONFLATE)
    outlet.put(trade(1))
    outlet.put(trade(2))
    outlet.put(bbo(1))
    outlet.take()
    outlet.put(gap(5, 1, "bbo.X"))
    assert drained(outlet) == [trade(2), bbo(1), gap(5, 1, "bbo.X")]


@given(
    st.lists(st.sampled_from(["trade", "bbo", "gap", "take", "take"]), max_size=80),
    st.integers(1, 6),
    st.sampled_from(list(Overflow)),
)
def test_each_topic_stays_in_order_and_nothing_is_lost_unseen(steps, capacity, overflow):
    outlet = Outlet(capacity, overflow)
    put: list[Event] = []
    taken: list[Event] = []
    for number, step in enumerate(steps, start=1):
        match step:
            case "take":
                event = outlet.take() if len(outlet) else None
                taken += [] if event is None else [event]
                continue
            case "trade":
                put.append(trade(number))
            case "bbo":
                put.append(bbo(number))
            case _:
                put.append(gap(number, number, "bbo.X"))
        outlet.put(put[-1])
    while len(outlet):
        event = outlet.take()
        assert event is not None
        taken.append(event)
    for topic in ("trades.X", "bbo.X"):
        times = [event.recv_ns for event in taken if event.origin.topic == topic]
        assert times == sorted(times)
    missing = {e.recv_ns for e in put} - {e.recv_ns for e in taken}
    if overflow is Overflow.BLOCK:
        assert not missing
    if overflow in {Overflow.DROP_AND_MARK, Overflow.FAIL}:
        assert len(missing) == outlet.dropped_total
    for event in put:
        if event.recv_ns in missing and not isinstance(event, Bbo):
            assert event.origin.topic in outlet.dropped


def change(number: int, topic: str = "book.X") -> BookDelta:
    levels = [(float(number % 7), float(number % 3))]
    return BookDelta(origin(topic), number, number, None, number, number, levels, levels)


def test_conflating_merges_the_changes_of_a_book_into_one():
    outlet = Outlet(1, Overflow.CONFLATE)
    outlet.put(trade(1))
    for number in range(1, 5):
        outlet.put(change(number))
    assert len(outlet) == 2
    first, merged = drained(outlet)
    assert first == trade(1)
    assert isinstance(merged, BookDelta)
    assert (merged.first, merged.last) == (1, 4)
    assert merged.bids == [(1.0, 1.0), (2.0, 2.0), (3.0, 0.0), (4.0, 1.0)]
    assert (outlet.conflated_total, outlet.dropped_total) == (3, 0)


def test_a_change_that_follows_what_was_taken_is_not_merged_any_more():
    outlet = Outlet(2, Overflow.CONFLATE)
    for number in range(1, 7):
        outlet.put(change(number))
    assert len(outlet) == 3  # two that fitted, and one for the rest
    assert [(e.first, e.last) for e in drained(outlet)] == [(1, 1), (2, 2), (3, 6)]
    outlet.put(change(7))
    outlet.put(change(8))
    assert [(e.first, e.last) for e in drained(outlet)] == [(7, 7), (8, 8)]


def test_marks_of_a_book_that_is_conflated_keep_their_place():
    outlet = Outlet(1, Overflow.CONFLATE)
    outlet.put(trade(1))
    snapshot = BookSnapshot(origin("book.X"), 9, 9, None, 9, 9, [(1.0, 1.0)], [])
    resynced = Resynced(origin("book.X"), 9, 9, None, 9, 9, "snapshot", 1)
    lost = gap(5, 1, "book.X")
    for event in (change(1), change(2), lost, snapshot, resynced, change(10), change(11)):
        outlet.put(event)
    taken = drained(outlet)[1:]
    assert taken[1:4] == [lost, snapshot, resynced]
    assert [(taken[i].first, taken[i].last) for i in (0, 4)] == [(1, 2), (10, 11)]


def test_a_book_that_changes_too_much_is_dropped_and_marked_behind_what_was_merged():
    outlet = Outlet(1, Overflow.CONFLATE)
    outlet.put(trade(1))
    for number in range(1, LEVELS_MAX + 2):
        at = [(float(number), 1.0)]
        outlet.put(BookDelta(origin("book.X"), number, number, None, number, number, at, []))
    outlet.put(change(LEVELS_MAX + 2))
    lost = outlet.dropped["book.X"]
    assert (lost.first, lost.last) == (LEVELS_MAX + 1, LEVELS_MAX + 2)
    assert [(e.first, e.last) for e in drained(outlet)[1:]] == [(1, LEVELS_MAX)]


def test_a_book_that_is_healed_in_vain_again_and_again_fills_no_memory():
    outlet = Outlet(65_536, Overflow.CONFLATE)

    def heal():
        for topic in list(outlet.dropped):
            if outlet.release(topic) is not None:
                for number in range(3):  # a gap, the whole book, and that it is whole again
                    outlet.force(gap(number, 1, topic))

    outlet.on_room = heal
    for number in range(BEHIND):
        outlet.put(trade(number))
    longest = 0
    for number in range(5 * BEHIND):  # one is taken while a topic brings more than a slot holds
        for part in range(0, 2 * ITEMS_MAX, 2):
            outlet.put(change(number * 100 + part))
            outlet.put(gap(number * 100 + part + 1, 1, "book.X"))
        outlet.take()
        longest = max(longest, len(outlet))
    assert outlet.dropped_total > BEHIND
    assert longest <= 2 * BEHIND


def test_conflating_begins_before_thousands_of_old_events_wait():
    outlet = Outlet(65_536, Overflow.CONFLATE)
    for number in range(1, 5 * BEHIND):
        outlet.put(change(number))
        outlet.put(trade(number))
    assert [e for e in drained(outlet) if isinstance(e, Trade)][-1] == trade(5 * BEHIND - 1)
    assert outlet.dropped_total == 0  # trades are kept as long as they fit
    assert outlet.conflated_total > 3 * BEHIND


@given(
    st.lists(st.tuples(st.sampled_from("bbcqtx"), st.integers(0, 3)), max_size=120),
    st.integers(1, 6),
)
def test_conflated_books_go_on_without_a_hole_and_the_bound_holds(steps, capacity):
    outlet = Outlet(capacity, Overflow.CONFLATE)
    taken: list[Event] = []
    for number, (step, reads) in enumerate(steps, start=1):
        match step:
            case "b" | "c":
                topic = f"book.{step}"
                before = sum(s == step for s, _ in steps[: number - 1])
                levels = [(float(number % 5), float(number % 3))]
                outlet.put(
                    BookDelta(
                        origin(topic), number, number, None, before + 1, before + 1, levels, []
                    )
                )
            case "q":
                outlet.put(bbo(number))
            case _:
                outlet.put(trade(number))
        assert len(outlet) <= capacity + 4  # a slot for each topic at most
        waiting = min(len(outlet), reads if step == "x" else 0)
        taken += [event for _ in range(waiting) if (event := outlet.take()) is not None]
    taken += drained(outlet)
    for step in "bc":
        expected, book = 1, {}
        for event in taken:
            if event.origin.topic == f"book.{step}":
                assert isinstance(event, BookDelta)
                assert event.first == expected
                assert event.last is not None
                expected = event.last + 1
                book.update(event.bids)
        assert expected == 1 + sum(s == step for s, _ in steps)
        numbers = [n for n, (s, _) in enumerate(steps, start=1) if s == step]
        assert book == {float(n % 5): float(n % 3) for n in numbers}
    assert set(outlet.dropped) <= {"trades.X"}


# -- block --------------------------------------------------------------------------------------


def test_blocking_loses_nothing_and_says_that_it_is_full():
    outlet, full, woken = Outlet(1, Overflow.BLOCK), [], []
    outlet.on_full = lambda: full.append(1)
    outlet.on_item = lambda: woken.append(1)
    outlet.put(trade(1))
    outlet.put(trade(2))
    assert (len(full), len(woken)) == (1, 2)
    assert drained(outlet) == [trade(1), trade(2)]


def test_blocking_says_when_there_is_room_again():
    outlet, room = Outlet(4, Overflow.BLOCK), []
    outlet.on_room = lambda: room.append(len(outlet))
    for number in range(6):
        outlet.put(trade(number))
    for _ in range(3):
        outlet.take()
    assert room == []
    outlet.take()
    assert room == [2]
    outlet.take()
    assert room == [2]  # told once


# -- fail ---------------------------------------------------------------------------------------


def test_failing_gives_what_came_before_and_then_raises():
    outlet = Outlet(2, Overflow.FAIL)
    for number in range(1, 4):
        outlet.put(trade(number))
    assert [outlet.take(), outlet.take()] == [trade(1), trade(2)]
    with pytest.raises(SlowConsumer) as caught:
        outlet.take()
    assert caught.value.capacity == 2
    with pytest.raises(SlowConsumer):
        outlet.take()


def test_nothing_comes_behind_a_failure():
    outlet = Outlet(2, Overflow.FAIL)
    outlet.on_room = lambda: outlet.force(gap(9, 3)) if outlet.release("trades.X") else None
    for number in range(1, 4):
        outlet.put(trade(number))
    assert outlet.take() == trade(1)
    outlet.put(trade(4))
    outlet.put(trade(1, "trades.Y"))
    assert outlet.take() == trade(2)
    with pytest.raises(SlowConsumer):
        outlet.take()
