"""What all processes of a host have used of a venue's limits, in one small file for each address.

The file is a table of fixed slots: one for each use that still counts, and one for each breaker.
Whoever decides opens it, locks it, reads what the others have written since, decides, writes, and
closes it.  Nothing is kept open, so nothing is inherited by a fork, and the kernel takes the lock
from whoever dies.

Times are those of the monotonic clock, which all processes of a host share and nobody can set; the
header names the boot they belong to.  Each slot has a checksum of its own and lies within one page.
A slot that cannot be read counts as a use at the moment it is found, up to half of a limit: what is
lost makes us more careful, and never stops us.

No trouble with the file stops anybody either.  Who does not get the lock asks again a little later;
after a second, or if the file cannot be used at all, the process counts its own uses, says so
once, and writes them down when it can again.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import os
import re
import stat
import struct
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from gapless.core.breaker import Shut
from gapless.core.budget import Budget

__all__ = ["SLOTS", "SLOT_BYTES", "BudgetStore", "SharedLedger", "state_dir"]

SLOTS: Final = 1024  # the first is the header
SLOT_BYTES: Final = 128
FILE_BYTES: Final = SLOTS * SLOT_BYTES
PAGE_SLOTS: Final = 32  # compared as one
UNREAD_MAX: Final = 256
"""Slots that cannot be read and are counted at most."""

SPIN: Final = 20
SPIN_S: Final = 0.000_1
BUSY_NS: Final = 3_000_000
"""How soon to ask again for a lock that was not to be had."""

PATIENCE_NS: Final = 1_000_000_000
"""How long a lock may be out of reach until this process goes on alone."""

RETRY_NS: Final = 5_000_000_000
"""How often a process that goes on alone tries the file again."""

FULL_NS: Final = 100_000_000
"""How soon to ask again while every slot is taken by a use that still counts."""

UNREAD_NS: Final = 3_600_000_000_000
"""How long a slot that could not be read is remembered: the longest window of any venue."""

AHEAD_NS: Final = 60_000_000_000  # a use from further in the future is one from before a reboot
OWN_MAX: Final = 1024
TROUBLES_MAX: Final = 16

_MAGIC: Final = b"GAPLESSB"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sII32s16s60xI")
_SLOT: Final = struct.Struct("<QqqQIIqqqqII44xI")
_EMPTY: Final = bytes(SLOT_BYTES)
_UNREAD: Final = 0  # the kind of what could not be read


class _Record(NamedTuple):
    seq: int  # order of writing
    at_ns: int
    until_ns: int  # matters no more from then on
    name: int  # of this use, random
    kind: int
    units: int
    left: int = 0  # what a credit pool held afterwards
    # Of a breaker; `units` is 1 if it is closed, and 2 more if it is lasting.
    shut_until_ns: int = 0
    since_ns: int = 0
    probe_ns: int = -1
    refusals: int = 0
    bans: int = 0


def state_dir() -> Path:
    """Return where state of this user is kept that need not outlive the machine's uptime.

    ``GAPLESS_STATE_DIR`` if it is set, else a directory of ours in ``XDG_RUNTIME_DIR``, else in
    the user's cache.
    """
    chosen = os.environ.get("GAPLESS_STATE_DIR")
    if chosen:
        return Path(chosen)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return Path(runtime) / "gapless"
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "gapless"


class BudgetStore:
    """The file of one venue and one address.

    Args:
        directory: Where; made if it is not there, for this user alone.
        venue: Name of the venue.
        egress: What to call the address that the venue sees; empty for the usual one.
        troubles: Gets each kind of trouble once, in words.
    """

    def __init__(
        self,
        directory: Path,
        venue: str,
        egress: str = "",
        troubles: list[str] | None = None,
    ) -> None:
        digest = hashlib.sha256(egress.encode()).hexdigest()[:16]
        plain = re.fullmatch(r"[0-9A-Za-z.:]{0,45}", egress) is not None
        name = egress.replace(":", "_") if plain else digest
        self.path = directory / f"{venue}@{name or 'default'}.budget"
        self.troubles = [] if troubles is None else troubles

    def ledger(self, kind: str) -> SharedLedger:
        """Return the ledger of one kind of use."""
        return SharedLedger(self, kind)

    def say(self, words: str) -> None:
        """Tell of trouble, once for each."""
        if words not in self.troubles and len(self.troubles) < TROUBLES_MAX:
            self.troubles.append(words)

    # -- the file ---------------------------------------------------------------------------

    def open_locked(self, spins: int = SPIN) -> int | None:
        """Open the file and lock it; return its descriptor, or `None` if another has the lock.

        Raises:
            OSError: If it cannot be used.
        """
        for _ in range(4):
            fd = self._open()
            try:
                if not _lock(fd, spins):
                    os.close(fd)
                    return None
                if os.fstat(fd).st_nlink == 1:
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # it was removed since: there is another by now, or will be
        raise OSError(errno.ESTALE, "the file is being replaced over and over")

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags)
        except FileNotFoundError:
            self._create()
            fd = os.open(self.path, flags)
        try:
            _check(os.fstat(fd), os.lstat(self.path.parent))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _create(self) -> None:
        """Make the file whole before it has its name: nobody ever sees a part of it."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{os.urandom(8).hex()}")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            try:
                _write(fd, _header().ljust(FILE_BYTES, b"\0"), 0)
            finally:
                os.close(fd)
            with suppress(FileExistsError):  # another was quicker
                os.link(draft, self.path)
        finally:
            os.unlink(draft)


def _check(file: os.stat_result, where: os.stat_result) -> None:
    """Refuse what is not ours alone: whoever can write it can silence us."""
    if not stat.S_ISREG(file.st_mode) or file.st_uid != os.getuid():
        raise OSError(errno.EPERM, "not a regular file of this user")
    if file.st_mode & 0o077:
        raise OSError(errno.EPERM, "others may read or write the file")
    if not stat.S_ISDIR(where.st_mode) or where.st_uid != os.getuid():
        raise OSError(errno.EPERM, "its directory is not one of this user")
    if where.st_mode & 0o022:
        raise OSError(errno.EPERM, "others may write its directory")


def _lock(fd: int, spins: int) -> bool:
    for attempt in range(spins):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < spins:
                time.sleep(SPIN_S)
        else:
            return True
    return False


class SharedLedger:
    """A `gapless.core.budget.Ledger` in the file of a `BudgetStore`.

    Args:
        store: The file.
        kind: What is used, such as ``dials``.
    """

    def __init__(self, store: BudgetStore, kind: str) -> None:
        self._store = store
        self._kind = zlib.crc32(kind.encode()) or 1
        self._shut_kind = zlib.crc32(f"breaker of {kind}".encode()) or 1
        self._known: set[int] = set()  # names of the uses that our budget has counted
        self._there: set[int] = set()  # names of those that stand in the file
        self._own: list[_Record] = []  # uses of ours that may have to be written again
        self._unread_ns: list[int] = []
        self._first = True
        self._fd: int | None = None
        self._data = bytearray()
        self._slots: list[_Record | None] = [None] * SLOTS
        self._seq = 0
        self._shut: Shut | None = None
        self._busy_since_ns: int | None = None
        self._busy_ns = 0  # when it was last found locked
        self._alone_until_ns = 0

    # -- the protocol -----------------------------------------------------------------------

    def enter(self, budget: Budget, now_ns: int) -> int:
        """Lock, and bring in what others did; see `gapless.core.budget.Ledger.enter`."""
        if now_ns < self._alone_until_ns:
            return 0
        try:
            # Whoever has kept it for that long already may have been stopped: no loop waits again.
            self._fd = self._store.open_locked(1 if self._is_busy(now_ns) else SPIN)
            if self._fd is not None:
                self._busy_since_ns = None
                if self._read(budget, self._fd, now_ns):
                    return 0
                self._drop()
                return FULL_NS
        except OSError as error:
            self._drop()
            self._go_alone(now_ns, error.strerror or type(error).__name__)
            return 0
        if self._busy_since_ns is None or not self._is_busy(now_ns):
            self._busy_since_ns = now_ns
        self._busy_ns = now_ns
        if now_ns - self._busy_since_ns < PATIENCE_NS:
            return BUSY_NS
        self._go_alone(now_ns, "another process keeps it locked")
        return 0

    def _is_busy(self, now_ns: int) -> bool:
        """Whether it was locked when last asked for, not long ago."""
        return self._busy_since_ns is not None and now_ns - self._busy_ns <= PATIENCE_NS

    def record(self, units: int, now_ns: int) -> None:
        """Record a use of ours; written down by `leave`."""
        name = _name()
        self._own.append(_Record(0, now_ns, now_ns, name, self._kind, units))
        self._known.add(name)
        if len(self._own) > OWN_MAX:
            del self._own[0]

    def leave(self, budget: Budget, now_ns: int) -> None:
        """Write, and unlock."""
        if self._fd is None:
            return
        try:
            self._write_own(budget, self._fd, now_ns)
            if budget.breaker.shut != self._shut:
                self._write_shut(self._fd, budget.breaker.shut, now_ns)
                self._shut = budget.breaker.shut
        except OSError as error:
            self._go_alone(now_ns, error.strerror or type(error).__name__)
        finally:
            self._drop()

    # -- reading ----------------------------------------------------------------------------

    def _read(self, budget: Budget, fd: int, now_ns: int) -> bool:
        """Bring in what others did; return whether there is room for another use."""
        data = os.pread(fd, FILE_BYTES, 0)
        if data[:SLOT_BYTES] != self._data[:SLOT_BYTES]:  # never seen, or made anew
            self._data, self._slots, self._there = bytearray(), [None] * SLOTS, set()
        if data != self._data:
            self._read_changes(budget, fd, data, now_ns)
        return any(slot is None or slot.until_ns <= now_ns for slot in self._slots[2:])

    def _read_changes(self, budget: Budget, fd: int, data: bytes, now_ns: int) -> None:
        boot = _boot_of(data)
        if boot not in {None, _boot()}:  # the clock began anew: nothing here means anything
            data = _header().ljust(FILE_BYTES, b"\0")
            _write(fd, data, 0)
        changed, unread = _parse(data, self._data, self._slots, now_ns)
        self._data = bytearray(data)
        self._seq = max((slot.seq for slot in self._slots if slot is not None), default=0)
        if unread or boot is None:
            self._repair(fd, unread, now_ns)
        fresh = sorted(slot for index in changed if (slot := self._slots[index]) is not None)
        self._take_in(budget, fresh, now_ns)
        if len(self._known) > 8 * SLOTS:
            self._there = {slot.name for slot in self._slots if slot is not None}
            self._known = self._there | {own.name for own in self._own}

    def _take_in(self, budget: Budget, fresh: list[_Record], now_ns: int) -> None:
        newest: _Record | None = None
        for record in fresh:
            self._there.add(record.name)
            if record.name in self._known or record.until_ns <= now_ns:
                continue
            if record.kind == self._kind:
                budget.foreign(record.at_ns, record.units)
                newest = record
            elif record.kind == _UNREAD:
                self._count_unread(budget, record)
            self._known.add(record.name)
        if self._first and newest is not None:  # it may rest on uses that are written over by now
            budget.restore(newest.left, newest.at_ns)
        self._first = False
        shuts = [slot for slot in self._slots if slot is not None and slot.kind == self._shut_kind]
        theirs, ours = _shut_of(max(shuts)) if shuts else None, budget.breaker.shut
        if theirs is not None:  # ours counts only if it changed while the file was out of reach
            budget.breaker.shut = theirs if ours == self._shut else _both(ours, theirs)
        self._shut = Shut() if theirs is None else theirs

    def _count_unread(self, budget: Budget, record: _Record) -> None:
        """Count what could not be read as a use, up to half of the limit."""
        horizon_ns = record.at_ns - budget.memory_ns
        self._unread_ns = [at_ns for at_ns in self._unread_ns if at_ns > horizon_ns]
        known = (slot.units for slot in self._slots if slot is not None and slot.kind == self._kind)
        units = max(known, default=1)
        if (len(self._unread_ns) + 1) * units <= budget.size // 2:
            self._unread_ns.append(record.at_ns)
            budget.foreign(record.at_ns, units)

    def _repair(self, fd: int, unread: list[int], now_ns: int) -> None:
        """Put a record in the place of what cannot be read, so that all count it alike."""
        for count, index in enumerate(unread):
            if count < UNREAD_MAX:
                until_ns = now_ns + UNREAD_NS
                self._seq += 1
                self._slots[index] = _Record(self._seq, now_ns, until_ns, _name(), _UNREAD, 1)
        packed = [_EMPTY if slot is None else _pack(slot) for slot in self._slots[1:]]
        self._data = bytearray(_header() + b"".join(packed))
        _write(fd, self._data, 0)
        self._store.say(f"{len(unread)} records could not be read, and count as used")

    # -- writing ----------------------------------------------------------------------------

    def _write_own(self, budget: Budget, fd: int, now_ns: int) -> None:
        """Write what is not there: a new use, one from a time alone, or all if the file is new."""
        memory_ns = budget.memory_ns
        self._own = [own for own in self._own if own.at_ns + memory_ns > now_ns]
        for own in self._own:
            if own.name not in self._there:
                until_ns = own.at_ns + memory_ns
                self._put(fd, own._replace(until_ns=until_ns, left=budget.left), now_ns)

    def _write_shut(self, fd: int, shut: Shut, now_ns: int) -> None:
        old = [i for i, slot in enumerate(self._slots) if slot and slot.kind == self._shut_kind]
        self._put(fd, _record_of(shut, self._shut_kind, now_ns), now_ns)
        for index in old:  # only now: a crash in between leaves both, and the newer counts
            self._slots[index] = None
            self._write_slot(fd, index, _EMPTY)

    def _put(self, fd: int, record: _Record, now_ns: int) -> None:
        for index in range(1, SLOTS):
            slot = self._slots[index]
            if slot is None or slot.until_ns <= now_ns:
                self._seq += 1
                written = self._slots[index] = record._replace(seq=self._seq)
                self._there.add(record.name)
                self._write_slot(fd, index, _pack(written))
                return

    def _write_slot(self, fd: int, index: int, packed: bytes) -> None:
        offset = index * SLOT_BYTES
        _write(fd, packed, offset)
        self._data[offset : offset + SLOT_BYTES] = packed

    def _drop(self) -> None:
        if self._fd is not None:
            os.close(self._fd)  # which unlocks it, too
            self._fd = None

    def _go_alone(self, now_ns: int, why: str) -> None:
        self._alone_until_ns = now_ns + RETRY_NS
        self._busy_since_ns = None
        self._store.say(f"{why}: this process counts on its own for now")


# -- the bytes ------------------------------------------------------------------------------


def _name() -> int:
    return int.from_bytes(os.urandom(8), "little")


@functools.cache
def _boot() -> bytes:
    """Return what tells this boot from others; nothing where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().replace(b"-", b"")[:32]
    except OSError:
        return b""


def _header() -> bytes:
    packed = _HEADER.pack(_MAGIC, _VERSION, SLOTS, _boot().ljust(32, b"\0"), os.urandom(16), 0)
    return packed[:-4] + zlib.crc32(packed[:-4]).to_bytes(4, "little")


def _boot_of(data: bytes) -> bytes | None:
    """Return the boot that a file belongs to, or `None` if its header cannot be read."""
    head = data[:SLOT_BYTES]
    if len(head) < SLOT_BYTES or zlib.crc32(head[:-4]) != int.from_bytes(head[-4:], "little"):
        return None
    magic, version, slots, boot, _, _ = _HEADER.unpack(head)
    if (magic, version, slots) != (_MAGIC, _VERSION, SLOTS):
        return None
    return bytes(boot).rstrip(b"\0")


def _parse(
    data: bytes, before: bytearray, slots: list[_Record | None], now_ns: int
) -> tuple[list[int], list[int]]:
    """Bring ``slots`` up to date; return which have changed, and which of them cannot be read.

    What is cut off cannot be read either.
    """
    changed: list[int] = []
    unread: list[int] = []
    for page in range(0, SLOTS, PAGE_SLOTS):
        begin = page * SLOT_BYTES
        end = begin + PAGE_SLOTS * SLOT_BYTES
        if data[begin:end] == before[begin:end] and end <= len(data):
            continue
        for index in range(max(1, page), page + PAGE_SLOTS):
            slot = data[index * SLOT_BYTES : (index + 1) * SLOT_BYTES]
            if (
                len(slot) == SLOT_BYTES
                and slot == before[index * SLOT_BYTES : (index + 1) * SLOT_BYTES]
            ):
                continue
            changed.append(index)
            slots[index] = None
            if slot == _EMPTY:
                continue
            if len(slot) < SLOT_BYTES or zlib.crc32(slot[:-4]) != int.from_bytes(
                slot[-4:], "little"
            ):
                unread.append(index)
                continue
            record = _Record(*_SLOT.unpack(slot)[:-1])
            if record.at_ns <= now_ns + AHEAD_NS:
                slots[index] = record
    return changed, unread


def _pack(record: _Record) -> bytes:
    packed = _SLOT.pack(*record, 0)
    return packed[:-4] + zlib.crc32(packed[:-4]).to_bytes(4, "little")


def _write(fd: int, data: bytes | bytearray, offset: int) -> None:
    if os.pwrite(fd, data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _record_of(shut: Shut, kind: int, now_ns: int) -> _Record:
    return _Record(
        0,
        shut.told_ns,
        max(now_ns, shut.until_ns) + UNREAD_NS,
        _name(),
        kind,
        shut.closed | shut.lasting << 1,
        0,
        shut.until_ns,
        shut.since_ns,
        -1 if shut.probe_ns is None else shut.probe_ns,
        min(shut.refusals, 1 << 31),
        min(shut.bans, 1 << 31),
    )


def _both(ours: Shut, theirs: Shut) -> Shut:
    """Return what two know that did not hear of each other: the newer, and the longer time."""
    # After one refusal a breaker closes once, and that is what became of it.
    newer = max(ours, theirs, key=lambda shut: (shut.told_ns, shut.closed))
    if ours.closed or theirs.closed:
        return newer
    return replace(newer, until_ns=max(ours.until_ns, theirs.until_ns))


def _shut_of(record: _Record) -> Shut:
    return Shut(
        refusals=record.refusals,
        bans=record.bans,
        since_ns=record.since_ns,
        until_ns=record.shut_until_ns,
        probe_ns=None if record.probe_ns < 0 else record.probe_ns,
        told_ns=record.at_ns,
        closed=bool(record.units & 1),
        lasting=bool(record.units & 2),
    )
