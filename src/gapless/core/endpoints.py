"""Which endpoint a line dials, and at which of its addresses.

A venue is reached by endpoints, and a name stands for several addresses: each pair of them is a
*target*.  Targets differ in distance, and each fails on its own.  So every dial chooses anew:

* a target that failed is out for a while, longer each time; when all are out, the one that
  comes back first is taken, because never dialling is worse than dialling in vain;
* lines to the same data keep apart: another address than the others have, then another
  endpoint, because what two lines share takes both down;
* among equals the fastest is taken, by the time to connect, the round trip of pings and the share
  of messages that it brought first.  A line stays where it is unless another is clearly better:
  a choice that follows every measurement would wander for nothing.

Until a name is resolved its endpoint is one target without an address.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["EJECTED_NS", "EJECTED_NS_MAX", "EndpointChoice", "Target", "apart"]

EJECTED_NS: Final = 30_000_000_000
"""How long a target is out for each failure in a row, in nanoseconds."""

EJECTED_NS_MAX: Final = 300_000_000_000

ADDRESSES_MAX: Final = 64  # of one endpoint; what a name has beyond is ignored
RECORDS_MAX: Final = 256  # targets that are remembered beyond those in use
BETTER: Final = 0.75  # a target must cost less than this share of another to be clearly better
_NEWEST: Final = 0.25  # weight of the newest sample


@dataclass(frozen=True, slots=True)
class Target:
    """What can be dialled.

    Attributes:
        endpoint: Index of the endpoint.
        address: One of its addresses, or `None` while they are not known.
    """

    endpoint: int
    address: str | None = None


@dataclass(slots=True)
class _Record:
    connect_ns: float | None = None
    rtt_ns: float | None = None
    won: float | None = None  # share of messages that came first here, 0 to 1
    failures: int = 0  # in a row
    out_until_ns: int = 0

    @property
    def cost_ns(self) -> float | None:
        times = [time for time in (self.connect_ns, self.rtt_ns) if time is not None]
        if not times:
            return None
        # A target that always wins counts half, one that never does half as much again.
        return sum(times) / len(times) * (1.0 if self.won is None else 1.5 - self.won)


_UNKNOWN: Final = _Record()


class EndpointChoice:
    """Chooses targets, and remembers how they did.

    Args:
        count: How many endpoints there are, best first.
        pins: Endpoint of the lines that may have no other, by the letter they begin with.
        sources: Address that lines are dialled from, by their letter; addresses of the other
            family are out of their reach.
    """

    def __init__(
        self,
        count: int,
        pins: Mapping[str, int] | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self._addresses: list[tuple[str, ...]] = [()] * count
        self._pins = dict(pins or {})
        self._sources = dict(sources or {})
        self._records: dict[Target, _Record] = {}
        self._targets: dict[int, Target] = {}  # of each session, by its epoch
        self._lines: dict[int, str] = {}  # line of each session
        self._open: set[int] = set()  # epochs that are not over
        self._sick: set[int] = set()  # those of them whose target failed
        self._newest: dict[str, int] = {}  # epoch of each line's newest session

    # -- choosing ---------------------------------------------------------------------------

    def pick(self, line: str, epoch: int, now_ns: int, *, successor: bool = False) -> Target:
        """Return what a new session dials, and remember it.

        Args:
            line: Name of the line.
            epoch: Number of the session.
            now_ns: Now.
            successor: Whether the line's present session still works.  What replaces it goes
                elsewhere if that is as good: another look is worth something, and what ails the
                present session may be its target.
        """
        pool = self._candidates(line)
        ranks = {target: self._rank(target, line, now_ns) for target in pool}
        best_rank = min(ranks.values())
        equals = [target for target in pool if ranks[target] == best_rank]
        best = min(equals, key=self._known_cost_ns)  # the first among equals
        own = self._targets.get(self._newest.get(line, 0))
        if own in equals and not self._clearly_better(best, own):
            best = own
            others = [each for each in equals if each != own]
            others = [each for each in others if not self._clearly_better(own, each)]
            if successor and others:
                best = min(others, key=self._known_cost_ns)
        before = self._newest.get(line)
        if before is not None and before not in self._open:
            self._drop(before)
        self._targets[epoch] = best
        self._lines[epoch] = line
        self._newest[line] = epoch
        self._open.add(epoch)
        return best

    def order(self, epoch: int, now_ns: int) -> tuple[str, ...]:
        """Return the addresses to try for a session: the chosen one, then the others.

        Those that are out come last; empty while none is known.
        """
        chosen = self._targets.get(epoch)
        if chosen is None or chosen.address is None:
            return ()
        line = self._lines[epoch]
        others = [a for a in self._usable(line, chosen.endpoint) if a != chosen.address]
        others.sort(key=lambda address: self._out_ns(Target(chosen.endpoint, address), now_ns))
        return (chosen.address, *others)

    def of(self, epoch: int) -> Target | None:
        """Return what a session dials or is connected to."""
        return self._targets.get(epoch)

    def is_out(self, target: Target, now_ns: int) -> bool:
        """Return whether a target is out because it failed."""
        return self._out_ns(target, now_ns) > 0

    # -- what is learned --------------------------------------------------------------------

    def resolved(self, endpoint: int, addresses: Sequence[str]) -> None:
        """Take the addresses of an endpoint's name, in the order of the answer."""
        self._addresses[endpoint] = tuple(dict.fromkeys(addresses))[:ADDRESSES_MAX]

    def addresses(self, endpoint: int) -> tuple[str, ...]:
        """Return the addresses of an endpoint; empty while they are not known."""
        return self._addresses[endpoint]

    def reached(self, epoch: int, address: str, now_ns: int) -> None:
        """Note where a session's socket was connected to: if not as chosen, that one failed."""
        chosen = self._targets.get(epoch)
        if chosen is None or chosen.address in (None, address):
            return
        self._fail(chosen, now_ns)
        self._targets[epoch] = Target(chosen.endpoint, address)

    def connected(self, epoch: int, connect_ns: int) -> None:
        """Take how long a session's TCP connect took."""
        if (target := self._targets.get(epoch)) is not None:
            record = self._record(target)
            record.connect_ns = _smooth(record.connect_ns, connect_ns)

    def rtt(self, epoch: int, rtt_ns: int) -> None:
        """Take one round trip of a session."""
        if (target := self._targets.get(epoch)) is not None:
            record = self._record(target)
            record.rtt_ns = _smooth(record.rtt_ns, rtt_ns)

    def won(self, epoch: int, first: int, of: int) -> None:
        """Take how many of a session's newest messages came first there.

        Args:
            epoch: Which.
            first: Those that no other line had brought.
            of: All of them.
        """
        target = self._targets.get(epoch)
        if target is not None and of > 0:
            record = self._record(target)
            record.won = _smooth(record.won, min(1.0, first / of))

    def failed(self, epoch: int, now_ns: int) -> None:
        """Note that a session's target is of no use now: not reached, refused, or silent."""
        if (target := self._targets.get(epoch)) is not None:
            self._sick.add(epoch)
            self._fail(target, now_ns)

    def useful(self, epoch: int) -> None:
        """Note that a session brought data: its target's failures are forgiven.

        Not by a session that fell sick itself, whatever it had brought before.
        """
        target = self._targets.get(epoch)
        if target in self._records and epoch not in self._sick:
            self._records[target].failures = self._records[target].out_until_ns = 0

    def ended(self, epoch: int) -> None:
        """Forget a session.  Where the newest of a line was stays known until the next dial."""
        self._open.discard(epoch)
        self._sick.discard(epoch)
        if epoch not in self._newest.values():
            self._drop(epoch)

    def forget(self, line: str) -> None:
        """Forget a line."""
        epoch = self._newest.pop(line, None)
        if epoch is not None and epoch not in self._open:
            self._drop(epoch)

    def _drop(self, epoch: int) -> None:
        self._targets.pop(epoch, None)
        self._lines.pop(epoch, None)

    # -- ranking ----------------------------------------------------------------------------

    def _candidates(self, line: str) -> list[Target]:
        pinned = self._pins.get(line[:1])
        indices = range(len(self._addresses)) if pinned is None else (pinned,)
        return [
            Target(index, address)
            for index in indices
            for address in self._usable(line, index) or (None,)
        ]

    def _usable(self, line: str, endpoint: int) -> tuple[str, ...]:
        source, addresses = self._sources.get(line[:1]), self._addresses[endpoint]
        if source is None:
            return addresses
        return tuple(each for each in addresses if (":" in each) == (":" in source))

    def _rank(self, target: Target, line: str, now_ns: int) -> tuple[int, int, int]:
        """Return what counts before speed; lower is better."""
        others = [
            self._targets[epoch]
            for name, epoch in self._newest.items()
            if name[:1] != line[:1] and epoch in self._targets
        ]
        same_endpoint = sum(other.endpoint == target.endpoint for other in others)
        same_address = (
            sum(other == target for other in others)
            if target.address is None
            else sum(other.address == target.address for other in others)
        )
        return self._out_ns(target, now_ns), same_address, same_endpoint

    def _out_ns(self, target: Target, now_ns: int) -> int:
        return max(0, self._records.get(target, _UNKNOWN).out_until_ns - now_ns)

    def _known_cost_ns(self, target: Target) -> float:
        cost_ns = self._records.get(target, _UNKNOWN).cost_ns
        return float("inf") if cost_ns is None else cost_ns

    def _clearly_better(self, one: Target, other: Target) -> bool:
        """Return whether both were measured, and ``one`` is better by more than chance."""
        cost_ns = self._records.get(other, _UNKNOWN).cost_ns
        return cost_ns is not None and self._known_cost_ns(one) < BETTER * cost_ns

    def _fail(self, target: Target, now_ns: int) -> None:
        record = self._record(target)
        record.failures += 1
        record.out_until_ns = now_ns + min(EJECTED_NS * record.failures, EJECTED_NS_MAX)

    def _record(self, target: Target) -> _Record:
        record = self._records.get(target)
        if record is None:
            if len(self._records) >= RECORDS_MAX:
                used = set(self._targets.values())
                oldest = next((each for each in self._records if each not in used), None)
                if oldest is not None:
                    del self._records[oldest]
            record = self._records[target] = _Record()
        return record


def apart(choices: Sequence[Collection[Hashable]]) -> bool:
    """Return whether everyone can have one of its choices to itself."""
    owner: dict[Hashable, int] = {}

    def place(who: int, tried: set[Hashable]) -> bool:
        for choice in choices[who]:
            if choice not in tried:
                tried.add(choice)
                # Whoever has it may have another to move to.
                if choice not in owner or place(owner[choice], tried):
                    owner[choice] = who
                    return True
        return False

    return all(place(who, set()) for who in range(len(choices)))


def _smooth(before: float | None, sample: float) -> float:
    return sample if before is None else before + _NEWEST * (sample - before)
