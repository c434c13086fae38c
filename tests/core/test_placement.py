"""Topics are placed within the venue's limits, and stay where they are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gapless.core.placement import FULL, THIN, Placement


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


def test_a_line_that_has_given_up_gets_no_more_topics():
    placement = Placement("a", 10)
    placement.place("x", "/")
    placement.closed.add("a")
    assert placement.place("y", "/") == ["a2"]
    assert placement.lines == {"a": ["x"], "a2": ["y"]}


def test_all_lines_together_keep_to_what_the_address_may_have():
    placement = Placement("ab", 10, None, 5)
    assert not placement.full
    placement.place("x", "/")
    assert not placement.full
    placement.place("y", "/")
    assert placement.full  # one more would be six
    placement.remove("x")
    assert not placement.full


# -- merging ------------------------------------------------------------------------------------


def thinned(letters: str = "a", per_address: int | None = None) -> Placement:
    """Two lines of at most ten for each letter, of which the second carries two."""
    placement = Placement(letters, 10, None, per_address)
    for number in range(20):
        placement.place(f"t{number:02}", "/")
    for number in (*range(5, 10), *range(12, 20)):
        placement.remove(f"t{number:02}")
    return placement


def test_a_thin_line_is_doubled_first_and_left_afterwards():
    placement = thinned()
    assert placement.double() == {"a": ["t10", "t11"]}
    assert placement.leaving == "a2"
    assert placement.lines["a"][-2:] == ["t10", "t11"]
    assert placement.lines["a2"] == ["t10", "t11"]  # for a while on both
    assert placement.double() == {}  # one at a time
    assert placement.place("new", "/") == ["a"]
    assert placement.leave() == "a2"
    assert placement.leaving is None
    assert list(placement.lines) == ["a"]
    assert placement.remove("t10") == ["a"]
    assert placement.leave() is None


def test_a_merger_that_is_given_up_leaves_everything_as_it_was():
    placement = thinned()
    before = {line: list(topics) for line, topics in placement.lines.items()}
    placement.double()
    assert placement.stay() == {"a": ["t10", "t11"]}
    assert placement.lines == before
    assert placement.leaving is None
    assert placement.remove("t10") == ["a2"]


def test_a_topic_that_goes_while_it_is_doubled_goes_from_both_lines():
    placement = thinned()
    placement.double()
    assert sorted(placement.remove("t10")) == ["a", "a2"]
    assert placement.leave() == "a2"
    assert "t10" not in placement.lines["a"]


def test_what_is_not_worth_it_is_not_merged():
    full = Placement("a", 10)
    for number in range(20):
        full.place(f"t{number:02}", "/")
    assert full.double() == {}
    for number in range(12, 20):  # two left on the second, but the first is full
        full.remove(f"t{number:02}")
    assert full.double() == {}
    elsewhere = Placement("a", 10)
    elsewhere.begin(["x", "y"], {"x": "/public", "y": "/market"})
    assert elsewhere.double() == {}  # another endpoint
    assert thinned(per_address=8).double() == {}  # no room to carry two of them twice
    halted = thinned()
    halted.closed.add("a")
    assert halted.double() == {}


class Balancing(RuleBasedStateMachine):
    """Topics come, go and move; whatever happens, every one is where it must be."""

    @initialize(
        letters=st.integers(1, 2),
        most=st.integers(2, 9),
        most_bytes=st.none() | st.integers(20, 60),
    )
    def begin(self, letters: int, most: int, most_bytes: int | None) -> None:
        self.most, self.most_bytes = most, most_bytes
        self.placement = Placement("ab"[:letters], most, most_bytes)
        self.wanted: dict[str, str] = {}

    @rule(number=st.integers(0, 40), path=st.sampled_from(["/p", "/q"]))
    def add(self, number: int, path: str) -> None:
        if (topic := f"t{number}") not in self.wanted:
            self.wanted[topic] = path
            self.placement.place(topic, path)

    @rule(count=st.integers(1, 12))
    def remove(self, count: int) -> None:
        for topic in list(self.wanted)[:count]:
            del self.wanted[topic]
            for line in self.placement.remove(topic):
                if not self.placement.lines[line]:
                    del self.placement.lines[line]

    @rule()
    def double(self) -> None:
        self.placement.double()

    @rule()
    def leave(self) -> None:
        self.placement.leave()

    @rule()
    def stay(self) -> None:
        self.placement.stay()

    @rule(halt=st.booleans())
    def close(self, halt: bool) -> None:
        if halt and self.placement.lines:
            self.placement.closed.add(next(iter(self.placement.lines)))

    @rule()
    def balancing_ends(self) -> None:
        rounds = 0
        self.placement.leave()
        while self.placement.double():
            assert self.placement.leave() is not None
            rounds += 1
            assert rounds <= 100, "it goes round in circles"

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        for line, topics in self.placement.lines.items():
            assert len(topics) <= self.most
            if self.most_bytes is not None:
                assert sum(len(t) + 3 for t in topics) <= self.most_bytes
            assert {self.wanted[t] for t in topics} <= {self.placement.paths[line]}

    @invariant()
    def every_topic_is_carried_once_by_each_letter_and_twice_only_while_it_moves(self) -> None:
        placement = self.placement
        for letter in placement.letters:
            lines = {n: ts for n, ts in placement.lines.items() if n[0] == letter}
            settled = [t for n, ts in lines.items() if n != placement.leaving for t in ts]
            assert sorted(settled) == sorted(self.wanted)
            moving = lines.get(placement.leaving or "", [])
            assert set(moving) <= set(settled)


TestBalancing = Balancing.TestCase
TestBalancing.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_merged_placement_keeps_room_for_more():
    placement = thinned()
    placement.double()
    placement.leave()
    assert len(placement.lines["a"]) <= 10 * FULL
    assert THIN < FULL / 2  # what was merged is not thin at once
