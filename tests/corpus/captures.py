"""The recorded captures as records, and who else may be asked what stands in them."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import pytest

from gapless.capture.reader import open_capture
from gapless.capture.records import Record

ROOT = Path(
    os.environ.get("GAPLESS_CORPUS") or Path(__file__).parents[2].parent / "shared" / "corpus"
)


def located(name: str) -> Path:
    """Return where a capture is; skip without it, and fail where it is required."""
    path = ROOT / f"{name}.jsonl.gz"
    if not path.exists():
        words = f"no capture {name} in the corpus; GAPLESS_CORPUS says where it is"
        if os.environ.get("GAPLESS_CORPUS_REQUIRED"):
            pytest.fail(words)
        pytest.skip(words)
    return path


@lru_cache(maxsize=1)  # some hold 100,000 frames
def records(name: str) -> tuple[Record, ...]:
    return tuple(open_capture(located(name)))
