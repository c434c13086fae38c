"""One topic: its book is the product's, its checksums are compared to the end."""

from __future__ import annotations

import pytest
from tests.inspection.talk import ORIGIN, SECOND, delta, image, spec, trade

from gapless.core.checksum import Checksum
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, SnapshotFrom
from gapless.events import Gap, Texts
from gapless.inspection.topics import FAILURES_MAX, Topic, add

DENSE, CHAIN, NONE = Numbering.DENSE, Numbering.CHAIN, Numbering.NONE
STREAM = SnapshotFrom.STREAM
NOW = Moment(0, 0)
# A checksum that a reader can work out: how many levels there are.
COUNT = Checksum(10, lambda bids, asks: len(bids) + len(asks))


class Played:
    """A topic on one connection, told events the way the inspector tells them."""

    def __init__(self, of):
        self.events = []
        self.topic = Topic(of, self.events.append, lambda need: None)
        self.leg = self.topic.join(ORIGIN, "ws", NOW)
        self.frame = 0

    def tell(self, *events):
        for event in events:
            self.frame += 1
            self.topic.compare(self.leg, event, self.frame)
            self.topic.stream.offer(event)
            self.topic.look(event, self.frame)
        return self


def texts(checksum, *levels):
    return Texts([(str(p), str(s)) for p, s in levels], [], checksum)


def test_a_numbered_book_is_synced_until_its_chain_breaks():
    played = Played(spec(CHAIN, STREAM))
    assert played.topic.state == "syncing"
    played.tell(image(10, [(1.0, 1.0)]), delta(11, 20, [(2.0, 1.0)]))
    assert (played.topic.state, played.topic.broken) == ("synced", 0)
    played.tell(delta(31, 40))
    assert (played.topic.state, played.topic.broken) == ("broken", 1)
    assert [type(event) for event in played.events].count(Gap) == 1
    played.tell(image(50))
    assert (played.topic.state, played.topic.broken) == ("synced", 1)
    sums = played.topic.sums()
    assert (sums.checked, sums.broken) == (2, 1)


def test_frames_rates_and_the_longest_silence():
    topic = Played(spec(NONE)).topic
    for frame, second in ((1, 10), (2, 11), (7, 15), (9, 16)):
        topic.seen(frame, second * SECOND)
    assert topic.frames == 4
    assert (topic.first_ns, topic.last_ns) == (10 * SECOND, 16 * SECOND)
    assert (topic.silence_ns, topic.silence_frame) == (4 * SECOND, 7)


def test_a_crossed_book_is_counted_and_its_first_frame_kept():
    played = Played(spec(CHAIN, STREAM))
    played.tell(image(1, [(10.0, 1.0)], [(11.0, 1.0)]))
    assert played.topic.crossed == 0
    played.tell(delta(2, 2, [(11.0, 1.0)]), delta(3, 3, [(12.0, 1.0)]), delta(4, 4, [(12.0, 0.0)]))
    assert (played.topic.crossed, played.topic.crossed_frame) == (3, 2)


def test_checksums_are_compared_on_after_one_failed():
    played = Played(spec(NONE, STREAM, checksum=COUNT))
    played.tell(
        image(None, [(1.0, 1.0)], texts=texts(1, (1.0, 1.0))),
        delta(None, None, [(2.0, 1.0)], texts=texts(2, (2.0, 1.0))),
        delta(None, None, [(4.0, 1.0)], texts=texts(4, (4.0, 1.0))),  # the third never came
        delta(None, None, [(5.0, 1.0)], texts=texts(5, (5.0, 1.0))),
        delta(None, None, [(3.0, 1.0)], texts=texts(5, (3.0, 1.0))),  # now it is there
        delta(None, None, [(7.0, 1.0)], texts=texts(7, (7.0, 1.0))),  # another was lost
    )
    assert played.topic.checksums() == (6, 3)
    assert played.topic.failures == [3, 6]
    assert played.topic.state == "broken"


def test_a_message_without_a_checksum_says_nothing_of_the_last_one():
    played = Played(spec(NONE, STREAM, checksum=COUNT))
    played.tell(
        image(None, [(1.0, 1.0)], texts=texts(1, (1.0, 1.0))),
        delta(None, None, [(3.0, 1.0)], texts=texts(3, (3.0, 1.0))),
        delta(None, None, [(4.0, 1.0)], texts=texts(None, (4.0, 1.0))),
        delta(None, None, [(5.0, 1.0)], texts=texts(5, (5.0, 1.0))),
    )
    assert played.topic.checksums() == (3, 2)
    assert played.topic.failures == [2]


def test_a_dialect_without_the_numbers_of_today_is_followed_without_them():
    played = Played(spec(CHAIN, STREAM, checksum=COUNT))
    played.tell(
        image(None, [(1.0, 1.0)], texts=texts(1, (1.0, 1.0))),
        delta(None, None, [(2.0, 1.0)], texts=texts(2, (2.0, 1.0))),
    )
    assert played.topic.spec.numbering is NONE
    assert played.topic.state == "synced"
    assert played.topic.checksums() == (2, 0)
    assert played.topic.sums().checked == 0


def test_a_greeting_of_past_trades_begins_the_count():
    played = Played(spec(DENSE))
    played.tell(*(trade(number, backfilled=True) for number in (5, 6, 7)), trade(8), trade(10))
    sums = played.topic.sums()
    assert sums.checked == 2
    assert [(one.expected, one.got) for one in sums.breaks] == [(9, 10)]
    played.tell(*(trade(number, backfilled=True) for number in (9, 10)))
    assert played.topic.sums().duplicates == 0


def test_a_connection_that_lost_something_breaks_its_books():
    played = Played(spec(NONE, STREAM))
    played.tell(image(None, [(1.0, 1.0)]), delta(None, None, [(2.0, 1.0)]))
    assert played.topic.state == "synced"
    played.topic.distrust(ORIGIN, NOW)
    played.tell(delta(None, None, [(3.0, 1.0)]))
    assert (played.topic.state, played.topic.broken) == ("broken", 1)
    played.tell(image(None, [(4.0, 1.0)]))
    assert played.topic.state == "synced"


def test_what_a_closed_connection_brought_still_counts():
    played = Played(spec(DENSE))
    played.tell(trade(1), trade(2), trade(4))
    played.topic.leave(played.leg, 1, NOW)
    assert played.topic.stream.blind
    again = played.topic.join(ORIGIN, "other", NOW)
    again.follow(1, 1, 9, None)
    again.follow(2, 2, 10, None)
    sums = played.topic.sums()
    assert (sums.checked, sums.broken) == (3, 1)
    assert [one.connection for one in sums.breaks] == ["ws"]


def test_repeats_without_numbers_are_those_that_the_stream_saw():
    played = Played(spec(Numbering.IDENTITY))
    played.tell(trade(5), trade(6), trade(5))
    assert played.topic.sums().duplicates == 1


def test_the_list_of_failures_is_cut():
    played = Played(spec(NONE, STREAM, checksum=COUNT))
    played.tell(image(None, [(1.0, 1.0)], texts=texts(1, (1.0, 1.0))))
    for _ in range(FAILURES_MAX + 5):
        played.tell(
            delta(None, None, [(1.0, 2.0)], texts=texts(9, (1.0, 2.0))),
            delta(None, None, [(1.0, 3.0)], texts=texts(1, (1.0, 3.0))),
        )
    assert len(played.topic.failures) == FAILURES_MAX
    assert played.topic.checksums()[1] == FAILURES_MAX + 5


@pytest.mark.parametrize("numbering", [DENSE, NONE])
def test_a_topic_that_is_no_book_has_no_state(numbering):
    topic = Played(spec(numbering)).topic
    assert topic.book is None
    assert (topic.state, topic.broken, topic.checksums()) == ("", 0, (0, 0))


def test_sums_keep_the_breaks_in_order_of_their_frames():
    one, other = (Played(spec(DENSE)).leg for _ in range(2))
    for leg, frames in ((one, (5, 6)), (other, (1, 2))):
        leg.follow(1, 1, frames[0], None)
        leg.follow(3, 3, frames[1], None)
    add(one, other)
    assert [found.frame for found in one.breaks] == [2, 6]


def test_a_book_that_waits_too_long_begins_anew_and_keeps_its_count():
    played = Played(spec(DENSE, SnapshotFrom.REST))
    played.tell(delta(1, 2), delta(3, 4))
    before = played.topic.stream
    played.topic.let_go(NOW)
    assert played.topic.stream is not before
    assert played.topic.stream.arrived == 0
    assert 1 in played.topic.stream.sources
    played.tell(delta(5, 6))
    assert played.topic.sums().checked == 2
