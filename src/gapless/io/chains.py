"""Carries out what selections ask for: topics that come, go, or are silent as planned.

A topic that comes is placed on a line that has room, or on a new line; one that goes takes its
stream with it, without a gap: nothing that was promised is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from gapless.core.supervisor import Supervisor
from gapless.core.universe import Changes
from gapless.core.vigil import Vigil
from gapless.events import NoticeKind, Origin
from gapless.io.driver import Driver
from gapless.io.following import Following
from gapless.io.listings import Selection
from gapless.venues._profile import Profile

__all__ = ["Chains", "Host"]

SHOWN: Final = 5
"""Symbols named in one notice at most."""


class Host(Protocol):
    """Who runs the feed."""

    def origin(self, topic: str, line: str, epoch: int) -> Origin: ...

    def forget(self, topic: str) -> None:
        """Drop whatever is kept for a topic besides its stream."""

    def retire_line(self, line: str) -> None:
        """End the sessions of a line that has nothing left to carry."""

    def announce(self, kind: NoticeKind, cause: str, evidence: str) -> None: ...


class Chains:
    """Acts on the changes of a feed's selections.

    Args:
        profile: The venue.
        following: What is followed.
        supervisor: Keeps the lines.
        vigil: Judges silences.
        drivers: The sessions at work, by epoch.
        mono_ns: The monotonic time.
        host: Who runs the feed.
    """

    def __init__(
        self,
        profile: Profile,
        following: Following,
        supervisor: Supervisor,
        vigil: Vigil,
        drivers: Mapping[int, Driver],
        mono_ns: Callable[[], int],
        host: Host,
    ) -> None:
        self._profile = profile
        self._following = following
        self._supervisor = supervisor
        self._vigil = vigil
        self._drivers = drivers
        self._mono_ns = mono_ns
        self._host = host

    def changed(self, selection: Selection, changes: Changes) -> None:
        """Follow, retire and excuse what a selection asks for."""
        channel = selection.channel
        # Another selection may ask for the same, or it was named itself.
        gone = [s for s, _ in changes.retire]
        retired = [s for s in gone if self._following.release(self._topic(channel, s), selection)]
        self._retire([self._topic(channel, symbol) for symbol in retired])
        self._follow([i.symbol for i in changes.follow], selection)
        for symbol, cause in changes.planned:
            self._excuse(self._topic(channel, symbol), cause)
        for symbol in changes.resumed:
            self._excuse(self._topic(channel, symbol), None)
        if changes.planned or changes.resumed:
            self._vigil.forgive(self._mono_ns())  # the rhythm of whole lines changes with them
        what = f"{channel} {selection.selector.text}"
        self._announce("listed", [i.symbol for i in changes.follow], f"{what}: now followed")
        self._announce("retired", retired, f"{what}: followed no more")
        self._announce("planned", [s for s, _ in changes.planned], f"{what}: silent as planned")
        self._announce("resumed", changes.resumed, f"{what}: expected to speak again")

    def _topic(self, channel: str, symbol: str) -> str:
        return self._profile.topic(channel, symbol).topic

    def _follow(self, symbols: Sequence[str], selection: Selection) -> None:
        channel = selection.channel
        path = self._profile.path_of(channel)
        added: dict[str, list[str]] = {}
        left_out: list[str] = []
        for symbol in symbols:
            spec = self._profile.topic(channel, symbol)
            known = spec.topic in self._following.streams
            if not known and self._following.placement.full:
                left_out.append(symbol)
                continue
            for line in self._following.add(spec, path, selection.priority, selection):
                added.setdefault(line, []).append(spec.topic)
        most = self._profile.topics_per_address.value
        self._announce(
            "refused", left_out, f"{channel}: the venue allows {most} subscriptions to an address"
        )
        states = self._supervisor.states()
        for line, topics in added.items():
            if line not in states:
                self._supervisor.add(line)
            for driver in list(self._drivers.values()):
                if driver.line == line:
                    origins = {t: self._host.origin(t, line, driver.epoch) for t in topics}
                    driver.follow(origins, self._mono_ns())

    def _retire(self, topics: Sequence[str]) -> None:
        empty: list[str] = []
        for topic in topics:
            empty += self._following.remove(topic)
            self._vigil.forget(topic)
            self._host.forget(topic)
        for driver in list(self._drivers.values()):
            held = [topic for topic in topics if topic in driver.origins]
            if held:
                driver.unfollow(held, self._mono_ns(), tell=True)
        for line in empty:
            self._host.retire_line(line)

    def _excuse(self, topic: str, cause: str | None) -> None:
        if topic not in self._following.streams:
            return
        self._vigil.forget(topic)
        if cause is None:
            self._following.planned.pop(topic, None)
        else:
            self._following.planned[topic] = cause

    def _announce(self, kind: NoticeKind, symbols: Sequence[str], what: str) -> None:
        if symbols:
            shown = ", ".join(symbols[:SHOWN]) + (", ..." if len(symbols) > SHOWN else "")
            self._host.announce(kind, f"{len(symbols)} of {what}", shown)
