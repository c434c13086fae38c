"""Messages with names and no order."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.core.worlds import NAMED, WALL, Log, at, bbo, origin

from gapless.core.identities import HELD_MAX, SEEN_MAX, IdentityStream
from gapless.core.stream import HOLD_NS, TRANSIT_NS, Trust
from gapless.events import Gap, Resynced, Trade

A, B, C = origin(0), origin(1), origin(2)


def trade(source, name, mono_ns, *, backfilled=False):
    wall_ns = WALL + mono_ns
    return Trade(
        source, wall_ns, mono_ns, None, None, None, name, 1.0, 1.0, "buy", backfilled=backfilled
    )


def stream_of(*sources):
    log = Log()
    stream = IdentityStream(NAMED, log.events.append, log.needs.append)
    for source in sources:
        stream.attach(source, at(0))
    return stream, log


def met(*sources):
    """A stream that every session carries on from trade ``0``, which all of them brought."""
    stream, log = stream_of(*sources)
    for source in sources:
        stream.offer(trade(source, "0", 1))
    assert log.kinds == ["Trade"]
    log.clear()
    return stream, log


def say(stream, source, names, mono_ns, *, backfilled=False):
    for name in names:
        stream.offer(trade(source, name, mono_ns, backfilled=backfilled))


def names(log):
    return "".join(event.id for event in log.events if isinstance(event, Trade))


# -- repeats ----------------------------------------------------------------------------------


def test_every_name_is_delivered_once():
    stream, log = met(A)
    say(stream, A, "abbac", 5)
    assert names(log) == "abc"
    assert stream.duplicates == 2
    assert stream.trust is Trust.LIVE


def test_first_arrival_wins():
    stream, log = met(A, B)
    for source, name in ((A, "a"), (B, "a"), (B, "b"), (A, "c"), (B, "c"), (A, "b")):
        stream.offer(trade(source, name, 5))
    assert names(log) == "abc"
    assert [event.origin for event in log.events] == [A, B, A]
    assert stream.arrived == 8


def test_both_sessions_are_seen_to_speak_though_one_brings_nothing_new():
    stream, _ = met(A, B)
    say(stream, A, "a", 5)
    say(stream, B, "a", 7)
    assert stream.last_seen_ns(A.epoch) == 5
    assert stream.last_seen_ns(B.epoch) == 7


def test_memory_is_bounded_and_the_oldest_are_forgotten_first():
    stream, log = met(A)
    for n in range(1, SEEN_MAX + 1):  # the last of them pushes out "0"
        stream.offer(trade(A, str(n), 5))
    assert len(stream._seen) == SEEN_MAX
    log.clear()
    stream.offer(trade(A, "1", 6))
    assert log.events == []
    stream.offer(trade(A, "0", 6))
    assert names(log) == "0"


def test_what_is_not_a_trade_is_dropped():
    stream, log = met(A)
    stream.offer(bbo(A, None, 5))
    assert log.events == []
    assert stream.dropped == 1


def test_data_may_come_before_the_ack_of_its_subscription():
    stream, log = stream_of()
    say(stream, A, "ab", 5)
    stream.attach(A, at(6))
    say(stream, A, "c", 7)
    assert names(log) == "abc"


# -- breaks -----------------------------------------------------------------------------------


def test_a_break_is_announced_with_the_first_message_after_it():
    stream, log = met(A)
    say(stream, A, "a", 20)
    stream.detach(A.epoch, "closed with 1006", at(50))
    assert (stream.trust, stream.because) == (Trust.BLIND, "closed with 1006")
    stream.attach(B, at(80))
    assert log.kinds == ["Trade"]
    say(stream, B, "b", 110)
    assert log.kinds == ["Trade", "Gap", "Trade"]
    gap = log.gaps[0]
    assert (gap.first, gap.last, gap.missing) == (None, None, None)
    assert (gap.since_ns, gap.until_ns) == (WALL + 20 - TRANSIT_NS, WALL + 110)
    assert gap.cause == "closed with 1006"
    assert not stream.blind


@pytest.mark.parametrize("order", ["abcd", "dcba", "bdac"])
def test_a_greeting_that_holds_a_message_from_before_the_break_proves_that_nothing_was_lost(order):
    stream, log = met(A)
    say(stream, A, "ab", 10)
    stream.detach(A.epoch, "closed", at(50))
    stream.attach(B, at(80))
    say(stream, B, order, 110, backfilled=True)
    say(stream, B, "e", 120)
    assert not log.gaps
    assert [e.by for e in log.events if isinstance(e, Resynced)] == ["ids"]
    assert sorted(names(log)) == list("abcde")
    assert not stream.blind
    assert stream.arrived == 8


@pytest.mark.parametrize("end", ["live", "tick", "close"])
def test_a_greeting_that_does_not_reach_back_is_delivered_behind_the_gap(end):
    stream, log = met(A)
    stream.detach(A.epoch, "closed", at(50))
    stream.attach(B, at(80))
    say(stream, B, "cd", 110, backfilled=True)
    assert log.kinds == []  # the next may be known
    if end == "live":
        say(stream, B, "e", 120)
        assert log.kinds == ["Gap", "Trade", "Trade", "Trade"]
    elif end == "tick":
        stream.tick(at(109 + HOLD_NS))
        assert log.kinds == []
        stream.tick(at(110 + HOLD_NS))
        assert log.kinds == ["Gap", "Trade", "Trade"]
    else:
        stream.close()
        assert log.kinds == ["Trade", "Trade"]
    assert names(log).startswith("cd")
    assert stream.arrived == len(names(log)) + 1


def test_a_session_that_says_the_same_again_after_a_silence_proves_nothing():
    stream, log = met(A)
    say(stream, A, "a", 10)
    stream.suspect(A.epoch, "silent", at(50))
    say(stream, A, "a", 60)  # some venues say each trade twice
    assert stream.blind
    say(stream, A, "b", 61)
    assert log.kinds == ["Trade", "Gap", "Trade"]


def test_a_greeting_after_a_silence_proves_it_on_the_same_session():
    stream, log = met(A)
    say(stream, A, "a", 10)
    stream.suspect(A.epoch, "silent", at(50))
    say(stream, A, "ab", 60, backfilled=True)
    assert log.kinds == ["Trade", "Resynced", "Trade"]


def test_a_session_that_is_lost_with_its_greeting_leaves_the_topic_blind():
    stream, log = met(A)
    stream.detach(A.epoch, "closed", at(50))
    stream.attach(B, at(80))
    say(stream, B, "cd", 110, backfilled=True)
    stream.detach(B.epoch, "closed too", at(120))
    assert log.kinds == ["Gap", "Trade", "Trade"]
    assert stream.blind
    stream.attach(C, at(130))
    say(stream, C, "g", 140)
    assert log.kinds[3:] == ["Gap", "Trade"]


def test_no_more_than_the_bound_is_held():
    stream, log = met(A)
    stream.detach(A.epoch, "closed", at(50))
    for n in range(HELD_MAX):
        stream.offer(trade(B, f"g{n}", 60, backfilled=True))
    assert log.kinds == []
    stream.offer(trade(B, "one more", 60, backfilled=True))
    assert log.kinds == ["Gap"] + ["Trade"] * (HELD_MAX + 1)


# -- two sessions -----------------------------------------------------------------------------


def test_losing_one_of_two_sessions_announces_nothing():
    stream, log = met(A, B)
    stream.detach(A.epoch, "closed", at(5))
    say(stream, B, "ab", 6)
    assert log.kinds == ["Trade", "Trade"]


def test_losing_both_is_one_gap():
    stream, log = met(A, B)
    stream.detach(A.epoch, "closed", at(5))
    stream.suspect(B.epoch, "silent", at(6))
    say(stream, B, "a", 7)
    assert log.kinds == ["Gap", "Trade"]
    assert log.gaps[0].cause == "silent"


def test_a_session_that_joins_waits_until_both_have_brought_the_same():
    stream, log = met(A)
    stream.attach(B, at(10))
    say(stream, B, "bcb", 20)
    assert names(log) == ""
    assert stream.arrived == 4
    say(stream, A, "a", 21)
    assert names(log) == "a"
    say(stream, A, "b", 22)  # so B has been there since before "b"
    assert names(log) == "abc"
    stream.detach(A.epoch, "closed", at(30))
    say(stream, B, "d", 31)
    assert names(log) == "abcd"
    assert not log.gaps


def test_a_session_that_brings_what_was_delivered_has_joined():
    stream, log = met(A)
    stream.attach(B, at(10))
    say(stream, A, "a", 20)
    say(stream, B, "ab", 21)
    assert names(log) == "ab"


def test_what_a_silent_session_lost_before_another_joined_is_announced_before_what_comes_after():
    stream, log = met(A)
    stream.attach(B, at(50))
    say(stream, B, "xy", 60)
    stream.suspect(A.epoch, "silent", at(90), covered_ns=1)
    say(stream, B, "z", 95)
    assert log.kinds == ["Gap", "Trade", "Trade", "Trade"]
    assert names(log) == "xyz"
    assert log.gaps[0].since_ns == WALL + 1 - TRANSIT_NS


def test_a_session_that_was_there_while_the_other_carried_everything_goes_on_at_once():
    stream, log = met(A)
    stream.attach(B, at(50))
    say(stream, B, "xy", 60)
    stream.detach(A.epoch, "closed", at(90), covered_ns=55)
    assert names(log) == "xy"
    assert not log.gaps


def test_a_session_that_falls_behind_is_not_waited_for_longer_than_the_hold():
    stream, log = met(A)
    stream.attach(B, at(50))
    say(stream, B, "x", 60)
    stream.tick(at(60 + HOLD_NS))
    assert log.kinds == ["Gap", "Trade"]
    assert log.gaps[0].cause == "a line fell behind"


def test_all_that_waited_carry_on_once_the_gap_is_announced():
    stream, log = met(A)
    stream.attach(B, at(50))
    stream.attach(C, at(50))
    say(stream, B, "x", 60)
    say(stream, C, "y", 61)
    stream.tick(at(60 + HOLD_NS))
    assert log.kinds == ["Gap", "Trade", "Trade"]
    say(stream, C, "z", 62 + HOLD_NS)
    assert names(log) == "xyz"


def test_of_two_that_wait_the_one_that_is_proven_goes_on():
    stream, log = met(A)
    stream.attach(B, at(50))
    stream.attach(C, at(50))
    say(stream, B, "x", 60)
    say(stream, C, "xy", 61)
    say(stream, B, "z", 62)
    assert names(log) == ""
    say(stream, A, "x", 63)
    assert names(log) == "xz"
    say(stream, B, "y", 64)
    assert names(log) == "xzy"
    assert stream.arrived == 7


def test_a_session_that_was_silent_has_to_join_again():
    stream, log = met(A, B)
    stream.suspect(B.epoch, "silent", at(5))
    say(stream, B, "x", 6)
    assert names(log) == ""
    say(stream, A, "x", 7)
    say(stream, B, "y", 8)
    assert names(log) == "xy"


def told(log):
    return [event.id if isinstance(event, Trade) else type(event).__name__ for event in log.events]


def test_greetings_that_do_not_meet_are_parted_by_a_gap():
    stream, log = met(A)
    stream.detach(A.epoch, "closed", at(4))
    for source, name in ((B, "x"), (C, "z")):
        stream.attach(source, at(5))
        say(stream, source, name, 5, backfilled=True)
    stream.detach(B.epoch, "closed", at(7))
    assert told(log) == ["Gap", "x", "Gap", "z"]


def test_greetings_that_meet_are_one_stretch():
    stream, log = met(A)
    stream.detach(A.epoch, "closed", at(4))
    for source, name in ((B, "xy"), (C, "yz")):
        stream.attach(source, at(5))
        say(stream, source, name, 5, backfilled=True)
    stream.detach(B.epoch, "closed", at(7))
    assert told(log) == ["Gap", "x", "y", "z"]


# -- properties -------------------------------------------------------------------------------

moves = st.lists(
    st.tuples(
        st.sampled_from(["trade", "bring", "bring", "bring", "lose", "open", "stall", "wait"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(moves=moves, greets=st.booleans())
@example(  # two greetings that do not meet, and nothing of the trade between them
    moves=[("trade", 0), ("lose", 0), ("open", 0), ("trade", 3), ("open", 0), ("lose", 0)],
    greets=True,
)
def test_what_nobody_brought_lies_behind_an_announced_gap(moves, greets):
    """Names rise, so that the test can see a hole; the stream cannot."""
    made, opened, now_ns = 0, 0, 0
    made_ns: list[int] = []
    lines: dict[int, list[int]] = {}  # epoch -> [next trade to bring]
    seen: list[int] = []
    gaps: list[int] = []  # how many had been seen when one was announced

    def take(event):
        if isinstance(event, Gap):
            gaps.append(len(seen))
        elif isinstance(event, Trade):
            assert int(event.id) not in seen
            seen.append(int(event.id))

    stream = IdentityStream(NAMED, take, lambda need: None)
    offered = 0

    def bring(epoch, name, *, backfilled=False):
        nonlocal offered
        offered += 1
        stream.offer(trade(origin(epoch), str(name), now_ns, backfilled=backfilled))

    def open_line():
        nonlocal opened
        opened += 1
        lines[opened] = [made]
        stream.attach(origin(opened), at(now_ns))
        if greets:
            for name in range(max(0, made - 3), made):
                bring(opened, name, backfilled=True)

    def carried_until(epoch):
        undelivered = made_ns[lines[epoch][0] : made]
        return undelivered[0] - 1 if undelivered else now_ns

    open_line()
    for move, n in moves:
        now_ns += 10**6
        epoch = sorted(lines)[n % len(lines)] if lines else None
        if move == "trade":
            made += 1 + n
            made_ns += [now_ns] * (1 + n)
        elif move == "open" and len(lines) < 3:
            open_line()
        elif move == "wait":
            now_ns += HOLD_NS
            stream.tick(at(now_ns))
        elif epoch is None:
            continue
        elif move == "bring":
            while lines[epoch][0] < made:
                bring(epoch, lines[epoch][0])
                lines[epoch][0] += 1
        elif move == "lose":
            covered_ns = carried_until(epoch)
            del lines[epoch]
            stream.detach(epoch, "closed", at(now_ns), covered_ns)
        elif move == "stall":
            covered_ns = carried_until(epoch)
            lines[epoch][0] = max(lines[epoch][0], made - n)  # and what was in between is lost
            stream.suspect(epoch, "silent", at(now_ns), covered_ns)
    for epoch in list(lines):
        while lines[epoch][0] < made + 2:
            bring(epoch, lines[epoch][0])
            lines[epoch][0] += 1
    stream.tick(at(now_ns + 2 * HOLD_NS))
    assert stream.arrived == offered
    for missing in set(range(min(seen, default=0), max(seen, default=0))) - set(seen):
        behind = next(place for place, name in enumerate(seen) if name > missing)
        before = max((p for p in range(behind) if seen[p] < missing), default=-1)
        assert any(before < gap <= behind for gap in gaps), f"{missing} is missing, unsaid"
