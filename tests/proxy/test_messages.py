"""Messages of one direction: exactly the fault that was asked for, and no other."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.proxy.board import FaultBoard, Flow
from gapless.proxy.faults import Fault
from gapless.proxy.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameSplitter, build
from gapless.proxy.messages import MESSAGE_BYTES_MAX, Messages
from gapless.proxy.plan import Plan

MS = 1_000_000
FLOW = Flow("ws", 1)
KEY = b"\x11\x22\x33\x44"


class Bench:
    """One direction, what came out of it, and what it said to the other side."""

    def __init__(self, *faults, way="in", seed=1):
        self.board = FaultBoard(Plan(faults=faults), seed, 0)
        self.key = KEY if way == "out" else b""
        self.answers = []
        self.closed = []
        self.messages = Messages(
            self.board, FLOW, way, answer=self.answers.append, closed=self.closed.append
        )
        self.out = b""

    def text(self, *texts, now_ns=0):
        for text in texts:
            self.raw(build(TEXT, text.encode(), key=self.key), now_ns)

    def raw(self, data, now_ns=0):
        self.out += self.messages.feed(data, now_ns)

    def due(self, now_ns):
        self.out += self.messages.due(now_ns)

    def seen(self):
        """Return (opcode, fin, payload) of all that came out, and begin anew."""
        frames = parsed(self.out)
        self.out = b""
        return frames

    def texts(self):
        return [payload.decode() for _, _, payload in self.seen()]


def parsed(data):
    splitter = FrameSplitter(1 << 30)
    splitter.feed(data)
    frames = []
    while (piece := splitter.take(whole=True)) is not None:
        frames.append((piece.opcode, piece.fin, piece.payload()))
    assert splitter.rest() == b""
    return frames


FRAGMENTED = build(TEXT, b"a1", fin=False) + build(CONTINUATION, b"a2", fin=True)


def test_a_dropped_message_is_gone_and_only_the_one_that_matches():
    bench = Bench(Fault(name="drop", topic="b"))
    bench.text("a1", "b1", "a2", "b2")
    assert bench.texts() == ["a1", "a2", "b2"]
    (record,) = bench.board.records
    assert (record.struck, record.held_against, record.matched) == (1, 2, 1)
    (entry,) = bench.board.log
    assert (entry.frame, entry.opcode, entry.size_bytes, entry.direction) == (2, TEXT, 2, "in")


def test_a_pattern_is_found_anywhere_in_the_text_and_may_hold_signs():
    for topic, hit in (
        ("book.*.raw", 1),
        ("b??k", 1),
        ("[xb]ook", 1),
        ("BOOK", 0),
        ("raw.*book", 0),
    ):
        bench = Bench(Fault(name="drop", topic=topic))
        bench.text('{"channel":"book.BTC\\n.raw"}', "x\nbook.BTC.raw")
        assert len(bench.texts()) == 2 - hit, topic


def test_a_pattern_that_matches_nothing_is_known_in_the_end():
    bench = Bench(Fault(name="drop", topic="nowhere"))
    bench.text("a", "b")
    (record,) = bench.board.records
    assert (record.struck, record.held_against, record.matched) == (0, 2, 0)


def test_the_fragments_of_a_message_share_its_fate():
    bench = Bench(Fault(name="drop", topic="a1"))
    bench.raw(FRAGMENTED + build(TEXT, b"b"))
    assert bench.texts() == ["b"]
    bench = Bench(Fault(name="duplicate"))
    bench.raw(FRAGMENTED)
    assert bench.texts() == ["a1", "a2"] * 2
    bench = Bench(Fault(name="reorder"))
    bench.raw(FRAGMENTED + build(TEXT, b"b"))
    assert bench.texts() == ["b", "a1", "a2"]


def test_a_control_frame_between_fragments_passes_at_once():
    bench = Bench(Fault(name="delay", delay_ms=10))
    bench.raw(build(TEXT, b"a1", fin=False) + build(PING, b"p") + build(CONTINUATION, b"a2"))
    assert bench.seen() == [(PING, True, b"p")]
    bench.due(10 * MS)
    assert bench.texts() == ["a1", "a2"]


def test_a_duplicate_comes_right_behind():
    bench = Bench(Fault(name="duplicate", count=2))
    bench.text("a", "b", "c")
    assert bench.texts() == ["a", "a", "b", "b", "c"]


def test_a_reordered_message_is_overtaken_by_as_many_as_it_says():
    bench = Bench(Fault(name="reorder"))
    bench.text("a", "b", "c")
    assert bench.texts() == ["b", "a", "c"]
    bench = Bench(Fault(name="reorder", by=2))
    bench.text("a", "b", "c", "d")
    assert bench.texts() == ["b", "c", "a", "d"]


def test_a_reordered_message_of_a_topic_is_overtaken_by_its_own_kind():
    bench = Bench(Fault(name="reorder", topic="x"))
    bench.text("x1", "y1", "y2", "x2", "x3")
    assert bench.texts() == ["y1", "y2", "x2", "x1", "x3"]


def test_a_message_that_is_held_back_comes_out_when_its_fault_ends_or_the_stream_does():
    bench = Bench(Fault(name="reorder", count=2))
    bench.text("a")
    assert bench.texts() == []
    bench.board.retire(bench.board.records[0])
    bench.text("b")
    assert bench.texts() == ["b", "a"]
    bench = Bench(Fault(name="reorder"))
    bench.text("a")
    assert parsed(bench.messages.finish()) == [(TEXT, True, b"a")]


def test_a_delay_is_exact_and_others_overtake():
    bench = Bench(Fault(name="delay", topic="slow", delay_ms=50))
    bench.text("slow1", "fast1", now_ns=0)
    bench.text("slow2", "fast2", now_ns=10 * MS)
    assert bench.texts() == ["fast1", "fast2"]
    assert bench.messages.next_ns == 50 * MS
    bench.due(50 * MS - 1)
    assert bench.texts() == []
    bench.due(50 * MS)
    assert bench.texts() == ["slow1"]
    assert bench.messages.next_ns == 60 * MS
    bench.due(60 * MS)
    assert bench.texts() == ["slow2"]


def test_jitter_keeps_the_messages_of_one_delay_in_order():
    bench = Bench(Fault(name="delay", delay_ms=50, jitter_ms=50))
    for n in range(100):
        bench.text(str(n), now_ns=n * MS)
    bench.due(1000 * MS)
    assert bench.texts() == [str(n) for n in range(100)]


def test_a_delayed_message_waits_for_the_end_of_another():
    bench = Bench(Fault(name="delay", topic="slow", delay_ms=50))
    bench.text("slow")
    bench.raw(build(TEXT, b"a", fin=False))
    bench.due(60 * MS)
    bench.raw(build(CONTINUATION, b"b"), now_ns=70 * MS)
    assert bench.texts() == ["a", "b", "slow"]


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_corrupted_message_differs_in_one_bit(way):
    bench = Bench(Fault(name="corrupt", count=20, direction=way), way=way)
    bench.text(*["0123456789"] * 20)
    offsets = set()
    for _, _, payload in bench.seen():
        changed = [i for i, (a, b) in enumerate(zip(payload, b"0123456789", strict=True)) if a != b]
        assert len(changed) == 1
        assert payload[changed[0]] ^ b"0123456789"[changed[0]] == 1
        offsets |= set(changed)
    assert len(offsets) > 5


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_message_cut_into_fragments_says_the_same(way):
    bench = Bench(Fault(name="fragment", size_bytes=4, direction=way), way=way)
    bench.text("hello world", "next")
    assert bench.seen() == [
        (TEXT, False, b"hell"),
        (CONTINUATION, False, b"o wo"),
        (CONTINUATION, True, b"rld"),
        (TEXT, True, b"next"),
    ]


def test_a_zombie_swallows_data_and_nothing_else():
    bench = Bench(Fault(name="zombie"))
    bench.text("a")
    bench.raw(build(BINARY, b"b") + FRAGMENTED + build(PING, b"p") + build(PONG, b"q"))
    assert bench.seen() == [(PING, True, b"p"), (PONG, True, b"q")]
    assert bench.board.records[0].struck == 1
    assert len(bench.board.log) == 3
    bench.board.retire(bench.board.records[0])
    bench.text("c")
    assert bench.texts() == ["c"]


def test_the_proxy_answers_pings_to_a_zombie_if_it_is_told_to():
    bench = Bench(Fault(name="zombie", answers="proxy"), way="out")
    bench.raw(build(PING, b"are you there", key=KEY) + build(TEXT, b"a", key=KEY))
    assert bench.seen() == [(TEXT, True, b"a")]
    assert parsed(bench.answers[0]) == [(PONG, True, b"are you there")]
    bench = Bench(Fault(name="zombie"), way="out")
    bench.raw(build(PING, b"are you there", key=KEY))
    assert bench.seen() == [(PING, True, b"are you there")]


def test_lost_pongs():
    bench = Bench(Fault(name="lost_pongs"))
    bench.raw(build(PONG, b"1") + build(TEXT, b"a") + build(PONG, b"2"))
    assert bench.texts() == ["a"]
    assert bench.board.records[0].struck == 2


def inject(bench):
    for record in bench.board.active(FLOW):
        if record.fault.kind.hits == "once":
            bench.messages.inject(record)


def test_bad_utf8_is_a_message_of_its_own_between_others():
    bench = Bench(Fault(name="bad_utf8"))
    bench.raw(build(TEXT, b"a", fin=False))
    inject(bench)
    bench.due(0)
    assert bench.seen() == [(TEXT, False, b"a")]
    bench.raw(build(CONTINUATION, b"b"))
    (_, _, end), (opcode, fin, payload) = bench.seen()
    assert (end, opcode, fin) == (b"b", TEXT, True)
    with pytest.raises(UnicodeDecodeError):
        payload.decode()


def test_a_close_frame_waits_for_the_end_of_a_frame_and_seals_the_direction():
    bench = Bench(Fault(name="close", code=1012, reason="bye"))
    whole = build(BINARY, bytes(MESSAGE_BYTES_MAX + 10))
    bench.raw(whole[:5000])
    inject(bench)
    bench.due(0)
    assert bench.out == whole[:5000]
    assert not bench.closed
    bench.raw(whole[5000:] + build(TEXT, b"never"))
    assert len(bench.closed) == 1
    assert bench.messages.sealed
    assert [f[0] for f in parsed(bench.out)] == [BINARY, TEXT, CLOSE]
    bench.out = b""
    bench.text("neither")
    assert bench.out == b""


def test_a_ping_flood_comes_in_steps_and_the_pongs_to_it_go_nowhere():
    bench = Bench(Fault(name="ping_flood", n_pings=1000))
    inject(bench)
    now_ns, steps = 0, 0
    while True:
        bench.due(now_ns)
        steps += 1
        if bench.messages.next_ns is None:
            break
        now_ns = bench.messages.next_ns
    pings = bench.seen()
    assert len(pings) == 1000
    assert {opcode for opcode, _, _ in pings} == {PING}
    assert steps == 4
    back = Bench(way="out")
    back.raw(build(PONG, pings[5][2], key=KEY) + build(PONG, b"own", key=KEY))
    assert back.seen() == [(PONG, True, b"own")]


def test_a_message_too_long_to_hold_passes_whatever_the_plan_says():
    bench = Bench(Fault(name="drop", count=3))
    bench.raw(build(BINARY, bytes(MESSAGE_BYTES_MAX + 1)))
    bench.text("dropped")
    assert [len(payload) for _, _, payload in bench.seen()] == [MESSAGE_BYTES_MAX + 1]
    bench = Bench(Fault(name="delay", delay_ms=1))
    part = bytes(MESSAGE_BYTES_MAX // 2)
    for _ in range(3):
        bench.raw(build(BINARY if not bench.messages.frames else 0, part, fin=False))
    bench.raw(build(CONTINUATION, b"end"))
    assert [len(payload) for _, _, payload in bench.seen()] == [len(part)] * 3 + [3]


MESSAGES = st.lists(
    st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=20)), max_size=12
)


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 400), max_size=6), seed=st.integers(0, 9))
def test_without_faults_any_stream_passes_byte_for_byte(messages, cuts, seed):
    stream = b"".join(build(opcode, payload) for opcode, payload in messages)
    bench = Bench(Fault(name="drop", topic="x", at_s=99), seed=seed)
    edges = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        bench.raw(stream[begin:end])
    assert bench.out + bench.messages.finish() == stream


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 400), max_size=6))
def test_what_is_held_and_late_comes_out_once(messages, cuts):
    stream = b"".join(build(opcode, payload) for opcode, payload in messages)
    bench = Bench(
        Fault(name="reorder", probability=0.5),
        Fault(name="delay", delay_ms=5, probability=0.5),
    )
    edges = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    for now_ns, (begin, end) in enumerate(itertools.pairwise(edges)):
        bench.raw(stream[begin:end], now_ns * 3 * MS)
    bench.out += bench.messages.finish()
    assert sorted(bench.seen()) == sorted((o, True, p) for o, p in messages)
