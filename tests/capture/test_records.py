"""What a reader yields, and what it raises."""

from __future__ import annotations

import msgspec
import pytest

from gapless.capture.records import CaptureDamaged, Record


def test_a_record_cannot_be_changed_and_has_plain_defaults():
    record = Record("in", "a.1", 1, 2, "text", None, 3)
    with pytest.raises(AttributeError):
        record.text = "other"
    assert msgspec.structs.astuple(record)[7:] == (None,) * 5


def test_damage_names_file_place_and_detail():
    damage = CaptureDamaged("some.gz", "line 7", "not a line")
    assert (damage.path, damage.place, damage.detail) == ("some.gz", "line 7", "not a line")
    assert str(damage) == "some.gz, line 7: not a line"
    assert str(CaptureDamaged("some.gz", "", "there is no such file")) == (
        "some.gz: there is no such file"
    )
