"""Every dialect under frames that were recorded, or printed in documents, and then spoilt.

A frame is changed as its grammar allows: keys lost, doubled and renamed, values exchanged with
those of other frames, numbers that no machine word holds, nesting without end, halves of signs.
Whatever comes, a codec may refuse it with a `DecodeError` and nothing else, and every event that it
lets through keeps its bounds.  ``GAPLESS_FUZZ_CASES`` says how many frames are spoilt; where the
recorded frames are not at hand, those of the documents are all there is.
"""

from __future__ import annotations

import contextlib
import json
import os
from functools import cache
from importlib import import_module
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpus.captures import ROOT
from tests.venues.speech import JUNK, compact

from gapless.capture.reader import open_capture
from gapless.capture.records import Record
from gapless.core.codec import Bundle
from gapless.errors import DecodeError
from gapless.events import BookDelta, BookSnapshot, Event
from gapless.inspection.inspector import Inspector
from gapless.inspection.report import report
from gapless.inspection.telling import SAMPLE_FRAMES, fitting
from gapless.venues._profile import Profile
from gapless.venues._registry import load, names

CASES = int(os.environ.get("GAPLESS_FUZZ_CASES", "4000"))
AT_ONCE = 20  # spoilt frames that one session meets
KEPT = 120  # recorded frames of a capture, from its beginning: greetings are there
DEEP = "[" * 5000

NUMBERS = [
    *JUNK,
    "1e308",
    "-0.0",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "4611686018427387904",
    "9007199254740991",
    '"9007199254740991"',
    '"9223372036854775808"',
    '"1e308"',
    '" 1"',
    '"1_0"',
    '"0x10"',
    '"1e-400"',
    '"+1"',
    '"٣"',
    '"\\u0000"',
    '{"a":' * 2000 + "1" + "}" * 2000,
    DEEP + "]" * 5000,
]


class Raw(str):
    """Text that stands in a frame as it is."""


class Object(list[tuple[str, Any]]):
    """An object that may have the same key twice."""


def parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Object)


def dumped(tree: Any) -> str:
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, Object):
        return "{" + ",".join(f"{json.dumps(k)}:{dumped(v)}" for k, v in tree) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(dumped, tree)) + "]"
    return json.dumps(tree, ensure_ascii=False)


def spots(tree: Any) -> list[tuple[Any, int]]:
    """Return every container in the tree with the place of each of its items."""
    found: list[tuple[Any, int]] = []
    open_ones = [tree]
    while open_ones and len(found) < 400:  # a book of 1,000 levels has enough of them
        node = open_ones.pop()
        for place, item in enumerate(node):
            found.append((node, place))
            value = item[1] if isinstance(node, Object) else item
            if isinstance(value, list):
                open_ones.append(value)
    return found


def spoil(random: Random, text: str, other: str) -> str:
    """Return the text with one to three changes, some of them borrowed from another frame."""
    try:
        tree = parsed(text)
        donor = parsed(other)
    except (ValueError, RecursionError):
        return cut(random, text)
    for _ in range(random.randint(1, 3)):
        places = spots(tree) if isinstance(tree, list) else []
        if not places:
            return cut(random, text)
        node, place = random.choice(places)
        change(random, node, place, donor)
    result = dumped(tree)
    return cut(random, result) if random.random() < 0.15 else result


def change(random: Random, node: Any, place: int, donor: Any) -> None:
    is_object = isinstance(node, Object)
    if place >= len(node):
        return
    match random.randrange(7):
        case 0:
            del node[place]
        case 1:
            node.insert(place, node[place])
        case 2 if is_object:
            node[place] = (random.choice([k for k, _ in node] + ["", "x"]), node[place][1])
        case 3 if isinstance(donor, list) and spots(donor):
            given_by, where = random.choice(spots(donor))
            taken = given_by[where]
            put(node, place, Raw(dumped(taken[1] if isinstance(given_by, Object) else taken)))
        case 4:
            random.shuffle(node)
        case _:
            put(node, place, Raw(random.choice(NUMBERS)))


def put(node: Any, place: int, value: Any) -> None:
    node[place] = (node[place][0], value) if isinstance(node, Object) else value


def cut(random: Random, text: str) -> str:
    at = random.randint(0, len(text))
    match random.randrange(4):
        case 0:
            return text[:at]
        case 1:
            return text + text[:at]
        case 2:
            return (
                text[:at] + random.choice(['"', "\ud800", "\x00", "{", "]", ",", "\\"]) + text[at:]
            )
        case _:
            return text.replace(":", " :\n", 3)


# -- what is spoilt -----------------------------------------------------------------------------


@cache
def profiles() -> tuple[Profile, ...]:
    return tuple(load(name) for name in names())


@cache
def recorded() -> dict[str, list[list[Record]]]:
    """Return the beginnings of all captures, by venue."""
    found: dict[str, list[list[Record]]] = {name: [] for name in names()}
    for path in sorted(ROOT.glob("*/*.jsonl.gz")):
        beginning: list[Record] = []
        for record in open_capture(path):
            if record.kind != "rest" and len(record.text) < 20_000:
                beginning.append(record)
            if len(beginning) >= SAMPLE_FRAMES:
                break
        for profile in fitting(beginning, path.parent.name, profiles()):
            found[profile.name].append(beginning[:KEPT])
    return found


@cache
def printed(name: str) -> list[list[Record]]:
    """Return what the venue's documents print, as a session."""
    for module in (name.replace(".", "_"), name.partition(".")[0]):
        with contextlib.suppress(ModuleNotFoundError):
            told = import_module(f"tests.venues.test_{module}")
            messages = getattr(told, "MESSAGES", None) or told.DATA
            texts = [one if isinstance(one, str) else compact(one) for one in messages]
            return [
                [Record("in", "ws", None, None, text, None, n) for n, text in enumerate(texts, 1)]
            ]
    return []


def sessions(name: str) -> list[list[Record]]:
    found = recorded()[name] if ROOT.exists() else []
    return [session for session in (*found, *printed(name)) if session]


# -- what must hold -----------------------------------------------------------------------------


def check(event: Event) -> None:
    """Check that every number of an event is one, and that its texts mean its levels."""
    for name in event.__struct_fields__[1:]:
        value = getattr(event, name)
        if isinstance(value, float):
            assert abs(value) < 1e39, name  # forty digits are no price, and no size
        elif isinstance(value, int):
            assert -1 <= value < 2**63, name
    if isinstance(event, BookDelta | BookSnapshot):
        for side in (event.bids, event.asks):
            assert all(abs(price) < 1e39 and abs(size) < 1e39 for price, size in side)
            assert all(size >= 0 for _, size in side)
        if event.texts is not None:
            for levels, literal in (
                (event.bids, event.texts.bids),
                (event.asks, event.texts.asks),
            ):
                means = [(float(price), abs(float(size))) for price, size in literal]
                # Some venues write the sizes of asks as negative; what removes a level may do so
                # by a word, whatever the size says.
                assert [price for price, _ in means] == [price for price, _ in levels]
                assert all(
                    size in (0.0, sent) for (_, size), (_, sent) in zip(levels, means, strict=True)
                )


def read(inspector: Inspector, record: Record) -> None:
    said = inspector.read(record)
    if isinstance(said, Bundle):
        said = list(said.events)
    for event in said if isinstance(said, list) else []:
        check(event)


def play(name: str, seed: int) -> None:
    """Let a session begin as it was recorded, and then meet spoilt frames."""
    random = Random(seed)
    session = random.choice(sessions(name))
    inspector = Inspector(load(name), texts=random.random() < 0.5)
    begun = random.randint(0, len(session))
    for record in session[:begun]:
        read(inspector, record)
    first = session[-1].number + 1
    for number in range(first, first + AT_ONCE):
        chosen = random.choice(session)
        if chosen.kind not in ("in", "out"):
            continue
        text = spoil(random, chosen.text, random.choice(session).text)
        read(inspector, msgspec.structs.replace(chosen, text=text, number=number))
        codec = inspector.connections[chosen.conn].codec
        with contextlib.suppress(DecodeError):
            codec.number(text)
        with contextlib.suppress(DecodeError):
            codec.asked(text)
    inspector.finish()
    msgspec.json.encode(report(inspector, "capture"))


@pytest.mark.parametrize("name", names())
def test_there_is_something_to_spoil_for_every_venue(name):
    assert sessions(name)


@given(st.sampled_from(names()), st.integers(0, 2**32))
@settings(max_examples=max(1, CASES // AT_ONCE), deadline=None, database=None)
def test_no_spoilt_frame_gets_further_than_a_decode_error(name, seed):
    play(name, seed)


def test_what_is_spoilt_is_not_always_refused():
    """A fuzzer whose every frame is refused at the door would find nothing."""
    random = Random(1)
    read_on = 0
    for session in sessions("deribit"):
        inspector = Inspector(load("deribit"))
        for record in session:
            if record.kind == "in":
                text = spoil(random, record.text, record.text)
                with contextlib.suppress(DecodeError):
                    read_on += bool(inspector.read(msgspec.structs.replace(record, text=text)))
        read_on -= sum(
            one.count for one in inspector.strangers.values() if "not a frame" in one.what
        )
    assert read_on > 20
