"""Round trips, and what an answered ping proves."""

from __future__ import annotations

from gapless.core.rtt import PINGS_MAX, Pings, RoundTrip

MS = 1_000_000


def test_the_first_sample_is_taken_whole_and_its_half_for_the_variation():
    trip = RoundTrip()
    assert trip.deadline_ns(500 * MS, 3000 * MS) == 500 * MS  # nothing is known
    trip.sample(400 * MS)
    assert (trip.srtt_ns, trip.rttvar_ns) == (400 * MS, 200 * MS)
    assert trip.deadline_ns(500 * MS, 3000 * MS) == 1200 * MS  # RFC 6298: 400 + 4 x 200


def test_later_samples_move_it_by_an_eighth_and_a_quarter():
    trip = RoundTrip()
    trip.sample(400 * MS)
    trip.sample(480 * MS)
    # RFC 6298: the variation moves by a quarter of |400 - 480| - 200, the mean by an eighth of 80
    assert (trip.srtt_ns, trip.rttvar_ns) == (410 * MS, 170 * MS)
    assert trip.newest_ns == 480 * MS


def test_the_deadline_is_bounded_on_both_sides():
    quick, slow = RoundTrip(), RoundTrip()
    quick.sample(MS)
    slow.sample(10_000 * MS)
    assert quick.deadline_ns(500 * MS, 3000 * MS) == 500 * MS
    assert slow.deadline_ns(500 * MS, 3000 * MS) == 3000 * MS


def test_an_answer_to_one_of_several_pings_proves_the_oldest_and_measures_nothing():
    pings = Pings()
    pings.sent(10)
    pings.sent(20)
    assert pings.waiting
    assert pings.answered(30) is None
    assert (pings.proven_ns, pings.waiting) == (10, False)
    assert pings.answered(31) is None  # nobody asked
    assert pings.proven_ns == 10
    pings.sent(40)
    assert pings.answered(47) == 7
    assert pings.proven_ns == 40


def test_pings_that_are_never_answered_are_bounded():
    pings = Pings()
    for now_ns in range(1, 100):
        pings.sent(now_ns)
    assert pings.answered(100) is None
    assert pings.proven_ns == 100 - PINGS_MAX
