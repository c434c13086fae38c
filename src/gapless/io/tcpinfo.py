"""What the kernel knows of a TCP connection: Linux only, and evidence rather than truth.

``TCP_INFO`` is a C struct that has only ever grown at its end.  It is read by length, so that an
older kernel gives fewer fields, and one that answers with less than a field needs gives none.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["TcpInfo", "parse", "tcp_info"]

_LENGTH_ASKED: Final = 512  # 280 bytes are in use today; the kernel cuts to what it has
# state, ca_state, retransmits, probes, backoff, options, window scales and flags, one byte each;
# then 24 numbers of 32 bits, from `rto` to `total_retrans`.
_HEAD: Final = struct.Struct("=8B24I")
_DELIVERY: Final = struct.Struct("=Q")
_DELIVERY_AT: Final = 160  # behind it the struct has changed its paddings


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """What the kernel knows of one connection.

    Attributes:
        rtt_us, rttvar_us: Smoothed round trip and its variation, in microseconds.
        unacked: Segments sent and not acknowledged yet.
        retransmits: How often the oldest of them has timed out in a row; 0 on a healthy path.
        total_retrans: Segments sent again since the connection was opened.
        lost: Segments believed lost now.
        last_data_recv_ms: Milliseconds since data last arrived, acknowledgements not counted.
        snd_mss: Largest segment we send, in bytes.
        delivery: Rate at which what we sent was delivered lately, in bytes a second; `None`
            where the kernel does not say.
    """

    rtt_us: int
    rttvar_us: int
    unacked: int
    retransmits: int
    total_retrans: int
    lost: int
    last_data_recv_ms: int
    snd_mss: int
    delivery: int | None

    @property
    def is_retransmitting(self) -> bool:
        """Whether what we sent goes unacknowledged now: the path is sick, or the peer's host."""
        return self.retransmits > 0 or (self.lost > 0 and self.unacked > 0)

    def __str__(self) -> str:
        return (
            f"tcp: {self.unacked} unacknowledged, {self.retransmits} timeouts in a row, "
            f"{self.total_retrans} sent again, rtt {self.rtt_us / 1000:.1f} ms, "
            f"data {self.last_data_recv_ms} ms ago"
        )


class _Socket(Protocol):
    """What is needed of a socket; transports hand out such that cannot be written to."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


def tcp_info(sock: _Socket | None) -> TcpInfo | None:
    """Return what the kernel knows of ``sock``.

    `None` where there is no such thing: another system, a socket that is closed or not TCP.
    """
    if sock is None or not sys.platform.startswith("linux"):
        return None
    try:
        return parse(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH_ASKED))
    except (OSError, ValueError):
        return None


def parse(data: bytes) -> TcpInfo | None:
    """Read the struct; `None` if it is too short to be one."""
    if len(data) < _HEAD.size:
        return None
    fields = _HEAD.unpack_from(data)
    retransmits, numbers = fields[2], fields[8:]
    delivery = None
    if len(data) >= _DELIVERY_AT + _DELIVERY.size:
        (delivery,) = _DELIVERY.unpack_from(data, _DELIVERY_AT)
    return TcpInfo(
        rtt_us=numbers[15],
        rttvar_us=numbers[16],
        unacked=numbers[4],
        retransmits=retransmits,
        total_retrans=numbers[23],
        lost=numbers[6],
        last_data_recv_ms=numbers[11],
        snd_mss=numbers[2],
        delivery=delivery,
    )
