"""Which frames are left out: any that carries data, by a seed, and no others."""

from __future__ import annotations

from collections import Counter

from tests.inspection.talk import BOOK, TRADES, change, numbered, record, snapshot, trades

from gapless.inspection.dropping import Lot
from gapless.inspection.inspector import Inspector
from gapless.venues._registry import load

FRAMES = [
    record(1, "", "open", url="wss://www.deribit.com/ws/api/v2"),
    record(2, {"jsonrpc": "2.0", "id": 1, "method": "public/test"}, "out"),
    record(3, {"jsonrpc": "2.0", "id": 1, "result": [BOOK]}),
    record(4, snapshot(10)),
    record(5, change(10, 15)),
    record(6, trades(1, 2)),
    record(7, {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}}),
    record(8, "no JSON"),
    record(9, trades()),
]


def drawn(count, seed, frames=FRAMES):
    lot = Lot(Inspector(load("deribit")), count, seed)
    for one in frames:
        lot.feed(one)
    return [(one.frame, one.topics) for one in lot.drawn()]


def test_only_frames_with_data_are_left_out():
    assert drawn(99, 0) == [(4, (BOOK,)), (5, (BOOK,)), (6, (TRADES,))]


def test_a_seed_decides_which():
    frames = numbered(trades(number) for number in range(1, 400))
    assert drawn(7, 1, frames) == drawn(7, 1, frames)
    assert drawn(7, 1, frames) != drawn(7, 2, frames)
    assert len({frame for frame, _ in drawn(7, 1, frames)}) == 7


def test_every_frame_is_as_likely_as_any_other():
    frames = numbered(trades(number) for number in range(1, 11))
    hits = Counter(frame for seed in range(600) for frame, _ in drawn(3, seed, frames))
    # 180 expected of each; 11 is the standard deviation.
    assert all(130 < hits[number] < 230 for number in range(1, 11))
