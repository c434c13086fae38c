"""The whole demo as a child process, judged by what it prints and by what it leaves behind."""

import json
import re
import signal
import sys
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise

import pytest
from tests.cli.programs import Program, ended

from gapless.cli.tour import FEWEST, parts, plan

TOUR = [step.name for step in plan(30.0, *parts())]
VENUES = [part.venue for part in parts()]
HEADLESS = ("demo", "--headless", "--for", 30, "--seed", 7)
NAMED = [
    "seed", "sent", "delivered", "missing", "announced", "duplicated", "misordered", "intervals",
    "books", "faults",
]  # fmt: skip

# A consumer that loses one trade without a word; everything else is the real thing.
LOSSY = """
from gapless.cli import main, showcase
from gapless.events import Trade
keep, seen = showcase.Showcase._keep, []
def lossy(self, stage, event):
    if isinstance(event, Trade):
        seen.append(event)
        if len(seen) == 50:
            return
    keep(self, stage, event)
showcase.Showcase._keep = lossy
main()
"""


class Runs:
    """Runs side by side: two take 30 s, of which nearly all is waiting, and two are cut short."""

    def __init__(self, stack, folder):
        self.folder = folder
        lossy = (sys.executable, "-c", LOSSY)

        def start(*arguments, **how):
            running = Program(*arguments, **how)
            stack.callback(running.close)
            return running

        self.compared = start(*HEADLESS, "--json", "--compare", "naive", "--keep", folder)
        self.spoken = start(*HEADLESS, "--compare", "naive")
        self.lossy = start("demo", "--headless", "--seed", 9, start=lossy)
        self.stopped = start("demo", "--headless", "--seed", 9)

    @staticmethod
    def result(running):
        """Return exit code and the one object on stdout."""
        code = running.end(60)
        (line,) = running.out
        return code, json.loads(line)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with ExitStack() as stack:
        yield Runs(stack, tmp_path_factory.mktemp("demo") / "kept")


def test_a_signal_in_the_middle_still_prints_the_score(runs):
    stopped = runs.stopped
    stopped.wait_for(lambda: any("lost  " in line for line in stopped.err), "outcome", 40)
    stopped.kill(signal.SIGINT)
    assert stopped.end() == 0
    text = "".join(stopped.out)
    assert "Scorecard · SIMULATED · seed 9" in text
    assert "Stopped early; so far the promise held." in text
    assert "Traceback" not in "".join(stopped.err)


def test_a_consumer_that_loses_one_event_is_found_out(runs):
    lossy = runs.lossy
    lossy.wait_for(lambda: sum("lost  " in line for line in lossy.err) > 2, "three outcomes", 60)
    lossy.kill(signal.SIGINT)
    assert lossy.end() == 1
    text = "".join(lossy.out)
    assert "THE PROMISE BROKE. Please report seed 9." in text
    assert re.search(r"^LOST SILENTLY +1$", text, re.MULTILINE), text


# -- bad input, while the others run --------------------------------------------------------------


def test_a_tour_that_is_too_short_says_what_it_takes():
    code, out, talk = ended("demo", "--for", 5)
    assert (code, out) == (64, "")
    assert "8 faults and their healing take 30 s at least, not 5" in talk
    assert len(talk.splitlines()) == 1


@pytest.mark.parametrize("value", ["nan", "inf", "1e9", "soon"])
def test_a_duration_that_is_none_is_refused(value):
    code, out, talk = ended("demo", "--for", value)
    assert (code, out) == (64, "")
    assert "--for" in talk


def test_an_unknown_option_is_64_and_names_the_nearest():
    code, out, talk = ended("demo", "--headles")
    assert (code, out) == (64, "")
    assert "--headless" in talk


def test_an_unknown_comparison_is_64():
    code, _, talk = ended("demo", "--compare", "clever")
    assert code == 64
    assert "naive" in talk


def test_a_folder_that_cannot_be_written_is_74_before_anything_starts(tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, out, talk = ended("demo", "--headless", "--keep", tmp_path / "file" / "folder")
    assert (code, out) == (74, "")
    assert talk.startswith("gapless: cannot write to ")
    assert len(talk.splitlines()) == 1


# -- what the runs came to ---------------------------------------------------------------------


def test_the_promise_holds_through_every_fault(runs):
    code, result = runs.result(runs.compared)
    assert code == 0, result
    assert result["missing"] == result["announced"] > 0
    assert (result["duplicated"], result["misordered"]) == (0, 0)
    assert result["intervals"]["lost"] == result["intervals"]["covered"] > 0
    assert result["books"] == {"compared": 4, "equal": 4}
    assert all(fault["happened"] for fault in result["faults"])
    assert result["delivered"] <= result["sent"]
    assert result["kept"] is True


def test_what_a_busy_machine_has_no_time_for_is_named_and_the_rest_was_carried_out(runs):
    _, result = runs.result(runs.compared)
    reached, left = [fault["name"] for fault in result["faults"]], result["not_reached"]
    assert [*reached, *left] == TOUR
    assert len(reached) >= FEWEST - 4  # a start that takes ten seconds leaves so much
    assert result["complete"] is (left == [])


def test_the_keys_are_those_that_are_promised_in_that_order(runs):
    _, result = runs.result(runs.compared)
    assert list(result)[: len(NAMED)] == NAMED
    assert list(result["intervals"]) == ["lost", "covered"]
    assert list(result["books"]) == ["compared", "equal"]
    for fault in result["faults"]:
        assert list(fault)[:3] == ["name", "at_s", "happened"]
    assert result["seed"] == 7
    assert result["simulated"] is True


def test_each_step_begins_when_the_one_before_is_settled(runs):
    _, result = runs.result(runs.compared)
    faults = result["faults"]
    assert all(fault["settled_s"] is not None for fault in faults), faults
    for before, after in pairwise(faults):
        assert before["at_s"] + before["settled_s"] <= after["at_s"]
    assert all(fault["lost"] == fault["announced"] for fault in faults)
    assert faults[-1]["at_s"] + faults[-1]["settled_s"] < 30


def test_what_strikes_one_line_of_two_loses_nothing_at_all(runs):
    _, result = runs.result(runs.compared)
    single = [fault for fault in result["faults"] if fault["single"]]
    assert len(single) >= 2
    assert all(fault["lost"] == fault["announced"] == 0 for fault in single), single
    assert (result["lines"], result["lost_to_one_line"]) == (2, 0)
    # While the same faults cost something where they strike both.
    assert sum(fault["lost"] for fault in result["faults"] if not fault["single"]) > 0


def test_json_is_alone_on_stdout_and_nothing_is_said(runs):
    runs.compared.end(60)
    assert len(runs.compared.out) == 1
    assert runs.compared.err == []


def test_the_naive_loop_loses_silently_where_ours_does_not(runs):
    code, result = runs.result(runs.compared)
    assert code == 0, result
    naive = result["naive"]
    assert naive["announced"] == naive["intervals"]["covered"] == 0
    assert naive["missing"] + naive["intervals"]["lost"] + naive["unheard"] > 100
    assert naive["kept"] is False
    assert result["missing"] == result["announced"]


def test_the_comparison_is_told_in_words(runs):
    assert runs.spoken.end(60) == 0
    text, talk = "".join(runs.spoken.out), "".join(runs.spoken.err)
    assert "gapless   naive loop" in text
    assert "promise held" in text
    assert "BROKE" not in text
    assert "Next:\n  gapless tail " in text
    assert "  gapless book " in text
    assert "  gapless sim " in text
    assert "SIMULATED" in text
    assert talk.startswith("SIMULATED: ")
    assert talk.count("done  ") == talk.count("lost  ") >= FEWEST - 4
    assert "\x1b" not in text + talk


# -- an independent check of what --keep leaves ---------------------------------------------------
# Written from the files' own description alone.  Numbers of trades count each one; books are
# deltas that follow one another; everything else is an image that may only be lost in an interval.


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def split(records):
    by_topic = {}
    for record in records:
        by_topic.setdefault((record["channel"], record["symbol"]), []).append(record)
    return by_topic


def check_trades(events):
    """Return what is missing and what was announced; every number must be one or the other."""
    seen, announced, expected = [], [], None
    for event in events:
        if event["type"] == "gap":
            assert event["missing"] == event["last"] - event["first"] + 1
            assert event["first"] == expected
            announced += range(event["first"], event["last"] + 1)
            expected = event["last"] + 1
        elif event["type"] == "trade":
            assert expected in (None, event["first"]), event
            seen.append(event["last"])
            expected = event["last"] + 1
    assert len(set(seen)) == len(seen)
    missing = set(range(seen[0], seen[-1] + 1)) - set(seen)
    assert missing == {number for number in announced if number < seen[-1]}
    return len(missing), len([number for number in announced if number < seen[-1]])


def apply(book, record):
    for side in ("bids", "asks"):
        for price, size in record[side]:
            if size:
                book[side][price] = size
            else:
                book[side].pop(price, None)


def check_book(events, world, final):
    """Follow the deltas; return whether the book is the venue's at the end."""
    book, number, excused = None, None, True
    for event in events:
        if event["type"] == "gap":
            excused = True
        elif event["type"] == "book" and event["snapshot"]:
            assert excused or event["last"] == number
            book = {side: dict(map(tuple, event[side])) for side in ("bids", "asks")}
            number, excused = event["last"], False
        elif event["type"] == "book":
            assert not excused, "a delta on a book that had a hole"
            assert event["first"] <= number + 1 <= event["last"]
            apply(book, event)
            number = event["last"]
    for record in world:
        if record["last"] > number:
            apply(book, record)
    wanted = {side: {p: s for p, s in final[side] if s} for side in ("bids", "asks")}
    return book == wanted


def check_images(events, world, alone):
    """Every lost image must lie in an interval that was announced.

    ``alone``: how many images were sent to one session only, such as the first after subscribing.
    """

    def key(record):
        names = ("bid", "bid_size", "ask", "ask_size", "price", "volume")
        return (record["last"], record["event_ns"], *(record.get(name) for name in names))

    images = [key(event) for event in events if event["type"] in {"bbo", "ticker"}]
    gaps = [(e["since_ns"], e["until_ns"]) for e in events if e["type"] == "gap"]
    assert len(set(images)) == len(images)
    places = {key(record): place for place, record in enumerate(world)}
    order = [places[image] for image in images if image in places]
    assert order == sorted(order)
    assert len(images) - len(order) <= alone
    for place in sorted(set(range(order[0], order[-1])) - set(order)):
        made_ns = world[place]["event_ns"] or world[place]["ns"]
        assert any(since_ns <= made_ns <= until_ns for since_ns, until_ns in gaps), world[place]


def test_whoever_checks_the_files_comes_to_the_same_verdict(runs):
    code, result = runs.result(runs.compared)
    assert code == 0
    missing = announced = books = delivered = 0
    for venue in VENUES:
        truth = lines_of(runs.folder / f"truth-{venue}.ndjson")
        events = split(lines_of(runs.folder / f"events-{venue}.ndjson"))
        world = split([record for record in truth if record["type"] == "world"])
        finals = {record["symbol"]: record for record in truth if record["type"] == "final"}
        sent = [record for record in truth if record["type"] == "sent"]
        alone = Counter(record["topic"] for record in sent if record["n"] is None)
        assert set(events) == set(world)
        for (channel, symbol), received in events.items():
            delivered += sum(
                event["type"] not in {"gap", "resynced"} and not event.get("snapshot")
                for event in received
            )
            if channel == "trades":
                counted = check_trades(received)
                missing, announced = missing + counted[0], announced + counted[1]
            elif channel == "book":
                books += check_book(received, world[channel, symbol], finals[symbol])
            else:
                records = world[channel, symbol]
                check_images(received, records, alone[records[0]["topic"]])
    assert (missing, announced) == (result["missing"], result["announced"])
    assert delivered == result["delivered"]
    assert books == result["books"]["equal"] == 4


def test_the_notices_are_kept_too(runs):
    runs.compared.end(60)
    for venue in VENUES:
        kinds = [line["kind"] for line in lines_of(runs.folder / f"notices-{venue}.ndjson")]
        assert sorted(kinds[:4]) == ["dialing", "dialing", "live", "live"]  # two lines
        assert "ended" in kinds
