"""Topics are found when a frame names them, and only those that the venue has."""

from __future__ import annotations

from gapless.core.stream import Moment, TopicSpec
from gapless.events import Origin
from gapless.inspection.connections import STRANGE_MAX, Connection, Origins
from gapless.inspection.topics import Topic
from gapless.venues._registry import load


def find(name):
    return Origin("venue", "book", "X", name, "ws", 1) if name.startswith("book.") else None


def test_a_topic_is_there_once_it_was_asked_for():
    origins = Origins(find)
    assert list(origins) == []
    assert origins.get("book.x") is origins["book.x"]
    assert list(origins) == ["book.x"]
    assert len(origins) == 1
    assert "book.x" in origins


def test_what_the_venue_does_not_have_is_never_there():
    origins = Origins(find)
    assert origins.get("kline.x") is None
    assert origins.get("kline.x", 7) == 7
    assert "kline.x" not in origins
    assert list(origins) == []


def test_a_strange_name_is_looked_for_once():
    asked = []

    def counting(name):
        asked.append(name)

    origins = Origins(counting)
    for _ in range(3):
        origins.get("kline.x")
    assert asked == ["kline.x"]
    for number in range(STRANGE_MAX + 5):
        origins.get(f"strange.{number}")
    before = len(asked)
    origins.get(f"strange.{STRANGE_MAX + 4}")  # not remembered any more
    assert len(asked) == before + 1


def connection(place):
    profile = load("deribit")
    moment = Moment(0, 0)
    return Connection("ws", 3, profile, profile.recogniser(), place, lambda: moment, texts=False)


def test_a_connection_follows_each_topic_that_its_codec_finds():
    placed: list[TopicSpec] = []

    def place(spec):
        placed.append(spec)
        return Topic(spec, lambda event: None, lambda need: None)

    one = connection(place)
    origin = one.origins["trades.BTC-PERPETUAL.raw"]
    assert (origin.channel, origin.symbol, origin.line, origin.epoch) == (
        "trades",
        "BTC-PERPETUAL",
        "ws",
        3,
    )
    leg, topic = one.legs["trades.BTC-PERPETUAL.raw"]
    assert topic.spec is placed[0]
    assert leg.connection == "ws"
    assert 3 in topic.stream.sources


def test_a_topic_that_has_no_place_any_more_is_not_found():
    assert connection(lambda spec: None).origins.get("trades.BTC-PERPETUAL.raw") is None


def test_only_a_venue_that_counts_its_frames_has_a_counter():
    assert connection(lambda spec: None).counter is None
