"""Check that every module has its test file, in the mirrored place."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

SOURCE = Path("src/gapless")
TESTS = Path("tests")


def mirror(module: Path) -> Path:
    """Return where the tests of ``module`` belong."""
    relative = module.relative_to(SOURCE)
    stem = "init" if relative.stem == "__init__" else relative.stem.lstrip("_")
    return TESTS / relative.parent / f"test_{stem}.py"


def has_code(module: Path) -> bool:
    """Return whether ``module`` does anything but import and explain."""
    tree = ast.parse(module.read_text())
    plain = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign, ast.AnnAssign, ast.If)
    return not all(isinstance(node, plain) for node in tree.body)


def main() -> int:
    """Print what is missing; return 1 if anything is."""
    missing = [
        (module, mirror(module))
        for module in sorted(SOURCE.rglob("*.py"))
        if has_code(module) and not mirror(module).exists()
    ]
    for module, test in missing:
        print(f"{module}: no {test}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
