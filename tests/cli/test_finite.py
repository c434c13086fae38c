from __future__ import annotations

import click
import pytest

from gapless.cli.finite import FiniteRange


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-inf", "1e999", "-1", "x"])
def test_what_is_no_number_in_the_range_is_refused(text):
    with pytest.raises(click.BadParameter):
        FiniteRange(min=0).convert(text, None, None)


def test_a_number_in_the_range_passes():
    assert FiniteRange(min=0, max=2).convert("1.5", None, None) == 1.5
