"""`import gapless` costs nothing, and gives everything that it promises."""

import subprocess
import sys
from importlib import import_module

import pytest

import gapless


def test_every_promised_name_is_there():
    for name in gapless.__all__:
        assert getattr(gapless, name) is not None, name


def test_each_name_is_that_of_its_module():
    for module, names in gapless._HOMES.items():
        for name in names:
            assert getattr(gapless, name) is getattr(import_module(module), name)
    assert {name for names in gapless._HOMES.values() for name in names} | {"__version__"} == set(
        gapless.__all__
    )


def test_from_import_works():
    code = "from gapless import open, Trade, Options; print(open.__module__, Trade.__module__)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["gapless.client", "gapless.events"]


def test_modules_are_reachable_as_attributes():
    code = "import gapless; print(gapless.errors.__name__, gapless.events.__name__)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["gapless.errors", "gapless.events"]


def test_importing_imports_nothing_else():
    code = "import sys, gapless; print([m for m in sys.modules if m.startswith('gapless.')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gapless.nothing  # noqa: B018


def test_dir_lists_what_is_promised():
    assert set(gapless.__all__) <= set(dir(gapless))
