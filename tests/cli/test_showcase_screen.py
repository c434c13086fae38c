"""What people see: words that are true, lines that fit, and no need for colour."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from gapless.cli.showcase import Losses, Struck
from gapless.cli.showcase_screen import LABEL, Plain, Screen, can_show, done, lost, print_score
from gapless.cli.tour import Step, parts, plan
from gapless.core.stats import TopicStats
from gapless.events import Notice
from gapless.sim.faults import Fault, FaultRecord

FIRST, SECOND = parts()
TOUR = plan(75.0, FIRST, SECOND)
FAULT = Fault(name="reset")


def struck(step=None, **how):
    each = Struck(step or Step("reset", "venue", "the connection is reset", (FAULT,)), 65.04)
    each.records = [FaultRecord(1, fault, 0, None, 1, True) for fault in each.step.faults]
    for name, value in {"over": True, "settled_s": 1.0, **how}.items():
        setattr(each, name, value)
    return each


def notice(kind, cause):
    return Notice(1, "v", 0, 0, kind, "a", 1, None, None, cause, "")


# -- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "nothing lost; live all the time"),
        ({"healed_s": 2.34}, "nothing lost; all live again after 2.3 s"),
        (
            {"lost": 12, "announced": 12, "healed_s": 0.2},
            "12 lost, all announced; all live again after 0.2 s",
        ),
        (
            {"gaps": 1, "rebuilt": 1, "healed_s": 0.2},
            "hole announced, book rebuilt; all live again after 0.2 s",
        ),
        ({"lost": 12, "announced": 9}, "12 LOST, 9 ANNOUNCED; live all the time"),
        ({"announced": 2}, "0 LOST, 2 ANNOUNCED; live all the time"),
        ({"settled_s": None}, "nothing lost; NOT YET LIVE AGAIN"),
        ({"over": False}, "..."),
    ],
)
def test_the_outcome_says_what_was_lost_and_when_all_was_live_again(how, words):
    assert lost(struck(**how)) == words


def test_a_fault_that_did_not_happen_is_said_to_be_one():
    missed = struck(settled_s=None)
    missed.records[0].happened = 0
    assert lost(missed).startswith("the fault did not happen")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "nothing had to be done"),
        ({"over": False}, "nothing noticed so far"),
        ({"repeats": 1}, "1 repeat held back"),
        ({"carried": True}, "the other line had it all"),
        ({"carried": True, "lost": 1}, "nothing had to be done"),
        (
            {"noticed_s": 2.0, "notice": notice("stalled", "x"), "dials": 1, "carried": True},
            "noticed in 2.0 s (silence, pongs alive); 1 dial, 1 failed; the other line had it all",
        ),
        (
            {"noticed_s": 0.25, "gaps": 2, "rebuilt": 1, "repeats": 3},
            "noticed in 0.2 s (the numbers skip); 1 book rebuilt",
        ),
        (
            {
                "noticed_s": 2.0,
                "notice": notice("stalled", "the line fell silent while the connection answers"),
                "dials": 1,
                "sessions": 1,
                "rebuilt": 2,
            },
            "noticed in 2.0 s (silence, pongs alive); 1 dial; 2 books rebuilt",
        ),
        (
            {
                "noticed_s": 0.0,
                "notice": notice("ended", "ConnectionLost: lost without a close frame"),
                "dials": 3,
                "sessions": 1,
            },
            "noticed in 0.0 s (connection lost); 3 dials, 2 failed",
        ),
        (
            {"noticed_s": 0.0, "notice": notice("rotating", "x")},
            "noticed in 0.0 s (moves before the cut)",
        ),
        (
            {"noticed_s": 0.0, "notice": notice("ended", "something\x1b[2Jelse")},
            "noticed in 0.0 s (something\\x1b[2Jelse)",
        ),
    ],
)
def test_what_was_done_is_said_in_few_words(how, words):
    assert done(struck(**how)) == words


# -- the screen -----------------------------------------------------------------------------------


def topic(channel, symbol, trust):
    return TopicStats(f"{channel}.{symbol}", channel, symbol, trust, "", 0.1, 9, 99_999, 0, 0, 3, 7)


def stage(part, trust="live", naive=False):
    topics = [
        topic(channel, symbol, trust if symbol == "B" else "live")
        for channel in ("trades", "book", "bbo", "ticker")
        for symbol in "ABC"
    ]
    stats = SimpleNamespace(topics=topics, delivered=99_999)
    return SimpleNamespace(
        venue=part.venue,
        feed=SimpleNamespace(stats=lambda: stats),
        losses=Losses(1234, 1234),
        naive=SimpleNamespace(events=[None] * 99_999) if naive else None,
        naive_losses=Losses(99_999, 0, 0),
    )


def showcase(steps=14, naive=False, trust="gapped"):
    worst = {
        "noticed_s": 12.0, "notice": notice("stalled", "x"), "dials": 19, "sessions": 1,
        "rebuilt": 2, "lost": 1234, "announced": 1234, "healed_s": 12.3,
    }  # fmt: skip
    stages = {part.venue: stage(part, trust, naive) for part in (FIRST, SECOND)}
    return SimpleNamespace(
        stages=stages,
        tour=TOUR,
        lines=2,
        struck=[struck(step, **worst) for step in TOUR[:steps]],
        elapsed_s=61.4,
    )


def console_of(width, height, **how):
    how = {"force_terminal": True, "color_system": None, "legacy_windows": False, **how}
    return Console(file=io.StringIO(), width=width, height=height, **how)


def frame(show, width=80, height=24, **how):
    console = console_of(width, height, **how)
    screen = Screen(console)
    screen._showcase, screen._duration_s, screen._seed = show, 75.0, 7
    with console.capture() as captured:
        console.print(screen.render(), end="")
    return captured.get()


@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 3, 14])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 12), (200, 60)])
def test_every_frame_fills_the_screen_exactly_and_nothing_wraps(width, height, steps, naive):
    lines = frame(showcase(steps, naive), width, height).split("\n")
    assert len(lines) == height
    assert max(len(line) for line in lines) <= width
    assert LABEL in lines[0]


def test_the_usual_fits_into_80_columns():
    text = frame(showcase())
    assert "fault 14 of 14 · 01:01 of 01:15" in text
    for step in TOUR[-3:]:
        assert f"{step.story}" in text
        assert step.venue in text
    assert "noticed in 12.0 s (silence, pongs alive); 19 dials, 18 failed; 2 books" in text
    assert "lost  1234 lost, all announced; all live again after 12.3 s" in text


def test_the_worst_topic_of_a_channel_is_shown_with_a_sign_and_a_word():
    assert frame(showcase(trust="blind")).count("■ blind") == 8
    assert frame(showcase(trust="syncing")).count("▲ syncing") == 8
    assert frame(showcase(trust="live")).count("● live") == 8


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (Losses(0, 0, 0), "no check, nothing lost yet"),
        (Losses(5, 0, 0), "believes that all is well"),
        (Losses(5, 0, 70), "hears nothing; 70 passed it by"),
    ],
)
def test_the_naive_loop_stands_beside_each_venue(losses, words):
    show = showcase(naive=True)
    for each in show.stages.values():
        each.naive_losses = losses
    lines = [line for line in frame(show).splitlines() if "naive loop" in line]
    assert len(lines) == 2
    for line in lines:
        assert words in line
        assert ("SILENTLY" in line) == bool(losses.silent)
        assert f" {losses.silent} " in line


def test_a_terminal_without_unicode_gets_signs_it_knows():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, width=80, height=24, force_terminal=True, color_system=None)
    screen = Screen(console)
    screen._showcase = showcase(trust="blind", naive=True)
    assert screen.render().plain.isascii()


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_colour_is_left_out_where_it_is_not_wanted(variable, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    how = {"force_terminal": True, "color_system": "auto"}
    assert "\x1b[1;31m" in frame(showcase(trust="blind"), **how)
    monkeypatch.setenv(variable, "dumb")
    assert "31m" not in frame(showcase(trust="blind"), **how)


def test_only_a_capable_terminal_gets_a_screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert can_show(console_of(80, 24))
    assert not can_show(console_of(40, 24))
    assert not can_show(console_of(80, 24, force_terminal=False))
    monkeypatch.setenv("TERM", "dumb")
    assert not can_show(console_of(80, 24))


def test_the_screen_leaves_the_terminal_as_it_was():
    console = console_of(80, 24)
    screen = Screen(console)
    with screen.showing(showcase(), 75.0, 7):
        screen.tell("step", struck())
    written = console.file.getvalue()
    assert written.index("\x1b[?1049h") < written.index(LABEL) < written.index("\x1b[?1049l")
    assert written.rindex("\x1b[?25l") < written.rindex("\x1b[?25h")  # the cursor is back


def test_before_anything_is_known_the_frame_is_empty():
    assert not Screen(console_of(80, 24)).render().plain


# -- plain lines ----------------------------------------------------------------------------------


def test_plain_lines_say_what_happened_what_was_done_and_what_was_lost(capsys):
    show, each = showcase(1), struck()
    plain = Plain(quiet=False)
    with plain.showing(show, 75.0, 7):
        plain.tell("step", each)
        plain.tell("outcome", each)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "SIMULATED: two exchanges on this machine, 2 lines to each, seed 7, 14 faults in 75 s",
        "01:05.0 1/14 venue: the connection is reset",
        "        done  nothing had to be done",
        "        lost  nothing lost; live all the time",
    ]


def test_quiet_is_quiet(capsys):
    plain = Plain(quiet=True)
    with plain.showing(showcase(1), 75.0, 7):
        plain.tell("step", struck())
    assert capsys.readouterr() == ("", "")


# -- the score ------------------------------------------------------------------------------------


def column(**how):
    return {
        "sent": 1000, "delivered": 900, "missing": 40, "announced": 40, "duplicated": 0,
        "misordered": 0, "intervals": {"lost": 60, "covered": 60},
        "books": {"compared": 4, "equal": 4}, "dials": 12, "kept": True, **how,
    }  # fmt: skip


def result(naive=False, **how):
    faults = [{"name": step.name, "happened": True} for step in TOUR]
    score = {"seed": 7, "faults": faults, "complete": True, "not_reached": [], "simulated": True}
    score |= {"lines": 2, "lost_to_one_line": 0, "stuck": False}
    score |= {**column(), **how}
    if naive:
        lost = {"intervals": {"lost": 60, "covered": 0}, "announced": 0, "unheard": 500}
        score["naive"] = column(kept=False, **lost)
    return score


def printed(score, width=80):
    console = console_of(width, 24, force_terminal=False)
    steps = [struck(step) for step in TOUR]
    print_score(score, steps, ["gapless a", "gapless b", "gapless c"], console)
    return console.file.getvalue()


def test_the_score_ends_with_a_verdict_and_three_next_steps_on_one_screen():
    lines = printed(result(naive=True)).splitlines()
    assert max(map(len, lines)) <= 80
    last = lines[-23:]
    assert any(LABEL in line for line in last)  # the whole card is still to be seen
    assert [line.strip() for line in last[-3:]] == ["gapless a", "gapless b", "gapless c"]
    for step in TOUR:
        assert any(step.name in line for line in lines)


def test_the_columns_stand_side_by_side_with_what_they_mean():
    text = printed(result(naive=True))
    assert "LOST SILENTLY                                         0          600\n" in text
    assert "the naive loop lost 600 messages and said\nnothing" in text
    assert "gapless missed 100 and announced each" in text


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "The promise held: whatever was lost was announced.\nWhat struck one line of 2 cost"),
        ({"lines": 1}, "The promise held: whatever was lost was announced.\n\nNext:"),
        (
            {"complete": False, "not_reached": ["reset", "silence"]},
            "cost nothing.\nThere was no time for reset, silence.\n",
        ),
        ({"complete": False, "not_reached": list("abcde")}, "for a, b, c and 2 more.\n"),
        ({"kept": False, "lost_to_one_line": 1}, "seed 7.\nWhat struck one line of 2 cost 1 mess"),
        ({"kept": False, "stuck": True}, "seed 7.\nA feed was not well again"),
        ({"kept": False}, "THE PROMISE BROKE. Please report seed 7."),
        ({"kept": False, "faults": []}, "Stopped before the first fault"),
    ],
)
def test_the_verdict_says_what_held_what_did_not_and_what_is_not_known(how, words):
    assert words in printed(result(**how))


def test_a_promise_that_broke_is_not_called_kept_in_the_comparison():
    broken = result(naive=True, kept=False, announced=39)
    assert "announced most" in printed(broken)
    assert "announced each" not in printed(broken)
