"""References to keys: two forms, read when needed, and never repeated."""

from __future__ import annotations

import copy
import os
import pickle
import traceback

import pytest

from gapless.core.secrets import Secrets
from gapless.credentials import FILE_MAX_BYTES, Credentials
from gapless.errors import ConfigError

CANARY = "canary"
WHOLE = 'key = "canary-key"\nsecret = "canary-secret"\npassphrase = "canary-phrase"\n'


def write(path, text=WHOLE, mode=0o600):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return f"file:{path}"


def assert_tells_nothing(error):
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in told.stack if frame.filename.endswith("gapless/credentials.py")]
    assert ours
    assert CANARY not in "".join(str(frame.locals) for frame in ours)
    assert CANARY not in f"{error} {error!r} {error.__dict__}"
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.fixture(autouse=True)
def _empty(monkeypatch):
    for part in ("KEY", "SECRET", "PASSPHRASE"):
        monkeypatch.delenv(f"VENUE_{part}", raising=False)


# -- the reference ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "canary",
        "canary:secret",
        "env",
        "env:",
        "env:canary secret",
        "env:1canary",
        "env:canary-secret",
        "env:" + "c" * 65,
        "ENV:VENUE",
        "file",
        "file:",
        "file:canary\0",
        "key:canary",
        7,
        None,
    ],
    ids=repr,
)
def test_anything_else_is_refused_and_not_repeated(reference):
    with pytest.raises(ConfigError, match=r"env:PREFIX or file:PATH") as caught:
        Credentials.of(reference)
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_reference_shows_its_form_only_and_is_not_taken_along():
    credentials = Credentials.of("env:CANARY")
    assert repr(credentials) == "Credentials(env)"
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(credentials)


# -- the environment ------------------------------------------------------------------------------


def test_the_environment_is_read_anew_each_time(monkeypatch):
    monkeypatch.setenv("VENUE_KEY", "k1")
    monkeypatch.setenv("VENUE_SECRET", "s1")
    credentials = Credentials.of("env:VENUE")
    first = credentials.read()
    assert isinstance(first, Secrets)
    assert (first.key, first.secret, first.passphrase) == ("k1", "s1", "")
    monkeypatch.setenv("VENUE_SECRET", "s2")
    monkeypatch.setenv("VENUE_PASSPHRASE", "p2")
    second = credentials.read()
    assert (second.key, second.secret, second.passphrase) == ("k1", "s2", "p2")


@pytest.mark.parametrize("part", ["KEY", "SECRET"])
@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_a_variable_that_is_not_there_is_named_by_its_end(monkeypatch, part, value):
    monkeypatch.setenv("VENUE_KEY", "canary")
    monkeypatch.setenv("VENUE_SECRET", "canary")
    if value is None:
        monkeypatch.delenv(f"VENUE_{part}")
    else:
        monkeypatch.setenv(f"VENUE_{part}", value)
    with pytest.raises(ConfigError, match=f"_{part} is not in the environment") as caught:
        Credentials.of("env:VENUE").read()
    assert_tells_nothing(caught.value)


# -- files ----------------------------------------------------------------------------------------


def test_a_file_is_read(tmp_path):
    secrets = Credentials.of(write(tmp_path / "key.toml")).read()
    assert (secrets.key, secrets.secret) == ("canary-key", "canary-secret")
    assert secrets.passphrase == "canary-phrase"


def test_a_file_needs_no_passphrase(tmp_path):
    reference = write(tmp_path / "key.toml", 'key = "a"\nsecret = "b"\n')
    assert Credentials.of(reference).read().passphrase == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_file_that_lies_open_to_others_is_refused(tmp_path, mode):
    reference = write(tmp_path / "key.toml", mode=mode)
    with pytest.raises(ConfigError, match="others can read the file") as caught:
        Credentials.of(reference).read()
    assert_tells_nothing(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_its_owner_alone_is_read(tmp_path, mode):
    assert Credentials.of(write(tmp_path / "key.toml", mode=mode)).read()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "canary",
        'key = "canary"',
        'secret = "canary"',
        'key = ""\nsecret = "canary"',
        'key = "canary"\nsecret = ""',
        'key = "canary"\nsecret = 7',
        'key = ["canary"]\nsecret = "canary"',
        'key = "canary"\nsecret = "canary"\npassphrase = 7',
        'key = "canary"\nsecret = "canary',
        b'key = "canary"\nsecret = "\xff\xfe"',
    ],
    ids=range(11),
)
def test_a_file_that_does_not_hold_them_is_refused_and_not_quoted(tmp_path, text):
    reference = write(tmp_path / "key.toml", text)
    with pytest.raises(ConfigError, match="is not TOML with") as caught:
        Credentials.of(reference).read()
    assert_tells_nothing(caught.value)


def test_a_file_that_is_not_there_is_not_named():
    with pytest.raises(ConfigError, match="No such file") as caught:
        Credentials.of("file:/nowhere/canary").read()
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_directory_and_a_pipe_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="is not a file"):
            Credentials.of(f"file:{path}").read()


def test_a_file_that_is_too_long_is_not_read_to_its_end(tmp_path):
    reference = write(tmp_path / "key.toml", WHOLE + "#" * FILE_MAX_BYTES)
    with pytest.raises(ConfigError, match="too long"):
        Credentials.of(reference).read()
