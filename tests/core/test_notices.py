"""The log of notices: numbered, bounded, printable."""

from __future__ import annotations

from gapless.core.notices import NoticeLog
from gapless.core.stream import Moment
from gapless.events import Origin

NOW = Moment(5, 1_700_000_000_000_000_005)
ORIGIN = Origin("toy", "book", "X", "book.X", "b", 7)


def test_a_notice_says_when_what_and_where():
    log = NoticeLog("toy")
    log.add("dialing", NOW, "first", "wss://venue", line="a", epoch=3)
    [notice] = log.after(0)
    assert (notice.number, notice.venue, notice.kind) == (1, "toy", "dialing")
    assert (notice.mono_ns, notice.recv_ns) == (NOW.mono_ns, NOW.recv_ns)
    assert (notice.line, notice.epoch, notice.channel, notice.symbol) == ("a", 3, None, None)
    assert (notice.cause, notice.evidence) == ("first", "wss://venue")


def test_the_origin_says_line_and_session_better_than_the_caller():
    log = NoticeLog("toy")
    log.add("resync", NOW, "numbers are missing", line="a", epoch=3, origin=ORIGIN)
    [notice] = log.after(0)
    assert (notice.line, notice.epoch, notice.channel, notice.symbol) == ("b", 7, "book", "X")
    assert notice.evidence == ""


def test_remote_text_cannot_write_to_a_terminal():
    log = NoticeLog("toy")
    log.add("venue", NOW, "\x1b[2Jred", "line\nbreak" + "x" * 1000)
    [notice] = log.after(0)
    assert (notice.cause + notice.evidence).isprintable()
    assert len(notice.evidence) < 300


def test_a_reader_that_is_behind_sees_numbers_missing():
    log = NoticeLog("toy", capacity=3)
    for number in range(1, 6):
        log.add("live", NOW, str(number))
    assert [notice.number for notice in log.after(0)] == [3, 4, 5]
    assert [notice.cause for notice in log.after(4)] == ["5"]
    assert log.after(5) == []
    assert log.count == 5
