"""Everything that is decided before a feed starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gapless.core.backoff import BackoffPolicy
from gapless.core.liveness import FeedPolicy, PathPolicy
from gapless.core.placement import Placement
from gapless.core.secrets import Login
from gapless.core.stream import Backfill, TopicSpec
from gapless.io.listings import Selection
from gapless.io.transport import DialOptions
from gapless.venues._profile import Profile

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before a feed starts.

    Args:
        profile: The venue.
        lines: Topics of each line, by its name.
        specs: What the streams must know of each topic, by its name.
        endpoints: Full URLs to dial, best first.
        paths: Path of the endpoint for lines that need another than the URLs have.
        letters: What the lines of each redundancy begin with.
        selections: What is followed as it comes and goes.
        priorities: Of topics that have one other than 0; higher is served first.
        backfill: What is done about missing trades.
        login: Reads the credentials and makes the login of one session; `None` if none is needed.
        rest_endpoints: REST bases, best first; none disables REST.
        dial: How to reach the endpoints.
        pins: Index of the endpoint of lines that may have no other, by the letter they begin
            with.
        sources: Local address of lines that have one of their own, by letter.
        allow_same: Whether it goes without saying that redundant lines share an address.
        shared_budgets: Whether limits are shared with the other processes of this host.
        backoff, path, feed: Policies.
        lifetime_ns: When sessions are replaced, counted from the upgrade.
    """

    profile: Profile
    lines: dict[str, tuple[str, ...]]
    specs: dict[str, TopicSpec]
    endpoints: tuple[str, ...]
    rest_endpoints: tuple[str, ...]
    paths: dict[str, str] = field(default_factory=dict)
    letters: tuple[str, ...] = ("a",)
    selections: tuple[Selection, ...] = ()
    priorities: dict[str, int] = field(default_factory=dict)
    backfill: Backfill = Backfill.OFF
    login: Callable[[], Login] | None = field(default=None, repr=False)
    dial: DialOptions = field(default_factory=DialOptions)
    pins: dict[str, int] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    allow_same: bool = False
    shared_budgets: bool = False
    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)
    path: PathPolicy = field(default_factory=PathPolicy)
    feed: FeedPolicy = field(default_factory=FeedPolicy)
    lifetime_ns: int | None = None

    def placement(self) -> Placement:
        """Return which line carries which topic at first."""
        profile = self.profile
        placement = Placement(
            self.letters,
            profile.topics_per_connection.value,
            profile.topic_bytes_per_connection.value,
            profile.topics_per_address.value,
        )
        placement.lines = {line: list(topics) for line, topics in self.lines.items()}
        own = profile.endpoints.value.path
        placement.paths = {line: self.paths.get(line, own) for line in self.lines}
        return placement

    def every_source(self) -> dict[str, str]:
        """Return the local address of each letter that has one, of its own or of the plan."""
        common = {} if self.dial.source is None else dict.fromkeys(self.letters, self.dial.source)
        return common | self.sources

    def url(self, path: str, endpoint: int) -> str:
        """Return the URL to dial at one of the endpoints, for what ``path`` serves."""
        url = self.endpoints[endpoint]
        if path == self.profile.endpoints.value.path:
            return url
        return urlsplit(url)._replace(path=path).geturl()
