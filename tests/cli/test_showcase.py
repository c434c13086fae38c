"""A short tour in this process, over real sockets; and one that is meant to fail."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest

from gapless.cli import showcase as module
from gapless.cli.showcase import DEAF_S, Losses, Showcase, Stage, Struck
from gapless.cli.tour import Step, parts
from gapless.core.sequence import Numbering
from gapless.events import Gap, Notice, Origin, Resynced, Trade
from gapless.sim.dialects import DIALECTS
from gapless.sim.faults import Fault, FaultRecord
from gapless.sim.truth import MemoryTruth
from gapless.testing.scorecard import Hole

FIRST, SECOND = parts()
SECOND_NS = 1_000_000_000


def never():
    return asyncio.Event().wait()


async def shown(
    steps, *, duration_s, stop=None, naive=False, kind=Showcase, lines=1, on_tell=lambda *_: None
):
    """Run without pauses; unless ``stop`` is given, it ends with the last outcome."""
    told, over = [], asyncio.Event()
    steps = [replace(step, needs_s=duration_s) for step in steps]  # nothing to spare

    def tell(what, struck):
        told.append((what, struck.step.name))
        on_tell(what, struck)
        if told.count(("outcome", struck.step.name)) and len(told) == 2 * len(steps):
            over.set()

    venues = [FIRST.venue, SECOND.venue]
    showcase = kind(venues, steps, seed=3, naive=naive, tell=tell, lines=lines)
    async with asyncio.timeout(duration_s + 20):
        await showcase.run(duration_s, over.wait if stop is None else stop)
    return showcase, told


DROP = Step(
    "drop-trades",
    SECOND.venue,
    "three trades are lost",
    (Fault(name="drop", topic=SECOND.trades, count=3),),
)
RESET = Step("reset", FIRST.venue, "the connection is reset", (Fault(name="reset"),))
DROP_BOOK = Step(
    "drop-book",
    FIRST.venue,
    "one line loses two book changes",
    (Fault(name="drop", topic=FIRST.book, count=2),),
    single=True,
)
NOWHERE = Step("drop", SECOND.venue, "story", (Fault(name="drop", topic="no such topic"),))


@pytest.fixture(scope="module")
def short():
    return asyncio.run(shown([RESET, DROP, DROP_BOOK], duration_s=60.0, naive=True))


def test_each_step_is_settled_before_the_next_begins(short):
    showcase, told = short
    assert [what for what, _ in told] == ["step", "outcome"] * 3
    names = ["reset", "drop-trades", "drop-book"]
    assert [name for _, name in told] == [name for name in names for _ in range(2)]
    assert all(struck.over and struck.settled_s is not None for struck in showcase.struck)
    for before, after in pairwise(showcase.struck):
        assert before.at_s + before.settled_s <= after.at_s
    assert not showcase.stuck


def test_what_was_done_is_counted_with_the_step(short):
    reset, drop, drop_book = short[0].struck
    assert (reset.dials, reset.sessions) == (1, 1)
    # A book that did not change meanwhile is proven by its numbers, and not loaded anew.
    assert 0 <= reset.rebuilt <= len(DIALECTS[FIRST.venue].usual_symbols)
    assert reset.notice.kind == "ended"
    assert reset.noticed_s <= reset.healed_s <= reset.settled_s
    assert (drop.dials, drop.rebuilt, drop.notice) == (0, 0, None)
    assert drop.gaps >= 1
    assert (drop_book.dials, drop_book.rebuilt, drop_book.gaps) == (0, 1, 1)
    assert not drop_book.carried  # there is no other line


def test_what_was_lost_is_the_venue_s_truth_of_that_step(short):
    _, drop, drop_book = short[0].struck
    assert (drop.lost, drop.announced) == (3, 3)  # each session lost three
    assert drop_book.lost == drop_book.announced >= 2  # and what came until the next snapshot


def test_what_strikes_one_line_of_two_is_brought_by_the_other():
    showcase, _ = asyncio.run(shown([DROP_BOOK], duration_s=60.0, lines=2))
    (struck,) = showcase.struck
    assert struck.happened
    assert struck.settled_s is not None
    assert (struck.lost, struck.announced, struck.rebuilt, struck.gaps) == (0, 0, 0, 0)
    assert struck.carried


def test_the_naive_loop_lost_the_same_three_and_said_nothing(short):
    showcase, _ = short
    naive = showcase.stages[SECOND.venue].count_naive(showcase.ended_ns)
    assert (naive.lost, naive.announced, naive.unheard, naive.silent) == (3, 0, 0, 3)
    assert not showcase.naive_cards()[SECOND.venue].kept


def test_the_promise_held(short):
    showcase, _ = short
    for card in showcase.cards().values():
        assert card.kept
        assert card.total("delivered") > 100
        assert card.books_compared == card.books_equal == 2


def test_a_fault_that_cannot_happen_is_not_claimed(monkeypatch):
    monkeypatch.setattr(module, "STRIKE_S", 0.5)
    showcase, _ = asyncio.run(shown([NOWHERE], duration_s=60.0))
    (struck,) = showcase.struck
    assert struck.over
    assert not struck.happened
    assert struck.settled_s is None


def test_what_there_is_no_time_for_is_not_begun_and_what_is_cut_short_is_not_over():
    for step, begun in ((NOWHERE, [False]), (replace(RESET, lasts_s=9.0), [])):
        showcase, _ = asyncio.run(shown([step], duration_s=3.5, stop=never))
        assert [struck.over for struck in showcase.struck] == begun
        assert not showcase.complete
        assert not showcase.stuck  # there was no time for it


def test_a_feed_that_is_not_well_again_though_it_had_time_is_stuck(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.5)

    class Sick(Showcase):
        _well = staticmethod(lambda stage: False)

    showcase, _ = asyncio.run(shown([RESET], duration_s=3.5, stop=never, kind=Sick))
    assert showcase.struck == []
    assert (showcase.complete, showcase.stuck) == (False, True)


def test_a_stop_in_the_middle_leaves_a_tour_that_can_be_scored():
    async def scenario():
        stop = asyncio.Event()
        silence = Step("s", FIRST.venue, "story", (Fault(name="silence", for_s=4),), 4.0, 4.0)

        def look(what, struck):
            if (what, struck.step.name) == ("step", "s"):
                stop.set()

        return await shown([DROP, silence], duration_s=60.0, stop=stop.wait, on_tell=look)

    showcase, _ = asyncio.run(scenario())
    assert [struck.over for struck in showcase.struck] == [True, False]
    assert not showcase.complete
    assert all(card.kept for card in showcase.cards().values())


def test_a_feed_that_fails_ends_the_run_with_its_own_error():
    class Failing(Showcase):
        async def _follow(self, stage):
            raise RuntimeError("nobody foresaw this")

    with pytest.raises(RuntimeError, match="nobody foresaw this"):
        asyncio.run(shown([RESET], duration_s=30.0, kind=Failing))


# -- parts --------------------------------------------------------------------------------------

ORIGIN = Origin("v", "trades", "S", "t", "a", 1)


def trade(number, at_ns=0):
    return Trade(ORIGIN, at_ns, at_ns, at_ns, number, number, str(number), 1.0, 1.0, "buy")


def stage(*numbers, events=()):
    truth = MemoryTruth()
    for number in numbers:
        truth.write(
            {"type": "world", "topic": "t", "ns": number * SECOND_NS, "event_ns": None,
             "first": number, "last": number}
        )  # fmt: skip
    plan = SimpleNamespace(specs={"t": SimpleNamespace(numbering=Numbering.DENSE)})
    naive = SimpleNamespace(events=list(events))
    return Stage("v", None, truth, plan, None, events=list(events), naive=naive)


def test_losses_are_those_between_what_was_delivered():
    hole = Gap(ORIGIN, 5, 5, None, 3, 4, 2, "numbers are missing", 2, 5)
    kept = stage(*range(1, 9), events=[trade(1), trade(2), hole, trade(5)])
    assert kept.count() == Losses(2, 2, 0)
    assert kept.count().silent == 0
    silent = stage(*range(1, 9), events=[trade(1), trade(2), trade(5)])
    assert silent.count() == Losses(2, 0, 0)
    assert silent.count().silent == 2


def test_a_client_that_hears_nothing_loses_all_that_passes_it_by():
    deaf = stage(*range(1, 9), events=[trade(1, SECOND_NS), trade(2, 2 * SECOND_NS)])
    soon_ns, late_ns = int((2 + DEAF_S - 0.1) * SECOND_NS), int((2 + DEAF_S) * SECOND_NS)
    assert deaf.unheard(deaf.events, soon_ns) == 0
    assert deaf.unheard(deaf.events, late_ns) == 6
    assert deaf.count_naive(late_ns).silent == 6
    assert deaf.unheard([], late_ns) == 0


def struck_with(*happened):
    faults = tuple(Fault(name="drop", topic=topic, count=1) for topic, _ in happened)
    struck = Struck(Step("n", "v", "story", faults), 0.0)
    struck.records = [
        FaultRecord(1, fault, 0, None, times)
        for fault, (_, counts) in zip(faults, happened, strict=True)
        for times in counts
    ]
    return struck


@pytest.mark.parametrize(
    ("records", "happened"),
    [
        ([("a", [1])], True),
        ([("a", [0])], False),
        ([("a", [0, 2])], True),  # in one session of two
        ([("a", [1]), ("b", [0, 0])], False),
        ([("a", [])], False),  # never injected
    ],
)
def test_a_step_has_happened_if_each_of_its_faults_has(records, happened):
    assert struck_with(*records).happened is happened


def test_what_was_lost_is_put_down_to_the_step_in_which_it_was_told():
    showcase = Showcase([], [], seed=1, naive=False, tell=lambda *_: None)
    other = Struck(Step("n", "w", "story", ()), 0.0, 0)
    first, second = (Struck(Step("n", "v", "story", ()), 0.0, ns) for ns in (10, 20))
    showcase.struck = [first, other, second]
    showcase._charge(stage(), [Hole(9, 7, 7), Hole(10, 2, 2), Hole(19, 1, 0), Hole(20, 4, 4)])
    assert [(each.lost, each.announced) for each in (first, second)] == [(3, 2), (4, 4)]
    assert (other.lost, other.announced) == (0, 0)  # of another venue


def test_only_the_first_sign_counts_as_notice_and_planned_ends_do_not():
    showcase = Showcase([], [], seed=1, naive=False, tell=lambda *_: None)
    struck = struck_with(("a", [1]))
    for number, (kind, cause) in enumerate(
        [
            ("ended", "planned"),
            ("stalled", "silent"),
            ("dialing", "x"),
            ("ended", "lost"),
            ("live", ""),
        ]
    ):
        showcase._note(struck, Notice(number, "v", 0, 0, kind, "a", 1, None, None, cause, ""))
    assert struck.notice.cause == "silent"
    assert (struck.dials, struck.sessions) == (1, 1)


def test_only_what_happens_during_a_step_is_put_down_to_it():
    showcase = Showcase([], [], seed=1, naive=False, tell=lambda *_: None)
    at = stage()
    healed = Resynced(ORIGIN, 5, 5, None, 4, 4, "ids", 1)
    showcase._keep(at, healed)
    at.now = struck = struck_with(("a", [1]))
    showcase._keep(at, trade(1))
    assert (struck.gaps, struck.healed_s) == (0, None)
    showcase._keep(at, healed)
    assert struck.healed_s is not None
    assert len(at.events) == 3
