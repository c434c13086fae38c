"""Names lead to profiles, and wrong names to the nearest right ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gapless.errors import UsageError
from gapless.venues._registry import load, names

every_name = pytest.mark.parametrize("name", list(names()))


@every_name
def test_every_name_leads_to_the_profile_of_that_name(name):
    profile = load(name)
    assert profile.name == name
    assert load(name) is profile


def test_every_name_is_there_once_and_in_order():
    assert names()
    assert list(names()) == sorted(set(names()))


@every_name
def test_a_name_of_which_the_end_is_missing_is_answered_with_the_right_one(name):
    with pytest.raises(UsageError) as caught:
        load(name[:-1])
    assert name in str(caught.value).split("did you mean ")[1].rstrip("?").split(", ")


@every_name
def test_capitals_are_another_name(name):
    with pytest.raises(UsageError, match="did you mean"):
        load(name.upper())


def test_a_name_unlike_any_is_answered_with_all_of_them():
    with pytest.raises(UsageError) as caught:
        load("qqq")
    assert str(caught.value) == f"no venue 'qqq'; did you mean {', '.join(names())}?"


@pytest.mark.parametrize("name", ["", ".", "_profile", "_registry", "os", "__init__", "a" * 1000])
def test_what_is_no_venue_is_imported_by_no_name(name):
    with pytest.raises(UsageError):
        load(name)


def test_a_venue_is_loaded_without_the_others():
    name = names()[0]
    program = (
        "import sys; from gapless.venues._registry import load;"
        f"profile = load({name!r});"
        "found = {m.split('.')[2].lstrip('_').split('_')[0] for m in sys.modules"
        " if m.startswith('gapless.venues.')};"
        f"assert found == {{'profile', 'registry', {name.partition('.')[0]!r}}}, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
