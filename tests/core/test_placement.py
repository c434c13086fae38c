"""Topics are placed within the venue's limits, and stay where they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.placement import Placement


def test_one_line_carries_everything_where_nothing_is_limited():
    placement = Placement("a")
    placement.begin(["x", "y"], {"x": "/ws", "y": "/ws"})
    assert placement.lines == {"a": ["x", "y"]}
    assert placement.place("z", "/ws") == ["a"]
    assert placement.lines == {"a": ["x", "y", "z"]}


def test_what_other_endpoints_serve_has_lines_of_its_own():
    placement = Placement("ab")
    placement.begin(["x", "y"], {"x": "/public", "y": "/market"})
    assert placement.lines == {"a1": ["x"], "a2": ["y"], "b1": ["x"], "b2": ["y"]}
    assert placement.paths == {"a1": "/public", "a2": "/market", "b1": "/public", "b2": "/market"}
    assert placement.place("z", "/market") == ["a2", "b2"]


def test_a_full_line_gets_a_sibling_and_room_is_used_again():
    placement = Placement("a", 2)
    for topic in ("x", "y", "z"):
        placement.place(topic, "/")
    assert placement.lines == {"a": ["x", "y"], "a2": ["z"]}
    assert placement.remove("x") == ["a"]
    assert placement.place("w", "/") == ["a"]


def test_a_removed_line_lends_its_name_to_no_line_that_is_there():
    placement = Placement("a", 1)
    for topic in ("x", "y", "z"):
        placement.place(topic, "/")
    placement.remove("y")
    del placement.lines["a2"]
    placement.place("w", "/")
    assert sorted(topic for topics in placement.lines.values() for topic in topics) == [
        "w",
        "x",
        "z",
    ]


@given(
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(8, 40),
    st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.sampled_from(["/p", "/q"]))),
)
def test_no_limit_is_ever_exceeded_and_every_topic_is_carried_by_each_letter(
    letters, most, most_bytes, story
):
    placement = Placement("abc"[:letters], most, most_bytes)
    wanted: dict[str, str] = {}
    for add, number, path in story:
        topic = f"t{number}"
        if add and topic not in wanted:
            wanted[topic] = path
            assert len(placement.place(topic, path)) == letters
        elif not add and topic in wanted:
            del wanted[topic]
            for line in placement.remove(topic):
                if not placement.lines[line]:
                    del placement.lines[line]
        for line, topics in placement.lines.items():
            assert len(topics) <= most
            assert sum(len(t) + 3 for t in topics) <= most_bytes
            assert {wanted[t] for t in topics} <= {placement.paths[line]}
        for letter in "abc"[:letters]:
            carried = [t for name, ts in placement.lines.items() if name[0] == letter for t in ts]
            assert sorted(carried) == sorted(wanted)
