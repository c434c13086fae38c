"""Descriptors and memory run out: the client says so, stays bounded, and lives again.

Limits hold for a whole process, so the client is one of its own, and the venue another.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from contextlib import contextmanager

from tests.cli.programs import program, simulator

START = (sys.executable, "-W", "error", "-m", "tests.wire.scarce_client")


@contextmanager
def client(what, *options):
    with simulator("deribit", *options) as venues:
        said = venues["deribit"]
        with program(what, said["ws"], start=START) as running:
            yield running, said["control"]
            assert running.end() == 0, running.err
            assert not running.err


def inject(control, **fault):
    body, headers = json.dumps(fault).encode(), {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{control}/fault", body, headers)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.status == 200


def test_a_feed_without_descriptors_says_so_and_comes_back():
    with client("descriptors", "--rate", "200") as (running, control):
        assert running.wait_for_type("full")["taken"] > 10
        inject(control, name="reset")
        failed = running.wait_for_type("back")["failed"]
    assert len(failed) >= 3
    assert all("Too many open files" in cause for cause in failed), failed


def test_a_consumer_that_reads_nothing_fits_into_a_cap():
    options = ("--rate", "2000", "--no-limits", "--allow-raw")
    with client("memory", *options) as (running, _):
        found = running.wait_for_type("done")
    print(f"{found['grown'] / (1 << 20):.1f} MiB more, {found['overflowed']} events did not fit")
    assert found["overflowed"] > 1000
    assert found["grown"] <= 8 << 20
    assert found["dials"] == 1
