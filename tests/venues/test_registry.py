"""Names lead to profiles, and wrong names to the nearest right ones."""

from __future__ import annotations

import pytest

from gapless.errors import UsageError
from gapless.venues._registry import load, names


@pytest.mark.parametrize("name", list(names()))
def test_every_name_leads_to_the_profile_of_that_name(name):
    profile = load(name)
    assert profile.name == name
    assert load(name) is profile


@pytest.mark.parametrize(
    ("wrong", "right"), [("deribt", "deribit"), ("binance", "binance.spot"), ("Deribit", "deribit")]
)
def test_a_wrong_name_is_answered_with_the_nearest(wrong, right):
    with pytest.raises(UsageError, match=f"did you mean {right}"):
        load(wrong)


def test_a_name_unlike_any_is_answered_with_all_of_them():
    with pytest.raises(UsageError, match=r"binance\.spot, deribit"):
        load("qqq")
