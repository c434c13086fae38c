"""Faults: what each takes, and what is refused, with the key that is wrong."""

import math

import msgspec
import pytest

from gapless.proxy.faults import KINDS, Fault, FaultInvalid

NEEDED = {"delay_ms": 5, "bytes_per_s": 1000, "n_bytes": 10}


def good(name, **fields):
    return Fault(name=name, **{key: NEEDED[key] for key in KINDS[name].needs}, **fields)


@pytest.mark.parametrize("name", KINDS)
def test_every_fault_can_be_written_with_what_it_needs(name):
    good(name).check()
    for key in KINDS[name].needs:
        with pytest.raises(FaultInvalid, match=f"{name} needs {key}") as caught:
            Fault(name=name).check()
        assert caught.value.key == key


def test_the_table_names_every_fault_that_the_type_allows():
    hint = next(f.type for f in msgspec.structs.fields(Fault) if f.name == "name")
    assert set(KINDS) == set(hint.__args__)


BAD = [
    ({"name": "explode"}, "name", "there is no fault named 'explode'"),
    ({"name": "reset", "at_s": -1.0}, "at_s", "at_s cannot be negative: -1.0"),
    ({"name": "reset", "at_s": math.nan}, "at_s", "not a finite number"),
    ({"name": "reset", "for_s": math.inf}, "for_s", "not a finite number"),
    ({"name": "reset", "for_s": 0.0}, "for_s", "above 0"),
    ({"name": "reset", "count": 0}, "count", "must be from 1"),
    ({"name": "reset", "connection": 0}, "connection", "must be from 1"),
    ({"name": "reset", "direction": "in"}, "direction", "takes no direction"),
    ({"name": "drop", "direction": "up"}, "direction", "in, out or both"),
    ({"name": "drop", "traffic": "ws"}, "traffic", "takes no traffic"),
    ({"name": "reset", "traffic": "http", "connection": 1}, "connection", "not HTTP requests"),
    ({"name": "reset", "topic": "book"}, "topic", "reset takes no topic"),
    ({"name": "drop", "code": 1000}, "code", "drop takes no code"),
    ({"name": "drop", "probability": 0.0}, "probability", "above 0"),
    ({"name": "drop", "probability": 1.5}, "probability", "at most 1"),
    ({"name": "drop", "probability": math.nan}, "probability", "above 0"),
    ({"name": "drop", "topic": ""}, "topic", "empty pattern"),
    ({"name": "drop", "topic": "**"}, "topic", "empty pattern"),
    ({"name": "drop", "topic": "book[ab"}, "topic", r"without its \]"),
    ({"name": "drop", "topic": "x" * 300}, "topic", "longer than"),
    ({"name": "close", "reason": "x" * 124}, "reason", "longer than 123 bytes"),
    ({"name": "close", "code": 70_000}, "code", "from 0 to 65,535"),
    ({"name": "latency", "delay_ms": -1}, "delay_ms", "cannot be negative"),
]


@pytest.mark.parametrize(("fields", "key", "words"), BAD)
def test_what_cannot_be_carried_out_is_refused_with_its_key(fields, key, words):
    with pytest.raises(FaultInvalid, match=words) as caught:
        Fault(**fields).check()
    assert caught.value.key == key


@pytest.mark.parametrize("topic", ["book", "book.*", "tr[ab]de", "[]]", "[!]]x", "a?c"])
def test_good_patterns_pass(topic):
    Fault(name="drop", topic=topic).check()


def test_a_single_message_is_hit_unless_something_says_how_many():
    assert Fault(name="drop").limit == 1
    assert Fault(name="drop", count=5).limit == 5
    assert Fault(name="drop", for_s=5).limit is None
    assert Fault(name="drop", probability=0.5).limit is None
    assert Fault(name="delay", delay_ms=5).limit is None
    assert Fault(name="latency", delay_ms=5).limit is None


def test_directions():
    assert [Fault(name="drop").strikes(w) for w in ("in", "out")] == [True, False]
    assert [Fault(name="drop", direction="out").strikes(w) for w in ("in", "out")] == [False, True]
    assert [Fault(name="half_open_in").strikes(w) for w in ("in", "out")] == [True, False]
    assert [Fault(name="half_open_out").strikes(w) for w in ("in", "out")] == [False, True]
    assert all(good("latency").strikes(way) for way in ("in", "out"))


def test_json_is_read_and_refused():
    assert Fault.from_json('{"name": "close", "code": 1012}').get("code") == 1012
    for text in ("{", '{"name": "close", "cod": 1}', '{"name": 5}', '{"name":"drop","count":-1}'):
        with pytest.raises(FaultInvalid):
            Fault.from_json(text)
