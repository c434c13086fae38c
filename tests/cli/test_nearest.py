import click
import pytest

from gapless.cli.nearest import NearestGroup

group = NearestGroup("fruit", commands={name: click.Command(name) for name in ("apple", "fig")})


def refusal(*arguments):
    with pytest.raises(click.UsageError) as caught:
        group.main(list(arguments), standalone_mode=False)
    return caught.value.message


def test_the_near_names_are_named():
    assert refusal("aple") == "no verb 'aple'; did you mean apple?"


def test_if_none_is_near_all_are_named():
    assert refusal("zzz") == "no verb 'zzz'; did you mean apple, fig?"


def test_a_wrong_option_is_not_taken_for_a_verb():
    assert "--zzz" in refusal("--zzz")
