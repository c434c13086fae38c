"""Two network namespaces joined by cables, with no way out, and faults of a real kernel on them.

Addresses are of the documentation's networks and there is no default route: nothing can leave.
Names carry the process's number, so that runs do not meet.  A firewall rule says how many packets
it has hit, which is how a test knows that its fault happened.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

from tests.cli.programs import Program

NUMBERS = count()
HOSTS = Path("/etc/netns")
NEEDED = ("ip", "tc", "ss", "iptables")


def run(*command, check=True):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def why_not():
    """Return why there can be no namespaces here, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed"
    name = f"gapless-{os.getpid()}-probe"
    try:
        run("ip", "netns", "add", name)
    except RuntimeError as error:
        return f"no network namespace can be made: {error}"
    run("ip", "netns", "del", name)
    return None


def sweep():
    """Remove what runs left behind that were killed."""
    for line in run("ip", "netns", "list", check=False).splitlines():
        name = line.split()[0] if line else ""
        parts = name.split("-")
        if parts[0] == "gapless" and len(parts) == 3 and not Path(f"/proc/{parts[1]}").exists():
            run("ip", "netns", "del", name, check=False)
            shutil.rmtree(HOSTS / name, ignore_errors=True)


class Rule:
    """A firewall rule on the client's side; it knows how many packets it has hit."""

    def __init__(self, lab, chain, *words):
        self._lab, self._chain = lab, chain
        self._name = f"rule{next(NUMBERS)}"
        self._words = [*words, "-m", "comment", "--comment", self._name]
        lab.in_client("iptables", "-w", "-A", chain, *self._words)

    @property
    def hits(self):
        listed = self._lab.in_client("iptables", "-w", "-nvxL", self._chain)
        (line,) = [line for line in listed.splitlines() if f"/* {self._name} */" in line]
        return int(line.split()[0])

    def lift(self):
        """Take the rule away; return how many packets it had hit."""
        hits = self.hits
        self._lab.in_client("iptables", "-w", "-D", self._chain, *self._words)
        return hits


class Endings:
    """Sees packets that end a connection arrive from one address; the kernel notes when.

    A command that kills something takes its time; what a client can know begins with the packet.
    It must be there for a while before: the kernel does not begin at once to note times.
    """

    _IPV4, _TCP, _FIN_OR_RST = 0x0800, 6, 5
    _SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35
    _CLONE_NEWNET = 0x40000000

    def __init__(self, lab, address):
        entered = threading.Thread(target=self._enter, args=(lab.client,))
        entered.start()  # a namespace belongs to a thread, and a socket to where it was made
        entered.join()
        self._filter(socket.inet_aton(address))

    def _enter(self, namespace):
        with open(f"/run/netns/{namespace}") as file:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(file.fileno(), self._CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self._IPV4))
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, self._SO_TIMESTAMPNS, 1)

    def _filter(self, source):
        """Let the kernel keep the rest away: IPv4 without options, from there, FIN or RST."""
        halfword, byte, word, equal, any_bit, accept = 0x28, 0x30, 0x20, 0x15, 0x45, 0x06
        steps = [
            (halfword, 0, 0, 12),
            (equal, 0, 7, self._IPV4),
            (byte, 0, 0, 23),
            (equal, 0, 5, self._TCP),
            (word, 0, 0, 26),
            (equal, 0, 3, int.from_bytes(source, "big")),
            (byte, 0, 0, 47),
            (any_bit, 0, 1, self._FIN_OR_RST),
            (accept, 0, 0, 64),
            (accept, 0, 0, 0),
        ]
        code = b"".join(struct.pack("HBBI", *step) for step in steps)
        held = ctypes.create_string_buffer(code)
        program = struct.pack("HL", len(steps), ctypes.addressof(held))
        self._socket.setsockopt(socket.SOL_SOCKET, self._SO_ATTACH_FILTER, program)

    def close(self):
        """Return when the first came to each port, in order, on the monotonic clock."""
        wall_to_mono_ns = time.monotonic_ns() - time.time_ns()
        first = {}
        try:
            while True:
                packet, notes, _, where = self._socket.recvmsg(64, 64)
                if where[2] != socket.PACKET_OUTGOING:
                    seconds, nanoseconds = struct.unpack("ll", notes[0][2])
                    at_ns = seconds * 1_000_000_000 + nanoseconds + wall_to_mono_ns
                    first.setdefault(packet[36:38], at_ns)
        except BlockingIOError:
            return sorted(first.values())
        finally:
            self._socket.close()


class Cable:
    """One link: a client's address, and as many of the server's as are asked for."""

    def __init__(self, lab, network):
        self._lab = lab
        number = next(NUMBERS)
        self._network, self._next = network, count(10)
        self.client_device, self.server_device = f"c{number}", f"s{number}"
        self.client = f"{network}.1"
        run(
            *("ip", "link", "add", self.client_device, "netns", lab.client),
            *("type", "veth", "peer", "name", self.server_device, "netns", lab.server),
        )
        run("ip", "-n", lab.client, "addr", "add", f"{self.client}/24", "dev", self.client_device)
        for name, device in ((lab.client, self.client_device), (lab.server, self.server_device)):
            run("ip", "-n", name, "link", "set", device, "up")

    def address(self):
        """Return one more address of the server."""
        address = f"{self._network}.{next(self._next)}"
        device = self.server_device
        run("ip", "-n", self._lab.server, "addr", "add", f"{address}/24", "dev", device)
        return address

    def set(self, state):
        """Pull the cable or plug it in again: ``down`` and ``up``."""
        run("ip", "-n", self._lab.client, "link", "set", self.client_device, state)

    def dropped(self):
        """Return how many packets the server's side could not send."""
        shown = self._lab.in_server("tc", "-s", "qdisc", "show", "dev", self.server_device)
        return sum(int(part.split(",")[0]) for part in shown.split("dropped ")[1:])


class Lab:
    """The namespaces, what runs in them, and what is broken between them."""

    def __enter__(self):
        sweep()
        number = f"{os.getpid()}"
        self.client, self.server = (f"gapless-{number}-{side}{next(NUMBERS)}" for side in "cs")
        self._programs = []
        atexit.register(self.close)
        for name in (self.client, self.server):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        networks = ("198.51.100", "192.0.2", "203.0.113")
        self.cables = [Cable(self, network) for network in networks]
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        atexit.unregister(self.close)
        for program in self._programs:
            program.close()
        for name in (self.client, self.server):
            run("ip", "netns", "del", name, check=False)
            shutil.rmtree(HOSTS / name, ignore_errors=True)

    def in_client(self, *command):
        return run("ip", "netns", "exec", self.client, *command)

    def in_server(self, *command):
        return run("ip", "netns", "exec", self.server, *command)

    def hosts(self, lines):
        """Let names be what a hosts file says, for whatever is started from now on."""
        folder = HOSTS / self.client
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")

    def start_client(self, *arguments):
        return self._start(self.client, (sys.executable, *arguments))

    def start_server(self, *arguments):
        main = "from gapless.cli import main; main()"
        return self._start(self.server, (sys.executable, "-c", main, *arguments))

    def _start(self, namespace, command):
        # `ip netns exec` becomes the command: a signal reaches the program itself.
        program = Program(start=("ip", "netns", "exec", namespace, *map(str, command)), talks=True)
        self._programs.append(program)
        return program

    def rule(self, chain, *words):
        return Rule(self, chain, *words)

    def reset_sockets_to(self, address):
        """Have the server's kernel destroy what is connected there; return how many there were."""
        before = self.established(address)
        # What it prints may be an error though it did its work: what counts is what is left.
        run("ip", "netns", "exec", self.server, "ss", "-K", "src", address, check=False)
        return before

    def established(self, address):
        listed = self.in_server("ss", "-Htn", "state", "established", "src", address)
        return len(listed.splitlines())

    def resets_sent(self):
        """Return how many resets the server's kernel has sent."""
        lines = self.in_server("cat", "/proc/net/snmp").splitlines()
        names, values = (line.split() for line in lines if line.startswith("Tcp:"))
        return int(values[names.index("OutRsts")])
