"""OKX's dialect: messages as the documents print them, traps by name, hostile input."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import zlib

import pytest
from hypothesis import given
from tests.venues.speech import JUNK, MONO, RECV, check, mutated, origins, planted, read, reordered
from tests.venues.speech import places as places_of

from gapless.core.codec import (
    Ack,
    Asked,
    Denied,
    Granted,
    Heartbeat,
    Refusal,
    Request,
    Shutdown,
    Status,
    Stray,
)
from gapless.core.kinds import stream_for
from gapless.core.secrets import Secrets
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, SnapshotFrom
from gapless.core.subscriptions import batches
from gapless.errors import DecodeError, UsageError
from gapless.events import Bbo, BookDelta, BookSnapshot, Gap, Ticker, Trade
from gapless.venues._okx import OkxCodec, option_families
from gapless.venues.okx import BUSINESS, CHECKSUM, PROFILES, login_request

(PROFILE,) = PROFILES
REST = PROFILE.rest
BOOK, IMAGE, BEST = "books:BTC-USDT", "books5:BCH-USDT-SWAP", "bbo-tbt:BCH-USDT-SWAP"
TRADES, ALL, TICKER = "trades:BTC-USDT", "trades-all:BTC-USDT", "tickers:BTC-USDT"
MARK, INDEX = "mark-price:LTC-USD-190628", "index-tickers:BTC-USDT"
FUNDING, INTEREST = "funding-rate:BTC-USD-SWAP", "open-interest:BTC-USDT-SWAP"
PUT = "opt-summary:BTC-USD-241013-70000-P"
CALL = "opt-summary:BTC-USD-241013-80000-C"
TICKERS = (TICKER, MARK, INDEX, FUNDING, INTEREST, PUT, CALL)
TOPICS = {
    BOOK: "book",
    IMAGE: "book",
    BEST: "bbo",
    TRADES: "trades",
    ALL: "trades",
} | dict.fromkeys(TICKERS, "ticker")
ORIGINS = origins("okx", TOPICS)
CODEC = OkxCodec(ORIGINS)
WITH_TEXTS = OkxCodec(ORIGINS, texts=True)


def push(topic, *rows, **more):
    channel, _, name = topic.partition(":")
    return {"arg": {"channel": channel, "instId": name}, **more, "data": list(rows)}


SNAPSHOT = {
    "asks": [["8476.98", "415", "0", "13"], ["8477", "7", "0", "2"]],
    "bids": [["8476.97", "256", "0", "12"]],
    "ts": "1597026383085",
    "checksum": 0,
    "prevSeqId": -1,
    "seqId": 123456,
}
CHANGE = SNAPSHOT | {
    "asks": [["8476.98", "415", "0", "13"]],
    "bids": [["8476.97", "0", "0", "0"]],
    "prevSeqId": 123456,
    "seqId": 123457,
}
LEVEL5 = {
    "asks": [["111.06", "55154", "0", "2"], ["111.07", "53276", "0", "2"]],
    "bids": [["111.05", "57745", "0", "2"], ["111.04", "57109", "0", "2"]],
    "instId": "BCH-USDT-SWAP",
    "ts": "1670324386802",
    "seqId": 363996337,
}
LEVEL1 = {
    "asks": [["111.06", "55154", "0", "2"]],
    "bids": [["111.05", "57745", "0", "2"]],
    "ts": "1670324386802",
    "seqId": 363996337,
}
TRADE = {
    "instId": "BTC-USDT",
    "tradeId": "130639474",
    "px": "42219.9",
    "sz": "0.12060306",
    "side": "buy",
    "ts": "1630048897897",
    "count": "3",
    "source": "0",
    "seqId": 1234,
}
FILL = {
    "instId": "BTC-USDT",
    "tradeId": "130639474",
    "px": "42219.9",
    "sz": "0.12060306",
    "side": "buy",
    "source": "0",
    "ts": "1630048897897",
}
TICKED = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "last": "9999.99",
    "lastSz": "0.1",
    "askPx": "9999.99",
    "askSz": "11",
    "bidPx": "8888.88",
    "bidSz": "5",
    "open24h": "9000",
    "high24h": "10000",
    "low24h": "8888.88",
    "volCcy24h": "2222",
    "vol24h": "2223",
    "sodUtc0": "2222",
    "sodUtc8": "2222",
    "ts": "1597026383085",
}
MARKED = {
    "instType": "FUTURES",
    "instId": "LTC-USD-190628",
    "markPx": "0.1",
    "ts": "1597026383085",
}
INDEXED = {"instId": "BTC-USDT", "idxPx": "0.1", "high24h": "0.5", "ts": "1597026383085"}
FUNDED = {
    "formulaType": "noRate",
    "fundingRate": "0.0001875391284828",
    "fundingTime": "1700726400000",
    "instId": "BTC-USD-SWAP",
    "instType": "SWAP",
    "interestRate": "",
    "maxFundingRate": "0.00375",
    "nextFundingRate": "",
    "nextFundingTime": "1700755200000",
    "settState": "settled",
    "ts": "1700724675402",
}
HELD = {
    "instId": "BTC-USDT-SWAP",
    "instType": "SWAP",
    "oi": "2216113.01000000309",
    "oiCcy": "22161.1301000000309",
    "oiUsd": "1939251795.54769270396321",
    "ts": "1743041250440",
}
SUMMED = {
    "instType": "OPTION",
    "instId": "BTC-USD-241013-70000-P",
    "uly": "BTC-USD",
    "delta": "-1.1180902625",
    "gamma": "2.2361957091",
    "vega": "0.0000000001",
    "theta": "0.0000032334",
    "lever": "8.465747567",
    "markVol": "0.3675503331",
    "bidVol": "0",
    "askVol": "1.1669998535",
    "realVol": "",
    "deltaBS": "-0.9999672034",
    "gammaBS": "0.0000000002",
    "thetaBS": "28.2649858387",
    "vegaBS": "0.0000114332",
    "ts": "1728703155650",
    "fwdPx": "62604.6993093463",
    "volLv": "0.2044711229",
}
SUMMARY = {"arg": {"channel": "opt-summary", "instFamily": "BTC-USD"}, "data": [SUMMED]}
GRANTED = {
    "id": "1512",
    "event": "subscribe",
    "arg": {"channel": "books", "instId": "BTC-USDT"},
    "connId": "a4d3ae55",
}
REFUSED = {
    "id": "1512",
    "event": "error",
    "code": "60018",
    "msg": "Wrong URL or channel:trades,instId:BTC-USDT doesn't exist. Please use the correct URL,"
    " channel and parameters referring to API document.",
    "connId": "a4d3ae55",
}
INVALID = {
    "id": "1512",
    "event": "error",
    "code": "60012",
    "msg": 'Invalid request: {"op": "subscribe", "argss":[{ "channel" : "books", "instId" : "X"}]}',
    "connId": "a4d3ae55",
}
NOTICE = {
    "event": "notice",
    "code": "64008",
    "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
    "connId": "a4d3ae55",
}
LOGGED_IN = {"event": "login", "code": "0", "msg": "", "connId": "a4d3ae55"}
LOGIN_FAILED = {"event": "error", "code": "60009", "msg": "Login failed.", "connId": "a4d3ae55"}
COUNTED = {"event": "channel-conn-count", "channel": "orders", "connCount": "2", "connId": "abcd"}
OVER = {"event": "channel-conn-count-error", "channel": "orders", "connCount": "30", "connId": "a"}
DATA = [
    push(BOOK, SNAPSHOT, action="snapshot"),
    push(BOOK, CHANGE, action="update"),
    push(IMAGE, LEVEL5),
    push(BEST, LEVEL1),
    push(TRADES, TRADE),
    push(ALL, FILL),
    push(TICKER, TICKED),
    push(MARK, MARKED),
    push(INDEX, INDEXED),
    push(FUNDING, FUNDED),
    push(INTEREST, HELD),
    SUMMARY,
]
MESSAGES = [*DATA, GRANTED, REFUSED, INVALID, NOTICE, LOGGED_IN, LOGIN_FAILED, COUNTED, OVER]


# -- books ----------------------------------------------------------------------------------------


def test_the_snapshot_of_a_book():
    [event] = read(CODEC, push(BOOK, SNAPSHOT, action="snapshot"))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (123456, 123456)
    assert event.event_ns == 1597026383085 * 10**6
    assert event.bids == [(8476.97, 256.0)]
    assert event.asks == [(8476.98, 415.0), (8477.0, 7.0)]
    assert event.origin.topic == BOOK
    assert event.texts is None


def test_the_change_of_a_book_covers_everything_since_the_one_before():
    [event] = read(CODEC, push(BOOK, CHANGE, action="update"))
    assert isinstance(event, BookDelta)
    assert (event.first, event.last) == (123457, 123457)
    assert (event.bids, event.asks) == ([(8476.97, 0.0)], [(8476.98, 415.0)])
    [event] = read(CODEC, push(BOOK, CHANGE | {"seqId": 200000}, action="update"))
    assert (event.first, event.last) == (123457, 200000)


def documented_numbers():
    """Yield the venue's own example: previous number, number."""
    yield from [(-1, 10), (10, 15), (15, 15), (15, 3), (3, 5)]


def test_the_documented_run_of_numbers_is_whole_with_its_beat_and_its_reset():
    events, needs = [], []
    spec = PROFILE.topic("book", "BTC-USDT")
    stream = stream_for(spec, events.append, needs.append)
    stream.attach(ORIGINS[BOOK], Moment(MONO, RECV))
    for prev, seq in documented_numbers():
        levels = {} if prev != seq else {"bids": [], "asks": []}
        row = CHANGE | levels | {"prevSeqId": prev, "seqId": seq}
        for event in read(CODEC, push(BOOK, row, action="snapshot" if prev < 0 else "update")):
            stream.offer(event)
    assert [(e.first, e.last) for e in events[1:]] == [(11, 15), (16, 15), (16, 3), (4, 5)]
    assert not any(isinstance(event, Gap) for event in events)
    assert needs == []
    assert stream.readable


def test_a_beat_without_levels_is_legal():
    beat = CHANGE | {"asks": [], "bids": [], "prevSeqId": 123457, "seqId": 123457}
    [event] = read(CODEC, push(BOOK, beat, action="update"))
    assert (event.first, event.last, event.bids, event.asks) == (123458, 123457, [], [])


def test_a_reset_below_the_number_before_is_legal():
    [event] = read(CODEC, push(BOOK, CHANGE | {"prevSeqId": 15, "seqId": 3}, action="update"))
    assert (event.first, event.last) == (16, 3)


def test_a_change_that_does_not_say_what_it_follows_is_refused():
    for lacking in ({"prevSeqId": -1}, {"prevSeqId": None}, {"seqId": None}):
        with pytest.raises(DecodeError, match="a change from"):
            read(CODEC, push(BOOK, CHANGE | lacking, action="update"))


def test_checksum_0_is_none_and_costs_no_texts():
    [event] = read(CODEC, push(BOOK, CHANGE | {"checksum": 0}, action="update"))
    assert event.texts is None
    [event] = read(WITH_TEXTS, push(BOOK, CHANGE | {"checksum": 0}, action="update"))
    assert event.texts.checksum is None
    assert event.texts.bids == [("8476.97", "0")]


def test_a_real_checksum_of_an_old_recording_comes_with_the_literal_digits():
    levels = {"asks": [["8476.980", "4.150", "0", "13"]], "bids": []}
    row = CHANGE | levels | {"checksum": -855196043}
    [event] = read(CODEC, push(BOOK, row, action="update"))
    assert event.texts.checksum == -855196043
    assert event.texts.asks == [("8476.980", "4.150")]
    assert event.texts.bids == []


def test_recordings_without_numbers_decode_without_numbers():
    old = {k: v for k, v in CHANGE.items() if k not in {"seqId", "prevSeqId"}} | {"checksum": 7}
    for action, kind in (("snapshot", BookSnapshot), ("update", BookDelta)):
        [event] = read(CODEC, push(BOOK, old, action=action))
        assert isinstance(event, kind)
        assert (event.first, event.last, event.texts.checksum) == (None, None, 7)


def test_the_checksum_interleaves_25_levels_of_each_side_and_is_signed():
    bids, asks = [("3366.1", "7"), ("3366", "6")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")]
    line = b"3366.1:7:3366.8:9:3366:6:3368:8:3372:8"  # as the venue's older document writes it
    expected = zlib.crc32(line)
    assert CHECKSUM.compute(bids, asks) == expected - (2**32 if expected >= 2**31 else 0)
    assert CHECKSUM.compute(asks, bids) != CHECKSUM.compute(bids, asks)
    assert CHECKSUM.depth == 25
    assert CHECKSUM.compute([("1", "1")], []) == zlib.crc32(b"1:1") - 2**32


def test_five_levels_come_whole_every_time():
    [event] = read(CODEC, push(IMAGE, LEVEL5))
    assert isinstance(event, BookSnapshot)
    assert (event.first, event.last) == (363996337, 363996337)
    assert event.bids == [(111.05, 57745.0), (111.04, 57109.0)]
    assert event.texts is None
    [event] = read(WITH_TEXTS, push(IMAGE, LEVEL5))
    assert event.texts.asks == [("111.06", "55154"), ("111.07", "53276")]


def test_the_image_that_is_repeated_after_a_minute_is_a_duplicate():
    events = []
    spec = PROFILE.topic("book.5", "BCH-USDT-SWAP")
    stream = stream_for(spec, events.append, lambda need: None)
    for ts in ("1670324386802", "1670324446802"):
        for event in read(CODEC, push(IMAGE, LEVEL5 | {"ts": ts})):
            stream.offer(event)
    assert (stream.delivered, stream.duplicates) == (1, 1)


# -- best quotes, trades, tickers -----------------------------------------------------------------


def test_the_best_quote_by_tick():
    [event] = read(CODEC, push(BEST, LEVEL1))
    assert isinstance(event, Bbo)
    assert (event.bid, event.bid_size, event.ask, event.ask_size) == (111.05, 57745, 111.06, 55154)
    assert (event.first, event.last) == (363996337, 363996337)
    [event] = read(CODEC, push(BEST, LEVEL1 | {"bids": []}))
    assert (event.bid, event.bid_size, event.ask) == (None, None, 111.06)


def test_a_trade_that_aggregates_covers_the_ids_it_names():
    [event] = read(CODEC, push(TRADES, TRADE | {"tradeId": "123", "count": "3"}))
    assert isinstance(event, Trade)
    assert (event.first, event.last, event.id) == (121, 123, "123")  # the document's example
    assert (event.price, event.size, event.side) == (42219.9, 0.12060306, "buy")
    assert event.event_ns == 1630048897897 * 10**6
    assert not event.backfilled


def test_a_trade_without_a_count_is_one():
    [event] = read(CODEC, push(ALL, FILL))
    assert (event.first, event.last) == (130639474, 130639474)


def test_more_trades_than_ids_is_refused():
    with pytest.raises(DecodeError):
        read(CODEC, push(TRADES, TRADE | {"tradeId": "1", "count": "3"}))


def ticker(message):
    [event] = read(CODEC, message)
    assert isinstance(event, Ticker)
    skipped = {"origin", "recv_ns", "mono_ns", "event_ns", "first", "last"}
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return {n: value for n, value in fields.items() if n not in skipped and value is not None}


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (
            push(TICKER, TICKED),
            {"price": 9999.99, "bid": 8888.88, "ask": 9999.99, "volume": 2223.0},
        ),
        (push(MARK, MARKED), {"mark": 0.1}),
        (push(INDEX, INDEXED), {"index": 0.1}),
        (
            push(FUNDING, FUNDED),
            {"funding": 0.0001875391284828, "next_funding_ns": 1700726400000 * 10**6},
        ),
        (push(INTEREST, HELD), {"open_interest": 2216113.01000000309}),
        (
            SUMMARY,
            {
                "underlying": 62604.6993093463,
                "mark_iv": 0.3675503331,
                "ask_iv": 1.1669998535,
                "delta": -0.9999672034,
                "gamma": 0.0000000002,
                "theta": 28.2649858387,
                "vega": 0.0000114332,
            },
        ),
    ],
    ids=["24h", "mark", "index", "funding", "open-interest", "greeks"],
)
def test_each_channel_of_the_ticker_fills_the_fields_it_has_and_no_other(message, fields):
    assert ticker(message) == fields


def test_an_empty_text_is_no_price():
    assert ticker(push(TICKER, TICKED | {"bidPx": "", "bidSz": "", "last": ""})) == {
        "ask": 9999.99,
        "volume": 2223.0,
    }


def test_one_subscription_of_a_family_brings_every_strike_to_its_own_topic():
    other = SUMMED | {"instId": "BTC-USD-241013-80000-C", "markVol": "0.4"}
    unwanted = SUMMED | {"instId": "BTC-USD-241013-90000-C"}
    one, two = read(CODEC, SUMMARY | {"data": [SUMMED, other, unwanted]})
    assert (one.origin.topic, one.mark_iv) == (PUT, 0.3675503331)
    assert (two.origin.topic, two.mark_iv) == (CALL, 0.4)


@pytest.mark.parametrize("message", DATA)
def test_the_order_of_keys_does_not_matter(message):
    assert read(OkxCodec(ORIGINS), reordered(message)) == read(CODEC, message)
    assert read(OkxCodec(ORIGINS), json.dumps(message, indent=2)) == read(CODEC, message)


def test_the_second_frame_of_a_topic_is_read_like_the_first():
    codec = OkxCodec(ORIGINS)
    for message in DATA:
        assert read(codec, message) == read(codec, message)


# -- requests -------------------------------------------------------------------------------------


def asked_args(request):
    return json.loads(request.text)["args"]


def test_a_subscribe_names_objects_and_its_id_is_alphanumeric():
    [request] = CODEC.subscribe(7, (BOOK, TICKER))
    assert json.loads(request.text) == {
        "id": "7",
        "op": "subscribe",
        "args": [
            {"channel": "books", "instId": "BTC-USDT"},
            {"channel": "tickers", "instId": "BTC-USDT"},
        ],
    }
    assert json.loads(request.text)["id"].isalnum()
    assert (request.id, request.topics, request.pool) == (7, (BOOK, TICKER), "subscribe")
    assert CODEC.asked(request.text) == Asked("subscribe", 7, (BOOK, TICKER))


def test_options_of_a_family_are_one_arg_and_granted_together():
    codec = OkxCodec(ORIGINS)
    [request] = codec.subscribe(7, (PUT, CALL))
    assert asked_args(request) == [{"channel": "opt-summary", "instFamily": "BTC-USD"}]
    assert request.topics == (PUT, CALL)
    granted = read(codec, GRANTED | {"arg": SUMMARY["arg"]})
    assert isinstance(granted, Granted)
    assert {PUT, CALL} <= set(granted.topics)


def test_a_family_ends_with_the_last_of_its_options():
    codec = OkxCodec(ORIGINS)
    codec.subscribe(7, (PUT, CALL))
    assert codec.unsubscribe(8, (PUT,)) == []
    [request] = codec.unsubscribe(9, (CALL,))
    assert asked_args(request) == [{"channel": "opt-summary", "instFamily": "BTC-USD"}]


def test_an_unsubscribe_looks_like_the_subscribe():
    [request] = CODEC.unsubscribe(8, (BOOK,))
    assert json.loads(request.text)["op"] == "unsubscribe"
    assert CODEC.asked(request.text) == Asked("unsubscribe", 8, (BOOK,))


def test_a_request_stays_below_64_kilobytes():
    topics = [f"books:{n:X}-USDT" for n in range(4000)]
    allowed = PROFILE.request_bytes.value
    for batch in batches(topics, PROFILE.topics_per_request.value, allowed):
        [request] = CODEC.subscribe(999_999_999, batch)
        assert len(request.text.encode()) <= 64_000


def test_ping_and_pong_are_bare_words():
    assert CODEC.beat(5) == Request(0, "reply", "ping")
    assert read(CODEC, "pong") == Heartbeat()
    assert CODEC.asked("ping") is None
    assert PROFILE.client_beat_ns.value < 30 * 10**9


def test_news_of_maintenance_are_asked_for_where_the_endpoint_has_them():
    request = OkxCodec(origins("okx", {BOOK: "book"})).once_live(9)
    assert asked_args(request) == [{"channel": "status"}]
    ack = {"id": "9", "event": "subscribe", "arg": {"channel": "status"}, "connId": "a"}
    assert read(CODEC, ack) == Ack(9)
    assert OkxCodec(origins("okx", {ALL: "trades"})).once_live(9) is None
    status = {"arg": {"channel": "status"}, "data": [{"state": "scheduled", "title": "upgrade"}]}
    reading = read(CODEC, status)
    assert isinstance(reading, Status)
    assert "upgrade" in reading.evidence


# -- login ----------------------------------------------------------------------------------------

SECRETS = Secrets("key-1", "22582BD0CFF14C41EDBF1AB98506286D", "word of mouth")


def test_the_login_is_signed_over_seconds_as_the_document_says():
    request = login_request(3, SECRETS, 1704876947_999_000_000, "unused")
    [args] = asked_args(request)
    message = b"1704876947GET/users/self/verify"
    digest = hmac.new(SECRETS.secret.encode(), message, hashlib.sha256).digest()
    assert args == {
        "apiKey": "key-1",
        "passphrase": "word of mouth",
        "timestamp": "1704876947",
        "sign": base64.b64encode(digest).decode(),
    }
    assert (request.id, request.kind, request.pool) == (3, "login", "subscribe")


def test_what_is_shown_of_a_login_holds_no_secret_and_reads_as_a_login():
    request = login_request(3, SECRETS, 1704876947 * 10**9, "unused")
    [args] = asked_args(request)
    assert request.shown is not None
    for secret in (SECRETS.key, SECRETS.secret, SECRETS.passphrase, args["sign"]):
        assert secret not in request.shown
    assert "1704876947" in request.shown
    assert CODEC.asked(request.shown) == Asked("login", None, ())


def test_the_answer_to_a_login_has_no_id():
    assert read(CODEC, LOGGED_IN) == Ack(0)
    assert read(CODEC, LOGIN_FAILED) == Refusal(None, 60009, "Login failed.", ordered=True)


def test_only_books_by_tick_need_a_login():
    private = {c.name: c.private for c in PROFILE.every_channel() if c.private}
    assert private == {"book": frozenset({"50-tbt", "400-tbt"})}
    assert PROFILE.login_request is login_request


# -- readings -------------------------------------------------------------------------------------


def test_every_arg_is_acked_by_itself():
    assert read(CODEC, GRANTED) == Granted((BOOK,))
    assert read(CODEC, GRANTED | {"event": "unsubscribe"}) == Ack(1512)


def test_an_error_lacks_arg_and_names_the_topic_in_its_text():
    reading = read(CODEC, REFUSED)
    assert isinstance(reading, Denied)
    assert (reading.topics, reading.code) == ((TRADES,), 60018)
    assert "doesn't exist" in reading.detail


def test_an_error_that_names_no_topic_of_ours_refuses_the_request():
    other = REFUSED | {"msg": "channel:trades,instId:NO-SUCH doesn't exist"}
    assert read(CODEC, other) == Refusal(1512, 60018, other["msg"])
    reading = read(CODEC, INVALID)
    assert isinstance(reading, Refusal)
    assert (reading.request_id, reading.code, reading.ordered) == (1512, 60012, False)


def test_a_fee_tier_too_low_refuses_the_request():
    text = "Your trading fee tier doesn't meet the requirement to access this channel"
    assert read(CODEC, INVALID | {"code": "64003", "msg": text}) == Refusal(1512, 64003, text)


def test_too_many_requests_end_the_session():
    reading = read(CODEC, INVALID | {"code": "60014", "msg": "Requests too frequent"})
    assert isinstance(reading, Refusal)
    assert reading.limited


def test_the_notice_before_an_upgrade_is_a_shutdown():
    assert read(CODEC, NOTICE) == Shutdown(NOTICE["msg"])
    assert isinstance(read(CODEC, NOTICE | {"code": "60000"}), Status)


@pytest.mark.parametrize("message", [COUNTED, OVER])
def test_counts_of_connections_are_news_even_after_the_ack(message):
    reading = read(CODEC, message)
    assert isinstance(reading, Status)
    assert message["event"] in reading.evidence


def test_a_channel_that_nobody_asked_for_is_a_stray():
    assert read(CODEC, push("books:ETH-USDT", SNAPSHOT, action="snapshot")) == Stray(
        "channel books:ETH-USDT"
    )
    assert isinstance(read(CODEC, push("candle1m:BTC-USDT", TICKED)), Stray)
    assert isinstance(read(CODEC, {"event": "weather"}), Stray)
    assert isinstance(read(CODEC, {"table": "spot/trade", "data": []}), Stray)


# -- the profile ----------------------------------------------------------------------------------


def test_no_endpoint_names_the_retired_port():
    endpoints = PROFILE.endpoints.value
    assert not any(":8443" in url for url in (*endpoints.public, *endpoints.test))


def test_all_trades_are_on_the_business_endpoint_and_nothing_else_is():
    paths = {
        f"{channel.name}.{variant}": PROFILE.path_of(f"{channel.name}.{variant}")
        for channel in PROFILE.every_channel()
        for variant in channel.topics
    }
    assert [name for name, path in paths.items() if path == BUSINESS] == ["trades.all"]
    assert set(paths.values()) == {BUSINESS, "/ws/v5/public"}


def test_what_each_channel_s_numbers_prove():
    def spec(channel):
        found = PROFILE.topic(channel, "BTC-USDT")
        return found.topic, found.numbering, found.snapshot

    assert spec("book") == (BOOK, Numbering.CHAIN, SnapshotFrom.STREAM)
    assert spec("book.400-tbt")[0] == "books-l2-tbt:BTC-USDT"
    assert spec("book.50-tbt")[0] == "books50-l2-tbt:BTC-USDT"
    assert spec("book.5") == ("books5:BTC-USDT", Numbering.ORDERED, SnapshotFrom.EVERY)
    assert spec("bbo") == ("bbo-tbt:BTC-USDT", Numbering.ORDERED, None)
    assert spec("trades") == (TRADES, Numbering.DENSE, None)
    assert spec("trades.all") == (ALL, Numbering.DENSE, None)
    assert spec("ticker") == (TICKER, Numbering.NONE, None)


def test_every_topic_is_recognised_as_what_it_is():
    recognise = PROFILE.recogniser()
    for channel in PROFILE.every_channel():
        for variant in channel.topics:
            spec = PROFILE.topic(f"{channel.name}.{variant}", "BTC-USD_UM-250808")
            assert recognise(spec.topic) == spec
    assert recognise("candle1m:BTC-USDT") is None


def test_the_venue_retired_its_checksum():
    assert PROFILE.checksum.value is None
    assert PROFILE.topic("book", "BTC-USDT").checksum is CHECKSUM  # for recordings


def test_480_operations_an_hour():
    pool = PROFILE.budgets().pools["subscribe"]
    for _ in range(480):
        assert pool.wait_ns(0) == 0
        pool.note(0)
    assert pool.wait_ns(0) == 3600 * 10**9


def test_a_symbol_cannot_leave_its_topic():
    with pytest.raises(UsageError):
        PROFILE.topic("book", 'X","instType":"ANY')


# -- REST -----------------------------------------------------------------------------------------

PAST = {
    "code": "0",
    "msg": "",
    "data": [
        FILL | {"tradeId": "242720720", "side": "sell", "px": "29963.2", "ts": "1654161646974"},
        FILL | {"tradeId": "242720719", "side": "sell", "px": "29964.1", "ts": "1654161641568"},
    ],
}


def test_past_trades_are_asked_for_from_the_newest_down():
    get = REST.trades(TRADES, "BTC-USDT", 242720700, 242720720)
    assert get.path == "/api/v5/market/history-trades"
    assert dict(get.query) == {
        "instId": "BTC-USDT",
        "type": "1",
        "after": "242720721",  # "records earlier than the requested tradeId"
        "limit": "100",
    }
    assert (get.pool, get.units) == ("rest", 1)
    assert REST.trades(BOOK, "BTC-USDT", 1, 2) is None
    assert REST.snapshot("BTC-USDT") is None


def test_past_trades_come_oldest_first_and_marked():
    older, newer = REST.read_trades(json.dumps(PAST).encode(), ORIGINS[TRADES], RECV, MONO)
    assert (older.first, older.last, older.price) == (242720719, 242720719, 29964.1)
    assert (newer.id, newer.side, newer.backfilled) == ("242720720", "sell", True)


def instrument(**fields):
    row = {
        "instId": "BTC-USDT",
        "instType": "SPOT",
        "state": "live",
        "baseCcy": "BTC",
        "quoteCcy": "USDT",
        "settleCcy": "",
        "uly": "",
        "expTime": "",
        "listTime": "1606468572000",
        "stk": "",
        "optType": "",
    }
    body = json.dumps({"code": "0", "msg": "", "data": [row | fields]}).encode()
    [read] = REST.read_instruments(body)
    return read


def test_an_instrument_of_spot():
    spot = instrument()
    assert (spot.symbol, spot.kind, spot.base, spot.quote) == ("BTC-USDT", "spot", "BTC", "USDT")
    assert (spot.settle, spot.state, spot.expiry_ns) == (None, "open", None)
    assert spot.listed_ns == 1606468572000 * 10**6


def test_an_option_s_coins_come_from_its_underlying():
    option = instrument(
        instId="BTC-USD-220228-35000-C",
        instType="OPTION",
        baseCcy="",
        quoteCcy="",
        settleCcy="BTC",
        uly="BTC-USD",
        expTime="1646035200000",
        stk="35000",
        optType="C",
    )
    assert (option.kind, option.base, option.quote, option.settle) == (
        "option",
        "BTC",
        "USD",
        "BTC",
    )
    assert (option.strike, option.right) == (35000.0, "call")
    assert option.expiry_ns == 1646035200000 * 10**6


@pytest.mark.parametrize(
    ("state", "ours"),
    [
        ("live", "open"),
        ("post_only", "open"),
        ("preopen", "listed"),
        ("suspend", "halted"),
        ("rebase", "halted"),
        ("test", "halted"),
        ("settling", "settling"),
        ("never heard of", "halted"),
    ],
)
def test_states_of_instruments(state, ours):
    assert instrument(state=state).state == ours


def test_a_perpetual_has_no_expiry_though_it_may_be_taken_off():
    swap = instrument(instType="SWAP", instId="X-USDT-SWAP", uly="X-USDT", expTime="1646035200000")
    assert (swap.kind, swap.expiry_ns) == ("perp", None)


def test_options_are_listed_by_family_and_everything_else_by_type():
    *types, families = REST.instruments()
    assert [dict(get.query)["instType"] for get in types] == ["SPOT", "SWAP", "FUTURES"]
    assert families.path == "/api/v5/public/underlying"
    body = b'{"code":"0","data":[["BTC-USD","ETH-USD","../x"]],"msg":""}'
    assert REST.read_instruments(body) == [], "a list of families holds no instrument"
    more = option_families(families, body)
    assert [dict(get.query) for get in more] == [
        {"instType": "OPTION", "instFamily": "BTC-USD"},
        {"instType": "OPTION", "instFamily": "ETH-USD"},
    ]
    assert option_families(types[0], b'{"code":"0","data":[],"msg":""}') == ()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data":[[7]]}'])
def test_families_that_cannot_be_read_are_an_error(body):
    with pytest.raises(DecodeError):
        option_families(REST.instruments()[-1], body)


def test_an_error_of_rest_is_told_from_data():
    fault = {"code": "51001", "msg": "Instrument ID does not exist", "data": []}
    assert REST.read_error(json.dumps(fault).encode()) == (51001, "Instrument ID does not exist")
    assert REST.read_error(json.dumps(PAST).encode()) is None
    assert REST.read_error(b"<html>") is None


# -- hostile input --------------------------------------------------------------------------------


def survives(text):
    """Like `tests.venues.speech.survives`, but numbers may lead back: this venue's may."""
    codec = OkxCodec(ORIGINS, texts=True)
    out = []
    with contextlib.suppress(DecodeError):
        out = read(codec, text)
    for event in out if isinstance(out, list) else []:
        if isinstance(event, BookDelta) and event.first is not None:
            assert 0 <= event.last < 2**63
            assert 0 <= event.first < 2**63
        else:
            check(event)


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_junk_in_any_place_is_read_or_refused(message, junk):
    for path in places_of(message):
        survives(planted(message, path, junk))


@given(text=mutated(MESSAGES))
def test_mutated_messages_are_read_or_refused(text):
    survives(text)


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_from_rest_is_read_or_refused(junk):
    listed = {"code": "0", "data": [{"instId": "X", "instType": "SPOT", "state": "live"}]}
    for message in (PAST, listed):
        for path in places_of(message):
            body = planted(message, path, junk).encode(errors="surrogatepass")
            for reader in (
                lambda body: REST.read_trades(body, ORIGINS[TRADES], RECV, MONO),
                REST.read_instruments,
                REST.read_error,
            ):
                with contextlib.suppress(DecodeError):
                    reader(body)


@pytest.mark.parametrize("price", ['"NaN"', '"1e400"', '"-inf"', '"1_0"', '" 1"', '"١"', '"0x1"'])
def test_a_number_that_is_none_is_refused(price):
    for message, old in ((DATA[6], '"9999.99"'), (DATA[0], '"8477"'), (DATA[4], '"42219.9"')):
        text = json.dumps(message).replace(old, price)
        with pytest.raises(DecodeError):
            read(CODEC, text)


@pytest.mark.parametrize("junk", JUNK)
def test_a_hostile_request_in_a_capture_is_read_or_refused(junk):
    request = json.loads(CODEC.subscribe(7, (BOOK,))[0].text)
    for path in places_of(request):
        with contextlib.suppress(DecodeError):
            CODEC.asked(planted(request, path, junk))


def test_what_the_venue_says_is_shown_safely():
    for message in (
        push("x\x1b[2J:y", TICKED),
        NOTICE | {"msg": "\x1b[2J" * 999},
        INVALID | {"msg": "\x00" * 999},
        {"event": "\x1b"},
    ):
        shown = str(read(CODEC, message))
        assert "\x1b" not in shown
        assert len(shown) < 2000
