"""A plan: which faults strike when, as a TOML file says it.

A plan is checked whole before anything listens, and what is wrong with it is told with the line and
the key, because a plan that is silently half right makes a test that proves nothing.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gapless.errors import UsageError, printable
from gapless.proxy.faults import KINDS, Fault, FaultInvalid

__all__ = ["FAULTS_MAX", "Plan", "PlanInvalid"]

FAULTS_MAX: Final = 1000
"""Faults of one plan, and of one proxy at a time."""

TEXT_CHARS_MAX: Final = 1 << 20

_TYPES: Final = {f.name: f.type for f in msgspec.structs.fields(Fault)}
_AT_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)$")
_HEADER: Final = re.compile(r"\s*\[\[\s*[\"']?fault[\"']?\s*\]\]")
_ANY_HEADER: Final = re.compile(r"\s*\[")


class PlanInvalid(UsageError):
    """A plan that cannot be carried out as it is written.

    Attributes:
        line: The line, from 1; 0 if there is none to name.
        key: The key, or empty.
    """

    def __init__(self, line: int, key: str, words: str) -> None:
        self.line = line
        self.key = key
        super().__init__(f"line {line}: {words}" if line else words)


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes wrong, and when.

    Attributes:
        faults: In the order in which they are asked: of two that match a message, the first.
        lines: The line of each in its file, where there is one.
    """

    faults: tuple[Fault, ...] = ()
    lines: tuple[dict[str, int], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if len(self.faults) > FAULTS_MAX:
            raise PlanInvalid(0, "fault", f"a plan has at most {FAULTS_MAX} faults")
        for index, fault in enumerate(self.faults):
            try:
                fault.check()
            except FaultInvalid as error:
                words = f"{error} (fault {index + 1})"
                raise PlanInvalid(self.line(index, error.key), error.key, words) from error

    def line(self, index: int, key: str = "") -> int:
        """Return the line of a fault, or of one of its keys; 0 if the plan is not from a file."""
        if index >= len(self.lines):
            return 0
        found = self.lines[index]
        return found.get(key, found[""])

    @classmethod
    def from_toml(cls, text: str) -> Plan:
        """Read a plan: a table ``[[fault]]`` for each fault.

        Raises:
            PlanInvalid: It is not TOML, or something in it cannot be carried out.
        """
        if len(text) > TEXT_CHARS_MAX:
            raise PlanInvalid(0, "", f"a plan has at most {TEXT_CHARS_MAX:,} characters")
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            words = str(error)
            found = _AT_LINE.search(words)
            line = int(found[1]) if found else text.count("\n") + 1
            words = printable(_AT_LINE.sub("", words).replace(" (at end of document)", ""))
            raise PlanInvalid(line, "", f"not TOML: {words}") from error
        except RecursionError as error:
            raise PlanInvalid(0, "", "not a plan: nested too deeply") from error
        top, lines = _lines(text)
        for key in document:
            if key != "fault":
                raise PlanInvalid(top.get(key, 1), key, f"unknown key {printable(key)!r}")
        tables = document.get("fault", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise PlanInvalid(top.get("fault", 1), "fault", "each fault is a table [[fault]]")
        if len(lines) != len(tables):  # written in some other way, such as one inline array
            lines = [{"": top.get("fault", 1)} for _ in tables]
        faults = tuple(
            _fault(table, where, index + 1)
            for index, (table, where) in enumerate(zip(tables, lines, strict=True))
        )
        return cls(faults, tuple(lines))


def _fault(table: dict[str, Any], lines: dict[str, int], number: int) -> Fault:
    def invalid(key: str, words: str) -> PlanInvalid:
        return PlanInvalid(lines.get(key, lines[""]), key, f"{words} (fault {number})")

    name = table.get("name")
    if name is None:
        raise invalid("name", "name is missing")
    if not isinstance(name, str) or name not in KINDS:
        near = difflib.get_close_matches(str(name), KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise invalid("name", f"there is no fault named {printable(str(name))!r}{hint}")
    values = {}
    for key, value in table.items():
        if key not in _TYPES:
            near = difflib.get_close_matches(key, _TYPES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise invalid(key, f"unknown key {printable(key)!r}{hint}")
        try:
            values[key] = msgspec.convert(value, _TYPES[key])
        except msgspec.ValidationError as error:
            words = str(error).replace("`", "").replace(" | null", "")
            raise invalid(key, f"{key}: {printable(words)}") from error
    return Fault(**values)


def _lines(text: str) -> tuple[dict[str, int], list[dict[str, int]]]:
    """Return on which lines the keys stand: those before any table, and those of each fault.

    The parser does not tell.  This reads no values: a key is what stands before the first ``=`` of
    a line outside of texts that span lines.
    """
    top: dict[str, int] = {}
    faults: list[dict[str, int]] = []
    current = top
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            if line.count(fence) % 2:
                fence = ""
            continue
        if _HEADER.match(line):
            current = {"": number}
            faults.append(current)
        elif _ANY_HEADER.match(line):
            name = line.strip().strip("[]").split(".")[0].strip("\"' ")
            top.setdefault(name, number)
            current = {}
        elif "=" in line and not line.lstrip().startswith("#"):
            key = line.split("=", 1)[0].strip().strip("\"'")
            current.setdefault(key, number)
            for quotes in ('"""', "'''"):
                if line.count(quotes) % 2:
                    fence = quotes
    return top, faults
