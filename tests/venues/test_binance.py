"""What Binance's venues share: requests of other clients, frames without envelope, void ids."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.venues.speech import JUNK, mutated, origins, places, planted, read, reordered, survives

from gapless.core.codec import Ack, Asked, Refusal, Stray
from gapless.errors import DecodeError
from gapless.events import BookDelta, BookSnapshot, Gap, Trade
from gapless.venues._binance import FuturesCodec, StreamCodec, optional
from gapless.venues.binance_spot import BinanceSpotCodec

DEPTH, TOP = "btcusdt@depth@100ms", "btcusdt@depth5"
TRADES = "btcusdt@trade"
UPDATE = {
    "e": "depthUpdate",
    "E": 123456789,
    "T": 123456788,
    "s": "BTCUSDT",
    "U": 157,
    "u": 160,
    "pu": 149,
    "b": [["0.0024", "10"]],
    "a": [["0.0026", "100"]],
}
TRADE = {
    "e": "trade",
    "E": 1746194730699,
    "T": 1746194730699,
    "s": "BTCUSDT",
    "t": 100,
    "p": "24670.90",
    "q": "0.070",
    "X": "MARKET",
    "m": True,
}
BARE = [UPDATE, TRADE]


def futures(*topics):
    channels = {"depth": "book", "trade": "trades", "aggTr": "trades", "bookT": "bbo"}
    named = {t: channels.get(t.partition("@")[2][:5], "ticker") for t in topics}
    return FuturesCodec(origins("binance.usdm", named))


# -- requests of other clients --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (
            '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":7}',
            Asked("subscribe", 7, ("btcusdt@trade",)),
        ),
        (
            '{"id":"a-name","params":["btcusdt@trade"],"method":"UNSUBSCRIBE"}',
            Asked("unsubscribe", None, ("btcusdt@trade",)),
        ),
        ('{"method":"LIST_SUBSCRIPTIONS","id":3}', Asked("listing", 3, ())),
        ('{"method":"SET_PROPERTY","params":["combined",true],"id":5}', Asked("setup", 5, ())),
        ('{"method":"GET_PROPERTY","params":["combined"],"id":2}', Asked("setup", 2, ())),
        ('{"method":"order.place","id":2}', None),
        ("{}", None),
    ],
)
def test_recorded_requests_are_read(text, asked):
    assert StreamCodec({}).asked(text) == asked


def test_what_we_ask_is_read_back():
    codec = futures(DEPTH)
    [subscribe] = codec.subscribe(1, (DEPTH, TRADES))
    assert codec.asked(subscribe.text) == Asked("subscribe", 1, (DEPTH, TRADES))
    [unsubscribe] = codec.unsubscribe(2, (DEPTH,))
    assert codec.asked(unsubscribe.text) == Asked("unsubscribe", 2, (DEPTH,))
    listing = codec.once_live(3)
    assert listing is not None
    assert codec.asked(listing.text) == Asked("listing", 3, ())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "hello", '{"method":7}', '{"params":{}}', '{"id":[]}', "[" * 100_000, '"\ud800"'],
)
def test_what_is_no_request_is_a_decode_error(text):
    with pytest.raises(DecodeError):
        StreamCodec({}).asked(text)


def test_a_reply_to_a_text_id_is_not_ours():
    codec = futures(DEPTH)
    assert isinstance(read(codec, {"result": None, "id": "abc"}), Stray)
    assert read(codec, {"code": 2, "msg": "no", "id": "abc"}) == Refusal(None, 2, "no")
    assert read(codec, {"result": True, "id": 2}) == Ack(2)


# -- frames without an envelope -------------------------------------------------------------------


def test_a_bare_frame_finds_its_topic_by_type_and_symbol():
    codec = futures(DEPTH, TRADES, "ethusdt@trade")
    [delta] = read(codec, UPDATE)
    assert isinstance(delta, BookDelta)
    assert (delta.origin.topic, delta.first, delta.last) == (DEPTH, 150, 160)
    [trade] = read(codec, json.dumps(TRADE, indent=2))
    assert (trade.origin.topic, trade.id) == (TRADES, "100")
    assert read(codec, reordered(UPDATE)) == [delta]


def test_a_bare_frame_is_read_as_what_is_subscribed():
    [image] = read(futures(TOP, TRADES), UPDATE)
    assert isinstance(image, BookSnapshot)
    assert image.origin.topic == TOP


def test_a_bare_frame_that_fits_two_topics_is_a_stray():
    assert isinstance(read(futures(DEPTH, TOP), UPDATE), Stray)
    assert isinstance(read(futures(DEPTH, "btcusdt@depth"), UPDATE), Stray)


def test_a_bare_frame_of_another_symbol_or_kind_is_a_stray():
    codec = futures(DEPTH)
    assert isinstance(read(codec, UPDATE | {"s": "ETHUSDT"}), Stray)
    assert isinstance(read(codec, TRADE), Stray)
    assert isinstance(read(codec, {"e": "kline", "s": "BTCUSDT", "k": {}}), Stray)


def test_a_bare_best_quote_of_spot_has_no_type_at_all():
    codec = BinanceSpotCodec(origins("binance.spot", {"bnbusdt@bookTicker": "bbo"}))
    frame = {"u": 400900217, "s": "BNBUSDT", "b": "25.35", "B": "31.2", "a": "25.36", "A": "40.6"}
    [best] = read(codec, frame)
    assert (best.origin.topic, best.last) == ("bnbusdt@bookTicker", 400900217)


class Growing(dict):
    """Origins that are made as they are asked for, as whoever reads captures has them."""

    def get(self, topic, default=None):
        if topic not in self:
            self.update(origins("binance.usdm", {topic: "book"}))
        return self[topic]


def test_a_bare_frame_may_bring_a_topic_that_nobody_has_named_yet():
    made = Growing()
    [delta] = read(FuturesCodec(made), UPDATE)
    assert isinstance(delta, BookDelta)
    assert list(made) == [DEPTH]
    assert [e.last for e in read(FuturesCodec(made), UPDATE)] == [160]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("message", BARE)
def test_junk_in_a_bare_frame_is_read_or_refused_and_never_worse(message, junk):
    codec = futures(DEPTH, TRADES, "btc\ud800@trade")
    for path in places(message):
        survives(codec, planted(message, path, junk))


@given(mutated(BARE))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_frames_near_bare_ones_are_read_or_refused(text):
    survives(futures(DEPTH, TRADES), text)


# -- ids that name no trade -----------------------------------------------------------------------


def trade(number, **changes):
    return {"stream": TRADES, "data": TRADE | {"t": number} | changes}


def void(number):
    return trade(number, p="0", q="0", X="NA")


def covered(codec, *frames):
    return [(e.first, e.last) for frame in frames for e in read(codec, frame)]


def test_a_void_id_is_covered_by_the_trade_after_it():
    codec = futures(TRADES)
    found = covered(codec, trade(100), void(101), void(102), trade(103), trade(104))
    assert found == [(100, 100), (101, 103), (104, 104)]


def test_a_void_id_hides_no_hole():
    assert covered(futures(TRADES), trade(100), void(101), trade(105)) == [(100, 100), (105, 105)]
    assert covered(futures(TRADES), void(101), void(104), trade(105)) == [(104, 105)]
    assert covered(futures(TRADES), void(101), trade(101)) == [(101, 101)]


def test_void_ids_of_one_topic_are_none_of_another():
    codec = futures(TRADES, "ethusdt@trade")
    other = {"stream": "ethusdt@trade", "data": TRADE | {"t": 102}}
    assert covered(codec, void(101), other, trade(102)) == [(102, 102), (101, 102)]


def test_a_trade_of_no_size_that_has_a_price_is_one():
    [event] = read(futures(TRADES), trade(100, q="0"))
    assert isinstance(event, Trade)
    assert (event.price, event.size) == (24670.9, 0.0)


def test_void_ids_make_no_gap():
    from gapless.core.sequenced import SequencedStream
    from gapless.venues.binance_usdm import PROFILES

    (profile,) = PROFILES
    events = []
    stream = SequencedStream(profile.topic("trades.raw", "BTCUSDT"), events.append, lambda _: None)
    codec = futures(TRADES)
    for frame in (trade(100), void(101), trade(102), trade(104)):
        for event in read(codec, frame):
            stream.offer(event)
    stream.tick(_later(events[0]))
    assert [type(event) for event in events] == [Trade, Trade, Gap, Trade]
    assert (events[2].first, events[2].last, events[2].missing) == (103, 103, 1)


def _later(event):
    from gapless.core.stream import HOLD_NS, Moment

    return Moment(event.mono_ns + HOLD_NS, event.recv_ns + HOLD_NS)


# -- the rest -------------------------------------------------------------------------------------


def test_a_topic_that_no_reader_knows_is_a_decode_error():
    codec = futures("btcusdt@kline_1m")
    with pytest.raises(DecodeError, match="of no kind that is read here"):
        read(codec, {"stream": "btcusdt@kline_1m", "data": {"e": "kline"}})


@pytest.mark.parametrize(("text", "number"), [("", None), ("0.00038167", 0.00038167), ("-1", -1.0)])
def test_numbers_that_may_be_missing(text, number):
    assert optional(text) == number


@pytest.mark.parametrize("text", ["x", "NaN", "inf", "1e400", "\ud800", "{}"])
def test_what_is_no_number_is_a_decode_error(text):
    with pytest.raises(DecodeError):
        optional(text)
