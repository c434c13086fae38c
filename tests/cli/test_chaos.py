"""``gapless chaos`` as a child process, judged by what it prints and by what it leaves behind."""

import json
import signal
from contextlib import ExitStack

import pytest
from tests.cli.programs import Program, ended

from gapless.chaos.checker import check

SHORT = ("chaos", "--seed", 3, "--minutes", 0.3)
KEYS = [
    "seed", "venue", "minutes", "lines", "sent", "delivered", "lost", "announced", "unannounced",
    "lost_to_one_line",
]  # fmt: skip


class Runs:
    """Several runs side by side: each takes 18 s, of which nearly all is waiting."""

    def __init__(self, stack, folder):
        self.folder = folder

        def start(*arguments):
            running = Program(*arguments)
            stack.callback(running.close)
            return running

        self.kept = start(*SHORT, "--json", "--compare", "naive", "--keep", folder)
        self.spoken = start(*SHORT, "--venue", "binance.spot")
        self.stopped = start("chaos", "--seed", 4)

    def result(self):
        code = self.kept.end(60)
        (line,) = self.kept.out
        return code, json.loads(line)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with ExitStack() as stack:
        yield Runs(stack, tmp_path_factory.mktemp("chaos") / "kept")


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_signal_in_the_middle_still_prints_the_score(runs):
    stopped = runs.stopped
    stopped.wait_for(lambda: any("00:0" in line for line in stopped.err), "a fault", 40)
    stopped.kill(signal.SIGINT)
    assert stopped.end() in {0, 1}  # stopped right after a fault, which may not have struck yet
    assert "Scorecard · SIMULATED · seed 4" in "".join(stopped.out)
    assert "Traceback" not in "".join(stopped.err)


def test_the_promise_holds_and_faults_happened(runs):
    code, result = runs.result()
    assert code == 0, result
    assert result["kept"] is True
    assert result["happened"] > 0
    assert len(result["faults"]) > 0
    assert result["lost"] == result["announced"]
    assert (result["unannounced"], result["lost_to_one_line"]) == (0, 0)
    assert (result["duplicated"], result["misordered"], result["invented"]) == (0, 0, 0)
    assert result["books"] == {"compared": 2, "equal": 2}


def test_the_keys_are_those_that_are_promised_in_that_order(runs):
    _, result = runs.result()
    assert list(result)[: len(KEYS)] == KEYS
    assert (result["seed"], result["venue"], result["lines"]) == (3, "deribit", 2)
    assert result["simulated"] is True
    for fault in result["faults"]:
        assert list(fault) == ["name", "where", "line", "at_s", "lasts_s", "happened"]


def test_the_loop_for_comparison_stands_beside(runs):
    _, result = runs.result()
    assert list(result["compare"]) == ["naive"]
    assert result["compare"]["naive"]["announced"] == 0


def test_json_is_alone_on_stdout_and_nothing_is_said(runs):
    runs.result()
    assert runs.kept.err == []


def test_whoever_checks_the_files_comes_to_the_same_verdict(runs):
    _, result = runs.result()
    truth, events = lines_of(runs.folder / "truth.jsonl"), lines_of(runs.folder / "events.jsonl")
    verdict = check(truth, events, lines=2)
    assert verdict.kept is result["kept"]
    assert len(verdict.losses) == result["lost"]
    assert verdict.total("delivered") == result["delivered"]
    assert (runs.folder / "plan.toml").exists()
    assert len((runs.folder / "log.txt").read_text().splitlines()) == len(result["faults"])


def test_people_get_a_table_and_a_line_for_each_fault(runs):
    assert runs.spoken.end(60) == 0
    text, talk = "".join(runs.spoken.out), "".join(runs.spoken.err)
    assert "The promise held" in text
    assert "LOST SILENTLY" in text
    assert talk.startswith("SIMULATED: binance.spot on this machine, seed 3")
    assert "\x1b" not in text + talk


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--minutes", "0.01"), "0.01 is not from 0.25 to 240 minutes"),
        (("--minutes", "nan"), "--minutes"),
        (("--lines", "0"), "--lines"),
        (("--compare", "clever"), "there is naive and websockets to compare with, not 'clever'"),
        (("--venue", "nowhere"), "--venue"),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_what_is_not_to_be_had_is_64_and_says_so(arguments, word):
    code, out, talk = ended("chaos", *arguments)
    assert (code, out) == (64, "")
    assert word in talk
    assert len(talk.splitlines()) == 1


@pytest.mark.parametrize("url", ["wss://venue.example/ws/api/v2", "ws://[::1", "venue.example"])
def test_an_endpoint_outside_this_machine_is_refused(monkeypatch, url):
    monkeypatch.setenv("GAPLESS_ENDPOINT_DERIBIT", url)
    code, out, talk = ended("chaos", "--minutes", "0.3")
    assert (code, out) == (64, "")
    assert "GAPLESS_ENDPOINT_DERIBIT names an endpoint outside this machine" in talk
    assert "venue.example" not in talk


def test_a_folder_that_cannot_be_written_is_74_before_anything_starts(tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, out, talk = ended("chaos", "--keep", tmp_path / "file" / "folder")
    assert (code, out) == (74, "")
    assert talk.startswith("gapless: cannot write to ")
