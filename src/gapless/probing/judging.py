"""What the measurements mean: findings for people, and one verdict before them.

Pure: a `Probe` and the venue's profile in, words out.  *Wrong* is what makes a feed fail or lie,
and decides the exit code; *look* is what a person should know and may well accept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gapless.probing.measures import Clocks, Host, Names, Probe, Visit
from gapless.venues._profile import Profile

__all__ = ["Finding", "Judgement", "declared_and_observed", "judge", "quantile_ns"]

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000

CLOCK_WRONG_NS: Final = 1 * SECOND  # signed requests are refused beyond this or a little more
CLOCK_LOOK_NS: Final = 100 * MS
LAG_WRONG_NS: Final = 100 * MS
LAG_LOOK_NS: Final = 20 * MS
DNS_LOOK_NS: Final = 500 * MS
DAYS_LOOK: Final = 14.0
FILES_WRONG: Final = 64  # what is left must hold a few feeds
FILES_LOOK: Final = 1024
RECEIVE_LOOK: Final = 1 << 20
JITTER_LOOK: Final = 10  # times the median
JITTER_FLOOR_NS: Final = 20 * MS

Level = Literal["wrong", "look"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know.

    Attributes:
        where: ``dns``, ``tcp``, ``tls``, ``upgrade``, ``data``, ``ping``, ``clock`` or ``host``.
        about: Endpoint and address, host, or empty.
        words: What is the matter.
        advice: What to do, or empty.
    """

    level: Level
    where: str
    about: str
    words: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome.

    Attributes:
        verdict: One sentence.
        reached: Whether any TCP connection stood.
        findings: The wrong first.
    """

    verdict: str
    reached: bool
    findings: tuple[Finding, ...]

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong."""
        return not any(each.level == "wrong" for each in self.findings)


def judge(probe: Probe, profile: Profile) -> Judgement:
    """Return what a probe means."""
    findings = [
        *(found for names in probe.names for found in _names(names)),
        *(found for visit in probe.visits for found in _visit(visit, profile)),
        *_clocks(probe.clocks),
        *_host(probe.host),
    ]
    findings.sort(key=lambda found: found.level != "wrong")
    reached = any(visit.reached for visit in probe.visits)
    return Judgement(_verdict(probe, findings, reached=reached), reached, tuple(findings))


def _verdict(probe: Probe, findings: Sequence[Finding], *, reached: bool) -> str:
    wrong = [found for found in findings if found.level == "wrong"]
    good = sum(visit.open and not _is_mute(visit) for visit in probe.visits)
    tried = len(probe.visits)
    if not reached:
        return f"Unreachable: {wrong[0].words if wrong else 'nothing was dialled'}."
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        usable = f"{good} of {tried} addresses usable" if good else "not usable"
        return f"Something is wrong ({usable}): {wrong[0].words}{more}."
    notes = f", with {len(findings)} to look at" if findings else ""
    return f"Fine: {good} of {tried} addresses usable{notes}."


def _is_mute(visit: Visit) -> bool:
    """Return whether a connection stood and was of no use: lost, unreadable, or without data."""
    silent = bool(visit.topic) and visit.data_ns is None and not visit.refused
    return bool(visit.lost or visit.detail) or silent


def _names(names: Names) -> Iterator[Finding]:
    if names.failure:
        words = f"{names.host} cannot be resolved: {names.failure}"
        advice = "check the name and this machine's resolver"
        yield Finding("wrong", "dns", names.host, words, advice)
    elif names.took_ns > DNS_LOOK_NS:
        words = f"the resolver took {names.took_ns / MS:.0f} ms"
        yield Finding("look", "dns", names.host, words, "a local cache would answer at once")


def _visit(visit: Visit, profile: Profile) -> Iterator[Finding]:
    about = f"{visit.endpoint} at {visit.address}" if visit.address else visit.endpoint
    if visit.stage:
        words, advice = _failed(visit)
        yield Finding("wrong", visit.stage, about, words, advice)
        return
    if visit.lost:
        words = f"the connection was lost: {visit.lost}"
        yield Finding("wrong", "data", about, words, "ask again later, and from elsewhere")
    if visit.detail:
        advice = "this may not be the venue that was named, or its format has changed"
        yield Finding("wrong", "data", about, visit.detail, advice)
    if visit.tls is not None and (days := visit.tls.days_left) is not None and days < DAYS_LOOK:
        words = f"the certificate expires in {days:.1f} days"
        yield Finding("look", "tls", about, words, "the venue must renew it")
    if visit.refused:
        words = f"{visit.topic} was refused: {visit.refused}"
        yield Finding("look", "data", about, words, "the instrument may be gone")
    elif visit.topic and visit.data_ns is None and not visit.lost:
        said = "nothing was answered" if visit.ack_ns is None else "it was granted"
        words = f"connected, and no data of {visit.topic} came ({said})"
        yield Finding("wrong", "data", about, words, "the venue may be down behind its front")
    if visit.pings and not visit.rtts_ns and not visit.lost:
        level: Level = "wrong" if profile.client_ping.confidence == "H" else "look"
        words = "pings are not answered"
        yield Finding(level, "ping", about, words, "silence will be judged by data alone")
    yield from _ping(visit, about)
    if visit.tcp is not None and visit.tcp.is_retransmitting:
        words = f"what we send is lost on the way: {visit.tcp}"
        yield Finding("wrong", "tcp", about, words, "the path is sick: see another address")


def _ping(visit: Visit, about: str) -> Iterator[Finding]:
    p50, p99 = (quantile_ns(visit.rtts_ns, share) for share in (0.5, 0.99))
    if p50 is not None and p99 is not None and p99 > max(JITTER_LOOK * p50, JITTER_FLOOR_NS):
        words = f"round trips vary widely: half under {p50 / MS:.1f} ms, one of {p99 / MS:.1f} ms"
        yield Finding("look", "ping", about, words, "compare the host's own stalls below")


_TLS: Final = (
    ("has expired", "its certificate has expired", "check this machine's clock, then wait"),
    ("not yet valid", "its certificate is not valid yet", "check this machine's clock"),
    ("mismatch", "its certificate is for another host", "check the name; somebody may be between"),
    (
        "self-signed",
        "its certificate was signed by itself",
        "trust its authority with --ca-file if it is yours; otherwise do not connect",
    ),
    (
        "local issuer",
        "its certificate is from an authority that this machine does not trust",
        "trust it with --ca-file if it is yours; otherwise somebody reads along",
    ),
)


def _failed(visit: Visit) -> tuple[str, str]:
    detail = visit.detail
    match visit.stage:
        case "tls":
            for part, words, advice in _TLS:
                if part in detail:
                    return words, advice
            return f"TLS failed: {detail}", "is this a TLS port?"
        case "tcp" if "refused" in detail:
            return "nobody listens there: the connection was refused", "check host and port"
        case "tcp" if "no answer" in detail:
            return f"connecting got {detail}", "a firewall on the way swallows it"
        case "upgrade" if "no answer" in detail:
            return (
                f"it accepts connections and stays silent: {detail}",
                "is this a WebSocket port? otherwise the venue hangs",
            )
        case "upgrade" if visit.status in {403, 451}:
            return (
                f"it refuses this address with HTTP status {visit.status}",
                "a ban, or a place that it does not serve: do not dial on",
            )
        case "upgrade" if visit.status in {418, 429}:
            return (
                f"it has had too much from this address: {detail}",
                "stay away as long as it asks",
            )
        case "dns":
            return f"the name cannot be resolved: {detail}", "check the name and the resolver"
        case stage:
            return f"{stage} failed: {detail}", ""


def _clocks(clocks: Clocks) -> Iterator[Finding]:
    if clocks.offset_ns is None:
        return
    off_ns = abs(clocks.offset_ns) - clocks.uncertainty_ns
    words = f"this machine's clock is {_side(clocks)}"
    if off_ns > CLOCK_WRONG_NS:
        yield Finding("wrong", "clock", "", words, "set it by NTP: logins will be refused")
    elif off_ns > CLOCK_LOOK_NS:
        yield Finding("look", "clock", "", words, "set it by NTP: delays cannot be judged")


def _side(clocks: Clocks) -> str:
    offset_ns = clocks.offset_ns or 0
    side = "behind" if offset_ns > 0 else "ahead of"
    off_ms, within_ms = abs(offset_ns) / MS, clocks.uncertainty_ns / MS
    return f"{off_ms:.1f} ms {side} the venue's, give or take {within_ms:.1f} ms"


def _host(host: Host) -> Iterator[Finding]:
    words = (
        f"this process wakes late: p99 {host.lag_p99_ns / MS:.1f} ms,"
        f" at most {host.lag_max_ns / MS:.1f} ms"
    )
    advice = "the machine is overloaded, or its processor is taken away"
    if host.lag_p99_ns > LAG_WRONG_NS:
        yield Finding("wrong", "host", "", words, advice)
    elif host.lag_p99_ns > LAG_LOOK_NS or host.lag_max_ns > LAG_WRONG_NS:
        yield Finding("look", "host", "", words, advice)
    if host.files_soft is not None:
        left = host.files_soft - (host.files_open or 0)
        words = f"{left} more files may be opened, of {host.files_soft}"
        if left < FILES_WRONG:
            yield Finding("wrong", "host", "", words, "raise it: ulimit -n 65536")
        elif host.files_soft < FILES_LOOK:
            yield Finding("look", "host", "", words, "raise it: ulimit -n 65536")
    largest = host.tcp_receive_bytes_max
    if largest is not None and largest < RECEIVE_LOOK:
        words = f"TCP receive buffers grow to {largest >> 10} KiB only"
        yield Finding("look", "host", "", words, "raise net.ipv4.tcp_rmem: bursts must fit")


def quantile_ns(values: Sequence[int], share: float) -> int | None:
    """Return a quantile of a few values: one of them, or `None` if there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def declared_and_observed(probe: Probe, profile: Profile) -> list[tuple[str, str, str]]:
    """Return what the profile declares beside what was seen: name, declared, observed."""
    watched = max(probe.visits, key=lambda visit: visit.watched_ns, default=None)
    if watched is None or not watched.open:
        return []
    seconds = watched.watched_ns / SECOND
    ping_ns, ack_ns = profile.server_ping_ns.value, profile.ack_within_ns.value
    pings = f"{watched.server_pings} in {seconds:.1f} s"
    if ping_ns is not None and watched.watched_ns < ping_ns:
        pings += ": too short a look"
    answered = f"{len(watched.rtts_ns)} of {watched.pings} answered"
    acked = "none seen" if watched.ack_ns is None else f"after {watched.ack_ns / MS:.1f} ms"
    return [
        ("server ping", _every(ping_ns), pings),
        (
            "heartbeat",
            profile.heartbeat.value or "nothing documented",
            f"{watched.heartbeats} in {seconds:.1f} s",
        ),
        ("our ping", profile.client_ping.value or "nothing documented", answered),
        ("answer to a subscribe", f"within {ack_ns / SECOND:g} s, our patience", acked),
        ("dials", _limits(profile.dials.value), f"{len(probe.visits)} made"),
        ("messages", _limits(profile.messages.value), f"{watched.pings} pings sent"),
    ]


def _every(ns: int | None) -> str:
    return "nothing documented" if ns is None else f"every {ns / SECOND:g} s"


def _limits(limits: Sequence[object]) -> str:
    return ", ".join(_limit(limit) for limit in limits) or "no limit documented"


def _limit(limit: object) -> str:
    count, per_ns = getattr(limit, "count", None), getattr(limit, "per_ns", None)
    if count is not None and per_ns is not None:
        return f"{count} in {per_ns / SECOND:g} s"
    return f"{getattr(limit, 'capacity', 0)} units, {getattr(limit, 'per_s', 0)} more a second"
