"""The whole client over a capture, in virtual time: recorded hours in moments, always the same.

One capture and one seed give the same events and the same decisions, byte for byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, cast

from gapless.capture.reader import open_capture, venue_of
from gapless.capture.replay import Answering, Replay
from gapless.capture.script import load_script
from gapless.client import Feed
from gapless.core.stats import FeedStats
from gapless.core.stream import TopicSpec
from gapless.errors import UsageError
from gapless.events import Event, Notice
from gapless.inspection.inspector import Inspector
from gapless.planning import Options, Subscription, assemble
from gapless.testing.clock import VirtualClock, run
from gapless.venues._profile import Profile
from gapless.venues._registry import load

__all__ = ["Replayed", "replayed", "subscriptions_in"]

CAPACITY: Final = 1_000_000


@dataclass(slots=True)
class Replayed:
    """What came of a replay.

    Attributes:
        events: Everything the consumer got.
        notices: The newest thousand things that the feed said besides.
        stats: The feed's counters at the end.
        undecoded: Frames of a foreign capture that the codec could not read.
        unlike: Messages of the client that differ from those recorded.
    """

    events: list[Event]
    notices: list[Notice]
    stats: FeedStats
    undecoded: int
    unlike: int


def replayed(
    capture: str | Path,
    *subscriptions: Subscription[object],
    venue: str | None = None,
    seed: int = 0,
    lines: int = 1,
    answering: Answering | None = None,
    credentials: str | None = None,
    beyond_s: float = 0.0,
) -> Replayed:
    """Open a feed on a capture, and return what it delivers until the capture is over.

    Args:
        capture: The capture.
        subscriptions: What to follow; by default everything that is found in it.
        venue: Whose traffic it is, where the capture does not say.
        seed: Seed of all jitter.
        lines: Redundant lines.
        answering: See `gapless.capture.replay.Replay`.
        credentials: Where a key lies, for channels that need a login; by default one is made
            up, since nobody is there to look at it.
        beyond_s: How long to go on after its end, in seconds.

    Raises:
        CaptureDamaged: It cannot be read to its end.
        UsageError: Nobody says whose traffic it is, or there is nothing to follow.
    """
    name = venue or venue_of(capture)
    if name is None:
        raise UsageError(f"{capture} does not say whose traffic it is")
    profile = load(name)
    wanted = subscriptions or tuple(subscriptions_in(capture, profile))
    private = any(profile.needs_login(each.channel) for each in wanted)
    script = load_script(capture)
    first = {"mono_ns": script.start_mono_ns, "wall_ns": script.start_wall_ns}
    clock = VirtualClock(**{key: ns for key, ns in first.items() if ns is not None})
    replay = Replay(script, clock, answering=answering)

    async def main(key: str | None) -> Replayed:
        options = Options(
            lines=lines, seed=seed, runtime=replay.runtime, capacity=CAPACITY, credentials=key
        )
        events: list[Event] = []
        async with Feed[object](replay.adapt(assemble(name, wanted, options)), options) as feed:
            collector = asyncio.create_task(_collect(feed, events))
            over = asyncio.create_task(replay.over())
            await asyncio.wait((collector, over), return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            await asyncio.sleep(beyond_s)
            stats, notices = feed.stats(), feed.notices()
        await collector
        return Replayed(events, notices, stats, replay.undecoded, replay.unlike)

    with _made_up_key(private and credentials is None) as made_up:
        return run(main(credentials or made_up), clock)


@contextmanager
def _made_up_key(needed: bool) -> Iterator[str | None]:
    if not needed:
        yield None
        return
    with NamedTemporaryFile("w", suffix=".toml") as file:  # readable by its owner only
        file.write('key = "made-up"\nsecret = "made-up"\npassphrase = "made-up"\n')
        file.flush()
        yield f"file:{file.name}"


def subscriptions_in(
    capture: str | Path, profile: Profile, *, records: int | None = None
) -> list[Subscription[object]]:
    """Return what a feed must subscribe to, to get all that a capture holds.

    Args:
        capture: The capture.
        profile: The venue's.
        records: How many records to look at; `None` for all.
    """
    inspector = Inspector(profile)
    for record in islice(open_capture(capture), records):
        inspector.feed(record)
    symbols_by_channel: dict[str, list[str]] = {}
    for topic in inspector.topics.values():
        channel = _channel_of(topic.spec, profile)
        if channel is not None:
            symbols_by_channel.setdefault(channel, []).append(topic.spec.symbol)
    return [
        cast("Subscription[object]", Subscription(channel, tuple(symbols)))
        for channel, symbols in symbols_by_channel.items()
    ]


def _channel_of(spec: TopicSpec, profile: Profile) -> str | None:
    """Return the channel with the variant that gives this topic."""
    for channel in profile.every_channel():
        if channel.name == spec.channel:
            for variant in channel.topics:
                name = f"{channel.name}.{variant}"
                try:
                    if profile.topic(name, spec.symbol).topic == spec.topic:
                        return name
                except UsageError:
                    continue
    return None


async def _collect(feed: Feed[object], events: list[Event]) -> None:
    async for event in feed:
        events.append(cast("Event", event))  # noqa: PERF401  # what came before an error counts
