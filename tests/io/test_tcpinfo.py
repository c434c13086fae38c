"""The kernel's own account of a connection, and what is made of a short or hostile one."""

from __future__ import annotations

import socket
import struct
import sys
import time

from gapless.io.tcpinfo import parse, tcp_info


def document(**fields: int) -> bytes:
    """Return the struct of linux/tcp.h, with a value at the offset that the header gives it."""
    data = bytearray(232)
    offsets = {
        "retransmits": (2, "B"),
        "snd_mss": (16, "I"),
        "unacked": (24, "I"),
        "lost": (32, "I"),
        "last_data_recv": (52, "I"),
        "rtt": (68, "I"),
        "rttvar": (72, "I"),
        "total_retrans": (100, "I"),
        "delivery_rate": (160, "Q"),
    }
    for name, value in fields.items():
        offset, kind = offsets[name]
        struct.pack_into(f"={kind}", data, offset, value)
    return bytes(data)


FIELDS = {
    "retransmits": 3,
    "snd_mss": 1448,
    "unacked": 4,
    "lost": 2,
    "last_data_recv": 1234,
    "rtt": 80_000,
    "rttvar": 7_000,
    "total_retrans": 9,
    "delivery_rate": 1 << 40,
}


def test_every_field_is_read_from_where_the_kernels_header_puts_it():
    info = parse(document(**FIELDS))
    assert info is not None
    assert (info.retransmits, info.snd_mss, info.unacked, info.lost) == (3, 1448, 4, 2)
    assert (info.last_data_recv_ms, info.rtt_us, info.rttvar_us) == (1234, 80_000, 7_000)
    assert (info.total_retrans, info.delivery) == (9, 1 << 40)


def test_a_struct_of_any_length_is_read_as_far_as_it_goes_and_never_worse():
    whole = document(**FIELDS)
    for length in range(len(whole) + 1):
        info = parse(whole[:length])
        assert (info is None) == (length < 104)
        if info is not None:
            assert (info.delivery is None) == (length < 168)
            assert info.total_retrans == 9


def test_a_path_that_sends_again_is_told_from_one_that_only_once_did():
    def read(**fields: int):
        info = parse(document(**fields))
        assert info is not None
        return info

    assert read(retransmits=1, unacked=1).is_retransmitting
    assert read(lost=1, unacked=2).is_retransmitting
    assert not read(total_retrans=100).is_retransmitting
    assert not read(unacked=10).is_retransmitting


def test_a_real_connection_tells_how_long_ago_its_data_came():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"x" * 100)
            assert client.recv(100)
            before = tcp_info(client)
            if not sys.platform.startswith("linux"):
                assert before is None  # only Linux tells
                return
            deadline = time.monotonic() + 5
            while (after := tcp_info(client)) is None or after.last_data_recv_ms < 20:
                assert time.monotonic() < deadline
            client.sendall(b"y" * 100)
            assert peer.recv(100)
            sent = tcp_info(client)
    assert before is not None
    assert sent is not None
    assert before.last_data_recv_ms < after.last_data_recv_ms
    assert sent.snd_mss > 500
    assert 0 < sent.rtt_us < 1_000_000
    assert sent.total_retrans == 0
    assert "rtt" in str(sent)


def test_what_is_no_tcp_connection_has_none():
    assert tcp_info(None) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert tcp_info(datagrams) is None
    closed = socket.socket()
    closed.close()
    assert tcp_info(closed) is None
