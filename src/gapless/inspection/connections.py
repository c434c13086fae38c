"""One connection of a capture: its codec, and the topics that are found on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeVar, overload

from gapless.core.codec import Codec
from gapless.core.sequence import Numbering
from gapless.core.stream import Moment, TopicSpec
from gapless.events import Origin
from gapless.inspection.numbers import Leg
from gapless.inspection.topics import Topic
from gapless.venues._profile import Profile

__all__ = ["STRANGE_MAX", "Connection", "Origins"]

STRANGE_MAX: Final = 10_000
"""Names of topics that nobody knows, remembered so as not to look for them again."""

_Default = TypeVar("_Default")


class Origins(Mapping[str, Origin]):
    """The topics of one connection, each made when it is first asked for.

    Args:
        find: Returns the origin of a topic, or `None` if the venue has no such topic.
    """

    __slots__ = ("_find", "_known", "_strange")

    def __init__(self, find: Callable[[str], Origin | None]) -> None:
        self._find = find
        self._known: dict[str, Origin] = {}
        self._strange: set[str] = set()

    @overload
    def get(self, key: str, /) -> Origin | None: ...
    @overload
    def get(self, key: str, default: Origin | _Default, /) -> Origin | _Default: ...
    def get(self, key: str, default: object = None, /) -> object:
        """Return the origin of a topic; a topic that the venue knows is there from now on."""
        origin = self._known.get(key)
        if origin is None and key not in self._strange:
            origin = self._find(key)
            if origin is not None:
                self._known[key] = origin
            elif len(self._strange) < STRANGE_MAX:
                self._strange.add(key)
        return default if origin is None else origin

    def __getitem__(self, key: str) -> Origin:
        origin = self.get(key)
        if origin is None:
            raise KeyError(key)
        return origin

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._known))

    def __len__(self) -> int:
        return len(self._known)


class Connection:
    """One connection, from its first frame to its close.

    Attributes:
        name: What the capture calls it.
        venue: Name of the profile that it is read with.
        epoch: Which, counted over the file.
        codec: Reads its frames.
        origins: Its topics.
        legs: Where each topic's numbers are followed.
        counter: Where the connection's own numbers are followed, if it has such.
        seen_ns: When it last brought a frame, monotonic; `None` if never.
    """

    __slots__ = ("codec", "counter", "epoch", "legs", "name", "origins", "seen_ns", "venue")

    def __init__(
        self,
        name: str,
        epoch: int,
        profile: Profile,
        find: Callable[[str], TopicSpec | None],
        place: Callable[[TopicSpec], Topic | None],
        now: Callable[[], Moment],
        *,
        texts: bool,
    ) -> None:
        self.name = name
        self.venue = profile.name
        self.epoch = epoch
        self.legs: dict[str, tuple[Leg, Topic]] = {}
        self.seen_ns: int | None = None
        self.counter: Leg | None = None
        if profile.connection_counter.value is not None:
            self.counter = Leg(Numbering.DENSE, images=True, connection=name)

        def found(topic: str) -> Origin | None:
            spec = find(topic)
            where = None if spec is None else place(replace(spec, topic=topic))
            if spec is None or where is None:
                return None
            origin = Origin(spec.venue, spec.channel, spec.symbol, topic, name, epoch)
            self.legs[topic] = (where.join(origin, name, now()), where)
            return origin

        self.origins = Origins(found)
        self.codec: Codec = profile.codec(self.origins, texts=texts)
