"""What a dial is told and what it tells."""

import dataclasses

import pytest

from gapless.io.transport import DialOptions, DialTimings, Limits


@pytest.mark.parametrize(
    "value", [Limits(), DialOptions(), DialTimings(0, 1, 2, 3, "192.0.2.1")], ids=repr
)
def test_values_are_frozen_and_equal_by_content(value):
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, 7)
    assert dataclasses.replace(value) == value


def test_options_have_no_headers_in_common():
    assert DialOptions().headers is not DialOptions().headers


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits)])
def test_every_limit_is_finite_and_positive(name):
    assert 0 < getattr(Limits(), name) < 1 << 30
