import errno
import sys

import pytest

from gapless import errors
from gapless.cli import exits, run

CODES = [
    (errors.UsageError("x"), 64),
    (errors.NotSynced("X", "y"), 64),
    (errors.SlowConsumer(8), 74),
    (errors.ConfigError("x"), 78),
    (errors.DialFailed("tcp", "ws://x", "refused"), 69),
    (errors.ConnectionLost(1006), 69),
    (errors.Stalled(1, "x"), 69),
    (errors.RateLimited(429), 75),
    (errors.LoginRejected(1, "x"), 77),
    (errors.RequestRejected(1, "x"), 69),
    (errors.DecodeError("x"), 65),
    (OSError(errno.ENOSPC, "no space"), 74),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda v: type(v).__name__)
def test_each_error_has_its_code(error, code):
    failure = exits.translate(error)
    assert failure is not None
    assert failure.code == code


def test_a_bug_is_no_failure():
    assert exits.translate(ValueError("x")) is None


def test_a_file_is_named():
    failure = exits.translate(PermissionError(errno.EACCES, "not yours", "/some/file"))
    assert failure is not None
    assert failure.format_message() == "input or output /some/file failed: not yours"


def test_signals():
    assert exits.of_signal(2) == 130
    assert exits.of_signal(15) == 143


def test_talk_goes_to_stderr(capsys):
    exits.say("hello")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "gapless: hello\n")


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_process_without_a_stream_is_no_crash(closed, monkeypatch, capfd):
    monkeypatch.setattr(sys, closed, None)
    assert run(["venues"]) == 0
    assert run(["venues", "show", "nosuch"]) == exits.USAGE
    getattr(sys, closed).close()
    assert "Traceback" not in "".join(capfd.readouterr())
