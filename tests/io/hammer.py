"""Takes whatever the shared window grants, and says when; for `tests/io/test_budget_store.py`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from gapless.core.budget import Budget, Window
from gapless.io.budget_store import BudgetStore


def main() -> None:
    directory, count, per_ns, seconds = sys.argv[1:]
    store = BudgetStore(Path(directory), "venue")
    budget = Budget(Window(int(count), int(per_ns)), ledger=store.ledger("dials"))
    end_ns = time.monotonic_ns() + int(float(seconds) * 1e9)
    while (now_ns := time.monotonic_ns()) < end_ns:
        if budget.take(now_ns) == 0:
            os.write(1, b"%d\n" % now_ns)  # at once, so that a kill takes back nothing
        else:
            time.sleep(0.000_2)
    for words in store.troubles:
        print("trouble", words)


if __name__ == "__main__":
    main()
