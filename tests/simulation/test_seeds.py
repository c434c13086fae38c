"""Whole simulations with random faults: the promise holds whatever the seed.

`--seeds N` runs another number of them.  A failure names its seed; the same seed fails again.
"""

from __future__ import annotations

import secrets

import pytest
from tests.simulation.stage import VENUES

from gapless.core.booksync import BUFFER_MAX
from gapless.testing import Simulation, random_faults

MINUTES = 5.0
FAULTS = 8  # planned, so that at least five happen
CHUNKS = 16  # for each venue: what pytest-xdist spreads
ALWAYS = frozenset({"drop", "duplicate", "reorder"})  # they wait for their message
WITH_A_SESSION = frozenset(
    {"reset", "close", "half_open", "bad_utf8", "garbage", "oversize", "shutdown_notice"}
)


def pytest_generate_tests(metafunc):
    if "seeds" in metafunc.fixturenames:
        count = metafunc.config.getoption("--seeds")
        assert count >= len(VENUES) * CHUNKS, "too few seeds to mean anything"
        each = -(-count // len(VENUES))
        chunks = [
            (venue, range(each * i // CHUNKS, each * (i + 1) // CHUNKS))
            for i in range(CHUNKS)
            for venue in VENUES
        ]
        ids = [f"{venue}-{seeds.start}-{seeds.stop - 1}" for venue, seeds in chunks]
        metafunc.parametrize(("venue", "seeds"), chunks, ids=ids)


def had_a_session(outcome, at_ns):
    """Whether the venue had a session then that was not frozen already."""
    open_now = set()
    for record in outcome.truth:
        if record["type"] == "session" and record["ns"] <= at_ns:
            if record["what"] == "opened":
                open_now.add(record["session"])
            elif record["ns"] < at_ns:
                open_now.discard(record["session"])
    return bool(open_now)


def assert_the_faults_happened(outcome):
    frozen = any(record.fault.name == "half_open" for record in outcome.faults)
    for record in outcome.faults:
        name = record.fault.name
        must = name in ALWAYS
        if name in WITH_A_SESSION and not frozen:
            must = had_a_session(outcome, record.at_ns)
        assert record.happened or not must, f"{name} never happened: {outcome}"
    struck = sum(record.happened > 0 for record in outcome.faults)
    assert struck >= 5, f"{struck} faults happened: {outcome}"


def assert_the_promise(venue, seed):
    try:
        plan = random_faults(venue, seed, MINUTES, FAULTS)
        outcome = Simulation(venue=venue, seed=seed, minutes=MINUTES, faults=plan).run()
    except BaseException as error:
        error.add_note(f"simulation of {venue} with seed {seed}")
        raise
    where = f"{venue}, {outcome}"
    assert outcome.card.kept, where
    assert outcome.card.books_compared == 2, where
    assert {line.state for line in outcome.stats.lines} == {"up"}, where
    untrusted = [topic.topic for topic in outcome.stats.topics if topic.trust != "live"]
    assert not untrusted, f"{untrusted} in {where}"
    assert outcome.stats.overflowed == 0, where
    assert outcome.waiting_max < BUFFER_MAX, where
    assert_the_faults_happened(outcome)
    return outcome


def test_the_promise_is_kept(venue, seeds):
    outcomes = [assert_the_promise(venue, seed) for seed in seeds]
    # Whatever was announced was really lost: the promise is not kept by announcing everything.
    delivered = sum(outcome.card.total("delivered") for outcome in outcomes)
    sent = sum(outcome.card.total("sent") for outcome in outcomes)
    assert delivered > 0.85 * sent
    kinds = {r.fault.name for outcome in outcomes for r in outcome.faults if r.happened}
    assert len(kinds) >= min(10, 2 * len(seeds))


@pytest.mark.parametrize("venue", VENUES)
def test_the_promise_is_kept_by_a_seed_that_nobody_has_seen(venue):
    seed = secrets.randbits(48)
    print(f"a fresh seed for {venue}: {seed}")
    assert_the_promise(venue, seed)
