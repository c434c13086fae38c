from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.worlds import MS, ORDERED, SECOND, UNNUMBERED, WALL, Log, at, bbo, origin

from gapless.core.images import DOUBT_MAX_NS, LATELY_MAX, WAITING_MAX, ImageStream
from gapless.core.sequence import Numbering
from gapless.core.stream import HOLD_NS, REGRESS_NS, Trust
from gapless.events import Bbo, Event, Gap, Resynced

A, B = origin(0, "bbo"), origin(1, "bbo")


def images_of(topic, *sources):
    log = Log()
    stream = ImageStream(topic, log.events.append, log.needs.append)
    for source in sources:
        stream.attach(source, at(0))
    return stream, log


def numbers(log):
    return [event.last for event in log.events if isinstance(event, Bbo)]


# -- order ------------------------------------------------------------------------------------


def test_images_are_delivered_in_the_order_of_their_numbers():
    stream, log = images_of(ORDERED, A)
    for n in (5, 9, 7, 9, 12):  # numbers rise, and holes mean nothing
        stream.offer(bbo(A, n, n))
    assert numbers(log) == [5, 9, 12]
    assert (stream.out_of_order, stream.duplicates, stream.delivered) == (1, 1, 3)
    assert not log.gaps
    assert stream.newest is log.events[-1]


def test_an_image_that_is_repeated_long_after_is_still_the_same():
    stream, log = images_of(ORDERED, A)
    for made_ns in (0, 3 * SECOND, REGRESS_NS + SECOND):  # a venue that says it is alive
        stream.offer(bbo(A, 5, made_ns, made_ns=made_ns))
    assert numbers(log) == [5]
    assert stream.duplicates == 2


def test_first_arrival_wins():
    stream, log = images_of(ORDERED, A, B)
    for source, n in ((A, 1), (B, 1), (B, 2), (A, 2), (B, 4), (A, 3), (A, 5)):
        stream.offer(bbo(source, n, n))
    assert numbers(log) == [1, 2, 4, 5]
    assert [event.origin for event in log.events] == [A, B, B, A]
    assert (stream.out_of_order, stream.duplicates) == (1, 2)


def test_without_numbers_the_venue_s_time_orders():
    stream, log = images_of(UNNUMBERED, A, B)
    for source, made in ((A, 10), (B, 10), (B, 20), (A, 15), (A, 30)):
        stream.offer(bbo(source, None, 50, float(made), made_ns=made))
    assert [event.bid for event in log.events] == [10.0, 20.0, 30.0]


def test_two_images_of_one_moment_are_real_on_the_same_session():
    stream, log = images_of(UNNUMBERED, A)
    stream.offer(bbo(A, None, 50, 1.0, made_ns=10))
    stream.offer(bbo(A, None, 51, 2.0, made_ns=10))
    stream.offer(bbo(A, None, 52, 2.0, made_ns=10))  # the same image again
    assert [event.bid for event in log.events] == [1.0, 2.0]
    assert stream.duplicates == 1


def test_images_of_the_same_moment_from_another_session_are_repeats():
    stream, log = images_of(UNNUMBERED, A, B)
    stream.offer(bbo(A, None, 50, 1.0, made_ns=10))
    stream.offer(bbo(A, None, 51, 2.0, made_ns=10))
    stream.offer(bbo(B, None, 52, 1.0, made_ns=10))
    stream.offer(bbo(B, None, 53, 2.0, made_ns=10))
    assert [event.bid for event in log.events] == [1.0, 2.0]
    assert stream.duplicates == 2


def test_images_with_neither_number_nor_time_are_delivered_as_they_come():
    stream, log = images_of(UNNUMBERED, A)
    for bid in (1.0, 2.0, 1.0):
        stream.offer(bbo(A, None, 50, bid))
    assert [event.bid for event in log.events] == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(("after_ns", "taken"), [(REGRESS_NS, False), (REGRESS_NS + 1, True)])
def test_old_numbers_with_new_times_are_a_new_numbering(after_ns, taken):
    stream, log = images_of(ORDERED, A, B)
    stream.offer(bbo(B, 900, 1, made_ns=0))  # the clocks of two connections may differ
    stream.offer(bbo(A, 3, 2, made_ns=after_ns))
    assert numbers(log) == ([900, 3] if taken else [900])
    stream.offer(bbo(A, 4, 3, made_ns=after_ns))
    assert numbers(log)[-1] == (4 if taken else 900)


@pytest.mark.parametrize(("made_ns", "taken"), [(9, False), (10, False), (11, True)])
def test_within_a_session_any_later_time_tells_a_new_numbering(made_ns, taken):
    stream, log = images_of(ORDERED, A)
    stream.offer(bbo(A, 900, 20, made_ns=10))
    stream.offer(bbo(A, 3, 30, made_ns=made_ns))
    assert numbers(log) == ([900, 3] if taken else [900])
    assert stream.out_of_order == (not taken)


# -- blindness --------------------------------------------------------------------------------


def test_losing_one_of_two_lines_announces_nothing():
    stream, log = images_of(ORDERED, A, B)
    stream.offer(bbo(A, 1, 1))
    stream.detach(A.epoch, "closed", at(2))
    stream.offer(bbo(B, 2, 3))
    assert log.kinds == ["Bbo", "Bbo"]
    assert stream.trust is Trust.LIVE


def test_blindness_is_announced_with_the_first_image_after_it():
    stream, log = images_of(ORDERED, A)
    stream.offer(bbo(A, 1, 10))
    stream.detach(A.epoch, "closed with 1006", at(50))
    assert (stream.trust, stream.because) == (Trust.BLIND, "closed with 1006")
    stream.attach(B, at(80))
    assert log.kinds == ["Bbo"]
    assert stream.blind  # confirmed is not heard: a venue may confirm and stay silent
    stream.offer(bbo(B, 9, 110))
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]
    gap = log.gaps[0]
    assert (gap.first, gap.last, gap.missing) == (None, None, None)
    assert (gap.until_ns, gap.cause) == (WALL + 110, "closed with 1006")
    assert (log.events[3].by, log.events[3].blind_ns) == ("snapshot", 100)
    assert not stream.blind
    stream.offer(bbo(B, 10, 111))
    assert log.kinds[4:] == ["Bbo"]


def test_an_image_without_a_time_may_have_been_under_way_for_a_quarter_second():
    stream, log = images_of(ORDERED, A)
    stream.offer(bbo(A, 1, 10))
    stream.detach(A.epoch, "closed", at(50))
    stream.offer(bbo(B, 9, 110))
    assert log.gaps[0].since_ns == WALL + 10 - SECOND // 4


@pytest.mark.parametrize("numbering", [ORDERED, UNNUMBERED])
def test_the_very_image_we_had_last_proves_that_there_was_none_in_between(numbering):
    stream, log = images_of(numbering, A)
    number = 1 if numbering is ORDERED else None
    stream.offer(bbo(A, number, 10, made_ns=5))
    stream.detach(A.epoch, "closed", at(50))
    stream.attach(B, at(80))
    stream.offer(bbo(B, number, 90, made_ns=5))
    assert log.kinds == ["Bbo", "Resynced"]
    assert (log.events[1].by, log.events[1].blind_ns) == ("ids", 80)
    assert not stream.blind


def test_data_before_the_ack_announce_it_too_and_once_only():
    stream, log = images_of(ORDERED, A)
    stream.offer(bbo(A, 1, 10))
    stream.detach(A.epoch, "closed", at(50))
    stream.offer(bbo(B, 2, 60))
    stream.attach(B, at(70))
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]


def test_a_suspect_that_speaks_again_names_the_silence():
    stream, log = images_of(ORDERED, A)
    stream.offer(bbo(A, 1, 10))
    stream.suspect(A.epoch, "silent", at(5 * SECOND))
    assert stream.blind
    stream.offer(bbo(A, 2, 6 * SECOND))
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]
    assert log.gaps[0].cause == "silent"
    stream.suspect(A.epoch, "silent again", at(7 * SECOND))
    assert stream.blind


def test_an_old_image_does_not_end_a_gap():
    stream, log = images_of(ORDERED, A)
    stream.offer(bbo(A, 5, 10))
    stream.detach(A.epoch, "closed", at(50))
    stream.offer(bbo(B, 4, 60))
    assert log.kinds == ["Bbo"]
    assert stream.blind
    stream.offer(bbo(B, 6, 70))
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]


def test_blindness_before_the_first_image_is_named_as_well():
    stream, log = images_of(UNNUMBERED, A)
    stream.detach(A.epoch, "closed", at(50))
    stream.attach(B, at(80))
    stream.offer(bbo(B, None, 90, made_ns=85))
    assert log.gaps[0].since_ns == WALL
    assert log.kinds == ["Gap", "Bbo", "Resynced"]


def test_a_blind_stretch_that_ends_in_another_is_one_gap():
    stream, log = images_of(ORDERED, A)
    stream.offer(bbo(A, 1, 10))
    stream.detach(A.epoch, "closed", at(50))
    stream.attach(B, at(80))
    stream.detach(B.epoch, "closed again", at(90))
    stream.attach(A, at(100))
    stream.offer(bbo(A, 2, 110))
    assert [gap.cause for gap in log.gaps] == ["closed"]
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]


def joining():
    """Session A has brought image 1 at 10 ns; session B was confirmed at 50 ns."""
    stream, log = images_of(ORDERED, A)
    stream.offer(bbo(A, 1, 10))
    stream.attach(B, at(50))
    return stream, log


def test_a_session_that_came_after_another_fell_silent_cannot_vouch_for_the_time_between():
    stream, log = joining()
    stream.suspect(A.epoch, "silent", at(60), covered_ns=10)
    assert stream.blind
    stream.offer(bbo(B, 9, 70))
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]
    assert (log.gaps[0].cause, log.gaps[0].until_ns) == ("silent", WALL + 70)


def test_it_cannot_even_if_it_spoke_before_the_silence_was_noticed():
    stream, log = joining()
    stream.offer(bbo(B, 9, 55))
    assert log.kinds == ["Bbo"]
    stream.suspect(A.epoch, "silent", at(60), covered_ns=10)
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]
    assert not stream.blind


def test_a_session_that_was_there_while_the_other_was_well_carries_on_without_a_mark():
    stream, log = joining()
    stream.detach(A.epoch, "closed", at(60), covered_ns=58)
    stream.offer(bbo(B, 9, 70))
    assert log.kinds == ["Bbo", "Bbo"]


def test_what_waits_for_the_other_line_comes_without_a_mark_once_it_is_there():
    stream, log = joining()
    stream.offer(bbo(B, 2, 55))
    stream.offer(bbo(B, 3, 56))
    assert log.kinds == ["Bbo"]
    stream.offer(bbo(A, 2, 57))
    assert [event.last for event in log.events] == [1, 2, 3]
    stream.offer(bbo(B, 4, 58))  # joined: from now on the first arrival wins
    stream.offer(bbo(A, 3, 59))
    assert [event.last for event in log.events] == [1, 2, 3, 4]


def test_what_waits_is_carried_over_when_the_other_line_ends_well():
    stream, log = joining()
    stream.offer(bbo(B, 2, 55))
    stream.detach(A.epoch, "planned", at(60))
    assert [event.last for event in log.events] == [1, 2]
    assert log.kinds == ["Bbo", "Bbo"]


@pytest.mark.parametrize("behind", [True, False], ids=["the other comes", "it does not"])
def test_everything_that_waits_is_delivered_and_not_the_newest_of_it_alone(behind):
    stream, log = joining()
    for number in (2, 3, 4):
        stream.offer(bbo(B, number, 50 + number))
    assert numbers(log) == [1]
    assert stream.arrived == 4
    if behind:
        stream.offer(bbo(A, 2, 60))
        assert not log.gaps
    else:
        stream.tick(at(52 + HOLD_NS))
        assert [gap.cause for gap in log.gaps] == ["a line fell behind"]
    assert numbers(log) == [1, 2, 3, 4]


def test_what_waits_comes_at_once_when_the_other_line_is_retired():
    stream, log = joining()
    stream.offer(bbo(B, 2, 55))
    stream.hand_over(A.epoch, at(60))
    assert numbers(log) == [1, 2]
    stream.offer(bbo(B, 3, 65))
    assert numbers(log) == [1, 2, 3]
    assert not log.gaps


def test_no_more_than_so_many_images_wait():
    stream, log = joining()
    for number in range(2, WAITING_MAX + 3):
        stream.offer(bbo(B, number, 55))
    assert numbers(log) == list(range(1, WAITING_MAX + 3))
    assert [gap.cause for gap in log.gaps] == ["a line fell behind"]


def greeting():
    """Session A has brought the image made at 5 ns; session B was confirmed at 50 ns."""
    stream, log = images_of(UNNUMBERED, A)
    stream.offer(bbo(A, None, 10, 1.0, made_ns=5))
    stream.attach(B, at(50))
    return stream, log


def test_a_greeting_that_shows_what_we_have_is_not_repeated_and_proves_nothing():
    stream, log = greeting()
    stream.offer(bbo(B, None, 55, 1.0, made_ns=54))  # made now, and nothing has changed
    assert log.kinds == ["Bbo"]
    assert stream.duplicates == 1
    stream.offer(bbo(B, None, 60, 2.0, made_ns=59))  # waits for the line that was there before
    assert log.kinds == ["Bbo"]
    stream.offer(bbo(A, None, 61, 2.0, made_ns=59))
    assert log.kinds == ["Bbo", "Bbo"]
    stream.offer(bbo(B, None, 62, 3.0, made_ns=61))
    assert log.kinds == ["Bbo", "Bbo", "Bbo"]


def test_prices_that_came_back_to_where_they_were_do_not_hide_what_was_between():
    stream, log = greeting()
    stream.offer(bbo(B, None, 55, 1.0, made_ns=54))  # the price was 2.0 at 30, and nobody saw it
    stream.detach(A.epoch, "closed", at(60), covered_ns=20)
    stream.offer(bbo(B, None, 70, 3.0, made_ns=69))
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]
    assert log.gaps[0].since_ns <= WALL + 30 <= log.gaps[0].until_ns


def test_a_greeting_costs_no_gap_where_the_other_line_was_well_until_then():
    stream, log = greeting()
    stream.offer(bbo(B, None, 55, 1.0, made_ns=54))
    stream.detach(A.epoch, "closed", at(60), covered_ns=58)
    stream.offer(bbo(B, None, 70, 3.0, made_ns=69))
    assert log.kinds == ["Bbo", "Bbo"]


def test_a_greeting_that_is_newer_waits_until_the_other_line_shows_the_same():
    stream, log = greeting()
    stream.offer(bbo(B, None, 55, 2.0, made_ns=54))
    assert log.kinds == ["Bbo"]
    stream.offer(bbo(A, None, 57, 2.0, made_ns=53))  # the change that the greeting showed
    assert log.kinds == ["Bbo", "Bbo"]
    stream.tick(at(HOLD_NS * 2))
    assert log.kinds == ["Bbo", "Bbo"]
    stream.offer(bbo(B, None, HOLD_NS * 2, 3.0, made_ns=60))
    assert log.kinds == ["Bbo", "Bbo", "Bbo"]


def test_what_waits_is_gone_with_its_session():
    stream, log = joining()
    stream.offer(bbo(B, 2, 55))
    stream.detach(B.epoch, "closed", at(60))
    stream.offer(bbo(A, 3, 70))
    assert [event.last for event in log.events] == [1, 3]


def test_what_is_held_back_for_long_says_since_when_and_for_whom():
    stream, _ = joining()
    assert stream.held_for(HOLD_NS * 2) is None
    stream.offer(bbo(B, 2, 55))
    assert stream.held_for(55 + HOLD_NS - 1) is None
    assert stream.held_for(55 + HOLD_NS) == (55, [A.epoch])
    assert stream.held_for(55 + DOUBT_MAX_NS - 1) == (55, [A.epoch])
    assert stream.held_for(55 + DOUBT_MAX_NS) is None  # nobody is waited for any longer


def test_a_line_that_is_half_a_second_behind_is_left_behind_with_a_gap():
    stream, log = joining()
    stream.offer(bbo(B, 2, 55))
    stream.tick(at(55 + HOLD_NS - 1))
    assert log.kinds == ["Bbo"]
    stream.tick(at(55 + HOLD_NS))
    assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]
    assert log.gaps[0].cause == "a line fell behind"


def test_greetings_of_two_sessions_that_show_the_same_are_one():
    stream, log = images_of(dataclasses.replace(UNNUMBERED, speaks_on_subscribe=True), A, B)
    stream.offer(bbo(B, None, 10, 1.0, made_ns=5))
    stream.offer(bbo(A, None, 12, 1.0, made_ns=7))  # made later, and nothing has changed
    assert log.kinds == ["Bbo"]
    assert stream.duplicates == 1
    stream.offer(bbo(B, None, 20, 1.0, made_ns=15))  # the same session says it is still so
    stream.offer(bbo(A, None, 22, 2.0, made_ns=20))
    assert [event.bid for event in log.events] == [1.0, 1.0, 2.0]


def test_where_nobody_is_greeted_the_first_image_of_a_session_is_one_like_any_other():
    stream, log = images_of(UNNUMBERED, A, B)
    stream.offer(bbo(B, None, 10, 1.0, made_ns=5))
    stream.offer(bbo(A, None, 12, 1.0, made_ns=7))
    assert log.kinds == ["Bbo", "Bbo"]


# -- images with neither number nor time --------------------------------------------------------


def shown(log):
    return [event.bid for event in log.events if isinstance(event, Bbo)]


def say(stream, *images):
    """Offer images without number and time: who, and what it shows."""
    for place, (source, bid) in enumerate(images):
        stream.offer(bbo(source, None, 100 + place, float(bid)))


def test_two_sessions_that_both_bring_untimed_images_say_each_once():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), (A, 2), (A, 3), (B, 2), (B, 3), (B, 4), (A, 4))
    assert shown(log) == [1, 2, 3, 4]
    assert stream.duplicates == 4
    assert stream.arrived == 8


def test_an_untimed_image_of_another_session_waits_for_the_one_that_leads():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), (B, 2), (B, 3))
    assert shown(log) == [1]
    assert stream.arrived == 4
    say(stream, (A, 2))
    assert shown(log) == [1, 2]
    say(stream, (A, 3))
    assert shown(log) == [1, 2, 3]


def test_what_waited_is_said_when_the_lead_ends():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), (B, 2), (B, 3))
    stream.detach(A.epoch, "closed", at(200))
    assert log.kinds == ["Bbo"] * 3
    assert shown(log) == [1, 2, 3]
    say(stream, (B, 4))
    assert shown(log) == [1, 2, 3, 4]


def test_a_session_that_is_behind_takes_over_where_the_lead_ended():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), (A, 2), (A, 3))
    stream.detach(A.epoch, "closed", at(200))
    say(stream, (B, 2), (B, 3), (B, 4))
    assert shown(log) == [1, 2, 3, 4]
    assert log.kinds == ["Bbo"] * 4


def test_the_lead_is_followed_again_when_it_is_only_another_that_ends():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), (B, 2))
    stream.detach(B.epoch, "closed", at(200))
    assert stream.dropped == 1
    say(stream, (A, 2), (A, 2), (A, 1))
    assert shown(log) == [1, 2, 2, 1]


def test_a_lead_that_is_half_a_second_behind_gives_way_without_a_mark():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), (B, 2))
    stream.tick(at(102 + HOLD_NS - 1))
    assert shown(log) == [1]
    stream.tick(at(102 + HOLD_NS))
    assert shown(log) == [1, 2]
    say(stream, (A, 2), (A, 3))
    assert shown(log) == [1, 2]  # now it is B that leads, and A that waits
    say(stream, (B, 3))
    assert shown(log) == [1, 2, 3]
    assert not log.gaps


def test_a_successor_that_is_greeted_with_what_we_have_says_nothing_new():
    stream, log = images_of(UNNUMBERED, A)
    say(stream, (A, 1), (A, 2))
    stream.attach(B, at(150))
    say(stream, (B, 2), (A, 3), (B, 3))
    stream.detach(A.epoch, "planned", at(200))
    say(stream, (B, 4))
    assert shown(log) == [1, 2, 3, 4]
    assert log.kinds == ["Bbo"] * 4


def test_a_session_that_came_while_the_lead_was_silent_cannot_vouch_for_it():
    for noticed in (True, False):
        stream, log = images_of(UNNUMBERED, A)
        say(stream, (A, 1))
        stream.attach(B, at(150))
        say(stream, (B, 9))
        assert shown(log) == [1]
        if noticed:
            stream.suspect(A.epoch, "silent", at(HOLD_NS * 2), covered_ns=120)
        else:
            stream.tick(at(HOLD_NS * 2))
        assert log.kinds == ["Bbo", "Gap", "Bbo", "Resynced"]
        assert log.gaps[0].cause == ("silent" if noticed else "a line fell behind")
        say(stream, (B, 10))
        assert shown(log) == [1, 9, 10]


def test_what_the_lead_leaves_out_is_not_said_late():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), (B, 2), (A, 3), (B, 3), (A, 4))
    stream.tick(at(HOLD_NS * 2))
    assert shown(log) == [1, 3, 4]
    assert stream.duplicates == 3


def test_untimed_images_begin_anew_behind_a_gap():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), (B, 2))
    for source in (A, B):
        stream.suspect(source.epoch, "silent", at(SECOND))
    assert log.kinds == ["Bbo", "Bbo"]  # B was sound when A was first suspected
    say(stream, (A, 1))  # it was seen before, and proves nothing
    assert log.kinds == ["Bbo", "Bbo", "Gap", "Bbo", "Resynced"]
    say(stream, (B, 1), (A, 5), (B, 5))
    assert shown(log) == [1, 2, 1, 5]


def test_what_waits_is_bounded():
    stream, log = images_of(UNNUMBERED, A, B)
    say(stream, (A, 1), (B, 1), *((B, n) for n in range(2, LATELY_MAX + 12)))
    assert stream.dropped == 10
    assert stream.arrived == LATELY_MAX + 12
    stream.detach(A.epoch, "closed", at(SECOND))
    assert len(shown(log)) == LATELY_MAX + 1
    assert shown(log)[-1] == LATELY_MAX + 11


@given(
    order=st.lists(st.sampled_from([A, B]), min_size=20, max_size=60),
    shows=st.lists(st.integers(1, 99), min_size=40, max_size=40, unique=True),
    gone=st.tuples(st.sampled_from([A, B]), st.integers(1, 60)),
)
def test_however_two_sessions_race_and_one_ends_each_untimed_image_is_said_once(order, shows, gone):
    stream, log = images_of(UNNUMBERED, A, B)
    sent = {A: 0, B: 0}
    lost, end = gone
    say(stream, (A, shows[0]), (B, shows[0]))
    for place, source in enumerate(order):
        if place == end:
            stream.detach(lost.epoch, "closed", at(200))
        if (place < end or source is not lost) and sent[source] + 1 < len(shows):
            sent[source] += 1
            say(stream, (source, shows[sent[source]]))
    assert shown(log) == shows[: len(shown(log))]
    assert not log.gaps
    other = B if lost is A else A
    if end < len(order):
        assert len(shown(log)) == len(set(shown(log))) >= sent[other] + 1


# -- properties -------------------------------------------------------------------------------


class OrderedImages(RuleBasedStateMachine):
    """Sessions that drop, repeat, reorder, stall, come and go; every image is a known one."""

    topic = ORDERED

    def __init__(self):
        super().__init__()
        self.now_ns = 0
        self.made_ns = [0]  # when image i was made; its bid is i
        self.sessions: dict[int, int] = {}  # epoch -> how far it has sent
        self.epochs = 0
        self.shown: list[int] = []
        self.dark = False  # nobody carried the topic since the last mark
        self.gapped = False
        self.resynced_next = False
        self.stream = ImageStream(self.topic, self.read, Log().needs.append)

    def read(self, event: Event) -> None:
        assert not self.resynced_next or isinstance(event, Resynced)
        if isinstance(event, Gap):
            self.gapped, self.dark = True, False
            assert event.first is event.last is event.missing is None
            assert event.since_ns <= event.until_ns
            if self.shown:  # nothing that may be unseen was made before the interval
                assert event.since_ns <= WALL + self.made_ns[self.shown[-1]] + self.now_ns
        elif isinstance(event, Resynced):
            if event.by == "ids":  # the very image shown last came again: nothing in between
                assert not self.gapped
                self.dark = False
            else:
                assert self.resynced_next
                assert event.by == "snapshot"
            self.resynced_next = self.gapped = False
        else:
            assert isinstance(event, Bbo)
            assert not self.dark, "after nobody carried the topic, a gap comes before an image"
            self.shown.append(int(event.bid or 0))
            self.resynced_next = self.gapped

    def image(self, epoch: int, number: int) -> Bbo:
        numbered = self.topic.numbering is Numbering.ORDERED
        made_ns = self.made_ns[number]
        source = self.origins[epoch]
        return bbo(source, number if numbered else None, self.now_ns, float(number), made_ns)

    @initialize()
    def begin(self):
        self.origins = {}
        self.open(acked=True)

    @rule(ms=st.integers(1, 50))
    def make(self, ms):
        self.now_ns += ms * MS
        self.made_ns.append(self.now_ns)

    @precondition(lambda self: len(self.sessions) < 3)
    @rule(acked=st.booleans())
    def open(self, acked):
        self.epochs += 1
        self.origins[self.epochs] = origin(self.epochs, self.topic.channel)
        self.sessions[self.epochs] = len(self.made_ns) - 1
        if acked:
            self.stream.attach(self.origins[self.epochs], at(self.now_ns))

    def pick(self, which: int) -> int:
        return sorted(self.sessions)[which % len(self.sessions)]

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), skip=st.integers(1, 3))
    def deliver(self, which, skip):
        epoch = self.pick(which)
        number = min(self.sessions[epoch] + skip, len(self.made_ns) - 1)
        self.sessions[epoch] = number
        self.stream.offer(self.image(epoch, number))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2), back=st.integers(1, 5))
    def repeat(self, which, back):
        epoch = self.pick(which)
        self.stream.offer(self.image(epoch, max(0, self.sessions[epoch] - back)))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2))
    def suspect(self, which):
        self.stream.suspect(self.pick(which), "silent", at(self.now_ns))

    @precondition(lambda self: self.sessions)
    @rule(which=st.integers(0, 2))
    def lose(self, which):
        epoch = self.pick(which)
        del self.sessions[epoch]
        known = epoch in self.stream.sources
        self.stream.detach(epoch, "closed", at(self.now_ns))
        if known and not self.stream.sources:
            self.dark = True

    @invariant()
    def no_step_back_and_no_repeat(self):
        assert self.shown == sorted(set(self.shown))
        assert self.stream.delivered == len(self.shown)
        if self.dark:
            assert self.stream.blind

    def teardown(self):
        """Whatever happened, one good session and a new image later all is well."""
        self.open(acked=True)
        self.make(1)
        self.stream.offer(self.image(self.epochs, len(self.made_ns) - 1))
        self.now_ns += HOLD_NS  # no other session brings it
        self.stream.tick(at(self.now_ns))
        assert self.shown[-1] == len(self.made_ns) - 1
        assert self.stream.trust is Trust.LIVE
        assert not self.gapped


class UnnumberedImages(OrderedImages):
    topic = UNNUMBERED


TestOrderedImages = OrderedImages.TestCase
TestUnnumberedImages = UnnumberedImages.TestCase
TestOrderedImages.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestUnnumberedImages.settings = TestOrderedImages.settings
