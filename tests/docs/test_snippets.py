"""Every snippet in the README and the docs holds: programs run, types check, commands parse."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import pytest
from tests.docs.snippets import ROOT, Snippet, Venues, commands, of

DEADLINE_S = 20.0
LINES_ENOUGH = 40  # of a program that would go on for ever

PYTHON = of("python")
PROGRAMS = [snippet for snippet in PYTHON if "asyncio.run(" in snippet.text]
TESTS = [snippet for snippet in PYTHON if "\ndef test_" in snippet.text]
SHELL = of("console", "sh")
GAPLESS = [
    (snippet, line)
    for snippet in SHELL
    for line in commands(snippet)
    if line.partition(" ")[0] == "gapless"
]


@pytest.fixture(scope="module")
def venues() -> Iterator[Venues]:
    with Venues().serving() as serving:
        yield serving


def run_for_a_while(
    arguments: Sequence[str | Path],
    venues: Venues,
    folder: Path,
    *,
    after: Callable[[], None] | None = None,
    enough: int | None = None,
) -> tuple[int, list[str], str]:
    """Return exit code, output and talk of a child that ends by itself or is interrupted.

    ``after`` is called once there are a few lines of output; at ``enough`` lines, if it is
    given, the child is interrupted.
    """
    child = subprocess.Popen(
        arguments,
        cwd=folder,
        env={**os.environ, **venues.environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    said = child.stderr
    talk: list[str] = []
    reader = threading.Thread(target=lambda: talk.append(said.read()), daemon=True)
    reader.start()
    timer = threading.Timer(DEADLINE_S, child.kill)
    timer.start()
    lines: list[str] = []
    for line in child.stdout:
        lines.append(line)
        if len(lines) == 5 and after is not None:
            after()
        if len(lines) == enough:
            child.send_signal(signal.SIGINT)
    code = child.wait()
    late = not timer.is_alive()
    timer.cancel()
    timer.join()
    reader.join()
    child.stdout.close()
    child.stderr.close()
    assert not late, f"still running after {DEADLINE_S} s: {lines[-5:]} {talk}"
    return code, lines, talk[0]


def test_there_are_snippets_of_every_kind() -> None:
    assert len(PROGRAMS) >= 5
    assert TESTS
    assert len(GAPLESS) >= 15
    assert any(snippet.page == "README.md" for snippet in PROGRAMS)


def test_every_python_snippet_is_a_whole_program_or_a_whole_test() -> None:
    assert [str(s) for s in PYTHON if s not in PROGRAMS and s not in TESTS] == []


@pytest.mark.parametrize("snippet", PROGRAMS, ids=str)
def test_a_program_runs_against_the_simulator(
    snippet: Snippet, venues: Venues, tmp_path: Path
) -> None:
    path = tmp_path / f"{snippet.name}.py"
    path.write_text(snippet.text)
    code, lines, talk = run_for_a_while(
        [sys.executable, path],
        venues,
        tmp_path,
        after=lambda: venues.strike("reset"),
        enough=LINES_ENOUGH,
    )
    interrupted = len(lines) >= LINES_ENOUGH and "KeyboardInterrupt" in talk
    assert code == 0 or interrupted, talk
    assert lines, "a program in the docs shows something"
    assert interrupted or not talk, talk


@pytest.mark.parametrize("snippet", TESTS, ids=str)
def test_a_test_in_the_docs_passes(snippet: Snippet, tmp_path: Path) -> None:
    path = tmp_path / f"test_{snippet.name}.py"
    path.write_text(snippet.text)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def check_types(paths: Sequence[Path]) -> list[str]:
    """Return what mypy says of these files, and of nothing else."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--strict"),
            *("--follow-imports", "silent", "--no-error-summary", "--hide-error-context"),
            *("--cache-dir", ".mypy_cache/docs", *map(str, paths)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    return ran.stdout.splitlines()


def test_types_check_and_a_forgotten_gap_is_an_error(tmp_path: Path) -> None:
    paths = []
    for snippet in PYTHON:
        path = tmp_path / f"{snippet.name}.py"
        path.write_text(snippet.text)
        paths.append(path)
    whole = next(s for s in PROGRAMS if s.page == "README.md")
    assert "assert_never(event)" in whole.text
    forgetful = tmp_path / "forgetful.py"
    forgotten = re.sub(r"( +)case gapless\.Gap.*\n(\1 +.*\n)+", "", whole.text)
    assert forgotten != whole.text
    forgetful.write_text(forgotten)
    said = check_types([*paths, forgetful])
    mine = [line for line in said if "forgetful.py" in line]
    assert [line for line in said if line not in mine] == []
    assert any('"assert_never"' in line and "Gap" in line for line in mine), mine


def parse(arguments: Sequence[str]) -> None:
    """Hold a command line against the real one, without running it."""
    from gapless.cli import gapless

    command: click.Command = gapless
    rest = list(arguments)
    context = click.Context(command, info_name="gapless")
    while isinstance(command, click.Group) and rest:
        name, *rest = rest
        if name in ("--help", "--version"):
            return
        found = command.get_command(context, name)
        assert found is not None, f"no verb {name}"
        command = found
        context = click.Context(command, info_name=name, parent=context)
    if "--help" not in rest:
        command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize(
    ("snippet", "line"), GAPLESS, ids=lambda x: x if isinstance(x, str) else str(x)
)
def test_a_command_parses(snippet: Snippet, line: str) -> None:
    assert line.split(maxsplit=1)[0] == "gapless", snippet
    words = shlex.split(line, comments=True)
    for sign in ("|", ">", "2>", "&", "&&"):
        if sign in words:
            words = words[: words.index(sign)]
    parse(words[1:])


@pytest.mark.parametrize("snippet", [s for s in SHELL if s.marked], ids=str)
def test_a_marked_command_runs(snippet: Snippet, venues: Venues, tmp_path: Path) -> None:
    for line in commands(snippet):
        words = shlex.split(line, comments=True)
        assert words[0] == "gapless"
        start = [sys.executable, "-c", "from gapless.cli import main; main()"]
        code, lines, talk = run_for_a_while([*start, *words[1:]], venues, tmp_path)
        assert code == 0, talk
        assert lines or "SIMULATED" in talk
