"""The command line as a child process whose lines can be waited for."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

START = (sys.executable, "-c", "from gapless.cli import main; main()")
WITHIN_S = 20.0


class Program:
    """A running ``gapless``; its lines arrive in queues, so that nothing ever blocks it."""

    def __init__(self, *arguments, env=None, stdout=subprocess.PIPE, start=START, talks=False):
        self.started_s = time.monotonic()
        self.child = subprocess.Popen(
            [*start, *map(str, arguments)],
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
        self.out, self.err = [], []
        self._fresh = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._read, args=(pipe, lines), daemon=True)
            for pipe, lines in ((self.child.stdout, self.out), (self.child.stderr, self.err))
            if pipe is not None
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, pipe, lines):
        for raw in pipe:
            lines.append(raw.decode())
            self._fresh.put(None)
        self._fresh.put(None)

    def wait_for(self, found, what="a line", within_s=WITHIN_S):
        """Return the first true value of ``found()``, asked again at each new line."""
        until_s = time.monotonic() + within_s
        while not (value := found()):
            left_s = until_s - time.monotonic()
            try:
                self._fresh.get(timeout=max(0.0, left_s))
            except queue.Empty:
                raise AssertionError(f"no {what}: {self.out[-5:]} {self.err[-5:]}") from None
            if left_s <= 0:
                raise AssertionError(f"no {what} in time")
        return value

    def wait_for_type(self, *kinds):
        return self.wait_for(
            lambda: next((e for e in self.events() if e["type"] in kinds), None), str(kinds)
        )

    def events(self):
        return [json.loads(line) for line in list(self.out) if line.endswith("\n")]

    def tell(self, value):
        """Write a line of JSON to its standard input, if it `talks`."""
        self.child.stdin.write(json.dumps(value).encode() + b"\n")
        self.child.stdin.flush()

    def kill(self, signum=signal.SIGTERM):
        self.child.send_signal(signum)

    def end(self, within_s=WITHIN_S):
        """Return the exit code, once all is read."""
        code = self.child.wait(within_s)
        for thread in self._threads:
            thread.join(within_s)
        return code

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
        self.end()
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def program(*arguments, **how):
    running = Program(*arguments, **how)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def simulator(venues, *arguments):
    """Yield what a real simulator says it listens on, by venue."""
    with program("sim", venues, "--json", *arguments) as running:
        count = len(venues.split(","))
        running.wait_for(lambda: len(running.out) >= count, "simulator")
        yield {said["venue"]: said for said in running.events()}


def ended(*arguments, **how):
    """Run to the end; return exit code, stdout and stderr."""
    with program(*arguments, **how) as running:
        code = running.end()
        return code, "".join(running.out), "".join(running.err)
