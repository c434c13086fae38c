import json

import pytest

from gapless.cli import run
from gapless.cli.venues import plain
from gapless.venues._registry import load, names


def shown(capsys, *arguments):
    assert run(["venues", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_has_one_line_a_venue(capsys):
    lines = shown(capsys).splitlines()
    assert [line.split()[0] for line in lines] == list(names())
    assert "trades book bbo ticker" in lines[0]


def test_the_list_as_json(capsys):
    listed = json.loads(shown(capsys, "--json"))
    assert [venue["name"] for venue in listed] == list(names())
    assert listed[0]["channels"] == ["trades", "book", "bbo", "ticker"]


@pytest.mark.parametrize("name", names())
def test_every_fact_has_value_source_date_and_confidence(name, capsys):
    profile = load(name)
    told = json.loads(shown(capsys, "show", name, "--json"))
    facts = dict(profile.facts())
    assert set(told["facts"]) == set(facts)
    for fact_name, fact in facts.items():
        said = told["facts"][fact_name]
        assert said["value"] == plain(fact.value)
        assert (said["source"], said["as_of"]) == (fact.source, fact.as_of)
        assert (said["confidence"], said["note"]) == (fact.confidence, fact.note)
    assert told["traps"] == list(profile.traps)
    assert [(c["name"], c["topics"]) for c in told["channels"]] == [
        (c.name, dict(c.topics)) for c in profile.every_channel()
    ]


@pytest.mark.parametrize("name", names())
def test_the_text_says_the_same(name, capsys):
    profile = load(name)
    text = shown(capsys, "show", name)
    for fact_name, fact in profile.facts():
        assert f"  {fact_name}: " in text
        assert fact.source in text
        assert fact.as_of in text
        assert fact.note in text
    for channel in profile.channels:
        assert all(topic in text for topic in channel.topics.values())
    assert all(trap in text for trap in profile.traps)
    assert " object at 0x" not in text
    assert "Limit(" not in text


def test_times_are_for_people(capsys):
    assert "lifetime_ns: 86400 s" in shown(capsys, "show", "binance.spot")
