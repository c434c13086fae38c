"""Frames in words: what was decoded, field by field, and why it was judged as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gapless.capture.records import Record
from gapless.core.codec import Bundle, Stray
from gapless.core.sequence import Numbering
from gapless.errors import DecodeError, printable
from gapless.events import Event, Gap, Resynced
from gapless.inspection.inspector import Inspector, Out
from gapless.inspection.numbers import Leg
from gapless.inspection.topics import Topic

__all__ = ["EVENTS_SHOWN", "LEVELS_SHOWN", "Explainer", "fields_of", "said_in_words"]

LEVELS_SHOWN: Final = 3
"""Levels of a side that are shown."""

EVENTS_SHOWN: Final = 20
"""Events of one frame that are shown."""

_ENVELOPE: Final = frozenset({"origin", "recv_ns", "mono_ns", "texts"})


def fields_of(event: Event, before: int | None) -> str:
    """Return an event's fields by name, with the difference from the number before.

    Args:
        event: The event.
        before: The last number of the same topic before it, or `None`.
    """
    parts = [type(event).__name__]
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name in _ENVELOPE or value is None:
            continue
        parts.append(f"{name}={_value(value)}")
    if event.last is not None and before is not None:
        parts.append(f"({event.last - before:+d})")
    return " ".join(parts)


def said_in_words(said: Out | None, before: dict[str, int]) -> Iterator[str]:
    """Yield a line for each thing that a frame says.

    Args:
        said: What was read.
        before: The last number of each topic; it is brought up to date.
    """
    if isinstance(said, DecodeError):
        yield f"cannot be decoded: {said}"
    elif isinstance(said, list):
        yield from _events(said, before)
    elif isinstance(said, Bundle):
        for reading in said.readings:
            yield from said_in_words(reading, before)
        yield from _events(list(said.events), before)
    elif said is not None:
        names = said.__struct_fields__
        fields = " ".join(f"{name}={_value(getattr(said, name))}" for name in names)
        yield f"{type(said).__name__} {fields}".rstrip()


def _events(events: list[Event], before: dict[str, int]) -> Iterator[str]:
    for event in events[:EVENTS_SHOWN]:
        topic = event.origin.topic
        yield f"{printable(topic)}  {fields_of(event, before.get(topic))}"
        if event.last is not None:
            before[topic] = event.last
    if len(events) > EVENTS_SHOWN:
        yield f"and {len(events) - EVENTS_SHOWN} events more"


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        shown = ", ".join(_value(item) for item in value[:LEVELS_SHOWN])
        more = f", {len(value) - LEVELS_SHOWN} more" if len(value) > LEVELS_SHOWN else ""
        return f"[{shown}{more}]"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")  # every digit, as it may be held against others
    return printable(str(value))


class Explainer:
    """Says why each verdict about one frame was reached.

    Feed the records up to that frame to the inspector, then `explain` the frame.

    Args:
        inspector: One that was made with ``tell``.
    """

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    def feed(self, record: Record) -> None:
        """Take a record before the one in question."""
        self._inspector.feed(record)
        self._inspector.delivered.clear()
        self._inspector.needs.clear()

    def explain(self, record: Record) -> list[str]:
        """Take the record in question, and return what is to be said of it, line by line."""
        inspector = self._inspector
        known = inspector.connections.get(record.conn)
        before = {} if known is None else {name: _Then(*pair) for name, pair in known.legs.items()}
        counter = None if known is None or known.counter is None else _Count(known.counter)
        said = inspector.read(record)
        lines = [f"frame {record.number}: {record.kind} on connection {printable(record.conn)}"]
        lines.append(f"  text: {printable(record.text)}")
        lines += [f"  says: {line}" for line in said_in_words(said, {})]
        now = inspector.connections.get(record.conn)
        if now is not None and now.counter is not None and record.kind == "in":
            lines += _counted(counter or _Count(None), now.counter)
        if isinstance(said, Bundle):
            said = list(said.events)
        if isinstance(said, Stray):
            lines.append("  verdict: undecoded, no channel of this venue's profile explains it")
        if isinstance(said, list) and now is not None:
            for name in dict.fromkeys(event.origin.topic for event in said):
                events = [event for event in said if event.origin.topic == name]
                lines += _judged(events, before.get(name), *now.legs[name])
        for event in inspector.delivered:
            lines.append(f"  delivered: {_delivered(event)}")
        for need in inspector.needs:
            lines.append(
                f"  asked for: {need.kind} of {printable(need.topic)}, because {need.cause}"
            )
        inspector.delivered.clear()
        inspector.needs.clear()
        return lines


class _Count:
    """A leg as it was."""

    def __init__(self, leg: Leg | None) -> None:
        self.expect = -1 if leg is None else leg.expect
        self.frame = 0 if leg is None else leg.frame
        self.checked = 0 if leg is None else leg.checked
        self.broken = 0 if leg is None else leg.broken
        self.duplicates = 0 if leg is None else leg.duplicates
        self.out_of_order = 0 if leg is None else leg.out_of_order


class _Then(_Count):
    """A topic as it was."""

    def __init__(self, leg: Leg, topic: Topic) -> None:
        super().__init__(leg)
        self.state = topic.state
        self.checksums = topic.checksums()
        self.levels = 0 if topic.book is None else len(topic.book.book)


def _counted(then: _Count, counter: Leg) -> list[str]:
    if counter.expect == then.expect and counter.checked == then.checked:
        return ["  connection: the frame carries no number of the connection"]
    return [f"  connection: {_verdict(then, counter)}"]


def _verdict(then: _Count, leg: Leg) -> str:
    compared = f"expected {then.expect} after frame {then.frame}"
    if leg.broken > then.broken:
        found = leg.breaks[-1] if leg.breaks else None
        words = "" if found is None else f": expected {found.expected}, got {found.got}"
        return f"break after frame {then.frame}{words}"
    if leg.out_of_order > then.out_of_order:
        return f"out of order: {compared}; it belongs into a hole that was announced before"
    if leg.duplicates > then.duplicates:
        return f"duplicate: {compared}; what came reaches no further than what had come"
    if leg.checked > then.checked:
        return f"next: {compared}, and it came"
    if leg.expect != then.expect:
        return f"the count begins here; next is {leg.expect}"
    return "there is nothing to compare"


def _judged(events: list[Event], then: _Then | None, leg: Leg, topic: Topic) -> list[str]:
    before = _Count(None) if then is None else then
    name = printable(topic.spec.topic)
    lines = [f"  topic: {name} ({topic.spec.channel}), numbering {topic.spec.numbering.value}"]
    if leg.proves:
        lines.append(f"    numbers: {_verdict(before, leg)}")
    else:
        lines.append(f"    numbers: {_PROVE_NOTHING[topic.spec.numbering]}")
    checked, failed = topic.checksums()
    known = (0, 0) if then is None else then.checksums
    if checked > known[0]:
        agreed = "does not agree" if failed > known[1] else "agrees"
        sent = [e.texts.checksum for e in events if getattr(e, "texts", None) is not None]  # type: ignore[attr-defined]
        lines.append(f"    checksum: {', '.join(map(str, sent))} was sent; the book {agreed}")
    if topic.book is not None:
        state = "" if then is None else then.state
        levels = 0 if then is None else then.levels
        lines.append(
            f"    book: {state or 'not there'} with {levels} levels before, "
            f"{topic.state} with {len(topic.book.book)} levels now"
            + (f" ({topic.book.because})" if topic.book.because else "")
        )
    return lines


_PROVE_NOTHING: Final = {
    Numbering.DENSE: "this dialect sends none",
    Numbering.CHAIN: "this dialect sends none",
    Numbering.ORDERED: "they only rise, so a hole does not show",
    Numbering.IDENTITY: "names without order: a repeat shows, a hole does not",
    Numbering.NONE: "there are none",
}


def _delivered(event: Event) -> str:
    if isinstance(event, Gap):
        return f"Gap of {printable(event.origin.topic)}, because {event.cause}"
    if isinstance(event, Resynced):
        return f"Resynced of {printable(event.origin.topic)} by {event.by}"
    return f"{type(event).__name__} of {printable(event.origin.topic)}"
