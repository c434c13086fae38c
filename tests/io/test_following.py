"""Topics come and go; what they counted stays counted."""

from __future__ import annotations

from gapless.core.booksync import BookStream
from gapless.core.placement import Placement
from gapless.core.sequence import Numbering
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import Moment, SnapshotFrom, TopicSpec
from gapless.events import Origin, Trade
from gapless.io.following import Following


def spec(name, channel="trades"):
    snapshot = SnapshotFrom.STREAM if channel == "book" else None
    return TopicSpec("toy", channel, name, f"{channel}.{name}", Numbering.DENSE, snapshot)


def following(aside=(), most=None, letters="a"):
    return Following(Placement(letters, most), tuple(aside), lambda event: None, lambda need: None)


def test_what_comes_gets_a_stream_of_its_kind_and_a_line():
    each = following()
    assert each.add(spec("X"), "/ws", 0) == ["a"]
    assert each.add(spec("X", "book"), "/ws", 0) == ["a"]
    assert isinstance(each.streams["trades.X"], SequencedStream)
    assert isinstance(each.streams["book.X"], BookStream)
    assert each.topics_of("a") == ("trades.X", "book.X")


def test_what_is_followed_already_is_not_added_twice():
    each = following()
    each.add(spec("X"), "/ws", 0)
    stream = each.streams["trades.X"]
    assert each.add(spec("X"), "/ws", 0) == []
    assert each.streams["trades.X"] is stream


def test_what_goes_leaves_its_counts_and_an_empty_line():
    each = following(most=1)
    each.add(spec("X"), "/ws", 0)
    each.add(spec("Y"), "/ws", 0)
    stream = each.streams["trades.X"]
    origin = Origin("toy", "trades", "X", "trades.X", "a", 1)
    stream.attach(origin, Moment(0, 0))
    for number in (1, 2, 4):
        stream.offer(Trade(origin, 0, 0, 0, number, number, str(number), 1.0, 1.0, "buy"))
    assert each.remove("trades.X") == ["a"]
    assert list(each.streams) == ["trades.Y"]
    assert not stream.sources, "whoever fetches for it sees that nobody wants it"
    kept = each.retired
    assert (kept.topics, kept.received, kept.delivered) == (1, 3, 3)
    assert (kept.gaps, kept.missing) == (1, 1)
    assert each.remove("trades.X") == []


def test_the_line_that_carries_the_venues_news_stays():
    each = following(aside=("news",), most=1)
    each.add(spec("X"), "/ws", 0)
    each.add(spec("Y"), "/ws", 0)
    assert each.topics_of("a") == ("news", "trades.X")
    assert each.topics_of("a2") == ("trades.Y",)
    assert each.remove("trades.X") == []
    assert each.remove("trades.Y") == ["a2"]
    assert each.topics_of("a") == ("news",)


def test_priority_comes_first_and_otherwise_the_order_in_which_they_came():
    each = following()
    for name, priority in (("X", 0), ("Y", 1), ("Z", 0), ("W", 2)):
        each.add(spec(name), "/ws", priority)
    assert each.topics_of("a") == ("trades.W", "trades.Y", "trades.X", "trades.Z")


def test_planned_silence_is_not_watched():
    each = following(aside=("news",))
    each.add(spec("X"), "/ws", 0)
    each.add(spec("Y"), "/ws", 0)
    each.planned["trades.X"] = "it has expired"
    assert each.watched("a") == ("trades.Y",)
    assert each.watched("gone") == ()


def test_what_two_ask_for_is_followed_until_neither_does():
    each = following()
    assert each.add(spec("X"), "/ws", 0, "options") == ["a"]
    assert each.add(spec("X"), "/ws", 3, "near ones") == []
    stream = each.streams["trades.X"]
    assert each.priorities == {"trades.X": 3}
    assert not each.release("trades.X", "near ones")
    assert not each.release("trades.X", "near ones"), "who has let go cannot let go again"
    assert each.streams["trades.X"] is stream
    assert each.release("trades.X", "options")


def test_what_was_named_stays_whatever_a_selection_lets_go():
    each = following()
    each.placement.begin(["trades.X"], {"trades.X": "/ws"})
    each.begin((spec("X"),))
    each.add(spec("X"), "/ws", 0, "perps")
    assert not each.release("trades.X", "perps")


def test_what_nobody_follows_cannot_be_let_go():
    assert not following().release("trades.X", "perps")
