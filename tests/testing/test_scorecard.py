"""The checker must be able to fail: each kind of broken promise, made by hand, is caught."""

from __future__ import annotations

import pytest

from gapless.core.sequence import Numbering
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Gap,
    Origin,
    Resynced,
    Ticker,
    Trade,
)
from gapless.testing import score
from gapless.testing.scorecard import Hole

MS = 1_000_000
T0 = 1_700_000_000_000 * MS


def origin(channel):
    return Origin("toy", channel, "X", channel, "a", 1)


def at(number):
    return T0 + number * 100 * MS


# -- the world: ten of everything, one every 100 ms ----------


def world(channel, number, first, last, **payload):
    return {
        "type": "world",
        "channel": channel,
        "topic": channel,
        "symbol": "X",
        "ns": at(number),
        "event_ns": at(number),
        "n": number,
        "first": first,
        "last": last,
        **payload,
    }


TRADES = [
    world("trades", n, n, n, id=str(n), price=1.0, size=1.0, side="buy") for n in range(1, 11)
]
# Each delta sets one level; on the chain the numbers have holes, in the range they have none.
CHAIN = [
    world("book", n, (n - 1) * 7 + 1, n * 7, bids=[[float(n), 1.0]], asks=[]) for n in range(1, 11)
]
FINAL = {
    "type": "final",
    "symbol": "X",
    "number": 70,
    "bids": [[float(n), 1.0] for n in range(1, 11)],
    "asks": [],
}
IMAGES = [
    world("bbo", n, None, None, bid=float(n), bid_size=1.0, ask=n + 1.0, ask_size=1.0)
    for n in range(1, 11)
]


def trade(n):
    return Trade(origin("trades"), at(n), at(n), at(n), n, n, str(n), 1.0, 1.0, "buy")


def delta(n):
    first, last = (n - 1) * 7 + 1, n * 7
    return BookDelta(origin("book"), at(n), at(n), at(n), first, last, [(float(n), 1.0)], [])


def snapshot(n, *, levels=None):
    bids = [(float(i), 1.0) for i in range(1, (levels or n) + 1)]
    return BookSnapshot(origin("book"), at(n), at(n), at(n), n * 7, n * 7, bids, [])


def image(n):
    return Bbo(origin("bbo"), at(n), at(n), at(n), None, None, float(n), 1.0, n + 1.0, 1.0)


def gap(channel, first, last, missing, since, until):
    return Gap(
        origin(channel), at(until), at(until), None, first, last, missing, "", at(since), at(until)
    )


def resynced(channel, n):
    return Resynced(origin(channel), at(n), at(n), None, None, None, "snapshot", 0)


def dense(*events):
    return score(TRADES, events, {"trades": Numbering.DENSE})


def chain(*events):
    return score([*CHAIN, FINAL], events, {"book": Numbering.CHAIN})


def ranges(*events):
    return score([*CHAIN, FINAL], events, {"book": Numbering.DENSE})


def images(*events):
    return score(IMAGES, events, {"bbo": Numbering.NONE})


def run_of(make, numbers):
    return [make(n) for n in numbers]


# -- what is whole is kept ----------


def test_whole_streams_keep_the_promise():
    for card in (
        dense(*run_of(trade, range(1, 11))),
        chain(snapshot(1), *run_of(delta, range(2, 11))),
        ranges(snapshot(1), *run_of(delta, range(2, 11))),
        images(*run_of(image, range(1, 11))),
    ):
        assert card.kept
        assert card.total("missing") == card.total("lost") == 0
    assert dense(*run_of(trade, range(1, 11))).total("sent") == 10


def test_what_was_before_the_first_and_after_the_last_is_nobodys_loss():
    assert dense(*run_of(trade, range(4, 8))).kept
    assert images(*run_of(image, range(4, 8))).kept
    card = chain(snapshot(4), *run_of(delta, range(5, 8)))
    assert card.kept
    assert card.books_equal == 1  # carried on to the end of the log


# -- silent loss ----------


def test_silent_loss_is_caught_in_dense_numbers():
    card = dense(trade(1), trade(2), trade(5))
    assert not card.kept
    assert (card.total("missing"), card.total("announced")) == (2, 0)


def test_announced_loss_is_kept_and_must_be_of_the_right_size():
    assert dense(trade(1), gap("trades", 2, 4, 3, 1, 5), trade(5)).kept
    assert not dense(trade(1), gap("trades", 2, 3, 2, 1, 5), trade(5)).kept
    assert not dense(trade(1), gap("trades", 2, 5, 4, 1, 5), trade(5)).kept


def test_a_gap_after_what_is_behind_it_comes_too_late():
    assert not dense(trade(1), trade(5), gap("trades", 2, 4, 3, 1, 5), trade(6)).kept


def test_a_gap_with_nothing_lost_is_a_false_one():
    assert not dense(trade(1), gap("trades", 2, 2, 1, 1, 2), trade(2)).kept


def test_two_wrongs_in_one_topic_do_not_make_a_right():
    # One silent hole of two, and one false gap of two: the sums agree.
    card = dense(trade(1), trade(4), gap("trades", 5, 6, 2, 4, 5), trade(5))
    assert not card.kept


def test_silent_loss_is_caught_on_a_chain_and_in_ranges():
    for card in (chain(snapshot(1), delta(2), delta(5)), ranges(snapshot(1), delta(2), delta(5))):
        assert not card.kept


def test_silent_loss_is_caught_in_images():
    card = images(image(1), image(2), image(5))
    assert not card.kept
    assert (card.total("lost"), card.total("covered")) == (2, 0)


# -- intervals ----------


def test_a_loss_inside_the_interval_is_covered_and_one_outside_is_not():
    assert images(image(1), gap("bbo", None, None, None, 1, 5), image(5)).kept
    short_end = images(image(1), gap("bbo", None, None, None, 1, 3), image(5))
    assert not short_end.kept
    assert (short_end.total("lost"), short_end.total("covered")) == (3, 2)
    late_start = images(image(1), gap("bbo", None, None, None, 3, 5), image(5))
    assert not late_start.kept


def test_a_loss_outside_the_interval_is_caught_on_a_chain():
    good = (snapshot(1), delta(2), gap("book", 15, 28, None, 2, 5), delta(5), delta(6))
    assert not chain(*good).kept  # a gap alone does not make a book whole
    healed = (snapshot(1), delta(2), gap("book", 15, 28, None, 2, 5), snapshot(5), delta(6))
    assert chain(*healed, resynced("book", 6)).kept


# -- repeats and steps back ----------


@pytest.mark.parametrize("again", [2, 3])
def test_a_repeat_is_caught(again):
    for card in (
        dense(*run_of(trade, [1, 2, 3, again, 4])),
        chain(snapshot(1), *run_of(delta, [2, 3, again, 4])),
        ranges(snapshot(1), *run_of(delta, [2, 3, again, 4])),
        images(*run_of(image, [1, 2, 3, again, 4])),
    ):
        assert not card.kept
        assert card.total("duplicated") + card.total("misordered") >= 1


def test_an_overlap_is_a_repeat():
    wide = BookDelta(origin("book"), at(3), at(3), at(3), 10, 21, [], [])
    assert not ranges(snapshot(1), delta(2), wide).kept


def test_a_step_back_is_caught():
    for card in (
        images(*run_of(image, [1, 3, 2, 4])),
        chain(snapshot(1), *run_of(delta, [2, 4, 3, 5])),
        dense(*run_of(trade, [1, 3, 2, 4])),
    ):
        assert not card.kept


def test_a_snapshot_that_steps_back_is_caught():
    for made in (chain, ranges):
        card = made(snapshot(1), *run_of(delta, [2, 3, 4]), snapshot(2), *run_of(delta, [3, 4]))
        assert not card.kept
        assert card.total("misordered") >= 1


# -- snapshots and books ----------


def test_a_snapshot_that_skips_without_a_gap_is_caught():
    for made in (chain, ranges):
        card = made(snapshot(1), delta(2), snapshot(6), *run_of(delta, [7, 8]))
        assert not card.kept
        assert card.total("unannounced") == 1


def test_a_snapshot_behind_a_gap_supersedes_everything_up_to_it():
    told = (snapshot(1), delta(2), gap("book", 15, 42, 28, 2, 6), snapshot(6))
    for made in (chain, ranges):
        assert made(*told, resynced("book", 6), *run_of(delta, [7, 8])).kept


def test_a_snapshot_of_what_is_known_already_skips_nothing():
    for made in (chain, ranges):
        assert made(snapshot(1), delta(2), snapshot(2), delta(3)).kept


def test_a_wrong_book_is_caught():
    for made in (chain, ranges):
        wrong = made(snapshot(5, levels=4), *run_of(delta, range(6, 11)))
        assert (wrong.books_compared, wrong.books_equal) == (1, 0)
        assert not wrong.kept


def test_a_delta_with_another_size_is_a_wrong_book():
    bad = BookDelta(origin("book"), at(2), at(2), at(2), 8, 14, [(2.0, 9.0)], [])
    assert not chain(snapshot(1), bad, *run_of(delta, range(3, 11))).kept


def test_a_book_without_a_final_record_cannot_be_called_equal():
    card = score(CHAIN, [snapshot(1), delta(2)], {"book": Numbering.CHAIN})
    assert not card.kept


def test_a_book_that_never_had_a_snapshot_is_not_equal():
    card = chain(gap("book", None, None, None, 1, 5))
    assert (card.books_compared, card.books_equal) == (1, 0)


# -- numbered images, and the sums ----------


def test_numbered_images_are_known_by_their_number():
    records = [record | {"last": n * 3} for n, record in enumerate(IMAGES, start=1)]

    def numbered(n):
        return Bbo(origin("bbo"), at(n), at(n), None, n * 3, n * 3, float(n), 1.0, n + 1.0, 1.0)

    def made(*numbers):
        return score(records, [numbered(n) for n in numbers], {"bbo": Numbering.ORDERED})

    assert made(1, 2, 3).kept
    assert not made(1, 3).kept
    assert not made(1, 2, 2).kept
    assert not made(1, 3, 2).kept


def test_tickers_are_known_by_time_and_content():
    records = [
        world("ticker", n, None, None, price=float(n), bid=1.0, ask=2.0, volume=5.0)
        for n in range(1, 5)
    ]

    def made(*numbers):
        ticks = [
            Ticker(origin("ticker"), at(n), at(n), at(n), None, None, float(n), bid=1.0, ask=2.0,
                   volume=5.0)
            for n in numbers
        ]  # fmt: skip
        return score(records, ticks, {"ticker": Numbering.NONE})

    assert made(1, 2, 3, 4).kept
    assert not made(1, 2, 4).kept


def test_each_hole_is_kept_with_the_moment_at_which_it_was_told():
    told = dense(trade(1), gap("trades", 2, 4, 3, 1, 5), trade(5), trade(8))
    assert told.holes() == [Hole(at(5), 3, 3), Hole(at(8), 2, 0)]  # of the second nobody said
    covered = images(image(1), gap("bbo", None, None, None, 1, 3), image(3), image(5))
    assert covered.holes() == [Hole(at(3), 1, 1), Hole(at(4), 1, 0)]
    linked = chain(snapshot(1), delta(2), gap("book", 15, 21, None, 2, 3), snapshot(3), delta(4))
    assert linked.holes() == [Hole(at(3), 1, 1)]
    assert dense(*run_of(trade, range(1, 11))).holes() == []


def test_the_sums_are_those_of_all_topics():
    card = score(
        [*TRADES, *IMAGES],
        [trade(1), trade(3), image(1), image(3)],
        {"trades": Numbering.DENSE, "bbo": Numbering.NONE},
    )
    sums = card.as_dict()
    assert sums["sent"] == 6
    assert sums["delivered"] == 4
    assert (sums["missing"], sums["announced"]) == (1, 0)
    assert sums["intervals"] == {"lost": 1, "covered": 0}
    assert sums["books"] == {"compared": 0, "equal": 0}


def test_one_topics_false_gap_does_not_pay_for_anothers_silent_loss():
    other = [record | {"topic": "trades2"} for record in TRADES]
    second = Origin("toy", "trades", "X", "trades2", "a", 1)
    theirs = [
        Trade(second, at(1), at(1), at(1), 1, 1, "1", 1.0, 1.0, "buy"),
        Gap(second, at(2), at(2), None, 2, 2, 1, "", at(1), at(2)),
        Trade(second, at(2), at(2), at(2), 2, 2, "2", 1.0, 1.0, "buy"),
    ]
    numbering = {"trades": Numbering.DENSE, "trades2": Numbering.DENSE}
    card = score([*TRADES, *other], [trade(1), trade(3), *theirs], numbering)
    assert card.total("missing") == card.total("announced") == 1
    assert not card.kept


def test_an_image_that_shows_the_same_again_is_not_missed():
    def ticker(number, price):
        fields = {"price": price, "bid": 1.0, "ask": 2.0, "volume": 3.0}
        return world("ticker", number, None, None, **fields)

    def told(record):
        values = (record[name] for name in ("price", "bid", "ask", "volume"))
        price, bid, ask, volume = values
        ns = record["event_ns"]
        return Ticker(origin("ticker"), ns, ns, ns, None, None, price, bid=bid, ask=ask, volume=volume)  # fmt: skip  # noqa: E501

    same = [ticker(1, 1.0), ticker(2, 1.0), ticker(3, 2.0)]
    numbering = {"ticker": Numbering.NONE}
    assert score(same, [told(same[0]), told(same[2])], numbering).kept
    other = [ticker(1, 1.0), ticker(2, 1.5), ticker(3, 2.0)]
    assert not score(other, [told(other[0]), told(other[2])], numbering).kept


@pytest.mark.parametrize(("numbers", "kept"), [((3, 4), True), ((3, 3), False), ((3, 2), False)])
def test_what_is_backfilled_was_announced_and_comes_once(numbers, kept):
    def told(number, *, backfilled=False):
        ns = at(number)
        return Trade(
            origin("trades"), ns, ns, ns, number, number, str(number), 1.0, 1.0, "buy", backfilled
        )

    gap = Gap(origin("trades"), at(5), at(5), None, 3, 4, 2, "lost", at(3), at(5))
    events = [told(1), told(2), gap, *(told(n, backfilled=True) for n in numbers), told(5)]
    card = score(TRADES, events, {"trades": Numbering.DENSE})
    assert card.kept is kept
    assert card.total("missing") == card.total("announced") == 2
    assert card.total("backfilled") == 2 if kept else 1
