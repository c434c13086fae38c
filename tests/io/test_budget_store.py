"""The shared file: exact between processes, and of use whatever happens to it or to its users."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from gapless.core.breaker import BreakerState
from gapless.core.budget import Budget, Credit, Window
from gapless.io.budget_store import (
    FILE_BYTES,
    PATIENCE_NS,
    RETRY_NS,
    SLOT_BYTES,
    UNREAD_MAX,
    BudgetStore,
    state_dir,
)

SECOND = 10**9
MS = 10**6
T0 = 1_000 * SECOND
HAMMER = Path(__file__).with_name("hammer.py")


class User:
    """One process's view of the file, as far as the file can tell."""

    def __init__(self, directory, *limits, kind="dials", egress=""):
        self.store = BudgetStore(directory, "venue", egress)
        self.budget = Budget(*limits, ledger=self.store.ledger(kind))
        self.take = self.budget.take
        self.path = self.store.path


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def granted(user, now_ns, tries=1000):
    return sum(user.take(now_ns) == 0 for _ in range(tries))


# -- exactness --------------------------------------------------------------------------------


def test_what_one_uses_another_cannot(place):
    one, two = User(place, Window(5, SECOND)), User(place, Window(5, SECOND))
    assert [one.take(T0) for _ in range(3)] == [0, 0, 0]
    assert [two.take(T0 + 1) for _ in range(3)] == [0, 0, SECOND - 1]
    assert one.take(T0 + SECOND - 1) == 1
    assert granted(one, T0 + SECOND) == 3
    assert one.budget.used_ratio(T0 + SECOND) == 1.0


def test_who_comes_later_knows_what_was_used_before(place):
    first = User(place, Window(5, SECOND))
    assert granted(first, T0) == 5
    assert granted(User(place, Window(5, SECOND)), T0 + SECOND - 1) == 0


def test_a_pool_that_is_drained_for_long_is_not_full_for_a_newcomer(place):
    one, now_ns = User(place, Credit(10, 10)), T0
    assert granted(one, now_ns) == 10
    for _ in range(50):  # as fast as it refills; the first uses are written over meanwhile
        now_ns += SECOND // 10
        assert one.take(now_ns) == 0
    assert granted(User(place, Credit(10, 10)), now_ns) == 0


def test_kinds_and_addresses_are_apart_and_share_no_window(place):
    for user in (
        User(place, Window(2, SECOND)),
        User(place, Window(2, SECOND), kind="pool weight"),
        User(place, Window(2, SECOND), egress="10.0.0.7"),
        User(place, Window(2, SECOND), egress=" through proxy 8080"),
        User(place, Window(2, SECOND), egress="2001:db8::1"),
    ):
        assert granted(user, T0) == 2
    assert len(list(place.iterdir())) == 4


def test_a_use_that_was_not_ours_to_refuse_is_seen_by_the_others(place):
    one, two = User(place, Window(2, SECOND)), User(place, Window(2, SECOND))
    for _ in range(3):
        one.budget.note(T0)
    assert two.take(T0) == SECOND
    assert two.budget.used_ratio(T0) == 1.5


def _run(place, workers, count, per_ns, seconds, kills=0, seed=0):
    """Hammer the file; return every use that was granted, and how many users were killed."""
    rng = Random(seed)

    def start(left_s):
        return subprocess.Popen(
            [sys.executable, str(HAMMER), str(place), str(count), str(per_ns), str(left_s)],
            stdout=subprocess.PIPE,
            text=True,
        )

    began = time.monotonic()
    running, ended, killed = [start(seconds) for _ in range(workers)], [], 0
    for _ in range(kills):
        time.sleep(rng.uniform(0.05, seconds / kills * 0.7))  # at any point of what it is doing
        victim = running.pop(rng.randrange(len(running)))
        victim.kill()
        ended.append(victim)
        killed += 1
        running.append(start(max(0.2, began + seconds - time.monotonic())))
    said = [process.communicate(timeout=60)[0] for process in [*ended, *running]]
    lines = [line for text in said for line in text.splitlines()]
    assert not [line for line in lines if "trouble" in line]
    return sorted(int(line) for line in lines), killed


def _most(times, per_ns):
    first = most = 0
    for last, at_ns in enumerate(times):
        while times[first] <= at_ns - per_ns:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("kills", [0, 12])
def test_processes_together_never_exceed_a_window_whoever_is_killed(place, kills):
    count, per_ns, seconds = 60, 250 * MS, 1.2
    times, killed = _run(place, 4, count, per_ns, seconds, kills, seed=kills)
    most = _most(times, per_ns)
    print(
        f"{len(times)} uses by {4 + killed} processes, {killed} killed; at most {most} of {count}"
    )
    assert killed == kills
    assert most <= count
    assert len(times) >= 2 * count  # and it was worth fighting for


# -- damage -----------------------------------------------------------------------------------


def _used(place, uses):
    """Return the bytes of a file with so many uses of a window of 20."""
    user = User(place, Window(20, SECOND))
    for n in range(uses):
        assert user.take(T0 + n) == 0
    return user.path, user.path.read_bytes()


def test_a_bit_that_flips_anywhere_never_frees_a_use_and_never_stops_anybody(place):
    path, whole = _used(place, 8)
    rng = Random(5)
    # The header, each use, and some room behind.
    for at in range(rng.randrange(9), 12 * SLOT_BYTES, 9):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        user = User(place, Window(20, SECOND))
        got = granted(user, T0 + 100, 25)
        assert 10 <= got <= 12, at
        assert user.store.troubles, at
        assert granted(User(place, Window(20, SECOND)), T0 + 100, 5) == 0  # repaired, all agree
        assert user.take(T0 + SECOND + 200) == 0


def test_a_file_that_is_cut_anywhere_is_as_good_as_half_used_at_least(place):
    path, whole = _used(place, 8)
    lengths = [*range(0, 10 * SLOT_BYTES, 31), FILE_BYTES - SLOT_BYTES, FILE_BYTES - 1]
    for length in lengths:
        path.write_bytes(whole[:length])
        user = User(place, Window(20, SECOND))
        got = granted(user, T0 + 100, 25)
        assert 1 <= got <= 12, length
        assert user.store.troubles, length
        assert path.stat().st_size == FILE_BYTES
        assert user.take(T0 + SECOND + 200) == 0


def test_a_file_of_noise_is_repaired_and_leaves_room_for_records(place):
    path, _ = _used(place, 1)
    path.write_bytes(Random(1).randbytes(FILE_BYTES))
    user = User(place, Window(2000, SECOND))
    assert user.take(T0) == 0
    assert user.budget.used_ratio(T0) * 2000 == UNREAD_MAX + 1
    assert granted(User(place, Window(2000, SECOND)), T0, 300) == 300


def test_records_of_another_boot_count_no_more(place, monkeypatch):
    _used(place, 20)
    monkeypatch.setattr("gapless.io.budget_store._boot", lambda: b"another")
    assert granted(User(place, Window(20, SECOND)), T0 + 100) == 20


def test_a_file_that_is_removed_is_made_anew_with_what_each_knows_of_its_own(place):
    one, two = User(place, Window(10, SECOND)), User(place, Window(10, SECOND))
    for n in range(3):
        assert one.take(T0 + n) == 0
        assert two.take(T0 + n) == 0
    one.path.unlink()
    assert one.take(T0 + 10) == 0
    assert two.take(T0 + 10) == 0
    assert granted(User(place, Window(10, SECOND)), T0 + 11) == 2


def test_while_every_slot_is_taken_nobody_uses_anything_and_then_goes_on(place):
    user = User(place, Window(5000, SECOND))
    assert 1000 <= granted(user, T0, 2000) < 1024
    assert 0 < user.take(T0 + 1) <= SECOND
    assert granted(user, T0 + SECOND, 10) == 10


# -- trouble ----------------------------------------------------------------------------------


def _trouble(user):
    """Return what it says, after it has gone on alone."""
    assert granted(user, T0) == 5
    assert user.take(T0 + SECOND - 1) == 1
    [words] = user.store.troubles
    return words


def test_a_directory_that_cannot_be_made_stops_nobody(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "Not a directory" in _trouble(User(tmp_path / "file" / "state", Window(5, SECOND)))


def test_what_others_may_write_is_not_trusted(place):
    path, _ = _used(place, 1)
    path.chmod(0o666)
    assert "others may read or write" in _trouble(User(place, Window(5, SECOND)))
    path.chmod(0o600)
    place.chmod(0o777)
    assert "its directory" in _trouble(User(place, Window(5, SECOND)))


def test_a_link_is_not_followed(place, tmp_path):
    path, whole = _used(place, 1)
    (tmp_path / "elsewhere").write_bytes(whole)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert "symbolic links" in _trouble(User(place, Window(5, SECOND)))
    assert (tmp_path / "elsewhere").read_bytes() == whole


def test_files_are_for_their_user_alone(place):
    path, _ = _used(place, 1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert place.stat().st_mode & 0o777 == 0o700
    assert [item.name for item in place.iterdir()] == ["venue@default.budget"]


def test_a_lock_that_is_kept_is_waited_for_a_second_and_then_done_without(place):
    user, other = User(place, Window(5, SECOND)), User(place, Window(5, SECOND))
    assert user.take(T0) == 0
    with user.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        wait_ns = user.take(T0 + 1)
        assert time.monotonic() - began < 0.5
        assert 0 < wait_ns <= 10 * MS
        assert user.take(T0 + PATIENCE_NS) > 0
        assert not user.store.troubles
        alone_ns = T0 + 1 + PATIENCE_NS
        assert user.take(alone_ns) == 0
        assert "keeps it locked" in user.store.troubles[0]
    # What was used alone is written down as soon as it can be.
    assert granted(other, alone_ns) == 5
    assert granted(user, alone_ns + RETRY_NS) == 5
    assert granted(other, alone_ns + RETRY_NS) == 0


def test_a_lock_that_is_kept_for_long_costs_the_loop_next_to_nothing(place, monkeypatch):
    slept_s = []
    monkeypatch.setattr("gapless.io.budget_store.time.sleep", slept_s.append)
    user = User(place, Window(5, SECOND))
    assert user.take(T0) == 0
    with user.path.open("rb") as held:  # as by a process that was stopped while it had it
        fcntl.flock(held, fcntl.LOCK_EX)
        for ask in range(200):  # two hundred lines that want to dial
            assert user.take(T0 + 1 + ask * MS) > 0
    assert 0 < sum(slept_s) <= 0.005


def test_a_lock_that_is_missed_now_and_then_leaves_nobody_alone(place):
    user = User(place, Window(5, SECOND))
    assert user.take(T0) == 0
    for minute in range(1, 4):
        with user.path.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            user.budget.refused(T0 + minute * 60 * SECOND, SECOND, ban=False)
    assert user.store.troubles == []


def test_the_use_that_was_made_alone_is_counted_by_the_others_later(place):
    user, other = User(place, Window(5, 60 * SECOND)), User(place, Window(5, 60 * SECOND))
    assert user.take(T0) == 0
    with user.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        user.take(T0)
        assert user.take(T0 + PATIENCE_NS) == 0
        user.budget.note(T0 + PATIENCE_NS)
    assert user.take(T0 + PATIENCE_NS + RETRY_NS) == 0
    assert granted(other, T0 + PATIENCE_NS + RETRY_NS) == 1


def test_a_forked_child_counts_with_its_parent(place):
    user = User(place, Window(5, SECOND))
    assert user.take(T0) == 0
    code = (
        "from pathlib import Path; from gapless.core.budget import Budget, Window;"
        "from gapless.io.budget_store import BudgetStore; import os, sys;"
        f"b = Budget(Window(5, 10**9), ledger=BudgetStore(Path({str(place)!r}), 'venue')"
        ".ledger('dials'));"
        f"b.take({T0}); pid = os.fork(); [b.take({T0}) for _ in range(9)];"
        "pid and os.waitpid(pid, 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert user.take(T0) == SECOND
    assert user.budget.used_ratio(T0) == 1.0


def test_no_descriptor_is_left_open(place):
    user = User(place, Window(50, SECOND))
    before = os.listdir("/proc/self/fd")
    granted(user, T0, 60)
    assert os.listdir("/proc/self/fd") == before


# -- the breaker --------------------------------------------------------------------------------


def test_what_the_venue_says_to_one_process_is_heard_by_all(place):
    one, two = User(place, Window(50, SECOND)), User(place, Window(50, SECOND))
    assert two.take(T0) == 0
    one.budget.refused(T0, 10 * SECOND, ban=False)
    assert two.take(T0 + 1) == 10 * SECOND - 1
    probe_ns = T0 + 10 * SECOND
    assert two.take(probe_ns) == 0
    assert two.budget.probing
    assert one.take(probe_ns + 1) > 0  # one alone
    two.budget.refused(probe_ns + MS, ban=True)
    assert one.take(probe_ns + 2 * MS) == pytest.approx(30 * SECOND, abs=2 * MS)
    assert one.take(probe_ns + MS + 30 * SECOND) == 0
    one.budget.accepted(probe_ns + 31 * SECOND)
    assert two.take(probe_ns + 31 * SECOND) == 0
    assert two.budget.breaker.state(probe_ns + 31 * SECOND) is BreakerState.CLOSED


def test_a_probe_whose_process_is_killed_is_followed_by_another(place):
    one, two = User(place), User(place)
    one.budget.refused(T0, SECOND, ban=False)
    assert one.take(T0 + SECOND) == 0  # and is heard of no more
    assert two.take(T0 + SECOND) > 0
    assert two.take(T0 + 17 * SECOND) == 0
    assert two.budget.probing


def test_a_probe_that_was_taken_while_the_file_was_locked_closes_the_breaker_for_all(place):
    one, two = User(place, Window(50, SECOND)), User(place, Window(50, SECOND))
    one.budget.refused(T0, SECOND, ban=False)
    now_ns = T0 + SECOND
    assert one.take(now_ns) == 0  # the probe
    assert two.take(now_ns + 1) > 0
    with one.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        one.budget.accepted(now_ns + 2)
    two.budget.note(now_ns + 3)  # the file changes meanwhile
    assert one.take(now_ns + 4) == 0
    assert two.take(now_ns + 5) == 0


@pytest.mark.parametrize("alone", ["the long one", "the short one"])
def test_of_two_refusals_at_once_the_longer_one_is_kept_by_both(place, alone):
    one, two = User(place, Window(50, SECOND)), User(place, Window(50, SECOND))
    assert [one.take(T0), two.take(T0)] == [0, 0]

    def ban():
        one.budget.refused(T0 + 1, 86_400 * SECOND, ban=True)

    def busy():
        two.budget.refused(T0 + 2, SECOND, ban=False)

    heard, unheard = (busy, ban) if alone == "the long one" else (ban, busy)
    heard()
    with one.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        unheard()
    for user in (one, two) if unheard is ban else (two, one):
        assert user.take(T0 + 5 * SECOND) > 86_000 * SECOND


def test_what_was_heard_alone_is_told_later(place):
    one, two = User(place, Window(50, SECOND)), User(place, Window(50, SECOND))
    assert one.take(T0) == 0
    with one.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        one.budget.refused(T0, 60 * SECOND, ban=False)
    assert one.take(T0 + MS) > 0
    assert two.take(T0 + 2 * MS) > 50 * SECOND


# -- where ----------------------------------------------------------------------------------------


def test_the_place_is_chosen_by_the_user_or_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv("GAPLESS_STATE_DIR", str(tmp_path / "chosen"))
    assert state_dir() == tmp_path / "chosen"
    monkeypatch.delenv("GAPLESS_STATE_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert state_dir() == tmp_path / "gapless"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "not there"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert state_dir() == tmp_path / "cache" / "gapless"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_dir() == tmp_path / ".cache" / "gapless"
