"""Where measured figures go: one line of JSON each, if ``GAPLESS_MEASURE`` names a file.

Tests and benchmarks note what they measured; `tools/generate_survival.py` condenses it to the table
of what is survived.  Without the variable nothing is written.
"""

from __future__ import annotations

import json
import os

__all__ = ["note"]


def note(figure: str, value: float, where: str) -> None:
    """Append one measured value; several processes may write to one file."""
    name = os.environ.get("GAPLESS_MEASURE")
    if name is None:
        return
    line = json.dumps({"figure": figure, "value": value, "where": where}) + "\n"
    with open(name, "ab", buffering=0) as file:
        file.write(line.encode())
