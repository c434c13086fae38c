"""Plans: what is wrong is told with the line and the key."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.docs.snippets import ROOT, of

from gapless.proxy.faults import KINDS, Fault
from gapless.proxy.plan import FAULTS_MAX, Plan, PlanInvalid

GOOD = '''# a bad minute
[[fault]]
name = "latency"
delay_ms = 80
jitter_ms = 30

[[fault]]
name = "drop"       # [[fault]] in a comment is none
topic = "trades.*"
at_s = 10
for_s = 2.5
probability = 0.1

[[ fault ]]
name = "close"
reason = """
name = "not a key"
[[fault]]
"""
at_s = 20
code = 1012
'''


def test_a_plan_is_read():
    plan = Plan.from_toml(GOOD)
    assert plan.faults == (
        Fault(name="latency", delay_ms=80.0, jitter_ms=30.0),
        Fault(name="drop", topic="trades.*", at_s=10.0, for_s=2.5, probability=0.1),
        Fault(name="close", reason='name = "not a key"\n[[fault]]\n', at_s=20.0, code=1012),
    )
    assert [plan.line(i) for i in range(3)] == [2, 7, 14]
    assert [plan.line(1, key) for key in ("topic", "for_s", "absent")] == [9, 11, 7]
    assert plan.line(2, "code") == 21


PAGE = ROOT / "docs" / "reference" / "fault-plans.md"


def test_every_plan_in_the_docs_is_one():
    plans = [s for s in of("toml") if "[[fault]]" in s.text]
    assert plans
    for snippet in plans:
        assert Plan.from_toml(snippet.text).faults, snippet


def test_the_page_names_every_fault_with_its_keys_and_defaults():
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*)\|$", PAGE.read_text(), re.M)
    told = {name: keys for name, keys in rows if name in KINDS}
    assert list(told) == sorted(KINDS, key=list(told).index)
    for name, kind in KINDS.items():
        named = re.findall(r"`(\w+)`(?: (\w+))?", told[name])
        assert {key for key, _ in named if key != "direction"} == set(kind.takes), name
        assert {key for key, word in named if word == "needed"} == set(kind.needs), name
        assert dict(named).get("direction") == kind.direction, name
        for key, word in named:
            if key not in ("direction", "topic") and word != "needed":
                value = Fault(name=name).get(key)
                told_as = (
                    f"{value:g}" if isinstance(value, float) else str(value or "empty").lower()
                )
                assert (told_as if value is not False else "false") == word, (name, key)


def test_no_text_and_inline_tables_are_plans_too():
    assert Plan.from_toml("").faults == ()
    plan = Plan.from_toml('\nfault = [{name = "reset", at_s = 1}, {name = "drop"}]\n')
    assert [fault.name for fault in plan.faults] == ["reset", "drop"]
    assert plan.line(1, "name") == 2


def bad(line_5, name="drop"):
    return f'# plan\n\n[[fault]]\nname = "{name}"\n{line_5}\n'


BAD = [
    (bad("", "explode"), 4, "name", "no fault named 'explode'"),
    (bad("", "dorp"), 4, "name", "did you mean drop"),
    (bad("colour = 3"), 5, "colour", "unknown key 'colour'"),
    (bad("at = 3"), 5, "at", "did you mean at_s"),
    (bad("at_s = -3"), 5, "at_s", "cannot be negative"),
    (bad("at_s = nan"), 5, "at_s", "not a finite number"),
    (bad("for_s = inf"), 5, "for_s", "not a finite number"),
    (bad('at_s = "3"'), 5, "at_s", "at_s: Expected float, got str"),
    (bad("count = 1.5"), 5, "count", "count: Expected int"),
    (bad("count = true"), 5, "count", "count: Expected int"),
    (bad("topic = ''"), 5, "topic", "empty pattern"),
    (bad("topic = 'a[b'"), 5, "topic", "without its ]"),
    (bad('"at_s" = -3'), 5, "at_s", "cannot be negative"),
    (bad("code = 1000"), 5, "code", "drop takes no code"),
    (bad("", "latency"), 3, "delay_ms", "latency needs delay_ms"),
    (bad('direction = "up"'), 5, "direction", "direction: "),
    ("seed = 3\n", 1, "seed", "unknown key 'seed'"),
    ("\n[faults]\nx = 1\n", 2, "faults", "unknown key 'faults'"),
    ("\nfault = 3\n", 2, "fault", "each fault is a table"),
    ("\n\n[[fault]]\nat_s = 3\n", 3, "name", "name is missing"),
    ('[[fault]]\nname = "reset\n', 2, "", "not TOML"),
    ('[[fault]]\nname = "reset"\nname = "drop"\n', 3, "", "not TOML"),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), BAD)
def test_a_wrong_plan_names_line_and_key(text, line, key, words):
    with pytest.raises(PlanInvalid, match=re.escape(words)) as caught:
        Plan.from_toml(text)
    assert (caught.value.line, caught.value.key) == (line, key)
    assert str(caught.value).startswith(f"line {line}: ")
    assert "\n" not in str(caught.value)


def test_the_second_fault_is_named_by_its_own_line():
    text = '[[fault]]\nname = "drop"\nat_s = 1\n\n[[fault]]\nname = "drop"\nat_s = -1\n'
    with pytest.raises(PlanInvalid, match=r"line 7: at_s .*\(fault 2\)"):
        Plan.from_toml(text)


def test_a_plan_is_bounded():
    with pytest.raises(PlanInvalid, match="at most"):
        Plan(faults=(Fault(name="drop"),) * (FAULTS_MAX + 1))
    with pytest.raises(PlanInvalid, match="at most"):
        Plan.from_toml("#" * (1 << 21))


def test_a_plan_made_of_faults_is_checked_too():
    with pytest.raises(PlanInvalid, match=r"count .*\(fault 1\)"):
        Plan(faults=(Fault(name="drop", count=0),))


@given(st.text(alphabet="[]faulthnme_s=\"'\n#.{},0159- ", max_size=120))
def test_any_text_is_a_plan_or_is_refused(text):
    with contextlib.suppress(PlanInvalid):
        assert isinstance(Plan.from_toml(text), Plan)
