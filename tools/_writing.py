"""What the generators share: write files, or say which are out of date."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def outdated(pages: Mapping[Path, str]) -> list[Path]:
    """Return the pages whose file is missing or differs from what the code says."""
    return [
        path
        for path, text in pages.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def finish(pages: Mapping[Path, str], arguments: list[str]) -> int:
    """Write what is out of date, or only name it under ``--check``; return the exit code."""
    if arguments not in ([], ["--check"]):
        print("the only argument is --check", file=sys.stderr)
        return 64
    old = outdated(pages)
    for path in old:
        print(f"{'out of date' if arguments else 'wrote'}: {path.relative_to(ROOT)}")
        if not arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
    return 1 if old and arguments else 0


def between(text: str, name: str, fresh: str) -> str:
    """Return ``text`` with what stands between two markers replaced.

    Raises:
        ValueError: The markers are not there.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no markers for {name}")
    return f"{head}{begin}\n{fresh.strip()}\n{end}{tail}"
