"""What both dialects must withstand: reordered keys, hostile numbers, mutated messages."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from gapless.core.codec import Codec, Reading
from gapless.errors import DecodeError
from gapless.events import Event, Origin

RECV, MONO = 1_700_000_000_000_000_000, 5_000

JUNK = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "9" * 40,
    "-" + "9" * 40,
    "-1",
    "1.5",
    "true",
    "null",
    "{}",
    "[]",
    '""',
    '"NaN"',
    '"inf"',
    '"-0.1"',
    '"1e400"',
    '"\\ud800"',
    '"\ud800"',
    "[" * 5000,
    "",
]


def origins(venue: str, topics: Mapping[str, str]) -> dict[str, Origin]:
    """Return the origins of ``topics``, a mapping of topic to channel."""
    return {topic: Origin(venue, channel, "X", topic, "a", 1) for topic, channel in topics.items()}


def read(codec: Codec, message: Any) -> list[Event] | Reading:
    text = message if isinstance(message, str) else compact(message)
    return codec.read(text, RECV, MONO)


def compact(message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))


def reordered(message: Any) -> Any:
    """Return the message with the keys of every object in reverse order."""
    if isinstance(message, dict):
        return {key: reordered(message[key]) for key in reversed(list(message))}
    if isinstance(message, list):
        return [reordered(item) for item in message]
    return message


def places(message: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in the message."""
    items: Any = ()
    if isinstance(message, dict):
        items = message.items()
    elif isinstance(message, list):
        items = enumerate(message)
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def planted(message: Any, path: tuple[Any, ...], junk: str) -> str:
    """Return the text of the message with raw ``junk`` in one place."""
    copy = json.loads(json.dumps(message))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = "@junk@"
    return compact(copy).replace('"@junk@"', junk)


@st.composite
def mutated(draw: st.DrawFn, messages: list[Any]) -> str:
    """Draw a text near one of the messages: junk planted, keys lost or doubled, text cut."""
    message = draw(st.sampled_from(messages))
    if draw(st.booleans()):
        message = reordered(message)
    path = draw(st.sampled_from(list(places(message))))
    text = planted(message, path, draw(st.sampled_from(JUNK)))
    match draw(st.sampled_from(["whole", "cut", "double", "space", "insert"])):
        case "cut":
            text = text[: draw(st.integers(0, len(text)))]
        case "double":
            text += text
        case "space":
            text = text.replace(":", " : ").replace(",", " ,\n")
        case "insert":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.text(max_size=3)) + text[at:]
        case _:
            pass
    return text


def survives(codec: Codec, text: str) -> None:
    """Check that the text is read, or refused with a `DecodeError`, and never worse."""
    out: list[Event] | Reading = []
    with contextlib.suppress(DecodeError):
        out = read(codec, text)
    for event in out if isinstance(out, list) else []:
        check(event)


def check(event: Event) -> None:
    """Check what every event promises: finite numbers, sizes that are sizes, rising ranges."""
    assert (event.recv_ns, event.mono_ns) == (RECV, MONO)
    if event.first is not None or event.last is not None:
        assert event.first is not None
        assert event.last is not None
        assert 0 <= event.first <= event.last < 2**63
    for name in event.__struct_fields__[1:]:
        value = getattr(event, name)
        if name in {"bids", "asks"}:
            assert all(abs(price) < float("inf") and size >= 0 for price, size in value)
        elif isinstance(value, float):
            assert abs(value) < float("inf")
            assert value >= 0 or not name.endswith("size")
