"""Which venue a capture is from: what it says, whom it dialled, where it lies, who can read it."""

from __future__ import annotations

from tests.inspection.talk import change, depth, numbered, record, snapshot

from gapless.inspection.telling import fitting
from gapless.venues._registry import load, names

KNOWN = [load(name) for name in names()]
DERIBIT = numbered([snapshot(10), change(10, 15), change(15, 20)])


def told(sample, folder="captures", said=None):
    return [profile.name for profile in fitting(sample, folder, KNOWN, said)]


def test_what_the_capture_says_of_itself_is_believed():
    assert told(DERIBIT, "okx", said="binance.spot") == ["binance.spot"]
    assert told(DERIBIT, said="nobody") == ["deribit"]


def test_the_host_that_was_dialled_tells():
    opened = record(1, "", "open", url="wss://www.deribit.com/ws/api/v2")
    assert told([opened], "binance") == ["deribit"]


def test_of_two_on_one_host_the_path_tells():
    spot = record(1, "", "open", url="wss://stream.bybit.com/v5/public/spot")
    linear = record(2, "", "open", "other", url="wss://stream.bybit.com/v5/public/linear")
    assert told([spot]) == ["bybit.spot"]
    assert told([linear]) == ["bybit.linear"]
    assert told([spot, linear]) == ["bybit.spot"]  # the other connection says so itself


def test_the_folder_narrows_the_choice():
    frame = depth(1, 5)
    assert told(numbered([frame]), "binance") == ["binance.spot"]


def test_without_a_word_it_is_who_reads_most():
    assert told(DERIBIT) == ["deribit"]


def test_where_several_read_the_same_their_hallmarks_decide():
    def sample(**more):
        data = {"e": "depthUpdate", "E": 1, "T": 1, "s": "X", "U": 1, "u": 2, "b": [], "a": []}
        return numbered([{"stream": "btcusd_perp@depth@100ms", "data": {**data, **more}}])

    assert not {"binance.usdm", "binance.coinm"} & set(told(sample(), "binance"))
    assert told(sample(pu=0), "binance") == ["binance.usdm"]
    assert told(sample(pu=0, ps="BTCUSD"), "binance") == ["binance.coinm"]


def test_where_several_fit_all_of_them_are_named():
    frame = '{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"BTCUSDT",'
    frame += '"b":[["1","1"]],"a":[],"u":1,"seq":1}}'
    assert {"bybit.linear", "bybit.spot"} <= set(told(numbered([frame])))


def test_where_nobody_can_read_it_nobody_is_named():
    assert told(numbered([{"hello": "world"}, "not JSON"])) == []
    assert told([]) == []


def test_one_frame_in_a_hundred_is_no_proof():
    frames = numbered([snapshot(1), *({"hello": n} for n in range(99))])
    assert told(frames) == []
