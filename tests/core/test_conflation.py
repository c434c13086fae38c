"""What waits of one topic is combined without a change of meaning, and inside bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.core.worlds import bbo, delta, origin, snapshot, trade

from gapless.core.conflation import ITEMS_MAX, LEVELS_MAX, Merged, Slot, conflatable
from gapless.events import BookDelta, BookSnapshot, Event, Gap, Resynced, Ticker

BOOK = origin(1, "book")
QUOTES = origin(1, "bbo")


def gap(number: int) -> Gap:
    return Gap(BOOK, number, number, None, number, number, 1, "lost", number, number)


def resynced(number: int) -> Resynced:
    return Resynced(BOOK, number, number, None, number, number, "snapshot", 1)


def ticker(price: float, mono_ns: int) -> Ticker:
    return Ticker(origin(1, "ticker"), mono_ns, mono_ns, None, None, None, price)


def copied(events: list[Event]) -> tuple[dict[float, float], dict[float, float]]:
    """Return the book that a consumer keeps who does as the documents say."""
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for event in events:
        assert isinstance(event, BookDelta | BookSnapshot | Gap | Resynced)
        if isinstance(event, Gap | Resynced):
            continue
        if isinstance(event, BookSnapshot):
            bids, asks = {}, {}
        for side, levels in ((bids, event.bids), (asks, event.asks)):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
    return bids, asks


def test_changes_merge_level_by_level_and_a_removal_stays_a_removal():
    slot = Slot(delta(BOOK, 11, 12, 1, [(100.0, 1.0), (99.0, 2.0)], [(101.0, 5.0)], made_ns=1))
    assert slot.add(delta(BOOK, 13, 13, 2, [(100.0, 0.0)], []))
    assert slot.add(delta(BOOK, 14, 20, 3, [(99.0, 3.0)], [(102.0, 0.0)], made_ns=3))
    [event] = slot.events()
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (11, 20)
    assert event.bids == [(100.0, 0.0), (99.0, 3.0)]
    assert event.asks == [(101.0, 5.0), (102.0, 0.0)]
    newest = delta(BOOK, 14, 20, 3, made_ns=3)
    assert (event.recv_ns, event.mono_ns, event.event_ns) == (
        newest.recv_ns,
        newest.mono_ns,
        newest.event_ns,
    )
    assert event.texts is None
    assert slot.conflated == 2


def test_a_single_change_is_returned_as_it_came():
    event = delta(BOOK, 1, 1, 1, [(1.0, 1.0)])
    assert Slot(event).events()[0] is event


def test_the_newest_image_stands_for_all_before_it():
    slot = Slot(bbo(QUOTES, 1, 1))
    assert slot.add(bbo(QUOTES, 2, 2))
    assert slot.add(bbo(QUOTES, 3, 3))
    assert slot.events() == [bbo(QUOTES, 3, 3)]
    assert slot.conflated == 2
    slot = Slot(ticker(1.0, 1))
    assert slot.add(ticker(2.0, 2))
    assert slot.events() == [ticker(2.0, 2)]
    whole = Slot(snapshot(BOOK, 1, 1, [(1.0, 1.0)]))  # a book that comes whole every time
    assert whole.add(snapshot(BOOK, 2, 2, [(2.0, 1.0)]))
    assert whole.events() == [snapshot(BOOK, 2, 2, [(2.0, 1.0)])]


def test_a_gap_a_snapshot_and_a_resync_keep_their_place_among_the_changes():
    story = [
        delta(BOOK, 1, 1, 1, [(1.0, 1.0)]),
        delta(BOOK, 2, 2, 2, [(1.0, 2.0)]),
        gap(3),
        snapshot(BOOK, 9, 4, [(5.0, 5.0)]),
        resynced(9),
        delta(BOOK, 10, 10, 5, [(1.0, 3.0)]),
        delta(BOOK, 11, 11, 6, [(5.0, 0.0)]),
    ]
    slot = Slot(story[0])
    assert all(slot.add(event) for event in story[1:])
    events = slot.events()
    assert [type(e) for e in events] == [BookDelta, Gap, BookSnapshot, Resynced, BookDelta]
    assert [(e.first, e.last) for e in events] == [(1, 2), (3, 3), (9, 9), (9, 9), (10, 11)]
    assert copied(events) == copied(list(story))


def test_the_levels_of_a_merged_change_are_bounded():
    merged = Merged(delta(BOOK, 1, 1, 1, [(float(p), 1.0) for p in range(LEVELS_MAX)]))
    assert merged.add(delta(BOOK, 2, 2, 2, [(5.0, 7.0)]))  # a price that is there already
    assert not merged.add(delta(BOOK, 3, 3, 3, [], [(1.0, 1.0)]))
    assert len(merged) == LEVELS_MAX
    event = merged.event()
    assert (event.first, event.last) == (1, 2)  # what did not fit left no trace
    assert event.asks == []


def test_the_events_of_a_slot_are_bounded():
    slot = Slot(bbo(QUOTES, 1, 1))
    for number in range(2, ITEMS_MAX + 1):
        assert slot.add(gap(number))
    assert not slot.add(gap(99))
    assert not slot.add(bbo(QUOTES, 2, 2))
    assert len(slot.events()) == ITEMS_MAX


def test_trades_are_never_combined():
    assert not conflatable(trade(origin(1), 1, 1, 1))
    assert not Slot(bbo(QUOTES, 1, 1)).add(trade(origin(1), 2, 2, 2))
    assert not conflatable(gap(1))


LEVEL = st.tuples(st.integers(1, 6).map(float), st.integers(0, 3).map(float))
LEVELS = st.lists(LEVEL, max_size=4)


@given(
    st.lists(LEVEL, max_size=6),
    st.lists(st.tuples(LEVELS, LEVELS, st.integers(1, 5)), min_size=1, max_size=30),
)
def test_applying_the_merged_change_equals_applying_each(start, changes):
    story: list[Event] = [snapshot(BOOK, 0, 0, start, start)]
    number = 0
    for at, (bids, asks, width) in enumerate(changes, start=1):
        story.append(delta(BOOK, number + 1, number + width, at, bids, asks))
        number += width
    slot = Slot(story[1])
    assert all(slot.add(event) for event in story[2:])
    [event] = slot.events()
    assert (event.first, event.last) == (1, number)
    assert copied([story[0], event]) == copied(story)


def test_a_merged_change_leads_back_where_the_chain_did():
    # A chain may lead to a lower number; what spans it begins and ends where the parts do.
    slot = Slot(delta(BOOK, 100, 103, 1))
    assert slot.add(delta(BOOK, 104, 15, 2))
    assert slot.add(delta(BOOK, 16, 17, 3))
    [event] = slot.events()
    assert (event.first, event.last) == (100, 17)
