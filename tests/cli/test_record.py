"""Recording as a command, against a simulated venue, and what the recording is good for."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import stat
import sys

import pexpect
import pytest
from tests.cli.programs import START, ended, program, simulator

from gapless.capture.reader import open_capture
from gapless.capture.verifying import verify
from gapless.events import BookDelta
from gapless.testing.replaying import replayed


def summary_of(out):
    said = json.loads(out.splitlines()[-1])
    assert said["type"] == "recorded"
    return said


def test_a_recording_is_whole_and_says_what_is_in_it(venues, tmp_path):
    folder = tmp_path / "new" / "run"
    code, out, talk = ended(
        "record", "deribit", "book", "BTC-PERPETUAL", "-o", folder, "--for", 5, "--json",
        "--endpoint", venues["deribit"]["ws"],
    )  # fmt: skip
    said = summary_of(out)
    assert code == 0
    assert (said["venue"], said["folder"]) == ("deribit", str(folder))
    assert (said["sessions"], said["gaps"], said["lost"], said["stopped"]) == (1, 0, 0, None)
    [verdict] = verify(folder)
    assert verdict.whole
    assert (verdict.records, verdict.bytes) == (said["records"], said["bytes"])
    kinds = [record.kind for record in open_capture(folder)]
    assert kinds[:2] == ["meta", "open"]
    assert kinds[-1] == "close"
    assert kinds.count("in") == said["frames_in"] > 20
    assert kinds.count("out") == said["frames_out"] >= 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "deribit line a: live" in talk
    assert "\x1b" not in talk
    about = json.loads(next(open_capture(folder)).text)
    assert (about["channel"], about["symbols"]) == ("book", ["BTC-PERPETUAL"])


def test_rest_exchanges_are_recorded_and_the_book_is_replayed(venues, tmp_path):
    code, out, _ = ended(
        "record", "binance.spot", "book", "BTCUSDT", "-o", tmp_path, "--for", 5,
        "--endpoint", venues["binance.spot"]["ws"],
    )  # fmt: skip
    assert code == 0
    assert " REST exchanges in " in out
    [rest] = [record for record in open_capture(tmp_path) if record.kind == "rest"]
    assert "/api/v3/depth?symbol=BTCUSDT" in rest.url
    assert rest.status == 200
    again = replayed(tmp_path)
    assert sum(isinstance(event, BookDelta) for event in again.events) > 10
    assert (again.stats.gaps, again.unlike) == (0, 0)


def test_killed_at_any_time_it_leaves_what_was_written(venues, tmp_path):
    arguments = ("record", "deribit", "book", "BTC-PERPETUAL", "-o", tmp_path)
    with program(*arguments, "--endpoint", venues["deribit"]["ws"]) as running:
        running.wait_for(lambda: any("live" in line for line in running.err))
        # The first block is due a second after its first record.
        until = running.started_s + 60
        while not any(path.stat().st_size > 2000 for path in tmp_path.glob("*")):
            assert running.started_s < until
        running.kill(signal.SIGKILL)
        assert running.end() == -signal.SIGKILL
    [verdict] = verify(tmp_path)
    assert verdict.records > 0
    assert "never closed" in str(verdict.damage) or "incomplete" in str(verdict.damage)


# -- secrets ----------------------------------------------------------------------------------


def test_a_login_leaves_no_secret_behind(tmp_path):
    canary = "canary-5d0b11"
    secrets = {"CANARY_KEY": f"key-{canary}", "CANARY_SECRET": f"secret-{canary}"}
    with simulator("deribit") as said:
        code, out, talk = ended(
            "record", "deribit", "book", "BTC-PERPETUAL", "-o", tmp_path, "--for", 4, "--json",
            "--endpoint", said["deribit"]["ws"], "--credentials", "env:CANARY", "--login-always",
            env=secrets,
        )  # fmt: skip
    assert code == 0, talk
    assert canary not in out + talk
    records = list(open_capture(tmp_path))
    texts = "".join(record.text for record in records)
    assert "public/auth" in texts, "nobody logged in"
    assert f"secret-{canary}" not in texts
    tokens = [record.text for record in records if "access_token" in record.text]
    assert tokens, "no token came back"
    for text in tokens:
        for name in ("access_token", "refresh_token"):
            assert f'"{name}":"<redacted>"' in text.replace('": "', '":"')


# -- trouble ----------------------------------------------------------------------------------


FULL = (
    sys.executable,
    "-c",
    "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); " + START[-1],
)


def test_a_full_disk_stops_the_recording_loudly_keeps_the_feed_and_is_74(venues, tmp_path):
    code, out, talk = ended(
        "record", "deribit", "book", "BTC-PERPETUAL", "-o", tmp_path, "--for", 9, "--json",
        "--endpoint", venues["deribit"]["ws"], start=FULL, env={"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert code == 74
    assert talk.count("RECORDING STOPPED") == 1
    assert "File too large" in talk
    assert "the feed goes on" in talk
    said = summary_of(out)
    assert "File too large" in said["stopped"]
    assert said["lost"] > 0
    # It went on for seconds after the disk was full, and nothing broke.
    assert said["frames_in"] > said["records"]
    assert (said["sessions"], said["gaps"]) == (1, 0)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 6000
    assert len(list(_readable(tmp_path))) > 0


def _readable(folder):
    from gapless.capture.reader import CaptureDamaged

    try:
        yield from open_capture(folder)
    except CaptureDamaged:
        return


def test_a_folder_that_cannot_be_written_is_74_before_anything_is_dialled(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    code, out, talk = ended(
        "record", "deribit", "book", "X", "-o", file / "run", "--endpoint", "ws://nowhere.invalid"
    )
    assert (code, out) == (74, "")
    assert talk.startswith("gapless: cannot write to ")
    assert talk.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "book", "X", "-o", "DIR"), "no venue"),
        (("deribit", "nothing", "X", "-o", "DIR"), "no channel"),
        (("deribit", "book", "X"), "Missing option"),
        (("deribit", "book", "X", "-o", "DIR", "--fsync", "often"), "often"),
        (("deribit", "book", "X", "-o", "DIR", "--segment-mib", "nan"), "nan"),
    ],
)
def test_what_cannot_be_meant_is_64_and_makes_no_folder(arguments, words, tmp_path):
    folder = tmp_path / "DIR"
    given = [str(folder) if word == "DIR" else word for word in arguments]
    code, out, talk = ended("record", *given)
    assert (code, out) == (64, "")
    assert words in talk
    assert not folder.exists()


def test_nobody_there_is_69(tmp_path):
    code, out, talk = ended(
        "record", "deribit", "bbo", "X", "-o", tmp_path, "--for", 3, "--json",
        "--endpoint", "ws://127.0.0.1:9",
    )  # fmt: skip
    assert code == 69
    assert "no session went live" in talk
    assert summary_of(out)["sessions"] == 0
    assert any(record.text.startswith("DialFailed") for record in open_capture(tmp_path))


def test_two_lines_to_one_address_must_be_allowed_and_both_are_recorded(venues, tmp_path):
    lines = (
        "record", "deribit", "trades", "BTC-PERPETUAL", "-o", tmp_path / "two", "--for", 5,
        "--json", "--lines", 2, "--endpoint", venues["deribit"]["ws"],
    )  # fmt: skip
    code, out, talk = ended(*lines)
    assert (code, out) == (64, "")
    assert "--allow-same" in talk
    assert not (tmp_path / "two").exists()
    code, out, talk = ended(*lines, "--allow-same")
    assert code == 0
    assert summary_of(out)["sessions"] == 2
    assert {"deribit line a: live", "deribit line b: live"} <= {
        line.removeprefix("gapless: ") for line in talk.splitlines()
    }
    opened = [record for record in open_capture(tmp_path / "two") if record.kind == "open"]
    assert len({record.conn for record in opened}) == 2


def test_small_segments_turn_over(venues, tmp_path):
    code, out, _ = ended(
        "record", "deribit", "book", "BTC-PERPETUAL", "-o", tmp_path, "--for", 5, "--json",
        "--segment-s", 1, "--fsync", "close", "--endpoint", venues["deribit"]["ws"],
    )  # fmt: skip
    assert code == 0
    assert summary_of(out)["segments"] == len(list(tmp_path.iterdir())) >= 2
    assert all(verdict.whole for verdict in verify(tmp_path))


def test_a_terminal_sees_one_line_that_moves(venues, tmp_path):
    command = [
        "-c", START[-1], "record", "deribit", "book", "BTC-PERPETUAL", "-o", str(tmp_path),
        "--for", "5", "--endpoint", venues["deribit"]["ws"],
    ]  # fmt: skip
    child = pexpect.spawn(
        sys.executable, command, timeout=30, encoding="utf-8", env={**os.environ, "TERM": "xterm"}
    )
    child.expect(re.compile(r"\r\x1b\[K +\d+ s  (\d+) frames  (\d+)/s  [\d.]+ MB  0 gaps"))
    child.expect(re.compile(r"\d+ frames in, \d+ out, 0 REST"))
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
