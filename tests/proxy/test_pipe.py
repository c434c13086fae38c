"""Bytes on their way: late, cut, held or ended, but never lost, repeated or reordered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.proxy.board import FaultBoard, Flow
from gapless.proxy.faults import Fault
from gapless.proxy.pipe import End, Pipe
from gapless.proxy.plan import Plan

MS = 1_000_000
FLOW = Flow("ws", 1)


def pipe(*faults, way="in", flow=FLOW, seed=1):
    board = FaultBoard(Plan(faults=faults), seed, 0)
    return board, Pipe(board, flow, way)


def pull_all(pipe, now_ns):
    out = []
    while (item := pipe.pull(now_ns)) is not None:
        out.append(item)
    return out


def test_without_faults_all_passes_at_once():
    board, p = pipe()
    p.push(b"abc", 5)
    p.push(b"def", 6)
    p.end(End.FIN, 7)
    assert pull_all(p, 7) == [b"abc", b"def", End.FIN]
    assert (p.backlog_bytes, p.passed_bytes, p.next_ns) == (0, 6, None)
    assert not board.log


def test_latency_is_exact_on_both_sides_and_also_delays_the_end():
    board, p = pipe(Fault(name="latency", delay_ms=80))
    p.push(b"abc", 10 * MS)
    p.end(End.FIN, 11 * MS)
    assert p.pull(90 * MS - 1) is None
    assert p.next_ns == 90 * MS
    assert pull_all(p, 90 * MS) == [b"abc", End.FIN]
    assert board.records[0].struck == 1


def test_jitter_stays_in_its_bounds_keeps_the_order_and_repeats_with_its_seed():
    def arrivals(seed):
        _, p = pipe(Fault(name="latency", delay_ms=80, jitter_ms=30), seed=seed)
        seen = []
        for n in range(200):
            at_ns = n * 200 * MS
            p.push(b"%d" % n, at_ns)
            assert p.pull(at_ns) is None
            seen.append(p.next_ns - at_ns)
            assert p.pull(p.next_ns) == b"%d" % n
        return seen

    first = arrivals(1)
    assert min(first) >= 50 * MS
    assert max(first) <= 110 * MS
    assert max(first) - min(first) > 40 * MS
    assert arrivals(1) == first != arrivals(2)


def test_jitter_never_reorders():
    _, p = pipe(Fault(name="latency", delay_ms=80, jitter_ms=80))
    for n in range(100):
        p.push(bytes([n]), n * MS)
    assert b"".join(pull_all(p, 10_000 * MS)) == bytes(range(100))


def test_bandwidth_passes_so_many_bytes_in_a_second():
    _, p = pipe(Fault(name="bandwidth", bytes_per_s=1000))
    p.push(bytes(2500), 0)
    passed = {}
    now_ns = 0
    while p.backlog_bytes:
        p.pull(now_ns)
        passed[now_ns] = p.passed_bytes
        now_ns = p.next_ns or now_ns
    for at_ns, count in passed.items():
        assert count <= at_ns / 1e6 + 10
    assert max(passed) == 2490 * MS


def test_a_slicer_cuts_and_waits():
    _, p = pipe(Fault(name="slicer", size_bytes=2, delay_ms=1))
    p.push(b"abcde", 0)
    assert p.pull(0) == b"ab"
    assert p.pull(0) is None
    assert p.next_ns == MS
    assert p.pull(MS) == b"cd"
    assert p.pull(2 * MS) == b"e"


def test_without_a_wait_a_slicer_still_hands_out_one_slice_a_turn():
    _, p = pipe(Fault(name="slicer"))
    p.push(b"ab", 0)
    assert pull_all(p, 0) == [b"a"]
    assert pull_all(p, 1) == [b"b"]


@pytest.mark.parametrize(("way", "name"), [("in", "half_open_in"), ("out", "half_open_out")])
def test_a_half_open_direction_holds_all_until_it_is_cleared(way, name):
    board, p = pipe(Fault(name=name), way=way)
    assert board.records[0].struck == 0  # nothing has been held yet
    p.push(b"abc", 0)
    p.end(End.RESET, 1)
    assert p.pull(10**15) is None
    assert p.next_ns is None
    assert board.records[0].struck == 1
    board.retire(board.records[0])
    assert pull_all(p, 10**15) == [b"abc", End.RESET]


def test_a_half_open_direction_leaves_the_other_alone():
    _, p = pipe(Fault(name="half_open_in"), way="out")
    p.push(b"abc", 0)
    assert pull_all(p, 0) == [b"abc"]


def test_a_slow_close_delays_only_the_end():
    board, p = pipe(Fault(name="slow_close", delay_ms=50))
    p.push(b"abc", 0)
    p.end(End.FIN, 0)
    assert pull_all(p, 0) == [b"abc"]
    assert p.pull(50 * MS - 1) is None
    assert p.pull(50 * MS) is End.FIN
    assert board.records[0].struck == 1


@given(n=st.integers(0, 12), chunks=st.lists(st.binary(min_size=1, max_size=5), max_size=5))
def test_stop_after_passes_exactly_so_many_bytes(n, chunks):
    total = b"".join(chunks)
    for then in ("silence", "reset", "close"):
        board, p = pipe(Fault(name="stop_after", n_bytes=n, then=then))
        for chunk in chunks:
            p.push(chunk, 0)
        out = pull_all(p, 0)
        stopped = End.RESET in out or End.FIN in out
        passed = b"".join(out[:-1] if stopped else out)
        assert total.startswith(passed)
        if then == "silence":
            assert len(passed) == min(n, len(total))
            assert board.records[0].struck == (len(total) > n)
        elif len(total) >= n:
            assert len(passed) == n
            assert board.records[0].struck == 1


def test_stop_after_counts_from_the_first_byte_even_if_it_comes_later():
    board, p = pipe()
    p.push(bytes(100), 0)
    assert len(b"".join(pull_all(p, 0))) == 100
    board.add(Fault(name="stop_after", n_bytes=60, then="reset"), 0)
    assert p.pull(0) is End.RESET


def test_a_time_that_is_over_lets_everything_go_on():
    board, p = pipe(Fault(name="half_open_in", at_s=1, for_s=1), Fault(name="slicer", for_s=3))
    board.advance(1_500 * MS)
    p.push(b"abc", 1_500 * MS)
    assert p.pull(1_500 * MS) is None
    board.advance(2_000 * MS)
    assert p.pull(2_000 * MS) == b"a"
    board.advance(3_000 * MS)
    assert p.pull(3_000 * MS) == b"bc"


def test_count_bounds_connections_and_probability_is_drawn_once_for_each():
    board = FaultBoard(Plan(faults=(Fault(name="half_open_in", count=2),)), 1, 0)
    held = []
    for number in range(1, 5):
        p = Pipe(board, Flow("ws", number), "in")
        p.push(b"x", 0)
        held.append(p.pull(0) is None)
    assert held == [True, True, False, False]

    board = FaultBoard(Plan(faults=(Fault(name="half_open_in", probability=0.5),)), 1, 0)
    held = []
    for number in range(1, 201):
        p = Pipe(board, Flow("ws", number), "in")
        p.push(b"x", 0)
        first = p.pull(0) is None
        if first:
            assert p.pull(1) is None
        held.append(first)
    assert 70 < sum(held) < 130
    assert board.records[0].struck == sum(held)
