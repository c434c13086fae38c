"""Generated pages say what the code says, the site builds, and venues keep to their places."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gapless.cli.ndjson import event_line, notice_line, summary_line
from gapless.core.stats import FeedStats
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Gap,
    Notice,
    Origin,
    Resynced,
    Ticker,
    Trade,
)
from gapless.venues._registry import load, names

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "gapless"


def load_tool(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    path = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path
        del sys.modules[spec.name]
    return module


@pytest.mark.parametrize(
    "name", ["draw_states", "generate_reference", "generate_survival", "generate_venue_pages"]
)
def test_generated_pages_are_current(name: str) -> None:
    pages = load_tool(name).pages()
    assert pages
    old = [
        str(path.relative_to(ROOT))
        for path, text in pages.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert old == [], f"run python tools/{name}.py"


def test_check_names_what_is_out_of_date_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    writing = load_tool("_writing")
    monkeypatch.setattr(writing, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    assert writing.finish({page: "new"}, ["--check"]) == 1
    assert "out of date: page.md" in capsys.readouterr().out
    assert not page.exists()
    assert writing.finish({page: "new"}, []) == 0
    assert page.read_text() == "new"
    assert writing.finish({page: "new"}, ["--check"]) == 0


def test_every_venue_has_a_page_with_every_fact() -> None:
    tool = load_tool("generate_venue_pages")
    for name in names():
        profile = load(name)
        page = tool.page(profile)
        for fact_name, _ in profile.facts():
            channel, _, what = fact_name.partition(".")
            assert what or tool.TITLES[channel] in page, fact_name
        for trap in profile.traps:
            assert tool.escape(trap) in page


def test_every_bound_in_the_code_is_on_the_page() -> None:
    found: set[tuple[str, str]] = set()
    for folder in ("core", "io", "venues"):
        for path in (SOURCE / folder).glob("*.py"):
            names = re.findall(r"^([A-Z][A-Z_]*_MAX)\b", path.read_text(), re.M)
            found |= {(f"gapless.{folder}.{path.stem}", name) for name in names}
    tool = load_tool("generate_reference")
    bounds = [*tool.BOUNDS, *tool.venue_bounds()]
    assert all(meaning for _, _, meaning in bounds)
    assert found
    assert found <= {(module, name) for module, name, _ in bounds}


def test_every_bar_was_measured_and_every_test_that_is_named_exists() -> None:
    assert load_tool("generate_survival").troubles() == []


def test_a_row_of_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = load_tool("generate_survival")
    bars, faults = tool.rows()
    bars[0]["tests"] = ["tests/docs/test_generated.py::test_that_is_not_there"]
    bars[1]["figures"][0]["key"] = "never.measured"
    faults[0] |= {"tests": [], "why": ""}
    monkeypatch.setattr(tool, "rows", lambda: (bars, faults))
    words = "\n".join(tool.troubles())
    assert "there is no test tests/docs/test_generated.py::test_that_is_not_there" in words
    assert "never.measured was not measured" in words
    assert "fault 1 has neither a test nor a reason" in words


def test_a_bar_that_is_not_reached_is_called_so() -> None:
    tool = load_tool("generate_survival")
    known = {"a": {"max": 2.5, "date": "2026-01-01"}}
    row = {"figures": [{"key": "a", "says": "{max} s", "at_most": {"max": 2.25}}]}
    assert tool._measured(row, known) == ("2.5 s", "**not reached**", "2026-01-01")
    row["figures"][0]["at_most"] = {"max": 2.5}
    assert tool._measured(row, known)[1] == "holds"
    row["figures"].append({"key": "b", "says": ""})
    assert tool._measured(row, known)[1] == "**not shown**"


def build(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_site_builds_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    build(tmp_path)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 15
    fetches = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=[\"']?(https?:)?//")
    for page in pages:
        found = fetches.search(page.read_text(encoding="utf-8"))
        assert found is None, f"{page.name}: {found}"
        assert 'class="mermaid"' not in page.read_text(encoding="utf-8")


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


# -- the keys of the JSON lines ---------------------------------------------------------------


def documented() -> dict[str, list[str]]:
    text = (ROOT / "docs" / "reference" / "ndjson.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    return {
        section.split("\n", 1)[0].strip().strip("`"): re.findall(r"^\| `(\w+)` \|", section, re.M)
        for section in sections
    }


def test_the_page_on_json_lines_names_every_key_in_order() -> None:
    origin = Origin("venue", "book", "S", "book.S", "a", 1)
    head = (origin, 1, 1, 1, 1, 1)
    lines = {
        "trade": event_line(Trade(*head, "1", 1.0, 1.0, "buy")),
        "book": event_line(BookDelta(*head, [], [])),
        "bbo": event_line(Bbo(*head, 1.0, 1.0, 1.0, 1.0)),
        "ticker": event_line(Ticker(*head, 1.0)),
        "gap": event_line(Gap(*head, 1, "cause", 1, 1)),
        "resynced": event_line(Resynced(*head, "ids", 1)),
        "notice": notice_line(
            Notice(1, "venue", 1, 1, "live", "a", 1, None, None, "cause", "evidence")
        ),
        "summary": summary_line(
            FeedStats("venue", (), (), (), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None), 1, 1
        ),
    }
    pages = documented()
    shared = pages["Every line"]
    for kind, line in lines.items():
        assert list(msgspec.json.decode(line)) == [*shared, *pages[kind]], kind
    snapshot = msgspec.json.decode(event_line(BookSnapshot(*head, [], [])))
    assert list(snapshot) == [*shared, *pages["book"]]


# -- venues keep to their places ----------------------------------------------------------------

NAMES = re.compile("|".join({part for name in names() for part in name.split(".")[:1]}), re.I)


PLACES = ("venues/", "sim/dialects/", "sim/build.py")


def allowed(path: Path) -> bool:
    return path.relative_to(SOURCE).as_posix().startswith(PLACES)


def in_code(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield names and strings that the program works with; text for people is not code."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    documents |= {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "help"
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documents:
                yield node.lineno, text
            case ast.Name(id=text) | ast.Attribute(attr=text):
                yield node.lineno, text
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(text)):
                yield node.lineno, text
            case ast.FunctionDef(name=text) | ast.ClassDef(name=text):
                yield node.lineno, text
            case _:
                pass


def test_no_venue_is_named_outside_its_places() -> None:
    found: list[str] = []
    for path in SOURCE.rglob("*.py"):
        if not allowed(path):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [
                f"{path.relative_to(SOURCE)}:{line}: {text}"
                for line, text in in_code(tree)
                if NAMES.search(text)
            ]
    assert found == []
