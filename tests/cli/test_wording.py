import msgspec
import pytest
from tests.cli import events as made

from gapless.cli.wording import Wording, clock, number, wants_colour

plain = Wording(colour=False)
coloured = Wording(colour=True)


def test_a_gap_stands_out():
    line = plain.event(made.GAP)
    assert "── gap 3 missing (882..884): the line was cut ──" in line
    assert line.startswith("02:40:00.123 ")
    assert "gap of unknown size: no number says" in plain.event(made.BLIND_GAP)


def test_a_resync_says_how_and_how_long():
    assert "── resynced by snapshot, blind for 0.410 s ──" in plain.event(made.RESYNCED)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (made.TRADE, "BTC-PERPETUAL trades  buy  10 @ 65000.5  id t1  #7  line a"),
        (made.DELTA, "delta  bid 2 @ 1.5  ask 0 @ 1.6 and 1 more  #8..9  line a"),
        (made.SNAPSHOT, "snapshot 1.5 | -  1 bids 0 asks  #9  line a"),
        (made.BBO, "2 @ 1.5 | - @ -  line a"),
        (made.TICKER, "price 1.5 mark 1.6  line a"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_each_event_is_one_readable_line(event, words):
    line = plain.event(event)
    assert line.endswith(words)
    assert line.isprintable()


def test_notices_say_where_and_why():
    assert plain.notice(made.NOTICE).endswith("· live line a: why (how)")


def test_the_summary_counts_and_names_causes():
    text = "\n".join(plain.summary(made.stats(cause="ConnectionLost: \x1b[2J")))
    assert "9 received, 8 delivered, 1 duplicates, 1 gaps, 3 known missing" in text
    assert "session 3 on line a: live for 1.5 s, ended: ConnectionLost: \\x1b[2J" in text


def test_colour_only_where_wanted():
    assert "\x1b[" in coloured.event(made.GAP)
    assert "\x1b[" not in plain.event(made.GAP)


def test_the_wire_cannot_steer_a_terminal():
    wild = msgspec.structs.replace(made.TRADE, id="\x1b[2J")
    assert "\x1b" not in plain.event(wild)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.00001, "0.00001"),
        (65000.0, "65000"),
        (1e12, "1000000000000"),
        (0.5, "0.5"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_clock_is_utc():
    assert clock(1_770_000_000_999_999_999) == "02:40:00.999"


@pytest.mark.parametrize(
    ("terminal", "env", "wanted"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_and_no_color_is_obeyed(terminal, env, wanted, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    assert wants_colour() is wanted


def test_the_summary_says_what_lines_share():
    stats = made.stats()
    line = msgspec.structs.replace(
        stats.lines[0],
        host="venue.test",
        address="192.0.2.1",
        shares={"host": ("b", "c"), "address": ("b",)},
    )
    text = "\n".join(plain.summary(msgspec.structs.replace(stats, lines=(line,))))
    words = "line a at venue.test (192.0.2.1) shares its host with b and c, its address with b"
    assert words in text
    assert "shares" not in "\n".join(plain.summary(stats))
