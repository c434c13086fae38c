"""The pytest plugin, used as its users do."""

from __future__ import annotations

import inspect
import subprocess
import sys

from gapless.testing import plugin

FILE = """
import asyncio
import time

from gapless.sim.faults import Fault
from gapless.testing import Planned


def test_an_hour_in_no_time(virtual_run):
    async def main():
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - began

    assert 3600 <= virtual_run(main()) < 3601


def test_a_reset_loses_nothing_silently(simulation):
    plan = [Planned(10.0, Fault(name="reset"))]
    outcome = simulation("deribit", seed=31, minutes=0.5, faults=plan)
    assert outcome.card.kept, outcome
    assert [record.happened for record in outcome.faults] == [1]


def test_that_fails(simulation):
    assert simulation("deribit", seed=4711, minutes=0.1) is None
"""


def run_pytest(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_fixtures_are_there_once_it_is_installed_and_a_failure_shows_its_seed(tmp_path):
    (tmp_path / "test_mine.py").write_text(FILE)
    done = run_pytest(tmp_path)
    assert done.returncode == 1
    assert "2 passed" in done.stdout
    assert "1 failed" in done.stdout
    assert "simulation of deribit with seed 4711" in done.stdout
    assert "seed 31" not in done.stdout  # shown only where it helps


def test_the_fixtures_explain_themselves(tmp_path):
    done = run_pytest(tmp_path, "--fixtures")
    assert "virtual_run" in done.stdout
    assert "simulation" in done.stdout


def test_the_plugin_imports_nothing_of_gapless_until_it_is_used():
    lines = inspect.getsource(plugin).splitlines()
    assert not [line for line in lines if line.startswith(("from gapless", "import gapless"))]
