"""What a probe measures: plain values, no judgement."""

from __future__ import annotations

from dataclasses import dataclass, field

from gapless.io.tcpinfo import TcpInfo

__all__ = ["Clocks", "Host", "Names", "Probe", "Tls", "Visit"]


@dataclass(frozen=True, slots=True)
class Names:
    """What the resolver says of one host.

    Attributes:
        addresses: In its order; empty if it said nothing.
        took_ns: How long that took; 0 for a host that is an address itself.
        failure: Why it said nothing, or empty.
    """

    host: str
    addresses: tuple[str, ...]
    took_ns: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Tls:
    """What was agreed on.

    Attributes:
        version: Such as ``TLSv1.3``.
        days_left: Until the certificate expires, or `None` if that cannot be read.
    """

    version: str
    days_left: float | None


@dataclass(slots=True, kw_only=True)
class Visit:
    """One connection to one address of one endpoint.

    Attributes:
        endpoint: URL without query.
        address: The address, or empty if the host was not resolved.
        stage: In which stage of the dial it failed, or empty.
        detail: Why, or what was wrong afterwards; safe to print.
        status: HTTP status of a refused upgrade.
        reached: Whether TCP stood.
        tcp_ns, tls_ns, upgrade_ns: Stages of the dial; 0 where there was none.
        ack_ns: From the subscribe to the venue's yes, or `None`.
        data_ns: From the subscribe to the first event, or `None`.
        topic: What was subscribed; empty for nothing.
        refused: What the venue said if it refused, or empty.
        rtts_ns: Round trips of the pings that were answered.
        pings: How many were sent.
        tcp: What the kernel knew at the end, or `None`.
        watched_ns: How long the connection was watched.
        server_pings: Ping frames of the venue.
        heartbeats: Heartbeat messages of the venue.
        frames: Frames of any kind of data.
        lost: How the connection ended, if not by us.
    """

    endpoint: str
    address: str
    stage: str = ""
    detail: str = ""
    status: int | None = None
    reached: bool = False
    tcp_ns: int = 0
    tls_ns: int = 0
    upgrade_ns: int = 0
    tls: Tls | None = None
    ack_ns: int | None = None
    data_ns: int | None = None
    topic: str = ""
    refused: str = ""
    rtts_ns: list[int] = field(default_factory=list)
    pings: int = 0
    tcp: TcpInfo | None = None
    watched_ns: int = 0
    server_pings: int = 0
    heartbeats: int = 0
    frames: int = 0
    lost: str = ""

    @property
    def open(self) -> bool:
        """Whether the upgrade was completed."""
        return self.reached and not self.stage


@dataclass(frozen=True, slots=True)
class Clocks:
    """The venue's clock beside ours.

    Attributes:
        offset_ns: Venue minus us, or `None` if it was not measured.
        uncertainty_ns: The true offset is within this of it.
        failure: Why it was not measured, or empty.
    """

    offset_ns: int | None
    uncertainty_ns: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """This machine, while the probe ran.

    Attributes:
        lag_p99_ns, lag_max_ns: How late the event loop woke.
        lag_samples: How often that was measured.
        files_soft, files_hard: Open files that this process may have, or `None` for no limit.
        files_open: Those it has, or `None` if the system does not say.
        receive_bytes_max: Largest receive buffer that may be asked for, or `None`.
        tcp_receive_bytes_max: Largest that TCP grows to by itself, or `None`.
    """

    lag_p99_ns: int
    lag_max_ns: int
    lag_samples: int
    files_soft: int | None
    files_hard: int | None
    files_open: int | None
    receive_bytes_max: int | None
    tcp_receive_bytes_max: int | None


@dataclass(frozen=True, slots=True)
class Probe:
    """All of it.

    Attributes:
        skipped: Addresses that were not dialled, and why.
    """

    venue: str
    names: tuple[Names, ...]
    visits: tuple[Visit, ...]
    clocks: Clocks
    host: Host
    skipped: tuple[str, ...] = ()
